//! What the IRS does, under every setting of the switches that the story is not about.

use crate::bench::*;

use arbitrary_int::{u5, u24};

#[test]
fn a_vm_made_valid_by_hand_rings_the_doorbell_of_its_sleeping_vpe() {
    for setting in settings(|switches| {
        switches.doorbell.mask = DoorbellMask::ByUrgency;
    }) {
        let (bench, ..) = VmBench::ready(setting);
        assert!(bench.select(3), "VPE-12");
        bench.command(bench.doorbell(77, true));
        assert!(!bench.rang(77));
        bench.vdpend(lpi(4), true);
        assert!(bench.rang(77), "DB-1, DB-5, INJ-1, INS-15 {setting:?}");
        let candidate = bench.machine.read::<IRS_VPE_HPPIR>(IRS);
        assert!(candidate.hppiv() && candidate.id().value() == 4, "VPE-16");
    }
}

#[test]
fn a_doorbell_rings_once_for_each_request_however_many_interrupts_follow() {
    for setting in settings(|switches| {
        switches.doorbell.req_db = ReqDbReads::Live;
        switches.doorbell.mask = DoorbellMask::ByUrgency;
    }) {
        let (bench, ..) = VmBench::ready(setting);
        bench.ask(3, 77);
        assert!(bench.machine.read::<IRS_VPE_DBR>(IRS).req_db());
        bench.vdpend(lpi(1), true);
        assert!(bench.rang(77) && !bench.machine.read::<IRS_VPE_DBR>(IRS).req_db(), "DB-4");
        bench.host(PE0).cdpend(lpi(77), false);
        bench.vdpend(lpi(2), true);
        assert!(!bench.rang(77), "DB-4");
        bench.command(bench.doorbell(77, true));
        assert!(bench.rang(77), "what is pending already rings at once (DB-3)");
    }
}

#[test]
fn a_doorbell_is_not_rung_below_its_priority_mask() {
    for setting in settings(|switches| {
        switches.doorbell.mask = DoorbellMask::ByUrgency;
    }) {
        for (mask, rings) in [(0, false), (9, false), (10, true), (31, true)] {
            let bench = VmBench::selected(setting);
            bench.command(doorbell(77, true, mask));
            bench.vdpend(lpi(1), true);
            assert_eq!(bench.rang(77), rings, "mask {mask}, priority 10 (DB-9)");
        }
    }
}

#[test]
fn without_valid_settings_or_without_a_request_nothing_rings() {
    for setting in settings(|switches| {
        switches.doorbell.mask = DoorbellMask::ByUrgency;
        switches.doorbell.without_dbv = WithoutDbv::Invalidates;
        switches.doorbell.rewrite = RequestAtRewrite::Kept;
    }) {
        let bench = VmBench::selected(setting);
        bench.command(bench.doorbell(77, false));
        bench.vdpend(lpi(1), true);
        assert!(!bench.rang(77), "nobody asked (DB-1)");
        bench.command(bench.doorbell(77, true).with_dbv(false));
        assert!(!bench.rang(77), "DB-6, DB-8");
        bench.command(bench.doorbell(77, false));
        assert!(bench.rang(77), "the request is still there (DB-2)");
        bench.broken(&["DB-6"]);
    }
}

#[test]
fn an_interrupt_for_another_vpe_or_a_disabled_one_rings_nothing() {
    for setting in settings(|switches| {
        switches.doorbell.mask = DoorbellMask::ByUrgency;
    }) {
        let (bench, ..) = VmBench::ready(setting);
        bench.ask(0, 77);
        bench.vdpend(lpi(1), true);
        assert!(!bench.rang(77), "RTE-1");
        bench.vdpend(lpi(1), false);
        bench.ask(3, 78);
        bench.vdpend(lpi(50), true);
        assert!(!bench.rang(78), "LPI 50 is not enabled (HPPI-1)");
        bench.vdpend(lpi(1), true);
        assert!(bench.rang(78));
    }
}

#[test]
fn making_a_vm_invalid_gives_every_byte_back_and_forgets_the_doorbell() {
    for setting in settings(|switches| {
        switches.vm.states = EndOfStates::WrittenBack;
        switches.vm.ist_valid = IstValid::Kept;
    }) {
        let (mut bench, made, ist) = VmBench::ready(setting);
        bench.ask(3, 77);
        bench.vdpend(lpi(0xfff), true);
        bench.map_vm(MapAction::MakeInvalid);
        assert!(!L2_VMTE_VMD::new_with_raw_value(bench.vmte_word(VM, 0)).valid(), "VM-2");
        assert_eq!(bench.vmte_word(VM, 2) & 1, 1, "only VALID is cleared (VM-7)");
        assert!(!bench.select(3), "VPE-12");
        assert!(bench.entry(&ist, 0xfff).pending(), "the state came back to memory (VM-2)");
        bench.vdpend(lpi(1), true);
        assert!(!bench.rang(77), "DB-25, INS-18");
        for block in made.into_blocks().chain([ist]) {
            bench.machine.free(block);
        }
    }
}

#[test]
fn freeing_or_writing_what_a_valid_vm_owns_is_reported_with_its_rule() {
    for setting in settings(|_| {}) {
        let (bench, mut made, ist) = VmBench::ready(setting);
        bench.machine.store64(&made.vpes[0].block, 0, 1);
        bench.broken(&["VM-5"]);
        bench.machine.store32(&ist, 0, 1);
        bench.broken(&["IST-26"]);
        bench.machine.free(made.vpes.remove(0).block);
        bench.broken(&["VPE-7"]);
        bench.machine.free(made.vpet.block);
        bench.broken(&["VM-5"]);
    }
}

#[test]
fn software_that_sets_a_valid_bit_in_a_live_table_is_reported() {
    for setting in settings_with_levels(true, |_| {}) {
        let mut bench = VmBench::new(setting);
        bench.vms.reach(VM).unwrap();
        bench.clean();
        bench.store_vmte_word(0, L2_VMTE_VMD::ZERO.with_valid(true).raw_value());
        bench.broken(&["VMT-17"]);
        bench.machine.store64(&bench.vms.table.block, 8, L1_VMTE::ZERO.with_valid(true).raw_value());
        bench.broken(&["VMT-15"]);
    }
}

#[test]
fn descriptors_that_are_not_zero_are_reported() {
    for setting in settings(|_| {}) {
        let mut bench = VmBench::new(setting);
        let made = bench.make_vm(&[0]);
        bench.make_dirty_vpe(&made, Some(64));
        bench.broken(&["VPE-8"]);
    }
}

#[test]
fn a_vm_made_valid_again_has_its_vpes_and_ists_but_no_doorbell_settings() {
    for setting in settings(|switches| {
        switches.vm.ist_valid = IstValid::Kept;
        switches.vm.vpe_valid = VpeValid::Kept;
    }) {
        let (mut bench, made, _) = VmBench::ready(setting);
        bench.ask(3, 77);
        bench.map_vm(MapAction::MakeInvalid);
        // The descriptors are software's again, hold what the IRS left there, and must be zero (VPE-8).
        assert_ne!(bench.load_word(&made.vpes[0].block, 0), 0, "VM-10");
        bench.zero_descriptors(&made);
        bench.map_vm(MapAction::MakeValid);
        assert!(bench.select(3), "the VPE's entry was still valid (VM-8)");
        assert_eq!(bench.machine.read::<IRS_VPE_DBR>(IRS), IRS_VPE_DBR::ZERO, "VPE-9");
        bench.vdpend(lpi(1), true);
        assert!(!bench.rang(77), "VPE-10");
        bench.command(bench.doorbell(77, true));
        assert!(bench.rang(77), "the IST was valid with the VM (VM-7, IST-3)");
        assert_eq!(bench.vmte_word(VM, 2) & 1, 1);
    }
}

#[test]
fn an_ist_made_invalid_alone_goes_back_to_software() {
    for setting in settings_with_levels(true, |_| {}) {
        let (mut bench, _, ist) = VmBench::ready(setting);
        bench.vdpend(lpi(2), true);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        assert_eq!(bench.vmte_word(VM, 2) & 1, 0, "IST-5");
        bench.select(3);
        assert!(!bench.machine.read::<IRS_VPE_HPPIR>(IRS).hppiv(), "IST-5");
        bench.machine.acquire(IRS, &ist, 8..12);
        assert!(L2_ISTE::new_with_raw_value(bench.machine.load32(&ist, 8)).pending());
        bench.machine.free(ist);
    }
}

#[test]
fn commands_on_what_is_not_there_do_nothing() {
    for setting in settings_with_levels(true, |_| {}) {
        let mut bench = VmBench::new(setting);
        for far in [VmId::new(300), VmId::new(600)] {
            bench.command(IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(far));
            bench.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(far));
            bench.command(IRS_VMAP_VISTR::ZERO.with_m(true).with_int_type(IrsIntType::Lpi).with_vm_id(far));
            bench.command(IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_int_type(IrsIntType::Lpi).with_vm_id(far));
        }
        assert!(!bench.select(0), "VMT-20");
        let made = bench.make_vm(&[0]);
        let second = bench.block(128, 128);
        let entry = VPETE::ZERO.with_vped_addr(Addr55_3::new(second.address()).unwrap());
        bench.store(&made.vpet.block, 8, entry.raw_value());
        bench.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM).with_vpe_id(VpeId::new(200)));
        bench.machine.write(IRS, IRS_VMAP_VPER::ZERO.with_vm_id(VM).with_vpe_id(VpeId::new(1)));
        assert_eq!(bench.load_word(&made.vpet.block, 8), entry.raw_value(), "VM-4, VPE-4");
        assert!(bench.select(0) && !bench.select(1));
        bench.machine.write(IRS, IRS_VPE_SELR::ZERO.with_vm_id(VM));
        assert!(!bench.machine.read::<IRS_VPE_STATUSR>(IRS).v(), "VPE-14: the selection of before stays");
    }
}

#[test]
fn settings_of_a_vpe_that_became_invalid_are_not_written() {
    for setting in settings(|_| {}) {
        let (bench, made, _) = VmBench::ready(setting);
        assert!(bench.select(3));
        bench.map_vm(MapAction::MakeInvalid);
        bench.zero_descriptors(&made);
        let status = bench.command(bench.doorbell(77, true));
        assert!(!IRS_VPE_STATUSR::new_with_raw_value(status as u32).v(), "VPE-13");
        bench.map_vm(MapAction::MakeValid);
        bench.select(3);
        assert_eq!(bench.machine.read::<IRS_VPE_DBR>(IRS), IRS_VPE_DBR::ZERO, "VPE-13");
    }
}

#[test]
fn every_shape_of_a_virtual_ist_reaches_its_last_interrupt_and_no_further() {
    for setting in settings(|switches| switches.save.disturbance = Disturbance::Changes) {
        let shapes = [
            IstGeometry::linear(14, IstSize::Bytes8).unwrap(),
            IstGeometry::linear(16, IstSize::Bytes16).unwrap(),
            IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap(),
            IstGeometry::two_level(16, IstSize::Bytes16, L2Size::KiB64).unwrap(),
        ];
        for geometry in shapes {
            // With metadata an entry has 8 bytes, or 16 from 15 ID bits on (IST-10).
            let metadata = geometry.entry_size() != IstSize::Bytes4;
            let mut bench = VmBench::changed(setting, |config| {
                let idr2 = config.irses[0].idr2.with_istmd(metadata).with_istmd_sz(u5::new(15));
                config.irses[0].idr2 = if metadata { idr2 } else { config.irses[0].idr2 };
            });
            bench.make_vm(&[0]);
            let level1 = bench.make_ist(IrsIntType::Lpi, geometry, &[]);
            let last = (1 << geometry.id_bits()) - 1;
            let bytes = geometry.entry_size().bytes();
            let mut place = (None, u64::from(last) * bytes);
            if let Some(level2) = geometry.level2() {
                let table = bench.block(level2.size(), level2.alignment());
                let offset = u64::from(geometry.l1_entries() - 1) * 8;
                bench.store(&level1, offset, table.address().raw());
                let command = IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_int_type(IrsIntType::Lpi).with_vm_id(VM);
                bench.command(command.with_id(u24::new(last)));
                assert_eq!(bench.load_word(&level1, offset) & 1, 1, "IST-18");
                place = (Some(table), level2.size() - bytes);
            }
            let save = IRS_SAVE_VMR::ZERO.with_vm_id(VM);
            bench.command(save.with_s(true).with_q(true));
            assert!(bench.machine.read::<IRS_SAVE_VM_STATUSR>(IRS).q(), "SAVE-2 {geometry:?}");
            bench.vdpend(lpi(last + 1), true);
            assert!(bench.is_quiescent(), "IST-27: nothing has changed");
            bench.vdpend(lpi(last), true);
            assert!(!bench.is_quiescent(), "SAVE-4 {geometry:?}");
            assert!(!bench.is_quiescent(), "asking alone saves nothing (SAVE-3)");
            bench.command(save.with_s(true));
            let (table, offset) = (place.0.as_ref().unwrap_or(&level1), place.1);
            bench.machine.acquire(IRS, table, offset..offset + 4);
            let entry = L2_ISTE::new_with_raw_value(bench.machine.load32(table, offset));
            assert_eq!((entry.pending(), entry.enable()), (true, false), "SAVE-1, SAVE-5 {geometry:?}");
        }
    }
}

#[test]
fn the_irs_owns_the_level2_ist_that_it_uses_and_not_the_misaligned_address_it_was_given() {
    for setting in settings(|_| {}) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let geometry = IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB16).unwrap();
        let level1 = bench.make_ist(IrsIntType::Lpi, geometry, &[]);
        let table = bench.block(0x8000, 0x8000);
        bench.store(&level1, 0, table.address().raw() + 0x1000);
        bench.publish_level2_ist(IrsIntType::Lpi);
        bench.clean();
        bench.machine.store32(&table, 0, 1);
        assert_eq!(bench.rules(), ["IST-26"], "IST-14");
        bench.machine.store32(&table, 0x4000, 1);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        bench.machine.free(table);
    }
}

#[test]
fn an_assigned_spi_belongs_to_the_vm_and_to_nobody_else() {
    for setting in settings(|switches| {
        switches.doorbell.mask = DoorbellMask::ByUrgency;
    }) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let enabled = L2_ISTE::ZERO.with_enable(true);
        bench.make_ist(IrsIntType::Spi, linear(6), &[enabled; 16]);
        let spi = Spi::new(9).unwrap();
        bench.command(IRS_SPI_SELR::ZERO.with_id(spi));
        bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
        assert_eq!(bench.machine.read::<IRS_SPI_VMR>(IRS).vm_id(), VM);
        assert_eq!(bench.machine.interrupt(IrsIntId::Spi(spi)), None, "SPI-9");
        bench.ask(0, 70);
        bench.machine.set_spi_wire(spi, true);
        assert!(bench.rang(70), "SPI-9, INJ-6");
        bench.command(IRS_SPI_VMR::ZERO);
        let physical = bench.machine.interrupt(IrsIntId::Spi(spi)).unwrap();
        assert!(!physical.pending(), "SPI-12: nothing of the VM's comes back with it");
        // The guest has left it enabled.
        bench.remarked(&["SPI-11"]);
    }
}

#[test]
fn events_for_a_vm_that_is_not_valid_are_lost() {
    for setting in settings(|_| {}) {
        let bench = VmBench::new(setting);
        let spi = Spi::new(9).unwrap();
        bench.command(IRS_SPI_SELR::ZERO.with_id(spi));
        bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
        bench.machine.set_spi_wire(spi, true);
        bench.vdpend(lpi(3), true);
        bench.clean();
        assert!(!bench.machine.signals(PeIndex(0)).irq, "SPI-10, VM-12");
    }
}

#[test]
fn clearing_the_vm_table_ends_every_vm_and_gives_its_memory_back() {
    for setting in settings(|_| {}) {
        let (bench, made, ist) = VmBench::ready(setting);
        bench.command(IRS_VMT_BASER::ZERO);
        assert!(!bench.machine.read::<IRS_VMT_BASER>(IRS).valid());
        assert!(!bench.select(3), "VMT-6");
        let (bench, vms) = bench.apart();
        let level2 = vms.level2.into_iter().flatten().map(|table| table.block);
        for block in made.into_blocks().chain([ist, vms.table.block]).chain(level2) {
            bench.machine.free(block);
        }
    }
}

#[test]
fn a_live_vm_table_ignores_everything_but_its_end() {
    for setting in settings(|switches| switches.vm_table.live_registers = LiveRegisters::Keep) {
        let bench = VmBench::new(setting);
        let (baser, cfgr) = (bench.machine.read::<IRS_VMT_BASER>(IRS), bench.machine.read::<IRS_VMT_CFGR>(IRS));
        bench.machine.write(IRS, IRS_VMT_CFGR::ZERO);
        bench.machine.write(IRS, IRS_VMT_BASER::ZERO.with_valid(true));
        assert_eq!(bench.machine.read::<IRS_VMT_CFGR>(IRS), cfgr, "VMT-4");
        assert_eq!(bench.machine.read::<IRS_VMT_BASER>(IRS), baser, "VMT-5");
        assert!(bench.machine.read::<IRS_VMT_STATUSR>(IRS).idle());
    }
}

#[test]
fn a_command_that_never_completes_leaves_the_vm_as_it_was_until_it_does() {
    for setting in settings(|_| {}) {
        let bench = VmBench::with_vm(setting, &[0]);
        bench.machine.fault_next(Fault::Never);
        let invalidate = IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(VM);
        bench.machine.write(IRS, invalidate);
        for _ in 0..1000 {
            assert!(!bench.machine.read::<IRS_VMT_STATUSR>(IRS).idle());
        }
        assert!(bench.select(0), "LIFE-10");
        bench.machine.write(IRS, invalidate);
        bench.broken(&["GEN-18"]);
        bench.machine.recover();
        assert!(bench.machine.read::<IRS_VMT_STATUSR>(IRS).idle() && !bench.select(0));
    }
}

#[test]
fn without_virt_none_of_it_is_there() {
    let machine = Machine::new(MachineConfig::new(1, 64)).unwrap();
    for register in IrsReg::ALL {
        if !["VMT", "VPE", "VMAP", "_VM_", "VMR"].iter().any(|part| register.name().contains(part)) {
            continue;
        }
        machine.write_raw(IRS, *register, u64::MAX);
        assert_eq!(machine.read_raw(IRS, *register), 0, "{register} (GEN-7)");
    }
    machine.pe(PeIndex(0)).unwrap().gic(GicInsn::GIC_VDPEND, u64::MAX);
    assert_eq!(machine.take_violations().len(), 1);
}
