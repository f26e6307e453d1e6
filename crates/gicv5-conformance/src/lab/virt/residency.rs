//! Making a VPE resident, and ending that.

use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, ICH_HFGRTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2, SysReg};
use gicv5_arch::{PpiBank, Priority, VmId, VpeId};
use gicv5_hal::{Pe, PeOps};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::lab::virt::cast::{VM, VPES};
use crate::outcome::{Failure, Outcome, expect};

/// A guest's CPU interface that is enabled, with an open mask.
const OPEN: ICH_VMCR_EL2 = ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(Priority::LEAST_URGENT);

impl<B: Bench> Lab<'_, B> {
    /// Writes a context on a PE, as RES-15 orders it, with the guest's CPU interface enabled and its mask open, and returns
    /// what ICH_CONTEXTR_EL2 reads after the ISB.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn enter_context(&self, pe: usize, context: ICH_CONTEXTR_EL2) -> Result<ICH_CONTEXTR_EL2, Failure> {
        self.enter(pe, context, OPEN, 0)
    }

    /// Makes [`VM`]'s first VPE resident on PE 0 with this mask, enable and active priorities.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal) if it cannot be.
    pub fn load_with(&self, enable: bool, mask: u32, active: u64) -> Outcome {
        let vmcr = ICH_VMCR_EL2::ZERO.with_en(enable).with_vpmr(self.priority(mask));
        let asked = Self::context(VM, VPES[0]);
        let context = self.enter(0, asked, vmcr, active)?;
        expect("ICH_CONTEXTR_EL2", asked.raw_value(), context.raw_value())
    }

    fn enter(
        &self,
        pe: usize,
        context: ICH_CONTEXTR_EL2,
        vmcr: ICH_VMCR_EL2,
        active: u64,
    ) -> Result<ICH_CONTEXTR_EL2, Failure> {
        let read = self.on(pe, |pe| {
            pe.write(ICH_VCTLR_EL2::ZERO.with_en(true));
            pe.isb();
            pe.write(vmcr);
            pe.write_raw(SysReg::ICH_APR_EL2, active);
            pe.write(context);
            pe.isb();
            pe.read_raw(SysReg::ICH_CONTEXTR_EL2)
        })?;
        let what = self.on(pe, |pe| {
            let is_on = pe.read::<ICH_VCTLR_EL2>() == ICH_VCTLR_EL2::ZERO.with_en(true);
            let is_set = pe.read::<ICH_VMCR_EL2>() == vmcr && pe.read_raw(SysReg::ICH_APR_EL2) == active;
            u64::from(is_on && is_set)
        })?;
        expect("ICH_VCTLR_EL2, ICH_VMCR_EL2 and ICH_APR_EL2 are as written", true, what != 0)?;
        Ok(ICH_CONTEXTR_EL2::new_with_raw_value(read))
    }

    /// The context that makes a VPE resident.
    #[must_use]
    pub fn context(vm: VmId, vpe: VpeId) -> ICH_CONTEXTR_EL2 {
        ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe)
    }

    /// Makes a VPE resident on a PE (RES-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal) if it cannot be; [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn load(&self, pe: usize, vm: VmId, vpe: VpeId) -> Outcome {
        let asked = Self::context(vm, vpe);
        let context = self.enter_context(pe, asked)?;
        expect("ICH_CONTEXTR_EL2", asked.raw_value(), context.raw_value())
    }

    /// Wants a VPE not to become resident (RES-2), and puts F back.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn expect_no_load(&self, pe: usize, vm: VmId, vpe: VpeId) -> Outcome {
        let context = self.enter_context(pe, Self::context(vm, vpe))?;
        expect("ICH_CONTEXTR_EL2.F", true, context.f())?;
        self.put(pe)
    }

    /// Ends the residency on a PE, and asks for no doorbell (RES-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn put(&self, pe: usize) -> Outcome {
        self.leave(pe, ICH_CONTEXTR_EL2::ZERO)
    }

    /// The same, and asks for a doorbell with a mask (DB-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn put_asking(&self, pe: usize, mask: u32) -> Outcome {
        self.leave(pe, ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(self.priority(mask)))
    }

    fn leave(&self, pe: usize, context: ICH_CONTEXTR_EL2) -> Outcome {
        self.on(pe, |pe| {
            pe.write(context);
            pe.isb();
            pe.read_raw(SysReg::ICH_CONTEXTR_EL2)
        })
        .and_then(|read| expect("ICH_CONTEXTR_EL2.V", false, ICH_CONTEXTR_EL2::new_with_raw_value(read).v()))
    }
}

/// Ends the residency of a PE, and makes its virtual CPU interface and PPIs as at first.
pub(crate) fn quiesce_virtual<P: PeOps + ?Sized>(pe: &Pe<'_, P>) {
    pe.write_raw(SysReg::ICH_CONTEXTR_EL2, 0);
    pe.write_raw(SysReg::ICH_VCTLR_EL2, 0);
    pe.isb();
    pe.write_raw(SysReg::ICH_VMCR_EL2, 0);
    pe.write_raw(SysReg::ICH_APR_EL2, 0);
    for bank in PpiBank::ALL {
        pe.write_raw(SysReg::ich_ppi_dvir(bank), 0);
        pe.write_raw(SysReg::ich_ppi_enabler(bank), 0);
        pe.write_raw(SysReg::ich_ppi_activer(bank), 0);
        pe.isb();
        pe.write_raw(SysReg::ich_ppi_pendr(bank), 0);
    }
    for n in 0..16 {
        pe.write_raw(SysReg::ich_ppi_priorityr(arbitrary_int::u4::new(n)), 0);
    }
    pe.write(ICH_HFGRTR_EL2::ZERO.with_res1(true));
    pe.write_raw(SysReg::ICH_HFGWTR_EL2, 0);
    pe.write_raw(SysReg::ICH_HFGITR_EL2, 0);
    pe.isb();
    pe.gsb_sys();
}
