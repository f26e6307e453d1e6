//! What a guest does, and whom it reaches by that.

use crate::bench::*;

#[test]
fn a_guest_works_on_the_interrupts_of_its_own_vm_and_on_no_others() {
    // GEN-3, GEN-5, GEN-6, RES-7, INJ-10, ISM-11: the same numbers everywhere.
    for bench in both_running(1) {
        let physical = bench.machine.interrupt(lpi(3));
        let others = bench.state_in(OTHER, lpi(3));
        let guest = bench.guest(PE0);
        guest.cddis(lpi(3));
        guest.cdpri(lpi(3), priority(4));
        guest.cdaff(lpi(3), affinity(VPE3));
        guest.cdhm(lpi(3), HandlingMode::Level);
        guest.set_pending(lpi(3), true);
        let state = bench.state_in(VM, lpi(3));
        assert!(!state.enable() && state.pending());
        assert_eq!((state.priority(), state.iaffid(), state.hm()), (priority(4), affinity(VPE3), HandlingMode::Level));
        assert_eq!((bench.machine.interrupt(lpi(3)), bench.state_in(OTHER, lpi(3))), (physical, others), "INJ-10");
        guest.cden(lpi(3));
        guest.set_pending(lpi(3), false);
        assert!(bench.state_in(VM, lpi(3)).enable() && !bench.state_in(VM, lpi(3)).pending());
    }
}

#[test]
fn a_guest_acknowledges_drops_and_deactivates_by_itself() {
    // INS-1, INS-3, INS-4, INS-5, ISM-3, PRI-4, PRI-6, PRI-9.
    for bench in both_running(1) {
        bench.inject(VM, lpi(1));
        bench.inject(VM, spi(2));
        let guest = bench.guest(PE0);
        let first = guest.acknowledge().int_id().unwrap();
        guest.gsb_ack();
        guest.isb();
        assert!(!bench.virq(PE0), "equally urgent (PRI-4)");
        assert_eq!(guest.acknowledge().int_id(), None, "INS-1");
        guest.cdeoi();
        assert!(bench.virq(PE0), "INS-6");
        let second = guest.acknowledge().int_id().unwrap();
        assert_ne!(first, second);
        assert_eq!(guest.acknowledge().int_id(), None);
        guest.gsb_ack();
        guest.cdeoi();
        guest.cddi(first);
        guest.cddi(second);
        guest.gsb_sys();
        for id in [lpi(1), spi(2)] {
            let state = bench.state_in(VM, id);
            assert!(!state.active() && !state.pending(), "{id}");
        }
    }
}

#[test]
fn a_guest_s_ipi_reaches_the_vpe_it_is_for_wherever_that_is() {
    // INJ-9, RTE-7, VPE-19.
    let bench = GuestBench::new(eager(2));
    assert!(bench.load(PE0, VM, VPE0) && bench.load(PE1, VM, VPE3));
    let guest = bench.guest(PE0);
    guest.cdaff(lpi(20), affinity(VPE3));
    guest.cdpend(lpi(20), true);
    assert!(bench.virq(PE1) && !bench.virq(PE0), "INJ-9");
    assert_eq!(take(&bench.guest(PE1)), Some(lpi(20).into()));
    bench.put(PE1, Some(31));
    guest.cdpend(lpi(20), true);
    assert!(bench.rang(VM, VPE3), "DB-1");
}

#[test]
fn what_a_guest_deactivates_may_have_been_acknowledged_on_another_pe() {
    // INS-7.
    let bench = GuestBench::new(eager(2));
    assert!(bench.load(PE0, VM, VPE0) && bench.load(PE1, VM, VPE3));
    bench.inject(VM, lpi(1));
    assert_eq!(bench.guest(PE0).cdia().int_id(), Some(IntId::from(lpi(1))));
    assert!(bench.state_in(VM, lpi(1)).active());
    bench.guest(PE1).cddi(lpi(1).into());
    assert!(!bench.state_in(VM, lpi(1)).active());
}

#[test]
fn mask_enable_and_active_priorities_have_two_names_and_one_state() {
    // PRI-9, PRI-2: the guest's ICC_CR0_EL1, ICC_PCR_EL1 and ICC_APR_EL1 are ICH_VMCR_EL2 and ICH_APR_EL2.
    for bench in both_running(1) {
        let (host, guest) = (bench.host(PE0), bench.guest(PE0));
        guest.write_raw(SysReg::ICC_PCR_EL1, 7);
        guest.write_raw(SysReg::ICC_CR0_EL1, 0);
        guest.set_raw(SysReg::ICC_APR_EL1, 0x30);
        let vmcr = host.read::<ICH_VMCR_EL2>();
        assert_eq!((vmcr.vpmr(), vmcr.en(), host.read_raw(SysReg::ICH_APR_EL2)), (priority(7), false, 0x30));
        assert_eq!(host.read_raw(SysReg::ICC_PCR_EL1), 31, "the host's own mask stays");
        assert_eq!((host.read_raw(SysReg::ICC_CR0_EL1), host.read_raw(SysReg::ICC_APR_EL1)), (1, 0));
        host.write(ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(priority(20)));
        host.write_raw(SysReg::ICH_APR_EL2, 0x100);
        assert_eq!(guest.read_raw(SysReg::ICC_PCR_EL1), PCR::ZERO.with_priority(priority(20)).raw_value());
        assert_eq!(guest.read_raw(SysReg::ICC_CR0_EL1), ICV_CR0_EL1::ZERO.with_en(true).raw_value());
        // By the names of the specification as well.
        assert_eq!(guest.read_raw(SysReg::ICV_APR_EL1), 0x100);
    }
}

#[test]
fn the_guest_s_mask_acts_at_once_and_its_enable_after_an_isb() {
    // SYN-6, PRI-3, PRI-8, PRI-9.
    let bench = GuestBench::running(config(1));
    bench.inject(VM, lpi(1));
    let guest = bench.guest(PE0);
    guest.write_raw(SysReg::ICC_PCR_EL1, 9);
    assert!(!bench.virq(PE0), "PRI-3");
    guest.write_raw(SysReg::ICC_PCR_EL1, 10);
    assert!(bench.virq(PE0), "PRI-3");
    guest.write_raw(SysReg::ICC_CR0_EL1, 0);
    assert!(bench.virq(PE0), "SYN-6");
    guest.isb();
    assert!(!bench.virq(PE0), "PRI-8");
    assert_eq!(guest.cdia().int_id(), None);
}

#[test]
fn entering_and_leaving_a_guest_lets_what_was_written_act_and_the_outputs_show_it() {
    // SYN-6, HPPI-8: exception entry and return synchronise the context.
    let bench = GuestBench::new(config(1));
    let (host, guest) = (bench.host(PE0), bench.guest(PE0));
    host.cdpri(lpi(5), priority(3));
    host.cden(lpi(5));
    host.set_pending(lpi(5), true);
    assert!(bench.load(PE0, VM, VPE0));
    bench.inject(VM, lpi(1));
    host.write(ICC_CR0_EL1::ZERO);
    assert!(bench.machine.signals(PE0).irq, "it waits");
    let _ = guest.read_raw(SysReg::ICC_PCR_EL1);
    assert!(!bench.machine.signals(PE0).irq);
    guest.write(ICC_CR0_EL1::ZERO);
    assert!(bench.virq(PE0), "it waits");
    let _ = host.read_raw(SysReg::ICC_PCR_EL1);
    assert!(!bench.virq(PE0));
}

#[test]
fn the_hppi_can_be_read_from_both_levels_and_changes_nothing() {
    // HPPI-9.
    for bench in both_running(1) {
        let read = |register| gicv5_arch::sysreg::HPPIR::new_with_raw_value(register).int_id();
        let (host, guest) = (bench.host(PE0), bench.guest(PE0));
        assert_eq!(read(guest.read_raw(SysReg::ICC_HPPIR_EL1)), None);
        bench.inject(VM, spi(5));
        for _ in 0..2 {
            assert_eq!(read(guest.read_raw(SysReg::ICC_HPPIR_EL1)), Some(spi(5).into()));
            assert_eq!(read(host.read_raw(SysReg::ICH_HPPIR_EL2)), Some(spi(5).into()));
            assert_eq!(read(host.read_raw(SysReg::ICC_HPPIR_EL1)), None, "nor is it the host's");
        }
        assert_eq!(take(&bench.guest(PE0)), Some(spi(5).into()));
    }
}

#[test]
fn the_hypervisor_works_on_the_resident_vm_and_on_nobody_if_none_is() {
    // INS-17, GEN-6, RES-6.
    for bench in both(1) {
        let vd = |insn: GicInsn, xt: u64| {
            bench.host(PE0).gic(insn, xt);
            bench.host(PE0).gsb_sys();
        };
        let id = IntIdOperand::naming(lpi(9)).raw_value();
        let before = bench.state_in(VM, lpi(9));
        vd(GicInsn::GIC_VDDIS, id);
        bench.host(PE0).gic(GicInsn::GIC_VDRCFG, id);
        bench.host(PE0).isb();
        assert!(bench.host(PE0).read::<ICC_ICSR_EL1>().f(), "INS-17");
        assert_eq!(bench.state_in(VM, lpi(9)), before, "INS-17");
        assert!(bench.load(PE0, VM, VPE0));
        let physical = bench.machine.interrupt(lpi(9));
        vd(GicInsn::GIC_VDDIS, id);
        assert!(!bench.state_in(VM, lpi(9)).enable());
        vd(GicInsn::GIC_VDEN, id);
        assert!(bench.state_in(VM, lpi(9)).enable());
        vd(GicInsn::GIC_VDPRI, id | 3 << 35);
        vd(GicInsn::GIC_VDAFF, id | 3 << 32);
        vd(GicInsn::GIC_VDHM, id | 1 << 32);
        let state = bench.state_in(VM, lpi(9));
        assert_eq!((state.priority(), state.iaffid(), state.hm()), (priority(3), affinity(VPE3), HandlingMode::Level));
        vd(GicInsn::GIC_VDAFF, id);
        bench.inject(VM, lpi(9));
        assert_eq!(bench.guest(PE0).cdia().int_id(), Some(lpi(9).into()));
        bench.guest(PE0).gsb_ack();
        assert!(bench.state_in(VM, lpi(9)).active());
        vd(GicInsn::GIC_VDDI, id);
        assert!(!bench.state_in(VM, lpi(9)).active());
        bench.host(PE0).gic(GicInsn::GIC_VDRCFG, id);
        bench.host(PE0).isb();
        let icsr = bench.host(PE0).read::<ICC_ICSR_EL1>();
        assert!(!icsr.f() && icsr.enabled() && icsr.priority() == priority(3), "INS-13");
        assert_eq!((bench.machine.interrupt(lpi(9)), bench.state_in(OTHER, lpi(9))), (physical, before));
    }
}

#[test]
fn a_question_about_nobody_fails_or_leaves_the_old_answer() {
    // INS-17, open question 15.
    for (position, fails) in [(AnswerForNobody::Fails, true), (AnswerForNobody::OldAnswer, false)] {
        let bench = GuestBench::with(1, |config| config.switches.residency.nobody = position);
        let old = ICC_ICSR_EL1::ZERO.with_enabled(true).with_priority(priority(9));
        for level in [Level::Host, Level::Guest] {
            let (pe, insn) = match level {
                Level::Host | Level::Kernel => (bench.host(PE0), GicInsn::GIC_VDRCFG),
                Level::Guest => (bench.guest(PE0), GicInsn::GIC_CDRCFG),
            };
            pe.set(old);
            pe.gic(insn, IntIdOperand::naming(lpi(1)).raw_value());
            pe.isb();
            let answer = pe.read::<ICC_ICSR_EL1>();
            assert_eq!((answer.f(), answer == old), (fails, !fails), "{position:?} {level:?}");
        }
    }
}

#[test]
fn a_command_acts_for_the_vpe_that_was_resident_when_it_was_given() {
    // RES-7, INJ-10: its effect may come after the VPE has left.
    let bench = GuestBench::running(config(1));
    bench.guest(PE0).cdpend(lpi(4), true);
    bench.put(PE0, None);
    assert!(bench.load(PE0, OTHER, VPE0));
    assert!(!bench.state_in(VM, lpi(4)).pending());
    bench.guest(PE0).gsb_sys();
    assert!(bench.state_in(VM, lpi(4)).pending() && !bench.state_in(OTHER, lpi(4)).pending());
}

#[test]
fn what_a_guest_has_begun_never_reaches_a_later_vm_of_the_same_id() {
    // INJ-10, VM-12. What the host injects by the VM's ID does (INS-15).
    for (invalid, by_guest, arrives) in [(false, true, true), (true, true, false), (true, false, true)] {
        let bench = GuestBench::running_with(1, |config| config.effect_latency = u64::MAX);
        match by_guest {
            true => bench.guest(PE0).cdpend(lpi(1), true),
            false => bench.host(PE0).vdpend(VM, lpi(1), true),
        }
        bench.put(PE0, None);
        if invalid {
            bench.map_vm(VM, MapAction::MakeInvalid);
            bench.map_vm(VM, MapAction::MakeValid);
        }
        assert!(!bench.state_in(VM, lpi(1)).pending());
        bench.host(PE0).gsb_sys();
        assert_eq!(bench.state_in(VM, lpi(1)).pending(), arrives, "{invalid} {by_guest}");
        bench.broken(if invalid { &["VPE-8"; 2] } else { &[] });
    }
}

#[test]
fn a_guest_without_a_vpe_does_nothing_and_learns_nothing() {
    // RES-6, HPPI-7.
    for bench in both(1) {
        let states = || [VM, OTHER].map(|vm| bench.state_in(vm, lpi(3)));
        let (before, physical) = (states(), bench.machine.interrupt(lpi(3)));
        bench.inject(VM, lpi(8));
        let guest = bench.guest(PE0);
        guest.cddis(lpi(3));
        guest.cdpend(lpi(3), true);
        guest.cdpri(lpi(3), priority(1));
        guest.cddi(lpi(3).into());
        guest.gsb_sys();
        assert_eq!((guest.cdia().int_id(), guest.cdnmia().int_id()), (None, None));
        guest.cdrcfg(lpi(3));
        guest.isb();
        assert!(guest.read::<ICC_ICSR_EL1>().f());
        assert_eq!((states(), bench.machine.interrupt(lpi(3))), (before, physical));
    }
}

#[test]
fn a_guest_entered_although_its_vpe_could_not_be_made_resident_is_told_once() {
    // RES-19, RES-2.
    let bench = GuestBench::new(config(1));
    let place = Place::SysReg(PE0, SysReg::ICH_CONTEXTR_EL2);
    assert!(!bench.load(PE0, VM, gicv5_arch::VpeId::new(1)));
    bench.guest(PE0).isb();
    bench.broken_at("RES-19", place);
    bench.host(PE0).isb();
    bench.guest(PE0).isb();
    bench.clean();
    // It is no mistake to run whom one could make resident after all, or to give up.
    assert!(!bench.load(PE0, VM, gicv5_arch::VpeId::new(1)));
    assert!(bench.load(PE0, VM, VPE0));
    bench.guest(PE0).isb();
    assert!(!bench.load(PE0, OTHER, gicv5_arch::VpeId::new(1)));
    bench.broken(&["RES-22"]);
    bench.put(PE0, None);
    bench.guest(PE0).isb();
}

#[test]
fn the_answer_of_a_read_configuration_leaks_unless_it_is_saved() {
    // INS-12, INS-13, INS-14.
    for bench in both_running(1) {
        let (host, guest) = (bench.host(PE0), bench.guest(PE0));
        guest.cdrcfg(lpi(3));
        guest.isb();
        let answer = guest.read::<ICC_ICSR_EL1>();
        assert!(answer.enabled() && answer.priority() == priority(10), "its own answer");
        // The hypervisor saves it, asks for itself, and puts it back.
        let saved = host.read::<ICC_ICSR_EL1>();
        host.cdrcfg(lpi(0x900));
        host.isb();
        assert!(!host.read::<ICC_ICSR_EL1>().enabled());
        host.write(saved);
        assert_eq!(guest.read::<ICC_ICSR_EL1>(), answer);
        bench.clean();
        // Or it does not.
        host.cdrcfg(lpi(0x900));
        host.isb();
        assert_ne!(guest.read::<ICC_ICSR_EL1>(), answer);
        bench.broken_at("INS-14", Place::SysReg(PE0, SysReg::ICC_ICSR_EL1));
        // The answer of one VPE is no other one's either.
        guest.cdrcfg(lpi(3));
        guest.isb();
        bench.put(PE0, None);
        assert!(bench.load(PE0, OTHER, VPE0));
        let _ = guest.read::<ICC_ICSR_EL1>();
        bench.broken(&["INS-14"]);
    }
}

#[test]
fn priority_0_is_an_nmi_to_a_guest_that_wants_it_so() {
    // INS-2, HPPI-8, PRI-1.
    for bench in both_running(1) {
        let guest = bench.guest(PE0);
        guest.cdpri(lpi(1), priority(0));
        guest.set_pending(lpi(1), true);
        assert_eq!(bench.machine.virtual_signals(PE0), Signals { irq: true, fiq: false, nmi: false });
        bench.machine.set_nmi(PE0, true);
        assert!(!bench.machine.virtual_signals(PE0).nmi, "that is the host's");
        bench.machine.set_guest_nmi(PE0, true);
        assert_eq!(bench.machine.virtual_signals(PE0), Signals { irq: true, fiq: false, nmi: true });
        assert_eq!(guest.acknowledge().int_id(), None, "INS-2");
        assert_eq!(guest.acknowledge_nmi().int_id(), Some(lpi(1).into()));
        guest.gsb_ack();
        assert!(!bench.machine.virtual_signals(PE0).nmi);
        guest.cdeoi();
        bench.inject(VM, lpi(2));
        assert_eq!(guest.acknowledge_nmi().int_id(), None, "INS-2");
        assert_eq!(guest.acknowledge().int_id(), Some(lpi(2).into()));
    }
}

#[test]
fn a_level_interrupt_stays_until_its_source_lowers_it() {
    // INJ-2, ISM-4, ISM-7.
    for bench in both_running(1) {
        bench.guest(PE0).cdhm(spi(4), HandlingMode::Level);
        bench.guest(PE0).gsb_sys();
        bench.inject(VM, spi(4));
        assert_eq!(take(&bench.guest(PE0)), Some(spi(4).into()));
        assert!(bench.virq(PE0), "nobody has lowered it");
        let taken = bench.guest(PE0).acknowledge().int_id();
        assert_eq!(taken, Some(spi(4).into()));
        bench.host(PE0).vdpend(VM, spi(4), false);
        bench.guest(PE0).gsb_sys();
        bench.guest(PE0).cdeoi();
        bench.guest(PE0).cddi(spi(4).into());
        bench.guest(PE0).gsb_sys();
        assert!(!bench.virq(PE0));
    }
}

#[test]
fn an_injected_interrupt_is_forwarded_rings_or_waits_whatever_the_vpe_is_doing() {
    // INJ-1, INS-15.
    let bench = GuestBench::new(eager(2));
    // From another PE than the one where the VPE is.
    assert!(bench.load(PE1, VM, VPE0));
    bench.inject(VM, lpi(1));
    assert!(bench.virq(PE1), "resident");
    assert_eq!(take(&bench.guest(PE1)), Some(lpi(1).into()));
    bench.put(PE1, Some(31));
    bench.inject(VM, lpi(1));
    assert!(bench.rang(VM, VPE0), "asleep");
    bench.host(PE0).cdpend(crate::bench::doorbell_of(VM, VPE0), false);
    bench.inject(VM, lpi(2));
    assert!(!bench.rang(VM, VPE0) && bench.state_in(VM, lpi(2)).pending(), "it stays in the IST");
}

#[test]
fn what_is_injected_before_there_is_anybody_to_take_it_is_lost_or_waits() {
    // INJ-4, INJ-8, INS-18, VM-12, VPE-20.
    let bench = GuestBench::new(eager(1));
    let nobody = gicv5_arch::VmId::new(99);
    bench.host(PE0).vdpend(nobody, lpi(1), true);
    bench.host(PE0).vdpend(VM, lpi(1 << 14), true);
    bench.host(PE0).vdpend(VM, spi(64), true);
    // A PPI: bits 31:29 are 1 (INJ-4).
    let ppi = u64::from(IntId::Ppi(gicv5_arch::Ppi::CNTV).raw());
    bench.host(PE0).gic(GicInsn::GIC_VDPEND, 1 << 63 | u64::from(VM.raw_value()) << 32 | ppi);
    assert!(bench.load(PE0, VM, VPE0));
    assert_eq!(bench.machine.virtual_hppi(PE0), None);
    // For a VPE that is not valid it waits (VPE-20).
    bench.guest(PE0).cdaff(lpi(1), gicv5_arch::Iaffid::new(1));
    bench.inject(VM, lpi(1));
    assert!(!bench.virq(PE0) && bench.state_in(VM, lpi(1)).pending());
    bench.guest(PE0).cdaff(lpi(1), affinity(VPE0));
    assert!(bench.virq(PE0));
}

#[test]
fn an_assigned_spi_reaches_a_resident_guest_without_software() {
    // INJ-6, SPI-9.
    use gicv5_arch::irs::{IRS_SPI_SELR, IRS_SPI_VMR};
    let bench = GuestBench::new(eager(1));
    let IrsIntId::Spi(wire) = spi(7) else { unreachable!() };
    bench.command(IRS_SPI_SELR::ZERO.with_id(wire));
    bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
    assert!(bench.load(PE0, VM, VPE0));
    bench.machine.set_spi_wire(wire, true);
    assert!(bench.virq(PE0) && !bench.machine.signals(PE0).irq);
    assert_eq!(take(&bench.guest(PE0)), Some(spi(7).into()));
}

#[test]
fn set_pending_may_be_an_event_for_a_guest_too() {
    // INS-9, open question 17.
    for (position, mode) in
        [(SetPending::KeepsHandlingMode, HandlingMode::Level), (SetPending::MakesEdge, HandlingMode::Edge)]
    {
        let mut config = eager(1);
        config.switches.set_pending = position;
        let bench = GuestBench::running(config);
        bench.guest(PE0).cdhm(lpi(1), HandlingMode::Level);
        bench.guest(PE0).cdpend(lpi(1), true);
        assert_eq!(bench.state_in(VM, lpi(1)).hm(), mode, "{position:?}");
    }
}

/// The bit of ICH_HFGITR_EL2 that belongs to an instruction, if one does.
fn trap_bit(insn: GicInsn) -> Option<u64> {
    let field = insn.name().replace(' ', "");
    let info = ICH_HFGITR_EL2::FIELDS.iter().find(|info| info.name == field)?;
    Some(1 << info.lsb)
}

#[test]
fn every_instruction_of_a_guest_traps_by_its_own_bit_and_by_no_other() {
    // INS-20, GEN-6, INS-19.
    let bench = GuestBench::running(config(1));
    let guest = bench.machine.pe(PE0).unwrap().guest();
    let mut traps = 0;
    for &insn in GicInsn::ALL {
        let expected = |trapped: bool| match insn.info().min_el {
            MinEl::EL1 if trapped => Fate::Traps,
            MinEl::EL1 => Fate::Executes,
            _ => Fate::Undefined,
        };
        assert_eq!(guest.fate_of_insn(insn), expected(false), "{insn}");
        let bit = trap_bit(insn);
        bench.host(PE0).set(ICH_HFGITR_EL2::new_with_raw_value(!bit.unwrap_or(0)));
        assert_eq!(guest.fate_of_insn(insn), expected(bit.is_some()), "{insn}");
        for &other in GicInsn::ALL.iter().filter(|other| **other != insn && other.info().min_el == MinEl::EL1) {
            assert_eq!(guest.fate_of_insn(other), Fate::Executes, "{other}");
        }
        bench.host(PE0).set(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
        traps += usize::from(bit.is_some());
    }
    assert_eq!(traps, ICH_HFGITR_EL2::FIELDS.len(), "every bit belongs to an instruction");
}

#[test]
fn what_traps_is_not_executed_and_whoever_does_not_ask_is_told() {
    let bench = GuestBench::running(eager(1));
    bench.host(PE0).write(ICH_HFGITR_EL2::ZERO);
    bench.host(PE0).write_raw(SysReg::ICH_HFGWTR_EL2, 0);
    bench.host(PE0).write_raw(SysReg::ICH_HFGRTR_EL2, 0);
    bench.inject(VM, lpi(1));
    assert_eq!(bench.guest(PE0).cdia().int_id(), None);
    bench.broken_at("CPU-2", Place::Insn(PE0, GicInsn::GICR_CDIA));
    bench.guest(PE0).write_raw(SysReg::ICC_PCR_EL1, 3);
    bench.broken_at("CPU-2", Place::SysReg(PE0, SysReg::ICC_PCR_EL1));
    assert_eq!(bench.guest(PE0).read_raw(SysReg::ICC_PCR_EL1), 0);
    bench.broken_at("CPU-2", Place::SysReg(PE0, SysReg::ICC_PCR_EL1));
    assert_eq!(bench.host(PE0).read::<ICH_VMCR_EL2>().vpmr(), priority(31));
    assert!(bench.virq(PE0));
    bench.guest(PE0).gic(GicInsn::GIC_VDEN, 0);
    bench.broken_at("CPU-1", Place::Insn(PE0, GicInsn::GIC_VDEN));
    let _ = bench.guest(PE0).read_raw(SysReg::ICH_APR_EL2);
    bench.broken_at("CPU-1", Place::SysReg(PE0, SysReg::ICH_APR_EL2));
}

#[test]
fn a_legacy_guest_has_no_native_instruction_and_no_native_register() {
    // INS-21, GEN-5.
    use gicv5_arch::sysreg::ICH_VCTLR_EL2;
    let bench = GuestBench::new(crate::bench::with_legacy(config(1)));
    let guest = bench.machine.pe(PE0).unwrap().guest();
    assert_eq!(guest.fate_of_insn(GicInsn::GICR_CDIA), Fate::Executes);
    bench.host(PE0).set(ICH_VCTLR_EL2::ZERO.with_en(true).with_v3(true));
    for &insn in GicInsn::ALL {
        let barrier = matches!(insn, GicInsn::GSB_SYS | GicInsn::GSB_ACK);
        assert_eq!(guest.fate_of_insn(insn), if barrier { Fate::Executes } else { Fate::Undefined }, "{insn}");
    }
    for &register in SysReg::ALL {
        let fate = guest.fate_of_read(register);
        let not_native = [SysReg::ID_AA64PFR2_EL1, SysReg::ICC_SRE_EL1].contains(&register);
        assert_eq!(fate == Fate::Executes, not_native, "{register}");
    }
}

#[test]
fn without_virtualisation_there_is_no_guest() {
    // GEN-7, GEN-24.
    let machine = gicv5_model::Machine::new(MachineConfig::new(1, 64)).unwrap();
    let (host, guest) = (machine.pe(PE0).unwrap(), machine.pe(PE0).unwrap().guest());
    for &insn in GicInsn::ALL {
        assert_eq!(guest.fate_of_insn(insn), Fate::Undefined, "{insn}");
        assert_eq!(host.fate_of_insn(insn) == Fate::Executes, insn.info().min_el == MinEl::EL1, "{insn}");
    }
    for &register in SysReg::ALL {
        assert_eq!(guest.fate_of_read(register), Fate::Undefined, "{register}");
        let host_has_it = register.name().starts_with("ICC_") && register.name().ends_with("_EL1")
            || register == SysReg::ID_AA64PFR2_EL1;
        let fate = host.fate_of_read(register);
        let absent = [SysReg::ICC_HAPR_EL1, SysReg::ICC_SRE_EL1].contains(&register);
        assert_eq!(fate == Fate::Executes, host_has_it && !absent, "{register}");
    }
}

#[test]
fn a_doorbell_is_an_ordinary_lpi_of_the_host() {
    // DB-7, DB-13.
    let bench = GuestBench::new(eager(1));
    let doorbell = crate::bench::doorbell_of(VM, VPE0);
    let host = bench.host(PE0);
    host.cdpri(doorbell, priority(5));
    host.cden(doorbell);
    assert!(bench.load(PE0, VM, VPE0));
    bench.put(PE0, Some(31));
    bench.inject(VM, lpi(1));
    assert_eq!(bench.machine.hppi(PE0), Some((doorbell.into(), priority(5))), "DB-13");
    assert_eq!(host.cdia().int_id(), Some(doorbell.into()));
    bench.set_doorbell(VM, VPE0, false);
    let IrsIntId::Lpi(id) = doorbell else { unreachable!() };
    assert_eq!(bench.machine.read::<IRS_VPE_DBR>(IRS).intid(), id, "DB-7");
}

#[test]
fn effects_that_come_when_they_like_are_there_after_a_gsb() {
    // SYN-1, SYN-4, INS-10.
    for seed in 0..16 {
        let mut config = config(1);
        config.switches.effects = Effects::Random;
        config.seed = seed;
        let bench = GuestBench::running(config);
        bench.inject(VM, lpi(1));
        let guest = bench.guest(PE0);
        guest.cddis(lpi(1));
        guest.gsb_sys();
        assert!(!bench.virq(PE0), "INS-10");
        guest.cden(lpi(1));
        guest.gsb_sys();
        assert_eq!(take(&bench.guest(PE0)), Some(lpi(1).into()));
    }
}

#[test]
fn entering_and_leaving_a_guest_completes_no_effect_of_its_instructions() {
    // SYN-2: an exception is no GSB.
    let bench = GuestBench::running(config(1));
    bench.guest(PE0).cdpend(lpi(1), true);
    bench.host(PE0).isb();
    assert!(!bench.state_in(VM, lpi(1)).pending());
    bench.host(PE0).gsb_sys();
    assert!(bench.state_in(VM, lpi(1)).pending());
    bench.host(PE0).write(ICH_CONTEXTR_EL2::ZERO);
}

#[test]
fn when_a_guest_s_instructions_act_is_a_chance_that_nobody_else_has_a_part_in() {
    // INJ-10: the moment that an effect takes is drawn from what the VM alone has.
    let early = |others: bool| {
        let bench = GuestBench::running_with(1, |config| config.switches.effects = Effects::Random);
        bench.inject(VM, lpi(1));
        let acts_at_once = |id: u32| {
            if others {
                // The host draws from another source, as do its own effects.
                bench.host(PE0).cden(lpi(0x900 + id));
            }
            bench.guest(PE0).cden(lpi(100 + id));
            bench.guest(PE0).cdpend(lpi(100 + id), true);
            let early = bench.state_in(VM, lpi(100 + id)).pending();
            bench.guest(PE0).gsb_sys();
            if others {
                bench.host(PE0).write(ICH_VCTLR_EL2::ZERO.with_en(true));
            }
            // The same of a write to a register.
            bench.guest(PE0).write(ICC_CR0_EL1::ZERO.with_en(false));
            let disabled = !bench.virq(PE0);
            bench.guest(PE0).isb();
            bench.guest(PE0).set(ICC_CR0_EL1::ZERO.with_en(true));
            (early, disabled)
        };
        (0..64).map(acts_at_once).collect::<Vec<_>>()
    };
    let alone = early(false);
    for both in [(true, true), (true, false), (false, true), (false, false)] {
        assert!(alone.contains(&both), "{both:?} happens");
    }
    assert_eq!(alone, early(true));
}

#[test]
fn the_kernel_of_an_nvhe_host_has_the_physical_interface_and_nothing_of_el2() {
    // GEN-5, GEN-6: at EL1 with HCR_EL2.IMO=0.
    let bench = GuestBench::running(config(1));
    let host = bench.machine.pe(PE0).unwrap();
    let kernel = host.kernel();
    for register in SysReg::ALL {
        let of_el2 = register.name().ends_with("_EL2");
        let expected = |fate| if of_el2 { Fate::Undefined } else { fate };
        assert_eq!(kernel.fate_of_read(*register), expected(host.fate_of_read(*register)), "a read of {register}");
        assert_eq!(kernel.fate_of_write(*register), expected(host.fate_of_write(*register)), "a write of {register}");
    }
    for insn in GicInsn::ALL {
        let expected = match insn.info().min_el {
            gicv5_arch::insn::MinEl::EL1 => Fate::Executes,
            _ => Fate::Undefined,
        };
        assert_eq!(kernel.fate_of_insn(*insn), expected, "{insn}");
    }
    let pe = Pe::new(&kernel);
    // Its domain is the physical one, although a VPE is resident.
    pe.cdpend(spi(5), true);
    pe.gsb_sys();
    assert!(bench.machine.interrupt(spi(5)).unwrap().pending());
    assert!(!bench.machine.virtual_interrupt(VM, spi(5)).unwrap().pending());
    bench.clean();
    // What is not defined there is reported and does nothing.
    pe.vdpend(VM, spi(6), true);
    pe.gsb_sys();
    bench.broken(&["CPU-1"]);
    assert!(!bench.machine.virtual_interrupt(VM, spi(6)).unwrap().pending());
    let context = host.read_sysreg(SysReg::ICH_CONTEXTR_EL2);
    pe.write_raw(SysReg::ICH_CONTEXTR_EL2, 0);
    pe.isb();
    bench.broken(&["CPU-1"]);
    assert_eq!(host.read_sysreg(SysReg::ICH_CONTEXTR_EL2), context);
}

#[test]
fn what_the_hypervisor_has_trapped_traps_from_its_own_kernel_too() {
    // INS-20: Linux lets nothing trap before it leaves EL2.
    let bench = GuestBench::new(config(1));
    let kernel = bench.machine.pe(PE0).unwrap().kernel();
    bench.host(PE0).set(ICH_HFGITR_EL2::ZERO);
    bench.host(PE0).set(ICH_HFGRTR_EL2::ZERO);
    bench.host(PE0).set(ICH_HFGWTR_EL2::ZERO);
    assert_eq!(kernel.fate_of_insn(GicInsn::GIC_CDPEND), Fate::Traps);
    assert_eq!(kernel.fate_of_read(SysReg::ICC_CR0_EL1), Fate::Traps);
    assert_eq!(kernel.fate_of_write(SysReg::ICC_CR0_EL1), Fate::Traps);
}
