//! The model as a platform whose every access goes through the test, which may look at it, change it or leave it out.
// Not every test uses everything.
#![allow(dead_code, unreachable_pub)]

use std::ops::Range;
use std::time::Duration;

use gicv5_hal::{
    AllocError, BlockLayout, Coherency, CurrentPe, Frame, Irs, IrsIndex, Locks, Platform, TableMemory, Wait,
};
use gicv5_model::Machine;
use gicv5_model::memory::ModelBlock;

/// What a driver asks of the platform.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    Free,
    Load,
    Store,
    CleanInvalidate,
    Invalidate,
    Barrier,
    LoadBarrier,
    Read(Frame, u16),
    Write(Frame, u16, u64),
    Relax,
    Now,
}

/// The test's part of a platform.
pub trait Watch: Clone + Send + Sync {
    type Locks: Locks;

    /// Has something done, by `act`, or leaves it out.
    fn around(&self, _machine: &Machine, _access: Access, act: &mut dyn FnMut()) {
        act();
    }

    fn allocate(&self, machine: &Machine, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        machine.allocate(layout)
    }

    fn freed(&self, _block: &ModelBlock) {}

    /// What a register of an IRS reads where the model reads `value`.
    fn reads(&self, _machine: &Machine, _frame: Frame, _offset: u16, value: u64) -> u64 {
        value
    }

    fn coherency(&self, machine: &Machine, irs: IrsIndex) -> Coherency {
        machine.coherency(irs)
    }

    fn cache_line(&self, machine: &Machine) -> u64 {
        machine.cache_line()
    }

    fn may_allocate(&self, _bytes: usize) -> bool {
        true
    }
}

/// The platform. What runs on a PE runs on `host`.
#[derive(Clone)]
pub struct Board<W, C> {
    pub machine: Machine,
    pub host: C,
    pub watch: W,
}

impl<W: Watch, C> Board<W, C> {
    fn through<R: Default>(&self, access: Access, act: impl FnOnce() -> R) -> R {
        let (mut result, mut act) = (R::default(), Some(act));
        self.watch.around(&self.machine, access, &mut || result = act.take().map(|act| act()).unwrap_or_default());
        result
    }
}

// SAFETY: everything is handed on to the model, whose promise this is. What a test leaves out is the test's subject.
unsafe impl<W: Watch, C: Sync> TableMemory for Board<W, C> {
    type Block = ModelBlock;

    fn allocate(&self, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        self.watch.allocate(&self.machine, layout)
    }

    fn free(&self, block: ModelBlock) {
        self.watch.freed(&block);
        self.through(Access::Free, || self.machine.free(block));
    }

    fn load32(&self, block: &ModelBlock, offset: u64) -> u32 {
        self.through(Access::Load, || self.machine.load32(block, offset))
    }

    fn store32(&self, block: &ModelBlock, offset: u64, value: u32) {
        self.through(Access::Store, || self.machine.store32(block, offset, value));
    }

    fn load64(&self, block: &ModelBlock, offset: u64) -> u64 {
        self.through(Access::Load, || self.machine.load64(block, offset))
    }

    fn store64(&self, block: &ModelBlock, offset: u64, value: u64) {
        self.through(Access::Store, || self.machine.store64(block, offset, value));
    }

    fn coherency(&self, irs: IrsIndex) -> Coherency {
        self.watch.coherency(&self.machine, irs)
    }

    fn cache_line(&self) -> u64 {
        self.watch.cache_line(&self.machine)
    }

    fn clean_invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        self.through(Access::CleanInvalidate, || self.machine.clean_invalidate(block, bytes));
    }

    fn invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        self.through(Access::Invalidate, || self.machine.invalidate(block, bytes));
    }

    fn barrier(&self) {
        self.through(Access::Barrier, || self.machine.barrier());
    }

    fn load_barrier(&self) {
        self.through(Access::LoadBarrier, || self.machine.load_barrier());
    }
}

impl<W: Watch, C: Sync> Irs for Board<W, C> {
    fn read32(&self, frame: Frame, offset: u16) -> u32 {
        let value = self.through(Access::Read(frame, offset), || self.machine.read32(frame, offset));
        self.watch.reads(&self.machine, frame, offset, value.into()) as u32
    }

    fn write32(&self, frame: Frame, offset: u16, value: u32) {
        self.through(Access::Write(frame, offset, value.into()), || self.machine.write32(frame, offset, value));
    }

    fn read64(&self, frame: Frame, offset: u16) -> u64 {
        let value = self.through(Access::Read(frame, offset), || self.machine.read64(frame, offset));
        self.watch.reads(&self.machine, frame, offset, value)
    }

    fn write64(&self, frame: Frame, offset: u16, value: u64) {
        self.through(Access::Write(frame, offset, value), || self.machine.write64(frame, offset, value));
    }
}

impl<W: Watch, C: Sync> Wait for Board<W, C> {
    fn relax(&self) {
        self.through(Access::Relax, || Wait::relax(&self.machine));
    }

    fn now(&self) -> Duration {
        self.through(Access::Now, || Wait::now(&self.machine))
    }
}

impl<W: Watch, C: CurrentPe> Platform for Board<W, C> {
    type Irs = Self;
    type Memory = Self;
    type CurrentPe = C;
    type Wait = Self;
    type Locks = W::Locks;

    fn irs(&self) -> &Self {
        self
    }

    fn memory(&self) -> &Self {
        self
    }

    fn current_pe(&self) -> &C {
        &self.host
    }

    fn wait(&self) -> &Self {
        self
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        self.watch.may_allocate(bytes)
    }
}

/// Fails the test if a rule was broken.
#[track_caller]
pub fn assert_no_violations(machine: &Machine) {
    let violations = machine.take_violations();
    let text: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(text.is_empty(), "rules were broken:\n{}", text.join("\n"));
}
