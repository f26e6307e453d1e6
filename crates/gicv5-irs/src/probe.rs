//! What a driver asks of an IRS before anything else.

use gicv5_arch::irs::{ArchMajorRev, Component, IRS_AIDR, IRS_IDR0, IrsReg};
use gicv5_arch::register::Register;
use gicv5_hal::{Irs, IrsExt, IrsIndex};

/// An ID register of an IRS holds what the architecture does not allow, or contradicts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongRegister {
    /// The IRS.
    pub irs: IrsIndex,
    /// The register.
    pub register: IrsReg,
    /// What it reads.
    pub value: u64,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl WrongRegister {
    /// This register, for this reason.
    pub fn new<R: Register<Reg = IrsReg>>(irs: IrsIndex, register: R, reason: &'static str) -> WrongRegister {
        WrongRegister { irs, register: R::REG, value: register.to_bits(), reason }
    }
}

/// Makes sure that a frame is a GICv5 IRS. Returns the first ID register.
///
/// # Errors
///
/// [`WrongRegister`].
pub fn identify<I: Irs + ?Sized>(frames: &I, irs: IrsIndex) -> Result<IRS_IDR0, WrongRegister> {
    let aidr: IRS_AIDR = frames.read(irs);
    if aidr.component() != Ok(Component::Irs) {
        return Err(WrongRegister::new(irs, aidr, "the frame is not an IRS"));
    }
    // A later minor revision is a superset.
    if aidr.arch_major_rev() != Ok(ArchMajorRev::Gicv5) {
        return Err(WrongRegister::new(irs, aidr, "the architecture is not GICv5"));
    }
    Ok(frames.read(irs))
}
