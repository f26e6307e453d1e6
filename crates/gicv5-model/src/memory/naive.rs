//! Strict memory, written down byte by byte from the module's documentation, as slowly as it takes to be obvious; and the
//! property that [`Memory`] does the same.

use crate::words::event::Maintenance;
use crate::words::ids::PeIndex;
use crate::words::owner::Owner;
use crate::words::owner::{StructureKind, StructureRules};
use crate::words::report::Report;
use crate::words::violation::Place;
use gicv5_arch::VmId;
use gicv5_hal::Coherency;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::words::violation::Violation;

const IRS: IrsIndex = IrsIndex(0);
const PAGES: usize = 2;
const BYTES: usize = PAGES * 4096;
const PES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Load { pe: usize, at: usize, width: usize },
    Store { pe: usize, at: usize, width: usize, value: u64 },
    IrsStore { at: usize, width: usize, value: u64 },
    Clean { pe: usize, at: usize, size: usize },
    CleanInvalidate { pe: usize, at: usize, size: usize },
    Invalidate { pe: usize, at: usize, size: usize },
    Barrier { pe: usize },
    LoadBarrier { pe: usize },
    Own { at: usize, size: usize, owner: Owner },
    Fill { at: usize, size: usize, owner: Owner },
    Disown { at: usize, size: usize },
}

struct Naive {
    coherent: bool,
    line: usize,
    /// What the IRS sees.
    irs: Vec<u8>,
    /// What memory holds. Differs from what the IRS sees only where the IRS owns it.
    memory: Vec<u8>,
    claims: Vec<Option<Claim>>,
    /// Bytes that wait for a barrier of each PE, oldest first.
    buffer: [Vec<(usize, u8)>; PES],
    /// Coherent: bytes of table entries that the IRS has changed since the last barrier of each PE, as they were.
    early: [BTreeMap<usize, u8>; PES],
    /// Not coherent: the cache.
    cache: Vec<u8>,
    dirty: Vec<bool>,
    /// Not coherent: words of no structure in which a line written back has replaced what the IRS had left.
    overwritten: BTreeSet<usize>,
    /// Not coherent: lines to be cleaned (true) or invalidated at the next barrier of a PE.
    outstanding: Vec<(usize, usize, Maintenance)>,
    broken: Vec<(&'static str, usize)>,
}

impl Naive {
    fn new(coherent: bool, line: usize) -> Naive {
        Naive {
            coherent,
            line,
            irs: vec![0; BYTES],
            memory: vec![0; BYTES],
            claims: vec![None; BYTES],
            buffer: Default::default(),
            early: Default::default(),
            cache: vec![0; BYTES],
            dirty: vec![false; BYTES],
            overwritten: BTreeSet::new(),
            outstanding: Vec::new(),
            broken: Vec::new(),
        }
    }

    fn owned(&self, byte: usize) -> Option<&'static StructureRules> {
        match self.claims[byte] {
            Some(Claim::Owned(owner)) => Some(owner.structure.rules()),
            _ => None,
        }
    }

    /// A byte of the mask of this row of four words.
    fn of_mask(row: [u64; 4], byte: usize) -> u8 {
        row[byte / 8 % 4].to_le_bytes()[byte % 8]
    }

    /// What a line fill gets.
    fn fetch(&self, byte: usize) -> u8 {
        match self.owned(byte) {
            Some(rules) if rules.whole_lines => 0xbad0_u16.to_le_bytes()[byte % 2],
            _ => self.memory[byte],
        }
    }

    fn load(&self, pe: usize, byte: usize) -> u8 {
        let value = match self.buffer[pe].iter().rev().find(|(at, _)| *at == byte) {
            Some((_, value)) => *value,
            None if self.coherent => self.early[pe].get(&byte).copied().unwrap_or_else(|| self.fetch(byte)),
            None => self.cache[byte],
        };
        match self.owned(byte) {
            Some(rules) => {
                let visible = Self::of_mask(rules.visible, byte);
                0xbad0_u16.to_le_bytes()[byte % 2] & !visible | value & visible
            }
            None => value,
        }
    }

    /// A byte leaves a buffer.
    fn leave(&mut self, byte: usize, value: u8) {
        if self.coherent {
            return self.arrive(byte, value);
        }
        self.finish(byte / self.line);
        self.cache[byte] = value;
        self.dirty[byte] = true;
    }

    /// A byte arrives at memory.
    fn arrive(&mut self, byte: usize, value: u8) {
        self.memory[byte] = value;
        if self.owned(byte).is_none() {
            self.irs[byte] = value;
        }
    }

    fn fetch_line(&mut self, line: usize) {
        for byte in line * self.line..(line + 1) * self.line {
            self.cache[byte] = self.fetch(byte);
            self.dirty[byte] = false;
        }
    }

    fn write_line(&mut self, line: usize) {
        let bytes = line * self.line..(line + 1) * self.line;
        if !bytes.clone().any(|byte| self.dirty[byte]) {
            return;
        }
        for word in bytes.step_by(8) {
            let not_stored: Vec<usize> = (word..word + 8).filter(|&byte| !self.dirty[byte]).collect();
            let harmless = not_stored.iter().all(|&byte| self.cache[byte] == self.fetch(byte))
                || not_stored.iter().all(|&byte| self.cache[byte] == self.irs[byte]);
            match self.claims[word] {
                Some(_) if !harmless => self.broken.push(("VMT-21", word)),
                None if !harmless => _ = self.overwritten.insert(word),
                _ => {}
            }
            for byte in word..word + 8 {
                if self.dirty[byte] || !harmless {
                    self.arrive(byte, self.cache[byte]);
                }
            }
        }
    }

    fn finish(&mut self, line: usize) {
        while let Some(index) = self.outstanding.iter().position(|(_, at, _)| *at == line) {
            let (_, _, op) = self.outstanding.remove(index);
            if op != Maintenance::Invalidate {
                self.write_line(line);
            }
            match op {
                Maintenance::Clean => {
                    (line * self.line..(line + 1) * self.line).for_each(|byte| self.dirty[byte] = false);
                }
                Maintenance::CleanInvalidate | Maintenance::Invalidate => self.fetch_line(line),
            }
        }
    }

    fn judge_store(&mut self, at: usize, width: usize, value: u64) {
        match self.claims[at] {
            Some(Claim::Owned(owner)) => self.broken.push((owner.structure.rules().stored.id(), at)),
            Some(Claim::Fillable(owner)) => {
                let rules = owner.structure.rules();
                if width == 4 {
                    self.broken.push(("COH-8", at));
                }
                let forbidden =
                    (0..width).any(|i| value.to_le_bytes()[i] & Self::of_mask(rules.forbidden, at + i) != 0);
                if forbidden {
                    self.broken.push((rules.filled.id(), at));
                }
            }
            None => {}
        }
    }

    fn claim(&mut self, at: usize, size: usize, claim: Option<Claim>) {
        let bytes = at / 8 * 8..(at + size).next_multiple_of(8);
        if let Some(claim) = claim {
            let mut buffers = self.buffer.iter();
            let waiting =
                buffers.find_map(|buffer| bytes.clone().find(|&byte| buffer.iter().any(|(at, _)| *at == byte)));
            let dirty = bytes.clone().find(|&byte| !self.coherent && self.dirty[byte]);
            if let Some(byte) = waiting.or(dirty) {
                self.broken.push((if self.coherent { "COH-1" } else { "COH-2" }, byte / 8 * 8));
            }
            let structure = claim.owner().structure;
            let first = at / self.line * self.line;
            let last = (at + size).next_multiple_of(self.line);
            let shares = match structure {
                StructureKind::VpeDescriptor => {
                    (first..at / 8 * 8).chain((at + size).next_multiple_of(8)..last).any(|byte| {
                        self.claims[byte].is_some_and(|other| other.owner().structure != StructureKind::VpeDescriptor)
                    })
                }
                _ => structure.rules().whole_lines && !at.is_multiple_of(self.line),
            };
            if !self.coherent && shares {
                self.broken.push(("COH-6", at));
            }
            for word in bytes.clone().step_by(8) {
                if self.overwritten.remove(&word) {
                    self.broken.push(("VMT-21", word));
                }
            }
        }
        for byte in bytes {
            self.claims[byte] = claim;
            if self.owned(byte).is_none() {
                self.memory[byte] = self.irs[byte];
            }
        }
    }

    fn maintain(&mut self, pe: usize, at: usize, size: usize, op: Maintenance) {
        if self.coherent || size == 0 {
            return;
        }
        let whole = at / self.line * self.line..(at + size).next_multiple_of(self.line);
        for pe in (0..PES).filter(|_| op == Maintenance::Invalidate) {
            let (leave, stay) =
                std::mem::take(&mut self.buffer[pe]).into_iter().partition(|(at, _)| whole.contains(at));
            self.buffer[pe] = stay;
            let leave: Vec<_> = leave;
            leave.into_iter().for_each(|(byte, value)| self.leave(byte, value));
        }
        for line in at / self.line..(at + size).div_ceil(self.line) {
            self.finish(line);
            if op == Maintenance::Invalidate {
                let mut lost = (line * self.line..(line + 1) * self.line)
                    .filter(|&byte| self.dirty[byte])
                    .filter(|&byte| byte < at / 8 * 8 || byte >= (at + size).next_multiple_of(8));
                if let Some(byte) = lost.next() {
                    self.broken.push(("COH-7", byte / 8 * 8));
                }
            }
            self.outstanding.push((pe, line, op));
        }
    }

    fn step(&mut self, op: Op) -> u64 {
        match op {
            Op::Load { at, .. } if self.overwritten.remove(&(at / 8 * 8)) => {
                self.broken.push(("VMT-21", at / 8 * 8));
                self.step(op)
            }
            Op::Load { pe, at, width } => {
                (0..width).rev().fold(0, |value, i| value << 8 | u64::from(self.load(pe, at + i)))
            }
            Op::Store { pe, at, width, value } => {
                self.judge_store(at, width, value);
                self.early[pe].retain(|byte, _| byte / 8 != at / 8);
                if width == 8 {
                    self.overwritten.remove(&at);
                }
                for i in 0..width {
                    let (byte, value) = (at + i, value.to_le_bytes()[i]);
                    match self.owned(byte) {
                        None => self.buffer[pe].push((byte, value)),
                        Some(_) => self.leave(byte, value),
                    }
                }
                0
            }
            Op::IrsStore { at, width, value } => {
                let is_entry = self.claims[at].is_some_and(|claim| !claim.owner().structure.rules().whole_lines);
                for byte in (at / 8 * 8..at / 8 * 8 + 8).filter(|_| self.coherent && is_entry) {
                    let before = self.fetch(byte);
                    self.early.iter_mut().for_each(|early| _ = early.entry(byte).or_insert(before));
                }
                self.overwritten.remove(&(at / 8 * 8));
                for i in 0..width {
                    self.irs[at + i] = value.to_le_bytes()[i];
                }
                for byte in at / 8 * 8..at / 8 * 8 + 8 {
                    self.memory[byte] = self.irs[byte];
                }
                0
            }
            Op::Clean { pe, at, size } => {
                self.maintain(pe, at, size, Maintenance::Clean);
                0
            }
            Op::CleanInvalidate { pe, at, size } => {
                self.maintain(pe, at, size, Maintenance::CleanInvalidate);
                0
            }
            Op::Invalidate { pe, at, size } => {
                self.maintain(pe, at, size, Maintenance::Invalidate);
                0
            }
            Op::LoadBarrier { pe } => {
                self.early[pe].clear();
                0
            }
            Op::Barrier { pe } => {
                self.early[pe].clear();
                for (byte, value) in std::mem::take(&mut self.buffer[pe]) {
                    self.leave(byte, value);
                }
                while let Some(&(_, line, _)) = self.outstanding.iter().find(|(by, ..)| *by == pe) {
                    self.finish(line);
                }
                0
            }
            Op::Own { at, size, owner } => {
                self.claim(at, size, Some(Claim::Owned(owner)));
                0
            }
            Op::Fill { at, size, owner } => {
                self.claim(at, size, Some(Claim::Fillable(owner)));
                0
            }
            Op::Disown { at, size } => {
                self.claim(at, size, None);
                0
            }
        }
    }
}

fn step(memory: &mut Memory, report: &mut Report, irs: IrsIndex, op: Op) -> u64 {
    let base = memory.config().base;
    let pa = |at: usize| base.offset(at as u64).unwrap();
    let on = |pe: usize| PeIndex(pe as u16);
    match op {
        Op::Load { pe, at, width: 4 } => u64::from(memory.load32(report, on(pe), pa(at))),
        Op::Load { pe, at, .. } => memory.load64(report, on(pe), pa(at)),
        Op::Store { pe, at, width: 4, value } => {
            memory.store32(report, on(pe), pa(at), value as u32);
            0
        }
        Op::Store { pe, at, value, .. } => {
            memory.store64(report, on(pe), pa(at), value);
            0
        }
        Op::IrsStore { at, width: 4, value } => {
            memory.irs_store32(irs, pa(at), value as u32).unwrap();
            0
        }
        Op::IrsStore { at, value, .. } => {
            memory.irs_store64(irs, pa(at), value).unwrap();
            0
        }
        Op::Clean { pe, at, size } => {
            memory.clean(report, on(pe), pa(at), size as u64);
            0
        }
        Op::CleanInvalidate { pe, at, size } => {
            memory.clean_invalidate(report, on(pe), pa(at), size as u64);
            0
        }
        Op::Invalidate { pe, at, size } => {
            memory.invalidate(report, on(pe), pa(at), size as u64);
            0
        }
        Op::Barrier { pe } => {
            memory.barrier(report, on(pe));
            0
        }
        Op::LoadBarrier { pe } => {
            memory.load_barrier(on(pe));
            0
        }
        Op::Own { at, size, owner } => {
            memory.own(report, irs, pa(at), size as u64, owner).unwrap();
            0
        }
        Op::Fill { at, size, owner } => {
            memory.fill(report, irs, pa(at), size as u64, owner).unwrap();
            0
        }
        Op::Disown { at, size } => {
            memory.disown(report, irs, pa(at), size as u64).unwrap();
            0
        }
    }
}

/// Mostly near the border of the two pages, where lines and words are shared; sometimes anywhere.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 4096 - 64usize..4096 + 96, 1 => 0..BYTES - 8]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(8usize), 4 => Just(32usize), 2 => 0..100usize, 1 => Just(4096usize)]
}

fn owner() -> impl Strategy<Value = Owner> {
    (proptest::sample::select(StructureKind::ALL), proptest::option::of(0..3u16))
        .prop_map(|(structure, vm)| Owner { structure, vm: vm.map(VmId::new) })
}

/// Few values, so that a store often changes nothing and a valid bit is often all that does.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(0x8000_1000), Just(0x8000_1001), Just(1 << 32), any::<u64>()]
}

/// Mostly one PE, so that it often sees what it has done itself.
fn pe() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => Just(1)]
}

fn op() -> impl Strategy<Value = Op> {
    let access = || {
        (place(), proptest::sample::select(vec![4usize, 8]), value())
            .prop_map(|(at, width, value)| (at / width * width, width, value))
    };
    let range = || (place(), size()).prop_map(|(at, size)| (at, size.min(BYTES - at)));
    let words = || range().prop_map(|(at, size)| (at / 8 * 8, size));
    prop_oneof![
        4 => (pe(), access()).prop_map(|(pe, (at, width, _))| Op::Load { pe, at, width }),
        6 => (pe(), access()).prop_map(|(pe, (at, width, value))| Op::Store { pe, at, width, value }),
        3 => access().prop_map(|(at, width, value)| Op::IrsStore { at, width, value }),
        1 => (pe(), range()).prop_map(|(pe, (at, size))| Op::Clean { pe, at, size }),
        3 => (pe(), range()).prop_map(|(pe, (at, size))| Op::CleanInvalidate { pe, at, size }),
        1 => (pe(), range()).prop_map(|(pe, (at, size))| Op::Invalidate { pe, at, size }),
        3 => pe().prop_map(|pe| Op::Barrier { pe }),
        1 => pe().prop_map(|pe| Op::LoadBarrier { pe }),
        2 => (words(), owner()).prop_map(|((at, size), owner)| Op::Own { at, size, owner }),
        1 => (words(), owner()).prop_map(|((at, size), owner)| Op::Fill { at, size, owner }),
        2 => words().prop_map(|(at, size)| Op::Disown { at, size }),
    ]
}

/// What was broken and where, in an order that does not depend on when.
fn broken(base: PhysAddr, violations: &[Violation]) -> Vec<(&'static str, usize)> {
    let mut broken: Vec<_> = violations
        .iter()
        .map(|violation| match violation.place {
            Place::Memory(at) | Place::Structure(at, _) => (violation.rule, (at.raw() - base.raw()) as usize),
            place => panic!("violation at {place}"),
        })
        .collect();
    broken.sort_unstable();
    broken
}

proptest! {
#[test]
fn strict_memory_does_what_its_documentation_says_byte_by_byte(
    coherency in proptest::sample::select(vec![Coherency::Coherent, Coherency::NonCoherent]),
    cache_line in proptest::sample::select(vec![32u64, 64, 128, 2048]),
    ops in proptest::collection::vec((op(), place()), 1..250),
) {
    let config = MemoryConfig { size: BYTES as u64, coherency, cache_line, ..MemoryConfig::default() };
    let base = config.base;
    let (mut memory, mut report) = (Memory::new(config).unwrap(), Report::default());
    (0..PES).for_each(|pe| memory.load_barrier(PeIndex(pe as u16)));
    let mut naive = Naive::new(coherency == Coherency::Coherent, cache_line as usize);
    for (op, at) in ops {
        prop_assert_eq!(step(&mut memory, &mut report, IRS, op), naive.step(op), "{:x?}", op);
        let at = at / 8 * 8;
        let seen = memory.irs_load64(IRS, base.offset(at as u64).unwrap()).unwrap();
        prop_assert_eq!(seen.to_le_bytes(), &naive.irs[at..at + 8], "IRS's view of {:#x} after {:x?}", at, op);
        prop_assert_eq!(report.checker.count(), naive.broken.len() as u64, "violations after {:x?}", op);
    }
    naive.broken.sort_unstable();
    prop_assert_eq!(broken(base, report.checker.violations()), &naive.broken[..]);
    for (at, pe) in (0..BYTES).step_by(8).flat_map(|at| (0..PES).map(move |pe| (at, pe))) {
        let op = Op::Load { pe, at, width: 8 };
        prop_assert_eq!(step(&mut memory, &mut report, IRS, op), naive.step(op), "at {:#x}", at);
        let seen = memory.irs_load64(IRS, base.offset(at as u64).unwrap()).unwrap();
        prop_assert_eq!(seen.to_le_bytes(), &naive.irs[at..at + 8], "IRS's view of {:#x}", at);
    }
}}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // What an IRS sees does not depend on which other IRSs there are. Without maintenance, because with a cache beside it a
    // store may reach a coherent IRS, or be lost, by it; and without stores to what the IRS owns, which end up somewhere else.
    #[test]
    fn a_coherent_irs_beside_another_kind_sees_what_it_sees_alone(
        cache_line in proptest::sample::select(vec![32u64, 64, 128, 2048]),
        ops in proptest::collection::vec((op(), place()), 1..250),
    ) {
        let alone = MemoryConfig { size: BYTES as u64, cache_line, ..MemoryConfig::default() };
        beside(alone, ops, |memory, op| match op {
            Op::Clean { .. } | Op::CleanInvalidate { .. } | Op::Invalidate { .. } => false,
            Op::Store { at, .. } => {
                !matches!(memory.claim_on(memory.config().base.offset(at as u64).unwrap()), Some(Claim::Owned(_)))
            }
            _ => true,
        })?;
    }

    #[test]
    fn a_non_coherent_irs_beside_another_kind_sees_what_it_sees_alone(
        cache_line in proptest::sample::select(vec![32u64, 64, 128, 2048]),
        ops in proptest::collection::vec((op(), place()), 1..250),
    ) {
        let coherency = Coherency::NonCoherent;
        let alone = MemoryConfig { size: BYTES as u64, cache_line, coherency, ..MemoryConfig::default() };
        beside(alone, ops, |_, _| true)?;
    }
}

/// The same memory, and one with an IRS of the other kind beside, which does nothing: both do the same.
fn beside(
    alone: MemoryConfig,
    ops: Vec<(Op, usize)>,
    counts: impl Fn(&Memory, Op) -> bool,
) -> Result<(), TestCaseError> {
    let base = alone.base;
    let other = match alone.coherency {
        Coherency::Coherent => Coherency::NonCoherent,
        Coherency::NonCoherent => Coherency::Coherent,
    };
    let mixed = MemoryConfig { coherency_of: BTreeMap::from([(IrsIndex(1), other)]), ..alone.clone() };
    let mut both = [alone, mixed].map(|config| (Memory::new(config).unwrap(), Report::default()));
    let reads = (0..BYTES).step_by(8).map(|at| (Op::Load { pe: 0, at, width: 8 }, at));
    for (op, at) in ops.into_iter().chain(reads) {
        if !counts(&both[0].0, op) {
            continue;
        }
        let [alone, mixed] = both.each_mut().map(|(memory, report)| {
            let loaded = step(memory, report, IRS, op);
            let seen = memory.irs_load64(IRS, base.offset(at as u64 / 8 * 8).unwrap()).unwrap();
            (loaded, seen, report.checker.count())
        });
        prop_assert_eq!(alone, mixed, "after {:x?}, at {:#x}", op, at);
    }
    let [alone, mixed] = both.map(|(_, report)| broken(base, report.checker.violations()));
    prop_assert_eq!(alone, mixed);
    Ok(())
}
