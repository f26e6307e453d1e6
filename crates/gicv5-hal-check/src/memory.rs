//! Table memory.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use gicv5_arch::PhysAddr;
use gicv5_hal::{Block, BlockLayout, IrsIndex, TableMemory};

use crate::{Broken, Promise};

/// Sizes and alignments as tables have them, and two that no allocator rounds to.
const SHAPES: [(u64, u64); 9] = [
    (8, 8),
    (44, 8),
    (64, 64),
    (192, 64),
    (4096, 4096),
    (4096 + 64, 64),
    (8192, 8192),
    (1 << 16, 4096),
    (1 << 16, 1 << 16),
];

/// How many blocks of a page are taken at most to see whether they come back.
const MANY: usize = 200;

/// How often they are taken.
const ROUNDS: usize = 8;

/// More than any machine has.
const IMPOSSIBLE: u64 = 1 << 52;

/// No limit: the most that any table entry can hold.
const ADDRESS_BITS: u32 = 56;

/// Checks the memory for tables, of which `irs_count` IRSs may be told.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn table_memory<M: TableMemory + ?Sized>(memory: &M, irs_count: u16) -> Result<(), Broken> {
    constants(memory, irs_count)?;
    let mut held = Held { memory, blocks: Vec::new() };
    for shape in SHAPES.iter().chain(&SHAPES) {
        held.take(layout(*shape, PhysAddr::highest(ADDRESS_BITS))?)?;
    }
    held.are_alone()?;
    held.are_zero(Promise::BlockZero)?;
    held.are_apart()?;
    for block in &held.blocks {
        accesses(memory, block)?;
        // A larger block would show the same, and take long.
        if block.size() <= 8192 {
            outside(memory, block)?;
        }
        maintenance(memory, block, irs_count)?;
    }
    drop(held);
    zero_again(memory)?;
    highest(memory)?;
    impossible(memory)?;
    freed(memory)
}

fn layout((size, alignment): (u64, u64), highest: PhysAddr) -> Result<BlockLayout, Broken> {
    BlockLayout::new(size, alignment, highest)
        .map_err(|error| Broken { promise: Promise::MemoryIsThere, seen: format!("{error}") })
}

/// Blocks that go back whatever happens.
struct Held<'a, M: TableMemory + ?Sized> {
    memory: &'a M,
    blocks: Vec<M::Block>,
}

impl<M: TableMemory + ?Sized> Drop for Held<'_, M> {
    fn drop(&mut self) {
        for block in self.blocks.drain(..) {
            self.memory.free(block);
        }
    }
}

impl<M: TableMemory + ?Sized> Held<'_, M> {
    /// Takes one more block, which must be there and be as it was asked for.
    fn take(&mut self, layout: BlockLayout) -> Result<(), Broken> {
        let block = self.memory.allocate(layout);
        let block = block.map_err(|error| Broken { promise: Promise::MemoryIsThere, seen: format!("{error}") })?;
        let fits = fits(&block, layout);
        self.blocks.push(block);
        fits
    }

    fn are_alone(&self) -> Result<(), Broken> {
        let mut ranges: Vec<_> = self.blocks.iter().map(range).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        for (one, next) in ranges.iter().zip(ranges.iter().skip(1)) {
            Promise::BlockAlone.holds(one.end <= next.start, || format!("one is {one:x?} and another {next:x?}"))?;
        }
        Ok(())
    }

    /// Fills each with something else: what addresses do not show, values do.
    fn are_apart(&self) -> Result<(), Broken> {
        for (block, n) in self.blocks.iter().zip(1..) {
            words(block).for_each(|offset| self.memory.store64(block, offset, mix(n, offset)));
        }
        for (block, n) in self.blocks.iter().zip(1..) {
            for offset in words(block) {
                let (seen, wanted) = (self.memory.load64(block, offset), mix(n, offset));
                let others = (1..).zip(&self.blocks).any(|(other, _)| other != n && seen == mix(other, offset));
                let promise = if others { Promise::BlockAlone } else { Promise::StoreKept };
                promise.holds(seen == wanted, || loaded(block, offset, seen, wanted))?;
            }
        }
        Ok(())
    }

    fn are_zero(&self, promise: Promise) -> Result<(), Broken> {
        self.blocks.iter().try_for_each(|block| is_zero(self.memory, block, promise))
    }
}

fn range<B: Block>(block: &B) -> Range<u64> {
    let start = block.address().raw();
    start..start.saturating_add(block.size())
}

/// The offsets of the words of 64 bits.
fn words<B: Block>(block: &B) -> impl Iterator<Item = u64> + use<B> {
    (0..block.size() / 8).map(|n| n * 8)
}

/// A value that is neither zero nor another offset's.
fn mix(n: u64, offset: u64) -> u64 {
    (n << 32 | offset).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

fn loaded<B: Block>(block: &B, offset: u64, seen: u64, wanted: u64) -> String {
    format!("offset {offset:#x} of {:x?} reads {seen:#x} and not {wanted:#x}", range(block))
}

fn fits<B: Block>(block: &B, layout: BlockLayout) -> Result<(), Broken> {
    let (address, size) = (block.address().raw(), block.size());
    Promise::BlockSize
        .holds(size == layout.size(), || format!("{:#x} bytes were asked for, and it has {size:#x}", layout.size()))?;
    Promise::BlockAlignment.holds(address.is_multiple_of(layout.alignment()), || {
        format!("it starts at {address:#x}, where {:#x} was asked for", layout.alignment())
    })?;
    let last = address.checked_add(size - 1);
    Promise::BlockHighest.holds(last.is_some_and(|last| last <= layout.highest().raw()), || {
        format!("{size:#x} bytes start at {address:#x}, where {} was the highest address", layout.highest())
    })
}

fn is_zero<M: TableMemory + ?Sized>(memory: &M, block: &M::Block, promise: Promise) -> Result<(), Broken> {
    for offset in words(block) {
        let seen = memory.load64(block, offset);
        promise.holds(seen == 0, || loaded(block, offset, seen, 0))?;
    }
    if !block.size().is_multiple_of(8) {
        let offset = block.size() & !7;
        let seen = memory.load32(block, offset).into();
        promise.holds(seen == 0, || loaded(block, offset, seen, 0))?;
    }
    Ok(())
}

fn constants<M: TableMemory + ?Sized>(memory: &M, irs_count: u16) -> Result<(), Broken> {
    let line = memory.cache_line();
    Promise::LineSize.holds(line.is_power_of_two(), || format!("it is {line}"))?;
    for irs in (0..irs_count).map(IrsIndex) {
        let first = memory.coherency(irs);
        for _ in 0..10 {
            let then = memory.coherency(irs);
            Promise::CoherencyStays.holds(first == then, || format!("{irs} is {first:?} and then {then:?}"))?;
            let now = memory.cache_line();
            Promise::LineSize.holds(line == now, || format!("it is {line} and then {now}"))?;
        }
    }
    Ok(())
}

/// Loads and stores of both widths at the beginning and the end of a block. Its first word becomes all ones.
fn accesses<M: TableMemory + ?Sized>(memory: &M, block: &M::Block) -> Result<(), Broken> {
    const WORD: u64 = 0x8877_6655_4433_2211;
    let Some(last) = words(block).last() else { return Ok(()) };
    for offset in [0, last] {
        memory.store64(block, offset, WORD);
        let seen = memory.load64(block, offset);
        Promise::StoreKept.holds(seen == WORD, || loaded(block, offset, seen, WORD))?;
        for (at, wanted) in [(offset, WORD & 0xffff_ffff), (offset + 4, WORD >> 32)] {
            let seen = memory.load32(block, at).into();
            Promise::StoreEndian.holds(seen == wanted, || loaded(block, at, seen, wanted))?;
        }
        for (at, wanted) in [(offset, WORD >> 32 << 32 | 0xf1), (offset + 4, 0xf2 << 32 | 0xf1)] {
            memory.store32(block, at, if at == offset { 0xf1 } else { 0xf2 });
            let seen = memory.load64(block, offset);
            Promise::StoreWhole.holds(seen == wanted, || loaded(block, offset, seen, wanted))?;
        }
    }
    // A store of either width beside two others.
    if block.size() >= 24 {
        for (narrow, wanted) in [(false, 0), (true, 0xffff_ffff << 32)] {
            for offset in [0, 8, 16] {
                memory.store64(block, offset, u64::MAX);
            }
            if narrow {
                memory.store32(block, 8, 0)
            } else {
                memory.store64(block, 8, 0)
            }
            for (offset, wanted) in [(0, u64::MAX), (8, wanted), (16, u64::MAX)] {
                let seen = memory.load64(block, offset);
                Promise::StoreWhole.holds(seen == wanted, || loaded(block, offset, seen, wanted))?;
            }
        }
    }
    Ok(())
}

/// Accesses that are the caller's mistake.
fn outside<M: TableMemory + ?Sized>(memory: &M, block: &M::Block) -> Result<(), Broken> {
    let size = block.size();
    words(block).for_each(|offset| memory.store64(block, offset, mix(0, offset)));
    let unchanged = |promise: Promise, access: &str, at: u64| {
        words(block).try_for_each(|offset| {
            let seen = memory.load64(block, offset);
            promise.holds(seen == mix(0, offset), || {
                format!("{access} at offset {at:#x}: {}", loaded(block, offset, seen, mix(0, offset)))
            })
        })
    };
    let end4 = size & !3;
    let end8 = size & !7;
    let outside = Promise::OutsideIgnored;
    for at in [end4, end4 + 4, !3] {
        let seen = memory.load32(block, at).into();
        outside.holds(seen == 0, || loaded(block, at, seen, 0))?;
        memory.store32(block, at, 0xffff_fff1);
        unchanged(outside, "a store of 32 bits", at)?;
        let seen = memory.load32(block, at).into();
        outside.holds(seen == 0, || loaded(block, at, seen, 0))?;
    }
    for at in [end8, end8 + 8, !7] {
        memory.store64(block, at, 0xffff_fff1);
        unchanged(outside, "a store of 64 bits", at)?;
        let seen = memory.load64(block, at);
        outside.holds(seen == 0, || loaded(block, at, seen, 0))?;
    }
    let unaligned = Promise::UnalignedIgnored;
    for at in [1, 2, 3, 6] {
        memory.store32(block, at, 0xffff_fff1);
        unchanged(unaligned, "a store of 32 bits", at)?;
        let seen = memory.load32(block, at).into();
        unaligned.holds(seen == 0, || loaded(block, at, seen, 0))?;
    }
    for at in [1, 2, 4, 7] {
        memory.store64(block, at, 0xffff_fff1);
        unchanged(unaligned, "a store of 64 bits", at)?;
        let seen = memory.load64(block, at);
        unaligned.holds(seen == 0, || loaded(block, at, seen, 0))?;
    }
    Ok(())
}

/// Publishes, and then does what a driver may do to what it has published.
fn maintenance<M: TableMemory + ?Sized>(memory: &M, block: &M::Block, irs_count: u16) -> Result<(), Broken> {
    let bytes = 0..block.size();
    for (irs, n) in (0..irs_count).map(IrsIndex).zip(1..) {
        words(block).for_each(|offset| memory.store64(block, offset, mix(n, offset)));
        memory.publish(irs, block, bytes.clone());
        memory.prepare(irs, block, bytes.clone());
        memory.acquire(irs, block, bytes.clone());
        // What is not dirty loses nothing, whatever the IRS sees of the caches.
        memory.clean_invalidate(block, bytes.clone());
        memory.barrier();
        memory.invalidate(block, bytes.clone());
        memory.barrier();
        memory.load_barrier();
        for offset in words(block) {
            let (seen, wanted) = (memory.load64(block, offset), mix(n, offset));
            Promise::MaintenanceKeeps.holds(seen == wanted, || loaded(block, offset, seen, wanted))?;
        }
    }
    Ok(())
}

/// Fills memory, gives it back, and takes it again.
fn zero_again<M: TableMemory + ?Sized>(memory: &M) -> Result<(), Broken> {
    for shape in SHAPES {
        let layout = layout(shape, PhysAddr::highest(ADDRESS_BITS))?;
        for _ in 0..3 {
            let mut held = Held { memory, blocks: Vec::new() };
            held.take(layout)?;
            held.are_zero(Promise::BlockZeroAgain)?;
            for block in &held.blocks {
                words(block).for_each(|offset| memory.store64(block, offset, u64::MAX));
                (0..block.size() / 4).for_each(|n| memory.store32(block, n * 4, u32::MAX));
            }
        }
    }
    Ok(())
}

/// Gives a block back, and asks for one that must end before it.
fn highest<M: TableMemory + ?Sized>(memory: &M) -> Result<(), Broken> {
    for shape in SHAPES {
        let mut held = Held { memory, blocks: Vec::new() };
        held.take(layout(shape, PhysAddr::highest(ADDRESS_BITS))?)?;
        let end = held.blocks.iter().map(|block| range(block).end).max().unwrap_or(0);
        drop(held);
        let below = PhysAddr::new(end.saturating_sub(2)).ok();
        let Some(Ok(layout)) = below.map(|highest| BlockLayout::new(shape.0, shape.1, highest)) else { continue };
        if let Ok(block) = memory.allocate(layout) {
            let fits = fits(&block, layout);
            memory.free(block);
            fits?;
        }
    }
    Ok(())
}

fn impossible<M: TableMemory + ?Sized>(memory: &M) -> Result<(), Broken> {
    for size in [IMPOSSIBLE, IMPOSSIBLE + 4096] {
        let layout = layout((size, 4096), PhysAddr::highest(ADDRESS_BITS))?;
        match memory.allocate(layout) {
            Ok(block) => {
                memory.free(block);
                Promise::BlockImpossible.holds(false, || format!("there was one of {size:#x} bytes"))?;
            }
            Err(error) => Promise::BlockError
                .holds(error.layout == layout, || format!("it names {:?} instead of {layout:?}", error.layout))?,
        }
    }
    Ok(())
}

/// Takes many blocks, gives them back, and takes as many again.
fn freed<M: TableMemory + ?Sized>(memory: &M) -> Result<(), Broken> {
    let layout = layout((4096, 4096), PhysAddr::highest(ADDRESS_BITS))?;
    let mut first = None;
    for round in 0..ROUNDS {
        let mut held = Held { memory, blocks: Vec::new() };
        held.blocks.extend(core::iter::from_fn(|| memory.allocate(layout).ok()).take(MANY));
        held.are_alone()?;
        let count = held.blocks.len();
        let wanted = *first.get_or_insert(count);
        Promise::BlockFreed.holds(count >= wanted, || {
            format!("of {wanted} pages there are {count} left after they were given back {round} times")
        })?;
    }
    Ok(())
}
