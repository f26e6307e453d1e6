//! The drivers of this project on a machine: `gicv5-phys` and `gicv5-hyp`, used as a host would use them.
//!
//! The tests ask whether the hardware does what the rules say. This asks whether the software that relies on the rules runs
//! on the hardware: the physical driver comes up on every PE, takes an interrupt of every kind that the bench can raise
//! as an exception, and goes down again; above it the hypervisor's library has a VM from its making to its end, where there is
//! virtualisation, and says which register says that there is none, where there is not.
//!
//! It wants a machine on which nothing is pending or enabled: one that has just started, not one on which tests have failed.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use gicv5_arch::irs::IRS_IDR0;
use gicv5_arch::sysreg::{ICC_CR0_EL1, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, SysReg};
use gicv5_arch::values::TriggerMode;
use gicv5_arch::{IntId, Lpi, Ppi, Spi, VpeId};
use gicv5_conformance::{Bench, BenchPe, IRS, MAX_PES, SOON, Stopped};
use gicv5_hal::{Cookie, HostLpis, IrsExt, Lock, Locks, Route};
use gicv5_hyp::{Host, Idle, Pending, ProbeError, VcpuIndex, Vm, VmSpec, Wake, WithLpis};
use gicv5_phys::{IpiKind, PeIndex, Phys, Source, ppi};

/// LPIs of the host.
const LPIS: u32 = 16;

/// The cookie of the host's LPI. Those of doorbells have bits 63 to 56 zero, so that it is none of those.
const COOKIE: Cookie = Cookie(0x0100_0000_0001_c0de);

/// vCPUs of the VM.
const VPES: [VpeId; 2] = [VpeId::new(0), VpeId::new(1)];

/// The LPI that the VM gets.
const GUEST_LPI: u32 = 7;

/// A driver could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A driver refused a step.
    #[error("{step}: {}", Chain(&**cause))]
    Refused {
        /// The step.
        step: &'static str,
        /// What the driver said.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// Another interrupt came than the one that was raised, or none.
    #[error("PE {pe} took {taken:?} and not {expected:?}; the exception {}", if *exception { "came" } else { "did not come" })]
    Taken {
        /// The PE.
        pe: usize,
        /// What was raised.
        expected: Source,
        /// What was taken.
        taken: Vec<Source>,
        /// Whether there was an exception.
        exception: bool,
    },
    /// Something else is not as it should be.
    #[error("{0}")]
    Wrong(&'static str),
    /// A PE came to no end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// An error with its causes.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Names the step of an error.
fn refused<E: Error + Send + Sync + 'static>(step: &'static str) -> impl FnOnce(E) -> DriverError {
    move |error| DriverError::Refused { step, cause: Box::new(error) }
}

/// A hypervisor is the bench and its physical driver.
type Whole<'a, B> = WithLpis<&'a B, &'a Phys<&'a B>>;

/// Runs both drivers on a machine, and tells each thing that has been shown. To be called on PE 0, with interrupts masked on
/// every PE.
///
/// # Errors
///
/// [`DriverError`] with the first thing that went wrong. The machine is left as it is then.
pub fn run<B: Bench>(
    bench: &B,
    pe: &BenchPe<'_, B>,
    tell: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<(), DriverError> {
    let irss = [IRS];
    let config = gicv5_phys::Config { ipi_kinds: 1, timeout: SOON, ..gicv5_phys::Config::new(&irss, LPIS) };
    let phys = Phys::new(bench, &config).map_err(refused("gicv5-phys looks at the machine"))?;
    phys.bring_up().map_err(refused("gicv5-phys brings the IRS up"))?;
    let drivers = Drivers { bench, pe, phys: &phys };
    let pes = bench.pe_count().min(MAX_PES);
    let mut indices = Vec::new();
    for n in 0..pes {
        let index = drivers.on(n, |pe| phys.bring_up_pe(pe))?.map_err(refused("gicv5-phys brings a PE up"))?;
        indices.push(index);
    }
    tell(format_args!("gicv5-phys: the IRS and {pes} PEs are up"));
    drivers.take_every_kind(&indices, tell)?;
    drivers.virtualise(tell)?;
    for n in (0..pes).rev() {
        drivers.on(n, |pe| phys.bring_down_pe(pe))?.map_err(refused("gicv5-phys takes a PE out"))?;
    }
    phys.tear_down().map_err(refused("gicv5-phys goes down"))?;
    if phys.strays() != 0 || phys.holdings().table_bytes != 0 {
        return Err(DriverError::Wrong(
            "gicv5-phys is down, and holds memory or has taken interrupts that were nobody's",
        ));
    }
    tell(format_args!("gicv5-phys: everything is down and given back"));
    Ok(())
}

/// The physical driver, up.
struct Drivers<'a, B: Bench> {
    bench: &'a B,
    pe: &'a BenchPe<'a, B>,
    phys: &'a Phys<&'a B>,
}

impl<B: Bench> Drivers<'_, B> {
    /// Runs something on a PE, and returns what it returns.
    fn on<T: Send>(&self, pe: usize, work: impl Fn(&BenchPe<'_, B>) -> T + Sync) -> Result<T, Stopped> {
        if pe == 0 {
            return Ok(work(self.pe));
        }
        let place: <B::Locks as Locks>::Mutex<Option<T>> = Lock::new(None);
        self.bench.run_on(pe, &|pe| {
            let value = work(pe);
            place.with(|place| *place = Some(value));
        })?;
        place.with(Option::take).ok_or(Stopped::NoAnswer { pe })
    }

    /// Waits for the exception on a PE, takes what is there, and wants it to be this and nothing else. `handle` deals with what
    /// the interrupt was raised for.
    fn expect(&self, pe: usize, expected: Source, handle: impl Fn(&BenchPe<'_, B>) + Sync) -> Result<(), DriverError> {
        let (exception, taken) = self.on(pe, |pe| {
            let exception = self.bench.wait_for_interrupt(pe, SOON);
            let mut taken = Vec::new();
            self.phys.take_interrupts(pe, 64, |pe, active| {
                handle(pe);
                taken.push(active.source());
                Some(active)
            });
            pe.gsb_sys();
            (exception, taken)
        })?;
        if exception && taken == [expected] {
            return Ok(());
        }
        Err(DriverError::Taken { pe, expected, taken, exception })
    }

    /// Takes an interrupt of every kind that the bench can raise.
    fn take_every_kind(
        &self,
        indices: &[PeIndex],
        tell: &mut dyn FnMut(fmt::Arguments<'_>),
    ) -> Result<(), DriverError> {
        let Drivers { bench, pe, phys } = *self;
        let owned = phys.allocate(COOKIE).map_err(refused("gicv5-phys hands an LPI out"))?;
        phys.enable(&owned);
        let lpi = phys.lpi(&owned);
        for n in 0..indices.len() {
            let iaffid = self.on(n, |pe| pe.iaffid())?;
            phys.route(&owned, Route::To(iaffid));
            phys.set_pending(pe, lpi).map_err(refused("gicv5-phys makes its LPI pending"))?;
            self.expect(n, Source::Lpi(lpi, COOKIE), |_| {})?;
        }
        phys.release(owned).map_err(|_| DriverError::Wrong("gicv5-phys cannot release its LPI"))?;
        tell(format_args!("gicv5-phys: every PE took {lpi} with its cookie"));

        for (n, index) in indices.iter().enumerate() {
            phys.send_ipi(pe, *index, IpiKind(0)).map_err(refused("gicv5-phys sends an IPI"))?;
            self.expect(n, Source::Ipi(IpiKind(0)), |_| {})?;
        }
        tell(format_args!("gicv5-phys: every PE took an IPI"));

        if bench.has_timers() {
            for n in 0..indices.len() {
                self.on(n, |pe| {
                    bench.drive_timer(pe, Ppi::CNTV, true);
                    ppi::enable(pe, Ppi::CNTV)
                })?
                .map_err(refused("gicv5-phys enables the PPI of the virtual timer"))?;
                self.expect(n, Source::Ppi(Ppi::CNTV), |pe| bench.drive_timer(pe, Ppi::CNTV, false))?;
                self.on(n, |pe| ppi::disable(pe, Ppi::CNTV))?;
            }
            tell(format_args!("gicv5-phys: every PE took the PPI of its timer"));
        }
        if let Some(spi) = bench.wired_spi() {
            self.take_spi(spi)?;
            tell(format_args!("gicv5-phys: PE 0 took {spi} of a device, level-sensitive"));
        }
        Ok(())
    }

    fn take_spi(&self, spi: Spi) -> Result<(), DriverError> {
        let Drivers { bench, pe, phys } = *self;
        phys.set_trigger(spi, TriggerMode::Level).map_err(refused("gicv5-phys makes an SPI level-sensitive"))?;
        phys.set_target(pe, spi, pe.iaffid()).map_err(refused("gicv5-phys routes an SPI"))?;
        let priority = gicv5_phys::Config::new(&[], 0).priority;
        phys.set_priority(pe, spi, priority).map_err(refused("gicv5-phys gives an SPI its priority"))?;
        phys.set_handling(pe, spi, gicv5_arch::values::HandlingMode::Level)
            .map_err(refused("gicv5-phys sets the handling mode of an SPI"))?;
        phys.enable_interrupt(pe, spi).map_err(refused("gicv5-phys enables an SPI"))?;
        bench.drive_spi(true);
        self.expect(0, Source::Spi(spi), |_| bench.drive_spi(false))?;
        phys.disable_interrupt(pe, spi).map_err(refused("gicv5-phys disables an SPI"))?;
        Ok(())
    }

    /// Has a VM, or says why there can be none.
    fn virtualise(&self, tell: &mut dyn FnMut(fmt::Arguments<'_>)) -> Result<(), DriverError> {
        let Drivers { bench, phys, .. } = *self;
        let idr0: IRS_IDR0 = bench.irs().read(IRS);
        if idr0.virt() && !bench.has_el2() {
            // The library would use registers of EL2 now.
            tell(format_args!("gicv5-hyp: not run: the IRS has virtualisation, and the PEs are at EL1"));
            return Ok(());
        }
        let config = gicv5_hyp::Config { timeout: SOON, ..gicv5_hyp::Config::new(IRS, 4, 8) };
        let host = match Host::new(Whole { platform: bench, lpis: phys }, &config) {
            Ok(host) => host,
            Err(error @ ProbeError::NoVirtualisation { .. }) => {
                tell(format_args!("gicv5-hyp: {error}"));
                return Ok(());
            }
            Err(error) => return Err(refused("gicv5-hyp looks at the machine")(error)),
        };
        host.bring_up().map_err(refused("gicv5-hyp brings the VM table up"))?;
        let mut vm = host.new_vm();
        vm.init(&VmSpec { spis: 32, ..VmSpec::new(&VPES) }).map_err(refused("gicv5-hyp makes a VM"))?;
        vm.create_lpi_ist(10).map_err(refused("gicv5-hyp gives the VM LPIs"))?;
        tell(format_args!("gicv5-hyp: a VM with {} vCPUs is there", VPES.len()));
        self.run_guest(&host, &vm, tell)?;
        vm.tear_down().map_err(refused("gicv5-hyp tears the VM down"))?;
        drop(vm);
        host.shut_down().map_err(refused("gicv5-hyp goes down"))?;
        if host.holdings().table_bytes != 0 || host.holdings().vms != 0 {
            return Err(DriverError::Wrong("gicv5-hyp is down and holds something"));
        }
        tell(format_args!("gicv5-hyp: everything is down and given back"));
        Ok(())
    }

    /// Loads the VM's first vCPU, lets it sleep, wakes it by an interrupt of its own, and puts it.
    fn run_guest<'h>(
        &self,
        host: &'h Host<Whole<'_, B>>,
        vm: &Vm<'h, Whole<'_, B>>,
        tell: &mut dyn FnMut(fmt::Arguments<'_>),
    ) -> Result<(), DriverError> {
        let Drivers { bench, pe, .. } = *self;
        let (vcpu, lpi) = (VcpuIndex(0), Lpi::new(GUEST_LPI).map_err(refused("an LPI of the guest"))?);
        // Nothing traps.
        pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
        pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
        pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
        pe.isb();
        vm.load(pe, vcpu).map_err(refused("gicv5-hyp loads a vCPU"))?;
        if !bench.has_guests() {
            vm.put(pe, vcpu).map_err(refused("gicv5-hyp puts a vCPU"))?;
            tell(format_args!("gicv5-hyp: a vCPU was loaded and put; the bench runs no guest"));
            return Ok(());
        }
        bench.as_guest(pe, &mut |guest| {
            guest.write(ICC_CR0_EL1::ZERO.with_en(true));
            guest.write_raw(SysReg::ICC_PCR_EL1, 31);
            guest.isb();
            guest.cdaff(lpi.into(), VPES[0].into());
            guest.cden(lpi.into());
            guest.gsb_sys();
        });
        if vm.idle(pe, vcpu).map_err(refused("gicv5-hyp lets a vCPU sleep"))? != Idle::Sleep {
            return Err(DriverError::Wrong("a vCPU with nothing to do does not sleep"));
        }
        vm.inject(pe, IntId::Lpi(lpi), Pending::Set).map_err(refused("gicv5-hyp injects an LPI"))?;
        let exception = bench.wait_for_interrupt(pe, SOON);
        let mut woken = Vec::new();
        self.phys.take_interrupts(pe, 64, |_, active| {
            if let Source::Lpi(_, cookie) = active.source() {
                woken.push(host.doorbell(cookie));
            }
            Some(active)
        });
        pe.gsb_sys();
        let id = vm.id().ok_or(DriverError::Wrong("a VM that is initialised has no ID"))?;
        if !exception || woken != [Some(Wake { vm: id, vpe: VPES[0] })] {
            return Err(DriverError::Wrong("the doorbell of a vCPU that sleeps does not ring, or another one does"));
        }
        vm.load(pe, vcpu).map_err(refused("gicv5-hyp loads a vCPU that was woken"))?;
        let mut taken = None;
        bench.as_guest(pe, &mut |guest| {
            taken = guest.cdia().int_id();
            guest.gsb_ack();
            guest.isb();
            guest.cdeoi();
            guest.cddi(lpi.into());
            guest.gsb_sys();
        });
        if taken != Some(IntId::Lpi(lpi)) {
            return Err(DriverError::Wrong("the guest finds no interrupt, or another one"));
        }
        vm.put(pe, vcpu).map_err(refused("gicv5-hyp puts a vCPU"))?;
        tell(format_args!("gicv5-hyp: a vCPU slept, was woken by its doorbell, and took {lpi}"));
        Ok(())
    }
}
