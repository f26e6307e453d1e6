//! The GIC instructions and their operands.
//!
//! All are system instructions of op0 1, CRn 12. op1 picks the domain an instruction acts on (GEN-6): the current one
//! (`CD`), the virtual one (`VD`, from EL2) or the one that SCR_EL3 selects (`LD`, from EL3). None of them faults on a bad
//! operand: what cannot be done is ignored (INS-11).
//!
//! An instruction's effect is complete only after a GSB (SYN-1).

use core::fmt;

use arbitrary_int::u24;

use crate::id::reports_interrupt;
use crate::layout::{FieldInfo, layout};
use crate::sysreg::SysRegEncoding;
use crate::values::{HandlingMode, RoutingMode};
use crate::{Iaffid, IntId, IntType, IrsIntId, IrsIntType, Priority, VmId};

layout! {
    /// Operand that names an LPI or SPI and nothing else: enable, disable, request configuration.
    IntIdOperand: u64 {
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

layout! {
    /// Operand of deactivate, which may name a PPI too (INS-7). Other bits are ignored, so that the result of an
    /// acknowledge can be passed on as it is (INS-5).
    DeactivateOperand: u64 {
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

layout! {
    /// Operand of set priority.
    PriorityOperand: u64 {
        /// The priority to give it.
        [39:35] PRIORITY priority: Priority;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

layout! {
    /// Operand of set target.
    AffinityOperand: u64 {
        /// The PE to route it to; in the virtual domain the VPE (VPE-19).
        [47:32] IAFFID iaffid: Iaffid;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
        /// The routing mode; reserved unless 1-of-N routing is implemented (RTE-3).
        [28] IRM irm: RoutingMode;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

layout! {
    /// Operand of set pending in the current or the logical domain. Not that of `GIC VDPEND` (INS-16).
    PendingOperand: u64 {
        /// 1 sets Pending, 0 clears it (INS-9).
        [32] PENDING pending: bool;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

layout! {
    /// Operand of `GIC VDPEND`, which names a VM and needs no residency (INS-15).
    VmPendingOperand: u64 {
        /// 1 sets Pending, 0 clears it (INS-16).
        [63] PENDING pending: bool;
        /// The VM, resident or not.
        [47:32] VM vm: VmId;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

layout! {
    /// Operand of set handling mode.
    HandlingModeOperand: u64 {
        /// The handling mode to give it.
        [32] HM hm: HandlingMode;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IrsIntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

layout! {
    /// Result of an acknowledge, `GICR CDIA` and `GICR CDNMIA` (INS-1, INS-2).
    AcknowledgeResult: u64 {
        /// Whether an interrupt was acknowledged.
        [32] VALID valid: bool;
        /// The type of the interrupt.
        [31:29] TYPE int_type: Option<IntType>;
        /// The ID of the interrupt, within its type.
        [23:0] ID id: u24;
    }
}

/// Gives an operand that names an LPI or SPI its constructor and its reader.
macro_rules! names_irs_interrupt {
    ($($name:ident),*) => {$(
        impl $name {
            /// The operand that names this interrupt; every other field is zero.
            #[must_use]
            #[inline]
            pub const fn naming(int_id: IrsIntId) -> $name {
                $name::ZERO.with_int_type(int_id.int_type()).with_id(int_id.id_field())
            }

            /// The interrupt it names; `None` if the type is reserved or PPI, which makes the instruction ignore it
            /// (GEN-1, INS-8).
            #[must_use]
            #[inline]
            pub const fn int_id(self) -> Option<IrsIntId> {
                match self.int_type() {
                    Ok(int_type) => Some(IrsIntId::from_parts(int_type, self.id())),
                    Err(_) => None,
                }
            }
        }
    )*};
}

names_irs_interrupt!(
    IntIdOperand,
    PriorityOperand,
    AffinityOperand,
    PendingOperand,
    VmPendingOperand,
    HandlingModeOperand
);

impl DeactivateOperand {
    /// The operand that names this interrupt.
    #[must_use]
    #[inline]
    pub const fn naming(int_id: IntId) -> DeactivateOperand {
        DeactivateOperand::ZERO.with_int_type(int_id.int_type()).with_id(int_id.id_field())
    }

    /// The interrupt it names; `None` if there is no such interrupt, which makes the instruction ignore it.
    #[must_use]
    #[inline]
    pub const fn int_id(self) -> Option<IntId> {
        match self.int_type() {
            Ok(int_type) => IntId::from_parts(int_type, self.id()),
            Err(_) => None,
        }
    }
}

reports_interrupt!(AcknowledgeResult: valid with_valid);

/// What an instruction does with its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Takes an operand in Xt.
    Operand,
    /// Takes no operand; Rt is 31.
    NoOperand,
    /// Returns a result in Xt (SYSL).
    Result,
}

/// The lowest exception level an instruction can be used from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MinEl {
    /// EL1.
    EL1,
    /// EL2: at EL1 it is UNDEFINED, or traps to EL2 under nested virtualisation (GEN-6).
    EL2,
    /// EL3.
    EL3,
}

/// A GIC instruction, as the table of all of them describes it.
#[derive(Clone, Copy, Debug)]
pub struct GicInsnInfo {
    /// The name in the specification, with its mnemonic: `GIC CDEN`, `GICR CDIA`, `GSB SYS`.
    pub name: &'static str,
    /// op1 of the system instruction, 0 to 7.
    pub op1: u8,
    /// CRm of the system instruction, 0 to 15.
    pub crm: u8,
    /// op2 of the system instruction, 0 to 7.
    pub op2: u8,
    /// What it does with its register.
    pub form: Form,
    /// Where it can be used from.
    pub min_el: MinEl,
    /// The layout of the operand or result, from the highest bit down.
    pub fields: &'static [FieldInfo],
}

/// Declares the list of instructions; the layouts of their operands are declared above, once each.
macro_rules! instructions {
    ($($(#[$meta:meta])* $id:ident $name:literal ($op1:literal $crm:literal $op2:literal) $min_el:ident $form:ident $(($layout:ident))?;)*) => {
        /// A GIC instruction.
        // The variants carry the names of the specification.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum GicInsn {
            $(
                $(#[$meta])*
                $(
                    ///
                    #[doc = concat!("Layout of Xt: [`", stringify!($layout), "`].")]
                )?
                $id,
            )*
        }

        impl GicInsn {
            /// Every instruction.
            pub const ALL: &'static [GicInsn] = &[$(GicInsn::$id),*];

            /// Name, encoding, form and operand layout.
            #[must_use]
            pub const fn info(self) -> &'static GicInsnInfo {
                match self {
                    $(GicInsn::$id => &GicInsnInfo {
                        name: $name,
                        op1: $op1,
                        crm: $crm,
                        op2: $op2,
                        form: Form::$form,
                        min_el: MinEl::$min_el,
                        fields: instructions!(@fields $($layout)?),
                    },)*
                }
            }
        }
    };
    (@fields $layout:ident) => { $layout::FIELDS };
    (@fields) => { &[] };
}

instructions! {
    /// Disables an interrupt in the current domain.
    GIC_CDDIS "GIC CDDIS" (0 1 0) EL1 Operand(IntIdOperand);
    /// Enables an interrupt in the current domain.
    GIC_CDEN "GIC CDEN" (0 1 1) EL1 Operand(IntIdOperand);
    /// Sets an interrupt's priority in the current domain.
    GIC_CDPRI "GIC CDPRI" (0 1 2) EL1 Operand(PriorityOperand);
    /// Sets an interrupt's target in the current domain.
    GIC_CDAFF "GIC CDAFF" (0 1 3) EL1 Operand(AffinityOperand);
    /// Sets or clears an interrupt's pending state in the current domain.
    GIC_CDPEND "GIC CDPEND" (0 1 4) EL1 Operand(PendingOperand);
    /// Reads an interrupt's configuration into ICC_ICSR_EL1 in the current domain.
    GIC_CDRCFG "GIC CDRCFG" (0 1 5) EL1 Operand(IntIdOperand);
    /// Deactivates an interrupt in the current domain.
    GIC_CDDI "GIC CDDI" (0 2 0) EL1 Operand(DeactivateOperand);
    /// Sets an interrupt's handling mode in the current domain.
    GIC_CDHM "GIC CDHM" (0 2 1) EL1 Operand(HandlingModeOperand);
    /// Drops the running priority of the current domain. No operand.
    GIC_CDEOI "GIC CDEOI" (0 1 7) EL1 NoOperand;
    /// Acknowledges the highest priority pending interrupt.
    GICR_CDIA "GICR CDIA" (0 3 0) EL1 Result(AcknowledgeResult);
    /// Acknowledges a non-maskable interrupt.
    GICR_CDNMIA "GICR CDNMIA" (0 3 1) EL1 Result(AcknowledgeResult);
    /// Disables an interrupt of the resident VM.
    GIC_VDDIS "GIC VDDIS" (4 1 0) EL2 Operand(IntIdOperand);
    /// Enables an interrupt of the resident VM.
    GIC_VDEN "GIC VDEN" (4 1 1) EL2 Operand(IntIdOperand);
    /// Sets an interrupt's priority of the resident VM.
    GIC_VDPRI "GIC VDPRI" (4 1 2) EL2 Operand(PriorityOperand);
    /// Sets an interrupt's target of the resident VM.
    GIC_VDAFF "GIC VDAFF" (4 1 3) EL2 Operand(AffinityOperand);
    /// Sets or clears an interrupt's pending state of the named VM.
    GIC_VDPEND "GIC VDPEND" (4 1 4) EL2 Operand(VmPendingOperand);
    /// Reads an interrupt's configuration into ICC_ICSR_EL1 of the resident VM.
    GIC_VDRCFG "GIC VDRCFG" (4 1 5) EL2 Operand(IntIdOperand);
    /// Deactivates an interrupt of the resident VM.
    GIC_VDDI "GIC VDDI" (4 2 0) EL2 Operand(DeactivateOperand);
    /// Sets an interrupt's handling mode of the resident VM.
    GIC_VDHM "GIC VDHM" (4 2 1) EL2 Operand(HandlingModeOperand);
    /// Disables an interrupt in the logical domain, from EL3.
    GIC_LDDIS "GIC LDDIS" (6 1 0) EL3 Operand(IntIdOperand);
    /// Enables an interrupt in the logical domain, from EL3.
    GIC_LDEN "GIC LDEN" (6 1 1) EL3 Operand(IntIdOperand);
    /// Sets an interrupt's priority in the logical domain, from EL3.
    GIC_LDPRI "GIC LDPRI" (6 1 2) EL3 Operand(PriorityOperand);
    /// Sets an interrupt's target in the logical domain, from EL3.
    GIC_LDAFF "GIC LDAFF" (6 1 3) EL3 Operand(AffinityOperand);
    /// Sets or clears an interrupt's pending state in the logical domain, from EL3.
    GIC_LDPEND "GIC LDPEND" (6 1 4) EL3 Operand(PendingOperand);
    /// Reads an interrupt's configuration into ICC_ICSR_EL1 in the logical domain, from EL3.
    GIC_LDRCFG "GIC LDRCFG" (6 1 5) EL3 Operand(IntIdOperand);
    /// Deactivates an interrupt in the logical domain, from EL3.
    GIC_LDDI "GIC LDDI" (6 2 0) EL3 Operand(DeactivateOperand);
    /// Sets an interrupt's handling mode in the logical domain, from EL3.
    GIC_LDHM "GIC LDHM" (6 2 1) EL3 Operand(HandlingModeOperand);
    /// Completes the effects of all earlier GIC instructions (SYN-1).
    GSB_SYS "GSB SYS" (0 0 0) EL1 NoOperand;
    /// Completes the effects of earlier acknowledges and of nothing else (SYN-1).
    GSB_ACK "GSB ACK" (0 0 1) EL1 NoOperand;
}

const CRN: u32 = 12;

impl GicInsn {
    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The instruction word with Xt in register `t`, 0 to 31; higher bits are ignored. Instructions without an operand
    /// are encoded with 31 whatever `t` is.
    #[must_use]
    pub const fn word(self, t: u32) -> u32 {
        let info = self.info();
        let (base, t) = match info.form {
            Form::Operand => (0xd508_0000, t & 31),
            Form::NoOperand => (0xd508_0000, 31),
            Form::Result => (0xd528_0000, t & 31),
        };
        base | (info.op1 as u32) << 16 | CRN << 12 | (info.crm as u32) << 8 | (info.op2 as u32) << 5 | t
    }

    /// Its fields, as a trap to EL2 reports them.
    #[must_use]
    pub const fn encoding(self) -> SysRegEncoding {
        let info = self.info();
        SysRegEncoding { op0: 1, op1: info.op1, crn: CRN as u8, crm: info.crm, op2: info.op2 }
    }

    /// The instruction with these fields. They tell all of them apart: no two differ in nothing but whether they read Xt or write it.
    #[must_use]
    pub const fn with_encoding(encoding: SysRegEncoding) -> Option<GicInsn> {
        let mut rest = GicInsn::ALL;
        while let [insn, others @ ..] = rest {
            let own = insn.encoding();
            if own.op0 == encoding.op0
                && own.op1 == encoding.op1
                && own.crn == encoding.crn
                && own.crm == encoding.crm
                && own.op2 == encoding.op2
            {
                return Some(*insn);
            }
            rest = others;
        }
        None
    }

    /// The instruction that this word encodes, and its register.
    ///
    /// `GIC CDEOI` and the GSBs are recognised with any register: an operand is ignored (INS-4).
    #[must_use]
    pub const fn of_word(word: u32) -> Option<(GicInsn, u32)> {
        let mut rest = GicInsn::ALL;
        while let [insn, others @ ..] = rest {
            if insn.word(0) & !31 == word & !31 {
                return Some((*insn, word & 31));
            }
            rest = others;
        }
        None
    }
}

impl fmt::Debug for GicInsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for GicInsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lpi, Ppi, Spi};
    use arbitrary_int::u3;
    use proptest::prelude::*;

    fn irs_int_id() -> impl Strategy<Value = IrsIntId> {
        (any::<bool>(), 0u32..1 << 24).prop_map(|(lpi, id)| match lpi {
            true => Lpi::new(id).unwrap().into(),
            false => Spi::new(id).unwrap().into(),
        })
    }

    fn int_id() -> impl Strategy<Value = IntId> {
        prop_oneof![irs_int_id().prop_map(IntId::from), (0u32..128).prop_map(|id| Ppi::new(id).unwrap().into())]
    }

    proptest! {
        #[test]
        fn an_operand_holds_the_intid_of_the_interrupt_it_names(named in irs_int_id()) {
            let raw = u64::from(IntId::from(named).raw());
            macro_rules! check {
                ($($operand:ident)*) => {$(
                    let operand = $operand::naming(named);
                    prop_assert_eq!(operand.raw_value(), raw, "{}", stringify!($operand));
                    prop_assert_eq!(operand.int_id(), Some(named), "{}", stringify!($operand));
                    // What surrounds the INTID does not change the name.
                    let around = $operand::new_with_raw_value(raw | 0xffff_ffff_0000_0000);
                    prop_assert_eq!(around.int_id(), Some(named), "{}", stringify!($operand));
                )*};
            }
            check!(IntIdOperand PriorityOperand AffinityOperand PendingOperand VmPendingOperand HandlingModeOperand);
        }

        #[test]
        fn what_was_acknowledged_can_be_deactivated_as_it_is(acknowledged in int_id()) {
            let result = AcknowledgeResult::reporting(Some(acknowledged));
            prop_assert!(result.valid());
            prop_assert_eq!(result.int_id(), Some(acknowledged));
            prop_assert_eq!(DeactivateOperand::new_with_raw_value(result.raw_value()).int_id(), Some(acknowledged), "INS-5");
            prop_assert_eq!(DeactivateOperand::naming(acknowledged).int_id(), Some(acknowledged));
            prop_assert_eq!(DeactivateOperand::naming(acknowledged).raw_value(), u64::from(acknowledged.raw()));
            prop_assert_eq!(result.with_valid(false).int_id(), None);
        }
    }

    #[test]
    fn a_reserved_type_or_a_ppi_that_does_not_exist_is_no_interrupt() {
        for int_type in [0_u64, 4, 5, 6, 7] {
            let raw = 1 << 32 | int_type << 29 | 5;
            assert_eq!(IntIdOperand::new_with_raw_value(raw).int_id(), None, "type {int_type} (GEN-1)");
            assert_eq!(DeactivateOperand::new_with_raw_value(raw).int_id(), None, "type {int_type} (GEN-1)");
            assert_eq!(AcknowledgeResult::new_with_raw_value(raw).int_id(), None, "type {int_type} (GEN-1)");
        }
        let ppi = u64::from(IntType::Ppi.raw_value()) << 29;
        assert_eq!(IntIdOperand::new_with_raw_value(ppi | 27).int_id(), None, "only deactivate names a PPI (INS-8)");
        assert_eq!(DeactivateOperand::new_with_raw_value(ppi | 27).int_id(), Some(Ppi::CNTV.into()));
        assert_eq!(DeactivateOperand::new_with_raw_value(ppi | 128).int_id(), None, "PPI-1");
        assert_eq!(IntIdOperand::new_with_raw_value(ppi).int_type(), Err(u3::new(1)));
    }

    #[test]
    fn an_acknowledge_that_found_nothing_reports_zero() {
        assert_eq!(AcknowledgeResult::reporting(None).raw_value(), 0);
        assert_eq!(AcknowledgeResult::ZERO.int_id(), None);
    }
}
