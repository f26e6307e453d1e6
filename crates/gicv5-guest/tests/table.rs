//! The life of the LPI table, as a guest and as the embedder see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use common::{Broken, Call, Toy, block_on, read32, write, write32};
use gicv5_arch::geometry::{GeometryError, IstGeometry};
use gicv5_arch::values::{IstSize, L2Size, L2SizeSet, PaRange, TriggerMode};
use gicv5_arch::{IrsIntId, Lpi, Spi};
use gicv5_guest::{Effect, IrsFrame, Offer, OfferError, ResetBusy, TableOperation, Width};

const CR0: u32 = 0x80;
const BASER: u32 = 0x180;
const CFGR: u32 = 0x190;
const STATUSR: u32 = 0x194;
const MAP: u32 = 0x1c0;
const SETLPIR: u32 = 0x1_0000;

fn offer(toy: &Toy) -> Offer {
    Offer::new(&toy.limits, toy.vcpus, 64, PaRange::Bits48)
}

fn frame() -> IrsFrame<Toy> {
    let toy = Toy::new(2);
    let offer = offer(&toy);
    IrsFrame::new(toy, offer).unwrap()
}

fn baser(frame: &IrsFrame<Toy>) -> u64 {
    frame.read(BASER, Width::Bits64)
}

fn linear(id_bits: u32) -> TableOperation {
    TableOperation::Make(IstGeometry::linear(id_bits, IstSize::Bytes4).unwrap())
}

/// GIRS-59, GIRS-60, GIRS-61, VIRS-11, VIRS-13, VIRS-15: no work in the trap, and the guest can see that it is not done.
#[test]
fn the_guest_sees_the_table_under_way_until_the_job_is_done() {
    let frame = frame();
    frame.backend().delay.store(3, Ordering::Relaxed);
    assert_eq!(write32(&frame, CFGR, 12), Effect::Done);
    assert_eq!(frame.write(&(), BASER, Width::Bits64, 0x4000_0001), Effect::Table);
    assert_eq!(frame.backend().take_calls(), []);
    assert_eq!((read32(&frame, STATUSR), baser(&frame)), (0, 0x4000_0001));

    let job = frame.table_job().unwrap();
    assert_eq!(job.operation(), &linear(12));
    assert!(frame.table_job().is_none(), "one at a time");
    let mut running = pin!(job.run());
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert_eq!(running.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(read32(&frame, STATUSR), 0);
        // A driver error, without effect.
        assert_eq!(frame.write(&(), BASER, Width::Bits64, 0), Effect::Done);
        assert_eq!(frame.write(&(), CFGR, Width::Bits32, 14), Effect::Done);
        assert_eq!(frame.reset(), Err(ResetBusy));
    }
    assert_eq!(running.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    assert_eq!(frame.backend().take_calls(), [Call::Table(linear(12))]);
    assert_eq!((read32(&frame, STATUSR), baser(&frame), read32(&frame, CFGR)), (1, 0x4000_0001, 12));

    // It stays as it is until it is removed.
    assert_eq!(write(&frame, BASER, Width::Bits64, 0x8000_0001), Effect::Done);
    assert_eq!(write32(&frame, CFGR, 13), Effect::Done);
    assert_eq!((baser(&frame), read32(&frame, CFGR)), (0x4000_0001, 12));
    frame.backend().delay.store(0, Ordering::Relaxed);
    assert_eq!(write32(&frame, BASER, 0), Effect::Table);
    assert_eq!(frame.backend().take_calls(), [Call::Table(TableOperation::Remove)]);
    assert_eq!((read32(&frame, STATUSR), baser(&frame)), (1, 0x4000_0000));
}

/// GIRS-17, GIRS-55, GIRS-56, GIRS-57, VIRS-12.
#[test]
fn a_table_outside_the_offer_is_refused_and_the_host_is_told_why() {
    let frame = frame();
    let refused = |cfgr| {
        let _ = write32(&frame, CFGR, cfgr);
        assert_eq!(read32(&frame, CFGR), cfgr, "stored unchecked");
        let effect = write(&frame, BASER, Width::Bits64, 0x7_f000_0001);
        assert_eq!((baser(&frame), read32(&frame, STATUSR)), (0x7_f000_0000, 1));
        match effect {
            Effect::Refused(reason) => reason,
            other => panic!("{cfgr:#x} gives {other:?}"),
        }
    };
    let range = |value| GeometryError::OutOfRange { field: "LPI_ID_BITS", value, min: 12, max: 16, rule: "IST-28" };
    assert_eq!(refused(0), range(0));
    assert_eq!(refused(11), range(11));
    assert_eq!(refused(17), range(17));
    assert!(matches!(refused(31), GeometryError::OutOfRange { value: 31, .. }));
    assert!(matches!(refused(12 | 1 << 7), GeometryError::EntrySize { .. }));
    assert!(matches!(refused(12 | 3 << 7), GeometryError::Reserved { .. }));
    assert!(matches!(refused(12 | 1 << 16), GeometryError::LinearOnly { .. }));
    assert_eq!(frame.backend().take_calls(), []);
    assert!(frame.table_job().is_none());
    // And nothing is stuck.
    let _ = write32(&frame, CFGR, 16);
    assert_eq!(write32(&frame, BASER, 1), Effect::Table);
    assert_eq!(frame.backend().take_calls(), [Call::Table(linear(16))]);
}

/// GIRS-57, VIRS-12, VIRS-14, GIRS-76: what the host cannot or will not make leaves VALID as it was.
#[test]
fn a_job_that_fails_leaves_the_table_as_it_was() {
    let frame = frame();
    let _ = write32(&frame, CFGR, 12);
    let start = |value| assert_eq!(frame.write(&(), BASER, Width::Bits64, value), Effect::Table);
    let run = || block_on(frame.table_job().unwrap().run());

    start(1);
    frame.backend().broken.store(true, Ordering::Relaxed);
    assert_eq!(run(), Err(Broken));
    assert_eq!((baser(&frame), read32(&frame, STATUSR)), (0, 1));

    start(1);
    frame.table_job().unwrap().refuse();
    assert_eq!((baser(&frame), read32(&frame, STATUSR)), (0, 1));

    start(1);
    drop(frame.table_job().unwrap());
    drop(frame.table_job().unwrap().run());
    assert_eq!((baser(&frame), read32(&frame, STATUSR)), (1, 0), "still to do");
    frame.backend().broken.store(false, Ordering::Relaxed);
    assert_eq!(run(), Ok(()));
    assert_eq!((baser(&frame), read32(&frame, STATUSR)), (1, 1));

    start(0);
    frame.backend().broken.store(true, Ordering::Relaxed);
    assert_eq!(run(), Err(Broken));
    assert_eq!((baser(&frame), read32(&frame, STATUSR)), (1, 1), "the hardware still has it");
}

/// GIRS-4, GIRS-5, VIRS-16.
#[test]
fn a_guest_that_writes_halves_commits_with_the_low_one() {
    let frame = frame();
    let _ = write32(&frame, CFGR, 12);
    assert_eq!(write32(&frame, BASER + 4, 0x00ff_ffff), Effect::Done);
    assert_eq!(write32(&frame, BASER, 0xffff_ffff), Effect::Table);
    assert_eq!(baser(&frame), 0x00ff_ffff_ffff_ffc1);
    assert_eq!((read32(&frame, BASER), read32(&frame, BASER + 4)), (0xffff_ffc1, 0x00ff_ffff));
    assert_eq!(write32(&frame, BASER + 4, 0), Effect::Done, "VALID is 1");
    assert_eq!(baser(&frame), 0x00ff_ffff_ffff_ffc1);
}

/// GIRS-65, GIRS-66, LPI-2, IST-17.
#[test]
fn a_guest_with_two_levels_maps_range_by_range() {
    let toy = Toy::new(1);
    let two_levels = Some(L2SizeSet::EMPTY.with(L2Size::KiB4).with(L2Size::KiB64));
    let offer = Offer { two_levels, ..offer(&toy) };
    let frame = IrsFrame::new(toy, offer).unwrap();
    let table = || frame.backend().take_calls();
    assert_eq!(write32(&frame, MAP, 0), Effect::Done, "no table");
    // A size that is not on offer.
    let _ = write32(&frame, CFGR, 1 << 16 | 1 << 5 | 16);
    assert!(matches!(write32(&frame, BASER, 1), Effect::Refused(GeometryError::L2SizeUnsupported { .. })));

    let _ = write32(&frame, CFGR, 1 << 16 | 16);
    assert_eq!(write32(&frame, BASER, 1), Effect::Table);
    let geometry = IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap();
    assert_eq!(table(), [Call::Table(TableOperation::Make(geometry))]);
    assert_eq!(frame.write(&(), MAP, Width::Bits32, 0xffff), Effect::Table);
    assert_eq!((read32(&frame, STATUSR), baser(&frame)), (0, 1));
    assert_eq!(frame.write(&(), MAP, Width::Bits32, 0), Effect::Done, "one at a time");
    block_on(frame.table_job().unwrap().run()).unwrap();
    assert_eq!(table(), [Call::Table(TableOperation::Map(0xfc00..0x1_0000))]);
    assert_eq!(write32(&frame, MAP, 0x1_0000), Effect::Done, "beyond the table");
    assert_eq!(write32(&frame, MAP, 5), Effect::Table);
    assert_eq!(table(), [Call::Table(TableOperation::Map(0..1024))]);
}

/// GIRS-1, GIRS-70, GIRS-72, LPI-4, LPI-5.
#[test]
fn the_set_lpi_frame_pends_the_lpis_of_the_table_and_no_others() {
    let lpi = |id| IrsIntId::Lpi(Lpi::new(id).unwrap());
    for set_lpi in [false, true] {
        let toy = Toy::new(1);
        let offer = Offer { set_lpi, ..offer(&toy) };
        let frame = IrsFrame::new(toy, offer).unwrap();
        assert_eq!(read32(&frame, 0) >> 9 & 1 != 0, set_lpi);
        let _ = write32(&frame, SETLPIR, 1);
        assert!(!frame.backend().is_pending(lpi(1)), "no table yet");
        let _ = write32(&frame, CFGR, 12);
        let _ = frame.write(&(), BASER, Width::Bits64, 1);
        let _ = write32(&frame, SETLPIR, 1);
        assert!(!frame.backend().is_pending(lpi(1)), "not made yet");
        block_on(frame.table_job().unwrap().run()).unwrap();
        frame.backend().take_calls();
        for id in [1, 0xfff, 0x1000, 0xff_ffff] {
            assert_eq!(write32(&frame, SETLPIR, id), Effect::Done);
            assert_eq!(frame.backend().is_pending(lpi(id)), set_lpi && id < 1 << 12, "{id:#x}");
        }
        assert_eq!(read32(&frame, SETLPIR), 0);
        assert_eq!(frame.read(IrsFrame::<Toy>::BYTES as u32 - 4, Width::Bits32), 0);
    }
}

/// GIRS-27, GIRS-28, GIRS-30, GIRS-74, VIRS-6.
#[test]
fn a_guest_that_toggles_irsen_gets_one_round_of_reloads_at_a_time() {
    let frame = frame();
    assert_eq!(read32(&frame, CR0), 0b10);
    assert_eq!(frame.write(&(), CR0, Width::Bits32, 1), Effect::Reload);
    assert_eq!(read32(&frame, CR0), 0b01, "not idle");
    for value in [0, 1, 0] {
        assert_eq!(frame.write(&(), CR0, Width::Bits32, value), Effect::Done);
    }
    frame.reloaded();
    assert_eq!(read32(&frame, CR0), 0b11);
    assert_eq!(frame.write(&(), CR0, Width::Bits32, 1), Effect::Done, "no edge");
    frame.backend().broken.store(true, Ordering::Relaxed);
    assert_eq!(frame.write(&(), CR0, Width::Bits32, 0), Effect::Backend(Broken));
    assert_eq!(read32(&frame, CR0), 0b11);
    assert_eq!(frame.backend().take_calls(), [Call::Enable(true), Call::Enable(false)]);
}

/// GIRS-35, GIRS-64, GIRS-79.
#[test]
fn a_reset_leaves_every_register_as_it_was_at_the_beginning() {
    let all = |frame: &IrsFrame<Toy>| (0..0x2_0000).step_by(4).map(|at| read32(frame, at)).collect::<Vec<_>>();
    let frame = frame();
    let fresh = all(&frame);
    let spi = Spi::new(9).unwrap();
    for (at, value) in [(CR0, 1), (0x84, 0xf5d7), (0x108, 9), (0x114, 1), (0x140, 1), (CFGR, 12), (BASER, 0x1001)] {
        let _ = write32(&frame, at, value);
    }
    let _ = frame.set_line(&(), spi, true);
    assert_ne!(all(&frame), fresh);
    assert_eq!(baser(&frame), 0x1001);
    assert_eq!(frame.reset(), Ok(()));
    assert_eq!(all(&frame), fresh);
    assert!(frame.table_job().is_none());
    // The device holds its line through the reset: the next driver makes it a level and gets it.
    frame.backend().take_calls();
    let _ = write32(&frame, 0x108, 9);
    let _ = write32(&frame, 0x114, 1);
    let told = [Call::Mode(spi, TriggerMode::Level), Call::Pending(spi.into(), true)];
    assert_eq!(frame.backend().take_calls(), told);
}

/// GIRS-12, GIRS-13, GIRS-16, GIRS-17, GIRS-18, GIRS-19, GIRS-20, GIRS-21, GIRS-24, VIRS-2, VIRS-3, VIRS-4.
#[test]
fn the_identification_registers_say_what_is_on_offer() {
    let frame = frame();
    assert_eq!(read32(&frame, 0x00), 5 << 2 | 1, "48 bits, Non-secure, nothing else");
    assert_eq!(read32(&frame, 0x04), 4 << 20 | 15 << 16 | 2);
    assert_eq!(read32(&frame, 0x08), 12 << 6 | 1 << 5 | 16);
    assert_eq!([0x0c, 0x10, 0x14, 0x18, 0x1c].map(|at| read32(&frame, at)), [0, 0, 64, 64, 0]);
    assert_eq!(read32(&frame, 0xffbc), 0x4770_5a19);
    assert_eq!([0xfff0, 0xfff4, 0xfff8, 0xfffc].map(|at| read32(&frame, at)), [0x0d, 0xf0, 0x05, 0xb1]);

    // A host that has less shows less.
    let mut toy = Toy::new(1);
    toy.limits.id_bits = 11;
    let less = Offer::new(&toy.limits, 1, 64, PaRange::Bits48);
    assert_eq!((less.lpi_id_bits, less.min_lpi_id_bits), (11, 11));
    assert!(IrsFrame::new(toy, less).is_ok());
}

/// GIRS-14, GIRS-18, GIRS-54.
#[test]
fn an_offer_beyond_the_backend_is_refused_by_name() {
    let refused = |change: fn(&mut Offer)| {
        let mut toy = Toy::new(2);
        toy.limits = gicv5_guest::Limits { id_bits: 16, min_lpi_id_bits: 10, vpe_id_bits: 8, ..toy.limits };
        let mut offer = offer(&toy);
        change(&mut offer);
        match IrsFrame::new(toy, offer).unwrap_err() {
            OfferError::OutOfRange { field, .. } => field,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(|offer| offer.lpi_id_bits = 17), "lpi_id_bits");
    assert_eq!(refused(|offer| offer.min_lpi_id_bits = 9), "min_lpi_id_bits");
    assert_eq!(refused(|offer| offer.min_lpi_id_bits = 15), "min_lpi_id_bits");
    assert_eq!(refused(|offer| offer.iaffid_bits = 9), "iaffid_bits");
    assert_eq!(refused(|offer| offer.iaffid_bits = 0), "iaffid_bits");
    assert_eq!(refused(|offer| offer.vcpus = 257), "vcpus");
    assert_eq!(refused(|offer| offer.vcpus = 0), "vcpus");
    assert_eq!(refused(|offer| offer.spis = 0x1_0001), "spis");
    let toy = Toy::new(1);
    let no_size = Offer { two_levels: Some(L2SizeSet::EMPTY), ..offer(&toy) };
    assert!(matches!(IrsFrame::new(toy, no_size), Err(OfferError::Table(GeometryError::NoL2Size))));
}
