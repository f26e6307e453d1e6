//! The hypervisor that the library is a part of here: the model's host, and a heap that may have nothing left.

use gicv5_hal::Platform;
use gicv5_hyp::Hypervisor;
use gicv5_model::{Machine, ModelHost};

#[derive(Clone, Debug)]
pub(super) struct Board {
    host: ModelHost,
}

impl Board {
    pub(super) fn new(host: ModelHost) -> Board {
        Board { host }
    }
}

impl Platform for Board {
    type Irs = Machine;
    type Memory = Machine;
    type CurrentPe = ModelHost;
    type Wait = Machine;
    type Locks = <ModelHost as Platform>::Locks;

    fn irs(&self) -> &Machine {
        self.host.machine()
    }

    fn memory(&self) -> &Machine {
        self.host.machine()
    }

    fn current_pe(&self) -> &ModelHost {
        &self.host
    }

    fn wait(&self) -> &Machine {
        self.host.machine()
    }

    fn may_allocate(&self, bytes: usize) -> bool {
        self.host.may_allocate(bytes)
    }
}

impl Hypervisor for Board {
    type Lpis = ModelHost;

    fn lpis(&self) -> &ModelHost {
        &self.host
    }
}
