//! The executable model, as fast as it can be: commands take no time and effects come at once.

use std::error::Error;

use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, SysReg};
use gicv5_arch::{Iaffid, IrsIntId, Priority};
use gicv5_hal::{Cookie, Pe, Platform};
use gicv5_hyp::Hypervisor;
use gicv5_model::PeIndex;
use gicv5_model::config::{Effects, MachineConfig};
use gicv5_model::{Machine, ModelHost, ModelPe};

use crate::{LPIS, Stage, WatchedLocks};

pub(crate) struct Model {
    host: ModelHost,
    cpu: ModelPe,
}

impl Model {
    pub(crate) fn new() -> Result<Model, Box<dyn Error>> {
        let mut config = MachineConfig::new(1, 0).with_virtualisation();
        config.switches.effects = Effects::Early;
        config.command_latency = 0;
        config.memory.size = 64 << 30;
        let machine = Machine::new(config)?;
        let host = ModelHost::start(&machine, 0..LPIS)?;
        let cpu = machine.pe(PeIndex(0)).ok_or("there is a PE")?;
        // What traps is the hypervisor's to decide. Here nothing does.
        let pe = Pe::new(&cpu);
        pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
        pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
        pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
        pe.isb();
        Ok(Model { host, cpu })
    }

    /// The registers that are accessed meanwhile, and how often each is read and written.
    pub(crate) fn accesses(&self, during: impl FnOnce()) -> Vec<(IrsReg, u64, u64)> {
        let before = self.host.machine().snapshot();
        during();
        let account = self.host.machine().account(&before);
        account.accesses.iter().map(|(register, n)| (*register, n.reads, n.writes)).collect()
    }
}

impl Platform for Model {
    type Irs = Machine;
    type Memory = Machine;
    type CurrentPe = ModelHost;
    type Wait = Machine;
    type Locks = WatchedLocks;

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
}

impl Hypervisor for Model {
    type Lpis = ModelHost;

    fn lpis(&self) -> &ModelHost {
        &self.host
    }
}

impl Stage for Model {
    type Ops = ModelPe;

    fn ops(&self) -> &ModelPe {
        &self.cpu
    }

    fn boot_guest(&self, id: IrsIntId) {
        let ops = self.cpu.guest();
        let guest = Pe::new(&ops);
        guest.write_raw(SysReg::ICC_PCR_EL1, 31);
        guest.cdpri(id, Priority::MOST_URGENT);
        guest.cdaff(id, Iaffid::new(0));
        guest.cden(id);
        guest.gsb_sys();
        guest.write(ICC_CR0_EL1::ZERO.with_en(true));
        guest.isb();
    }

    fn take_doorbell(&self) -> Option<Cookie> {
        let mut cookie = None;
        self.host.take_interrupts(PeIndex(0), |taken| cookie = taken.cookie);
        cookie
    }

    fn is_clean(&self) -> bool {
        self.host.machine().take_violations().is_empty()
    }
}
