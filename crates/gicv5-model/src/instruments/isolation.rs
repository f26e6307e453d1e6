//! Whether one VM can tell what another does.
//!
//! # Theory of operation
//!
//! A VM affects its own interrupts and no others (INJ-10). The model is deterministic, so this can be checked by running the
//! same thing more than once: with everything the same but what one VM does, everything that concerns any *other* VM must
//! be the same. [`check`] runs, takes what each VM [sees](view) out of the events, and returns the first
//! [difference](Difference).
//!
//! # What a VM sees
//!
//! Order, and no times: the machine's clock advances when software polls, so it tells how busy the host is, which is no
//! secret that the interrupt hardware keeps. And nothing that is the host's to choose: not where a table lies, not which
//! LPI is a doorbell's. What is left is everything that its guest reads, writes, executes and is signalled while it runs,
//! every state change of the VM's interrupts, what the IRS offers and forwards to its VPEs, their residency, that a doorbell
//! rang, which of its memory the IRS has taken and in which sizes, and what became of each command that names the VM.
//!
//! With [`Effects::Random`](crate::words::config::Effects::Random) the luck of a VM is its own: each VM, and the host on each PE, draws
//! its moments from a stream of its own, so what one does shifts nobody else's. Two things that software may share still join
//! VMs. A GSB completes everything that its PE has begun, for whomever; so a host that lets a VM's effect wait over the end of its
//! run leaves it to the next VM there. And an effect that nobody waits for comes with time
//! ([`effect_latency`](crate::words::config::MachineConfig::effect_latency)), which passes as the host polls: a script in which
//! guests look before they wait sets it to `u64::MAX`.
//!
//! ```
//! use gicv5_arch::VmId;
//! use gicv5_model::event::{Change, Event, Space};
//! use gicv5_model::isolation::{self, Difference};
//!
//! // VM 2 sees something that depends on what VM 1 does.
//! let run = |seed: u64| -> Result<Vec<_>, std::convert::Infallible> {
//!     let interrupt = gicv5_arch::IntId::Lpi(gicv5_arch::Lpi::new(7).expect("a number"));
//!     let change = Change::Pending(seed != 3);
//!     Ok(vec![Event::Interrupt { space: Space::Vm(VmId::new(2)), pe: None, interrupt, change }])
//! };
//! assert_eq!(isolation::check(VmId::new(1), 0..3, run), Ok(None));
//! let Ok(Some(Difference { seed: 3, vm, position: 0, .. })) = isolation::check(VmId::new(1), 0..9, run) else { panic!() };
//! assert_eq!(vm, VmId::new(2));
//! ```

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use gicv5_arch::irs::{
    IRS_SAVE_VMR, IRS_SPI_VMR, IRS_VMAP_L2_VISTR, IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VPE_DBR,
    IRS_VPE_SELR, IrsReg,
};
use gicv5_arch::{Lpi, PhysAddr, VmId};
use gicv5_hal::IrsIndex;

use crate::words::cpu::Level;
use crate::words::event::{Event, Signal, Space};
use crate::words::ids::PeIndex;

/// Where what a VM sees depends on what another VM does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The first seed with which it was different than with the first seed of all.
    pub seed: u64,
    /// The VM that can tell.
    pub vm: VmId,
    /// How many things it had seen before.
    pub position: usize,
    /// What it sees with the first seed of all; `None` for nothing more.
    pub expected: Option<Event>,
    /// What it sees with this seed; `None` for nothing more.
    pub found: Option<Event>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { seed, vm, position, expected, found } = self;
        let show = |event: &Option<Event>| event.as_ref().map_or("nothing more".into(), |event| event.to_string());
        write!(f, "with seed {seed}, {vm} sees as number {position} {} instead of {}", show(found), show(expected))
    }
}

impl std::error::Error for Difference {}

/// Runs with each seed. `run` returns the events of a machine; it does everything the same each time except for what the VM
/// `varied` does, which it makes from the seed. Returns the first difference that any other VM sees between a run and the
/// first one.
///
/// # Errors
///
/// The first error of `run`.
pub fn check<E>(
    varied: VmId,
    seeds: impl IntoIterator<Item = u64>,
    mut run: impl FnMut(u64) -> Result<Vec<Event>, E>,
) -> Result<Option<Difference>, E> {
    let mut seeds = seeds.into_iter();
    let Some(first) = seeds.next() else { return Ok(None) };
    let reference = views(&run(first)?);
    for seed in seeds {
        let found = views(&run(seed)?);
        let mut vms: Vec<VmId> = reference.keys().chain(found.keys()).copied().filter(|vm| *vm != varied).collect();
        vms.sort_unstable();
        vms.dedup();
        for vm in vms {
            let of = |views: &BTreeMap<VmId, Vec<Event>>, n| views.get(&vm).and_then(|view| view.get(n)).cloned();
            let longest = [&reference, &found].map(|views| views.get(&vm).map_or(0, Vec::len)).into_iter().max();
            for position in 0..longest.unwrap_or(0) {
                let (expected, found) = (of(&reference, position), of(&found, position));
                if expected != found {
                    return Ok(Some(Difference { seed, vm, position, expected, found }));
                }
            }
        }
    }
    Ok(None)
}

/// What one VM sees of these events.
#[must_use]
pub fn view(vm: VmId, events: &[Event]) -> Vec<Event> {
    views(events).remove(&vm).unwrap_or_default()
}

/// What each VM sees.
fn views(events: &[Event]) -> BTreeMap<VmId, Vec<Event>> {
    let mut views: BTreeMap<VmId, Vec<Event>> = BTreeMap::new();
    let mut now = Now::default();
    for event in events {
        now.follow(event);
        if let Some((vm, seen)) = now.seen(event) {
            views.entry(vm).or_default().push(seen);
        }
    }
    views
}

/// What has to be known of earlier events to tell whom an event concerns.
#[derive(Default)]
struct Now {
    /// Whose VPE an IRS has selected.
    selected: BTreeMap<IrsIndex, VmId>,
    /// Whose VPE is resident on a PE.
    resident: BTreeMap<PeIndex, VmId>,
    /// The PEs on which a guest executes.
    in_guest: BTreeSet<PeIndex>,
}

impl Now {
    fn follow(&mut self, event: &Event) {
        match *event {
            Event::CommandDone { irs, register: IrsReg::IRS_VPE_SELR, value, .. } => {
                self.selected.insert(irs, IRS_VPE_SELR::new_with_raw_value(value).vm_id());
            }
            Event::Residency { pe, vm, resident: true, .. } => {
                self.resident.insert(pe, vm);
            }
            Event::Residency { pe, resident: false, .. } => {
                self.resident.remove(&pe);
            }
            Event::Level { pe, level: Level::Guest } => {
                self.in_guest.insert(pe);
            }
            Event::Level { pe, level: Level::Host | Level::Kernel } => {
                self.in_guest.remove(&pe);
            }
            _ => {}
        }
    }

    /// Whose guest executes on a PE.
    fn guest_on(&self, pe: PeIndex) -> Option<VmId> {
        self.in_guest.contains(&pe).then(|| self.resident.get(&pe).copied()).flatten()
    }

    /// Whom an event concerns, and the event without what the host chooses.
    fn seen(&self, event: &Event) -> Option<(VmId, Event)> {
        let nowhere = PhysAddr::new(0).ok()?;
        let no_lpi = Lpi::new(0).ok()?;
        Some(match *event {
            Event::Interrupt { space: Space::Vm(vm), .. }
            | Event::Candidate { space: Space::Vm(vm), .. }
            | Event::Residency { vm, .. }
            | Event::ResidencyFailed { vm, .. }
            | Event::Forwarded { vm, .. }
            | Event::VirtualAcknowledge { vm, .. }
            | Event::VirtualDrop { vm, .. }
            | Event::VirtualDeactivate { vm, .. } => (vm, event.clone()),
            Event::SysRegRead { pe, .. }
            | Event::SysRegWrite { pe, .. }
            | Event::Instruction { pe, .. }
            | Event::VirtualPpi { pe, .. }
            | Event::Signal { pe, signal: Signal::VirtualIrq | Signal::VirtualNmi, .. } => {
                (self.guest_on(pe)?, event.clone())
            }
            Event::Doorbell { vm, vpe, .. } => (vm, Event::Doorbell { vm, vpe, lpi: no_lpi }),
            Event::Owned { size, owner, .. } => (owner.vm?, Event::Owned { address: nowhere, size, owner }),
            Event::Fillable { size, owner, .. } => (owner.vm?, Event::Fillable { address: nowhere, size, owner }),
            Event::CommandDone { irs, register, value, outcome } => {
                let vm = match register {
                    IrsReg::IRS_VMAP_VMR => IRS_VMAP_VMR::new_with_raw_value(value).vm_id(),
                    IrsReg::IRS_VMAP_VPER => IRS_VMAP_VPER::new_with_raw_value(value).vm_id(),
                    IrsReg::IRS_VMAP_VISTR => IRS_VMAP_VISTR::new_with_raw_value(value).vm_id(),
                    IrsReg::IRS_VMAP_L2_VISTR => IRS_VMAP_L2_VISTR::new_with_raw_value(value).vm_id(),
                    IrsReg::IRS_SAVE_VMR => IRS_SAVE_VMR::new_with_raw_value(value).vm_id(),
                    IrsReg::IRS_SPI_VMR => IRS_SPI_VMR::new_with_raw_value(value).vm_id(),
                    IrsReg::IRS_VPE_SELR | IrsReg::IRS_VPE_DBR | IrsReg::IRS_VPE_CR0 => *self.selected.get(&irs)?,
                    _ => return None,
                };
                let value = match register {
                    IrsReg::IRS_VPE_DBR => IRS_VPE_DBR::new_with_raw_value(value).with_intid(no_lpi).raw_value(),
                    _ => value,
                };
                (vm, Event::CommandDone { irs, register, value, outcome })
            }
            _ => return None,
        })
    }
}
