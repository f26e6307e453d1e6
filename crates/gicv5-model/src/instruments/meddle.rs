//! A machine between whose answers and its software somebody meddles: one answer is wrong, or one effect does not happen.
//!
//! A test suite is only as good as what it notices. Software that is given a [`MeddledMachine`] and its PEs instead of a
//! [`Machine`] sees the same hardware, but for the access that the [`Meddler`] has been told to spoil: the k-th answer comes
//! with one bit changed, or the k-th effect is skipped. A suite that does not fail then has a hole there.
//!
//! # What counts
//!
//! *Answers* are reads of registers of the IRS and of a PE, what an acknowledge returns, and loads from tables. The bit that
//! changes is one that means something: a bit of a field, and no field that has no meaning beside the others (INTID of an
//! answer that says there is none). IDLE bits are left alone, because hardware may take its time. *Effects* are writes of registers
//! and GIC instructions, but no barriers and no stores to tables, which are software's business. An access that would have changed
//! nothing has no effect that could be skipped, and [`Meddling::Nothing`] says so.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gicv5_arch::PhysAddr;
use gicv5_arch::insn::{AcknowledgeResult, Form, GicInsn};
use gicv5_arch::irs::{IRS_VPE_HPPIR, IrsReg};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{HPPIR, ICC_CR0_EL1, ICC_ICSR_EL1, ICH_CONTEXTR_EL2, SysReg};
use gicv5_hal::{
    AllocError, Block, BlockLayout, Coherency, CurrentPe, Frame, FrameKind, Irs, IrsIndex, Pe, PeOps, TableMemory, Wait,
};

use crate::handles::machine::Machine;
use crate::handles::pe::ModelPe;
use crate::memory::ModelBlock;
use crate::words::ids::PeIndex;

/// Ticks after which everything that is under way has come to its end.
const SETTLED: u64 = 100_000;

/// What software did to the hardware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It read a register of an IRS.
    ReadIrs(Frame, u16),
    /// It wrote one.
    WriteIrs(Frame, u16, u64),
    /// It read a system register.
    ReadSysReg(SysReg),
    /// It wrote one.
    WriteSysReg(SysReg, u64),
    /// It looked at the interrupt inputs of a PE.
    Signals(PeIndex),
    /// It executed a GIC instruction.
    Insn(GicInsn, u64),
    /// It loaded from a table.
    Load(PhysAddr),
}

impl fmt::Display for Access {
    /// Names it; the alternate form has its value or address too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, is_write) = match *self {
            Access::ReadIrs(frame, offset) | Access::WriteIrs(frame, offset, _) => {
                f.write_str(if matches!(self, Access::ReadIrs(..)) { "read of " } else { "write of " })?;
                match (frame.kind, IrsReg::at(offset)) {
                    (FrameKind::Config, Some(register)) => f.write_str(register.name())?,
                    _ => write!(f, "{:?} frame, offset {offset:#06x}", frame.kind)?,
                }
                match *self {
                    Access::WriteIrs(_, _, value) => (value, true),
                    _ => (0, false),
                }
            }
            Access::ReadSysReg(register) => return write!(f, "read of {register}"),
            Access::Signals(_) => return f.write_str("interrupt inputs"),
            Access::WriteSysReg(register, value) => {
                write!(f, "write of {register}")?;
                (value, true)
            }
            Access::Insn(insn, operand) => {
                write!(f, "{insn}")?;
                (operand, true)
            }
            Access::Load(address) => {
                f.write_str("load from a table")?;
                (address.raw(), true)
            }
        };
        if f.alternate() && is_write { write!(f, " ({value:#x})") } else { Ok(()) }
    }
}

/// What has been done to an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meddling {
    /// Its answer was changed.
    Answer {
        /// The access.
        access: Access,
        /// What the hardware answered.
        before: u64,
        /// What software got.
        after: u64,
    },
    /// It had no effect.
    Skipped {
        /// The access.
        access: Access,
    },
    /// It has no bit that means something, or no effect that could be skipped.
    Nothing {
        /// The access.
        access: Access,
    },
}

#[derive(Debug, Default)]
struct Plan {
    /// Accesses so far.
    count: u64,
    /// The number of the access to spoil, from 0, and which of its bits.
    spoil: Option<(u64, u64)>,
    done: Option<Meddling>,
}

/// Counts accesses, and spoils one.
#[derive(Clone, Debug, Default)]
pub struct Meddler(Arc<Mutex<Plan>>);

impl Meddler {
    /// Accesses are counted from 0 again; the `k`-th is spoiled, if one is given. Which bit of an answer is changed follows
    /// from `bit`: it is the bit with that number, modulo how many there are.
    pub fn start(&self, k: Option<u64>, bit: u64) {
        *self.plan() = Plan { count: 0, spoil: k.map(|k| (k, bit)), done: None };
    }

    /// How many accesses there have been.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.plan().count
    }

    /// What has been done, if the access has come.
    #[must_use]
    pub fn done(&self) -> Option<Meddling> {
        self.plan().done
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an access. Which bit is to be changed, if it is the one.
    fn is_the_one(&self) -> Option<u64> {
        let mut plan = self.plan();
        let spoil = plan.spoil.filter(|(k, _)| *k == plan.count);
        plan.count += 1;
        spoil.map(|(_, bit)| bit)
    }

    /// An answer of which the bits of the mask mean something.
    pub fn answer(&self, access: Access, value: u64, mask: u64) -> u64 {
        let Some(bit) = self.is_the_one() else { return value };
        if mask == 0 {
            self.plan().done = Some(Meddling::Nothing { access });
            return value;
        }
        let bits = (0..64).filter(|n| mask >> n & 1 != 0);
        let chosen = bits.cycle().nth((bit % u64::from(mask.count_ones())) as usize).unwrap_or(0);
        let after = value ^ 1 << chosen;
        self.plan().done = Some(Meddling::Answer { access, before: value, after });
        after
    }

    /// An effect. `settle` lets everything come to its end, as far as the PE it comes from is concerned.
    fn effect(&self, machine: &Machine, access: Access, settle: impl Fn(), act: impl Fn()) {
        if self.is_the_one().is_none() {
            return act();
        }
        let before = machine.save();
        act();
        settle();
        machine.advance(SETTLED);
        let with = machine.save();
        machine.restore(before.clone());
        settle();
        machine.advance(SETTLED);
        let without = machine.save();
        machine.restore(before);
        if with.is_same_hardware(&without) {
            self.plan().done = Some(Meddling::Nothing { access });
            act();
        } else {
            self.plan().done = Some(Meddling::Skipped { access });
        }
    }
}

/// A machine of which one access is spoiled.
#[derive(Clone, Debug)]
pub struct MeddledMachine {
    machine: Machine,
    meddler: Meddler,
}

impl MeddledMachine {
    /// Puts a meddler before a machine.
    #[must_use]
    pub fn new(machine: Machine, meddler: Meddler) -> MeddledMachine {
        MeddledMachine { machine, meddler }
    }

    /// Puts the same meddler before a PE of the machine, as its host or as its guest sees it.
    #[must_use]
    pub fn pe(&self, pe: ModelPe) -> MeddledPe {
        MeddledPe { pe, machine: self.machine.clone(), meddler: self.meddler.clone() }
    }

    fn read(&self, frame: Frame, offset: u16, value: u64, width: u64) -> u64 {
        let access = Access::ReadIrs(frame, offset);
        let mask = match (frame.kind, IrsReg::at(offset)) {
            (FrameKind::Config, Some(register)) => meaning(register, value),
            // What is not there reads as zero (GEN-9).
            _ => u64::MAX,
        };
        self.meddler.answer(access, value, mask & u64::MAX >> (64 - width))
    }
}

/// The bits of a register's value that mean something.
fn meaning(register: IrsReg, value: u64) -> u64 {
    const IDLE: &str = "IDLE";
    let fields = register.info().fields;
    if register == IrsReg::IRS_VPE_HPPIR && !IRS_VPE_HPPIR::new_with_raw_value(value).hppiv() {
        return IRS_VPE_HPPIR::ZERO.with_hppiv(true).raw_value();
    }
    // The address of a table that is not valid means nothing.
    let bases = [IrsReg::IRS_IST_BASER, IrsReg::IRS_VMT_BASER];
    if bases.contains(&register) && value & VALID == 0 {
        return VALID;
    }
    fields.iter().filter(|field| field.name != IDLE).fold(0, |mask, field| mask | field.mask())
}

impl Irs for MeddledMachine {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        self.read(frame, offset, self.machine.read32(frame, offset).into(), 32) as u32
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        let access = Access::WriteIrs(frame, offset, value.into());
        self.meddler.effect(&self.machine, access, || (), || self.machine.write32(frame, offset, value));
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        self.read(frame, offset, self.machine.read64(frame, offset), 64)
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        let access = Access::WriteIrs(frame, offset, value);
        self.meddler.effect(&self.machine, access, || (), || self.machine.write64(frame, offset, value));
    }
}

impl Wait for MeddledMachine {
    fn now(&self) -> Duration {
        Wait::now(&self.machine)
    }

    fn relax(&self) {
        self.machine.relax();
    }
}

// SAFETY: all of it is the machine's, whose implementation keeps the promises; nothing here makes an address or a block, and
// whether a store happens or a load tells the truth has no part in them.
#[allow(unsafe_code)]
unsafe impl TableMemory for MeddledMachine {
    type Block = ModelBlock;

    fn allocate(&self, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        self.machine.allocate(layout)
    }

    fn free(&self, block: ModelBlock) {
        self.machine.free(block);
    }

    fn load32(&self, block: &ModelBlock, offset: u64) -> u32 {
        let value = self.machine.load32(block, offset);
        match block.address().offset(offset) {
            Ok(address) => self.meddler.answer(Access::Load(address), value.into(), IST_ENTRY) as u32,
            Err(_) => value,
        }
    }

    fn store32(&self, block: &ModelBlock, offset: u64, value: u32) {
        self.machine.store32(block, offset, value);
    }

    fn load64(&self, block: &ModelBlock, offset: u64) -> u64 {
        let value = self.machine.load64(block, offset);
        match block.address().offset(offset) {
            Ok(address) => self.meddler.answer(Access::Load(address), value, VALID),
            Err(_) => value,
        }
    }

    fn store64(&self, block: &ModelBlock, offset: u64, value: u64) {
        self.machine.store64(block, offset, value);
    }

    fn coherency(&self, irs: IrsIndex) -> Coherency {
        self.machine.coherency(irs)
    }

    fn cache_line(&self) -> u64 {
        self.machine.cache_line()
    }

    fn clean_invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        self.machine.clean_invalidate(block, bytes);
    }

    fn invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        self.machine.invalidate(block, bytes);
    }

    fn barrier(&self) {
        self.machine.barrier();
    }

    fn load_barrier(&self) {
        self.machine.load_barrier();
    }
}

/// What hardware changes in an entry of 64 bits: VALID, which is bit 0 of each.
const VALID: u64 = 1;

/// What hardware changes in an entry of an IST: all but HWU (IST-25).
const IST_ENTRY: u64 = 0xffff_f81f & !(1 << 4);

/// A PE of which one access is spoiled.
#[derive(Clone, Debug)]
pub struct MeddledPe {
    pe: ModelPe,
    machine: Machine,
    meddler: Meddler,
}

impl PeOps for MeddledPe {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        let value = self.pe.read_sysreg(register);
        let fields = fields_mask(register.info().fields);
        let mask = match register {
            SysReg::ICC_ICSR_EL1 if ICC_ICSR_EL1::new_with_raw_value(value).f() => {
                ICC_ICSR_EL1::ZERO.with_f(true).raw_value()
            }
            SysReg::ICC_HPPIR_EL1 | SysReg::ICH_HPPIR_EL2 if HPPIR::new_with_raw_value(value).int_id().is_none() => {
                HPPIR::ZERO.with_hppiv(true).raw_value()
            }
            // What the other bits are for is in no public source.
            SysReg::ICC_CR0_EL1 => ICC_CR0_EL1::ZERO.with_en(true).raw_value(),
            // Where no VPE is resident the names mean nothing, and how long F stays set is open (open question 4).
            SysReg::ICH_CONTEXTR_EL2 if !ICH_CONTEXTR_EL2::new_with_raw_value(value).v() => {
                ICH_CONTEXTR_EL2::ZERO.with_v(true).raw_value()
            }
            _ => fields,
        };
        self.meddler.answer(Access::ReadSysReg(register), value, mask)
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        let settle = || self.settle();
        let act = || self.pe.write_sysreg(register, value);
        self.meddler.effect(&self.machine, Access::WriteSysReg(register, value), settle, act);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        match insn.info().form {
            Form::NoOperand if insn != GicInsn::GIC_CDEOI => self.pe.gic(insn, xt),
            Form::Result => {
                let value = self.pe.gic(insn, xt);
                let result = AcknowledgeResult::new_with_raw_value(value);
                let valid = AcknowledgeResult::ZERO.with_valid(true).raw_value();
                let mask = if result.valid() { valid | 0xe0ff_ffff } else { valid };
                self.meddler.answer(Access::Insn(insn, xt), value, mask)
            }
            _ => {
                let act = || _ = self.pe.gic(insn, xt);
                self.meddler.effect(&self.machine, Access::Insn(insn, xt), || self.settle(), act);
                0
            }
        }
    }

    fn isb(&self) {
        self.pe.isb();
    }

    fn dsb(&self) {
        self.pe.dsb();
    }
}

impl MeddledPe {
    fn settle(&self) {
        self.pe.gic(GicInsn::GSB_SYS, 0);
        self.pe.isb();
    }
}

impl CurrentPe for MeddledPe {
    type Ops = MeddledPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, MeddledPe>) -> R) -> R {
        f(&Pe::new(self))
    }
}
