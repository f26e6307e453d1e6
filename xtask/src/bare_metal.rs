//! Builds the libraries that firmware embeds for an AArch64 without an operating system.
//!
//! Compiling them for the host proves little: `#![no_std]` there still finds `std` in a dependency without a word. On a
//! target that has none, the first such dependency ends the build.
//!
//! A rustup toolchain with the target installed is used as it is. Elsewhere `core` and `alloc` are built from source,
//! which takes a compiler and the library source of the same version, both from the distribution: that is how a machine
//! gets by that cannot download a rustup component.

use crate::{bare_metal_panics, workspace};
use anyhow::{Result, bail, ensure};
use std::path::{Path, PathBuf};
use xshell::{Cmd, Shell, cmd};

/// The packages that must build without an operating system.
const PACKAGES: &[&str] = &[
    "gicv5-aarch64",
    "gicv5-arch",
    "gicv5-conformance",
    "gicv5-conformance-drivers",
    "gicv5-guest",
    "gicv5-hal",
    "gicv5-hal-check",
    "gicv5-hyp",
    "gicv5-irs",
    "gicv5-phys",
];

/// The image of the conformance suite.
pub(crate) const CONFORMANCE: &str = "conformance";

/// The image of both drivers, which is looked at and not run.
const DRIVERS: &str = "drivers";

/// The package most of which exists on this target alone.
const HARDWARE: &str = "gicv5-aarch64";

/// EL2 code that leaves the floating-point registers alone.
const TARGET: &str = "aarch64-unknown-none-softfloat";

/// A compiler that brings its library source along, as Debian packages it.
const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";

/// What links for the target where the compiler brings no linker along.
const DISTRIBUTION_LINKER: &str = "aarch64-linux-gnu-ld";

/// The writer of documentation that belongs to that compiler.
const DISTRIBUTION_RUSTDOC: &str = "/usr/bin/rustdoc";

/// The linter that belongs to that compiler: another one's reads no `core` of this one.
const DISTRIBUTION_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// The manifest of the images, which are a workspace of their own.
const IMAGE: &str = "platform/bare-metal/Cargo.toml";

/// Build the no_std libraries for bare-metal AArch64; with --lint, check the form and lint the code of the images instead; with
/// --panics, list the panics in an image of both drivers
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bare-metal
  cargo xtask bare-metal --lint
  cargo xtask bare-metal --panics")]
pub(crate) struct Args {
    /// Check the form of platform/bare-metal, which nothing on the host can compile, and lint it and gicv5-aarch64
    #[arg(long, conflicts_with = "panics")]
    lint: bool,
    /// Link an image of both drivers, list the panics in it with their callers and reasons, and print the sizes of its sections
    #[arg(long)]
    panics: bool,
}

/// Where `core` for the target comes from.
enum Core {
    /// The toolchain has it.
    Installed,
    /// It is built from this compiler's library source.
    FromSource(PathBuf),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let core = find_core(&shell)?;
    if args.lint {
        return lint(&shell, &core);
    }
    if args.panics {
        return bare_metal_panics::check(&workspace::root()?, &build_image(&shell, DRIVERS)?);
    }
    let build = build_command(&shell, &core, "build");
    build.args(PACKAGES.iter().flat_map(|package| ["--package", package])).run()?;
    println!("bare metal: {} build for {TARGET}", PACKAGES.join(", "));
    Ok(())
}

fn lint(shell: &Shell, core: &Core) -> Result<()> {
    workspace::cargo(shell).args(["fmt", "--manifest-path", IMAGE, "--check"]).run()?;
    if let Core::FromSource(_) = core {
        ensure!(
            Path::new(DISTRIBUTION_CLIPPY).is_file(),
            "{DISTRIBUTION_CLIPPY} is missing; on Debian: apt-get install rust-web-clippy"
        );
    }
    build_command(shell, core, "clippy").args(["--manifest-path", IMAGE, "--", "--deny", "warnings"]).run()?;
    build_command(shell, core, "clippy").args(["--package", HARDWARE, "--", "--deny", "warnings"]).run()?;
    let doc = build_command(shell, core, "doc").env("RUSTDOCFLAGS", "-Dwarnings");
    doc.args(["--no-deps", "--package", HARDWARE]).run()?;
    println!("bare metal: the images' code and that of {HARDWARE} is clean");
    Ok(())
}

/// Builds an image, and returns the executable.
pub(crate) fn build_image(shell: &Shell, name: &str) -> Result<PathBuf> {
    let core = find_core(shell)?;
    let mut build = build_command(shell, &core, "build").args(["--release", "--manifest-path", IMAGE, "--bin", name]);
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
    Ok(workspace::root()?.join("target/bare-metal").join(TARGET).join("release").join(name))
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

/// A command of cargo for the target.
fn build_command<'a>(shell: &'a Shell, core: &Core, command: &str) -> Cmd<'a> {
    let cargo = workspace::cargo(shell);
    let cargo = match core {
        // rustup's cargo would find rustup's linter. This one asks for cargo by the variable.
        Core::FromSource(_) if command == "clippy" => {
            let clippy = shell.cmd(DISTRIBUTION_CLIPPY);
            match std::env::var_os("CARGO") {
                Some(cargo) => clippy.env("CARGO", cargo),
                None => clippy,
            }
        }
        _ => cargo,
    };
    // A target folder of its own: another compiler version must not evict what the other steps built.
    let build = cargo.args([command, "--locked", "--target", TARGET]).args(["--target-dir", "target/bare-metal"]);
    match core {
        Core::Installed => build,
        // Building the standard library is unstable; the first variable lets a released compiler do it. The second keeps
        // warnings about the distribution's library to itself, which nobody here can act on.
        Core::FromSource(rustc) => build
            .env("RUSTC", rustc)
            .env("RUSTDOC", DISTRIBUTION_RUSTDOC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_FUTURE_INCOMPAT_REPORT_FREQUENCY", "never")
            .arg("-Zbuild-std=core,alloc"),
    }
}
