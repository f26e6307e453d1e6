//! What a guest does, and whom it reaches by that.

use gicv5_arch::IntId;
use gicv5_arch::values::HandlingMode;

use crate::bench::{Bench, OTHER, PE0, PE1, VM, VPE0, VPE3, affinity, both, eager, lpi, priority, spi};

#[test]
fn a_guest_works_on_the_interrupts_of_its_own_vm_and_on_no_others() {
    // GEN-3, GEN-5, GEN-6, RES-7, INJ-10, ISM-11: the same numbers everywhere.
    for bench in both(1) {
        assert!(bench.load(PE0, VM, VPE0));
        let physical = bench.machine.interrupt(lpi(3));
        let others = bench.state(OTHER, lpi(3));
        let guest = bench.guest(PE0);
        guest.cddis(lpi(3));
        guest.cdpri(lpi(3), priority(4));
        guest.cdaff(lpi(3), affinity(VPE3));
        guest.cdhm(lpi(3), HandlingMode::Level);
        guest.cdpend(lpi(3), true);
        guest.gsb_sys();
        let state = bench.state(VM, lpi(3));
        assert!(!state.enable() && state.pending());
        assert_eq!((state.priority(), state.iaffid(), state.hm()), (priority(4), affinity(VPE3), HandlingMode::Level));
        assert_eq!((bench.machine.interrupt(lpi(3)), bench.state(OTHER, lpi(3))), (physical, others), "INJ-10");
        guest.cden(lpi(3));
        guest.cdpend(lpi(3), false);
        guest.gsb_sys();
        assert!(bench.state(VM, lpi(3)).enable() && !bench.state(VM, lpi(3)).pending());
        bench.clean();
    }
}

#[test]
fn a_guest_acknowledges_drops_and_deactivates_by_itself() {
    // INS-1, INS-3, INS-4, INS-5, ISM-3, PRI-4, PRI-6, PRI-9.
    for bench in both(1) {
        assert!(bench.load(PE0, VM, VPE0));
        bench.inject(VM, lpi(1));
        bench.inject(VM, spi(2));
        let guest = bench.guest(PE0);
        let first = guest.cdia().int_id().unwrap();
        guest.gsb_ack();
        guest.isb();
        assert!(!bench.virq(PE0), "equally urgent (PRI-4)");
        assert_eq!(guest.cdia().int_id(), None, "INS-1");
        guest.cdeoi();
        assert!(bench.virq(PE0), "INS-6");
        let second = guest.cdia().int_id().unwrap();
        assert_ne!(first, second);
        assert_eq!(guest.cdia().int_id(), None);
        guest.gsb_ack();
        guest.cdeoi();
        guest.cddi(first);
        guest.cddi(second);
        guest.gsb_sys();
        for id in [lpi(1), spi(2)] {
            let state = bench.state(VM, id);
            assert!(!state.active() && !state.pending(), "{id}");
        }
        bench.clean();
    }
}

#[test]
fn a_guest_s_ipi_reaches_the_vpe_it_is_for_wherever_that_is() {
    // INJ-9, RTE-7, VPE-19.
    let bench = Bench::new(eager(2));
    assert!(bench.load(PE0, VM, VPE0) && bench.load(PE1, VM, VPE3));
    let guest = bench.guest(PE0);
    guest.cdaff(lpi(20), affinity(VPE3));
    guest.cdpend(lpi(20), true);
    assert!(bench.virq(PE1) && !bench.virq(PE0), "INJ-9");
    assert_eq!(bench.take(PE1), Some(lpi(20).into()));
    bench.put(PE1, Some(31));
    guest.cdpend(lpi(20), true);
    assert!(bench.rang(VM, VPE3), "DB-1");
    bench.clean();
}

#[test]
fn what_a_guest_deactivates_may_have_been_acknowledged_on_another_pe() {
    // INS-7.
    let bench = Bench::new(eager(2));
    assert!(bench.load(PE0, VM, VPE0) && bench.load(PE1, VM, VPE3));
    bench.inject(VM, lpi(1));
    assert_eq!(bench.guest(PE0).cdia().int_id(), Some(IntId::from(lpi(1))));
    assert!(bench.state(VM, lpi(1)).active());
    bench.guest(PE1).cddi(lpi(1).into());
    assert!(!bench.state(VM, lpi(1)).active());
    bench.clean();
}
