//! The CPU interface of one PE: a physical one, and a virtual one where there is virtualisation.
//!
//! The IRS offers an interface one candidate; the interface weighs it against its own PPIs and applies enable, mask and
//! running priority to the winner (HPPI-3). Both sides are the same [`Interface`]; nothing in it knows where the candidate
//! came from. They differ in what competes ([`Cpu::contest`]): the virtual side has a candidate of the IRS only while a VPE is
//! resident (HPPI-7), leaves it out under IRICHPPIDIS (RES-12), and takes the pending bit of a directly injected PPI from the
//! physical side (PPI-7).
//!
//! A register write acts when it is synchronised. Writes wait in the order of the program; the machine lets them act,
//! because a write of ICH_CONTEXTR_EL2 asks the IRS ([`crate::engine::residency`]).

mod access;
mod el2;
mod fates;
mod interface;
mod registers;

use crate::words::cpu::{Contenders, CpuConfig, Signals};
use std::collections::VecDeque;

use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::{IntId, IrsIntId, Ppi, Priority};

pub(crate) use el2::{SinceEntry, VirtualCpu};
pub(crate) use interface::Acknowledge;
pub(crate) use interface::Ppis;
use interface::{Bits, Contest, Interface, assign, bank, test};
pub(crate) use registers::{Register, Side};

use crate::words::config::{HiddenPpi, PpisAlone, Switches, Tie, VirtualEnable};

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
    alone: PpisAlone,
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
            alone: switches.residency.alone,
            unsynchronised: VecDeque::new(),
        }
    }

    pub(crate) fn config(&self) -> &CpuConfig {
        &self.config
    }

    /// Whether interrupts of the physical domain are signalled at all.
    pub(crate) fn is_on(&self) -> bool {
        self.physical.enabled
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
        // No virtual HPPI beside the legacy interface (INS-21).
        if !self.has_virtual_domain(virt) || !on || virt.vctlr.v3() {
            return None;
        }
        // The IRS has candidates for the resident VPE only (HPPI-7).
        let irs = virt.interface.offered.filter(|_| virt.resident.is_some() && !virt.context.irichppidis());
        Some(Contest { ppis: self.signalled_ppis(virt), irs, tie: self.tie })
    }

    /// Whether something can be signalled in the virtual domain: to the resident VPE, or from PPIs alone (HPPI-7).
    fn has_virtual_domain(&self, virt: &VirtualCpu) -> bool {
        virt.resident.is_some() || self.alone == PpisAlone::Compete
    }

    /// Whether a drop or a deactivation of a PPI in the virtual domain finds somebody to act for (RES-6).
    pub(crate) fn acts_virtually(&self) -> bool {
        self.virt.as_deref().is_some_and(|virt| self.has_virtual_domain(virt))
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

    /// The wire of a PPI changed.
    pub(crate) fn ppi_wire(&mut self, ppi: Ppi, high: bool) {
        self.physical.ppis.pending = self.pending_with_wire(ppi, high);
        if test(&self.physical.ppis.implemented, ppi) {
            assign(&mut self.wires, ppi, high);
        }
    }

    /// The pending bits of the physical PPIs with the wire of one at this level. A level PPI is pending as long as its wire is
    /// high, an edge PPI from the rise on (PPI-4).
    fn pending_with_wire(&self, ppi: Ppi, high: bool) -> Bits {
        let ppis = &self.physical.ppis;
        let rises = high && !test(&self.wires, ppi);
        let mut pending = ppis.pending;
        if test(&ppis.implemented, ppi) && (rises || !test(&ppis.edge, ppi)) {
            assign(&mut pending, ppi, high);
        }
        pending
    }

    /// What would compete in the physical domain with the wire of a PPI at this level.
    pub(crate) fn if_ppi_wire(&self, ppi: Ppi, high: bool) -> Contenders {
        let Interface { offered, .. } = &self.physical;
        let contest = Contest { ppis: self.pending_with_wire(ppi, high), irs: *offered, tie: self.tie };
        Contenders { ppi: self.physical.ppi_candidate(&contest), hppi: self.physical.hppi(&contest) }
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
}

#[cfg(test)]
mod tests;
