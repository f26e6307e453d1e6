//! Any bytes, as a trace and as a compressed trace: the reader ends with an event, an error that names a line, or the end.
#![no_main]

use gicv5_trace::{Foreign, TraceReader, ZstdReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for foreign in [Foreign::Refuse, Foreign::Skip] {
        read(TraceReader::new(data, foreign));
        read(TraceReader::new(std::io::BufReader::new(ZstdReader::new(data)), foreign));
    }
});

fn read<R: std::io::BufRead>(mut reader: TraceReader<R>) {
    while let Ok(Some(line)) = reader.next_line() {
        // What was read can be printed.
        let _ = line.event.to_string();
    }
}
