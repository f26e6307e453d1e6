//! What the hypervisor's library costs, in instructions, on hardware that does nothing (`crates/gicv5-hyp/examples/cost.rs`).

use anyhow::{Result, bail};
use xshell::Shell;

use crate::bench::{instructions, target_folder};
use crate::workspace;

/// A workload, what one round of it may cost at most, and how many rounds are few and many.
struct Workload {
    name: &'static str,
    arguments: &'static [&'static str],
    ceiling: u64,
    rounds: (u64, u64),
}

const OFTEN: (u64, u64) = (1_000, 11_000);
const SELDOM: (u64, u64) = (4, 12);

const WORKLOADS: [Workload; 8] = [
    Workload { name: "init and teardown, 1 vCPU", arguments: &["life", "1"], ceiling: 8_000, rounds: OFTEN },
    Workload { name: "init and teardown, 8 vCPUs", arguments: &["life", "8"], ceiling: 30_000, rounds: OFTEN },
    Workload { name: "init and teardown, 512 vCPUs", arguments: &["life", "512"], ceiling: 1_600_000, rounds: SELDOM },
    Workload { name: "the same, 1 vCPU, 10 other VMs", arguments: &["vms", "10"], ceiling: 8_000, rounds: OFTEN },
    Workload { name: "the same, 65 000 other VMs", arguments: &["vms", "65000"], ceiling: 8_000, rounds: OFTEN },
    Workload { name: "load and put", arguments: &["run"], ceiling: 1_000, rounds: OFTEN },
    Workload { name: "load, sleep, doorbell", arguments: &["sleep"], ceiling: 1_400, rounds: OFTEN },
    Workload { name: "inject", arguments: &["inject"], ceiling: 100, rounds: OFTEN },
];

/// The most that a vCPU may cost in a VM with many, and a VM among many, as a multiple of one in a VM or host with few.
const SPREAD_PERCENT: u64 = 130;

pub(crate) fn run(shell: &Shell) -> Result<()> {
    workspace::cargo(shell)
        .args(["build", "--quiet", "--release", "--locked", "--package", "gicv5-hyp", "--example", "cost"])
        .run()?;
    let program = target_folder(shell)?.join("release/examples/cost");
    println!("the hypervisor's library, without hardware:");
    let mut costs = Vec::new();
    for Workload { name, arguments, ceiling, rounds: (few, many) } in WORKLOADS {
        let cost = instructions(shell, &program, arguments, few, many)?;
        println!("{cost:>9}  {name} (at most {ceiling})");
        if cost > ceiling {
            bail!("{name} costs {cost} instructions, at most {ceiling} are allowed");
        }
        costs.push(cost);
    }
    let [one, eight, many, few_vms, many_vms, ..] = costs[..] else { bail!("a workload is missing") };
    let flat = |what: &str, less: u64, more: u64| match more * 100 > less * SPREAD_PERCENT {
        true => bail!("{what} costs {less} instructions where there are few, {more} where there are many"),
        false => Ok(()),
    };
    flat("a vCPU", (eight - one) / 7, (many - one) / 511)?;
    flat("a VM", few_vms, many_vms)
}
