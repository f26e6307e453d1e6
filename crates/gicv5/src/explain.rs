//! `gicv5 explain`: the behaviour rules by id.

use std::io::Write;

use anstyle::Style;
use gicv5_facts::{Note, Rule, RuleBook};
use gicv5_model::rules::{OWN_RULES, OwnRule};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{self, Console, FAINT, HEADING, NAME, quote, styled};
use crate::suggest;

const AFTER_HELP: &str = "\
ID is one of
  VMT-15                 a rule
  VMT                    every rule of a group
  hazard-6               a mistake in a source that must not be copied
  question-1             an open question
  pitfall-2              one of the rules most often got wrong
  MEM-1                  a rule of the model's own, which its violations cite
Ids are taken in any case; hazard, question, pitfall and model alone show all of them.
SW is the hypervisor, or the guest where a rule says so. CU{a|b} is CONSTRAINED UNPREDICTABLE with the outcomes a and b.
SWERR may be latched in the software error registers. (inferred) marks what no source states.

Examples:
  $ gicv5 explain VMT-15
  $ gicv5 explain DB-11 hazard-6 question-1
  $ gicv5 explain LIFE
  $ gicv5 explain --json DB-9
  $ gicv5 explain --list";

/// Arguments of `gicv5 explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Rules, groups, hazards or questions
    #[arg(value_name = "ID", required_unless_present = "list", conflicts_with = "list")]
    ids: Vec<String>,
    /// Lists every id with its text
    #[arg(long)]
    list: bool,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

/// The numbered lists beside the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hazard,
    Question,
    Pitfall,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Hazard, Self::Question, Self::Pitfall];

    fn name(self) -> &'static str {
        match self {
            Self::Hazard => "hazard",
            Self::Question => "question",
            Self::Pitfall => "pitfall",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Hazard => "a mistake in a source that must not be copied",
            Self::Question => "open question",
            Self::Pitfall => "one of the rules most often got wrong",
        }
    }

    fn notes(self, book: &RuleBook) -> &[Note] {
        match self {
            Self::Hazard => &book.hazards,
            Self::Question => &book.open_questions,
            Self::Pitfall => &book.most_often_wrong,
        }
    }
}

/// Something that has an id.
enum Item<'a> {
    Rule(&'a Rule),
    Note(Kind, &'a Note),
    Own(&'static OwnRule),
}

/// The JSON document.
#[derive(Serialize)]
struct Document<'a> {
    count: usize,
    rule_list: Vec<RuleReport<'a>>,
    note_list: Vec<NoteReport<'a>>,
}

#[derive(Serialize)]
struct RuleReport<'a> {
    id: &'a str,
    group: &'a str,
    group_title: &'a str,
    text: &'a str,
    who: &'a str,
    r#else: &'a str,
    source: &'a str,
    source_list: Vec<SourceReport<'a>>,
}

#[derive(Serialize)]
struct SourceReport<'a> {
    text: &'a str,
    name_list: Vec<NameReport<'a>>,
}

#[derive(Serialize)]
struct NameReport<'a> {
    tag: &'a str,
    meaning: &'a str,
}

#[derive(Serialize)]
struct NoteReport<'a> {
    id: String,
    kind: &'static str,
    text: &'a str,
}

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<(), Failure> {
    let book = gicv5_facts::rules()?;
    let mut items = Vec::new();
    if args.list {
        items.extend(book.rules.iter().map(Item::Rule));
        for kind in Kind::ALL {
            items.extend(kind.notes(book).iter().map(|note| Item::Note(kind, note)));
        }
        items.extend(OWN_RULES.iter().map(Item::Own));
    }
    for id in &args.ids {
        items.extend(find(book, id)?);
    }
    if args.json {
        output::json(out, &document(&items))?;
    } else if args.list {
        list(&items, out)?;
    } else {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            print(item, out)?;
        }
    }
    Ok(())
}

/// What an id names: a rule, a note, or all of a group.
fn find<'a>(book: &'a RuleBook, id: &str) -> Result<Vec<Item<'a>>, Failure> {
    if let Some(rule) = book.rule(id) {
        return Ok(vec![Item::Rule(rule)]);
    }
    for kind in Kind::ALL {
        let notes = kind.notes(book);
        if id.eq_ignore_ascii_case(kind.name()) {
            return Ok(notes.iter().map(|note| Item::Note(kind, note)).collect());
        }
        let note = notes.iter().find(|note| id.eq_ignore_ascii_case(&note_id(kind, note)));
        if let Some(note) = note {
            return Ok(vec![Item::Note(kind, note)]);
        }
    }
    let is_of = |rule: &&OwnRule| {
        rule.id.eq_ignore_ascii_case(id) || group_of(rule).eq_ignore_ascii_case(id) || id.eq_ignore_ascii_case(MODEL)
    };
    let own: Vec<_> = OWN_RULES.iter().filter(is_of).map(Item::Own).collect();
    if !own.is_empty() {
        return Ok(own);
    }
    let group: Vec<_> = book.rules.iter().filter(|rule| rule.group.eq_ignore_ascii_case(id)).map(Item::Rule).collect();
    if group.is_empty() { Err(Failure::BadInput(unknown(book, id))) } else { Ok(group) }
}

/// What the rules of the model's own are called together.
const MODEL: &str = "model";

fn group_of(rule: &OwnRule) -> &'static str {
    rule.id.split_once('-').map_or(rule.id, |(group, _)| group)
}

fn note_id(kind: Kind, note: &Note) -> String {
    format!("{}-{}", kind.name(), note.number)
}

fn unknown(book: &RuleBook, id: &str) -> String {
    let prefix = id.rsplit_once('-').map_or(id, |(prefix, _)| prefix);
    if let Some(rule) = book.rules.iter().rev().find(|rule| rule.group.eq_ignore_ascii_case(prefix)) {
        return format!("no rule {}; {} goes from {}-1 to {}", quote(id), rule.group, rule.group, rule.id);
    }
    if let Some(last) = OWN_RULES.iter().rev().find(|rule| group_of(rule).eq_ignore_ascii_case(prefix)) {
        let group = group_of(last);
        return format!("no rule {}; {group} goes from {group}-1 to {}", quote(id), last.id);
    }
    for kind in Kind::ALL {
        if let Some(last) = kind.notes(book).last()
            && prefix.eq_ignore_ascii_case(kind.name())
        {
            return format!(
                "no {} {}; they go from {}-1 to {}",
                kind.name(),
                quote(id),
                kind.name(),
                note_id(kind, last)
            );
        }
    }
    let mut names: Vec<String> = book.rules.iter().map(|rule| rule.id.clone()).collect();
    names.extend(book.groups.iter().map(|group| group.id.clone()));
    for kind in Kind::ALL {
        names.push(kind.name().to_owned());
        names.extend(kind.notes(book).iter().map(|note| note_id(kind, note)));
    }
    names.extend(OWN_RULES.iter().map(|rule| rule.id.to_owned()));
    let nearest = suggest::nearest(id, names.iter().map(String::as_str));
    let hint = suggest::hint(&nearest, "gicv5 explain --list shows all");
    format!("no rule, group, hazard or question {}; {hint}", quote(id))
}

fn document<'a>(items: &[Item<'a>]) -> Document<'a> {
    let mut document = Document { count: items.len(), rule_list: Vec::new(), note_list: Vec::new() };
    for item in items {
        match item {
            Item::Rule(rule) => document.rule_list.push(RuleReport {
                id: &rule.id,
                group: &rule.group,
                group_title: &rule.group_title,
                text: &rule.text,
                who: &rule.who,
                r#else: &rule.otherwise,
                source: &rule.source,
                source_list: rule
                    .sources
                    .iter()
                    .map(|source| SourceReport {
                        text: &source.text,
                        name_list: source
                            .names
                            .iter()
                            .map(|name| NameReport { tag: &name.tag, meaning: &name.meaning })
                            .collect(),
                    })
                    .collect(),
            }),
            Item::Note(kind, note) => {
                document.note_list.push(NoteReport { id: note_id(*kind, note), kind: kind.name(), text: &note.text });
            }
            Item::Own(rule) => {
                document.note_list.push(NoteReport { id: rule.id.to_owned(), kind: MODEL, text: rule.text });
            }
        }
    }
    document
}

fn list(items: &[Item<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    for item in items {
        match item {
            Item::Rule(rule) => writeln!(out, "{}  {}", styled(NAME, format!("{:11}", rule.id)), rule.text)?,
            Item::Note(kind, note) => {
                writeln!(out, "{}  {}", styled(NAME, format!("{:11}", note_id(*kind, note))), note.text)?;
            }
            Item::Own(rule) => writeln!(out, "{}  {}", styled(NAME, format!("{:11}", rule.id)), rule.text)?,
        }
    }
    Ok(())
}

fn print(item: &Item<'_>, out: &mut Console<'_>) -> std::io::Result<()> {
    match item {
        Item::Rule(rule) => {
            writeln!(out, "{}  {}", styled(HEADING, &rule.id), styled(FAINT, &rule.group_title))?;
            out.paragraph(2, 2, &[(Style::new(), &rule.text)])?;
            for (label, text) in [("who    ", &rule.who), ("else   ", &rule.otherwise), ("source ", &rule.source)] {
                out.paragraph(2, 10, &[(NAME, label), (Style::new(), text)])?;
            }
            let mut shown: Vec<&str> = Vec::new();
            for name in rule.sources.iter().flat_map(|source| &source.names) {
                if !shown.contains(&name.tag.as_str()) {
                    shown.push(&name.tag);
                    out.paragraph(10, 12, &[(FAINT, &format!("{}: {}", name.tag, name.meaning))])?;
                }
            }
            Ok(())
        }
        Item::Note(kind, note) => {
            writeln!(out, "{}  {}", styled(HEADING, note_id(*kind, note)), styled(FAINT, kind.title()))?;
            out.paragraph(2, 2, &[(Style::new(), &note.text)])
        }
        Item::Own(rule) => {
            writeln!(out, "{}  {}", styled(HEADING, rule.id), styled(FAINT, "a rule of the model's own"))?;
            out.paragraph(2, 2, &[(Style::new(), rule.text)])
        }
    }
}

#[cfg(test)]
mod tests {
    use gicv5_model::config::Switches;
    use gicv5_model::rules;

    use super::*;

    #[test]
    fn every_rule_that_the_model_can_report_is_explained() {
        let book = gicv5_facts::rules().unwrap();
        let of_switches = Switches::ALL.iter().flat_map(|switch| switch.rules).copied();
        let of_switches = of_switches.filter(|rule| !rule.starts_with("open question"));
        for id in rules::ALL.iter().map(|rule| rule.id()).chain(of_switches) {
            assert!(find(book, id).is_ok_and(|items| items.len() == 1), "{id} is not explained");
        }
    }

    #[test]
    fn no_rule_of_the_models_own_has_the_id_or_group_of_another() {
        let book = gicv5_facts::rules().unwrap();
        for (n, own) in OWN_RULES.iter().enumerate() {
            assert!(OWN_RULES.iter().skip(n + 1).all(|other| other.id != own.id), "{}", own.id);
            assert!(book.groups.iter().all(|group| group.id != group_of(own)), "{}", own.id);
        }
    }
}
