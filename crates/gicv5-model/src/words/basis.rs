//! What a rule rests on.

use core::fmt;

/// What a rule of `docs/rules.md` rests on, the firmest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Basis {
    /// Architecture text that a public source quotes or restates.
    Architecture,
    /// The behaviour of existing software alone.
    Software,
    /// A conclusion of this project.
    Inferred,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Basis::Architecture => "architecture",
            Basis::Software => "software",
            Basis::Inferred => "inferred",
        })
    }
}

// The basis of each rule of `docs/rules.md`, by its id, as the build has found it there.
include!(concat!(env!("OUT_DIR"), "/basis.rs"));

/// The basis of a rule; `None` for one that `docs/rules.md` does not have.
pub(super) const fn of_rule(id: &str) -> Option<Basis> {
    let mut rest = BASIS;
    while let [(found, basis), others @ ..] = rest {
        if is_same(found.as_bytes(), id.as_bytes()) {
            return Some(*basis);
        }
        rest = others;
    }
    None
}

const fn is_same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([a, one_rest @ ..], [b, other_rest @ ..]) = (one, other)
        && *a == *b
    {
        (one, other) = (one_rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::rules;

    #[test]
    fn each_rule_rests_on_what_the_book_of_rules_says_and_the_models_own_on_nothing() {
        assert_eq!(of_rule("VMT-15"), Some(Basis::Architecture));
        assert_eq!(of_rule("VMT-7"), Some(Basis::Software));
        assert_eq!(of_rule("SPI-11"), Some(Basis::Inferred));
        assert_eq!([of_rule("VMT-1"), of_rule("VMT-1x"), of_rule("")], [Some(Basis::Architecture), None, None]);
        for rule in rules::ALL {
            let own = rules::OWN_RULES.iter().any(|own| own.id == rule.id());
            assert_eq!(rule.basis().is_none(), own, "{}", rule.id());
        }
        assert!(rules::REMARKS.iter().all(|rule| rule.basis().is_some()));
    }

    #[test]
    fn what_is_inferred_is_no_violation_unless_it_follows_from_rules_that_have_sources() {
        let inferred = rules::ALL.iter().filter(|rule| rule.basis() == Some(Basis::Inferred));
        assert_eq!(inferred.map(|rule| rule.id()).collect::<Vec<_>>(), ["LIFE-25"]);
    }
}
