//! One case: a host and a VM live through everything, while planned faults strike, and what is left is judged.
//!
//! The script goes on after every error as an embedder would: the hardware recovers, the library is asked again, and
//! everything must work then. Beside the VM under test lives a bystander, which must not lose anything. The last word has the
//! model's own account.

use std::ops::Range;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{IntId, IrsIntId, Lpi, Priority, Spi, VpeId};
use gicv5_hal::{IrsIndex, Pe};
use gicv5_hyp::{Config, Host, Idle, Pending, VcpuIndex, Vm, VmSpec, Wake};
use gicv5_model::clock::Tick;
use gicv5_model::config::Switches;
use gicv5_model::event::Event;
use gicv5_model::fault::{Fault, FaultPoint};
use gicv5_model::violation::PeIndex;
use gicv5_model::{Machine, ModelHost};

use super::complaint::{After, Complaint, Step};
use super::geometry::{Geometry, Table};
use super::lab::Lab;

/// How long the library waits for the IRS, in microseconds, which are ticks of the model.
const TIMEOUT: u64 = 40;
/// A command that is this late comes in time.
pub(super) const LATE: u64 = 10;
/// One that is this late comes after the library has given up.
pub(super) const TOO_LATE: u64 = 2 * TIMEOUT + 20;
/// After this many ticks everything that was late has come.
const RECOVERY: u64 = 4 * TOO_LATE;
/// How often the script asks again. There are at most two faults.
const ATTEMPTS: usize = 5;
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

/// What a case came to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The fault points passed, numbered from the start of the script; `None` in place of those that belong to the bystander
    /// or to the proof that everything works again.
    pub(super) points: Vec<Option<(Step, FaultPoint)>>,
    /// What has struck, in order, and what the library said to it, if anything, before the next thing happened.
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
    pub(super) story: Vec<(Tick, Event)>,
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
    let before = machine.snapshot();
    if tell {
        machine.observe(1 << 20);
    }
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
    let mut life = Life {
        setting,
        machine: &machine,
        model: &model,
        start,
        steps: vec![(0, Some(Step::Probe))],
        verdict: Verdict::default(),
    };
    // Whatever abandons the script has said why.
    let _ = life.all();
    let Life { steps, mut verdict, .. } = life;
    let account = machine.account(&before);
    verdict.leaks = account.leaks.iter().map(ToString::to_string).collect();
    verdict.violations = account.violations.iter().map(ToString::to_string).collect();
    if account.not_kept > 0 {
        verdict.violations.push(format!("and {} more", account.not_kept));
    }
    verdict.missed =
        machine.planned_faults().into_iter().map(|(at, fault)| (at.saturating_sub(start), fault)).collect();
    verdict.points = machine.take_fault_points().into_iter().map(|point| owner(&steps, point, start)).collect();
    verdict.story = machine.take_events();
    Ok(verdict)
}

/// Under which step a point was passed.
fn owner(steps: &[(u64, Option<Step>)], point: FaultPoint, start: u64) -> Option<(Step, FaultPoint)> {
    let index = point.index - start;
    let (_, step) = steps.iter().rev().find(|(from, _)| *from <= index)?;
    step.map(|step| (step, FaultPoint { index, request: point.request }))
}

struct Life<'a> {
    setting: &'a Setting,
    machine: &'a Machine,
    model: &'a ModelHost,
    start: u64,
    /// From which fault point on the script is at which step; `None` for what is not under test.
    steps: Vec<(u64, Option<Step>)>,
    verdict: Verdict,
}

impl Life<'_> {
    fn at(&mut self, step: Option<Step>) {
        let index = self.machine.fault_points_passed() - self.start;
        self.steps.push((index, step));
    }

    /// The library has complained, and the hardware recovers.
    fn note(&mut self, step: Step, complaint: Complaint) {
        self.verdict.complaints.push((step, complaint));
        let planned = self.machine.planned_faults();
        self.machine.recover();
        for (from, fault) in planned {
            self.machine.plan_fault(from, fault);
        }
        self.machine.advance(RECOVERY);
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
                Ok(done) => return Ok(done),
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
            ..Config::new(IrsIndex(0), 300, 64)
        };
        let host = self.insist(Step::Probe, || Host::new(lab.clone(), &config))?;
        self.at(Some(Step::BringUp));
        self.insist(Step::BringUp, || host.bring_up())?;
        self.vms(&host)?;
        self.at(Some(Step::ShutDown));
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
        self.at(None);
        self.insist(Step::Init, || vm.init(&spec))?;
        let other = [VpeId::new(9), VpeId::new(10)];
        let other = VmSpec { spis: 8, ..VmSpec::new(&other) };
        let mut another = host.new_vm();
        self.insist(Step::Init, || another.init(&other))?;
        self.insist(Step::TearDown, || another.tear_down())?;
        self.insist(Step::TearDown, || vm.tear_down())?;
        if let Some(mut bystander) = bystander {
            self.judge_bystander(host, &mut bystander);
            self.insist(Step::TearDown, || bystander.tear_down())?;
        }
        Ok(())
    }

    /// Empties the quarantine.
    fn settle(&mut self, host: &Host<Lab>) -> Result<(), Abandoned> {
        self.verdict.quarantined |= {
            let held = host.holdings();
            held.quarantined > 0 || held.quarantined_bytes > 0
        };
        self.at(Some(Step::Reclaim));
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
            self.at(Some(Step::Init));
            if let Err(error) = vm.init(spec) {
                self.note(Step::Init, error.into());
                self.settle(host)?;
                continue;
            }
            if bystander.is_none() {
                *bystander = Some(self.bystander(host)?);
            }
            if geometry.lpis {
                self.at(Some(Step::CreateIst));
                if self.alive(host, vm, Step::CreateIst, |vm| vm.create_lpi_ist(14))?.is_none() {
                    continue;
                }
            }
            if self.guest(host, vm)?.is_none() {
                continue;
            }
            if geometry.lpis {
                self.at(Some(Step::RemoveIst));
                if self.alive(host, vm, Step::RemoveIst, |vm| vm.remove_lpi_ist())?.is_none() {
                    continue;
                }
            }
            return self.end(host, vm);
        }
        self.stop(format!("the VM did not live in {ATTEMPTS} attempts"))
    }

    fn end(&mut self, host: &Host<Lab>, vm: &mut Vm<'_, Lab>) -> Result<(), Abandoned> {
        self.at(Some(Step::TearDown));
        if let Err(error) = vm.tear_down() {
            self.verdict.quarantined = true;
            self.note(Step::TearDown, error.into());
            self.settle(host)?;
        }
        Ok(())
    }

    /// Does something with a live VM until it works; `None` if the VM dies of it and was torn down.
    fn alive<E: Into<Complaint>>(
        &mut self,
        host: &Host<Lab>,
        vm: &mut Vm<'_, Lab>,
        step: Step,
        ask: impl Fn(&Vm<'_, Lab>) -> Result<(), E>,
    ) -> Result<Option<()>, Abandoned> {
        for _ in 0..ATTEMPTS {
            let complaint = match ask(vm) {
                Ok(()) => return Ok(Some(())),
                Err(error) => error.into(),
            };
            let dead = complaint.after == After::Dead;
            self.note(step, complaint);
            if dead {
                self.end(host, vm)?;
                return Ok(None);
            }
        }
        self.stop(format!("could not {step} in {ATTEMPTS} attempts"))
    }

    /// A vCPU runs, sleeps, is woken, and runs again.
    fn guest(&mut self, host: &Host<Lab>, vm: &mut Vm<'_, Lab>) -> Result<Option<()>, Abandoned> {
        let Geometry { vcpus, spis, lpis, .. } = self.setting.geometry;
        let vcpu = VcpuIndex(vcpus - 1);
        let vpe = self.setting.geometry.vpes().last().copied().unwrap_or(VpeId::new(0));
        let here = PES[0];
        let interrupt = match (spis, lpis) {
            (_, true) => Lpi::new(2).ok().map(IrsIntId::Lpi),
            (true, false) => Spi::new(3).ok().map(IrsIntId::Spi),
            (false, false) => None,
        };
        self.at(Some(Step::Load));
        if self.alive(host, vm, Step::Load, |vm| self_load(self.model, vm, here, vcpu))?.is_none() {
            return Ok(None);
        }
        self.open(here, interrupt.into_iter(), vpe);
        self.at(Some(Step::Idle));
        let asleep = self.on(here, |pe| vm.idle(pe, vcpu));
        match asleep {
            Some(Ok(Idle::Sleep)) => {}
            other => return self.stop(format!("a vCPU with nothing to do was told {other:?} by idle")),
        }
        if let Some(interrupt) = interrupt {
            self.at(Some(Step::Wake));
            if let Some(why) = self.wake(host, vm, here, vcpu, interrupt) {
                return self.stop(why);
            }
        }
        self.at(Some(Step::Load));
        if self.alive(host, vm, Step::Load, |vm| self_load(self.model, vm, here, vcpu))?.is_none() {
            return Ok(None);
        }
        if let Some(interrupt) = interrupt
            && let Some(why) = self.take(here, interrupt)
        {
            return self.stop(why);
        }
        self.at(Some(Step::Put));
        match self.on(here, |pe| vm.put(pe, vcpu)) {
            Some(Ok(())) => Ok(Some(())),
            other => self.stop(format!("a vCPU could not be put: {other:?}")),
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

    /// Injects an interrupt into a VM whose vCPU sleeps, and takes the doorbell. What went wrong, if anything.
    fn wake(
        &self,
        host: &Host<Lab>,
        vm: &Vm<'_, Lab>,
        pe: PeIndex,
        vcpu: VcpuIndex,
        interrupt: IrsIntId,
    ) -> Option<String> {
        let injected = self.on(pe, |pe| {
            let outcome = vm.inject(pe, interrupt.into(), Pending::Set);
            pe.gsb_sys();
            outcome
        });
        let Some(Ok(())) = injected else { return Some(format!("{interrupt} could not be injected: {injected:?}")) };
        let mut woken: Vec<Wake> = Vec::new();
        for pe in PES {
            self.model.take_interrupts(pe, |taken| {
                woken.extend(taken.cookie.and_then(|cookie| host.doorbell(cookie)));
            });
        }
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
        self.at(None);
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
        let put = self.on(PES[1], |pe| {
            let put = vm.put(pe, VcpuIndex(0));
            if let Some(held) = held {
                let _ = vm.inject(pe, held.into(), Pending::Set);
            }
            pe.gsb_sys();
            put
        });
        match put {
            Some(Ok(())) => Ok(vm),
            other => self.stop(format!("the bystander could not be put: {other:?}")),
        }
    }

    /// The bystander still has its interrupt, and can be woken by another.
    fn judge_bystander(&mut self, host: &Host<Lab>, vm: &mut Vm<'_, Lab>) {
        let (pe, vcpu) = (PES[1], VcpuIndex(0));
        let [held, later] = bystander_spis();
        let (Some(held), Some(later)) = (held, later) else { return };
        let load = || match self.on(pe, |pe| vm.load(pe, vcpu)) {
            Some(Ok(())) => None,
            other => Some(format!("it could not be loaded: {other:?}")),
        };
        let sleep = || match self.on(pe, |pe| vm.idle(pe, vcpu)) {
            Some(Ok(Idle::Sleep)) => None,
            other => Some(format!("it could not sleep: {other:?}")),
        };
        let put = || match self.on(pe, |pe| vm.put(pe, vcpu)) {
            Some(Ok(())) => None,
            other => Some(format!("it could not be put: {other:?}")),
        };
        let lost = load()
            .or_else(|| self.take(pe, held))
            .or_else(sleep)
            .or_else(|| self.wake(host, vm, pe, vcpu, later))
            .or_else(load)
            .or_else(|| self.take(pe, later))
            .or_else(put);
        self.verdict.lost.extend(lost);
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
