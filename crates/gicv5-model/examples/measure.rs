//! What the model costs: one workload, a number of times, for a profiler or a stopwatch.
//!
//! `measure events PENDING PES COUNT`: pend, acknowledge, drop and deactivate one LPI, COUNT times, while PENDING less
//! urgent LPIs are pending, on a machine of PES PEs. `measure bytes PENDING`: the memory that PENDING pending LPIs take.
//! `cargo xtask bench` runs it under Valgrind and compares.
#![allow(clippy::print_stdout, reason = "a measurement is for whoever runs it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::{IRS_CR0, IRS_IST_BASER, IRS_IST_CFGR, IRS_IST_STATUSR};
use gicv5_arch::sysreg::{ICC_CR0_EL1, SysReg};
use gicv5_arch::values::IstSize;
use gicv5_arch::{Addr55_6, IntId, Lpi, PhysAddr, Priority};
use gicv5_hal::{Block, BlockLayout, IrsExt, IrsIndex, Pe, TableMemory};
use gicv5_model::config::{Effects, MachineConfig};
use gicv5_model::violation::PeIndex;
use gicv5_model::{Machine, ModelPe};

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const IRS: IrsIndex = IrsIndex(0);

/// A machine with an IST, switched on.
fn machine(pes: u16) -> Result<(Machine, ModelPe), Box<dyn Error>> {
    let mut config = MachineConfig::new(pes, 64);
    config.switches.effects = Effects::Early;
    config.command_latency = 0;
    let machine = Machine::new(config)?;
    let geometry = IstGeometry::linear(24, IstSize::Bytes4)?;
    let table = geometry.base();
    let block = machine.allocate(BlockLayout::new(table.size(), table.alignment(), PhysAddr::new((1 << 48) - 1)?)?)?;
    machine.publish(IRS, &block, 0..table.size());
    machine.write::<IRS_IST_CFGR>(IRS, geometry.cfgr());
    machine.write(IRS, IRS_IST_BASER::ZERO.with_addr(Addr55_6::new(block.address())?).with_valid(true));
    while !machine.read::<IRS_IST_STATUSR>(IRS).idle() {}
    machine.write(IRS, IRS_CR0::ZERO.with_irsen(true));
    for n in 0..pes {
        let cpu = machine.pe(PeIndex(n)).ok_or("no such PE")?;
        let pe = Pe::new(&cpu);
        pe.write(ICC_CR0_EL1::ZERO.with_en(true));
        pe.write_raw(SysReg::ICC_PCR_EL1, 31);
        pe.isb();
    }
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
    let start = Instant::now();
    for _ in 0..count {
        pe.cdpend(lpi.into(), true);
        let taken = black_box(pe.cdia()).int_id();
        if taken != Some(IntId::Lpi(lpi)) {
            return Err(format!("acknowledged {taken:?}").into());
        }
        pe.gsb_ack();
        pe.cdeoi();
        pe.cddi(lpi.into());
    }
    let elapsed = start.elapsed();
    if count > 0 {
        println!("{} ns for each round", elapsed.as_nanos() / u128::from(count));
    }
    let violations = machine.take_violations();
    if !violations.is_empty() {
        return Err(format!("{violations:?}").into());
    }
    Ok(())
}

fn bytes(pending: u32) -> Result<(), Box<dyn Error>> {
    let (_machine, cpu) = machine(1)?;
    let before = LIVE.load(Ordering::Relaxed);
    pend_others(&Pe::new(&cpu), pending)?;
    let after = LIVE.load(Ordering::Relaxed);
    println!("{} bytes for each pending LPI", (after - before) / pending.max(1) as usize);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["events", pending, pes, count] => events(pending.parse()?, pes.parse()?, count.parse()?),
        ["bytes", pending] => bytes(pending.parse()?),
        _ => Err("usage: measure events PENDING PES COUNT | measure bytes PENDING".into()),
    }
}
