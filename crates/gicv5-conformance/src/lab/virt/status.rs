//! What the IRS says of a VPE, and of a VM that is saved.

use core::cell::Cell;

use gicv5_arch::irs::{IRS_SAVE_VM_STATUSR, IRS_SAVE_VMR, IRS_VPE_HPPIR, IRS_VPE_SELR, IrsReg};
use gicv5_arch::{IntId, IrsIntId, VmId, VpeId};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::outcome::{Failure, Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// Selects a VPE, and says whether it is valid (VPE-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn select_vpe(&self, vm: VmId, vpe: VpeId) -> Result<bool, Failure> {
        self.write_selected(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe))
    }

    /// Wants a selection to be valid or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Busy`](crate::Failure::Busy).
    pub fn expect_vpe(&self, vm: VmId, vpe: VpeId, valid: bool) -> Outcome {
        expect("IRS_VPE_STATUSR.V", valid, self.select_vpe(vm, vpe)?)
    }

    /// The candidate of a VPE, as IRS_VPE_HPPIR has it. Selects it.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Busy`](crate::Failure::Busy).
    pub fn expect_candidate(&self, vm: VmId, vpe: VpeId, candidate: Option<IrsIntId>) -> Outcome {
        self.expect_vpe(vm, vpe, true)?;
        let found = Cell::new(None);
        self.until(|| {
            found.set(self.read::<IRS_VPE_HPPIR>().int_id());
            found.get() == candidate.map(IntId::from)
        });
        expect("IRS_VPE_HPPIR", candidate.map(IntId::from), found.get())
    }

    /// Saves a VM and asks whether it is quiescent (SAVE-1, SAVE-2).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn save(&self, vm: VmId) -> Outcome {
        self.ask_quiescent(IRS_SAVE_VMR::ZERO.with_s(true).with_vm_id(vm), true)
    }

    /// Asks whether a VM is as it was when it was saved, and wants that answer (SAVE-3).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy), [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_quiescent(&self, vm: VmId, quiescent: bool) -> Outcome {
        self.ask_quiescent(IRS_SAVE_VMR::ZERO.with_vm_id(vm), quiescent)
    }

    fn ask_quiescent(&self, command: IRS_SAVE_VMR, quiescent: bool) -> Outcome {
        let status = self.command(IrsReg::IRS_SAVE_VMR, command.with_q(true).raw_value())?.unwrap_or(0);
        expect("IRS_SAVE_VM_STATUSR.Q", quiescent, IRS_SAVE_VM_STATUSR::new_with_raw_value(status as u32).q())
    }
}
