//! The host's supply of LPIs: handed out, brought to rest, taken back.

use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IrsIntId, Lpi, Priority};
use gicv5_hal::{Cookie, CurrentPe, HostLpis, LpiError, NotReleased, Route};

use crate::instruments::host::ModelHost;
use crate::parts::lpi_books::ModelLpi;
use crate::words::fault::Request;
use crate::words::rules;

/// The priority of an LPI that nobody has given another: in the middle.
const PRIORITY: u32 = 16;

/// How many ticks a release waits, the most of which take a tenth of a millisecond.
const REST: u32 = 1_000;

impl ModelHost {
    /// Takes an LPI out of the PEs' reach. True once it is neither pending nor active and no handler runs.
    fn bring_to_rest(&self, lpi: &ModelLpi) -> bool {
        let id = IrsIntId::from(lpi.lpi);
        self.on_this_pe(|pe| {
            pe.cddis(id);
            pe.gsb_sys();
        });
        for n in 0..REST {
            let quiet = self.on_this_pe(|pe| {
                pe.cdpend(id, false);
                pe.gsb_sys();
                pe.cdrcfg(id);
                pe.isb();
                let found: ICC_ICSR_EL1 = pe.read();
                found.f() || !(found.enabled() || found.pending() || found.active())
            });
            if quiet && self.lpis().handlers(lpi).is_none_or(|handlers| handlers == 0) {
                return true;
            }
            self.machine.advance(1);
            // A handler on another thread needs real time.
            match n < 100 {
                true => std::thread::yield_now(),
                false => std::thread::sleep(std::time::Duration::from_micros(100)),
            }
        }
        false
    }
}

/// Each request for an LPI, and each release, is a [fault point](crate::fault). A release that is refused leaves the LPI
/// disabled.
impl HostLpis for ModelHost {
    type Lpi = ModelLpi;

    fn allocate(&self, cookie: Cookie) -> Result<ModelLpi, LpiError> {
        let owned = self.lpis().allocate(cookie)?;
        let id = IrsIntId::from(owned.lpi);
        self.on_this_pe(|pe| {
            pe.cddis(id);
            pe.cdhm(id, HandlingMode::Edge);
            if let Ok(priority) = Priority::new(PRIORITY) {
                pe.cdpri(id, priority);
            }
            pe.cdaff(id, pe.iaffid());
            pe.cdpend(id, false);
            pe.gsb_sys();
        });
        Ok(owned)
    }

    fn lpi(&self, lpi: &ModelLpi) -> Lpi {
        lpi.lpi
    }

    fn enable(&self, lpi: &ModelLpi) {
        if self.lpis().holds(lpi, rules::POOL_2, "enables") {
            self.on_this_pe(|pe| {
                pe.cden(lpi.lpi.into());
                pe.gsb_sys();
            });
        }
    }

    fn route(&self, lpi: &ModelLpi, to: Route) {
        if self.lpis().holds(lpi, rules::POOL_2, "routes") {
            self.on_this_pe(|pe| {
                let target = match to {
                    Route::To(target) => target,
                    Route::ThisPe => pe.iaffid(),
                };
                pe.cdaff(lpi.lpi.into(), target);
                pe.gsb_sys();
            });
        }
    }

    fn release(&self, lpi: ModelLpi) -> Result<(), NotReleased<ModelLpi>> {
        if !self.lpis().holds(&lpi, rules::POOL_1, "releases") {
            return Ok(());
        }
        let refused = self.machine.pass_fault_point(Request::LpiRelease { lpi: lpi.lpi }).is_some();
        if !self.bring_to_rest(&lpi) || refused {
            return Err(NotReleased { lpi });
        }
        self.lpis().release(lpi);
        Ok(())
    }
}
