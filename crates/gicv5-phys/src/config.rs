//! What the host decides.

use core::time::Duration;

use gicv5_arch::Priority;
use gicv5_arch::irs::IRS_CR1;
use gicv5_arch::values::{Cacheability, Domain, Shareability};
use gicv5_hal::{Coherency, IrsIndex};

/// What to do with an IST or a VM table that is already in use when the driver comes up, left by firmware or by a kernel
/// that ran before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiveTables {
    /// Touch nothing and give up (VMT-2): somebody may still rely on it.
    Refuse,
    /// Disable the IRS and make the table invalid. The memory of the table stays whose it was; nobody tells the driver
    /// whose that is. No VPE may be resident on any PE when a VM table goes (RES-23): on hardware with virtualisation,
    /// `gicv5_hyp::reset_pe` comes first, on every PE.
    TakeOver,
}

/// Which IRSs are given the base of the one physical IST that they share (GEN-13).
///
/// That they share it is stated; whether each of them has to be told, or telling one takes effect for the domain, is not.
/// `docs/rules.md` leaves the same question open for the VM table (GEN-14, open question 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IstProgramming {
    /// Every one that does not report the IST as valid by itself. Where programming one IRS takes effect for the domain and
    /// shows in all, this is the same as [`FirstIrs`](Self::FirstIrs).
    EveryIrs,
    /// The first one, on the assumption that it takes effect for the whole domain.
    FirstIrs,
}

/// Whether the software that the driver is part of runs at EL2, where it may look at a PE's virtual side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum El2 {
    /// It does: a PE on which a VPE is resident is not taken out.
    Accessible,
    /// It does not, or the host cannot tell: accesses to EL2's registers may trap. Whether a VPE is resident is the host's to know.
    Unknown,
}

/// What the host decides about the driver.
///
/// ```
/// use gicv5_hal::IrsIndex;
/// use gicv5_phys::Config;
///
/// let irss = [IrsIndex(0), IrsIndex(1)];
/// let config = Config { ipi_kinds: 2, ..Config::new(&irss, 1024) };
/// assert_eq!(config.timeout.as_millis(), 10);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The IRSs of the interrupt domain, all of them. The first one makes level-2 ISTs valid.
    pub irss: &'a [IrsIndex],
    /// The interrupt domain the software runs in.
    pub domain: Domain,
    /// The number of LPIs to hand out, 0 for none. IPIs come on top.
    pub lpis: u32,
    /// The number of IPIs of each PE. Each is an LPI.
    pub ipi_kinds: u8,
    /// The most contiguous bytes that the table memory can give, which decides whether the IST is linear (it is, if it
    /// fits) or has two levels.
    pub contiguous_bytes: u64,
    /// The priority that LPIs, SPIs and PPIs start with.
    pub priority: Priority,
    /// The priority of IPIs.
    pub ipi_priority: Priority,
    /// The priority mask of the PEs, inclusive (PRI-3).
    pub priority_mask: Priority,
    /// What to do with tables that are already in use.
    pub live_tables: LiveTables,
    /// Which IRSs are given the base of the IST.
    pub ist_programming: IstProgramming,
    /// The memory attributes of each IRS; `None` for [`memory_attributes`] by its coherency.
    pub attributes: Option<IRS_CR1>,
    /// Whether the software runs at EL2.
    pub el2: El2,
    /// How long to wait for an IRS to answer, and for an LPI to come to rest when it is released.
    pub timeout: Duration,
}

impl<'a> Config<'a> {
    /// For the Non-secure domain, no IPIs, memory in pieces of up to 64 KiB, priority 16 for everything, nothing masked,
    /// live tables refused, and a time-out of 10 ms (as Linux has, GEN-19).
    #[must_use]
    pub const fn new(irss: &'a [IrsIndex], lpis: u32) -> Config<'a> {
        let middle = Priority::new_with_raw_value(arbitrary_int::u5::new(16));
        Config {
            irss,
            domain: Domain::NonSecure,
            lpis,
            ipi_kinds: 0,
            contiguous_bytes: 0x1_0000,
            priority: middle,
            ipi_priority: middle,
            priority_mask: Priority::LEAST_URGENT,
            live_tables: LiveTables::Refuse,
            ist_programming: IstProgramming::EveryIrs,
            attributes: None,
            el2: El2::Unknown,
            timeout: Duration::from_millis(10),
        }
    }
}

/// The memory attributes for an IRS: write-back, inner shareable and allocating if it sees the caches of the PEs;
/// non-cacheable and outer shareable, as non-cacheable memory is, if not.
///
/// The hints for the VM table and what belongs to it are set along with those for the IST, because they cannot be set any
/// more once the IST is valid (GEN-20).
#[must_use]
pub const fn memory_attributes(coherency: Coherency) -> IRS_CR1 {
    match coherency {
        Coherency::Coherent => IRS_CR1::ZERO
            .with_sh(Shareability::Inner)
            .with_oc(Cacheability::WriteBack)
            .with_ic(Cacheability::WriteBack)
            .with_ist_ra(true)
            .with_ist_wa(true)
            .with_vmt_ra(true)
            .with_vmt_wa(true)
            .with_vpet_ra(true)
            .with_vpet_wa(true)
            .with_vmd_ra(true)
            .with_vmd_wa(true)
            .with_vped_ra(true)
            .with_vped_wa(true),
        Coherency::NonCoherent => IRS_CR1::ZERO
            .with_sh(Shareability::Outer)
            .with_oc(Cacheability::NonCacheable)
            .with_ic(Cacheability::NonCacheable),
    }
}
