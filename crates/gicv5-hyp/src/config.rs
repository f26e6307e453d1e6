//! What the hypervisor decides.

use core::time::Duration;

use gicv5_hal::IrsIndex;

use crate::doorbell::mask::DoorbellMask;

/// What to do with a VM table that is already in use when the host comes up, left by firmware or by a hypervisor that ran
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiveTable {
    /// Touch nothing and give up (VMT-2): somebody may still rely on it.
    Refuse,
    /// Make it invalid. Its memory stays whose it was; nobody tells the library whose that is. No VPE may be resident on any
    /// PE (RES-23): [`reset_pe`](crate::reset_pe) comes first, on every PE.
    TakeOver,
}

/// What the hypervisor decides about its host.
///
/// ```
/// use gicv5_hal::IrsIndex;
/// use gicv5_hyp::Config;
///
/// let config = Config { contiguous_bytes: 4096, ..Config::new(IrsIndex(0), 100, 400) };
/// assert_eq!(config.timeout.as_millis(), 10);
/// let two = Config { others: &[IrsIndex(1)], ..config };
/// # let _ = two;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The IRS that all commands go through. Their effect covers the whole domain (GEN-14).
    pub irs: IrsIndex,
    /// All other IRSs of the domain. They walk the same tables (GEN-13), which are therefore made such that each of them can,
    /// and published such that each of them sees them. An IRS that is left out here is not considered.
    pub others: &'a [IrsIndex],
    /// How many VMs there can be at a time, as far as the hardware has VM IDs for them; at least 1.
    pub vms: u32,
    /// How many vCPUs all of them can have together, which is the number of doorbells; at least 1.
    pub vcpus: u32,
    /// How the IRS compares a priority with the mask of a doorbell.
    pub doorbell_mask: DoorbellMask,
    /// The most contiguous bytes that the table memory can give, which decides whether VM table and ISTs are linear (they
    /// are, if they fit) or have two levels.
    pub contiguous_bytes: u64,
    /// What to do with a VM table that is already in use.
    pub live_table: LiveTable,
    /// How long to wait for the IRS to answer.
    pub timeout: Duration,
}

impl Config<'static> {
    /// One IRS, doorbells as the rules take them, memory in pieces of up to 64 KiB, a live table refused, and a time-out of 10 ms (as Linux has, GEN-19).
    #[must_use]
    pub const fn new(irs: IrsIndex, vms: u32, vcpus: u32) -> Config<'static> {
        Config {
            irs,
            others: &[],
            vms,
            vcpus,
            doorbell_mask: DoorbellMask::ByUrgency,
            contiguous_bytes: 0x1_0000,
            live_table: LiveTable::Refuse,
            timeout: Duration::from_millis(10),
        }
    }
}
