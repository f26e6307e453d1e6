//! Being interrupted: the signal at a PE, the acknowledge, the end of handling.

use gicv5_arch::sysreg::{HPPIR, SysReg};
use gicv5_arch::{IntId, IrsIntId};
use gicv5_hal::{Pe, PeOps};

use crate::bench::Bench;
use crate::lab::instructions::{acknowledge_raw, drop_and_deactivate};
use crate::lab::{A_WHILE, Lab, SOON, until};
use crate::outcome::{Failure, Outcome, Value, expect};

impl<B: Bench> Lab<'_, B> {
    /// Wants an interrupt to be signalled at a PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn expect_signal(&self, pe: usize) -> Outcome {
        let bench = self.bench;
        let came = self.on(pe, |pe| until(bench.wait(), SOON, || bench.signals(pe).irq).into())?;
        expect("an IRQ is signalled", true, came != 0)
    }

    /// Wants the best interrupt of a PE to be this one, as ICC_HPPIR_EL1 has it, before it is taken. Each pending interrupt finds its
    /// own way to the PE, so that a less urgent one may be there first, and be taken first (HPPI-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn expect_best(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        self.expect_hppi(pe, SysReg::ICC_HPPIR_EL1, id.into())
    }

    /// Wants one of the two HPPI registers of a PE to show this interrupt soon.
    pub(super) fn expect_hppi(&self, pe: usize, register: SysReg, id: IntId) -> Outcome {
        let bench = self.bench;
        let found = self.on(pe, |pe| {
            let hppi = || pe.read_raw(register);
            until(bench.wait(), SOON, || HPPIR::new_with_raw_value(hppi()).int_id() == Some(id));
            hppi()
        })?;
        expect_interrupt(register.name(), Some(id), found)
    }

    /// Wants nothing to be signalled at a PE, and the HPPI register to say so (HPPI-9).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn expect_silence(&self, pe: usize) -> Outcome {
        let bench = self.bench;
        let answer = self.on(pe, |pe| {
            // What has been recalled may take its time to go.
            until(bench.wait(), SOON, || !bench.signals(pe).irq);
            until(bench.wait(), A_WHILE, || false);
            u64::from(bench.signals(pe).irq) << 63 | pe.read_raw(SysReg::ICC_HPPIR_EL1)
        })?;
        expect("an IRQ is signalled", false, answer >> 63 != 0)?;
        expect_interrupt("ICC_HPPIR_EL1", None, answer & !(1 << 63))
    }

    /// Wants an interrupt to be signalled at PE 0, and takes it (SYN-3); it stays active, with its priority.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal) if it is not this one.
    pub fn take(&self, id: impl Into<IntId>) -> Outcome {
        self.take_on(0, id)
    }

    /// The same on another PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn take_on(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        self.expect_signal(pe)?;
        expect_interrupt("GICR CDIA", Some(id.into()), self.on(pe, acknowledge_raw)?)
    }

    /// Makes an LPI or SPI pending, and wants it to be signalled at PE 0.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn signal(&self, id: impl Into<IrsIntId>) -> Outcome {
        self.pend(id)?;
        self.expect_signal(0)
    }

    /// Makes an LPI or SPI pending, and takes it on PE 0.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal) if another one comes.
    pub fn pend_and_take(&self, id: impl Into<IrsIntId>) -> Outcome {
        let id = id.into();
        self.pend(id)?;
        self.take(id)
    }

    /// Wants an acknowledge to find nothing.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_nothing_to_take(&self) -> Outcome {
        expect_interrupt("GICR CDIA", None, acknowledge_raw(self.pe))
    }

    /// Drops the priority and deactivates, and wants both to have happened (INS-4, INS-5).
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn finish(&self, id: impl Into<IntId>) -> Outcome {
        self.finish_on(0, id)
    }

    /// The same on another PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn finish_on(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        let id = id.into();
        expect_drop(self.on(pe, |pe| end_handling(pe, id))?)?;
        match id {
            IntId::Ppi(ppi) => {
                let active = self.on(pe, |pe| pe.read_raw(SysReg::icc_ppi_sactiver(ppi.bank())) & ppi.mask())?;
                expect("the PPI is active", false, active != 0)
            }
            IntId::Lpi(lpi) => self.expect_active(lpi, false),
            IntId::Spi(spi) => self.expect_active(spi, false),
        }
    }

    /// Takes an interrupt on PE 0, and ends its handling.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn handle(&self, id: impl Into<IntId>) -> Outcome {
        self.handle_on(0, id)
    }

    /// The same on another PE.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn handle_on(&self, pe: usize, id: impl Into<IntId>) -> Outcome {
        let id = id.into();
        self.take_on(pe, id)?;
        self.finish_on(pe, id)
    }

    /// Wants nothing to be signalled at PE 0, and an acknowledge to find nothing.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal).
    pub fn expect_idle(&self) -> Outcome {
        self.expect_silence(0)?;
        self.expect_nothing_to_take()
    }
}

/// Drops the priority and deactivates. The answer is what the active priorities were before, in the high half, and after.
pub(crate) fn end_handling<P: PeOps + ?Sized>(pe: &Pe<'_, P>, id: IntId) -> u64 {
    let before = pe.read_raw(SysReg::ICC_APR_EL1);
    drop_and_deactivate(pe, id);
    before << 32 | pe.read_raw(SysReg::ICC_APR_EL1)
}

/// Wants the most urgent active priority, which is the lowest bit (PRI-5), to have gone, given the answer of [`end_handling`].
pub(crate) fn expect_drop(priorities: u64) -> Outcome {
    let before = priorities >> 32;
    expect("ICC_APR_EL1", before & before.saturating_sub(1), priorities & 0xffff_ffff)
}

/// Wants an answer to report this interrupt or none. What says that there is one, and names none, is neither.
///
/// # Errors
///
/// [`Failure::Unequal`](crate::Failure::Unequal).
pub(crate) fn expect_interrupt(what: &'static str, expected: Option<IntId>, answer: u64) -> Outcome {
    let answer = HPPIR::new_with_raw_value(answer);
    if answer.hppiv() && answer.int_id().is_none() {
        return Err(Failure::Unequal { what, expected: expected.into(), actual: Value::Number(answer.raw_value()) });
    }
    expect(what, expected, answer.int_id())
}
