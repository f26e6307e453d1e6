//! Calls that fail because a test says so.

use std::collections::BTreeSet;

/// Counts the calls of one kind, and tells which of them shall fail.
///
/// A caller that wants to see every failure runs once without any, reads [`calls`](Self::calls), and then runs once for
/// each number below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFaults {
    calls: u64,
    at: BTreeSet<u64>,
    from: Option<u64>,
}

impl CallFaults {
    /// How many calls there have been, so also the number of the next one.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Makes one call fail: the one with this number, counting all calls from 0.
    pub fn fail(&mut self, call: u64) {
        self.at.insert(call);
    }

    /// Makes the call with this number and every later one fail.
    pub fn fail_from(&mut self, call: u64) {
        self.from = Some(self.from.map_or(call, |from| from.min(call)));
    }

    /// Forgets every failure that was asked for; the count goes on.
    pub fn clear(&mut self) {
        self.at.clear();
        self.from = None;
    }

    /// Counts a call. True if it shall fail.
    pub fn call(&mut self) -> bool {
        let call = self.calls;
        self.calls += 1;
        self.at.remove(&call) || self.from.is_some_and(|from| call >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_calls_that_shall_fail_do() {
        let mut faults = CallFaults::default();
        faults.fail(1);
        faults.fail_from(4);
        faults.fail_from(6);
        let failed: Vec<bool> = (0..6).map(|_| faults.call()).collect();
        assert_eq!(failed, [false, true, false, false, true, true]);
        faults.clear();
        assert!(!faults.call());
        assert_eq!(faults.calls(), 7);
    }
}
