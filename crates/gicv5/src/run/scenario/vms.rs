//! The VMs of a scenario: `[[vm]]`, with its vCPUs and interrupts.

use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IrsIntId, Priority, VpeId};
use gicv5_hyp::VcpuIndex;
use gicv5_model::PeIndex;
use toml::de::DeValue;

use super::problem::{Problem, Span, refuse};
use super::program;
use super::read::optional_time;
use super::sentence::{Bounds, Sentence};
use super::table::{self, Table, Value};
use super::{InterruptSpec, MachineSpec, Ns, ProgramStep, VcpuSpec, VmKind, VmSpec};
use crate::output::quote;

/// As many VMs as hardware can have at most (GEN-10).
pub(super) const MOST_VMS: u64 = 1 << 16;

/// Programs and handlers are short.
const MOST_STEPS: usize = 1_000;

pub(super) fn vms(
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
    list.into_iter().map(|text| program::step(text, bounds)).collect()
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
    let mut sentence = Sentence::new((text, span.clone()));
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
        let number = id.id();
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
