//! Residency: which VPE a PE works for, and what the IRS forwards to it.

use gicv5_arch::sysreg::ICH_CONTEXTR_EL2;

use super::prelude::*;

group! { "residency";
    /// A VPE becomes resident: V is set, F is not, and the register names it.
    fn vpe_becomes_resident(lab) rules["RES-1", "RES-2"] needs[Need::Virt] {
        lab.world()?;
        let context = lab.enter_context(0, Lab::<B>::context(VM, VPES[1]))?;
        expect("ICH_CONTEXTR_EL2.F", false, context.f())?;
        expect("ICH_CONTEXTR_EL2.V", true, context.v())?;
        expect("ICH_CONTEXTR_EL2.VM", VM.raw_value(), context.vm().raw_value())?;
        expect("ICH_CONTEXTR_EL2.VPE", VPES[1].raw_value(), context.vpe().raw_value())?;
        lab.put(0)
    }

    /// A VPE of a VM that is not valid cannot be made resident.
    fn invalid_vm_fails(lab) rules["RES-2", "RES-3"] needs[Need::Virt] {
        lab.world()?;
        lab.expect_no_load(0, OTHER, VPES[0])?;
        // The PE is none the worse for it.
        lab.load(0, VM, VPES[0])
    }

    /// After a failure no VPE is resident: what the PE orders has nobody to act for.
    fn after_a_failure_nobody_is_resident(lab) rules["RES-2", "RES-6", "INS-17"] needs[Need::Virt] {
        lab.world()?;
        let context = lab.enter_context(0, Lab::<B>::context(OTHER, VPES[0]))?;
        expect("ICH_CONTEXTR_EL2.F", true, context.f())?;
        lab.vd_enable(vlpi(1), false);
        lab.put(0)?;
        lab.load(0, VM, VPES[0])?;
        expect("ICC_ICSR_EL1.Enabled", true, lab.vd_config(vlpi(1))?.enabled())
    }

    /// A resident VPE is shown what was pending before it came.
    fn pending_interrupt_is_forwarded_at_once(lab) rules["RES-9", "HPPI-7"] needs[Need::Virt] {
        lab.world()?;
        lab.inject(VM, vspi(3), true);
        lab.expect_no_virtual(0)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vspi(3))
    }

    /// It is shown what comes while it is resident, and no more of it when it is taken back.
    fn interrupt_is_forwarded_and_recalled(lab) rules["RES-8", "HPPI-6", "HPPI-9"] needs[Need::Virt] {
        lab.resident()?;
        lab.expect_no_virtual(0)?;
        lab.inject_and_see(vlpi(3))?;
        lab.inject(VM, vlpi(3), false);
        lab.expect_no_virtual(0)
    }

    /// Leaving recalls the candidate, and changes the state of no interrupt.
    fn leaving_recalls_and_changes_nothing(lab) rules["RES-10", "RES-11"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_priority(vlpi(3), 7)?;
        lab.inject_and_see(vlpi(3))?;
        lab.put(0)?;
        lab.expect_no_virtual(0)?;
        lab.load(0, VM, VPES[0])?;
        let config = lab.vd_config(vlpi(3))?;
        expect("ICC_ICSR_EL1.Pending", true, config.pending())?;
        expect("ICC_ICSR_EL1.Enabled", true, config.enabled())?;
        expect("ICC_ICSR_EL1.Active", false, config.active())?;
        expect("ICC_ICSR_EL1.Priority", 7, config.priority().number())?;
        lab.expect_virtual(0, vlpi(3))
    }

    /// A VPE is shown its own interrupts and not those of another VPE of its VM.
    fn vpe_is_shown_its_own_interrupts(lab) rules["RTE-1", "VPE-19", "RES-8"] needs[Need::Virt] {
        lab.world()?;
        lab.load(0, VM, VPES[1])?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_no_virtual(0)?;
        lab.vd_target(vlpi(2), VPES[1]);
        lab.inject_and_see(vlpi(2))
    }

    /// Two VPEs of a VM are resident on two PEs, and each is shown its own.
    fn two_vpes_on_two_pes(lab) rules["RES-4", "RES-8", "RTE-1"] needs[Need::Virt, Need::Pes(2)] {
        lab.resident()?;
        lab.load(1, VM, VPES[1])?;
        lab.vd_target(vlpi(2), VPES[1]);
        lab.inject_and_see(vlpi(1))?;
        lab.expect_no_virtual(1)?;
        lab.inject(VM, vlpi(2), true);
        lab.expect_virtual(1, vlpi(2))?;
        lab.expect_virtual(0, vlpi(1))?;
        // A change of target moves it from one PE to the other.
        lab.vd_target(vlpi(1), VPES[1]);
        lab.vd_priority(vlpi(1), 1)?;
        lab.expect_virtual(1, vlpi(1))?;
        lab.expect_no_virtual(0)
    }

    /// VPEs of two VMs are resident on two PEs at once.
    fn two_vms_on_two_pes(lab) rules["RES-4", "INJ-10", "GEN-3"] needs[Need::Virt, Need::Pes(2)] {
        lab.two_vms()?;
        lab.load(0, VM, VPES[0])?;
        lab.load(1, OTHER, VPES[0])?;
        lab.inject(OTHER, vlpi(6), true);
        lab.expect_virtual(1, vlpi(6))?;
        lab.expect_no_virtual(0)
    }

    /// A VPE moves to another PE: it leaves the old one and enters the new one, and its interrupts come along.
    fn vpe_moves_to_another_pe(lab) rules["RES-21", "RES-10", "RES-9"] needs[Need::Virt, Need::Pes(2)] {
        lab.resident()?;
        lab.inject_and_see(vspi(4))?;
        lab.put(0)?;
        lab.load(1, VM, VPES[0])?;
        lab.expect_virtual(1, vspi(4))?;
        lab.expect_no_virtual(0)
    }

    /// A PE works for the VM of the VPE that is resident, and for no other.
    fn pe_works_for_the_resident_vm(lab) rules["RES-7", "INS-17", "INJ-10"] needs[Need::Virt] {
        lab.two_vms()?;
        lab.load(0, OTHER, VPES[1])?;
        lab.vd_enable(vspi(2), false);
        lab.put(0)?;
        lab.load(0, VM, VPES[0])?;
        expect("ICC_ICSR_EL1.Enabled in the other VM", true, lab.vd_config(vspi(2))?.enabled())?;
        lab.put(0)?;
        lab.load(0, OTHER, VPES[0])?;
        expect("ICC_ICSR_EL1.Enabled", false, lab.vd_config(vspi(2))?.enabled())
    }

    /// IRICHPPIDIS takes the IRS's candidate away, and leaves the virtual PPIs.
    fn irichppidis_takes_the_candidate_away(lab) rules["RES-12", "HPPI-7"] needs[Need::Virt] {
        lab.world()?;
        lab.inject(VM, vlpi(1), true);
        let context: ICH_CONTEXTR_EL2 = Lab::<B>::context(VM, VPES[0]).with_irichppidis(true);
        expect("ICH_CONTEXTR_EL2.F", false, lab.enter_context(0, context)?.f())?;
        lab.expect_no_virtual(0)?;
        lab.virtual_ppi(Ppi::SW_PPI, 20)?;
        lab.set_sysreg(SysReg::ich_ppi_pendr(PpiBank::Architected), Ppi::SW_PPI.mask());
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        lab.put(0)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vlpi(1))
    }

    /// V=0 is no mistake where no VPE is resident.
    fn leaving_twice_is_harmless(lab) rules["RES-5", "RES-2"] needs[Need::Virt] {
        lab.world()?;
        lab.put(0)?;
        lab.load(0, VM, VPES[0])?;
        lab.put(0)?;
        lab.put(0)?;
        lab.load(0, VM, VPES[0])
    }

    /// A VPE that has left can go with its VM, and a new one of the same number can come.
    fn vpe_comes_back_after_its_vm(lab) rules["LIFE-22", "VM-2", "RES-1"] needs[Need::Virt] {
        let world = lab.resident()?;
        lab.put(0)?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        lab.expect_no_load(0, VM, VPES[0])?;
        lab.vm_with_ists(&world.table, VM)?;
        lab.load(0, VM, VPES[0])
    }
}
