//! Any text, as a scenario, with and without a device tree: it is taken, or refused with the line underlined.
#![no_main]

use libfuzzer_sys::fuzz_target;

const TREE: &[u8] = include_bytes!("../../traces/qemu-virt-gicv5-4cpu.dtb");

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for tree in [None, Some(TREE)] {
        if let Err(report) = gicv5::check_scenario(text, tree) {
            assert!(report.contains("help"), "{report}");
        }
    }
});
