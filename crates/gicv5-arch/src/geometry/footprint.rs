//! What a structure asks of the memory it lies in.

use super::GeometryError;
use crate::address::{AddressError, FieldAddr, PhysAddr};

/// What to ask an allocator for: so many contiguous bytes, so aligned, so low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Footprint {
    size: u64,
    alignment: u64,
    address_bits: u8,
}

impl Footprint {
    /// A structure of `2^size_log2` bytes whose address has at least `floor_log2` low zero bits.
    ///
    /// All of these structures are aligned to their size (VMT-10, IST-12, IST-13, IST-14); the floor adds to the
    /// alignment only, never to the size.
    pub(super) const fn naturally_aligned(size_log2: u32, floor_log2: u32, address_bits: u8) -> Footprint {
        let alignment_log2 = if size_log2 > floor_log2 { size_log2 } else { floor_log2 };
        Footprint { size: 1 << size_log2, alignment: 1 << alignment_log2, address_bits }
    }

    /// Bytes that hardware may access, a power of two unless rounded up by [`for_cache_line`](Self::for_cache_line).
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Alignment of the address in bytes, a power of two. It can exceed the size.
    #[must_use]
    pub const fn alignment(self) -> u64 {
        self.alignment
    }

    /// The number of address bits the field that points here can hold: 52 or 56. The IRS may have fewer
    /// (IRS_IDR0.PA_RANGE).
    #[must_use]
    pub const fn address_bits(self) -> u32 {
        self.address_bits as u32
    }

    /// The size rounded up to the alignment: the distance between two such structures side by side, and what to allocate
    /// where an allocator wants the size to be a multiple of the alignment.
    #[must_use]
    pub const fn stride(self) -> u64 {
        self.size.saturating_add(self.alignment - 1) & !(self.alignment - 1)
    }

    /// So many of them side by side, a [stride](Self::stride) apart.
    #[must_use]
    pub const fn array(self, count: u64) -> Footprint {
        Footprint { size: self.stride().saturating_mul(count), ..self }
    }

    /// The same structure in whole cache lines of its own (COH-6, VPE-21): size and alignment are rounded up to the line.
    ///
    /// A non-coherent IRS needs this: cleaning a line that the structure shares with something else would overwrite what
    /// the IRS wrote.
    ///
    /// # Errors
    ///
    /// [`GeometryError::CacheLine`] if `line_bytes` is not a power of two.
    pub const fn for_cache_line(self, line_bytes: u64) -> Result<Footprint, GeometryError> {
        let line = line_bytes;
        if !line.is_power_of_two() {
            return Err(GeometryError::CacheLine { bytes: line });
        }
        Ok(Footprint {
            size: self.size.saturating_add(line - 1) & !(line - 1),
            alignment: if line > self.alignment { line } else { self.alignment },
            address_bits: self.address_bits,
        })
    }

    /// Takes an address for the structure, in the type of the field that is to point to it.
    ///
    /// # Errors
    ///
    /// [`AddressError::Misaligned`] if hardware would use a lower address instead (VMT-10, IST-12),
    /// [`AddressError::TooHigh`] if the last byte is beyond what the field can reach.
    pub const fn place<const MSB: u8, const LSB: u8>(
        self,
        address: PhysAddr,
    ) -> Result<FieldAddr<MSB, LSB>, AddressError> {
        if !address.is_aligned_to(self.alignment) {
            return Err(AddressError::Misaligned { address: address.raw(), alignment: self.alignment });
        }
        let last = address.raw().saturating_add(self.size - 1);
        if last >> self.address_bits != 0 {
            return Err(AddressError::TooHigh { address: last, msb: self.address_bits - 1 });
        }
        FieldAddr::new(address)
    }
}
