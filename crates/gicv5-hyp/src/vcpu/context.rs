//! What the CPU interface of a vCPU holds while the vCPU is not resident: saved, and restored.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use gicv5_arch::sysreg::{APR, ICH_VCTLR_EL2, ICH_VMCR_EL2, PPI_PRIORITYR, PpiSet, SysReg};
use gicv5_arch::{Iaffid, PpiBank, Priority};
use gicv5_hal::{Pe, PeOps};

use crate::sync;
use crate::vcpu::ppi::{PpiMask, VirtualPpis};

/// Whether a guest's IRS is on, which all its vCPUs must be loaded with (RES-13).
pub(crate) struct GuestIrs(pub(crate) AtomicBool);

impl GuestIrs {
    pub(crate) const fn new(on: bool) -> GuestIrs {
        GuestIrs(AtomicBool::new(on))
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
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
    pub(crate) latch: [AtomicU64; 2],
    /// The PE on which the vCPU is resident, precisely (RES-18). Who has no claim may look as well.
    place: sync::AtomicU32,
    /// The PE the doorbell was last routed to (DB-24).
    pub(crate) routed: AtomicU32,
    /// The vCPU's thread was told to sleep and has not been told otherwise.
    pub(crate) waiting: AtomicBool,
    /// The guest's IRS was off when the vCPU was loaded or put to sleep, so that no doorbell was asked for (DB-20).
    pub(crate) irs_was_off: AtomicBool,
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
#[inline]
pub(crate) const fn of(pair: &[AtomicU64; 2], bank: PpiBank) -> &AtomicU64 {
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
    #[inline]
    pub(crate) fn place(&self) -> Option<Iaffid> {
        u16::try_from(self.place.load(Ordering::Relaxed)).ok().map(Iaffid::new)
    }

    #[inline]
    pub(crate) fn set_place(&self, place: Option<Iaffid>) {
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

    /// The doorbell is to be routed anew when the vCPU next sleeps, wherever that is.
    pub(crate) fn forget_route(&self) {
        self.routed.store(NOWHERE, Ordering::Relaxed);
    }

    /// The vCPU does not rely on its doorbell any more, and has something pending until it has been loaded.
    pub(crate) fn stop_waiting(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Gives the PE's virtual CPU interface this state, and nothing of what it had. No VPE is resident on the PE.
    #[inline]
    pub(crate) fn restore<P: PeOps + ?Sized>(
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
    #[inline]
    pub(crate) fn save<P: PeOps + ?Sized>(
        &self,
        pe: &Pe<'_, P>,
        ppis: &VirtualPpis,
        visible: PpiMask,
        priorities: &[AtomicU64],
    ) {
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
    #[inline]
    pub(crate) fn least_signallable(&self) -> Option<Priority> {
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
    pub(crate) fn has_ppi(&self, visible: PpiMask, priorities: &[AtomicU64]) -> bool {
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
