//! Counts the events of a trace by kind, and says how fast the reader was.
//!
//! `cargo run --release -p gicv5-trace --example count -- TRACE [TIMES]`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use gicv5_trace::{Foreign, TraceReader, ZstdReader, open};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path: PathBuf = arguments.next().ok_or("usage: count TRACE [TIMES]")?.into();
    let times: u32 = match arguments.next() {
        Some(text) => text.to_string_lossy().parse()?,
        None => 1,
    };
    let mut out = std::io::stdout().lock();

    let mut counts = BTreeMap::new();
    for line in open(&path, Foreign::Refuse)? {
        *counts.entry(line?.event.name()).or_insert(0_u64) += 1;
    }
    for (name, count) in counts {
        writeln!(out, "{count:>9} {name}")?;
    }

    // From memory and uncompressed: what the parser alone costs.
    let file = std::fs::read(&path)?;
    let mut text = Vec::new();
    if path.extension().is_some_and(|e| e == "zst") {
        ZstdReader::new(file.as_slice()).read_to_end(&mut text)?;
    } else {
        text = file;
    }
    let mut lines = 0_u64;
    let start = Instant::now();
    for _ in 0..times {
        for line in TraceReader::new(text.as_slice(), Foreign::Refuse) {
            std::hint::black_box(line?);
            lines += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        out,
        "{lines} lines in {seconds:.3} s: {:.1} million lines per second from memory",
        lines as f64 / seconds / 1e6
    )?;

    let mut lines = 0_u64;
    let start = Instant::now();
    for _ in 0..times {
        for line in open(&path, Foreign::Refuse)? {
            std::hint::black_box(line?);
            lines += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        out,
        "{lines} lines in {seconds:.3} s: {:.1} million lines per second from the file",
        lines as f64 / seconds / 1e6
    )?;
    Ok(())
}
