//! Caches, barriers, and the model's own memory.

use crate::bench::*;

use crate::Pair;

/// An IST in which an entry was stored becomes valid; what software does in between.
fn publish_by(bench: &Bench, publish: impl FnOnce(&ModelBlock)) -> Vec<Violation> {
    let linear = linear(14);
    let block = bench.ist_block(linear);
    bench.machine.store32(&block, 16, 8);
    publish(&block);
    bench.set_ist(IRS, linear, block.address());
    bench.said()
}

/// An IST of 64 KiB becomes valid this far into a memory of 64 KiB.
fn ist_at(offset: u64) -> Vec<Violation> {
    let bench = Bench::with(1, |config| config.memory.size = 0x1_0000);
    let block = bench.block(0x1_0000, 0x1_0000);
    let base = block.address().offset(offset).unwrap();
    bench.set_ist(IRS, linear(14), base);
    bench.said()
}

/// An IST becomes valid in memory that nobody has allocated, of which the allocator leaves this much alone.
fn ist_in_memory_of_nobody(reserved: u64) -> Vec<Violation> {
    let mut config = MachineConfig::new(1, 64);
    config.memory.reserved = reserved;
    let base = config.memory.base;
    let bench = Bench::started(config);
    bench.set_ist(IRS, linear(14), base);
    bench.said()
}

/// An IST of 64 bytes in a block of this size, where a cache line has 128 bytes.
fn small_ist_in(size: u64) -> Vec<Violation> {
    let bench = Bench::non_coherent(128);
    let block = bench.machine.allocate(BlockLayout::new(size, size, PhysAddr::highest(48)).unwrap()).unwrap();
    bench.machine.publish(IRS, &block, 0..size);
    bench.set_ist(IRS, linear(4), block.address());
    bench.said()
}

/// Software stores an entry this far into a live table, and invalidates the first 8 bytes.
fn invalidate_after_a_store(offset: u64) -> Vec<Violation> {
    let bench = Bench::non_coherent(64);
    let (level1, level2) = bench.live_level1();
    bench.machine.store64(&level1, offset, pointing_to(level2.address()).raw_value());
    bench.machine.acquire(IRS, &level1, 0..8);
    bench.said()
}

/// An entry is made valid by the IRS and its neighbour filled, with the line prepared or not.
fn fill_a_neighbour(prepare: bool) -> Vec<Violation> {
    let bench = Bench::non_coherent(64);
    let (level1, level2) = bench.live_level1();
    bench.machine.store64(&level1, 0, pointing_to(level2.address()).raw_value());
    bench.machine.publish(IRS, &level1, 0..8);
    bench.map_level2(IRS, 0);
    if prepare {
        bench.machine.prepare(IRS, &level1, 8..16);
    }
    bench.machine.store64(&level1, 8, pointing_to(bench.block(4096, 4096).address()).raw_value());
    bench.machine.publish(IRS, &level1, 8..16);
    bench.said()
}

pub(crate) const PAIRS: &[Pair] = &[
    Pair {
        rule: "COH-1",
        breaks: ("an IST becomes valid after a barrier on another PE than the one that stored", || {
            let bench = Bench::started(MachineConfig::new(2, 64));
            publish_by(&bench, |_| _ = bench.machine.on_pe(PeIndex(1), |_| bench.machine.barrier()))
        }),
        nearly: ("an IST becomes valid after a barrier, and a store to other memory waits", || {
            let bench = Bench::small();
            let other = bench.block(64, 64);
            publish_by(&bench, |_| {
                bench.host(PeIndex(0)).dsb();
                bench.machine.store32(&other, 0, 8);
            })
        }),
    },
    Pair {
        rule: "COH-2",
        breaks: ("a non-coherent IRS is given an IST that was cleaned before its stores had reached the cache", || {
            let bench = Bench::non_coherent(64);
            publish_by(&bench, |block| {
                bench.machine.clean_invalidate(block, 16..20);
                bench.machine.barrier();
            })
        }),
        nearly: ("a non-coherent IRS is given an IST of which one byte was cleaned, between two barriers", || {
            let bench = Bench::non_coherent(64);
            publish_by(&bench, |block| {
                bench.machine.barrier();
                bench.machine.clean_invalidate(block, 18..19);
                bench.machine.barrier();
            })
        }),
    },
    Pair {
        rule: "COH-6",
        breaks: ("an IST has half a cache line", || small_ist_in(64)),
        nearly: ("an IST of half a cache line has the whole of it", || small_ist_in(128)),
    },
    Pair {
        rule: "COH-7",
        breaks: ("a line is invalidated whose last word was stored", || invalidate_after_a_store(56)),
        nearly: ("a line is invalidated when the first word of the next was stored", || invalidate_after_a_store(64)),
    },
    Pair {
        rule: "COH-8",
        breaks: ("half an entry of a live table is stored", || {
            let bench = Bench::eager(1);
            let (level1, _level2) = bench.live_level1();
            bench.machine.store32(&level1, 12, 1);
            bench.said()
        }),
        nearly: ("half an entry of a table that is not yet in use is stored", || {
            let bench = Bench::eager(1);
            let level1 = bench.ist_block(two_level());
            bench.machine.store32(&level1, 12, 1);
            bench.said()
        }),
    },
    Pair {
        rule: "VMT-21",
        breaks: ("an entry is filled in a line fetched before the IRS wrote to it", || fill_a_neighbour(false)),
        nearly: ("an entry is filled in a line fetched after the IRS wrote to it", || fill_a_neighbour(true)),
    },
    Pair {
        rule: "MEM-1",
        breaks: ("the word behind a block is loaded", || {
            let bench = Bench::small();
            bench.machine.load64(&bench.block(64, 64), 64);
            bench.said()
        }),
        nearly: ("the last word of a block is loaded", || {
            let bench = Bench::small();
            bench.machine.load64(&bench.block(64, 64), 56);
            bench.said()
        }),
    },
    Pair {
        rule: "MEM-4",
        breaks: ("an IST begins where memory ends", || ist_at(0x1_0000)),
        nearly: ("an IST ends where memory ends", || ist_at(0)),
    },
    Pair {
        rule: "MEM-5",
        breaks: ("an IST is where nothing has been allocated", || ist_in_memory_of_nobody(0xf000)),
        nearly: ("an IST is where the allocator allocates nothing", || ist_in_memory_of_nobody(0x1_0000)),
    },
    Pair {
        rule: "MEM-2",
        breaks: ("a block is freed in a machine restored to before its allocation", || {
            let bench = Bench::small();
            let before = bench.machine.save();
            let block = bench.block(64, 64);
            bench.machine.restore(before);
            bench.machine.free(block);
            bench.said()
        }),
        nearly: ("a block is freed in a machine restored to after its allocation", || {
            let bench = Bench::small();
            let block = bench.block(64, 64);
            let before = bench.machine.save();
            bench.machine.store32(&block, 0, 1);
            bench.machine.restore(before);
            bench.machine.free(block);
            bench.said()
        }),
    },
];
