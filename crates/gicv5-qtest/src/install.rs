//! Finding a QEMU with a GICv5, or installing one.
//!
//! QEMU has the GICv5 since 11.1, and few distributions ship that yet. Looked at in this order:
//!
//! 1. `$GICV5_QEMU`, the path of a `qemu-system-aarch64`; an unsuitable one is an error, not skipped;
//! 2. `qemu-system-aarch64` on `PATH`, if it is new enough;
//! 3. `$GICV5_QEMU_ROOT`, or `gicv5/qemu` in the user's cache directory: a Debian root with QEMU in it.
//!
//! [`install`] makes the third: a minimal Debian sid by `debootstrap`, and `qemu-system-arm` in it, about
//! 520 MB. The mirror is the one this machine's own apt uses, or `$GICV5_DEBIAN_MIRROR`. QEMU then runs in a
//! `chroot`, so both steps need root, and files pass through the directory `files` of that root.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
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
pub enum InstallError {
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
    /// The apt sources name no Debian mirror.
    #[error("no Debian mirror in {looked_at}: set GICV5_DEBIAN_MIRROR to the URL of one (it ends in /debian)")]
    NoMirror {
        /// The files that were read.
        looked_at: String,
    },
    /// A program that the installation needs is missing.
    #[error("{program} could not be run: {hint}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// What to do.
        hint: &'static str,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A step of the installation failed.
    #[error("{step} failed ({status}); the end of {}:\n{tail}", log.display())]
    Step {
        /// What was being done.
        step: &'static str,
        /// How the program ended.
        status: std::process::ExitStatus,
        /// The log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The place for QEMU holds something else.
    #[error("{} exists but holds no qemu-system-aarch64: remove it or choose another GICV5_QEMU_ROOT", root.display())]
    Occupied {
        /// The directory.
        root: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// The environment variables that matter here; a parameter, so that tests need not change the process's own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$GICV5_QEMU`.
    pub qemu: Option<OsString>,
    /// `$GICV5_QEMU_ROOT`.
    pub root: Option<OsString>,
    /// `$GICV5_DEBIAN_MIRROR`.
    pub mirror: Option<OsString>,
    /// `$XDG_CACHE_HOME`.
    pub cache: Option<OsString>,
    /// `$HOME`.
    pub home: Option<OsString>,
}

impl Environment {
    /// The process's own. Empty variables count as unset.
    pub fn from_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        Self {
            qemu: var("GICV5_QEMU"),
            root: var("GICV5_QEMU_ROOT"),
            mirror: var("GICV5_DEBIAN_MIRROR"),
            cache: var("XDG_CACHE_HOME"),
            home: var("HOME"),
        }
    }

    /// Where the Debian root with QEMU is, or would be installed.
    pub fn root(&self) -> Result<PathBuf, InstallError> {
        if let Some(root) = &self.root {
            return Ok(PathBuf::from(root));
        }
        let cache = match (&self.cache, &self.home) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(home).join(".cache"),
            (None, None) => return Err(InstallError::NoPlace),
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
    pub fn find(environment: &Environment) -> Result<Self, InstallError> {
        if let Some(path) = &environment.qemu {
            return Self::probe(path.clone(), None)
                .map_err(|reason| InstallError::Named { path: PathBuf::from(path), reason });
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
        Err(InstallError::NotFound { tried })
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

/// Finds QEMU, and installs it if there is none. One that is named and does not do is an error all the same.
///
/// `progress` is told each step before it starts.
pub fn find_or_install(environment: &Environment, progress: impl FnMut(&str)) -> Result<Installation, InstallError> {
    match Installation::find(environment) {
        Err(InstallError::NotFound { .. }) => install(environment, progress),
        found => found,
    }
}

const PROGRAM: &str = "qemu-system-aarch64";
const PROGRAM_IN_ROOT: &str = "usr/bin/qemu-system-aarch64";

/// Installs QEMU in the environment's root unless it is there, and returns it.
///
/// `progress` is told each step before it starts. An installation that was cut short leaves only a directory
/// whose name ends in `.partial`, which the next one replaces.
pub fn install(environment: &Environment, mut progress: impl FnMut(&str)) -> Result<Installation, InstallError> {
    let root = environment.root()?;
    let beside = |suffix: &str| {
        let mut name = root.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { what, path, source }
    };
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent).map_err(io("create", parent))?;
    }
    // Two processes that find nothing must not install into one place at a time.
    let lock_path = beside(".lock");
    let lock = File::create(&lock_path).map_err(io("create", &lock_path))?;
    lock.lock().map_err(io("lock", &lock_path))?;

    if !root.join(PROGRAM_IN_ROOT).is_file() {
        if root.exists() {
            return Err(InstallError::Occupied { root });
        }
        let mirror = match &environment.mirror {
            Some(mirror) => mirror.to_string_lossy().into_owned(),
            None => mirror_of_this_machine()?,
        };
        let (partial, log) = (beside(".partial"), beside(".log"));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(io("remove", &partial))?;
        }
        progress(&format!("installing a minimal Debian sid in {}", root.display()));
        let keyring = "debootstrap is in Debian's and Ubuntu's package of that name";
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", "sid"]).arg(&partial).arg(&mirror);
        step("debootstrap", "debootstrap", keyring, command, &log)?;
        progress("installing qemu-system-arm there");
        let mut command = Command::new("chroot");
        command
            .arg(&partial)
            .args(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "qemu-system-arm"])
            .env("DEBIAN_FRONTEND", "noninteractive");
        step("apt-get install qemu-system-arm", "chroot", "it is part of coreutils", command, &log)?;
        fs::rename(&partial, &root).map_err(io("rename", &partial))?;
    }
    let files = root.join("files");
    fs::create_dir_all(&files).map_err(io("create", &files))?;
    Installation::probe(PROGRAM.into(), Some(root.clone()))
        .map_err(|reason| InstallError::NotFound { tried: format!("the one in {} {reason}", root.display()) })
}

/// Runs one program of the installation with its output in the log.
fn step(
    step: &'static str,
    program: &'static str,
    hint: &'static str,
    mut command: Command,
    log: &Path,
) -> Result<(), InstallError> {
    let io = |what| move |source| InstallError::Io { what, path: log.to_owned(), source };
    let file = File::options().create(true).append(true).open(log).map_err(io("open"))?;
    let second = file.try_clone().map_err(io("open"))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(second)
        .status()
        .map_err(|source| InstallError::Missing { program, hint, source })?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read(log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n");
    Err(InstallError::Step { step, status, log: log.to_owned(), tail })
}

/// The Debian mirror that this machine's apt uses.
fn mirror_of_this_machine() -> Result<String, InstallError> {
    let directory = Path::new("/etc/apt/sources.list.d");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    files.push("/etc/apt/sources.list".into());
    files
        .iter()
        .filter(|path| matches!(path.extension().and_then(OsStr::to_str), Some("sources" | "list")))
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|text| debian_mirror(&text))
        .ok_or_else(|| InstallError::NoMirror {
            looked_at: format!("{} and /etc/apt/sources.list", directory.display()),
        })
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
    fn the_version_is_read_from_distribution_and_plain_builds() {
        let version = |text| Version::parse(text).map(|version| version.to_string());
        assert_eq!(version("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1)\nCopyright"), Some("11.1.3".into()));
        assert_eq!(version("QEMU emulator version 11.2\n"), Some("11.2.0".into()));
        assert_eq!(version("something else"), None);
        assert!(Version::parse("QEMU emulator version 11.0.50") < Some(OLDEST));
    }

    #[test]
    fn the_mirror_comes_from_either_format_and_is_no_security_archive() {
        let modern = "Types: deb\nURIs: http://mirror.example/debian-security\n\nTypes: deb\nURIs: http://mirror.example/debian\n";
        assert_eq!(debian_mirror(modern).as_deref(), Some("http://mirror.example/debian"));
        let line = "# deb http://old.example/debian sid main\ndeb [signed-by=/k] https://mirror.example/debian/ bookworm main\n";
        assert_eq!(debian_mirror(line).as_deref(), Some("https://mirror.example/debian/"));
        assert_eq!(debian_mirror("URIs: https://other.example/apt\n"), None);
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
        assert!(matches!(Environment::default().root(), Err(InstallError::NoPlace)));
    }

    #[test]
    fn a_named_program_that_is_no_qemu_is_an_error_and_not_skipped() {
        let environment = Environment { qemu: Some("/bin/true".into()), ..Environment::default() };
        let error = Installation::find(&environment).unwrap_err();
        assert!(matches!(error, InstallError::Named { .. }), "{error}");
        assert!(error.to_string().contains("does not print its version"), "{error}");
    }
}
