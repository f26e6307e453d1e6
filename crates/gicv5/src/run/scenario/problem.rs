//! What is wrong with a scenario, and where.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// The place of something in the scenario's text, in bytes.
pub(crate) type Span = Range<usize>;

/// Longer lines are cut around what is wrong with them.
const LONGEST_LINE: usize = 200;

/// One thing that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) span: Span,
    /// What: a clause.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) help: String,
    /// The other place that it contradicts, and what is there.
    pub(crate) other: Option<(Span, String)>,
}

impl Problem {
    pub(crate) fn new(span: Span, what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { span, what: what.into(), help: help.into(), other: None }
    }

    /// With the place that it contradicts.
    pub(crate) fn against(mut self, span: Span, label: impl Into<String>) -> Problem {
        self.other = Some((span, label.into()));
        self
    }

    /// As a compiler shows it: what, file, line and column, the text underlined, what to do. Without a line end.
    pub(crate) fn render(&self, path: &str, text: &str) -> String {
        // Whatever the file holds, nothing but text reaches the terminal, and no line is longer than a screen.
        let (text, span, whole) = excerpt(text, &self.span);
        let mut snippet = Snippet::source(text.as_str()).path(path).annotation(AnnotationKind::Primary.span(span));
        if let Some((other, label)) = &self.other
            && whole
        {
            snippet = snippet.annotation(AnnotationKind::Context.span(other.clone()).label(label.as_str()));
        }
        let report = &[Level::ERROR
            .primary_title(self.what.as_str())
            .element(snippet)
            .element(Level::HELP.message(self.help.as_str()))];
        Renderer::styled().decor_style(DecorStyle::Ascii).render(report)
    }
}

/// Refuses the scenario for one thing that is wrong.
pub(super) fn refuse<T>(span: Span, what: impl Into<String>, help: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::new(span, what, help))
}

/// The text to show: as it is, or, if its lines are too long to be shown, the piece around the place. Control characters,
/// which would act on the terminal, are shown as blanks; that keeps all places. True if it is the whole text.
fn excerpt(text: &str, span: &Span) -> (String, Span, bool) {
    let plain: String = text.chars().map(|c| if c.is_control() && c != '\n' { blank(c) } else { c }).collect();
    let start = floor(&plain, span.start.min(plain.len()));
    let end = floor(&plain, span.end.clamp(start, plain.len()));
    if plain.lines().all(|line| line.len() <= LONGEST_LINE) {
        return (plain, start..end, true);
    }
    // Each character of what lies too far away is left out of sight by a blank line: line numbers stay.
    let line_start = plain.get(..start).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
    let lines_before = plain.get(..line_start).map_or(0, |head| head.matches('\n').count());
    let from = floor(&plain, start.saturating_sub(LONGEST_LINE / 2).max(line_start));
    let line_end = plain.get(start..).and_then(|rest| rest.find('\n')).map_or(plain.len(), |at| start + at);
    let to = floor(&plain, line_end.min(start + LONGEST_LINE / 2));
    let piece = plain.get(from..to).unwrap_or_default();
    let head = "\n".repeat(lines_before);
    let start = head.len() + (start - from);
    let end = (head.len() + (end.min(to).saturating_sub(from))).max(start);
    (head + piece, start..end, false)
}

/// A control character as as many bytes of text.
fn blank(c: char) -> char {
    // All control characters are one byte long but those of Latin-1, which are two, as the no-break space is.
    if c.len_utf8() == 1 { ' ' } else { '\u{a0}' }
}

/// The last boundary between characters that is not after `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Problem;

    fn shown(text: &str, span: std::ops::Range<usize>) -> String {
        let problem = Problem::new(span, "no such thing", "write another");
        anstream::adapter::strip_str(&problem.render("a.toml", text)).to_string()
    }

    #[test]
    fn a_problem_is_shown_with_file_line_column_and_the_text_underlined() {
        let text = "seed = 1\ncolour = \"red\"\n";
        let shown = shown(text, 9..15);
        assert!(shown.starts_with("error: no such thing"), "{shown}");
        assert!(shown.contains("a.toml:2:1") && shown.contains("^^^^^^") && shown.contains("help: write another"));
    }

    #[test]
    fn nothing_but_text_is_shown_and_not_much_of_it() {
        let text = format!("a = 1\nb = \"\u{1b}[31m\u{85}{}\"\nc = 2\n", "x".repeat(100_000));
        for at in [0, 10, 11, 12, 13, 50_000, text.len() - 1, text.len(), text.len() + 10] {
            let shown = shown(&text, at..at + 5);
            assert!(shown.len() < 2_000, "{}", shown.len());
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}
