//! A naive machine with guests, and random operations on both.
//!
//! The naive one keeps the state of every interrupt in one map and looks through all of it for every question. It has no
//! queues, no forwarding and no caches: what a PE signals follows from the state at that moment. Which of several equally
//! urgent interrupts comes first is open (HPPI-4), so it asks only whether the answer is among them.
//!
//! `GICV5_REFERENCE_OPERATIONS` says how many operations, `GICV5_REFERENCE_SEED` where the seeds start.

use crate::bench::*;

use std::collections::{BTreeMap, BTreeSet};

use crate::random::state::mode;
use crate::random::{Change, Difference, State, agree, most_urgent, pick};

const PES: usize = 3;
const VPES: [(VmId, VpeId); 3] = [(VM, VPE0), (VM, VPE3), (OTHER, VPE0)];
const PPIS: [Ppi; 4] = [Ppi::SW_PPI, Ppi::CNTV, Ppi::CNTP, Ppi::PMUIRQ];

#[derive(Clone, Copy, Debug, Default)]
struct NaivePpi {
    wire: bool,
    /// Of the physical one.
    physical: bool,
    /// As ICH_PPI_PENDR has it.
    pending: bool,
    active: bool,
    enabled: bool,
    priority: u8,
    direct: bool,
    hidden: bool,
}

#[derive(Clone, Debug, Default)]
struct NaivePe {
    resident: Option<(VmId, VpeId)>,
    irichppidis: bool,
    on: bool,
    enabled: bool,
    mask: u8,
    active: BTreeSet<u8>,
    nmi: bool,
    ppis: BTreeMap<u32, NaivePpi>,
}

struct Naive {
    switches: Switches,
    interrupts: BTreeMap<(VmId, IrsIntId), State>,
    pes: Vec<NaivePe>,
}

/// Something that is done to both machines.
#[derive(Clone, Copy, Debug)]
enum Op {
    Load(usize, VmId, VpeId, bool),
    Put(usize),
    Enable(usize, bool),
    Vmcr(usize, u8, bool),
    GuestMask(usize, u8),
    Nmi(usize, bool),
    Inject(usize, VmId, IrsIntId, bool),
    Guest(usize, IrsIntId, Change),
    Host(usize, IrsIntId, Change),
    /// The guest deactivates a PPI, or the hypervisor for it.
    DeactivatePpi(usize, Ppi, bool),
    Acknowledge(usize, bool),
    Drop(usize),
    Wire(usize, Ppi, bool),
    Ppi(usize, Ppi, PpiChange),
}

#[derive(Clone, Copy, Debug)]
enum PpiChange {
    Enable(bool),
    Active(bool),
    Pending(bool),
    Priority(u8),
    Direct(bool),
    Hidden(bool),
    GuestEnable(bool),
    GuestPending(bool),
}

fn is_edge(ppi: Ppi) -> bool {
    ppi == Ppi::SW_PPI
}

impl Naive {
    fn new(switches: Switches) -> Naive {
        let fresh = State { enabled: true, priority: 10, ..State::default() };
        let ids = (0..8).map(lpi).chain((0..8).map(spi));
        let interrupts = [VM, OTHER].into_iter().flat_map(|vm| ids.clone().map(move |id| ((vm, id), fresh))).collect();
        let ppis: BTreeMap<u32, NaivePpi> = PPIS.iter().map(|ppi| (ppi.id(), NaivePpi::default())).collect();
        let pe = NaivePe { on: true, ppis, ..NaivePe::default() };
        Naive { switches, interrupts, pes: vec![pe; PES] }
    }

    /// Whether a PE has a virtual domain: that of the resident VPE, or of PPIs alone.
    fn has_virtual_domain(&self, n: usize) -> bool {
        self.pes[n].resident.is_some() || self.switches.residency.alone == PpisAlone::Compete
    }

    /// The most urgent priority that competes on a PE, and everything that has it.
    fn best(&self, n: usize) -> Option<(u8, Vec<IntId>)> {
        let pe = &self.pes[n];
        if !self.has_virtual_domain(n) {
            return None;
        }
        let here = |((of, _), state): &(&(VmId, IrsIntId), &State)| {
            let mine = pe.resident.is_some_and(|(vm, vpe)| *of == vm && state.target == vpe.raw_value());
            mine && state.is_candidate() && !pe.irichppidis
        };
        // One candidate: the most urgent, any of the equals.
        let candidates = self.interrupts.iter().filter(here).map(|((_, id), state)| (state.priority, IntId::from(*id)));
        let offered = most_urgent(candidates);
        let irs = offered.as_ref().map(|(priority, _)| *priority);
        let mut all: Vec<(u8, IntId)> =
            offered.into_iter().flat_map(|(priority, ids)| ids.into_iter().map(move |id| (priority, id))).collect();
        for (id, ppi) in &pe.ppis {
            let pending = if ppi.direct { ppi.physical } else { ppi.pending };
            let shown = !ppi.hidden || self.switches.residency.hidden == HiddenPpi::StillSignalled;
            if pending && ppi.enabled && !ppi.active && shown {
                all.push((ppi.priority, IntId::Ppi(Ppi::new(*id).unwrap())));
            }
        }
        let (best, mut ids) = most_urgent(all)?;
        if irs == Some(best) && ids.iter().any(|id| matches!(id, IntId::Ppi(_))) {
            ids.retain(|id| matches!(id, IntId::Ppi(_)) == (self.switches.tie == Tie::Ppi));
        }
        Some((best, ids))
    }

    /// What may be signalled on a PE.
    fn hppi(&self, n: usize) -> Option<(u8, Vec<IntId>)> {
        let pe = &self.pes[n];
        let on = pe.on || self.switches.residency.enable == VirtualEnable::NotNeeded;
        let (priority, ids) = self.best(n)?;
        let running = pe.active.first().copied().unwrap_or(u8::MAX);
        (on && pe.enabled && priority <= pe.mask && priority < running).then_some((priority, ids))
    }

    fn signals(&self, n: usize) -> Signals {
        let hppi = self.hppi(n);
        let nmi = self.pes[n].nmi && hppi.as_ref().is_some_and(|(priority, _)| *priority == 0);
        Signals { irq: hppi.is_some(), fiq: false, nmi }
    }

    fn change(&mut self, vm: VmId, id: IrsIntId, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.interrupts.get_mut(&(vm, id)) {
            change(state);
        }
    }

    fn apply_change(&mut self, n: usize, id: IrsIntId, change: Change) {
        let switch = self.switches.set_pending;
        if let Some((vm, _)) = self.pes[n].resident {
            self.change(vm, id, |state| change.apply(state, switch));
        }
    }

    fn deactivate_ppi(&mut self, n: usize, id: Ppi, by_guest: bool) {
        let acts = self.pes[n].resident.is_some() || by_guest && self.has_virtual_domain(n);
        let hides = self.switches.residency.hidden == HiddenPpi::NeverSignalled;
        let pe = &mut self.pes[n];
        if let Some(ppi) = pe.ppis.get_mut(&id.id()).filter(|_| acts) {
            ppi.active &= ppi.hidden && hides;
        }
    }

    /// A VPE becomes resident, with what rules leave open.
    fn load(&mut self, n: usize, vm: VmId, vpe: VpeId, irichppidis: bool) {
        let named = Some((vm, vpe));
        let switches = self.switches.residency;
        let had = self.pes[n].resident;
        self.pes[n].irichppidis = irichppidis;
        if had == named {
            return;
        }
        self.pes[n].resident = None;
        if had.is_some() && switches.replaced == ReplacedVpe::LeavesAndNewFails || !VPES.contains(&(vm, vpe)) {
            return;
        }
        if let Some(elsewhere) = self.pes.iter().position(|pe| pe.resident == named) {
            if switches.elsewhere == ResidentElsewhere::Fails {
                return;
            }
            // That PE still believes that it has a VPE; the story ends there (see `run`).
            self.pes[elsewhere].resident = None;
        }
        self.pes[n].resident = named;
    }

    /// An acknowledge: what may have been taken.
    fn takes(&self, n: usize, nmi: bool) -> Option<(u8, Vec<IntId>)> {
        self.hppi(n).filter(|(priority, _)| (self.pes[n].nmi && *priority == 0) == nmi)
    }

    fn taken(&mut self, n: usize, priority: u8, id: IntId) {
        self.pes[n].active.insert(priority);
        match id {
            IntId::Ppi(id) => {
                let ppi = self.pes[n].ppis.get_mut(&id.id()).unwrap();
                ppi.active = true;
                if is_edge(id) {
                    *(if ppi.direct { &mut ppi.physical } else { &mut ppi.pending }) = false;
                }
            }
            id => {
                let (vm, _) = self.pes[n].resident.unwrap();
                self.change(vm, IrsIntId::try_from(id).unwrap(), State::take);
            }
        }
    }

    fn ppi(&mut self, n: usize, id: Ppi, change: PpiChange) {
        let ppi = self.pes[n].ppis.get_mut(&id.id()).unwrap();
        match change {
            PpiChange::Enable(to) => ppi.enabled = to,
            PpiChange::Active(to) => ppi.active = to,
            PpiChange::Pending(to) if !ppi.direct => ppi.pending = to,
            PpiChange::Priority(to) => ppi.priority = to,
            PpiChange::Direct(to) => ppi.direct = to,
            PpiChange::Hidden(to) => ppi.hidden = to,
            PpiChange::GuestEnable(to) if !ppi.hidden => ppi.enabled = to,
            PpiChange::GuestPending(to) if !ppi.hidden && is_edge(id) => {
                *(if ppi.direct { &mut ppi.physical } else { &mut ppi.pending }) = to;
            }
            _ => {}
        }
    }

    fn wire(&mut self, n: usize, id: Ppi, high: bool) {
        let ppi = self.pes[n].ppis.get_mut(&id.id()).unwrap();
        let rises = high && !ppi.wire;
        ppi.wire = high;
        match is_edge(id) {
            true => ppi.physical |= rises,
            false => ppi.physical = high,
        }
    }
}

/// Does it to both, and says where they differ.
fn step(bench: &GuestBench, naive: &mut Naive, op: Op) -> Result<(), String> {
    let pe = |n: usize| PeIndex(n as u16);
    let host = |n: usize| bench.host(pe(n));
    let set = |n: usize, register: SysReg, bits: u64, to: bool| {
        let value = host(n).read_raw(register);
        host(n).write_raw(register, if to { value | bits } else { value & !bits });
    };
    match op {
        Op::Load(n, vm, vpe, irichppidis) => {
            naive.load(n, vm, vpe, irichppidis);
            let context = ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe);
            host(n).set(context.with_irichppidis(irichppidis));
            let f = host(n).read::<ICH_CONTEXTR_EL2>().f();
            if f != naive.pes[n].resident.is_none() {
                return Err(format!("F is {f}"));
            }
        }
        Op::Put(n) => {
            naive.pes[n].resident = None;
            naive.pes[n].irichppidis = false;
            bench.put(pe(n), None);
        }
        Op::Enable(n, on) => {
            naive.pes[n].on = on;
            host(n).write(ICH_VCTLR_EL2::ZERO.with_en(on));
        }
        Op::Vmcr(n, mask, enabled) => {
            (naive.pes[n].mask, naive.pes[n].enabled) = (mask, enabled);
            host(n).write(ICH_VMCR_EL2::ZERO.with_vpmr(priority(mask.into())).with_en(enabled));
        }
        Op::GuestMask(n, mask) => {
            naive.pes[n].mask = mask;
            bench.guest(pe(n)).write_raw(SysReg::ICC_PCR_EL1, mask.into());
        }
        Op::Nmi(n, nmi) => {
            naive.pes[n].nmi = nmi;
            bench.machine.set_guest_nmi(pe(n), nmi);
        }
        Op::Inject(n, vm, id, pending) => {
            let switch = naive.switches.set_pending;
            naive.change(vm, id, |state| Change::Pend(pending).apply(state, switch));
            host(n).vdpend(vm, id, pending);
        }
        Op::Guest(n, id, change) => {
            naive.apply_change(n, id, change);
            change.execute(&bench.guest(pe(n)), id);
        }
        Op::Host(n, id, change) => {
            let (insn, xt) = match change {
                Change::Enable(true) => (GicInsn::GIC_VDEN, IntIdOperand::naming(id).raw_value()),
                Change::Enable(false) => (GicInsn::GIC_VDDIS, IntIdOperand::naming(id).raw_value()),
                Change::Priority(to) => {
                    let operand = PriorityOperand::naming(id).with_priority(priority(to.into()));
                    (GicInsn::GIC_VDPRI, operand.raw_value())
                }
                Change::Target(to) => {
                    (GicInsn::GIC_VDAFF, AffinityOperand::naming(id).with_iaffid(Iaffid::new(to)).raw_value())
                }
                Change::Level(level) => {
                    (GicInsn::GIC_VDHM, HandlingModeOperand::naming(id).with_hm(mode(level)).raw_value())
                }
                Change::Deactivate => (GicInsn::GIC_VDDI, DeactivateOperand::naming(id.into()).raw_value()),
                Change::Pend(_) => return Ok(()),
            };
            naive.apply_change(n, id, change);
            host(n).gic(insn, xt);
        }
        Op::DeactivatePpi(n, ppi, by_guest) => {
            naive.deactivate_ppi(n, ppi, by_guest);
            match by_guest {
                true => bench.guest(pe(n)).cddi(ppi.into()),
                false => _ = host(n).gic(GicInsn::GIC_VDDI, DeactivateOperand::naming(ppi.into()).raw_value()),
            }
        }
        Op::Acknowledge(n, nmi) => {
            let expected = naive.takes(n, nmi);
            let guest = bench.guest(pe(n));
            let taken = if nmi { guest.acknowledge_nmi() } else { guest.acknowledge() }.int_id();
            match (expected, taken) {
                (None, None) => {}
                (Some((priority, ids)), Some(id)) if ids.contains(&id) => naive.taken(n, priority, id),
                (expected, taken) => return Err(format!("took {taken:?}, expected {expected:?}")),
            }
        }
        Op::Drop(n) => {
            if naive.has_virtual_domain(n) {
                naive.pes[n].active.pop_first();
            }
            bench.guest(pe(n)).cdeoi();
        }
        Op::Wire(n, ppi, high) => {
            naive.wire(n, ppi, high);
            bench.machine.set_ppi_wire(pe(n), ppi, high);
        }
        Op::Ppi(n, ppi, change) => {
            let bank = ppi.bank();
            match change {
                PpiChange::Enable(to) => set(n, SysReg::ich_ppi_enabler(bank), ppi.mask(), to),
                PpiChange::Active(to) => set(n, SysReg::ich_ppi_activer(bank), ppi.mask(), to),
                PpiChange::Pending(to) => {
                    // Read back, the bits of injected PPIs are the wires'; to write them changes nothing.
                    let own = naive.pes[n].ppis.iter().filter(|(id, state)| state.pending && **id != ppi.id());
                    let own = own.fold(0, |bits, (id, _)| bits | Ppi::new(*id).unwrap().mask());
                    host(n).write_raw(SysReg::ich_ppi_pendr(bank), own | if to { ppi.mask() } else { 0 });
                }
                PpiChange::Priority(to) => {
                    let register = SysReg::ich_ppi_priorityr(ppi.priority_register());
                    let value = PPI_PRIORITYR::new_with_raw_value(host(n).read_raw(register));
                    host(n).write_raw(register, value.with_priority(ppi, priority(to.into())).raw_value());
                }
                PpiChange::Direct(to) => set(n, SysReg::ich_ppi_dvir(bank), ppi.mask(), to),
                PpiChange::Hidden(to) => set(n, SysReg::ich_ppi_hvir(bank), ppi.mask(), to),
                PpiChange::GuestEnable(to) => {
                    let guest = bench.guest(pe(n));
                    let value = guest.read_raw(SysReg::icc_ppi_enabler(bank)) & !ppi.mask();
                    guest.write_raw(SysReg::icc_ppi_enabler(bank), value | if to { ppi.mask() } else { 0 });
                }
                PpiChange::GuestPending(to) => {
                    let register = if to { SysReg::icc_ppi_spendr(bank) } else { SysReg::icc_ppi_cpendr(bank) };
                    bench.guest(pe(n)).write_raw(register, ppi.mask());
                }
            }
            naive.ppi(n, ppi, change);
        }
    }
    compare(bench, naive)
}

fn compare(bench: &GuestBench, naive: &Naive) -> Result<(), String> {
    for n in 0..PES {
        let pe = PeIndex(n as u16);
        let (is, expected) = (bench.machine.virtual_signals(pe), naive.signals(n));
        if is != expected {
            return Err(format!("{pe} signals {is:?}, expected {expected:?}"));
        }
        let hppi = bench.machine.virtual_hppi(pe).map(|(id, priority)| (priority.number(), id));
        match (hppi, naive.hppi(n)) {
            (None, None) => {}
            (Some((priority, id)), Some((expected, ids))) if priority == expected && ids.contains(&id) => {}
            (hppi, expected) => return Err(format!("{pe} has {hppi:?}, expected {expected:?}")),
        }
        let active = naive.pes[n].active.iter().fold(0, |bits, priority| bits | 1u64 << priority);
        let apr = bench.host(pe).read_raw(SysReg::ICH_APR_EL2);
        if apr != active {
            return Err(format!("{pe} has active priorities {apr:#x}, expected {active:#x}"));
        }
    }
    Ok(())
}

fn some_op(rng: &mut Rng) -> Op {
    let n = rng.below(PES as u64) as usize;
    let yes = rng.chance(1, 2);
    let at = pick(rng, &[0, 0, 3, 7, 10, 10, 20, 31]);
    let id = match rng.below(2) {
        0 => lpi(rng.below(8) as u32),
        _ => spi(rng.below(8) as u32),
    };
    let ppi = pick(rng, &PPIS);
    let change = match rng.below(8) {
        0 => Some(Change::Enable(yes || rng.chance(1, 2))),
        1 => Some(Change::Priority(at)),
        2 => Some(Change::Target(pick(rng, &[0, 3, 3, 1]))),
        3 => Some(Change::Level(yes)),
        4 => Some(Change::Pend(yes || rng.chance(1, 2))),
        5 => None,
        _ => Some(Change::Deactivate),
    };
    match rng.below(32) {
        0 | 1 => {
            let (vm, vpe) = pick(rng, &[VPES[0], VPES[1], VPES[2], (OTHER, VPE3)]);
            Op::Load(n, vm, vpe, rng.chance(1, 6))
        }
        2 => Op::Put(n),
        3 => Op::Enable(n, rng.chance(3, 4)),
        4 => Op::Vmcr(n, pick(rng, &[31, 31, 10, 9, 3, 0]), rng.chance(5, 6)),
        5 => Op::GuestMask(n, pick(rng, &[31, 31, 10, 9, 3, 0])),
        6 => Op::Nmi(n, yes),
        7..=11 => Op::Inject(n, pick(rng, &[VM, VM, OTHER]), id, rng.chance(3, 4)),
        by @ 12..=17 => match change {
            None => Op::DeactivatePpi(n, ppi, by != 17),
            Some(change) if by != 17 => Op::Guest(n, id, change),
            Some(change) => Op::Host(n, id, change),
        },
        18..=22 => Op::Acknowledge(n, rng.chance(1, 4)),
        23..=25 => Op::Drop(n),
        26 | 27 => Op::Wire(n, ppi, yes),
        _ => Op::Ppi(
            n,
            ppi,
            match rng.below(8) {
                0 => PpiChange::Enable(yes || rng.chance(1, 2)),
                1 => PpiChange::Active(yes && rng.chance(1, 2)),
                2 => PpiChange::Pending(yes),
                3 => PpiChange::Priority(at),
                4 => PpiChange::Direct(yes),
                5 => PpiChange::Hidden(yes && rng.chance(1, 2)),
                6 => PpiChange::GuestEnable(yes || rng.chance(1, 2)),
                _ => PpiChange::GuestPending(yes),
            },
        ),
    }
}

/// Switches as they come, but for when effects act: the naive machine knows no waiting.
fn some_switches(rng: &mut Rng) -> Switches {
    let mut switches = Switches::random(rng);
    switches.effects = Effects::Early;
    // What becomes of an interrupt for a VPE that is not valid is the IRS's story.
    switches.vpe.invalid_target = Default::default();
    // A PE that is not told of what it has lost is a story of its own.
    switches.residency.elsewhere = ResidentElsewhere::Fails;
    switches
}

/// Where the two differ, if they do: after how many operations, and how.
fn run(switches: Switches, seed: u64, ops: &[Op]) -> Difference {
    let mut config = config(PES as u16);
    config.switches = switches;
    config.seed = seed;
    let (mut naive, bench) = (Naive::new(switches), GuestBench::new(config));
    for (n, op) in ops.iter().enumerate() {
        if let Err(difference) = step(&bench, &mut naive, *op) {
            return Some((n + 1, difference));
        }
        // Only the rules that random loads break are broken, and nothing outside the VMs.
        let broken: BTreeSet<_> = bench.rules().into_iter().collect();
        let expected = BTreeSet::from(["RES-4", "RES-15", "RES-19", "RES-22", "PPI-11", "PPI-13"]);
        if let Some(other) = broken.difference(&expected).next() {
            return Some((n + 1, format!("{other} is broken")));
        }
    }
    compare_all(&bench, &naive).err().map(|difference| (ops.len(), difference))
}

/// Every state there is.
fn compare_all(bench: &GuestBench, naive: &Naive) -> Result<(), String> {
    for ((vm, id), state) in &naive.interrupts {
        let is = State::of(bench.state_in(*vm, *id));
        if is != *state {
            return Err(format!("{vm} {id} is {is:?}, expected {state:?}"));
        }
    }
    for (n, pe) in naive.pes.iter().enumerate() {
        for (id, ppi) in &pe.ppis {
            let id = Ppi::new(*id).unwrap();
            let host = bench.host(PeIndex(n as u16));
            let bit = |register: fn(PpiBank) -> SysReg| host.read_raw(register(id.bank())) & id.mask() != 0;
            let is = (bit(SysReg::ich_ppi_activer), bit(SysReg::ich_ppi_enabler), bit(SysReg::ich_ppi_pendr));
            let pending = if ppi.direct { ppi.physical } else { ppi.pending };
            if is != (ppi.active, ppi.enabled, pending) {
                return Err(format!("{id} of PE {n} is {is:?}, expected {ppi:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_virtual_cpu_interfaces_agree_with_naive_ones_about_random_operations() {
    // HPPI-1, HPPI-2, HPPI-3, HPPI-6, HPPI-7, PRI-3, PRI-4, PRI-5, RES-2, RES-5, RES-7, RES-8, RES-10, RES-12, ISM-3, ISM-4,
    // PPI-6, PPI-7, PPI-10, INS-2, INS-17, RTE-5.
    if let Err(difference) = agree(|_, rng| some_switches(rng), some_op, run) {
        panic!("{difference}");
    }
}
