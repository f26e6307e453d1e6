//! Two vCPUs and a device on one frame of `gicv5-guest`, in any order: no access fails, none costs more calls of the backend
//! than documented, the frame beside it does not change, and it still works afterwards.
#![no_main]

use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use arbitrary::Arbitrary;
use gicv5_arch::values::{L2Size, L2SizeSet, PaRange, PriBits, TriggerMode};
use gicv5_arch::{IrsIntId, Spi, VpeId};
use gicv5_guest::{Backend, Delivery, Effect, IrsFrame, Limits, Offer, REGISTERS, TableOperation, Width};
use libfuzzer_sys::fuzz_target;

const SPIS: u32 = 48;

#[derive(Arbitrary, Debug)]
enum Step {
    Read { offset: u32, width: u8 },
    Write { offset: u32, width: u8, value: u64 },
    /// A write to a register of the table, so that the fuzzer need not find its offset.
    Register { register: u8, value: u64 },
    Line { spi: u8, high: bool },
    Work { refuse: bool },
    Reloaded,
    Break(bool),
}

/// A backend whose calls are interrupted by the step that comes next: another vCPU, or a device.
struct Interrupted {
    calls: Cell<u32>,
    broken: Cell<bool>,
}

impl Interrupted {
    fn call(&self) -> Result<(), ()> {
        self.calls.set(self.calls.get() + 1);
        if self.broken.get() { Err(()) } else { Ok(()) }
    }
}

impl Backend for Interrupted {
    /// What happens in the middle of a call; takes itself so that it happens once.
    type Pe<'a> = Cell<Option<&'a dyn Fn()>>;
    type Error = ();

    fn limits(&self) -> Limits {
        Limits { id_bits: 24, min_lpi_id_bits: 0, vpe_id_bits: 16, priority_bits: PriBits::Five }
    }

    fn has_vcpu(&self, id: VpeId) -> bool {
        id.raw_value() < 2
    }

    fn set_irs_enabled(&self, _: bool) -> Result<(), ()> {
        self.call()
    }

    fn set_spi_mode(&self, pe: &Self::Pe<'_>, spi: Spi, _: TriggerMode) -> Result<(), ()> {
        assert!(spi.id() < SPIS);
        if let Some(interruption) = pe.take() {
            interruption();
        }
        self.call()
    }

    fn set_pending(&self, pe: &Self::Pe<'_>, id: IrsIntId, _: bool) -> Result<(), ()> {
        assert!(id.id() < if matches!(id, IrsIntId::Spi(_)) { SPIS } else { 1 << 24 });
        if let Some(interruption) = pe.take() {
            interruption();
        }
        self.call()
    }

    async fn lpi_table(&self, operation: TableOperation) -> Result<(), ()> {
        if let TableOperation::Map(lpis) = operation {
            assert!(lpis.start < lpis.end && lpis.end <= 1 << 24);
        }
        self.call()
    }
}

fn width(width: u8) -> Width {
    Width::from_bytes(1 << (width % 4)).expect("1, 2, 4 or 8")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn frame() -> IrsFrame<Interrupted> {
    let backend = Interrupted { calls: Cell::new(0), broken: Cell::new(false) };
    let two_levels = Some(L2SizeSet::EMPTY.with(L2Size::KiB4).with(L2Size::KiB16));
    let offer = Offer::new(&backend.limits(), 2, SPIS, PaRange::Bits48);
    let offer = Offer { lpi_id_bits: 24, two_levels, set_lpi: true, ..offer };
    IrsFrame::new(backend, offer).expect("the offer is within the limits")
}

/// Everything that a guest sees.
fn visible(frame: &IrsFrame<Interrupted>) -> Vec<u64> {
    let width = |bits: u8| Width::from_bytes(usize::from(bits / 8)).expect("32 or 64 bits");
    REGISTERS.iter().map(|register| frame.read(register.offset, width(register.info.width))).collect()
}

fn carry_out(frame: &IrsFrame<Interrupted>, step: &Step, pe: &<Interrupted as Backend>::Pe<'_>) {
    match *step {
        Step::Read { offset, width: bytes } => {
            frame.read(offset, width(bytes));
        }
        Step::Write { offset, width: bytes, value } => {
            let _ = frame.write(pe, offset, width(bytes), value);
        }
        Step::Register { register, value } => {
            let register = &REGISTERS[usize::from(register) % REGISTERS.len()];
            let bytes = if register.info.width == 64 { 3 } else { 2 };
            if let Effect::Again = frame.write(pe, register.offset, width(bytes), value) {
                panic!("one interruption does not overtake a call so often");
            }
        }
        Step::Line { spi, high } => {
            let _ = frame.set_line(pe, Spi::new(spi.into()).expect("8 bits fit"), high);
        }
        Step::Work { refuse } => match frame.table_job() {
            Some(job) if refuse => job.refuse(),
            Some(job) => {
                let _ = block_on(job.run());
            }
            None => {}
        },
        Step::Reloaded => frame.reloaded(),
        Step::Break(broken) => frame.backend().broken.set(broken),
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let (frame, neighbour) = (frame(), frame());
    let before = visible(&neighbour);
    for pair in steps.chunks(2) {
        let interruption = || {
            if let Some(step) = pair.get(1) {
                carry_out(&frame, step, &Cell::new(None));
            }
        };
        let calls = frame.backend().calls.replace(0);
        assert!(calls <= 2 * IrsFrame::<Interrupted>::MAX_BACKEND_CALLS);
        if let Some(step) = pair.first() {
            carry_out(&frame, step, &Cell::new(Some(&interruption)));
        }
    }
    assert_eq!(visible(&neighbour), before);

    // Whatever came before, a guest that does it right gets its SPI and its table.
    frame.backend().broken.set(false);
    frame.reloaded();
    if let Some(job) = frame.table_job() {
        block_on(job.run()).expect("the backend works");
    }
    let quiet = Cell::new(None);
    assert_eq!(frame.settle_all(&quiet).ok(), Some(Delivery::Settled));
    frame.reset().expect("no job runs");
    assert_eq!(frame.write(&quiet, 0x190, Width::Bits32, 12), Effect::Done);
    assert_eq!(frame.write(&quiet, 0x180, Width::Bits64, 1), Effect::Table);
    block_on(frame.table_job().expect("it is wanted").run()).expect("the backend works");
    assert_eq!((frame.read(0x180, Width::Bits64), frame.read(0x194, Width::Bits32)), (1, 1));
});
