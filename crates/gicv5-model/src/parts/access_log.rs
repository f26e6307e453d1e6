//! How often software has accessed each register of the IRSs.

use std::collections::BTreeMap;

use gicv5_arch::irs::IrsReg;
use gicv5_hal::{Frame, FrameKind};

/// How often software has read and written a register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accesses {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// The registers of all configuration frames, and how often software has accessed each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessLog {
    /// By offset, one for each 4 bytes up to the last that was accessed.
    words: Vec<Accesses>,
}

impl AccessLog {
    fn word(&mut self, frame: Frame, offset: u16) -> Option<&mut Accesses> {
        if frame.kind != FrameKind::Config {
            return None;
        }
        let word = usize::from(offset / 4);
        if self.words.len() <= word {
            self.words.resize(word + 1, Accesses::default());
        }
        self.words.get_mut(word)
    }

    #[inline]
    pub(crate) fn read(&mut self, frame: Frame, offset: u16) {
        if let Some(accesses) = self.word(frame, offset) {
            accesses.reads += 1;
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, frame: Frame, offset: u16) {
        if let Some(accesses) = self.word(frame, offset) {
            accesses.writes += 1;
        }
    }

    /// The registers that have been accessed, one half of them or all.
    pub(crate) fn by_register(&self) -> BTreeMap<IrsReg, Accesses> {
        let mut found = BTreeMap::<_, Accesses>::new();
        for (offset, word) in (0..=u16::MAX).step_by(4).zip(&self.words) {
            let upper = || IrsReg::at(offset.wrapping_sub(4)).filter(|register| register.width() == 64);
            if let Some(register) = IrsReg::at(offset).or_else(upper)
                && *word != Accesses::default()
            {
                let accesses = found.entry(register).or_default();
                accesses.reads += word.reads;
                accesses.writes += word.writes;
            }
        }
        found
    }
}
