//! The machines of the tests, and what software does to one in one call: the physical side here, a VM table with VMs made by
//! hand in [`vms`], a hypervisor and its guests in [`guests`].
#![allow(dead_code, unused_imports, reason = "not every test needs all of it")]

pub(crate) mod guests;
pub(crate) mod vms;

pub(crate) use gicv5_arch::entry::*;
pub(crate) use gicv5_arch::geometry::*;
pub(crate) use gicv5_arch::insn::*;
pub(crate) use gicv5_arch::irs::*;
pub(crate) use gicv5_arch::register::{Access, Register};
pub(crate) use gicv5_arch::sysreg::*;
pub(crate) use gicv5_arch::values::*;
pub(crate) use gicv5_arch::{
    Addr51_12, Addr55_3, Addr55_6, Addr55_12, Iaffid, IntId, IntType, IrsIntId, IrsIntType, Lpi, PhysAddr, Ppi,
    PpiBank, Priority, Spi, VmId, VpeId,
};
pub(crate) use gicv5_hal::{
    Block, BlockLayout, Coherency, Cookie, CurrentPe, Frame, HostLpis, Irs, IrsExt, IrsIndex, Pe, PeOps, TableMemory,
    Wait,
};
pub(crate) use gicv5_model::config::*;
pub(crate) use gicv5_model::event::*;
pub(crate) use gicv5_model::fault::{Fault, Request};
pub(crate) use gicv5_model::hand::{HandMade, Vms};
pub(crate) use gicv5_model::memory::ModelBlock;
pub(crate) use gicv5_model::violation::{Place, Violation};
pub(crate) use gicv5_model::{
    CpuConfig, Fate, Level, Machine, ModelHost, ModelPe, Owner, PeIndex, Signals, StructureKind,
};
pub(crate) use gicv5_random::Rng;
pub(crate) use guests::*;
pub(crate) use vms::*;

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

/// A machine, and whatever a driver would do to it in one call. At its end nothing was done wrong of which the test has not
/// spoken.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    hosts: Vec<ModelPe>,
    guests: Vec<ModelPe>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clean();
        }
    }
}

impl Bench {
    /// A machine at reset.
    pub(crate) fn at_reset(config: MachineConfig) -> Bench {
        let machine = Machine::new(config).unwrap();
        let hosts: Vec<_> = (0..machine.pe_count()).map(|n| machine.pe(PeIndex(n)).unwrap()).collect();
        let guests = hosts.iter().map(ModelPe::guest).collect();
        Bench { machine, hosts, guests }
    }

    /// A machine with its IRSs and CPU interfaces enabled and all masks open.
    pub(crate) fn started(config: MachineConfig) -> Bench {
        let bench = Bench::at_reset(config);
        ModelHost::on(&bench.machine).switch_on().unwrap();
        bench
    }

    /// One PE and 64 SPIs, started.
    pub(crate) fn small() -> Bench {
        Bench::with(1, |_| {})
    }

    /// As many PEs as asked for and 64 SPIs, with something changed, started.
    pub(crate) fn with(pes: u16, change: impl FnOnce(&mut MachineConfig)) -> Bench {
        let mut config = MachineConfig::new(pes, 64);
        change(&mut config);
        Bench::started(config)
    }

    /// The same, where every effect comes at once.
    pub(crate) fn eager(pes: u16) -> Bench {
        Bench::eager_with(pes, |_| {})
    }

    pub(crate) fn eager_with(pes: u16, change: impl FnOnce(&mut MachineConfig)) -> Bench {
        Bench::with(pes, |config| {
            config.switches.effects = Effects::Early;
            change(config);
        })
    }

    /// One PE, 64 SPIs and LPIs of 14 bits, started, where every effect comes at once.
    pub(crate) fn with_lpis() -> Bench {
        let bench = Bench::eager(1);
        bench.linear_ist();
        bench
    }

    /// One PE and 64 SPIs, started, where every effect comes at once and memory is not coherent, with cache lines of this
    /// size.
    pub(crate) fn non_coherent(cache_line: u64) -> Bench {
        Bench::eager_with(1, |config| {
            config.memory.coherency = Coherency::NonCoherent;
            config.memory.cache_line = cache_line;
        })
    }

    /// The host on a PE.
    pub(crate) fn host(&self, pe: PeIndex) -> Pe<'_, ModelPe> {
        Pe::new(&self.hosts[usize::from(pe.0)])
    }

    /// The guest on a PE.
    pub(crate) fn guest(&self, pe: PeIndex) -> Pe<'_, ModelPe> {
        Pe::new(&self.guests[usize::from(pe.0)])
    }

    /// Writes a register of the first IRS and waits for the command to complete; waits before, too (GEN-18). Returns the
    /// status register.
    pub(crate) fn command<R: Register<Reg = IrsReg>>(&self, value: R) -> u64 {
        self.command_at(IRS, value)
    }

    /// The same at any IRS.
    pub(crate) fn command_at<R: Register<Reg = IrsReg>>(&self, irs: IrsIndex, value: R) -> u64 {
        self.wait(irs, R::REG);
        self.machine.write(irs, value);
        self.wait(irs, R::REG)
    }

    /// Waits until the status register of a register reads IDLE=1. Returns what it reads.
    pub(crate) fn wait(&self, irs: IrsIndex, register: IrsReg) -> u64 {
        let status = register.status().unwrap();
        let done = (0..1000).map(|_| self.machine.is_idle(irs, status)).find(|(idle, _)| *idle);
        assert!(done.is_some(), "{register} does not complete");
        done.unwrap().1
    }

    /// Whether the status register of a register reads IDLE=1.
    pub(crate) fn is_idle(&self, irs: IrsIndex, register: IrsReg) -> bool {
        self.machine.is_idle(irs, register.status().unwrap()).0
    }

    /// A zeroed block with cache lines of its own.
    pub(crate) fn block(&self, size: u64, alignment: u64) -> ModelBlock {
        let line = self.machine.cache_line();
        let (size, alignment) = (size.next_multiple_of(line), alignment.max(line));
        self.machine.allocate(BlockLayout::new(size, alignment, PhysAddr::highest(48)).unwrap()).unwrap()
    }

    /// A block for a table.
    pub(crate) fn block_for(&self, footprint: Footprint) -> ModelBlock {
        self.block(footprint.size(), footprint.alignment())
    }

    /// Stores a word into a table in use.
    pub(crate) fn store(&self, block: &ModelBlock, offset: u64, value: u64) {
        self.machine.prepare(IRS, block, offset..offset + 8);
        self.machine.store64(block, offset, value);
        self.machine.publish(IRS, block, offset..offset + 8);
    }

    /// A word of a table, as the IRS has left it.
    pub(crate) fn load_word(&self, block: &ModelBlock, offset: u64) -> u64 {
        self.machine.acquire(IRS, block, offset..offset + 8);
        self.machine.load64(block, offset)
    }

    /// An entry of a linear IST of 4-byte entries, as memory has it.
    pub(crate) fn entry(&self, ist: &ModelBlock, id: u64) -> L2_ISTE {
        self.machine.acquire(IRS, ist, id * 4..id * 4 + 4);
        L2_ISTE::new_with_raw_value(self.machine.load32(ist, id * 4))
    }

    /// The base of an IST of this shape, all zero and published.
    pub(crate) fn ist_block(&self, ist: IstGeometry) -> ModelBlock {
        let block = self.block_for(ist.base());
        self.machine.publish(IRS, &block, 0..block.size());
        block
    }

    /// Makes an IST valid.
    pub(crate) fn set_ist(&self, irs: IrsIndex, ist: IstGeometry, base: PhysAddr) {
        self.machine.write(irs, ist.cfgr());
        self.command_at(irs, baser(base).with_valid(true));
    }

    /// Makes it invalid.
    pub(crate) fn clear_ist(&self, irs: IrsIndex) {
        let baser = self.machine.read::<IRS_IST_BASER>(irs);
        self.command_at(irs, baser.with_valid(false));
    }

    /// A linear IST of 2^14 4-byte entries, valid.
    pub(crate) fn linear_ist(&self) -> ModelBlock {
        let ist = linear(14);
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
        self.command_at(irs, IRS_MAP_L2_ISTR::ZERO.with_id(Lpi::new(id).unwrap()));
    }

    /// Makes an interrupt a candidate as soon as it is pending.
    pub(crate) fn enable(&self, id: IrsIntId, at: u32, target: u16) {
        let pe = self.host(PE0);
        pe.cdpri(id, priority(at));
        pe.cdaff(id, Iaffid::new(target));
        pe.cden(id);
        pe.gsb_sys();
    }

    /// Enables it and makes it pending.
    pub(crate) fn pend(&self, id: IrsIntId, at: u32, target: u16) {
        self.enable(id, at, target);
        self.host(PE0).set_pending(id, true);
    }

    /// The interrupt that ICC_HPPIR_EL1 names.
    pub(crate) fn hppi(&self, pe: PeIndex) -> Option<IntId> {
        HPPIR::new_with_raw_value(self.host(pe).read_raw(SysReg::ICC_HPPIR_EL1)).int_id()
    }

    /// Sets a PPI's priority and enables it.
    pub(crate) fn enable_ppi(&self, pe: PeIndex, ppi: Ppi, at: u32) {
        enable_ppi(&self.host(pe), ppi, at);
    }

    /// Selects an SPI.
    pub(crate) fn select_spi(&self, irs: IrsIndex, id: u32) {
        self.command_at(irs, IRS_SPI_SELR::ZERO.with_id(wire(id)));
    }

    /// Selects an SPI and sets its trigger mode.
    pub(crate) fn trigger(&self, id: u32, mode: TriggerMode) {
        self.select_spi(IRS, id);
        self.command(IRS_SPI_CFGR::ZERO.with_tm(mode));
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

    /// What the checker has to say since the last time anybody asked.
    pub(crate) fn said(&self) -> Vec<Violation> {
        self.machine.take_violations()
    }

    /// The rules that were broken since.
    pub(crate) fn rules(&self) -> Vec<&'static str> {
        self.said().into_iter().map(|violation| violation.rule).collect()
    }

    /// Nothing was done wrong since.
    pub(crate) fn clean(&self) {
        assert_eq!(self.said(), []);
    }

    /// Exactly these rules were broken since.
    pub(crate) fn broken(&self, rules: &[&str]) {
        let found = self.said();
        assert_eq!(found.iter().map(|violation| violation.rule).collect::<Vec<_>>(), rules, "{found:#?}");
    }

    /// Exactly in view of these rules something was remarked on since, and no rule was broken.
    pub(crate) fn remarked(&self, rules: &[&str]) {
        self.clean();
        let found = self.machine.take_remarks();
        assert_eq!(found.iter().map(|remark| remark.0.rule).collect::<Vec<_>>(), rules, "{found:#?}");
    }

    /// One rule was broken since, there.
    pub(crate) fn broken_at(&self, rule: &str, place: Place) {
        self.only(|found| (found.rule, found.place) == (rule, place));
    }

    /// One rule was broken since, there, by a change of what stood there.
    pub(crate) fn broken_from(&self, rule: &str, place: Place, old: u64, new: u64) {
        self.only(|found| (found.rule, found.place, found.old, found.new) == (rule, place, old, new));
    }

    fn only(&self, is_it: impl FnOnce(&Violation) -> bool) {
        let found = self.said();
        assert!(found.len() == 1 && is_it(&found[0]), "{found:#?}");
        let basis = found[0].basis.map_or(String::new(), |basis| format!(" ({basis})"));
        assert!(found[0].to_string().starts_with(&format!("{}{basis}: ", found[0].rule)));
    }
}

/// What software does, with the barrier after which it counts.
pub(crate) trait Set {
    /// Writes a system register.
    fn set<R: Register<Reg = SysReg>>(&self, value: R) {
        self.set_raw(R::REG, value.to_bits());
    }

    fn set_raw(&self, register: SysReg, value: u64);

    /// Makes an interrupt pending or not, and waits for that.
    fn set_pending(&self, id: IrsIntId, pending: bool);
}

impl Set for Pe<'_, ModelPe> {
    fn set_raw(&self, register: SysReg, value: u64) {
        self.write_raw(register, value);
        self.isb();
    }

    fn set_pending(&self, id: IrsIntId, pending: bool) {
        self.cdpend(id, pending);
        self.gsb_sys();
    }
}

/// Acknowledges, with what must follow (SYN-3).
pub(crate) trait Acknowledges {
    fn acknowledge(&self) -> AcknowledgeResult;

    fn acknowledge_nmi(&self) -> AcknowledgeResult;
}

impl Acknowledges for Pe<'_, ModelPe> {
    fn acknowledge(&self) -> AcknowledgeResult {
        let taken = self.cdia();
        self.gsb_ack();
        self.isb();
        taken
    }

    fn acknowledge_nmi(&self) -> AcknowledgeResult {
        let taken = self.cdnmia();
        self.gsb_ack();
        self.isb();
        taken
    }
}

/// Acknowledges, drops and deactivates; the interrupt taken.
pub(crate) fn take(pe: &Pe<'_, ModelPe>) -> Option<IntId> {
    let taken = pe.acknowledge().int_id()?;
    pe.cdeoi();
    pe.cddi(taken);
    pe.gsb_sys();
    Some(taken)
}

/// Whoever runs on a PE sets the priority of a PPI of its own and enables it.
pub(crate) fn enable_ppi(pe: &Pe<'_, ModelPe>, ppi: Ppi, at: u32) {
    enable_ppi_by(
        pe,
        [SysReg::icc_ppi_priorityr(ppi.priority_register()), SysReg::icc_ppi_enabler(ppi.bank())],
        ppi,
        at,
    );
}

/// The same by the names of these registers.
pub(crate) fn enable_ppi_by(pe: &Pe<'_, ModelPe>, [priorityr, enabler]: [SysReg; 2], ppi: Ppi, at: u32) {
    let value = PPI_PRIORITYR::new_with_raw_value(pe.read_raw(priorityr)).with_priority(ppi, priority(at));
    pe.write_raw(priorityr, value.raw_value());
    pe.write_raw(enabler, pe.read_raw(enabler) | ppi.mask());
    pe.isb();
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
