//! The campaign notices libraries that make a mistake.
//!
//! The library makes none of these, so each is built in below it, where the library and the IRS meet: what is done there is what
//! a library with the mistake would do. Without a mistake the same cases hold.

use std::sync::{Arc, Mutex};

use gicv5_arch::entry::L2_VMTE;
use gicv5_arch::irs::{IRS_VMAP_VMR, IrsReg};
use gicv5_arch::values::MapAction;
use gicv5_hal::{Coherency, Frame, FrameKind, Irs, Platform, TableMemory};
use gicv5_hyp::WithLpis;
use gicv5_model::clock::Tick;
use gicv5_model::config::Switches;
use gicv5_model::event::Event;
use gicv5_model::fault::{FaultPoint, Request};
use gicv5_model::{Machine, ModelHost};

use super::case::{CaseId, Harm, Strike};
use super::complaint::Phase;
use super::geometry::Geometry;
use super::life::{Setting, TIMEOUT, Verdict, live, live_on};
use super::report::Tally;

/// What a library does wrong.
#[derive(Clone, Copy, Debug)]
enum Mistake {
    /// A write of this register that has not come to its end in time has come to nothing, it thinks: it asks no more whether the
    /// IRS is idle, and takes everything back that the command names.
    GivesUp(IrsReg),
    /// It has one descriptor for all VPEs of a VM.
    SharesDescriptor,
}

/// The IRS below a library that makes a mistake.
#[derive(Clone)]
struct Mistaken {
    model: ModelHost,
    mistake: Mistake,
    /// When the register was written last.
    written: Arc<Mutex<Option<Tick>>>,
}

impl Mistaken {
    fn board(model: &ModelHost, mistake: Mistake) -> WithLpis<Mistaken, ModelHost> {
        if let Mistake::SharesDescriptor = mistake {
            model.machine().observe(1 << 20);
        }
        let platform = Mistaken { model: model.clone(), mistake, written: Arc::default() };
        WithLpis { platform, lpis: model.clone() }
    }

    fn seen(&self, frame: Frame, offset: u16, value: u64) -> u64 {
        let Mistake::GivesUp(register) = self.mistake else { return value };
        let (Some(status), Some(written)) = (register.status(), *self.written.lock().unwrap()) else { return value };
        let over = self.model.machine().now().since(written) > TIMEOUT / 2;
        let is_asked = frame.kind == FrameKind::Config && offset == status.register.offset();
        if is_asked && over { value | u64::from(status.idle) } else { value }
    }

    fn write(&self, frame: Frame, offset: u16, value: u64) {
        let Some(register) = IrsReg::at(offset).filter(|_| frame.kind == FrameKind::Config) else { return };
        let machine = self.model.machine();
        match self.mistake {
            Mistake::GivesUp(it) if it == register => *self.written.lock().unwrap() = Some(machine.now()),
            Mistake::GivesUp(it) if it.status() == register.status() => *self.written.lock().unwrap() = None,
            Mistake::GivesUp(_) => {}
            Mistake::SharesDescriptor => share_descriptor(machine, register, value),
        }
    }
}

/// Before a VM is made valid, the entries of all its VPEs get the descriptor of the first.
fn share_descriptor(machine: &Machine, register: IrsReg, value: u64) {
    let events = machine.take_events();
    let command = IRS_VMAP_VMR::new_with_raw_value(value);
    if register != IrsReg::IRS_VMAP_VMR || command.u() != MapAction::MakeValid {
        return;
    }
    let stored = |(_, event): &(_, Event)| match event {
        Event::Stored { address, value, .. } => Some((*address, *value)),
        _ => None,
    };
    // The last words that were stored are those of the VM's own entry; before them, those of its VPEs.
    let stores = events.iter().rev().filter_map(stored).skip(L2_VMTE::WORDS.len());
    let entries: Vec<_> = stores.take_while(|(_, descriptor)| *descriptor != 0).collect();
    if let Some(((_, first), others)) = entries.split_last() {
        others.iter().for_each(|(address, _)| machine.physical_memory().store64(*address, *first));
        machine.barrier();
    }
}

impl Irs for Mistaken {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        self.seen(frame, offset, self.model.irs().read32(frame, offset).into()) as u32
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        self.write(frame, offset, value.into());
        self.model.irs().write32(frame, offset, value);
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        self.seen(frame, offset, self.model.irs().read64(frame, offset))
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        self.write(frame, offset, value);
        self.model.irs().write64(frame, offset, value);
    }
}

impl Platform for Mistaken {
    type Irs = Mistaken;
    type Memory = Machine;
    type CurrentPe = ModelHost;
    type Wait = Machine;
    type Locks = <ModelHost as Platform>::Locks;

    fn irs(&self) -> &Mistaken {
        self
    }

    fn memory(&self) -> &Machine {
        self.model.memory()
    }

    fn current_pe(&self) -> &ModelHost {
        &self.model
    }

    fn wait(&self) -> &Machine {
        self.model.wait()
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        self.model.may_allocate(bytes)
    }
}

/// Under the first geometry like this a life in which the points strike that are about a register holds, and with the mistake
/// it does not: the model says so in these words.
fn notices(mistake: Mistake, pick: impl Fn(&Geometry) -> bool, struck: Option<(Phase, IrsReg)>, words: [&str; 3]) {
    let geometry = Geometry::all().into_iter().find(pick).unwrap();
    let setting = Setting { geometry, seed: 5, switches: Switches::default() };
    let is_struck = |(step, point): &(Phase, FaultPoint)| match point.request {
        Request::Command { register, .. } => struck == Some((*step, register)),
        _ => false,
    };
    let points = live(&setting, &[], false).unwrap().points.into_iter().flatten();
    let points: Vec<_> = points.filter(is_struck).map(|(_, point)| point.index).collect();
    assert_eq!(points.is_empty(), struck.is_none());
    let strikes = |harm| points.iter().map(move |at| vec![Strike { at: *at, harm }]);
    let lives = match struck {
        None => vec![vec![]],
        Some(_) => [Harm::Never, Harm::TooLate].into_iter().flat_map(strikes).collect(),
    };
    for strikes in lives {
        let planned: Vec<_> = strikes.iter().map(|strike| strike.planned()).collect();
        let case = CaseId { geometry: geometry.to_string(), switches: 0, strikes };
        let bad = |verdict: &Verdict| {
            let mut tally = Tally::default();
            tally.judge(&case, verdict);
            tally.bad()
        };
        let right = live(&setting, &planned, false).unwrap();
        assert_eq!(bad(&right), 0, "{case}: {:#?}", right.violations);
        let wrong = live_on(&setting, &planned, false, |model| Mistaken::board(model, mistake)).unwrap();
        let is_named = |violation: &String| words.iter().all(|word| violation.contains(word));
        assert!(bad(&wrong) > 0 && wrong.violations.iter().any(is_named), "{case}: {:#?}", wrong.violations);
    }
}

#[test]
fn the_campaign_notices_an_ist_that_is_freed_after_the_command_that_names_it_has_timed_out() {
    let register = IrsReg::IRS_VMAP_VISTR;
    let words = ["LIFE-10", "memory was freed", "in the LPI IST of VM 1"];
    notices(Mistake::GivesUp(register), |of| of.lpis, Some((Phase::CreateIst, register)), words);
}

#[test]
fn the_campaign_notices_that_all_vpes_of_a_vm_have_one_descriptor() {
    // What is stored here is not cleaned.
    let pick = |of: &Geometry| of.vcpus > 1 && of.coherency == Coherency::Coherent;
    notices(
        Mistake::SharesDescriptor,
        pick,
        None,
        ["VPE-7", "is a VPE descriptor of VM 1 already", "in a VPE descriptor of VM 1"],
    );
}

#[test]
fn the_campaign_notices_an_lpi_that_is_given_back_while_a_command_under_way_names_it() {
    let register = IrsReg::IRS_VPE_DBR;
    let words = ["LIFE-10", "the LPI was released", "IRS_VPE_DBR that names it is under way"];
    notices(Mistake::GivesUp(register), |_| true, Some((Phase::Init, register)), words);
}

#[test]
fn the_campaign_notices_a_vm_id_that_is_given_to_another_vm_while_a_command_under_way_names_it() {
    let register = IrsReg::IRS_VPE_DBR;
    let words = ["LIFE-10", "a VM is made with the ID", "IRS_VPE_DBR, which is under way, names"];
    notices(Mistake::GivesUp(register), |_| true, Some((Phase::Reset, register)), words);
}

#[test]
fn impatience_alone_breaks_nothing_while_no_command_times_out() {
    let setting = Setting { geometry: Geometry::all()[0], seed: 5, switches: Switches::default() };
    for register in [IrsReg::IRS_VMAP_VISTR, IrsReg::IRS_VPE_DBR] {
        let board = |model: &ModelHost| Mistaken::board(model, Mistake::GivesUp(register));
        let verdict = live_on(&setting, &[], false, board).unwrap();
        assert!(verdict.violations.is_empty() && verdict.complaints.is_empty(), "{:?}", verdict.violations);
    }
}
