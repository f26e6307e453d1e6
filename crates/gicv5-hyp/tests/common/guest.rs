//! What guests and their hypervisor do on a PE, in one call.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gicv5_arch::sysreg::{ICC_CR0_EL1, PPI_ENABLER, PPI_PRIORITYR, PpiSet, SysReg};
use gicv5_arch::{IntId, IrsIntId, Lpi, Ppi, PpiBank, Priority, Spi, VpeId};
use gicv5_hal::Pe;
use gicv5_hyp::{Host, Idle, RunError, VcpuIndex, Vm, Wake};
use gicv5_model::ModelPe;
use gicv5_model::PeIndex;

use super::Lab;
use super::common::open_traps;

pub const PE0: PeIndex = PeIndex(0);
pub const PE1: PeIndex = PeIndex(1);
pub const FIRST: VcpuIndex = VcpuIndex(0);
pub const SECOND: VcpuIndex = VcpuIndex(1);

pub fn spi(id: u32) -> IntId {
    IntId::Spi(Spi::new(id).unwrap())
}

pub fn lpi(id: u32) -> IntId {
    IntId::Lpi(Lpi::new(id).unwrap())
}

pub fn priority(number: u32) -> Priority {
    Priority::new(number).unwrap()
}

impl Lab {
    /// Runs on a PE.
    pub fn on<R>(&self, pe: PeIndex, f: impl FnOnce(&Pe<'_, ModelPe>) -> R) -> R {
        self.host.on_pe(pe, f).unwrap()
    }

    /// Lets guests reach everything: what traps is the hypervisor's decision, not the library's.
    pub fn open_traps(&self) {
        for n in 0..self.machine.pe_count() {
            self.on(PeIndex(n), open_traps);
        }
    }

    pub fn load(&self, pe: PeIndex, vm: &Vm<'_, Lab>, vcpu: VcpuIndex) -> Result<(), RunError> {
        self.on(pe, |pe| vm.load(pe, vcpu))
    }

    pub fn put(&self, pe: PeIndex, vm: &Vm<'_, Lab>, vcpu: VcpuIndex) -> Result<(), RunError> {
        self.on(pe, |pe| vm.put(pe, vcpu))
    }

    pub fn idle(&self, pe: PeIndex, vm: &Vm<'_, Lab>, vcpu: VcpuIndex) -> Result<Idle, RunError> {
        self.on(pe, |pe| vm.idle(pe, vcpu))
    }

    /// Sets Pending of an interrupt of a VM.
    pub fn inject(&self, vm: &Vm<'_, Lab>, interrupt: IntId) {
        self.on(PE0, |pe| vm.inject(pe, interrupt, gicv5_hyp::Pending::Set)).unwrap();
    }

    /// The host takes what is pending on a PE; whom it wakes.
    pub fn take_doorbells(&self, pe: PeIndex, host: &Host<Lab>) -> Vec<Wake> {
        let mut woken = Vec::new();
        self.host.take_interrupts(pe, |taken| woken.extend(taken.cookie.and_then(|cookie| host.doorbell(cookie))));
        woken
    }

    /// The guest on a PE.
    pub fn guest(&self, pe: PeIndex) -> Guest {
        Guest(self.machine.pe(pe).unwrap().guest())
    }
}

/// A guest, on the PE it is on.
pub struct Guest(ModelPe);

impl Guest {
    pub fn pe(&self) -> Pe<'_, ModelPe> {
        Pe::new(&self.0)
    }

    /// Switches its interrupts on, all of them.
    pub fn open(&self) -> &Guest {
        self.switch(true, 31)
    }

    pub fn switch(&self, on: bool, mask: u32) -> &Guest {
        let pe = self.pe();
        pe.write(ICC_CR0_EL1::ZERO.with_en(on));
        pe.write_raw(SysReg::ICC_PCR_EL1, mask.into());
        pe.isb();
        self
    }

    /// Enables an SPI or LPI, for a VPE of its own.
    pub fn enable(&self, interrupt: IntId, vpe: VpeId, at: u32) -> &Guest {
        let (pe, id) = (self.pe(), IrsIntId::try_from(interrupt).unwrap());
        pe.cdpri(id, priority(at));
        pe.cdaff(id, vpe.into());
        pe.cden(id);
        pe.gsb_sys();
        self
    }

    /// Enables a PPI.
    pub fn enable_ppi(&self, ppi: Ppi, at: u32) -> &Guest {
        let pe = self.pe();
        let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
        let priorities = PPI_PRIORITYR::new_with_raw_value(pe.read_raw(register)).with_priority(ppi, priority(at));
        pe.write_raw(register, priorities.raw_value());
        let register = SysReg::icc_ppi_enabler(ppi.bank());
        let enabled = PPI_ENABLER::new_with_raw_value(pe.read_raw(register));
        pe.write_raw(register, enabled.with_en(enabled.en().with(ppi)).raw_value());
        pe.isb();
        self
    }

    /// Acknowledges.
    pub fn acknowledge(&self) -> Option<IntId> {
        let pe = self.pe();
        let taken = pe.cdia().int_id()?;
        pe.gsb_ack();
        pe.isb();
        Some(taken)
    }

    /// Acknowledges, drops and deactivates; the interrupt taken.
    pub fn take(&self) -> Option<IntId> {
        let taken = self.acknowledge()?;
        self.end(taken);
        Some(taken)
    }

    pub fn end(&self, taken: IntId) {
        let pe = self.pe();
        pe.cdeoi();
        pe.cddi(taken);
        pe.gsb_sys();
    }

    /// Everything that the guest can read of its CPU interface.
    pub fn view(&self) -> Vec<(SysReg, u64)> {
        let pe = self.pe();
        pe.isb();
        let mut registers = vec![
            SysReg::ICC_CR0_EL1,
            SysReg::ICC_PCR_EL1,
            SysReg::ICC_APR_EL1,
            SysReg::ICC_HPPIR_EL1,
            SysReg::ICC_ICSR_EL1,
        ];
        for bank in PpiBank::ALL {
            registers.extend([
                SysReg::icc_ppi_enabler(bank),
                SysReg::icc_ppi_sactiver(bank),
                SysReg::icc_ppi_spendr(bank),
            ]);
        }
        registers.extend((0..16).map(|n| SysReg::icc_ppi_priorityr(arbitrary_int::u4::new(n))));
        registers.into_iter().map(|register| (register, pe.read_raw(register))).collect()
    }

    /// Makes edge-triggered PPIs pending.
    pub fn set_ppi_pending(&self, ppi: Ppi) {
        let pe = self.pe();
        pe.write_raw(SysReg::icc_ppi_spendr(ppi.bank()), PpiSet::EMPTY.with(ppi).raw_value());
        pe.isb();
    }
}
