//! Virtual PPIs, and those that are injected directly.

use crate::bench::*;

#[test]
fn a_virtual_ppi_is_pending_because_the_hypervisor_says_so() {
    // PPI-6, PPI-7, HPPI-7: whatever its handling mode; the physical one of the same number stays out of it.
    for bench in both(2) {
        for ppi in [Ppi::CNTV, Ppi::SW_PPI] {
            assert!(bench.load(PE0, VM, VPE0));
            bench.enable_virtual_ppi(PE0, ppi, 4);
            bench.host(PE0).set_raw(SysReg::ICH_PPI_PENDR0_EL2, ppi.mask());
            assert!(bench.virq(PE0) && !bench.virq(PE1) && !bench.machine.signals(PE0).irq);
            assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_PPI_SPENDR0_EL1), 0);
            assert_eq!(bench.guest(PE0).acknowledge().int_id(), Some(IntId::Ppi(ppi)));
            bench.guest(PE0).gsb_ack();
            bench.guest(PE0).cdeoi();
            bench.guest(PE0).cddi(ppi.into());
            assert_eq!(bench.host(PE0).read_raw(SysReg::ICH_PPI_ACTIVER0_EL2), 0);
            // Acknowledged, an edge is gone; a level stays until the hypervisor lowers it (ISM-3, ISM-4).
            assert_eq!(bench.virq(PE0), ppi == Ppi::CNTV);
            bench.put(PE0, None);
            bench.host(PE0).write_raw(SysReg::ICH_PPI_PENDR0_EL2, 0);
        }
    }
}

#[test]
fn a_guest_with_ppis_only_and_no_vpe_takes_them_where_ppis_compete_alone() {
    // HPPI-7, RES-6, and open question 29 in every position: what KVM in Linux 7.1 to 7.3 writes for a guest with PPIs only.
    for position in PpisAlone::POSITIONS {
        for mut config in [config(2), eager(2)] {
            config.switches.residency.alone = *position;
            let (bench, alone) = (GuestBench::new(config), *position == PpisAlone::Compete);
            let (host, guest) = (bench.host(PE0), bench.guest(PE0));
            host.write(ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(priority(31)));
            host.write_raw(SysReg::ICH_PPI_ENABLER0_EL2, Ppi::SW_PPI.mask());
            host.set_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::SW_PPI.mask());
            assert_eq!((bench.virq(PE0), bench.virq(PE1)), (alone, false));
            assert_eq!(
                HPPIR::new_with_raw_value(guest.read_raw(SysReg::ICC_HPPIR_EL1)).int_id(),
                alone.then(|| Ppi::SW_PPI.into())
            );
            assert_eq!(guest.cdia().int_id(), alone.then(|| Ppi::SW_PPI.into()));
            guest.gsb_ack();
            guest.isb();
            assert!(!bench.virq(PE0) || !alone);
            let active = || (host.read_raw(SysReg::ICH_PPI_ACTIVER0_EL2), host.read_raw(SysReg::ICH_APR_EL2));
            assert_eq!(active(), if alone { (Ppi::SW_PPI.mask(), 1) } else { (0, 0) });
            host.write_raw(SysReg::ICH_PPI_ACTIVER0_EL2, Ppi::SW_PPI.mask());
            host.set_raw(SysReg::ICH_APR_EL2, 1);
            // A hypervisor's own VDDI has no VPE to act for (INS-17).
            host.gic(GicInsn::GIC_VDDI, DeactivateOperand::naming(Ppi::SW_PPI.into()).raw_value());
            host.gsb_sys();
            assert_eq!(active(), (Ppi::SW_PPI.mask(), 1));
            guest.cdeoi();
            guest.cddi(Ppi::SW_PPI.into());
            guest.gsb_sys();
            assert_eq!(active(), if alone { (0, 0) } else { (Ppi::SW_PPI.mask(), 1) });
        }
    }
}

#[test]
fn a_virtual_ppi_rings_no_doorbell() {
    // DB-23.
    let bench = GuestBench::new(config(1));
    bench.enable_virtual_ppi(PE0, Ppi::CNTV, 4);
    assert!(bench.load(PE0, VM, VPE0));
    bench.put(PE0, Some(31));
    bench.host(PE0).set_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTV.mask());
    assert!(!bench.rang(VM, VPE0), "DB-23");
}

/// The guest enables a PPI by itself.
fn guest_enables(bench: &GuestBench, ppi: Ppi, at: u32) {
    let guest = bench.guest(PE0);
    let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
    let value = PPI_PRIORITYR::new_with_raw_value(guest.read_raw(register)).with_priority(ppi, priority(at));
    guest.write_raw(register, value.raw_value());
    let enabler = SysReg::icc_ppi_enabler(ppi.bank());
    guest.set_raw(enabler, guest.read_raw(enabler) | ppi.mask());
}

#[test]
fn what_the_guest_and_the_hypervisor_call_differently_is_one_state() {
    // PPI-6: ICV_PPI_* and ICH_PPI_*.
    for bench in both(1) {
        let (host, guest) = (bench.host(PE0), bench.guest(PE0));
        guest_enables(&bench, Ppi::CNTV, 6);
        assert_eq!(host.read_raw(SysReg::ICH_PPI_ENABLER0_EL2), Ppi::CNTV.mask());
        let register = SysReg::ich_ppi_priorityr(Ppi::CNTV.priority_register());
        assert_eq!(PPI_PRIORITYR::new_with_raw_value(host.read_raw(register)).priority(Ppi::CNTV), priority(6));
        guest.write_raw(SysReg::ICC_PPI_SACTIVER0_EL1, Ppi::CNTV.mask());
        assert_eq!(host.read_raw(SysReg::ICH_PPI_ACTIVER0_EL2), Ppi::CNTV.mask());
        // ICH_PPI_ACTIVER sets and clears.
        host.write_raw(SysReg::ICH_PPI_ACTIVER0_EL2, Ppi::CNTP.mask());
        assert_eq!(guest.read_raw(SysReg::ICC_PPI_CACTIVER0_EL1), Ppi::CNTP.mask());
        guest.write_raw(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask() | Ppi::CNTV.mask());
        assert_eq!(host.read_raw(SysReg::ICH_PPI_PENDR0_EL2), Ppi::SW_PPI.mask(), "a guest pends no level PPI (PPI-4)");
        host.write_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTV.mask());
        assert_eq!(guest.read_raw(SysReg::ICC_PPI_CPENDR0_EL1), Ppi::CNTV.mask());
        guest.write_raw(SysReg::ICC_PPI_CPENDR0_EL1, u64::MAX);
        assert_eq!(guest.read_raw(SysReg::ICC_PPI_SPENDR0_EL1), Ppi::CNTV.mask(), "nor does it clear one (PPI-4)");
        // Nothing of it is the host's own.
        for register in [SysReg::ICC_PPI_ENABLER0_EL1, SysReg::ICC_PPI_SACTIVER0_EL1, SysReg::ICC_PPI_SPENDR0_EL1] {
            assert_eq!(host.read_raw(register), 0, "{register}");
        }
    }
}

#[test]
fn a_write_to_a_virtual_ppi_register_acts_at_an_isb() {
    // SYN-5, SYN-6.
    let bench = GuestBench::running(config(1));
    bench.enable_virtual_ppi(PE0, Ppi::CNTV, 4);
    bench.host(PE0).write_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTV.mask());
    assert!(!bench.virq(PE0));
    bench.host(PE0).isb();
    assert!(bench.virq(PE0));
    bench.guest(PE0).write_raw(SysReg::ICC_PPI_ENABLER0_EL1, 0);
    assert!(bench.virq(PE0));
    bench.guest(PE0).isb();
    assert!(!bench.virq(PE0));
}

#[test]
fn an_injected_ppi_is_pending_while_the_physical_one_is() {
    // PPI-7, PPI-8: pending is shared; enable, priority and active are not.
    for bench in both_running(1) {
        let host = bench.host(PE0);
        host.set_raw(SysReg::ICH_PPI_DVIR0_EL2, Ppi::CNTV.mask());
        bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
        assert!(!bench.virq(PE0), "the guest has not enabled it (PPI-8)");
        guest_enables(&bench, Ppi::CNTV, 4);
        assert!(bench.virq(PE0) && !bench.machine.signals(PE0).irq, "PPI-8");
        assert_eq!(bench.guest(PE0).acknowledge().int_id(), Some(IntId::Ppi(Ppi::CNTV)));
        bench.guest(PE0).gsb_ack();
        bench.guest(PE0).cdeoi();
        assert_eq!(host.read_raw(SysReg::ICC_PPI_SACTIVER0_EL1), 0, "PPI-10: the physical one is not active");
        assert_eq!(host.read_raw(SysReg::ICH_PPI_ACTIVER0_EL2), Ppi::CNTV.mask());
        // The guest programs its timer anew, and the wire falls.
        bench.machine.set_ppi_wire(PE0, Ppi::CNTV, false);
        bench.guest(PE0).cddi(Ppi::CNTV.into());
        bench.guest(PE0).gsb_sys();
        assert!(!bench.virq(PE0));
        bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
        assert!(bench.virq(PE0), "without any exit");
        host.set_raw(SysReg::ICH_PPI_DVIR0_EL2, 0);
        assert!(!bench.virq(PE0), "the virtual pending bit itself was never set");
    }
}

#[test]
fn the_virtual_pending_bit_of_an_injected_ppi_is_not_looked_at_and_not_written() {
    // PPI-7, PPI-14.
    for bench in both(1) {
        let host = bench.host(PE0);
        let both = Ppi::CNTV.mask() | Ppi::CNTP.mask();
        host.set_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTP.mask());
        host.set_raw(SysReg::ICH_PPI_DVIR0_EL2, both);
        assert_eq!(host.read_raw(SysReg::ICH_PPI_PENDR0_EL2), 0, "hardware supplies the value");
        host.set_raw(SysReg::ICH_PPI_PENDR0_EL2, u64::MAX);
        assert_eq!(host.read_raw(SysReg::ICH_PPI_PENDR0_EL2) & both, 0);
        bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
        assert_eq!(host.read_raw(SysReg::ICH_PPI_PENDR0_EL2) & both, Ppi::CNTV.mask());
        host.set_raw(SysReg::ICH_PPI_DVIR0_EL2, 0);
        assert_eq!(host.read_raw(SysReg::ICH_PPI_PENDR0_EL2) & both, Ppi::CNTP.mask(), "as it was before");
    }
}

#[test]
fn an_acknowledge_of_an_injected_edge_clears_the_pending_bit_of_both() {
    // PPI-10.
    for bench in both_running(1) {
        let host = bench.host(PE0);
        host.write_raw(SysReg::ICH_PPI_DVIR0_EL2, Ppi::SW_PPI.mask());
        host.set_raw(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask());
        guest_enables(&bench, Ppi::SW_PPI, 4);
        assert_eq!(bench.guest(PE0).cdia().int_id(), Some(IntId::Ppi(Ppi::SW_PPI)));
        assert_eq!(host.read_raw(SysReg::ICC_PPI_SPENDR0_EL1), 0);
        assert_eq!(host.read_raw(SysReg::ICC_PPI_SACTIVER0_EL1), 0);
        // It is one bit for the guest's own writes as well.
        bench.guest(PE0).write_raw(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask());
        assert_eq!(host.read_raw(SysReg::ICC_PPI_SPENDR0_EL1), Ppi::SW_PPI.mask());
        bench.guest(PE0).write_raw(SysReg::ICC_PPI_CPENDR0_EL1, Ppi::SW_PPI.mask());
        assert_eq!(host.read_raw(SysReg::ICC_PPI_SPENDR0_EL1), 0);
    }
}

#[test]
fn a_ppi_that_host_and_guest_both_take_is_told_when_the_guest_is_entered() {
    // PPI-11.
    let bench = GuestBench::running(config(1));
    let host = bench.host(PE0);
    host.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, Ppi::CNTV.mask() | Ppi::CNTHP.mask());
    host.write_raw(SysReg::ICH_PPI_DVIR0_EL2, Ppi::CNTV.mask());
    bench.clean();
    bench.guest(PE0).isb();
    bench.broken_at("PPI-11", Place::SysReg(PE0, SysReg::ICH_PPI_DVIR0_EL2));
    // The near miss: another PPI is the host's.
    host.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, Ppi::CNTHP.mask());
    bench.guest(PE0).isb();
}

#[test]
fn direct_injection_that_outlives_its_vpe_is_told_when_the_next_guest_is_entered() {
    // PPI-13.
    let bench = GuestBench::running(config(1));
    let host = bench.host(PE0);
    host.write_raw(SysReg::ICH_PPI_DVIR0_EL2, Ppi::CNTV.mask());
    bench.guest(PE0).isb();
    bench.put(PE0, None);
    assert!(bench.load(PE0, OTHER, VPE0));
    bench.clean();
    bench.guest(PE0).isb();
    bench.broken_at("PPI-13", Place::SysReg(PE0, SysReg::ICH_PPI_DVIR0_EL2));
    // The near misses: switched off before or after, or set anew for the next one.
    for (before, after) in [(Some(0), None), (None, Some(0)), (None, Some(Ppi::CNTV.mask()))] {
        host.write_raw(SysReg::ICH_PPI_DVIR0_EL2, Ppi::CNTV.mask());
        bench.guest(PE0).isb();
        for (write, at) in [(before, 0), (after, 1)] {
            if at == 1 {
                bench.put(PE0, None);
                assert!(bench.load(PE0, VM, VPE0));
            }
            if let Some(value) = write {
                host.set_raw(SysReg::ICH_PPI_DVIR0_EL2, value);
            }
        }
        bench.guest(PE0).isb();
        bench.clean();
    }
}

#[test]
fn the_virtual_ppis_that_exist_can_be_found_by_writing_ones() {
    // PPI-25, PPI-5, PPI-26.
    let bench = GuestBench::new(config(1));
    let host = bench.host(PE0);
    let mut expected = Ppi::ARCHITECTED.iter().fold(0, |all, (ppi, ..)| all | ppi.mask()) & !Ppi::GICMNT.mask();
    for bank in PpiBank::ALL {
        let register = SysReg::ich_ppi_enabler(bank);
        host.set_raw(register, u64::MAX);
        assert_eq!(host.read_raw(register), expected, "PPI-25");
        host.set_raw(register, 0);
        assert_eq!(host.read_raw(register), 0);
        expected = 0;
    }
}

#[test]
fn a_hidden_ppi_reads_as_zero_and_ignores_the_guest() {
    // PPI-27, in both positions of what is open about it.
    for (position, signalled) in [(HiddenPpi::StillSignalled, true), (HiddenPpi::NeverSignalled, false)] {
        let bench = GuestBench::running_with(1, |config| config.switches.residency.hidden = position);
        let (host, guest) = (bench.host(PE0), bench.guest(PE0));
        guest_enables(&bench, Ppi::CNTV, 4);
        guest_enables(&bench, Ppi::CNTP, 7);
        let both = Ppi::CNTV.mask() | Ppi::CNTP.mask();
        host.write_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTV.mask());
        host.write_raw(SysReg::ICH_PPI_ACTIVER0_EL2, 0);
        host.write_raw(SysReg::ICH_PPI_HVIR0_EL2, Ppi::CNTV.mask());
        for register in [
            SysReg::ICC_PPI_ENABLER0_EL1,
            SysReg::ICC_PPI_SPENDR0_EL1,
            SysReg::ICC_PPI_CACTIVER0_EL1,
            SysReg::ICC_PPI_HMR0_EL1,
        ] {
            assert_eq!(guest.read_raw(register) & Ppi::CNTV.mask(), 0, "{register}");
        }
        guest.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, 0);
        guest.write_raw(SysReg::ICC_PPI_SACTIVER0_EL1, both);
        let register = SysReg::icc_ppi_priorityr(Ppi::CNTV.priority_register());
        assert_eq!(PPI_PRIORITYR::new_with_raw_value(guest.read_raw(register)).priority(Ppi::CNTV), priority(0));
        guest.set_raw(register, u64::MAX);
        assert_eq!(host.read_raw(SysReg::ICH_PPI_ENABLER0_EL2), Ppi::CNTV.mask(), "the visible one was disabled");
        assert_eq!(host.read_raw(SysReg::ICH_PPI_ACTIVER0_EL2), Ppi::CNTP.mask());
        let register = SysReg::ich_ppi_priorityr(Ppi::CNTV.priority_register());
        assert_eq!(PPI_PRIORITYR::new_with_raw_value(host.read_raw(register)).priority(Ppi::CNTV), priority(4));
        // What the hypervisor has left enabled and pending may be signalled all the same (PPI-18).
        assert_eq!(bench.virq(PE0), signalled, "{position:?}");
        host.set_raw(SysReg::ICH_PPI_ACTIVER0_EL2, Ppi::CNTV.mask());
        guest.cddi(Ppi::CNTV.into());
        guest.gsb_sys();
        assert_eq!(host.read_raw(SysReg::ICH_PPI_ACTIVER0_EL2) == 0, signalled, "{position:?}");
    }
}

#[test]
fn the_host_deactivates_no_ppi_of_a_guest_and_a_guest_none_of_the_host() {
    // INS-7, ISM-11.
    use gicv5_arch::insn::{DeactivateOperand, GicInsn};
    for bench in both_running(1) {
        let (host, guest) = (bench.host(PE0), bench.guest(PE0));
        let active = |register| bench.host(PE0).read_raw(register);
        host.write_raw(SysReg::ICC_PPI_SACTIVER0_EL1, Ppi::CNTV.mask());
        host.write_raw(SysReg::ICH_PPI_ACTIVER0_EL2, Ppi::CNTV.mask());
        guest.cddi(Ppi::CNTV.into());
        guest.gsb_sys();
        assert_eq!(active(SysReg::ICC_PPI_SACTIVER0_EL1), Ppi::CNTV.mask());
        assert_eq!(active(SysReg::ICH_PPI_ACTIVER0_EL2), 0);
        host.write_raw(SysReg::ICH_PPI_ACTIVER0_EL2, Ppi::CNTV.mask());
        host.cddi(Ppi::CNTV.into());
        host.gsb_sys();
        assert_eq!(active(SysReg::ICC_PPI_SACTIVER0_EL1), 0);
        assert_eq!(active(SysReg::ICH_PPI_ACTIVER0_EL2), Ppi::CNTV.mask());
        // The hypervisor can, for the guest.
        host.isb();
        host.gic(GicInsn::GIC_VDDI, DeactivateOperand::naming(Ppi::CNTV.into()).raw_value());
        host.gsb_sys();
        assert_eq!(active(SysReg::ICH_PPI_ACTIVER0_EL2), 0);
    }
}

#[test]
fn a_ppi_that_a_guest_deactivated_is_inactive_when_the_hypervisor_looks() {
    // PPI-15: the exception is enough, because the state is the PE's own.
    let bench = GuestBench::running(config(1));
    bench.host(PE0).write_raw(SysReg::ICH_PPI_ACTIVER0_EL2, Ppi::CNTV.mask());
    bench.guest(PE0).cddi(Ppi::CNTV.into());
    assert_eq!(bench.guest(PE0).read_raw(SysReg::ICC_PPI_SACTIVER0_EL1), Ppi::CNTV.mask(), "SYN-1");
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICH_PPI_ACTIVER0_EL2), 0);
}

#[test]
fn a_tie_between_a_virtual_ppi_and_the_candidate_goes_either_way() {
    // HPPI-3, HPPI-4.
    for (tie, expected) in [(Tie::Ppi, IntId::Ppi(Ppi::CNTV)), (Tie::Irs, lpi(1).into())] {
        let bench = GuestBench::running_with(1, |config| config.switches.tie = tie);
        bench.inject(VM, lpi(1));
        bench.enable_virtual_ppi(PE0, Ppi::CNTV, 10);
        bench.host(PE0).set_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTV.mask());
        assert_eq!(bench.machine.virtual_hppi(PE0).map(|(id, _)| id), Some(expected));
        // One step in urgency decides.
        bench.enable_virtual_ppi(PE0, Ppi::CNTV, 9);
        assert_eq!(bench.machine.virtual_hppi(PE0).map(|(id, _)| id), Some(IntId::Ppi(Ppi::CNTV)));
        bench.enable_virtual_ppi(PE0, Ppi::CNTV, 11);
        assert_eq!(bench.machine.virtual_hppi(PE0).map(|(id, _)| id), Some(lpi(1).into()));
    }
}

#[test]
fn under_irichppidis_virtual_ppis_still_compete() {
    // RES-12, HPPI-7.
    use gicv5_arch::sysreg::ICH_CONTEXTR_EL2;
    let bench = GuestBench::running(config(1));
    bench.inject(VM, lpi(1));
    let context = bench.host(PE0).read::<ICH_CONTEXTR_EL2>();
    bench.host(PE0).set(context.with_irichppidis(true));
    assert!(!bench.virq(PE0));
    bench.enable_virtual_ppi(PE0, Ppi::CNTV, 20);
    bench.host(PE0).set_raw(SysReg::ICH_PPI_PENDR0_EL2, Ppi::CNTV.mask());
    assert_eq!(bench.guest(PE0).cdia().int_id(), Some(IntId::Ppi(Ppi::CNTV)));
}
