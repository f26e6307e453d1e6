//! Counts of the architected counter as time.

use core::time::Duration;

/// The time of a count at a frequency in Hz. Firmware that has not set the frequency leaves 0: then the count is taken as
/// nanoseconds, so that time passes all the same.
#[inline]
pub(crate) fn of_count(count: u64, frequency: u32) -> Duration {
    let frequency = if frequency == 0 { 1_000_000_000 } else { u64::from(frequency) };
    let (seconds, rest) = (count / frequency, count % frequency);
    // In 64 bits: then the compiler sees that a deadline some time later does not overflow, and the drivers link no panic for it.
    Duration::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(rest * 1_000_000_000 / frequency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_time_at_any_frequency_and_at_none() {
        assert_eq!(of_count(62_500_000 + 1, 62_500_000), Duration::from_nanos(1_000_000_016));
        assert_eq!(of_count(5, 0), Duration::from_nanos(5));
        // 584 years.
        assert_eq!(of_count(u64::MAX, 1), Duration::from_nanos(u64::MAX));
        assert_eq!(of_count(u64::from(u32::MAX) - 1, u32::MAX), Duration::from_nanos(999_999_999));
    }
}
