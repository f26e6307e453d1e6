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
    /// What takes time: nothing of it happens until it is driven. It has no other form.
    ///
    /// As a future it goes on with each poll until hardware has to be waited for, looks once whether the hardware is done, and
    /// never waits itself; no executor is needed. [`wait`](Self::wait) drives it to its end, pausing in between as the host
    /// pauses. Once it has completed, it is pending if it is polled again.
    #[must_use = "nothing happens until it is awaited, polled, or waited for"]
    pub struct Operation<'w, W: ?Sized, F> {
        #[pin]
        future: Option<F>,
        wait: &'w W,
    }
}

impl<'w, W: Wait + ?Sized, F: Future> Operation<'w, W, F> {
    /// A future, and how its driver's host waits. What the drivers await themselves they poll until it has completed, and not
    /// once more; a future that they give away is one of these, because that of an `async fn` panics then.
    pub const fn new(wait: &'w W, future: F) -> Operation<'w, W, F> {
        Operation { future: Some(future), wait }
    }

    /// Drives it to its end, with [`Wait::relax`] after each poll that did not end it. Not from an interrupt handler, nor with a
    /// lock held that one takes.
    pub fn wait(self) -> F::Output {
        block_on(self.wait, self)
    }
}

impl<W: ?Sized, F: Future> Future for Operation<'_, W, F> {
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

/// A future that may be polled again when it has completed, and is pending from then on.
pub fn fused<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Operation { future: Some(future), wait: &() }
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
