//! What a machine tells and takes that follows another one.
// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{Ppi, Priority, Spi};
use gicv5_hal::{IrsExt, IrsIndex, Pe};
use gicv5_model::config::MachineConfig;
use gicv5_model::{Machine, ModelHost, PeIndex};

const IRS: IrsIndex = IrsIndex(0);
const PE: PeIndex = PeIndex(0);

/// A machine that is on, and what happens on its PE at first.
fn machine(config: MachineConfig, setup: impl FnOnce(&Pe<'_, gicv5_model::ModelPe>)) -> Machine {
    let machine = Machine::new(MachineConfig { command_latency: 0, ..config }).unwrap();
    ModelHost::on(&machine).switch_on().unwrap();
    let cpu = machine.pe(PE).unwrap();
    let pe = Pe::new(&cpu);
    setup(&pe);
    pe.isb();
    pe.gsb_sys();
    machine
}

#[test]
fn what_would_be_acknowledged_is_what_the_mask_lets_through_and_the_best_ppi_does_not_ask_the_mask() {
    let timer = Ppi::new(27).unwrap();
    let machine = machine(MachineConfig::new(1, 8), |pe| {
        pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, timer.mask());
        pe.write_raw(SysReg::ICC_PPI_PRIORITYR3_EL1, 20 << 24);
    });
    assert_eq!((machine.hppi(PE), machine.ppi_candidate(PE)), (None, None));
    machine.set_ppi_wire(PE, timer, true);
    let priority = Priority::new(20).unwrap();
    assert_eq!(machine.hppi(PE), Some((timer.into(), priority)));
    let cpu = machine.pe(PE).unwrap();
    Pe::new(&cpu).write_raw(SysReg::ICC_PCR_EL1, 19);
    assert_eq!(machine.hppi(PE), None, "PRI-3");
    assert_eq!(machine.ppi_candidate(PE), Some((timer, priority)));
    assert_eq!(machine.hppi(PeIndex(1)), None, "there is no such PE");
}

#[test]
fn the_wire_of_an_spi_is_told_if_an_irs_owns_it() {
    let machine = machine(MachineConfig::new(1, 8), |_| {});
    let spi = Spi::new(3).unwrap();
    assert_eq!(machine.spi_wire(spi), Some(false));
    machine.set_spi_wire(spi, true);
    assert_eq!(machine.spi_wire(spi), Some(true));
    assert_eq!(machine.spi_wire(Spi::new(8).unwrap()), None);
}

#[test]
fn software_can_store_where_it_has_allocated_nothing() {
    use gicv5_arch::PhysAddr;
    use gicv5_arch::entry::{L1_ISTE, L2_ISTE};
    use gicv5_arch::geometry::IstGeometry;
    use gicv5_arch::irs::{IRS_IST_BASER, IRS_MAP_L2_ISTR};
    use gicv5_arch::values::{IstSize, L2Size};
    use gicv5_arch::{Addr55_6, Addr55_12, Lpi};
    use gicv5_hal::TableMemory;

    let mut config = MachineConfig::new(1, 8);
    config.memory.reserved = 0x1800_0000;
    let machine = machine(config, |_| {});
    let at = |offset: u64| PhysAddr::new(0x9000_0000 + offset).unwrap();
    machine.write(IRS, IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap().cfgr());
    machine.write(IRS, IRS_IST_BASER::ZERO.with_addr(Addr55_6::new(at(0)).unwrap()).with_valid(true));
    let lpi = Lpi::new(1024).unwrap();
    assert_eq!(machine.interrupt(lpi.into()), None);
    let table = Addr55_12::new(at(0x10_0000)).unwrap();
    machine.physical_memory().store64(at(8), L1_ISTE::ZERO.with_l2_addr(table).raw_value());
    machine.barrier();
    machine.write(IRS, IRS_MAP_L2_ISTR::ZERO.with_id(lpi));
    assert_eq!(machine.interrupt(lpi.into()), Some(L2_ISTE::ZERO));
    assert!(machine.take_violations().is_empty());
}
