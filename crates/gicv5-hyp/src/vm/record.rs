//! What the library knows of a VM that has a VM ID.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use gicv5_arch::{IrsIntId, VmId, VpeId};
use gicv5_hal::Lock;

use crate::doorbell::Doorbell;
use crate::hypervisor::LpiOf;
use crate::ids::{VcpuIndex, VmKey};
use crate::tables::ist::Ists;
use crate::tables::vpe_table::Tables;
use crate::vcpu::context::{Context, GuestIrs};
use crate::vcpu::ppi::PpiMask;
use crate::vm::state::{Life, VmState};
use crate::{BlockOf, Hypervisor, MutexOf};
use gicv5_irs::heap::{Boxed, Heap, OutOfMemory, boxed_slice};
use gicv5_irs::lease::{Part, Structure};

/// Why a record is with the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// Its handle was dropped.
    Orphan,
    /// The hardware may still use what it holds.
    Quarantine,
}

/// A VM that has a VM ID.
///
/// There is one from the first step of init to the last of teardown. It is the host's, and lent to the [`Vm`](crate::Vm) as
/// long as there is one, so that whoever has the handle finds it without a lock. When the handle is dropped, or teardown
/// cannot be finished, it goes back to the host's list, which takes no memory: the list goes through the records.
pub(crate) struct Record<H: Hypervisor> {
    /// What leases and proofs name it by: no other VM has the same, whatever its ID.
    key: VmKey,
    /// The number of its SPIs.
    spis: u32,
    /// One more than the ID bits of its LPI IST; 0 if it has none.
    lpi_id_bits: AtomicU8,
    /// How far it is.
    pub(crate) life: Life,
    /// The PPIs that the guest sees and the hypervisor may drive (PPI-18, PPI-20).
    pub(crate) ppis: PpiMask,
    /// Whether the guest's IRS is on (RES-13).
    pub(crate) guest_irs: GuestIrs,
    pub(crate) tables: Part<Tables<BlockOf<H>>>,
    /// ISTs come and go while vCPUs run.
    pub(crate) ists: MutexOf<H, Ists<BlockOf<H>>>,
    /// Its vCPUs, by [`VcpuIndex`](crate::VcpuIndex).
    pub(crate) vcpus: Box<[Vcpu<H>]>,
    /// The priorities of the PPIs that the guest sees, as many registers for each vCPU.
    priorities: Box<[AtomicU64]>,
    /// Why it is in the host's list, if it is.
    pub(crate) parked: Parked,
    next: Option<Boxed<Record<H>>>,
}

/// A vCPU. What `run` changes without a lock is atomic or in the doorbell's word.
pub(crate) struct Vcpu<H: Hypervisor> {
    /// The hardware's name for it.
    pub(crate) vpe: VpeId,
    /// Its doorbell. It has one from the second step of init on.
    pub(crate) doorbell: Option<Doorbell<LpiOf<H>>>,
    /// What the CPU interface held when it was put.
    pub(crate) context: Context,
}

impl<H: Hypervisor> Record<H> {
    /// A record of a VM that has nothing yet but its ID and its vCPUs.
    pub(crate) fn new(
        heap: Heap<'_>,
        key: VmKey,
        vpes: &[VpeId],
        spis: u32,
        ppis: PpiMask,
    ) -> Result<Boxed<Record<H>>, OutOfMemory> {
        let mut vpes = vpes.iter();
        let vcpus = boxed_slice(heap, vpes.len(), || Vcpu {
            vpe: vpes.next().copied().unwrap_or(VpeId::new(0)),
            doorbell: None,
            context: Context::default(),
        })?;
        let priorities = boxed_slice(heap, vcpus.len() * ppis.priority_registers().count(), AtomicU64::default)?;
        Boxed::new(
            heap,
            Record {
                key,
                spis,
                lpi_id_bits: AtomicU8::new(0),
                life: Life::new(VmState::Initialising),
                ppis,
                guest_irs: GuestIrs::new(true),
                tables: Part::Absent,
                ists: Lock::new(Ists::NONE),
                vcpus,
                priorities,
                parked: Parked::Orphan,
                next: None,
            },
        )
        .map_err(|(error, _)| error)
    }

    /// Its ID, given back last.
    #[inline]
    pub(crate) const fn vm(&self) -> VmId {
        self.key.vm()
    }

    /// Whether the VM has this interrupt: the SPIs that init was asked for, the LPIs of its LPI IST.
    #[inline]
    pub(crate) fn has(&self, id: IrsIntId) -> bool {
        match id {
            IrsIntId::Spi(spi) => spi.id() < self.spis,
            IrsIntId::Lpi(lpi) => u64::from(lpi.id()) < 1 << self.lpi_id_bits.load(Ordering::Relaxed) >> 1,
        }
    }

    /// The VM has an LPI IST of so many ID bits, or none.
    pub(crate) fn set_lpis(&self, id_bits: Option<u32>) {
        // One more than the ID bits, so that 0 is none.
        self.lpi_id_bits.store(id_bits.map_or(0, |bits| bits as u8 + 1), Ordering::Relaxed);
    }

    /// What leases and proofs name it by.
    pub(crate) const fn key(&self) -> VmKey {
        self.key
    }

    /// The priority registers of the PPIs that the guest sees, of one vCPU.
    pub(crate) fn priorities(&self, vcpu: VcpuIndex) -> &[AtomicU64] {
        let each = self.priorities.len().checked_div(self.vcpus.len()).unwrap_or(0);
        let first = vcpu.0.saturating_mul(each);
        self.priorities.get(first..first.saturating_add(each)).unwrap_or_default()
    }

    /// How far the VM is.
    #[inline]
    pub(crate) fn state(&self) -> VmState {
        self.life.state()
    }

    /// The VM may only be torn down from now on ([`Life::kill`]).
    pub(crate) fn kill(&self) {
        self.life.kill();
    }

    /// Bytes of table memory that it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.content().map_or(0, Structure::bytes) + self.ists.with(|ists| ists.bytes())
    }
}

/// Records that are with the host.
pub(crate) struct Records<H: Hypervisor> {
    head: Option<Boxed<Record<H>>>,
    len: u32,
}

impl<H: Hypervisor> Records<H> {
    pub(crate) const EMPTY: Records<H> = Records { head: None, len: 0 };

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn push(&mut self, mut record: Boxed<Record<H>>) {
        record.next = self.head.take();
        self.head = Some(record);
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<Boxed<Record<H>>> {
        let mut record = self.head.take()?;
        self.head = record.next.take();
        self.len -= 1;
        Some(record)
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, key: VmKey) -> Option<Boxed<Record<H>>> {
        let mut link = &mut self.head;
        while link.as_ref()?.key != key {
            link = &mut link.as_mut()?.next;
        }
        let mut record = link.take()?;
        *link = record.next.take();
        self.len -= 1;
        Some(record)
    }

    /// The first one made after another for which `wanted` holds.
    pub(crate) fn next(&self, after: Option<VmKey>, wanted: impl Fn(&Record<H>) -> bool) -> Option<VmKey> {
        let later = |key: &VmKey| after.is_none_or(|after| key.generation() > after.generation());
        self.iter().filter(|record| wanted(record)).map(Record::key).filter(later).min_by_key(|key| key.generation())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record<H>> {
        core::iter::successors(self.head.as_deref(), |record| record.next.as_deref())
    }
}

impl<H: Hypervisor> Drop for Records<H> {
    /// One by one: a list that drops itself recursively needs as much stack as it is long.
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
