//! The rule table: every rule, and the tests that exercise it or the reason why none does.
//!
//! A rule is exercised by the test functions that cite its id: in a string or comment between the first line of comment
//! above the function and its last brace, or at the start of its name (`gen_18_…`). A citation elsewhere does not count: what
//! cites a rule without testing it is code.

use crate::exceptions;
use crate::workspace;
use anyhow::{Result, ensure};
use gicv5_facts::{Rule, RuleBook};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use xshell::Shell;

pub(crate) const RULES: &str = "docs/rules.md";
const EXCEPTIONS: &str = "docs/rule-exceptions.toml";

/// The groups of which every rule has a test or a reason. The others are listed with what they have.
const COVERED: &[&str] = &[
    "GEN", "VMT", "VM", "VPE", "DB", "RES", "IST", "ISM", "PRI", "HPPI", "RTE", "INS", "INJ", "SYN", "PPI", "SPI",
    "LPI", "ERR", "COH", "SAVE", "LIFE",
];

/// Crates whose tests speak of rules as text and not as behaviour.
const TEXT_ONLY: &[&str] = &["gicv5", "gicv5-facts"];

/// Print for every rule the tests that exercise it, or why none does; fail if a rule has neither
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not print the table
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let book = RuleBook::parse(&shell.read_file(RULES)?)?;
    let exceptions = Exceptions::parse(EXCEPTIONS, &shell.read_file(EXCEPTIONS)?)?;
    let sources = sources(&shell)?;
    let (lines, findings) = table(&book, &exceptions, &sources);
    if !args.check {
        println!("{}", lines.join("\n"));
    }
    ensure!(findings.is_empty(), "faults in the rule table:\n{}", findings.join("\n"));
    eprintln!("every rule of the groups {} has a test or a reason why not", COVERED.join(", "));
    Ok(())
}

/// A source file of a crate whose tests count.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The Rust files below `src` and `tests` of the crates, in order.
pub(crate) fn sources(shell: &Shell) -> Result<Vec<SourceFile>> {
    let root = workspace::root()?;
    let mut sources = Vec::new();
    for package in shell.read_dir("crates")? {
        let name = package.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if TEXT_ONLY.contains(&name) {
            continue;
        }
        for folder in ["src", "tests"] {
            let folder = package.join(folder);
            if shell.path_exists(&folder) {
                collect(shell, &root, &folder, "rs", &mut sources)?;
            }
        }
    }
    sources.sort_by(|a: &SourceFile, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// Adds the files below a folder that have this extension.
pub(crate) fn collect(
    shell: &Shell,
    root: &Path,
    folder: &Path,
    end: &str,
    sources: &mut Vec<SourceFile>,
) -> Result<()> {
    for path in shell.read_dir(folder)? {
        if path.is_dir() {
            collect(shell, root, &path, end, sources)?;
        } else if path.extension().is_some_and(|found| found == end) {
            let text = shell.read_file(&path)?;
            let path: PathBuf = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            sources.push(SourceFile { path: path.display().to_string(), text });
        }
    }
    Ok(())
}

/// Why rules and hazards have no test.
type Exceptions = exceptions::Exceptions<exceptions::Uncovered>;

/// A test by the file it is in and its name.
pub(crate) type Test<'a> = (&'a str, String);

/// A line for each rule and hazard with its tests or the reason why it has none, and what is wrong.
fn table(book: &RuleBook, exceptions: &Exceptions, sources: &[SourceFile]) -> (Vec<String>, Vec<String>) {
    let groups: BTreeSet<&str> = book.groups.iter().map(|group| group.id.as_str()).collect();
    let mut findings = Vec::new();
    let mut tests: BTreeMap<String, Vec<Test<'_>>> = BTreeMap::new();
    for source in sources {
        for (line, text) in source.text.lines().enumerate() {
            for id in citations(text, &groups) {
                if book.rule(&id).is_none() {
                    findings.push(format!("{}:{}: there is no rule {id}", source.path, line + 1));
                }
            }
        }
        for function in test_functions(&source.text) {
            let mut cited = citations(function.text, &groups);
            cited.extend(cited_by_name(&function.name, &groups));
            cited.extend(hazards(function.text).chain(hazards(&function.name.replace('_', " "))));
            for id in cited {
                tests.entry(id).or_default().push((&source.path, function.name.clone()));
            }
        }
    }

    let exists = |id: &str| match id.strip_prefix("hazard ") {
        Some(number) => book.hazards.iter().any(|hazard| hazard.number.to_string() == number),
        None => book.rule(id).is_some_and(|rule| rule.id == *id),
    };
    let wrong = |id: &str| {
        let (path, name) = tests.get(id)?.first()?;
        Some(format!("has a reason and a test, {name} in {path}"))
    };
    let reasons = exceptions.reasons(EXCEPTIONS, exists, wrong, &mut findings);

    let is_covered = |rule: &Rule| COVERED.contains(&rule.group.as_str());
    let rules = book.rules.iter().map(|rule| (rule.id.clone(), &rule.text, is_covered(rule)));
    let hazards = book.hazards.iter().map(|hazard| (format!("hazard {}", hazard.number), &hazard.text, true));
    let mut lines = Vec::new();
    for (id, text, is_covered) in rules.chain(hazards) {
        lines.push(match (tests.get(&id), reasons.get(id.as_str())) {
            (Some(tests), _) => format!("{id}: {}", list(tests)),
            (None, Some(reason)) => format!("{id}: none, {reason}"),
            (None, None) if is_covered => {
                findings.push(format!("{id} has neither a test nor a reason in {EXCEPTIONS}: {text}"));
                continue;
            }
            (None, None) => format!("{id}: none, as nothing here has its subject"),
        });
    }
    (lines, findings)
}

/// Tests, by file.
pub(crate) fn list(tests: &[Test<'_>]) -> String {
    let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, name) in tests {
        files.entry(path).or_default().insert(name);
    }
    let file = |(path, names): (&&str, &BTreeSet<&str>)| {
        let names: Vec<&str> = names.iter().copied().collect();
        format!("{} in {path}", names.join(", "))
    };
    files.iter().map(file).collect::<Vec<_>>().join("; ")
}

/// The rule ids in a text, of groups that exist.
pub(crate) fn citations(text: &str, groups: &BTreeSet<&str>) -> BTreeSet<String> {
    let part_of_a_word = |character: char| character.is_alphanumeric() || "_-".contains(character);
    text.split(|character: char| !part_of_a_word(character))
        .filter_map(|word| {
            let (group, number) = word.split_once('-')?;
            let cited = groups.contains(group) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            cited.then(|| word.to_owned())
        })
        .collect()
}

/// The rule that a name starts with: `gen_18_…`.
fn cited_by_name(name: &str, groups: &BTreeSet<&str>) -> Option<String> {
    let mut parts = name.split('_');
    let group = parts.next()?.to_uppercase();
    let number: u32 = parts.next()?.parse().ok()?;
    groups.contains(group.as_str()).then(|| format!("{group}-{number}"))
}

/// The hazards in a text: `hazard 3`.
fn hazards(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split("hazard ").skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (!digits.is_empty()).then(|| format!("hazard {digits}"))
    })
}

/// A test function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestFunction<'a> {
    pub(crate) name: String,
    /// From the comment above it to its last brace.
    pub(crate) text: &'a str,
}

/// The functions marked `#[test]`, and those of the conformance suite, which have `rules[...]` behind their parameters. They may
/// stand in a macro's arguments.
pub(crate) fn test_functions(source: &str) -> Vec<TestFunction<'_>> {
    let mut functions = Vec::new();
    // What does not compile has no tests.
    if let Ok(tokens) = source.parse() {
        find_functions(tokens, source, &mut functions);
    }
    functions
}

fn find_functions<'a>(tokens: TokenStream, source: &'a str, functions: &mut Vec<TestFunction<'a>>) {
    let mut marked = false;
    // Name and place of a function whose body has not come yet.
    let mut function: Option<(String, usize)> = None;
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let is_body = group.delimiter() == Delimiter::Brace;
                match function.take_if(|_| is_body) {
                    Some((name, at)) if std::mem::take(&mut marked) => {
                        let end = group.span().byte_range().end;
                        let text = source.get(start_of_item(source, at)..end).unwrap_or_default();
                        functions.push(TestFunction { name, text });
                    }
                    _ => {
                        marked |= group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "test";
                        find_functions(group.stream(), source, functions);
                    }
                }
            }
            TokenTree::Ident(word) if word == "fn" => {
                let name = tokens.next().map(|name| name.to_string()).unwrap_or_default();
                function = Some((name, word.span().byte_range().start));
            }
            TokenTree::Ident(word) if word == "rules" && function.is_some() => marked = true,
            _ => {}
        }
    }
}

/// Where the comments and attributes above a place start.
fn start_of_item(source: &str, at: usize) -> usize {
    let mut start = source.get(..at).and_then(|head| head.rfind('\n')).map_or(0, |newline| newline + 1);
    while let Some(line) =
        source.get(..start.saturating_sub(1)).map(|head| head.rsplit('\n').next().unwrap_or_default())
        && (line.trim_start().starts_with("//") || line.trim_start().starts_with('#'))
    {
        start -= line.len() + 1;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const RULES: &str = "### Source names\n\n| X | a source | software |\n\n## GEN - general\n\n\
        - **GEN-1** One. *Who* SW. *Else* n/a. *Src* X.\n\
        - **GEN-2** Two. *Who* SW. *Else* n/a. *Src* X.\n\n\
        ## VIRS - machines\n\n\
        - **VIRS-1** One. *Who* SW. *Else* n/a. *Src* X.\n\n\
        ## Source hazards - do not copy\n\n1. Beware.\n";

    fn findings(exceptions: &str, source: &str) -> (Vec<String>, Vec<String>) {
        let source = SourceFile { path: "a.rs".into(), text: source.into() };
        table(&RuleBook::parse(RULES).unwrap(), &Exceptions::parse(EXCEPTIONS, exceptions).unwrap(), &[source])
    }

    #[test]
    fn a_rule_is_tested_by_what_stands_in_and_above_a_test() {
        let source = "/// GEN-1 in a comment above.\n#[test]\nfn above() {}\n\
            #[test]\nfn inside() { check('{', \"}\", \"GEN-2\"); /* } hazard 1 */ }\n\
            #[test]\nfn gen_2_by_name() {}\nfn not_a_test() { \"VIRS-1\"; }\n";
        let (lines, findings) = findings("exception = []", source);
        assert_eq!(findings, Vec::<String>::new());
        let expected = [
            "GEN-1: above in a.rs",
            "GEN-2: gen_2_by_name, inside in a.rs",
            "VIRS-1: none, as nothing here has its subject",
            "hazard 1: inside in a.rs",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn every_fault_of_the_table_is_found() {
        let exceptions = "[[exception]]\nrules = ['GEN-1', 'GEN-1', 'GEN-9', 'hazard 2']\nreason = 'why'\n";
        let source = "// GEN-7\n#[test]\nfn a() { \"GEN-1\" }\n";
        let (_, findings) = findings(exceptions, source);
        let expected = [
            "a.rs:1: there is no rule GEN-7",
            "docs/rule-exceptions.toml: GEN-1 has a reason and a test, a in a.rs",
            "docs/rule-exceptions.toml: GEN-1 has two reasons",
            "docs/rule-exceptions.toml: there is no GEN-9",
            "docs/rule-exceptions.toml: there is no hazard 2",
            "GEN-2 has neither a test nor a reason in docs/rule-exceptions.toml: Two.",
            "hazard 1 has neither a test nor a reason in docs/rule-exceptions.toml: Beware.",
        ];
        for line in expected {
            assert!(findings.iter().any(|finding| finding == line), "{line}\n{findings:#?}");
        }
        assert!(Exceptions::parse(EXCEPTIONS, "[[exception]]\nrule = 'GEN-1'").is_err());
    }

    #[test]
    fn a_citation_outside_a_test_does_not_count() {
        let source =
            "#[test]\nfn a() { nested(|| { 1 }); r#\"}\"#; b'\"'; x::<'static>(); }\n// GEN-1, GEN-2\nfn b() {}\n";
        let (_, findings) = findings("exception = []", source);
        assert_eq!(findings.len(), 3, "{findings:#?}");
    }

    #[test]
    fn tests_in_the_arguments_of_a_macro_count_and_so_do_those_of_the_conformance_suite() {
        let source = "proptest! {\n/// GEN-1.\n#[test] fn a(x: u8) {} }\n\
            group! { fn b(lab) rules[\"GEN-2\"] { lab.hazard(\"hazard 1\") } fn c(lab) { \"VIRS-1\" } }";
        let names: Vec<String> = test_functions(source).into_iter().map(|function| function.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(findings("exception = []", source).1, Vec::<String>::new());
    }

    #[test]
    fn an_id_is_a_whole_word_of_a_group_that_exists() {
        let groups = BTreeSet::from(["GEN", "VM"]);
        let cited = citations("GEN-1, (VM-12): XGEN-2 GEN-3a GEN-X MEM-1 GEN-4-5 `GEN-6`", &groups);
        assert_eq!(cited, BTreeSet::from(["GEN-1", "VM-12", "GEN-6"].map(str::to_owned)));
        assert_eq!(cited_by_name("gen_18_is_cited", &groups), Some("GEN-18".into()));
        assert_eq!(cited_by_name("ppi_3_is_an_edge", &groups), None);
        assert_eq!(cited_by_name("the_gen_18", &groups), None);
    }
}
