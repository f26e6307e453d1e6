//! Hardware that cannot be is refused, with the register and its value.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::error::Error;

use common::{Lab, Shape, config, driver_with};
use gicv5_arch::irs::{IRS_CR1, IRS_IST_CFGR, IrsReg};
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::values::{Cacheability, Levels, Shareability, Structure};
use gicv5_hal::{Coherency, IrsExt, IrsIndex};
use gicv5_phys::{Config, Fault, PeError, Phys, ProbeError};

/// Two IRSs, one of which reads something else than the model's.
fn with(register: IrsReg, change: impl FnOnce(u64) -> u64) -> (Lab, u64) {
    let lab = Shape { irss: 2, ..Shape::default() }.lab();
    let value = change(lab.machine.read_raw(IrsIndex(1), register));
    lab.irs_reads(1, register, value);
    (lab, value)
}

fn probe(lab: &Lab) -> Result<Phys<Lab>, ProbeError> {
    Phys::new(lab.clone(), &config(&[IrsIndex(0), IrsIndex(1)]))
}

#[test]
fn hardware_as_it_should_be_is_accepted_and_nothing_is_written() {
    let lab = Shape { irss: 2, ..Shape::default() }.lab();
    assert!(probe(&lab).is_ok());
    assert_eq!(lab.machine.commands(), 0);
}

/// GEN-10, GEN-11.
#[test]
fn an_id_register_that_cannot_be_is_named_with_its_value() {
    type Case = (IrsReg, fn(u64) -> u64, &'static str);
    let cases: &[Case] = &[
        (IrsReg::IRS_AIDR, |aidr| aidr | 1 << 8, "the frame is not an IRS"),
        (IrsReg::IRS_AIDR, |aidr| aidr | 1 << 4, "the architecture is not GICv5"),
        (IrsReg::IRS_IDR0, |idr0| idr0 & !3, "the frame serves another interrupt domain"),
        (IrsReg::IRS_IDR0, |idr0| idr0 | 15 << 2, "PA_RANGE is reserved"),
        (IrsReg::IRS_IDR0, |idr0| idr0 & 0xffff, "another IRS of the domain has the same IRSID"),
        (IrsReg::IRS_IDR1, |idr1| idr1 | 7 << 20, "PRI_BITS is reserved"),
        (IrsReg::IRS_IDR2, |idr2| idr2 & !(1 << 5), "there are no physical LPIs (LPI-3)"),
        (IrsReg::IRS_IDR5, |_| (1 << 24) + 1, "more SPIs than there are IDs"),
        (IrsReg::IRS_IDR5, |idr5| idr5 + 1, "another IRS counts the SPIs of the system otherwise"),
        (IrsReg::IRS_IDR6, |idr6| idr6 + 1, "the IRS has SPIs beyond those of the system"),
        (IrsReg::IRS_IDR7, |idr7| idr7 - 1, "another IRS has one of these SPIs (SPI-1)"),
    ];
    for (wrong, change, why) in cases {
        let (lab, read) = with(*wrong, change);
        match probe(&lab) {
            Err(ProbeError::Irs { irs, register, value, reason }) => {
                assert_eq!((irs, register, value, reason), (IrsIndex(1), *wrong, read, *why));
            }
            other => panic!("{wrong}, {why}: {other:?}"),
        }
        assert_eq!(lab.machine.commands(), 0, "nothing is written");
    }
}

/// IST-10, IST-15, GEN-10, GEN-13.
#[test]
fn an_ist_that_cannot_be_is_refused_with_the_reason() {
    type Case = (fn(u64) -> u64, &'static str);
    let cases: &[Case] = &[
        (|idr2| idr2 | 31, "IRS_IDR2.ID_BITS is 31"),
        (|idr2| idr2 | 15 << 6, "IRS_IDR2.MIN_LPI_ID_BITS is 15"),
        (|idr2| idr2 & !(7 << 11), "names no level-2 size"),
        // One IST for all: the shapes must agree (GEN-13).
        (|idr2| idr2 | 1 << 14, "needs 16 bytes"),
    ];
    for (change, why) in cases {
        let (lab, read) = with(IrsReg::IRS_IDR2, change);
        let error = probe(&lab).expect_err(why);
        let ProbeError::Ist { irs, register, value, .. } = error else { panic!("{why}: {error:?}") };
        assert_eq!((irs, register, value), (IrsIndex(1), IrsReg::IRS_IDR2, read));
        let source = error.source().expect("it says why").to_string();
        assert!(source.contains(why), "{source}");
    }
    // The second IRS has no 4 KiB level-2 tables, which the first one would have.
    let (lab, _) = with(IrsReg::IRS_IDR2, |idr2| idr2 & !(1 << 11) | 1 << 12);
    let lab_config = Config { lpis: 5_000, ..config(&[IrsIndex(0), IrsIndex(1)]) };
    let error = Phys::new(lab, &lab_config).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("level-2 tables of 4 KiB"), "{error:?}");
}

#[test]
fn the_same_irs_twice_or_none_is_refused() {
    let lab = Shape::default().lab();
    assert_eq!(Phys::new(lab.clone(), &config(&[])).unwrap_err(), ProbeError::NoIrs);
    let error = Phys::new(lab, &config(&[IrsIndex(0), IrsIndex(0)])).unwrap_err();
    assert_eq!(error, ProbeError::SameIrs { irs: IrsIndex(0) });
}

/// GEN-11, GEN-12, IST-28.
#[test]
fn more_lpis_than_the_narrower_of_irs_and_cpu_interface_has_are_refused() {
    let irss = [IrsIndex(0)];
    let lab = Shape::default().lab();
    // 16 ID bits, of which four LPIs go to IPIs.
    lab.pe_reads(SysReg::ICC_IDR0_EL1, 4 << 4);
    assert!(Phys::new(lab.clone(), &Config { lpis: (1 << 16) - 4, ..config(&irss) }).is_ok());
    let error = Phys::new(lab, &Config { lpis: (1 << 16) - 3, ..config(&irss) }).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "LPI_ID_BITS is 17, legal is 0 to 16 (IST-28)");
    let huge = Config { lpis: u32::MAX, ipi_kinds: 255, ..config(&irss) };
    let error = Phys::new(Shape::default().lab(), &huge).unwrap_err();
    assert_eq!(error.fault(), Fault::Caller);
    assert_eq!(error.to_string(), "IRS 0 can have no IST for 4294967295 LPIs as configured");
}

#[test]
fn a_pe_without_a_usable_cpu_interface_is_refused() {
    let refused = |register, value| {
        let lab = Shape::default().lab();
        lab.pe_reads(register, value);
        match probe_one(&lab) {
            Err(ProbeError::Pe { register: named, value: read, reason }) => {
                assert_eq!((named, read), (register, value));
                reason
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(SysReg::ID_AA64PFR2_EL1, 0), "the PE has no GICv5 CPU interface");
    assert_eq!(refused(SysReg::ICC_IDR0_EL1, 4 << 4 | 2), "ID_BITS is reserved");
    assert_eq!(refused(SysReg::ICC_IDR0_EL1, 7 << 4), "PRI_BITS is reserved");
}

fn probe_one(lab: &Lab) -> Result<Phys<Lab>, ProbeError> {
    Phys::new(lab.clone(), &config(&[IrsIndex(0)]))
}

/// GEN-12.
#[test]
fn a_pe_that_can_do_less_than_the_domain_uses_is_not_brought_up() {
    let (lab, phys) = driver_with(Shape::default(), |config| Config { lpis: 1 << 17, ..config });
    phys.bring_up().unwrap();
    for (value, why) in [(4 << 4, "ID_BITS is less"), (3 << 4 | 1, "PRI_BITS is less")] {
        lab.pe_reads(SysReg::ICC_IDR0_EL1, value);
        let error = lab.on(1, |pe| phys.bring_up_pe(pe)).unwrap_err();
        let PeError::CpuInterface(ProbeError::Pe { register, value: read, reason }) = error else { panic!("{error}") };
        assert_eq!((register, read), (SysReg::ICC_IDR0_EL1, value));
        assert!(reason.starts_with(why), "{reason}");
    }
    phys.tear_down().unwrap();
    lab.assert_no_violations();
}

#[test]
fn the_ist_lies_where_the_narrowest_irs_can_reach_it() {
    // 32 address bits at the second IRS, memory at 2 GiB and up: it fits.
    let (lab, _) = with(IrsReg::IRS_IDR0, |idr0| idr0 & !(15 << 2));
    let phys = probe(&lab).unwrap();
    phys.bring_up().unwrap();
    phys.tear_down().unwrap();
    // Memory above 4 GiB only: there is none to be had.
    let mut far = Shape::default().config();
    far.memory.base = gicv5_arch::PhysAddr::new(1 << 33).unwrap();
    let lab = Lab::new(far);
    let idr0 = lab.machine.read_raw(IrsIndex(0), IrsReg::IRS_IDR0);
    lab.irs_reads(0, IrsReg::IRS_IDR0, idr0 & !(15 << 2));
    let phys = probe_one(&lab).unwrap();
    let error = phys.bring_up().unwrap_err();
    assert!(matches!(error.cause, gicv5_phys::BringUpCause::Table(gicv5_phys::TableError::Memory(_))), "{error}");
}

/// GEN-20, GEN-23.
#[test]
fn the_memory_attributes_follow_the_coherency_unless_the_host_says_otherwise() {
    for coherency in [Coherency::Coherent, Coherency::NonCoherent] {
        let lab = Shape { coherency, ..Shape::default() }.lab();
        let phys = probe_one(&lab).unwrap();
        phys.bring_up().unwrap();
        let cr1: IRS_CR1 = lab.machine.read(IrsIndex(0));
        match coherency {
            Coherency::Coherent => {
                assert_eq!((cr1.sh(), cr1.ic()), (Ok(Shareability::Inner), Ok(Cacheability::WriteBack)));
                assert!(cr1.ist_ra() && cr1.ist_wa() && cr1.vmt_wa() && cr1.vpet_wa() && cr1.vped_wa() && cr1.vmd_wa());
            }
            Coherency::NonCoherent => {
                assert_eq!((cr1.ic(), cr1.oc()), (Ok(Cacheability::NonCacheable), Ok(Cacheability::NonCacheable)));
            }
        }
        phys.tear_down().unwrap();
    }
    let lab = Shape::default().lab();
    let attributes = IRS_CR1::ZERO.with_sh(Shareability::Outer).with_ist_ra(true);
    let phys = Phys::new(lab.clone(), &Config { attributes: Some(attributes), ..config(&[IrsIndex(0)]) }).unwrap();
    phys.bring_up().unwrap();
    assert_eq!(lab.machine.read::<IRS_CR1>(IrsIndex(0)), attributes);
}

/// The configuration of an IST that comes up on this shape with so many LPIs and contiguous bytes.
fn ist(shape: Shape, lpis: u32, contiguous_bytes: u64) -> IRS_IST_CFGR {
    let (lab, phys) = driver_with(shape, |config| Config { lpis, contiguous_bytes, ..config });
    phys.bring_up().unwrap();
    lab.assert_no_violations();
    lab.machine.read(IrsIndex(0))
}

/// IST-10, IST-14, IST-15.
#[test]
fn the_shape_of_the_ist_follows_from_the_id_registers_and_the_memory() {
    for (metadata, istsz) in [(None, 0), (Some(24), 1), (Some(0), 2)] {
        for (l2_sizes, l2sz, contiguous) in
            [(0b001, 0, 0x1000), (0b010, 1, 0x4000), (0b111, 2, 0x1_0000), (0b111, 0, 0x2000)]
        {
            let cfgr = ist(Shape { metadata, l2_sizes, ..Shape::default() }, 60_000, contiguous);
            assert_eq!(cfgr.structure(), Structure::TwoLevel);
            assert_eq!(cfgr.istsz().unwrap().raw_value().value(), istsz);
            assert_eq!(cfgr.l2sz().unwrap().raw_value().value(), l2sz);
            assert_eq!(cfgr.lpi_id_bits().value(), 16);
        }
        let linear = Shape { metadata, levels: Levels::Linear, l2_sizes: 0, ..Shape::default() };
        let cfgr = ist(linear, 60_000, 1 << 20);
        assert_eq!(cfgr.structure(), Structure::Linear);
        let shape = Shape { metadata, ..Shape::default() };
        assert_eq!(ist(shape, 60_000, 1 << 20).structure(), Structure::Linear, "it fits");
    }
}
