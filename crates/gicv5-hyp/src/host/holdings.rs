//! What the host holds, and what it has counted.

use core::fmt;
use core::time::Duration;

use gicv5_hal::Lock;

use crate::Hypervisor;
use crate::host::books::Phase;
use crate::host::host::Host;
use crate::tables::vm_table::VmTable;
use crate::vm::record::{Parked, Record};
use gicv5_irs::command::Command;
use gicv5_irs::command_port::PortKind;
use gicv5_irs::lease::Structure;

/// What the host holds of the hypervisor's, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// How far up it is.
    pub phase: Phase,
    /// VMs that have a VM ID, those below included.
    pub vms: u32,
    /// VMs whose handle was dropped, to be torn down by [`Host::reap`], those included that one is just tearing down.
    pub orphans: u32,
    /// VMs in quarantine, to be torn down by [`Host::reclaim`].
    pub quarantined: u32,
    /// Bytes of table memory in quarantine: what those VMs hold, and level-2 VM tables of which it is not known whether the
    /// IRS has taken them.
    pub quarantined_bytes: u64,
    /// Bytes of the VM table, with its level-2 tables.
    pub table_bytes: u64,
    /// A command that timed out and is still under way.
    pub unknown: Option<Command>,
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holdings { vms, quarantined_bytes, table_bytes, .. } = self;
        write!(f, "held are {table_bytes} bytes of the VM table, {quarantined_bytes} bytes in quarantine, {vms} VM IDs")
    }
}

/// What the host has counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Commands given to the IRS.
    pub commands: u64,
    /// Commands that timed out.
    pub timed_out: u64,
    /// The longest wait for a command that did not.
    pub longest_wait: Duration,
    /// Doorbells that woke nobody: not asked for, or too late.
    pub spurious_doorbells: u64,
}

impl<H: Hypervisor> Host<H> {
    /// What the host holds. Never waits; takes a lock, so not from an interrupt handler. Takes longer the more VMs have no
    /// handle.
    pub fn holdings(&self) -> Holdings {
        let vmt = self.machine.domain.unknown(&self.machine.ports, PortKind::Vmt);
        let unknown = vmt.or_else(|| self.machine.domain.unknown(&self.machine.ports, PortKind::Vpe));
        // Of interest only where a command may have had an effect that nobody has seen.
        let (table_bytes, of_table) = self.table.part.with(|part| {
            let of_table = vmt.and_then(|_| part.content()).map_or(0, VmTable::unconfirmed_bytes);
            (part.content().map_or(0, Structure::bytes), of_table)
        });
        self.books.with(|books| {
            let is = |why| books.parked.iter().filter(move |record| record.parked == why);
            Holdings {
                phase: books.phase,
                vms: books.ids.in_use(),
                orphans: is(Parked::Orphan).count() as u32 + books.settling.orphans,
                quarantined: is(Parked::Quarantine).count() as u32 + books.settling.quarantined,
                quarantined_bytes: is(Parked::Quarantine).map(Record::bytes).sum::<u64>()
                    + books.settling.bytes
                    + of_table,
                table_bytes,
                unknown,
            }
        })
    }

    /// What the host has counted. Never waits, takes no lock.
    pub fn counters(&self) -> Counters {
        let (commands, timed_out, longest_wait) = self.machine.domain.counts();
        Counters { commands, timed_out, longest_wait, spurious_doorbells: self.doorbells.spurious() }
    }
}

impl<H: Hypervisor> fmt::Debug for Host<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("holdings", &self.holdings()).finish_non_exhaustive()
    }
}
