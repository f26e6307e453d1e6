//! Files that are made from others and kept in the repository.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::Path;
use xshell::Shell;

/// What to do with a generated file.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Make it what it should be.
    Write,
    /// Fail if it is not.
    Check,
}

/// Writes or checks the file at `path`, relative to the workspace. `command` is what makes it current.
pub(crate) fn apply(mode: Mode, path: &str, text: &str, command: &str) -> Result<()> {
    apply_at(&workspace::root()?, mode, path, text, command)
}

fn apply_at(root: &Path, mode: Mode, path: &str, text: &str, command: &str) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(root);
    match mode {
        Mode::Write => {
            shell.write_file(path, text)?;
            println!("wrote {path}: {} lines", text.lines().count());
        }
        Mode::Check => {
            let present = shell.read_file(path).with_context(|| format!("{path} is missing; run `{command}`"))?;
            if let Some(difference) = first_difference(&present, text) {
                bail!("{path} is not current; run `{command}`\n{difference}");
            }
            println!("{path} is current: {} lines", text.lines().count());
        }
    }
    Ok(())
}

/// The first line that differs, as a person compares: where, what is there, what should be.
fn first_difference(present: &str, wanted: &str) -> Option<String> {
    if present == wanted {
        return None;
    }
    let (mut present, mut wanted) = (present.split('\n'), wanted.split('\n'));
    for number in 1.. {
        let (is, should) = (present.next(), wanted.next());
        if is != should {
            let show = |line: Option<&str>| line.unwrap_or("(end of file)").to_owned();
            return Some(format!("line {number}:\n- {}\n+ {}", show(is), show(should)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_shown() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n").unwrap(), "line 2:\n- b\n+ c");
        assert_eq!(first_difference("a\n", "a\nb\n").unwrap(), "line 2:\n- \n+ b");
        assert_eq!(first_difference("a", "a\n").unwrap(), "line 2:\n- (end of file)\n+ ");
    }

    #[test]
    fn a_stale_or_missing_file_fails_the_check_and_writing_it_mends_that() {
        let shell = Shell::new().unwrap();
        let folder = shell.create_temp_dir().unwrap();
        let apply = |mode, text| apply_at(folder.path(), mode, "page.md", text, "make it");
        assert!(apply(Mode::Check, "new\n").unwrap_err().to_string().contains("missing"));
        apply(Mode::Write, "old\n").unwrap();
        let stale = apply(Mode::Check, "new\n").unwrap_err().to_string();
        assert!(stale.contains("make it") && stale.contains("- old\n+ new"), "{stale}");
        apply(Mode::Write, "new\n").unwrap();
        apply(Mode::Check, "new\n").unwrap();
    }
}
