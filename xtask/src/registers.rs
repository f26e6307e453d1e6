//! The register reference, `docs/registers.md`, made from `facts/registers.toml`.
//!
//! The page leaves nothing out, so that a reader never needs the TOML file: every frame register, system register,
//! instruction and table entry with every field, then limits, alignments, status registers, and where the sources
//! disagree or are silent.

use crate::workspace;
use anyhow::{Result, ensure};
use gicv5_facts::{Class, Field, Form, Limit, Location, Operand, Register, RegisterTable, Status};
use std::fmt::{self, Write};

const PATH: &str = "docs/registers.md";
const COMMAND: &str = "cargo xtask registers";

/// Make docs/registers.md from facts/registers.toml
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if the file is not current
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let page = page(gicv5_facts::registers()?)?;
    let shell = workspace::shell()?;
    if args.check {
        let present = shell.read_file(PATH)?;
        let same = present.lines().zip(page.lines()).take_while(|(present, page)| present == page).count();
        ensure!(present == page, "{PATH} is not current from line {} on; run `{COMMAND}`", same + 1);
    } else {
        shell.write_file(PATH, page)?;
    }
    Ok(())
}

/// The sections after the registers, and what writes each.
type Section = (&'static str, fn(&mut String, &RegisterTable) -> fmt::Result);

const CLOSING_SECTIONS: &[Section] = &[
    ("Architected PPIs", ppis),
    ("Limits", limits),
    ("Alignment and size of tables", alignments),
    ("Status registers", status_pairs),
    ("Disagreements between sources", disagreements),
    ("Gaps", gaps),
];

fn page(table: &RegisterTable) -> Result<String, fmt::Error> {
    let mut out = String::new();
    opening(&mut out, table)?;
    for &class in &table.classes {
        let title = section_title(class);
        let items = items(table, class);
        writeln!(out, "\n## {title}\n")?;
        overview(&mut out, class, &items)?;
        for register in items {
            detail(&mut out, register)?;
        }
    }
    for (title, write) in CLOSING_SECTIONS {
        writeln!(out, "\n## {title}\n")?;
        write(&mut out, table)?;
    }
    Ok(out)
}

/// The items of a class by place; those whose place nobody knows come last, in the order of the file.
fn items(table: &RegisterTable, class: Class) -> Vec<&Register> {
    let mut items: Vec<_> = table.registers.iter().filter(|register| register.class == class).collect();
    items.sort_by_key(|register| match register.location {
        Location::Offset(offset) => (0, u64::from(offset)),
        Location::Encoding(encoding) => {
            let numbers = [encoding.op0, encoding.op1, encoding.crn, encoding.crm, encoding.op2];
            (0, numbers.iter().fold(0, |key, &number| key << 8 | u64::from(number)))
        }
        Location::Table => (0, 0),
        Location::Unknown => (1, 0),
    });
    items
}

fn opening(out: &mut String, table: &RegisterTable) -> fmt::Result {
    writeln!(
        out,
        "# GICv5 register reference\n\n\
         <!-- Made by `{COMMAND}` from facts/registers.toml. Edit that file, not this one. -->\n\n\
         Every register, instruction and table entry in `facts/registers.toml`, {} in all, with {} fields. The types in\n\
         `gicv5-arch` are tested against the same file.\n\n\
         - *Sources agreeing* is the number of independent sources that agree on where an item is; 3 means three or more.\n\
         - Bit ranges are inclusive. Bits that no field names are reserved.\n\
         - An access type followed by `?` is inferred; no source states it.\n\
         - A reset value is given where a source shows one.\n\n\
         ## Contents\n",
        table.registers.len(),
        table.registers.iter().map(|register| register.fields.len()).sum::<usize>(),
    )?;
    for &class in &table.classes {
        let title = section_title(class);
        writeln!(out, "- [{title}](#{}): {}", anchor(title), items(table, class).len())?;
    }
    for (title, _) in CLOSING_SECTIONS {
        writeln!(out, "- [{title}](#{})", anchor(title))?;
    }
    writeln!(out, "\n## Sources\n")?;
    table_head(out, &["Id", "Source", "What was taken from it"])?;
    for source in &table.sources {
        row(out, &[&source.id, &source.name, &source.covers])?;
    }
    Ok(())
}

fn section_title(class: Class) -> &'static str {
    match class {
        Class::IrsConfig => "IRS configuration frame",
        Class::IrsSetlpi => "IRS SETLPI frame",
        Class::ItsConfig => "ITS configuration frame",
        Class::ItsTranslate => "ITS translate frame",
        Class::Iwb => "IWB frame",
        Class::GicPmu => "Performance monitor registers",
        Class::CpuifSysreg => "System registers of the CPU interface",
        Class::GicInstruction => "Instructions",
        Class::MemoryEntry => "Table entries in memory",
    }
}

/// The table of a class that a reader scans to find a register.
fn overview(out: &mut String, class: Class, items: &[&Register]) -> fmt::Result {
    let place = match class {
        Class::CpuifSysreg | Class::GicInstruction => "Encoding",
        Class::MemoryEntry => "Bytes",
        _ => "Offset",
    };
    table_head(out, &[place, "Name", "Width", "Access", "Purpose"])?;
    for register in items {
        let title = title(register);
        let place = match (register.location, register.entry_bytes) {
            (Location::Offset(offset), _) => format!("{offset:#06x}"),
            (Location::Encoding(encoding), _) => encoding.to_string(),
            (Location::Table, Some(bytes)) => bytes.to_string(),
            (Location::Table, None) => "private".to_owned(),
            (Location::Unknown, _) => "unknown".to_owned(),
        };
        row(
            out,
            &[
                &place,
                &format!("[{title}](#{})", anchor(&title)),
                &register.width.map_or_else(|| "–".to_owned(), |width| width.to_string()),
                &access(register),
                &register.purpose,
            ],
        )?;
    }
    Ok(())
}

/// Everything known about one item.
fn detail(out: &mut String, register: &Register) -> fmt::Result {
    writeln!(out, "\n### {}\n\n{}\n", title(register), text(&register.purpose))?;
    let mut facts = vec![place(register)];
    if let Some(indices) = register.indices {
        facts.push(match indices.stride {
            Some(stride) => {
                format!("indices {} to {}, {stride} bytes apart", indices.first, indices.last)
            }
            None => format!("indices {} to {}", indices.first, indices.last),
        });
    }
    if let Some(width) = register.width {
        facts.push(format!("{width} bits"));
    }
    if let Some(instruction) = &register.instruction {
        let form = match instruction.form {
            Form::Sys => "`SYS`",
            Form::Sysl => "`SYSL`",
        };
        let operand = match instruction.operand {
            Operand::Xt => "reads `Xt`",
            Operand::Result => "writes its result to `Xt`",
            Operand::None => "uses no register",
        };
        let (name, number) = match instruction.operand {
            Operand::None => ("xzr", 31),
            Operand::Xt | Operand::Result => ("x0", 0),
        };
        facts.push(format!("{form}, {operand}, from {}", instruction.min_el.name()));
        facts.push(format!("word `{:#010x}` with `{name}`", instruction.word(number)));
    } else {
        facts.push(format!("access {}", access(register)));
    }
    if let Some(size) = &register.size {
        facts.push(format!("size {}", text(size)));
    }
    if let Some(name) = &register.accessed_via {
        facts.push(format!("reached through the name {}", text(name)));
    }
    if let Some(offset) = register.vncr_offset {
        facts.push(format!("at {offset:#x} in the `VNCR_EL2` page"));
    }
    if let Some(reset) = &register.reset {
        facts.push(format!("reset {}", text(reset)));
    }
    if let Some(Status::Removed) = register.status {
        facts.push("**removed from the architecture**".to_owned());
    }
    facts.push(format!("sources agreeing: {}", register.confirmed));
    facts.push(format!("place from {}", sources(&register.location_sources)));
    if !register.field_sources.is_empty() {
        facts.push(format!("fields from {}", sources(&register.field_sources)));
    }
    if register.fields_inferred {
        facts.push("fields inferred from a sibling".to_owned());
    }
    if register.opaque {
        facts.push("contents private to the IRS".to_owned());
    }
    writeln!(out, "{}.", facts.join("; "))?;
    if let Some(note) = &register.note {
        writeln!(out, "\n{}", sentence(note))?;
    }
    if register.fields.is_empty() {
        return Ok(());
    }
    out.push('\n');
    let several_words = register.width.is_some_and(|width| width > 64);
    if several_words {
        table_head(out, &["Bits", "Word, bits", "Field", "Meaning"])?;
    } else {
        table_head(out, &["Bits", "Field", "Meaning"])?;
    }
    for field in &register.fields {
        let bits = bits(field.msb, field.lsb);
        let meaning = meaning(field);
        if several_words {
            let in_word = if field.msb / 64 == field.lsb / 64 {
                format!("{}, {}", field.lsb / 64, self::bits(field.msb % 64, field.lsb % 64))
            } else {
                "several".to_owned()
            };
            row(out, &[&bits, &in_word, &field.name, &meaning])?;
        } else {
            row(out, &[&bits, &field.name, &meaning])?;
        }
    }
    Ok(())
}

fn title(register: &Register) -> String {
    let index = if register.indices.is_some() { "\\<n>" } else { "" };
    match &register.view {
        Some(view) => format!("{}{index} ({view})", register.name),
        None => format!("{}{index}", register.name),
    }
}

fn place(register: &Register) -> String {
    match register.location {
        Location::Offset(offset) => format!("Offset `{offset:#06x}`"),
        Location::Encoding(encoding) => format!("Encoding `{encoding}`"),
        Location::Table => match register.entry_bytes {
            Some(bytes) => format!("Table entry of {bytes} bytes"),
            None => "Memory handed to the IRS".to_owned(),
        },
        Location::Unknown => match register.class {
            Class::CpuifSysreg | Class::GicInstruction => "Encoding unknown".to_owned(),
            _ => "Offset unknown".to_owned(),
        },
    }
}

fn access(register: &Register) -> String {
    let inferred = if register.access_confirmed { "" } else { "?" };
    match (register.access, &register.instruction) {
        (Some(access), _) => {
            format!("{}{inferred}", access.name())
        }
        (None, Some(instruction)) => format!("from {}", instruction.min_el.name()),
        (None, None) => "–".to_owned(),
    }
}

fn bits(msb: u16, lsb: u16) -> String {
    if msb == lsb { msb.to_string() } else { format!("{msb}:{lsb}") }
}

fn meaning(field: &Field) -> String {
    let mut parts = Vec::new();
    if let Some(width) = field.element_width {
        let bits = if width == 1 { "bit" } else { "bits" };
        parts.push(format!("{} elements of {width} {bits}", field.width() / width));
    }
    if !field.values.is_empty() {
        let values: Vec<_> = field.values.iter().map(|named| format!("{} = {}", named.value, named.meaning)).collect();
        parts.push(values.join(", "));
    }
    parts.extend(field.note.clone());
    parts.join("; ")
}

fn ppis(out: &mut String, table: &RegisterTable) -> fmt::Result {
    table_head(out, &["PPI", "Name", "Raised by"])?;
    for ppi in &table.ppis {
        row(out, &[&ppi.id.to_string(), &ppi.name, &ppi.r#use])?;
    }
    Ok(())
}

fn limits(out: &mut String, table: &RegisterTable) -> fmt::Result {
    table_head(out, &["Field or size", "Least", "Most", "Coding", "Agreeing", "From", "Remark"])?;
    for limit in &table.limits {
        let Limit { field, min, max, coding, sources: ids, confirmed, note, .. } = limit;
        let least = min.map_or_else(|| "–".to_owned(), |min| min.to_string());
        let (max, confirmed) = (max.to_string(), confirmed.to_string());
        row(out, &[field, &least, &max, coding, &confirmed, &sources(ids), note])?;
    }
    Ok(())
}

fn alignments(out: &mut String, table: &RegisterTable) -> fmt::Result {
    table_head(out, &["Address", "Alignment", "Size", "Agreeing", "From"])?;
    for alignment in &table.alignments {
        let confirmed = alignment.confirmed.to_string();
        let from = sources(&alignment.sources);
        row(out, &[&alignment.address, &alignment.rule, &alignment.size, &confirmed, &from])?;
    }
    Ok(())
}

fn status_pairs(out: &mut String, table: &RegisterTable) -> fmt::Result {
    writeln!(out, "A write takes effect some time later; the register on the right says when.\n")?;
    table_head(out, &["Written", "Polled until IDLE"])?;
    for pair in &table.status_pairs {
        row(out, &[&pair.writes.join(", "), &pair.poll])?;
    }
    Ok(())
}

fn disagreements(out: &mut String, table: &RegisterTable) -> fmt::Result {
    writeln!(out, "Where sources contradict each other, what the project uses and why.\n")?;
    table_head(out, &["About", "Who says what", "Used here", "Reason"])?;
    for entry in &table.disagreements {
        row(out, &[&entry.topic, &entry.claims, &entry.decision, &entry.reason])?;
    }
    Ok(())
}

fn gaps(out: &mut String, table: &RegisterTable) -> fmt::Result {
    writeln!(out, "What no source tells.\n")?;
    for gap in &table.gaps {
        writeln!(out, "- {}", text(gap))?;
    }
    Ok(())
}

fn sources(ids: &[String]) -> String {
    if ids.is_empty() { "–".to_owned() } else { ids.join(" ") }
}

fn table_head(out: &mut String, cells: &[&str]) -> fmt::Result {
    writeln!(out, "| {} |\n|{}", cells.join(" | "), "---|".repeat(cells.len()))
}

fn row(out: &mut String, cells: &[&str]) -> fmt::Result {
    out.push('|');
    for cell in cells {
        write!(out, " {} |", text(cell).replace('|', "\\|"))?;
    }
    out.push('\n');
    Ok(())
}

/// Text with `<` made harmless: names such as `ICC_PPI_ENABLER<n>_EL1` are not HTML.
fn text(raw: &str) -> String {
    raw.replace("\\<", "<").replace('<', "\\<")
}

/// A note as a sentence of its own.
fn sentence(note: &str) -> String {
    let note = text(note);
    let mut chars = note.chars();
    let Some(first) = chars.next() else {
        return note;
    };
    let end = if note.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), chars.as_str())
}

/// The name a heading gets as a link target: what the common renderers make of it.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn the_page() -> String {
        page(gicv5_facts::registers().unwrap()).unwrap()
    }

    #[test]
    fn every_register_and_every_field_is_on_the_page() {
        let page = the_page();
        for register in &gicv5_facts::registers().unwrap().registers {
            let heading = format!("\n### {}\n", title(register));
            let (_, after) = page.split_once(&heading).expect(&heading);
            let section = after.split("\n### ").next().unwrap().split("\n## ").next().unwrap();
            assert!(section.contains(&text(&register.purpose)), "{heading}");
            for field in &register.fields {
                let row = format!("| {} |", bits(field.msb, field.lsb));
                let has_field = section
                    .lines()
                    .any(|line| line.starts_with(&row) && line.contains(&format!(" {} |", text(&field.name))));
                assert!(has_field, "{heading}{}", field.name);
            }
        }
    }

    #[test]
    fn everything_that_is_not_a_register_is_on_the_page() {
        let (page, table) = (the_page(), gicv5_facts::registers().unwrap());
        let cell = |words: &str| page.contains(&text(words).replace('|', "\\|"));
        assert!(table.sources.iter().all(|source| cell(&source.covers)));
        assert!(table.ppis.iter().all(|ppi| cell(&ppi.r#use)));
        assert!(table.limits.iter().all(|limit| cell(&limit.note)));
        assert!(table.alignments.iter().all(|alignment| cell(&alignment.rule)));
        assert!(table.status_pairs.iter().all(|pair| cell(&pair.writes.join(", "))));
        assert!(table.disagreements.iter().all(|entry| cell(&entry.reason)));
        assert!(table.gaps.iter().all(|gap| cell(gap)));
    }

    #[test]
    fn every_link_on_the_page_leads_to_one_heading() {
        let page = the_page();
        let mut headings = HashSet::new();
        for heading in page.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')) {
            assert!(headings.insert(anchor(heading)), "{heading} stands twice");
        }
        for link in page.split("](#").skip(1) {
            let target = link.split(')').next().unwrap();
            assert!(headings.contains(target), "no heading for #{target}");
        }
    }
}
