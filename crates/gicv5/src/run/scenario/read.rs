//! From text to a checked [`Scenario`].

use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IrsIntId, Priority, VpeId};
use gicv5_hyp::VcpuIndex;
use gicv5_model::PeIndex;
use gicv5_model::fault::Fault;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Span, refuse};
use super::table::{self, Table, Value};
use super::words::{self, Bounds, World};
use super::{
    EventSource, Expectation, FaultSpec, InterruptSpec, MachineSpec, Moment, Ns, Pace, ProgramStep, Scenario,
    TableShape, VcpuSpec, VmKind, VmSpec,
};
use crate::output::quote;
use crate::run::devicetree::Topology;

/// A file that is longer is refused before it is looked at.
pub(crate) const LONGEST_FILE: u64 = 1 << 20;

/// As many VMs as hardware can have at most (GEN-10).
const MOST_VMS: u64 = 1 << 16;

/// Titles and names of expectations fit on a screen.
const LONGEST_NAME: usize = 200;

/// Programs and handlers are short.
const MOST_STEPS: usize = 1_000;

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
fn line(table: &mut Table<'_, '_>, key: &'static str) -> Result<Option<String>, Problem> {
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
fn duration_or(table: &mut Table<'_, '_>, key: &'static str, else_: Ns) -> Result<Ns, Problem> {
    Ok(optional_time(table, key)?.map_or(else_, |(time, _)| time))
}

fn optional_time(table: &mut Table<'_, '_>, key: &'static str) -> Result<Option<(Ns, Span)>, Problem> {
    let Some(value) = table.value(key) else { return Ok(None) };
    match value.get_ref() {
        DeValue::String(_) => {
            let (text, span) = table::string(value, key)?;
            Ok(Some((words::time(text, &span)?, span)))
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

fn vms(
    tables: Vec<Table<'_, '_>>,
    machine: &MachineSpec,
    duration: Ns,
    top: &Table<'_, '_>,
) -> Result<(Vec<VmKind>, Vec<VmSpec>), Problem> {
    let (mut kinds, mut vms) = (Vec::<VmKind>::new(), Vec::<VmSpec>::new());
    let mut vcpus = 0;
    for table in tables {
        let span = table.span();
        let (mut kind, count) = kind(table, machine, duration, &kinds)?;
        let first = vms.len();
        if (first as u64) + count > MOST_VMS {
            let what = format!("{} VMs", first as u64 + count);
            return refuse(span, what, "no hardware has more than 65536: VM IDs have 16 bits (GEN-10)");
        }
        vcpus += count * kind.vcpus.len() as u64;
        if vcpus > 1 << 20 {
            return refuse(span, format!("{vcpus} vCPUs"), "at most 1048576 can be simulated");
        }
        for n in 0..count {
            let name = if count == 1 { kind.name.clone() } else { format!("{}.{n}", kind.name) };
            vms.push(VmSpec { name, kind: kinds.len() });
        }
        kind.members = first..vms.len();
        kinds.push(kind);
    }
    if kinds.is_empty() {
        return Err(top.missing("vm", "[[vm]]"));
    }
    Ok((kinds, vms))
}

fn kind(
    mut table: Table<'_, '_>,
    machine: &MachineSpec,
    duration: Ns,
    others: &[VmKind],
) -> Result<(VmKind, u64), Problem> {
    let Some((name, span)) = table.string("name")? else { return Err(table.missing("name", "name = \"vm0\"")) };
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(fine) || name.len() > 32 {
        let help = "write up to 32 letters, digits, - and _";
        return refuse(span, format!("{} is no name of a VM", quote(name)), help);
    }
    if others.iter().any(|other| other.name == name) {
        return refuse(span, format!("two VMs are called {}", quote(name)), "give one another name, or write `count`");
    }
    let count = table.integer("count", 1..MOST_VMS + 1, 1)?;
    let ids = vpe_ids(&mut table)?;
    let spis = table.integer("spis", 0..1025, 0)? as u32;
    let lpi_id_bits = match table.value("lpi-id-bits") {
        None => None,
        Some(value) => Some(table::integer(value, "lpi-id-bits", 1..17)? as u32),
    };
    let never = matches!(table.value("starts").map(Value::get_ref), Some(DeValue::String(text)) if text == "never");
    let starts = match never {
        true => None,
        false => Some(optional_time(&mut table, "starts")?.unwrap_or((0, 0..0))),
    };
    if let Some((_, span)) = starts.clone().filter(|(time, _)| *time > duration) {
        return refuse(span, "a VM that starts after the end", "make `duration` longer");
    }
    let starts = starts.map(|(time, _)| time);
    let bounds = Bounds { spis, lpis: lpi_id_bits.map_or(0, |bits| 1 << bits), vcpus: ids.len() };
    let mask = priority(&mut table, "mask", 31)?;
    let program = match table.strings("program")? {
        Some(program) => steps(program, bounds)?,
        None => vec![ProgramStep::Wait, ProgramStep::Again],
    };
    check_program(&program, &table.span_of("program"))?;
    let pes = pe_list(&mut table, machine, ids.len())?;
    let mut vcpus: Vec<VcpuSpec> =
        ids.into_iter().zip(pes).map(|(vpe, pe)| VcpuSpec { vpe, pe, program: program.clone(), mask }).collect();
    for mut table in table.tables("vcpu", "[[vm.vcpu]]")? {
        if table.value("number").is_none() {
            return Err(table.missing("number", "number = 0"));
        }
        let number = table.integer("number", 0..vcpus.len() as u64, 0)? as usize;
        let Some(vcpu) = vcpus.get_mut(number) else { continue };
        if let Some(program) = table.strings("program")? {
            vcpu.program = steps(program, bounds)?;
            check_program(&vcpu.program, &table.span_of("program"))?;
        }
        if table.value("pe").is_some() {
            vcpu.pe = Some(PeIndex(table.integer("pe", 0..u64::from(machine.pes), 0)? as u16));
        }
        vcpu.mask = priority(&mut table, "mask", u64::from(vcpu.mask.number()))?;
        table.finish()?;
    }
    let mut interrupts = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for table in table.tables("interrupt", "[[vm.interrupt]]")? {
        read_interrupt(table, bounds, &mut interrupts, &mut seen)?;
    }
    table.finish()?;
    Ok((VmKind { name: name.to_owned(), vcpus, spis, lpi_id_bits, interrupts, starts, members: 0..0 }, count))
}

/// The VPE IDs, by number of vCPUs or one by one.
fn vpe_ids(table: &mut Table<'_, '_>) -> Result<Vec<VpeId>, Problem> {
    let list = table.list("vpe-ids")?;
    let count = table.value("vcpus").map(|value| table::integer(value, "vcpus", 1..513)).transpose()?;
    match (list, count) {
        (None, count) => Ok((0..count.unwrap_or(1) as u16).map(VpeId::new).collect()),
        (Some(_), Some(_)) => {
            let what = "the number of vCPUs is said twice";
            Err(Problem::new(table.span_of("vcpus"), what, "leave out `vcpus`: `vpe-ids` has one ID for each vCPU")
                .against(table.span_of("vpe-ids"), "the vCPUs one by one"))
        }
        (Some([]), None) => refuse(table.span_of("vpe-ids"), "a VM without a vCPU", "write at least one VPE ID"),
        (Some(list), None) => {
            let mut ids: Vec<VpeId> = Vec::new();
            for value in list {
                let id = VpeId::new(table::integer(value, "vpe-ids", 0..4096)? as u16);
                if ids.last().is_some_and(|last| *last >= id) {
                    let what = "VPE IDs that do not ascend";
                    return refuse(value.span(), what, "write them in order, each once");
                }
                ids.push(id);
            }
            Ok(ids)
        }
    }
}

/// The PEs that the vCPUs run on.
fn pe_list(table: &mut Table<'_, '_>, machine: &MachineSpec, vcpus: usize) -> Result<Vec<Option<PeIndex>>, Problem> {
    let Some(list) = table.list("pes")? else { return Ok(vec![None; vcpus]) };
    if list.len() != vcpus {
        let what = format!("`pes` names {} PEs for {vcpus} vCPUs", list.len());
        return refuse(table.span_of("pes"), what, "name one PE for each vCPU, or leave `pes` out");
    }
    let pe =
        |value: &Value<'_>| table::integer(value, "pes", 0..u64::from(machine.pes)).map(|pe| Some(PeIndex(pe as u16)));
    list.iter().map(pe).collect()
}

fn priority(table: &mut Table<'_, '_>, key: &'static str, else_: u64) -> Result<Priority, Problem> {
    let number = table.integer(key, 0..32, else_)?;
    Priority::new(number as u32).map_err(|error| Problem::new(table.span_of(key), error.to_string(), "write 0 to 31"))
}

fn steps(list: Vec<(&str, Span)>, bounds: Bounds) -> Result<Vec<ProgramStep>, Problem> {
    if list.len() > MOST_STEPS {
        let span = list.first().map_or(0..0, |(_, span)| span.clone());
        return refuse(span, format!("{} steps", list.len()), format!("at most {MOST_STEPS}"));
    }
    list.into_iter().map(|text| words::step(text, bounds)).collect()
}

/// A program that begins again without ever running or waiting would never let time pass.
fn check_program(program: &[ProgramStep], span: &Span) -> Result<(), Problem> {
    let again = program.iter().position(|step| *step == ProgramStep::Again);
    let passes_time =
        |step: &ProgramStep| matches!(step, ProgramStep::Wait) || matches!(step, ProgramStep::Run(time) if *time > 0);
    match again {
        Some(at) if at + 1 != program.len() => {
            refuse(span.clone(), "steps after `again` are never reached", "make `again` the last step")
        }
        Some(_) if !program.iter().any(passes_time) => refuse(
            span.clone(),
            "a program that begins again and lets no time pass",
            "add a step such as \"run 10us\" or \"wait\"",
        ),
        _ => Ok(()),
    }
}

fn read_interrupt(
    mut table: Table<'_, '_>,
    bounds: Bounds,
    found: &mut Vec<InterruptSpec>,
    seen: &mut std::collections::HashSet<IrsIntId>,
) -> Result<(), Problem> {
    let Some((text, span)) = table.string("id")? else { return Err(table.missing("id", "id = \"SPI 5\"")) };
    let mut sentence = words::Sentence::new((text, span.clone()));
    let (ids, _) = sentence.interrupts()?;
    sentence.end()?;
    let each =
        matches!(table.value("vcpu").map(|value| value.get_ref()), Some(DeValue::String(text)) if text == "each");
    let vcpu = if each { 0 } else { table.integer("vcpu", 0..bounds.vcpus as u64, 0)? as usize };
    let priority = priority(&mut table, "priority", 16)?;
    let mode = match table.string("mode")? {
        None | Some(("edge", _)) => HandlingMode::Edge,
        Some(("level", span)) => match ids.first() {
            Some(IrsIntId::Lpi(_)) => {
                return refuse(span, "a level-sensitive LPI", "LPIs have no wire: write \"edge\", or use an SPI");
            }
            _ => HandlingMode::Level,
        },
        Some((other, span)) => {
            return refuse(span, format!("no handling mode is {}", quote(other)), "write \"edge\" or \"level\"");
        }
    };
    let enabled = table.boolean("enabled", true)?;
    let handler = match table.strings("handler")? {
        None => Vec::new(),
        Some(list) => {
            let spans: Vec<Span> = list.iter().map(|(_, span)| span.clone()).collect();
            let handler = steps(list, bounds)?;
            let waits =
                handler.iter().zip(spans).find(|(step, _)| matches!(step, ProgramStep::Wait | ProgramStep::Again));
            if let Some((_, span)) = waits {
                return refuse(span, "a handler neither waits nor begins again", "it ends with its last step");
            }
            handler
        }
    };
    table.finish()?;
    for (n, id) in ids.into_iter().enumerate() {
        let number = words::number_of(id);
        let count = if matches!(id, IrsIntId::Spi(_)) { bounds.spis } else { bounds.lpis };
        if number >= count {
            let key = if matches!(id, IrsIntId::Spi(_)) { "spis" } else { "lpi-id-bits" };
            let what = format!("the VM has no {id}");
            return refuse(span, what, format!("`{key}` in [[vm]] says how many it has: {count}"));
        }
        if !seen.insert(id) {
            return refuse(span, format!("{id} is set up twice"), "describe each interrupt once");
        }
        let vcpu = if each { n % bounds.vcpus } else { vcpu };
        found.push(InterruptSpec { id, vcpu: VcpuIndex(vcpu), priority, mode, enabled, handler: handler.clone() });
    }
    Ok(())
}

fn read_moment(
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

fn source(mut table: Table<'_, '_>, world: World<'_>, duration: Ns) -> Result<EventSource, Problem> {
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

fn fault(mut table: Table<'_, '_>) -> Result<FaultSpec, Problem> {
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

fn expectation(mut table: Table<'_, '_>, world: World<'_>) -> Result<Expectation, Problem> {
    let Some(text) = table.string("that")? else { return Err(table.missing("that", "that = \"delivered vm0 = 3\"")) };
    if text.0.chars().any(char::is_control) {
        return refuse(text.1, "an expectation of several lines", "write it in one");
    }
    let name = line(&mut table, "name")?.unwrap_or_else(|| text.0.to_owned());
    let claim = world.claim(text)?;
    table.finish()?;
    Ok(Expectation { name, claim })
}
