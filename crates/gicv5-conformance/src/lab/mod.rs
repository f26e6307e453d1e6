//! What a test has in its hands: the machine, and the few steps that tests are made of.
//!
//! Each step ends with the barriers that make its effect certain (SYN-1, SYN-5), so that a test that wants to show what
//! happens without them uses the PE itself. Waits are bounded: [`SOON`] is how long something that must happen may
//! take, [`A_WHILE`] how long the lab looks on that something does not happen.

mod instructions;
mod interrupts;
mod irs;
mod ist;
mod memory;
mod pe;
mod restore;
mod signals;
pub mod virt;

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use gicv5_arch::{Iaffid, Priority, Spi};
use gicv5_hal::{Frame, Platform, TableMemory, Wait};

use crate::bench::{Bench, BenchPe};
use crate::features::{Features, IRS};
use crate::outcome::{Failure, Outcome};
use crate::survey::{IrsState, PeState};

pub(crate) use instructions::ask;
pub use instructions::{acknowledge, config};
pub use memory::TableBlock;
pub(crate) use signals::expect_interrupt;

/// How long something that must happen may take.
pub const SOON: Duration = Duration::from_millis(200);

/// How long the lab looks on that something does not happen.
pub const A_WHILE: Duration = Duration::from_micros(40);

/// The frame of the IRS that the tests use.
pub const FRAME: Frame = Frame::config(IRS);

/// PEs that the tests use at most.
pub const MAX_PES: usize = 8;

/// Blocks of memory that a test may have.
const MAX_BLOCKS: usize = 32;

/// SPIs that a test may have.
const MAX_SPIS: usize = 12;

type BlockOf<B> = <<B as Platform>::Memory as TableMemory>::Block;

/// What the lab can do with the instructions and registers that are for it, and what they let it confirm.
#[derive(Clone, Copy, Debug, Default)]
struct Ability {
    /// `GIC CDDIS` disables an SPI.
    disables: bool,
    /// `GIC CDPEND` clears Pending of an SPI.
    clears_pending: bool,
    /// IRS_SPI_SELR reads what was written.
    shows_selection: bool,
    /// IRS_CR1 reads what was written.
    keeps_attributes: bool,
}

/// The machine under test.
pub struct Lab<'a, B: Bench> {
    bench: &'a B,
    /// PE 0, which the test runs on.
    pub pe: &'a BenchPe<'a, B>,
    /// What the ID registers say.
    pub features: Features,
    /// What PE 0 was like when the suite was called.
    pub found_pe: PeState,
    /// How the IRS was configured when the suite was called.
    pub found_irs: IrsState,
    iaffids: [Iaffid; MAX_PES],
    blocks: RefCell<[Option<BlockOf<B>>; MAX_BLOCKS]>,
    spis: Cell<[Option<Spi>; MAX_SPIS]>,
    /// What works on this machine of what the lab itself needs.
    ability: Cell<Ability>,
    /// IRS_CR1 has been written since the last test.
    attributes: Cell<bool>,
    /// Where to look for the next SPI that nobody has used: tests go from the last SPI down.
    next_spi: Cell<u32>,
}

impl<'a, B: Bench> Lab<'a, B> {
    /// Looks at a machine. Reads only.
    pub fn new(bench: &'a B, pe: &'a BenchPe<'a, B>) -> Lab<'a, B> {
        let features = Features::read(bench, pe);
        let (base, count) = (features.idr7.spi_base().id(), features.idr6.spi_irs_range().value());
        let mut lab = Lab {
            bench,
            pe,
            features,
            found_pe: PeState::read(pe, features.virt),
            found_irs: IrsState::read_configuration(bench),
            iaffids: [pe.iaffid(); MAX_PES],
            blocks: RefCell::new([const { None }; MAX_BLOCKS]),
            spis: Cell::new([None; MAX_SPIS]),
            ability: Cell::new(Ability::default()),
            attributes: Cell::new(false),
            next_spi: Cell::new(base.saturating_add(count)),
        };
        for n in 1..lab.pes() {
            // A PE that does not answer shows in the first test that uses it.
            if let Ok(raw) = lab.on(n, |pe| pe.iaffid().raw_value().into())
                && let Some(iaffid) = lab.iaffids.get_mut(n)
            {
                *iaffid = Iaffid::new(raw as u16);
            }
        }
        lab
    }

    /// The bench.
    #[must_use]
    pub fn bench(&self) -> &'a B {
        self.bench
    }

    /// The IRSs.
    #[must_use]
    pub fn irs(&self) -> &'a B::Irs {
        self.bench.irs()
    }

    /// How many PEs there are for tests.
    #[must_use]
    pub fn pes(&self) -> usize {
        self.features.pes.min(MAX_PES)
    }

    /// The affinity ID of a PE.
    #[must_use]
    pub fn iaffid(&self, pe: usize) -> Iaffid {
        self.iaffids.get(pe).copied().unwrap_or(self.iaffids[0])
    }

    /// Runs something on a PE, and waits for its answer.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn on(&self, pe: usize, work: impl Fn(&BenchPe<'_, B>) -> u64 + Sync) -> Result<u64, Failure> {
        if pe == 0 {
            return Ok(work(self.pe));
        }
        let answer = AtomicU64::new(0);
        self.bench.run_on(pe, &|pe| answer.store(work(pe), Ordering::Release))?;
        Ok(answer.load(Ordering::Acquire))
    }

    /// Runs something on a PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn run_on(&self, pe: usize, work: impl Fn(&BenchPe<'_, B>) + Sync) -> Outcome {
        self.on(pe, |pe| {
            work(pe);
            0
        })
        .map(drop)
    }

    /// Waits until something holds. False if it does not within [`SOON`].
    pub fn until(&self, holds: impl FnMut() -> bool) -> bool {
        until(self.bench.wait(), SOON, holds)
    }

    /// Lets [`A_WHILE`] pass.
    pub fn linger(&self) {
        until(self.bench.wait(), A_WHILE, || false);
    }

    /// A priority from its number; 31 for what is none.
    #[must_use]
    pub fn priority(&self, number: u32) -> Priority {
        Priority::new(number).unwrap_or(Priority::LEAST_URGENT)
    }
}

/// Waits until something holds, but no longer than `limit`.
pub fn until<W: Wait>(wait: &W, limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = wait.now();
    loop {
        if holds() {
            return true;
        }
        if wait.now().saturating_sub(start) >= limit {
            return holds();
        }
        wait.relax();
    }
}
