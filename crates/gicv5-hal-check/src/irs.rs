//! The frames of an IRS.

use alloc::format;

use gicv5_arch::irs::{Component, IRS_AIDR, IRS_IDR0, IrsReg};
use gicv5_hal::{Frame, FrameKind, Irs, IrsExt, IrsIndex};

use crate::{Broken, Promise};

/// Registers that never change.
const IDENTIFICATION: [IrsReg; 10] = [
    IrsReg::IRS_IDR0,
    IrsReg::IRS_IDR1,
    IrsReg::IRS_IDR2,
    IrsReg::IRS_IDR3,
    IrsReg::IRS_IDR4,
    IrsReg::IRS_IDR5,
    IrsReg::IRS_IDR6,
    IrsReg::IRS_IDR7,
    IrsReg::IRS_IIDR,
    IrsReg::IRS_AIDR,
];

/// Registers of 64 bits that change only when a driver writes to the IRS.
const WIDE: [IrsReg; 2] = [IrsReg::IRS_IST_BASER, IrsReg::IRS_VMT_BASER];

/// Checks the frames of the first `count` IRSs, which is how many the host has, and that of one more, which does not exist.
///
/// It shows more once tables are valid: then the registers of 64 bits that it reads are not zero.
///
/// # Errors
///
/// [`Broken`], at the first promise that is.
pub fn irs<I: Irs + ?Sized>(irs: &I, count: u16) -> Result<(), Broken> {
    for index in (0..count).map(IrsIndex) {
        one(irs, index)?;
    }
    absent(irs, IrsIndex(count), FrameKind::Config)?;
    absent(irs, IrsIndex(count), FrameKind::SetLpi)?;
    absent(irs, IrsIndex(u16::MAX), FrameKind::Config)
}

fn one<I: Irs + ?Sized>(irs: &I, index: IrsIndex) -> Result<(), Broken> {
    let config = Frame::config(index);
    let aidr = IRS_AIDR::new_with_raw_value(irs.read32(config, IrsReg::IRS_AIDR.offset()));
    let iidr = irs.read32(config, IrsReg::IRS_IIDR.offset());
    // A frame that is not there reads as zero, and an implementer has a number.
    Promise::IrsIsOne.holds(iidr != 0 && aidr.component() == Ok(Component::Irs), || {
        format!("IRS_IIDR of {index} reads {iidr:#x} and IRS_AIDR {:#x}", aidr.raw_value())
    })?;
    for register in IDENTIFICATION {
        let offset = register.offset();
        let first = irs.read32(config, offset);
        let second = irs.read32(config, offset);
        Promise::IrsStays.holds(first == second, || format!("{register} reads {first:#x} and then {second:#x}"))?;
        irs.write32(config, offset, !first);
        let then = irs.read32(config, offset);
        Promise::IrsReadOnly
            .holds(first == then, || format!("{register} reads {then:#x} and not {first:#x} after a write"))?;
    }
    for register in WIDE {
        let offset = register.offset();
        let whole = irs.read64(config, offset);
        let (low, high) = (irs.read32(config, offset), irs.read32(config, offset + 4));
        Promise::IrsHalves.holds(whole == u64::from(high) << 32 | u64::from(low), || {
            format!("{register} reads {whole:#x}, and in halves {high:#x} and {low:#x}")
        })?;
    }
    let idr0: IRS_IDR0 = irs.read(index);
    if !idr0.setlpi() {
        absent(irs, index, FrameKind::SetLpi)?;
    }
    Ok(())
}

fn absent<I: Irs + ?Sized>(irs: &I, index: IrsIndex, kind: FrameKind) -> Result<(), Broken> {
    let frame = Frame { irs: index, kind };
    for offset in [0, IrsReg::IRS_IIDR.offset(), IrsReg::IRS_IST_BASER.offset()] {
        let seen = u64::from(irs.read32(frame, offset)) | irs.read64(frame, offset);
        Promise::IrsAbsent
            .holds(seen == 0, || format!("offset {offset:#x} of the {kind:?} frame of {index} reads {seen:#x}"))?;
    }
    Ok(())
}
