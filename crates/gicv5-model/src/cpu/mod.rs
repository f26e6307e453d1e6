//! The CPU interface of one PE: a physical one, and a virtual one where there is virtualisation.
//!
//! The IRS offers an interface one candidate; the interface weighs it against its own PPIs and applies enable, mask and
//! running priority to the winner (HPPI-3). Both sides are the same [`Interface`]; nothing in it knows where the candidate
//! came from. They differ in what competes ([`Cpu::contest`]): the virtual side has an HPPI only while a VPE is resident
//! (HPPI-7), leaves the IRS's candidate out under IRICHPPIDIS (RES-12), and takes the pending bit of a directly injected
//! PPI from the physical side (PPI-7).
//!
//! A register write acts when it is synchronised. Writes wait in the order of the program; the machine lets them act,
//! because a write of ICH_CONTEXTR_EL2 asks the IRS ([`crate::engine::residency`]).

mod el2;
mod interface;
mod registers;

use crate::words::cpu::{CpuConfig, Fate, Level, Signals};
use std::collections::VecDeque;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::layout::fields_mask;
use gicv5_arch::register::Access;
use gicv5_arch::sysreg::{
    APR, Gcie, HPPIR, ICC_CR0_EL1, ICC_IAFFIDR_EL1, ICC_ICSR_EL1, ICC_IDR0_EL1, ICH_CONTEXTR_EL2, ICH_HFGITR_EL2,
    ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2, ID_AA64PFR2_EL1, PCR, PPI_PRIORITYR, SysReg,
};
use gicv5_arch::{ActivePriorities, IntId, IrsIntId, Ppi, Priority};

pub(crate) use el2::{SinceEntry, VirtualCpu};
pub(crate) use interface::Acknowledge;
pub(crate) use interface::Ppis;
use interface::{Bits, Contest, Interface, assign, bank, test};
use registers::{PpiRow, View};
pub(crate) use registers::{Register, Side};

use crate::words::config::{HiddenPpi, Switches, Tie, VirtualEnable};

/// The CPU interfaces of one PE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cpu {
    config: CpuConfig,
    physical: Interface,
    /// The wires of the PPIs that are high.
    wires: Bits,
    icsr: ICC_ICSR_EL1,
    virt: Option<Box<VirtualCpu>>,
    tie: Tie,
    enable: VirtualEnable,
    hidden: HiddenPpi,
    /// Writes that no context synchronisation has followed yet, in order (SYN-5, SYN-6).
    unsynchronised: VecDeque<(Register, u64)>,
}

/// A register that a PE does not have, or not at this exception level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Undefined;

impl Cpu {
    pub(crate) fn new(config: CpuConfig, switches: &Switches, has_el2: bool) -> Cpu {
        Cpu {
            config,
            physical: Interface::new(&config),
            wires: [0; 2],
            icsr: ICC_ICSR_EL1::ZERO,
            virt: has_el2.then(|| Box::new(VirtualCpu::new(&config))),
            tie: switches.tie,
            enable: switches.residency.enable,
            hidden: switches.residency.hidden,
            unsynchronised: VecDeque::new(),
        }
    }

    pub(crate) fn config(&self) -> &CpuConfig {
        &self.config
    }

    /// The virtual side, where there is one.
    pub(crate) fn el2(&self) -> Option<&VirtualCpu> {
        self.virt.as_deref()
    }

    pub(crate) fn el2_mut(&mut self) -> Option<&mut VirtualCpu> {
        self.virt.as_deref_mut()
    }

    #[inline]
    fn interface(&self, side: Side) -> Option<&Interface> {
        match side {
            Side::Physical => Some(&self.physical),
            Side::Virtual => self.virt.as_deref().map(|virt| &virt.interface),
        }
    }

    #[inline]
    fn interface_mut(&mut self, side: Side) -> Option<&mut Interface> {
        match side {
            Side::Physical => Some(&mut self.physical),
            Side::Virtual => self.virt.as_deref_mut().map(|virt| &mut virt.interface),
        }
    }

    /// What competes on a side; `None` if that side has no HPPI whatever is pending.
    #[inline]
    fn contest(&self, side: Side) -> Option<Contest> {
        match side {
            Side::Physical => {
                let Interface { ppis, offered, .. } = &self.physical;
                Some(Contest { ppis: ppis.pending, irs: *offered, tie: self.tie })
            }
            Side::Virtual => self.virtual_contest(self.virt.as_deref()?),
        }
    }

    fn virtual_contest(&self, virt: &VirtualCpu) -> Option<Contest> {
        let on = virt.vctlr.en() || self.enable == VirtualEnable::NotNeeded;
        // There is a virtual HPPI for the resident VPE only (HPPI-7), and none beside the legacy interface (INS-21).
        if virt.resident.is_none() || !on || virt.vctlr.v3() {
            return None;
        }
        let irs = virt.interface.offered.filter(|_| !virt.context.irichppidis());
        Some(Contest { ppis: self.signalled_ppis(virt), irs, tie: self.tie })
    }

    /// The virtual PPIs that are pending and may be candidates.
    fn signalled_ppis(&self, virt: &VirtualCpu) -> Bits {
        let pending = self.virtual_pending(virt);
        match self.hidden {
            HiddenPpi::StillSignalled => pending,
            HiddenPpi::NeverSignalled => [pending[0] & !virt.hvi[0], pending[1] & !virt.hvi[1]],
        }
    }

    /// The pending bits of the virtual PPIs: of those injected directly it is the physical one (PPI-7).
    fn virtual_pending(&self, virt: &VirtualCpu) -> Bits {
        let mixed = |n| {
            bank(&virt.interface.ppis.pending, n) & !bank(&virt.dvi, n)
                | bank(&self.physical.ppis.pending, n) & bank(&virt.dvi, n)
        };
        [mixed(0), mixed(1)]
    }

    /// The PPIs of a side as they are seen: of a PPI that is injected directly the pending bit is the physical one.
    pub(crate) fn ppis(&self, side: Side) -> Option<Ppis> {
        match side {
            Side::Physical => Some(self.physical.ppis.clone()),
            Side::Virtual => {
                let virt = self.virt.as_deref()?;
                Some(Ppis { pending: self.virtual_pending(virt), ..virt.interface.ppis.clone() })
            }
        }
    }

    /// The PPIs of a bank that are injected directly (PPI-7).
    pub(crate) fn directly_injected(&self, n: usize) -> u64 {
        self.virt.as_deref().map_or(0, |virt| bank(&virt.dvi, n))
    }

    /// The physical PPIs of a bank that are enabled.
    pub(crate) fn enabled_ppis(&self, n: usize) -> u64 {
        bank(&self.physical.ppis.enabled, n)
    }

    pub(crate) fn offered(&self, side: Side) -> Option<(IrsIntId, Priority)> {
        self.interface(side)?.offered
    }

    /// The IRS offers another candidate, or recalls the one it had offered.
    pub(crate) fn offer(&mut self, side: Side, candidate: Option<(IrsIntId, Priority)>) {
        if let Some(interface) = self.interface_mut(side) {
            interface.offered = candidate;
        }
    }

    /// SCTLR.NMI of whoever runs in a domain.
    pub(crate) fn set_nmi(&mut self, side: Side, nmi: bool) {
        if let Some(interface) = self.interface_mut(side) {
            interface.nmi = nmi;
        }
    }

    /// The wire of a PPI changed. A level PPI is pending as long as it is high, an edge PPI from its rise on (PPI-4).
    pub(crate) fn ppi_wire(&mut self, ppi: Ppi, high: bool) {
        let rises = high && !test(&self.wires, ppi);
        let ppis = &mut self.physical.ppis;
        if !test(&ppis.implemented, ppi) {
            return;
        }
        assign(&mut self.wires, ppi, high);
        if !test(&ppis.edge, ppi) {
            assign(&mut ppis.pending, ppi, high);
        } else if rises {
            assign(&mut ppis.pending, ppi, true);
        }
    }

    /// The most urgent PPI that could be taken.
    pub(crate) fn ppi_candidate(&self, side: Side) -> Option<(Ppi, Priority)> {
        self.interface(side)?.ppi_candidate(&self.contest(side)?)
    }

    /// The HPPI of sufficient priority (PRI-3, PRI-4, PRI-8).
    pub(crate) fn hppi(&self, side: Side) -> Option<(IntId, Priority)> {
        self.interface(side)?.hppi(&self.contest(side)?)
    }

    #[inline]
    pub(crate) fn signals(&self, side: Side) -> Signals {
        match (self.interface(side), self.contest(side)) {
            (Some(interface), Some(contest)) => interface.signals(&contest),
            _ => Signals::default(),
        }
    }

    /// What an acknowledge takes, and its priority. The caller tells the IRS about an LPI or SPI (INS-3).
    pub(crate) fn acknowledge(&mut self, side: Side, which: Acknowledge) -> Option<(IntId, Priority)> {
        let contest = self.contest(side)?;
        let taken = self.interface_mut(side)?.acknowledge(&contest, which)?;
        if let (IntId::Ppi(ppi), _) = taken
            && test(&self.physical.ppis.edge, ppi)
        {
            assign(self.pending_latch(side, ppi)?, ppi, false);
        }
        Some(taken)
    }

    /// Where the pending bit of a PPI is kept: the physical one is shared with the virtual one of a PPI that is injected
    /// directly (PPI-7, PPI-10).
    fn pending_latch(&mut self, side: Side, ppi: Ppi) -> Option<&mut Bits> {
        match side {
            Side::Physical => Some(&mut self.physical.ppis.pending),
            Side::Virtual => {
                let virt = self.virt.as_deref_mut()?;
                match test(&virt.dvi, ppi) {
                    true => Some(&mut self.physical.ppis.pending),
                    false => Some(&mut virt.interface.ppis.pending),
                }
            }
        }
    }

    /// The running priority drops (PRI-6). Returns what it was.
    pub(crate) fn drop_priority(&mut self, side: Side) -> Option<Priority> {
        let interface = self.interface_mut(side)?;
        let running = interface.active.running();
        interface.active = interface.active.drop_running();
        running
    }

    /// A PPI is deactivated; one that is not implemented is ignored (PPI-5).
    pub(crate) fn deactivate_ppi(&mut self, side: Side, ppi: Ppi) {
        if side == Side::Virtual
            && self.hidden == HiddenPpi::NeverSignalled
            && self.el2().is_some_and(|virt| test(&virt.hvi, ppi))
        {
            return;
        }
        if let Some(interface) = self.interface_mut(side) {
            assign(&mut interface.ppis.active, ppi, false);
        }
    }

    /// The answer to a read-configuration arrives.
    pub(crate) fn set_icsr(&mut self, icsr: ICC_ICSR_EL1) {
        self.icsr = icsr;
    }

    // --- who may do what ----------------------------------------------------------------------------------------

    /// What becomes of a read of a register by its name.
    pub(crate) fn fate_of_read(&self, level: Level, name: SysReg) -> Fate {
        match self.register(level, name) {
            Ok(register) if level == Level::Guest && self.el2().is_some_and(|virt| virt.traps_read(register)) => {
                Fate::Traps
            }
            Ok(_) => Fate::Executes,
            Err(Undefined) => Fate::Undefined,
        }
    }

    /// What becomes of a write of a register by its name.
    pub(crate) fn fate_of_write(&self, level: Level, name: SysReg) -> Fate {
        match self.register(level, name) {
            // Nobody but the hardware writes these.
            Ok(_) if name.info().access == Access::RO => Fate::Undefined,
            Ok(register) if level == Level::Guest && self.el2().is_some_and(|virt| virt.traps_write(register)) => {
                Fate::Traps
            }
            Ok(_) => Fate::Executes,
            Err(Undefined) => Fate::Undefined,
        }
    }

    /// What becomes of an instruction.
    #[inline]
    pub(crate) fn fate_of_insn(&self, level: Level, insn: GicInsn) -> Fate {
        use gicv5_arch::insn::MinEl;
        match (level, insn.info().min_el) {
            (Level::Host, MinEl::EL1) => Fate::Executes,
            (_, MinEl::EL3) | (Level::Guest, MinEl::EL2) => Fate::Undefined,
            (Level::Host, MinEl::EL2) if self.virt.is_none() => Fate::Undefined,
            (Level::Host, MinEl::EL2) => Fate::Executes,
            (Level::Guest, MinEl::EL1) => match self.el2() {
                None => Fate::Undefined,
                // A barrier is neither native nor legacy.
                Some(_) if matches!(insn, GicInsn::GSB_SYS | GicInsn::GSB_ACK) => Fate::Executes,
                Some(virt) if virt.vctlr.v3() => Fate::Undefined,
                Some(virt) if virt.traps_insn(insn) => Fate::Traps,
                Some(_) => Fate::Executes,
            },
        }
    }

    /// The register that a name means, if there is one.
    pub(crate) fn register(&self, level: Level, name: SysReg) -> Result<Register, Undefined> {
        let register = Register::named(level, name).ok_or(Undefined)?;
        let needs_el2 = level == Level::Guest || register.belongs_to_el2();
        match self.el2() {
            None if needs_el2 => Err(Undefined),
            // A legacy guest has no native register (INS-21). The feature register is no register of the interface.
            Some(virt) if level == Level::Guest && virt.vctlr.v3() && register != Register::Pfr2 => Err(Undefined),
            _ => Ok(register),
        }
    }

    // --- reads --------------------------------------------------------------------------------------------------

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

    // --- writes -------------------------------------------------------------------------------------------------

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

#[cfg(test)]
mod tests {
    use super::*;
    use gicv5_arch::Iaffid;
    use gicv5_arch::sysreg::CpuPriBits;
    use gicv5_arch::sysreg::PpiSet;
    use gicv5_arch::{Lpi, PpiBank, Spi};

    fn priority(number: u32) -> Priority {
        Priority::new(number).unwrap()
    }

    /// Only what a host has without virtualisation.
    impl Cpu {
        fn host(config: CpuConfig) -> Cpu {
            Cpu::new(config, &Switches::default(), false)
        }

        fn get(&self, name: SysReg) -> Result<u64, Undefined> {
            match self.fate_of_read(Level::Host, name) {
                Fate::Executes => Ok(self.read(self.register(Level::Host, name)?)),
                _ => Err(Undefined),
            }
        }

        fn set(&mut self, name: SysReg, value: u64) -> Result<(), Undefined> {
            match self.fate_of_write(Level::Host, name) {
                Fate::Executes if name.is_self_synchronising() => self.apply(self.register(Level::Host, name)?, value),
                Fate::Executes => self.write(self.register(Level::Host, name)?, value),
                _ => return Err(Undefined),
            }
            Ok(())
        }

        fn synchronise(&mut self) {
            while let Some((register, value)) = self.next_unsynchronised() {
                self.apply(register, value);
            }
        }

        fn take(&mut self, which: Acknowledge) -> Option<IntId> {
            self.acknowledge(HOST, which).map(|(id, _)| id)
        }
    }

    const HOST: Side = Side::Physical;

    fn cpu() -> Cpu {
        let mut cpu = Cpu::host(CpuConfig::new(Iaffid::new(0)));
        cpu.set(SysReg::ICC_CR0_EL1, 1).unwrap();
        cpu.set(SysReg::ICC_PCR_EL1, 31).unwrap();
        cpu.synchronise();
        cpu
    }

    fn enable(cpu: &mut Cpu, ppi: Ppi, at: Priority) {
        let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
        let value = PPI_PRIORITYR::new_with_raw_value(cpu.get(register).unwrap()).with_priority(ppi, at);
        cpu.set(register, value.raw_value()).unwrap();
        let enables = SysReg::icc_ppi_enabler(ppi.bank());
        cpu.set(enables, cpu.get(enables).unwrap() | ppi.mask()).unwrap();
        cpu.synchronise();
    }

    fn lpi(id: u32, at: u32) -> Option<(IrsIntId, Priority)> {
        Some((IrsIntId::Lpi(Lpi::new(id).unwrap()), priority(at)))
    }

    #[test]
    fn a_write_acts_only_after_an_isb_but_is_read_back_at_once() {
        let mut cpu = cpu();
        cpu.offer(HOST, lpi(1, 5));
        cpu.set(SysReg::ICC_CR0_EL1, 0).unwrap();
        assert_eq!(cpu.get(SysReg::ICC_CR0_EL1), Ok(0));
        assert!(cpu.signals(HOST).irq, "SYN-6");
        cpu.synchronise();
        assert!(!cpu.signals(HOST).irq, "PRI-8");
    }

    #[test]
    fn the_mask_synchronises_itself_and_lets_its_own_priority_through() {
        let mut cpu = cpu();
        cpu.offer(HOST, lpi(1, 5));
        cpu.set(SysReg::ICC_PCR_EL1, 4).unwrap();
        assert!(!cpu.signals(HOST).irq, "PRI-3");
        cpu.set(SysReg::ICC_PCR_EL1, 5).unwrap();
        assert!(cpu.signals(HOST).irq, "PRI-3");
    }

    #[test]
    fn an_equally_urgent_interrupt_does_not_preempt() {
        let mut cpu = cpu();
        cpu.offer(HOST, lpi(1, 5));
        assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Lpi(Lpi::new(1).unwrap())));
        cpu.offer(HOST, lpi(2, 5));
        assert!(!cpu.signals(HOST).irq, "PRI-4");
        assert_eq!(cpu.take(Acknowledge::Ordinary), None, "INS-1");
        cpu.offer(HOST, lpi(3, 4));
        assert!(cpu.signals(HOST).irq);
        cpu.offer(HOST, lpi(2, 5));
        cpu.drop_priority(HOST);
        assert!(cpu.signals(HOST).irq);
    }

    #[test]
    fn an_nmi_is_taken_by_one_instruction_and_everything_else_by_the_other() {
        let mut cpu = cpu();
        cpu.set_nmi(HOST, true);
        cpu.offer(HOST, lpi(1, 0));
        assert!(cpu.signals(HOST).nmi);
        assert_eq!(cpu.take(Acknowledge::Ordinary), None, "INS-2");
        assert!(cpu.take(Acknowledge::Nmi).is_some(), "INS-2");
        cpu.drop_priority(HOST);
        cpu.offer(HOST, lpi(2, 1));
        assert!(!cpu.signals(HOST).nmi);
        assert_eq!(cpu.take(Acknowledge::Nmi), None, "INS-2");
        assert!(cpu.take(Acknowledge::Ordinary).is_some(), "INS-2");
    }

    #[test]
    fn a_level_ppi_stays_pending_while_its_wire_is_high_and_software_cannot_change_that() {
        let mut cpu = cpu();
        enable(&mut cpu, Ppi::CNTV, priority(3));
        cpu.ppi_wire(Ppi::CNTV, true);
        cpu.set(SysReg::ICC_PPI_CPENDR0_EL1, u64::MAX).unwrap();
        cpu.synchronise();
        assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Ppi(Ppi::CNTV)), "PPI-4");
        cpu.drop_priority(HOST);
        assert!(!cpu.signals(HOST).irq, "active (ISM-7)");
        cpu.deactivate_ppi(HOST, Ppi::CNTV);
        assert!(cpu.signals(HOST).irq, "the wire is still high (ISM-4)");
        cpu.ppi_wire(Ppi::CNTV, false);
        assert!(!cpu.signals(HOST).irq);
        cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::CNTV.mask()).unwrap();
        cpu.synchronise();
        assert!(!cpu.signals(HOST).irq, "PPI-4");
    }

    #[test]
    fn the_software_ppi_is_an_edge() {
        let mut cpu = cpu();
        enable(&mut cpu, Ppi::SW_PPI, priority(3));
        cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
        cpu.synchronise();
        assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Ppi(Ppi::SW_PPI)));
        assert_eq!(cpu.get(SysReg::ICC_PPI_SPENDR0_EL1), Ok(0), "ISM-3");
        cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
        cpu.synchronise();
        cpu.drop_priority(HOST);
        assert!(!cpu.signals(HOST).irq, "pending and active (ISM-3)");
        cpu.deactivate_ppi(HOST, Ppi::SW_PPI);
        assert!(cpu.signals(HOST).irq, "ISM-7");
    }

    #[test]
    fn every_implemented_ppi_number_works_in_both_banks() {
        let mut config = CpuConfig::new(Iaffid::new(0));
        config.ppis = [PpiSet::new_with_raw_value(u64::MAX); 2];
        config.edge_ppis = [PpiSet::EMPTY.with(Ppi::SW_PPI), PpiSet::new_with_raw_value(u64::MAX)];
        let mut cpu = Cpu::host(config);
        cpu.set(SysReg::ICC_CR0_EL1, 1).unwrap();
        cpu.set(SysReg::ICC_PCR_EL1, 31).unwrap();
        for id in 0..128 {
            let ppi = Ppi::new(id).unwrap();
            enable(&mut cpu, ppi, priority(id % 31));
            cpu.ppi_wire(ppi, true);
            assert_eq!(cpu.hppi(HOST), Some((IntId::Ppi(ppi), priority(id % 31))), "{ppi} (PPI-1, hazard 3)");
            assert_eq!(cpu.take(Acknowledge::Ordinary), Some(IntId::Ppi(ppi)));
            cpu.drop_priority(HOST);
            cpu.ppi_wire(ppi, false);
            cpu.deactivate_ppi(HOST, ppi);
            assert_eq!(cpu.hppi(HOST), None, "{ppi}");
        }
    }

    #[test]
    fn an_unimplemented_ppi_reads_as_zero_and_ignores_writes() {
        let mut cpu = cpu();
        for bank in PpiBank::ALL {
            for register in
                [SysReg::icc_ppi_enabler(bank), SysReg::icc_ppi_sactiver(bank), SysReg::icc_ppi_spendr(bank)]
            {
                cpu.set(register, u64::MAX).unwrap();
                cpu.synchronise();
                let implemented = CpuConfig::new(Iaffid::new(0)).ppis[bank.index()].raw_value();
                assert_eq!(cpu.get(register).unwrap() & !implemented, 0, "{register} (PPI-5)");
            }
        }
        cpu.ppi_wire(Ppi::new(40).unwrap(), true);
        assert_eq!(cpu.get(SysReg::ICC_PPI_SPENDR0_EL1).unwrap() & 1 << 40, 0);
        cpu.set(SysReg::ICC_PPI_PRIORITYR5_EL1, u64::MAX).unwrap();
        cpu.synchronise();
        assert_eq!(cpu.get(SysReg::ICC_PPI_PRIORITYR5_EL1), Ok(0));
    }

    #[test]
    fn a_tie_between_a_ppi_and_the_candidate_goes_either_way_as_chosen() {
        for (tie, expected) in [(Tie::Ppi, IntId::Ppi(Ppi::SW_PPI)), (Tie::Irs, IntId::Spi(Spi::new(9).unwrap()))] {
            let mut cpu = cpu();
            cpu.tie = tie;
            enable(&mut cpu, Ppi::SW_PPI, priority(7));
            cpu.set(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask()).unwrap();
            cpu.synchronise();
            cpu.offer(HOST, Some((IrsIntId::Spi(Spi::new(9).unwrap()), priority(7))));
            assert_eq!(cpu.hppi(HOST).map(|(id, _)| id), Some(expected), "HPPI-4");
        }
    }

    #[test]
    fn four_priority_bits_drop_the_lowest() {
        let mut config = CpuConfig::new(Iaffid::new(0));
        config.pri_bits = CpuPriBits::Four;
        let mut cpu = Cpu::host(config);
        cpu.set(SysReg::ICC_PCR_EL1, 31).unwrap();
        assert_eq!(cpu.get(SysReg::ICC_PCR_EL1), Ok(30), "PRI-2");
    }

    #[test]
    fn registers_of_other_levels_and_read_only_registers_are_undefined() {
        let mut cpu = cpu();
        for register in [SysReg::ICC_PCR_EL3, SysReg::ICC_HAPR_EL1, SysReg::ICC_CR0_EL3] {
            assert_eq!(cpu.get(register), Err(Undefined));
            assert_eq!(cpu.set(register, 0), Err(Undefined));
        }
        assert_eq!(cpu.set(SysReg::ICC_IDR0_EL1, 0), Err(Undefined));
        assert_eq!(cpu.set(SysReg::ICC_PPI_HMR0_EL1, 0), Err(Undefined));
    }
}
