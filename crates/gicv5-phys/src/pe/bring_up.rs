//! PEs coming up and going out.

use core::sync::atomic::Ordering;

use arbitrary_int::u4;
use gicv5_arch::irs::{IRS_PE_CR0, IRS_PE_SELR};
use gicv5_arch::sysreg::{APR, ICC_CR0_EL1, ICH_CONTEXTR_EL2, PCR, PPI_PRIORITYR, SysReg};
use gicv5_arch::{Iaffid, PpiBank, Priority};
use gicv5_hal::{Cookie, Lock, LpiError, Pe, PeOps, Platform};

use crate::config::El2;
use crate::driver::phys::{Phase, Phys};
use crate::ipi::word::{IPI_UP, PeIndex, lpi_of, word_of};
use crate::lpi::gate::Owner;
use crate::lpi::supply::configure;
use crate::ppi;
use crate::probe::{CpuInterface, ProbeError};
use gicv5_irs::command::{Command, CommandError, Fault};
use gicv5_irs::command_port::PortKind;

/// A PE could not be brought up or taken out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// The driver is not up.
    #[error("the driver is not up")]
    DriverDown,
    /// The PE is up already.
    #[error("the PE is up already")]
    AlreadyUp,
    /// The PE is not up.
    #[error("the PE is not up")]
    NotUp,
    /// Another PE is coming up or going out, or the driver is.
    #[error("another PE is coming up or going out")]
    Contended,
    /// The CPU interface is not what the driver can use.
    #[error("the CPU interface cannot be used")]
    CpuInterface(#[from] ProbeError),
    /// No IRS of the domain knows the PE.
    #[error("no IRS knows a PE with affinity ID {}", iaffid.raw_value())]
    Unknown {
        /// Its affinity ID.
        iaffid: Iaffid,
    },
    /// More PEs than the IRSs say they have (IRS_IDR1.PE_CNT).
    #[error("{count} PEs are known and the IRSs have no more")]
    TooMany {
        /// How many are known.
        count: usize,
    },
    /// The PE is in an interrupt handler: its priority has not been dropped.
    #[error("the PE is handling an interrupt: ICC_APR_EL1 reads {apr:#x}")]
    Handling {
        /// The active priorities.
        apr: u64,
    },
    /// A VPE is resident on the PE ([`El2::Accessible`](crate::El2)).
    #[error("a vCPU is loaded on the PE: ICH_CONTEXTR_EL2 reads {contextr:#x}; put it first")]
    Resident {
        /// ICH_CONTEXTR_EL2.
        contextr: u64,
    },
    /// There is no LPI for an IPI of the PE.
    #[error("there is no LPI for an IPI")]
    Ipi(#[from] LpiError),
    /// The IRS did not do what it was asked to.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl PeError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            PeError::DriverDown
            | PeError::AlreadyUp
            | PeError::NotUp
            | PeError::Unknown { .. }
            | PeError::Handling { .. }
            | PeError::Resident { .. } => Fault::Caller,
            PeError::Contended => Fault::Busy,
            PeError::CpuInterface(error) => error.fault(),
            PeError::TooMany { .. } | PeError::Ipi(LpiError::Unreachable { .. }) => Fault::Hardware,
            PeError::Ipi(LpiError::NoneFree | LpiError::NoMemory) => Fault::Capacity,
            PeError::Command(error) => error.fault(),
        }
    }
}

/// PEs. Called on the PE itself, with its interrupts off, and not from its interrupt handler. They wait for the IRS and may
/// allocate.
impl<H: Platform> Phys<H> {
    /// Makes a PE take interrupts: PPIs disabled, neither pending (if edge) nor active, with the configured priority; the
    /// priority mask as configured; IPIs ready. A PE that has been out keeps its [`PeIndex`].
    ///
    /// If it fails, the PE takes no interrupts, and the call may be repeated.
    ///
    /// # Errors
    ///
    /// [`PeError`].
    pub fn bring_up_pe<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Result<PeIndex, PeError> {
        let machine = &self.machine;
        let _turn = machine.domain.block_on(machine.my_turn(&self.turn)).ok_or(PeError::Contended)?;
        if self.phase() != Phase::Up {
            return Err(PeError::DriverDown);
        }
        let found = &machine.found;
        let id_bits = found.ist.map_or(0, |ist| ist.id_bits());
        CpuInterface::read(pe)?.check(id_bits, found.priority_bits)?;
        let iaffid = pe.iaffid();
        machine.domain.block_on(self.introduce(iaffid))?;
        let index = self.record(iaffid)?;

        reset_interface(pe, self.settings.priority, self.settings.priority_mask);
        self.make_ipis(pe, index)?;
        self.core.with(|core| {
            if let Some(record) = core.pes.get_mut(index.0 as usize) {
                record.up = true;
            }
        });
        set_enabled(pe, true);
        pe.isb();
        Ok(index)
    }

    /// Asks the IRSs for the PE. One of them must know it.
    async fn introduce(&self, iaffid: Iaffid) -> Result<(), PeError> {
        for irs in &self.machine.found.irss {
            if u32::from(iaffid.raw_value()) >> irs.iaffid_bits != 0 {
                continue;
            }
            let mut port = self.machine.port(irs, PortKind::Pe, Command::SelectPe).await?;
            let status = port.issue(Command::SelectPe, IRS_PE_SELR::ZERO.with_iaffid(iaffid)).await?;
            if !port.is_valid(status) {
                continue;
            }
            if irs.one_n {
                // The driver routes everything to a PE by name.
                port.issue(Command::ConfigurePe, IRS_PE_CR0::ZERO.with_dps(true)).await?;
            }
            return Ok(());
        }
        Err(PeError::Unknown { iaffid })
    }

    /// The PE's place in the records.
    fn record(&self, iaffid: Iaffid) -> Result<PeIndex, PeError> {
        self.core.with(|core| {
            let known = core.pes.iter().position(|record| record.iaffid == Some(iaffid));
            let place = known.or_else(|| core.pes.iter().position(|record| record.iaffid.is_none()));
            let count = core.pes.len();
            let index = place.ok_or(PeError::TooMany { count })?;
            let record = core.pes.get_mut(index).ok_or(PeError::TooMany { count })?;
            if record.up {
                return Err(PeError::AlreadyUp);
            }
            record.iaffid = Some(iaffid);
            Ok(PeIndex(index as u32))
        })
    }

    /// Makes the PE's IPIs, or enables the ones it had. What an attempt that failed half-way has made is used by the next.
    fn make_ipis<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, index: PeIndex) -> Result<(), PeError> {
        for (kind, word) in self.ipi_words(index).iter().enumerate() {
            if lpi_of(word.load(Ordering::Relaxed)).is_none() {
                let cookie = Cookie(kind as u64);
                let lpi = self.take_lpi(Owner::Ipi, cookie, |lpi| configure(pe, lpi, self.settings.ipi_priority))?;
                word.store(word_of(lpi), Ordering::Relaxed);
            }
        }
        for word in self.ipi_words(index) {
            if let Some(lpi) = lpi_of(word.load(Ordering::Relaxed)) {
                pe.cden(lpi.into());
                word.store(word_of(lpi) | IPI_UP, Ordering::Relaxed);
            }
        }
        // An IPI that is sent after this is taken, whatever PE sends it (SYN-1).
        pe.gsb_sys();
        Ok(())
    }

    /// Takes a PE out: it takes no interrupts any more, and no IPI can be sent to it. What else is routed to it stays so;
    /// route it elsewhere first.
    ///
    /// # Errors
    ///
    /// [`PeError`]; the PE is as it was then.
    pub fn bring_down_pe<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>) -> Result<(), PeError> {
        let machine = &self.machine;
        let _turn = machine.domain.block_on(machine.my_turn(&self.turn)).ok_or(PeError::Contended)?;
        let active: APR = APR::new_with_raw_value(pe.read_raw(SysReg::ICC_APR_EL1));
        if active.p().running().is_some() {
            return Err(PeError::Handling { apr: active.raw_value() });
        }
        if self.settings.el2 == El2::Accessible {
            let found: ICH_CONTEXTR_EL2 = pe.read();
            if found.v() {
                return Err(PeError::Resident { contextr: found.raw_value() });
            }
        }
        let iaffid = pe.iaffid();
        let index = self.core.with(|core| {
            let index = core.pes.iter().position(|record| record.is_up() == Some(iaffid))?;
            core.pes.get_mut(index)?.up = false;
            Some(PeIndex(index as u32))
        });
        let index = index.ok_or(PeError::NotUp)?;
        self.silence_ipis(pe, index);
        set_enabled(pe, false);
        ppi::disable_all(pe);
        pe.isb();
        Ok(())
    }
}

/// PEs that are gone. Called on any other PE.
impl<H: Platform> Phys<H> {
    /// A PE is gone and does not come back, or comes back reset: no IPI can be sent to it, and the driver may be torn down
    /// without it. What else is routed to it stays so; route it elsewhere. An LPI that it had taken and not deactivated stays
    /// active, so that its owner can only [abandon](Self::abandon) it.
    ///
    /// To be called once that PE executes nothing any more, because what it had begun is complete by then.
    ///
    /// # Errors
    ///
    /// [`PeError::NotUp`] if it was not up, [`PeError::Contended`].
    pub fn pe_is_gone<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, gone: PeIndex) -> Result<(), PeError> {
        let machine = &self.machine;
        let _turn = machine.domain.block_on(machine.my_turn(&self.turn)).ok_or(PeError::Contended)?;
        let up = self.core.with(|core| core.pes.get_mut(gone.0 as usize).map(|pe| core::mem::take(&mut pe.up)));
        if up != Some(true) {
            return Err(PeError::NotUp);
        }
        // One that it was handling is taken again once the PE is back (ISM-7).
        for word in self.ipi_words(gone) {
            lpi_of(word.load(Ordering::Relaxed)).into_iter().for_each(|lpi| pe.cddi(lpi.into()));
        }
        self.silence_ipis(pe, gone);
        Ok(())
    }

    /// No IPI of the PE is enabled or pending when this returns, and none can be sent.
    fn silence_ipis<P: PeOps + ?Sized>(&self, pe: &Pe<'_, P>, of: PeIndex) {
        for word in self.ipi_words(of) {
            if let Some(lpi) = lpi_of(word.fetch_and(!IPI_UP, Ordering::Relaxed)) {
                pe.cddis(lpi.into());
                pe.cdpend(lpi.into(), false);
            }
        }
        pe.gsb_sys();
    }
}

/// Sets ICC_CR0_EL1.EN and leaves the rest alone (PRI-8). Acts at the next ISB.
fn set_enabled<P: PeOps + ?Sized>(pe: &Pe<'_, P>, enabled: bool) {
    pe.write(pe.read::<ICC_CR0_EL1>().with_en(enabled));
}

/// Disables the CPU interface and leaves nothing of what earlier software did. One ISB at the end is enough, because the
/// PE's interrupts are off; it comes before the interface is enabled again.
fn reset_interface<P: PeOps + ?Sized>(pe: &Pe<'_, P>, priority: Priority, mask: Priority) {
    set_enabled(pe, false);
    ppi::disable_all(pe);
    for bank in PpiBank::ALL {
        pe.write_raw(SysReg::icc_ppi_cactiver(bank), u64::MAX);
        pe.write_raw(SysReg::icc_ppi_cpendr(bank), u64::MAX);
    }
    let priorities = PPI_PRIORITYR::ZERO
        .with_priority0(priority)
        .with_priority1(priority)
        .with_priority2(priority)
        .with_priority3(priority)
        .with_priority4(priority)
        .with_priority5(priority)
        .with_priority6(priority)
        .with_priority7(priority);
    for register in (0..16).filter_map(|index| u4::try_new(index).ok()).map(SysReg::icc_ppi_priorityr) {
        pe.write_raw(register, priorities.raw_value());
    }
    pe.write_raw(SysReg::ICC_APR_EL1, 0);
    pe.write_raw(SysReg::ICC_PCR_EL1, PCR::ZERO.with_priority(mask).raw_value());
    pe.isb();
}
