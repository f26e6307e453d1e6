//! LPIs for tests, which are numbers.

#![cfg_attr(loom, allow(dead_code, reason = "the exhaustive tests use less of it"))]

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gicv5_arch::Lpi;
use gicv5_hal::{Cookie, HostLpis, LpiError, NotReleased, Route};

/// LPIs by number, without hardware.
#[derive(Default)]
pub(crate) struct Supply(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether they are enabled.
    lpis: BTreeMap<u32, bool>,
    restless: bool,
    empty: bool,
}

impl Supply {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn allocated(&self) -> usize {
        self.state().lpis.len()
    }

    pub(crate) fn is_disabled(&self, lpi: Lpi) -> bool {
        self.state().lpis.get(&lpi.id()) == Some(&false)
    }

    /// LPIs do not come to rest.
    pub(crate) fn make_restless(&self, restless: bool) {
        self.state().restless = restless;
    }

    /// There are no LPIs.
    pub(crate) fn run_out(&self, empty: bool) {
        self.state().empty = empty;
    }
}

impl HostLpis for Supply {
    type Lpi = Lpi;

    fn allocate(&self, _cookie: Cookie) -> Result<Lpi, LpiError> {
        let mut state = self.state();
        if state.empty {
            return Err(LpiError::NoneFree);
        }
        let id = (0..).find(|id| !state.lpis.contains_key(id)).ok_or(LpiError::NoneFree)?;
        state.lpis.insert(id, false);
        Lpi::new(id).map_err(|_| LpiError::NoneFree)
    }

    fn lpi(&self, lpi: &Lpi) -> Lpi {
        *lpi
    }

    fn enable(&self, lpi: &Lpi) {
        self.state().lpis.insert(lpi.id(), true);
    }

    fn route(&self, _lpi: &Lpi, _to: Route) {}

    fn release(&self, lpi: Lpi) -> Result<(), NotReleased<Lpi>> {
        let mut state = self.state();
        if state.restless {
            return Err(NotReleased { lpi });
        }
        state.lpis.remove(&lpi.id());
        Ok(())
    }
}
