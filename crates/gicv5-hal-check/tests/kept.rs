//! The kit passes over implementations that keep their promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gicv5_hal::{Coherency, IrsIndex, Pe};
use gicv5_hal_check::{host_lpis, platform};
use gicv5_model::config::MachineConfig;
use gicv5_model::{Machine, ModelHost, PeIndex};
use gicv5_phys::{Config, Phys};

/// The rules that were broken, but for accesses outside a block, which the kit makes on purpose: an implementation may report them.
fn broken_rules(machine: &Machine) -> Vec<&'static str> {
    let rules = machine.take_violations().into_iter().map(|violation| violation.rule);
    rules.filter(|rule| *rule != "MEM-1").collect()
}

fn at_once(work: &(dyn Fn() + Sync)) {
    std::thread::scope(|threads| {
        threads.spawn(work);
        threads.spawn(work);
    });
}

#[test]
fn the_model_keeps_every_promise_and_the_kit_breaks_no_rule() {
    for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
        let mut config = MachineConfig::new(2, 16);
        config.add_irs();
        config.memory.coherency = coherency;
        let machine = Machine::new(config).unwrap();
        let host = ModelHost::start(&machine, 0..64).unwrap();
        platform(&host, machine.irs_count(), &at_once).unwrap();
        host_lpis(&host, &host, 100).unwrap();
        assert_eq!(broken_rules(&machine), [""; 0]);
    }
}

#[test]
fn a_machine_without_tables_keeps_every_promise_of_a_platform() {
    let machine = Machine::new(MachineConfig::new(1, 0)).unwrap();
    platform(&ModelHost::on(&machine), machine.irs_count(), &at_once).unwrap();
    assert_eq!(broken_rules(&machine), [""; 0]);
}

#[test]
fn the_lpis_of_the_physical_driver_keep_every_promise() {
    let machine = Machine::new(MachineConfig::new(1, 0)).unwrap();
    let cpu = machine.pe(PeIndex(0)).unwrap();
    let host = ModelHost::on(&machine);
    let irss = [IrsIndex(0)];
    let phys = Phys::new(&host, &Config::new(&irss, 100)).unwrap();
    phys.bring_up().unwrap();
    phys.bring_up_pe(&Pe::new(&cpu)).unwrap();
    host_lpis(&phys, &host, 200).unwrap();
    assert_eq!(broken_rules(&machine), [""; 0]);
}
