//! The byte of an SPI: its layout, and what each change makes of it.

#![allow(unreachable_pub, reason = "the macro makes a builder that is public")]

use gicv5_arch::values::TriggerMode;

/// What is told at most in one round: the mode, that the line was cleared, that it rose.
pub(crate) const TELLS: u32 = 3;

/// One thing to tell the hardware about an SPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Mode(TriggerMode),
    Pending(bool),
}

/// An SPI's byte.
#[bitbybit::bitfield(u8, default = 0, forbid_overlaps)]
#[derive(PartialEq, Eq)]
pub(crate) struct Word {
    /// The trigger mode; edge at reset (GIRS-37).
    #[bit(0, rw)]
    mode: TriggerMode,
    /// The line is high.
    #[bit(1, rw)]
    high: bool,
    /// A call is telling the hardware.
    #[bit(2, rw)]
    busy: bool,
    /// What it is telling includes the mode.
    #[bit(3, rw)]
    mode_under_way: bool,
    /// Not yet told: the mode.
    #[bit(4, rw)]
    tell_mode: bool,
    /// Not yet told: the line, if the mode is level; that what the level had set is cleared, if the mode is edge.
    #[bit(5, rw)]
    tell_line: bool,
    /// Not yet told: a rising edge. Means nothing if the mode is level.
    #[bit(6, rw)]
    tell_edge: bool,
}

impl Word {
    pub(super) const NEWS: Word = Word::ZERO.with_tell_mode(true).with_tell_line(true).with_tell_edge(true);

    pub(super) fn has_news(self) -> bool {
        self.raw_value() & Word::NEWS.raw_value() != 0
    }

    /// SPI-4: both edges of a level line count, only the rising one of an edge line does.
    pub(super) fn with_line_at(self, high: bool) -> Word {
        let word = self.with_high(high);
        match self.mode() {
            _ if self.high() == high => self,
            TriggerMode::Level => word.with_tell_line(true),
            TriggerMode::Edge if high => word.with_tell_edge(true),
            TriggerMode::Edge => word,
        }
    }

    /// SPI-3, GIRS-50: first the mode, then the line by the new mode.
    pub(super) fn with_mode_at(self, mode: TriggerMode) -> Word {
        let word = self.with_mode(mode).with_tell_mode(true).with_tell_edge(false);
        match mode {
            _ if self.mode() == mode => self,
            TriggerMode::Level => word.with_tell_line(true),
            // A level that fell and that the hardware does not know about yet has to go as well.
            TriggerMode::Edge => word.with_tell_line(self.high() || self.tell_line()),
        }
    }

    /// SPI-5.
    pub(super) fn resampled(self) -> Word {
        match self.mode() {
            TriggerMode::Level => self.with_tell_line(true),
            TriggerMode::Edge => self,
        }
    }

    /// The word of the call that tells the news.
    pub(super) fn taken(self) -> Word {
        Word::new_with_raw_value(self.raw_value() & !Word::NEWS.raw_value())
            .with_busy(true)
            .with_mode_under_way(self.tell_mode())
    }

    /// What to tell, in this order (GIRS-50).
    pub(super) fn news(self) -> [Option<Tell>; TELLS as usize] {
        let level = self.mode() == TriggerMode::Level;
        [
            self.tell_mode().then_some(Tell::Mode(self.mode())),
            self.tell_line().then_some(Tell::Pending(level && self.high())),
            (self.tell_edge() && !level).then_some(Tell::Pending(true)),
        ]
    }
}
