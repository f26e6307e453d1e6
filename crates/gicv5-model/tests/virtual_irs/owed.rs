//! What software owes when it makes something valid, whether or not anybody comes across it later.

use crate::bench::*;

/// IST-22.
#[test]
fn an_entry_that_is_not_as_it_must_be_is_found_when_its_table_becomes_valid_although_nobody_names_it() {
    for setting in every_shape() {
        let (mut bench, ..) = VmBench::ready(setting);
        let pending = L2_ISTE::ZERO.with_pending(true);
        bench.make_ist(IrsIntType::Spi, linear(6), &[L2_ISTE::ZERO, L2_ISTE::ZERO, pending]);
        bench.broken(&["IST-22"]);
        // A level-2 IST that is published into a live IST.
        let (bench, _level1, level2) = VmBench::with_two_level_ist(setting);
        bench.machine.store32(&level2, 4092, 1 << 9);
        bench.machine.publish(IRS, &level2, 0..4096);
        bench.clean();
        bench.publish_level2_ist(IrsIntType::Lpi);
        let owner = Owner::vm(StructureKind::LpiL2Ist, VM);
        bench.broken_at("IST-22", Place::Structure(level2.address().offset(4092).unwrap(), owner));
    }
}

/// IST-22: metadata, which the IRS alone writes.
#[test]
fn metadata_that_is_not_zero_is_found_when_the_ist_becomes_valid() {
    for (size, offset) in [(IstSize::Bytes8, 4), (IstSize::Bytes16, 4), (IstSize::Bytes16, 12)] {
        let mut config = MachineConfig::new(1, 64);
        config.irses[0].idr2 = config.irses[0].idr2.with_istmd(true).with_istmd_sz(match size {
            IstSize::Bytes16 => arbitrary_int::u5::new(1),
            _ => arbitrary_int::u5::new(24),
        });
        let bench = Bench::started(config);
        let ist = IstGeometry::linear(14, size).unwrap();
        let block = bench.ist_block(ist);
        bench.machine.store32(&block, size.bytes() * 3 + offset, 1);
        bench.machine.barrier();
        bench.set_ist(IRS, ist, block.address());
        bench.broken(&["IST-22"]);
    }
}

/// VMT-12: in a level-1 table, a level-2 table, and one that is published later.
#[test]
fn an_entry_that_is_not_well_formed_is_found_when_its_table_becomes_valid() {
    for setting in settings_with_levels(true, |_| {}) {
        let mut bench = VmBench::new(setting);
        let block = bench.block(4096, 4096);
        bench.store(&block, 7 * 32 + 16, 1 << 4);
        bench.store(&bench.vms.table.block, 0, block.address().raw());
        bench.clean();
        bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
        bench.broken(&["VMT-12"]);
        bench.command(bench.machine.read::<IRS_VMT_BASER>(IRS).with_valid(false));
        bench.store(&block, 7 * 32 + 16, 0);
        bench.store(&bench.vms.table.block, 0, 0);
        bench.store(&bench.vms.table.block, 8, 2);
        bench.clean();
        bench.make_vm_table_valid(IRS);
        bench.broken(&["VMT-12"]);
        let _ = &mut bench;
    }
}

/// VMT-12: a level-2 table may come with VMs that are valid.
#[test]
fn a_vm_whose_entry_is_valid_in_a_level_2_table_becomes_valid_with_the_table() {
    for setting in settings_with_levels(true, |_| {}) {
        let bench = VmBench::new(setting);
        let block = bench.block(4096, 4096);
        let vpet = bench.vms.host.table(VpeTableGeometry::for_highest(VpeId::new(0))).unwrap();
        let mut vmd = L2_VMTE_VMD::ZERO.with_valid(true);
        if setting.shape.descriptor {
            vmd = vmd.with_vmd_addr(Addr55_3::new(bench.block(64, 64).address()).unwrap());
        }
        let vmte = L2_VMTE::ZERO.with_vpet(vpet.vmte_word().unwrap()).with_vmd(vmd);
        for (word, n) in vmte.raw_value().into_iter().zip(0..) {
            bench.store(&block, u64::from(VM.raw_value()) * 32 + n * 8, word);
        }
        bench.store(&bench.vms.table.block, 0, block.address().raw());
        bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VmId::new(100)));
        bench.clean();
        bench.machine.free(vpet.block);
        assert_eq!(bench.rules(), ["VM-5"], "{setting:?}");
    }
}

/// DB-14: the LPI of a doorbell is the doorbell's alone.
#[test]
fn an_lpi_that_is_a_doorbell_is_no_ipi_and_no_message() {
    for setting in every_shape() {
        let (bench, ..) = VmBench::ready(setting);
        bench.ask(0, 77);
        let send = |id| {
            bench.host(PE0).set_pending(lpi(id), true);
        };
        send(78);
        bench.host(PE0).set_pending(lpi(77), false);
        bench.clean();
        send(77);
        bench.broken_at("DB-14", Place::Insn(PE0, GicInsn::GIC_CDPEND));
        let message = |id| bench.machine.write32(Frame::set_lpi(IRS), SetLpiReg::IRS_SETLPIR.offset(), id);
        message(78);
        bench.clean();
        message(77);
        bench.broken(&["DB-14"]);
    }
}

/// SPI-11: and taken back.
#[test]
fn an_spi_that_is_taken_from_a_vm_while_its_guest_has_it_enabled_is_remarked_on() {
    for setting in every_shape() {
        let (mut bench, ..) = VmBench::ready(setting);
        bench.make_ist(IrsIntType::Spi, linear(6), &[L2_ISTE::ZERO, L2_ISTE::ZERO.with_enable(true)]);
        for (id, expected) in [(0, &[] as &[&str]), (1, &["SPI-11"])] {
            bench.select_spi(IRS, id);
            bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
            bench.clean();
            bench.command(IRS_SPI_VMR::ZERO);
            bench.remarked(expected);
        }
    }
}
