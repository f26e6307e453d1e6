//! The host's supply of LPIs.

use alloc::format;
use alloc::vec::Vec;

use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::values::{HandlingMode, RoutingMode};
use gicv5_arch::{Iaffid, IrsIntId, Lpi};
use gicv5_hal::{Cookie, CurrentPe, HostLpis, LpiError, NotReleased, Route};

use crate::{Broken, Promise};

/// How often all LPIs are taken and given back.
const ROUNDS: usize = 3;

/// Checks a supply of LPIs, of which it takes up to `most` at a time: more than there are, or exhaustion is not looked at.
///
/// The physical side is up, and the PE that `current` lends is one that can take interrupts. Its interrupts are to be masked: LPIs
/// become enabled and pending, never both.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn host_lpis<H, C>(host: &H, current: &C, most: usize) -> Result<(), Broken>
where
    H: HostLpis + ?Sized,
    C: CurrentPe + ?Sized,
{
    let mut first = None;
    for round in 0..ROUNDS {
        let (held, outcome) = take(host, most);
        let outcome = outcome.and_then(|()| look(host, current, &held));
        let count = held.len();
        let released = held.into_iter().try_for_each(|lpi| release(host, lpi));
        outcome.and(released)?;
        let wanted = *first.get_or_insert(count);
        Promise::LpiAgain.holds(count >= wanted && count > 0, || {
            format!("of {wanted} LPIs there are {count} left after they were released {round} times")
        })?;
    }
    Ok(())
}

/// Takes up to so many LPIs, and says what is wrong with how that ended.
fn take<H: HostLpis + ?Sized>(host: &H, most: usize) -> (Vec<H::Lpi>, Result<(), Broken>) {
    let mut held = Vec::new();
    for n in 0..most {
        match host.allocate(Cookie(n as u64)) {
            Ok(lpi) => held.push(lpi),
            Err(LpiError::NoneFree | LpiError::NoMemory) => break,
            Err(error) => {
                let outcome = Promise::NoneFree.holds(false, || format!("after {n} LPIs it is: {error}"));
                return (held, outcome);
            }
        }
    }
    (held, Ok(()))
}

fn release<H: HostLpis + ?Sized>(host: &H, owned: H::Lpi) -> Result<(), Broken> {
    let lpi = host.lpi(&owned);
    let released = host.release(owned);
    Promise::LpiReleased.holds(released.is_ok(), || match released {
        Err(NotReleased { lpi: kept }) => format!("{} is kept", host.lpi(&kept)),
        Ok(()) => format!("{lpi} is released"),
    })
}

/// Looks at all LPIs that are held, and leaves one half enabled and the other pending.
fn look<H, C>(host: &H, current: &C, held: &[H::Lpi]) -> Result<(), Broken>
where
    H: HostLpis + ?Sized,
    C: CurrentPe + ?Sized,
{
    let mut numbers: Vec<Lpi> = held.iter().map(|lpi| host.lpi(lpi)).collect();
    numbers.sort_unstable();
    for (one, next) in numbers.iter().zip(numbers.iter().skip(1)) {
        Promise::LpiDistinct.holds(one != next, || format!("{one} is held twice"))?;
    }
    let here = current.on_this_pe(|pe| pe.iaffid());
    for owned in held {
        let lpi = host.lpi(owned);
        let found = configuration(current, lpi)?;
        let edge = found.hm() == HandlingMode::Edge && found.irm() == RoutingMode::Targeted;
        Promise::LpiAtRest
            .holds(edge && !(found.enabled() || found.pending() || found.active()), || seen(lpi, found))?;
    }
    for (owned, n) in held.iter().zip(0..) {
        let lpi = host.lpi(owned);
        for to in [Route::To(Iaffid::new(elsewhere(here))), Route::To(here), Route::ThisPe] {
            host.route(owned, to);
            let found = configuration(current, lpi)?;
            let wanted = match to {
                Route::To(target) => target,
                Route::ThisPe => here,
            };
            Promise::LpiRouted.holds(found.iaffid() == wanted, || seen(lpi, found))?;
        }
        if n % 2 == 0 {
            host.enable(owned);
            let found = configuration(current, lpi)?;
            Promise::LpiEnabled.holds(found.enabled(), || seen(lpi, found))?;
        } else {
            current.on_this_pe(|pe| {
                pe.cdpend(lpi.into(), true);
                pe.gsb_sys();
            });
        }
    }
    Ok(())
}

/// Another PE's affinity ID, which need not exist: an LPI that is neither enabled nor pending goes nowhere.
fn elsewhere(here: Iaffid) -> u16 {
    here.raw_value() ^ 1
}

fn seen(lpi: Lpi, found: ICC_ICSR_EL1) -> alloc::string::String {
    format!("{lpi} has {found:?}")
}

/// What the IRS has about an LPI.
fn configuration<C: CurrentPe + ?Sized>(current: &C, lpi: Lpi) -> Result<ICC_ICSR_EL1, Broken> {
    let found = current.on_this_pe(|pe| {
        pe.cdrcfg(IrsIntId::from(lpi));
        pe.isb();
        pe.read::<ICC_ICSR_EL1>()
    });
    Promise::LpiReachable.holds(!found.f(), || seen(lpi, found))?;
    Ok(found)
}
