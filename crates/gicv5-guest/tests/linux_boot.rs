//! Linux 7.3 finds the frame as it found QEMU's: the recording of its boot, replayed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;

use common::{Call, frame_from_ids, write};
use gicv5_arch::Spi;
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::values::{IstSize, L2Size, TriggerMode};
use gicv5_guest::{Effect, TableOperation, Width};
use gicv5_trace::{AccessSize, Event, Foreign, open};

fn width(size: AccessSize) -> Width {
    match size {
        AccessSize::Word => Width::Bits32,
        AccessSize::Doubleword => Width::Bits64,
    }
}

/// GDRV-1, GDRV-2, GDRV-3, GDRV-4, GDRV-5, GDRV-26, GDRV-27; GIRS-14, GIRS-15, GIRS-27, GIRS-34, GIRS-52, GIRS-53, GIRS-65.
#[test]
fn the_recorded_boot_of_linux_gets_the_same_answer_to_every_access() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/linux-7.3-4cpu-virtio.trace.zst");
    let frame = frame_from_ids(0x1d, 0x4f_0004, 0x3fb8, 0x100, 0);
    let (mut reads, mut writes) = (0, 0);
    for line in open(&path, Foreign::Refuse).unwrap() {
        let line = line.unwrap();
        match line.event {
            Event::Read { offset, data, size, .. } => {
                reads += 1;
                assert_eq!(frame.read(offset, width(size)), data, "line {}: read of {offset:#x}", line.number);
            }
            Event::Write { offset, data, size, .. } => {
                writes += 1;
                let effect = write(&frame, offset, width(size), data);
                assert!(!matches!(effect, Effect::Refused(_) | Effect::Backend(_) | Effect::Again), "{effect:?}");
            }
            Event::BadRead { .. } | Event::BadWrite { .. } => panic!("line {}: Linux makes no bad access", line.number),
            _ => {}
        }
    }
    assert_eq!((reads, writes), (30, 23));

    let spi = |id| Spi::new(id).unwrap();
    let table = IstGeometry::two_level(24, IstSize::Bytes4, L2Size::KiB4).unwrap();
    assert_eq!(
        frame.backend().take_calls(),
        [
            Call::Enable(true),
            Call::Table(TableOperation::Make(table)),
            Call::Table(TableOperation::Map(0..1024)),
            // GDRV-8: three level SPIs; the disk's is edge, as it was.
            Call::Mode(spi(7), TriggerMode::Level),
            Call::Pending(spi(7).into(), false),
            Call::Mode(spi(2), TriggerMode::Level),
            Call::Pending(spi(2).into(), false),
            Call::Mode(spi(1), TriggerMode::Level),
            Call::Pending(spi(1).into(), false),
        ]
    );
}
