//! What the model costs: one workload, a number of times, for a profiler or a stopwatch.
//!
//! `measure events PENDING PES COUNT`: pend, acknowledge, drop and deactivate one LPI, COUNT times, while PENDING less
//! urgent LPIs are pending, on a machine of PES PEs. `measure bytes PENDING`: the memory that PENDING pending LPIs take.
//! `measure inject VMS VPES COUNT`: set and clear Pending of an LPI of one VM after the other, COUNT times, with VMS valid VMs
//! of VPES VPEs. `measure doorbell VMS VPES COUNT`: the same, and each time ask for a doorbell and take it. `measure vm
//! VPES COUNT`: make a VM with VPES VPEs valid and invalid again, COUNT times. `measure idle VMS VPES`: the memory that a
//! valid VM takes in which nothing has happened.
//! `cargo xtask bench` counts the instructions that are executed in [`measured`], which is the COUNT rounds without what
//! leads up to them.
#![allow(clippy::print_stdout, reason = "a measurement is for whoever runs it")]

mod counting;
#[path = "../tests/hand/mod.rs"]
mod hand;

use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::Instant;

use counting::LIVE;
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::values::IstSize;
use gicv5_arch::{IntId, Lpi, Priority, VmId};
use gicv5_hal::{Cookie, HostLpis, Pe};
use gicv5_model::config::{Effects, MachineConfig};
use gicv5_model::{Machine, ModelHost, ModelPe, PeIndex};
use hand::{Farm, doorbell};

/// A machine with an IST, switched on.
fn machine(pes: u16) -> Result<(Machine, ModelPe), Box<dyn Error>> {
    let mut config = MachineConfig::new(pes, 64);
    config.switches.effects = Effects::Early;
    config.command_latency = 0;
    let machine = Machine::new(config)?;
    let host = ModelHost::on(&machine);
    host.make_ist(IstGeometry::linear(24, IstSize::Bytes4)?)?;
    host.switch_on()?;
    let cpu = machine.pe(PeIndex(pes - 1)).ok_or("no such PE")?;
    Ok((machine, cpu))
}

/// Makes LPIs 1 to `count` pending, none as urgent as LPI 0 will be.
fn pend_others(pe: &Pe<'_, ModelPe>, count: u32) -> Result<(), Box<dyn Error>> {
    for n in 1..=count {
        let id = Lpi::new(n)?.into();
        pe.cdpri(id, Priority::new(8 + n % 24)?);
        pe.cdaff(id, pe.iaffid());
        pe.cden(id);
        pe.cdpend(id, true);
    }
    Ok(())
}

fn events(pending: u32, pes: u16, count: u32) -> Result<(), Box<dyn Error>> {
    let (machine, cpu) = machine(pes)?;
    let pe = Pe::new(&cpu);
    pend_others(&pe, pending)?;
    let lpi = Lpi::new(0)?;
    pe.cdaff(lpi.into(), pe.iaffid());
    pe.cdpri(lpi.into(), Priority::new(4)?);
    pe.cden(lpi.into());
    rounds(count, 0..count, |_| {
        pe.cdpend(lpi.into(), true);
        let taken = black_box(pe.cdia()).int_id();
        if taken != Some(IntId::Lpi(lpi)) {
            return Err(format!("acknowledged {taken:?}").into());
        }
        pe.gsb_ack();
        pe.isb();
        pe.cdeoi();
        pe.cddi(lpi.into());
        Ok(())
    })?;
    clean(&machine)
}

fn bytes(pending: u32) -> Result<(), Box<dyn Error>> {
    let (_machine, cpu) = machine(1)?;
    let before = LIVE.load(Ordering::Relaxed);
    pend_others(&Pe::new(&cpu), pending)?;
    let after = LIVE.load(Ordering::Relaxed);
    println!("{} bytes for each pending LPI", (after - before) / pending.max(1) as usize);
    Ok(())
}

/// What is fast, and has these VMs.
fn farm(vms: u32, vpes: u16) -> Result<Farm, Box<dyn Error>> {
    let mut config = MachineConfig::new(1, 0).with_virtualisation();
    config.switches.effects = Effects::Early;
    config.command_latency = 0;
    let mut farm = Farm::new(&Machine::new(config)?, vms.max(1))?;
    for vm in 0..vms {
        let _made = farm.make_vm(VmId::new(vm.try_into()?), vpes)?;
    }
    Ok(farm)
}

/// Does it for each VM once, because the first time is dearer, and then, measured, for one after the other.
fn in_turn(
    vms: u32,
    count: u32,
    mut round: impl FnMut(VmId) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let vm = |n: u32| VmId::new((n % vms.max(1)) as u16);
    (0..vms).map(vm).try_for_each(&mut round)?;
    rounds(count, (0..count).map(|n| vm(n.wrapping_mul(1_021))), round)
}

fn inject(vms: u32, vpes: u16, count: u32) -> Result<(), Box<dyn Error>> {
    let farm = farm(vms, vpes)?;
    in_turn(vms, count, |vm| {
        farm.pend(vm, 5, true);
        farm.pend(vm, 5, false);
        Ok(())
    })?;
    clean(&farm.machine)
}

fn doorbells(vms: u32, vpes: u16, count: u32) -> Result<(), Box<dyn Error>> {
    let farm = farm(vms, vpes)?;
    let mut lpis = Vec::new();
    for n in 0..vms {
        let lpi = farm.host.allocate(Cookie(n.into()))?;
        farm.host.enable(&lpi);
        lpis.push(lpi);
    }
    // The VPE that LPI 5 is for.
    let vpe = 5 % vpes;
    in_turn(vms, count, |vm| {
        let lpi = lpis.get(usize::from(vm.raw_value())).ok_or("no such VM")?;
        farm.set_doorbell(vm, vpe, doorbell(farm.host.lpi(lpi)))?;
        farm.pend(vm, 5, true);
        let mut cookies = Vec::with_capacity(1);
        farm.host.take_interrupts(PeIndex(0), |taken| cookies.extend(taken.cookie));
        if cookies != [Cookie(vm.raw_value().into())] {
            return Err(format!("{vm} rang {cookies:?}").into());
        }
        farm.pend(vm, 5, false);
        Ok(())
    })?;
    clean(&farm.machine)
}

fn life(vpes: u16, count: u32) -> Result<(), Box<dyn Error>> {
    let mut farm = farm(0, vpes)?;
    rounds(count, 0..count, |_| {
        let made = farm.make_vm(VmId::new(7), vpes)?;
        farm.break_vm(made)
    })?;
    clean(&farm.machine)
}

fn idle(vms: u32, vpes: u16) -> Result<(), Box<dyn Error>> {
    let mut farm = farm(0, vpes)?;
    let before = (LIVE.load(Ordering::Relaxed), farm.machine.snapshot());
    for vm in 0..vms {
        let _made = farm.make_vm(VmId::new(vm.try_into()?), vpes)?;
    }
    let bytes = LIVE.load(Ordering::Relaxed) - before.0;
    println!("{} bytes for each idle VM with {vpes} VPEs", bytes / vms.max(1) as usize);
    Ok(())
}

/// Does it once for each item, and tells how long one takes.
fn rounds<T>(
    count: u32,
    items: impl Iterator<Item = T>,
    round: impl FnMut(T) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    measured(items, round)?;
    let elapsed = start.elapsed();
    if count > 0 {
        println!("{} ns for each round", elapsed.as_nanos() / u128::from(count));
    }
    Ok(())
}

/// What is counted.
#[inline(never)]
fn measured<T>(
    items: impl Iterator<Item = T>,
    mut round: impl FnMut(T) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for item in items {
        round(item)?;
    }
    Ok(())
}

fn clean(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let violations = machine.take_violations();
    if violations.is_empty() { Ok(()) } else { Err(format!("{violations:?}").into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["events", pending, pes, count] => events(pending.parse()?, pes.parse()?, count.parse()?),
        ["bytes", pending] => bytes(pending.parse()?),
        ["inject", vms, vpes, count] => inject(vms.parse()?, vpes.parse()?, count.parse()?),
        ["doorbell", vms, vpes, count] => doorbells(vms.parse()?, vpes.parse()?, count.parse()?),
        ["vm", vpes, count] => life(vpes.parse()?, count.parse()?),
        ["idle", vms, vpes] => idle(vms.parse()?, vpes.parse()?),
        _ => Err("usage: measure events PENDING PES COUNT | bytes PENDING | inject VMS VPES COUNT | \
                  doorbell VMS VPES COUNT | vm VPES COUNT | idle VMS VPES"
            .into()),
    }
}
