//! Register commands: started by a write, completed some ticks later, and what each does when it completes (GEN-16).

use crate::parts::irs_registers::{InFlight, fields, frame};

use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::irs::{
    IRS_CR0, IRS_IST_BASER, IRS_MAP_L2_ISTR, IRS_PE_SELR, IRS_SAVE_VMR, IRS_SPI_CFGR, IRS_SPI_SELR, IRS_SPI_VMR,
    IRS_VMAP_L2_VISTR, IRS_VMAP_L2_VMTR, IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VPE_CR0,
    IRS_VPE_DBR, IRS_VPE_SELR, IrsReg,
};
use gicv5_hal::IrsIndex;

use crate::engine::state::MachineState;
use crate::words::clock::Tick;
use crate::words::config::{SpiSampling, SpiStateAtAssignment};
use crate::words::event::{Event, Outcome, Space};
use crate::words::fault::{Fault, Request, Selected};
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    pub(super) fn start_command(&mut self, irs: usize, register: IrsReg, value: u64) {
        let selected = self.selected(irs, register);
        let fault = self
            .faults
            .pass(&mut self.report, Request::Command { irs: IrsIndex(irs as u16), register, value, selected });
        let without_fault = self.report.now().after(self.config.command_latency);
        let due = match fault {
            Some(Fault::Never) => Tick::NEVER,
            Some(Fault::Late(ticks)) => without_fault.after(ticks),
            _ => without_fault,
        };
        self.judge_command(register, value);
        // What completes at once is not under way.
        let entry = if due > self.report.now() { self.start_naming(irs, register, value) } else { None };
        if let Some(state) = self.irses.get_mut(irs) {
            state.commands += 1;
            let pe = self.report.actor;
            state.in_flight.push(InFlight { pe, register, value, due, without_fault, fault, entry });
        }
        self.next_command = self.next_command.min(due);
        self.report.event(|| Event::CommandStarted { irs: IrsIndex(irs as u16), register, value, due });
        self.complete_commands();
    }

    /// What a register acts on that names nothing itself.
    pub(crate) fn selected(&self, irs: usize, register: IrsReg) -> Selected {
        let Some(state) = self.irses.get(irs) else { return Selected::Nothing };
        match (register, state.spi, state.vpe) {
            (IrsReg::IRS_SPI_CFGR | IrsReg::IRS_SPI_VMR, Some(spi), _) => Selected::Spi(spi),
            (IrsReg::IRS_VPE_DBR | IrsReg::IRS_VPE_CR0, _, Some(vpe)) => Selected::Vpe(vpe.vm_id(), vpe.vpe_id()),
            _ => Selected::Nothing,
        }
    }

    /// Lets everything complete that would have.
    pub(crate) fn recover(&mut self) {
        for command in self.irses.iter_mut().flat_map(|irs| &mut irs.in_flight) {
            command.due = command.without_fault;
            self.next_command = self.next_command.min(command.due);
        }
        self.complete_commands();
    }

    /// Completes the commands that are due.
    #[inline]
    pub(super) fn complete_commands(&mut self) {
        let now = self.report.now();
        if now >= self.next_command {
            self.complete_due_commands(now);
        }
    }

    #[cold]
    fn complete_due_commands(&mut self, now: Tick) {
        let actor = self.report.actor;
        for irs in 0..self.irses.len() {
            while let Some(state) = self.irses.get_mut(irs)
                && let Some(n) = state.in_flight.iter().position(|command| command.due <= now)
            {
                let command = state.in_flight.remove(n);
                let InFlight { pe, register, value, fault, entry, .. } = command;
                self.report.actor = pe;
                self.end_naming(irs, register);
                let outcome = match fault {
                    Some(Fault::Ignored) => {
                        self.keep_validity(irs, register);
                        Outcome::Lost
                    }
                    Some(Fault::Invalid) => {
                        self.select_nothing(irs, register);
                        Outcome::Lost
                    }
                    _ => {
                        if let Some(entry) = entry {
                            self.act_on(register, entry);
                        }
                        self.complete(irs, register, value)
                    }
                };
                self.report.event(|| Event::CommandDone { irs: IrsIndex(irs as u16), register, value, outcome });
            }
        }
        self.report.actor = actor;
        let in_flight = self.irses.iter().flat_map(|irs| &irs.in_flight);
        self.next_command = in_flight.map(|command| command.due).min().unwrap_or(Tick::NEVER);
    }

    /// The VALID bit of a base register says what is, so that after a command without an effect it says what was before.
    pub(crate) fn keep_validity(&mut self, irs: usize, register: IrsReg) {
        match register {
            IrsReg::IRS_IST_BASER => self.ist.baser = self.ist.baser.with_valid(!self.ist.baser.valid()),
            IrsReg::IRS_VMT_BASER => self.keep_vmt_validity(irs),
            _ => {}
        }
    }

    /// The effect of a selection that finds nothing.
    fn select_nothing(&mut self, irs: usize, register: IrsReg) {
        let Some(state) = self.irses.get_mut(irs) else { return };
        match register {
            IrsReg::IRS_SPI_SELR => state.spi = None,
            IrsReg::IRS_PE_SELR => state.pe_valid = false,
            IrsReg::IRS_VPE_SELR => state.vpe = None,
            _ => {}
        }
    }

    /// The effect of a command.
    pub(super) fn complete(&mut self, irs: usize, register: IrsReg, value: u64) -> Outcome {
        match register {
            IrsReg::IRS_CR0 => self.set_enabled(irs, IRS_CR0::new_with_raw_value(value as u32).irsen()),
            IrsReg::IRS_SPI_SELR => {
                let spi = IRS_SPI_SELR::new_with_raw_value(value as u32).id();
                let owns = self.config.irses.get(irs).is_some_and(|irs| irs.owns(spi));
                if let Some(state) = self.irses.get_mut(irs) {
                    state.spi = owns.then_some(spi);
                }
            }
            IrsReg::IRS_PE_SELR => {
                let iaffid = IRS_PE_SELR::new_with_raw_value(value as u32).iaffid();
                let attached =
                    self.config.irses.get(irs).is_some_and(|irs| irs.pes.iter().any(|pe| pe.iaffid == iaffid));
                if let Some(state) = self.irses.get_mut(irs) {
                    state.pe_valid = attached;
                }
            }
            IrsReg::IRS_SPI_CFGR => return self.configure_spi(irs, IRS_SPI_CFGR::new_with_raw_value(value as u32)),
            IrsReg::IRS_IST_BASER => match IRS_IST_BASER::new_with_raw_value(value).valid() {
                true => self.adopt_physical_ist(irs),
                false => self.withdraw_physical_ist(),
            },
            IrsReg::IRS_MAP_L2_ISTR => return self.map_level2(irs, IRS_MAP_L2_ISTR::new_with_raw_value(value as u32)),
            IrsReg::IRS_SPI_VMR => return self.assign_spi(irs, IRS_SPI_VMR::new_with_raw_value(value)),
            IrsReg::IRS_VMT_BASER => match IRS_VMT_BASER::new_with_raw_value(value).valid() {
                true => self.adopt_vm_table(irs),
                false => self.withdraw_vm_table(irs),
            },
            IrsReg::IRS_VMAP_L2_VMTR => {
                return self.map_level2_vm_table(irs, IRS_VMAP_L2_VMTR::new_with_raw_value(value));
            }
            IrsReg::IRS_VMAP_VMR => return self.map_vm(irs, IRS_VMAP_VMR::new_with_raw_value(value)),
            IrsReg::IRS_VMAP_VISTR => return self.map_virtual_ist(irs, IRS_VMAP_VISTR::new_with_raw_value(value)),
            IrsReg::IRS_VMAP_L2_VISTR => {
                return self.map_level2_virtual_ist(irs, IRS_VMAP_L2_VISTR::new_with_raw_value(value));
            }
            IrsReg::IRS_VMAP_VPER => return self.map_vpe(irs, IRS_VMAP_VPER::new_with_raw_value(value)),
            IrsReg::IRS_VPE_SELR => {
                let selection = IRS_VPE_SELR::new_with_raw_value(value & fields(register)).with_s(false);
                let valid = self.is_vpe(irs, selection);
                if let Some(state) = self.irses.get_mut(irs) {
                    state.vpe = valid.then_some(selection);
                }
            }
            IrsReg::IRS_VPE_DBR | IrsReg::IRS_VPE_CR0 => return self.configure_vpe(irs, register, value),
            IrsReg::IRS_SAVE_VMR => {
                return self.save_vm(irs, IRS_SAVE_VMR::new_with_raw_value(value));
            }
            // What has been accepted has taken effect already (SYN-8); IRS_PE_CR0 has nothing to opt out of (RTE-3).
            _ => {}
        }
        Outcome::Done
    }

    /// The IRS starts or stops forwarding (GEN-21).
    pub(crate) fn set_enabled(&mut self, irs: usize, enabled: bool) {
        if let Some(state) = self.irses.get_mut(irs) {
            state.enabled = enabled;
        }
        let targets: Vec<_> =
            self.config.irses.get(irs).map_or(Vec::new(), |irs| irs.pes.iter().map(|pe| pe.iaffid).collect());
        for target in targets {
            self.offer(target);
            self.forward_to(target);
        }
        self.ring_all();
    }

    fn configure_spi(&mut self, irs: usize, cfgr: IRS_SPI_CFGR) -> Outcome {
        let Some(spi) = self.irses.get(irs).and_then(|state| state.spi) else { return Outcome::Ignored };
        let Some(wire) = self.wires.get_mut(spi.id() as usize) else { return Outcome::Ignored };
        if wire.trigger == cfgr.tm() {
            return Outcome::Ignored;
        }
        wire.trigger = cfgr.tm();
        self.sample(spi);
        Outcome::Done
    }

    /// Gives the selected SPI to a VM, or takes it back (SPI-9, SPI-12).
    fn assign_spi(&mut self, irs: usize, spi_vmr: IRS_SPI_VMR) -> Outcome {
        let Some(spi) = self.irses.get(irs).and_then(|state| state.spi) else { return Outcome::Ignored };
        let switches = self.config.switches.spi;
        let vm = spi_vmr.virt().then_some(spi_vmr.vm_id());
        if self.assigned(spi) == vm {
            return Outcome::Ignored;
        }
        // Whoever has had it has disabled it (SPI-11).
        let before = match self.assigned(spi) {
            Some(vm) => self.peek_virtual(vm, spi.into()),
            None => self.interrupts.peek(spi.into(), &mut self.memory).ok(),
        };
        let place = Place::Register(frame(irs), IrsReg::IRS_SPI_VMR.offset());
        if before.is_some_and(|before| before.enable()) {
            self.report.remark(rules::SPI_11, place, 0, spi_vmr.raw_value(), || {
                format!("{spi} changes hands while it is enabled")
            });
        }
        let owner = self.assigned(spi).map_or(Space::Physical, Space::Vm);
        let names = |space, id| (space, id) == (owner, spi.into());
        self.judge_under_way(place, "an SPI changes hands", names);
        // It stops being a physical interrupt; what it has been waits for its return, or is gone.
        let state = self.look_up(spi.into());
        let _ = self.update(spi.into(), |_| L2_ISTE::ZERO);
        let Some(wire) = self.wires.get_mut(spi.id() as usize) else { return Outcome::Ignored };
        if let (Ok(state), SpiStateAtAssignment::Kept) = (state, switches.state) {
            wire.kept = state;
        }
        wire.vm = vm;
        wire.left = false;
        if vm.is_none() {
            let kept = std::mem::take(&mut wire.kept);
            let _ = self.update(spi.into(), |_| kept);
        }
        if switches.sampling == SpiSampling::AtAssignment {
            self.sample(spi);
        }
        Outcome::Done
    }

    /// Writes a setting of the selected VPE, if it is still valid (VPE-13).
    fn configure_vpe(&mut self, irs: usize, register: IrsReg, value: u64) -> Outcome {
        let selected = self.irses.get(irs).and_then(|state| state.vpe).filter(|vpe| self.is_vpe(irs, *vpe));
        if let Some(state) = self.irses.get_mut(irs) {
            state.vpe = selected;
        }
        match (register, selected) {
            (IrsReg::IRS_VPE_DBR, Some(vpe)) => {
                let settings = IRS_VPE_DBR::new_with_raw_value(value & fields(register));
                let place = Place::Register(frame(irs), register.offset());
                if settings.dbv() {
                    self.lpis.judge_doorbell(&mut self.report, place, settings);
                }
                self.set_vpe_dbr(vpe, settings, place)
            }
            (IrsReg::IRS_VPE_CR0, Some(selected)) => {
                self.set_vpe_cr0(selected, IRS_VPE_CR0::new_with_raw_value(value as u32))
            }
            _ => Outcome::Ignored,
        }
    }
}
