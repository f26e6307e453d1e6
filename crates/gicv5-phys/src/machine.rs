//! What stays the same from probe to the end.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use gicv5_arch::PhysAddr;
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::IRS_CR1;
use gicv5_hal::{IrsIndex, Platform};
use gicv5_irs::command::{Command, CommandError};
use gicv5_irs::command_port::{Port, PortKind, Ports};
use gicv5_irs::domain::Domain;
use gicv5_irs::turn::{MyTurn, Turn};

/// One IRS of the domain.
pub(crate) struct IrsUnit<H: Platform> {
    pub(crate) index: IrsIndex,
    pub(crate) ports: Ports<H::Locks>,
    /// The SPIs it owns.
    pub(crate) spis: Range<u32>,
    /// Whether it has a VM table.
    pub(crate) virt: bool,
    /// Whether it has 1-of-N routing.
    pub(crate) one_n: bool,
    pub(crate) iaffid_bits: u32,
    pub(crate) attributes: IRS_CR1,
}

/// What the domain as a whole can do, and what was chosen from it.
pub(crate) struct Found<H: Platform> {
    pub(crate) irss: Vec<IrsUnit<H>>,
    /// The IST; `None` if no LPIs are wanted.
    pub(crate) ist: Option<IstGeometry>,
    /// The LPIs to hand out, IPIs included.
    pub(crate) lpis: u32,
    /// How many of them are IPIs once every PE has come up.
    pub(crate) ipis: u32,
    pub(crate) priority_bits: u32,
    pub(crate) pes: u32,
    /// The last address that all IRSs can reach.
    pub(crate) highest: PhysAddr,
    /// The IRS to publish table memory for: one that does not see the caches, if there is one.
    pub(crate) publish_for: IrsIndex,
}

/// The domain, and what the probe found.
pub(crate) struct Machine<H: Platform> {
    pub(crate) domain: Domain<H>,
    pub(crate) found: Found<H>,
    /// How long an owner of the driver's turn may keep it.
    pub(crate) patience: Duration,
}

impl<H: Platform> Machine<H> {
    /// Takes a port of an IRS and waits until nothing is under way on it.
    pub(crate) async fn port<'a>(
        &'a self,
        irs: &'a IrsUnit<H>,
        kind: PortKind,
        command: Command,
    ) -> Result<Port<'a, H>, CommandError> {
        self.domain.port(&irs.ports, kind, irs.index, command).await
    }

    /// Waits for the turn.
    pub(crate) async fn my_turn<'a>(&self, turn: &'a Turn) -> Option<MyTurn<'a>> {
        turn.take(self.domain.platform.wait(), self.patience).await.ok()
    }
}
