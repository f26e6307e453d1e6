//! The documents name what is there, and prose cites rules that exist.

use std::collections::BTreeSet;
use std::fs;

use crate::rules::{self, SourceFile};
use crate::workspace;

/// The files below these folders whose names end like this.
fn below(folders: &[&str], end: &str) -> Vec<SourceFile> {
    let (shell, root) = (workspace::shell().unwrap(), workspace::root().unwrap());
    let mut files = Vec::new();
    folders.iter().for_each(|folder| rules::collect(&shell, &root, &root.join(folder), end, &mut files).unwrap());
    files
}

/// The documents in the root, in `docs` and beside the recordings.
fn documents() -> Vec<SourceFile> {
    let root = workspace::root().unwrap();
    let mut documents = below(&["docs", "traces"], "md");
    for path in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|end| end == "md") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            documents.push(SourceFile { path: name, text: fs::read_to_string(path).unwrap() });
        }
    }
    documents
}

#[test]
fn every_crate_is_named_in_the_readme_and_has_a_place_in_the_architecture() {
    let root = workspace::root().unwrap();
    let text = |name| fs::read_to_string(root.join(name)).unwrap();
    let (readme, architecture) = (text("README.md"), text("ARCHITECTURE.md"));
    for folder in fs::read_dir(root.join("crates")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("`crates/{name}`")), "README.md does not say what crates/{name} is");
        let has_place = architecture.lines().any(|line| line.split_whitespace().any(|word| word == name));
        assert!(has_place, "ARCHITECTURE.md has no place for {name}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for SourceFile { path, text } in documents() {
        let folder = workspace::root().unwrap().join(&path).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with('#') && !link.contains("://") {
                let target = folder.join(link.split('#').next().unwrap());
                assert!(target.exists(), "{path} links to {link}, which is not there");
            }
        }
    }
}

#[test]
fn rules_that_are_cited_exist() {
    let book = gicv5_facts::rules().unwrap();
    let groups: BTreeSet<&str> = book.groups.iter().map(|group| group.id.as_str()).collect();
    for SourceFile { path, text } in below(&["crates", "xtask/src"], "rs").into_iter().chain(documents()) {
        for (n, line) in text.lines().enumerate() {
            // In code, a rule that does not exist may be an argument under test; in a comment it is a mistake.
            let prose = match path.ends_with(".rs") {
                true => line.split_once("//").map_or("", |(_, comment)| comment),
                false => line,
            };
            let unknown: Vec<_> =
                rules::citations(prose, &groups).into_iter().filter(|id| book.rule(id).is_none()).collect();
            assert!(unknown.is_empty(), "{path}:{} cites {unknown:?}", n + 1);
        }
    }
}
