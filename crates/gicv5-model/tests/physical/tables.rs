//! The physical IST in memory, software errors, and memory as the IRS sees it.

use crate::bench::*;

use arbitrary_int::{u3, u4, u5};

/// A machine whose IRS needs entries of this size for ISTs of 16 ID bits.
fn needing(entry: IstSize) -> MachineConfig {
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Early;
    config.irses[0].idr2 = match entry {
        IstSize::Bytes4 => config.irses[0].idr2,
        IstSize::Bytes8 => config.irses[0].idr2.with_istmd(true).with_istmd_sz(u5::new(17)),
        IstSize::Bytes16 => config.irses[0].idr2.with_istmd(true).with_istmd_sz(u5::new(16)),
    };
    config
}

const ENTRIES: [IstSize; 3] = [IstSize::Bytes4, IstSize::Bytes8, IstSize::Bytes16];

/// The two-level IST with the level-2 ISTs of some of its level-1 entries.
struct TwoLevel {
    level1: ModelBlock,
    level2: Vec<ModelBlock>,
}

/// Makes valid a two-level IST none of whose level-1 entries is.
fn two_level(bench: &Bench, geometry: IstGeometry) -> TwoLevel {
    let level1 = bench.ist_block(geometry);
    bench.set_ist(IRS, geometry, level1.address());
    TwoLevel { level1, level2: Vec::new() }
}

impl TwoLevel {
    /// Allocates a level-2 IST and points a level-1 entry to it, not valid.
    fn point(&mut self, bench: &Bench, geometry: IstGeometry, index: u64) -> PhysAddr {
        let size = geometry.level2().unwrap();
        let block = bench.block(size.size(), size.alignment());
        bench.machine.publish(IRS, &block, 0..block.size());
        bench.point(&self.level1, index, block.address());
        let address = block.address();
        self.level2.push(block);
        address
    }
}

#[test]
fn lpis_are_reachable_while_an_ist_is_valid() {
    // LPI-1, IST-27.
    let bench = Bench::eager(1);
    assert_eq!(bench.machine.interrupt(lpi(5)), None);
    assert_eq!(bench.machine.ist(), None);
    bench.linear_ist();
    assert_eq!(bench.machine.ist().map(|(_, geometry)| geometry), Some(linear(14)));
    bench.pend(lpi((1 << 14) - 1), 3, 0);
    assert_eq!(bench.candidate(PE0), Some(lpi((1 << 14) - 1)));
    assert_eq!(bench.machine.interrupt(lpi(1 << 14)), None);
    bench.clear_ist(IRS);
    assert_eq!(bench.machine.interrupt(lpi(5)), None);
}

#[test]
fn linear_ists_of_every_entry_size_keep_each_state_in_its_place() {
    // LPI-1: clearing VALID writes back; COH-8: little-endian, in the first 4 bytes of each entry.
    for entry in ENTRIES {
        let bench = Bench::started(needing(entry));
        let geometry = IstGeometry::linear(16, entry).unwrap();
        let block = bench.ist_block(geometry);
        bench.set_ist(IRS, geometry, block.address());
        for id in [0, 1, 7, 65_535] {
            bench.host(PE0).cdpri(lpi(id), priority(id % 32));
            bench.host(PE0).cden(lpi(id));
        }
        bench.clear_ist(IRS);
        bench.machine.acquire(IRS, &block, 0..block.size());
        let expected = |id: u32| L2_ISTE::ZERO.with_enable(true).with_priority(priority(id % 32)).raw_value();
        for id in [0, 1, 7, 65_535] {
            assert_eq!(bench.machine.load32(&block, u64::from(id) * entry.bytes()), expected(id), "{entry:?}, {id}");
        }
        assert_eq!(bench.machine.load32(&block, 2 * entry.bytes()), 0);
    }
}

#[test]
fn two_level_ists_of_every_size_keep_each_state_in_its_place() {
    // LPI-2: each level-2 IST is there from the command on that publishes it.
    for entry in ENTRIES {
        for size in L2Size::ALL {
            let bench = Bench::started(needing(entry));
            let geometry = IstGeometry::two_level(16, entry, size).unwrap();
            let mut tables = two_level(&bench, geometry);
            let per_table = u32::try_from(size.bytes() / entry.bytes()).unwrap();
            let last = geometry.l1_entries() - 1;
            for index in [0, last] {
                let id = index * per_table + per_table - 1;
                assert_eq!(bench.machine.interrupt(lpi(id)), None, "IST-27");
                let before = tables.level2.len();
                if before == 1 && last == 0 {
                    continue;
                }
                tables.point(&bench, geometry, u64::from(index));
                assert_eq!(bench.machine.interrupt(lpi(id)), None, "not published yet");
                bench.map_level2(IRS, index * per_table);
                bench.machine.acquire(IRS, &tables.level1, 0..8);
                let level1 = bench.machine.load64(&tables.level1, u64::from(index) * 8);
                assert_eq!(level1 & 1, 1, "the IRS sets VALID");
                bench.host(PE0).cden(lpi(id));
                assert!(bench.state(lpi(id)).enable());
            }
            bench.clear_ist(IRS);
            for block in &tables.level2 {
                let offset = u64::from(per_table - 1) * entry.bytes();
                assert_eq!(bench.machine.load32(block, offset), L2_ISTE::ZERO.with_enable(true).raw_value());
            }
            bench.clean();
            // The memory is software's again.
            for block in tables.level2 {
                bench.machine.free(block);
            }
            bench.machine.free(tables.level1);
        }
    }
}

#[test]
fn active_enabled_and_routed_states_may_be_preset() {
    // ISM-6, IST-22.
    let bench = Bench::eager(2);
    let block = bench.ist_block(linear(14));
    let preset = L2_ISTE::ZERO
        .with_active(true)
        .with_enable(true)
        .with_priority(priority(7))
        .with_hm(HandlingMode::Level)
        .with_iaffid(Iaffid::new(1));
    bench.machine.store32(&block, 20, preset.raw_value());
    bench.machine.publish(IRS, &block, 0..64);
    bench.set_ist(IRS, linear(14), block.address());
    assert_eq!(bench.state(lpi(5)), preset);
    bench.host(PE0).cdpend(lpi(5), true);
    assert_eq!(bench.candidate(PE1), None);
    bench.host(PE0).cddi(lpi(5).into());
    assert_eq!(bench.candidate(PE1), Some(lpi(5)));
}

#[test]
fn a_preset_routing_mode_is_ignored_without_one_of_n() {
    // RTE-3.
    let bench = Bench::eager(1);
    let block = bench.ist_block(linear(14));
    bench.machine.store32(&block, 20, 1 << 4);
    bench.machine.publish(IRS, &block, 0..64);
    bench.set_ist(IRS, linear(14), block.address());
    assert_eq!(bench.state(lpi(5)), L2_ISTE::ZERO);
}

#[test]
fn a_preset_pending_bit_is_noticed_when_the_switch_says() {
    // IST-22: by default only when something names the interrupt; and never before the IRS has read the entry.
    let pending = L2_ISTE::ZERO.with_pending(true).with_enable(true);
    for switch in [PresetPending::NotNoticed, PresetPending::Noticed] {
        let bench = Bench::eager_with(1, |config| config.switches.preset_pending = switch);
        let block = bench.ist_block(linear(14));
        for id in [5, 6, 7, 8] {
            bench.machine.store32(&block, id * 4, pending.raw_value());
        }
        bench.machine.publish(IRS, &block, 0..64);
        bench.set_ist(IRS, linear(14), block.address());
        assert_eq!(bench.candidate(PE0), None);
        assert_eq!(bench.state(lpi(5)), pending);
        assert_eq!(bench.candidate(PE0), None, "looking from outside is nothing that happens");
        bench.host(PE0).cdrcfg(lpi(5));
        let noticed = (switch == PresetPending::Noticed).then_some(lpi(5));
        assert_eq!(bench.candidate(PE0), noticed, "{switch:?}");
        assert!(!bench.machine.prefer(lpi(5)) || noticed.is_some());
        bench.host(PE0).cdpri(lpi(9), priority(3));
        assert_eq!(bench.candidate(PE0), noticed, "nor is what happens to another");
        bench.host(PE0).cdpend(lpi(5), true);
        assert_eq!(take(&bench.host(PE0)), Some(lpi(5).into()));
        bench.host(PE0).cden(lpi(6));
        assert_eq!(take(&bench.host(PE0)), Some(lpi(6).into()));
        bench.host(PE0).cddis(lpi(7));
        assert_eq!(take(&bench.host(PE0)), None);
        bench.host(PE0).cden(lpi(7));
        assert_eq!(take(&bench.host(PE0)), Some(lpi(7).into()));
        // One that was never noticed is no obstacle to giving the IST up.
        bench.host(PE0).cdrcfg(lpi(8));
        bench.clear_ist(IRS);
        assert_eq!(bench.candidate(PE0), None);
        assert_eq!(bench.machine.load32(&block, 32), pending.raw_value());
        bench.broken(&["IST-22"]);
    }
}

#[test]
fn the_configuration_is_sampled_when_the_ist_becomes_valid_and_cannot_change_while_it_is() {
    // LPI-1, LPI-2.
    let bench = Bench::eager(1);
    let block = bench.linear_ist();
    let (cfgr, base) = (bench.machine.read::<IRS_IST_CFGR>(IRS), bench.machine.read::<IRS_IST_BASER>(IRS));
    let other = bench.ist_block(linear(15));
    bench.machine.write(IRS, linear(15).cfgr());
    bench.command(baser(other.address()).with_valid(true));
    assert_eq!(bench.machine.read::<IRS_IST_CFGR>(IRS), cfgr);
    assert_eq!(bench.machine.read::<IRS_IST_BASER>(IRS), base, "a write of 1 over 1 does nothing");
    assert_eq!(bench.machine.interrupt(lpi(1 << 14)), None);
    bench.host(PE0).cden(lpi(3));
    // Not even the write that clears VALID changes the address.
    bench.command(baser(other.address()));
    assert_eq!(bench.machine.read::<IRS_IST_BASER>(IRS), base.with_valid(false));
    assert_eq!(bench.machine.load32(&block, 12), L2_ISTE::ZERO.with_enable(true).raw_value());
    // Now both can.
    bench.set_ist(IRS, linear(15), other.address());
    bench.host(PE0).cden(lpi(1 << 14));
    assert!(bench.state(lpi(1 << 14)).enable());
}

#[test]
fn a_write_of_valid_in_the_low_half_starts_the_command() {
    // GEN-9, LPI-1.
    let bench = Bench::eager(1);
    let block = bench.ist_block(linear(14));
    bench.machine.write(IRS, linear(14).cfgr());
    let (frame, offset) = (Frame::config(IRS), IrsReg::IRS_IST_BASER.offset());
    let value = baser(block.address()).with_valid(true).raw_value();
    bench.machine.write32(frame, offset + 4, (value >> 32) as u32);
    bench.machine.write32(frame, offset, value as u32);
    bench.wait(IRS, IrsReg::IRS_IST_BASER);
    assert_eq!(bench.machine.interrupt(lpi(5)), Some(L2_ISTE::ZERO));
}

#[test]
fn clearing_valid_recalls_every_lpi_and_leaves_the_spis() {
    // LPI-1, HPPI-2, open question 19: recall before IDLE.
    let bench = Bench::eager(2);
    bench.linear_ist();
    bench.pend(lpi(1), 3, 0);
    bench.pend(lpi(2), 3, 1);
    bench.pend(lpi(3), 3, 0);
    bench.pend(lpi(4), 3, 500);
    bench.pend(spi(1), 9, 0);
    bench.clear_ist(IRS);
    assert_eq!((bench.candidate(PE0), bench.candidate(PE1)), (Some(spi(1)), None));
    assert_eq!(take(&bench.host(PE0)), Some(spi(1).into()));
    // Made valid again, pending interrupts are what IST-22 forbids; scrubbed, they are gone.
}

#[test]
fn an_interrupt_taken_before_its_ist_went_is_active_in_memory() {
    let bench = Bench::eager(1);
    let block = bench.linear_ist();
    bench.pend(lpi(1), 3, 0);
    assert_eq!(bench.host(PE0).acknowledge().int_id(), Some(lpi(1).into()));
    bench.clear_ist(IRS);
    bench.host(PE0).cdeoi();
    bench.host(PE0).cddi(lpi(1).into());
    let left = L2_ISTE::new_with_raw_value(bench.machine.load32(&block, 4));
    assert!(left.active() && !left.pending(), "the deactivation found nothing (INS-11)");
    bench.set_ist(IRS, linear(14), block.address());
    assert!(bench.state(lpi(1)).active(), "ISM-6");
}

#[test]
fn states_are_written_back_now_and_then_and_reads_of_software_see_poison() {
    // IST-26: what memory says while the IST is valid is nothing to rely on.
    let bench = Bench::eager(1);
    let block = bench.linear_ist();
    for n in 0..1000 {
        bench.host(PE0).cdpri(lpi(n % 4), priority(n % 32));
    }
    assert_ne!(
        bench.machine.load32(&block, 0),
        L2_ISTE::ZERO.with_priority(bench.state(lpi(0)).priority()).raw_value()
    );
    bench.clear_ist(IRS);
    assert_eq!(bench.machine.load32(&block, 12), L2_ISTE::ZERO.with_priority(priority(999 % 32)).raw_value());
}

#[test]
fn publishing_a_level_2_ist_is_ignored_unless_it_makes_an_invalid_entry_valid() {
    // LPI-2.
    let bench = Bench::eager(1);
    bench.map_level2(IRS, 0);
    bench.clean();
    let linear = bench.linear_ist();
    bench.map_level2(IRS, 0);
    bench.clear_ist(IRS);
    assert_eq!(bench.machine.load64(&linear, 0), 0, "a linear IST has no level-1 entries");

    let geometry = IstGeometry::two_level(14, IstSize::Bytes4, L2Size::KiB4).unwrap();
    let mut tables = two_level(&bench, geometry);
    let table = tables.point(&bench, geometry, 1);
    bench.map_level2(IRS, 1 << 14);
    bench.map_level2(IRS, 0xff_ffff);
    bench.map_level2(IRS, 1024);
    bench.host(PE0).cden(lpi(1024));
    assert!(bench.state(lpi(1024)).enable());
    // Once more: the entry is valid already, and its table is not read again.
    bench.map_level2(IRS, 2047);
    assert!(bench.state(lpi(1024)).enable());
    bench.machine.load_barrier();
    let entry = L1_ISTE::new_with_raw_value(bench.machine.load64(&tables.level1, 8));
    assert!(entry.valid());
    bench.clear_ist(IRS);
    let expected = L1_ISTE::ZERO.with_l2_addr(Addr55_12::new(table).unwrap()).with_valid(true);
    assert_eq!(bench.machine.load64(&tables.level1, 8), expected.raw_value());
    assert_eq!(bench.machine.load64(&tables.level1, 0), 0);
    bench.map_level2(IRS, 0);
}

#[test]
fn level_1_entries_may_be_valid_before_the_ist_is() {
    // VMT-12 and IST-3 for the physical IST; COH-5: the level-2 IST is published first.
    let bench = Bench::eager(1);
    let geometry = IstGeometry::two_level(14, IstSize::Bytes4, L2Size::KiB4).unwrap();
    let level1 = bench.ist_block(geometry);
    let level2 = bench.block(4096, 4096);
    bench.machine.publish(IRS, &level2, 0..4096);
    let entry = L1_ISTE::ZERO.with_l2_addr(Addr55_12::new(level2.address()).unwrap()).with_valid(true);
    bench.machine.store64(&level1, 3 * 8, entry.raw_value());
    bench.machine.publish(IRS, &level1, 0..level1.size());
    bench.set_ist(IRS, geometry, level1.address());
    bench.pend(lpi(3 * 1024), 3, 0);
    assert_eq!(bench.candidate(PE0), Some(lpi(3 * 1024)));
    assert_eq!(bench.machine.interrupt(lpi(0)), None);
    bench.clear_ist(IRS);
    bench.machine.free(level2);
}

#[test]
fn bits_of_a_level_2_address_below_its_size_are_taken_as_zero() {
    // IST-14, and hazard 5: not the bits above.
    let bench = Bench::eager(1);
    let geometry = IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB16).unwrap();
    let tables = two_level(&bench, geometry);
    let level2 = bench.block(16 << 10, 16 << 10);
    bench.machine.publish(IRS, &level2, 0..level2.size());
    bench.point(&tables.level1, 0, level2.address().offset(4096).unwrap());
    bench.map_level2(IRS, 0);
    bench.host(PE0).cden(lpi(0));
    bench.clear_ist(IRS);
    assert_eq!(bench.machine.load32(&level2, 0), L2_ISTE::ZERO.with_enable(true).raw_value());
}

#[test]
fn an_irs_without_lpis_adopts_no_ist() {
    // LPI-3.
    let bench = Bench::with(1, |config| config.irses[0].idr2 = config.irses[0].idr2.with_lpi(false));
    let block = bench.linear_ist();
    assert_eq!(bench.machine.interrupt(lpi(5)), None);
    bench.clear_ist(IRS);
    bench.machine.free(block);
}

#[test]
fn an_ist_whose_withdrawal_had_no_effect_stays_whatever_is_written_then() {
    // LPI-1: for the IRS it is still valid, so VALID=1 is a write over 1.
    let bench = Bench::with_lpis();
    bench.pend(lpi(1), 3, 0);
    bench.machine.fault_next(Fault::Ignored);
    bench.clear_ist(IRS);
    assert!(bench.machine.read::<IRS_IST_BASER>(IRS).valid());
    assert_eq!(bench.candidate(PE0), Some(lpi(1)));
    let other = bench.ist_block(linear(14));
    bench.set_ist(IRS, linear(14), other.address());
    assert_eq!(bench.state(lpi(1)).priority(), priority(3));
    bench.clear_ist(IRS);
    assert_eq!(bench.candidate(PE0), None);
}

#[test]
fn a_late_withdrawal_keeps_the_memory_until_it_completes() {
    // LPI-1, GEN-19.
    let bench = Bench::eager(1);
    let block = bench.linear_ist();
    bench.host(PE0).cden(lpi(1));
    bench.machine.fault_next(Fault::Never);
    let base = bench.machine.read::<IRS_IST_BASER>(IRS);
    bench.machine.write(IRS, base.with_valid(false));
    bench.machine.advance(1 << 20);
    assert!(bench.state(lpi(1)).enable());
    bench.machine.recover();
    assert_eq!(bench.machine.load32(&block, 4), L2_ISTE::ZERO.with_enable(true).raw_value());
    bench.machine.free(block);
}

// --- clamping (IST-9, IST-12, IST-14, IST-15, IST-28); the violations are in `checker` ----------------------------

/// What becomes of an IST with this configuration: whether an LPI is reachable, and at which offset its state lies.
fn lies_at(config: MachineConfig, cfgr: IRS_IST_CFGR, id: u32) -> Option<u64> {
    let bench = Bench::started(config);
    let block = bench.block(1 << 20, 1 << 20);
    bench.machine.publish(IRS, &block, 0..block.size());
    bench.machine.write(IRS, cfgr);
    bench.command(baser(block.address()).with_valid(true));
    bench.said();
    bench.machine.interrupt(lpi(id))?;
    bench.host(PE0).cden(lpi(id));
    bench.clear_ist(IRS);
    (0..1 << 18).map(|n| n * 4).find(|offset| bench.machine.load32(&block, *offset) != 0)
}

#[test]
fn id_bits_are_clamped_to_what_the_irs_has() {
    // IST-28.
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Early;
    config.irses[0].idr2 = config.irses[0].idr2.with_min_lpi_id_bits(u4::new(10)).with_id_bits(u5::new(16));
    let cfgr = |bits| IRS_IST_CFGR::ZERO.with_lpi_id_bits(u5::new(bits));
    for (bits, last) in [(0, 1023), (9, 1023), (10, 1023), (11, 2047), (16, 65_535), (17, 65_535), (31, 65_535)] {
        assert_eq!(lies_at(config.clone(), cfgr(bits), last), Some(u64::from(last) * 4), "{bits}");
        assert_eq!(lies_at(config.clone(), cfgr(bits), last + 1), None, "{bits}");
    }
}

#[test]
fn a_reserved_entry_size_is_taken_as_the_one_that_the_irs_needs() {
    // IST-9. Raw value 3.
    for entry in ENTRIES {
        let cfgr = IRS_IST_CFGR::new_with_raw_value(16 | 3 << 7);
        assert_eq!(lies_at(needing(entry), cfgr, 100), Some(100 * entry.bytes()), "{entry:?}");
    }
    // Another size than the one it needs is used as it is (IST-10).
    let cfgr = IRS_IST_CFGR::ZERO.with_lpi_id_bits(u5::new(16)).with_istsz(IstSize::Bytes16);
    assert_eq!(lies_at(needing(IstSize::Bytes4), cfgr, 100), Some(1600));
}

#[test]
fn an_unsupported_shape_is_replaced_by_a_supported_one() {
    // IST-15: two levels without the feature is linear.
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Early;
    config.irses[0].idr2 =
        config.irses[0].idr2.with_ist_levels(Levels::Linear).with_ist_l2sz(L2SizeSet::new_with_raw_value(u3::new(0)));
    let cfgr = IRS_IST_CFGR::ZERO.with_lpi_id_bits(u5::new(16)).with_structure(Structure::TwoLevel);
    assert_eq!(lies_at(config, cfgr, 100), Some(400));
}

#[test]
fn an_unsupported_level_2_size_is_replaced_by_the_smallest_supported_one() {
    // IST-14, IST-15: raw value 3 is reserved.
    for (asked, supported, used) in
        [(0, 0b110, L2Size::KiB16), (1, 0b101, L2Size::KiB4), (2, 0b010, L2Size::KiB16), (3, 0b100, L2Size::KiB64)]
    {
        let bench = Bench::eager_with(1, |config| {
            config.irses[0].idr2 = config.irses[0].idr2.with_ist_l2sz(L2SizeSet::new_with_raw_value(u3::new(supported)))
        });
        let geometry = IstGeometry::two_level(16, IstSize::Bytes4, used).unwrap();
        let level1 = bench.ist_block(geometry);
        bench.machine.write(IRS, IRS_IST_CFGR::new_with_raw_value(16 | asked << 5 | 1 << 16));
        bench.command(baser(level1.address()).with_valid(true));
        let mut tables = TwoLevel { level1, level2: Vec::new() };
        tables.point(&bench, geometry, 1);
        let per_table = u32::try_from(used.bytes() / 4).unwrap();
        bench.map_level2(IRS, per_table);
        assert!(bench.machine.interrupt(lpi(per_table)).is_some(), "{asked}");
        assert_eq!(bench.machine.interrupt(lpi(per_table - 1)), None, "{asked}");
        assert_eq!(bench.machine.interrupt(lpi(2 * per_table)), None, "{asked}");
        bench.broken(&["IST-15"]);
    }
}

#[test]
fn base_address_bits_below_the_alignment_are_taken_as_zero() {
    // IST-12, IST-13.
    let bench = Bench::eager(1);
    let block = bench.ist_block(linear(14));
    bench.machine.write(IRS, linear(14).cfgr());
    bench.command(baser(block.address().offset(64).unwrap()).with_valid(true));
    bench.host(PE0).cden(lpi(3));
    bench.clear_ist(IRS);
    assert_eq!(bench.machine.load32(&block, 12), L2_ISTE::ZERO.with_enable(true).raw_value());
    bench.broken(&["IST-12"]);
}

// --- software errors ------------------------------------------------------------------------------------------------

/// An address without memory.
fn nowhere() -> PhysAddr {
    PhysAddr::new(0x10_0000).unwrap()
}

/// A machine whose level-1 table is there and has one valid entry, which leads nowhere.
fn broken_level2(bench: &Bench) -> PhysAddr {
    let geometry = IstGeometry::two_level(14, IstSize::Bytes4, L2Size::KiB4).unwrap();
    let tables = two_level(bench, geometry);
    bench.point(&tables.level1, 1, nowhere());
    bench.map_level2(IRS, 1024);
    bench.broken(&["MEM-4"]);
    nowhere()
}

fn status(bench: &Bench) -> IRS_SWERR_STATUSR {
    bench.machine.read::<IRS_SWERR_STATUSR>(IRS)
}

fn recorded(code: u8) -> IRS_SWERR_STATUSR {
    IRS_SWERR_STATUSR::ZERO.with_v(true).with_s0v(true).with_s1v(true).with_ec(code)
}

#[test]
fn an_entry_that_cannot_be_read_is_an_error_of_code_2() {
    // ERR-2, ERR-3, ERR-4, ERR-7, ERR-8.
    let bench = Bench::eager(1);
    let table = broken_level2(&bench);
    assert_eq!(status(&bench), IRS_SWERR_STATUSR::ZERO);
    bench.host(PE0).cden(lpi(1029));
    assert_eq!(status(&bench), recorded(2));
    let syndrome = bench.machine.read::<IRS_SWERR_SYNDROMER0>(IRS);
    assert_eq!((syndrome.int_type(), syndrome.id().value()), (Ok(IntType::Lpi), 1029));
    assert!(!syndrome.is_virtual());
    let address = bench.machine.read::<IRS_SWERR_SYNDROMER1>(IRS).addr().address();
    assert_eq!(address.raw(), (table.raw() + 5 * 4) & !7);
    assert_eq!(bench.machine.interrupt(lpi(1029)), None, "the operation is dropped all the same");
}

#[test]
fn a_linear_ist_nowhere_is_an_error_of_code_2_by_every_way_to_an_lpi() {
    // ERR-4.
    for n in 0..3 {
        let bench = Bench::eager(1);
        bench.set_ist(IRS, linear(14), nowhere());
        match n {
            0 => bench.host(PE0).cdrcfg(lpi(5)),
            1 => bench.machine.write_set_lpi(IRS, IRS_SETLPIR::ZERO.with_id(Lpi::new(5).unwrap())),
            _ => bench.host(PE0).cdpend(lpi(5), true),
        }
        assert_eq!(status(&bench), recorded(2), "{n}");
        bench.broken(&["MEM-4"]);
    }
}

#[test]
fn a_level_1_entry_that_cannot_be_read_is_an_error_of_code_1_and_cannot_be_made_valid_with_code_0() {
    // ERR-4, LPI-2.
    let geometry = IstGeometry::two_level(14, IstSize::Bytes4, L2Size::KiB4).unwrap();
    let bench = Bench::eager(1);
    bench.set_ist(IRS, geometry, nowhere());
    bench.broken(&["MEM-4"]);
    bench.host(PE0).cden(lpi(1029));
    assert_eq!(status(&bench), recorded(1));
    assert_eq!(bench.machine.read::<IRS_SWERR_SYNDROMER1>(IRS).addr().address().raw(), nowhere().raw() + 8);

    let bench = Bench::eager(1);
    bench.set_ist(IRS, geometry, nowhere());
    bench.broken(&["MEM-4"]);
    bench.map_level2(IRS, 1029);
    assert_eq!(status(&bench), recorded(0));
    assert_eq!(bench.machine.read::<IRS_SWERR_SYNDROMER0>(IRS).id().value(), 1029);
}

#[test]
fn the_first_error_is_kept_and_a_later_one_only_says_that_there_was_one() {
    // ERR-5.
    let bench = Bench::eager(1);
    broken_level2(&bench);
    bench.host(PE0).cden(lpi(1029));
    bench.host(PE0).cden(lpi(1030));
    assert_eq!(status(&bench), recorded(2).with_of(true));
    assert_eq!(bench.machine.read::<IRS_SWERR_SYNDROMER0>(IRS).id().value(), 1029);
}

#[test]
fn software_clears_what_it_has_read_and_loses_no_error_that_came_meanwhile() {
    // ERR-6.
    let bench = Bench::eager(1);
    broken_level2(&bench);
    bench.host(PE0).cden(lpi(1029));
    let read = status(&bench);
    bench.host(PE0).cden(lpi(1030));
    bench.machine.write(IRS, read);
    assert_eq!(status(&bench), IRS_SWERR_STATUSR::ZERO.with_of(true).with_ec(2));
    bench.machine.write(IRS, IRS_SWERR_STATUSR::ZERO.with_of(true));
    assert!(!status(&bench).of());
    bench.host(PE0).cden(lpi(1031));
    assert_eq!(status(&bench), recorded(2));
    assert_eq!(bench.machine.read::<IRS_SWERR_SYNDROMER0>(IRS).id().value(), 1031);
}

#[test]
fn the_upper_half_of_the_error_status_clears_nothing() {
    // GEN-9, ERR-6: the halves of a register of which ones clear.
    let bench = Bench::eager(1);
    broken_level2(&bench);
    bench.host(PE0).cden(lpi(1029));
    let (frame, offset) = (Frame::config(IRS), IrsReg::IRS_SWERR_STATUSR.offset());
    bench.machine.write32(frame, offset + 4, 0);
    bench.machine.write32(frame, offset + 4, u32::MAX);
    assert_eq!(status(&bench), recorded(2));
    bench.machine.write32(frame, offset, 1);
    assert_eq!(status(&bench), recorded(2).with_v(false));
}

#[test]
fn without_the_feature_errors_are_silent() {
    // ERR-1.
    let bench = Bench::eager_with(1, |config| config.irses[0].idr0 = config.irses[0].idr0.with_swe(false));
    broken_level2(&bench);
    bench.host(PE0).cden(lpi(1029));
    for register in [IrsReg::IRS_SWERR_STATUSR, IrsReg::IRS_SWERR_SYNDROMER0, IrsReg::IRS_SWERR_SYNDROMER1] {
        bench.machine.write_raw(IRS, register, u64::MAX);
        assert_eq!(bench.machine.read_raw(IRS, register), 0, "{register}");
    }
}

#[test]
fn what_is_merely_unreachable_is_no_error() {
    // ERR-7: which drops are reportable beyond failed accesses is not known, so none is.
    let bench = Bench::eager(1);
    bench.host(PE0).cden(lpi(5));
    bench.linear_ist();
    bench.host(PE0).cden(lpi(1 << 14));
    bench.host(PE0).cden(spi(64));
    assert_eq!(status(&bench), IRS_SWERR_STATUSR::ZERO);
}

#[test]
fn an_error_is_recorded_by_the_irs_of_the_pe_that_met_it() {
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Early;
    let other = config.add_irs();
    let bench = Bench::started(config);
    bench.set_ist(IRS, linear(14), nowhere());
    bench.host(PE1).cden(lpi(5));
    assert_eq!(status(&bench), IRS_SWERR_STATUSR::ZERO);
    assert_eq!(bench.machine.read::<IRS_SWERR_STATUSR>(other), recorded(2));
    bench.broken(&["MEM-4"]);
}

// --- memory as the IRS sees it --------------------------------------------------------------------------------------

fn memory(coherency: Coherency, eagerness: Eagerness) -> Bench {
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Early;
    config.memory.coherency = coherency;
    config.memory.eagerness = eagerness;
    Bench::started(config)
}

const ENABLED: L2_ISTE = L2_ISTE::ZERO.with_enable(true);

#[test]
fn a_coherent_irs_sees_what_a_barrier_has_published() {
    // COH-1, COH-3.
    for barrier in [true, false] {
        let bench = memory(Coherency::Coherent, Eagerness::Strict);
        let block = bench.ist_block(linear(14));
        bench.machine.store32(&block, 20, ENABLED.raw_value());
        if barrier {
            bench.machine.barrier();
        }
        bench.set_ist(IRS, linear(14), block.address());
        assert_eq!(bench.state(lpi(5)).enable(), barrier);
        assert_eq!(bench.said().len(), usize::from(!barrier));
    }
}

#[test]
fn a_dsb_of_a_pe_is_a_barrier_of_memory() {
    let bench = memory(Coherency::Coherent, Eagerness::Strict);
    let block = bench.ist_block(linear(14));
    bench.machine.store32(&block, 20, ENABLED.raw_value());
    bench.host(PE0).dsb();
    bench.set_ist(IRS, linear(14), block.address());
    assert!(bench.state(lpi(5)).enable(), "COH-1");
}

#[test]
fn an_irs_that_is_not_coherent_sees_what_was_cleaned_to_memory_only() {
    // COH-2, COH-3: barrier, clean, barrier.
    for (clean, barrier, seen) in [(true, true, true), (false, true, false), (true, false, false)] {
        let bench = memory(Coherency::NonCoherent, Eagerness::Strict);
        let block = bench.ist_block(linear(14));
        bench.machine.store32(&block, 20, ENABLED.raw_value());
        bench.machine.barrier();
        if clean {
            bench.machine.clean_invalidate(&block, 0..block.size());
        }
        if barrier {
            bench.machine.barrier();
        }
        bench.set_ist(IRS, linear(14), block.address());
        assert_eq!(bench.state(lpi(5)).enable(), seen, "clean {clean}, barrier {barrier}");
        assert_eq!(bench.said().len(), usize::from(!seen));
    }
}

#[test]
fn what_the_irs_wrote_is_read_after_idle_and_an_invalidate() {
    // COH-4, COH-9, SYN-10: before IDLE an invalidate is useless, and without one the read is stale.
    for (before, after, seen) in [(false, true, true), (true, false, false), (false, false, false)] {
        let bench = memory(Coherency::NonCoherent, Eagerness::Strict);
        let block = bench.linear_ist();
        bench.host(PE0).cden(lpi(5));
        let base = bench.machine.read::<IRS_IST_BASER>(IRS);
        bench.machine.fault_next(Fault::Late(10));
        bench.machine.write(IRS, base.with_valid(false));
        if before {
            bench.machine.acquire(IRS, &block, 0..block.size());
        }
        bench.wait(IRS, IrsReg::IRS_IST_BASER);
        if after {
            bench.machine.acquire(IRS, &block, 0..block.size());
        }
        let read = bench.machine.load32(&block, 20) == ENABLED.raw_value();
        assert_eq!(read, seen, "invalidated before IDLE {before}, after {after}");
    }
}

#[test]
fn on_a_coherent_system_the_completion_poll_is_all_it_takes() {
    // SYN-10, COH-9.
    let bench = memory(Coherency::Coherent, Eagerness::Strict);
    let block = bench.linear_ist();
    bench.host(PE0).cden(lpi(5));
    bench.clear_ist(IRS);
    assert_eq!(bench.machine.load32(&block, 20), ENABLED.raw_value());
}

#[test]
fn software_that_publishes_and_acquires_works_on_every_memory() {
    // COH-3: one helper, whatever the coherency.
    for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
        for eagerness in [Eagerness::Strict, Eagerness::Random, Eagerness::Early] {
            let bench = memory(coherency, eagerness);
            let geometry = IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap();
            let mut tables = two_level(&bench, geometry);
            for index in 0..4 {
                bench.machine.prepare(IRS, &tables.level1, index * 8..index * 8 + 8);
                tables.point(&bench, geometry, index);
                bench.map_level2(IRS, 1024 * index as u32);
                bench.host(PE0).cden(lpi(1024 * index as u32 + 7));
            }
            bench.clear_ist(IRS);
            for table in &tables.level2 {
                bench.machine.acquire(IRS, table, 0..table.size());
                assert_eq!(bench.machine.load32(table, 28), ENABLED.raw_value(), "{coherency:?} {eagerness:?}");
            }
            bench.machine.acquire(IRS, &tables.level1, 0..64);
            assert!((0..4).all(|n| bench.machine.load64(&tables.level1, n * 8) & 1 == 1));
        }
    }
}

#[test]
fn the_memory_of_a_machine_says_what_it_is() {
    let bench = memory(Coherency::NonCoherent, Eagerness::Strict);
    assert_eq!(bench.machine.coherency(IRS), Coherency::NonCoherent);
    assert_eq!(bench.machine.cache_line(), 64);
    let impossible = BlockLayout::new(1 << 40, 64, PhysAddr::new((1 << 48) - 1).unwrap()).unwrap();
    assert!(bench.machine.allocate(impossible).is_err());
}
