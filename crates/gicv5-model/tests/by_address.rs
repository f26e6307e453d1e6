//! Memory by physical address, for software with an allocator of its own.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]

use gicv5_arch::PhysAddr;
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::{IRS_IST_BASER, IRS_IST_STATUSR};
use gicv5_arch::values::IstSize;
use gicv5_hal::{BlockLayout, Coherency, IrsExt, IrsIndex, TableMemory};
use gicv5_model::config::MachineConfig;
use gicv5_model::memory::HoldError;
use gicv5_model::{Machine, PeIndex, PhysicalMemory};

const IRS: IrsIndex = IrsIndex(0);
/// The smallest IST there is: of so many bytes, at a multiple of as many.
const IST: u64 = 0x1_0000;

fn machine(coherency: Coherency) -> (Machine, PhysicalMemory, PhysAddr) {
    let mut config = MachineConfig::new(2, 0);
    config.memory.coherency = coherency;
    let base = config.memory.base.offset(0x10_0000).unwrap();
    let machine = Machine::new(config).unwrap();
    let memory = machine.physical_memory();
    (machine, memory, base)
}

/// Makes an IST valid there, or invalid, as a driver does.
fn set_ist(machine: &Machine, address: PhysAddr, valid: bool) {
    let shape = IstGeometry::linear(14, IstSize::Bytes4).unwrap();
    machine.write(IRS, shape.cfgr());
    machine.write(IRS, IRS_IST_BASER::ZERO.with_addr(shape.base().place(address).unwrap()).with_valid(valid));
    while !machine.read::<IRS_IST_STATUSR>(IRS).idle() {}
}

fn rules(machine: &Machine) -> Vec<&'static str> {
    machine.take_violations().iter().map(|said| said.rule).collect()
}

#[test]
fn an_allocator_of_softwares_own_says_what_it_hands_out_and_gets_back() {
    // MEM-5, IST-7.
    let (machine, memory, base) = machine(Coherency::Coherent);
    set_ist(&machine, base, true);
    assert_eq!(rules(&machine), ["MEM-5"], "nobody holds that");
    set_ist(&machine, base, false);
    memory.hold(base, IST).unwrap();
    set_ist(&machine, base, true);
    assert_eq!(rules(&machine), [""; 0]);
    memory.release(base);
    let broken = rules(&machine);
    assert_eq!(broken.len(), 1, "the IRS has it still: {broken:?}");
    set_ist(&machine, base, false);
    assert_eq!(rules(&machine), [""; 0]);
}

#[test]
fn what_is_held_is_no_other_blocks_and_what_is_released_is_again() {
    // MEM-2.
    let (machine, memory, base) = machine(Coherency::Coherent);
    let end = |n: u64| base.offset(n).unwrap();
    memory.hold(base, 64).unwrap();
    for (address, size) in
        [(base, 64), (base, 8), (end(56), 16), (end(4), 8), (end(64), 0), (PhysAddr::new(8).unwrap(), 8)]
    {
        assert_eq!(memory.hold(address, size), Err(HoldError { address, size }));
    }
    memory.hold(end(64), 8).unwrap();
    memory.store64(base, 7);
    memory.release(base);
    assert_eq!(memory.load64(base), 7, "an allocator may keep its lists in free memory");
    memory.release(end(8));
    memory.release(base);
    assert_eq!(rules(&machine), ["MEM-2", "MEM-2"]);
    memory.hold(base, 64).unwrap();
    let before = machine.snapshot();
    memory.hold(end(128), 8).unwrap();
    assert_eq!(machine.account(&before).leaks.len(), 1, "MEM-3");
}

#[test]
fn the_machines_allocator_and_softwares_own_share_memory() {
    let (machine, memory, base) = machine(Coherency::Coherent);
    let block = machine.allocate(BlockLayout::new(64, 64, PhysAddr::highest(48)).unwrap()).unwrap();
    let address = gicv5_hal::Block::address(&block);
    assert!(memory.hold(address, 64).is_err());
    machine.free(block);
    memory.hold(address, 64).unwrap();
    memory.hold(base, 64).unwrap();
    assert_eq!(rules(&machine), [""; 0]);
}

#[test]
fn a_load_a_store_and_maintenance_by_address_are_of_the_pe_that_the_thread_is_on() {
    // COH-1, COH-2, MEM-1.
    let (machine, memory, base) = machine(Coherency::NonCoherent);
    memory.hold(base, IST).unwrap();
    let there = PeIndex(1);
    let entry = L2_ISTE::ZERO.with_enable(true).raw_value();
    machine.on_pe(there, |_| memory.store32(base, entry)).unwrap();
    assert_eq!((memory.load32(base), machine.on_pe(there, |_| memory.load32(base))), (0, Some(entry)));
    machine
        .on_pe(there, |_| {
            machine.barrier();
            memory.clean(base, 4);
            machine.barrier();
        })
        .unwrap();
    set_ist(&machine, base, true);
    assert_eq!(rules(&machine), [""; 0]);
    set_ist(&machine, base, false);
    memory.store32(base, 0);
    memory.clean_invalidate(base, 4);
    machine.barrier();
    set_ist(&machine, base, true);
    assert_eq!(rules(&machine), ["COH-2"], "no barrier between the store and the clean");
    machine.on_pe(there, |_| memory.load64(base.offset(4).unwrap())).unwrap();
    let said = machine.take_violations();
    assert_eq!((said.len(), said.first().and_then(|said| said.pe)), (1, Some(there)), "{said:?}");
}
