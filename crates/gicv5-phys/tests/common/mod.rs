//! A host made of the model, for the tests: it counts and fails allocations, leaves out barriers, and keeps a log of what
//! the driver does.
// Not every test uses everything, and what is wrong in a helper fails the test that uses it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../gicv5-irs/tests/common/board.rs"]
pub mod board;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary_int::{u3, u5};
use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::{IRS_CR0, IRS_IDR2, IRS_IDR6, IRS_IDR7, IrsReg};
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::values::{L2SizeSet, Levels};
use gicv5_arch::{Iaffid, Lpi, Spi};
use gicv5_hal::{
    AllocError, Block, BlockLayout, Coherency, CurrentPe, Frame, HostLpis, IrsExt, IrsIndex, Pe, PeOps, Platform,
    TableMemory,
};
use gicv5_model::PeIndex;
use gicv5_model::config::Eagerness;
use gicv5_model::config::{IrsConfig, MachineConfig};
use gicv5_model::memory::ModelBlock;
use gicv5_model::{CpuConfig, Machine, ModelHost, ModelPe};
use gicv5_phys::{Config, OwnedLpi, Phys};

use board::{Access, Board, Watch};

/// Something that orders or synchronises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sync {
    Isb,
    Dsb,
    GsbSys,
    GsbAck,
    Barrier,
    LoadBarrier,
    CleanInvalidate,
    Invalidate,
}

/// Something that a PE did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Insn(GicInsn),
    Read(SysReg),
    Write(SysReg),
    Sync(Sync),
    /// A write to a register of an IRS.
    Irs(IrsReg),
    /// A load from table memory.
    Load,
    /// A store to table memory.
    Store,
    /// Put into the log by a test.
    Mark(&'static str),
}

#[derive(Default)]
pub struct Books {
    /// Live blocks by address, with their sizes.
    live: BTreeMap<u64, u64>,
    allocations: u64,
    fail_allocation: Option<u64>,
    /// How many of each kind there were, and the one to leave out.
    syncs: Vec<Sync>,
    skip: Option<usize>,
    log: Vec<Op>,
    logging: bool,
    commands: Vec<(IrsIndex, IrsReg, u64)>,
    /// What registers read instead of what the model has.
    irs_registers: BTreeMap<(IrsIndex, u16), u64>,
    pe_registers: BTreeMap<SysReg, u64>,
    /// The PEs that have asked and not synchronised.
    answers_are_stale: HashSet<PeIndex>,
    /// What happens once while the next block is allocated.
    while_allocating: Option<Box<dyn FnOnce() + Send>>,
}

impl Books {
    fn log(&mut self, op: Op) {
        if self.logging {
            self.log.push(op);
        }
    }

    /// Notes something that orders. False if it shall not happen.
    fn sync(&mut self, sync: Sync) -> bool {
        let n = self.syncs.len();
        self.syncs.push(sync);
        self.log(Op::Sync(sync));
        self.skip != Some(n)
    }
}

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// The PEs, one of which is where the thread is.
#[derive(Clone)]
pub struct Pes {
    pes: Vec<LabPe>,
}

#[derive(Clone)]
pub struct LabPe {
    pe: ModelPe,
    books: Arc<Mutex<Books>>,
}

impl PeOps for LabPe {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        self.log(Op::Read(register));
        let books = self.books.lock().unwrap();
        // Without an ISB after the request, ICC_ICSR_EL1 may hold anybody's answer to anything (INS-12).
        if register == SysReg::ICC_ICSR_EL1 && books.answers_are_stale.contains(&self.pe.index()) {
            return 1;
        }
        let instead = books.pe_registers.get(&register).copied();
        drop(books);
        instead.unwrap_or_else(|| self.pe.read_sysreg(register))
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        self.log(Op::Write(register));
        self.pe.write_sysreg(register, value);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        let happens = match insn {
            GicInsn::GSB_SYS => self.books.lock().unwrap().sync(Sync::GsbSys),
            GicInsn::GSB_ACK => self.books.lock().unwrap().sync(Sync::GsbAck),
            other => {
                self.log(Op::Insn(other));
                if other == GicInsn::GIC_CDRCFG {
                    self.books.lock().unwrap().answers_are_stale.insert(self.pe.index());
                }
                true
            }
        };
        if happens { self.pe.gic(insn, xt) } else { 0 }
    }

    fn isb(&self) {
        let happens = self.books.lock().unwrap().sync(Sync::Isb);
        if happens {
            self.books.lock().unwrap().answers_are_stale.remove(&self.pe.index());
            self.pe.isb();
        }
    }

    fn dsb(&self) {
        let happens = self.books.lock().unwrap().sync(Sync::Dsb);
        if happens {
            self.pe.dsb();
        }
    }
}

impl LabPe {
    fn log(&self, op: Op) {
        self.books.lock().unwrap().log(op);
    }
}

impl CurrentPe for Pes {
    type Ops = LabPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, LabPe>) -> R) -> R {
        f(&Pe::new(&self.pes[HERE.get()]))
    }
}

/// Keeps books, and does what a test wants done.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<Books>>);

impl Watch for Watched {
    type Locks = <ModelHost as Platform>::Locks;

    fn around(&self, machine: &Machine, access: Access, act: &mut dyn FnMut()) {
        let books = || self.0.lock().unwrap();
        let sync = match access {
            Access::CleanInvalidate => Sync::CleanInvalidate,
            Access::Invalidate => Sync::Invalidate,
            Access::Barrier => Sync::Barrier,
            Access::LoadBarrier => Sync::LoadBarrier,
            Access::Load => {
                books().log(Op::Load);
                return act();
            }
            Access::Store => {
                books().log(Op::Store);
                return act();
            }
            Access::Write(frame, offset, value) => {
                let before = machine.commands();
                act();
                if let Some(register) = IrsReg::at(offset) {
                    books().log(Op::Irs(register));
                    if machine.commands() != before {
                        books().commands.push((frame.irs, register, value));
                    }
                }
                return;
            }
            Access::Relax => {
                // Whoever waits lets other threads run, as on PEs of their own.
                std::thread::yield_now();
                return act();
            }
            Access::Free | Access::Read(..) | Access::Now => return act(),
        };
        let happens = books().sync(sync);
        if happens {
            act();
        }
    }

    fn allocate(&self, machine: &Machine, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        let meanwhile = self.0.lock().unwrap().while_allocating.take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        let mut books = self.0.lock().unwrap();
        let n = books.allocations;
        books.allocations += 1;
        if books.fail_allocation == Some(n) {
            return Err(AllocError { layout });
        }
        let block = machine.allocate(layout)?;
        books.live.insert(block.address().raw(), block.size());
        Ok(block)
    }

    fn freed(&self, block: &ModelBlock) {
        let known = self.0.lock().unwrap().live.remove(&block.address().raw());
        assert!(known.is_some(), "a block is freed twice");
    }

    fn reads(&self, _machine: &Machine, frame: Frame, offset: u16, value: u64) -> u64 {
        self.0.lock().unwrap().irs_registers.get(&(frame.irs, offset)).copied().unwrap_or(value)
    }
}

/// The host.
pub type Lab = Board<Watched, Pes>;

impl Lab {
    pub fn new(config: MachineConfig) -> Lab {
        let machine = Machine::new(config).unwrap();
        let watch = Watched::default();
        let pes = (0..machine.pe_count())
            .map(|n| LabPe { pe: machine.pe(PeIndex(n)).unwrap(), books: watch.0.clone() })
            .collect();
        Lab { machine, host: Pes { pes }, watch }
    }

    /// Puts the thread onto a PE.
    pub fn on<R>(&self, pe: usize, f: impl FnOnce(&Pe<'_, LabPe>) -> R) -> R {
        HERE.set(pe);
        self.host.on_this_pe(f)
    }

    pub fn live_blocks(&self) -> usize {
        self.watch.0.lock().unwrap().live.len()
    }

    pub fn live_bytes(&self) -> u64 {
        self.watch.0.lock().unwrap().live.values().sum()
    }

    pub fn allocations(&self) -> u64 {
        self.watch.0.lock().unwrap().allocations
    }

    /// Makes the allocation with this number fail, counting all from 0.
    pub fn fail_allocation(&self, n: u64) {
        self.watch.0.lock().unwrap().fail_allocation = Some(n);
    }

    /// Does something, once, while the driver waits for the next block.
    pub fn while_allocating(&self, meanwhile: impl FnOnce() + Send + 'static) {
        self.watch.0.lock().unwrap().while_allocating = Some(Box::new(meanwhile));
    }

    /// What has ordered something so far.
    pub fn syncs(&self) -> Vec<Sync> {
        self.watch.0.lock().unwrap().syncs.clone()
    }

    /// Leaves out the one with this number, counting all from 0.
    pub fn skip_sync(&self, n: usize) {
        self.watch.0.lock().unwrap().skip = Some(n);
    }

    /// Makes a register of an IRS read this.
    pub fn irs_reads(&self, irs: u16, register: IrsReg, value: u64) {
        self.watch.0.lock().unwrap().irs_registers.insert((IrsIndex(irs), register.offset()), value);
    }

    /// Makes a register of an IRS read what the model has.
    pub fn irs_reads_itself(&self, irs: u16, register: IrsReg) {
        self.watch.0.lock().unwrap().irs_registers.remove(&(IrsIndex(irs), register.offset()));
    }

    /// Makes a system register of every PE read this.
    pub fn pe_reads(&self, register: SysReg, value: u64) {
        self.watch.0.lock().unwrap().pe_registers.insert(register, value);
    }

    /// The commands that were started so far: the register written, and what was written.
    pub fn commands(&self) -> Vec<(IrsIndex, IrsReg, u64)> {
        self.watch.0.lock().unwrap().commands.clone()
    }

    /// Starts a log.
    pub fn start_log(&self) {
        let mut books = self.watch.0.lock().unwrap();
        books.log.clear();
        books.logging = true;
    }

    pub fn mark(&self, text: &'static str) {
        self.watch.0.lock().unwrap().log.push(Op::Mark(text));
    }

    pub fn take_log(&self) -> Vec<Op> {
        let mut books = self.watch.0.lock().unwrap();
        books.logging = false;
        std::mem::take(&mut books.log)
    }

    /// Fails the test if table memory is left, or a rule was broken.
    #[track_caller]
    pub fn assert_all_returned(&self) {
        assert_eq!(self.live_blocks(), 0, "table memory is left");
        self.assert_no_violations();
    }

    /// Fails the test if a rule was broken.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        board::assert_no_violations(&self.machine);
    }
}

/// The shapes of machine that most tests run on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub irss: u16,
    pub pes_per_irs: u16,
    pub coherency: Coherency,
    /// IRS_IDR2.ISTMD and ISTMD_SZ: `None`, or the ID bits from which on entries have 16 bytes.
    pub metadata: Option<u8>,
    pub levels: Levels,
    /// The bits of IST_L2SZ.
    pub l2_sizes: u8,
    pub eagerness: Eagerness,
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape::DEFAULT
    }
}

/// SPIs that each IRS owns.
pub const SPIS: u32 = 32;

impl Shape {
    /// Two levels of 4 KiB, so that few LPIs need several level-2 ISTs.
    pub const DEFAULT: Shape = Shape {
        irss: 1,
        pes_per_irs: 2,
        coherency: Coherency::Coherent,
        metadata: None,
        levels: Levels::TwoLevel,
        l2_sizes: 0b001,
        eagerness: Eagerness::Strict,
        seed: 1,
    };

    pub fn config(self) -> MachineConfig {
        let mut config = MachineConfig::new(1, 0);
        config.irses = (0..self.irss)
            .map(|irs| {
                let first = irs * self.pes_per_irs;
                // Affinity IDs need not be dense.
                let pes = (first..first + self.pes_per_irs).map(|n| CpuConfig::new(iaffid(n))).collect();
                let new = IrsConfig::new(pes, SPIS * u32::from(self.irss));
                IrsConfig {
                    idr0: new.idr0.with_irsid(irs),
                    idr2: self.idr2(),
                    idr6: IRS_IDR6::ZERO.with_spi_irs_range(arbitrary_int::u25::new(SPIS)),
                    idr7: IRS_IDR7::ZERO.with_spi_base(Spi::new(SPIS * u32::from(irs)).unwrap()),
                    ..new
                }
            })
            .collect();
        config.memory.coherency = self.coherency;
        config.memory.eagerness = self.eagerness;
        config.memory.seed = self.seed;
        config.seed = self.seed;
        config
    }

    fn idr2(self) -> IRS_IDR2 {
        let idr2 = IRS_IDR2::ZERO
            .with_id_bits(u5::new(24))
            .with_lpi(true)
            .with_ist_levels(self.levels)
            .with_ist_l2sz(L2SizeSet::new_with_raw_value(u3::new(self.l2_sizes)));
        match self.metadata {
            None => idr2,
            Some(bits) => idr2.with_istmd(true).with_istmd_sz(u5::new(bits)),
        }
    }

    pub fn lab(self) -> Lab {
        Lab::new(self.config())
    }

    pub fn irs_indices(self) -> Vec<IrsIndex> {
        (0..self.irss).map(IrsIndex).collect()
    }
}

pub fn iaffid(n: u16) -> Iaffid {
    Iaffid::new(n * 3 + 1)
}

pub fn lpi(id: u32) -> Lpi {
    Lpi::new(id).unwrap()
}

/// What the tests configure unless they are about something else: 600 LPIs, two IPIs, tables of one page.
pub fn config(irss: &[IrsIndex]) -> Config<'_> {
    Config { ipi_kinds: 2, contiguous_bytes: 0x1000, timeout: Duration::from_micros(200), ..Config::new(irss, 600) }
}

/// A driver on a machine, not up.
pub fn driver(shape: Shape) -> (Lab, Phys<Lab>) {
    driver_with(shape, |config| config)
}

/// The same, configured otherwise.
pub fn driver_with(shape: Shape, change: impl for<'a> FnOnce(Config<'a>) -> Config<'a>) -> (Lab, Phys<Lab>) {
    let lab = shape.lab();
    HERE.set(0);
    let phys = Phys::new(lab.clone(), &change(config(&shape.irs_indices()))).unwrap();
    (lab, phys)
}

/// A driver that is up, with all its PEs.
pub fn up(shape: Shape) -> (Lab, Phys<Lab>) {
    up_with(shape, |config| config)
}

/// The same, configured otherwise.
pub fn up_with(shape: Shape, change: impl for<'a> FnOnce(Config<'a>) -> Config<'a>) -> (Lab, Phys<Lab>) {
    let (lab, phys) = driver_with(shape, change);
    come_up(&lab, &phys);
    (lab, phys)
}

/// Brings a driver up, with all its PEs.
pub fn come_up(lab: &Lab, phys: &Phys<Lab>) -> Vec<gicv5_phys::PeIndex> {
    phys.bring_up().unwrap();
    let pes = (0..usize::from(lab.machine.pe_count())).map(|pe| lab.on(pe, |pe| phys.bring_up_pe(pe)).unwrap());
    let pes = pes.collect();
    HERE.set(0);
    pes
}

/// Releases LPIs, and takes everything down.
#[track_caller]
pub fn release_all(lab: &Lab, phys: &Phys<Lab>, lpis: impl IntoIterator<Item = OwnedLpi>) {
    for lpi in lpis {
        phys.release(lpi).unwrap();
    }
    down(lab, phys);
}

/// Takes the PEs out and tears the driver down, and checks that nothing is left.
#[track_caller]
pub fn down(lab: &Lab, phys: &Phys<Lab>) {
    for pe in 0..usize::from(lab.machine.pe_count()) {
        lab.on(pe, |pe| phys.bring_down_pe(pe)).unwrap();
    }
    HERE.set(0);
    phys.tear_down().unwrap();
    // An IRS that is not there reads as zero.
    for irs in (0..8).map(IrsIndex) {
        assert!(!lab.machine.read::<IRS_CR0>(irs).irsen(), "{irs} is still enabled");
    }
    lab.assert_all_returned();
}
