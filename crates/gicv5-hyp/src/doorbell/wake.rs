//! Whom a doorbell wakes.

use gicv5_arch::{VmId, VpeId};

/// Whom to wake: the vCPU of this VPE. It has something to do, or had: a doorbell is not withdrawn when the interrupt is gone
/// (DB-17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wake {
    /// Its VM.
    pub vm: VmId,
    /// Its VPE.
    pub vpe: VpeId,
}
