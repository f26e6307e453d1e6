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

/// Narrower terminals are not worth wrapping for.
const NARROWEST: usize = 40;

/// Standard output, and how wide it is if it is a terminal.
pub(crate) struct Console<'a> {
    out: &'a mut dyn Write,
    columns: Option<usize>,
}

impl<'a> Console<'a> {
    /// `columns` is the width of a terminal; text goes on one line where there is none, so that `grep` finds it whole.
    pub(crate) fn new(out: &'a mut dyn Write, columns: Option<usize>) -> Self {
        Self { out, columns: columns.filter(|columns| *columns >= NARROWEST) }
    }

    /// Writes pieces of text with a blank between them, broken at blanks; further lines are indented by `hang`.
    pub(crate) fn paragraph(&mut self, indent: usize, hang: usize, pieces: &[(Style, &str)]) -> io::Result<()> {
        let columns = self.columns.unwrap_or(usize::MAX);
        write!(self.out, "{:indent$}", "")?;
        let mut column = indent;
        let mut fresh = true;
        for (style, text) in pieces.iter().filter(|(_, text)| !text.is_empty()) {
            let mut blank = if fresh { "" } else { " " };
            write!(self.out, "{blank}{style}")?;
            column += blank.len();
            blank = "";
            for word in text.split(' ') {
                let width = word.chars().count();
                if !fresh && column + blank.len() + width > columns {
                    write!(self.out, "{style:#}\n{:hang$}{style}{word}", "")?;
                    column = hang + width;
                } else {
                    write!(self.out, "{blank}{word}")?;
                    column += blank.len() + width;
                }
                blank = " ";
                fresh = false;
            }
            write!(self.out, "{style:#}")?;
        }
        writeln!(self.out)
    }
}

impl Write for Console<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// `text` in a style; on anything but a terminal the stream drops the style again.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints a JSON document, or the same for people.
pub(crate) fn show<D: Serialize>(
    out: &mut Console<'_>,
    json: bool,
    document: impl FnOnce() -> D,
    print: impl FnOnce(&mut Console<'_>) -> io::Result<()>,
) -> io::Result<()> {
    if json { self::json(out, &document()) } else { print(out) }
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
    use anstyle::Style;

    use super::{Console, FAINT, bytes, quote};

    fn paragraph(columns: Option<usize>) -> String {
        let mut out = Vec::new();
        let text = "one two three four five six seven eight nine ten";
        Console::new(&mut out, columns).paragraph(2, 4, &[(Style::new(), text), (FAINT, "[VMT-1, VMT-2]")]).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn text_is_broken_at_blanks_on_a_terminal_and_nowhere_else() {
        let whole = "  one two three four five six seven eight nine ten [VMT-1, VMT-2]\n";
        assert_eq!(paragraph(None), whole);
        assert_eq!(paragraph(Some(200)), whole);
        assert_eq!(paragraph(Some(10)), whole);
        let broken = paragraph(Some(40));
        assert!(broken.lines().count() > 1 && broken.lines().all(|line| line.len() <= 40), "{broken}");
        assert!(broken.lines().skip(1).all(|line| line.starts_with("    ")), "{broken}");
        assert_eq!(broken.split_whitespace().collect::<Vec<_>>(), whole.split_whitespace().collect::<Vec<_>>());
    }

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
