//! Where things are on QEMU's `virt` machine, and in the IRS configuration frame.

use std::ops::Range;

/// Physical address of the Non-secure IRS configuration frame (device tree node `irs@8010000`, `ns-config`).
pub const FRAME: u64 = 0x0801_0000;

/// Size of the frame in bytes (GEN-9).
pub const FRAME_BYTES: u64 = 0x1_0000;

/// SPIs of the machine: IDs 0 to 255, all owned by the one IRS. QEMU exits on a wire beyond.
pub const SPIS: u32 = 256;

/// The part of RAM in which sequences put tables. A reset fills it with zeroes.
pub const TABLES: Range<u64> = 0x4010_0000..0x4014_0000;

/// Offsets of the registers that QEMU 11.1 implements or that a rule mentions.
#[expect(
    missing_docs,
    reason = "each constant is the offset of the register it is named after"
)]
pub mod offset {
    pub const IDR0: u64 = 0x000;
    pub const IDR1: u64 = 0x004;
    pub const IDR2: u64 = 0x008;
    pub const IDR3: u64 = 0x00c;
    pub const IDR4: u64 = 0x010;
    pub const IDR5: u64 = 0x014;
    pub const IDR6: u64 = 0x018;
    pub const IDR7: u64 = 0x01c;
    pub const IIDR: u64 = 0x040;
    pub const AIDR: u64 = 0x044;
    pub const CR0: u64 = 0x080;
    pub const CR1: u64 = 0x084;
    pub const SYNCR: u64 = 0x0c0;
    pub const SYNC_STATUSR: u64 = 0x0c4;
    pub const SPI_VMR: u64 = 0x100;
    pub const SPI_SELR: u64 = 0x108;
    pub const SPI_DOMAINR: u64 = 0x10c;
    pub const SPI_RESAMPLER: u64 = 0x110;
    pub const SPI_CFGR: u64 = 0x114;
    pub const SPI_STATUSR: u64 = 0x118;
    pub const PE_SELR: u64 = 0x140;
    pub const PE_STATUSR: u64 = 0x144;
    pub const PE_CR0: u64 = 0x148;
    pub const IST_BASER: u64 = 0x180;
    pub const IST_CFGR: u64 = 0x190;
    pub const IST_STATUSR: u64 = 0x194;
    pub const MAP_L2_ISTR: u64 = 0x1c0;
    pub const VMT_BASER: u64 = 0x200;
    pub const VMT_CFGR: u64 = 0x210;
    pub const VMT_STATUSR: u64 = 0x214;
    pub const VPE_SELR: u64 = 0x240;
    pub const VPE_DBR: u64 = 0x248;
    pub const VPE_HPPIR: u64 = 0x250;
    pub const VPE_CR0: u64 = 0x258;
    pub const VPE_STATUSR: u64 = 0x25c;
    pub const VM_DBR: u64 = 0x280;
    pub const VM_SELR: u64 = 0x288;
    pub const VM_STATUSR: u64 = 0x28c;
    pub const VMAP_L2_VMTR: u64 = 0x2c0;
    pub const VMAP_VMR: u64 = 0x2c8;
    pub const VMAP_VISTR: u64 = 0x2d0;
    pub const VMAP_L2_VISTR: u64 = 0x2d8;
    pub const VMAP_VPER: u64 = 0x2e0;
    pub const SAVE_VMR: u64 = 0x300;
    pub const SAVE_VM_STATUSR: u64 = 0x308;
    pub const MEC_IDR: u64 = 0x340;
    pub const MEC_MECID_R: u64 = 0x344;
    pub const MPAM_IDR: u64 = 0x380;
    pub const MPAM_PARTID_R: u64 = 0x384;
    pub const SWERR_STATUSR: u64 = 0x3c0;
    pub const SWERR_SYNDROMER0: u64 = 0x3c8;
    pub const SWERR_SYNDROMER1: u64 = 0x3d0;
    pub const DEVARCH: u64 = 0xffbc;
    pub const PIDR4: u64 = 0xffd0;
    pub const CIDR3: u64 = 0xfffc;
}

/// What a 32-bit read of every aligned offset returns after reset on QEMU 11.1.3 with four PEs: these
/// offsets and values, and zero everywhere else in the 64 KiB.
pub const RESET: &[(u64, &str, u32)] = &[
    // PA_RANGE 7 (56 bits), INT_DOM 1 (Non-secure); no VIRT, ONE_N, SETLPI, SWE, MEC, MPAM.
    (offset::IDR0, "IRS_IDR0", 0x0000_001d),
    // PRI_BITS 4 (5 bits), IAFFID_BITS 15 (16 bits), PE_CNT 4.
    (offset::IDR1, "IRS_IDR1", 0x004f_0004),
    // No metadata, level-2 sizes 4, 16 and 64 KiB, two levels, MIN_LPI_ID_BITS 14, LPI, ID_BITS 24.
    (offset::IDR2, "IRS_IDR2", 0x0000_3fb8),
    (offset::IDR5, "IRS_IDR5", 0x0000_0100),
    (offset::IDR6, "IRS_IDR6", 0x0000_0100),
    (offset::IIDR, "IRS_IIDR", 0xfff0_043b),
    // IDLE.
    (offset::CR0, "IRS_CR0", 0x0000_0002),
    (offset::SYNC_STATUSR, "IRS_SYNC_STATUSR", 0x0000_0001),
    // IDLE without V: nothing is selected after reset, not even SPI 0.
    (offset::SPI_STATUSR, "IRS_SPI_STATUSR", 0x0000_0001),
    // IDLE, V and ONLINE: IRS_PE_SELR is 0 after reset and PE 0 exists.
    (offset::PE_STATUSR, "IRS_PE_STATUSR", 0x0000_0007),
    (offset::IST_STATUSR, "IRS_IST_STATUSR", 0x0000_0001),
    // The architect field is shifted too far; see the known differences.
    (offset::DEVARCH, "IRS_DEVARCH", 0x8010_5a19),
    (offset::PIDR4, "IRS_PIDR4", 0x0000_0004),
    (0xffe0, "IRS_PIDR0", 0x0000_00ff),
    (0xffe4, "IRS_PIDR1", 0x0000_00bf),
    (0xffe8, "IRS_PIDR2", 0x0000_000b),
    (0xfff0, "IRS_CIDR0", 0x0000_000d),
    (0xfff4, "IRS_CIDR1", 0x0000_00f0),
    (0xfff8, "IRS_CIDR2", 0x0000_0005),
    (offset::CIDR3, "IRS_CIDR3", 0x0000_00b1),
];
