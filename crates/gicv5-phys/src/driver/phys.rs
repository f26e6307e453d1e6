//! The driver: what it is made of, and what it holds.

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64};

use gicv5_arch::{Priority, Spi};
use gicv5_hal::{IrsIndex, Lock, Platform};

use crate::config::{Config, El2, IstProgramming, LiveTables};
use crate::lpi::gate::Gates;
use crate::lpi::ist::Ist;
use crate::machine::{Found, IrsUnit, Machine};
use crate::pe::record::PeRecord;
use crate::probe::{self, ProbeError};
use gicv5_irs::command::Command;
use gicv5_irs::domain::{BlockOf, Domain, MutexOf};
use gicv5_irs::heap::{Heap, OutOfMemory, boxed_slice};
use gicv5_irs::ids::Ids;
use gicv5_irs::lease::{Part, Structure};
use gicv5_irs::turn::Turn;

/// What the driver has done to the IRSs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing, or it has all been undone.
    Down,
    /// Something: a bring-up or a tear-down is under way, or could not be finished. What the IRSs may still touch is held.
    Partial,
    /// Everything.
    Up,
}

/// What one lock protects.
pub(crate) struct Core<B> {
    pub(crate) phase: Phase,
    pub(crate) ist: Part<Ist<B>>,
    pub(crate) ids: Ids,
    /// LPIs that somebody outside the driver has.
    pub(crate) lent: u32,
    /// LPIs that are IPIs.
    pub(crate) ipis: u32,
    pub(crate) pes: Box<[PeRecord]>,
}

/// The physical driver of one interrupt domain.
///
/// It is shared by all PEs; every method takes `&self`. What may be called from where is in the documentation of each
/// method, and in the [crate's](crate).
///
/// Dropping it touches no hardware. If it is not [down](Phase::Down), the IST stays in use by the IRSs and its blocks are
/// dropped, which frees nothing: the memory is lost, because giving it back would be worse. So call
/// [`tear_down`](Self::tear_down) first and look at the result.
pub struct Phys<H: Platform> {
    pub(crate) machine: Machine<H>,
    pub(crate) settings: Settings,
    pub(crate) gates: Gates,
    pub(crate) core: MutexOf<H, Core<BlockOf<H>>>,
    /// One word for each kind of IPI of each PE: the LPI, and [`IPI_UP`](crate::ipi::word::IPI_UP) while the PE takes IPIs.
    pub(crate) ipis: Box<[AtomicU32]>,
    pub(crate) strays: AtomicU64,
    /// Bring-up and tear-down, of the domain or of a PE, happen one at a time.
    pub(crate) turn: Turn,
}

/// The part of the configuration that is looked at later.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) ipi_kinds: u8,
    pub(crate) priority: Priority,
    pub(crate) ipi_priority: Priority,
    pub(crate) priority_mask: Priority,
    pub(crate) live_tables: LiveTables,
    pub(crate) ist_programming: IstProgramming,
    pub(crate) el2: El2,
}

/// What the driver holds of the host's, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// How far up it is.
    pub phase: Phase,
    /// Bytes of table memory that an IRS may touch. If the phase is not [`Phase::Up`], they are in quarantine.
    pub table_bytes: u64,
    /// LPIs that somebody outside the driver has.
    pub lpis: u32,
    /// A command that timed out and is still under way, the first if there are several.
    pub unknown: Option<(IrsIndex, Command)>,
}

impl<H: Platform> Phys<H> {
    /// Looks at the hardware, and makes the driver's own records. Reads ID registers of the IRSs and of the current PE;
    /// writes nothing.
    ///
    /// Never waits; allocates. To be called where the host may allocate.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] for hardware that cannot be, for an IST that it cannot have, and if there is no memory. `host` is
    /// dropped then.
    pub fn new(host: H, config: &Config<'_>) -> Result<Phys<H>, ProbeError> {
        let found = probe::probe(&host, config)?;
        Phys::with(host, found, config).map_err(|OutOfMemory| ProbeError::NoMemory)
    }

    fn with(host: H, found: Found<H>, config: &Config<'_>) -> Result<Phys<H>, OutOfMemory> {
        let heap: Heap<'_> = &|bytes| host.may_allocate(bytes);
        let pes = boxed_slice(heap, found.pes as usize, PeRecord::default)?;
        let ipis = boxed_slice(heap, pes.len() * usize::from(config.ipi_kinds), AtomicU32::default)?;
        let ids = Ids::new(heap, found.lpis)?;
        let gates = Gates::new(heap, found.lpis)?;
        let keep = |priority: Priority| priority.keep_high_bits(found.priority_bits);
        let settings = Settings {
            ipi_kinds: config.ipi_kinds,
            priority: keep(config.priority),
            ipi_priority: keep(config.ipi_priority),
            priority_mask: config.priority_mask,
            live_tables: config.live_tables,
            ist_programming: config.ist_programming,
            el2: config.el2,
        };
        let core = Lock::new(Core { phase: Phase::Down, ist: Part::Absent, ids, lent: 0, ipis: 0, pes });
        let irss = found.irss.len() as u32;
        // The most waits of one time-out each that coming up, and going down again, or a PE coming up, may take.
        let waits = 16 * irss + 2 * u32::from(config.ipi_kinds) + 2;
        let patience = config.timeout.saturating_mul(waits);
        let domain = Domain::new(host, irss, config.timeout, found.highest, found.publish_for);
        let machine = Machine { domain, found, patience };
        Ok(Phys { machine, settings, gates, core, ipis, strays: AtomicU64::new(0), turn: Turn::default() })
    }

    /// How far up the driver is. Never waits.
    pub fn phase(&self) -> Phase {
        self.core.with(|core| core.phase)
    }

    /// What the driver holds. Never waits; takes a lock, so not from an interrupt handler.
    pub fn holdings(&self) -> Holdings {
        let Machine { domain, found, .. } = &self.machine;
        let unknown = found.irss.iter().find_map(|irs| Some((irs.index, domain.any_unknown(&irs.ports)?)));
        self.core.with(|core| Holdings {
            phase: core.phase,
            table_bytes: core.ist.content().map_or(0, Structure::bytes),
            lpis: core.lent,
            unknown,
        })
    }

    /// The number of priority bits that count in this domain, 1 to 5: the smaller of what the IRSs and the CPU interface
    /// have (GEN-12). Lower bits of a priority are lost (PRI-2).
    pub fn priority_bits(&self) -> u32 {
        self.machine.found.priority_bits
    }

    /// The IRS that owns an SPI (SPI-1).
    pub(crate) fn irs_of(&self, spi: Spi) -> Option<&IrsUnit<H>> {
        self.machine.found.irss.iter().find(|irs| irs.spis.contains(&spi.id()))
    }
}

impl<H: Platform> fmt::Debug for Phys<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phys").field("holdings", &self.holdings()).finish_non_exhaustive()
    }
}
