//! The library's own heap: that it runs out is an error like any other, and a VM takes little of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::error::Error;

use common::{IRS, SHAPES, SPEC, Shape, VPES};
use gicv5_hal::Platform;
use gicv5_hyp::{Config, Host, Hypervisor, ProbeError, VmSpec};
use gicv5_model::fault::{Fault, FaultPoint, Request, RequestKind};
use gicv5_model::{Machine, ModelHost};

/// A hypervisor for which each request for heap is a fault point of the machine.
#[derive(Clone)]
struct Bare {
    machine: Machine,
    host: ModelHost,
}

impl Platform for Bare {
    type Irs = Machine;
    type Memory = Machine;
    type CurrentPe = ModelHost;
    type Wait = Machine;
    type Locks = <ModelHost as Platform>::Locks;

    fn irs(&self) -> &Machine {
        &self.machine
    }

    fn memory(&self) -> &Machine {
        &self.machine
    }

    fn current_pe(&self) -> &ModelHost {
        &self.host
    }

    fn wait(&self) -> &Machine {
        &self.machine
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        self.host.may_allocate(bytes)
    }
}

impl Hypervisor for Bare {
    type Lpis = ModelHost;

    fn lpis(&self) -> &ModelHost {
        &self.host
    }
}

fn bare(shape: Shape) -> Bare {
    let machine = Machine::new(shape.config()).unwrap();
    let host = ModelHost::start(&machine, 0..2048).unwrap();
    Bare { machine, host }
}

fn a_life(host: &Host<Bare>) -> Result<(), Box<dyn Error>> {
    host.bring_up()?;
    let mut vms = [host.new_vm(), host.new_vm()];
    for vm in &mut vms {
        vm.init(&SPEC)?;
    }
    vms[0].create_lpi_ist(16)?;
    let reference = vms[0].refer()?;
    drop(reference);
    for vm in &mut vms {
        vm.tear_down()?;
    }
    host.shut_down()?;
    Ok(())
}

fn heap_points(points: &[FaultPoint]) -> impl Iterator<Item = &FaultPoint> {
    points.iter().filter(|point| point.request.kind() == RequestKind::Heap)
}

#[test]
fn running_out_of_heap_is_an_error_wherever_it_happens() {
    for shape in SHAPES {
        let hypervisor = bare(shape);
        let host = Host::new(hypervisor.clone(), &shape.host_config()).unwrap();
        hypervisor.machine.record_fault_points();
        let start = hypervisor.machine.fault_points_passed();
        a_life(&host).unwrap();
        let points = hypervisor.machine.take_fault_points();
        assert!(heap_points(&points).count() >= 8, "{points:#?}");
        for point in heap_points(&points) {
            let hypervisor = bare(shape);
            let machine = &hypervisor.machine;
            let host = Host::new(hypervisor.clone(), &shape.host_config()).unwrap();
            let before = machine.snapshot();
            machine.plan_fault(machine.fault_points_passed() + point.index - start, Fault::Refused);
            let error = a_life(&host).expect_err("there was no memory");
            let text = format!("{error:?}");
            assert!(text.contains("Records") || text.contains("NoMemory"), "{text}");
            host.reclaim().unwrap();
            host.reap().unwrap();
            host.shut_down().unwrap();
            a_life(&host).unwrap();
            let account = machine.account(&before);
            assert!(account.is_clean(), "{account:#?}");
        }
    }
}

#[test]
fn a_host_that_does_not_fit_the_heap_is_refused() {
    let shape = SHAPES[0];
    let hypervisor = bare(shape);
    hypervisor.machine.record_fault_points();
    drop(Host::new(hypervisor.clone(), &shape.host_config()));
    let points = hypervisor.machine.take_fault_points();
    let count = heap_points(&points).count();
    assert!(count >= 2);
    for n in 0..count {
        let hypervisor = bare(shape);
        let machine = &hypervisor.machine;
        machine.plan_fault(machine.fault_points_passed() + n as u64, Fault::Refused);
        let refused = Host::new(hypervisor.clone(), &shape.host_config()).err();
        assert_eq!(refused, Some(ProbeError::NoMemory));
    }
}

/// Decision 3: teardown, quarantine, reclaim and dropping a handle allocate nothing.
#[test]
fn nothing_that_takes_down_allocates() {
    for shape in SHAPES {
        let hypervisor = bare(shape);
        let machine = &hypervisor.machine;
        let host = Host::new(hypervisor.clone(), &shape.host_config()).unwrap();
        host.bring_up().unwrap();
        let mut vms = [host.new_vm(), host.new_vm(), host.new_vm()];
        for vm in &mut vms {
            vm.init(&SPEC).unwrap();
            vm.create_lpi_ist(14).unwrap();
        }
        let [mut first, mut second, third] = vms;
        machine.record_fault_points();
        {
            first.tear_down().unwrap();
            machine.fault_next(Fault::Late(1_000));
            second.tear_down().unwrap_err();
            machine.advance(1_000);
            drop(third);
            host.reclaim().unwrap();
            host.reap().unwrap();
            host.shut_down().unwrap();
        }
        let points = machine.take_fault_points();
        assert_eq!(heap_points(&points).count(), 0);
        assert_eq!(host.holdings().vms, 0);
    }
}

/// Beyond the tables that the architecture wants. With SPIs and with LPIs, too.
#[test]
fn a_vm_with_one_vcpu_takes_less_than_512_bytes_of_heap() {
    let shape = SHAPES[3];
    let hypervisor = bare(shape);
    let machine = &hypervisor.machine;
    let config = Config { timeout: shape.host_config().timeout, ..Config::new(IRS, 64, 64) };
    let host = Host::new(hypervisor.clone(), &config).unwrap();
    host.bring_up().unwrap();
    // The first makes the chunk of doorbell words.
    let mut first = host.new_vm();
    first.init(&VmSpec::new(&VPES[..1])).unwrap();
    let spec = VmSpec { spis: 40, ..VmSpec::new(&VPES[..1]) };
    let mut vms: Vec<_> = (0..8).map(|_| host.new_vm()).collect();
    for vm in &mut vms {
        machine.record_fault_points();
        vm.init(&spec).unwrap();
        vm.create_lpi_ist(14).unwrap();
        let points = machine.take_fault_points();
        let heap: Vec<u64> = heap_points(&points)
            .map(|point| match point.request {
                Request::Heap { size } => size,
                _ => 0,
            })
            .collect();
        assert!(heap.iter().sum::<u64>() < 512, "{heap:?}");
    }
}
