//! Runs the transcripts in `tests/cmd`.

#[test]
fn the_transcripts_show_what_the_program_prints() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
