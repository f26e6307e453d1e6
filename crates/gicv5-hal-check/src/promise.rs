//! What the traits promise, as far as software can see.

use alloc::string::String;
use core::fmt;

/// A trait of `gicv5-hal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HalTrait {
    /// [`gicv5_hal::Irs`].
    Irs,
    /// [`gicv5_hal::TableMemory`].
    TableMemory,
    /// [`gicv5_hal::PeOps`].
    PeOps,
    /// [`gicv5_hal::CurrentPe`].
    CurrentPe,
    /// [`gicv5_hal::Wait`].
    Wait,
    /// [`gicv5_hal::Locks`].
    Locks,
    /// [`gicv5_hal::HostLpis`].
    HostLpis,
}

impl fmt::Display for HalTrait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

macro_rules! promises {
    ($($of:ident: $name:ident $sentence:literal [$($rule:literal),*];)*) => {
        /// Something that a trait promises and software can see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Promise {
            $(
                #[doc = concat!("`", stringify!($of), "`: ", $sentence, ".")]
                $name,
            )*
        }

        impl Promise {
            /// Every promise.
            pub const ALL: &'static [Promise] = &[$(Promise::$name),*];

            /// The trait that makes it.
            #[must_use]
            pub const fn of(self) -> HalTrait {
                match self {
                    $(Promise::$name => HalTrait::$of,)*
                }
            }

            /// What is promised, in a sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Promise::$name => $sentence,)*
                }
            }

            /// The rules of `docs/rules.md` that want it.
            #[must_use]
            pub const fn rules(self) -> &'static [&'static str] {
                match self {
                    $(Promise::$name => &[$($rule),*],)*
                }
            }
        }
    };
}

promises! {
    Irs: IrsIsOne "the configuration frame is that of an IRS" [];
    Irs: IrsStays "an identification register reads the same each time" [];
    Irs: IrsHalves "one read of 64 bits is the two reads of its halves" ["GEN-9"];
    Irs: IrsReadOnly "a write to a read-only register changes nothing" [];
    Irs: IrsAbsent "a frame that does not exist reads as zero" ["LPI-5"];
    TableMemory: MemoryIsThere "memory for a few tables is there" [];
    TableMemory: BlockSize "a block has the size that was asked for, not what the allocator rounded it to" [];
    TableMemory: BlockAlignment "a block starts at a multiple of the alignment" [];
    TableMemory: BlockHighest "no byte of a block lies above the highest address" [];
    TableMemory: BlockZero "a block is zero when it is allocated" [];
    TableMemory: BlockZeroAgain "a block is zero when it is allocated, also where its memory was used before" [];
    TableMemory: BlockAlone "no two live blocks overlap" [];
    TableMemory: BlockImpossible "a block larger than the memory is an error" [];
    TableMemory: BlockError "the error names the layout that was asked for" [];
    TableMemory: BlockFreed "the memory of a block that was freed can be allocated again" [];
    TableMemory: StoreKept "a load returns what was stored last" [];
    TableMemory: StoreEndian "loads and stores are little-endian" ["COH-8"];
    TableMemory: StoreWhole "a store changes its own bytes, all of them and no other" ["COH-8"];
    TableMemory: OutsideIgnored "an access that does not lie in the block is ignored, and a load returns 0" [];
    TableMemory: UnalignedIgnored "an access that is not aligned to its width is ignored, and a load returns 0" [];
    TableMemory: LineSize "the cache line is a power of two, and constant" [];
    TableMemory: CoherencyStays "what an IRS sees of the caches is constant" [];
    TableMemory: MaintenanceKeeps "maintenance and barriers lose nothing that was published" ["COH-2"];
    PeOps: PeStays "the PE's affinity ID reads the same each time" [];
    PeOps: WrittenReadsBack "a register reads what was written to it, after an ISB" [];
    PeOps: Answered "the answer to a request for a configuration is in ICC_ICSR_EL1 after an ISB" ["INS-12"];
    PeOps: NoResult "the result of an instruction without one is 0" [];
    CurrentPe: SamePe "the code that is lent a PE does not leave it" [];
    Wait: NeverBack "time does not go back" [];
    Wait: Advances "time advances while relax is called in a loop" [];
    Locks: Exclusion "one caller at a time has the value" [];
    Locks: ValueKept "the value is what the last caller has left" [];
    HostLpis: LpiDistinct "an LPI is nobody else's while somebody holds it" ["DB-14"];
    HostLpis: LpiReachable "an LPI has an entry in the table of the IRS" ["LPI-3"];
    HostLpis: LpiAtRest "an LPI is edge, targeted, disabled, neither pending nor active when it is allocated" ["DB-25"];
    HostLpis: LpiEnabled "an LPI is enabled when the call returns that enables it" ["SYN-1"];
    HostLpis: LpiRouted "an LPI has its target when the call returns that routes it" ["SYN-1"];
    HostLpis: NoneFree "the error is that none is free, or no memory, once all LPIs are held" [];
    HostLpis: LpiReleased "an LPI that nobody takes can be released, pending or not" ["DB-25"];
    HostLpis: LpiAgain "LPIs that were released can be allocated again" ["DB-25"];
}

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} promises that {}{}, but {seen}", promise.of(), promise.sentence(), Rules(promise.rules()))]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// What was seen instead.
    pub seen: String,
}

/// Rules in brackets, if there are any.
struct Rules(&'static [&'static str]);

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, rule) in self.0.iter().enumerate() {
            write!(f, "{}{rule}", if n == 0 { " (" } else { ", " })?;
        }
        if self.0.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl Promise {
    /// Holds what was seen against the promise.
    pub(crate) fn holds(self, kept: bool, seen: impl FnOnce() -> String) -> Result<(), Broken> {
        if kept { Ok(()) } else { Err(Broken { promise: self, seen: seen() }) }
    }
}
