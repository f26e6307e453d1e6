//! What an observer is told, and that it is enough to judge every delivery by.

use crate::bench::*;

use std::collections::BTreeMap;

fn observed(bench: &GuestBench, story: impl FnOnce()) -> Vec<Event> {
    bench.machine.observe(100_000);
    story();
    bench.machine.ignore();
    bench.machine.take_events().into_iter().map(|(_, event)| event).collect()
}

#[test]
fn an_observer_is_told_who_is_resident_who_runs_and_what_is_taken() {
    let bench = GuestBench::new(config(1));
    bench.inject(VM, lpi(7));
    let mut events = observed(&bench, || {
        assert!(bench.load(PE0, VM, VPE0));
        take(&bench.guest(PE0));
        bench.put(PE0, Some(31));
    });
    let interrupt = IntId::from(lpi(7));
    let (pe, vm, vpe) = (PE0, VM, VPE0);
    let candidate = |candidate| Event::Forwarded { pe, vm, vpe, candidate };
    let signal = |asserted| Event::Signal { pe, signal: Signal::VirtualIrq, asserted };
    let change = |change| Event::Interrupt { space: Space::Vm(vm), pe: None, interrupt, change };
    // What software does itself is told as for the host, and the IRS writes back when it likes.
    events.retain(|event| {
        !matches!(
            event,
            Event::SysRegRead { .. }
                | Event::SysRegWrite { .. }
                | Event::Instruction { .. }
                | Event::Barrier { .. }
                | Event::WriteBack { .. }
        )
    });
    assert_eq!(
        events,
        [
            Event::Residency { pe, vm, vpe, resident: true },
            candidate(Some((interrupt, priority(10)))),
            signal(true),
            Event::Level { pe, level: Level::Guest },
            change(Change::Pending(false)),
            change(Change::Active(true)),
            Event::Candidate {
                domain: gicv5_arch::values::Domain::NonSecure,
                space: Space::Vm(vm),
                target: affinity(vpe),
                candidate: None
            },
            // What is taken is not recalled.
            Event::VirtualAcknowledge { pe, vm, vpe, interrupt, priority: priority(10) },
            signal(false),
            Event::VirtualDrop { pe, vm, vpe, priority: Some(priority(10)) },
            Event::VirtualDeactivate { pe, vm, vpe, interrupt },
            change(Change::Active(false)),
            Event::Level { pe, level: Level::Host },
            Event::Residency { pe, vm, vpe, resident: false },
        ]
    );
}

#[test]
fn an_observer_is_told_of_a_request_that_failed() {
    // RES-2.
    let bench = GuestBench::new(config(1));
    bench.machine.fault_next(Fault::Refused);
    let events = observed(&bench, || assert!(!bench.load(PE0, VM, VPE0)));
    assert!(events.contains(&Event::ResidencyFailed { pe: PE0, vm: VM, vpe: VPE0 }));
    assert!(!events.iter().any(|event| matches!(event, Event::Residency { .. })));
}

#[test]
fn an_observer_is_told_of_every_ppi_on_its_own_side() {
    // PPI-6, PPI-7.
    let bench = GuestBench::new(config(1));
    let virtual_ppi = |change| Event::VirtualPpi { pe: PE0, ppi: Ppi::CNTV, change };
    let physical =
        |change| Event::Interrupt { space: Space::Physical, pe: Some(PE0), interrupt: IntId::Ppi(Ppi::CNTV), change };
    let ppis = |events: Vec<Event>| -> Vec<Event> {
        events
            .into_iter()
            .filter(|event| matches!(event, Event::VirtualPpi { .. } | Event::Interrupt { pe: Some(_), .. }))
            .collect()
    };
    let events = observed(&bench, || bench.enable_virtual_ppi(PE0, Ppi::CNTV, 4));
    assert_eq!(ppis(events), [virtual_ppi(Change::Priority(priority(4))), virtual_ppi(Change::Enabled(true))]);
    let events = observed(&bench, || bench.machine.set_ppi_wire(PE0, Ppi::CNTV, true));
    assert_eq!(ppis(events), [physical(Change::Pending(true))]);
    let events = observed(&bench, || {
        bench.host(PE0).set_raw(SysReg::ICH_PPI_DVIR0_EL2, Ppi::CNTV.mask());
        bench.machine.set_ppi_wire(PE0, Ppi::CNTV, false);
    });
    assert_eq!(
        ppis(events),
        [virtual_ppi(Change::Pending(true)), physical(Change::Pending(false)), virtual_ppi(Change::Pending(false)),]
    );
}

/// An interrupt as the events tell it.
#[derive(Clone, Copy)]
struct Told {
    pending: bool,
    active: bool,
    enabled: bool,
    priority: Priority,
    target: Iaffid,
}

impl Told {
    fn is_candidate_for(self, vpe: VpeId) -> bool {
        self.pending && !self.active && self.enabled && self.target == affinity(vpe)
    }

    fn hear(&mut self, change: Change) {
        match change {
            Change::Pending(to) => self.pending = to,
            Change::Active(to) => self.active = to,
            Change::Enabled(to) => self.enabled = to,
            Change::Priority(to) => self.priority = to,
            Change::Target(to, _) => self.target = to,
            Change::Mode(_) => {}
        }
    }
}

/// As every LPI and SPI of the bench is at first.
const FRESH: Told = Told { pending: false, active: false, enabled: true, priority: TEN, target: Iaffid::new(0) };
const TEN: Priority = Priority::new_with_raw_value(arbitrary_int::u5::new(10));

/// Who was told what: enough to say of every delivery whether it was due.
#[derive(Default)]
struct Judge {
    interrupts: BTreeMap<(VmId, IntId), Told>,
    ppis: BTreeMap<(PeIndex, Ppi), Told>,
    resident: BTreeMap<PeIndex, (VmId, VpeId)>,
    deliveries: u32,
}

impl Judge {
    fn hear(&mut self, event: &Event) -> Result<(), String> {
        match *event {
            Event::Residency { pe, vm, vpe, resident } => {
                if resident {
                    if self.resident.values().any(|of| *of == (vm, vpe)) || self.resident.contains_key(&pe) {
                        return Err(format!("{vpe} of {vm} on {pe} twice (RES-4)"));
                    }
                    self.resident.insert(pe, (vm, vpe));
                } else if self.resident.remove(&pe) != Some((vm, vpe)) {
                    return Err(format!("{vpe} of {vm} leaves {pe}, where it was not"));
                }
            }
            Event::Interrupt { space: Space::Vm(vm), pe: None, interrupt, change } => {
                self.interrupts.entry((vm, interrupt)).or_insert(FRESH).hear(change);
            }
            Event::VirtualPpi { pe, ppi, change } => {
                let fresh = Told { enabled: false, priority: priority(0), ..FRESH };
                self.ppis.entry((pe, ppi)).or_insert(fresh).hear(change);
            }
            Event::Forwarded { pe, vm, vpe, candidate: Some((interrupt, at)) } => {
                if self.resident.get(&pe) != Some(&(vm, vpe)) {
                    return Err(format!("{interrupt} goes to {pe}, where {vpe} of {vm} is not"));
                }
                let told = self.interrupts[&(vm, interrupt)];
                if !told.is_candidate_for(vpe) || told.priority != at {
                    return Err(format!("{interrupt} is no candidate"));
                }
                let more_urgent = self.interrupts.iter().find(|((of, _), told)| {
                    *of == vm && told.is_candidate_for(vpe) && told.priority.is_more_urgent_than(at)
                });
                if let Some(((_, other), _)) = more_urgent {
                    return Err(format!("{other} is more urgent than {interrupt}"));
                }
            }
            Event::VirtualAcknowledge { pe, vm, vpe, interrupt, priority } => {
                if self.resident.get(&pe) != Some(&(vm, vpe)) {
                    return Err(format!("{vpe} of {vm} takes {interrupt} on {pe}, where it is not"));
                }
                // The change of state has been told before.
                let told = match interrupt {
                    IntId::Ppi(ppi) => self.ppis[&(pe, ppi)],
                    id => self.interrupts[&(vm, id)],
                };
                if !told.active || told.priority != priority {
                    return Err(format!(
                        "{interrupt} is taken at {priority} and is not active, or at {}",
                        told.priority
                    ));
                }
                self.deliveries += 1;
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn every_delivery_can_be_judged_from_the_events_alone() {
    // RES-8, HPPI-1, INJ-10.
    let mut deliveries = 0;
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let bench = GuestBench::new(config(2));
        let mut judge = Judge::default();
        let events = observed(&bench, || {
            for n in [PE0, PE1] {
                bench.enable_virtual_ppi(n, Ppi::CNTV, 7);
            }
            for _ in 0..200 {
                let pe = if rng.chance(1, 2) { PE0 } else { PE1 };
                let vm = if rng.chance(1, 2) { VM } else { OTHER };
                let id = if rng.chance(1, 2) { lpi(rng.below(6) as u32) } else { spi(rng.below(6) as u32) };
                let (guest, host) = (bench.guest(pe), bench.host(pe));
                match rng.below(10) {
                    0 => {
                        bench.put(pe, None);
                        let vpe = if vm == VM && rng.chance(1, 2) { VPE3 } else { VPE0 };
                        bench.load(pe, vm, vpe);
                    }
                    1 => {
                        host.write_raw(SysReg::ICH_PPI_PENDR0_EL2, if rng.chance(1, 2) { Ppi::CNTV.mask() } else { 0 })
                    }
                    2 => guest.cdpri(id, priority(rng.below(20) as u32)),
                    3 => guest.cdaff(id, affinity(if rng.chance(1, 3) { VPE3 } else { VPE0 })),
                    4 | 5 => host.vdpend(vm, id, rng.chance(4, 5)),
                    6 => guest.gsb_sys(),
                    _ => {
                        take(&bench.guest(pe));
                    }
                }
            }
        });
        for event in &events {
            if let Err(what) = judge.hear(event) {
                panic!("{what}, seed {seed}");
            }
        }
        deliveries += judge.deliveries;
        // VPEs are made resident where others are, and twice.
        bench.said();
    }
    assert!(deliveries > 200, "{deliveries}");
}
