use gicv5_aarch64::{Counter, Frames, Hardware, IrsFrames, Pause, TableRam, ThisPe};
use gicv5_arch::values::Shareability;
use gicv5_hal::Coherency;

/// A machine with two IRSs, a direct map at `OFFSET`, and 2 MiB of RAM for tables.
fn hardware() -> Hardware<2> {
    const OFFSET: u64 = 0xffff_8000_0000_0000;
    const TABLES: core::ops::Range<u64> = 0x8_8000_0000..0x8_8020_0000;
    let mapped = |physical: u64| physical.wrapping_add(OFFSET) as usize;
    let first = IrsFrames { config: mapped(0x2f1a_0000), set_lpi: Some(mapped(0x2f1b_0000)) };
    let second = IrsFrames { config: mapped(0x2f2a_0000), set_lpi: None };
    // SAFETY: the boot code maps the frames as device memory and the RAM as Normal write-back inner shareable memory, the memory manager
    // never hands that RAM out, only the drivers access the frames, and at boot EL3 has opened the GIC's registers to EL2. The
    // firmware's tables say that both IRSs are coherent.
    unsafe {
        Hardware {
            frames: Frames::new([first, second]),
            memory: TableRam::new(TABLES, OFFSET, Coherency::Coherent, Shareability::Inner),
            pe: ThisPe::new(),
            counter: Counter::new(Pause::Yield),
        }
    }
}
