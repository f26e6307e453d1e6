//! What comes between the two halves of something: the host between a guest's question and its answer, a teardown between an
//! injection and its effect, an interrupt handler within a load, and nobody at all where a future or a handle is forgotten.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;

use std::cell::Cell;
use std::mem::forget;
use std::sync::Arc;
use std::time::Duration;

use common::board::{Board, Watch};
use common::{IRS, Lab, SHAPES, SPEC, VPES, assert_clean, live, open_traps, poll};
use gicv5_arch::Spi;
use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::{ICC_ICSR_EL1, ICH_VMCR_EL2, SysReg};
use gicv5_hal::{Pe, PeOps, Platform};
use gicv5_hyp::{CommandErrorKind, Host, InitCause, Pending, ShutDownError, TearDownCause, Vm, WithLpis};

use gicv5_model::fault::Fault;
use gicv5_model::{Machine, ModelHost, ModelPe, PeIndex};
use gicv5_phys::Phys;
use guest::{FIRST, PE0, PE1, SECOND, priority, spi};

#[derive(Clone)]
struct Bare;

impl Watch for Bare {
    type Locks = <ModelHost as Platform>::Locks;
}

/// INS-14: the physical driver asks about the LPIs of another VM, and leaves its answer where the guest's is.
#[test]
fn a_guest_reads_the_answer_to_its_own_question_although_the_host_has_asked_another() {
    let machine = Machine::new(SHAPES[0].config()).unwrap();
    let cpu = machine.pe(PeIndex(0)).unwrap();
    let pe = Pe::new(&cpu);
    let below = Board { machine: machine.clone(), host: cpu.clone(), watch: Bare };
    let timeout = Duration::from_micros(200);
    let config = gicv5_phys::Config { timeout, ..gicv5_phys::Config::new(&[IRS], 64) };
    let phys = Arc::new(Phys::new(below.clone(), &config).unwrap());
    phys.bring_up().unwrap();
    phys.bring_up_pe(&pe).unwrap();
    let host = Host::new(WithLpis { platform: below, lpis: phys }, &SHAPES[0].host_config()).unwrap();
    host.bring_up().unwrap();
    let mut vm = host.new_vm();
    vm.init(&SPEC).unwrap();
    open_traps(&pe);
    vm.load(&pe, FIRST).unwrap();
    let guest = cpu.guest();
    let guest = Pe::new(&guest);
    let asked = Spi::new(3).unwrap();
    guest.cdpri(asked.into(), priority(9));
    guest.cdrcfg(asked.into());
    let mut other = host.new_vm();
    other.init(&SPEC).unwrap();
    guest.isb();
    assert_eq!(guest.read::<ICC_ICSR_EL1>().priority(), priority(9));
    common::board::assert_no_violations(&machine);
}

/// INS-22: an instruction takes effect in finite time, and a VM may be gone by then.
#[test]
fn an_interrupt_on_its_way_into_a_vm_that_goes_is_not_taken_by_the_next_of_its_id() {
    for latency in [SHAPES[0].config().effect_latency, 100_000] {
        let mut config = SHAPES[0].config();
        config.effect_latency = latency;
        let lab = Lab::new(config);
        lab.open_traps();
        let host = Host::new(lab.clone(), &SHAPES[0].host_config()).unwrap();
        host.bring_up().unwrap();
        let mut vm = live(&host);
        let id = vm.id();
        lab.on(PE1, |pe| vm.inject(pe, spi(3), Pending::Set).unwrap());
        vm.tear_down().unwrap();
        let next = live(&host);
        assert_eq!(next.id(), id);
        lab.load(PE0, &next, FIRST).unwrap();
        let guest = lab.guest(PE0);
        guest.open().enable(spi(3), VPES[0], 8);
        assert_eq!(guest.take(), None, "after {latency} ticks");
        lab.machine.advance(2 * latency);
        assert_eq!(guest.take(), None, "after {latency} ticks");
        lab.assert_no_violations();
    }
}

/// LIFE-10.
#[test]
fn a_vm_is_refused_while_a_command_of_a_forgotten_future_is_late_and_made_once_it_has_come() {
    let (lab, host) = SHAPES[0].up();
    let mut vm = live(&host);
    // Select nothing, select, configure, set the doorbell.
    let doorbell = lab.machine.fault_points_passed() + 3;
    lab.machine.plan_fault(doorbell, Fault::Late(3_000));
    let mut forgotten = Box::pin(vm.start_reset_vcpu(FIRST));
    while lab.machine.fault_points_passed() <= doorbell {
        assert!(poll(forgotten.as_mut()).is_none());
        lab.machine.advance(1);
    }
    forget(forgotten);
    let error = vm.tear_down().unwrap_err();
    assert!(matches!(error.cause, TearDownCause::Named { .. }), "{error}");
    let mut next = host.new_vm();
    let error = next.init(&SPEC).unwrap_err();
    let InitCause::Command(command) = &error.cause else { panic!("{error}") };
    assert!(matches!(command.kind, CommandErrorKind::InFlight { .. }), "{error}");
    lab.machine.advance(5_000);
    next.init(&SPEC).unwrap();
    lab.assert_no_violations();
}

#[test]
fn an_ist_whose_making_was_forgotten_goes_with_its_vm() {
    let (lab, host) = SHAPES[0].slow(50);
    let before = lab.machine.snapshot();
    host.bring_up().unwrap();
    let mut vm = live(&host);
    let mut forgotten = Box::pin(vm.start_create_lpi_ist(14));
    for _ in 0..2 {
        assert!(poll(forgotten.as_mut()).is_none());
    }
    forget(forgotten);
    vm.tear_down().unwrap();
    assert_eq!(vm.state(), None);
    drop(vm);
    host.shut_down().unwrap();
    assert_clean(&lab.machine, &before, "an IST that was being made");
}

#[test]
fn a_vm_whose_handle_is_forgotten_is_not_reaped_and_keeps_its_host_up() {
    let (lab, host) = SHAPES[0].up();
    forget(live(&host));
    host.reap().unwrap();
    let error = host.shut_down().unwrap_err();
    assert!(matches!(error, ShutDownError::VmsLeft { vms: 1 }), "{error}");
    lab.assert_no_violations();
}

/// A PE on which an interrupt is taken at one of the points of what is done there. Its handler injects.
struct Interrupted<'a, 'h> {
    cpu: &'a ModelPe,
    vm: &'a Vm<'h, Lab>,
    at: u32,
    points: Cell<u32>,
}

impl Interrupted<'_, '_> {
    fn point(&self) {
        if self.points.replace(self.points.get() + 1) == self.at {
            self.vm.inject(&Pe::new(self.cpu), spi(3), Pending::Set).unwrap();
        }
    }
}

impl PeOps for Interrupted<'_, '_> {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        self.point();
        self.cpu.read_sysreg(register)
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        self.point();
        self.cpu.write_sysreg(register, value);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        self.point();
        self.cpu.gic(insn, xt)
    }

    fn isb(&self) {
        self.point();
        self.cpu.isb();
    }

    fn dsb(&self) {
        self.point();
        self.cpu.dsb();
    }
}

/// Handlers may not load or put within a load, which is called with interrupts off; they may inject, and a load in another
/// hypervisor may let them.
#[test]
fn an_injection_by_an_interrupt_handler_within_a_load_leaves_the_vcpu_as_it_was_put() {
    let mut at = 0;
    loop {
        let (lab, host) = SHAPES[0].up();
        lab.open_traps();
        let vm = live(&host);
        for (vcpu, mask) in [(FIRST, 12), (SECOND, 24)] {
            lab.load(PE0, &vm, vcpu).unwrap();
            lab.guest(PE0).switch(true, mask).enable(spi(3), VPES[0], 8);
            lab.put(PE0, &vm, vcpu).unwrap();
        }
        let cpu = lab.machine.pe(PE0).unwrap();
        let interrupted = Interrupted { cpu: &cpu, vm: &vm, at, points: Cell::new(0) };
        vm.load(&Pe::new(&interrupted), FIRST).unwrap();
        if interrupted.points.get() <= at {
            break;
        }
        let registers: ICH_VMCR_EL2 = Pe::new(&cpu).read();
        assert_eq!(registers.vpmr(), priority(12), "at {at}");
        assert_eq!(lab.machine.resident(PE0), Some((vm.id().unwrap(), VPES[0])), "at {at}");
        lab.machine.advance(1_000);
        assert_eq!(lab.guest(PE0).take(), Some(spi(3)), "at {at}");
        lab.assert_no_violations();
        at += 1;
    }
    assert!(at > 10, "{at} points");
}
