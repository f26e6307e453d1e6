//! What the frames of an IRS say of it, and what is no register of theirs.

use crate::bench::*;

#[test]
fn an_irs_says_which_spis_are_its_own_and_that_it_is_an_irs_of_gicv5() {
    // GEN-9, SPI-1; hazard 4.
    let mut config = MachineConfig::new(1, 64);
    let other = config.add_irs();
    for irs in &mut config.irses {
        irs.idr6 = IRS_IDR6::ZERO.with_spi_irs_range(arbitrary_int::u25::new(32));
    }
    config.irses[1].idr7 = IRS_IDR7::ZERO.with_spi_base(Spi::new(32).unwrap());
    let bench = Bench::at_reset(config);
    for (irs, base) in [(IRS, 0), (other, 32)] {
        assert_eq!(bench.machine.read::<IRS_IDR7>(irs).spi_base().id(), base);
        assert_eq!(bench.machine.read::<IRS_IDR6>(irs).spi_irs_range().value(), 32);
        let read = |register: IrsReg| bench.machine.read32(Frame::config(irs), register.offset());
        let component = [IrsReg::IRS_CIDR0, IrsReg::IRS_CIDR1, IrsReg::IRS_CIDR2, IrsReg::IRS_CIDR3].map(read);
        assert_eq!(component, [0x0d, 0xf0, 0x05, 0xb1], "a CoreLink component with an architecture");
        assert_eq!((read(IrsReg::IRS_PIDR4), read(IrsReg::IRS_DEVARCH)), (0x04, 0x4770_5a19));
    }
}

#[test]
fn an_irs_says_what_it_has_as_it_was_configured() {
    // GEN-9: also what is zero unless somebody asks for it.
    let mut config = MachineConfig::new(1, 64).with_virtualisation();
    let irs = &mut config.irses[0];
    irs.iidr = irs.iidr.with_implementer(arbitrary_int::u12::new(0x43b));
    let expected = config.irses[0].clone();
    let bench = Bench::at_reset(config);
    assert_ne!((expected.idr3, expected.idr4), (IRS_IDR3::ZERO, IRS_IDR4::ZERO));
    assert_eq!(bench.machine.read::<IRS_IDR0>(IRS), expected.idr0);
    assert_eq!(bench.machine.read::<IRS_IDR3>(IRS), expected.idr3);
    assert_eq!(bench.machine.read::<IRS_IDR4>(IRS), expected.idr4);
    assert_eq!(bench.machine.read::<IRS_IIDR>(IRS), expected.iidr);
}

#[test]
fn the_setlpi_frame_has_none_of_the_registers_of_the_other_frame() {
    // LPI-4: at whatever offset and of whatever width.
    let mut config = MachineConfig::new(1, 64).with_virtualisation();
    config.irses[0].idr0 = config.irses[0].idr0.with_setlpi(true);
    let bench = Bench::started(config);
    let frame = Frame::set_lpi(IRS);
    for register in IrsReg::ALL {
        let before = bench.machine.read_raw(IRS, *register);
        bench.machine.write64(frame, register.offset() & !7, u64::MAX);
        assert_eq!(bench.machine.read64(frame, register.offset() & !7), 0, "{register}");
        assert_eq!(bench.machine.read_raw(IRS, *register), before, "{register}");
    }
    assert!(!bench.machine.read::<IRS_VMT_BASER>(IRS).valid());
    assert_eq!(bench.machine.read::<IRS_VPE_SELR>(IRS), IRS_VPE_SELR::ZERO);
}

#[test]
fn the_state_of_an_lpi_goes_back_to_its_ist_by_chance_and_that_of_an_spi_never() {
    // IST-26, SPI-1: SPIs have no table.
    let bench = Bench::with_lpis();
    bench.machine.observe(10_000);
    let written_back = |id| {
        for n in 0..300 {
            bench.host(PE0).cdpend(id, n % 2 == 0);
        }
        let events = bench.machine.take_events().into_iter();
        events.filter(|(_, event)| matches!(event, Event::WriteBack { .. })).count()
    };
    assert!((1..30).contains(&written_back(lpi(5))));
    assert_eq!(written_back(spi(5)), 0);
}
