//! Any bytes, as a trace, as a compressed trace and as the files of a recording by thread: the reader ends with an event, an error that names a line, or the end.
#![no_main]

use gicv5_trace::{Foreign, Recording, TraceReader, ZstdReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for foreign in [Foreign::Refuse, Foreign::Skip] {
        read(TraceReader::new(data, foreign));
        read(TraceReader::new(std::io::BufReader::new(ZstdReader::new(data)), foreign));
    }
    let files = data.split(|byte| *byte == 0).map(|part| {
        let input = Box::new(std::io::Cursor::new(part.to_vec())) as Box<dyn std::io::BufRead>;
        (String::new(), TraceReader::new(input, Foreign::Refuse))
    });
    let mut recording = Recording::new(files);
    while let Ok(Some(file)) = recording.earliest() {
        assert!(recording.pop(file).is_some());
    }
});

fn read<R: std::io::BufRead>(mut reader: TraceReader<R>) {
    while let Ok(Some(line)) = reader.next_line() {
        // What was read can be printed.
        let _ = line.event.to_string();
    }
}
