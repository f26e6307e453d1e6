//! How large each table is, how it is aligned, and where in it an entry lies.
//!
//! Hardware walks all of these itself, drops the address bits it takes as zero and clamps the counts it does not
//! support, each without telling anyone (VMT-10, VMT-11, IST-12, IST-28). A size that is wrong by one bit therefore
//! shows as corrupted memory somewhere else, much later. So the arithmetic is here, once, and refuses what it cannot
//! make a table of:
//!
//! | structure | limits from | geometry |
//! |---|---|---|
//! | VM table, linear or two-level | [`VmTableLimits::from_idr3`] | [`VmTableGeometry`] |
//! | VM descriptor | [`VmTableLimits::descriptor`] | [`DescriptorGeometry`] |
//! | VPE table | [`VpeTableLimits::from_idr4`] | [`VpeTableGeometry`] |
//! | VPE descriptor | [`VpeTableLimits::descriptor`] | [`DescriptorGeometry`] |
//! | IST, physical or virtual, linear or two-level | [`IstLimits::from_idr2`] | [`IstGeometry`] |
//!
//! *Limits* are what an IRS supports, read from its ID registers and refused if the architecture does not allow them
//! (GEN-10). A *geometry* is one table: it holds only what the register or table entry holds that describes the table,
//! and everything else is computed from that. A [`Footprint`] is what to ask an allocator for.
//!
//! A virtual LPI IST for a guest that asked for 5000 LPIs, on a host whose allocator gives 64 KiB at most in one piece:
//!
//! ```
//! use gicv5_arch::IrsIntType;
//! use gicv5_arch::geometry::{GeometryError, IstLimits, TableIndex};
//! use gicv5_arch::irs::IRS_IDR2;
//!
//! // 24 ID bits, LPIs, two levels, level-2 tables of 4 KiB and 64 KiB, 8-byte entries below 20 ID bits.
//! let idr2 = IRS_IDR2::new_with_raw_value(20 << 15 | 1 << 14 | 0b101 << 11 | 1 << 10 | 1 << 5 | 24);
//! let limits = IstLimits::from_idr2(idr2)?;
//! let id_bits = limits.id_bits_for(IrsIntType::Lpi, 5000)?;
//! let ist = limits.choose(IrsIntType::Lpi, id_bits, 0x1_0000)?;
//!
//! assert_eq!(id_bits, 13);
//! assert_eq!((ist.base().size(), ist.base().alignment()), (0x1_0000, 0x1_0000));
//! assert!(matches!(ist.index(4999)?, TableIndex::Linear(slot) if slot.offset == 4999 * 8));
//! assert!(ist.index(8192).is_err());
//! # Ok::<(), GeometryError>(())
//! ```

mod descriptor;
mod error;
mod footprint;
mod ist;
mod ist_limits;
mod shape;
mod vm_table;
mod vpe_table;

pub use descriptor::DescriptorGeometry;
pub use error::GeometryError;
pub use footprint::Footprint;
pub use ist::IstGeometry;
pub use ist_limits::IstLimits;
pub use shape::{Slot, TableIndex};
pub use vm_table::{VmTableGeometry, VmTableLimits};
pub use vpe_table::{VpeTableGeometry, VpeTableLimits};
