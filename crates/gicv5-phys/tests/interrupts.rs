//! Interrupts of every kind, set up, taken, handled, and taken away again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use arbitrary_int::u5;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{
    Lab, LabPe, Op, SPIS, Shape, Sync, come_up, config, down, driver, driver_with, iaffid, lpi, release_all, up,
    up_with,
};
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::{IRS_IDR3, IRS_IDR4, IRS_SETLPIR, IRS_SPI_CFGR, IRS_SPI_SELR, IRS_SPI_VMR};
use gicv5_arch::sysreg::{PpiSet, SysReg};
use gicv5_arch::values::{BitsMinusOne, HandlingMode, RoutingMode, TriggerMode};
use gicv5_arch::{IntId, IrsIntId, Lpi, Ppi, Priority, Spi};
use gicv5_hal::{Coherency, Cookie, HostLpis, IrsExt, IrsIndex, LpiError, NotReleased, Pe, Route};
use gicv5_model::PeIndex as ModelPeIndex;
use gicv5_model::fault::Fault;
use gicv5_phys::ppi::{self, PpiError};
use gicv5_phys::{
    Acknowledged, Active, Config, IpiError, IpiKind, OwnedLpi, PeError, Phys, Source, SpiError, Unreachable, WrongPe,
};

/// Takes what there is to take on a PE and says what it was.
fn take(lab: &Lab, phys: &Phys<Lab>, pe: usize) -> Vec<Source> {
    let mut sources = Vec::new();
    lab.on(pe, |pe| {
        phys.take_interrupts(pe, u64::MAX, |_, active| {
            sources.push(active.source());
            Some(active)
        })
    });
    sources
}

/// How a configuration is asked for (INS-12), with the register left as it was (INS-14).
const ASK: [Op; 6] = [
    Op::Sync(Sync::Isb),
    Op::Read(SysReg::ICC_ICSR_EL1),
    Op::Insn(GicInsn::GIC_CDRCFG),
    Op::Sync(Sync::Isb),
    Op::Read(SysReg::ICC_ICSR_EL1),
    Op::Write(SysReg::ICC_ICSR_EL1),
];

fn spi(id: u32) -> Spi {
    Spi::new(id).unwrap()
}

fn ppi(id: u32) -> Ppi {
    Ppi::new(id).unwrap()
}

fn priority(number: u32) -> Priority {
    Priority::new(number).unwrap()
}

/// Lets what was started without a barrier take effect.
fn settle(lab: &Lab) {
    lab.machine.advance(100);
}

/// An LPI that is pending on the first PE.
fn pending_lpi(lab: &Lab, phys: &Phys<Lab>) -> (OwnedLpi, Lpi) {
    let owned = phys.allocate(Cookie(7)).unwrap();
    let id = owned.lpi();
    phys.enable(&owned);
    lab.on(0, |pe| phys.set_pending(pe, id).unwrap());
    settle(lab);
    (owned, id)
}

/// SYN-3, INS-4, INS-6.
#[test]
fn taking_an_interrupt_is_acknowledge_synchronise_drop_handle_deactivate() {
    let (lab, phys) = up(Shape::default());
    lab.on(0, |pe| phys.enable_interrupt(pe, spi(5)).unwrap());
    settle(&lab);
    lab.on(0, |pe| phys.set_target(pe, spi(5), iaffid(0)).unwrap());
    settle(&lab);
    lab.machine.set_spi_wire(spi(5), true);
    lab.start_log();
    lab.on(0, |pe| {
        phys.take_interrupts(pe, u64::MAX, |_, active| {
            lab.mark("handler");
            Some(active)
        })
    });
    use Op::{Insn, Mark};
    assert_eq!(
        lab.take_log(),
        [
            Insn(GicInsn::GICR_CDIA),
            Op::Sync(Sync::GsbAck),
            Op::Sync(Sync::Isb),
            Insn(GicInsn::GIC_CDEOI),
            Mark("handler"),
            Insn(GicInsn::GIC_CDDI),
            Insn(GicInsn::GICR_CDIA),
        ]
    );
    down(&lab, &phys);
}

/// SYN-1, SYN-8, INS-10.
#[test]
fn what_must_be_complete_before_the_next_step_is() {
    let (lab, phys) = up(Shape::default());
    let owned = phys.allocate(Cookie(1)).unwrap();
    let id = owned.lpi();
    let log = |f: &dyn Fn(&Pe<'_, LabPe>)| {
        lab.start_log();
        lab.on(0, |pe| f(pe));
        lab.take_log()
    };
    use Op::Insn;
    // SYN-4: a disable is certain only after a GSB.
    assert_eq!(log(&|pe| phys.disable_interrupt(pe, id).unwrap()), [Insn(GicInsn::GIC_CDDIS), Op::Sync(Sync::GsbSys)]);
    // SYN-7: the data before the interrupt that announces them.
    // And SYN-1: what the call is named for has happened when it returns.
    let pend = [Op::Sync(Sync::Dsb), Insn(GicInsn::GIC_CDPEND), Op::Sync(Sync::GsbSys)];
    assert_eq!(log(&|pe| phys.set_pending(pe, id).unwrap()), pend);
    let index = lab.on(0, |pe| {
        phys.bring_down_pe(pe).unwrap();
        phys.bring_up_pe(pe).unwrap()
    });
    assert_eq!(log(&|pe| phys.send_ipi(pe, index, IpiKind(0)).unwrap()), pend);
    // INS-12: the ISB makes the answer readable.
    let read: Vec<Op> = [Op::Sync(Sync::GsbSys)].into_iter().chain(ASK).collect();
    assert_eq!(log(&|pe| assert!(phys.configuration(pe, id).is_ok())), read);
    assert_eq!(log(&|pe| phys.clear_pending(pe, id).unwrap()), [Insn(GicInsn::GIC_CDPEND), Op::Sync(Sync::GsbSys)]);
    assert_eq!(log(&|pe| phys.enable_interrupt(pe, id).unwrap()), [Insn(GicInsn::GIC_CDEN), Op::Sync(Sync::GsbSys)]);
    // DB-25: disabled for certain, then what the IRS has accepted, then pending.
    lab.start_log();
    phys.release(owned).unwrap();
    let release = [
        Insn(GicInsn::GIC_CDDIS),
        Op::Sync(Sync::GsbSys),
        Op::Irs(gicv5_arch::irs::IrsReg::IRS_SYNCR),
        Insn(GicInsn::GIC_CDPEND),
        Op::Sync(Sync::GsbSys),
    ];
    assert_eq!(lab.take_log(), release.into_iter().chain(ASK).collect::<Vec<_>>());
    lab.on(0, |pe| phys.take_interrupts(pe, u64::MAX, |_, active| Some(active)));
    down(&lab, &phys);
}

/// LPI-4, RTE-1, GEN-13.
#[test]
fn a_handler_gets_the_cookie_of_its_lpi() {
    for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
        let (lab, phys) = up(Shape { irss: 2, coherency, ..Shape::default() });
        let lpis: Vec<OwnedLpi> = (0..20).map(|n| phys.allocate(Cookie(1000 + n)).unwrap()).collect();
        for (n, owned) in lpis.iter().enumerate() {
            phys.route(owned, Route::To(iaffid(n as u16 % 4)));
            phys.enable(owned);
        }
        settle(&lab);
        for owned in &lpis {
            // An event from outside, by the SETLPI frame.
            lab.machine.write_set_lpi(IrsIndex(1), IRS_SETLPIR::ZERO.with_id(owned.lpi()));
        }
        for pe in 0..4 {
            let mut expected: Vec<_> = lpis
                .iter()
                .enumerate()
                .filter(|(n, _)| n % 4 == pe)
                .map(|(n, l)| Source::Lpi(l.lpi(), Cookie(1000 + n as u64)))
                .collect();
            let mut got = take(&lab, &phys, pe);
            expected.sort_by_key(|source| format!("{source:?}"));
            got.sort_by_key(|source| format!("{source:?}"));
            assert_eq!(got, expected);
            assert_eq!(take(&lab, &phys, pe), []);
        }
        for owned in lpis {
            phys.release(owned).unwrap();
        }
        assert_eq!(phys.strays(), 0);
        down(&lab, &phys);
    }
}

/// INS-1.
#[test]
fn nothing_pending_is_a_spurious_exception() {
    let (lab, phys) = up(Shape::default());
    lab.start_log();
    assert!(matches!(lab.on(0, |pe| phys.acknowledge(pe)), Acknowledged::Nothing));
    assert!(matches!(lab.on(0, |pe| phys.acknowledge_nmi(pe)), Acknowledged::Nothing));
    assert_eq!(lab.take_log(), [Op::Insn(GicInsn::GICR_CDIA), Op::Insn(GicInsn::GICR_CDNMIA)]);
    assert_eq!(lab.on(0, |pe| phys.take_interrupts(pe, u64::MAX, |_, active| Some(active))), 0);
    down(&lab, &phys);
}

/// ISM-7, ISM-8, INS-6, INS-7.
#[test]
fn a_kept_interrupt_stays_active_while_others_are_taken_and_ends_on_another_pe() {
    let (lab, phys) = up(Shape::default());
    let (slow, quick) = (phys.allocate(Cookie(1)).unwrap(), phys.allocate(Cookie(2)).unwrap());
    for owned in [&slow, &quick] {
        phys.enable(owned);
        lab.on(0, |pe| phys.set_pending(pe, owned.lpi()).unwrap());
    }
    settle(&lab);
    let mut kept = None;
    let taken = lab.on(0, |pe| {
        phys.take_interrupts(pe, u64::MAX, |_, active| {
            if active.source() == Source::Lpi(slow.lpi(), Cookie(1)) {
                kept = Some(active);
                return None;
            }
            Some(active)
        })
    });
    assert_eq!(taken, 2);
    lab.on(0, |pe| phys.set_pending(pe, slow.lpi()).unwrap());
    settle(&lab);
    assert_eq!(take(&lab, &phys, 0), [], "an active interrupt is not signalled");
    assert!(lab.on(0, |pe| phys.configuration(pe, slow.lpi()).unwrap()).active);
    lab.on(1, |pe| phys.deactivate(pe, kept.unwrap()).unwrap());
    settle(&lab);
    assert_eq!(take(&lab, &phys, 0), [Source::Lpi(slow.lpi(), Cookie(1))], "it had become pending again");
    release_all(&lab, &phys, [slow, quick]);
}

/// DB-25, INS-10.
#[test]
fn release_waits_for_the_handler_and_says_so_if_it_does_not_end() {
    let (lab, phys) = up(Shape::default());
    let (owned, id) = pending_lpi(&lab, &phys);
    let Acknowledged::Interrupt(active) = lab.on(0, |pe| phys.acknowledge(pe)) else { panic!("it is pending") };
    let NotReleased { lpi: owned } = phys.release(owned).unwrap_err();

    // It is still disabled, whatever its owner tries, and nobody gets its cookie.
    phys.enable(&owned);
    lab.on(0, |pe| phys.set_pending(pe, id).unwrap());
    settle(&lab);
    assert!(!lab.on(0, |pe| phys.configuration(pe, id).unwrap()).enabled);
    assert_eq!(phys.holdings().lpis, 1);

    lab.on(1, |pe| phys.deactivate(pe, active).unwrap());
    phys.release(owned).unwrap();
    let state = lab.machine.interrupt(IrsIntId::Lpi(id)).unwrap();
    assert!(!state.enable() && !state.pending() && !state.active());
    assert_eq!(take(&lab, &phys, 0), []);
    down(&lab, &phys);
}

/// DB-25.
#[test]
fn an_lpi_that_somebody_else_deactivated_is_not_released_under_its_handler() {
    let (lab, phys) = up(Shape::default());
    let (owned, id) = pending_lpi(&lab, &phys);
    let Acknowledged::Interrupt(active) = lab.on(0, |pe| phys.acknowledge(pe)) else { panic!("it is pending") };
    lab.on(1, |pe| {
        pe.cddi(id.into());
        pe.gsb_sys();
    });
    assert!(!lab.machine.interrupt(id.into()).unwrap().active());
    let NotReleased { lpi: owned } = phys.release(owned).unwrap_err();
    lab.on(0, |pe| phys.deactivate(pe, active).unwrap());
    release_all(&lab, &phys, [owned]);
}

#[test]
fn an_lpi_that_its_handler_releases_is_not_released_under_it() {
    let (lab, phys) = up(Shape::default());
    let owned = phys.allocate(Cookie(7)).unwrap();
    phys.enable(&owned);
    lab.on(0, |pe| phys.set_pending(pe, owned.lpi()).unwrap());
    settle(&lab);
    let mut owned = Some(owned);
    lab.on(0, |pe| {
        phys.take_interrupts(pe, u64::MAX, |_, active| {
            let NotReleased { lpi } = phys.release(owned.take().unwrap()).unwrap_err();
            owned = Some(lpi);
            Some(active)
        })
    });
    phys.release(owned.unwrap()).unwrap();
    down(&lab, &phys);
}

/// DB-25.
#[test]
fn the_next_owner_of_a_number_finds_it_as_new() {
    let (lab, phys) = up(Shape::default());
    let first = phys.allocate(Cookie(1)).unwrap();
    let id = first.lpi();
    phys.enable(&first);
    phys.route(&first, Route::To(iaffid(1)));
    lab.on(1, |pe| {
        phys.set_priority(pe, id, priority(3)).unwrap();
        phys.set_handling(pe, id, HandlingMode::Level).unwrap();
        phys.set_pending(pe, id).unwrap();
        pe.gsb_sys();
    });
    phys.release(first).unwrap();
    lab.on(0, |_| ());
    let second = phys.allocate(Cookie(2)).unwrap();
    assert_eq!(second.lpi(), id);
    let found = lab.on(0, |pe| phys.configuration(pe, id).unwrap());
    let new = gicv5_phys::Configuration {
        enabled: false,
        pending: false,
        active: false,
        handling: HandlingMode::Edge,
        priority: priority(16),
        routing: RoutingMode::Targeted,
        target: iaffid(0),
    };
    assert_eq!(found, new);
    release_all(&lab, &phys, [second]);
}

#[test]
fn running_out_of_lpis_is_an_ordinary_error_and_a_released_one_can_be_had_again() {
    let (lab, phys) = up(Shape { metadata: Some(0), ..Shape::default() });
    // Two PEs with two IPIs each have theirs on top.
    let mut lpis: Vec<OwnedLpi> = (0..600).map(|n| phys.allocate(Cookie(n)).unwrap()).collect();
    assert_eq!(phys.allocate(Cookie(0)).unwrap_err(), LpiError::NoneFree);
    assert_eq!(phys.holdings().lpis, 600);
    let mut numbers: Vec<u32> = lpis.iter().map(|owned| owned.lpi().id()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (4..604).collect::<Vec<_>>());
    phys.release(lpis.swap_remove(300)).unwrap();
    lpis.push(phys.allocate(Cookie(0)).unwrap());
    assert_eq!(phys.allocate(Cookie(0)).unwrap_err(), LpiError::NoneFree);
    release_all(&lab, &phys, lpis);
}

/// The host's LPIs are all in use before the second PE comes up, whether they were handed out or abandoned.
#[test]
fn the_lpis_of_ipis_are_kept_for_pes_that_come_up_later() {
    for abandoned in [0, 5] {
        let (lab, phys) = driver_with(Shape::default(), |config| Config { lpis: 16, ipi_kinds: 3, ..config });
        phys.bring_up().unwrap();
        lab.on(0, |pe| phys.bring_up_pe(pe)).unwrap();
        for _ in 0..abandoned {
            phys.abandon(phys.allocate(Cookie(0)).unwrap());
        }
        let mut lpis: Vec<OwnedLpi> = (abandoned..16).map(|n| phys.allocate(Cookie(n)).unwrap()).collect();
        assert_eq!(phys.allocate(Cookie(0)).unwrap_err(), LpiError::NoneFree);
        let second = lab.on(1, |pe| phys.bring_up_pe(pe)).unwrap();
        assert_eq!(phys.allocate(Cookie(0)).unwrap_err(), LpiError::NoneFree);
        lab.on(0, |pe| {
            (0..3).for_each(|kind| phys.send_ipi(pe, second, IpiKind(kind)).unwrap());
            pe.gsb_sys();
        });
        assert_eq!(take(&lab, &phys, 1).len(), 3);
        // One that is released is the host's again.
        phys.release(lpis.pop().unwrap()).unwrap();
        lpis.push(phys.allocate(Cookie(0)).unwrap());
        release_all(&lab, &phys, lpis);
    }
}

#[test]
fn an_abandoned_lpi_stays_out_of_circulation_until_the_driver_has_been_down() {
    let (lab, phys) = up(Shape::default());
    let owned = phys.allocate(Cookie(1)).unwrap();
    let id = owned.lpi();
    phys.enable(&owned);
    lab.on(0, |pe| phys.set_pending(pe, id).unwrap());
    settle(&lab);
    // Its handler has it still.
    let Acknowledged::Interrupt(active) = lab.on(0, |pe| phys.acknowledge(pe)) else { panic!("it is pending") };
    phys.abandon(owned);
    let other = phys.allocate(Cookie(2)).unwrap();
    assert_ne!(other.lpi(), id);
    phys.release(other).unwrap();
    down(&lab, &phys);

    // Not even then, as long as the handler has not ended.
    phys.bring_up().unwrap();
    lab.on(0, |pe| phys.bring_up_pe(pe)).unwrap();
    let lpis: Vec<OwnedLpi> = (0..10).map(|n| phys.allocate(Cookie(n)).unwrap()).collect();
    assert!(lpis.iter().all(|owned| owned.lpi() != id));
    lab.on(0, |pe| phys.deactivate(pe, active).unwrap());
    for owned in lpis {
        phys.release(owned).unwrap();
    }
    lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap();
    phys.tear_down().unwrap();
    lab.assert_no_violations();
}

#[test]
fn after_a_tear_down_every_lpi_is_free_and_what_was_an_ipi_may_be_anything() {
    let (lab, phys) = up(Shape::default());
    phys.abandon(phys.allocate(Cookie(1)).unwrap());
    down(&lab, &phys);
    phys.bring_up().unwrap();
    // The first numbers were IPIs, the next one was abandoned.
    let lpis: Vec<OwnedLpi> = (0..5).map(|n| phys.allocate(Cookie(n)).unwrap()).collect();
    assert_eq!(lpis.iter().map(|owned| owned.lpi().id()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for pe in 0..2 {
        lab.on(pe, |pe| phys.bring_up_pe(pe)).unwrap();
    }
    for (n, owned) in lpis.into_iter().enumerate() {
        phys.enable(&owned);
        phys.route(&owned, Route::To(iaffid(1)));
        lab.on(0, |pe| phys.set_pending(pe, owned.lpi()).unwrap());
        settle(&lab);
        assert_eq!(take(&lab, &phys, 1), [Source::Lpi(owned.lpi(), Cookie(n as u64))]);
        phys.release(owned).unwrap();
    }
    down(&lab, &phys);
}

/// Gives the first IRS a command.
fn command<R: gicv5_arch::register::Register<Reg = gicv5_arch::irs::IrsReg>>(lab: &Lab, value: R) {
    lab.machine.write(IrsIndex(0), value);
    settle(lab);
}

/// Leaves SPIs as a crashed host may: active, pending, enabled, urgent, routed elsewhere, level-sensitive, and a VM's.
fn leave_spis(lab: &Lab) {
    lab.on(0, |pe| {
        for (id, entry) in [
            (1, L2_ISTE::ZERO.with_active(true).with_enable(true)),
            (2, L2_ISTE::ZERO.with_pending(true).with_enable(true).with_iaffid(iaffid(0))),
            (3, L2_ISTE::ZERO.with_pending(true).with_hm(HandlingMode::Level).with_priority(priority(3))),
            (4, L2_ISTE::ZERO.with_iaffid(gicv5_arch::Iaffid::new(99))),
        ] {
            assert!(lab.machine.set_interrupt(spi(id).into(), entry));
        }
        pe.gsb_sys();
    });
    // The wire of 5 is high and read as a level, that of 6 is low.
    for id in [5, 6] {
        command(lab, IRS_SPI_SELR::ZERO.with_id(spi(id)));
        command(lab, IRS_SPI_CFGR::ZERO.with_tm(TriggerMode::Level));
        lab.machine.set_spi_wire(spi(id), true);
        settle(lab);
    }
    lab.machine.set_spi_wire(spi(6), false);
    settle(lab);
}

/// SPI-1, ISM-7, PRI-1, RTE-1, GEN-21.
#[test]
fn spis_are_as_new_once_the_driver_is_up_whatever_was_left() {
    let (lab, phys) = driver(Shape { irss: 2, ..Shape::default() });
    leave_spis(&lab);
    phys.bring_up().unwrap();
    for id in 0..2 * SPIS {
        let found = lab.machine.interrupt(spi(id).into()).unwrap();
        assert!(!found.enable() && !found.active(), "SPI {id}: {found:?}");
        assert_eq!(found.priority(), priority(16), "SPI {id}: not the NMIs of a PE that has them");
        assert_eq!(found.iaffid(), iaffid(0), "SPI {id}");
        assert_eq!(found.pending(), id == 5, "SPI {id}: only what its wire says");
    }
    lab.on(0, |pe| phys.bring_up_pe(pe)).unwrap();
    assert_eq!(take(&lab, &phys, 0), []);
    // The one that was left active is taken again.
    lab.on(0, |pe| {
        phys.enable_interrupt(pe, spi(1)).unwrap();
        phys.set_pending(pe, spi(1)).unwrap();
        pe.gsb_sys();
    });
    assert_eq!(take(&lab, &phys, 0), [Source::Spi(spi(1))]);
    lab.on(0, |pe| phys.bring_down_pe(pe)).unwrap();
    phys.tear_down().unwrap();
    lab.assert_all_returned();
}

/// SPI-9, SPI-12.
#[test]
fn an_spi_that_was_left_with_a_vm_is_the_hosts_again() {
    let mut config = Shape::default().config();
    config.irses[0].idr0 = config.irses[0].idr0.with_virt(true);
    config.irses[0].idr3 = IRS_IDR3::ZERO.with_vm_id_bits(u5::new(8));
    config.irses[0].idr4 =
        IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::from_count(8).unwrap()).with_vped_sz(arbitrary_int::u6::new(7));
    let lab = Lab::new(config);
    for id in [7, 8] {
        command(&lab, IRS_SPI_SELR::ZERO.with_id(spi(id)));
        command(&lab, IRS_SPI_VMR::ZERO.with_virt(true));
    }
    let phys = Phys::new(lab.clone(), &common::config(&[IrsIndex(0)])).unwrap();
    come_up(&lab, &phys);
    for id in [7, 8].map(spi) {
        lab.on(0, |pe| {
            phys.enable_interrupt(pe, id).unwrap();
            phys.set_pending(pe, id).unwrap();
            pe.gsb_sys();
        });
        assert_eq!(take(&lab, &phys, 0), [Source::Spi(id)]);
    }
    down(&lab, &phys);
}

/// GEN-21, SYN-4.
#[test]
fn no_spi_is_left_enabled_by_a_tear_down() {
    let (lab, phys) = up(Shape { irss: 2, ..Shape::default() });
    let ids = [0, 31, SPIS, 2 * SPIS - 1].map(spi);
    lab.on(0, |pe| ids.iter().for_each(|id| phys.enable_interrupt(pe, *id).unwrap()));
    down(&lab, &phys);
    for id in ids {
        assert!(!lab.machine.interrupt(id.into()).unwrap().enable(), "{id}");
    }
}

/// ISM-4: a level that nobody lowers comes back each time.
#[test]
fn a_level_that_stays_high_does_not_keep_the_pe_for_ever() {
    let (lab, phys) = up(Shape::default());
    phys.set_trigger(spi(3), TriggerMode::Level).unwrap();
    lab.on(0, |pe| phys.enable_interrupt(pe, spi(3)).unwrap());
    lab.machine.set_spi_wire(spi(3), true);
    settle(&lab);
    let mut handled = 0;
    let taken = lab.on(0, |pe| {
        phys.take_interrupts(pe, 10, |pe, active| {
            handled += 1;
            phys.deactivate(pe, active).unwrap();
            pe.gsb_sys();
            None
        })
    });
    assert_eq!((taken, handled), (10, 10));
    lab.on(0, |pe| {
        assert_eq!(phys.take_interrupts(pe, 0, |_, active| panic!("{active:?}")), 0);
        phys.disable_interrupt(pe, spi(3)).unwrap();
    });
    assert_eq!(take(&lab, &phys, 0), []);
    down(&lab, &phys);
}

/// INS-14.
#[test]
fn the_answer_that_a_guest_waits_for_is_not_the_hosts() {
    let (lab, phys) = up(Shape::default());
    let guests = 0x1234_0000_1802;
    let left = |what: &str| {
        lab.on(0, |pe| {
            let icsr = pe.read_raw(SysReg::ICC_ICSR_EL1);
            assert_eq!(icsr, guests, "after {what} it reads {icsr:#x}");
        });
    };
    lab.on(0, |pe| pe.write_raw(SysReg::ICC_ICSR_EL1, guests));
    let owned = phys.allocate(Cookie(1)).unwrap();
    left("an LPI was allocated");
    lab.on(0, |pe| phys.configuration(pe, owned.lpi())).unwrap();
    left("a configuration was read");
    phys.release(owned).unwrap();
    left("an LPI was released");
    down(&lab, &phys);
}

/// GEN-2, INS-5.
#[test]
fn what_nobody_owns_is_dropped_deactivated_and_counted() {
    let (lab, phys) = up(Shape::default());
    let (released, abandoned) = (phys.allocate(Cookie(1)).unwrap(), phys.allocate(Cookie(2)).unwrap());
    let ids = [released.lpi(), abandoned.lpi()];
    phys.release(released).unwrap();
    phys.enable(&abandoned);
    settle(&lab);
    phys.abandon(abandoned);
    assert!(!lab.machine.interrupt(ids[1].into()).unwrap().enable(), "it is disabled for certain");
    for (n, id) in ids.into_iter().enumerate() {
        lab.on(0, |pe| {
            pe.cden(id.into());
            pe.cdpend(id.into(), true);
            pe.gsb_sys();
        });
        assert_eq!(lab.on(0, |pe| phys.take_interrupts(pe, u64::MAX, |_, active| panic!("{active:?}"))), 1);
        assert_eq!(phys.strays(), n as u64 + 1);
        lab.on(0, |pe| pe.gsb_sys());
        let state = lab.machine.interrupt(id.into()).unwrap();
        assert!(!state.pending() && !state.active());
        assert_eq!(lab.on(0, |pe| pe.read_raw(SysReg::ICC_APR_EL1)), 0);
        lab.on(0, |pe| phys.disable_interrupt(pe, id).unwrap());
    }
    down(&lab, &phys);
}

/// SPI-4, ISM-4, RTE-6.
#[test]
fn a_level_spi_comes_back_until_its_wire_falls() {
    let (lab, phys) = up(Shape { irss: 2, ..Shape::default() });
    // Of the second IRS, to a PE of the first (RTE-6).
    let id = spi(SPIS + 3);
    phys.set_trigger(id, TriggerMode::Level).unwrap();
    assert_eq!(phys.trigger(id), Ok(TriggerMode::Level));
    assert_eq!(phys.trigger(spi(3)), Ok(TriggerMode::Edge));
    lab.on(0, |pe| {
        phys.set_target(pe, id, iaffid(1)).unwrap();
        phys.enable_interrupt(pe, id).unwrap();
    });
    settle(&lab);
    lab.machine.set_spi_wire(id, true);
    lab.on(1, |pe| {
        let acknowledge = || match phys.acknowledge(pe) {
            Acknowledged::Interrupt(active) => {
                assert_eq!(active.source(), Source::Spi(id));
                Some(active)
            }
            _ => None,
        };
        for _ in 0..3 {
            let active = acknowledge().expect("the wire is high");
            pe.gsb_sys();
            assert!(acknowledge().is_none(), "it is active");
            phys.deactivate(pe, active).unwrap();
            pe.gsb_sys();
        }
        let active = acknowledge().expect("the wire is high");
        lab.machine.set_spi_wire(id, false);
        phys.deactivate(pe, active).unwrap();
        pe.gsb_sys();
        assert!(acknowledge().is_none(), "the wire is low");
    });
    down(&lab, &phys);
}

/// SPI-3, SPI-5.
#[test]
fn switching_the_trigger_looks_at_the_wire_and_resampling_does_so_again() {
    let (lab, phys) = up(Shape::default());
    let id = spi(9);
    lab.machine.set_spi_wire(id, true);
    phys.set_trigger(id, TriggerMode::Level).unwrap();
    let pending = || lab.machine.interrupt(IrsIntId::Spi(id)).unwrap().pending();
    assert!(pending());
    lab.on(0, |pe| phys.clear_pending(pe, id).unwrap());
    assert!(!pending());
    phys.resample(id).unwrap();
    assert!(pending());
    phys.set_trigger(id, TriggerMode::Edge).unwrap();
    assert!(!pending());
    down(&lab, &phys);
}

/// SPI-1, SPI-2, INS-11.
#[test]
fn an_spi_that_no_irs_of_the_domain_has_is_an_error() {
    let shape = Shape { irss: 2, metadata: Some(0), ..Shape::default() };
    let lab = shape.lab();
    let phys = Phys::new(lab.clone(), &config(&[IrsIndex(1)])).unwrap();
    phys.bring_up().unwrap();
    let (other, ours) = (spi(3), spi(SPIS + 3));
    assert_eq!(phys.set_trigger(other, TriggerMode::Level), Err(SpiError::NotOwned { spi: other }));
    assert_eq!(phys.trigger(other), Err(SpiError::NotOwned { spi: other }));
    assert_eq!(phys.resample(other), Err(SpiError::NotOwned { spi: other }));
    lab.on(2, |pe| {
        assert_eq!(phys.enable_interrupt(pe, other), Err(Unreachable(other.into())));
        assert_eq!(phys.enable_interrupt(pe, lpi(1 << 20)), Err(Unreachable(lpi(1 << 20).into())));
        assert!(phys.configuration(pe, lpi(603)).is_err(), "the level-2 IST is not there");
        phys.enable_interrupt(pe, ours).unwrap();
    });
    lab.assert_no_violations();
    // The IRS would take the selection of an SPI that another domain has, and say that it is not valid. (What reads idle here
    // at once may be at work in the model, so that its checker is not asked.)
    lab.irs_reads(1, gicv5_arch::irs::IrsReg::IRS_SPI_STATUSR, 1);
    assert_eq!(phys.trigger(ours), Err(SpiError::NotOurs { spi: ours, value: 1 }));
    phys.tear_down().unwrap();
}

/// GEN-17: V says that an SPI is selected, not which.
#[test]
fn an_spi_whose_selection_has_no_effect_is_not_taken_for_the_one_before() {
    let (lab, phys) = up(Shape::default());
    let (one, other) = (spi(3), spi(4));
    phys.set_trigger(one, TriggerMode::Level).unwrap();
    // Of the two selections, that of nothing and that of the SPI.
    for n in 0..2 {
        lab.machine.plan_fault(lab.machine.fault_points_passed() + n, Fault::Ignored);
        let error = phys.set_trigger(other, TriggerMode::Edge).unwrap_err();
        match n {
            0 => assert!(matches!(error, SpiError::OtherSelected { spi, .. } if spi == other), "{error}"),
            _ => assert!(matches!(error, SpiError::NotOurs { spi, .. } if spi == other), "{error}"),
        }
        assert_eq!(phys.trigger(one), Ok(TriggerMode::Level), "{n}");
    }
    phys.set_trigger(other, TriggerMode::Edge).unwrap();
    down(&lab, &phys);
}

/// PRI-2, GEN-12.
#[test]
fn fewer_priority_bits_lose_the_low_order_ones_and_the_caller_is_told() {
    let lab = Shape::default().lab();
    // The IRS has three bits, the CPU interface five.
    let idr1 = lab.machine.read::<gicv5_arch::irs::IRS_IDR1>(IrsIndex(0));
    let idr1 = idr1.with_pri_bits(gicv5_arch::values::PriBits::Three);
    lab.irs_reads(0, gicv5_arch::irs::IrsReg::IRS_IDR1, idr1.raw_value().into());
    let phys = Phys::new(lab.clone(), &Config { priority: priority(15), ..config(&[IrsIndex(0)]) }).unwrap();
    assert_eq!(phys.priority_bits(), 3);
    phys.bring_up().unwrap();
    let owned = phys.allocate(Cookie(0)).unwrap();
    assert_eq!(lab.on(0, |pe| phys.configuration(pe, owned.lpi()).unwrap()).priority, priority(12));
    assert_eq!(lab.on(0, |pe| phys.set_priority(pe, owned.lpi(), priority(31))), Ok(priority(28)));
    assert_eq!(lab.on(0, |pe| phys.configuration(pe, owned.lpi()).unwrap()).priority, priority(28));
    phys.release(owned).unwrap();
    phys.tear_down().unwrap();
    lab.assert_no_violations();
}

/// PRI-4, PRI-6, INS-6.
#[test]
fn a_more_urgent_interrupt_is_taken_while_another_is_handled_and_a_less_urgent_one_after_the_drop() {
    let (lab, phys) = up(Shape::default());
    let ids: Vec<_> = [10, 5, 20]
        .into_iter()
        .enumerate()
        .map(|(n, level)| {
            let id = spi(n as u32);
            lab.on(0, |pe| {
                phys.set_target(pe, id, iaffid(0)).unwrap();
                phys.set_priority(pe, id, priority(level)).unwrap();
                phys.enable_interrupt(pe, id).unwrap();
                pe.gsb_sys();
            });
            id
        })
        .collect();
    lab.machine.set_spi_wire(ids[0], true);
    let mut order = Vec::new();
    lab.on(0, |pe| {
        phys.take_interrupts(pe, u64::MAX, |pe, outer| {
            order.push(outer.source());
            if outer.source() == Source::Spi(ids[0]) {
                lab.machine.set_spi_wire(ids[2], true);
                lab.machine.set_spi_wire(ids[1], true);
                // As if interrupts were enabled in the handler: its priority has been dropped.
                phys.take_interrupts(pe, u64::MAX, |_, inner| {
                    order.push(inner.source());
                    Some(inner)
                });
            }
            Some(outer)
        })
    });
    assert_eq!(order, [ids[0], ids[1], ids[2]].map(Source::Spi));
    down(&lab, &phys);
}

/// INS-2.
#[test]
fn an_nmi_is_taken_by_the_nmi_loop_only() {
    let (lab, phys) = up(Shape::default());
    lab.machine.set_nmi(ModelPeIndex(0), true);
    let owned = phys.allocate(Cookie(1)).unwrap();
    lab.on(0, |pe| {
        phys.set_priority(pe, owned.lpi(), Priority::MOST_URGENT).unwrap();
        phys.enable_interrupt(pe, owned.lpi()).unwrap();
        phys.set_pending(pe, owned.lpi()).unwrap();
        pe.gsb_sys();
        assert_eq!(phys.take_interrupts(pe, u64::MAX, |_, active| Some(active)), 0);
        let mut sources = Vec::new();
        phys.take_nmis(pe, u64::MAX, |_, active| {
            sources.push(active.source());
            Some(active)
        });
        assert_eq!(sources, [Source::Lpi(owned.lpi(), Cookie(1))]);
    });
    release_all(&lab, &phys, [owned]);
}

/// RTE-7, ISM-5.
#[test]
fn every_kind_of_ipi_reaches_every_pe_and_several_are_one() {
    let (lab, phys) = driver_with(Shape { irss: 2, ..Shape::default() }, |config| Config { ipi_kinds: 5, ..config });
    let pes = come_up(&lab, &phys);
    for (from, _) in pes.iter().enumerate() {
        for (to, index) in pes.iter().enumerate() {
            for kind in (0..5).map(IpiKind) {
                lab.on(from, |pe| {
                    phys.send_ipi(pe, *index, kind).unwrap();
                    phys.send_ipi(pe, *index, kind).unwrap();
                });
                settle(&lab);
                assert_eq!(take(&lab, &phys, to), [Source::Ipi(kind)]);
                assert!((0..4).all(|pe| take(&lab, &phys, pe).is_empty()));
            }
        }
    }
    lab.on(0, |pe| {
        let kind = IpiKind(5);
        assert_eq!(phys.send_ipi(pe, pes[0], kind), Err(IpiError::NoSuchKind { kind }));
    });
    down(&lab, &phys);
    assert_eq!(
        lab.on(0, |pe| phys.send_ipi(pe, pes[1], IpiKind(0))),
        Err(IpiError::NotUp { to: pes[1] }),
        "an IPI to nobody is an error"
    );
}

/// INS-12.
#[test]
fn a_new_lpi_is_configured_and_looked_at_before_anybody_has_it() {
    let (lab, phys) = up(Shape::default());
    lab.start_log();
    let owned = phys.allocate(Cookie(1)).unwrap();
    let log: Vec<_> = lab.take_log().into_iter().filter(|op| *op != Op::Read(SysReg::ICC_IAFFIDR_EL1)).collect();
    use Op::Insn;
    let configure = [
        Insn(GicInsn::GIC_CDDIS),
        Insn(GicInsn::GIC_CDHM),
        Insn(GicInsn::GIC_CDPRI),
        Insn(GicInsn::GIC_CDAFF),
        Insn(GicInsn::GIC_CDPEND),
        Op::Sync(Sync::GsbSys),
    ];
    assert_eq!(log, configure.into_iter().chain(ASK).collect::<Vec<_>>());
    release_all(&lab, &phys, [owned]);
}

/// SYN-5, PRI-8.
#[test]
fn a_pe_is_configured_before_it_is_enabled() {
    let (lab, phys) = up(Shape::default());
    lab.on(1, |pe| phys.bring_down_pe(pe)).unwrap();
    lab.start_log();
    lab.on(1, |pe| phys.bring_up_pe(pe)).unwrap();
    let log = lab.take_log();
    let at = |wanted: Op| log.iter().position(|op| *op == wanted).unwrap();
    let configured = at(Op::Write(SysReg::ICC_PCR_EL1));
    assert_eq!(log[configured + 1], Op::Sync(Sync::Isb), "{log:?}");
    assert!(at(Op::Write(SysReg::ICC_PPI_PRIORITYR15_EL1)) < configured);
    let enables: Vec<_> = (0..log.len()).filter(|n| log[*n] == Op::Write(SysReg::ICC_CR0_EL1)).collect();
    assert!(enables.len() == 2 && enables[0] < configured && configured < enables[1], "{log:?}");
    assert_eq!(log[enables[1] + 1..], [Op::Sync(Sync::Isb)]);
    down(&lab, &phys);
}

/// A machine with PPIs in both banks: 40 and 70 are there, 127 is edge.
fn many_ppis() -> (Lab, Phys<Lab>) {
    let mut config_of_machine = Shape::default().config();
    for cpu in &mut config_of_machine.irses[0].pes {
        cpu.ppis[0] = cpu.ppis[0].with(ppi(40)).with(ppi(63));
        cpu.ppis[1] = PpiSet::EMPTY.with(ppi(64)).with(ppi(70)).with(ppi(127));
        cpu.edge_ppis[1] = PpiSet::EMPTY.with(ppi(127));
    }
    let lab = Lab::new(config_of_machine);
    let phys = Phys::new(lab.clone(), &config(&[IrsIndex(0)])).unwrap();
    come_up(&lab, &phys);
    (lab, phys)
}

/// PPI-1, GEN-2.
#[test]
fn ppis_of_both_banks_are_taken_by_number() {
    let (lab, phys) = many_ppis();
    for id in [19, 27, 31, 40, 63, 64, 70].map(ppi) {
        lab.on(1, |pe| ppi::enable(pe, id).unwrap());
        lab.machine.set_ppi_wire(ModelPeIndex(1), id, true);
        assert_eq!(take(&lab, &phys, 0), []);
        let mut sources = Vec::new();
        lab.on(1, |pe| {
            phys.take_interrupts(pe, u64::MAX, |pe, active| {
                sources.push(active.source());
                assert!(ppi::state(pe, id).active);
                lab.machine.set_ppi_wire(ModelPeIndex(1), id, false);
                Some(active)
            })
        });
        assert_eq!(sources, [Source::Ppi(id)]);
        lab.on(1, |pe| {
            pe.gsb_sys();
            assert!(!ppi::state(pe, id).active, "{id} was deactivated");
            ppi::disable(pe, id);
            assert!(!ppi::state(pe, id).enabled);
        });
    }
    down(&lab, &phys);
}

/// PPI-1.
#[test]
fn ppis_start_disabled_inactive_and_with_the_configured_priority() {
    let (lab, phys) = many_ppis();
    lab.on(0, |pe| {
        for id in (0..128).map(ppi) {
            let state = ppi::state(pe, id);
            assert!(!state.enabled && !state.active && !state.pending, "{id}: {state:?}");
        }
        for id in [3, 31, 63, 64, 127].map(ppi) {
            assert_eq!(ppi::state(pe, id).priority, priority(16), "{id}");
            ppi::set_priority(pe, id, priority(id.id() % 31));
            assert_eq!(ppi::state(pe, id).priority, priority(id.id() % 31), "{id}");
            ppi::set_active(pe, id);
            assert!(ppi::state(pe, id).active);
            ppi::clear_active(pe, id);
            assert!(!ppi::state(pe, id).active);
        }
        assert_eq!(ppi::state(pe, ppi(30)).priority, priority(16), "its neighbours keep theirs");
    });
    down(&lab, &phys);
}

#[test]
fn what_earlier_software_left_on_a_pe_is_gone_once_it_is_up() {
    let (lab, phys) = many_ppis();
    lab.on(1, |pe| phys.bring_down_pe(pe)).unwrap();
    lab.on(1, |pe| {
        for id in [3, 27, 40, 70, 127].map(ppi) {
            ppi::enable(pe, id).unwrap();
            ppi::set_active(pe, id);
            ppi::set_priority(pe, id, priority(1));
        }
        for id in [3, 127].map(ppi) {
            ppi::set_pending(pe, id).unwrap();
        }
        pe.write_raw(SysReg::ICC_APR_EL1, 1 << 7);
        pe.write_raw(SysReg::ICC_PCR_EL1, 0);
        pe.isb();
        phys.bring_up_pe(pe).unwrap();
        for id in (0..128).map(ppi) {
            let state = ppi::state(pe, id);
            assert!(!state.enabled && !state.active && !state.pending, "{id}: {state:?}");
        }
        assert_eq!(ppi::state(pe, ppi(27)).priority, priority(16));
        assert_eq!(pe.read_raw(SysReg::ICC_APR_EL1), 0);
        assert_eq!(pe.read_raw(SysReg::ICC_PCR_EL1), 31);
    });
    down(&lab, &phys);
}

/// PRI-8, SYN-4, SYN-5.
#[test]
fn a_pe_that_is_out_is_not_signalled_and_its_ipis_are_silent() {
    let (lab, phys) = many_ppis();
    let signalled = || lab.machine.signals(ModelPeIndex(1)).irq;
    lab.on(1, |pe| ppi::enable(pe, ppi(27)).unwrap());
    lab.machine.set_ppi_wire(ModelPeIndex(1), ppi(27), true);
    let index = lab.on(1, |pe| {
        phys.bring_down_pe(pe).unwrap();
        assert!(!signalled(), "by a PPI");
        phys.bring_up_pe(pe).unwrap()
    });
    assert!(!signalled(), "its PPIs are disabled");
    // An IPI and an SPI that nobody has taken.
    lab.on(0, |pe| {
        phys.set_target(pe, spi(1), iaffid(1)).unwrap();
        phys.enable_interrupt(pe, spi(1)).unwrap();
        phys.set_pending(pe, spi(1)).unwrap();
        phys.send_ipi(pe, index, IpiKind(0)).unwrap();
        pe.gsb_sys();
    });
    assert!(signalled());
    lab.on(1, |pe| {
        ppi::enable(pe, ppi(27)).unwrap();
        phys.bring_down_pe(pe).unwrap();
    });
    assert!(!signalled(), "by an SPI");
    for id in 0..4 {
        let state = lab.machine.interrupt(lpi(id).into()).unwrap();
        assert!(!state.pending() && state.enable() == (id < 2), "IPI {id} of the PE that is out: {state:?}");
    }
    lab.on(0, |pe| phys.disable_interrupt(pe, spi(1)).unwrap());
    // The interface stays off, and the PPIs too, should somebody switch it on.
    lab.on(1, |pe| {
        pe.write_raw(SysReg::ICC_CR0_EL1, 1);
        pe.isb();
        assert!(!signalled(), "its PPIs were disabled");
        phys.bring_up_pe(pe).unwrap();
    });
    down(&lab, &phys);
}

/// PPI-3, PPI-4, PPI-5.
#[test]
fn only_edge_ppis_are_made_pending_by_software() {
    let (lab, phys) = many_ppis();
    lab.on(0, |pe| {
        for id in [3, 127].map(ppi) {
            ppi::set_pending(pe, id).unwrap();
            assert!(ppi::state(pe, id).pending);
            assert_eq!(ppi::state(pe, id).handling, HandlingMode::Edge);
            ppi::clear_pending(pe, id).unwrap();
            assert!(!ppi::state(pe, id).pending);
        }
        for id in [27, 64].map(ppi) {
            assert_eq!(ppi::set_pending(pe, id), Err(PpiError::Level(id)));
            assert_eq!(ppi::clear_pending(pe, id), Err(PpiError::Level(id)));
        }
        assert_eq!(ppi::enable(pe, ppi(5)), Err(PpiError::NotImplemented(ppi(5))));
        assert_eq!(ppi::enable(pe, ppi(100)), Err(PpiError::NotImplemented(ppi(100))));
    });
    down(&lab, &phys);
}

/// INS-7.
#[test]
fn a_ppi_is_deactivated_on_its_own_pe_only() {
    let (lab, phys) = up(Shape::default());
    let id = Ppi::CNTV;
    lab.on(0, |pe| ppi::enable(pe, id).unwrap());
    lab.machine.set_ppi_wire(ModelPeIndex(0), id, true);
    let Acknowledged::Interrupt(active) = lab.on(0, |pe| phys.acknowledge(pe)) else { panic!("the wire is high") };
    assert_eq!(active.int_id(), IntId::Ppi(id));
    let error: WrongPe = lab.on(1, |pe| phys.deactivate(pe, active).unwrap_err());
    assert_eq!(error.to_string(), "PPI 27 belongs to the PE with affinity ID 1");
    assert!(lab.on(0, |pe| ppi::state(pe, id).active));
    lab.on(0, |pe| {
        phys.deactivate(pe, error.0).unwrap();
        pe.gsb_sys();
    });
    assert!(!lab.on(0, |pe| ppi::state(pe, id).active));
    lab.machine.set_ppi_wire(ModelPeIndex(0), id, false);
    down(&lab, &phys);
}

#[test]
fn a_pe_in_the_middle_of_an_acknowledge_is_not_taken_out() {
    let (lab, phys) = up(Shape::default());
    lab.on(0, |pe| ppi::enable(pe, Ppi::SW_PPI).unwrap());
    lab.on(0, |pe| ppi::set_pending(pe, Ppi::SW_PPI).unwrap());
    lab.on(0, |pe| assert!(pe.cdia().valid()));
    let apr = 1 << 16;
    assert_eq!(lab.on(0, |pe| phys.bring_down_pe(pe)), Err(PeError::Handling { apr }));
    lab.on(0, |pe| {
        pe.gsb_ack();
        pe.isb();
        pe.cdeoi();
        pe.cddi(Ppi::SW_PPI.into());
    });
    down(&lab, &phys);
}

/// A driver for tests with threads, where the others' polling makes time pass quickly.
fn patient(shape: Shape) -> (Lab, Phys<Lab>) {
    up_with(shape, |config| Config { timeout: Duration::from_secs(1), ..config })
}

/// LPI-2, VMT-23, GEN-15.
#[test]
fn pes_that_allocate_at_once_get_different_lpis_and_install_each_level2_ist_once() {
    let (lab, phys) =
        patient(Shape { pes_per_irs: 4, metadata: Some(0), coherency: Coherency::NonCoherent, ..Shape::default() });
    let before = lab.live_blocks();
    let lpis = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for pe in 0..4 {
            let (lab, phys, lpis) = (&lab, &phys, &lpis);
            scope.spawn(move || {
                lab.on(pe, |_| ());
                for n in 0..140 {
                    let owned = phys.allocate(Cookie(n)).unwrap();
                    lpis.lock().unwrap().push(owned);
                }
            });
        }
    });
    let lpis = lpis.into_inner().unwrap();
    let mut numbers: Vec<u32> = lpis.iter().map(|owned| owned.lpi().id()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 560);
    assert_eq!(lab.live_blocks() - before, 2, "256 LPIs to a level-2 IST, of which the IPIs made the first");
    lab.on(0, |_| ());
    release_all(&lab, &phys, lpis);
}

/// LPI-2, VMT-23.
#[test]
fn a_level2_ist_that_another_pe_installs_meanwhile_is_not_installed_again() {
    let (lab, phys) = up(Shape { metadata: Some(0), ..Shape::default() });
    let phys = Arc::new(phys);
    let lpis: Vec<OwnedLpi> = (0..252).map(|n| phys.allocate(Cookie(n)).unwrap()).collect();
    let blocks = lab.live_blocks();
    // While this one waits for the allocator, another is quicker.
    let (faster, quicker) = (Arc::new(Mutex::new(None)), phys.clone());
    lab.while_allocating({
        let faster = faster.clone();
        move || *faster.lock().unwrap() = Some(quicker.allocate(Cookie(1000)).unwrap())
    });
    let slower = phys.allocate(Cookie(1001)).unwrap();
    let faster = faster.lock().unwrap().take().expect("the other one was there");
    assert_eq!([slower.lpi(), faster.lpi()], [256, 257].map(lpi));
    assert_eq!(lab.live_blocks(), blocks + 1, "the second table went back");
    release_all(&lab, &phys, lpis.into_iter().chain([slower, faster]));
}

/// DB-25, DB-26.
#[test]
fn no_handler_runs_with_the_cookie_of_a_released_lpi() {
    const PES: usize = 4;
    const ROUNDS: u64 = 60;
    let (lab, phys) = patient(Shape { pes_per_irs: PES as u16, ..Shape::default() });
    let alive: Arc<Vec<AtomicBool>> = Arc::new((0..=ROUNDS * 3).map(|_| AtomicBool::new(false)).collect());
    let (handled, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let deferred: Mutex<Vec<Active>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for pe in 1..PES {
            let (lab, phys, alive, handled, stop, deferred) = (&lab, &phys, &alive, &handled, &stop, &deferred);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    lab.on(pe, |pe| {
                        phys.take_interrupts(pe, u64::MAX, |_, active| {
                            let Source::Lpi(_, Cookie(cookie)) = active.source() else { panic!("{active:?}") };
                            assert!(alive[cookie as usize].load(Ordering::Relaxed), "the LPI was released");
                            thread::yield_now();
                            assert!(alive[cookie as usize].load(Ordering::Relaxed), "released under its handler");
                            handled.fetch_add(1, Ordering::Relaxed);
                            if cookie.is_multiple_of(3) {
                                deferred.lock().unwrap().push(active);
                                return None;
                            }
                            Some(active)
                        })
                    });
                    // As a thread that handles interrupts would.
                    let kept = std::mem::take(&mut *deferred.lock().unwrap());
                    for active in kept {
                        let Source::Lpi(_, Cookie(cookie)) = active.source() else { panic!("{active:?}") };
                        assert!(alive[cookie as usize].load(Ordering::Relaxed), "released before it was deactivated");
                        lab.on(pe, |pe| phys.deactivate(pe, active).unwrap());
                    }
                    thread::yield_now();
                }
            });
        }
        let mut next = 0;
        lab.on(0, |_| ());
        for _ in 0..ROUNDS {
            let lpis: Vec<(u64, OwnedLpi)> = (0..3)
                .map(|_| {
                    next += 1;
                    alive[next as usize].store(true, Ordering::Relaxed);
                    (next, phys.allocate(Cookie(next)).unwrap())
                })
                .collect();
            for (n, (_, owned)) in lpis.iter().enumerate() {
                phys.route(owned, Route::To(iaffid(1 + n as u16 % (PES as u16 - 1))));
                phys.enable(owned);
            }
            for round in 0..4 {
                for (_, owned) in &lpis {
                    lab.on(0, |pe| phys.set_pending(pe, owned.lpi()).unwrap());
                    phys.route(owned, Route::To(iaffid(1 + round % (PES as u16 - 1))));
                }
                lab.on(0, |pe| pe.gsb_sys());
                thread::yield_now();
            }
            for (cookie, owned) in lpis {
                phys.release(owned).unwrap();
                alive[cookie as usize].store(false, Ordering::Relaxed);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(handled.into_inner() > 0, "nothing was taken");
    down(&lab, &phys);
}
