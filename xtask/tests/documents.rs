//! The documents name what is there, and the code cites rules that exist.
// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use gicv5_facts::RuleBook;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files below a folder whose names end like this.
fn files_below(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            files.push(path);
        }
    }
    files
}

/// The documents in the root, in `docs` and beside the recordings.
fn documents() -> Vec<PathBuf> {
    let mut documents = files_below(&root().join("docs"), ".md");
    documents.push(root().join("traces/README.md"));
    let in_root = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    documents.extend(in_root.filter(|path| path.extension().is_some_and(|end| end == "md")));
    documents
}

/// Rules that a text cites and the rule book does not have.
fn unknown_rules(book: &RuleBook, text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let citations = words.filter(|word| {
        word.split_once('-').is_some_and(|(group, number)| {
            book.groups.iter().any(|known| known.id == group)
                && !number.is_empty()
                && number.chars().all(|c| c.is_ascii_digit())
        })
    });
    citations.filter(|id| book.rule(id).is_none()).map(str::to_owned).collect()
}

#[test]
fn every_crate_is_named_in_the_readme_and_has_a_place_in_the_architecture() {
    let text = |name| fs::read_to_string(root().join(name)).unwrap();
    let (readme, architecture) = (text("README.md"), text("ARCHITECTURE.md"));
    for folder in fs::read_dir(root().join("crates")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("`crates/{name}`")), "README.md does not say what crates/{name} is");
        let has_place = architecture.lines().any(|line| line.split_whitespace().any(|word| word == name));
        assert!(has_place, "ARCHITECTURE.md has no place for {name}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with('#') && !link.contains("://") {
                let target = document.parent().unwrap().join(link.split('#').next().unwrap());
                assert!(target.exists(), "{} links to {link}, which is not there", document.display());
            }
        }
    }
}

#[test]
fn rules_that_are_cited_exist() {
    let book = gicv5_facts::rules().unwrap();
    let sources = ["crates", "xtask/src"].map(|folder| files_below(&root().join(folder), ".rs")).concat();
    for file in sources.into_iter().chain(documents()) {
        let text = fs::read_to_string(&file).unwrap();
        // In code, a rule that does not exist may be an argument under test; in a comment it is a mistake.
        let is_code = file.extension().is_some_and(|end| end == "rs");
        for (index, line) in text.lines().enumerate() {
            let Some(prose) = (if is_code { line.split_once("//").map(|(_, comment)| comment) } else { Some(line) })
            else {
                continue;
            };
            let unknown = unknown_rules(book, prose);
            assert!(unknown.is_empty(), "{}:{} cites {unknown:?}", file.display(), index + 1);
        }
    }
}

#[test]
fn a_rule_that_does_not_exist_is_noticed() {
    let book = gicv5_facts::rules().unwrap();
    assert_eq!(unknown_rules(book, "see (VMT-15), GEN-9, UTF-8 and EL-2"), Vec::<String>::new());
    assert_eq!(unknown_rules(book, "by VMT-99/GEN-0."), ["VMT-99", "GEN-0"]);
}
