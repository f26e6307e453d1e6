//! What all commands do alike when they print.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Names of what is being shown.
pub(crate) const HEADING: Style = Style::new().bold();
/// Field names, ids.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();
/// What is there but matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Something is wrong.
pub(crate) const PROBLEM: Style = AnsiColor::Red.on_default().bold();
/// Something to know.
pub(crate) const REMARK: Style = AnsiColor::Yellow.on_default();

/// `text` in a style; on anything but a terminal the stream drops the style again.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// One JSON document.
pub(crate) fn json(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    writeln!(out, "{text}")
}

/// The longest piece of an argument that an error message repeats.
const QUOTED: usize = 60;

/// `text` in quotation marks on one line, cut if it is long.
pub(crate) fn quote(text: &str) -> String {
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(QUOTED).flat_map(char::escape_debug).collect();
    if characters.next().is_none() { format!("\"{head}\"") } else { format!("\"{head}...\" ({} bytes)", text.len()) }
}

/// `bytes` in the largest unit that it is a whole number of.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    match unit {
        Some((shift, name)) => format!("{} {name}", bytes >> shift),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// `count` things, in the plural unless there is one.
pub(crate) fn count(count: u64, thing: &str) -> String {
    match (count, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, quote};

    #[test]
    fn sizes_use_the_unit_that_loses_nothing() {
        assert_eq!(bytes(32), "32 bytes");
        assert_eq!(bytes(4096), "4 KiB");
        assert_eq!(bytes(2 << 20), "2 MiB");
        assert_eq!(bytes(4097), "4097 bytes");
        assert_eq!(bytes(0), "0 bytes");
    }

    #[test]
    fn a_long_or_odd_argument_is_quoted_on_one_short_line() {
        assert_eq!(quote("a\nb"), "\"a\\nb\"");
        let long = quote(&"x".repeat(100_000));
        assert!(long.len() < 100, "{long}");
        assert!(long.ends_with("(100000 bytes)"));
    }
}
