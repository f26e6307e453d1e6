//! Software that needs a position of what the rules leave open.

/// Software that relies on something that the rules leave open: hardware may do otherwise and be right, and the software does not
/// work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// KVM in Linux 7.1 to 7.3, whose guests have PPIs only: no VM table and no resident VPE.
    Linux71,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 1] = [Profile::Linux71];

    /// Its name on a command line: `linux-7.1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Linux71 => "linux-7.1",
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }
}
