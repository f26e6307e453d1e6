//! Random programs: operations from a seed, whose answers any two machines must agree on.
//!
//! A program is a sequence of instructions, register accesses and wire moves on several PEs, one at a time. Each is completed by
//! its barriers, and then the PE it ran on says what it sees: its answer, whether an IRQ is signalled, and the HPPI register.
//! What the architecture leaves open is kept out of programs: no two interrupts ever have the same priority (HPPI-4), the IST
//! stays, nothing is done while a command is under way. What a machine under comparison is known to do wrong is kept out by
//! [`Avoid`].

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use gicv5_arch::insn::{
    AffinityOperand, DeactivateOperand, GicInsn, HandlingModeOperand, IntIdOperand, PendingOperand, PriorityOperand,
};
use gicv5_arch::irs::{IRS_PE_SELR, IRS_SPI_SELR, IRS_SYNCR, IrsReg};
use gicv5_arch::sysreg::{ICC_CR0_EL1, PPI_PRIORITYR, SysReg};
use gicv5_arch::values::{HandlingMode, TriggerMode};
use gicv5_arch::{Iaffid, IntId, IrsIntId, Lpi, Ppi, Priority, Spi};
use gicv5_random::Rng;

use crate::bench::{Bench, BenchPe};
use crate::lab::Lab;
use crate::outcome::Failure;

/// LPIs in a program.
const LPIS: u64 = 7;
/// SPIs in a program that have no wire.
const SPIS: u64 = 6;
/// Interrupts in a program: LPIs, SPIs, the wired SPI, the software PPI, the virtual timer. Two priorities are each one's own.
const INTERRUPTS: u64 = LPIS + SPIS + 3;

/// What programs leave out, because a machine is known to do it otherwise than the rules say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Avoid {
    /// Disabling an SPI, and clearing its Pending bit (`spi-disable-enables` and `spi-clear-pending-sets` in `facts/qemu.toml`).
    pub spi_disable_and_clear: bool,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A GIC instruction with its operand.
    Gic(GicInsn, u64),
    /// Deactivates what the PE has acknowledged last.
    DeactivateLast,
    /// CDRCFG, ISB, read of ICC_ICSR_EL1.
    Configuration(u64),
    /// A write of a system register, and an ISB.
    Write(SysReg, u64),
    /// A read of a system register, of these bits.
    Read(SysReg, u64),
    /// Moves the wire of the wired SPI.
    Wire(bool),
    /// Drives the PE's virtual timer.
    Timer(bool),
    /// A write of an IRS register, and a wait for its status register.
    IrsWrite(IrsReg, u64),
    /// A read of an IRS register.
    IrsRead(IrsReg),
    /// The trigger mode of the wired SPI.
    Trigger(TriggerMode),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Gic(insn, xt) => write!(f, "{insn} {xt:#x}"),
            Operation::DeactivateLast => f.write_str("GIC CDDI of the last acknowledged"),
            Operation::Configuration(raw) => write!(f, "configuration of {raw:#x}"),
            Operation::Write(register, value) => write!(f, "{register} = {value:#x}"),
            Operation::Read(register, mask) => write!(f, "{register} & {mask:#x}"),
            Operation::Wire(high) => write!(f, "wire {}", if *high { "high" } else { "low" }),
            Operation::Timer(high) => write!(f, "timer {}", if *high { "high" } else { "low" }),
            Operation::IrsWrite(register, value) => write!(f, "{register} = {value:#x}"),
            Operation::IrsRead(register) => write!(f, "{register}"),
            Operation::Trigger(mode) => {
                write!(f, "wired SPI is {}", if *mode == TriggerMode::Edge { "edge" } else { "level" })
            }
        }
    }
}

/// What a PE says after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the operation returned; 0 if it returns nothing.
    pub value: u64,
    /// ISR_EL1.I.
    pub irq: bool,
    /// ICC_HPPIR_EL1.
    pub hppir: u64,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} irq {} hppi {:#x}", self.value, u8::from(self.irq), self.hppir)
    }
}

/// A program: everything follows from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The seed.
    pub seed: u64,
    /// How many operations.
    pub length: usize,
    /// What it leaves out.
    pub avoid: Avoid,
}

/// True half the time.
fn flag(random: &mut Rng) -> bool {
    random.below(2) == 1
}

/// What programs work on: the same on every machine with the same ID registers.
struct Cast {
    spis: [Spi; SPIS as usize],
    wired: Option<Spi>,
    beyond: Lpi,
    missing: Spi,
    iaffids: [Iaffid; crate::lab::MAX_PES],
    pes: u64,
    timers: bool,
}

impl Cast {
    /// An LPI or SPI, and its place among the interrupts.
    fn irs_interrupt(&self, random: &mut Rng) -> (IrsIntId, u64) {
        let place = random.below(LPIS + SPIS + 1);
        let lpi = |id: u64| IrsIntId::Lpi(Lpi::new(id as u32).unwrap_or(self.beyond));
        match place.checked_sub(LPIS) {
            None => (lpi(place * 11), place),
            Some(n) => match (self.spis.get(n as usize), self.wired) {
                (Some(spi), _) => ((*spi).into(), place),
                (None, Some(wired)) => (wired.into(), place),
                (None, None) => (lpi(0), 0),
            },
        }
    }

    /// One of the two priorities that are an interrupt's own.
    fn priority(random: &mut Rng, place: u64) -> Priority {
        Priority::new((place * 2 + random.below(2)) as u32).unwrap_or(Priority::LEAST_URGENT)
    }

    fn draw(&self, random: &mut Rng, avoid: Avoid) -> Operation {
        let (id, place) = self.irs_interrupt(random);
        let stuck = avoid.spi_disable_and_clear && matches!(id, IrsIntId::Spi(_));
        let target = match random.below(self.pes + 1) {
            n if n < self.pes => self.iaffids.get(n as usize).copied().unwrap_or(Iaffid::new(0)),
            _ => Iaffid::new(0xfffe),
        };
        let nobody = [IrsIntId::Lpi(self.beyond), IrsIntId::Spi(self.missing)];
        let nobody = nobody.get(random.below(2) as usize).copied().unwrap_or(id);
        let pending = flag(random) || flag(random) || stuck;
        let mode = if flag(random) { HandlingMode::Edge } else { HandlingMode::Level };
        let sw = Ppi::SW_PPI.mask();
        let ppis = sw | if self.timers { Ppi::CNTV.mask() } else { 0 };
        match random.below(40) {
            0..=6 => Operation::Gic(GicInsn::GIC_CDPEND, PendingOperand::naming(id).with_pending(pending).raw_value()),
            7..=8 if !stuck && flag(random) => Operation::Gic(GicInsn::GIC_CDDIS, IntIdOperand::naming(id).raw_value()),
            7..=9 => Operation::Gic(GicInsn::GIC_CDEN, IntIdOperand::naming(id).raw_value()),
            10..=11 => {
                let priority = Cast::priority(random, place);
                Operation::Gic(GicInsn::GIC_CDPRI, PriorityOperand::naming(id).with_priority(priority).raw_value())
            }
            12..=13 => Operation::Gic(GicInsn::GIC_CDAFF, AffinityOperand::naming(id).with_iaffid(target).raw_value()),
            14 => Operation::Gic(GicInsn::GIC_CDHM, HandlingModeOperand::naming(id).with_hm(mode).raw_value()),
            15 => Operation::Gic(GicInsn::GIC_CDDI, DeactivateOperand::naming(id.into()).raw_value()),
            16..=17 => Operation::Configuration(IntIdOperand::naming(id).raw_value()),
            18 => Operation::Configuration(IntIdOperand::naming(nobody).raw_value()),
            19 => Operation::Gic(GicInsn::GIC_CDPEND, PendingOperand::naming(nobody).with_pending(true).raw_value()),
            20..=24 => Operation::Gic(GicInsn::GICR_CDIA, 0),
            25 => Operation::Gic(GicInsn::GICR_CDNMIA, 0),
            26..=27 => Operation::Gic(GicInsn::GIC_CDEOI, 0),
            28..=29 => Operation::DeactivateLast,
            30 => Operation::Write(SysReg::ICC_PCR_EL1, 31 - random.below(8) * random.below(4)),
            31 => match random.below(4) {
                0 => Operation::Write(SysReg::ICC_CR0_EL1, 0),
                _ => Operation::Write(SysReg::ICC_CR0_EL1, ICC_CR0_EL1::ZERO.with_en(true).raw_value()),
            },
            32 => match random.below(3) {
                0 => Operation::Write(SysReg::ICC_APR_EL1, 0),
                _ => Operation::Read(SysReg::ICC_APR_EL1, u64::MAX),
            },
            33 => match random.below(3) {
                0 => Operation::Write(SysReg::ICC_PPI_ENABLER0_EL1, random.next() & ppis),
                1 => Operation::Write(SysReg::ICC_PPI_SACTIVER0_EL1, random.next() & random.next() & ppis),
                _ => Operation::Write(SysReg::ICC_PPI_CACTIVER0_EL1, ppis),
            },
            34 => match flag(random) {
                true => Operation::Write(SysReg::ICC_PPI_SPENDR0_EL1, ppis),
                false => Operation::Write(SysReg::ICC_PPI_CPENDR0_EL1, ppis),
            },
            35 => match random.below(3) {
                0 => Operation::Read(SysReg::ICC_PPI_SPENDR0_EL1, ppis),
                1 => Operation::Read(SysReg::ICC_PPI_SACTIVER0_EL1, ppis),
                _ => Operation::Read(SysReg::ICC_PPI_ENABLER0_EL1, ppis),
            },
            36 if self.wired.is_some() => match random.below(4) {
                0 => Operation::Trigger(TriggerMode::Edge),
                1 => Operation::Trigger(TriggerMode::Level),
                n => Operation::Wire(n == 2),
            },
            37 if self.timers => Operation::Timer(flag(random)),
            38 => match random.below(5) {
                0 => Operation::IrsWrite(IrsReg::IRS_CR0, 0),
                1 | 2 => Operation::IrsWrite(IrsReg::IRS_CR0, 1),
                3 => Operation::IrsWrite(IrsReg::IRS_SYNCR, IRS_SYNCR::ZERO.with_sync(true).raw_value().into()),
                _ => Operation::IrsWrite(IrsReg::IRS_IST_CFGR, random.below(1 << 17)),
            },
            39 => match random.below(6) {
                0 => Operation::IrsWrite(IrsReg::IRS_PE_SELR, IRS_PE_SELR::ZERO.with_iaffid(target).raw_value().into()),
                1 => Operation::IrsRead(IrsReg::IRS_PE_STATUSR),
                2 => Operation::IrsWrite(
                    IrsReg::IRS_SPI_SELR,
                    IRS_SPI_SELR::ZERO
                        .with_id(if flag(random) { self.missing } else { self.spis[0] })
                        .raw_value()
                        .into(),
                ),
                3 => Operation::IrsRead(IrsReg::IRS_SPI_STATUSR),
                4 => Operation::IrsRead(IrsReg::IRS_IST_CFGR),
                _ => Operation::IrsRead(IrsReg::IRS_CR0),
            },
            _ => Operation::Read(SysReg::ICC_PCR_EL1, u64::MAX),
        }
    }
}

/// Runs programs on a machine, whose PEs are prepared as for the tests.
pub struct Programs<'a, B: Bench> {
    lab: Lab<'a, B>,
}

impl<'a, B: Bench> Programs<'a, B> {
    /// Looks at a machine.
    pub fn new(bench: &'a B, pe: &'a BenchPe<'a, B>) -> Programs<'a, B> {
        Programs { lab: Lab::new(bench, pe) }
    }

    /// Runs one program, tells each operation with the PE it ran on and the answer, and puts the machine back. Of the
    /// program's operations those are left out that `keep` does not name by their number.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the machine has no LPIs, no fourteen SPIs or fewer than five priority bits, or if it does not answer.
    pub fn run(
        &self,
        program: Program,
        keep: impl Fn(usize) -> bool,
        mut tell: impl FnMut(usize, usize, Operation, Answer),
    ) -> Result<(), Failure> {
        self.lab.put_back()?;
        let cast = self.prepare()?;
        let mut random = Rng::new(program.seed);
        let mut last = [None; crate::lab::MAX_PES];
        let mut outcome: Result<(), Failure> = Ok(());
        let ended = self.lab.bench().attempt(&mut || {
            outcome = (0..program.length).try_for_each(|n| {
                let pe = random.below(cast.pes) as usize;
                let operation = cast.draw(&mut random, program.avoid);
                if keep(n) {
                    let answer = self.execute(pe, operation, &mut last, cast.wired)?;
                    tell(n, pe, operation, answer);
                }
                Ok(())
            });
        });
        ended?;
        outcome?;
        self.lab.put_back()
    }

    /// Everything enabled, with priorities of its own, for PE 0.
    fn prepare(&self) -> Result<Cast, Failure> {
        const TOO_LITTLE: Failure = Failure::Exhausted { what: "LPIs, SPIs or priorities for random programs" };
        let lab = &self.lab;
        let features = lab.features;
        if features.priority_bits() < 5 {
            return Err(TOO_LITTLE);
        }
        lab.linear_ist().map_err(|_| TOO_LITTLE)?;
        let end = features.idr7.spi_base().id().saturating_add(features.idr6.spi_irs_range().value());
        let mut spis = [features.idr7.spi_base(); SPIS as usize];
        for (n, spi) in (1..).zip(&mut spis) {
            *spi = end.checked_sub(n).and_then(|id| Spi::new(id).ok()).ok_or(TOO_LITTLE)?;
            lab.will_use(*spi)?;
        }
        let wired = features.wired_spi.map(|_| lab.wire()).transpose()?;
        let mut iaffids = [lab.iaffid(0); crate::lab::MAX_PES];
        for (pe, iaffid) in iaffids.iter_mut().enumerate().take(lab.pes()) {
            *iaffid = lab.iaffid(pe);
            let sw = PPI_PRIORITYR::ZERO.with_priority(Ppi::SW_PPI, lab.priority(2 * (INTERRUPTS as u32 - 2)));
            let timer = PPI_PRIORITYR::ZERO.with_priority(Ppi::CNTV, lab.priority(2 * (INTERRUPTS as u32 - 1)));
            lab.on(pe, |pe| {
                pe.write_raw(SysReg::ICC_PPI_PRIORITYR0_EL1, sw.raw_value());
                pe.write_raw(SysReg::ICC_PPI_PRIORITYR3_EL1, timer.raw_value());
                pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, Ppi::SW_PPI.mask());
                pe.isb();
                0
            })?;
            lab.start_pe(pe)?;
        }
        let missing = Spi::new(features.idr5.spi_range().value()).map_err(|_| TOO_LITTLE)?;
        let beyond = lab.lpi(1 << features.linear_ist().map_or(23, |ist| ist.id_bits()).min(23))?;
        let cast = Cast { spis, wired, beyond, missing, iaffids, pes: lab.pes() as u64, timers: features.timers };
        let everybody = (0..LPIS).map(|n| (lab.lpi(n as u32 * 11).map(IrsIntId::Lpi), n));
        let everybody = everybody.chain((LPIS..).zip(spis).map(|(n, spi)| (Ok(IrsIntId::Spi(spi)), n)));
        for (id, place) in everybody.chain(wired.map(|spi| (Ok(IrsIntId::Spi(spi)), LPIS + SPIS))) {
            lab.ready(id?, place as u32 * 2)?;
        }
        lab.irs_enable(true)?;
        lab.write_raw(IrsReg::IRS_PE_SELR, lab.iaffid(0).raw_value().into())?;
        lab.select(spis[0])?;
        Ok(cast)
    }

    fn execute(
        &self,
        pe: usize,
        operation: Operation,
        last: &mut [Option<IntId>],
        wired: Option<Spi>,
    ) -> Result<Answer, Failure> {
        let lab = &self.lab;
        let bench = lab.bench();
        match operation {
            Operation::Wire(high) => bench.drive_spi(high),
            Operation::IrsWrite(register, value) => lab.write_raw(register, value)?,
            Operation::Trigger(mode) => {
                if let Some(spi) = wired {
                    lab.trigger(spi, mode)?;
                }
            }
            _ => {}
        }
        let of_irs = match operation {
            Operation::IrsRead(register) => lab.read_raw(register),
            _ => 0,
        };
        let taken = last.get(pe).copied().flatten();
        let seen = AtomicU64::new(0);
        let value = lab.on(pe, |pe| {
            let value = match operation {
                Operation::Gic(insn, xt) => pe.gic(insn, xt),
                Operation::DeactivateLast => {
                    if let Some(id) = taken {
                        pe.cddi(id);
                    }
                    0
                }
                Operation::Configuration(raw) => {
                    pe.gsb_sys();
                    pe.gic(GicInsn::GIC_CDRCFG, raw);
                    pe.isb();
                    pe.read_raw(SysReg::ICC_ICSR_EL1)
                }
                Operation::Write(register, value) => {
                    pe.write_raw(register, value);
                    0
                }
                Operation::Read(register, mask) => pe.read_raw(register) & mask,
                Operation::Timer(high) => {
                    bench.drive_timer(pe, Ppi::CNTV, high);
                    0
                }
                _ => 0,
            };
            pe.gsb_sys();
            pe.isb();
            let hppir = pe.read_raw(SysReg::ICC_HPPIR_EL1);
            seen.store(u64::from(bench.signals(pe).irq) << 63 | hppir, Ordering::Relaxed);
            value
        })?;
        // An instruction without a result leaves its operand in the register.
        let value = match operation {
            Operation::Gic(GicInsn::GICR_CDIA | GicInsn::GICR_CDNMIA, _) => {
                let id = IntId::from_raw(value as u32).ok().filter(|_| value >> 32 & 1 != 0);
                if let (Some(place), Some(id)) = (last.get_mut(pe), id) {
                    *place = Some(id);
                }
                value
            }
            Operation::Gic(..) => 0,
            Operation::IrsRead(_) => of_irs,
            _ => value,
        };
        let seen = seen.into_inner();
        Ok(Answer { value, irq: seen >> 63 != 0, hppir: seen & !(1 << 63) })
    }

    /// A digest of a program's answers: the same on two machines if they give the same answers.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn digest(&self, program: Program) -> Result<u64, Failure> {
        // FNV-1a, a word at a time.
        let mut digest = 0xcbf2_9ce4_8422_2325_u64;
        self.run(
            program,
            |_| true,
            |_, _, _, answer| {
                for word in [answer.value, answer.irq.into(), answer.hppir] {
                    digest = (digest ^ word).wrapping_mul(0x100_0000_01b3);
                }
            },
        )?;
        Ok(digest)
    }
}

/// Whether a list of numbers and ranges, such as `0-4,7`, has a number; an empty list has all.
#[must_use]
pub fn list_has(list: &str, number: usize) -> bool {
    list.is_empty()
        || list.split(',').any(|piece| {
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            matches!((first.parse::<usize>(), last.parse::<usize>()), (Ok(first), Ok(last)) if (first..=last).contains(&number))
        })
}
