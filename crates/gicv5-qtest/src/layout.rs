//! Where things are on QEMU's `virt` machine, and in the IRS configuration frame.

use std::ops::Range;

use gicv5_arch::irs::IrsReg;

/// Physical address of the Non-secure IRS configuration frame (device tree node `irs@8010000`, `ns-config`).
pub const FRAME: u64 = 0x0801_0000;

/// Size of the frame in bytes (GEN-9).
pub const FRAME_BYTES: u64 = 0x1_0000;

/// SPIs of the machine: IDs 0 to 255, all owned by the one IRS. QEMU exits on a wire beyond.
pub const SPIS: u32 = 256;

/// The part of RAM in which sequences put tables. A reset fills it with zeroes.
pub const TABLES: Range<u64> = 0x4010_0000..0x4014_0000;

/// Offsets in the form that patterns can name.
pub(crate) mod offset {
    use gicv5_arch::irs::IrsReg;

    pub(crate) const CR0: u64 = IrsReg::IRS_CR0.offset() as u64;
    pub(crate) const CR1: u64 = IrsReg::IRS_CR1.offset() as u64;
    pub(crate) const SPI_SELR: u64 = IrsReg::IRS_SPI_SELR.offset() as u64;
    pub(crate) const SPI_RESAMPLER: u64 = IrsReg::IRS_SPI_RESAMPLER.offset() as u64;
    pub(crate) const SPI_CFGR: u64 = IrsReg::IRS_SPI_CFGR.offset() as u64;
    pub(crate) const SPI_STATUSR: u64 = IrsReg::IRS_SPI_STATUSR.offset() as u64;
    pub(crate) const PE_SELR: u64 = IrsReg::IRS_PE_SELR.offset() as u64;
    pub(crate) const PE_STATUSR: u64 = IrsReg::IRS_PE_STATUSR.offset() as u64;
    pub(crate) const PE_CR0: u64 = IrsReg::IRS_PE_CR0.offset() as u64;
    pub(crate) const SYNCR: u64 = IrsReg::IRS_SYNCR.offset() as u64;
    pub(crate) const SYNC_STATUSR: u64 = IrsReg::IRS_SYNC_STATUSR.offset() as u64;
    pub(crate) const IST_BASER: u64 = IrsReg::IRS_IST_BASER.offset() as u64;
    pub(crate) const IST_CFGR: u64 = IrsReg::IRS_IST_CFGR.offset() as u64;
    pub(crate) const IST_STATUSR: u64 = IrsReg::IRS_IST_STATUSR.offset() as u64;
    pub(crate) const MAP_L2_ISTR: u64 = IrsReg::IRS_MAP_L2_ISTR.offset() as u64;
    pub(crate) const PIDR0: u64 = IrsReg::IRS_PIDR0.offset() as u64;
    pub(crate) const DEVARCH: u64 = IrsReg::IRS_DEVARCH.offset() as u64;
}

/// What a 32-bit read of every aligned offset returns after reset on QEMU 11.1.3 with four PEs: these
/// offsets and values, and zero everywhere else in the 64 KiB.
pub const RESET: &[(IrsReg, u32)] = &[
    // PA_RANGE 7 (56 bits), INT_DOM 1 (Non-secure); no VIRT, ONE_N, SETLPI, SWE, MEC, MPAM.
    (IrsReg::IRS_IDR0, 0x0000_001d),
    // PRI_BITS 4 (5 bits), IAFFID_BITS 15 (16 bits), PE_CNT 4.
    (IrsReg::IRS_IDR1, 0x004f_0004),
    // No metadata, level-2 sizes 4, 16 and 64 KiB, two levels, MIN_LPI_ID_BITS 14, LPI, ID_BITS 24.
    (IrsReg::IRS_IDR2, 0x0000_3fb8),
    (IrsReg::IRS_IDR5, 0x0000_0100),
    (IrsReg::IRS_IDR6, 0x0000_0100),
    (IrsReg::IRS_IIDR, 0xfff0_043b),
    // IDLE.
    (IrsReg::IRS_CR0, 0x0000_0002),
    (IrsReg::IRS_SYNC_STATUSR, 0x0000_0001),
    // IDLE without V: nothing is selected after reset, not even SPI 0.
    (IrsReg::IRS_SPI_STATUSR, 0x0000_0001),
    // IDLE, V and ONLINE: IRS_PE_SELR is 0 after reset and PE 0 exists.
    (IrsReg::IRS_PE_STATUSR, 0x0000_0007),
    (IrsReg::IRS_IST_STATUSR, 0x0000_0001),
    // The architect field is shifted too far; see the known differences.
    (IrsReg::IRS_DEVARCH, 0x8010_5a19),
    (IrsReg::IRS_PIDR4, 0x0000_0004),
    (IrsReg::IRS_PIDR0, 0x0000_00ff),
    (IrsReg::IRS_PIDR1, 0x0000_00bf),
    (IrsReg::IRS_PIDR2, 0x0000_000b),
    (IrsReg::IRS_CIDR0, 0x0000_000d),
    (IrsReg::IRS_CIDR1, 0x0000_00f0),
    (IrsReg::IRS_CIDR2, 0x0000_0005),
    (IrsReg::IRS_CIDR3, 0x0000_00b1),
];
