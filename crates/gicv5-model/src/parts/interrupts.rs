//! The LPIs and SPIs of one interrupt domain: their state, and for each target the most urgent candidate.
//!
//! The same machine serves the physical domain and, later, every VM. An interrupt's state is its IST entry
//! ([`L2_ISTE`]); it is a candidate of its target while it is Pending, Enabled and not Active (HPPI-1).
//!
//! # How the most urgent candidate is found without looking for it
//!
//! Each target has 32 queues, one for each priority, and a word that says which of them are not empty. The queues are
//! linked through the states themselves, so that an interrupt enters and leaves its queue in constant time and the first
//! of the most urgent queue is the candidate: the cost of an event does not depend on how much is pending. Equally urgent
//! interrupts come in the order in which they became candidates, or the other way round: HPPI-4 leaves that open.
//!
//! # Where a state lives
//!
//! An IST in memory belongs to the IRS from the moment it is valid, so the model reads an entry when it first needs it,
//! keeps it, and writes it back when the IST becomes invalid, or earlier at moments chosen from the seed (IST-26).

use std::mem;

use arbitrary_int::u24;
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::RoutingMode;
use gicv5_arch::{Iaffid, IrsIntId, IrsIntType, Lpi, Priority, Spi};

use crate::parts::irs_side::IrsMemory;
use crate::parts::ist::{Ist, Unreachable};
use crate::words::config::{Equals, PresetPending, Switches};

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The state before.
    pub(crate) before: L2_ISTE,
    /// The state after.
    pub(crate) after: L2_ISTE,
    /// Whether the IRS has become aware of a pending bit that it had not noticed (IST-22).
    pub(crate) noticed: bool,
}

/// An interrupt as the queues know it: SPIs have bit 24 set.
type Link = u32;

const SPI: Link = 1 << 24;
const NIL: Link = u32::MAX;

fn link(id: IrsIntId) -> Link {
    match id {
        IrsIntId::Lpi(lpi) => lpi.id(),
        IrsIntId::Spi(spi) => spi.id() | SPI,
    }
}

fn unlink(link: Link) -> IrsIntId {
    let id = u24::new(link & (SPI - 1));
    match link & SPI {
        0 => IrsIntId::Lpi(Lpi::new_with_raw_value(id)),
        _ => IrsIntId::Spi(Spi::new_with_raw_value(id)),
    }
}

/// The state of one interrupt and its place in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    /// The IST entry.
    entry: L2_ISTE,
    /// Neighbours in the queue; NIL at the ends.
    previous: Link,
    next: Link,
    /// What the model knows about it.
    known: Known,
}

impl Slot {
    /// True if the interrupt is in the queue of its target and priority.
    fn is_queued(&self) -> bool {
        self.known.is_noticed() && is_candidate(self.entry)
    }
}

/// What the model knows about a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Not read from memory yet.
    Unread,
    /// Same as in memory, where software has left it pending; not in a queue, whatever it is (IST-22).
    Unnoticed,
    /// Same as in memory.
    Clean,
    /// Newer than memory.
    Dirty,
    /// Newer than memory, and not in a queue, whatever it is (INJ-8).
    Overlooked,
}

impl Known {
    /// Whether the state counts.
    fn is_noticed(self) -> bool {
        !matches!(self, Known::Unnoticed | Known::Overlooked)
    }

    /// What it is when the state has been written back; `None` if memory has it already.
    fn written_back(self) -> Option<Known> {
        match self {
            Known::Dirty => Some(Known::Clean),
            Known::Overlooked => Some(Known::Unnoticed),
            Known::Unread | Known::Unnoticed | Known::Clean => None,
        }
    }
}

const PAGE: usize = 256;

/// States by ID, allocated where they are used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Pages {
    pages: Vec<Option<Box<[Slot; PAGE]>>>,
}

impl Pages {
    const UNREAD: Slot = Slot { entry: L2_ISTE::ZERO, previous: NIL, next: NIL, known: Known::Unread };

    fn get(&self, id: u32) -> Option<&Slot> {
        self.pages.get(id as usize / PAGE)?.as_deref()?.get(id as usize % PAGE)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Slot> {
        self.pages.get_mut(id as usize / PAGE)?.as_deref_mut()?.get_mut(id as usize % PAGE)
    }

    fn get_or_insert(&mut self, id: u32) -> Option<&mut Slot> {
        let page = id as usize / PAGE;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages.get_mut(page)?.get_or_insert_with(|| Box::new([Pages::UNREAD; PAGE]));
        page.get_mut(id as usize % PAGE)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Slot)> {
        self.pages
            .iter_mut()
            .enumerate()
            .filter_map(|(n, page)| Some((n, page.as_deref_mut()?)))
            .flat_map(|(n, page)| page.iter_mut().enumerate().map(move |(m, slot)| ((n * PAGE + m) as u32, slot)))
    }
}

/// The candidates of one target.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Queues {
    first: [Link; 32],
    last: [Link; 32],
    /// Bit n is set while the queue of priority n is not empty.
    occupied: u32,
}

impl Queues {
    const EMPTY: Queues = Queues { first: [NIL; 32], last: [NIL; 32], occupied: 0 };
}

/// The queues of 64 targets with neighbouring IDs.
type TargetGroup = [Option<Box<Queues>>; 64];

/// Candidates by target, allocated where they are used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Targets {
    groups: Vec<Option<Box<TargetGroup>>>,
}

impl Targets {
    fn get(&self, target: Iaffid) -> Option<&Queues> {
        let target = usize::from(target.raw_value());
        self.groups.get(target / 64)?.as_deref()?.get(target % 64)?.as_deref()
    }

    fn get_or_insert(&mut self, target: Iaffid) -> Option<&mut Queues> {
        let target = usize::from(target.raw_value());
        if self.groups.len() <= target / 64 {
            self.groups.resize_with(target / 64 + 1, || None);
        }
        let group = self.groups.get_mut(target / 64)?.get_or_insert_with(|| Box::new([const { None }; 64]));
        Some(group.get_mut(target % 64)?.get_or_insert_with(|| Box::new(Queues::EMPTY)))
    }
}

/// Where the states of one type of interrupt come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backing {
    /// There is no valid IST: no interrupt of the type can be reached.
    Absent,
    /// Inside the IRS: IDs from `first` on (SPI-8).
    Internal {
        /// The first ID.
        first: u32,
        /// How many there are.
        count: u32,
    },
    /// An IST in memory.
    Ist(Ist),
}

/// The LPIs and SPIs of one interrupt domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Interrupts {
    lpi: (Backing, Pages),
    spi: (Backing, Pages),
    targets: Targets,
    preset_pending: PresetPending,
    equals: Equals,
    /// The targets of entries found since [`take_preset`](Self::take_preset) was last asked.
    preset: Vec<Iaffid>,
}

impl Interrupts {
    /// No LPIs, and SPIs from `spis`.
    pub(crate) fn new(spis: Backing, switches: &Switches) -> Interrupts {
        Interrupts {
            lpi: (Backing::Absent, Pages::default()),
            spi: (spis, Pages::default()),
            targets: Targets::default(),
            preset_pending: switches.preset_pending,
            equals: switches.equals,
            preset: Vec::new(),
        }
    }

    /// The target of an entry that has been found not to be as it must be when its IST became valid (IST-22).
    #[inline]
    pub(crate) fn take_preset(&mut self) -> Option<Iaffid> {
        self.preset.pop()
    }

    fn table(&self, int_type: IrsIntType) -> &(Backing, Pages) {
        match int_type {
            IrsIntType::Lpi => &self.lpi,
            IrsIntType::Spi => &self.spi,
        }
    }

    fn table_mut(&mut self, int_type: IrsIntType) -> &mut (Backing, Pages) {
        match int_type {
            IrsIntType::Lpi => &mut self.lpi,
            IrsIntType::Spi => &mut self.spi,
        }
    }

    /// Where the states of a type come from.
    pub(crate) fn backing(&self, int_type: IrsIntType) -> Backing {
        self.table(int_type).0
    }

    /// Adopts an IST that became valid. Whatever was there before must have been withdrawn.
    pub(crate) fn adopt(&mut self, int_type: IrsIntType, ist: Ist) {
        *self.table_mut(int_type) = (Backing::Ist(ist), Pages::default());
    }

    /// Gives up the IST of a type, and takes its interrupts out of the queues (IST-5). Changed states that are to be kept
    /// must have been [written back](Self::write_back). Returns the targets whose candidates may have changed.
    pub(crate) fn withdraw(&mut self, int_type: IrsIntType) -> Vec<Iaffid> {
        let mut touched = Vec::new();
        let (_, pages) = self.table_mut(int_type);
        let queued: Vec<u32> = pages.iter_mut().filter(|(_, slot)| slot.is_queued()).map(|(id, _)| id).collect();
        for id in queued {
            let link = link(IrsIntId::from_parts(int_type, u24::new(id & (SPI - 1))));
            if let Some(slot) = self.slot(link) {
                touched.push(slot.entry.iaffid());
                self.dequeue(link);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        *self.table_mut(int_type) = (Backing::Absent, Pages::default());
        touched
    }

    /// Writes every changed state of a type back to its IST.
    pub(crate) fn write_back(&mut self, int_type: IrsIntType, memory: &mut impl IrsMemory) {
        let (backing, pages) = self.table_mut(int_type);
        let Backing::Ist(ist) = *backing else { return };
        for (id, slot) in pages.iter_mut() {
            if let Some(known) = slot.known.written_back()
                && let Ok(address) = ist.entry(id, memory)
                && memory.irs_store32(ist.irs, address, slot.entry.raw_value())
            {
                slot.known = known;
            }
        }
    }

    /// Takes an interrupt out of its queue until something names it again.
    pub(crate) fn overlook(&mut self, id: IrsIntId) {
        let link = link(id);
        if self.slot(link).is_some_and(Slot::is_queued) {
            self.dequeue(link);
        }
        if let Some(slot) = self.slot_mut(link) {
            slot.known = Known::Overlooked;
        }
    }

    /// Writes one state back to its IST, if it has changed.
    pub(crate) fn write_back_one(&mut self, id: IrsIntId, memory: &mut impl IrsMemory) {
        let (backing, pages) = self.table_mut(id.int_type());
        if let Backing::Ist(ist) = *backing
            && let Some(slot) = pages.get_mut(id.id())
            && let Some(known) = slot.known.written_back()
            && let Ok(address) = ist.entry(id.id(), memory)
            && memory.irs_store32(ist.irs, address, slot.entry.raw_value())
        {
            slot.known = known;
        }
    }

    /// The state of an interrupt, which the IRS reads from memory if it has not done so yet.
    pub(crate) fn state(&mut self, id: IrsIntId, memory: &mut impl IrsMemory) -> Result<L2_ISTE, Unreachable> {
        if let Some(entry) = self.known(id) {
            return Ok(entry);
        }
        let (from_memory, entry) = self.fetch(id, memory)?;
        let mut known = Known::Clean;
        // Active may be preset, Pending may not (IST-22).
        if from_memory && (entry.pending() || entry.hwu().value() != 0) {
            self.preset.push(entry.iaffid());
            if self.preset_pending == PresetPending::NotNoticed {
                known = Known::Unnoticed;
            }
        }
        let slot = Slot { entry, known, ..Pages::UNREAD };
        if let Some(place) = self.table_mut(id.int_type()).1.get_or_insert(id.id()) {
            *place = slot;
        }
        if slot.is_queued() {
            self.enqueue(link(id));
        }
        Ok(entry)
    }

    /// The state of an interrupt, for somebody who only looks: the IRS does not come to know it by this.
    pub(crate) fn peek(&self, id: IrsIntId, memory: &mut impl IrsMemory) -> Result<L2_ISTE, Unreachable> {
        match self.known(id) {
            Some(entry) => Ok(entry),
            None => Ok(self.fetch(id, memory)?.1),
        }
    }

    /// The state of an interrupt, if the IRS knows it.
    fn known(&self, id: IrsIntId) -> Option<L2_ISTE> {
        let slot = self.table(id.int_type()).1.get(id.id())?;
        (slot.known != Known::Unread).then_some(slot.entry)
    }

    /// The state of an interrupt that the IRS does not know yet, and whether it is read from memory.
    fn fetch(&self, id: IrsIntId, memory: &mut impl IrsMemory) -> Result<(bool, L2_ISTE), Unreachable> {
        match self.table(id.int_type()).0 {
            Backing::Absent => Err(Unreachable::NoIst),
            Backing::Internal { first, count } => match id.id().checked_sub(first) {
                Some(n) if n < count => Ok((false, L2_ISTE::ZERO)),
                _ => Err(Unreachable::OutOfRange),
            },
            Backing::Ist(ist) => {
                let address = ist.entry(id.id(), memory)?;
                let raw = memory.irs_load32(ist.irs, address).ok_or(Unreachable::Level2Fault { entry: address })?;
                // Without 1-of-N the routing mode is ignored (RTE-3).
                Ok((true, L2_ISTE::new_with_raw_value(raw).with_irm(RoutingMode::Targeted)))
            }
        }
    }

    /// Changes the state of an interrupt and moves it to the queue where it belongs now.
    pub(crate) fn update(
        &mut self,
        id: IrsIntId,
        memory: &mut impl IrsMemory,
        change: impl FnOnce(L2_ISTE) -> L2_ISTE,
    ) -> Result<Change, Unreachable> {
        let before = self.state(id, memory)?;
        let after = change(before);
        let link = link(id);
        let noticed = self.slot(link).is_some_and(|slot| !slot.known.is_noticed());
        if after == before && !noticed {
            return Ok(Change { before, after, noticed });
        }
        let was_queued = !noticed && is_candidate(before);
        let moves = was_queued != is_candidate(after)
            || before.priority() != after.priority()
            || before.iaffid() != after.iaffid();
        if moves && was_queued {
            self.dequeue(link);
        }
        if let Some(slot) = self.slot_mut(link) {
            slot.entry = after;
            slot.known = Known::Dirty;
        }
        if moves && is_candidate(after) {
            self.enqueue(link);
        }
        Ok(Change { before, after, noticed })
    }

    /// The most urgent candidate of a target, and its priority (HPPI-1).
    pub(crate) fn candidate(&self, target: Iaffid) -> Option<(IrsIntId, Priority)> {
        let queues = self.targets.get(target)?;
        let priority = Priority::new(queues.occupied.trailing_zeros()).ok()?;
        let first = queues.first.get(usize::from(priority.number()))?;
        Some((unlink(*first), priority))
    }

    /// The priorities at which a target has candidates: bit n is set for priority n.
    pub(crate) fn priorities(&self, target: Iaffid) -> u32 {
        self.targets.get(target).map_or(0, |queues| queues.occupied)
    }

    /// Makes an interrupt the first of its queue, if that is the most urgent one of its target. Returns the target.
    pub(crate) fn prefer(&mut self, id: IrsIntId) -> Option<Iaffid> {
        let link = link(id);
        let slot = self.slot(link)?;
        let (entry, queued) = (slot.entry, slot.is_queued());
        let (first, priority) = self.candidate(entry.iaffid())?;
        if !queued || priority != entry.priority() {
            return None;
        }
        if first != id {
            // The others keep their order.
            self.dequeue(link);
            self.enqueue_first(link);
        }
        Some(entry.iaffid())
    }

    /// Puts an interrupt into the queue of its target and priority.
    fn enqueue(&mut self, link: Link) {
        match self.equals {
            Equals::FirstCome => self.enqueue_last(link),
            Equals::LastCome => self.enqueue_first(link),
        }
    }

    /// Puts an interrupt at the start of the queue of its target and priority.
    fn enqueue_first(&mut self, link: Link) {
        let Some(entry) = self.slot(link).map(|slot| slot.entry) else { return };
        let priority = usize::from(entry.priority().number());
        let Some(queues) = self.targets.get_or_insert(entry.iaffid()) else { return };
        let (Some(first), Some(last)) = (queues.first.get_mut(priority), queues.last.get_mut(priority)) else { return };
        let next = mem::replace(first, link);
        if next == NIL {
            *last = link;
        }
        queues.occupied |= 1 << priority;
        if let Some(slot) = self.slot_mut(next) {
            slot.previous = link;
        }
        if let Some(slot) = self.slot_mut(link) {
            (slot.previous, slot.next) = (NIL, next);
        }
    }

    /// Puts an interrupt at the end of the queue of its target and priority.
    fn enqueue_last(&mut self, link: Link) {
        let Some(entry) = self.slot(link).map(|slot| slot.entry) else { return };
        let priority = usize::from(entry.priority().number());
        let Some(queues) = self.targets.get_or_insert(entry.iaffid()) else { return };
        let (Some(first), Some(last)) = (queues.first.get_mut(priority), queues.last.get_mut(priority)) else { return };
        let previous = mem::replace(last, link);
        if previous == NIL {
            *first = link;
        }
        queues.occupied |= 1 << priority;
        if let Some(slot) = self.slot_mut(previous) {
            slot.next = link;
        }
        if let Some(slot) = self.slot_mut(link) {
            (slot.previous, slot.next) = (previous, NIL);
        }
    }

    /// Takes an interrupt out of its queue.
    fn dequeue(&mut self, link: Link) {
        let Some(&Slot { entry, previous, next, .. }) = self.slot(link) else { return };
        if let Some(slot) = self.slot_mut(previous) {
            slot.next = next;
        }
        if let Some(slot) = self.slot_mut(next) {
            slot.previous = previous;
        }
        let priority = usize::from(entry.priority().number());
        let Some(queues) = self.targets.get_or_insert(entry.iaffid()) else { return };
        if let Some(first) = queues.first.get_mut(priority)
            && previous == NIL
        {
            *first = next;
            if next == NIL {
                queues.occupied &= !(1 << priority);
            }
        }
        if let Some(last) = queues.last.get_mut(priority)
            && next == NIL
        {
            *last = previous;
        }
        if let Some(slot) = self.slot_mut(link) {
            (slot.previous, slot.next) = (NIL, NIL);
        }
    }

    fn slot(&self, link: Link) -> Option<&Slot> {
        match link {
            NIL => None,
            lpi if lpi & SPI == 0 => self.lpi.1.get(lpi),
            spi => self.spi.1.get(spi & !SPI),
        }
    }

    fn slot_mut(&mut self, link: Link) -> Option<&mut Slot> {
        match link {
            NIL => None,
            lpi if lpi & SPI == 0 => self.lpi.1.get_mut(lpi),
            spi => self.spi.1.get_mut(spi & !SPI),
        }
    }
}

/// True if the interrupt may be offered to its target (HPPI-1).
pub(crate) fn is_candidate(entry: L2_ISTE) -> bool {
    // One look at three bits: this is on the path of every event.
    const PENDING_ENABLED: u32 = L2_ISTE::ZERO.with_pending(true).with_enable(true).raw_value();
    const RELEVANT: u32 = PENDING_ENABLED | L2_ISTE::ZERO.with_active(true).raw_value();
    entry.raw_value() & RELEVANT == PENDING_ENABLED
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use arbitrary_int::u5;
    use gicv5_arch::PhysAddr;
    use gicv5_arch::geometry::IstGeometry;
    use gicv5_arch::values::IstSize;
    use gicv5_hal::IrsIndex;
    use proptest::prelude::*;

    /// Memory with nothing around it.
    #[derive(Clone, Default, Debug)]
    struct Words(HashMap<u64, u32>);

    impl IrsMemory for Words {
        fn irs_load32(&mut self, _: IrsIndex, address: PhysAddr) -> Option<u32> {
            Some(self.0.get(&address.raw()).copied().unwrap_or(0))
        }
        fn irs_load64(&mut self, irs: IrsIndex, address: PhysAddr) -> Option<u64> {
            let low = self.irs_load32(irs, address)?;
            let high = self.irs_load32(irs, address.offset(4).ok()?)?;
            Some(u64::from(high) << 32 | u64::from(low))
        }
        fn irs_store32(&mut self, _: IrsIndex, address: PhysAddr, value: u32) -> bool {
            self.0.insert(address.raw(), value);
            true
        }
    }

    fn lpi(id: u32) -> IrsIntId {
        IrsIntId::Lpi(Lpi::new(id).unwrap())
    }

    fn spi(id: u32) -> IrsIntId {
        IrsIntId::Spi(Spi::new(id).unwrap())
    }

    fn priority(number: u32) -> Priority {
        Priority::new(number).unwrap()
    }

    fn pending(number: u32) -> L2_ISTE {
        L2_ISTE::ZERO.with_enable(true).with_pending(true).with_priority(priority(number))
    }

    fn machine() -> (Interrupts, Words) {
        machine_with(Equals::FirstCome)
    }

    fn machine_with(equals: Equals) -> (Interrupts, Words) {
        let spis = Backing::Internal { first: 32, count: 64 };
        let mut interrupts = Interrupts::new(spis, &Switches { equals, ..Switches::default() });
        let geometry = IstGeometry::linear(10, IstSize::Bytes4).unwrap();
        interrupts.adopt(IrsIntType::Lpi, Ist { irs: IrsIndex(0), base: PhysAddr::new(0x1000).unwrap(), geometry });
        (interrupts, Words::default())
    }

    const PE0: Iaffid = Iaffid::new(0);

    #[test]
    fn the_most_urgent_candidate_wins_and_ties_go_to_the_first_come_or_the_last() {
        for (equals, first, second) in [(Equals::FirstCome, spi(40), lpi(1)), (Equals::LastCome, lpi(1), spi(40))] {
            let (mut interrupts, mut memory) = machine_with(equals);
            for (id, number) in [(lpi(3), 9), (spi(40), 4), (lpi(1), 4), (lpi(2), 31)] {
                interrupts.update(id, &mut memory, |_| pending(number)).unwrap();
            }
            assert_eq!(interrupts.candidate(PE0), Some((first, priority(4))), "HPPI-4");
            interrupts.update(first, &mut memory, |entry| entry.with_active(true)).unwrap();
            assert_eq!(interrupts.candidate(PE0), Some((second, priority(4))));
            interrupts.update(second, &mut memory, |entry| entry.with_enable(false)).unwrap();
            assert_eq!(interrupts.candidate(PE0), Some((lpi(3), priority(9))));
        }
    }

    #[test]
    fn an_interrupt_for_a_target_that_does_not_exist_waits_until_it_is_retargeted() {
        let (mut interrupts, mut memory) = machine();
        interrupts.update(lpi(5), &mut memory, |_| pending(7).with_iaffid(Iaffid::new(u16::MAX))).unwrap();
        assert_eq!(interrupts.candidate(PE0), None, "RTE-4");
        interrupts.update(lpi(5), &mut memory, |entry| entry.with_iaffid(PE0)).unwrap();
        assert_eq!(interrupts.candidate(PE0), Some((lpi(5), priority(7))), "RTE-5");
        assert_eq!(interrupts.candidate(Iaffid::new(u16::MAX)), None);
    }

    #[test]
    fn an_interrupt_without_a_place_cannot_be_reached() {
        let (mut interrupts, mut memory) = machine();
        for id in [spi(31), spi(96), lpi(1024), lpi(0xff_ffff)] {
            assert_eq!(interrupts.state(id, &mut memory), Err(Unreachable::OutOfRange), "{id} (IST-27)");
        }
        interrupts.withdraw(IrsIntType::Lpi);
        assert_eq!(interrupts.state(lpi(0), &mut memory), Err(Unreachable::NoIst));
    }

    #[test]
    fn withdrawing_an_ist_writes_its_states_back_and_leaves_the_spis_alone() {
        let (mut interrupts, mut memory) = machine();
        interrupts.update(lpi(8), &mut memory, |_| pending(1)).unwrap();
        interrupts.update(lpi(9), &mut memory, |_| pending(1).with_iaffid(Iaffid::new(3))).unwrap();
        interrupts.update(spi(33), &mut memory, |_| pending(2)).unwrap();
        interrupts.write_back(IrsIntType::Lpi, &mut memory);
        assert_eq!(interrupts.withdraw(IrsIntType::Lpi), [PE0, Iaffid::new(3)]);
        assert_eq!(memory.0.get(&0x1020), Some(&pending(1).raw_value()), "IST-5");
        assert_eq!(memory.0.get(&0x1000), None, "an entry that nobody touched is not written");
        assert_eq!(interrupts.candidate(PE0), Some((spi(33), priority(2))));
        assert_eq!(interrupts.candidate(Iaffid::new(3)), None);
    }

    #[test]
    fn one_of_several_equals_can_be_preferred_and_no_other() {
        let (mut interrupts, mut memory) = machine();
        for (id, number) in [(lpi(1), 4), (lpi(2), 4), (lpi(3), 4), (lpi(4), 5)] {
            interrupts.update(id, &mut memory, |_| pending(number)).unwrap();
        }
        assert_eq!(interrupts.prefer(lpi(3)), Some(PE0), "HPPI-4");
        assert_eq!(interrupts.candidate(PE0), Some((lpi(3), priority(4))));
        assert_eq!(interrupts.prefer(lpi(4)), None, "it is less urgent");
        assert_eq!(interrupts.prefer(lpi(9)), None, "it is not pending");
        let mut order = Vec::new();
        while let Some((id, _)) = interrupts.candidate(PE0) {
            order.push(id);
            interrupts.update(id, &mut memory, |entry| entry.with_pending(false)).unwrap();
        }
        assert_eq!(order, [lpi(3), lpi(1), lpi(2), lpi(4)]);
    }

    /// Every state in one map, and a search through all of them for each question.
    #[derive(Clone, Debug, Default)]
    struct Naive(HashMap<u32, L2_ISTE>);

    impl Naive {
        fn most_urgent(&self, target: Iaffid) -> Option<u8> {
            self.0
                .values()
                .filter(|e| e.pending() && e.enable() && !e.active() && e.iaffid() == target)
                .map(|e| e.priority().number())
                .min()
        }
    }

    proptest! {
        #[test]
        fn the_queues_agree_with_a_search_through_all_states(
            equals in proptest::sample::select(Equals::POSITIONS),
            steps in proptest::collection::vec((0u32..40, 0u8..8, 0u8..4, 0u16..3), 1..400)
        ) {
            let (mut interrupts, mut memory) = machine_with(equals);
            let mut naive = Naive::default();
            for (n, flags, number, target) in steps {
                let id = if n < 20 { lpi(n * 50) } else { spi(n + 20) };
                let entry = L2_ISTE::ZERO
                    .with_pending(flags & 1 != 0)
                    .with_active(flags & 2 != 0)
                    .with_enable(flags & 4 != 0)
                    .with_priority(Priority::new_with_raw_value(u5::new(number)))
                    .with_iaffid(Iaffid::new(target * 100));
                interrupts.update(id, &mut memory, |_| entry).unwrap();
                naive.0.insert(n, entry);
                for target in [0, 100, 200].map(Iaffid::new) {
                    let found = interrupts.candidate(target);
                    prop_assert_eq!(found.map(|(_, priority)| priority.number()), naive.most_urgent(target));
                    if let Some((id, priority)) = found {
                        let entry = interrupts.state(id, &mut memory).unwrap();
                        prop_assert!(is_candidate(entry) && entry.priority() == priority && entry.iaffid() == target);
                    }
                }
            }
        }
    }
}
