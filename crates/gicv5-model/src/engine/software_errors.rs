//! When an IRS records a mistake of software, and which.

use gicv5_arch::{IrsIntId, VmId};
use gicv5_hal::IrsIndex;

use crate::engine::state::MachineState;
use crate::parts::ist::Unreachable;
use crate::parts::software_errors::{ErrorCode, SoftwareError};
use crate::words::config::ErrorDrops;
use crate::words::event::{Event, Space};

impl MachineState {
    /// An interrupt could not be reached: nothing happens (INS-11), and what went wrong in memory is reported (ERR-4).
    pub(super) fn unreachable(&mut self, irs: usize, space: Space, id: IrsIntId, why: Unreachable) {
        let (code, address) = match why {
            Unreachable::Level1Fault { entry } => (ErrorCode::Level1Read, Some(entry)),
            Unreachable::Level2Fault { entry } => (ErrorCode::Level2Access, Some(entry)),
            Unreachable::NoLevel2 { entry } => (ErrorCode::Dropped, Some(entry)),
            Unreachable::NoIst | Unreachable::OutOfRange => (ErrorCode::Dropped, None),
        };
        self.software_error(irs, SoftwareError { code, space, id: Some(id), address });
    }

    /// An operation named a VM, or an interrupt of a VM, that there is not (VM-12, VMT-20).
    pub(super) fn no_such_vm(&mut self, irs: usize, vm: VmId, id: Option<IrsIntId>) {
        self.software_error(irs, SoftwareError { code: ErrorCode::Dropped, space: Space::Vm(vm), id, address: None });
    }

    /// Records a software error (ERR-1).
    pub(super) fn software_error(&mut self, irs: usize, error: SoftwareError) {
        let switches = self.config.switches.errors;
        if error.code == ErrorCode::Dropped && switches.drops == ErrorDrops::Silent {
            return;
        }
        let swe = self.config.irses.get(irs).is_some_and(|irs| irs.idr0.swe());
        let Some(state) = self.irses.get_mut(irs).filter(|_| swe) else { return };
        state.errors.record(error, switches.later);
        let irs = IrsIndex(irs as u16);
        self.report.event(|| Event::SoftwareError { irs, code: error.code.number(), address: error.address });
    }
}
