//! Recordings of several files: time stamps and the order that they make.
// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Cursor};

use gicv5_trace::{Foreign, Recording, RecordingError, TraceReader};

/// A line of a file, at a time of a minute.
fn line(time: &str, spi: u32) -> String {
    format!("2026-11-30T03:12:{time}Z gicv5_spi GICv5 SPI ID {spi} asserted at level 1\n")
}

fn recording(files: &[String]) -> Recording {
    Recording::new(files.iter().enumerate().map(|(n, text)| {
        let input = Box::new(Cursor::new(text.clone().into_bytes())) as Box<dyn BufRead>;
        (format!("t.{n}"), TraceReader::new(input, Foreign::Refuse))
    }))
}

/// The files and numbers of the lines in their order.
fn order(files: &[String]) -> Result<Vec<(u16, u64)>, RecordingError> {
    let mut recording = recording(files);
    let mut order = Vec::new();
    while let Some(file) = recording.earliest()? {
        let line = recording.pop(file).unwrap();
        order.push((line.file, line.number));
    }
    Ok(order)
}

fn refused_at(files: &[String]) -> (String, u64) {
    let error = order(files).unwrap_err();
    let RecordingError::Trace { file, source } = &error else { unreachable!("{error:?}") };
    (file.clone(), source.line())
}

#[test]
fn lines_of_several_files_come_in_the_order_of_their_times() {
    let one = [line("18.999999", 1), line("19.000001", 2)].concat();
    let other = [line("18.000000", 3), line("19", 4), line("20", 5)].concat();
    assert_eq!(order(&[one, other]).unwrap(), [(1, 1), (0, 1), (1, 2), (0, 2), (1, 3)]);
}

#[test]
fn a_file_keeps_its_own_order_whatever_its_times_say() {
    let one = [line("10", 1), line("11", 2), line("10.500000", 3), line("12", 4)].concat();
    let other = [line("10.700000", 5), line("11.500000", 6)].concat();
    assert_eq!(order(&[one, other]).unwrap(), [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2), (0, 4)]);
}

#[test]
fn after_a_clock_is_set_back_every_file_goes_on_where_it_was() {
    let times = ["10.000000", "10.900000", "10.200000", "10.400000", "10.800000"];
    let one: String = times.iter().map(|time| line(time, 1)).collect();
    let times = ["10.100000", "10.800000", "10.300000", "10.500000"];
    let other: String = times.iter().map(|time| line(time, 1)).collect();
    let order = order(&[one, other]).unwrap();
    assert_eq!(order, [(0, 1), (1, 1), (1, 2), (0, 2), (0, 3), (1, 3), (0, 4), (1, 4), (0, 5)]);
}

#[test]
fn a_time_that_goes_back_by_more_than_a_second_is_refused() {
    let one = [line("10", 1), line("8.999999", 2)].concat();
    assert_eq!(refused_at(&[one.clone(), line("10", 3)]), ("t.0".to_owned(), 2));
    assert_eq!(refused_at(&[one]), ("t.0".to_owned(), 2));
}

#[test]
fn a_line_without_a_time_is_refused_among_several_files_and_read_alone() {
    let bare = "gicv5_spi GICv5 SPI ID 1 asserted at level 1\n".to_owned();
    assert_eq!(refused_at(&[[line("10", 1), bare.clone()].concat(), line("11", 2)]), ("t.0".to_owned(), 2));
    assert_eq!(order(&[bare]).unwrap(), [(0, 1)]);
}

#[test]
fn what_only_looks_like_a_time_is_refused_with_its_line() {
    for time in ["60x", "1", "1.5", "99", "10.1234567", "18.999999Z "] {
        assert_eq!(refused_at(&[line(time, 1)]).1, 1, "{time}");
    }
    let month = line("10", 1).replace("-11-", "-13-");
    assert_eq!(refused_at(&[month]).1, 1);
}
