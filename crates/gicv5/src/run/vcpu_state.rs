//! What a vCPU is doing, as the engine schedules it and the picture shows it.

use gicv5_model::PeIndex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VcpuState {
    /// It is neither resident nor waiting, or its VM does not exist.
    Absent,
    /// It waits for its PE.
    Queued,
    /// It is resident on a PE.
    Resident(PeIndex),
    /// It waits for an interrupt.
    Asleep,
}
