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

/// The lines of a source file before its tests, which stand in a module at its end.
pub(crate) fn lines_before_tests(source: &str) -> impl Iterator<Item = &str> {
    let end = source.find("\n#[cfg(test)]\nmod ").unwrap_or(source.len());
    source.get(..end).unwrap_or_default().lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_test_module_ends_the_lines() {
        let lines = |source| lines_before_tests(source).collect::<Vec<_>>();
        assert_eq!(lines("a\n#[cfg(test)]\nmod tests {\n}\n"), ["a"]);
        assert_eq!(lines("#[cfg(test)]\nextern crate std;\nb\n"), ["#[cfg(test)]", "extern crate std;", "b"]);
    }
}
