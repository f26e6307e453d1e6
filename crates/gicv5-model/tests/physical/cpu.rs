//! The CPU interface: its registers, its PPIs, and what it signals.

use crate::bench::*;

/// A machine whose PEs have all 128 PPIs, those above 63 edge.
fn all_ppis(effects: Effects) -> MachineConfig {
    let mut config = MachineConfig::new(2, 64);
    config.switches.effects = effects;
    for cpu in &mut config.irses[0].pes {
        cpu.ppis = [PpiSet::new_with_raw_value(u64::MAX).without(Ppi::GICMNT), PpiSet::new_with_raw_value(u64::MAX)];
        cpu.edge_ppis = [PpiSet::EMPTY.with(Ppi::SW_PPI).with(Ppi::CTIIRQ), PpiSet::new_with_raw_value(u64::MAX)];
    }
    config
}

fn implemented() -> impl Iterator<Item = Ppi> {
    (0..128).map(ppi).filter(|ppi| *ppi != Ppi::GICMNT)
}

#[test]
fn the_identification_registers_of_a_pe_are_those_it_was_configured_with() {
    // GEN-11, GEN-12: encodings, and widths that may differ from the IRS's.
    let mut config = MachineConfig::new(2, 64);
    config.irses[0].pes[1].iaffid = Iaffid::new(0x1234);
    config.irses[0].pes[1].pri_bits = CpuPriBits::Four;
    config.irses[0].pes[1].id_bits = CpuIdBits::Bits16;
    let bench = Bench::at_reset(config);
    assert_eq!(bench.host(PE0).iaffid(), Iaffid::new(0));
    assert_eq!(bench.host(PE1).read::<ICC_IAFFIDR_EL1>().iaffid(), Iaffid::new(0x1234));
    let idr0 = bench.host(PE1).read::<ICC_IDR0_EL1>();
    assert_eq!((idr0.pri_bits(), idr0.id_bits()), (Ok(CpuPriBits::Four), Ok(CpuIdBits::Bits16)));
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_IDR0_EL1), 0x41);
    assert_ne!(bench.host(PE0).read_raw(SysReg::ID_AA64PFR2_EL1), 0);
}

#[test]
fn at_reset_a_pe_signals_nothing_and_has_everything_disabled() {
    let bench = Bench::at_reset(MachineConfig::new(1, 64));
    let pe = bench.host(PE0);
    for register in [SysReg::ICC_CR0_EL1, SysReg::ICC_PCR_EL1, SysReg::ICC_APR_EL1, SysReg::ICC_HPPIR_EL1] {
        assert_eq!(pe.read_raw(register), 0, "{register}");
    }
    for bank in PpiBank::ALL {
        for register in [
            SysReg::icc_ppi_enabler(bank),
            SysReg::icc_ppi_cactiver(bank),
            SysReg::icc_ppi_sactiver(bank),
            SysReg::icc_ppi_cpendr(bank),
            SysReg::icc_ppi_spendr(bank),
        ] {
            assert_eq!(pe.read_raw(register), 0, "{register}");
        }
    }
    assert_eq!(bench.machine.signals(PE0), Signals::default());
}

#[test]
fn every_ppi_of_both_banks_has_a_state_of_its_own() {
    // PPI-1, PPI-2; no mask of 32 bits (hazard 3).
    for effects in [Effects::Early, Effects::Late] {
        let bench = Bench::started(all_ppis(effects));
        for id in implemented() {
            bench.enable_ppi(PE0, id, id.id() % 32);
        }
        for id in implemented() {
            bench.machine.set_ppi_wire(PE0, id, true);
            assert_eq!(bench.hppi(PE0), Some(id.into()), "{id}");
            assert!(bench.irq(PE0) && !bench.irq(PE1));
            let pe = bench.host(PE0);
            assert_eq!(pe.acknowledge().int_id(), Some(id.into()));
            assert_eq!(pe.read_raw(SysReg::icc_ppi_sactiver(id.bank())), id.mask());
            pe.gsb_ack();
            pe.cdeoi();
            bench.machine.set_ppi_wire(PE0, id, false);
            pe.cddi(id.into());
            pe.gsb_sys();
            assert_eq!(pe.read_raw(SysReg::icc_ppi_sactiver(id.bank())), 0, "{id}");
            assert_eq!(bench.hppi(PE0), None);
        }
    }
}

#[test]
fn hazard_3_ppis_32_to_63_are_acknowledged_and_deactivated_like_the_others() {
    let bench = Bench::started(all_ppis(Effects::Early));
    for id in (32..64).map(ppi) {
        bench.enable_ppi(PE0, id, 3);
        bench.machine.set_ppi_wire(PE0, id, true);
    }
    for id in 32..64 {
        let taken = bench.host(PE0).acknowledge().int_id();
        assert!(matches!(taken, Some(IntId::Ppi(ppi)) if (32..64).contains(&ppi.id())), "after {id}");
        bench.host(PE0).cdeoi();
    }
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_PPI_SACTIVER0_EL1), 0xffff_ffff_0000_0000);
    for id in 32..64 {
        bench.host(PE0).cddi(ppi(id).into());
    }
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_PPI_SACTIVER0_EL1), 0);
}

#[test]
fn handling_modes_of_ppis_are_fixed() {
    // PPI-3, PPI-26: 3 is edge, 24 as implemented, the other architected ones level; 25 is not there.
    let bench = Bench::at_reset(all_ppis(Effects::Early));
    let level = !(Ppi::SW_PPI.mask() | Ppi::CTIIRQ.mask() | Ppi::GICMNT.mask());
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_PPI_HMR0_EL1), level);
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_PPI_HMR1_EL1), 0);
    let bench = Bench::small();
    let architected = Ppi::ARCHITECTED.iter().fold(0, |all, (ppi, ..)| all | ppi.mask());
    assert_eq!(
        bench.host(PE0).read_raw(SysReg::ICC_PPI_HMR0_EL1),
        architected & !(Ppi::SW_PPI.mask() | Ppi::GICMNT.mask())
    );
}

#[test]
fn an_edge_ppi_is_pended_and_cleared_by_software_and_a_level_one_is_not() {
    // PPI-4.
    let bench = Bench::started(all_ppis(Effects::Early));
    let pe = bench.host(PE0);
    pe.write_raw(SysReg::ICC_PPI_SPENDR0_EL1, u64::MAX);
    let edge = Ppi::SW_PPI.mask() | Ppi::CTIIRQ.mask();
    assert_eq!(pe.read_raw(SysReg::ICC_PPI_SPENDR0_EL1), edge);
    pe.write_raw(SysReg::ICC_PPI_SPENDR0_EL1, 0);
    assert_eq!(pe.read_raw(SysReg::ICC_PPI_CPENDR0_EL1), edge, "zeros set nothing and clear nothing");
    bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
    pe.write_raw(SysReg::ICC_PPI_CPENDR0_EL1, u64::MAX);
    assert_eq!(pe.read_raw(SysReg::ICC_PPI_SPENDR0_EL1), Ppi::CNTV.mask());
    pe.write_raw(SysReg::ICC_PPI_SPENDR1_EL1, 0b101);
    pe.write_raw(SysReg::ICC_PPI_CPENDR1_EL1, 0b001);
    assert_eq!(pe.read_raw(SysReg::ICC_PPI_SPENDR1_EL1), 0b100);
}

#[test]
fn a_ppi_wire_that_stays_high_is_one_edge() {
    // ISM-5, PPI-4.
    let bench = Bench::started(all_ppis(Effects::Early));
    bench.enable_ppi(PE0, ppi(64), 3);
    bench.machine.set_ppi_wire(PE0, ppi(64), true);
    bench.machine.set_ppi_wire(PE0, ppi(64), true);
    assert_eq!(take(&bench.host(PE0)), Some(ppi(64).into()));
    bench.machine.set_ppi_wire(PE0, ppi(64), true);
    assert_eq!(take(&bench.host(PE0)), None, "it has not risen");
    bench.machine.set_ppi_wire(PE0, ppi(64), false);
    assert_eq!(take(&bench.host(PE0)), None, "it has fallen");
    bench.machine.set_ppi_wire(PE0, ppi(64), true);
    assert_eq!(take(&bench.host(PE0)), Some(ppi(64).into()));
}

#[test]
fn active_bits_of_ppis_can_be_set_and_cleared_by_software() {
    // ISM-6, ISM-7.
    let bench = Bench::started(all_ppis(Effects::Early));
    bench.enable_ppi(PE0, Ppi::CNTV, 3);
    bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
    let pe = bench.host(PE0);
    pe.write_raw(SysReg::ICC_PPI_SACTIVER0_EL1, Ppi::CNTV.mask() | Ppi::CNTP.mask());
    assert!(!bench.irq(PE0));
    pe.write_raw(SysReg::ICC_PPI_CACTIVER0_EL1, Ppi::CNTV.mask());
    assert_eq!(pe.read_raw(SysReg::ICC_PPI_CACTIVER0_EL1), Ppi::CNTP.mask());
    assert!(bench.irq(PE0));
}

#[test]
fn a_disabled_ppi_keeps_its_state() {
    let bench = Bench::started(all_ppis(Effects::Early));
    bench.enable_ppi(PE0, Ppi::SW_PPI, 3);
    let pe = bench.host(PE0);
    pe.write_raw(SysReg::ICC_PPI_SPENDR0_EL1, Ppi::SW_PPI.mask());
    assert!(bench.irq(PE0));
    pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, 0);
    assert!(!bench.irq(PE0));
    pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, u64::MAX);
    assert!(bench.irq(PE0), "ISM-9");
}

#[test]
fn an_unimplemented_ppi_is_nowhere() {
    // PPI-5: RAZ/WI, and its wire leads nowhere.
    let bench = Bench::small();
    let pe = bench.host(PE0);
    for bank in PpiBank::ALL {
        for register in [SysReg::icc_ppi_enabler(bank), SysReg::icc_ppi_sactiver(bank), SysReg::icc_ppi_spendr(bank)] {
            pe.write_raw(register, u64::MAX);
        }
    }
    for n in 0..16 {
        pe.write_raw(SysReg::icc_ppi_priorityr(arbitrary_int::u4::new(n)), u64::MAX);
    }
    pe.isb();
    for id in [25, 40, 63, 64, 127].map(ppi) {
        bench.machine.set_ppi_wire(PE0, id, true);
        for register in [
            SysReg::icc_ppi_enabler(id.bank()),
            SysReg::icc_ppi_sactiver(id.bank()),
            SysReg::icc_ppi_spendr(id.bank()),
            SysReg::icc_ppi_hmr(id.bank()),
        ] {
            assert_eq!(pe.read_raw(register) & id.mask(), 0, "{register}, {id}");
        }
        let priorities =
            PPI_PRIORITYR::new_with_raw_value(pe.read_raw(SysReg::icc_ppi_priorityr(id.priority_register())));
        assert_eq!(priorities.priority(id), priority(0), "{id}");
        pe.cddi(id.into());
    }
    pe.gsb_sys();
}

#[test]
fn the_most_urgent_of_ppis_and_candidate_is_signalled() {
    // HPPI-3, HPPI-9.
    let bench = Bench::eager(1);
    bench.enable_ppi(PE0, Ppi::CNTV, 5);
    bench.enable_ppi(PE0, Ppi::CNTP, 4);
    bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
    assert_eq!(bench.hppi(PE0), Some(Ppi::CNTV.into()));
    bench.machine.set_ppi_wire(PE0, Ppi::CNTP, true);
    assert_eq!(bench.hppi(PE0), Some(Ppi::CNTP.into()));
    bench.pend(spi(9), 3, 0);
    assert_eq!(bench.hppi(PE0), Some(spi(9).into()));
    assert_eq!(bench.host(PE0).acknowledge().int_id(), Some(spi(9).into()), "what HPPIR says is what is taken");
    assert_eq!(bench.hppi(PE0), None, "nothing of sufficient priority");
    bench.host(PE0).cdeoi();
    assert_eq!(bench.hppi(PE0), Some(Ppi::CNTP.into()));
}

#[test]
fn the_most_urgent_ppi_wins_wherever_its_number_stands() {
    // HPPI-3.
    for (first, second) in [(ppi(3), ppi(30)), (ppi(30), ppi(3))] {
        let bench = Bench::eager(1);
        bench.enable_ppi(PE0, first, 4);
        bench.enable_ppi(PE0, second, 5);
        bench.machine.set_ppi_wire(PE0, first, true);
        bench.machine.set_ppi_wire(PE0, second, true);
        assert_eq!(bench.hppi(PE0), Some(first.into()));
    }
}

#[test]
fn a_more_urgent_ppi_or_candidate_wins_whatever_is_preferred_in_a_tie() {
    // HPPI-3, HPPI-4.
    for tie in [Tie::Ppi, Tie::Irs] {
        let bench = Bench::with(1, |config| config.switches.tie = tie);
        bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
        bench.pend(spi(9), 5, 0);
        bench.enable_ppi(PE0, Ppi::CNTV, 4);
        assert_eq!(bench.hppi(PE0), Some(Ppi::CNTV.into()), "{tie:?}");
        bench.enable_ppi(PE0, Ppi::CNTV, 6);
        assert_eq!(bench.hppi(PE0), Some(spi(9).into()), "{tie:?}");
    }
}

#[test]
fn a_tie_between_a_ppi_and_the_candidate_goes_as_the_switch_says() {
    // HPPI-4.
    for (tie, first) in [(Tie::Ppi, Ppi::CNTV.into()), (Tie::Irs, IntId::from(spi(9)))] {
        let bench = Bench::with(1, |config| config.switches.tie = tie);
        bench.enable_ppi(PE0, Ppi::CNTV, 5);
        bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
        bench.pend(spi(9), 5, 0);
        assert_eq!(bench.host(PE0).cdia().int_id(), Some(first));
    }
}

#[test]
fn a_disabled_cpu_interface_has_no_hppi() {
    // PRI-8: EN=0.
    let bench = Bench::eager(1);
    bench.pend(spi(9), 0, 0);
    bench.host(PE0).write(ICC_CR0_EL1::ZERO);
    assert!(!bench.irq(PE0));
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_HPPIR_EL1), 0);
    assert!(!bench.host(PE0).cdia().valid());
    assert_eq!(bench.candidate(PE0), Some(spi(9)), "the IRS does not know");
}

#[test]
fn an_nmi_is_taken_by_its_own_acknowledge_only() {
    // INS-2: priority 0 while SCTLR.NMI is 1. There is no FIQ with one domain.
    let bench = Bench::with_lpis();
    bench.machine.set_nmi(PE0, true);
    let pe = bench.host(PE0);
    for id in [spi(9), lpi(9)] {
        bench.pend(id, 1, 0);
        assert_eq!(bench.machine.signals(PE0), Signals { irq: true, fiq: false, nmi: false });
        assert!(!pe.acknowledge_nmi().valid());
        pe.cdpri(id, priority(0));
        assert_eq!(bench.machine.signals(PE0), Signals { irq: true, fiq: false, nmi: true });
        assert!(!pe.acknowledge().valid());
        assert_eq!(pe.read_raw(SysReg::ICC_APR_EL1), 0);
        bench.machine.set_nmi(PE0, false);
        assert!(!bench.machine.signals(PE0).nmi);
        assert!(!pe.acknowledge_nmi().valid());
        bench.machine.set_nmi(PE0, true);
        assert_eq!(pe.acknowledge_nmi().int_id(), Some(id.into()));
        assert_eq!(pe.read_raw(SysReg::ICC_APR_EL1), 1);
        pe.cdeoi();
        pe.cddi(id.into());
    }
    bench.enable_ppi(PE0, Ppi::CNTV, 0);
    bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
    assert!(!pe.acknowledge().valid());
    assert_eq!(pe.acknowledge_nmi().int_id(), Some(Ppi::CNTV.into()));
}

#[test]
fn writes_to_ppi_registers_act_at_an_isb() {
    // SYN-5: enable and disable both; time does not help. SYN-2: nor does a GSB.
    let bench = Bench::small();
    bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
    let pe = bench.host(PE0);
    for enabled in [true, false] {
        pe.write_raw(SysReg::ICC_PPI_ENABLER0_EL1, if enabled { Ppi::CNTV.mask() } else { 0 });
        assert_eq!(pe.read_raw(SysReg::ICC_PPI_ENABLER0_EL1) != 0, enabled, "software reads its own write");
        bench.machine.advance(1 << 40);
        pe.gsb_sys();
        pe.dsb();
        assert_eq!(bench.irq(PE0), !enabled);
        assert_eq!(bench.hppi(PE0).is_some(), !enabled);
        pe.isb();
        assert_eq!(bench.irq(PE0), enabled);
    }
}

#[test]
fn the_mask_acts_at_once_and_enable_and_active_priorities_at_an_isb() {
    // SYN-6.
    let bench = Bench::small();
    bench.pend(spi(9), 3, 0);
    let pe = bench.host(PE0);
    pe.write_raw(SysReg::ICC_PCR_EL1, 2);
    assert!(!bench.irq(PE0));
    pe.write_raw(SysReg::ICC_PCR_EL1, 31);
    assert!(bench.irq(PE0));
    pe.write_raw(SysReg::ICC_APR_EL1, 1 << 3);
    assert!(bench.irq(PE0));
    pe.isb();
    assert!(!bench.irq(PE0), "PRI-4");
    pe.write_raw(SysReg::ICC_APR_EL1, 1 << 4);
    pe.write(ICC_CR0_EL1::ZERO);
    pe.set(ICC_CR0_EL1::ZERO.with_en(true));
    assert!(bench.irq(PE0), "in order");
}

#[test]
fn the_running_priority_is_the_lowest_set_bit() {
    // PRI-5.
    let bench = Bench::eager(1);
    let pe = bench.host(PE0);
    for (active, number, taken) in
        [(0, 31, true), (1 << 31, 31, false), (1 << 31, 30, true), (0b1100, 2, false), (0b1100, 1, true), (1, 0, false)]
    {
        pe.write_raw(SysReg::ICC_APR_EL1, active);
        bench.pend(spi(9), number, 0);
        assert_eq!(bench.irq(PE0), taken, "{active:#b} {number}");
    }
    pe.write_raw(SysReg::ICC_APR_EL1, u64::MAX);
    assert_eq!(pe.read_raw(SysReg::ICC_APR_EL1), 0xffff_ffff);
}

#[test]
fn a_cpu_interface_with_four_priority_bits_keeps_the_high_ones() {
    // PRI-2 at the CPU interface.
    let bench = Bench::with(1, |config| config.irses[0].pes[0].pri_bits = CpuPriBits::Four);
    assert_eq!(bench.host(PE0).read_raw(SysReg::ICC_PCR_EL1), 30);
    bench.enable_ppi(PE0, Ppi::CNTV, 7);
    let register = SysReg::icc_ppi_priorityr(Ppi::CNTV.priority_register());
    let value = PPI_PRIORITYR::new_with_raw_value(bench.host(PE0).read_raw(register));
    assert_eq!(value.priority(Ppi::CNTV), priority(6));
}

#[test]
fn ppis_of_one_pe_are_not_those_of_another() {
    let bench = Bench::eager(2);
    bench.enable_ppi(PE1, Ppi::CNTV, 3);
    bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true);
    assert!(!bench.irq(PE0) && !bench.irq(PE1));
    bench.machine.set_ppi_wire(PE1, Ppi::CNTV, true);
    assert!(!bench.irq(PE0) && bench.irq(PE1));
    bench.machine.set_nmi(PE0, true);
    assert!(!bench.machine.signals(PE1).nmi);
}

#[test]
fn a_pe_that_does_not_exist_has_no_handle_no_signals_and_no_wires() {
    let bench = Bench::small();
    assert!(bench.machine.pe(PE1).is_none());
    bench.machine.set_ppi_wire(PE1, Ppi::CNTV, true);
    bench.machine.set_nmi(PE1, true);
    assert_eq!(bench.machine.signals(PE1), Signals::default());
    assert_eq!(bench.machine.candidate(PE1), None);
}

#[test]
fn a_pe_handle_is_the_pe_it_runs_on() {
    let bench = Bench::at_reset(MachineConfig::new(2, 64));
    let pe = bench.machine.pe(PE1).unwrap();
    assert_eq!(pe.on_this_pe(|pe| pe.iaffid()), Iaffid::new(1));
    assert_eq!(pe.index(), PE1);
    assert_eq!(pe.machine().pe_count(), 2);
}
