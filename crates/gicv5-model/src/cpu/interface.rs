//! What a physical and a virtual CPU interface share: PPIs, mask, active priorities, and the choice of what to signal.
//!
//! There is one of these for the physical domain of a PE and one for the virtual domain. Neither knows which it is: what
//! competes at a moment, the pending PPIs and the IRS's candidate, is handed in as a [`Contest`].

use crate::words::cpu::{CpuConfig, Signals};
use gicv5_arch::sysreg::{PPI_PRIORITYR, PpiSet};
use gicv5_arch::{ActivePriorities, IntId, IrsIntId, Ppi, PpiBank, Priority};

use crate::words::config::Tie;
use crate::words::event::Change;

/// Which acknowledge instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acknowledge {
    /// `GICR CDIA`: anything but an NMI.
    Ordinary,
    /// `GICR CDNMIA`: an NMI and nothing else.
    Nmi,
}

/// One bit for each PPI, both banks.
pub(crate) type Bits = [u64; 2];

pub(super) fn test(bits: &Bits, ppi: Ppi) -> bool {
    bits.get(ppi.bank().index()).is_some_and(|bank| bank & ppi.mask() != 0)
}

pub(super) fn assign(bits: &mut Bits, ppi: Ppi, value: bool) {
    if let Some(bank) = bits.get_mut(ppi.bank().index()) {
        *bank = if value { *bank | ppi.mask() } else { *bank & !ppi.mask() };
    }
}

/// A bank of a set of PPIs.
pub(super) fn bank(bits: &Bits, n: usize) -> u64 {
    bits.get(n).copied().unwrap_or(0)
}

/// The physical or the virtual instance of a PE's PPIs (PPI-6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ppis {
    pub(super) implemented: Bits,
    pub(super) edge: Bits,
    pub(super) pending: Bits,
    pub(super) active: Bits,
    pub(super) enabled: Bits,
    pub(super) priority: [Priority; Ppi::COUNT],
}

impl Ppis {
    fn new(config: &CpuConfig) -> Ppis {
        let implemented = config.ppis.map(PpiSet::raw_value);
        let edge = config.edge_ppis.map(PpiSet::raw_value);
        Ppis {
            implemented,
            edge: [edge[0] & implemented[0], edge[1] & implemented[1]],
            pending: [0; 2],
            active: [0; 2],
            enabled: [0; 2],
            priority: [Priority::MOST_URGENT; Ppi::COUNT],
        }
    }

    /// The most urgent of these PPIs that are enabled and not active; of equals the one with the lowest number.
    #[inline(always)]
    fn best(&self, pending: &Bits) -> Option<(Ppi, Priority)> {
        let candidates =
            [pending[0] & self.enabled[0] & !self.active[0], pending[1] & self.enabled[1] & !self.active[1]];
        // This is on the path of every event, and mostly there is none.
        if candidates == [0; 2] { None } else { self.most_urgent_of(&candidates) }
    }

    #[cold]
    fn most_urgent_of(&self, candidates: &Bits) -> Option<(Ppi, Priority)> {
        let mut best: Option<(Ppi, Priority)> = None;
        for of in PpiBank::ALL {
            for ppi in PpiSet::new_with_raw_value(bank(candidates, of.index())).iter(of) {
                let Some(&priority) = self.priority.get(ppi.id() as usize) else { continue };
                if best.is_none_or(|(_, found)| priority.is_more_urgent_than(found)) {
                    best = Some((ppi, priority));
                }
            }
        }
        best
    }

    /// What the priority register with this index reads.
    pub(super) fn priorities(&self, n: usize) -> u64 {
        of_priority_register(n)
            .filter_map(|ppi| Some((ppi, *self.priority.get(ppi.id() as usize)?)))
            .fold(PPI_PRIORITYR::ZERO, |value, (ppi, priority)| value.with_priority(ppi, priority))
            .raw_value()
    }

    /// A write of the priority register with this index. An unimplemented PPI ignores it (PPI-5).
    pub(super) fn set_priorities(&mut self, n: usize, value: PPI_PRIORITYR, pri_bits: u32, writable: &Bits) {
        for ppi in of_priority_register(n) {
            if test(&self.implemented, ppi)
                && test(writable, ppi)
                && let Some(priority) = self.priority.get_mut(ppi.id() as usize)
            {
                *priority = value.priority(ppi).keep_high_bits(pri_bits);
            }
        }
    }
}

impl Ppis {
    /// What has changed since an earlier state, PPI by PPI.
    pub(crate) fn changes_since(&self, before: &Ppis) -> Vec<(Ppi, Change)> {
        let mut changes = Vec::new();
        for of in PpiBank::ALL {
            let n = of.index();
            let mut tell = |is: &Bits, was: &Bits, change: fn(bool) -> Change| {
                let differ = bank(is, n) ^ bank(was, n);
                for ppi in PpiSet::new_with_raw_value(differ).iter(of) {
                    changes.push((ppi, change(test(is, ppi))));
                }
            };
            tell(&self.pending, &before.pending, Change::Pending);
            tell(&self.active, &before.active, Change::Active);
            tell(&self.enabled, &before.enabled, Change::Enabled);
        }
        // There are many priorities and they seldom change. All are compared at once, without a branch for each.
        let priorities = || self.priority.iter().zip(&before.priority);
        if priorities().fold(false, |differ, (is, was)| differ | (is != was)) {
            for (id, (is, was)) in (0..).zip(priorities()) {
                if is != was
                    && let Ok(ppi) = Ppi::new(id)
                {
                    changes.push((ppi, Change::Priority(*is)));
                }
            }
        }
        changes
    }
}

/// The PPIs whose priorities are in the priority register with this index.
pub(super) fn of_priority_register(n: usize) -> impl Iterator<Item = Ppi> {
    (n * 8..n * 8 + 8).filter_map(|id| Ppi::new(id as u32).ok())
}

/// What competes at an interface at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contest {
    /// The PPIs that are pending.
    pub(super) ppis: Bits,
    /// The IRS's candidate.
    pub(super) irs: Option<(IrsIntId, Priority)>,
    pub(super) tie: Tie,
}

/// A CPU interface of one domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    pub(super) enabled: bool,
    pub(super) mask: Priority,
    pub(super) active: ActivePriorities,
    pub(super) ppis: Ppis,
    /// SCTLR.NMI of whoever runs in the domain.
    pub(super) nmi: bool,
    /// What the IRS offers.
    pub(super) offered: Option<(IrsIntId, Priority)>,
}

impl Interface {
    pub(super) fn new(config: &CpuConfig) -> Interface {
        Interface {
            enabled: false,
            mask: Priority::MOST_URGENT,
            active: ActivePriorities::default(),
            ppis: Ppis::new(config),
            nmi: false,
            offered: None,
        }
    }

    /// The most urgent PPI that could be taken.
    #[inline]
    pub(super) fn ppi_candidate(&self, contest: &Contest) -> Option<(Ppi, Priority)> {
        self.ppis.best(&contest.ppis)
    }

    /// The most urgent of the PPIs and the IRS's candidate, whether or not it may be signalled (HPPI-3).
    #[inline]
    fn most_urgent(&self, contest: &Contest) -> Option<(IntId, Priority)> {
        let ppi = self.ppi_candidate(contest).map(|(ppi, priority)| (IntId::Ppi(ppi), priority));
        let irs = contest.irs.map(|(id, priority)| (IntId::from(id), priority));
        match (ppi, irs) {
            (Some(ppi), Some(irs)) => Some(match contest.tie {
                _ if ppi.1.is_more_urgent_than(irs.1) => ppi,
                _ if irs.1.is_more_urgent_than(ppi.1) => irs,
                Tie::Ppi => ppi,
                Tie::Irs => irs,
            }),
            (ppi, irs) => ppi.or(irs),
        }
    }

    /// The HPPI of sufficient priority (PRI-3, PRI-4, PRI-8).
    #[inline]
    pub(super) fn hppi(&self, contest: &Contest) -> Option<(IntId, Priority)> {
        self.most_urgent(contest).filter(|(_, priority)| {
            self.enabled && priority.passes(self.mask) && priority.preempts(self.active.running())
        })
    }

    fn is_nmi(&self, priority: Priority) -> bool {
        self.nmi && priority == Priority::MOST_URGENT
    }

    #[inline]
    pub(super) fn signals(&self, contest: &Contest) -> Signals {
        match self.hppi(contest) {
            Some((_, priority)) => Signals { irq: true, fiq: false, nmi: self.is_nmi(priority) },
            None => Signals::default(),
        }
    }

    /// What an acknowledge takes, and its priority: the active priority is set (PRI-6) and a PPI activated. The caller
    /// clears the pending bit of an edge PPI, and tells the IRS about an LPI or SPI (INS-3).
    #[inline]
    pub(super) fn acknowledge(&mut self, contest: &Contest, which: Acknowledge) -> Option<(IntId, Priority)> {
        let (id, priority) = self.hppi(contest)?;
        // Neither instruction takes what is the other's (INS-2).
        if self.is_nmi(priority) != (which == Acknowledge::Nmi) {
            return None;
        }
        self.active = self.active.activate(priority);
        match id {
            IntId::Ppi(ppi) => assign(&mut self.ppis.active, ppi, true),
            // The candidate is taken: the IRS offers another when it has seen the acknowledge.
            IntId::Lpi(_) | IntId::Spi(_) => self.offered = None,
        }
        Some((id, priority))
    }
}
