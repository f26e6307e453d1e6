//! Random operations on the model and on a naive machine that is written from the rules alone: a map of interrupts, and a
//! search through all of them for every question.
//!
//! After each operation both must agree about candidates, HPPIs, signals, active priorities and the interrupts touched; where
//! a rule leaves the choice open (HPPI-4), the model's must be one of those allowed, and the naive machine follows it.
//!
//! `GICV5_REFERENCE_OPERATIONS` sets how many operations there are (a campaign: 20 000 000 with `cargo test --release`),
//! `GICV5_REFERENCE_SEED` the first seed. A disagreement is shortened and printed as the operations that lead to it.

use crate::bench::{self, *};

use std::collections::BTreeMap;

use arbitrary_int::{u24, u25};

use crate::random::{Change, Difference, State, agree, most_urgent, pick};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Change(usize, IrsIntId, Change),
    DeactivatePpi(usize, u32),
    ReadConfiguration(usize, IrsIntId),
    Acknowledge(usize),
    AcknowledgeNmi(usize),
    Drop(usize),
    Mask(usize, u8),
    EnableCpu(usize, bool),
    Nmi(usize, bool),
    EnablePpi(usize, u32, bool),
    PpiPriority(usize, u32, u8),
    PendPpi(usize, u32, bool),
    ActivatePpi(usize, u32, bool),
    PpiWire(usize, u32, bool),
    SpiWire(u32, bool),
    Trigger(u32, bool),
    Resample(u32),
    SetLpi(usize, u32),
    EnableIrs(usize, bool),
    RenewIst,
}

impl Op {
    /// The PE on which it is an instruction whose effect may come late, if it is one.
    fn late_on(self) -> Option<usize> {
        match self {
            Op::Change(pe, ..) | Op::DeactivatePpi(pe, _) => Some(pe),
            _ => None,
        }
    }
}

// --- the naive machine ----------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Default)]
struct NaivePpi {
    state: State,
    wire: bool,
}

#[derive(Default)]
struct NaivePe {
    iaffid: u16,
    irs: usize,
    enabled: bool,
    mask: u8,
    nmi: bool,
    active: [bool; 32],
    ppis: BTreeMap<u32, NaivePpi>,
}

#[derive(Clone, Copy, Default)]
struct NaiveWire {
    high: bool,
    level: bool,
}

#[derive(Default)]
struct Naive {
    interrupts: BTreeMap<IrsIntId, State>,
    wires: BTreeMap<u32, NaiveWire>,
    irs_enabled: [bool; 2],
    pes: Vec<NaivePe>,
}

const LPIS: u32 = 1 << 14;
const SPIS: u32 = 64;
/// A level-2 IST with 4 KiB has 1024 entries.
const LPIS_PER_TABLE: u32 = 1024;
/// The level-2 ISTs that are there.
const TABLES: [u32; 3] = [0, 4, 15];

impl Naive {
    fn reachable(id: IrsIntId) -> bool {
        match id {
            IrsIntId::Lpi(lpi) => lpi.id() < LPIS && TABLES.contains(&(lpi.id() / LPIS_PER_TABLE)),
            IrsIntId::Spi(spi) => spi.id() < SPIS,
        }
    }

    fn state(&self, id: IrsIntId) -> State {
        self.interrupts.get(&id).copied().unwrap_or_default()
    }

    fn change(&mut self, id: IrsIntId, change: impl FnOnce(&mut State)) {
        if Naive::reachable(id) {
            change(self.interrupts.entry(id).or_default());
        }
    }

    fn sample(&mut self, spi: u32) {
        let wire = self.wires.get(&spi).copied().unwrap_or_default();
        self.change(bench::spi(spi), |state| match (wire.level, wire.high) {
            (true, true) => (state.pending, state.level) = (true, true),
            (true, false) | (false, true) => state.pending = false,
            (false, false) => {}
        });
    }

    /// What the IRS may offer a PE: all the most urgent ones.
    fn offers(&self, pe: usize) -> Option<(u8, Vec<IrsIntId>)> {
        let pe = &self.pes[pe];
        let here = |state: &State| self.irs_enabled[pe.irs] && state.is_candidate() && state.target == pe.iaffid;
        most_urgent(self.interrupts.iter().filter(|(_, state)| here(state)).map(|(id, state)| (state.priority, *id)))
    }

    /// What an acknowledge may take, NMI or not, and its priority.
    fn hppis(&self, n: usize) -> Option<(u8, Vec<IntId>)> {
        let pe = &self.pes[n];
        let offers = self
            .offers(n)
            .into_iter()
            .flat_map(|(priority, ids)| ids.into_iter().map(move |id| (priority, IntId::from(id))));
        let ppis = pe.ppis.iter().filter(|(_, ppi)| ppi.state.is_candidate());
        let best = most_urgent(offers.chain(ppis.map(|(id, ppi)| (ppi.state.priority, bench::ppi(*id).into()))))?;
        let running = pe.active.iter().position(|active| *active).unwrap_or(255);
        (pe.enabled && best.0 <= pe.mask && usize::from(best.0) < running).then_some(best)
    }

    fn is_nmi(&self, pe: usize, priority: u8) -> bool {
        self.pes[pe].nmi && priority == 0
    }

    fn taken(&mut self, pe: usize, priority: u8, id: IntId) {
        self.pes[pe].active[usize::from(priority)] = true;
        match IrsIntId::try_from(id) {
            Ok(id) => self.change(id, State::take),
            Err(_) => self.pes[pe].ppis.get_mut(&id.id_field().value()).unwrap().state.take(),
        }
    }

    /// Everything but acknowledges.
    fn apply(&mut self, op: Op) {
        match op {
            Op::Change(_, id, change) => {
                let switch = Switches::default().set_pending;
                self.change(id, |state| change.apply(state, switch));
            }
            Op::DeactivatePpi(pe, id) | Op::ActivatePpi(pe, id, false) => {
                self.ppi(pe, id, |ppi| ppi.state.active = false);
            }
            Op::ActivatePpi(pe, id, true) => self.ppi(pe, id, |ppi| ppi.state.active = true),
            Op::Drop(pe) => {
                if let Some(running) = self.pes[pe].active.iter_mut().find(|active| **active) {
                    *running = false;
                }
            }
            Op::Mask(pe, mask) => self.pes[pe].mask = mask,
            Op::EnableCpu(pe, enabled) => self.pes[pe].enabled = enabled,
            Op::Nmi(pe, nmi) => self.pes[pe].nmi = nmi,
            Op::EnablePpi(pe, id, enabled) => self.ppi(pe, id, |ppi| ppi.state.enabled = enabled),
            Op::PpiPriority(pe, id, priority) => self.ppi(pe, id, |ppi| ppi.state.priority = priority),
            Op::PendPpi(pe, id, pending) => self.ppi(pe, id, |ppi| {
                if !ppi.state.level {
                    ppi.state.pending = pending;
                }
            }),
            Op::PpiWire(pe, id, high) => self.ppi(pe, id, |ppi| {
                let rises = high && !ppi.wire;
                ppi.wire = high;
                ppi.state.pending = if ppi.state.level { high } else { ppi.state.pending || rises };
            }),
            Op::SpiWire(spi, high) => {
                let wire = self.wires.entry(spi).or_default();
                if wire.high != high {
                    wire.high = high;
                    let level = wire.level;
                    self.change(bench::spi(spi), |state| match (high, level) {
                        (true, level) => (state.pending, state.level) = (true, level),
                        (false, true) => state.pending = false,
                        (false, false) => {}
                    });
                }
            }
            Op::Trigger(spi, level) => {
                let wire = self.wires.entry(spi).or_default();
                if wire.level != level {
                    wire.level = level;
                    self.sample(spi);
                }
            }
            Op::Resample(spi) => self.sample(spi),
            Op::SetLpi(_, id) => self.change(lpi(id), |state| (state.pending, state.level) = (true, false)),
            Op::EnableIrs(irs, enabled) => self.irs_enabled[irs] = enabled,
            Op::RenewIst => self.interrupts.retain(|id, _| matches!(id, IrsIntId::Spi(_))),
            Op::ReadConfiguration(..) | Op::Acknowledge(_) | Op::AcknowledgeNmi(_) => {}
        }
    }

    fn ppi(&mut self, pe: usize, id: u32, change: impl FnOnce(&mut NaivePpi)) {
        if let Some(ppi) = self.pes[pe].ppis.get_mut(&id) {
            change(ppi);
        }
    }
}

// --- both -----------------------------------------------------------------------------------------------------------

/// Affinity IDs by PE; the first two PEs are attached to IRS 0, the others to IRS 1.
const IAFFIDS: [u16; 4] = [0, 1, 5, 300];
const EDGE: [u32; 3] = [3, 70, 127];
const LEVEL: [u32; 4] = [0, 27, 63, 64];

fn config(effects: Effects, seed: u64) -> MachineConfig {
    let mut config = MachineConfig::new(1, SPIS);
    config.switches.effects = effects;
    config.switches.equals = if seed.is_multiple_of(2) { Equals::FirstCome } else { Equals::LastCome };
    config.seed = seed;
    config.irses = [0, 1]
        .map(|irs: u32| {
            let pes = IAFFIDS[irs as usize * 2..][..2].iter().map(|iaffid| {
                let mut cpu = CpuConfig::new(Iaffid::new(*iaffid));
                let set = |ids: &[u32], bank| {
                    let ids = ids.iter().map(|id| Ppi::new(*id).unwrap()).filter(|ppi| ppi.bank() == bank);
                    ids.fold(PpiSet::EMPTY, PpiSet::with)
                };
                cpu.edge_ppis = PpiBank::ALL.map(|bank| set(&EDGE, bank));
                cpu.ppis = PpiBank::ALL.map(|bank| set(&[&EDGE[..], &LEVEL[..]].concat(), bank));
                cpu
            });
            let mut irs_config = IrsConfig::new(pes.collect(), SPIS);
            irs_config.idr6 = IRS_IDR6::ZERO.with_spi_irs_range(u25::new(SPIS / 2));
            irs_config.idr7 = IRS_IDR7::ZERO.with_spi_base(Spi::new_with_raw_value(u24::new(irs * SPIS / 2)));
            irs_config
        })
        .to_vec();
    config
}

struct Both {
    bench: Bench,
    geometry: IstGeometry,
    level1: ModelBlock,
    tables: Vec<ModelBlock>,
    naive: Naive,
    /// The PE with instructions that no barrier has followed.
    waiting: Option<usize>,
    effects: Effects,
    checks: u32,
}

fn pe(n: usize) -> PeIndex {
    PeIndex(n as u16)
}

impl Both {
    fn new(effects: Effects, seed: u64) -> Both {
        let bench = Bench::started(config(effects, seed));
        let geometry = two_level();
        let level1 = bench.ist_block(geometry);
        let tables = TABLES.map(|_| bench.block(4096, 4096)).into_iter().collect();
        let ppis = || {
            let new = |level| NaivePpi { state: State { level, ..State::default() }, wire: false };
            EDGE.iter().map(|id| (*id, new(false))).chain(LEVEL.iter().map(|id| (*id, new(true)))).collect()
        };
        let pes = IAFFIDS.iter().enumerate().map(|(n, iaffid)| NaivePe {
            iaffid: *iaffid,
            irs: n / 2,
            enabled: true,
            mask: 31,
            ppis: ppis(),
            ..NaivePe::default()
        });
        let naive = Naive { irs_enabled: [true; 2], pes: pes.collect(), ..Naive::default() };
        let both = Both { bench, geometry, level1, tables, naive, waiting: None, effects, checks: 0 };
        both.set_ist();
        both
    }

    fn set_ist(&self) {
        let irs = IrsIndex(1);
        for (table, index) in self.tables.iter().zip(TABLES) {
            for offset in (0..4096).step_by(8) {
                self.bench.machine.store64(table, offset, 0);
            }
            self.bench.machine.publish(irs, table, 0..4096);
            self.bench.point(&self.level1, index.into(), table.address());
        }
        self.bench.set_ist(irs, self.geometry, self.level1.address());
        for index in TABLES {
            self.bench.map_level2(irs, index * LPIS_PER_TABLE + 1);
        }
    }

    /// Completes what may be late.
    fn barrier(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.bench.host(pe(waiting)).gsb_sys();
            self.bench.host(pe(waiting)).isb();
        }
    }

    /// Does one operation to both and compares; what differs, if anything does.
    fn step(&mut self, op: Op) -> Result<(), String> {
        if self.waiting.is_some() && self.waiting != op.late_on() {
            self.barrier();
            self.compare()?;
        }
        let bench = &self.bench;
        let real = bench::ppi;
        let row = |n: usize, register: SysReg, value| {
            bench.host(pe(n)).set_raw(register, value);
        };
        match op {
            Op::Change(n, id, change) => change.execute(&bench.host(pe(n)), id),
            Op::DeactivatePpi(n, id) => bench.host(pe(n)).cddi(real(id).into()),
            Op::ReadConfiguration(n, id) => {
                bench.host(pe(n)).cdrcfg(id);
                bench.host(pe(n)).isb();
                self.check_icsr(n, id)?;
            }
            Op::Acknowledge(n) => self.acknowledge(n, false)?,
            Op::AcknowledgeNmi(n) => self.acknowledge(n, true)?,
            Op::Drop(n) => bench.host(pe(n)).cdeoi(),
            Op::Mask(n, mask) => bench.host(pe(n)).write_raw(SysReg::ICC_PCR_EL1, mask.into()),
            Op::EnableCpu(n, enabled) => {
                bench.host(pe(n)).set(ICC_CR0_EL1::ZERO.with_en(enabled));
            }
            Op::Nmi(n, nmi) => bench.machine.set_nmi(pe(n), nmi),
            Op::EnablePpi(n, id, enabled) => {
                let register = SysReg::icc_ppi_enabler(real(id).bank());
                let others = bench.host(pe(n)).read_raw(register) & !real(id).mask();
                row(n, register, if enabled { others | real(id).mask() } else { others });
            }
            Op::PpiPriority(n, id, number) => {
                let register = SysReg::icc_ppi_priorityr(real(id).priority_register());
                let value = PPI_PRIORITYR::new_with_raw_value(bench.host(pe(n)).read_raw(register));
                row(n, register, value.with_priority(real(id), priority(number.into())).raw_value());
            }
            Op::PendPpi(n, id, true) => row(n, SysReg::icc_ppi_spendr(real(id).bank()), real(id).mask()),
            Op::PendPpi(n, id, false) => row(n, SysReg::icc_ppi_cpendr(real(id).bank()), real(id).mask()),
            Op::ActivatePpi(n, id, true) => row(n, SysReg::icc_ppi_sactiver(real(id).bank()), real(id).mask()),
            Op::ActivatePpi(n, id, false) => row(n, SysReg::icc_ppi_cactiver(real(id).bank()), real(id).mask()),
            Op::PpiWire(n, id, high) => bench.machine.set_ppi_wire(pe(n), real(id), high),
            Op::SpiWire(spi, high) => bench.machine.set_spi_wire(Spi::new(spi).unwrap(), high),
            Op::Trigger(spi, level) => {
                let irs = IrsIndex((spi / (SPIS / 2)) as u16);
                bench.command_at(irs, IRS_SPI_SELR::ZERO.with_id(Spi::new(spi).unwrap()));
                let mode = if level { TriggerMode::Level } else { TriggerMode::Edge };
                bench.command_at(irs, IRS_SPI_CFGR::ZERO.with_tm(mode));
            }
            Op::Resample(spi) => {
                let irs = IrsIndex((spi / (SPIS / 2)) as u16);
                bench.machine.write(irs, IRS_SPI_RESAMPLER::ZERO.with_spi_id(Spi::new(spi).unwrap()));
            }
            Op::SetLpi(irs, lpi) => {
                bench.machine.write_set_lpi(IrsIndex(irs as u16), IRS_SETLPIR::ZERO.with_id(Lpi::new(lpi).unwrap()));
            }
            Op::EnableIrs(irs, enabled) => {
                bench.command_at(IrsIndex(irs as u16), IRS_CR0::ZERO.with_irsen(enabled));
            }
            Op::RenewIst => {
                bench.clear_ist(IrsIndex(0));
                self.set_ist();
            }
        }
        self.naive.apply(op);
        self.waiting = op.late_on();
        if self.effects != Effects::Late {
            self.barrier();
        }
        if self.waiting.is_none() { self.compare() } else { Ok(()) }
    }

    /// INS-1, INS-2, INS-3.
    fn acknowledge(&mut self, n: usize, nmi: bool) -> Result<(), String> {
        let named = self.bench.hppi(pe(n));
        let allowed = self.naive.hppis(n).filter(|(priority, _)| self.naive.is_nmi(n, *priority) == nmi);
        let p = self.bench.host(pe(n));
        let taken = if nmi { p.cdnmia() } else { p.cdia() };
        p.gsb_ack();
        p.isb();
        match (taken.int_id(), &allowed) {
            (None, None) => Ok(()),
            (Some(taken), Some((priority, ids))) if ids.contains(&taken) && named == Some(taken) => {
                self.naive.taken(n, *priority, taken);
                Ok(())
            }
            (taken, _) => Err(format!("acknowledge on PE {n}: {taken:?}, HPPIR said {named:?}, allowed {allowed:?}")),
        }
    }

    /// INS-12, INS-13.
    fn check_icsr(&self, n: usize, id: IrsIntId) -> Result<(), String> {
        let icsr = self.bench.host(pe(n)).read::<ICC_ICSR_EL1>();
        let state = self.naive.state(id);
        let is = State {
            pending: icsr.pending(),
            active: icsr.active(),
            enabled: icsr.enabled(),
            level: icsr.hm() == HandlingMode::Level,
            priority: icsr.priority().number(),
            target: icsr.iaffid().raw_value(),
        };
        if icsr.f() == Naive::reachable(id) || !icsr.f() && is != state {
            return Err(format!("ICSR of {id:?}: F={} {is:?}, should be {state:?}", icsr.f()));
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), String> {
        for n in 0..IAFFIDS.len() {
            let offers = self.naive.offers(n);
            let candidate = self.bench.machine.candidate(pe(n));
            let fits = match (candidate, &offers) {
                (None, None) => true,
                (Some((id, priority)), Some((urgency, ids))) => priority.number() == *urgency && ids.contains(&id),
                _ => false,
            };
            if !fits {
                return Err(format!("candidate of PE {n} (HPPI-1): {candidate:?}, allowed {offers:?}"));
            }
            let hppis = self.naive.hppis(n);
            let hppi = self.bench.hppi(pe(n));
            if hppi.is_none() != hppis.is_none() || hppi.is_some_and(|hppi| !hppis.as_ref().unwrap().1.contains(&hppi))
            {
                return Err(format!("HPPI of PE {n} (HPPI-3): {hppi:?}, allowed {hppis:?}"));
            }
            let signals = self.bench.machine.signals(pe(n));
            let nmi = hppis.as_ref().is_some_and(|(urgency, _)| self.naive.is_nmi(n, *urgency));
            let expected = (hppis.is_some(), nmi, false);
            if (signals.irq, signals.nmi, signals.fiq) != expected {
                return Err(format!("signals of PE {n}: {signals:?}, should be {expected:?}"));
            }
            let active = self.naive.pes[n].active.iter().rev().fold(0, |bits, active| bits << 1 | u64::from(*active));
            let apr = self.bench.host(pe(n)).read_raw(SysReg::ICC_APR_EL1);
            if apr != active {
                return Err(format!("active priorities of PE {n} (PRI-6): {apr:#x}, should be {active:#x}"));
            }
        }
        self.checks += 1;
        if self.checks.is_multiple_of(64) { self.compare_all() } else { Ok(()) }
    }

    /// Every state there is.
    fn compare_all(&self) -> Result<(), String> {
        for (id, state) in &self.naive.interrupts {
            let is = State::of(self.bench.state(*id));
            if is != *state {
                return Err(format!("{id:?}: {is:?}, should be {state:?}"));
            }
        }
        for (n, naive) in self.naive.pes.iter().enumerate() {
            for (id, ppi) in &naive.ppis {
                let real = Ppi::new(*id).unwrap();
                let bit = |register| self.bench.host(pe(n)).read_raw(register) & real.mask() != 0;
                let priorities = self.bench.host(pe(n)).read_raw(SysReg::icc_ppi_priorityr(real.priority_register()));
                let is = State {
                    pending: bit(SysReg::icc_ppi_spendr(real.bank())),
                    active: bit(SysReg::icc_ppi_sactiver(real.bank())),
                    enabled: bit(SysReg::icc_ppi_enabler(real.bank())),
                    level: bit(SysReg::icc_ppi_hmr(real.bank())),
                    priority: PPI_PRIORITYR::new_with_raw_value(priorities).priority(real).number(),
                    target: 0,
                };
                if is != ppi.state {
                    return Err(format!("PPI {id} of PE {n}: {is:?}, should be {:?}", ppi.state));
                }
            }
        }
        match self.bench.said().first() {
            None => Ok(()),
            Some(violation) => Err(violation.to_string()),
        }
    }
}

// --- random operations ----------------------------------------------------------------------------------------------

fn some_id(rng: &mut Rng) -> IrsIntId {
    match rng.below(16) {
        0..8 => lpi(pick(rng, &[0, 1, 2, 3, 1023, 4096, 5119, LPIS - 1])),
        8..15 => spi(pick(rng, &[0, 1, 2, 31, 32, 33, 63])),
        // Unreachable ones.
        _ => pick(rng, &[lpi(1024), lpi(LPIS), lpi(0xff_ffff), spi(SPIS), spi(0xff_ffff)]),
    }
}

fn some_ppi(rng: &mut Rng) -> u32 {
    pick(rng, &[3, 70, 127, 0, 27, 63, 64, 25, 126])
}

fn some_op(rng: &mut Rng) -> Op {
    let n = rng.below(4) as usize;
    let yes = rng.chance(2, 3);
    let urgency = pick(rng, &[0, 0, 1, 5, 5, 5, 30, 31]);
    match rng.below(100) {
        0..12 => Op::Change(n, some_id(rng), Change::Enable(yes)),
        12..18 => Op::Change(n, some_id(rng), Change::Priority(urgency)),
        18..26 => Op::Change(n, some_id(rng), Change::Target(pick(rng, &[0, 1, 5, 5, 300, 300, 7, u16::MAX]))),
        26..40 => Op::Change(n, some_id(rng), Change::Pend(yes)),
        40..42 => Op::Change(n, some_id(rng), Change::Level(yes)),
        42..50 if yes => Op::Change(n, some_id(rng), Change::Deactivate),
        42..50 => Op::DeactivatePpi(n, some_ppi(rng)),
        50..54 => Op::ReadConfiguration(n, some_id(rng)),
        54..64 => Op::Acknowledge(n),
        64..67 => Op::AcknowledgeNmi(n),
        67..76 => Op::Drop(n),
        76..78 => Op::Mask(n, pick(rng, &[31, 31, 31, 30, 5, 4, 0])),
        78 => Op::EnableCpu(n, yes),
        79 => Op::Nmi(n, yes),
        80..83 => Op::EnablePpi(n, some_ppi(rng), yes),
        83 => Op::PpiPriority(n, some_ppi(rng), urgency),
        84..86 => Op::PendPpi(n, some_ppi(rng), yes),
        86 => Op::ActivatePpi(n, some_ppi(rng), !yes),
        87..90 => Op::PpiWire(n, some_ppi(rng), rng.chance(1, 2)),
        90..95 => Op::SpiWire(pick(rng, &[0, 1, 31, 32, 63]), rng.chance(1, 2)),
        95 => Op::Trigger(pick(rng, &[0, 1, 31, 32, 63]), rng.chance(1, 2)),
        96 => Op::Resample(pick(rng, &[0, 1, 31, 32, 63])),
        97 => Op::SetLpi(n / 2, pick(rng, &[0, 1, 1023, 1024, 5119, LPIS])),
        98 => Op::EnableIrs(n / 2, yes),
        _ if rng.chance(1, 16) => Op::RenewIst,
        _ => Op::Acknowledge(n),
    }
}

/// Where the two differ, if they do: after how many operations, and how.
fn run(effects: Effects, seed: u64, ops: &[Op]) -> Difference {
    let mut both = Both::new(effects, seed);
    for (n, op) in ops.iter().enumerate() {
        if let Err(difference) = both.step(*op) {
            return Some((n + 1, difference));
        }
    }
    both.barrier();
    both.compare().and_then(|()| both.compare_all()).err().map(|difference| (ops.len(), difference))
}

#[test]
fn the_model_agrees_with_a_naive_machine_about_random_operations() {
    // ISM-1 to ISM-10, PRI-3 to PRI-8, HPPI-1 to HPPI-4, HPPI-9, RTE-1, RTE-4 to RTE-6, INS-1 to INS-9, INS-11 to INS-13, SPI-3 to
    // SPI-5, LPI-4, GEN-21.
    let agreed = agree(|seed, _| [Effects::Early, Effects::Late, Effects::Random][seed as usize % 3], some_op, run);
    if let Err(difference) = agreed {
        panic!("{difference}");
    }
}
