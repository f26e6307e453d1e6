//! A machine with what the stories need around it.

use gicv5_arch::entry::{L1_ISTE, L2_ISTE};
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::{IRS_CR0, IRS_IST_BASER, IRS_MAP_L2_ISTR, IRS_SPI_CFGR, IRS_SPI_SELR, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{HPPIR, ICC_CR0_EL1, PPI_PRIORITYR, SysReg};
use gicv5_arch::values::{IstSize, L2Size, TriggerMode};
use gicv5_arch::{Addr55_6, Addr55_12, Iaffid, IntId, IrsIntId, Lpi, PhysAddr, Ppi, Priority, Spi};
use gicv5_hal::{Block, BlockLayout, Coherency, IrsExt, IrsIndex, Pe, TableMemory};
use gicv5_model::PeIndex;
use gicv5_model::config::{Effects, MachineConfig};
use gicv5_model::memory::ModelBlock;
use gicv5_model::violation::{Place, Violation};
use gicv5_model::{Machine, ModelPe};

/// The first IRS, the only one of most machines.
pub(crate) const IRS: IrsIndex = IrsIndex(0);
/// The first PE.
pub(crate) const PE0: PeIndex = PeIndex(0);
/// The second PE.
pub(crate) const PE1: PeIndex = PeIndex(1);

pub(crate) fn lpi(id: u32) -> IrsIntId {
    IrsIntId::Lpi(Lpi::new(id).unwrap())
}

pub(crate) fn spi(id: u32) -> IrsIntId {
    IrsIntId::Spi(Spi::new(id).unwrap())
}

pub(crate) fn wire(id: u32) -> Spi {
    Spi::new(id).unwrap()
}

pub(crate) fn ppi(id: u32) -> Ppi {
    Ppi::new(id).unwrap()
}

pub(crate) fn priority(number: u32) -> Priority {
    Priority::new(number).unwrap()
}

/// A machine, and whatever a driver would do to it in one call.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pes: Vec<ModelPe>,
}

impl Bench {
    /// A machine at reset.
    pub(crate) fn at_reset(config: MachineConfig) -> Bench {
        let machine = Machine::new(config).unwrap();
        let pes = (0..machine.pe_count()).map(|n| machine.pe(PeIndex(n)).unwrap()).collect();
        Bench { machine, pes }
    }

    /// A machine with its IRSs and CPU interfaces enabled and all masks open.
    pub(crate) fn started(config: MachineConfig) -> Bench {
        let irses = config.irses.len() as u16;
        let bench = Bench::at_reset(config);
        for irs in 0..irses {
            bench.command(IrsIndex(irs), IRS_CR0::ZERO.with_irsen(true));
        }
        for n in 0..bench.machine.pe_count() {
            let pe = bench.pe(PeIndex(n));
            pe.write(ICC_CR0_EL1::ZERO.with_en(true));
            pe.write_raw(SysReg::ICC_PCR_EL1, 31);
            pe.isb();
        }
        bench
    }

    /// One PE and 64 SPIs, started.
    pub(crate) fn small() -> Bench {
        Bench::started(MachineConfig::new(1, 64))
    }

    /// As many PEs as asked for and 64 SPIs, started, where every effect comes at once.
    pub(crate) fn eager(pes: u16) -> Bench {
        let mut config = MachineConfig::new(pes, 64);
        config.switches.effects = Effects::Early;
        Bench::started(config)
    }

    /// One PE and 64 SPIs, started, where every effect comes at once and memory is not coherent, with cache lines of this
    /// size.
    pub(crate) fn non_coherent(cache_line: u64) -> Bench {
        let mut config = MachineConfig::new(1, 64);
        config.switches.effects = Effects::Early;
        config.memory.coherency = Coherency::NonCoherent;
        config.memory.cache_line = cache_line;
        Bench::started(config)
    }

    pub(crate) fn pe(&self, pe: PeIndex) -> Pe<'_, ModelPe> {
        Pe::new(&self.pes[usize::from(pe.0)])
    }

    /// Writes a register and waits for the command to complete; waits before, too (GEN-18).
    pub(crate) fn command<R: Register<Reg = IrsReg>>(&self, irs: IrsIndex, value: R) {
        self.wait(irs, R::REG);
        self.machine.write(irs, value);
        self.wait(irs, R::REG);
    }

    /// Waits until the status register of a register reads IDLE=1.
    pub(crate) fn wait(&self, irs: IrsIndex, register: IrsReg) {
        let status = register.status().unwrap();
        assert!((0..1000).any(|_| self.machine.is_idle(irs, status).0), "{register} does not complete");
    }

    /// Whether the status register of a register reads IDLE=1.
    pub(crate) fn is_idle(&self, irs: IrsIndex, register: IrsReg) -> bool {
        self.machine.is_idle(irs, register.status().unwrap()).0
    }

    /// A zeroed block with cache lines of its own.
    pub(crate) fn block(&self, size: u64, alignment: u64) -> ModelBlock {
        let line = self.machine.cache_line();
        let highest = PhysAddr::new((1 << 48) - 1).unwrap();
        let layout = BlockLayout::new(size.next_multiple_of(line), alignment.max(line), highest).unwrap();
        self.machine.allocate(layout).unwrap()
    }

    /// The base of an IST of this shape, all zero and published.
    pub(crate) fn ist_block(&self, ist: IstGeometry) -> ModelBlock {
        let base = ist.base();
        let block = self.block(base.size(), base.alignment());
        self.machine.publish(IRS, &block, 0..block.size());
        block
    }

    /// Makes an IST valid.
    pub(crate) fn set_ist(&self, irs: IrsIndex, ist: IstGeometry, base: PhysAddr) {
        self.machine.write(irs, ist.cfgr());
        self.command(irs, baser(base).with_valid(true));
    }

    /// Makes it invalid.
    pub(crate) fn clear_ist(&self, irs: IrsIndex) {
        let baser = self.machine.read::<IRS_IST_BASER>(irs);
        self.command(irs, baser.with_valid(false));
    }

    /// A linear IST of 2^14 4-byte entries, valid.
    pub(crate) fn linear_ist(&self) -> ModelBlock {
        let ist = IstGeometry::linear(14, IstSize::Bytes4).unwrap();
        let block = self.ist_block(ist);
        self.set_ist(IRS, ist, block.address());
        block
    }

    /// A level-1 table in use, with no valid entry, and a level-2 IST for its first entry.
    pub(crate) fn live_level1(&self) -> (ModelBlock, ModelBlock) {
        let level1 = self.ist_block(two_level());
        let level2 = self.block(4096, 4096);
        self.machine.publish(IRS, &level2, 0..4096);
        self.set_ist(IRS, two_level(), level1.address());
        (level1, level2)
    }

    /// Writes a level-1 entry with VALID=0 and publishes it.
    pub(crate) fn point(&self, level1: &ModelBlock, index: u64, table: PhysAddr) {
        self.machine.store64(level1, index * 8, pointing_to(table).raw_value());
        self.machine.publish(IRS, level1, index * 8..index * 8 + 8);
    }

    /// Asks the IRS to make valid the level-1 entry of an LPI.
    pub(crate) fn map_level2(&self, irs: IrsIndex, id: u32) {
        self.command(irs, IRS_MAP_L2_ISTR::ZERO.with_id(Lpi::new(id).unwrap()));
    }

    /// Makes an interrupt a candidate as soon as it is pending.
    pub(crate) fn enable(&self, id: IrsIntId, at: u32, target: u16) {
        let pe = self.pe(PE0);
        pe.cdpri(id, priority(at));
        pe.cdaff(id, Iaffid::new(target));
        pe.cden(id);
        pe.gsb_sys();
    }

    /// Enables it and makes it pending.
    pub(crate) fn pend(&self, id: IrsIntId, at: u32, target: u16) {
        self.enable(id, at, target);
        self.pe(PE0).cdpend(id, true);
        self.pe(PE0).gsb_sys();
    }

    /// The interrupt that ICC_HPPIR_EL1 names.
    pub(crate) fn hppi(&self, pe: PeIndex) -> Option<IntId> {
        HPPIR::new_with_raw_value(self.pe(pe).read_raw(SysReg::ICC_HPPIR_EL1)).int_id()
    }

    /// Sets a PPI's priority and enables it.
    pub(crate) fn enable_ppi(&self, pe: PeIndex, ppi: Ppi, at: u32) {
        let pe = self.pe(pe);
        let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
        let value = PPI_PRIORITYR::new_with_raw_value(pe.read_raw(register)).with_priority(ppi, priority(at));
        pe.write_raw(register, value.raw_value());
        let enabler = SysReg::icc_ppi_enabler(ppi.bank());
        pe.write_raw(enabler, pe.read_raw(enabler) | ppi.mask());
        pe.isb();
    }

    /// Acknowledges, drops and deactivates; the interrupt taken.
    pub(crate) fn take(&self, pe: PeIndex) -> Option<IntId> {
        let pe = self.pe(pe);
        let taken = pe.cdia().int_id()?;
        pe.gsb_ack();
        pe.isb();
        pe.cdeoi();
        pe.cddi(taken);
        pe.gsb_sys();
        Some(taken)
    }

    /// Selects an SPI.
    pub(crate) fn select(&self, irs: IrsIndex, id: u32) {
        self.command(irs, IRS_SPI_SELR::ZERO.with_id(wire(id)));
    }

    /// Selects an SPI and sets its trigger mode.
    pub(crate) fn trigger(&self, id: u32, mode: TriggerMode) {
        self.select(IRS, id);
        self.command(IRS, IRS_SPI_CFGR::ZERO.with_tm(mode));
    }

    pub(crate) fn state(&self, id: IrsIntId) -> L2_ISTE {
        self.machine.interrupt(id).unwrap()
    }

    pub(crate) fn irq(&self, pe: PeIndex) -> bool {
        self.machine.signals(pe).irq
    }

    pub(crate) fn candidate(&self, pe: PeIndex) -> Option<IrsIntId> {
        self.machine.candidate(pe).map(|(id, _)| id)
    }

    /// Nothing was done wrong since the last time anybody asked.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.machine.take_violations(), []);
    }

    /// Exactly this was done wrong since the last time anybody asked.
    pub(crate) fn assert_broken(&self, rule: &str, place: Place, old: u64, new: u64) {
        let found: Vec<_> = self.machine.take_violations();
        let brief = |v: &Violation| (v.rule.to_owned(), v.place, v.old, v.new);
        assert_eq!(found.iter().map(brief).collect::<Vec<_>>(), [(rule.to_owned(), place, old, new)], "{found:#?}");
        assert!(found[0].to_string().starts_with(&format!("{rule}: ")));
    }
}

/// IRS_IST_BASER with VALID=0.
pub(crate) fn baser(base: PhysAddr) -> IRS_IST_BASER {
    IRS_IST_BASER::ZERO.with_addr(Addr55_6::new(base).unwrap())
}

/// An IST of 2^14 4-byte entries, in level-2 tables of 4 KiB.
pub(crate) fn two_level() -> IstGeometry {
    IstGeometry::two_level(14, IstSize::Bytes4, L2Size::KiB4).unwrap()
}

/// A level-1 entry with VALID=0.
pub(crate) fn pointing_to(level2: PhysAddr) -> L1_ISTE {
    L1_ISTE::ZERO.with_l2_addr(Addr55_12::new(level2).unwrap())
}
