//! QEMU GICv5 traces as typed events.
//!
//! QEMU 11.1 and newer have a GICv5 (`-M virt,gic-version=x-5`) and can write a line of text for everything that
//! happens to it (`-d 'trace:gicv5_*' -D FILE`). Such a recording of a real system is a list of inputs together with
//! the answers of a foreign implementation, so it can check another one. This crate reads it: [`open`] or
//! [`TraceReader::new`], then iterate over [`Line`]s; or [`Recording::open`] for the files that QEMU writes for its threads
//! (`-msg timestamp=on -d 'trace:gicv5_*,tid' -D t.%d`). It does not interpret; what follows is what an interpreter
//! has to know.
//!
//! ```
//! use gicv5_trace::{Event, Foreign, TraceReader};
//!
//! let text = "gicv5_spi GICv5 SPI ID 47 asserted at level 1\n\
//!             gicv5_spi_state GICv5 IRS SPI ID 47 now level 1 pending 1 active 0\n";
//! for line in TraceReader::new(text.as_bytes(), Foreign::Refuse) {
//!     let line = line?;
//!     if let Event::SpiState { spi, pending, .. } = line.event {
//!         assert_eq!((line.number, spi.id(), pending), (2, 47, true));
//!     }
//! }
//! # Ok::<(), gicv5_trace::TraceError>(())
//! ```
//!
//! # Theory of operation
//!
//! ## Who writes a line, and which PE it is about
//!
//! Two parts of QEMU write lines. The IRS names the interrupt domain by a word (`NonSecure`), and names a PE by its
//! IAFFID where a PE matters. The CPU interface names the domain by a number (`domain 1`) and never says which PE it
//! belongs to; nor does an instruction line of the IRS say which PE executed it, which does not matter to the IRS.
//!
//! The event name is also the key to the direction: *input* is what software or a device did, *answer* is what the
//! hardware made of it and another implementation must agree with, *both* carries one of each. The counts are those
//! of the three recordings in `traces/`: a Linux boot on four PEs, a random program on one, and random register
//! accesses and wires without any program.
//!
//! | event | trace name | direction | PE | Linux | random | registers |
//! |---|---|---|---|---|---|---|
//! | [`Realize`](Event::Realize) | `common_realize` | input: the machine | | 1 | 1 | 1 |
//! | [`Write`](Event::Write) | `write` | input | | 23 | 456 | 1 026 |
//! | [`BadWrite`](Event::BadWrite) | `badwrite` | input, and the answer "no effect" | | 0 | 0 | 34 |
//! | [`Read`](Event::Read) | `read` | both: the value is an answer | | 30 | 3 | 1 050 |
//! | [`BadRead`](Event::BadRead) | `badread` | both: it returned 0 | | 0 | 0 | 28 |
//! | [`IstValid`](Event::IstValid) | `ist_valid` | answer | | 1 | 1 | 39 |
//! | [`IstInvalid`](Event::IstInvalid) | `ist_invalid` | answer | | 0 | 0 | 39 |
//! | [`SpiWire`](Event::SpiWire) | `spi` | input | | 802 | 232 | 153 |
//! | [`SpiState`](Event::SpiState) | `spi_state` | answer | | 802 | 232 | 247 |
//! | [`SetPriority`](Event::SetPriority) | `set_priority` | input: CDPRI | | 37 | 2 078 | 0 |
//! | [`SetEnabled`](Event::SetEnabled) | `set_enabled` | input: CDEN, CDDIS | | 36 | 2 673 | 0 |
//! | [`SetPending`](Event::SetPending) | `set_pending` | input: CDPEND | | 1 322 | 7 706 | 0 |
//! | [`SetHandling`](Event::SetHandling) | `set_handling` | input: CDHM | | 32 | 565 | 0 |
//! | [`SetTarget`](Event::SetTarget) | `set_target` | input: CDAFF | | 36 | 478 | 0 |
//! | [`RequestConfig`](Event::RequestConfig) | `request_config` | both: CDRCFG, and `ICC_ICSR_EL1` | | 1 | 423 | 0 |
//! | [`Activate`](Event::Activate) | `activate` | answer: repeats the INTID acknowledged | | 1 691 | 1 942 | 0 |
//! | [`Deactivate`](Event::Deactivate) | `deactivate` | answer: repeats the INTID of CDDI | | 1 688 | 1 925 | 0 |
//! | [`IrsCandidate`](Event::IrsCandidate) | `irs_recalc_hppi` | answer | named | 5 659 | 16 202 | 354 |
//! | [`IrsNoCandidate`](Event::IrsNoCandidate) | `irs_recalc_hppi_fail` | answer | named | 0 | 1 313 | 274 |
//! | [`PpiCandidate`](Event::PpiCandidate) | `recalc_ppi_hppi` | answer | unsaid | 50 252 | 8 | 0 |
//! | [`Acknowledge`](Event::Acknowledge) | `gicr_cdia` | both: CDIA or CDNMIA, and the INTID | unsaid | 4 804 | 1 942 | 0 |
//! | [`AcknowledgeFail`](Event::AcknowledgeFail) | `gicr_cdia_fail` | both | unsaid | 0 | 1 375 | 0 |
//! | [`PriorityDrop`](Event::PriorityDrop) | `cdeoi` | input | unsaid | 4 804 | 1 942 | 0 |
//! | [`DeactivateRequest`](Event::DeactivateRequest) | `cddi` | input | unsaid | 4 801 | 1 925 | 0 |
//! | [`Signals`](Event::Signals) | `update_irq_fiq` | answer | see below | 23 036 | 18 148 | 564 |
//! | [`PpiWire`](Event::PpiWire) | `update_ppi_state` | input | unsaid | 6 235 | 0 | 0 |
//!
//! ## One operation is one run of lines
//!
//! QEMU holds one lock around each operation, so the lines of an operation follow one another even when several PEs
//! run at once. With `C` for one candidate answer, which is either `irs_recalc_hppi` and then `update_irq_fiq` *of
//! the same PE*, or one `irs_recalc_hppi_fail`, and with `P` for four `recalc_ppi_hppi` (domains 0, 1, 2, 3) and one
//! `update_irq_fiq`, all of one PE:
//!
//! | operation | lines, in this order |
//! |---|---|
//! | CDPRI, CDEN, CDDIS, CDPEND | the `set_…` line, `C` for the PE the interrupt is routed to |
//! | CDAFF | `set_target`, `C` for the old affinity, `C` for the new one (also when they are the same) |
//! | CDHM | `set_handling` alone: the mode changes no candidate (ISM-10) |
//! | CDRCFG | `request_config` alone |
//! | CDIA of an LPI or SPI | `gicr_cdia`, `activate`, `C` |
//! | CDIA of a PPI | `gicr_cdia`, `P` |
//! | CDIA of nothing | `gicr_cdia_fail` alone |
//! | CDEOI | `cdeoi`, `update_irq_fiq` |
//! | CDDI of an LPI or SPI | `cddi`, `deactivate`, `C` |
//! | CDDI of a PPI | `cddi`, `P` |
//! | an SPI wire | `spi`, `spi_state`, `C` |
//! | a PPI wire | `update_ppi_state`, `P` |
//! | write of `IRS_IST_BASER` that changes VALID | `ist_valid` or `ist_invalid`, `C` for every PE, **then** `write` |
//! | write of `IRS_SPI_CFGR` that changes TM | `C`, **then** `write` |
//! | write of `IRS_SPI_RESAMPLER` | `C`, `spi_state`, **then** `write` |
//! | read of `IRS_CR0`, IRSEN=1 | `C` for every PE, **then** `read` |
//! | read of `IRS_CR0`, IRSEN=0 | `update_irq_fiq` for every PE, **then** `read` |
//! | any other register access | `write` or `read` alone |
//! | write of a PPI enable, priority, active or pending register | `P` alone: the write itself is not traced |
//! | write of `ICC_CR0_EL1` or `ICC_PCR_EL1` | `update_irq_fiq` alone: likewise |
//!
//! So instruction and wire lines come before their effects and register lines after them: a reader of operations has
//! to look ahead until the register line. An instruction on an interrupt that cannot be reached (INS-11) has no
//! lines after its own. An SPI or PPI wire that keeps its level is not traced.
//!
//! ## A file for each thread
//!
//! With `tid` QEMU writes a file for the thread of each virtual CPU, and one for the main loop's, which makes the machine.
//! A virtual CPU's file holds what its PE does, wires that it moves included. Devices and timers move wires in the main loop, which
//! names no PE: a fifth of the lines of a Linux boot. A PE that never starts has no file. No two lines of different threads share
//! a time, but the clock is the host's and may be set back.
//!
//! ## What is not in a trace
//!
//! - **Writes to the CPU interface** other than instructions: enable, priority mask, PPI enables and priorities. Only
//!   their consequences are seen (the last two rows above). After reset the interface is off and its mask is 0, so in
//!   each recording the first answer with IRQ 1 proves that both were written. The recordings fit a mask of 31 and an
//!   interface that stays on; in the Linux one every PPI that is ever a candidate has priority 31.
//! - **Table memory.** The LPI table starts as zeroes in both recordings with LPIs (IST-24), and every configuration
//!   read in them agrees. A two-level table shows as `IRS_MAP_L2_ISTR` writes; level-2 tables whose VALID bit software set
//!   before the table became valid are not seen at all.
//! - **Why `update_irq_fiq` is written**: it is written at every re-evaluation, changed or not.
//! - **`SCTLR_EL1.NMI`**. NMI 1 in `update_irq_fiq` means superpriority, priority 0 (HPPI-8); CDIA takes such an
//!   interrupt only while the bit is 0 (INS-2), as it is in the random recording.
//! - **Barriers, and in a single file which PE**. On a machine with one PE every line is the one PE's. On several, `C` names
//!   it, and a CDIA of an LPI or SPI happens on the PE the interrupt is routed to.
//!
//! ## What the answers leave open
//!
//! Two candidates of the same priority may be offered in either order, by the IRS and between the IRS and a PPI
//! (HPPI-4). QEMU's IRS prefers an LPI to an SPI and among LPIs goes by the order of a hash table, so its choice
//! between two LPIs can change without any change to either; its CPU interface prefers the PPI.
//!
//! QEMU 11.1 re-evaluates on reading `IRS_CR0` and not on writing it. After a write, until something else causes a
//! re-evaluation, its CPU interfaces go on with the candidates they had.
//!
//! ## Strictness
//!
//! The number of an input must fit the field it stands for and nothing may follow the last field, but the reader does
//! not judge answers: a candidate of priority 254 is read, and whoever compares finds that it is wrong. (QEMU 11.1 does
//! write such things: a 4-byte read of `IRS_DEVARCH` shows 64 bits of data.) An answer that is a larger number than its
//! field can hold is read as the largest that it can, and the line says so ([`Line::excess`]). Every error names its
//! line. A last line without its newline is an error, because `prio 25` may once have been `prio 255`.
#![forbid(unsafe_code)]

mod error;
mod event;
mod form;
mod parse;
mod reader;
mod recording;
mod time;
mod zst;

pub use error::TraceError;
pub use event::{AccessSize, AcknowledgeFailure, Candidate, Event, Interrupt, NoCandidate, Space};
pub use parse::Excess;
pub use reader::{Foreign, Line, MAX_LINE, TraceReader, open};
pub use recording::{Recording, RecordingError};
pub use time::Time;
pub use zst::ZstdReader;
