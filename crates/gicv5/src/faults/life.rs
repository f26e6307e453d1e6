//! One case: a host and a VM live through everything, while planned faults strike, and what is left is judged.
//!
//! The script goes on after every error as an embedder would. After a command that has not come to its end it asks once more
//! while the hardware is still stuck, and the other VM must run as if nothing was; then, as after every other error, the
//! hardware recovers, the library is asked again, and everything must work. Beside the VM under test lives a bystander, which
//! must not lose anything. The last word has the model's own account.

use std::ops::Range;

use gicv5_arch::geometry::VmTableGeometry;
use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::{IRS_IDR0, IRS_VMT_BASER};
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IntId, IrsIntId, Lpi, PhysAddr, Priority, Spi, VpeId};
use gicv5_hal::{Block, BlockLayout, Cookie, IrsExt, IrsIndex, Pe, TableMemory};
use gicv5_hyp::{Config, Host, Idle, LiveTable, Pending, VcpuIndex, Vm, VmSpec, Wake};
use gicv5_model::PeIndex;
use gicv5_model::clock::Tick;
use gicv5_model::config::Switches;
use gicv5_model::event::Event;
use gicv5_model::fault::{Fault, FaultPoint};
use gicv5_model::{Machine, ModelHost};

use super::complaint::{After, Cause, Complaint, Step};
use super::geometry::{Found, Geometry, Table};
use super::lab::Lab;

/// How long the library waits for the IRS, in microseconds, which are ticks of the model.
const TIMEOUT: u64 = 40;
/// A command that is this late comes in time.
pub(super) const LATE: u64 = 10;
/// One that is this late comes after the library has given up.
pub(super) const TOO_LATE: u64 = 2 * TIMEOUT + 20;
/// After this many ticks everything that was late has come.
const RECOVERY: u64 = 4 * TOO_LATE;
/// How often the script asks. There are at most three faults, and two complaints about each.
const ATTEMPTS: usize = 7;
/// LPIs for doorbells.
const LPIS: Range<u32> = 0..64;
/// Where the bystander and the VM under test run.
const PES: [PeIndex; 2] = [PeIndex(0), PeIndex(1)];

/// What stays the same over many cases.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) geometry: Geometry,
    pub(super) seed: u64,
    pub(super) switches: Switches,
}

/// A fault and the number of the point at which it strikes, counted from the start of the script.
pub(super) type Planned = (u64, Fault);

/// What the script is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// A step under test.
    Test(Step),
    /// The bystander.
    Bystander,
    /// The proof that everything works again.
    Proof,
}

/// A line of a story.
#[derive(Debug)]
pub(super) enum Line {
    /// What follows is about this.
    Scene(Scene),
    /// Something happened in the machine.
    Event(Tick, Event),
    /// The library has complained.
    Complaint(String),
    /// The hardware recovers.
    Recovery,
}

/// What a case came to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The fault points passed, numbered from the start of the script; `None` in place of those that belong to the bystander
    /// or to the proof that everything works again.
    pub(super) points: Vec<Option<(Step, FaultPoint)>>,
    /// What the library said, in order.
    pub(super) complaints: Vec<(Step, Complaint)>,
    /// Something was in quarantine.
    pub(super) quarantined: bool,
    pub(super) leaks: Vec<String>,
    pub(super) violations: Vec<String>,
    pub(super) not_reusable: Vec<String>,
    /// What the bystander lost.
    pub(super) lost: Vec<String>,
    /// Planned faults that have not struck.
    pub(super) missed: Vec<Planned>,
    /// All that happened, if it was to be told.
    pub(super) story: Vec<Line>,
}

/// The script cannot go on. What it says is in the verdict.
struct Abandoned;

/// Runs the script with these faults.
pub(super) fn live(setting: &Setting, faults: &[Planned], tell: bool) -> Result<Verdict, String> {
    let Setting { geometry, seed, switches } = setting;
    let mut config = geometry.machine(*seed);
    config.switches = *switches;
    let machine = Machine::new(config).map_err(|error| error.to_string())?;
    let model = ModelHost::start(&machine, LPIS).map_err(|error| error.to_string())?;
    if geometry.found == Found::LiveTable {
        leave_table(&machine, &model)?;
    }
    let before = machine.snapshot();
    let start = machine.fault_points_passed();
    for (index, fault) in faults {
        machine.plan_fault(start + index, *fault);
    }
    machine.record_fault_points();
    for pe in PES {
        // The hypervisor lets its guests do what they may do by themselves: a bit that is 1 does not trap.
        let _ = model.on_pe(pe, |pe| {
            pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
            pe.isb();
        });
    }
    if tell {
        machine.observe(1 << 20);
    }
    let mut life = Life {
        setting,
        machine: &machine,
        model: &model,
        start,
        tell,
        scenes: Vec::new(),
        stuck: false,
        cookies: Vec::new(),
        verdict: Verdict::default(),
    };
    // Whatever abandons the script has said why.
    let _ = life.all();
    life.catch_up();
    let Life { scenes, mut verdict, .. } = life;
    let account = machine.account(&before);
    verdict.leaks = account.leaks.iter().map(ToString::to_string).collect();
    verdict.violations = account.violations.iter().map(ToString::to_string).collect();
    if account.not_kept > 0 {
        verdict.violations.push(format!("and {} more", account.not_kept));
    }
    verdict.missed =
        machine.planned_faults().into_iter().map(|(at, fault)| (at.saturating_sub(start), fault)).collect();
    verdict.points = machine.take_fault_points().into_iter().map(|point| owner(&scenes, point, start)).collect();
    Ok(verdict)
}

/// Under which step a point was passed.
fn owner(scenes: &[(u64, Scene)], point: FaultPoint, start: u64) -> Option<(Step, FaultPoint)> {
    let index = point.index - start;
    match scenes.iter().rev().find(|(from, _)| *from <= index)? {
        (_, Scene::Test(step)) => Some((*step, FaultPoint { index, request: point.request })),
        (_, Scene::Bystander | Scene::Proof) => None,
    }
}

/// Makes a VM table valid, as software that ran before has left it. Nobody knows any more whose memory it is.
fn leave_table(machine: &Machine, model: &ModelHost) -> Result<(), String> {
    let wrong = |error: &dyn std::error::Error| error.to_string();
    let table = VmTableGeometry::linear(4).map_err(|error| wrong(&error))?;
    let bits = machine.read::<IRS_IDR0>(IrsIndex(0)).pa_range().map_or(56, |range| range.bits());
    let layout = BlockLayout::for_footprint(table.base(), PhysAddr::highest(bits)).map_err(|error| wrong(&error))?;
    let block = machine.allocate(layout).map_err(|error| wrong(&error))?;
    let address = table.base().place(block.address()).map_err(|error| wrong(&error))?;
    machine.write(IrsIndex(0), table.cfgr());
    let base = IRS_VMT_BASER::ZERO.with_addr(address).with_valid(true);
    model.command(base).map_err(|error| wrong(&error))?;
    Ok(())
}

impl From<Step> for Scene {
    fn from(step: Step) -> Scene {
        Scene::Test(step)
    }
}

struct Life<'a> {
    setting: &'a Setting,
    machine: &'a Machine,
    model: &'a ModelHost,
    start: u64,
    tell: bool,
    /// From which fault point on the script is about what.
    scenes: Vec<(u64, Scene)>,
    /// A command has not come to its end, and the hardware has not recovered since.
    stuck: bool,
    /// What the doorbells have given to their handler.
    cookies: Vec<Cookie>,
    verdict: Verdict,
}

impl Life<'_> {
    fn at(&mut self, scene: impl Into<Scene>) {
        let scene = scene.into();
        let index = self.machine.fault_points_passed() - self.start;
        self.scenes.push((index, scene));
        self.tell(Line::Scene(scene));
    }

    fn tell(&mut self, line: Line) {
        if self.tell {
            self.catch_up();
            self.verdict.story.push(line);
        }
    }

    /// Takes what has happened since into the story.
    fn catch_up(&mut self) {
        if self.tell {
            let events = self.machine.take_events().into_iter();
            self.verdict.story.extend(events.map(|(tick, event)| Line::Event(tick, event)));
        }
    }

    /// The library has complained, and the hardware recovers; not yet if a command has not come to its end, so that what
    /// follows finds it stuck.
    fn note(&mut self, step: Step, complaint: Complaint) {
        self.verdict.quarantined |= complaint.after == After::Held;
        self.tell(Line::Complaint(format!("could not {step}: {}", complaint.text)));
        let stuck = complaint.cause == Cause::TimedOut && !self.stuck;
        self.verdict.complaints.push((step, complaint));
        match stuck {
            true => self.stuck = true,
            false => self.recover(),
        }
    }

    /// The hardware recovers.
    fn recover(&mut self) {
        self.tell(Line::Recovery);
        let planned = self.machine.planned_faults();
        self.machine.recover();
        for (from, fault) in planned {
            self.machine.plan_fault(from, fault);
        }
        self.machine.advance(RECOVERY);
        self.stuck = false;
    }

    /// What was asked for has been done: a command that came late has come.
    fn done(&mut self) {
        if self.stuck {
            self.recover();
        }
    }

    fn stop<T>(&mut self, why: String) -> Result<T, Abandoned> {
        self.verdict.not_reusable.push(why);
        Err(Abandoned)
    }

    /// Asks until it works.
    fn insist<T, E: Into<Complaint>>(
        &mut self,
        step: Step,
        mut ask: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Abandoned> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match ask() {
                Ok(done) => {
                    self.done();
                    return Ok(done);
                }
                Err(error) => {
                    let complaint = error.into();
                    last.clone_from(&complaint.text);
                    self.note(step, complaint);
                }
            }
        }
        self.stop(format!("could not {step} in {ATTEMPTS} attempts: {last}"))
    }

    fn all(&mut self) -> Result<(), Abandoned> {
        let lab = Lab::new(self.model.clone());
        let config = Config {
            contiguous_bytes: self.setting.geometry.contiguous_bytes(),
            timeout: std::time::Duration::from_micros(TIMEOUT),
            doorbell_mask: super::mask_of(&self.setting.switches),
            live_table: match self.setting.geometry.found {
                Found::Nothing => LiveTable::Refuse,
                Found::LiveTable => LiveTable::TakeOver,
            },
            ..Config::new(IrsIndex(0), 300, 64)
        };
        self.at(Step::Probe);
        let host = self.insist(Step::Probe, || Host::new(lab.clone(), &config))?;
        self.at(Step::BringUp);
        self.insist(Step::BringUp, || host.bring_up())?;
        self.vms(&host)?;
        self.at(Step::ShutDown);
        self.insist(Step::ShutDown, || host.shut_down())?;
        let held = host.holdings();
        if held.vms != 0 || held.table_bytes != 0 || held.quarantined_bytes != 0 {
            return self.stop(format!("after the host was shut down, {held}"));
        }
        Ok(())
    }

    fn vms(&mut self, host: &Host<Lab>) -> Result<(), Abandoned> {
        let mut bystander = None;
        if self.setting.geometry.table != Table::First {
            bystander = Some(self.bystander(host)?);
        }
        let vpes = self.setting.geometry.vpes();
        let spec = VmSpec { spis: if self.setting.geometry.spis { 40 } else { 0 }, ..VmSpec::new(&vpes) };
        let mut vm = host.new_vm();
        self.under_test(host, &mut vm, &spec, &mut bystander)?;
        // Nothing is left, and the same and another VM can be had.
        self.settle(host)?;
        self.at(Scene::Proof);
        self.insist(Step::Init, || vm.init(&spec))?;
        // A vCPU sleeps that may have what was the doorbell of another.
        let vcpu = VcpuIndex(vpes.len() - 1);
        let model = self.model;
        self.insist(Step::Load, || self_load(model, &vm, PES[0], vcpu))?;
        self.hold(|life| life.sleep(&vm, PES[0], vcpu))?;
        self.ring_too_late(host);
        let other = [VpeId::new(9), VpeId::new(10)];
        let other = VmSpec { spis: 8, ..VmSpec::new(&other) };
        let mut another = host.new_vm();
        self.insist(Step::Init, || another.init(&other))?;
        self.insist(Step::TearDown, || another.tear_down())?;
        if let Some(mut bystander) = bystander {
            self.at(Scene::Bystander);
            let lost = self.bystander_runs(host, &bystander);
            self.verdict.lost.extend(lost);
            self.insist(Step::TearDown, || bystander.tear_down())?;
        }
        // Its handle is lost, and there is no other VM.
        drop(vm);
        self.at(Step::Reap);
        self.insist(Step::Reap, || host.reap())?;
        self.settle(host)
    }

    /// Empties the quarantine.
    fn settle(&mut self, host: &Host<Lab>) -> Result<(), Abandoned> {
        self.verdict.quarantined |= {
            let held = host.holdings();
            held.quarantined > 0 || held.quarantined_bytes > 0
        };
        self.at(Step::Reclaim);
        self.insist(Step::Reclaim, || host.reclaim())?;
        let held = host.holdings();
        if held.quarantined > 0 || held.quarantined_bytes > 0 {
            return self.stop(format!("reclaim has left something: {held}"));
        }
        Ok(())
    }

    /// Everything that happens to the VM under test, from its init to its teardown.
    fn under_test<'h>(
        &mut self,
        host: &'h Host<Lab>,
        vm: &mut Vm<'h, Lab>,
        spec: &VmSpec<'_>,
        bystander: &mut Option<Vm<'h, Lab>>,
    ) -> Result<(), Abandoned> {
        let geometry = self.setting.geometry;
        for _ in 0..ATTEMPTS {
            self.at(Step::Init);
            if let Err(error) = vm.init(spec) {
                self.note(Step::Init, error.into());
                match self.stuck {
                    true => self.look_after(host, bystander.as_ref()),
                    false => self.settle(host)?,
                }
                continue;
            }
            self.done();
            if bystander.is_none() {
                *bystander = Some(self.bystander(host)?);
            }
            if geometry.lpis {
                self.at(Step::CreateIst);
                if self.alive(host, vm, bystander, Step::CreateIst, |vm| vm.create_lpi_ist(14))?.is_none() {
                    continue;
                }
            }
            if self.guest(host, vm, bystander)?.is_none() {
                continue;
            }
            if geometry.lpis {
                self.at(Step::RemoveIst);
                if self.alive(host, vm, bystander, Step::RemoveIst, |vm| vm.remove_lpi_ist())?.is_none() {
                    continue;
                }
            }
            return self.end(host, vm, bystander);
        }
        self.stop(format!("the VM did not live in {ATTEMPTS} attempts"))
    }

    fn end(
        &mut self,
        host: &Host<Lab>,
        vm: &mut Vm<'_, Lab>,
        bystander: &Option<Vm<'_, Lab>>,
    ) -> Result<(), Abandoned> {
        self.at(Step::TearDown);
        match vm.tear_down() {
            Ok(()) => self.done(),
            Err(error) => {
                self.note(Step::TearDown, error.into());
                self.look_after(host, bystander.as_ref());
                self.settle(host)?;
            }
        }
        self.ring_too_late(host);
        Ok(())
    }

    /// The doorbells of a VM that is gone are heard once more, and those of earlier sleeps of the bystander: they wake nobody, not
    /// even a VM that has the ID and the LPIs now (DB-17).
    fn ring_too_late(&mut self, host: &Host<Lab>) {
        for cookie in self.cookies.clone() {
            if let Some(wake) = host.doorbell(cookie) {
                self.verdict.not_reusable.push(format!("a doorbell of long ago woke {wake:?}"));
            }
        }
    }

    /// Does something with a live VM until it works; `None` if the VM dies of it and was torn down.
    fn alive<E: Into<Complaint>>(
        &mut self,
        host: &Host<Lab>,
        vm: &mut Vm<'_, Lab>,
        bystander: &Option<Vm<'_, Lab>>,
        step: Step,
        ask: impl Fn(&Vm<'_, Lab>) -> Result<(), E>,
    ) -> Result<Option<()>, Abandoned> {
        for _ in 0..ATTEMPTS {
            let complaint = match ask(vm) {
                Ok(()) => {
                    self.done();
                    return Ok(Some(()));
                }
                Err(error) => error.into(),
            };
            let dead = complaint.after == After::Dead;
            self.note(step, complaint);
            if dead {
                self.look_after(host, bystander.as_ref());
                self.end(host, vm, bystander)?;
                return Ok(None);
            }
        }
        self.stop(format!("could not {step} in {ATTEMPTS} attempts"))
    }

    /// A vCPU runs, sleeps, is woken, and runs again; sleeps again and goes on before its doorbell is handled; and is reset.
    fn guest(
        &mut self,
        host: &Host<Lab>,
        vm: &mut Vm<'_, Lab>,
        bystander: &Option<Vm<'_, Lab>>,
    ) -> Result<Option<()>, Abandoned> {
        let Geometry { vcpus, spis, lpis, .. } = self.setting.geometry;
        let vcpu = VcpuIndex(vcpus - 1);
        let vpe = self.setting.geometry.vpes().last().copied().unwrap_or(VpeId::new(0));
        let here = PES[0];
        let interrupt = match (spis, lpis) {
            (_, true) => Lpi::new(2).ok().map(IrsIntId::Lpi),
            (true, false) => Spi::new(3).ok().map(IrsIntId::Spi),
            (false, false) => None,
        };
        let model = self.model;
        let load = move |vm: &Vm<'_, Lab>| self_load(model, vm, here, vcpu);
        self.at(Step::Load);
        if self.alive(host, vm, bystander, Step::Load, load)?.is_none() {
            return Ok(None);
        }
        self.open(here, interrupt.into_iter(), vpe);
        self.at(Step::Idle);
        self.hold(|life| life.sleep(vm, here, vcpu))?;
        if let Some(interrupt) = interrupt {
            self.at(Step::Wake);
            self.hold(|life| life.inject(vm, here, interrupt))?;
            self.hold(|life| life.wake(host, vm, vcpu, interrupt))?;
        }
        self.at(Step::Load);
        if self.alive(host, vm, bystander, Step::Load, load)?.is_none() {
            return Ok(None);
        }
        if let Some(interrupt) = interrupt {
            self.hold(|life| life.take(here, interrupt))?;
            self.at(Step::Idle);
            self.hold(|life| life.sleep(vm, here, vcpu))?;
            self.hold(|life| life.inject(vm, here, interrupt))?;
            self.at(Step::Load);
            if self.alive(host, vm, bystander, Step::Load, load)?.is_none() {
                return Ok(None);
            }
            self.at(Step::WakeLate);
            self.hold(|life| match life.doorbells(host).as_slice() {
                [] => None,
                woken => Some(format!("a doorbell that came late has woken {woken:?}")),
            })?;
            self.hold(|life| life.take(here, interrupt))?;
        }
        self.at(Step::Put);
        self.hold(|life| life.put(vm, here, vcpu))?;
        self.at(Step::Reset);
        self.alive(host, vm, bystander, Step::Reset, |vm| vm.reset_vcpu(vcpu))
    }

    /// Does what no fault makes fail. What went wrong, if anything, ends the script.
    fn hold(&mut self, act: impl FnOnce(&mut Self) -> Option<String>) -> Result<(), Abandoned> {
        match act(self) {
            None => Ok(()),
            Some(why) => self.stop(why),
        }
    }

    fn on<R>(&self, pe: PeIndex, f: impl FnOnce(&Pe<'_, gicv5_model::ModelPe>) -> R) -> Option<R> {
        self.model.on_pe(pe, f)
    }

    /// The guest opens its CPU interface and enables these interrupts for itself.
    fn open(&self, pe: PeIndex, interrupts: impl Iterator<Item = IrsIntId>, vpe: VpeId) {
        let Some(cpu) = self.machine.pe(pe) else { return };
        let guest = cpu.guest();
        let guest = Pe::new(&guest);
        guest.write(ICC_CR0_EL1::ZERO.with_en(true));
        guest.write_raw(SysReg::ICC_PCR_EL1, 31);
        guest.isb();
        for interrupt in interrupts {
            guest.cdhm(interrupt, HandlingMode::Edge);
            guest.cdpri(interrupt, Priority::new(8).unwrap_or(Priority::LEAST_URGENT));
            guest.cdaff(interrupt, vpe.into());
            guest.cden(interrupt);
        }
        guest.gic(GicInsn::GSB_SYS, 0);
    }

    /// A vCPU with nothing to do goes to sleep. What went wrong, if anything.
    fn sleep(&self, vm: &Vm<'_, Lab>, pe: PeIndex, vcpu: VcpuIndex) -> Option<String> {
        match self.on(pe, |pe| vm.idle(pe, vcpu)) {
            Some(Ok(Idle::Sleep)) => None,
            other => Some(format!("a vCPU with nothing to do was told {other:?} by idle")),
        }
    }

    fn put(&self, vm: &Vm<'_, Lab>, pe: PeIndex, vcpu: VcpuIndex) -> Option<String> {
        match self.on(pe, |pe| vm.put(pe, vcpu)) {
            Some(Ok(())) => None,
            other => Some(format!("a vCPU could not be put: {other:?}")),
        }
    }

    fn inject(&self, vm: &Vm<'_, Lab>, pe: PeIndex, interrupt: IrsIntId) -> Option<String> {
        let injected = self.on(pe, |pe| {
            let outcome = vm.inject(pe, interrupt.into(), Pending::Set);
            pe.gsb_sys();
            outcome
        });
        match injected {
            Some(Ok(())) => None,
            other => Some(format!("{interrupt} could not be injected: {other:?}")),
        }
    }

    /// The doorbells that are pending anywhere are taken. Whom they wake.
    fn doorbells(&mut self, host: &Host<Lab>) -> Vec<Wake> {
        let (mut cookies, mut woken) = (Vec::new(), Vec::new());
        for pe in PES {
            self.model.take_interrupts(pe, |taken| {
                cookies.extend(taken.cookie);
                woken.extend(taken.cookie.and_then(|cookie| host.doorbell(cookie)));
            });
        }
        self.cookies.extend(cookies);
        woken
    }

    /// After an interrupt was injected into a VM whose vCPU sleeps, its doorbell wakes it. What went wrong, if anything.
    fn wake(&mut self, host: &Host<Lab>, vm: &Vm<'_, Lab>, vcpu: VcpuIndex, interrupt: IrsIntId) -> Option<String> {
        let woken = self.doorbells(host);
        match (woken.as_slice(), vm.has_pending(vcpu)) {
            ([wake], Ok(true)) if Some(wake.vm) == vm.id() => None,
            (woken, pending) => {
                Some(format!("after {interrupt} was injected, {woken:?} were woken; has_pending says {pending:?}"))
            }
        }
    }

    /// The guest takes an interrupt. What went wrong, if anything.
    fn take(&self, pe: PeIndex, interrupt: IrsIntId) -> Option<String> {
        let cpu = self.machine.pe(pe)?;
        let guest = cpu.guest();
        let guest = Pe::new(&guest);
        let taken = guest.cdia().int_id();
        if taken != Some(IntId::from(interrupt)) {
            return Some(format!("the guest took {taken:?} instead of {interrupt}"));
        }
        guest.gsb_ack();
        guest.isb();
        guest.cdeoi();
        guest.cddi(interrupt.into());
        guest.gsb_sys();
        None
    }

    // --- the bystander ------------------------------------------------------------------------------------------

    /// A VM that minds its own business. One of its interrupts is pending for the whole time.
    fn bystander<'h>(&mut self, host: &'h Host<Lab>) -> Result<Vm<'h, Lab>, Abandoned> {
        self.at(Scene::Bystander);
        let mut vm = host.new_vm();
        let spec = VmSpec { spis: 32, ..VmSpec::new(&BYSTANDER) };
        if let Err(error) = vm.init(&spec) {
            return self.stop(format!("the bystander could not be initialised: {error}"));
        }
        let loaded = self.on(PES[1], |pe| vm.load(pe, VcpuIndex(0)));
        if loaded != Some(Ok(())) {
            return self.stop(format!("the bystander could not be loaded: {loaded:?}"));
        }
        let [held, later] = bystander_spis();
        self.open(PES[1], [held, later].into_iter().flatten(), BYSTANDER[0]);
        let [held, _] = bystander_spis();
        let wrong = self.put(&vm, PES[1], VcpuIndex(0));
        let wrong = wrong.or_else(|| held.and_then(|held| self.inject(&vm, PES[1], held)));
        match wrong {
            None => Ok(vm),
            Some(why) => self.stop(format!("the bystander: {why}")),
        }
    }

    /// While the hardware is stuck with a command, the bystander runs as if nothing was.
    fn look_after(&mut self, host: &Host<Lab>, bystander: Option<&Vm<'_, Lab>>) {
        if let (true, Some(vm), Some((_, scene))) = (self.stuck, bystander, self.scenes.last().copied()) {
            self.at(Scene::Bystander);
            let lost = self.bystander_runs(host, vm);
            self.verdict.lost.extend(lost.map(|lost| format!("while the hardware was stuck: {lost}")));
            self.at(scene);
        }
    }

    /// The bystander has its interrupt, can sleep, and is woken by another; and has the first again in the end. What went
    /// wrong, if anything.
    fn bystander_runs(&mut self, host: &Host<Lab>, vm: &Vm<'_, Lab>) -> Option<String> {
        let (pe, vcpu) = (PES[1], VcpuIndex(0));
        let [Some(held), Some(later)] = bystander_spis() else { return None };
        let load = |life: &Self| match life.on(pe, |pe| vm.load(pe, vcpu)) {
            Some(Ok(())) => None,
            other => Some(format!("it could not be loaded: {other:?}")),
        };
        load(self)
            .or_else(|| self.take(pe, held))
            .or_else(|| self.sleep(vm, pe, vcpu))
            .or_else(|| self.inject(vm, pe, later))
            .or_else(|| self.wake(host, vm, vcpu, later))
            .or_else(|| load(self))
            .or_else(|| self.take(pe, later))
            .or_else(|| self.put(vm, pe, vcpu))
            .or_else(|| self.inject(vm, pe, held))
    }
}

const BYSTANDER: [VpeId; 1] = [VpeId::new(7)];

fn bystander_spis() -> [Option<IrsIntId>; 2] {
    [1, 2].map(|n| Spi::new(n).ok().map(IrsIntId::Spi))
}

fn self_load(model: &ModelHost, vm: &Vm<'_, Lab>, pe: PeIndex, vcpu: VcpuIndex) -> Result<(), gicv5_hyp::RunError> {
    // The machine has this PE.
    model.on_pe(pe, |pe| vm.load(pe, vcpu)).unwrap_or(Ok(()))
}
