//! The geometry of every table, against the rules written a second time in wide arithmetic.
//!
//! The reference here does not shift logarithms as the library does: it multiplies entry counts by entry sizes in 128
//! bits, cuts arrays into tables by dividing, walks IDs one after the other, and looks for alignments by trying. Where a
//! rule gives a formula for an address bit it is evaluated as it stands, in signed arithmetic.

use gicv5_arch::entry::{L1_ISTE, L1_VMTE, L2_VMTE_IST, L2_VMTE_VPET, VPETE};
use gicv5_arch::geometry::{
    DescriptorGeometry, Footprint, GeometryError, IstGeometry, IstLimits, Slot, TableIndex, VmTableGeometry,
    VmTableLimits, VpeTableGeometry, VpeTableLimits,
};
use gicv5_arch::irs::{IRS_IDR2, IRS_IDR3, IRS_IDR4, IRS_IST_BASER, IRS_IST_CFGR, IRS_VMT_BASER, IRS_VMT_CFGR};
use gicv5_arch::values::{IstSize, L2Size, Levels, Structure};
use gicv5_arch::{Addr55_3, AddressError, IrsIntType, PhysAddr, VmId, VpeId};
use proptest::prelude::*;

/// ISTSZ, entry bytes (IST-9).
const ENTRIES: [(IstSize, i128, u128); 3] =
    [(IstSize::Bytes4, 0, 4), (IstSize::Bytes8, 1, 8), (IstSize::Bytes16, 2, 16)];

/// L2SZ, level-2 bytes (IST-14), and no second level.
const SHAPES: [Option<(L2Size, i128, u128)>; 4] =
    [None, Some((L2Size::KiB4, 0, 4096)), Some((L2Size::KiB16, 1, 16384)), Some((L2Size::KiB64, 2, 65536))];

/// Numbers that are no count of bits, among them some that are one once cut to 8 bits.
const ABSURD: [u32; 14] =
    [32, 33, 63, 64, 127, 128, 255, 256, 256 + 8, 256 + 16, 65536 + 12, 1 << 24, 1 << 31, u32::MAX];

fn two_to(bits: u32) -> u128 {
    (0..bits).fold(1, |n, _| n + n)
}

/// 2^(n+1) for base address bits n:0 that are zero.
fn alignment_of_zero_bits(n: i128) -> u128 {
    (0..=n).fold(1, |alignment, _| alignment * 2)
}

fn smallest_power_of_two_not_below(bytes: u128) -> u128 {
    std::iter::successors(Some(1), |n| Some(n * 2)).find(|n| *n >= bytes).unwrap_or(0)
}

fn size(footprint: Footprint) -> u128 {
    footprint.size().into()
}

fn alignment(footprint: Footprint) -> u128 {
    footprint.alignment().into()
}

/// A table cut into pieces by the rules: what is where, in bytes and entries.
#[derive(Clone, Copy, Debug)]
struct Reference {
    ids: u128,
    entry: u128,
    /// Level-2 bytes, if there is a second level.
    level2: Option<u128>,
}

impl Reference {
    fn per_level2(self) -> Option<u128> {
        self.level2.map(|bytes| bytes / self.entry)
    }

    /// As many as it takes to have a place for every ID.
    fn l1_entries(self) -> u128 {
        self.per_level2().map_or(0, |per| self.ids.div_ceil(per))
    }

    fn base(self) -> u128 {
        if self.level2.is_some() { self.l1_entries() * 8 } else { self.ids * self.entry }
    }

    fn total(self) -> u128 {
        self.base() + self.l1_entries() * self.level2.unwrap_or(0)
    }

    fn largest_piece(self) -> u128 {
        self.base().max(self.level2.unwrap_or(0))
    }

    /// True if a second level would be more than one table (IST-16), or there is none.
    fn worthwhile(self) -> bool {
        self.per_level2().is_none_or(|per| self.ids > per)
    }

    /// Checks the place of every ID if there are few, otherwise of those at the edges and in the middle of every level-2
    /// table: the entries lie side by side, in the order of their IDs, with nothing between and nothing shared.
    fn check_places(self, context: &str, index: impl Fn(u32) -> Option<TableIndex>) {
        const FEW: u128 = 1 << 16;
        let per = self.per_level2().unwrap_or(self.ids).min(self.ids);
        let all = 0..if self.ids <= FEW { per } else { 0 };
        let edges = [0, 1, per / 2, per.saturating_sub(2), per - 1].into_iter();
        let powers = (0..24).flat_map(|bits| [two_to(bits) - 1, two_to(bits), two_to(bits) + 1]);
        // A long linear array is not walked; its powers of two are looked at instead.
        let powers = powers.filter(|_| self.level2.is_none());
        let entries: Vec<u128> = all.chain(edges).chain(powers).filter(|entry| *entry < per).collect();
        for table in 0..self.ids.div_ceil(per) {
            for entry in &entries {
                let id = (table * per + entry) as u32;
                let slot = Slot { index: *entry as u32, offset: (entry * self.entry) as u64 };
                let expected = match self.level2 {
                    None => TableIndex::Linear(slot),
                    Some(_) => TableIndex::TwoLevel {
                        level1: Slot { index: table as u32, offset: (table * 8) as u64 },
                        level2: slot,
                    },
                };
                assert_eq!(index(id), Some(expected), "{context}: ID {id}");
            }
        }
        // The last entry ends where the piece ends, or before if the table has fewer IDs than one level-2 table.
        assert!(per * self.entry <= self.level2.unwrap_or(self.base()), "{context}");
        for beyond in [self.ids, self.ids + 1, self.ids * 2, u32::MAX.into()] {
            assert_eq!(index(beyond as u32), None, "{context}: ID {beyond} is beyond the table");
        }
    }
}

fn make_ist(id_bits: u32, entry: IstSize, l2: Option<L2Size>) -> Result<IstGeometry, GeometryError> {
    match l2 {
        None => IstGeometry::linear(id_bits, entry),
        Some(size) => IstGeometry::two_level(id_bits, entry, size),
    }
}

/// Every IST there can be, with its reference and ISTSZ and L2SZ as numbers.
fn every_ist() -> impl Iterator<Item = (IstGeometry, Reference, i128, Option<i128>)> {
    (0..=24).flat_map(|id_bits| {
        ENTRIES.into_iter().flat_map(move |(entry, istsz, bytes)| {
            SHAPES.into_iter().filter_map(move |shape| {
                let ist = make_ist(id_bits, entry, shape.map(|(size, ..)| size)).ok()?;
                let level2 = shape.map(|(_, _, bytes)| bytes);
                let l2sz = shape.map(|(_, l2sz, _)| l2sz);
                Some((ist, Reference { ids: two_to(id_bits), entry: bytes, level2 }, istsz, l2sz))
            })
        })
    })
}

#[test]
fn an_ist_has_the_size_and_alignment_of_ist_12_to_17() {
    let mut tables = 0;
    for (ist, reference, istsz, l2sz) in every_ist() {
        tables += 1;
        let id_bits = i128::from(ist.id_bits());
        let context = format!("{ist:?}");
        assert_eq!(size(ist.base()), reference.base(), "{context}");
        assert_eq!(u128::from(ist.total_bytes()), reference.total(), "{context}");
        assert_eq!(u128::from(ist.l1_entries()), reference.l1_entries(), "{context} (IST-17)");
        assert_eq!(ist.base().address_bits(), 56);
        assert_eq!(u128::from(ist.entry_size().bytes()), reference.entry);

        let n = match l2sz {
            None => (id_bits + 1 + istsz).max(5),
            Some(l2sz) => (id_bits - ((10 - istsz) + 2 * l2sz) + 3 - 1).max(5),
        };
        assert_eq!(alignment(ist.base()), alignment_of_zero_bits(n), "{context} (IST-12, IST-13)");
        let natural = smallest_power_of_two_not_below(reference.base());
        assert_eq!(alignment(ist.base()), natural.max(64), "{context}: the floor is for the alignment alone");
        assert_eq!(u128::from(ist.base().stride()), reference.base().max(64), "{context}");

        let level2 = ist.level2().map(|level2| (size(level2), alignment(level2), level2.address_bits()));
        assert_eq!(level2, reference.level2.map(|bytes| (bytes, bytes, 56)), "{context} (IST-14)");
        assert_eq!(ist.l2_size().is_some(), ist.structure() == Structure::TwoLevel);
        if let Some(l2sz) = l2sz.filter(|_| reference.worthwhile()) {
            let carrying = two_to((id_bits - ((10 - istsz) + 2 * l2sz)) as u32);
            assert_eq!(reference.l1_entries(), carrying, "{context} (IST-17)");
        }
    }
    assert_eq!(tables, 25 * 3 * 4, "none is refused");
}

#[test]
fn a_level_1_ist_below_the_alignment_floor_is_walked_only_where_it_carries_ids() {
    let ist = IstGeometry::two_level(12, IstSize::Bytes4, L2Size::KiB4).unwrap();
    assert_eq!(
        (ist.base().stride(), ist.base().size(), ist.l1_entries()),
        (64, 32, 4),
        "room for 8 entries, 4 carry IDs"
    );
    assert_eq!(ist.ids_behind(3), Ok(0xc00..0x1000));
    assert_eq!(ist.ids_behind(4), Err(GeometryError::NoL1Entry { index: 4, entries: 4, rule: "IST-17" }));
}

#[test]
fn the_entries_of_an_ist_lie_side_by_side_in_the_order_of_their_ids() {
    for (ist, reference, ..) in every_ist() {
        reference.check_places(&format!("{ist:?} (IST-16, IST-27)"), |id| ist.index(id).ok());
    }
}

#[test]
fn the_level_1_entries_of_an_ist_divide_the_ids_among_them() {
    for (ist, reference, ..) in every_ist() {
        let mut next = 0;
        for l1 in 0..ist.l1_entries() {
            let ids = ist.ids_behind(l1).unwrap();
            assert_eq!(u128::from(ids.start), next, "{ist:?}");
            let count = reference.per_level2().unwrap().min(reference.ids);
            assert_eq!(u128::from(ids.end) - next, count, "{ist:?}");
            next += count;
        }
        if ist.structure() == Structure::TwoLevel {
            assert_eq!(next, reference.ids, "{ist:?}: every ID is behind one entry");
        }
        let entries = ist.l1_entries();
        for index in [entries, entries + 1, 1 << 24, u32::MAX] {
            assert_eq!(ist.ids_behind(index), Err(GeometryError::NoL1Entry { index, entries, rule: "IST-17" }));
        }
    }
}

#[test]
fn no_ist_has_more_than_24_id_bits() {
    for id_bits in (25..32).chain(ABSURD) {
        let error = GeometryError::OutOfRange { field: "ID_BITS", value: id_bits, min: 0, max: 24, rule: "GEN-1" };
        for (entry, ..) in ENTRIES {
            assert_eq!(IstGeometry::linear(id_bits, entry), Err(error));
            for size in L2Size::ALL {
                assert_eq!(IstGeometry::two_level(id_bits, entry, size), Err(error));
            }
        }
    }
}

#[test]
fn an_id_beyond_an_ist_is_unreachable() {
    let ist = IstGeometry::linear(14, IstSize::Bytes8).unwrap();
    for id in [1 << 14, 1 << 24, 1 << 31, u32::MAX] {
        let error = GeometryError::Unreachable { kind: "interrupt", id, id_bits: 14, rule: "IST-27" };
        assert_eq!(ist.index(id), Err(error));
    }
}

/// What fields that describe an IST mean, or the error: the table is built from the numbers as they stand.
fn ist_from_numbers(id_bits: u32, structure: u32, istsz: u32, l2sz: u32) -> Result<IstGeometry, GeometryError> {
    let Some(entry) = ENTRIES.iter().find(|(_, code, _)| *code == istsz.into()) else {
        return Err(GeometryError::Reserved { field: "ISTSZ", value: 3, rule: "IST-9" });
    };
    let shape = match structure {
        0 => SHAPES.first(),
        _ => SHAPES.iter().find(|shape| shape.is_some_and(|(_, code, _)| code == l2sz.into())),
    };
    match shape {
        Some(shape) => make_ist(id_bits, entry.0, shape.map(|(size, ..)| size)),
        None => Err(GeometryError::Reserved { field: "L2SZ", value: 3, rule: "IST-14" }),
    }
}

#[test]
fn registers_and_table_entries_describe_the_ist_they_were_made_from() {
    for fields in 0..1u32 << 10 {
        let (id_bits, l2sz, istsz, structure) = (fields & 31, fields >> 5 & 3, fields >> 7 & 3, fields >> 9);
        let cfgr = id_bits | l2sz << 5 | istsz << 7 | structure << 16;
        let expected = ist_from_numbers(id_bits, structure, istsz, l2sz);
        assert_eq!(IstGeometry::from_cfgr(IRS_IST_CFGR::new_with_raw_value(cfgr)), expected);

        // Reserved bits, the address and the valid bit are not part of the shape.
        let word =
            u64::from(id_bits) << 59 | u64::from(structure) << 58 | u64::from(istsz) << 56 | u64::from(l2sz) << 1;
        for noise in [0, 1, 0x00ff_ffff_ffff_fff9] {
            assert_eq!(IstGeometry::from_vmte_word(L2_VMTE_IST::new_with_raw_value(word | noise)), expected);
        }

        if let Ok(ist) = expected {
            let l2sz = l2sz * structure;
            let cfgr = id_bits | l2sz << 5 | istsz << 7 | structure << 16;
            assert_eq!(ist.cfgr().raw_value(), cfgr, "L2SZ is 0 where it means nothing");
            let base = PhysAddr::new(ist.base().alignment() * 3).unwrap();
            let word = word & !6 | u64::from(l2sz) << 1;
            assert_eq!(ist.vmte_word(base).unwrap().raw_value(), word | base.raw(), "not valid yet (IST-2)");
            let misaligned = PhysAddr::new(base.raw() + 32).unwrap();
            assert!(ist.vmte_word(misaligned).is_err(), "{ist:?} (IST-12)");
        }
    }
}

/// What IRS_IDR2 allows, read off the raw bits by the rules.
fn idr2_is_legal(raw: u32) -> bool {
    let id_bits = raw & 31;
    let min_lpi_id_bits = raw >> 6 & 15;
    let two_levels = raw >> 10 & 1 == 1;
    let l2_sizes = raw >> 11 & 7;
    id_bits <= 24 && min_lpi_id_bits <= 14 && min_lpi_id_bits <= id_bits && !(two_levels && l2_sizes == 0)
}

#[test]
fn every_legal_irs_idr2_is_read_and_every_illegal_one_is_refused_with_the_field() {
    for raw in 0..1u32 << 20 {
        let limits = IstLimits::from_idr2(IRS_IDR2::new_with_raw_value(raw));
        assert_eq!(limits.is_ok(), idr2_is_legal(raw), "IRS_IDR2 {raw:#x} (GEN-10, IST-15)");
        let id_bits = raw & 31;
        let min_lpi_id_bits = raw >> 6 & 15;
        match limits {
            Ok(limits) => {
                assert_eq!(limits.id_bits(), id_bits);
                assert_eq!(limits.min_lpi_id_bits(), min_lpi_id_bits);
                assert_eq!(limits.has_physical_lpis(), raw >> 5 & 1 == 1);
                let sizes = limits.l2_sizes().map(|sizes| u32::from(sizes.raw_value()));
                assert_eq!(sizes, (raw >> 10 & 1 == 1).then_some(raw >> 11 & 7));
            }
            Err(GeometryError::OutOfRange { field: "IRS_IDR2.ID_BITS", value, min, max, .. }) => {
                assert!(value == id_bits && value > max && (min, max) == (0, 24));
            }
            Err(GeometryError::OutOfRange { field: "IRS_IDR2.MIN_LPI_ID_BITS", value, min, max, .. }) => {
                assert!(value == min_lpi_id_bits && value > max && (min, max) == (0, id_bits.min(14)));
            }
            Err(error) => assert_eq!(error, GeometryError::NoL2Size),
        }
    }
    // Reserved bits do not matter.
    let raw = 0xfff0_0000 | 16;
    assert_eq!(IstLimits::from_idr2(IRS_IDR2::new_with_raw_value(raw)).unwrap().id_bits(), 16);
}

/// IRS_IDR2 from its fields; no metadata if there is no threshold, linear only if there are no sizes.
fn idr2(id_bits: u32, min_lpi_id_bits: u32, l2_sizes: u32, metadata: Option<u32>) -> IRS_IDR2 {
    let metadata = metadata.map_or(0, |threshold| threshold << 15 | 1 << 14);
    let levels = u32::from(l2_sizes != 0) << 10;
    IRS_IDR2::new_with_raw_value(metadata | l2_sizes << 11 | levels | min_lpi_id_bits << 6 | 1 << 5 | id_bits)
}

#[test]
fn the_entry_size_follows_the_metadata_threshold() {
    for id_bits in (0..40).chain(ABSURD) {
        let plain = IstLimits::from_idr2(idr2(24, 0, 0, None)).unwrap();
        assert_eq!(plain.entry_size(id_bits), IstSize::Bytes4, "no metadata (IST-10)");
        for threshold in 0..32 {
            let limits = IstLimits::from_idr2(idr2(24, 0, 0, Some(threshold))).unwrap();
            let expected = if id_bits >= threshold { IstSize::Bytes16 } else { IstSize::Bytes8 };
            assert_eq!(limits.entry_size(id_bits), expected, "{id_bits} ID bits, ISTMD_SZ {threshold} (IST-10)");
        }
    }
}

#[test]
fn an_ist_gets_the_fewest_id_bits_that_the_irs_takes() {
    let counts = (0..=1025).chain((10..32).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]));
    for count in counts.chain([u32::MAX]) {
        for (min_lpi, max) in [(0, 0), (0, 24), (14, 14), (14, 24), (9, 16), (1, 1)] {
            let limits = IstLimits::from_idr2(idr2(max, min_lpi, 0, None)).unwrap();
            for (int_type, min, field) in
                [(IrsIntType::Lpi, min_lpi, "LPI_ID_BITS"), (IrsIntType::Spi, 0, "SPI_ID_BITS")]
            {
                let expected = (min..=max).find(|bits| two_to(*bits) >= count.into());
                match limits.id_bits_for(int_type, count) {
                    Ok(id_bits) => assert_eq!(Some(id_bits), expected, "{count} {int_type:?} (IST-28)"),
                    Err(error) => {
                        assert_eq!(expected, None, "{count} {int_type:?} (IST-28)");
                        let value = (max + 1..64).find(|bits| two_to(*bits) >= count.into()).unwrap();
                        assert_eq!(error, GeometryError::OutOfRange { field, value, min, max, rule: "IST-28" });
                    }
                }
            }
        }
    }
}

#[test]
fn the_narrower_of_irs_and_cpu_interface_counts() {
    let limits = IstLimits::from_idr2(idr2(24, 14, 0b111, None)).unwrap();
    assert_eq!(limits.with_cpu_interface(16).unwrap().id_bits(), 16, "GEN-12");
    assert_eq!(limits.with_cpu_interface(24).unwrap(), limits);
    assert_eq!(limits.with_cpu_interface(u32::MAX).unwrap(), limits);
    let error =
        GeometryError::OutOfRange { field: "IRS_IDR2.MIN_LPI_ID_BITS", value: 14, min: 0, max: 13, rule: "GEN-10" };
    assert_eq!(limits.with_cpu_interface(13), Err(error), "the IRS insists on more LPIs than can be named");
}

/// What allocators are asked about: nothing, everything, and both sides of every power of two.
fn contiguous() -> impl Iterator<Item = u64> {
    (0..32).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1]).chain([u64::MAX])
}

/// The first shape in order of preference whose pieces all fit; otherwise what the least demanding one needs.
fn first_that_fits(shapes: impl Iterator<Item = Reference> + Clone, contiguous: u64) -> Result<Reference, u128> {
    let mut candidates = shapes.filter(|shape| shape.worthwhile());
    let needed = candidates.clone().map(Reference::largest_piece).min().unwrap_or(0);
    candidates.find(|shape| shape.largest_piece() <= contiguous.into()).ok_or(needed)
}

#[test]
fn the_shape_of_an_ist_is_the_first_that_the_allocator_can_give() {
    for (entry, _, bytes) in ENTRIES {
        let metadata = match entry {
            IstSize::Bytes4 => None,
            IstSize::Bytes8 => Some(31),
            IstSize::Bytes16 => Some(0),
        };
        for l2_sizes in 0..8 {
            let limits = IstLimits::from_idr2(idr2(24, 0, l2_sizes, metadata)).unwrap();
            for id_bits in 0..=24 {
                let ids = two_to(id_bits);
                // Linear, then the supported level-2 sizes from the largest down.
                let shapes = [None, Some((4, 65536)), Some((2, 16384)), Some((1, 4096))].into_iter();
                let shapes = shapes
                    .filter(move |shape| shape.is_none_or(|(bit, _)| l2_sizes & bit != 0))
                    .map(|shape| Reference { ids, entry: bytes, level2: shape.map(|(_, level2)| level2) });
                for contiguous_bytes in contiguous() {
                    let expected = first_that_fits(shapes.clone(), contiguous_bytes);
                    match (limits.choose(IrsIntType::Lpi, id_bits, contiguous_bytes), expected) {
                        (Ok(ist), Ok(shape)) => {
                            assert_eq!(ist.level2().map(size), shape.level2, "{ist:?} in {contiguous_bytes} bytes");
                            assert_eq!((ist.id_bits(), ist.entry_size()), (id_bits, entry));
                            assert_eq!(limits.check(IrsIntType::Lpi, ist), Ok(()));
                            assert!(shape.level2.is_none() || ist.l1_entries() > 1, "{ist:?} (IST-16)");
                        }
                        (Err(error), Err(needed)) => {
                            let needed_bytes = needed as u64;
                            let expected = GeometryError::NotContiguous { id_bits, contiguous_bytes, needed_bytes };
                            assert_eq!(error, expected);
                            assert!(limits.choose(IrsIntType::Lpi, id_bits, needed_bytes).is_ok(), "{error}");
                        }
                        (ist, shape) => panic!("{ist:?} instead of {shape:?} in {contiguous_bytes} bytes"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_number_of_id_bits_that_hardware_would_clamp_is_refused() {
    let limits = IstLimits::from_idr2(idr2(16, 12, 0b001, None)).unwrap();
    for id_bits in (0..32).chain(ABSURD) {
        for (int_type, field, min) in [(IrsIntType::Lpi, "LPI_ID_BITS", 12), (IrsIntType::Spi, "SPI_ID_BITS", 0)] {
            let result = limits.choose(int_type, id_bits, u64::MAX);
            if (min..=16).contains(&id_bits) {
                assert_eq!(result, IstGeometry::linear(id_bits, IstSize::Bytes4));
            } else {
                let error = GeometryError::OutOfRange { field, value: id_bits, min, max: 16, rule: "IST-28" };
                assert_eq!(result, Err(error), "{int_type:?}");
            }
        }
    }
}

#[test]
fn an_irs_takes_exactly_the_ists_that_its_id_register_allows() {
    let (mut taken, mut refused) = (0, 0);
    for (max, min_lpi, threshold, l2_sizes) in [0, 8, 16, 24].into_iter().flat_map(|max| {
        [0, 8, 14].into_iter().flat_map(move |min| {
            [None, Some(0), Some(9), Some(17), Some(31)]
                .into_iter()
                .flat_map(move |threshold| (0..8).map(move |sizes| (max, min, threshold, sizes)))
        })
    }) {
        let Ok(limits) = IstLimits::from_idr2(idr2(max, min_lpi, l2_sizes, threshold)) else {
            assert!(min_lpi > max);
            continue;
        };
        for (ist, reference, _, l2sz) in every_ist() {
            let bits = ist.id_bits();
            let bytes = threshold.map_or(4, |threshold| if bits >= threshold { 16 } else { 8 });
            for (int_type, min) in [(IrsIntType::Lpi, min_lpi), (IrsIntType::Spi, 0)] {
                match limits.check(int_type, ist) {
                    Ok(()) => {
                        taken += 1;
                        assert!(bits >= min && bits <= max, "{ist:?} (IST-28)");
                        assert_eq!(reference.entry, bytes, "{ist:?} (IST-10)");
                        assert!(l2sz.is_none_or(|l2sz| l2_sizes >> l2sz & 1 == 1), "{ist:?} (IST-15)");
                        continue;
                    }
                    Err(GeometryError::OutOfRange { value, rule, .. }) => {
                        assert!(value == bits && rule == "IST-28" && (bits < min || bits > max));
                    }
                    Err(GeometryError::EntrySize { found, required, id_bits }) => {
                        assert_eq!((found, u128::from(required.bytes()), id_bits), (ist.entry_size(), bytes, bits));
                        assert_ne!(found, required);
                    }
                    Err(GeometryError::LinearOnly { .. }) => assert!(l2sz.is_some() && l2_sizes == 0),
                    Err(GeometryError::L2SizeUnsupported { size, supported }) => {
                        assert_eq!(Some(size), ist.l2_size());
                        assert!(!supported.contains(size) && l2_sizes != 0);
                        assert_eq!(l2sz.map(|l2sz| l2_sizes >> l2sz & 1), Some(0));
                    }
                    Err(error) => panic!("{error}"),
                }
                refused += 1;
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}

/// Every VM table there can be, with its reference.
fn every_vm_table() -> impl Iterator<Item = (VmTableGeometry, Reference)> {
    (0..=16).flat_map(|bits| {
        let reference = move |level2| Reference { ids: two_to(bits), entry: 32, level2 };
        let linear = VmTableGeometry::linear(bits).ok().map(|table| (table, reference(None)));
        let two_level = VmTableGeometry::two_level(bits).ok().map(|table| (table, reference(Some(4096))));
        linear.into_iter().chain(two_level)
    })
}

#[test]
fn a_vm_table_has_the_size_and_alignment_of_vmt_8_to_10() {
    assert_eq!(every_vm_table().count(), 17 * 2, "none is refused");
    for (table, reference) in every_vm_table() {
        let context = format!("{table:?}");
        assert_eq!(size(table.base()), reference.base(), "{context} (VMT-8, VMT-10)");
        let natural = smallest_power_of_two_not_below(reference.base());
        assert_eq!(alignment(table.base()), natural.max(8), "{context} (VMT-10)");
        assert_eq!(table.base().stride(), table.base().size());
        assert_eq!(table.base().address_bits(), 56);
        assert_eq!(u128::from(table.total_bytes()), reference.total(), "{context}");
        assert_eq!(u128::from(table.l1_entries()), reference.l1_entries(), "{context} (VMT-10)");
        let level2 = table.level2().map(|level2| (size(level2), alignment(level2), level2.address_bits()));
        assert_eq!(level2, reference.level2.map(|_| (4096, 4096, 52)), "{context} (VMT-9)");
        if let Some(level2) = table.level2() {
            assert_eq!(level2.size() / 32, 128, "VMT-9");
            let entries = if table.vm_id_bits() < 7 { 1 } else { two_to(table.vm_id_bits() - 7) };
            assert_eq!(reference.l1_entries(), entries, "VMT-10");
        }
    }
}

#[test]
fn the_entries_of_a_vm_table_lie_side_by_side_in_the_order_of_their_vms() {
    for (table, reference) in every_vm_table() {
        // VM IDs have 16 bits: a number that has more names no VM, and is not offered here.
        reference.check_places(&format!("{table:?}"), |id| {
            u16::try_from(id).ok().and_then(|id| table.index(VmId::new(id)).ok())
        });
        let mut next = 0;
        for l1 in 0..table.l1_entries() {
            let vms = table.vms_behind(l1).unwrap();
            assert_eq!(u32::from(vms.start().raw_value()), next, "{table:?} (VMT-13)");
            next = u32::from(vms.end().raw_value()) + 1;
        }
        if table.structure() == Structure::TwoLevel {
            assert_eq!(u128::from(next), reference.ids, "{table:?}: every VM is behind one entry");
        }
        let entries = table.l1_entries();
        for index in [entries, entries + 1, 1 << 16, 1 << 25, u32::MAX] {
            let error = GeometryError::NoL1Entry { index, entries, rule: "VMT-10" };
            assert_eq!(table.vms_behind(index), Err(error), "{table:?}");
        }
        if table.vm_id_bits() < 16 {
            let (id, id_bits) = (1 << table.vm_id_bits(), table.vm_id_bits());
            let error = GeometryError::Unreachable { kind: "VM", id, id_bits, rule: "VMT-20" };
            assert_eq!(table.index(VmId::new(id as u16)), Err(error));
        }
    }
}

#[test]
fn no_vm_table_has_more_than_16_id_bits() {
    for value in (17..32).chain(ABSURD) {
        let field = "IRS_VMT_CFGR.VM_ID_BITS";
        let error = GeometryError::OutOfRange { field, value, min: 0, max: 16, rule: "VMT-11" };
        assert_eq!(VmTableGeometry::linear(value), Err(error));
        assert_eq!(VmTableGeometry::two_level(value), Err(error));
    }
}

#[test]
fn the_vm_table_register_describes_the_table_it_was_made_from() {
    for structure in 0..2 {
        for bits in 0..32 {
            let raw = structure << 16 | bits;
            match VmTableGeometry::from_cfgr(IRS_VMT_CFGR::new_with_raw_value(raw | 0xfffe_ffe0)) {
                Ok(table) => {
                    assert_eq!(table.cfgr().raw_value(), raw, "reserved bits are not carried along");
                    assert_eq!((table.vm_id_bits(), table.structure() as u32), (bits, structure));
                }
                Err(_) => assert!(bits > 16, "VMT-11"),
            }
        }
    }
}

#[test]
fn every_legal_irs_idr3_is_read_and_every_illegal_one_is_refused_with_the_field() {
    for raw in (0..1u32 << 11).flat_map(|raw| [raw, raw | 0xffff_f800]) {
        let (vmd, vmd_sz, vm_id_bits, levels) = (raw & 1 == 1, raw >> 1 & 15, raw >> 5 & 31, raw >> 10 & 1);
        let bits_legal = (8..=16).contains(&vm_id_bits);
        let size_legal = !vmd || (3..=12).contains(&vmd_sz);
        match VmTableLimits::from_idr3(IRS_IDR3::new_with_raw_value(raw)) {
            Ok(limits) => {
                assert!(bits_legal && size_legal, "IRS_IDR3 {raw:#x} (GEN-10)");
                assert_eq!((limits.vm_id_bits(), limits.levels() as u32), (vm_id_bits, levels));
                let descriptor = limits.descriptor().map(|descriptor| size(descriptor.footprint()));
                assert_eq!(descriptor, vmd.then(|| two_to(vmd_sz)), "VM-10");
            }
            Err(error) => {
                assert!(!bits_legal || !size_legal, "IRS_IDR3 {raw:#x} (GEN-10)");
                let (field, value, min, max) = if bits_legal {
                    ("IRS_IDR3.VMD_SZ", vmd_sz, 3, 12)
                } else {
                    ("IRS_IDR3.VM_ID_BITS", vm_id_bits, 8, 16)
                };
                assert_eq!(error, GeometryError::OutOfRange { field, value, min, max, rule: "GEN-10" });
            }
        }
    }
}

/// Every IRS as far as VM tables go: VM ID bits, levels, limits.
fn every_vm_table_limits() -> impl Iterator<Item = (u32, Levels, VmTableLimits)> {
    (8..=16).flat_map(|bits| {
        [(0, Levels::Linear), (1, Levels::TwoLevel)].into_iter().filter_map(move |(code, levels)| {
            let idr3 = IRS_IDR3::new_with_raw_value(code << 10 | bits << 5);
            VmTableLimits::from_idr3(idr3).ok().map(|limits| (bits, levels, limits))
        })
    })
}

#[test]
fn a_vm_table_is_no_larger_than_hardware_allows_and_may_be_smaller() {
    assert_eq!(every_vm_table_limits().count(), 9 * 2);
    for (max, levels, limits) in every_vm_table_limits() {
        for (table, _) in every_vm_table() {
            let value = table.vm_id_bits();
            let expected = if table.structure() == Structure::TwoLevel && levels == Levels::Linear {
                Err(GeometryError::LinearOnly { field: "IRS_IDR3.VMT_LEVELS", rule: "VMT-11" })
            } else if value > max {
                let field = "IRS_VMT_CFGR.VM_ID_BITS";
                Err(GeometryError::OutOfRange { field, value, min: 0, max, rule: "VMT-11" })
            } else {
                Ok(())
            };
            assert_eq!(limits.check(table), expected, "{table:?}");
        }
    }
    for highest in 0..=u16::MAX {
        let needed = (0..=16).find(|bits| two_to(*bits) > highest.into()).unwrap();
        for (max, _, limits) in every_vm_table_limits() {
            let bits = limits.vm_id_bits_for(VmId::new(highest));
            assert_eq!(bits.ok(), (needed <= max).then_some(needed), "VM {highest} with {max} ID bits (VMT-11)");
        }
    }
}

#[test]
fn the_shape_of_a_vm_table_is_the_first_that_the_allocator_can_give() {
    for (max, levels, limits) in every_vm_table_limits() {
        for bits in 0..=max {
            let shapes = [None, Some(4096)].into_iter().filter(|level2| level2.is_none() || levels == Levels::TwoLevel);
            let shapes = shapes.map(|level2| Reference { ids: two_to(bits), entry: 32, level2 });
            for contiguous_bytes in contiguous() {
                match (limits.choose(bits, contiguous_bytes), first_that_fits(shapes.clone(), contiguous_bytes)) {
                    (Ok(table), Ok(shape)) => {
                        assert_eq!(table.level2().map(size), shape.level2, "{table:?} in {contiguous_bytes} bytes");
                        assert_eq!(table.vm_id_bits(), bits);
                        assert_eq!(limits.check(table), Ok(()));
                    }
                    (Err(error), Err(needed)) => {
                        let needed_bytes = needed as u64;
                        let id_bits = bits;
                        assert_eq!(error, GeometryError::NotContiguous { id_bits, contiguous_bytes, needed_bytes });
                        assert!(limits.choose(bits, needed_bytes).is_ok(), "{error}");
                    }
                    (table, shape) => panic!("{table:?} instead of {shape:?} in {contiguous_bytes} bytes"),
                }
            }
        }
        for value in (max + 1..32).chain(ABSURD) {
            let field = "IRS_VMT_CFGR.VM_ID_BITS";
            let error = GeometryError::OutOfRange { field, value, min: 0, max, rule: "VMT-11" };
            assert_eq!(limits.choose(value, u64::MAX), Err(error));
        }
    }
}

#[test]
fn page_sized_pieces_are_enough_for_any_vm_table_with_two_levels() {
    for (max, _, limits) in every_vm_table_limits().filter(|(_, levels, _)| *levels == Levels::TwoLevel) {
        for bits in 0..=max {
            let table = limits.choose(bits, 4096).unwrap();
            assert_eq!(table.structure() == Structure::TwoLevel, bits > 7, "{bits} VM ID bits");
        }
    }
}

#[test]
fn a_vpe_table_is_sized_by_the_highest_vpe_id() {
    for highest in 0..=u16::MAX {
        let table = VpeTableGeometry::for_highest(VpeId::new(highest));
        // At least two entries, so at least one bit (VPE-3).
        let entries = smallest_power_of_two_not_below(u128::from(highest) + 1).max(2);
        assert_eq!(u128::from(table.entries()), entries, "VPE {highest} (VPE-2, VPE-3)");
        assert_eq!(two_to(table.vpe_id_bits()), entries);
        assert_eq!(size(table.footprint()), entries * 8, "VPE-1");
        assert_eq!(alignment(table.footprint()), entries * 8);
        assert_eq!(table.footprint().address_bits(), 56);
        assert!(table.index(VpeId::new(highest)).is_ok());
        assert_eq!(VpeTableGeometry::new(table.vpe_id_bits()), Ok(table));
    }
}

#[test]
fn the_entries_of_a_vpe_table_lie_side_by_side_in_the_order_of_their_vpes() {
    for bits in 1..=16 {
        let table = VpeTableGeometry::new(bits).unwrap();
        let mut next = 0;
        for vpe in 0..=u16::MAX {
            if u128::from(vpe) < two_to(bits) {
                let slot = Slot { index: vpe.into(), offset: next };
                assert_eq!(table.index(VpeId::new(vpe)), Ok(slot), "VPE-1");
                next += 8;
            } else {
                let error = GeometryError::Unreachable { kind: "VPE", id: vpe.into(), id_bits: bits, rule: "VPE-4" };
                assert_eq!(table.index(VpeId::new(vpe)), Err(error));
            }
        }
        assert_eq!(next, table.footprint().size());
    }
}

#[test]
fn a_vpe_table_has_at_least_one_id_bit_and_at_most_16() {
    for value in (17..32).chain(ABSURD).chain([0]) {
        let field = "L2_VMTE.VPE_ID_BITS";
        let error = GeometryError::OutOfRange { field, value, min: 1, max: 16, rule: "VPE-3" };
        assert_eq!(VpeTableGeometry::new(value), Err(error));
    }
}

#[test]
fn a_table_entry_describes_the_vpe_table_it_was_made_from() {
    for bits in 0..32 {
        let word = L2_VMTE_VPET::new_with_raw_value(bits << 59);
        match VpeTableGeometry::from_vmte_word(word) {
            Ok(table) => {
                assert_eq!(u64::from(table.vpe_id_bits()), bits, "a raw count, not minus one");
                let address = PhysAddr::new(table.footprint().alignment() * 5).unwrap();
                assert_eq!(table.vmte_word(address).unwrap().raw_value(), bits << 59 | address.raw());
                let misaligned = address.offset(8).unwrap();
                assert!(table.vmte_word(misaligned).is_err());
            }
            Err(_) => assert!(bits == 0 || bits > 16, "VPE-3"),
        }
    }
}

#[test]
fn every_legal_irs_idr4_is_read_and_every_illegal_one_is_refused_with_the_field() {
    for raw in (0..1u32 << 10).flat_map(|raw| [raw, raw | 0xffff_fc00]) {
        let (vped_sz, stored) = (raw & 63, raw >> 6 & 15);
        match VpeTableLimits::from_idr4(IRS_IDR4::new_with_raw_value(raw)) {
            Ok(limits) => {
                assert!((3..=12).contains(&vped_sz), "IRS_IDR4 {raw:#x} (GEN-10)");
                assert_eq!(limits.vpe_id_bits(), stored + 1, "stored minus one (GEN-11)");
                assert_eq!(size(limits.descriptor().footprint()), two_to(vped_sz), "VPE-7");
            }
            Err(error) => {
                assert!(!(3..=12).contains(&vped_sz), "IRS_IDR4 {raw:#x} (GEN-10)");
                let field = "IRS_IDR4.VPED_SZ";
                let error_for = GeometryError::OutOfRange { field, value: vped_sz, min: 3, max: 12, rule: "GEN-10" };
                assert_eq!(error, error_for);
            }
        }
    }
}

#[test]
fn a_vpe_table_is_no_larger_than_hardware_allows() {
    for stored in 0..16 {
        let limits = VpeTableLimits::from_idr4(IRS_IDR4::new_with_raw_value(stored << 6 | 6)).unwrap();
        let max = stored + 1;
        for highest in 0..=u16::MAX {
            let table = VpeTableGeometry::for_highest(VpeId::new(highest));
            let expected = if u128::from(highest) < two_to(max) {
                Ok(table)
            } else {
                let (field, value) = ("L2_VMTE.VPE_ID_BITS", table.vpe_id_bits());
                Err(GeometryError::OutOfRange { field, value, min: 1, max, rule: "VPE-4" })
            };
            assert_eq!(limits.table_for_highest(VpeId::new(highest)), expected);
            assert_eq!(limits.check(table), expected.map(|_| ()));
        }
    }
}

#[test]
fn a_descriptor_is_aligned_to_its_size_and_to_what_both_readings_of_its_address_field_agree_on() {
    for size_log2 in (0..32).chain(ABSURD) {
        match DescriptorGeometry::new(size_log2) {
            Ok(descriptor) => {
                assert!((3..=12).contains(&size_log2));
                let footprint = descriptor.footprint();
                assert_eq!(size(footprint), two_to(size_log2), "VM-10, VPE-7");
                assert_eq!(alignment(footprint), two_to(size_log2).max(32), "bits 55:3 or 55:5");
                assert_eq!(u128::from(footprint.stride()), two_to(size_log2).max(32));
                assert_eq!(footprint.address_bits(), 56);
            }
            Err(error) => {
                assert!(!(3..=12).contains(&size_log2));
                let field = "log2 of the descriptor size";
                let expected = GeometryError::OutOfRange { field, value: size_log2, min: 3, max: 12, rule: "GEN-10" };
                assert_eq!(error, expected);
            }
        }
    }
}

/// Everything that is put in memory.
fn every_footprint() -> Vec<Footprint> {
    let mut all = Vec::new();
    for (ist, ..) in every_ist() {
        all.push(ist.base());
        all.extend(ist.level2());
    }
    for (table, _) in every_vm_table() {
        all.push(table.base());
        all.extend(table.level2());
    }
    all.extend((1..=16).filter_map(|bits| VpeTableGeometry::new(bits).ok()).map(VpeTableGeometry::footprint));
    all.extend((3..=12).filter_map(|log2| DescriptorGeometry::new(log2).ok()).map(DescriptorGeometry::footprint));
    all
}

#[test]
fn nothing_shares_a_cache_line_with_a_structure_that_asked_for_whole_lines() {
    for footprint in every_footprint() {
        for bits in 0..64 {
            let line = 1u64 << bits;
            let whole = footprint.for_cache_line(line).unwrap();
            let lines = size(footprint).div_ceil(line.into());
            assert_eq!(size(whole), lines * u128::from(line), "COH-6");
            assert_eq!(alignment(whole), alignment(footprint).max(line.into()), "COH-6");
            assert_eq!(whole.address_bits(), footprint.address_bits());
            // A dense array of them: each starts on a line and on its alignment (VPE-21).
            let stride = u128::from(whole.stride());
            assert!(stride >= size(whole) && stride % alignment(whole) == 0 && stride - size(whole) < alignment(whole));
        }
        for bytes in [0, 3, 65, 0x8000_0001, (1 << 63) + 1, u64::MAX] {
            assert_eq!(footprint.for_cache_line(bytes), Err(GeometryError::CacheLine { bytes }));
        }
    }
}

#[test]
fn a_structure_is_not_placed_where_hardware_would_look_elsewhere() {
    for footprint in every_footprint() {
        let place =
            |address| footprint.place::<55, 3>(PhysAddr::new(address).unwrap()).map(|field| field.address().raw());
        let (bytes, step) = (footprint.size(), footprint.alignment());
        assert_eq!(place(0), Ok(0));
        assert_eq!(place(step * 7), Ok(step * 7));
        for low_bit in [1, 4, step / 2] {
            let error = AddressError::Misaligned { address: step * 2 + low_bit, alignment: step };
            assert_eq!(place(step * 2 + low_bit), Err(error), "VMT-10, IST-12");
        }
        let end = two_to(footprint.address_bits()) as u64;
        assert_eq!(place(end - step), Ok(end - step), "the last place there is");
        if footprint.address_bits() < 56 {
            let error = AddressError::TooHigh { address: end + bytes - 1, msb: 51 };
            assert_eq!(place(end), Err(error), "L1_VMTE.L2_ADDR ends at bit 51");
        }
        // Rounded up to a huge line it can start below the end and still end beyond it.
        let huge = footprint.for_cache_line(1 << 31).unwrap();
        assert!(huge.place::<55, 3>(PhysAddr::new(end - huge.alignment()).unwrap()).is_ok());
    }
}

#[test]
fn a_place_has_the_type_of_the_field_that_points_to_it() {
    let address = PhysAddr::new(0x8765_0000).unwrap();
    let ist = IstGeometry::two_level(16, IstSize::Bytes16, L2Size::KiB64).unwrap();
    let baser = IRS_IST_BASER::ZERO.with_addr(ist.base().place(address).unwrap());
    let l1_iste = L1_ISTE::ZERO.with_l2_addr(ist.level2().unwrap().place(address).unwrap());
    let vm_table = VmTableGeometry::two_level(16).unwrap();
    let vmt_baser = IRS_VMT_BASER::ZERO.with_addr(vm_table.base().place(address).unwrap());
    let l1_vmte = L1_VMTE::ZERO.with_l2_addr(vm_table.level2().unwrap().place(address).unwrap());
    let descriptor = DescriptorGeometry::new(12).unwrap();
    let vpete = VPETE::ZERO.with_vped_addr(descriptor.footprint().place(address).unwrap());
    let raw = [baser.raw_value(), l1_iste.raw_value(), vmt_baser.raw_value(), l1_vmte.raw_value(), vpete.raw_value()];
    assert_eq!(raw, [address.raw(); 5]);
    // The field has the last word: a place for a descriptor at 32 bytes is none in a field that starts at bit 6.
    let odd = PhysAddr::new(0x20).unwrap();
    let small = DescriptorGeometry::new(3).unwrap().footprint();
    assert_eq!(small.place(odd).map(Addr55_3::address), Ok(odd));
    assert_eq!(small.place::<55, 6>(odd), Err(AddressError::Misaligned { address: 0x20, alignment: 64 }));
}

#[test]
fn tables_can_be_laid_out_at_compile_time() {
    const SPI_IST: IstGeometry = match IstGeometry::linear(8, IstSize::Bytes4) {
        Ok(ist) => ist,
        Err(_) => panic!("8 is a legal number of ID bits"),
    };
    const BYTES: usize = SPI_IST.base().size() as usize;
    static STORAGE: [u8; BYTES] = [0; BYTES];
    assert_eq!(STORAGE.len(), 1024);
}

#[test]
fn an_error_says_what_is_wrong_in_the_words_of_the_registers() {
    let limits = IstLimits::from_idr2(idr2(16, 14, 0b101, Some(12))).unwrap();
    let linear_only = IstLimits::from_idr2(idr2(16, 0, 0, None)).unwrap();
    let small = IstGeometry::two_level(14, IstSize::Bytes4, L2Size::KiB16).unwrap();
    let odd = IstGeometry::two_level(14, IstSize::Bytes16, L2Size::KiB16).unwrap();
    let reserved = IstGeometry::from_cfgr(IRS_IST_CFGR::new_with_raw_value(3 << 7)).unwrap_err();
    let no_size = IstLimits::from_idr2(IRS_IDR2::new_with_raw_value(1 << 10 | 16)).unwrap_err();
    let errors = [
        (limits.id_bits_for(IrsIntType::Lpi, 1 << 17).unwrap_err(), "LPI_ID_BITS is 17, legal is 14 to 16 (IST-28)"),
        (no_size, "IRS_IDR2.IST_LEVELS is 1 but IRS_IDR2.IST_L2SZ names no level-2 size (IST-15)"),
        (
            linear_only.check(IrsIntType::Spi, small).unwrap_err(),
            "IRS_IDR2.IST_LEVELS is 0, the table cannot have two levels (IST-15)",
        ),
        (
            limits.check(IrsIntType::Lpi, odd).unwrap_err(),
            "level-2 tables of 16 KiB are not in IRS_IDR2.IST_L2SZ, which is 0b101 (IST-15)",
        ),
        (
            limits.check(IrsIntType::Lpi, small).unwrap_err(),
            "ISTSZ says 4 bytes, an IST of 14 ID bits on this IRS needs 16 bytes (IST-10)",
        ),
        (reserved, "ISTSZ holds the reserved value 3 (IST-9)"),
        (
            linear_only.choose(IrsIntType::Spi, 16, 4096).unwrap_err(),
            "a table of 16 ID bits needs 262144 contiguous bytes, 4096 are available",
        ),
        (odd.index(20000).unwrap_err(), "interrupt 20000 is not below 2^14, so it has no entry in the table (IST-27)"),
        (odd.ids_behind(16).unwrap_err(), "level-1 entry 16 carries no IDs, the table has 16 that do (IST-17)"),
        (odd.base().for_cache_line(48).unwrap_err(), "a cache line of 48 bytes is not a power of two"),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
}

/// The bytes that an entry occupies: which array, and where in it.
fn bytes_of(index: TableIndex, entry: u64) -> (u32, u64, u64) {
    match index {
        TableIndex::Linear(slot) => (0, slot.offset, slot.offset + entry),
        TableIndex::TwoLevel { level1, level2 } => (level1.index, level2.offset, level2.offset + entry),
    }
}

prop_compose! {
    fn any_ist()(id_bits in 0u32..=24, entry in 0usize..3, shape in 0usize..4) -> Option<IstGeometry> {
        make_ist(id_bits, ENTRIES.get(entry)?.0, SHAPES.get(shape)?.map(|(size, ..)| size)).ok()
    }
}

proptest! {
    #[test]
    fn an_id_is_found_again_from_the_place_of_its_entry(ist in any_ist(), id: u32) {
        let ist = ist.unwrap();
        let id = (u64::from(id) % (1u64 << ist.id_bits())) as u32;
        let entry = ist.entry_size().bytes();
        match ist.index(id).unwrap() {
            TableIndex::Linear(slot) => {
                prop_assert_eq!((u64::from(slot.index), slot.offset), (u64::from(id), u64::from(id) * entry));
            }
            TableIndex::TwoLevel { level1, level2 } => {
                let ids = ist.ids_behind(level1.index).unwrap();
                prop_assert!(ids.contains(&id));
                prop_assert_eq!(ids.start + level2.index, id);
                prop_assert_eq!(u64::from(ids.start) + level2.offset / entry, u64::from(id));
                prop_assert_eq!(level1.offset, u64::from(level1.index) * 8);
                prop_assert!(level1.offset + 8 <= ist.base().size());
            }
        }
    }

    #[test]
    fn no_two_ids_share_a_byte(ist in any_ist(), a: u32, b: u32, near: bool) {
        let ist = ist.unwrap();
        let ids = 1u64 << ist.id_bits();
        let a = (u64::from(a) % ids) as u32;
        let b = if near { a ^ 1 } else { (u64::from(b) % ids) as u32 };
        if let (Ok(at_a), Ok(at_b)) = (ist.index(a), ist.index(b)) {
            let entry = ist.entry_size().bytes();
            let ((table_a, start_a, end_a), (table_b, start_b, end_b)) = (bytes_of(at_a, entry), bytes_of(at_b, entry));
            let piece = ist.level2().unwrap_or(ist.base()).size();
            prop_assert!(end_a <= piece && end_b <= piece, "inside the piece");
            prop_assert!(a == b || table_a != table_b || end_a <= start_b || end_b <= start_a);
        }
    }

    #[test]
    fn numbers_of_any_size_are_answered(id_bits: u32, id: u32, contiguous: u64, raw: u32, size_log2: u32, line: u64) {
        // Overflow panics in a debug build, so reaching the end is the property.
        let _ = IstGeometry::linear(id_bits, IstSize::Bytes16).map(|ist| ist.index(id));
        let _ = VmTableGeometry::two_level(id_bits).map(|table| table.vms_behind(id));
        let _ = DescriptorGeometry::new(size_log2).map(|descriptor| descriptor.footprint().for_cache_line(line));
        if let Ok(limits) = IstLimits::from_idr2(IRS_IDR2::new_with_raw_value(raw)) {
            let _ = limits.id_bits_for(IrsIntType::Spi, id);
            if let Ok(ist) = limits.choose(IrsIntType::Lpi, id_bits % 32, contiguous) {
                prop_assert!(ist.base().size() <= contiguous);
                prop_assert_eq!(limits.check(IrsIntType::Lpi, ist), Ok(()));
            }
        }
    }
}
