//! The machines and VMs that the matrix goes over.

use std::fmt;

use arbitrary_int::{u4, u5, u6};
use gicv5_arch::VpeId;
use gicv5_arch::irs::{IRS_IDR3, IRS_IDR4};
use gicv5_arch::values::{BitsMinusOne, Levels};
use gicv5_hal::Coherency;
use gicv5_model::config::MachineConfig;

use crate::listed::shown;

shown! {
    /// Where the entry of the VM under test is.
    pub(super) EntryTable {
        /// In a linear VM table.
        Linear = "linear",
        /// In a level-2 table that it is the first to need.
        First = "first",
        /// In a level-2 table that another VM has needed before.
        Second = "second",
    }
}

/// The descriptors that the IRS wants of every VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VmDescriptor {
    None,
    /// log2 of their size in bytes.
    Size(u8),
}

/// What the host finds in the IRS when it comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No VM table.
    Nothing,
    /// A VM table that somebody before it has left valid, and that it is configured to take over.
    LiveTable,
}

/// A machine and the VM under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) table: EntryTable,
    pub(super) vm_descriptor: VmDescriptor,
    /// log2 of the size of VPE descriptors in bytes.
    pub(super) vpe_descriptor: u8,
    pub(super) coherency: Coherency,
    pub(super) found: Found,
    pub(super) vcpus: usize,
    pub(super) spis: bool,
    pub(super) lpis: bool,
}

/// The smallest and the largest descriptor there can be.
const DESCRIPTORS: [u8; 2] = [3, 12];
const VM_DESCRIPTORS: [VmDescriptor; 3] =
    [VmDescriptor::None, VmDescriptor::Size(DESCRIPTORS[0]), VmDescriptor::Size(DESCRIPTORS[1])];
const COHERENCIES: [Coherency; 2] = [Coherency::Coherent, Coherency::NonCoherent];
const FOUND: [Found; 2] = [Found::Nothing, Found::LiveTable];
/// (SPIs, LPIs)
const ISTS: [(bool, bool); 4] = [(true, true), (false, true), (true, false), (false, false)];

const ONE: [u16; 1] = [0];
const TWO: [u16; 2] = [3, 4095];
const THREE: [u16; 3] = [0, 5, 300];
const SEVENTEEN: [u16; 17] = [0, 1, 2, 63, 64, 65, 255, 256, 511, 512, 1023, 1024, 2047, 2048, 3071, 4094, 4095];

impl Geometry {
    /// All of them: every combination of VM table, descriptors and coherency, each with one to three vCPUs, with or without
    /// SPIs and LPIs, and with or without a table to take over, so that any two values of these meet; and seventeen vCPUs on
    /// two.
    pub(super) fn all() -> Vec<Geometry> {
        let mut all = Vec::new();
        for (t, table) in EntryTable::ALL.into_iter().enumerate() {
            for (d, vm_descriptor) in VM_DESCRIPTORS.into_iter().enumerate() {
                for (v, vpe_descriptor) in DESCRIPTORS.into_iter().enumerate() {
                    for (c, coherency) in COHERENCIES.into_iter().enumerate() {
                        let vcpus = (t + d + v + 2 * c) % 3 + 1;
                        let ists = ISTS.get((t + 2 * d + 3 * v + c) % ISTS.len()).copied();
                        let (spis, lpis) = ists.unwrap_or_default();
                        let found = FOUND.get((t + d + v) % FOUND.len()).copied().unwrap_or(Found::Nothing);
                        all.push(Geometry {
                            table,
                            vm_descriptor,
                            vpe_descriptor,
                            coherency,
                            found,
                            vcpus,
                            spis,
                            lpis,
                        });
                    }
                }
            }
        }
        let largest = |table, vm_descriptor, coherency| Geometry {
            table,
            vm_descriptor,
            vpe_descriptor: 8,
            coherency,
            found: Found::Nothing,
            vcpus: SEVENTEEN.len(),
            spis: true,
            lpis: true,
        };
        all.push(largest(EntryTable::Linear, VmDescriptor::None, Coherency::Coherent));
        all.push(largest(EntryTable::First, VmDescriptor::Size(6), Coherency::NonCoherent));
        all
    }

    /// The VPE IDs of the VM under test: sparse, and below 4 096.
    pub(super) fn vpes(&self) -> Vec<VpeId> {
        let ids: &[u16] = match self.vcpus {
            1 => &ONE,
            2 => &TWO,
            3 => &THREE,
            _ => &SEVENTEEN,
        };
        ids.iter().map(|id| VpeId::new(*id)).collect()
    }

    /// The machine: two PEs, 12 VM ID bits, 12 VPE ID bits.
    pub(super) fn machine(&self, seed: u64) -> MachineConfig {
        let mut config = MachineConfig::new(2, 64);
        let (vmd, vmd_sz) = match self.vm_descriptor {
            VmDescriptor::None => (false, 0),
            VmDescriptor::Size(size) => (true, size),
        };
        let levels = if self.table == EntryTable::Linear { Levels::Linear } else { Levels::TwoLevel };
        for irs in &mut config.irses {
            irs.idr0 = irs.idr0.with_virt(true);
            irs.idr3 = IRS_IDR3::ZERO
                .with_vm_id_bits(u5::new(12))
                .with_vmd(vmd)
                .with_vmd_sz(u4::new(vmd_sz & 0xf))
                .with_vmt_levels(levels);
            irs.idr4 = IRS_IDR4::ZERO
                .with_vpe_id_bits(BitsMinusOne::new_with_raw_value(u4::new(11)))
                .with_vped_sz(u6::new(self.vpe_descriptor & 0x3f));
        }
        config.memory.coherency = self.coherency;
        config.memory.seed = seed;
        config.seed = seed;
        config
    }

    /// The most contiguous bytes that the library may ask for: little enough to make it take two levels where it can.
    pub(super) fn contiguous_bytes(&self) -> u64 {
        if self.table == EntryTable::Linear { 0x2_0000 } else { 4096 }
    }
}

impl fmt::Display for Geometry {
    /// Its name: `first-vmd8-vped4096-noncoherent-3cpu-spi-lpi`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table.words())?;
        match self.vm_descriptor {
            VmDescriptor::None => f.write_str("-novmd")?,
            VmDescriptor::Size(size) => write!(f, "-vmd{}", 1 << size)?,
        }
        write!(f, "-vped{}", 1 << self.vpe_descriptor)?;
        f.write_str(match self.coherency {
            Coherency::Coherent => "-coherent",
            Coherency::NonCoherent => "-noncoherent",
        })?;
        write!(f, "-{}cpu", self.vcpus)?;
        f.write_str(if self.spis { "-spi" } else { "" })?;
        f.write_str(if self.lpis { "-lpi" } else { "" })?;
        f.write_str(match self.found {
            Found::Nothing => "",
            Found::LiveTable => "-takeover",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn any_two_values_meet_in_some_geometry() {
        let all = Geometry::all();
        let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len(), "a name names one geometry");
        // The seventeen stand apart.
        let values = |geometry: &Geometry| -> Vec<String> {
            let name = geometry.to_string();
            let parts: Vec<&str> = name.split('-').collect();
            let mut values: Vec<String> = parts.iter().take(5).map(ToString::to_string).collect();
            values.push(format!("{}{}", geometry.spis, geometry.lpis));
            values.push(format!("{:?}", geometry.found));
            values
        };
        let rows: Vec<Vec<String>> = all.iter().filter(|geometry| geometry.vcpus < 17).map(values).collect();
        let column = |n: usize| rows.iter().map(|row| row[n].clone()).collect::<BTreeSet<_>>();
        for a in 0..7 {
            for b in 0..a {
                for (x, y) in column(a).iter().flat_map(|x| column(b).into_iter().map(move |y| (x.clone(), y))) {
                    assert!(rows.iter().any(|row| row[a] == x && row[b] == y), "{x} never meets {y}");
                }
            }
        }
        for vcpus in [1, 2, 3, 17] {
            assert!(all.iter().any(|geometry| geometry.vcpus == vcpus && geometry.vpes().len() == vcpus));
        }
    }
}
