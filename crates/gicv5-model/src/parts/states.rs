//! What the IRS knows about each LPI and SPI of an interrupt domain.
//!
//! An interrupt's state is its IST entry ([`L2_ISTE`]), and with it comes the interrupt's place in a queue of
//! [candidates](super::candidates).

use arbitrary_int::u24;
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::{IrsIntId, IrsIntType, Lpi, Spi};

/// An interrupt as the queues know it: SPIs have bit 24 set.
pub(super) type Link = u32;

pub(super) const SPI: Link = 1 << 24;
pub(super) const NIL: Link = u32::MAX;

pub(super) fn link(id: IrsIntId) -> Link {
    match id {
        IrsIntId::Lpi(lpi) => lpi.id(),
        IrsIntId::Spi(spi) => spi.id() | SPI,
    }
}

pub(super) fn unlink(link: Link) -> IrsIntId {
    let id = u24::new(link & (SPI - 1));
    match link & SPI {
        0 => IrsIntId::Lpi(Lpi::new_with_raw_value(id)),
        _ => IrsIntId::Spi(Spi::new_with_raw_value(id)),
    }
}

/// The state of one interrupt and its place in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    /// The IST entry.
    pub(super) entry: L2_ISTE,
    /// Neighbours in the queue; NIL at the ends.
    pub(super) previous: Link,
    pub(super) next: Link,
    /// What the model knows about it.
    pub(super) known: Known,
}

impl Slot {
    /// True if the interrupt is in the queue of its target and priority.
    pub(super) fn is_queued(&self) -> bool {
        self.known.is_noticed() && is_candidate(self.entry)
    }
}

/// What the model knows about a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
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
    pub(super) fn is_noticed(self) -> bool {
        !matches!(self, Known::Unnoticed | Known::Overlooked)
    }

    /// What it is when the state has been written back; `None` if memory has it already.
    pub(super) fn written_back(self) -> Option<Known> {
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
pub(super) struct Pages {
    pages: Vec<Option<Box<[Slot; PAGE]>>>,
}

impl Pages {
    pub(super) const UNREAD: Slot = Slot { entry: L2_ISTE::ZERO, previous: NIL, next: NIL, known: Known::Unread };

    pub(super) fn get(&self, id: u32) -> Option<&Slot> {
        self.pages.get(id as usize / PAGE)?.as_deref()?.get(id as usize % PAGE)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Slot> {
        self.pages.get_mut(id as usize / PAGE)?.as_deref_mut()?.get_mut(id as usize % PAGE)
    }

    pub(super) fn get_or_insert(&mut self, id: u32) -> Option<&mut Slot> {
        let page = id as usize / PAGE;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages.get_mut(page)?.get_or_insert_with(|| Box::new([Pages::UNREAD; PAGE]));
        page.get_mut(id as usize % PAGE)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Slot)> {
        self.pages
            .iter_mut()
            .enumerate()
            .filter_map(|(n, page)| Some((n, page.as_deref_mut()?)))
            .flat_map(|(n, page)| page.iter_mut().enumerate().map(move |(m, slot)| ((n * PAGE + m) as u32, slot)))
    }
}

/// The states of an interrupt domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct States {
    lpi: Pages,
    spi: Pages,
}

impl States {
    pub(super) fn of(&self, int_type: IrsIntType) -> &Pages {
        match int_type {
            IrsIntType::Lpi => &self.lpi,
            IrsIntType::Spi => &self.spi,
        }
    }

    pub(super) fn of_mut(&mut self, int_type: IrsIntType) -> &mut Pages {
        match int_type {
            IrsIntType::Lpi => &mut self.lpi,
            IrsIntType::Spi => &mut self.spi,
        }
    }

    pub(super) fn slot(&self, link: Link) -> Option<&Slot> {
        match link {
            NIL => None,
            lpi if lpi & SPI == 0 => self.lpi.get(lpi),
            spi => self.spi.get(spi & !SPI),
        }
    }

    pub(super) fn slot_mut(&mut self, link: Link) -> Option<&mut Slot> {
        match link {
            NIL => None,
            lpi if lpi & SPI == 0 => self.lpi.get_mut(lpi),
            spi => self.spi.get_mut(spi & !SPI),
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
