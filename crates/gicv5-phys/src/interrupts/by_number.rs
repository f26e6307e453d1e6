//! LPIs and SPIs by number.

use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::values::{HandlingMode, RoutingMode};
use gicv5_arch::{Iaffid, IrsIntId, Priority};
use gicv5_hal::{Pe, PeOps, Platform};
use gicv5_irs::command::Fault;

use crate::driver::phys::Phys;

/// The domain has no such interrupt, or the IRS says that it cannot be reached (INS-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be reached")]
pub struct Unreachable(pub IrsIntId);

impl Unreachable {
    /// Whose fault it is: the caller's, always.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// How an LPI or SPI is set up, and its state, as ICC_ICSR_EL1 tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether it is pending.
    pub pending: bool,
    /// Whether it is active.
    pub active: bool,
    /// How an acknowledge treats its pending state.
    pub handling: HandlingMode,
    /// Its priority.
    pub priority: Priority,
    /// How it finds its PE.
    pub routing: RoutingMode,
    /// Its target.
    pub target: Iaffid,
}

/// Requests the configuration of an interrupt and reads the answer; `None` if it is unreachable. A GSB SYS comes before.
///
/// ICC_ICSR_EL1 is one register for the PE: nothing else may request a configuration on it in between. It is left as it was,
/// because a guest that is loaded reads it too (INS-14).
pub(crate) fn read_configuration<P: PeOps + ?Sized>(pe: &Pe<'_, P>, id: IrsIntId) -> Option<Configuration> {
    // The guest's last request is complete by the caller's GSB SYS; now its answer is there (INS-12).
    pe.isb();
    let guests: ICC_ICSR_EL1 = pe.read();
    pe.cdrcfg(id);
    // Without it the previous answer may be read (INS-12).
    pe.isb();
    let icsr: ICC_ICSR_EL1 = pe.read();
    pe.write(guests);
    if icsr.f() {
        return None;
    }
    Some(Configuration {
        enabled: icsr.enabled(),
        pending: icsr.pending(),
        active: icsr.active(),
        handling: icsr.hm(),
        priority: icsr.priority(),
        routing: icsr.irm(),
        target: icsr.iaffid(),
    })
}

/// LPIs and SPIs by number. Each of these completes its instructions before it returns (SYN-1), so that none acts on the next
/// owner of the number, and what another PE does afterwards comes after it. None of these waits or takes a lock, and all but
/// [`configuration`](Self::configuration) may be called from interrupt handlers.
///
/// They check that the domain has such an interrupt, not whose it is: an LPI's owner is whoever has its
/// [`OwnedLpi`](crate::OwnedLpi), an SPI's is the host's affair.
impl<H: Platform> Phys<H> {
    fn check(&self, id: impl Into<IrsIntId>) -> Result<IrsIntId, Unreachable> {
        let id = id.into();
        let known = match id {
            IrsIntId::Lpi(lpi) => lpi.id() < self.machine.found.lpis,
            IrsIntId::Spi(spi) => self.irs_of(spi).is_some(),
        };
        if known { Ok(id) } else { Err(Unreachable(id)) }
    }

    /// Enables an interrupt. When this returns, it is enabled.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt.
    pub fn enable_interrupt<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        id: impl Into<IrsIntId>,
    ) -> Result<(), Unreachable> {
        pe.cden(self.check(id)?);
        pe.gsb_sys();
        Ok(())
    }

    /// Disables an interrupt. When this returns, no PE takes it any more that has not taken it already (SYN-4, INS-10): a
    /// handler may still run.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt.
    pub fn disable_interrupt<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        id: impl Into<IrsIntId>,
    ) -> Result<(), Unreachable> {
        pe.cddis(self.check(id)?);
        pe.gsb_sys();
        Ok(())
    }

    /// Sets an interrupt's priority, and returns it as the domain keeps it: with
    /// [fewer bits](Self::priority_bits) than five the low-order ones are lost (PRI-2).
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt.
    pub fn set_priority<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        id: impl Into<IrsIntId>,
        priority: Priority,
    ) -> Result<Priority, Unreachable> {
        let kept = priority.keep_high_bits(self.machine.found.priority_bits);
        pe.cdpri(self.check(id)?, kept);
        pe.gsb_sys();
        Ok(kept)
    }

    /// Routes an interrupt to a PE, of this IRS or another (RTE-6). If pending, it moves along (RTE-5).
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt.
    pub fn set_target<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        id: impl Into<IrsIntId>,
        target: Iaffid,
    ) -> Result<(), Unreachable> {
        pe.cdaff(self.check(id)?, target);
        pe.gsb_sys();
        Ok(())
    }

    /// Sets how an acknowledge treats the interrupt's pending state. The events of an SPI's wire set it too, by the trigger
    /// mode (SPI-7); for an SPI use [`set_trigger`](Self::set_trigger).
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt.
    pub fn set_handling<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        id: impl Into<IrsIntId>,
        mode: HandlingMode,
    ) -> Result<(), Unreachable> {
        pe.cdhm(self.check(id)?, mode);
        pe.gsb_sys();
        Ok(())
    }

    /// Makes an interrupt pending. When this returns, it is, unless it has been taken since. What the caller stored before is visible to the handler (SYN-7).
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt.
    pub fn set_pending<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, id: impl Into<IrsIntId>) -> Result<(), Unreachable> {
        let id = self.check(id)?;
        pe.dsb();
        pe.cdpend(id, true);
        pe.gsb_sys();
        Ok(())
    }

    /// Makes an interrupt not pending. When this returns, it is not, unless a new event made it so.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt.
    pub fn clear_pending<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, id: impl Into<IrsIntId>) -> Result<(), Unreachable> {
        pe.cdpend(self.check(id)?, false);
        pe.gsb_sys();
        Ok(())
    }

    /// Reads how an interrupt is set up and its state, as the caller's earlier instructions left it.
    ///
    /// The PE has one register for the answer, so a handler that interrupts this must not ask as well: call it with
    /// interrupts off, or not from handlers.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] if the domain has no such interrupt or the IRS cannot reach it.
    pub fn configuration<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        id: impl Into<IrsIntId>,
    ) -> Result<Configuration, Unreachable> {
        let id = self.check(id)?;
        pe.gsb_sys();
        read_configuration(pe, id).ok_or(Unreachable(id))
    }
}
