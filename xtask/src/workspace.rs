//! Where the workspace is and how to run tools in it.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use xshell::{Cmd, Shell, cmd};

/// The folder of the root manifest.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("the xtask crate has no parent folder")?.to_path_buf())
}

/// A shell whose current folder is the root of the workspace.
pub(crate) fn shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(root()?);
    Ok(shell)
}

/// A copy of the workspace in which a chore may break sources. The chore that does adds what it asks of the copy.
pub(crate) struct Scratch {
    /// Its current folder is the root of the copy.
    pub(crate) shell: Shell,
    pub(crate) root: PathBuf,
    /// Where cargo is to put what it builds of the copy.
    pub(crate) target: PathBuf,
}

impl Scratch {
    /// Copies what git knows or would add, in a folder of this name where the workspace builds. What an earlier copy has is
    /// made the same; what is the same is not touched, so that it is not built anew.
    pub(crate) fn new(name: &str) -> Result<Scratch> {
        let (shell, home) = (shell()?, self::root()?);
        let folder = home.join("target").join(name);
        let root = folder.join("workspace");
        let files = cmd!(shell, "git ls-files --cached --others --exclude-standard -z").quiet().read()?;
        // Of what git knows, something may have been removed.
        let files: BTreeSet<&Path> =
            files.split('\0').map(Path::new).filter(|file| home.join(file).is_file()).collect();
        for file in &files {
            let (from, to) = (home.join(file), root.join(file));
            if std::fs::read(&from)? != std::fs::read(&to).unwrap_or_default() || !to.exists() {
                shell.create_dir(to.parent().unwrap_or(&root))?;
                shell.copy_file(from, to)?;
            }
        }
        remove_others(&shell, &root, &root, &files)?;
        shell.change_dir(&root);
        Ok(Scratch { shell, root, target: folder.join("build") })
    }
}

/// Removes from a folder of a copy what is not among the files.
fn remove_others(shell: &Shell, root: &Path, folder: &Path, files: &BTreeSet<&Path>) -> Result<()> {
    for path in shell.read_dir(folder)? {
        if path.is_dir() {
            remove_others(shell, root, &path, files)?;
        } else if !path.strip_prefix(root).is_ok_and(|file| files.contains(file)) {
            shell.remove_path(path)?;
        }
    }
    Ok(())
}

/// The cargo that runs this chore, cleared of what it passes down about the xtask crate itself.
///
/// Without the clearing, build scripts would see another crate's `CARGO_PKG_*`, and cargo would rebuild them for it.
pub(crate) fn cargo(shell: &Shell) -> Cmd<'_> {
    let mut command = shell.cmd(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command = command.env_remove(name);
        }
    }
    command
}
