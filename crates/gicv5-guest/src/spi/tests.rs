//! The byte of an SPI, one call at a time and with calls that interrupt a call.

use super::*;
use TriggerMode::{Edge, Level};
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use std::vec::Vec;

fn spi(id: u32) -> Spi {
    Spi::new_with_raw_value(u24::new(id))
}

/// Makes one call, and returns what the hardware was told.
fn told(
    call: impl FnOnce(&dyn Fn(Tell) -> Result<(), Infallible>) -> Option<Result<Delivery, Infallible>>,
) -> Vec<Tell> {
    let told = RefCell::new(Vec::new());
    let delivery = call(&|tell| {
        told.borrow_mut().push(tell);
        Ok(())
    });
    assert!(matches!(delivery, Some(Ok(Delivery::Settled))));
    told.into_inner()
}

/// SPI-4, INJ-2.
#[test]
fn an_edge_spi_is_pended_by_each_rise_and_a_level_one_follows_its_line() {
    let lines = Lines::new(3).unwrap();
    let set = |high| told(|tell| lines.set_line(spi(2), high, tell));
    assert_eq!(set(true), [Tell::Pending(true)]);
    assert_eq!(set(true), []);
    assert_eq!(set(false), []);
    assert_eq!(set(true), [Tell::Pending(true)]);
    assert_eq!(set(false), []);
    assert_eq!(told(|tell| lines.set_mode(spi(2), Level, tell)), [Tell::Mode(Level), Tell::Pending(false)]);
    assert_eq!(set(true), [Tell::Pending(true)]);
    assert_eq!(set(true), []);
    assert_eq!(set(false), [Tell::Pending(false)]);
}

/// SPI-3, GIRS-37, GIRS-38, GIRS-50.
#[test]
fn a_new_mode_reaches_the_hardware_before_the_line_does() {
    let lines = Lines::new(1).unwrap();
    let set_mode = |mode| told(|tell| lines.set_mode(spi(0), mode, tell));
    assert_eq!(told(|tell| lines.set_line(spi(0), true, tell)), [Tell::Pending(true)]);
    assert_eq!(set_mode(Level), [Tell::Mode(Level), Tell::Pending(true)]);
    assert_eq!(set_mode(Level), []);
    assert_eq!(set_mode(Edge), [Tell::Mode(Edge), Tell::Pending(false)]);
    assert_eq!(told(|tell| lines.set_line(spi(0), false, tell)), []);
    assert_eq!(set_mode(Edge), []);
    assert_eq!(set_mode(Level), [Tell::Mode(Level), Tell::Pending(false)]);
    // Low, so that nothing of the level's is left to clear.
    assert_eq!(set_mode(Edge), [Tell::Mode(Edge)]);
}

/// GIRS-42.
#[test]
fn a_resampled_level_spi_is_told_again() {
    let lines = Lines::new(1).unwrap();
    let resample = || told(|tell| lines.resample(spi(0), tell));
    let _ = told(|tell| lines.set_line(spi(0), true, tell));
    assert_eq!(resample(), []);
    let _ = told(|tell| lines.set_mode(spi(0), Level, tell));
    assert_eq!(resample(), [Tell::Pending(true)]);
    let _ = told(|tell| lines.set_line(spi(0), false, tell));
    assert_eq!(resample(), [Tell::Pending(false)]);
}

/// GIRS-73: none of the numbers that a guest can write reaches a byte that is not an SPI's.
#[test]
fn an_spi_that_does_not_exist_has_no_byte() {
    for count in [0, 1, 3, 64] {
        let lines = Lines::new(count).unwrap();
        for id in [0, 1, 2, 3, 4, 63, 64, 127, 0x80_0000, 0xff_ffff] {
            assert_eq!(lines.mode(spi(id)).is_some(), id < count);
            assert_eq!(lines.settle(spi(id), |_| Ok::<_, ()>(())).is_some(), id < count);
        }
        assert_eq!(lines.iter().count(), count as usize);
    }
}

#[test]
fn a_call_that_interrupts_another_leaves_its_news_to_it() {
    let lines = Lines::new(1).unwrap();
    let heard = RefCell::new(Vec::new());
    let inner = Cell::new(None);
    let delivery = lines.set_line(spi(0), true, |tell| {
        heard.borrow_mut().push(tell);
        if inner.get().is_none() {
            // An interrupt handler, in the middle of it.
            inner.set(Some(lines.set_mode(spi(0), Level, |_| -> Result<(), Infallible> { panic!("not its turn") })));
            assert_eq!(lines.mode(spi(0)), Some((Level, true)), "the guest sees that its mode is not there yet");
        }
        Ok::<_, Infallible>(())
    });
    assert_eq!(inner.into_inner(), Some(Some(Ok(Delivery::Shared))));
    assert_eq!(delivery, Some(Ok(Delivery::Settled)));
    assert_eq!(heard.into_inner(), [Tell::Pending(true), Tell::Mode(Level), Tell::Pending(true)]);
    assert_eq!(lines.mode(spi(0)), Some((Level, false)));
}

/// GIRS-39: the bound that the documentation states.
#[test]
fn a_call_that_is_overtaken_again_and_again_gives_up_and_loses_nothing() {
    let lines = Lines::new(1).unwrap();
    let heard = RefCell::new(Vec::new());
    let storm = |tell| {
        heard.borrow_mut().push(tell);
        let mode = if lines.mode(spi(0)).unwrap().0 == Level { Edge } else { Level };
        assert_eq!(lines.set_mode(spi(0), mode, |_| Ok::<_, Infallible>(())), Some(Ok(Delivery::Shared)));
        let high = heard.borrow().len() % 2 == 0;
        let _ = lines.set_line(spi(0), high, |_| Ok::<_, Infallible>(()));
        Ok::<_, Infallible>(())
    };
    assert_eq!(lines.set_line(spi(0), true, storm), Some(Ok(Delivery::Again)));
    let calls = heard.borrow().len();
    assert!(calls > 1 && calls <= (ROUNDS * TELLS) as usize, "{calls}");

    // The call that follows tells what was left, once.
    let mode = lines.mode(spi(0)).unwrap().0;
    let last = told(|tell| lines.settle(spi(0), tell));
    assert!(last.contains(&Tell::Mode(mode)), "{last:?}");
    assert_eq!(told(|tell| lines.settle(spi(0), tell)), []);
}

#[test]
fn what_the_hardware_refused_is_told_by_the_next_call() {
    let lines = Lines::new(1).unwrap();
    assert_eq!(lines.set_mode(spi(0), Level, |_| Err("no vCPU is resident")), Some(Err("no vCPU is resident")));
    assert_eq!(lines.mode(spi(0)), Some((Level, true)));
    let refuse_the_line = |tell| match tell {
        Tell::Mode(_) => Ok(()),
        Tell::Pending(_) => Err(()),
    };
    assert_eq!(lines.set_line(spi(0), true, refuse_the_line), Some(Err(())));
    assert_eq!(told(|tell| lines.settle(spi(0), tell)), [Tell::Mode(Level), Tell::Pending(true)]);
    assert_eq!(lines.mode(spi(0)), Some((Level, false)));
}

#[test]
fn an_edge_that_rose_while_another_was_told_is_not_lost() {
    let lines = Lines::new(1).unwrap();
    let heard = Cell::new(0);
    let delivery = lines.set_line(spi(0), true, |tell| {
        assert_eq!(tell, Tell::Pending(true));
        heard.set(heard.get() + 1);
        if heard.get() == 1 {
            for high in [false, true] {
                assert_eq!(lines.set_line(spi(0), high, |_| Ok::<_, ()>(())), Some(Ok(Delivery::Shared)));
            }
        }
        Ok::<_, ()>(())
    });
    assert_eq!((delivery, heard.get()), (Some(Ok(Delivery::Settled)), 2));
}
