//! Running vCPUs: load, put, idle, pending, inject.
//!
//! # Theory of operation
//!
//! A vCPU runs on a PE between a load and a put. Load gives the PE's virtual CPU interface the vCPU's state and makes its
//! VPE resident; put does the reverse. What the two PEs of a move, the handler of doorbells, and teardown must agree on is
//! in the doorbell's word ([`doorbell`](crate::doorbell)): load claims the vCPU before it touches the PE, put gives it up
//! when it is done. Everything else about a vCPU is its [`Context`], which belongs to whoever has the claim, or, while
//! nobody has, to the vCPU's own thread. Nothing here takes a lock or allocates, and each call takes the same number of
//! steps whatever there is.
//!
//! The virtual CPU interface of a PE is one set of registers for all VMs. Load writes every one that a guest can see, those
//! of all PPIs that exist included, so that nothing of the VM before it is left (RES-13, PPI-14); put saves what the guest
//! can change. `ICC_ICSR_EL1` is shared with the host itself (INS-14): load and put exchange the two values, so that between
//! them the host's is not in the register. Host code that runs between load and put and asks for an interrupt's
//! configuration must keep the register as it found it.
//!
//! # Sleeping
//!
//! [`Vm::idle`] is a put that asks for the doorbell and then looks whether there is something to do after all. If it says
//! [`Idle::Sleep`], the vCPU's thread may sleep until it is woken: by whoever gets its [`Wake`] from
//! [`Host::doorbell`] or from [`Vm::set_ppi`], or for a reason of the hypervisor's own. Between the look and the sleep there
//! is always a gap, and closing it is the host's part, as with any sleep: announce the sleep, look once more with
//! [`Vm::has_pending`], then sleep, so that a wake that comes after the announcement ends it. Virtual PPIs never ring
//! (DB-23); [`Vm::has_pending`] looks at them itself.

use core::sync::atomic::{AtomicU64, Ordering};

use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, ICH_VMCR_EL2};
use gicv5_arch::{IntId, IrsIntId, Ppi, Priority, VmId, VpeId};
use gicv5_hal::{Cookie, HostLpis, Locks, Pe, PeOps};

use crate::Hypervisor;
use crate::doorbell::wake::Wake;
use crate::doorbell::{Doorbell, Doorbells, Refused};
use crate::host::host::Host;
use crate::ids::VcpuIndex;
use crate::vcpu::context::{Context, GuestIrs, of};
use crate::vcpu::error::{InjectError, PpiError, RunError};
use crate::vcpu::ppi::{PpiMask, VirtualPpis};
use crate::vm::handle::Vm;
use crate::vm::record::Record;
use crate::vm::state::{Life, VmState};
use gicv5_irs::heap::Boxed;

/// What to do to an interrupt's Pending bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pending {
    /// Set it: an edge happened, or a level rose.
    Set,
    /// Clear it: a level fell. Never for an edge (INJ-2).
    Clear,
}

/// What a vCPU that has nothing to do should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Idle {
    /// Sleep until it is woken.
    Sleep,
    /// Be loaded again: there is something to do.
    Runnable,
}

/// A vCPU, with all that running it needs.
pub(crate) struct Running<'a, L: HostLpis, K: Locks> {
    pub(crate) doorbells: &'a Doorbells<K>,
    pub(crate) lpis: &'a L,
    pub(crate) ppis: &'a VirtualPpis,
    pub(crate) vm: VmId,
    pub(crate) life: &'a Life,
    pub(crate) visible: PpiMask,
    pub(crate) guest_irs: &'a GuestIrs,
    pub(crate) vpe: VpeId,
    pub(crate) doorbell: &'a Doorbell<L::Lpi>,
    pub(crate) context: &'a Context,
    /// The priority registers of the PPIs that the guest sees.
    pub(crate) priorities: &'a [AtomicU64],
}

impl<L: HostLpis, K: Locks> Running<'_, L, K> {
    fn elsewhere(&self) -> RunError {
        RunError::Elsewhere { vm: self.vm, vpe: self.vpe }
    }

    fn not_live(&self) -> RunError {
        RunError::NotLive { vm: self.vm, state: self.life.state() }
    }

    /// See [`Vm::load`].
    pub(crate) fn load<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Result<(), RunError> {
        let (context, id) = (self.context, self.doorbell.id());
        let here = pe.iaffid();
        // A VM that has died meanwhile must not be entered again, resident or not (IST-8, RES-19).
        if self.life.state() != VmState::Live {
            return Err(self.not_live());
        }
        match context.place() {
            Some(place) if place == here => return Ok(()),
            Some(_) => return Err(self.elsewhere()),
            None => {}
        }
        let contextr: ICH_CONTEXTR_EL2 = pe.read();
        if contextr.v() {
            return Err(RunError::PeTaken { contextr: contextr.raw_value() });
        }
        self.doorbells.claim(id).map_err(|refused| match refused {
            Refused::Resident => self.elsewhere(),
            Refused::Gone | Refused::NotReady | Refused::Dying => self.not_live(),
        })?;
        context.waiting.store(false, Ordering::Relaxed);
        context.restore(pe, self.ppis, self.visible, self.priorities);
        let irs_is_on = self.guest_irs.is_on();
        context.irs_was_off.store(!irs_is_on, Ordering::Relaxed);
        let wanted =
            ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(self.vm).with_vpe(self.vpe).with_irichppidis(!irs_is_on);
        pe.write(wanted);
        // Only now does F tell (RES-1).
        pe.isb();
        let contextr: ICH_CONTEXTR_EL2 = pe.read();
        if contextr.f() {
            // Nobody shall try again (RES-19). Killed before it is given up, so that no other PE claims it in between.
            self.life.kill();
            context.save(pe, self.ppis, self.visible, self.priorities);
            self.leave(pe, None);
            return Err(RunError::ResidencyFault { vm: self.vm, vpe: self.vpe, contextr: contextr.raw_value() });
        }
        context.set_place(Some(here));
        Ok(())
    }

    /// Makes no VPE resident on the PE, and gives the vCPU up. With a mask, its doorbell is asked for.
    fn leave<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, mask: Option<Priority>) {
        let id = self.doorbell.id();
        // RES-18.
        self.context.set_place(None);
        let mut contextr = ICH_CONTEXTR_EL2::ZERO;
        if let Some(mask) = mask {
            self.doorbells.request(id);
            // The handler may run as soon as the write acts, on another PE: it must see the request then (DB-21, SYN-7).
            pe.dsb();
            contextr = contextr.with_db(true).with_dbpm(mask);
        }
        pe.write(contextr);
        // Without a resident VPE, nothing of the guest's is signalled.
        pe.write(ICH_VMCR_EL2::ZERO);
        pe.isb();
        self.doorbells.away(id);
    }

    /// True if the vCPU is resident here and must be put; false if it is resident nowhere.
    fn is_here<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Result<bool, RunError> {
        match self.context.place() {
            Some(place) if place == pe.iaffid() => Ok(true),
            Some(_) => Err(self.elsewhere()),
            None => Ok(false),
        }
    }

    /// See [`Vm::put`].
    pub(crate) fn put<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Result<(), RunError> {
        if self.is_here(pe)? {
            self.context.save(pe, self.ppis, self.visible, self.priorities);
            self.leave(pe, None);
        }
        Ok(())
    }

    /// See [`Vm::idle`].
    pub(crate) fn idle<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Result<Idle, RunError> {
        let context = self.context;
        if self.is_here(pe)? {
            context.save(pe, self.ppis, self.visible, self.priorities);
            // No doorbell for a guest that would not take it (DB-12, DB-20); nor for one whose IRS came on while it was
            // resident, because IRICHPPIDIS may keep it silent until the next residency (open question 2).
            if !self.guest_irs.is_on() {
                context.irs_was_off.store(true, Ordering::Relaxed);
            }
            let irs_was_on = !context.irs_was_off.load(Ordering::Relaxed);
            let least = context.least_signallable().filter(|_| irs_was_on);
            let mask = least.map(|least| self.doorbells.mask.letting_through(least));
            let here = pe.iaffid();
            let routed = u32::from(here.raw_value());
            if mask.is_some() && context.routed.load(Ordering::Relaxed) != routed {
                // It is there before it can ring.
                self.doorbell.route(self.lpis, here);
                context.routed.store(routed, Ordering::Relaxed);
            }
            context.waiting.store(true, Ordering::Relaxed);
            self.leave(pe, mask);
        }
        // It may have rung already, and PPIs do not ring.
        Ok(if self.has_pending() { Idle::Runnable } else { Idle::Sleep })
    }

    /// See [`Vm::has_pending`].
    pub(crate) fn has_pending(&self) -> bool {
        let context = self.context;
        if self.doorbells.take_fired(self.doorbell.id()) {
            // Until it is loaded and put to sleep again, no doorbell is asked for.
            context.waiting.store(false, Ordering::Relaxed);
        }
        let waiting = context.waiting.load(Ordering::Relaxed) && self.life.state() == VmState::Live;
        // Nothing rings for a vCPU that was loaded or went to sleep with the guest's IRS off: once it is on, the vCPU must be
        // loaded again, with IRICHPPIDIS=0 (RES-13).
        let unasked = context.irs_was_off.load(Ordering::Relaxed) && self.guest_irs.is_on();
        !waiting || unasked || context.has_ppi(self.visible, self.priorities)
    }

    /// See [`Vm::set_ppi`].
    fn set_ppi(&self, ppi: Ppi, pending: Pending) -> Result<Wake, PpiError> {
        if !self.visible.contains(ppi) {
            return Err(PpiError::NotDriven(ppi));
        }
        let latch = of(&self.context.latch, ppi.bank());
        match pending {
            Pending::Set => latch.fetch_or(ppi.mask(), Ordering::Relaxed),
            Pending::Clear => latch.fetch_and(!ppi.mask(), Ordering::Relaxed),
        };
        Ok(Wake { vm: self.vm, vpe: self.vpe })
    }
}

impl<H: Hypervisor> Vm<'_, H> {
    fn running(&self, vcpu: VcpuIndex) -> Result<Running<'_, H::Lpis, H::Locks>, RunError> {
        let record = self.record.as_deref().ok_or(RunError::NotInitialised)?;
        let one = record.vcpus.get(vcpu.0).ok_or(RunError::NoSuchVcpu(vcpu))?;
        let not_live = RunError::NotLive { vm: record.vm(), state: record.state() };
        Ok(Running {
            doorbells: &self.host.doorbells,
            lpis: self.host.machine.domain.platform.lpis(),
            ppis: &self.host.ppis,
            vm: record.vm(),
            life: &record.life,
            visible: record.ppis,
            guest_irs: &record.guest_irs,
            vpe: one.vpe,
            doorbell: one.doorbell.as_ref().ok_or(not_live)?,
            context: &one.context,
            priorities: record.priorities(vcpu),
        })
    }

    /// Makes a vCPU resident on this PE, with the state that it was put with. Does nothing if it is resident here already
    /// (RES-17).
    ///
    /// Between load and put the caller stays on this PE and enters no other guest; a guest may be entered only after a load
    /// that succeeded. Takes no lock, allocates nothing, does not wait; to be called with interrupts off, as nothing else may
    /// load or put a vCPU on this PE meanwhile.
    ///
    /// # Errors
    ///
    /// [`RunError`]. After [`RunError::ResidencyFault`] the VM can only be torn down; after any other nothing has changed.
    pub fn load<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, vcpu: VcpuIndex) -> Result<(), RunError> {
        self.running(vcpu)?.load(pe)
    }

    /// Takes a vCPU off this PE and keeps its state, without a doorbell: for a vCPU that will be loaded again without being
    /// woken (DB-19). Does nothing if it is resident nowhere (RES-17).
    ///
    /// Takes no lock, allocates nothing, does not wait; to be called with interrupts off, as nothing else may
    /// load or put a vCPU on this PE meanwhile.
    ///
    /// # Errors
    ///
    /// [`RunError::Elsewhere`] on another PE than the one it was loaded on; nothing has changed then.
    pub fn put<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, vcpu: VcpuIndex) -> Result<(), RunError> {
        self.running(vcpu)?.put(pe)
    }

    /// Takes a vCPU with nothing to do off this PE, asks for its doorbell, routed to this PE, and says whether its thread
    /// should sleep. Called again while it sleeps, it only says so again.
    ///
    /// The doorbell rings for what the guest would take now: no less urgent than its mask, more urgent than what it has active
    /// (DB-12). Takes no lock, allocates nothing, does not wait; to be called with interrupts off, as nothing else may
    /// load or put a vCPU on this PE meanwhile. To be called on
    /// the vCPU's thread, and not with a token that [`CurrentPe::on_this_pe`](gicv5_hal::CurrentPe::on_this_pe) has lent: the
    /// supply of LPIs may need one to route the doorbell.
    ///
    /// # Errors
    ///
    /// [`RunError::Elsewhere`] on another PE than the one it was loaded on; nothing has changed then.
    pub fn idle<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, vcpu: VcpuIndex) -> Result<Idle, RunError> {
        self.running(vcpu)?.idle(pe)
    }

    /// Whether a vCPU has a reason to be loaded. That is so unless it was put by [`idle`](Self::idle), its doorbell has not
    /// rung since, and no virtual PPI of it is pending (PPI-21); it is also so if the VM is dead, so that nobody sleeps for
    /// ever. Once the doorbell has rung it stays so until the vCPU has been loaded.
    ///
    /// On the vCPU's thread, before it sleeps and when it is woken. Takes no lock, allocates nothing, does not wait.
    ///
    /// # Errors
    ///
    /// [`RunError::NotInitialised`], [`RunError::NoSuchVcpu`].
    pub fn has_pending(&self, vcpu: VcpuIndex) -> Result<bool, RunError> {
        Ok(self.running(vcpu)?.has_pending())
    }

    /// Sets or clears Pending of an SPI or LPI of the VM, whatever its vCPUs are doing: the IRS forwards it, rings, or keeps
    /// it (INJ-1). A level-sensitive interrupt is set when its level rises and cleared when it falls, an edge is only ever set
    /// (INJ-2).
    ///
    /// When this returns, that has taken effect (SYN-1). What the interrupt is about must be visible before: a DSB first, if it
    /// is data in memory (SYN-7). Takes no lock, allocates nothing, does not wait for software; callable from anywhere,
    /// interrupt handlers included. For several interrupts, see [`injecting`](Self::injecting).
    ///
    /// # Errors
    ///
    /// [`InjectError`]; nothing has changed then.
    pub fn inject<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        interrupt: IntId,
        pending: Pending,
    ) -> Result<(), InjectError> {
        self.injecting(pe).inject(interrupt, pending)
    }

    /// Injects several interrupts, all of which have taken effect once what this returns is dropped: one GSB SYS is executed
    /// for all of them. Until then the VM cannot be torn down, so that none of them reaches the next VM of its ID.
    ///
    /// It must be dropped, on this PE, and not forgotten.
    pub const fn injecting<'v, P: PeOps + ?Sized>(&'v self, pe: &'v Pe<'v, P>) -> Injecting<'v, H, P> {
        Injecting { record: self.record.as_ref(), pe, begun: false }
    }

    /// Sets or clears Pending of a PPI of a vCPU: an edge, or the level of a level-sensitive one (PPI-23). It reaches the vCPU
    /// when it is next loaded; the caller takes the vCPU out of the guest, or wakes it, as returned.
    ///
    /// Takes no lock, allocates nothing, does not wait; callable from anywhere, concurrently with everything.
    ///
    /// # Errors
    ///
    /// [`PpiError`]; nothing has changed then.
    pub fn set_ppi(&self, vcpu: VcpuIndex, ppi: Ppi, pending: Pending) -> Result<Wake, PpiError> {
        self.running(vcpu)?.set_ppi(ppi, pending)
    }

    /// Says whether the guest's IRS is on, and returns whether that is news. If it is, every vCPU must be
    /// loaded anew (RES-13): one that is resident or just being loaded is put and loaded again, one that sleeps is woken, because
    /// its doorbell was asked for as the IRS was then; [`has_pending`](Self::has_pending) says so too. While it is off, vCPUs
    /// get PPIs only, and no doorbell is asked for (DB-20). It is on at first.
    ///
    /// Takes no lock, allocates nothing, does not wait.
    ///
    /// # Errors
    ///
    /// [`RunError::NotInitialised`].
    pub fn set_guest_irs(&self, on: bool) -> Result<bool, RunError> {
        let record = self.record.as_deref().ok_or(RunError::NotInitialised)?;
        Ok(record.guest_irs.0.swap(on, Ordering::Relaxed) != on)
    }
}

/// Injection into a VM whose effects are complete once this is dropped. See [`Vm::injecting`].
#[must_use = "what is injected takes effect, for certain, once this is dropped"]
pub struct Injecting<'v, H: Hypervisor, P: PeOps + ?Sized> {
    record: Option<&'v Boxed<Record<H>>>,
    pe: &'v Pe<'v, P>,
    /// Something was injected, and its effect may be under way.
    begun: bool,
}

impl<H: Hypervisor, P: PeOps + ?Sized> Injecting<'_, H, P> {
    /// As [`Vm::inject`], in effect in finite time (INS-22), and for certain once `self` is dropped.
    ///
    /// # Errors
    ///
    /// [`InjectError`]; nothing has changed then.
    #[inline]
    pub fn inject(&mut self, interrupt: IntId, pending: Pending) -> Result<(), InjectError> {
        let id = match interrupt {
            IntId::Ppi(ppi) => return Err(InjectError::Ppi(ppi)),
            IntId::Lpi(lpi) => IrsIntId::Lpi(lpi),
            IntId::Spi(spi) => IrsIntId::Spi(spi),
        };
        let record = self.record.ok_or(RunError::NotInitialised)?;
        if record.state() != VmState::Live {
            return Err(RunError::NotLive { vm: record.vm(), state: record.state() }.into());
        }
        if !record.has(id) {
            return Err(InjectError::Absent { vm: record.vm(), id });
        }
        self.pe.vdpend(record.vm(), id, pending == Pending::Set);
        self.begun = true;
        Ok(())
    }
}

impl<H: Hypervisor, P: PeOps + ?Sized> Drop for Injecting<'_, H, P> {
    fn drop(&mut self) {
        if self.begun {
            self.pe.gsb_sys();
        }
    }
}

impl<H: Hypervisor> Host<H> {
    /// The interrupt handler has taken an LPI with this cookie: says which vCPU to wake, if that is news.
    ///
    /// To be called after the acknowledge, GSB ACK and ISB (SYN-3), before the deactivation, on any PE, concurrently with
    /// everything. A doorbell that comes late, for a vCPU that does not wait or a VM that is gone, wakes nobody and is
    /// counted. Takes no lock, allocates nothing, does not wait.
    pub fn doorbell(&self, cookie: Cookie) -> Option<Wake> {
        self.doorbells.ring(cookie)
    }
}

#[cfg(all(test, loom))]
mod exhaustive;
