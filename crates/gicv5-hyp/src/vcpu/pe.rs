//! PEs that come, go, and are taken over.

use core::sync::atomic::Ordering;

use arbitrary_int::u4;
use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2, SysReg};
use gicv5_arch::{Iaffid, PpiBank, VmId, VpeId};
use gicv5_hal::{Lock, Pe, PeOps};

use crate::Hypervisor;
use crate::doorbell::wake::Wake;
use crate::host::host::Host;
use crate::vcpu::error::RunError;
use crate::vm::handle::Vm;
use crate::vm::record::{Record, Vcpu};
use gicv5_irs::command::Fault;

/// Leaves nothing on a PE of what a hypervisor has done there before: no VPE is resident, no guest has its interface on, a
/// priority active, or a PPI enabled, pending or active. What guests may do (`ICH_HFG*`) is left alone.
///
/// To be called on each PE once, before a [`Host`] is made; where tables of earlier software are
/// [taken over](crate::LiveTable::TakeOver), on every PE before any of them is withdrawn, by this library or by the physical
/// driver (RES-23). Never waits.
pub fn reset_pe<P: PeOps + ?Sized>(pe: &Pe<'_, P>) {
    pe.write(ICH_CONTEXTR_EL2::ZERO);
    // Its interface is the guest's until no VPE is resident (RES-16).
    pe.isb();
    // The layout of ICH_VMCR_EL2 depends on V3 (RES-15).
    pe.write(ICH_VCTLR_EL2::ZERO);
    pe.isb();
    pe.write(ICH_VMCR_EL2::ZERO);
    pe.write_raw(SysReg::ICH_APR_EL2, 0);
    for bank in PpiBank::ALL {
        pe.write_raw(SysReg::ich_ppi_dvir(bank), 0);
        pe.write_raw(SysReg::ich_ppi_enabler(bank), 0);
        pe.write_raw(SysReg::ich_ppi_activer(bank), 0);
        pe.write_raw(SysReg::ich_ppi_pendr(bank), 0);
    }
    for index in (0..16).filter_map(|index| u4::try_new(index).ok()) {
        pe.write_raw(SysReg::ich_ppi_priorityr(index), 0);
    }
    pe.isb();
}

/// No VPE is taken off the PE. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvictError {
    /// The VM that is resident has a handle, which keeps the vCPU's state.
    #[error("{vpe} of {vm} is resident, whose VM has a handle: put it")]
    HasHandle {
        /// The VM.
        vm: VmId,
        /// The VPE.
        vpe: VpeId,
    },
    /// VMs without a handle are just being torn down, and it may be of one of them.
    #[error("{vpe} of {vm} is resident, and VMs without a handle are being torn down: try again")]
    Settling {
        /// The VM.
        vm: VmId,
        /// The VPE.
        vpe: VpeId,
    },
}

impl EvictError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            EvictError::HasHandle { .. } => Fault::Caller,
            EvictError::Settling { .. } => Fault::Busy,
        }
    }
}

/// VMs without a handle are just being torn down, and vCPUs of them may have been on the PE that is gone. To be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("VMs without a handle are being torn down, which may have been on the PE that is gone: try again")]
pub struct PeIsGoneError;

impl PeIsGoneError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Busy
    }
}

impl<H: Hypervisor> Host<H> {
    /// Takes the resident VPE off this PE if no handle can put it: a vCPU of a VM whose handle was dropped, or a VPE of another
    /// host. Its state is lost. Returns the VPE that it has taken off, so that the VM can be [reaped](Self::reap).
    ///
    /// Never waits; takes a lock, so not from an interrupt handler.
    ///
    /// # Errors
    ///
    /// [`EvictError`] if the vCPU can be put, or cannot be told yet.
    pub fn evict<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Result<Option<Wake>, EvictError> {
        let resident: ICH_CONTEXTR_EL2 = pe.read();
        if !resident.v() {
            return Ok(None);
        }
        let (vm, vpe) = (resident.vm(), resident.vpe());
        self.books.with(|books| {
            let orphan = books.parked.iter().find(|record| record.vm() == vm);
            if orphan.is_none() && books.settling.vms() > 0 {
                return Err(EvictError::Settling { vm, vpe });
            }
            if orphan.is_none() && books.ids.is_in_use(vm.raw_value().into()) {
                return Err(EvictError::HasHandle { vm, vpe });
            }
            // Under the lock, so that no reap takes the VM before its VPE has left. What the guest has begun names no VM,
            // and acts for the VPE that is resident (INS-17).
            pe.gsb_sys();
            pe.write(ICH_CONTEXTR_EL2::ZERO);
            pe.write(ICH_VMCR_EL2::ZERO);
            pe.isb();
            for vcpu in orphan.iter().flat_map(|record| &record.vcpus).filter(|vcpu| vcpu.vpe == vpe) {
                self.lose(vcpu);
            }
            Ok(Some(Wake { vm, vpe }))
        })
    }

    /// The vCPU is no longer resident, and its state is lost.
    fn lose(&self, vcpu: &Vcpu<H>) {
        vcpu.context.set_place(None);
        if let Some(doorbell) = &vcpu.doorbell {
            self.doorbells.away(doorbell.id());
        }
    }

    /// A PE is gone and does not come back, or comes back reset: the VMs without a handle whose vCPUs were resident there can
    /// be reaped. Of VMs that have one, [`Vm::pe_is_gone`] says so.
    ///
    /// Never waits; takes a lock, so not from an interrupt handler.
    ///
    /// # Errors
    ///
    /// [`PeIsGoneError`] if a VM could not be looked at, as another caller is just doing a step of its teardown.
    pub fn pe_is_gone(&self, gone: Iaffid) -> Result<(), PeIsGoneError> {
        self.books.with(|books| {
            books.parked.iter().for_each(|record| self.lose_all(record, gone));
            if books.settling.vms() == 0 { Ok(()) } else { Err(PeIsGoneError) }
        })
    }

    fn lose_all(&self, record: &Record<H>, gone: Iaffid) {
        for vcpu in record.vcpus.iter().filter(|vcpu| vcpu.context.place() == Some(gone)) {
            // What the vCPU was doing is lost, so that the VM cannot go on (RES-16). Killed first, so that no PE claims it.
            record.kill();
            self.lose(vcpu);
        }
    }
}

impl<H: Hypervisor> Vm<'_, H> {
    /// Before a PE is taken out: routes the doorbells of the vCPUs that were put to sleep there to this PE. Returns how many.
    /// One that has rung and was not taken yet moves along (RTE-5).
    ///
    /// When this returns, no doorbell of the VM goes to the other PE, unless a vCPU is put to sleep there meanwhile. To be
    /// called for each VM, once no vCPU runs on that PE, and not with a token that
    /// [`CurrentPe::on_this_pe`](gicv5_hal::CurrentPe::on_this_pe) has lent. Takes no lock, allocates nothing, does not wait.
    ///
    /// # Errors
    ///
    /// [`RunError::NotInitialised`].
    pub fn move_doorbells<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, from: Iaffid) -> Result<u32, RunError> {
        let record = self.record.as_deref().ok_or(RunError::NotInitialised)?;
        let (from, here) = (u32::from(from.raw_value()), pe.iaffid());
        let to = u32::from(here.raw_value());
        let lpis = self.host.machine.domain.platform.lpis();
        let mut moved = 0;
        for Vcpu { doorbell, context, .. } in &record.vcpus {
            let Some(doorbell) = doorbell else { continue };
            if context.routed.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            doorbell.route(lpis, here);
            // Its thread may have put it to sleep on a third PE meanwhile, and routed the doorbell before this did.
            let now = context.routed.load(Ordering::Relaxed);
            if let Some(there) = u16::try_from(now).ok().filter(|_| now != to) {
                doorbell.route(lpis, Iaffid::new(there));
            }
            moved += 1;
        }
        Ok(moved)
    }

    /// A PE is gone and does not come back, or comes back reset. Calls `wake` for the vCPUs that sleep there, whose doorbells
    /// no PE takes any more. A vCPU that was resident there is lost, and with it the VM, which is [dead](crate::VmState::Dead)
    /// and may be torn down: then all its vCPUs are to be woken. What was on its way to be taken on that PE may stay active
    /// for ever; a doorbell of which that is so cannot be released, and [teardown](Self::tear_down) says so.
    ///
    /// To be called once the PE executes nothing any more. Takes no lock, allocates nothing, does not wait.
    ///
    /// # Errors
    ///
    /// [`RunError::NotInitialised`].
    pub fn pe_is_gone(&self, gone: Iaffid, mut wake: impl FnMut(Wake)) -> Result<(), RunError> {
        let record = self.record.as_deref().ok_or(RunError::NotInitialised)?;
        self.host.lose_all(record, gone);
        let dead = self.live_record().is_none();
        for Vcpu { vpe, context, .. } in &record.vcpus {
            let there = context.routed.load(Ordering::Relaxed) == u32::from(gone.raw_value());
            if there {
                context.forget_route();
                context.stop_waiting();
            }
            if there || dead {
                wake(Wake { vm: record.vm(), vpe: *vpe });
            }
        }
        Ok(())
    }
}
