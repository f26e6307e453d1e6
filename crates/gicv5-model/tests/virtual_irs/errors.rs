//! Software errors of the virtual side (group ERR), and what the event log says of write-backs.

use crate::bench::*;

/// Far above all memory.
const NOWHERE: u64 = 0x7f00_0000_0000;

fn status(bench: &VmBench) -> IRS_SWERR_STATUSR {
    bench.machine.read(IRS)
}

fn syndrome(bench: &VmBench) -> (bool, Option<IntType>, u32, VmId) {
    let syndrome = bench.machine.read::<IRS_SWERR_SYNDROMER0>(IRS);
    (syndrome.is_virtual(), syndrome.int_type().ok(), syndrome.id().value(), syndrome.vm_id())
}

fn clear(bench: &VmBench) {
    bench.machine.write_raw(IRS, IrsReg::IRS_SWERR_STATUSR, 0xf);
}

/// Gives the VM an IST of this shape that lies nowhere.
fn ist_nowhere(bench: &mut VmBench, geometry: IstGeometry) {
    let word = geometry.vmte_word(PhysAddr::new(NOWHERE).unwrap()).unwrap();
    bench.store_vmte_word(L2_VMTE::ist_word(IrsIntType::Lpi), word.raw_value());
    bench.map_ist(IrsIntType::Lpi, MapAction::MakeValid);
}

#[test]
fn an_ist_that_lies_nowhere_is_reported_with_its_code_and_its_vm() {
    for setting in settings(|_| {}) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        ist_nowhere(&mut bench, linear(14));
        bench.vdpend(lpi(3), true);
        let error = status(&bench);
        assert!(error.v() && error.s0v() && error.s1v() && !error.of() && error.ec() == 0x02, "ERR-4 {setting:?}");
        assert_eq!(syndrome(&bench), (true, Some(IntType::Lpi), 3, VM), "ERR-3");
        let address = bench.machine.read::<IRS_SWERR_SYNDROMER1>(IRS).addr().address().raw();
        assert_eq!(address, NOWHERE + 8, "ERR-3: to a multiple of 8");
        bench.broken(&["MEM-4"]);
    }
}

#[test]
fn a_level_1_entry_that_lies_nowhere_is_reported_when_it_is_read_and_when_it_is_updated() {
    for setting in settings(|_| {}) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        ist_nowhere(&mut bench, IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap());
        bench.vdpend(lpi(0), true);
        assert_eq!((status(&bench).ec(), syndrome(&bench).3), (0x01, VM), "ERR-4 {setting:?}");
        clear(&bench);
        bench.publish_level2_ist(IrsIntType::Lpi);
        assert_eq!((status(&bench).v(), status(&bench).ec()), (true, 0x00), "ERR-4 {setting:?}");
        bench.broken(&["MEM-4"]);
    }
}

#[test]
fn a_level_2_ist_that_lies_nowhere_is_reported_and_the_interrupt_is_dropped() {
    for setting in settings(|_| {}) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let geometry = IstGeometry::two_level(16, IstSize::Bytes4, L2Size::KiB4).unwrap();
        let level1 = bench.make_ist(IrsIntType::Lpi, geometry, &[]);
        let entry = L1_ISTE::ZERO.with_l2_addr(Addr55_12::new(PhysAddr::new(NOWHERE).unwrap()).unwrap());
        bench.store(&level1, 0, entry.raw_value());
        bench.publish_level2_ist(IrsIntType::Lpi);
        assert!(!status(&bench).v());
        bench.vdpend(lpi(5), true);
        assert_eq!(status(&bench).ec(), 0x02, "ERR-4 {setting:?}");
        bench.select(0);
        assert!(!bench.machine.read::<IRS_VPE_HPPIR>(IRS).hppiv(), "ERR-7: it is dropped all the same");
        bench.broken(&["MEM-4"]);
    }
}

#[test]
fn the_drop_of_what_does_not_exist_is_silent_or_reported() {
    for (drops, setting) in each(ErrorDrops::POSITIONS, |switches, drops| switches.errors.drops = drops) {
        let (bench, ..) = VmBench::ready(setting);
        let reported = drops == ErrorDrops::Reported;
        let expect = |what: &str, subject: (bool, Option<IntType>, u32, VmId)| {
            assert_eq!(status(&bench).v(), reported, "{what} {setting:?}");
            if reported {
                assert_eq!((status(&bench).ec(), syndrome(&bench)), (0xff, subject), "{what}");
                assert!(!status(&bench).s1v(), "{what}");
            }
            clear(&bench);
        };
        let far = VmId::new(77);
        bench.vdpend(lpi(0x4000), true);
        expect("IST-27, INS-11", (true, Some(IntType::Lpi), 0x4000, VM));
        bench.vdpend(IrsIntId::Spi(Spi::new(1).unwrap()), true);
        expect("no SPI IST (INS-18)", (true, Some(IntType::Spi), 1, VM));
        bench.host(PE0).vdpend(far, lpi(1), true);
        bench.host(PE0).gsb_sys();
        expect("VM-12, INS-18", (true, Some(IntType::Lpi), 1, far));
        bench.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(far));
        expect("VMT-20", (true, None, 0, far));
        bench.command(IRS_VMAP_VISTR::ZERO.with_m(true).with_int_type(IrsIntType::Lpi).with_vm_id(far));
        expect("VMT-20, IST-4", (true, None, 0, far));
        bench.command(IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_int_type(IrsIntType::Lpi).with_vm_id(far));
        expect("VMT-20, IST-19", (true, None, 0, far));
        bench.command(IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(VmId::new(600)));
        expect("VMT-20", (true, None, 0, VmId::new(600)));
        bench.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VmId::new(600)));
        expect("VMT-20", (true, None, 0, VmId::new(600)));
        bench.command(IRS_SPI_SELR::ZERO.with_id(Spi::new(9).unwrap()));
        bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(far));
        clear(&bench);
        bench.machine.set_spi_wire(Spi::new(9).unwrap(), true);
        expect("SPI-10", (true, Some(IntType::Spi), 9, far));
        bench.select(3);
        bench.command(bench.doorbell(0xff_fff0, true));
        bench.vdpend(lpi(1), true);
        expect("DB-16", (false, Some(IntType::Lpi), 0xff_fff0, VmId::new(0)));
        // What is merely in the other state already is no mistake.
        bench.command(IRS_VMAP_VMR::ZERO.with_m(true).with_vm_id(VM));
        bench.map_vpe(3);
        assert!(!status(&bench).v());
    }
}

#[test]
fn the_first_error_or_the_last_is_kept_and_that_one_was_lost_is_said() {
    for (later, setting) in each(LaterError::POSITIONS, |switches, later| switches.errors.later = later) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        ist_nowhere(&mut bench, linear(14));
        bench.vdpend(lpi(3), true);
        assert!(!status(&bench).of());
        bench.vdpend(lpi(4), true);
        let kept = if later == LaterError::IsLost { 3 } else { 4 };
        assert!(status(&bench).v() && status(&bench).of(), "ERR-5");
        assert_eq!(syndrome(&bench).2, kept, "ERR-5, open question 7 {setting:?}");
        clear(&bench);
        assert_eq!(status(&bench).raw_value() & 0xf, 0, "ERR-6");
        bench.vdpend(lpi(5), true);
        assert_eq!((status(&bench).of(), syndrome(&bench).2), (false, 5));
        bench.broken(&["MEM-4"]);
    }
}

#[test]
fn clearing_v_clears_v_alone_or_the_whole_record() {
    for (clearing, setting) in each(ErrorClearing::POSITIONS, |switches, clearing| switches.errors.clearing = clearing)
    {
        let mut bench = VmBench::with_vm(setting, &[0]);
        ist_nowhere(&mut bench, linear(14));
        bench.vdpend(lpi(3), true);
        bench.vdpend(lpi(4), true);
        bench.machine.write_raw(IRS, IrsReg::IRS_SWERR_STATUSR, 1 << 3);
        assert!(status(&bench).v() && status(&bench).s0v() && !status(&bench).of(), "ERR-6 {setting:?}");
        bench.machine.write_raw(IRS, IrsReg::IRS_SWERR_STATUSR, 1);
        assert!(!status(&bench).v());
        assert_eq!(status(&bench).s0v(), clearing == ErrorClearing::BitByBit, "ERR-6, open question 7 {setting:?}");
        bench.broken(&["MEM-4"]);
    }
}

#[test]
fn without_swe_every_error_is_silent() {
    let mut bench =
        VmBench::changed(every_shape()[0].with(|switches| switches.errors.drops = ErrorDrops::Reported), |config| {
            config.irses[0].idr0 = config.irses[0].idr0.with_swe(false);
        });
    bench.make_vm(&[0]);
    bench.machine.observe(100);
    ist_nowhere(&mut bench, linear(14));
    bench.vdpend(lpi(3), true);
    assert_eq!(status(&bench), IRS_SWERR_STATUSR::ZERO, "ERR-1");
    assert!(bench.machine.take_events().iter().all(|(_, event)| !matches!(event, Event::SoftwareError { .. })));
    bench.broken(&["MEM-4"]);
}

#[test]
fn states_go_back_to_the_ist_at_moments_of_the_irs_and_all_of_them_when_it_becomes_invalid() {
    for setting in settings(|switches| switches.effects = Effects::Early) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let ist = bench.make_lpi_ist(&[]);
        bench.machine.observe(100_000);
        let written = |machine: &Machine| -> Vec<(PhysAddr, u32)> {
            let event = |event| match event {
                Event::WriteBack { address, value } => Some((address, value)),
                _ => None,
            };
            machine.take_events().into_iter().filter_map(|(_, e)| event(e)).collect()
        };
        for n in 0..1_000 {
            bench.vdpend(lpi(n), true);
        }
        let early = written(&bench.machine);
        assert!((2..60).contains(&early.len()), "{} early (IST-26)", early.len());
        // Software sees poison all the same (IST-26).
        assert_ne!(bench.entry(&ist, 0), L2_ISTE::ZERO.with_pending(true));
        bench.map_ist(IrsIntType::Lpi, MapAction::MakeInvalid);
        let mut all = written(&bench.machine);
        all.extend(&early);
        all.sort_unstable();
        all.dedup();
        let value = L2_ISTE::ZERO.with_pending(true).raw_value();
        let expected: Vec<_> = (0..1_000).map(|n| (ist.address().offset(n * 4).unwrap(), value)).collect();
        assert_eq!(all, expected, "IST-5");
    }
}
