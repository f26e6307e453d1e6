//! The LPI table as the guest configures it: IRS_IST_BASER, IRS_IST_CFGR, IRS_IST_STATUSR and IRS_MAP_L2_ISTR.
//!
//! Both registers and the state of the table are one atomic word, so that a check and what it leads to see the same values
//! whatever other vCPUs write meanwhile. VALID reads as the guest last wrote it, BUSY is the opposite of IDLE:
//!
//! ```text
//!              VALID 0 -> 1, checked                    done
//!   no table ------------------------> making ------------------------> table <----+
//!       ^ ^                              |                               | |       | done or failed
//!       | +------------------------------+      IRS_MAP_L2_ISTR written  | +--> mapping
//!       |              failed                             VALID 1 -> 0   v
//!       +------------------------------------------------------------ removing --failed--> table
//! ```

use gicv5_arch::Lpi;
use gicv5_arch::geometry::{GeometryError, IstLimits, TableIndex};
use gicv5_arch::irs::{IRS_IST_BASER, IRS_IST_CFGR};

use crate::backend::{Backend, TableOperation};
use crate::spi::ATTEMPTS;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use word::Word;

mod word;

/// What a write to one of the registers led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Stored, or ignored.
    Done,
    /// An operation is under way.
    Job,
    /// VALID stays 0.
    Refused(GeometryError),
    /// Other vCPUs' writes came in between as often as a call tries.
    Again,
}

/// The LPI table of a VM.
#[derive(Debug)]
pub(crate) struct Table {
    word: AtomicU64,
    /// The LPI of the last IRS_MAP_L2_ISTR.
    mapped: AtomicU32,
    /// What the guest is shown.
    limits: IstLimits,
}

impl Table {
    pub(crate) fn new(limits: IstLimits) -> Table {
        Table { word: AtomicU64::new(0), mapped: AtomicU32::new(0), limits }
    }

    fn load(&self) -> Word {
        Word::new_with_raw_value(self.word.load(Ordering::Acquire))
    }

    pub(crate) fn baser(&self) -> IRS_IST_BASER {
        self.load().baser()
    }

    pub(crate) fn cfgr(&self) -> IRS_IST_CFGR {
        self.load().cfgr()
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.load().busy()
    }

    /// ID bits of the table that the guest can use now.
    pub(crate) fn id_bits(&self) -> Option<u32> {
        let word = self.load();
        let made = word.valid() && (!word.busy() || word.mapping());
        made.then(|| word.id_bits().value().into())
    }

    /// A write to IRS_IST_CFGR: ignored while VALID is 1 (VIRS-11) and while an operation is under way (GIRS-61).
    pub(crate) fn write_cfgr(&self, cfgr: IRS_IST_CFGR) -> Written {
        self.change(|word| match word.valid() || word.busy() {
            true => (word, Written::Done),
            false => (word.with_cfgr(cfgr), Written::Done),
        })
    }

    /// A write to IRS_IST_BASER, or to a half of it: `merge` makes the value written from the one that it holds (GIRS-4).
    pub(crate) fn write_baser(&self, merge: impl Fn(u64) -> u64) -> Written {
        self.change(|word| {
            let baser = IRS_IST_BASER::new_with_raw_value(merge(word.baser().raw_value()));
            match (word.valid(), baser.valid()) {
                // GIRS-61.
                _ if word.busy() => (word, Written::Done),
                (false, false) => (word.with_addr(baser.addr()), Written::Done),
                (false, true) => match word.geometry(self.limits) {
                    Ok(_) => (word.with_addr(baser.addr()).with_valid(true).with_busy(true), Written::Job),
                    Err(reason) => (word.with_addr(baser.addr()), Written::Refused(reason)),
                },
                // VIRS-15.
                (true, true) => (word, Written::Done),
                (true, false) => (word.with_valid(false).with_busy(true), Written::Job),
            }
        })
    }

    /// A write to IRS_MAP_L2_ISTR: nothing without a two-level table that holds this LPI (LPI-2).
    pub(crate) fn write_map(&self, lpi: Lpi) -> Written {
        let word = self.load();
        if !word.valid() || word.busy() || map(word, self.limits, lpi.id()).is_none() {
            return Written::Done;
        }
        // Two vCPUs at once get one operation for one of the two LPIs: they share the register (GIRS-9).
        self.mapped.store(lpi.id(), Ordering::Relaxed);
        let new = word.with_busy(true).with_mapping(true);
        match self.word.compare_exchange(word.raw_value(), new.raw_value(), Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Written::Job,
            // Another vCPU has begun an operation, and a write while one is under way is ignored.
            Err(_) => Written::Done,
        }
    }

    fn change(&self, change: impl Fn(Word) -> (Word, Written)) -> Written {
        let mut word = self.load();
        for _ in 0..ATTEMPTS {
            let (new, written) = change(word);
            if new == word {
                return written;
            }
            let (old, new) = (word.raw_value(), new.raw_value());
            match self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return written,
                Err(found) => word = Word::new_with_raw_value(found),
            }
        }
        Written::Again
    }

    /// The operation that is under way, unless a job has it already.
    pub(crate) fn claim(&self) -> Option<TableOperation> {
        let word = self.load();
        if !word.busy() || word.claimed() {
            return None;
        }
        let claimed = word.with_claimed(true);
        // A busy word changes only by being claimed.
        self.word.compare_exchange(word.raw_value(), claimed.raw_value(), Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // The LPI is checked again: another vCPU, which had looked at an earlier table, may have stored one of its own
        // meanwhile. Such a guest gets nothing mapped.
        let operation = match (word.valid(), word.mapping()) {
            (false, _) => Some(TableOperation::Remove),
            (true, false) => word.geometry(self.limits).ok().map(TableOperation::Make),
            (true, true) => map(word, self.limits, self.mapped.load(Ordering::Relaxed)),
        };
        if operation.is_none() {
            self.finish(true);
        }
        operation
    }

    /// Gives a claimed operation back undone.
    fn unclaim(&self) {
        self.word.fetch_and(!Word::ZERO.with_claimed(true).raw_value(), Ordering::AcqRel);
    }

    /// Ends a claimed operation. Nobody else changes the word.
    fn finish(&self, success: bool) {
        let word = self.load();
        let valid = match (word.mapping(), success) {
            (true, _) => true,
            (false, true) => word.valid(),
            // VIRS-12 and VIRS-14: as it was before.
            (false, false) => !word.valid(),
        };
        let idle = word.with_valid(valid).with_busy(false).with_mapping(false).with_claimed(false);
        self.word.store(idle.raw_value(), Ordering::Release);
    }

    /// As at creation; false, and nothing done, while a job runs.
    pub(crate) fn reset(&self) -> bool {
        let word = self.load();
        !word.claimed() && self.word.compare_exchange(word.raw_value(), 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The LPIs behind the level-1 entry of this one; `None` unless the table has two levels and holds it.
fn map(word: Word, limits: IstLimits, lpi: u32) -> Option<TableOperation> {
    let geometry = word.geometry(limits).ok()?;
    match geometry.index(lpi).ok()? {
        TableIndex::Linear(_) => None,
        TableIndex::TwoLevel { level1, .. } => Some(TableOperation::Map(geometry.ids_behind(level1.index).ok()?)),
    }
}

/// A change of the LPI table that a guest has asked for and that nobody else carries out.
///
/// Until [`run`](Self::run) completes the guest reads IRS_IST_STATUSR.IDLE as 0 (GIRS-60). Dropping the job, or the future of
/// `run`, leaves the operation under way for [`IrsFrame::table_job`](crate::IrsFrame::table_job) to give out again.
#[must_use = "the guest waits for the table"]
#[derive(Debug)]
pub struct TableJob<'a, B: Backend> {
    table: &'a Table,
    backend: &'a B,
    operation: TableOperation,
    finished: bool,
}

impl<'a, B: Backend> TableJob<'a, B> {
    pub(crate) fn claim(table: &'a Table, backend: &'a B) -> Option<TableJob<'a, B>> {
        let operation = table.claim()?;
        Some(TableJob { table, backend, operation, finished: false })
    }

    /// What there is to do, and so what it costs: [`IstGeometry::total_bytes`](gicv5_arch::geometry::IstGeometry::total_bytes) for a table of the guest's shape.
    #[must_use]
    pub fn operation(&self) -> &TableOperation {
        &self.operation
    }

    /// Carries the operation out by [`Backend::lpi_table`], then lets the guest see IDLE.
    ///
    /// # Errors
    ///
    /// What the backend said. The guest sees VALID as it was before, if it looks: Linux and FreeBSD do not, and boot on
    /// without LPIs (GIRS-57). A VMM that is told can end the VM with a message instead.
    pub async fn run(mut self) -> Result<(), B::Error> {
        let result = self.backend.lpi_table(self.operation.clone()).await;
        self.finish(result.is_ok());
        result
    }

    /// Ends the operation as failed, without asking the backend: for a host that refuses its cost.
    pub fn refuse(mut self) {
        self.finish(false);
    }

    fn finish(&mut self, success: bool) {
        self.finished = true;
        self.table.finish(success);
    }
}

impl<B: Backend> Drop for TableJob<'_, B> {
    fn drop(&mut self) {
        if !self.finished {
            self.table.unclaim();
        }
    }
}

#[cfg(all(test, loom))]
mod exhaustive;
