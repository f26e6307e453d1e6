//! What a call promises has happened when it returns, without any GSB SYS but its own: `docs/effects.md`, row by row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::board::{Board, Watch};
use common::{IRS, SHAPES, SPEC, VPES};
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Iaffid, IntId, IrsIntId, Lpi, Priority, Spi, VmId};
use gicv5_hal::{Cookie, CurrentPe, HostLpis, Pe, Platform, Route};
use gicv5_hyp::{Host, Hypervisor, Pending, VcpuIndex, Vm};
use gicv5_model::{Machine, ModelHost, ModelPe, PeIndex};
use gicv5_phys::{IpiKind, OwnedLpi, Phys};

#[derive(Clone)]
struct Bare;

impl Watch for Bare {
    type Locks = <ModelHost as Platform>::Locks;
}

type Below = Board<Bare, ModelPe>;

/// A PE, and the driver that supplies the LPIs.
struct Driven {
    pe: ModelPe,
    phys: Arc<Phys<Below>>,
}

impl CurrentPe for Driven {
    type Ops = ModelPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, ModelPe>) -> R) -> R {
        self.pe.on_this_pe(f)
    }
}

type Above = Board<Bare, Driven>;

impl Hypervisor for Above {
    type Lpis = Phys<Below>;

    fn lpis(&self) -> &Phys<Below> {
        &self.host.phys
    }
}

/// Both drivers, up on a machine on which nothing takes effect by itself. All calls are made on one of its two PEs.
struct World {
    machine: Machine,
    /// The PE that the calls are made on, and the other.
    here: ModelPe,
    there: ModelPe,
    phys: Arc<Phys<Below>>,
    host: Host<Above>,
    pes: [gicv5_phys::PeIndex; 2],
}

const CALLERS: u64 = 7;

impl World {
    fn new(n: u16) -> World {
        let mut config = SHAPES[0].config();
        config.effect_latency = u64::MAX >> 8;
        let machine = Machine::new(config).unwrap();
        let pes = [n, 1 - n].map(|n| machine.pe(PeIndex(n)).unwrap());
        let below = Board { machine: machine.clone(), host: pes[0].clone(), watch: Bare };
        let timeout = Duration::from_micros(200);
        let config = gicv5_phys::Config { timeout, ipi_kinds: 1, ..gicv5_phys::Config::new(&[IRS], 64) };
        let phys = Arc::new(Phys::new(below.clone(), &config).unwrap());
        assert!(machine.set_interrupt(spi(9).into(), L2_ISTE::ZERO.with_active(true).with_enable(true)));
        phys.bring_up().unwrap();
        let indices = pes.each_ref().map(|pe| phys.bring_up_pe(&Pe::new(pe)).unwrap());
        for pe in &pes {
            let pe = Pe::new(pe);
            pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
            pe.isb();
        }
        let driven = Driven { pe: pes[0].clone(), phys: phys.clone() };
        let host = Host::new(Board { machine: machine.clone(), host: driven, watch: Bare }, &SHAPES[0].host_config());
        let host = host.unwrap();
        host.bring_up().unwrap();
        let [here, there] = pes;
        World { machine, here, there, phys, host, pes: indices }
    }

    fn state(&self, id: impl Into<IrsIntId>) -> L2_ISTE {
        self.machine.interrupt(id.into()).unwrap()
    }

    fn virtually(&self, vm: VmId, id: impl Into<IrsIntId>) -> L2_ISTE {
        self.machine.virtual_interrupt(vm, id.into()).unwrap()
    }

    fn vm(&self) -> Vm<'_, Above> {
        let mut vm = self.host.new_vm();
        vm.init(&SPEC).unwrap();
        vm
    }

    /// A vCPU runs here. Its guest has enabled SPI 3 for itself, and no GSB SYS has come since.
    fn running(&self, vm: &Vm<'_, Above>) {
        vm.load(&Pe::new(&self.here), VcpuIndex(0)).unwrap();
        let guest = self.here.guest();
        let guest = Pe::new(&guest);
        guest.write(ICC_CR0_EL1::ZERO.with_en(true));
        guest.write_raw(SysReg::ICC_PCR_EL1, 31);
        guest.isb();
        guest.cdaff(spi(3).into(), VPES[0].into());
        guest.cden(spi(3).into());
    }

    fn owned(&self) -> (OwnedLpi, Lpi) {
        let owned = self.phys.allocate(Cookie(CALLERS)).unwrap();
        let lpi = owned.lpi();
        (owned, lpi)
    }

    fn iaffids(&self) -> [Iaffid; 2] {
        [&self.here, &self.there].map(|pe| Pe::new(pe).iaffid())
    }

    fn doorbells(&self) -> impl Iterator<Item = (u32, L2_ISTE)> {
        // The first two are IPIs.
        (2..64).filter_map(|id| Some((id, self.machine.interrupt(Lpi::new(id).ok()?.into())?)))
    }
}

fn spi(id: u32) -> Spi {
    Spi::new(id).unwrap()
}

fn ipi(n: u32) -> IrsIntId {
    Lpi::new(n).unwrap().into()
}

/// Makes a call, and fails unless what it promises has happened.
type Promise = fn(&World, &Pe<'_, ModelPe>);

/// One for each row that is complete.
const PROMISES: &[(&str, &str, Promise)] = &[
    ("phys", "bring_up", |world, _| {
        let found = world.state(spi(9));
        assert!(!found.active() && !found.enable() && found.priority().number() == 16, "{found:?}");
    }),
    ("phys", "tear_down", |world, pe| {
        world.phys.enable_interrupt(pe, spi(9)).unwrap();
        world.host.shut_down().unwrap();
        for pe in [&world.here, &world.there] {
            world.phys.bring_down_pe(&Pe::new(pe)).unwrap();
        }
        world.phys.tear_down().unwrap();
        assert!(!world.state(spi(9)).enable());
    }),
    ("phys", "bring_up_pe", |world, _| assert!(world.state(ipi(0)).enable() && world.state(ipi(1)).enable())),
    ("phys", "bring_down_pe", |world, pe| {
        world.phys.send_ipi(pe, world.pes[0], IpiKind(0)).unwrap();
        world.phys.bring_down_pe(pe).unwrap();
        let found = world.state(ipi(0));
        assert!(!found.enable() && !found.pending(), "{found:?}");
    }),
    ("phys", "pe_is_gone", |world, pe| {
        world.phys.send_ipi(pe, world.pes[1], IpiKind(0)).unwrap();
        world.phys.pe_is_gone(pe, world.pes[1]).unwrap();
        let found = world.state(ipi(1));
        assert!(!found.enable() && !found.pending(), "{found:?}");
    }),
    ("phys", "enable_interrupt", |world, pe| {
        world.phys.enable_interrupt(pe, spi(1)).unwrap();
        assert!(world.state(spi(1)).enable());
    }),
    ("phys", "disable_interrupt", |world, pe| {
        world.phys.enable_interrupt(pe, spi(1)).unwrap();
        world.phys.disable_interrupt(pe, spi(1)).unwrap();
        assert!(!world.state(spi(1)).enable());
    }),
    ("phys", "set_priority", |world, pe| {
        world.phys.set_priority(pe, spi(1), Priority::new(3).unwrap()).unwrap();
        assert_eq!(world.state(spi(1)).priority().number(), 3);
    }),
    ("phys", "set_target", |world, pe| {
        let [_, there] = world.iaffids();
        world.phys.set_target(pe, spi(1), there).unwrap();
        assert_eq!(world.state(spi(1)).iaffid(), there);
    }),
    ("phys", "set_handling", |world, pe| {
        world.phys.set_handling(pe, spi(1), HandlingMode::Level).unwrap();
        assert_eq!(world.state(spi(1)).hm(), HandlingMode::Level);
    }),
    ("phys", "set_pending", |world, pe| {
        world.phys.set_pending(pe, spi(1)).unwrap();
        assert!(world.state(spi(1)).pending());
    }),
    ("phys", "clear_pending", |world, pe| {
        world.phys.set_pending(pe, spi(1)).unwrap();
        world.phys.clear_pending(pe, spi(1)).unwrap();
        assert!(!world.state(spi(1)).pending());
    }),
    ("phys", "configuration", |world, pe| {
        pe.cden(spi(1).into());
        assert!(world.phys.configuration(pe, spi(1)).unwrap().enabled, "what the PE began before is in it");
    }),
    ("phys", "send_ipi", |world, pe| {
        world.phys.send_ipi(pe, world.pes[1], IpiKind(0)).unwrap();
        assert!(world.state(ipi(1)).pending());
    }),
    ("phys", "send_ipis", |world, pe| {
        assert_eq!(world.phys.send_ipis(pe, world.pes, IpiKind(0)), Ok(2));
        assert!(world.state(ipi(0)).pending() && world.state(ipi(1)).pending());
    }),
    ("phys", "allocate", |world, _| {
        let (_owned, lpi) = world.owned();
        assert_eq!(world.state(lpi).priority().number(), 16);
    }),
    ("phys", "enable", |world, _| {
        let (owned, lpi) = world.owned();
        world.phys.enable(&owned);
        assert!(world.state(lpi).enable());
    }),
    ("phys", "route", |world, _| {
        let (owned, lpi) = world.owned();
        let [_, there] = world.iaffids();
        world.phys.route(&owned, Route::To(there));
        assert_eq!(world.state(lpi).iaffid(), there);
    }),
    ("phys", "release", |world, pe| {
        let (owned, lpi) = world.owned();
        world.phys.enable(&owned);
        pe.cdpend(lpi.into(), true);
        world.phys.release(owned).unwrap();
        let found = world.state(lpi);
        assert!(!found.enable() && !found.pending(), "{found:?}");
    }),
    ("phys", "abandon", |world, _| {
        let (owned, lpi) = world.owned();
        world.phys.enable(&owned);
        world.phys.abandon(owned);
        assert!(!world.state(lpi).enable());
    }),
    ("hyp", "inject", |world, pe| {
        let vm = world.vm();
        vm.inject(pe, IntId::Spi(spi(3)), Pending::Set).unwrap();
        assert!(world.virtually(vm.id().unwrap(), spi(3)).pending());
        let mut injecting = vm.injecting(pe);
        injecting.inject(IntId::Spi(spi(4)), Pending::Set).unwrap();
        assert!(!world.virtually(vm.id().unwrap(), spi(4)).pending(), "or this test shows nothing");
        drop(injecting);
        assert!(world.virtually(vm.id().unwrap(), spi(4)).pending());
    }),
    ("hyp", "put", |world, pe| {
        let vm = world.vm();
        world.running(&vm);
        vm.put(pe, VcpuIndex(0)).unwrap();
        assert!(world.virtually(vm.id().unwrap(), spi(3)).enable());
    }),
    ("hyp", "idle", |world, pe| {
        let vm = world.vm();
        world.running(&vm);
        let _ = vm.idle(pe, VcpuIndex(0)).unwrap();
        assert!(world.virtually(vm.id().unwrap(), spi(3)).enable());
        let [here, _] = world.iaffids();
        assert!(world.doorbells().filter(|(_, found)| found.enable()).all(|(_, found)| found.iaffid() == here));
    }),
    ("hyp", "move_doorbells", |world, pe| {
        let vm = world.vm();
        world.running(&vm);
        let _ = vm.idle(pe, VcpuIndex(0)).unwrap();
        let ([here, there], other) = (world.iaffids(), Pe::new(&world.there));
        assert_eq!(vm.move_doorbells(&other, here), Ok(1));
        // The platform of this test has one PE, which routes; the doorbell goes to the one that it was told.
        let moved = world.doorbells().filter(|(_, found)| found.enable() && found.iaffid() == there);
        assert_eq!(moved.count(), 1);
    }),
    ("hyp", "evict", |world, pe| {
        let vm = world.vm();
        let id = vm.id().unwrap();
        world.running(&vm);
        drop(vm);
        world.host.evict(pe).unwrap().expect("it is resident");
        assert!(world.virtually(id, spi(3)).enable());
    }),
    ("hyp", "init", |world, _| {
        let _vm = world.vm();
        assert_eq!(world.doorbells().filter(|(_, found)| found.enable()).count(), VPES.len());
    }),
    ("hyp", "tear_down", |world, _| {
        world.vm().tear_down().unwrap();
        assert!(world.doorbells().all(|(_, found)| !found.enable() && !found.pending()));
    }),
];

/// The rows of the table: crate, call, and what holds when it returns.
fn rows() -> Vec<(String, String, String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/effects.md");
    let text = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| phys |") || line.starts_with("| hyp |"));
    rows.map(|line| match <[String; 4]>::try_from(cells(line)) {
        Ok([which, call, when, by]) => (which, call.trim_matches('`').to_owned(), when, by),
        Err(cells) => panic!("{cells:?}"),
    })
    .collect()
}

/// SYN-1, INS-22.
#[test]
fn what_the_table_calls_complete_has_happened_when_the_call_returns() {
    let mut rows_of_promises = BTreeSet::new();
    for (which, call, when, by) in rows() {
        if when.starts_with("complete") {
            assert_eq!(by, "", "{call}: nobody has to complete it");
            rows_of_promises.insert((which, call));
        } else {
            assert!(when.starts_with("begun") && !by.is_empty(), "{call}: the table names who completes it");
        }
    }
    let tested: BTreeSet<_> = PROMISES.iter().map(|(which, call, _)| ((*which).into(), (*call).into())).collect();
    assert_eq!(rows_of_promises, tested);
    for n in [0, 1] {
        for (which, call, promise) in PROMISES {
            let world = World::new(n);
            println!("{which} {call} on PE {n}");
            promise(&world, &Pe::new(&world.here));
        }
    }
}

/// INJ-10, INS-15: what was injected on another PE does not reach the next VM of the ID.
#[test]
fn an_injection_does_not_reach_the_next_vm_of_the_id() {
    let world = World::new(0);
    let mut first = world.vm();
    let id = first.id();
    first.inject(&Pe::new(&world.there), IntId::Spi(spi(3)), Pending::Set).unwrap();
    first.tear_down().unwrap();
    let second = world.vm();
    assert_eq!(second.id(), id);
    Pe::new(&world.there).gsb_sys();
    assert!(!world.virtually(id.unwrap(), spi(3)).pending());
}

/// RTE-5, DB-25: what its last owner did to an LPI on another PE does not come late for the next.
#[test]
fn the_next_owner_of_an_lpi_has_it_as_allocated() {
    let world = World::new(0);
    let (owned, lpi) = world.owned();
    let there = Pe::new(&world.there);
    world.phys.set_pending(&there, lpi).unwrap();
    world.phys.set_target(&there, lpi, Iaffid::new(77)).unwrap();
    world.phys.enable_interrupt(&there, lpi).unwrap();
    world.phys.release(owned).unwrap();
    let (_next, again) = world.owned();
    assert_eq!(lpi, again);
    there.gsb_sys();
    let found = world.state(lpi);
    assert!(!found.enable() && !found.pending() && found.iaffid() == world.iaffids()[0], "{found:?}");
}
