//! LPIs and SPIs: the state machine, routing, selection, and the instructions that name them.

use crate::bench::*;

/// What a read-configuration says about an interrupt.
fn icsr(bench: &Bench, id: IrsIntId) -> ICC_ICSR_EL1 {
    let pe = bench.host(PE0);
    pe.cdrcfg(id);
    pe.isb();
    pe.read::<ICC_ICSR_EL1>()
}

#[test]
fn an_interrupt_of_each_type_may_have_the_same_number() {
    // GEN-1, GEN-2.
    let bench = Bench::with_lpis();
    bench.enable_ppi(PE0, ppi(27), 3);
    bench.machine.set_ppi_wire(PE0, ppi(27), true);
    bench.pend(lpi(27), 2, 0);
    bench.pend(spi(27), 1, 0);
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(bench.host(PE0).acknowledge().int_id().unwrap());
        bench.host(PE0).cdeoi();
    }
    assert_eq!(taken, [spi(27).into(), lpi(27).into(), IntId::Ppi(ppi(27))]);
    bench.host(PE0).cddi(lpi(27).into());
    assert!(bench.state(spi(27)).active());
    assert!(!bench.state(lpi(27)).active());
}

#[test]
fn pending_and_active_are_independent() {
    // ISM-1, ISM-3, ISM-5, for both types (ISM-8).
    let bench = Bench::with_lpis();
    for id in [lpi(5), spi(5)] {
        bench.enable(id, 4, 0);
        let state = || (bench.state(id).pending(), bench.state(id).active());
        assert_eq!(state(), (false, false));
        bench.host(PE0).cdpend(id, true);
        bench.host(PE0).cdpend(id, true);
        assert_eq!(state(), (true, false));
        assert_eq!(bench.host(PE0).acknowledge().int_id(), Some(id.into()));
        assert_eq!(state(), (false, true), "INS-3");
        bench.host(PE0).cdpend(id, true);
        assert_eq!(state(), (true, true));
        bench.host(PE0).cdeoi();
        assert_eq!(bench.host(PE0).acknowledge().int_id(), None, "ISM-7");
        bench.host(PE0).cddi(id.into());
        assert_eq!(state(), (true, false), "INS-5");
        assert_eq!(take(&bench.host(PE0)), Some(id.into()), "ISM-7");
        assert_eq!(state(), (false, false), "several edges are one interrupt (ISM-5)");
        assert_eq!(take(&bench.host(PE0)), None);
    }
}

#[test]
fn a_level_interrupt_stays_pending_until_its_source_lowers_it() {
    // ISM-4, from every state.
    let bench = Bench::eager(1);
    bench.trigger(5, TriggerMode::Level);
    bench.enable(spi(5), 4, 0);
    bench.machine.set_spi_wire(wire(5), true);
    assert_eq!(bench.host(PE0).acknowledge().int_id(), Some(spi(5).into()));
    assert!(bench.state(spi(5)).pending() && bench.state(spi(5)).active());
    bench.host(PE0).cdeoi();
    bench.host(PE0).cddi(spi(5).into());
    assert_eq!(bench.host(PE0).acknowledge().int_id(), Some(spi(5).into()), "the wire is still high");
    bench.machine.set_spi_wire(wire(5), false);
    assert!(!bench.state(spi(5)).pending() && bench.state(spi(5)).active());
    bench.host(PE0).cdeoi();
    bench.host(PE0).cddi(spi(5).into());
    assert_eq!(take(&bench.host(PE0)), None);
    // An explicit clear does it too.
    bench.machine.set_spi_wire(wire(5), true);
    bench.host(PE0).cdpend(spi(5), false);
    assert_eq!(bench.candidate(PE0), None);
}

#[test]
fn a_pending_interrupt_waits_for_its_enable() {
    // ISM-9.
    let bench = Bench::with_lpis();
    for id in [lpi(5), spi(5)] {
        bench.host(PE0).cdpend(id, true);
        assert_eq!(bench.candidate(PE0), None);
        bench.host(PE0).cden(id);
        assert_eq!(bench.candidate(PE0), Some(id), "HPPI-2");
        bench.host(PE0).cddis(id);
        assert!(bench.state(id).pending());
        assert_eq!(bench.candidate(PE0), None, "INS-10");
    }
}

#[test]
fn hazard_1_an_spi_can_be_disabled_and_its_pending_bit_cleared() {
    // INS-8, INS-9, INS-10.
    let bench = Bench::eager(1);
    bench.pend(spi(5), 3, 0);
    bench.host(PE0).cddis(spi(5));
    assert!(!bench.state(spi(5)).enable());
    assert_eq!(bench.candidate(PE0), None);
    bench.host(PE0).cden(spi(5));
    bench.host(PE0).cdpend(spi(5), false);
    assert!(!bench.state(spi(5)).pending());
    assert_eq!(bench.candidate(PE0), None);
}

#[test]
fn the_handling_mode_changes_neither_pending_nor_active() {
    // ISM-10, INS-9.
    let bench = Bench::with_lpis();
    for id in [lpi(5), spi(5)] {
        bench.pend(id, 3, 0);
        for mode in [HandlingMode::Level, HandlingMode::Edge, HandlingMode::Level] {
            bench.host(PE0).cdhm(id, mode);
            assert_eq!(bench.state(id).hm(), mode);
            assert!(bench.state(id).pending() && !bench.state(id).active());
        }
        assert_eq!(take(&bench.host(PE0)), Some(id.into()));
        assert!(bench.state(id).pending(), "level (ISM-4)");
        for mode in [HandlingMode::Edge, HandlingMode::Level] {
            bench.host(PE0).cdhm(id, mode);
            assert!(bench.state(id).pending());
        }
        bench.host(PE0).cdpend(id, false);
        assert_eq!(bench.state(id).hm(), HandlingMode::Level);
    }
}

#[test]
fn set_pending_does_to_the_handling_mode_what_the_switch_says() {
    // INS-9, open question 17.
    for (switch, mode) in
        [(SetPending::KeepsHandlingMode, HandlingMode::Level), (SetPending::MakesEdge, HandlingMode::Edge)]
    {
        let bench = Bench::with(1, |config| config.switches.set_pending = switch);
        bench.host(PE0).cdhm(spi(5), HandlingMode::Level);
        bench.host(PE0).set_pending(spi(5), false);
        assert_eq!(bench.state(spi(5)).hm(), HandlingMode::Level, "clearing is no edge");
        bench.host(PE0).set_pending(spi(5), true);
        assert_eq!(bench.state(spi(5)).hm(), mode);
    }
}

#[test]
fn active_is_set_by_acknowledges_only() {
    // ISM-6, ISM-12: no other instruction, wire or register write does.
    let bench = Bench::with_lpis();
    for id in [lpi(5), spi(5)] {
        bench.pend(id, 3, 0);
        bench.host(PE0).cdhm(id, HandlingMode::Level);
        bench.host(PE0).cdpend(id, false);
        bench.host(PE0).cddi(id.into());
        bench.host(PE0).cddis(id);
        bench.host(PE0).cdrcfg(id);
        assert!(!bench.state(id).active());
        assert!(!bench.state(id).pending(), "nothing but an event or CDPEND sets it");
    }
    bench.machine.set_spi_wire(wire(5), true);
    bench.machine.write_set_lpi(IRS, IRS_SETLPIR::ZERO.with_id(Lpi::new(5).unwrap()));
    assert!(!bench.state(lpi(5)).active() && !bench.state(spi(5)).active());
    assert!(bench.state(lpi(5)).pending() && bench.state(spi(5)).pending());
}

#[test]
fn the_most_urgent_candidate_is_offered_and_every_change_of_state_is_followed() {
    // HPPI-1, HPPI-2, PRI-1.
    let bench = Bench::eager(2);
    bench.linear_ist();
    bench.pend(lpi(1), 9, 0);
    assert_eq!(bench.machine.candidate(PE0), Some((lpi(1), priority(9))));
    bench.pend(spi(1), 8, 0);
    assert_eq!(bench.candidate(PE0), Some(spi(1)));
    bench.host(PE0).cdpri(lpi(1), priority(0));
    assert_eq!(bench.machine.candidate(PE0), Some((lpi(1), priority(0))));
    bench.host(PE0).cdpri(lpi(1), priority(31));
    assert_eq!(bench.candidate(PE0), Some(spi(1)));
    bench.host(PE0).cddis(spi(1));
    assert_eq!(bench.machine.candidate(PE0), Some((lpi(1), priority(31))));
    bench.host(PE0).cden(spi(1));
    assert_eq!(bench.candidate(PE0), Some(spi(1)));
    bench.host(PE0).cdpend(spi(1), false);
    assert_eq!(bench.candidate(PE0), Some(lpi(1)));
    bench.host(PE0).cdpend(spi(1), true);
    assert_eq!(bench.candidate(PE0), Some(spi(1)));
    bench.host(PE0).cdaff(spi(1), Iaffid::new(1));
    assert_eq!((bench.candidate(PE0), bench.candidate(PE1)), (Some(lpi(1)), Some(spi(1))));
    assert_eq!(bench.host(PE1).cdia().int_id(), Some(spi(1).into()));
    assert_eq!(bench.candidate(PE1), None, "active");
    bench.host(PE0).cdpend(spi(1), true);
    bench.host(PE0).cddi(spi(1).into());
    assert_eq!(bench.candidate(PE1), Some(spi(1)));
    bench.clear_ist(IRS);
    assert_eq!(bench.candidate(PE0), None, "IST validity");
}

#[test]
fn an_interrupt_reaches_the_pe_it_is_routed_to_and_no_other() {
    // RTE-1, RTE-5.
    let bench = Bench::eager(3);
    bench.linear_ist();
    for id in [lpi(7), spi(7)] {
        bench.pend(id, 3, 2);
        let offered = || [0, 1, 2].map(|n| bench.candidate(gicv5_model::PeIndex(n)));
        assert_eq!(offered(), [None, None, Some(id)]);
        bench.host(PE0).cdaff(id, Iaffid::new(1));
        assert_eq!(offered(), [None, Some(id), None]);
        assert_eq!(take(&bench.host(PE0)), None);
        assert_eq!(take(&bench.host(PE1)), Some(id.into()));
        assert_eq!(offered(), [None; 3], "nothing is duplicated");
    }
}

#[test]
fn affinity_ids_may_come_in_any_order() {
    // RTE-1.
    let bench = Bench::eager_with(2, |config| config.irses[0].pes[0].iaffid = Iaffid::new(9));
    bench.pend(spi(3), 3, 9);
    bench.pend(spi(4), 3, 1);
    assert_eq!((bench.candidate(PE0), bench.candidate(PE1)), (Some(spi(3)), Some(spi(4))));
}

#[test]
fn an_interrupt_of_an_absent_pe_waits() {
    // RTE-4.
    let bench = Bench::with_lpis();
    for target in [1, 9, u16::MAX] {
        bench.pend(lpi(7), 3, target);
        assert_eq!(bench.candidate(PE0), None);
        assert_eq!(icsr(&bench, lpi(7)).iaffid(), Iaffid::new(target));
        bench.host(PE0).cdaff(lpi(7), Iaffid::new(0));
        assert_eq!(take(&bench.host(PE0)), Some(lpi(7).into()));
    }
}

#[test]
fn without_one_of_n_the_routing_mode_is_ignored() {
    // RTE-3: the interrupt stays targeted.
    let bench = Bench::eager(2);
    let operand = AffinityOperand::naming(spi(4)).with_iaffid(Iaffid::new(1)).with_irm(RoutingMode::OneOfN);
    bench.host(PE0).gic(GicInsn::GIC_CDAFF, operand.raw_value());
    assert_eq!(icsr(&bench, spi(4)).irm(), RoutingMode::Targeted);
    bench.host(PE0).cden(spi(4));
    bench.host(PE0).cdpend(spi(4), true);
    assert_eq!((bench.candidate(PE0), bench.candidate(PE1)), (None, Some(spi(4))));
}

#[test]
fn an_ipi_is_one_lpi_per_destination() {
    // RTE-7: the sender makes an LPI pending that is routed to the receiver.
    let bench = Bench::eager(2);
    bench.linear_ist();
    bench.enable(lpi(100), 2, 1);
    bench.host(PE0).cdpend(lpi(100), true);
    assert!(bench.irq(PE1) && !bench.irq(PE0));
    assert_eq!(take(&bench.host(PE1)), Some(lpi(100).into()));
}

#[test]
fn equally_urgent_interrupts_come_in_any_order_but_each_comes_once() {
    // HPPI-4.
    let bench = Bench::with_lpis();
    for id in [lpi(1), spi(2), lpi(3)] {
        bench.pend(id, 6, 0);
    }
    assert!(bench.machine.prefer(lpi(3)));
    assert_eq!(bench.candidate(PE0), Some(lpi(3)));
    assert!(!bench.machine.prefer(lpi(4)), "not pending");
    let mut taken: Vec<_> = std::iter::from_fn(|| take(&bench.host(PE0))).collect();
    taken.sort_by_key(|id| id.raw());
    assert_eq!(taken, [lpi(1).into(), lpi(3).into(), spi(2).into()]);
}

#[test]
fn of_equals_the_irs_nominates_the_first_come_or_the_last() {
    // HPPI-4, HPPI-5.
    for (equals, order) in [(Equals::FirstCome, [1, 2, 3]), (Equals::LastCome, [3, 2, 1])] {
        let bench = Bench::eager_with(1, |config| config.switches.equals = equals);
        for id in [1, 2, 3] {
            bench.pend(spi(id), 6, 0);
        }
        let taken: Vec<_> = std::iter::from_fn(|| take(&bench.host(PE0))).collect();
        assert_eq!(taken, order.map(|id| spi(id).into()), "{equals:?}");
    }
}

#[test]
fn a_preferred_candidate_stays_first_when_others_leave() {
    // HPPI-4: whichever of the others goes.
    for gone in [1, 2] {
        let bench = Bench::eager(1);
        for id in [1, 2, 3] {
            bench.pend(spi(id), 6, 0);
        }
        assert!(bench.machine.prefer(spi(3)));
        bench.host(PE0).cddis(spi(gone));
        assert_eq!(bench.candidate(PE0), Some(spi(3)));
        assert_eq!(take(&bench.host(PE0)), Some(spi(3).into()));
        assert_eq!(take(&bench.host(PE0)), Some(spi(3 - gone).into()));
        assert_eq!(take(&bench.host(PE0)), None);
    }
}

#[test]
fn a_recalled_candidate_is_not_acknowledged() {
    // HPPI-6, INS-1.
    let bench = Bench::eager(1);
    bench.pend(spi(5), 3, 0);
    assert!(bench.irq(PE0));
    bench.host(PE0).cddis(spi(5));
    assert!(!bench.irq(PE0));
    assert_eq!(bench.host(PE0).cdia().int_id(), None);
    assert!(!bench.state(spi(5)).active());
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_APR_EL1), 0, "INS-1 changes nothing");
}

#[test]
fn an_irs_with_fewer_priority_bits_keeps_the_high_ones() {
    // PRI-2.
    for (bits, asked, kept) in
        [(PriBits::Five, 31, 31), (PriBits::Four, 31, 30), (PriBits::Three, 7, 4), (PriBits::One, 15, 0)]
    {
        let bench = Bench::with(1, |config| config.irses[0].idr1 = config.irses[0].idr1.with_pri_bits(bits));
        bench.host(PE0).cdpri(spi(5), priority(asked));
        bench.host(PE0).gsb_sys();
        assert_eq!(bench.state(spi(5)).priority(), priority(kept), "{bits:?}");
    }
}

// --- instructions ---------------------------------------------------------------------------------------------------

/// Instructions that name an LPI or SPI, with an operand that changes something.
fn namings(id: IrsIntId) -> [(GicInsn, u64); 8] {
    [
        (GicInsn::GIC_CDEN, IntIdOperand::naming(id).raw_value()),
        (GicInsn::GIC_CDDIS, IntIdOperand::naming(id).raw_value()),
        (GicInsn::GIC_CDPRI, PriorityOperand::naming(id).with_priority(priority(9)).raw_value()),
        (GicInsn::GIC_CDAFF, AffinityOperand::naming(id).with_iaffid(Iaffid::new(1)).raw_value()),
        (GicInsn::GIC_CDPEND, PendingOperand::naming(id).with_pending(true).raw_value()),
        (GicInsn::GIC_CDHM, HandlingModeOperand::naming(id).with_hm(HandlingMode::Level).raw_value()),
        (GicInsn::GIC_CDDI, DeactivateOperand::naming(id.into()).raw_value()),
        (GicInsn::GIC_CDRCFG, IntIdOperand::naming(id).raw_value()),
    ]
}

#[test]
fn an_instruction_changes_the_interrupt_it_names_and_nothing_else_of_it() {
    // INS-5, INS-8, INS-9, INS-16: the operands are where the architecture has them.
    let bench = Bench::eager(2);
    bench.linear_ist();
    let busy = L2_ISTE::ZERO.with_active(true).with_enable(true).with_priority(priority(3));
    for id in [lpi(77), spi(7)] {
        let raw = id.int_type() as u64;
        let named = raw << 29 | u64::from(id.id());
        for (insn, xt, expected) in [
            (GicInsn::GIC_CDEN, named, busy),
            (GicInsn::GIC_CDDIS, named, busy.with_enable(false)),
            (GicInsn::GIC_CDPRI, named | 17 << 35, busy.with_priority(priority(17))),
            (GicInsn::GIC_CDAFF, named | 0x1234 << 32, busy.with_iaffid(Iaffid::new(0x1234))),
            (GicInsn::GIC_CDPEND, named | 1 << 32, busy.with_pending(true)),
            (GicInsn::GIC_CDPEND, named | 1 << 63, busy),
            (GicInsn::GIC_CDHM, named | 1 << 32, busy.with_hm(HandlingMode::Level)),
            (GicInsn::GIC_CDHM, named, busy),
            (GicInsn::GIC_CDDI, named, busy.with_active(false)),
            (GicInsn::GIC_CDDI, named | 1 << 32, busy.with_active(false)),
        ] {
            assert!(bench.machine.set_interrupt(id, busy));
            assert_eq!(bench.host(PE0).gic(insn, xt), 0);
            assert_eq!(bench.state(id), expected, "{insn} {xt:#x}");
        }
        assert!(bench.machine.set_interrupt(id, busy.with_enable(false)));
        bench.host(PE0).cden(id);
        assert_eq!(bench.state(id), busy);
        assert!(bench.machine.set_interrupt(id, busy.with_pending(true)));
        bench.host(PE0).cdpend(id, false);
        assert_eq!(bench.state(id), busy);
    }
}

#[test]
fn an_instruction_that_names_what_cannot_be_reached_does_nothing() {
    // GEN-1, INS-8, INS-11: reserved types, PPIs, IDs out of range, LPIs without an IST.
    let bench = Bench::eager(1);
    let before = bench.machine.save();
    let reserved: Vec<u64> = [0, 1, 4, 5, 6, 7].iter().map(|int_type| int_type << 29 | 5).collect();
    for (insn, operand) in namings(spi(5)) {
        for int_id in &reserved {
            // A PPI can be deactivated, and one that is not active does not change.
            bench.host(PE0).gic(insn, operand & !(7 << 29 | 0xff_ffff) | int_id);
        }
        bench.host(PE0).gic(insn, operand | 0xff_ffff);
    }
    for (insn, operand) in namings(lpi(5)) {
        bench.host(PE0).gic(insn, operand);
    }
    let failed = ICC_ICSR_EL1::ZERO.with_f(true);
    assert_eq!(icsr(&bench, lpi(5)), failed);
    assert_eq!(icsr(&bench, spi(64)), failed);
    assert_eq!(bench.machine.interrupt(lpi(5)), None);
    bench.host(PE0).set(ICC_ICSR_EL1::ZERO);
    assert!(bench.machine.save() == before);
}

#[test]
fn read_configuration_tells_everything_in_its_own_layout() {
    // INS-12, INS-13.
    let bench = Bench::small();
    bench.linear_ist();
    let entry = L2_ISTE::ZERO
        .with_iaffid(Iaffid::new(0xabcd))
        .with_priority(priority(21))
        .with_hm(HandlingMode::Level)
        .with_active(true)
        .with_pending(true)
        .with_enable(true);
    for id in [lpi(3), spi(3)] {
        bench.machine.set_interrupt(id, entry);
        assert_eq!(icsr(&bench, id).raw_value(), 0xabcd << 32 | 21 << 11 | 1 << 5 | 1 << 4 | 1 << 2 | 1 << 1);
        for (one, bit) in [
            (L2_ISTE::ZERO.with_enable(true), 1),
            (L2_ISTE::ZERO.with_pending(true), 2),
            (L2_ISTE::ZERO.with_active(true), 4),
            (L2_ISTE::ZERO.with_hm(HandlingMode::Level), 5),
        ] {
            bench.machine.set_interrupt(id, one);
            assert_eq!(icsr(&bench, id).raw_value(), 1 << bit);
        }
    }
}

#[test]
fn the_answer_of_read_configuration_is_there_after_an_isb_and_not_before() {
    // INS-12: what software reads without one is the previous answer. A GSB is none (SYN-2).
    let bench = Bench::small();
    let pe = bench.host(PE0);
    pe.cden(spi(5));
    pe.gsb_sys();
    assert!(icsr(&bench, spi(5)).enabled());
    pe.cdrcfg(spi(6));
    assert!(pe.read::<ICC_ICSR_EL1>().enabled());
    pe.gsb_sys();
    assert!(pe.read::<ICC_ICSR_EL1>().enabled());
    bench.machine.advance(1000);
    assert!(pe.read::<ICC_ICSR_EL1>().enabled());
    pe.isb();
    assert_eq!(pe.read::<ICC_ICSR_EL1>(), ICC_ICSR_EL1::ZERO);
    // It sees what came before it in program order.
    pe.cden(spi(6));
    pe.cdrcfg(spi(6));
    pe.cddis(spi(6));
    pe.isb();
    assert!(pe.read::<ICC_ICSR_EL1>().enabled());
    pe.gsb_sys();
    assert!(!bench.state(spi(6)).enable(), "what came after it is not lost");
}

#[test]
fn icsr_is_one_register_that_software_can_save_and_restore() {
    // INS-14.
    let bench = Bench::small();
    bench.host(PE0).set_raw(SysReg::ICC_ICSR_EL1, u64::MAX);
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_ICSR_EL1), 0x0000_ffff_0000_f83f);
}

#[test]
fn an_lpi_or_spi_can_be_deactivated_from_any_pe_and_a_ppi_only_from_its_own() {
    // INS-7.
    let bench = Bench::eager(2);
    bench.pend(spi(5), 3, 0);
    assert_eq!(bench.host(PE0).acknowledge().int_id(), Some(spi(5).into()));
    bench.host(PE0).cdeoi();
    bench.host(PE1).cddi(spi(5).into());
    assert!(!bench.state(spi(5)).active());

    bench.enable_ppi(PE0, ppi(27), 3);
    bench.machine.set_ppi_wire(PE0, ppi(27), true);
    assert_eq!(bench.host(PE0).acknowledge().int_id(), Some(ppi(27).into()));
    bench.host(PE0).cdeoi();
    bench.host(PE1).cddi(ppi(27).into());
    assert!(!bench.irq(PE0));
    bench.host(PE0).cddi(ppi(27).into());
    assert!(bench.irq(PE0));
}

#[test]
fn drop_and_deactivate_come_in_any_order() {
    // INS-4, INS-6.
    for drop_first in [true, false] {
        let bench = Bench::eager(1);
        bench.pend(spi(5), 3, 0);
        bench.pend(spi(6), 3, 0);
        let pe = bench.host(PE0);
        let first = pe.acknowledge().int_id().unwrap();
        assert!(!bench.irq(PE0), "equally urgent");
        if drop_first {
            pe.gic(GicInsn::GIC_CDEOI, u64::MAX);
            assert!(bench.irq(PE0), "the drop alone unblocks the other");
            pe.cddi(first);
        } else {
            pe.cddi(first);
            assert!(!bench.irq(PE0), "the deactivation alone does not");
            pe.cdeoi();
            assert!(bench.irq(PE0));
        }
        assert!(take(&bench.host(PE0)).is_some_and(|second| second != first));
    }
}

// --- barriers -------------------------------------------------------------------------------------------------------

#[test]
fn an_instruction_acts_at_a_gsb_sys_and_no_other_barrier_makes_it() {
    // SYN-1, SYN-2, SYN-4, INS-10: a DSB, an ISB and a GSB ACK do not.
    let bench = Bench::small();
    bench.pend(spi(5), 3, 0);
    let pe = bench.host(PE0);
    pe.cddis(spi(5));
    pe.dsb();
    pe.isb();
    pe.gsb_ack();
    assert!(bench.state(spi(5)).enable());
    assert!(bench.irq(PE0), "a disabled interrupt is still taken without the GSB");
    pe.gsb_sys();
    assert!(!bench.state(spi(5)).enable());
    assert!(!bench.irq(PE0));
}

#[test]
fn a_gsb_completes_the_effects_of_its_own_pe() {
    let bench = Bench::with(2, |config| config.effect_latency = 1 << 40);
    bench.host(PE0).cden(spi(5));
    bench.host(PE1).cden(spi(6));
    bench.host(PE1).gsb_sys();
    assert_eq!((bench.state(spi(5)).enable(), bench.state(spi(6)).enable()), (false, true), "SYN-1");
    bench.host(PE0).gsb_sys();
    assert!(bench.state(spi(5)).enable());
}

#[test]
fn an_instruction_acts_in_finite_time_without_any_barrier() {
    // SYN-4, INS-22.
    let bench = Bench::with(2, |config| config.effect_latency = 100);
    bench.host(PE0).cdpend(spi(5), true);
    bench.machine.advance(60);
    bench.host(PE0).cden(spi(5));
    bench.machine.advance(39);
    assert!(!bench.state(spi(5)).pending());
    bench.machine.advance(1);
    assert!(bench.state(spi(5)).pending() && !bench.state(spi(5)).enable());
    bench.machine.advance(59);
    assert!(!bench.irq(PE0));
    bench.machine.advance(1);
    assert!(bench.irq(PE0));
}

#[test]
fn effects_of_one_pe_keep_their_order() {
    let bench = Bench::small();
    let pe = bench.host(PE0);
    for n in 0..100 {
        pe.cdpri(spi(5), priority(n % 32));
        pe.cdpend(spi(5), n % 2 == 0);
    }
    pe.gsb_sys();
    assert_eq!(bench.state(spi(5)).priority(), priority(99 % 32));
    assert!(!bench.state(spi(5)).pending());
}

#[test]
fn an_early_machine_needs_no_barrier() {
    let bench = Bench::eager(1);
    let pe = bench.host(PE0);
    pe.cdpend(spi(5), true);
    pe.cden(spi(5));
    assert!(bench.irq(PE0));
    pe.cdrcfg(spi(5));
    assert!(pe.read::<ICC_ICSR_EL1>().enabled());
    assert!(pe.cdia().valid());
    assert!(!bench.irq(PE0));
}

#[test]
fn a_random_machine_is_sometimes_early_sometimes_late_and_always_in_time() {
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Random;
    config.seed = 7;
    let bench = Bench::started(config);
    let pe = bench.host(PE0);
    let (mut early, mut registers) = (0, 0);
    for n in 0..200 {
        pe.cdpend(spi(5), n % 2 == 0);
        early += u32::from(bench.state(spi(5)).pending() == (n % 2 == 0));
        pe.gsb_sys();
        assert_eq!(bench.state(spi(5)).pending(), n % 2 == 0);
        let before = bench.irq(PE0);
        pe.cden(spi(5));
        pe.gsb_sys();
        pe.write_raw(SysReg::ICC_CR0_EL1, u64::from(n % 2 == 0));
        registers += u32::from(bench.irq(PE0) != before);
        pe.isb();
    }
    assert!((20..180).contains(&early), "{early}");
    assert!(registers > 0, "{registers}");
}

#[test]
fn the_acknowledge_path_needs_its_barriers() {
    // SYN-3: without the GSB ACK the signal is still there, and the core would take the exception again.
    let bench = Bench::small();
    bench.pend(spi(5), 3, 0);
    let pe = bench.host(PE0);
    assert_eq!(pe.cdia().int_id(), Some(spi(5).into()));
    assert!(bench.irq(PE0), "SYN-1");
    assert!(bench.state(spi(5)).active(), "the activation itself is done (INS-3)");
    pe.gsb_ack();
    assert!(!bench.irq(PE0));
    pe.isb();
    pe.cdeoi();
    pe.cddi(spi(5).into());
    assert!(bench.state(spi(5)).active());
    pe.gsb_sys();
    assert!(!bench.state(spi(5)).active());
}

#[test]
fn the_signal_follows_an_acknowledge_in_finite_time() {
    let bench = Bench::small();
    bench.pend(spi(5), 3, 0);
    let _ = bench.host(PE0).cdia();
    bench.machine.advance(15);
    assert!(bench.irq(PE0));
    bench.machine.advance(1);
    assert!(!bench.irq(PE0), "INS-22");
}

#[test]
fn a_less_urgent_interrupt_is_taken_if_it_was_offered_first() {
    // HPPI-5: no order over all interrupts is promised.
    let bench = Bench::small();
    bench.pend(spi(5), 9, 0);
    let pe = bench.host(PE0);
    pe.cdpri(spi(6), priority(1));
    pe.cden(spi(6));
    pe.cdpend(spi(6), true);
    assert_eq!(pe.cdia().int_id(), Some(spi(5).into()));
    pe.gsb_sys();
    assert_eq!(pe.cdia().int_id(), Some(spi(6).into()), "and is preempted then (PRI-4)");
}

#[test]
fn interrupts_nest_by_priority_and_unwind_in_order() {
    // PRI-4, PRI-5, PRI-6, PRI-7: no group and no binary point, each level preempts.
    let bench = Bench::with_lpis();
    let pe = bench.host(PE0);
    for number in (0..32).rev() {
        bench.pend(lpi(number), number, 0);
        assert_eq!(pe.acknowledge().int_id(), Some(lpi(number).into()));
        assert_eq!(pe.read_raw(SysReg::ICC_APR_EL1), u64::from(u32::MAX << number));
    }
    bench.pend(lpi(40), 0, 0);
    for number in 0..32 {
        assert!(!bench.irq(PE0));
        pe.cdeoi();
        assert_eq!(pe.read_raw(SysReg::ICC_APR_EL1), u64::from((u32::MAX << number) << 1));
        if number == 0 {
            assert!(bench.irq(PE0));
            pe.cdpend(lpi(40), false);
        }
    }
    pe.cdeoi();
    assert_eq!(pe.read_raw(SysReg::ICC_APR_EL1), 0, "a drop without an active priority does nothing");
}

#[test]
fn the_mask_lets_its_own_priority_through() {
    // PRI-3, at every priority.
    let bench = Bench::eager(1);
    for number in 0..32 {
        bench.pend(spi(5), number, 0);
        for mask in 0..32 {
            bench.host(PE0).write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(priority(mask)).raw_value());
            assert_eq!(bench.irq(PE0), number <= mask, "{number} against {mask}");
        }
    }
}

#[test]
fn effects_of_one_pe_keep_their_order_where_some_come_early_and_some_late() {
    // SYN-1: a later one that comes early brings the earlier ones with it, or a GSB would end with an old value.
    let bench = Bench::with(1, |config| config.switches.effects = Effects::Random);
    for n in 0..64 {
        bench.host(PE0).cdpri(spi(5), priority(n % 31));
        bench.host(PE0).cdpri(spi(5), priority(n % 31 + 1));
        bench.host(PE0).gsb_sys();
        assert_eq!(bench.state(spi(5)).priority(), priority(n % 31 + 1), "{n}");
    }
}
