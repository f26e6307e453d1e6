//! Finding a QEMU with a GICv5.
//!
//! QEMU has the GICv5 since 11.1, and few distributions ship that yet. Looked at in this order:
//!
//! 1. `$GICV5_QEMU`, the path of a `qemu-system-aarch64`; an unsuitable one is an error, not skipped;
//! 2. `qemu-system-aarch64` on `PATH`, if it is new enough;
//! 3. `$GICV5_QEMU_ROOT`, or `gicv5/qemu` in the user's cache directory: a Debian root with QEMU in it.
//!
//! `cargo xtask qemu --install` makes the third. QEMU then runs in a `chroot`, which needs root, and files pass through the
//! directory `files` of that root.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first QEMU with `gic-version=x-5`.
pub const OLDEST: Version = Version { major: 11, minor: 1, micro: 0 };

/// A QEMU version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 11 in 11.1.3.
    pub major: u32,
    /// 1 in 11.1.3.
    pub minor: u32,
    /// 3 in 11.1.3.
    pub micro: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

impl Version {
    /// The version in the first line of `qemu-system-aarch64 --version`.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.lines().next()?.split_once("version ")?.1.split(' ').next()?;
        let mut numbers = word.split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, micro: next().unwrap_or(0) })
    }
}

/// Why there is no QEMU to run.
#[derive(Debug, thiserror::Error)]
pub enum NoQemu {
    /// `$GICV5_QEMU` names a program that does not do.
    #[error("$GICV5_QEMU is {path:?}, which {reason}")]
    Named {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No QEMU 11.1 anywhere.
    #[error(
        "no qemu-system-aarch64 {OLDEST} or newer: {tried}; set GICV5_QEMU to one, GICV5_QEMU_ROOT to a Debian root that has one, or install one with `cargo xtask qemu --install`"
    )]
    NotFound {
        /// What was looked at and why it did not do.
        tried: String,
    },
    /// Neither `$GICV5_QEMU_ROOT` nor a cache directory is known.
    #[error("no place for QEMU: set GICV5_QEMU_ROOT, XDG_CACHE_HOME or HOME")]
    NoPlace,
}

/// The environment variables that matter here; a parameter, so that tests need not change the process's own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$GICV5_QEMU`.
    pub qemu: Option<OsString>,
    /// `$GICV5_QEMU_ROOT`.
    pub root: Option<OsString>,
    /// `$XDG_CACHE_HOME`.
    pub cache: Option<OsString>,
    /// `$HOME`.
    pub home: Option<OsString>,
}

impl Environment {
    /// The process's own. Empty variables count as unset.
    pub fn from_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        Self { qemu: var("GICV5_QEMU"), root: var("GICV5_QEMU_ROOT"), cache: var("XDG_CACHE_HOME"), home: var("HOME") }
    }

    /// Where the Debian root with QEMU is, or would be installed.
    pub fn root(&self) -> Result<PathBuf, NoQemu> {
        if let Some(root) = &self.root {
            return Ok(PathBuf::from(root));
        }
        let cache = match (&self.cache, &self.home) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(home).join(".cache"),
            (None, None) => return Err(NoQemu::NoPlace),
        };
        Ok(cache.join("gicv5").join("qemu"))
    }
}

/// A QEMU that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    program: OsString,
    root: Option<PathBuf>,
    version: Version,
}

impl Installation {
    /// Finds a QEMU, without installing anything.
    pub fn find(environment: &Environment) -> Result<Self, NoQemu> {
        if let Some(path) = &environment.qemu {
            return Self::probe(path.clone(), None)
                .map_err(|reason| NoQemu::Named { path: PathBuf::from(path), reason });
        }
        let mut tried = match Self::probe(PROGRAM.into(), None) {
            Ok(found) => return Ok(found),
            Err(reason) => format!("the one on PATH {reason}"),
        };
        let root = environment.root()?;
        if root.join(PROGRAM_IN_ROOT).is_file() {
            match Self::probe(PROGRAM.into(), Some(root.clone())) {
                Ok(found) => return Ok(found),
                Err(reason) => tried += &format!(", the one in {} {reason}", root.display()),
            }
        } else {
            tried += &format!(", there is none in {}", root.display());
        }
        Err(NoQemu::NotFound { tried })
    }

    /// Runs the program far enough to know that it has the machine.
    fn probe(program: OsString, root: Option<PathBuf>) -> Result<Self, String> {
        let mut found = Self { program, root, version: OLDEST };
        let output = |arguments: &[&str]| {
            let mut command = found.command();
            command.args(arguments).stdin(Stdio::null());
            command.output().map_err(|error| format!("cannot be run ({error})"))
        };
        let text = String::from_utf8_lossy(&output(&["--version"])?.stdout).into_owned();
        let version = Version::parse(&text).ok_or("does not print its version")?;
        if version < OLDEST {
            return Err(format!("is version {version}, {OLDEST} is the first with a GICv5"));
        }
        // Writing the device tree is the shortest run that builds the machine.
        let built = output(&["-M", "virt,gic-version=x-5,dumpdtb=/dev/null", "-cpu", "max", "-display", "none"])?;
        if !built.status.success() {
            let words = String::from_utf8_lossy(&built.stderr);
            return Err(format!("has no GICv5: {}", words.lines().next().unwrap_or("it says nothing")));
        }
        found.version = version;
        Ok(found)
    }

    /// A command that runs this QEMU, so far without arguments.
    pub fn command(&self) -> Command {
        match &self.root {
            None => Command::new(&self.program),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg(&self.program);
                command
            }
        }
    }

    /// The version it prints.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The directory through which files are passed: as this process sees it and as QEMU sees it.
    pub fn shared(&self) -> (PathBuf, PathBuf) {
        match &self.root {
            None => (std::env::temp_dir(), std::env::temp_dir()),
            Some(root) => (root.join("files"), PathBuf::from("/files")),
        }
    }
}

const PROGRAM: &str = "qemu-system-aarch64";
/// Where QEMU is in a Debian root.
pub const PROGRAM_IN_ROOT: &str = "usr/bin/qemu-system-aarch64";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_distribution_and_plain_builds() {
        let version = |text| Version::parse(text).map(|version| version.to_string());
        assert_eq!(version("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1)\nCopyright"), Some("11.1.3".into()));
        assert_eq!(version("QEMU emulator version 11.2\n"), Some("11.2.0".into()));
        assert_eq!(version("something else"), None);
        assert!(Version::parse("QEMU emulator version 11.0.50") < Some(OLDEST));
    }

    #[test]
    fn a_root_that_is_named_wins_over_the_cache_directory() {
        let environment = Environment {
            root: Some("/somewhere".into()),
            cache: Some("/cache".into()),
            home: Some("/home/user".into()),
            ..Environment::default()
        };
        assert_eq!(environment.root().unwrap(), Path::new("/somewhere"));
        let environment = Environment { root: None, ..environment };
        assert_eq!(environment.root().unwrap(), Path::new("/cache/gicv5/qemu"));
        let environment = Environment { cache: None, ..environment };
        assert_eq!(environment.root().unwrap(), Path::new("/home/user/.cache/gicv5/qemu"));
        assert!(matches!(Environment::default().root(), Err(NoQemu::NoPlace)));
    }

    #[test]
    fn a_named_program_that_is_no_qemu_is_an_error_and_not_skipped() {
        let environment = Environment { qemu: Some("/bin/true".into()), ..Environment::default() };
        let error = Installation::find(&environment).unwrap_err();
        assert!(matches!(error, NoQemu::Named { .. }), "{error}");
        assert!(error.to_string().contains("does not print its version"), "{error}");
    }
}
