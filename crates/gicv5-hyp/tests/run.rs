//! Running vCPUs on the model: loads, puts, sleeps, doorbells, injection.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;

use std::cell::RefCell;

use common::{Lab, SHAPES, Shape, VPES};
use gicv5_arch::insn::GicInsn;
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{GcieLegacy, ICC_IAFFIDR_EL1, ICC_ICSR_EL1, ICH_CONTEXTR_EL2, ICH_VCTLR_EL2, SysReg};
use gicv5_arch::{Iaffid, IntId, IrsIntId, Ppi, PpiBank};
use gicv5_hal::{Cookie, Pe, PeOps};
use gicv5_hyp::{
    Config, DoorbellMask, Fate, Host, Idle, InjectError, Pending, PpiError, PpiMask, ProbeError, RunError, VcpuIndex,
    Vm, VmSpec, VmState, Wake,
};
use gicv5_model::config::{Effects, IrichppidisDoorbell, Switches};
use gicv5_model::event::Event;
use gicv5_model::fault::Fault;
use guest::{FIRST, PE0, PE1, SECOND, lpi, spi};
use proptest::prelude::*;

const TIMER: Ppi = Ppi::CNTV;

/// What the guests of these tests see: the software PPI, which is edge-triggered, and the timer's, which is level-sensitive.
const SPEC: VmSpec<'static> =
    VmSpec { spis: 40, ppis: PpiMask::EMPTY.with(Ppi::SW_PPI).with(TIMER), ..VmSpec::new(&VPES) };

/// The shapes, once with effects as late as they may come and once at once.
fn shapes() -> impl Iterator<Item = (Lab, Host<Lab>)> {
    SHAPES.into_iter().flat_map(|shape| [Effects::Late, Effects::Early].map(|effects| up(shape, effects)))
}

fn up(shape: Shape, effects: Effects) -> (Lab, Host<Lab>) {
    let mut config = shape.config();
    config.switches.effects = effects;
    up_with(config, &shape.host_config())
}

fn up_with(machine: gicv5_model::config::MachineConfig, config: &Config<'_>) -> (Lab, Host<Lab>) {
    let lab = Lab::new(machine);
    lab.open_traps();
    let host = Host::new(lab.clone(), config).unwrap();
    host.bring_up().unwrap();
    (lab, host)
}

fn vm(host: &Host<Lab>) -> Vm<'_, Lab> {
    let mut vm = host.new_vm();
    vm.init(&SPEC).unwrap();
    vm
}

fn wake(vm: &Vm<'_, Lab>, vcpu: VcpuIndex) -> Wake {
    Wake { vm: vm.id().unwrap(), vpe: VPES[vcpu.0] }
}

/// The PE of the machine, with a list of what is done on it.
struct Recorded<'a> {
    pe: &'a gicv5_model::ModelPe,
    done: RefCell<Vec<Done>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Read(SysReg),
    Write(SysReg, u64),
    Gic(GicInsn),
    Isb,
    Dsb,
}

impl PeOps for Recorded<'_> {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        self.done.borrow_mut().push(Done::Read(register));
        self.pe.read_sysreg(register)
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        self.done.borrow_mut().push(Done::Write(register, value));
        self.pe.write_sysreg(register, value);
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        self.done.borrow_mut().push(Done::Gic(insn));
        self.pe.gic(insn, xt)
    }

    fn isb(&self) {
        self.done.borrow_mut().push(Done::Isb);
        self.pe.isb();
    }

    fn dsb(&self) {
        self.done.borrow_mut().push(Done::Dsb);
        self.pe.dsb();
    }
}

/// What is done on the PE to put the first vCPU, which is loaded before.
fn done_by(lab: &Lab, vm: &Vm<'_, Lab>, put: impl FnOnce(&Pe<'_, Recorded<'_>>)) -> Vec<Done> {
    lab.load(PE0, vm, FIRST).unwrap();
    let cpu = lab.machine.pe(PE0).unwrap();
    let pe = Recorded { pe: &cpu, done: RefCell::default() };
    put(&Pe::new(&pe));
    pe.done.into_inner()
}

/// The end of each story: everything goes, and no rule was broken.
fn end(lab: &Lab, host: &Host<Lab>, vms: Vec<Vm<'_, Lab>>) {
    for mut vm in vms {
        vm.tear_down().unwrap();
    }
    host.shut_down().unwrap();
    lab.assert_no_violations();
}

/// Tells a story of one VM on every shape.
fn story(tell: impl for<'h> Fn(&Lab, &'h Host<Lab>, &Vm<'h, Lab>)) {
    for (lab, host) in shapes() {
        let vm = vm(&host);
        tell(&lab, &host, &vm);
        end(&lab, &host, vec![vm]);
    }
}

// --- residency --------------------------------------------------------------------------------------------------------

/// RES-1, RES-15, RES-16, INJ-1.
#[test]
fn an_injected_interrupt_reaches_the_guest_that_is_loaded() {
    story(|lab, _, vm| {
        vm.create_lpi_ist(14).unwrap();
        lab.load(PE0, vm, FIRST).unwrap();
        assert_eq!(lab.machine.resident(PE0), Some((vm.id().unwrap(), VPES[0])));
        let guest = lab.guest(PE0);
        guest.open().enable(spi(3), VPES[0], 10).enable(lpi(77), VPES[0], 9);
        lab.inject(vm, spi(3));
        lab.inject(vm, lpi(77));
        assert!(lab.machine.virtual_signals(PE0).irq);
        assert_eq!((guest.take(), guest.take(), guest.take()), (Some(lpi(77)), Some(spi(3)), None));
        lab.put(PE0, vm, FIRST).unwrap();
        assert_eq!(lab.machine.resident(PE0), None);
        lab.inject(vm, spi(3));
        assert!(!lab.machine.virtual_signals(PE0).irq, "nothing of a guest is signalled without it");
    });
}

/// INJ-2, INS-9: what was set can be cleared before it is taken.
#[test]
fn a_level_that_falls_before_it_is_taken_is_not_taken() {
    let (lab, host) = up(SHAPES[0], Effects::Late);
    let vm = vm(&host);
    lab.load(PE0, &vm, FIRST).unwrap();
    let guest = lab.guest(PE0);
    guest.open().enable(spi(3), VPES[0], 10);
    lab.inject(&vm, spi(3));
    lab.on(PE0, |pe| {
        vm.inject(pe, spi(3), Pending::Clear).unwrap();
    });
    assert_eq!(guest.take(), None);
    lab.put(PE0, &vm, FIRST).unwrap();
    end(&lab, &host, vec![vm]);
}

/// RES-7, INS-17, INS-12, SYN-1: what the guest has under way is about its VM, and its answers are its own.
#[test]
fn what_the_guest_has_asked_for_is_complete_before_anything_of_it_is_saved_or_its_residency_ends() {
    story(|lab, _, vm| {
        for sleeps in [false, true] {
            let done = done_by(lab, vm, |pe| match sleeps {
                true => assert_eq!(vm.idle(pe, FIRST), Ok(Idle::Sleep)),
                false => vm.put(pe, FIRST).unwrap(),
            });
            let barrier =
                done.iter().position(|done| *done == Done::Gic(GicInsn::GSB_SYS)).expect("there is a GSB SYS");
            let reads = |register: &SysReg| ![ICC_IAFFIDR_EL1::REG, ICH_CONTEXTR_EL2::REG].contains(register);
            let saved = done.iter().position(|done| matches!(done, Done::Read(register) if reads(register)));
            let left = done.iter().position(|done| matches!(done, Done::Write(ICH_CONTEXTR_EL2::REG, _)));
            assert!(Some(barrier) < saved && saved < left, "{done:?}");
        }
    });
}

/// PPI-17, PPI-23: the level is the device's, which does not raise it again because the vCPU was reset.
#[test]
fn a_reset_forgets_the_edges_of_a_vcpu_and_not_the_levels_of_its_devices() {
    story(|lab, _, vm| {
        vm.set_ppi(FIRST, TIMER, Pending::Set).unwrap();
        vm.set_ppi(FIRST, Ppi::SW_PPI, Pending::Set).unwrap();
        vm.reset_vcpu(FIRST).unwrap();
        lab.load(PE0, vm, FIRST).unwrap();
        let guest = lab.guest(PE0);
        guest.open().enable_ppi(TIMER, 10).enable_ppi(Ppi::SW_PPI, 9);
        assert_eq!((guest.acknowledge(), guest.acknowledge()), (Some(IntId::Ppi(TIMER)), None));
        guest.end(IntId::Ppi(TIMER));
        lab.put(PE0, vm, FIRST).unwrap();
        vm.set_ppi(FIRST, TIMER, Pending::Clear).unwrap();
        vm.reset_vcpu(FIRST).unwrap();
    });
}

/// PPI-25.
#[test]
fn the_probe_leaves_the_pe_as_it_was_and_does_not_disturb_a_guest_there() {
    let (lab, host) = up(SHAPES[0], Effects::Early);
    let registers = PpiBank::ALL.map(|bank| [SysReg::ich_ppi_dvir(bank), SysReg::ich_ppi_enabler(bank)]);
    let all = || lab.on(PE0, |pe| registers.map(|of_bank| of_bank.map(|register| pe.read_raw(register))));
    lab.on(PE0, |pe| {
        pe.write_raw(SysReg::ich_ppi_enabler(PpiBank::Architected), TIMER.mask());
        pe.write_raw(SysReg::ich_ppi_dvir(PpiBank::Architected), TIMER.mask());
        pe.isb();
    });
    let before = all();
    assert_eq!(before[0], [TIMER.mask(); 2]);
    drop(Host::new(lab.clone(), &SHAPES[0].host_config()).unwrap());
    assert_eq!(all(), before);
    lab.on(PE0, |pe| {
        registers.iter().flatten().for_each(|register| pe.write_raw(*register, 0));
        pe.isb();
    });
    let vm = vm(&host);
    lab.load(PE0, &vm, FIRST).unwrap();
    let error = Host::new(lab.clone(), &SHAPES[0].host_config()).unwrap_err();
    assert!(matches!(error, ProbeError::Pe { register: SysReg::ICH_CONTEXTR_EL2, .. }), "{error}");
    assert_eq!(error.fault(), gicv5_hyp::Fault::Caller);
    lab.put(PE0, &vm, FIRST).unwrap();
    end(&lab, &host, vec![vm]);
}

/// IST-8, RES-19: the vCPU that is resident is not entered again, but it can be put.
#[test]
fn a_vm_that_has_died_is_not_loaded_again_even_where_it_is_resident() {
    story(|lab, _, vm| {
        lab.load(PE0, vm, FIRST).unwrap();
        lab.machine.fault_next(Fault::Refused);
        assert!(matches!(lab.load(PE1, vm, SECOND), Err(RunError::ResidencyFault { .. })));
        assert!(matches!(lab.load(PE0, vm, FIRST), Err(RunError::NotLive { .. })));
        lab.put(PE0, vm, FIRST).unwrap();
    });
}

/// RES-17, RES-18.
#[test]
fn a_second_load_and_a_second_put_do_nothing() {
    story(|lab, _, vm| {
        lab.load(PE0, vm, FIRST).unwrap();
        lab.guest(PE0).open().switch(true, 20);
        lab.machine.observe(1 << 16);
        lab.load(PE0, vm, FIRST).unwrap();
        assert!(!writes(lab), "a second load writes");
        lab.put(PE0, vm, FIRST).unwrap();
        assert!(writes(lab));
        lab.put(PE0, vm, FIRST).unwrap();
        assert!(!writes(lab), "a second put writes");
        lab.load(PE0, vm, FIRST).unwrap();
        assert_eq!(lab.guest(PE0).pe().read_raw(SysReg::ICC_PCR_EL1), 20, "the second put saved nothing over it");
        lab.put(PE0, vm, FIRST).unwrap();
    });
}

/// Whether a PE has written a system register since the last time.
fn writes(lab: &Lab) -> bool {
    lab.machine.take_events().iter().any(|(_, event)| matches!(event, Event::SysRegWrite { .. }))
}

/// RES-4, RES-21, RES-22.
#[test]
fn a_vcpu_is_on_one_pe_and_a_pe_has_one_vcpu() {
    let (lab, host) = up(SHAPES[1], Effects::Late);
    let (vm, other) = (vm(&host), vm(&host));
    lab.load(PE0, &vm, FIRST).unwrap();
    let elsewhere = RunError::Elsewhere { vm: vm.id().unwrap(), vpe: VPES[0] };
    assert_eq!(lab.load(PE1, &vm, FIRST), Err(elsewhere));
    assert_eq!(lab.put(PE1, &vm, FIRST), Err(elsewhere));
    assert_eq!(lab.idle(PE1, &vm, FIRST), Err(elsewhere));
    for (vm, vcpu) in [(&vm, SECOND), (&other, FIRST)] {
        let Err(RunError::PeTaken { contextr }) = lab.load(PE0, vm, vcpu) else { panic!("the PE is taken") };
        assert_eq!(ICH_CONTEXTR_EL2::new_with_raw_value(contextr).vpe(), VPES[0]);
    }
    lab.guest(PE0).switch(true, 13);
    lab.put(PE0, &vm, FIRST).unwrap();
    lab.load(PE1, &vm, FIRST).unwrap();
    assert_eq!(lab.guest(PE1).pe().read_raw(SysReg::ICC_PCR_EL1), 13, "its state came along");
    lab.load(PE0, &other, FIRST).unwrap();
    lab.put(PE0, &other, FIRST).unwrap();
    lab.put(PE1, &vm, FIRST).unwrap();
    end(&lab, &host, vec![vm, other]);
}

/// RES-2, RES-19.
#[test]
fn a_vm_whose_residency_fails_is_dead_and_nothing_of_it_is_tried_again() {
    for (lab, host) in shapes() {
        let (vm, other) = (vm(&host), vm(&host));
        let id = vm.id().unwrap();
        lab.on(PE0, |pe| pe.write(ICC_ICSR_EL1::ZERO.with_enabled(true)));
        lab.machine.fault_next(Fault::Refused);
        let Err(RunError::ResidencyFault { vm: dead, vpe, contextr }) = lab.load(PE0, &vm, FIRST) else {
            panic!("the residency was refused")
        };
        assert_eq!((dead, vpe), (id, VPES[0]));
        assert!(ICH_CONTEXTR_EL2::new_with_raw_value(contextr).f());
        assert_eq!(vm.state(), Some(VmState::Dead));
        lab.machine.observe(1 << 16);
        for vcpu in [FIRST, SECOND] {
            assert_eq!(lab.load(PE1, &vm, vcpu), Err(RunError::NotLive { vm: id, state: VmState::Dead }));
            assert_eq!(vm.has_pending(vcpu), Ok(true), "nobody sleeps in a dead VM");
        }
        lab.put(PE0, &vm, FIRST).unwrap();
        assert!(!writes(&lab), "a vCPU of a dead VM touches a PE");
        let refused = lab.on(PE0, |pe| vm.inject(pe, spi(1), Pending::Set)).unwrap_err();
        assert_eq!(refused, InjectError::Vm(RunError::NotLive { vm: id, state: VmState::Dead }));
        assert!(lab.on(PE0, |pe| pe.read::<ICC_ICSR_EL1>().enabled()), "the host has its ICSR back");
        // The PE is good for others.
        lab.load(PE0, &other, FIRST).unwrap();
        lab.put(PE0, &other, FIRST).unwrap();
        end(&lab, &host, vec![vm, other]);
    }
}

/// LIFE-22, RES-23.
#[test]
fn a_vm_with_a_loaded_vcpu_is_not_torn_down() {
    let (lab, host) = up(SHAPES[0], Effects::Late);
    let mut vm = vm(&host);
    lab.load(PE1, &vm, SECOND).unwrap();
    let error = vm.tear_down().unwrap_err();
    assert_eq!(error.fate, Fate::Unchanged);
    lab.guest(PE1).open().enable(spi(1), VPES[1], 3);
    lab.inject(&vm, spi(1));
    assert_eq!(lab.guest(PE1).take(), Some(spi(1)), "it runs on");
    lab.put(PE1, &vm, SECOND).unwrap();
    end(&lab, &host, vec![vm]);
}

/// INS-18, IST-27.
#[test]
fn an_interrupt_that_the_vm_does_not_have_is_not_injected() {
    let (lab, host) = up(SHAPES[0], Effects::Late);
    let mut small = host.new_vm();
    small.init(&VmSpec { spis: 4, ..VmSpec::new(&VPES) }).unwrap();
    let inject = |id| lab.on(PE0, |pe| small.inject(pe, id, Pending::Set));
    let absent = |id: IntId| Err(InjectError::Absent { vm: small.id().unwrap(), id: id.try_into().unwrap() });
    assert_eq!(inject(spi(3)), Ok(()));
    for id in [spi(4), spi(400), lpi(0), lpi(1 << 14)] {
        assert_eq!(inject(id), absent(id));
    }
    small.create_lpi_ist(14).unwrap();
    assert_eq!(inject(lpi((1 << 14) - 1)), Ok(()));
    assert_eq!(inject(lpi(1 << 14)), absent(lpi(1 << 14)));
    small.remove_lpi_ist().unwrap();
    assert_eq!(inject(lpi(0)), absent(lpi(0)));
    end(&lab, &host, vec![small]);
}

#[test]
fn a_vm_that_is_not_initialised_runs_nothing() {
    let (lab, host) = up(SHAPES[0], Effects::Late);
    let mut vm = host.new_vm();
    assert_eq!(lab.load(PE0, &vm, FIRST), Err(RunError::NotInitialised));
    assert_eq!(lab.put(PE0, &vm, FIRST), Err(RunError::NotInitialised));
    assert_eq!(vm.has_pending(FIRST), Err(RunError::NotInitialised));
    assert_eq!(lab.on(PE0, |pe| vm.inject(pe, spi(1), Pending::Set)), Err(RunError::NotInitialised.into()));
    vm.init(&SPEC).unwrap();
    let beyond = VcpuIndex(VPES.len());
    assert_eq!(lab.load(PE0, &vm, beyond), Err(RunError::NoSuchVcpu(beyond)));
    end(&lab, &host, vec![vm]);
}

/// RES-15, INS-21.
#[test]
fn a_guest_of_the_old_kind_that_ran_before_makes_no_difference() {
    let mut config = SHAPES[0].config();
    let irs = &mut config.irses[0];
    for cpu in &mut irs.pes {
        cpu.legacy = GcieLegacy::Present;
        cpu.ppis[0] = cpu.ppis[0].with(Ppi::GICMNT);
    }
    let (lab, host) = up_with(config, &SHAPES[0].host_config());
    let vm = vm(&host);
    lab.on(PE0, |pe| {
        pe.write(ICH_VCTLR_EL2::ZERO.with_v3(true).with_en(true));
        pe.isb();
    });
    lab.load(PE0, &vm, FIRST).unwrap();
    lab.guest(PE0).open().enable(spi(3), VPES[0], 10);
    lab.inject(&vm, spi(3));
    assert_eq!(lab.guest(PE0).take(), Some(spi(3)));
    lab.put(PE0, &vm, FIRST).unwrap();
    end(&lab, &host, vec![vm]);
}

// --- two VMs on one PE ------------------------------------------------------------------------------------------------

/// Everything a guest can do to its CPU interface.
fn scribble(guest: &guest::Guest, seed: u64) {
    let pe = guest.pe();
    let random = |n: u64| (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32);
    guest.switch(random(1) & 1 != 0, random(2) as u32 & 31);
    for bank in gicv5_arch::PpiBank::ALL {
        let n = bank.index() as u64 * 8;
        pe.write_raw(SysReg::icc_ppi_enabler(bank), random(3 + n));
        pe.write_raw(SysReg::icc_ppi_sactiver(bank), random(4 + n));
        pe.write_raw(SysReg::icc_ppi_spendr(bank), random(5 + n));
    }
    for n in 0..16 {
        pe.write_raw(SysReg::icc_ppi_priorityr(arbitrary_int::u4::new(n)), random(32 + u64::from(n)));
    }
    pe.write_raw(SysReg::ICC_APR_EL1, random(6) & 0xffff_ffff);
    pe.isb();
    pe.cdrcfg(IrsIntId::try_from(spi(random(7) as u32 % 40)).unwrap());
    pe.isb();
}

/// The guest's view without the PPIs that it is not shown: they are kept off whatever it writes, and nothing of them is kept
/// (PPI-18).
fn shown(view: Vec<(SysReg, u64)>) -> Vec<(SysReg, u64)> {
    let ppis = Ppi::SW_PPI.mask() | TIMER.mask();
    let masked = [SysReg::ICC_PPI_ENABLER0_EL1, SysReg::ICC_PPI_SACTIVER0_EL1, SysReg::ICC_PPI_SPENDR0_EL1];
    let priorities = |register| {
        let index = (0..16).find(|n| SysReg::icc_ppi_priorityr(arbitrary_int::u4::new(*n)) == register)?;
        let shown = (0..8).filter(|n| index < 8 && ppis >> (index * 8 + n) & 1 == 1);
        Some(shown.map(|n| 0xff_u64 << (n * 8)).sum())
    };
    let shown = |(register, value)| {
        let mask = if masked.contains(&register) { Some(ppis) } else { priorities(register) };
        (register, value & mask.unwrap_or(u64::MAX))
    };
    view.into_iter().filter(|(register, _)| *register != SysReg::ICC_HPPIR_EL1).map(shown).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// RES-13, RES-15, PPI-14, PPI-15, PPI-18, INS-14.
    #[test]
    fn two_vms_on_one_pe_see_nothing_of_each_other(one: u64, two: u64, late: bool, host_icsr: u16) {
        let (lab, host) = up(SHAPES[2], if late { Effects::Late } else { Effects::Early });
        let (a, b) = (vm(&host), vm(&host));
        lab.load(PE0, &b, FIRST).unwrap();
        let pristine = lab.guest(PE0).view();
        lab.put(PE0, &b, FIRST).unwrap();
        let host_icsr = ICC_ICSR_EL1::ZERO.with_iaffid(Iaffid::new(host_icsr));
        lab.on(PE0, |pe| { pe.write(host_icsr); pe.isb() });

        lab.load(PE0, &a, FIRST).unwrap();
        scribble(&lab.guest(PE0), one);
        let first = lab.guest(PE0).view();
        lab.put(PE0, &a, FIRST).unwrap();
        prop_assert_eq!(lab.on(PE0, |pe| pe.read::<ICC_ICSR_EL1>()), host_icsr, "the host has its own again");
        prop_assert_eq!(lab.machine.virtual_signals(PE0), Default::default());

        lab.load(PE0, &b, FIRST).unwrap();
        prop_assert_eq!(&lab.guest(PE0).view(), &pristine, "the second VM sees something of the first");
        scribble(&lab.guest(PE0), two);
        let second = lab.guest(PE0).view();
        lab.put(PE0, &b, FIRST).unwrap();

        // On the other PE, and on the same.
        lab.load(PE1, &a, FIRST).unwrap();
        let again = lab.guest(PE1).view();
        let hidden = !(Ppi::SW_PPI.mask() | TIMER.mask());
        let off = |register| again.iter().all(|(name, value)| *name != register || value & hidden == 0);
        for register in [SysReg::ICC_PPI_ENABLER0_EL1, SysReg::ICC_PPI_SACTIVER0_EL1, SysReg::ICC_PPI_SPENDR0_EL1] {
            prop_assert!(off(register), "a PPI that is not shown is on in {}", register);
        }
        prop_assert_eq!(shown(again), shown(first), "what the first VM had is not as it was");
        lab.load(PE0, &b, FIRST).unwrap();
        prop_assert_eq!(shown(lab.guest(PE0).view()), shown(second));
        lab.put(PE0, &b, FIRST).unwrap();
        lab.put(PE1, &a, FIRST).unwrap();
        end(&lab, &host, vec![a, b]);
    }
}

// --- sleep ------------------------------------------------------------------------------------------------------------

/// DB-1, DB-5, DB-13, DB-19, DB-21, DB-22, DB-26, LIFE-16.
#[test]
fn an_interrupt_wakes_the_vcpu_that_sleeps_and_no_other() {
    story(|lab, host, vm| {
        for (pe, vcpu) in [(PE0, FIRST), (PE1, SECOND)] {
            lab.load(pe, vm, vcpu).unwrap();
            lab.guest(pe).open();
        }
        lab.guest(PE0).enable(spi(5), VPES[1], 10);
        assert_eq!(lab.idle(PE0, vm, FIRST), Ok(Idle::Sleep));
        assert_eq!(lab.idle(PE1, vm, SECOND), Ok(Idle::Sleep));
        assert_eq!((vm.has_pending(FIRST), vm.has_pending(SECOND)), (Ok(false), Ok(false)));
        lab.inject(vm, spi(5));
        assert_eq!(lab.take_doorbells(PE0, host), [], "DB-24");
        assert_eq!(lab.take_doorbells(PE1, host), [wake(vm, SECOND)]);
        assert_eq!((vm.has_pending(FIRST), vm.has_pending(SECOND)), (Ok(false), Ok(true)));
        // It moves to the other PE meanwhile.
        lab.load(PE0, vm, SECOND).unwrap();
        assert_eq!(lab.guest(PE0).take(), Some(spi(5)));
        lab.put(PE0, vm, SECOND).unwrap();
        assert_eq!(host.counters().spurious_doorbells, 0);
    });
}

/// DB-3, DB-21.
#[test]
fn an_interrupt_that_comes_before_the_sleep_ends_it_at_once() {
    story(|lab, host, vm| {
        lab.load(PE0, vm, FIRST).unwrap();
        lab.guest(PE0).open().enable(spi(5), VPES[0], 10);
        lab.inject(vm, spi(5));
        // The doorbell is pending, and taken as soon as the host takes interrupts.
        let slept = lab.idle(PE0, vm, FIRST).unwrap();
        assert_eq!(slept, Idle::Sleep);
        assert_eq!(lab.take_doorbells(PE0, host), [wake(vm, FIRST)]);
        assert_eq!(vm.has_pending(FIRST), Ok(true));
        assert_eq!(lab.idle(PE0, vm, FIRST), Ok(Idle::Runnable), "it must be loaded before it can sleep again");
        lab.load(PE0, vm, FIRST).unwrap();
        assert_eq!(lab.guest(PE0).take(), Some(spi(5)));
        assert_eq!(lab.idle(PE0, vm, FIRST), Ok(Idle::Sleep));
    });
}

/// DB-17, DB-18.
#[test]
fn a_doorbell_that_comes_late_wakes_nobody_and_is_counted() {
    story(|lab, host, vm| {
        lab.load(PE0, vm, FIRST).unwrap();
        lab.guest(PE0).open().enable(spi(5), VPES[0], 10);
        lab.inject(vm, spi(5));
        assert_eq!(lab.idle(PE0, vm, FIRST), Ok(Idle::Sleep));
        // It has rung, and the vCPU comes back for a reason of its own.
        lab.load(PE0, vm, FIRST).unwrap();
        assert_eq!(lab.take_doorbells(PE0, host), []);
        assert_eq!(host.counters().spurious_doorbells, 1);
        assert_eq!(lab.guest(PE0).take(), Some(spi(5)));
        assert_eq!(lab.idle(PE0, vm, FIRST), Ok(Idle::Sleep), "what rang before the load is over");
        assert_eq!(host.doorbell(Cookie(u64::MAX)), None);
        assert_eq!(host.counters().spurious_doorbells, 2);
    });
}

/// DB-19: a vCPU that was preempted comes back by itself.
#[test]
fn a_put_asks_for_no_doorbell_and_the_vcpu_stays_runnable() {
    story(|lab, host, vm| {
        assert_eq!(vm.has_pending(FIRST), Ok(true), "a vCPU that never ran is to be loaded");
        lab.load(PE0, vm, FIRST).unwrap();
        lab.guest(PE0).open().enable(spi(5), VPES[0], 10);
        lab.inject(vm, spi(5));
        lab.put(PE0, vm, FIRST).unwrap();
        assert_eq!(lab.take_doorbells(PE0, host), []);
        assert_eq!(vm.has_pending(FIRST), Ok(true));
        assert_eq!(lab.idle(PE0, vm, FIRST), Ok(Idle::Runnable));
    });
}

/// DB-24.
#[test]
fn a_doorbell_is_routed_only_when_the_vcpu_sleeps_on_another_pe_than_before() {
    let (lab, host) = up(SHAPES[0], Effects::Late);
    let vm = vm(&host);
    let mut routed = Vec::new();
    for pe in [PE0, PE0, PE1, PE1, PE0] {
        lab.load(pe, &vm, FIRST).unwrap();
        lab.guest(pe).open();
        lab.machine.observe(1 << 16);
        let _ = lab.idle(pe, &vm, FIRST).unwrap();
        let routes = |(_, event): &(_, Event)| match event {
            Event::Instruction { insn, .. } => *insn == gicv5_arch::insn::GicInsn::GIC_CDAFF,
            _ => false,
        };
        routed.push(lab.machine.take_events().iter().filter(|event| routes(event)).count());
        lab.machine.ignore();
    }
    assert_eq!(routed, [1, 0, 1, 0, 1]);
    end(&lab, &host, vec![vm]);
}

/// DB-12, DB-20, RES-12, RES-13.
#[test]
fn a_guest_whose_irs_is_off_gets_ppis_only_and_no_doorbell() {
    story(|lab, host, vm| {
        assert_eq!(vm.set_guest_irs(true), Ok(false));
        assert_eq!(vm.set_guest_irs(false), Ok(true));
        lab.load(PE0, vm, FIRST).unwrap();
        let guest = lab.guest(PE0);
        guest.open().enable(spi(5), VPES[0], 10).enable_ppi(Ppi::SW_PPI, 20);
        lab.inject(vm, spi(5));
        assert_eq!(guest.take(), None);
        guest.set_ppi_pending(Ppi::SW_PPI);
        assert_eq!(guest.take(), Some(IntId::Ppi(Ppi::SW_PPI)));
        assert_eq!(lab.idle(PE0, vm, FIRST), Ok(Idle::Sleep));
        assert_eq!(lab.take_doorbells(PE0, host), []);
        assert_eq!(vm.has_pending(FIRST), Ok(false));
        assert_eq!(vm.set_guest_irs(true), Ok(true));
        // Nothing rings for what came before, so a thread that is woken must not go back to sleep.
        assert_eq!(vm.has_pending(FIRST), Ok(true));
        lab.load(PE0, vm, FIRST).unwrap();
        assert_eq!(guest.take(), Some(spi(5)));
        lab.put(PE0, vm, FIRST).unwrap();
    });
}

/// Open question 2: IRICHPPIDIS may keep the doorbell silent for as long as the VPE has not become resident again.
#[test]
fn a_vcpu_that_was_loaded_with_its_irs_off_is_loaded_again_before_it_sleeps() {
    for silence in [IrichppidisDoorbell::Rings, IrichppidisDoorbell::Silent, IrichppidisDoorbell::SilentAsWhileResident]
    {
        let mut config = SHAPES[0].config();
        config.switches.residency.silence = silence;
        let lab = Lab::new(config);
        lab.open_traps();
        let host = Host::new(lab.clone(), &SHAPES[0].host_config()).unwrap();
        host.bring_up().unwrap();
        let vm = vm(&host);
        vm.set_guest_irs(false).unwrap();
        lab.load(PE0, &vm, FIRST).unwrap();
        let guest = lab.guest(PE0);
        guest.open().enable(spi(5), VPES[0], 10);
        vm.set_guest_irs(true).unwrap();
        assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(Idle::Runnable), "{silence:?}");
        assert_eq!(vm.has_pending(FIRST), Ok(true));
        lab.load(PE0, &vm, FIRST).unwrap();
        assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(Idle::Sleep));
        lab.inject(&vm, spi(5));
        assert_eq!(lab.take_doorbells(PE0, &host), [wake(&vm, FIRST)], "{silence:?}");
        lab.load(PE0, &vm, FIRST).unwrap();
        assert_eq!(guest.take(), Some(spi(5)));
        lab.put(PE0, &vm, FIRST).unwrap();
        end(&lab, &host, vec![vm]);
    }
}

// --- PPIs -------------------------------------------------------------------------------------------------------------

/// PPI-16, PPI-17, PPI-23.
#[test]
fn an_edge_is_handed_over_once_and_a_level_until_it_falls() {
    story(|lab, _, vm| {
        lab.load(PE0, vm, FIRST).unwrap();
        let guest = lab.guest(PE0);
        guest.open().enable_ppi(Ppi::SW_PPI, 5).enable_ppi(TIMER, 6);
        for ppi in [Ppi::SW_PPI, TIMER] {
            assert_eq!(vm.set_ppi(FIRST, ppi, Pending::Set), Ok(wake(vm, FIRST)));
        }
        assert_eq!(guest.take(), None, "the registers of a running guest are not touched");
        let again = || {
            lab.put(PE0, vm, FIRST).unwrap();
            lab.load(PE0, vm, FIRST).unwrap();
        };
        again();
        // Not taken yet: the edge is still owed.
        again();
        assert_eq!(guest.take(), Some(IntId::Ppi(Ppi::SW_PPI)));
        assert_eq!(guest.take(), Some(IntId::Ppi(TIMER)));
        again();
        assert_eq!(guest.take(), Some(IntId::Ppi(TIMER)), "the level is still high, the edge was taken");
        vm.set_ppi(FIRST, TIMER, Pending::Clear).unwrap();
        again();
        assert_eq!(guest.take(), None);
        // An edge of the guest's own.
        guest.set_ppi_pending(Ppi::SW_PPI);
        again();
        assert_eq!(guest.take(), Some(IntId::Ppi(Ppi::SW_PPI)));
        lab.put(PE0, vm, FIRST).unwrap();
    });
}

/// DB-23, PPI-21, PPI-22.
#[test]
fn a_pending_ppi_keeps_a_vcpu_from_sleeping_if_it_would_be_signalled() {
    let (lab, host) = up(SHAPES[3], Effects::Late);
    let vm = vm(&host);
    for (at, mask, active, runnable) in
        [(5, 31, None, true), (5, 5, None, true), (5, 4, None, false), (5, 31, Some(5), false), (5, 31, Some(6), true)]
    {
        lab.load(PE0, &vm, FIRST).unwrap();
        let guest = lab.guest(PE0);
        guest.switch(true, mask).enable_ppi(TIMER, at);
        guest.pe().write_raw(SysReg::ICC_APR_EL1, active.map_or(0, |n: u32| 1 << n));
        guest.pe().isb();
        vm.set_ppi(FIRST, TIMER, Pending::Clear).unwrap();
        assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(Idle::Sleep));
        vm.set_ppi(FIRST, TIMER, Pending::Set).unwrap();
        assert_eq!(vm.has_pending(FIRST), Ok(runnable), "{at} {mask} {active:?}");
        lab.load(PE0, &vm, FIRST).unwrap();
        assert_eq!(lab.machine.virtual_signals(PE0).irq, runnable, "the hardware thinks so, too");
        let expected = if runnable { Idle::Runnable } else { Idle::Sleep };
        assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(expected));
    }
    end(&lab, &host, vec![vm]);
}

/// ISM-7, PPI-8, PPI-13, PPI-14: what the PE signals is what the vCPU has, and only while it is there.
#[test]
fn a_ppi_is_signalled_only_to_its_vcpu_and_not_while_it_is_active() {
    let (lab, host) = up(SHAPES[0], Effects::Late);
    let vm = vm(&host);
    // Direct injection that earlier software has left on.
    lab.on(PE0, |pe| {
        pe.write_raw(SysReg::ICH_PPI_DVIR0_EL2, TIMER.mask());
        pe.isb();
    });
    lab.machine.set_ppi_wire(PE0, TIMER, true);
    lab.load(PE0, &vm, FIRST).unwrap();
    let guest = lab.guest(PE0);
    guest.open().enable_ppi(TIMER, 5);
    assert_eq!(guest.take(), None, "the host's timer is not the guest's");
    lab.put(PE0, &vm, FIRST).unwrap();
    vm.set_ppi(FIRST, TIMER, Pending::Set).unwrap();
    lab.load(PE0, &vm, FIRST).unwrap();
    assert!(lab.machine.virtual_signals(PE0).irq);
    lab.put(PE0, &vm, FIRST).unwrap();
    assert!(!lab.machine.virtual_signals(PE0).irq, "it is not there");
    // Active, though no priority is.
    lab.load(PE0, &vm, FIRST).unwrap();
    assert_eq!(guest.acknowledge(), Some(IntId::Ppi(TIMER)));
    guest.pe().cdeoi();
    assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(Idle::Sleep));
    end(&lab, &host, vec![vm]);
}

/// INJ-4, PPI-18, PPI-19, PPI-20.
#[test]
fn a_ppi_is_not_injected_and_one_that_is_not_shown_is_not_driven() {
    let (lab, host) = up(SHAPES[0], Effects::Late);
    let vm = vm(&host);
    let refused = lab.on(PE0, |pe| vm.inject(pe, IntId::Ppi(TIMER), Pending::Set));
    assert_eq!(refused, Err(InjectError::Ppi(TIMER)));
    // Shown to no guest, and implemented by no PE.
    for ppi in [Ppi::PMUIRQ, Ppi::new(100).unwrap()] {
        assert_eq!(vm.set_ppi(FIRST, ppi, Pending::Set), Err(PpiError::NotDriven(ppi)));
    }
    end(&lab, &host, vec![vm]);
}

// --- which priorities ring --------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// DB-9, DB-12, PRI-3, PRI-4, open question 1: whichever way the hardware reads the mask, a vCPU is woken for all that it
    /// would take; if the hardware reads it as the rules do, for nothing else.
    #[test]
    fn a_vcpu_is_woken_for_what_it_would_take(
        at in 0u32..32, on: bool, mask in 0u32..32, active in prop::option::of(0u32..32), by_number: bool, before: bool,
    ) {
        let shape = SHAPES[0];
        let (mut machine, mut config) = (shape.config(), shape.host_config());
        if by_number {
            machine.switches.doorbell.mask = gicv5_model::config::DoorbellMask::ByNumber;
            config.doorbell_mask = DoorbellMask::ByNumber;
        }
        let (lab, host) = up_with(machine, &config);
        let vm = vm(&host);
        lab.load(PE0, &vm, FIRST).unwrap();
        let guest = lab.guest(PE0);
        guest.switch(on, mask).enable(spi(9), VPES[0], at);
        guest.pe().write_raw(SysReg::ICC_APR_EL1, active.map_or(0, |n: u32| 1 << n));
        guest.pe().isb();
        if before {
            lab.inject(&vm, spi(9));
        }
        prop_assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(Idle::Sleep));
        if !before {
            lab.inject(&vm, spi(9));
        }
        let woken = !lab.take_doorbells(PE0, &host).is_empty();
        prop_assert_eq!(vm.has_pending(FIRST), Ok(woken));
        lab.load(PE0, &vm, FIRST).unwrap();
        let takes = lab.machine.virtual_signals(PE0).irq;
        prop_assert!(woken || !takes, "a wake-up is lost");
        prop_assert!(by_number || woken == takes, "a wake-up for nothing");
        lab.put(PE0, &vm, FIRST).unwrap();
        end(&lab, &host, vec![vm]);
    }
}

/// DB-1 to DB-5, DB-10, DB-15, DB-18, RES-2, and every open question about them: two wake-ups under each setting.
#[test]
fn no_wake_up_is_lost_under_any_setting_of_the_switches() {
    for (n, switches) in Switches::pairs().into_iter().enumerate() {
        let shape = SHAPES[n % SHAPES.len()];
        let (mut machine, mut config) = (shape.config(), shape.host_config());
        machine.switches = switches;
        config.doorbell_mask = match switches.doorbell.mask {
            gicv5_model::config::DoorbellMask::ByUrgency => DoorbellMask::ByUrgency,
            gicv5_model::config::DoorbellMask::ByNumber => DoorbellMask::ByNumber,
        };
        let (lab, host) = up_with(machine, &config);
        let (vm, other) = (vm(&host), vm(&host));
        lab.load(PE0, &vm, FIRST).unwrap();
        lab.guest(PE0).open().enable(spi(9), VPES[0], 7);
        for (round, pe) in [PE0, PE1, PE1, PE0].into_iter().enumerate() {
            let injects_first = round % 2 == 0;
            if injects_first {
                lab.inject(&vm, spi(9));
            }
            assert_eq!(lab.idle(pe_of(&lab, &vm), &vm, FIRST), Ok(Idle::Sleep), "{switches:?}");
            // Another VM on the same PE meanwhile.
            lab.load(pe, &other, FIRST).unwrap();
            if !injects_first {
                lab.inject(&vm, spi(9));
            }
            assert_eq!(lab.guest(pe).open().take(), None, "{switches:?}");
            lab.put(pe, &other, FIRST).unwrap();
            let woken: Vec<_> = [PE0, PE1].iter().flat_map(|pe| lab.take_doorbells(*pe, &host)).collect();
            assert_eq!(woken, [wake(&vm, FIRST)], "round {round}, {switches:?}");
            assert_eq!(vm.has_pending(FIRST), Ok(true));
            lab.load(pe, &vm, FIRST).unwrap();
            assert_eq!(lab.guest(pe).take(), Some(spi(9)), "round {round}, {switches:?}");
        }
        lab.put(pe_of(&lab, &vm), &vm, FIRST).unwrap();
        end(&lab, &host, vec![vm, other]);
    }
}

/// Where the first vCPU of a VM is.
fn pe_of(lab: &Lab, vm: &Vm<'_, Lab>) -> gicv5_model::PeIndex {
    let first = vm.id().map(|vm| (vm, VPES[0]));
    if lab.machine.resident(PE0) == first { PE0 } else { PE1 }
}

/// DB-25: what has rung and nobody has taken goes with the VM.
#[test]
fn a_doorbell_that_rang_and_was_not_taken_does_not_wake_the_next_owner_of_its_lpi() {
    for (lab, host) in shapes() {
        let mut first = vm(&host);
        lab.load(PE0, &first, FIRST).unwrap();
        lab.guest(PE0).open().enable(spi(5), VPES[0], 10);
        assert_eq!(lab.idle(PE0, &first, FIRST), Ok(Idle::Sleep));
        lab.inject(&first, spi(5));
        first.tear_down().unwrap();
        let second = vm(&host);
        for vcpu in [FIRST, SECOND, VcpuIndex(2)] {
            lab.load(PE0, &second, vcpu).unwrap();
            lab.guest(PE0).open();
            assert_eq!(lab.idle(PE0, &second, vcpu), Ok(Idle::Sleep));
        }
        assert_eq!(lab.take_doorbells(PE0, &host), []);
        end(&lab, &host, vec![first, second]);
    }
}
