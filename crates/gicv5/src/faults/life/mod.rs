//! One case: a host and a VM live through everything, while planned faults strike, and what is left is judged.
//!
//! The script goes on after every error as an embedder would. After a command that has not come to its end it asks once more
//! while the hardware is still stuck, and the other VM must run as if nothing was; then, as after every other error, the
//! hardware recovers, the library is asked again, and everything must work. Beside the VM under test lives a bystander, which
//! must not lose anything. The last word has the model's own account.

mod bystander;
mod script;
mod vcpu;

use std::collections::BTreeMap;
use std::ops::Range;

use gicv5_arch::PhysAddr;
use gicv5_arch::geometry::VmTableGeometry;
use gicv5_arch::irs::{IRS_IDR0, IRS_VMT_BASER};
use gicv5_arch::sysreg::{ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2};
use gicv5_hal::{Block, BlockLayout, Cookie, IrsExt, IrsIndex, TableMemory};
use gicv5_hyp::{Hypervisor, WithLpis};
use gicv5_model::PeIndex;
use gicv5_model::clock::Tick;
use gicv5_model::config::Switches;
use gicv5_model::event::Event;
use gicv5_model::fault::{Fault, FaultPoint};
use gicv5_model::violation::Remark;
use gicv5_model::{Machine, ModelHost};

use crate::faults::complaint::{After, Cause, Complaint, Phase};
use crate::faults::geometry::{Found, Geometry};

/// How long the library waits for the IRS, in microseconds, which are ticks of the model.
pub(super) const TIMEOUT: u64 = 40;
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
    Test(Phase),
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
    pub(super) points: Vec<Option<(Phase, FaultPoint)>>,
    /// What the library said, in order.
    pub(super) complaints: Vec<(Phase, Complaint)>,
    /// Something was in quarantine.
    pub(super) quarantined: bool,
    pub(super) leaks: Vec<String>,
    pub(super) violations: Vec<String>,
    /// What the model remarks on, by rule: how often, and the first.
    pub(super) remarks: BTreeMap<&'static str, (u64, String)>,
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

/// Why a part of the VM's life was cut short.
enum CutShort {
    /// The script cannot go on.
    Abandoned,
    /// The VM is dead, and has been torn down.
    VmDied,
}

impl From<Abandoned> for CutShort {
    fn from(_: Abandoned) -> CutShort {
        CutShort::Abandoned
    }
}

/// Runs the script with these faults. The library is part of a hypervisor that is the model's host, whose heap may have nothing
/// left, and its LPIs.
pub(super) fn live(setting: &Setting, faults: &[Planned], tell: bool) -> Result<Verdict, String> {
    live_on(setting, faults, tell, |model| WithLpis { platform: model.clone(), lpis: model.clone() })
}

/// The same on a board over the model's host.
pub(super) fn live_on<B: Hypervisor + Clone>(
    setting: &Setting,
    faults: &[Planned],
    tell: bool,
    board: impl FnOnce(&ModelHost) -> B,
) -> Result<Verdict, String> {
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
        board: board(&model),
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
    for Remark(said) in &account.remarks {
        verdict.remarks.entry(said.rule).or_insert_with(|| (0, said.to_string())).0 += 1;
    }
    verdict.missed =
        machine.planned_faults().into_iter().map(|(at, fault)| (at.saturating_sub(start), fault)).collect();
    verdict.points = machine.take_fault_points().into_iter().map(|point| owner(&scenes, point, start)).collect();
    Ok(verdict)
}

/// Under which step a point was passed.
fn owner(scenes: &[(u64, Scene)], point: FaultPoint, start: u64) -> Option<(Phase, FaultPoint)> {
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

impl From<Phase> for Scene {
    fn from(step: Phase) -> Scene {
        Scene::Test(step)
    }
}

struct Life<'a, B> {
    setting: &'a Setting,
    machine: &'a Machine,
    model: &'a ModelHost,
    board: B,
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

impl<B: Hypervisor + Clone> Life<'_, B> {
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
    fn note(&mut self, step: Phase, complaint: Complaint) {
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
        step: Phase,
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
}
