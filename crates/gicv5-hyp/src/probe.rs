//! What the hardware says it is, and whether that can be.

use gicv5_arch::PhysAddr;
use gicv5_arch::geometry::{GeometryError, IstLimits, VmTableGeometry, VmTableLimits, VpeTableLimits};
use gicv5_arch::irs::{ArchMajorRev, Component, IRS_AIDR, IRS_IDR0, IRS_IDR2, IRS_IDR3, IRS_IDR4, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{ICC_IDR0_EL1, SysReg};
use gicv5_hal::{CurrentPe, IrsExt, IrsIndex};

use crate::Hypervisor;
use crate::boxed::OutOfMemory;
use crate::config::Config;

/// The hardware is not what the library can drive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The IRS has no virtualisation. GICv3 VMs are ruled out with that, too (GEN-8).
    #[error("{irs} has no virtualisation: IRS_IDR0 reads {value:#x}")]
    NoVirtualisation {
        /// The IRS.
        irs: IrsIndex,
        /// What IRS_IDR0 reads.
        value: u64,
    },
    /// An ID register of the IRS holds what the architecture does not allow.
    #[error("{irs}: {register} reads {value:#x}: {reason}")]
    Register {
        /// The IRS.
        irs: IrsIndex,
        /// The register.
        register: IrsReg,
        /// What it reads.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An ID register of the PE holds what the architecture does not allow.
    #[error("{register} reads {value:#x}: {reason}")]
    Pe {
        /// The register.
        register: SysReg,
        /// What it reads.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No tables can be made for this IRS as configured.
    #[error("{irs}: {register} reads {value:#x}")]
    Tables {
        /// The IRS.
        irs: IrsIndex,
        /// The register.
        register: IrsReg,
        /// What it reads.
        value: u64,
        /// What is wrong with it.
        source: GeometryError,
    },
    /// The configuration asks for no VM at all.
    #[error("the configuration has room for no VM")]
    NoVms,
    /// There is no memory for the library's own records.
    #[error("no memory for the library's records")]
    NoMemory,
}

impl From<OutOfMemory> for ProbeError {
    fn from(OutOfMemory: OutOfMemory) -> ProbeError {
        ProbeError::NoMemory
    }
}

/// What the IRS can do.
pub(crate) struct Limits {
    pub(crate) vm_table: VmTableLimits,
    pub(crate) vpe_table: VpeTableLimits,
    pub(crate) ist: IstLimits,
    /// The last address that the IRS can reach.
    pub(crate) highest: PhysAddr,
    /// Whether virtual interrupts can be routed 1-of-N, so that IRS_VPE_CR0.DPS means something.
    pub(crate) one_of_n: bool,
}

/// Reads the ID registers of the IRS and of the current PE, writes nothing. Returns what the IRS can do, the VM table to make, and the number of VM IDs.
pub(crate) fn probe<H: Hypervisor>(
    hypervisor: &H,
    config: &Config,
) -> Result<(Limits, VmTableGeometry, u32), ProbeError> {
    let (irs, frames) = (config.irs, hypervisor.irs());
    let aidr: IRS_AIDR = frames.read(irs);
    if aidr.component() != Ok(Component::Irs) {
        return Err(bad(irs, aidr, "the frame is not an IRS"));
    }
    // A later minor revision is a superset.
    if aidr.arch_major_rev() != Ok(ArchMajorRev::Gicv5) {
        return Err(bad(irs, aidr, "the architecture is not GICv5"));
    }
    let idr0: IRS_IDR0 = frames.read(irs);
    if !idr0.virt() {
        return Err(ProbeError::NoVirtualisation { irs, value: idr0.to_bits() });
    }
    let Ok(range) = idr0.pa_range() else { return Err(bad(irs, idr0, "PA_RANGE is reserved")) };
    let idr2: IRS_IDR2 = frames.read(irs);
    let idr3: IRS_IDR3 = frames.read(irs);
    let idr4: IRS_IDR4 = frames.read(irs);
    let cpu: ICC_IDR0_EL1 = hypervisor.current_pe().on_this_pe(|pe| pe.read());
    let Ok(cpu_id_bits) = cpu.id_bits() else {
        let (register, value) = (SysReg::ICC_IDR0_EL1, cpu.raw_value());
        return Err(ProbeError::Pe { register, value, reason: "ID_BITS is reserved" });
    };
    let limits = Limits {
        vm_table: VmTableLimits::from_idr3(idr3).map_err(|source| tables(irs, idr3, source))?,
        vpe_table: VpeTableLimits::from_idr4(idr4).map_err(|source| tables(irs, idr4, source))?,
        // The smaller width of IRS and CPU interface counts (GEN-12).
        ist: IstLimits::from_idr2(idr2)
            .and_then(|limits| limits.with_cpu_interface(cpu_id_bits.count()))
            .map_err(|source| tables(irs, idr2, source))?,
        highest: range.highest(),
        one_of_n: idr0.virt_one_n(),
    };
    if !limits.ist.has_physical_lpis() {
        return Err(bad(irs, idr2, "there are no physical LPIs, so no doorbells (LPI-3)"));
    }
    let vms = config.vms.min(1 << limits.vm_table.vm_id_bits());
    let Some(highest) = vms.checked_sub(1) else { return Err(ProbeError::NoVms) };
    // The number of bits that the highest ID takes.
    let bits = u32::BITS - highest.leading_zeros();
    let geometry = limits.vm_table.choose(bits, config.contiguous_bytes).map_err(|source| tables(irs, idr3, source))?;
    Ok((limits, geometry, vms))
}

fn bad<R: Register<Reg = IrsReg>>(irs: IrsIndex, register: R, reason: &'static str) -> ProbeError {
    ProbeError::Register { irs, register: R::REG, value: register.to_bits(), reason }
}

fn tables<R: Register<Reg = IrsReg>>(irs: IrsIndex, register: R, source: GeometryError) -> ProbeError {
    ProbeError::Tables { irs, register: R::REG, value: register.to_bits(), source }
}
