use crate::words::config::Placement;
use crate::words::ids::{BlockId, PeIndex};
use crate::words::owner::StructureKind;
use gicv5_arch::VmId;
use gicv5_arch::entry::{L1_VMTE, L2_VMTE_VMD};
use gicv5_hal::Coherency::{Coherent, NonCoherent};
use gicv5_hal::{Block, BlockLayout};
use std::collections::BTreeMap;

use super::claims::Code;
use super::page::POISON;
use super::*;
use crate::words::event::{Event, Maintenance, Width};
use crate::words::owner::Owner;
use crate::words::report::Report;
use crate::words::rules::RuleId;
use crate::words::violation::Place;
use crate::words::violation::Violation;

const TOP: PhysAddr = match PhysAddr::new(u64::MAX >> 8) {
    Ok(top) => top,
    Err(_) => unreachable!(),
};
const VM: VmId = VmId::new(7);
const IRS: IrsIndex = IrsIndex(0);
const HERE: PeIndex = PeIndex(0);
const THERE: PeIndex = PeIndex(1);

/// Memory and its report in one hand, so that tests read as what software and IRS do.
#[derive(Clone, PartialEq, Debug)]
struct Bench {
    memory: Memory,
    report: Report,
}

impl Bench {
    fn new(coherency: Coherency) -> Bench {
        Bench::with(MemoryConfig { coherency, ..MemoryConfig::default() })
    }

    fn with(config: MemoryConfig) -> Bench {
        Bench { memory: Memory::new(config).unwrap(), report: Report::default() }
    }

    fn allocate(&mut self, size: u64) -> ModelBlock {
        let layout = BlockLayout::new(size, size.next_power_of_two(), TOP).unwrap();
        self.memory.allocate(&mut self.report, layout).unwrap()
    }

    fn free(&mut self, block: ModelBlock) {
        self.memory.free(&mut self.report, block);
    }

    fn load(&mut self, at: PhysAddr) -> u64 {
        self.memory.load64(&mut self.report, HERE, at)
    }

    fn store(&mut self, at: PhysAddr, value: u64) {
        self.memory.store64(&mut self.report, HERE, at, value);
    }

    fn barrier(&mut self) {
        self.memory.barrier(&mut self.report, HERE);
    }

    /// `clean_invalidate`, the barrier before it and the one that completes it.
    fn clean(&mut self, at: PhysAddr, size: u64) {
        self.barrier();
        self.memory.clean_invalidate(&mut self.report, HERE, at, size);
        self.barrier();
    }

    /// `invalidate` and the barrier that completes it.
    fn invalidate(&mut self, at: PhysAddr, size: u64) {
        self.memory.invalidate(&mut self.report, HERE, at, size);
        self.barrier();
    }

    fn irs(&self, at: PhysAddr) -> u64 {
        self.memory.irs_load64(IRS, at).unwrap()
    }

    fn irs_store(&mut self, at: PhysAddr, value: u64) {
        self.memory.irs_store64(IRS, at, value).unwrap();
    }

    fn own(&mut self, at: PhysAddr, size: u64, structure: StructureKind) {
        self.memory.own(&mut self.report, IRS, at, size, Owner::vm(structure, VM)).unwrap();
    }

    fn fill(&mut self, at: PhysAddr, size: u64, structure: StructureKind) {
        self.memory.fill(&mut self.report, IRS, at, size, Owner::vm(structure, VM)).unwrap();
    }

    fn disown(&mut self, at: PhysAddr, size: u64) {
        self.memory.disown(&mut self.report, IRS, at, size).unwrap();
    }

    /// The rules broken since the last time.
    fn broken(&mut self) -> Vec<&'static str> {
        self.report.checker.drain().iter().map(|violation| violation.rule).collect()
    }
}

fn at(block: &ModelBlock, offset: u64) -> PhysAddr {
    block.address().offset(offset).unwrap()
}

const NO_RULE: [&str; 0] = [];

// Several IRSs, of which some are coherent.

/// Memory in which IRS 1 does not see the caches.
fn mixed() -> Bench {
    Bench::with(MemoryConfig { coherency_of: BTreeMap::from([(IrsIndex(1), NonCoherent)]), ..MemoryConfig::default() })
}

#[test]
fn what_an_irs_needs_to_see_a_store_is_its_own_matter() {
    for (irs, needs, missing) in [(IrsIndex(0), "a barrier", "COH-1"), (IrsIndex(1), "a clean as well", "COH-2")] {
        let mut bench = mixed();
        let block = bench.allocate(192);
        let mut take_over = |offset, prepare: fn(&mut Bench, PhysAddr)| {
            let address = at(&block, offset);
            bench.store(address, 7);
            prepare(&mut bench, address);
            let owner = Owner::vm(StructureKind::VpeDescriptor, VM);
            bench.memory.own(&mut bench.report, irs, address, 64, owner).unwrap();
            (bench.memory.irs_load64(irs, address).unwrap(), bench.broken())
        };
        assert_eq!(take_over(0, |_, _| ()), (0, vec![missing]), "{irs} needs {needs}");
        let enough = if irs == IrsIndex(0) { (7, vec![]) } else { (0, vec![missing]) };
        assert_eq!(take_over(64, |bench, _| bench.barrier()), enough, "{irs} needs {needs}");
        assert_eq!(take_over(128, |bench, address| bench.clean(address, 64)), (7, vec![]), "{irs} needs no more");
    }
}

#[test]
fn what_software_needs_to_see_what_an_irs_has_written_is_that_irs_matter() {
    for (irs, seen) in [(IrsIndex(0), 9), (IrsIndex(1), 1)] {
        let mut bench = mixed();
        let block = bench.allocate(64);
        bench.store(at(&block, 0), 1);
        bench.clean(at(&block, 0), 64);
        bench.memory.own(&mut bench.report, irs, at(&block, 0), 64, Owner::vm(StructureKind::LpiIst, VM)).unwrap();
        // Speculation fetches the line while the IRS has it.
        bench.clean(at(&block, 0), 64);
        bench.memory.irs_store64(irs, at(&block, 0), 9).unwrap();
        bench.memory.disown(&mut bench.report, irs, at(&block, 0), 64).unwrap();
        let found = bench.load(at(&block, 0));
        assert_eq!(found == 9, seen == 9, "{irs}: {found:#x}");
        bench.invalidate(at(&block, 0), 64);
        assert_eq!((bench.load(at(&block, 0)), bench.broken()), (9, vec![]), "{irs}");
    }
}

#[test]
fn what_an_irs_shows_is_seen_at_once_if_it_is_coherent_and_after_an_invalidate_if_it_is_not() {
    // SAVE-1, COH-3, COH-4.
    for (irs, at_once) in [(IrsIndex(0), true), (IrsIndex(1), false)] {
        let mut bench = mixed();
        let block = bench.allocate(128);
        let (ist, neighbour) = (block.address(), at(&block, 64));
        let owner = Owner::vm(StructureKind::LpiIst, VM);
        bench.memory.own(&mut bench.report, irs, ist, 64, owner).unwrap();
        bench.memory.irs_store64(irs, ist, 5).unwrap();
        bench.store(neighbour, 7);
        // From now on a cache has what memory holds of the IST, which is not what the IRS does.
        bench.invalidate(ist, 64);
        assert_eq!(bench.load(ist), POISON);
        bench.memory.show(irs, ist, 64, true).unwrap();
        assert_eq!(bench.load(ist) == 5, at_once, "{irs}");
        bench.invalidate(ist, 64);
        assert_eq!(bench.load(ist), 5, "{irs}");
        bench.memory.show(irs, ist, 64, false).unwrap();
        assert_eq!(bench.load(ist), POISON);
        assert_eq!((bench.load(neighbour), bench.broken()), (7, NO_RULE.to_vec()));
    }
}

#[test]
fn a_coherent_irs_takes_a_dirty_line_over_and_no_later_write_back_of_it_hurts() {
    let mut bench = mixed();
    let block = bench.allocate(64);
    bench.store(at(&block, 0), 1);
    bench.barrier();
    bench.memory.own(&mut bench.report, IRS, at(&block, 0), 32, Owner::vm(StructureKind::L2Vmte, VM)).unwrap();
    bench.irs_store(at(&block, 0), 3);
    // A neighbour in the same line.
    bench.store(at(&block, 32), 5);
    bench.clean(at(&block, 32), 32);
    assert_eq!((bench.irs(at(&block, 0)), bench.broken()), (3, vec![]));
}

// Order on a coherent IRS.

#[test]
fn a_store_reaches_a_coherent_irs_at_the_barrier_and_not_before() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(64);
    bench.store(at(&block, 0), 7);
    assert_eq!((bench.load(at(&block, 0)), bench.irs(at(&block, 0))), (7, 0));
    bench.barrier();
    assert_eq!(bench.irs(at(&block, 0)), 7);
    // Maintenance is no barrier.
    bench.store(at(&block, 0), 8);
    bench.memory.clean_invalidate(&mut bench.report, HERE, at(&block, 0), 64);
    assert_eq!(bench.irs(at(&block, 0)), 7);
    assert_eq!(bench.broken(), NO_RULE);
}

#[test]
fn an_irs_that_takes_memory_over_before_the_barrier_gets_the_old_contents_and_coh_1_is_reported() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(64);
    bench.store(at(&block, 8), 7);
    bench.own(at(&block, 8), 8, StructureKind::Vpete);
    assert_eq!(bench.broken(), ["COH-1"]);
    bench.barrier();
    assert_eq!(bench.irs(at(&block, 8)), 0);
}

#[test]
fn a_store_next_to_what_the_irs_takes_over_may_still_wait() {
    for coherency in [Coherent, NonCoherent] {
        let mut bench = Bench::new(coherency);
        let block = bench.allocate(64);
        bench.store(at(&block, 0), 7);
        bench.store(at(&block, 16), 7);
        bench.own(at(&block, 8), 8, StructureKind::Vpete);
        assert_eq!(bench.broken(), NO_RULE);
    }
}

#[test]
fn a_store_of_the_irs_is_seen_at_once_on_a_coherent_system() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(64);
    assert_eq!(bench.load(at(&block, 0)), 0);
    bench.irs_store(at(&block, 0), 9);
    assert_eq!(bench.load(at(&block, 0)), 9);
}

// Order on a non-coherent IRS.

#[test]
fn a_store_reaches_a_non_coherent_irs_by_a_clean_and_a_barrier_and_by_nothing_less() {
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(64);
    bench.store(at(&block, 0), 7);
    bench.barrier();
    assert_eq!(bench.irs(at(&block, 0)), 0, "a barrier alone");
    bench.memory.clean_invalidate(&mut bench.report, HERE, at(&block, 0), 8);
    assert_eq!(bench.irs(at(&block, 0)), 0, "a clean that no barrier has completed");
    bench.barrier();
    assert_eq!(bench.irs(at(&block, 0)), 7);
    assert_eq!(bench.broken(), NO_RULE);
}

#[test]
fn a_clean_does_not_carry_a_store_unless_a_barrier_is_between_them() {
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(64);
    bench.store(at(&block, 0), 7);
    bench.memory.clean_invalidate(&mut bench.report, HERE, at(&block, 0), 8);
    bench.barrier();
    assert_eq!((bench.load(at(&block, 0)), bench.irs(at(&block, 0))), (7, 0), "the line was clean when it was cleaned");
    bench.own(at(&block, 0), 8, StructureKind::Vpete);
    assert_eq!(bench.broken(), ["COH-2"]);
}

#[test]
fn a_line_that_is_cleaned_stays_in_the_cache_as_it_is() {
    // DC CVAC: the IRS sees the store, and software does not see what the IRS writes before it invalidates (COH-4).
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(64);
    bench.store(at(&block, 0), 7);
    bench.barrier();
    bench.memory.clean(&mut bench.report, HERE, at(&block, 0), 8);
    assert_eq!(bench.irs(at(&block, 0)), 0, "a clean that no barrier has completed");
    bench.barrier();
    assert_eq!(bench.irs(at(&block, 0)), 7);
    bench.irs_store(at(&block, 0), 8);
    assert_eq!(bench.load(at(&block, 0)), 7);
    bench.memory.invalidate(&mut bench.report, HERE, at(&block, 0), 64);
    bench.barrier();
    assert_eq!(bench.load(at(&block, 0)), 8);
    assert_eq!(bench.broken(), NO_RULE);
}

// Order among PEs.

#[test]
fn a_barrier_on_one_pe_publishes_its_own_stores_and_no_other_pes() {
    for coherency in [Coherent, NonCoherent] {
        let mut bench = Bench::new(coherency);
        let block = bench.allocate(64);
        bench.store(at(&block, 0), 7);
        bench.memory.barrier(&mut bench.report, THERE);
        bench.memory.clean_invalidate(&mut bench.report, THERE, at(&block, 0), 8);
        bench.memory.barrier(&mut bench.report, THERE);
        assert_eq!((bench.load(at(&block, 0)), bench.irs(at(&block, 0))), (7, 0));
        bench.own(at(&block, 0), 8, StructureKind::Vpete);
        assert_eq!(bench.broken(), [if coherency == Coherent { "COH-1" } else { "COH-2" }]);
    }
}

#[test]
fn a_pe_sees_its_own_stores_at_once_and_another_pes_after_that_pes_barrier() {
    for coherency in [Coherent, NonCoherent] {
        let mut bench = Bench::new(coherency);
        let block = bench.allocate(64);
        let there = |bench: &mut Bench| bench.memory.load64(&mut bench.report, THERE, at(&block, 0));
        bench.store(at(&block, 0), 7);
        assert_eq!((bench.load(at(&block, 0)), there(&mut bench)), (7, 0));
        bench.memory.barrier(&mut bench.report, THERE);
        assert_eq!(there(&mut bench), 0);
        bench.barrier();
        assert_eq!(there(&mut bench), 7);
    }
}

#[test]
fn a_barrier_completes_the_maintenance_of_its_own_pe() {
    for (by, completes) in [(HERE, true), (THERE, false)] {
        let mut bench = Bench::new(NonCoherent);
        let block = bench.allocate(64);
        bench.store(at(&block, 0), 7);
        bench.barrier();
        bench.memory.clean_invalidate(&mut bench.report, HERE, at(&block, 0), 8);
        bench.memory.barrier(&mut bench.report, by);
        assert_eq!(bench.irs(at(&block, 0)) == 7, completes, "a barrier on {by}");
    }
}

#[test]
fn a_load_barrier_orders_the_loads_of_its_own_pe() {
    for (by, fresh) in [(HERE, true), (THERE, false)] {
        let mut bench = Bench::new(Coherent);
        let block = bench.allocate(64);
        for pe in [HERE, THERE] {
            bench.memory.load64(&mut bench.report, pe, at(&block, 32));
        }
        bench.own(at(&block, 0), 8, StructureKind::Vpete);
        bench.irs_store(at(&block, 0), 1);
        bench.memory.load_barrier(by);
        assert_eq!(bench.load(at(&block, 0)) == 1, fresh, "a load barrier on {by}");
    }
}

#[test]
fn what_any_pe_has_under_way_is_forgotten_with_the_block() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(64);
    bench.memory.store64(&mut bench.report, THERE, at(&block, 0), 7);
    bench.free(block);
    let block = bench.allocate(64);
    bench.memory.barrier(&mut bench.report, THERE);
    assert_eq!((bench.irs(at(&block, 0)), bench.broken()), (0, NO_RULE.to_vec()));
}

#[test]
fn an_irs_that_takes_over_what_was_not_cleaned_or_not_completed_breaks_coh_2() {
    for cleaned in [false, true] {
        let mut bench = Bench::new(NonCoherent);
        let block = bench.allocate(64);
        bench.store(at(&block, 0), 7);
        bench.barrier();
        if cleaned {
            bench.memory.clean_invalidate(&mut bench.report, HERE, at(&block, 0), 8);
        }
        bench.own(at(&block, 0), 8, StructureKind::Vpete);
        assert_eq!(bench.broken(), ["COH-2"]);
    }
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(64);
    bench.store(at(&block, 0), 7);
    bench.clean(at(&block, 0), 8);
    bench.own(at(&block, 0), 8, StructureKind::Vpete);
    assert_eq!(bench.broken(), NO_RULE);
}

#[test]
fn a_store_after_the_clean_is_not_cleaned_by_it() {
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(64);
    bench.store(at(&block, 0), 7);
    bench.barrier();
    bench.memory.clean_invalidate(&mut bench.report, HERE, at(&block, 0), 8);
    bench.store(at(&block, 0), 8);
    bench.barrier();
    assert_eq!((bench.irs(at(&block, 0)), bench.load(at(&block, 0))), (7, 8));
}

#[test]
fn what_the_irs_writes_is_seen_after_an_invalidate_and_a_barrier_that_come_later() {
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(64);
    // Nobody has loaded the line, but the cache may have fetched it all the same.
    bench.irs_store(at(&block, 0), 9);
    assert_eq!(bench.load(at(&block, 0)), 0, "no invalidate");
    bench.memory.invalidate(&mut bench.report, HERE, at(&block, 0), 8);
    assert_eq!(bench.load(at(&block, 0)), 0, "an invalidate that no barrier has completed");
    bench.barrier();
    assert_eq!(bench.load(at(&block, 0)), 9);
    bench.irs_store(at(&block, 0), 10);
    assert_eq!(bench.load(at(&block, 0)), 9, "an invalidate that came before the store (COH-4)");
    assert_eq!(bench.broken(), NO_RULE);
}

#[test]
fn an_invalidate_loses_the_stores_in_its_lines_and_coh_7_is_reported_for_neighbours() {
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(128);
    for offset in [0, 32, 64] {
        bench.store(at(&block, offset), 7);
    }
    bench.invalidate(at(&block, 32), 32);
    assert_eq!(bench.broken(), ["COH-7"]);
    assert_eq!([0, 32, 64].map(|offset| bench.load(at(&block, offset))), [0, 0, 7]);
    // Its own bytes may be thrown away on purpose.
    bench.store(at(&block, 32), 7);
    bench.invalidate(at(&block, 32), 32);
    assert_eq!(bench.broken(), NO_RULE);
}

// Neighbours in a line.

/// Two VM table entries that share a line: software fills the second after the IRS has made the first valid.
/// `prepared` says whether it cleans and invalidates the line first.
fn fill_next_to_a_valid_vm(prepared: bool) -> (Bench, ModelBlock) {
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(4096);
    bench.fill(at(&block, 0), 4096, StructureKind::L2Vmte);
    bench.store(at(&block, 0), 0x8000_1000);
    bench.clean(at(&block, 0), 32);
    bench.own(at(&block, 0), 32, StructureKind::L2Vmte);
    bench.irs_store(at(&block, 0), 0x8000_1001);
    if prepared {
        bench.clean(at(&block, 32), 32);
    }
    bench.store(at(&block, 32), 0x8000_2000);
    bench.clean(at(&block, 32), 32);
    (bench, block)
}

#[test]
fn a_line_that_was_not_cleaned_before_its_change_carries_a_stale_valid_bit_to_memory_vmt_21() {
    let (mut bench, block) = fill_next_to_a_valid_vm(false);
    let violations = bench.report.checker.drain();
    let [violation] = &violations[..] else { panic!("{violations:?}") };
    assert_eq!((violation.rule, violation.old, violation.new), ("VMT-21", 0x8000_1001, 0x8000_1000));
    assert_eq!(violation.place, Place::Structure(at(&block, 0), Owner::vm(StructureKind::L2Vmte, VM)));
    bench.invalidate(at(&block, 0), 32);
    assert_eq!(bench.load(at(&block, 0)) & 1, 0, "memory has the stale bit");
    assert_eq!(bench.irs(at(&block, 0)), 0x8000_1001, "the IRS has its own copy");
}

#[test]
fn a_line_that_was_cleaned_before_its_change_does_no_harm() {
    let (mut bench, block) = fill_next_to_a_valid_vm(true);
    assert_eq!(bench.broken(), NO_RULE);
    bench.invalidate(at(&block, 0), 32);
    assert_eq!(bench.load(at(&block, 0)) & 1, 1);
    assert_eq!(bench.irs(at(&block, 32)), 0x8000_2000);
}

#[test]
fn a_stale_valid_bit_that_comes_back_to_memory_that_is_free_again_is_vmt_21_for_who_takes_or_reads_it() {
    let with_stale_word = || {
        let mut bench = Bench::new(NonCoherent);
        let block = bench.allocate(64);
        bench.own(at(&block, 0), 32, StructureKind::L2Vmte);
        bench.irs_store(at(&block, 0), 1);
        bench.clean(at(&block, 32), 32);
        bench.irs_store(at(&block, 0), 0);
        bench.disown(at(&block, 0), 32);
        bench.store(at(&block, 32), 5);
        bench.clean(at(&block, 32), 32);
        assert_eq!(bench.broken(), NO_RULE, "nobody is harmed yet");
        assert_eq!(bench.irs(at(&block, 0)), 1);
        (bench, block)
    };
    let (mut bench, block) = with_stale_word();
    bench.own(at(&block, 0), 32, StructureKind::L2Vmte);
    assert_eq!(bench.broken(), ["VMT-21"]);
    let (mut bench, block) = with_stale_word();
    bench.load(at(&block, 0));
    bench.load(at(&block, 0));
    assert_eq!(bench.broken(), ["VMT-21"], "once");
    // VM-6: who clears a table that is software's again harms nobody.
    let (mut bench, block) = with_stale_word();
    bench.store(at(&block, 0), 0);
    bench.clean(at(&block, 0), 32);
    bench.own(at(&block, 0), 32, StructureKind::L2Vmte);
    assert_eq!(bench.broken(), NO_RULE);
}

#[test]
fn a_structure_of_its_own_has_whole_lines_coh_6() {
    // The line is 128 bytes, the descriptors 64.
    let config = MemoryConfig { coherency: NonCoherent, cache_line: 128, ..MemoryConfig::default() };
    let mut bench = Bench::with(config.clone());
    let (first, second) = (bench.allocate(64), bench.allocate(64));
    for block in [&first, &second] {
        bench.own(at(block, 0), 64, StructureKind::VpeDescriptor);
        assert_eq!(bench.broken(), ["COH-6"]);
    }
    let whole = bench.allocate(128);
    bench.own(at(&whole, 0), 64, StructureKind::VpeDescriptor);
    assert_eq!(bench.broken(), NO_RULE);
    bench.own(at(&whole, 64), 64, StructureKind::VpeDescriptor);
    assert_eq!(bench.broken(), NO_RULE, "VPE-21: descriptors of VPEs may lie close together");
    let mixed = bench.allocate(128);
    bench.own(at(&mixed, 0), 64, StructureKind::Vpete);
    assert_eq!(bench.broken(), NO_RULE);
    bench.own(at(&mixed, 64), 64, StructureKind::VpeDescriptor);
    assert_eq!(bench.broken(), ["COH-6"], "but not beside what software writes to");
    let ists = bench.allocate(128);
    bench.own(at(&ists, 64), 64, StructureKind::SpiIst);
    assert_eq!(bench.broken(), ["COH-6"], "half a line of an IST");

    let mut bench = Bench::with(MemoryConfig { coherency: Coherent, ..config });
    let block = bench.allocate(64);
    bench.own(at(&block, 0), 64, StructureKind::VpeDescriptor);
    assert_eq!(bench.broken(), NO_RULE, "a coherent IRS does not mind");
}

// Ownership.

#[test]
fn every_structure_blames_its_own_rule_for_a_store_and_no_rule_for_a_store_next_to_it() {
    for coherency in [Coherent, NonCoherent] {
        for &structure in StructureKind::ALL {
            let mut bench = Bench::new(coherency);
            let block = bench.allocate(512);
            bench.store(at(&block, 128), 0x1110);
            bench.clean(at(&block, 128), 8);
            bench.own(at(&block, 128), 128, structure);
            bench.store(at(&block, 120), 6);
            bench.store(at(&block, 256), 6);
            bench.memory.store32(&mut bench.report, HERE, at(&block, 124), 6);
            bench.clean(at(&block, 0), 512);
            assert_eq!(bench.broken(), NO_RULE, "{structure:?}");

            for offset in [128, 248] {
                bench.store(at(&block, offset), 0x2220);
                let violations = bench.report.checker.drain();
                let [Violation { rule, place, old, new, .. }] = &violations[..] else { panic!("{violations:?}") };
                assert_eq!(*rule, structure.rules().stored.id());
                assert_eq!(*place, Place::Structure(at(&block, offset), Owner::vm(structure, VM)));
                assert_eq!((*old, *new), (if offset == 128 { 0x1110 } else { 0 }, 0x2220));
            }
            bench.memory.store32(&mut bench.report, HERE, at(&block, 132), 1);
            assert_eq!(bench.broken(), [structure.rules().stored.id()]);
            bench.clean(at(&block, 0), 512);
            assert_eq!((bench.irs(at(&block, 128)), bench.irs(at(&block, 248))), (0x1110, 0), "{structure:?}");
            assert_eq!(bench.broken(), NO_RULE);
        }
    }
}

#[test]
fn an_entry_shows_what_it_holds_while_it_is_owned_and_other_structures_poison_until_afterwards() {
    for coherency in [Coherent, NonCoherent] {
        for &structure in StructureKind::ALL {
            let mut bench = Bench::new(coherency);
            let block = bench.allocate(512);
            for word in 0..4 {
                bench.store(at(&block, word * 8), 0x1110);
            }
            bench.clean(at(&block, 0), 32);
            bench.own(at(&block, 0), 32, structure);
            for word in 0..4 {
                bench.irs_store(at(&block, word * 8), 0x1111);
            }
            bench.invalidate(at(&block, 0), 32);
            for (word, visible) in structure.rules().visible.into_iter().enumerate() {
                let expected = 0xbad0_bad0_bad0_bad0 & !visible | 0x1111 & visible;
                assert_eq!(bench.load(at(&block, word as u64 * 8)), expected, "{structure:?} {coherency:?}");
                let low = bench.memory.load32(&mut bench.report, HERE, at(&block, word as u64 * 8));
                assert_eq!(u64::from(low), expected & 0xffff_ffff);
            }
            assert_eq!(bench.load(at(&block, 32)), 0);
            bench.disown(at(&block, 0), 32);
            bench.invalidate(at(&block, 0), 32);
            assert_eq!(bench.load(at(&block, 8)), 0x1111);
            assert_eq!(bench.broken(), NO_RULE);
        }
    }
}

#[test]
fn an_invalid_entry_of_a_live_table_may_be_filled_but_not_made_valid() {
    for &structure in StructureKind::ALL {
        let mut bench = Bench::new(Coherent);
        let block = bench.allocate(512);
        bench.fill(at(&block, 0), 512, structure);
        for word in 0..4 {
            let forbidden = structure.rules().forbidden[word as usize];
            bench.store(at(&block, 64 + word * 8), !forbidden);
            assert_eq!(bench.broken(), NO_RULE, "{structure:?}");
            assert_eq!(bench.load(at(&block, 64 + word * 8)), !forbidden, "no poison");
            bench.store(at(&block, 64 + word * 8), 1);
            let expected: &[_] = if forbidden == 0 { &[] } else { &[structure.rules().filled.id()] };
            assert_eq!(bench.broken(), expected, "{structure:?}");
        }
    }
}

#[test]
fn an_entry_of_a_table_in_use_is_stored_whole_coh_8() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(64);
    bench.memory.store32(&mut bench.report, HERE, at(&block, 0), 0x1000);
    assert_eq!(bench.broken(), NO_RULE, "nobody uses it yet");
    bench.barrier();
    bench.fill(at(&block, 0), 64, StructureKind::L1Vmte);
    bench.memory.store32(&mut bench.report, HERE, at(&block, 4), 1);
    assert_eq!(bench.broken(), ["COH-8"]);
    bench.memory.store32(&mut bench.report, HERE, at(&block, 0), 1);
    assert_eq!(bench.broken(), ["COH-8", "VMT-15"]);
}

#[test]
fn the_ist_words_of_a_valid_vm_are_filled_with_their_valid_bit_clear_and_of_an_invalid_one_as_software_likes() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(4096);
    bench.fill(at(&block, 0), 4096, StructureKind::L2Vmte);
    bench.store(at(&block, 16), 0x8000_1001);
    assert_eq!(bench.broken(), NO_RULE, "IST-3");
    bench.own(at(&block, 32), 16, StructureKind::L2Vmte);
    bench.fill(at(&block, 48), 16, StructureKind::L2VmteIst);
    bench.store(at(&block, 48), 0x8000_1000);
    assert_eq!(bench.broken(), NO_RULE, "IST-2");
    bench.store(at(&block, 48), 0x8000_1001);
    assert_eq!(bench.broken(), ["IST-2"]);
    bench.store(at(&block, 32), 0);
    assert_eq!(bench.broken(), ["VMT-18"]);
}

#[test]
fn a_hand_over_by_the_book_breaks_no_rule_and_a_violation_reads_as_a_sentence() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(4096);
    bench.memory.fill(&mut bench.report, IRS, block.address(), 64, Owner::domain(StructureKind::L1Vmte)).unwrap();
    let entry = L1_VMTE::new_with_raw_value(0x8001_0000);
    bench.store(at(&block, 8), entry.raw_value());
    bench.barrier();
    assert_eq!(bench.irs(at(&block, 8)), entry.raw_value());
    bench.memory.own(&mut bench.report, IRS, at(&block, 8), 8, Owner::domain(StructureKind::L1Vmte)).unwrap();
    bench.irs_store(at(&block, 8), entry.with_valid(true).raw_value());
    bench.memory.load_barrier(HERE);
    assert!(L1_VMTE::new_with_raw_value(bench.load(at(&block, 8))).valid());
    assert_eq!(bench.report.checker.count(), 0);

    bench.report.clock.advance(12);
    bench.store(at(&block, 8), 0);
    assert_eq!(
        bench.report.checker.violations()[0].to_string(),
        "VMT-15 (architecture): software stored to memory the IRS owns, at address 0x80000008 in the level-1 VM table, \
         from 0x80010001 to 0x0 (tick 12)"
    );
}

#[test]
fn a_store_to_owned_memory_is_lost_when_the_irs_gives_the_memory_back() {
    for coherency in [Coherent, NonCoherent] {
        let mut bench = Bench::new(coherency);
        let block = bench.allocate(4096);
        bench.own(at(&block, 0), 32, StructureKind::L2Vmte);
        bench.irs_store(at(&block, 0), L2_VMTE_VMD::ZERO.with_valid(true).raw_value());
        bench.store(at(&block, 0), 0);
        bench.clean(at(&block, 0), 8);
        assert_eq!(bench.load(at(&block, 0)) & 1, 0, "software sees that the bit in memory is gone");
        bench.disown(at(&block, 0), 32);
        bench.invalidate(at(&block, 0), 8);
        assert_eq!(bench.load(at(&block, 0)), 1);
        assert_eq!(bench.broken(), ["VMT-18"]);
    }
}

#[test]
fn claims_are_by_the_word_over_page_borders_and_go_as_they_came() {
    let mut bench = Bench::new(Coherent);
    let base = bench.memory.config().base;
    let pa = |offset: u64| base.offset(offset).unwrap();
    let untouched = bench.clone();
    bench.own(pa(8), 3 * 4096, StructureKind::LpiIst);
    assert_eq!(bench.memory.claim_on(pa(7)), None);
    for offset in [8, 4095, 4096, 8191, 3 * 4096, 3 * 4096 + 7] {
        assert_eq!(
            bench.memory.claim_on(pa(offset)),
            Some(Claim::Owned(Owner::vm(StructureKind::LpiIst, VM))),
            "{offset:#x}"
        );
    }
    assert_eq!(bench.memory.claim_on(pa(3 * 4096 + 8)), None);
    bench.fill(pa(4096), 1, StructureKind::Vpete);
    assert_eq!(bench.memory.claim_on(pa(4103)), Some(Claim::Fillable(Owner::vm(StructureKind::Vpete, VM))));
    bench.disown(pa(0), 5 * 4096);
    assert_eq!(bench.memory.first_claim(0..5 * 4096), None);
    assert!(bench.memory.page(0).is_some_and(|page| *page == Page::default()), "no trace is left");
    assert_eq!(untouched.memory.claim_on(pa(4096)), None);
}

#[test]
fn memory_that_is_not_there_is_a_bus_error_to_the_irs_and_mem_1_to_software() {
    let mut bench = Bench::with(MemoryConfig { size: 8192, ..MemoryConfig::default() });
    let end = bench.memory.config().base.offset(8192).unwrap();
    let last = bench.memory.config().base.offset(8184).unwrap();
    let below = PhysAddr::new(bench.memory.config().base.raw() - 8).unwrap();
    for address in [end, below, PhysAddr::new(0).unwrap(), TOP] {
        assert_eq!(bench.memory.irs_load64(IRS, address), Err(BusError { address }));
        assert_eq!(bench.memory.irs_load32(IRS, address), Err(BusError { address }));
        assert_eq!(bench.memory.irs_store64(IRS, address, 1), Err(BusError { address }));
        assert_eq!(bench.memory.irs_store32(IRS, address, 1), Err(BusError { address }));
        assert_eq!(bench.load(address), 0);
        bench.store(address, 1);
        bench.memory.clean_invalidate(&mut bench.report, HERE, address, 8);
        assert_eq!(bench.broken(), ["MEM-1"; 3]);
        assert!(bench.memory.own(&mut bench.report, IRS, address, 8, Owner::domain(StructureKind::Vpete)).is_err());
        assert_eq!(bench.broken(), ["MEM-4"]);
    }
    assert!(bench.memory.own(&mut bench.report, IRS, last, 16, Owner::domain(StructureKind::Vpete)).is_err());
    assert_eq!(bench.broken(), ["MEM-4"]);
    assert_eq!(bench.memory.claim_on(last), None, "nothing of it was taken");
    assert_eq!(bench.memory.irs_store64(IRS, last, 1), Ok(()));
    assert_eq!(bench.memory.irs_load64(IRS, last), Ok(1));
    let odd = last.offset(4).unwrap();
    assert_eq!(bench.memory.irs_load64(IRS, odd), Err(BusError { address: odd }));
    assert_eq!(bench.memory.irs_load32(IRS, odd), Ok(0));
    bench.load(last);
    bench.memory.load32(&mut bench.report, HERE, odd);
    assert_eq!(bench.broken(), NO_RULE);
    bench.load(odd);
    assert_eq!(bench.broken(), ["MEM-1"]);
}

// Allocation.

#[test]
fn every_structure_blames_its_own_rule_for_memory_that_is_freed_and_reused_too_early() {
    for coherency in [Coherent, NonCoherent] {
        for &structure in StructureKind::ALL {
            let mut bench = Bench::new(coherency);
            let (block, neighbour) = (bench.allocate(8192), bench.allocate(8192));
            bench.own(at(&block, 8192 - 64), 64, structure);
            bench.irs_store(at(&block, 8192 - 64), 0x1110);
            bench.free(neighbour);
            assert_eq!(bench.broken(), NO_RULE);
            bench.free(block);
            assert_eq!(bench.broken(), [structure.rules().freed.id()]);
            // The IRS still has it, and does not see that it is somebody else's.
            let block = bench.allocate(8192);
            assert_eq!(bench.broken(), [structure.rules().freed.id()]);
            assert_eq!(bench.irs(at(&block, 8192 - 64)), 0x1110);
            bench.store(at(&block, 8192 - 64), 3);
            assert_eq!(bench.broken(), [structure.rules().stored.id()]);
            bench.disown(at(&block, 8192 - 64), 64);
            bench.free(block);
            bench.allocate(8192);
            assert_eq!(bench.broken(), NO_RULE);
        }
    }
}

#[test]
fn an_entry_that_is_merely_fillable_keeps_its_table_from_being_freed() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(4096);
    bench.fill(at(&block, 0), 4096, StructureKind::L2Vmte);
    bench.free(block);
    assert_eq!(bench.broken(), ["VMT-16"]);
}

#[test]
fn a_block_is_zero_for_software_and_for_the_irs_whatever_was_there_before() {
    for coherency in [Coherent, NonCoherent] {
        let mut bench = Bench::new(coherency);
        let (keep, block) = (bench.allocate(32), bench.allocate(32));
        let address = block.address();
        bench.store(at(&keep, 0), 5);
        bench.irs_store(at(&block, 8), 1);
        bench.store(at(&block, 0), 1);
        bench.free(block);
        let block = bench.allocate(32);
        assert_eq!(block.address(), address, "freed memory is soon used again");
        bench.clean(at(&keep, 0), 64);
        for offset in [0, 8] {
            assert_eq!((bench.load(at(&block, offset)), bench.irs(at(&block, offset))), (0, 0), "{coherency:?}");
        }
        assert_eq!(bench.irs(at(&keep, 0)), 5);
        assert_eq!(bench.broken(), NO_RULE);
    }
}

#[test]
fn a_block_freed_twice_or_elsewhere_is_mem_2() {
    let mut bench = Bench::new(Coherent);
    let before = bench.clone();
    let block = bench.allocate(64);
    let mut restored = before;
    restored.free(block);
    assert_eq!(restored.broken(), ["MEM-2"]);
    let other = restored.allocate(64);
    assert_eq!(bench.memory.accounts().blocks().count(), 1);
    bench.free(other);
    assert_eq!(bench.broken(), NO_RULE, "the same block: the same number at the same place");
    let again = ModelBlock { id: BlockId(0), address: bench.memory.config().base, size: 64 };
    bench.free(again);
    assert_eq!(bench.broken(), ["MEM-2"]);
}

#[test]
fn an_access_outside_its_block_or_not_aligned_is_mem_1() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(64);
    let mut place = |offset, width| bench.memory.in_block(&mut bench.report, &block, offset, width);
    assert_eq!(place(56, Width::W64), Some(at(&block, 56)));
    assert_eq!(place(60, Width::W32), Some(at(&block, 60)));
    assert_eq!(bench.report.checker.count(), 0);
    let mut place = |offset, width| bench.memory.in_block(&mut bench.report, &block, offset, width);
    for (offset, width) in
        [(64, Width::W32), (60, Width::W64), (4, Width::W64), (2, Width::W32), (u64::MAX - 7, Width::W64)]
    {
        assert_eq!(place(offset, width), None);
    }
    assert_eq!(bench.broken(), ["MEM-1"; 5]);
    assert_eq!(bench.memory.bytes_in_block(&mut bench.report, &block, 8..64), (at(&block, 8), 56));
    assert_eq!(bench.broken(), NO_RULE);
    assert_eq!(bench.memory.bytes_in_block(&mut bench.report, &block, 8..65), (at(&block, 8), 56));
    assert_eq!(bench.memory.bytes_in_block(&mut bench.report, &block, 80..90), (at(&block, 64), 0));
    assert_eq!(bench.broken(), ["MEM-1"; 2]);
}

#[test]
fn what_was_not_given_back_is_a_leak() {
    let mut bench = Bench::new(Coherent);
    let stays = bench.allocate(64);
    let before = bench.memory.accounts();
    let (leaks, goes) = (bench.allocate(100), bench.allocate(64));
    assert_eq!(bench.memory.accounts().bytes(), 228);
    bench.free(goes);
    let found = bench.memory.accounts().leaks_since(&before);
    assert_eq!(found.iter().map(|block| (block.id, block.layout.size())).collect::<Vec<_>>(), [(leaks.id(), 100)]);
    bench.free(leaks);
    assert_eq!(bench.memory.accounts(), before);
    bench.free(stays);
    assert_eq!(bench.memory.live_blocks(), 0);
}

#[test]
fn the_allocator_keeps_blocks_apart_aligned_and_low_enough_and_ends_where_it_began() {
    for placement in [Placement::Lowest, Placement::Random] {
        let config = MemoryConfig { size: 1 << 20, reserved: 4096, placement, seed: 5, ..MemoryConfig::default() };
        let base = config.base.raw();
        let mut bench = Bench::with(config);
        let mut rng = Rng::new(11);
        let mut live: Vec<(ModelBlock, u64)> = Vec::new();
        let mut failed = 0;
        for _ in 0..20_000 {
            if rng.chance(1, 2) && !live.is_empty() {
                let (block, _) = live.swap_remove(rng.below(live.len() as u64) as usize);
                bench.free(block);
                continue;
            }
            let highest = base + rng.below(1 << 20);
            let size = (rng.below(1 << 16) >> rng.below(16)) + 1;
            let layout = BlockLayout::new(size, 1 << rng.below(15), PhysAddr::new(highest).unwrap()).unwrap();
            match bench.memory.allocate(&mut bench.report, layout) {
                Ok(block) => {
                    let (start, end) = (block.address().raw(), block.address().raw() + size);
                    assert!(start.is_multiple_of(layout.alignment()) && end - 1 <= highest && start >= base + 4096);
                    live.push((block, end));
                }
                Err(_) => failed += 1,
            }
        }
        let mut ranges: Vec<_> = live.iter().map(|(block, end)| (block.address().raw(), *end)).collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "blocks overlap");
        assert!(failed > 0 && live.len() > 20, "{failed} failed, {} live", live.len());
        for (block, _) in live {
            bench.free(block);
        }
        // Everything is one free range again.
        let everything = BlockLayout::new((1 << 20) - 4096, 1, TOP).unwrap();
        let block = bench.memory.allocate(&mut bench.report, everything).unwrap();
        assert!(bench.memory.allocate(&mut bench.report, BlockLayout::new(1, 1, TOP).unwrap()).is_err());
        bench.free(block);
        assert_eq!(bench.broken(), NO_RULE);
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_the_reason() {
    let good = MemoryConfig::default;
    let reason = |config| Memory::new(config).unwrap_err().to_string();
    for (base, size) in
        [(0x8000_0000, 0), (0x8000_0800, 4096), (0x8000_0000, 4097), (0, 1 << 41), (TOP.raw() - 4095, 8192)]
    {
        let base = PhysAddr::new(base).unwrap();
        assert!(reason(MemoryConfig { base, size, ..good() }).starts_with("RAM of"), "{base} {size:#x}");
    }
    for reserved in [4 << 30, 5 << 30, 100] {
        assert!(reason(MemoryConfig { reserved, ..good() }).contains("withheld"), "{reserved:#x}");
    }
    for cache_line in [0, 16, 48, 4096] {
        assert!(reason(MemoryConfig { cache_line, ..good() }).contains("cache line"), "{cache_line}");
    }
    let last = MemoryConfig { base: PhysAddr::new(TOP.raw() - 4095).unwrap(), size: 4096, ..good() };
    let mut bench = Bench::with(last);
    assert_eq!(bench.allocate(4096).address().raw(), TOP.raw() - 4095);
}

// Whatever the moment.

/// Which steps of the protocol for shared lines software leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Omit {
    Nothing,
    /// The clean and invalidate before an entry is changed (COH-7).
    Prepare,
    /// The clean after an entry is changed (COH-2).
    Clean,
    /// The last barrier before the command (COH-1, COH-2).
    Barrier,
    /// The invalidate, or the load barrier, before an entry is read (COH-4, SYN-10).
    Acquire,
}

/// Plays VMs that come and go in a table whose entries share lines, as software that keeps to the rules plays it but for
/// one omission, and returns how often a load or the IRS got a wrong value and how often a rule was broken.
fn come_and_go(config: MemoryConfig, omit: Omit, rounds: u32) -> (u32, u64) {
    let coherent = config.coherency == Coherent;
    let mut rng = Rng::new(config.seed).fork(1);
    let mut bench = Bench::with(config);
    let table = bench.allocate(256);
    bench.fill(at(&table, 0), 256, StructureKind::L2Vmte);
    let mut contents = [None; 8];
    let mut wrong = 0;
    for round in 0..rounds {
        let vm = rng.below(8);
        let entry = at(&table, vm * 32);
        let acquire = |bench: &mut Bench| match (omit, coherent) {
            (Omit::Acquire, _) => {}
            (_, true) => bench.memory.load_barrier(HERE),
            (_, false) => bench.invalidate(entry, 32),
        };
        match contents[vm as usize] {
            None => {
                if !coherent && omit != Omit::Prepare {
                    bench.clean(entry, 32);
                }
                let value = u64::from(round + 1) << 12;
                for word in 0..4 {
                    bench.store(entry.offset(word * 8).unwrap(), value + word * 0x100);
                }
                if !coherent && omit != Omit::Clean {
                    bench.barrier();
                    bench.memory.clean_invalidate(&mut bench.report, HERE, entry, 32);
                }
                if omit != Omit::Barrier {
                    bench.barrier();
                }
                // Time passes, then the IRS makes the VM valid.
                for _ in 0..4 {
                    bench.memory.moment(&mut bench.report);
                }
                for word in 0..4 {
                    wrong += u32::from(bench.irs(entry.offset(word * 8).unwrap()) != value + word * 0x100);
                }
                bench.own(entry, 32, StructureKind::L2Vmte);
                let first = bench.irs(entry);
                bench.irs_store(entry, first | 1);
                if rng.chance(1, 2) {
                    acquire(&mut bench);
                    wrong += u32::from(bench.load(entry) & 1 != 1);
                }
                contents[vm as usize] = Some(value);
            }
            Some(value) => {
                // The IRS makes the VM invalid.
                let first = bench.irs(entry);
                bench.irs_store(entry, first & !1);
                bench.fill(entry, 32, StructureKind::L2Vmte);
                if rng.chance(1, 2) {
                    acquire(&mut bench);
                    for word in 0..4 {
                        wrong += u32::from(bench.load(entry.offset(word * 8).unwrap()) != value + word * 0x100);
                    }
                }
                contents[vm as usize] = None;
            }
        }
        // Software looks whether some VM is valid (VMT-22).
        if rng.chance(1, 4) {
            let vm = rng.below(8);
            let entry = at(&table, vm * 32);
            match (omit, coherent) {
                (Omit::Acquire, _) => {}
                (_, true) => bench.memory.load_barrier(HERE),
                (_, false) => bench.invalidate(entry, 32),
            }
            wrong += u32::from(bench.load(entry) & 1 != u64::from(contents[vm as usize].is_some()));
        }
    }
    (wrong, bench.report.checker.count())
}

fn every_memory() -> impl Iterator<Item = MemoryConfig> {
    let early = [Eagerness::Strict, Eagerness::Random, Eagerness::Early];
    early.into_iter().flat_map(|eagerness| {
        [Coherent, NonCoherent].into_iter().flat_map(move |coherency| {
            [32, 64, 256, 2048].map(|cache_line| MemoryConfig {
                eagerness,
                coherency,
                cache_line,
                ..MemoryConfig::default()
            })
        })
    })
}

#[test]
fn software_that_keeps_to_the_rules_gets_the_right_values_whatever_the_hardware_chooses() {
    for config in every_memory() {
        // A table of 256 bytes has no lines of 2048 for itself, which COH-6 says.
        let shared =
            config.cache_line == 2048 && config.coherency == NonCoherent && config.eagerness != Eagerness::Early;
        for seed in 0..8 {
            let (wrong, broken) = come_and_go(MemoryConfig { seed, ..config.clone() }, Omit::Nothing, 200);
            assert_eq!(wrong, 0, "{config:?} seed {seed}");
            assert_eq!(broken != 0, shared, "{config:?} seed {seed}");
        }
    }
}

#[test]
fn whatever_software_leaves_out_strict_memory_shows_it() {
    let strict = |coherency| MemoryConfig { coherency, ..MemoryConfig::default() };
    for omit in [Omit::Prepare, Omit::Clean, Omit::Barrier, Omit::Acquire] {
        let (wrong, broken) = come_and_go(strict(NonCoherent), omit, 200);
        assert!(wrong > 0, "{omit:?}");
        assert_eq!(broken > 0, omit != Omit::Acquire, "{omit:?}: a stale read is wrong, but breaks no rule by itself");
    }
    let (wrong, broken) = come_and_go(strict(Coherent), Omit::Barrier, 200);
    assert!(wrong > 0 && broken > 0);
    let (wrong, broken) = come_and_go(strict(Coherent), Omit::Acquire, 200);
    assert!(wrong > 0 && broken == 0, "SYN-10: a load may come before the read that tells of the completion");
    for omit in [Omit::Prepare, Omit::Clean] {
        assert_eq!(come_and_go(strict(Coherent), omit, 200), (0, 0), "a coherent system does without");
    }
}

#[test]
fn whatever_software_leaves_out_random_memory_shows_it_sometimes_and_the_seed_brings_it_back() {
    for omit in [Omit::Prepare, Omit::Clean, Omit::Barrier, Omit::Acquire] {
        let run = |seed| {
            let config =
                MemoryConfig { coherency: NonCoherent, eagerness: Eagerness::Random, seed, ..MemoryConfig::default() };
            // It takes neighbours to see what a missing preparation does.
            come_and_go(config, omit, if omit == Omit::Prepare { 12 } else { 2 })
        };
        let outcomes: Vec<_> = (0..200).map(run).collect();
        assert!(outcomes.iter().any(|&(wrong, broken)| wrong > 0 || broken > 0), "{omit:?} never shows");
        assert!(outcomes.contains(&(0, 0)), "{omit:?} always shows");
        assert_eq!(outcomes, (0..200).map(run).collect::<Vec<_>>());
    }
}

#[test]
fn early_memory_forgives_every_omission() {
    for omit in [Omit::Prepare, Omit::Clean, Omit::Barrier, Omit::Acquire] {
        let config = MemoryConfig { coherency: NonCoherent, eagerness: Eagerness::Early, ..MemoryConfig::default() };
        assert_eq!(come_and_go(config, omit, 200), (0, 0));
    }
}

// State and observation.

#[test]
fn a_saved_memory_goes_on_exactly_as_the_original() {
    let mut bench =
        Bench::with(MemoryConfig { eagerness: Eagerness::Random, coherency: NonCoherent, ..MemoryConfig::default() });
    let block = bench.allocate(4096);
    let mut rng = Rng::new(2);
    let step = |bench: &mut Bench, number: u64| {
        let word = at(&block, number % 512 * 8);
        match number % 5 {
            0 | 1 => bench.store(word, number),
            2 => bench.clean(word, 8),
            3 => bench.irs_store(word, number),
            _ => _ = bench.load(word),
        }
    };
    let numbers: Vec<u64> = (0..2_000).map(|_| rng.next()).collect();
    numbers[..1_000].iter().for_each(|&number| step(&mut bench, number));
    let mut saved = bench.clone();
    assert!(saved == bench);
    numbers[1_000..].iter().for_each(|&number| step(&mut bench, number));
    assert!(saved != bench);
    numbers[1_000..].iter().for_each(|&number| step(&mut saved, number));
    assert!(saved == bench);
}

#[test]
fn an_observer_sees_what_happens_and_changes_nothing() {
    let play = |bench: &mut Bench| {
        let block = bench.allocate(64);
        bench.store(at(&block, 0), 7);
        bench.clean(at(&block, 0), 8);
        bench.own(at(&block, 0), 8, StructureKind::Vpete);
        bench.store(at(&block, 0), 8);
        bench.disown(at(&block, 0), 8);
        bench.free(block);
    };
    let (mut silent, mut observed) = (Bench::new(NonCoherent), Bench::new(NonCoherent));
    observed.report.log.observe(100);
    play(&mut silent);
    play(&mut observed);
    let address = silent.memory.config().base;
    let (id, owner) = (BlockId(0), Owner::vm(StructureKind::Vpete, VM));
    let violation = observed.report.checker.violations()[0].clone();
    let mut seen = Vec::new();
    observed.report.log.drain_to(&mut |tick: crate::words::clock::Tick, event: &Event| {
        assert_eq!(tick.0, 0);
        seen.push(event.clone());
    });
    assert_eq!(
        seen,
        [
            Event::Allocated { block: id, address, size: 64 },
            Event::Stored { address, width: Width::W64, value: 7 },
            Event::MemoryBarrier,
            Event::Maintenance { op: Maintenance::CleanInvalidate, address, size: 8 },
            Event::MemoryBarrier,
            Event::LineWritten { address, asked: true },
            Event::Owned { address, size: 8, owner },
            Event::Stored { address, width: Width::W64, value: 8 },
            Event::Violation(Box::new(violation)),
            Event::Disowned { address, size: 8 },
            Event::Freed { block: id, address, size: 64 },
        ]
    );
    assert!(silent.memory == observed.memory && silent.report.checker == observed.report.checker);
    assert!(silent.report.log.is_empty());
}

#[test]
fn what_software_does_is_counted() {
    let mut bench = Bench::new(NonCoherent);
    let block = bench.allocate(256);
    bench.load(at(&block, 0));
    bench.memory.load32(&mut bench.report, HERE, at(&block, 4));
    bench.store(at(&block, 0), 1);
    bench.memory.store32(&mut bench.report, HERE, at(&block, 4), 1);
    bench.clean(at(&block, 124), 8);
    bench.invalidate(at(&block, 0), 256);
    bench.clean(at(&block, 0), 0);
    let expected =
        Counters { loads: 2, stores: 2, lines_cleaned: 2, lines_invalidated: 4, barriers: 5, load_barriers: 0 };
    assert_eq!(bench.memory.counters(), expected);
}

#[test]
fn every_rule_that_memory_reports_is_in_the_book_of_rules() {
    let book = include_str!("../../../../docs/rules.md");
    let structures = StructureKind::ALL.iter().flat_map(|structure| {
        let rules = structure.rules();
        // What software may look at is an entry of a table, and the rest has no neighbours.
        assert_eq!(rules.whole_lines, rules.visible == [0; 4], "{structure:?}");
        [rules.stored, rules.filled, rules.freed].map(RuleId::id)
    });
    for rule in structures.chain(["COH-1", "COH-2", "COH-6", "COH-7", "COH-8", "VMT-21"]) {
        assert!(book.contains(&format!("- **{rule}** ")), "{rule}");
    }
    for &structure in StructureKind::ALL {
        for claim in [Claim::Owned(Owner::vm(structure, VmId::new(0))), Claim::Fillable(Owner::domain(structure))] {
            assert_eq!(Code::new(claim).claim(), Some(claim));
        }
    }
    assert_eq!(Code::FREE.claim(), None);
}

#[test]
fn sixteen_million_entries_are_owned_and_given_back_without_a_page_of_memory() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(64 << 20);
    bench.own(at(&block, 0), 64 << 20, StructureKind::LpiIst);
    bench.irs_store(at(&block, 0), 1);
    assert!(format!("{:?}", bench.memory).contains("pages: 1,"), "{:?}", bench.memory);
    bench.disown(at(&block, 0), 64 << 20);
    bench.free(block);
    assert!(format!("{:?}", bench.memory).contains("pages: 0,"), "{:?}", bench.memory);
    assert_eq!(bench.broken(), NO_RULE);
}

#[test]
fn a_store_buffer_gives_a_load_its_own_stores_and_memory_the_last_of_each_word() {
    let mut bench = Bench::new(Coherent);
    let block = bench.allocate(8192);
    // Down, up and across, halves and wholes.
    for word in [100, 3, 50, 3, 100, 0, 1023] {
        bench.store(at(&block, word * 8), word + 1);
        bench.memory.store32(&mut bench.report, HERE, at(&block, word * 8 + 4), 9);
    }
    bench.memory.store32(&mut bench.report, HERE, at(&block, 64), 5);
    for (word, value) in [(0, 1), (3, 4), (50, 51), (100, 101), (1023, 1024)] {
        assert_eq!(bench.load(at(&block, word * 8)), value | 9 << 32);
        assert_eq!(bench.irs(at(&block, word * 8)), 0);
    }
    assert_eq!(bench.load(at(&block, 16)), 0);
    bench.irs_store(at(&block, 64), 7 << 32);
    assert_eq!(bench.load(at(&block, 64)), 7 << 32 | 5, "half of the word waits");
    bench.barrier();
    for (word, value) in [(0, 1), (3, 4), (50, 51), (100, 101), (1023, 1024)] {
        assert_eq!(bench.irs(at(&block, word * 8)), value | 9 << 32);
    }
    assert_eq!(bench.irs(at(&block, 64)), 7 << 32 | 5);
}

#[test]
fn a_random_memory_lets_every_store_through_in_the_end_as_software_goes_on() {
    for coherency in [Coherent, NonCoherent] {
        let config = MemoryConfig { coherency, eagerness: Eagerness::Random, ..MemoryConfig::default() };
        let mut bench = Bench::with(config);
        let block = bench.allocate(8192);
        for value in 1..6 {
            bench.store(at(&block, 0), value);
            let loads =
                (0..1_000).take_while(|_| bench.irs(at(&block, 0)) != value && bench.load(at(&block, 4096)) == 0);
            assert!(loads.count() < 1_000, "{coherency:?}: store {value} never left");
        }
        assert_eq!(bench.broken(), NO_RULE);
    }
}
