//! A hostile guest: any offset, any width, any value, in any order and from two vCPUs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::atomic::Ordering;

use common::{Broken, Call, Toy, block_on};
use gicv5_arch::values::PaRange;
use gicv5_arch::{IrsIntId, Spi};
use gicv5_guest::{Effect, IrsFrame, Offer, REGISTERS, TableOperation, Width};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Read(u32, Width),
    Write(u32, Width, u64),
    Line(u32, bool),
    /// The worker runs a table job, if one waits; or refuses it.
    Work(bool),
    Reloaded,
    /// From now on the backend fails, or not.
    Break(bool),
}

fn offset() -> impl Strategy<Value = u32> {
    let known = prop::sample::select(REGISTERS).prop_flat_map(|register| {
        prop::sample::select(vec![0, 0, 0, 0, 1, 2, 4]).prop_map(move |off| register.offset + off)
    });
    prop_oneof![8 => known, 1 => 0..0x2_0000u32, 1 => any::<u32>()]
}

fn width() -> impl Strategy<Value = Width> {
    let likely = vec![Width::Bits32, Width::Bits32, Width::Bits32, Width::Bits64, Width::Bits16, Width::Bits8];
    prop::sample::select(likely)
}

fn act() -> impl Strategy<Value = Act> {
    let value = prop_oneof![0..32u64, any::<u64>(), any::<u64>().prop_map(|value| value & 0x1ff)];
    prop_oneof![
        4 => (offset(), width()).prop_map(|(offset, width)| Act::Read(offset, width)),
        12 => (offset(), width(), value).prop_map(|(offset, width, value)| Act::Write(offset, width, value)),
        4 => (0..40u32, any::<bool>()).prop_map(|(spi, high)| Act::Line(spi, high)),
        2 => any::<bool>().prop_map(Act::Work),
        2 => Just(Act::Reloaded),
        1 => any::<bool>().prop_map(Act::Break),
    ]
}

const SPIS: u32 = 32;

fn frame() -> IrsFrame<Toy> {
    let toy = Toy::new(2);
    let offer = Offer { set_lpi: true, ..Offer::new(&toy.limits, 2, SPIS, PaRange::Bits40) };
    IrsFrame::new(toy, offer).unwrap()
}

/// Carries an act out, and returns what the backend was asked for.
fn carry_out(frame: &IrsFrame<Toy>, act: &Act) -> Vec<Call> {
    let _ = frame.backend().take_calls();
    match *act {
        Act::Read(offset, width) => {
            let value = frame.read(offset, width);
            assert_eq!(value, frame.read(offset, width), "a read changes nothing");
            assert!(width == Width::Bits64 || value >> 32 == 0);
        }
        Act::Write(offset, width, value) => {
            let effect = frame.write(&(), offset, width, value);
            assert_ne!(effect, Effect::Again, "nobody else is there");
        }
        Act::Line(spi, high) => {
            let result = frame.set_line(&(), Spi::new(spi).unwrap(), high);
            assert!(result.is_ok() || spi >= SPIS || frame.backend().broken.load(Ordering::Relaxed));
        }
        Act::Work(willing) => match frame.table_job() {
            Some(job) if willing => assert!(matches!(block_on(job.run()), Ok(()) | Err(Broken))),
            Some(job) => job.refuse(),
            None => {}
        },
        Act::Reloaded => frame.reloaded(),
        Act::Break(broken) => frame.backend().broken.store(broken, Ordering::Relaxed),
    }
    frame.backend().take_calls()
}

/// Everything that a guest can see.
fn visible(frame: &IrsFrame<Toy>) -> Vec<u64> {
    REGISTERS
        .iter()
        .map(|register| frame.read(register.offset, Width::from_bytes(register.info.width as usize / 8).unwrap()))
        .collect()
}

proptest! {
    /// GIRS-2, GIRS-58, GIRS-72, GIRS-73, GIRS-78: no access fails, and the backend is asked for what it has only.
    #[test]
    fn no_access_fails_and_none_takes_more_than_the_documented_calls(acts in prop::collection::vec(act(), 0..200)) {
        let frame = frame();
        for act in &acts {
            let calls = carry_out(&frame, act);
            prop_assert!(calls.len() <= IrsFrame::<Toy>::MAX_BACKEND_CALLS as usize);
            for call in calls {
                match call {
                    Call::Mode(spi, _) => prop_assert!(spi.id() < SPIS),
                    Call::Pending(IrsIntId::Spi(spi), _) => prop_assert!(spi.id() < SPIS),
                    Call::Pending(IrsIntId::Lpi(lpi), pending) => prop_assert!(lpi.id() < 1 << 16 && pending),
                    Call::Table(operation) => {
                        prop_assert!(matches!(act, Act::Work(true)), "a table in the trap");
                        if let TableOperation::Make(geometry) = operation {
                            prop_assert!((12..=16).contains(&geometry.id_bits()) && geometry.l2_size().is_none());
                        }
                    }
                    Call::Enable(_) => {}
                }
            }
        }
        // GIRS-9: whatever came before, the frame still works.
        frame.backend().broken.store(false, Ordering::Relaxed);
        frame.reloaded();
        if let Some(job) = frame.table_job() {
            block_on(job.run()).unwrap();
        }
        prop_assert_eq!(frame.reset(), Ok(()));
    }

    /// Two VMs: what one guest does leaves no trace in the other's frame, nor in what its calls cost.
    #[test]
    fn a_frame_does_not_change_by_what_happens_in_another(
        ours in prop::collection::vec(act(), 0..60),
        theirs in prop::collection::vec(act(), 0..60),
    ) {
        let (alone, beside, neighbour) = (frame(), frame(), frame());
        let mut theirs = theirs.iter();
        for act in &ours {
            let expected = carry_out(&alone, act);
            for act in theirs.by_ref().take(2) {
                let _ = carry_out(&neighbour, act);
            }
            prop_assert_eq!(carry_out(&beside, act), expected);
            prop_assert_eq!(visible(&beside), visible(&alone));
        }
    }
}

/// GIRS-2, GIRS-3, GIRS-25: every offset by every width, all ones.
#[test]
fn an_access_that_no_register_claims_reads_zero_and_changes_nothing() {
    let frame = frame();
    let before = visible(&frame);
    for offset in (0..0x2_0010).chain([u32::MAX - 7, u32::MAX]) {
        for width in [Width::Bits8, Width::Bits16, Width::Bits32, Width::Bits64] {
            let claimed = REGISTERS.iter().any(|register| {
                let whole = register.offset == offset && register.info.width == width.bits();
                let half = register.info.width == 64 && width == Width::Bits32;
                whole || half && (register.offset == offset || register.offset + 4 == offset)
            });
            if claimed {
                continue;
            }
            assert_eq!(frame.read(offset, width), 0, "{offset:#x}");
            assert_eq!(frame.write(&(), offset, width, u64::MAX), Effect::Done);
        }
    }
    assert_eq!(visible(&frame), before);
    assert_eq!(frame.backend().take_calls(), []);
}

/// GIRS-9, GIRS-39: two vCPUs and a device, without any lock of theirs.
#[test]
fn two_vcpus_and_a_device_at_once_leave_a_frame_that_works() {
    let frame = frame();
    std::thread::scope(|scope| {
        for vcpu in 0..2u32 {
            let frame = &frame;
            scope.spawn(move || {
                let mut state = vcpu + 1;
                for _ in 0..20_000 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let register = &REGISTERS[state as usize % REGISTERS.len()];
                    let width = Width::from_bytes(usize::from(register.info.width / 8)).unwrap();
                    match frame.write(&(), register.offset, width, u64::from(state >> 7)) {
                        Effect::Reload => frame.reloaded(),
                        Effect::Table => {
                            if let Some(job) = frame.table_job() {
                                block_on(job.run()).unwrap();
                            }
                        }
                        _ => {}
                    }
                }
            });
        }
        for number in 0..20_000u32 {
            let _ = frame.set_line(&(), Spi::new(number % SPIS).unwrap(), number & 32 != 0).unwrap();
        }
    });
    if let Some(job) = frame.table_job() {
        block_on(job.run()).unwrap();
    }
    while frame.settle_all(&()).unwrap() != gicv5_guest::Delivery::Settled {}
    assert_eq!(frame.read(0x194, Width::Bits32), 1);
    // VALID is the truth: the operations alternated.
    let tables: Vec<_> = frame
        .backend()
        .take_calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::Table(operation) => Some(operation),
            _ => None,
        })
        .collect();
    for pair in tables.windows(2) {
        assert_ne!(pair[0] == TableOperation::Remove, pair[1] == TableOperation::Remove);
    }
    assert_eq!(
        frame.read(0x180, Width::Bits64) & 1 == 1,
        tables.last().is_some_and(|last| *last != TableOperation::Remove)
    );
}
