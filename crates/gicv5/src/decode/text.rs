//! The report as people read it: a heading, one line per field, then problems and remarks.

use std::io::{self, Write};

use anstyle::Style;

use super::report::{FieldReport, Finding, Report, View};
use crate::output::{Console, FAINT, HEADING, NAME, PROBLEM, REMARK, styled};

pub(crate) fn print(report: &Report, out: &mut Console<'_>) -> io::Result<()> {
    let value = if report.words.is_empty() { String::new() } else { format!(" = {}", report.words.join(" ")) };
    writeln!(out, "{}{value}", styled(HEADING, &report.name))?;
    if let Some(summary) = &report.summary {
        writeln!(out, "  {summary}")?;
    }
    let several = report.views.len() > 1;
    for view in &report.views {
        if several {
            writeln!(out, "\n  {}", styled(HEADING, format!("view {}", view.view.as_deref().unwrap_or(""))))?;
        }
        out.paragraph(2, 4, &[(FAINT, &place(view))])?;
        out.paragraph(2, 4, &[(Style::new(), &view.purpose)])?;
        if let Some(note) = &view.note {
            out.paragraph(2, 4, &[(FAINT, note)])?;
        }
        if several {
            section(out, report, &|name| name == &view.view)?;
        }
    }
    if !several {
        section(out, report, &|_| true)?;
    }
    Ok(())
}

/// The fields and findings of the views that `of` picks.
fn section(out: &mut Console<'_>, report: &Report, of: &dyn Fn(&Option<String>) -> bool) -> io::Result<()> {
    let fields: Vec<_> = report.fields.iter().filter(|field| of(&field.view)).collect();
    let findings = |list: &'_ [Finding]| list.iter().any(|finding| of(&finding.view));
    if !fields.is_empty() {
        writeln!(out)?;
        print_fields(out, &fields)?;
    }
    if findings(&report.problems) || findings(&report.remarks) {
        writeln!(out)?;
    }
    for (list, label, style) in [(&report.problems, "problem:", PROBLEM), (&report.remarks, "remark:", REMARK)] {
        for finding in list.iter().filter(|finding| of(&finding.view)) {
            let text = match &finding.field {
                Some(field) => format!("{field}: {}", finding.text),
                None => finding.text.clone(),
            };
            let rules = match finding.rules {
                [] => String::new(),
                rules => format!("[{}]", rules.join(", ")),
            };
            out.paragraph(2, 4, &[(style, label), (Style::new(), &text), (FAINT, &rules)])?;
        }
    }
    Ok(())
}

fn print_fields(out: &mut Console<'_>, fields: &[&FieldReport]) -> io::Result<()> {
    let widest = |text: &dyn Fn(&FieldReport) -> usize| fields.iter().map(|field| text(field)).max().unwrap_or(0);
    let shown = |field: &FieldReport| if field.value < 10 { field.value.to_string() } else { field.hex.clone() };
    let name_width = widest(&|field| field.name.len());
    let bits_width = widest(&|field| field.bits.len());
    let value_width = widest(&|field| shown(field).len());
    for field in fields {
        let line = format!(
            "  {}  {:>bits_width$}  {:<value_width$}  {}",
            styled(NAME, format!("{:name_width$}", field.name)),
            field.bits,
            shown(field),
            field.meaning
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Where it is, how it is accessed, and how sure that is.
fn place(view: &View) -> String {
    let mut parts = Vec::new();
    let class = gicv5_facts::registers()
        .ok()
        .and_then(|table| table.classes.iter().find(|class| class.name() == view.class))
        .map_or(view.class, |class| class.title());
    parts.push(class.to_owned());
    if let Some(offset) = view.offset {
        parts.push(format!("offset {offset:#06x}"));
    }
    if let Some(encoding) = &view.encoding
        && view.instruction.is_none()
    {
        parts.push(encoding.clone());
    }
    if let Some(instruction) = &view.instruction {
        parts.push(format!("{} {}", instruction.form, instruction.word));
        parts.push(match instruction.operand {
            "Xt" => "operand in Xt".to_owned(),
            "none" => "no operand".to_owned(),
            other => other.to_owned(),
        });
        parts.push(format!("{} and above", instruction.min_el));
    } else if let Some(width) = view.width {
        parts.push(format!("{width} bits"));
    }
    if let Some(twin) = &view.accessed_via {
        parts.push(format!("reached as {twin} in the virtual domain"));
    }
    if let Some(offset) = view.vncr_offset {
        parts.push(format!("VNCR {offset:#x}"));
    }
    match view.access {
        Some("memory") | None => {}
        Some(access) if view.access_confirmed => parts.push(access.to_owned()),
        Some(access) => parts.push(format!("{access} (inferred)")),
    }
    if view.offset.is_none() && view.encoding.is_none() && view.class != "memory-entry" {
        parts.push(if view.class == "cpuif-sysreg" { "encoding not known" } else { "offset not known" }.to_owned());
    } else if view.confirmed == 1 {
        parts.push("known from one source".to_owned());
    }
    if view.fields_inferred {
        parts.push("fields inferred from a sibling".to_owned());
    }
    if let Some(status) = view.status {
        parts.push(format!("{status} from the architecture"));
    }
    if let Some(reset) = &view.reset {
        parts.push(format!("reset {reset}"));
    }
    parts.join(", ")
}
