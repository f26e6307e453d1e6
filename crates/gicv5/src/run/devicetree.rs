//! The machine as a device tree describes it: its PEs, and whether the IRS sees their caches.
//!
//! What is looked for is the node of the IRS (`arm,gic-v5-irs`): `arm,iaffids` has the affinity ID of each of its PEs, and
//! `dma-noncoherent` says that it does not see their caches.

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};

/// As many PEs as a scenario may have.
const MOST_PES: usize = 256;

/// A device tree is no larger.
pub(super) const LONGEST: u64 = 1 << 20;

/// Nobody nests nodes deeper.
const DEEPEST: usize = 64;

/// What a scenario takes from a device tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    /// The affinity IDs of the PEs.
    pub(crate) iaffids: Vec<u16>,
    /// Whether the IRS sees their caches.
    pub(crate) coherent: bool,
}

/// Reads a device tree. The error is a clause.
pub(super) fn read(bytes: &[u8]) -> Result<Topology, String> {
    let tree = Fdt::new(bytes).map_err(|error| format!("it is no device tree: {error}"))?;
    let mut found = None;
    let mut todo = vec![(tree.root(), 0)];
    while let Some((node, depth)) = todo.pop() {
        let compatible = node.property("compatible");
        let is_irs = compatible
            .is_some_and(|value| value.value().split(|byte| *byte == 0).any(|name| name == b"arm,gic-v5-irs"));
        if is_irs {
            let iaffids =
                node.property("arm,iaffids").ok_or("its IRS does not name its PEs: there is no arm,iaffids")?;
            let (pairs, rest) = iaffids.value().as_chunks::<2>();
            if pairs.is_empty() || !rest.is_empty() {
                return Err("arm,iaffids of its IRS is no list of affinity IDs".to_owned());
            }
            if found.is_some() {
                return Err("it has several IRSs, and a scenario has one".to_owned());
            }
            let iaffids: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            let mut sorted = iaffids.clone();
            sorted.sort_unstable();
            sorted.dedup();
            if sorted.len() != iaffids.len() || iaffids.len() > MOST_PES {
                return Err(format!("its IRS has {} PEs, or two with the same affinity ID", iaffids.len()));
            }
            found = Some(Topology { iaffids, coherent: node.property("dma-noncoherent").is_none() });
        }
        if depth < DEEPEST {
            todo.extend(node.children().map(|child| (child, depth + 1)));
        }
    }
    found.ok_or_else(|| "it has no GICv5: no node is compatible with arm,gic-v5-irs".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Topology, read};

    const TREE: &[u8] = include_bytes!("../../../../traces/qemu-virt-gicv5-4cpu.dtb");

    #[test]
    fn the_tree_of_a_real_machine_has_four_pes() {
        assert_eq!(read(TREE), Ok(Topology { iaffids: vec![0, 1, 2, 3], coherent: true }));
    }

    #[test]
    fn what_is_no_device_tree_is_refused() {
        for bytes in [&b""[..], b"\0", b"not a device tree", &[0xd0, 0x0d, 0xfe, 0xed], &TREE[..100], &TREE[1..]] {
            let error = read(bytes).unwrap_err();
            assert!(error.starts_with("it is no device tree"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_change_of_a_device_tree_makes_the_reader_panic(changes in prop::collection::vec((0..TREE.len(), any::<u8>()), 1..8)) {
            let mut tree = TREE.to_vec();
            for (at, value) in changes {
                tree[at] = value;
            }
            let _ = read(&tree);
        }
    }
}
