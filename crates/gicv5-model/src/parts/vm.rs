//! A VM and its VPEs: what the IRS knows of them while they are valid, and whose their memory is.

use gicv5_arch::entry::{L2_ISTE, L2_VMTE, L2_VMTE_IST, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::{VpeTableGeometry, VpeTableLimits};
use gicv5_arch::irs::IRS_VPE_DBR;
use gicv5_arch::{Iaffid, IrsIntId, IrsIntType, Lpi, PhysAddr, Priority, VmId, VpeId};

use crate::memory::Claim;
use crate::parts::descriptor::LeftBehind;
use crate::parts::doorbells::Doorbell;
use crate::parts::id_map::IdMap;
use crate::parts::interrupts::{Backing, Change, Interrupts};
use crate::parts::irs_side::IrsSide;
use crate::parts::ist::{Ist, Unreachable};
use crate::parts::vm_table::VmTable;
use crate::words::config::{
    DirtyDescriptor, Disturbance, DoorbellRequest, DoorbellSwitches, InvalidTarget, IrsConfig, IstValid, Switches,
    VpeValid,
};
use crate::words::ids::PeIndex;
use crate::words::owner::{InMemory, Owner, StructureKind};
use crate::words::rules;
use crate::words::violation::Place;
use gicv5_random::Rng;

/// The types of interrupts that have an IST.
pub(crate) const INT_TYPES: [IrsIntType; 2] = [IrsIntType::Lpi, IrsIntType::Spi];

/// A VM that is valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Vm {
    /// Its entry in the VM table.
    entry: PhysAddr,
    vpet: PhysAddr,
    vpet_geometry: VpeTableGeometry,
    /// Its VM descriptor and the descriptor's size.
    descriptor: Option<(PhysAddr, u64)>,
    /// The descriptor was as it has to be when the VM became valid (VM-11).
    descriptor_was_clean: bool,
    pub(crate) vpes: IdMap<VpeId, Vpe>,
    pub(crate) interrupts: Interrupts,
    /// No interrupt of the VM has changed since it was last saved (SAVE-2), and software sees its ISTs.
    quiescent: bool,
    /// What the IRS does with the VM by chance comes from this.
    pub(crate) rng: Rng,
}

/// A VPE that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vpe {
    descriptor: PhysAddr,
    pub(crate) doorbell: Doorbell,
    /// Where it is resident.
    pub(crate) resident: Option<PeIndex>,
    /// What the IRS offers.
    offered: Option<(IrsIntId, Priority)>,
}

/// What a VM's entry describes.
pub(crate) struct Described {
    vmte: L2_VMTE,
    vpet: PhysAddr,
    vpet_geometry: VpeTableGeometry,
    /// The VM descriptor and its size, if the IRS wants one (VM-10).
    descriptor: Option<(PhysAddr, u64)>,
}

impl Described {
    /// What an entry in the VM table describes; `None` if no VM can be made of it.
    pub(crate) fn read(
        side: &mut IrsSide<'_>,
        (table, entry): (VmTable, PhysAddr),
        vm: VmId,
        irs: &IrsConfig,
    ) -> Option<Described> {
        let mut words = [0; 4];
        for (n, word) in words.iter_mut().enumerate() {
            *word = side.load64(entry.offset(n as u64 * 8).ok()?)?;
        }
        let vmte = L2_VMTE::new_with_raw_value(words);
        let place = Place::Structure(entry, Owner::vm(table.entry_owners().0, vm));
        let bits = u32::from(vmte.vpet().vpe_id_bits());
        let used = bits.clamp(1, VpeTableLimits::from_idr4(irs.idr4).ok()?.vpe_id_bits());
        if used != bits {
            side.report.violate(rules::VPE_4, place, bits.into(), used.into(), || {
                format!("VPE_ID_BITS of {vm} is {bits}, which this IRS takes as {used}")
            });
        }
        let vpet_geometry = VpeTableGeometry::new(used).ok()?;
        let alignment = vpet_geometry.footprint().alignment();
        let vpet = side.aligned(vmte.vpet().vpet_addr().address(), alignment, rules::VPE_1, place)?;
        let descriptor = irs.vmd_bytes().map(|size| (vmte.vmd().vmd_addr().address(), size));
        Some(Described { vmte, vpet, vpet_geometry, descriptor })
    }

    /// The words of the entry that describe ISTs which become valid with the VM (IST-3).
    pub(crate) fn valid_ists(&self) -> impl Iterator<Item = (IrsIntType, L2_VMTE_IST)> {
        let words = INT_TYPES.map(|int_type| (int_type, self.vmte.ist(int_type)));
        words.into_iter().filter(|(_, word)| word.ist_valid())
    }

    /// What becomes the IRS's with the VM, but for ISTs: its tables and descriptors, and those of VPEs that are valid already.
    pub(crate) fn structures(&self, side: &IrsSide<'_>, vm: VmId, vpe_descriptor: u64) -> Vec<InMemory> {
        let of = |address, size, structure| InMemory { address, size, owner: Owner::vm(structure, vm) };
        let vpes = side.words(self.vpet, self.vpet_geometry.entries()).map(|(.., raw)| VPETE::new_with_raw_value(raw));
        let vpes = vpes.filter(|vpete| vpete.valid()).map(|vpete| vpete.vped_addr().address());
        let descriptor = self.descriptor.map(|(address, size)| of(address, size, StructureKind::VmDescriptor));
        std::iter::once(of(self.vpet, self.vpet_geometry.footprint().size(), StructureKind::Vpete))
            .chain(descriptor)
            .chain(vpes.map(|address| of(address, vpe_descriptor, StructureKind::VpeDescriptor)))
            .collect()
    }
}

/// What a change of a VM's interrupt leads to.
pub(crate) struct Update {
    pub(crate) change: Result<Change, Unreachable>,
    /// The target of an entry that the IRS has come to know, and that was not as it must be (IST-22).
    pub(crate) preset: Option<Iaffid>,
}

/// The VM as a whole.
impl Vm {
    /// A VM as its entry describes it, whose memory the IRS takes (VM-1, VM-5), and the entry. `None` if it does not become
    /// valid.
    pub(crate) fn adopt(
        side: &mut IrsSide<'_>,
        (table, entry): (VmTable, PhysAddr),
        vm: VmId,
        irs: &IrsConfig,
        switches: &Switches,
        rng: Rng,
    ) -> Option<(Vm, L2_VMTE)> {
        let Described { vmte, vpet, vpet_geometry, descriptor } = Described::read(side, (table, entry), vm, irs)?;
        let mut descriptor_was_clean = true;
        if let Some((address, size)) = descriptor {
            let owner = Owner::vm(StructureKind::VmDescriptor, vm);
            descriptor_was_clean = LeftBehind::find(side, (address, size), switches, rules::VM_11, owner).is_some();
            side.adopt(address, size, Claim::Owned(owner));
        }
        let owner = Owner::vm(StructureKind::Vpete, vm);
        side.adopt(vpet, vpet_geometry.footprint().size(), Claim::Fillable(owner));
        let (owner, ist_owner) = table.entry_owners();
        side.own(entry, 16, Owner::vm(owner, vm));
        let state = Vm {
            entry,
            vpet,
            vpet_geometry,
            descriptor,
            descriptor_was_clean,
            vpes: IdMap::default(),
            interrupts: Interrupts::new(Backing::Absent, switches),
            quiescent: false,
            rng,
        };
        for word in INT_TYPES.into_iter().filter_map(|int_type| state.ist_word(int_type)) {
            side.fill(word, 8, Owner::vm(ist_owner, vm));
        }
        Some((state, vmte))
    }

    /// The IRS gives up what belongs to the VM as a whole. Only VALID is cleared (VM-7); the entry may be filled anew.
    pub(crate) fn disown(&self, side: &mut IrsSide<'_>, table: VmTable, validity: IstValid) {
        side.disown(self.vpet, self.vpet_geometry.footprint().size());
        if let Some(descriptor) = self.descriptor {
            LeftBehind::of(IRS_VPE_DBR::ZERO, false).leave(side, descriptor);
        }
        for int_type in INT_TYPES.into_iter().filter(|_| validity == IstValid::Cleared) {
            if let Some((address, word)) = self.load_ist_word(side, int_type) {
                side.store64(address, word.with_ist_valid(false).raw_value());
            }
        }
        if let Some(word) = side.load64(self.entry) {
            self.store_vmd(side, L2_VMTE_VMD::new_with_raw_value(word).with_valid(false));
        }
        side.fill(self.entry, L2_VMTE::BYTES, Owner::domain(table.entry_owners().0));
    }

    /// Stores the first word of the VM's entry.
    pub(crate) fn store_vmd(&self, side: &mut IrsSide<'_>, word: L2_VMTE_VMD) {
        side.store64(self.entry, word.raw_value());
    }
}

/// Its ISTs, which are saved and written back.
impl Vm {
    pub(crate) fn ist_word(&self, int_type: IrsIntType) -> Option<PhysAddr> {
        self.entry.offset(L2_VMTE::ist_word(int_type) as u64 * 8).ok()
    }

    /// The word of its entry that describes an IST, and where it is.
    pub(crate) fn load_ist_word(&self, side: &IrsSide<'_>, int_type: IrsIntType) -> Option<(PhysAddr, L2_VMTE_IST)> {
        let address = self.ist_word(int_type)?;
        Some((address, L2_VMTE_IST::new_with_raw_value(side.load64(address)?)))
    }

    /// An IST of it that is valid.
    pub(crate) fn ist(&self, int_type: IrsIntType) -> Option<Ist> {
        match self.interrupts.backing(int_type) {
            Backing::Ist(ist) => Some(ist),
            _ => None,
        }
    }

    /// Its states are in memory and quiet until one changes (SAVE-1, SAVE-2).
    pub(crate) fn save(&mut self, side: &mut IrsSide<'_>) {
        INT_TYPES.into_iter().for_each(|int_type| self.interrupts.write_back(int_type, side));
        self.quiescent = true;
        self.show_ists(side, true);
    }

    pub(crate) fn is_quiescent(&self) -> bool {
        self.quiescent
    }

    /// It is quiescent no longer.
    #[inline]
    pub(crate) fn disturb(&mut self, side: &mut IrsSide<'_>) {
        if std::mem::replace(&mut self.quiescent, false) {
            self.show_ists(side, false);
        }
    }

    /// Software sees the entries of its ISTs while they are what they were when it was saved (SAVE-5, IST-26).
    fn show_ists(&self, side: &mut IrsSide<'_>, shown: bool) {
        for ist in INT_TYPES.into_iter().filter_map(|int_type| self.ist(int_type)) {
            ist.show(side, shown);
        }
    }

    /// Changes the state of an interrupt.
    #[inline]
    pub(crate) fn update(
        &mut self,
        side: &mut IrsSide<'_>,
        id: IrsIntId,
        switches: &Switches,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) -> Update {
        let vpes = &self.vpes;
        let is_vpe = |entry: L2_ISTE| vpes.contains_key(&VpeId::from(entry.iaffid()));
        let change = self.interrupts.update(id, side.memory, |before| {
            let after = change(before);
            let lost = switches.vpe.invalid_target == InvalidTarget::IsLost && !before.pending() && !is_vpe(after);
            if lost { after.with_pending(false) } else { after }
        });
        let preset = self.interrupts.take_preset();
        if let Ok(Change { after, .. }) = change
            && after.pending()
            && switches.vpe.invalid_target == InvalidTarget::IsNotNoticed
            && !is_vpe(after)
        {
            self.interrupts.overlook(id);
        }
        let changed = change.is_ok_and(|change| change.before != change.after);
        if changed || switches.save.disturbance != Disturbance::Changes {
            self.disturb(side);
        }
        Update { change, preset }
    }

    /// The IRS may write a state back whenever it likes (IST-26). When it does, what other VMs do has no part in.
    #[inline]
    pub(crate) fn write_back_sometimes(&mut self, side: &mut IrsSide<'_>, id: IrsIntId) {
        if self.rng.chance(1, 64) {
            self.interrupts.write_back_one(id, side);
        }
    }
}

/// Its VPEs.
impl Vm {
    /// The entry of a VPE and its address; `None` if the ID is out of range.
    #[inline]
    pub(crate) fn vpe_entry(&self, side: &IrsSide<'_>, vpe: VpeId) -> Option<(PhysAddr, VPETE)> {
        let slot = self.vpet_geometry.index(vpe).ok()?;
        let address = self.vpet.offset(slot.offset).ok()?;
        Some((address, VPETE::new_with_raw_value(side.load64(address)?)))
    }

    /// How many VPEs its table has entries for.
    pub(crate) fn vpe_entries(&self) -> u32 {
        self.vpet_geometry.entries()
    }

    /// A VPE becomes valid, whose memory the IRS takes, without doorbell settings or request (VPE-9). Returns the settings
    /// that its doorbell has nevertheless: they are UNKNOWN if a descriptor was not zero.
    pub(crate) fn adopt_vpe(
        &mut self,
        side: &mut IrsSide<'_>,
        (vm, vpe): (VmId, VpeId),
        (entry, vpete): (PhysAddr, VPETE),
        descriptor_bytes: u64,
        switches: &Switches,
    ) -> IRS_VPE_DBR {
        let descriptor = vpete.vped_addr().address();
        let owner = Owner::vm(StructureKind::VpeDescriptor, vm);
        let left = LeftBehind::find(side, (descriptor, descriptor_bytes), switches, rules::VPE_8, owner);
        side.adopt(descriptor, descriptor_bytes, Claim::Owned(owner));
        side.own(entry, VPETE::BYTES, Owner::vm(StructureKind::Vpete, vm));
        let left = left.filter(|_| self.descriptor_was_clean);
        let selects = left.is_some() || switches.vpe.dirty_descriptor != DirtyDescriptor::NeverSelects;
        let left = left.unwrap_or_else(|| LeftBehind(self.rng.next()));
        let settings = left.settings();
        let doorbell = Doorbell::new(settings, left.dps(), selects);
        let fresh = Vpe { descriptor, doorbell, resident: None, offered: None };
        self.vpes.insert(vpe, fresh);
        settings
    }

    /// The IRS gives up what belongs to a VPE. Returns what the VPE was.
    pub(crate) fn disown_vpe(
        &self,
        side: &mut IrsSide<'_>,
        vpe: VpeId,
        descriptor_bytes: u64,
        validity: VpeValid,
    ) -> Option<Vpe> {
        if validity == VpeValid::Cleared
            && let Some((entry, vpete)) = self.vpe_entry(side, vpe)
        {
            side.store64(entry, vpete.with_valid(false).raw_value());
        }
        let gone = self.vpes.get(&vpe).copied()?;
        LeftBehind::of(gone.doorbell.settings(), gone.doorbell.dps).leave(side, (gone.descriptor, descriptor_bytes));
        Some(gone)
    }

    /// Finds a VPE's candidate anew (HPPI-2). Returns it if it is another than before. A VPE that is not valid has none
    /// (VPE-20).
    #[inline]
    pub(crate) fn nominate(&mut self, vpe: VpeId) -> Option<Option<(IrsIntId, Priority)>> {
        let candidate = self.interrupts.candidate(vpe.into());
        let state = self.vpes.get_mut(&vpe)?;
        let candidate = candidate.filter(|_| state.doorbell.selects());
        if state.offered == candidate {
            return None;
        }
        state.offered = candidate;
        Some(candidate)
    }

    /// The LPI that a VPE's doorbell rings, if everything holds that DB-1 asks for.
    #[inline]
    pub(crate) fn doorbell_due(&self, vpe: VpeId, switches: DoorbellSwitches) -> Option<Lpi> {
        let state = self.vpes.get(&vpe)?;
        if state.resident.is_some() {
            return None;
        }
        state.doorbell.due(self.interrupts.priorities(vpe.into()), switches)
    }
}

impl Vpe {
    /// What the IRS offers.
    #[inline]
    pub(crate) fn offered(&self) -> Option<(IrsIntId, Priority)> {
        self.offered
    }

    /// It becomes resident on a PE, which ends the waiting for a doorbell (DB-18).
    pub(crate) fn enter(&mut self, pe: PeIndex, request: DoorbellRequest) {
        self.resident = Some(pe);
        self.doorbell.silence(false);
        if request == DoorbellRequest::EndsWithResidency {
            self.doorbell.request(None);
        }
    }

    /// It leaves the PE on which it is resident. A request replaces the one before (DB-10).
    pub(crate) fn leave(&mut self, request: Option<Priority>, silent: bool) {
        self.resident = None;
        self.doorbell.silence(silent);
        if request.is_some() {
            self.doorbell.request(request);
        }
    }
}
