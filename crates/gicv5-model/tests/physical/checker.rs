//! What the checker reports: for each of its rules somebody who breaks it, and somebody who comes close.
//!
//! The rules about structures of the virtual side are tested where memory is, since nothing on this side owns such memory.

use crate::bench::*;

use arbitrary_int::u5;

fn register(register: IrsReg) -> Place {
    Place::Register(Frame::config(IRS), register.offset())
}

fn structure(owned: StructureKind, block: &ModelBlock, offset: u64) -> Place {
    Place::Structure(block.address().offset(offset).unwrap(), Owner::domain(owned))
}

#[test]
fn gen_18_a_second_write_while_a_command_is_under_way() {
    let bench = Bench::with(1, |config| config.command_latency = 5);
    bench.select_spi(IRS, 3);
    bench.clean();
    bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(4)));
    bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(5)));
    bench.broken_from("GEN-18", register(IrsReg::IRS_SPI_SELR), 4, 5);
    bench.machine.write_raw(IRS, IrsReg::IRS_SPI_CFGR, 1);
    bench.broken_from("GEN-18", register(IrsReg::IRS_SPI_CFGR), 0, 1);
    // Close: another status register, and the same one when it is idle.
    bench.machine.write(IRS, IRS_PE_SELR::ZERO.with_iaffid(Iaffid::new(0)));
    bench.machine.write_raw(IRS, IrsReg::IRS_SYNCR, 1 << 31);
    bench.wait(IRS, IrsReg::IRS_SPI_SELR);
    bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(6)));
    bench.wait(IRS, IrsReg::IRS_SPI_SELR);
    assert_eq!(bench.machine.read::<IRS_SPI_SELR>(IRS).id(), wire(6), "the write that was too early is dropped");
}

#[test]
fn gen_18_holds_for_the_commands_of_the_ist_over_all_irses() {
    let mut config = MachineConfig::new(1, 64);
    let other = config.add_irs();
    let bench = Bench::started(config);
    let block = bench.ist_block(linear(14));
    bench.machine.fault_next(Fault::Late(10));
    bench.machine.write(IRS, linear(14).cfgr());
    let value = baser(block.address()).with_valid(true);
    bench.machine.write(IRS, value);
    bench.machine.write(other, value.with_valid(false));
    let place = Place::Register(Frame::config(other), IrsReg::IRS_IST_BASER.offset());
    bench.broken_from("GEN-18", place, value.raw_value(), value.with_valid(false).raw_value());
    bench.wait(IRS, IrsReg::IRS_IST_BASER);
    bench.command_at(other, value.with_valid(false));
}

#[test]
fn coh_1_and_coh_2_go_by_the_irs_that_is_given_the_ist() {
    let mut config = MachineConfig::new(1, 64);
    config.switches.effects = Effects::Early;
    let other = config.add_irs();
    config.memory.coherency_of.insert(other, Coherency::NonCoherent);
    let bench = Bench::started(config);
    assert_eq!([IRS, other].map(|irs| bench.machine.coherency(irs)), [Coherency::Coherent, Coherency::NonCoherent]);
    let enabled = L2_ISTE::ZERO.with_enable(true);
    for (given_to, published_for) in [(IRS, IRS), (IRS, other), (other, IRS), (other, other)] {
        let block = bench.ist_block(linear(14));
        bench.machine.store32(&block, 20, enabled.raw_value());
        bench.machine.publish(published_for, &block, 0..block.size());
        bench.set_ist(given_to, linear(14), block.address());
        let seen = given_to == IRS || published_for == other;
        assert_eq!(bench.state(lpi(5)).enable(), seen, "published for {published_for}, given to {given_to}");
        if !seen {
            bench.broken_from("COH-2", structure(StructureKind::PhysicalIst, &block, 16), 0, 8 << 32);
        }
        bench.clean();
        // What comes back is to be looked at in the same way.
        bench.host(PE0).cdpri(lpi(5), Priority::new(3).unwrap());
        bench.command_at(given_to, baser(block.address()));
        let fresh = u64::from(L2_ISTE::new_with_raw_value(bench.machine.load32(&block, 20)).priority().number()) == 3;
        assert_eq!(fresh, given_to == IRS, "{given_to}");
        bench.machine.acquire(given_to, &block, 0..block.size());
        let priority = L2_ISTE::new_with_raw_value(bench.machine.load32(&block, 20)).priority();
        assert_eq!(priority.number(), 3, "{given_to}");
        bench.machine.free(block);
    }
}

/// Makes an IST valid with this configuration, at the start of a big block.
fn configured(config: MachineConfig, cfgr: IRS_IST_CFGR) -> Bench {
    let bench = Bench::started(config);
    let block = bench.block(1 << 20, 1 << 20);
    bench.machine.publish(IRS, &block, 0..block.size());
    bench.machine.write(IRS, cfgr);
    bench.command(baser(block.address()).with_valid(true));
    bench
}

#[test]
fn ist_28_id_bits_that_the_irs_does_not_have() {
    let mut config = MachineConfig::new(1, 64);
    config.irses[0].idr2 =
        config.irses[0].idr2.with_min_lpi_id_bits(arbitrary_int::u4::new(10)).with_id_bits(u5::new(16));
    let cfgr = |bits| IRS_IST_CFGR::ZERO.with_lpi_id_bits(u5::new(bits));
    for (asked, used) in [(0, 10), (9, 10), (17, 16), (31, 16)] {
        let bench = configured(config.clone(), cfgr(asked));
        bench.broken_from("IST-28", register(IrsReg::IRS_IST_CFGR), u64::from(asked), used);
    }
    for exact in [10, 16] {
        configured(config.clone(), cfgr(exact)).clean();
    }
}

#[test]
fn ist_10_entries_of_another_size_than_the_irs_needs() {
    let cfgr = |size| linear(14).cfgr().with_istsz(size);
    let mut config = MachineConfig::new(1, 64);
    let bench = configured(config.clone(), cfgr(IstSize::Bytes8));
    bench.broken_from("IST-10", register(IrsReg::IRS_IST_CFGR), 14 | 1 << 7, 0);
    let bench = configured(config.clone(), IRS_IST_CFGR::new_with_raw_value(14 | 3 << 7));
    bench.broken_from("IST-10", register(IrsReg::IRS_IST_CFGR), 14 | 3 << 7, 0);
    configured(config.clone(), cfgr(IstSize::Bytes4)).clean();
    config.irses[0].idr2 = config.irses[0].idr2.with_istmd(true).with_istmd_sz(u5::new(14));
    let bench = configured(config.clone(), cfgr(IstSize::Bytes8));
    bench.broken_from("IST-10", register(IrsReg::IRS_IST_CFGR), 14 | 1 << 7, 2);
    configured(config.clone(), cfgr(IstSize::Bytes16)).clean();
    config.irses[0].idr2 = config.irses[0].idr2.with_istmd_sz(u5::new(15));
    configured(config, cfgr(IstSize::Bytes8)).clean();
}

#[test]
fn ist_15_a_shape_or_a_level_2_size_that_the_irs_does_not_have() {
    let mut config = MachineConfig::new(1, 64);
    let four_only = gicv5_arch::values::L2SizeSet::new_with_raw_value(arbitrary_int::u3::new(1));
    config.irses[0].idr2 = config.irses[0].idr2.with_ist_l2sz(four_only);
    let cfgr = |size| two_level().cfgr().with_l2sz(size);
    let asked = cfgr(L2Size::KiB64);
    let bench = configured(config.clone(), asked);
    bench.broken_from(
        "IST-15",
        register(IrsReg::IRS_IST_CFGR),
        asked.raw_value().into(),
        two_level().cfgr().raw_value().into(),
    );
    let reserved = IRS_IST_CFGR::new_with_raw_value(two_level().cfgr().raw_value() | 3 << 5);
    let bench = configured(config.clone(), reserved);
    bench.broken_from(
        "IST-15",
        register(IrsReg::IRS_IST_CFGR),
        reserved.raw_value().into(),
        two_level().cfgr().raw_value().into(),
    );
    configured(config.clone(), cfgr(L2Size::KiB4)).clean();
    // L2SZ of a linear IST means nothing.
    configured(config.clone(), asked.with_structure(Structure::Linear)).clean();

    let none = gicv5_arch::values::L2SizeSet::new_with_raw_value(arbitrary_int::u3::new(0));
    config.irses[0].idr2 = config.irses[0].idr2.with_ist_levels(Levels::Linear).with_ist_l2sz(none);
    let bench = configured(config.clone(), two_level().cfgr());
    let (old, new) = (two_level().cfgr().raw_value().into(), linear(14).cfgr().raw_value().into());
    bench.broken_from("IST-15", register(IrsReg::IRS_IST_CFGR), old, new);
    configured(config, linear(14).cfgr()).clean();
}

#[test]
fn ist_12_a_base_that_is_not_aligned() {
    let bench = Bench::small();
    let block = bench.ist_block(linear(14));
    bench.machine.write(IRS, linear(14).cfgr());
    let wrong = block.address().offset(64).unwrap();
    bench.command(baser(wrong).with_valid(true));
    bench.broken_from("IST-12", register(IrsReg::IRS_IST_BASER), wrong.raw(), block.address().raw());
    bench.clear_ist(IRS);
    // Close: an IST that is no bigger than 64 bytes may start at any multiple of them.
    bench.machine.write(IRS, linear(4).cfgr());
    bench.command(baser(wrong).with_valid(true));
}

#[test]
fn ist_22_an_entry_that_is_pending_or_carries_bits_of_the_irs_when_its_ist_becomes_valid() {
    // Nobody has to name the entry for that.
    let pending = L2_ISTE::ZERO.with_enable(true).with_pending(true).raw_value();
    for (id, raw) in [(1, pending), (2, 1 << 9), (3, 1 << 10), (16_383, 1)] {
        let bench = Bench::eager(1);
        let block = bench.ist_block(linear(14));
        bench.machine.store32(&block, id * 4, raw);
        bench.machine.publish(IRS, &block, 0..block.size());
        bench.set_ist(IRS, linear(14), block.address());
        bench.broken_from("IST-22", structure(StructureKind::PhysicalIst, &block, id * 4), 0, raw.into());
        bench.host(PE0).cdrcfg(lpi(id as u32));
    }
    // Close: everything else may be preset.
    let bench = Bench::eager(1);
    let block = bench.ist_block(linear(14));
    bench.machine.store32(&block, 16, !0x603);
    bench.machine.publish(IRS, &block, 0..64);
    bench.set_ist(IRS, linear(14), block.address());
    bench.host(PE0).cdrcfg(lpi(4));
}

#[test]
fn cpu_1_what_the_pe_does_not_have() {
    let bench = Bench::small();
    let pe = bench.host(PE0);
    assert_eq!(pe.gic(GicInsn::GIC_VDPEND, 7), 0);
    bench.broken_from("CPU-1", Place::Insn(PE0, GicInsn::GIC_VDPEND), 0, 7);
    assert_eq!(pe.read_raw(SysReg::ICC_PCR_EL3), 0);
    bench.broken_from("CPU-1", Place::SysReg(PE0, SysReg::ICC_PCR_EL3), 0, 0);
    pe.write_raw(SysReg::ICC_PCR_EL3, 9);
    bench.broken_from("CPU-1", Place::SysReg(PE0, SysReg::ICC_PCR_EL3), 0, 9);
    pe.write_raw(SysReg::ICC_IDR0_EL1, 9);
    bench.broken_from("CPU-1", Place::SysReg(PE0, SysReg::ICC_IDR0_EL1), 0, 9);
    let _ = pe.read_raw(SysReg::ICC_IDR0_EL1);
    pe.write_raw(SysReg::ICC_PCR_EL1, 9);
    pe.gic(GicInsn::GIC_CDEN, IntIdOperand::naming(spi(5)).raw_value());
}

#[test]
fn every_instruction_of_another_level_is_undefined_and_every_one_of_this_level_is_not() {
    // GEN-6: VD needs EL2, LD needs EL3. INS-19: there are no others.
    let bench = Bench::small();
    for insn in GicInsn::ALL {
        bench.host(PE0).gic(*insn, 0);
        let broken = bench.said();
        let known = insn.info().min_el == gicv5_arch::insn::MinEl::EL1;
        assert_eq!(broken.is_empty(), known, "{insn}");
    }
}

#[test]
fn ist_18_software_sets_valid_in_a_level_1_entry_of_a_live_ist() {
    let bench = Bench::eager(1);
    let (level1, level2) = bench.live_level1();
    let entry = pointing_to(level2.address());
    // Close: the entry with VALID=0 is software's to write, again and again.
    bench.machine.store64(&level1, 8, entry.raw_value());
    bench.machine.store64(&level1, 8, entry.raw_value());
    bench.machine.barrier();
    bench.clean();
    let valid = entry.with_valid(true);
    bench.machine.store64(&level1, 16, valid.raw_value());
    bench.broken_from("IST-18", structure(StructureKind::PhysicalL1Iste, &level1, 16), 0, valid.raw_value());
    // Once the IRS has set VALID, any store is one too many.
    bench.map_level2(IRS, 1024);
    bench.machine.store64(&level1, 8, 0);
    bench.broken_from("IST-18", structure(StructureKind::PhysicalL1Iste, &level1, 8), valid.raw_value(), 0);
    bench.clear_ist(IRS);
    bench.machine.store64(&level1, 8, 0);
}

#[test]
fn ist_26_software_stores_to_an_ist_that_is_valid() {
    let bench = Bench::eager(1);
    let block = bench.ist_block(linear(14));
    bench.machine.store32(&block, 20, 8);
    bench.machine.publish(IRS, &block, 0..64);
    bench.set_ist(IRS, linear(14), block.address());
    bench.clean();
    bench.machine.store32(&block, 20, 1);
    bench.broken_from("IST-26", structure(StructureKind::PhysicalIst, &block, 20), 8, 1);
    assert!(bench.state(lpi(5)).enable(), "the IRS does not see it");
    let beyond = bench.block(64, 64);
    bench.machine.store32(&beyond, 0, 1);
    bench.clear_ist(IRS);
    bench.machine.store32(&block, 20, 1);
    bench.clean();

    let (level1, level2) = bench.live_level1();
    bench.point(&level1, 0, level2.address());
    bench.machine.store32(&level2, 4, 0);
    bench.machine.barrier();
    bench.clean();
    bench.map_level2(IRS, 0);
    bench.machine.store32(&level2, 4, 9);
    bench.broken_from("IST-26", structure(StructureKind::PhysicalL2Ist, &level2, 4), 0, 9);
}

#[test]
fn lpi_1_the_memory_of_a_valid_ist_is_freed() {
    let bench = Bench::eager(1);
    let block = bench.linear_ist();
    let place = structure(StructureKind::PhysicalIst, &block, 0);
    bench.machine.free(block);
    bench.broken_from("LPI-1", place, 0, 0);
    bench.clear_ist(IRS);
    bench.clean();

    let block = bench.linear_ist();
    bench.clear_ist(IRS);
    bench.machine.free(block);
    bench.clean();

    let (level1, level2) = bench.live_level1();
    let place = structure(StructureKind::PhysicalL1Iste, &level1, 0);
    bench.machine.free(level1);
    bench.broken_from("LPI-1", place, 0, 0);
    bench.machine.free(level2);
}

#[test]
fn memory_is_freed_before_the_command_that_gives_it_back_has_completed() {
    // LPI-1: the write of VALID=0 alone gives nothing back.
    let bench = Bench::eager(1);
    let block = bench.linear_ist();
    let place = structure(StructureKind::PhysicalIst, &block, 0);
    bench.machine.fault_next(Fault::Never);
    let base = bench.machine.read::<gicv5_arch::irs::IRS_IST_BASER>(IRS);
    bench.machine.write(IRS, base.with_valid(false));
    bench.machine.free(block);
    bench.broken_from("LPI-1", place, 0, 0);
}

#[test]
fn ist_20_a_level_2_ist_is_freed_while_its_ist_is_valid() {
    let bench = Bench::eager(1);
    let (level1, level2) = bench.live_level1();
    bench.point(&level1, 0, level2.address());
    bench.map_level2(IRS, 0);
    let place = structure(StructureKind::PhysicalL2Ist, &level2, 0);
    bench.machine.free(level2);
    bench.broken_from("IST-20", place, 0, 0);
    // Close: one that was never published, and any when the IST is invalid.
    let unpublished = bench.block(4096, 4096);
    let _ = bench.said();
    bench.point(&level1, 1, unpublished.address());
    bench.clear_ist(IRS);
    bench.machine.free(unpublished);
    bench.machine.free(level1);
}

#[test]
fn coh_1_an_ist_becomes_valid_before_a_store_has_reached_the_irs() {
    let bench = Bench::small();
    let block = bench.ist_block(linear(14));
    bench.machine.store32(&block, 16, 8);
    bench.set_ist(IRS, linear(14), block.address());
    bench.broken_from("COH-1", structure(StructureKind::PhysicalIst, &block, 16), 0, 8);

    let bench = Bench::small();
    let block = bench.ist_block(linear(14));
    let other = bench.block(64, 64);
    bench.machine.store32(&block, 16, 8);
    bench.machine.barrier();
    bench.machine.store32(&other, 0, 8);
    bench.set_ist(IRS, linear(14), block.address());
}

#[test]
fn coh_5_the_level_2_ist_is_published_before_the_entry_that_points_to_it() {
    // What is missing is COH-1 of the level-2 IST.
    let bench = Bench::eager(1);
    let (level1, level2) = bench.live_level1();
    bench.machine.store32(&level2, 0, 8);
    bench.machine.store64(&level1, 0, pointing_to(level2.address()).raw_value());
    bench.machine.barrier();
    bench.machine.store32(&level2, 8, 8);
    bench.map_level2(IRS, 0);
    bench.broken_from("COH-1", structure(StructureKind::PhysicalL2Ist, &level2, 8), 0, 8);
    assert!(bench.state(lpi(0)).enable() && !bench.state(lpi(2)).enable());
}

#[test]
fn coh_2_an_ist_becomes_valid_before_a_store_has_been_cleaned_to_memory() {
    let bench = Bench::non_coherent(64);
    let block = bench.ist_block(linear(14));
    bench.machine.store32(&block, 16, 8);
    bench.machine.barrier();
    bench.set_ist(IRS, linear(14), block.address());
    bench.broken_from("COH-2", structure(StructureKind::PhysicalIst, &block, 16), 0, 8);

    let bench = Bench::non_coherent(64);
    let block = bench.ist_block(linear(14));
    bench.machine.store32(&block, 16, 8);
    bench.machine.publish(IRS, &block, 16..20);
    bench.set_ist(IRS, linear(14), block.address());
    assert_eq!(bench.state(lpi(4)).raw_value(), 8);
}

/// An IST of 64 bytes in a block of `size` bytes.
fn small_ist(bench: &Bench, size: u64) -> ModelBlock {
    let highest = PhysAddr::new((1 << 48) - 1).unwrap();
    let block = bench.machine.allocate(BlockLayout::new(size, size, highest).unwrap()).unwrap();
    bench.machine.publish(IRS, &block, 0..size);
    bench.set_ist(IRS, linear(4), block.address());
    block
}

#[test]
fn coh_6_a_structure_shares_a_line_with_something_else() {
    let bench = Bench::non_coherent(128);
    let block = small_ist(&bench, 64);
    bench.broken_from("COH-6", structure(StructureKind::PhysicalIst, &block, 0), 0, 0);
    let bench = Bench::non_coherent(128);
    small_ist(&bench, 128);
    bench.clean();
    // A coherent IRS has no use for the rule.
    let bench = Bench::with(1, |config| config.memory.cache_line = 128);
    small_ist(&bench, 64);
}

#[test]
fn coh_7_an_invalidate_loses_a_store_to_a_neighbour() {
    let bench = Bench::non_coherent(64);
    let (level1, level2) = bench.live_level1();
    let entry = pointing_to(level2.address()).raw_value();
    bench.machine.store64(&level1, 8, entry);
    bench.machine.acquire(IRS, &level1, 0..8);
    bench.broken_from("COH-7", structure(StructureKind::PhysicalL1Iste, &level1, 8), entry, 0);
    assert_eq!(bench.machine.load64(&level1, 8), 0);
    // Close: cleaned before, or in another line.
    bench.machine.store64(&level1, 8, entry);
    bench.machine.publish(IRS, &level1, 8..16);
    bench.machine.acquire(IRS, &level1, 0..8);
    assert_eq!(bench.machine.load64(&level1, 8), entry);
    bench.machine.store64(&level1, 64, entry);
    bench.machine.acquire(IRS, &level1, 0..8);
    assert_eq!(bench.machine.load64(&level1, 64), entry);
}

#[test]
fn coh_8_half_an_entry_of_a_live_table_is_stored() {
    let bench = Bench::eager(1);
    let (level1, level2) = bench.live_level1();
    let entry = pointing_to(level2.address()).raw_value();
    bench.machine.store32(&level1, 12, (entry >> 32) as u32 | 1 << 8);
    bench.broken_from("COH-8", structure(StructureKind::PhysicalL1Iste, &level1, 12), 0, entry >> 32 | 1 << 8);
    bench.machine.store64(&level1, 8, entry);
    // Close: a table that is not in use may be written in any way.
    let idle = bench.ist_block(two_level());
    bench.machine.store32(&idle, 4, 1);
}

#[test]
fn vmt_21_a_line_written_back_carries_an_old_valid_bit_of_a_neighbour() {
    // COH-7 as well: clean and invalidate before the change, not only after.
    for prepared in [false, true] {
        let bench = Bench::non_coherent(64);
        let (level1, level2) = bench.live_level1();
        let entry = pointing_to(level2.address());
        bench.machine.store64(&level1, 0, entry.raw_value());
        bench.machine.publish(IRS, &level1, 0..8);
        bench.map_level2(IRS, 0);
        let next = bench.block(4096, 4096);
        if prepared {
            bench.machine.prepare(IRS, &level1, 8..16);
        }
        bench.machine.store64(&level1, 8, pointing_to(next.address()).raw_value());
        bench.machine.publish(IRS, &level1, 8..16);
        if prepared {
            bench.clean();
        } else {
            let (is, stale) = (entry.with_valid(true).raw_value(), entry.raw_value());
            bench.broken_from("VMT-21", structure(StructureKind::PhysicalL1Iste, &level1, 0), is, stale);
        }
    }
}

#[test]
fn mem_1_an_access_outside_its_block() {
    let bench = Bench::small();
    let block = bench.block(64, 64);
    assert_eq!(bench.machine.load64(&block, 64), 0);
    bench.broken_from("MEM-1", Place::Block(block.id(), 64), 0, 0);
    bench.machine.store32(&block, 62, 1);
    bench.broken_from("MEM-1", Place::Block(block.id(), 62), 0, 0);
    bench.machine.clean_invalidate(&block, 0..65);
    bench.broken_from("MEM-1", Place::Block(block.id(), 0), 0, 0);
    bench.machine.store64(&block, 56, 1);
    bench.machine.store32(&block, 60, 1);
    bench.machine.invalidate(&block, 0..64);
}

#[test]
fn mem_2_a_block_is_freed_in_a_machine_that_does_not_know_it() {
    let (bench, other) = (Bench::small(), Bench::small());
    let block = bench.block(64, 64);
    let id = block.id();
    other.machine.free(block);
    other.broken_from("MEM-2", Place::Block(id, 0), 0, 0);
    let block = bench.block(64, 64);
    bench.machine.free(block);
}

#[test]
fn violations_are_handed_out_once_and_the_machine_goes_on() {
    let bench = Bench::small();
    for _ in 0..3 {
        let _ = bench.host(PE0).read_raw(SysReg::ICC_PCR_EL3);
    }
    assert_eq!(bench.said().len(), 3);
    bench.clean();
    bench.pend(spi(5), 3, 0);
    assert_eq!(take(&bench.host(PE0)), Some(spi(5).into()));
    assert_eq!(bench.machine.read32(Frame::config(IRS), 0) & 3, 1);
}
