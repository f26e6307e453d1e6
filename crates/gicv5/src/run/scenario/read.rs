//! From text to a checked [`Scenario`].

use toml::de::{DeTable, DeValue};

use super::events::{expectation, fault, read_moment, source};
use super::problem::{Problem, Span, refuse};
use super::table::{self, Table};
use super::vms::{MOST_VMS, vms};
use super::world::World;
use super::{MachineSpec, Ns, Scenario, TableShape, sentence};
use crate::output::quote;
use crate::run::devicetree::Topology;

/// A file that is longer is refused before it is looked at.
pub(crate) const LONGEST_FILE: u64 = 1 << 20;

/// Titles and names of expectations fit on a screen.
const LONGEST_NAME: usize = 200;

/// Reads a scenario, and checks that there can be such a machine and that nothing contradicts anything.
///
/// A device tree decides about the PEs and the coherency, if there is one.
pub(crate) fn read(text: &str, topology: Option<&Topology>) -> Result<Scenario, Problem> {
    let document = DeTable::parse(text).map_err(|error| {
        let end = text.len();
        let span = error.span().unwrap_or(end..end);
        Problem::new(span, format!("not TOML: {}", error.message()), "the language is described in docs/scenarios.md")
    })?;
    let mut top = Table::new("a scenario", 0..0, document.get_ref());
    let title = line(&mut top, "title")?.ok_or_else(|| top.missing("title", "title = \"what it shows\""))?;
    let seed = top.integer("seed", 0..u64::MAX, 0)?;
    let duration = optional_time(&mut top, "duration")?.map(|(time, _)| time);
    let duration = duration.ok_or_else(|| top.missing("duration", "duration = \"1ms\""))?;
    if duration == 0 {
        return refuse(top.span_of("duration"), "a scenario that takes no time", "write a time such as 1ms");
    }
    let settle = duration_or(&mut top, "settle", 100_000_000)?;
    let machine = match top.table("machine", "[machine]")? {
        Some(table) => machine(table, topology)?,
        None => machine(Table::new("[machine]", 0..0, &DeTable::new()), topology)?,
    };
    let (kinds, vms) = vms(top.tables("vm", "[[vm]]")?, &machine, duration, &top)?;
    let world = World { kinds: &kinds, vms: &vms, pes: machine.pes };
    let mut moments = Vec::new();
    for table in top.tables("at", "[[at]]")? {
        read_moment(table, world, duration, &mut moments)?;
    }
    moments.sort_by_key(|moment| moment.time);
    let sources = top.tables("source", "[[source]]")?;
    let sources = sources.into_iter().map(|table| source(table, world, duration)).collect::<Result<_, _>>()?;
    let faults = top.tables("fault", "[[fault]]")?;
    let faults = faults.into_iter().map(fault).collect::<Result<_, _>>()?;
    let expectations = top.tables("expect", "[[expect]]")?;
    let expectations = expectations.into_iter().map(|table| expectation(table, world)).collect::<Result<_, _>>()?;
    top.finish()?;
    Ok(Scenario { title, seed, duration, settle, machine, kinds, vms, moments, sources, faults, expectations })
}

/// A string that is shown as a line of a report.
pub(super) fn line(table: &mut Table<'_, '_>, key: &'static str) -> Result<Option<String>, Problem> {
    let Some((text, span)) = table.string(key)? else { return Ok(None) };
    if text.trim().is_empty() || text.chars().any(char::is_control) || text.chars().count() > LONGEST_NAME {
        let help = format!("write one line of text, of up to {LONGEST_NAME} characters");
        return refuse(span, format!("`{key}` is shown as one line"), help);
    }
    Ok(Some(text.to_owned()))
}

/// The complaint about a time that has no unit, if that is what is there.
fn unit(table: &mut Table<'_, '_>, key: &'static str) -> Option<Problem> {
    let value = table.value(key)?;
    Some(Problem::new(
        value.span(),
        format!("`{key}` is a time"),
        "a time is a string of a number and a unit: ns, us, ms or s, such as \"10us\"",
    ))
}

/// A time, or another if there is none.
pub(super) fn duration_or(table: &mut Table<'_, '_>, key: &'static str, else_: Ns) -> Result<Ns, Problem> {
    Ok(optional_time(table, key)?.map_or(else_, |(time, _)| time))
}

pub(super) fn optional_time(table: &mut Table<'_, '_>, key: &'static str) -> Result<Option<(Ns, Span)>, Problem> {
    let Some(value) = table.value(key) else { return Ok(None) };
    match value.get_ref() {
        DeValue::String(_) => {
            let (text, span) = table::string(value, key)?;
            Ok(Some((sentence::time(text, &span)?, span)))
        }
        _ => Err(unit(table, key).unwrap_or_else(|| table.missing(key, "10us"))),
    }
}

fn machine(mut table: Table<'_, '_>, topology: Option<&Topology>) -> Result<MachineSpec, Problem> {
    let pes = table.integer("pes", 1..257, 1)? as u16;
    let coherent = table.boolean("coherent", false)?;
    let (pes, coherent, iaffids) = match topology {
        Some(topology) => (topology.iaffids.len() as u16, topology.coherent, topology.iaffids.clone()),
        None => (pes, coherent, Vec::new()),
    };
    let tick = duration_or(&mut table, "tick", 100)?;
    if tick == 0 || tick > 1_000_000 {
        let span = table.span_of("tick");
        return refuse(span, "a tick of that length", "write a time from 1ns to 1ms");
    }
    let latency = optional_time(&mut table, "command-latency")?;
    let command_latency = latency.as_ref().map_or(10, |(time, _)| time.div_ceil(tick));
    let timeout = optional_time(&mut table, "command-timeout")?;
    let command_timeout = timeout.as_ref().map_or(1_000_000, |(time, _)| *time);
    if command_timeout < tick {
        return refuse(
            table.span_of("command-timeout"),
            "the host gives up before it can look once",
            "write more than a tick",
        );
    }
    if let Some((_, span)) = timeout.or(latency)
        && command_latency.saturating_mul(tick) >= command_timeout
    {
        let what = "the host gives up on every command: `command-latency` is not less than `command-timeout`";
        return refuse(span, what, "make `command-timeout` longer, or plan a [[fault]] for one command");
    }
    let vm_id_bits = table.integer("vm-id-bits", 8..17, 16)? as u32;
    let vms = table.integer("vms", 1..MOST_VMS + 1, (1 << vm_id_bits).min(256))? as u32;
    if vms > 1 << vm_id_bits {
        let what = format!("the host wants {vms} VMs, and the hardware has {}", 1u32 << vm_id_bits);
        return Err(Problem::new(table.span_of("vms"), what, "make `vm-id-bits` larger")
            .against(table.span_of("vm-id-bits"), "the hardware's VM IDs"));
    }
    let shape = table.string("vm-table")?;
    let vm_table = match shape {
        None | Some(("two-level", _)) => TableShape::TwoLevel,
        Some(("linear", _)) => TableShape::Linear,
        Some((other, span)) => {
            return refuse(span, format!("no VM table is {}", quote(other)), "write \"linear\" or \"two-level\"");
        }
    };
    let lpis = table.integer("lpis", 1..(1 << 22) + 1, 1024)? as u32;
    let time_slice = duration_or(&mut table, "time-slice", 1_000_000)?;
    if time_slice < 10_000 {
        return refuse(table.span_of("time-slice"), "a time slice shorter than a switch", "write at least 10us");
    }
    table.finish()?;
    Ok(MachineSpec {
        pes,
        iaffids,
        coherent,
        tick,
        command_latency,
        command_timeout,
        vm_id_bits,
        vms,
        vm_table,
        lpis,
        time_slice,
    })
}
