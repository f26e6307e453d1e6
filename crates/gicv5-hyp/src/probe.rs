//! What the hardware says it is, and whether that can be.

use gicv5_arch::PhysAddr;
use gicv5_arch::geometry::{GeometryError, IstLimits, VmTableGeometry, VmTableLimits, VpeTableLimits};
use gicv5_arch::irs::{IRS_IDR0, IRS_IDR2, IRS_IDR3, IRS_IDR4, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{ICC_IDR0_EL1, SysReg};
use gicv5_arch::values::{L2SizeSet, Levels};
use gicv5_hal::{Coherency, CurrentPe, IrsExt, IrsIndex, TableMemory};

use crate::Hypervisor;
use crate::config::Config;
use gicv5_irs::command::Fault;
use gicv5_irs::heap::OutOfMemory;
use gicv5_irs::probe::{WrongRegister, identify};

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
        /// What it reads; with several IRSs, the strictest of each field.
        value: u64,
        /// What is wrong with it.
        source: GeometryError,
    },
    /// An IRS has what cannot be where another of the same domain is as it is.
    #[error("{irs}: {register} reads {value:#x}, and {value_there:#x} in {other}: {reason}")]
    Differs {
        /// The IRS.
        irs: IrsIndex,
        /// The register.
        register: IrsReg,
        /// What it reads there.
        value: u64,
        /// The IRS it was compared with.
        other: IrsIndex,
        /// What it reads in that one.
        value_there: u64,
        /// What is wrong with that.
        reason: &'static str,
    },
    /// The configuration asks for no VM at all.
    #[error("the configuration has room for no VM")]
    NoVms,
    /// The configuration asks for no vCPU at all.
    #[error("the configuration has room for no vCPU")]
    NoVcpus,
    /// There is no memory for the library's own records.
    #[error("no memory for the library's records")]
    NoMemory,
}

impl ProbeError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            ProbeError::NoVms | ProbeError::NoVcpus => Fault::Caller,
            // The configuration says how much memory there is in one piece, and what the IRSs of the domain are.
            ProbeError::Tables { source: GeometryError::NotContiguous { .. }, .. } | ProbeError::Differs { .. } => {
                Fault::Caller
            }
            ProbeError::Pe { register: SysReg::ICH_CONTEXTR_EL2, .. } => Fault::Caller,
            ProbeError::NoMemory => Fault::Capacity,
            ProbeError::NoVirtualisation { .. }
            | ProbeError::Register { .. }
            | ProbeError::Pe { .. }
            | ProbeError::Tables { .. } => Fault::Hardware,
        }
    }
}

impl From<WrongRegister> for ProbeError {
    fn from(WrongRegister { irs, register, value, reason }: WrongRegister) -> ProbeError {
        ProbeError::Register { irs, register, value, reason }
    }
}

impl From<OutOfMemory> for ProbeError {
    fn from(OutOfMemory: OutOfMemory) -> ProbeError {
        ProbeError::NoMemory
    }
}

/// What all IRSs of the domain can do.
pub(crate) struct Limits {
    pub(crate) vm_table: VmTableLimits,
    pub(crate) vpe_table: VpeTableLimits,
    pub(crate) ist: IstLimits,
    /// The last address that all of them can reach.
    pub(crate) highest: PhysAddr,
    /// Whether virtual interrupts can be routed 1-of-N, so that IRS_VPE_CR0.DPS means something.
    pub(crate) one_of_n: bool,
}

/// What the probe has found, and what was chosen from it.
pub(crate) struct Found {
    pub(crate) limits: Limits,
    /// The VM table to make.
    pub(crate) geometry: VmTableGeometry,
    /// The number of VM IDs.
    pub(crate) vms: u32,
    /// The IRS to publish table memory for: one that does not see the caches, if there is one.
    pub(crate) publish_for: IrsIndex,
}

/// The ID registers of an IRS, or the strictest of several.
#[derive(Clone, Copy)]
struct Irs {
    index: IrsIndex,
    idr0: IRS_IDR0,
    idr2: IRS_IDR2,
    idr3: IRS_IDR3,
    idr4: IRS_IDR4,
    highest: PhysAddr,
    coherency: Coherency,
}

impl Irs {
    fn read<H: Hypervisor>(hypervisor: &H, index: IrsIndex) -> Result<Irs, ProbeError> {
        let frames = hypervisor.irs();
        let idr0 = identify(frames, index)?;
        if !idr0.virt() {
            return Err(ProbeError::NoVirtualisation { irs: index, value: idr0.to_bits() });
        }
        let Ok(range) = idr0.pa_range() else {
            return Err(WrongRegister::new(index, idr0, "PA_RANGE is reserved").into());
        };
        let irs = Irs {
            index,
            idr0,
            idr2: frames.read(index),
            idr3: frames.read(index),
            idr4: frames.read(index),
            highest: range.highest(),
            coherency: hypervisor.memory().coherency(index),
        };
        // What is wrong with one is said of that one.
        irs.limits()?;
        Ok(irs)
    }

    /// Its limits, but for those of the CPU interface.
    fn limits(&self) -> Result<Limits, ProbeError> {
        let Irs { index, idr0, idr2, idr3, idr4, highest, .. } = *self;
        if !idr2.lpi() {
            return Err(WrongRegister::new(index, idr2, "there are no physical LPIs, so no doorbells (LPI-3)").into());
        }
        Ok(Limits {
            vm_table: VmTableLimits::from_idr3(idr3).map_err(|source| tables(index, idr3, source))?,
            vpe_table: VpeTableLimits::from_idr4(idr4).map_err(|source| tables(index, idr4, source))?,
            ist: IstLimits::from_idr2(idr2).map_err(|source| tables(index, idr2, source))?,
            highest,
            one_of_n: idr0.virt_one_n(),
        })
    }

    /// What both can do: they walk the same tables (GEN-13). Commands go through the first.
    fn and(self, other: &Irs) -> Result<Irs, ProbeError> {
        if self.idr0.int_dom() != other.idr0.int_dom() {
            return Err(self.differs(other, |irs| irs.idr0, "they serve different interrupt domains (GEN-14)"));
        }
        // Whether entries have metadata, and from which size of an IST on, makes the size of an entry (IST-10).
        let metadata = |irs: &Irs| irs.idr2.istmd().then_some(irs.idr2.istmd_sz());
        if metadata(&self) != metadata(other) {
            return Err(self.differs(
                other,
                |irs| irs.idr2,
                "entries of the ISTs that they share differ in size (GEN-13)",
            ));
        }
        let l2_sizes = self.idr2.ist_l2sz().raw_value() & other.idr2.ist_l2sz().raw_value();
        let mut ist_levels = both(self.idr2.ist_levels(), other.idr2.ist_levels());
        if l2_sizes.value() == 0 {
            ist_levels = Levels::Linear;
        }
        let idr2 = self
            .idr2
            .with_id_bits(self.idr2.id_bits().min(other.idr2.id_bits()))
            .with_min_lpi_id_bits(self.idr2.min_lpi_id_bits().max(other.idr2.min_lpi_id_bits()))
            .with_ist_levels(ist_levels)
            .with_ist_l2sz(L2SizeSet::new_with_raw_value(l2_sizes));
        // A descriptor that is not needed is not used (VM-10), and one that is larger than needed does as well.
        let vmd_sz = [&self, other].into_iter().filter(|irs| irs.idr3.vmd()).map(|irs| irs.idr3.vmd_sz()).max();
        let idr3 = self
            .idr3
            .with_vm_id_bits(self.idr3.vm_id_bits().min(other.idr3.vm_id_bits()))
            .with_vmt_levels(both(self.idr3.vmt_levels(), other.idr3.vmt_levels()))
            .with_vmd(vmd_sz.is_some())
            .with_vmd_sz(vmd_sz.unwrap_or_default());
        let fewer_vpes = self.idr4.vpe_id_bits().count() > other.idr4.vpe_id_bits().count();
        let idr4 = self
            .idr4
            .with_vpe_id_bits(if fewer_vpes { other.idr4 } else { self.idr4 }.vpe_id_bits())
            .with_vped_sz(self.idr4.vped_sz().max(other.idr4.vped_sz()));
        Ok(Irs { idr2, idr3, idr4, highest: self.highest.min(other.highest), ..self })
    }

    fn differs<R: Register<Reg = IrsReg>>(
        &self,
        other: &Irs,
        register: impl Fn(&Irs) -> R,
        reason: &'static str,
    ) -> ProbeError {
        let (value, value_there) = (register(other).to_bits(), register(self).to_bits());
        ProbeError::Differs { irs: other.index, register: R::REG, value, other: self.index, value_there, reason }
    }
}

fn both(one: Levels, other: Levels) -> Levels {
    match (one, other) {
        (Levels::TwoLevel, Levels::TwoLevel) => Levels::TwoLevel,
        _ => Levels::Linear,
    }
}

/// Reads the ID registers of the IRSs and of the current PE, writes nothing.
pub(crate) fn probe<H: Hypervisor>(hypervisor: &H, config: &Config<'_>) -> Result<Found, ProbeError> {
    if config.vcpus == 0 {
        return Err(ProbeError::NoVcpus);
    }
    let mut all = Irs::read(hypervisor, config.irs)?;
    let mut publish_for = config.irs;
    for (n, index) in config.others.iter().enumerate() {
        let irs = Irs::read(hypervisor, *index)?;
        for earlier in config.others.iter().take(n).chain([&config.irs]) {
            let earlier = Irs { index: *earlier, idr0: hypervisor.irs().read(*earlier), ..all };
            if earlier.idr0.irsid() == irs.idr0.irsid() {
                return Err(earlier.differs(&irs, |irs| irs.idr0, "two IRSs of a domain have the same IRSID"));
            }
        }
        all = all.and(&irs)?;
        if all.coherency == Coherency::Coherent && irs.coherency == Coherency::NonCoherent {
            (all.coherency, publish_for) = (irs.coherency, irs.index);
        }
    }
    let irs = config.irs;
    let cpu: ICC_IDR0_EL1 = hypervisor.current_pe().on_this_pe(|pe| pe.read());
    let Ok(cpu_id_bits) = cpu.id_bits() else {
        let (register, value) = (SysReg::ICC_IDR0_EL1, cpu.raw_value());
        return Err(ProbeError::Pe { register, value, reason: "ID_BITS is reserved" });
    };
    let mut limits = all.limits()?;
    // The smaller width of IRS and CPU interface counts (GEN-12).
    let narrowed = limits.ist.with_cpu_interface(cpu_id_bits.count());
    limits.ist = narrowed.map_err(|source| tables(irs, all.idr2, source))?;
    let vms = config.vms.min(1 << limits.vm_table.vm_id_bits());
    let Some(highest) = vms.checked_sub(1) else { return Err(ProbeError::NoVms) };
    // The number of bits that the highest ID takes.
    let bits = u32::BITS - highest.leading_zeros();
    let geometry = limits.vm_table.choose(bits, config.contiguous_bytes);
    let geometry = geometry.map_err(|source| tables(irs, all.idr3, source))?;
    Ok(Found { limits, geometry, vms, publish_for })
}

fn tables<R: Register<Reg = IrsReg>>(irs: IrsIndex, register: R, source: GeometryError) -> ProbeError {
    ProbeError::Tables { irs, register: R::REG, value: register.to_bits(), source }
}
