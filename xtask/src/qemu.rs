//! Finding a QEMU with a GICv5, or installing one. The chores that use it find it in the same way.
//!
//! Few distributions ship QEMU 11.1 yet. What is installed is a minimal Debian sid by `debootstrap`, with `qemu-system-arm` in
//! it, about 520 MB. The mirror is the one that this machine's own apt uses, or `$GICV5_DEBIAN_MIRROR`.

use std::fs::{self, File};
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use gicv5_qtest::installation::{Environment, Installation, NoQemu, PROGRAM_IN_ROOT};

/// Say which QEMU with a GICv5 there is; with --install, install one if there is none
///
/// QEMU is $GICV5_QEMU, or the one on PATH if it is 11.1 or newer, or the one in the Debian root $GICV5_QEMU_ROOT (by
/// default gicv5/qemu in the user's cache directory), which is what is installed. That needs root, for chroot, and
/// debootstrap.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask qemu
  cargo xtask qemu --install")]
pub(crate) struct Args {
    /// Install QEMU if there is none (520 MB, a minute or two)
    #[arg(long)]
    install: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let installation = find(args.install)?;
    println!("QEMU {}: {:?}", installation.version(), installation.command());
    Ok(())
}

/// Says what is about to be done, on a terminal.
pub(crate) fn say(step: &str) {
    if stderr().is_terminal() {
        let _ = writeln!(stderr(), "{step}");
    }
}

/// Finds QEMU, and with `install` installs it if there is none. One that is named and does not do is an error all the same.
pub(crate) fn find(install: bool) -> Result<Installation> {
    let environment = Environment::from_process();
    match Installation::find(&environment) {
        Err(NoQemu::NotFound { .. }) if install => {
            install_in(&environment.root()?)?;
            Ok(Installation::find(&environment)?)
        }
        found => Ok(found?),
    }
}

/// Installs QEMU in this root unless it is there. An installation that was cut short leaves only a directory whose name ends in
/// `.partial`, which the next one replaces.
fn install_in(root: &Path) -> Result<()> {
    fs::create_dir_all(root.parent().context("a root without a parent")?)?;
    // Two processes that find nothing must not install into one place at a time.
    let lock = File::create(root.with_added_extension("lock"))?;
    lock.lock()?;
    if !root.join(PROGRAM_IN_ROOT).is_file() {
        let shown = root.display();
        ensure!(!root.exists(), "{shown} exists but has no QEMU: remove it or choose another GICV5_QEMU_ROOT");
        let mirror = match std::env::var("GICV5_DEBIAN_MIRROR").ok().filter(|mirror| !mirror.is_empty()) {
            Some(mirror) => mirror,
            None => mirror_of_this_machine()?,
        };
        let (partial, log) = (root.with_added_extension("partial"), root.with_added_extension("log"));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        say(&format!("installing a minimal Debian sid in {shown}"));
        let mut command = Command::new("debootstrap");
        step(command.args(["--variant=minbase", "sid"]).arg(&partial).arg(&mirror), &log)?;
        say("installing qemu-system-arm there");
        let mut command = Command::new("chroot");
        command.arg(&partial).args(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "qemu-system-arm"]);
        step(command.env("DEBIAN_FRONTEND", "noninteractive"), &log)?;
        fs::rename(&partial, root)?;
    }
    Ok(fs::create_dir_all(root.join("files"))?)
}

/// Runs one program of the installation with its output in the log.
fn step(command: &mut Command, log: &Path) -> Result<()> {
    let name = command.get_program().to_owned();
    let file = File::options().create(true).append(true).open(log)?;
    let status = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status();
    let status = status.with_context(|| format!("{name:?} could not be run: install the package of that name"))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n");
        bail!("{name:?} failed ({status}); the end of {}:\n{tail}", log.display());
    }
    Ok(())
}

/// The Debian mirror that this machine's apt uses.
fn mirror_of_this_machine() -> Result<String> {
    let listed = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut files: Vec<_> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.push("/etc/apt/sources.list".into());
    let mirror = files.iter().filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| debian_mirror(&text));
    mirror.context("no Debian mirror in /etc/apt: set GICV5_DEBIAN_MIRROR to the URL of one (it ends in /debian)")
}

/// The first URL of a Debian archive in an apt source file of either format.
///
/// A Debian archive ends in `/debian`; `/debian-security` and other people's archives do not hold sid.
fn debian_mirror(text: &str) -> Option<String> {
    let is_archive = |url: &&str| url.contains("://") && url.trim_end_matches('/').ends_with("/debian");
    text.lines()
        .map(str::trim)
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .find_map(|line| line.split_whitespace().find(is_archive))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_comes_from_either_format_and_is_no_security_archive() {
        let modern = "Types: deb\nURIs: http://mirror.example/debian-security\n\nTypes: deb\nURIs: http://mirror.example/debian\n";
        assert_eq!(debian_mirror(modern).as_deref(), Some("http://mirror.example/debian"));
        let line = "# deb http://old.example/debian sid main\ndeb [signed-by=/k] https://mirror.example/debian/ bookworm main\n";
        assert_eq!(debian_mirror(line).as_deref(), Some("https://mirror.example/debian/"));
        assert_eq!(debian_mirror("URIs: https://other.example/apt\n"), None);
    }

    #[test]
    fn a_step_that_fails_shows_the_end_of_its_log_and_a_missing_program_is_named() {
        let log = std::env::temp_dir().join(format!("gicv5-step-{}", std::process::id()));
        let error =
            step(Command::new("sh").args(["-c", "echo what went wrong; exit 3"]), &log).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("what went wrong"), "{error}");
        assert!(step(&mut Command::new("gicv5-no-such-program"), &log).unwrap_err().to_string().contains("no-such"));
        fs::remove_file(log).unwrap();
    }
}
