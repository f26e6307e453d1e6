//! A host for software that needs one: the physical side up, a supply of LPIs, and somebody who takes the interrupts.
//!
//! # Theory of operation
//!
//! A hypervisor's library expects a host that has made a physical IST valid, has switched IRSs and CPU interfaces on, and
//! hands out LPIs (LPI-3, DB-14). [`ModelHost`] is the smallest such host over a [`Machine`]. It is no driver and nothing to
//! learn from: it has the machine to itself, does not share LPIs with an ITS, and knows its books by heart. A real driver does
//! the same over the same traits, and software that is tested on both has been tested on neither's peculiarities.
//!
//! What it does on a PE, it does with that PE's instructions, so that what takes time takes time: an LPI is enabled some
//! ticks after [`enable`](gicv5_hal::HostLpis::enable) (SYN-4). Which PE a thread is on, [`on_pe`](ModelHost::on_pe) says.
//!
//! The books about its LPIs are those of [`ModelLpis`], which a driver with instructions of its own can have without this host.
//! Released numbers are handed out again at once, the lowest first, so that whoever remembers one too long meets its next owner.

mod lpi_supply;
mod std_locks;

use std::ops::Range;

use gicv5_arch::geometry::{GeometryError, IstGeometry, IstLimits};
use gicv5_arch::irs::{IRS_CR0, IRS_CR1, IRS_IDR0, IRS_IDR2, IRS_IST_BASER, IRS_VMT_BASER, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{ICC_CR0_EL1, SysReg};
use gicv5_arch::values::{Cacheability, Shareability};
use gicv5_arch::{AddressError, IntId};
use gicv5_hal::{
    AllocError, Block, BlockLayout, BlockLayoutError, Coherency, Cookie, CurrentPe, IrsExt, IrsIndex, Pe, Platform,
    TableMemory,
};

use crate::handles::here::here;
use crate::handles::machine::Machine;
use crate::handles::pe::ModelPe;
pub use crate::instruments::lpis::{LpiRecord, ModelLpi, ModelLpis};
use crate::words::fault::Request;
use crate::words::ids::PeIndex;
pub use std_locks::{StdLocks, StdMutex};

/// A host could not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The hardware has no LPIs, or not so many.
    #[error("LPIs up to {last} do not fit an IST of this hardware: IRS_IDR2 reads {idr2:#x}")]
    Lpis {
        /// The highest LPI that was asked for.
        last: u32,
        /// IRS_IDR2.
        idr2: u32,
    },
    /// IRS_IDR2 describes tables that cannot be.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The IST cannot be where the machine's memory is.
    #[error(transparent)]
    Layout(#[from] BlockLayoutError),
    /// The IST is where the IRS cannot reach it.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is no memory for the IST.
    #[error(transparent)]
    Memory(#[from] AllocError),
    /// A command did not complete.
    #[error("{irs}: {register} did not complete: its status register reads {status:#x}")]
    Stuck {
        /// The IRS.
        irs: IrsIndex,
        /// The register that was written.
        register: IrsReg,
        /// What its status register reads.
        status: u64,
    },
}

/// An interrupt that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub interrupt: IntId,
    /// For an LPI that was handed out here, what its owner wants to be told.
    pub cookie: Option<Cookie>,
}

/// The IRS to which the host gives commands.
const FIRST: IrsIndex = IrsIndex(0);

/// A host over a machine. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct ModelHost {
    machine: Machine,
}

impl ModelHost {
    /// Brings the physical side up: a linear IST for LPIs below the end of `lpis`, all IRSs and all CPU interfaces switched
    /// on with no mask. From then on hands out the LPIs of that range.
    ///
    /// The IST is there for good: take a [snapshot](Machine::snapshot) after this and not before.
    ///
    /// # Errors
    ///
    /// [`HostError`]: the hardware has not so many LPIs, there is no memory, or a command does not complete.
    pub fn start(machine: &Machine, lpis: Range<u32>) -> Result<ModelHost, HostError> {
        let idr2: IRS_IDR2 = machine.read(FIRST);
        let limits = IstLimits::from_idr2(idr2)?;
        let last = lpis.end.saturating_sub(1);
        let id_bits = (u32::BITS - last.leading_zeros()).max(limits.min_lpi_id_bits());
        if !limits.has_physical_lpis() || id_bits > limits.id_bits() {
            return Err(HostError::Lpis { last, idr2: idr2.raw_value() });
        }
        let host = ModelHost::on(machine);
        host.make_ist(IstGeometry::linear(id_bits, limits.entry_size(id_bits))?)?;
        host.switch_on()?;
        let _ = ModelLpis::start(machine, lpis);
        Ok(host)
    }

    /// A host on a machine as it is, which has no LPIs to hand out.
    #[must_use]
    pub fn on(machine: &Machine) -> ModelHost {
        ModelHost { machine: machine.clone() }
    }

    /// Makes a physical IST of this shape valid, empty (LPI-1).
    ///
    /// # Errors
    ///
    /// [`HostError`]: there is no memory, or the command does not complete.
    pub fn make_ist(&self, ist: IstGeometry) -> Result<(), HostError> {
        let highest = self.machine.read::<IRS_IDR0>(FIRST).pa_range().map_or(56, |range| range.bits());
        let layout = BlockLayout::for_footprint(ist.base(), gicv5_arch::PhysAddr::highest(highest))?;
        let block = self.machine.allocate(layout)?;
        self.set_attributes();
        self.machine.write(FIRST, ist.cfgr());
        self.command(IRS_IST_BASER::ZERO.with_addr(ist.base().place(block.address())?).with_valid(true))?;
        Ok(())
    }

    /// Makes every IRS access tables as the PEs do, if no table is valid yet (COH-11, GEN-20).
    pub(crate) fn set_attributes(&self) {
        if self.machine.read::<IRS_IST_BASER>(FIRST).valid() || self.machine.read::<IRS_VMT_BASER>(FIRST).valid() {
            return;
        }
        for irs in (0..self.machine.irs_count()).map(IrsIndex) {
            let attributes = match self.machine.coherency(irs) {
                Coherency::Coherent => IRS_CR1::ZERO
                    .with_ic(Cacheability::WriteBack)
                    .with_oc(Cacheability::WriteBack)
                    .with_sh(Shareability::Inner),
                Coherency::NonCoherent => IRS_CR1::ZERO.with_sh(Shareability::Outer),
            };
            self.machine.write(irs, attributes);
        }
    }

    /// Switches all IRSs and all CPU interfaces on, with no mask.
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`]: a command does not complete.
    pub fn switch_on(&self) -> Result<(), HostError> {
        for irs in 0..self.machine.irs_count() {
            command(&self.machine, IrsIndex(irs), IRS_CR0::ZERO.with_irsen(true))?;
        }
        for cpu in (0..self.machine.pe_count()).filter_map(|pe| self.machine.pe(PeIndex(pe))) {
            let pe = Pe::new(&cpu);
            pe.write(ICC_CR0_EL1::ZERO.with_en(true));
            pe.write_raw(SysReg::ICC_PCR_EL1, 31);
            pe.isb();
        }
        Ok(())
    }

    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The books about its LPIs.
    #[must_use]
    pub fn lpis(&self) -> ModelLpis {
        ModelLpis::of(&self.machine)
    }

    /// Writes a register of the first IRS and waits until the write has finished. Returns what the status register reads
    /// then. It is for tests that make tables by hand.
    ///
    /// # Errors
    ///
    /// [`HostError::Stuck`] if it does not finish in 100 000 polls.
    pub fn command<R: Register<Reg = IrsReg>>(&self, value: R) -> Result<u64, HostError> {
        command(&self.machine, FIRST, value)
    }

    /// Runs `f` on a PE ([`Machine::on_pe`]): what the host does meanwhile on this thread, it does there.
    pub fn on_pe<R>(&self, pe: PeIndex, f: impl FnOnce(&Pe<'_, ModelPe>) -> R) -> Option<R> {
        self.machine.on_pe(pe, |cpu| f(&Pe::new(cpu)))
    }

    /// Takes what is pending for a PE, the most urgent first: acknowledges, calls `handler`, drops and deactivates, until
    /// nothing more is pending. Returns how many there were.
    pub fn take_interrupts(&self, pe: PeIndex, mut handler: impl FnMut(Taken)) -> usize {
        let mut taken = 0;
        while let Some(interrupt) = self.take_one(pe, &mut handler) {
            // A level that nobody lowers would be taken for ever.
            taken += 1;
            if matches!(interrupt, IntId::Spi(_) | IntId::Ppi(_)) && taken >= 1_000 {
                break;
            }
        }
        taken
    }

    fn take_one(&self, pe: PeIndex, handler: &mut impl FnMut(Taken)) -> Option<IntId> {
        self.on_pe(pe, |pe| {
            let interrupt = pe.cdia().int_id().or_else(|| pe.cdnmia().int_id())?;
            pe.gsb_ack();
            pe.isb();
            let record = self.enter(interrupt);
            handler(Taken { interrupt, cookie: record.map(|record| record.cookie) });
            pe.cdeoi();
            pe.cddi(interrupt);
            pe.gsb_sys();
            if let Some(record) = record {
                self.leave(interrupt, record);
            }
            Some(interrupt)
        })
        .flatten()
    }

    /// A handler starts.
    fn enter(&self, interrupt: IntId) -> Option<LpiRecord> {
        let IntId::Lpi(lpi) = interrupt else { return None };
        self.lpis().enter(lpi)
    }

    /// A handler ends.
    fn leave(&self, interrupt: IntId, entered: LpiRecord) {
        if let IntId::Lpi(lpi) = interrupt {
            self.lpis().leave(lpi, entered);
        }
    }
}

/// How often a command is polled.
const POLLS: u32 = 100_000;

fn command<R: Register<Reg = IrsReg>>(machine: &Machine, irs: IrsIndex, value: R) -> Result<u64, HostError> {
    machine.write(irs, value);
    let Some(register) = R::REG.status() else { return Ok(0) };
    let mut status = 0;
    for _ in 0..POLLS {
        match machine.is_idle(irs, register) {
            (true, value) => return Ok(value),
            (false, value) => status = value,
        }
        machine.advance(1);
    }
    Err(HostError::Stuck { irs, register: R::REG, status })
}

impl CurrentPe for ModelHost {
    type Ops = ModelPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, ModelPe>) -> R) -> R {
        f(&Pe::new(&ModelPe::at(&self.machine, here())))
    }
}

impl Platform for ModelHost {
    type Irs = Machine;
    type Memory = Machine;
    type CurrentPe = ModelHost;
    type Wait = Machine;
    type Locks = StdLocks;

    fn irs(&self) -> &Machine {
        &self.machine
    }

    fn memory(&self) -> &Machine {
        &self.machine
    }

    fn current_pe(&self) -> &ModelHost {
        self
    }

    fn wait(&self) -> &Machine {
        &self.machine
    }

    /// Yes, unless the [fault plan](crate::fault) says no.
    fn may_allocate(&self, bytes: usize) -> bool {
        self.machine.pass_fault_point(Request::Heap { size: bytes as u64 }).is_none()
    }
}

#[cfg(test)]
mod tests;
