//! What the machine finds first: the page table, the header of the image, and the device tree.

use core::ops::Range;

use aarch64_rt::{DEFAULT_MAIR, InitialPagetable, initial_pagetable};
use dtoolkit::fdt::Fdt;

/// Device-nGnRE, accessed, not executable at any level.
const DEVICE: usize = 1 | 1 << 10 | 1 << 53 | 1 << 54;

/// Normal memory: attribute 1 (write-back), inner shareable, accessed.
const NORMAL: usize = 1 | 1 << 2 | 3 << 8 | 1 << 10;

pub(crate) const GIB: usize = 1 << 30;

/// Where the memory ends that is mapped.
pub(crate) const MAPPED: u64 = 8 * GIB as u64;

// The first GiB is device memory, the next seven are RAM, one to one: what QEMU's virt machine has. Memory above 8 GiB is not
// used.
initial_pagetable!(
    {
        let mut map = [0; 512];
        let mut rest: &mut [usize] = &mut map;
        let mut n = 0;
        while let [entry, others @ ..] = rest {
            *entry = match n {
                0 => DEVICE,
                1..8 => NORMAL | (n * GIB),
                _ => 0,
            };
            rest = others;
            n += 1;
        }
        InitialPagetable(map)
    },
    DEFAULT_MAIR
);

// The header of a Linux kernel image, by which boot loaders know where to put it.
core::arch::global_asm!(
    ".section .head, \"ax\"",
    "b entry",
    ".long 0",
    // Offset from a 2 MiB boundary, size, and flags: little-endian, 4 KiB pages, and close to the start of RAM, because the image
    // is linked at one address.
    ".quad 0",
    ".quad image_size",
    ".quad 0x2",
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
);

unsafe extern "C" {
    pub(crate) static image_begin: u8;
    pub(crate) static image_end: u8;
}

/// The device tree at an address, and where it lies.
pub(crate) fn device_tree(address: u64) -> (Option<Fdt<'static>>, Range<u64>) {
    const MAGIC: u32 = 0xd00d_feed;
    // At most 2 MiB, as the boot protocol says, in RAM that is mapped.
    if address < GIB as u64 || address >= MAPPED || !address.is_multiple_of(8) {
        return (None, 0..0);
    }
    let word = |n: usize| {
        // SAFETY: RAM that is mapped; nothing writes to it.
        u32::from_be(unsafe { core::ptr::read_volatile((address as *const u32).wrapping_add(n)) })
    };
    let size = word(1).min(2 << 20);
    if word(0) != MAGIC {
        return (None, 0..0);
    }
    // SAFETY: as above; the tree stays as it is, and the memory is taken out of what is given away.
    let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, size as usize) };
    (Fdt::new(bytes).ok(), address..address + u64::from(size))
}

/// The affinity fields of MPIDR_EL1, as device tree and PSCI write them.
pub(crate) fn affinity() -> u64 {
    let mpidr: u64;
    // SAFETY: a read without an effect.
    unsafe { core::arch::asm!("mrs {mpidr}, mpidr_el1", mpidr = out(reg) mpidr, options(nomem, nostack)) }
    mpidr & 0x0000_00ff_00ff_ffff
}
