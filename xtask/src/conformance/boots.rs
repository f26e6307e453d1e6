//! Boots that are not about the tests: the project's drivers on the machine, and the places and accidents that the image must
//! report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gicv5_qtest::installation::Installation;

use super::image::{Boot, End, Machine, Start};

/// One boot, and what must come of it.
pub(super) struct Case {
    /// What it is about.
    pub(super) name: &'static str,
    pes: u16,
    machine: &'static str,
    memory: &'static str,
    start: Start,
    /// A name in QEMU's device tree that is replaced by another one.
    renamed: Option<&'static str>,
    arguments: &'static str,
    patience: u64,
    semihosting: bool,
    /// What is printed, among other lines and in this order.
    lines: &'static [&'static str],
    /// What must not be printed.
    never: Option<&'static str>,
    end: End,
}

const GICV5: &str = "virt,gic-version=x-5";

/// QEMU has no EL2 beside a GICv5; what the image does at EL2 shows beside a GICv3.
const EL2: &str = "virt,gic-version=3,virtualization=on";

const ORDINARY: Case = Case {
    name: "",
    pes: 1,
    machine: GICV5,
    memory: "64",
    start: Start::AsKernel,
    renamed: None,
    arguments: "",
    patience: 60,
    semihosting: true,
    lines: &[],
    never: None,
    end: End::Exited(UNSUITABLE),
};

/// The image's exit status where the suite cannot run.
const UNSUITABLE: i32 = 2;
/// The image's exit status if something happened that no test accounts for.
const BROKEN: i32 = 3;

/// The boots.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "drivers, 1 PE",
        arguments: "drivers",
        lines: &[
            "gicv5-phys: the IRS and 1 PEs are up",
            "gicv5-phys: every PE took LPI 1 with its cookie",
            "gicv5-phys: every PE took an IPI",
            "gicv5-phys: every PE took the PPI of its timer",
            "gicv5-phys: PE 0 took SPI 1 of a device, level-sensitive",
            "gicv5-hyp: IRS 0 has no virtualisation: IRS_IDR0 reads 0x1d",
            "gicv5-phys: everything is down and given back",
        ],
        end: End::Exited(0),
        ..ORDINARY
    },
    Case {
        name: "drivers, 4 PEs",
        pes: 4,
        arguments: "drivers",
        lines: &[
            "gicv5-phys: the IRS and 4 PEs are up",
            "gicv5-phys: every PE took an IPI",
            "gicv5-hyp: IRS 0 has no virtualisation: IRS_IDR0 reads 0x1d",
            "gicv5-phys: everything is down and given back",
        ],
        end: End::Exited(0),
        ..ORDINARY
    },
    Case {
        name: "no GICv5 in the device tree",
        renamed: Some("arm,gic-v5-irs"),
        lines: &["cannot run: no node of the device tree is compatible with arm,gic-v5-irs"],
        ..ORDINARY
    },
    Case {
        name: "no device tree",
        start: Start::WithoutTree,
        lines: &["cannot run: there is no device tree at the address in x0"],
        ..ORDINARY
    },
    Case {
        name: "no UART in the device tree",
        renamed: Some("arm,pl011"),
        lines: &["cannot run: no node of the device tree below 1 GiB is compatible with arm,pl011"],
        ..ORDINARY
    },
    Case {
        name: "a GICv3",
        machine: "virt,gic-version=3",
        lines: &["at EL1", "cannot run: the device tree describes an older interrupt controller"],
        ..ORDINARY
    },
    Case {
        name: "a GICv3, at EL2",
        machine: EL2,
        lines: &["at EL2", "cannot run: the device tree describes an older interrupt controller"],
        ..ORDINARY
    },
    // The device tree then names a UART of the Secure world first, which is disabled, and so is other RAM.
    Case {
        name: "a GICv3, below a Secure world",
        machine: "virt,gic-version=3,secure=on",
        lines: &["at EL1", "cannot run: the device tree describes an older interrupt controller"],
        ..ORDINARY
    },
    Case {
        name: "too little RAM",
        memory: "8",
        lines: &["KiB of free RAM behind the image", "cannot run: too little RAM"],
        ..ORDINARY
    },
    Case {
        name: "PE 0 hangs, and another PE says so",
        pes: 2,
        arguments: "patience=1 provoke=hang",
        lines: &["provoked::hang ...", "PE 0 hangs in provoked::hang"],
        end: End::Exited(BROKEN),
        ..ORDINARY
    },
    Case {
        name: "the only PE hangs, and whoever looks on says so",
        arguments: "provoke=hang",
        patience: 10,
        lines: &["provoked::hang ..."],
        end: End::Hung,
        ..ORDINARY
    },
    Case {
        name: "another PE hangs",
        pes: 2,
        arguments: "patience=1 provoke=silence",
        lines: &["PE 1 does not come back from its work"],
        end: End::Exited(BROKEN),
        ..ORDINARY
    },
    // The call of semihosting is an exception then, in the middle of work that comes back from one.
    Case {
        name: "another PE hangs, without semihosting",
        pes: 2,
        arguments: "patience=1 provoke=silence",
        semihosting: false,
        lines: &["PE 1 does not come back from its work"],
        never: Some("cannot run"),
        end: End::Exited(0),
        ..ORDINARY
    },
    Case {
        name: "an exception outside of any test",
        arguments: "provoke=exception",
        lines: &["outside of any test: unexpected exception: ESR 0x2000000, ELR 0x402"],
        end: End::Exited(BROKEN),
        ..ORDINARY
    },
    Case {
        name: "guests at EL1 below the image at EL2, 4 PEs",
        pes: 4,
        machine: EL2,
        arguments: "provoke=guest",
        lines: &[
            "at EL2",
            "PE 0: 1000 guests ran at EL1, each on its own stack, and what they wrote is there",
            "PE 0: a guest executes an instruction that does not exist: ESR 0x2000000, ELR 0x402",
            "PE 0: a guest reads where nothing is: ESR 0x96000005",
            "PE 0: a guest makes a call that nobody offers: ESR 0x5a00004d, ELR 0x402",
            "PE 0: a guest takes an SError: ESR 0xbe",
            "PE 0: a guest takes an interrupt that it should mask: ESR 0x5a000002, ELR 0x402",
            "PE 0: a virtual interrupt is pending at EL1, and not at EL2",
            "PE 0: 20 guests went on after a physical interrupt, which was pending when they had ended",
            "PE 0: 1000 more guests ran after all that",
            "PE 1: 1000 more guests ran after all that",
            "PE 2: 1000 more guests ran after all that",
            "PE 3: 1000 more guests ran after all that",
        ],
        end: End::Exited(0),
        ..ORDINARY
    },
    Case {
        name: "guests below a Secure world",
        machine: "virt,gic-version=3,virtualization=on,secure=on",
        arguments: "provoke=guest",
        lines: &["at EL2", "PE 0: 1000 more guests ran after all that"],
        end: End::Exited(0),
        ..ORDINARY
    },
    Case {
        name: "a guest hangs, and another PE says so",
        pes: 2,
        machine: EL2,
        arguments: "patience=1 provoke=guest-hang",
        lines: &["provoked::guest_hang ...", "PE 0 hangs in provoked::guest_hang"],
        end: End::Exited(BROKEN),
        ..ORDINARY
    },
    Case {
        name: "guests at EL1",
        arguments: "provoke=guest",
        lines: &["at EL1", "cannot run: guests need EL2"],
        ..ORDINARY
    },
];

/// Runs a boot. An error says what did not come of it.
pub(super) fn check(installation: &Installation, image: &[u8], case: &Case) -> Result<()> {
    let machine = Machine::new(installation, image, case.pes)?;
    let tree = case.renamed.map(|name| Tree::without(installation, name)).transpose()?;
    let boot = Boot {
        start: case.start,
        machine: case.machine,
        memory: case.memory,
        tree: tree.as_ref().map(|tree| tree.theirs.as_path()),
        arguments: case.arguments,
        patience: Duration::from_secs(case.patience),
        semihosting: case.semihosting,
        ..Boot::GICV5
    };
    let mut lines = Vec::new();
    let (end, words) = machine.run(boot, |line| lines.push(line.to_owned()))?;
    // What the image says by semihosting comes among the emulator's words.
    lines.extend(words.lines().map(str::to_owned));
    judge(case, &lines, &end).with_context(|| format!("{}: QEMU said {words:?}, the image {lines:#?}", case.name))
}

/// Whether what was printed and how it ended is what the case wants.
fn judge(case: &Case, lines: &[String], end: &End) -> Result<()> {
    let mut rest = lines.iter();
    for wanted in case.lines {
        ensure!(rest.any(|line| line.contains(wanted)), "there is no line {wanted:?}, or not in its place");
    }
    if let Some(unwanted) = case.never {
        ensure!(!lines.iter().any(|line| line.contains(unwanted)), "there is a line {unwanted:?}");
    }
    ensure!(*end == case.end, "it {end}; it should have been: {}", case.end);
    Ok(())
}

/// A device tree in the folder that QEMU sees.
struct Tree {
    ours: PathBuf,
    theirs: PathBuf,
}

impl Tree {
    /// QEMU's own, in which nothing has this name.
    fn without(installation: &Installation, name: &str) -> Result<Tree> {
        let from = name;
        let (ours, theirs) = installation.shared();
        let name = format!("gicv5-conformance-{}.dtb", std::process::id());
        let tree = Tree { ours: ours.join(&name), theirs: theirs.join(name) };
        let dumped = installation
            .command()
            .args(["-cpu", "max", "-display", "none", "-M"])
            .arg(format!("{GICV5},dumpdtb={}", tree.theirs.display()))
            .output()
            .context("cannot start QEMU")?;
        ensure!(dumped.status.success(), "QEMU writes no device tree: {}", String::from_utf8_lossy(&dumped.stderr));
        let mut bytes = read(&tree.ours)?;
        ensure!(rename(&mut bytes, from.as_bytes()) != 0, "QEMU's device tree has no {from}");
        pack(&mut bytes).context("QEMU's device tree has no header")?;
        std::fs::write(&tree.ours, bytes).with_context(|| format!("cannot write {}", tree.ours.display()))?;
        Ok(tree)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ours);
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Cuts off what a flattened device tree has behind its last block. QEMU fills its own up to 1 MiB and doubles what it is given,
/// which is more than the boot protocol allows.
fn pack(bytes: &mut Vec<u8>) -> Option<()> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    // Offset and size of the structure block, and of the strings.
    let (structure, strings) = (word(8)?.checked_add(word(36)?)?, word(12)?.checked_add(word(32)?)?);
    let size = structure.max(strings);
    bytes.truncate(size as usize);
    bytes.get_mut(4..8)?.copy_from_slice(&size.to_be_bytes());
    Some(())
}

/// Replaces a text by as many `x`, and says how often.
fn rename(bytes: &mut [u8], from: &[u8]) -> usize {
    let mut count = 0;
    for at in 0..(bytes.len() + 1).saturating_sub(from.len()) {
        if let Some(place) = bytes.get_mut(at..at + from.len())
            && place == from
        {
            place.fill(b'x');
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_that_says_or_ends_otherwise_is_an_error() {
        let case = Case { lines: &["one", "two"], end: End::Exited(3), ..ORDINARY };
        let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(judge(&case, &lines(&["a one", "", "two b"]), &End::Exited(3)).is_ok());
        assert!(judge(&case, &lines(&["two", "one"]), &End::Exited(3)).is_err());
        assert!(judge(&case, &lines(&["one", "two"]), &End::Exited(0)).is_err());
        assert!(judge(&case, &lines(&["one", "two"]), &End::Hung).is_err());
        assert!(judge(&case, &lines(&["one"]), &End::Exited(3)).is_err());
        let case = Case { never: Some("three"), ..case };
        assert!(judge(&case, &lines(&["one", "two"]), &End::Exited(3)).is_ok());
        assert!(judge(&case, &lines(&["one", "two", "a three"]), &End::Exited(3)).is_err());
    }

    #[test]
    fn a_device_tree_ends_where_its_last_block_does() {
        let mut tree = vec![0; 100];
        for (at, value) in [(4, 100_u32), (8, 40), (12, 48), (32, 5), (36, 8)] {
            tree[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        assert_eq!(pack(&mut tree), Some(()));
        assert_eq!((tree.len(), &tree[4..8]), (53, &53_u32.to_be_bytes()[..]));
        assert_eq!(pack(&mut vec![0; 10]), None);
    }

    #[test]
    fn a_name_is_replaced_wherever_it_is() {
        let mut bytes = *b"--abc--abc";
        assert_eq!(rename(&mut bytes, b"abc"), 2);
        assert_eq!(&bytes, b"--xxx--xxx");
        assert_eq!(rename(&mut bytes, b"abc"), 0);
        assert_eq!(rename(&mut [], b"abc"), 0);
    }
}
