//! Every switch in each of its positions.

use crate::bench::*;

use arbitrary_int::{u3, u4, u5, u25};

#[test]
fn the_mask_is_compared_by_urgency_or_by_number() {
    for (mask, setting) in each(DoorbellMask::POSITIONS, |switches, mask| switches.doorbell.mask = mask) {
        for (dbpm, urgent, number) in
            [(0, false, true), (9, false, true), (10, true, true), (11, true, false), (31, true, false)]
        {
            let bench = VmBench::selected(setting);
            bench.command(doorbell(77, true, dbpm));
            bench.vdpend(lpi(1), true);
            let rings = match mask {
                DoorbellMask::ByUrgency => urgent,
                DoorbellMask::ByNumber => number,
            };
            assert_eq!(bench.rang(77), rings, "DBPM {dbpm}, priority 10 (DB-9, open question 1) {setting:?}");
        }
    }
}

#[test]
fn an_interrupt_that_passes_rings_whatever_more_urgent_one_does_not() {
    for setting in settings(|switches| switches.doorbell.mask = DoorbellMask::ByNumber) {
        let bench = VmBench::selected(setting);
        bench.command(doorbell(77, true, 10));
        // LPI 20 has priority 0 and is not enabled; it never counts. LPI 1 passes.
        bench.vdpend(lpi(20), true);
        assert!(!bench.rang(77));
        bench.vdpend(lpi(1), true);
        assert!(bench.rang(77), "DB-9 {setting:?}");
    }
}

#[test]
fn a_write_without_dbv_ends_the_settings_or_leaves_them() {
    for (switch, setting) in each(WithoutDbv::POSITIONS, |switches, switch| {
        switches.doorbell.without_dbv = switch;
        switches.doorbell.rewrite = RequestAtRewrite::Kept;
    }) {
        let (bench, ..) = VmBench::ready(setting);
        bench.ask(3, 77);
        bench.command(IRS_VPE_DBR::ZERO);
        let keeps = switch == WithoutDbv::Keeps;
        let settings = bench.machine.read::<IRS_VPE_DBR>(IRS);
        assert_eq!(settings.dbv(), keeps, "DB-8 {setting:?}");
        bench.vdpend(lpi(1), true);
        assert_eq!(bench.rang(77), keeps, "DB-8 {setting:?}");
    }
}

#[test]
fn a_request_survives_another_write_of_the_settings_or_not() {
    for (switch, setting) in each(RequestAtRewrite::POSITIONS, |switches, switch| switches.doorbell.rewrite = switch) {
        let (bench, ..) = VmBench::ready(setting);
        bench.ask(3, 77);
        bench.command(bench.doorbell(78, false));
        bench.vdpend(lpi(1), true);
        assert_eq!(bench.rang(78), switch == RequestAtRewrite::Kept, "open question 8 {setting:?}");
        assert!(!bench.rang(77), "the new settings count");
    }
}

#[test]
fn a_request_survives_a_write_of_vpe_cr0_or_not() {
    for (switch, setting) in each(RequestAtCr0::POSITIONS, |switches, switch| switches.doorbell.cr0_write = switch) {
        let (bench, ..) = VmBench::ready(setting);
        bench.ask(3, 77);
        bench.command(IRS_VPE_CR0::ZERO.with_dps(true));
        bench.vdpend(lpi(1), true);
        assert_eq!(bench.rang(77), switch == RequestAtCr0::Kept, "open question 8 {setting:?}");
    }
}

#[test]
fn req_db_shows_the_request_or_never_anything() {
    for (switch, setting) in each(ReqDbReads::POSITIONS, |switches, switch| switches.doorbell.req_db = switch) {
        let bench = VmBench::selected(setting);
        let reads = || bench.machine.read::<IRS_VPE_DBR>(IRS).req_db();
        bench.command(bench.doorbell(77, false));
        assert!(!reads());
        bench.command(bench.doorbell(77, true));
        assert_eq!(reads(), switch == ReqDbReads::Live, "open question 9 {setting:?}");
        bench.vdpend(lpi(1), true);
        assert!(bench.rang(77) && !reads(), "DB-4");
    }
}

#[test]
fn a_doorbell_that_merges_or_is_lost_uses_the_request_up_or_not() {
    for (switch, setting) in each(MergedDoorbell::POSITIONS, |switches, switch| switches.doorbell.merged = switch) {
        let (bench, ..) = VmBench::ready(setting);
        let keeps = switch == MergedDoorbell::Keeps;
        let pe = bench.host(PE0);
        bench.select(3);
        // The LPI is pending already (DB-15).
        pe.set_pending(Lpi::new(77).unwrap().into(), true);
        bench.command(bench.doorbell(77, true));
        bench.vdpend(lpi(1), true);
        pe.set_pending(Lpi::new(77).unwrap().into(), false);
        bench.vdpend(lpi(2), true);
        assert_eq!(bench.rang(77), keeps, "DB-15 {setting:?}");
        // The LPI cannot be reached (DB-16).
        bench.command(IRS_VPE_DBR::ZERO.with_dbv(true));
        bench.command(bench.doorbell(0xff_ffff, true));
        bench.command(bench.doorbell(79, false));
        assert_eq!(
            bench.rang(79),
            keeps && setting.switches.doorbell.rewrite == RequestAtRewrite::Kept,
            "DB-16 {setting:?}"
        );
    }
}

#[test]
fn vdpend_makes_an_edge_or_leaves_the_handling_mode() {
    for (switch, setting) in each(SetPending::POSITIONS, |switches, switch| switches.set_pending = switch) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let level = L2_ISTE::ZERO.with_enable(true).with_hm(HandlingMode::Level);
        let ist = bench.make_lpi_ist(&[level; 4]);
        bench.vdpend(lpi(1), true);
        bench.vdpend(lpi(2), false);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        let mode = |n: u64| bench.entry(&ist, n).hm();
        let expected = if switch == SetPending::MakesEdge { HandlingMode::Edge } else { HandlingMode::Level };
        assert_eq!(mode(1), expected, "INS-9, open question 17 {setting:?}");
        assert_eq!(mode(2), HandlingMode::Level, "clearing is no event");
    }
}

#[test]
fn what_software_left_pending_is_noticed_at_the_first_look_or_when_an_instruction_names_it() {
    for (_, setting) in each(PresetPending::POSITIONS, |switches, switch| switches.preset_pending = switch) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let preset = L2_ISTE::ZERO.with_enable(true).with_pending(true);
        bench.make_lpi_ist(&[preset; 4]);
        bench.broken(&["IST-22"]);
        bench.select(0);
        let candidate = || bench.machine.read::<IRS_VPE_HPPIR>(IRS).hppiv();
        assert!(!candidate(), "nobody has looked");
        // The IRS reads the entry for the sake of an instruction that changes nothing.
        bench.vdpend(lpi(1), true);
        assert!(candidate(), "IST-22 {setting:?}");
    }
}

#[test]
fn a_vm_table_that_is_not_supported_is_taken_field_by_field_or_as_a_whole() {
    for &switch in UnsupportedVmTable::POSITIONS {
        // Eight bits and two levels, of which the hardware has nine and one.
        for setting in settings_with_levels(false, |switches| switches.vm_table.unsupported = switch) {
            let bench = VmBench::new(setting);
            bench.command(IRS_VMT_BASER::ZERO);
            bench.clean();
            bench.machine.write(IRS, VmTableGeometry::two_level(8).unwrap().cfgr());
            bench.make_vm_table_valid(IRS);
            bench.broken(&["VMT-11"]);
            let last = VmId::new(0x1ff);
            bench.machine.observe(100);
            // The entry of a VM with nine bits is in the table, or no entry at all.
            bench.command(IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(last));
            let whole = switch == UnsupportedVmTable::Whole;
            let owned = bench.machine.take_events().iter().any(|(_, event)| matches!(event, Event::Owned { .. }));
            assert_eq!(owned, whole, "VMT-11 {setting:?}");
            assert_eq!(bench.rules().contains(&"VPE-4"), whole, "the entry describes no VM");
        }
    }
}

#[test]
fn the_registers_of_a_live_vm_table_keep_their_value_or_take_what_is_written_and_the_table_stays() {
    for (switch, setting) in
        each(LiveRegisters::POSITIONS, |switches, switch| switches.vm_table.live_registers = switch)
    {
        let (bench, ..) = VmBench::ready(setting);
        let (baser, cfgr) = (bench.machine.read::<IRS_VMT_BASER>(IRS), bench.machine.read::<IRS_VMT_CFGR>(IRS));
        bench.machine.write(IRS, IRS_VMT_CFGR::ZERO);
        bench.machine.write(IRS, IRS_VMT_BASER::ZERO.with_valid(true));
        let take = switch == LiveRegisters::Take;
        let read = bench.machine.read::<IRS_VMT_BASER>(IRS);
        assert!(read.valid() && bench.machine.read::<IRS_VMT_STATUSR>(IRS).idle());
        assert_eq!(read.addr() != baser.addr(), take, "VMT-5 {setting:?}");
        assert_eq!(bench.machine.read::<IRS_VMT_CFGR>(IRS) != cfgr, take, "VMT-4 {setting:?}");
        assert!(bench.select(3), "the table is the same");
        bench.command(IRS_VMT_BASER::ZERO);
        assert!(!bench.select(3));
        let (bench, vms) = bench.apart();
        bench.machine.free(vms.table.block);
        assert_eq!(bench.said(), [], "the memory that goes back is the table's (VMT-6)");
    }
}

#[test]
fn level_1_entries_stay_valid_or_are_cleared_when_their_table_becomes_invalid() {
    for &switch in Level1Valid::POSITIONS {
        for setting in settings_with_levels(true, |switches| switches.vm_table.level1 = switch) {
            let (bench, level1, level2) = VmBench::with_two_level_ist(setting);
            bench.publish_level2_ist(IrsIntType::Lpi);
            let kept = u64::from(switch == Level1Valid::Kept);
            bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
            assert_eq!(bench.load_word(&level1, 0), level2.address().raw() | kept, "open question 21 {setting:?}");
            bench.command(IRS_VMT_BASER::ZERO);
            assert_eq!(bench.load_word(&bench.vms.table.block, 0) & 1, kept, "open question 21 {setting:?}");
        }
    }
}

#[test]
fn the_states_of_a_vm_that_ends_go_back_to_memory_or_are_forgotten() {
    for (switch, setting) in each(EndOfStates::POSITIONS, |switches, switch| switches.vm.states = switch) {
        for whole_table in [false, true] {
            let (bench, _, ist) = VmBench::ready(setting);
            bench.vdpend(lpi(1), true);
            bench.save();
            bench.vdpend(lpi(2), true);
            match whole_table {
                false => bench.map_vm(MapAction::MakeInvalid),
                true => _ = bench.command(IRS_VMT_BASER::ZERO),
            }
            assert!(bench.entry(&ist, 1).pending(), "what was saved is there (SAVE-1)");
            let back = switch == EndOfStates::WrittenBack;
            assert_eq!(bench.entry(&ist, 2).pending(), back, "VM-2, VMT-6 {setting:?}");
        }
    }
}

#[test]
fn the_ists_of_a_vm_stay_valid_with_it_or_do_not() {
    for (switch, setting) in each(IstValid::POSITIONS, |switches, switch| {
        switches.vm.ist_valid = switch;
        switches.vm.vpe_valid = VpeValid::Kept;
        switches.vpe.hppir = VpeHppir::Candidate;
    }) {
        let (mut bench, made, _) = VmBench::ready(setting);
        let kept = switch == IstValid::Kept;
        bench.map_vm(MapAction::MakeInvalid);
        assert_eq!(bench.vmte_word(VM, 2) & 1 == 1, kept, "VM-7, open question 6 {setting:?}");
        bench.zero_descriptors(&made);
        bench.map_vm(MapAction::MakeValid);
        bench.vdpend(lpi(1), true);
        assert_eq!(bench.candidate_of(3), kept.then_some(1), "VM-7 {setting:?}");
    }
}

#[test]
fn the_vpes_of_a_vm_stay_valid_with_it_or_do_not() {
    for (switch, setting) in each(VpeValid::POSITIONS, |switches, switch| switches.vm.vpe_valid = switch) {
        let (bench, made, _) = VmBench::ready(setting);
        let kept = switch == VpeValid::Kept;
        bench.map_vm(MapAction::MakeInvalid);
        assert_eq!(bench.load_word(&made.vpet.block, 24) & 1 == 1, kept, "VM-8, open question 21 {setting:?}");
        bench.zero_descriptors(&made);
        bench.map_vm(MapAction::MakeValid);
        assert_eq!(bench.select(3), kept, "VM-8, open question 5 {setting:?}");
        bench.map_vpe(3);
        assert!(bench.select(3), "it can be made valid again (VPE-6)");
    }
}

#[test]
fn the_settings_of_a_vpe_outlive_its_vm_being_invalid_or_the_descriptors_must_be_zero_again() {
    for (switch, setting) in each(VpeState::POSITIONS, |switches, switch| {
        switches.vm.vpe_state = switch;
        switches.vm.vpe_valid = VpeValid::Kept;
        switches.vpe.dps = VpeDps::Kept;
    }) {
        let bench = VmBench::selected(setting);
        bench.command(IRS_VPE_CR0::ZERO.with_dps(true));
        bench.command(doorbell(77, true, 9));
        bench.map_vm(MapAction::MakeInvalid);
        bench.clean();
        // Software leaves the descriptors as they are.
        bench.map_vm(MapAction::MakeValid);
        bench.select(3);
        let settings = bench.machine.read::<IRS_VPE_DBR>(IRS);
        let dps = bench.machine.read::<IRS_VPE_CR0>(IRS).dps();
        if switch == VpeState::Survives {
            assert_eq!((settings, dps), (doorbell(77, false, 9), true), "open question 5 {setting:?}");
            bench.clean();
        } else {
            let rule = if setting.shape.descriptor { "VM-11" } else { "VPE-8" };
            assert_eq!(bench.rules().first(), Some(&rule), "open question 5 {setting:?}");
        }
    }
}

#[test]
fn a_vpe_whose_descriptor_was_not_zero_has_candidates_or_never_and_its_configuration_is_anything() {
    for &switch in DirtyDescriptor::POSITIONS {
        let mut configurations = Vec::new();
        for setting in settings(|switches| {
            switches.vpe.dirty_descriptor = switch;
            switches.vpe.hppir = VpeHppir::Candidate;
        }) {
            let mut bench = VmBench::new(setting);
            let made = bench.make_vm(&[3]);
            bench.make_dirty_vpe(&made, Some(64));
            bench.broken(&["VPE-8"]);
            let enabled = L2_ISTE::ZERO.with_enable(true).with_iaffid(Iaffid::new(1));
            bench.make_lpi_ist(&[enabled; 4]);
            assert!(bench.select(1), "it is valid all the same");
            configurations.push(bench.machine.read::<IRS_VPE_DBR>(IRS));
            bench.vdpend(lpi(2), true);
            let selects = switch == DirtyDescriptor::SelectsCandidates;
            assert_eq!(bench.candidate_of(1), selects.then_some(2), "VPE-8 {setting:?}");
            bench.command(bench.doorbell(77, true));
            assert_eq!(bench.rang(77), selects, "VPE-8 {setting:?}");
        }
        assert!(configurations.iter().any(|dbr| *dbr != IRS_VPE_DBR::ZERO), "VPE-8: UNKNOWN");
    }
}

#[test]
fn a_vm_descriptor_that_was_not_zero_spoils_every_vpe_of_the_vm() {
    for &switch in DirtyDescriptor::POSITIONS {
        let setting = every_shape()[1].with(|switches| switches.vpe.dirty_descriptor = switch);
        let mut bench = VmBench::new(setting);
        let made = bench.make_vm(&[0]);
        bench.make_lpi_ist(&[L2_ISTE::ZERO.with_enable(true); 4]);
        bench.map_vm(MapAction::MakeInvalid);
        bench.zero_descriptors(&made);
        bench.store(&made.descriptor.as_ref().unwrap().block, 8, 1);
        bench.map_vm(MapAction::MakeValid);
        bench.broken(&["VM-11"]);
        bench.vdpend(lpi(1), true);
        assert_eq!(bench.candidate_of(0), (switch == DirtyDescriptor::SelectsCandidates).then_some(1), "VM-11");
    }
}

#[test]
fn dps_of_a_vpe_reads_as_zero_as_one_or_as_written() {
    for (switch, setting) in each(VpeDps::POSITIONS, |switches, switch| switches.vpe.dps = switch) {
        let (bench, ..) = VmBench::ready(setting);
        let reads = || bench.machine.read::<IRS_VPE_CR0>(IRS).dps();
        assert!(!reads(), "nothing is selected");
        bench.select(3);
        assert_eq!(reads(), switch == VpeDps::One, "VPE-9, open question 20 {setting:?}");
        bench.command(IRS_VPE_CR0::ZERO.with_dps(true));
        assert_eq!(reads(), switch != VpeDps::Zero, "open question 20 {setting:?}");
        bench.command(IRS_VPE_CR0::ZERO);
        assert_eq!(reads(), switch == VpeDps::One, "open question 20 {setting:?}");
    }
}

#[test]
fn a_selection_of_nothing_is_ignored_or_deselects() {
    for (switch, setting) in each(EmptySelection::POSITIONS, |switches, switch| switches.vpe.empty_selection = switch) {
        let bench = VmBench::selected(setting);
        bench.machine.write(IRS, IRS_VPE_SELR::ZERO.with_vm_id(VM));
        let status = bench.machine.read::<IRS_VPE_STATUSR>(IRS);
        assert!(status.idle());
        assert_eq!(status.v(), switch == EmptySelection::Ignored, "VPE-14 {setting:?}");
    }
}

#[test]
fn hppir_shows_the_candidate_or_only_one_that_passes_the_mask() {
    for (switch, setting) in each(VpeHppir::POSITIONS, |switches, switch| {
        switches.vpe.hppir = switch;
        switches.doorbell.mask = DoorbellMask::ByUrgency;
    }) {
        let (bench, ..) = VmBench::ready(setting);
        bench.vdpend(lpi(1), true);
        bench.select(3);
        for (mask, passes) in [(9, false), (10, true)] {
            bench.command(doorbell(77, false, mask));
            let shown = passes || switch != VpeHppir::PassingMask;
            assert_eq!(bench.candidate_of(3), shown.then_some(1), "VPE-16, open question 11 {setting:?}");
        }
        bench.enter(3);
        let shown = switch != VpeHppir::NothingWhileResident;
        assert_eq!(bench.candidate_of(3), shown.then_some(1), "open question 11 {setting:?}");
        bench.leave();
        assert_eq!(bench.candidate_of(3), Some(1));
    }
}

#[test]
fn an_interrupt_for_a_vpe_that_is_not_valid_waits_or_is_overlooked_or_is_lost() {
    for (switch, setting) in each(InvalidTarget::POSITIONS, |switches, switch| {
        switches.vpe.invalid_target = switch;
        switches.vpe.hppir = VpeHppir::Candidate;
    }) {
        let mut bench = VmBench::new(setting);
        let made = bench.make_vm(&[3]);
        let target = |n| L2_ISTE::ZERO.with_enable(true).with_iaffid(Iaffid::new(n));
        let ist = bench.make_lpi_ist(&[target(1), target(1), target(3)]);
        bench.vdpend(lpi(0), true);
        bench.vdpend(lpi(2), true);
        assert_eq!(bench.candidate_of(3), Some(2), "that of a valid VPE counts");
        bench.make_dirty_vpe(&made, None);
        let waits = switch == InvalidTarget::Waits;
        assert_eq!(bench.candidate_of(1), waits.then_some(0), "VPE-20, INJ-8 {setting:?}");
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        let pending = bench.entry(&ist, 0).pending();
        assert_eq!(pending, switch != InvalidTarget::IsLost, "VPE-20, RTE-4 {setting:?}");
    }
}

#[test]
fn an_overlooked_interrupt_is_noticed_when_it_is_named_again() {
    for setting in settings(|switches| {
        switches.vpe.invalid_target = InvalidTarget::IsNotNoticed;
        switches.vpe.hppir = VpeHppir::Candidate;
    }) {
        let mut bench = VmBench::new(setting);
        let made = bench.make_vm(&[3]);
        bench.make_lpi_ist(&[L2_ISTE::ZERO.with_enable(true).with_iaffid(Iaffid::new(1))]);
        bench.vdpend(lpi(0), true);
        bench.save();
        bench.make_dirty_vpe(&made, None);
        assert_eq!(bench.candidate_of(1), None);
        bench.vdpend(lpi(0), true);
        assert_eq!(bench.candidate_of(1), Some(0), "SAVE-10 {setting:?}");
    }
}

#[test]
fn an_entry_size_that_is_not_the_required_one_is_used_or_replaced() {
    for (switch, setting) in each(WrongEntrySize::POSITIONS, |switches, switch| {
        switches.ist.entry_size = switch;
        switches.vm.states = EndOfStates::WrittenBack;
    }) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let ist = bench.make_ist(IrsIntType::Lpi, IstGeometry::linear(14, IstSize::Bytes16).unwrap(), &[]);
        bench.broken(&["IST-10"]);
        bench.vdpend(lpi(4), true);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        let used = switch == WrongEntrySize::IsUsed;
        // As an entry of 4 bytes LPI 4 is the fifth, as one of 16 bytes the seventeenth.
        assert_eq!(
            (bench.entry(&ist, 4).pending(), bench.entry(&ist, 16).pending()),
            (!used, used),
            "IST-10 {setting:?}"
        );
    }
}

#[test]
fn a_reserved_entry_size_is_the_required_one_in_a_virtual_ist_too() {
    for setting in settings(|_| {}) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let ist = bench.block(0x10000, 0x10000);
        let word = linear(14).vmte_word(ist.address()).unwrap();
        bench.store_vmte_word(2, word.raw_value() | 3 << 56);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeValid);
        bench.broken(&["IST-10"]);
        bench.vdpend(lpi(4), true);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        assert!(bench.entry(&ist, 4).pending(), "IST-9 {setting:?}");
    }
}

#[test]
fn a_level_2_size_that_is_not_supported_becomes_the_smallest_or_the_largest() {
    for (switch, setting) in each(UnsupportedL2Size::POSITIONS, |switches, switch| switches.ist.l2_size = switch) {
        // 4 KiB and 64 KiB are supported; 16 KiB and the reserved size are not.
        for l2sz in [1, 3] {
            let mut bench = VmBench::changed(setting, |config| {
                config.irses[0].idr2 =
                    config.irses[0].idr2.with_ist_l2sz(L2SizeSet::new_with_raw_value(u3::new(0b101)));
            });
            bench.make_vm(&[0]);
            let level1 = bench.block(4096, 4096);
            let word = IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap();
            let word = word.vmte_word(level1.address()).unwrap();
            bench.store_vmte_word(2, word.raw_value() & !0b110 | l2sz << 1);
            bench.map_ist(IrsIntType::Lpi, MapAction::MakeValid);
            bench.broken(&["IST-15"]);
            let table = bench.block(0x10000, 0x10000);
            bench.store(&level1, 0, table.address().raw());
            bench.machine.observe(100);
            bench.publish_level2_ist(IrsIntType::Lpi);
            let size = if switch == UnsupportedL2Size::Smallest { 0x1000 } else { 0x10000 };
            let owned = bench.machine.take_events().into_iter().any(|(_, event)| {
                    matches!(event, Event::Owned { address, size: owned, .. } if address == table.address() && owned == size)
                });
            assert!(owned, "IST-14, IST-15 {l2sz} {setting:?}");
        }
    }
}

#[test]
fn too_many_or_too_few_id_bits_are_clamped_or_the_ist_is_refused() {
    for (switch, setting) in each(UnsupportedIdBits::POSITIONS, |switches, switch| switches.ist.id_bits = switch) {
        for (asked, clamped) in [(17, 16), (9, 10)] {
            let mut bench = VmBench::changed(setting, |config| {
                let idr2 = config.irses[0].idr2;
                config.irses[0].idr2 = idr2.with_id_bits(u5::new(16)).with_min_lpi_id_bits(u4::new(10));
            });
            bench.make_vm(&[0]);
            let geometry = linear(asked);
            let ist = bench.block(0x80000, 0x80000);
            let word = geometry.vmte_word(ist.address()).unwrap();
            bench.store_vmte_word(2, word.raw_value());
            bench.map_ist(IrsIntType::Lpi, MapAction::MakeValid);
            bench.broken(&["IST-28"]);
            let taken = switch == UnsupportedIdBits::Clamped;
            assert_eq!(bench.vmte_word(VM, 2) & 1 == 1, taken, "IST-28 {setting:?}");
            bench.vdpend(lpi((1 << clamped) - 1), true);
            bench.vdpend(lpi(1 << clamped), true);
            bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
            assert_eq!(bench.entry(&ist, (1 << clamped) - 1).pending(), taken, "IST-28 {setting:?}");
            assert!(!bench.entry(&ist, 1 << clamped).pending(), "IST-28 {setting:?}");
        }
    }
}

#[test]
fn the_state_of_an_spi_is_cleared_when_it_goes_to_a_vm_or_comes_back_with_it() {
    for (switch, setting) in each(SpiStateAtAssignment::POSITIONS, |switches, switch| switches.spi.state = switch) {
        let bench = VmBench::new(setting);
        let spi = Spi::new(9).unwrap();
        let pe = bench.host(PE0);
        pe.cden(spi.into());
        pe.cdpri(spi.into(), priority(4));
        pe.gsb_sys();
        let assign = |vmr| {
            bench.command(IRS_SPI_SELR::ZERO.with_id(spi));
            bench.command(vmr);
        };
        assign(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
        assert_eq!(bench.machine.interrupt(spi.into()), None, "SPI-9");
        // From one VM to another nothing is lost.
        assign(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VmId::new(6)));
        assign(IRS_SPI_VMR::ZERO);
        let state = bench.machine.interrupt(spi.into()).unwrap();
        let kept = switch == SpiStateAtAssignment::Kept;
        let expected = if kept { (true, priority(4)) } else { (false, priority(0)) };
        assert_eq!((state.enable(), state.priority()), expected, "SPI-12 {setting:?}");
        pe.cden(spi.into());
        pe.gsb_sys();
        assign(IRS_SPI_VMR::ZERO);
        assert!(bench.machine.interrupt(spi.into()).unwrap().enable(), "it was physical already {setting:?}");
        bench.remarked(&["SPI-11"]);
    }
}

#[test]
fn an_spi_that_goes_to_a_vm_is_looked_at_by_software_or_at_once() {
    for (switch, setting) in each(SpiSampling::POSITIONS, |switches, switch| {
        switches.spi.sampling = switch;
        switches.spi.state = SpiStateAtAssignment::Cleared;
        switches.vpe.hppir = VpeHppir::Candidate;
    }) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let enabled = L2_ISTE::ZERO.with_enable(true);
        bench.make_ist(IrsIntType::Spi, linear(6), &[enabled; 16]);
        let spi = Spi::new(9).unwrap();
        bench.command(IRS_SPI_SELR::ZERO.with_id(spi));
        bench.command(IRS_SPI_CFGR::ZERO.with_tm(TriggerMode::Level));
        bench.machine.set_spi_wire(spi, true);
        bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
        let at_once = switch == SpiSampling::AtAssignment;
        assert_eq!(bench.candidate_of(0), at_once.then_some(9), "SPI-11 {setting:?}");
        bench.machine.write(IRS, IRS_SPI_RESAMPLER::ZERO.with_spi_id(spi));
        assert_eq!(bench.candidate_of(0), Some(9), "SPI-5, SPI-11 {setting:?}");
        bench.machine.set_spi_wire(spi, false);
        assert_eq!(bench.candidate_of(0), None, "SPI-4");
        bench.machine.set_spi_wire(spi, true);
        bench.command(IRS_SPI_VMR::ZERO);
        assert_eq!(bench.machine.interrupt(spi.into()).unwrap().pending(), at_once, "SPI-11 {setting:?}");
        // The guest has left it enabled.
        bench.remarked(&["SPI-11"]);
    }
}

#[test]
fn the_verdict_of_a_save_is_made_when_it_is_read_or_when_it_is_asked_for() {
    for (switch, setting) in each(SaveVerdict::POSITIONS, |switches, switch| switches.save.verdict = switch) {
        let (bench, ..) = VmBench::ready(setting);
        let read = || bench.machine.read::<IRS_SAVE_VM_STATUSR>(IRS).q();
        bench.command(IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_s(true).with_q(true));
        assert!(read(), "SAVE-2");
        bench.vdpend(lpi(1), true);
        assert_eq!(read(), switch == SaveVerdict::WhenAsked, "SAVE-3 {setting:?}");
        assert!(!bench.is_quiescent(), "SAVE-4");
        bench.save();
        assert!(!read(), "nobody asked");
        assert!(bench.is_quiescent());
    }
}

#[test]
fn changes_or_attempts_or_doorbells_too_end_the_quiet() {
    for (switch, setting) in each(Disturbance::POSITIONS, |switches, switch| switches.save.disturbance = switch) {
        let (bench, ..) = VmBench::ready(setting);
        let attempts = switch != Disturbance::Changes;
        let quiet_after = |what: &dyn Fn()| {
            bench.save();
            what();
            bench.is_quiescent()
        };
        assert!(quiet_after(&|| ()), "SAVE-2");
        assert!(quiet_after(&|| bench.host(PE0).vdpend(VmId::new(77), lpi(1), true)), "another VM");
        assert!(!quiet_after(&|| bench.vdpend(lpi(1), true)), "SAVE-4");
        assert_eq!(quiet_after(&|| bench.vdpend(lpi(1), true)), !attempts, "open question 14 {setting:?}");
        assert_eq!(quiet_after(&|| bench.vdpend(lpi(0x4000), true)), !attempts, "open question 14 {setting:?}");
        bench.select(3);
        let rings = || {
            bench.command(bench.doorbell(77, true));
            assert!(bench.rang(77));
        };
        let expected = switch != Disturbance::AttemptsAndDoorbells;
        assert_eq!(quiet_after(&rings), expected, "open question 14 {setting:?}");
    }
}

#[test]
fn doorbells_ring_while_every_irs_is_disabled_or_when_one_is_enabled() {
    for (switch, setting) in
        each(DoorbellsOfDisabledIrs::POSITIONS, |switches, switch| switches.doorbell.disabled_irs = switch)
    {
        let (bench, ..) = VmBench::ready(setting);
        bench.command(IRS_CR0::ZERO);
        bench.ask(3, 77);
        bench.vdpend(lpi(1), true);
        let rings = switch == DoorbellsOfDisabledIrs::Ring;
        assert_eq!(bench.rang(77), rings, "GEN-21, open question 18 {setting:?}");
        bench.command(IRS_CR0::ZERO.with_irsen(true));
        assert!(bench.rang(77), "GEN-21 {setting:?}");
    }
}

#[test]
fn a_setlpi_makes_an_edge_or_leaves_the_handling_mode() {
    for (switch, setting) in each(SetLpi::POSITIONS, |switches, switch| switches.set_lpi = switch) {
        let bench = VmBench::new(setting);
        let id = Lpi::new(40).unwrap();
        bench.host(PE0).cdhm(id.into(), HandlingMode::Level);
        bench.host(PE0).gsb_sys();
        bench.machine.write_set_lpi(IRS, IRS_SETLPIR::ZERO.with_id(id));
        let state = bench.machine.interrupt(id.into()).unwrap();
        assert!(state.pending());
        assert_eq!(state.hm() == HandlingMode::Edge, switch == SetLpi::MakesEdge, "LPI-4 {setting:?}");
    }
}

#[test]
fn the_vm_table_is_given_to_one_irs_or_to_each() {
    for (switch, setting) in each(VmTableProgramming::POSITIONS, |switches, switch| {
        switches.vm_table.programming = switch;
        switches.vpe.hppir = VpeHppir::Candidate;
    }) {
        let mut bench = VmBench::changed(setting, |config| {
            config.add_irs();
            for irs in &mut config.irses {
                irs.idr6 = irs.idr6.with_spi_irs_range(u25::new(32));
            }
            config.irses[1].idr7 = IRS_IDR7::ZERO.with_spi_base(Spi::new(32).unwrap());
        });
        let (each, there) = (switch == VmTableProgramming::EachIrs, IrsIndex(1));
        let made = bench.make_vm(&[0]);
        bench.make_lpi_ist(&[L2_ISTE::ZERO.with_enable(true); 4]);
        let selection = IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(VM);
        let select = |irs| {
            bench.command_at(irs, selection);
            bench.machine.read::<IRS_VPE_STATUSR>(irs).v()
        };
        assert_eq!(bench.machine.read::<IRS_VMT_BASER>(there).valid(), !each, "GEN-14 {setting:?}");
        assert_eq!((select(IRS), select(there)), (true, !each), "GEN-14, open question 13 {setting:?}");
        // An instruction on a PE of the other IRS.
        let cpu = bench.machine.pe(PeIndex(1)).unwrap();
        Pe::new(&cpu).vdpend(VM, lpi(1), true);
        Pe::new(&cpu).gsb_sys();
        assert_eq!(bench.candidate_of(0), (!each).then_some(1), "open question 13 {setting:?}");
        let host = Pe::new(&cpu);
        let enter = || {
            host.set(ICH_CONTEXTR_EL2::ZERO);
            host.set(ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(VM));
            !host.read::<ICH_CONTEXTR_EL2>().f()
        };
        assert_eq!(enter(), !each, "RES-3 {setting:?}");
        bench.give_vm_table_to(there);
        assert!(enter(), "{setting:?}");
        assert!(select(there) && bench.machine.read::<IRS_VMT_BASER>(there).valid());
        Pe::new(&cpu).vdpend(VM, lpi(1), true);
        Pe::new(&cpu).gsb_sys();
        assert_eq!(bench.candidate_of(0), Some(1));
        // The table is the IRSs' until the last has given it up.
        bench.command_at(there, IRS_VMT_BASER::ZERO);
        bench.broken(&["RES-23"]);
        assert_eq!((select(IRS), select(there)), (each, false), "open question 13 {setting:?}");
        bench.command(IRS_VMT_BASER::ZERO);
        assert!(!select(IRS));
        for block in made.into_blocks() {
            bench.machine.free(block);
        }
    }
}

#[test]
fn two_irses_of_a_domain_are_not_given_different_vm_tables() {
    let setting = every_shape()[0].with(|switches| switches.vm_table.programming = VmTableProgramming::EachIrs);
    let bench = VmBench::changed(setting, |config| {
        config.add_irs();
    });
    let another = bench.block(0x4000, 0x4000);
    bench.machine.write(IrsIndex(1), bench.vms.table.shape.cfgr());
    let base = Addr55_3::new(another.address()).unwrap();
    bench.command_at(IrsIndex(1), IRS_VMT_BASER::ZERO.with_addr(base).with_valid(true));
    bench.broken(&["GEN-13"]);
    bench.give_vm_table_to(IrsIndex(1));
}

#[test]
fn the_settings_of_a_resident_vpe_can_be_written_or_not() {
    for (switch, setting) in
        each(SettingsWhileResident::POSITIONS, |switches, switch| switches.doorbell.while_resident = switch)
    {
        let bench = VmBench::selected(setting);
        bench.enter(3);
        bench.command(bench.doorbell(77, false));
        let taken = switch == SettingsWhileResident::AreTaken;
        assert_eq!(bench.machine.read::<IRS_VPE_DBR>(IRS).dbv(), taken, "open question 9 {setting:?}");
        bench.leave();
        bench.command(bench.doorbell(78, true));
        bench.vdpend(lpi(1), true);
        assert!(bench.rang(78) && !bench.rang(77));
    }
}

#[test]
fn a_request_made_of_a_resident_vpe_is_forgotten_or_counts_when_it_has_left() {
    for (switch, setting) in each(RequestWhileResident::POSITIONS, |switches, switch| {
        switches.doorbell.request_while_resident = switch;
        switches.doorbell.while_resident = SettingsWhileResident::AreTaken;
    }) {
        let bench = VmBench::selected(setting);
        bench.enter(3);
        bench.command(bench.doorbell(77, true));
        bench.vdpend(lpi(1), true);
        assert!(!bench.rang(77), "DB-18: not while it is resident");
        bench.leave();
        assert_eq!(bench.rang(77), switch == RequestWhileResident::Remembered, "DB-18, open question 8 {setting:?}");
    }
}

#[test]
fn the_mask_of_a_request_counts_alone_or_with_that_of_the_settings() {
    for (switch, setting) in each(RequestMask::POSITIONS, |switches, switch| {
        switches.doorbell.request_mask = switch;
        switches.doorbell.mask = DoorbellMask::ByUrgency;
    }) {
        let bench = VmBench::selected(setting);
        bench.command(doorbell(77, false, 9));
        bench.enter(3);
        bench.leave_with(ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(priority(31)));
        bench.vdpend(lpi(1), true);
        assert_eq!(bench.rang(77), switch == RequestMask::OfRequest, "DB-10, priority 10 {setting:?}");
    }
}

#[test]
fn a_request_that_comes_with_v_is_none_or_counts_when_the_vpe_has_left() {
    for (switch, setting) in each(RequestWithV::POSITIONS, |switches, switch| switches.doorbell.with_v = switch) {
        let bench = VmBench::selected(setting);
        bench.command(bench.doorbell(77, false));
        let everything = bench.doorbell(77, false).dbpm();
        bench.enter_with(3, ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(everything));
        bench.vdpend(lpi(1), true);
        assert!(!bench.rang(77), "DB-18");
        bench.leave();
        assert_eq!(bench.rang(77), switch == RequestWithV::Counts, "DB-11 {setting:?}");
    }
}
