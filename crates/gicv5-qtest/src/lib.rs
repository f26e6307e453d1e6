//! QEMU's GICv5, driven register by register, to compare a model of the hardware with.
//!
//! A model that only its own author has tested agrees with its author's misunderstandings. QEMU 11.1 has an
//! independent GICv5; this crate drives its IRS directly, without a guest, with random accesses from a printed
//! seed, so that a model that answers the same accesses can be compared answer by answer. A difference is
//! either one of the [known ones](known::KNOWN), or it is shortened by [`gicv5_random::shrink`] and reported.
//!
//! - [`installation`] finds QEMU 11.1;
//! - [`qemu`] starts it under qtest and speaks its protocols;
//! - [`operation`] is what a sequence consists of, and the trait [`TestMachine`] that both machines implement;
//! - [`generate`] makes sequences;
//! - [`compare`] runs a sequence on two machines, [`known`] explains;
//! - [`model`] is the model as the other machine.
//!
//! # What QEMU's machine is
//!
//! Found by experiment with QEMU 11.1.3 (`-M virt,gic-version=x-5`), by device tree, register reads and trace;
//! [`known::check_reset`] and the scripts of [`known::KNOWN`] repeat what can be repeated by access.
//!
//! **Frames.** The device tree names one IRS with one frame, `ns-config` at `0x0801_0000`, 64 KiB:
//! Non-secure (`IRS_IDR0.INT_DOM` is 1). There is no SETLPI frame (`IRS_IDR0.SETLPI` is 0, the pages around the
//! frame read as zero), no ITS and no IWB. `secure=on` and `virtualization=on` are refused ("GICv5 currently
//! supports EL1 only"), so no Secure, EL3 or Realm frame and no VM or VPE register can be seen. `PE_CNT`
//! follows `-smp`, IAFFIDs count from 0, and there are 256 SPIs from 0. Of the device's properties only `irsid`
//! can be set (`-global arm-gicv5.irsid=N`): the machine sets or contradicts the others.
//!
//! **Registers.** [`layout::RESET`] lists every register that is not zero after reset. Implemented beside
//! the ID registers: `IRS_CR0`, `CR1`, `SYNCR`, `SYNC_STATUSR`, `SPI_SELR` (write only), `SPI_DOMAINR` (zero),
//! `SPI_RESAMPLER`, `SPI_CFGR`, `SPI_STATUSR`, `PE_SELR`, `PE_STATUSR`, `PE_CR0` (zero, as there is no 1ofN),
//! `IST_BASER`, `IST_CFGR`, `IST_STATUSR`, `MAP_L2_ISTR` (write only). Everything else is read as zero and ignores
//! writes (GEN-9), which its trace calls `gicv5_badread` and `gicv5_badwrite`. All commands complete at once: IDLE
//! is never seen 0, so nothing can be learnt about accesses during a command (GEN-18).
//!
//! **Widths.** 32 bit accesses to 32 bit registers, 32 and 64 bit accesses to `IRS_IST_BASER`. A 64 bit access to
//! a pair of 32 bit registers and all 8 and 16 bit accesses read zero and do nothing. Unaligned accesses never
//! reach the IRS: the bus cuts them into aligned [`pieces`], of which the narrow ones do nothing. A piece beyond
//! the frame reads zero. Nothing aborts.
//!
//! **Tables.** `IRS_IST_BASER` 0-to-1 reads no memory. `IRS_MAP_L2_ISTR` reads and writes the level-1 entry in
//! memory, which can be seen by loads; at an address without memory it does nothing. An entry's bits 11:1 are
//! kept. An IST that becomes valid with Pending set in its entries has no candidate for them (IST-22). The
//! contents of level-2 and linear tables can only be reached by GIC instructions.
//!
//! **Wires.** The inputs of the device of type `arm-gicv5`, found under `/machine/unattached`, are unnamed;
//! `set_irq_in PATH unnamed-gpio-in N LEVEL` drives SPI N. Any level other than 0 is high; a level that does not
//! change is no event. N from 256 on makes QEMU abort. A system reset forgets the level that the IRS saw.
//!
//! **What can be seen without a CPU that executes.** Reads; memory; and the trace, from which the
//! [events](Answer::events) are taken: the pending state of an SPI after a wire moved or a resample, the shape in force of an
//! IST that became valid, and candidates. No register shows an SPI's pending, enable or priority, nothing can be
//! enabled, so every candidate told is "none" and no IRQ or FIQ rises. Reports of device outputs
//! (`irq_intercept_out`) have nothing to say: the IRS has no outputs of that kind, it calls the CPU interfaces.
//!
//! **Instructions** are compared where a PE executes: `cargo xtask conformance --qemu --programs` runs random programs in
//! the conformance image.
//!
//! **Agreement.** Clamping of LPI_ID_BITS to 14 to 24 (IST-28), reserved ISTSZ as 4 bytes (IST-9) and reserved L2SZ as
//! 4 KiB, writes of `IRS_IST_CFGR` and the address ignored while VALID is 1 and in the write that clears it
//! (LPI-1), `IRS_MAP_L2_ISTR` ignored on a linear, invalid or already valid entry (LPI-2), SPI selection out of range
//! (SPI-2), sampling when the trigger mode changes (SPI-3), wires (SPI-4), `IRS_PE_CR0` (RTE-3).
//!
//! **Speed.** On two cores and with a debug build of this crate, 10 000 sequences of 240 operations take two minutes or less
//! with model and trace.

#![forbid(unsafe_code)]

pub mod compare;
pub mod generate;
pub mod installation;
mod ist;
pub mod known;
pub mod layout;
pub mod model;
pub mod operation;
pub mod qemu;
mod trace;

pub use operation::{Answer, Operation, TestMachine, Verdict, Width, WireLevel, pieces};
pub use trace::BadLine;
