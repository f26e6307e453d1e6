//! Physical LPIs for the hypervisor's own use: doorbells.

use gicv5_arch::{Iaffid, Lpi};

/// What the owner of an LPI wants to be told when it is taken: the interrupt handler gets it back with the interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cookie(pub u64);

/// Where an LPI goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// To the PE with this affinity ID.
    To(Iaffid),
    /// To the PE the call is made on.
    ThisPe,
}

/// An LPI could not be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LpiError {
    /// All LPIs are in use. An ordinary outcome: nothing is printed.
    #[error("no LPI is free")]
    NoneFree,
    /// There is no memory for what comes with an LPI (a level-2 IST, the host's own records).
    #[error("no memory for another LPI")]
    NoMemory,
    /// The IRS did not make the LPI's table entry reachable.
    #[error("{lpi} could not be made reachable: {register} reads {value:#x}")]
    Unreachable {
        /// The LPI.
        lpi: Lpi,
        /// The status register that was polled.
        register: gicv5_arch::irs::IrsReg,
        /// Its last value.
        value: u64,
    },
}

/// An LPI could not be released, and is still its owner's.
#[derive(Debug, thiserror::Error)]
#[error("an LPI could not be released: it may still be pending or active, or its handler may still run")]
pub struct NotReleased<L> {
    /// The LPI, to try again with.
    pub lpi: L,
}

/// The host's supply of physical LPIs.
///
/// An LPI is an owned value: it is nobody else's from [`allocate`](Self::allocate) to [`release`](Self::release), not
/// mapped by an ITS, not an IPI (DB-14). Dropping one releases nothing.
///
/// The host takes the interrupts: its handler acknowledges, drops and deactivates, and passes the cookie to the owner's
/// handler, on whatever PE the LPI was taken, concurrently with everything.
pub trait HostLpis: Sync {
    /// An allocated LPI. Not `Clone`.
    type Lpi: Send + Sync;

    /// Allocates an LPI: edge, targeted, disabled, not pending, not active. The cookie comes back with every interrupt.
    /// May wait; may allocate memory.
    ///
    /// # Errors
    ///
    /// [`LpiError`]; nothing is held then.
    fn allocate(&self, cookie: Cookie) -> Result<Self::Lpi, LpiError>;

    /// The LPI's number. Never waits.
    fn lpi(&self, lpi: &Self::Lpi) -> Lpi;

    /// Enables the LPI. When this returns it is enabled: the instruction is complete (SYN-1), so that it does not come late, for
    /// the next owner of the number. Never waits.
    fn enable(&self, lpi: &Self::Lpi);

    /// Routes the LPI to a PE. When this returns it is routed there: the instruction is complete (SYN-1). Never waits, takes no
    /// lock, and may be called from the path that puts a vCPU to sleep. A pending LPI moves along (RTE-5).
    fn route(&self, lpi: &Self::Lpi, to: Route);

    /// Releases the LPI. Returns only when it is disabled, neither pending nor active, and no handler that was given its
    /// cookie runs anywhere; from then on another owner may get the same number (DB-25). May wait, so it must not be called
    /// from a handler or with a lock held that a handler takes.
    ///
    /// # Errors
    ///
    /// [`NotReleased`] with the LPI, if the hardware does not come to rest.
    fn release(&self, lpi: Self::Lpi) -> Result<(), NotReleased<Self::Lpi>>;
}
