//! An independent judge of a run.
//!
//! The judge sees what can be observed of the machine ([`Event`]) and nothing else: not the scenario, not the engine that
//! runs it, not the state of the model, not what the library believes. From the instructions that make an interrupt pending
//! it follows by itself what must arrive, and holds what guests acknowledge against it.
//!
//! # Theory of operation
//!
//! Whether an interrupt may be delivered depends on what is known about it: pending, enabled, active, its target and
//! priority. Each of these is changed by an instruction, which takes effect some time between the instruction and the next
//! `GSB SYS` on the same PE (SYN-1). So the judge does not know a value but the values there may be: the one that is
//! settled, and those of instructions whose effect may or may not have come. An acknowledge is wrong if it is impossible
//! under all of them; an interrupt is lost if it should have been delivered under all of them.
//!
//! What it holds a run to:
//!
//! - an interrupt is acknowledged only if an event of its VM made it pending, by the VPE it is routed to, while it is
//!   enabled and not active (HPPI-1, ISM-7, RTE-1, INJ-10), and while its priority passes mask and running priority (PRI-3,
//!   PRI-4): nothing twice, nothing to the wrong VM;
//! - a doorbell rings only for a VPE that is not resident, has been put with a request, and has something to be woken for,
//!   and once for each request (DB-1, DB-4);
//! - a VPE is resident on one PE, and a PE has one resident VPE (RES-4);
//! - a guest drops a priority and deactivates an interrupt only if it has taken one (PRI-6, ISM-6), and the host takes no LPI
//!   that neither a doorbell nor an IPI made pending (ISM-12);
//! - when nothing happens any more ([`Judge::quiet`]), nothing is left that should have been delivered: no edge, no level
//!   that is still high, and no VPE sleeps that has something to be woken for (DB-3, ISM-4); and nothing is left that no VPE can
//!   ever take: because its interrupt is active and no handler will deactivate it (ISM-7), because it is routed to a VPE that
//!   its VM does not have (RTE-4), or because a priority holds it back that no handler will drop (PRI-4). What the guest
//!   itself holds back, by a mask, a disabled interrupt or a disabled CPU interface, is left as it wants.

mod known;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use gicv5_arch::insn::{
    AcknowledgeResult, AffinityOperand, DeactivateOperand, GicInsn, HandlingModeOperand, IntIdOperand, PendingOperand,
    PriorityOperand, VmPendingOperand,
};
use gicv5_arch::irs::{IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VPE_DBR, IRS_VPE_SELR, IrsReg};
use gicv5_arch::sysreg::{APR, ICC_CR0_EL1, ICH_CONTEXTR_EL2, PCR, SysReg};
use gicv5_arch::values::{HandlingMode, MapAction};
use gicv5_arch::{IntId, IrsIntId, Lpi, VmId, VpeId};
use gicv5_model::Level;
use gicv5_model::PeIndex;
use gicv5_model::clock::Tick;
use gicv5_model::event::{Event, Outcome};

use known::{Interrupt, Pend, Request, Vpe};

/// More findings are counted and not kept.
const KEPT: usize = 100;

/// What is known about a VM.
#[derive(Clone, Debug, Default)]
struct Vm {
    interrupts: BTreeMap<IrsIntId, Interrupt>,
    vpes: BTreeMap<VpeId, Vpe>,
}

/// What is known about a PE.
#[derive(Clone, Debug)]
struct Pe {
    level: Level,
    resident: Option<(VmId, VpeId)>,
    /// Interrupts that an instruction of this PE may not have reached yet.
    touched: Vec<(VmId, IrsIntId)>,
}

/// Something that should not have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) tick: Tick,
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

/// Why an interrupt is pending though nothing happens any more.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// Its target could take it, and has not.
    NotTaken,
    /// It is active, and no handler runs that would deactivate it.
    NeverDeactivated {
        /// Who took it.
        by: VpeId,
        /// Whether that VPE has begun anew since.
        begun: bool,
    },
    /// It is routed to a VPE that is not there.
    NoTarget,
    /// The running priority of its target holds it back, and no handler runs that would drop it.
    NeverDropped,
}

impl Left {
    /// `None` if it is not pending, or the guest holds it back.
    fn of(interrupt: &Interrupt, vpes: &BTreeMap<VpeId, Vpe>) -> Option<Left> {
        if interrupt.pend != Pend::Yes || !interrupt.enabled.settled {
            return None;
        }
        let target = interrupt.target.settled;
        if interrupt.active.settled {
            let (when, by) = interrupt.taken.unwrap_or((Tick(0), target));
            let begun = vpes.get(&by).and_then(|vpe| vpe.begun).is_some_and(|begun| begun > when);
            return Some(Left::NeverDeactivated { by, begun });
        }
        let Some(vpe) = vpes.get(&target) else { return Some(Left::NoTarget) };
        let priority = interrupt.priority.settled;
        match (vpe.is_open_to(priority), vpe.lets(priority)) {
            (_, true) => Some(Left::NotTaken),
            (true, false) => Some(Left::NeverDropped),
            (false, false) => None,
        }
    }
}

/// The judge.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    vms: HashMap<VmId, Vm>,
    pes: BTreeMap<PeIndex, Pe>,
    findings: Vec<Finding>,
    count: u64,
    /// Of VMs that are gone as far as merged events go.
    counts: Counts,
    /// The LPIs that doorbells have made pending and the host has not taken.
    rung: HashSet<Lpi>,
    /// The LPIs that the host sends itself.
    ipis: HashSet<Lpi>,
    /// The VPE whose settings IRS_VPE_DBR names.
    selected: Option<(VmId, VpeId)>,
    /// All that it was told.
    #[cfg(test)]
    pub(crate) heard: Vec<Heard>,
}

/// What a judge is told.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Event(Tick, Event),
    Quiet(Tick),
}

/// What the judge has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) injected: u64,
    pub(crate) delivered: u64,
    /// Events that found their interrupt pending. Only edges can.
    pub(crate) merged: u64,
    pub(crate) doorbells: u64,
    /// Pending when nothing happened any more, and deliverable.
    pub(crate) undelivered: u64,
    /// Pending when their VM was destroyed.
    pub(crate) discarded: u64,
}

impl Judge {
    /// What it has found wrong, the first ones, and how many there were.
    pub(crate) fn findings(&self) -> (&[Finding], u64) {
        (&self.findings, self.count)
    }

    pub(crate) fn counts(&self) -> Counts {
        let live = self.vms.values().flat_map(|vm| vm.interrupts.values()).map(Interrupt::merged);
        Counts { merged: self.counts.merged + live.sum::<u64>(), ..self.counts }
    }

    fn find(&mut self, tick: Tick, rule: &'static str, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.findings.len() < KEPT {
            self.findings.push(Finding { tick, rule, what: what() });
        }
    }

    fn pe(&mut self, pe: PeIndex) -> &mut Pe {
        self.pes.entry(pe).or_insert(Pe { level: Level::Host, resident: None, touched: Vec::new() })
    }

    /// The PE where a VPE is resident.
    fn where_is(&self, vm: VmId, vpe: VpeId) -> Option<PeIndex> {
        self.pes.iter().find(|(_, pe)| pe.resident == Some((vm, vpe))).map(|(pe, _)| *pe)
    }

    fn interrupt(&mut self, vm: VmId, id: IrsIntId) -> Option<&mut Interrupt> {
        Some(self.vms.get_mut(&vm)?.interrupts.entry(id).or_insert_with(Interrupt::new))
    }

    /// An instruction of a PE will change an interrupt.
    fn touch(&mut self, pe: PeIndex, vm: VmId, id: IrsIntId, change: impl FnOnce(&mut Interrupt)) {
        if let Some(interrupt) = self.interrupt(vm, id) {
            change(interrupt);
            self.pe(pe).touched.push((vm, id));
        }
    }

    /// Takes notice of what happens next.
    pub(crate) fn event(&mut self, tick: Tick, event: &Event) {
        #[cfg(test)]
        self.heard.push(Heard::Event(tick, event.clone()));
        match *event {
            Event::Level { pe, level } => self.pe(pe).level = level,
            Event::Residency { pe, vm, vpe, resident } => self.residency(tick, pe, vm, vpe, resident),
            Event::SysRegWrite { pe, register, value } => self.sysreg(tick, pe, register, value),
            Event::Instruction { pe, insn, xt, result } => self.instruction(tick, pe, insn, xt, result),
            Event::Doorbell { vm, vpe, lpi } => {
                self.rung.insert(lpi);
                self.doorbell(tick, vm, vpe);
            }
            Event::FrameWrite { offset, value, .. } if offset == IrsReg::IRS_VPE_SELR.offset() => {
                let selection = IRS_VPE_SELR::new_with_raw_value(value);
                self.selected = Some((selection.vm_id(), selection.vpe_id()));
            }
            Event::CommandDone { register, value, outcome: Outcome::Done, .. } => self.command(register, value),
            _ => {}
        }
    }

    fn command(&mut self, register: IrsReg, value: u64) {
        match register {
            IrsReg::IRS_VMAP_VMR => {
                let command = IRS_VMAP_VMR::new_with_raw_value(value);
                // Whatever was there under this VM ID is gone, whether it is to be valid or not.
                if let Some(vm) = self.vms.remove(&command.vm_id()) {
                    self.discard(&vm);
                }
                if command.u() == MapAction::MakeValid {
                    self.vms.insert(command.vm_id(), Vm::default());
                }
            }
            IrsReg::IRS_VMT_BASER if !IRS_VMT_BASER::new_with_raw_value(value).valid() => {
                for vm in std::mem::take(&mut self.vms).into_values() {
                    self.discard(&vm);
                }
            }
            IrsReg::IRS_VMAP_VPER => {
                let command = IRS_VMAP_VPER::new_with_raw_value(value);
                if let Some(vm) = self.vms.get_mut(&command.vm_id()) {
                    vm.vpes.entry(command.vpe_id()).or_default();
                }
            }
            IrsReg::IRS_VPE_DBR => {
                let settings = IRS_VPE_DBR::new_with_raw_value(value);
                if settings.req_db()
                    && let Some((vm, vpe)) = self.selected
                    && let Some(vm) = self.vms.get_mut(&vm)
                {
                    vm.vpes.entry(vpe).or_default().request = Some(Request { mask: settings.dbpm() });
                }
            }
            _ => {}
        }
    }

    /// A VM is gone, and what was pending in it.
    fn discard(&mut self, vm: &Vm) {
        for interrupt in vm.interrupts.values() {
            let mut interrupt = interrupt.clone();
            interrupt.settle(|_| true);
            self.counts.discarded += u64::from(interrupt.pend == Pend::Yes);
            self.counts.merged += interrupt.merged();
        }
    }

    fn residency(&mut self, tick: Tick, pe: PeIndex, vm: VmId, vpe: VpeId, resident: bool) {
        let before = self.pe(pe).resident;
        if resident {
            if let Some((other, whose)) = before.filter(|before| *before != (vm, vpe)) {
                self.find(tick, "RES-4", || format!("{vpe} of {vm} is resident on {pe}, where {whose} of {other} is"));
            }
            if let Some(other) = self.where_is(vm, vpe).filter(|other| *other != pe) {
                self.find(tick, "RES-4", || format!("{vpe} of {vm} is resident on {pe} and on {other}"));
            }
            self.pe(pe).resident = Some((vm, vpe));
            if let Some(vm) = self.vms.get_mut(&vm) {
                // An unused request ends here (DB-18).
                vm.vpes.entry(vpe).or_default().request = None;
            }
        } else if before == Some((vm, vpe)) {
            self.pe(pe).resident = None;
        }
    }

    fn sysreg(&mut self, tick: Tick, pe: PeIndex, register: SysReg, value: u64) {
        let Pe { level, resident, .. } = self.pe(pe);
        let (level, Some((vm, vpe))) = (*level, *resident) else { return };
        let Some(vm) = self.vms.get_mut(&vm) else { return };
        let vpe = vm.vpes.entry(vpe).or_default();
        match (level, register) {
            (Level::Guest, SysReg::ICC_CR0_EL1) => vpe.enabled = ICC_CR0_EL1::new_with_raw_value(value).en(),
            (Level::Guest, SysReg::ICC_APR_EL1) => {
                vpe.active = Some(APR::new_with_raw_value(value).p());
                // Only a guest that begins does so.
                vpe.begun = Some(tick);
            }
            (Level::Guest, SysReg::ICC_PCR_EL1) => vpe.mask = Some(PCR::new_with_raw_value(value).priority()),
            (Level::Host, SysReg::ICH_CONTEXTR_EL2) => {
                let context = ICH_CONTEXTR_EL2::new_with_raw_value(value);
                // The request belongs to the VPE that leaves (RES-5).
                if !context.v() && context.db() {
                    vpe.request = Some(Request { mask: context.dbpm() });
                }
            }
            _ => {}
        }
    }

    fn instruction(&mut self, tick: Tick, pe: PeIndex, insn: GicInsn, xt: u64, result: u64) {
        let Pe { level, resident, .. } = self.pe(pe);
        let (level, resident) = (*level, *resident);
        if insn == GicInsn::GSB_SYS {
            for (vm, id) in std::mem::take(&mut self.pe(pe).touched) {
                if let Some(interrupt) = self.vms.get_mut(&vm).and_then(|vm| vm.interrupts.get_mut(&id)) {
                    interrupt.settle(|of| of == pe);
                }
            }
            return;
        }
        if insn == GicInsn::GIC_VDPEND {
            let operand = VmPendingOperand::new_with_raw_value(xt);
            if let Some(id) = operand.int_id() {
                let pending = operand.pending();
                self.counts.injected += u64::from(pending);
                self.touch(pe, operand.vm(), id, |interrupt| interrupt.event(pe, pending));
            }
            return;
        }
        if level == Level::Host {
            self.host_instruction(tick, pe, insn, xt, result);
        }
        let Some((vm, vpe)) = resident else {
            if level == Level::Guest && insn == GicInsn::GICR_CDIA && result != 0 {
                self.find(tick, "RES-6", || {
                    format!("an acknowledge on {pe}, where no VPE is resident, got {result:#x}")
                });
            }
            return;
        };
        let virtual_domain = level == Level::Guest;
        match insn {
            GicInsn::GICR_CDIA | GicInsn::GICR_CDNMIA if virtual_domain => {
                if let Some(id) = AcknowledgeResult::new_with_raw_value(result).int_id() {
                    self.acknowledged(tick, vm, vpe, id);
                }
            }
            GicInsn::GIC_CDEOI if virtual_domain => {
                let Some(guest) = self.vms.get_mut(&vm).map(|vm| vm.vpes.entry(vpe).or_default()) else { return };
                let before = guest.active();
                guest.active = Some(before.drop_running());
                if before.raw_value() == 0 {
                    self.find(tick, "PRI-6", || format!("{vpe} of {vm} dropped a priority, and had taken nothing"));
                }
            }
            GicInsn::GIC_CDPEND if virtual_domain => {
                let operand = PendingOperand::new_with_raw_value(xt);
                if let Some(id) = operand.int_id() {
                    let pending = operand.pending();
                    self.counts.injected += u64::from(pending);
                    self.touch(pe, vm, id, |interrupt| interrupt.event(pe, pending));
                }
            }
            GicInsn::GIC_CDEN | GicInsn::GIC_CDDIS if virtual_domain => {
                self.enable(pe, vm, xt, insn == GicInsn::GIC_CDEN);
            }
            GicInsn::GIC_VDEN | GicInsn::GIC_VDDIS => self.enable(pe, vm, xt, insn == GicInsn::GIC_VDEN),
            GicInsn::GIC_CDPRI if virtual_domain => self.prioritise(pe, vm, xt),
            GicInsn::GIC_VDPRI => self.prioritise(pe, vm, xt),
            GicInsn::GIC_CDAFF if virtual_domain => self.route(pe, vm, xt),
            GicInsn::GIC_VDAFF => self.route(pe, vm, xt),
            GicInsn::GIC_CDHM if virtual_domain => self.handle(pe, vm, xt),
            GicInsn::GIC_VDHM => self.handle(pe, vm, xt),
            GicInsn::GIC_CDDI if virtual_domain => self.deactivate(tick, pe, (vm, vpe), xt),
            GicInsn::GIC_VDDI => self.deactivate(tick, pe, (vm, vpe), xt),
            _ => {}
        }
    }

    fn enable(&mut self, pe: PeIndex, vm: VmId, xt: u64, enabled: bool) {
        if let Some(id) = IntIdOperand::new_with_raw_value(xt).int_id() {
            self.touch(pe, vm, id, |interrupt| interrupt.enabled.write(pe, enabled));
        }
    }

    fn prioritise(&mut self, pe: PeIndex, vm: VmId, xt: u64) {
        let operand = PriorityOperand::new_with_raw_value(xt);
        if let Some(id) = operand.int_id() {
            self.touch(pe, vm, id, |interrupt| interrupt.priority.write(pe, operand.priority()));
        }
    }

    fn route(&mut self, pe: PeIndex, vm: VmId, xt: u64) {
        let operand = AffinityOperand::new_with_raw_value(xt);
        if let Some(id) = operand.int_id() {
            let target = VpeId::new(operand.iaffid().raw_value());
            self.touch(pe, vm, id, |interrupt| interrupt.target.write(pe, target));
        }
    }

    fn handle(&mut self, pe: PeIndex, vm: VmId, xt: u64) {
        let operand = HandlingModeOperand::new_with_raw_value(xt);
        if let Some(id) = operand.int_id() {
            self.touch(pe, vm, id, |interrupt| {
                interrupt.mode.write(pe, operand.hm());
                interrupt.edges &= operand.hm() == HandlingMode::Edge;
            });
        }
    }

    fn deactivate(&mut self, tick: Tick, pe: PeIndex, (vm, vpe): (VmId, VpeId), xt: u64) {
        let Some(id) = DeactivateOperand::new_with_raw_value(xt).int_id().and_then(|id| IrsIntId::try_from(id).ok())
        else {
            return;
        };
        let mut was_active = true;
        self.touch(pe, vm, id, |interrupt| {
            was_active = interrupt.active.may(|active| active);
            interrupt.active.write(pe, false);
        });
        if !was_active {
            self.find(tick, "ISM-6", || format!("{vpe} of {vm} deactivated {id}, which nobody had taken"));
        }
    }

    /// What the host does with its own interrupts.
    fn host_instruction(&mut self, tick: Tick, pe: PeIndex, insn: GicInsn, xt: u64, result: u64) {
        match insn {
            GicInsn::GIC_CDPEND => {
                let operand = PendingOperand::new_with_raw_value(xt);
                if let Some(IrsIntId::Lpi(lpi)) = operand.int_id() {
                    match operand.pending() {
                        true => self.ipis.insert(lpi),
                        false => self.rung.remove(&lpi),
                    };
                }
            }
            GicInsn::GICR_CDIA | GicInsn::GICR_CDNMIA => {
                if let Some(IntId::Lpi(lpi)) = AcknowledgeResult::new_with_raw_value(result).int_id()
                    && !self.rung.remove(&lpi)
                    && !self.ipis.contains(&lpi)
                {
                    self.find(tick, "ISM-12", || format!("the host took {lpi} on {pe}, and nothing made it pending"));
                }
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, tick: Tick, vm: VmId, vpe: VpeId, id: IntId) {
        self.counts.delivered += 1;
        let Ok(id) = IrsIntId::try_from(id) else {
            return self.find(tick, "PPI-18", || format!("{vpe} of {vm} took {id}, which nobody drives"));
        };
        let Some(state) = self.vms.get_mut(&vm) else {
            return self.find(tick, "RES-3", || format!("{vpe} of {vm} took {id}, and there is no such VM"));
        };
        let guest = state.vpes.entry(vpe).or_default();
        let interrupt = state.interrupts.entry(id).or_insert_with(Interrupt::new);
        let wrong = if !interrupt.may_be_pending() {
            Some(("ISM-12", "though nothing made it pending since it was last taken"))
        } else if !interrupt.target.may(|target| target == vpe) {
            Some(("RTE-1", "which is routed to another VPE"))
        } else if !interrupt.enabled.may(|enabled| enabled) {
            Some(("HPPI-1", "which is disabled"))
        } else if !interrupt.active.may(|active| !active) {
            Some(("ISM-7", "which is active"))
        } else if !interrupt.priority.may(|priority| guest.lets(priority)) {
            Some(("PRI-3", "though mask or running priority hold it back"))
        } else {
            None
        };
        interrupt.take(tick, vpe);
        guest.active =
            Some(guest.active().activate(
                interrupt.priority.flying.last().map_or(interrupt.priority.settled, |(_, priority)| *priority),
            ));
        if let Some((rule, why)) = wrong {
            self.find(tick, rule, || format!("{vpe} of {vm} took {id}, {why}"));
        }
    }

    fn doorbell(&mut self, tick: Tick, vm: VmId, vpe: VpeId) {
        self.counts.doorbells += 1;
        if let Some(pe) = self.where_is(vm, vpe) {
            self.find(tick, "DB-1", || format!("the doorbell of {vpe} of {vm} rang while it is resident on {pe}"));
        }
        let Some(state) = self.vms.get_mut(&vm) else {
            return self.find(tick, "DB-25", || format!("the doorbell of {vpe} of {vm} rang, and there is no such VM"));
        };
        let guest = state.vpes.entry(vpe).or_default();
        let Some(request) = guest.request.take() else {
            return self
                .find(tick, "DB-4", || format!("the doorbell of {vpe} of {vm} rang, and nobody had asked for it"));
        };
        let reason = state.interrupts.values().any(|interrupt| {
            interrupt.may_be_pending()
                && interrupt.target.may(|target| target == vpe)
                && interrupt.enabled.may(|enabled| enabled)
                && interrupt.active.may(|active| !active)
                && interrupt.priority.may(|priority| priority.passes(request.mask))
        });
        if !reason {
            self.find(tick, "DB-1", || {
                format!("the doorbell of {vpe} of {vm} rang, and it has nothing to be woken for")
            });
        }
    }

    /// Somebody says that nothing happens any more: all effects have come, no PE has anything to do. Then nothing may be left
    /// that should have been delivered.
    pub(crate) fn quiet(&mut self, tick: Tick) {
        #[cfg(test)]
        self.heard.push(Heard::Quiet(tick));
        let resident: Vec<(VmId, VpeId)> = self.pes.values().filter_map(|pe| pe.resident).collect();
        let mut left = Vec::new();
        let mut vms: Vec<_> = self.vms.iter_mut().collect();
        vms.sort_by_key(|(id, _)| **id);
        for (vm, state) in vms {
            for (id, interrupt) in &mut state.interrupts {
                interrupt.settle(|_| true);
                if let Some(why) = Left::of(interrupt, &state.vpes) {
                    left.push((*vm, interrupt.target.settled, *id, why));
                }
            }
        }
        for pe in self.pes.values_mut() {
            pe.touched.clear();
        }
        for (vm, vpe, id, why) in left {
            self.counts.undelivered += 1;
            let (rule, because) = match why {
                Left::NotTaken if resident.contains(&(vm, vpe)) => {
                    ("HPPI-1", format!("{vpe}, which runs, has not taken it"))
                }
                Left::NotTaken => ("DB-3", format!("{vpe} sleeps: a wake-up was lost")),
                Left::NeverDeactivated { by, begun: false } => (
                    "ISM-7",
                    format!("active: {by} took it and never deactivated it, so that no VPE can take it again"),
                ),
                Left::NeverDeactivated { by, begun: true } => {
                    let what = "has begun anew since without deactivating it, so that no VPE can take it again";
                    ("ISM-7", format!("active: {by} took it, and {what}"))
                }
                Left::NoTarget => ("RTE-4", format!("routed to {vpe}, which the VM does not have")),
                Left::NeverDropped => ("PRI-4", format!("held back by a priority that {vpe} never dropped")),
            };
            self.find(tick, rule, || format!("{id} of {vm} is pending, and {because}"));
        }
    }
}
