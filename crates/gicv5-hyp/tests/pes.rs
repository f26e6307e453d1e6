//! PEs that are taken over, go out, or are gone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;
#[path = "common/guest.rs"]
mod guest;

use common::{IRS, Lab, SHAPES, SPEC, VPES, assert_clean, live};
use gicv5_arch::irs::IRS_CR0;
use gicv5_arch::sysreg::{ICH_VMCR_EL2, SysReg};
use gicv5_arch::{Iaffid, PpiBank};
use gicv5_hal::{IrsExt, Pe};
use gicv5_hyp::{BringUpCause, Config, EvictError, Fate, Host, Idle, LiveTable, RunError, Vm, VmState, Wake, reset_pe};
use guest::{FIRST, PE0, PE1, SECOND, spi};

fn up() -> (Lab, Host<Lab>) {
    let (lab, host) = SHAPES[0].up();
    lab.open_traps();
    (lab, host)
}

fn wake(vm: &Vm<'_, Lab>, vpe: usize) -> Wake {
    Wake { vm: vm.id().unwrap(), vpe: VPES[vpe] }
}

fn iaffid(lab: &Lab, pe: gicv5_model::PeIndex) -> Iaffid {
    lab.on(pe, |pe| pe.iaffid())
}

/// Runs the first vCPU on a PE until it has nothing to do; SPI 3 would wake it.
fn sleep(lab: &Lab, vm: &Vm<'_, Lab>, pe: gicv5_model::PeIndex) {
    lab.load(pe, vm, FIRST).unwrap();
    lab.guest(pe).open().enable(spi(3), VPES[0], 8);
    assert_eq!(lab.idle(pe, vm, FIRST), Ok(Idle::Sleep));
}

/// GEN-20, LPI-3.
#[test]
fn a_host_does_not_come_up_before_the_physical_side() {
    let (lab, host) = SHAPES[0].down();
    lab.machine.write(IRS, IRS_CR0::ZERO.with_irsen(false));
    lab.machine.advance(1_000);
    let error = host.bring_up().unwrap_err();
    assert!(matches!(error.cause, BringUpCause::PhysicalSideDown { irs: IRS, .. }), "{error}");
    assert_eq!(error.cleanup, Ok(()));
    lab.machine.write(IRS, IRS_CR0::ZERO.with_irsen(true));
    lab.machine.advance(1_000);
    host.bring_up().unwrap();
    host.shut_down().unwrap();
    lab.assert_no_violations();
}

/// RES-15, RES-16, RES-23, VMT-2.
#[test]
fn a_take_over_begins_with_every_pe() {
    let (lab, old) = up();
    let vm = live(&old);
    for (pe, vcpu) in [(PE0, FIRST), (PE1, SECOND)] {
        lab.load(pe, &vm, vcpu).unwrap();
        lab.guest(pe).open().set_ppi_pending(gicv5_arch::Ppi::SW_PPI);
    }
    // That hypervisor is heard of no more.
    for pe in [PE0, PE1] {
        lab.on(pe, |pe| {
            reset_pe(pe);
            assert_eq!(pe.read::<ICH_VMCR_EL2>(), ICH_VMCR_EL2::ZERO);
            for bank in PpiBank::ALL {
                assert_eq!(pe.read_raw(SysReg::ich_ppi_enabler(bank)), 0);
                assert_eq!(pe.read_raw(SysReg::ich_ppi_pendr(bank)), 0);
                assert_eq!(pe.read_raw(SysReg::ich_ppi_activer(bank)), 0);
            }
        });
        assert_eq!(lab.machine.resident(pe), None);
    }
    let taking = Config { live_table: LiveTable::TakeOver, ..SHAPES[0].host_config() };
    let new = Host::new(lab.clone(), &taking).unwrap();
    new.bring_up().unwrap();
    lab.assert_no_violations();
    let mut other = live(&new);
    lab.load(PE1, &other, FIRST).unwrap();
    lab.put(PE1, &other, FIRST).unwrap();
    other.tear_down().unwrap();
    new.shut_down().unwrap();
    lab.assert_no_violations();
    // Its memory stays whose it was.
    std::mem::forget(vm);
}

/// LIFE-22, RES-22.
#[test]
fn a_vcpu_whose_handle_is_gone_is_taken_off_its_pe() {
    let lab = SHAPES[0].lab();
    let before = lab.machine.snapshot();
    lab.open_traps();
    let host = Host::new(lab.clone(), &SHAPES[0].host_config()).unwrap();
    host.bring_up().unwrap();
    let vm = live(&host);
    lab.load(PE1, &vm, SECOND).unwrap();
    let whom = wake(&vm, 1);
    assert_eq!(lab.on(PE0, |pe| host.evict(pe)), Ok(None), "nobody is there");
    let refused = EvictError::HasHandle { vm: whom.vm, vpe: whom.vpe };
    assert_eq!(lab.on(PE1, |pe| host.evict(pe)), Err(refused));
    drop(vm);
    host.reap().unwrap_err();
    assert_eq!(lab.on(PE1, |pe| host.evict(pe)), Ok(Some(whom)));
    assert_eq!(lab.machine.resident(PE1), None);
    host.reap().unwrap();
    host.shut_down().unwrap();
    assert_clean(&lab.machine, &before, "evicted");
}

/// DB-24, RTE-5.
#[test]
fn doorbells_move_before_their_pe_goes_out() {
    for rings_before in [false, true] {
        let (lab, host) = up();
        let mut vm = live(&host);
        sleep(&lab, &vm, PE1);
        if rings_before {
            lab.inject(&vm, spi(3));
        }
        let from = iaffid(&lab, PE1);
        assert_eq!(lab.on(PE0, |pe| vm.move_doorbells(pe, from)), Ok(1));
        assert_eq!(lab.on(PE0, |pe| vm.move_doorbells(pe, from)), Ok(0), "it is routed elsewhere now");
        if !rings_before {
            lab.inject(&vm, spi(3));
        }
        assert_eq!(lab.take_doorbells(PE1, &host), []);
        assert_eq!(lab.take_doorbells(PE0, &host), [wake(&vm, 0)]);
        lab.load(PE0, &vm, FIRST).unwrap();
        assert_eq!(lab.guest(PE0).take(), Some(spi(3)));
        // It sleeps on the first PE again, where its doorbell goes already.
        assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(Idle::Sleep));
        lab.inject(&vm, spi(3));
        assert_eq!(lab.take_doorbells(PE0, &host), [wake(&vm, 0)]);
        vm.tear_down().unwrap();
        host.shut_down().unwrap();
        lab.assert_no_violations();
    }
}

/// DB-24.
#[test]
fn who_sleeps_on_a_pe_that_is_gone_is_woken() {
    let (lab, host) = up();
    let mut vm = live(&host);
    sleep(&lab, &vm, PE1);
    let mut woken = Vec::new();
    vm.pe_is_gone(iaffid(&lab, PE1), |wake| woken.push(wake)).unwrap();
    assert_eq!(woken, [wake(&vm, 0)]);
    assert_eq!(vm.has_pending(FIRST), Ok(true));
    // It goes on elsewhere, and sleeps there, where its doorbell goes now.
    lab.load(PE0, &vm, FIRST).unwrap();
    assert_eq!(lab.idle(PE0, &vm, FIRST), Ok(Idle::Sleep));
    lab.inject(&vm, spi(3));
    assert_eq!(lab.take_doorbells(PE0, &host), [wake(&vm, 0)]);
    vm.tear_down().unwrap();
    host.shut_down().unwrap();
    lab.assert_no_violations();
}

/// LIFE-22: the PE is switched off with a vCPU on it.
#[test]
fn a_vm_whose_vcpu_is_lost_with_its_pe_is_dead_and_can_be_torn_down() {
    for orphan in [false, true] {
        let (lab, host) = up();
        let mut vm = live(&host);
        lab.load(PE1, &vm, SECOND).unwrap();
        assert_eq!(vm.tear_down().unwrap_err().fate, Fate::Unchanged);
        // The PE is reset, which ends the residency, and nobody puts the vCPU.
        lab.on(PE1, reset_pe);
        let gone = iaffid(&lab, PE1);
        if orphan {
            drop(vm);
            host.reap().unwrap_err();
            host.pe_is_gone(gone).unwrap();
            host.reap().unwrap();
        } else {
            let mut woken = 0;
            vm.pe_is_gone(gone, |_| woken += 1).unwrap();
            assert_eq!((woken, vm.state()), (VPES.len(), Some(VmState::Dead)));
            assert!(matches!(lab.load(PE0, &vm, FIRST), Err(RunError::NotLive { .. })));
            vm.tear_down().unwrap();
            vm.init(&SPEC).unwrap();
            vm.tear_down().unwrap();
        }
        host.shut_down().unwrap();
        lab.assert_no_violations();
    }
}

#[test]
fn a_vm_that_is_not_initialised_is_on_no_pe() {
    let (lab, host) = up();
    let vm = host.new_vm();
    let gone = iaffid(&lab, PE1);
    assert_eq!(vm.pe_is_gone(gone, |_| ()), Err(RunError::NotInitialised));
    assert_eq!(lab.on(PE0, |pe: &Pe<'_, _>| vm.move_doorbells(pe, gone)), Err(RunError::NotInitialised));
}
