//! The ISTs of VMs.

use gicv5_arch::entry::{L1_ISTE, L2_ISTE, L2_VMTE};
use gicv5_arch::geometry::{IstGeometry, IstLimits, TableIndex};
use gicv5_arch::irs::{IRS_VMAP_L2_VISTR, IRS_VMAP_VISTR};
use gicv5_arch::values::{L2Size, MapAction};
use gicv5_arch::{Addr55_12, IrsIntId, IrsIntType, VmId};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::lab::memory::TableBlock;
use crate::lab::virt::cast::INTERRUPTS;
use crate::lab::virt::tables::{SHAPE, Vm};
use crate::outcome::{Failure, Outcome, expect};

/// A virtual IST.
#[derive(Clone, Copy, Debug)]
pub struct VirtualIst {
    /// Its shape.
    pub geometry: IstGeometry,
    /// The IST, or its level-1 table.
    pub base: TableBlock,
    /// The first level-2 IST, if there is one.
    pub level2: Option<TableBlock>,
}

impl VirtualIst {
    /// Where the entry of an ID is, if its level-2 IST is there.
    #[must_use]
    pub fn entry(&self, id: u32) -> Option<(TableBlock, u64)> {
        match self.geometry.index(id).ok()? {
            TableIndex::Linear(slot) => Some((self.base, slot.offset)),
            TableIndex::TwoLevel { level1, level2 } => {
                self.level2.filter(|_| level1.index == 0).map(|table| (table, level2.offset))
            }
        }
    }
}

impl<B: Bench> Lab<'_, B> {
    /// The smallest linear IST of a type that holds [`INTERRUPTS`].
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn virtual_geometry(&self, int_type: IrsIntType) -> Result<IstGeometry, Failure> {
        let limits = IstLimits::from_idr2(self.features.idr2).map_err(|_| SHAPE)?;
        let bits = limits.id_bits_for(int_type, INTERRUPTS).map_err(|_| SHAPE)?;
        IstGeometry::linear(bits, limits.entry_size(bits)).map_err(|_| SHAPE)
    }

    /// A two-level IST of a type.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn virtual_two_level(&self, size: L2Size) -> Result<IstGeometry, Failure> {
        self.features.two_level_ist(size).ok_or(SHAPE)
    }

    /// Memory for an IST, with the first [`INTERRUPTS`] entries preset (IST-22), described in the VM's entry and not made
    /// valid (IST-2). Of a two-level IST the level-1 table is empty.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn describe_ist(
        &self,
        vm: &Vm,
        int_type: IrsIntType,
        geometry: IstGeometry,
        preset: L2_ISTE,
    ) -> Result<VirtualIst, Failure> {
        let base = self.memory(geometry.base())?;
        let ist = VirtualIst { geometry, base, level2: None };
        self.fill_ist(&ist, preset);
        let word = geometry.vmte_word(base.address).map_err(|_| SHAPE)?;
        self.store64(vm.table, vm.offset + L2_VMTE::ist_word(int_type) as u64 * 8, word.raw_value());
        Ok(ist)
    }

    /// Writes the first [`INTERRUPTS`] entries of an IST that is not valid, as far as they are there.
    pub fn fill_ist(&self, ist: &VirtualIst, preset: L2_ISTE) {
        for id in 0..INTERRUPTS {
            if let Some((table, offset)) = ist.entry(id) {
                self.store32(table, offset, preset.raw_value());
            }
        }
    }

    /// A level-2 IST for the first IDs, with entries preset, in the level-1 entry with VALID=0 (IST-18).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted).
    pub fn describe_level2(&self, ist: &mut VirtualIst, preset: L2_ISTE) -> Outcome {
        let level2 = self.memory(ist.geometry.level2().ok_or(SHAPE)?)?;
        ist.level2 = Some(level2);
        self.fill_ist(ist, preset);
        let address = Addr55_12::new(level2.address).map_err(|_| SHAPE)?;
        self.store64(ist.base, 0, L1_ISTE::ZERO.with_l2_addr(address).raw_value());
        Ok(())
    }

    /// Makes a virtual IST valid or invalid (IST-2, IST-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn map_ist(&self, vm: VmId, int_type: IrsIntType, action: MapAction) -> Outcome {
        self.write(IRS_VMAP_VISTR::ZERO.with_m(true).with_u(action).with_int_type(int_type).with_vm_id(vm))
    }

    /// Makes a level-2 virtual IST valid (IST-18).
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy).
    pub fn map_level2_ist(&self, vm: VmId, id: IrsIntId) -> Outcome {
        let command = IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_vm_id(vm);
        self.write(command.with_int_type(id.int_type()).with_id(id.id_field()))
    }

    /// An IST of the usual shape, valid.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn virtual_ist(&self, vm: &Vm, int_type: IrsIntType, preset: L2_ISTE) -> Result<VirtualIst, Failure> {
        let ist = self.describe_ist(vm, int_type, self.virtual_geometry(int_type)?, preset)?;
        self.map_ist(vm.id, int_type, MapAction::MakeValid)?;
        expect("IST_VALID in the VM's entry", true, self.ist_is_valid(vm, int_type))?;
        Ok(ist)
    }

    /// The valid bit of one of a VM's ISTs.
    #[must_use]
    pub fn ist_is_valid(&self, vm: &Vm, int_type: IrsIntType) -> bool {
        self.load64(vm.table, vm.offset + L2_VMTE::ist_word(int_type) as u64 * 8) & 1 != 0
    }

    /// An entry of a virtual IST as the IRS has written it: to be asked after a save, or when the IST is invalid.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted) if its level-2 IST is not there.
    pub fn entry_in_memory(&self, ist: &VirtualIst, id: u32) -> Result<L2_ISTE, Failure> {
        let (table, offset) = ist.entry(id).ok_or(SHAPE)?;
        Ok(L2_ISTE::new_with_raw_value(self.load32(table, offset)))
    }
}
