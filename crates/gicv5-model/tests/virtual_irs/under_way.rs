//! What a command under way names: software leaves it alone until the command has completed (LIFE-10), and what becomes the
//! IRS's is software's own and nobody else's (LIFE-25).

use crate::bench::*;

/// A command that is about to be given, and what it names.
struct Case {
    name: &'static str,
    bench: VmBench,
    /// The entry that becomes valid, and what is in it.
    entry: Option<(PhysAddr, u64)>,
    /// The memory of what becomes the IRS's.
    block: ModelBlock,
    /// Gives the command.
    give: Box<dyn Fn(&Machine)>,
}

/// The address of a word of the VM's entry, and what is in it.
fn word_of_entry(bench: &mut VmBench, n: usize) -> (PhysAddr, u64) {
    let word = bench.vmte_word(VM, n);
    let (table, offset) = bench.vms.entry(VM).unwrap();
    (table.address().offset(offset + n as u64 * 8).unwrap(), word)
}

fn level2_vm_table() -> Case {
    let bench = VmBench::new(Setting { shape: SHAPES[1], switches: Switches::default() });
    let block = bench.block(4096, 4096);
    bench.machine.publish(IRS, &block, 0..4096);
    bench.store(&bench.vms.table.block, 0, block.address().raw());
    let entry = Some((bench.vms.table.address(), block.address().raw()));
    let give = |machine: &Machine| machine.write(IRS, IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
    Case { name: "IRS_VMAP_L2_VMTR", bench, entry, block, give: Box::new(give) }
}

fn vm(setting: Setting) -> Case {
    let mut bench = VmBench::new(setting);
    let vpet = bench.vms.host.table(VpeTableGeometry::for_highest(VpeId::new(3))).unwrap();
    let mut vmte = L2_VMTE::ZERO.with_vpet(vpet.vmte_word().unwrap());
    if setting.shape.descriptor {
        let vmd = bench.block(64, 64);
        vmte = vmte.with_vmd(L2_VMTE_VMD::ZERO.with_vmd_addr(Addr55_3::new(vmd.address()).unwrap()));
    }
    bench.vms.reach(VM).unwrap();
    bench.vms.store_entry(VM, 0, &vmte.raw_value());
    let entry = Some(word_of_entry(&mut bench, 1));
    let give = |machine: &Machine| machine.write(IRS, IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(VM));
    Case { name: "IRS_VMAP_VMR", bench, entry, block: vpet.block, give: Box::new(give) }
}

fn vpe(setting: Setting) -> Case {
    let (bench, made, _) = VmBench::ready(setting);
    let block = bench.block(128, 128);
    bench.machine.publish(IRS, &block, 0..128);
    bench.name_descriptor(&made, block.address());
    let entry = Some((made.vpet.address().offset(8).unwrap(), bench.load_word(&made.vpet.block, 8)));
    let command = IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM).with_vpe_id(VpeId::new(1));
    let give = move |machine: &Machine| machine.write(IRS, command);
    Case { name: "IRS_VMAP_VPER", bench, entry, block, give: Box::new(give) }
}

fn ist(setting: Setting) -> Case {
    let (mut bench, ..) = VmBench::ready(setting);
    let block = bench.ist_block(linear(6));
    let word = linear(6).vmte_word(block.address()).unwrap();
    bench.store_vmte_word(3, word.raw_value());
    let entry = Some(word_of_entry(&mut bench, 3));
    let command = IRS_VMAP_VISTR::ZERO.with_m(true).with_vm_id(VM).with_int_type(IrsIntType::Spi);
    let give = move |machine: &Machine| machine.write(IRS, command);
    Case { name: "IRS_VMAP_VISTR", bench, entry, block, give: Box::new(give) }
}

fn level2_ist(setting: Setting) -> Case {
    let (bench, level1, block) = VmBench::with_two_level_ist(setting);
    bench.machine.publish(IRS, &block, 0..4096);
    let entry = Some((level1.address(), block.address().raw()));
    let command = IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_vm_id(VM).with_int_type(IrsIntType::Lpi);
    let give = move |machine: &Machine| machine.write(IRS, command);
    Case { name: "IRS_VMAP_L2_VISTR", bench, entry, block, give: Box::new(give) }
}

fn physical_ist(setting: Setting) -> Case {
    let bench = VmBench::new(setting);
    bench.clear_ist(IRS);
    let block = bench.ist_block(linear(14));
    bench.machine.write(IRS, linear(14).cfgr());
    let command = baser(block.address()).with_valid(true);
    let give = move |machine: &Machine| machine.write(IRS, command);
    Case { name: "IRS_IST_BASER", bench, entry: None, block, give: Box::new(give) }
}

fn physical_level2_ist(setting: Setting) -> Case {
    let bench = VmBench::new(setting);
    bench.clear_ist(IRS);
    let (level1, block) = bench.live_level1();
    bench.point(&level1, 1, block.address());
    let entry = Some((level1.address().offset(8).unwrap(), block.address().raw()));
    let command = IRS_MAP_L2_ISTR::ZERO.with_id(Lpi::new(1024).unwrap());
    let give = move |machine: &Machine| machine.write(IRS, command);
    Case { name: "IRS_MAP_L2_ISTR", bench, entry, block, give: Box::new(give) }
}

fn vm_table(setting: Setting) -> Case {
    let bench = VmBench::new(setting);
    bench.command(bench.machine.read::<IRS_VMT_BASER>(IRS).with_valid(false));
    let block = bench.block_for(bench.vms.table.shape.base());
    bench.machine.publish(IRS, &block, 0..block.size());
    let command = IRS_VMT_BASER::ZERO.with_addr(Addr55_3::new(block.address()).unwrap()).with_valid(true);
    let give = move |machine: &Machine| machine.write(IRS, command);
    Case { name: "IRS_VMT_BASER", bench, entry: None, block, give: Box::new(give) }
}

fn cases() -> Vec<Case> {
    let each = [vm, vpe, ist, level2_ist, physical_ist, physical_level2_ist, vm_table];
    let all = every_shape().into_iter().flat_map(|setting| each.map(|case| case(setting)));
    all.chain([level2_vm_table()]).collect()
}

const FAULTS: [Fault; 2] = [Fault::Never, Fault::Late(1_000)];

/// The rules that were broken, after a command was given that does not complete soon, and something done meanwhile.
fn meanwhile(case: &Case, fault: Fault) {
    case.bench.clean();
    case.bench.machine.fault_next(fault);
    (case.give)(&case.bench.machine);
    case.bench.machine.advance(10);
    case.bench.clean();
}

/// LIFE-10, VMT-7, IST-8.
#[test]
fn memory_that_a_command_under_way_names_is_not_freed_without_a_report() {
    for fault in FAULTS {
        for case in cases() {
            meanwhile(&case, fault);
            let Case { name, bench, block, .. } = case;
            bench.machine.free(block);
            assert_eq!(bench.rules(), ["LIFE-10"], "{name} {fault}");
        }
    }
}

/// LIFE-10.
#[test]
fn the_entry_that_a_command_under_way_names_is_not_stored_to_without_a_report() {
    for fault in FAULTS {
        for case in cases() {
            meanwhile(&case, fault);
            let Case { name, bench, entry, .. } = case;
            let Some((address, _)) = entry else { continue };
            bench.machine.physical_memory().store64(address, 0);
            assert_eq!(bench.rules(), ["LIFE-10"], "{name} {fault}");
        }
    }
}

/// LIFE-10: and its neighbours may be stored to.
#[test]
fn the_entries_beside_the_one_that_a_command_under_way_names_are_softwares_to_fill() {
    for setting in every_shape() {
        let (bench, made, _) = VmBench::ready(setting);
        let block = bench.block(128, 128);
        bench.machine.publish(IRS, &block, 0..128);
        bench.name_descriptor(&made, block.address());
        bench.machine.fault_next(Fault::Never);
        bench.machine.write(IRS, IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM).with_vpe_id(VpeId::new(1)));
        bench.machine.advance(10);
        bench.store(&made.vpet.block, 16, block.address().raw());
        bench.machine.free(bench.block(4096, 4096));
    }
}

/// LIFE-10: what a command that has completed named is the structure's, and what a command without an effect named is
/// software's.
#[test]
fn a_command_that_has_completed_names_nothing_any_more() {
    for case in cases() {
        case.bench.clean();
        case.bench.machine.fault_next(Fault::Ignored);
        (case.give)(&case.bench.machine);
        case.bench.machine.advance(10);
        let Case { name, bench, entry, block, .. } = case;
        if let Some((address, value)) = entry {
            bench.machine.physical_memory().store64(address, value);
        }
        bench.machine.free(block);
        assert_eq!(bench.said(), [], "{name}");
    }
    for case in cases() {
        meanwhile(&case, Fault::Late(1_000));
        case.bench.machine.advance(2_000);
        let Case { name, bench, block, .. } = case;
        bench.clean();
        bench.machine.free(block);
        let rules = bench.rules();
        assert!(rules.len() == 1 && rules[0] != "LIFE-10", "{name}: {rules:?}");
    }
}

/// LIFE-10: freed memory that nobody has got yet, and then a command that was thought lost.
#[test]
fn a_structure_that_becomes_the_irss_in_memory_that_was_freed_is_reported() {
    for case in cases() {
        meanwhile(&case, Fault::Never);
        let Case { name, bench, block, .. } = case;
        bench.machine.free(block);
        assert_eq!(bench.rules(), ["LIFE-10"], "{name}");
        bench.machine.recover();
        bench.machine.advance(10);
        assert_eq!(bench.rules(), ["MEM-5"], "{name}");
    }
}

/// LIFE-10.
#[test]
fn memory_that_a_command_under_way_names_is_held_when_the_account_is_closed() {
    for case in cases() {
        let before = case.bench.machine.snapshot();
        let spare = case.bench.block(4096, 4096);
        meanwhile(&case, Fault::Never);
        let Case { name, bench, block, .. } = case;
        bench.machine.free(spare);
        bench.machine.free(block);
        // Allocated again, it is still named.
        let _again = bench.block(4096, 4096);
        let found: Vec<_> = bench.machine.account(&before).violations.iter().map(|found| found.rule).collect();
        assert_eq!(found.first(), Some(&"LIFE-10"), "{name}");
    }
}

/// LIFE-10: commands of different registers, which may be under way together.
#[test]
fn two_commands_under_way_do_not_name_the_same_memory_without_a_report() {
    for setting in every_shape() {
        let Case { bench, block, give, .. } = ist(setting);
        bench.clear_ist(IRS);
        bench.machine.write(IRS, linear(6).cfgr());
        bench.clean();
        bench.machine.fault_next(Fault::Never);
        give(&bench.machine);
        bench.machine.fault_next(Fault::Never);
        bench.machine.write(IRS, baser(block.address()).with_valid(true));
        assert_eq!(bench.rules(), ["LIFE-10"]);
    }
}

/// VPE-7.
#[test]
fn one_descriptor_for_two_vpes_is_reported() {
    for setting in every_shape() {
        let (bench, made, _) = VmBench::ready(setting);
        bench.name_descriptor(&made, made.vpes[0].address());
        bench.map_vpe(1);
        let found = bench.said();
        assert!(found.iter().any(|found| found.rule == "VPE-7"), "{found:#?}");
    }
}

/// LIFE-25: each of a VM's structures on the VPE table of another.
#[test]
fn a_structure_on_the_memory_of_another_is_reported() {
    for setting in every_shape() {
        let (mut bench, made, ist) = VmBench::ready(setting);
        let word = linear(6).vmte_word(ist.address()).unwrap();
        bench.store_vmte_word(3, word.raw_value());
        bench.map_ist(IrsIntType::Spi, MapAction::MakeValid);
        assert_eq!(bench.rules(), ["LIFE-25"], "an IST on an IST");
        drop(made);
    }
}

/// Open question 28, LIFE-10.
#[test]
fn what_an_entry_said_when_the_command_was_given_or_when_it_completes_is_what_becomes_valid() {
    for (reading, setting) in each(EntryReading::POSITIONS, |switches, p| switches.vm_table.entry_reading = p) {
        let Case { bench, entry, block, give, .. } = ist(setting);
        let (address, _) = entry.unwrap();
        let other = bench.ist_block(linear(6));
        bench.clean();
        bench.machine.fault_next(Fault::Late(100));
        give(&bench.machine);
        bench.machine.advance(10);
        bench.machine.physical_memory().store64(address, linear(6).vmte_word(other.address()).unwrap().raw_value());
        let (table, offset) = bench.vms.entry(VM).unwrap();
        bench.machine.publish(IRS, table, offset..offset + 32);
        assert_eq!(bench.rules(), ["LIFE-10"]);
        bench.machine.advance(200);
        bench.clean();
        let (taken, left) = match reading {
            EntryReading::AtStart => (block, other),
            EntryReading::AtCompletion => (other, block),
        };
        bench.machine.free(left);
        bench.clean();
        bench.machine.free(taken);
        assert_eq!(bench.rules(), ["IST-7"], "{reading:?} {setting:?}");
    }
}

/// Open question 28, COH-1, COH-2: a barrier, or a clean, that comes after the command and before it completes.
#[test]
fn an_entry_that_is_published_after_the_command_comes_too_late_for_an_irs_that_has_read_it_by_then() {
    for (reading, setting) in each(EntryReading::POSITIONS, |switches, p| switches.vm_table.entry_reading = p) {
        let Case { mut bench, give, .. } = ist(setting);
        let word = bench.vmte_word(VM, 3);
        bench.store_vmte_word(3, 0);
        let (table, offset) = bench.vms.entry(VM).unwrap();
        let offset = offset + 24;
        bench.machine.prepare(IRS, table, offset..offset + 8);
        bench.machine.store64(table, offset, word);
        bench.machine.fault_next(Fault::Late(100));
        give(&bench.machine);
        bench.machine.publish(IRS, table, offset..offset + 8);
        bench.machine.advance(200);
        let missing = if setting.shape.coherency == Coherency::Coherent { "COH-1" } else { "COH-2" };
        let expected = (reading == EntryReading::AtStart).then_some(missing);
        // What the IRS has read instead is no address of an IST, which is reported after it.
        assert_eq!(bench.rules().first().copied(), expected, "{reading:?} {setting:?}");
    }
}

/// LIFE-8, LIFE-10: a command of another status register can outlive its VM.
#[test]
fn a_vm_id_that_a_command_under_way_names_is_not_used_again_without_a_report() {
    let save = |bench: &VmBench| bench.machine.write(IRS, IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_s(true));
    let select = |bench: &VmBench| {
        let command = IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(VM).with_vpe_id(VpeId::new(0));
        bench.machine.write(IRS, command);
    };
    let configure = |bench: &VmBench| bench.machine.write(IRS, IRS_VPE_CR0::ZERO.with_dps(true));
    let ring = |bench: &VmBench| bench.machine.write(IRS, bench.doorbell(77, false));
    for setting in every_shape() {
        for give in [save, select, configure, ring] as [fn(&VmBench); 4] {
            let (bench, made, _) = VmBench::ready(setting);
            assert!(bench.select(0));
            bench.machine.fault_next(Fault::Never);
            give(&bench);
            bench.map_vm(MapAction::MakeInvalid);
            bench.clean();
            bench.zero_descriptors(&made);
            bench.map_vm(MapAction::MakeValid);
            bench.broken_at("LIFE-10", Place::Vm(VM));
        }
    }
}
