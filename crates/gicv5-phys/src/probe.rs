//! What the hardware says it is, and whether that can be.

use alloc::vec::Vec;
use core::ops::Range;

use gicv5_arch::geometry::{GeometryError, IstGeometry, IstLimits};
use gicv5_arch::irs::{IRS_IDR0, IRS_IDR1, IRS_IDR2, IRS_IDR5, IRS_IDR6, IRS_IDR7, IrsReg};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{Gcie, ICC_IDR0_EL1, ID_AA64PFR2_EL1, SysReg};
use gicv5_arch::{IrsIntType, PhysAddr, Spi};
use gicv5_hal::{Coherency, CurrentPe, IrsExt, IrsIndex, Pe, PeOps, Platform, TableMemory};

use crate::config::{Config, memory_attributes};
use crate::machine::{Found, IrsUnit};
use gicv5_irs::command::Fault;
use gicv5_irs::command_port::Ports;
use gicv5_irs::heap::{Heap, OutOfMemory, push, reserve};
use gicv5_irs::probe::{WrongRegister, identify};

/// The hardware is not what the driver can drive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The configuration names no IRS.
    #[error("no IRS was named")]
    NoIrs,
    /// An ID register of an IRS holds what the architecture does not allow, or contradicts another.
    #[error("{irs}: {register} reads {value:#x}: {reason}")]
    Irs {
        /// The IRS.
        irs: IrsIndex,
        /// The register.
        register: IrsReg,
        /// What it reads.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The configuration names an IRS twice.
    #[error("{irs} is named twice")]
    SameIrs {
        /// The IRS.
        irs: IrsIndex,
    },
    /// This IRS has no IST for as many LPIs as are configured, IPIs included, in pieces of the configured size.
    #[error("{irs} can have no IST for {lpis} LPIs as configured")]
    Lpis {
        /// The IRS.
        irs: IrsIndex,
        /// How many LPIs.
        lpis: u32,
        /// Why not.
        source: GeometryError,
    },
    /// No IST can be made for this IRS and the others.
    #[error("{irs}: {register} reads {value:#x}")]
    Ist {
        /// The IRS.
        irs: IrsIndex,
        /// The register.
        register: IrsReg,
        /// What it reads.
        value: u64,
        /// What is wrong with it.
        source: GeometryError,
    },
    /// An ID register of a PE holds what the architecture does not allow, or less than is needed.
    #[error("{register} reads {value:#x}: {reason}")]
    Pe {
        /// The register.
        register: SysReg,
        /// What it reads.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no memory for the driver's own records.
    #[error("no memory for the driver's records")]
    NoMemory,
}

impl ProbeError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            ProbeError::NoIrs | ProbeError::SameIrs { .. } | ProbeError::Lpis { .. } => Fault::Caller,
            ProbeError::NoMemory => Fault::Capacity,
            ProbeError::Irs { .. } | ProbeError::Ist { .. } | ProbeError::Pe { .. } => Fault::Hardware,
        }
    }
}

impl From<WrongRegister> for ProbeError {
    fn from(WrongRegister { irs, register, value, reason }: WrongRegister) -> ProbeError {
        ProbeError::Irs { irs, register, value, reason }
    }
}

impl From<OutOfMemory> for ProbeError {
    fn from(OutOfMemory: OutOfMemory) -> ProbeError {
        ProbeError::NoMemory
    }
}

/// What the CPU interface of a PE can do, decoded (GEN-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuInterface {
    pub(crate) id_bits: u32,
    pub(crate) priority_bits: u32,
    raw: u64,
}

impl CpuInterface {
    pub(crate) fn read<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> Result<CpuInterface, ProbeError> {
        let features: ID_AA64PFR2_EL1 = pe.read();
        if features.gcie() != Ok(Gcie::Implemented) {
            return Err(cpu(features, "the PE has no GICv5 CPU interface"));
        }
        let idr0: ICC_IDR0_EL1 = pe.read();
        let id_bits = idr0.id_bits().map_err(|_| cpu(idr0, "ID_BITS is reserved"))?.count();
        let priority_bits = idr0.pri_bits().map_err(|_| cpu(idr0, "PRI_BITS is reserved"))?.count();
        Ok(CpuInterface { id_bits, priority_bits, raw: idr0.to_bits() })
    }

    /// Refuses a PE that cannot do what the domain was set up for.
    pub(crate) fn check(&self, id_bits: u32, priority_bits: u32) -> Result<(), ProbeError> {
        let reason = if self.id_bits < id_bits {
            "ID_BITS is less than the LPIs of the domain need"
        } else if self.priority_bits < priority_bits {
            "PRI_BITS is less than the domain uses"
        } else {
            return Ok(());
        };
        Err(ProbeError::Pe { register: SysReg::ICC_IDR0_EL1, value: self.raw, reason })
    }
}

fn cpu<R: Register<Reg = SysReg>>(register: R, reason: &'static str) -> ProbeError {
    ProbeError::Pe { register: R::REG, value: register.to_bits(), reason }
}

/// One IRS, as far as its own registers go.
struct Irs {
    index: IrsIndex,
    idr0: IRS_IDR0,
    idr1: IRS_IDR1,
    idr2: IRS_IDR2,
    limits: IstLimits,
    spis: Range<u32>,
    spi_range: IRS_IDR5,
}

impl Irs {
    fn read<I: gicv5_hal::Irs>(frames: &I, config: &Config<'_>, index: IrsIndex) -> Result<Irs, ProbeError> {
        let idr0 = identify(frames, index)?;
        if idr0.int_dom() != config.domain {
            return Err(WrongRegister::new(index, idr0, "the frame serves another interrupt domain").into());
        }
        if idr0.pa_range().is_err() {
            return Err(WrongRegister::new(index, idr0, "PA_RANGE is reserved").into());
        }
        let idr1: IRS_IDR1 = frames.read(index);
        if idr1.pri_bits().is_err() {
            return Err(WrongRegister::new(index, idr1, "PRI_BITS is reserved").into());
        }
        let idr2: IRS_IDR2 = frames.read(index);
        let limits = IstLimits::from_idr2(idr2).map_err(|error| ist(index, idr2, error))?;

        // Ranges of SPIs are 25 bits wide so that they can say 2^24; more is no ID (GEN-1).
        let spi_range: IRS_IDR5 = frames.read(index);
        let system = spi_range.spi_range().value();
        if system > 1 << 24 {
            return Err(WrongRegister::new(index, spi_range, "more SPIs than there are IDs").into());
        }
        let (count, base): (IRS_IDR6, IRS_IDR7) = (frames.read(index), frames.read(index));
        let first = base.spi_base().id();
        let spis = first..first + count.spi_irs_range().value();
        if !spis.is_empty() && spis.end > system {
            return Err(WrongRegister::new(index, count, "the IRS has SPIs beyond those of the system").into());
        }
        Ok(Irs { index, idr0, idr1, idr2, limits, spis, spi_range })
    }

    /// Refuses two IRSs that contradict each other.
    fn agree(&self, other: &Irs) -> Result<(), ProbeError> {
        if self.index == other.index {
            return Err(ProbeError::SameIrs { irs: self.index });
        }
        if self.idr0.irsid() == other.idr0.irsid() {
            return Err(
                WrongRegister::new(self.index, self.idr0, "another IRS of the domain has the same IRSID").into()
            );
        }
        if self.spi_range != other.spi_range {
            return Err(WrongRegister::new(
                self.index,
                self.spi_range,
                "another IRS counts the SPIs of the system otherwise",
            )
            .into());
        }
        let (a, b) = (&self.spis, &other.spis);
        if a.start.max(b.start) < a.end.min(b.end) {
            let register = IRS_IDR7::ZERO.with_spi_base(Spi::new(a.start).unwrap_or(Spi::MAX));
            return Err(WrongRegister::new(self.index, register, "another IRS has one of these SPIs (SPI-1)").into());
        }
        Ok(())
    }
}

fn ist(irs: IrsIndex, idr2: IRS_IDR2, source: GeometryError) -> ProbeError {
    ProbeError::Ist { irs, register: IrsReg::IRS_IDR2, value: idr2.to_bits(), source }
}

/// Reads the ID registers, writes nothing.
pub(crate) fn probe<H: Platform>(host: &H, config: &Config<'_>) -> Result<Found<H>, ProbeError> {
    let cpu = host.current_pe().on_this_pe(CpuInterface::read)?;
    let heap: Heap<'_> = &|bytes| host.may_allocate(bytes);
    let mut irss: Vec<Irs> = Vec::new();
    reserve(heap, &mut irss, config.irss.len())?;
    for &index in config.irss {
        let irs = Irs::read(host.irs(), config, index)?;
        for other in &irss {
            irs.agree(other)?;
        }
        push(&mut irss, irs).map_err(|_| OutOfMemory)?;
    }
    let first = irss.first().ok_or(ProbeError::NoIrs)?;

    let pes = irss.iter().map(|irs| u32::from(irs.idr1.pe_cnt())).sum::<u32>();
    let ipis = u32::from(config.ipi_kinds).saturating_mul(pes);
    let lpis = config.lpis.saturating_add(ipis);
    let chosen = if lpis == 0 { None } else { Some(choose(config, cpu, &irss, first, lpis)?) };

    // The smaller width of IRS and CPU interface counts (GEN-12).
    let widths = irss.iter().filter_map(|irs| irs.idr1.pri_bits().ok()).map(|bits| bits.count());
    let priority_bits = widths.fold(cpu.priority_bits, u32::min);
    let ends = irss.iter().filter_map(|irs| irs.idr0.pa_range().ok()).map(|range| range.highest());
    let highest = ends.fold(PhysAddr::highest(PhysAddr::BITS), PhysAddr::min);
    let non_coherent = irss.iter().find(|irs| host.memory().coherency(irs.index) == Coherency::NonCoherent);
    let publish_for = non_coherent.unwrap_or(first).index;

    let mut units: Vec<IrsUnit<H>> = Vec::new();
    reserve(heap, &mut units, irss.len())?;
    for irs in irss {
        let unit = IrsUnit {
            index: irs.index,
            ports: Ports::default(),
            spis: irs.spis,
            virt: irs.idr0.virt(),
            one_n: irs.idr0.one_n(),
            iaffid_bits: irs.idr1.iaffid_bits().count(),
            attributes: config.attributes.unwrap_or(memory_attributes(host.memory().coherency(irs.index))),
        };
        push(&mut units, unit).map_err(|_| OutOfMemory)?;
    }
    Ok(Found { irss: units, ist: chosen, lpis, ipis, priority_bits, pes, highest, publish_for })
}

/// Chooses the one IST that all IRSs share (GEN-13): its width suits all of them, and each supports its shape.
fn choose(
    config: &Config<'_>,
    cpu: CpuInterface,
    irss: &[Irs],
    first: &Irs,
    lpis: u32,
) -> Result<IstGeometry, ProbeError> {
    let mut id_bits = 0;
    for irs in irss {
        if !irs.limits.has_physical_lpis() {
            return Err(WrongRegister::new(irs.index, irs.idr2, "there are no physical LPIs (LPI-3)").into());
        }
        let limits = irs.limits.with_cpu_interface(cpu.id_bits).map_err(|error| ist(irs.index, irs.idr2, error))?;
        let too_many = |source| ProbeError::Lpis { irs: irs.index, lpis, source };
        let needed = limits.id_bits_for(IrsIntType::Lpi, lpis).map_err(too_many)?;
        id_bits = id_bits.max(needed);
    }
    let chosen = first
        .limits
        .choose(IrsIntType::Lpi, id_bits, config.contiguous_bytes)
        .map_err(|source| ProbeError::Lpis { irs: first.index, lpis, source })?;
    for irs in irss {
        irs.limits.check(IrsIntType::Lpi, chosen).map_err(|error| ist(irs.index, irs.idr2, error))?;
    }
    Ok(chosen)
}
