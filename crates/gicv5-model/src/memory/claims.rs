//! What software may do with each word of memory.

use gicv5_arch::VmId;

use super::units::GRANULES;
use crate::words::owner::{Owner, StructureKind};

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
        let structure = *StructureKind::ALL.get(((self.0 & 31) as usize).wrapping_sub(1))?;
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
    codes: [Code; GRANULES],
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
        if granules == (0..GRANULES) {
            *self = if code.is_free() { Claims::Free } else { Claims::All(code) };
            return;
        }
        let spread = |code, used| Box::new(Each { codes: [code; GRANULES], used });
        let mut each = match core::mem::take(self) {
            Claims::Free if code.is_free() => return,
            Claims::Free => spread(Code::FREE, 0),
            Claims::All(all) => spread(all, GRANULES),
            Claims::Each(each) => each,
        };
        let codes = each.codes.get_mut(granules).unwrap_or_default();
        each.used -= codes.iter().map(|code| u32::from(!code.is_free())).sum::<u32>() as usize;
        codes.fill(code);
        each.used += if code.is_free() { 0 } else { codes.len() };
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
    pub(super) fn first(&self, granules: core::ops::Range<usize>) -> Option<(usize, Claim)> {
        let (granule, code) = match self {
            Claims::Free => return None,
            Claims::All(code) => (granules.start, code),
            Claims::Each(each) => {
                let codes = each.codes.get(granules.clone())?;
                // Mostly all are free, and are looked at together.
                if codes.iter().fold(0, |bits, code| bits | code.0) == 0 {
                    return None;
                }
                (granules.start..).zip(codes).find(|(_, code)| !code.is_free())?
            }
        };
        Some((granule, code.claim()?))
    }
}
