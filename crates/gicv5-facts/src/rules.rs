//! The behaviour rules, as a list that can be searched.
//!
//! A rule is one line of `docs/rules.md`: `- **ID** text *Who* … *Else* … *Src* …`. Sections `## GROUP - title` hold the
//! rules of one group (or of two, `PRI and HPPI`); three more sections are numbered lists. A rule ends with `*Basis* …` where
//! its sources do not decide what it rests on. An open question ends with `*Assumed* … *Switches* …`.

use std::collections::BTreeSet;

use crate::error::FactsError;

/// Everything in `docs/rules.md`.
#[derive(Debug, Clone)]
pub struct RuleBook {
    /// The short names of the sources and what they stand for.
    pub source_names: Vec<SourceName>,
    /// The groups, in the order of the file.
    pub groups: Vec<Group>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Mistakes in the sources that must not be copied.
    pub hazards: Vec<Note>,
    /// What no source answers.
    pub open_questions: Vec<Question>,
    /// The rules most often got wrong.
    pub most_often_wrong: Vec<Note>,
}

/// A short name of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceName {
    /// The tag, such as `KVM-V5`.
    pub tag: String,
    /// What it stands for.
    pub meaning: String,
    /// What a rule that cites it alone rests on.
    pub basis: Basis,
}

/// What a rule rests on, the firmest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// Architecture text that a public source quotes or restates.
    Architecture,
    /// The behaviour of existing software alone.
    Software,
    /// A conclusion of this project.
    Inferred,
}

impl Basis {
    /// Every basis, the firmest first.
    pub const ALL: [Self; 3] = [Self::Architecture, Self::Software, Self::Inferred];

    /// The word for it in `docs/rules.md` and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Architecture => "architecture",
            Self::Software => "software",
            Self::Inferred => "inferred",
        }
    }

    /// What it means, as a phrase that follows the name.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Architecture => "text that a public source quotes or restates",
            Self::Software => "behaviour of existing software alone",
            Self::Inferred => "a conclusion of this project",
        }
    }

    /// The basis with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.name() == name)
    }
}

/// A group of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The first part of the ids of its rules, such as `VMT`.
    pub id: String,
    /// What it is about.
    pub title: String,
}

/// One behaviour rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Its id, such as `VMT-15`.
    pub id: String,
    /// The group part of the id.
    pub group: String,
    /// The number part of the id.
    pub number: u32,
    /// What the group is about.
    pub group_title: String,
    /// The rule itself, in Markdown with no markup beyond `*`.
    pub text: String,
    /// Who is obliged.
    pub who: String,
    /// What happens otherwise.
    pub otherwise: String,
    /// Where it comes from, as written.
    pub source: String,
    /// The same, one by one, with the tags that have a long name.
    pub sources: Vec<SourceRef>,
    /// What it rests on.
    pub basis: Basis,
    /// Line in the file, counted from 1.
    pub line: usize,
}

/// One source of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceRef {
    /// As written.
    pub text: String,
    /// The source names that occur in it.
    pub names: Vec<SourceName>,
}

impl SourceRef {
    /// What it can support: architecture if it names a rule of the architecture, otherwise what its source names can.
    #[must_use]
    pub fn basis(&self) -> Option<Basis> {
        let firmest = self.names.iter().map(|name| name.basis).min()?;
        let words = self.text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        Some(if words.into_iter().any(is_architecture_rule) { Basis::Architecture } else { firmest })
    }
}

/// An open question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Question {
    /// Its number, counted from 1.
    pub number: u32,
    /// The question.
    pub text: String,
    /// The answer that the project assumes.
    pub assumed: String,
    /// The switches of the model that give another answer.
    pub switches: Vec<String>,
}

/// One item of a numbered list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// Its number, counted from 1.
    pub number: u32,
    /// The text.
    pub text: String,
}

/// The section a line belongs to.
enum Section {
    Preamble,
    SourceNames,
    Rules,
    Hazards,
    Questions,
    MostOftenWrong,
}

impl RuleBook {
    /// Parses text of the shape of `docs/rules.md`.
    ///
    /// # Errors
    ///
    /// [`FactsError::Rule`] with the line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, FactsError> {
        let mut book = Self {
            source_names: Vec::new(),
            groups: Vec::new(),
            rules: Vec::new(),
            hazards: Vec::new(),
            open_questions: Vec::new(),
            most_often_wrong: Vec::new(),
        };
        let mut section = Section::Preamble;
        let mut section_groups: Vec<Group> = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let bad = |problem: &str| FactsError::Rule { line: index + 1, problem: problem.to_owned() };
            if let Some(heading) = line.strip_prefix("### ") {
                if heading == "Source names" {
                    section = Section::SourceNames;
                }
            } else if let Some(heading) = line.strip_prefix("## ") {
                (section, section_groups) = read_heading(heading).ok_or_else(|| bad("an unknown section"))?;
                book.groups.extend(section_groups.iter().cloned());
            } else if line.starts_with("- **") && matches!(section, Section::Rules) {
                let rule = read_rule(line, index + 1, &section_groups, &book.source_names).map_err(bad)?;
                if !ids.insert(rule.id.clone()) {
                    return Err(bad("a rule id used twice"));
                }
                book.rules.push(rule);
            } else if let Section::SourceNames = section {
                if let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |"))
                    && let Some((tag, row)) = row.split_once(" | ")
                    && tag != "tag"
                    && !tag.starts_with("---")
                {
                    let (meaning, basis) =
                        row.rsplit_once(" | ").ok_or_else(|| bad("a source name without a basis"))?;
                    let basis = Basis::named(basis).ok_or_else(|| bad("an unknown basis"))?;
                    let tag = tag.trim_end_matches("\"...\"").trim_end();
                    book.source_names.push(SourceName { tag: tag.to_owned(), meaning: meaning.to_owned(), basis });
                }
            } else if !line.trim().is_empty() && line != "---" {
                let before = match section {
                    Section::Hazards => book.hazards.len(),
                    Section::Questions => book.open_questions.len(),
                    Section::MostOftenWrong => book.most_often_wrong.len(),
                    Section::Preamble => continue,
                    Section::Rules | Section::SourceNames => {
                        return Err(bad("text between the rules"));
                    }
                };
                let (number, text) = line.split_once(". ").ok_or_else(|| bad("not a numbered item"))?;
                let number = number.parse().map_err(|_| bad("not a numbered item"))?;
                if usize::try_from(number) != Ok(before + 1) {
                    return Err(bad("numbers that do not follow each other"));
                }
                let note = || Note { number, text: text.to_owned() };
                match section {
                    Section::Hazards => book.hazards.push(note()),
                    Section::Questions => book.open_questions.push(read_question(number, text).map_err(bad)?),
                    _ => book.most_often_wrong.push(note()),
                }
            }
        }
        Ok(book)
    }

    /// The rule with this id, in any case.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
    }

    /// The rules of a group, given in any case; none if there is no such group.
    pub fn in_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.group.eq_ignore_ascii_case(group))
    }
}

fn read_heading(heading: &str) -> Option<(Section, Vec<Group>)> {
    let list = |section| Some((section, Vec::new()));
    match heading {
        "How to read a rule" => return list(Section::Preamble),
        "Source hazards - do not copy" => return list(Section::Hazards),
        "Open questions" => return list(Section::Questions),
        "The ten rules most often got wrong" => return list(Section::MostOftenWrong),
        _ => {}
    }
    let (ids, title) = heading.split_once(" - ")?;
    let groups = ids.split(" and ").map(|id| Group { id: id.to_owned(), title: title.to_owned() }).collect();
    Some((Section::Rules, groups))
}

fn read_rule(line: &str, number: usize, groups: &[Group], names: &[SourceName]) -> Result<Rule, &'static str> {
    let rest = line.strip_prefix("- **").ok_or("not a rule")?;
    let (id, rest) = rest.split_once("** ").ok_or("an id without an end")?;
    let (group, index) = id.rsplit_once('-').ok_or("an id without a number")?;
    let index = index.parse().map_err(|_| "an id without a number")?;
    let home = groups.iter().find(|known| known.id == group).ok_or("a rule in the wrong section")?;
    let (text, rest) = rest.split_once(" *Who* ").ok_or("no *Who*")?;
    let (who, rest) = rest.split_once(" *Else* ").ok_or("no *Else*")?;
    let (otherwise, source) = rest.split_once(" *Src* ").ok_or("no *Src*")?;
    let (source, stated) = match source.split_once(" *Basis* ") {
        Some((source, basis)) => {
            (source, Some(Basis::named(basis.strip_suffix('.').unwrap_or(basis)).ok_or("an unknown basis")?))
        }
        None => (source, None),
    };
    let source = source.strip_suffix('.').unwrap_or(source);
    let sources: Vec<SourceRef> = split_sources(source)
        .into_iter()
        .map(|text| SourceRef { text: text.to_owned(), names: names_in(text, names) })
        .collect();
    // Which part of the rule an "inferred" concerns is for a person to judge.
    let is_plain = !source.contains("inferred") && !otherwise.contains("inferred");
    let derived = if is_plain { sources.iter().filter_map(SourceRef::basis).min() } else { None };
    let basis = match (stated, derived) {
        (Some(stated), Some(derived)) if stated == derived => return Err("a *Basis* that *Src* gives already"),
        (Some(basis), _) | (None, Some(basis)) => basis,
        (None, None) => return Err("no *Basis*, and *Src* does not decide it"),
    };
    Ok(Rule {
        id: id.to_owned(),
        group: group.to_owned(),
        number: index,
        group_title: home.title.clone(),
        text: text.to_owned(),
        who: who.strip_suffix('.').unwrap_or(who).to_owned(),
        otherwise: otherwise.strip_suffix('.').unwrap_or(otherwise).to_owned(),
        source: source.to_owned(),
        sources,
        basis,
        line: number,
    })
}

fn read_question(number: u32, text: &str) -> Result<Question, &'static str> {
    let (text, rest) = text.split_once(" *Assumed* ").ok_or("no *Assumed*")?;
    let (assumed, switches) = rest.split_once(" *Switches* ").ok_or("no *Switches*")?;
    let switches = match switches.strip_suffix('.').unwrap_or(switches) {
        "none" => Vec::new(),
        list => list.split(", ").map(|name| name.trim_matches('`').to_owned()).collect(),
    };
    let assumed = assumed.strip_suffix('.').unwrap_or(assumed).to_owned();
    Ok(Question { number, text: text.to_owned(), assumed, switches })
}

/// Whether a word is the name of a rule of the architecture: `RCWZMW`, `D_LSPBK`.
fn is_architecture_rule(word: &str) -> bool {
    word.strip_prefix(['R', 'D', 'I', 'S'])
        .map(|name| name.strip_prefix('_').unwrap_or(name))
        .is_some_and(|name| name.len() == 5 && name.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// Splits at `;`, but not inside quotation marks or parentheses.
fn split_sources(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut depth = 0_u32;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            ';' if !quoted && depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The source names that occur in `text` as whole words.
fn names_in(text: &str, names: &[SourceName]) -> Vec<SourceName> {
    let part_of_a_tag = |character: char| character.is_alphanumeric() || character == '-';
    names
        .iter()
        .filter(|name| {
            text.match_indices(&name.tag).any(|(at, found)| {
                let before = text.get(..at).and_then(|head| head.chars().next_back());
                let after = text.get(at + found.len()..).and_then(|tail| tail.chars().next());
                !before.is_some_and(part_of_a_tag) && !after.is_some_and(part_of_a_tag)
            })
        })
        .cloned()
        .collect()
}
