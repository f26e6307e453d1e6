//! The driver's own heap: a host that refuses it gets an error, at every allocation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::error::Error;
use std::sync::Arc;

use common::{Lab, Shape, config, down};
use gicv5_hal::{Cookie, HostLpis};
use gicv5_phys::{Phys, ProbeError};

/// Everything that allocates: two IRSs, a level-2 IST for each 256 LPIs, a second chunk of gates.
fn life(lab: &Lab, shape: Shape) -> Result<(), Box<dyn Error>> {
    let irss = shape.irs_indices();
    // Lent and shared, as a host that keeps a part of itself does.
    let host = Arc::new(lab.clone());
    let phys = Phys::new(&host, &config(&irss))?;
    let mut lpis = Vec::new();
    let outcome = up_and_allocate(lab, &phys, &mut lpis);
    for lpi in lpis {
        phys.release(lpi)?;
    }
    for pe in 0..usize::from(lab.machine.pe_count()) {
        // One that did not come up need not go.
        let _ = lab.on(pe, |pe| phys.bring_down_pe(pe));
    }
    phys.tear_down()?;
    assert_eq!(lab.live_blocks(), 0, "table memory is left");
    lab.assert_no_violations();
    outcome
}

fn up_and_allocate(
    lab: &Lab,
    phys: &Phys<&Arc<Lab>>,
    lpis: &mut Vec<gicv5_phys::OwnedLpi>,
) -> Result<(), Box<dyn Error>> {
    phys.bring_up()?;
    for pe in 0..usize::from(lab.machine.pe_count()) {
        lab.on(pe, |pe| phys.bring_up_pe(pe))?;
    }
    for n in 0..520 {
        lpis.push(phys.allocate(Cookie(n))?);
    }
    Ok(())
}

const SHAPE: Shape = Shape { irss: 2, ..Shape::DEFAULT };

#[test]
fn a_heap_that_refuses_everything_is_an_error() {
    let lab = SHAPE.lab();
    lab.refuse_heap(0..u64::MAX);
    let refused = Phys::new(lab.clone(), &config(&SHAPE.irs_indices())).err();
    assert_eq!(refused, Some(ProbeError::NoMemory));
}

#[test]
fn a_heap_that_refuses_any_one_request_is_an_error_and_leaves_nothing_behind() {
    let lab = SHAPE.lab();
    life(&lab, SHAPE).unwrap();
    let requests = lab.heap_requests();
    assert!(requests >= 8, "two lists of IRSs, PEs, IPIs, IDs, gates, the IST, and two chunks of gates: {requests}");
    for n in 0..requests {
        let lab = SHAPE.lab();
        lab.refuse_heap(n..n + 1);
        let error = life(&lab, SHAPE).expect_err("there was no memory");
        let text = format!("{error:?}");
        assert!(text.contains("Records") || text.contains("NoMemory"), "request {n}: {text}");
        life(&lab, SHAPE).unwrap();
    }
}

/// A driver waits for its turn as long as its owners get on: each takes more than a sixth of the time-out, and there are many.
#[test]
fn many_pes_come_up_at_once_however_slow_the_hardware_is() {
    let shape = Shape { pes_per_irs: 32, ..Shape::default() };
    let mut machine = shape.config();
    machine.command_latency = 1_500;
    let lab = Lab::new(machine);
    let irss = shape.irs_indices();
    let timeout = gicv5_phys::Config::new(&irss, 0).timeout;
    let phys = Phys::new(lab.clone(), &gicv5_phys::Config { timeout, ..config(&irss) }).unwrap();
    phys.bring_up().unwrap();
    std::thread::scope(|scope| {
        let ups: Vec<_> = (0..32)
            .map(|pe| {
                scope.spawn({
                    let (lab, phys) = (&lab, &phys);
                    move || lab.on(pe, |pe| phys.bring_up_pe(pe))
                })
            })
            .collect();
        for up in ups {
            up.join().unwrap().unwrap();
        }
    });
    down(&lab, &phys);
}
