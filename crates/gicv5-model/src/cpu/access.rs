//! What the registers read, and what becomes of a write.

use gicv5_arch::layout::fields_mask;
use gicv5_arch::sysreg::{
    APR, Gcie, HPPIR, ICC_CR0_EL1, ICC_IAFFIDR_EL1, ICC_ICSR_EL1, ICC_IDR0_EL1, ICC_SRE_EL1, ICC_SRE_EL2,
    ICH_CONTEXTR_EL2, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2, ID_AA64PFR2_EL1,
    PCR, PPI_PRIORITYR,
};
use gicv5_arch::{ActivePriorities, Priority};

use super::interface::{self, Bits, bank, test};
use super::registers::{PpiRow, View};
use super::{Cpu, Register};

impl Cpu {
    /// Reads a register. A write before it in program order is seen, synchronised or not.
    pub(crate) fn read(&self, register: Register) -> u64 {
        // What the PE computes, it computes from what has been synchronised.
        if self.unsynchronised.is_empty() || matches!(register, Register::Hppir(_)) {
            return self.read_synchronised(register);
        }
        let mut ahead = self.clone();
        while let Some((register, value)) = ahead.next_unsynchronised() {
            match register {
                // Whether it worked is known later (RES-1).
                Register::Contextr => {
                    if let Some(virt) = ahead.el2_mut() {
                        let f = virt.context.f();
                        virt.context = ICH_CONTEXTR_EL2::new_with_raw_value(value).with_f(f);
                    }
                }
                _ => ahead.apply(register, value),
            }
        }
        ahead.read_synchronised(register)
    }

    fn read_synchronised(&self, register: Register) -> u64 {
        match register {
            Register::Apr(side) => {
                self.interface(side).map_or(0, |interface| APR::ZERO.with_p(interface.active).raw_value())
            }
            Register::Cr0(side) => {
                self.interface(side).map_or(0, |interface| ICC_CR0_EL1::ZERO.with_en(interface.enabled).raw_value())
            }
            Register::Pcr(side) => {
                self.interface(side).map_or(0, |interface| PCR::ZERO.with_priority(interface.mask).raw_value())
            }
            Register::Hppir(side) => HPPIR::reporting(self.hppi(side).map(|(id, _)| id)).raw_value(),
            Register::Ppi(view, row, n) => self.read_ppis(view, row, n),
            Register::Icsr => self.icsr.raw_value(),
            Register::Iaffidr => ICC_IAFFIDR_EL1::ZERO.with_iaffid(self.config.iaffid).raw_value(),
            Register::Idr0 => ICC_IDR0_EL1::ZERO
                .with_gcie_legacy(self.config.legacy)
                .with_pri_bits(self.config.pri_bits)
                .with_id_bits(self.config.id_bits)
                .raw_value(),
            // Every bit reads as one (GEN-25).
            Register::Sre1 => ICC_SRE_EL1::ZERO.with_sre(true).with_dfb(true).with_dib(true).raw_value(),
            Register::Sre2 => {
                ICC_SRE_EL2::ZERO.with_enable(true).with_sre(true).with_dfb(true).with_dib(true).raw_value()
            }
            Register::Pfr2 => ID_AA64PFR2_EL1::ZERO.with_gcie(Gcie::Implemented).raw_value(),
            _ => self.el2().map_or(0, |virt| match register {
                Register::Vmcr => {
                    let interface = &virt.interface;
                    ICH_VMCR_EL2::ZERO.with_vpmr(interface.mask).with_en(interface.enabled).raw_value()
                }
                Register::Vctlr => virt.vctlr.raw_value(),
                Register::Contextr => virt.context.raw_value(),
                Register::Hfgrtr => virt.hfgrtr.raw_value(),
                Register::Hfgwtr => virt.hfgwtr.raw_value(),
                Register::Hfgitr => virt.hfgitr.raw_value(),
                Register::Dvir(n) => bank(&virt.dvi, n),
                Register::Hvir(n) => bank(&virt.hvi, n),
                _ => 0,
            }),
        }
    }

    fn read_ppis(&self, view: View, row: PpiRow, n: usize) -> u64 {
        let Some(interface) = self.interface(view.side()) else { return 0 };
        let ppis = &interface.ppis;
        let visible = self.visible(view);
        let value = match row {
            PpiRow::HandlingMode => bank(&ppis.implemented, n) & !bank(&ppis.edge, n),
            PpiRow::Enable => bank(&ppis.enabled, n),
            PpiRow::ClearActive | PpiRow::SetActive | PpiRow::Active => bank(&ppis.active, n),
            PpiRow::ClearPending | PpiRow::SetPending | PpiRow::Pending => match self.el2() {
                Some(virt) if view != View::Physical => bank(&self.virtual_pending(virt), n),
                _ => bank(&ppis.pending, n),
            },
            PpiRow::Priority => {
                let value = PPI_PRIORITYR::new_with_raw_value(ppis.priorities(n));
                let hidden = interface::of_priority_register(n).filter(|ppi| !test(&visible, *ppi));
                return hidden.fold(value, |value, ppi| value.with_priority(ppi, Priority::MOST_URGENT)).raw_value();
            }
        };
        value & bank(&visible, n)
    }

    /// The PPIs that a view shows: a guest does not see what is hidden from it (PPI-27).
    fn visible(&self, view: View) -> Bits {
        match (view, self.el2()) {
            (View::Guest, Some(virt)) => virt.hvi.map(|hidden| !hidden),
            _ => [u64::MAX; 2],
        }
    }

    /// A write that waits for the next context synchronisation.
    pub(crate) fn write(&mut self, register: Register, value: u64) {
        self.unsynchronised.push_back((register, value));
    }

    /// The oldest write that has not been synchronised. The caller lets it act.
    pub(crate) fn next_unsynchronised(&mut self) -> Option<(Register, u64)> {
        self.unsynchronised.pop_front()
    }

    /// A write acts. That of ICH_CONTEXTR_EL2 is the machine's, which asks the IRS.
    pub(crate) fn apply(&mut self, register: Register, value: u64) {
        let pri_bits = self.config.pri_bits.count();
        let legacy = self.config.has_legacy();
        let implemented = self.physical.ppis.implemented;
        match register {
            Register::Apr(side) => {
                if let Some(interface) = self.interface_mut(side) {
                    interface.active = ActivePriorities::new_with_raw_value(value as u32);
                }
            }
            Register::Cr0(side) => {
                if let Some(interface) = self.interface_mut(side) {
                    interface.enabled = ICC_CR0_EL1::new_with_raw_value(value).en();
                }
            }
            Register::Pcr(side) => {
                if let Some(interface) = self.interface_mut(side) {
                    interface.mask = PCR::new_with_raw_value(value).priority().keep_high_bits(pri_bits);
                }
            }
            Register::Icsr => self.icsr = ICC_ICSR_EL1::new_with_raw_value(value & ICSR_FIELDS),
            Register::Ppi(view, row, n) => self.write_ppis(view, row, n, value),
            _ => {
                let Some(virt) = self.el2_mut() else { return };
                match register {
                    Register::Vmcr => {
                        let value = ICH_VMCR_EL2::new_with_raw_value(value);
                        virt.interface.mask = value.vpmr().keep_high_bits(pri_bits);
                        virt.interface.enabled = value.en();
                    }
                    Register::Vctlr => {
                        let value = ICH_VCTLR_EL2::new_with_raw_value(value);
                        virt.vctlr = ICH_VCTLR_EL2::ZERO.with_en(value.en()).with_v3(value.v3() && legacy);
                    }
                    Register::Hfgrtr => {
                        virt.hfgrtr = ICH_HFGRTR_EL2::new_with_raw_value(value & HFGRTR_FIELDS).with_res1(true);
                    }
                    Register::Hfgwtr => virt.hfgwtr = ICH_HFGWTR_EL2::new_with_raw_value(value & HFGWTR_FIELDS),
                    Register::Hfgitr => virt.hfgitr = ICH_HFGITR_EL2::new_with_raw_value(value & HFGITR_FIELDS),
                    Register::Dvir(n) => replace(&mut virt.dvi, n, bank(&implemented, n), value),
                    Register::Hvir(n) => replace(&mut virt.hvi, n, bank(&implemented, n), value),
                    _ => {}
                }
            }
        }
    }

    fn write_ppis(&mut self, view: View, row: PpiRow, n: usize, value: u64) {
        let visible = self.visible(view);
        let pri_bits = self.config.pri_bits.count();
        let direct = if view == View::Physical { 0 } else { self.directly_injected(n) };
        let Some(interface) = self.interface_mut(view.side()) else { return };
        let ppis = &mut interface.ppis;
        // An unimplemented PPI ignores writes (PPI-5), and so does one that is hidden (PPI-27).
        let writable = bank(&ppis.implemented, n) & bank(&visible, n);
        // The pending bit of a level PPI is its wire's (PPI-4).
        let edge = bank(&ppis.edge, n) & value & writable;
        match row {
            PpiRow::HandlingMode => {}
            PpiRow::Enable => replace(&mut ppis.enabled, n, writable, value),
            PpiRow::Active => replace(&mut ppis.active, n, writable, value),
            PpiRow::ClearActive => replace(&mut ppis.active, n, writable & value, 0),
            PpiRow::SetActive => replace(&mut ppis.active, n, writable & value, value),
            // That of a PPI injected directly does not listen (PPI-7, PPI-14).
            PpiRow::Pending => replace(&mut ppis.pending, n, writable & !direct, value),
            PpiRow::ClearPending | PpiRow::SetPending => {
                let to = if row == PpiRow::SetPending { u64::MAX } else { 0 };
                replace(&mut ppis.pending, n, edge & !direct, to);
                // The pending bit of a PPI injected directly is the physical one (PPI-7).
                replace(&mut self.physical.ppis.pending, n, edge & direct, to);
            }
            PpiRow::Priority => ppis.set_priorities(n, PPI_PRIORITYR::new_with_raw_value(value), pri_bits, &visible),
        }
    }
}

/// Takes the bits of a bank that the mask has from a value.
fn replace(bits: &mut Bits, n: usize, mask: u64, value: u64) {
    if let Some(bank) = bits.get_mut(n) {
        *bank = *bank & !mask | value & mask;
    }
}

const ICSR_FIELDS: u64 = fields_mask(ICC_ICSR_EL1::FIELDS);
const HFGRTR_FIELDS: u64 = fields_mask(ICH_HFGRTR_EL2::FIELDS);
const HFGWTR_FIELDS: u64 = fields_mask(ICH_HFGWTR_EL2::FIELDS);
const HFGITR_FIELDS: u64 = fields_mask(ICH_HFGITR_EL2::FIELDS);
