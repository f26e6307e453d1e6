//! Why a vCPU cannot do what it was asked to.

use gicv5_arch::{IrsIntId, Ppi, VmId, VpeId};

use crate::error::Fate;
use crate::ids::VcpuIndex;
use crate::vm::state::VmState;
use gicv5_irs::command::Fault;

/// A vCPU cannot be loaded, put or asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The VM is not initialised. The caller's mistake; nothing has changed.
    #[error("the VM is not initialised")]
    NotInitialised,
    /// The VM is not live. The caller's mistake, or what an earlier error announced; nothing has changed.
    #[error("{vm} is {state:?}, so its vCPUs do not run")]
    NotLive {
        /// The VM.
        vm: VmId,
        /// What it is instead.
        state: VmState,
    },
    /// The VM has no such vCPU. The caller's mistake; nothing has changed.
    #[error("there is no vCPU {}", .0.0)]
    NoSuchVcpu(VcpuIndex),
    /// The vCPU is resident on another PE, or is just going there or leaving (RES-4). The caller's mistake; nothing has
    /// changed.
    #[error("{vpe} of {vm} is on another PE")]
    Elsewhere {
        /// The VM.
        vm: VmId,
        /// The VPE.
        vpe: VpeId,
    },
    /// Another vCPU is resident on this PE and must be put first (RES-22). The caller's mistake; nothing has changed.
    #[error("another vCPU is resident on this PE: ICH_CONTEXTR_EL2 reads {contextr:#x}")]
    PeTaken {
        /// ICH_CONTEXTR_EL2.
        contextr: u64,
    },
    /// The hardware did not make the VPE resident, so its tables are not what they should be. The hardware's fault or this
    /// library's. The VM is dead: no vCPU of it is loaded any more, and teardown is all that can be done with it (RES-19).
    #[error("{vpe} of {vm} could not be made resident: ICH_CONTEXTR_EL2 reads {contextr:#x}; the VM is dead")]
    ResidencyFault {
        /// The VM.
        vm: VmId,
        /// The VPE.
        vpe: VpeId,
        /// ICH_CONTEXTR_EL2 after the request.
        contextr: u64,
    },
}

impl RunError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            RunError::ResidencyFault { .. } => Fault::Hardware,
            _ => Fault::Caller,
        }
    }

    /// What became of the VM.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            RunError::ResidencyFault { .. } => Fate::Dead,
            _ => Fate::Unchanged,
        }
    }
}

/// An interrupt was not injected. The caller's mistake; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The VM cannot take one now: it is not initialised, or not live. Hold the interrupt (INJ-8).
    #[error(transparent)]
    Vm(#[from] RunError),
    /// The VM does not have it: fewer SPIs, or no LPI IST, or one of fewer LPIs. The IRS would drop it (INS-18).
    #[error("{vm} does not have {id}")]
    Absent {
        /// The VM.
        vm: VmId,
        /// The interrupt.
        id: IrsIntId,
    },
    /// PPIs are a vCPU's own: [`Vm::set_ppi`](crate::Vm::set_ppi) is for them (INJ-4).
    #[error("{0} cannot be injected into a VM, only set on a vCPU")]
    Ppi(Ppi),
}

/// The state of a PPI was not changed. The caller's mistake; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PpiError {
    /// The VM or the vCPU is not there.
    #[error(transparent)]
    Vm(#[from] RunError),
    /// The PPI is not among those that the guest sees and the hypervisor may drive (PPI-20).
    #[error("{0} is not this VM's to drive")]
    NotDriven(Ppi),
}
