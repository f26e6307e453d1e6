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

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use gicv5_arch::sysreg::{APR, ICH_CONTEXTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2, PPI_PRIORITYR, PpiSet, SysReg};
use gicv5_arch::{Iaffid, IntId, IrsIntId, Ppi, PpiBank, Priority, VmId, VpeId};
use gicv5_hal::{Cookie, HostLpis, Locks, Pe, PeOps};

use crate::doorbell::{Doorbell, Doorbells, Refused, Wake};
use crate::error::Fate;
use crate::host::host::Host;
use crate::vcpu::ppi::{PpiMask, VirtualPpis};
use crate::vm::handle::{VcpuIndex, Vm};
use crate::vm::record::{Life, VmState};
use crate::{Hypervisor, sync};
use gicv5_irs::command::Fault;

/// A vCPU cannot be loaded, put or asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The VM is not initialised. The caller's mistake; nothing has changed.
    #[error("the VM is not initialised")]
    NotInitialised,
    /// The VM is not live. The caller's mistake, or what an earlier error announced; nothing has changed.
    #[error("{vm} is {state:?}, so its vCPUs do not run")]
    NotLive {
        /// The VM.
        vm: VmId,
        /// What it is instead.
        state: VmState,
    },
    /// The VM has no such vCPU. The caller's mistake; nothing has changed.
    #[error("there is no vCPU {}", .0.0)]
    NoSuchVcpu(VcpuIndex),
    /// The vCPU is resident on another PE, or is just going there or leaving (RES-4). The caller's mistake; nothing has
    /// changed.
    #[error("{vpe} of {vm} is on another PE")]
    Elsewhere {
        /// The VM.
        vm: VmId,
        /// The VPE.
        vpe: VpeId,
    },
    /// Another vCPU is resident on this PE and must be put first (RES-22). The caller's mistake; nothing has changed.
    #[error("another vCPU is resident on this PE: ICH_CONTEXTR_EL2 reads {contextr:#x}")]
    PeTaken {
        /// ICH_CONTEXTR_EL2.
        contextr: u64,
    },
    /// The hardware did not make the VPE resident, so its tables are not what they should be. The hardware's fault or this
    /// library's. The VM is dead: no vCPU of it is loaded any more, and teardown is all that can be done with it (RES-19).
    #[error("{vpe} of {vm} could not be made resident: ICH_CONTEXTR_EL2 reads {contextr:#x}; the VM is dead")]
    ResidencyFault {
        /// The VM.
        vm: VmId,
        /// The VPE.
        vpe: VpeId,
        /// ICH_CONTEXTR_EL2 after the request.
        contextr: u64,
    },
}

impl RunError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            RunError::ResidencyFault { .. } => Fault::Hardware,
            _ => Fault::Caller,
        }
    }

    /// What became of the VM.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            RunError::ResidencyFault { .. } => Fate::Dead,
            _ => Fate::Unchanged,
        }
    }
}

/// An interrupt was not injected. The caller's mistake; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The VM cannot take one now: it is not initialised, or not live. Hold the interrupt (INJ-8).
    #[error(transparent)]
    Vm(#[from] RunError),
    /// PPIs are a vCPU's own: [`Vm::set_ppi`] is for them (INJ-4).
    #[error("{0} cannot be injected into a VM, only set on a vCPU")]
    Ppi(Ppi),
}

/// The state of a PPI was not changed. The caller's mistake; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PpiError {
    /// The VM or the vCPU is not there.
    #[error(transparent)]
    Vm(#[from] RunError),
    /// The PPI is not among those that the guest sees and the hypervisor may drive (PPI-20).
    #[error("{0} is not this VM's to drive")]
    NotDriven(Ppi),
}

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

/// Whether a guest's IRS is on, which all its vCPUs must be loaded with (RES-13).
pub(crate) struct GuestIrs(AtomicBool);

impl GuestIrs {
    pub(crate) const fn new(on: bool) -> GuestIrs {
        GuestIrs(AtomicBool::new(on))
    }

    fn is_on(&self) -> bool {
        // Relaxed: who changes it makes every vCPU reload, which orders it.
        self.0.load(Ordering::Relaxed)
    }
}

/// No PE: affinity IDs have 16 bits.
const NOWHERE: u32 = u32::MAX;

/// What the CPU interface of a vCPU holds while it is not resident, and where the vCPU is.
///
/// The priorities of the PPIs that the guest sees are kept beside it: they are few, and the registers of all PPIs that there
/// can be take 128 bytes.
///
/// Belongs to who has claimed the doorbell's word, or to the vCPU's thread while nobody has; claim and away order the
/// accesses of successive owners, so that all accesses here are relaxed. Only `latch` is everybody's to change.
pub(crate) struct Context {
    vmcr: AtomicU64,
    apr: AtomicU64,
    icsr: AtomicU64,
    /// The host's ICC_ICSR_EL1 while the vCPU is resident.
    host_icsr: AtomicU64,
    enabled: [AtomicU64; 2],
    active: [AtomicU64; 2],
    /// What drives the pending bits of the PPIs: of a level-sensitive one its level, of an edge-triggered one an edge that
    /// has not been handed over yet (PPI-16, PPI-17). Bits change atomically (PPI-24).
    latch: [AtomicU64; 2],
    /// The PE on which the vCPU is resident, precisely (RES-18). Who has no claim may look as well.
    place: sync::AtomicU32,
    /// The PE the doorbell was last routed to (DB-24).
    routed: AtomicU32,
    /// The vCPU's thread was told to sleep and has not been told otherwise.
    waiting: AtomicBool,
    /// The guest's IRS was off when the vCPU was loaded or put to sleep, so that no doorbell was asked for (DB-20).
    irs_was_off: AtomicBool,
}

impl Default for Context {
    fn default() -> Context {
        Context {
            vmcr: AtomicU64::new(0),
            apr: AtomicU64::new(0),
            icsr: AtomicU64::new(0),
            host_icsr: AtomicU64::new(0),
            enabled: [const { AtomicU64::new(0) }; 2],
            active: [const { AtomicU64::new(0) }; 2],
            latch: [const { AtomicU64::new(0) }; 2],
            place: sync::AtomicU32::new(NOWHERE),
            routed: AtomicU32::new(NOWHERE),
            waiting: AtomicBool::new(false),
            irs_was_off: AtomicBool::new(false),
        }
    }
}

/// The element of a pair for a bank.
const fn of(pair: &[AtomicU64; 2], bank: PpiBank) -> &AtomicU64 {
    let [architected, implementation_defined] = pair;
    match bank {
        PpiBank::Architected => architected,
        PpiBank::ImplementationDefined => implementation_defined,
    }
}

fn get(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

fn put(place: &AtomicU64, value: u64) {
    place.store(value, Ordering::Relaxed);
}

impl Context {
    /// The PE on which the vCPU is resident.
    fn place(&self) -> Option<Iaffid> {
        u16::try_from(self.place.load(Ordering::Relaxed)).ok().map(Iaffid::new)
    }

    fn set_place(&self, place: Option<Iaffid>) {
        let place = place.map_or(NOWHERE, |pe| u32::from(pe.raw_value()));
        self.place.store(place, Ordering::Relaxed);
    }

    /// The state of a vCPU that was reset: nothing enabled or active, no edge pending. Levels are not the vCPU's. The vCPU must
    /// not be resident.
    pub(crate) fn reset(&self, ppis: &VirtualPpis, priorities: &[AtomicU64]) {
        let Context { vmcr, apr, icsr, enabled, active, .. } = self;
        for value in [vmcr, apr, icsr].into_iter().chain(enabled).chain(active).chain(priorities) {
            put(value, 0);
        }
        for bank in ppis.banks() {
            of(&self.latch, bank).fetch_and(!ppis.edge.bits(bank), Ordering::Relaxed);
        }
        self.stop_waiting();
    }

    /// The vCPU does not rely on its doorbell any more, and has something pending until it has been loaded.
    pub(crate) fn stop_waiting(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Gives the PE's virtual CPU interface this state, and nothing of what it had. No VPE is resident on the PE.
    fn restore<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        ppis: &VirtualPpis,
        visible: PpiMask,
        priorities: &[AtomicU64],
    ) {
        // The layout of ICH_VMCR_EL2 depends on V3 (RES-15).
        let vctlr: ICH_VCTLR_EL2 = pe.read();
        pe.write(vctlr.with_v3(false).with_en(true));
        pe.isb();
        pe.write_raw(SysReg::ICH_VMCR_EL2, get(&self.vmcr));
        pe.write_raw(SysReg::ICH_APR_EL2, get(&self.apr));
        put(&self.host_icsr, pe.read_raw(SysReg::ICC_ICSR_EL1));
        pe.write_raw(SysReg::ICC_ICSR_EL1, get(&self.icsr));
        for bank in ppis.banks() {
            let visible = visible.bits(bank);
            // An edge is handed over, a level stays (PPI-16).
            let pending = of(&self.latch, bank).fetch_and(!(ppis.edge.bits(bank) & visible), Ordering::Relaxed);
            pe.write_raw(SysReg::ich_ppi_dvir(bank), 0);
            pe.write_raw(SysReg::ich_ppi_activer(bank), get(of(&self.active, bank)) & visible);
            pe.write_raw(SysReg::ich_ppi_enabler(bank), get(of(&self.enabled, bank)) & visible);
            pe.write_raw(SysReg::ich_ppi_pendr(bank), pending & visible);
        }
        let mut priorities = visible.priority_registers().zip(priorities).peekable();
        for index in ppis.implemented.priority_registers() {
            let shown = priorities.next_if(|(register, _)| *register == index);
            pe.write_raw(SysReg::ich_ppi_priorityr(index), shown.map_or(0, |(_, priorities)| get(priorities)));
        }
        // All this acts before the residency that is judged by it (RES-15, SYN-6).
        pe.isb();
    }

    /// Keeps what the PE's virtual CPU interface has, and gives the host its own register back (RES-16, PPI-15).
    fn save<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, ppis: &VirtualPpis, visible: PpiMask, priorities: &[AtomicU64]) {
        // The guest's instructions name no VM: they act for the VPE that is resident (RES-7, INS-17), and an answer arrives
        // in ICC_ICSR_EL1 whenever it does (INS-12). That leaving residency, or the exit from the guest, would wait for those
        // under way is nowhere said, so they are complete before anything of it (SYN-1).
        pe.gsb_sys();
        put(&self.apr, pe.read_raw(SysReg::ICH_APR_EL2));
        put(&self.vmcr, pe.read_raw(SysReg::ICH_VMCR_EL2));
        for bank in ppis.banks() {
            put(of(&self.active, bank), pe.read_raw(SysReg::ich_ppi_activer(bank)));
            // An edge that the guest has not taken is owed to it; a level is known already (PPI-17).
            let edges = pe.read_raw(SysReg::ich_ppi_pendr(bank)) & ppis.edge.bits(bank);
            of(&self.latch, bank).fetch_or(edges, Ordering::Relaxed);
            put(of(&self.enabled, bank), pe.read_raw(SysReg::ich_ppi_enabler(bank)));
        }
        for (index, priorities) in visible.priority_registers().zip(priorities) {
            put(priorities, pe.read_raw(SysReg::ich_ppi_priorityr(index)));
        }
        put(&self.icsr, pe.read_raw(SysReg::ICC_ICSR_EL1));
        pe.write_raw(SysReg::ICC_ICSR_EL1, get(&self.host_icsr));
    }

    /// The least urgent priority that could be signalled to the vCPU now: its own mask, and what it has active (PRI-3,
    /// PRI-4). `None` if none could. It is one less, as a number, than the level that DB-12 and PPI-21 speak of.
    fn least_signallable(&self) -> Option<Priority> {
        let vmcr = ICH_VMCR_EL2::new_with_raw_value(get(&self.vmcr));
        let running = APR::new_with_raw_value(get(&self.apr)).p().running();
        if !vmcr.en() {
            return None;
        }
        let Some(running) = running else { return Some(vmcr.vpmr()) };
        let below = Priority::new(u32::from(running.number()).checked_sub(1)?).ok()?;
        Some(if below.is_more_urgent_than(vmcr.vpmr()) { below } else { vmcr.vpmr() })
    }

    /// Whether some virtual PPI of the vCPU would be signalled to it (PPI-21). They never ring a doorbell (DB-23).
    fn has_ppi(&self, visible: PpiMask, priorities: &[AtomicU64]) -> bool {
        let Some(least) = self.least_signallable() else { return false };
        PpiBank::ALL.into_iter().any(|bank| {
            let candidates = get(of(&self.latch, bank))
                & get(of(&self.enabled, bank))
                & !get(of(&self.active, bank))
                & visible.bits(bank);
            PpiSet::new_with_raw_value(candidates).iter(bank).any(|ppi| {
                let mut shown = visible.priority_registers().zip(priorities);
                let priorities = shown.find(|(register, _)| *register == ppi.priority_register());
                let priorities = priorities.map_or(0, |(_, priorities)| get(priorities));
                PPI_PRIORITYR::new_with_raw_value(priorities).priority(ppi).passes(least)
            })
        })
    }
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
                self.doorbell.route(self.lpis, here);
                // It is there before it can ring (SYN-1).
                pe.gsb_sys();
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
        let not_live = RunError::NotLive { vm: record.vm, state: record.state() };
        Ok(Running {
            doorbells: &self.host.doorbells,
            lpis: self.host.domain.platform.lpis(),
            ppis: &self.host.ppis,
            vm: record.vm,
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
    /// that succeeded. Takes no lock, allocates nothing, does not wait; callable with interrupts and preemption off.
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
    /// Takes no lock, allocates nothing, does not wait; callable with interrupts and preemption off.
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
    /// (DB-12). Takes no lock, allocates nothing, does not wait; callable with interrupts and preemption off. To be called on
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
    /// Takes effect in finite time (INS-22). What the interrupt is about must be visible before: a DSB first, if it is data in
    /// memory (SYN-7). An ID beyond the VM's interrupts is dropped by the IRS (INS-18). Takes no lock, allocates nothing, does
    /// not wait; callable from anywhere, interrupt handlers included.
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
        let id = match interrupt {
            IntId::Ppi(ppi) => return Err(InjectError::Ppi(ppi)),
            IntId::Lpi(lpi) => IrsIntId::Lpi(lpi),
            IntId::Spi(spi) => IrsIntId::Spi(spi),
        };
        let record = self.record.as_deref().ok_or(RunError::NotInitialised)?;
        if record.state() != VmState::Live {
            return Err(RunError::NotLive { vm: record.vm, state: record.state() }.into());
        }
        pe.vdpend(record.vm, id, pending == Pending::Set);
        Ok(())
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
