//! `cargo xtask fuzz`: the fuzz targets, which are a workspace of their own (`fuzz/README.md`).

use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::num::NonZeroU32;
use xshell::cmd;

/// Check that the fuzz targets compile, or run each of them for a while
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run each target for this long instead; needs cargo-fuzz and a C++ compiler
    #[arg(long)]
    seconds: Option<NonZeroU32>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let Some(seconds) = args.seconds else {
        // A check links nothing, so it needs no fuzzer: naming one, wherever it may be, keeps its C++ from being built.
        return Ok(workspace::cargo(&shell)
            .args(["check", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"])
            .env("CUSTOM_LIBFUZZER_PATH", "/not-linked/libfuzzer.a")
            .run()?);
    };
    let installed = cmd!(shell, "cargo-fuzz --version").quiet().ignore_stdout().ignore_stderr().run().is_ok();
    ensure!(installed, "cargo-fuzz is not installed; `cargo install cargo-fuzz` brings it");
    let targets = shell.read_dir("fuzz/fuzz_targets").context("fuzz/fuzz_targets")?;
    ensure!(!targets.is_empty(), "fuzz/fuzz_targets is empty");
    for target in targets {
        let name = target.file_stem().and_then(|name| name.to_str()).context("a target without a name")?;
        // A stable compiler takes the sanitizer's options if it is told to behave like a nightly one.
        // What it finds goes to its corpus; the seeds are only read.
        let corpus = format!("fuzz/corpus/{name}");
        shell.create_dir(&corpus)?;
        if name == "device_tree" {
            shell.copy_file("traces/qemu-virt-gicv5-4cpu.dtb", &corpus)?;
        }
        workspace::cargo(&shell)
            .args(["fuzz", "run", name, corpus.as_str()])
            .args(seeds(name))
            .args(["--", &format!("-max_total_time={seconds}")])
            .env("RUSTC_BOOTSTRAP", "1")
            .run()
            .with_context(|| format!("the fuzz target {name}"))?;
    }
    Ok(())
}

/// Folders of files to begin with.
fn seeds(target: &str) -> &'static [&'static str] {
    match target {
        "scenario_reader" => &["scenarios", "scenarios/wrong"],
        _ => &[],
    }
}
