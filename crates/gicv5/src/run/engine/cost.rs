//! What things cost, in nanoseconds of simulated time. They are of the right order and measured on nothing;
//! `docs/scenarios.md` lists them.

use crate::run::scenario::Ns;

/// From guest to host.
pub(super) const EXIT: Ns = 500;
/// From host to guest.
pub(super) const ENTRY: Ns = 500;
/// To make a vCPU resident, or to take it off.
pub(super) const SWITCH: Ns = 300;
/// The host takes an interrupt.
pub(super) const HOST_INTERRUPT: Ns = 300;
/// The host injects an interrupt.
pub(super) const INJECT: Ns = 100;
/// The guest takes an interrupt: acknowledge, barriers, priority drop.
pub(super) const ACKNOWLEDGE: Ns = 100;
/// An instruction of the guest.
pub(super) const INSTRUCTION: Ns = 20;
