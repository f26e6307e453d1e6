//! The LPIs and SPIs of one interrupt domain, physical or a VM's: their [states](super::states), where these come from, and
//! for each target the most urgent [candidate](super::candidates).
//!
//! # Where a state lives
//!
//! An IST in memory belongs to the IRS from the moment it is valid, so the model reads an entry when it first needs it,
//! keeps it, and writes it back when the IST becomes invalid, or earlier at moments chosen from the seed (IST-26).

use arbitrary_int::u24;
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::values::RoutingMode;
use gicv5_arch::{Iaffid, IrsIntId, IrsIntType, Priority};

use crate::parts::candidates::Candidates;
use crate::parts::irs_side::IrsMemory;
use crate::parts::ist::{Ist, Unreachable};
use crate::parts::states::{Known, Pages, SPI, Slot, States, is_candidate, link};
use crate::words::config::{PresetPending, Switches};

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
    lpi: Backing,
    spi: Backing,
    states: States,
    candidates: Candidates,
    preset_pending: PresetPending,
    /// The targets of entries found since [`take_preset`](Self::take_preset) was last asked.
    preset: Vec<Iaffid>,
}

impl Interrupts {
    /// No LPIs, and SPIs from `spis`.
    pub(crate) fn new(spis: Backing, switches: &Switches) -> Interrupts {
        Interrupts {
            lpi: Backing::Absent,
            spi: spis,
            states: States::default(),
            candidates: Candidates::new(switches.equals),
            preset_pending: switches.preset_pending,
            preset: Vec::new(),
        }
    }

    /// The target of an entry that has been found not to be as it must be when its IST became valid (IST-22).
    #[inline]
    pub(crate) fn take_preset(&mut self) -> Option<Iaffid> {
        self.preset.pop()
    }

    fn backing_mut(&mut self, int_type: IrsIntType) -> &mut Backing {
        match int_type {
            IrsIntType::Lpi => &mut self.lpi,
            IrsIntType::Spi => &mut self.spi,
        }
    }

    /// Where the states of a type come from.
    pub(crate) fn backing(&self, int_type: IrsIntType) -> Backing {
        match int_type {
            IrsIntType::Lpi => self.lpi,
            IrsIntType::Spi => self.spi,
        }
    }

    /// Adopts an IST that became valid. Whatever was there before must have been withdrawn.
    pub(crate) fn adopt(&mut self, int_type: IrsIntType, ist: Ist) {
        *self.backing_mut(int_type) = Backing::Ist(ist);
        *self.states.of_mut(int_type) = Pages::default();
    }

    /// Gives up the IST of a type, and takes its interrupts out of the queues (IST-5). Changed states that are to be kept
    /// must have been [written back](Self::write_back). Returns the targets whose candidates may have changed.
    pub(crate) fn withdraw(&mut self, int_type: IrsIntType) -> Vec<Iaffid> {
        let mut touched = Vec::new();
        let pages = self.states.of_mut(int_type);
        let queued: Vec<u32> = pages.iter_mut().filter(|(_, slot)| slot.is_queued()).map(|(id, _)| id).collect();
        for id in queued {
            let link = link(IrsIntId::from_parts(int_type, u24::new(id & (SPI - 1))));
            if let Some(slot) = self.states.slot(link) {
                touched.push(slot.entry.iaffid());
                self.candidates.dequeue(&mut self.states, link);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        *self.backing_mut(int_type) = Backing::Absent;
        *self.states.of_mut(int_type) = Pages::default();
        touched
    }

    /// Writes every changed state of a type back to its IST.
    pub(crate) fn write_back(&mut self, int_type: IrsIntType, memory: &mut impl IrsMemory) {
        let Backing::Ist(ist) = self.backing(int_type) else { return };
        for (id, slot) in self.states.of_mut(int_type).iter_mut() {
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
        if self.states.slot(link).is_some_and(Slot::is_queued) {
            self.candidates.dequeue(&mut self.states, link);
        }
        if let Some(slot) = self.states.slot_mut(link) {
            slot.known = Known::Overlooked;
        }
    }

    /// Writes one state back to its IST, if it has changed.
    pub(crate) fn write_back_one(&mut self, id: IrsIntId, memory: &mut impl IrsMemory) {
        if let Backing::Ist(ist) = self.backing(id.int_type())
            && let Some(slot) = self.states.of_mut(id.int_type()).get_mut(id.id())
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
        if let Some(place) = self.states.of_mut(id.int_type()).get_or_insert(id.id()) {
            *place = slot;
        }
        if slot.is_queued() {
            self.candidates.enqueue(&mut self.states, link(id));
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
        let slot = self.states.of(id.int_type()).get(id.id())?;
        (slot.known != Known::Unread).then_some(slot.entry)
    }

    /// The state of an interrupt that the IRS does not know yet, and whether it is read from memory.
    fn fetch(&self, id: IrsIntId, memory: &mut impl IrsMemory) -> Result<(bool, L2_ISTE), Unreachable> {
        match self.backing(id.int_type()) {
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
        let noticed = self.states.slot(link).is_some_and(|slot| !slot.known.is_noticed());
        if after == before && !noticed {
            return Ok(Change { before, after, noticed });
        }
        let was_queued = !noticed && is_candidate(before);
        let moves = was_queued != is_candidate(after)
            || before.priority() != after.priority()
            || before.iaffid() != after.iaffid();
        if moves && was_queued {
            self.candidates.dequeue(&mut self.states, link);
        }
        if let Some(slot) = self.states.slot_mut(link) {
            slot.entry = after;
            slot.known = Known::Dirty;
        }
        if moves && is_candidate(after) {
            self.candidates.enqueue(&mut self.states, link);
        }
        Ok(Change { before, after, noticed })
    }

    /// The most urgent candidate of a target, and its priority (HPPI-1).
    pub(crate) fn candidate(&self, target: Iaffid) -> Option<(IrsIntId, Priority)> {
        self.candidates.most_urgent(target)
    }

    /// The priorities at which a target has candidates: bit n is set for priority n.
    pub(crate) fn priorities(&self, target: Iaffid) -> u32 {
        self.candidates.priorities(target)
    }

    /// Makes an interrupt the first of its queue, if that is the most urgent one of its target. Returns the target.
    pub(crate) fn prefer(&mut self, id: IrsIntId) -> Option<Iaffid> {
        self.candidates.prefer(&mut self.states, id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::words::config::Equals;
    use arbitrary_int::u5;
    use gicv5_arch::geometry::IstGeometry;
    use gicv5_arch::values::IstSize;
    use gicv5_arch::{Lpi, PhysAddr, Spi};
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
