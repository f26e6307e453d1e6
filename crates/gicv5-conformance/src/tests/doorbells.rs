//! Doorbells: a predicate over present state that rings once for each request (DB-1 to DB-4).

use gicv5_arch::irs::IRS_VPE_DBR;
use gicv5_arch::sysreg::ICH_CONTEXTR_EL2;

use super::prelude::*;

/// The priority of the interrupts of [`VM`] as the mask of a request: it rings however masks are compared (open question 1).
const OWN: u32 = 10;

/// A VPE leaves PE 0 and asks for a doorbell.
fn wait_for<B: Bench>(lab: &Lab<'_, B>, mask: u32) -> Outcome {
    lab.load(0, VM, VPES[0])?;
    lab.put_asking(0, mask)
}

/// The usual VM, whose first VPE has left PE 0 and asked for a doorbell.
fn waiting<B: Bench>(lab: &Lab<'_, B>) -> Outcome {
    lab.world()?;
    wait_for(lab, OWN)
}

/// An LPI of the VPE that left becomes pending, and the doorbell rings.
fn rings_for<B: Bench>(lab: &Lab<'_, B>, lpi: u32) -> Outcome {
    lab.inject(VM, vlpi(lpi), true);
    lab.expect_ring(DOORBELLS[0])
}

/// An LPI becomes pending, and shows as the candidate of the VPE that left, whose doorbell does not ring.
fn pends_without_ringing<B: Bench>(lab: &Lab<'_, B>, lpi: u32) -> Outcome {
    lab.inject(VM, vlpi(lpi), true);
    lab.expect_candidate(VM, VPES[0], Some(vlpi(lpi)))?;
    lab.expect_no_ring(DOORBELLS[0])
}

group! { "doorbells";
    /// A VPE that waits with a doorbell requested is rung when an interrupt comes for it.
    fn doorbell_rings_for_an_interrupt_that_comes(lab) rules["DB-1", "DB-2", "DB-5", "INJ-1"] needs[Need::Virt] {
        waiting(lab)?;
        lab.expect_no_ring(DOORBELLS[0])?;
        rings_for(lab, 1)
    }

    /// It rings at once for an interrupt that was pending before the VPE left.
    fn doorbell_rings_for_an_interrupt_that_is_there(lab) rules["DB-3", "DB-2"] needs[Need::Virt] {
        lab.resident()?;
        lab.inject_and_see(vspi(1))?;
        lab.put_asking(0, OWN)?;
        lab.expect_ring(DOORBELLS[0])
    }

    /// Without a request there is no doorbell.
    fn doorbell_has_to_be_asked_for(lab) rules["DB-1", "RES-5"] needs[Need::Virt] {
        lab.resident()?;
        lab.put(0)?;
        pends_without_ringing(lab, 1)
    }

    /// One request gives one doorbell, however many interrupts follow.
    fn one_request_gives_one_doorbell(lab) rules["DB-4"] needs[Need::Virt] {
        waiting(lab)?;
        rings_for(lab, 1)?;
        lab.inject(VM, vlpi(2), true);
        lab.inject(VM, vspi(3), true);
        lab.expect_no_ring(DOORBELLS[0])
    }

    /// The next departure may ask again.
    fn next_departure_asks_again(lab) rules["DB-4", "DB-3"] needs[Need::Virt] {
        waiting(lab)?;
        rings_for(lab, 1)?;
        wait_for(lab, OWN)?;
        lab.expect_ring(DOORBELLS[0])
    }

    /// IRS_VPE_DBR.REQ_DB asks for a doorbell as well.
    fn settings_can_ask_for_a_doorbell(lab) rules["DB-5", "DB-6"] needs[Need::Virt] {
        lab.world()?;
        let asking = lab.doorbell(DOORBELLS[1])?.with_req_db(true).with_dbpm(lab.priority(OWN));
        lab.set_doorbell(VM, VPES[1], asking)?;
        lab.load(0, VM, VPES[0])?;
        lab.vd_target(vlpi(8), VPES[1]);
        lab.inject(VM, vlpi(8), true);
        lab.expect_ring(DOORBELLS[1])?;
        lab.inject(VM, vlpi(8), false);
        lab.inject(VM, vlpi(8), true);
        lab.expect_no_ring(DOORBELLS[1])
    }

    /// A request without valid settings gives nothing.
    fn request_without_settings_gives_nothing(lab) rules["DB-6", "DB-1"] needs[Need::Virt] {
        lab.two_vms()?;
        lab.load(0, OTHER, VPES[0])?;
        lab.put_asking(0, OWN)?;
        lab.inject(OTHER, vlpi(1), true);
        lab.expect_no_ring(DOORBELLS[0])?;
        lab.expect_no_ring(0)?;
        // It was there to ring for.
        lab.load(0, OTHER, VPES[0])?;
        lab.expect_virtual(0, vlpi(1))
    }

    /// DBV=0 makes the settings invalid.
    fn settings_are_made_invalid(lab) rules["DB-6", "DB-8", "DB-1"] needs[Need::Virt] {
        lab.world()?;
        lab.set_doorbell(VM, VPES[0], IRS_VPE_DBR::ZERO)?;
        expect("IRS_VPE_DBR.DBV", false, lab.read::<IRS_VPE_DBR>().dbv())?;
        wait_for(lab, OWN)?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_no_ring(DOORBELLS[0])?;
        // It was there to ring for.
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vlpi(1))
    }

    /// The mask lets its own priority through.
    fn doorbell_mask_is_inclusive(lab) rules["DB-9", "DB-1"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_priority(vlpi(1), 8)?;
        lab.put_asking(0, 8)?;
        rings_for(lab, 1)
    }

    /// The doorbell is not rung below its mask, but for a more urgent interrupt that follows.
    fn doorbell_is_not_rung_below_its_mask(lab) rules["DB-9", "DB-2"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_priority(vlpi(1), 16)?;
        lab.vd_priority(vlpi(2), 4)?;
        lab.put_asking(0, 8)?;
        pends_without_ringing(lab, 1)?;
        rings_for(lab, 2)
    }

    /// A mask of 0 lets only priority 0 through, and one of 31 everything.
    fn ends_of_the_mask(lab) rules["DB-9"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_priority(vlpi(1), 8)?;
        lab.vd_priority(vlpi(2), 0)?;
        lab.vd_priority(vlpi(3), 31)?;
        lab.put_asking(0, 0)?;
        pends_without_ringing(lab, 1)?;
        rings_for(lab, 2)?;
        lab.inject(VM, vlpi(1), false);
        lab.inject(VM, vlpi(2), false);
        lab.expect_candidate(VM, VPES[0], None)?;
        wait_for(lab, 31)?;
        rings_for(lab, 3)
    }

    /// The mask of the request takes the place of the one in the settings, in either direction.
    fn mask_of_the_request_counts(lab) rules["DB-10", "DB-9"] needs[Need::Virt] {
        lab.world()?;
        lab.set_doorbell(VM, VPES[0], lab.doorbell(DOORBELLS[0])?.with_dbpm(Priority::MOST_URGENT))?;
        wait_for(lab, 31)?;
        rings_for(lab, 1)?;
        lab.inject(VM, vlpi(1), false);
        lab.set_doorbell(VM, VPES[0], lab.doorbell(DOORBELLS[0])?)?;
        wait_for(lab, 0)?;
        pends_without_ringing(lab, 1)
    }

    /// The doorbell rings when the pending interrupt becomes urgent enough.
    fn doorbell_rings_when_the_priority_rises(lab) rules["DB-2", "DB-9"] needs[Need::Virt] {
        lab.world()?;
        wait_for(lab, 4)?;
        lab.inject(VM, vlpi(1), true);
        // Another VPE of the VM is where the change comes from.
        lab.load(0, VM, VPES[1])?;
        lab.expect_no_ring(DOORBELLS[0])?;
        lab.vd_priority(vlpi(1), 4)?;
        lab.expect_ring(DOORBELLS[0])
    }

    /// It rings when the pending interrupt is enabled.
    fn doorbell_rings_when_the_interrupt_is_enabled(lab) rules["DB-2", "DB-1"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_enable(vspi(1), false);
        lab.put_asking(0, OWN)?;
        lab.inject(VM, vspi(1), true);
        lab.load(0, VM, VPES[1])?;
        lab.expect_no_ring(DOORBELLS[0])?;
        lab.vd_enable(vspi(1), true);
        lab.expect_ring(DOORBELLS[0])
    }

    /// It rings when the pending interrupt is given to the VPE that waits.
    fn doorbell_rings_when_the_interrupt_is_retargeted(lab) rules["DB-2", "RTE-5"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_target(vlpi(1), VPES[1]);
        lab.put_asking(0, OWN)?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_no_ring(DOORBELLS[0])?;
        lab.load(0, VM, VPES[1])?;
        lab.vd_target(vlpi(1), VPES[0]);
        lab.expect_ring(DOORBELLS[0])
    }

    /// It rings when the interrupt that it waits for is deactivated and still pending.
    fn doorbell_rings_when_the_interrupt_is_deactivated(lab) rules["DB-1", "DB-2", "ISM-7"] needs[Need::Guests] {
        lab.resident()?;
        lab.vd_handling(vspi(1), HandlingMode::Level);
        lab.inject_and_see(vspi(1))?;
        lab.expect_guest_takes(0, Some(vspi(1).into()))?;
        lab.put_asking(0, OWN)?;
        lab.expect_no_ring(DOORBELLS[0])?;
        lab.load(0, VM, VPES[1])?;
        lab.vd_deactivate(vspi(1));
        lab.expect_ring(DOORBELLS[0])
    }

    /// A resident VPE needs no doorbell.
    fn resident_vpe_is_not_rung(lab) rules["DB-1", "DB-18"] needs[Need::Virt] {
        waiting(lab)?;
        lab.load(0, VM, VPES[0])?;
        lab.inject_and_see(vlpi(1))?;
        lab.expect_no_ring(DOORBELLS[0])
    }

    /// A request that was not used ends when the VPE becomes resident.
    fn request_ends_with_the_waiting(lab) rules["DB-18"] needs[Need::Virt] {
        waiting(lab)?;
        lab.load(0, VM, VPES[0])?;
        lab.put(0)?;
        pends_without_ringing(lab, 1)
    }

    /// A request that comes with V=1 is none.
    fn request_with_residency_is_none(lab) rules["DB-11"] needs[Need::Virt] {
        lab.world()?;
        let asking: ICH_CONTEXTR_EL2 = Lab::<B>::context(VM, VPES[0]).with_db(true).with_dbpm(lab.priority(OWN));
        let context = lab.enter_context(0, asking)?;
        expect("ICH_CONTEXTR_EL2.F", false, context.f())?;
        lab.put(0)?;
        pends_without_ringing(lab, 1)
    }

    /// The request belongs to the VPE that leaves, whatever VM and VPE the write names.
    fn request_belongs_to_the_vpe_that_leaves(lab) rules["RES-5", "DB-5"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_target(vlpi(2), VPES[1]);
        lab.pe.write(
            ICH_CONTEXTR_EL2::ZERO.with_db(true).with_dbpm(lab.priority(OWN)).with_vm(VM).with_vpe(VPES[1]),
        );
        lab.pe.isb();
        lab.inject(VM, vlpi(2), true);
        lab.expect_no_ring(DOORBELLS[1])?;
        rings_for(lab, 1)
    }

    /// Each VPE has its own doorbell.
    fn each_vpe_has_its_own_doorbell(lab) rules["DB-7", "DB-14", "DB-1"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_target(vlpi(2), VPES[1]);
        lab.put_asking(0, OWN)?;
        lab.load(0, VM, VPES[1])?;
        lab.put_asking(0, OWN)?;
        lab.inject(VM, vlpi(2), true);
        lab.expect_ring(DOORBELLS[1])?;
        lab.expect_no_ring(DOORBELLS[0])?;
        rings_for(lab, 1)?;
        lab.expect_no_ring(DOORBELLS[1])
    }

    /// The settings name another LPI from the moment they are written.
    fn doorbell_is_given_another_lpi(lab) rules["DB-6", "DB-7"] needs[Need::Virt] {
        lab.world()?;
        lab.set_doorbell(VM, VPES[0], lab.doorbell(300)?)?;
        wait_for(lab, OWN)?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_ring(300)?;
        lab.expect_no_ring(DOORBELLS[0])
    }

    /// A doorbell is an ordinary LPI: it interrupts the PE that it is routed to, and makes its handling mode Edge.
    fn doorbell_interrupts_the_host(lab) rules["DB-13", "ISM-2"] needs[Need::Virt] {
        lab.start()?;
        lab.world()?;
        let doorbell = lab.lpi(DOORBELLS[0])?;
        lab.ready(doorbell, 3)?;
        lab.set_handling(doorbell, HandlingMode::Level);
        wait_for(lab, OWN)?;
        lab.expect_silence(0)?;
        lab.inject(VM, vlpi(1), true);
        lab.take(doorbell)?;
        expect("ICC_ICSR_EL1.HM is Edge", true, lab.config(doorbell)?.hm() == HandlingMode::Edge)?;
        lab.expect_pending(doorbell, false)?;
        lab.finish(doorbell)
    }

    /// A doorbell that has rung stays pending, although its VPE is resident and the interrupt has gone.
    fn doorbell_is_not_withdrawn(lab) rules["DB-17", "DB-25"] needs[Need::Virt] {
        waiting(lab)?;
        lab.inject(VM, vlpi(1), true);
        let doorbell = lab.lpi(DOORBELLS[0])?;
        let rang = lab.until(|| lab.config(doorbell).is_ok_and(|config| config.pending()));
        expect("the doorbell rings", true, rang)?;
        lab.load(0, VM, VPES[0])?;
        lab.inject(VM, vlpi(1), false);
        lab.expect_pending(doorbell, true)?;
        lab.put(0)?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        lab.expect_pending(doorbell, true)
    }

    /// A doorbell whose LPI is pending already merges with it, and uses the request up.
    fn doorbell_merges_with_a_pending_one(lab) rules["DB-15", "DB-4"] needs[Need::Virt] {
        waiting(lab)?;
        lab.inject(VM, vlpi(1), true);
        lab.linger();
        lab.expect_pending(lab.lpi(DOORBELLS[0])?, true)?;
        // Nobody takes the LPI, and the VPE asks once more.
        wait_for(lab, OWN)?;
        lab.expect_ring(DOORBELLS[0])?;
        lab.inject(VM, vlpi(2), true);
        lab.expect_no_ring(DOORBELLS[0])
    }

    /// A virtual PPI rings nobody.
    fn ppi_rings_nobody(lab) rules["DB-23"] needs[Need::Virt] {
        lab.resident()?;
        lab.virtual_ppi(Ppi::SW_PPI, 2)?;
        lab.set_sysreg(SysReg::ich_ppi_pendr(PpiBank::Architected), Ppi::SW_PPI.mask());
        lab.expect_virtual(0, Ppi::SW_PPI)?;
        lab.put_asking(0, OWN)?;
        lab.expect_no_ring(DOORBELLS[0])
    }

    /// An interrupt that is disabled rings nobody.
    fn disabled_interrupt_rings_nobody(lab) rules["DB-1", "ISM-9"] needs[Need::Virt] {
        lab.resident()?;
        lab.vd_enable(vlpi(1), false);
        lab.put_asking(0, OWN)?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_no_ring(DOORBELLS[0])?;
        // The request is still there for one that is not.
        rings_for(lab, 2)
    }

    /// The same interrupt of another VM rings nobody.
    fn interrupt_of_another_vm_rings_nobody(lab) rules["DB-1", "INJ-10"] needs[Need::Virt] {
        lab.two_vms()?;
        wait_for(lab, OWN)?;
        lab.inject(OTHER, vlpi(1), true);
        lab.expect_no_ring(DOORBELLS[0])?;
        // It was there to ring for.
        lab.load(0, OTHER, VPES[0])?;
        lab.expect_virtual(0, vlpi(1))
    }

    /// After a VM has become invalid no doorbell of it rings.
    fn invalid_vm_does_not_ring(lab) rules["DB-25", "VM-12"] needs[Need::Virt] {
        waiting(lab)?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        lab.inject(VM, vlpi(1), true);
        lab.expect_no_ring(DOORBELLS[0])
    }

    /// A doorbell whose LPI is out of range is lost, and nothing else rings in its place.
    fn unreachable_doorbell_is_lost(lab) rules["DB-16", "IST-27"] needs[Need::Virt] {
        lab.world()?;
        lab.set_doorbell(VM, VPES[0], lab.doorbell(0x00ff_ffff)?)?;
        wait_for(lab, OWN)?;
        pends_without_ringing(lab, 1)?;
        lab.load(0, VM, VPES[0])?;
        lab.expect_virtual(0, vlpi(1))
    }
}
