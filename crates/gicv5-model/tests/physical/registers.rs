//! The configuration frame and the SETLPI frame.

use crate::bench::*;

#[test]
fn the_identification_registers_read_as_configured_and_nothing_changes_them() {
    // GEN-4, GEN-11, SPI-1: the domain, and counts as they are encoded.
    let bench = Bench::at_reset(MachineConfig::new(3, 64));
    let machine = &bench.machine;
    for register in [IrsReg::IRS_IDR0, IrsReg::IRS_IDR1, IrsReg::IRS_IDR2, IrsReg::IRS_IDR5, IrsReg::IRS_AIDR] {
        let before = machine.read_raw(IRS, register);
        machine.write_raw(IRS, register, !before);
        assert_eq!(machine.read_raw(IRS, register), before, "{register}");
    }
    assert_eq!(machine.read::<IRS_IDR0>(IRS).int_dom(), Domain::NonSecure);
    assert_eq!(machine.read::<IRS_IDR1>(IRS).pe_cnt(), 3);
    assert_eq!(machine.read::<IRS_IDR1>(IRS).pri_bits().map(|bits| bits.count()), Ok(5));
    assert_eq!(machine.read::<IRS_IDR2>(IRS).id_bits().value(), 24);
    assert_eq!(machine.read::<IRS_IDR5>(IRS).spi_range().value(), 64);
    assert_eq!(machine.read::<IRS_IDR6>(IRS).spi_irs_range().value(), 64);
    assert_eq!(machine.read::<IRS_IDR7>(IRS).spi_base().id(), 0);
    assert_eq!(machine.read::<IRS_AIDR>(IRS).component(), Ok(Component::Irs));
}

#[test]
fn hazard_2_id_register_0_is_returned_and_hazard_4_devarch_has_its_architect_in_place() {
    let config = MachineConfig::new(1, 64);
    let bench = Bench::at_reset(config.clone());
    assert_eq!(bench.machine.read::<IRS_IDR0>(IRS), config.irses[0].idr0);
    assert!(bench.machine.read_raw(IRS, IrsReg::IRS_IDR0) != 0);
    assert_eq!(bench.machine.read_raw(IRS, IrsReg::IRS_DEVARCH), 0x4770_5a19);
}

#[test]
fn at_reset_everything_is_idle_and_nothing_is_enabled_valid_or_selected() {
    // GEN-17.
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    let machine = &bench.machine;
    assert_eq!(machine.read::<IRS_CR0>(IRS), IRS_CR0::ZERO.with_idle(true));
    assert_eq!(machine.read::<IRS_SPI_STATUSR>(IRS), IRS_SPI_STATUSR::ZERO.with_idle(true));
    assert_eq!(machine.read::<IRS_PE_STATUSR>(IRS), IRS_PE_STATUSR::ZERO.with_idle(true));
    for register in [IrsReg::IRS_SYNC_STATUSR, IrsReg::IRS_IST_STATUSR] {
        assert_eq!(machine.read_raw(IRS, register), 1, "{register}");
    }
    for register in [IrsReg::IRS_CR1, IrsReg::IRS_IST_BASER, IrsReg::IRS_IST_CFGR, IrsReg::IRS_SWERR_STATUSR] {
        assert_eq!(machine.read_raw(IRS, register), 0, "{register}");
    }
    assert_eq!(bench.candidate(PE0), None);
}

#[test]
fn every_aligned_offset_of_both_frames_can_be_read_and_written_and_those_without_a_register_hold_nothing() {
    // GEN-7: without VIRT there is no VM or VPE register; GEN-9: reserved offsets are RAZ/WI.
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    let machine = &bench.machine;
    let virt = |register: IrsReg| {
        let name = register.to_string();
        ["VM", "VPE", "SAVE"].iter().any(|part| name.contains(part))
    };
    for offset in (0..=u16::MAX).step_by(4) {
        let frame = Frame::config(IRS);
        let register = IrsReg::at(offset).or_else(|| IrsReg::at(offset.wrapping_sub(4)).filter(|r| r.width() == 64));
        if register.is_none_or(virt) {
            machine.write32(frame, offset, u32::MAX);
            assert_eq!(machine.read32(frame, offset), 0, "{offset:#x}");
        }
        machine.write32(Frame::set_lpi(IRS), offset, 0xff_ffff);
        assert_eq!(machine.read32(Frame::set_lpi(IRS), offset), 0, "{offset:#x}");
    }
}

#[test]
fn an_irs_that_does_not_exist_reads_as_zero_and_ignores_writes() {
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    let absent = Frame::config(IrsIndex(1));
    bench.machine.write32(absent, IrsReg::IRS_CR0.offset(), 1);
    bench.machine.write64(absent, IrsReg::IRS_IST_BASER.offset(), u64::MAX);
    assert_eq!(bench.machine.read32(absent, IrsReg::IRS_CR0.offset()), 0);
    assert_eq!(bench.machine.read64(absent, IrsReg::IRS_IST_BASER.offset()), 0);
    assert_eq!(bench.machine.read::<IRS_IST_BASER>(IRS), IRS_IST_BASER::ZERO);
}

#[test]
fn a_64_bit_register_can_be_written_and_read_in_halves_and_keeps_the_other_half() {
    // GEN-9. VALID stays 0, so that nothing starts.
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    let (machine, frame, offset) = (&bench.machine, Frame::config(IRS), IrsReg::IRS_IST_BASER.offset());
    machine.write64(frame, offset, 0x0012_3456_89ab_cdc0);
    assert_eq!(machine.read64(frame, offset), 0x0012_3456_89ab_cdc0);
    assert_eq!(machine.read32(frame, offset), 0x89ab_cdc0);
    assert_eq!(machine.read32(frame, offset + 4), 0x0012_3456);
    machine.write32(frame, offset, 0x1111_1140);
    assert_eq!(machine.read64(frame, offset), 0x0012_3456_1111_1140);
    machine.write32(frame, offset + 4, 0x0022_2222);
    assert_eq!(machine.read64(frame, offset), 0x0022_2222_1111_1140);
}

#[test]
fn an_access_of_64_bits_to_a_32_bit_register_does_nothing() {
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    let (machine, frame) = (&bench.machine, Frame::config(IRS));
    assert_eq!(machine.read64(frame, IrsReg::IRS_IDR0.offset()), 0);
    machine.write64(frame, IrsReg::IRS_CR1.offset(), u64::MAX);
    assert_eq!(machine.read::<IRS_CR1>(IRS), IRS_CR1::ZERO);
    machine.write64(Frame::set_lpi(IRS), 0, 5);
    assert_eq!(machine.read64(Frame::set_lpi(IRS), 0), 0);
    // Offset 4 past a 32-bit register is no upper half.
    machine.write32(frame, IrsReg::IRS_CR1.offset() + 4, u32::MAX);
    assert_eq!(machine.read32(frame, IrsReg::IRS_CR1.offset() + 4), 0);
}

#[test]
fn reserved_bits_of_a_register_do_not_stick() {
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    let machine = &bench.machine;
    for (register, kept) in [
        (IrsReg::IRS_CR1, 0xffff),
        (IrsReg::IRS_IST_CFGR, 0x1_01ff),
        (IrsReg::IRS_IST_BASER, 0x00ff_ffff_ffff_ffc0),
        (IrsReg::IRS_SPI_SELR, 0xff_ffff),
        (IrsReg::IRS_PE_SELR, 0xffff),
    ] {
        machine.write_raw(IRS, register, !1);
        assert_eq!(machine.read_raw(IRS, register), kept & !1, "{register}");
        bench.machine.advance(10);
    }
}

#[test]
fn attributes_are_kept_as_written() {
    // GEN-20, GEN-23: the hints for the tables the IRS writes itself are there.
    let bench = Bench::small();
    let cr1 = IRS_CR1::ZERO.with_vmt_wa(true).with_vpet_wa(true).with_vmt_ra(true).with_ist_wa(true);
    bench.machine.write(IRS, cr1);
    assert_eq!(bench.machine.read::<IRS_CR1>(IRS), cr1);
    bench.linear_ist();
    bench.machine.write(IRS, IRS_CR1::ZERO);
    bench.pend(lpi(5), 3, 0);
    assert_eq!(bench.candidate(PE0), Some(lpi(5)));
}

#[test]
fn a_disabled_irs_recalls_its_candidate_and_offers_it_again_when_enabled() {
    // GEN-21, HPPI-2.
    let bench = Bench::small();
    bench.pend(spi(9), 3, 0);
    assert_eq!(bench.candidate(PE0), Some(spi(9)));
    bench.command(IRS_CR0::ZERO);
    assert_eq!(bench.candidate(PE0), None);
    assert!(!bench.irq(PE0));
    assert!(bench.state(spi(9)).pending(), "the interrupt itself does not change");
    assert_eq!(bench.host(PE0).cdia().int_id(), None);
    bench.command(IRS_CR0::ZERO.with_irsen(true));
    assert_eq!(bench.candidate(PE0), Some(spi(9)));
    assert!(bench.irq(PE0));
}

#[test]
fn hazard_2_the_write_of_cr0_re_evaluates_and_no_read_is_needed() {
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    bench.enable(spi(9), 3, 0);
    bench.machine.set_spi_wire(wire(9), true);
    assert_eq!(bench.candidate(PE0), None);
    bench.machine.write(IRS, IRS_CR0::ZERO.with_irsen(true));
    bench.machine.advance(5);
    assert_eq!(bench.candidate(PE0), Some(spi(9)), "GEN-21");
}

#[test]
fn cr0_shows_what_was_written_at_once_and_idle_when_it_has_taken_effect() {
    // GEN-16, GEN-17.
    let mut config = MachineConfig::new(1, 64);
    config.command_latency = 3;
    let bench = Bench::at_reset(config);
    let machine = &bench.machine;
    bench.pend(spi(1), 0, 0);
    machine.write(IRS, IRS_CR0::ZERO.with_irsen(true));
    let seen: Vec<(bool, bool)> = (0..4)
        .map(|_| {
            let cr0 = machine.read::<IRS_CR0>(IRS);
            (cr0.irsen(), cr0.idle())
        })
        .collect();
    assert_eq!(seen, [(true, false), (true, false), (true, true), (true, true)]);
    assert_eq!(bench.candidate(PE0), Some(spi(1)));
}

#[test]
fn each_command_is_reported_by_the_status_register_it_is_paired_with_and_by_no_other() {
    // GEN-16.
    let mut config = MachineConfig::new(1, 64);
    config.command_latency = 100;
    for (register, value) in [
        (IrsReg::IRS_CR0, 1),
        (IrsReg::IRS_SYNCR, 1 << 31),
        (IrsReg::IRS_SPI_SELR, 1),
        (IrsReg::IRS_SPI_CFGR, 1),
        (IrsReg::IRS_PE_SELR, 1),
        (IrsReg::IRS_PE_CR0, 1),
        (IrsReg::IRS_IST_BASER, 1),
        (IrsReg::IRS_MAP_L2_ISTR, 1),
    ] {
        let bench = Bench::at_reset(config.clone());
        bench.machine.write_raw(IRS, register, value);
        let busy = register.status().unwrap().register;
        for other in
            [IrsReg::IRS_CR0, IrsReg::IRS_SYNCR, IrsReg::IRS_SPI_SELR, IrsReg::IRS_PE_SELR, IrsReg::IRS_MAP_L2_ISTR]
        {
            let paired = other.status().unwrap().register == busy;
            assert_eq!(bench.is_idle(IRS, other), !paired, "{register}, asked of {other}");
        }
        bench.machine.advance(100);
        assert!(bench.is_idle(IRS, register), "{register}");
        bench.broken(if register == IrsReg::IRS_IST_BASER { &["MEM-4"] } else { &[] });
    }
}

#[test]
fn a_sync_without_its_bit_is_none_and_with_it_reports_idle_when_done() {
    // SYN-8: what the IRS has accepted has taken effect then, and nothing is invalidated.
    let bench = Bench::with(1, |config| config.command_latency = 2);
    bench.enable(spi(3), 1, 0);
    bench.machine.write(IRS, IRS_SYNCR::ZERO);
    assert!(bench.is_idle(IRS, IrsReg::IRS_SYNCR));
    bench.machine.set_spi_wire(wire(3), true);
    bench.machine.write(IRS, IRS_SYNCR::ZERO.with_sync(true));
    assert!(!bench.is_idle(IRS, IrsReg::IRS_SYNCR));
    assert_eq!(bench.machine.read::<IRS_SYNC_STATUSR>(IRS), IRS_SYNC_STATUSR::ZERO.with_idle(true));
    assert_eq!(bench.candidate(PE0), Some(spi(3)));
}

// --- commands that go wrong -----------------------------------------------------------------------------------------

#[test]
fn a_command_that_never_completes_does_when_the_hardware_recovers() {
    // GEN-19: a poll that runs out is all software sees.
    let bench = Bench::small();
    bench.machine.fault_next(Fault::Never);
    bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(5)));
    assert!((0..1000).all(|_| !bench.is_idle(IRS, IrsReg::IRS_SPI_SELR)));
    bench.machine.advance(1 << 40);
    assert!(!bench.is_idle(IRS, IrsReg::IRS_SPI_SELR));
    // The others go on.
    bench.command(IRS_CR0::ZERO);
    bench.machine.recover();
    assert_eq!(bench.machine.read::<IRS_SPI_STATUSR>(IRS), IRS_SPI_STATUSR::ZERO.with_idle(true).with_v(true));
}

#[test]
fn a_late_command_takes_effect_after_the_software_has_given_up() {
    let bench = Bench::small();
    bench.pend(spi(5), 0, 0);
    bench.machine.fault_next(Fault::Late(50));
    bench.machine.write(IRS, IRS_CR0::ZERO);
    assert!((0..50).all(|_| !bench.is_idle(IRS, IrsReg::IRS_CR0)));
    assert!(bench.irq(PE0), "GEN-21 takes effect when the command does");
    assert!(bench.is_idle(IRS, IrsReg::IRS_CR0));
    assert!(!bench.irq(PE0));
}

#[test]
fn a_command_without_an_effect_leaves_the_old_object_selected() {
    // GEN-17: what software configures then is not what it believes to have selected.
    let bench = Bench::started(two_irses());
    bench.select_spi(IRS, 5);
    bench.machine.fault_next(Fault::Ignored);
    bench.select_spi(IRS, 40);
    assert_eq!(bench.machine.read::<IRS_SPI_SELR>(IRS).id(), wire(40));
    assert!(bench.machine.read::<IRS_SPI_STATUSR>(IRS).v());
    bench.command(IRS_SPI_CFGR::ZERO.with_tm(TriggerMode::Level));
    bench.machine.set_spi_wire(wire(5), true);
    bench.machine.set_spi_wire(wire(40), true);
    assert_eq!(bench.state(spi(5)).hm(), HandlingMode::Level);
    assert_eq!(bench.state(spi(40)).hm(), HandlingMode::Edge, "it belongs to another IRS");
}

#[test]
fn a_selection_that_finds_nothing_reads_v_0_and_the_next_one_works() {
    // GEN-17.
    let bench = Bench::small();
    bench.select_spi(IRS, 5);
    bench.machine.fault_next(Fault::Invalid);
    bench.select_spi(IRS, 5);
    assert!(!bench.machine.read::<IRS_SPI_STATUSR>(IRS).v());
    bench.command(IRS_SPI_CFGR::ZERO.with_tm(TriggerMode::Level));
    bench.select_spi(IRS, 5);
    assert!(bench.machine.read::<IRS_SPI_STATUSR>(IRS).v());
    assert_eq!(bench.machine.read::<IRS_SPI_CFGR>(IRS).tm(), TriggerMode::Edge, "nothing was selected");

    let select_pe = || {
        bench.command(IRS_PE_SELR::ZERO.with_iaffid(Iaffid::new(0)));
        bench.machine.read::<IRS_PE_STATUSR>(IRS).v()
    };
    assert!(select_pe());
    bench.machine.fault_next(Fault::Invalid);
    assert!(!select_pe());
    assert!(select_pe());
}

#[test]
fn fault_points_are_numbered_over_all_irses() {
    let bench = Bench::started(two_irses());
    let (next, commands) = (bench.machine.fault_points_passed(), bench.machine.commands());
    bench.machine.plan_fault(next + 1, Fault::Never);
    bench.select_spi(IrsIndex(1), 40);
    assert_eq!((bench.machine.fault_points_passed(), bench.machine.commands()), (next + 1, commands + 1));
    bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(5)));
    bench.machine.advance(1000);
    assert!(!bench.is_idle(IRS, IrsReg::IRS_SPI_SELR));
    assert!(bench.is_idle(IrsIndex(1), IrsReg::IRS_SPI_SELR));
    // A fault that no command has reached is forgotten when the hardware recovers.
    bench.machine.plan_fault(next + 2, Fault::Never);
    bench.machine.recover();
    bench.command(IRS_SPI_CFGR::ZERO);
}

#[test]
fn time_passes_when_software_polls_or_relaxes_and_not_otherwise() {
    let mut config = MachineConfig::new(1, 64);
    config.poll_ticks = 7;
    let bench = Bench::at_reset(config);
    let machine = &bench.machine;
    let _ = machine.read::<IRS_IDR0>(IRS);
    let _ = machine.read::<IRS_IST_BASER>(IRS);
    assert_eq!(machine.now().0, 0);
    for (n, register) in [
        IrsReg::IRS_CR0,
        IrsReg::IRS_SYNC_STATUSR,
        IrsReg::IRS_SPI_STATUSR,
        IrsReg::IRS_PE_STATUSR,
        IrsReg::IRS_IST_STATUSR,
    ]
    .into_iter()
    .enumerate()
    {
        let _ = machine.read_raw(IRS, register);
        assert_eq!(machine.now().0, 7 * (n as u64 + 1), "{register}");
    }
    machine.relax();
    assert_eq!(Wait::now(machine).as_micros(), 36);
}

// --- SPIs -----------------------------------------------------------------------------------------------------------

/// IRS 0 has SPIs 0 to 31 and PE 0, IRS 1 SPIs 32 to 63 and PE 1.
fn two_irses() -> MachineConfig {
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Early;
    let half = |first: u32, iaffid| {
        let mut irs = IrsConfig::new(vec![CpuConfig::new(Iaffid::new(iaffid))], 64);
        irs.idr6 = IRS_IDR6::ZERO.with_spi_irs_range(arbitrary_int::u25::new(32));
        irs.idr7 = IRS_IDR7::ZERO.with_spi_base(wire(first));
        irs
    };
    config.irses = vec![half(0, 0), half(32, 1)];
    config
}

#[test]
fn an_irs_selects_its_own_spis_and_no_others() {
    // SPI-1, SPI-2, GEN-15: the selection is the IRS's, whoever writes it.
    let bench = Bench::started(two_irses());
    for (irs, id, owned) in [
        (0, 0, true),
        (0, 31, true),
        (0, 32, false),
        (0, 64, false),
        (0, 0xff_ffff, false),
        (1, 31, false),
        (1, 32, true),
        (1, 63, true),
    ] {
        bench.select_spi(IrsIndex(irs), id);
        assert_eq!(bench.machine.read::<IRS_SPI_STATUSR>(IrsIndex(irs)).v(), owned, "IRS {irs}, SPI {id}");
        bench.command_at(IrsIndex(irs), IRS_SPI_CFGR::ZERO.with_tm(TriggerMode::Level));
        let level = bench.machine.read::<IRS_SPI_CFGR>(IrsIndex(irs)).tm() == TriggerMode::Level;
        assert_eq!(level, owned, "IRS {irs}, SPI {id}");
    }
    assert_eq!(bench.machine.read::<IRS_SPI_SELR>(IRS).id().id(), 0xff_ffff);
}

#[test]
fn an_spi_that_no_irs_owns_cannot_be_reached_by_any_instruction() {
    // SPI-1, INS-11: the system has 64 SPIs, of which 32 to 39 belong to nobody.
    let mut config = two_irses();
    config.irses[1].idr6 = config.irses[1].idr6.with_spi_irs_range(arbitrary_int::u25::new(24));
    config.irses[1].idr7 = config.irses[1].idr7.with_spi_base(wire(40));
    let bench = Bench::started(config);
    for (id, owned) in [(31, true), (32, false), (39, false), (40, true), (63, true)] {
        bench.pend(spi(id), 3, 0);
        bench.host(PE0).cdrcfg(spi(id));
        bench.host(PE0).isb();
        let icsr = bench.host(PE0).read::<ICC_ICSR_EL1>();
        assert_eq!((icsr.f(), icsr.pending()), (!owned, owned), "SPI {id}");
        assert_eq!(bench.machine.interrupt(spi(id)).is_some(), owned, "SPI {id}");
        bench.machine.set_spi_wire(wire(id), true);
        assert_eq!(bench.machine.spi_wire(wire(id)), owned.then_some(true));
    }
}

#[test]
fn an_spi_of_one_irs_reaches_a_pe_of_another_and_one_ist_serves_both() {
    // RTE-6, GEN-13.
    let bench = Bench::started(two_irses());
    bench.enable(spi(40), 3, 0);
    bench.machine.set_spi_wire(wire(40), true);
    assert_eq!(bench.candidate(PE0), Some(spi(40)));
    assert_eq!(bench.candidate(PE1), None);

    let ist = linear(14);
    let block = bench.ist_block(ist);
    bench.set_ist(IrsIndex(1), ist, block.address());
    assert!(bench.machine.read::<IRS_IST_BASER>(IRS).valid());
    assert_eq!(bench.machine.read::<IRS_IST_CFGR>(IRS), ist.cfgr());
    bench.pend(lpi(9), 2, 0);
    bench.pend(lpi(8), 2, 1);
    assert_eq!((bench.candidate(PE0), bench.candidate(PE1)), (Some(lpi(9)), Some(lpi(8))));
    bench.machine.write_set_lpi(IrsIndex(1), IRS_SETLPIR::ZERO.with_id(Lpi::new(7).unwrap()));
    assert!(bench.state(lpi(7)).pending());
    // The commands of the IST are the domain's: one is under way wherever it was started.
    bench.machine.fault_next(Fault::Late(5));
    bench.machine.write(IRS, IRS_MAP_L2_ISTR::ZERO);
    assert!(!bench.is_idle(IrsIndex(1), IrsReg::IRS_MAP_L2_ISTR));
    bench.wait(IRS, IrsReg::IRS_MAP_L2_ISTR);
    bench.clear_ist(IRS);
    assert_eq!((bench.candidate(PE0), bench.candidate(PE1)), (Some(spi(40)), None));
}

#[test]
fn only_the_irs_of_a_pe_stops_forwarding_to_it() {
    let bench = Bench::started(two_irses());
    bench.pend(spi(3), 1, 0);
    bench.pend(spi(4), 1, 1);
    bench.command(IRS_CR0::ZERO);
    assert_eq!((bench.candidate(PE0), bench.candidate(PE1)), (None, Some(spi(4))), "GEN-21");
}

#[test]
fn a_wire_makes_an_edge_spi_pending_when_it_rises_and_does_nothing_when_it_falls() {
    // SPI-4, ISM-2, SPI-8: there is no IST.
    let bench = Bench::small();
    bench.host(PE0).cdhm(spi(5), HandlingMode::Level);
    bench.host(PE0).gsb_sys();
    bench.machine.set_spi_wire(wire(5), true);
    assert!(bench.state(spi(5)).pending());
    assert_eq!(bench.state(spi(5)).hm(), HandlingMode::Edge, "SPI-7");
    bench.machine.set_spi_wire(wire(5), false);
    assert!(bench.state(spi(5)).pending());
}

#[test]
fn a_wire_makes_a_level_spi_pending_for_as_long_as_it_is_high() {
    // SPI-4, ISM-2.
    let bench = Bench::small();
    bench.trigger(5, TriggerMode::Level);
    bench.host(PE0).cdhm(spi(5), HandlingMode::Edge);
    bench.host(PE0).gsb_sys();
    bench.machine.set_spi_wire(wire(5), true);
    assert!(bench.state(spi(5)).pending());
    assert_eq!(bench.state(spi(5)).hm(), HandlingMode::Level, "SPI-7");
    bench.machine.set_spi_wire(wire(5), false);
    assert!(!bench.state(spi(5)).pending());
    assert_eq!(bench.state(spi(5)).hm(), HandlingMode::Level, "CLEAR leaves the handling mode alone");
}

#[test]
fn a_wire_that_does_not_move_is_no_event() {
    let bench = Bench::small();
    bench.machine.set_spi_wire(wire(5), true);
    bench.host(PE0).set_pending(spi(5), false);
    bench.machine.set_spi_wire(wire(5), true);
    assert!(!bench.state(spi(5)).pending());
    bench.machine.set_spi_wire(wire(64), true);
    assert_eq!(bench.machine.interrupt(spi(64)), None, "no IRS owns it");
}

#[test]
fn a_change_of_the_trigger_mode_samples_the_wire() {
    // SPI-3.
    let bench = Bench::small();
    bench.machine.set_spi_wire(wire(5), true);
    bench.host(PE0).set_pending(spi(5), false);
    bench.trigger(5, TriggerMode::Level);
    assert!(bench.state(spi(5)).pending(), "high");
    assert_eq!(bench.state(spi(5)).hm(), HandlingMode::Level);
    bench.trigger(5, TriggerMode::Edge);
    assert!(!bench.state(spi(5)).pending(), "edge with the wire high");

    bench.host(PE0).set_pending(spi(6), true);
    bench.trigger(6, TriggerMode::Level);
    assert!(!bench.state(spi(6)).pending(), "low");
    bench.host(PE0).set_pending(spi(6), true);
    bench.trigger(6, TriggerMode::Edge);
    assert!(bench.state(spi(6)).pending(), "edge with the wire low: nothing");
}

#[test]
fn writing_the_trigger_mode_that_there_is_changes_nothing() {
    let bench = Bench::small();
    bench.machine.set_spi_wire(wire(5), true);
    bench.trigger(5, TriggerMode::Edge);
    assert!(bench.state(spi(5)).pending(), "SPI-3 speaks of switching");
}

#[test]
fn a_resample_looks_at_the_wire_of_the_spi_it_names() {
    // SPI-5: the selector is not used.
    let bench = Bench::small();
    bench.trigger(5, TriggerMode::Level);
    bench.select_spi(IRS, 6);
    bench.machine.set_spi_wire(wire(5), true);
    bench.host(PE0).set_pending(spi(5), false);
    bench.machine.write(IRS, IRS_SPI_RESAMPLER::ZERO.with_spi_id(wire(5)));
    assert!(bench.state(spi(5)).pending());
    bench.machine.set_spi_wire(wire(5), false);
    bench.host(PE0).set_pending(spi(5), true);
    bench.machine.write(IRS, IRS_SPI_RESAMPLER::ZERO.with_spi_id(wire(5)));
    assert!(!bench.state(spi(5)).pending());
}

#[test]
fn a_resample_by_an_irs_that_does_not_manage_the_spi_is_ignored() {
    let bench = Bench::started(two_irses());
    bench.select_spi(IRS, 5);
    bench.command(IRS_SPI_CFGR::ZERO.with_tm(TriggerMode::Level));
    bench.machine.set_spi_wire(wire(5), true);
    bench.host(PE0).cdpend(spi(5), false);
    bench.machine.write(IrsIndex(1), IRS_SPI_RESAMPLER::ZERO.with_spi_id(wire(5)));
    assert!(!bench.state(spi(5)).pending(), "SPI-5");
    bench.machine.write(IRS, IRS_SPI_RESAMPLER::ZERO.with_spi_id(wire(5)));
    assert!(bench.state(spi(5)).pending());
}

#[test]
fn a_resampled_edge_spi_with_a_high_wire_does_what_the_switch_says() {
    // SPI-5.
    for (switch, pending) in [(EdgeResample::Clears, false), (EdgeResample::Pends, true)] {
        let bench = Bench::with(1, |config| config.switches.edge_resample = switch);
        bench.machine.set_spi_wire(wire(5), true);
        bench.host(PE0).set_pending(spi(5), !pending);
        bench.machine.write(IRS, IRS_SPI_RESAMPLER::ZERO.with_spi_id(wire(5)));
        assert_eq!(bench.state(spi(5)).pending(), pending);
        // A low wire is left alone, and so is what a level SPI does.
        bench.machine.set_spi_wire(wire(5), false);
        bench.machine.write(IRS, IRS_SPI_RESAMPLER::ZERO.with_spi_id(wire(5)));
        assert_eq!(bench.state(spi(5)).pending(), pending);
        bench.trigger(6, TriggerMode::Level);
        bench.machine.set_spi_wire(wire(6), true);
        bench.machine.write(IRS, IRS_SPI_RESAMPLER::ZERO.with_spi_id(wire(6)));
        assert!(bench.state(spi(6)).pending());
    }
}

#[test]
fn the_domain_and_the_vm_of_an_spi_cannot_be_set_in_this_frame() {
    // SPI-6: only in the EL3 frame; SPI-12: only with VIRT. Even while a command is under way nothing is written (GEN-18).
    let bench = Bench::with(1, |config| config.command_latency = 10);
    bench.enable(spi(5), 1, 0);
    bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(5)));
    for register in [IrsReg::IRS_SPI_DOMAINR, IrsReg::IRS_SPI_VMR] {
        bench.machine.write_raw(IRS, register, u64::MAX);
        assert_eq!(bench.machine.read_raw(IRS, register), 0, "{register}");
    }
    bench.wait(IRS, IrsReg::IRS_SPI_SELR);
    assert!(bench.machine.read::<IRS_SPI_STATUSR>(IRS).v());
    bench.machine.set_spi_wire(wire(5), true);
    assert_eq!(bench.candidate(PE0), Some(spi(5)));
}

// --- PEs ------------------------------------------------------------------------------------------------------------

#[test]
fn an_irs_knows_the_pes_that_are_attached_to_it() {
    let bench = Bench::started(two_irses());
    let both = IRS_PE_STATUSR::ZERO.with_idle(true);
    for (iaffid, attached) in [(0, true), (1, false), (2, false), (0xffff, false)] {
        bench.command(IRS_PE_SELR::ZERO.with_iaffid(Iaffid::new(iaffid)));
        assert_eq!(bench.machine.read::<IRS_PE_SELR>(IRS).iaffid(), Iaffid::new(iaffid));
        let status = bench.machine.read::<IRS_PE_STATUSR>(IRS);
        assert_eq!(status, both.with_v(attached).with_online(attached), "PE {iaffid}");
    }
    bench.command_at(IrsIndex(1), IRS_PE_SELR::ZERO.with_iaffid(Iaffid::new(1)));
    assert!(bench.machine.read::<IRS_PE_STATUSR>(IrsIndex(1)).v());
}

#[test]
fn a_pe_cannot_opt_out_of_what_does_not_exist() {
    // RTE-3: without 1-of-N the register reads as the switch says and ignores writes.
    for (switch, reads) in [(DpsWithoutOneOfN::Zero, false), (DpsWithoutOneOfN::One, true)] {
        let bench = Bench::with(1, |config| config.switches.pe_dps = switch);
        assert_eq!(bench.machine.read::<IRS_PE_CR0>(IRS), IRS_PE_CR0::ZERO, "no PE is selected");
        bench.command(IRS_PE_SELR::ZERO);
        for dps in [true, false] {
            bench.command(IRS_PE_CR0::ZERO.with_dps(dps));
            assert_eq!(bench.machine.read::<IRS_PE_CR0>(IRS).dps(), reads, "{switch:?}");
        }
        bench.command(IRS_PE_SELR::ZERO.with_iaffid(Iaffid::new(9)));
        assert_eq!(bench.machine.read::<IRS_PE_CR0>(IRS), IRS_PE_CR0::ZERO);
    }
}

// --- SETLPI ---------------------------------------------------------------------------------------------------------

#[test]
fn a_write_to_the_setlpi_frame_makes_an_lpi_pending_as_an_edge() {
    // LPI-4.
    let bench = Bench::small();
    bench.linear_ist();
    bench.enable(lpi(33), 4, 0);
    bench.host(PE0).cdhm(lpi(33), HandlingMode::Level);
    bench.host(PE0).gsb_sys();
    bench.machine.write_set_lpi(IRS, IRS_SETLPIR::ZERO.with_id(Lpi::new(33).unwrap()));
    assert_eq!(bench.candidate(PE0), Some(lpi(33)));
    assert_eq!(bench.state(lpi(33)).hm(), HandlingMode::Edge);
    // Unreachable: nothing, and nobody is told.
    bench.machine.write_set_lpi(IRS, IRS_SETLPIR::ZERO.with_id(Lpi::new(1 << 14).unwrap()));
    bench.machine.write32(Frame::set_lpi(IRS), 0x100, 34);
    assert!(!bench.state(lpi(34)).pending());
    assert_eq!(bench.machine.read_raw(IRS, IrsReg::IRS_SWERR_STATUSR), 0);
}

#[test]
fn without_the_setlpi_feature_there_is_no_frame() {
    // LPI-5.
    let bench = Bench::with(1, |config| config.irses[0].idr0 = config.irses[0].idr0.with_setlpi(false));
    bench.linear_ist();
    bench.machine.write_set_lpi(IRS, IRS_SETLPIR::ZERO.with_id(Lpi::new(33).unwrap()));
    assert!(!bench.state(lpi(33)).pending());
}
