//! What a test is.

use crate::bench::Bench;
use crate::features::Need;
use crate::lab::Lab;
use crate::outcome::Outcome;
use crate::profile::Profile;

/// A test.
pub struct Test<B: Bench> {
    /// Its name, `group::what_holds`, which never changes its meaning.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub about: &'static str,
    /// The rules it checks, by id (`docs/rules.md`).
    pub rules: &'static [&'static str],
    /// What it needs of the machine.
    pub needs: &'static [Need],
    /// The software that needs this, if the rules leave it open.
    pub profile: Option<Profile>,
    pub(crate) body: fn(&Lab<'_, B>) -> Outcome,
}
