//! `gicv5 explain`: the behaviour rules by id.

use std::borrow::Cow;
use std::io::Write;

use anstyle::Style;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use gicv5_facts::{Basis, Note, QemuDifference, QemuKind, Question, Rule, RuleBook, SourceName, SourceRef};
use gicv5_model::rules::{self, OWN_RULES, OwnRule};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::listed::listed;
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
  spi-disable-enables    where QEMU differs from the rules
Ids are taken in any case; hazard, question, pitfall, model and qemu alone show all of them.
SW is the hypervisor, or the guest where a rule says so. CU{a|b} is CONSTRAINED UNPREDICTABLE with the outcomes a and b.
SWERR may be latched in the software error registers. (inferred) marks what no source states.
The basis of a rule is architecture (a public source quotes or restates the architecture),
software (existing software does so) or inferred (this project concludes it).

Examples:
  $ gicv5 explain VMT-15
  $ gicv5 explain DB-11 hazard-6 question-1
  $ gicv5 explain LIFE
  $ gicv5 explain --json DB-9
  $ gicv5 explain --list
  $ gicv5 explain --list --basis inferred";

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
    /// With --list: the rules with this basis alone
    #[arg(long, requires = "list", value_parser = basis_parser())]
    basis: Option<Basis>,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

fn basis_parser() -> impl TypedValueParser<Value = Basis> {
    PossibleValuesParser::new(Basis::ALL.map(Basis::name)).try_map(|name| Basis::named(&name).ok_or("not a basis"))
}

listed! {
    /// The numbered lists beside the rules and the open questions: what an item of each is called, and what it is.
    NoteKind: (&'static str, &'static str) {
        Hazard = ("hazard", "a mistake in a source that must not be copied"),
        Pitfall = ("pitfall", "one of the rules most often got wrong"),
    }
}

impl NoteKind {
    fn name(self) -> &'static str {
        self.words().0
    }

    fn notes(self, book: &RuleBook) -> &[Note] {
        match self {
            Self::Hazard => &book.hazards,
            Self::Pitfall => &book.most_often_wrong,
        }
    }
}

/// Something that has an id.
enum Item<'a> {
    Rule(&'a Rule),
    Note(NoteKind, &'a Note),
    Question(&'a Question),
    Own(&'static OwnRule),
    Qemu(&'static QemuDifference),
}

impl Item<'_> {
    fn id(&self) -> String {
        match self {
            Item::Rule(rule) => rule.id.clone(),
            Item::Note(kind, note) => note_id(*kind, note),
            Item::Question(question) => question_id(question),
            Item::Own(rule) => rule.id.to_owned(),
            Item::Qemu(difference) => difference.id.clone(),
        }
    }

    /// What kind of note it is; `None` if it is a rule.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Item::Rule(_) => None,
            Item::Note(kind, _) => Some(kind.name()),
            Item::Question(_) => Some(QUESTION),
            Item::Own(_) => Some(MODEL),
            Item::Qemu(_) => Some(QEMU),
        }
    }

    fn title(&self) -> &str {
        match self {
            Item::Rule(rule) => &rule.group_title,
            Item::Note(kind, _) => kind.words().1,
            Item::Question(_) => "open question",
            Item::Own(_) => "a rule of the model's own",
            Item::Qemu(difference) => match difference.kind {
                QemuKind::Defect => "a defect of QEMU",
                QemuKind::Choice => "a choice of QEMU's, which the rules allow",
                QemuKind::Unspecified => "what QEMU does where no rule says anything",
            },
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Item::Rule(rule) => &rule.text,
            Item::Note(_, note) => &note.text,
            Item::Question(question) => &question.text,
            Item::Own(rule) => rule.text,
            Item::Qemu(difference) => {
                return Cow::Owned(format!("QEMU: {}; the rules: {}", difference.does, difference.says));
            }
        })
    }
}

pub(crate) fn run(args: &Args, out: &mut Console<'_>) -> Result<(), Failure> {
    let book = gicv5_facts::rules()?;
    let mut items = Vec::new();
    if args.list {
        items = match args.basis {
            None => all(book)?,
            Some(basis) => book.rules.iter().filter(|rule| rule.basis == basis).map(Item::Rule).collect(),
        };
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

/// Everything that has an id.
fn all(book: &RuleBook) -> Result<Vec<Item<'_>>, Failure> {
    let mut items: Vec<_> = book.rules.iter().map(Item::Rule).collect();
    for kind in NoteKind::ALL {
        items.extend(kind.notes(book).iter().map(|note| Item::Note(kind, note)));
    }
    items.extend(book.open_questions.iter().map(Item::Question));
    items.extend(OWN_RULES.iter().map(Item::Own));
    items.extend(gicv5_facts::qemu()?.iter().map(Item::Qemu));
    Ok(items)
}

/// What an id names: a rule, a note, or all of a group.
fn find<'a>(book: &'a RuleBook, id: &str) -> Result<Vec<Item<'a>>, Failure> {
    if let Some(rule) = book.rule(id) {
        return Ok(vec![Item::Rule(rule)]);
    }
    for kind in NoteKind::ALL {
        let notes = kind.notes(book);
        if id.eq_ignore_ascii_case(kind.name()) {
            return Ok(notes.iter().map(|note| Item::Note(kind, note)).collect());
        }
        let note = notes.iter().find(|note| id.eq_ignore_ascii_case(&note_id(kind, note)));
        if let Some(note) = note {
            return Ok(vec![Item::Note(kind, note)]);
        }
    }
    if id.eq_ignore_ascii_case(QUESTION) {
        return Ok(book.open_questions.iter().map(Item::Question).collect());
    }
    if let Some(question) = book.open_questions.iter().find(|question| id.eq_ignore_ascii_case(&question_id(question)))
    {
        return Ok(vec![Item::Question(question)]);
    }
    let is_of = |rule: &&OwnRule| {
        rule.id.eq_ignore_ascii_case(id) || group_of(rule).eq_ignore_ascii_case(id) || id.eq_ignore_ascii_case(MODEL)
    };
    let own: Vec<_> = OWN_RULES.iter().filter(is_of).map(Item::Own).collect();
    if !own.is_empty() {
        return Ok(own);
    }
    let is_of = |difference: &&QemuDifference| id.eq_ignore_ascii_case(QEMU) || id.eq_ignore_ascii_case(&difference.id);
    let of_qemu: Vec<_> = gicv5_facts::qemu()?.iter().filter(is_of).map(Item::Qemu).collect();
    if !of_qemu.is_empty() {
        return Ok(of_qemu);
    }
    let group: Vec<_> = book.rules.iter().filter(|rule| rule.group.eq_ignore_ascii_case(id)).map(Item::Rule).collect();
    if group.is_empty() { Err(Failure::BadInput(unknown(book, id)?)) } else { Ok(group) }
}

/// What the open questions are called together.
const QUESTION: &str = "question";

fn question_id(question: &Question) -> String {
    format!("{QUESTION}-{}", question.number)
}

/// What the rules of the model's own are called together.
const MODEL: &str = "model";

/// What the places are called together where QEMU differs from the rules.
const QEMU: &str = "qemu";

fn group_of(rule: &OwnRule) -> &'static str {
    rule.id.split_once('-').map_or(rule.id, |(group, _)| group)
}

/// At which level the model reports that software does not keep to a rule, if it does.
fn level_of(rule: &str) -> Option<&'static str> {
    let violation = rules::ALL.iter().any(|known| known.id() == rule);
    let remark = rules::REMARKS.iter().any(|known| known.id() == rule);
    if violation { Some("violation") } else { remark.then_some("remark") }
}

fn meaning_of(level: &str) -> &'static str {
    match level {
        "violation" => "reports a violation",
        _ => "remarks on it, and goes on counting no violation",
    }
}

fn note_id(kind: NoteKind, note: &Note) -> String {
    format!("{}-{}", kind.name(), note.number)
}

fn unknown(book: &RuleBook, id: &str) -> Result<String, Failure> {
    let prefix = id.rsplit_once('-').map_or(id, |(prefix, _)| prefix);
    if let Some(rule) = book.rules.iter().rev().find(|rule| rule.group.eq_ignore_ascii_case(prefix)) {
        return Ok(format!("no rule {}; {} goes from {}-1 to {}", quote(id), rule.group, rule.group, rule.id));
    }
    if let Some(last) = OWN_RULES.iter().rev().find(|rule| group_of(rule).eq_ignore_ascii_case(prefix)) {
        let group = group_of(last);
        return Ok(format!("no rule {}; {group} goes from {group}-1 to {}", quote(id), last.id));
    }
    let lists = NoteKind::ALL.map(|kind| (kind.name(), kind.notes(book).len()));
    for (name, count) in lists.into_iter().chain([(QUESTION, book.open_questions.len())]) {
        if prefix.eq_ignore_ascii_case(name) {
            return Ok(format!("no {name} {}; they go from {name}-1 to {name}-{count}", quote(id)));
        }
    }
    let mut names: Vec<String> = all(book)?.iter().map(Item::id).collect();
    names.extend(book.groups.iter().map(|group| group.id.clone()));
    names.extend(NoteKind::ALL.map(NoteKind::name).into_iter().chain([QUESTION]).map(str::to_owned));
    let nearest = suggest::nearest(id, names.iter().map(String::as_str));
    let hint = suggest::hint(&nearest, "gicv5 explain --list shows all");
    Ok(format!("no rule, group, hazard or question {}; {hint}", quote(id)))
}

/// The JSON document.
fn document(items: &[Item<'_>]) -> Value {
    let (mut rules, mut notes) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Rule(rule) => rules.push(json!({
                "id": rule.id,
                "group": rule.group,
                "group_title": rule.group_title,
                "text": rule.text,
                "who": rule.who,
                "else": rule.otherwise,
                "basis": rule.basis.name(),
                "model": level_of(&rule.id),
                "source": rule.source,
                "source_list": rule.sources.iter().map(source).collect::<Vec<_>>(),
            })),
            _ => {
                let (assumed, switches): (_, &[String]) = match item {
                    Item::Question(question) => (Some(question.assumed.as_str()), &question.switches),
                    _ => (None, &[]),
                };
                notes.push(json!({
                    "id": item.id(),
                    "kind": item.kind().unwrap_or_default(),
                    "text": item.text(),
                    "assumed": assumed,
                    "switch_list": switches,
                }));
            }
        }
    }
    json!({ "count": items.len(), "rule_list": rules, "note_list": notes })
}

fn source(source: &SourceRef) -> Value {
    let name = |name: &SourceName| json!({ "tag": name.tag, "meaning": name.meaning });
    json!({ "text": source.text, "name_list": source.names.iter().map(name).collect::<Vec<_>>() })
}

fn list(items: &[Item<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    for item in items {
        writeln!(out, "{}  {}", styled(NAME, format!("{:11}", item.id())), item.text())?;
    }
    Ok(())
}

fn print(item: &Item<'_>, out: &mut Console<'_>) -> std::io::Result<()> {
    writeln!(out, "{}  {}", styled(HEADING, item.id()), styled(FAINT, item.title()))?;
    out.paragraph(2, 2, &[(Style::new(), &item.text())])?;
    let mut say = |label: &str, text: &str| out.paragraph(2, 10, &[(NAME, label), (Style::new(), text)]);
    match item {
        Item::Rule(rule) => {
            say("who    ", &rule.who)?;
            say("else   ", &rule.otherwise)?;
            say("basis  ", &format!("{}: {}", rule.basis.name(), rule.basis.meaning()))?;
            if let Some(level) = level_of(&rule.id) {
                say("model  ", meaning_of(level))?;
            }
            say("source ", &rule.source)?;
            let mut shown: Vec<&str> = Vec::new();
            for name in rule.sources.iter().flat_map(|source| &source.names) {
                if !shown.contains(&name.tag.as_str()) {
                    shown.push(&name.tag);
                    out.paragraph(10, 12, &[(FAINT, &format!("{}: {}", name.tag, name.meaning))])?;
                }
            }
        }
        Item::Question(question) => {
            say("assumed ", &question.assumed)?;
            let switches = if question.switches.is_empty() { "none".to_owned() } else { question.switches.join(", ") };
            say("switch  ", &switches)?;
        }
        Item::Qemu(difference) => {
            let hazard = difference.hazard.map(|number| format!("hazard-{number}"));
            let about = difference.about.clone().into_iter().chain(difference.rules.iter().cloned()).chain(hazard);
            say("about   ", &about.collect::<Vec<_>>().join(", "))?;
            let versions: Vec<&str> = difference.versions.iter().map(|start| start.trim_end_matches('.')).collect();
            say("seen in ", &versions.join(", "))?;
        }
        Item::Note(..) | Item::Own(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use gicv5_model::config::Switches;

    #[test]
    fn every_rule_that_the_model_can_report_is_explained() {
        let book = gicv5_facts::rules().unwrap();
        let of_switches = Switches::ALL.iter().flat_map(|switch| switch.rules).copied();
        let of_switches = of_switches.filter(|rule| !rule.starts_with("open question"));
        let remarks = rules::REMARKS.iter().map(|rule| rule.id());
        for id in rules::ALL.iter().map(|rule| rule.id()).chain(remarks).chain(of_switches) {
            assert!(find(book, id).is_ok_and(|items| items.len() == 1), "{id} is not explained");
        }
    }

    #[test]
    fn every_place_where_qemu_differs_is_explained_by_its_id_in_any_case() {
        let book = gicv5_facts::rules().unwrap();
        let differences = gicv5_facts::qemu().unwrap();
        for difference in differences {
            for id in [difference.id.clone(), difference.id.to_ascii_uppercase()] {
                let found = find(book, &id).unwrap();
                assert!(matches!(&found[..], [Item::Qemu(found)] if found.id == difference.id), "{id}");
            }
            let hazard = difference.hazard.map(|number| format!("hazard-{number}"));
            for other in difference.rules.iter().chain(&hazard) {
                assert!(find(book, other).is_ok_and(|items| items.len() == 1), "{}: {other}", difference.id);
            }
        }
        assert_eq!(find(book, QEMU).unwrap().len(), differences.len());
    }

    #[test]
    fn an_open_question_names_the_switches_that_answer_it_otherwise_and_no_others() {
        for question in &gicv5_facts::rules().unwrap().open_questions {
            let id = format!("open question {}", question.number);
            let named: BTreeSet<&str> = question.switches.iter().map(String::as_str).collect();
            let of_the_model: BTreeSet<&str> =
                Switches::ALL.iter().filter(|switch| switch.rules.contains(&id.as_str())).map(|s| s.name).collect();
            assert_eq!(named, of_the_model, "{id}");
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
