//! README.md shows what the program prints.

use std::process::Command;

const README: &str = include_str!("../../../README.md");

/// The transcripts: a command line, and what it prints.
fn transcripts() -> impl Iterator<Item = (&'static str, &'static str)> {
    README.split("```console\n$ ").skip(1).filter_map(|rest| rest.split_once("\n```")?.0.split_once('\n'))
}

#[test]
fn transcripts_in_the_readme_are_what_the_program_prints() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut shown = 0;
    for (line, printed) in transcripts() {
        let args = line.strip_prefix("gicv5 ").expect("a transcript runs the program").split(' ');
        let output = Command::new(env!("CARGO_BIN_EXE_gicv5")).args(args).current_dir(root).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.trim_end_matches('\n'), printed.trim_end_matches('\n'), "{line}");
        shown += 1;
    }
    assert!(shown >= 3, "{shown}");
}

#[test]
fn the_readme_shows_what_its_first_command_prints() {
    let (_, commands) = README.split_once("```sh\n").expect("README.md has a block of commands");
    let main_job = commands.lines().next().expect("the block has a line");
    let arguments = main_job.strip_prefix("cargo run --release -- ").expect("the first command runs the program");
    assert!(README.contains(&format!("```console\n$ gicv5 {arguments}\n")), "no transcript of `{main_job}`");
}
