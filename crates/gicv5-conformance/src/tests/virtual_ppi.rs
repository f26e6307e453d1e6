//! Virtual PPIs: the hypervisor's registers, and the PPIs that a guest has directly.

use super::prelude::*;
use crate::lab;

const BANK: PpiBank = PpiBank::Architected;

/// Writes the pending bits of the architected virtual PPIs.
fn pend<B: Bench>(lab: &Lab<'_, B>, bits: u64) {
    lab.set_sysreg(SysReg::ich_ppi_pendr(BANK), bits);
}

group! { "virtual_ppi";
    /// The hypervisor makes a virtual PPI pending, and the physical one has no part in it.
    fn hypervisor_makes_a_ppi_pending(lab) rules["PPI-6", "INJ-4"] needs[Need::Virt] {
        lab.start()?;
        lab.resident()?;
        lab.virtual_ppi(Ppi::SW_PPI, 7)?;
        lab.expect_no_virtual(0)?;
        pend(lab, Ppi::SW_PPI.mask());
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        expect("ICC_PPI_SPENDR0_EL1", 0, lab.sysreg(SysReg::icc_ppi_spendr(BANK)) & Ppi::SW_PPI.mask())?;
        expect("ICC_PPI_ENABLER0_EL1", 0, lab.sysreg(SysReg::icc_ppi_enabler(BANK)))?;
        lab.expect_silence(0)?;
        pend(lab, 0);
        lab.expect_no_virtual(0)
    }

    /// The physical PPI is pending and the virtual one is not.
    fn physical_ppi_is_not_the_guests(lab) rules["PPI-6", "PPI-8"] needs[Need::Virt] {
        lab.resident()?;
        lab.virtual_ppi(Ppi::SW_PPI, 7)?;
        lab.set_sysreg(SysReg::icc_ppi_spendr(BANK), Ppi::SW_PPI.mask());
        expect("ICC_PPI_SPENDR0_EL1", Ppi::SW_PPI.mask(), lab.sysreg(SysReg::icc_ppi_spendr(BANK)) & Ppi::SW_PPI.mask())?;
        expect("ICH_PPI_PENDR0_EL2", 0, lab.sysreg(SysReg::ich_ppi_pendr(BANK)) & Ppi::SW_PPI.mask())?;
        lab.expect_no_virtual(0)
    }

    /// The virtual PPIs that keep an enable bit are those that there are physically.
    fn virtual_ppis_are_discovered(lab) rules["PPI-25", "PPI-5", "PPI-6", "PPI-26"] needs[Need::Virt] {
        for bank in PpiBank::ALL {
            let (virtual_row, physical_row) = (SysReg::ich_ppi_enabler(bank), SysReg::icc_ppi_enabler(bank));
            lab.set_sysreg(virtual_row, u64::MAX);
            let implemented = lab.sysreg(virtual_row);
            lab.set_sysreg(virtual_row, 0);
            lab.set_sysreg(physical_row, u64::MAX);
            let physical = lab.sysreg(physical_row);
            lab.set_sysreg(physical_row, 0);
            // A bank that is another domain's physically may be there virtually.
            expect("physical PPIs that are not there virtually", 0, physical & !implemented)?;
            expect("ICH_PPI_ENABLER after a write of zero", 0, lab.sysreg(virtual_row))?;
        }
        Ok(())
    }

    /// A virtual PPI keeps a priority of five bits, and its neighbours keep theirs.
    fn virtual_priorities_are_kept(lab) rules["PPI-1", "PRI-1"] needs[Need::Virt] {
        for ppi in [Ppi::SW_PPI, Ppi::CNTV, Ppi::CNTP] {
            let register = SysReg::ich_ppi_priorityr(ppi.priority_register());
            for priority in [31, 16, 0, 21] {
                let row = PPI_PRIORITYR::ZERO.with_priority(ppi, lab.priority(priority));
                lab.set_sysreg(register, row.raw_value() | 0xe0e0_e0e0_e0e0_e0e0);
                expect("ICH_PPI_PRIORITYR", row.raw_value(), lab.sysreg(register))?;
            }
        }
        Ok(())
    }

    /// The more urgent of a PPI and the IRS's candidate wins.
    fn ppi_competes_with_the_candidate(lab) rules["HPPI-3", "HPPI-9"] needs[Need::Virt] {
        lab.resident()?;
        lab.inject(VM, vlpi(1), true);
        lab.virtual_ppi(Ppi::SW_PPI, 20)?;
        pend(lab, Ppi::SW_PPI.mask());
        lab.expect_virtual(0, vlpi(1))?;
        lab.virtual_ppi(Ppi::SW_PPI, 4)?;
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        pend(lab, 0);
        lab.expect_virtual(0, vlpi(1))
    }

    /// Mask and enable of the guest's CPU interface count for PPIs too.
    fn mask_and_enable_count_for_ppis(lab) rules["PRI-3", "PRI-8", "PRI-9"] needs[Need::Virt] {
        lab.world()?;
        lab.virtual_ppi(Ppi::SW_PPI, 8)?;
        pend(lab, Ppi::SW_PPI.mask());
        lab.load_with(true, 7, 0)?;
        lab.expect_no_virtual(0)?;
        lab.put(0)?;
        lab.load_with(true, 8, 0)?;
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        lab.put(0)?;
        lab.load_with(false, 31, 0)?;
        lab.expect_no_virtual(0)
    }

    /// A PPI that is disabled or active is no candidate.
    fn disabled_or_active_ppi_is_silent(lab) rules["HPPI-1", "ISM-7", "ISM-9"] needs[Need::Virt] {
        lab.resident()?;
        lab.virtual_ppi(Ppi::SW_PPI, 8)?;
        pend(lab, Ppi::SW_PPI.mask());
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        lab.set_sysreg(SysReg::ich_ppi_activer(BANK), Ppi::SW_PPI.mask());
        expect("ICH_PPI_ACTIVER0_EL2", Ppi::SW_PPI.mask(), lab.sysreg(SysReg::ich_ppi_activer(BANK)))?;
        lab.expect_no_virtual(0)?;
        lab.set_sysreg(SysReg::ich_ppi_activer(BANK), 0);
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        lab.set_sysreg(SysReg::ich_ppi_enabler(BANK), 0);
        lab.expect_no_virtual(0)?;
        expect("ICH_PPI_PENDR0_EL2", Ppi::SW_PPI.mask(), lab.sysreg(SysReg::ich_ppi_pendr(BANK)))
    }

    /// The active priority holds back a PPI that is not more urgent.
    fn active_priority_holds_ppis_back(lab) rules["PRI-4", "PRI-5", "PRI-9", "RES-15"] needs[Need::Virt] {
        lab.world()?;
        lab.virtual_ppi(Ppi::SW_PPI, 8)?;
        pend(lab, Ppi::SW_PPI.mask());
        for (active, held_back) in [(1 << 8, true), (1 << 9, false), (1 << 31 | 1 << 3, true), (1 << 31, false)] {
            lab.load_with(true, 31, active)?;
            if held_back {
                lab.expect_no_virtual(0)?;
            } else {
                lab.expect_virtual(0, Ppi::SW_PPI)?;
            }
            lab.put(0)?;
        }
        Ok(())
    }

    /// A timer that is injected directly is pending for the guest while its wire is high, whatever ICH_PPI_PENDR was told.
    fn timer_is_injected_directly(lab) rules["PPI-7", "PPI-8", "PPI-11", "PPI-12"] needs[Need::Virt, Need::Timers] {
        lab.start()?;
        lab.resident()?;
        lab.virtual_ppi(Ppi::CNTV, 6)?;
        lab.set_sysreg(SysReg::ich_ppi_dvir(BANK), Ppi::CNTV.mask());
        expect("ICH_PPI_DVIR0_EL2", Ppi::CNTV.mask(), lab.sysreg(SysReg::ich_ppi_dvir(BANK)))?;
        pend(lab, Ppi::CNTV.mask());
        lab.expect_no_virtual(0)?;
        lab.bench().drive_timer(lab.pe, Ppi::CNTV, true);
        lab.expect_virtual(0, Ppi::CNTV)?;
        // The host has it disabled, and is not interrupted.
        lab.expect_silence(0)?;
        lab.bench().drive_timer(lab.pe, Ppi::CNTV, false);
        lab.expect_no_virtual(0)?;
        lab.set_sysreg(SysReg::ich_ppi_dvir(BANK), 0);
        Ok(())
    }

    /// A timer that is not injected directly is the host's alone.
    fn timer_is_the_hosts_without_direct_injection(lab) rules["PPI-7", "PPI-6", "PPI-13"] needs[Need::Virt, Need::Timers] {
        lab.resident()?;
        lab.virtual_ppi(Ppi::CNTV, 6)?;
        lab.bench().drive_timer(lab.pe, Ppi::CNTV, true);
        let pending = || lab.sysreg(SysReg::icc_ppi_spendr(BANK)) & Ppi::CNTV.mask() != 0;
        expect("the physical timer is pending", true, lab.until(pending))?;
        lab.expect_no_virtual(0)?;
        lab.set_sysreg(SysReg::ich_ppi_dvir(BANK), Ppi::CNTV.mask());
        lab.expect_virtual(0, Ppi::CNTV)?;
        lab.set_sysreg(SysReg::ich_ppi_dvir(BANK), 0);
        lab.expect_no_virtual(0)
    }

    /// A guest's acknowledge of an Edge PPI that it has directly clears the pending bit, which is the host's too.
    fn acknowledge_clears_the_shared_bit(lab) rules["PPI-10", "PPI-8", "ISM-3"] needs[Need::Guests] {
        lab.resident()?;
        lab.virtual_ppi(Ppi::SW_PPI, 6)?;
        lab.set_sysreg(SysReg::ich_ppi_dvir(BANK), Ppi::SW_PPI.mask());
        lab.set_sysreg(SysReg::icc_ppi_spendr(BANK), Ppi::SW_PPI.mask());
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        lab.expect_guest_takes(0, Some(Ppi::SW_PPI.into()))?;
        expect("ICC_PPI_SPENDR0_EL1", 0, lab.sysreg(SysReg::icc_ppi_spendr(BANK)) & Ppi::SW_PPI.mask())?;
        expect("ICC_PPI_SACTIVER0_EL1", 0, lab.sysreg(SysReg::icc_ppi_sactiver(BANK)))?;
        expect("ICH_PPI_ACTIVER0_EL2", Ppi::SW_PPI.mask(), lab.sysreg(SysReg::ich_ppi_activer(BANK)))?;
        lab.guest_finishes(0, Ppi::SW_PPI)?;
        expect("ICH_PPI_ACTIVER0_EL2", 0, lab.sysreg(SysReg::ich_ppi_activer(BANK)))?;
        lab.set_sysreg(SysReg::ich_ppi_dvir(BANK), 0);
        Ok(())
    }

    /// A guest deactivates its own PPI, and the host's of the same number stays active.
    fn guest_deactivates_its_own_ppi(lab) rules["INS-7", "PPI-6"] needs[Need::Guests] {
        lab.resident()?;
        lab.virtual_ppi(Ppi::SW_PPI, 6)?;
        lab.set_sysreg(SysReg::icc_ppi_sactiver(BANK), Ppi::SW_PPI.mask());
        pend(lab, Ppi::SW_PPI.mask());
        lab.expect_guest_takes(0, Some(Ppi::SW_PPI.into()))?;
        lab.guest_finishes(0, Ppi::SW_PPI)?;
        expect("ICH_PPI_ACTIVER0_EL2", 0, lab.sysreg(SysReg::ich_ppi_activer(BANK)))?;
        expect("ICC_PPI_SACTIVER0_EL1", Ppi::SW_PPI.mask(), lab.sysreg(SysReg::icc_ppi_sactiver(BANK)))?;
        expect("GICR CDIA", None, lab::acknowledge(lab.pe))
    }

    /// PPIs reach a guest that has no VPE: it is signalled, acknowledges, drops and deactivates.
    fn ppis_reach_a_guest_without_a_vpe(lab) rules["HPPI-7", "RES-6"] needs[Need::Guests] profile[Profile::Linux71] {
        // What that KVM writes, and all of it.
        lab.pe.write(ICH_VCTLR_EL2::ZERO.with_en(true));
        lab.set_virtual_mask(true, 31);
        lab.virtual_ppi(Ppi::SW_PPI, 0)?;
        pend(lab, Ppi::SW_PPI.mask());
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        lab.expect_guest_takes(0, Some(Ppi::SW_PPI.into()))?;
        expect("ICH_PPI_ACTIVER0_EL2", Ppi::SW_PPI.mask(), lab.sysreg(SysReg::ich_ppi_activer(BANK)))?;
        expect("ICH_APR_EL2", 1, lab.sysreg(SysReg::ICH_APR_EL2))?;
        lab.expect_no_virtual(0)?;
        lab.guest_finishes(0, Ppi::SW_PPI)?;
        expect("ICH_PPI_ACTIVER0_EL2", 0, lab.sysreg(SysReg::ich_ppi_activer(BANK)))
    }

    /// PPIs of the second bank and of the upper half of the first work like the others, as far as they are there.
    fn high_ppis_work(lab) rules["PPI-1", "PPI-6"] needs[Need::Virt] {
        lab.resident()?;
        for bank in PpiBank::ALL {
            let row = SysReg::ich_ppi_enabler(bank);
            lab.set_sysreg(row, u64::MAX);
            let implemented = lab.sysreg(row);
            lab.set_sysreg(row, 0);
            for bit in [31u32, 32, 40, 63].into_iter().filter(|bit| implemented >> bit & 1 != 0) {
                let Ok(ppi) = Ppi::new(bank.index() as u32 * 64 + bit) else { continue };
                lab.virtual_ppi(ppi, 5)?;
                lab.set_sysreg(SysReg::ich_ppi_pendr(bank), ppi.mask());
                lab.expect_virtual(0, ppi)?;
                lab.set_sysreg(SysReg::ich_ppi_pendr(bank), 0);
                lab.expect_no_virtual(0)?;
            }
        }
        Ok(())
    }
}
