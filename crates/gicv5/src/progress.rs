//! What all long commands share: Ctrl-C ends them with the summary so far, and a terminal shows how far they are.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Outcome;

/// Shorter commands show no progress.
const AFTER: Duration = Duration::from_millis(500);

/// From now on the first Ctrl-C sets the flag that is returned.
///
/// The second ends the program: a command that waits for input does not look at the flag. Where the system refuses a handler,
/// Ctrl-C ends the program as it does by default.
pub(crate) fn catch_ctrl_c() -> &'static AtomicBool {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(Outcome::Interrupted.status().into());
        }
    });
    &INTERRUPTED
}

/// A bar on the standard error of a long command, if that is a terminal. Any thread may update it, so no thread may hold the
/// lock of the standard error meanwhile.
pub(crate) struct Progress {
    start: Instant,
    length: Option<u64>,
    template: &'static str,
    bar: OnceLock<Option<ProgressBar>>,
}

impl Progress {
    /// `length` is the position at the end, if that is known; `template` is in the language of [`ProgressStyle`].
    pub(crate) fn new(length: Option<u64>, template: &'static str) -> Progress {
        Progress { start: Instant::now(), length, template, bar: OnceLock::new() }
    }

    /// Shows the position and a message.
    pub(crate) fn show(&self, position: u64, message: impl FnOnce() -> String) {
        if self.start.elapsed() < AFTER {
            return;
        }
        if let Some(bar) = self.bar.get_or_init(|| self.draw()) {
            bar.set_position(self.length.map_or(position, |length| position.min(length)));
            bar.set_message(message());
        }
    }

    fn draw(&self) -> Option<ProgressBar> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(self.length, ProgressDrawTarget::stderr());
        Some(match ProgressStyle::with_template(self.template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get().and_then(Option::as_ref) {
            bar.finish_and_clear();
        }
    }
}
