//! One PE: system registers, GIC instructions, barriers and time.
//!
//! Registers and instructions that the assembler may not know are encoded by number, as gicv5-arch has them.

use core::arch::asm;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::SysReg;
use gicv5_hal::{CurrentPe, Pe, PeOps};

/// The PE that the code runs on.
pub struct ThisPe;

/// The registers that this image reaches, each with a read and a write of its own: the number of a register is part of the
/// instruction.
macro_rules! registers {
    ($($name:ident)*) => {
        #[inline]
        fn read(register: SysReg) -> u64 {
            let value: u64;
            match register {
                $(SysReg::$name => {
                    const WORD: u32 = encoded(SysReg::$name, false);
                    // SAFETY: reads a register of the interrupt controller or of identification, which changes no memory. Where
                    // it is not implemented, the exception ends the test.
                    unsafe { asm!(".inst {word}", word = const WORD, out("x0") value, options(nostack)) }
                })*
                _ => value = 0,
            }
            value
        }

        #[inline]
        fn write(register: SysReg, value: u64) {
            match register {
                $(SysReg::$name => {
                    const WORD: u32 = encoded(SysReg::$name, true);
                    // SAFETY: writes a register of the interrupt controller, which changes no memory. Interrupts are masked, so
                    // nothing follows from it but at the places that wait for one. A write to a read-only register is an
                    // exception, which ends the test.
                    unsafe { asm!(".inst {word}", word = const WORD, in("x0") value, options(nostack)) }
                })*
                _ => {}
            }
        }
    };
}

registers! {
    ICC_APR_EL1 ICC_CR0_EL1 ICC_HPPIR_EL1 ICC_IAFFIDR_EL1 ICC_ICSR_EL1 ICC_IDR0_EL1 ICC_PCR_EL1
    ICC_PPI_CACTIVER0_EL1 ICC_PPI_CACTIVER1_EL1 ICC_PPI_CPENDR0_EL1 ICC_PPI_CPENDR1_EL1
    ICC_PPI_ENABLER0_EL1 ICC_PPI_ENABLER1_EL1 ICC_PPI_HMR0_EL1 ICC_PPI_HMR1_EL1
    ICC_PPI_SACTIVER0_EL1 ICC_PPI_SACTIVER1_EL1 ICC_PPI_SPENDR0_EL1 ICC_PPI_SPENDR1_EL1
    ICC_PPI_PRIORITYR0_EL1 ICC_PPI_PRIORITYR1_EL1 ICC_PPI_PRIORITYR2_EL1 ICC_PPI_PRIORITYR3_EL1
    ICC_PPI_PRIORITYR4_EL1 ICC_PPI_PRIORITYR5_EL1 ICC_PPI_PRIORITYR6_EL1 ICC_PPI_PRIORITYR7_EL1
    ICC_PPI_PRIORITYR8_EL1 ICC_PPI_PRIORITYR9_EL1 ICC_PPI_PRIORITYR10_EL1 ICC_PPI_PRIORITYR11_EL1
    ICC_PPI_PRIORITYR12_EL1 ICC_PPI_PRIORITYR13_EL1 ICC_PPI_PRIORITYR14_EL1 ICC_PPI_PRIORITYR15_EL1
    ICC_SRE_EL1 ICC_SRE_EL2 ID_AA64PFR2_EL1
    ICH_APR_EL2 ICH_CONTEXTR_EL2 ICH_HFGITR_EL2 ICH_HFGRTR_EL2 ICH_HFGWTR_EL2 ICH_HPPIR_EL2 ICH_PPI_ACTIVER0_EL2
    ICH_PPI_ACTIVER1_EL2 ICH_PPI_DVIR0_EL2 ICH_PPI_DVIR1_EL2 ICH_PPI_ENABLER0_EL2 ICH_PPI_ENABLER1_EL2
    ICH_PPI_PENDR0_EL2 ICH_PPI_PENDR1_EL2 ICH_PPI_PRIORITYR0_EL2
    ICH_PPI_PRIORITYR1_EL2 ICH_PPI_PRIORITYR2_EL2 ICH_PPI_PRIORITYR3_EL2 ICH_PPI_PRIORITYR4_EL2
    ICH_PPI_PRIORITYR5_EL2 ICH_PPI_PRIORITYR6_EL2 ICH_PPI_PRIORITYR7_EL2 ICH_PPI_PRIORITYR8_EL2
    ICH_PPI_PRIORITYR9_EL2 ICH_PPI_PRIORITYR10_EL2 ICH_PPI_PRIORITYR11_EL2 ICH_PPI_PRIORITYR12_EL2
    ICH_PPI_PRIORITYR13_EL2 ICH_PPI_PRIORITYR14_EL2 ICH_PPI_PRIORITYR15_EL2 ICH_VCTLR_EL2 ICH_VMCR_EL2
}

/// The instruction word of `MRS x0, register`, or of `MSR register, x0`.
#[allow(clippy::panic)]
const fn encoded(register: SysReg, write: bool) -> u32 {
    match register.encoding() {
        Some(encoding) if write => encoding.msr(0),
        Some(encoding) => encoding.mrs(0),
        // Ends the build: a constant is evaluated there.
        None => panic!("a register without an encoding"),
    }
}

macro_rules! instructions {
    ($($name:ident)*) => {
        #[inline]
        fn execute(insn: GicInsn, xt: u64) -> u64 {
            let mut value = xt;
            match insn {
                $(GicInsn::$name => {
                    const WORD: u32 = GicInsn::$name.word(0);
                    // SAFETY: acts on the state of interrupts, which is in the interrupt controller or in memory that the
                    // test has leased to it. It orders nothing, and is kept in order with memory accesses by the compiler.
                    unsafe { asm!(".inst {word}", word = const WORD, inout("x0") value, options(nostack)) }
                })*
                _ => value = 0,
            }
            value
        }
    };
}

instructions! {
    GIC_CDDIS GIC_CDEN GIC_CDPRI GIC_CDAFF GIC_CDPEND GIC_CDRCFG GIC_CDDI GIC_CDHM GIC_CDEOI GICR_CDIA GICR_CDNMIA
    GIC_VDAFF GIC_VDDI GIC_VDDIS GIC_VDEN GIC_VDHM GIC_VDPEND GIC_VDPRI GIC_VDRCFG GSB_SYS GSB_ACK
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

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, ThisPe>) -> R) -> R {
        // Nothing here moves between PEs.
        f(&Pe::new(self))
    }
}

/// The exception level, 1 to 3.
pub fn exception_level() -> u64 {
    let level: u64;
    // SAFETY: a read without an effect.
    unsafe { asm!("mrs {level}, currentel", level = out(reg) level, options(nomem, nostack)) }
    level >> 2 & 3
}

/// Time since start, in nanoseconds.
pub fn nanoseconds() -> u64 {
    let (count, frequency): (u64, u64);
    // SAFETY: reads without an effect; the barrier keeps the count in its place in the program.
    unsafe {
        asm!("isb", "mrs {count}, cntpct_el0", "mrs {frequency}, cntfrq_el0",
            count = out(reg) count, frequency = out(reg) frequency, options(nostack));
    }
    // Firmware that has not set the frequency leaves 0: then the count is taken as nanoseconds.
    match frequency {
        0 => count,
        _ => (u128::from(count) * 1_000_000_000 / u128::from(frequency)) as u64,
    }
}

/// Waits a moment.
pub fn relax() {
    // SAFETY: a hint. An emulator that runs one PE at a time takes it to run another one.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) }
}
