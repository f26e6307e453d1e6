//! What a chore would complain of and does not, with the reasons: `docs/*-exceptions.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A list of exceptions of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exceptions<E> {
    pub(crate) exception: Vec<E>,
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
