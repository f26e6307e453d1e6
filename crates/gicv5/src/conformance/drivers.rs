//! The drivers of this project on machines of the model, by the code that runs them on hardware.

use arbitrary_int::{u5, u6};
use gicv5_arch::irs::{IRS_IDR3, IRS_IDR4};
use gicv5_arch::values::BitsMinusOne;
use gicv5_conformance_drivers::{self as drivers, DriverError};
use gicv5_model::config::{Effects, MachineConfig};

use super::bench::{MachineKind, ModelBench, config};

/// Runs both drivers, and returns what they have shown.
fn run(config: MachineConfig) -> Result<Vec<String>, DriverError> {
    let bench = ModelBench::new(config).unwrap();
    let before = bench.machine.snapshot();
    let pe = gicv5_hal::Pe::new(&bench.first);
    let mut lines = Vec::new();
    drivers::run(&bench, &pe, &mut |line| lines.push(line.to_string()))?;
    let account = bench.machine.account(&before);
    assert!(account.is_clean(), "{account:#?}");
    Ok(lines)
}

fn with_virtualisation(pes: u16) -> MachineConfig {
    let mut machine = config(MachineKind::Full, pes);
    for irs in &mut machine.irses {
        irs.idr0 = irs.idr0.with_virt(true);
        irs.idr3 = IRS_IDR3::ZERO.with_vm_id_bits(u5::new(8));
        irs.idr4 = IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::from_count(8).unwrap()).with_vped_sz(u6::new(7));
    }
    machine
}

#[test]
fn both_drivers_live_from_the_first_register_to_the_last_where_there_is_virtualisation() {
    for (pes, effects) in [(1, Effects::Late), (2, Effects::Early), (4, Effects::Random)] {
        let mut machine = with_virtualisation(pes);
        machine.switches.effects = effects;
        machine.command_latency = 40;
        let lines = run(machine).unwrap();
        assert!(lines.contains(&"gicv5-phys: PE 0 took SPI 1 of a device, level-sensitive".to_owned()), "{lines:?}");
        assert!(lines.iter().any(|line| line.ends_with("was woken by its doorbell, and took LPI 7")), "{lines:?}");
    }
}

#[test]
fn the_hypervisors_library_says_which_register_rules_virtualisation_out() {
    let lines = run(config(MachineKind::Qemu, 2)).unwrap();
    let expected = "gicv5-hyp: IRS 0 has no virtualisation: IRS_IDR0 reads 0x1d";
    assert!(lines.iter().any(|line| line == expected), "{lines:?}");
}

/// Somebody else's interrupt is enabled and pending: SPI 9 of PE 0.
fn interfere(bench: &ModelBench) {
    let pe = gicv5_hal::Pe::new(&bench.first);
    let spi = gicv5_arch::Spi::new(9).unwrap();
    pe.cdaff(spi.into(), pe.iaffid());
    pe.cden(spi.into());
    pe.cdpend(spi.into(), true);
    pe.gsb_sys();
}

#[test]
fn a_driver_that_finds_another_machine_than_it_left_says_so() {
    let bench = ModelBench::new(config(MachineKind::Full, 1)).unwrap();
    let pe = gicv5_hal::Pe::new(&bench.first);
    // The driver takes what it has not raised.
    let error = drivers::run(&bench, &pe, &mut |_| interfere(&bench)).unwrap_err();
    assert!(matches!(error, DriverError::Taken { pe: 0, .. }), "{error}");
}

#[test]
fn what_was_left_before_the_drivers_came_up_does_not_disturb_them() {
    let bench = ModelBench::new(config(MachineKind::Full, 1)).unwrap();
    interfere(&bench);
    drivers::run(&bench, &gicv5_hal::Pe::new(&bench.first), &mut |_| {}).unwrap();
}
