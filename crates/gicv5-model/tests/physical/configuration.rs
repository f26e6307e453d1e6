//! What a machine can be, its state as a value, and what an observer is told.

use crate::bench::*;

use arbitrary_int::{u24, u25};

/// Two IRSs, each with one PE and half of the 64 SPIs.
fn two_irses() -> MachineConfig {
    let mut config = MachineConfig::new(1, 64);
    let half = |first: u32, iaffid| {
        let mut irs = IrsConfig::new(vec![CpuConfig::new(Iaffid::new(iaffid))], 64);
        irs.idr6 = IRS_IDR6::ZERO.with_spi_irs_range(u25::new(32));
        irs.idr7 = IRS_IDR7::ZERO.with_spi_base(Spi::new_with_raw_value(u24::new(first)));
        irs
    };
    config.irses = vec![half(0, 0), half(32, 1)];
    config
}

/// The error that a change makes of a good configuration, in words.
fn refused(mut config: MachineConfig, change: impl FnOnce(&mut MachineConfig)) -> String {
    assert_eq!(config.check(), Ok(()));
    change(&mut config);
    let error = config.check().unwrap_err();
    assert_eq!(Machine::new(config).unwrap_err(), error);
    error.to_string()
}

fn irs_refused(change: impl FnOnce(&mut IrsConfig)) -> String {
    refused(MachineConfig::new(1, 64), |config| change(&mut config.irses[0]))
}

fn pe_refused(change: impl FnOnce(&mut CpuConfig)) -> String {
    refused(MachineConfig::new(1, 64), |config| change(&mut config.irses[0].pes[0]))
}

#[test]
fn an_irs_that_cannot_be_is_refused_with_register_value_and_reason() {
    // GEN-4, GEN-7, GEN-10, GEN-11, SPI-1, LPI-3: one physical domain so far, no reserved encodings, no impossible tables.
    for (error, words) in [
        (irs_refused(|irs| irs.idr0 = irs.idr0.with_int_dom(Domain::Secure)), "Non-secure domain only"),
        (irs_refused(|irs| irs.idr0 = irs.idr0.with_virt(true)), "IRS_IDR3"),
        (irs_refused(|irs| irs.idr0 = irs.idr0.with_virt_one_n(true)), "virtual 1-of-N"),
        (irs_refused(|irs| irs.idr0 = irs.idr0.with_one_n(true)), "no 1-of-N"),
        (irs_refused(|irs| irs.idr0 = irs.idr0.with_mec(true)), "encryption"),
        (irs_refused(|irs| irs.idr0 = irs.idr0.with_mpam(true)), "no MPAM"),
        (irs_refused(|irs| irs.idr0 = irs.idr0.with_mpam2(true)), "no MPAM"),
        (irs_refused(|irs| irs.idr0 = IRS_IDR0::new_with_raw_value(irs.idr0.raw_value() | 0xf << 2)), "PA_RANGE"),
        (irs_refused(|irs| irs.idr1 = irs.idr1.with_pe_cnt(2)), "IRS_IDR1 0x004f0002: PE_CNT is not"),
        (irs_refused(|irs| irs.idr1 = IRS_IDR1::new_with_raw_value(irs.idr1.raw_value() | 7 << 20)), "PRI_BITS"),
        (irs_refused(|irs| irs.idr3 = IRS_IDR3::new_with_raw_value(1)), "IRS_IDR3 0x00000001: is zero without VIRT"),
        (irs_refused(|irs| irs.idr4 = IRS_IDR4::new_with_raw_value(2)), "IRS_IDR4 0x00000002: is zero without VIRT"),
        (irs_refused(|irs| irs.aidr = IRS_AIDR::ZERO.with_component(Component::Its)), "Component is not IRS"),
        (irs_refused(|irs| irs.idr2 = irs.idr2.with_id_bits(arbitrary_int::u5::new(25))), "IRS_IDR2"),
        (
            irs_refused(|irs| irs.idr6 = IRS_IDR6::ZERO.with_spi_irs_range(u25::new(65))),
            "IRS_IDR6 0x00000041: SPIs beyond",
        ),
        (irs_refused(|irs| irs.idr7 = IRS_IDR7::ZERO.with_spi_base(wire(1))), "SPIs beyond"),
    ] {
        assert!(error.starts_with("IRS 0: ") && error.contains(words), "{error}");
    }
}

#[test]
fn a_pe_that_cannot_be_is_refused() {
    // PPI-3, PPI-5, PPI-26.
    for (error, words) in [
        (pe_refused(|pe| pe.edge_ppis[0] = PpiSet::EMPTY), "PPI 3 is edge"),
        (pe_refused(|pe| pe.ppis[0] = pe.ppis[0].without(Ppi::SW_PPI)), "PPI 3 is not implemented"),
        (pe_refused(|pe| pe.edge_ppis[0] = pe.edge_ppis[0].with(Ppi::CNTV)), "other than 3 and 24"),
        (pe_refused(|pe| pe.ppis[0] = pe.ppis[0].with(Ppi::GICMNT)), "PPI 25"),
    ] {
        assert!(error.contains(words), "{error}");
    }
    let too_wide = refused(MachineConfig::new(1, 64), |config| {
        config.irses[0].idr1 = config.irses[0].idr1.with_iaffid_bits(BitsMinusOne::from_count(4).unwrap());
        config.irses[0].pes[0].iaffid = Iaffid::new(16);
    });
    assert!(too_wide.contains("more bits than IRS_IDR1.IAFFID_BITS"), "{too_wide}");
    let mut widest = MachineConfig::new(1, 64);
    widest.irses[0].idr1 = widest.irses[0].idr1.with_iaffid_bits(BitsMinusOne::from_count(4).unwrap());
    widest.irses[0].pes[0].iaffid = Iaffid::new(15);
    widest.irses[0].pes[0].edge_ppis[0] = PpiSet::EMPTY.with(Ppi::SW_PPI).with(Ppi::CTIIRQ);
    assert_eq!(widest.check(), Ok(()));
    // Without PPI 3 at all there is nothing to be edge.
    widest.irses[0].pes[0].ppis = [PpiSet::EMPTY; 2];
    widest.irses[0].pes[0].edge_ppis = [PpiSet::EMPTY; 2];
    assert_eq!(widest.check(), Ok(()));
}

#[test]
fn irses_that_contradict_each_other_are_refused() {
    // SPI-1, GEN-13.
    let error = refused(two_irses(), |config| config.irses[1].idr5 = IRS_IDR5::ZERO.with_spi_range(u25::new(65)));
    assert!(error.contains("IRS 1: IRS_IDR5"), "{error}");
    let error = refused(two_irses(), |config| {
        config.irses[1].idr2 = config.irses[1].idr2.with_id_bits(arbitrary_int::u5::new(16));
    });
    assert!(error.contains("IRS 1: IRS_IDR2") && error.contains("GEN-13"), "{error}");
    for (register, change) in [
        ("IRS_IDR0", (|irs| *irs = irs.clone().with_virtualisation()) as fn(&mut IrsConfig)),
        ("IRS_IDR3", |irs| irs.idr3 = irs.idr3.with_vm_id_bits(arbitrary_int::u5::new(12))),
        ("IRS_IDR4", |irs| irs.idr4 = irs.idr4.with_vped_sz(arbitrary_int::u6::new(8))),
    ] {
        let good = if register == "IRS_IDR0" { two_irses() } else { two_irses().with_virtualisation() };
        let error = refused(good, |config| change(&mut config.irses[1]));
        assert!(error.contains(&format!("IRS 1: {register}")) && error.contains("VM table (GEN-13)"), "{error}");
    }
    let error = refused(two_irses(), |config| config.irses[1].pes[0].iaffid = Iaffid::new(0));
    assert!(error.contains("two PEs have this affinity ID"), "{error}");
    let error = refused(two_irses(), |config| config.irses[1].idr7 = IRS_IDR7::ZERO.with_spi_base(wire(31)));
    assert_eq!(error, "SPI 31 belongs to two IRSs (SPI-1)");
    assert_eq!(refused(two_irses(), |config| config.irses.clear()), "a machine needs an IRS");
    let error = refused(MachineConfig::new(1, 64), |config| {
        config.irses[0].pes.clear();
        config.irses[0].idr1 = config.irses[0].idr1.with_pe_cnt(0);
    });
    assert_eq!(error, "a machine needs a PE");
    // An IRS without SPIs shares none, wherever its range would start.
    let mut config = two_irses();
    config.irses[1].idr6 = IRS_IDR6::ZERO;
    config.irses[1].idr7 = IRS_IDR7::ZERO.with_spi_base(wire(5));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn an_irs_that_is_added_is_as_the_first_but_for_its_number_a_pe_of_its_own_and_no_spis() {
    // GEN-13, SPI-1.
    let mut config = MachineConfig::new(3, 64).with_virtualisation();
    assert_eq!([config.add_irs(), config.add_irs()], [IrsIndex(1), IrsIndex(2)]);
    let bench = Bench::at_reset(config.clone());
    assert_eq!(bench.machine.pe_count(), 5);
    for (n, irs) in config.irses.iter().enumerate().skip(1) {
        assert_eq!((usize::from(irs.idr0.irsid()), irs.spis()), (n, (0, 0)));
        assert_eq!((irs.pes.len(), usize::from(irs.pes[0].iaffid.raw_value())), (1, 2 + n));
        let first = &config.irses[0];
        assert_eq!((irs.idr2, irs.idr3, irs.idr4, irs.idr5), (first.idr2, first.idr3, first.idr4, first.idr5));
        assert_eq!(irs.idr0.with_irsid(0), first.idr0);
    }
    // What cannot be is refused when the machine is made.
    config.irses[0].pes[0].iaffid = Iaffid::new(u16::MAX);
    config.add_irs();
    assert_eq!(
        config.check().unwrap_err(),
        ConfigError::Pe { iaffid: Iaffid::new(u16::MAX), reason: "two PEs have this affinity ID" }
    );
    config.irses.clear();
    config.add_irs();
    assert_eq!(config.check(), Err(ConfigError::NoIrs));
}

#[test]
fn impossible_memory_is_refused() {
    let mut config = MachineConfig::new(1, 64);
    config.memory.cache_line = 48;
    assert!(matches!(Machine::new(config), Err(ConfigError::Memory(_))));
}

/// Does something of everything.
fn busy(bench: &Bench) {
    bench.linear_ist();
    bench.enable_ppi(PE0, Ppi::SW_PPI, 9);
    for id in 0..40 {
        bench.pend(lpi(id), id % 8, 0);
        bench.machine.set_spi_wire(wire(id), id % 3 == 0);
    }
    bench.trigger(7, TriggerMode::Level);
    let _ = bench.host(PE0).cdia();
    bench.host(PE0).cdpend(lpi(3), true);
    bench.machine.write_raw(IRS, IrsReg::IRS_SYNCR, 1 << 31);
}

#[test]
fn a_saved_state_goes_on_exactly_as_it_would_have() {
    for effects in [Effects::Late, Effects::Random] {
        let mut config = MachineConfig::new(1, 64);
        config.switches.effects = effects;
        config.memory.eagerness = Eagerness::Random;
        let bench = Bench::started(config.clone());
        busy(&bench);
        let saved = bench.machine.save();
        let story = |bench: &Bench| {
            let taken: Vec<_> = (0..20).map(|_| take(&bench.host(PE0))).collect();
            bench.machine.advance(100);
            bench.clear_ist(IRS);
            (taken, bench.machine.save())
        };
        let first = story(&bench);
        assert!(first.1 != saved);
        bench.machine.restore(saved.clone());
        assert!(bench.machine.save() == saved);
        assert!(story(&bench) == first, "{effects:?}");
        // On another machine, too.
        let other = Bench::at_reset(config);
        other.machine.restore(saved);
        assert!(story(&other) == first);
    }
}

#[test]
fn the_same_seed_gives_the_same_machine_and_another_one_another() {
    let state = |seed| {
        let mut config = MachineConfig::new(1, 64);
        config.switches.effects = Effects::Random;
        config.seed = seed;
        let bench = Bench::started(config);
        busy(&bench);
        let early = |n| {
            bench.host(PE0).cdpend(spi(n), true);
            bench.state(spi(n)).pending()
        };
        (0..32).map(early).collect::<Vec<_>>()
    };
    assert_eq!(state(1), state(1));
    assert_ne!(state(1), state(2));
}

#[test]
fn looking_at_a_machine_does_not_change_it() {
    let bench = Bench::small();
    bench.linear_ist();
    bench.pend(lpi(3), 3, 0);
    let before = bench.machine.save();
    for id in [lpi(3), lpi(4), lpi(1 << 14), spi(3), spi(64)] {
        let _ = bench.machine.interrupt(id);
    }
    let _ = (bench.machine.signals(PE0), bench.machine.candidate(PE0), bench.machine.now(), bench.machine.commands());
    assert!(bench.machine.save() == before);
}

#[test]
fn clones_are_the_same_machine() {
    let bench = Bench::small();
    let clone = bench.machine.clone();
    clone.set_spi_wire(wire(5), true);
    assert!(bench.state(spi(5)).pending());
    clone.advance(5);
    assert_eq!(bench.machine.now(), clone.now());
}

#[test]
fn an_interrupt_can_be_put_into_any_state_from_outside() {
    let bench = Bench::small();
    let entry = bench.state(spi(5)).with_pending(true).with_enable(true).with_priority(priority(4));
    assert!(bench.machine.set_interrupt(spi(5), entry));
    assert_eq!(bench.machine.candidate(PE0), Some((spi(5), priority(4))));
    assert!(!bench.machine.set_interrupt(spi(64), entry));
    assert!(!bench.machine.set_interrupt(lpi(5), entry));
}

// --- observers ------------------------------------------------------------------------------------------------------

/// What happens during `what`.
fn observed(bench: &Bench, what: impl FnOnce()) -> Vec<Event> {
    bench.machine.observe(1000);
    what();
    bench.machine.ignore();
    bench.machine.take_events().into_iter().map(|(_, event)| event).collect()
}

#[test]
fn an_observer_is_told_what_follows_from_a_wire() {
    let bench = Bench::small();
    bench.enable(spi(5), 3, 0);
    let events = observed(&bench, || bench.machine.set_spi_wire(wire(5), true));
    let interrupt = IntId::from(spi(5));
    assert_eq!(
        events,
        [
            Event::SpiWire { irs: IRS, spi: wire(5), high: true },
            Event::Interrupt { space: Space::Physical, pe: None, interrupt, change: Change::Pending(true) },
            Event::Candidate {
                domain: Domain::NonSecure,
                space: Space::Physical,
                target: Iaffid::new(0),
                candidate: Some((interrupt, priority(3)))
            },
            Event::Signal { pe: PE0, signal: Signal::Irq, asserted: true },
        ]
    );
}

#[test]
fn an_observer_is_told_every_change_of_a_state() {
    let bench = Bench::eager(1);
    let id = spi(5);
    let interrupt = IntId::from(id);
    for (change, make) in [
        (Change::Pending(true), Box::new(|| bench.host(PE0).cdpend(id, true)) as Box<dyn Fn()>),
        (Change::Priority(priority(9)), Box::new(|| bench.host(PE0).cdpri(id, priority(9)))),
        (Change::Mode(HandlingMode::Level), Box::new(|| bench.host(PE0).cdhm(id, HandlingMode::Level))),
        (Change::Target(Iaffid::new(7), RoutingMode::Targeted), Box::new(|| bench.host(PE0).cdaff(id, Iaffid::new(7)))),
        (Change::Enabled(true), Box::new(|| bench.host(PE0).cden(id))),
        (Change::Enabled(false), Box::new(|| bench.host(PE0).cddis(id))),
        (Change::Pending(false), Box::new(|| bench.host(PE0).cdpend(id, false))),
    ] {
        let events = observed(&bench, &make);
        let expected = Event::Interrupt { space: Space::Physical, pe: None, interrupt, change };
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Interrupt { .. })).count(), 1, "{change:?}");
        assert!(events.contains(&expected), "{events:#?}");
        // Once more is no change.
        let events = observed(&bench, &make);
        assert!(!events.iter().any(|event| matches!(event, Event::Interrupt { .. })), "{change:?}");
    }
    bench.pend(id, 3, 0);
    let events = observed(&bench, || _ = bench.host(PE0).cdia());
    let active = Event::Interrupt { space: Space::Physical, pe: None, interrupt, change: Change::Active(true) };
    assert!(events.contains(&active), "{events:#?}");
    assert!(events.contains(&Event::Signal { pe: PE0, signal: Signal::Irq, asserted: false }));
}

#[test]
fn an_observer_is_told_accesses_instructions_barriers_and_wires() {
    let bench = Bench::small();
    let frame = Frame::config(IRS);
    let events = observed(&bench, || {
        bench.machine.write32(frame, 0x84, 0);
        let _ = bench.machine.read32(frame, 0x84);
        bench.machine.write64(frame, 0x184, 1);
        let _ = bench.machine.read64(frame, 0x184);
        bench.host(PE0).write_raw(SysReg::ICC_PCR_EL1, 31);
        let _ = bench.host(PE0).read_raw(SysReg::ICC_PCR_EL1);
        bench.host(PE0).cden(spi(5));
        bench.host(PE0).isb();
        bench.host(PE0).dsb();
        bench.machine.set_ppi_wire(PE0, ppi(27), true);
    });
    let xt = IntIdOperand::naming(spi(5)).raw_value();
    assert_eq!(
        events,
        [
            Event::FrameWrite { pe: PE0, frame, offset: 0x84, width: Width::W32, value: 0 },
            Event::FrameRead { pe: PE0, frame, offset: 0x84, width: Width::W32, value: 0 },
            Event::FrameWrite { pe: PE0, frame, offset: 0x184, width: Width::W64, value: 1 },
            Event::FrameRead { pe: PE0, frame, offset: 0x184, width: Width::W64, value: 0 },
            Event::SysRegWrite { pe: PE0, register: SysReg::ICC_PCR_EL1, value: 31 },
            Event::SysRegRead { pe: PE0, register: SysReg::ICC_PCR_EL1, value: 31 },
            Event::Instruction { pe: PE0, insn: GicInsn::GIC_CDEN, xt, result: 0 },
            Event::Barrier { pe: PE0, barrier: Barrier::Isb },
            Event::Barrier { pe: PE0, barrier: Barrier::Dsb },
            Event::MemoryBarrier,
            Event::PpiWire { pe: PE0, ppi: ppi(27), high: true },
            Event::Interrupt {
                space: Space::Physical,
                pe: Some(PE0),
                interrupt: ppi(27).into(),
                change: Change::Pending(true)
            },
        ]
    );
}

#[test]
fn an_instruction_without_an_operand_has_none_whatever_the_register_holds() {
    // INS-4.
    let bench = Bench::small();
    let events = observed(&bench, || _ = bench.host(PE0).gic(GicInsn::GIC_CDEOI, u64::MAX));
    assert_eq!(events, [Event::Instruction { pe: PE0, insn: GicInsn::GIC_CDEOI, xt: 0, result: 0 }]);
}

#[test]
fn an_observer_is_told_what_became_of_a_command() {
    let bench = Bench::small();
    let outcome = |what: &dyn Fn()| {
        observed(&bench, what)
            .into_iter()
            .find_map(|event| match event {
                Event::CommandDone { outcome, irs: IrsIndex(0), .. } => Some(outcome),
                _ => None,
            })
            .unwrap()
    };
    assert_eq!(outcome(&|| bench.select_spi(IRS, 5)), Outcome::Done);
    assert_eq!(outcome(&|| bench.map_level2(IRS, 5)), Outcome::Ignored);
    bench.machine.fault_next(Fault::Ignored);
    assert_eq!(outcome(&|| _ = bench.command(IRS_CR0::ZERO)), Outcome::Lost);
    let started = observed(&bench, || bench.machine.write(IRS, IRS_CR0::ZERO.with_irsen(true)));
    let due = gicv5_model::clock::Tick(bench.machine.now().0 + 1);
    assert!(
        started.contains(&Event::CommandStarted { irs: IRS, register: IrsReg::IRS_CR0, value: 1, due }),
        "{started:?}"
    );
}

#[test]
fn an_observer_is_told_of_software_errors_and_of_violations() {
    let bench = Bench::eager(1);
    let nowhere = gicv5_arch::PhysAddr::new(0x1000).unwrap();
    let ist = gicv5_arch::geometry::IstGeometry::linear(4, gicv5_arch::values::IstSize::Bytes4).unwrap();
    bench.set_ist(IRS, ist, nowhere);
    let events = observed(&bench, || bench.host(PE0).cden(lpi(2)));
    let address = Some(nowhere.offset(8).unwrap());
    assert!(events.contains(&Event::SoftwareError { irs: IRS, code: 2, address }), "{events:?}");
    let events = observed(&bench, || _ = bench.host(PE0).read_raw(SysReg::ICC_PCR_EL3));
    assert!(events.iter().any(|event| matches!(event, Event::Violation(_))), "{events:?}");
    let events = observed(&bench, || _ = bench.block(64, 64));
    assert!(matches!(events[..], [Event::Allocated { .. }]), "{events:?}");
    bench.broken(&["MEM-4", "CPU-1"]);
}

#[test]
fn what_a_machine_does_is_the_same_with_and_without_an_observer() {
    let run = |observe: bool| {
        let bench = Bench::with(1, |config| config.switches.effects = Effects::Random);
        if observe {
            bench.machine.observe(10);
        }
        busy(&bench);
        (0..10).map(|_| take(&bench.host(PE0))).collect::<Vec<_>>()
    };
    assert_eq!(run(true), run(false));
    let machine = Machine::new(MachineConfig::new(1, 64)).unwrap();
    machine.barrier();
    assert!(machine.take_events().is_empty(), "nobody observes");
    machine.observe(10);
    machine.barrier();
    machine.ignore();
    machine.barrier();
    assert_eq!(machine.take_events().len(), 1, "nobody observes any more");
}
