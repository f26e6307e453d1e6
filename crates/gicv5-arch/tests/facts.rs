//! The types against `facts/registers.toml`, in both directions.
//!
//! Every entry of the facts must have a type, or stand in [`OUT_OF_SCOPE`] with a reason; every type must have an entry.
//! Where they meet, names, places, widths, access, fields and values must be equal, and the typed accessors must read and
//! write exactly the bits that the facts give: positions are never taken from the types' own description when the
//! accessors are exercised. A test collects what does not fit and prints it all at once, each line naming the register and
//! the field, what the facts say and what the types say.
//!
//! The types hold no offset in the page of VNCR_EL2, no reset value, no limit and no remark: nothing checks those here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use gicv5_arch::insn::{Form, GicInsn, MinEl};
use gicv5_arch::irs::{self, IrsReg, SetLpiReg};
use gicv5_arch::layout::{FieldInfo, fields_mask};
use gicv5_arch::register::{Access, Register as _, RegisterInfo};
use gicv5_arch::sysreg::{self, Reached, SysReg, SysRegEncoding};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IrsIntType, Ppi, PpiBank, PpiHandling, entry};
use gicv5_facts::{Class, ExceptionLevel, Location, Operand, Register, RegisterTable, StatusPair};

/// Classes of the facts of which no entry has a type here, and why.
const CLASSES_OUT_OF_SCOPE: &[(Class, &str)] = &[
    (Class::ItsConfig, "the project has no ITS: interrupts are virtualised without it"),
    (Class::ItsTranslate, "the project has no ITS"),
    (Class::Iwb, "the project has no wire bridge: it feeds an ITS"),
    (Class::GicPmu, "the offsets of the performance monitor are in no public source"),
];

/// Entries of other classes that have no type here, and why: class, reason, names.
const OUT_OF_SCOPE: &[(Class, &str, &[&str])] = &[
    (Class::MemoryEntry, "the tables of an ITS", &["L1_DTE", "L2_DTE", "L1_ITTE", "L2_ITTE"]),
    (Class::MemoryEntry, "opaque: the IRS's own memory, without a layout (VM-11, VPE-8)", &["VPED", "VMD"]),
];

/// Whether an entry of the facts has no type here, for a reason.
fn is_out_of_scope(fact: &Register) -> bool {
    CLASSES_OUT_OF_SCOPE.iter().any(|(class, _)| *class == fact.class)
        || OUT_OF_SCOPE.iter().any(|(_, _, names)| names.contains(&fact.name.as_str()))
}

/// The facts tell views of one name apart; the types give the plain name to this view.
const PLAIN_VIEWS: &[(&str, &str)] = &[("IRS_MPAM_IDR", "mpam1"), ("ICH_VMCR_EL2", "gcie")];

/// Registers with fields whose type enumerates values that the facts give in prose only: the values, where the prose is.
const VALUES_IN_PROSE: &[(&str, Values, &str)] = &[
    ("ICH_HFGRTR_EL2", TRAP, "purpose: 0 traps, 1 does not"),
    ("ICH_HFGWTR_EL2", TRAP, "purpose: 0 traps, 1 does not"),
    ("ICH_HFGITR_EL2", TRAP, "purpose: 0 traps, 1 does not"),
];

type Values = &'static [(u64, &'static str)];

const TRAP: Values = &[(0, "traps to EL2"), (1, "does not trap")];

/// Fields whose type is a number although the facts name a value, and why.
const NUMBERS_WITH_NAMES: &[(&str, &str, &str)] = &[
    ("IRS_DEVARCH", "ARCHITECT", "a JEP106 code: the facts name one designer of many"),
    ("IRS_DEVARCH", "ARCHID", "the facts name the value of one model, not of the architecture"),
];

/// What the facts call a value that software must not use.
const RESERVED: &str = "reserved";

// A test without its facts has nothing to say.
#[allow(clippy::unwrap_used)]
fn facts() -> &'static RegisterTable {
    gicv5_facts::registers().unwrap()
}

/// What did not fit so far; at the end that is nothing.
#[derive(Default)]
struct Report(Vec<String>);

impl Report {
    fn say(&mut self, line: String) {
        self.0.push(line);
    }

    fn same<T: PartialEq + Debug>(&mut self, place: &str, what: &str, facts: T, types: T) {
        if facts != types {
            self.say(format!("{place}: {what}: the facts say {facts:?}, the types say {types:?}"));
        }
    }

    fn must(&mut self, holds: bool, line: impl FnOnce() -> String) {
        if !holds {
            self.say(line());
        }
    }

    /// Keeps the first two of the lines added since there were `before`: what else a misplaced field does is no news.
    fn shorten(&mut self, before: usize) {
        let more = self.0.len().saturating_sub(before + 2);
        if more > 0 {
            self.0.truncate(before + 2);
            if let Some(last) = self.0.last_mut() {
                *last += &format!(" (and {more} more of this field)");
            }
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let said = &self.0;
        assert!(said.is_empty() || std::thread::panicking(), "{} mismatches:\n{}", said.len(), said.join("\n"));
    }
}

/// A register, an operand or an entry as the types describe it.
struct Declared {
    class: Class,
    name: &'static str,
    view: Option<&'static str>,
    width: u16,
    /// Words of 64 bits, lowest first, with what the facts put in front of the field names.
    words: Vec<(&'static str, &'static [FieldInfo])>,
}

impl Declared {
    fn new(class: Class, name: &'static str, width: u16, fields: &'static [FieldInfo]) -> Declared {
        let view = PLAIN_VIEWS.iter().find(|(plain, _)| *plain == name).map(|(_, view)| *view);
        Declared { class, name, view, width, words: vec![("", fields)] }
    }

    fn place(&self) -> String {
        match self.view {
            Some(view) => format!("{} ({view})", self.name),
            None => self.name.to_owned(),
        }
    }

    /// The fields as the facts would list them, highest first: name, bit offset of the word, the field.
    fn fields(&self) -> impl Iterator<Item = (String, u16, &'static FieldInfo)> {
        let words = self.words.iter().enumerate().rev();
        words.flat_map(|(index, (prefix, fields))| {
            fields.iter().map(move |field| (format!("{prefix}{}", field.name), index as u16 * 64, field))
        })
    }

    /// Width of one word in bits.
    fn word_width(&self) -> u16 {
        self.width.min(64)
    }
}

/// Everything the crate declares.
fn declared() -> Vec<Declared> {
    let frame = |class, info: &'static RegisterInfo| Declared::new(class, info.name, info.width.into(), info.fields);
    let mut all = Vec::new();
    all.extend(IrsReg::ALL.iter().map(|register| frame(Class::IrsConfig, register.info())));
    all.extend(irs::OTHER_LAYOUTS.iter().map(|(name, view, fields)| Declared {
        view: Some(*view).filter(|view| !view.is_empty()),
        ..Declared::new(Class::IrsConfig, name, 32, fields)
    }));
    all.extend(SetLpiReg::ALL.iter().map(|register| frame(Class::IrsSetlpi, register.info())));
    all.extend(
        SysReg::ALL
            .iter()
            .map(|register| Declared::new(Class::CpuifSysreg, register.name(), 64, register.info().fields)),
    );
    all.extend(
        GicInsn::ALL.iter().map(|insn| Declared::new(Class::GicInstruction, insn.name(), 64, insn.info().fields)),
    );
    let bytes: BTreeMap<_, _> = entry_types().into_iter().map(|entry| (entry.name, entry.bytes)).collect();
    all.extend(entry::LAYOUTS.iter().map(|(name, fields)| {
        let bits = bytes.get(name).map_or(0, |bytes| bytes * 8);
        Declared::new(Class::MemoryEntry, name, bits as u16, fields)
    }));
    all.push(Declared {
        words: entry::L2_VMTE::WORDS.to_vec(),
        ..Declared::new(Class::MemoryEntry, "L2_VMTE", (entry::L2_VMTE::BYTES * 8) as u16, &[])
    });
    all
}

/// Every declaration together with its entry in the facts; those without are for another test to report.
fn pairs() -> Vec<(Declared, &'static Register)> {
    declared()
        .into_iter()
        .filter_map(|declared| {
            let fact = facts().named(declared.name).find(|fact| fact.view.as_deref() == declared.view)?;
            Some((declared, fact))
        })
        .collect()
}

fn access(fact: gicv5_facts::Access) -> Option<Access> {
    match fact {
        gicv5_facts::Access::ReadOnly => Some(Access::RO),
        gicv5_facts::Access::ReadWrite => Some(Access::RW),
        gicv5_facts::Access::WriteOnly => Some(Access::WO),
        gicv5_facts::Access::Memory => None,
    }
}

fn mask(msb: u16, lsb: u16) -> u64 {
    (u64::MAX >> (63 - (msb - lsb))) << lsb
}

#[test]
fn every_entry_of_the_facts_has_a_type_or_a_reason_to_have_none() {
    let mut report = Report::default();
    let mut types: BTreeMap<(&str, Option<&str>), Class> = BTreeMap::new();
    for declared in declared() {
        let twice = types.insert((declared.name, declared.view), declared.class).is_some();
        report.must(!twice, || format!("{}: two types declare it", declared.place()));
    }
    let mut out_of_scope = BTreeSet::new();
    for (class, reason) in CLASSES_OUT_OF_SCOPE {
        report.must(!reason.is_empty(), || format!("{}: out of scope without a reason", class.name()));
        report.must(types.values().all(|typed| typed != class), || {
            format!("{}: a class that is out of scope has a type", class.name())
        });
    }
    for (class, reason, names) in OUT_OF_SCOPE {
        for name in *names {
            report.must(!reason.is_empty(), || format!("{name}: out of scope without a reason"));
            let once = out_of_scope.insert(*name);
            report.must(once, || format!("{name}: listed as out of scope twice"));
            report.must(facts().named(name).any(|fact| fact.class == *class), || {
                format!("{name}: out of scope, but the facts have no such entry of class {}", class.name())
            });
            report.must(!types.keys().any(|(typed, _)| typed == name), || {
                format!("{name}: listed as out of scope, but there is a type")
            });
        }
    }

    let [mut checked, mut left_out] = [0, 0];
    for fact in &facts().registers {
        let place = (fact.name.as_str(), fact.view.as_deref());
        match (types.remove(&place), is_out_of_scope(fact)) {
            (Some(class), _) => {
                checked += 1;
                report.same(&fact.name, "class", fact.class, class);
            }
            (None, true) => left_out += 1,
            (None, false) => report.say(format!("{place:?}: in the facts, without a type or a reason")),
        }
        if fact.opaque {
            report.must(is_out_of_scope(fact), || {
                format!("{}: opaque in the facts, not listed as out of scope", fact.name)
            });
        }
    }
    for ((name, view), class) in types {
        report.say(format!("{name} {view:?}: a type of class {} without an entry in the facts", class.name()));
    }
    for (name, view) in PLAIN_VIEWS {
        report.must(facts().named(name).any(|fact| fact.view.as_deref() == Some(view)), || {
            format!("{name}: the view {view} is not in the facts any more")
        });
    }
    drop(report);
    println!("{checked} of {} entries checked, {left_out} out of scope", facts().registers.len());
    assert_eq!((checked, left_out, facts().registers.len()), (216, 54, 270));
}

#[test]
fn every_field_has_the_name_and_the_bits_of_the_facts() {
    let mut report = Report::default();
    let mut checked = 0;
    for (declared, fact) in pairs() {
        let place = declared.place();
        report.same(&place, "width", fact.width, Some(declared.width));
        let mut types = BTreeMap::new();
        let mut below = declared.width;
        for (name, base, info) in declared.fields() {
            let place = format!("{place}.{name}");
            let (msb, lsb) = (base + u16::from(info.msb), base + u16::from(info.lsb));
            report.must(lsb <= msb && msb < below, || {
                format!("{place}: bits {msb}:{lsb} overlap, are out of order or outside {} bits", declared.width)
            });
            below = lsb;
            report.same(&place, "mask of its width", mask(info.msb.into(), info.lsb.into()), info.mask());
            report.must(types.insert(name, (msb, lsb, info)).is_none(), || format!("{place}: declared twice"));
        }
        for field in &fact.fields {
            let place = format!("{place}.{}", field.name);
            let Some((msb, lsb, info)) = types.remove(&field.name) else {
                report.say(format!("{place}: in the facts at {}:{}, not in the types", field.msb, field.lsb));
                continue;
            };
            checked += 1;
            report.same(&place, "bits", (field.msb, field.lsb), (msb, lsb));
            let element = field.element_width.unwrap_or(field.width());
            report.same(&place, "element width", element, info.element_width.into());
        }
        for ((_, fields), base) in declared.words.iter().zip((0..).step_by(64)) {
            let inside = fact.fields.iter().filter(|field| field.lsb >= base && field.msb < base + 64);
            let owned = inside.fold(0, |bits, field| bits | mask(field.msb - base, field.lsb - base));
            report.same(&place, &format!("bits from {base} on that any field owns"), owned, fields_mask(fields));
        }
        for (name, (msb, lsb, _)) in types {
            report.say(format!("{place}.{name}: in the types at {msb}:{lsb}, not in the facts"));
        }
    }
    drop(report);
    let all: usize = facts().registers.iter().map(|fact| fact.fields.len()).sum();
    let left_out: usize =
        facts().registers.iter().filter(|fact| is_out_of_scope(fact)).map(|fact| fact.fields.len()).sum();
    println!("{checked} of {all} fields checked, {left_out} in entries out of scope");
    assert_eq!(checked + left_out, all);
    assert!(checked > 700, "{checked} fields checked");
}

#[test]
fn every_enumerated_value_has_the_number_and_the_meaning_of_the_facts() {
    let mut report = Report::default();
    let mut prose_used = BTreeSet::new();
    let mut numbers_used = BTreeSet::new();
    for (declared, fact) in pairs() {
        for (name, _, info) in declared.fields() {
            let place = format!("{}.{name}", declared.place());
            let Some(field) = fact.fields.iter().find(|field| field.name == name) else {
                continue;
            };
            let types: Vec<_> = info.values.iter().map(|value| (value.value, value.meaning)).collect();
            let told: Vec<_> = field.values.iter().map(|value| (value.value, value.meaning.as_str())).collect();
            let legal: Vec<_> = told.iter().copied().filter(|(_, meaning)| *meaning != RESERVED).collect();
            match (types.is_empty(), told.is_empty()) {
                (true, true) => {}
                (false, false) => report.same(&place, "values", legal, types),
                (false, true) => match VALUES_IN_PROSE.iter().find(|(register, ..)| *register == declared.name) {
                    Some((register, values, _)) => {
                        prose_used.insert(*register);
                        report.same(&place, "values, in prose", values.to_vec(), types);
                    }
                    None => report.say(format!("{place}: the facts give no values, the types say {types:?}")),
                },
                (true, false) if field.width() == 1 => {
                    report.must(told.iter().all(|(value, _)| *value <= 1), || {
                        format!("{place}: the facts say {told:?}, the types have one bit")
                    });
                }
                (true, false) => match NUMBERS_WITH_NAMES.iter().find(|(r, f, _)| (*r, *f) == (declared.name, &name)) {
                    Some((register, field, _)) => {
                        numbers_used.insert((*register, *field));
                        for (value, meaning) in told {
                            report.must((info.set)(0, value).is_some(), || {
                                format!("{place}: the facts say {value:#x} is {meaning}, the types refuse it")
                            });
                        }
                    }
                    None => report.say(format!("{place}: the facts say {told:?}, the types do not enumerate")),
                },
            }
        }
    }
    for (register, _, reason) in VALUES_IN_PROSE {
        report.must(prose_used.contains(register), || {
            format!("{register}: the exception for values in prose ({reason}) is not needed any more")
        });
    }
    for (register, field, reason) in NUMBERS_WITH_NAMES {
        report.must(numbers_used.contains(&(*register, *field)), || {
            format!("{register}.{field}: the exception for a number ({reason}) is not needed any more")
        });
    }
}

/// Values to try on a field: what its type must take, what it must refuse.
fn trials(info: &FieldInfo, width: u16) -> (Vec<u64>, Vec<u64>) {
    let all = mask(width - 1, 0);
    let (mut legal, mut illegal): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
    if !info.values.is_empty() {
        legal.extend(info.values.iter().map(|value| value.value));
        illegal.extend((0..=all.min(0xffff)).filter(|value| !legal.contains(value)));
    } else if width <= 6 {
        legal.extend(0..=all);
    } else {
        legal.extend([0, all, all & 0x5555_5555_5555_5555, all & 0xaaaa_aaaa_aaaa_aaaa]);
        legal.extend((0..width).flat_map(|bit| [1 << bit, all & !(1 << bit)]));
    }
    (legal, illegal)
}

#[test]
fn typed_accessors_touch_exactly_the_bits_that_the_facts_give() {
    let mut report = Report::default();
    for (declared, fact) in pairs() {
        let whole = mask(declared.word_width() - 1, 0);
        let backgrounds = [0, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa, 0x0123_4567_89ab_cdef, u64::MAX];
        for (name, base, info) in declared.fields() {
            let place = format!("{}.{name}", declared.place());
            let Some(field) = fact.fields.iter().find(|field| field.name == name) else {
                continue;
            };
            if field.lsb < base || field.msb >= base + declared.word_width() {
                report.say(format!("{place}: the facts put it at {}:{}, in another word", field.msb, field.lsb));
                continue;
            }
            let before = report.0.len();
            let (msb, lsb) = (field.msb - base, field.lsb - base);
            let own = mask(msb, lsb);
            let bits = format!("bits {}:{}", field.msb, field.lsb);

            // One bit of the word at a time: the getter sees those of the field and no other.
            for bit in 0..64 {
                let expected = if own >> bit & 1 != 0 { 1 << (bit - lsb) } else { 0 };
                let got = (info.get)(1 << bit);
                report.must(got == expected, || {
                    format!("{place}: the facts say {bits}, the types read {got:#x} when only bit {bit} is set")
                });
            }

            let (legal, illegal) = trials(info, field.width());
            for background in backgrounds.map(|background| background & whole) {
                for &value in &legal {
                    let expected = background & !own | value << lsb;
                    let got = (info.set)(background, value);
                    report.must(got == Some(expected), || {
                        format!("{place}: the facts say {bits}, the types make {got:x?} of {background:#x} when they set {value:#x}, not {expected:#x}")
                    });
                    let back = (info.get)(expected);
                    report.must(back == value, || {
                        format!(
                            "{place}: the facts say {bits}, the types read {back:#x} from {expected:#x}, not {value:#x}"
                        )
                    });
                }
                for &value in &illegal {
                    let got = (info.set)(background, value);
                    report.must(got.is_none(), || {
                        format!("{place}: the facts do not know the value {value:#x}, the types set it")
                    });
                    let back = (info.get)(background & !own | value << lsb);
                    report.must(back == value, || {
                        format!("{place}: the value {value:#x}, unknown to the facts, reads as {back:#x}")
                    });
                }
                for too_wide in [1_u64.checked_shl(field.width().into()), Some(u64::MAX)].into_iter().flatten() {
                    let got = (info.set)(background, too_wide);
                    report.must(got.is_none() || field.width() == 64, || {
                        format!("{place}: the facts say {bits}, the types take {too_wide:#x}")
                    });
                }
            }
            if info.values.is_empty() {
                let got = (info.set)(0, mask(msb - lsb, 0));
                report.must(got == Some(own), || {
                    format!("{place}: the facts say {bits}, all ones make {got:x?}, not {own:#x}")
                });
            }
            report.shorten(before);
        }
    }
}

/// Checks the registers of one frame against the facts of its class.
fn check_frame(
    report: &mut Report,
    class: Class,
    registers: &[&'static RegisterInfo],
    at: impl Fn(u16) -> Option<&'static str>,
) {
    let mut end = 0;
    for info in registers {
        let place = info.name;
        report.must(u32::from(info.offset) >= end, || {
            format!("{place}: offset {:#x} is below the end of the register before it, {end:#x}", info.offset)
        });
        let bytes = u16::from(info.width) / 8;
        report.must(info.offset % bytes == 0, || {
            format!("{place}: offset {:#x} is not a multiple of its {bytes} bytes", info.offset)
        });
        end = u32::from(info.offset) + u32::from(bytes);
        let entries = facts().registers.iter().filter(|fact| fact.class == class && fact.name == info.name);
        for fact in entries.filter(|fact| fact.location != Location::Unknown) {
            report.same(place, "offset", fact.location, Location::Offset(info.offset.into()));
            report.same(place, "width", fact.width, Some(info.width.into()));
            report.same(place, "access", fact.access.and_then(access), Some(info.access));
        }
    }
    let starts: BTreeMap<u16, &str> = registers.iter().map(|info| (info.offset, info.name)).collect();
    for offset in 0..=u16::MAX {
        report.must(at(offset) == starts.get(&offset).copied(), || {
            format!(
                "offset {offset:#x}: the frame has {:?} there, the lookup finds {:?}",
                starts.get(&offset),
                at(offset)
            )
        });
    }
}

#[test]
fn registers_of_the_frames_are_where_the_facts_put_them() {
    let mut report = Report::default();
    let infos: Vec<_> = IrsReg::ALL.iter().map(|register| register.info()).collect();
    check_frame(&mut report, Class::IrsConfig, &infos, |offset| IrsReg::at(offset).map(IrsReg::name));
    let infos: Vec<_> = SetLpiReg::ALL.iter().map(|register| register.info()).collect();
    check_frame(&mut report, Class::IrsSetlpi, &infos, |offset| SetLpiReg::at(offset).map(SetLpiReg::name));

    for register in IrsReg::ALL {
        let info = register.info();
        let short = (register.name(), register.offset(), register.width(), register.access());
        assert_eq!(short, (info.name, info.offset, info.width, info.access));
        assert_eq!(format!("{register} {register:?}"), format!("{0} {0}", info.name));
    }
    for (name, view, _) in irs::OTHER_LAYOUTS {
        let entry = facts().named(name).find(|fact| fact.view.as_deref().unwrap_or("") == *view);
        let Some(entry) = entry else {
            report.say(format!("{name} ({view}): a layout that is not in the facts"));
            continue;
        };
        let listed = IrsReg::ALL.iter().any(|register| register.name() == *name);
        report.same(name, "has a known offset", entry.location != Location::Unknown, listed);
    }
}

#[test]
fn identification_registers_are_those_with_an_identification_s_name() {
    let mut report = Report::default();
    for register in IrsReg::ALL {
        let name = register.name();
        let stem = name.trim_start_matches("IRS_").trim_end_matches(|c: char| c.is_ascii_digit());
        let expected = matches!(stem, "IDR" | "IIDR" | "AIDR" | "MEC_IDR" | "MPAM_IDR" | "DEVARCH" | "PIDR" | "CIDR");
        report.same(name, "identifies the implementation", expected, register.is_identification());
        if register.is_identification() {
            report.same(name, "access of an identification register", Access::RO, register.access());
        }
    }
}

#[test]
fn a_write_is_reported_by_the_status_register_of_the_facts() {
    let mut report = Report::default();
    let mut named = BTreeSet::new();
    for pair in &facts().status_pairs {
        for written in &pair.writes {
            named.insert(written.as_str());
            let poll = if pair.poll == StatusPair::OWN_IDLE { written } else { &pair.poll };
            let bit = |field: &str| {
                let mut entries = facts().named(poll);
                let field = entries.find_map(|fact| fact.fields.iter().find(|known| known.name == field))?;
                Some(mask(field.msb, field.lsb) as u32)
            };
            let Some(register) = IrsReg::ALL.iter().find(|register| register.name() == written) else {
                report.say(format!("{written}: in a status pair of the facts, not in the types"));
                continue;
            };
            let status = register.status();
            report.same(written, "status register", Some(poll.as_str()), status.map(|status| status.register.name()));
            report.same(written, "IDLE bit", bit("IDLE"), status.map(|status| status.idle));
            report.same(written, "V bit", bit("V"), status.and_then(|status| status.valid));
        }
    }
    for register in IrsReg::ALL {
        report.same(
            register.name(),
            "has a status register",
            named.contains(register.name()),
            register.status().is_some(),
        );
    }
}

#[test]
fn system_registers_have_the_encoding_and_the_access_of_the_facts() {
    let mut report = Report::default();
    for register in SysReg::ALL {
        let (name, info) = (register.name(), register.info());
        report.same(name, "name in print", format!("{name} {name}"), format!("{register} {register:?}"));
        for fact in facts().named(name) {
            let types = register.encoding();
            let encoding = match fact.location {
                Location::Encoding(encoding) => Some(encoding),
                _ => None,
            };
            report.same(
                name,
                "encoding",
                encoding.map(|facts| facts.to_string()),
                types.map(|types| types.to_string()),
            );
            report.same(name, "generic name", fact.generic_name.clone(), types.map(|types| format!("{types:?}")));
            let numbers = encoding.map(|at| (at.op0, at.op1, at.crn, at.crm, at.op2));
            report.same(
                name,
                "op0, op1, CRn, CRm, op2",
                numbers,
                types.map(|at| (at.op0, at.op1, at.crn, at.crm, at.op2)),
            );
            let via = match info.reached {
                Reached::Via(physical) => Some(physical.name()),
                Reached::By(_) | Reached::Unknown => None,
            };
            report.same(name, "reached by the name of", fact.accessed_via.as_deref(), via);
            let unknown = fact.location == Location::Unknown;
            report.same(name, "encoding unknown", unknown, info.reached == Reached::Unknown);
            report.same(name, "access", fact.access.and_then(access), Some(info.access));
            report.same(
                name,
                "acts without an ISB",
                fact.purpose.contains("Self-synchronising"),
                register.is_self_synchronising(),
            );
        }
        let Some(encoding) = register.encoding() else { continue };
        let reached = match info.reached {
            Reached::Via(physical) => physical,
            Reached::By(_) | Reached::Unknown => *register,
        };
        report.same(name, "what its encoding reaches", Some(reached), SysReg::with_encoding(encoding));
        for t in 0..64 {
            let (mrs, msr) = (encoding.mrs(t), encoding.msr(t));
            report.same(name, "register of its words", (t & 31, t & 31), (mrs & 31, msr & 31));
            report.same(name, "encoding in mrs", encoding, SysRegEncoding::of_word(mrs));
            report.same(name, "encoding in msr", encoding, SysRegEncoding::of_word(msr));
        }
    }
    let nobody = SysRegEncoding { op0: 3, op1: 7, crn: 15, crm: 15, op2: 7 };
    assert_eq!(SysReg::with_encoding(nobody), None);
}

#[test]
fn ppi_registers_are_found_by_bank_and_index() {
    let mut report = Report::default();
    let mut found = BTreeSet::new();
    let mut look = |expected: String, register: SysReg| {
        report.same(&expected, "what the lookup finds", expected.as_str(), register.name());
        found.insert(register.name());
    };
    for bank in PpiBank::ALL {
        let n = bank.index();
        look(format!("ICC_PPI_HMR{n}_EL1"), SysReg::icc_ppi_hmr(bank));
        look(format!("ICC_PPI_ENABLER{n}_EL1"), SysReg::icc_ppi_enabler(bank));
        look(format!("ICC_PPI_CACTIVER{n}_EL1"), SysReg::icc_ppi_cactiver(bank));
        look(format!("ICC_PPI_SACTIVER{n}_EL1"), SysReg::icc_ppi_sactiver(bank));
        look(format!("ICC_PPI_CPENDR{n}_EL1"), SysReg::icc_ppi_cpendr(bank));
        look(format!("ICC_PPI_SPENDR{n}_EL1"), SysReg::icc_ppi_spendr(bank));
        look(format!("ICH_PPI_DVIR{n}_EL2"), SysReg::ich_ppi_dvir(bank));
        look(format!("ICH_PPI_ENABLER{n}_EL2"), SysReg::ich_ppi_enabler(bank));
        look(format!("ICH_PPI_PENDR{n}_EL2"), SysReg::ich_ppi_pendr(bank));
        look(format!("ICH_PPI_ACTIVER{n}_EL2"), SysReg::ich_ppi_activer(bank));
        look(format!("ICH_PPI_HVIR{n}_EL2"), SysReg::ich_ppi_hvir(bank));
    }
    for id in 0..Ppi::COUNT as u32 {
        look(format!("ICC_PPI_DOMAINR{}_EL3", id / 32), SysReg::icc_ppi_domainr(Ppi::new(id).unwrap()));
    }
    for n in 0..16 {
        let index = arbitrary_int::u4::new(n);
        look(format!("ICC_PPI_PRIORITYR{n}_EL1"), SysReg::icc_ppi_priorityr(index));
        look(format!("ICH_PPI_PRIORITYR{n}_EL2"), SysReg::ich_ppi_priorityr(index));
    }
    let names = SysReg::ALL.iter().map(|register| register.name());
    for name in names.filter(|name| name.starts_with("ICC_PPI_") || name.starts_with("ICH_PPI_")) {
        report.must(found.contains(name), || format!("{name}: the facts have it, no lookup finds it"));
    }
}

#[test]
fn instructions_are_encoded_as_the_facts_say() {
    let mut report = Report::default();
    for insn in GicInsn::ALL {
        let (name, info) = (insn.name(), insn.info());
        report.same(name, "name in print", format!("{name} {name}"), format!("{insn} {insn:?}"));
        for fact in facts().named(name) {
            let (Location::Encoding(at), Some(told)) = (fact.location, fact.instruction) else {
                report.say(format!("{name}: no instruction in the facts"));
                continue;
            };
            report.same(name, "op1, CRm, op2", (at.op1, at.crm, at.op2), (info.op1, info.crm, info.op2));
            let form = match told.operand {
                Operand::Xt => Form::Operand,
                Operand::Result => Form::Result,
                Operand::None => Form::NoOperand,
            };
            report.same(name, "form", form, info.form);
            let system = if info.form == Form::Result { gicv5_facts::Form::Sysl } else { gicv5_facts::Form::Sys };
            report.same(name, "SYS or SYSL", told.form, system);
            let min_el = match told.min_el {
                ExceptionLevel::El1 => MinEl::EL1,
                ExceptionLevel::El2 => MinEl::EL2,
                ExceptionLevel::El3 => MinEl::EL3,
            };
            report.same(name, "lowest exception level", min_el, info.min_el);
            report.same(name, "has operand fields", told.operand == Operand::None, fact.fields.is_empty());
            for t in 0..32_u8 {
                let register = if told.operand == Operand::None { 31 } else { t };
                let word = told.word(register);
                report.same(
                    name,
                    &format!("word with register {t}"),
                    format!("{word:#x}"),
                    format!("{:#x}", insn.word(t.into())),
                );
                report.same(name, &format!("word with register {t}+32"), word, insn.word(u32::from(t) + 32));
                let decoded = GicInsn::of_word(told.word(t));
                report.same(
                    name,
                    &format!("what its word with register {t} decodes to"),
                    Some((*insn, u32::from(t))),
                    decoded,
                );
            }
            report.same(name, "what its fields decode to", Some(*insn), GicInsn::with_encoding(insn.encoding()));
            let SysRegEncoding { op0, op1, crn, crm, op2 } = insn.encoding();
            report.same(name, "fields", (at.op0, at.op1, at.crn, at.crm, at.op2), (op0, op1, crn, crm, op2));
            let word = insn.word(31);
            let system = (word >> 19 & 3, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7);
            let numbers = (at.op0.into(), at.op1.into(), at.crn.into(), at.crm.into(), at.op2.into());
            report.same(name, "op0, op1, CRn, CRm, op2 of its word", numbers, system);
        }
    }
    drop(report);
    for nobody in [(3, 0, 12, 1, 1), (1, 0, 11, 1, 1), (1, 7, 12, 1, 1), (u8::MAX, u8::MAX, u8::MAX, u8::MAX, u8::MAX)]
    {
        let (op0, op1, crn, crm, op2) = nobody;
        assert_eq!(GicInsn::with_encoding(SysRegEncoding { op0, op1, crn, crm, op2 }), None, "{nobody:?}");
    }
    // NOP, `dsb sy`, `tlbi vmalle1` and the GIC space with a CRm that nobody uses.
    for word in [0xd503_201f, 0xd503_3f9f, 0xd508_871f, 0xd508_cf1f, 0, u32::MAX] {
        assert_eq!(GicInsn::of_word(word), None, "{word:#x}");
    }
}

/// An entry type of at most 64 bits.
struct EntryType {
    name: &'static str,
    bytes: u64,
    /// The raw bits after a round trip through memory, and the bytes between.
    round_trip: fn(u64) -> (u64, Vec<u8>),
}

fn entry_types() -> Vec<EntryType> {
    macro_rules! types {
        ($($name:ident $raw:ident;)*) => {
            vec![$(EntryType {
                name: stringify!($name),
                bytes: entry::$name::BYTES,
                round_trip: |raw| {
                    let bytes = entry::$name::new_with_raw_value(raw as $raw).to_le_bytes();
                    (entry::$name::from_le_bytes(bytes).raw_value().into(), bytes.to_vec())
                },
            },)*]
        };
    }
    types! {
        L1_VMTE u64;
        L2_VMTE_VMD u64;
        L2_VMTE_VPET u64;
        L2_VMTE_IST u64;
        VPETE u64;
        L1_ISTE u64;
        L2_ISTE u32;
    }
}

#[test]
fn entries_lie_in_memory_little_endian_and_in_the_size_of_the_facts() {
    let mut report = Report::default();
    for entry in entry_types() {
        let whole = mask(entry.bytes as u16 * 8 - 1, 0);
        for raw in (0..64).map(|bit| 1 << bit).chain([u64::MAX, 0x0123_4567_89ab_cdef]) {
            let (back, bytes) = (entry.round_trip)(raw);
            report.same(entry.name, "bits after a round trip", raw & whole, back);
            let expected: Vec<u8> = (0..entry.bytes).map(|byte| (raw >> (8 * byte)) as u8).collect();
            report.same(entry.name, "bytes in memory", expected, bytes);
        }
    }
    for (name, _) in entry::LAYOUTS {
        let bytes = entry_types().iter().find(|entry| entry.name == *name).map(|entry| entry.bytes as u32);
        for fact in facts().named(name) {
            report.same(name, "size in bytes", fact.entry_bytes, bytes);
        }
    }
    for fact in facts().named("L2_VMTE") {
        report.same("L2_VMTE", "size in bytes", fact.entry_bytes, Some(entry::L2_VMTE::BYTES as u32));
    }
}

#[test]
fn a_vm_table_entry_is_its_four_words() {
    use entry::{L2_VMTE, L2_VMTE_IST, L2_VMTE_VMD, L2_VMTE_VPET};
    let words = [0x0123_4567_89ab_cdef, 0x1122_3344_5566_7788, 0xfedc_ba98_7654_3210, 0x8877_6655_4433_2211];
    let vmte = L2_VMTE::new_with_raw_value(words);
    assert_eq!(vmte.raw_value(), words);
    assert_eq!(vmte.to_le_bytes().to_vec(), words.map(u64::to_le_bytes).concat());
    assert_eq!(L2_VMTE::from_le_bytes(vmte.to_le_bytes()), vmte);
    let by_accessor = [
        vmte.vmd().raw_value(),
        vmte.vpet().raw_value(),
        vmte.ist(IrsIntType::Lpi).raw_value(),
        vmte.ist(IrsIntType::Spi).raw_value(),
    ];
    assert_eq!(by_accessor, words);
    assert_eq!([IrsIntType::Lpi, IrsIntType::Spi].map(L2_VMTE::ist_word), [2, 3]);

    let mut report = Report::default();
    for field in facts().named("L2_VMTE").flat_map(|fact| &fact.fields) {
        let index = usize::from(field.lsb / 64);
        let (prefix, fields) = L2_VMTE::WORDS[index];
        let info = fields.iter().find(|info| format!("{prefix}{}", info.name) == field.name);
        let types = info.map(|info| (info.get)(by_accessor[index]));
        report.same(&format!("L2_VMTE.{}", field.name), "value in a sample", Some(field.extract(&words)), types);
    }
    drop(report);

    let ones = u64::MAX;
    let written = [
        vmte.with_vmd(L2_VMTE_VMD::new_with_raw_value(ones)),
        vmte.with_vpet(L2_VMTE_VPET::new_with_raw_value(ones)),
        vmte.with_ist(IrsIntType::Lpi, L2_VMTE_IST::new_with_raw_value(ones)),
        vmte.with_ist(IrsIntType::Spi, L2_VMTE_IST::new_with_raw_value(ones)),
    ];
    for (index, vmte) in written.into_iter().enumerate() {
        let mut expected = words;
        expected[index] = ones;
        assert_eq!(vmte.raw_value(), expected, "word {index}");
    }
}

#[test]
fn architected_ppis_are_those_of_the_facts() {
    let mut report = Report::default();
    let told: Vec<_> = facts().ppis.iter().map(|ppi| (ppi.id, ppi.name.as_str(), ppi.r#use.as_str())).collect();
    let types: Vec<_> = Ppi::ARCHITECTED.iter().map(|(ppi, name, used)| (ppi.id(), *name, *used)).collect();
    for ppi in told.iter().filter(|ppi| !types.contains(ppi)) {
        report.say(format!("{ppi:?}: in the facts, not in the types"));
    }
    for ppi in types.iter().filter(|ppi| !told.contains(ppi)) {
        report.say(format!("{ppi:?}: in the types, not in the facts"));
    }
    for id in 0..Ppi::COUNT as u32 {
        let ppi = Ppi::new(id).unwrap();
        let told = facts().ppi(id).map(|ppi| (ppi.name.as_str(), ppi.r#use.as_str()));
        report.same(&ppi.to_string(), "name and use", told, ppi.architected());
        if let Some((name, used)) = told {
            let handling = match used {
                used if used.contains("implementation-defined mode") => PpiHandling::ImplementationDefined,
                used if used.contains("edge") => PpiHandling::Architected(HandlingMode::Edge),
                _ => PpiHandling::Architected(HandlingMode::Level),
            };
            report.same(name, "handling", handling, ppi.handling());
        }
    }
    report.same("PPIs", "order", told, types);
}

/// A layout type that belongs to one register.
struct TypedRegister {
    /// The name of the type.
    name: &'static str,
    /// The name of the register it says it is.
    register: &'static str,
    fields: &'static [FieldInfo],
    round_trip: fn(u64) -> (u64, u64),
}

fn typed_registers() -> Vec<TypedRegister> {
    macro_rules! types {
        ($($module:ident: $($name:ident)*;)*) => {
            vec![$($(TypedRegister {
                name: stringify!($name),
                register: $module::$name::REG.name(),
                fields: $module::$name::FIELDS,
                round_trip: |bits| {
                    let register = $module::$name::from_bits(bits);
                    (register.to_bits(), register.raw_value().into())
                },
            },)*)*]
        };
    }
    types! {
        irs:
            IRS_IDR0 IRS_IDR1 IRS_IDR2 IRS_IDR3 IRS_IDR4 IRS_IDR5 IRS_IDR6 IRS_IDR7 IRS_IIDR IRS_AIDR IRS_CR0 IRS_CR1
            IRS_SYNCR IRS_SYNC_STATUSR IRS_SPI_VMR IRS_SPI_SELR IRS_SPI_DOMAINR IRS_SPI_RESAMPLER IRS_SPI_CFGR
            IRS_SPI_STATUSR IRS_PE_SELR IRS_PE_STATUSR IRS_PE_CR0 IRS_IST_BASER IRS_IST_CFGR IRS_IST_STATUSR
            IRS_MAP_L2_ISTR IRS_VMT_BASER IRS_VMT_CFGR IRS_VMT_STATUSR IRS_VPE_SELR IRS_VPE_DBR IRS_VPE_HPPIR IRS_VPE_CR0
            IRS_VPE_STATUSR IRS_VM_DBR IRS_VM_SELR IRS_VM_STATUSR IRS_VMAP_L2_VMTR IRS_VMAP_VMR IRS_VMAP_VISTR
            IRS_VMAP_L2_VISTR IRS_VMAP_VPER IRS_SAVE_VMR IRS_SAVE_VM_STATUSR IRS_MEC_IDR IRS_MEC_MECID_R IRS_MPAM_IDR
            IRS_MPAM_PARTID_R IRS_SWERR_STATUSR IRS_SWERR_SYNDROMER0 IRS_SWERR_SYNDROMER1 IRS_DEVARCH IRS_PIDR4 IRS_PIDR5
            IRS_PIDR6 IRS_PIDR7 IRS_PIDR0 IRS_PIDR1 IRS_PIDR2 IRS_PIDR3 IRS_CIDR0 IRS_CIDR1 IRS_CIDR2 IRS_CIDR3
            IRS_SETLPIR;
        sysreg:
            ICC_CR0_EL1 ICC_CR0_EL3 ICV_CR0_EL1 ICC_HAPR_EL1 ICC_IDR0_EL1 ICC_SRE_EL1 ICC_SRE_EL2 ICC_ICSR_EL1
            ICC_IAFFIDR_EL1 ICC_DOMHPPIR_EL3
            ICH_HFGRTR_EL2 ICH_HFGWTR_EL2 ICH_HFGITR_EL2 ICH_VCTLR_EL2 ICH_CONTEXTR_EL2 ICH_VMCR_EL2 ID_AA64PFR2_EL1;
    }
}

/// A layout in a form that can be compared.
fn shape(fields: &[FieldInfo]) -> Vec<(&str, u8, u8)> {
    fields.iter().map(|field| (field.name, field.msb, field.lsb)).collect()
}

#[test]
fn a_typed_register_is_the_register_of_its_name_and_keeps_every_bit() {
    let mut report = Report::default();
    let all = declared();
    let mut typed = BTreeSet::new();
    for register in typed_registers() {
        let name = register.name;
        typed.insert(name);
        report.same(name, "the register it stands for", name, register.register);
        let Some(fact) = facts().named(name).find(|fact| fact.view.as_deref() != Some("mpam2")) else {
            report.say(format!("{name}: a typed register that is not in the facts"));
            continue;
        };
        let whole = mask(fact.width.unwrap_or(1) - 1, 0);
        for bits in [0, u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210] {
            report.same(
                name,
                &format!("{bits:#x} there and back"),
                (bits & whole, bits & whole),
                (register.round_trip)(bits),
            );
        }
        let info = all.iter().find(|declared| declared.name == name).map(|declared| shape(declared.words[0].1));
        report.same(name, "layout in the table of registers", Some(shape(register.fields)), info);
    }
    for declared in &all {
        let shape = shape(declared.words[0].1);
        let expected = match declared.class {
            Class::IrsConfig | Class::IrsSetlpi => declared.name != "IRS_MPAM_PMGR",
            Class::CpuifSysreg => SysReg::ALL
                .iter()
                .all(|other| other.name() == declared.name || self::shape(other.info().fields) != shape),
            _ => continue,
        };
        report.same(declared.name, "is a typed register", expected, typed.contains(declared.name));
    }
}

/// GEN-24, GEN-25: both registers have an encoding, and every bit that they have is one of those that read as one.
#[test]
fn the_system_register_enables_of_gicv3_have_no_bit_that_is_not_a_one() {
    for (name, ones) in [("ICC_SRE_EL1", 0x7), ("ICC_SRE_EL2", 0xf)] {
        let register = facts().named(name).next().unwrap();
        assert!(matches!(register.location, gicv5_facts::Location::Encoding(_)), "{name}");
        assert_eq!(register.reset, Some(format!("{ones:#x}")), "{name}");
        assert_eq!(register.fields.iter().fold(0, |bits, field| bits | mask(field.msb, field.lsb)), ones, "{name}");
    }
}
