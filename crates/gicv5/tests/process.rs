//! The program as a process: what cannot be shown in a transcript.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Output, Stdio};

fn gicv5() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gicv5"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("CLICOLOR");
    command
}

fn one_line_error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.len() < 300, "{text}");
    text
}

#[test]
fn an_argument_that_is_not_utf_8_is_refused() {
    let bad = OsString::from_vec(vec![b'I', 0xff, b'R']);
    for args in [vec![bad.clone()], vec!["decode".into(), bad.clone()], vec!["explain".into(), "VMT-1".into(), bad]] {
        let text = one_line_error(&gicv5().args(&args).output().unwrap());
        assert!(text.starts_with(&format!("error: argument {} is not UTF-8", args.len())), "{text}");
    }
}

#[test]
fn an_argument_of_100_kilobytes_is_refused_in_one_short_line() {
    let long = "9".repeat(100_000);
    one_line_error(&gicv5().args(["decode", &long, "1"]).output().unwrap());
    one_line_error(&gicv5().args(["decode", "IRS_IDR0", &long]).output().unwrap());
    one_line_error(&gicv5().args(["explain", &long]).output().unwrap());
    one_line_error(&gicv5().arg(&long).output().unwrap());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for args in [["explain", "--list"], ["decode", "--list"]] {
        let mut child = gicv5().args(args).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut first = [0; 1];
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_reported() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = gicv5().args(["decode", "--list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: cannot write the output: "), "{text}");
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let decode = ["decode", "IRS_IDR3", "0x60b"];
    let escape = |output: Output| output.stdout.contains(&0x1b);
    assert!(!escape(gicv5().args(decode).output().unwrap()));
    assert!(escape(gicv5().args(decode).env("CLICOLOR_FORCE", "1").output().unwrap()));
    assert!(!escape(gicv5().args(decode).env("NO_COLOR", "1").output().unwrap()));
    assert!(!escape(gicv5().args(decode).arg("--json").env("CLICOLOR_FORCE", "1").output().unwrap()));
}
