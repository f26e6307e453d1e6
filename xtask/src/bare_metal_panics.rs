//! The panics that are linked into an image of both drivers, and how large the image is.
//!
//! The image (`platform/bare-metal/src/drivers.rs`) calls what the drivers have and throws errors away. A panic that is linked
//! into it is one that the compiler could not rule out: reachable, or out of the compiler's sight. `panics.toml` beside the image
//! lists those that may be linked, each with its caller and the reason why it cannot be reached. A panic that is not listed is a
//! finding, and so is an entry that does not occur any more.
//!
//! # What counts as a panic
//!
//! The image's panic handler, and every function that calls it, or another such function, and never returns: no
//! return instruction, no jump to anything else. That takes in `core::panicking`, the failures of slices, options and cells, the
//! allocation errors, and helpers that only panic, by their code and not by their names. The image is searched for direct calls and
//! jumps to these functions, and for their addresses.
//!
//! # What counts as one
//!
//! A panic and its caller. One exception: the compiler puts a panic into the state machine of every `async fn`, for one that is
//! polled after its end. What keeps all of them from being reached is one thing (`gicv5_irs::drive`), so that they are one entry,
//! whose caller is `async fn`; the number of their callers is printed.
//!
//! # Names
//!
//! The drivers do not need the descriptions of registers, by name and field by field, which a tool prints. A register's name in the
//! image that is not the beginning of an error's words, `IRS_IDR2.ID_BITS` say, shows that a description is linked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use serde::Deserialize;

use crate::exceptions::Exceptions;

/// The list.
const LIST: &str = "platform/bare-metal/panics.toml";

/// How many entries the list may have.
const MOST: usize = 10;

/// The function in which every panic ends, and from which the image's handler of panics is called.
const HANDLER: &str = "rust_begin_unwind";

/// The compiler's panic in a state machine that is polled after its end. Nothing else calls it.
const RESUMED: &str = "core::panicking::panic_const::panic_const_async_fn_resumed";

/// The caller of [`RESUMED`], whichever state machine it is.
const ASYNC_FN: &str = "async fn";

/// What stands for a caller where the address of a panic is in memory.
const IN_MEMORY: &str = "an address in memory";

/// A panic that may be linked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Linked {
    symbol: String,
    caller: String,
    reason: String,
}

/// A panic and its caller, with the number of functions that the caller stands for.
type Found = BTreeMap<(String, String), usize>;

/// Reads an image, prints what is in it, and holds it against the list.
pub(crate) fn check(root: &Path, elf: &Path) -> Result<()> {
    let bytes = std::fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let image = Image::read(&bytes)?;
    let text = std::fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let list = Exceptions::<Linked>::parse(LIST, &text)?.exception;
    let found = image.panics()?;
    for (section, size) in &image.sizes {
        println!("{section:8} {size:8} bytes");
    }
    for ((symbol, caller), functions) in &found {
        let entry = list.iter().find(|entry| entry.symbol == *symbol && entry.caller == *caller);
        let reason = entry.map_or("NOT LISTED", |entry| entry.reason.as_str());
        let functions = if *functions > 1 { format!(" ({functions} functions)") } else { String::new() };
        println!("{symbol}\n    called by {caller}{functions}\n    {reason}");
    }
    let mut findings = compare(&found, &list);
    let registers = gicv5_facts::registers()?.registers.iter().filter(|register| register.name.starts_with('I'));
    let named: BTreeSet<&str> = registers.map(|register| &*register.name).filter(|name| image.names(name)).collect();
    if !named.is_empty() {
        let named: Vec<&str> = named.into_iter().collect();
        findings.push(format!(
            "the image holds names of registers, which only their descriptions do: {}",
            named.join(", ")
        ));
    }
    if !findings.is_empty() {
        bail!("{}", findings.join("\n"));
    }
    println!("bare metal: both drivers link {} panics, {MOST} at most, each with a reason in {LIST}", found.len());
    Ok(())
}

/// What is wrong with an image or with the list.
fn compare(found: &Found, list: &[Linked]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut listed = BTreeSet::new();
    for Linked { symbol, caller, reason } in list {
        if !found.contains_key(&(symbol.clone(), caller.clone())) {
            findings.push(format!("{LIST}: {caller} does not call {symbol} any more"));
        }
        if !listed.insert((symbol, caller)) {
            findings.push(format!("{LIST}: {symbol}, called by {caller}, is listed twice"));
        }
        if reason.trim().is_empty() {
            findings.push(format!("{LIST}: {symbol}, called by {caller}, has no reason"));
        }
    }
    for (symbol, caller) in found.keys() {
        if !listed.contains(&(symbol, caller)) {
            findings.push(format!("{symbol}, called by {caller}, is linked and not listed in {LIST}"));
        }
    }
    if found.len() > MOST {
        findings.push(format!("{} panics are linked, and not {MOST} at most", found.len()));
    }
    findings
}

/// A function, and where it leads.
#[derive(Debug, Default)]
struct Function {
    /// Its name with the types that it is made for.
    name: String,
    /// The functions it calls or whose address it takes, by their addresses.
    calls: BTreeSet<u64>,
    /// The functions it ends in.
    jumps: BTreeSet<u64>,
    /// Whether it may return, or goes where its code does not say.
    returns: bool,
}

/// An image, as far as panics need it.
struct Image {
    /// By address.
    functions: BTreeMap<u64, Function>,
    /// The sections that are loaded, and their sizes in bytes.
    sizes: Vec<(String, u64)>,
    /// What could be an address in memory.
    words: BTreeSet<u64>,
    /// What is in memory when the image starts.
    memory: Vec<u8>,
}

impl Image {
    fn read(elf: &[u8]) -> Result<Image> {
        let file = object::File::parse(elf)?;
        let mut image =
            Image { functions: BTreeMap::new(), sizes: Vec::new(), words: BTreeSet::new(), memory: Vec::new() };
        for name in [".text", ".rodata", ".data", ".bss"] {
            let section = file.section_by_name(name).with_context(|| format!("the image has no {name}"))?;
            image.sizes.push((name.into(), section.size()));
            let is_memory = matches!(section.kind(), SectionKind::Data | SectionKind::ReadOnlyData);
            let bytes = if is_memory { section.data()? } else { &[] };
            image.memory.extend(bytes);
            image.words.extend(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
        }
        let text = file.section_by_name(".text").context("the image has no .text")?;
        for symbol in file.symbols() {
            if symbol.kind() != SymbolKind::Text || symbol.section_index() != Some(text.index()) || symbol.size() == 0 {
                continue;
            }
            let code = text.data_range(symbol.address(), symbol.size())?.context("a function outside of .text")?;
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name()?));
            image.functions.entry(symbol.address()).or_insert_with(|| decode(name, symbol.address(), code));
        }
        ensure!(!image.functions.is_empty(), "the image has no symbols");
        Ok(image)
    }

    /// The functions that do nothing but panic.
    fn only_panic(&self) -> Result<BTreeSet<u64>> {
        let handler = self.functions.iter().filter(|(_, function)| function.name.ends_with(HANDLER));
        let mut panics: BTreeSet<u64> = handler.map(|(address, _)| *address).collect();
        ensure!(panics.len() == 1, "the image has {} functions named {HANDLER}, and not one", panics.len());
        loop {
            let more = self.functions.iter().filter(|(address, function)| {
                let leads = function.calls.iter().chain(&function.jumps).any(|to| panics.contains(to));
                let ends = !function.returns && function.jumps.is_subset(&panics);
                leads && ends && !panics.contains(address)
            });
            let more: Vec<u64> = more.map(|(address, _)| *address).collect();
            if more.is_empty() {
                return Ok(panics);
            }
            panics.extend(more);
        }
    }

    /// Every panic that something else leads to.
    fn panics(&self) -> Result<Found> {
        let panics = self.only_panic()?;
        let mut found = Found::new();
        for (address, function) in &self.functions {
            if panics.contains(address) {
                continue;
            }
            for symbol in function.calls.union(&function.jumps).filter(|to| panics.contains(to)) {
                let symbol = self.name(*symbol);
                let is_async = symbol == RESUMED && function.name.contains("{closure#");
                let caller = if is_async { ASYNC_FN.into() } else { without_types(&function.name) };
                *found.entry((symbol, caller)).or_default() += 1;
            }
        }
        for address in self.words.intersection(&panics) {
            *found.entry((self.name(*address), IN_MEMORY.into())).or_default() += 1;
        }
        Ok(found)
    }

    /// Whether a register's name is in memory, other than before the name of a field. What follows it may be anything: strings
    /// lie side by side.
    fn names(&self, name: &str) -> bool {
        let mut windows = self.memory.windows(name.len() + 1);
        windows.any(
            |window| matches!(window.split_last(), Some((last, start)) if start == name.as_bytes() && *last != b'.'),
        )
    }

    fn name(&self, address: u64) -> String {
        self.functions.get(&address).map_or_else(String::new, |function| without_types(&function.name))
    }
}

/// Reads the code of a function. Of A64 it takes to know the branches that leave a function and how addresses are made.
fn decode(name: String, start: u64, code: &[u8]) -> Function {
    let mut function = Function { name, ..Function::default() };
    let own = start..start + code.len() as u64;
    let mut pages: BTreeMap<u32, u64> = BTreeMap::new();
    for (n, word) in code.as_chunks::<4>().0.iter().enumerate() {
        let (at, word) = (start + 4 * n as u64, u32::from_le_bytes(*word));
        let branch = at.wrapping_add_signed(i64::from((word << 6) as i32 >> 6) * 4);
        // The immediate of ADR and ADRP: 19 bits, and two below.
        let immediate = i64::from((word << 8) as i32 >> 13) << 2 | i64::from(word >> 29 & 3);
        let (register, source) = (word & 31, word >> 5 & 31);
        match word {
            // BL.
            _ if word >> 26 == 0b10_0101 => _ = function.calls.insert(branch),
            // B.
            _ if word >> 26 == 0b00_0101 && !own.contains(&branch) => _ = function.jumps.insert(branch),
            // RET with all its kinds, and BR, which may be a jump to a function.
            _ if word & 0xffff_f000 == 0xd65f_0000 || word & 0xffff_fc1f == 0xd61f_0000 => function.returns = true,
            // ADRP, and ADD to what it makes.
            _ if word & 0x9f00_0000 == 0x9000_0000 => {
                pages.insert(register, (at & !0xfff).wrapping_add_signed(immediate << 12));
            }
            _ if word & 0xffc0_0000 == 0x9100_0000 => {
                if let Some(page) = pages.get(&source) {
                    function.calls.insert(page + u64::from(word >> 10 & 0xfff));
                }
            }
            // ADR.
            _ if word & 0x9f00_0000 == 0x1000_0000 => _ = function.calls.insert(at.wrapping_add_signed(immediate)),
            _ => {}
        }
    }
    function
}

/// A name without the types that a generic function is made for: they are the image's.
fn without_types(name: &str) -> String {
    let mut short = String::new();
    let mut depth = 0_u32;
    let mut before = ' ';
    for character in name.chars() {
        // At the start of a path, `<` holds a type whose name matters.
        let opens = character == '<' && (before.is_alphanumeric() || matches!(before, '_' | ':'));
        match character {
            '<' if opens || depth > 0 => {
                depth += 1;
                if depth == 1 && short.ends_with("::") {
                    short.truncate(short.len() - 2);
                }
            }
            '>' if depth > 0 && before != '-' => depth -= 1,
            _ if depth == 0 => short.push(character),
            _ => {}
        }
        before = character;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const RET: u32 = 0xd65f_03c0;

    fn bl(words: i32) -> u32 {
        0x9400_0000 | words as u32 & 0x3ff_ffff
    }

    fn b(words: i32) -> u32 {
        0x1400_0000 | words as u32 & 0x3ff_ffff
    }

    /// An image of functions of two instructions each, one behind the other from 0 on.
    fn image(functions: &[(&str, [u32; 2])]) -> Image {
        let functions = functions.iter().enumerate().map(|(n, (name, words))| {
            let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            (8 * n as u64, decode((*name).into(), 8 * n as u64, &code))
        });
        Image { functions: functions.collect(), sizes: Vec::new(), words: BTreeSet::new(), memory: Vec::new() }
    }

    fn found(image: &Image) -> Vec<(String, String, usize)> {
        image.panics().unwrap().into_iter().map(|((symbol, caller), n)| (symbol, caller, n)).collect()
    }

    #[test]
    fn a_function_that_only_panics_is_a_panic_and_one_that_may_return_is_its_caller() {
        // The third jumps to the second, and the fourth calls the third.
        let image = image(&[
            ("rust_begin_unwind", [b(0); 2]),
            ("fmt", [bl(-2), RET - RET]),
            ("bounds", [0, b(-3)]),
            ("driver", [bl(-2), RET]),
        ]);
        assert_eq!(found(&image), [("bounds".into(), "driver".into(), 1)]);
    }

    #[test]
    fn an_address_of_a_panic_is_found_in_code_and_in_memory() {
        // ADR x0, -8 in the second.
        let mut image = image(&[("rust_begin_unwind", [b(0); 2]), ("driver", [0x10ff_ffc0, RET])]);
        image.words.insert(0);
        let expected = [IN_MEMORY, "driver"].map(|caller| ("rust_begin_unwind".into(), caller.into(), 1));
        assert_eq!(found(&image), expected);
    }

    #[test]
    fn state_machines_are_one_caller_and_what_is_none_is_not() {
        let machine = |n| format!("<driver::Phys<board::Board>>::bring_up::{{closure#{n}}}");
        let (first, second) = (machine(0), machine(1));
        let image = image(&[
            ("rust_begin_unwind", [b(0); 2]),
            (RESUMED, [0, b(-3)]),
            (&first, [bl(-2), RET]),
            (&second, [bl(-4), RET]),
            ("driver::poll", [bl(-6), RET]),
        ]);
        let expected = [(ASYNC_FN, 2), ("driver::poll", 1)].map(|(caller, n)| (RESUMED.into(), caller.into(), n));
        assert_eq!(found(&image), expected);
    }

    /// What a host asks an error; the image throws errors away.
    const OF_ERRORS: [&str; 2] = ["fault", "fate"];

    fn public_functions(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                public_functions(&path, names);
                continue;
            }
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let line = line.trim_start();
                let rest = ["pub fn ", "pub const fn "].iter().find_map(|start| line.strip_prefix(start));
                let name = rest.and_then(|rest| rest.split(['(', '<']).next());
                names.extend(name.map(String::from));
            }
        }
    }

    #[test]
    fn the_image_calls_every_public_function_of_both_drivers() {
        let root = crate::workspace::root().unwrap();
        let image = std::fs::read_to_string(root.join("platform/bare-metal/src/drivers.rs")).unwrap();
        let mut names = BTreeSet::new();
        for driver in ["gicv5-hyp", "gicv5-phys"] {
            public_functions(&root.join("crates").join(driver).join("src"), &mut names);
        }
        assert!(names.contains("bring_up_pe") && names.contains("start_init"));
        let calls = |name: &str| [".", ":", "("].iter().any(|before| image.contains(&format!("{before}{name}(")));
        let missing: Vec<_> = names.iter().filter(|name| !calls(name) && !OF_ERRORS.contains(&&***name)).collect();
        assert!(missing.is_empty(), "platform/bare-metal/src/drivers.rs does not call {missing:?}");
    }

    #[test]
    fn the_name_of_a_register_is_found_unless_it_begins_the_words_of_an_error() {
        let mut image = image(&[]);
        image.memory = b"ISTSZIRS_IDR2.ID_BITSIRS_CR0IRS_CR1\0".to_vec();
        assert_eq!(
            ["IRS_IDR2", "IRS_CR0", "IRS_CR1", "IRS_CR2"].map(|name| image.names(name)),
            [false, true, true, false]
        );
    }

    #[test]
    fn names_lose_the_types_that_functions_are_made_for() {
        for (name, expected) in [
            ("core::panicking::panic", "core::panicking::panic"),
            ("irs::drive::block_on::<board::Counter, fn() -> u32>", "irs::drive::block_on"),
            ("<irs::Turn<8>>::take::<board::Counter>::{closure#0}", "<irs::Turn>::take::{closure#0}"),
            ("<heap::Heap<20> as core::GlobalAlloc>::alloc", "<heap::Heap as core::GlobalAlloc>::alloc"),
        ] {
            assert_eq!(without_types(name), expected);
        }
    }

    #[test]
    fn what_is_not_listed_what_is_gone_and_too_many_are_findings() {
        let entry = |symbol: &str| Linked { symbol: symbol.into(), caller: "f".into(), reason: "why".into() };
        let found =
            |symbols: &[&str]| symbols.iter().map(|symbol| (((*symbol).into(), "f".into()), 1)).collect::<Found>();
        assert!(compare(&found(&["a"]), &[entry("a")]).is_empty());
        assert!(matches!(&*compare(&found(&["a", "b"]), &[entry("a")]), [finding] if finding.contains("not listed")));
        assert!(
            matches!(&*compare(&found(&["a"]), &[entry("a"), entry("b")]), [finding] if finding.contains("any more"))
        );
        let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
        let list: Vec<Linked> = eleven.iter().map(|symbol| entry(symbol)).collect();
        assert!(matches!(&*compare(&found(&eleven), &list), [finding] if finding.contains("at most")));
    }
}
