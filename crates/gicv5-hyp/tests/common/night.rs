//! How a night begins on a machine whose switches are drawn, and how it ends.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use gicv5_arch::{Iaffid, IntId};
use gicv5_hyp::{Config, DoorbellMask, Host, Phase, Vm};
use gicv5_model::CpuConfig;
use gicv5_model::account::Snapshot;
use gicv5_model::config::{DoorbellMask as ModelMask, Switches};
use gicv5_model::fault::Fault;

use crate::common::{Lab, Shape, assert_clean};

/// What the hardware does wrong at night.
pub const FAULTS: [Fault; 6] =
    [Fault::Refused, Fault::Never, Fault::Late(50), Fault::Late(500), Fault::Ignored, Fault::Invalid];

/// How many nights there are. For a campaign: GICV5_HYP_NIGHTS=1_000.
pub fn nights() -> u64 {
    std::env::var("GICV5_HYP_NIGHTS").map_or(8, |nights| nights.replace('_', "").parse().unwrap())
}

/// The SPI of a vCPU.
pub fn spi_of(vcpu: usize) -> IntId {
    super::guest::spi(10 + vcpu as u32)
}

/// A host that is up, on a machine with so many PEs.
pub fn evening(shape: Shape, switches: Switches, pes: u16, timeout: Duration) -> (Lab, Host<Lab>, Snapshot) {
    let mut machine = shape.config();
    machine.switches = switches;
    let irs = &mut machine.irses[0];
    irs.pes.extend((irs.pes.len() as u16..pes).map(|pe| CpuConfig::new(Iaffid::new(pe))));
    irs.idr1 = irs.idr1.with_pe_cnt(pes);
    let lab = Lab::new(machine);
    lab.open_traps();
    let before = lab.machine.snapshot();
    let doorbell_mask = match switches.doorbell.mask {
        ModelMask::ByNumber => DoorbellMask::ByNumber,
        _ => DoorbellMask::ByUrgency,
    };
    let host = Host::new(lab.clone(), &Config { doorbell_mask, timeout, ..shape.host_config() }).unwrap();
    host.bring_up().unwrap();
    (lab, host, before)
}

/// The hardware answers again.
pub fn morning(lab: &Lab, host: &Host<Lab>) {
    lab.machine.recover();
    lab.machine.advance(10_000);
    if host.phase() != Phase::Up {
        host.bring_up().unwrap();
    }
}

/// Everything is given back.
pub fn end<'h>(
    lab: &Lab,
    host: &'h Host<Lab>,
    vms: impl IntoIterator<Item = Vm<'h, Lab>>,
    before: &Snapshot,
    seed: u64,
) {
    for mut vm in vms {
        // What it names may be in flight still, as far as the library has looked.
        let _ = vm.tear_down();
    }
    for _ in 0..3 {
        let _ = (host.reap(), host.reclaim());
    }
    let held = host.holdings();
    assert_eq!((held.vms, held.quarantined_bytes), (0, 0), "seed {seed}: {held}");
    host.shut_down().unwrap();
    assert_clean(&lab.machine, before, seed);
}
