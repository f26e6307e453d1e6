//! Access to the registers of the IRS: widths, halves, reserved offsets, read-only fields.

use gicv5_arch::irs::{FRAME_BYTES, IRS_CR1, IRS_IST_CFGR, IRS_PE_SELR, IRS_PE_STATUSR, IRS_SPI_SELR, IRS_SYNCR};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::values::{Cacheability, Shareability};

use super::prelude::*;

/// True if a 32-bit access at this offset reaches no register, neither whole nor half.
fn is_reserved(offset: u16) -> bool {
    let wide = |at: u16| IrsReg::at(at).is_some_and(|register| register.width() == 64);
    // MPAM, MEC and the peripheral ID page have registers whose places are not all public.
    let known_gaps = matches!(offset, 0x340..0x3c0 | 0xff00..);
    IrsReg::at(offset).is_none() && !offset.checked_sub(4).is_some_and(wide) && !known_gaps
}

group! { "registers";
    /// The system register enables of GICv3 read as ones and ignore writes.
    fn sre_reads_as_ones(lab) rules["GEN-24", "GEN-25"] needs[Need::Virt] {
        for (register, ones) in [(SysReg::ICC_SRE_EL1, 0x7), (SysReg::ICC_SRE_EL2, 0xf)] {
            let name = register.name();
            expect(name, ones, lab.sysreg(register))?;
            lab.set_sysreg(register, 0);
            expect(name, ones, lab.sysreg(register))?;
        }
        Ok(())
    }

    /// Reserved offsets read as zero, everywhere in the frame.
    fn reserved_offsets_read_as_zero(lab) rules["GEN-9"] needs[] {
        for offset in (0..=(FRAME_BYTES - 4) as u16).step_by(4).filter(|offset| is_reserved(*offset)) {
            let value = lab.irs().read32(FRAME, offset);
            expect("offset << 32 | value read", u64::from(offset) << 32, u64::from(offset) << 32 | u64::from(value))?;
        }
        Ok(())
    }

    /// Reserved offsets between the registers ignore writes.
    fn reserved_offsets_ignore_writes(lab) rules["GEN-9"] needs[] {
        for offset in (0..0x400).step_by(4).filter(|offset| is_reserved(*offset)) {
            lab.irs().write32(FRAME, offset, u32::MAX);
            let value = lab.irs().read32(FRAME, offset);
            expect("offset << 32 | value read", u64::from(offset) << 32, u64::from(offset) << 32 | u64::from(value))?;
        }
        Ok(())
    }

    /// A 64-bit read of IRS_IST_BASER and two 32-bit reads say the same.
    fn halves_of_a_64_bit_register_can_be_read(lab) rules["GEN-9"] needs[Need::Lpis] {
        lab.irs().write64(FRAME, IrsReg::IRS_IST_BASER.offset(), 0x0012_3456_789a_bc00);
        let whole = lab.irs().read64(FRAME, IrsReg::IRS_IST_BASER.offset());
        let low = lab.irs().read32(FRAME, IrsReg::IRS_IST_BASER.offset());
        let high = lab.irs().read32(FRAME, IrsReg::IRS_IST_BASER.offset() + 4);
        expect("IRS_IST_BASER", 0x0012_3456_789a_bc00, whole)?;
        expect("IRS_IST_BASER in halves", whole, u64::from(high) << 32 | u64::from(low))
    }

    /// A 32-bit write to one half of IRS_IST_BASER leaves the other half alone.
    fn halves_of_a_64_bit_register_can_be_written(lab) rules["GEN-9"] needs[Need::Lpis] {
        let offset = IrsReg::IRS_IST_BASER.offset();
        lab.irs().write64(FRAME, offset, 0x0012_3456_789a_bc00);
        lab.irs().write32(FRAME, offset + 4, 0x0065_4321);
        expect("after a write of the high half", 0x0065_4321_789a_bc00, lab.irs().read64(FRAME, offset))?;
        lab.irs().write32(FRAME, offset, 0xcba9_8740);
        expect("after a write of the low half", 0x0065_4321_cba9_8740, lab.irs().read64(FRAME, offset))
    }

    /// Status registers ignore writes.
    fn status_registers_are_read_only(lab) rules["GEN-17"] needs[] {
        for register in [
            IrsReg::IRS_SYNC_STATUSR, IrsReg::IRS_SPI_STATUSR, IrsReg::IRS_PE_STATUSR, IrsReg::IRS_IST_STATUSR,
        ] {
            let before = lab.read_raw(register);
            lab.irs().write32(FRAME, register.offset(), !(before as u32));
            expect(register.name(), Value::Number(before), Value::Number(lab.read_raw(register)))?;
        }
        Ok(())
    }

    /// IRS_CR0.IDLE cannot be written, and IRSEN reads back.
    fn cr0_keeps_irsen_and_nothing_else(lab) rules["GEN-17", "GEN-21"] needs[] {
        lab.write_raw(IrsReg::IRS_CR0, 1)?;
        expect("IRS_CR0", 0b11, lab.read_raw(IrsReg::IRS_CR0))?;
        lab.write_raw(IrsReg::IRS_CR0, 0)?;
        expect("IRS_CR0", 0b10, lab.read_raw(IrsReg::IRS_CR0))
    }

    /// IRS_CR1 holds the attributes that software writes while no table is valid.
    fn memory_attributes_read_back(lab) rules["GEN-20"] needs[] {
        let write_back = IRS_CR1::ZERO
            .with_sh(Shareability::Inner)
            .with_ic(Cacheability::WriteBack)
            .with_oc(Cacheability::WriteBack)
            .with_ist_ra(true);
        for value in [write_back, write_back.with_ist_wa(true), IRS_CR1::ZERO] {
            lab.write(value)?;
            let mask = fields_mask(IRS_CR1::FIELDS);
            expect("IRS_CR1", u64::from(value.raw_value()), lab.read_raw(IrsReg::IRS_CR1) & mask)?;
        }
        Ok(())
    }

    /// IRS_IST_CFGR can be written and read back while no IST is valid.
    fn ist_configuration_reads_back(lab) rules["LPI-1"] needs[Need::Lpis] {
        let ist = lab.features.linear_ist().map_or(IRS_IST_CFGR::ZERO, |ist| ist.cfgr());
        lab.write(ist)?;
        expect("IRS_IST_CFGR", u64::from(ist.raw_value()), lab.read_raw(IrsReg::IRS_IST_CFGR))
    }

    /// IRS_PE_SELR reads back what was written.
    fn pe_selector_reads_back(lab) rules["GEN-15"] needs[] {
        for iaffid in [0x1234_u16, 0, 1] {
            lab.write(IRS_PE_SELR::ZERO.with_iaffid(Iaffid::new(iaffid)))?;
            expect("IRS_PE_SELR", u64::from(iaffid), lab.read_raw(IrsReg::IRS_PE_SELR))?;
        }
        Ok(())
    }

    /// IRS_SPI_SELR reads back what was written.
    fn spi_selector_reads_back(lab) rules["GEN-15"] needs[Need::Spis(2)] {
        let spi = lab.spi()?;
        lab.write(IRS_SPI_SELR::ZERO.with_id(spi))?;
        expect("IRS_SPI_SELR", u64::from(spi.id()), lab.read_raw(IrsReg::IRS_SPI_SELR))
    }

    /// A synchronisation completes.
    fn synchronisation_completes(lab) rules["SYN-8"] needs[] {
        lab.write(IRS_SYNCR::ZERO.with_sync(true))
    }

    /// Without virtualisation the registers of VMs and VPEs are not there.
    fn virtual_registers_are_not_there_without_virtualisation(lab) rules["GEN-7", "SPI-12"] needs[Need::NoVirt] {
        for register in IrsReg::ALL.iter().filter(|register| {
            matches!(register.offset(), 0x100 | 0x200..=0x308)
        }) {
            lab.irs().write32(FRAME, register.offset(), u32::MAX);
            expect(register.name(), Value::Number(0), Value::Number(lab.irs().read32(FRAME, register.offset()).into()))?;
        }
        Ok(())
    }

    /// Only the most privileged frame assigns SPIs to domains: elsewhere the register ignores writes.
    fn spi_domain_cannot_be_changed_here(lab) rules["SPI-6"] needs[Need::Spis(1)] {
        let spi = lab.spi()?;
        lab.select(spi)?;
        let before = lab.read_raw(IrsReg::IRS_SPI_DOMAINR);
        lab.irs().write32(FRAME, IrsReg::IRS_SPI_DOMAINR.offset(), !(before as u32) & 3);
        lab.idle(IrsReg::IRS_SPI_SELR)?;
        expect("IRS_SPI_DOMAINR", before, lab.read_raw(IrsReg::IRS_SPI_DOMAINR))
    }

    /// Without 1-of-N routing IRS_PE_CR0 ignores writes.
    fn one_of_n_opt_out_ignores_writes(lab) rules["RTE-3"] needs[Need::NoOneOfN] {
        lab.write(IRS_PE_SELR::ZERO.with_iaffid(lab.iaffid(0)))?;
        expect("IRS_PE_STATUSR.V", true, lab.read::<IRS_PE_STATUSR>().v())?;
        let before = lab.read_raw(IrsReg::IRS_PE_CR0);
        lab.write_raw(IrsReg::IRS_PE_CR0, before ^ 1)?;
        expect("IRS_PE_CR0", before, lab.read_raw(IrsReg::IRS_PE_CR0))
    }

    /// Without LPIs the registers of the IST are of no use, and with them IRS_MAP_L2_ISTR without an IST does nothing.
    fn mapping_without_an_ist_does_nothing(lab) rules["LPI-2"] needs[Need::Lpis] {
        lab.write_raw(IrsReg::IRS_MAP_L2_ISTR, 5)?;
        expect("IRS_IST_BASER.VALID", 0, lab.read_raw(IrsReg::IRS_IST_BASER) & 1)?;
        lab.expect_reachable(lab.lpi(5)?, false)
    }
}
