//! What lies beneath the frame: the hypervisor's hold on the VM's interrupt hardware.

use core::ops::Range;

use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::values::{PriBits, TriggerMode};
use gicv5_arch::{IrsIntId, VpeId};

/// What the hardware beneath can do for this VM. The frame never shows the guest more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most ID bits of a virtual IST, 24 at most.
    pub id_bits: u32,
    /// The fewest ID bits of an LPI IST, 14 at most (GEN-10). The guest's instructions reach every ID of the table beneath, so
    /// the frame shows no smaller minimum (GIRS-18).
    pub min_lpi_id_bits: u32,
    /// Bits of a VPE ID, 1 to 16: the guest's affinity IDs are the VPE IDs (GIRS-54).
    pub vpe_id_bits: u32,
    /// Priority bits.
    pub priority_bits: PriBits,
}

/// A change of the LPI table that the guest has asked for. It takes allocation and commands of the hardware, so it runs as a
/// [`TableJob`](crate::TableJob) and not in the trap.
///
/// The guest's own memory is never read (VIRS-13, GIRS-58): these operations act on the table of the hypervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableOperation {
    /// Make the VM's LPI IST: all LPIs of this number of ID bits disabled and idle.
    ///
    /// The geometry is the guest's; the table beneath has the host's own shape and metadata (GIRS-18). If the guest's has two
    /// levels, [`Map`](Self::Map) follows for each range that the guest uses. A backend may make every LPI at once and ignore
    /// `Map` (GIRS-66).
    Make(IstGeometry),
    /// Make these LPIs usable: the guest has mapped the level-2 table that holds them. One such table of the guest can span
    /// many of the host's, so the backend bounds what it does at a time. The range may be mapped already.
    Map(Range<u32>),
    /// Remove the IST and with it the state of every LPI (GIRS-62).
    Remove,
}

/// The hypervisor beneath a frame.
///
/// Every method but [`lpi_table`](Self::lpi_table) is called from a vCPU's trap or from [`set_line`](crate::IrsFrame::set_line),
/// so from interrupt handlers as well: it takes no lock that an interrupt handler could find held, allocates nothing, and
/// finishes in a bounded number of steps.
///
/// An error says that the VM beneath cannot do it, not that the guest did wrong; the frame hands it to its caller unchanged.
/// No value of the guest's reaches the backend before the frame has checked its range.
///
/// The enable, priority, affinity, pending and active state of an SPI never passes here: the guest's own instructions reach
/// the VM's IST without a trap (GIRS-43).
pub trait Backend {
    /// What the backend needs to know about the PE that the caller runs on: a token for instructions such as VDPEND, or `()`.
    type Pe<'a>;
    /// Why the VM beneath cannot carry something out.
    type Error;

    /// What the hardware can do. Asked once, when the frame is made.
    fn limits(&self) -> Limits;

    /// Whether the VM has a vCPU with this ID. The answer is fixed before the guest first runs (GIRS-26).
    fn has_vcpu(&self, id: VpeId) -> bool;

    /// Shows or hides the IRS half of the candidates of all vCPUs (GIRS-29, VIRS-6). Takes effect for a vCPU at its next
    /// residency, at the latest; the frame's caller brings that about ([`Effect::Reload`](crate::Effect::Reload)). Never
    /// called twice at the same time.
    ///
    /// # Errors
    ///
    /// The change was not made.
    fn set_irs_enabled(&self, enabled: bool) -> Result<(), Self::Error>;

    /// Makes the hardware handle the SPI by this trigger mode (GIRS-49). In effect when the method returns: an instruction
    /// needs its GSB SYS here.
    ///
    /// # Errors
    ///
    /// The mode was not set. The frame asks again with the next call on this SPI, or with
    /// [`settle`](crate::IrsFrame::settle): a backend that needs a resident VPE can refuse until it has one.
    fn set_spi_mode(&self, pe: &Self::Pe<'_>, spi: gicv5_arch::Spi, mode: TriggerMode) -> Result<(), Self::Error>;

    /// Sets or clears Pending of an SPI or LPI of this VM: VDPEND. In effect when the method returns, so with a GSB SYS: the
    /// order of two calls on one interrupt must be the order of their effects.
    ///
    /// # Errors
    ///
    /// Nothing was set or cleared. For an SPI the frame asks again as above.
    fn set_pending(&self, pe: &Self::Pe<'_>, interrupt: IrsIntId, pending: bool) -> Result<(), Self::Error>;

    /// Carries out a change of the LPI table. This is the one place that may allocate and wait; the frame runs at most one at
    /// a time. If the future is dropped half-way, the frame asks for the same operation again: the backend then carries on
    /// or begins afresh.
    ///
    /// # Errors
    ///
    /// After a failed [`Make`](TableOperation::Make) the VM has no LPI table, after a failed
    /// [`Remove`](TableOperation::Remove) it still has it (VIRS-14).
    fn lpi_table(&self, operation: TableOperation) -> impl Future<Output = Result<(), Self::Error>>;
}
