//! Domains with several IRSs: they walk the same tables, so that what is made must suit each of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;

use arbitrary_int::{u4, u5, u6};
use common::board::{self, Board, Watch};
use common::{IRS, Lab, SHAPES, Shape, VPES, assert_clean, vpes};
use gicv5_arch::irs::{IRS_IDR0, IRS_IDR2, IRS_IDR4, IRS_VMT_BASER, IrsReg};
use gicv5_arch::values::{BitsMinusOne, Levels, PaRange, Structure};
use gicv5_arch::{Iaffid, VpeId};
use gicv5_hal::{AllocError, BlockLayout, Coherency, Frame, IrsExt, IrsIndex, Platform, TableMemory};
use gicv5_hyp::{
    BringUpCause, Config, Fault, Host, InitCause, LiveTable, Phase, ProbeError, TableError, VcpuIndex, VmSpec,
};
use gicv5_model::config::{IrsConfig, MachineConfig, Switches, VmTableProgramming};

use gicv5_model::PeIndex;
use gicv5_model::memory::ModelBlock;
use gicv5_model::{CpuConfig, Machine, ModelHost};
use guest::{FIRST, SECOND, spi};

const OTHER: IrsIndex = IrsIndex(1);
const OTHERS: [IrsIndex; 1] = [OTHER];

const PROGRAMMINGS: [VmTableProgramming; 2] = [VmTableProgramming::AnyIrs, VmTableProgramming::EachIrs];

/// The shape with a second IRS, which has a PE of its own, and what else the test makes of it.
fn two(shape: Shape, change: impl FnOnce(&mut IrsConfig)) -> MachineConfig {
    let mut config = shape.config();
    let first = &config.irses[0];
    let mut second = IrsConfig::new(vec![CpuConfig::new(Iaffid::new(2))], 0);
    second.idr0 = first.idr0.with_irsid(1);
    second.idr1 = first.idr1.with_pe_cnt(1);
    (second.idr2, second.idr3, second.idr4, second.idr5) = (first.idr2, first.idr3, first.idr4, first.idr5);
    change(&mut second);
    config.irses.push(second);
    config
}

fn config(shape: Shape) -> Config<'static> {
    Config { others: &OTHERS, ..shape.host_config() }
}

/// A machine whose second IRS says of itself what the test makes of it. GEN-13: the model has only IRSs that are alike,
/// so that the answers are put before it.
fn told(shape: Shape, change: impl FnOnce(&mut IrsConfig)) -> Board<Mixed, ModelHost> {
    let second = &two(shape, change).irses[1];
    let told = vec![
        (IrsReg::IRS_IDR0, second.idr0.raw_value()),
        (IrsReg::IRS_IDR3, second.idr3.raw_value()),
        (IrsReg::IRS_IDR4, second.idr4.raw_value()),
    ];
    Mixed { told, ..Mixed::default() }.of(&Lab::new(two(shape, |_| {})))
}

fn refused(shape: Shape, change: impl FnOnce(&mut IrsConfig)) -> ProbeError {
    Host::new(told(shape, change), &config(shape)).unwrap_err()
}

/// GEN-13, GEN-14: whether one of them is told or each has to be.
#[test]
fn a_vm_runs_on_the_pes_of_every_irs() {
    for shape in SHAPES {
        for programming in PROGRAMMINGS {
            let mut machine = two(shape, |_| {});
            machine.switches.vm_table.programming = programming;
            let lab = Lab::new(machine);
            lab.open_traps();
            let before = lab.machine.snapshot();
            let host = Host::new(lab.clone(), &config(shape)).unwrap();
            for _ in 0..2 {
                host.bring_up().unwrap();
                let mut vm = host.new_vm();
                vm.init(&VmSpec { spis: 40, ..VmSpec::new(&VPES) }).unwrap();
                for (vcpu, pe) in [(FIRST, PeIndex(0)), (SECOND, PeIndex(2))] {
                    lab.load(pe, &vm, vcpu).unwrap_or_else(|error| panic!("{programming:?}: {error}"));
                    let guest = lab.guest(pe);
                    guest.open().enable(spi(3), VPES[vcpu.0], 10);
                    lab.inject(&vm, spi(3));
                    assert_eq!(guest.take(), Some(spi(3)), "{shape:?} {programming:?}");
                    lab.put(pe, &vm, vcpu).unwrap();
                }
                vm.tear_down().unwrap();
                drop(vm);
                host.shut_down().unwrap();
                for irs in [IRS, OTHER] {
                    assert!(!lab.machine.read::<IRS_VMT_BASER>(irs).valid(), "no IRS has a table any more");
                }
            }
            assert_clean(&lab.machine, &before, (shape, programming));
        }
    }
}

/// Every command of coming up and going down, in both IRSs.
#[test]
fn a_table_that_one_of_the_irss_has_not_let_go_of_is_kept() {
    use gicv5_model::fault::Fault as Strike;
    for programming in PROGRAMMINGS {
        let mut machine = two(SHAPES[1], |_| {});
        machine.switches.vm_table.programming = programming;
        let life = |host: &Host<Lab>| -> Result<(), String> {
            host.bring_up().map_err(|error| format!("{error:?}"))?;
            host.shut_down().map_err(|error| format!("{error:?}"))
        };
        let lab = Lab::new(machine.clone());
        let host = Host::new(lab.clone(), &config(SHAPES[1])).unwrap();
        lab.machine.record_fault_points();
        life(&host).unwrap();
        let commands: Vec<u64> = (0..)
            .zip(lab.machine.take_fault_points())
            .filter(|(_, p)| matches!(p.request, gicv5_model::fault::Request::Command { .. }))
            .map(|(n, _)| n)
            .collect();
        assert!(commands.len() >= 2);
        for at in commands {
            for strike in [Strike::Never, Strike::Late(1_000), Strike::Ignored] {
                let lab = Lab::new(machine.clone());
                let before = lab.machine.snapshot();
                let host = Host::new(lab.clone(), &config(SHAPES[1])).unwrap();
                lab.machine.plan_fault(lab.machine.fault_points_passed() + at, strike);
                let context = format!("{programming:?} {at} {strike:?}");
                life(&host).expect_err(&context);
                lab.machine.recover();
                lab.machine.advance(2_000);
                life(&host).or_else(|_| life(&host)).unwrap_or_else(|error| panic!("{context}: {error}"));
                host.shut_down().unwrap();
                assert_eq!(host.phase(), Phase::Down);
                assert_clean(&lab.machine, &before, &context);
            }
        }
    }
}

/// VMT-11, VM-10, VPE-4, VPE-7.
#[test]
fn tables_are_made_for_the_weakest_of_the_irss() {
    let mixed = told(SHAPES[1], |irs| {
        irs.idr3 = irs.idr3.with_vm_id_bits(u5::new(8)).with_vmt_levels(Levels::Linear).with_vmd_sz(u4::new(9));
        irs.idr4 = IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::from_count(9).unwrap()).with_vped_sz(u6::new(5));
    });
    let machine = mixed.machine.clone();
    let config = Config { contiguous_bytes: 0x1_0000, ..config(SHAPES[1]) };
    let host = Host::new(mixed, &config).unwrap();
    assert_eq!((host.vm_limit(), host.vm_table().structure()), (256, Structure::Linear));
    host.bring_up().unwrap();
    let mut vm = host.new_vm();
    let error = vm.init(&VmSpec::new(&vpes([0, 512]))).unwrap_err();
    assert!(matches!(error.cause, InitCause::VpeId(_)), "{error:?}");
    machine.record_fault_points();
    vm.init(&VmSpec::new(&vpes([0, 511]))).unwrap();
    let mut sizes: Vec<u64> = machine
        .take_fault_points()
        .iter()
        .filter_map(|point| match point.request {
            gicv5_model::fault::Request::Table { size, .. } => Some(size),
            _ => None,
        })
        .collect();
    sizes.sort_unstable();
    // The VM descriptor of the second IRS, the table for 512 VPEs, the VPE descriptors of the first side by side.
    assert_eq!(sizes, [512, 4096, 2 * 4096]);
    vm.tear_down().unwrap();
    drop(vm);
    host.shut_down().unwrap();
    board::assert_no_violations(&machine);

    // What has no room in one piece has none, if one of them cannot have two levels.
    let error = refused(SHAPES[1], |irs| irs.idr3 = irs.idr3.with_vmt_levels(Levels::Linear));
    assert!(matches!(error, ProbeError::Tables { register: IrsReg::IRS_IDR3, .. }), "{error}");
}

#[test]
fn irss_that_cannot_share_tables_are_refused_with_the_registers_of_both() {
    let shape = SHAPES[0];
    let error = refused(shape, |irs| irs.idr0 = irs.idr0.with_irsid(0));
    let ProbeError::Differs { irs: OTHER, register: IrsReg::IRS_IDR0, value, other: IRS, value_there, .. } = error
    else {
        panic!("{error}")
    };
    assert_eq!(value, value_there);
    let error = refused(shape, |irs| {
        irs.idr0 = irs.idr0.with_virt(false);
        irs.idr3 = gicv5_arch::irs::IRS_IDR3::ZERO;
        irs.idr4 = IRS_IDR4::ZERO;
    });
    assert!(matches!(error, ProbeError::NoVirtualisation { irs: OTHER, .. }), "{error}");
    assert_eq!(error.fault(), Fault::Hardware);
    // An IRS that is named twice, or is not there.
    let lab = Lab::new(two(shape, |_| {}));
    for others in [[IRS], [IrsIndex(7)]] {
        let error = Host::new(lab.clone(), &Config { others: &others, ..shape.host_config() }).unwrap_err();
        assert!(error.to_string().contains(&others[0].to_string()), "{error}");
    }
}

#[test]
fn irss_whose_ist_entries_differ_in_size_are_refused() {
    let lab = Lab::new(two(SHAPES[0], |_| {}));
    let idr2: IRS_IDR2 = lab.machine.read(OTHER);
    let told = vec![(IrsReg::IRS_IDR2, idr2.with_istmd(!idr2.istmd()).raw_value())];
    let mixed = Mixed { told, ..Mixed::default() };
    let error = Host::new(mixed.of(&lab), &config(SHAPES[0])).unwrap_err();
    assert!(matches!(error, ProbeError::Differs { irs: OTHER, register: IrsReg::IRS_IDR2, .. }), "{error}");
    assert_eq!(error.fault(), Fault::Caller);
}

/// COH-1, COH-2: what the coherent one could see as it is, the other could not.
#[test]
fn tables_are_published_for_the_irs_that_sees_least() {
    for shape in SHAPES.into_iter().filter(|shape| shape.coherency == Coherency::NonCoherent) {
        for coherent in [IRS, OTHER] {
            let lab = Lab::new(two(shape, |_| {}));
            let before = lab.machine.snapshot();
            let mixed = Mixed { coherent: Some(coherent), short: true, ..Mixed::default() };
            let host = Host::new(mixed.of(&lab), &config(shape)).unwrap();
            host.bring_up().unwrap();
            let mut vm = host.new_vm();
            vm.init(&VmSpec { spis: 40, ..VmSpec::new(&VPES) }).unwrap();
            vm.create_lpi_ist(14).unwrap();
            lab.on(PeIndex(2), |pe| {
                vm.load(pe, VcpuIndex(0)).unwrap();
                vm.put(pe, VcpuIndex(0)).unwrap();
            });
            vm.tear_down().unwrap();
            drop(vm);
            host.shut_down().unwrap();
            assert_clean(&lab.machine, &before, coherent);
        }
    }
}

/// There is memory, but it is not what the host says it is.
#[test]
fn memory_that_cannot_hold_a_table_is_the_hosts_fault_and_no_memory_is_nobodys() {
    let lab = Lab::new(two(SHAPES[0], |_| {}));
    let host = Host::new(Mixed { cache_line: Some(48), ..Mixed::default() }.of(&lab), &config(SHAPES[0])).unwrap();
    let error = host.bring_up().unwrap_err();
    assert!(matches!(error.cause, BringUpCause::Table(TableError::CacheLine { bytes: 48 })), "{error:?}");
    assert_eq!(error.fault(), Fault::Caller);
    let host = Host::new(Mixed::default().of(&lab), &config(SHAPES[0])).unwrap();
    lab.machine.plan_fault(lab.machine.fault_points_passed(), gicv5_model::fault::Fault::Refused);
    let error = host.bring_up().unwrap_err();
    assert!(matches!(error.cause, BringUpCause::Table(TableError::Memory(_))), "{error:?}");
    assert_eq!((error.fault(), host.phase()), (Fault::Capacity, Phase::Down));
}

/// VMT-2: in whichever IRS it was left.
#[test]
fn a_table_that_earlier_software_has_left_in_another_irs_is_not_overlooked() {
    let mut machine = two(SHAPES[1], |_| {});
    machine.switches = Switches::default();
    machine.switches.vm_table.programming = VmTableProgramming::EachIrs;
    let lab = Lab::new(machine);
    let earlier = Host::new(lab.clone(), &Config { irs: OTHER, ..SHAPES[1].host_config() }).unwrap();
    earlier.bring_up().unwrap();
    let table: IRS_VMT_BASER = lab.machine.read(OTHER);
    let host = Host::new(lab.clone(), &config(SHAPES[1])).unwrap();
    let error = host.bring_up().unwrap_err();
    assert_eq!(error.cause, BringUpCause::LiveTable { irs: OTHER, value: table.raw_value() });
    let text = error.to_string();
    assert!(text.ends_with("no IRS has a VM table of this host's"), "{text}");
    let host = Host::new(lab.clone(), &Config { live_table: LiveTable::TakeOver, ..config(SHAPES[1]) }).unwrap();
    host.bring_up().unwrap();
    let mut vm = host.new_vm();
    vm.init(&VmSpec::new(&[VpeId::new(1)])).unwrap();
    vm.tear_down().unwrap();
    drop(vm);
    host.shut_down().unwrap();
    lab.assert_no_violations();
}

/// IRSs that are not alike in ways that the model does not have.
#[derive(Clone, Default)]
struct Mixed {
    /// The IRS that says it sees the caches. On a machine where none does, the rest must not rely on it.
    coherent: Option<IrsIndex>,
    /// What registers of the second hold, where that is not what the model's hold.
    told: Vec<(IrsReg, u32)>,
    /// The second reaches 36 bits of addresses, and nothing above is given.
    short: bool,
    /// Bytes in a cache line, if not the machine's.
    cache_line: Option<u64>,
}

impl Mixed {
    fn of(self, lab: &Lab) -> Board<Mixed, ModelHost> {
        Board { machine: lab.machine.clone(), host: lab.host.clone(), watch: self }
    }
}

impl Watch for Mixed {
    type Locks = <ModelHost as Platform>::Locks;

    fn allocate(&self, machine: &Machine, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        assert!(!self.short || layout.highest().raw() < 1 << 36, "the second IRS could not reach it");
        machine.allocate(layout)
    }

    fn coherency(&self, machine: &Machine, irs: IrsIndex) -> Coherency {
        if self.coherent == Some(irs) { Coherency::Coherent } else { machine.coherency(irs) }
    }

    fn cache_line(&self, machine: &Machine) -> u64 {
        self.cache_line.unwrap_or(machine.cache_line())
    }

    fn reads(&self, _machine: &Machine, frame: Frame, offset: u16, value: u64) -> u64 {
        let Some(register) = IrsReg::at(offset).filter(|_| frame.irs == OTHER) else { return value };
        if let Some(&(_, told)) = self.told.iter().find(|(of, _)| *of == register) {
            return told.into();
        }
        match register {
            IrsReg::IRS_IDR0 if self.short => {
                IRS_IDR0::new_with_raw_value(value as u32).with_pa_range(PaRange::Bits36).raw_value().into()
            }
            _ => value,
        }
    }
}

/// What IRS_IDR0 of the model's IRSs says must be what the tests change.
#[test]
fn the_second_irs_is_one_of_the_same_domain() {
    let lab = Lab::new(two(SHAPES[0], |_| {}));
    let [first, second]: [IRS_IDR0; 2] = [IRS, OTHER].map(|irs| lab.machine.read(irs));
    assert_eq!(first.with_irsid(1), second);
}
