//! What stays the same from the probe to the end, and the way to the IRSs.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU32};

use gicv5_hal::IrsIndex;

use crate::Hypervisor;
use crate::config::LiveTable;
use crate::probe::Limits;
use gicv5_irs::command::{Command, CommandError};
use gicv5_irs::command_port::{Port, PortKind, Ports};
use gicv5_irs::domain::Domain;

/// The hypervisor, the IRSs of its domain, and what the probe found.
pub(crate) struct Machine<H: Hypervisor> {
    /// Hypervisor, time-out, and what else the drivers of a domain need.
    pub(crate) domain: Domain<H>,
    /// The IRS that commands go through.
    pub(crate) irs: IrsIndex,
    /// The other IRSs of the domain.
    pub(crate) others: Box<[IrsIndex]>,
    pub(crate) ports: Ports<H::Locks>,
    /// The VPE that is selected may be valid and have no doorbell yet, because its settings were not finished: a selection that
    /// has no effect would look as if it had one. The owner of the port of VPEs changes it.
    pub(crate) fresh_vpe_selected: AtomicBool,
    /// VMs that are valid, or about to be, some of whose VPEs may have no doorbell yet.
    pub(crate) fresh_vms: AtomicU32,
    pub(crate) limits: Limits,
    pub(crate) contiguous_bytes: u64,
    pub(crate) live_table: LiveTable,
}

impl<H: Hypervisor> Machine<H> {
    /// The IRSs of the domain, the one that commands go through last.
    pub(crate) fn irss(&self) -> impl Iterator<Item = IrsIndex> {
        self.others.iter().copied().chain([self.irs])
    }

    /// Takes a port at the IRS that commands go through.
    pub(crate) fn port(
        &self,
        kind: PortKind,
        command: Command,
    ) -> impl Future<Output = Result<Port<'_, H>, CommandError>> {
        self.domain.port(&self.ports, kind, self.irs, command)
    }
}
