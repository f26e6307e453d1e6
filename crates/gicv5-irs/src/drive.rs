//! Futures without an executor.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

use gicv5_hal::Wait;
use pin_project_lite::pin_project;

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

pin_project! {
    /// See [`fused`].
    struct Fused<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Future for Fused<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut future = self.project().future;
        let Some(running) = future.as_mut().as_pin_mut() else { return Poll::Pending };
        let poll = running.poll(context);
        if poll.is_ready() {
            future.set(None);
        }
        poll
    }
}

/// A future that may be polled again when it has completed, and is pending from then on. That of an `async fn` panics:
/// every future that the drivers give away is one of these. What the drivers await themselves they poll until it has
/// completed, and not once more.
pub fn fused<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Fused { future: Some(future) }
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
