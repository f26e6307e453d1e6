//! What a case is called, and what can go wrong in it.

use std::fmt;
use std::str::FromStr;

use gicv5_model::fault::Fault;

use super::life::{LATE, Planned, TOO_LATE};
use crate::listed::shown;

/// The most faults in a case.
pub(super) const MOST: usize = 3;

/// The highest number of a setting: settings drawn by chance are found by drawing.
pub(super) const MOST_SETTINGS: u32 = 1_000_000;

shown! {
    /// A way in which something goes wrong.
    pub(super) Harm {
        /// The request is refused.
        Refused = "refused",
        /// The command never completes, until the hardware recovers.
        Never = "never",
        /// The command completes late, but in time.
        Late = "late",
        /// The command completes after the library has given up.
        TooLate = "too-late",
        /// The command completes without an effect.
        Ignored = "ignored",
        /// The selection selects nothing.
        Invalid = "invalid",
    }
}

impl Harm {
    pub(super) const fn fault(self) -> Fault {
        match self {
            Harm::Refused => Fault::Refused,
            Harm::Never => Fault::Never,
            Harm::Late => Fault::Late(LATE),
            Harm::TooLate => Fault::Late(TOO_LATE),
            Harm::Ignored => Fault::Ignored,
            Harm::Invalid => Fault::Invalid,
        }
    }
}

/// A harm and the point at which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Strike {
    pub(super) at: u64,
    pub(super) harm: Harm,
}

impl Strike {
    pub(super) const fn planned(self) -> Planned {
        (self.at, self.harm.fault())
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.harm)
    }
}

/// The name of a case: `linear-novmd-vped8-coherent-1cpu-spi-lpi/12.never/40.ignored`. Under other settings than the default
/// the number of the setting follows the geometry: `...-lpi@3/12.never`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CaseId {
    pub(super) geometry: String,
    pub(super) switches: usize,
    pub(super) strikes: Vec<Strike>,
}

impl CaseId {
    /// The case with one fault more.
    pub(super) fn and(&self, strike: Strike) -> CaseId {
        CaseId { strikes: self.strikes.iter().copied().chain([strike]).collect(), ..self.clone() }
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.geometry)?;
        if self.switches != 0 {
            write!(f, "@{}", self.switches)?;
        }
        self.strikes.iter().try_for_each(|strike| write!(f, "/{strike}"))
    }
}

impl FromStr for CaseId {
    type Err = String;

    fn from_str(text: &str) -> Result<CaseId, String> {
        let mut parts = text.split('/');
        let place = parts.next().unwrap_or_default();
        let (geometry, switches) = match place.split_once('@') {
            Some((geometry, number)) => {
                let setting = number.parse::<u32>().ok().filter(|setting| *setting <= MOST_SETTINGS);
                let setting = setting.ok_or_else(|| format!("\"{number}\" is not the number of a setting"))?;
                (geometry, setting as usize)
            }
            None => (place, 0),
        };
        let strikes = parts.map(|part| {
            let harm = |name: &str| Harm::ALL.into_iter().find(|harm| harm.words() == name);
            let (at, name) = part.split_once('.').ok_or_else(|| format!("\"{part}\" is not like 12.never"))?;
            let at = at.parse().map_err(|_| format!("\"{at}\" is not the number of a fault point"))?;
            let harm = harm(name).ok_or_else(|| {
                let names: Vec<&str> = Harm::ALL.into_iter().map(Harm::words).collect();
                format!("no fault is called \"{name}\"; there are {}", names.join(", "))
            })?;
            Ok(Strike { at, harm })
        });
        let strikes = strikes.collect::<Result<Vec<Strike>, String>>()?;
        if strikes.len() > MOST || strikes.array_windows().any(|[first, second]| first.at >= second.at) {
            return Err(format!("a case has at most {MOST} faults, each at a later point than the one before"));
        }
        Ok(CaseId { geometry: geometry.to_owned(), switches, strikes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_by_its_name() {
        for name in ["first-vmd8-vped8-coherent-1cpu", "a@3/0.refused", "a/12.never/40.too-late", "a/1.late/2.ignored"]
        {
            assert_eq!(name.parse::<CaseId>().unwrap().to_string(), name);
        }
        for wrong in ["a/12", "a/x.never", "a/1.nothing", "a@x", "a/2.never/1.never", "a/1.late/2.late/3.late/4.late"] {
            assert!(wrong.parse::<CaseId>().is_err(), "{wrong}");
        }
    }
}
