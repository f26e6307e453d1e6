//! What the hypervisor's library costs, in instructions (`crates/gicv5-hyp/examples/cost`): by itself, on hardware that does
//! nothing, and with the model.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::bench::{built, instructions};

/// A workload, and what one round of it may cost at most.
struct Workload {
    name: &'static str,
    /// What the program is told: a workload, and a number of vCPUs or VMs.
    arguments: [&'static str; 2],
    /// Rounds, on hardware that does nothing and on the model.
    rounds: [u64; 2],
    /// Instructions, on hardware that does nothing and on the model.
    ceilings: [u64; 2],
    /// A round does it so many times.
    times: u64,
}

const fn workload(
    name: &'static str,
    arguments: [&'static str; 2],
    rounds: [u64; 2],
    ceilings: [u64; 2],
    times: u64,
) -> Workload {
    Workload { name, arguments, rounds, ceilings, times }
}

const OFTEN: [u64; 2] = [10_000, 1_000];
/// Of a VM with one vCPU.
const LIFE: [u64; 2] = [6_000, 60_000];

const WORKLOADS: [Workload; 13] = [
    workload("init and teardown, 1 vCPU", ["life", "1"], OFTEN, LIFE, 1),
    workload("init and teardown, 8 vCPUs", ["life", "8"], [1_000, 100], [15_500, 210_000], 1),
    workload("init and teardown, 512 vCPUs", ["life", "512"], [10, 2], [700_000, 12_500_000], 1),
    workload("init and teardown, 1 vCPU, among 10 other VMs", ["crowd", "10"], OFTEN, LIFE, 1),
    workload("init and teardown, 1 vCPU, among 4 096 other VMs", ["crowd", "4096"], OFTEN, LIFE, 1),
    workload("each of 16 VMs made and unmade", ["everybody", "16"], [100, 10], LIFE, 16),
    workload("each of 65 536 VMs made and unmade", ["everybody", "65536"], [1, 1], LIFE, 65_536),
    workload("load", ["load", "1"], OFTEN, [280, 16_000], 1),
    workload("put", ["put", "1"], OFTEN, [240, 8_000], 1),
    workload("put to sleep", ["idle", "1"], OFTEN, [450, 9_000], 1),
    workload("doorbell to whom to wake", ["doorbell", "1"], OFTEN, [80, 80], 1),
    workload("inject", ["inject", "1"], OFTEN, [56, 2_500], 1),
    workload("and its completion", ["complete", "1"], OFTEN, [20, 500], 1),
];

/// vCPUs of the VMs with which everything is done that takes a lock.
const LOCKS: [&str; 2] = ["1", "64"];

/// The most instructions that may be executed while a lock is held, whatever the number of vCPUs.
const LOCK_CEILING: u64 = 4_000;

/// The most bytes of heap that a VM with one vCPU may take, its handle included and its tables not.
const HEAP_CEILING: u64 = 511;

/// The most that a vCPU may cost in a VM with many, and a VM among many, as a multiple of one in a VM or host with few.
const SPREAD_PERCENT: u64 = 130;

pub(crate) fn run(shell: &Shell) -> Result<Vec<String>> {
    let program = built(shell, &["--package", "gicv5-hyp", "--example", "cost"], "examples/cost")?;
    let mut missed = Vec::new();
    for (argument, name) in [("nothing", "hardware that does nothing"), ("model", "the model")] {
        let pick = |[nothing, model]: [u64; 2]| if argument == "nothing" { nothing } else { model };
        println!("the hypervisor's library on {name}, instructions:");
        let mut costs = Vec::new();
        for workload in &WORKLOADS {
            let [what, n] = workload.arguments;
            let (rounds, ceiling) = (pick(workload.rounds), pick(workload.ceilings));
            let cost = instructions(shell, &program, &[argument, what, n], rounds)?.div_ceil(workload.times);
            println!("{cost:>9}  {} (at most {ceiling})", workload.name);
            if cost > ceiling {
                missed.push(format!(
                    "{} costs {cost} instructions on {name}, at most {ceiling} are allowed",
                    workload.name
                ));
            }
            costs.push(cost);
        }
        missed.extend(steep(&costs, name));
    }
    let bytes: u64 = cmd!(shell, "{program} nothing heap 65536").quiet().read()?.parse()?;
    println!("{bytes} bytes of heap for each of 65 536 VMs with 1 vCPU (at most {HEAP_CEILING})");
    if bytes > HEAP_CEILING {
        missed.push(format!("a VM with one vCPU takes {bytes} bytes of heap, at most {HEAP_CEILING} are allowed"));
    }
    println!("instructions while a lock is held, the longest of all times:");
    for vcpus in LOCKS {
        let (longest, times) = longest_lock(shell, &program, vcpus)?;
        println!("{longest:>9}  VMs with {vcpus} vCPUs, of {times} times (at most {LOCK_CEILING})");
        if longest > LOCK_CEILING {
            missed.push(format!("a lock is held for {longest} instructions with {vcpus} vCPUs"));
        }
    }
    println!("register accesses of a VM with 8 vCPUs:");
    println!("{}", cmd!(shell, "{program} model accesses 8").quiet().read()?);
    Ok(missed)
}

/// What costs more where there are many than where there are few.
fn steep(costs: &[u64], hardware: &str) -> Vec<String> {
    let [one, eight, many, in_few, in_many, of_few, of_many, ..] = costs[..] else {
        return vec!["a workload is missing".to_owned()];
    };
    let pairs = [
        ("a further vCPU", eight.saturating_sub(one) / 7, many.saturating_sub(one) / 511),
        ("a VM", in_few, in_many),
        ("each of many VMs", of_few, of_many),
    ];
    let steep = pairs.into_iter().filter(|(_, less, more)| more * 100 > less * SPREAD_PERCENT);
    steep
        .map(|(what, less, more)| {
            format!("{what} costs {less} instructions on {hardware} where there are few, {more} where there are many")
        })
        .collect()
}

/// The most instructions between the entry of `taken` and the return of `held`, and how many times a lock was taken.
fn longest_lock(shell: &Shell, program: &Path, vcpus: &str) -> Result<(u64, u64)> {
    let folder = shell.create_temp_dir()?;
    let dumps = folder.path().join("dump");
    // A dump each time that a lock is let go, of what was executed since it was taken.
    let times = cmd!(
        shell,
        "valgrind --quiet --tool=callgrind --callgrind-out-file={dumps} --zero-before=*::taken* --dump-after=*::held* {program} nothing locks {vcpus}"
    )
    .quiet()
    .read()?;
    let times: u64 = times.parse()?;
    let mut found = Vec::new();
    for file in fs::read_dir(folder.path())? {
        found.extend(held(&fs::read_to_string(file?.path())?));
    }
    anyhow::ensure!(found.len() as u64 == times, "{times} locks were taken, and valgrind saw {}", found.len());
    Ok((found.into_iter().max().context("no lock was taken")?, times))
}

/// The instructions of a dump, if it was made because a lock was let go.
fn held(dump: &str) -> Option<u64> {
    dump.lines().find(|line| line.starts_with("desc: Trigger: --dump-after="))?;
    dump.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_counts_if_a_lock_was_let_go_and_not_at_the_end_of_the_program() {
        let dump =
            |trigger: &str| format!("version: 1\ndesc: Trigger: {trigger}\nevents: Ir\nsummary: 115\ntotals: 115\n");
        assert_eq!(held(&dump("--dump-after=cost::held")), Some(115));
        assert_eq!(held(&dump("Program termination")), None);
    }

    #[test]
    fn what_costs_more_among_many_is_named() {
        let flat = [1_000, 8_000, 512_000, 1_000, 1_100, 1_000, 1_200];
        assert!(steep(&flat, "the model").is_empty());
        let mut costs = flat;
        costs[6] = 1_301;
        assert_eq!(
            steep(&costs, "the model"),
            ["each of many VMs costs 1000 instructions on the model where there are few, 1301 where there are many"]
        );
        costs[2] = 1_000_000;
        assert_eq!(steep(&costs, "the model").len(), 2);
    }
}
