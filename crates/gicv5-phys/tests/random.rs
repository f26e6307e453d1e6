//! Anything that callers may do, in any order, on machines of every kind, against what should come of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Lab, Shape, config, down, iaffid};
use gicv5_hal::{Coherency, Cookie, HostLpis, LpiError, Route};
use gicv5_model::config::Eagerness;
use gicv5_model::config::Effects;
use gicv5_model::fault::Fault;
use gicv5_phys::{Config, IpiKind, OwnedLpi, PeIndex, Phys, Source};
use proptest::prelude::*;

const PES: usize = 4;
const LPIS: u32 = 12;

#[derive(Clone, Debug)]
enum Step {
    Allocate,
    Release(usize),
    Enable(usize),
    Route(usize, usize),
    Pend(usize, usize),
    Ipi(usize, usize, u8),
    Take(usize),
    /// The PE goes out and comes back.
    Restart(usize),
    /// The next command is slow, but in time.
    Slow,
}

fn step() -> impl Strategy<Value = Step> {
    let (lpi, pe) = (0..LPIS as usize, 0..PES);
    prop_oneof![
        3 => Just(Step::Allocate),
        1 => lpi.clone().prop_map(Step::Release),
        2 => lpi.clone().prop_map(Step::Enable),
        2 => (lpi.clone(), pe.clone()).prop_map(|(lpi, pe)| Step::Route(lpi, pe)),
        4 => (lpi, pe.clone()).prop_map(|(lpi, pe)| Step::Pend(lpi, pe)),
        2 => (pe.clone(), pe.clone(), 0..2u8).prop_map(|(from, to, kind)| Step::Ipi(from, to, kind)),
        4 => pe.clone().prop_map(Step::Take),
        1 => pe.prop_map(Step::Restart),
        1 => Just(Step::Slow),
    ]
}

/// What an LPI should be.
struct Expected {
    owned: OwnedLpi,
    cookie: Cookie,
    enabled: bool,
    pending: bool,
    pe: usize,
}

struct World {
    lab: Lab,
    phys: Phys<Lab>,
    indices: Vec<PeIndex>,
    lpis: Vec<Expected>,
    /// Pending IPIs: the PE and the kind.
    ipis: BTreeSet<(usize, u8)>,
    cookies: u64,
}

impl World {
    fn new(shape: Shape, effects: Effects) -> World {
        let mut machine = shape.config();
        machine.switches.effects = effects;
        let lab = Lab::new(machine);
        let phys = Phys::new(lab.clone(), &Config { lpis: LPIS, ..config(&shape.irs_indices()) }).unwrap();
        phys.bring_up().unwrap();
        let indices = (0..PES).map(|pe| lab.on(pe, |pe| phys.bring_up_pe(pe)).unwrap()).collect();
        World { lab, phys, indices, lpis: Vec::new(), ipis: BTreeSet::new(), cookies: 0 }
    }

    fn step(&mut self, step: &Step) {
        let World { lab, phys, .. } = self;
        match *step {
            Step::Allocate => {
                self.cookies += 1;
                let cookie = Cookie(self.cookies);
                lab.on(0, |_| ());
                match phys.allocate(cookie) {
                    Ok(owned) => self.lpis.push(Expected { owned, cookie, enabled: false, pending: false, pe: 0 }),
                    Err(error) => assert_eq!((error, self.lpis.len()), (LpiError::NoneFree, LPIS as usize)),
                }
            }
            Step::Release(n) if n < self.lpis.len() => phys.release(self.lpis.remove(n).owned).unwrap(),
            Step::Ipi(from, to, kind) => {
                lab.on(from, |pe| phys.send_ipi(pe, self.indices[to], IpiKind(kind)).unwrap());
                self.ipis.insert((to, kind));
            }
            Step::Take(pe) => self.take(pe),
            Step::Restart(pe) => {
                let index = lab.on(pe, |pe| {
                    phys.bring_down_pe(pe).unwrap();
                    phys.bring_up_pe(pe).unwrap()
                });
                assert_eq!(index, self.indices[pe]);
                self.ipis.retain(|(to, _)| *to != pe);
            }
            Step::Slow => lab.machine.fault_next(Fault::Late(50)),
            Step::Release(n) | Step::Enable(n) | Step::Route(n, _) | Step::Pend(n, _) => {
                let Some(lpi) = self.lpis.get_mut(n) else { return };
                match *step {
                    Step::Route(_, pe) => {
                        phys.route(&lpi.owned, Route::To(iaffid(pe as u16)));
                        lpi.pe = pe;
                    }
                    Step::Pend(_, from) => {
                        lab.on(from, |pe| phys.set_pending(pe, lpi.owned.lpi()).unwrap());
                        lpi.pending = true;
                    }
                    _ => {
                        phys.enable(&lpi.owned);
                        lpi.enabled = true;
                    }
                }
            }
        }
        // Everything takes effect in finite time.
        self.lab.machine.advance(100);
    }

    fn take(&mut self, pe: usize) {
        let mut expected = BTreeMap::new();
        for lpi in self.lpis.iter_mut().filter(|lpi| lpi.pe == pe && lpi.enabled && lpi.pending) {
            lpi.pending = false;
            expected.insert(format!("{:?}", Source::Lpi(lpi.owned.lpi(), lpi.cookie)), 1);
        }
        self.ipis.retain(|(to, kind)| {
            let here = *to == pe;
            if here {
                expected.insert(format!("{:?}", Source::Ipi(IpiKind(*kind))), 1);
            }
            !here
        });
        assert_eq!(self.lab.machine.signals(gicv5_model::PeIndex(pe as u16)).irq, !expected.is_empty());
        let mut taken = BTreeMap::new();
        self.lab.on(pe, |pe| {
            self.phys.take_interrupts(pe, u64::MAX, |_, active| {
                *taken.entry(format!("{:?}", active.source())).or_insert(0) += 1;
                Some(active)
            })
        });
        assert_eq!(taken, expected);
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let coherency = prop_oneof![Just(Coherency::Coherent), Just(Coherency::NonCoherent)];
    let eagerness = prop_oneof![Just(Eagerness::Strict), Just(Eagerness::Random), Just(Eagerness::Early)];
    let metadata = prop_oneof![Just(None), Just(Some(24)), Just(Some(0))];
    (coherency, eagerness, metadata, prop_oneof![Just(1), Just(2), Just(4)], any::<u64>()).prop_map(
        |(coherency, eagerness, metadata, irss, seed)| {
            let pes_per_irs = PES as u16 / irss;
            Shape { irss, pes_per_irs, coherency, metadata, eagerness, seed, ..Shape::default() }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// RTE-5, ISM-5, ISM-9.
    #[test]
    fn whatever_callers_do_each_interrupt_is_taken_once_where_it_was_sent(
        shape in shape(),
        effects in prop_oneof![Just(Effects::Late), Just(Effects::Early), Just(Effects::Random)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(shape, effects);
        for step in &steps {
            world.step(step);
        }
        for pe in 0..PES {
            world.take(pe);
        }
        let World { lab, phys, lpis, .. } = world;
        for lpi in lpis {
            phys.release(lpi.owned).unwrap();
        }
        prop_assert_eq!(phys.strays(), 0);
        down(&lab, &phys);
    }
}
