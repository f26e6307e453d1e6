//! Every barrier is there because something goes wrong without it.
//!
//! A scenario runs once as it is, and then once for each barrier, cache operation and GSB that the driver made, with that
//! one left out. The model lets nothing take effect that no barrier completes, so that the scenario must see something
//! else, or the model must report a violation. What the model cannot see is listed, each with the reason and the test that
//! holds it in place instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;

use common::{Lab, Op, Shape, Sync, config, iaffid};
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::values::TriggerMode;
use gicv5_arch::{IrsIntId, Ppi, Priority, Spi};
use gicv5_hal::{Coherency, Cookie, HostLpis, IrsIndex, Pe};
use gicv5_model::PeIndex;
use gicv5_phys::{IpiKind, Phys, ppi};

/// What a scenario saw, in order.
#[derive(Default, PartialEq, Debug)]
struct Seen(Vec<String>);

impl Seen {
    fn note(&mut self, what: &str, value: impl Debug) {
        self.0.push(format!("{what}: {value:?}"));
    }
}

/// Completes what a PE has begun, without the driver's knowledge.
fn settle(lab: &Lab, pe: u16) {
    let pe = lab.machine.pe(PeIndex(pe)).unwrap();
    Pe::new(&pe).gsb_sys();
}

fn irq(lab: &Lab, pe: u16) -> bool {
    lab.machine.signals(PeIndex(pe)).irq
}

fn scenario(lab: &Lab) -> Seen {
    let mut seen = Seen::default();
    let phys = Phys::new(lab.clone(), &config(&[IrsIndex(0)])).unwrap();
    // The last, because the GSB of each completes what was begun for those before.
    let left = IrsIntId::Spi(Spi::new(common::SPIS - 1).unwrap());
    lab.machine.set_interrupt(left, L2_ISTE::ZERO.with_enable(true).with_active(true));
    seen.note("up", phys.bring_up());
    seen.note("an SPI that was left active", lab.machine.interrupt(left));

    // An SPI waits for each PE to come up.
    let spis = [0, 1].map(|n| Spi::new(n).unwrap());
    for (n, spi) in spis.into_iter().enumerate() {
        let entry = L2_ISTE::ZERO.with_enable(true).with_pending(true).with_iaffid(iaffid(n as u16));
        lab.machine.set_interrupt(IrsIntId::Spi(spi), entry);
    }
    let pes = [0, 1].map(|pe| {
        let index = lab.on(usize::from(pe), |pe| phys.bring_up_pe(pe));
        seen.note("the PE is signalled", irq(lab, pe));
        index.ok()
    });
    lab.on(0, |_| ());
    for spi in spis {
        lab.machine.set_interrupt(IrsIntId::Spi(spi), L2_ISTE::ZERO);
    }

    // LPIs behind two level-2 ISTs, whose level-1 entries share a cache line.
    let mut lpis = Vec::new();
    for n in 0..300 {
        match phys.allocate(Cookie(n)) {
            Ok(lpi) => {
                seen.note("allocated", lab.machine.interrupt(lpi.lpi().into()));
                lpis.push(lpi);
            }
            Err(error) => seen.note("not allocated", error),
        }
    }

    // LPIs and SPIs by number.
    let spi = spis[0];
    seen.note("trigger", phys.set_trigger(spi, TriggerMode::Edge));
    lab.on(0, |pe| {
        let state = || lab.machine.interrupt(spi.into());
        let _ = phys.set_target(pe, spi, iaffid(0));
        let _ = phys.enable_interrupt(pe, spi);
        settle(lab, 0);
        lab.machine.set_spi_wire(spi, true);
        seen.note("configuration", phys.configuration(pe, spi));
        let _ = phys.set_priority(pe, spi, Priority::LEAST_URGENT);
        seen.note("configuration", phys.configuration(pe, spi));
        seen.note("signalled", irq(lab, 0));
        phys.take_interrupts(pe, u64::MAX, |_, active| {
            seen.note("in the handler", (active.source(), irq(lab, 0)));
            Some(active)
        });
        seen.note("after the handler", irq(lab, 0));
        settle(lab, 0);
        let _ = phys.set_pending(pe, spi);
        settle(lab, 0);
        seen.note("clear pending", (phys.clear_pending(pe, spi), state()));
        let _ = phys.set_pending(pe, spi);
        settle(lab, 0);
        seen.note("disable", (phys.disable_interrupt(pe, spi), state(), irq(lab, 0)));
    });

    // An IPI.
    if let [_, Some(to)] = pes {
        lab.on(0, |pe| seen.note("IPI", phys.send_ipi(pe, to, IpiKind(1))));
        settle(lab, 0);
        lab.on(1, |pe| {
            phys.take_interrupts(pe, u64::MAX, |_, active| {
                seen.note("handler of the IPI", (active.source(), irq(lab, 1)));
                Some(active)
            })
        });
        settle(lab, 1);
        // One that nobody takes before the PE goes out.
        lab.on(0, |pe| seen.note("IPI", phys.send_ipi(pe, to, IpiKind(0))));
        settle(lab, 0);
    }
    lab.on(1, |pe| seen.note("down", (phys.bring_down_pe(pe), irq(lab, 1))));
    seen.note("IPIs of a PE that is out", [0, 1, 2, 3].map(|n| lab.machine.interrupt(common::lpi(n).into())));

    // PPIs.
    lab.on(0, |pe| {
        let level = Ppi::CNTV;
        lab.machine.set_ppi_wire(PeIndex(0), level, true);
        seen.note("PPI enabled", (ppi::enable(pe, level), irq(lab, 0)));
        ppi::set_active(pe, level);
        seen.note("PPI active", irq(lab, 0));
        ppi::clear_active(pe, level);
        seen.note("PPI inactive", irq(lab, 0));
        ppi::disable(pe, level);
        seen.note("PPI disabled", irq(lab, 0));
        let edge = Ppi::SW_PPI;
        let _ = ppi::enable(pe, edge);
        seen.note("PPI set pending", (ppi::set_pending(pe, edge), irq(lab, 0)));
        seen.note("PPI cleared", (ppi::clear_pending(pe, edge), irq(lab, 0)));
        let _ = ppi::set_pending(pe, edge);
        ppi::set_priority(pe, edge, Priority::MOST_URGENT);
        lab.machine.set_nmi(PeIndex(0), true);
        seen.note("PPI most urgent", lab.machine.signals(PeIndex(0)));
        lab.machine.set_nmi(PeIndex(0), false);
        let _ = ppi::clear_pending(pe, edge);
    });

    // The end.
    let last = lpis.len().saturating_sub(3);
    for lpi in lpis.split_off(last) {
        let id = lpi.lpi();
        phys.enable(&lpi);
        lab.on(0, |pe| {
            let _ = phys.set_pending(pe, id);
        });
        settle(lab, 0);
        seen.note("release", (phys.release(lpi).is_ok(), lab.machine.interrupt(id.into())));
    }
    for lpi in lpis {
        let id = lpi.lpi();
        if id.id() % 100 == 0 {
            phys.enable(&lpi);
            settle(lab, 0);
        }
        phys.abandon(lpi);
        if id.id() % 100 == 0 {
            seen.note("abandoned", lab.machine.interrupt(id.into()));
        }
    }
    lab.on(0, |pe| {
        // Pending PPIs must be silent once the PE is out.
        let _ = ppi::enable(pe, Ppi::CNTV);
        seen.note("down", (phys.bring_down_pe(pe), irq(lab, 0)));
    });
    seen.note("torn down", phys.tear_down());
    seen.note("blocks left", lab.live_blocks());
    seen
}

fn lab(coherency: Coherency) -> Lab {
    let mut config = Shape { metadata: Some(0), coherency, ..Shape::default() }.config();
    // Nothing happens by itself.
    config.effect_latency = u64::MAX >> 8;
    Lab::new(config)
}

/// What is next to a barrier and tells what it is for: it completes what comes before it, but a DSB protects what comes
/// after. What follows a GSB tells whether anything looks at what it has completed.
fn neighbours(log: &[Op], at: usize) -> Vec<Op> {
    let (before, after) = (log[..at].last().copied(), log.get(at + 1).copied());
    let wanted = match log[at] {
        Op::Sync(Sync::Dsb) => [None, after],
        Op::Sync(Sync::GsbSys) => [before, after.filter(|op| *op == Op::Sync(Sync::Isb))],
        _ => [before, None],
    };
    wanted.into_iter().flatten().collect()
}

/// The barriers of a log by what they are for, each with the numbers of those that are alike.
fn places(log: &[Op]) -> BTreeMap<(Sync, Vec<Op>), Vec<usize>> {
    let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    let syncs = log.iter().enumerate().filter_map(|(at, op)| match op {
        Op::Sync(sync) => Some((at, *sync)),
        _ => None,
    });
    for (n, (at, sync)) in syncs.enumerate() {
        places.entry((sync, neighbours(log, at))).or_default().push(n);
    }
    places
}

/// What the model cannot see, why, and what holds it in place.
fn cannot_be_seen(coherency: Coherency) -> Vec<(Sync, Vec<Op>)> {
    use GicInsn::{GIC_CDAFF, GIC_CDDIS, GIC_CDPEND, GIC_CDPRI};
    let asked = |insn| vec![Op::Insn(insn), Op::Sync(Sync::Isb)];
    let insns = |insns: &[GicInsn]| insns.iter().copied().map(Op::Insn).collect::<Vec<_>>();
    let mut list = vec![
        // The interface is configured before it is enabled; the model synchronises both at the next ISB. Held by
        // `a_pe_is_configured_before_it_is_enabled`.
        (Sync::Isb, vec![Op::Write(SysReg::ICC_PCR_EL1)]),
        // The data that an interrupt announces are not part of the model. Held by
        // `what_must_be_complete_before_the_next_step_is`.
        (Sync::Dsb, insns(&[GIC_CDPEND])),
        // What a guest's last request has brought, before the host asks: the model's answers are there at once. Held by the
        // same test.
        (Sync::Isb, vec![Op::Sync(Sync::GsbSys)]),
        // The model executes the instructions of one PE in their order. Held by the same test.
        (Sync::GsbSys, asked(GIC_CDDIS)),
        (Sync::GsbSys, asked(GIC_CDPEND)),
        (Sync::GsbSys, vec![Op::Sync(Sync::GsbSys), Op::Sync(Sync::Isb)]),
        // Between SPIs that are as they should be nothing is under way, and the answer to the last question has been read.
        (Sync::Isb, vec![Op::Write(SysReg::ICC_ICSR_EL1)]),
        (Sync::GsbSys, vec![Op::Write(SysReg::ICC_ICSR_EL1)]),
        (Sync::GsbSys, vec![Op::Sync(Sync::Isb), Op::Sync(Sync::Isb)]),
        (Sync::GsbSys, vec![Op::Irs(gicv5_arch::irs::IrsReg::IRS_CR0), Op::Sync(Sync::Isb)]),
        // Another one follows before anybody looks. Held by what reads `docs/effects.md`, in gicv5-hyp.
        (Sync::GsbSys, insns(&[GIC_CDAFF])),
        (Sync::GsbSys, insns(&[GIC_CDPRI])),
    ];
    if coherency == Coherency::NonCoherent {
        list.extend([
            // The first of `TableMemory::acquire`: the model does no maintenance before the read that comes first.
            (Sync::Barrier, vec![Op::Irs(gicv5_arch::irs::IrsReg::IRS_MAP_L2_ISTR)]),
            // `TableMemory::prepare`: the line was read again when the entry before was confirmed. It is stale only if a
            // command timed out, completes late, and another PE writes another entry of the line before anybody looks.
            (Sync::CleanInvalidate, vec![Op::Write(SysReg::ICC_ICSR_EL1)]),
            (Sync::CleanInvalidate, vec![Op::Sync(Sync::Isb)]),
        ]);
    }
    list.sort();
    list
}

/// COH-1, COH-2, COH-4, SYN-2, SYN-4, SYN-5, INS-12.
#[test]
fn nothing_that_orders_can_be_left_out() {
    for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
        let whole = lab(coherency);
        whole.start_log();
        let expected = scenario(&whole);
        let log = whole.take_log();
        whole.assert_no_violations();
        let noticed = |n: usize| {
            let lab = lab(coherency);
            lab.skip_sync(n);
            scenario(&lab) != expected || !lab.machine.take_violations().is_empty()
        };
        let mut unseen = Vec::new();
        for (place, numbers) in places(&log) {
            // Those that are alike in everything but their number are many; some of them stand for all.
            let step = numbers.len().div_ceil(12);
            if !numbers.iter().step_by(step).chain(numbers.last()).any(|n| noticed(*n)) {
                unseen.push(place);
            }
        }
        assert_eq!(unseen, cannot_be_seen(coherency), "{coherency:?}");
    }
}
