//! Sets of worlds. A world has one state for every PE; states are kept once and numbered, because worlds that differ are
//! equal almost everywhere.

use hashbrown::HashTable;

use super::interface::{Interface, mix};
use super::source::On;

/// How many worlds there are at most; more are dropped, which can make a later line look wrong but costs no sense.
const WORLDS: usize = 4096;

/// How many states of PEs all worlds of a set have together at most, if that is less. There are always two worlds.
const CELLS: usize = 1 << 20;

/// Up to how many worlds looking at each is quicker than a table.
const FEW: usize = 16;

/// How many states are kept before those that nothing refers to are forgotten.
const STATES: usize = 1 << 16;

/// The states there are, each once.
pub(super) struct States {
    list: Vec<Interface>,
    index: HashTable<u32>,
}

impl States {
    /// State 0 is that after reset.
    pub(super) fn new() -> States {
        let mut states = States { list: Vec::new(), index: HashTable::new() };
        states.number(Interface::RESET);
        states
    }

    #[inline]
    pub(super) fn get(&self, state: u32) -> Interface {
        self.list.get(state as usize).copied().unwrap_or(Interface::RESET)
    }

    /// The number of a state.
    pub(super) fn number(&mut self, interface: Interface) -> u32 {
        let list = &mut self.list;
        let same = |number: &u32| list.get(*number as usize) == Some(&interface);
        let hash = interface.hash();
        if let Some(number) = self.index.find(hash, same) {
            return *number;
        }
        let number = list.len() as u32;
        list.push(interface);
        self.index.insert_unique(hash, number, |number| list.get(*number as usize).map_or(0, Interface::hash));
        number
    }

    /// True if there are so many that it is time to [`forget`](States::forget).
    pub(super) fn are_many(&self) -> bool {
        self.list.len() > STATES
    }

    /// Forgets the states that these worlds do not have, and numbers the others anew.
    pub(super) fn forget<'a>(&mut self, users: impl Iterator<Item = &'a mut Worlds>) {
        let old = std::mem::replace(self, States::new());
        for worlds in users {
            for cell in &mut worlds.cells {
                *cell = self.number(old.get(*cell));
            }
            worlds.hash_anew();
        }
    }
}

/// Where a world came from: the world before the step, and the PE that the step happened on.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) world: u32,
    pub(super) on: On,
}

/// Possible worlds. All are different.
#[derive(Clone)]
pub(super) struct Worlds {
    pes: usize,
    cells: Vec<u32>,
    /// For each world the line that it takes for wrong; 0 for none.
    wrong: Vec<u64>,
    hashes: Vec<u64>,
}

impl Worlds {
    /// One world, just after reset.
    pub(super) fn reset(pes: usize) -> Worlds {
        let mut worlds = Worlds { pes, cells: vec![0; pes], wrong: vec![0], hashes: vec![0] };
        worlds.hash_anew();
        worlds
    }

    pub(super) fn none(pes: usize) -> Worlds {
        Worlds { pes, cells: Vec::new(), wrong: Vec::new(), hashes: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.wrong.len()
    }

    /// The states of the PEs of a world.
    #[inline]
    pub(super) fn world(&self, world: usize) -> &[u32] {
        self.cells.get(world * self.pes..(world + 1) * self.pes).unwrap_or_default()
    }

    /// The line that a world takes for wrong; 0 for none.
    #[inline]
    pub(super) fn wrong(&self, world: usize) -> u64 {
        self.wrong.get(world).copied().unwrap_or(0)
    }

    /// All the lines that worlds take for wrong, in order.
    pub(super) fn suspects(&self) -> Vec<u64> {
        let mut lines: Vec<u64> = self.wrong.iter().copied().filter(|line| *line != 0).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    fn hash_anew(&mut self) {
        self.hashes.clear();
        for world in 0..self.len() {
            let cells = self.world(world).iter().enumerate();
            let hash = cells.fold(0, |hash: u64, (pe, state)| hash.wrapping_add(cell(pe, *state)));
            self.hashes.push(hash.wrapping_add(mix(self.wrong(world))));
        }
    }

    fn clear(&mut self) {
        self.cells.clear();
        self.wrong.clear();
        self.hashes.clear();
    }
}

/// What a PE's state contributes to the hash of a world.
#[inline]
fn cell(pe: usize, state: u32) -> u64 {
    mix((pe as u64) << 32 | u64::from(state))
}

/// The worlds after a step, while they are found.
pub(super) struct Next {
    pub(super) worlds: Worlds,
    pub(super) origins: Vec<Origin>,
    /// The worlds by their hashes, once they are more than a few.
    table: HashTable<u32>,
    most: usize,
}

impl Next {
    pub(super) fn new(pes: usize) -> Next {
        let most = (CELLS / pes.max(1)).clamp(2, WORLDS);
        Next { worlds: Worlds::none(pes), origins: Vec::new(), table: HashTable::new(), most }
    }

    pub(super) fn clear(&mut self) {
        self.worlds.clear();
        self.origins.clear();
        // Clearing a table costs its size, even if there is nothing in it.
        if !self.table.is_empty() {
            self.table.clear();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.worlds.len() >= self.most
    }

    /// A world like one before, but for one PE.
    pub(super) fn push(&mut self, before: &Worlds, world: usize, pe: usize, state: u32, wrong: u64, on: On) {
        let row = before.world(world);
        let Some(old) = row.get(pe) else { return };
        let hash = before.hashes.get(world).copied().unwrap_or(0);
        let hash = hash
            .wrapping_sub(cell(pe, *old))
            .wrapping_add(cell(pe, state))
            .wrapping_sub(mix(before.wrong(world)))
            .wrapping_add(mix(wrong));
        let like = |other: &[u32]| {
            let cells = other.iter().zip(row).enumerate();
            cells.into_iter().all(|(n, (theirs, ours))| *theirs == if n == pe { state } else { *ours })
        };
        if self.is_full() || self.has(hash, wrong, like) {
            return;
        }
        let at = self.worlds.cells.len() + pe;
        self.worlds.cells.extend_from_slice(row);
        if let Some(cell) = self.worlds.cells.get_mut(at) {
            *cell = state;
        }
        self.add(hash, wrong, Origin { world: world as u32, on });
    }

    /// A world made of one before.
    pub(super) fn push_all(
        &mut self,
        before: &Worlds,
        world: usize,
        wrong: u64,
        on: On,
        mut change: impl FnMut(usize, u32) -> u32,
    ) {
        let start = self.worlds.cells.len();
        let mut hash = mix(wrong);
        for (pe, old) in before.world(world).iter().enumerate() {
            let state = change(pe, *old);
            hash = hash.wrapping_add(cell(pe, state));
            self.worlds.cells.push(state);
        }
        let row = self.worlds.cells.get(start..).unwrap_or_default();
        if self.is_full() || self.has(hash, wrong, |other| other == row) {
            return self.worlds.cells.truncate(start);
        }
        self.add(hash, wrong, Origin { world: world as u32, on });
    }

    /// Whether there is such a world.
    fn has(&self, hash: u64, wrong: u64, like: impl Fn(&[u32]) -> bool) -> bool {
        let worlds = &self.worlds;
        let same = |world: usize| worlds.wrong(world) == wrong && like(worlds.world(world));
        match worlds.len() {
            0..=FEW => worlds.hashes.iter().enumerate().any(|(world, other)| *other == hash && same(world)),
            _ => self.table.find(hash, |world| same(*world as usize)).is_some(),
        }
    }

    /// Completes the world whose states have been pushed.
    fn add(&mut self, hash: u64, wrong: u64, origin: Origin) {
        let hashes = &mut self.worlds.hashes;
        self.worlds.wrong.push(wrong);
        hashes.push(hash);
        self.origins.push(origin);
        if hashes.len() > FEW {
            let new = if self.table.is_empty() { 0 } else { hashes.len() - 1 };
            for (world, hash) in hashes.iter().enumerate().skip(new) {
                let of = |world: &u32| hashes.get(*world as usize).copied().unwrap_or(0);
                self.table.insert_unique(*hash, world as u32, of);
            }
        }
    }
}
