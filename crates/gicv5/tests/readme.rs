//! README.md shows what the program prints.

const README: &str = include_str!("../../../README.md");

#[test]
fn transcripts_in_the_readme_are_what_the_program_prints() {
    trycmd::TestCases::new().register_bin("gicv5", trycmd::cargo::cargo_bin!("gicv5")).case("../../README.md");
}

#[test]
fn the_readme_shows_what_its_first_command_prints() {
    let (_, commands) = README.split_once("```sh\n").expect("README.md has a block of commands");
    let main_job = commands.lines().next().expect("the block has a line");
    let arguments = main_job.strip_prefix("cargo run --release -- ").expect("the first command runs the program");
    assert!(README.contains(&format!("```console\n$ gicv5 {arguments}\n")), "no transcript of `{main_job}`");
}
