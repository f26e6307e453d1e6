//! ID registers: what a driver reads first must make sense.

use gicv5_arch::irs::{Component, IRS_AIDR, IRS_DEVARCH};
use gicv5_arch::values::Domain;

use super::prelude::*;

group! { "identification";
    /// The frame says that it is an IRS.
    fn component_is_an_irs(lab) rules["GEN-9"] needs[] {
        let component = lab.read::<IRS_AIDR>().component();
        expect("IRS_AIDR.Component is IRS", true, component == Ok(Component::Irs))
    }

    /// The architecture version is GICv5.
    fn architecture_is_gicv5(lab) rules["GEN-9"] needs[] {
        expect("IRS_AIDR.ArchMajorRev is GICv5", true, lab.read::<IRS_AIDR>().arch_major_rev().is_ok())
    }

    /// IRS_DEVARCH names its architect, Arm, in bits 31:21, and is present.
    fn device_architecture_names_arm(lab) rules["GEN-9"] needs[] {
        let register = lab.read::<IRS_DEVARCH>();
        expect("IRS_DEVARCH.PRESENT", true, register.present())?;
        expect("IRS_DEVARCH.ARCHITECT", 0x23b_u16, register.architect().value())
    }

    /// IRS_DEVARCH names the IRS as the component's architecture.
    fn device_architecture_is_that_of_an_irs(lab) rules["GEN-9"] needs[] {
        expect("IRS_DEVARCH.ARCHID", 0x5a19_u16, lab.read::<IRS_DEVARCH>().archid())
    }

    /// The component ID bytes are the preamble of a CoreSight component.
    fn component_id_is_the_preamble(lab) rules["GEN-9"] needs[] {
        expect("IRS_CIDR0", 0x0d, lab.read_raw(IrsReg::IRS_CIDR0))?;
        expect("IRS_CIDR1 without class", 0, lab.read_raw(IrsReg::IRS_CIDR1) & 0xf)?;
        expect("IRS_CIDR2", 0x05, lab.read_raw(IrsReg::IRS_CIDR2))?;
        expect("IRS_CIDR3", 0xb1, lab.read_raw(IrsReg::IRS_CIDR3))
    }

    /// The PE says that it has a GICv5 CPU interface.
    fn pe_announces_its_cpu_interface(lab) rules["GEN-8"] needs[] {
        expect("ID_AA64PFR2_EL1.GCIE is there", true, lab.sysreg(SysReg::ID_AA64PFR2_EL1) >> 12 & 0xf != 0)
    }

    /// The domain of the frame is the one that software at EL1 or EL2 runs in: not EL3's.
    fn frame_is_not_the_one_of_el3(lab) rules["GEN-4"] needs[] {
        expect("IRS_IDR0.INT_DOM is EL3", false, lab.features.idr0.int_dom() == Domain::El3)
    }

    /// PA_RANGE is no reserved code.
    fn physical_address_range_is_known(lab) rules["GEN-10"] needs[] {
        expect("IRS_IDR0.PA_RANGE is known", true, lab.features.idr0.pa_range().is_ok())
    }

    /// The IRS has at least as many PEs attached as the tests run on, if it is the only one.
    fn attached_pes_are_counted(lab) rules["GEN-11"] needs[] {
        let enough = usize::from(lab.features.idr1.pe_cnt()) >= 1;
        expect("IRS_IDR1.PE_CNT is not 0", true, enough)
    }

    /// Every PE's affinity ID fits into IAFFID_BITS, which holds the width minus one.
    fn affinity_ids_fit(lab) rules["GEN-11"] needs[] {
        let bits = lab.features.idr1.iaffid_bits().count();
        for pe in 0..lab.pes() {
            expect("bits of ICC_IAFFIDR_EL1 above IAFFID_BITS", 0, u32::from(lab.iaffid(pe).raw_value()) >> bits)?;
        }
        Ok(())
    }

    /// No two PEs have the same affinity ID.
    fn affinity_ids_differ(lab) rules["RTE-1"] needs[Need::Pes(2)] {
        for one in 0..lab.pes() {
            for other in 0..one {
                expect("two PEs have one affinity ID", false, lab.iaffid(one) == lab.iaffid(other))?;
            }
        }
        Ok(())
    }

    /// The IRS has 1 to 5 priority bits.
    fn priority_bits_are_one_to_five(lab) rules["GEN-11", "PRI-1"] needs[] {
        expect("IRS_IDR1.PRI_BITS is known", true, lab.features.idr1.pri_bits().is_ok())
    }

    /// The CPU interface has 4 or 5 priority bits, and 16 or 24 ID bits.
    fn cpu_interface_widths_are_known(lab) rules["GEN-11", "GEN-12"] needs[] {
        let idr0 = lab.features.icc_idr0;
        expect("ICC_IDR0_EL1.PRI_BITS is known", true, idr0.pri_bits().is_ok())?;
        expect("ICC_IDR0_EL1.ID_BITS is known", true, idr0.id_bits().is_ok())
    }

    /// LPI ID widths lie within what the architecture allows.
    fn lpi_id_widths_are_in_range(lab) rules["GEN-10", "LPI-3"] needs[Need::Lpis] {
        let idr2 = lab.features.idr2;
        let (min, max) = (idr2.min_lpi_id_bits().value(), idr2.id_bits().value());
        expect("IRS_IDR2.MIN_LPI_ID_BITS is at most 14", true, min <= 14)?;
        expect("IRS_IDR2.ID_BITS is at most 24", true, max <= 24)?;
        expect("MIN_LPI_ID_BITS is at most ID_BITS", true, min <= max)
    }

    /// An IRS with two-level ISTs has at least one size of level-2 tables.
    fn two_levels_have_a_size(lab) rules["IST-15"] needs[Need::TwoLevel] {
        expect("IRS_IDR2.IST_L2SZ is not 0", true, lab.features.idr2.ist_l2sz().raw_value().value() != 0)
    }

    /// The SPIs of this IRS are among those of the system.
    fn own_spis_are_among_all(lab) rules["SPI-1"] needs[] {
        let features = lab.features;
        let end = features.idr7.spi_base().id().saturating_add(features.idr6.spi_irs_range().value());
        expect("IRS_IDR7 + IRS_IDR6 is at most IRS_IDR5", true, end <= features.idr5.spi_range().value())
    }

    /// Without virtualisation the registers that describe it are zero.
    fn virtual_id_registers_are_zero_without_virtualisation(lab) rules["GEN-7"] needs[Need::NoVirt] {
        expect("IRS_IDR3", 0, lab.read_raw(IrsReg::IRS_IDR3))?;
        expect("IRS_IDR4", 0, lab.read_raw(IrsReg::IRS_IDR4))?;
        expect("IRS_IDR0.VIRT_ONE_N", false, lab.features.idr0.virt_one_n())
    }

    /// ID registers do not change when written.
    fn id_registers_are_read_only(lab) rules["GEN-9"] needs[] {
        for register in IrsReg::ALL.iter().filter(|register| register.is_identification()) {
            let before = lab.read_raw(*register);
            lab.irs().write32(crate::lab::FRAME, register.offset(), !(before as u32));
            let what = register.name();
            expect(what, Value::Number(before), Value::Number(lab.read_raw(*register)))?;
        }
        Ok(())
    }

    /// All PEs have the same widths.
    fn pes_agree_on_their_widths(lab) rules["GEN-12"] needs[Need::Pes(2)] {
        for pe in 1..lab.pes() {
            let other = lab.on(pe, |pe| pe.read_raw(SysReg::ICC_IDR0_EL1))?;
            expect("ICC_IDR0_EL1", lab.features.icc_idr0.raw_value(), other)?;
        }
        Ok(())
    }
}
