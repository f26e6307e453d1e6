//! What a command names: entries of tables, structures in memory, VMs and LPIs. Until it has completed, software leaves them
//! alone (LIFE-10).

use gicv5_arch::entry::{L2_VMTE, VPETE};
use gicv5_arch::geometry::IstLimits;
use gicv5_arch::irs::{
    IRS_IST_BASER, IRS_MAP_L2_ISTR, IRS_SAVE_VMR, IRS_VMAP_L2_VISTR, IRS_VMAP_L2_VMTR, IRS_VMAP_VISTR, IRS_VMAP_VMR,
    IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VPE_DBR, IRS_VPE_SELR, IrsReg,
};
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntId, IrsIntType, Lpi, PhysAddr, VmId};
use gicv5_hal::IrsIndex;

use crate::engine::state::MachineState;
use crate::parts::interrupts::Backing;
use crate::parts::irs_registers::EntryRead;
use crate::parts::irs_side::IrsSide;
use crate::parts::ist::AskedIst;
use crate::parts::vm::Described;
use crate::parts::vm_table::VmTable;
use crate::words::config::{EntryReading, IrsConfig, Switches};
use crate::words::owner::{InMemory, Owner, StructureKind};
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::Place;

/// The memory that a command names.
#[derive(Default)]
pub(super) struct Names {
    /// The entry that it makes valid.
    entry: Option<InMemory>,
    /// What the entry, or a base register, names.
    structures: Vec<InMemory>,
}

impl Names {
    fn entry([entry, structure]: [InMemory; 2]) -> Names {
        Names { entry: Some(entry), structures: vec![structure] }
    }
}

/// What commands under way name.
impl MachineState {
    /// A command that takes time names memory until it completes. Returns the entry, if the IRS reads it now.
    pub(super) fn start_naming(&mut self, irs: usize, register: IrsReg, value: u64) -> Option<EntryRead> {
        let by = (IrsIndex(irs as u16), register);
        let Names { entry, structures } = self.names(irs, register, value).unwrap_or_default();
        for named in entry.into_iter().chain(structures) {
            self.memory.name(&mut self.report, by, named);
        }
        let entry = entry.filter(|_| self.config.switches.vm_table.entry_reading == EntryReading::AtStart)?;
        let home = self.home(register);
        let mut side = self.side(home);
        side.judge_reading(entry);
        Some(EntryRead::of(&side, entry))
    }

    /// A command that has completed names nothing any more.
    pub(super) fn end_naming(&mut self, irs: usize, register: IrsReg) {
        self.memory.end_naming((IrsIndex(irs as u16), register));
    }

    /// A command acts on the entry as the IRS has read it, whatever is there now.
    pub(super) fn act_on(&mut self, register: IrsReg, entry: EntryRead) {
        let home = self.home(register);
        entry.put_back(&mut self.side(home));
    }

    /// The IRS that has the table in which a command names an entry.
    fn home(&self, register: IrsReg) -> IrsIndex {
        match (register, self.interrupts.backing(IrsIntType::Lpi)) {
            (IrsReg::IRS_MAP_L2_ISTR, Backing::Ist(ist)) => ist.irs,
            _ => self.virt.irs(),
        }
    }

    /// The memory that a command names, if it can have an effect as things stand.
    fn names(&mut self, irs: usize, register: IrsReg, value: u64) -> Option<Names> {
        let mut silent = Report::default();
        silent.checker.set_enabled(false);
        let by = match register {
            IrsReg::IRS_IST_BASER | IrsReg::IRS_VMT_BASER => IrsIndex(irs as u16),
            _ => self.home(register),
        };
        let physical = self.asked_physical_ist(irs);
        let registers = self.vmt_registers(irs);
        let table = self.virt.table;
        let side = &mut IrsSide { irs: by, memory: &mut self.memory, report: &mut silent };
        let look = Look { irs: self.config.irses.get(irs)?, switches: &self.config.switches };
        let vm_of = |vm: VmId| self.virt.vms.get(&vm);
        match register {
            IrsReg::IRS_IST_BASER if IRS_IST_BASER::new_with_raw_value(value).valid() => {
                Some(Names { entry: None, structures: look.ist(side, physical?) })
            }
            IrsReg::IRS_MAP_L2_ISTR => {
                let Backing::Ist(ist) = self.interrupts.backing(IrsIntType::Lpi) else { return None };
                let id = IRS_MAP_L2_ISTR::new_with_raw_value(value as u32).id();
                ist.unpublished_level2(side, None, id.into()).map(Names::entry)
            }
            IrsReg::IRS_VMT_BASER if IRS_VMT_BASER::new_with_raw_value(value).valid() && table.is_none() => {
                let table = registers.table(side, look.irs.idr3, look.switches.vm_table.unsupported)?;
                let mut structures = table.structures(side);
                for (vm, entry) in table.valid_entries(side) {
                    structures.extend(look.vm(side, (table, entry), vm));
                }
                Some(Names { entry: None, structures })
            }
            IrsReg::IRS_VMAP_L2_VMTR => {
                let vm = IRS_VMAP_L2_VMTR::new_with_raw_value(value).vm_id();
                table?.unpublished_level2(side, vm).map(Names::entry)
            }
            IrsReg::IRS_VMAP_VMR => {
                let command = IRS_VMAP_VMR::new_with_raw_value(value);
                let vm = command.vm_id();
                let table = table.filter(|_| command.u() == MapAction::MakeValid && vm_of(vm).is_none())?;
                let address = table.entry(side.memory, vm)?;
                let owner = Owner::vm(table.entry_owners().0, vm);
                let entry = InMemory { address, size: L2_VMTE::BYTES, owner };
                Some(Names { entry: Some(entry), structures: look.vm(side, (table, address), vm) })
            }
            IrsReg::IRS_VMAP_VPER => {
                let command = IRS_VMAP_VPER::new_with_raw_value(value);
                let vm = command.vm_id();
                let (address, vpete) = vm_of(vm)?.vpe_entry(side, command.vpe_id())?;
                let of = |address, size, structure| InMemory { address, size, owner: Owner::vm(structure, vm) };
                let entry = of(address, VPETE::BYTES, StructureKind::Vpete);
                let descriptor = vpete.vped_addr().address();
                let descriptor = of(descriptor, look.irs.vped_bytes(), StructureKind::VpeDescriptor);
                (!vpete.valid()).then(|| Names::entry([entry, descriptor]))
            }
            IrsReg::IRS_VMAP_VISTR => {
                let command = IRS_VMAP_VISTR::new_with_raw_value(value);
                let (vm, int_type) = (command.vm_id(), command.int_type().ok()?);
                let (address, word) = vm_of(vm)?.load_ist_word(side, int_type)?;
                if command.u() != MapAction::MakeValid || word.ist_valid() {
                    return None;
                }
                let owner = Owner::vm(table?.entry_owners().1, vm);
                let structures =
                    look.ist(side, AskedIst::of_word(vm, int_type, word, Place::Structure(address, owner)));
                Some(Names { entry: Some(InMemory { address, size: 8, owner }), structures })
            }
            IrsReg::IRS_VMAP_L2_VISTR => {
                let command = IRS_VMAP_L2_VISTR::new_with_raw_value(value);
                let (vm, int_type) = (command.vm_id(), command.int_type().ok()?);
                let ist = vm_of(vm)?.ist(int_type)?;
                let id = IrsIntId::from_parts(int_type, command.id());
                ist.unpublished_level2(side, Some(vm), id).map(Names::entry)
            }
            _ => None,
        }
    }

    /// Reports a VM ID that a command gives to a new VM while another, which is under way, names it.
    pub(super) fn judge_command(&mut self, register: IrsReg, value: u64) {
        let command = IRS_VMAP_VMR::new_with_raw_value(value);
        let vm = command.vm_id();
        let is_new = register == IrsReg::IRS_VMAP_VMR && command.u() == MapAction::MakeValid;
        if !is_new || self.virt.vms.contains_key(&vm) {
            return;
        }
        let mut commands = self.irses.iter().flat_map(|irs| irs.in_flight.iter().map(move |command| (irs, command)));
        let naming = commands.find(|(irs, command)| match (command.register, irs.vpe) {
            (IrsReg::IRS_VPE_SELR, _) => IRS_VPE_SELR::new_with_raw_value(command.value).vm_id() == vm,
            (IrsReg::IRS_SAVE_VMR, _) => IRS_SAVE_VMR::new_with_raw_value(command.value).vm_id() == vm,
            (IrsReg::IRS_VPE_DBR | IrsReg::IRS_VPE_CR0, Some(vpe)) => vpe.vm_id() == vm,
            _ => false,
        });
        if let Some(register) = naming.map(|(_, command)| command.register) {
            self.report.violate(rules::LIFE_10, Place::Vm(vm), 0, 0, || {
                format!("a VM is made with the ID that {register}, which is under way, names")
            });
        }
    }

    /// Reports an LPI that is given back while a command under way makes it a doorbell.
    pub(crate) fn judge_named_lpi(&mut self, lpi: Lpi) {
        let mut commands = self.irses.iter().flat_map(|irs| &irs.in_flight);
        let is_named = commands.any(|command| {
            let settings = IRS_VPE_DBR::new_with_raw_value(command.value);
            command.register == IrsReg::IRS_VPE_DBR && settings.dbv() && settings.intid() == lpi
        });
        if is_named {
            self.report.violate(rules::LIFE_10, Place::Lpi(lpi), 0, 0, || {
                "the LPI was released while a write of IRS_VPE_DBR that names it is under way".into()
            });
        }
    }
}

/// What a dry run looks at.
#[derive(Clone, Copy)]
struct Look<'a> {
    irs: &'a IrsConfig,
    switches: &'a Switches,
}

impl Look<'_> {
    fn ist(self, side: &mut IrsSide<'_>, asked: AskedIst) -> Vec<InMemory> {
        let limits = IstLimits::from_idr2(self.irs.idr2);
        limits.map_or(Vec::new(), |limits| asked.structures(side, limits, self.switches.ist))
    }

    /// What becomes the IRS's with a VM, its ISTs included (IST-3).
    fn vm(self, side: &mut IrsSide<'_>, (table, entry): (VmTable, PhysAddr), vm: VmId) -> Vec<InMemory> {
        let Some(described) = Described::read(side, (table, entry), vm, self.irs) else { return Vec::new() };
        let mut structures = described.structures(side, vm, self.irs.vped_bytes());
        for (int_type, word) in described.valid_ists() {
            let place = Place::Structure(entry, Owner::vm(table.entry_owners().1, vm));
            structures.extend(self.ist(side, AskedIst::of_word(vm, int_type, word, place)));
        }
        structures
    }
}
