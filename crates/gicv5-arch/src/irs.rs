//! The registers of an IRS: its configuration frame and its SETLPI frame.
//!
//! An IRS has one configuration frame of 64 KiB for each interrupt domain it serves, and next to it, if
//! IRS_IDR0.SETLPI is 1, a SETLPI frame (LPI-4). Frames are little-endian; reserved offsets read as zero and ignore
//! writes; 64-bit registers may also be accessed as two halves (GEN-9).
//!
//! Most writes start something that takes time. [`IrsReg::status`] names the register that tells when it is over
//! (GEN-16); only one such thing may be under way on each status register (GEN-18).

// The types carry the names of the specification, so that a search for a register finds everything about it.
#![allow(non_camel_case_types)]

use arbitrary_int::{u2, u4, u5, u6, u11, u12, u24, u25};

use crate::id::reports_interrupt;
use crate::layout::{FieldInfo, layout, values};
use crate::register::frame;
use crate::values::{
    BitsMinusOne, Cacheability, Domain, IstSize, L2Size, L2SizeSet, Levels, MapAction, PaRange, PriBits, Shareability,
    Structure, TriggerMode,
};
use crate::{Addr55_3, Addr55_6, Iaffid, IntType, IrsIntType, Lpi, Priority, Spi, VmId, VpeId};

/// Size and alignment of a frame in bytes (GEN-9).
pub const FRAME_BYTES: u64 = 0x1_0000;

values! {
    /// What kind of component a frame belongs to.
    Component: u4, exhaustive = false {
        /// Interrupt routing service.
        Irs = 0 => "IRS",
        /// Interrupt translation service.
        Its = 1 => "ITS",
        /// Interrupt wire bridge.
        Iwb = 2 => "IWB",
    }
}

values! {
    /// Major revision of the architecture.
    ArchMajorRev: u4, exhaustive = false {
        /// GICv5.
        Gicv5 = 0 => "GICv5",
    }
}

values! {
    /// Minor revision of the architecture.
    ArchMinorRev: u4, exhaustive = false {
        /// GICv5.0.
        V5_0 = 0 => "v5.0",
    }
}

frame! {
    /// A register of the IRS configuration frame.
    IrsReg {
    /// Top-level features: domain served, physical address range, virtualisation, 1-of-N, SETLPI, MEC, MPAM, software-error reporting, IRS number.
    0x000 IRS_IDR0: u32 RO {
        /// IRS number used to tell several IRSs apart.
        [31:16] IRSID irsid: u16;
        /// Newer MPAM; not in every source.
        [13] MPAM2 mpam2: bool;
        /// Software error registers present.
        [12] SWE swe: bool;
        /// MPAM supported.
        [11] MPAM mpam: bool;
        /// Memory encryption contexts supported. Zero outside the Realm frame in the QEMU model.
        [10] MEC mec: bool;
        /// SETLPI frame present.
        [9] SETLPI setlpi: bool;
        /// 1-of-N routing for virtual interrupts.
        [8] VIRT_ONE_N virt_one_n: bool;
        /// 1-of-N routing for physical interrupts.
        [7] ONE_N one_n: bool;
        /// Virtualisation supported - gates IDR3/IDR4 and all VM/VPE registers.
        [6] VIRT virt: bool;
        /// Width of the physical addresses the IRS can issue.
        [5:2] PA_RANGE pa_range: Option<PaRange>;
        /// The interrupt domain this frame serves.
        [1:0] INT_DOM int_dom: Domain;
    }

    /// PE count, affinity-ID width and priority width.
    0x004 IRS_IDR1: u32 RO {
        /// Number of implemented priority bits, 1 to 5, stored minus one (GEN-11).
        [22:20] PRI_BITS pri_bits: Option<PriBits>;
        /// Number of affinity ID bits, 1 to 16, stored minus one (GEN-11).
        [19:16] IAFFID_BITS iaffid_bits: BitsMinusOne;
        /// Number of PEs attached.
        [15:0] PE_CNT pe_cnt: u16;
    }

    /// Interrupt state table (IST) and ID-space capabilities.
    0x008 IRS_IDR2: u32 RO {
        /// Number of ID bits from which entries take 16 bytes instead of 8, if ISTMD is 1; a raw count.
        [19:15] ISTMD_SZ istmd_sz: u5;
        /// Entries carry metadata, so that they take more than 4 bytes (IST-10).
        [14] ISTMD istmd: bool;
        /// Bitmap of L2 sizes: bit 11 = 4 KiB, bit 12 = 16 KiB, bit 13 = 64 KiB.
        [13:11] IST_L2SZ ist_l2sz: L2SizeSet;
        /// Shapes of an IST that are supported.
        [10] IST_LEVELS ist_levels: Levels;
        /// The smallest number of LPI ID bits that an LPI IST may have; a raw count, 14 at most (GEN-10).
        [9:6] MIN_LPI_ID_BITS min_lpi_id_bits: u4;
        /// Physical LPIs supported.
        [5] LPI lpi: bool;
        /// The number of interrupt ID bits supported; a raw count, 24 at most.
        [4:0] ID_BITS id_bits: u5;
    }

    /// VM table capabilities.
    0x00c IRS_IDR3: u32 RO {
        /// Shapes of a VM table that are supported.
        [10] VMT_LEVELS vmt_levels: Levels;
        /// The largest number of VM ID bits; a raw count, 8 to 16 (GEN-10).
        [9:5] VM_ID_BITS vm_id_bits: u5;
        /// Log2 of the VM descriptor size in bytes, legal 3 to 12, meaningful only if VMD=1.
        [4:1] VMD_SZ vmd_sz: u4;
        /// Whether each VM needs a VM descriptor (VM-10). 0: no VM descriptor needed; 1: each VM needs a descriptor.
        [0] VMD vmd: bool;
    }

    /// VPE table capabilities.
    0x010 IRS_IDR4: u32 RO {
        /// The largest number of VPE ID bits, 1 to 16, stored minus one (GEN-11).
        [9:6] VPE_ID_BITS vpe_id_bits: BitsMinusOne;
        /// Log2 of the VPE descriptor size in bytes, legal 3 to 12.
        [5:0] VPED_SZ vped_sz: u6;
    }

    /// Number of SPIs in the whole system.
    0x014 IRS_IDR5: u32 RO {
        /// Number of SPIs, 0 for none.
        [24:0] SPI_RANGE spi_range: u25;
    }

    /// Number of SPIs owned by this IRS.
    0x018 IRS_IDR6: u32 RO {
        /// Number of SPIs: those from SPI_BASE to SPI_BASE + SPI_IRS_RANGE - 1.
        [24:0] SPI_IRS_RANGE spi_irs_range: u25;
    }

    /// First SPI ID owned by this IRS.
    0x01c IRS_IDR7: u32 RO {
        /// ID of the first SPI that this IRS owns.
        [23:0] SPI_BASE spi_base: Spi;
    }

    /// Implementer and product identification.
    0x040 IRS_IIDR: u32 RO {
        /// Product, as the implementer numbers them.
        [31:20] ProductID product_id: u12;
        /// Variant of the product.
        [19:16] Variant variant: u4;
        /// Revision of the product.
        [15:12] Revision revision: u4;
        /// JEP106 code, 0x43b for Arm.
        [11:0] Implementer implementer: u12;
    }

    /// Architecture version and component kind.
    0x044 IRS_AIDR: u32 RO {
        /// What kind of component this is: 0 IRS, 1 ITS, 2 IWB.
        [11:8] Component component: Option<Component>;
        /// Architecture version: 0 GICv5.
        [7:4] ArchMajorRev arch_major_rev: Option<ArchMajorRev>;
        /// Architecture revision: 0 v5.0.
        [3:0] ArchMinorRev arch_minor_rev: Option<ArchMinorRev>;
    }

    /// IRS enable for this domain.
    ///
    /// Reset value: IRSEN reads 0; a quiescent IRS shows IDLE=1.
    0x080 IRS_CR0: u32 RW {
        /// Read-only, 1 once a change of IRSEN has taken effect.
        [1] IDLE idle: bool;
        /// Whether the IRS forwards interrupts of this domain (GEN-21). 0: disabled; 1: enabled.
        [0] IRSEN irsen: bool;
    }

    /// Memory attributes for IRS accesses to its in-memory tables.
    ///
    /// Program before any table base register is made valid.
    0x084 IRS_CR1: u32 RW {
        /// Write-allocate hint for VPE descriptors.
        [15] VPED_WA vped_wa: bool;
        /// Read-allocate hint for VPE descriptors.
        [14] VPED_RA vped_ra: bool;
        /// Write-allocate hint for VM descriptors.
        [13] VMD_WA vmd_wa: bool;
        /// Read-allocate hint for VM descriptors.
        [12] VMD_RA vmd_ra: bool;
        /// Write-allocate hint for VPE tables.
        [11] VPET_WA vpet_wa: bool;
        /// Read-allocate hint for VPE tables.
        [10] VPET_RA vpet_ra: bool;
        /// Write-allocate hint for the VM table.
        [9] VMT_WA vmt_wa: bool;
        /// Read-allocate hint for the VM table.
        [8] VMT_RA vmt_ra: bool;
        /// Write-allocate hint for ISTs. 0: no write-allocate; 1: write-allocate.
        [7] IST_WA ist_wa: bool;
        /// Read-allocate hint for ISTs. 0: no read-allocate; 1: read-allocate.
        [6] IST_RA ist_ra: bool;
        /// Inner cacheability.
        [5:4] IC ic: Option<Cacheability>;
        /// Outer cacheability.
        [3:2] OC oc: Option<Cacheability>;
        /// Shareability.
        [1:0] SH sh: Option<Shareability>;
    }

    /// Starts an IRS-wide synchronisation.
    ///
    /// KVM's model reads it as zero.
    0x0c0 IRS_SYNCR: u32 WO {
        /// Write 1 to start; poll IRS_SYNC_STATUSR.
        [31] SYNC sync: bool;
    }

    /// Completion of IRS_SYNCR.
    0x0c4 IRS_SYNC_STATUSR: u32 RO {
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// Assigns the selected SPI to a VM.
    0x100 IRS_SPI_VMR: u64 RW {
        /// Whether the SPI belongs to a VM. 0: physical SPI; 1: SPI belongs to VM_ID.
        [63] VIRT virt: bool;
        /// The VM.
        [15:0] VM_ID vm_id: VmId;
    }

    /// Selects the SPI that the other SPI registers act on.
    ///
    /// KVM's model reads back the last value written.
    0x108 IRS_SPI_SELR: u32 RW {
        /// The SPI to select.
        [23:0] ID id: Spi;
    }

    /// Domain of the selected SPI.
    ///
    /// RAZ/WI outside the EL3 frame in the QEMU model; KVM's model always reads Non-secure.
    0x10c IRS_SPI_DOMAINR: u32 RW {
        /// The domain the SPI is assigned to.
        [1:0] DOMAIN domain: Domain;
    }

    /// Makes the IRS look again at the level of one SPI wire.
    0x110 IRS_SPI_RESAMPLER: u32 WO {
        /// The SPI to sample.
        [23:0] SPI_ID spi_id: Spi;
    }

    /// Trigger mode of the selected SPI.
    0x114 IRS_SPI_CFGR: u32 RW {
        /// How the wire is read.
        [0] TM tm: TriggerMode;
    }

    /// Result of the last SPI selection or update.
    0x118 IRS_SPI_STATUSR: u32 RO {
        /// Whether the selection is valid (GEN-17). 0: selection not valid; 1: selection valid.
        [1] V v: bool;
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// Selects the PE, by affinity ID, for IRS_PE_CR0 and IRS_PE_STATUSR.
    0x140 IRS_PE_SELR: u32 RW {
        /// The affinity ID.
        [15:0] IAFFID iaffid: Iaffid;
    }

    /// Result of the last PE selection or update.
    0x144 IRS_PE_STATUSR: u32 RO {
        /// Whether the PE is online. 0: PE offline; 1: PE online.
        [2] ONLINE online: bool;
        /// Whether the selection is valid (GEN-17). 0: no such PE; 1: selection valid.
        [1] V v: bool;
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// 1-of-N opt-out of the selected PE.
    ///
    /// QEMU treats it as RAZ/WI when IRS_IDR0.ONE_N is 0; KVM's model then reads 1 and ignores writes. See the disagreements.
    0x148 IRS_PE_CR0: u32 RW {
        /// 1 takes it out of 1-of-N selection (VPE-15). 0: PE may be chosen for 1-of-N; 1: PE never chosen for 1-of-N.
        [0] DPS dps: bool;
    }

    /// Base of the physical LPI interrupt state table.
    ///
    /// Going from VALID=1 to 0 withdraws the table; only then may the address and IRS_IST_CFGR change.
    ///
    /// Reset value: 0 (QEMU model).
    0x180 IRS_IST_BASER: u64 RW {
        /// Physical address of the IST or of its level-1 table; read-only while VALID is 1.
        [55:6] ADDR addr: Addr55_6;
        /// Whether the table is in use. 0: no table; 1: table in use.
        [0] VALID valid: bool;
    }

    /// Shape of the physical LPI interrupt state table.
    ///
    /// Writes are ignored while IRS_IST_BASER.VALID=1.
    ///
    /// Reset value: 0 (QEMU model).
    0x190 IRS_IST_CFGR: u32 RW {
        /// Shape of the table.
        [16] STRUCTURE structure: Structure;
        /// Size of an entry (IST-9).
        [8:7] ISTSZ istsz: Option<IstSize>;
        /// Size of a level-2 table (IST-14).
        [6:5] L2SZ l2sz: Option<L2Size>;
        /// Number of LPI ID bits of the table, a raw count.
        [4:0] LPI_ID_BITS lpi_id_bits: u5;
    }

    /// Completion of IST base and map operations.
    0x194 IRS_IST_STATUSR: u32 RO {
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// Makes the L1 IST entry that covers an LPI valid.
    0x1c0 IRS_MAP_L2_ISTR: u32 WO {
        /// Any LPI ID covered by that L1 entry.
        [23:0] ID id: Lpi;
    }

    /// Base of the VM table.
    ///
    /// Writing 0 withdraws the table; software must see VALID=0 before programming a new one.
    0x200 IRS_VMT_BASER: u64 RW {
        /// Physical address of the VM table or of its level-1 table.
        [55:3] ADDR addr: Addr55_3;
        /// Whether the table is in use. 0: no VM table; 1: VM table in use.
        [0] VALID valid: bool;
    }

    /// Shape of the VM table.
    ///
    /// Program before IRS_VMT_BASER.VALID is set.
    0x210 IRS_VMT_CFGR: u32 RW {
        /// Shape of the table.
        [16] STRUCTURE structure: Structure;
        /// Number of VM ID bits of the table, a raw count, at most IRS_IDR3.VM_ID_BITS.
        [4:0] VM_ID_BITS vm_id_bits: u5;
    }

    /// Completion of VM table and map operations.
    ///
    /// QEMU places it at 0x124; see the disagreements.
    0x214 IRS_VMT_STATUSR: u32 RO {
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// Selects one VPE of one VM for the VPE registers.
    0x240 IRS_VPE_SELR: u64 RW {
        /// Write 1 to perform the selection.
        [63] S s: bool;
        /// The VPE.
        [47:32] VPE_ID vpe_id: VpeId;
        /// The VM.
        [15:0] VM_ID vm_id: VmId;
    }

    /// Doorbell setting of the selected VPE.
    0x248 IRS_VPE_DBR: u64 RW {
        /// Whether the doorbell settings are valid (DB-6). 0: doorbell setting not valid; 1: doorbell setting valid.
        [63] DBV dbv: bool;
        /// 1 asks for a doorbell now; one-shot.
        [62] REQ_DB req_db: bool;
        /// Doorbell priority mask.
        [36:32] DBPM dbpm: Priority;
        /// ID of the physical LPI to raise, without the TYPE bits (older drafts call it LPI_ID).
        [23:0] INTID intid: Lpi;
    }

    /// Highest priority pending interrupt of the selected VPE.
    0x250 IRS_VPE_HPPIR: u64 RO {
        /// Whether TYPE and ID are valid. 0: nothing pending; 1: TYPE and ID valid.
        [32] HPPIV hppiv: bool;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }

    /// 1-of-N opt-out of the selected VPE.
    0x258 IRS_VPE_CR0: u32 RW {
        /// 1 takes it out of 1-of-N selection (VPE-15). 0: VPE may be chosen for 1-of-N; 1: targeted routing only.
        [0] DPS dps: bool;
    }

    /// Result of the last VPE selection or update.
    ///
    /// An early draft had a failure bit F here; the current layout does not.
    0x25c IRS_VPE_STATUSR: u32 RO {
        /// Whether the selection is valid (GEN-17). 0: selection not valid; 1: selected VPE is valid.
        [1] V v: bool;
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// Names the VPE that receives doorbells for 1-of-N interrupts of the selected VM.
    0x280 IRS_VM_DBR: u64 RW {
        /// Whether it is enabled. 0: no VM doorbell; 1: VM doorbell enabled.
        [63] EN en: bool;
        /// The VPE.
        [15:0] VPE_ID vpe_id: VpeId;
    }

    /// Selects the VM for IRS_VM_DBR.
    0x288 IRS_VM_SELR: u32 RW {
        /// The VM.
        [15:0] VM_ID vm_id: VmId;
    }

    /// Result of the last VM selection or update.
    0x28c IRS_VM_STATUSR: u32 RO {
        /// Whether the selection is valid (GEN-17). 0: selection not valid; 1: selection valid.
        [1] V v: bool;
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// Makes the L1 VM table entry that covers a VM valid.
    0x2c0 IRS_VMAP_L2_VMTR: u64 WO {
        /// Write 1 to act.
        [63] M m: bool;
        /// The VM.
        [15:0] VM_ID vm_id: VmId;
    }

    /// Makes a VM table entry valid or invalid.
    0x2c8 IRS_VMAP_VMR: u64 WO {
        /// Write 1 to act.
        [63] M m: bool;
        /// What happens to the entry.
        [62] U u: MapAction;
        /// The VM.
        [15:0] VM_ID vm_id: VmId;
    }

    /// Makes a VM's virtual LPI or SPI state table valid or invalid.
    0x2d0 IRS_VMAP_VISTR: u64 WO {
        /// Write 1 to act.
        [63] M m: bool;
        /// What happens to the entry.
        [62] U u: MapAction;
        /// The VM.
        [47:32] VM_ID vm_id: VmId;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
    }

    /// Makes one L1 entry of a VM's two-level virtual IST valid.
    0x2d8 IRS_VMAP_L2_VISTR: u64 WO {
        /// Write 1 to act.
        [63] M m: bool;
        /// The VM.
        [47:32] VM_ID vm_id: VmId;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
        /// Any ID covered by that L1 entry.
        [23:0] ID id: u24;
    }

    /// Makes one VPE table entry valid.
    ///
    /// There is no unmap bit: a VPE goes invalid only with its VM.
    0x2e0 IRS_VMAP_VPER: u64 WO {
        /// Write 1 to act.
        [63] M m: bool;
        /// The VM.
        [47:32] VM_ID vm_id: VmId;
        /// The VPE.
        [15:0] VPE_ID vpe_id: VpeId;
    }

    /// Writes cached state of a VM back to memory, or checks that it is quiescent.
    0x300 IRS_SAVE_VMR: u64 WO {
        /// Write 1 to start a save.
        [63] S s: bool;
        /// Write 1 to ask for the quiescent check.
        [62] Q q: bool;
        /// The VM.
        [15:0] VM_ID vm_id: VmId;
    }

    /// Completion and result of IRS_SAVE_VMR.
    0x308 IRS_SAVE_VM_STATUSR: u32 RO {
        /// Asks for, or holds, the verdict whether the VM is quiescent (SAVE-2). 0: VM was not quiescent; 1: VM was quiescent.
        [1] Q q: bool;
        /// 1 once the last write has finished (GEN-17). 0: operation in flight; 1: idle.
        [0] IDLE idle: bool;
    }

    /// Width of memory encryption context IDs.
    ///
    /// Realm frame only.
    0x340 IRS_MEC_IDR: u32 RO {
        /// Width of memory encryption context IDs.
        [3:0] MECIDSIZE mecidsize: u4;
    }

    /// Memory encryption context used for IRS table accesses.
    ///
    /// Realm frame only.
    0x344 IRS_MEC_MECID_R: u32 RW {
        /// Memory encryption context ID.
        [15:0] MECID mecid: u16;
    }

    /// MPAM limits, classic layout.
    0x380 IRS_MPAM_IDR: u32 RO {
        /// Whether MPAM_SP exists.
        [24] HAS_MPAM_SP has_mpam_sp: bool;
        /// The highest PMG.
        [23:16] PMG_MAX pmg_max: u8;
        /// The highest PARTID.
        [15:0] PARTID_MAX partid_max: u16;
    }

    /// MPAM partition used for IRS table accesses.
    0x384 IRS_MPAM_PARTID_R: u32 RW {
        /// 1 once the last write has finished (GEN-17).
        [31] IDLE idle: bool;
        /// MPAM partition space.
        [25:24] MPAM_SP mpam_sp: u2;
        /// Performance monitoring group.
        [23:16] PMG pmg: u8;
        /// Partition ID.
        [15:0] PARTID partid: u16;
    }

    /// Latched software error report.
    ///
    /// Bits clear by writing one, according to the study notes. Error codes seen: 0x00 L1 IST entry could not be updated by a map, 0x01 L1 IST entry could not be read, 0x02 L2 IST entry could not be accessed. The full table was not found.
    0x3c0 IRS_SWERR_STATUSR: u64 RW {
        /// Implementation-defined error code.
        [31:24] IMP_EC imp_ec: u8;
        /// Error code.
        [23:16] EC ec: u8;
        /// A further error was lost.
        [3] OF of: bool;
        /// SYNDROMER1 holds data.
        [2] S1V s1v: bool;
        /// SYNDROMER0 holds data.
        [1] S0V s0v: bool;
        /// An error is recorded.
        [0] V v: bool;
    }

    /// Which interrupt or VM the error concerns.
    0x3c8 IRS_SWERR_SYNDROMER0: u64 RO {
        /// Whether the interrupt is virtual. 0: physical; 1: virtual.
        [63] VIRTUAL is_virtual: bool;
        /// The type of the interrupt.
        [62:60] TYPE int_type: Option<IntType>;
        /// The ID of the interrupt, within its type.
        [55:32] ID id: u24;
        /// The VM.
        [15:0] VM_ID vm_id: VmId;
    }

    /// Address the error concerns.
    0x3d0 IRS_SWERR_SYNDROMER1: u64 RO {
        /// The address.
        [55:3] ADDR addr: Addr55_3;
    }

    /// CoreSight architecture identification.
    ///
    /// Reset value: 0x47705a19 (KVM model).
    0xffbc IRS_DEVARCH: u32 RO {
        /// Who designed the component: 0x23b is Arm.
        [31:21] ARCHITECT architect: u11;
        /// Whether the register is present.
        [20] PRESENT present: bool;
        /// Revision of the component's architecture.
        [19:16] REVISION revision: u4;
        /// The component's architecture.
        [15:0] ARCHID archid: u16;
    }

    /// CoreSight peripheral ID byte 4.
    ///
    /// Reset value: 0x04 for Arm (JEP106 continuation).
    0xffd0 IRS_PIDR4: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight peripheral ID byte 5.
    ///
    /// Reset value: 0.
    0xffd4 IRS_PIDR5: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight peripheral ID byte 6.
    ///
    /// Reset value: 0.
    0xffd8 IRS_PIDR6: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight peripheral ID byte 7.
    ///
    /// Reset value: 0.
    0xffdc IRS_PIDR7: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight peripheral ID byte 0.
    ///
    /// Reset value: part number low byte.
    0xffe0 IRS_PIDR0: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight peripheral ID byte 1.
    ///
    /// Reset value: part number high nibble and designer low nibble.
    0xffe4 IRS_PIDR1: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight peripheral ID byte 2.
    ///
    /// Reset value: designer bits and revision.
    0xffe8 IRS_PIDR2: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight peripheral ID byte 3.
    ///
    /// Reset value: revision detail.
    0xffec IRS_PIDR3: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight component ID byte 0.
    ///
    /// Reset value: 0x0d.
    0xfff0 IRS_CIDR0: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight component ID byte 1.
    ///
    /// Reset value: 0xf0.
    0xfff4 IRS_CIDR1: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight component ID byte 2.
    ///
    /// Reset value: 0x05.
    0xfff8 IRS_CIDR2: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }

    /// CoreSight component ID byte 3.
    ///
    /// Reset value: 0xb1.
    0xfffc IRS_CIDR3: u32 RO {
        /// The byte.
        [7:0] BYTE byte: u8;
    }
    }
}

frame! {
    /// A register of the SETLPI frame.
    SetLpiReg {
        /// Makes a physical LPI of the frame's domain pending, as an edge (LPI-4).
        0x000 IRS_SETLPIR: u32 WO {
            /// The LPI.
            [23:0] ID id: Lpi;
        }
    }
}

layout! {
    /// MPAM limits in the layout that the Arm listing prints, with a wide PMG: another view of [`IRS_MPAM_IDR`].
    IRS_MPAM_IDR_MPAM2: u32 {
        /// The highest PMG.
        [31:16] PMG_MAX pmg_max: u16;
        /// The highest PARTID.
        [15:0] PARTID_MAX partid_max: u16;
    }
}

layout! {
    /// Wide performance monitoring group for newer MPAM. Its offset is in no public source, so it is not part of
    /// [`IrsReg`].
    IRS_MPAM_PMGR: u32 {
        /// Performance monitoring group.
        [15:0] PMG pmg: u16;
    }
}

/// A status register: where software sees that a write has finished (GEN-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// The register to poll.
    pub register: IrsReg,
    /// The bit that reads 1 when the last write has finished.
    pub idle: u32,
    /// The bit that says whether the selected object exists and is valid, where there is one (GEN-17).
    pub valid: Option<u32>,
}

impl IrsReg {
    /// The registers that hold IDs and describe the implementation; they never change.
    #[must_use]
    pub const fn is_identification(self) -> bool {
        self.offset() < IrsReg::IRS_CR0.offset()
            || self.offset() >= IrsReg::IRS_DEVARCH.offset()
            || matches!(self, IrsReg::IRS_MEC_IDR | IrsReg::IRS_MPAM_IDR)
    }

    /// Where to see that a write to this register has finished; `None` for registers whose writes act at once or that
    /// are not written.
    #[must_use]
    pub const fn status(self) -> Option<Status> {
        const IDLE: u32 = 1 << 0;
        const V: u32 = 1 << 1;
        let (register, idle, valid) = match self {
            IrsReg::IRS_CR0 => (IrsReg::IRS_CR0, 1 << 1, None),
            IrsReg::IRS_SYNCR => (IrsReg::IRS_SYNC_STATUSR, IDLE, None),
            IrsReg::IRS_SPI_SELR | IrsReg::IRS_SPI_CFGR | IrsReg::IRS_SPI_DOMAINR | IrsReg::IRS_SPI_VMR => {
                (IrsReg::IRS_SPI_STATUSR, IDLE, Some(V))
            }
            IrsReg::IRS_PE_SELR | IrsReg::IRS_PE_CR0 => (IrsReg::IRS_PE_STATUSR, IDLE, Some(V)),
            IrsReg::IRS_IST_BASER | IrsReg::IRS_MAP_L2_ISTR => (IrsReg::IRS_IST_STATUSR, IDLE, None),
            IrsReg::IRS_VMT_BASER
            | IrsReg::IRS_VMAP_L2_VMTR
            | IrsReg::IRS_VMAP_VMR
            | IrsReg::IRS_VMAP_VPER
            | IrsReg::IRS_VMAP_VISTR
            | IrsReg::IRS_VMAP_L2_VISTR => (IrsReg::IRS_VMT_STATUSR, IDLE, None),
            IrsReg::IRS_VPE_SELR | IrsReg::IRS_VPE_DBR | IrsReg::IRS_VPE_CR0 => {
                (IrsReg::IRS_VPE_STATUSR, IDLE, Some(V))
            }
            IrsReg::IRS_VM_SELR | IrsReg::IRS_VM_DBR => (IrsReg::IRS_VM_STATUSR, IDLE, Some(V)),
            IrsReg::IRS_SAVE_VMR => (IrsReg::IRS_SAVE_VM_STATUSR, IDLE, None),
            _ => return None,
        };
        Some(Status { register, idle, valid })
    }
}

reports_interrupt!(IRS_VPE_HPPIR: hppiv with_hppiv);

/// Layouts of the frame that [`IrsReg`] cannot list: a second view of a register, and a register without a known offset.
/// Name, view, layout.
pub const OTHER_LAYOUTS: &[(&str, &str, &[FieldInfo])] =
    &[("IRS_MPAM_IDR", "mpam2", IRS_MPAM_IDR_MPAM2::FIELDS), ("IRS_MPAM_PMGR", "", IRS_MPAM_PMGR::FIELDS)];
