//! Tables: who writes what and when, what breaks a rule and what nearly does.

use crate::bench::*;

fn map_vpe(vpe: u16) -> IRS_VMAP_VPER {
    IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM).with_vpe_id(VpeId::new(vpe))
}

#[test]
fn before_the_vm_table_is_valid_the_irs_touches_no_memory_of_it() {
    // VMT-1, VMT-3: everything but the last step of the set-up.
    for setting in settings(|_| {}) {
        let (bench, ..) = VmBench::ready(setting);
        bench.command(IRS_VMT_BASER::ZERO);
        bench.machine.observe(1_000);
        bench.machine.write(IRS, bench.vms.table.shape.cfgr());
        bench.command(IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(VM));
        bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
        bench.command(map_vpe(3));
        assert!(!bench.select(3));
        bench.vdpend(lpi(1), true);
        let touched =
            bench.machine.take_events().into_iter().find(|(_, event)| {
                matches!(event, Event::Owned { .. } | Event::Fillable { .. } | Event::WriteBack { .. })
            });
        assert_eq!(touched, None, "{setting:?}");
    }
}

#[test]
fn a_table_that_has_not_been_published_is_reported_when_it_becomes_valid() {
    // VMT-1, COH-5; the near miss is every other story.
    for setting in every_shape() {
        let bench = VmBench::new(setting);
        bench.command(IRS_VMT_BASER::ZERO);
        bench.clean();
        bench.machine.store64(&bench.vms.table.block, 8, 0);
        bench.make_vm_table_valid(IRS);
        let rules = bench.rules();
        assert!(rules == ["COH-1"] || rules == ["COH-2"], "{rules:?} {setting:?}");
    }
}

#[test]
fn a_level_1_entry_is_published_once_and_only_in_a_two_level_table() {
    // VMT-14, VMT-19: the second command changes nothing, and neither does what software has put there since.
    for setting in settings(|switches| switches.vm_table.level1 = Level1Valid::Kept) {
        let mut bench = VmBench::new(setting);
        bench.vms.reach(VM).unwrap();
        bench.clean();
        bench.machine.observe(100);
        bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
        let owned = bench.machine.take_events().into_iter().any(|(_, event)| matches!(event, Event::Owned { .. }));
        assert!(!owned, "{setting:?}");
        if setting.shape.two_level {
            let level2 = bench.level2().address().raw();
            let other = bench.block(4096, 4096);
            bench.store(&bench.vms.table.block, 0, other.address().raw());
            bench.broken(&["VMT-15"]);
            bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
            bench.make_vm(&[0]);
            assert!(bench.select(0), "the table that was there is used (VMT-19)");
            bench.command(IRS_VMT_BASER::ZERO);
            assert_eq!(
                bench.load_word(&bench.vms.table.block, 0),
                level2 | 1,
                "the IRS's word is the last one (VMT-19)"
            );
        }
        let _ = bench.said();
    }
}

#[test]
fn a_vm_that_is_valid_already_is_not_made_valid_again() {
    // VM-3, VPE-6, VMT-19: neither are its VPEs.
    for setting in settings(|switches| {
        switches.vpe.hppir = VpeHppir::Candidate;
        switches.vm.vpe_valid = VpeValid::Kept;
    }) {
        let bench = VmBench::selected(setting);
        bench.command(bench.doorbell(77, false));
        bench.vdpend(lpi(1), true);
        bench.map_vm(MapAction::MakeValid);
        bench.command(map_vpe(3));
        assert_eq!(bench.candidate_of(3), Some(1), "{setting:?}");
        assert!(bench.machine.read::<IRS_VPE_DBR>(IRS).dbv());
        bench.map_vm(MapAction::MakeInvalid);
        let violations = bench.said();
        bench.map_vm(MapAction::MakeInvalid);
        assert!(violations.is_empty() && !bench.select(3));
    }
}

#[test]
fn what_belongs_to_a_vm_can_be_written_when_it_is_invalid_and_not_before() {
    // VM-5, VM-6, VM-15, VMT-18, VPE-22: each store is a violation first, and none afterwards.
    for setting in settings(|_| {}) {
        let (mut bench, made, ist) = VmBench::ready(setting);
        let stores = |bench: &mut VmBench| {
            bench.store(&made.vpes[1].block, 0, 0);
            bench.store(&made.vpet.block, 24, 0);
            bench.machine.store32(&ist, 4, 0);
            for n in 0..2 {
                let word = bench.vmte_word(VM, n);
                bench.store_vmte_word(n, word & !1);
            }
        };
        stores(&mut bench);
        let mut rules = bench.rules();
        rules.dedup();
        assert_eq!(rules, ["VM-5", "IST-26", "VMT-18"], "{setting:?}");
        bench.map_vm(MapAction::MakeInvalid);
        let _ = bench.said();
        stores(&mut bench);
    }
}

#[test]
fn a_vpe_is_added_by_software_and_irs_each_doing_its_half() {
    // VPE-5, VPE-11, VM-9: VALID set by software breaks the rule, everything else is the way to do it. A VPE that is there
    // stays until its VM goes.
    for setting in settings(|_| {}) {
        let (bench, made, _) = VmBench::ready(setting);
        let descriptor = bench.block(128, 128);
        let entry = VPETE::ZERO.with_vped_addr(Addr55_3::new(descriptor.address()).unwrap());
        bench.store(&made.vpet.block, 8, entry.with_valid(true).raw_value());
        assert_eq!(bench.rules(), ["VPE-5"], "{setting:?}");
        bench.store(&made.vpet.block, 8, entry.raw_value());
        bench.clean();
        bench.command(map_vpe(1));
        assert!(bench.select(1));
        bench.command(IRS_VPE_CR0::ZERO.with_dps(true));
        bench.command(bench.doorbell(77, false));
        bench.clean();
        bench.store(&made.vpet.block, 8, 0);
        assert_eq!(bench.rules(), ["VM-5"], "there is no taking away of one VPE (VM-9)");
        assert!(bench.select(1), "VM-9");
    }
}

#[test]
fn an_entry_that_is_not_cleared_makes_the_next_vm_valid_with_what_the_last_one_had() {
    // VM-14: the rule is not checked, what follows is what it says.
    for setting in settings(|switches| switches.vm.vpe_valid = VpeValid::Kept) {
        let (bench, made, _) = VmBench::ready(setting);
        bench.map_vm(MapAction::MakeInvalid);
        bench.zero_descriptors(&made);
        bench.map_vm(MapAction::MakeValid);
        assert!(bench.select(3), "{setting:?}");
    }
}

#[test]
fn the_registers_of_virtual_1_of_n_hold_nothing() {
    // VPE-17, VPE-18, RTE-3: VIRT_ONE_N is 0.
    for setting in settings(|_| {}) {
        let (bench, ..) = VmBench::ready(setting);
        assert!(!bench.machine.read::<IRS_IDR0>(IRS).virt_one_n());
        for register in [IrsReg::IRS_VM_SELR, IrsReg::IRS_VM_DBR, IrsReg::IRS_VM_STATUSR] {
            bench.machine.write_raw(IRS, register, u64::MAX);
            assert_eq!(bench.machine.read_raw(IRS, register), 0, "{register}");
        }
    }
}

#[test]
fn a_vm_has_one_ist_of_each_type_and_the_ids_of_one_are_not_those_of_the_other() {
    // IST-1, GEN-2.
    for setting in settings(|switches| switches.vpe.hppir = VpeHppir::Candidate) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let enabled = L2_ISTE::ZERO.with_enable(true);
        let lpis = bench.make_lpi_ist(&[enabled; 8]);
        let geometry = linear(6);
        let spis = bench.make_ist(IrsIntType::Spi, geometry, &[enabled; 8]);
        bench.vdpend(IrsIntId::Spi(Spi::new(5).unwrap()), true);
        bench.vdpend(lpi(6), true);
        // A second one of the same type is not taken.
        let other = bench.block(0x10000, 0x10000);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeValid);
        for int_type in [IrsIntType::Lpi, IrsIntType::Spi] {
            bench.map_ist(int_type, MapAction::MakeInvalid);
        }
        let pending = |ist| (0..8).filter(|n| bench.entry(ist, *n).pending()).collect::<Vec<_>>();
        assert_eq!((pending(&lpis), pending(&spis)), (vec![6], vec![5]), "{setting:?}");
        bench.machine.free(other);
    }
}

#[test]
fn an_all_zero_entry_is_disabled_idle_edge_for_vpe_0_with_priority_0() {
    // IST-24, IST-25, SAVE-8: what is preset counts, at the places of the layout.
    for setting in settings(|_| {}) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let preset = 0b1110 | 7 << 11 | 3 << 16;
        bench.make_lpi_ist(&[L2_ISTE::ZERO, L2_ISTE::new_with_raw_value(preset)]);
        let zero = bench.machine.virtual_interrupt(VM, lpi(0)).unwrap();
        assert!(!zero.enable() && !zero.pending() && !zero.active() && zero.hm() == HandlingMode::Edge);
        assert_eq!((zero.iaffid(), zero.priority()), (Iaffid::new(0), priority(0)));
        let state = bench.machine.virtual_interrupt(VM, lpi(1)).unwrap();
        assert!(state.enable() && !state.pending() && state.active() && state.hm() == HandlingMode::Level);
        assert_eq!((state.iaffid(), state.priority()), (Iaffid::new(3), priority(7)));
    }
}

#[test]
fn only_the_first_32_bits_of_an_entry_are_read_and_written() {
    // IST-11: with metadata an entry is longer, and what is behind the first word is not the next entry.
    for setting in settings(|switches| switches.vm.states = EndOfStates::WrittenBack) {
        let mut bench = VmBench::changed(setting, |config| {
            let idr2 = config.irses[0].idr2;
            config.irses[0].idr2 = idr2.with_istmd(true).with_istmd_sz(arbitrary_int::u5::new(15));
        });
        bench.make_vm(&[0]);
        let ist = bench.make_ist(IrsIntType::Lpi, IstGeometry::linear(14, IstSize::Bytes8).unwrap(), &[]);
        bench.vdpend(lpi(3), true);
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        let words: Vec<bool> = (0..10).map(|n| bench.entry(&ist, n).pending()).collect();
        assert_eq!(words.iter().position(|pending| *pending), Some(6), "{setting:?}");
        assert_eq!(words.iter().filter(|pending| **pending).count(), 1);
    }
}

#[test]
fn level_2_ists_may_be_valid_before_their_ist_is() {
    // IST-21, IST-3: software sets VALID in the level-1 entries of an IST that is not valid yet.
    for setting in settings(|switches| switches.vm_table.level1 = Level1Valid::Kept) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let geometry = IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap();
        let level1 = bench.block(geometry.base().size(), geometry.base().alignment());
        let table = bench.block(4096, 4096);
        let entry = L1_ISTE::ZERO.with_valid(true).with_l2_addr(Addr55_12::new(table.address()).unwrap());
        bench.store(&level1, 0, entry.raw_value());
        bench.store_vmte_word(2, geometry.vmte_word(level1.address()).unwrap().raw_value());
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeValid);
        bench.vdpend(lpi(1023), true);
        assert!(bench.machine.virtual_interrupt(VM, lpi(1023)).unwrap().pending(), "{setting:?}");
        assert_eq!(bench.machine.virtual_interrupt(VM, lpi(1024)), None, "IST-27");
        bench.clean();
        bench.machine.store32(&table, 0, 1);
        assert_eq!(bench.rules(), ["IST-26"], "the IRS owns it like any other");
    }
}

#[test]
fn a_saved_vm_is_restored_by_scrubbing_validating_and_injecting() {
    // SAVE-1, SAVE-2, SAVE-5, SAVE-8, SAVE-9, SAVE-10, SAVE-11: nothing is lost, whatever the switches say, and no rule is broken.
    for setting in settings(|switches| switches.vpe.hppir = VpeHppir::Candidate) {
        let (bench, made, ist) = VmBench::ready(setting);
        bench.select(3);
        bench.command(bench.doorbell(77, false));
        bench.vdpend(lpi(1), true);
        bench.vdpend(lpi(4), true);
        bench.command(IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_s(true).with_q(true));
        assert!(bench.machine.read::<IRS_SAVE_VM_STATUSR>(IRS).q() && bench.is_quiescent(), "{setting:?}");
        bench.map_vm(MapAction::MakeInvalid);
        let entries: Vec<L2_ISTE> = (0..10).map(|n| bench.entry(&ist, n)).collect();
        let noted: Vec<u32> = (0..10).filter(|n| entries[*n as usize].pending()).collect();
        for (n, entry) in entries.iter().enumerate() {
            bench.machine.store32(&ist, n as u64 * 4, entry.with_pending(false).raw_value());
        }
        assert_eq!(noted, [1, 4]);
        bench.machine.publish(IRS, &ist, 0..40);
        bench.zero_descriptors(&made);
        bench.map_vm(MapAction::MakeValid);
        // What did not become valid with the VM is made valid now.
        bench.command(map_vpe(0));
        bench.command(map_vpe(3));
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeValid);
        assert!(bench.select(3));
        assert!(!bench.machine.read::<IRS_VPE_DBR>(IRS).dbv(), "SAVE-11");
        bench.command(bench.doorbell(77, true));
        for id in noted {
            bench.vdpend(lpi(id), true);
        }
        assert!(bench.rang(77) && bench.candidate_of(3).is_some(), "SAVE-10 {setting:?}");
        for n in [1, 4] {
            assert!(bench.machine.virtual_interrupt(VM, lpi(n)).unwrap().pending());
        }
    }
}

#[test]
fn software_copies_the_ists_of_a_saved_vm_as_long_as_nothing_changes() {
    // SAVE-1, SAVE-4, SAVE-5, IST-26: the VM stays valid, and the IRS keeps the tables.
    for setting in settings(|_| {}) {
        let (mut bench, _, lpis) = VmBench::ready(setting);
        let enabled = L2_ISTE::ZERO.with_enable(true);
        let spis = bench.make_ist(IrsIntType::Spi, linear(5), &[enabled; 8]);
        bench.vdpend(lpi(1), true);
        let spi = IrsIntId::Spi(Spi::new(6).unwrap());
        bench.vdpend(spi, true);
        const POISON: u32 = 0xbad0_bad0;
        assert_eq!(bench.entry(&lpis, 1).raw_value(), POISON, "what is in memory may be old");
        bench.save();
        assert!(bench.is_quiescent(), "{setting:?}");
        let pending = |ist, count| (0..count).filter(|n| bench.entry(ist, *n).pending()).collect::<Vec<_>>();
        assert_eq!((pending(&lpis, 10), pending(&spis, 8)), (vec![1], vec![6]), "{setting:?}");
        assert!(bench.entry(&lpis, 9).enable() && bench.is_quiescent());
        // It is still the IRS's.
        bench.clean();
        bench.machine.store32(&lpis, 4, 0);
        bench.broken(&["IST-26"]);
        bench.vdpend(lpi(4), true);
        assert!(!bench.is_quiescent());
        assert_eq!((bench.entry(&lpis, 9).raw_value(), bench.entry(&spis, 6).raw_value()), (POISON, POISON));
        bench.save();
        assert!(bench.entry(&lpis, 4).pending());
        // Its store was in a line that the copy has then invalidated.
        bench.broken(if setting.shape.coherency == Coherency::Coherent { &[] } else { &["COH-7"] });
    }
}

#[test]
fn a_save_has_what_was_injected_without_a_gsb_or_misses_it() {
    // Open question 16, SYN-1, SAVE-4: in either case the verdict says so.
    for (effects, has) in
        [(Effects::Late, false), (Effects::Early, true), (Effects::Random, true), (Effects::Random, false)]
    {
        let one = |seed| {
            let setting = every_shape()[0].with(|switches| switches.effects = effects);
            let mut bench = VmBench::changed(setting, |config| {
                config.seed = seed;
                config.effect_latency = u64::MAX;
            });
            bench.make_vm(&[0]);
            let lpis = bench.make_lpi_ist(&[L2_ISTE::ZERO.with_enable(true); 4]);
            bench.host(PE0).vdpend(VM, lpi(2), true);
            bench.save();
            let saved = bench.entry(&lpis, 2).pending();
            assert!(bench.is_quiescent());
            bench.host(PE0).gsb_sys();
            assert_eq!(bench.is_quiescent(), saved, "what came later is a change");
            saved
        };
        assert!((0..40).any(|seed| one(seed) == has), "{effects:?}");
        assert!(effects == Effects::Random || one(7) == has);
    }
}

#[test]
fn a_restore_that_does_not_scrub_is_reported() {
    // SAVE-8, IST-22.
    for setting in every_shape() {
        let (bench, made, _) = VmBench::ready(setting);
        bench.vdpend(lpi(1), true);
        bench.map_vm(MapAction::MakeInvalid);
        bench.zero_descriptors(&made);
        bench.map_vm(MapAction::MakeValid);
        assert_eq!(bench.rules(), ["IST-22"], "{setting:?}");
        bench.vdpend(lpi(1), true);
    }
}

#[test]
fn software_that_frees_a_table_too_early_is_told_which() {
    // VMT-7, VMT-16, IST-7, IST-20: and afterwards may.
    for setting in settings_with_levels(true, |_| {}) {
        let (bench, _, ist) = VmBench::ready(setting);
        let (bench, mut vms) = bench.apart();
        let level2 = vms.level2[0].take().unwrap().block;
        let saved = bench.machine.save();
        for (block, rule) in [(ist, "IST-7"), (level2, "VMT-16"), (vms.table.block, "VMT-7")] {
            bench.machine.restore(saved.clone());
            bench.machine.free(block);
            assert_eq!(bench.rules(), [rule], "{setting:?}");
        }
    }
}

#[test]
fn an_invalid_entry_of_a_live_table_may_be_filled_and_refilled() {
    // VMT-13, VMT-17, IST-2: with VALID left 0 nothing is wrong.
    for setting in settings_with_levels(true, |_| {}) {
        let (mut bench, ..) = VmBench::ready(setting);
        let table = bench.block(4096, 4096);
        for _ in 0..2 {
            bench.store(&bench.vms.table.block, 8, L1_VMTE::ZERO.raw_value() | table.address().raw());
            bench.store_vmte_word(3, 0x4000);
            bench.store(bench.level2(), 0, L2_VMTE_VMD::ZERO.raw_value() | 0x8000);
        }
        bench.clean();
        bench.store_vmte_word(3, 0x4001);
        bench.broken(&["IST-2"]);
        // Another VM's words may be whatever they like as long as that VM is invalid (IST-3).
        bench.store(bench.level2(), 16, 1);
    }
}

#[test]
fn the_same_vm_id_names_one_vm_whatever_irs_is_asked() {
    // VM-13, GEN-13: there is one domain, and in it one table.
    for setting in settings(|switches| switches.vm_table.programming = VmTableProgramming::AnyIrs) {
        let mut bench = VmBench::changed(setting, |config| {
            config.add_irs();
        });
        bench.make_vm(&[0]);
        let there = gicv5_hal::IrsIndex(1);
        bench.command_at(there, IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(VM));
        assert!(!bench.select(0), "{setting:?}");
    }
}

#[test]
fn a_command_can_be_written_in_halves_the_one_that_acts_last() {
    // GEN-9: also where the register cannot be read.
    for setting in every_shape() {
        let mut bench = VmBench::new(setting);
        let made = bench.make_vm(&[0]);
        let half = |bench: &VmBench, offset, value| {
            bench.machine.write32(Frame::config(IRS), offset, value);
            while !bench.machine.read::<IRS_VMT_STATUSR>(IRS).idle() {}
        };
        let (vmap, vper) = (IrsReg::IRS_VMAP_VMR.offset(), IrsReg::IRS_VMAP_VPER.offset());
        let vm = u32::from(VM.raw_value());
        half(&bench, vmap, vm);
        assert!(bench.select(0), "nothing says that anything shall be done");
        half(&bench, vmap + 4, 1 << 31 | 1 << 30);
        assert!(!bench.select(0), "the VM is invalid: {setting:?}");
        bench.zero_descriptors(&made);
        half(&bench, vmap + 4, 1 << 31);
        assert!(bench.select(0), "the lower half is as it was, so the VM is valid again");
        half(&bench, vmap + 4, 1 << 30);
        half(&bench, vmap, vm);
        assert!(bench.select(0), "M acts when it is written and not again");
        // An ID in each half.
        let descriptor = bench.block(128, 128);
        bench.name_descriptor(&made, descriptor.address());
        half(&bench, vper, 1);
        assert!(!bench.select(1));
        half(&bench, vper + 4, 1 << 31 | vm);
        assert!(bench.select(1), "{setting:?}");
    }
}

#[test]
fn what_the_irs_has_written_is_seen_after_a_load_barrier_and_not_for_certain_before() {
    // SYN-10, COH-4: on a coherent IRS too, where a load may have been done before the read that tells of the completion.
    for setting in every_shape() {
        for acquires in [true, false] {
            let mut bench = VmBench::new(setting);
            let vpet = bench.vms.host.table(VpeTableGeometry::for_highest(VpeId::new(0))).unwrap();
            let mut vmte = L2_VMTE::ZERO.with_vpet(vpet.vmte_word().unwrap());
            if setting.shape.descriptor {
                let descriptor = Addr55_3::new(bench.block(64, 64).address()).unwrap();
                vmte = vmte.with_vmd(L2_VMTE_VMD::ZERO.with_vmd_addr(descriptor));
            }
            bench.vms.reach(VM).unwrap();
            bench.vms.store_entry(VM, 0, &vmte.raw_value());
            bench.map_vm(MapAction::MakeValid);
            let (table, offset) = bench.vms.entry(VM).unwrap();
            if acquires {
                bench.machine.acquire(IRS, table, offset..offset + 8);
            }
            let word = L2_VMTE_VMD::new_with_raw_value(bench.machine.load64(table, offset));
            assert_eq!(word.valid(), acquires, "{setting:?}");
        }
    }
}
