//! `set_line`, mode changes and resampling of one SPI against each other in every interleaving: whatever took effect last is
//! what the byte says. `cargo xtask loom` runs these. The hardware below is as slow as the contract of the backend lets it
//! be: an effect happens at any point before the call returns, and orders nothing.

use std::sync::Arc;
use std::vec::Vec;

use loom::model::Builder;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::*;
use TriggerMode::{Edge, Level};

#[derive(Clone, Copy)]
enum Act {
    Line(bool),
    Mode(TriggerMode),
    Resample,
}
use Act::{Line, Mode, Resample};

struct Bench {
    lines: Lines,
    /// The hardware's Pending and handling mode.
    pending: AtomicBool,
    level: AtomicBool,
}

impl Bench {
    fn tell(&self, tell: Tell) -> Result<(), ()> {
        match tell {
            Tell::Mode(mode) => self.level.store(mode == Level, Ordering::Relaxed),
            Tell::Pending(pending) => self.pending.store(pending, Ordering::Relaxed),
        }
        Ok(())
    }

    /// As a caller does: again until it is settled or another call's business.
    fn act(&self, act: Act) {
        let spi = Spi::new(0).unwrap();
        let tell = |told| self.tell(told);
        for _ in 0..4 {
            let delivery = match act {
                Line(high) => self.lines.set_line(spi, high, tell),
                Mode(mode) => self.lines.set_mode(spi, mode, tell),
                Resample => self.lines.resample(spi, tell),
            };
            if delivery != Some(Ok(Delivery::Again)) {
                return;
            }
        }
        panic!("so few calls cannot overtake one so often");
    }
}

/// The acts of each thread in turn; `before` comes first.
fn explore(before: &'static [Act], threads: &'static [&'static [Act]], preemptions: Option<usize>) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.check(move || {
        let bench = Arc::new(Bench {
            lines: Lines::new(1).unwrap(),
            pending: AtomicBool::new(false),
            level: AtomicBool::new(false),
        });
        before.iter().for_each(|&act| bench.act(act));
        let others: Vec<_> = threads[1..]
            .iter()
            .map(|acts| {
                let bench = bench.clone();
                thread::spawn(move || acts.iter().for_each(|&act| bench.act(act)))
            })
            .collect();
        threads[0].iter().for_each(|&act| bench.act(act));
        for other in others {
            other.join().unwrap();
        }
        let word = Word::new_with_raw_value(bench.lines.words[0].load(Ordering::Relaxed));
        assert!(!word.busy() && !word.has_news(), "news are left with nobody to tell them");
        let level = word.mode() == Level;
        assert_eq!(bench.level.load(Ordering::Relaxed), level, "the mode");
        if level {
            assert_eq!(bench.pending.load(Ordering::Relaxed), word.high(), "Pending of a level SPI");
        }
    });
}

#[test]
fn a_line_raised_on_one_pe_and_lowered_on_another_ends_as_the_byte_says() {
    explore(&[Mode(Level)], &[&[Line(true)], &[Line(false)]], None);
    explore(&[Mode(Level), Line(true)], &[&[Line(false), Line(true)], &[Line(false)]], Some(3));
}

/// GIRS-39.
#[test]
fn a_change_of_mode_meets_a_change_of_the_line() {
    explore(&[], &[&[Mode(Level)], &[Line(true)]], None);
    explore(&[Mode(Level), Line(true)], &[&[Mode(Edge), Mode(Level)], &[Line(false)]], Some(3));
}

#[test]
fn two_devices_and_a_guest_use_one_spi() {
    explore(&[Mode(Level)], &[&[Line(true)], &[Line(false)], &[Mode(Edge)]], Some(2));
    explore(&[Mode(Level), Line(true)], &[&[Resample], &[Line(false)], &[Line(true)]], Some(2));
}

/// An edge is told after it rose, whichever call tells it.
#[test]
fn a_rise_is_told_although_another_call_is_telling() {
    loom::model(|| {
        let bench = Arc::new(Bench {
            lines: Lines::new(1).unwrap(),
            pending: AtomicBool::new(false),
            level: AtomicBool::new(false),
        });
        let device = thread::spawn({
            let bench = bench.clone();
            move || bench.act(Line(true))
        });
        // The guest makes it a level and back, which clears what there was: a rise after that has to be there.
        bench.act(Mode(Level));
        bench.act(Mode(Edge));
        let cleared = bench.lines.words[0].load(Ordering::Acquire);
        device.join().unwrap();
        let rose_after = !Word::new_with_raw_value(cleared).high();
        if rose_after {
            assert!(bench.pending.load(Ordering::Relaxed), "a rise was lost");
        }
    });
}
