//! Who owns memory: software, the IRS, or both under restrictions.

use core::fmt;

use gicv5_arch::VmId;

/// What the rules say about memory of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructureRules {
    /// What a message calls it.
    pub name: &'static str,
    /// The rule that a store breaks while the IRS owns it.
    pub stored: &'static str,
    /// The rule that software breaks by setting a valid bit in an entry of a live table.
    pub filled: &'static str,
    /// The rule that is broken by freeing it, or by allocating it again, while the IRS owns it.
    pub freed: &'static str,
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
    ($($(#[$meta:meta])* $name:ident $text:literal, stored $stored:literal, filled $filled:literal, freed $freed:literal,
        visible $visible:expr, forbidden $forbidden:expr, whole_lines $whole:literal;)*) => {
        /// A kind of structure in memory that an IRS can own. [`rules`](Self::rules) tells what that means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Structure {
            $($(#[$meta])* $name,)*
        }

        impl Structure {
            /// Every kind.
            pub const ALL: &'static [Structure] = &[$(Structure::$name),*];

            /// What the rules say about memory of this kind.
            #[must_use]
            pub const fn rules(self) -> &'static StructureRules {
                match self {
                    $(Structure::$name => &StructureRules {
                        name: $text,
                        stored: $stored,
                        filled: $filled,
                        freed: $freed,
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
/// VALID and the two IST_VALIDs of an L2_VMTE.
const VMTE_VALIDS: [u64; 4] = [1, 0, 1, 1];
/// VALID of an L2_VMTE. On an invalid VM software may set IST_VALID (IST-3).
const VMTE_VALID: [u64; 4] = [1, 0, 0, 0];

structures! {
    /// Level-1 entries of the VM table.
    L1Vmte "the level-1 VM table", stored "VMT-15", filled "VMT-15", freed "VMT-7",
        visible VALID, forbidden VALID, whole_lines false;
    /// Entries of a level-2 VM table.
    L2Vmte "a level-2 VM table", stored "VMT-18", filled "VMT-17", freed "VMT-16",
        visible VMTE_VALIDS, forbidden VMTE_VALID, whole_lines false;
    /// Entries of a linear VM table.
    LinearVmte "the linear VM table", stored "VMT-18", filled "VMT-17", freed "VMT-7",
        visible VMTE_VALIDS, forbidden VMTE_VALID, whole_lines false;
    /// IST words of a valid VM's entry in a level-2 VM table.
    L2VmteIst "an IST word of a level-2 VM table", stored "IST-2", filled "IST-2", freed "VMT-16",
        visible VALID, forbidden VALID, whole_lines false;
    /// IST words of a valid VM's entry in a linear VM table.
    LinearVmteIst "an IST word of the linear VM table", stored "IST-2", filled "IST-2", freed "VMT-7",
        visible VALID, forbidden VALID, whole_lines false;
    /// A VM descriptor.
    VmDescriptor "the VM descriptor", stored "VM-5", filled "VM-5", freed "VM-5",
        visible NONE, forbidden NONE, whole_lines true;
    /// Entries of a VPE table.
    Vpete "the VPE table", stored "VM-5", filled "VPE-5", freed "VM-5",
        visible VALID, forbidden VALID, whole_lines false;
    /// A VPE descriptor.
    VpeDescriptor "a VPE descriptor", stored "VM-5", filled "VM-5", freed "VPE-7",
        visible NONE, forbidden NONE, whole_lines true;
    /// Level-1 entries of the physical LPI IST.
    PhysicalL1Iste "the level-1 physical IST", stored "IST-18", filled "IST-18", freed "LPI-1",
        visible VALID, forbidden VALID, whole_lines false;
    /// The linear physical LPI IST.
    PhysicalIst "the physical IST", stored "IST-26", filled "IST-26", freed "LPI-1",
        visible NONE, forbidden NONE, whole_lines true;
    /// A level-2 physical LPI IST.
    PhysicalL2Ist "a level-2 physical IST", stored "IST-26", filled "IST-26", freed "IST-20",
        visible NONE, forbidden NONE, whole_lines true;
    /// Level-1 entries of a virtual LPI IST.
    LpiL1Iste "the level-1 LPI IST", stored "IST-18", filled "IST-18", freed "IST-7",
        visible VALID, forbidden VALID, whole_lines false;
    /// A linear virtual LPI IST.
    LpiIst "the LPI IST", stored "IST-26", filled "IST-26", freed "IST-7",
        visible NONE, forbidden NONE, whole_lines true;
    /// A level-2 virtual LPI IST.
    LpiL2Ist "a level-2 LPI IST", stored "IST-26", filled "IST-26", freed "IST-20",
        visible NONE, forbidden NONE, whole_lines true;
    /// Level-1 entries of a virtual SPI IST.
    SpiL1Iste "the level-1 SPI IST", stored "IST-18", filled "IST-18", freed "IST-7",
        visible VALID, forbidden VALID, whole_lines false;
    /// A linear virtual SPI IST.
    SpiIst "the SPI IST", stored "IST-26", filled "IST-26", freed "IST-7",
        visible NONE, forbidden NONE, whole_lines true;
    /// A level-2 virtual SPI IST.
    SpiL2Ist "a level-2 SPI IST", stored "IST-26", filled "IST-26", freed "IST-20",
        visible NONE, forbidden NONE, whole_lines true;
}

/// The structure that memory belongs to, and the VM that structure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// What kind of structure.
    pub structure: Structure,
    /// Of which VM; `None` for what belongs to the interrupt domain as a whole.
    pub vm: Option<VmId>,
}

impl Owner {
    /// A structure that belongs to the interrupt domain as a whole.
    #[must_use]
    pub const fn domain(structure: Structure) -> Owner {
        Owner { structure, vm: None }
    }

    /// A structure of a VM.
    #[must_use]
    pub const fn vm(structure: Structure, vm: VmId) -> Owner {
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

/// What software may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Nothing: it is the IRS's.
    Owned(Owner),
    /// Fill it, leaving the valid bits 0: it is an invalid entry of a live table.
    Fillable(Owner),
}

impl Claim {
    /// The structure.
    #[must_use]
    pub const fn owner(self) -> Owner {
        match self {
            Claim::Owned(owner) | Claim::Fillable(owner) => owner,
        }
    }
}

/// A claim, or none, in 32 bits: 0 for none; else the structure's number plus 1 in bits 4:0, whether software sees what is
/// there in bit 6, Owned in bit 7, whether there is a VM in bit 8, the VM in bits 31:16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Code(u32);

const SHOWN: u32 = 1 << 6;
const OWNED: u32 = 1 << 7;
const HAS_VM: u32 = 1 << 8;

impl Code {
    pub(super) const FREE: Code = Code(0);

    pub(super) const fn new(claim: Claim) -> Code {
        let owner = claim.owner();
        let owned = if matches!(claim, Claim::Owned(_)) { OWNED } else { 0 };
        let vm = match owner.vm {
            Some(vm) => HAS_VM | (vm.raw_value() as u32) << 16,
            None => 0,
        };
        Code((owner.structure as u32 + 1) | owned | vm)
    }

    pub(super) const fn is_free(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn is_owned(self) -> bool {
        self.0 & OWNED != 0
    }

    /// Whether software sees what is there although the IRS owns it.
    pub(super) const fn is_shown(self) -> bool {
        self.0 & SHOWN != 0
    }

    pub(super) fn claim(self) -> Option<Claim> {
        let structure = *Structure::ALL.get(((self.0 & 31) as usize).wrapping_sub(1))?;
        let vm = (self.0 & HAS_VM != 0).then(|| VmId::new((self.0 >> 16) as u16));
        let owner = Owner { structure, vm };
        Some(if self.is_owned() { Claim::Owned(owner) } else { Claim::Fillable(owner) })
    }

    /// Which bits of the word that is the `granule`th of its page software can read: all, unless the IRS owns it.
    pub(super) fn visible(self, granule: usize) -> u64 {
        match self.claim() {
            Some(Claim::Owned(owner)) if !self.is_shown() => {
                owner.structure.rules().visible.get(granule & 3).copied().unwrap_or(0)
            }
            _ => u64::MAX,
        }
    }
}

/// The claims on a page, one for each 8 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) enum Claims {
    #[default]
    Free,
    All(Code),
    Each(Box<Each>),
}

/// The claims on a page that is not all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Each {
    codes: [Code; super::page::GRANULES],
    /// How many are not free.
    used: usize,
}

impl Claims {
    #[inline]
    pub(super) fn get(&self, granule: usize) -> Code {
        match self {
            Claims::Free => Code::FREE,
            Claims::All(code) => *code,
            Claims::Each(each) => each.codes.get(granule).copied().unwrap_or_default(),
        }
    }

    /// Sets the claims on some granules of the page.
    pub(super) fn set(&mut self, granules: core::ops::Range<usize>, code: Code) {
        if granules == (0..super::page::GRANULES) {
            *self = if code.is_free() { Claims::Free } else { Claims::All(code) };
            return;
        }
        let spread = |code, used| Box::new(Each { codes: [code; super::page::GRANULES], used });
        let mut each = match core::mem::take(self) {
            Claims::Free if code.is_free() => return,
            Claims::Free => spread(Code::FREE, 0),
            Claims::All(all) => spread(all, super::page::GRANULES),
            Claims::Each(each) => each,
        };
        for old in each.codes.get_mut(granules).unwrap_or_default() {
            each.used = each.used + usize::from(!code.is_free()) - usize::from(!old.is_free());
            *old = code;
        }
        if each.used != 0 {
            *self = Claims::Each(each);
        }
    }

    /// From now on software sees what is there, or does not, in granules of the page that have one claim.
    pub(super) fn show(&mut self, granules: core::ops::Range<usize>, shown: bool) {
        let code = self.get(granules.start);
        if code.is_owned() && code.is_shown() != shown {
            self.set(granules, Code(code.0 ^ SHOWN));
        }
    }

    /// The first granule of these that is claimed, and the claim.
    pub(super) fn first(&self, mut granules: core::ops::Range<usize>) -> Option<(usize, Claim)> {
        match self {
            Claims::Free => None,
            _ => granules.find_map(|granule| Some((granule, self.get(granule).claim()?))),
        }
    }
}
