//! The IRS's virtual side: the VM table, VMs, VPEs, their interrupts and their doorbells.
//!
//! A VM, a VPE or an IST becomes valid by a command that names it. The IRS then reads the entry once, sets its valid bit
//! and keeps what it has read: it never looks at the entry again until it is invalid (VMT-19). From then on the memory behind
//! it is the IRS's (VM-5), and it goes back when the structure that encloses it becomes invalid (VM-6, IST-7).
//!
//! # Doorbells
//!
//! Whether a doorbell rings is a question about the present state (DB-1, DB-2): the VPE is valid and resident nowhere, its
//! settings are valid, one was asked for, and its most urgent candidate passes the mask. The question is asked again after
//! everything that could change the answer; the queues of [`Interrupts`] make it cheap. Ringing uses the request up (DB-4)
//! and is an ordinary edge of a physical LPI (DB-13), after which the IRS forgets it: it is never withdrawn (DB-17).

use std::collections::BTreeSet;

use gicv5_arch::entry::{L1_VMTE, L2_ISTE, L2_VMTE, L2_VMTE_IST, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::{TableIndex, VmTableGeometry, VpeTableGeometry, VpeTableLimits};
use gicv5_arch::irs::{
    IRS_SAVE_VM_STATUSR, IRS_SAVE_VMR, IRS_VMAP_L2_VISTR, IRS_VMAP_L2_VMTR, IRS_VMAP_VISTR, IRS_VMAP_VMR,
    IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VMT_CFGR, IRS_VPE_CR0, IRS_VPE_DBR, IRS_VPE_HPPIR, IRS_VPE_SELR, IrsReg,
};
use gicv5_arch::values::{Domain, HandlingMode, Levels, MapAction, Structure};
use gicv5_arch::{Iaffid, IntId, IrsIntId, IrsIntType, Lpi, PhysAddr, Priority, VmId, VpeId};
use gicv5_hal::{Frame, IrsIndex};

use crate::engine::ist_memory::{AskedIst, IstOwners};
use crate::engine::machine::MachineState;
use crate::parts::id_map::IdMap;
use crate::parts::interrupts::{Backing, Change, Interrupts, Ist, Unreachable, WritingBack};
use crate::words::config::{
    DirtyDescriptor, Disturbance, DoorbellMask, DoorbellsOfDisabledIrs, EndOfStates, InvalidTarget, IstValid,
    Level1Valid, LiveRegisters, MergedDoorbell, ReqDbReads, RequestAtCr0, RequestAtRewrite, RequestMask,
    RequestWhileResident, SaveVerdict, SettingsWhileResident, UnsupportedVmTable, VmTableProgramming, VpeDps, VpeHppir,
    VpeState, VpeValid, WithoutDbv,
};
use crate::words::event::{Event, Outcome, Space};
use crate::words::ids::PeIndex;
use crate::words::owner::{Owner, StructureKind};
use crate::words::rules::{self, RuleId};
use crate::words::violation::Place;
use gicv5_random::Rng;

/// The VM table as it was when it became valid, and what is behind it. It is the same for all IRSs of the domain (GEN-13).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Virtual {
    table: Option<VmTable>,
    vms: IdMap<VmId, Vm>,
    /// Each LPI that valid settings name, and the VPE whose settings those are.
    doorbells: BTreeSet<(Lpi, VmId, VpeId)>,
}

impl Virtual {
    /// The VPEs that an LPI is the doorbell of: one, if software keeps to DB-14.
    pub(crate) fn rung_by(&self, lpi: Lpi) -> impl Iterator<Item = (VmId, VpeId)> {
        let all = (lpi, VmId::new(0), VpeId::new(0))..=(lpi, VmId::new(u16::MAX), VpeId::new(u16::MAX));
        self.doorbells.range(all).map(|(_, vm, vpe)| (*vm, *vpe))
    }

    /// A VPE's settings name an LPI no longer.
    fn forget_doorbell(&mut self, vm: VmId, vpe: VpeId, settings: IRS_VPE_DBR) {
        if settings.dbv() {
            self.doorbells.remove(&(settings.intid(), vm, vpe));
        }
    }
}

/// What an IRS has been told about the VM table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct VmtRegisters {
    pub(crate) baser: IRS_VMT_BASER,
    pub(crate) cfgr: IRS_VMT_CFGR,
    /// The table that it was given is valid.
    adopted: bool,
}

/// A VM table that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct VmTable {
    /// The IRS that owns it, and everything behind it: the first that was given it.
    irs: IrsIndex,
    base: PhysAddr,
    geometry: VmTableGeometry,
}

/// A VM that is valid.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Vm {
    /// Its entry in the VM table.
    entry: PhysAddr,
    vpet: PhysAddr,
    vpet_geometry: VpeTableGeometry,
    /// Its VM descriptor and the descriptor's size.
    descriptor: Option<(PhysAddr, u64)>,
    /// The descriptor was as it has to be when the VM became valid (VM-11).
    descriptor_was_clean: bool,
    vpes: IdMap<VpeId, Vpe>,
    interrupts: Interrupts,
    /// No interrupt of the VM has changed since it was last saved (SAVE-2), and software sees its ISTs.
    quiescent: bool,
    /// What the IRS does with the VM by chance comes from this.
    rng: Rng,
}

/// A VPE that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vpe {
    descriptor: PhysAddr,
    settings: IRS_VPE_DBR,
    /// IRS_VPE_CR0.DPS, which has no effect without 1-of-N.
    dps: bool,
    /// The IRS selects candidates for it (VPE-8).
    selects: bool,
    /// The mask of the doorbell that is asked for, if one is (DB-5, DB-10).
    pub(crate) requested: Option<Priority>,
    /// IRICHPPIDIS keeps its doorbell from ringing ([`IrichppidisDoorbell::Silent`](crate::words::config::IrichppidisDoorbell)).
    pub(crate) silent: bool,
    /// Where it is resident.
    pub(crate) resident: Option<PeIndex>,
    /// What the IRS offers.
    pub(crate) offered: Option<(IrsIntId, Priority)>,
}

/// The first word of a descriptor as the IRS leaves it. The layout is the model's own; software sees that it is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LeftBehind(u64);

impl LeftBehind {
    const NOTHING: LeftBehind = LeftBehind(0);
    /// Bits 31:24 of every one.
    const MARK: u64 = 0x5a << 24;

    fn of(settings: IRS_VPE_DBR, dps: bool) -> LeftBehind {
        LeftBehind(settings.with_req_db(dps).raw_value() | LeftBehind::MARK)
    }

    fn is_one(self) -> bool {
        self.0 & 0xff << 24 == LeftBehind::MARK
    }

    fn settings(self) -> IRS_VPE_DBR {
        let left = IRS_VPE_DBR::new_with_raw_value(self.0);
        IRS_VPE_DBR::ZERO.with_dbv(left.dbv()).with_dbpm(left.dbpm()).with_intid(left.intid())
    }

    fn dps(self) -> bool {
        IRS_VPE_DBR::new_with_raw_value(self.0).req_db()
    }
}

impl Virtual {
    /// What is random about a valid VM comes from here.
    pub(crate) fn rng(&mut self, vm: VmId) -> Option<&mut Rng> {
        Some(&mut self.vms.get_mut(&vm)?.rng)
    }
}

impl MachineState {
    // --- the VM table -------------------------------------------------------------------------------------------

    /// The IRS that keeps what this one has been told about the VM table.
    fn vmt_home(&self, irs: usize) -> usize {
        match self.config.switches.vm_table.programming {
            VmTableProgramming::AnyIrs => 0,
            VmTableProgramming::EachIrs => irs,
        }
    }

    /// The IRS that owns the VM table and what is behind it: as it sees memory, so do they all.
    fn vm_owner(&self) -> IrsIndex {
        self.virt.table.map_or(IrsIndex(0), |table| table.irs)
    }

    /// What an IRS has been told about the VM table.
    pub(crate) fn vmt_registers(&self, irs: usize) -> VmtRegisters {
        self.irses.get(self.vmt_home(irs)).map_or(VmtRegisters::default(), |irs| irs.vmt)
    }

    fn vmt_registers_mut(&mut self, irs: usize) -> Option<&mut VmtRegisters> {
        let home = self.vmt_home(irs);
        self.irses.get_mut(home).map(|irs| &mut irs.vmt)
    }

    /// Whether an IRS knows the VM table, so that it knows VMs at all (GEN-14).
    pub(crate) fn has_vm_table(&self, irs: usize) -> bool {
        self.vmt_registers(irs).adopted
    }

    /// A write of IRS_VMT_BASER. Returns whether there is a command to complete.
    pub(crate) fn write_vmt_baser(&mut self, irs: usize, new: IRS_VMT_BASER) -> bool {
        let live = self.config.switches.vm_table.live_registers;
        let Some(registers) = self.vmt_registers_mut(irs) else { return false };
        let old = registers.baser;
        match (old.valid(), new.valid()) {
            // A write of 1 over 1 does nothing, and the address stays (VMT-5).
            (true, true) => {
                if live == LiveRegisters::Take {
                    registers.baser = new;
                }
                false
            }
            (true, false) => {
                registers.baser = old.with_valid(false);
                true
            }
            (false, valid) => {
                registers.baser = new;
                valid
            }
        }
    }

    /// A change of validity has had no effect.
    pub(crate) fn keep_vmt_validity(&mut self, irs: usize) {
        if let Some(registers) = self.vmt_registers_mut(irs) {
            registers.baser = registers.baser.with_valid(!registers.baser.valid());
        }
    }

    /// A write of IRS_VMT_CFGR, which is sampled when the table becomes valid (VMT-4).
    pub(crate) fn write_vmt_cfgr(&mut self, irs: usize, new: IRS_VMT_CFGR) {
        let live = self.config.switches.vm_table.live_registers;
        if let Some(registers) = self.vmt_registers_mut(irs)
            && (!registers.baser.valid() || live == LiveRegisters::Take)
        {
            registers.cfgr = new;
        }
    }

    /// The VM table becomes valid (VMT-3).
    pub(crate) fn adopt_vm_table(&mut self, irs: usize) {
        let Some(idr3) = self.config.irses.get(irs).map(|irs| irs.idr3) else { return };
        let VmtRegisters { baser, cfgr, .. } = self.vmt_registers(irs);
        let place = |register: IrsReg| Place::Register(Frame::config(IrsIndex(irs as u16)), register.offset());
        // What is not supported is replaced by what is (VMT-11).
        let supported = u32::from(idr3.vm_id_bits());
        let mut id_bits = u32::from(cfgr.vm_id_bits()).min(supported);
        let asks_for_levels = cfgr.structure() == Structure::TwoLevel;
        let mut two_level = asks_for_levels && idr3.vmt_levels() == Levels::TwoLevel;
        if id_bits != u32::from(cfgr.vm_id_bits()) || two_level != asks_for_levels {
            self.report.violate(
                rules::VMT_11,
                place(IrsReg::IRS_VMT_CFGR),
                cfgr.raw_value().into(),
                idr3.raw_value().into(),
                || "VM_ID_BITS or STRUCTURE is not supported by this IRS".into(),
            );
            if self.config.switches.vm_table.unsupported == UnsupportedVmTable::Whole {
                (id_bits, two_level) = (supported, false);
            }
        }
        let geometry = match two_level {
            true => VmTableGeometry::two_level(id_bits),
            false => VmTableGeometry::linear(id_bits),
        };
        let Ok(geometry) = geometry else { return };
        let address = baser.addr().address();
        let footprint = geometry.base();
        let Some(base) = self.aligned(address, footprint.alignment(), rules::VMT_10, place(IrsReg::IRS_VMT_BASER))
        else {
            return;
        };
        let by = IrsIndex(irs as u16);
        let table = VmTable { irs: by, base, geometry };
        match self.virt.table {
            // Another IRS has been given it before.
            Some(same) if (same.base, same.geometry) == (base, geometry) => {
                self.adopted(irs, true);
                return;
            }
            Some(other) => {
                self.report.violate(rules::GEN_13, place(IrsReg::IRS_VMT_BASER), other.base.raw(), base.raw(), || {
                    "an IRS is given another VM table than the other IRSs of its domain have".into()
                });
                return;
            }
            None => self.virt.table = Some(table),
        }
        self.adopted(irs, true);
        match geometry.level2() {
            None => {
                let _ = self.memory.fill(
                    &mut self.report,
                    by,
                    base,
                    footprint.size(),
                    Owner::domain(StructureKind::LinearVmte),
                );
                self.revalidate(0..1 << id_bits);
            }
            Some(level2) => {
                let _ = self.memory.fill(
                    &mut self.report,
                    by,
                    base,
                    footprint.size(),
                    Owner::domain(StructureKind::L1Vmte),
                );
                for (n, entry, level1) in self.valid_level1_vmtes() {
                    self.own_level2_vm_table(entry, level1, level2.size());
                    self.revalidate(n * 128..(n + 1) * 128);
                }
            }
        }
    }

    fn adopted(&mut self, irs: usize, adopted: bool) {
        if let Some(registers) = self.vmt_registers_mut(irs) {
            registers.adopted = adopted;
        }
    }

    /// The valid entries of the level-1 VM table, by number, and where they are; none of a linear table.
    fn valid_level1_vmtes(&self) -> Vec<(u32, PhysAddr, L1_VMTE)> {
        let Some(VmTable { irs: by, base, geometry }) = self.virt.table else { return Vec::new() };
        let count = if geometry.level2().is_some() { geometry.l1_entries() } else { 0 };
        (0..count)
            .map_while(|n| {
                let entry = base.offset(u64::from(n) * L1_VMTE::BYTES).ok()?;
                Some((n, entry, L1_VMTE::new_with_raw_value(self.memory.irs_load64(by, entry).ok()?)))
            })
            .filter(|(_, _, level1)| level1.valid())
            .collect()
    }

    /// VMs whose entries are valid already become valid with the table (VMT-12).
    fn revalidate(&mut self, ids: std::ops::Range<u32>) {
        let by = self.vm_owner();
        for id in ids {
            let Ok(id) = u16::try_from(id) else { break };
            let vm = VmId::new(id);
            let Some(entry) = self.vm_entry(vm) else { continue };
            if self.memory.irs_load64(by, entry).is_ok_and(|word| L2_VMTE_VMD::new_with_raw_value(word).valid()) {
                self.adopt_vm(0, vm, entry);
            }
        }
    }

    fn own_level2_vm_table(&mut self, entry: PhysAddr, level1: L1_VMTE, size: u64) {
        let by = self.vm_owner();
        let _ = self.memory.own(&mut self.report, by, entry, L1_VMTE::BYTES, Owner::domain(StructureKind::L1Vmte));
        let _ = self.memory.fill(
            &mut self.report,
            by,
            level1.l2_addr().address(),
            size,
            Owner::domain(StructureKind::L2Vmte),
        );
    }

    /// The VM table becomes invalid, and everything behind it (VMT-6).
    pub(crate) fn withdraw_vm_table(&mut self, irs: usize) {
        self.adopted(irs, false);
        if self.irses.iter().any(|irs| irs.vmt.adopted) {
            self.end_residencies(irs);
            return;
        }
        let Some(VmTable { irs: by, base, geometry }) = self.virt.table else { return };
        let vms: Vec<VmId> = self.virt.vms.keys().collect();
        for vm in vms {
            self.withdraw_vm(vm);
        }
        let cleared = self.config.switches.vm_table.level1 == Level1Valid::Cleared;
        for (_, entry, level1) in self.valid_level1_vmtes() {
            if let Some(level2) = geometry.level2() {
                let _ = self.memory.disown(&mut self.report, by, level1.l2_addr().address(), level2.size());
            }
            if cleared {
                let _ = self.memory.irs_store64(by, entry, level1.with_valid(false).raw_value());
            }
        }
        self.virt.table = None;
        let _ = self.memory.disown(&mut self.report, by, base, geometry.base().size());
    }

    /// Every VPE that is resident on a PE of this IRS leaves it: the IRS does not know it any more (RES-23).
    fn end_residencies(&mut self, irs: usize) {
        for pe in (0..self.pes.len()).filter(|pe| self.pes.get(*pe).is_some_and(|pe| pe.irs == irs)).collect::<Vec<_>>()
        {
            let Some((vm, vpe)) = self.resident(pe) else { continue };
            self.drop_residency(PeIndex(pe as u16), vm, vpe);
            if let Some(state) = self.vpe_mut(vm, vpe) {
                state.resident = None;
            }
        }
    }

    /// The address of a VM's entry; `None` if the VM table is not valid, the ID is out of range, or its level-1 entry is not
    /// valid (VMT-20).
    fn vm_entry(&self, vm: VmId) -> Option<PhysAddr> {
        let VmTable { irs: by, base, geometry } = self.virt.table?;
        match geometry.index(vm).ok()? {
            TableIndex::Linear(slot) => base.offset(slot.offset).ok(),
            TableIndex::TwoLevel { level1, level2 } => {
                let raw = self.memory.irs_load64(by, base.offset(level1.offset).ok()?).ok()?;
                let entry = L1_VMTE::new_with_raw_value(raw);
                if !entry.valid() {
                    return None;
                }
                entry.l2_addr().address().offset(level2.offset).ok()
            }
        }
    }

    /// An address as hardware uses it, with the bits below the alignment zero; reports if that is another address.
    pub(crate) fn aligned(
        &mut self,
        address: PhysAddr,
        alignment: u64,
        rule: RuleId,
        place: Place,
    ) -> Option<PhysAddr> {
        let used = PhysAddr::new(address.raw() & !(alignment - 1)).ok()?;
        if used != address {
            self.report.violate(rule, place, address.raw(), used.raw(), || {
                format!("the address is not aligned to {alignment:#x}, so another address is used")
            });
        }
        Some(used)
    }

    /// IRS_VMAP_L2_VMTR (VMT-13, VMT-14).
    pub(crate) fn map_level2_vm_table(&mut self, irs: usize, command: IRS_VMAP_L2_VMTR) -> Outcome {
        let Some(VmTable { irs: by, base, geometry }) = self.virt.table.filter(|_| self.has_vm_table(irs)) else {
            return Outcome::Ignored;
        };
        let Ok(index) = geometry.index(command.vm_id()) else { return self.ignore_vm(irs, command.vm_id()) };
        let (TableIndex::TwoLevel { level1, .. }, Some(level2)) = (index, geometry.level2()) else {
            return Outcome::Ignored;
        };
        let Ok(entry) = base.offset(level1.offset) else { return Outcome::Ignored };
        let Ok(raw) = self.memory.irs_load64(by, entry) else { return Outcome::Ignored };
        let level1 = L1_VMTE::new_with_raw_value(raw);
        if level1.valid() {
            return Outcome::Ignored;
        }
        let level1 = level1.with_valid(true);
        if self.memory.irs_store64(by, entry, level1.raw_value()).is_err() {
            return Outcome::Ignored;
        }
        self.own_level2_vm_table(entry, level1, level2.size());
        Outcome::Done
    }

    // --- VMs ----------------------------------------------------------------------------------------------------

    /// IRS_VMAP_VMR (VM-1 to VM-3).
    pub(crate) fn map_vm(&mut self, irs: usize, command: IRS_VMAP_VMR) -> Outcome {
        let by = self.vm_owner();
        let vm = command.vm_id();
        if !self.has_vm_table(irs) {
            return self.ignore_vm(irs, vm);
        }
        match (command.u(), self.virt.vms.contains_key(&vm)) {
            (MapAction::MakeValid, false) => {
                let Some(entry) = self.vm_entry(vm) else { return self.ignore_vm(irs, vm) };
                let Ok(raw) = self.memory.irs_load64(by, entry) else { return Outcome::Ignored };
                if !self.adopt_vm(irs, vm, entry) {
                    return Outcome::Ignored;
                }
                let word = L2_VMTE_VMD::new_with_raw_value(raw).with_valid(true);
                let _ = self.memory.irs_store64(by, entry, word.raw_value());
                Outcome::Done
            }
            (MapAction::MakeInvalid, true) => {
                self.withdraw_vm(vm);
                Outcome::Done
            }
            _ => Outcome::Ignored,
        }
    }

    /// A command names a VM that there is not, or one that would have to be valid: it does nothing (VMT-20).
    fn ignore_vm(&mut self, irs: usize, vm: VmId) -> Outcome {
        self.no_such_vm(irs, vm, None);
        Outcome::Ignored
    }

    /// A VM becomes valid as its entry describes it.
    fn adopt_vm(&mut self, irs: usize, vm: VmId, entry: PhysAddr) -> bool {
        let by = self.vm_owner();
        let mut words = [0; 4];
        for (n, word) in words.iter_mut().enumerate() {
            let Ok(address) = entry.offset(n as u64 * 8) else { return false };
            let Ok(loaded) = self.memory.irs_load64(by, address) else { return false };
            *word = loaded;
        }
        let vmte = L2_VMTE::new_with_raw_value(words);
        let Some(config) = self.config.irses.get(irs) else { return false };
        let (idr3, idr4) = (config.idr3, config.idr4);
        let structure = |owned| Place::Structure(entry, Owner::vm(owned, vm));
        // The VPE table.
        let bits = u32::from(vmte.vpet().vpe_id_bits());
        let Ok(limits) = VpeTableLimits::from_idr4(idr4) else { return false };
        let used = bits.clamp(1, limits.vpe_id_bits());
        if used != bits {
            self.report.violate(rules::VPE_4, structure(StructureKind::L2Vmte), bits.into(), used.into(), || {
                format!("VPE_ID_BITS of {vm} is {bits}, which this IRS takes as {used}")
            });
        }
        let Ok(vpet_geometry) = VpeTableGeometry::new(used) else { return false };
        let footprint = vpet_geometry.footprint();
        let vpet = vmte.vpet().vpet_addr().address();
        let Some(vpet) = self.aligned(vpet, footprint.alignment(), rules::VPE_1, structure(StructureKind::L2Vmte))
        else {
            return false;
        };
        // The VM descriptor, if the IRS wants one (VM-10).
        let descriptor =
            idr3.vmd().then(|| (vmte.vmd().vmd_addr().address(), 1u64 << u32::from(idr3.vmd_sz()).min(12)));
        let mut clean = true;
        if let Some((address, size)) = descriptor {
            (clean, _) = self.judge_descriptor(address, size, rules::VM_11, Owner::vm(StructureKind::VmDescriptor, vm));
            let _ = self.memory.own(&mut self.report, by, address, size, Owner::vm(StructureKind::VmDescriptor, vm));
        }
        let _ = self.memory.fill(&mut self.report, by, vpet, footprint.size(), Owner::vm(StructureKind::Vpete, vm));
        let (owner, ist_owner) = self.vmte_owner();
        let _ = self.memory.own(&mut self.report, by, entry, 16, Owner::vm(owner, vm));
        for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
            if let Ok(word) = entry.offset(L2_VMTE::ist_word(int_type) as u64 * 8) {
                let _ = self.memory.fill(&mut self.report, by, word, 8, Owner::vm(ist_owner, vm));
            }
        }
        let state = Vm {
            entry,
            vpet,
            vpet_geometry,
            descriptor,
            descriptor_was_clean: clean,
            vpes: IdMap::default(),
            interrupts: Interrupts::new(Backing::Absent, &self.config.switches),
            quiescent: false,
            rng: Rng::new(self.config.seed).fork(1 << 16 | u64::from(vm.raw_value())),
        };
        self.virt.vms.insert(vm, state);
        // What the entry says is valid already becomes valid with the VM (IST-3, VM-7, VM-8).
        for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
            if vmte.ist(int_type).ist_valid() {
                self.adopt_virtual_ist(vm, int_type, vmte.ist(int_type));
            }
        }
        for n in 0..vpet_geometry.entries() {
            let Ok(vpe) = u16::try_from(n).map(VpeId::new) else { break };
            let Some((address, vpete)) = self.vpe_entry(vm, vpe) else { break };
            if vpete.valid() {
                self.adopt_vpe(vm, vpe, address, vpete);
            }
        }
        true
    }

    /// Whose the words of a VM table entry are: the first two, and the IST words.
    fn vmte_owner(&self) -> (StructureKind, StructureKind) {
        match self.virt.table.map(|table| table.geometry.structure()) {
            Some(Structure::TwoLevel) => (StructureKind::L2Vmte, StructureKind::L2VmteIst),
            _ => (StructureKind::LinearVmte, StructureKind::LinearVmteIst),
        }
    }

    /// Whether a descriptor is as it has to be when it becomes the IRS's, and what it holds of an earlier time. Reports the first
    /// word that is wrong (VM-11, VPE-8).
    fn judge_descriptor(&mut self, address: PhysAddr, size: u64, rule: RuleId, owner: Owner) -> (bool, LeftBehind) {
        let by = self.vm_owner();
        let survives = self.config.switches.vm.vpe_state == VpeState::Survives;
        let mut left = LeftBehind::NOTHING;
        for offset in (0..size).step_by(8) {
            let Ok(word) = address.offset(offset) else { break };
            let value = self.memory.irs_load64(by, word).unwrap_or(0);
            if survives && offset == 0 && LeftBehind(value).is_one() {
                left = LeftBehind(value);
            } else if value != 0 {
                self.report.violate(rule, Place::Structure(word, owner), value, 0, || {
                    format!("{owner} is not zero when it becomes the IRS's")
                });
                return (false, LeftBehind::NOTHING);
            }
        }
        (true, left)
    }

    /// The IRS leaves its own data in a descriptor that it gives back (VM-10).
    fn leave_behind(&mut self, address: PhysAddr, size: u64, left: LeftBehind) {
        let by = self.vm_owner();
        if size >= 8 {
            let _ = self.memory.irs_store64(by, address, left.0);
        }
        let _ = self.memory.disown(&mut self.report, by, address, size);
    }

    /// A VM becomes invalid: its state goes back to memory, its VPEs are resident nowhere, its memory is software's
    /// (VM-2, VM-6, VM-7).
    fn withdraw_vm(&mut self, vm: VmId) {
        let by = self.vm_owner();
        let switches = self.config.switches.vm;
        let types = [IrsIntType::Lpi, IrsIntType::Spi];
        for int_type in types {
            if switches.states == EndOfStates::WrittenBack {
                self.write_back_ist(vm, int_type);
            }
            self.withdraw_virtual_ist(vm, int_type);
        }
        let vpes: Vec<VpeId> = self.virt.vms.get(&vm).map_or(Vec::new(), |state| state.vpes.keys().collect());
        for vpe in vpes {
            if switches.vpe_valid == VpeValid::Cleared
                && let Some((entry, vpete)) = self.vpe_entry(vm, vpe)
            {
                let _ = self.memory.irs_store64(by, entry, vpete.with_valid(false).raw_value());
            }
            let Some(Vpe { descriptor, resident, settings, dps, .. }) = self.vpe(vm, vpe).copied() else { continue };
            self.virt.forget_doorbell(vm, vpe, settings);
            self.leave_behind(descriptor, self.vped_bytes(), LeftBehind::of(settings, dps));
            if let Some(pe) = resident {
                self.drop_residency(pe, vm, vpe);
            }
        }
        let Some(state) = self.virt.vms.remove(&vm) else { return };
        self.end_effects(vm);
        let _ = self.memory.disown(&mut self.report, by, state.vpet, state.vpet_geometry.footprint().size());
        if let Some((address, size)) = state.descriptor {
            self.leave_behind(address, size, LeftBehind::of(IRS_VPE_DBR::ZERO, false));
        }
        if switches.ist_valid == IstValid::Cleared {
            for int_type in types {
                if let Ok(address) = state.entry.offset(L2_VMTE::ist_word(int_type) as u64 * 8)
                    && let Ok(word) = self.memory.irs_load64(by, address)
                {
                    let word = L2_VMTE_IST::new_with_raw_value(word).with_ist_valid(false);
                    let _ = self.memory.irs_store64(by, address, word.raw_value());
                }
            }
        }
        // Only VALID is cleared (VM-7); the entry may be filled anew.
        if let Ok(word) = self.memory.irs_load64(by, state.entry) {
            let word = L2_VMTE_VMD::new_with_raw_value(word).with_valid(false);
            let _ = self.memory.irs_store64(by, state.entry, word.raw_value());
        }
        let owner = Owner::domain(self.vmte_owner().0);
        let _ = self.memory.fill(&mut self.report, by, state.entry, L2_VMTE::BYTES, owner);
    }

    fn vped_bytes(&self) -> u64 {
        self.config.irses.first().map_or(8, |irs| 1 << u32::from(irs.idr4.vped_sz()).min(12))
    }

    // --- VPEs ---------------------------------------------------------------------------------------------------

    /// A VPE's entry and its address; `None` if the VM is not valid or the ID out of range.
    fn vpe_entry(&self, vm: VmId, vpe: VpeId) -> Option<(PhysAddr, VPETE)> {
        let by = self.vm_owner();
        let state = self.virt.vms.get(&vm)?;
        let slot = state.vpet_geometry.index(vpe).ok()?;
        let address = state.vpet.offset(slot.offset).ok()?;
        Some((address, VPETE::new_with_raw_value(self.memory.irs_load64(by, address).ok()?)))
    }

    /// IRS_VMAP_VPER (VPE-5, VPE-6).
    pub(crate) fn map_vpe(&mut self, irs: usize, command: IRS_VMAP_VPER) -> Outcome {
        let by = self.vm_owner();
        let (vm, vpe) = (command.vm_id(), command.vpe_id());
        let entry = self.vpe_entry(vm, vpe).filter(|_| self.has_vm_table(irs));
        let Some((address, vpete)) = entry else { return self.ignore_vm(irs, vm) };
        if vpete.valid() {
            return Outcome::Ignored;
        }
        let _ = self.memory.irs_store64(by, address, vpete.with_valid(true).raw_value());
        self.adopt_vpe(vm, vpe, address, vpete);
        Outcome::Done
    }

    /// A VPE becomes valid, without doorbell settings or request (VPE-9).
    fn adopt_vpe(&mut self, vm: VmId, vpe: VpeId, entry: PhysAddr, vpete: VPETE) {
        let by = self.vm_owner();
        let descriptor = vpete.vped_addr().address();
        let size = self.vped_bytes();
        let owner = Owner::vm(StructureKind::VpeDescriptor, vm);
        let (clean, left) = self.judge_descriptor(descriptor, size, rules::VPE_8, owner);
        let _ = self.memory.own(&mut self.report, by, descriptor, size, owner);
        let _ = self.memory.own(&mut self.report, by, entry, VPETE::BYTES, Owner::vm(StructureKind::Vpete, vm));
        let never = self.config.switches.vpe.dirty_descriptor == DirtyDescriptor::NeverSelects;
        if let Some(state) = self.virt.vms.get_mut(&vm) {
            let clean = clean && state.descriptor_was_clean;
            // Its configuration is UNKNOWN if a descriptor was not zero.
            let left = if clean { left } else { LeftBehind(state.rng.next()) };
            let settings = left.settings();
            if settings.dbv() {
                self.virt.doorbells.insert((settings.intid(), vm, vpe));
            }
            let fresh = Vpe {
                descriptor,
                settings,
                dps: left.dps(),
                selects: clean || !never,
                requested: None,
                silent: false,
                resident: None,
                offered: None,
            };
            state.vpes.insert(vpe, fresh);
        }
        // An interrupt may have waited for the VPE (VPE-20).
        self.offer_vpe(vm, vpe);
    }

    pub(crate) fn vpe(&self, vm: VmId, vpe: VpeId) -> Option<&Vpe> {
        self.virt.vms.get(&vm)?.vpes.get(&vpe)
    }

    pub(crate) fn vpe_mut(&mut self, vm: VmId, vpe: VpeId) -> Option<&mut Vpe> {
        self.virt.vms.get_mut(&vm)?.vpes.get_mut(&vpe)
    }

    /// Whether a selection names a valid VPE (VPE-12).
    pub(crate) fn is_vpe(&self, irs: usize, selection: IRS_VPE_SELR) -> bool {
        self.has_vm_table(irs) && self.vpe(selection.vm_id(), selection.vpe_id()).is_some()
    }

    /// What IRS_VPE_DBR reads for a selected VPE: the settings, and whether a doorbell is asked for.
    pub(crate) fn vpe_dbr(&self, selection: IRS_VPE_SELR) -> IRS_VPE_DBR {
        let live = self.config.switches.doorbell.req_db == ReqDbReads::Live;
        self.vpe(selection.vm_id(), selection.vpe_id())
            .map_or(IRS_VPE_DBR::ZERO, |vpe| vpe.settings.with_req_db(live && vpe.requested.is_some()))
    }

    /// A write of IRS_VPE_DBR (DB-5 to DB-8). Reports a doorbell that is another VPE's already (DB-14).
    pub(crate) fn set_vpe_dbr(&mut self, selection: IRS_VPE_SELR, dbr: IRS_VPE_DBR, place: Place) -> Outcome {
        let (vm, vpe) = (selection.vm_id(), selection.vpe_id());
        let switches = self.config.switches.doorbell;
        let Some(state) = self.vpe_mut(vm, vpe) else { return Outcome::Ignored };
        if state.resident.is_some() && switches.while_resident == SettingsWhileResident::Ignored {
            return Outcome::Ignored;
        }
        let before = state.settings;
        if dbr.dbv() || switches.without_dbv == WithoutDbv::Invalidates {
            state.settings = dbr.with_req_db(false);
            self.virt.forget_doorbell(vm, vpe, before);
        }
        if dbr.dbv() {
            let other = self.virt.rung_by(dbr.intid()).find(|other| *other != (vm, vpe));
            if let Some((other_vm, other)) = other {
                self.report.violate(rules::DB_14, place, before.raw_value(), dbr.raw_value(), || {
                    format!("the doorbell of {vm} {vpe} is set to {}, which is that of {other_vm} {other}", dbr.intid())
                });
            }
            self.virt.doorbells.insert((dbr.intid(), vm, vpe));
        }
        let Some(state) = self.vpe_mut(vm, vpe) else { return Outcome::Ignored };
        if dbr.req_db() {
            // A residency ends the waiting, so a request made during it is none (DB-18).
            let counts =
                state.resident.is_none() || switches.request_while_resident == RequestWhileResident::Remembered;
            state.requested = counts.then(|| dbr.dbpm());
        } else if switches.rewrite == RequestAtRewrite::Dropped {
            state.requested = None;
        }
        self.ring(vm, vpe);
        Outcome::Done
    }

    /// A write of IRS_VPE_CR0. Without 1-of-N there is nothing to opt out of (RTE-3).
    pub(crate) fn set_vpe_cr0(&mut self, selection: IRS_VPE_SELR, cr0: IRS_VPE_CR0) -> Outcome {
        let dropped = self.config.switches.doorbell.cr0_write == RequestAtCr0::Dropped;
        let Some(state) = self.vpe_mut(selection.vm_id(), selection.vpe_id()) else { return Outcome::Ignored };
        state.dps = cr0.dps();
        if dropped {
            state.requested = None;
        }
        Outcome::Done
    }

    /// What IRS_VPE_CR0 reads for a selected VPE.
    pub(crate) fn vpe_cr0(&self, selection: IRS_VPE_SELR) -> IRS_VPE_CR0 {
        let dps = match (self.config.switches.vpe.dps, self.vpe(selection.vm_id(), selection.vpe_id())) {
            (VpeDps::One, Some(_)) => true,
            (VpeDps::Kept, Some(vpe)) => vpe.dps,
            _ => false,
        };
        IRS_VPE_CR0::ZERO.with_dps(dps)
    }

    /// What IRS_VPE_HPPIR reads for a selected VPE (VPE-16).
    pub(crate) fn vpe_hppir(&self, selection: IRS_VPE_SELR) -> IRS_VPE_HPPIR {
        let Some(vpe) = self.vpe(selection.vm_id(), selection.vpe_id()) else { return IRS_VPE_HPPIR::ZERO };
        let doorbell_mask = passing(vpe.settings.dbpm(), self.config.switches.doorbell.mask);
        let shown = |(_, priority): &(IrsIntId, Priority)| match self.config.switches.vpe.hppir {
            VpeHppir::Candidate => true,
            VpeHppir::NothingWhileResident => vpe.resident.is_none(),
            VpeHppir::PassingMask => doorbell_mask >> priority.number() & 1 != 0,
        };
        let candidate = vpe.offered.filter(shown).map(|(id, _)| IntId::from(id));
        candidate.map_or(IRS_VPE_HPPIR::ZERO, |id| {
            IRS_VPE_HPPIR::ZERO.with_hppiv(true).with_int_type(id.int_type()).with_id(id.id_field())
        })
    }

    // --- virtual ISTs -------------------------------------------------------------------------------------------

    /// IRS_VMAP_VISTR (IST-2, IST-4, IST-5).
    pub(crate) fn map_virtual_ist(&mut self, irs: usize, command: IRS_VMAP_VISTR) -> Outcome {
        let by = self.vm_owner();
        let (vm, Ok(int_type)) = (command.vm_id(), command.int_type()) else { return Outcome::Ignored };
        let word_address = self.ist_word_address(vm, int_type).filter(|_| self.has_vm_table(irs));
        let Some(word_address) = word_address else { return self.ignore_vm(irs, vm) };
        let Ok(raw) = self.memory.irs_load64(by, word_address) else { return Outcome::Ignored };
        let word = L2_VMTE_IST::new_with_raw_value(raw);
        match (command.u(), word.ist_valid()) {
            (MapAction::MakeValid, false) => {
                if !self.adopt_virtual_ist(vm, int_type, word) {
                    return Outcome::Ignored;
                }
                let _ = self.memory.irs_store64(by, word_address, word.with_ist_valid(true).raw_value());
            }
            (MapAction::MakeInvalid, true) => {
                self.write_back_ist(vm, int_type);
                self.withdraw_virtual_ist(vm, int_type);
                let _ = self.memory.irs_store64(by, word_address, word.with_ist_valid(false).raw_value());
                let owner = Owner::vm(self.vmte_owner().1, vm);
                let _ = self.memory.fill(&mut self.report, by, word_address, 8, owner);
            }
            _ => return Outcome::Ignored,
        }
        Outcome::Done
    }

    fn ist_word_address(&self, vm: VmId, int_type: IrsIntType) -> Option<PhysAddr> {
        self.virt.vms.get(&vm)?.entry.offset(L2_VMTE::ist_word(int_type) as u64 * 8).ok()
    }

    fn adopt_virtual_ist(&mut self, vm: VmId, int_type: IrsIntType, word: L2_VMTE_IST) -> bool {
        let by = self.vm_owner();
        let Some(word_address) = self.ist_word_address(vm, int_type) else { return false };
        let place = Place::Structure(word_address, Owner::vm(self.vmte_owner().1, vm));
        let asked = AskedIst {
            id_bits: word.id_bits().into(),
            istsz: word.istsz().ok(),
            structure: word.structure(),
            l2sz: word.l2sz().ok(),
            raw: word.raw_value(),
        };
        let Some(geometry) = self.supported_ist(0, Space::Vm(vm), int_type, asked, place) else { return false };
        let footprint = geometry.base();
        let Some(base) = self.aligned(word.ist_addr().address(), footprint.alignment(), rules::IST_12, place) else {
            return false;
        };
        let ist = Ist { irs: self.vm_owner(), base, geometry };
        self.own_ist(ist, IstOwners::of_vm(vm, int_type));
        let owner = Owner::vm(self.vmte_owner().1, vm);
        let _ = self.memory.own(&mut self.report, by, word_address, 8, owner);
        if let Some(state) = self.virt.vms.get_mut(&vm) {
            state.interrupts.adopt(int_type, ist);
        }
        true
    }

    /// The states that the IRS holds of an IST of a VM go back to memory.
    fn write_back_ist(&mut self, vm: VmId, int_type: IrsIntType) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        let mut memory = WritingBack { memory: &mut self.memory, report: &mut self.report };
        state.interrupts.write_back(int_type, &mut memory);
    }

    /// An IST of a VM is given up, and its memory is software's (IST-5, IST-7).
    fn withdraw_virtual_ist(&mut self, vm: VmId, int_type: IrsIntType) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        let Backing::Ist(ist) = state.interrupts.backing(int_type) else { return };
        for target in state.interrupts.withdraw(int_type) {
            self.offer_vpe(vm, target.into());
        }
        self.disown_ist(ist);
    }

    /// IRS_VMAP_L2_VISTR (IST-18, IST-19).
    pub(crate) fn map_level2_virtual_ist(&mut self, irs: usize, command: IRS_VMAP_L2_VISTR) -> Outcome {
        let (vm, Ok(int_type)) = (command.vm_id(), command.int_type()) else { return Outcome::Ignored };
        let backing = self.virt.vms.get(&vm).filter(|_| self.has_vm_table(irs));
        let backing = backing.map(|state| state.interrupts.backing(int_type));
        let Some(backing) = backing else { return self.ignore_vm(irs, vm) };
        let Backing::Ist(ist) = backing else { return Outcome::Ignored };
        let id = IrsIntId::from_parts(int_type, command.id());
        self.publish_level2_ist(irs, Space::Vm(vm), id, ist, IstOwners::of_vm(vm, int_type))
    }

    // --- virtual interrupts -------------------------------------------------------------------------------------

    /// Changes the state of a VM's interrupt and everything that follows from it. `None` if the VM is not valid (VM-12).
    pub(crate) fn update_virtual(
        &mut self,
        vm: VmId,
        id: IrsIntId,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) -> Option<Result<L2_ISTE, Unreachable>> {
        let switches = self.config.switches;
        let state = self.virt.vms.get_mut(&vm)?;
        let vpes = &state.vpes;
        let is_vpe = |entry: L2_ISTE| vpes.contains_key(&VpeId::from(entry.iaffid()));
        let change = state.interrupts.update(id, &mut self.memory, |before| {
            let after = change(before);
            let lost = switches.vpe.invalid_target == InvalidTarget::IsLost && !before.pending() && !is_vpe(after);
            if lost { after.with_pending(false) } else { after }
        });
        let preset = state.interrupts.take_preset();
        if let Ok(Change { after, .. }) = change
            && after.pending()
            && switches.vpe.invalid_target == InvalidTarget::IsNotNoticed
            && !is_vpe(after)
        {
            state.interrupts.overlook(id);
        }
        let disturbed = switches.save.disturbance != Disturbance::Changes
            || change.is_ok_and(|change| change.before != change.after);
        let ended = disturbed && std::mem::replace(&mut state.quiescent, false);
        if ended {
            self.show_ists(vm, false);
        }
        if let Some(preset) = preset {
            self.report_preset(preset);
            self.offer_vpe(vm, preset.entry.iaffid().into());
        }
        let change = match change {
            Ok(change) => change,
            Err(why) => return Some(Err(why)),
        };
        if change.before != change.after || change.noticed {
            self.tell(Space::Vm(vm), id, change);
            self.write_back_sometimes(vm, id);
            self.offer_vpe(vm, change.before.iaffid().into());
            if change.after.iaffid() != change.before.iaffid() {
                self.offer_vpe(vm, change.after.iaffid().into());
            }
        }
        Some(Ok(change.after))
    }

    /// The IRS may write a state back whenever it likes (IST-26). When it does, what other VMs do has no part in.
    fn write_back_sometimes(&mut self, vm: VmId, id: IrsIntId) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        if state.rng.chance(1, 64) {
            let mut memory = WritingBack { memory: &mut self.memory, report: &mut self.report };
            state.interrupts.write_back_one(id, &mut memory);
        }
    }

    /// Changes the state of a VM's interrupt for an instruction or an event that came to this IRS: what cannot be reached is
    /// dropped, and may be reported (INS-18, SPI-10).
    pub(crate) fn change_virtual(
        &mut self,
        irs: usize,
        vm: VmId,
        id: IrsIntId,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) {
        match self.has_vm_table(irs).then(|| self.update_virtual(vm, id, change)).flatten() {
            Some(Ok(_)) => {}
            Some(Err(why)) => self.unreachable(irs, Space::Vm(vm), id, why),
            None => self.no_such_vm(irs, vm, Some(id)),
        }
    }

    /// The state of a VM's interrupt for an instruction that asks for it, on a PE of this IRS.
    pub(crate) fn look_up_virtual(&mut self, irs: usize, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        let Some(state) = self.virt.vms.get_mut(&vm) else {
            self.no_such_vm(irs, vm, Some(id));
            return None;
        };
        let found = state.interrupts.state(id, &mut self.memory);
        if let Some(preset) = state.interrupts.take_preset() {
            self.report_preset(preset);
            self.offer_vpe(vm, preset.entry.iaffid().into());
        }
        found.map_err(|why| self.unreachable(irs, Space::Vm(vm), id, why)).ok()
    }

    /// Whether a VM is valid and has an IST for a type.
    pub(crate) fn has_ist(&self, vm: VmId, int_type: IrsIntType) -> bool {
        self.virt.vms.get(&vm).is_some_and(|state| state.interrupts.backing(int_type) != Backing::Absent)
    }

    /// The state of a VM's interrupt, for somebody who only looks.
    pub(crate) fn peek_virtual(&mut self, vm: VmId, id: IrsIntId) -> Option<L2_ISTE> {
        self.virt.vms.get(&vm)?.interrupts.peek(id, &mut self.memory).ok()
    }

    /// Finds a VPE's candidate anew, and rings its doorbell if that is due (HPPI-2, DB-2).
    fn offer_vpe(&mut self, vm: VmId, vpe: VpeId) {
        let Some(state) = self.virt.vms.get_mut(&vm) else { return };
        let candidate = state.interrupts.candidate(Iaffid::from(vpe));
        // A VPE that is not valid has no candidate (VPE-20).
        let Some(state) = state.vpes.get_mut(&vpe) else { return };
        let candidate = candidate.filter(|_| state.selects);
        if state.offered != candidate {
            state.offered = candidate;
            self.report.event(|| Event::Candidate {
                domain: Domain::NonSecure,
                space: Space::Vm(vm),
                target: vpe.into(),
                candidate: candidate.map(|(id, priority)| (IntId::from(id), priority)),
            });
            self.forward(vm, vpe);
        }
        self.ring(vm, vpe);
    }

    /// Rings a VPE's doorbell, if everything holds that DB-1 asks for.
    pub(crate) fn ring(&mut self, vm: VmId, vpe: VpeId) {
        let switches = self.config.switches.doorbell;
        let Some(state) = self.virt.vms.get(&vm) else { return };
        let Some(Vpe { requested: Some(mask), resident: None, silent: false, selects: true, settings, .. }) =
            state.vpes.get(&vpe)
        else {
            return;
        };
        let mut passing_priorities = passing(*mask, switches.mask);
        if switches.request_mask == RequestMask::OfBoth {
            passing_priorities &= passing(settings.dbpm(), switches.mask);
        }
        if !settings.dbv() || state.interrupts.priorities(vpe.into()) & passing_priorities == 0 {
            return;
        }
        if switches.disabled_irs == DoorbellsOfDisabledIrs::Wait && !self.irses.iter().any(|irs| irs.enabled) {
            return;
        }
        let lpi: Lpi = settings.intid();
        // If the LPI cannot be reached the doorbell is lost (DB-16); if it is pending already it merges (DB-15).
        let reached = self.look_up(lpi.into());
        if let Err(why) = reached {
            self.unreachable(0, Space::Physical, lpi.into(), why);
        }
        let has_effect = reached.is_ok_and(|entry| !entry.pending());
        if !has_effect && switches.merged == MergedDoorbell::Keeps {
            return;
        }
        let disturbs = self.config.switches.save.disturbance == Disturbance::AttemptsAndDoorbells;
        if let Some(state) = self.virt.vms.get_mut(&vm) {
            if let Some(vpe) = state.vpes.get_mut(&vpe) {
                vpe.requested = None;
            }
            if disturbs && std::mem::replace(&mut state.quiescent, false) {
                self.show_ists(vm, false);
            }
        }
        self.report.event(|| Event::Doorbell { vm, vpe, lpi });
        let _ = self.set_event(lpi.into(), HandlingMode::Edge);
    }

    /// Looks at every doorbell again, because all may be due.
    pub(crate) fn ring_all(&mut self) {
        let vpes = self.virt.vms.iter().flat_map(|(vm, state)| state.vpes.keys().map(move |vpe| (vm, vpe)));
        for (vm, vpe) in vpes.collect::<Vec<_>>() {
            self.ring(vm, vpe);
        }
    }

    // --- save ---------------------------------------------------------------------------------------------------

    /// IRS_SAVE_VMR (SAVE-1 to SAVE-3).
    pub(crate) fn save_vm(&mut self, irs: usize, command: IRS_SAVE_VMR) -> Outcome {
        let vm = command.vm_id();
        let known = self.has_vm_table(irs);
        if command.s() && known {
            for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
                self.write_back_ist(vm, int_type);
            }
            if let Some(state) = self.virt.vms.get_mut(&vm) {
                state.quiescent = true;
                self.show_ists(vm, true);
            }
        }
        let quiescent = known && self.is_quiescent(vm);
        if let Some(state) = self.irses.get_mut(irs) {
            state.saved = command.q().then_some((vm, quiescent));
        }
        if known && self.virt.vms.contains_key(&vm) { Outcome::Done } else { self.ignore_vm(irs, vm) }
    }

    /// Software sees the entries of a VM's ISTs while they are what they were when it was saved (SAVE-5, IST-26).
    fn show_ists(&mut self, vm: VmId, shown: bool) {
        for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
            if let Some(Backing::Ist(ist)) = self.virt.vms.get(&vm).map(|state| state.interrupts.backing(int_type)) {
                self.show_ist(ist, shown);
            }
        }
    }

    fn is_quiescent(&self, vm: VmId) -> bool {
        self.virt.vms.get(&vm).is_some_and(|vm| vm.quiescent)
    }

    /// What IRS_SAVE_VM_STATUSR reads: of the VM that was asked about, whether it was quiescent then and still is (SAVE-2,
    /// SAVE-4).
    pub(crate) fn save_status(&self, asked: Option<(VmId, bool)>, idle: bool) -> IRS_SAVE_VM_STATUSR {
        let quiescent = asked.is_some_and(|(vm, then)| match self.config.switches.save.verdict {
            SaveVerdict::WhenAsked => then,
            SaveVerdict::WhenRead => self.is_quiescent(vm),
        });
        IRS_SAVE_VM_STATUSR::ZERO.with_idle(idle).with_q(quiescent)
    }
}

/// The priorities that a doorbell mask lets through: bit n is priority n (DB-9).
fn passing(mask: Priority, switch: DoorbellMask) -> u32 {
    match switch {
        DoorbellMask::ByUrgency => u32::MAX >> (31 - mask.number()),
        DoorbellMask::ByNumber => u32::MAX << mask.number(),
    }
}
