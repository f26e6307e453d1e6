//! Proof that the test of the architecture types against the facts can fail.
//!
//! A test that compares two descriptions of the same registers is worth what it notices. This chore changes a number in
//! the declarations of `gicv5-arch` by one (a field's place, an offset, an encoding, the code of a value), in a copy of
//! the workspace, and runs the test there. A change that the compiler refuses is caught as well, but says nothing about
//! the test, so it is counted apart. A change that nothing notices survives, and one survivor fails the chore.

use crate::workspace::{self, Scratch};
use anyhow::{Context, Result, bail, ensure};
use gicv5_random::Rng;
use std::fmt;
use std::path::PathBuf;
use xshell::Cmd;

/// The sources whose numbers are changed, relative to the workspace.
const SOURCES: &str = "crates/gicv5-arch/src";

/// Break numbers in gicv5-arch one at a time and see that its facts test notices
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many declarations to break, drawn at random
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "all")]
    sample: usize,

    /// Break every declaration once, which takes more than an hour
    #[arg(long)]
    all: bool,

    /// Seed of the draw; the same seed breaks the same numbers of the same sources
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let scratch = Scratch::new("break-facts")?;
    let mut places = scratch.places()?;
    ensure!(!places.is_empty(), "no number to break in {SOURCES}: its form is not known here");
    let found = places.len();
    let mut random = Rng::new(args.seed);
    if !args.all {
        places = sample(&mut random, places, args.sample);
    }

    eprintln!("running the test on the unchanged sources first");
    match scratch.verdict()? {
        Verdict::Survived => {}
        caught => bail!("the test does not hold on the unchanged sources, {caught}"),
    }

    let [mut by_test, mut by_compiler, mut survived] = [0_usize; 3];
    for place in &places {
        let changes = place.declaration.changes();
        let change = random.pick(&changes).context("a number that cannot change")?;
        let verdict = scratch.verdict_on(place, change)?;
        println!("{}:{}: {} -> {change}: {verdict}", place.file.display(), place.line, place.declaration);
        *match verdict {
            Verdict::Test(_) => &mut by_test,
            Verdict::Compiler(_) => &mut by_compiler,
            Verdict::Survived => &mut survived,
        } += 1;
    }
    println!(
        "{} of {found} declarations broken: {by_test} noticed by the test, {by_compiler} by the compiler, {survived} by nothing",
        places.len(),
    );
    ensure!(survived == 0, "{survived} changes went unnoticed");
    Ok(())
}

/// A declaration that holds numbers, and where it stands.
struct Place {
    /// Relative to the workspace.
    file: PathBuf,
    /// Counted from 1.
    line: usize,
    declaration: Declaration,
}

/// The part of a line that says where something is, as text and numbers in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Declaration {
    pieces: Vec<Piece>,
    /// Whether the numbers are the highest and the lowest bit of a field.
    is_range: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Decimal(u64),
    /// An offset keeps its leading zeros.
    Hexadecimal {
        value: u64,
        digits: usize,
    },
}

impl Declaration {
    /// The declaration at the start of a trimmed line, if there is one.
    ///
    /// The forms are those of the macros in `gicv5-arch`: `[msb:lsb] NAME`, `[bit] NAME`, `0xoffset NAME`,
    /// `NAME (op0 op1 CRn CRm op2)`, `NAME "NAME" (op1 CRm op2)` and `Name = code => "meaning"`.
    fn find(line: &str) -> Option<Declaration> {
        if line.starts_with('[') || line.starts_with("0x") {
            let (place, name) = line.split_once(' ')?;
            let pieces = pieces(place);
            let is_range = pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count() == 2;
            return name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(Declaration { pieces, is_range });
        }
        let (name, between, numbers) = if let Some((head, _)) = line.split_once(" => \"") {
            let (name, code) = head.split_once(" = ")?;
            (name, " = ", code)
        } else {
            let (name, rest) = line.split_once(" (")?;
            let (numbers, _) = rest.split_once(')')?;
            (name, " (", numbers)
        };
        let is_declaration = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_alphanumeric() || "_ \"".contains(c))
            && numbers.starts_with(|c: char| c.is_ascii_digit())
            && numbers.chars().all(|c| c.is_ascii_digit() || c == ' ');
        let mut pieces = pieces(numbers);
        pieces.insert(0, Piece::Text(format!("{name}{between}")));
        is_declaration.then_some(Declaration { pieces, is_range: false })
    }

    /// Every way to change a number by one. The two numbers of a range also move together: that keeps the width, so
    /// that the compiler has nothing to object to.
    fn changes(&self) -> Vec<Declaration> {
        let mut changes = Vec::new();
        for up in [true, false] {
            if self.is_range {
                changes.extend(self.with(up, |_| true));
            }
            for (chosen, piece) in self.pieces.iter().enumerate() {
                if !matches!(piece, Piece::Text(_)) {
                    changes.extend(self.with(up, |at| at == chosen));
                }
            }
        }
        changes
    }

    /// The declaration with the chosen numbers one higher or lower; `None` if one of them is 0 and cannot go lower.
    fn with(&self, up: bool, chosen: impl Fn(usize) -> bool) -> Option<Declaration> {
        let step = |value: u64| {
            if up { value.checked_add(1) } else { value.checked_sub(1) }
        };
        let pieces = self.pieces.iter().enumerate().map(|(at, piece)| match piece {
            Piece::Decimal(value) if chosen(at) => step(*value).map(Piece::Decimal),
            Piece::Hexadecimal { value, digits } if chosen(at) => {
                step(*value).map(|value| Piece::Hexadecimal { value, digits: *digits })
            }
            piece => Some(piece.clone()),
        });
        Some(Declaration { pieces: pieces.collect::<Option<_>>()?, is_range: self.is_range })
    }
}

impl fmt::Display for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Decimal(value) => write!(f, "{value}"),
            Piece::Hexadecimal { value, digits } => write!(f, "0x{value:0digits$x}"),
        })
    }
}

/// Splits text at its numbers.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let radix = if rest.starts_with("0x") { 16 } else { 10 };
        let digits = if radix == 16 { &rest[2..] } else { rest };
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let (number, after) = digits.split_at(end);
        match u64::from_str_radix(number, radix) {
            Ok(value) if radix == 16 => pieces.push(Piece::Hexadecimal { value, digits: end }),
            Ok(value) => pieces.push(Piece::Decimal(value)),
            Err(_) => {
                let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
                let (text, after) = rest.split_at(end.max(1));
                pieces.push(Piece::Text(text.to_owned()));
                rest = after;
                continue;
            }
        }
        rest = after;
    }
    pieces
}

/// The declarations of a source file by line number, tests left out.
fn declarations(source: &str) -> impl Iterator<Item = (usize, Declaration)> {
    workspace::lines_before_tests(source)
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, Declaration::find(line.trim_start())?)))
}

/// What came of a change.
enum Verdict {
    /// The test failed; these parts of it did.
    Test(Vec<String>),
    /// The sources no longer compile, for this reason.
    Compiler(String),
    /// Everything passed.
    Survived,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Test(names) => write!(f, "noticed by the test: {}", names.join(", ")),
            Verdict::Compiler(message) => write!(f, "noticed by the compiler: {message}"),
            Verdict::Survived => f.write_str("SURVIVED"),
        }
    }
}

impl Scratch {
    /// Every declaration with a number in the sources.
    fn places(&self) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for file in self.shell.read_dir(SOURCES)? {
            if file.extension().is_some_and(|end| end == "rs") {
                let name = file.strip_prefix(&self.root)?;
                let source = self.shell.read_file(&file)?;
                places.extend(declarations(&source).map(|(line, declaration)| Place {
                    file: name.to_path_buf(),
                    line,
                    declaration,
                }));
            }
        }
        Ok(places)
    }

    /// Runs the test with one declaration replaced, then puts it back.
    fn verdict_on(&self, place: &Place, change: &Declaration) -> Result<Verdict> {
        let source = self.shell.read_file(&place.file)?;
        let (was, becomes) = (place.declaration.to_string(), change.to_string());
        let lines = source.split('\n').enumerate().map(|(index, line)| {
            if index + 1 == place.line { line.replacen(&was, &becomes, 1) } else { line.to_owned() }
        });
        let broken = lines.collect::<Vec<_>>().join("\n");
        ensure!(broken != source, "{}:{}: `{was}` is not there any more", place.file.display(), place.line);
        self.shell.write_file(&place.file, broken)?;
        let verdict = self.verdict();
        self.shell.write_file(&place.file, source)?;
        verdict
    }

    fn verdict(&self) -> Result<Verdict> {
        let build = self.cargo_test().arg("--no-run").quiet().ignore_status().output()?;
        if !build.status.success() {
            let messages = String::from_utf8_lossy(&build.stderr);
            let first = messages.lines().find(|line| line.starts_with("error"));
            return Ok(Verdict::Compiler(
                first.with_context(|| format!("the build failed without an error: {messages}"))?.to_owned(),
            ));
        }
        let test = self.cargo_test().quiet().ignore_status().output()?;
        if test.status.success() {
            return Ok(Verdict::Survived);
        }
        let report = String::from_utf8_lossy(&test.stdout);
        let failed: Vec<_> = report
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
            .map(str::to_owned)
            .collect();
        ensure!(!failed.is_empty(), "the test ended without naming what failed: {report}");
        Ok(Verdict::Test(failed))
    }

    fn cargo_test(&self) -> Cmd<'_> {
        workspace::cargo(&self.shell)
            .args(["test", "--locked", "--package", "gicv5-arch", "--test", "facts"])
            .arg("--target-dir")
            .arg(&self.target)
    }
}

/// `count` of the items, or all if there are fewer, in their order.
fn sample<T>(random: &mut Rng, items: Vec<T>, count: usize) -> Vec<T> {
    let (mut left, mut wanted) = (items.len() as u64, count as u64);
    let chosen = items.into_iter().filter(|_| {
        let take = random.below(left) < wanted;
        left -= 1;
        wanted -= u64::from(take);
        take
    });
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(line: &str) -> Vec<String> {
        let declaration = Declaration::find(line).unwrap();
        declaration.changes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_range_moves_as_a_whole_and_at_either_end() {
        assert_eq!(
            changes("[19:16] IAFFID_BITS iaffid_bits: BitsMinusOne;"),
            ["[20:17]", "[20:16]", "[19:17]", "[18:15]", "[18:16]", "[19:15]"]
        );
    }

    #[test]
    fn nothing_goes_below_zero() {
        assert_eq!(changes("[1:0] INT_DOM int_dom: Domain;"), ["[2:1]", "[2:0]", "[1:1]", "[0:0]"]);
        assert_eq!(changes("[0] IDLE idle: bool;"), ["[1]"]);
    }

    #[test]
    fn an_offset_keeps_its_form() {
        assert_eq!(changes("0x00c IRS_IDR3: u32 RO {"), ["0x00d", "0x00b"]);
        assert_eq!(changes("0xffbc IRS_DEVARCH: u32 RO {"), ["0xffbd", "0xffbb"]);
    }

    #[test]
    fn the_code_of_a_value_changes_and_its_name_does_not() {
        assert_eq!(changes("V5_0 = 0 => \"v5.0\","), ["V5_0 = 1"]);
    }

    #[test]
    fn each_number_of_an_encoding_changes_alone() {
        assert_eq!(
            changes("ICC_CR0_EL1 (3 1 12 0 1) RW: ICC_CR0_EL1;"),
            [
                "ICC_CR0_EL1 (4 1 12 0 1",
                "ICC_CR0_EL1 (3 2 12 0 1",
                "ICC_CR0_EL1 (3 1 13 0 1",
                "ICC_CR0_EL1 (3 1 12 1 1",
                "ICC_CR0_EL1 (3 1 12 0 2",
                "ICC_CR0_EL1 (2 1 12 0 1",
                "ICC_CR0_EL1 (3 0 12 0 1",
                "ICC_CR0_EL1 (3 1 11 0 1",
                "ICC_CR0_EL1 (3 1 12 0 0",
            ]
        );
    }

    #[test]
    fn an_instruction_has_its_name_left_alone() {
        assert_eq!(
            changes("GSB_SYS \"GSB SYS\" (0 0 0) EL1 NoOperand;"),
            ["GSB_SYS \"GSB SYS\" (1 0 0", "GSB_SYS \"GSB SYS\" (0 1 0", "GSB_SYS \"GSB SYS\" (0 0 1"]
        );
    }

    #[test]
    fn other_lines_and_tests_are_left_alone() {
        let source = "/// [3:1] of it\nlet x = 5;\nSysReg (a 1 2);\n#[doc = \"x\"]\nPpi = n => \"x\",\n[7] FLAG flag: bool;\n#[cfg(test)]\nmod tests {\n[8] NOT not: bool;\n";
        let found: Vec<_> = declarations(source).map(|(line, found)| (line, found.to_string())).collect();
        assert_eq!(found, [(6, "[7]".to_owned())]);
    }

    #[test]
    fn a_sample_is_of_the_size_asked_for_and_in_order() {
        for seed in 0..100 {
            let sample = sample(&mut Rng::new(seed), (0..50).collect(), 7);
            assert_eq!(sample.len(), 7);
            assert!(sample.is_sorted());
        }
        assert_eq!(sample(&mut Rng::new(1), vec![1, 2, 3], 9), [1, 2, 3]);
    }
}
