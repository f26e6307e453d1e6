//! A table of the file, whose keys are taken one by one; what is left over at the end is a mistake.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Span, refuse};
use crate::output::quote;
use crate::suggest;

/// A value and its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// A table that is being read.
pub(super) struct Table<'a, 'i> {
    /// What it is, for messages: `[machine]`.
    name: &'static str,
    span: Span,
    table: &'a DeTable<'i>,
    known: Vec<&'static str>,
}

/// What a value is, in the language's words.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wrong_kind(value: &Value<'_>, key: &str, wanted: &str) -> Problem {
    Problem::new(
        value.span(),
        format!("`{key}` is {wanted}, and this is {}", kind(value.get_ref())),
        format!("write {wanted}"),
    )
}

impl<'a, 'i> Table<'a, 'i> {
    pub(super) fn new(name: &'static str, span: Span, table: &'a DeTable<'i>) -> Table<'a, 'i> {
        Table { name, span, table, known: Vec::new() }
    }

    /// The value of a key, if there is one.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value<'i>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The place of a key's value, or of the whole table if it is not there.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.table.get(key).map_or(self.span(), Spanned::span)
    }

    pub(super) fn missing(&self, key: &str, example: &str) -> Problem {
        Problem::new(self.span(), format!("{} has no `{key}`", self.name), format!("add a line such as `{example}`"))
    }

    pub(super) fn integer(&mut self, key: &'static str, range: Range<u64>, else_: u64) -> Result<u64, Problem> {
        match self.value(key) {
            None => Ok(else_),
            Some(value) => integer(value, key, range),
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str, else_: bool) -> Result<bool, Problem> {
        match self.value(key).map(|value| (value, value.get_ref())) {
            None => Ok(else_),
            Some((_, DeValue::Boolean(value))) => Ok(*value),
            Some((value, _)) => Err(wrong_kind(value, key, "true or false")),
        }
    }

    /// A string and its place.
    pub(super) fn string(&mut self, key: &'static str) -> Result<Option<(&'a str, Span)>, Problem> {
        self.value(key).map(|value| string(value, key)).transpose()
    }

    /// A list.
    pub(super) fn list(&mut self, key: &'static str) -> Result<Option<&'a [Value<'i>]>, Problem> {
        match self.value(key).map(|value| (value, value.get_ref())) {
            None => Ok(None),
            Some((_, DeValue::Array(list))) => Ok(Some(list)),
            Some((value, _)) => Err(wrong_kind(value, key, "a list")),
        }
    }

    /// A list of strings, with their places.
    pub(super) fn strings(&mut self, key: &'static str) -> Result<Option<Vec<(&'a str, Span)>>, Problem> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        list.iter().map(|value| string(value, key)).collect::<Result<_, _>>().map(Some)
    }

    /// The tables of a kind, written `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str, name: &'static str) -> Result<Vec<Table<'a, 'i>>, Problem> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let wrong = || {
            let help = format!("write `{name}` on a line of its own, and the keys below it");
            Problem::new(value.span(), format!("`{key}` is a list of tables"), help)
        };
        let DeValue::Array(list) = value.get_ref() else { return Err(wrong()) };
        list.iter()
            .map(|value| match value.get_ref() {
                DeValue::Table(table) => Ok(Table::new(name, value.span(), table)),
                _ => Err(wrong()),
            })
            .collect()
    }

    /// The table of this name.
    pub(super) fn table(&mut self, key: &'static str, name: &'static str) -> Result<Option<Table<'a, 'i>>, Problem> {
        match self.value(key).map(|value| (value, value.get_ref())) {
            None => Ok(None),
            Some((value, DeValue::Table(table))) => Ok(Some(Table::new(name, value.span(), table))),
            Some((value, _)) => {
                refuse(value.span(), format!("`{key}` is a table"), format!("write `{name}` and its keys below"))
            }
        }
    }

    /// All keys have been taken; whoever wrote another meant something else.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some((key, _)) = self.table.iter().find(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) else {
            return Ok(());
        };
        let typed = key.get_ref();
        let nearest = suggest::nearest(typed, self.known.iter().copied());
        let help = match refused(typed) {
            Some(reason) => reason.to_owned(),
            None => suggest::hint(&nearest, &format!("its keys are {}", self.known.join(", "))),
        };
        refuse(key.span(), format!("{} has no key {}", self.name, quote(typed)), help)
    }
}

/// What somebody may look for and is not there, with the reason.
fn refused(key: &str) -> Option<&'static str> {
    match key {
        "timer" | "timers" => Some("guests have no timers yet: leave it out, and use a [[source]] of SPIs or LPIs"),
        "ppi" | "ppis" => Some("guests have no PPIs yet: use SPIs or LPIs"),
        "its" | "iwb" => Some("there is no ITS and no IWB: devices send LPIs and SPIs by `send` and `raise`"),
        "nested" => Some("there is no nested virtualisation"),
        _ => None,
    }
}

/// A string and its place; the place of what is between the quotation marks, where that is plain.
pub(super) fn string<'a>(value: &'a Value<'_>, key: &str) -> Result<(&'a str, Span), Problem> {
    let DeValue::String(text) = value.get_ref() else { return Err(wrong_kind(value, key, "a string")) };
    let span = value.span();
    let inner = span.start + 1..span.end.saturating_sub(1);
    Ok((text, if inner.len() == text.len() { inner } else { span }))
}

/// An integer in a range.
pub(super) fn integer(value: &Value<'_>, key: &str, range: Range<u64>) -> Result<u64, Problem> {
    let DeValue::Integer(number) = value.get_ref() else { return Err(wrong_kind(value, key, "an integer")) };
    let (least, most) = (range.start, range.end - 1);
    u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| range.contains(number)).ok_or_else(|| {
        Problem::new(
            value.span(),
            format!("`{key}` cannot be {}", number.as_str().chars().take(24).collect::<String>()),
            match least == most {
                true => format!("it is {least}"),
                false => format!("write a number from {least} to {most}"),
            },
        )
    })
}
