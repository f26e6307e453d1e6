//! What the conformance tests have shown, for people, machines and CI servers.

use std::fmt::Write as _;
use std::io::{self, Write};

use gicv5_conformance::Test;
use serde::Serialize;
use serde_json::json;

use super::bench::ModelBench;
use crate::failure::Outcome;
use crate::output::{self, Console, FAINT, HEADING, NAME, PROBLEM, REMARK, styled};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    Pass,
    Fail,
    Open,
    NotApplicable,
}

/// One test.
#[derive(Debug, Serialize)]
pub(super) struct TestReport {
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) rules: &'static [&'static str],
    pub(super) about: &'static str,
    /// Why it failed or does not apply.
    pub(super) message: Option<String>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine: &'static str,
    pes: u16,
    passed: usize,
    failed: usize,
    open: usize,
    not_applicable: usize,
    pub(super) tests: Vec<TestReport>,
    pub(super) interrupted: bool,
}

impl Report {
    pub(super) fn new(machine: &'static str, pes: u16) -> Report {
        Report { machine, pes, passed: 0, failed: 0, open: 0, not_applicable: 0, tests: Vec::new(), interrupted: false }
    }

    pub(super) fn push(&mut self, test: TestReport) {
        match test.status {
            Status::Pass => self.passed += 1,
            Status::Fail => self.failed += 1,
            Status::Open => self.open += 1,
            Status::NotApplicable => self.not_applicable += 1,
        }
        self.tests.push(test);
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::of(self.interrupted, self.failed == 0)
    }

    /// A line for each test: name, how it ended, rules; and why, where it did not pass.
    pub(super) fn print(&self, out: &mut Console<'_>) -> io::Result<()> {
        for test in &self.tests {
            let status = match test.status {
                Status::Pass => styled(NAME, "pass"),
                Status::Fail => styled(PROBLEM, "FAIL"),
                Status::Open => styled(REMARK, "open"),
                Status::NotApplicable => styled(REMARK, "n/a "),
            };
            let rules = styled(FAINT, format_args!("[{}]", test.rules.join(", ")));
            writeln!(out, "{status}  {}  {rules}", test.name)?;
            match (test.status, &test.message) {
                (Status::Fail, Some(message)) => {
                    writeln!(out, "      {}", test.about)?;
                    writeln!(out, "      {message}")?;
                }
                (_, Some(message)) => writeln!(out, "      {message}")?,
                (_, None) => {}
            }
        }
        let pes = output::count(self.pes.into(), "PE");
        let summary = format!(
            "{} passed, {} failed, {} open, {} not applicable; model {}, {pes}",
            self.passed, self.failed, self.open, self.not_applicable, self.machine
        );
        writeln!(out, "{}", styled(HEADING, summary))?;
        if self.interrupted {
            writeln!(out, "interrupted")?;
        }
        Ok(())
    }

    /// The results as CI servers read them.
    pub(super) fn junit(&self) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<testsuite name=\"gicv5-conformance model {}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
            self.machine,
            self.tests.len(),
            self.failed,
            self.open + self.not_applicable
        );
        for test in &self.tests {
            let (group, name) = test.name.split_once("::").unwrap_or(("", test.name));
            let message = escaped(test.message.as_deref().unwrap_or_default());
            let _ = write!(text, "  <testcase classname=\"{group}\" name=\"{name}\"");
            let _ = match test.status {
                Status::Pass => writeln!(text, "/>"),
                Status::Fail => writeln!(
                    text,
                    ">\n    <failure message=\"{message}\">{} [{}]</failure>\n  </testcase>",
                    escaped(test.about),
                    test.rules.join(", ")
                ),
                Status::Open | Status::NotApplicable => {
                    writeln!(text, ">\n    <skipped message=\"{message}\"/>\n  </testcase>")
                }
            };
        }
        text += "</testsuite>\n";
        text
    }
}

/// Text as the content or an attribute of an XML element.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// A test that has not run.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    rules: &'static [&'static str],
    about: &'static str,
    needs_list: Vec<String>,
}

/// Lists tests.
pub(super) fn list(tests: &[&Test<ModelBench>], json: bool, out: &mut Console<'_>) -> io::Result<()> {
    let listed = |test: &&Test<ModelBench>| Listed {
        name: test.name,
        rules: test.rules,
        about: test.about.trim(),
        needs_list: test.needs.iter().map(ToString::to_string).collect(),
    };
    let test_list: Vec<Listed> = tests.iter().map(listed).collect();
    if json {
        return output::json(out, &json!({ "count": test_list.len(), "test_list": test_list }));
    }
    for test in test_list {
        writeln!(out, "{}  {}", styled(NAME, test.name), styled(FAINT, format_args!("[{}]", test.rules.join(", "))))?;
        out.paragraph(4, 4, &[(anstyle::Style::new(), test.about)])?;
        if !test.needs_list.is_empty() {
            out.paragraph(4, 4, &[(REMARK, &format!("needs {}", test.needs_list.join(", ")))])?;
        }
    }
    Ok(())
}
