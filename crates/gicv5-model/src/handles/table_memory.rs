//! The machine's memory as the hal's [`TableMemory`], of which each access is of the PE that the
//! [thread is on](Machine::on_pe): the one place of the model with `unsafe` in it.

use std::ops::Range;

use gicv5_hal::{AllocError, BlockLayout, Coherency, IrsIndex, TableMemory};

use crate::handles::here::here;
use crate::handles::machine::Machine;
use crate::memory::ModelBlock;
use crate::words::event::{Event, Width};
use crate::words::fault::Request;

// SAFETY: the model's addresses name bytes of the model's own memory, which is a value in Rust's hands: no address that is
// written into a register or a table can make the model touch anything else. The allocator hands out disjoint, zeroed
// blocks within what was asked for, and keeps the rest of their cache lines free when size and alignment are whole lines.
#[allow(unsafe_code)]
unsafe impl TableMemory for Machine {
    type Block = ModelBlock;

    fn allocate(&self, layout: BlockLayout) -> Result<ModelBlock, AllocError> {
        let state = &mut *self.state_on(here());
        let (size, alignment) = (layout.size(), layout.alignment());
        if state.faults.pass(&mut state.report, Request::Table { size, alignment }).is_some() {
            state.report.event(|| Event::AllocationFailed { size, alignment });
            return Err(AllocError { layout });
        }
        state.memory.allocate(&mut state.report, layout)
    }

    fn free(&self, block: ModelBlock) {
        let state = &mut *self.state_on(here());
        state.memory.free(&mut state.report, block);
    }

    fn load32(&self, block: &ModelBlock, offset: u64) -> u32 {
        let state = &mut *self.state_on(here());
        match state.memory.in_block(&mut state.report, block, offset, Width::W32) {
            Some(address) => state.memory.load32(&mut state.report, here(), address),
            None => 0,
        }
    }

    fn store32(&self, block: &ModelBlock, offset: u64, value: u32) {
        let state = &mut *self.state_on(here());
        if let Some(address) = state.memory.in_block(&mut state.report, block, offset, Width::W32) {
            state.memory.store32(&mut state.report, here(), address, value);
        }
    }

    fn load64(&self, block: &ModelBlock, offset: u64) -> u64 {
        let state = &mut *self.state_on(here());
        match state.memory.in_block(&mut state.report, block, offset, Width::W64) {
            Some(address) => state.memory.load64(&mut state.report, here(), address),
            None => 0,
        }
    }

    fn store64(&self, block: &ModelBlock, offset: u64, value: u64) {
        let state = &mut *self.state_on(here());
        if let Some(address) = state.memory.in_block(&mut state.report, block, offset, Width::W64) {
            state.memory.store64(&mut state.report, here(), address, value);
        }
    }

    fn coherency(&self, irs: IrsIndex) -> Coherency {
        self.kept().state.memory.coherency(irs)
    }

    fn cache_line(&self) -> u64 {
        self.kept().state.memory.config().cache_line
    }

    fn clean_invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        let state = &mut *self.state_on(here());
        let (address, size) = state.memory.bytes_in_block(&mut state.report, block, bytes);
        state.memory.clean_invalidate(&mut state.report, here(), address, size);
    }

    fn invalidate(&self, block: &ModelBlock, bytes: Range<u64>) {
        let state = &mut *self.state_on(here());
        let (address, size) = state.memory.bytes_in_block(&mut state.report, block, bytes);
        state.memory.invalidate(&mut state.report, here(), address, size);
    }

    fn barrier(&self) {
        let state = &mut *self.state_on(here());
        state.memory.barrier(&mut state.report, here());
    }

    fn load_barrier(&self) {
        self.state_on(here()).memory.load_barrier(here());
    }
}
