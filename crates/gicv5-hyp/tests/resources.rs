//! What the library takes of its host: heap, which it asks for first and can do without, and locks, under which it does
//! little.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "../../gicv5-irs/tests/common/seen.rs"]
mod seen;

use std::error::Error;

use common::board::Board;
use common::{IRS, SHAPES, SPEC, Shape, VPES, assert_clean, vpes};
use gicv5_arch::{Lpi, VpeId};
use gicv5_hal::{Cookie, CurrentPe, HostLpis, LpiError, NotReleased, Pe, Route};
use gicv5_hyp::{Config, Host, Hypervisor, VcpuIndex, VmSpec};
use gicv5_model::PeIndex;
use gicv5_model::fault::Fault;
use gicv5_model::host::ModelLpi;
use gicv5_model::{Machine, ModelHost};
use seen::{ALLOCATIONS, LIVE, MOST_TOUCHED, UNASKED, WRONG, count, inside, leave, outside, unlocked};

const LPIS: &str = "a call of the supply of LPIs";

/// The model's LPIs and PEs.
#[derive(Clone)]
struct Lpis(ModelHost);

type Seen = Board<seen::Seen, Lpis>;

fn new(shape: Shape) -> Seen {
    let machine = Machine::new(shape.config()).unwrap();
    let host = ModelHost::start(&machine, 0..2048).unwrap();
    Board { machine, host: Lpis(host), watch: seen::Seen }
}

impl CurrentPe for Lpis {
    type Ops = <ModelHost as CurrentPe>::Ops;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, Self::Ops>) -> R) -> R {
        unlocked("something on a PE", || self.0.on_this_pe(f))
    }
}

impl HostLpis for Lpis {
    type Lpi = ModelLpi;

    fn allocate(&self, cookie: Cookie) -> Result<ModelLpi, LpiError> {
        unlocked(LPIS, || self.0.allocate(cookie))
    }

    fn lpi(&self, lpi: &ModelLpi) -> Lpi {
        outside(|| self.0.lpi(lpi))
    }

    fn enable(&self, lpi: &ModelLpi) {
        unlocked(LPIS, || self.0.enable(lpi));
    }

    fn route(&self, lpi: &ModelLpi, to: Route) {
        unlocked(LPIS, || self.0.route(lpi, to));
    }

    fn release(&self, lpi: ModelLpi) -> Result<(), NotReleased<ModelLpi>> {
        unlocked(LPIS, || self.0.release(lpi))
    }
}

impl Hypervisor for Seen {
    type Lpis = Lpis;

    fn lpis(&self) -> &Lpis {
        &self.host
    }
}

/// Everything that a host does, on a host that may have been through it before. What fails is left to be settled.
fn life(host: &Host<Seen>, pe: &gicv5_model::ModelPe, vpes: &[VpeId]) -> Result<(), Box<dyn Error>> {
    let spec = VmSpec { vpes, ..SPEC };
    inside(|| host.bring_up())?;
    let (mut first, mut second) = (host.new_vm(), host.new_vm());
    let outcome = (|| -> Result<(), Box<dyn Error>> {
        inside(|| first.init(&spec))?;
        inside(|| second.init(&VmSpec::new(&VPES[..1])))?;
        inside(|| first.create_lpi_ist(16))?;
        let references: Result<Vec<_>, _> = (0..20).map(|_| inside(|| first.refer())).collect();
        references?.into_iter().for_each(|reference| inside(|| drop(reference)));
        inside(|| first.reset_vcpu(VcpuIndex(0)))?;
        let pe = Pe::new(pe);
        outside(|| first.load(&pe, VcpuIndex(0)))?;
        outside(|| first.put(&pe, VcpuIndex(0)))?;
        inside(|| first.remove_lpi_ist())?;
        inside(|| first.tear_down())?;
        Ok(())
    })();
    inside(|| drop((first, second)));
    inside(|| host.holdings());
    outcome?;
    inside(|| host.reap())?;
    inside(|| host.reclaim())?;
    inside(|| host.shut_down())?;
    Ok(())
}

/// A host on which all allocations but the first few are refused, or fail.
fn life_with(shape: Shape, allocations: u64, refuses: bool) -> u64 {
    let seen = new(shape);
    let cpu = seen.machine.pe(PeIndex(0)).unwrap();
    let before = seen.machine.snapshot();
    let context = format!("{shape:?}, {allocations} allocations, refused: {refuses}");
    count();
    leave(allocations, refuses);
    let mut made = 0;
    match inside(|| Host::new(seen.clone(), &shape.host_config())) {
        Err(error) => assert_eq!(error, gicv5_hyp::ProbeError::NoMemory, "{context}"),
        Ok(host) => {
            let outcome = life(&host, &cpu, &VPES);
            made = ALLOCATIONS.get();
            leave(u64::MAX, false);
            if allocations == u64::MAX {
                outcome.unwrap();
            } else {
                let text = format!("{:?}", outcome.expect_err(&context));
                assert!(text.contains("Records") || text.contains("NoMemory"), "{context}: {text}");
            }
            inside(|| host.reap()).unwrap();
            inside(|| host.reclaim()).unwrap();
            inside(|| host.shut_down()).unwrap();
            life(&host, &cpu, &VPES).unwrap_or_else(|error| panic!("{context}: and then {error}"));
            inside(|| drop(host));
        }
    }
    leave(u64::MAX, false);
    assert_eq!(UNASKED.get(), 0, "{context}: allocations that the host was not asked for");
    assert_eq!(LIVE.get(), 0, "{context}: bytes are left");
    assert_clean(&seen.machine, &before, &context);
    made
}

#[test]
fn every_allocation_is_asked_for_first_and_one_that_fails_anywhere_is_an_error_that_leaves_nothing() {
    for shape in SHAPES {
        let made = life_with(shape, u64::MAX, false);
        assert!(made >= 12, "{shape:?}: {made}");
        for refuses in [true, false] {
            for allocations in 0..made {
                life_with(shape, allocations, refuses);
            }
        }
    }
}

/// Decision 3: teardown, quarantine, reclaim and dropping a handle allocate nothing.
#[test]
fn nothing_that_takes_down_allocates() {
    for shape in SHAPES {
        let seen = new(shape);
        let host = Host::new(seen.clone(), &shape.host_config()).unwrap();
        host.bring_up().unwrap();
        let mut vms = [host.new_vm(), host.new_vm(), host.new_vm()];
        for vm in &mut vms {
            vm.init(&SPEC).unwrap();
            vm.create_lpi_ist(14).unwrap();
        }
        let [mut first, mut second, third] = vms;
        count();
        inside(|| {
            first.tear_down().unwrap();
            outside(|| seen.machine.fault_next(Fault::Late(1_000)));
            second.tear_down().unwrap_err();
            outside(|| seen.machine.advance(1_000));
            drop(third);
            host.reclaim().unwrap();
            host.reap().unwrap();
            host.shut_down().unwrap();
        });
        assert_eq!((ALLOCATIONS.get(), host.holdings().vms), (0, 0));
    }
}

/// Beyond the tables that the architecture wants. With SPIs and with LPIs, too.
#[test]
fn a_vm_with_one_vcpu_takes_less_than_512_bytes_of_heap() {
    let shape = SHAPES[3];
    let config = Config { timeout: shape.host_config().timeout, ..Config::new(IRS, 64, 64) };
    let host = Host::new(new(shape), &config).unwrap();
    host.bring_up().unwrap();
    // The first makes the chunk of doorbell words.
    let mut first = host.new_vm();
    first.init(&VmSpec::new(&VPES[..1])).unwrap();
    let spec = VmSpec { spis: 40, ..VmSpec::new(&VPES[..1]) };
    let mut vms: Vec<_> = (0..8).map(|_| host.new_vm()).collect();
    for vm in &mut vms {
        count();
        inside(|| {
            vm.init(&spec).unwrap();
            vm.create_lpi_ist(14).unwrap();
        });
        assert!((1..512).contains(&LIVE.get()), "{}", LIVE.get());
    }
}

/// Register accesses, waits, allocations, LPIs: all of it is done without a lock. Under one, an entry of a table is edited.
#[test]
fn under_a_lock_at_most_one_entry_of_a_table_is_touched() {
    let many: Vec<u16> = (0..200).collect();
    let many: [VpeId; 200] = vpes(many.try_into().unwrap());
    for (shape, most) in SHAPES.into_iter().zip([7, 7, 13, 13]) {
        for vpes in [&VPES[..1], &many[..]] {
            let seen = new(shape);
            let cpu = seen.machine.pe(PeIndex(0)).unwrap();
            WRONG.set(None);
            MOST_TOUCHED.set(0);
            let host = inside(|| Host::new(seen.clone(), &shape.host_config())).unwrap();
            life(&host, &cpu, vpes).unwrap();
            assert_eq!(WRONG.get(), None, "{shape:?}: under a lock");
            assert_eq!(MOST_TOUCHED.get(), most, "{shape:?}: accesses, maintenance and barriers, {} vCPUs", vpes.len());
        }
    }
}
