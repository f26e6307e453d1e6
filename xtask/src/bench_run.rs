//! What `gicv5 run` costs: instructions for each event, with few VMs and with many.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::bench::{built, collected};

/// VMs of the scenario, fewest first.
const VMS: [u32; 3] = [1, 64, 4_096];

/// When interrupts begin: all VMs have been made.
const BEGIN_MS: u32 = 200;

/// For how long they come, in the shorter run and in the longer.
const LASTING_MS: [u32; 2] = [10, 20];

/// The most instructions that an event may take.
const EVENT_CEILING: u64 = 10_000;

/// The most that an event may cost with some number of VMs, as a multiple of what it costs with another, in per cent.
const SPREAD_PERCENT: u64 = 200;

pub(crate) fn run(shell: &Shell) -> Result<Vec<String>> {
    let program = built(shell, &["--package", "gicv5", "--bin", "gicv5"], "gicv5")?;
    let folder = shell.create_temp_dir()?;
    println!("gicv5 run, with interrupts for one VM after the other on four PEs:");
    println!("{:>9}  {:>22}  {:>12}", "VMs", "instructions per event", "of the whole run");
    let mut costs = Vec::new();
    for vms in VMS {
        let mut runs = Vec::new();
        for lasting in LASTING_MS {
            let path = folder.path().join(format!("{vms}-{lasting}.toml"));
            std::fs::write(&path, scenario(vms, lasting))?;
            runs.push((instructions(shell, &program, &path)?, events(shell, &program, &path)?));
        }
        let [short, long] = runs[..] else { continue };
        // What the VMs take to be made and unmade is the same in both.
        let cost = (long.0.saturating_sub(short.0)) / (long.1.saturating_sub(short.1)).max(1);
        ensure!(cost > 0, "the run with more events took no more instructions");
        println!("{vms:>9}  {cost:>22}  {:>12}", long.0 / long.1.max(1));
        costs.push(cost);
    }
    let cheapest = costs.iter().copied().min().unwrap_or(0);
    let dearest = costs.iter().copied().max().unwrap_or(0);
    if dearest > EVENT_CEILING || dearest * 100 > cheapest * SPREAD_PERCENT {
        return Ok(vec![format!(
            "gicv5 run: {cheapest} to {dearest} instructions for an event; at most {EVENT_CEILING} and a spread of \
             {SPREAD_PERCENT} % are allowed"
        )]);
    }
    Ok(Vec::new())
}

/// VMs with one vCPU each, which sleep until an interrupt comes; for the last so many milliseconds one comes each
/// 10 us, seldom enough that a single one sleeps in between.
fn scenario(vms: u32, lasting: u32) -> String {
    let duration = BEGIN_MS + lasting;
    let lpis = vms + 64;
    format!(
        r#"title = "{vms} VMs"
duration = "{duration}ms"

[machine]
pes = 4
vms = {vms}
lpis = {lpis}

[[vm]]
name = "guest"
count = {vms}
lpi-id-bits = 4
program = ["wait", "run 1us", "again"]

[[vm.interrupt]]
id = "LPI 1"
handler = ["run 1us"]

[[source]]
interrupt = "guest LPI 1"
about = "10us"
from = "{BEGIN_MS}ms"
"#
    )
}

fn instructions(shell: &Shell, program: &Path, scenario: &Path) -> Result<u64> {
    let output =
        cmd!(shell, "valgrind --tool=callgrind --callgrind-out-file=/dev/null {program} run --json {scenario}")
            .quiet()
            .ignore_stdout()
            .read_stderr()?;
    collected(&output).with_context(|| format!("valgrind printed no count:\n{output}"))
}

fn events(shell: &Shell, program: &Path, scenario: &Path) -> Result<u64> {
    let document = cmd!(shell, "{program} run --json {scenario}").quiet().read()?;
    let document: serde_json::Value = serde_json::from_str(&document)?;
    let events = document.get("events").and_then(serde_json::Value::as_u64);
    events.context("gicv5 run counts no events")
}
