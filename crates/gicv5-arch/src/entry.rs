//! The entries of the tables in memory that the IRS walks.
//!
//! All are little-endian and are stored and loaded whole: 64 bits at a time, IST entries 32 bits at a time (COH-8). Inside
//! a table that is in use, software writes an entry with its valid bit 0 and asks the IRS to set it; software sets it
//! itself only before the table is in use (VMT-12, VMT-17, VPE-5, IST-2, IST-3).
//!
//! VM descriptors and VPE descriptors have no layout: they are the IRS's scratch memory, zero when their owner becomes
//! valid and not to be touched until it is invalid again (VM-10, VM-11, VPE-7, VPE-8).

// The types carry the names of the specification, so that a search for an entry finds everything about it.
#![allow(non_camel_case_types)]

use arbitrary_int::{u2, u5};

use crate::layout::{FieldInfo, layout};
use crate::values::{HandlingMode, IstSize, L2Size, RoutingMode, Structure};
use crate::{Addr51_12, Addr55_3, Addr55_6, Addr55_12, Iaffid, IrsIntType, Priority};

layout! {
    /// Level-1 VM table entry, 8 bytes: a level-2 table of 128 VMs (VMT-9).
    L1_VMTE: u64 {
        /// The level-2 table, 4 KiB aligned. Other tables use bits 55:12; bits 55:52 are kept zero here because only one
        /// source shows this field.
        [51:12] L2_ADDR l2_addr: Addr51_12;
        /// Whether the entry is in use. In a live table the IRS sets it, by IRS_VMAP_L2_VMTR (VMT-13).
        [0] VALID valid: bool;
    }
}

layout! {
    /// First word of a VM table entry: the VM descriptor, and whether the VM is valid.
    L2_VMTE_VMD: u64 {
        /// The VM descriptor; unused if IRS_IDR3.VMD is 0 (VM-10).
        [55:3] VMD_ADDR vmd_addr: Addr55_3;
        /// Whether the VM is valid. In a live table the IRS sets it, by IRS_VMAP_VMR (VM-1).
        [0] VALID valid: bool;
    }
}

layout! {
    /// Second word of a VM table entry: the VPE table.
    L2_VMTE_VPET: u64 {
        /// Number of VPE ID bits, a raw count of 1 to 16 (VPE-2, VPE-3).
        [63:59] VPE_ID_BITS vpe_id_bits: u5;
        /// The VPE table.
        [55:3] VPET_ADDR vpet_addr: Addr55_3;
    }
}

layout! {
    /// Third and fourth word of a VM table entry: the VM's LPI IST and its SPI IST (IST-1).
    L2_VMTE_IST: u64 {
        /// Number of interrupt ID bits, a raw count.
        [63:59] ID_BITS id_bits: u5;
        /// Shape of the IST.
        [58] STRUCTURE structure: Structure;
        /// Size of an entry, as IST-10 dictates.
        [57:56] ISTSZ istsz: Option<IstSize>;
        /// The IST, or its level-1 table.
        [55:6] IST_ADDR ist_addr: Addr55_6;
        /// Size of a level-2 IST.
        [2:1] L2SZ l2sz: Option<L2Size>;
        /// Whether the IST is in use. On a valid VM the IRS sets it, by IRS_VMAP_VISTR (IST-2).
        [0] IST_VALID ist_valid: bool;
    }
}

layout! {
    /// VPE table entry, 8 bytes.
    VPETE: u64 {
        /// The VPE descriptor.
        [55:3] VPED_ADDR vped_addr: Addr55_3;
        /// Whether the VPE is valid. On a valid VM the IRS sets it, by IRS_VMAP_VPER (VPE-5).
        [0] VALID valid: bool;
    }
}

layout! {
    /// Level-1 interrupt state table entry, 8 bytes.
    L1_ISTE: u64 {
        /// The level-2 IST, aligned to its own size (IST-14).
        [55:12] L2_ADDR l2_addr: Addr55_12;
        /// Whether the entry is in use. In a live IST the IRS sets it, by IRS_MAP_L2_ISTR or IRS_VMAP_L2_VISTR (IST-18).
        [0] VALID valid: bool;
    }
}

layout! {
    /// Interrupt state table entry: the architected 4 bytes. With metadata, 4 or 12 bytes of the IRS's own follow (IST-11).
    L2_ISTE: u32 {
        /// The target: a PE, or in a virtual IST a VPE (VPE-19).
        [31:16] IAFFID iaffid: Iaffid;
        /// The priority.
        [15:11] PRIORITY priority: Priority;
        /// For the IRS's own use; zero when the IST becomes valid (IST-22).
        [10:9] HWU hwu: u2;
        /// The routing mode.
        [4] IRM irm: RoutingMode;
        /// Whether the interrupt is enabled.
        [3] ENABLE enable: bool;
        /// The handling mode.
        [2] HM hm: HandlingMode;
        /// Whether the interrupt is active.
        [1] ACTIVE active: bool;
        /// Whether the interrupt is pending; zero when the IST becomes valid (IST-22).
        [0] PENDING pending: bool;
    }
}

/// VM table entry, 32 bytes: where a VM's descriptor, VPE table and virtual ISTs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct L2_VMTE {
    words: [u64; 4],
}

impl L2_VMTE {
    /// Size in bytes (VMT-8).
    pub const BYTES: u64 = 32;

    /// The entry of a VM that is not valid and has nothing: every bit zero.
    pub const ZERO: L2_VMTE = L2_VMTE { words: [0; 4] };

    /// The layouts of the four words, and what the specification puts in front of their field names.
    pub const WORDS: [(&'static str, &'static [FieldInfo]); 4] = [
        ("", L2_VMTE_VMD::FIELDS),
        ("", L2_VMTE_VPET::FIELDS),
        ("LPI_", L2_VMTE_IST::FIELDS),
        ("SPI_", L2_VMTE_IST::FIELDS),
    ];

    /// The entry with these words, first word first.
    #[must_use]
    pub const fn new_with_raw_value(words: [u64; 4]) -> L2_VMTE {
        L2_VMTE { words }
    }

    /// The words, first word first.
    #[must_use]
    pub const fn raw_value(self) -> [u64; 4] {
        self.words
    }

    /// The entry for these bytes of memory.
    #[must_use]
    pub const fn from_le_bytes(bytes: [u8; 32]) -> L2_VMTE {
        let [a, b, c, d] = match bytes.as_chunks() {
            ([a, b, c, d], []) => [*a, *b, *c, *d],
            // 32 bytes are four words and nothing else.
            _ => [[0; 8]; 4],
        };
        L2_VMTE { words: [u64::from_le_bytes(a), u64::from_le_bytes(b), u64::from_le_bytes(c), u64::from_le_bytes(d)] }
    }

    /// The entry as it stands in memory: each word little-endian, first word first (COH-8).
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let mut words: &[u64] = &self.words;
        let mut rest: &mut [u8] = &mut bytes;
        while let ([word, words_left @ ..], Some((place, bytes_left))) = (words, rest.split_first_chunk_mut::<8>()) {
            *place = word.to_le_bytes();
            (words, rest) = (words_left, bytes_left);
        }
        bytes
    }

    /// The word with the VM descriptor and the VM's valid bit.
    #[must_use]
    pub const fn vmd(self) -> L2_VMTE_VMD {
        L2_VMTE_VMD::new_with_raw_value(self.words[0])
    }

    /// The entry with another first word.
    #[must_use]
    pub const fn with_vmd(mut self, word: L2_VMTE_VMD) -> L2_VMTE {
        self.words[0] = word.raw_value();
        self
    }

    /// The word with the VPE table.
    #[must_use]
    pub const fn vpet(self) -> L2_VMTE_VPET {
        L2_VMTE_VPET::new_with_raw_value(self.words[1])
    }

    /// The entry with another second word.
    #[must_use]
    pub const fn with_vpet(mut self, word: L2_VMTE_VPET) -> L2_VMTE {
        self.words[1] = word.raw_value();
        self
    }

    /// The index of the word that describes an IST: 2 for LPIs, 3 for SPIs (IST-1).
    #[must_use]
    pub const fn ist_word(int_type: IrsIntType) -> usize {
        match int_type {
            IrsIntType::Lpi => 2,
            IrsIntType::Spi => 3,
        }
    }

    /// The word with the LPI IST or the SPI IST.
    #[must_use]
    pub const fn ist(self, int_type: IrsIntType) -> L2_VMTE_IST {
        L2_VMTE_IST::new_with_raw_value(match int_type {
            IrsIntType::Lpi => self.words[2],
            IrsIntType::Spi => self.words[3],
        })
    }

    /// The entry with another word for the LPI IST or the SPI IST.
    #[must_use]
    pub const fn with_ist(mut self, int_type: IrsIntType, word: L2_VMTE_IST) -> L2_VMTE {
        match int_type {
            IrsIntType::Lpi => self.words[2] = word.raw_value(),
            IrsIntType::Spi => self.words[3] = word.raw_value(),
        }
        self
    }
}

/// Gives an entry its form in memory.
macro_rules! in_memory {
    ($($name:ident $raw:ident $bytes:literal;)*) => {$(
        impl $name {
            /// Size in bytes of the architected part.
            pub const BYTES: u64 = $bytes;

            /// The entry for these bytes of memory.
            #[must_use]
            pub const fn from_le_bytes(bytes: [u8; $bytes]) -> $name {
                $name::new_with_raw_value($raw::from_le_bytes(bytes))
            }

            /// The entry as it stands in memory, little-endian (COH-8).
            #[must_use]
            pub const fn to_le_bytes(self) -> [u8; $bytes] {
                self.raw_value().to_le_bytes()
            }
        }
    )*};
}

in_memory! {
    L1_VMTE u64 8;
    L2_VMTE_VMD u64 8;
    L2_VMTE_VPET u64 8;
    L2_VMTE_IST u64 8;
    VPETE u64 8;
    L1_ISTE u64 8;
    L2_ISTE u32 4;
}

/// The layouts of the entries, by name.
pub const LAYOUTS: &[(&str, &[FieldInfo])] = &[
    ("L1_VMTE", L1_VMTE::FIELDS),
    ("VPETE", VPETE::FIELDS),
    ("L1_ISTE", L1_ISTE::FIELDS),
    ("L2_ISTE", L2_ISTE::FIELDS),
];
