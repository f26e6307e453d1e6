//! The scenarios that come with the program, and one to begin with.

use std::fs::OpenOptions;
use std::io::Write;

use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Console, FAINT, NAME, quote, styled};

/// A scenario of the project.
struct Shelved {
    /// Its file in `scenarios`.
    file: &'static str,
    text: &'static str,
}

macro_rules! shelve {
    ($($file:literal),* $(,)?) => {
        /// The scenarios of the project, in the order in which a newcomer may read them.
        const SHELF: &[Shelved] =
            &[$(Shelved { file: $file, text: include_str!(concat!("../../../../scenarios/", $file)) }),*];
    };
}

shelve![
    "first-vm.toml",
    "wake-up.toml",
    "two-vms-one-pe.toml",
    "level.toml",
    "priority.toml",
    "sparse.toml",
    "migration.toml",
    "ipi.toml",
    "storm.toml",
    "vm-ids.toml",
    "init-fails.toml",
    "quarantine.toml",
    "thousand-vms.toml",
];

const STARTER: &str = include_str!("starter.toml");

const NEW_AFTER_HELP: &str = "\
Examples:
  $ gicv5 new my-vm --print";

/// Arguments of `gicv5 new`.
#[derive(Debug, clap::Args)]
#[command(after_help = NEW_AFTER_HELP)]
pub(crate) struct NewArgs {
    /// The name of the scenario: it is written to NAME.toml
    #[arg(value_name = "NAME")]
    name: String,
    /// Prints it instead
    #[arg(long)]
    print: bool,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry {
    path: String,
    title: String,
}

/// The title of a scenario, which is its first key.
fn title(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("title = \"")?.strip_suffix('"'));
    line.unwrap_or_default().to_owned()
}

/// Lists the scenarios.
pub(super) fn list(json: bool, out: &mut Console<'_>) -> Result<(), Failure> {
    let entries: Vec<Entry> = SHELF
        .iter()
        .map(|shelved| Entry { path: format!("scenarios/{}", shelved.file), title: title(shelved.text) })
        .collect();
    if json {
        return Ok(output::json(out, &json!({ "count": entries.len(), "scenario_list": entries }))?);
    }
    for entry in entries {
        writeln!(out, "{}  {}", styled(NAME, format!("{:<32}", entry.path)), entry.title)?;
    }
    Ok(())
}

/// Writes a scenario to begin with.
pub(crate) fn new(args: &NewArgs, out: &mut Console<'_>) -> Result<(), Failure> {
    let name = args.name.strip_suffix(".toml").unwrap_or(&args.name);
    let (folder, last) = name.rsplit_once('/').map_or((None, name), |(folder, last)| (Some(folder), last));
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts_well = last.starts_with(|c: char| c.is_ascii_alphanumeric());
    // A path that looks like an option would be taken for one by whatever it is given to next.
    if !starts_well || !last.chars().all(fine) || folder.is_some_and(|folder| folder.starts_with('-')) {
        return Err(Failure::BadInput(format!(
            "{} is no name of a scenario: begin with a letter or digit, and use letters, digits, -, _ and .",
            quote(name)
        )));
    }
    let text = STARTER.replace("@NAME@", last);
    let path = format!("{name}.toml");
    if !args.print {
        // A file that is there already is somebody's work.
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::BadInput(format!("cannot write {}: {error}", quote(&path))))?;
    }
    if args.json {
        return Ok(output::json(out, &json!({ "path": path, "written": !args.print, "text": text }))?);
    }
    if args.print {
        out.write_all(text.as_bytes())?;
        return Ok(());
    }
    writeln!(out, "{}", styled(FAINT, format!("wrote {path}; try: gicv5 run {path}")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SHELF, STARTER, title};

    #[test]
    fn every_scenario_of_the_project_is_listed_with_its_title() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".toml"))
            .collect();
        files.sort();
        let mut listed: Vec<&str> = SHELF.iter().map(|shelved| shelved.file).collect();
        listed.sort_unstable();
        assert_eq!(files, listed);
        assert!(SHELF.iter().all(|shelved| !title(shelved.text).is_empty()));
        assert!(!title(STARTER).is_empty());
    }
}
