//! The physical driver underneath: it brings the IRS up, supplies the doorbells, and takes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::board::{Board, Watch};
use common::{IRS, SHAPES, SPEC, VPES, assert_clean, open_traps};
use gicv5_arch::sysreg::{ICC_CR0_EL1, SysReg};
use gicv5_arch::{IntId, Lpi};
use gicv5_hal::{Pe, Platform};
use gicv5_hyp::{Host, Idle, Pending, VcpuIndex, Wake, WithLpis};
use gicv5_model::PeIndex;
use gicv5_model::{Machine, ModelHost};
use gicv5_phys::{Phys, Source};

#[derive(Clone)]
struct Bare;

impl Watch for Bare {
    type Locks = <ModelHost as Platform>::Locks;
}

/// LPI-3, DB-13, DB-14, DB-25, GEN-20.
#[test]
fn a_vm_sleeps_and_is_woken_through_the_physical_driver() {
    for shape in SHAPES {
        let machine = Machine::new(shape.config()).unwrap();
        let cpu = machine.pe(PeIndex(0)).unwrap();
        let pe = Pe::new(&cpu);
        let before = machine.snapshot();
        let below = Board { machine: machine.clone(), host: cpu.clone(), watch: Bare };
        let timeout = Duration::from_micros(200);
        let config = gicv5_phys::Config { timeout, ..gicv5_phys::Config::new(&[IRS], 64) };
        let phys = Arc::new(Phys::new(below.clone(), &config).unwrap());
        phys.bring_up().unwrap();
        phys.bring_up_pe(&pe).unwrap();

        let above = WithLpis { platform: below, lpis: phys.clone() };
        let host = Host::new(above, &shape.host_config()).unwrap();
        host.bring_up().unwrap();
        let mut vm = host.new_vm();
        vm.init(&SPEC).unwrap();
        vm.create_lpi_ist(14).unwrap();
        let (id, vcpu) = (vm.id().unwrap(), VcpuIndex(0));

        // The guest enables its interface and an LPI, and has nothing to do.
        let lpi = Lpi::new(7).unwrap();
        open_traps(&pe);
        vm.load(&pe, vcpu).unwrap();
        let guest = cpu.guest();
        let guest = Pe::new(&guest);
        guest.write(ICC_CR0_EL1::ZERO.with_en(true));
        guest.write_raw(SysReg::ICC_PCR_EL1, 31);
        guest.isb();
        guest.cdaff(lpi.into(), VPES[0].into());
        guest.cden(lpi.into());
        guest.gsb_sys();
        assert_eq!(vm.idle(&pe, vcpu).unwrap(), Idle::Sleep);

        // Its doorbell wakes it, and the interrupt is there when it is back.
        vm.inject(&pe, IntId::Lpi(lpi), Pending::Set).unwrap();
        let mut woken = Vec::new();
        phys.take_interrupts(&pe, u64::MAX, |_, active| {
            if let Source::Lpi(_, cookie) = active.source() {
                woken.push(host.doorbell(cookie));
            }
            Some(active)
        });
        assert_eq!(woken, [Some(Wake { vm: id, vpe: VPES[0] })]);
        assert!(vm.has_pending(vcpu).unwrap());
        vm.load(&pe, vcpu).unwrap();
        assert_eq!(guest.cdia().int_id(), Some(IntId::Lpi(lpi)));
        guest.gsb_ack();
        guest.isb();
        guest.cdeoi();
        guest.cddi(lpi.into());
        guest.gsb_sys();
        vm.put(&pe, vcpu).unwrap();
        assert_eq!(host.counters().spurious_doorbells, 0);

        vm.tear_down().unwrap();
        drop(vm);
        host.shut_down().unwrap();
        phys.bring_down_pe(&pe).unwrap();
        phys.tear_down().unwrap();
        assert_clean(&machine, &before, shape);
    }
}
