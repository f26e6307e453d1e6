//! What can be wrong with the facts.

use thiserror::Error;

/// A fact file that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The register file is not TOML of the expected shape. The message holds line and column.
    #[error("the register facts are not well formed: {0}")]
    Syntax(String),
    /// An item of the register file contradicts itself or another one.
    #[error("the register facts are not consistent: {item}: {problem}")]
    Inconsistent {
        /// The register, limit or pair concerned.
        item: String,
        /// What does not fit.
        problem: String,
    },
    /// A line of the rules file that cannot be read.
    #[error("line {line} of the rules cannot be read: {problem}")]
    Rule {
        /// Line number, counted from 1.
        line: usize,
        /// What is missing.
        problem: String,
    },
}
