//! What happens in a scenario and what shall come of it: `[[at]]`, `[[source]]`, `[[fault]]` and `[[expect]]`.

use gicv5_model::fault::Fault;

use super::problem::{Problem, refuse};
use super::read::{duration_or, line, optional_time};
use super::table::Table;
use super::world::World;
use super::{EventSource, Expectation, FaultSpec, Moment, Ns, Pace};
use crate::output::quote;

pub(super) fn read_moment(
    mut table: Table<'_, '_>,
    world: World<'_>,
    duration: Ns,
    moments: &mut Vec<Moment>,
) -> Result<(), Problem> {
    let Some((time, span)) = optional_time(&mut table, "time")? else {
        return Err(table.missing("time", "time = \"100us\""));
    };
    if time > duration {
        let what = "a moment after the end";
        return refuse(span, what, "make `duration` longer, or let it happen earlier");
    }
    let Some(list) = table.strings("do")? else { return Err(table.missing("do", "do = [\"raise vm0 SPI 5\"]")) };
    for text in list {
        let (vms, action) = world.action(text)?;
        moments.push(Moment { time, vms, action });
    }
    table.finish()
}

pub(super) fn source(mut table: Table<'_, '_>, world: World<'_>, duration: Ns) -> Result<EventSource, Problem> {
    let Some(text) = table.string("interrupt")? else {
        return Err(table.missing("interrupt", "interrupt = \"vm0 LPI 3\""));
    };
    let (vms, interrupt) = world.target(text)?;
    let every = optional_time(&mut table, "every")?;
    let about = optional_time(&mut table, "about")?;
    let (pace, gap, span) = match (every, about) {
        (Some((time, span)), None) => (Pace::Every(time), time, span),
        (None, Some((time, span))) => (Pace::About(time), time, span),
        (None, None) => return Err(table.missing("every", "every = \"10us\"")),
        (Some((_, first)), Some((_, second))) => {
            return Err(
                Problem::new(second, "the pace is said twice", "keep `every` or `about`").against(first, "here")
            );
        }
    };
    if gap == 0 {
        return refuse(span, "a source that never lets time pass", "write a time of at least 1ns");
    }
    let from = duration_or(&mut table, "from", 0)?;
    let until = duration_or(&mut table, "until", duration)?;
    if until > duration {
        return refuse(table.span_of("until"), "a source that goes on after the end", "make `duration` longer");
    }
    if from >= until {
        let what = "a source that stops before it starts";
        return refuse(table.span_of("from"), what, "make `until` later than `from`");
    }
    let count = table.integer("count", 1..u64::MAX, u64::MAX)?;
    table.finish()?;
    Ok(EventSource { vms, interrupt, pace, from, until, count })
}

pub(super) fn fault(mut table: Table<'_, '_>) -> Result<FaultSpec, Problem> {
    let example = "request = \"IRS_VMAP_VMR VM 0 valid\"";
    let Some((request, span)) = table.string("request")? else { return Err(table.missing("request", example)) };
    if request.trim().is_empty() {
        return refuse(table.span_of("request"), "a fault of nothing", format!("write such as {example}"));
    }
    let occurrence = table.integer("which", 1..u64::MAX, 1)?;
    let Some((text, how)) = table.string("fails")? else { return Err(table.missing("fails", "fails = \"never\"")) };
    let late = optional_time(&mut table, "by")?;
    if let Some((time, span)) = &late {
        if text != "late" {
            let what = format!("`by` says how late, and {} is not late", quote(text));
            return Err(
                Problem::new(span.clone(), what, "leave out `by`, or write fails = \"late\"").against(how, "here")
            );
        }
        if *time == 0 {
            return refuse(span.clone(), "late by nothing", "write a time of at least 1ns");
        }
    }
    let fault = match text {
        "refused" => Fault::Refused,
        "never" => Fault::Never,
        "ignored" => Fault::Ignored,
        "invalid" => Fault::Invalid,
        "late" => match late {
            Some((time, _)) => Fault::Late(time),
            None => return Err(table.missing("by", "by = \"2ms\"")),
        },
        other => {
            let help = "write \"refused\", \"never\", \"late\", \"ignored\" or \"invalid\"";
            return refuse(how, format!("nothing fails like {}", quote(other)), help);
        }
    };
    let which = table.span_of("which");
    table.finish()?;
    Ok(FaultSpec { request: request.to_owned(), span, occurrence, which, fault, fails: how })
}

pub(super) fn expectation(mut table: Table<'_, '_>, world: World<'_>) -> Result<Expectation, Problem> {
    let Some(text) = table.string("that")? else { return Err(table.missing("that", "that = \"delivered vm0 = 3\"")) };
    if text.0.chars().any(char::is_control) {
        return refuse(text.1, "an expectation of several lines", "write it in one");
    }
    let name = line(&mut table, "name")?.unwrap_or_else(|| text.0.to_owned());
    let claim = world.claim(text)?;
    table.finish()?;
    Ok(Expectation { name, claim })
}
