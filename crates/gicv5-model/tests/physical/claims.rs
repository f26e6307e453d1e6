//! Memory that changes hands, piece by piece.

use crate::bench::IRS;
use gicv5_arch::PhysAddr;
use gicv5_model::memory::{Claim, Memory, MemoryConfig, Owner, Structure};
use gicv5_model::report::Report;

const OWNER: Owner = Owner::domain(Structure::L1Vmte);
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
