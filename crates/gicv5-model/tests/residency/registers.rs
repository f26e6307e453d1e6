//! Every system register, from both levels.

use crate::bench::*;
use gicv5_arch::layout::fields_mask;

/// A machine whose PE has every PPI, those above 63 edge.
fn all_ppis(effects: Effects) -> MachineConfig {
    let mut config = config(1);
    config.switches.effects = effects;
    let all = PpiSet::new_with_raw_value(u64::MAX);
    let cpu = &mut config.irses[0].pes[0];
    cpu.ppis = [all.without(Ppi::GICMNT), all];
    cpu.edge_ppis = [PpiSet::EMPTY.with(Ppi::SW_PPI).with(Ppi::CTIIRQ), all];
    config
}

/// Where a register can be reached from: the host at EL2, a guest at EL1.
fn levels(register: SysReg) -> (bool, bool) {
    let name = register.name();
    match register.info().reached {
        // The name of a guest's register leads there only from a guest.
        Reached::Via(_) => (false, true),
        _ if register == SysReg::ICC_HAPR_EL1 => (false, false),
        _ => (!name.ends_with("_EL3"), name.ends_with("_EL1")),
    }
}

#[test]
fn the_system_register_enables_of_gicv3_read_as_ones_and_ignore_writes() {
    // GEN-24, GEN-25: for the host and, as EL1 sees it, for guests of both kinds.
    let bench = GuestBench::running(crate::bench::with_legacy(eager(1)));
    let (host, guest) = (bench.host(PE0), bench.guest(PE0));
    for v3 in [false, true] {
        bench.put(PE0, None);
        host.set(ICH_VCTLR_EL2::ZERO.with_en(true).with_v3(v3));
        for (pe, register, ones) in
            [(&host, SysReg::ICC_SRE_EL1, 0x7), (&host, SysReg::ICC_SRE_EL2, 0xf), (&guest, SysReg::ICC_SRE_EL1, 0x7)]
        {
            for value in [0, u64::MAX] {
                pe.set_raw(register, value);
                assert_eq!(pe.read_raw(register), ones, "{register}, V3={v3}");
            }
        }
        bench.clean();
    }
}

#[test]
fn every_register_is_where_the_facts_have_it_and_nowhere_else() {
    // GEN-5, GEN-6, INS-21: ICH at EL2, ICV by the names of ICC from a guest, EL3 nowhere.
    let bench = GuestBench::running(all_ppis(Effects::Early));
    let pe = bench.machine.pe(PE0).unwrap();
    for &register in SysReg::ALL {
        let (host, guest) = levels(register);
        let read_only = register.info().access == Access::RO;
        let fate = |there: bool| if there { Fate::Executes } else { Fate::Undefined };
        assert_eq!(pe.fate_of_read(register), fate(host), "{register}");
        assert_eq!(pe.guest().fate_of_read(register), fate(guest), "{register}");
        assert_eq!(pe.fate_of_write(register), fate(host && !read_only), "{register}");
        assert_eq!(pe.guest().fate_of_write(register), fate(guest && !read_only), "{register}");
        // What is asked is what happens.
        for (there, handle) in [(host, bench.host(PE0)), (guest, bench.guest(PE0))] {
            let place = Place::SysReg(PE0, register);
            let value = handle.read_raw(register);
            if there {
                bench.clean();
            } else {
                bench.broken_at("CPU-1", place);
                assert_eq!(value, 0);
            }
            if !there || read_only {
                handle.write_raw(register, 1);
                bench.broken_at("CPU-1", place);
            }
        }
    }
}

#[test]
fn the_registers_of_el2_keep_their_fields_and_nothing_else() {
    // Those that do something when they are written have stories of their own.
    let special =
        [SysReg::ICH_CONTEXTR_EL2, SysReg::ICH_VCTLR_EL2, SysReg::ICH_PPI_PENDR0_EL2, SysReg::ICH_PPI_PENDR1_EL2];
    for effects in [Effects::Early, Effects::Late] {
        let bench = GuestBench::new(all_ppis(effects));
        let host = bench.host(PE0);
        for &register in SysReg::ALL.iter().filter(|register| register.name().starts_with("ICH_")) {
            if register.info().access == Access::RO || special.contains(&register) {
                continue;
            }
            // PPI 25 is not there (PPI-26).
            let absent = match register.name() {
                name if !name.contains("PPI") => 0,
                name if name.contains("PRIORITYR3_") => 0x1f << 8,
                name if name.contains("R0_") && !name.contains("PRIORITYR") => Ppi::GICMNT.mask(),
                _ => 0,
            };
            let mut ones = fields_mask(register.info().fields) & !absent;
            let mut zeros = 0;
            if register == SysReg::ICH_HFGRTR_EL2 {
                zeros = ICH_HFGRTR_EL2::ZERO.with_res1(true).raw_value();
                ones |= zeros;
            }
            for (written, kept) in [(u64::MAX, ones), (0, zeros)] {
                host.write_raw(register, written);
                assert_eq!(host.read_raw(register), kept, "{register}, before an ISB");
                host.isb();
                assert_eq!(host.read_raw(register), kept, "{register}");
            }
        }
    }
}

#[test]
fn at_reset_el2_lets_a_guest_do_nothing() {
    let machine = gicv5_model::Machine::new(config(1)).unwrap();
    let pe = machine.pe(PE0).unwrap();
    use gicv5_hal::PeOps;
    for &register in SysReg::ALL.iter().filter(|register| register.name().starts_with("ICH_")) {
        let expected = if register == SysReg::ICH_HFGRTR_EL2 { 8 } else { 0 };
        assert_eq!(pe.read_sysreg(register), expected, "{register}");
    }
    assert_eq!(pe.guest().fate_of_insn(gicv5_arch::insn::GicInsn::GICR_CDIA), Fate::Traps);
    assert_eq!(pe.guest().fate_of_read(SysReg::ICC_PCR_EL1), Fate::Traps);
    let legacy = gicv5_model::Machine::new(crate::bench::with_legacy(config(1))).unwrap();
    assert_eq!(
        legacy.pe(PE0).unwrap().read_sysreg(SysReg::ICH_VCTLR_EL2),
        2,
        "V3 is unknown at reset, and here it is 1"
    );
}

/// The field of ICH_HFGRTR_EL2 and ICH_HFGWTR_EL2 that an ICC register has.
fn field_of(register: SysReg) -> &'static str {
    let name = register.name();
    let rows = [
        ("ICC_PPI_HMR", "ICC_PPI_HMRn_EL1"),
        ("ICC_PPI_ENABLER", "ICC_PPI_ENABLERn_EL1"),
        ("ICC_PPI_CPENDR", "ICC_PPI_PENDRn_EL1"),
        ("ICC_PPI_SPENDR", "ICC_PPI_PENDRn_EL1"),
        ("ICC_PPI_CACTIVER", "ICC_PPI_ACTIVERn_EL1"),
        ("ICC_PPI_SACTIVER", "ICC_PPI_ACTIVERn_EL1"),
        ("ICC_PPI_PRIORITYR", "ICC_PPI_PRIORITYRn_EL1"),
        ("ICC_IDR0", "ICC_IDRn_EL1"),
    ];
    rows.iter().find(|(start, _)| name.starts_with(start)).map_or(name, |(_, field)| field)
}

#[test]
fn every_access_of_a_guest_traps_by_its_own_bit_and_by_no_other() {
    // INS-20.
    let bench = GuestBench::new(all_ppis(Effects::Early));
    let (host, pe) = (bench.host(PE0), bench.machine.pe(PE0).unwrap().guest());
    let accesses: Vec<SysReg> =
        SysReg::ALL.iter().copied().filter(|register| pe.fate_of_read(*register) == Fate::Executes).collect();
    for (trap, fields, is_read) in [
        (SysReg::ICH_HFGRTR_EL2, ICH_HFGRTR_EL2::FIELDS, true),
        (SysReg::ICH_HFGWTR_EL2, ICH_HFGWTR_EL2::FIELDS, false),
    ] {
        for field in fields.iter().filter(|field| field.name != "RES1") {
            host.write_raw(trap, !(1 << field.lsb));
            let mut trapped = 0;
            for &register in &accesses {
                let fate = if is_read { pe.fate_of_read(register) } else { pe.fate_of_write(register) };
                let canonical = match register.info().reached {
                    Reached::Via(twin) => twin,
                    _ => register,
                };
                let expected = match () {
                    () if !is_read && register.info().access == Access::RO => Fate::Undefined,
                    () if field_of(canonical) == field.name => Fate::Traps,
                    () => Fate::Executes,
                };
                assert_eq!(fate, expected, "{register} with {} of {trap}", field.name);
                trapped += u32::from(fate == Fate::Traps);
            }
            assert_ne!(trapped, 0, "{} of {trap} belongs to a register", field.name);
        }
        host.write_raw(trap, u64::MAX);
    }
}

#[test]
fn what_has_no_virtual_form_is_the_pe_s_own() {
    // VPE-19: so a hypervisor traps ICC_IAFFIDR_EL1 and ICC_IDR0_EL1 to show a guest its VPE ID and its widths.
    let mut config = eager(1);
    config.irses[0].pes[0].iaffid = gicv5_arch::Iaffid::new(0x21);
    let bench = GuestBench::running(config);
    for register in [SysReg::ICC_IAFFIDR_EL1, SysReg::ICC_IDR0_EL1, SysReg::ID_AA64PFR2_EL1] {
        assert_eq!(bench.guest(PE0).read_raw(register), bench.host(PE0).read_raw(register), "{register}");
    }
    assert_eq!(bench.guest(PE0).read_raw(SysReg::ICC_IAFFIDR_EL1), 0x21);
}

#[test]
fn the_handling_modes_of_virtual_ppis_are_those_of_the_physical_ones() {
    // PPI-3.
    let bench = GuestBench::new(all_ppis(Effects::Early));
    for bank in PpiBank::ALL {
        let register = SysReg::icc_ppi_hmr(bank);
        assert_eq!(bench.guest(PE0).read_raw(register), bench.host(PE0).read_raw(register));
    }
    assert_ne!(bench.guest(PE0).read_raw(SysReg::ICC_PPI_HMR0_EL1), 0);
}

#[test]
fn what_is_read_of_the_context_before_an_isb_is_what_was_written_but_for_f() {
    // RES-1, RES-14: the answer is not there yet, and what F says is of the time before.
    let bench = GuestBench::new(config(1));
    let host = bench.host(PE0);
    let asked = ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(VM).with_vpe(VPE3).with_irichppidis(true);
    host.write(asked);
    assert_eq!(host.read::<ICH_CONTEXTR_EL2>(), asked);
    bench.broken(&["RES-1"]);
    host.isb();
    assert_eq!(host.read::<ICH_CONTEXTR_EL2>(), asked);
}

#[test]
fn a_hidden_ppi_of_the_second_bank_is_not_signalled_and_one_that_is_not_pending_neither() {
    // PPI-27, where a hidden PPI is never signalled.
    let mut config = all_ppis(Effects::Early);
    config.switches.residency.hidden = HiddenPpi::NeverSignalled;
    let bench = GuestBench::running(config);
    let (host, ppi) = (bench.host(PE0), Ppi::new(70).unwrap());
    bench.enable_virtual_ppi(PE0, ppi, 5);
    assert!(!bench.virq(PE0), "it is not pending");
    host.set_raw(SysReg::ich_ppi_pendr(ppi.bank()), ppi.mask());
    assert!(bench.virq(PE0));
    host.set_raw(SysReg::ich_ppi_hvir(ppi.bank()), ppi.mask());
    assert!(!bench.virq(PE0), "it is hidden");
}
