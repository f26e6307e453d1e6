//! Proof that `gicv5 run` notices when something is wrong.
//!
//! A judge that is always content is worth nothing. This chore breaks one thing at a time, in a copy of the workspace: what
//! the engine does as a hypervisor, the path that doorbells take in `gicv5-hyp`, or how the model selects interrupts and
//! rings. Then it runs the scenarios until one of them ends with exit status 1: the judge has found something, or an
//! expectation does not hold. A run that panics or is refused says nothing about the judge and does not count. A break that
//! no scenario notices fails the chore.

use crate::workspace::{self, Scratch};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::fmt::Write as _;
use xshell::cmd;

/// The page that says what was broken and who noticed.
const PAGE: &str = "docs/run-breaks.md";

/// Break the engine, the doorbell path and the model's selection, and see that `gicv5 run` notices
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Make only this break, by its number
    #[arg(long, value_name = "N", conflicts_with = "write")]
    only: Option<usize>,
    /// Write docs/run-breaks.md
    #[arg(long)]
    write: bool,
}

/// Something that is broken on purpose.
struct Break {
    /// Which part.
    part: &'static str,
    what: &'static str,
    file: &'static str,
    /// The text that stands there once, and what stands there instead.
    from: &'static str,
    to: &'static str,
}

const GUEST: &str = "crates/gicv5/src/run/engine/guest.rs";
const HOST: &str = "crates/gicv5/src/run/engine/host.rs";
const SCHEDULER: &str = "crates/gicv5/src/run/engine/scheduler.rs";
const WORLD: &str = "crates/gicv5/src/run/engine/world.rs";
const RUNNING: &str = "crates/gicv5-hyp/src/vcpu/run.rs";
const DOORBELL: &str = "crates/gicv5-hyp/src/doorbell/mod.rs";
const INTERRUPTS: &str = "crates/gicv5-model/src/parts/interrupts.rs";
const DOORBELLS: &str = "crates/gicv5-model/src/engine/doorbells.rs";
const CANDIDATES: &str = "crates/gicv5-model/src/engine/virtual_interrupts.rs";
const INSTRUCTIONS: &str = "crates/gicv5-model/src/engine/instructions.rs";

const BREAKS: &[Break] = &[
    Break {
        part: "engine",
        what: "the host takes a doorbell and wakes nobody",
        file: SCHEDULER,
        from: "&& self.vms[vm].vcpus[vcpu].place == Place::Asleep",
        to: "&& self.vms[vm].vcpus[vcpu].place == Place::Nowhere",
    },
    Break {
        part: "engine",
        what: "the VMM injects into the next VM",
        file: HOST,
        from: "self.vms[vm].vm.inject(&token, id.into(), pending);",
        to: "self.vms[(vm + 1) % self.vms.len()].vm.inject(&token, id.into(), pending);",
    },
    Break {
        part: "engine",
        what: "the VMM forgets some events of devices",
        file: WORLD,
        from: "                return self.give(self.vms[vm].vmm, Work::Inject(vm, id, self.now));",
        to: "                if self.tally.events.is_multiple_of(3) { return; }\n                return self.give(self.vms[vm].vmm, Work::Inject(vm, id, self.now));",
    },
    Break {
        part: "engine",
        what: "the VMM injects each event twice",
        file: HOST,
        from: "        let injected = self.vms[vm].vm.inject(&token, id.into(), pending);",
        to: "        let _ = self.vms[vm].vm.inject(&token, id.into(), pending);\n        let injected = self.vms[vm].vm.inject(&token, id.into(), pending);",
    },
    Break {
        part: "engine",
        what: "guests do not deactivate what they have handled",
        file: GUEST,
        from: "self.execute(pe, cost::INSTRUCTION, |pe| pe.cddi(id));",
        to: "self.execute(pe, cost::INSTRUCTION, |_| { let _ = id; });",
    },
    Break {
        part: "engine",
        what: "a wire that falls is not withdrawn",
        file: HOST,
        from: "            None => (\"withdraws\", Pending::Clear),",
        to: "            None => return,",
    },
    Break {
        part: "doorbell path",
        what: "a vCPU that goes to sleep asks for no doorbell",
        file: RUNNING,
        from: "contextr = contextr.with_db(true).with_dbpm(mask);",
        to: "contextr = contextr.with_db(false).with_dbpm(mask);",
    },
    Break {
        part: "doorbell path",
        what: "the doorbell's mask lets only the most urgent priority through",
        file: DOORBELL,
        from: "            DoorbellMask::ByUrgency => least,",
        to: "            DoorbellMask::ByUrgency => { let _ = least; Priority::MOST_URGENT }",
    },
    Break {
        part: "doorbell path",
        what: "the handler of doorbells names nobody to wake",
        file: DOORBELL,
        from: "            Ok(word) => Some(word.owner()),",
        to: "            Ok(word) => { let _ = word.owner(); None }",
    },
    Break {
        part: "doorbell path",
        what: "the handler of doorbells wakes the first vCPU of the VM",
        file: DOORBELL,
        from: "            Ok(word) => Some(word.owner()),",
        to: "            Ok(word) => Some(Wake { vpe: VpeId::new(0), ..word.owner() }),",
    },
    Break {
        part: "doorbell path",
        what: "the request for a doorbell is not remembered",
        file: DOORBELL,
        from: "|word| Ok(word.with_requested(true).with_fired(false)));",
        to: "|word| Ok(word.with_fired(false)));",
    },
    Break {
        part: "model's selection",
        what: "the least urgent candidate is selected",
        file: INTERRUPTS,
        from: "Priority::new(queues.occupied.trailing_zeros())",
        to: "Priority::new(31_u32.wrapping_sub(queues.occupied.leading_zeros()))",
    },
    Break {
        part: "model's selection",
        what: "a disabled interrupt is a candidate",
        file: INTERRUPTS,
        from: "const PENDING_ENABLED: u32 = L2_ISTE::ZERO.with_pending(true).with_enable(true).raw_value();",
        to: "const PENDING_ENABLED: u32 = L2_ISTE::ZERO.with_pending(true).raw_value();",
    },
    Break {
        part: "model's selection",
        what: "each VPE is offered the candidates of VPE 0",
        file: CANDIDATES,
        from: "let candidate = state.interrupts.candidate(Iaffid::from(vpe));",
        to: "let candidate = state.interrupts.candidate(Iaffid::new(0));",
    },
    Break {
        part: "model's selection",
        what: "an acknowledged edge stays pending",
        file: INSTRUCTIONS,
        from: "HandlingMode::Edge => entry.with_active(true).with_pending(false),",
        to: "HandlingMode::Edge => entry.with_active(true),",
    },
    Break {
        part: "model's doorbells",
        what: "a doorbell rings again without a new request",
        file: DOORBELLS,
        from: "                vpe.requested = None;\n            }\n            if disturbs",
        to: "                let _ = &vpe.requested;\n            }\n            if disturbs",
    },
    Break {
        part: "model's doorbells",
        what: "no doorbell rings that has been set up",
        file: DOORBELLS,
        from: "if !settings.dbv() || state",
        to: "if settings.dbv() || state",
    },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let scratch = Scratch::new("break-run")?;
    eprintln!("running the scenarios on the unchanged sources first");
    if let Some(notice) = scratch.first_notice()? {
        bail!("on the unchanged sources already, {notice}");
    }
    let mut rows = String::new();
    let mut survived = 0;
    for (n, broken) in BREAKS.iter().enumerate() {
        let n = n + 1;
        if args.only.is_some_and(|only| only != n) {
            continue;
        }
        let found = match scratch.notice_of(broken)? {
            Some(notice) => notice.to_string(),
            None => {
                survived += 1;
                "nobody notices".to_owned()
            }
        };
        println!("{n}: {}: {}: {found}", broken.part, broken.what);
        let _ = writeln!(rows, "| {n} | {} | {} | {} |", broken.part, broken.what, found.replace('|', "/"));
    }
    if args.write {
        scratch.write_page(&rows)?;
    }
    ensure!(survived == 0, "{survived} of {} breaks went unnoticed", BREAKS.len());
    Ok(())
}

/// How the report calls the judge's opinion.
const JUDGE: &str = "the judge is content";

/// What noticed.
struct Notice {
    scenario: String,
    /// The expectation that did not hold, and what there was instead.
    name: String,
    found: String,
    /// What the judge says, if it is not content.
    judge: Option<String>,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Notice { scenario, name, found, judge } = self;
        write!(f, "`{scenario}`: \"{name}\" does not hold: {found}")?;
        match judge {
            Some(judge) => write!(f, "; the judge: {judge}"),
            None => Ok(()),
        }
    }
}

/// What is read of the report of a run.
#[derive(Deserialize)]
struct Report {
    expectations: Vec<Expectation>,
}

#[derive(Deserialize)]
struct Expectation {
    name: String,
    held: bool,
    found: String,
}

impl Scratch {
    /// Breaks something, runs the scenarios, and mends it.
    fn notice_of(&self, broken: &Break) -> Result<Option<Notice>> {
        let Break { file, from, to, .. } = broken;
        let source = self.shell.read_file(file)?;
        let times = source.matches(from).count();
        ensure!(times == 1, "{file}: `{from}` stands there {times} times, and not once; change the list of breaks");
        self.shell.write_file(file, source.replacen(from, to, 1))?;
        let notice = self.first_notice();
        self.shell.write_file(file, source)?;
        notice
    }

    /// The first scenario that does not hold.
    fn first_notice(&self) -> Result<Option<Notice>> {
        workspace::cargo(&self.shell)
            .args(["build", "--quiet", "--locked", "--package", "gicv5", "--bin", "gicv5", "--target-dir"])
            .arg(&self.target)
            .run()?;
        let program = self.target.join("debug/gicv5");
        let mut scenarios = self.shell.read_dir(self.root.join("scenarios"))?;
        scenarios.retain(|file| file.extension().is_some_and(|end| end == "toml"));
        ensure!(!scenarios.is_empty(), "there are no scenarios");
        // The largest last: most is noticed by the small ones.
        scenarios.sort_by_key(|file| (file.ends_with("thousand-vms.toml"), file.clone()));
        for file in scenarios {
            let name = file.strip_prefix(&self.root).unwrap_or(&file).display().to_string();
            let output = cmd!(self.shell, "{program} run {file} --json").quiet().ignore_status().output()?;
            match output.status.code() {
                Some(0) => {}
                Some(1) => {
                    let report: Report = serde_json::from_slice(&output.stdout).context("the report of a run")?;
                    let mut missed = report.expectations.into_iter().filter(|expectation| !expectation.held);
                    let first = missed.next().context("exit status 1 without a reason")?;
                    let judge = missed.find(|expectation| expectation.name == JUDGE).map(|judge| judge.found);
                    return Ok(Some(Notice { scenario: name, name: first.name, found: first.found, judge }));
                }
                other => eprintln!("{name} ends with {other:?}, which does not count"),
            }
        }
        Ok(None)
    }

    fn write_page(&self, rows: &str) -> Result<()> {
        let page = format!(
            "# What `gicv5 run` notices\n\n\
             Made by `cargo xtask break-run --write`. In each line one thing is broken on purpose, in a copy of the sources; the\n\
             last column is the first scenario that notices, and what it says. The chore fails if nobody notices. The tests do the\n\
             same with streams of events in which deliveries are left out, doubled, misdirected or out of order.\n\n\
             | | part | what is broken | who notices |\n|---|---|---|---|\n{rows}"
        );
        Ok(self.shell.write_file(workspace::root()?.join(PAGE), page)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_break_changes_a_text_that_stands_in_the_sources_once() {
        let root = workspace::root().unwrap();
        for Break { what, file, from, to, .. } in BREAKS {
            let source = std::fs::read_to_string(root.join(file)).unwrap();
            assert_eq!(source.matches(from).count(), 1, "{what}");
            assert_ne!(from, to, "{what}");
        }
        assert!(BREAKS.len() >= 10);
    }
}
