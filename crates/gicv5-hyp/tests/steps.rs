//! Every barrier, clean, invalidate, wait and zeroing is there because something goes wrong without it.
//!
//! A life of a host runs once as it is, and then once for each of these steps, with that one left out. The model lets nothing
//! take effect before it must, so that the life must fail, or the model must report a broken rule. What neither shows is
//! listed, with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::error::Error;

use common::{Lab, SHAPES, SPEC, Shape, Step, VPES};
use gicv5_arch::irs::IrsReg;
use gicv5_arch::{IntId, Lpi, Spi};
use gicv5_hal::Coherency;
use gicv5_hyp::{Host, Pending, Vm, VmSpec};
use gicv5_model::PeIndex;
use gicv5_model::fault::Fault;

/// Touches an interrupt in every piece of memory of the ISTs. Without LPIs, an LPI that the IRS must drop (INS-18).
fn inject(lab: &Lab, vm: &Vm<'_, Lab>, lpi_id_bits: u32) -> Result<(), Box<dyn Error>> {
    let spis = [IntId::Spi(Spi::new(2)?)];
    let lpis =
        (0..1 << lpi_id_bits).step_by(512).map(|id| Lpi::new(id).map(IntId::Lpi)).collect::<Result<Vec<_>, _>>()?;
    lab.host
        .on_pe(PeIndex(0), |pe| {
            if lpi_id_bits == 0 {
                for pending in [true, false] {
                    pe.vdpend(vm.id().ok_or("it has an ID")?, Lpi::new(0)?.into(), pending);
                }
                pe.gsb_sys();
            }
            for id in spis.into_iter().chain(lpis.into_iter().filter(|_| lpi_id_bits > 0)) {
                vm.inject(pe, id, Pending::Set)?;
                vm.inject(pe, id, Pending::Clear)?;
            }
            Ok(())
        })
        .ok_or("there is a PE")?
}

fn a_life(lab: &Lab, host: &Host<Lab>) -> Result<(), Box<dyn Error>> {
    host.bring_up()?;
    let mut first = host.new_vm();
    first.init(&SPEC)?;
    // Its entry shares a cache line with the first one's.
    let mut second = host.new_vm();
    second.init(&VmSpec { spis: 8, ..VmSpec::new(&VPES[..2]) })?;
    first.create_lpi_ist(14)?;
    inject(lab, &first, 14)?;
    second.create_lpi_ist(16)?;
    inject(lab, &second, 16)?;
    first.remove_lpi_ist()?;
    first.tear_down()?;
    // The same VM ID, and memory that the first one had.
    first.init(&SPEC)?;
    inject(lab, &first, 0)?;
    second.tear_down()?;
    first.tear_down()?;
    drop((first, second));
    host.shut_down()?;
    Ok(())
}

/// A command on one VM completes after the library gave up. Then others come and go whose entries share the cache line.
fn a_troubled_life(lab: &Lab, host: &Host<Lab>) -> Result<(), Box<dyn Error>> {
    host.bring_up()?;
    let (mut first, mut second) = (host.new_vm(), host.new_vm());
    first.init(&SPEC)?;
    second.init(&SPEC)?;
    lab.machine.fault_next(Fault::Refused);
    assert!(first.create_lpi_ist(14).is_err(), "there is no memory");
    for _ in 0..2 {
        lab.machine.fault_next(Fault::Late(500));
        assert!(first.create_lpi_ist(14).is_err(), "a command is late");
        lab.machine.advance(500);
        second.create_lpi_ist(14)?;
        inject(lab, &second, 14)?;
        second.remove_lpi_ist()?;
        lab.machine.fault_next(Fault::Late(500));
        assert!(second.create_lpi_ist(14).is_err(), "a command is late");
        lab.machine.advance(500);
        first.tear_down()?;
        first.init(&SPEC)?;
        second.tear_down()?;
        second.init(&SPEC)?;
    }
    first.tear_down()?;
    second.tear_down()?;
    drop((first, second));
    host.shut_down()?;
    Ok(())
}

type Life = fn(&Lab, &Host<Lab>) -> Result<(), Box<dyn Error>>;

/// The register of the last command before a step, and of the first after it.
fn commands(steps: &[Step], n: usize) -> (Option<IrsReg>, Option<IrsReg>) {
    let command = |step: &Step| match step {
        Step::Command(register) => Some(*register),
        _ => None,
    };
    (steps[..n].iter().rev().find_map(command), steps[n..].iter().find_map(command))
}

/// Runs a life without one step. A wait is left out of a command that needs it: one that takes its time.
fn noticed(life: Life, shape: Shape, n: usize, late: Option<u64>) -> bool {
    let (lab, host) = shape.slow(5);
    if let Some(point) = late {
        lab.machine.plan_fault(point, Fault::Late(50));
    }
    lab.skip(n);
    life(&lab, &host).is_err() || !lab.machine.take_violations().is_empty()
}

/// What makes no difference to the model, and why.
fn makes_no_difference(steps: &[Step], n: usize) -> bool {
    let (last, next) = commands(steps, n);
    let rest = &steps[n + 1..];
    let until_next = &rest[..rest.iter().position(|step| matches!(step, Step::Command(_))).unwrap_or(rest.len())];
    match steps[n] {
        // Another one follows before the IRS looks (COH-1). In front of a clean the model needs none: its stores are in the
        // cache at once. Or nobody looks at what was cleared when its VM was made invalid before it is filled again.
        Step::Barrier => until_next.contains(&Step::Barrier) || last == Some(IrsReg::IRS_VMAP_VMR) || next.is_none(),
        // Every entry of the level-1 table of an IST is written before anybody looks.
        Step::Zero(64 | 128 | 512) => {
            matches!(rest, [Step::Zero(4096 | 0x1_0000), Step::Store, Step::Zero(4096 | 0x1_0000), ..])
        }
        Step::Zero(_) => false,
        // The next command waits before it is given (GEN-18), and nothing is done in between that needs the table.
        Step::Wait => last == Some(IrsReg::IRS_VMT_BASER) && next.is_some(),
        // What publishes an entry that was cleared after its VM was made invalid: the line is cleaned again before the entry
        // is next filled, and the VPE table goes back to the allocator, which hands memory out clean.
        Step::Clean if steps[..n].ends_with(&[Step::Store, Step::Barrier]) => last == Some(IrsReg::IRS_VMAP_VMR),
        // What prepares a line: it is fresh, unless a command has completed late.
        Step::Clean => true,
        // The entry is loaded to see that it is not valid (VMT-22), and it is not, now or before.
        Step::LoadBarrier => rest.starts_with(&[Step::Load, Step::Store]),
        Step::Invalidate | Step::Command(_) | Step::Load | Step::Store => false,
    }
}

/// The steps of a life whose absence nobody notices, and all kinds of step whose absence somebody notices.
fn look(life: Life, shape: Shape) -> (Vec<Step>, Vec<usize>, BTreeSet<Step>) {
    let (whole, host) = shape.slow(5);
    life(&whole, &host).unwrap();
    whole.assert_no_violations();
    let steps = whole.steps();
    let mut unnoticed = Vec::new();
    let mut noticed_kinds = BTreeSet::new();
    let mut last_command = None;
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Command(_) => last_command = Some(whole.point(n)),
            Step::Load | Step::Store => {}
            _ => {
                let late = last_command.filter(|_| *step == Step::Wait);
                match noticed(life, shape, n, late) {
                    true => drop(noticed_kinds.insert(if let Step::Zero(_) = step { Step::Zero(0) } else { *step })),
                    false => unnoticed.push(n),
                }
            }
        }
    }
    (steps, unnoticed, noticed_kinds)
}

/// COH-1, COH-2, COH-4, COH-5, SYN-10, GEN-18, VMT-12, VM-11, VPE-8, IST-22, LIFE-4.
#[test]
fn nothing_can_be_left_out() {
    for shape in SHAPES {
        let (steps, unnoticed, noticed) = look(a_life, shape);
        for n in unnoticed {
            let around = &steps[n.saturating_sub(6)..(n + 8).min(steps.len())];
            assert!(makes_no_difference(&steps, n), "{shape:?}: {n} {:?} in {around:?}", steps[n]);
        }
        let mut expected = BTreeSet::from([Step::Barrier, Step::Wait, Step::Zero(0)]);
        match shape.coherency {
            Coherency::NonCoherent => expected.extend([Step::Clean, Step::Invalidate]),
            Coherency::Coherent => expected.extend([Step::LoadBarrier]),
        }
        assert_eq!(noticed, expected, "{shape:?}");
    }
}

/// COH-7, VMT-21.
#[test]
fn a_line_is_prepared_because_a_command_may_have_completed_late() {
    let shape = SHAPES[2];
    let (whole, host) = shape.slow(5);
    a_troubled_life(&whole, &host).unwrap();
    whole.assert_no_violations();
    let steps = whole.steps();
    let prepares = |n: &usize| steps[*n] == Step::Clean && !steps[..*n].ends_with(&[Step::Store, Step::Barrier]);
    let noticed = (0..steps.len()).filter(prepares).filter(|n| noticed(a_troubled_life, shape, *n, None)).count();
    assert!(noticed > 0, "no line had to be prepared");
}
