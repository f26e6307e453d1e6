//! GICv5 conformance: what the rules say of hardware, as tests that run anywhere.
//!
//! The tests are written over [`gicv5_hal`] and a [`Bench`] of a few methods, so that the same code runs on the
//! executable model, on an emulator as a bare-metal image, and on a chip. The crate is `no_std`, has no unsafe code and
//! allocates only table memory. `gicv5-conformance-drivers` runs `gicv5-phys` and `gicv5-hyp` on the same benches.
//!
//! # Running them
//!
//! ```
//! use gicv5_conformance::{Observer, Test, Verdict, run};
//! # use gicv5_conformance::{Bench, BenchPe};
//!
//! struct Lines;
//! impl<B: Bench> Observer<B> for Lines {
//!     fn started(&mut self, _: &Test<B>) {}
//!     fn finished(&mut self, test: &Test<B>, verdict: &Verdict) {
//!         println!("{} {}", test.name, verdict.status());
//!     }
//! }
//!
//! fn on_any_machine<B: Bench + 'static>(bench: &B, pe: &BenchPe<'_, B>) -> usize {
//!     run(bench, pe, None, |test| test.name.starts_with("priority::"), &mut Lines).failed
//! }
//! ```
//!
//! # Theory of operation
//!
//! **A test** is a function of a [`Lab`] with a stable name and the ids of the rules it checks. It applies if the ID
//! registers say that the machine has what it [needs](Need) (and, where it moves a wire, if the bench can). It ends with the
//! first thing that is not as the rules say, and says what it expected and what there was.
//!
//! **Between tests** the machine is in one state: CPU interfaces and IRS off, no IST, every interrupt that the tests use
//! disabled, idle and inactive. The runner puts it there after each test, whatever became of it, and then compares every
//! register that holds state with what it was; a difference is a failure of that test. A test therefore cleans
//! up nothing itself. SPIs are taken from a supply that gives no SPI twice, because hardware exists on which they cannot be
//! put back.
//!
//! **Before the first test** nothing is written: the tests of group `reset` see the machine as it comes.
//!
//! **An exception** that a test runs into ends that test and no other, if the bench can (see [`Bench::attempt`]).
//!
//! **What the rules leave open** is not tested, but where software relies on one position: such a test names a [`Profile`]. It
//! fails where the runner is told to hold the machine to that profile, and is [open](Verdict::Open) otherwise.
//!
//! # Adding a test
//!
//! One function in one file under `src/tests`:
//!
//! ```text
//! /// A pending interrupt that is disabled is not signalled.
//! fn disabled_interrupt_stays_silent(lab) rules["ISM-9"] needs[Need::Spis(1)] {
//!     let spi = lab.spi()?;
//!     lab.start()?;
//!     lab.pend(spi)?;
//!     lab.expect_silence(0)
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod bench;
mod disorder;
mod features;
mod lab;
mod outcome;
mod profile;
pub mod random;
mod suite;
mod survey;
mod test;
mod tests;

pub use bench::{Bench, BenchPe, Masked, Signals, Stopped};
pub use disorder::disorder;
pub use features::{Features, IRS, Need};
pub use lab::virt;
pub use lab::virt::{VirtualIst, Vm, VmTable, World};
pub use lab::{A_WHILE, FRAME, Lab, MAX_PES, SOON, TableBlock, acknowledge, config, until};
pub use outcome::{Failure, Outcome, Value, Verdict, expect};
pub use profile::Profile;
pub use suite::{Observer, Summary, run, tests};
pub use survey::{IrsState, PeState};
pub use test::Test;
