//! The state that a test must leave as it found it.

use arbitrary_int::u4;
use gicv5_arch::PpiBank;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::SysReg;
use gicv5_hal::{IrsExt, Pe, PeOps};

use crate::bench::Bench;
use crate::features::IRS;

/// Registers of a PE that hold state: enable, mask, active priorities, and all of the PPIs but their pending bits, which
/// are wires for the most part. Those bits of ICC_CR0_EL1 that say something about the link to the IRS are no state.
const PE_REGISTERS: usize = 3 + 2 * 2 + 16 + EL2_REGISTERS;

/// The same of a PE's virtual CPU interface, at EL2. ICH_CONTEXTR_EL2 is reduced to V.
const EL2_REGISTERS: usize = 7 + 2 * 4 + 16;

/// The registers of an IRS that hold state. IRS_CR0.IDLE is left out of the comparison.
const IRS_REGISTERS: [IrsReg; 6] = [
    IrsReg::IRS_CR0,
    IrsReg::IRS_CR1,
    IrsReg::IRS_IST_BASER,
    IrsReg::IRS_IST_CFGR,
    IrsReg::IRS_VMT_BASER,
    IrsReg::IRS_VMT_CFGR,
];

/// The registers of a PE that hold state, in order; those of EL2 last.
pub(crate) fn pe_registers(el2: bool) -> impl Iterator<Item = SysReg> {
    all_registers().take(if el2 { PE_REGISTERS } else { PE_REGISTERS - EL2_REGISTERS })
}

fn all_registers() -> impl Iterator<Item = SysReg> {
    let fixed = [SysReg::ICC_CR0_EL1, SysReg::ICC_PCR_EL1, SysReg::ICC_APR_EL1];
    let banks =
        PpiBank::ALL.into_iter().flat_map(|bank| [SysReg::icc_ppi_enabler(bank), SysReg::icc_ppi_sactiver(bank)]);
    let el1 = fixed.into_iter().chain(banks).chain((0..16).map(|n| SysReg::icc_ppi_priorityr(u4::new(n))));
    let fixed = [
        SysReg::ICH_CONTEXTR_EL2,
        SysReg::ICH_VCTLR_EL2,
        SysReg::ICH_VMCR_EL2,
        SysReg::ICH_APR_EL2,
        SysReg::ICH_HFGRTR_EL2,
        SysReg::ICH_HFGWTR_EL2,
        SysReg::ICH_HFGITR_EL2,
    ];
    let banks = PpiBank::ALL.into_iter().flat_map(|bank| {
        [
            SysReg::ich_ppi_enabler(bank),
            SysReg::ich_ppi_activer(bank),
            SysReg::ich_ppi_pendr(bank),
            SysReg::ich_ppi_dvir(bank),
        ]
    });
    let el2 = fixed.into_iter().chain(banks).chain((0..16).map(|n| SysReg::ich_ppi_priorityr(u4::new(n))));
    el1.chain(el2)
}

/// What the registers of a PE hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeState([u64; PE_REGISTERS]);

impl PeState {
    /// Reads them; those of EL2 too if it may.
    pub fn read<P: PeOps + ?Sized>(pe: &Pe<'_, P>, el2: bool) -> PeState {
        let mut values = [0; PE_REGISTERS];
        for (value, register) in values.iter_mut().zip(pe_registers(el2)) {
            *value = pe.read_raw(register) & mask_of(register);
        }
        PeState(values)
    }

    /// Takes them from where they have been read to, by their place in [`pe_registers`].
    pub(crate) fn of(value: impl Fn(usize) -> u64) -> PeState {
        let mut values = [0; PE_REGISTERS];
        for (n, (place, register)) in values.iter_mut().zip(all_registers()).enumerate() {
            *place = value(n) & mask_of(register);
        }
        PeState(values)
    }

    /// The value of a register that is among them.
    #[must_use]
    pub fn get(&self, register: SysReg) -> Option<u64> {
        all_registers().zip(self.0).find(|(candidate, _)| *candidate == register).map(|(_, value)| value)
    }

    /// The first register that differs, and both values.
    #[must_use]
    pub fn difference(&self, after: &PeState) -> Option<(SysReg, u64, u64)> {
        let pairs = self.0.into_iter().zip(after.0);
        all_registers().zip(pairs).find(|(_, (before, after))| before != after).map(|(name, (a, b))| (name, a, b))
    }
}

fn mask_of(register: SysReg) -> u64 {
    match register {
        SysReg::ICC_CR0_EL1 => 1,
        SysReg::ICH_CONTEXTR_EL2 => 1 << 63,
        _ => u64::MAX,
    }
}

/// What the registers of an IRS hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrsState([u64; IRS_REGISTERS.len()]);

impl IrsState {
    /// Reads what is configured there: all of them but IRS_CR0. There is hardware on which reading that one changes
    /// something, and the first look at a machine must not.
    pub fn read_configuration<B: Bench>(bench: &B) -> IrsState {
        IrsState(IRS_REGISTERS.map(|register| match register {
            IrsReg::IRS_CR0 => 0,
            _ => bench.irs().read_raw(IRS, register),
        }))
    }

    /// Reads them.
    pub fn read<B: Bench>(bench: &B) -> IrsState {
        IrsState(IRS_REGISTERS.map(|register| {
            let value = bench.irs().read_raw(IRS, register);
            match register {
                IrsReg::IRS_CR0 => value & 1,
                // The address of a table that is not valid means nothing, and it cannot be told what it was before reset.
                IrsReg::IRS_IST_BASER | IrsReg::IRS_VMT_BASER => value & 1,
                _ => value,
            }
        }))
    }

    /// The value of a register that is among them.
    #[must_use]
    pub fn get(&self, register: IrsReg) -> Option<u64> {
        IRS_REGISTERS.into_iter().zip(self.0).find(|(candidate, _)| *candidate == register).map(|(_, value)| value)
    }

    /// The first register that differs, and both values.
    #[must_use]
    pub fn difference(&self, after: &IrsState) -> Option<(IrsReg, u64, u64)> {
        let pairs = self.0.into_iter().zip(after.0);
        IRS_REGISTERS.into_iter().zip(pairs).find(|(_, (before, after))| before != after).map(|(n, (a, b))| (n, a, b))
    }
}
