//! A driver that is not written over `gicv5-hal`: offsets, addresses, bits and instruction words, and an allocator of its own.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use gicv5_arch::irs::IrsReg;
use gicv5_arch::{Lpi, PhysAddr, VmId};
use gicv5_hal::{Cookie, Frame, Irs, IrsIndex};
use gicv5_model::config::MachineConfig;
use gicv5_model::fault::{Aim, Fault};
use gicv5_model::violation::Complaint;
use gicv5_model::{Machine, ModelLpis, PeIndex, PhysicalMemory};

const FRAME: Frame = Frame::config(IrsIndex(0));
const CR0: u16 = 0x80;
const CR1: u16 = 0x84;
const VMT_BASER: u16 = 0x200;
const VMT_CFGR: u16 = 0x210;
const VMT_STATUSR: u16 = 0x214;
const VPE_SELR: u16 = 0x240;
const VPE_DBR: u16 = 0x248;
const VPE_STATUSR: u16 = 0x25c;
const VMAP_VMR: u16 = 0x2c8;
const VMAP_VPER: u16 = 0x2e0;

/// `dsb sy`, `isb`, and `msr` and `mrs` of ICH_CONTEXTR_EL2, S3_4_C12_C11_6.
const DSB: u32 = 0xd503_3f9f;
const ISB: u32 = 0xd503_3fdf;
const MSR_CONTEXTR: u32 = 0xd51c_cbc0;
const MRS_CONTEXTR: u32 = 0xd53c_cbc0;

/// What is complained of: the rule and the PE.
type Told = Arc<Mutex<Vec<(&'static str, Option<PeIndex>)>>>;

struct Driver {
    machine: Machine,
    memory: PhysicalMemory,
    next: Cell<u64>,
}

impl Driver {
    fn new() -> Driver {
        let mut config = MachineConfig::new(2, 0).with_virtualisation();
        config.memory.base = PhysAddr::new(0x8000_0000).unwrap();
        let machine = Machine::new(config).unwrap();
        let driver = Driver { memory: machine.physical_memory(), machine, next: Cell::new(0x8010_0000) };
        // Write-back, inner shareable; then on.
        driver.machine.write32(FRAME, CR1, 0x17);
        driver.machine.write32(FRAME, CR0, 1);
        driver.wait(CR0, 1 << 1);
        driver
    }

    /// The driver's allocator: whole pages, in order, and none comes back.
    fn page(&self) -> u64 {
        let page = self.next.replace(self.next.get() + 0x1000);
        self.memory.hold(PhysAddr::new(page).unwrap(), 0x1000).unwrap();
        page
    }

    fn free(&self, page: u64) {
        self.memory.release(PhysAddr::new(page).unwrap());
    }

    fn store(&self, address: u64, value: u64) {
        self.memory.store64(PhysAddr::new(address).unwrap(), value);
    }

    fn execute(&self, pe: u16, word: u32, xt: u64) -> u64 {
        self.machine.pe(PeIndex(pe)).unwrap().execute(word, xt).unwrap()
    }

    fn command(&self, register: u16, value: u64, status: u16) {
        self.machine.write64(FRAME, register, value);
        self.wait(status, 1);
    }

    fn wait(&self, status: u16, idle: u32) {
        for _ in 0..1_000 {
            if self.machine.read32(FRAME, status) & idle != 0 {
                return;
            }
        }
    }

    /// A VM table of 16 entries, and VM 3 with VPE 0 in it. Returns the page of the VPE table.
    fn make_vm(&self) -> u64 {
        let [vmt, vpet, vped] = [self.page(), self.page(), self.page()];
        // Two VPE IDs, which is one bit.
        self.store(vmt + 3 * 32 + 8, 1 << 59 | vpet);
        self.store(vpet, vped);
        self.execute(0, DSB, 0);
        self.machine.write32(FRAME, VMT_CFGR, 4);
        self.command(VMT_BASER, vmt | 1, VMT_STATUSR);
        self.command(VMAP_VMR, 1 << 63 | 3, VMT_STATUSR);
        self.command(VMAP_VPER, 1 << 63 | 3 << 32, VMT_STATUSR);
        vpet
    }

    /// Loads VPE 0 of VM 3 on a PE and puts it. True if it was resident.
    fn visit(&self, pe: u16) -> bool {
        self.execute(pe, MSR_CONTEXTR, 1 << 63 | 3);
        self.execute(pe, ISB, 0);
        let resident = self.execute(pe, MRS_CONTEXTR, 0) >> 62 == 0b10;
        self.execute(pe, MSR_CONTEXTR, 0);
        self.execute(pe, ISB, 0);
        resident
    }

    /// What is complained of from now on.
    fn complaints(&self) -> Told {
        let told = Told::default();
        let kept = told.clone();
        self.machine.listen(move |_, complaint| match complaint {
            Complaint::Violation(said) => kept.lock().unwrap().push((said.rule, said.pe)),
            Complaint::Remark(said) => kept.lock().unwrap().push((said.0.rule, said.0.pe)),
        });
        told
    }
}

#[test]
fn a_vm_that_is_made_with_bits_and_addresses_runs_and_nothing_is_wrong_with_it() {
    let driver = Driver::new();
    let told = driver.complaints();
    driver.make_vm();
    assert!(driver.visit(0) && driver.visit(1));
    assert_eq!(*told.lock().unwrap(), []);
}

#[test]
fn a_page_that_is_freed_under_its_vm_is_told_at_once_with_the_pe_that_freed_it() {
    // VMT-10.
    let driver = Driver::new();
    let vpet = driver.make_vm();
    let told = driver.complaints();
    driver.machine.on_pe(PeIndex(1), |_| driver.free(vpet)).unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.iter().map(|(_, pe)| *pe).collect::<Vec<_>>(), [Some(PeIndex(1))], "{told:?}");
}

#[test]
fn a_store_that_no_barrier_has_published_is_blamed_on_the_pe_whose_command_met_it() {
    // COH-1: a barrier on PE 1 publishes nothing that PE 0 has stored.
    let driver = Driver::new();
    let vpet = driver.make_vm();
    let told = driver.complaints();
    driver.store(vpet + 8, driver.page());
    driver.execute(1, DSB, 0);
    driver.machine.on_pe(PeIndex(1), |_| driver.command(VMAP_VPER, 1 << 63 | 3 << 32 | 1, VMT_STATUSR)).unwrap();
    let told = told.lock().unwrap();
    assert!(told.contains(&("COH-1", Some(PeIndex(1)))), "{told:?}");
}

#[test]
fn a_command_that_is_chosen_by_what_it_names_never_completes_for_a_driver_that_counts_none() {
    // GEN-19, GEN-18.
    let driver = Driver::new();
    driver.machine.aim_fault(Aim::command(IrsReg::IRS_VMAP_VPER).of_vm(VmId::new(3)), Fault::Never);
    let told = driver.complaints();
    driver.make_vm();
    assert!(!driver.visit(0));
    driver.command(VMAP_VPER, 1 << 63 | 3 << 32, VMT_STATUSR);
    assert!(told.lock().unwrap().contains(&("GEN-18", Some(PeIndex(0)))));
    driver.machine.recover();
    assert!(driver.visit(0));
}

#[test]
fn lpis_of_a_drivers_own_allocator_are_in_the_books_without_a_host() {
    // POOL_2, DB-25.
    let driver = Driver::new();
    let lpis = ModelLpis::start(&driver.machine, 0..64);
    driver.make_vm();
    let told = driver.complaints();
    let ring = |lpi: u32| {
        driver.command(VPE_SELR, 1 << 63 | 3, VPE_STATUSR);
        driver.command(VPE_DBR, 1 << 63 | u64::from(lpi), VPE_STATUSR);
    };
    ring(7);
    assert_eq!(told.lock().unwrap().drain(..).map(|(rule, _)| rule).collect::<Vec<_>>(), ["POOL-2"]);
    let lpi = Lpi::new(8).unwrap();
    let held = lpis.hold(lpi, Cookie(42)).unwrap();
    assert_eq!((held.lpi(), lpis.record(lpi).map(|record| record.cookie)), (lpi, Some(Cookie(42))));
    assert!(lpis.hold(lpi, Cookie(43)).is_err(), "somebody has it");
    ring(8);
    assert_eq!(*told.lock().unwrap(), []);
    lpis.release_number(lpi);
    lpis.release_number(lpi);
    let rules: Vec<_> = told.lock().unwrap().iter().map(|(rule, _)| *rule).collect();
    assert_eq!(rules, ["DB-25", "POOL-1"]);
    assert_eq!(lpis.allocate(Cookie(1)).unwrap().lpi().id(), 0, "the lowest");
}
