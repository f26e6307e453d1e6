//! `docs/defect-classes.md` says what excludes each class of defects; this checks that all of it exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CLASSES: [&str; 19] = [
    "error-path leak",
    "free or reuse while hardware may own it",
    "partial-init teardown",
    "step order",
    "unsigned reverse loop",
    "wrong polarity or ignored boolean",
    "endianness",
    "operand encoding",
    "width overflow",
    "wrong field or mask",
    "missing barrier or cache maintenance",
    "wrong CPU context",
    "race",
    "non-atomic shared bitmap",
    "lost edge",
    "priority off by one",
    "duplicated truth",
    "INTID-space mix-up",
    "enclosing-scope recovery",
];

/// All Rust code below a folder.
fn read(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => read(&path, code),
            Some(extension) if extension == "rs" => code.push_str(&fs::read_to_string(path).unwrap()),
            _ => {}
        }
    }
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests of some code: functions with the attribute.
fn tests(code: &str) -> BTreeSet<&str> {
    code.split("#[test]")
        .skip(1)
        .filter_map(|after| after.split_once("fn ")?.1.split_once('(').map(|(name, _)| name))
        .collect()
}

#[test]
fn every_class_of_defects_has_a_type_or_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = String::new();
    for name in ["gicv5-arch", "gicv5-hal", "gicv5-hyp"] {
        read(&root.join("crates").join(name), &mut code);
    }
    let tests = tests(&code);
    let page = fs::read_to_string(root.join("docs/defect-classes.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Class"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), CLASSES);
    for row in &rows {
        let [class, types, caught] = row[..] else { panic!("{row:?}") };
        let names: Vec<&str> = quoted(caught).collect();
        assert!(!names.is_empty(), "{class} has no test");
        for name in names {
            assert!(tests.contains(name), "{class}: there is no test {name}");
        }
        for name in quoted(types).filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())) {
            let defined = ["struct", "enum", "trait"]
                .iter()
                .any(|kind| [" ", "<", "(", ";", ":"].iter().any(|end| code.contains(&format!("{kind} {name}{end}"))));
            // Enumerations, registers and identifiers are declared by macros.
            let declared = code.contains(&format!(" {name}: u")) || code.contains(&format!(" {name}, \""));
            assert!(defined || declared, "{class}: there is no type {name}");
        }
    }
}
