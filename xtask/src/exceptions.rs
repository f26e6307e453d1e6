//! What a chore would complain of and does not, with the reasons: `docs/*-exceptions.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// A list of exceptions of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exceptions<E> {
    pub(crate) exception: Vec<E>,
}

impl Exceptions<Uncovered> {
    /// The reason for each id. What is wrong with the list of this file goes to the findings: an id that does not exist, one that has
    /// two reasons, and what else `wrong` says of one.
    pub(crate) fn reasons(
        &self,
        file: &str,
        exists: impl Fn(&str) -> bool,
        wrong: impl Fn(&str) -> Option<String>,
        findings: &mut Vec<String>,
    ) -> BTreeMap<&str, &str> {
        let mut reasons = BTreeMap::new();
        for exception in &self.exception {
            for id in &exception.rules {
                if !exists(id) {
                    findings.push(format!("{file}: there is no {id}"));
                }
                if reasons.insert(id.as_str(), exception.reason.as_str()).is_some() {
                    findings.push(format!("{file}: {id} has two reasons"));
                }
                findings.extend(wrong(id).map(|wrong| format!("{file}: {id} {wrong}")));
            }
        }
        reasons
    }
}

impl<E: DeserializeOwned> Exceptions<E> {
    /// Reads the text of this file.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Exceptions<E>> {
        toml::from_str(text).with_context(|| format!("reading {file}"))
    }
}

/// Rules, or what stands beside them in the book of rules, that something does not cover.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uncovered {
    /// Rule ids, `hazard 5` or `open question 5`.
    pub(crate) rules: Vec<String>,
    pub(crate) reason: String,
}
