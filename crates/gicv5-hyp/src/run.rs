//! Running vCPUs: load, put, idle, pending, inject.

/// What the CPU interface of a vCPU holds while it is not resident.
#[derive(Default)]
pub(crate) struct Context {}
