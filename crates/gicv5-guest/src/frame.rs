//! The two frames of the guest's IRS: every read, every write, the lines, reset.

use core::fmt;

use arbitrary_int::u24;
use gicv5_arch::geometry::GeometryError;
use gicv5_arch::irs::{
    FRAME_BYTES, IRS_CR0, IRS_IST_CFGR, IRS_IST_STATUSR, IRS_MAP_L2_ISTR, IRS_PE_CR0, IRS_PE_STATUSR, IRS_SETLPIR,
    IRS_SPI_CFGR, IRS_SPI_DOMAINR, IRS_SPI_RESAMPLER, IRS_SPI_STATUSR, IRS_SYNC_STATUSR,
};
use gicv5_arch::values::{Domain, TriggerMode};
use gicv5_arch::{IrsIntId, Lpi, Spi, VpeId};

use crate::backend::Backend;
use crate::lpi::{Table, TableJob, Written};
use crate::offer::{Identity, Offer, OfferError};
use crate::register::{Reads, Stored, Width, Writes, find};
use crate::spi::{Delivery, Lines, ROUNDS, TELLS, Tell};
use crate::sync::{AtomicU8, AtomicU32, Ordering};

/// What the caller of [`IrsFrame::write`] owes. The guest's instruction is complete with each of them but
/// [`Again`](Self::Again).
#[must_use = "some writes leave work for the caller"]
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect<E> {
    /// Nothing.
    Done,
    /// Other vCPUs or devices changed the same state until the bound on this call's steps was reached: resume the guest at the
    /// same instruction, or make the same call again.
    Again,
    /// IRS_CR0.IRSEN has changed, and the backend has been told. Every vCPU of the VM that runs must leave its residency and
    /// load again; call [`IrsFrame::reloaded`] once the last has. Until then the guest reads IRS_CR0.IDLE as 0 and further
    /// writes of the register are ignored, so that a guest which toggles it gets one round at a time (GIRS-28, GIRS-74).
    Reload,
    /// The guest wants its LPI table made, mapped further or removed. Run [`IrsFrame::table_job`] here or on a worker; the guest
    /// reads IRS_IST_STATUSR.IDLE as 0 meanwhile (GIRS-60). Linux gives up after about 10 ms (GDRV-9).
    Table,
    /// The guest set IRS_IST_BASER.VALID with a configuration outside what it was offered, for this reason. VALID stays 0 and
    /// no known guest looks: it boots on without LPIs, and hangs (GIRS-57). Worth a message to the VM's owner, or its end.
    Refused(GeometryError),
    /// The backend failed. The guest sees its write as done; what concerned an SPI is asked again by the next call on that SPI
    /// or [`IrsFrame::settle`], and its IRS_SPI_STATUSR.IDLE reads 0 while its mode is not set. IRSEN reads as before.
    Backend(E),
}

/// Why [`IrsFrame::set_line`] did not change a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError<E> {
    /// The VM has no such SPI. Nothing happened.
    #[error("{spi} does not exist, the VM has {spis}")]
    NoSuchSpi {
        /// The SPI asked for.
        spi: Spi,
        /// Number of SPIs of the VM.
        spis: u32,
    },
    /// The line is recorded, but the backend could not tell the hardware. The next call on this SPI, or
    /// [`IrsFrame::settle`], tries again.
    #[error("the hardware was not told the line")]
    Backend(#[source] E),
}

/// A reset found a [`TableJob`] running. Nothing was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the LPI table of the VM is being changed")]
pub struct ResetBusy;

/// The VM's view of its IRS: a configuration frame of 64 KiB and, next to it, the SETLPI frame (GIRS-1).
///
/// One for each VM, shared by its vCPUs' trap handlers and its devices; every method takes `&self`. The crate documentation
/// says which method may be called from where.
pub struct IrsFrame<B: Backend> {
    backend: B,
    identity: Identity,
    /// IRSEN and whether the vCPUs have yet to reload.
    enable: AtomicU8,
    /// By [`Stored`].
    stored: [AtomicU32; Stored::ALL.len()],
    lines: Lines,
    table: Table,
}

/// `enable`: IRS_CR0.IRSEN.
const ENABLED: u8 = 1 << 0;
/// `enable`: vCPUs are reloading, so IRS_CR0.IDLE is 0.
const RELOADING: u8 = 1 << 1;

impl<B: Backend> IrsFrame<B> {
    /// Size of both frames in bytes: what the guest's device tree or ACPI tables reserve, aligned to 64 KiB (VIRS-1).
    pub const BYTES: u64 = 2 * FRAME_BYTES;

    /// The most calls of the backend that one call of a method makes, [`TableJob::run`] and [`settle_all`](Self::settle_all)
    /// aside.
    pub const MAX_BACKEND_CALLS: u32 = ROUNDS * TELLS;

    /// A frame in its reset state: all SPIs edge with their lines low, no LPI table, IRSEN 0 (GIRS-30).
    ///
    /// The VM beneath is in the same state: its IRS disabled, all its interrupts idle, no LPI table. Allocates one byte for each
    /// SPI, rounded up to a power of two; nothing else here allocates.
    ///
    /// # Errors
    ///
    /// [`OfferError`] if the offer exceeds what the backend can do, or the heap.
    pub fn new(backend: B, offer: Offer) -> Result<IrsFrame<B>, OfferError> {
        let identity = Identity::new(offer, &backend.limits())?;
        Ok(IrsFrame {
            backend,
            identity,
            enable: AtomicU8::new(0),
            stored: Stored::ALL.map(|stored| AtomicU32::new(stored.reset())),
            lines: Lines::new(offer.spis).ok_or(OfferError::OutOfMemory { spis: offer.spis })?,
            table: Table::new(identity.ist_limits()),
        })
    }

    /// What lies beneath.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// What the guest sees, as it was given to [`new`](Self::new).
    pub fn offer(&self) -> &Offer {
        self.identity.offer()
    }

    /// A guest's read. `offset` counts from the start of the configuration frame, so that the SETLPI frame begins at 64 KiB.
    ///
    /// Never fails: an access that no register claims reads as zero (GIRS-2). Values are numbers of the CPU, little-endian in
    /// the guest's memory map (GIRS-6); those of 32-bit accesses have their upper half 0.
    pub fn read(&self, offset: u32, width: Width) -> u64 {
        let Some((register, part)) = find(offset, width) else { return 0 };
        let value = match register.reads {
            Reads::Zero => 0,
            Reads::Identification => register.register.map_or(0, |id| self.identity.value(id)).into(),
            Reads::Stored(which) => self.stored(which).into(),
            Reads::Enable => self.enable().raw_value().into(),
            Reads::Idle => IRS_SYNC_STATUSR::ZERO.with_idle(true).raw_value().into(),
            Reads::NonSecure => IRS_SPI_DOMAINR::ZERO.with_domain(Domain::NonSecure).raw_value().into(),
            Reads::SpiMode => {
                let mode = self.lines.mode(self.selected_spi()).map_or(TriggerMode::Edge, |(mode, _)| mode);
                IRS_SPI_CFGR::ZERO.with_tm(mode).raw_value().into()
            }
            Reads::SpiStatus => {
                let status = match self.lines.mode(self.selected_spi()) {
                    Some((_, under_way)) => IRS_SPI_STATUSR::ZERO.with_v(true).with_idle(!under_way),
                    None => IRS_SPI_STATUSR::ZERO.with_idle(true),
                };
                status.raw_value().into()
            }
            Reads::PeStatus => {
                let exists = self.selected_vcpu_exists();
                IRS_PE_STATUSR::ZERO.with_idle(true).with_v(exists).with_online(exists).raw_value().into()
            }
            Reads::PeControl => IRS_PE_CR0::ZERO.with_dps(self.selected_vcpu_exists()).raw_value().into(),
            Reads::TableBase => self.table.baser().raw_value(),
            Reads::TableConfig => self.table.cfgr().raw_value().into(),
            Reads::TableStatus => IRS_IST_STATUSR::ZERO.with_idle(self.table.is_idle()).raw_value().into(),
        };
        part.of(value)
    }

    /// A guest's write; `offset` as for [`read`](Self::read). Bits of `value` above the width are ignored.
    ///
    /// Never fails: a write that no register claims is dropped (GIRS-2). What it leaves to do is in the result.
    pub fn write(&self, pe: &B::Pe<'_>, offset: u32, width: Width, value: u64) -> Effect<B::Error> {
        let Some((register, part)) = find(offset, width) else { return Effect::Done };
        // The registers of 32 bits.
        let word = value as u32;
        match register.writes {
            Writes::Ignored => Effect::Done,
            Writes::Store(which) => {
                if let Some(slot) = self.stored.get(which as usize) {
                    slot.store(word & register.mask() as u32, Ordering::Relaxed);
                }
                Effect::Done
            }
            Writes::Enable => self.write_enable(IRS_CR0::new_with_raw_value(word).irsen()),
            Writes::SpiMode => {
                let mode = IRS_SPI_CFGR::new_with_raw_value(word).tm();
                let spi = self.selected_spi();
                self.spi_effect(self.lines.set_mode(spi, mode, self.teller(pe, spi)))
            }
            Writes::SpiResample => {
                let spi = IRS_SPI_RESAMPLER::new_with_raw_value(word).spi_id();
                self.spi_effect(self.lines.resample(spi, self.teller(pe, spi)))
            }
            Writes::TableBase => self.table_effect(self.table.write_baser(|old| part.merge(old, value))),
            Writes::TableConfig => self.table_effect(self.table.write_cfgr(IRS_IST_CFGR::new_with_raw_value(word))),
            Writes::TableMap => self.table_effect(self.table.write_map(IRS_MAP_L2_ISTR::new_with_raw_value(word).id())),
            Writes::SetLpi => self.set_lpi(pe, IRS_SETLPIR::new_with_raw_value(word).id()),
        }
    }

    /// A device of the VM raises or lowers the line of an SPI.
    ///
    /// Takes no lock and never waits, so from anywhere that has a `pe`: a vCPU's trap, a device's thread, an interrupt handler
    /// that interrupted either. After the last call on an SPI is settled, the hardware has what the mode makes of the line:
    /// for a level SPI Pending is the line, for an edge one each rise has set it (INJ-2).
    ///
    /// # Errors
    ///
    /// [`LineError`].
    pub fn set_line(&self, pe: &B::Pe<'_>, spi: Spi, high: bool) -> Result<Delivery, LineError<B::Error>> {
        self.line_result(spi, self.lines.set_line(spi, high, self.teller(pe, spi)))
    }

    /// Tells the hardware what it has not been told about an SPI: after [`Delivery::Again`] or an error of the backend's.
    ///
    /// # Errors
    ///
    /// [`LineError`].
    pub fn settle(&self, pe: &B::Pe<'_>, spi: Spi) -> Result<Delivery, LineError<B::Error>> {
        self.line_result(spi, self.lines.settle(spi, self.teller(pe, spi)))
    }

    /// [`settle`](Self::settle) for every SPI: for a backend that had refused until a VPE is resident. Takes time in
    /// proportion to the number of SPIs; not for a trap.
    ///
    /// # Errors
    ///
    /// The first error of the backend's.
    pub fn settle_all(&self, pe: &B::Pe<'_>) -> Result<Delivery, LineError<B::Error>> {
        let mut worst = Delivery::Settled;
        for spi in self.lines.iter() {
            match (self.settle(pe, spi)?, worst) {
                (Delivery::Settled, _) | (_, Delivery::Again) => {}
                (delivery, _) => worst = delivery,
            }
        }
        Ok(worst)
    }

    /// All vCPUs have loaded again, as [`Effect::Reload`] demanded.
    pub fn reloaded(&self) {
        self.enable.fetch_and(!RELOADING, Ordering::AcqRel);
    }

    /// The change of the LPI table that the guest waits for; `None` if it waits for none, or another job has it.
    pub fn table_job(&self) -> Option<TableJob<'_, B>> {
        TableJob::claim(&self.table, &self.backend)
    }

    /// Every register as after [`new`](Self::new), for a reset of the VM (GIRS-79). Lines stay as they are: devices drive them,
    /// and are reset on their own.
    ///
    /// Call it with the vCPUs stopped, no other call under way, and the VM beneath reset: its interrupts idle and disabled, its
    /// IRS disabled, its LPI table removed. The backend is not told anything.
    ///
    /// # Errors
    ///
    /// [`ResetBusy`]: the job has to finish, or be dropped, first.
    pub fn reset(&self) -> Result<(), ResetBusy> {
        // No field may be forgotten.
        let IrsFrame { backend: _, identity: _, enable, stored, lines, table } = self;
        if !table.reset() {
            return Err(ResetBusy);
        }
        enable.store(0, Ordering::Release);
        for (slot, which) in stored.iter().zip(Stored::ALL) {
            slot.store(which.reset(), Ordering::Relaxed);
        }
        lines.reset();
        Ok(())
    }

    fn stored(&self, which: Stored) -> u32 {
        self.stored.get(which as usize).map_or(0, |slot| slot.load(Ordering::Relaxed))
    }

    fn enable(&self) -> IRS_CR0 {
        let word = self.enable.load(Ordering::Acquire);
        IRS_CR0::ZERO.with_irsen(word & ENABLED != 0).with_idle(word & RELOADING == 0)
    }

    fn selected_spi(&self) -> Spi {
        // A mask of the register's field, and so of the 24 bits of an ID.
        Spi::new_with_raw_value(u24::new(self.stored(Stored::SpiSelector) & 0xff_ffff))
    }

    fn selected_vcpu_exists(&self) -> bool {
        self.backend.has_vcpu(VpeId::new(self.stored(Stored::PeSelector) as u16))
    }

    fn write_enable(&self, on: bool) -> Effect<B::Error> {
        let (old, new) = if on { (0, ENABLED) } else { (ENABLED, 0) };
        // Fails if it is so already, or if vCPUs are reloading, which a driver waits for (GEN-18).
        if self.enable.compare_exchange(old, new | RELOADING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Effect::Done;
        }
        match self.backend.set_irs_enabled(on) {
            Ok(()) => Effect::Reload,
            Err(error) => {
                self.enable.store(old, Ordering::Release);
                Effect::Backend(error)
            }
        }
    }

    fn set_lpi(&self, pe: &B::Pe<'_>, lpi: Lpi) -> Effect<B::Error> {
        // GIRS-72: bounded by the table that the guest has, not by the one it was offered.
        let exists = self.table.id_bits().is_some_and(|bits| lpi.id() >> bits == 0);
        if !self.offer().set_lpi || !exists {
            return Effect::Done;
        }
        match self.backend.set_pending(pe, IrsIntId::Lpi(lpi), true) {
            Ok(()) => Effect::Done,
            Err(error) => Effect::Backend(error),
        }
    }

    fn teller<'a>(&'a self, pe: &'a B::Pe<'_>, spi: Spi) -> impl Fn(Tell) -> Result<(), B::Error> + 'a {
        move |tell| match tell {
            Tell::Mode(mode) => self.backend.set_spi_mode(pe, spi, mode),
            Tell::Pending(pending) => self.backend.set_pending(pe, IrsIntId::Spi(spi), pending),
        }
    }

    fn spi_effect(&self, result: Option<Result<Delivery, B::Error>>) -> Effect<B::Error> {
        match result {
            // VIRS-9: an SPI that does not exist ignores writes.
            None | Some(Ok(Delivery::Settled | Delivery::Shared)) => Effect::Done,
            Some(Ok(Delivery::Again)) => Effect::Again,
            Some(Err(error)) => Effect::Backend(error),
        }
    }

    fn table_effect(&self, written: Written) -> Effect<B::Error> {
        match written {
            Written::Done => Effect::Done,
            Written::Job => Effect::Table,
            Written::Refused(reason) => Effect::Refused(reason),
            Written::Again => Effect::Again,
        }
    }

    fn line_result(
        &self,
        spi: Spi,
        result: Option<Result<Delivery, B::Error>>,
    ) -> Result<Delivery, LineError<B::Error>> {
        match result {
            None => Err(LineError::NoSuchSpi { spi, spis: self.lines.count() }),
            Some(result) => result.map_err(LineError::Backend),
        }
    }
}

impl<B: Backend> fmt::Debug for IrsFrame<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrsFrame")
            .field("cr0", &self.enable())
            .field("ist_baser", &self.table.baser())
            .field("ist_cfgr", &self.table.cfgr())
            .finish_non_exhaustive()
    }
}
