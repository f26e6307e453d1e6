//! What the library knows of a VM that has a VM ID.

use alloc::boxed::Box;

use gicv5_arch::{VmId, VpeId};

use crate::doorbell::Doorbell;
use crate::ppi::PpiMask;
use crate::run::{Context, GuestIrs};
use crate::sync::{AtomicU8, Ordering};
use crate::{Hypervisor, LpiOf};

/// How far a VM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VmState {
    /// Init is under way, or was given up half-way: nothing but teardown and another init is possible.
    Initialising = 0,
    /// Everything is set up: vCPUs may be loaded, interrupts injected.
    Live = 1,
    /// The hardware refused to make one of its vCPUs resident (RES-19), or did not answer (IST-8, LIFE-11): nothing but teardown is
    /// possible.
    Dead = 2,
}

/// A VM that has a VM ID. There is one from the first step of init to the last of teardown; it is lent to the [`Vm`](crate::Vm),
/// and with the host when there is none.
pub(crate) struct Record<H: Hypervisor> {
    /// Its ID, given back last.
    pub(crate) vm: VmId,
    /// How far it is.
    pub(crate) life: Life,
    /// The PPIs that the guest sees and the hypervisor may drive (PPI-18, PPI-20).
    pub(crate) ppis: PpiMask,
    /// Whether the guest's IRS is on (RES-13).
    pub(crate) guest_irs: GuestIrs,
    /// Its vCPUs, by [`VcpuIndex`](crate::VcpuIndex).
    pub(crate) vcpus: Box<[Vcpu<H>]>,
}

/// A vCPU. What `run` changes without a lock is atomic or in the doorbell's word.
pub(crate) struct Vcpu<H: Hypervisor> {
    /// The hardware's name for it.
    pub(crate) vpe: VpeId,
    /// Its doorbell. It has one from the second step of init on.
    pub(crate) doorbell: Option<Doorbell<LpiOf<H>>>,
    /// What the CPU interface held when it was put.
    pub(crate) context: Context,
}

/// A [`VmState`] that load can change.
pub(crate) struct Life(AtomicU8);

impl Life {
    pub(crate) fn new(state: VmState) -> Life {
        Life(AtomicU8::new(state as u8))
    }

    /// How far the VM is.
    pub(crate) fn state(&self) -> VmState {
        match self.0.load(Ordering::Relaxed) {
            0 => VmState::Initialising,
            1 => VmState::Live,
            _ => VmState::Dead,
        }
    }

    /// A failed residency, or a command whose outcome is unknown: the VM may only be torn down (RES-19, LIFE-11). Callable
    /// from load.
    pub(crate) fn kill(&self) {
        self.0.store(VmState::Dead as u8, Ordering::Relaxed);
    }
}

impl<H: Hypervisor> Record<H> {
    /// How far the VM is.
    pub(crate) fn state(&self) -> VmState {
        self.life.state()
    }

    /// The VM may only be torn down from now on ([`Life::kill`]).
    pub(crate) fn kill(&self) {
        self.life.kill();
    }
}
