//! Memory that changes hands, piece by piece.

use crate::bench::*;
use gicv5_model::memory::{Claim, Memory};
use gicv5_model::report::Report;

const OWNER: Owner = Owner::domain(StructureKind::L1Vmte);
const PAGE: u64 = 4096;

fn at(offset: u64) -> PhysAddr {
    MemoryConfig::default().base.offset(offset).unwrap()
}

#[test]
fn memory_that_is_taken_and_given_back_is_as_it_was_before() {
    // VM-6, IST-7: nothing of a claim stays, whether it was of a page or of a part of one, and however it was given back.
    let (mut memory, mut report) = (Memory::new(MemoryConfig::default()).unwrap(), Report::default());
    let take_and_give_back = |memory: &mut Memory, report: &mut Report| {
        memory.own(report, IRS, at(64), 128, OWNER).unwrap();
        memory.disown(report, IRS, at(128), 64).unwrap();
        assert_eq!(memory.claim_on(at(120)), Some(Claim::Owned(OWNER)));
        assert_eq!(memory.claim_on(at(128)), None);
        memory.fill(report, IRS, at(0), 128, OWNER).unwrap();
        memory.disown(report, IRS, at(0), 128).unwrap();
        memory.own(report, IRS, at(PAGE), PAGE, OWNER).unwrap();
        memory.disown(report, IRS, at(PAGE), PAGE / 2).unwrap();
        assert_eq!(memory.claim_on(at(2 * PAGE - 8)), Some(Claim::Owned(OWNER)));
        memory.disown(report, IRS, at(PAGE + PAGE / 2), PAGE / 2).unwrap();
    };
    take_and_give_back(&mut memory, &mut report);
    let before = memory.clone();
    take_and_give_back(&mut memory, &mut report);
    assert!(memory == before);
    for offset in (0..2 * PAGE).step_by(8) {
        assert_eq!(memory.claim_on(at(offset)), None);
    }
    assert_eq!(report.checker.violations(), []);
}

#[test]
fn there_may_be_as_much_memory_as_the_limit_says_and_no_more() {
    let of_size = |size| Memory::new(MemoryConfig { size, ..MemoryConfig::default() });
    assert!(of_size(1 << 40).is_ok());
    assert!(of_size((1 << 40) + PAGE).is_err());
}

#[test]
fn what_was_cleaned_is_in_memory_after_the_barrier_whatever_happened_in_between() {
    // COH-2, COH-4: of a cache that does things by chance as well, with other accesses before the barrier.
    for seed in 0..64 {
        let config = MemoryConfig {
            coherency: Coherency::NonCoherent,
            eagerness: Eagerness::Random,
            seed,
            ..MemoryConfig::default()
        };
        let (mut memory, mut report) = (Memory::new(config).unwrap(), Report::default());
        for page in 0..4 {
            memory.store64(&mut report, PeIndex(0), at(page * PAGE), 7);
            memory.barrier(&mut report, PeIndex(0));
            memory.clean_invalidate(&mut report, PeIndex(0), at(page * PAGE), 8);
        }
        for _ in 0..32 {
            memory.load64(&mut report, PeIndex(0), at(16 * PAGE));
        }
        memory.barrier(&mut report, PeIndex(0));
        for page in 0..4 {
            assert_eq!(memory.irs_load64(IRS, at(page * PAGE)), Ok(7), "page {page}, seed {seed}");
            // And what the IRS writes then is what software reads: the line has gone.
            memory.irs_store64(IRS, at(page * PAGE), 9).unwrap();
            memory.clean_invalidate(&mut report, PeIndex(0), at(page * PAGE), 8);
            memory.barrier(&mut report, PeIndex(0));
            assert_eq!(memory.load64(&mut report, PeIndex(0), at(page * PAGE)), 9, "page {page}, seed {seed}");
        }
        assert_eq!(report.checker.violations(), []);
    }
}

#[test]
fn an_observer_is_told_what_becomes_fillable_and_what_could_not_be_allocated() {
    let (mut memory, mut report) = (Memory::new(MemoryConfig::default()).unwrap(), Report::default());
    report.log.observe(10);
    memory.fill(&mut report, IRS, at(64), 128, OWNER).unwrap();
    let too_much = BlockLayout::new(1 << 33, PAGE, PhysAddr::highest(48)).unwrap();
    assert!(memory.allocate(&mut report, too_much).is_err());
    let told: Vec<_> = report.log.drain().map(|(_, event)| event).collect();
    assert!(
        matches!(
            told.as_slice(),
            [Event::Fillable { size: 128, owner: OWNER, .. }, Event::AllocationFailed { size: 0x2_0000_0000, .. }]
        ),
        "{told:?}"
    );
}

#[test]
fn a_store_that_comes_too_late_is_reported_with_what_the_irs_has_found() {
    // COH-1, COH-2.
    for (coherency, rule) in [(Coherency::Coherent, "COH-1"), (Coherency::NonCoherent, "COH-2")] {
        let config = MemoryConfig { coherency, ..MemoryConfig::default() };
        let (mut memory, mut report) = (Memory::new(config).unwrap(), Report::default());
        let entry = at(3 * PAGE + 8);
        memory.store64(&mut report, PeIndex(0), entry, 5);
        memory.barrier(&mut report, PeIndex(0));
        memory.clean_invalidate(&mut report, PeIndex(0), entry, 8);
        memory.barrier(&mut report, PeIndex(0));
        memory.store64(&mut report, PeIndex(0), entry, 8);
        memory.own(&mut report, IRS, at(3 * PAGE), 64, OWNER).unwrap();
        let found: Vec<_> = report.checker.drain().iter().map(|found| (found.rule, found.old, found.new)).collect();
        assert_eq!(found, [(rule, 5, 8)]);
    }
}
