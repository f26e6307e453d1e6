//! What the embedder offers the guest, and the identification registers that say so.

use arbitrary_int::{u4, u5, u25};
use gicv5_arch::geometry::{GeometryError, IstLimits};
use gicv5_arch::irs::{
    ArchMajorRev, ArchMinorRev, Component, IRS_AIDR, IRS_DEVARCH, IRS_IDR0, IRS_IDR1, IRS_IDR2, IRS_IDR5, IRS_IDR6,
    IRS_IIDR, IrsReg,
};
use gicv5_arch::values::{BitsMinusOne, Domain, L2SizeSet, Levels, PaRange, PriBits};

use crate::backend::Limits;

/// The most SPIs that a frame takes: their IDs have 24 bits (GEN-1).
pub const MAX_SPIS: u32 = 1 << 24;

/// What the guest is to see. Fixed for the life of the frame (GIRS-26).
///
/// [`Offer::new`] gives the usual answers for a backend; change fields for others. VMs that migrate among unlike hosts need
/// the smallest widths and the largest minimum of all of them.
///
/// Not on offer, and so 0 in every identification register: virtualisation, 1-of-N, MEC, MPAM and software error reports
/// (VIRS-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Number of vCPUs, IRS_IDR1.PE_CNT.
    pub vcpus: u16,
    /// Number of SPIs: 0 to `spis - 1`, all of this IRS (GIRS-20).
    pub spis: u32,
    /// Physical address range that the guest's CPUs show (GIRS-12).
    pub pa_range: PaRange,
    /// Bits of an affinity ID, 1 to 16. They have to hold the ID of every vCPU (GIRS-14).
    pub iaffid_bits: u32,
    /// Priority bits.
    pub priority_bits: PriBits,
    /// The most ID bits of the guest's LPI table: the bound on what one VM can make the host allocate (GIRS-76).
    pub lpi_id_bits: u32,
    /// The fewest ID bits of the guest's LPI table. With a linear table Linux takes this number, but at least 12, so it decides
    /// what a VM costs (GIRS-19).
    pub min_lpi_id_bits: u32,
    /// Level-2 sizes of a two-level LPI table; `None` offers a linear one only. With two levels a guest can ask for LPIs range
    /// by range ([`TableOperation::Map`](crate::TableOperation::Map)).
    pub two_levels: Option<L2SizeSet>,
    /// Whether the SETLPI frame works: the guest, and nobody else, makes an LPI pending by writing its ID (GIRS-70).
    pub set_lpi: bool,
    /// Who made this device. No known guest reads it (GIRS-22); the CoreSight peripheral ID follows from it.
    pub identity: IRS_IIDR,
}

/// The offer is more than the backend can do, or more than the architecture knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// A number of the offer is out of range.
    #[error("{field} is {value}, the backend allows {min} to {max} ({rule})")]
    OutOfRange {
        /// The field of [`Offer`].
        field: &'static str,
        /// What it holds.
        value: u32,
        /// The least it may be.
        min: u32,
        /// The most it may be.
        max: u32,
        /// The rule that limits it.
        rule: &'static str,
    },
    /// The LPI table described by the offer cannot exist.
    #[error("the LPI table on offer cannot exist")]
    Table(#[from] GeometryError),
    /// The records of the SPIs do not fit the heap.
    #[error("no memory for the records of {spis} SPIs")]
    OutOfMemory {
        /// Number of SPIs on offer.
        spis: u32,
    },
}

impl Offer {
    /// What a guest of today expects: a linear LPI table of 12 to 16 ID bits where the backend has them, no SETLPI frame.
    #[must_use]
    pub const fn new(limits: &Limits, vcpus: u16, spis: u32, pa_range: PaRange) -> Offer {
        let lpi_id_bits = if limits.id_bits < 16 { limits.id_bits } else { 16 };
        // At least 12, so that hosts of different minimum show the same; but not more than there are.
        let least = if limits.min_lpi_id_bits < 12 { 12 } else { limits.min_lpi_id_bits };
        Offer {
            vcpus,
            spis,
            pa_range,
            iaffid_bits: limits.vpe_id_bits,
            priority_bits: limits.priority_bits,
            lpi_id_bits,
            min_lpi_id_bits: if least < lpi_id_bits { least } else { lpi_id_bits },
            two_levels: None,
            set_lpi: false,
            identity: IRS_IIDR::ZERO,
        }
    }
}

/// An offer that has been checked: the values of the identification registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    offer: Offer,
    iaffid_bits: BitsMinusOne,
    /// What IRS_IDR2 says.
    idr2: IRS_IDR2,
    ist_limits: IstLimits,
}

impl Identity {
    pub(crate) fn new(offer: Offer, limits: &Limits) -> Result<Identity, OfferError> {
        let check = |field, value, min, max, rule| match value {
            _ if value < min || value > max => Err(OfferError::OutOfRange { field, value, min, max, rule }),
            _ => Ok(()),
        };
        check("iaffid_bits", offer.iaffid_bits, 1, limits.vpe_id_bits.min(16), "GIRS-54")?;
        check("vcpus", offer.vcpus.into(), 1, 1 << offer.iaffid_bits, "GIRS-14")?;
        check("priority_bits", offer.priority_bits.count(), 1, limits.priority_bits.count(), "VIRS-3")?;
        check("lpi_id_bits", offer.lpi_id_bits, 1, limits.id_bits.min(24), "GIRS-18")?;
        let most = offer.lpi_id_bits.min(IstLimits::MAX_MIN_LPI_ID_BITS);
        check("min_lpi_id_bits", offer.min_lpi_id_bits, limits.min_lpi_id_bits, most, "GIRS-18")?;
        check("spis", offer.spis, 0, (1 << limits.id_bits.min(24)).min(MAX_SPIS), "VIRS-20")?;
        let levels = if offer.two_levels.is_some() { Levels::TwoLevel } else { Levels::Linear };
        let idr2 = IRS_IDR2::ZERO
            // GIRS-15: Linux does not boot without.
            .with_lpi(true)
            // All were checked to fit.
            .with_id_bits(u5::new(offer.lpi_id_bits as u8))
            .with_min_lpi_id_bits(u4::new(offer.min_lpi_id_bits as u8))
            .with_ist_levels(levels)
            .with_ist_l2sz(offer.two_levels.unwrap_or(L2SizeSet::EMPTY));
        let ist_limits = IstLimits::from_idr2(idr2)?;
        // 1 to 16, as checked.
        let iaffid_bits = BitsMinusOne::new_with_raw_value(u4::new((offer.iaffid_bits - 1) as u8));
        Ok(Identity { offer, iaffid_bits, idr2, ist_limits })
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    pub(crate) fn ist_limits(&self) -> IstLimits {
        self.ist_limits
    }

    /// What an identification register reads; 0 for those that say that a feature is absent.
    pub(crate) fn value(&self, register: IrsReg) -> u32 {
        let identity = self.offer.identity;
        let implementer = identity.implementer().value();
        let product = identity.product_id().value();
        match register {
            IrsReg::IRS_IDR0 => IRS_IDR0::ZERO
                .with_int_dom(Domain::NonSecure)
                .with_pa_range(self.offer.pa_range)
                .with_setlpi(self.offer.set_lpi)
                .raw_value(),
            IrsReg::IRS_IDR1 => IRS_IDR1::ZERO
                .with_pe_cnt(self.offer.vcpus)
                .with_iaffid_bits(self.iaffid_bits)
                .with_pri_bits(self.offer.priority_bits)
                .raw_value(),
            IrsReg::IRS_IDR2 => self.idr2.raw_value(),
            IrsReg::IRS_IDR5 => IRS_IDR5::ZERO.with_spi_range(u25::new(self.offer.spis)).raw_value(),
            IrsReg::IRS_IDR6 => IRS_IDR6::ZERO.with_spi_irs_range(u25::new(self.offer.spis)).raw_value(),
            IrsReg::IRS_IIDR => identity.raw_value(),
            IrsReg::IRS_AIDR => IRS_AIDR::ZERO
                .with_component(Component::Irs)
                .with_arch_major_rev(ArchMajorRev::Gicv5)
                .with_arch_minor_rev(ArchMinorRev::V5_0)
                .raw_value(),
            // GIRS-24. ARCHITECT is Arm whoever made the device: it names who designed the architecture.
            IrsReg::IRS_DEVARCH => IRS_DEVARCH::ZERO
                .with_architect(arbitrary_int::u11::new(0x23b))
                .with_present(true)
                .with_archid(0x5a19)
                .raw_value(),
            // The CoreSight peripheral ID: part number, then the JEP106 code of the designer, split over three bytes.
            IrsReg::IRS_PIDR0 => u32::from(product & 0xff),
            IrsReg::IRS_PIDR1 => u32::from((implementer & 0xf) << 4 | product >> 8),
            IrsReg::IRS_PIDR2 => u32::from(identity.revision().value()) << 4 | 1 << 3 | u32::from(implementer >> 4 & 7),
            IrsReg::IRS_PIDR4 => u32::from(implementer >> 8),
            IrsReg::IRS_CIDR0 => 0x0d,
            IrsReg::IRS_CIDR1 => 0xf0,
            IrsReg::IRS_CIDR2 => 0x05,
            IrsReg::IRS_CIDR3 => 0xb1,
            _ => 0,
        }
    }
}
