//! The time stamp that `-msg timestamp=on` puts before a line.

/// When a line was written, as far as that puts it in order: microseconds since 1970, and before them how often the clock
/// had been set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

/// Bits for the microseconds: enough until the year 2255.
const BITS: u32 = 53;

impl Time {
    /// After every line.
    pub const MAX: Time = Time(u64::MAX);

    /// `2026-11-30T03:12:18.999983Z ` at the start of a line, and its length. QEMU leaves the fraction out at a whole second.
    /// A line without a time stamp has time 0 and length 0.
    #[inline]
    pub(crate) fn split(line: &[u8]) -> (Time, usize) {
        match line {
            [b'0'..=b'9', ..] => Self::parse(line).unwrap_or_default(),
            _ => (Time(0), 0),
        }
    }

    fn parse(line: &[u8]) -> Option<(Time, usize)> {
        let number = |from: usize, to: usize| {
            line.get(from..to)?
                .iter()
                .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
        };
        let is = |at: usize, byte: u8| (line.get(at) == Some(&byte)).then_some(());
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')].iter().try_for_each(|(at, byte)| is(*at, *byte))?;
        if !(1970..2255).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (micros, end) = if is(19, b'.').is_some() { (number(20, 26)?, 26) } else { (0, 19) };
        is(end, b'Z')?;
        is(end + 1, b' ')?;
        // Days of years that start in March, so that the leap day is the last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
        let seconds = (days - DAYS_BEFORE_1970) * 86_400 + hour * 3600 + minute * 60 + second;
        Some((Time(seconds * 1_000_000 + micros), end + 2))
    }

    /// The time of day, whatever happened to the clock.
    pub(crate) const fn micros(self) -> u64 {
        self.0 & ((1 << BITS) - 1)
    }

    /// How often the clock had been set back.
    pub(crate) const fn set_back(self) -> u64 {
        self.0 >> BITS
    }

    /// The same time of day on a clock that has been set back so often.
    pub(crate) const fn after(self, set_back: u64) -> Time {
        Time(set_back << BITS | self.micros())
    }
}

/// From 1 March of the year 0.
const DAYS_BEFORE_1970: u64 = 719_468;
