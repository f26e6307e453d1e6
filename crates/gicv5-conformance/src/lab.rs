//! What a test has in its hands: the machine, and the few steps that tests are made of.
//!
//! Each step ends with the barriers that make its effect certain (SYN-1, SYN-5), so that a test that wants to show what
//! happens without them uses the PE itself. Waits are bounded: [`SOON`] is how long something that must happen may
//! take, [`A_WHILE`] how long the lab looks on that something does not happen.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use gicv5_arch::geometry::{Footprint, IstGeometry};
use gicv5_arch::insn::{AcknowledgeResult, GicInsn, IntIdOperand};
use gicv5_arch::irs::{IRS_CR0, IRS_CR1, IRS_IST_BASER, IRS_SPI_CFGR, IRS_SPI_SELR, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{HPPIR, ICC_CR0_EL1, ICC_ICSR_EL1, SysReg};
use gicv5_arch::values::{Cacheability, HandlingMode, Shareability, TriggerMode};
use gicv5_arch::{Addr55_6, Iaffid, IntId, IrsIntId, Lpi, PhysAddr, PpiBank, Priority, Spi};
use gicv5_hal::{Block, BlockLayout, Coherency, Frame, IrsExt, Pe, PeOps, Platform, TableMemory, Wait};

use crate::bench::{Bench, BenchPe};
use crate::features::{Features, IRS};
use crate::outcome::{Failure, Outcome, Value, expect};
use crate::survey::{IrsState, PeState, pe_registers};
use crate::virt::quiesce_virtual;

/// How long something that must happen may take.
pub const SOON: Duration = Duration::from_millis(200);

/// How long the lab looks on that something does not happen.
pub const A_WHILE: Duration = Duration::from_micros(40);

/// The frame of the IRS that the tests use.
pub const FRAME: Frame = Frame::config(IRS);

/// PEs that the tests use at most.
pub const MAX_PES: usize = 8;

/// Blocks of memory that a test may have.
const MAX_BLOCKS: usize = 32;

/// SPIs that a test may have.
const MAX_SPIS: usize = 12;

type BlockOf<B> = <<B as Platform>::Memory as TableMemory>::Block;

/// A block of table memory that belongs to the test until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    index: usize,
    /// Where it is.
    pub address: PhysAddr,
    /// Its size in bytes.
    pub size: u64,
}

/// What the lab can do with the instructions and registers that are for it, and what they let it confirm.
#[derive(Clone, Copy, Debug, Default)]
struct Ability {
    /// `GIC CDDIS` disables an SPI.
    disables: bool,
    /// `GIC CDPEND` clears Pending of an SPI.
    clears_pending: bool,
    /// IRS_SPI_SELR reads what was written.
    shows_selection: bool,
    /// IRS_CR1 reads what was written.
    keeps_attributes: bool,
}

/// The machine under test.
pub struct Lab<'a, B: Bench> {
    bench: &'a B,
    /// PE 0, which the test runs on.
    pub pe: &'a BenchPe<'a, B>,
    /// What the ID registers say.
    pub features: Features,
    /// What PE 0 was like when the suite was called.
    pub found_pe: PeState,
    /// How the IRS was configured when the suite was called.
    pub found_irs: IrsState,
    iaffids: [Iaffid; MAX_PES],
    blocks: RefCell<[Option<BlockOf<B>>; MAX_BLOCKS]>,
    spis: Cell<[Option<Spi>; MAX_SPIS]>,
    /// What works on this machine of what the lab itself needs.
    ability: Cell<Ability>,
    /// IRS_CR1 has been written since the last test.
    attributes: Cell<bool>,
    /// Where to look for the next SPI that nobody has used: tests go from the last SPI down.
    next_spi: Cell<u32>,
}

impl<'a, B: Bench> Lab<'a, B> {
    /// Looks at a machine. Reads only.
    pub fn new(bench: &'a B, pe: &'a BenchPe<'a, B>) -> Lab<'a, B> {
        let features = Features::read(bench, pe);
        let (base, count) = (features.idr7.spi_base().id(), features.idr6.spi_irs_range().value());
        let mut lab = Lab {
            bench,
            pe,
            features,
            found_pe: PeState::read(pe, features.virt),
            found_irs: IrsState::read_configuration(bench),
            iaffids: [pe.iaffid(); MAX_PES],
            blocks: RefCell::new([const { None }; MAX_BLOCKS]),
            spis: Cell::new([None; MAX_SPIS]),
            ability: Cell::new(Ability::default()),
            attributes: Cell::new(false),
            next_spi: Cell::new(base.saturating_add(count)),
        };
        for n in 1..lab.pes() {
            // A PE that does not answer shows in the first test that uses it.
            if let Ok(raw) = lab.on(n, |pe| pe.iaffid().raw_value().into())
                && let Some(iaffid) = lab.iaffids.get_mut(n)
            {
                *iaffid = Iaffid::new(raw as u16);
            }
        }
        lab
    }

    /// The bench.
    #[must_use]
    pub fn bench(&self) -> &'a B {
        self.bench
    }

    /// The IRSs.
    #[must_use]
    pub fn irs(&self) -> &'a B::Irs {
        self.bench.irs()
    }

    /// How many PEs there are for tests.
    #[must_use]
    pub fn pes(&self) -> usize {
        self.features.pes.min(MAX_PES)
    }

    /// The affinity ID of a PE.
    #[must_use]
    pub fn iaffid(&self, pe: usize) -> Iaffid {
        self.iaffids.get(pe).copied().unwrap_or(self.iaffids[0])
    }

    /// Runs something on a PE, and waits for its answer.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`].
    pub fn on(&self, pe: usize, work: impl Fn(&BenchPe<'_, B>) -> u64 + Sync) -> Result<u64, Failure> {
        if pe == 0 {
            return Ok(work(self.pe));
        }
        let answer = AtomicU64::new(0);
        self.bench.run_on(pe, &|pe| answer.store(work(pe), Ordering::Release))?;
        Ok(answer.load(Ordering::Acquire))
    }

    // --- time ---------------------------------------------------------------------------------------------------

    /// Waits until something holds. False if it does not within [`SOON`].
    pub fn until(&self, holds: impl FnMut() -> bool) -> bool {
        until(self.bench.wait(), SOON, holds)
    }

    /// Lets [`A_WHILE`] pass.
    pub fn linger(&self) {
        until(self.bench.wait(), A_WHILE, || false);
    }

    // --- the IRS ------------------------------------------------------------------------------------------------

    /// Reads a register of the IRS.
    #[must_use]
    pub fn read<R: Register<Reg = IrsReg>>(&self) -> R {
        self.irs().read(IRS)
    }

    /// Reads a register of the IRS by its name.
    #[must_use]
    pub fn read_raw(&self, register: IrsReg) -> u64 {
        self.irs().read_raw(IRS, register)
    }

    /// Writes a register of the IRS, after and before its status register is idle (GEN-16, GEN-18).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn write<R: Register<Reg = IrsReg>>(&self, value: R) -> Outcome {
        self.write_raw(R::REG, value.to_bits())
    }

    /// The same by name.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn write_raw(&self, register: IrsReg, value: u64) -> Outcome {
        self.command(register, value).map(drop)
    }

    /// The same, and returns what the status register, if there is one, read when it became idle. Whatever was written before
    /// has been waited for (GEN-18): every write here is, and a test that writes by itself does so too.
    pub(crate) fn command(&self, register: IrsReg, value: u64) -> Result<Option<u64>, Failure> {
        self.irs().write_raw(IRS, register, value);
        self.status(register)
    }

    /// Waits until the status register of a register is idle.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn idle(&self, register: IrsReg) -> Outcome {
        self.status(register).map(drop)
    }

    fn status(&self, register: IrsReg) -> Result<Option<u64>, Failure> {
        let Some(status) = register.status() else { return Ok(None) };
        let mut value = 0;
        let is_idle = self.until(|| {
            let (idle, read) = self.irs().is_idle(IRS, status);
            value = read;
            idle
        });
        if is_idle {
            return Ok(Some(value));
        }
        Err(Failure::Busy { register: status.register.name(), value })
    }

    /// Writes a register whose status register says whether the selection is valid, and returns that (GEN-17).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn write_selected<R: Register<Reg = IrsReg>>(&self, value: R) -> Result<bool, Failure> {
        let valid = R::REG.status().and_then(|status| status.valid).map_or(0, u64::from);
        Ok(self.command(R::REG, value.to_bits())?.is_some_and(|status| status & valid != 0))
    }

    /// Selects an SPI that there is (SPI-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Busy`].
    pub fn select(&self, spi: Spi) -> Outcome {
        self.expect_selectable(spi, true)
    }

    /// Writes a number of an SPI to the selector, and wants it to name one or none (SPI-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Busy`].
    pub fn expect_selectable(&self, spi: Spi, selectable: bool) -> Outcome {
        let selector = IRS_SPI_SELR::ZERO.with_id(spi);
        expect("IRS_SPI_STATUSR.V", selectable, self.write_selected(selector)?)?;
        // The SPI that was selected before would do as well as far as V goes.
        if self.ability.get().shows_selection {
            expect("IRS_SPI_SELR", selector.raw_value(), self.read::<IRS_SPI_SELR>().raw_value())?;
        }
        Ok(())
    }

    /// Sets the trigger mode of an SPI, which stays selected.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Busy`].
    pub fn trigger(&self, spi: Spi, mode: TriggerMode) -> Outcome {
        let config = IRS_SPI_CFGR::ZERO.with_tm(mode);
        self.select(spi)?;
        expect("IRS_SPI_STATUSR.V", true, self.write_selected(config)?)?;
        expect("IRS_SPI_CFGR", config.raw_value(), self.read::<IRS_SPI_CFGR>().raw_value())
    }

    /// Enables or disables the IRS.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn irs_enable(&self, enable: bool) -> Outcome {
        let cr0 = self.command(IrsReg::IRS_CR0, IRS_CR0::ZERO.with_irsen(enable).to_bits())?;
        expect("IRS_CR0.IRSEN", enable, cr0.is_some_and(|cr0| cr0 & 1 != 0))
    }

    // --- PEs ----------------------------------------------------------------------------------------------------

    /// Enables the IRS and PE 0's CPU interface, with a mask that lets everything through.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`].
    pub fn start(&self) -> Outcome {
        self.irs_enable(true)?;
        self.start_pe(0)
    }

    /// Enables the CPU interface of a PE, with a mask that lets everything through.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`].
    pub fn start_pe(&self, pe: usize) -> Outcome {
        let read = self.on(pe, |pe| {
            pe.write_raw(SysReg::ICC_PCR_EL1, Priority::LEAST_URGENT.number().into());
            pe.write(ICC_CR0_EL1::ZERO.with_en(true));
            pe.isb();
            pe.read_raw(SysReg::ICC_PCR_EL1) << 1 | u64::from(pe.read::<ICC_CR0_EL1>().en())
        })?;
        expect("ICC_CR0_EL1.EN", true, read & 1 != 0)?;
        // Priorities may have fewer bits than the mask (PRI-2).
        let fewest = 31 >> (5 - self.features.priority_bits()) << (5 - self.features.priority_bits());
        expect("ICC_PCR_EL1 lets everything through", true, read >> 1 >= fewest)
    }

    /// Sets the priority mask of PE 0 (PRI-3), as far as its bits go (PRI-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn mask(&self, priority: u32) -> Outcome {
        let bits = self.features.icc_idr0.pri_bits().map_or(5, |bits| bits.count());
        let kept = self.priority(priority).keep_high_bits(bits);
        self.set_sysreg(SysReg::ICC_PCR_EL1, priority.into());
        expect("ICC_PCR_EL1", kept.number().into(), self.sysreg(SysReg::ICC_PCR_EL1))
    }

    /// Reads a register of PE 0.
    #[must_use]
    pub fn sysreg(&self, register: SysReg) -> u64 {
        self.pe.read_raw(register)
    }

    /// Writes a register of PE 0, and synchronises (SYN-5).
    pub fn set_sysreg(&self, register: SysReg, value: u64) {
        self.pe.write_raw(register, value);
        self.pe.isb();
    }

    /// Completes everything PE 0 has started (SYN-1, SYN-2).
    pub fn sync(&self) {
        self.pe.gsb_sys();
        self.pe.isb();
    }

    // --- interrupts ---------------------------------------------------------------------------------------------

    /// An SPI as after reset that no test has used: disabled, idle, priority 0.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
    pub fn spi(&self) -> Result<Spi, Failure> {
        let base = self.features.idr7.spi_base().id();
        let count = self.features.idr6.spi_irs_range().value();
        // Once through all of them: those that have been put back can be had again when the others are used up.
        for _ in 0..count {
            let id = match self.next_spi.get().checked_sub(1).filter(|id| *id >= base) {
                Some(id) => id,
                None => base.saturating_add(count).saturating_sub(1),
            };
            self.next_spi.set(id);
            let Ok(spi) = Spi::new(id) else { continue };
            let config = config(self.pe, spi.into());
            let idle = !config.f() && !config.enabled() && !config.pending() && !config.active();
            if idle && Some(spi) != self.features.wired_spi && !self.spis.get().contains(&Some(spi)) {
                self.will_use(spi)?;
                return Ok(spi);
            }
            // It is passed over if it says so twice: an answer that did not come is no reason.
            let again = crate::lab::config(self.pe, spi.into());
            let is_same = config.f() == again.f() && (config.f() || config == again);
            expect("ICC_ICSR_EL1 says the same twice", true, is_same)?;
        }
        Err(Failure::Exhausted { what: "unused SPI" })
    }

    /// The SPI whose wire the bench drives.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`] if there is none.
    pub fn wire(&self) -> Result<Spi, Failure> {
        let spi = self.features.wired_spi.ok_or(Failure::Exhausted { what: "SPI with a wire" })?;
        self.will_use(spi)?;
        Ok(spi)
    }

    /// Notes an SPI that has to be put back.
    pub(crate) fn will_use(&self, spi: Spi) -> Outcome {
        let mut spis = self.spis.get();
        let place = spis.iter_mut().find(|place| place.is_none_or(|known| known == spi));
        *place.ok_or(Failure::Exhausted { what: "room to note SPIs" })? = Some(spi);
        self.spis.set(spis);
        Ok(())
    }

    /// Asks for the configuration of an LPI or SPI that can be reached (INS-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`] if it cannot.
    pub fn config(&self, id: impl Into<IrsIntId>) -> Result<ICC_ICSR_EL1, Failure> {
        let config = config(self.pe, id.into());
        expect("ICC_ICSR_EL1.F", false, config.f())?;
        Ok(config)
    }

    /// Wants `GIC CDRCFG` to find an interrupt or not (INS-11).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_reachable(&self, id: impl Into<IrsIntId>, reachable: bool) -> Outcome {
        let operand = IntIdOperand::naming(id.into()).raw_value();
        // What was there before says the opposite, so that an answer that does not come is none.
        let answer = ask(self.pe, GicInsn::GIC_CDRCFG, operand, ICC_ICSR_EL1::ZERO.with_f(reachable));
        expect("ICC_ICSR_EL1.F", !reachable, answer.f())
    }

    /// Wants an LPI or SPI to be pending or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_pending(&self, id: impl Into<IrsIntId>, pending: bool) -> Outcome {
        expect("ICC_ICSR_EL1.Pending", pending, self.config(id)?.pending())
    }

    /// Wants an LPI or SPI to be active or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_active(&self, id: impl Into<IrsIntId>, active: bool) -> Outcome {
        expect("ICC_ICSR_EL1.Active", active, self.config(id)?.active())
    }

    /// Gives an LPI or SPI a priority, routes it to PE 0 and enables it, and wants that to have happened and nothing else.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn ready(&self, id: impl Into<IrsIntId>, priority: u32) -> Outcome {
        self.ready_on(0, id, priority)
    }

    /// The same, routed to another PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn ready_on(&self, pe: usize, id: impl Into<IrsIntId>, priority: u32) -> Outcome {
        let (id, priority, target) = (id.into(), self.priority(priority), self.iaffid(pe));
        let before = self.config(id)?;
        self.pe.cdpri(id, priority);
        self.pe.cdaff(id, target);
        self.pe.cden(id);
        // The IRS may have fewer bits of priority (PRI-2).
        let kept = priority.keep_high_bits(self.features.idr1.pri_bits().map_or(5, |bits| bits.count()));
        let expected = before.with_priority(kept).with_iaffid(target).with_enabled(true);
        expect("ICC_ICSR_EL1", expected.raw_value(), self.config(id)?.raw_value())
    }

    /// A priority from its number; 31 for what is none.
    #[must_use]
    pub fn priority(&self, number: u32) -> Priority {
        Priority::new(number).unwrap_or(Priority::LEAST_URGENT)
    }

    /// Makes an LPI or SPI pending, and wants that to have happened.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn pend(&self, id: impl Into<IrsIntId>) -> Outcome {
        let id = id.into();
        let before = self.config(id)?;
        self.pe.cdpend(id, true);
        // What becomes of the handling mode is a matter of the tests about it (INS-9).
        let after = self.config(id)?.with_hm(before.hm());
        expect("ICC_ICSR_EL1", before.with_pending(true).raw_value(), after.raw_value())
    }

    // --- being interrupted --------------------------------------------------------------------------------------

    /// Wants an interrupt to be signalled at a PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn expect_signal(&self, pe: usize) -> Outcome {
        let bench = self.bench;
        let came = self.on(pe, |pe| until(bench.wait(), SOON, || bench.signals(pe).irq).into())?;
        expect("an IRQ is signalled", true, came != 0)
    }

    /// Wants the best interrupt of a PE to be this one, as ICC_HPPIR_EL1 has it, before it is taken. Each pending interrupt finds its
    /// own way to the PE, so that a less urgent one may be there first, and be taken first (HPPI-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn expect_best(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        let id = id.into();
        let bench = self.bench;
        let found = self.on(pe, |pe| {
            let hppi = || pe.read_raw(SysReg::ICC_HPPIR_EL1);
            until(bench.wait(), SOON, || HPPIR::new_with_raw_value(hppi()).int_id() == Some(id));
            hppi()
        })?;
        expect_interrupt("ICC_HPPIR_EL1", Some(id), found)
    }

    /// Wants nothing to be signalled at a PE, and the HPPI register to say so (HPPI-9).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn expect_silence(&self, pe: usize) -> Outcome {
        let bench = self.bench;
        let answer = self.on(pe, |pe| {
            // What has been recalled may take its time to go.
            until(bench.wait(), SOON, || !bench.signals(pe).irq);
            until(bench.wait(), A_WHILE, || false);
            u64::from(bench.signals(pe).irq) << 63 | pe.read_raw(SysReg::ICC_HPPIR_EL1)
        })?;
        expect("an IRQ is signalled", false, answer >> 63 != 0)?;
        expect_interrupt("ICC_HPPIR_EL1", None, answer & !(1 << 63))
    }

    /// Wants an interrupt to be signalled at PE 0, and takes it (SYN-3); it stays active, with its priority.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`] if it is not this one.
    pub fn take(&self, id: impl Into<IntId>) -> Outcome {
        self.take_on(0, id)
    }

    /// The same on another PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn take_on(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        self.expect_signal(pe)?;
        expect_interrupt("GICR CDIA", Some(id.into()), self.on(pe, acknowledge_raw)?)
    }

    /// Wants an acknowledge to find nothing.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn expect_nothing_to_take(&self) -> Outcome {
        expect_interrupt("GICR CDIA", None, acknowledge_raw(self.pe))
    }

    /// Drops the priority and deactivates, and wants both to have happened (INS-4, INS-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`].
    pub fn finish(&self, id: impl Into<IntId>) -> Outcome {
        self.finish_on(0, id)
    }

    /// The same on another PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Stopped`].
    pub fn finish_on(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        let id = id.into();
        let priorities = self.on(pe, |pe| {
            let before = pe.read_raw(SysReg::ICC_APR_EL1);
            drop_and_deactivate(pe, id);
            before << 32 | pe.read_raw(SysReg::ICC_APR_EL1)
        })?;
        expect_drop(priorities)?;
        match id {
            IntId::Ppi(ppi) => {
                let active = self.on(pe, |pe| pe.read_raw(SysReg::icc_ppi_sactiver(ppi.bank())) & ppi.mask())?;
                expect("the PPI is active", false, active != 0)
            }
            IntId::Lpi(lpi) => self.expect_active(lpi, false),
            IntId::Spi(spi) => self.expect_active(spi, false),
        }
    }

    // --- tables -------------------------------------------------------------------------------------------------

    /// A zeroed block of table memory.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`].
    pub fn memory(&self, footprint: Footprint) -> Result<Table, Failure> {
        const NONE: Failure = Failure::Exhausted { what: "table memory" };
        let memory = self.bench.memory();
        let footprint = footprint.for_cache_line(memory.cache_line()).map_err(|_| NONE)?;
        let highest = self.features.idr0.pa_range().map_err(|_| NONE)?.highest();
        let layout = BlockLayout::for_footprint(footprint, highest).map_err(|_| NONE)?;
        let block = memory.allocate(layout).map_err(|_| NONE)?;
        // Whoever ran into an exception in the middle of an access has left the blocks borrowed for good.
        let Ok(mut blocks) = self.blocks.try_borrow_mut() else {
            memory.free(block);
            return Err(NONE);
        };
        match blocks.iter_mut().enumerate().find(|(_, place)| place.is_none()) {
            Some((index, place)) => {
                let table = Table { index, address: block.address(), size: block.size() };
                *place = Some(block);
                Ok(table)
            }
            None => {
                memory.free(block);
                Err(NONE)
            }
        }
    }

    /// The test's table at an address.
    #[must_use]
    pub fn table_at(&self, address: u64) -> Option<Table> {
        let blocks = self.blocks.borrow();
        let mut found = blocks.iter().enumerate().filter_map(|(index, block)| Some((index, block.as_ref()?)));
        found.find(|(_, block)| block.address().raw() == address).map(|(index, block)| Table {
            index,
            address: block.address(),
            size: block.size(),
        })
    }

    /// Stores 64 bits into a table and publishes them (COH-1).
    pub fn store64(&self, table: Table, offset: u64, value: u64) {
        let memory = self.bench.memory();
        if let Some(Some(block)) = self.blocks.borrow().get(table.index) {
            memory.prepare(IRS, block, offset..offset + 8);
            memory.store64(block, offset, value);
            memory.publish(IRS, block, offset..offset + 8);
        }
    }

    /// Stores 32 bits into a table and publishes them (COH-1).
    pub fn store32(&self, table: Table, offset: u64, value: u32) {
        let memory = self.bench.memory();
        if let Some(Some(block)) = self.blocks.borrow().get(table.index) {
            memory.prepare(IRS, block, offset..offset + 4);
            memory.store32(block, offset, value);
            memory.publish(IRS, block, offset..offset + 4);
        }
    }

    /// Loads 64 bits from a table, as the IRS has written them (COH-4).
    #[must_use]
    pub fn load64(&self, table: Table, offset: u64) -> u64 {
        let memory = self.bench.memory();
        match self.blocks.borrow().get(table.index) {
            Some(Some(block)) => {
                memory.acquire(IRS, block, offset..offset + 8);
                memory.load64(block, offset)
            }
            _ => 0,
        }
    }

    /// Loads 32 bits from a table, as the IRS has written them (COH-4).
    #[must_use]
    pub fn load32(&self, table: Table, offset: u64) -> u32 {
        let memory = self.bench.memory();
        match self.blocks.borrow().get(table.index) {
            Some(Some(block)) => {
                memory.acquire(IRS, block, offset..offset + 4);
                memory.load32(block, offset)
            }
            _ => 0,
        }
    }

    /// The smallest linear IST of zeros, valid (LPI-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`], [`Failure::Busy`].
    pub fn linear_ist(&self) -> Result<(IstGeometry, Table), Failure> {
        let ist = self.features.linear_ist().ok_or(Failure::Exhausted { what: "linear IST" })?;
        let table = self.memory(ist.base())?;
        self.adopt(ist, table)?;
        Ok((ist, table))
    }

    /// Makes an IST valid.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`]; [`Failure::Exhausted`] if the memory lies where no IRS reaches.
    pub fn adopt(&self, ist: IstGeometry, table: Table) -> Outcome {
        self.write_attributes()?;
        self.write(ist.cfgr())?;
        expect("IRS_IST_CFGR", ist.cfgr().raw_value(), self.read_raw(IrsReg::IRS_IST_CFGR) as u32)?;
        let address = Addr55_6::new(table.address).map_err(|_| Failure::Exhausted { what: "aligned memory" })?;
        let base = IRS_IST_BASER::ZERO.with_addr(address).with_valid(true);
        self.write(base)?;
        expect("IRS_IST_BASER", base.raw_value(), self.read_raw(IrsReg::IRS_IST_BASER))
    }

    /// The attributes with which the IRS accesses tables as the PEs do.
    fn attributes(&self) -> IRS_CR1 {
        let (cache, share) = match self.bench.memory().coherency(IRS) {
            Coherency::Coherent => (Cacheability::WriteBack, Shareability::Inner),
            Coherency::NonCoherent => (Cacheability::NonCacheable, Shareability::Outer),
        };
        let allocate = cache == Cacheability::WriteBack;
        let attributes = IRS_CR1::ZERO.with_ic(cache).with_oc(cache).with_sh(share);
        let attributes = attributes.with_ist_ra(allocate).with_ist_wa(allocate);
        if !self.features.virt {
            return attributes;
        }
        let attributes = attributes.with_vmt_ra(allocate).with_vmt_wa(allocate).with_vpet_ra(allocate);
        let attributes = attributes.with_vpet_wa(allocate).with_vmd_ra(allocate).with_vmd_wa(allocate);
        attributes.with_vped_ra(allocate).with_vped_wa(allocate)
    }

    /// Makes the IRS access tables as the PEs do (GEN-20).
    pub(crate) fn write_attributes(&self) -> Outcome {
        // The attributes count only if no structure is valid when they are written (GEN-20): the second to come finds them.
        if self.features.virt && self.attributes.replace(true) {
            return Ok(());
        }
        let attributes = self.attributes();
        self.write(attributes)?;
        if self.ability.get().keeps_attributes {
            expect("IRS_CR1", attributes.raw_value(), self.read::<IRS_CR1>().raw_value())?;
        }
        Ok(())
    }

    /// Makes the IST invalid, which writes it back.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`], [`Failure::Busy`].
    pub fn withdraw(&self) -> Outcome {
        self.write(IRS_IST_BASER::ZERO)?;
        expect("IRS_IST_BASER.VALID", false, self.read::<IRS_IST_BASER>().valid())
    }

    /// An LPI.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`] if the number is none.
    pub fn lpi(&self, id: u32) -> Result<Lpi, Failure> {
        Lpi::new(id).map_err(|_| Failure::Exhausted { what: "LPI of that number" })
    }

    // --- putting everything back --------------------------------------------------------------------------------

    /// Puts the machine into the state that every test starts from: nothing enabled, nothing pending, nothing active,
    /// no IST. What cannot be put back by the instructions that are for it is put back by taking it.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`], [`Failure::Stopped`].
    pub fn put_back(&self) -> Outcome {
        if self.features.wired_spi.is_some() {
            self.bench.drive_spi(false);
        }
        for n in 0..self.pes() {
            let (bench, virt) = (self.bench, self.features.virt);
            self.on(n, |pe| {
                if bench.has_timers() {
                    bench.drive_timer(pe, gicv5_arch::Ppi::CNTV, false);
                    bench.drive_timer(pe, gicv5_arch::Ppi::CNTP, false);
                }
                if bench.has_nmi() {
                    bench.set_nmi(pe, false);
                    bench.set_guest_nmi(pe, false);
                }
                quiesce(pe);
                if virt {
                    quiesce_virtual(pe);
                }
                0
            })?;
        }
        if self.features.virt {
            // Everything behind the VM table becomes invalid with it (VMT-6).
            self.withdraw_vm_table()?;
        }
        // Without an IST no LPI stands in the way of what follows.
        self.withdraw()?;
        for spi in self.spis.take().into_iter().flatten() {
            self.put_back_spi(spi)?;
        }
        self.irs_enable(false)?;
        self.attributes.set(false);
        if let Some(cr1) = self.found_irs.get(IrsReg::IRS_CR1) {
            self.write_raw(IrsReg::IRS_CR1, cr1)?;
        }
        if let Some(cfgr) = self.found_irs.get(IrsReg::IRS_IST_CFGR) {
            self.write_raw(IrsReg::IRS_IST_CFGR, cfgr)?;
        }
        if let Some(cfgr) = self.found_irs.get(IrsReg::IRS_VMT_CFGR).filter(|_| self.features.virt) {
            self.write_raw(IrsReg::IRS_VMT_CFGR, cfgr)?;
        }
        // No IST and no VM table is valid any more, so no IRS knows any of this memory (LPI-1, VMT-7).
        let blocks = self.blocks.try_borrow_mut();
        for place in blocks.map_err(|_| Failure::Exhausted { what: "table memory" })?.iter_mut() {
            if let Some(block) = place.take() {
                self.bench.memory().free(block);
            }
        }
        Ok(())
    }

    fn put_back_spi(&self, spi: Spi) -> Outcome {
        let id = IrsIntId::Spi(spi);
        if self.features.virt {
            self.assign(spi, None)?;
        }
        self.trigger(spi, TriggerMode::Edge)?;
        self.pe.cdhm(id, HandlingMode::Edge);
        self.pe.cdpend(id, false);
        self.pe.cddi(spi.into());
        self.pe.cdpri(id, Priority::MOST_URGENT);
        self.sync();
        // Whoever ignores the clearing of Pending leaves one way to get rid of it. Another SPI that is as urgent may come first.
        for _ in 0..MAX_SPIS {
            if self.ability.get().clears_pending || !self.config(spi)?.pending() {
                break;
            }
            self.irs_enable(true)?;
            self.ready(spi, 0)?;
            self.start_pe(0)?;
            self.until(|| self.bench.signals(self.pe).irq);
            if let Some(id) = acknowledge(self.pe) {
                drop_and_deactivate(self.pe, id);
            }
            quiesce(self.pe);
        }
        self.pe.cddis(id);
        self.pe.cdaff(id, Iaffid::new(0));
        self.sync();
        let left = self.config(spi)?;
        let mut expected = ICC_ICSR_EL1::ZERO;
        if !self.ability.get().disables {
            expected = expected.with_enabled(left.enabled());
        }
        if left == expected {
            return Ok(());
        }
        let (expected, actual) = (Value::Number(expected.raw_value()), Value::Number(left.raw_value()));
        Err(Failure::LeftBehind { what: "ICC_ICSR_EL1 of an SPI", expected, actual })
    }

    /// Looks what can be put back of an SPI by the instructions that are for it. What cannot is a failure of the tests about those
    /// instructions, and of no others.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`], [`Failure::Stopped`].
    pub(crate) fn try_ability(&self) -> Outcome {
        let mut ability = self.ability.get();
        self.write(self.attributes())?;
        ability.keeps_attributes = self.read::<IRS_CR1>() == self.attributes();
        self.ability.set(ability);
        let Ok(spi) = self.spi() else { return self.put_back() };
        self.select(spi)?;
        ability.shows_selection = self.read::<IRS_SPI_SELR>().id() == spi;
        self.ready(spi, 0)?;
        self.pend(spi)?;
        self.pe.cddis(spi.into());
        self.pe.cdpend(spi.into(), false);
        let left = self.config(spi)?;
        ability.disables = !left.enabled();
        ability.clears_pending = !left.pending();
        self.ability.set(ability);
        self.put_back()
    }

    /// Compares with the state that every test starts from.
    ///
    /// # Errors
    ///
    /// [`Failure::LeftBehind`].
    pub fn check_put_back(&self, pes: &[Option<PeState>; MAX_PES], irs: &IrsState) -> Outcome {
        let number = Value::Number;
        for (n, before) in pes.iter().enumerate() {
            let Some(before) = before else { continue };
            if let Some((register, before, after)) = before.difference(&self.pe_state(n)?) {
                let (expected, actual) = (number(before), number(after));
                return Err(Failure::LeftBehind { what: register.name(), expected, actual });
            }
        }
        if let Some((register, before, after)) = irs.difference(&IrsState::read(self.bench)) {
            let (expected, actual) = (number(before), number(after));
            return Err(Failure::LeftBehind { what: register.name(), expected, actual });
        }
        Ok(())
    }

    /// The state of a PE's registers.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`].
    pub fn pe_state(&self, pe: usize) -> Result<PeState, Failure> {
        if pe == 0 {
            return Ok(PeState::read(self.pe, self.features.virt));
        }
        let words = [const { AtomicU64::new(0) }; 64];
        let virt = self.features.virt;
        self.on(pe, |pe| {
            for (word, register) in words.iter().zip(pe_registers(virt)) {
                word.store(pe.read_raw(register), Ordering::Relaxed);
            }
            0
        })?;
        Ok(PeState::of(|n| words.get(n).map_or(0, |word| word.load(Ordering::Relaxed))))
    }
}

/// Waits until something holds, but no longer than `limit`.
pub fn until<W: Wait>(wait: &W, limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = wait.now();
    loop {
        if holds() {
            return true;
        }
        if wait.now().saturating_sub(start) >= limit {
            return holds();
        }
        wait.relax();
    }
}

/// Asks for the configuration of an LPI or SPI, after everything this PE did to it (INS-12).
pub fn config<P: PeOps + ?Sized>(pe: &Pe<'_, P>, id: IrsIntId) -> ICC_ICSR_EL1 {
    // An answer that does not come is not to be taken for the one before it.
    ask(pe, GicInsn::GIC_CDRCFG, IntIdOperand::naming(id).raw_value(), ICC_ICSR_EL1::ZERO.with_f(true))
}

/// Asks by an instruction, after everything this PE did, with something in the register that is no answer to be expected.
pub(crate) fn ask<P: PeOps + ?Sized>(
    pe: &Pe<'_, P>,
    insn: GicInsn,
    operand: u64,
    before: ICC_ICSR_EL1,
) -> ICC_ICSR_EL1 {
    pe.gsb_sys();
    pe.write(before);
    pe.isb();
    let is_ready = pe.read::<ICC_ICSR_EL1>() == before;
    pe.gic(insn, operand);
    pe.isb();
    let answer: ICC_ICSR_EL1 = pe.read();
    // A register that does not take what is written to it gives no answer that counts.
    if is_ready { answer } else { answer.with_f(before.f()) }
}

/// Acknowledges, with what must follow (SYN-3).
pub fn acknowledge<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> Option<IntId> {
    AcknowledgeResult::new_with_raw_value(acknowledge_raw(pe)).int_id()
}

/// The same, and returns the whole answer.
pub(crate) fn acknowledge_raw<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> u64 {
    let taken = pe.cdia().raw_value();
    pe.gsb_ack();
    pe.isb();
    taken
}

/// Drops the priority and deactivates.
pub(crate) fn drop_and_deactivate<P: PeOps + ?Sized>(pe: &Pe<'_, P>, id: IntId) {
    pe.cdeoi();
    pe.cddi(id);
    pe.gsb_sys();
    pe.isb();
}

/// Wants the most urgent active priority, which is the lowest bit (PRI-5), to have gone, given what the register read before in the
/// high half and after in the low half.
pub(crate) fn expect_drop(priorities: u64) -> Outcome {
    let before = priorities >> 32;
    expect("ICC_APR_EL1", before & before.saturating_sub(1), priorities & 0xffff_ffff)
}

/// Wants an answer to report this interrupt or none. What says that there is one, and names none, is neither.
///
/// # Errors
///
/// [`Failure::Unequal`].
pub(crate) fn expect_interrupt(what: &'static str, expected: Option<IntId>, answer: u64) -> Outcome {
    let answer = HPPIR::new_with_raw_value(answer);
    if answer.hppiv() && answer.int_id().is_none() {
        return Err(Failure::Unequal { what, expected: expected.into(), actual: Value::Number(answer.raw_value()) });
    }
    expect(what, expected, answer.int_id())
}

/// Switches a CPU interface off and makes all of its PPIs disabled, inactive and, where software can, not pending.
fn quiesce<P: PeOps + ?Sized>(pe: &Pe<'_, P>) {
    for bank in PpiBank::ALL {
        pe.write_raw(SysReg::icc_ppi_enabler(bank), 0);
        pe.write_raw(SysReg::icc_ppi_cactiver(bank), u64::MAX);
        pe.write_raw(SysReg::icc_ppi_cpendr(bank), u64::MAX);
    }
    for n in 0..16 {
        pe.write_raw(SysReg::icc_ppi_priorityr(arbitrary_int::u4::new(n)), 0);
    }
    pe.write_raw(SysReg::ICC_CR0_EL1, 0);
    pe.write_raw(SysReg::ICC_PCR_EL1, 0);
    pe.write_raw(SysReg::ICC_APR_EL1, 0);
    pe.isb();
    pe.gsb_sys();
}
