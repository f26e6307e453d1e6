//! Every switch in each of its positions.

use crate::bench::*;
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::irs::*;
use gicv5_arch::values::{HandlingMode, MapAction};
use gicv5_arch::{IrsIntType, Lpi};
use gicv5_hal::{IrsExt, Pe};
use gicv5_model::config::*;

/// Every setting with this change in it: what a switch does does not depend on the others.
fn each(change: impl Fn(&mut Switches)) -> Vec<Setting> {
    settings(change)
}

#[test]
fn the_mask_is_compared_by_urgency_or_by_number() {
    for &mask in DoorbellMask::POSITIONS {
        for setting in each(|switches| switches.doorbell.mask = mask) {
            for (dbpm, urgent, number) in
                [(0, false, true), (9, false, true), (10, true, true), (11, true, false), (31, true, false)]
            {
                let (bench, ..) = Bench::ready(setting);
                bench.select(3);
                bench.command(doorbell(77, true, dbpm));
                bench.vdpend(lpi(1), true);
                let rings = match mask {
                    DoorbellMask::ByUrgency => urgent,
                    DoorbellMask::ByNumber => number,
                };
                assert_eq!(bench.rang(77), rings, "DBPM {dbpm}, priority 10 (DB-9, open question 1) {setting:?}");
            }
        }
    }
}

#[test]
fn an_interrupt_that_passes_rings_whatever_more_urgent_one_does_not() {
    for setting in each(|switches| switches.doorbell.mask = DoorbellMask::ByNumber) {
        let (bench, ..) = Bench::ready(setting);
        bench.select(3);
        bench.command(doorbell(77, true, 10));
        // LPI 20 has priority 0 and is not enabled; it never counts. LPI 1 passes.
        bench.vdpend(lpi(20), true);
        assert!(!bench.rang(77));
        bench.vdpend(lpi(1), true);
        assert!(bench.rang(77), "DB-9 {setting:?}");
    }
}

#[test]
fn a_write_without_dbv_ends_the_settings_or_leaves_them() {
    for &switch in WithoutDbv::POSITIONS {
        for setting in each(|switches| {
            switches.doorbell.without_dbv = switch;
            switches.doorbell.rewrite = RequestAtRewrite::Kept;
        }) {
            let (bench, ..) = Bench::ready(setting);
            bench.select(3);
            bench.command(bench.doorbell(77, true));
            bench.command(IRS_VPE_DBR::ZERO);
            let keeps = switch == WithoutDbv::Keeps;
            let settings = bench.machine.read::<IRS_VPE_DBR>(IRS);
            assert_eq!(settings.dbv(), keeps, "DB-8 {setting:?}");
            bench.vdpend(lpi(1), true);
            assert_eq!(bench.rang(77), keeps, "DB-8 {setting:?}");
        }
    }
}

#[test]
fn a_request_survives_another_write_of_the_settings_or_not() {
    for &switch in RequestAtRewrite::POSITIONS {
        for setting in each(|switches| switches.doorbell.rewrite = switch) {
            let (bench, ..) = Bench::ready(setting);
            bench.select(3);
            bench.command(bench.doorbell(77, true));
            bench.command(bench.doorbell(78, false));
            bench.vdpend(lpi(1), true);
            assert_eq!(bench.rang(78), switch == RequestAtRewrite::Kept, "open question 8 {setting:?}");
            assert!(!bench.rang(77), "the new settings count");
        }
    }
}

#[test]
fn a_request_survives_a_write_of_vpe_cr0_or_not() {
    for &switch in RequestAtCr0::POSITIONS {
        for setting in each(|switches| switches.doorbell.cr0_write = switch) {
            let (bench, ..) = Bench::ready(setting);
            bench.select(3);
            bench.command(bench.doorbell(77, true));
            bench.command(IRS_VPE_CR0::ZERO.with_dps(true));
            bench.vdpend(lpi(1), true);
            assert_eq!(bench.rang(77), switch == RequestAtCr0::Kept, "open question 8 {setting:?}");
        }
    }
}

#[test]
fn req_db_shows_the_request_or_never_anything() {
    for &switch in ReqDbReads::POSITIONS {
        for setting in each(|switches| switches.doorbell.req_db = switch) {
            let (bench, ..) = Bench::ready(setting);
            bench.select(3);
            let reads = || bench.machine.read::<IRS_VPE_DBR>(IRS).req_db();
            bench.command(bench.doorbell(77, false));
            assert!(!reads());
            bench.command(bench.doorbell(77, true));
            assert_eq!(reads(), switch == ReqDbReads::Live, "open question 9 {setting:?}");
            bench.vdpend(lpi(1), true);
            assert!(bench.rang(77) && !reads(), "DB-4");
        }
    }
}

#[test]
fn a_doorbell_that_merges_or_is_lost_uses_the_request_up_or_not() {
    for &switch in MergedDoorbell::POSITIONS {
        for setting in each(|switches| switches.doorbell.merged = switch) {
            let (bench, ..) = Bench::ready(setting);
            let keeps = switch == MergedDoorbell::Keeps;
            let pe = Pe::new(&bench.cpu);
            bench.select(3);
            // The LPI is pending already (DB-15).
            pe.cdpend(Lpi::new(77).unwrap().into(), true);
            pe.gsb_sys();
            bench.command(bench.doorbell(77, true));
            bench.vdpend(lpi(1), true);
            pe.cdpend(Lpi::new(77).unwrap().into(), false);
            pe.gsb_sys();
            bench.vdpend(lpi(2), true);
            assert_eq!(bench.rang(77), keeps, "DB-15 {setting:?}");
            // The LPI cannot be reached (DB-16).
            bench.command(IRS_VPE_DBR::ZERO.with_dbv(true));
            bench.command(bench.doorbell(0xff_ffff, true));
            bench.command(bench.doorbell(79, false));
            assert_eq!(
                bench.rang(79),
                keeps && setting.switches.doorbell.rewrite == RequestAtRewrite::Kept,
                "DB-16 {setting:?}"
            );
            bench.clean();
        }
    }
}

#[test]
fn vdpend_makes_an_edge_or_leaves_the_handling_mode() {
    for &switch in SetPending::POSITIONS {
        for setting in each(|switches| switches.set_pending = switch) {
            let mut bench = Bench::new(setting);
            bench.make_vm(&[0]);
            let level = L2_ISTE::ZERO.with_enable(true).with_hm(HandlingMode::Level);
            let ist = bench.make_lpi_ist(&[level; 4]);
            bench.vdpend(lpi(1), true);
            bench.vdpend(lpi(2), false);
            bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
            let mode = |n: u64| bench.entry(&ist, n).hm();
            let expected = if switch == SetPending::MakesEdge { HandlingMode::Edge } else { HandlingMode::Level };
            assert_eq!(mode(1), expected, "INS-9, open question 17 {setting:?}");
            assert_eq!(mode(2), HandlingMode::Level, "clearing is no event");
        }
    }
}

#[test]
fn what_software_left_pending_is_noticed_at_the_first_look_or_when_an_instruction_names_it() {
    for &switch in PresetPending::POSITIONS {
        for setting in each(|switches| switches.preset_pending = switch) {
            let mut bench = Bench::new(setting);
            bench.make_vm(&[0]);
            let preset = L2_ISTE::ZERO.with_enable(true).with_pending(true);
            bench.make_lpi_ist(&[preset; 4]);
            bench.clean();
            bench.select(0);
            let candidate = || bench.machine.read::<IRS_VPE_HPPIR>(IRS).hppiv();
            assert!(!candidate(), "nobody has looked");
            // The IRS reads the entry for the sake of an instruction that changes nothing.
            bench.vdpend(lpi(1), true);
            assert!(candidate(), "IST-22 {setting:?}");
            assert_eq!(bench.rules(), ["IST-22"]);
        }
    }
}
