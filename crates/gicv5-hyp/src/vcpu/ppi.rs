//! Virtual PPIs: which there are, and sets of them.

use arbitrary_int::u4;
use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, PpiSet, SysReg};
use gicv5_arch::{Ppi, PpiBank};
use gicv5_hal::{Pe, PeOps};

use crate::probe::ProbeError;

/// A set of PPIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PpiMask([PpiSet; 2]);

impl PpiMask {
    /// No PPI.
    pub const EMPTY: PpiMask = PpiMask([PpiSet::EMPTY; 2]);

    /// The set with another PPI.
    #[must_use]
    pub const fn with(self, ppi: Ppi) -> PpiMask {
        let PpiMask([architected, implementation_defined]) = self;
        match ppi.bank() {
            PpiBank::Architected => PpiMask([architected.with(ppi), implementation_defined]),
            PpiBank::ImplementationDefined => PpiMask([architected, implementation_defined.with(ppi)]),
        }
    }

    /// True if the PPI is in the set.
    #[must_use]
    pub const fn contains(self, ppi: Ppi) -> bool {
        let PpiMask([architected, implementation_defined]) = self;
        match ppi.bank() {
            PpiBank::Architected => architected.contains(ppi),
            PpiBank::ImplementationDefined => implementation_defined.contains(ppi),
        }
    }

    /// The PPIs that are in both sets.
    #[must_use]
    pub const fn and(self, other: PpiMask) -> PpiMask {
        let (PpiMask([a, b]), PpiMask([c, d])) = (self, other);
        PpiMask([
            PpiSet::new_with_raw_value(a.raw_value() & c.raw_value()),
            PpiSet::new_with_raw_value(b.raw_value() & d.raw_value()),
        ])
    }

    /// The priority registers that have some of these PPIs, ascending: register n is for PPIs 8n to 8n+7 (PPI-1).
    pub(crate) fn priority_registers(self) -> impl Iterator<Item = u4> {
        let PpiMask([architected, implementation_defined]) = self;
        let mut left = u128::from(implementation_defined.raw_value()) << 64 | u128::from(architected.raw_value());
        core::iter::from_fn(move || {
            let register = u4::try_new((left.trailing_zeros() / 8) as u8).ok()?;
            left &= !(0xff << (register.value() * 8));
            Some(register)
        })
    }

    /// One bit for each PPI of a bank, as the registers of that bank have them.
    pub(crate) const fn bits(self, bank: PpiBank) -> u64 {
        let PpiMask([architected, implementation_defined]) = self;
        match bank {
            PpiBank::Architected => architected.raw_value(),
            PpiBank::ImplementationDefined => implementation_defined.raw_value(),
        }
    }
}

pub(crate) const SOFTWARE_PPI: PpiMask = PpiMask::EMPTY.with(Ppi::SW_PPI);

/// The virtual PPIs of the PEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct VirtualPpis {
    /// Those that exist.
    pub(crate) implemented: PpiMask,
    /// Those that are edge-triggered (PPI-3); the others are level-sensitive.
    pub(crate) edge: PpiMask,
}

impl VirtualPpis {
    /// The banks that have PPIs. The registers of the others are zero and ignore writes (PPI-5).
    pub(crate) fn banks(&self) -> impl Iterator<Item = PpiBank> {
        PpiBank::ALL.into_iter().filter(|bank| self.implemented.bits(*bank) != 0)
    }

    /// Asks the PE the caller runs on (PPI-25), and leaves it as it was. The PEs of a system are taken to be alike.
    ///
    /// No VPE may be resident there: its guest would see PPIs enabled that it has not enabled.
    pub(crate) fn probe<P: PeOps + ?Sized>(pe: &Pe<'_, P>) -> Result<VirtualPpis, ProbeError> {
        let contextr: ICH_CONTEXTR_EL2 = pe.read();
        if contextr.v() {
            let (register, value) = (SysReg::ICH_CONTEXTR_EL2, contextr.raw_value());
            return Err(ProbeError::Pe {
                register,
                value,
                reason: "a VPE is resident on the PE that is asked for its PPIs",
            });
        }
        let read = |register: fn(PpiBank) -> SysReg| PpiBank::ALL.map(|bank| pe.read_raw(register(bank)));
        let write = |register: fn(PpiBank) -> SysReg, values: [u64; 2]| {
            for (bank, value) in PpiBank::ALL.into_iter().zip(values) {
                pe.write_raw(register(bank), value);
            }
        };
        let (injected, enabled) = (read(SysReg::ich_ppi_dvir), read(SysReg::ich_ppi_enabler));
        write(SysReg::ich_ppi_dvir, [0; 2]);
        write(SysReg::ich_ppi_enabler, [u64::MAX; 2]);
        pe.isb();
        let implemented = PpiMask(read(SysReg::ich_ppi_enabler).map(PpiSet::new_with_raw_value));
        let level = read(SysReg::icc_ppi_hmr);
        write(SysReg::ich_ppi_enabler, enabled);
        write(SysReg::ich_ppi_dvir, injected);
        pe.isb();
        let edge = PpiMask(level.map(|level| PpiSet::new_with_raw_value(!level)));
        Ok(VirtualPpis { implemented, edge: edge.and(implemented) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_priority_registers_of_its_ppis_each_once_and_ascending() {
        // PPI-1.
        let registers_are = |ppis: &mut dyn Iterator<Item = u32>, registers: &[u8]| {
            let set = ppis.fold(PpiMask::EMPTY, |set, ppi| set.with(Ppi::new(ppi).unwrap()));
            set.priority_registers().map(u4::value).eq(registers.iter().copied())
        };
        assert!(registers_are(&mut [].into_iter(), &[]));
        assert!(registers_are(&mut [7, 0].into_iter(), &[0]));
        assert!(registers_are(&mut [127, 8, 63, 64, 56].into_iter(), &[1, 7, 8, 15]));
        for ppi in 0..128 {
            assert!(registers_are(&mut [ppi].into_iter(), &[(ppi / 8) as u8]), "PPI {ppi}");
        }
        assert!(registers_are(&mut (0..128), &core::array::from_fn::<u8, 16, _>(|n| n as u8)));
    }
}
