//! A vCPU that the guest resets.

use gicv5_arch::{VmId, VpeId};

use crate::Hypervisor;
use crate::error::{Fate, fated};
use crate::ids::VcpuIndex;
use crate::vm::configure::Settings;
use crate::vm::handle::Vm;
use crate::vm::record::{Record, Vcpu};
use gicv5_irs::command::{CommandError, Fault};
use gicv5_irs::drive::fused;

/// Why a vCPU could not be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetCause {
    /// The VM is not live, or has no such vCPU.
    #[error("the VM is not live, or has no such vCPU")]
    NotLive,
    /// The vCPU is resident.
    #[error("{vpe} of {vm} is resident")]
    Resident {
        /// The VM.
        vm: VmId,
        /// Its VPE.
        vpe: VpeId,
    },
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// A vCPU could not be reset, and what that means for the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetError {
    /// Why.
    pub cause: ResetCause,
    /// What became of the VM: [`Fate::Unchanged`], or [`Fate::Dead`] if the vCPU's settings are not known to be right
    /// (LIFE-21).
    pub fate: Fate,
}

fated!(ResetError);

impl ResetError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match &self.cause {
            ResetCause::NotLive | ResetCause::Resident { .. } => Fault::Caller,
            ResetCause::Command(error) => error.fault(),
        }
    }
}

impl<H: Hypervisor> Vm<'_, H> {
    /// Makes the hardware's settings of a vCPU right again, as init made them, and its saved state that of a vCPU that has never
    /// run: for a vCPU that the guest resets (VPE-10). The levels of level-sensitive PPIs stay as [`set_ppi`](Self::set_ppi)
    /// has set them: they are the devices', and what they do is not undone by a reset of the vCPU. The vCPU must not be
    /// resident, nor be loaded meanwhile.
    ///
    /// Waits for the IRS; not from an interrupt handler, nor with a lock held that one takes.
    ///
    /// # Errors
    ///
    /// [`ResetError`].
    pub fn reset_vcpu(&self, vcpu: VcpuIndex) -> Result<(), ResetError> {
        self.host.machine.domain.block_on(self.start_reset_vcpu(vcpu))
    }

    /// [`reset_vcpu`](Self::reset_vcpu) step by step. A future that is dropped leaves the vCPU's settings as they are at that
    /// time: it is to be reset again. Its doorbell may not come, so that it [has something pending](Self::has_pending).
    ///
    /// # Errors
    ///
    /// As [`reset_vcpu`](Self::reset_vcpu).
    pub fn start_reset_vcpu(&self, vcpu: VcpuIndex) -> impl Future<Output = Result<(), ResetError>> {
        fused(self.reset_vcpu_steps(vcpu))
    }

    async fn reset_vcpu_steps(&self, vcpu: VcpuIndex) -> Result<(), ResetError> {
        let unchanged = |cause| ResetError { cause, fate: Fate::Unchanged };
        let (record, Vcpu { vpe, doorbell: Some(doorbell), context }) =
            self.live(vcpu).ok_or(unchanged(ResetCause::NotLive))?
        else {
            return Err(unchanged(ResetCause::NotLive));
        };
        let (host, vm) = (self.host, record.vm());
        if host.doorbells.is_resident(doorbell) {
            return Err(unchanged(ResetCause::Resident { vm, vpe: *vpe }));
        }
        let lpi = host.doorbells.lpi(host.machine.domain.platform.lpis(), doorbell);
        // The commands may end the request for the doorbell (open question 8), also if the future is dropped half-way.
        context.stop_waiting();
        match host.machine.configure_vpe(vm, *vpe, lpi, host.doorbells.mask, Settings::Unknown).await {
            Ok(proof) => {
                context.reset(&host.ppis, record.priorities(vcpu));
                host.doorbells.enable(host.machine.domain.platform.lpis(), doorbell, &proof);
                Ok(())
            }
            Err(error) if error.nothing_was_written() => Err(unchanged(error.into())),
            Err(error) => Err(ResetError { cause: error.into(), fate: dead(record) }),
        }
    }
}

fn dead<H: Hypervisor>(record: &Record<H>) -> Fate {
    record.kill();
    Fate::Dead
}
