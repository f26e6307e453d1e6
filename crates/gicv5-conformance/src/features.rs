//! What the ID registers say, and which tests apply.

use core::fmt;

use gicv5_arch::Spi;
use gicv5_arch::geometry::{IstGeometry, IstLimits, VmTableGeometry};
use gicv5_arch::irs::{IRS_IDR0, IRS_IDR1, IRS_IDR2, IRS_IDR3, IRS_IDR4, IRS_IDR5, IRS_IDR6, IRS_IDR7};
use gicv5_arch::sysreg::{ICC_IDR0_EL1, SysReg};
use gicv5_arch::values::{L2Size, Levels};
use gicv5_hal::{IrsExt, IrsIndex, Pe, PeOps};

use crate::bench::Bench;

/// The IRS that the tests use.
pub const IRS: IrsIndex = IrsIndex(0);

/// What the machine has, from its ID registers; and what the bench can do, from the bench.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// IRS_IDR0.
    pub idr0: IRS_IDR0,
    /// IRS_IDR1.
    pub idr1: IRS_IDR1,
    /// IRS_IDR2.
    pub idr2: IRS_IDR2,
    /// IRS_IDR3.
    pub idr3: IRS_IDR3,
    /// IRS_IDR4.
    pub idr4: IRS_IDR4,
    /// IRS_IDR5.
    pub idr5: IRS_IDR5,
    /// IRS_IDR6.
    pub idr6: IRS_IDR6,
    /// IRS_IDR7.
    pub idr7: IRS_IDR7,
    /// ICC_IDR0_EL1 of PE 0.
    pub icc_idr0: ICC_IDR0_EL1,
    /// How many PEs the bench runs.
    pub pes: usize,
    /// The SPI whose wire the bench drives.
    pub wired_spi: Option<Spi>,
    /// Whether the bench drives the timers.
    pub timers: bool,
    /// Whether the PEs have NMIs that the bench switches on.
    pub nmi: bool,
    /// Whether the tests can be a hypervisor: the IRS has virtualisation and LPIs, and the PEs run at EL2.
    pub virt: bool,
    /// Whether the bench runs guests.
    pub guests: bool,
    /// Whether the bench runs a host's kernel at EL1.
    pub kernel: bool,
}

impl Features {
    /// Reads the ID registers, and nothing else.
    pub fn read<B: Bench, P: PeOps + ?Sized>(bench: &B, pe: &Pe<'_, P>) -> Features {
        let irs = bench.irs();
        let idr0: IRS_IDR0 = irs.read(IRS);
        let idr2: IRS_IDR2 = irs.read(IRS);
        // Doorbells are physical LPIs, so that virtualisation without those is of no use (LPI-3).
        let virt = idr0.virt() && idr2.lpi() && bench.has_el2();
        Features {
            idr0,
            idr1: irs.read(IRS),
            idr2,
            idr3: irs.read(IRS),
            idr4: irs.read(IRS),
            idr5: irs.read(IRS),
            idr6: irs.read(IRS),
            idr7: irs.read(IRS),
            icc_idr0: ICC_IDR0_EL1::new_with_raw_value(pe.read_raw(SysReg::ICC_IDR0_EL1)),
            pes: bench.pe_count(),
            wired_spi: bench.wired_spi(),
            timers: bench.has_timers(),
            nmi: bench.has_nmi(),
            virt,
            guests: virt && bench.has_guests(),
            kernel: bench.has_kernel(),
        }
    }

    /// Number of priority bits that both the IRS and the CPU interface keep (GEN-12).
    #[must_use]
    pub fn priority_bits(&self) -> u32 {
        let irs = self.idr1.pri_bits().map_or(5, |bits| bits.count());
        let cpu = self.icc_idr0.pri_bits().map_or(5, |bits| bits.count());
        irs.min(cpu)
    }

    /// The smallest linear IST of this IRS that has a thousand LPIs; `None` without LPIs.
    #[must_use]
    pub fn linear_ist(&self) -> Option<IstGeometry> {
        let limits = IstLimits::from_idr2(self.idr2).ok().filter(|limits| limits.has_physical_lpis())?;
        let bits = limits.min_lpi_id_bits().max(10);
        if bits > limits.id_bits() {
            return None;
        }
        IstGeometry::linear(bits, limits.entry_size(bits)).ok()
    }

    /// The smallest linear IST of this IRS.
    #[must_use]
    pub fn smallest_ist(&self) -> Option<IstGeometry> {
        let limits = IstLimits::from_idr2(self.idr2).ok().filter(|limits| limits.has_physical_lpis())?;
        let bits = limits.min_lpi_id_bits();
        IstGeometry::linear(bits, limits.entry_size(bits)).ok()
    }

    /// A two-level IST of this IRS with that size of level-2 tables and at least two of them; `None` if it has none.
    #[must_use]
    pub fn two_level_ist(&self, size: L2Size) -> Option<IstGeometry> {
        let limits = IstLimits::from_idr2(self.idr2).ok().filter(|limits| limits.has_physical_lpis())?;
        limits.l2_sizes().filter(|sizes| sizes.contains(size))?;
        (limits.min_lpi_id_bits().max(8)..=limits.id_bits()).find_map(|bits| {
            let ist = IstGeometry::two_level(bits, limits.entry_size(bits), size).ok()?;
            (ist.l1_entries() >= 2).then_some(ist)
        })
    }

    /// A two-level VM table of this IRS with at least two level-2 tables, as small as it may be.
    #[must_use]
    pub fn two_level_vm_table(&self) -> Option<VmTableGeometry> {
        if self.idr3.vmt_levels() != Levels::TwoLevel {
            return None;
        }
        VmTableGeometry::two_level(8).ok().filter(|table| table.l1_entries() >= 2)
    }

    /// Any two-level IST.
    #[must_use]
    pub fn any_two_level_ist(&self) -> Option<IstGeometry> {
        L2Size::ALL.into_iter().find_map(|size| self.two_level_ist(size))
    }
}

/// What a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// That many PEs.
    Pes(usize),
    /// That many SPIs of the first IRS beside the wired one.
    Spis(u32),
    /// An SPI that the bench can drive.
    Wire,
    /// Timers that the bench can drive.
    Timers,
    /// NMIs that the bench can switch on.
    Nmi,
    /// Physical LPIs, a thousand at least.
    Lpis,
    /// Two-level ISTs with level-2 tables of a size.
    L2(L2Size),
    /// Two-level ISTs of any kind.
    TwoLevel,
    /// A SETLPI frame.
    SetLpi,
    /// No SETLPI frame.
    NoSetLpi,
    /// No virtualisation.
    NoVirt,
    /// No 1-of-N routing.
    NoOneOfN,
    /// Fewer priority bits in the IRS than an INTID's priority has.
    FewPriorityBits,
    /// ISTs without metadata, which always have entries of 4 bytes.
    NoMetadata,
    /// Software error reporting.
    SwErr,
    /// Virtualisation with LPIs, and PEs at EL2.
    Virt,
    /// Two-level VM tables.
    TwoLevelVmTable,
    /// Guests that the bench runs, which implies [`Need::Virt`].
    Guests,
    /// A host's kernel at EL1 that the bench runs beside guests, which implies [`Need::Guests`].
    Kernel,
}

impl Need {
    /// Whether a machine has it.
    #[must_use]
    pub fn is_met(self, features: &Features) -> bool {
        match self {
            Need::Pes(count) => features.pes >= count,
            Need::Spis(count) => {
                features.idr6.spi_irs_range().value() >= count.saturating_add(features.wired_spi.is_some().into())
            }
            Need::Wire => features.wired_spi.is_some(),
            Need::Timers => features.timers,
            Need::Nmi => features.nmi,
            Need::Lpis => features.linear_ist().is_some(),
            Need::L2(size) => features.two_level_ist(size).is_some(),
            Need::TwoLevel => features.idr2.ist_levels() == Levels::TwoLevel && features.any_two_level_ist().is_some(),
            Need::SetLpi => features.idr0.setlpi(),
            Need::NoSetLpi => !features.idr0.setlpi(),
            Need::NoVirt => !features.idr0.virt(),
            Need::NoOneOfN => !features.idr0.one_n(),
            Need::FewPriorityBits => features.idr1.pri_bits().is_ok_and(|bits| bits.count() < 5),
            Need::NoMetadata => !features.idr2.istmd(),
            Need::SwErr => features.idr0.swe(),
            Need::Virt => features.virt,
            Need::TwoLevelVmTable => features.virt && features.two_level_vm_table().is_some(),
            Need::Guests => features.guests,
            Need::Kernel => features.guests && features.kernel,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Pes(count) => write!(f, "{count} PEs"),
            Need::Spis(1) => f.write_str("a free SPI (IRS_IDR6)"),
            Need::Spis(count) => write!(f, "{count} free SPIs (IRS_IDR6)"),
            Need::Wire => f.write_str("an SPI whose wire the bench drives"),
            Need::Timers => f.write_str("timers that the bench drives"),
            Need::Nmi => f.write_str("NMIs (ID_AA64PFR1_EL1.NMI) that the bench switches on"),
            Need::Lpis => f.write_str("LPIs (IRS_IDR2.LPI)"),
            Need::L2(size) => write!(f, "level-2 ISTs of {} KiB (IRS_IDR2.IST_L2SZ)", size.bytes() >> 10),
            Need::TwoLevel => f.write_str("two-level ISTs (IRS_IDR2.IST_LEVELS)"),
            Need::SetLpi => f.write_str("a SETLPI frame (IRS_IDR0.SETLPI)"),
            Need::NoSetLpi => f.write_str("no SETLPI frame (IRS_IDR0.SETLPI)"),
            Need::NoVirt => f.write_str("no virtualisation (IRS_IDR0.VIRT)"),
            Need::NoOneOfN => f.write_str("no 1-of-N routing (IRS_IDR0.ONE_N)"),
            Need::FewPriorityBits => f.write_str("fewer than 5 priority bits (IRS_IDR1.PRI_BITS)"),
            Need::NoMetadata => f.write_str("ISTs without metadata (IRS_IDR2.ISTMD)"),
            Need::SwErr => f.write_str("software errors (IRS_IDR0.SWE)"),
            Need::Virt => f.write_str("virtualisation and LPIs (IRS_IDR0.VIRT, IRS_IDR2.LPI) at EL2"),
            Need::TwoLevelVmTable => f.write_str("two-level VM tables (IRS_IDR3.VMT_LEVELS)"),
            Need::Guests => f.write_str("guests that the bench runs"),
            Need::Kernel => f.write_str("a host's kernel at EL1 that the bench runs"),
        }
    }
}
