//! Where the workspace is and how to run tools in it.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use xshell::{Cmd, Shell};

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
