//! Drives the model with what the trace says was done, and compares what the trace says was answered.
//!
//! There is no copy of any interrupt's state here: the model is asked. What is kept besides is what a trace leaves out
//! (writes to a CPU interface, of which only the consequences are seen) and what is needed to recognise a known defect of
//! QEMU by name (which SPIs it was used on; what QEMU's CPU interfaces were offered last).

use std::collections::{BTreeMap, HashMap};

use gicv5_arch::entry::{L1_ISTE, L2_ISTE};
use gicv5_arch::geometry::TableIndex;
use gicv5_arch::irs::{
    IRS_CR0, IRS_IDR0, IRS_IDR1, IRS_IDR2, IRS_IIDR, IRS_IST_BASER, IRS_IST_CFGR, IRS_MAP_L2_ISTR, IRS_SPI_CFGR,
    IRS_SPI_RESAMPLER, IRS_SPI_SELR, IrsReg,
};
use gicv5_arch::sysreg::{APR, ICC_CR0_EL1, PCR, PPI_PRIORITYR, PpiSet, SysReg};
use gicv5_arch::values::{Domain, HandlingMode, L2Size, RoutingMode};
use gicv5_arch::{ActivePriorities, Addr55_12, Iaffid, IntId, IrsIntId, PhysAddr, Ppi, PpiBank, Priority, Spi};
use gicv5_hal::{Block, BlockLayout, Frame, Irs, IrsExt, IrsIndex, Pe, TableMemory};
use gicv5_model::config::{EdgeResample, Effects, IrsConfig, MachineConfig};
use gicv5_model::memory::{Eagerness, MemoryConfig, ModelBlock};
use gicv5_model::violation::PeIndex;
use gicv5_model::{CpuConfig, Machine, ModelPe};
use gicv5_trace::{AccessSize, AcknowledgeFailure, Candidate, Event, Interrupt, Line, NoCandidate, Space, TraceError};

use super::interface::Mask;
use super::source::{On, Placed, Source};
use super::tally::{Check, Defect, Tally, Untold, names};

const IRS: IrsIndex = IrsIndex(0);
const FRAME: Frame = Frame::config(IRS);

/// The PPIs of bank 0 that QEMU's mask has no bits for (hazard 3).
const HIGH_PPIS: u64 = 0xffff_ffff_0000_0000;

/// Why an answer is a divergence though the model alone may not see it.
const CONTRADICTED: &str = "what comes before and after agrees only if this line is wrong";

/// Why a replay cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The trace cannot be read.
    Trace(TraceError),
    /// The trace makes no sense, with the line.
    Input(String),
}

impl From<TraceError> for Stop {
    fn from(error: TraceError) -> Stop {
        Stop::Trace(error)
    }
}

/// What is known of a PE beyond the model.
struct Cpu {
    pe: ModelPe,
    /// Which priorities pass.
    mask: Mask,
    /// The line that the mask was last inferred from.
    mask_line: u64,
    /// PPIs of bank 0 whose enable and priority nobody knows for sure; in the model they are as they were last.
    unknown: u64,
    /// The lines that PPIs were inferred from to be enabled or not.
    ppi_lines: BTreeMap<u8, u64>,
    /// What QEMU's CPU interface has been offered last.
    offered: Candidate,
    /// IRS_CR0 was written since (hazard 2).
    stale: bool,
}

/// What QEMU may have got wrong about an SPI (hazard 1).
#[derive(Clone, Copy, Default)]
struct Suspicion {
    /// It has been disabled.
    disabled: bool,
    /// Its pending state has been cleared.
    cleared: bool,
}

/// A replay.
pub(super) struct Engine {
    source: Source,
    machine: Machine,
    cpus: Vec<Cpu>,
    spis: (u32, u32),
    suspicions: HashMap<u32, Suspicion>,
    /// Level-2 tables that had to be invented, with the addresses of their level-1 entries.
    invented: Vec<(PhysAddr, ModelBlock)>,
    last: u64,
    pub(super) tally: Tally,
}

impl Engine {
    /// Reads what machine the trace is of.
    pub(super) fn new(mut source: Source) -> Result<Engine, Stop> {
        let Some(first) = source.peek(0)? else {
            return Err(Stop::Input("line 1: the trace is empty; it must start with gicv5_common_realize".to_owned()));
        };
        let Event::Realize { cpus, spi_base, spi_irs_range, spi_range, .. } = first.line.event else {
            return Err(Stop::Input(format!(
                "line {}: a trace starts with gicv5_common_realize, which says what machine it is of, not with {}",
                first.line.number,
                first.line.event.name()
            )));
        };
        let wrong = |why: &str| Stop::Input(format!("line {}: {why}", first.line.number));
        let count = u16::try_from(cpus).map_err(|_| wrong("a machine has at most 65535 PEs"))?;
        let machine = Machine::new(config(count, spi_base, spi_irs_range, spi_range))
            .map_err(|error| wrong(&format!("no machine can be like that: {error}")))?;
        let cpus = (0..count)
            .filter_map(|n| {
                Some(Cpu {
                    pe: machine.pe(PeIndex(n))?,
                    mask: Mask::RESET,
                    mask_line: 0,
                    unknown: 0,
                    ppi_lines: BTreeMap::new(),
                    offered: Candidate::NONE,
                    stale: false,
                })
            })
            .collect();
        source.pop();
        source.attribute(count.into());
        let mut tally = Tally::new();
        tally.line(first.line);
        Ok(Engine {
            source,
            machine,
            cpus,
            spis: (spi_base, spi_irs_range),
            suspicions: HashMap::new(),
            invented: Vec::new(),
            last: first.line.number,
            tally,
        })
    }

    pub(super) fn pes(&self) -> usize {
        self.cpus.len()
    }

    pub(super) fn most_worlds(&self) -> usize {
        self.source.most_worlds()
    }

    /// Replays one operation. False at the end of the trace.
    pub(super) fn operation(&mut self) -> Result<bool, Stop> {
        let Some(Placed { line, on }) = self.source.peek(0)? else { return Ok(false) };
        match line.event {
            Event::Realize { .. } => {
                return Err(Stop::Input(format!("line {}: a second IRS, and a replay can have one", line.number)));
            }
            Event::Write { .. } | Event::BadWrite { .. } | Event::Read { .. } | Event::BadRead { .. } => {
                self.access(line)?;
            }
            Event::IstValid { .. }
            | Event::IstInvalid { .. }
            | Event::IrsCandidate { .. }
            | Event::IrsNoCandidate { .. }
            | Event::SpiState { .. } => self.before_access(line)?,
            Event::Signals { .. } => self.lone_signals(line, on)?,
            Event::PpiCandidate { .. } => self.lone_ppis(line, on)?,
            Event::SpiWire { spi, high } => {
                self.take();
                self.machine.set_spi_wire(spi, high);
                self.expect_spi_state(spi)?;
                self.expect_candidate_of(IrsIntId::Spi(spi))?;
            }
            Event::SetPriority { interrupt, priority } => {
                self.instruct(line, interrupt, |pe, id| pe.cdpri(id, priority))?;
            }
            Event::SetEnabled { interrupt, enabled } => {
                if let Some(suspicion) = self.suspicion(interrupt) {
                    suspicion.disabled = !enabled;
                }
                self.instruct(line, interrupt, |pe, id| if enabled { pe.cden(id) } else { pe.cddis(id) })?;
            }
            Event::SetPending { interrupt, pending } => {
                if let Some(suspicion) = self.suspicion(interrupt) {
                    suspicion.cleared = !pending;
                }
                self.instruct(line, interrupt, |pe, id| pe.cdpend(id, pending))?;
            }
            Event::SetHandling { interrupt, mode } => {
                self.take();
                self.judge_interrupt(line, interrupt);
                if let Some(id) = interrupt.irs_int_id() {
                    self.on_any_pe(|pe| pe.cdhm(id, mode));
                }
            }
            Event::SetTarget { interrupt, iaffid, .. } => {
                self.take();
                self.judge_interrupt(line, interrupt);
                let Some(id) = interrupt.irs_int_id() else { return Ok(true) };
                let Some(before) = self.machine.interrupt(id) else { return Ok(true) };
                self.on_any_pe(|pe| pe.cdaff(id, iaffid));
                self.expect_candidate(before.iaffid())?;
                self.expect_candidate(iaffid)?;
            }
            Event::RequestConfig { interrupt, icsr } => {
                self.take();
                self.judge_interrupt(line, interrupt);
                self.compare_configuration(line, interrupt, icsr);
            }
            Event::Acknowledge { domain, intid } => self.acknowledge(line, on, domain, intid)?,
            Event::AcknowledgeFail { domain, reason } => self.acknowledge_nothing(line, on, domain, reason),
            Event::PriorityDrop { domain } => {
                self.take();
                self.judge_domain(line, domain);
                let Some(pe) = self.pe(line, on, Check::Signals)? else { return Ok(true) };
                self.on_pe(pe, |pe| pe.cdeoi());
                self.expect_signals(pe)?;
            }
            Event::DeactivateRequest { domain, intid } => self.deactivate(line, on, domain, intid)?,
            Event::PpiWire { ppi, high } => {
                self.take();
                let Some(pe) = self.pe(line, on, Check::PpiCandidate)? else { return Ok(true) };
                self.machine.set_ppi_wire(PeIndex(pe as u16), ppi, high);
                self.expect_ppis(pe, None)?;
            }
            Event::Activate { .. } | Event::Deactivate { .. } => {
                self.take();
                self.misplaced(line, "nothing before it makes the IRS activate or deactivate an interrupt");
            }
        }
        Ok(true)
    }

    // --- lines --------------------------------------------------------------------------------------------------

    /// Takes the line that is next.
    fn take(&mut self) {
        if let Some(placed) = self.source.pop() {
            self.last = placed.line.number;
            self.tally.line(placed.line);
            if let Some(excess) = placed.line.excess {
                self.tally.check(Check::Range);
                let text = format!("there is no such answer: {excess}");
                self.tally.diverge(placed.line, Check::Range, None, Vec::new(), text);
            }
        }
    }

    /// The line that is next, within an operation that is not complete.
    fn next(&mut self, wanted: &str) -> Result<Line, Stop> {
        match self.source.peek(0)? {
            Some(placed) => Ok(placed.line),
            None => Err(Stop::Input(format!("line {}: the trace ends where {wanted} must follow", self.last))),
        }
    }

    fn diverge(&mut self, line: Line, check: Check, model: String) {
        self.tally.diverge(line, check, names(&line.event), Vec::new(), model);
    }

    fn misplaced(&mut self, line: Line, why: &str) {
        self.tally.check(Check::Order);
        self.diverge(line, Check::Order, format!("the line is out of place: {why}"));
    }

    /// Everything is of the Non-secure domain.
    fn judge_domain(&mut self, line: Line, domain: Domain) {
        if domain != Domain::NonSecure {
            self.misplaced(line, "the model has the Non-secure domain only");
        }
    }

    fn judge_interrupt(&mut self, line: Line, interrupt: Interrupt) {
        self.judge_domain(line, interrupt.domain);
        if interrupt.space == Space::Virtual {
            self.misplaced(line, "the model has no virtual interrupts");
        }
    }

    /// The PE an operation of a CPU interface happened on. Skips the operation if there is none.
    fn pe(&mut self, line: Line, on: On, check: Check) -> Result<Option<usize>, Stop> {
        match on {
            On::Pe(pe) => Ok(Some(pe.into())),
            On::Nobody | On::Somebody => {
                self.tally.check(check);
                self.diverge(line, check, "the state of no PE agrees with this line".to_owned());
                while let Some(placed) = self.source.peek(0)?
                    && matches!(placed.line.event, Event::PpiCandidate { .. } | Event::Signals { .. })
                {
                    self.tally.untold(Untold::Skipped, placed.line);
                    self.take();
                }
                Ok(None)
            }
        }
    }

    fn on_pe(&self, pe: usize, f: impl FnOnce(&Pe<'_, ModelPe>)) {
        if let Some(cpu) = self.cpus.get(pe) {
            f(&Pe::new(&cpu.pe));
        }
    }

    /// The IRS does not ask who executes an instruction.
    fn on_any_pe(&self, f: impl FnOnce(&Pe<'_, ModelPe>)) {
        self.on_pe(0, f);
    }

    // --- registers of the IRS -----------------------------------------------------------------------------------

    /// Lines that only an access to a register explains, which comes after them.
    fn before_access(&mut self, line: Line) -> Result<(), Stop> {
        let most = 8 + 4 * self.cpus.len();
        let mut count = 1;
        let found = loop {
            let Some(placed) = self.source.peek(count)? else {
                let wanted = "the register access that caused it";
                return Err(Stop::Input(format!("line {}: the trace ends where {wanted} must follow", line.number)));
            };
            match placed.line.event {
                Event::IstValid { .. }
                | Event::IstInvalid { .. }
                | Event::IrsCandidate { .. }
                | Event::IrsNoCandidate { .. }
                | Event::Signals { .. }
                | Event::SpiState { .. }
                    if count < most =>
                {
                    count += 1;
                }
                _ => break placed.line,
            }
        };
        let register = match found.event {
            Event::Write { offset, .. } | Event::Read { offset, .. } => register_at(offset),
            _ => None,
        };
        let explains = match (found.event, register) {
            (Event::Read { .. }, Some((IrsReg::IRS_CR0, _))) => true,
            (Event::Write { .. }, Some((register, _))) => {
                matches!(register, IrsReg::IRS_IST_BASER | IrsReg::IRS_SPI_CFGR | IrsReg::IRS_SPI_RESAMPLER)
            }
            _ => false,
        };
        if explains {
            return self.access(found);
        }
        self.take();
        self.misplaced(line, "neither what comes before it nor a register access after it causes it");
        Ok(())
    }

    /// An access to a register; what it causes comes before its line.
    fn access(&mut self, access: Line) -> Result<(), Stop> {
        let value = match access.event {
            Event::Write { domain, offset, data, size } | Event::BadWrite { domain, offset, data, size } => {
                self.judge_domain(access, domain);
                self.write(offset, data, size)?;
                None
            }
            Event::Read { domain, offset, data, size } => {
                self.judge_domain(access, domain);
                if register_at(offset) == Some((IrsReg::IRS_CR0, 0)) {
                    self.before_read_of_cr0()?;
                }
                Some((offset, data, size))
            }
            Event::BadRead { domain, offset, size } => {
                self.judge_domain(access, domain);
                Some((offset, 0, size))
            }
            _ => None,
        };
        while let Some(placed) = self.source.peek(0)?
            && placed.line.number != access.number
        {
            self.take();
            self.misplaced(placed.line, "the register access that follows does not cause it");
        }
        self.take();
        if let Some((offset, data, size)) = value {
            self.compare_read(access, offset, data, size);
        }
        Ok(())
    }

    fn read_register(&self, offset: u32, size: AccessSize) -> u64 {
        let Ok(offset) = u16::try_from(offset) else { return 0 };
        match size {
            AccessSize::Word => self.machine.read32(FRAME, offset).into(),
            AccessSize::Doubleword => self.machine.read64(FRAME, offset),
        }
    }

    fn compare_read(&mut self, line: Line, offset: u32, data: u64, size: AccessSize) {
        if (0xffd0..0xfff0).contains(&offset) {
            return self.tally.untold(Untold::Identification, line);
        }
        let register = register_at(offset);
        let check = if register.is_some() { Check::RegisterRead } else { Check::ReservedOffset };
        self.tally.check(check);
        let model = self.read_register(offset, size);
        if model == data {
            return;
        }
        let devarch = register == Some((IrsReg::IRS_DEVARCH, 0));
        if devarch && data as u32 == 0x8010_5a19 && model == 0x4770_5a19 {
            return self.tally.explain(Defect::Devarch, line);
        }
        let name = register.map_or("a reserved offset".to_owned(), |(register, _)| register.to_string());
        self.diverge(line, check, format!("{name} reads {model:#x}"));
    }

    /// Reading IRS_CR0 makes QEMU look at every PE again.
    fn before_read_of_cr0(&mut self) -> Result<(), Stop> {
        let enabled = self.irs_is_enabled();
        for pe in 0..self.cpus.len() {
            if enabled {
                self.expect_candidate(Iaffid::new(pe as u16))?;
            } else {
                if let Some(cpu) = self.cpus.get_mut(pe) {
                    cpu.offered = Candidate::NONE;
                    cpu.stale = false;
                }
                self.expect_signals(pe)?;
            }
        }
        Ok(())
    }

    fn irs_is_enabled(&self) -> bool {
        self.machine.read::<IRS_CR0>(IRS).irsen()
    }

    fn write(&mut self, offset: u32, data: u64, size: AccessSize) -> Result<(), Stop> {
        let register = register_at(offset).map(|(register, _)| register);
        let write = |machine: &Machine| {
            let Ok(offset) = u16::try_from(offset) else { return };
            match size {
                AccessSize::Word => machine.write32(FRAME, offset, data as u32),
                AccessSize::Doubleword => machine.write64(FRAME, offset, data),
            }
        };
        match register {
            Some(IrsReg::IRS_CR0) => {
                let before = self.irs_is_enabled();
                write(&self.machine);
                if self.irs_is_enabled() != before {
                    self.cpus.iter_mut().for_each(|cpu| cpu.stale = true);
                }
            }
            Some(IrsReg::IRS_IST_BASER) => {
                let before = self.machine.read::<IRS_IST_BASER>(IRS).valid();
                write(&self.machine);
                let after = self.machine.read::<IRS_IST_BASER>(IRS).valid();
                if after != before {
                    self.expect_ist(after)?;
                    for pe in 0..self.cpus.len() {
                        self.expect_candidate(Iaffid::new(pe as u16))?;
                    }
                }
            }
            Some(IrsReg::IRS_SPI_CFGR) => {
                let before = self.machine.read::<IRS_SPI_CFGR>(IRS).tm();
                write(&self.machine);
                if self.machine.read::<IRS_SPI_CFGR>(IRS).tm() != before {
                    let spi = self.machine.read::<IRS_SPI_SELR>(IRS).id();
                    self.expect_candidate_of(IrsIntId::Spi(spi))?;
                }
            }
            Some(IrsReg::IRS_SPI_RESAMPLER) => {
                write(&self.machine);
                let spi = IRS_SPI_RESAMPLER::new_with_raw_value(data as u32).spi_id();
                if spi.id().checked_sub(self.spis.0).is_some_and(|n| n < self.spis.1) {
                    self.expect_candidate_of(IrsIntId::Spi(spi))?;
                    self.expect_spi_state(spi)?;
                }
            }
            Some(IrsReg::IRS_MAP_L2_ISTR) => {
                self.invent_level2(IRS_MAP_L2_ISTR::new_with_raw_value(data as u32));
                write(&self.machine);
            }
            _ => write(&self.machine),
        }
        Ok(())
    }

    /// A trace does not show memory: software has written a level-1 entry, and where it pointed does not matter.
    fn invent_level2(&mut self, command: IRS_MAP_L2_ISTR) {
        let Some((base, geometry)) = self.machine.ist() else { return };
        let (Ok(TableIndex::TwoLevel { level1, .. }), Some(level2)) =
            (geometry.index(command.id().id()), geometry.level2())
        else {
            return;
        };
        let Ok(entry) = base.offset(level1.offset) else { return };
        if self.invented.iter().any(|(known, _)| *known == entry) {
            return;
        }
        let Some(block) = PhysAddr::new(MEMORY - 1)
            .ok()
            .and_then(|highest| BlockLayout::new(level2.size(), level2.size().max(4096), highest).ok())
            .and_then(|layout| self.machine.allocate(layout).ok())
        else {
            return;
        };
        if let Ok(address) = Addr55_12::new(block.address()) {
            self.machine.store_anywhere(entry, L1_ISTE::ZERO.with_l2_addr(address).raw_value());
            self.machine.barrier();
        }
        self.invented.push((entry, block));
    }

    fn expect_ist(&mut self, valid: bool) -> Result<(), Stop> {
        let wanted = if valid { "gicv5_ist_valid" } else { "gicv5_ist_invalid" };
        let line = self.next(wanted)?;
        self.tally.check(Check::IstShape);
        match (line.event, valid) {
            (Event::IstInvalid { domain }, false) => {
                self.take();
                self.judge_domain(line, domain);
                for (entry, block) in std::mem::take(&mut self.invented) {
                    self.machine.store_anywhere(entry, 0);
                    self.machine.free(block);
                }
                self.machine.barrier();
            }
            (Event::IstValid { domain, base, id_bits, l2_index_bits, entry_size, structure }, true) => {
                self.take();
                self.judge_domain(line, domain);
                let address = self.machine.read::<IRS_IST_BASER>(IRS).addr().address().raw();
                let Some((_, geometry)) = self.machine.ist() else {
                    self.diverge(line, Check::IstShape, "no table was taken".to_owned());
                    return Ok(());
                };
                // QEMU says the size of level-2 tables even where there are none.
                let l2_size = self.machine.read::<IRS_IST_CFGR>(IRS).l2sz().unwrap_or(L2Size::KiB4);
                let l2_bytes = geometry.level2().map_or(l2_size.bytes(), |level2| level2.size());
                let entry = geometry.entry_size().bytes();
                let model =
                    (address, geometry.id_bits(), (l2_bytes / entry).trailing_zeros(), entry, geometry.structure());
                if model != (base, id_bits.into(), l2_index_bits.into(), entry_size.into(), structure) {
                    let (base, id_bits, l2_index_bits, entry_size, structure) = model;
                    let model = format!(
                        "base {base:#x} id_bits {id_bits} l2_idx_bits {l2_index_bits} IST entry size {entry_size} \
                         2-level {}",
                        structure.raw_value()
                    );
                    self.diverge(line, Check::IstShape, model);
                }
            }
            _ => self.diverge(line, Check::IstShape, format!("{wanted} comes here")),
        }
        Ok(())
    }

    // --- instructions -------------------------------------------------------------------------------------------

    /// What QEMU may have got wrong about an SPI.
    fn suspicion(&mut self, interrupt: Interrupt) -> Option<&mut Suspicion> {
        match interrupt.irs_int_id()? {
            IrsIntId::Spi(spi) => Some(self.suspicions.entry(spi.id()).or_default()),
            IrsIntId::Lpi(_) => None,
        }
    }

    /// An instruction that changes one LPI or SPI where it is.
    fn instruct(
        &mut self,
        line: Line,
        interrupt: Interrupt,
        f: impl FnOnce(&Pe<'_, ModelPe>, IrsIntId),
    ) -> Result<(), Stop> {
        self.take();
        self.judge_interrupt(line, interrupt);
        let Some(id) = interrupt.irs_int_id() else { return Ok(()) };
        self.on_any_pe(|pe| f(pe, id));
        self.expect_candidate_of(id)
    }

    fn compare_configuration(&mut self, line: Line, interrupt: Interrupt, icsr: u64) {
        use gicv5_arch::sysreg::ICC_ICSR_EL1;
        let Some(id) = interrupt.irs_int_id() else { return };
        self.tally.check(Check::Configuration);
        let mut model = 0;
        self.on_any_pe(|pe| {
            pe.cdrcfg(id);
            model = pe.read::<ICC_ICSR_EL1>().raw_value();
        });
        if model == icsr {
            return;
        }
        let theirs = ICC_ICSR_EL1::new_with_raw_value(icsr);
        let Some(entry) = self.machine.interrupt(id) else {
            return self.diverge(line, Check::Configuration, format!("ICSR is {model:#x}: the interrupt has no place"));
        };
        let taken = entry
            .with_enable(theirs.enabled())
            .with_pending(theirs.pending())
            .with_active(theirs.active())
            .with_hm(theirs.hm())
            .with_iaffid(theirs.iaffid())
            .with_priority(theirs.priority());
        if Some(taken) == self.with_defect(id, entry) {
            self.tally.explain(Defect::SpiEnable, line);
        } else {
            self.diverge(line, Check::Configuration, format!("ICSR is {model:#x}: {}", describe(entry)));
        }
        if !theirs.f() {
            self.take_over(id, taken);
        }
    }

    /// The state of an SPI as QEMU has it if the defect has struck.
    fn with_defect(&self, id: IrsIntId, entry: L2_ISTE) -> Option<L2_ISTE> {
        let IrsIntId::Spi(spi) = id else { return None };
        let suspicion = self.suspicions.get(&spi.id())?;
        let struck =
            entry.with_enable(entry.enable() || suspicion.disabled).with_pending(entry.pending() || suspicion.cleared);
        (struck != entry).then_some(struck)
    }

    /// The model goes on with the state that the trace shows.
    fn take_over(&mut self, id: IrsIntId, entry: L2_ISTE) {
        if self.machine.set_interrupt(id, entry) {
            self.tally.taken_over += 1;
        }
        if let IrsIntId::Spi(spi) = id {
            self.suspicions.remove(&spi.id());
        }
    }

    fn acknowledge(&mut self, line: Line, on: On, domain: Domain, intid: u32) -> Result<(), Stop> {
        self.take();
        self.judge_domain(line, domain);
        let id = IntId::from_raw(intid).ok();
        let ppi_follows =
            self.source.peek(0)?.is_some_and(|next| matches!(next.line.event, Event::PpiCandidate { .. }));
        let kind_follows = id.is_some() && matches!(id, Some(IntId::Ppi(_))) == ppi_follows;
        let contradicted = self.source.contradicted(line).map(<[u64]>::to_vec);
        let pe = match (on, id) {
            (On::Pe(pe), _) if contradicted.is_some() || !kind_follows => {
                return self.acknowledge_other(line, pe.into(), ppi_follows, contradicted.unwrap_or_default());
            }
            (On::Pe(pe), _) => usize::from(pe),
            // Who took an LPI or SPI is who it is routed to.
            (_, Some(IntId::Lpi(_) | IntId::Spi(_))) => {
                self.tally.check(Check::Acknowledge);
                self.diverge(line, Check::Acknowledge, "no PE could take it".to_owned());
                let target = id.and_then(|id| self.machine.interrupt(IrsIntId::try_from(id).ok()?));
                match target.and_then(|entry| self.index(entry.iaffid())) {
                    Some(pe) => {
                        self.force_acknowledge(pe, id);
                        return self.after_acknowledge(pe, id);
                    }
                    None => return self.after_acknowledge(0, id),
                }
            }
            _ => match self.pe(line, on, Check::Acknowledge)? {
                Some(pe) => pe,
                None => return Ok(()),
            },
        };
        self.see_mask(pe, line, true);
        self.tally.check(Check::Acknowledge);
        let index = PeIndex(pe as u16);
        let model = self.machine.hppi(index);
        let mut same = id.is_some() && model.map(|(id, _)| id) == id;
        if !same
            && let (Some(id), Some((_, priority))) = (id, model)
            && let Ok(irs) = IrsIntId::try_from(id)
            && self.machine.interrupt(irs).is_some_and(|entry| entry.priority() == priority)
            && (self.machine.candidate(index) == Some((irs, priority)) || self.machine.prefer(irs))
            && self.machine.candidate(index) == Some((irs, priority))
        {
            self.tally.ties += 1;
            same = self.machine.hppi(index) == Some((id, priority));
            if !same {
                // The PPI would have been as good (HPPI-4).
                self.force_acknowledge(pe, Some(id));
                return self.after_acknowledge(pe, Some(id));
            }
        }
        if same {
            let mut taken = None;
            self.on_pe(pe, |pe| taken = pe.cdia().int_id());
            if taken != id {
                self.diverge(line, Check::Acknowledge, format!("GICR CDIA returns {}", shown(taken)));
            }
        } else {
            let theirs = self.stale_hppi(pe);
            if theirs.is_some() && theirs.map(|(id, _)| id) == id {
                self.tally.explain(Defect::ReadOfCr0, line);
            } else {
                let hppi = model.map_or("there is nothing to acknowledge".to_owned(), |(id, priority)| {
                    format!("{id} with {priority} is to be acknowledged")
                });
                let state = self.state_of(id);
                self.diverge(line, Check::Acknowledge, format!("{hppi} on PE {pe}{state}"));
            }
            self.force_acknowledge(pe, id);
        }
        self.after_acknowledge(pe, id)
    }

    /// An acknowledge of something else than the trace says: what follows is about something else.
    fn acknowledge_other(&mut self, line: Line, pe: usize, ppi: bool, suspects: Vec<u64>) -> Result<(), Stop> {
        self.tally.check(Check::Acknowledge);
        let mut taken = None;
        let model = self.machine.hppi(PeIndex(pe as u16)).map(|(id, _)| id);
        if model.is_some_and(|id| matches!(id, IntId::Ppi(_)) == ppi) {
            self.on_pe(pe, |pe| taken = pe.cdia().int_id());
        }
        let text = format!("PE {pe} acknowledges {}: {CONTRADICTED}", shown(model));
        self.tally.diverge(line, Check::Acknowledge, model, suspects, text);
        match taken {
            Some(_) => self.after_acknowledge(pe, taken),
            None if ppi => self.expect_ppis(pe, None),
            None => Ok(()),
        }
    }

    /// The lines that follow an acknowledge.
    fn after_acknowledge(&mut self, pe: usize, id: Option<IntId>) -> Result<(), Stop> {
        match id {
            Some(IntId::Ppi(ppi)) => self.expect_ppis(pe, Some(ppi)),
            Some(id) => match IrsIntId::try_from(id) {
                Ok(id) => {
                    self.expect_activate(id, true)?;
                    self.expect_candidate_of(id)
                }
                Err(_) => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Activates what the trace says was acknowledged, though the model would not.
    fn force_acknowledge(&mut self, pe: usize, id: Option<IntId>) {
        let priority = match id {
            Some(IntId::Ppi(ppi)) => {
                let mut priority = None;
                self.on_pe(pe, |pe| {
                    let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
                    priority = Some(PPI_PRIORITYR::new_with_raw_value(pe.read_raw(register)).priority(ppi));
                    pe.write_raw(SysReg::icc_ppi_sactiver(ppi.bank()), ppi.mask());
                    pe.write_raw(SysReg::icc_ppi_cpendr(ppi.bank()), ppi.mask());
                });
                priority
            }
            Some(id) => match IrsIntId::try_from(id).ok().and_then(|id| Some((id, self.machine.interrupt(id)?))) {
                Some((id, entry)) => {
                    let pending = entry.pending() && entry.hm() == HandlingMode::Level;
                    self.take_over(id, entry.with_active(true).with_pending(pending));
                    Some(entry.priority())
                }
                None => None,
            },
            None => None,
        };
        if let Some(priority) = priority {
            self.on_pe(pe, |pe| {
                let active = active(pe).activate(priority);
                pe.write_raw(SysReg::ICC_APR_EL1, APR::ZERO.with_p(active).raw_value());
            });
        }
    }

    fn acknowledge_nothing(&mut self, line: Line, on: On, domain: Domain, reason: AcknowledgeFailure) {
        self.take();
        self.judge_domain(line, domain);
        self.tally.check(Check::NothingToAcknowledge);
        let On::Pe(pe) = on else {
            return self.diverge(line, Check::NothingToAcknowledge, "every PE has something to acknowledge".to_owned());
        };
        let pe = usize::from(pe);
        self.see_mask(pe, line, false);
        let model = self.machine.hppi(PeIndex(pe as u16));
        let agrees = match (reason, model) {
            (AcknowledgeFailure::NothingAvailable, None) => true,
            (AcknowledgeFailure::NotAnNmi, Some((_, priority))) => priority != Priority::MOST_URGENT,
            (AcknowledgeFailure::IsAnNmi, Some((_, priority))) => priority == Priority::MOST_URGENT,
            _ => false,
        };
        if agrees {
            return;
        }
        if self.stale(pe) && self.stale_hppi(pe).is_none() && reason == AcknowledgeFailure::NothingAvailable {
            return self.tally.explain(Defect::ReadOfCr0, line);
        }
        let state = self.state_of(model.map(|(id, _)| id));
        let hppi = shown(model.map(|(id, _)| id));
        let model_id = model.map(|(id, _)| id);
        let suspects = self.inferred(pe, None);
        let text = format!("{hppi} is to be acknowledged on PE {pe}{state}");
        self.tally.diverge(line, Check::NothingToAcknowledge, model_id, suspects, text);
    }

    fn deactivate(&mut self, line: Line, on: On, domain: Domain, intid: u32) -> Result<(), Stop> {
        self.take();
        self.judge_domain(line, domain);
        let Ok(id) = IntId::from_raw(intid) else { return Ok(()) };
        match IrsIntId::try_from(id) {
            Ok(irs) => {
                self.on_any_pe(|pe| pe.cddi(id));
                self.expect_activate(irs, false)?;
                self.expect_candidate_of(irs)
            }
            Err(_) => {
                let Some(pe) = self.pe(line, on, Check::PpiCandidate)? else { return Ok(()) };
                self.on_pe(pe, |pe| pe.cddi(id));
                self.expect_ppis(pe, None)
            }
        }
    }

    /// The IRS repeats the interrupt of an acknowledge or a deactivate.
    fn expect_activate(&mut self, id: IrsIntId, activate: bool) -> Result<(), Stop> {
        let (check, wanted) = match activate {
            true => (Check::Activate, "gicv5_activate"),
            false => (Check::Deactivate, "gicv5_deactivate"),
        };
        let line = self.next(wanted)?;
        self.tally.check(check);
        let (interrupt, kind) = match line.event {
            Event::Activate { interrupt } => (interrupt, true),
            Event::Deactivate { interrupt } => (interrupt, false),
            _ => {
                self.diverge(line, check, format!("{wanted} of {id} comes here"));
                return Ok(());
            }
        };
        self.take();
        let same = interrupt.irs_int_id() == Some(id)
            && kind == activate
            && interrupt.domain == Domain::NonSecure
            && interrupt.space == Space::Physical;
        if !same {
            self.diverge(line, check, format!("{wanted} of {id}, the interrupt of the line before"));
        }
        Ok(())
    }

    // --- candidates of the IRS ----------------------------------------------------------------------------------

    /// What the IRS offers the target of an interrupt. There is nothing to say if the interrupt cannot be reached.
    fn expect_candidate_of(&mut self, id: IrsIntId) -> Result<(), Stop> {
        match self.machine.interrupt(id) {
            Some(entry) => self.expect_candidate(entry.iaffid()),
            None => Ok(()),
        }
    }

    fn index(&self, iaffid: Iaffid) -> Option<usize> {
        Some(usize::from(iaffid.raw_value())).filter(|pe| *pe < self.cpus.len())
    }

    fn expect_candidate(&mut self, target: Iaffid) -> Result<(), Stop> {
        let line = self.next("gicv5_irs_recalc_hppi")?;
        match line.event {
            Event::IrsCandidate { domain, iaffid, candidate } => {
                self.take();
                self.judge_domain(line, domain);
                self.tally.check(Check::IrsCandidate);
                let Some(pe) = self.index(target).filter(|_| iaffid == target) else {
                    let what = match self.index(target) {
                        Some(_) => format!("{target} is looked at"),
                        None => format!("{target} is the target, which is no PE"),
                    };
                    self.diverge(line, Check::IrsCandidate, what);
                    return self.skip_signals();
                };
                self.compare_candidate(line, pe, candidate);
                self.expect_signals(pe)
            }
            Event::IrsNoCandidate { domain, iaffid, reason } => {
                self.take();
                self.judge_domain(line, domain);
                self.tally.check(Check::NoCandidate);
                // Which PE is meant comes first.
                let model = match self.index(target) {
                    None => Some(NoCandidate::UnknownIaffid),
                    Some(_) if !self.irs_is_enabled() => Some(NoCandidate::IrsDisabled),
                    Some(_) => None,
                };
                if iaffid != target || model != Some(reason) {
                    let model = model.map_or("there is a PE, and the IRS is on", NoCandidate::words);
                    self.diverge(line, Check::NoCandidate, format!("{target}: {model}"));
                }
                Ok(())
            }
            _ => {
                self.misplaced(line, &format!("gicv5_irs_recalc_hppi for {target} comes here"));
                Ok(())
            }
        }
    }

    /// The outputs after a candidate of nobody in particular.
    fn skip_signals(&mut self) -> Result<(), Stop> {
        if let Some(placed) = self.source.peek(0)?
            && matches!(placed.line.event, Event::Signals { .. })
        {
            self.tally.untold(Untold::Skipped, placed.line);
            self.take();
        }
        Ok(())
    }

    fn compare_candidate(&mut self, line: Line, pe: usize, candidate: Candidate) {
        if let Some(cpu) = self.cpus.get_mut(pe) {
            cpu.offered = candidate;
            cpu.stale = false;
        }
        let index = PeIndex(pe as u16);
        let model = self.machine.candidate(index);
        if let Some(suspects) = self.source.contradicted(line).map(<[u64]>::to_vec) {
            let id = model.map(|(id, _)| IntId::from(id));
            let text = format!("the candidate for PE {pe} is {}: {CONTRADICTED}", shown(id));
            return self.tally.diverge(line, Check::IrsCandidate, id, suspects, text);
        }
        if candidate == Candidate::NONE {
            if model.is_none() {
                if !self.irs_is_enabled() {
                    self.diverge(
                        line,
                        Check::IrsCandidate,
                        "IRS_CR0.IRSEN is zero, so there is no candidate".to_owned(),
                    );
                }
                return;
            }
        } else if let Some((id, priority)) = model
            && candidate.priority == priority.number()
        {
            if candidate.intid == IntId::from(id).raw() {
                return;
            }
            // Which of several equals is offered is not fixed; the model follows (HPPI-4).
            if let Some(theirs) = IntId::from_raw(candidate.intid).ok().and_then(|id| IrsIntId::try_from(id).ok())
                && self.machine.interrupt(theirs).is_some_and(|entry| entry.iaffid() == Iaffid::new(pe as u16))
                && self.machine.prefer(theirs)
            {
                self.tally.ties += 1;
                return;
            }
        }
        self.other_candidate(line, pe, candidate, model);
    }

    /// The trace shows a candidate that the model would not offer.
    #[cold]
    fn other_candidate(&mut self, line: Line, pe: usize, candidate: Candidate, model: Option<(IrsIntId, Priority)>) {
        let theirs = candidate.interrupt().and_then(|(id, priority)| Some((IrsIntId::try_from(id).ok()?, priority)));
        let target = Iaffid::new(pe as u16);
        if let Some((id, priority)) = theirs
            && let Some(entry) = self.machine.interrupt(id)
            && let Some(struck) = self.with_defect(id, entry)
            && struck.pending()
            && struck.enable()
            && !struck.active()
            && (struck.iaffid(), struck.priority()) == (target, priority)
            && model.is_none_or(|(_, best)| !best.is_more_urgent_than(priority))
        {
            self.tally.explain(Defect::SpiEnable, line);
            self.take_over(id, struck);
            self.machine.prefer(id);
            return;
        }
        let about = theirs.or(model).map(|(id, _)| IntId::from(id));
        let offer = model.map_or("no candidate".to_owned(), |(id, priority)| format!("{id} with {priority}"));
        let state = self.state_of(theirs.map(|(id, _)| IntId::from(id)));
        let text = format!("the candidate for PE {pe} is {offer}{state}");
        self.tally.diverge(line, Check::IrsCandidate, about, Vec::new(), text);
        // What the trace shows is more urgent than all else, so all that is more urgent in the model is not pending there.
        let index = PeIndex(pe as u16);
        for _ in 0..64 {
            match self.machine.candidate(index) {
                Some((id, best)) if theirs.is_none_or(|(_, priority)| best.is_more_urgent_than(priority)) => {
                    let Some(entry) = self.machine.interrupt(id) else { break };
                    self.take_over(id, entry.with_pending(false));
                }
                _ => break,
            }
        }
        if let Some((id, priority)) = theirs
            && let Some(entry) = self.machine.interrupt(id)
        {
            let entry = entry.with_pending(true).with_enable(true).with_active(false);
            self.take_over(id, entry.with_priority(priority).with_iaffid(target).with_irm(RoutingMode::Targeted));
            self.machine.prefer(id);
        }
    }

    fn expect_spi_state(&mut self, spi: Spi) -> Result<(), Stop> {
        let line = self.next("gicv5_spi_state")?;
        self.tally.check(Check::SpiState);
        let Event::SpiState { spi: theirs, high, pending, active } = line.event else {
            self.diverge(line, Check::SpiState, format!("gicv5_spi_state of SPI {} comes here", spi.id()));
            return Ok(());
        };
        self.take();
        if line.excess.is_some() {
            return Ok(());
        }
        let id = IrsIntId::Spi(spi);
        let wire = self.machine.spi_wire(spi);
        let Some(entry) = self.machine.interrupt(id) else {
            self.diverge(line, Check::SpiState, "this IRS does not have the SPI".to_owned());
            return Ok(());
        };
        if (theirs, Some(high), pending, active) == (spi, wire, entry.pending(), entry.active()) {
            return Ok(());
        }
        let struck = self.with_defect(id, entry);
        let explained = theirs == spi
            && Some(high) == wire
            && struck.is_some_and(|struck| (struck.pending(), struck.active()) == (pending, active));
        if explained {
            self.tally.explain(Defect::SpiEnable, line);
        } else {
            let level = wire.map_or("no wire".to_owned(), |high| format!("level {}", u8::from(high)));
            let model = format!("SPI {}: {level}, {}", spi.id(), describe(entry));
            self.diverge(line, Check::SpiState, model);
        }
        if theirs == spi {
            self.take_over(id, entry.with_pending(pending).with_active(active));
        }
        Ok(())
    }

    // --- CPU interfaces -----------------------------------------------------------------------------------------

    fn stale(&self, pe: usize) -> bool {
        self.cpus.get(pe).is_some_and(|cpu| cpu.stale)
    }

    /// What would be taken if the CPU interface still had the candidate that the trace showed last (hazard 2).
    fn stale_hppi(&self, pe: usize) -> Option<(IntId, Priority)> {
        let cpu = self.cpus.get(pe).filter(|cpu| cpu.stale)?;
        let ppi = self.machine.ppi_candidate(cpu.pe.index()).map(|(ppi, priority)| (IntId::Ppi(ppi), priority));
        let best = match (ppi, cpu.offered.interrupt()) {
            (Some(ppi), Some(irs)) if irs.1.is_more_urgent_than(ppi.1) => Some(irs),
            (ppi, irs) => ppi.or(irs),
        };
        let running = active(&Pe::new(&cpu.pe)).running();
        best.filter(|(_, priority)| priority.preempts(running) && priority.number() as i8 <= cpu.mask.highest)
    }

    /// The lines from which was inferred what software has written to a CPU interface.
    fn inferred(&self, pe: usize, ppi: Option<Ppi>) -> Vec<u64> {
        let Some(cpu) = self.cpus.get(pe) else { return Vec::new() };
        let line = match ppi {
            Some(ppi) => cpu.ppi_lines.get(&(ppi.id() as u8)).copied(),
            None => Some(cpu.mask_line).filter(|line| *line != 0),
        };
        line.into_iter().collect()
    }

    /// A line shows that something is or is not signalled: what does that say about the mask, if that is not known?
    fn see_mask(&mut self, pe: usize, line: Line, signalled: bool) {
        let Some(cpu) = self.cpus.get_mut(pe) else { return };
        if cpu.mask.is_known() {
            return;
        }
        let index = cpu.pe.index();
        let ppi = self.machine.ppi_candidate(index).map(|(_, priority)| priority);
        let irs = self.machine.candidate(index).map(|(_, priority)| priority);
        let best = match (ppi, irs) {
            (Some(ppi), Some(irs)) if irs.is_more_urgent_than(ppi) => Some(irs),
            (ppi, irs) => ppi.or(irs),
        };
        let handle = Pe::new(&cpu.pe);
        let Some(best) = best.filter(|best| best.preempts(active(&handle).running())) else { return };
        let Some(mask) = cpu.mask.seen(best, signalled) else { return };
        if mask != cpu.mask {
            cpu.mask = mask;
            cpu.mask_line = line.number;
        }
        let number = Priority::new(mask.highest.max(0) as u32).unwrap_or(Priority::MOST_URGENT);
        handle.write(ICC_CR0_EL1::ZERO.with_en(mask.highest >= 0));
        handle.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(number).raw_value());
    }

    fn expect_signals(&mut self, pe: usize) -> Result<(), Stop> {
        let line = self.next("gicv5_update_irq_fiq")?;
        if !matches!(line.event, Event::Signals { .. }) {
            self.misplaced(line, &format!("gicv5_update_irq_fiq of PE {pe} comes here"));
            return Ok(());
        }
        self.take();
        self.compare_signals(line, pe);
        Ok(())
    }

    fn compare_signals(&mut self, line: Line, pe: usize) {
        let Event::Signals { irq, fiq, nmi } = line.event else { return };
        self.tally.check(Check::Signals);
        let signalled = irq || nmi;
        let contradicted = self.source.contradicted(line).map(<[u64]>::to_vec);
        if contradicted.is_none() {
            self.see_mask(pe, line, signalled);
        }
        let index = PeIndex(pe as u16);
        let model = match self.machine.signals(index).irq {
            true => self.machine.hppi(index),
            false => None,
        };
        let outputs = |hppi: Option<(IntId, Priority)>| match hppi {
            None => (false, false, false),
            Some((_, priority)) => (priority != Priority::MOST_URGENT, false, priority == Priority::MOST_URGENT),
        };
        if let Some(suspects) = contradicted {
            let id = model.map(|(id, _)| id);
            let text = format!("PE {pe} is signalled {}: {CONTRADICTED}", shown(id));
            return self.tally.diverge(line, Check::Signals, id, suspects, text);
        }
        if outputs(model) == (irq, fiq, nmi) {
            return;
        }
        if self.stale(pe) && outputs(self.stale_hppi(pe)) == (irq, fiq, nmi) {
            return self.tally.explain(Defect::ReadOfCr0, line);
        }
        let text = match model {
            Some((id, priority)) => format!("PE {pe} is signalled {id} with {priority}"),
            None => format!("PE {pe} is signalled nothing"),
        };
        let suspects = self.inferred(pe, None);
        self.tally.diverge(line, Check::Signals, model.map(|(id, _)| id), suspects, text);
        if let Some(cpu) = self.cpus.get_mut(pe)
            && !cpu.mask.is_known()
        {
            cpu.mask = Mask::UNKNOWN;
            self.see_mask(pe, line, signalled);
        }
    }

    /// Outputs that nothing before them explains.
    fn lone_signals(&mut self, line: Line, on: On) -> Result<(), Stop> {
        let mut count = 1;
        let follows = loop {
            match self.source.peek(count)? {
                Some(Placed { line: Line { event: Event::Signals { .. }, .. }, .. }) if count <= self.cpus.len() => {
                    count += 1;
                }
                other => break other.map(|placed| placed.line),
            }
        };
        if let Some(read @ Line { event: Event::Read { offset, .. }, .. }) = follows
            && register_at(offset) == Some((IrsReg::IRS_CR0, 0))
            && count == self.cpus.len()
            && !self.irs_is_enabled()
        {
            return self.access(read);
        }
        self.take();
        match on {
            On::Nobody => {
                self.tally.check(Check::Signals);
                let model = "no write to ICC_CR0_EL1 or ICC_PCR_EL1 of any PE makes these outputs".to_owned();
                self.diverge(line, Check::Signals, model);
            }
            _ => self.tally.untold(Untold::CpuRegister, line),
        }
        for cpu in &mut self.cpus {
            cpu.mask = Mask::UNKNOWN;
        }
        if self.cpus.len() == 1 {
            self.compare_signals(line, 0);
        }
        Ok(())
    }

    /// The PPI candidates of the four domains, then the outputs. `edge` is a PPI that was just acknowledged.
    fn expect_ppis(&mut self, pe: usize, acknowledged: Option<Ppi>) -> Result<(), Stop> {
        for number in 0..4 {
            let line = self.next("gicv5_recalc_ppi_hppi")?;
            let Event::PpiCandidate { domain, candidate } = line.event else {
                self.misplaced(line, &format!("gicv5_recalc_ppi_hppi of domain {number} comes here"));
                return Ok(());
            };
            self.take();
            self.tally.check(Check::PpiCandidate);
            if domain.raw_value().value() != number {
                self.diverge(line, Check::PpiCandidate, format!("domain {number} comes here"));
            } else if domain == Domain::NonSecure {
                self.compare_ppi(line, pe, candidate, acknowledged);
            } else if candidate != Candidate::NONE {
                let model = "all PPIs are of the Non-secure domain, number 1".to_owned();
                self.diverge(line, Check::PpiCandidate, model);
            }
        }
        self.expect_signals(pe)
    }

    fn compare_ppi(&mut self, line: Line, pe: usize, candidate: Candidate, acknowledged: Option<Ppi>) {
        let index = PeIndex(pe as u16);
        let theirs = match candidate.interrupt() {
            Some((IntId::Ppi(ppi), priority)) => Some((ppi, priority)),
            _ => None,
        };
        if let Some(suspects) = self.source.contradicted(line).map(<[u64]>::to_vec) {
            let id = self.machine.ppi_candidate(index).map(|(ppi, _)| IntId::Ppi(ppi));
            let text = format!("the best PPI of PE {pe} is {}: {CONTRADICTED}", shown(id));
            return self.tally.diverge(line, Check::PpiCandidate, id, suspects, text);
        }
        let Some(cpu) = self.cpus.get_mut(pe) else { return };
        let handle = Pe::new(&cpu.pe);
        let ready = handle.read_raw(SysReg::icc_ppi_spendr(PpiBank::Architected))
            & !handle.read_raw(SysReg::icc_ppi_sactiver(PpiBank::Architected));
        let theirs_mask = theirs.filter(|(ppi, _)| ppi.bank() == PpiBank::Architected).map_or(0, |(ppi, _)| ppi.mask());
        if acknowledged == Some(Ppi::SW_PPI) && ready & HIGH_PPIS != 0 && theirs_mask & HIGH_PPIS == 0 {
            // QEMU has forgotten that they are pending.
            let best = self.machine.ppi_candidate(index);
            for ppi in PpiSet::new_with_raw_value(ready & HIGH_PPIS).iter(PpiBank::Architected) {
                self.machine.set_ppi_wire(index, ppi, false);
            }
            if best.is_some_and(|(ppi, _)| ppi.mask() & HIGH_PPIS != 0) && self.machine.ppi_candidate(index) == theirs {
                self.tally.explain(Defect::PpiMask, line);
                self.tally.taken_over += 1;
                return;
            }
        }
        let Some(cpu) = self.cpus.get_mut(pe) else { return };
        if cpu.unknown & ready != 0 {
            let handle = Pe::new(&cpu.pe);
            if let Some((ppi, priority)) = theirs
                && ready & cpu.unknown & theirs_mask != 0
            {
                set_ppi(&handle, ppi, Some(priority));
                cpu.unknown &= !theirs_mask;
                cpu.ppi_lines.insert(ppi.id() as u8, line.number);
            }
            // What would have been shown instead is not enabled.
            if theirs.is_none() || theirs_mask != 0 {
                while let Some((ppi, _)) = self.machine.ppi_candidate(index).filter(|best| Some(*best) != theirs)
                    && cpu.unknown & ppi.mask() != 0
                {
                    set_ppi(&handle, ppi, None);
                    cpu.unknown &= !ppi.mask();
                    cpu.ppi_lines.insert(ppi.id() as u8, line.number);
                }
            }
            if theirs.is_none() {
                for ppi in PpiSet::new_with_raw_value(ready & cpu.unknown).iter(PpiBank::Architected) {
                    cpu.ppi_lines.insert(ppi.id() as u8, line.number);
                }
                cpu.unknown &= !ready;
            }
        }
        let model = self.machine.ppi_candidate(index);
        if model == theirs && (theirs.is_some() || candidate == Candidate::NONE) {
            return;
        }
        let handle = Pe::new(&cpu.pe);
        if let Some((ppi, _)) = theirs
            && ppi.bank() == PpiBank::Architected
            && ppi.mask() & HIGH_PPIS & handle.read_raw(SysReg::icc_ppi_sactiver(PpiBank::Architected)) != 0
        {
            // QEMU has forgotten that it is active, or never known.
            handle.write_raw(SysReg::icc_ppi_cactiver(PpiBank::Architected), ppi.mask());
            if self.machine.ppi_candidate(index) == theirs {
                self.tally.explain(Defect::PpiMask, line);
                self.tally.taken_over += 1;
                return;
            }
            handle.write_raw(SysReg::icc_ppi_sactiver(PpiBank::Architected), ppi.mask());
        }
        let about = theirs.or(model).map(|(ppi, _)| ppi);
        let text = match model {
            Some((ppi, priority)) => format!("the best PPI of PE {pe} is {} with {priority}", IntId::Ppi(ppi)),
            None => format!("no PPI of PE {pe} is a candidate"),
        };
        let suspects = self.inferred(pe, about);
        self.tally.diverge(line, Check::PpiCandidate, about.map(IntId::Ppi), suspects, text);
    }

    /// PPI candidates that nothing before them explains: somebody has written a PPI register.
    fn lone_ppis(&mut self, line: Line, on: On) -> Result<(), Stop> {
        let On::Pe(pe) = on else {
            self.pe(line, on, Check::PpiCandidate)?;
            return Ok(());
        };
        let pe = usize::from(pe);
        let mut candidate = Candidate::NONE;
        for n in 0..4 {
            match self.source.peek(n)?.map(|placed| placed.line) {
                Some(line @ Line { event: Event::PpiCandidate { domain, candidate: theirs }, .. }) => {
                    if domain == Domain::NonSecure {
                        if self.source.contradicted(line).is_none() {
                            candidate = theirs;
                        }
                        self.tally.untold(Untold::PpiRegister, line);
                    }
                }
                _ => break,
            }
        }
        // Nobody knows what was written, so that it makes this candidate is all that can be asked.
        let several = self.cpus.len() > 1;
        for (n, cpu) in self.cpus.iter_mut().enumerate() {
            let handle = Pe::new(&cpu.pe);
            let pending = handle.read_raw(SysReg::icc_ppi_spendr(PpiBank::Architected));
            let active = handle.read_raw(SysReg::icc_ppi_sactiver(PpiBank::Architected));
            let enabled = handle.read_raw(SysReg::icc_ppi_enabler(PpiBank::Architected));
            if n != pe {
                if several {
                    let hidden = !(pending & !active);
                    cpu.unknown |= hidden;
                    handle.write_raw(SysReg::icc_ppi_enabler(PpiBank::Architected), enabled & !hidden);
                }
                continue;
            }
            // One register has been written, so most is as it was: believed until something contradicts it.
            cpu.unknown = u64::MAX;
            if let Some((IntId::Ppi(ppi), _)) = candidate.interrupt()
                && ppi.bank() == PpiBank::Architected
            {
                // The write may have been one of an active bit, or of the pending bit of an edge PPI.
                handle.write_raw(SysReg::icc_ppi_spendr(PpiBank::Architected), ppi.mask());
                if pending & ppi.mask() != 0 {
                    handle.write_raw(SysReg::icc_ppi_cactiver(PpiBank::Architected), ppi.mask());
                }
            }
        }
        self.expect_ppis(pe, None)
    }

    /// The state of an LPI or SPI for a message.
    fn state_of(&self, id: Option<IntId>) -> String {
        let entry = id.and_then(|id| {
            let irs = IrsIntId::try_from(id).ok()?;
            Some((id, self.machine.interrupt(irs)))
        });
        match entry {
            Some((id, Some(entry))) => format!("; {id} is {}", describe(entry)),
            Some((id, None)) => format!("; {id} cannot be reached"),
            None => String::new(),
        }
    }
}

/// The active priorities of a PE.
fn active(pe: &Pe<'_, ModelPe>) -> ActivePriorities {
    APR::new_with_raw_value(pe.read_raw(SysReg::ICC_APR_EL1)).p()
}

/// Enables a PPI with a priority, or disables it.
fn set_ppi(pe: &Pe<'_, ModelPe>, ppi: Ppi, priority: Option<Priority>) {
    let enabler = SysReg::icc_ppi_enabler(ppi.bank());
    let enabled = pe.read_raw(enabler);
    match priority {
        None => pe.write_raw(enabler, enabled & !ppi.mask()),
        Some(priority) => {
            let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
            let priorities = PPI_PRIORITYR::new_with_raw_value(pe.read_raw(register)).with_priority(ppi, priority);
            pe.write_raw(register, priorities.raw_value());
            pe.write_raw(enabler, enabled | ppi.mask());
        }
    }
}

/// The register at an offset, and how far into it the offset is.
fn register_at(offset: u32) -> Option<(IrsReg, u32)> {
    let offset = u16::try_from(offset).ok()?;
    IrsReg::at(offset).map(|register| (register, 0)).or_else(|| {
        let register = IrsReg::at(offset.checked_sub(4)?)?;
        (register.width() == 64).then_some((register, 4))
    })
}

/// An interrupt's state in words.
fn describe(entry: L2_ISTE) -> String {
    let not = |is: bool| if is { "" } else { "not " };
    format!(
        "{}pending, {}active, {}enabled, {}, with {}, routed to {}",
        not(entry.pending()),
        not(entry.active()),
        not(entry.enable()),
        match entry.hm() {
            HandlingMode::Edge => "edge",
            HandlingMode::Level => "level",
        },
        entry.priority(),
        entry.iaffid()
    )
}

fn shown(id: Option<IntId>) -> String {
    id.map_or("nothing".to_owned(), |id| id.to_string())
}

/// Physical memory from address 0 on: enough for any of QEMU's machines.
const MEMORY: u64 = 1 << 40;

/// Where memory of its own starts that the replay needs.
const OWN: u64 = MEMORY - (64 << 30);

/// The machine as QEMU 11.1 is.
fn config(pes: u16, spi_base: u32, spi_irs_range: u32, spi_range: u32) -> MachineConfig {
    let cpus = (0..pes)
        .map(|n| {
            let mut cpu = CpuConfig::new(Iaffid::new(n));
            // PPI 25 comes with the legacy feature (PPI-26).
            cpu.ppis = [PpiSet::new_with_raw_value(u64::MAX).without(Ppi::GICMNT), PpiSet::EMPTY];
            cpu
        })
        .collect();
    let mut irs = IrsConfig::new(cpus, spi_range);
    irs.idr0 = IRS_IDR0::new_with_raw_value(0x1d);
    irs.idr1 = IRS_IDR1::new_with_raw_value(0x4f_0000 | u32::from(pes));
    irs.idr2 = IRS_IDR2::new_with_raw_value(0x3fb8);
    irs.iidr = IRS_IIDR::new_with_raw_value(0xfff0_043b);
    irs.idr6 = gicv5_arch::irs::IRS_IDR6::new_with_raw_value(spi_irs_range);
    irs.idr7 = gicv5_arch::irs::IRS_IDR7::new_with_raw_value(spi_base);
    let mut config = MachineConfig::new(0, spi_range);
    config.irses = vec![irs];
    config.memory = MemoryConfig {
        base: PhysAddr::new(0).unwrap_or(config.memory.base),
        size: MEMORY,
        reserved: OWN,
        eagerness: Eagerness::Early,
        ..MemoryConfig::default()
    };
    config.switches.effects = Effects::Early;
    config.switches.edge_resample = EdgeResample::Pends;
    config.command_latency = 0;
    config
}
