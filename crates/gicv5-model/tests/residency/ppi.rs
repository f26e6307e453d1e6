//! Virtual PPIs, and those that are injected directly.

use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{IntId, Ppi};

use crate::bench::{Bench, PE0, PE1, VM, VPE0, both, config};

#[test]
fn a_virtual_ppi_is_pending_because_the_hypervisor_says_so() {
    // PPI-6, PPI-7, HPPI-7: whatever its handling mode; the physical one of the same number stays out of it.
    for bench in both(2) {
        for ppi in [Ppi::CNTV, Ppi::SW_PPI] {
            assert!(bench.load(PE0, VM, VPE0));
            bench.enable_virtual_ppi(PE0, ppi, 4);
            bench.host(PE0).write_raw(SysReg::ICH_PPI_PENDR0_EL2, ppi.mask());
            bench.host(PE0).isb();
            assert!(bench.virq(PE0) && !bench.virq(PE1) && !bench.machine.signals(PE0).irq);
            assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_PPI_SPENDR0_EL1), 0);
            assert_eq!(bench.guest(PE0).cdia().int_id(), Some(IntId::Ppi(ppi)));
            bench.guest(PE0).gsb_ack();
            bench.guest(PE0).cdeoi();
            bench.guest(PE0).cddi(ppi.into());
            assert_eq!(bench.host(PE0).read_raw(SysReg::ICH_PPI_ACTIVER0_EL2), 0);
            // Acknowledged, an edge is gone; a level stays until the hypervisor lowers it (ISM-3, ISM-4).
            assert_eq!(bench.virq(PE0), ppi == Ppi::CNTV);
            bench.put(PE0, None);
            assert!(!bench.virq(PE0), "HPPI-7");
            bench.host(PE0).write_raw(SysReg::ICH_PPI_PENDR0_EL2, 0);
        }
        bench.clean();
    }
}

#[test]
fn a_virtual_ppi_rings_no_doorbell() {
    // DB-23.
    let bench = Bench::new(config(1));
    bench.enable_virtual_ppi(PE0, Ppi::CNTV, 4);
    assert!(bench.load(PE0, VM, VPE0));
    bench.put(PE0, Some(31));
    bench.host(PE0).write_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTV.mask());
    bench.host(PE0).isb();
    assert!(!bench.rang(VM, VPE0), "DB-23");
    bench.clean();
}
