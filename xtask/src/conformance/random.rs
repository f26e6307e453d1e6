//! Random programs on QEMU and on the model.
//!
//! Each machine prints a digest of the answers of each program. Where the digests differ, the program is run again with every
//! answer, and shortened: operations are left out as long as the same operation goes on answering differently.

use anyhow::{Context, Result, ensure};
use gicv5_random::shrink;
use xshell::Shell;

use super::image::{Boot, End, Machine};
use crate::workspace;

/// Programs of one boot.
const PROGRAMS: u64 = 250;

/// Shortened programs that may be tried, a boot each.
const SHRINK_BUDGET: usize = 120;

/// Programs to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) count: u64,
    pub(super) length: u64,
    pub(super) pes: u16,
    /// Whether they do what QEMU is known to do wrong, too.
    pub(super) everything: bool,
}

/// A program whose answers differ.
pub(super) struct Difference {
    pub(super) seed: u64,
    /// The shortest program that shows it, with the model's answer and QEMU's to the last operation.
    pub(super) shown: Vec<String>,
}

/// Operations in a shortened program at most that only shows what is known: what is known takes one or two, and one to see it.
const FEW: usize = 6;

impl Difference {
    /// Whether the program shows what QEMU is known to do wrong with SPIs (`spi-disable-enables`,
    /// `spi-clear-pending-sets`), and little else.
    pub(super) fn is_known(&self) -> bool {
        // An SPI's INTID has 3 in bits 31 to 29. Bit 32 of CDPEND's operand is the new state of Pending.
        let known = |line: &String| ["GIC CDDIS 0x6", "GIC CDPEND 0x6"].iter().any(|text| line.contains(text));
        let operations = self.shown.len().saturating_sub(1);
        operations <= FEW && self.shown.iter().take(operations).any(known)
    }
}

/// Runs the programs on both.
pub(super) fn compare(
    shell: &Shell,
    machine: &Machine<'_>,
    plan: Plan,
    progress: impl Fn(&str),
) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    let end = plan.seed + plan.count;
    for seed in (plan.seed..end).step_by(PROGRAMS as usize) {
        let part = Plan { seed, count: PROGRAMS.min(end - seed), ..plan };
        progress(&format!("{} PEs: random programs from {seed}", plan.pes));
        let model = digests(&on_the_model(shell, part, None)?);
        let qemu = digests(&on_qemu(machine, part, None)?);
        ensure!(model.len() as u64 == part.count, "the model ran {} of {} programs", model.len(), part.count);
        ensure!(qemu.len() as u64 == part.count, "QEMU ran {} of {} programs from {seed}", qemu.len(), part.count);
        for ((seed, ours), (other, theirs)) in model.iter().zip(&qemu) {
            ensure!(seed == other, "programs {seed} and {other} at one place");
            if ours != theirs {
                let part = Plan { seed: *seed, count: 1, ..plan };
                progress(&format!("{} PEs: shortening program {seed}", plan.pes));
                differences.push(shortened(shell, machine, part)?);
            }
        }
    }
    Ok(differences)
}

/// Seeds and digests.
fn digests(lines: &[String]) -> Vec<(u64, String)> {
    let digest = |line: &String| {
        let (seed, digest) = line.strip_prefix("program ")?.split_once(' ')?;
        Some((seed.parse().ok()?, digest.to_owned()))
    };
    lines.iter().filter_map(digest).collect()
}

/// Which operations to keep, as a list of numbers.
fn list(keep: &[usize]) -> String {
    keep.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn on_the_model(shell: &Shell, plan: Plan, keep: Option<&[usize]>) -> Result<Vec<String>> {
    let Plan { seed, count, length, pes, everything } = plan;
    let mut run = workspace::cargo(shell)
        .args(["run", "--quiet", "--locked", "--package", "gicv5", "--", "conformance", "--machine", "qemu-11.1"])
        .args(["--random", &count.to_string(), "--seed", &seed.to_string(), "--length", &length.to_string()])
        .args(["--pes", &pes.to_string()])
        .args(everything.then_some("--everything"));
    if let Some(keep) = keep {
        run = run.args(["--trace", "--keep", &list(keep)]);
    }
    let text = run.quiet().read().context("random programs on the model")?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn on_qemu(machine: &Machine<'_>, plan: Plan, keep: Option<&[usize]>) -> Result<Vec<String>> {
    let Plan { seed, count, length, everything, .. } = plan;
    let mut arguments = format!("random={seed},{count},{length}");
    if everything {
        arguments += " everything";
    }
    if let Some(keep) = keep {
        arguments += &format!(" keep={}", list(keep));
    }
    let mut lines = Vec::new();
    let (end, words) =
        machine.run(Boot { arguments: &arguments, ..Boot::IN_TURN }, |line| lines.push(line.to_owned()))?;
    ensure!(matches!(end, End::Exited(0)), "random programs: QEMU {end}: {words} {:?}", lines.last());
    // The first lines are about the machine.
    Ok(lines.into_iter().filter(|line| line.starts_with("program ") || line.contains(" -> ")).collect())
}

/// The first operation that is answered differently: its number, and both lines.
fn first_difference(
    shell: &Shell,
    machine: &Machine<'_>,
    plan: Plan,
    keep: &[usize],
) -> Result<Option<(usize, Vec<String>)>> {
    let model = on_the_model(shell, plan, Some(keep))?;
    let qemu = on_qemu(machine, plan, Some(keep))?;
    let number = |line: &str| line.split(' ').next().and_then(|number| number.parse::<usize>().ok());
    for (n, (ours, theirs)) in model.iter().zip(&qemu).enumerate() {
        if ours != theirs {
            let mut shown: Vec<String> = model.iter().take(n + 1).cloned().collect();
            shown.push(format!("QEMU: {theirs}"));
            return Ok(number(ours).map(|number| (number, shown)));
        }
    }
    Ok(None)
}

fn shortened(shell: &Shell, machine: &Machine<'_>, plan: Plan) -> Result<Difference> {
    let all: Vec<usize> = (0..usize::try_from(plan.length)?).collect();
    let (last, mut shown) = first_difference(shell, machine, plan, &all)?
        .with_context(|| format!("program {} differs once only", plan.seed))?;
    let before: Vec<usize> = (0..=last).collect();
    shrink(
        &before,
        SHRINK_BUDGET,
        |_| Vec::new(),
        |candidate| {
            // An empty list means all operations to both machines.
            if candidate.is_empty() {
                return Ok(false);
            }
            let found = first_difference(shell, machine, plan, candidate)?.filter(|(number, _)| *number == last);
            anyhow::Ok(found.map(|(_, lines)| shown = lines).is_some())
        },
    )?;
    Ok(Difference { seed: plan.seed, shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_program_about_an_spi_that_is_disabled_or_cleared_is_known() {
        let shown = |lines: &[&str]| Difference { seed: 0, shown: lines.iter().map(ToString::to_string).collect() };
        let qemu = "QEMU: 9 PE 0: configuration of 0x60000005 -> 0x1 irq 0 hppi 0x0";
        assert!(shown(&["7 PE 0: GIC CDDIS 0x60000005 -> 0x0 irq 0 hppi 0x0", "9 ...", qemu]).is_known());
        assert!(shown(&["7 PE 0: GIC CDPEND 0x60000005 -> 0x0 irq 0 hppi 0x0", qemu]).is_known());
        assert!(!shown(&["7 PE 0: GIC CDPEND 0x160000005 -> 0x0 irq 0 hppi 0x0", qemu]).is_known());
        assert!(!shown(&["7 PE 0: GIC CDDIS 0x40000005 -> 0x0 irq 0 hppi 0x0", qemu]).is_known());
        assert!(!shown(&[qemu; 20]).is_known());
        assert!(!shown(&["9 PE 0: GIC CDEOI -> 0x0 irq 0", "QEMU: 9 PE 0: GIC CDDIS 0x60000005"]).is_known());
    }

    #[test]
    fn digests_are_found_among_other_lines() {
        let lines: Vec<String> =
            ["PEs 2", "program 7 00ff", "program 8 ends: the bench has no x left"].map(Into::into).into();
        let found = digests(&lines);
        assert_eq!(found.first(), Some(&(7, "00ff".to_owned())));
        // An error is a digest that agrees with no other.
        assert_eq!(found.len(), 2);
        assert_eq!(list(&[0, 3, 4]), "0,3,4");
    }
}
