//! What an IRS reports about the mistakes of software, in its error registers (group ERR).
//!
//! An IRS keeps one record. Recording never changes what becomes of the operation: it is dropped either way (ERR-7). The
//! record is kept even though no software is known to read it, so that a test sees what is dropped in silence (ERR-8).

use gicv5_arch::irs::{IRS_SWERR_STATUSR, IRS_SWERR_SYNDROMER0, IRS_SWERR_SYNDROMER1, IrsReg};
use gicv5_arch::{Addr55_3, IntType, IrsIntId, PhysAddr};

use crate::words::config::{ErrorClearing, LaterError};
use crate::words::event::Space;

/// What went wrong (ERR-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ErrorCode {
    /// Updating a level-1 IST entry failed.
    Level1Update,
    /// Reading a level-1 IST entry failed.
    Level1Read,
    /// Reading or writing a level-2 IST entry failed.
    Level2Access,
    /// An operation named something that does not exist. Its code is not known; this one is the model's own.
    Dropped,
}

impl ErrorCode {
    /// IRS_SWERR_STATUSR.EC.
    pub(crate) const fn number(self) -> u8 {
        match self {
            ErrorCode::Level1Update => 0x00,
            ErrorCode::Level1Read => 0x01,
            ErrorCode::Level2Access => 0x02,
            ErrorCode::Dropped => 0xff,
        }
    }
}

/// A mistake of software.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SoftwareError {
    pub(crate) code: ErrorCode,
    /// Whose interrupt, or which VM.
    pub(crate) space: Space,
    /// Which interrupt, if it is about one.
    pub(crate) id: Option<IrsIntId>,
    /// Where the structure is, if it has to do with one.
    pub(crate) address: Option<PhysAddr>,
}

/// The record of an IRS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ErrorRecord {
    status: IRS_SWERR_STATUSR,
    syndrome0: IRS_SWERR_SYNDROMER0,
    syndrome1: IRS_SWERR_SYNDROMER1,
}

impl ErrorRecord {
    /// What a register of the record reads; `None` for any other.
    pub(crate) fn read(&self, register: IrsReg) -> Option<u64> {
        Some(match register {
            IrsReg::IRS_SWERR_STATUSR => self.status.raw_value(),
            IrsReg::IRS_SWERR_SYNDROMER0 => self.syndrome0.raw_value(),
            IrsReg::IRS_SWERR_SYNDROMER1 => self.syndrome1.raw_value(),
            _ => return None,
        })
    }

    /// A write of the status: what is 1 is cleared (ERR-6).
    pub(crate) fn clear(&mut self, value: u64, clearing: ErrorClearing) {
        let written = IRS_SWERR_STATUSR::new_with_raw_value(value);
        if clearing == ErrorClearing::WithV && written.v() {
            self.status = IRS_SWERR_STATUSR::ZERO;
            return;
        }
        let status = self.status;
        self.status = status
            .with_v(status.v() && !written.v())
            .with_s0v(status.s0v() && !written.s0v())
            .with_s1v(status.s1v() && !written.s1v())
            .with_of(status.of() && !written.of());
    }

    /// Records an error (ERR-2, ERR-3, ERR-5).
    pub(crate) fn record(&mut self, error: SoftwareError, later: LaterError) {
        let overflow = self.status.v();
        if overflow && later == LaterError::IsLost {
            self.status = self.status.with_of(true);
            return;
        }
        let overflow = overflow || self.status.of();
        let SoftwareError { code, space, id, address } = error;
        self.syndrome0 = match space {
            Space::Physical => IRS_SWERR_SYNDROMER0::ZERO,
            Space::Vm(vm) => IRS_SWERR_SYNDROMER0::ZERO.with_is_virtual(true).with_vm_id(vm),
        };
        if let Some(id) = id {
            self.syndrome0 = self.syndrome0.with_int_type(IntType::from(id.int_type())).with_id(id.id_field());
        }
        let address = address.and_then(|address| PhysAddr::new(address.raw() & !7).and_then(Addr55_3::new).ok());
        self.syndrome1 = address.map_or(IRS_SWERR_SYNDROMER1::ZERO, |at| IRS_SWERR_SYNDROMER1::ZERO.with_addr(at));
        self.status = IRS_SWERR_STATUSR::ZERO
            .with_v(true)
            .with_s0v(true)
            .with_s1v(address.is_some())
            .with_of(overflow)
            .with_ec(code.number());
    }
}
