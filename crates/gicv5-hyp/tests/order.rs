//! The order in which load and put do things, seen from the PE that does them, with another PE looking on at each step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;

use std::cell::RefCell;

use common::{IRS, Lab, SHAPES, VPES, live};
use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::{IRS_VPE_CR0, IRS_VPE_SELR};
use gicv5_arch::sysreg::{ICH_CONTEXTR_EL2, SysReg};
use gicv5_hal::{Cookie, IrsExt, Pe, PeOps};
use gicv5_hyp::{Host, Idle, RunError, Vm};
use gicv5_model::ModelPe;
use gicv5_model::config::VpeDps;
use guest::{FIRST, PE0, PE1};

/// What a PE does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Write(SysReg, u64),
    Isb,
    Dsb,
}

/// A PE that notes what it does, after it has asked somebody who looks on.
struct Noting<'a> {
    cpu: ModelPe,
    steps: RefCell<Vec<Step>>,
    before: &'a dyn Fn(Step),
}

impl<'a> Noting<'a> {
    fn new(lab: &Lab, before: &'a dyn Fn(Step)) -> Noting<'a> {
        Noting { cpu: lab.machine.pe(PE0).unwrap(), steps: RefCell::default(), before }
    }

    fn note(&self, step: Step) {
        (self.before)(step);
        self.steps.borrow_mut().push(step);
    }
}

impl PeOps for Noting<'_> {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        self.cpu.read_sysreg(register)
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        self.note(Step::Write(register, value));
        self.cpu.write_sysreg(register, value);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        self.cpu.gic(insn, xt)
    }

    fn isb(&self) {
        self.note(Step::Isb);
        self.cpu.isb();
    }

    fn dsb(&self) {
        self.note(Step::Dsb);
        self.cpu.dsb();
    }
}

/// The write that makes a VPE resident, or none.
fn residency(step: &Step) -> Option<ICH_CONTEXTR_EL2> {
    match step {
        Step::Write(SysReg::ICH_CONTEXTR_EL2, value) => Some(ICH_CONTEXTR_EL2::new_with_raw_value(*value)),
        _ => None,
    }
}

/// A vCPU that runs on PE 0 and may sleep.
fn running(lab: &Lab, vm: &Vm<'_, Lab>) {
    lab.open_traps();
    lab.load(PE0, vm, FIRST).unwrap();
    lab.guest(PE0).open();
}

/// VPE-11, VPE-15: a VPE that the IRS may choose gets 1-of-N interrupts that nobody expects there.
#[test]
fn no_vpe_takes_part_in_1_of_n_selection() {
    let mut config = SHAPES[0].config();
    config.switches.vpe.dps = VpeDps::Kept;
    let lab = Lab::new(config);
    let host = Host::new(lab.clone(), &SHAPES[0].host_config()).unwrap();
    host.bring_up().unwrap();
    let vm = live(&host);
    for vpe in VPES {
        lab.host.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm.id().unwrap()).with_vpe_id(vpe)).unwrap();
        assert!(lab.machine.read::<IRS_VPE_CR0>(IRS).dps(), "{vpe}");
    }
}

/// RES-15, SYN-6.
#[test]
fn what_load_restores_is_there_before_the_vpe_becomes_resident() {
    let (lab, host) = SHAPES[0].up();
    let vm = live(&host);
    running(&lab, &vm);
    lab.put(PE0, &vm, FIRST).unwrap();
    let pe = Noting::new(&lab, &|_| ());
    vm.load(&Pe::new(&pe), FIRST).unwrap();
    let steps = pe.steps.take();
    let resident = steps.iter().position(|step| residency(step).is_some_and(|contextr| contextr.v())).unwrap();
    let restored = steps[..resident].iter().rposition(|step| matches!(step, Step::Write(..))).unwrap();
    assert!(steps[restored..resident].contains(&Step::Isb), "{steps:?}");
    vm.put(&Pe::new(&pe), FIRST).unwrap();
}

/// DB-21, SYN-7: the handler may run on another PE as soon as the write acts.
#[test]
fn a_doorbell_that_rings_as_early_as_it_can_finds_the_request() {
    let (lab, host) = SHAPES[0].up();
    let vm = live(&host);
    running(&lab, &vm);
    let rung = RefCell::new(Vec::new());
    let look = |step: Step| {
        if step == Step::Dsb {
            rung.borrow_mut().push(host.doorbell(Cookie(0)));
        }
    };
    let pe = Noting::new(&lab, &look);
    assert_eq!(vm.idle(&Pe::new(&pe), FIRST), Ok(Idle::Runnable), "it rang meanwhile");
    let woken = rung.take();
    assert!(matches!(woken[..], [Some(wake)] if wake.vpe == VPES[0]), "{woken:?}");
    let steps = pe.steps.take();
    let gone = steps.iter().position(|step| residency(step).is_some_and(|contextr| contextr.db())).unwrap();
    assert!(steps[..gone].contains(&Step::Dsb), "{steps:?}");
}

/// RES-18, RES-21.
#[test]
fn no_other_pe_has_the_vcpu_before_its_vpe_is_resident_no_more() {
    let (lab, host) = SHAPES[0].up();
    let vm = live(&host);
    running(&lab, &vm);
    let refused = RefCell::new(0);
    let look = |_: Step| match lab.load(PE1, &vm, FIRST) {
        Err(RunError::Elsewhere { .. }) => *refused.borrow_mut() += 1,
        other => panic!("another PE loads it: {other:?}"),
    };
    let pe = Noting::new(&lab, &look);
    vm.put(&Pe::new(&pe), FIRST).unwrap();
    let steps = pe.steps.take();
    let gone = steps.iter().position(|step| residency(step).is_some_and(|contextr| !contextr.v())).unwrap();
    assert!(steps[gone..].contains(&Step::Isb) && refused.take() == steps.len(), "{steps:?}");
    lab.load(PE1, &vm, FIRST).unwrap();
    lab.put(PE1, &vm, FIRST).unwrap();
    lab.assert_no_violations();
}
