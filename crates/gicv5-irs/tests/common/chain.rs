//! The usual walk along the sources of an error.

use std::error::Error;

/// Fails unless the walk prints the reason, in its last line, and prints nothing twice.
#[track_caller]
pub(crate) fn assert_chain(error: &(dyn Error + 'static), reason: &str) {
    let walk = std::iter::successors(Some(error), |&error| error.source());
    let lines: Vec<String> = walk.map(ToString::to_string).collect();
    let last = lines.last().map_or("", String::as_str);
    assert!(last.contains(reason), "{lines:#?} does not end with {reason:?}");
    for (n, line) in lines.iter().enumerate() {
        let again = lines.iter().skip(n + 1).find(|later| line.contains(later.as_str()));
        assert!(again.is_none(), "{lines:#?} says {again:?} twice");
    }
}
