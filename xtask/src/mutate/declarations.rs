//! The numbers in the declarations of `gicv5-arch`: a field's place, an offset, an encoding, the code of a value.
//!
//! They stand in the arguments of macros and in constants, which no question can be put into, so that each change is a build of
//! its own. A change that the compiler refuses is noticed as well.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use gicv5_random::Rng;

use super::oracle::Outcome;
use crate::workspace::{self, Scratch};

/// A declaration that holds numbers, and where it stands.
#[derive(Clone)]
pub(super) struct DeclarationSite {
    file: PathBuf,
    /// Counted from 1.
    line: usize,
    declaration: Declaration,
}

/// Every declaration with a number in the files of a folder of a copy, by their place in the copy.
pub(super) fn places(scratch: &Scratch, folder: &Path) -> Result<Vec<DeclarationSite>> {
    let mut places = Vec::new();
    for file in scratch.shell.read_dir(folder)? {
        if file.extension().is_some_and(|end| end == "rs") {
            let source = scratch.shell.read_file(&file)?;
            let found = declarations(&source);
            let file = file.strip_prefix(&scratch.root).unwrap_or(&file);
            places.extend(found.map(|(line, declaration)| DeclarationSite {
                file: file.to_path_buf(),
                line,
                declaration,
            }));
        }
    }
    ensure!(!places.is_empty(), "no number to change in {}: its form is not known here", folder.display());
    Ok(places)
}

impl DeclarationSite {
    /// Changes one number, runs the test of the facts, and puts the number back. Returns the change as well.
    pub(super) fn outcome(&self, scratch: &Scratch, random: &mut Rng) -> Result<(Outcome, String)> {
        let changes = self.declaration.changes();
        let change = random.pick(&changes).map(ToString::to_string).unwrap_or_default();
        let was = self.declaration.to_string();
        let source = scratch.shell.read_file(&self.file)?;
        let lines = source.split('\n').enumerate().map(|(index, line)| {
            if index + 1 == self.line { line.replacen(&was, &change, 1) } else { line.to_owned() }
        });
        scratch.shell.write_file(&self.file, lines.collect::<Vec<_>>().join("\n"))?;
        let holds = holds(scratch);
        scratch.shell.write_file(&self.file, source)?;
        let what = format!("{}:{}: {was} -> {change}", self.file.display(), self.line);
        Ok((if holds? { Outcome::Survives } else { Outcome::Killed }, what))
    }
}

/// Whether the test of the types against the facts passes in the copy.
pub(super) fn holds(scratch: &Scratch) -> Result<bool> {
    let test = workspace::cargo(&scratch.shell)
        .args(["test", "--locked", "--package", "gicv5-arch", "--test", "facts", "--target-dir"])
        .arg(&scratch.target)
        .quiet()
        .ignore_status()
        .output()?;
    Ok(test.status.success())
}

/// The part of a line that says where something is, as text and numbers in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declaration {
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
}
