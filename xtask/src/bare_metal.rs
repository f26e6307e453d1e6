//! Builds the libraries that firmware embeds for an AArch64 without an operating system.
//!
//! Compiling them for the host proves little: `#![no_std]` there still finds `std` in a dependency without a word. On a
//! target that has none, the first such dependency ends the build.
//!
//! A rustup toolchain with the target installed is used as it is. Elsewhere `core` and `alloc` are built from source,
//! which takes a compiler and the library source of the same version, both from the distribution: that is how a machine
//! gets by that cannot download a rustup component.

use crate::workspace;
use anyhow::{Result, bail, ensure};
use std::path::{Path, PathBuf};
use xshell::{Cmd, Shell, cmd};

/// The packages that must build without an operating system.
const PACKAGES: &[&str] = &["gicv5-arch", "gicv5-conformance", "gicv5-hal", "gicv5-hyp", "gicv5-phys"];

/// EL2 code that leaves the floating-point registers alone.
const TARGET: &str = "aarch64-unknown-none-softfloat";

/// A compiler that brings its library source along, as Debian packages it.
const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";

/// What links for the target where the compiler brings no linker along.
const DISTRIBUTION_LINKER: &str = "aarch64-linux-gnu-ld";

/// Build the no_std libraries for bare-metal AArch64
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Where `core` for the target comes from.
enum Core {
    /// The toolchain has it.
    Installed,
    /// It is built from this compiler's library source.
    FromSource(PathBuf),
}

pub(crate) fn run(Args {}: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let build = build_command(&shell, &find_core(&shell)?);
    build.args(PACKAGES.iter().flat_map(|package| ["--package", package])).run()?;
    println!("bare metal: {} build for {TARGET}", PACKAGES.join(", "));
    Ok(())
}

/// Builds the conformance image, a workspace of its own, and returns the executable.
pub(crate) fn build_image(shell: &Shell) -> Result<PathBuf> {
    let core = find_core(shell)?;
    let mut build =
        build_command(shell, &core).args(["--release", "--manifest-path", "platform/bare-metal/Cargo.toml"]);
    if let Core::FromSource(_) = core {
        // The distribution's compiler has no linker of its own for this target.
        ensure!(
            cmd!(shell, "{DISTRIBUTION_LINKER} --version").quiet().ignore_stdout().run().is_ok(),
            "{DISTRIBUTION_LINKER} is missing; on Debian: apt-get install binutils-aarch64-linux-gnu"
        );
        let target = TARGET.to_uppercase().replace('-', "_");
        let flags = format!("-Clinker={DISTRIBUTION_LINKER} -Clinker-flavor=ld");
        build = build.env(format!("CARGO_TARGET_{target}_RUSTFLAGS"), flags);
    }
    build.run()?;
    Ok(workspace::root()?.join("target/bare-metal").join(TARGET).join("release/conformance"))
}

fn find_core(shell: &Shell) -> Result<Core> {
    let libdir = cmd!(shell, "rustc --print target-libdir --target {TARGET}").quiet().read()?;
    if Path::new(&libdir).is_dir() {
        return Ok(Core::Installed);
    }
    if Path::new(DISTRIBUTION_RUSTC).is_file() {
        let sysroot = cmd!(shell, "{DISTRIBUTION_RUSTC} --print sysroot").quiet().read()?;
        let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
        ensure!(
            source.join("core/src/lib.rs").is_file(),
            "{DISTRIBUTION_RUSTC} has no library source in {}; on Debian: apt-get install rust-web-src",
            source.display()
        );
        return Ok(Core::FromSource(DISTRIBUTION_RUSTC.into()));
    }
    bail!(
        "no core library for {TARGET}; install it with `rustup target add {TARGET}`, \
         or on Debian with `apt-get install rustc-web rust-web-src`"
    );
}

fn build_command<'a>(shell: &'a Shell, core: &Core) -> Cmd<'a> {
    // A target folder of its own: another compiler version must not evict what the other steps built.
    let build = workspace::cargo(shell)
        .args(["build", "--locked", "--target", TARGET])
        .args(["--target-dir", "target/bare-metal"]);
    match core {
        Core::Installed => build,
        // Building the standard library is unstable; the first variable lets a released compiler do it. The second keeps
        // warnings about the distribution's library to itself, which nobody here can act on.
        Core::FromSource(rustc) => build
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_FUTURE_INCOMPAT_REPORT_FREQUENCY", "never")
            .arg("-Zbuild-std=core,alloc"),
    }
}
