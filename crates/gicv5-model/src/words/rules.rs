//! Every rule that the checker can name.
//!
//! A [`RuleId`] comes from this list only, so no violation names a rule that the list lacks, and a [`RemarkId`] from a list of its
//! own: what is legal, or forbidden by nothing but a conclusion of this project, is never reported as a violation. LIFE-25 is
//! inferred too, but from rules of which each has a source. Most rules are those of `docs/rules.md`. No hardware could notice the
//! mistakes that software makes with the model's allocator or its supply of LPIs, or with an instruction that a PE refuses: these
//! have ids of the model's own, [`OWN_RULES`].

use crate::words::basis;
pub use crate::words::basis::Basis;

/// A rule that software breaks with a violation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct RuleId(Rule);

/// A rule in view of which the checker remarks on something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct RemarkId(Rule);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
struct Rule {
    id: &'static str,
    basis: Option<Basis>,
}

impl Rule {
    const fn new(id: &'static str) -> Rule {
        Rule { id, basis: basis::of_rule(id) }
    }
}

/// Declares the ids.
macro_rules! rules {
    ($(#[$about:meta])* $all:ident: $type:ident, $($name:ident $id:literal,)*) => {
        impl $type {
            /// The id: `VMT-15`.
            #[must_use]
            pub const fn id(self) -> &'static str {
                self.0.id
            }

            /// What the rule rests on; `None` for a rule of the model's own.
            #[must_use]
            pub const fn basis(self) -> Option<Basis> {
                self.0.basis
            }
        }

        $(#[doc = concat!("Rule ", $id, ".")] pub const $name: $type = $type(Rule::new($id));)*

        $(#[$about])*
        pub const $all: &[$type] = &[$($name),*];
    };
}

rules! {
    /// Every rule that software breaks with a violation.
    ALL: RuleId,
    COH_1 "COH-1",
    COH_2 "COH-2",
    COH_6 "COH-6",
    COH_7 "COH-7",
    COH_8 "COH-8",
    CPU_1 "CPU-1",
    CPU_2 "CPU-2",
    DB_6 "DB-6",
    DB_14 "DB-14",
    DB_25 "DB-25",
    GEN_13 "GEN-13",
    GEN_18 "GEN-18",
    INS_14 "INS-14",
    IST_2 "IST-2",
    IST_7 "IST-7",
    IST_10 "IST-10",
    IST_12 "IST-12",
    IST_15 "IST-15",
    IST_18 "IST-18",
    IST_20 "IST-20",
    IST_22 "IST-22",
    IST_26 "IST-26",
    IST_28 "IST-28",
    LIFE_10 "LIFE-10",
    LIFE_25 "LIFE-25",
    LPI_1 "LPI-1",
    MEM_1 "MEM-1",
    MEM_2 "MEM-2",
    MEM_3 "MEM-3",
    MEM_4 "MEM-4",
    MEM_5 "MEM-5",
    POOL_1 "POOL-1",
    POOL_2 "POOL-2",
    POOL_3 "POOL-3",
    PPI_11 "PPI-11",
    PPI_13 "PPI-13",
    RES_1 "RES-1",
    RES_4 "RES-4",
    RES_14 "RES-14",
    RES_15 "RES-15",
    RES_19 "RES-19",
    RES_22 "RES-22",
    RES_23 "RES-23",
    SYN_3 "SYN-3",
    VM_5 "VM-5",
    VM_11 "VM-11",
    VMT_7 "VMT-7",
    VMT_10 "VMT-10",
    VMT_11 "VMT-11",
    VMT_12 "VMT-12",
    VMT_15 "VMT-15",
    VMT_16 "VMT-16",
    VMT_17 "VMT-17",
    VMT_18 "VMT-18",
    VMT_21 "VMT-21",
    VPE_1 "VPE-1",
    VPE_4 "VPE-4",
    VPE_5 "VPE-5",
    VPE_7 "VPE-7",
    VPE_8 "VPE-8",
}

rules! {
    /// Every rule in view of which the checker remarks on something.
    REMARKS: RemarkId,
    COH_11 "COH-11",
    GEN_20 "GEN-20",
    LIFE_26 "LIFE-26",
    RTE_4 "RTE-4",
    SPI_11 "SPI-11",
    SPI_13 "SPI-13",
}

/// A rule of the model's own: the architecture does not know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnRule {
    /// The id: `MEM-1`.
    pub id: &'static str,
    /// What holds, and who breaks it how.
    pub text: &'static str,
}

/// Every rule of the model's own.
pub const OWN_RULES: [OwnRule; 10] = [
    OwnRule {
        id: MEM_1.id(),
        text: "An access through a block of table memory is inside the block, aligned to its width, and there is memory \
               where it goes. Broken by the caller of a load, a store or a maintenance operation; a load reads as 0 then, \
               and a store does nothing.",
    },
    OwnRule {
        id: MEM_2.id(),
        text: "A block is freed once, in the machine that it was allocated in. Broken by freeing it a second time, for \
               instance in a machine restored to before the allocation.",
    },
    OwnRule {
        id: MEM_3.id(),
        text: "A block that was allocated is freed before the account is closed. Broken by whoever dropped it or still \
               holds it; only an account of a machine reports it.",
    },
    OwnRule {
        id: MEM_4.id(),
        text: "A structure that an IRS is given is in memory, all of it. Broken by a wrong address in a base register or an \
               entry of a table; what the IRS then reads there is 0, or a software error.",
    },
    OwnRule {
        id: MEM_5.id(),
        text: "A structure that an IRS is given lies in one block that software has allocated and not freed, or in memory that \
               the allocator leaves alone. Broken by giving an IRS memory that was freed, or that was never asked for.",
    },
    OwnRule { id: POOL_1.id(), text: "An LPI is released once, in the machine that handed it out." },
    OwnRule { id: POOL_2.id(), text: "An LPI is enabled, routed and released only by who holds it." },
    OwnRule {
        id: POOL_3.id(),
        text: "An LPI that was handed out is released before the account is closed; only an account of a machine reports \
               it.",
    },
    OwnRule {
        id: CPU_1.id(),
        text: "An instruction or a register access is one that the PE has at its exception level. On hardware it is \
               UNDEFINED and an exception is taken; the model reports it and does nothing.",
    },
    OwnRule {
        id: CPU_2.id(),
        text: "Who executes an instruction or an access of a guest asks first what becomes of it. On hardware it traps to \
               EL2 where the hypervisor has asked for that; the model has no hypervisor to trap to, reports it and does \
               nothing.",
    },
];
