//! `cargo xtask loom`: the lock-free parts of the libraries, under every interleaving within the bounds that the tests name.
//!
//! The tests of this kind live beside the code they explore, in modules named `exhaustive`. They are compiled with
//! `--cfg loom`, which changes every crate of the build, so that it has a target folder of its own.

use crate::workspace;
use anyhow::{Context, Result, ensure};

/// The packages with such tests.
const PACKAGES: &[&str] = &["gicv5-guest", "gicv5-hyp", "gicv5-phys"];

/// Run the tests that explore how the lock-free code may interleave
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the tests whose path contains this
    #[arg(default_value = "exhaustive")]
    filter: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let filter = &args.filter;
    for package in PACKAGES {
        let output = workspace::cargo(&shell)
            .args([
                "test",
                "--release",
                "--locked",
                "--lib",
                "--target-dir",
                "target/loom",
                "--package",
                package,
                filter,
            ])
            .env("RUSTFLAGS", "--cfg loom")
            .read()
            .with_context(|| format!("the loom tests of {package}"))?;
        println!("{output}");
        // A filter that selects nothing would pass.
        let ran = output.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
        ensure!(ran > 0, "no test of {package} has a name with {filter:?}");
        println!("loom: {ran} tests of {package} hold under every interleaving they explore");
    }
    Ok(())
}
