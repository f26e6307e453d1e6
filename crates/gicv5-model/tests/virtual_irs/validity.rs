//! What is valid already when what encloses it becomes valid, and what is not although it looks so.

use crate::bench::*;

use arbitrary_int::u6;

/// What belongs to a VM that was put together while nothing was valid.
struct LaidOut {
    level2: Option<ModelBlock>,
    vpet: ModelBlock,
    ist: ModelBlock,
}

type ModelBlock = gicv5_model::memory::ModelBlock;

/// Puts a VM with VPE 0 and an LPI IST together in memory, with every valid bit set (VMT-12, VM-8, IST-3) but perhaps its own.
fn lay_out(bench: &VmBench, vm: VmId, valid: bool) -> LaidOut {
    let [descriptor, vped] = [bench.block(64, 64), bench.block(128, 128)];
    let geometry = VpeTableGeometry::for_highest(VpeId::new(0));
    let vpet = bench.block(geometry.footprint().size(), geometry.footprint().alignment());
    let vpete = VPETE::ZERO.with_vped_addr(Addr55_3::new(vped.address()).unwrap()).with_valid(true);
    bench.store(&vpet, 0, vpete.raw_value());
    let linear = linear(6);
    let ist = bench.block(linear.base().size(), linear.base().alignment());
    let entry = L2_ISTE::ZERO.with_enable(true).with_iaffid(Iaffid::new(0)).with_priority(priority(10)).raw_value();
    bench.store(&ist, 0, u64::from(entry) << 32 | u64::from(entry));
    let vmd = L2_VMTE_VMD::ZERO.with_valid(valid).with_vmd_addr(Addr55_3::new(descriptor.address()).unwrap());
    let words = [
        vmd.raw_value(),
        geometry.vmte_word(vpet.address()).unwrap().raw_value(),
        linear.vmte_word(ist.address()).unwrap().with_ist_valid(true).raw_value(),
        0,
    ];
    let (level2, offset) = match bench.vms.table.shape.index(vm).unwrap() {
        TableIndex::Linear(slot) => (None, slot.offset),
        TableIndex::TwoLevel { level1, level2 } => {
            let block = bench.block(4096, 4096);
            let entry = L1_VMTE::ZERO.with_l2_addr(Addr51_12::new(block.address()).unwrap()).with_valid(true);
            bench.store(&bench.vms.table.block, level1.offset, entry.raw_value());
            (Some(block), level2.offset)
        }
    };
    for (n, word) in (0..).zip(words) {
        bench.store(level2.as_ref().unwrap_or(&bench.vms.table.block), offset + n * 8, word);
    }
    LaidOut { level2, vpet, ist }
}

fn select(bench: &VmBench, irs: IrsIndex, vm: VmId) -> bool {
    bench.command_at(irs, IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm));
    bench.machine.read::<IRS_VPE_STATUSR>(irs).v()
}

fn give_up_vm_table(bench: &VmBench) {
    bench.command(bench.machine.read::<IRS_VMT_BASER>(IRS).with_valid(false));
}

#[test]
fn vms_whose_entries_are_valid_already_become_valid_with_the_table() {
    // VMT-12, VM-8, IST-3: in every level-2 table, its first and its last VM.
    for setting in every_shape() {
        for vms in [[5, 128, 300], [127, 255, 256], [0, 383, 511]] {
            let bench = VmBench::new(setting);
            give_up_vm_table(&bench);
            let mut laid_out: Vec<_> =
                vms.into_iter().map(|vm| (VmId::new(vm), lay_out(&bench, VmId::new(vm), true))).collect();
            bench.give_vm_table_to(IRS);
            bench.clean();
            for ((vm, _), doorbell_lpi) in laid_out.iter().zip(77..) {
                assert!(select(&bench, IRS, *vm), "{vm} {setting:?}");
                bench.command(bench.doorbell(doorbell_lpi, true));
                let pe = bench.host(PE0);
                pe.vdpend(*vm, lpi(1), true);
                pe.gsb_sys();
                assert!(bench.rang(doorbell_lpi), "{vm} {setting:?}");
            }
            assert!(!select(&bench, IRS, VmId::new(45)), "this one was not valid");
            bench.clean();
            // All of it is the IRS's.
            for (vm, LaidOut { level2, vpet, ist }) in laid_out.drain(..) {
                if let Some(level2) = level2 {
                    bench.machine.store64(&level2, 45 * L2_VMTE::BYTES, 1);
                    assert_eq!(bench.rules(), ["VMT-17"], "{vm}");
                    bench.machine.store64(&bench.vms.table.block, u64::from(vm.raw_value()) / 128 * 8, 0);
                    assert_eq!(bench.rules(), ["VMT-15"], "{vm}");
                }
                bench.machine.free(vpet);
                assert_eq!(bench.rules(), ["VM-5"], "{vm}");
                bench.machine.free(ist);
                assert_eq!(bench.rules(), ["IST-7"], "{vm}");
            }
        }
    }
}

#[test]
fn a_vm_whose_entry_is_not_valid_does_not_become_valid_with_the_table() {
    // VMT-12, VM-1.
    for setting in every_shape() {
        let bench = VmBench::new(setting);
        give_up_vm_table(&bench);
        lay_out(&bench, VM, false);
        bench.give_vm_table_to(IRS);
        assert!(!select(&bench, IRS, VM));
        bench.map_vm(MapAction::MakeValid);
        assert!(select(&bench, IRS, VM), "with its VPE, whose entry was valid (VM-8)");
    }
}

#[test]
fn a_command_of_the_vm_table_that_has_no_effect_leaves_the_table_as_it_was() {
    // GEN-17: what software does not read back it does not know.
    for setting in every_shape() {
        let (bench, made, _) = VmBench::ready(setting);
        bench.machine.fault_next(Fault::Ignored);
        give_up_vm_table(&bench);
        assert!(bench.machine.read::<IRS_VMT_BASER>(IRS).valid(), "it can be read back");
        assert!(select(&bench, IRS, VM));
        bench.machine.free(made.vpet.block);
        bench.broken(&["VM-5"]);
        give_up_vm_table(&bench);
        bench.machine.fault_next(Fault::Ignored);
        bench.give_vm_table_to(IRS);
        assert!(!bench.machine.read::<IRS_VMT_BASER>(IRS).valid());
        bench.give_vm_table_to(IRS);
        assert!(bench.machine.read::<IRS_VMT_BASER>(IRS).valid());
    }
}

#[test]
fn a_vm_behind_a_level_1_entry_that_is_not_valid_is_no_vm() {
    // VMT-20, VMT-13: everything is there but the valid bit of the level-1 entry.
    for setting in every_shape().into_iter().filter(|setting| setting.shape.two_level) {
        let bench = VmBench::new(setting);
        give_up_vm_table(&bench);
        lay_out(&bench, VM, false);
        bench.store(&bench.vms.table.block, 0, bench.load_word(&bench.vms.table.block, 0) & !1);
        bench.give_vm_table_to(IRS);
        bench.map_vm(MapAction::MakeValid);
        assert!(!select(&bench, IRS, VM));
        bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
        bench.map_vm(MapAction::MakeValid);
        assert!(select(&bench, IRS, VM));
    }
}

/// Two IRSs with software errors, of which the second has not been given the VM table.
fn second_irs_without_vm_table(setting: Setting) -> (VmBench, IrsIndex) {
    let setting = setting.with(|switches| {
        switches.vm_table.programming = VmTableProgramming::EachIrs;
        switches.errors.drops = ErrorDrops::Reported;
    });
    let bench = VmBench::changed(setting, |config| {
        config.irses[0].idr0 = config.irses[0].idr0.with_swe(true);
        config.add_irs();
    });
    (bench, IrsIndex(1))
}

/// What became of the commands since anybody asked.
fn outcomes(bench: &VmBench) -> Vec<Outcome> {
    let outcome = |(_, event)| match event {
        Event::CommandDone { outcome, .. } => Some(outcome),
        _ => None,
    };
    bench.machine.take_events().into_iter().filter_map(outcome).collect()
}

#[test]
fn commands_at_an_irs_that_does_not_know_the_vm_table_do_nothing_and_are_errors() {
    // GEN-14 where every IRS is told, VMT-20, ERR-7.
    for setting in every_shape() {
        let (mut bench, there) = second_irs_without_vm_table(setting);
        fn ignored<R: Register<Reg = IrsReg>>(bench: &VmBench, there: IrsIndex, command: R, is_error: bool) {
            bench.machine.observe(100);
            let _ = bench.machine.take_events();
            bench.command_at(there, command);
            assert_eq!(outcomes(bench), [Outcome::Ignored]);
            let status = bench.machine.read::<IRS_SWERR_STATUSR>(there);
            assert_eq!(status.v(), is_error);
            bench.machine.write(there, status);
        }
        bench.vms.reach(VM).unwrap();
        lay_out_in(&mut bench);
        ignored(&bench, there, IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(VM), true);
        bench.map_vm(MapAction::MakeValid);
        ignored(&bench, there, IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(VM), true);
        ignored(&bench, there, IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM), true);
        let int_type = IrsIntType::Lpi;
        ignored(&bench, there, IRS_VMAP_VISTR::ZERO.with_m(true).with_int_type(int_type).with_vm_id(VM), true);
        ignored(&bench, there, IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_int_type(int_type).with_vm_id(VM), true);
        ignored(&bench, there, IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VmId::new(300)), false);
        ignored(&bench, there, IRS_SAVE_VMR::ZERO.with_s(true).with_q(true).with_vm_id(VM), true);
        assert!(!bench.machine.read::<IRS_SAVE_VM_STATUSR>(there).q(), "SAVE-2");
        assert!(!bench.is_quiescent(), "it has saved nothing");
    }
}

/// The VM's entry, with a VPE table.
fn lay_out_in(bench: &mut VmBench) {
    let geometry = VpeTableGeometry::for_highest(VpeId::new(0));
    let vpet = bench.block(geometry.footprint().size(), geometry.footprint().alignment());
    let descriptor = bench.block(64, 64);
    bench.store_vmte_word(0, descriptor.address().raw());
    bench.store_vmte_word(1, geometry.vmte_word(vpet.address()).unwrap().raw_value());
}

#[test]
fn the_words_of_an_entry_belong_to_a_table_of_the_kind_that_there_is() {
    // VMT-18, IST-2, VMT-7, VMT-16.
    for setting in every_shape() {
        let (mut bench, ..) = VmBench::ready(setting);
        let two_level = bench.shape.two_level;
        let (entry, ist) = match two_level {
            true => (StructureKind::L2Vmte, StructureKind::L2VmteIst),
            false => (StructureKind::LinearVmte, StructureKind::LinearVmteIst),
        };
        for (n, rule, owned) in [(1, "VMT-18", entry), (2, "IST-2", ist)] {
            bench.store_vmte_word(n, 0);
            let broken = bench.said();
            let Place::Structure(_, owner) = broken[0].place else { panic!("{broken:?}") };
            assert_eq!((broken[0].rule, owner), (rule, Owner::vm(owned, VM)));
        }
    }
}

#[test]
fn a_descriptor_of_one_word_is_marked_by_the_irs_too() {
    // VM-10, VPE-7: what comes back is the IRS's own data and must be made zero again (VPE-8).
    for setting in every_shape() {
        let setting = setting.with(|switches| switches.vm.vpe_state = VpeState::Reset);
        let mut bench = VmBench::changed(setting, |config| {
            config.irses[0].idr4 = config.irses[0].idr4.with_vped_sz(u6::new(3));
        });
        let made = bench.make_vm(&[0]);
        bench.map_vm(MapAction::MakeInvalid);
        assert_ne!(bench.load_word(&made.vpes[0].block, 0), 0);
        assert_eq!(bench.load_word(&made.vpes[0].block, 8), 0, "the next word was never the IRS's");
    }
}

#[test]
fn what_somebody_else_has_left_in_a_descriptor_is_no_state_that_survives() {
    // VPE-8, where the state of a VPE outlives its VM: only what the IRS left itself is taken for it.
    for setting in every_shape() {
        let setting = setting.with(|switches| switches.vm.vpe_state = VpeState::Survives);
        let (bench, made, _) = VmBench::ready(setting);
        bench.select(3);
        bench.command(bench.doorbell(77, false));
        bench.map_vm(MapAction::MakeInvalid);
        let left = bench.load_word(&made.vpes[1].block, 0);
        bench.store(&made.vpes[1].block, 0, left ^ 1 << 30);
        bench.map_vm(MapAction::MakeValid);
        assert_eq!(bench.rules(), ["VPE-8"], "{left:#x}");
    }
}

#[test]
fn a_doorbell_that_outlives_its_vm_being_invalid_is_nobody_else_s() {
    // DB-14, VPE-9, where the state of a VPE outlives its VM.
    for setting in every_shape() {
        let setting = setting.with(|switches| switches.vm.vpe_state = VpeState::Survives);
        let bench = VmBench::selected(setting);
        bench.command(bench.doorbell(77, false));
        bench.map_vm(MapAction::MakeInvalid);
        bench.map_vm(MapAction::MakeValid);
        bench.clean();
        bench.select(0);
        bench.command(bench.doorbell(77, false));
        bench.broken(&["DB-14"]);
    }
}

#[test]
fn a_guest_that_asks_about_an_interrupt_is_the_first_to_look_at_its_entry() {
    // IST-22, INS-12: what software left pending is noticed then.
    for setting in every_shape() {
        let setting = setting.with(|switches| switches.preset_pending = PresetPending::Noticed);
        let mut bench = VmBench::with_vm(setting, &[0, 3]);
        let preset = L2_ISTE::ZERO.with_enable(true).with_pending(true).with_iaffid(Iaffid::new(3));
        bench.make_lpi_ist(&[preset; 4]);
        bench.broken(&["IST-22"]);
        bench.ask(3, 77);
        assert!(!bench.rang(77), "nobody has looked");
        bench.host(PE0).write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
        bench.enter(0);
        bench.clean();
        let guest = bench.guest(PE0);
        guest.cdrcfg(lpi(1));
        guest.gsb_sys();
        guest.isb();
        bench.clean();
        assert!(bench.rang(77), "VPE 3 is asleep, and has been asked for");
        assert!(!bench.host(PE0).read::<ICC_ICSR_EL1>().f());
    }
}

#[test]
fn a_question_about_a_vm_that_has_gone_meanwhile_is_an_error() {
    // VM-12, ERR-7.
    for setting in every_shape() {
        let setting = setting.with(|switches| {
            switches.errors.drops = ErrorDrops::Reported;
            switches.effects = Effects::Late;
        });
        let mut bench = VmBench::changed(setting, |config| {
            config.irses[0].idr0 = config.irses[0].idr0.with_swe(true);
        });
        bench.make_vm(&[0]);
        bench.make_lpi_ist(&[L2_ISTE::ZERO; 4]);
        bench.host(PE0).write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
        bench.enter(0);
        bench.clean();
        bench.guest(PE0).cdrcfg(lpi(1));
        bench.map_vm(MapAction::MakeInvalid);
        bench.broken(&["RES-23"]);
        bench.guest(PE0).gsb_sys();
        assert!(bench.machine.read::<IRS_SWERR_STATUSR>(IRS).v());
    }
}

#[test]
fn a_level_2_ist_is_published_once_and_the_second_command_is_ignored() {
    // IST-19: what software has put there since is not looked at (VMT-19).
    for setting in every_shape() {
        let (bench, _level1, _level2) = VmBench::with_two_level_ist(setting);
        bench.machine.observe(100);
        bench.publish_level2_ist(IrsIntType::Lpi);
        assert_eq!(outcomes(&bench), [Outcome::Done], "{setting:?}");
        bench.publish_level2_ist(IrsIntType::Lpi);
        assert_eq!(outcomes(&bench), [Outcome::Ignored], "{setting:?}");
    }
}

#[test]
fn a_fault_of_the_settings_of_a_vpe_is_planned_by_the_name_of_the_vpe() {
    // GEN-15: the register itself names nobody, so the selection does.
    for setting in every_shape() {
        let (bench, ..) = VmBench::ready(setting);
        bench.machine.record_fault_points();
        bench.select(3);
        bench.command(bench.doorbell(77, false));
        bench.command(IRS_VPE_CR0::ZERO);
        let names: Vec<_> =
            bench.machine.take_fault_points().into_iter().map(|point| point.request.to_string()).collect();
        assert!(names.contains(&"IRS_VPE_DBR VM 5 VPE 3".into()), "{names:?}");
        assert!(names.contains(&"IRS_VPE_CR0 VM 5 VPE 3".into()), "{names:?}");
    }
}
