//! What a guest sees: its own CPU interface, and the interrupts of its own VM.

use gicv5_arch::insn::PendingOperand;
use gicv5_arch::sysreg::ICH_VMCR_EL2;

use super::prelude::*;

/// Gives some LPIs of the resident VM a priority each.
fn priorities<B: Bench>(lab: &Lab<'_, B>, all: &[(u32, u32)]) -> Outcome {
    all.iter().try_for_each(|(id, priority)| lab.vd_priority(vlpi(*id), *priority))
}

group! { "guests";
    /// A guest acknowledges, drops and deactivates its interrupt, and nothing is left of it.
    fn guest_takes_an_interrupt(lab) rules["INS-1", "INS-4", "INS-5", "ISM-3", "SYN-3"] needs[Need::Guests] {
        lab.resident()?;
        lab.inject_and_see(vlpi(1))?;
        lab.expect_guest_takes(0, Some(vlpi(1).into()))?;
        let config = lab.vd_config(vlpi(1))?;
        expect("ICC_ICSR_EL1.Active", true, config.active())?;
        expect("ICC_ICSR_EL1.Pending", false, config.pending())?;
        expect("ICH_APR_EL2", 1 << 10, lab.sysreg(SysReg::ICH_APR_EL2))?;
        lab.expect_no_virtual(0)?;
        lab.guest_finishes(0, vlpi(1))?;
        expect("ICC_ICSR_EL1.Active", false, lab.vd_config(vlpi(1))?.active())?;
        expect("ICH_APR_EL2", 0, lab.sysreg(SysReg::ICH_APR_EL2))?;
        lab.expect_guest_takes(0, None)
    }

    /// An acknowledge with nothing to take takes nothing.
    fn guest_finds_nothing(lab) rules["INS-1"] needs[Need::Guests] {
        lab.resident()?;
        lab.expect_guest_takes(0, None)?;
        expect("ICH_APR_EL2", 0, lab.sysreg(SysReg::ICH_APR_EL2))
    }

    /// The acknowledge of a Level interrupt leaves it pending, and it comes again after the deactivation until it is lowered.
    fn level_stays_pending(lab) rules["ISM-4", "ISM-7", "INJ-2"] needs[Need::Guests] {
        lab.resident()?;
        lab.vd_handling(vspi(2), HandlingMode::Level);
        lab.inject(VM, vspi(2), true);
        lab.expect_guest_takes(0, Some(vspi(2).into()))?;
        lab.expect_vd_pending(vspi(2), true)?;
        lab.expect_no_virtual(0)?;
        lab.guest_finishes(0, vspi(2))?;
        lab.expect_virtual(0, vspi(2))?;
        lab.expect_guest_takes(0, Some(vspi(2).into()))?;
        lab.inject(VM, vspi(2), false);
        lab.guest_finishes(0, vspi(2))?;
        lab.expect_no_virtual(0)
    }

    /// An edge that comes while the interrupt is active is kept, and delivered after the deactivation.
    fn edge_while_active_is_kept(lab) rules["ISM-3", "ISM-5", "ISM-7"] needs[Need::Guests] {
        lab.resident()?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_guest_takes(0, Some(vlpi(1).into()))?;
        lab.inject(VM, vlpi(1), true);
        lab.inject(VM, vlpi(1), true);
        lab.as_guest(0, |guest| { guest.cdeoi(); guest.gsb_sys(); 0 })?;
        lab.expect_no_virtual(0)?;
        lab.vd_deactivate(vlpi(1));
        lab.expect_guest_takes(0, Some(vlpi(1).into()))?;
        lab.guest_finishes(0, vlpi(1))?;
        lab.expect_no_virtual(0)
    }

    /// The most urgent interrupt is taken first.
    fn most_urgent_comes_first(lab) rules["HPPI-1", "PRI-1"] needs[Need::Guests] {
        lab.resident()?;
        priorities(lab, &[(1, 12), (2, 4), (3, 8)])?;
        for id in [1, 2, 3] {
            lab.inject(VM, vlpi(id), true);
        }
        for id in [2, 3, 1] {
            lab.expect_virtual(0, vlpi(id))?;
            lab.expect_guest_takes(0, Some(vlpi(id).into()))?;
            lab.guest_finishes(0, vlpi(id))?;
        }
        lab.expect_guest_takes(0, None)
    }

    /// Only a more urgent interrupt preempts; one of the same priority waits for the drop.
    fn running_priority_is_strict(lab) rules["PRI-4", "PRI-5", "PRI-6", "PRI-9"] needs[Need::Guests] {
        lab.resident()?;
        priorities(lab, &[(1, 8), (2, 8), (3, 4)])?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_guest_takes(0, Some(vlpi(1).into()))?;
        lab.inject(VM, vlpi(2), true);
        lab.expect_no_virtual(0)?;
        lab.inject_and_see(vlpi(3))?;
        lab.expect_guest_takes(0, Some(vlpi(3).into()))?;
        expect("ICH_APR_EL2", 1 << 8 | 1 << 4, lab.sysreg(SysReg::ICH_APR_EL2))?;
        lab.guest_finishes(0, vlpi(3))?;
        expect("ICH_APR_EL2", 1 << 8, lab.sysreg(SysReg::ICH_APR_EL2))?;
        lab.expect_no_virtual(0)?;
        lab.guest_finishes(0, vlpi(1))?;
        lab.expect_virtual(0, vlpi(2))
    }

    /// The mask lets its own priority through; the guest and the hypervisor set the same one.
    fn guest_mask_is_inclusive(lab) rules["PRI-3", "PRI-9", "SYN-6"] needs[Need::Guests] {
        lab.resident()?;
        priorities(lab, &[(1, 8)])?;
        lab.inject(VM, vlpi(1), true);
        lab.put(0)?;
        lab.load_with(true, 4, 0)?;
        lab.expect_no_virtual(0)?;
        let seen = lab.as_guest(0, |guest| {
            let seen = guest.read_raw(SysReg::ICC_PCR_EL1);
            guest.write_raw(SysReg::ICC_PCR_EL1, 8);
            guest.isb();
            seen
        })?;
        expect("ICV_PCR_EL1", 4, seen & 0x1f)?;
        let vmcr: ICH_VMCR_EL2 = lab.pe.read();
        expect("ICH_VMCR_EL2.VPMR", 8, vmcr.vpmr().number())?;
        lab.expect_virtual(0, vlpi(1))
    }

    /// With its CPU interface off a guest has no interrupt; the guest and the hypervisor switch the same bit.
    fn guest_switches_its_interface(lab) rules["PRI-8", "PRI-9"] needs[Need::Guests] {
        lab.resident()?;
        lab.inject_and_see(vlpi(1))?;
        lab.as_guest(0, |guest| { guest.write_raw(SysReg::ICC_CR0_EL1, 0); guest.isb(); 0 })?;
        expect("ICH_VMCR_EL2.EN", false, lab.pe.read::<ICH_VMCR_EL2>().en())?;
        lab.expect_no_virtual(0)?;
        lab.set_virtual_mask(true, 31);
        expect("ICV_CR0_EL1.EN", 1, lab.as_guest(0, |guest| guest.read_raw(SysReg::ICC_CR0_EL1) & 1)?)?;
        lab.expect_virtual(0, vlpi(1))
    }

    /// The guest's HPPI register has what an acknowledge would take.
    fn guest_sees_its_best_interrupt(lab) rules["HPPI-9", "HPPI-8"] needs[Need::Guests] {
        lab.resident()?;
        let best = || lab.as_guest(0, |guest| guest.read_raw(SysReg::ICC_HPPIR_EL1));
        expect("ICV_HPPIR_EL1", None, HPPIR::new_with_raw_value(best()?).int_id())?;
        lab.inject_and_see(vspi(3))?;
        expect("ICV_HPPIR_EL1", Some(IntId::from(vspi(3))), HPPIR::new_with_raw_value(best()?).int_id())
    }

    /// A guest does not see the host's interrupts, and the host does not take the guest's.
    fn host_and_guest_are_apart(lab) rules["GEN-5", "PRI-7", "ISM-11"] needs[Need::Guests] {
        lab.start()?;
        lab.resident()?;
        let physical = lab.lpi(5)?;
        lab.ready(physical, 2)?;
        lab.signal(physical)?;
        lab.expect_guest_takes(0, None)?;
        lab.inject_and_see(vlpi(6))?;
        lab.take(physical)?;
        lab.expect_nothing_to_take()?;
        expect("ICH_APR_EL2", 0, lab.sysreg(SysReg::ICH_APR_EL2))?;
        lab.finish(physical)?;
        lab.expect_guest_takes(0, Some(vlpi(6).into()))?;
        expect("ICC_APR_EL1", 0, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// A guest makes an interrupt of its own VM pending, and none of another's.
    fn guest_pends_in_its_own_vm(lab) rules["INJ-9", "INJ-10", "RES-7"] needs[Need::Guests] {
        lab.two_vms()?;
        lab.load(0, VM, VPES[0])?;
        lab.as_guest(0, |guest| {
            // Bits that would name another VM in VDPEND mean nothing here.
            let operand = PendingOperand::naming(vlpi(9)).with_pending(true).raw_value();
            guest.gic(GicInsn::GIC_CDPEND, operand | u64::from(OTHER.raw_value()) << 36);
            guest.gsb_sys();
            0
        })?;
        lab.expect_virtual(0, vlpi(9))?;
        lab.put(0)?;
        lab.load(0, OTHER, VPES[0])?;
        lab.expect_vd_pending(vlpi(9), false)
    }

    /// The kernel of an nVHE host, at EL1 with HCR_EL2.IMO=0, acts on the physical domain and has nothing of EL2.
    fn kernel_of_the_host_has_nothing_of_el2(lab) rules["GEN-5", "GEN-6"] needs[Need::Kernel] {
        lab.resident()?;
        expect("VDPEND executes", false, lab.as_kernel(|kernel| kernel.vdpend(VM, vspi(7), true))?)?;
        lab.sync();
        lab.expect_vd_pending(vspi(7), false)?;
        let context = lab.sysreg(SysReg::ICH_CONTEXTR_EL2);
        let write = lab.as_kernel(|kernel| kernel.write_raw(SysReg::ICH_CONTEXTR_EL2, 0))?;
        expect("a write of ICH_CONTEXTR_EL2 executes", false, write)?;
        expect("ICH_CONTEXTR_EL2", context, lab.sysreg(SysReg::ICH_CONTEXTR_EL2))?;
        let physical = lab.lpi(5)?;
        expect("CDPEND executes", true, lab.as_kernel(|kernel| kernel.cdpend(physical.into(), true))?)?;
        lab.on(0, |pe| { pe.gsb_sys(); 0 })?;
        lab.expect_vd_pending(vlpi(5), false)?;
        lab.expect_pending(physical, true)
    }

    /// A guest interrupts another VPE of its VM, which is resident on another PE.
    fn guest_interrupts_another_vpe(lab) rules["INJ-9", "RTE-7", "INS-7"] needs[Need::Guests, Need::Pes(2)] {
        lab.resident()?;
        lab.load(1, VM, VPES[1])?;
        lab.as_guest(0, |guest| {
            guest.cdaff(vlpi(20), VPES[1].into());
            guest.cdpend(vlpi(20), true);
            guest.gsb_sys();
            0
        })?;
        lab.expect_virtual(1, vlpi(20))?;
        lab.expect_no_virtual(0)?;
        lab.expect_guest_takes(1, Some(vlpi(20).into()))?;
        // Deactivation works from any PE.
        lab.as_guest(0, |guest| { guest.cddi(vlpi(20).into()); guest.gsb_sys(); 0 })?;
        expect("ICC_ICSR_EL1.Active", false, lab.vd_config(vlpi(20))?.active())
    }

    /// A guest's instructions change its interrupts, and its question is answered about them.
    fn guest_configures_its_interrupts(lab) rules["INS-12", "INS-13", "GEN-6", "INS-20"] needs[Need::Guests] {
        lab.resident()?;
        let answer = lab.as_guest(0, |guest| {
            guest.cdpri(vspi(30), gicv5_arch::Priority::MOST_URGENT);
            guest.cdaff(vspi(30), VPES[1].into());
            guest.cdhm(vspi(30), HandlingMode::Level);
            guest.cddis(vspi(30));
            guest.gsb_sys();
            guest.cdrcfg(vspi(30));
            guest.isb();
            guest.read_raw(SysReg::ICC_ICSR_EL1)
        })?;
        let seen = ICC_ICSR_EL1::new_with_raw_value(answer);
        expect("ICC_ICSR_EL1.F", false, seen.f())?;
        expect("ICC_ICSR_EL1.Enabled", false, seen.enabled())?;
        expect("ICC_ICSR_EL1.Priority", 0, seen.priority().number())?;
        expect("ICC_ICSR_EL1.HM is Level", true, seen.hm() == HandlingMode::Level)?;
        expect("ICC_ICSR_EL1.IAFFID", VPES[1].raw_value(), seen.iaffid().raw_value())?;
        expect("ICC_ICSR_EL1 of VDRCFG", answer, lab.vd_config(vspi(30))?.raw_value())
    }

    /// A guest's active priorities go with it when the hypervisor saves and restores ICH_APR_EL2.
    fn active_priorities_are_restored(lab) rules["RES-16", "PRI-9", "PRI-4"] needs[Need::Guests] {
        lab.resident()?;
        priorities(lab, &[(1, 8), (2, 12)])?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_guest_takes(0, Some(vlpi(1).into()))?;
        let saved = lab.sysreg(SysReg::ICH_APR_EL2);
        lab.put(0)?;
        lab.inject(VM, vlpi(2), true);
        lab.load_with(true, 31, saved)?;
        lab.expect_no_virtual(0)?;
        lab.guest_finishes(0, vlpi(1))?;
        lab.expect_virtual(0, vlpi(2))
    }

    /// The guest's PPI registers are the hypervisor's, by another name.
    fn guest_and_hypervisor_share_the_ppis(lab) rules["PPI-6", "PPI-4"] needs[Need::Guests] {
        lab.resident()?;
        let bank = PpiBank::Architected;
        let mask = Ppi::SW_PPI.mask();
        lab.as_guest(0, |guest| {
            guest.write_raw(SysReg::icc_ppi_enabler(bank), mask);
            guest.write_raw(SysReg::icc_ppi_spendr(bank), mask | Ppi::CNTV.mask());
            guest.write_raw(SysReg::icc_ppi_sactiver(bank), Ppi::CNTV.mask());
            guest.isb();
            0
        })?;
        expect("ICH_PPI_ENABLER0_EL2", mask, lab.sysreg(SysReg::ich_ppi_enabler(bank)))?;
        // A guest cannot make a Level PPI pending.
        expect("ICH_PPI_PENDR0_EL2", mask, lab.sysreg(SysReg::ich_ppi_pendr(bank)))?;
        expect("ICH_PPI_ACTIVER0_EL2", Ppi::CNTV.mask(), lab.sysreg(SysReg::ich_ppi_activer(bank)))?;
        lab.expect_guest_takes(0, Some(Ppi::SW_PPI.into()))?;
        expect("ICH_PPI_PENDR0_EL2", 0, lab.sysreg(SysReg::ich_ppi_pendr(bank)))?;
        expect("ICC_PPI_SACTIVER0_EL1", 0, lab.sysreg(SysReg::icc_ppi_sactiver(bank)))
    }
}
