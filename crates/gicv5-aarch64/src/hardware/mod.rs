//! What needs assembly.

mod cache;
mod counter;
#[allow(dead_code, unreachable_pub)]
#[path = "../example.rs"]
mod example;
mod locks;
mod masks;
mod mmio;
mod pe;
mod platform;
mod table_ram;

pub use cache::Caches;
pub use counter::{Counter, Pause, now, relax, stream_events, wait_for_event};
pub use locks::{SpinLock, SpinLocks};
pub use masks::{has_nmi, masked};
pub use pe::{ThisPe, exception_level, has_gicv5};
pub use platform::Hardware;
pub use table_ram::{RamBlock, TableRam};
