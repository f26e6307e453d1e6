//! A hypervisor made of the model, for the tests: it leaves out barriers, maintenance, waiting and zeroing on demand.
// Not every test uses everything, and what is wrong in a helper fails the test that uses it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../gicv5-irs/tests/common/board.rs"]
pub mod board;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary_int::{u4, u5, u6};
use gicv5_arch::VpeId;
use gicv5_arch::irs::{IRS_IDR3, IRS_IDR4, IrsReg};
use gicv5_arch::sysreg::{ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2};
use gicv5_arch::values::{BitsMinusOne, Levels};
use gicv5_hal::{AllocError, Block, BlockLayout, Coherency, Frame, IrsIndex, Pe, PeOps, Platform, TableMemory};
use gicv5_hyp::{Config, Host, Hypervisor, Vm, VmSpec};
use gicv5_model::account::Snapshot;
use gicv5_model::config::Eagerness;
use gicv5_model::config::{Effects, MachineConfig};
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelHost};

use board::{Access, Board, Watch};

pub const IRS: IrsIndex = IrsIndex(0);

/// Something that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Barrier,
    LoadBarrier,
    Clean,
    Invalidate,
    /// A status register says that the IRS is at work.
    Wait,
    /// A block of this size is zero when it is handed out.
    Zero(u64),
    /// A command is given to the IRS. It is never left out.
    Command(IrsReg),
    /// Table memory is loaded from. It is never left out.
    Load,
    /// Table memory is stored to. It is never left out.
    Store,
}

#[derive(Default)]
pub struct Books {
    steps: Vec<Step>,
    /// For each step, the number of the machine's next fault point.
    points: Vec<u64>,
    skip: Option<usize>,
}

impl Books {
    /// Notes a step. False if it shall not happen.
    fn step(&mut self, step: Step, point: u64) -> bool {
        let n = self.steps.len();
        self.steps.push(step);
        self.points.push(point);
        self.skip != Some(n)
    }
}

/// Notes what the library does, and leaves out one step.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<Books>>);

impl Watched {
    fn step(&self, machine: &Machine, step: Step) -> bool {
        self.0.lock().unwrap().step(step, machine.fault_points_passed())
    }
}

impl Watch for Watched {
    type Locks = <ModelHost as Platform>::Locks;

    fn around(&self, machine: &Machine, access: Access, act: &mut dyn FnMut()) {
        let command = |offset| IrsReg::at(offset).filter(|register| register.status().is_some());
        let step = match access {
            Access::Load => Some(Step::Load),
            Access::Store => Some(Step::Store),
            Access::CleanInvalidate => Some(Step::Clean),
            Access::Invalidate => Some(Step::Invalidate),
            Access::Barrier => Some(Step::Barrier),
            Access::LoadBarrier => Some(Step::LoadBarrier),
            Access::Write(_, offset, _) => command(offset).map(Step::Command),
            _ => None,
        };
        if step.is_none_or(|step| self.step(machine, step)) {
            act();
        }
    }

    fn allocate(&self, machine: &Machine, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        let block = machine.allocate(layout)?;
        if !self.step(machine, Step::Zero(block.size())) {
            // Seen as an entry of whatever table: valid, and pointing here; seen as an interrupt: pending.
            for offset in (0..block.size().min(4096)).step_by(8) {
                machine.store64(&block, offset, block.address().raw() | 1);
            }
            machine.publish(IRS, &block, 0..block.size());
        }
        Ok(block)
    }

    fn reads(&self, machine: &Machine, _frame: Frame, offset: u16, value: u64) -> u64 {
        let status = [IrsReg::IRS_VMT_STATUSR, IrsReg::IRS_VPE_STATUSR].map(IrsReg::offset);
        let at_work = status.contains(&offset) && value & 1 == 0;
        if at_work && !self.step(machine, Step::Wait) { value | 0b11 } else { value }
    }
}

impl<W: Watch> Hypervisor for Board<W, ModelHost> {
    type Lpis = ModelHost;

    fn lpis(&self) -> &ModelHost {
        &self.host
    }
}

/// The hypervisor.
pub type Lab = Board<Watched, ModelHost>;

impl Lab {
    pub fn new(config: MachineConfig) -> Lab {
        let machine = Machine::new(config).unwrap();
        let host = ModelHost::start(&machine, 0..2048).unwrap();
        Lab { machine, host, watch: Watched::default() }
    }

    /// What could have been left out so far.
    pub fn steps(&self) -> Vec<Step> {
        self.watch.0.lock().unwrap().steps.clone()
    }

    /// The fault point that a step came before.
    pub fn point(&self, step: usize) -> u64 {
        self.watch.0.lock().unwrap().points[step]
    }

    /// Leaves out the step with this number, counting all from 0.
    pub fn skip(&self, n: usize) {
        self.watch.0.lock().unwrap().skip = Some(n);
    }

    #[track_caller]
    pub fn assert_no_violations(&self) {
        board::assert_no_violations(&self.machine);
    }
}

/// Lets guests reach everything: what traps is the hypervisor's decision, not the library's.
pub fn open_traps<P: PeOps + ?Sized>(pe: &Pe<'_, P>) {
    pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
    pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
    pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
    pe.isb();
}

/// The shapes of machine that most tests run on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub two_level: bool,
    /// log2 of the size of VM descriptors, if there are any.
    pub vmd: Option<u8>,
    /// log2 of the size of VPE descriptors.
    pub vped: u8,
    pub coherency: Coherency,
    pub eagerness: Eagerness,
    pub seed: u64,
}

const COHERENT: Shape = Shape {
    two_level: false,
    vmd: None,
    vped: 7,
    coherency: Coherency::Coherent,
    eagerness: Eagerness::Strict,
    seed: 1,
};
const NON_COHERENT: Shape = Shape { coherency: Coherency::NonCoherent, ..COHERENT };

pub const SHAPES: [Shape; 4] = [
    COHERENT,
    Shape { two_level: true, vmd: Some(6), vped: 12, seed: 2, ..COHERENT },
    Shape { two_level: false, vmd: Some(12), vped: 3, seed: 3, ..NON_COHERENT },
    Shape { two_level: true, vmd: Some(3), vped: 8, seed: 4, ..NON_COHERENT },
];

impl Shape {
    pub fn config(self) -> MachineConfig {
        let mut config = MachineConfig::new(2, 64);
        let irs = &mut config.irses[0];
        irs.idr0 = irs.idr0.with_virt(true);
        irs.idr3 = IRS_IDR3::ZERO
            .with_vm_id_bits(u5::new(12))
            .with_vmd(self.vmd.is_some())
            .with_vmd_sz(u4::new(self.vmd.unwrap_or(0)))
            .with_vmt_levels(if self.two_level { Levels::TwoLevel } else { Levels::Linear });
        irs.idr4 =
            IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::from_count(12).unwrap()).with_vped_sz(u6::new(self.vped));
        config.memory.coherency = self.coherency;
        config.memory.eagerness = self.eagerness;
        config.memory.seed = self.seed;
        config.seed = self.seed;
        config.switches.effects = Effects::Late;
        config
    }

    /// What the tests configure unless they are about something else: 300 VMs, and a level-2 VM table if there can be one.
    pub fn host_config(self) -> Config<'static> {
        Config {
            contiguous_bytes: if self.two_level { 4096 } else { 0x1_0000 },
            timeout: Duration::from_micros(200),
            ..Config::new(IRS, 300, 2048)
        }
    }

    pub fn lab(self) -> Lab {
        Lab::new(self.config())
    }

    /// A hypervisor, and its host, which is not up.
    pub fn down(self) -> (Lab, Host<Lab>) {
        let lab = self.lab();
        let host = Host::new(lab.clone(), &self.host_config()).unwrap();
        (lab, host)
    }

    /// A machine whose commands take so many ticks, and its host, which is not up.
    pub fn slow(self, ticks: u64) -> (Lab, Host<Lab>) {
        let mut config = self.config();
        config.command_latency = ticks;
        let lab = Lab::new(config);
        let host = Host::new(lab.clone(), &self.host_config()).unwrap();
        (lab, host)
    }

    /// A host that is up.
    pub fn up(self) -> (Lab, Host<Lab>) {
        let (lab, host) = self.down();
        host.bring_up().unwrap();
        (lab, host)
    }
}

pub const fn vpes<const N: usize>(ids: [u16; N]) -> [VpeId; N] {
    let mut vpes = [VpeId::new(0); N];
    let mut n = 0;
    while n < N {
        vpes[n] = VpeId::new(ids[n]);
        n += 1;
    }
    vpes
}

/// Sparse VPE IDs.
pub const VPES: [VpeId; 3] = vpes([0, 5, 300]);

/// A VM with three vCPUs and SPIs.
pub const SPEC: VmSpec<'static> = VmSpec { spis: 40, ..VmSpec::new(&VPES) };

pub fn live<'h>(host: &'h Host<Lab>) -> Vm<'h, Lab> {
    let mut vm = host.new_vm();
    vm.init(&SPEC).unwrap();
    vm
}

/// Ends everything once the hardware answers, and sees that nothing is left.
#[track_caller]
pub fn end(lab: &Lab, host: &Host<Lab>, before: &Snapshot, context: impl Debug) {
    lab.machine.recover();
    lab.machine.advance(2_000);
    host.reclaim().unwrap_or_else(|error| panic!("{context:?}: {error:?}"));
    host.reap().unwrap_or_else(|error| panic!("{context:?}: {error:?}"));
    host.shut_down().unwrap_or_else(|error| panic!("{context:?}: {error:?}"));
    assert_clean(&lab.machine, before, context);
}

/// Polls a future once.
pub fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Polls a future, a tick apart, so many times at most. `None` if it has not ended by then.
pub fn drive<T>(machine: &Machine, polls: usize, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    for _ in 0..polls {
        if let Some(value) = poll(future.as_mut()) {
            return Some(value);
        }
        machine.advance(1);
    }
    None
}

/// Fails the test if something is left of what was done since, or a rule was broken.
#[track_caller]
pub fn assert_clean(machine: &Machine, before: &Snapshot, context: impl Debug) {
    let account = machine.account(before);
    assert!(account.is_clean(), "{context:?}: {account:#?}");
}
