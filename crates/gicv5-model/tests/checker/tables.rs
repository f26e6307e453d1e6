//! The VM table, VMs, VPEs and their interrupt tables.

use crate::bench::*;

use crate::Pair;

fn setting(two_level: bool, descriptor: bool) -> Setting {
    let shape = Shape { two_level, descriptor, coherency: Coherency::Coherent };
    Setting { shape, switches: Switches::default() }
}

/// A machine with a linear VM table.
fn linear_table() -> VmBench {
    VmBench::new(setting(false, false))
}

/// A machine with a two-level VM table, where the VM's entry is in reach.
fn two_level_table() -> VmBench {
    let mut bench = VmBench::new(setting(true, false));
    bench.vms.reach(VM).unwrap();
    bench
}

/// A valid VM with VPEs 0 and 3 and an LPI IST.
fn valid_vm() -> (VmBench, HandMade, ModelBlock) {
    VmBench::ready(setting(false, false))
}

fn withdraw_vm_table(bench: &Bench) {
    bench.command(bench.machine.read::<IRS_VMT_BASER>(IRS).with_valid(false));
}

/// A VM table of this many ID bits, at this distance from where the table is.
fn give_another_vm_table(id_bits: u32, distance: u64) -> Vec<Violation> {
    let bench = linear_table();
    withdraw_vm_table(&bench);
    bench.machine.write(IRS, VmTableGeometry::linear(id_bits).unwrap().cfgr());
    let base = Addr55_3::new(bench.vms.table.block.address().offset(distance).unwrap()).unwrap();
    bench.command(IRS_VMT_BASER::ZERO.with_addr(base).with_valid(true));
    bench.said()
}

/// A VM table becomes valid with this in the first word of VM 7's entry.
fn table_with(word: u64) -> Vec<Violation> {
    let bench = linear_table();
    withdraw_vm_table(&bench);
    bench.store(&bench.vms.table.block, 7 * L2_VMTE::BYTES, word);
    bench.make_vm_table_valid(IRS);
    bench.said()
}

/// Two IRSs, of which each is told of the VM table; the second of one at this distance from the first's.
fn tell_two_irses(distance: u64) -> Vec<Violation> {
    let mut setting = setting(false, false);
    setting.switches.vm_table.programming = VmTableProgramming::EachIrs;
    let bench = VmBench::changed(setting, |config| {
        config.add_irs();
    });
    let second = IrsIndex(1);
    bench.machine.write(second, bench.vms.table.shape.cfgr());
    let base = Addr55_3::new(bench.vms.table.block.address().offset(distance).unwrap()).unwrap();
    bench.command_at(second, IRS_VMT_BASER::ZERO.with_addr(base).with_valid(true));
    bench.said()
}

/// A level-2 VM table whose entry in level 1 becomes valid, or does not, and which is freed.
fn free_level_2_vm_table(publish: bool) -> Vec<Violation> {
    let bench = VmBench::new(setting(true, false));
    let level2 = bench.block(4096, 4096);
    let entry = L1_VMTE::ZERO.with_l2_addr(Addr51_12::new(level2.address()).unwrap());
    bench.store(&bench.vms.table.block, 0, entry.raw_value());
    if publish {
        bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
    }
    bench.machine.free(level2);
    bench.said()
}

/// A VM whose entry and descriptor are these becomes valid. The descriptor is one of two of 64 bytes in a block.
fn validate(vpe_id_bits: u32, vpet: u64, dirty_word: u64) -> Vec<Violation> {
    let mut bench = VmBench::new(setting(false, true));
    let table = bench.block(4096, 4096);
    let descriptors = bench.block(128, 128);
    bench.store(&descriptors, dirty_word * 8, 1);
    let vmd = L2_VMTE_VMD::ZERO.with_vmd_addr(Addr55_3::new(descriptors.address()).unwrap());
    let vpet = (table.address().raw() + vpet) | u64::from(vpe_id_bits) << 59;
    for (n, word) in [vmd.raw_value(), vpet, 0, 0].into_iter().enumerate() {
        bench.store_vmte_word(n, word);
    }
    bench.map_vm(MapAction::MakeValid);
    bench.said()
}

/// VPE 1 of the VM becomes valid, or does not; its descriptor of 128 bytes has another behind it. What is stored in them
/// before, and whether they are freed after.
fn add_vpe(publish: bool, dirty_word: Option<u64>, free: bool) -> Vec<Violation> {
    let (bench, made, _ist) = valid_vm();
    let descriptors = bench.block(256, 256);
    if let Some(word) = dirty_word {
        bench.store(&descriptors, word * 8, 1);
    }
    bench.name_descriptor(&made, descriptors.address());
    if publish {
        bench.map_vpe(1);
    }
    if free {
        bench.machine.free(descriptors);
    }
    bench.said()
}

/// The VM gets an SPI IST whose word in its entry is that of this geometry, with its address changed.
fn map_ist(geometry: IstGeometry, distance: u64, change: impl FnOnce(u64) -> u64) -> Vec<Violation> {
    let (mut bench, ..) = valid_vm();
    let block = bench.block(geometry.base().size() * 2, geometry.base().size() * 2);
    bench.machine.publish(IRS, &block, 0..block.size());
    let word = geometry.vmte_word(block.address()).unwrap().raw_value();
    bench.store_vmte_word(L2_VMTE::ist_word(IrsIntType::Spi), change(word) + distance);
    bench.map_ist(IrsIntType::Spi, MapAction::MakeValid);
    bench.said()
}

/// A valid VM with a two-level SPI IST, and a level-2 IST for its first entry, which is filled in.
fn two_level_ist() -> (VmBench, ModelBlock, ModelBlock) {
    let (mut bench, ..) = valid_vm();
    let geometry = two_level();
    let level1 = bench.make_ist(IrsIntType::Spi, geometry, &[]);
    let level2 = bench.block(4096, 4096);
    bench.machine.publish(IRS, &level2, 0..4096);
    bench.store(&level1, 0, level1_iste(&level2).raw_value());
    bench.clean();
    (bench, level1, level2)
}

fn level1_iste(level2: &ModelBlock) -> L1_ISTE {
    L1_ISTE::ZERO.with_l2_addr(Addr55_12::new(level2.address()).unwrap())
}

fn publish_level_2_ist(bench: &VmBench) {
    bench.command(IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_int_type(IrsIntType::Spi).with_vm_id(VM));
}

/// An IST entry that is this when the IST becomes valid, and is looked at.
fn preset(entry: L2_ISTE) -> Vec<Violation> {
    let (mut bench, ..) = valid_vm();
    bench.make_ist(IrsIntType::Spi, linear(6), &[entry]);
    bench.vdpend(gicv5_arch::IrsIntId::Spi(gicv5_arch::Spi::new(0).unwrap()), false);
    bench.said()
}

/// While VPE 1 of the VM is made valid, its descriptor is freed, or the block behind it.
fn free_while_mapping(descriptor: bool) -> Vec<Violation> {
    let (bench, made, _ist) = valid_vm();
    let blocks = [128; 2].map(|size| bench.block(size, 128));
    bench.name_descriptor(&made, blocks[0].address());
    bench.machine.fault_next(Fault::Never);
    bench.machine.write(IRS, IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM).with_vpe_id(VpeId::new(1)));
    let [named, other] = blocks;
    bench.machine.free(if descriptor { named } else { other });
    bench.said()
}

/// The VM's SPI IST of 256 bytes is in the block of another IST of as many, this many sizes from its start.
fn ist_on_an_ist(distance: u64) -> Vec<Violation> {
    let (mut bench, ..) = valid_vm();
    let block = bench.block(512, 512);
    bench.machine.publish(IRS, &block, 0..512);
    bench.clear_ist(IRS);
    bench.set_ist(IRS, linear(6), block.address());
    let word = linear(6).vmte_word(block.address().offset(distance * 256).unwrap()).unwrap();
    bench.store_vmte_word(L2_VMTE::ist_word(IrsIntType::Spi), word.raw_value());
    bench.map_ist(IrsIntType::Spi, MapAction::MakeValid);
    bench.said()
}

/// The physical IST is freed after, or before, it becomes invalid.
fn free_physical_ist(invalid_first: bool) -> Vec<Violation> {
    let bench = Bench::eager(1);
    let block = bench.linear_ist();
    if invalid_first {
        bench.clear_ist(IRS);
    }
    bench.machine.free(block);
    bench.said()
}

pub(crate) const PAIRS: &[Pair] = &[
    Pair {
        rule: "GEN-13",
        breaks: ("two IRSs of a domain are given different VM tables", || tell_two_irses(0x4000)),
        nearly: ("two IRSs of a domain are given the same VM table", || tell_two_irses(0)),
    },
    Pair {
        rule: "VMT-7",
        breaks: ("the VM table is freed while it is valid", || {
            let (bench, vms) = linear_table().apart();
            bench.machine.free(vms.table.block);
            bench.said()
        }),
        nearly: ("the VM table is freed when it has become invalid", || {
            let (bench, vms) = linear_table().apart();
            withdraw_vm_table(&bench);
            bench.machine.free(vms.table.block);
            bench.said()
        }),
    },
    Pair {
        rule: "VMT-10",
        breaks: ("a table of 16 KiB starts at an odd 4 KiB", || give_another_vm_table(9, 4096)),
        nearly: ("a table of 4 KiB starts at an odd 4 KiB", || give_another_vm_table(7, 4096)),
    },
    Pair {
        rule: "VMT-11",
        breaks: ("one ID bit more than the IRS has", || give_another_vm_table(10, 0)),
        nearly: ("as many ID bits as the IRS has", || give_another_vm_table(9, 0)),
    },
    Pair {
        rule: "VMT-12",
        breaks: ("the entry of VM 7 has a bit set that belongs to no field", || table_with(1 << 1)),
        nearly: ("the entry of VM 7 names a descriptor, and VALID is 0", || table_with(1 << 12)),
    },
    Pair {
        rule: "VMT-15",
        breaks: ("software makes a level-1 entry of a live table valid itself", || {
            let bench = two_level_table();
            bench.machine.store64(&bench.vms.table.block, 8, L1_VMTE::ZERO.with_valid(true).raw_value());
            bench.said()
        }),
        nearly: ("software fills an invalid level-1 entry of a live table, and fills it again", || {
            let bench = two_level_table();
            bench.machine.store64(&bench.vms.table.block, 8, u64::MAX << 12 >> 8 & !1);
            bench.machine.store64(&bench.vms.table.block, 8, 0);
            bench.said()
        }),
    },
    Pair {
        rule: "VMT-16",
        breaks: ("a level-2 VM table in use is freed", || free_level_2_vm_table(true)),
        nearly: ("a level-2 VM table is freed that an entry points to and no command has published", || {
            free_level_2_vm_table(false)
        }),
    },
    Pair {
        rule: "VMT-17",
        breaks: ("software makes a VM valid itself", || {
            let mut bench = two_level_table();
            bench.store_vmte_word(0, L2_VMTE_VMD::ZERO.with_valid(true).raw_value());
            bench.said()
        }),
        nearly: ("software sets IST_VALID of a VM that is not valid (IST-3)", || {
            let mut bench = two_level_table();
            for n in [2, 3] {
                bench.store_vmte_word(n, 1);
            }
            bench.said()
        }),
    },
    Pair {
        rule: "VMT-18",
        breaks: ("software writes to the entry of a valid VM", || {
            let (mut bench, ..) = valid_vm();
            bench.store_vmte_word(1, 0);
            bench.said()
        }),
        nearly: ("software writes to the entries beside that of a valid VM", || {
            let (bench, ..) = valid_vm();
            let at = u64::from(VM.raw_value()) * L2_VMTE::BYTES;
            for offset in [at - 8, at + L2_VMTE::BYTES] {
                bench.store(&bench.vms.table.block, offset, 2);
            }
            bench.said()
        }),
    },
    Pair {
        rule: "VM-5",
        breaks: ("the VPE table of a valid VM is freed", || {
            let (bench, made, _) = valid_vm();
            bench.machine.free(made.vpet.block);
            bench.said()
        }),
        nearly: ("the VPE table is freed when the VM has become invalid", || {
            let (bench, made, _) = valid_vm();
            bench.map_vm(MapAction::MakeInvalid);
            bench.machine.free(made.vpet.block);
            bench.said()
        }),
    },
    Pair {
        rule: "VM-11",
        breaks: ("the last word of a VM descriptor is not zero", || validate(8, 0, 7)),
        nearly: ("the word behind a VM descriptor is not zero", || validate(8, 0, 8)),
    },
    Pair {
        rule: "VPE-1",
        breaks: ("a VPE table of 2 KiB starts at an odd KiB", || validate(8, 1024, 8)),
        nearly: ("a VPE table of 1 KiB starts at an odd KiB", || validate(7, 1024, 8)),
    },
    Pair {
        rule: "VPE-4",
        breaks: ("a VM asks for one VPE ID bit more than the IRS has", || validate(9, 0, 8)),
        nearly: ("a VM asks for as many VPE ID bits as the IRS has", || validate(8, 0, 8)),
    },
    Pair {
        rule: "VPE-5",
        breaks: ("software makes a VPE valid itself", || {
            let (bench, made, _) = valid_vm();
            bench.store(&made.vpet.block, 8, VPETE::ZERO.with_valid(true).raw_value());
            bench.said()
        }),
        nearly: ("software fills a VPE's entry and leaves VALID 0", || add_vpe(false, None, false)),
    },
    Pair {
        rule: "VPE-7",
        breaks: ("the descriptor of a valid VPE is freed", || add_vpe(true, None, true)),
        nearly: ("the descriptor of a VPE is freed that an entry points to and no command made valid", || {
            add_vpe(false, None, true)
        }),
    },
    Pair {
        rule: "VPE-8",
        breaks: ("the last word of a VPE descriptor is not zero", || add_vpe(true, Some(15), false)),
        nearly: ("the word behind a VPE descriptor is not zero", || add_vpe(true, Some(16), false)),
    },
    Pair {
        rule: "IST-2",
        breaks: ("software makes an IST of a valid VM valid itself", || {
            let (mut bench, ..) = valid_vm();
            bench.store_vmte_word(L2_VMTE::ist_word(IrsIntType::Spi), 1);
            bench.said()
        }),
        nearly: ("software fills the word of an IST that a valid VM does not have yet", || {
            let (mut bench, ..) = valid_vm();
            bench.store_vmte_word(L2_VMTE::ist_word(IrsIntType::Spi), 0x1000);
            bench.said()
        }),
    },
    Pair {
        rule: "IST-7",
        breaks: ("the IST of a valid VM is freed", || {
            let (bench, _, ist) = valid_vm();
            bench.machine.free(ist);
            bench.said()
        }),
        nearly: ("the IST of a valid VM is freed when it has become invalid", || {
            let (bench, _, ist) = valid_vm();
            bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
            bench.machine.free(ist);
            bench.said()
        }),
    },
    Pair {
        rule: "IST-10",
        breaks: ("entries of 8 bytes where the IRS has no metadata", || {
            map_ist(IstGeometry::linear(6, IstSize::Bytes8).unwrap(), 0, |word| word)
        }),
        nearly: ("entries of 4 bytes where the IRS has no metadata", || map_ist(linear(6), 0, |word| word)),
    },
    Pair {
        rule: "IST-12",
        breaks: ("an IST of 256 bytes starts 64 bytes late", || map_ist(linear(6), 64, |word| word)),
        nearly: ("an IST of 256 bytes starts 256 bytes late", || map_ist(linear(6), 256, |word| word)),
    },
    Pair {
        rule: "IST-15",
        breaks: ("a level-2 size that is reserved, of a two-level IST", || {
            let geometry = two_level();
            map_ist(geometry, 0, reserved_l2sz)
        }),
        nearly: ("a level-2 size that is reserved, of a linear IST", || map_ist(linear(6), 0, reserved_l2sz)),
    },
    Pair {
        rule: "IST-18",
        breaks: ("software makes a level-1 entry of a live IST valid itself", || {
            let (bench, level1, level2) = two_level_ist();
            bench.store(&level1, 8, level1_iste(&level2).with_valid(true).raw_value());
            bench.said()
        }),
        nearly: ("software fills a level-1 entry of a live IST and leaves VALID 0", || {
            let (bench, level1, level2) = two_level_ist();
            bench.store(&level1, 8, level1_iste(&level2).raw_value());
            bench.said()
        }),
    },
    Pair {
        rule: "IST-20",
        breaks: ("a level-2 IST in use is freed", || {
            let (bench, _level1, level2) = two_level_ist();
            publish_level_2_ist(&bench);
            bench.machine.free(level2);
            bench.said()
        }),
        nearly: ("a level-2 IST is freed that an entry points to and no command has published", || {
            let (bench, _level1, level2) = two_level_ist();
            bench.machine.free(level2);
            bench.said()
        }),
    },
    Pair {
        rule: "IST-22",
        breaks: ("an interrupt is left pending in an IST that becomes valid", || {
            preset(L2_ISTE::ZERO.with_pending(true))
        }),
        nearly: ("an interrupt is left active, enabled and routed in an IST that becomes valid", || {
            preset(L2_ISTE::ZERO.with_active(true).with_enable(true).with_iaffid(Iaffid::new(3)))
        }),
    },
    Pair {
        rule: "IST-26",
        breaks: ("software writes to the last entry of an IST in use", || {
            let (bench, _, ist) = valid_vm();
            bench.machine.store32(&ist, ist.size() - 4, 0);
            bench.said()
        }),
        nearly: ("software reads the last entry of an IST in use", || {
            let (bench, _, ist) = valid_vm();
            let _ = bench.machine.load32(&ist, ist.size() - 4);
            bench.said()
        }),
    },
    Pair {
        rule: "IST-28",
        breaks: ("an SPI IST of one ID bit more than the IRS has", || spi_ist_of_as_many_bits_as_the_irs_has_and(1)),
        nearly: ("an SPI IST of as many ID bits as the IRS has", || spi_ist_of_as_many_bits_as_the_irs_has_and(0)),
    },
    Pair {
        rule: "LIFE-10",
        breaks: ("the memory of a VPE that a command under way makes valid is freed", || free_while_mapping(true)),
        nearly: ("the memory behind it is freed", || free_while_mapping(false)),
    },
    Pair {
        rule: "LIFE-25",
        breaks: ("an IST is on the first half of another", || ist_on_an_ist(0)),
        nearly: ("an IST is beside another", || ist_on_an_ist(1)),
    },
    Pair {
        rule: "LPI-1",
        breaks: ("the physical IST is freed while it is valid", || free_physical_ist(false)),
        nearly: ("the physical IST is freed when it has become invalid", || free_physical_ist(true)),
    },
];

/// The word of an IST with L2SZ 3.
fn reserved_l2sz(word: u64) -> u64 {
    word | 3 << 1
}

fn spi_ist_of_as_many_bits_as_the_irs_has_and(more: u64) -> Vec<Violation> {
    let bits = u32::from(linear_table().machine.read::<IRS_IDR2>(IRS).id_bits());
    map_ist(linear(bits), 0, |word| word + (more << 59))
}
