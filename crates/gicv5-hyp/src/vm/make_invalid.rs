//! Whose memory is whose.
//!
//! What an IRS may touch is *lent*: there is a [`Lease`] of it, and from a lease nothing comes back but against a proof
//! made by a completed command that made the enclosing structure invalid. A proof names the VM and its generation, and only
//! this module can make one: [`SharedVmTable::make_vm_invalid`], [`SharedVmTable::make_ist_invalid`] and [`SharedVmTable::withdraw`] are the three
//! ways. A time-out on the way leaves the lease a lease (LIFE-10).
//!
//! Within a live table ownership is per entry: an entry that is still invalid may be filled, with VALID left 0 (VMT-13,
//! VMT-17, IST-2). Entries of different VMs share cache lines, and so do the words of one entry; nothing is written to a line
//! while the IRS may write to it, because every edit is made by the owner of the port that the commands go through
//! (COH-7, VMT-21).

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use gicv5_arch::IrsIntType;
use gicv5_arch::entry::L2_VMTE;
use gicv5_arch::irs::{IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMT_BASER, IrsReg};
use gicv5_arch::values::MapAction;
use gicv5_hal::Lock;

use crate::Hypervisor;
use crate::ids::{IstKey, VmKey};
use crate::machine::Machine;
use crate::tables::ist::Ist;
use crate::tables::vm_table::{SharedVmTable, VmTable};
use crate::tables::vpe_table::Tables;
use gicv5_irs::command::{Command, CommandError, Place};
use gicv5_irs::command_port::Port;
use gicv5_irs::heap::Boxed;
use gicv5_irs::lease::{Part, Proof};

/// Proof that a VM is invalid: no IRS touches anything of it (VM-6).
pub(crate) struct VmInvalid(VmKey);

impl<B> Proof<Tables<B>> for VmInvalid {
    fn covers(&self, tables: &Tables<B>) -> bool {
        tables.key == self.0
    }
}

impl<B> Proof<Boxed<Ist<B>>> for VmInvalid {
    fn covers(&self, ist: &Boxed<Ist<B>>) -> bool {
        ist.key.vm() == self.0
    }
}

/// Proof that an IST of a VM is invalid (IST-7). It holds as long as the port is not given back: then the VM may get
/// another IST, which it would cover as well.
pub(crate) struct IstInvalid<'p>(IstKey, PhantomData<&'p ()>);

impl<B> Proof<Boxed<Ist<B>>> for IstInvalid<'_> {
    fn covers(&self, ist: &Boxed<Ist<B>>) -> bool {
        ist.key == self.0
    }
}

/// Proof that the VM table is invalid, and everything behind it (VMT-6, VMT-7).
struct TableWithdrawn;

impl<B> Proof<VmTable<B>> for TableWithdrawn {
    fn covers(&self, _: &VmTable<B>) -> bool {
        true
    }
}

impl<H: Hypervisor> SharedVmTable<H> {
    /// Makes a VM invalid, sees that it is, and leaves its entry all zero for the next one of this ID (VM-2, VM-14).
    ///
    /// It is harmless, and not left out, where the VM has not become valid: an earlier command to make it so may have timed
    /// out, and is over now that the port is taken.
    pub(crate) async fn make_vm_invalid(
        &self,
        machine: &Machine<H>,
        port: &mut Port<'_, H>,
        key: VmKey,
    ) -> Result<VmInvalid, CommandError> {
        let command = Command::MakeVmInvalid(key.vm());
        let value = IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(key.vm());
        port.issue(command, value).await?;
        self.clear(machine, key.vm(), 0..L2_VMTE::WORDS.len())
            .map_err(|(entry, found)| port.no_effect(command, Place::Entry(entry), found))?;
        Ok(VmInvalid(key))
    }

    /// Makes an IST of a valid VM invalid, sees that it is, and leaves its word of the VM's entry zero (IST-5).
    pub(crate) async fn make_ist_invalid<'p>(
        &self,
        machine: &Machine<H>,
        port: &'p mut Port<'_, H>,
        key: VmKey,
        int_type: IrsIntType,
    ) -> Result<IstInvalid<'p>, CommandError> {
        let command = Command::MakeIstInvalid(key.vm(), int_type);
        let value = IRS_VMAP_VISTR::ZERO
            .with_m(true)
            .with_u(MapAction::MakeInvalid)
            .with_int_type(int_type)
            .with_vm_id(key.vm());
        port.issue(command, value).await?;
        let at = L2_VMTE::ist_word(int_type);
        self.clear(machine, key.vm(), at..at + 1)
            .map_err(|(entry, found)| port.no_effect(command, Place::Entry(entry), found))?;
        Ok(IstInvalid(IstKey::new(key, int_type), PhantomData))
    }

    /// Makes the VM table invalid, with everything behind it (VMT-6), in every IRS that may have been given it.
    ///
    /// The table is software's then, and yet a draft: to be freed, or given to the IRSs once more.
    ///
    /// The write is harmless where it is not valid, and not left out there: what a register reads is no better proof than
    /// what the IRS says when it has finished. No VM may become valid meanwhile; the caller has seen to it that none is
    /// being initialised.
    pub(crate) async fn withdraw(&self, machine: &Machine<H>, port: &mut Port<'_, H>) -> Result<(), CommandError> {
        let command = Command::WithdrawTable;
        for irs in machine.irss() {
            port.turn_to(irs, command).await?;
            port.issue(command, IRS_VMT_BASER::ZERO).await?;
            let found: IRS_VMT_BASER = port.read();
            if found.valid() {
                return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_BASER), found.raw_value()));
            }
        }
        // VMs of this generation and later may become valid again.
        self.withdrawn_before.store(self.next_generation(), Ordering::Release);
        self.part.with(|part| {
            if let Some(table) = part.end(&TableWithdrawn) {
                *part = Part::Draft(table);
            }
        });
        Ok(())
    }

    /// Proof that a VM is invalid, if the table has been withdrawn since the VM was named.
    pub(crate) fn went_with_table(&self, key: VmKey) -> Option<VmInvalid> {
        if key.generation() < self.withdrawn_before.load(Ordering::Acquire) { Some(VmInvalid(key)) } else { None }
    }
}
