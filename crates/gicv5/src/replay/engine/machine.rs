//! The machine that QEMU 11.1 is.

use gicv5_arch::irs::{IRS_IDR0, IRS_IDR1, IRS_IDR2, IRS_IIDR};
use gicv5_arch::sysreg::PpiSet;
use gicv5_arch::{Iaffid, PhysAddr, Ppi};
use gicv5_model::CpuConfig;
use gicv5_model::config::{Eagerness, MemoryConfig};
use gicv5_model::config::{EdgeResample, Effects, IrsConfig, MachineConfig};

/// Physical memory from address 0 on: enough for any of QEMU's machines.
pub(super) const MEMORY: u64 = 1 << 40;

/// Where memory of its own starts that the replay needs.
const OWN: u64 = MEMORY - (64 << 30);

/// The machine as QEMU 11.1 is.
pub(super) fn config(pes: u16, spi_base: u32, spi_irs_range: u32, spi_range: u32) -> MachineConfig {
    let cpus = (0..pes)
        .map(|n| {
            let mut cpu = CpuConfig::new(Iaffid::new(n));
            // PPI 25 comes with the legacy feature (PPI-26).
            cpu.ppis = [PpiSet::new_with_raw_value(u64::MAX).without(Ppi::GICMNT), PpiSet::EMPTY];
            cpu
        })
        .collect();
    let mut irs = IrsConfig::new(cpus, spi_range);
    irs.idr0 = IRS_IDR0::new_with_raw_value(0x1d);
    irs.idr1 = IRS_IDR1::new_with_raw_value(0x4f_0000 | u32::from(pes));
    irs.idr2 = IRS_IDR2::new_with_raw_value(0x3fb8);
    irs.iidr = IRS_IIDR::new_with_raw_value(0xfff0_043b);
    irs.idr6 = gicv5_arch::irs::IRS_IDR6::new_with_raw_value(spi_irs_range);
    irs.idr7 = gicv5_arch::irs::IRS_IDR7::new_with_raw_value(spi_base);
    let mut config = MachineConfig::new(0, spi_range);
    config.irses = vec![irs];
    config.memory = MemoryConfig {
        base: PhysAddr::new(0).unwrap_or(config.memory.base),
        size: MEMORY,
        reserved: OWN,
        eagerness: Eagerness::Early,
        ..MemoryConfig::default()
    };
    config.switches.effects = Effects::Early;
    config.switches.edge_resample = EdgeResample::Pends;
    config.command_latency = 0;
    config
}
