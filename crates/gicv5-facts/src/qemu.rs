//! Where QEMU differs from the rules.

use serde::Deserialize;

use crate::error::FactsError;

/// A difference between QEMU's GICv5 and the rules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuDifference {
    /// Its name in code and reports.
    pub id: String,
    /// Whether QEMU is wrong.
    pub kind: QemuKind,
    /// The versions in which it was seen, by the start of their number.
    pub versions: Vec<String>,
    /// The rules that it is about.
    pub rules: Vec<String>,
    /// What it is about beside rules.
    pub about: Option<String>,
    /// What QEMU does.
    pub does: String,
    /// What the rules say.
    pub says: String,
    /// Its number among the hazards of the rule book.
    pub hazard: Option<u32>,
}

/// What a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QemuKind {
    /// QEMU breaks a rule.
    Defect,
    /// A rule leaves it to the implementation.
    Choice,
    /// No rule says anything.
    Unspecified,
}

pub(crate) fn parse(text: &str) -> Result<Vec<QemuDifference>, FactsError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Differences {
        difference: Vec<QemuDifference>,
    }
    let Differences { difference } = toml::from_str(text).map_err(|error| FactsError::Syntax(error.to_string()))?;
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_rules_and_hazards_exist() {
        let (differences, book) = (crate::qemu().unwrap(), crate::rules().unwrap());
        let ids: BTreeSet<&str> = differences.iter().map(|difference| difference.id.as_str()).collect();
        assert_eq!(ids.len(), differences.len());
        for difference in differences {
            let id = &difference.id;
            assert!(difference.rules.iter().all(|rule| book.rule(rule).is_some()), "{id}");
            assert!(!difference.rules.is_empty() || difference.about.is_some(), "{id} is about nothing");
            let exists = |number: u32| book.hazards.iter().any(|hazard| hazard.number == number);
            assert!(difference.hazard.is_none_or(exists), "{id}");
        }
    }
}
