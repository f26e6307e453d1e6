//! A naive machine with guests, and random operations on both.
//!
//! The naive one keeps the state of every interrupt in one map and looks through all of it for every question. It has no
//! queues, no forwarding and no caches: what a PE signals follows from the state at that moment. Which of several equally
//! urgent interrupts comes first is open (HPPI-4), so it asks only whether the answer is among them.
//!
//! More operations: `RESIDENCY_OPS=1_000_000 cargo test --release -p gicv5-model --test residency reference`; a seed of one's
//! own: `RESIDENCY_SEED=…`.

use crate::bench::*;

use std::collections::{BTreeMap, BTreeSet};

use crate::random::{from_environment, pick};

const PES: usize = 3;
const VPES: [(VmId, VpeId); 3] = [(VM, VPE0), (VM, VPE3), (OTHER, VPE0)];
const PPIS: [Ppi; 4] = [Ppi::SW_PPI, Ppi::CNTV, Ppi::CNTP, Ppi::PMUIRQ];

#[derive(Clone, Copy, Debug)]
struct State {
    pending: bool,
    active: bool,
    enabled: bool,
    level: bool,
    priority: u8,
    target: u16,
}

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
    Guest(usize, Change),
    Host(usize, Change),
    Acknowledge(usize, bool),
    Drop(usize),
    Wire(usize, Ppi, bool),
    Ppi(usize, Ppi, PpiChange),
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Enable(IrsIntId, bool),
    Priority(IrsIntId, u8),
    Target(IrsIntId, u16),
    Mode(IrsIntId, bool),
    Pending(IrsIntId, bool),
    Deactivate(IntId),
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
        let fresh = State { pending: false, active: false, enabled: true, level: false, priority: 10, target: 0 };
        let ids = (0..8).map(lpi).chain((0..8).map(spi));
        let interrupts = [VM, OTHER].into_iter().flat_map(|vm| ids.clone().map(move |id| ((vm, id), fresh))).collect();
        let ppis: BTreeMap<u32, NaivePpi> = PPIS.iter().map(|ppi| (ppi.id(), NaivePpi::default())).collect();
        let pe = NaivePe { on: true, ppis, ..NaivePe::default() };
        Naive { switches, interrupts, pes: vec![pe; PES] }
    }

    /// The most urgent priority that competes on a PE, and everything that has it.
    fn best(&self, n: usize) -> Option<(u8, Vec<IntId>)> {
        let pe = &self.pes[n];
        let (vm, vpe) = pe.resident?;
        let mut all: Vec<(u8, IntId)> = Vec::new();
        if !pe.irichppidis {
            // One candidate: the most urgent, any of the equals.
            let candidates: Vec<_> = self
                .interrupts
                .iter()
                .filter(|((of, _), state)| {
                    *of == vm && state.pending && state.enabled && !state.active && state.target == vpe.raw_value()
                })
                .map(|((_, id), state)| (state.priority, IntId::from(*id)))
                .collect();
            let best = candidates.iter().map(|(priority, _)| *priority).min();
            all.extend(candidates.into_iter().filter(|(priority, _)| Some(*priority) == best));
        }
        let irs = all.iter().map(|(priority, _)| *priority).min();
        for (id, ppi) in &pe.ppis {
            let pending = if ppi.direct { ppi.physical } else { ppi.pending };
            let shown = !ppi.hidden || self.switches.residency.hidden == HiddenPpi::StillSignalled;
            if pending && ppi.enabled && !ppi.active && shown {
                all.push((ppi.priority, IntId::Ppi(Ppi::new(*id).unwrap())));
            }
        }
        let best = all.iter().map(|(priority, _)| *priority).min()?;
        all.retain(|(priority, _)| *priority == best);
        if irs == Some(best) && all.iter().any(|(_, id)| matches!(id, IntId::Ppi(_))) {
            all.retain(|(_, id)| matches!(id, IntId::Ppi(_)) == (self.switches.tie == Tie::Ppi));
        }
        Some((best, all.into_iter().map(|(_, id)| id).collect()))
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

    fn apply_change(&mut self, n: usize, change: Change) {
        let Some((vm, _)) = self.pes[n].resident else { return };
        let as_event = self.switches.set_pending == SetPending::MakesEdge;
        match change {
            Change::Enable(id, to) => self.change(vm, id, |state| state.enabled = to),
            Change::Priority(id, to) => self.change(vm, id, |state| state.priority = to),
            Change::Target(id, to) => self.change(vm, id, |state| state.target = to),
            Change::Mode(id, level) => self.change(vm, id, |state| state.level = level),
            Change::Pending(id, to) => self.change(vm, id, |state| {
                state.pending = to;
                state.level &= !(to && as_event);
            }),
            Change::Deactivate(IntId::Ppi(id)) => {
                let hides = self.switches.residency.hidden == HiddenPpi::NeverSignalled;
                if let Some(ppi) = self.pes[n].ppis.get_mut(&id.id()) {
                    ppi.active &= ppi.hidden && hides;
                }
            }
            Change::Deactivate(id) => {
                self.change(vm, IrsIntId::try_from(id).unwrap(), |state| state.active = false);
            }
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
                self.change(vm, IrsIntId::try_from(id).unwrap(), |state| {
                    state.active = true;
                    state.pending &= state.level;
                });
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
            host(n).write(context.with_irichppidis(irichppidis));
            host(n).isb();
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
            let as_event = naive.switches.set_pending == SetPending::MakesEdge;
            naive.change(vm, id, |state| {
                state.pending = pending;
                state.level &= !(pending && as_event);
            });
            host(n).vdpend(vm, id, pending);
        }
        Op::Guest(n, change) => {
            naive.apply_change(n, change);
            let guest = bench.guest(pe(n));
            let mode = |level| if level { HandlingMode::Level } else { HandlingMode::Edge };
            match change {
                Change::Enable(id, true) => guest.cden(id),
                Change::Enable(id, false) => guest.cddis(id),
                Change::Priority(id, to) => guest.cdpri(id, priority(to.into())),
                Change::Target(id, to) => guest.cdaff(id, Iaffid::new(to)),
                Change::Mode(id, level) => guest.cdhm(id, mode(level)),
                Change::Pending(id, to) => guest.cdpend(id, to),
                Change::Deactivate(id) => guest.cddi(id),
            }
        }
        Op::Host(n, change) => {
            use gicv5_arch::insn::{
                AffinityOperand, DeactivateOperand, GicInsn, HandlingModeOperand, IntIdOperand, PriorityOperand,
            };
            let (insn, xt) = match change {
                Change::Enable(id, to) => {
                    let insn = if to { GicInsn::GIC_VDEN } else { GicInsn::GIC_VDDIS };
                    (insn, IntIdOperand::naming(id).raw_value())
                }
                Change::Priority(id, to) => {
                    let operand = PriorityOperand::naming(id).with_priority(priority(to.into()));
                    (GicInsn::GIC_VDPRI, operand.raw_value())
                }
                Change::Target(id, to) => {
                    (GicInsn::GIC_VDAFF, AffinityOperand::naming(id).with_iaffid(Iaffid::new(to)).raw_value())
                }
                Change::Mode(id, level) => {
                    let mode = if level { HandlingMode::Level } else { HandlingMode::Edge };
                    (GicInsn::GIC_VDHM, HandlingModeOperand::naming(id).with_hm(mode).raw_value())
                }
                Change::Deactivate(id) => (GicInsn::GIC_VDDI, DeactivateOperand::naming(id).raw_value()),
                Change::Pending(..) => return Ok(()),
            };
            naive.apply_change(n, change);
            host(n).gic(insn, xt);
        }
        Op::Acknowledge(n, nmi) => {
            let expected = naive.takes(n, nmi);
            let guest = bench.guest(pe(n));
            let taken = if nmi { guest.cdnmia() } else { guest.cdia() }.int_id();
            match (expected, taken) {
                (None, None) => {}
                (Some((priority, ids)), Some(id)) if ids.contains(&id) => naive.taken(n, priority, id),
                (expected, taken) => return Err(format!("took {taken:?}, expected {expected:?}")),
            }
        }
        Op::Drop(n) => {
            if naive.pes[n].resident.is_some() {
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
        0 => Change::Enable(id, yes || rng.chance(1, 2)),
        1 => Change::Priority(id, at),
        2 => Change::Target(id, pick(rng, &[0, 3, 3, 1])),
        3 => Change::Mode(id, yes),
        4 => Change::Pending(id, yes || rng.chance(1, 2)),
        5 => Change::Deactivate(IntId::Ppi(ppi)),
        _ => Change::Deactivate(id.into()),
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
        12..=16 => Op::Guest(n, change),
        17 => Op::Host(n, change),
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

fn run(seed: u64, operations: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut config = config(PES as u16);
    config.switches = some_switches(&mut rng);
    config.seed = seed;
    let mut naive = Naive::new(config.switches);
    let bench = GuestBench::new(config);
    let mut history = Vec::new();
    for _ in 0..operations {
        let op = some_op(&mut rng);
        history.push(op);
        if let Err(what) = step(&bench, &mut naive, op) {
            let last: Vec<_> = history.iter().rev().take(12).rev().collect();
            return Err(format!(
                "{what}\nseed {seed}, operation {}, after {last:#?}\nwith {:?}",
                history.len(),
                naive.switches
            ));
        }
        // Only the rules that random loads break are broken, and nothing outside the VMs.
        let broken: BTreeSet<_> = bench.said().into_iter().map(|violation| violation.rule).collect();
        let expected = BTreeSet::from(["RES-4", "RES-15", "RES-19", "RES-22", "PPI-11", "PPI-13"]);
        if let Some(other) = broken.difference(&expected).next() {
            return Err(format!("{other} is broken by {op:?}, seed {seed}"));
        }
    }
    // The states of all interrupts, at the end.
    for ((vm, id), state) in &naive.interrupts {
        let is = bench.state_in(*vm, *id);
        let is = (is.pending(), is.active(), is.enable(), is.priority().number(), is.iaffid().raw_value());
        let expected = (state.pending, state.active, state.enabled, state.priority, state.target);
        if is != expected {
            return Err(format!("{vm} {id} is {is:?}, expected {expected:?}; seed {seed}"));
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
                return Err(format!("{id} of PE {n} is {is:?}, expected {ppi:?}; seed {seed}"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_virtual_cpu_interfaces_agree_with_naive_ones_about_random_operations() {
    // HPPI-1, HPPI-2, HPPI-3, HPPI-6, HPPI-7, PRI-3, PRI-4, PRI-5, RES-2, RES-5, RES-7, RES-8, RES-10, RES-12, ISM-3, ISM-4,
    // PPI-6, PPI-7, PPI-10, INS-2, INS-17, RTE-5.
    const ROUND: u64 = 400;
    let operations = from_environment("RESIDENCY_OPS", 20_000);
    let first = from_environment("RESIDENCY_SEED", 1);
    for seed in first..first + operations.div_ceil(ROUND) {
        if let Err(what) = run(seed, ROUND) {
            panic!("{what}");
        }
    }
}
