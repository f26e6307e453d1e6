//! ISTs become valid and invalid: the physical one (IRS_IST_BASER, IRS_MAP_L2_ISTR) and those of VMs (IRS_VMAP_VISTR,
//! IRS_VMAP_L2_VISTR).

use gicv5_arch::entry::L2_VMTE_IST;
use gicv5_arch::geometry::IstLimits;
use gicv5_arch::irs::{IRS_MAP_L2_ISTR, IRS_VMAP_L2_VISTR, IRS_VMAP_VISTR, IrsReg};
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntId, IrsIntType, VmId};
use gicv5_hal::IrsIndex;

use crate::engine::state::MachineState;
use crate::parts::interrupts::Backing;
use crate::parts::irs_registers::{IstRegisters, frame};
use crate::parts::ist::{AskedIst, Ist};
use crate::parts::software_errors::{ErrorCode, SoftwareError};
use crate::words::event::{Outcome, Space};
use crate::words::owner::Owner;
use crate::words::violation::Place;

impl MachineState {
    /// An IST becomes valid, if the hardware can.
    fn adopt_ist(&mut self, irs: usize, by: IrsIndex, asked: AskedIst) -> Option<Ist> {
        let limits = IstLimits::from_idr2(self.config.irses.get(irs)?.idr2).ok()?;
        let switches = self.config.switches.ist;
        asked.adopt(&mut self.side(by), limits, switches)
    }

    /// Makes the level-1 entry valid that covers an interrupt, if it is not (IST-18, IST-19, LPI-2).
    fn publish_level2_ist(&mut self, irs: usize, space: Space, id: IrsIntId, ist: Ist) -> Outcome {
        let vm = match space {
            Space::Physical => None,
            Space::Vm(vm) => Some(vm),
        };
        ist.publish_level2(&mut self.side(ist.irs), vm, id).unwrap_or_else(|entry| {
            let code = ErrorCode::Level1Update;
            self.software_error(irs, SoftwareError { code, space, id: Some(id), address: Some(entry) });
            Outcome::Ignored
        })
    }

    /// The memory of an IST that is no longer valid goes back to software (IST-7).
    fn disown_ist(&mut self, ist: Ist) {
        let validity = self.config.switches.vm_table.level1;
        ist.disown(&mut self.side(ist.irs), validity);
    }
}

/// The physical IST.
impl MachineState {
    pub(super) fn adopt_physical_ist(&mut self, irs: usize) {
        let Some(asked) = self.asked_physical_ist(irs) else { return };
        if let Some(ist) = self.adopt_ist(irs, IrsIndex(irs as u16), asked) {
            self.interrupts.adopt(IrsIntType::Lpi, ist);
            self.judge_lpis("the LPIs get a new IST");
            self.judge_attributes("an IST");
        }
    }

    /// The IST that the registers describe, if there is none.
    pub(super) fn asked_physical_ist(&self, irs: usize) -> Option<AskedIst> {
        let has_lpis = self.config.irses.get(irs).is_some_and(|irs| irs.idr2.lpi());
        // An IST whose VALID was cleared without an effect is still there.
        if !has_lpis || matches!(self.interrupts.backing(IrsIntType::Lpi), Backing::Ist(_)) {
            return None;
        }
        let IstRegisters { baser, cfgr } = self.ist;
        let place = |register: IrsReg| Place::Register(frame(irs), register.offset());
        Some(AskedIst {
            vm: None,
            int_type: IrsIntType::Lpi,
            id_bits: cfgr.lpi_id_bits().into(),
            istsz: cfgr.istsz().ok(),
            structure: cfgr.structure(),
            l2sz: cfgr.l2sz().ok(),
            shape: (cfgr.raw_value().into(), place(IrsReg::IRS_IST_CFGR)),
            base: (baser.addr().address(), place(IrsReg::IRS_IST_BASER)),
        })
    }

    /// Looks for instructions under way that name LPIs (LIFE-26).
    fn judge_lpis(&mut self, what: &str) {
        self.judge_under_way(Place::Machine, what, |space, id| {
            space == Space::Physical && id.int_type() == IrsIntType::Lpi
        });
    }

    /// Clearing VALID writes everything back, recalls every LPI and gives the memory back (LPI-1, IST-5, IST-7).
    pub(super) fn withdraw_physical_ist(&mut self) {
        let Backing::Ist(ist) = self.interrupts.backing(IrsIntType::Lpi) else { return };
        self.judge_lpis("the IST of the LPIs is made invalid");
        let (interrupts, mut side) = self.physical();
        interrupts.write_back(IrsIntType::Lpi, &mut side);
        for target in self.interrupts.withdraw(IrsIntType::Lpi) {
            self.offer(target);
        }
        self.disown_ist(ist);
    }

    /// Makes the level-1 entry valid that covers an LPI (LPI-2).
    pub(super) fn map_level2(&mut self, irs: usize, command: IRS_MAP_L2_ISTR) -> Outcome {
        let Backing::Ist(ist) = self.interrupts.backing(IrsIntType::Lpi) else { return Outcome::Ignored };
        self.publish_level2_ist(irs, Space::Physical, command.id().into(), ist)
    }
}

/// The ISTs of VMs.
impl MachineState {
    /// IRS_VMAP_VISTR (IST-2, IST-4, IST-5).
    pub(super) fn map_virtual_ist(&mut self, irs: usize, command: IRS_VMAP_VISTR) -> Outcome {
        let (vm, Ok(int_type)) = (command.vm_id(), command.int_type()) else { return Outcome::Ignored };
        let known = self.has_vm_table(irs);
        let (virt, side, _) = self.vms();
        let Some(state) = virt.vms.get(&vm).filter(|_| known) else { return self.ignore_vm(irs, vm) };
        let Some((address, word)) = state.load_ist_word(&side, int_type) else { return Outcome::Ignored };
        match (command.u(), word.ist_valid()) {
            (MapAction::MakeValid, false) => {
                if self.adopt_virtual_ist(vm, int_type, word).is_none() {
                    return Outcome::Ignored;
                }
                self.vms().1.store64(address, word.with_ist_valid(true).raw_value());
            }
            (MapAction::MakeInvalid, true) => {
                let names = |space, id: IrsIntId| space == Space::Vm(vm) && id.int_type() == int_type;
                self.judge_under_way(Place::Vm(vm), "an IST of the VM is made invalid", names);
                self.write_back_ist(vm, int_type);
                self.withdraw_virtual_ist(vm, int_type);
                let (virt, mut side, _) = self.vms();
                side.store64(address, word.with_ist_valid(false).raw_value());
                if let Some(table) = virt.table {
                    side.fill(address, 8, Owner::vm(table.entry_owners().1, vm));
                }
            }
            _ => return Outcome::Ignored,
        }
        Outcome::Done
    }

    pub(super) fn adopt_virtual_ist(&mut self, vm: VmId, int_type: IrsIntType, word: L2_VMTE_IST) -> Option<()> {
        let address = self.virt.vms.get(&vm)?.ist_word(int_type)?;
        let owner = Owner::vm(self.virt.table?.entry_owners().1, vm);
        let asked = AskedIst::of_word(vm, int_type, word, Place::Structure(address, owner));
        let ist = self.adopt_ist(0, self.virt.irs(), asked)?;
        let (virt, mut side, _) = self.vms();
        side.own(address, 8, owner);
        virt.vms.get_mut(&vm)?.interrupts.adopt(int_type, ist);
        Some(())
    }

    /// The states that the IRS holds of an IST of a VM go back to memory.
    pub(super) fn write_back_ist(&mut self, vm: VmId, int_type: IrsIntType) {
        let (virt, mut side, _) = self.vms();
        if let Some(state) = virt.vms.get_mut(&vm) {
            state.interrupts.write_back(int_type, &mut side);
        }
    }

    /// An IST of a VM is given up, and its memory is software's (IST-5, IST-7).
    pub(super) fn withdraw_virtual_ist(&mut self, vm: VmId, int_type: IrsIntType) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        let Some(ist) = state.ist(int_type) else { return };
        for target in state.interrupts.withdraw(int_type) {
            self.offer_vpe(vm, target.into());
        }
        self.disown_ist(ist);
    }

    /// IRS_VMAP_L2_VISTR (IST-18, IST-19).
    pub(super) fn map_level2_virtual_ist(&mut self, irs: usize, command: IRS_VMAP_L2_VISTR) -> Outcome {
        let (vm, Ok(int_type)) = (command.vm_id(), command.int_type()) else { return Outcome::Ignored };
        let state = self.virt.vms.get(&vm).filter(|_| self.has_vm_table(irs));
        let Some(ist) = state.map(|state| state.ist(int_type)) else { return self.ignore_vm(irs, vm) };
        let Some(ist) = ist else { return Outcome::Ignored };
        self.publish_level2_ist(irs, Space::Vm(vm), IrsIntId::from_parts(int_type, command.id()), ist)
    }
}
