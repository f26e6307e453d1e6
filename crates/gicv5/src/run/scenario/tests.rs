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
        ("starts = 5", "5", "`starts` is a string", "a string"),
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
        ("title = \"t\"\nduration = \"1ms\"", "machine"),
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
