//! A backend that remembers what it was told.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use gicv5_arch::irs::{IRS_IDR0, IRS_IDR1, IRS_IDR2, IRS_IDR6, IRS_IIDR};
use gicv5_arch::values::{Levels, PriBits, TriggerMode};
use gicv5_arch::{IrsIntId, Spi, VpeId};
use gicv5_guest::{Backend, Effect, IrsFrame, Limits, Offer, TableOperation, Width};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Enable(bool),
    Mode(Spi, TriggerMode),
    Pending(IrsIntId, bool),
    Table(TableOperation),
}

/// Why the toy fails: a test told it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

pub(crate) struct Toy {
    pub(crate) limits: Limits,
    pub(crate) vcpus: u16,
    pub(crate) broken: AtomicBool,
    /// Polls that a table operation takes.
    pub(crate) delay: AtomicU32,
    calls: Mutex<Vec<Call>>,
    pending: Mutex<BTreeSet<Key>>,
}

/// An ordered stand-in for an [`IrsIntId`].
type Key = (bool, u32);

fn key(id: IrsIntId) -> Key {
    (matches!(id, IrsIntId::Lpi(_)), id.id())
}

impl Toy {
    pub(crate) fn new(vcpus: u16) -> Toy {
        let limits = Limits { id_bits: 24, min_lpi_id_bits: 10, vpe_id_bits: 16, priority_bits: PriBits::Five };
        Toy {
            limits,
            vcpus,
            broken: AtomicBool::new(false),
            delay: AtomicU32::new(0),
            calls: Mutex::default(),
            pending: Mutex::default(),
        }
    }

    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    pub(crate) fn is_pending(&self, id: IrsIntId) -> bool {
        self.pending.lock().unwrap().contains(&key(id))
    }

    fn call(&self, call: Call) -> Result<(), Broken> {
        self.calls.lock().unwrap().push(call);
        if self.broken.load(Ordering::Relaxed) { Err(Broken) } else { Ok(()) }
    }
}

impl Backend for Toy {
    type Pe<'a> = ();
    type Error = Broken;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn has_vcpu(&self, id: VpeId) -> bool {
        id.raw_value() < self.vcpus
    }

    fn set_irs_enabled(&self, enabled: bool) -> Result<(), Broken> {
        self.call(Call::Enable(enabled))
    }

    fn set_spi_mode(&self, (): &(), spi: Spi, mode: TriggerMode) -> Result<(), Broken> {
        self.call(Call::Mode(spi, mode))
    }

    fn set_pending(&self, (): &(), interrupt: IrsIntId, pending: bool) -> Result<(), Broken> {
        self.call(Call::Pending(interrupt, pending))?;
        let mut all = self.pending.lock().unwrap();
        match pending {
            true => all.insert(key(interrupt)),
            false => all.remove(&key(interrupt)),
        };
        Ok(())
    }

    async fn lpi_table(&self, operation: TableOperation) -> Result<(), Broken> {
        let mut left = self.delay.load(Ordering::Relaxed);
        std::future::poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.call(Call::Table(operation))
    }
}

/// Polls to the end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

/// What an embedder does that does everything in the trap.
pub(crate) fn carry_out(frame: &IrsFrame<Toy>, effect: &Effect<Broken>) {
    match effect {
        Effect::Reload => frame.reloaded(),
        Effect::Table => block_on(frame.table_job().unwrap().run()).unwrap(),
        _ => {}
    }
}

/// Writes as a guest does, and does the caller's part at once.
pub(crate) fn write(frame: &IrsFrame<Toy>, offset: u32, width: Width, value: u64) -> Effect<Broken> {
    let effect = frame.write(&(), offset, width, value);
    carry_out(frame, &effect);
    effect
}

pub(crate) fn read32(frame: &IrsFrame<Toy>, offset: u32) -> u32 {
    u32::try_from(frame.read(offset, Width::Bits32)).unwrap()
}

pub(crate) fn write32(frame: &IrsFrame<Toy>, offset: u32, value: u32) -> Effect<Broken> {
    write(frame, offset, Width::Bits32, value.into())
}

/// A frame that offers what these identification registers say.
pub(crate) fn frame_from_ids(idr0: u32, idr1: u32, idr2: u32, idr6: u32, iidr: u32) -> IrsFrame<Toy> {
    let (idr0, idr1) = (IRS_IDR0::new_with_raw_value(idr0), IRS_IDR1::new_with_raw_value(idr1));
    let idr2 = IRS_IDR2::new_with_raw_value(idr2);
    let toy = Toy::new(idr1.pe_cnt());
    let offer = Offer {
        vcpus: idr1.pe_cnt(),
        spis: IRS_IDR6::new_with_raw_value(idr6).spi_irs_range().value(),
        pa_range: idr0.pa_range().unwrap(),
        iaffid_bits: idr1.iaffid_bits().count(),
        priority_bits: idr1.pri_bits().unwrap(),
        lpi_id_bits: idr2.id_bits().value().into(),
        min_lpi_id_bits: idr2.min_lpi_id_bits().value().into(),
        two_levels: (idr2.ist_levels() == Levels::TwoLevel).then_some(idr2.ist_l2sz()),
        set_lpi: idr0.setlpi(),
        identity: IRS_IIDR::new_with_raw_value(iidr),
    };
    IrsFrame::new(toy, offer).unwrap()
}
