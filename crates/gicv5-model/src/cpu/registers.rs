//! Which register a name means: what a guest calls ICC_CR0_EL1 is ICV_CR0_EL1.

use std::sync::LazyLock;

use crate::words::cpu::Level;
use arbitrary_int::u4;
use gicv5_arch::PpiBank;
use gicv5_arch::sysreg::{Reached, SysReg};

/// Which of the two interfaces of a PE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Physical,
    Virtual,
}

/// Through which registers the PPIs are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View {
    /// `ICC_PPI_*`, the physical PPIs.
    Physical,
    /// `ICH_PPI_*`, the virtual PPIs as the hypervisor sees them.
    Hypervisor,
    /// `ICV_PPI_*`, the virtual PPIs as the guest sees them (PPI-27).
    Guest,
}

impl View {
    /// The interface it shows.
    pub(crate) fn side(self) -> Side {
        match self {
            View::Physical => Side::Physical,
            View::Hypervisor | View::Guest => Side::Virtual,
        }
    }
}

/// A register of a PE. An index counts the registers of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Register {
    Apr(Side),
    Cr0(Side),
    Pcr(Side),
    Hppir(Side),
    Ppi(View, PpiRow, usize),
    /// One register for host and guest (INS-14).
    Icsr,
    /// There is no virtual form of these three: a guest whose access does not trap sees the PE's own.
    Iaffidr,
    Idr0,
    Pfr2,
    Vmcr,
    Vctlr,
    Contextr,
    Hfgrtr,
    Hfgwtr,
    Hfgitr,
    Dvir(usize),
    Hvir(usize),
    /// Of GICv3, and there with EL2 (GEN-24).
    Sre1,
    Sre2,
}

/// The rows of registers that the PPIs share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PpiRow {
    HandlingMode,
    Enable,
    ClearActive,
    SetActive,
    ClearPending,
    SetPending,
    Priority,
    /// ICH_PPI_ACTIVER: writes set and clear.
    Active,
    /// ICH_PPI_PENDR: writes set and clear, whatever the handling mode.
    Pending,
}

/// What each name means from the host and from a guest, by the number of the name: every access asks.
static NAMED: LazyLock<[Vec<Option<Register>>; 2]> = LazyLock::new(|| {
    [Level::Host, Level::Guest].map(|level| SysReg::ALL.iter().map(|name| Register::find(level, *name)).collect())
});

impl Register {
    /// The register that a name means at a level; `None` if no such register can be reached from there.
    #[inline]
    pub(crate) fn named(level: Level, name: SysReg) -> Option<Register> {
        let [host, guest] = &*NAMED;
        let table = match level {
            Level::Host | Level::Kernel => host,
            Level::Guest => guest,
        };
        table.get(name as usize).copied().flatten()
    }

    /// The same, found by looking.
    fn find(level: Level, name: SysReg) -> Option<Register> {
        let (name, side, view) = match (level, name.info().reached) {
            (Level::Guest, Reached::Via(twin)) => (twin, Side::Virtual, View::Guest),
            (Level::Guest, _) => (name, Side::Virtual, View::Guest),
            // The name leads there only from a guest.
            (Level::Host | Level::Kernel, Reached::Via(_)) => return None,
            (Level::Host | Level::Kernel, _) => (name, Side::Physical, View::Physical),
        };
        Some(match name {
            SysReg::ICC_APR_EL1 => Register::Apr(side),
            SysReg::ICC_CR0_EL1 => Register::Cr0(side),
            SysReg::ICC_PCR_EL1 => Register::Pcr(side),
            SysReg::ICC_HPPIR_EL1 => Register::Hppir(side),
            SysReg::ICC_ICSR_EL1 => Register::Icsr,
            SysReg::ICC_IAFFIDR_EL1 => Register::Iaffidr,
            SysReg::ICC_IDR0_EL1 => Register::Idr0,
            SysReg::ID_AA64PFR2_EL1 => Register::Pfr2,
            SysReg::ICC_SRE_EL1 => Register::Sre1,
            _ => match PpiRow::of(name) {
                Some((row, n)) => Register::Ppi(view, row, n),
                None if level == Level::Host => return Register::of_el2(name),
                None => return None,
            },
        })
    }

    /// True if the register exists with EL2 only: it shows the virtual side, or is one of GICv3's that EL2 brings along.
    pub(crate) fn belongs_to_el2(self) -> bool {
        match self {
            Register::Apr(side) | Register::Cr0(side) | Register::Pcr(side) | Register::Hppir(side) => {
                side == Side::Virtual
            }
            Register::Ppi(view, ..) => view != View::Physical,
            Register::Icsr | Register::Iaffidr | Register::Idr0 | Register::Pfr2 => false,
            Register::Vmcr
            | Register::Vctlr
            | Register::Contextr
            | Register::Hfgrtr
            | Register::Hfgwtr
            | Register::Hfgitr
            | Register::Dvir(_)
            | Register::Hvir(_)
            | Register::Sre1
            | Register::Sre2 => true,
        }
    }

    /// The registers that only EL2 has.
    fn of_el2(name: SysReg) -> Option<Register> {
        Some(match name {
            SysReg::ICH_APR_EL2 => Register::Apr(Side::Virtual),
            SysReg::ICH_HPPIR_EL2 => Register::Hppir(Side::Virtual),
            SysReg::ICH_VMCR_EL2 => Register::Vmcr,
            SysReg::ICH_VCTLR_EL2 => Register::Vctlr,
            SysReg::ICH_CONTEXTR_EL2 => Register::Contextr,
            SysReg::ICH_HFGRTR_EL2 => Register::Hfgrtr,
            SysReg::ICH_HFGWTR_EL2 => Register::Hfgwtr,
            SysReg::ICH_HFGITR_EL2 => Register::Hfgitr,
            SysReg::ICC_SRE_EL2 => Register::Sre2,
            _ => return Register::of_el2_row(name),
        })
    }

    /// The registers of EL2 that the PPIs share.
    fn of_el2_row(name: SysReg) -> Option<Register> {
        for bank in PpiBank::ALL {
            let n = bank.index();
            let of = |row| Register::Ppi(View::Hypervisor, row, n);
            let rows = [
                (SysReg::ich_ppi_enabler(bank), of(PpiRow::Enable)),
                (SysReg::ich_ppi_activer(bank), of(PpiRow::Active)),
                (SysReg::ich_ppi_pendr(bank), of(PpiRow::Pending)),
                (SysReg::ich_ppi_dvir(bank), Register::Dvir(n)),
                (SysReg::ich_ppi_hvir(bank), Register::Hvir(n)),
            ];
            if let Some((_, register)) = rows.into_iter().find(|(candidate, _)| *candidate == name) {
                return Some(register);
            }
        }
        let n = (0..16).find(|n| SysReg::ich_ppi_priorityr(u4::new(*n)) == name)?;
        Some(Register::Ppi(View::Hypervisor, PpiRow::Priority, n.into()))
    }
}

impl PpiRow {
    /// The row that an `ICC_PPI_*` register belongs to, and its index in it.
    fn of(register: SysReg) -> Option<(PpiRow, usize)> {
        for bank in PpiBank::ALL {
            let rows = [
                (SysReg::icc_ppi_hmr(bank), PpiRow::HandlingMode),
                (SysReg::icc_ppi_enabler(bank), PpiRow::Enable),
                (SysReg::icc_ppi_cactiver(bank), PpiRow::ClearActive),
                (SysReg::icc_ppi_sactiver(bank), PpiRow::SetActive),
                (SysReg::icc_ppi_cpendr(bank), PpiRow::ClearPending),
                (SysReg::icc_ppi_spendr(bank), PpiRow::SetPending),
            ];
            if let Some((_, row)) = rows.into_iter().find(|(candidate, _)| *candidate == register) {
                return Some((row, bank.index()));
            }
        }
        (0..16).find(|n| SysReg::icc_ppi_priorityr(u4::new(*n)) == register).map(|n| (PpiRow::Priority, usize::from(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_number() {
        for (n, name) in SysReg::ALL.iter().enumerate() {
            assert_eq!(*name as usize, n, "{name}");
            for level in [Level::Host, Level::Guest] {
                assert_eq!(Register::named(level, *name), Register::find(level, *name), "{name}");
            }
        }
    }
}
