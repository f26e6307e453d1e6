//! What a switch can be set to.

/// One of the things that a switch can be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its name in the type.
    pub name: &'static str,
    /// What it means, line by line.
    pub meaning: &'static [&'static str],
}
