//! Any bytes, as a device tree: it has between 1 and 256 PEs, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match gicv5::check_device_tree(data) {
        Ok(pes) => assert!((1..=256).contains(&pes), "{pes}"),
        Err(why) => assert!(!why.is_empty()),
    }
});
