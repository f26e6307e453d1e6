//! What the checker remarks on and counts as no violation.

use crate::bench::*;

use crate::Pair;
use gicv5_model::violation::Remark;

fn remarks(machine: &Machine) -> Vec<Violation> {
    machine.take_remarks().into_iter().map(|Remark(said)| said).collect()
}

/// An SPI that is enabled, or pending, is given to a VM.
fn give_spi(enabled: bool) -> Vec<Violation> {
    let bench = GuestBench::new(config(2));
    match enabled {
        true => bench.host(PE0).cden(spi(5)),
        false => bench.host(PE0).cdpend(spi(5), true),
    }
    bench.host(PE0).gsb_sys();
    bench.select_spi(IRS, 5);
    bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
    remarks(&bench.machine)
}

/// An SPI is given to a VM, which is made invalid; whether the SPI is taken back or not, a VM with its ID is made.
fn next_vm(take_back: bool) -> Vec<Violation> {
    let bench = GuestBench::new(config(2));
    bench.select_spi(IRS, 5);
    bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
    bench.host(PE0).vdpend(VM, spi(5), false);
    bench.host(PE0).gsb_sys();
    bench.map_vm(VM, MapAction::MakeInvalid);
    if take_back {
        bench.command(IRS_SPI_VMR::ZERO);
    }
    bench.map_vm(VM, MapAction::MakeValid);
    // The descriptors of its VPEs are as the IRS has left them (VPE-8).
    let _ = bench.machine.take_violations();
    remarks(&bench.machine)
}

/// Attributes for an IRS that sees the caches of the PEs.
fn cached() -> IRS_CR1 {
    let written = Cacheability::WriteThrough;
    IRS_CR1::ZERO.with_ic(written).with_oc(written).with_sh(Shareability::Inner)
}

/// Two IRSs, and an IST that becomes valid while the second has these attributes.
fn with_ist(coherency: Coherency, attributes: IRS_CR1) -> Bench {
    let bench = Bench::with(1, |config| {
        config.add_irs();
        config.memory.coherency = coherency;
    });
    let fits = match coherency {
        Coherency::Coherent => cached(),
        Coherency::NonCoherent => IRS_CR1::ZERO,
    };
    bench.machine.write(IRS, fits);
    bench.machine.write(IrsIndex(1), attributes);
    bench.linear_ist();
    bench
}

fn attributes(coherency: Coherency, attributes: IRS_CR1) -> Vec<Violation> {
    remarks(&with_ist(coherency, attributes).machine)
}

/// An IST becomes valid, and then the attributes of an IRS are written.
fn late(attributes: IRS_CR1) -> Vec<Violation> {
    let bench = with_ist(Coherency::Coherent, cached());
    bench.machine.write(IrsIndex(1), attributes);
    remarks(&bench.machine)
}

#[test]
fn attributes_that_contradict_the_memory_are_remarked_on_when_a_table_becomes_valid() {
    // COH-11; Linux writes the first of each kind.
    let back = |sh| IRS_CR1::ZERO.with_ic(Cacheability::WriteBack).with_oc(Cacheability::WriteBack).with_sh(sh);
    let half = cached().with_ic(Cacheability::NonCacheable);
    let cases = [
        (Coherency::Coherent, back(Shareability::Inner), None),
        (Coherency::Coherent, back(Shareability::Outer), None),
        (Coherency::Coherent, back(Shareability::NonShareable), Some("not shared")),
        (Coherency::Coherent, half, Some("not cached")),
        (Coherency::NonCoherent, IRS_CR1::ZERO, None),
        (Coherency::NonCoherent, IRS_CR1::ZERO.with_sh(Shareability::Inner), None),
        (Coherency::NonCoherent, half, Some("are cached")),
        (Coherency::NonCoherent, cached(), Some("are cached")),
    ];
    for (coherency, written, expected) in cases {
        let said = attributes(coherency, written);
        let rules: Vec<_> = said.iter().map(|said| said.rule).collect();
        assert_eq!(rules, expected.map_or(vec![], |_| vec!["COH-11"]), "{coherency:?} {written:?}");
        assert!(said.iter().all(|said| said.what.contains(expected.unwrap_or_default())), "{said:?}");
    }
}

#[test]
fn attributes_that_were_written_too_late_do_not_count_for_the_next_table_either() {
    // GEN-20, COH-11.
    let bench = with_ist(Coherency::Coherent, IRS_CR1::ZERO);
    bench.machine.write(IrsIndex(1), cached());
    assert_eq!(bench.machine.read::<IRS_CR1>(IrsIndex(1)), cached());
    let rules = || remarks(&bench.machine).iter().map(|said| said.rule).collect::<Vec<_>>();
    assert_eq!(rules(), ["COH-11", "GEN-20"]);
    bench.command(IRS_IST_BASER::ZERO);
    bench.linear_ist();
    assert_eq!(rules(), ["COH-11"]);
    bench.command(IRS_IST_BASER::ZERO);
    bench.machine.write(IrsIndex(1), cached());
    bench.linear_ist();
    assert_eq!(rules(), [""; 0]);
}

#[test]
fn a_vm_table_under_attributes_that_contradict_the_memory_is_remarked_on() {
    // COH-11.
    for (attributes, expected) in [(cached(), vec![]), (IRS_CR1::ZERO, vec!["COH-11"])] {
        let machine = Machine::new(MachineConfig::new(1, 0).with_virtualisation()).unwrap();
        let host = ModelHost::on(&machine);
        let shape = VmTableGeometry::linear(4).unwrap();
        let table = host.table(shape).unwrap();
        machine.write(IRS, attributes);
        machine.write(IRS, shape.cfgr());
        let address = shape.base().place(table.block.address()).unwrap();
        host.command(IRS_VMT_BASER::ZERO.with_addr(address).with_valid(true)).unwrap();
        let rules: Vec<_> = remarks(&machine).iter().map(|said| said.rule).collect();
        assert_eq!(rules, expected);
    }
}

/// An SPI is routed to a PE.
fn route(target: impl FnOnce(&Bench) -> Iaffid) -> Vec<Violation> {
    let bench = Bench::with(2, |_| {});
    bench.host(PE0).cdaff(spi(5), target(&bench));
    bench.host(PE0).gsb_sys();
    remarks(&bench.machine)
}

/// What is done while an instruction on PE 1 is under way, or after it has completed.
fn under_way(
    gsb: bool,
    instruction: fn(&Pe<'_, ModelPe>),
    and: impl FnOnce(&GuestBench, &ModelHost),
) -> Vec<Violation> {
    let bench = GuestBench::with(2, |config| config.effect_latency = 1_000_000);
    let host = bench.vms.host.clone();
    remarks(&bench.machine);
    instruction(&bench.host(PE1));
    if gsb {
        bench.host(PE1).gsb_sys();
    }
    and(&bench, &host);
    remarks(&bench.machine)
}

pub(crate) const PAIRS: &[Pair] = &[
    Pair {
        rule: "SPI-11",
        breaks: ("an SPI is given to a VM while it is enabled", || give_spi(true)),
        nearly: ("an SPI is given to a VM while it is pending", || give_spi(false)),
    },
    Pair {
        rule: "COH-11",
        breaks: ("a coherent IRS is given a table and told that memory is not cached", || {
            attributes(Coherency::Coherent, IRS_CR1::ZERO)
        }),
        nearly: ("a coherent IRS is given a table and told that memory is written through", || {
            attributes(Coherency::Coherent, cached())
        }),
    },
    Pair {
        rule: "GEN-20",
        breaks: ("the attributes change while an IST is valid", || late(cached().with_sh(Shareability::Outer))),
        nearly: ("the attributes are written as they are while an IST is valid", || late(cached())),
    },
    Pair {
        rule: "SPI-13",
        breaks: ("a VM gets the ID of one whose SPI was not taken back", || next_vm(false)),
        nearly: ("a VM gets the ID of one whose SPI was taken back", || next_vm(true)),
    },
    Pair {
        rule: "RTE-4",
        breaks: ("an SPI is routed to an affinity ID that no PE has", || route(|_| Iaffid::new(77))),
        nearly: ("an SPI is routed to another PE", || route(|bench| bench.host(PE1).iaffid())),
    },
    Pair {
        rule: "LIFE-26",
        breaks: ("a VM is made invalid while an injection into it is under way on another PE", || {
            under_way(false, |pe| pe.vdpend(VM, spi(3), true), |bench, _| bench.map_vm(VM, MapAction::MakeInvalid))
        }),
        nearly: ("a VM is made invalid while an injection into another VM is under way", || {
            under_way(false, |pe| pe.vdpend(OTHER, spi(3), true), |bench, _| bench.map_vm(VM, MapAction::MakeInvalid))
        }),
    },
];

/// SPI-13.
#[test]
fn an_spi_that_outlives_its_vm_is_remarked_on_when_another_vm_gets_the_id() {
    let said = |taken_back| next_vm(taken_back).iter().map(|said| said.rule).collect::<Vec<_>>();
    assert_eq!(said(false), ["SPI-13"]);
    assert_eq!(said(true), [""; 0]);
}

#[test]
fn whatever_name_is_taken_away_or_given_anew_under_an_instruction_is_remarked_on() {
    // LIFE-26.
    type Deed = fn(&GuestBench, &ModelHost);
    type Instruction = fn(&Pe<'_, ModelPe>);
    let stories: [(&str, Instruction, Deed); 4] = [
        ("a VM becomes invalid", |pe| pe.vdpend(VM, lpi(3), true), |bench, _| bench.map_vm(VM, MapAction::MakeInvalid)),
        (
            "an IST of a VM becomes invalid",
            |pe| pe.vdpend(VM, lpi(3), true),
            |bench, _| {
                let command = IRS_VMAP_VISTR::ZERO.with_m(true).with_u(MapAction::MakeInvalid).with_vm_id(VM);
                bench.command(command.with_int_type(IrsIntType::Lpi));
            },
        ),
        (
            "an SPI is given to a VM",
            |pe| pe.cdpri(spi(5), priority(3)),
            |bench, _| {
                bench.select_spi(IRS, 5);
                bench.command(IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(VM));
            },
        ),
        (
            "the physical IST becomes invalid",
            |pe| pe.cdpri(lpi(200), priority(3)),
            |bench, _| {
                bench.command(IRS_IST_BASER::ZERO);
            },
        ),
    ];
    for (what, instruction, deed) in stories {
        let rules: Vec<_> = under_way(false, instruction, deed).iter().map(|said| said.rule).collect();
        assert_eq!(rules, ["LIFE-26"], "{what}");
        assert_eq!(under_way(true, instruction, deed), [], "{what} after GSB SYS");
    }
}

#[test]
fn a_vm_id_that_is_given_anew_under_an_injection_is_remarked_on() {
    // LIFE-26, INJ-10.
    let said = under_way(
        false,
        |_| {},
        |bench, _| {
            bench.map_vm(VM, MapAction::MakeInvalid);
            bench.host(PE1).vdpend(VM, spi(3), true);
            bench.map_vm(VM, MapAction::MakeValid);
            // The descriptors of its VPEs are as the IRS has left them (VPE-8).
            let _ = bench.machine.take_violations();
        },
    );
    assert_eq!(said.iter().map(|said| said.rule).collect::<Vec<_>>(), ["LIFE-26"]);
    assert!(said[0].what.contains("made valid while GIC VDPEND"), "{}", said[0]);
}

#[test]
fn an_lpi_that_is_released_under_an_instruction_of_another_pe_is_remarked_on() {
    // LIFE-26.
    for gsb in [false, true] {
        let mut config = MachineConfig::new(2, 0);
        config.effect_latency = 1_000_000;
        let host = ModelHost::start(&Machine::new(config).unwrap(), 0..16).unwrap();
        let held = host.allocate(Cookie(1)).unwrap();
        host.on_pe(PE1, |pe| {
            pe.cdpri(host.lpi(&held).into(), priority(3));
            if gsb {
                pe.gsb_sys();
            }
        });
        host.release(held).unwrap();
        let rules: Vec<_> = remarks(host.machine()).iter().map(|said| said.rule).collect();
        assert_eq!(rules, if gsb { vec![] } else { vec!["LIFE-26"] });
    }
}

#[test]
fn a_target_that_is_off_or_not_valid_is_remarked_on_when_it_is_chosen_and_when_the_interrupt_is_enabled() {
    // RTE-4.
    let bench = GuestBench::new(config(2));
    remarks(&bench.machine);
    let (host, there) = (bench.host(PE0), bench.host(PE1));
    there.set(ICC_CR0_EL1::ZERO);
    host.cdaff(spi(5), there.iaffid());
    host.gsb_sys();
    host.cden(spi(5));
    host.gsb_sys();
    let said: Vec<_> = remarks(&bench.machine).iter().map(|said| (said.rule, said.what.contains("is off"))).collect();
    assert_eq!(said, [("RTE-4", true), ("RTE-4", true)]);
    there.cden(spi(5));
    there.gsb_sys();
    assert_eq!(remarks(&bench.machine), [], "a PE that comes up");
    there.set(ICC_CR0_EL1::ZERO.with_en(true));
    host.cden(spi(5));
    host.gsb_sys();
    assert_eq!(remarks(&bench.machine), []);

    assert!(bench.load(PE0, VM, VPE0));
    for (vpe, expected) in [(VPE3, 0), (VpeId::new(9), 1)] {
        bench.guest(PE0).cdaff(spi(5), Iaffid::from(vpe));
        bench.guest(PE0).gsb_sys();
        assert_eq!(remarks(&bench.machine).len(), expected, "{vpe}");
    }
}
