//! What a machine is like: the ID registers its hardware reports, and the choices the architecture leaves open.

use gicv5_arch::geometry::{GeometryError, IstLimits, VmTableLimits, VpeTableLimits};
use gicv5_arch::irs::{
    Component, IRS_AIDR, IRS_IDR0, IRS_IDR1, IRS_IDR2, IRS_IDR3, IRS_IDR4, IRS_IDR5, IRS_IDR6, IRS_IDR7, IRS_IIDR,
};
use gicv5_arch::sysreg::{GcieLegacy, PpiSet};
use gicv5_arch::values::{BitsMinusOne, Domain, L2SizeSet, Levels, PaRange, PriBits};
use gicv5_arch::{Iaffid, Ppi, Spi};
use gicv5_hal::IrsIndex;

use arbitrary_int::traits::Integer;
use arbitrary_int::{u3, u4, u5, u6, u12, u25};

use crate::words::cpu::CpuConfig;

pub use super::memory_config::{Eagerness, MemoryConfig, MemoryConfigError, Placement};
pub use crate::words::switches::*;

/// An IRS, as its ID registers describe it, and the PEs attached to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IrsConfig {
    /// IRS_IDR0.
    pub idr0: IRS_IDR0,
    /// IRS_IDR1. PE_CNT is the number of `pes`.
    pub idr1: IRS_IDR1,
    /// IRS_IDR2.
    pub idr2: IRS_IDR2,
    /// IRS_IDR3.
    pub idr3: IRS_IDR3,
    /// IRS_IDR4.
    pub idr4: IRS_IDR4,
    /// IRS_IDR5: SPIs in the system.
    pub idr5: IRS_IDR5,
    /// IRS_IDR6: SPIs of this IRS.
    pub idr6: IRS_IDR6,
    /// IRS_IDR7: the first of them.
    pub idr7: IRS_IDR7,
    /// IRS_IIDR.
    pub iidr: IRS_IIDR,
    /// IRS_AIDR.
    pub aidr: IRS_AIDR,
    /// The PEs attached to this IRS.
    pub pes: Vec<CpuConfig>,
}

impl IrsConfig {
    /// The size of a VM descriptor, if it wants one (VM-10).
    pub(crate) fn vmd_bytes(&self) -> Option<u64> {
        self.idr3.vmd().then(|| 1 << u32::from(self.idr3.vmd_sz()).min(12))
    }

    /// The size of a VPE descriptor.
    pub(crate) fn vped_bytes(&self) -> u64 {
        1 << u32::from(self.idr4.vped_sz()).min(12)
    }

    /// An IRS of the Non-secure domain with everything that the physical side of the model can do: LPIs with 24 ID bits,
    /// linear and two-level ISTs of every size without metadata, a SETLPI frame, software errors, five priority bits, 48
    /// address bits. It has these PEs, and all `spis` SPIs of the system.
    #[must_use]
    pub fn new(pes: Vec<CpuConfig>, spis: u32) -> IrsConfig {
        let spis = u25::try_new(spis).unwrap_or(u25::MAX);
        IrsConfig {
            idr0: IRS_IDR0::ZERO
                .with_int_dom(Domain::NonSecure)
                .with_pa_range(PaRange::Bits48)
                .with_setlpi(true)
                .with_swe(true),
            idr1: IRS_IDR1::ZERO
                .with_pe_cnt(pes.len().try_into().unwrap_or(u16::MAX))
                .with_iaffid_bits(BitsMinusOne::new_with_raw_value(u4::new(15)))
                .with_pri_bits(PriBits::Five),
            idr2: IRS_IDR2::ZERO
                .with_id_bits(u5::new(24))
                .with_lpi(true)
                .with_ist_levels(Levels::TwoLevel)
                .with_ist_l2sz(L2SizeSet::new_with_raw_value(u3::new(0b111))),
            idr3: IRS_IDR3::ZERO,
            idr4: IRS_IDR4::ZERO,
            idr5: IRS_IDR5::ZERO.with_spi_range(spis),
            idr6: IRS_IDR6::ZERO.with_spi_irs_range(spis),
            idr7: IRS_IDR7::ZERO,
            iidr: IRS_IIDR::ZERO.with_implementer(u12::new(0x7f)),
            aidr: IRS_AIDR::ZERO.with_component(Component::Irs),
            pes,
        }
    }

    /// The same with the virtual side: 16 bits of VM ID, VM tables linear or two-level, no VM descriptor, 16 bits of VPE ID,
    /// VPE descriptors of 128 bytes.
    #[must_use]
    pub fn with_virtualisation(mut self) -> IrsConfig {
        self.idr0 = self.idr0.with_virt(true);
        self.idr3 = IRS_IDR3::ZERO.with_vm_id_bits(u5::new(16)).with_vmt_levels(Levels::TwoLevel);
        self.idr4 =
            IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::new_with_raw_value(u4::new(15))).with_vped_sz(u6::new(7));
        self
    }

    /// The first SPI of this IRS, and how many it has.
    #[must_use]
    pub fn spis(&self) -> (u32, u32) {
        (self.idr7.spi_base().id(), self.idr6.spi_irs_range().value())
    }

    /// True if this IRS owns the SPI (SPI-1).
    #[must_use]
    pub fn owns(&self, spi: Spi) -> bool {
        let (first, count) = self.spis();
        spi.id().checked_sub(first).is_some_and(|n| n < count)
    }
}

/// A machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineConfig {
    /// The IRSs; [`IrsIndex`] counts them from 0. PEs are counted through all of them.
    pub irses: Vec<IrsConfig>,
    /// The memory.
    pub memory: MemoryConfig,
    /// The open choices.
    pub switches: Switches,
    /// Whatever is random comes from this.
    pub seed: u64,
    /// Ticks that a register command takes.
    pub command_latency: u64,
    /// Ticks after which the effect of a GIC instruction is complete without a GSB, with [`Effects::Late`].
    pub effect_latency: u64,
    /// Ticks that a read of a status register takes.
    pub poll_ticks: u64,
}

impl MachineConfig {
    /// A machine with one IRS ([`IrsConfig::new`]), this many PEs with IAFFIDs from 0, and this many SPIs from 0.
    #[must_use]
    pub fn new(pes: u16, spis: u32) -> MachineConfig {
        let pes = (0..pes).map(|n| CpuConfig::new(Iaffid::new(n))).collect();
        MachineConfig {
            irses: vec![IrsConfig::new(pes, spis)],
            memory: MemoryConfig::default(),
            switches: Switches::default(),
            seed: 0,
            command_latency: 1,
            effect_latency: 16,
            poll_ticks: 1,
        }
    }

    /// The same with the virtual side in every IRS ([`IrsConfig::with_virtualisation`]).
    #[must_use]
    pub fn with_virtualisation(mut self) -> MachineConfig {
        self.irses = self.irses.into_iter().map(IrsConfig::with_virtualisation).collect();
        self
    }

    /// Adds an IRS that is as the first, but for its IRSID, one PE of its own with the next IAFFID, and no SPIs (SPI-1).
    /// Returns its index, at most 65 535; nothing is added to a machine without an IRS, which [`check`](Self::check) refuses.
    pub fn add_irs(&mut self) -> IrsIndex {
        let index = u16::try_from(self.irses.len()).unwrap_or(u16::MAX);
        let highest = self.irses.iter().flat_map(|irs| &irs.pes).map(|pe| pe.iaffid).max();
        let iaffid = Iaffid::new(highest.map_or(0, |highest| highest.raw_value().saturating_add(1)));
        if let Some(mut irs) = self.irses.first().cloned() {
            irs.idr0 = irs.idr0.with_irsid(index);
            irs.idr1 = irs.idr1.with_pe_cnt(1);
            irs.idr6 = IRS_IDR6::ZERO;
            irs.pes.truncate(1);
            for pe in &mut irs.pes {
                pe.iaffid = iaffid;
            }
            self.irses.push(irs);
        }
        IrsIndex(index)
    }

    /// Whether the hardware has a virtual side, and so the PEs have EL2.
    pub(crate) fn is_virtual(&self) -> bool {
        self.irses.first().is_some_and(|irs| irs.idr0.virt())
    }

    /// Checks that hardware like this could exist and that the model can be it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the register and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        let first = self.irses.first().ok_or(ConfigError::NoIrs)?;
        let mut owned = Vec::new();
        let mut seen = Vec::new();
        for (n, irs) in self.irses.iter().enumerate() {
            check_irs(n, irs)?;
            let wrong = |register, value: u32, reason| ConfigError::Register { irs: n, register, value, reason };
            if irs.idr5 != first.idr5 {
                return Err(wrong("IRS_IDR5", irs.idr5.raw_value(), "all IRSs report the same number of SPIs (SPI-1)"));
            }
            // One IST serves the whole domain, so all must be able to walk it (GEN-13).
            if irs.idr2 != first.idr2 {
                return Err(wrong("IRS_IDR2", irs.idr2.raw_value(), "all IRSs of a domain share one LPI IST (GEN-13)"));
            }
            // So do a VM table and what is behind it.
            let shared = [
                ("IRS_IDR0", irs.idr0.raw_value(), irs.idr0.virt() == first.idr0.virt()),
                ("IRS_IDR3", irs.idr3.raw_value(), irs.idr3 == first.idr3),
                ("IRS_IDR4", irs.idr4.raw_value(), irs.idr4 == first.idr4),
            ];
            if let Some((register, value, _)) = shared.into_iter().find(|(.., same)| !same) {
                return Err(wrong(register, value, "all IRSs of a domain share one VM table (GEN-13)"));
            }
            let (base, count) = irs.spis();
            if base.saturating_add(count) > irs.idr5.spi_range().value() {
                return Err(wrong("IRS_IDR6", irs.idr6.raw_value(), "SPIs beyond those of the system (SPI-1)"));
            }
            owned.push((base, count));
            for cpu in &irs.pes {
                if seen.contains(&cpu.iaffid) {
                    return Err(ConfigError::Pe { iaffid: cpu.iaffid, reason: "two PEs have this affinity ID" });
                }
                seen.push(cpu.iaffid);
                check_pe(irs, cpu)?;
            }
        }
        if seen.is_empty() {
            return Err(ConfigError::NoPe);
        }
        owned.retain(|(_, count)| *count != 0);
        owned.sort_unstable();
        let overlap = owned.windows(2).find(|pair| match pair {
            [(base, count), (next, _)] => base + count > *next,
            _ => false,
        });
        if let Some([_, (spi, _)]) = overlap {
            return Err(ConfigError::SharedSpi { spi: *spi });
        }
        Ok(())
    }
}

fn check_irs(n: usize, irs: &IrsConfig) -> Result<(), ConfigError> {
    let wrong = |register, value: u32, reason| Err(ConfigError::Register { irs: n, register, value, reason });
    let idr0 = irs.idr0;
    let unsupported = [
        (idr0.int_dom() != Domain::NonSecure, "the model has the Non-secure domain only"),
        (idr0.virt_one_n(), "the model has no virtual 1-of-N routing"),
        (idr0.one_n(), "the model has no 1-of-N routing"),
        (idr0.mec(), "the model has no memory encryption contexts"),
        (idr0.mpam() || idr0.mpam2(), "the model has no MPAM"),
        (idr0.pa_range().is_err(), "PA_RANGE is reserved"),
    ];
    if let Some((_, reason)) = unsupported.iter().find(|(wrong, _)| *wrong) {
        return wrong("IRS_IDR0", idr0.raw_value(), reason);
    }
    if usize::from(irs.idr1.pe_cnt()) != irs.pes.len() {
        return wrong("IRS_IDR1", irs.idr1.raw_value(), "PE_CNT is not the number of attached PEs");
    }
    if irs.idr1.pri_bits().is_err() {
        return wrong("IRS_IDR1", irs.idr1.raw_value(), "PRI_BITS is reserved (GEN-11)");
    }
    check_virtual(n, irs)?;
    if irs.aidr.component() != Ok(Component::Irs) {
        return wrong("IRS_AIDR", irs.aidr.raw_value(), "Component is not IRS");
    }
    IstLimits::from_idr2(irs.idr2).map_err(|source| ConfigError::Geometry { irs: n, register: "IRS_IDR2", source })?;
    Ok(())
}

/// IRS_IDR3 and IRS_IDR4, which are zero without VIRT (GEN-7) and within the architecture's limits with it (GEN-10).
fn check_virtual(n: usize, irs: &IrsConfig) -> Result<(), ConfigError> {
    let (idr3, idr4) = (irs.idr3.raw_value(), irs.idr4.raw_value());
    let register = |register, value, reason| Err(ConfigError::Register { irs: n, register, value, reason });
    if !irs.idr0.virt() {
        return match (idr3, idr4) {
            (0, 0) => Ok(()),
            (0, _) => register("IRS_IDR4", idr4, "is zero without VIRT (GEN-7)"),
            _ => register("IRS_IDR3", idr3, "is zero without VIRT (GEN-7)"),
        };
    }
    // The doorbells are physical LPIs (LPI-3).
    if !irs.idr2.lpi() {
        return register("IRS_IDR2", irs.idr2.raw_value(), "VIRT needs LPIs for doorbells (LPI-3)");
    }
    let wrong = |register| move |source| ConfigError::Geometry { irs: n, register, source };
    VmTableLimits::from_idr3(irs.idr3).map_err(wrong("IRS_IDR3"))?;
    VpeTableLimits::from_idr4(irs.idr4).map_err(wrong("IRS_IDR4"))?;
    Ok(())
}

fn check_pe(irs: &IrsConfig, cpu: &CpuConfig) -> Result<(), ConfigError> {
    let wrong = |reason| Err(ConfigError::Pe { iaffid: cpu.iaffid, reason });
    if u32::from(cpu.iaffid.raw_value()) >> irs.idr1.iaffid_bits().count() != 0 {
        return wrong("the affinity ID has more bits than IRS_IDR1.IAFFID_BITS");
    }
    if !cpu.ppis[0].contains(Ppi::SW_PPI) && cpu.edge_ppis[0].contains(Ppi::SW_PPI) {
        return wrong("PPI 3 is not implemented, so it has no handling mode (PPI-5)");
    }
    if cpu.ppis[0].contains(Ppi::SW_PPI) && !cpu.edge_ppis[0].contains(Ppi::SW_PPI) {
        return wrong("PPI 3 is edge (PPI-3)");
    }
    if cpu.ppis[0].contains(Ppi::GICMNT) != (cpu.legacy == GcieLegacy::Present) {
        return wrong("PPI 25 is there if and only if the legacy feature is (PPI-26)");
    }
    if cpu.legacy == GcieLegacy::Present && !irs.idr0.virt() {
        return wrong("there is no legacy virtual CPU interface without VIRT (GEN-8)");
    }
    let may_be_edge = PpiSet::EMPTY.with(Ppi::SW_PPI).with(Ppi::CTIIRQ).raw_value();
    if cpu.edge_ppis[0].raw_value() & !may_be_edge != 0 {
        return wrong("an architected PPI other than 3 and 24 is edge (PPI-3)");
    }
    Ok(())
}

/// A machine that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no IRS.
    #[error("a machine needs an IRS")]
    NoIrs,
    /// There is no PE.
    #[error("a machine needs a PE")]
    NoPe,
    /// The memory is impossible.
    #[error(transparent)]
    Memory(#[from] MemoryConfigError),
    /// An ID register has a value that no implementation reports, or that the model cannot be.
    #[error("IRS {irs}: {register} {value:#010x}: {reason}")]
    Register {
        /// The index of the IRS.
        irs: usize,
        /// The register.
        register: &'static str,
        /// Its value.
        value: u32,
        /// Why not.
        reason: &'static str,
    },
    /// An ID register describes tables that cannot be.
    #[error("IRS {irs}: {register}: {source}")]
    Geometry {
        /// The index of the IRS.
        irs: usize,
        /// The register.
        register: &'static str,
        /// Why not.
        source: GeometryError,
    },
    /// A PE is impossible.
    #[error("PE with {iaffid}: {reason}")]
    Pe {
        /// Its affinity ID.
        iaffid: Iaffid,
        /// Why not.
        reason: &'static str,
    },
    /// Two IRSs own the same SPI (SPI-1).
    #[error("SPI {spi} belongs to two IRSs (SPI-1)")]
    SharedSpi {
        /// The SPI.
        spi: u32,
    },
}
