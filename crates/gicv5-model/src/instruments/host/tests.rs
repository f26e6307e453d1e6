use super::*;
use crate::words::config::MachineConfig;
use crate::words::fault::Fault;
use gicv5_arch::{Iaffid, Lpi};
use gicv5_hal::{HostLpis, LpiError, Route};

fn host(lpis: Range<u32>) -> ModelHost {
    let machine = Machine::new(MachineConfig::new(2, 0)).unwrap();
    ModelHost::start(&machine, lpis).unwrap()
}

/// The same LPI a second time, as only software that is not Rust could have it.
fn duplicate(lpi: &ModelLpi) -> ModelLpi {
    ModelLpi { ..*lpi }
}

fn rules(host: &ModelHost) -> Vec<&'static str> {
    host.machine.take_violations().into_iter().map(|violation| violation.rule).collect()
}

fn ring(host: &ModelHost, lpi: &ModelLpi) {
    host.on_this_pe(|pe| {
        pe.cdpend(lpi.lpi.into(), true);
        pe.gsb_sys();
    });
}

#[test]
fn an_lpi_is_taken_on_the_pe_it_is_routed_to_and_gives_its_cookie_back() {
    let host = host(100..102);
    let (one, two) = (host.allocate(Cookie(11)).unwrap(), host.allocate(Cookie(22)).unwrap());
    assert_eq!([host.lpi(&one).id(), host.lpi(&two).id()], [100, 101]);
    assert_eq!(host.allocate(Cookie(33)), Err(LpiError::NoneFree));
    for lpi in [&one, &two] {
        host.enable(lpi);
        ring(&host, lpi);
    }
    host.on_pe(PeIndex(1), |pe| {
        host.route(&two, Route::ThisPe);
        pe.gsb_sys();
    });
    for (pe, cookie, id) in [(0, 11, 100), (1, 22, 101)] {
        let mut taken = Vec::new();
        assert_eq!(host.take_interrupts(PeIndex(pe), |interrupt| taken.push(interrupt)), 1);
        let interrupt = IntId::Lpi(Lpi::new(id).unwrap());
        assert_eq!(taken, [Taken { interrupt, cookie: Some(Cookie(cookie)) }], "RTE-1");
    }
    assert!(host.on_pe(PeIndex(2), |_| ()).is_none());
    host.route(&two, Route::To(Iaffid::new(0)));
    ring(&host, &two);
    assert_eq!((host.take_interrupts(PeIndex(1), |_| ()), host.take_interrupts(PeIndex(0), |_| ())), (0, 1));
    assert_eq!(rules(&host), [""; 0]);
}

#[test]
fn an_lpi_is_disabled_at_first_and_at_rest_when_it_is_released_and_then_somebody_elses() {
    // DB-25.
    let host = host(0..8);
    let lpi = host.allocate(Cookie(1)).unwrap();
    ring(&host, &lpi);
    assert_eq!(host.take_interrupts(PeIndex(0), |_| ()), 0);
    host.enable(&lpi);
    host.machine.advance(100);
    assert!(host.machine.signals(PeIndex(0)).irq, "SYN-4");
    host.release(lpi).unwrap();
    assert!(!host.machine.signals(PeIndex(0)).irq);
    let again = host.allocate(Cookie(2)).unwrap();
    assert_eq!(host.lpi(&again).id(), 0, "a released number is used again at once");
    host.enable(&again);
    host.machine.advance(100);
    assert_eq!(host.take_interrupts(PeIndex(0), |_| ()), 0, "it is not pending");
    assert_eq!(rules(&host), [""; 0]);
}

#[test]
fn a_release_waits_for_the_handler_on_another_pe() {
    let host = host(0..8);
    let lpi = host.allocate(Cookie(1)).unwrap();
    host.enable(&lpi);
    ring(&host, &lpi);
    let (entered, enters) = std::sync::mpsc::channel();
    let (leave, leaves) = std::sync::mpsc::channel::<()>();
    let other = host.clone();
    let thread = std::thread::spawn(move || {
        other.take_interrupts(PeIndex(0), |_| {
            entered.send(()).unwrap();
            leaves.recv().unwrap();
        })
    });
    enters.recv().unwrap();
    let lpi = host.release(lpi).expect_err("a handler runs").lpi;
    leave.send(()).unwrap();
    assert_eq!(thread.join().unwrap(), 1);
    host.release(lpi).expect("no handler runs");
}

#[test]
fn whoever_uses_or_releases_what_is_not_his_is_reported_and_nothing_happens() {
    let host = host(0..8);
    let lpi = host.allocate(Cookie(1)).unwrap();
    let twin = duplicate(&lpi);
    let late = duplicate(&lpi);
    host.release(lpi).unwrap();
    let next = host.allocate(Cookie(2)).unwrap();
    assert_eq!(rules(&host), [""; 0], "a release and a new owner are as it should be");
    host.enable(&twin);
    host.route(&twin, Route::ThisPe);
    host.release(twin).unwrap();
    assert_eq!(rules(&host), ["POOL-2", "POOL-2", "POOL-1"]);
    host.machine.advance(100);
    assert!(!host.machine.interrupt(next.lpi.into()).unwrap().enable());
    // In another machine nobody knows it.
    let elsewhere = super::ModelHost::start(&Machine::new(MachineConfig::new(1, 0)).unwrap(), 0..8).unwrap();
    elsewhere.release(late).unwrap();
    assert_eq!(rules(&elsewhere), ["POOL-1"]);
    host.release(next).unwrap();
    assert_eq!(rules(&host), [""; 0]);
}

#[test]
fn requests_and_releases_are_fault_points() {
    let host = host(0..8);
    host.machine.record_fault_points();
    host.machine.fault_next(Fault::Refused);
    assert_eq!(host.allocate(Cookie(7)), Err(LpiError::NoneFree));
    let lpi = host.allocate(Cookie(7)).unwrap();
    host.enable(&lpi);
    host.machine.fault_next(Fault::Refused);
    let lpi = host.release(lpi).expect_err("it was refused").lpi;
    assert!(!host.machine.interrupt(lpi.lpi.into()).unwrap().enable(), "but it is disabled");
    host.release(lpi).unwrap();
    let names: Vec<_> = host.machine.take_fault_points().iter().map(|point| point.request.to_string()).collect();
    let request = "an LPI with cookie 0x7";
    assert_eq!(names, [request, request, "release of LPI 0", "release of LPI 0"]);
}

#[test]
fn heap_is_refused_when_that_is_planned_and_not_otherwise() {
    let host = host(0..8);
    host.machine.fault_next(Fault::Refused);
    assert_eq!([host.may_allocate(24), host.may_allocate(24)], [false, true]);
    let struck = host.machine.take_struck_faults();
    assert_eq!(struck.iter().map(|(point, _)| point.request).collect::<Vec<_>>(), [Request::Heap { size: 24 }]);
}

#[test]
fn a_host_that_cannot_start_says_why() {
    let machine = |change: &dyn Fn(&mut MachineConfig)| {
        let mut config = MachineConfig::new(1, 0);
        change(&mut config);
        Machine::new(config).unwrap()
    };
    let few = machine(&|config| config.irses[0].idr2 = config.irses[0].idr2.with_id_bits(arbitrary_int::u5::new(10)));
    assert!(ModelHost::start(&few, 0..1 << 10).is_ok());
    let error = ModelHost::start(&few, 0..(1 << 10) + 1).unwrap_err();
    assert!(matches!(error, HostError::Lpis { last: 1024, .. }), "{error}");
    let stuck = machine(&|_| ());
    stuck.fault_next(Fault::Never);
    let error = ModelHost::start(&stuck, 0..8).unwrap_err();
    assert!(matches!(error, HostError::Stuck { register: IrsReg::IRS_IST_BASER, status: 0, .. }), "{error}");
    let poor = machine(&|_| ());
    poor.fault_next(Fault::Refused);
    assert!(matches!(ModelHost::start(&poor, 0..8), Err(HostError::Memory(_))));
}
