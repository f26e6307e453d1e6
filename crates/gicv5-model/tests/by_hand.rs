//! What drivers do to their tables by hand, and what is reported of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests stand outside of test functions"
)]

use arbitrary_int::u6;
use gicv5_arch::entry::{L2_ISTE, L2_VMTE, VPETE};
use gicv5_arch::geometry::{DescriptorGeometry, IstGeometry, VmTableGeometry};
use gicv5_arch::irs::{IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VPE_SELR};
use gicv5_arch::sysreg::ICH_CONTEXTR_EL2;
use gicv5_arch::values::{BitsMinusOne, IstSize, MapAction};
use gicv5_arch::{IrsIntType, Lpi, PhysAddr, Priority, VmId, VpeId};
use gicv5_hal::{BlockLayout, Coherency, Cookie, HostLpis, IrsExt, IrsIndex, TableMemory};
use gicv5_model::config::MachineConfig;
use gicv5_model::fault::Fault;
use gicv5_model::hand::{HandMade, Table, Vms};
use gicv5_model::{Machine, ModelHost, PeIndex};

const IRS: IrsIndex = IrsIndex(0);
const VM0: VmId = VmId::new(0);
const VM1: VmId = VmId::new(1);
const VPES: [VpeId; 2] = [VpeId::new(0), VpeId::new(1)];

fn start(change: impl FnOnce(&mut MachineConfig)) -> (Machine, ModelHost) {
    let mut config = MachineConfig::new(1, 0).with_virtualisation();
    change(&mut config);
    let machine = Machine::new(config).unwrap();
    let host = ModelHost::start(&machine, 0..64).unwrap();
    (machine, host)
}

fn vms(change: impl FnOnce(&mut MachineConfig)) -> (Machine, ModelHost, Vms) {
    let (machine, host) = start(change);
    let vms = Vms::new(&host, VmTableGeometry::linear(8).unwrap()).unwrap();
    (machine, host, vms)
}

fn non_coherent(config: &mut MachineConfig) {
    config.memory.coherency = Coherency::NonCoherent;
}

fn make_vm(vms: &mut Vms, vm: VmId, vpes: &[VpeId]) -> HandMade {
    vms.make_vm(vm, L2_VMTE::ZERO, vpes.iter().copied()).unwrap()
}

/// Makes an LPI IST of the VM valid, in which LPI 0 is enabled.
fn make_ist(host: &ModelHost, vms: &Vms, vm: VmId) {
    let ist = host.table(IstGeometry::linear(10, IstSize::Bytes4).unwrap()).unwrap();
    host.store(&ist, 0, &[L2_ISTE::ZERO.with_enable(true).raw_value().into()]);
    vms.store_entry(vm, L2_VMTE::ist_word(IrsIntType::Lpi), &[ist.vmte_word().unwrap().raw_value()]);
    map_ist(host, vm, MapAction::MakeValid);
}

fn map_ist(host: &ModelHost, vm: VmId, action: MapAction) {
    let command = IRS_VMAP_VISTR::ZERO.with_m(true).with_u(action).with_vm_id(vm).with_int_type(IrsIntType::Lpi);
    host.command(command).unwrap();
}

/// Software clears a word without having prepared its line.
fn clear_unprepared(machine: &Machine, block: &gicv5_model::memory::ModelBlock, offset: u64) {
    machine.store64(block, offset, 0);
    machine.barrier();
    machine.clean_invalidate(block, 0..64);
    machine.barrier();
}

#[track_caller]
fn reported(machine: &Machine, rules: &[&str]) {
    let violations = machine.take_violations();
    let found: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    assert_eq!(found, rules, "{violations:#?}");
}

#[test]
fn a_line_that_is_not_prepared_carries_an_old_valid_bit_of_the_next_vm_over_the_irss() {
    let (machine, host, mut vms) = vms(non_coherent);
    for vm in [VM0, VM1] {
        make_vm(&mut vms, vm, &VPES[..1]);
    }
    for vm in [VM0, VM1] {
        make_ist(&host, &vms, vm);
    }
    map_ist(&host, VM0, MapAction::MakeInvalid);
    reported(&machine, &[]);
    clear_unprepared(&machine, &vms.table.block, 8 * L2_VMTE::ist_word(IrsIntType::Lpi) as u64);
    reported(&machine, &["VMT-21"]);
    assert!(machine.virtual_interrupt(VM1, Lpi::new(5).unwrap().into()).is_some(), "the IRS keeps what it has read");
}

#[test]
fn the_entries_of_an_invalid_vms_vpes_are_softwares_and_need_no_preparation() {
    let (machine, _, mut vms) = vms(non_coherent);
    let made = make_vm(&mut vms, VM0, &VPES);
    vms.map_vm(VM0, MapAction::MakeInvalid).unwrap();
    clear_unprepared(&machine, &made.vpet.block, 0);
    reported(&machine, &[]);
}

#[test]
fn a_level_1_table_in_a_line_with_something_else_is_reported() {
    let (machine, host) = start(non_coherent);
    let shape = VmTableGeometry::two_level(8).unwrap();
    let layout = BlockLayout::new(16, 16, PhysAddr::highest(48)).unwrap();
    let block = machine.allocate(layout).unwrap();
    let _next = machine.allocate(layout).unwrap();
    host.give_vm_table(&Table { shape, block }).unwrap();
    reported(&machine, &["COH-6"]);
}

#[test]
fn descriptors_of_one_vm_may_share_a_line_that_is_all_the_irss() {
    let (machine, host, mut vms) = vms(|config| {
        non_coherent(config);
        config.memory.cache_line = 128;
        config.irses[0].idr4 = config.irses[0].idr4.with_vped_sz(u6::new(6));
    });
    let made = make_vm(&mut vms, VM0, &VPES[1..]);
    let line = host.table(DescriptorGeometry::new(7).unwrap()).unwrap();
    let half = DescriptorGeometry::new(6).unwrap().footprint();
    vms.map_vm(VM0, MapAction::MakeInvalid).unwrap();
    let entry = |n: u64| {
        let address = PhysAddr::new(line.address().raw() + n * half.size()).unwrap();
        VPETE::ZERO.with_vped_addr(half.place(address).unwrap()).raw_value()
    };
    host.store(&made.vpet, 0, &[entry(0), entry(1)]);
    vms.map_vm(VM0, MapAction::MakeValid).unwrap();
    for vpe in VPES {
        host.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM0).with_vpe_id(vpe)).unwrap();
    }
    reported(&machine, &[]);
}

#[test]
fn a_selection_while_another_is_under_way_is_reported() {
    let (machine, _, mut vms) = vms(|_| ());
    make_vm(&mut vms, VM0, &VPES);
    for vpe in VPES {
        machine.fault_next(Fault::Never);
        machine.write(IRS, IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(VM0).with_vpe_id(vpe));
        machine.advance(10_000);
    }
    reported(&machine, &["GEN-18"]);
}

#[test]
fn more_vpe_id_bits_than_the_hardware_has_are_reported() {
    let bits = BitsMinusOne::from_count(9).unwrap();
    let (machine, _, mut vms) = vms(|config| config.irses[0].idr4 = config.irses[0].idr4.with_vpe_id_bits(bits));
    make_vm(&mut vms, VM0, &[VpeId::new(511)]);
    reported(&machine, &[]);
    make_vm(&mut vms, VM1, &[VpeId::new(600)]);
    reported(&machine, &["VPE-4"]);
}

#[test]
fn a_request_for_a_doorbell_that_was_never_set_rings_nothing_and_is_reported() {
    let (machine, host, mut vms) = vms(|_| ());
    make_vm(&mut vms, VM0, &VPES[..1]);
    make_ist(&host, &vms, VM0);
    host.on_pe(PeIndex(0), |pe| {
        pe.write(ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(VM0).with_vpe(VPES[0]));
        pe.isb();
        pe.write(ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(Priority::LEAST_URGENT));
        pe.isb();
    });
    host.inject(VM0, Lpi::new(0).unwrap().into());
    machine.advance(100);
    assert_eq!(host.take_interrupts(PeIndex(0), |_| ()), 0);
    reported(&machine, &["DB-6"]);
}

#[test]
fn an_lpi_that_is_released_before_its_vm_is_known_to_be_gone_is_reported() {
    let (machine, host, mut vms) = vms(|_| ());
    make_vm(&mut vms, VM0, &VPES[..1]);
    let lpi = host.allocate(Cookie(1)).unwrap();
    host.ask_for_doorbell(VM0, VPES[0], &lpi).unwrap();
    machine.fault_next(Fault::Never);
    machine.write(IRS, IRS_VMAP_VMR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(VM0));
    machine.advance(10_000);
    host.release(lpi).unwrap();
    reported(&machine, &["DB-25"]);
}
