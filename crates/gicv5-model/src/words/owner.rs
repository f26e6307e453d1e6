//! Who owns memory: software, the IRS, or both under restrictions.

use core::fmt;

use gicv5_arch::{PhysAddr, VmId};

use crate::words::rules::{self, RuleId};

/// What the rules say about memory of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructureRules {
    /// What a message calls it.
    pub name: &'static str,
    /// The rule that a store breaks while the IRS owns it.
    pub stored: RuleId,
    /// The rule that software breaks by setting a valid bit in an entry of a live table.
    pub filled: RuleId,
    /// The rule that is broken by freeing it, or by allocating it again, while the IRS owns it.
    pub freed: RuleId,
    /// For each 64-bit word of four that follow each other from a multiple of 32 bytes: the bits that software can still
    /// read while the IRS owns the word. Everything else reads as poison.
    pub visible: [u64; 4],
    /// For the same words: the bits that software must leave 0 when it fills an entry of a live table.
    pub forbidden: [u64; 4],
    /// Whether it has its cache lines for itself, because it is a whole structure and no entry of one (COH-6).
    pub whole_lines: bool,
}

/// Declares the structures and what the rules say about them.
macro_rules! structures {
    ($($(#[$meta:meta])* $name:ident $text:literal, stored $stored:ident, filled $filled:ident, freed $freed:ident,
        visible $visible:expr, forbidden $forbidden:expr, whole_lines $whole:literal;)*) => {
        /// A kind of structure in memory that an IRS can own. [`rules`](Self::rules) tells what that means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum StructureKind {
            $($(#[$meta])* $name,)*
        }

        impl StructureKind {
            /// Every kind.
            pub const ALL: &'static [StructureKind] = &[$(StructureKind::$name),*];

            /// What the rules say about memory of this kind.
            #[must_use]
            pub const fn rules(self) -> &'static StructureRules {
                match self {
                    $(StructureKind::$name => &StructureRules {
                        name: $text,
                        stored: rules::$stored,
                        filled: rules::$filled,
                        freed: rules::$freed,
                        visible: $visible,
                        forbidden: $forbidden,
                        whole_lines: $whole,
                    },)*
                }
            }
        }
    };
}

/// No bit of any word.
const NONE: [u64; 4] = [0; 4];
/// Bit 0 of every word.
const VALID: [u64; 4] = [1; 4];
/// Every bit of every word: what software wrote into an entry, and the IRS has no reason to change.
const ALL: [u64; 4] = [u64::MAX; 4];
/// VALID of an L2_VMTE. On an invalid VM software may set IST_VALID (IST-3).
const VMTE_VALID: [u64; 4] = [1, 0, 0, 0];

structures! {
    /// Level-1 entries of the VM table.
    L1Vmte "the level-1 VM table", stored VMT_15, filled VMT_15, freed VMT_7,
        visible ALL, forbidden VALID, whole_lines false;
    /// Entries of a level-2 VM table.
    L2Vmte "a level-2 VM table", stored VMT_18, filled VMT_17, freed VMT_16,
        visible ALL, forbidden VMTE_VALID, whole_lines false;
    /// Entries of a linear VM table.
    LinearVmte "the linear VM table", stored VMT_18, filled VMT_17, freed VMT_7,
        visible ALL, forbidden VMTE_VALID, whole_lines false;
    /// IST words of a valid VM's entry in a level-2 VM table.
    L2VmteIst "an IST word of a level-2 VM table", stored IST_2, filled IST_2, freed VMT_16,
        visible ALL, forbidden VALID, whole_lines false;
    /// IST words of a valid VM's entry in a linear VM table.
    LinearVmteIst "an IST word of the linear VM table", stored IST_2, filled IST_2, freed VMT_7,
        visible ALL, forbidden VALID, whole_lines false;
    /// A VM descriptor.
    VmDescriptor "the VM descriptor", stored VM_5, filled VM_5, freed VM_5,
        visible NONE, forbidden NONE, whole_lines true;
    /// Entries of a VPE table.
    Vpete "the VPE table", stored VM_5, filled VPE_5, freed VM_5,
        visible ALL, forbidden VALID, whole_lines false;
    /// A VPE descriptor.
    VpeDescriptor "a VPE descriptor", stored VM_5, filled VM_5, freed VPE_7,
        visible NONE, forbidden NONE, whole_lines true;
    /// Level-1 entries of the physical LPI IST.
    PhysicalL1Iste "the level-1 physical IST", stored IST_18, filled IST_18, freed LPI_1,
        visible ALL, forbidden VALID, whole_lines false;
    /// The linear physical LPI IST.
    PhysicalIst "the physical IST", stored IST_26, filled IST_26, freed LPI_1,
        visible NONE, forbidden NONE, whole_lines true;
    /// A level-2 physical LPI IST.
    PhysicalL2Ist "a level-2 physical IST", stored IST_26, filled IST_26, freed IST_20,
        visible NONE, forbidden NONE, whole_lines true;
    /// Level-1 entries of a virtual LPI IST.
    LpiL1Iste "the level-1 LPI IST", stored IST_18, filled IST_18, freed IST_7,
        visible ALL, forbidden VALID, whole_lines false;
    /// A linear virtual LPI IST.
    LpiIst "the LPI IST", stored IST_26, filled IST_26, freed IST_7,
        visible NONE, forbidden NONE, whole_lines true;
    /// A level-2 virtual LPI IST.
    LpiL2Ist "a level-2 LPI IST", stored IST_26, filled IST_26, freed IST_20,
        visible NONE, forbidden NONE, whole_lines true;
    /// Level-1 entries of a virtual SPI IST.
    SpiL1Iste "the level-1 SPI IST", stored IST_18, filled IST_18, freed IST_7,
        visible ALL, forbidden VALID, whole_lines false;
    /// A linear virtual SPI IST.
    SpiIst "the SPI IST", stored IST_26, filled IST_26, freed IST_7,
        visible NONE, forbidden NONE, whole_lines true;
    /// A level-2 virtual SPI IST.
    SpiL2Ist "a level-2 SPI IST", stored IST_26, filled IST_26, freed IST_20,
        visible NONE, forbidden NONE, whole_lines true;
}

/// The structure that memory belongs to, and the VM that structure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// What kind of structure.
    pub structure: StructureKind,
    /// Of which VM; `None` for what belongs to the interrupt domain as a whole.
    pub vm: Option<VmId>,
}

impl Owner {
    /// A structure that belongs to the interrupt domain as a whole.
    #[must_use]
    pub const fn domain(structure: StructureKind) -> Owner {
        Owner { structure, vm: None }
    }

    /// A structure of a VM.
    #[must_use]
    pub const fn vm(structure: StructureKind, vm: VmId) -> Owner {
        Owner { structure, vm: Some(vm) }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.structure.rules().name)?;
        match self.vm {
            Some(vm) => write!(f, " of {vm}"),
            None => Ok(()),
        }
    }
}

/// A structure in memory, or an entry of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InMemory {
    /// Its first byte.
    pub address: PhysAddr,
    /// Its size in bytes.
    pub size: u64,
    /// What it is, or what it is a part of.
    pub owner: Owner,
}
