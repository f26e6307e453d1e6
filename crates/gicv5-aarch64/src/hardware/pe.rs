//! One PE: system registers, GIC instructions and barriers.
//!
//! Registers and instructions that the assembler may not know are encoded by number, as gicv5-arch has them.

use core::arch::asm;

use gicv5_arch::insn::{Form, GicInsn};
use gicv5_arch::sysreg::SysReg;
use gicv5_hal::{CurrentPe, Pe, PeOps};

use super::masks::masked;

/// The PE that the code runs on, at EL1 or EL2.
///
/// Every register and every instruction of gicv5-arch is executed as it is named, whatever the exception level. What the level
/// or the PE does not have is an exception, as it is in assembly: the `ICH` registers and the `VD` instructions at EL1 (GEN-6),
/// the `EL3` registers and the `LD` instructions below EL3, a write to a read-only register, a register whose encoding gicv5-arch does
/// not know. At EL1 the `ICC` registers and the `CD` instructions are those of the virtual domain in a guest (GEN-5).
pub struct ThisPe {
    _only_by_new: (),
}

impl ThisPe {
    /// The PE that the code runs on. One value serves all PEs.
    ///
    /// # Safety
    ///
    /// - The code that uses it runs at EL1 or EL2 of a PE with a GICv5 CPU interface (ID_AA64PFR2_EL1.GCIE is not 0), and
    ///   accesses to it do not trap, or to code that carries them out. At EL1 below a hypervisor, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2
    ///   and ICH_HFGITR_EL2 must let them through.
    /// - Exceptions are taken to code that copes with an interrupt as soon as a register or an instruction lets one in.
    /// - A [`Pe`] that is made of it directly stays on its PE for as long as it is used; [`CurrentPe::on_this_pe`] sees to that itself.
    #[must_use]
    pub const unsafe fn new() -> ThisPe {
        ThisPe { _only_by_new: () }
    }
}

/// `UDF #0`, in the place of an access to a register whose encoding is in no public source: it ends in an exception, as an access to a
/// register does that the PE does not have.
const UNDEFINED: u32 = 0;

/// The instruction word of `MRS x0, register`.
const fn mrs(register: SysReg) -> u32 {
    match register.encoding() {
        Some(encoding) => encoding.mrs(0),
        None => UNDEFINED,
    }
}

/// The instruction word of `MSR register, x0`.
const fn msr(register: SysReg) -> u32 {
    match register.encoding() {
        Some(encoding) => encoding.msr(0),
        None => UNDEFINED,
    }
}

/// A read and a write for each register: its number is part of the instruction. A register that is missing here does not compile.
macro_rules! registers {
    ($($name:ident)*) => {
        #[inline]
        fn read(register: SysReg) -> u64 {
            let value: u64;
            match register {
                $(SysReg::$name => {
                    const WORD: u32 = mrs(SysReg::$name);
                    // SAFETY: reads a register of the interrupt controller or of identification, which changes no memory; what
                    // the PE does not have is an exception.
                    unsafe { asm!(".inst {word}", word = const WORD, out("x0") value, options(nostack)) }
                })*
            }
            value
        }

        #[inline]
        fn write(register: SysReg, value: u64) {
            match register {
                $(SysReg::$name => {
                    const WORD: u32 = msr(SysReg::$name);
                    // SAFETY: writes a register of the interrupt controller, which changes no memory; the code that made a `ThisPe`
                    // has promised to cope with an interrupt that follows.
                    unsafe { asm!(".inst {word}", word = const WORD, in("x0") value, options(nostack)) }
                })*
            }
        }
    };
}

registers! {
    ICC_APR_EL1 ICC_CR0_EL1 ICC_PCR_EL1 ICC_HAPR_EL1 ICC_PPI_HMR0_EL1 ICC_PPI_HMR1_EL1 ICC_IDR0_EL1 ICC_HPPIR_EL1
    ICC_ICSR_EL1 ICC_SRE_EL1 ICC_SRE_EL2 ICC_IAFFIDR_EL1 ICC_PPI_ENABLER0_EL1 ICC_PPI_ENABLER1_EL1 ICC_PPI_CACTIVER0_EL1
    ICC_PPI_CACTIVER1_EL1 ICC_PPI_SACTIVER0_EL1 ICC_PPI_SACTIVER1_EL1 ICC_PPI_CPENDR0_EL1 ICC_PPI_CPENDR1_EL1
    ICC_PPI_SPENDR0_EL1 ICC_PPI_SPENDR1_EL1 ICC_PPI_PRIORITYR0_EL1 ICC_PPI_PRIORITYR1_EL1 ICC_PPI_PRIORITYR2_EL1
    ICC_PPI_PRIORITYR3_EL1 ICC_PPI_PRIORITYR4_EL1 ICC_PPI_PRIORITYR5_EL1 ICC_PPI_PRIORITYR6_EL1 ICC_PPI_PRIORITYR7_EL1
    ICC_PPI_PRIORITYR8_EL1 ICC_PPI_PRIORITYR9_EL1 ICC_PPI_PRIORITYR10_EL1 ICC_PPI_PRIORITYR11_EL1
    ICC_PPI_PRIORITYR12_EL1 ICC_PPI_PRIORITYR13_EL1 ICC_PPI_PRIORITYR14_EL1 ICC_PPI_PRIORITYR15_EL1 ICC_APR_EL3
    ICC_PCR_EL3 ICC_DOMHPPIR_EL3 ICC_PPI_DOMAINR0_EL3 ICC_PPI_DOMAINR1_EL3 ICC_PPI_DOMAINR2_EL3 ICC_PPI_DOMAINR3_EL3
    ICC_CR0_EL3 ICC_HPPIR_EL3 ICV_APR_EL1 ICV_CR0_EL1 ICV_PCR_EL1 ICV_HPPIR_EL1 ICV_PPI_HMR0_EL1 ICV_PPI_ENABLER0_EL1
    ICV_PPI_CACTIVER0_EL1 ICV_PPI_SACTIVER0_EL1 ICV_PPI_CPENDR0_EL1 ICV_PPI_SPENDR0_EL1 ICV_PPI_HMR1_EL1
    ICV_PPI_ENABLER1_EL1 ICV_PPI_CACTIVER1_EL1 ICV_PPI_SACTIVER1_EL1 ICV_PPI_CPENDR1_EL1 ICV_PPI_SPENDR1_EL1
    ICV_PPI_PRIORITYR0_EL1 ICV_PPI_PRIORITYR1_EL1 ICV_PPI_PRIORITYR2_EL1 ICV_PPI_PRIORITYR3_EL1 ICV_PPI_PRIORITYR4_EL1
    ICV_PPI_PRIORITYR5_EL1 ICV_PPI_PRIORITYR6_EL1 ICV_PPI_PRIORITYR7_EL1 ICV_PPI_PRIORITYR8_EL1 ICV_PPI_PRIORITYR9_EL1
    ICV_PPI_PRIORITYR10_EL1 ICV_PPI_PRIORITYR11_EL1 ICV_PPI_PRIORITYR12_EL1 ICV_PPI_PRIORITYR13_EL1
    ICV_PPI_PRIORITYR14_EL1 ICV_PPI_PRIORITYR15_EL1 ICH_APR_EL2 ICH_HPPIR_EL2 ICH_HFGRTR_EL2 ICH_HFGWTR_EL2
    ICH_HFGITR_EL2 ICH_PPI_DVIR0_EL2 ICH_PPI_DVIR1_EL2 ICH_PPI_ENABLER0_EL2 ICH_PPI_ENABLER1_EL2 ICH_PPI_PENDR0_EL2
    ICH_PPI_PENDR1_EL2 ICH_PPI_ACTIVER0_EL2 ICH_PPI_ACTIVER1_EL2 ICH_PPI_HVIR0_EL2 ICH_PPI_HVIR1_EL2 ICH_VCTLR_EL2
    ICH_CONTEXTR_EL2 ICH_VMCR_EL2 ICH_PPI_PRIORITYR0_EL2 ICH_PPI_PRIORITYR1_EL2 ICH_PPI_PRIORITYR2_EL2
    ICH_PPI_PRIORITYR3_EL2 ICH_PPI_PRIORITYR4_EL2 ICH_PPI_PRIORITYR5_EL2 ICH_PPI_PRIORITYR6_EL2 ICH_PPI_PRIORITYR7_EL2
    ICH_PPI_PRIORITYR8_EL2 ICH_PPI_PRIORITYR9_EL2 ICH_PPI_PRIORITYR10_EL2 ICH_PPI_PRIORITYR11_EL2
    ICH_PPI_PRIORITYR12_EL2 ICH_PPI_PRIORITYR13_EL2 ICH_PPI_PRIORITYR14_EL2 ICH_PPI_PRIORITYR15_EL2 ID_AA64PFR2_EL1
}

/// An instruction that is missing here does not compile.
macro_rules! instructions {
    ($($name:ident)*) => {
        #[inline]
        fn execute(insn: GicInsn, xt: u64) -> u64 {
            let mut value = xt;
            match insn {
                $(GicInsn::$name => {
                    const WORD: u32 = GicInsn::$name.word(0);
                    const HAS_RESULT: bool = matches!(GicInsn::$name.info().form, Form::Result);
                    // SAFETY: acts on the state of interrupts, which is in the interrupt controller or in memory that is leased to it.
                    // It orders no memory access, and the compiler moves none over it.
                    unsafe { asm!(".inst {word}", word = const WORD, inout("x0") value, options(nostack)) }
                    if HAS_RESULT { value } else { 0 }
                })*
            }
        }
    };
}

instructions! {
    GIC_CDDIS GIC_CDEN GIC_CDPRI GIC_CDAFF GIC_CDPEND GIC_CDRCFG GIC_CDDI GIC_CDHM GIC_CDEOI GICR_CDIA GICR_CDNMIA
    GIC_VDDIS GIC_VDEN GIC_VDPRI GIC_VDAFF GIC_VDPEND GIC_VDRCFG GIC_VDDI GIC_VDHM GIC_LDDIS GIC_LDEN GIC_LDPRI
    GIC_LDAFF GIC_LDPEND GIC_LDRCFG GIC_LDDI GIC_LDHM GSB_SYS GSB_ACK
}

impl PeOps for ThisPe {
    #[inline]
    fn read_sysreg(&self, register: SysReg) -> u64 {
        read(register)
    }

    #[inline]
    fn write_sysreg(&self, register: SysReg, value: u64) {
        write(register, value);
    }

    #[inline]
    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        execute(insn, xt)
    }

    #[inline]
    fn isb(&self) {
        // SAFETY: a barrier.
        unsafe { asm!("isb", options(nostack)) }
    }

    #[inline]
    fn dsb(&self) {
        // SAFETY: a barrier.
        unsafe { asm!("dsb sy", options(nostack)) }
    }
}

impl CurrentPe for ThisPe {
    type Ops = ThisPe;

    /// Interrupts are masked, NMIs as well, so that no scheduler moves the code to another PE, and become again what they were.
    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, ThisPe>) -> R) -> R {
        masked(|| f(&Pe::new(self)))
    }
}

/// The exception level, 1 to 3.
#[must_use]
pub fn exception_level() -> u64 {
    let level: u64;
    // SAFETY: a read without an effect.
    unsafe { asm!("mrs {level}, currentel", level = out(reg) level, options(nomem, nostack)) }
    level >> 2 & 3
}

/// Whether the PE has a GICv5 CPU interface (ID_AA64PFR2_EL1.GCIE).
#[must_use]
pub fn has_gicv5() -> bool {
    read(SysReg::ID_AA64PFR2_EL1) >> 12 & 0xf != 0
}
