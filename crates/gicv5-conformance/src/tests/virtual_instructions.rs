//! The VD instructions, which act on the VM of the resident VPE, and `GIC VDPEND`, which names a VM.

use gicv5_arch::insn::PriorityOperand;

use super::prelude::*;
use crate::lab::ask;

/// An interrupt of each type.
const BOTH: [u32; 2] = [17, 18];

fn ids() -> [IrsIntId; 2] {
    [vlpi(BOTH[0]), vspi(BOTH[1])]
}

group! { "virtual_instructions";
    /// VDPEND makes an interrupt pending and takes it back, and touches nothing else.
    fn vdpend_pends_and_clears(lab) rules["INS-9", "INS-15", "INS-16"] needs[Need::Virt] {
        lab.resident()?;
        for id in ids() {
            let before = lab.vd_config(id)?;
            lab.inject(VM, id, true);
            expect("ICC_ICSR_EL1", before.with_pending(true).raw_value(), lab.vd_config(id)?.raw_value())?;
            lab.inject(VM, id, false);
            expect("ICC_ICSR_EL1", before.raw_value(), lab.vd_config(id)?.raw_value())?;
        }
        Ok(())
    }

    /// VDPEND reaches the VM that it names while another one is resident.
    fn vdpend_needs_no_residency(lab) rules["INS-15", "INJ-1"] needs[Need::Virt] {
        lab.two_vms()?;
        lab.load(0, OTHER, VPES[0])?;
        lab.inject(VM, vlpi(5), true);
        lab.expect_vd_pending(vlpi(5), false)?;
        lab.put(0)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_vd_pending(vlpi(5), true)?;
        lab.expect_virtual(0, vlpi(5))
    }

    /// VDPEND works from any PE.
    fn vdpend_works_from_any_pe(lab) rules["INS-15", "RES-8"] needs[Need::Virt, Need::Pes(2)] {
        lab.resident()?;
        lab.run_on(1, |pe| {
            pe.vdpend(VM, vspi(7), true);
            pe.gsb_sys();
        })?;
        lab.expect_virtual(0, vspi(7))
    }

    /// VDPEND on a PPI or a reserved type does nothing.
    fn vdpend_is_for_lpis_and_spis(lab) rules["INJ-4", "INS-8", "GEN-1"] needs[Need::Virt] {
        lab.resident()?;
        lab.virtual_ppi(Ppi::SW_PPI, 3)?;
        let vm = u64::from(VM.raw_value()) << 32 | 1 << 63;
        for int_type in [0u64, 1, 4, 5, 6, 7] {
            lab.pe.gic(GicInsn::GIC_VDPEND, vm | int_type << 29 | 3);
            lab.sync();
            lab.expect_no_virtual(0)?;
        }
        lab.expect_vd_pending(vlpi(3), false)?;
        lab.expect_vd_pending(vspi(3), false)
    }

    /// VDDIS disables and VDEN enables: what is pending is a candidate only while it is enabled.
    fn vden_and_vddis(lab) rules["INS-17", "ISM-9", "INS-10"] needs[Need::Virt] {
        lab.resident()?;
        for id in ids() {
            lab.inject(VM, id, true);
            lab.expect_virtual(0, id)?;
            lab.vd_enable(id, false);
            expect("ICC_ICSR_EL1.Enabled", false, lab.vd_config(id)?.enabled())?;
            lab.expect_no_virtual(0)?;
            lab.expect_vd_pending(id, true)?;
            lab.vd_enable(id, true);
            expect("ICC_ICSR_EL1.Enabled", true, lab.vd_config(id)?.enabled())?;
            lab.expect_virtual(0, id)?;
            lab.inject(VM, id, false);
        }
        Ok(())
    }

    /// VDPRI sets the priority, of which the IRS keeps the high bits.
    fn vdpri(lab) rules["INS-17", "PRI-1", "PRI-2"] needs[Need::Virt] {
        lab.resident()?;
        let dropped = 5 - lab.features.idr1.pri_bits().map_or(5, |bits| bits.count());
        for id in ids() {
            for priority in [0, 1, 15, 30, 31] {
                let before = lab.vd_config(id)?;
                lab.vd_priority(id, priority)?;
                let kept = lab.priority(priority >> dropped << dropped);
                let config = lab.vd_config(id)?;
                expect("ICC_ICSR_EL1", before.with_priority(kept).raw_value(), config.raw_value())?;
            }
        }
        Ok(())
    }

    /// VDAFF sets the target.
    fn vdaff(lab) rules["INS-17", "RTE-1", "VPE-19"] needs[Need::Virt] {
        lab.resident()?;
        for id in ids() {
            let before = lab.vd_config(id)?;
            lab.vd_target(id, VPES[1]);
            expect("ICC_ICSR_EL1", before.with_iaffid(VPES[1].into()).raw_value(), lab.vd_config(id)?.raw_value())?;
            lab.inject(VM, id, true);
            lab.expect_no_virtual(0)?;
            lab.vd_target(id, VPES[0]);
            lab.expect_virtual(0, id)?;
            lab.inject(VM, id, false);
        }
        Ok(())
    }

    /// VDHM sets the handling mode, and leaves Pending alone.
    fn vdhm(lab) rules["INS-17", "ISM-10"] needs[Need::Virt] {
        lab.resident()?;
        for id in ids() {
            lab.inject(VM, id, true);
            for mode in [HandlingMode::Level, HandlingMode::Edge] {
                let before = lab.vd_config(id)?;
                lab.vd_handling(id, mode);
                expect("ICC_ICSR_EL1", before.with_hm(mode).raw_value(), lab.vd_config(id)?.raw_value())?;
            }
            lab.inject(VM, id, false);
        }
        Ok(())
    }

    /// VDDI deactivates, and an interrupt that is still pending is a candidate again.
    fn vddi(lab) rules["INS-17", "INS-5", "ISM-7"] needs[Need::Virt] {
        let world = lab.world()?;
        lab.map_ist(VM, gicv5_arch::IrsIntType::Lpi, gicv5_arch::values::MapAction::MakeInvalid)?;
        lab.fill_ist(&world.lpis, preset(10, VPES[0]).with_active(true));
        lab.map_ist(VM, gicv5_arch::IrsIntType::Lpi, gicv5_arch::values::MapAction::MakeValid)?;
        lab.load(0, VM, VPES[0])?;
        lab.inject(VM, vlpi(4), true);
        lab.expect_no_virtual(0)?;
        lab.vd_deactivate(vlpi(4));
        expect("ICC_ICSR_EL1.Active", false, lab.vd_config(vlpi(4))?.active())?;
        expect("ICC_ICSR_EL1.Active of another", true, lab.vd_config(vlpi(5))?.active())?;
        lab.expect_virtual(0, vlpi(4))
    }

    /// Without a resident VPE the VD instructions have nobody to act for.
    fn without_residency_nothing_happens(lab) rules["INS-17", "RES-6"] needs[Need::Virt] {
        lab.resident()?;
        let before = ids().map(|id| lab.vd_config(id).map(|config| config.raw_value()));
        lab.put(0)?;
        for id in ids() {
            lab.vd_enable(id, false);
            let operand = PriorityOperand::naming(id).with_priority(lab.priority(1));
            lab.pe.gic(GicInsn::GIC_VDPRI, operand.raw_value());
            lab.vd_target(id, VPES[1]);
            lab.vd_handling(id, HandlingMode::Level);
        }
        lab.load(0, VM, VPES[0])?;
        for (id, before) in ids().into_iter().zip(before) {
            expect("ICC_ICSR_EL1", before?, lab.vd_config(id)?.raw_value())?;
        }
        Ok(())
    }

    /// VDRCFG of what cannot be reached answers F=1, and the next answer is good again.
    fn vdrcfg_of_the_unreachable(lab) rules["INS-11", "INS-12", "IST-27"] needs[Need::Virt] {
        lab.resident()?;
        lab.expect_vd_reachable(vspi(0x00ff_ff00), false)?;
        lab.expect_vd_reachable(vspi(1), true)?;
        let answer = ask(lab.pe, GicInsn::GIC_VDRCFG, 5 << 29 | 1, ICC_ICSR_EL1::ZERO);
        expect("ICC_ICSR_EL1.F of a reserved type", true, answer.f())
    }

    /// A physical LPI and a virtual one of the same number are two interrupts.
    fn physical_and_virtual_lpis_are_apart(lab) rules["ISM-11", "GEN-3", "GEN-6"] needs[Need::Virt] {
        lab.resident()?;
        let physical = lab.lpi(5)?;
        lab.pe.cdpri(physical.into(), lab.priority(9));
        lab.pend(physical)?;
        lab.expect_vd_pending(vlpi(5), false)?;
        expect("ICC_ICSR_EL1.Priority of the virtual one", 10, lab.vd_config(vlpi(5))?.priority().number())?;
        lab.vd_priority(vlpi(5), 2)?;
        lab.clear_pending(physical);
        lab.inject(VM, vlpi(5), true);
        lab.expect_pending(physical, false)?;
        expect("ICC_ICSR_EL1.Priority of the physical one", 9, lab.config(physical)?.priority().number())
    }
}
