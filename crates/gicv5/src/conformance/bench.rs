//! The model as a bench for the conformance tests.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arbitrary_int::{u4, u5, u6};
use gicv5_arch::irs::{IRS_IDR0, IRS_IDR2, IRS_IDR3, IRS_IDR4, IRS_IIDR};
use gicv5_arch::sysreg::PpiSet;
use gicv5_arch::values::{BitsMinusOne, Levels};
use gicv5_arch::{Ppi, Spi};
use gicv5_conformance::{Bench, BenchPe, Masked, Signals, Stopped, until};
use gicv5_hal::{Lock, Locks, Platform};
use gicv5_model::PeIndex;
use gicv5_model::config::{ConfigError, MachineConfig};
use gicv5_model::violation::Violation;
use gicv5_model::{Machine, ModelPe};

/// The SPI whose wire the tests may drive; on QEMU's machine the one of the UART.
const WIRED_SPI: u32 = 1;

/// SPIs of the machines.
const SPIS: u32 = 256;

/// Which machine the model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Everything that the model can be
    Full,
    /// The ID registers of QEMU 11.1's machine virt,gic-version=x-5
    #[value(name = "qemu-11.1")]
    Qemu,
}

impl Kind {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::Qemu => "qemu-11.1",
        }
    }
}

/// The machine with that many PEs.
pub(crate) fn config(kind: Kind, pes: u16) -> MachineConfig {
    let mut config = MachineConfig::new(pes, SPIS);
    for irs in &mut config.irses {
        for pe in &mut irs.pes {
            pe.ppis = [PpiSet::new_with_raw_value(u64::MAX).without(Ppi::GICMNT), PpiSet::new_with_raw_value(u64::MAX)];
        }
        if kind == Kind::Full {
            irs.idr0 = irs.idr0.with_virt(true);
            irs.idr3 = IRS_IDR3::ZERO.with_vm_id_bits(u5::new(10)).with_vmt_levels(Levels::TwoLevel);
            irs.idr3 = irs.idr3.with_vmd(true).with_vmd_sz(u4::new(6));
            // 8 VPE ID bits, stored minus one.
            irs.idr4 = IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::new_with_raw_value(u4::new(7)));
            irs.idr4 = irs.idr4.with_vped_sz(u6::new(8));
        }
        if kind == Kind::Qemu {
            irs.idr0 = IRS_IDR0::new_with_raw_value(0x0000_001d);
            irs.idr2 = IRS_IDR2::new_with_raw_value(0x0000_3fb8);
            irs.iidr = IRS_IIDR::new_with_raw_value(0xfff0_043b);
        }
    }
    config
}

/// The standard library's mutex as the host's lock.
pub(crate) struct Mutexes;

/// A mutex around a value.
pub(crate) struct StdMutex<T>(Mutex<T>);

impl Locks for Mutexes {
    type Mutex<T: Send> = StdMutex<T>;
}

impl<T: Send> Lock<T> for StdMutex<T> {
    fn new(value: T) -> StdMutex<T> {
        StdMutex(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A machine of the model, with handles of its PEs.
pub(crate) struct ModelBench {
    pub(crate) machine: Machine,
    /// PE 0.
    pub(crate) first: ModelPe,
    pes: Vec<ModelPe>,
    guests: Vec<ModelPe>,
}

impl ModelBench {
    /// Builds a machine.
    pub(crate) fn new(config: MachineConfig) -> Result<ModelBench, ConfigError> {
        let machine = Machine::new(config)?;
        let pes: Vec<ModelPe> = (0..machine.pe_count()).filter_map(|n| machine.pe(PeIndex(n))).collect();
        let guests = pes.iter().map(ModelPe::guest).collect();
        let first = machine.pe(PeIndex(0)).ok_or(ConfigError::NoPe)?;
        Ok(ModelBench { machine, first, pes, guests })
    }

    /// What of the rules software has broken since the last time.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.machine.take_violations()
    }

    fn index(pe: &BenchPe<'_, ModelBench>) -> PeIndex {
        // IAFFIDs of these machines count from 0 as the PEs do.
        PeIndex(pe.iaffid().raw_value())
    }
}

impl Platform for ModelBench {
    type Irs = Machine;
    type Memory = Machine;
    type CurrentPe = ModelPe;
    type Wait = Machine;
    type Locks = Mutexes;

    fn irs(&self) -> &Machine {
        &self.machine
    }

    fn memory(&self) -> &Machine {
        &self.machine
    }

    fn current_pe(&self) -> &ModelPe {
        &self.first
    }

    fn wait(&self) -> &Machine {
        &self.machine
    }
}

impl Bench for ModelBench {
    fn pe_count(&self) -> usize {
        self.pes.len()
    }

    fn run_on(&self, pe: usize, work: &(dyn Fn(&BenchPe<'_, Self>) + Sync)) -> Result<(), Stopped> {
        let ops = self.pes.get(pe).ok_or(Stopped::NoSuchPe { pe })?;
        work(&gicv5_hal::Pe::new(ops));
        Ok(())
    }

    fn wait_for_interrupt(&self, pe: &BenchPe<'_, Self>, limit: Duration) -> bool {
        until(&self.machine, limit, || self.signals(pe).irq)
    }

    fn has_nmi(&self) -> bool {
        true
    }

    fn set_nmi(&self, pe: &BenchPe<'_, Self>, enable: bool) {
        self.machine.set_nmi(Self::index(pe), enable);
    }

    fn set_guest_nmi(&self, pe: &BenchPe<'_, Self>, enable: bool) {
        self.machine.set_guest_nmi(Self::index(pe), enable);
    }

    fn wait_for_nmi(&self, pe: &BenchPe<'_, Self>, masked: Masked, limit: Duration) -> bool {
        until(&self.machine, limit, || masked == Masked::Irqs && self.machine.signals(Self::index(pe)).nmi)
    }

    fn signals(&self, pe: &BenchPe<'_, Self>) -> Signals {
        let signals = self.machine.signals(Self::index(pe));
        Signals { irq: signals.irq, fiq: signals.fiq }
    }

    fn wired_spi(&self) -> Option<Spi> {
        Spi::new(WIRED_SPI).ok().filter(|spi| self.machine.spi_wire(*spi).is_some())
    }

    fn drive_spi(&self, high: bool) {
        if let Some(spi) = self.wired_spi() {
            self.machine.set_spi_wire(spi, high);
        }
    }

    fn has_timers(&self) -> bool {
        true
    }

    fn drive_timer(&self, pe: &BenchPe<'_, Self>, timer: Ppi, high: bool) {
        self.machine.set_ppi_wire(Self::index(pe), timer, high);
    }

    fn has_el2(&self) -> bool {
        true
    }

    fn has_guests(&self) -> bool {
        true
    }

    fn as_guest(&self, pe: &BenchPe<'_, Self>, work: &mut dyn FnMut(&BenchPe<'_, Self>)) {
        if let Some(guest) = self.guests.get(usize::from(Self::index(pe).0)) {
            work(&gicv5_hal::Pe::new(guest));
        }
    }

    fn virtual_signals(&self, pe: &BenchPe<'_, Self>) -> Signals {
        let signals = self.machine.virtual_signals(Self::index(pe));
        Signals { irq: signals.irq, fiq: signals.fiq }
    }
}
