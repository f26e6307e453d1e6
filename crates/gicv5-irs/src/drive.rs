//! Futures without an executor.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use gicv5_hal::Wait;

/// Gives the driver of the future its turn.
pub async fn look_again() {
    let mut waited = false;
    poll_fn(|context| {
        if core::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Only polling tells when the IRS is done, so an executor must poll again unasked.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Drives a future to completion, pausing as the host pauses.
pub fn block_on<W: Wait + ?Sized, T>(wait: &W, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        wait.relax();
    }
}
