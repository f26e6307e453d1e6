//! The PPIs of the current PE.
//!
//! They live in its CPU interface: all of these act on the PE they are called on, wait for nothing and need no driver.
//! Nothing here locks. Enables and priorities are read, changed and written back, so whoever changes those of one PE from
//! its interrupt handlers as well must call these with interrupts off.
//!
//! Every write is followed by an ISB, because nothing promises that it acts without one (SYN-5).

use gicv5_arch::sysreg::{PPI_PRIORITYR, PpiSet, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Ppi, PpiBank, Priority};
use gicv5_hal::{Pe, PeOps};

/// A PPI cannot do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PpiError {
    /// The PE does not have it: its enable bit cannot be set (PPI-5).
    #[error("{0} is not implemented")]
    NotImplemented(Ppi),
    /// It is level-sensitive: its pending state is that of its wire (PPI-4).
    #[error("{0} is level-sensitive, its pending state cannot be written")]
    Level(Ppi),
}

/// How a PPI is set up, and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PpiState {
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether it is pending.
    pub pending: bool,
    /// Whether it is active.
    pub active: bool,
    /// How an acknowledge treats its pending state; fixed (PPI-3).
    pub handling: HandlingMode,
    /// Its priority.
    pub priority: Priority,
}

fn set<P: PeOps + ?Sized>(pe: &Pe<'_, P>, register: SysReg) -> PpiSet {
    PpiSet::new_with_raw_value(pe.read_raw(register))
}

/// Writes 1 to a PPI's bit of a register in which a 0 does nothing.
fn write_one<P: PeOps + ?Sized>(pe: &Pe<'_, P>, register: SysReg, ppi: Ppi) {
    pe.write_raw(register, PpiSet::EMPTY.with(ppi).raw_value());
    pe.isb();
}

/// Disables all PPIs of the PE, at the next ISB.
pub(crate) fn disable_all<P: PeOps + ?Sized>(pe: &Pe<'_, P>) {
    for bank in PpiBank::ALL {
        pe.write_raw(SysReg::icc_ppi_enabler(bank), 0);
    }
}

/// Enables a PPI.
///
/// # Errors
///
/// [`PpiError::NotImplemented`].
pub fn enable<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) -> Result<(), PpiError> {
    let register = SysReg::icc_ppi_enabler(ppi.bank());
    pe.write_raw(register, set(pe, register).with(ppi).raw_value());
    pe.isb();
    if set(pe, register).contains(ppi) { Ok(()) } else { Err(PpiError::NotImplemented(ppi)) }
}

/// Disables a PPI. When this returns, the PE does not take it any more.
pub fn disable<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) {
    let register = SysReg::icc_ppi_enabler(ppi.bank());
    pe.write_raw(register, set(pe, register).without(ppi).raw_value());
    pe.isb();
}

/// Sets a PPI's priority.
pub fn set_priority<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi, priority: Priority) {
    let register = SysReg::icc_ppi_priorityr(ppi.priority_register());
    let priorities = PPI_PRIORITYR::new_with_raw_value(pe.read_raw(register));
    pe.write_raw(register, priorities.with_priority(ppi, priority).raw_value());
    pe.isb();
}

fn check_edge<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) -> Result<(), PpiError> {
    if set(pe, SysReg::icc_ppi_hmr(ppi.bank())).contains(ppi) { Err(PpiError::Level(ppi)) } else { Ok(()) }
}

/// Makes an edge PPI pending.
///
/// # Errors
///
/// [`PpiError::Level`] if it is not an edge PPI.
pub fn set_pending<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) -> Result<(), PpiError> {
    check_edge(pe, ppi)?;
    write_one(pe, SysReg::icc_ppi_spendr(ppi.bank()), ppi);
    Ok(())
}

/// Makes an edge PPI not pending.
///
/// # Errors
///
/// [`PpiError::Level`] if it is not an edge PPI.
pub fn clear_pending<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) -> Result<(), PpiError> {
    check_edge(pe, ppi)?;
    write_one(pe, SysReg::icc_ppi_cpendr(ppi.bank()), ppi);
    Ok(())
}

/// Makes a PPI active: it is not signalled until it is deactivated.
pub fn set_active<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) {
    write_one(pe, SysReg::icc_ppi_sactiver(ppi.bank()), ppi);
}

/// Makes a PPI inactive. An interrupt that was acknowledged is deactivated by
/// [`Phys::deactivate`](crate::Phys::deactivate) instead.
pub fn clear_active<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) {
    write_one(pe, SysReg::icc_ppi_cactiver(ppi.bank()), ppi);
}

/// Reads how a PPI is set up, and its state. One that is not implemented reads as all zero (PPI-5).
#[must_use]
pub fn state<P: PeOps + ?Sized>(pe: &Pe<'_, P>, ppi: Ppi) -> PpiState {
    let bank = ppi.bank();
    let level = set(pe, SysReg::icc_ppi_hmr(bank)).contains(ppi);
    PpiState {
        enabled: set(pe, SysReg::icc_ppi_enabler(bank)).contains(ppi),
        pending: set(pe, SysReg::icc_ppi_spendr(bank)).contains(ppi),
        active: set(pe, SysReg::icc_ppi_sactiver(bank)).contains(ppi),
        handling: if level { HandlingMode::Level } else { HandlingMode::Edge },
        priority: PPI_PRIORITYR::new_with_raw_value(pe.read_raw(SysReg::icc_ppi_priorityr(ppi.priority_register())))
            .priority(ppi),
    }
}
