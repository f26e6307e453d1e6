//! The model as a bench for the conformance tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arbitrary_int::{u4, u5, u6};
use gicv5_arch::irs::{IRS_IDR0, IRS_IDR2, IRS_IDR3, IRS_IDR4, IRS_IIDR};
use gicv5_arch::sysreg::PpiSet;
use gicv5_arch::values::{BitsMinusOne, Levels};
use gicv5_arch::{Ppi, Spi};
use gicv5_conformance::{Bench, BenchPe, Masked, Signals, Stopped, until};
use gicv5_hal::Platform;
use gicv5_model::config::{ConfigError, MachineConfig};
use gicv5_model::host::StdLocks;
use gicv5_model::meddle::{Access, MeddledMachine, MeddledPe, Meddler};
use gicv5_model::rules::{CPU_1, CPU_2};
use gicv5_model::violation::Violation;
use gicv5_model::{Machine, ModelPe, PeIndex};

use crate::failure::Failure;

/// The SPI whose wire the tests may drive; on QEMU's machine the one of the UART.
const WIRED_SPI: u32 = 1;

/// SPIs of the machines.
const SPIS: u32 = 256;

/// Which machine the model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MachineKind {
    /// Everything that the model can be
    Full,
    /// The ID registers of QEMU 11.1's machine virt,gic-version=x-5
    #[value(name = "qemu-11.1")]
    Qemu,
}

impl MachineKind {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            MachineKind::Full => "full",
            MachineKind::Qemu => "qemu-11.1",
        }
    }
}

/// The machine with that many PEs.
pub(crate) fn config(kind: MachineKind, pes: u16) -> MachineConfig {
    let mut config = MachineConfig::new(pes, SPIS);
    for irs in &mut config.irses {
        for pe in &mut irs.pes {
            pe.ppis = [PpiSet::new_with_raw_value(u64::MAX).without(Ppi::GICMNT), PpiSet::new_with_raw_value(u64::MAX)];
        }
        if kind == MachineKind::Full {
            irs.idr0 = irs.idr0.with_virt(true);
            irs.idr3 = IRS_IDR3::ZERO.with_vm_id_bits(u5::new(10)).with_vmt_levels(Levels::TwoLevel);
            irs.idr3 = irs.idr3.with_vmd(true).with_vmd_sz(u4::new(6));
            // 8 VPE ID bits, stored minus one.
            irs.idr4 = IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::new_with_raw_value(u4::new(7)));
            irs.idr4 = irs.idr4.with_vped_sz(u6::new(8));
        }
        if kind == MachineKind::Qemu {
            irs.idr0 = IRS_IDR0::new_with_raw_value(0x0000_001d);
            irs.idr2 = IRS_IDR2::new_with_raw_value(0x0000_3fb8);
            irs.iidr = IRS_IIDR::new_with_raw_value(0xfff0_043b);
        }
    }
    config
}

/// A machine of the model, with handles of its PEs. Between it and the tests stands what may spoil one of their accesses.
pub(crate) struct ModelBench {
    pub(crate) machine: Machine,
    pub(crate) meddler: Meddler,
    /// PE 0.
    pub(crate) first: MeddledPe,
    meddled: MeddledMachine,
    pes: Vec<MeddledPe>,
    guests: Vec<MeddledPe>,
    kernels: Vec<MeddledPe>,
    /// What was reported before the kernel of a host tried something that does not execute.
    earlier: Mutex<Vec<Violation>>,
    /// The PE that runs work. What it says itself about where it is may be spoiled.
    current: AtomicUsize,
}

impl ModelBench {
    /// Builds a machine.
    pub(crate) fn new(config: MachineConfig) -> Result<ModelBench, Failure> {
        let refused = |error: ConfigError| Failure::BadInput(error.to_string());
        let machine = Machine::new(config).map_err(refused)?;
        let meddler = Meddler::default();
        let meddled = MeddledMachine::new(machine.clone(), meddler.clone());
        let first = meddled.pe(machine.pe(PeIndex(0)).ok_or_else(|| refused(ConfigError::NoPe))?);
        let all = (0..machine.pe_count()).filter_map(|n| machine.pe(PeIndex(n)));
        let all: Vec<ModelPe> = all.collect();
        let meddled_at = |level: fn(&ModelPe) -> ModelPe| all.iter().map(|pe| meddled.pe(level(pe))).collect();
        let (pes, guests, kernels) =
            (meddled_at(ModelPe::clone), meddled_at(ModelPe::guest), meddled_at(ModelPe::kernel));
        let earlier = Mutex::default();
        Ok(ModelBench { machine, meddler, first, meddled, pes, guests, kernels, earlier, current: AtomicUsize::new(0) })
    }

    /// What of the rules software has broken since the last time.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut all = self.take_earlier();
        all.extend(self.machine.take_violations());
        all
    }

    fn take_earlier(&self) -> Vec<Violation> {
        std::mem::take(&mut self.earlier.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The PE that runs work.
    fn here(&self) -> PeIndex {
        PeIndex(self.current.load(Ordering::Relaxed) as u16)
    }

    /// The signals as the tests see them.
    fn look(&self, signals: gicv5_model::Signals) -> Signals {
        // That an interrupt is not signalled yet is no wrong answer.
        let mask = u64::from(!signals.irq);
        let irq = self.meddler.answer(Access::Signals(self.here()), signals.irq.into(), mask) != 0;
        Signals { irq, fiq: signals.fiq }
    }
}

impl Platform for ModelBench {
    type Irs = MeddledMachine;
    type Memory = MeddledMachine;
    type CurrentPe = MeddledPe;
    type Wait = MeddledMachine;
    type Locks = StdLocks;

    fn irs(&self) -> &MeddledMachine {
        &self.meddled
    }

    fn memory(&self) -> &MeddledMachine {
        &self.meddled
    }

    fn current_pe(&self) -> &MeddledPe {
        &self.first
    }

    fn wait(&self) -> &MeddledMachine {
        &self.meddled
    }
}

impl Bench for ModelBench {
    fn pe_count(&self) -> usize {
        self.pes.len()
    }

    fn run_on(&self, pe: usize, work: &(dyn Fn(&BenchPe<'_, Self>) + Sync)) -> Result<(), Stopped> {
        let ops = self.pes.get(pe).ok_or(Stopped::NoSuchPe { pe })?;
        let caller = self.current.swap(pe, Ordering::Relaxed);
        work(&gicv5_hal::Pe::new(ops));
        self.current.store(caller, Ordering::Relaxed);
        Ok(())
    }

    fn wait_for_interrupt(&self, pe: &BenchPe<'_, Self>, limit: Duration) -> bool {
        until(&self.meddled, limit, || self.signals(pe).irq)
    }

    fn has_nmi(&self) -> bool {
        true
    }

    fn set_nmi(&self, _: &BenchPe<'_, Self>, enable: bool) {
        self.machine.set_nmi(self.here(), enable);
    }

    fn set_guest_nmi(&self, _: &BenchPe<'_, Self>, enable: bool) {
        self.machine.set_guest_nmi(self.here(), enable);
    }

    fn wait_for_nmi(&self, _: &BenchPe<'_, Self>, masked: Masked, limit: Duration) -> bool {
        until(&self.meddled, limit, || masked == Masked::Irqs && self.machine.signals(self.here()).nmi)
    }

    fn signals(&self, _: &BenchPe<'_, Self>) -> Signals {
        self.look(self.machine.signals(self.here()))
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

    fn drive_timer(&self, _: &BenchPe<'_, Self>, timer: Ppi, high: bool) {
        self.machine.set_ppi_wire(self.here(), timer, high);
    }

    fn has_el2(&self) -> bool {
        true
    }

    fn has_guests(&self) -> bool {
        true
    }

    fn as_guest(&self, _: &BenchPe<'_, Self>, work: &mut dyn FnMut(&BenchPe<'_, Self>)) {
        if let Some(guest) = self.guests.get(usize::from(self.here().0)) {
            work(&gicv5_hal::Pe::new(guest));
        }
    }

    fn has_kernel(&self) -> bool {
        true
    }

    fn as_kernel(&self, _: &BenchPe<'_, Self>, work: &mut dyn FnMut(&BenchPe<'_, Self>)) -> bool {
        let Some(kernel) = self.kernels.get(usize::from(self.here().0)) else { return false };
        let mut all = self.violations();
        work(&gicv5_hal::Pe::new(kernel));
        // On hardware, an exception is taken.
        let not_executed = [CPU_1.id(), CPU_2.id()];
        let (refused, broken): (Vec<_>, Vec<_>) =
            self.machine.take_violations().into_iter().partition(|said| not_executed.contains(&said.rule));
        all.extend(broken);
        *self.earlier.lock().unwrap_or_else(PoisonError::into_inner) = all;
        refused.is_empty()
    }

    fn virtual_signals(&self, _: &BenchPe<'_, Self>) -> Signals {
        self.look(self.machine.virtual_signals(self.here()))
    }
}
