//! What the reader takes and what it refuses.

use proptest::prelude::*;

use super::{Problem, Scenario, read};

const FIRST: &str = include_str!("../../../../../scenarios/first-vm.toml");
const STARTER: &str = include_str!("../starter.toml");

/// A scenario with everything that is needed, and something more.
fn with(more: &str) -> String {
    format!(
        "title = \"t\"\nduration = \"1ms\"\n[machine]\npes = 2\n[[vm]]\nname = \"vm0\"\nspis = 8\nlpi-id-bits = 4\nvcpus = 2\n{more}\n"
    )
}

fn problem(text: &str) -> Problem {
    read(text, None).err().unwrap_or_else(|| panic!("this was taken:\n{text}"))
}

/// The text that is underlined, with or without its quotation marks.
fn underlined<'a>(text: &'a str, problem: &Problem) -> &'a str {
    text.get(problem.span.clone()).unwrap_or_default().trim_matches('"')
}

fn good(text: &str) -> Scenario {
    read(text, None).unwrap_or_else(|problem| panic!("{}", problem.render("test", text)))
}

#[test]
fn the_starter_and_the_first_scenario_are_taken() {
    good(FIRST);
    good(STARTER);
    let scenario = good(&with(""));
    assert_eq!((scenario.vms.len(), scenario.machine.pes, scenario.machine.coherent), (1, 2, false));
}

#[test]
fn what_is_wrong_is_underlined_and_told_with_what_to_do() {
    // What is added, what is underlined, and pieces of what is said.
    let cases = [
        ("colour = 1", "colour", "no key \"colour\"", "its keys are"),
        ("vcpu = 3", "3", "list of tables", "[[vm.vcpu]]"),
        ("spi = 3", "spi", "no key \"spi\"", "nearest name is spis"),
        ("ppis = 3", "ppis", "no key", "no PPIs yet"),
        ("timer = true", "timer", "no key", "no timers yet"),
        ("starts = 5", "5", "`starts` is a time", "such as \"10us\""),
        ("starts = \"5\"", "5", "is no time", "number and a unit"),
        ("starts = \"5 minutes\"", "5 minutes", "is no time", "units are ns"),
        ("starts = \"1.5ms\"", "1.5ms", "is no time", "no fraction"),
        ("starts = \"-5us\"", "-5us", "is no time", "before 0"),
        ("starts = \"99999999999999999999s\"", "99999999999999999999s", "too long", "3600s"),
        ("starts = \"18446744073709551615s\"", "18446744073709551615s", "too long", "3600s"),
        ("vpe-ids = [1, 2]", "2", "said twice", "leave out `vcpus`"),
        ("pes = [0]", "[0]", "names 1 PEs for 2 vCPUs", "one PE for each vCPU"),
        ("pes = [0, 2]", "2", "`pes` cannot be 2", "from 0 to 1"),
        ("mask = 32", "32", "`mask` cannot be 32", "from 0 to 31"),
        ("mask = -1", "-1", "`mask` cannot be -1", "from 0 to 31"),
        ("program = [\"run\"]", "run", "ends too early", "a time such as 10us"),
        ("program = [\"jump 5\"]", "jump", "no step", "one of: run, wait"),
        ("program = [\"wiat\"]", "wiat", "no step", "nearest name is wait"),
        ("program = [\"run 5us 6\"]", "6", "does not belong here", "complete without it"),
        ("program = [\"again\"]", "[\"again\"]", "lets no time pass", "run 10us"),
        ("program = [\"again\", \"wait\"]", "[\"again\", \"wait\"]", "never reached", "last step"),
        ("program = [\"send PPI 3\"]", "PPI", "cannot be used", "no PPIs yet"),
        ("program = [\"send SPI 8\"]", "SPI 8", "no SPI 8", "SPIs 0 to 7"),
        ("program = [\"send LPI 16\"]", "LPI 16", "no LPI 16", "LPIs 0 to 15"),
        ("program = [\"lower LPI 1\"]", "LPI 1", "no wire", "only SPIs"),
        ("program = [\"target SPI 1 vcpu 2\"]", "2", "is no vCPU", "from 0 to 1"),
        ("[[vm.interrupt]]\nid = \"SPI 1\"\nmode = \"pulse\"", "pulse", "no handling mode", "edge"),
        ("[[vm.interrupt]]\nid = \"LPI 1\"\nmode = \"level\"", "level", "level-sensitive LPI", "have no wire"),
        ("[[vm.interrupt]]\nid = \"SPI 1\"\nvcpu = 2", "2", "`vcpu` cannot be 2", "from 0 to 1"),
        ("[[vm.interrupt]]\nid = \"SPI 1\"\nhandler = [\"wait\"]", "wait", "neither waits", "last step"),
        (
            "[[vm.interrupt]]\nid = \"SPI 1\"\n[[vm.interrupt]]\nid = \"SPI 0 to 2\"",
            "SPI 0 to 2",
            "set up twice",
            "once",
        ),
        ("[[vm]]\nname = \"vm0\"", "vm0", "two VMs are called", "another name"),
        ("[[vm]]\nname = \"a b\"", "a b", "no name of a VM", "letters"),
        ("[[vm]]\nname = \"many\"\ncount = 1000000", "1000000", "`count` cannot be 1000000", "from 1 to 65536"),
        ("[[vm]]\nname = \"a\"\nvpe-ids = [3, 1]", "1", "do not ascend", "in order"),
        ("[[vm]]\nname = \"a\"\nvpe-ids = []", "[]", "without a vCPU", "at least one"),
        ("[[at]]\ntime = \"2ms\"\ndo = []", "2ms", "after the end", "`duration` longer"),
        ("[[at]]\ntime = \"1us\"\ndo = [\"raise vm1 SPI 1\"]", "vm1", "no VM \"vm1\"", "vm0"),
        ("[[at]]\ntime = \"1us\"\ndo = [\"raise vm0 LPI 1\"]", "LPI 1", "no wire", "only SPIs"),
        ("[[at]]\ntime = \"1us\"\ndo = [\"migrate vm0 vcpu 1 to PE 2\"]", "2", "is no PE", "from 0 to 1"),
        ("[[at]]\ntime = \"1us\"\ndo = [\"explode vm0\"]", "explode", "no action", "one of: raise"),
        ("[[source]]\ninterrupt = \"vm0 LPI 1\"\nevery = \"0ns\"", "0ns", "lets time pass", "1ns"),
        ("[[source]]\ninterrupt = \"vm0 LPI 1\"\nevery = \"1us\"\nabout = \"1us\"", "1us", "said twice", "keep"),
        ("[[source]]\ninterrupt = \"vm0 LPI 1\"\nevery = \"1us\"\nfrom = \"1ms\"", "1ms", "before it starts", "later"),
        ("[[fault]]\nrequest = \"IRS_VMAP_VMR\"\nfails = \"badly\"", "badly", "nothing fails like", "never"),
        ("[[expect]]\nthat = \"delivered vm0 == 3\"", "==", "no comparison", "<="),
        ("[[expect]]\nthat = \"delivered vm0 = lots\"", "lots", "is no count", "from 0"),
        ("[[expect]]\nthat = \"latency max <= 3us\"", "max", "no VM \"max\"", "vm0"),
        ("[[expect]]\nthat = \"latency <= 3us\"", "latency", "a time of nobody", "write the VM"),
        ("[[expect]]\nthat = \"error\"", "error", "without a text", "piece of the text"),
        ("[[expect]]\nthat = \"happiness = 3\"", "happiness", "no expectation", "one of"),
    ];
    for (more, place, what, help) in cases {
        let text = with(more);
        let problem = problem(&text);
        assert_eq!(underlined(&text, &problem), place, "{more}: {problem:?}");
        assert!(problem.what.contains(what), "{more}: {problem:?}");
        assert!(problem.help.contains(help), "{more}: {problem:?}");
    }
}

#[test]
fn every_key_step_and_action_is_on_the_page_about_the_language() {
    let page = include_str!("../../../../../docs/scenarios.md");
    let odd = "zzzzzzzz";
    let top = with("").replacen("title", &format!("{odd} = 1\ntitle"), 1);
    let machine = with("").replacen("pes = 2", &format!("pes = 2\n{odd} = 1"), 1);
    let texts = [
        top,
        machine,
        with(&format!("{odd} = 1")),
        with(&format!("[[vm.vcpu]]\nnumber = 0\n{odd} = 1")),
        with(&format!("[[vm.interrupt]]\nid = \"SPI 1\"\n{odd} = 1")),
        with(&format!("[[at]]\ntime = \"1us\"\ndo = []\n{odd} = 1")),
        with(&format!("[[source]]\ninterrupt = \"vm0 LPI 1\"\nevery = \"1us\"\n{odd} = 1")),
        with(&format!("[[fault]]\nrequest = \"an LPI\"\nfails = \"refused\"\n{odd} = 1")),
        with(&format!("[[expect]]\nthat = \"leaks = 0\"\n{odd} = 1")),
        with(&format!("program = [\"{odd}\"]")),
        with(&format!("[[at]]\ntime = \"1us\"\ndo = [\"{odd}\"]")),
        with(&format!("[[expect]]\nthat = \"{odd}\"")),
    ];
    let mut words = 0;
    for text in texts {
        let help = problem(&text).help;
        let list = help.strip_prefix("its keys are ").or(help.strip_prefix("write one of: "));
        for word in list.unwrap_or_else(|| panic!("{help}")).split(", ") {
            words += 1;
            let there = page.contains(&format!("`{word}"))
                || page.contains(&format!("[{word}]"))
                || page.contains(&format!("[[{word}]]"));
            assert!(there || page.contains(&format!("[[vm.{word}]]")), "docs/scenarios.md does not have `{word}`");
        }
    }
    assert!(words > 65, "{words}");
}

#[test]
fn impossible_machines_are_refused() {
    let machine = |more: &str| format!("title = \"t\"\nduration = \"1ms\"\n[machine]\n{more}\n[[vm]]\nname = \"a\"\n");
    for (more, place, what) in [
        ("pes = 0", "0", "`pes` cannot be 0"),
        ("pes = 1_000_000", "1_000_000", "`pes` cannot be"),
        ("vm-id-bits = 8\nvms = 300", "300", "the hardware has 256"),
        ("command-latency = \"5ms\"", "5ms", "gives up on every command"),
        ("command-latency = \"5ms\"\ncommand-timeout = \"1ms\"", "1ms", "gives up on every command"),
        ("command-timeout = \"1ns\"", "1ns", "before it can look once"),
        ("tick = \"0ns\"", "0ns", "a tick of that length"),
        ("tick = \"3600s\"", "3600s", "a tick of that length"),
        ("vm-table = \"flat\"", "flat", "no VM table"),
        ("time-slice = \"1us\"", "1us", "shorter than a switch"),
    ] {
        let text = machine(more);
        let problem = problem(&text);
        assert!(problem.what.contains(what), "{more}: {problem:?}");
        assert!(underlined(&text, &problem).starts_with(place.get(..1).unwrap()), "{more}: {problem:?}");
    }
}

#[test]
fn what_is_missing_is_asked_for() {
    for (text, key) in [
        ("", "title"),
        ("title = \"t\"", "duration"),
        ("title = \"t\"\nduration = 5", "`duration` is a"),
        ("title = \"t\"\nduration = \"1ms\"", "vm"),
        ("title = \"t\"\nduration = \"1ms\"\n[machine]", "vm"),
        ("title = \"t\"\nduration = \"1ms\"\n[machine]\n[[vm]]", "name"),
    ] {
        let problem = problem(text);
        assert!(problem.what.contains(key), "{text}: {problem:?}");
    }
}

#[test]
fn a_file_that_breaks_off_anywhere_is_refused_or_makes_sense() {
    for end in 0..FIRST.len() {
        let Some(text) = FIRST.get(..end) else { continue };
        if let Err(problem) = read(text, None) {
            let shown = problem.render("first-vm.toml", text);
            assert!(!problem.what.is_empty() && !problem.help.is_empty() && shown.contains("first-vm.toml"), "{shown}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        if let Err(problem) = read(&text, None) {
            problem.render("random", &text);
        }
    }

    #[test]
    fn no_change_of_a_scenario_makes_the_reader_panic(
        at in 0..FIRST.len(),
        to in prop::sample::select(vec!["", "\"", "0", "-1", "[", "[[vm]]\n", "=", "é", "\u{1b}", "99999999999999999999", "SPI"]),
        length in 0usize..20,
    ) {
        let end = (at + length).min(FIRST.len());
        if let (Some(head), Some(tail)) = (FIRST.get(..at), FIRST.get(end..)) {
            let text = format!("{head}{to}{tail}");
            if let Err(problem) = read(&text, None) {
                problem.render("changed", &text);
            }
        }
    }
}

/// Keys and values that they cannot have, as they stand in a file.
type Wrong = (&'static str, [&'static str; 5]);

/// The head of a scenario, and in each section of the language its keys with five wrong values each.
const SECTIONS: &[(&str, &[Wrong])] = &[
    (
        "",
        &[
            ("title", ["5", "true", "[\"t\"]", "\"\"", "\"\\u001b[31mred\""]),
            ("duration", ["5", "\"5\"", "\"0ns\"", "\"1.5ms\"", "\"1h\""]),
            ("settle", ["5", "\"-1us\"", "\"99999s\"", "true", "\"1 ms 2 us\""]),
            ("seed", ["-1", "1.5", "\"a\"", "18446744073709551616", "true"]),
            ("machine", ["5", "[]", "\"m\"", "[[1]]", "true"]),
            ("vm", ["5", "{}", "[1]", "\"vm0\"", "[]"]),
        ],
    ),
    (
        "[machine]",
        &[
            ("pes", ["0", "257", "-1", "\"2\"", "1.5"]),
            ("coherent", ["1", "\"yes\"", "0", "[]", "\"true\""]),
            ("command-latency", ["5", "\"5\"", "\"2ms\"", "\"-1us\"", "\"1 tick\""]),
            ("command-timeout", ["5", "\"1ns\"", "\"500ns\"", "\"4000s\"", "[]"]),
            ("tick", ["100", "\"0ns\"", "\"2ms\"", "\"1us2\"", "true"]),
            ("vm-id-bits", ["7", "17", "\"16\"", "-8", "12.0"]),
            ("vms", ["0", "65537", "-1", "\"all\"", "1e3"]),
            ("vm-table", ["\"flat\"", "2", "\"Linear\"", "true", "\"\""]),
            ("lpis", ["0", "4194305", "-1", "\"many\"", "1.5"]),
            ("time-slice", ["\"1us\"", "10", "\"0ns\"", "\"1min\"", "false"]),
        ],
    ),
    (
        "[[vm]]",
        &[
            ("name", ["\"\"", "\"a b\"", "\"vm.0\"", "5", "\"a-name-that-is-longer-than-32-letters\""]),
            ("count", ["0", "65537", "-1", "\"2\"", "1.5"]),
            ("vcpus", ["0", "513", "-1", "\"2\"", "[0, 1]"]),
            ("vpe-ids", ["[]", "[4096]", "[1, 1]", "[2, 1]", "3"]),
            ("pes", ["[]", "[0, 1]", "[2]", "[\"0\"]", "0"]),
            ("spis", ["1025", "-1", "\"8\"", "8.0", "[8]"]),
            ("lpi-id-bits", ["0", "17", "-1", "\"4\"", "true"]),
            ("starts", ["5", "\"later\"", "\"5\"", "\"1.5us\"", "\"2s\""]),
            ("mask", ["32", "-1", "\"all\"", "3.5", "[]"]),
            ("program", ["\"wait\"", "[5]", "[\"again\"]", "[\"run 10\"]", "[\"wait\", \"wait for it\"]"]),
        ],
    ),
    (
        "[[vm]]\nname = \"other\"\nspis = 8\nvcpus = 2\n[[vm.vcpu]]",
        &[
            ("number", ["2", "-1", "\"0\"", "1.0", "[]"]),
            (
                "program",
                ["5", "[\"again\", \"wait\"]", "[\"send LPI 1\"]", "[\"mask 32\"]", "[\"target SPI 1 vcpu 2\"]"],
            ),
            ("mask", ["32", "-1", "\"x\"", "1.5", "{}"]),
            ("pe", ["2", "-1", "\"PE 1\"", "0.5", "[0]"]),
        ],
    ),
    (
        "[[vm]]\nname = \"other\"\nspis = 8\nlpi-id-bits = 4\n[[vm.interrupt]]",
        &[
            ("id", ["5", "\"SPI\"", "\"SPI 8\"", "\"PPI 3\"", "\"LPI 4 to 2\""]),
            ("vcpu", ["1", "-1", "\"all\"", "0.5", "[0]"]),
            ("priority", ["32", "-1", "\"high\"", "1.5", "[]"]),
            ("mode", ["\"pulse\"", "1", "\"Edge\"", "true", "\"\""]),
            ("enabled", ["1", "\"yes\"", "0", "[]", "\"false\""]),
            ("handler", ["\"run 1us\"", "[\"wait\"]", "[\"again\"]", "[\"lower LPI 1\"]", "[\"disable SPI 9\"]"]),
        ],
    ),
    (
        "[[at]]",
        &[
            ("time", ["5", "\"2ms\"", "\"noon\"", "\"-5us\"", "\"\""]),
            (
                "do",
                [
                    "\"raise vm0 SPI 1\"",
                    "[\"raise vm1 SPI 1\"]",
                    "[\"lower vm0 LPI 1\"]",
                    "[\"reset vm0\"]",
                    "[\"migrate vm0 vcpu 1 PE 1\"]",
                ],
            ),
        ],
    ),
    (
        "[[source]]",
        &[
            ("interrupt", ["5", "\"vm0\"", "\"vm0 LPI 16\"", "\"LPI 1\"", "\"vm0 SPI 1 LPI 2\""]),
            ("every", ["10", "\"0ns\"", "\"often\"", "\"10\"", "[]"]),
            ("about", ["10", "\"0us\"", "\"4000s\"", "\"1.5us\"", "true"]),
            ("from", ["5", "\"1ms\"", "\"2ms\"", "\"x\"", "[]"]),
            ("until", ["5", "\"0ns\"", "\"2ms\"", "\"end\"", "true"]),
            ("count", ["0", "-1", "\"10\"", "1.5", "[]"]),
        ],
    ),
    (
        "[[fault]]",
        &[
            ("request", ["5", "\"\"", "\"  \"", "true", "[]"]),
            ("which", ["0", "-1", "\"first\"", "1.5", "[1]"]),
            ("fails", ["5", "\"badly\"", "\"late\"", "\"Never\"", "true"]),
            ("by", ["5", "\"0ns\"", "\"2ms\"", "\"soon\"", "[]"]),
        ],
    ),
    (
        "[[expect]]",
        &[
            ("name", ["5", "\"\"", "true", "[]", "\"two\\nlines\""]),
            (
                "that",
                [
                    "5",
                    "\"delivered vm0\"",
                    "\"leaks vm0 = 0\"",
                    "\"doorbells vm0 SPI 1 = 0\"",
                    "\"latency vm0 mean <= 5us\"",
                ],
            ),
        ],
    ),
];

/// What a section needs besides the key that is wrong.
fn needs(section: &str, key: &str) -> String {
    let lines: &[(&str, &str)] = match section.rsplit('\n').next().unwrap_or_default() {
        "" => &[("title", "\"t\""), ("duration", "\"1ms\"")],
        "[[vm]]" => &[("name", "\"other\"")],
        "[[vm.vcpu]]" => &[("number", "0")],
        "[[vm.interrupt]]" => &[("id", "\"SPI 1\"")],
        "[[at]]" => &[("time", "\"1us\""), ("do", "[]")],
        "[[source]]" if key == "about" => &[("interrupt", "\"vm0 LPI 1\"")],
        "[[source]]" => &[("interrupt", "\"vm0 LPI 1\""), ("every", "\"1us\"")],
        "[[fault]]" => &[("request", "\"IRS_VMAP_VMR\""), ("fails", "\"never\"")],
        "[[expect]]" => &[("that", "\"leaks = 0\"")],
        _ => &[],
    };
    lines.iter().filter(|(other, _)| *other != key).map(|(key, value)| format!("{key} = {value}\n")).collect()
}

#[test]
fn each_key_with_five_wrong_values_each_is_refused_as_the_snapshot_shows() {
    let vm0 = "[[vm]]\nname = \"vm0\"\nspis = 8\nlpi-id-bits = 4\nvcpus = 2\n";
    let mut shown = String::new();
    let mut taken = Vec::new();
    for (section, keys) in SECTIONS {
        for (key, values) in *keys {
            for value in values {
                let wrong = format!("{}{key} = {value}\n", needs(section, key));
                let (vm0, machine) = (if *key == "vm" { "" } else { vm0 }, "[machine]\npes = 2\n");
                let text = match *section {
                    "" if *key == "machine" => format!("{wrong}{vm0}"),
                    "" => format!("{wrong}{machine}{vm0}"),
                    "[machine]" => format!("{}[machine]\n{wrong}{vm0}", needs("", "")),
                    section => format!("{}{machine}{vm0}{section}\n{wrong}", needs("", "")),
                };
                match read(&text, None) {
                    Ok(_) => taken.push(format!("{section} {key} = {value}")),
                    Err(problem) => {
                        let report = problem.render("scenario.toml", &text);
                        shown.push_str(&anstream::adapter::strip_str(&report).to_string());
                        shown.push_str("\n\n");
                    }
                }
            }
        }
    }
    assert!(taken.is_empty(), "these were taken: {taken:#?}");
    snapbox::assert_data_eq!(shown, snapbox::file!["refusals.txt"].raw());
}
