//! The interrupts of VMs, as the host reaches them.

use gicv5_arch::insn::{
    AffinityOperand, DeactivateOperand, GicInsn, HandlingModeOperand, IntIdOperand, PriorityOperand,
};
use gicv5_arch::sysreg::{HPPIR, ICC_ICSR_EL1, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Iaffid, IntId, IrsIntId, Spi, VmId, VpeId};

use crate::bench::Bench;
use crate::lab::instructions::ask;
use crate::lab::signals::expect_interrupt;
use crate::lab::virt::cast::VM;
use crate::lab::{A_WHILE, Lab, SOON, until};
use crate::outcome::{Failure, Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// Makes a VM's interrupt pending or not (INS-15).
    pub fn inject(&self, vm: VmId, id: IrsIntId, pending: bool) {
        self.pe.vdpend(vm, id, pending);
        self.sync();
    }

    /// `GIC VDEN` or `GIC VDDIS` on PE 0.
    pub fn vd_enable(&self, id: IrsIntId, enable: bool) {
        let insn = if enable { GicInsn::GIC_VDEN } else { GicInsn::GIC_VDDIS };
        self.pe.gic(insn, IntIdOperand::naming(id).raw_value());
        self.sync();
    }

    /// `GIC VDPRI` on PE 0, with a look at what became of it.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn vd_priority(&self, id: IrsIntId, priority: u32) -> Outcome {
        let priority = self.priority(priority);
        let before = self.vd_config(id)?;
        self.pe.gic(GicInsn::GIC_VDPRI, PriorityOperand::naming(id).with_priority(priority).raw_value());
        let kept = priority.keep_high_bits(self.features.idr1.pri_bits().map_or(5, |bits| bits.count()));
        expect("ICC_ICSR_EL1", before.with_priority(kept).raw_value(), self.vd_config(id)?.raw_value())
    }

    /// `GIC VDAFF` on PE 0.
    pub fn vd_target(&self, id: IrsIntId, target: VpeId) {
        let operand = AffinityOperand::naming(id).with_iaffid(Iaffid::from(target));
        self.pe.gic(GicInsn::GIC_VDAFF, operand.raw_value());
        self.sync();
    }

    /// `GIC VDHM` on PE 0.
    pub fn vd_handling(&self, id: IrsIntId, mode: HandlingMode) {
        self.pe.gic(GicInsn::GIC_VDHM, HandlingModeOperand::naming(id).with_hm(mode).raw_value());
        self.sync();
    }

    /// `GIC VDDI` on PE 0.
    pub fn vd_deactivate(&self, id: IrsIntId) {
        self.pe.gic(GicInsn::GIC_VDDI, DeactivateOperand::naming(id.into()).raw_value());
        self.sync();
    }

    /// `GIC VDRCFG` on PE 0: the configuration in the VM of the VPE that is resident there (INS-17).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal) if it cannot be reached.
    pub fn vd_config(&self, id: IrsIntId) -> Result<ICC_ICSR_EL1, Failure> {
        let config = self.vd_ask(id, ICC_ICSR_EL1::ZERO.with_f(true));
        expect("ICC_ICSR_EL1.F", false, config.f())?;
        Ok(config)
    }

    /// Wants VDRCFG to find an interrupt or not (INS-11).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_vd_reachable(&self, id: IrsIntId, reachable: bool) -> Outcome {
        // What was there before says the opposite, so that an answer that does not come is none.
        let answer = self.vd_ask(id, ICC_ICSR_EL1::ZERO.with_f(reachable));
        expect("ICC_ICSR_EL1.F", !reachable, answer.f())
    }

    fn vd_ask(&self, id: IrsIntId, before: ICC_ICSR_EL1) -> ICC_ICSR_EL1 {
        ask(self.pe, GicInsn::GIC_VDRCFG, IntIdOperand::naming(id).raw_value(), before)
    }

    /// Wants an interrupt of the resident VPE's VM to be pending or not.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_vd_pending(&self, id: IrsIntId, pending: bool) -> Outcome {
        expect("ICC_ICSR_EL1.Pending", pending, self.vd_config(id)?.pending())
    }

    /// Wants the best virtual interrupt of a PE to be this one, as ICH_HPPIR_EL2 has it, and where the bench can look, the
    /// virtual interrupt to be signalled (HPPI-8).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn expect_virtual(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        self.expect_hppi(pe, SysReg::ICH_HPPIR_EL2, id.into())?;
        self.expect_virtual_irq(pe, true)
    }

    /// Makes an interrupt of [`VM`] pending, and wants it to be the best one of the VPE that is resident on PE 0.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn inject_and_see(&self, id: IrsIntId) -> Outcome {
        self.inject(VM, id, true);
        self.expect_virtual(0, id)
    }

    /// Wants no virtual interrupt to be good enough on a PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn expect_no_virtual(&self, pe: usize) -> Outcome {
        let bench = self.bench();
        let found = self.on(pe, |pe| {
            let hppi = || pe.read_raw(SysReg::ICH_HPPIR_EL2);
            // What has been recalled may take its time to go.
            until(bench.wait(), SOON, || !HPPIR::new_with_raw_value(hppi()).hppiv());
            until(bench.wait(), A_WHILE, || false);
            hppi()
        })?;
        expect_interrupt("ICH_HPPIR_EL2", None, found)?;
        self.expect_virtual_irq(pe, false)
    }

    fn expect_virtual_irq(&self, pe: usize, signalled: bool) -> Outcome {
        if !self.features.guests {
            return Ok(());
        }
        let bench = self.bench();
        let irq = self.on(pe, |pe| {
            let look = || bench.virtual_signals(pe).irq;
            until(bench.wait(), SOON, || look() == signalled);
            look().into()
        })?;
        expect("a virtual IRQ is signalled", signalled, irq != 0)
    }

    /// Gives an SPI to a VM or takes it back (SPI-9, SPI-12).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn assign(&self, spi: Spi, vm: Option<VmId>) -> Outcome {
        use gicv5_arch::irs::IRS_SPI_VMR;
        self.select(spi)?;
        let vm = vm.map_or(IRS_SPI_VMR::ZERO, |vm| IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(vm));
        expect("IRS_SPI_STATUSR.V", true, self.write_selected(vm)?)
    }
}
