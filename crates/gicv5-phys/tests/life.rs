//! Coming up and going down, and everything that can go wrong on the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::error::Error;

use common::{Lab, Op, Shape, config, down, driver, driver_with, release_all, up};
use gicv5_arch::irs::{IRS_CR0, IRS_CR1, IRS_IST_BASER, IrsReg};
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::values::Levels;
use gicv5_hal::{Coherency, Cookie, HostLpis, IrsExt, IrsIndex, LpiError};
use gicv5_model::config::Eagerness;
use gicv5_model::fault::{Fault, Request};
use gicv5_phys::{
    BringUpCause, Command, CommandError, CommandErrorKind, Config, El2, IpiKind, LiveTables, OwnedLpi, PeError, Phase,
    Phys, Place, SpiError, TearDownError,
};

/// LPIs enough to need several level-2 ISTs of 4 KiB with entries of 16 bytes.
const MANY: u64 = 260;

/// Everything the driver does with commands and memory, from nothing to nothing. Stops at the first failure.
fn life(lab: &Lab, phys: &Phys<Lab>, lpis: &mut Vec<OwnedLpi>) -> Result<(), Box<dyn Error>> {
    phys.bring_up()?;
    let pes = usize::from(lab.machine.pe_count());
    for pe in 0..pes {
        lab.on(pe, |pe| phys.bring_up_pe(pe))?;
    }
    lab.on(0, |_| ());
    for n in 0..MANY {
        lpis.push(phys.allocate(Cookie(n))?);
    }
    phys.set_trigger(gicv5_arch::Spi::new(3)?, gicv5_arch::values::TriggerMode::Level)?;
    phys.resample(gicv5_arch::Spi::new(3)?)?;
    // Of each level-2 IST one is released as it should be, which takes commands; the others are given up.
    for lpi in std::mem::take(lpis) {
        if lpi.lpi().id() % 128 == 10 { lpis.push(lpi) } else { phys.abandon(lpi) }
    }
    while let Some(lpi) = lpis.pop() {
        phys.release(lpi).map_err(|error| {
            let message = error.to_string();
            lpis.push(error.lpi);
            message
        })?;
    }
    for pe in 0..pes {
        lab.on(pe, |pe| phys.bring_down_pe(pe))?;
    }
    phys.tear_down()?;
    Ok(())
}

/// Ends a life that failed somewhere, once the hardware answers.
fn end(lab: &Lab, phys: &Phys<Lab>, lpis: Vec<OwnedLpi>) {
    for lpi in lpis {
        phys.release(lpi).expect("the hardware answers, so an LPI can be released");
    }
    for pe in 0..usize::from(lab.machine.pe_count()) {
        match lab.on(pe, |pe| phys.bring_down_pe(pe)) {
            Ok(()) | Err(PeError::NotUp) => {}
            Err(error) => panic!("{error}"),
        }
    }
    phys.reclaim().expect("what was left can be settled");
    phys.tear_down().expect("the hardware answers");
    assert_eq!(phys.phase(), Phase::Down);
    assert_eq!(lab.live_blocks(), 0, "table memory is left");
    assert_eq!(phys.holdings().unknown, None);
}

/// Ends a life that failed somewhere, once the hardware answers, and lives another.
fn live_again(lab: &Lab, phys: &Phys<Lab>, lpis: Vec<OwnedLpi>) {
    end(lab, phys, lpis);
    life(lab, phys, &mut Vec::new()).expect("the second life finds hardware that answers");
    lab.assert_all_returned();
}

/// The machines that everything is tried on.
fn shapes() -> [Shape; 4] {
    let shape = Shape::default();
    [
        Shape { metadata: Some(0), ..shape },
        Shape { metadata: Some(0), coherency: Coherency::NonCoherent, pes_per_irs: 1, ..shape },
        Shape { irss: 2, coherency: Coherency::NonCoherent, metadata: Some(24), pes_per_irs: 1, ..shape },
        Shape { irss: 3, pes_per_irs: 1, metadata: None, ..shape },
    ]
}

#[test]
fn a_life_leaves_nothing_behind_and_breaks_no_rule() {
    for mut shape in shapes() {
        for eagerness in [Eagerness::Strict, Eagerness::Random, Eagerness::Early] {
            shape.eagerness = eagerness;
            let (lab, phys) = driver(shape);
            for _ in 0..2 {
                let mut lpis = Vec::new();
                life(&lab, &phys, &mut lpis).unwrap_or_else(|error| panic!("{shape:?}: {error}"));
                assert_eq!(phys.phase(), Phase::Down);
                lab.assert_all_returned();
            }
        }
    }
}

#[test]
fn every_allocation_may_fail_and_the_life_can_be_lived_again() {
    for shape in shapes() {
        let (lab, phys) = driver(shape);
        life(&lab, &phys, &mut Vec::new()).unwrap();
        let allocations = lab.allocations();
        assert!(allocations >= 1);
        for n in 0..allocations {
            let (lab, phys) = driver(shape);
            lab.fail_allocation(n);
            let mut lpis = Vec::new();
            let error = life(&lab, &phys, &mut lpis).expect_err("an allocation failed");
            let text = format!("{error:?}");
            assert!(text.contains("NoMemory") || text.contains("Memory("), "{text}");
            live_again(&lab, &phys, lpis);
        }
    }
}

/// The commands of a life, with the number of the fault point of each.
fn commands_of_a_life(shape: Shape) -> Vec<(u64, (IrsIndex, IrsReg, u64))> {
    let (lab, phys) = driver(shape);
    lab.machine.record_fault_points();
    life(&lab, &phys, &mut Vec::new()).unwrap();
    let points = lab.machine.take_fault_points().into_iter();
    let commands: Vec<_> = points
        .filter_map(|point| match point.request {
            Request::Command { irs, register, value, .. } => Some((point.index, (irs, register, value))),
            _ => None,
        })
        .collect();
    assert_eq!(commands.len() as u64, lab.machine.commands());
    commands
}

/// GEN-18, GEN-19, LIFE-10, VMT-7.
#[test]
fn every_command_may_never_complete_and_everything_is_reclaimed_when_it_does() {
    for shape in shapes() {
        for (n, _) in commands_of_a_life(shape) {
            let (lab, phys) = driver(shape);
            lab.machine.plan_fault(n, Fault::Never);
            let mut lpis = Vec::new();
            let error = life(&lab, &phys, &mut lpis).expect_err("a command did not complete");

            // Nothing that the IRSs may touch has been given back, or the model would have said so.
            lab.assert_no_violations();
            if phys.phase() == Phase::Partial {
                let holdings = phys.holdings();
                assert_eq!(holdings.table_bytes, lab.live_bytes(), "{error}: what is live is held");
                let (irs, step) = holdings.unknown.expect("a command is unknown");
                match phys.reclaim() {
                    Err(CommandError { irs: at, kind: CommandErrorKind::InFlight { in_flight }, .. }) => {
                        assert_eq!((at, in_flight), (irs, step));
                    }
                    other => panic!("{error}: reclaim says {other:?}"),
                }
                assert!(phys.bring_up().is_err());
            }
            lab.assert_no_violations();

            lab.machine.recover();
            live_again(&lab, &phys, lpis);
        }
    }
}

/// GEN-19, LIFE-10.
#[test]
fn every_command_may_complete_after_the_driver_gave_up() {
    for shape in shapes() {
        for (n, _) in commands_of_a_life(shape) {
            let (lab, phys) = driver(shape);
            lab.machine.plan_fault(n, Fault::Late(1_000));
            let mut lpis = Vec::new();
            life(&lab, &phys, &mut lpis).expect_err("a command timed out");
            lab.assert_no_violations();
            lab.machine.advance(1_000);
            live_again(&lab, &phys, lpis);
        }
    }
}

/// GEN-17, GEN-18.
#[test]
fn a_command_that_is_slow_but_in_time_is_waited_for() {
    let shape = Shape { irss: 2, ..Shape::default() };
    for (n, _) in commands_of_a_life(shape) {
        let (lab, phys) = driver(shape);
        lab.machine.plan_fault(n, Fault::Late(100));
        life(&lab, &phys, &mut Vec::new()).unwrap();
        lab.assert_all_returned();
    }
}

/// GEN-17.
#[test]
fn a_command_without_effect_leaks_nothing_and_the_life_can_be_lived_again() {
    for shape in shapes() {
        let commands = commands_of_a_life(shape);
        for (index, &(n, (irs, register, value))) in commands.iter().enumerate() {
            // An IRS that says it has withdrawn the IST and has not cannot be told from one that has.
            let withdrawal = register == IrsReg::IRS_IST_BASER && !IRS_IST_BASER::new_with_raw_value(value).valid();
            if withdrawal {
                continue;
            }
            let (lab, phys) = driver(shape);
            lab.machine.plan_fault(n, Fault::Ignored);
            let mut lpis = Vec::new();
            let outcome = life(&lab, &phys, &mut lpis);
            let first_on_irs = !commands[..index].iter().any(|(_, before)| (before.0, before.1) == (irs, register));
            match register {
                // What the driver can find out, it finds out. The status register says nothing about a selection
                // without effect if the one before was valid.
                IrsReg::IRS_PE_SELR if !first_on_irs => {}
                // Nothing is selected before an SPI is, and nothing was selected before.
                IrsReg::IRS_SPI_SELR if first_on_irs => {}
                IrsReg::IRS_MAP_L2_ISTR | IrsReg::IRS_SPI_SELR | IrsReg::IRS_SPI_CFGR | IrsReg::IRS_PE_SELR => {
                    outcome.expect_err("the command had no effect");
                }
                IrsReg::IRS_IST_BASER => {
                    outcome.expect_err("no LPI can be reached");
                }
                _ => {}
            }
            live_again(&lab, &phys, lpis);
        }
    }
}

/// LPI-2, VMT-22, IST-20.
#[test]
fn a_level2_ist_whose_command_had_no_effect_is_asked_for_again() {
    let (lab, phys) = up(Shape { metadata: Some(0), ..Shape::default() });
    let mut lpis: Vec<_> = (0..252).map(|n| phys.allocate(Cookie(n)).unwrap()).collect();
    lab.machine.fault_next(Fault::Ignored);
    assert!(matches!(phys.allocate(Cookie(252)), Err(LpiError::Unreachable { lpi, .. }) if lpi.id() == 256));
    lpis.push(phys.allocate(Cookie(252)).expect("the command is given again"));
    lab.machine.fault_next(Fault::Late(1_000));
    lpis.extend((253..508).map(|n| phys.allocate(Cookie(n)).unwrap()));
    assert!(matches!(phys.allocate(Cookie(508)), Err(LpiError::Unreachable { lpi, .. }) if lpi.id() == 512));
    assert!(
        matches!(phys.allocate(Cookie(508)), Err(LpiError::Unreachable { lpi, .. }) if lpi.id() == 512),
        "it fails at once"
    );
    lab.machine.advance(1_000);
    let commands = lab.machine.commands();
    lpis.push(phys.allocate(Cookie(508)).expect("the command is over"));
    assert_eq!(lab.machine.commands(), commands, "the entry is valid, so no command is given");
    release_all(&lab, &phys, lpis);
}

/// LPI-1, VMT-2.
#[test]
fn an_ist_in_use_is_refused_and_left_alone() {
    for shape in [Shape::default(), Shape { irss: 2, ..Shape::default() }] {
        let lab = shape.lab();
        let irss = shape.irs_indices();
        let old = Phys::new(lab.clone(), &config(&irss)).unwrap();
        old.bring_up().unwrap();
        let (blocks, cr1) = (lab.live_blocks(), lab.machine.read::<IRS_CR1>(IrsIndex(0)));
        let new = Phys::new(lab.clone(), &config(&irss)).unwrap();
        let error = new.bring_up().unwrap_err();
        assert!(matches!(error.cause, BringUpCause::LiveTable { register: IrsReg::IRS_IST_BASER, .. }), "{error}");
        assert_eq!(error.cleanup, Ok(()));
        assert_eq!(new.phase(), Phase::Down);
        new.tear_down().unwrap();
        assert_eq!(lab.live_blocks(), blocks);
        assert!(lab.machine.read::<IRS_CR0>(IrsIndex(0)).irsen(), "the IRS is still enabled");
        assert_eq!(lab.machine.read::<IRS_CR1>(IrsIndex(0)), cr1);
        old.tear_down().unwrap();
        lab.assert_all_returned();
    }
}

/// LPI-1, VMT-6.
#[test]
fn an_ist_in_use_is_taken_over_by_clearing_it() {
    let shape = Shape { irss: 2, ..Shape::default() };
    let lab = shape.lab();
    let irss = shape.irs_indices();
    let old = Phys::new(lab.clone(), &config(&irss)).unwrap();
    old.bring_up().unwrap();
    let left = lab.live_blocks();
    let takes_over = Config { live_tables: LiveTables::TakeOver, ..config(&irss) };
    let new = Phys::new(lab.clone(), &takes_over).unwrap();
    new.bring_up().unwrap();
    assert_eq!(lab.live_blocks(), left + 1, "the old table is still whose it was");
    lab.on(0, |pe| new.bring_up_pe(pe)).unwrap();
    let lpi = new.allocate(Cookie(1)).unwrap();
    new.release(lpi).unwrap();
    lab.on(0, |pe| new.bring_down_pe(pe)).unwrap();
    new.tear_down().unwrap();
    assert_eq!(lab.live_blocks(), left);
    lab.assert_no_violations();
}

/// LPI-1, VMT-7.
#[test]
fn an_ist_that_reads_valid_after_its_withdrawal_is_not_given_back() {
    for at in [0, 1] {
        let shape = Shape { irss: 2, pes_per_irs: 1, ..Shape::default() };
        let (lab, phys) = driver(shape);
        phys.bring_up().unwrap();
        let blocks = lab.live_blocks();
        lab.irs_reads(at, IrsReg::IRS_IST_BASER, 0x8000_0001);
        let error = phys.tear_down().unwrap_err();
        let TearDownError::Command(CommandError { irs, command, place, value, kind: CommandErrorKind::NoEffect }) =
            error
        else {
            panic!("{error}");
        };
        assert_eq!((irs, command, value), (IrsIndex(at), Command::WithdrawIst, 0x8000_0001));
        assert_eq!(place, Place::Register(IrsReg::IRS_IST_BASER));
        assert_eq!((phys.phase(), lab.live_blocks()), (Phase::Partial, blocks));
        lab.irs_reads_itself(at, IrsReg::IRS_IST_BASER);
        assert_eq!(phys.reclaim(), Ok(Phase::Down));
        lab.assert_all_returned();
    }
}

/// IST-28, LPI-1.
#[test]
fn a_register_that_does_not_take_what_is_written_stops_the_bring_up() {
    let cases = [
        (IrsReg::IRS_IST_CFGR, 0, Command::MakePhysicalIstValid),
        (IrsReg::IRS_IST_BASER, 0, Command::MakePhysicalIstValid),
        // Idle, and not enabled.
        (IrsReg::IRS_CR0, 2, Command::EnableIrs),
    ];
    for (wrong, value, wanted) in cases {
        let (lab, phys) = driver(Shape::default());
        lab.irs_reads(0, wrong, value);
        let error = phys.bring_up().unwrap_err();
        let BringUpCause::Command(CommandError {
            command, place, value: read, kind: CommandErrorKind::NoEffect, ..
        }) = error.cause
        else {
            panic!("{error}");
        };
        assert_eq!((command, place, read), (wanted, Place::Register(wrong), value));
        lab.irs_reads_itself(0, wrong);
        assert_eq!((error.cleanup, phys.phase(), lab.live_blocks()), (Ok(()), Phase::Down, 0));
        phys.bring_up().unwrap();
        phys.tear_down().unwrap();
        lab.assert_no_violations();
    }
}

/// VMT-2, GEN-20.
#[test]
fn a_vm_table_in_use_is_refused_too() {
    let (lab, phys) = driver(Shape::default());
    drop(phys);
    // An IRS with a virtual side, whose VM table an earlier hypervisor has left.
    let idr0 = lab.machine.read_raw(IrsIndex(0), IrsReg::IRS_IDR0);
    lab.irs_reads(0, IrsReg::IRS_IDR0, idr0 | 1 << 6);
    lab.irs_reads(0, IrsReg::IRS_VMT_STATUSR, 1);
    lab.irs_reads(0, IrsReg::IRS_VMT_BASER, 0x8000_0001);
    let phys = Phys::new(lab.clone(), &config(&[IrsIndex(0)])).unwrap();
    let error = phys.bring_up().unwrap_err();
    let cause = BringUpCause::LiveTable { irs: IrsIndex(0), register: IrsReg::IRS_VMT_BASER, value: 0x8000_0001 };
    assert_eq!((error.cause, error.cleanup), (cause, Ok(())));
    assert_eq!(lab.commands(), []);
    lab.irs_reads(0, IrsReg::IRS_VMT_BASER, 0);
    phys.bring_up().unwrap();
    phys.tear_down().unwrap();
    lab.assert_no_violations();
}

#[test]
fn a_vm_table_that_cannot_be_cleared_stops_a_take_over() {
    let lab = Shape::default().lab();
    let idr0 = lab.machine.read_raw(IrsIndex(0), IrsReg::IRS_IDR0);
    lab.irs_reads(0, IrsReg::IRS_IDR0, idr0 | 1 << 6);
    lab.irs_reads(0, IrsReg::IRS_VMT_STATUSR, 1);
    lab.irs_reads(0, IrsReg::IRS_VMT_BASER, 0x8000_0001);
    let irss = [IrsIndex(0)];
    let takes_over = Config { live_tables: LiveTables::TakeOver, ..config(&irss) };
    let phys = Phys::new(lab.clone(), &takes_over).unwrap();
    let error = phys.bring_up().unwrap_err();
    assert!(
        matches!(
            error.cause,
            BringUpCause::Command(CommandError {
                command: Command::WithdrawTable,
                value: 0x8000_0001,
                kind: CommandErrorKind::NoEffect,
                ..
            })
        ),
        "{error}"
    );
    // What the driver had begun is undone; nothing of its own was ever named.
    assert_eq!((error.cleanup, phys.phase(), lab.live_blocks()), (Ok(()), Phase::Down, 0));
    lab.assert_no_violations();
}

/// VPE-15.
#[test]
fn a_pe_of_an_irs_with_one_of_n_routing_is_taken_out_of_it() {
    let lab = Shape::default().lab();
    let idr0 = lab.machine.read_raw(IrsIndex(0), IrsReg::IRS_IDR0);
    lab.irs_reads(0, IrsReg::IRS_IDR0, idr0 | 1 << 7);
    let phys = Phys::new(lab.clone(), &config(&[IrsIndex(0)])).unwrap();
    phys.bring_up().unwrap();
    lab.on(0, |pe| phys.bring_up_pe(pe)).unwrap();
    let [.., (_, select, _), (_, opt_out, value)] = lab.commands()[..] else { panic!("two commands for a PE") };
    assert_eq!((select, opt_out, value), (IrsReg::IRS_PE_SELR, IrsReg::IRS_PE_CR0, 1));
    lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap();
    phys.tear_down().unwrap();
    lab.assert_no_violations();
}

/// GEN-15, GEN-16, GEN-18.
#[test]
fn while_a_command_hangs_only_its_own_registers_are_out_of_use() {
    let (lab, phys) = up(Shape { metadata: Some(0), ..Shape::default() });
    let spi = |id| gicv5_arch::Spi::new(id).unwrap();
    lab.machine.fault_next(Fault::Never);
    let error = phys.resample(spi(1)).and_then(|()| phys.trigger(spi(1)));
    assert!(
        matches!(
            error,
            Err(SpiError::Command(CommandError {
                command: Command::SelectSpi,
                kind: CommandErrorKind::TimedOut { .. },
                ..
            }))
        ),
        "{error:?}"
    );
    let before = lab.machine.now();
    let error = phys.trigger(spi(2)).unwrap_err();
    let in_flight = Command::SelectSpi;
    assert!(
        matches!(error, SpiError::Command(CommandError { kind: CommandErrorKind::InFlight { in_flight: it }, .. }) if it == in_flight)
    );
    assert!(lab.machine.now().0 - before.0 < 10, "it is refused at once");
    assert_eq!(phys.holdings().unknown, Some((IrsIndex(0), Command::SelectSpi)));

    // Everything else goes on: level-2 ISTs, LPIs, IPIs, interrupts.
    let lpis: Vec<_> = (0..260).map(|n| phys.allocate(Cookie(n)).unwrap()).collect();
    phys.enable(&lpis[259]);
    lab.on(0, |pe| {
        phys.set_pending(pe, lpis[259].lpi()).unwrap();
        pe.gsb_sys();
        assert_eq!(phys.take_interrupts(pe, u64::MAX, |_, active| Some(active)), 1);
    });
    for lpi in lpis {
        phys.release(lpi).unwrap();
    }
    lab.machine.recover();
    assert_eq!(phys.holdings().unknown, None);
    phys.trigger(spi(2)).unwrap();
    down(&lab, &phys);
}

/// GEN-13.
#[test]
fn only_the_first_irs_is_told_if_so_configured() {
    let (lab, phys) = driver_with(Shape { irss: 2, ..Shape::default() }, |config| Config {
        ist_programming: gicv5_phys::IstProgramming::FirstIrs,
        ..config
    });
    life(&lab, &phys, &mut Vec::new()).unwrap();
    let told: Vec<_> =
        lab.commands().into_iter().filter(|(_, register, _)| *register == IrsReg::IRS_IST_BASER).collect();
    assert!(told.iter().all(|(irs, ..)| *irs == IrsIndex(0)), "{told:?}");
    lab.assert_no_violations();
}

#[test]
fn a_driver_that_is_up_is_not_brought_up_again_and_one_that_is_down_may_be_torn_down() {
    let (lab, phys) = driver(Shape::default());
    phys.tear_down().unwrap();
    assert_eq!(phys.reclaim(), Ok(Phase::Down));
    phys.bring_up().unwrap();
    let error = phys.bring_up().unwrap_err();
    assert_eq!((error.cause, error.cleanup), (BringUpCause::AlreadyUp, Ok(())));
    assert_eq!(phys.reclaim(), Ok(Phase::Up));
    phys.tear_down().unwrap();
    phys.tear_down().unwrap();
    lab.assert_all_returned();
}

#[test]
fn the_driver_is_not_torn_down_under_lpis_and_pes() {
    let (lab, phys) = up(Shape::default());
    let lpi = phys.allocate(Cookie(1)).unwrap();
    assert_eq!(phys.tear_down(), Err(TearDownError::LpisInUse { lent: 1 }));
    assert_eq!(phys.holdings().lpis, 1);
    phys.release(lpi).unwrap();
    assert_eq!(phys.tear_down(), Err(TearDownError::PeUp { iaffid: common::iaffid(0) }));
    assert_eq!(phys.phase(), Phase::Up);
    down(&lab, &phys);
}

/// LIFE-22, RES-23.
#[test]
fn neither_the_driver_nor_a_pe_goes_under_a_hypervisor() {
    let (lab, phys) = driver_with(Shape::default(), |config| Config { el2: El2::Accessible, ..config });
    let idr0 = lab.machine.read_raw(IrsIndex(0), IrsReg::IRS_IDR0);
    lab.irs_reads(0, IrsReg::IRS_IDR0, idr0 | 1 << 6);
    lab.irs_reads(0, IrsReg::IRS_VMT_STATUSR, 1);
    let phys_with_vms = Phys::new(lab.clone(), &Config { el2: El2::Accessible, ..config(&[IrsIndex(0)]) }).unwrap();
    drop(phys);
    let phys = phys_with_vms;
    phys.bring_up().unwrap();
    lab.on(0, |pe| phys.bring_up_pe(pe)).unwrap();
    lab.pe_reads(SysReg::ICH_CONTEXTR_EL2, 1 << 63);
    let error = lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap_err();
    assert_eq!(error, PeError::Resident { contextr: 1 << 63 });
    lab.pe_reads(SysReg::ICH_CONTEXTR_EL2, 0);
    lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap();
    lab.irs_reads(0, IrsReg::IRS_VMT_BASER, 0x8000_0001);
    let error = phys.tear_down().unwrap_err();
    assert_eq!(error, TearDownError::VmTableInUse { irs: IrsIndex(0), value: 0x8000_0001 });
    assert_eq!(phys.phase(), Phase::Up, "nothing was done");
    lab.irs_reads(0, IrsReg::IRS_VMT_BASER, 0);
    phys.tear_down().unwrap();
    lab.assert_all_returned();
}

/// ISM-7, GEN-21.
#[test]
fn a_pe_that_is_gone_is_done_without_and_comes_back_as_new() {
    let (lab, phys) = up(Shape::default());
    let gone = lab.on(1, |pe| {
        phys.bring_down_pe(pe).unwrap();
        let index = phys.bring_up_pe(pe).unwrap();
        phys.send_ipi(pe, index, IpiKind(0)).unwrap();
        pe.gsb_sys();
        // It has taken an IPI, and one more waits, when it is switched off.
        let taken = phys.acknowledge(pe);
        assert!(matches!(taken, gicv5_phys::Acknowledged::Interrupt(_)));
        phys.send_ipi(pe, index, IpiKind(1)).unwrap();
        pe.gsb_sys();
        index
    });
    lab.on(0, |pe| {
        phys.pe_is_gone(pe, gone).unwrap();
        assert_eq!(phys.pe_is_gone(pe, gone), Err(PeError::NotUp));
        phys.send_ipi(pe, gone, IpiKind(0)).unwrap_err();
    });
    lab.on(1, |pe| {
        assert_eq!(phys.bring_up_pe(pe), Ok(gone));
        assert_eq!(phys.take_interrupts(pe, u64::MAX, |_, active| panic!("{active:?} is of before")), 0);
        for kind in [0, 1].map(IpiKind) {
            phys.send_ipi(pe, gone, kind).unwrap();
            pe.gsb_sys();
            assert_eq!(phys.take_interrupts(pe, u64::MAX, |_, active| Some(active)), 1);
        }
        phys.bring_down_pe(pe).unwrap();
    });
    // And it is not missed when the driver goes.
    lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap();
    phys.tear_down().unwrap();
    lab.assert_all_returned();
}

/// LPI-3, SPI-8.
#[test]
fn without_lpis_there_is_no_ist() {
    let (lab, phys) = driver_with(Shape::default(), |config| Config { lpis: 0, ipi_kinds: 0, ..config });
    phys.bring_up().unwrap();
    assert_eq!(lab.allocations(), 0);
    lab.on(0, |pe| phys.bring_up_pe(pe)).unwrap();
    assert_eq!(phys.allocate(Cookie(0)).unwrap_err(), LpiError::NoneFree);
    lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap();
    phys.tear_down().unwrap();
    lab.assert_no_violations();
}

/// IST-10, IST-12.
#[test]
fn linear_ists_of_every_entry_size_are_one_block_of_that_size() {
    for (metadata, entry) in [(None, 4), (Some(24), 8), (Some(0), 16)] {
        for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
            let (lab, phys) = driver_with(
                Shape { metadata, coherency, levels: Levels::Linear, l2_sizes: 0, ..Shape::default() },
                |config| Config { contiguous_bytes: 1 << 20, ..config },
            );
            phys.bring_up().unwrap();
            // 600 LPIs and 4 IPIs need 10 ID bits.
            assert_eq!((lab.live_blocks(), lab.live_bytes()), (1, 1024 * entry));
            phys.tear_down().unwrap();
            life(&lab, &phys, &mut Vec::new()).unwrap();
            lab.assert_all_returned();
        }
    }
}

#[test]
fn a_pe_comes_up_goes_out_and_comes_up_with_the_same_index() {
    let shape = Shape { irss: 2, ..Shape::default() };
    let (lab, phys) = driver(shape);
    assert_eq!(lab.on(0, |pe| phys.bring_up_pe(pe)), Err(PeError::DriverDown));
    phys.bring_up().unwrap();
    let index = lab.on(3, |pe| phys.bring_up_pe(pe)).unwrap();
    let other = lab.on(0, |pe| phys.bring_up_pe(pe)).unwrap();
    assert_ne!(index, other);
    assert_eq!(lab.on(3, |pe| phys.bring_up_pe(pe)), Err(PeError::AlreadyUp));
    lab.on(0, |pe| phys.send_ipi(pe, index, IpiKind(1))).unwrap();
    lab.on(3, |pe| phys.bring_down_pe(pe)).unwrap();
    assert_eq!(lab.on(3, |pe| phys.bring_down_pe(pe)), Err(PeError::NotUp));
    assert!(lab.on(0, |pe| phys.send_ipi(pe, index, IpiKind(1))).is_err());
    assert_eq!(lab.on(3, |pe| phys.bring_up_pe(pe)), Ok(index));
    assert_eq!(
        lab.on(3, |pe| phys.take_interrupts(pe, u64::MAX, |_, active| Some(active))),
        0,
        "the IPI of before is forgotten"
    );
    lab.on(3, |pe| phys.bring_down_pe(pe)).unwrap();
    lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap();
    phys.tear_down().unwrap();
    lab.assert_all_returned();
}

#[test]
fn pes_are_counted_anew_after_a_tear_down() {
    let (lab, phys) = driver(Shape::default());
    for order in [[0, 1], [1, 0]] {
        phys.bring_up().unwrap();
        let numbers = order.map(|pe| lab.on(pe, |pe| phys.bring_up_pe(pe)).unwrap().number());
        assert_eq!(numbers, [0, 1], "{order:?}");
        down(&lab, &phys);
    }
}

#[test]
fn nothing_is_handed_out_once_a_tear_down_has_begun() {
    let (lab, phys) = driver(Shape::default());
    phys.bring_up().unwrap();
    lab.machine.fault_next(Fault::Never);
    let error = phys.tear_down().unwrap_err();
    assert!(
        matches!(
            error,
            TearDownError::Command(CommandError {
                command: Command::DisableIrs,
                kind: CommandErrorKind::TimedOut { .. },
                ..
            })
        ),
        "{error}"
    );
    assert_eq!(phys.phase(), Phase::Partial);
    assert_eq!(phys.allocate(Cookie(0)).unwrap_err(), LpiError::NoneFree);
    assert_eq!(lab.on(0, |pe| phys.bring_up_pe(pe)), Err(PeError::DriverDown));
    lab.machine.recover();
    // What was left is finished by the next bring-up.
    phys.bring_up().unwrap();
    assert_eq!(lab.live_blocks(), 1);
    phys.tear_down().unwrap();
    lab.assert_all_returned();
}

/// GEN-13.
#[test]
fn every_irs_that_does_not_report_the_ist_is_told() {
    let shape = Shape { irss: 3, pes_per_irs: 1, ..Shape::default() };
    let told = |lab: &Lab| lab.take_log().into_iter().filter(|op| *op == Op::Irs(IrsReg::IRS_IST_CFGR)).count();
    // The model's registers are one for the domain: they all show what the first one was told.
    let (lab, phys) = driver(shape);
    lab.start_log();
    phys.bring_up().unwrap();
    assert_eq!(told(&lab), 1);
    phys.tear_down().unwrap();
    // An IRS that does not show it is told, and believed if it does not take it.
    lab.irs_reads(2, IrsReg::IRS_IST_BASER, 0);
    lab.start_log();
    let error = phys.bring_up().unwrap_err();
    assert_eq!(told(&lab), 2);
    assert!(
        matches!(
            error.cause,
            BringUpCause::Command(CommandError { irs: IrsIndex(2), kind: CommandErrorKind::NoEffect, .. })
        ),
        "{error}"
    );
    assert_eq!((error.cleanup, lab.live_blocks()), (Ok(()), 0));
    lab.assert_no_violations();
}

#[test]
fn a_pe_that_no_irs_of_the_domain_has_is_refused() {
    let shape = Shape { irss: 2, ..Shape::default() };
    let lab = shape.lab();
    let irss = [IrsIndex(0)];
    let phys = Phys::new(lab.clone(), &config(&irss)).unwrap();
    phys.bring_up().unwrap();
    let error = lab.on(3, |pe| phys.bring_up_pe(pe)).unwrap_err();
    assert_eq!(error, PeError::Unknown { iaffid: common::iaffid(3) });
    phys.tear_down().unwrap();
    lab.assert_no_violations();
}

#[test]
fn an_error_says_where_what_and_the_last_value() {
    let (lab, phys) = driver(Shape::default());
    lab.machine.fault_next(Fault::Never);
    let error = phys.bring_up().unwrap_err();
    let BringUpCause::Command(CommandError { irs, command, place, value, kind: CommandErrorKind::TimedOut { .. } }) =
        error.cause.clone()
    else {
        panic!("{error}");
    };
    assert_eq!((irs, command, value), (IrsIndex(0), Command::MakePhysicalIstValid, 0));
    assert_eq!(place, Place::Register(IrsReg::IRS_IST_STATUSR));
    assert_eq!(
        error.to_string(),
        "the driver could not come up: IRS 0: could not make the IST valid: IRS_IST_STATUSR still reads 0x0 after 200µs; \
         undoing it failed too (IRS 0: cannot withdraw the IST while an earlier attempt to make the IST valid is under way: \
         IRS_IST_STATUSR reads 0x0), what an IRS may still touch is held"
    );
}
