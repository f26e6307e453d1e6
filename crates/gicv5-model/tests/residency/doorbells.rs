//! A deliberately naive IRS: whose candidate is most urgent, which doorbell is due, what is quiet, each answered by a search
//! through everything there is. The model has to agree with it after every one of many random operations, under random
//! switches. What the CPU interface makes of a candidate is the subject of the other comparison, `reference.rs`.
//!
//! `GICV5_REFERENCE_OPERATIONS` says how many operations (a long run has 20_000_000), `GICV5_REFERENCE_SEED` where the seeds start.

use crate::bench::*;

use std::collections::{BTreeMap, BTreeSet};

use crate::random::{Change, Difference, State, agree, most_urgent, pick};

const VPES: [(VmId, VpeId); 3] = [(VM, VPE0), (VM, VPE3), (OTHER, VPE0)];
const PES: u16 = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The hypervisor injects, from a PE (INS-15).
    Inject(u16, VmId, IrsIntId, bool),
    /// The guest that is resident on a PE changes one of its interrupts (INS-8).
    Guest(u16, IrsIntId, Change),
    /// It takes one (INS-1).
    Take(u16),
    Load(u16, usize),
    Put(u16, Option<u32>),
    /// Doorbell settings: DBV, REQ_DB, DBPM and which of its LPIs.
    Settings(usize, bool, bool, u32, u32),
    Cr0(usize),
    /// The handler of a doorbell has run.
    Handle(usize, u32),
    EnableIrs(bool),
    Save(VmId),
    Ask(VmId),
}

/// What a VPE is.
#[derive(Clone, Copy, Debug, Default)]
struct Vpe {
    valid_settings: bool,
    mask: u32,
    lpi: u32,
    requested: Option<u32>,
    resident: Option<u16>,
}

/// The LPIs that a VPE uses as its doorbell, the last of which cannot be reached (DB-16).
fn doorbells(vpe: usize) -> [u32; 3] {
    [100 + vpe as u32, 200 + vpe as u32, 0xff_0000 + vpe as u32]
}

fn is_reachable(lpi: u32) -> bool {
    lpi < 1 << 14
}

struct Naive {
    switches: Switches,
    interrupts: BTreeMap<(VmId, IrsIntId), State>,
    /// Those that the IRS has overlooked (INJ-8).
    unseen: BTreeSet<(VmId, IrsIntId)>,
    vpes: [Vpe; 3],
    pending_lpis: BTreeMap<u32, bool>,
    enabled: bool,
    quiet: BTreeMap<VmId, bool>,
    asked: Option<(VmId, bool)>,
}

impl Naive {
    fn new(switches: Switches) -> Naive {
        let fresh = State { enabled: true, priority: 10, ..State::default() };
        let ids = (0..64).flat_map(|n| [lpi(n), spi(n)]);
        let interrupts = ids.flat_map(|id| [VM, OTHER].map(|vm| ((vm, id), fresh))).collect();
        let vpes = [0, 1, 2].map(|n| Vpe { lpi: doorbells(n)[0], ..Vpe::default() });
        let quiet = [(VM, false), (OTHER, false)].into();
        let unseen = BTreeSet::new();
        Naive { switches, interrupts, unseen, vpes, pending_lpis: BTreeMap::new(), enabled: true, quiet, asked: None }
    }

    /// Something names an interrupt of a VM.
    fn change(&mut self, vm: VmId, id: IrsIntId, change: impl FnOnce(&mut State)) {
        if self.switches.save.disturbance != Disturbance::Changes && self.quiet.contains_key(&vm) {
            self.quiet.insert(vm, false);
        }
        let is_vpe = |target: u16| VPES.contains(&(vm, VpeId::new(target)));
        let switch = self.switches.vpe.invalid_target;
        let Some(state) = self.interrupts.get_mut(&(vm, id)) else { return };
        let before = *state;
        change(state);
        if switch == InvalidTarget::IsLost && !before.pending && !is_vpe(state.target) {
            state.pending = false;
        }
        match switch == InvalidTarget::IsNotNoticed && state.pending && !is_vpe(state.target) {
            true => self.unseen.insert((vm, id)),
            false => self.unseen.remove(&(vm, id)),
        };
        if before != *state {
            self.quiet.insert(vm, false);
        }
    }

    fn apply_change(&mut self, vm: VmId, id: IrsIntId, change: Change) {
        let switch = self.switches.set_pending;
        self.change(vm, id, |state| change.apply(state, switch));
    }

    /// The candidates of a VPE with their priorities: pending, enabled, not active, and noticed (HPPI-1).
    fn candidates(&self, vpe: usize) -> impl Iterator<Item = (u8, IrsIntId)> {
        let (vm, vpe) = VPES[vpe];
        let all = self.interrupts.iter().filter(move |(key, state)| {
            key.0 == vm && state.target == vpe.raw_value() && state.is_candidate() && !self.unseen.contains(key)
        });
        all.map(|((_, id), state)| (state.priority, *id))
    }

    /// The most urgent of them: any of these may be the one (HPPI-4).
    fn most_urgent(&self, vpe: usize) -> Vec<IrsIntId> {
        most_urgent(self.candidates(vpe)).map_or(Vec::new(), |(_, ids)| ids)
    }

    /// Those of them that its PE may be offered (RES-8, GEN-21).
    fn forwarded(&self, vpe: usize) -> Vec<IrsIntId> {
        let goes_on = self.switches.residency.disabled_irs == ForwardingOfDisabledIrs::GoesOn;
        if self.enabled || goes_on { self.most_urgent(vpe) } else { Vec::new() }
    }

    /// Whether the doorbell of a VPE is due (DB-1).
    fn is_due(&self, n: usize) -> bool {
        let vpe = self.vpes[n];
        let Some(mask) = vpe.requested else { return false };
        let switches = self.switches.doorbell;
        let passes = |priority: u8, mask: u32| match switches.mask {
            DoorbellMask::ByUrgency => u32::from(priority) <= mask,
            DoorbellMask::ByNumber => u32::from(priority) >= mask,
        };
        let both = switches.request_mask == RequestMask::OfBoth;
        vpe.valid_settings
            && vpe.resident.is_none()
            && (self.enabled || switches.disabled_irs == DoorbellsOfDisabledIrs::Ring)
            && self.candidates(n).any(|(priority, _)| passes(priority, mask) && (!both || passes(priority, vpe.mask)))
    }

    /// Rings what is due (DB-2, DB-4).
    fn settle(&mut self) {
        for (n, (vm, _)) in VPES.into_iter().enumerate() {
            if !self.is_due(n) {
                continue;
            }
            let lpi = self.vpes[n].lpi;
            let has_effect = is_reachable(lpi) && !self.pending_lpis.get(&lpi).copied().unwrap_or(false);
            if !has_effect && self.switches.doorbell.merged == MergedDoorbell::Keeps {
                continue;
            }
            self.vpes[n].requested = None;
            if is_reachable(lpi) {
                self.pending_lpis.insert(lpi, true);
            }
            if self.switches.save.disturbance == Disturbance::AttemptsAndDoorbells {
                self.quiet.insert(vm, false);
            }
        }
    }

    fn on(&self, pe: u16) -> Option<usize> {
        (0..VPES.len()).find(|n| self.vpes[*n].resident == Some(pe))
    }

    fn settings(&mut self, n: usize, dbv: bool, request: bool, mask: u32, lpi: u32) {
        let switches = self.switches.doorbell;
        let vpe = &mut self.vpes[n];
        if vpe.resident.is_some() && switches.while_resident == SettingsWhileResident::Ignored {
            return;
        }
        if dbv || switches.without_dbv == WithoutDbv::Invalidates {
            (vpe.valid_settings, vpe.mask, vpe.lpi) = (dbv, mask, lpi);
        }
        if request {
            let counts = vpe.resident.is_none() || switches.request_while_resident == RequestWhileResident::Remembered;
            vpe.requested = counts.then_some(mask);
        } else if switches.rewrite == RequestAtRewrite::Dropped {
            vpe.requested = None;
        }
    }
}

/// The model and the naive machine.
struct Both {
    bench: GuestBench,
    naive: Naive,
    checks: u64,
}

impl Both {
    fn new(switches: Switches, seed: u64) -> Both {
        let mut config = config(PES);
        config.switches = switches;
        config.seed = seed;
        let bench = GuestBench::new(config);
        for (n, (vm, vpe)) in VPES.into_iter().enumerate() {
            bench.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe));
            // Whatever a write without DBV means, nothing rings after this.
            let lpi = Lpi::new(doorbells(n)[0]).unwrap();
            bench.command(IRS_VPE_DBR::ZERO.with_dbv(true).with_intid(lpi));
            bench.command(IRS_VPE_DBR::ZERO.with_intid(lpi));
        }
        let mut naive = Naive::new(switches);
        for vpe in &mut naive.vpes {
            vpe.valid_settings = switches.doorbell.without_dbv == WithoutDbv::Keeps;
        }
        Both { bench, naive, checks: 0 }
    }

    fn host(&self, pe: u16) -> Pe<'_, ModelPe> {
        self.bench.host(PeIndex(pe))
    }

    fn select(&self, n: usize) {
        self.bench.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(VPES[n].0).with_vpe_id(VPES[n].1));
    }

    fn step(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Inject(pe, vm, id, pending) => {
                self.host(pe).vdpend(vm, id, pending);
                self.host(pe).gsb_sys();
                self.naive.apply_change(vm, id, Change::Pend(pending));
            }
            Op::Guest(pe, id, change) => {
                let Some(n) = self.naive.on(pe) else { return Ok(()) };
                let guest = self.bench.guest(PeIndex(pe));
                change.execute(&guest, id);
                guest.gsb_sys();
                self.naive.apply_change(VPES[n].0, id, change);
            }
            Op::Take(pe) => self.take(pe)?,
            Op::Load(pe, n) => {
                if self.naive.on(pe).is_some() || self.naive.vpes[n].resident.is_some() {
                    return Ok(());
                }
                if !self.bench.load(PeIndex(pe), VPES[n].0, VPES[n].1) {
                    return Err("the VPE is valid, and was not made resident (RES-3)".into());
                }
                self.naive.vpes[n].resident = Some(pe);
                if self.naive.switches.residency.request == DoorbellRequest::EndsWithResidency {
                    self.naive.vpes[n].requested = None;
                }
            }
            Op::Put(pe, request) => {
                self.bench.put(PeIndex(pe), request);
                if let Some(n) = self.naive.on(pe) {
                    self.naive.vpes[n].resident = None;
                    if request.is_some() {
                        self.naive.vpes[n].requested = request;
                    }
                }
            }
            Op::Settings(n, dbv, request, mask, lpi) => {
                self.select(n);
                let dbr = IRS_VPE_DBR::ZERO.with_dbv(dbv).with_req_db(request).with_dbpm(priority(mask));
                self.bench.command(dbr.with_intid(Lpi::new(lpi).unwrap()));
                self.naive.settings(n, dbv, request, mask, lpi);
            }
            Op::Cr0(n) => {
                self.select(n);
                self.bench.command(IRS_VPE_CR0::ZERO.with_dps(true));
                if self.naive.switches.doorbell.cr0_write == RequestAtCr0::Dropped {
                    self.naive.vpes[n].requested = None;
                }
            }
            Op::Handle(pe, lpi) => {
                self.host(pe as u16).cdpend(IrsIntId::Lpi(Lpi::new(lpi).unwrap()), false);
                self.host(pe as u16).gsb_sys();
                self.naive.pending_lpis.insert(lpi, false);
                // A doorbell that merged and kept its request rings when it is looked at again.
                self.bench.command(IRS_CR0::ZERO.with_irsen(self.naive.enabled));
            }
            Op::EnableIrs(enabled) => {
                self.bench.command(IRS_CR0::ZERO.with_irsen(enabled));
                self.naive.enabled = enabled;
            }
            Op::Save(vm) => {
                self.bench.command(IRS_SAVE_VMR::ZERO.with_vm_id(vm).with_s(true).with_q(true));
                self.naive.quiet.insert(vm, true);
                self.naive.asked = Some((vm, true));
            }
            Op::Ask(vm) => {
                self.bench.command(IRS_SAVE_VMR::ZERO.with_vm_id(vm).with_q(true));
                self.naive.asked = Some((vm, self.naive.quiet[&vm]));
            }
        }
        self.naive.settle();
        self.compare()
    }

    /// The guest takes an interrupt, drops and deactivates (INS-1, INS-3, INS-5).
    fn take(&mut self, pe: u16) -> Result<(), String> {
        let Some(n) = self.naive.on(pe) else { return Ok(()) };
        let allowed = self.naive.forwarded(n);
        let taken = take(&self.bench.guest(PeIndex(pe))).map(|id: IntId| IrsIntId::try_from(id).unwrap());
        let Some(id) = taken.filter(|id| allowed.contains(id)) else {
            return if taken.is_none() && allowed.is_empty() {
                Ok(())
            } else {
                Err(format!("PE {pe} took {taken:?}, allowed {allowed:?}"))
            };
        };
        self.naive.change(VPES[n].0, id, State::take);
        self.naive.apply_change(VPES[n].0, id, Change::Deactivate);
        Ok(())
    }

    fn compare(&mut self) -> Result<(), String> {
        for pe in 0..PES {
            let on = self.naive.on(pe);
            let resident = self.bench.machine.resident(PeIndex(pe));
            if resident != on.map(|n| VPES[n]) {
                return Err(format!("on PE {pe}: {resident:?}, should be {on:?}"));
            }
            let allowed = on.map_or(Vec::new(), |n| self.naive.forwarded(n));
            let candidate = self.bench.machine.virtual_candidate(PeIndex(pe)).map(|(id, _)| id);
            if candidate.is_none() != allowed.is_empty() || candidate.is_some_and(|id| !allowed.contains(&id)) {
                return Err(format!("candidate on PE {pe} (RES-8): {candidate:?}, allowed {allowed:?}"));
            }
        }
        for lpi in (0..VPES.len()).flat_map(doorbells).filter(|lpi| is_reachable(*lpi)) {
            let is = self.bench.machine.interrupt(IrsIntId::Lpi(Lpi::new(lpi).unwrap())).unwrap().pending();
            let should = self.naive.pending_lpis.get(&lpi).copied().unwrap_or(false);
            if is != should {
                return Err(format!("doorbell LPI {lpi} (DB-1 to DB-18): {is}, should be {should}"));
            }
        }
        if let Some((vm, then)) = self.naive.asked {
            let now = match self.naive.switches.save.verdict {
                SaveVerdict::WhenAsked => then,
                SaveVerdict::WhenRead => self.naive.quiet[&vm],
            };
            let is = self.bench.machine.read::<IRS_SAVE_VM_STATUSR>(IRS).q();
            if is != now {
                return Err(format!("Q of {vm} (SAVE-2 to SAVE-4): {is}, should be {now}"));
            }
        }
        self.checks += 1;
        if self.checks.is_multiple_of(16) { self.compare_all() } else { Ok(()) }
    }

    /// Every state there is, and what the registers show of every VPE.
    fn compare_all(&self) -> Result<(), String> {
        for ((vm, id), state) in &self.naive.interrupts {
            let is = State::of(self.bench.state_in(*vm, *id));
            if is != *state {
                return Err(format!("{id:?} of {vm}: {is:?}, should be {state:?}"));
            }
        }
        for (n, vpe) in self.naive.vpes.iter().enumerate() {
            self.select(n);
            let dbr = self.bench.machine.read::<IRS_VPE_DBR>(IRS);
            let request = vpe.requested.is_some() && self.naive.switches.doorbell.req_db == ReqDbReads::Live;
            let is = (dbr.dbv(), u32::from(dbr.dbpm().number()), dbr.intid().id(), dbr.req_db());
            if is != (vpe.valid_settings, vpe.mask, vpe.lpi, request) {
                return Err(format!("IRS_VPE_DBR of {:?}: {is:?}, should be {vpe:?}", VPES[n]));
            }
            let hppir = self.bench.machine.read::<IRS_VPE_HPPIR>(IRS).int_id();
            let allowed = self.naive.most_urgent(n);
            let fits = match hppir {
                None => allowed.is_empty(),
                Some(id) => allowed.contains(&IrsIntId::try_from(id).unwrap()),
            };
            if self.naive.switches.vpe.hppir == VpeHppir::Candidate && !fits {
                return Err(format!("IRS_VPE_HPPIR of {:?}: {hppir:?}, allowed {allowed:?}", VPES[n]));
            }
        }
        // A request without settings is one of the random ones.
        match self.bench.said().iter().find(|violation| violation.rule != "DB-6") {
            None => Ok(()),
            Some(violation) => Err(violation.to_string()),
        }
    }
}

fn some_op(rng: &mut Rng) -> Op {
    let pe = rng.below(PES.into()) as u16;
    let vm = pick(rng, &[VM, VM, OTHER]);
    let n = rng.below(3) as usize;
    let yes = rng.chance(2, 3);
    let id = match rng.below(16) {
        0..9 => lpi(pick(rng, &[0, 1, 2, 63])),
        9..15 => spi(pick(rng, &[0, 1, 63])),
        _ => pick(rng, &[lpi(1 << 14), spi(64), lpi(0xff_ffff)]),
    };
    match rng.below(100) {
        0..24 => Op::Inject(pe, vm, id, yes),
        24..26 => Op::Inject(pe, VmId::new(99), id, yes),
        26..46 => {
            let change = match rng.below(12) {
                0..3 => Change::Pend(yes),
                3..6 => Change::Enable(yes),
                6..8 => Change::Priority(pick(rng, &[0, 9, 10, 10, 11, 31])),
                8..10 => Change::Target(pick(rng, &[0, 0, 3, 3, 9])),
                10 => Change::Level(yes),
                _ => Change::Deactivate,
            };
            Op::Guest(pe, id, change)
        }
        46..54 => Op::Take(pe),
        54..66 => Op::Load(pe, n),
        66..78 => Op::Put(pe, yes.then(|| pick(rng, &[0, 9, 10, 11, 31]))),
        78..88 => Op::Settings(n, yes, rng.chance(1, 2), pick(rng, &[0, 9, 10, 31]), pick(rng, &doorbells(n))),
        88..90 => Op::Cr0(n),
        90..95 => Op::Handle(usize::from(pe), pick(rng, &doorbells(n)[..2])),
        95..97 => Op::EnableIrs(yes),
        97 => Op::Save(vm),
        _ => Op::Ask(vm),
    }
}

/// Where the two differ, if they do: after how many operations, and how.
fn run(switches: Switches, seed: u64, ops: &[Op]) -> Difference {
    let mut both = Both::new(switches, seed);
    for (n, op) in ops.iter().enumerate() {
        if let Err(difference) = both.step(*op) {
            return Some((n + 1, difference));
        }
    }
    both.compare_all().err().map(|difference| (ops.len(), difference))
}

#[test]
fn virtual_selection_and_doorbells_agree_with_a_naive_machine_about_random_operations() {
    // DB-1 to DB-18, RES-3, RES-5, RES-7 to RES-11, HPPI-1, HPPI-2, HPPI-4, VPE-12, VPE-16, VPE-20, INS-15, INS-17, INS-18, INJ-1, INJ-9,
    // INJ-10, SAVE-1 to SAVE-4, GEN-21, RTE-1, RTE-5, ISM-11.
    let agreed = agree(|seed, rng| if seed == 0 { Switches::default() } else { Switches::random(rng) }, some_op, run);
    if let Err(difference) = agreed {
        panic!("{difference}");
    }
}
