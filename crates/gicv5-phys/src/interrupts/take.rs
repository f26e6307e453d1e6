//! Taking interrupts.

use core::fmt;
use core::sync::atomic::Ordering;

use gicv5_arch::insn::{AcknowledgeResult, GicInsn};
use gicv5_arch::{Iaffid, IntId, Lpi, Ppi, Spi};
use gicv5_hal::{Cookie, Pe, PeOps, Platform};

use crate::driver::phys::Phys;
use crate::ipi::word::IpiKind;
use crate::lpi::gate::Owner;

/// What an acknowledged interrupt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A PPI of the PE that acknowledged it.
    Ppi(Ppi),
    /// An SPI.
    Spi(Spi),
    /// An LPI that was allocated with this cookie.
    Lpi(Lpi, Cookie),
    /// An IPI to the PE that acknowledged it.
    Ipi(IpiKind),
}

/// An interrupt that was acknowledged and whose priority was dropped; it is active, and not signalled again until it is
/// deactivated (ISM-7).
///
/// It must find its way to [`Phys::deactivate`], from wherever it was stored meanwhile. Dropping it leaves the interrupt
/// active for good, and an LPI's release failing.
#[derive(Debug)]
#[must_use = "the interrupt stays active until this is given to `Phys::deactivate`"]
pub struct Active {
    int_id: IntId,
    source: Source,
    /// The PE, for a PPI.
    pe: Option<Iaffid>,
}

impl Active {
    /// The interrupt, as the hardware names it.
    #[must_use]
    pub fn int_id(&self) -> IntId {
        self.int_id
    }

    /// What it is to the software.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }
}

/// A PPI was to be deactivated on another PE than it was acknowledged on, where the hardware ignores it (INS-7).
#[derive(Debug)]
pub struct WrongPe(pub Active);

impl fmt::Display for WrongPe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self.0.pe.map_or(0, |pe| pe.raw_value());
        write!(f, "{} belongs to the PE with affinity ID {owner}", self.0.int_id)
    }
}

impl core::error::Error for WrongPe {}

/// The outcome of one acknowledge.
#[derive(Debug)]
#[must_use = "an acknowledged interrupt must be deactivated"]
pub enum Acknowledged {
    /// Nothing of sufficient priority is pending.
    Nothing,
    /// Something was taken that nobody owns: an LPI that is being released, or one that software outside the driver
    /// enabled. It has been dropped and deactivated.
    Stray,
    /// An interrupt, which is the caller's to handle and deactivate.
    Interrupt(Active),
}

/// Which interrupts an acknowledge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Maskable,
    NonMaskable,
}

/// Taking interrupts. Called from the interrupt handler, with interrupts still off; none of these waits, takes a lock or
/// allocates, and the cost does not depend on how many interrupts there are.
impl<H: Platform> Phys<H> {
    /// Acknowledges the most urgent interrupt and drops its priority, so that what is equally or less urgent can be
    /// taken while it is handled (INS-6).
    pub fn acknowledge<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Acknowledged {
        self.acknowledge_class(pe, Class::Maskable)
    }

    /// As [`acknowledge`](Self::acknowledge), for interrupts signalled as non-maskable. Each of the two takes nothing of
    /// the other's (INS-2).
    pub fn acknowledge_nmi<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Acknowledged {
        self.acknowledge_class(pe, Class::NonMaskable)
    }

    fn acknowledge_class<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, class: Class) -> Acknowledged {
        let result = match class {
            Class::Maskable => pe.cdia(),
            Class::NonMaskable => pe.cdnmia(),
        };
        if !result.valid() {
            return Acknowledged::Nothing;
        }
        // The order is SYN-3's: the acknowledge is complete before the handler reads what the sender wrote, and before
        // the drop.
        pe.gsb_ack();
        pe.isb();
        pe.cdeoi();
        match self.identify(pe, result) {
            Some(active) => Acknowledged::Interrupt(active),
            None => {
                // As it came: the bits may name no interrupt at all (INS-5).
                pe.gic(GicInsn::GIC_CDDI, result.raw_value());
                self.strays.fetch_add(1, Ordering::Relaxed);
                Acknowledged::Stray
            }
        }
    }

    /// Type first, number second (GEN-2).
    fn identify<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, result: AcknowledgeResult) -> Option<Active> {
        let int_id = result.int_id()?;
        Some(match int_id {
            IntId::Ppi(ppi) => Active { int_id, source: Source::Ppi(ppi), pe: Some(pe.iaffid()) },
            IntId::Spi(spi) => Active { int_id, source: Source::Spi(spi), pe: None },
            IntId::Lpi(lpi) => {
                let source = match self.gates.get(lpi.id())?.enter()? {
                    (Owner::Host, cookie) => Source::Lpi(lpi, cookie),
                    (Owner::Ipi, kind) => Source::Ipi(IpiKind(kind.0 as u8)),
                };
                Active { int_id, source, pe: None }
            }
        })
    }

    /// Deactivates an interrupt whose handling is over, in finite time (INS-22): only the release of an LPI waits for it,
    /// and [`bring_down_pe`](Self::bring_down_pe) completes what the PE has begun. An LPI or SPI may be deactivated on any PE and
    /// at any time, a PPI on its own PE.
    ///
    /// The cookie of an LPI must not be used after this: its owner may have released it.
    ///
    /// # Errors
    ///
    /// [`WrongPe`] gives back a PPI of another PE.
    pub fn deactivate<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, active: Active) -> Result<(), WrongPe> {
        if active.pe.is_some_and(|owner| owner != pe.iaffid()) {
            return Err(WrongPe(active));
        }
        if let IntId::Lpi(lpi) = active.int_id
            && let Some(gate) = self.gates.get(lpi.id())
        {
            gate.exit();
        }
        pe.cddi(active.int_id);
        Ok(())
    }

    /// The whole interrupt handler: takes interrupts until nothing of sufficient priority is pending, `at_most` so many, and
    /// has each handled. Returns how many were taken, strays included; 0 is a spurious exception.
    ///
    /// If that is `at_most`, more may be pending, and the PE takes its exception again once interrupts are on. A level that
    /// stays high comes back each time (ISM-4): the limit is what returns the PE to the host, which may disable the
    /// interrupt.
    ///
    /// The handler gives the interrupt back to have it deactivated, or keeps it to do that later, in a thread say, by
    /// [`deactivate`](Self::deactivate). What a level-sensitive interrupt was raised for must be dealt with before it is
    /// deactivated, or it comes again.
    pub fn take_interrupts<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        at_most: u64,
        handler: impl FnMut(&Pe<'_, P>, Active) -> Option<Active>,
    ) -> u64 {
        self.take_class(pe, Class::Maskable, at_most, handler)
    }

    /// As [`take_interrupts`](Self::take_interrupts), for interrupts signalled as non-maskable.
    pub fn take_nmis<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        at_most: u64,
        handler: impl FnMut(&Pe<'_, P>, Active) -> Option<Active>,
    ) -> u64 {
        self.take_class(pe, Class::NonMaskable, at_most, handler)
    }

    fn take_class<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        class: Class,
        at_most: u64,
        mut handler: impl FnMut(&Pe<'_, P>, Active) -> Option<Active>,
    ) -> u64 {
        let mut taken = 0;
        while taken < at_most {
            match self.acknowledge_class(pe, class) {
                Acknowledged::Nothing => break,
                Acknowledged::Stray => {}
                Acknowledged::Interrupt(active) => {
                    if let Some(done) = handler(pe, active)
                        && let Err(WrongPe(kept)) = self.deactivate(pe, done)
                    {
                        // The handler gave another PE's PPI back for the one it got. There is nobody to give it to.
                        drop(kept);
                    }
                }
            }
            taken += 1;
        }
        taken
    }

    /// How many strays there were since the driver was made.
    pub fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }
}
