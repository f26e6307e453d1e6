//! What a guest sees of its GICv5: the two frames of its IRS, its SPIs and its LPI table.
//!
//! A guest's driver reaches PPIs, and the enable, priority and state of every interrupt, by instructions that the hardware
//! executes in the virtual domain. What remains is memory-mapped: the driver looks for an IRS, reads what it can do, chooses the
//! trigger mode of each SPI and hands over an LPI table. Those accesses trap, and this crate answers them. A whole boot of Linux
//! makes 53 (GDRV-1).
//!
//! The crate is `no_std` and has no `unsafe` code. It knows the architecture ([`gicv5_arch`]) and one trait, [`Backend`]: the
//! hypervisor that has the VM's interrupts in hardware. Decoding of the trap, firmware tables, scheduling and memory stay with
//! the embedder.
//!
//! # Example
//!
//! A frame over a backend that only prints, a guest's driver, and a device:
//!
//! ```
//! use std::convert::Infallible;
//! use std::pin::pin;
//! use std::task::{Context, Poll, Waker};
//!
//! use gicv5_arch::values::{PaRange, PriBits, TriggerMode};
//! use gicv5_arch::{IrsIntId, Spi, VpeId};
//! use gicv5_guest::{Backend, Delivery, Effect, IrsFrame, Limits, Offer, TableOperation, Width};
//!
//! struct Printer;
//!
//! impl Backend for Printer {
//!     // A real one takes a token for the PE that it executes VDPEND on.
//!     type Pe<'a> = ();
//!     type Error = Infallible;
//!
//!     fn limits(&self) -> Limits {
//!         Limits { id_bits: 16, min_lpi_id_bits: 10, vpe_id_bits: 8, priority_bits: PriBits::Five }
//!     }
//!     fn has_vcpu(&self, id: VpeId) -> bool {
//!         id.raw_value() < 2
//!     }
//!     fn set_irs_enabled(&self, enabled: bool) -> Result<(), Infallible> {
//!         Ok(println!("IRS enabled: {enabled}"))
//!     }
//!     fn set_spi_mode(&self, _: &(), spi: Spi, mode: TriggerMode) -> Result<(), Infallible> {
//!         Ok(println!("{spi} is {mode:?}"))
//!     }
//!     fn set_pending(&self, _: &(), interrupt: IrsIntId, pending: bool) -> Result<(), Infallible> {
//!         Ok(println!("{interrupt} pending: {pending}"))
//!     }
//!     async fn lpi_table(&self, operation: TableOperation) -> Result<(), Infallible> {
//!         Ok(println!("{operation:?}"))
//!     }
//! }
//!
//! let offer = Offer::new(&Printer.limits(), 2, 64, PaRange::Bits40);
//! let frame = IrsFrame::new(Printer, offer)?;
//!
//! // The vCPU's trap handler. Each write says what it leaves to do.
//! let trapped_write = |offset, value| match frame.write(&(), offset, Width::Bits32, value) {
//!     Effect::Done => {}
//!     // Make every vCPU that runs load again, then say so.
//!     Effect::Reload => frame.reloaded(),
//!     // Here at once; a worker does as well, and the vCPU runs on meanwhile.
//!     Effect::Table => {
//!         if let Some(job) = frame.table_job() {
//!             let mut running = pin!(job.run());
//!             while running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
//!         }
//!     }
//!     other => panic!("worth a message to the owner of the VM: {other:?}"),
//! };
//!
//! // A driver switches the IRS on, makes an LPI table of 12 ID bits, and makes SPI 5 a level.
//! trapped_write(0x080, 1);
//! trapped_write(0x190, 12);
//! trapped_write(0x180, 0x8000_0000 | 1);
//! assert_eq!(frame.read(0x180, Width::Bits64), 0x8000_0001);
//! trapped_write(0x108, 5);
//! trapped_write(0x114, 1);
//! assert_eq!(frame.read(0x118, Width::Bits32), 0b11);
//!
//! // A device raises its line, from any thread.
//! assert_eq!(frame.set_line(&(), Spi::new(5)?, true)?, Delivery::Settled);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Theory of operation
//!
//! **The frame** is one table, [`REGISTERS`]: a line says where a register is, what a read returns and what a write does.
//! Everything else reads as zero and ignores writes. Reads and writes are total: the guest cannot make an access that fails,
//! and what the caller has to do about a write is its result, an [`Effect`].
//!
//! **An SPI** is one atomic byte with its trigger mode, its line, and what the hardware has not been told yet. Whoever changes the
//! byte tells the hardware, unless another call is at it, which then tells this too. So the hardware hears about one
//! SPI from one call at a time, in the order of the changes, and the last it heard is what the byte says. For an
//! edge SPI that is Pending set at each rise; for a level one Pending is the line (INJ-2). A change of mode tells the mode first
//! and then looks at the line (GIRS-50).
//!
//! **The LPI table** is one atomic word with both registers and the state. The guest's write checks the configuration against
//! what was offered and starts an operation; a [`TableJob`] carries it out, in the trap or on a worker, and the guest reads
//! IDLE=0 until it ends. The guest's memory is never touched: the table is the hypervisor's own (VIRS-13).
//!
//! # From where each method may be called
//!
//! | method | from | waits | allocates | at most |
//! |---|---|---|---|---|
//! | [`IrsFrame::new`] | anywhere | no | a byte for each SPI | |
//! | [`IrsFrame::read`] | anywhere | no | no | 6 comparisons to find the register, 1 call of the backend |
//! | [`IrsFrame::write`] | a vCPU's trap | no | no | 12 calls of the backend, 32 attempts at an atomic word |
//! | [`IrsFrame::set_line`], [`IrsFrame::settle`] | anywhere with a [`Backend::Pe`], interrupt handlers included | no | no | the same |
//! | [`IrsFrame::settle_all`] | a thread | no | no | the same for each SPI |
//! | [`IrsFrame::table_job`], [`IrsFrame::reloaded`] | anywhere | no | no | a few instructions |
//! | [`TableJob::run`] | the vCPU's thread or a worker | as the backend's future does | what the backend allocates | one operation of the backend |
//! | [`IrsFrame::reset`] | a thread, the VM stopped | no | no | a step for each SPI |
//!
//! No method takes a lock. 12 is [`IrsFrame::MAX_BACKEND_CALLS`]. A call that reaches a bound because others change the same
//! word says so ([`Effect::Again`], [`Delivery::Again`]) and is made again.
//!
//! # What a guest controls
//!
//! Code at EL1 is hostile, in what it writes and in when it writes it; so it may write from all its vCPUs at once. The embedder
//! and its backend are trusted.
//!
//! | the guest chooses | so it could | the answer |
//! |---|---|---|
//! | offset and width of an access | reach a register by part, or the host's error path | a look-up in [`REGISTERS`]; what is not in it reads zero (GIRS-2, GIRS-3) |
//! | the selected SPI, or the one to resample | index beyond the host's array, also by speculation | compared with the number of SPIs and masked to the array (GIRS-73) |
//! | the selected vCPU | ask the backend for a vCPU that does not exist | [`Backend::has_vcpu`] gets all 16 bits and masks what it indexes |
//! | the ID written to SETLPIR | pend another VM's LPI, or one beyond its table | bounded by the table that it has now (GIRS-72) |
//! | size and shape of its LPI table | make the host allocate without bound, or overflow | checked against the offer before any arithmetic; refused with [`Effect::Refused`] (GIRS-56); [`Offer::lpi_id_bits`] bounds the memory (GIRS-76) |
//! | the address of its LPI table | make the host read or write there | stored, never used (GIRS-58) |
//! | the time of a second write while a table is made | run two operations on one table | ignored until IDLE (GIRS-61); one job at a time |
//! | VALID toggled in a loop | hold up the IRS commands of other VMs | one job of this VM at a time, on a worker whose pace is the host's (GIRS-75) |
//! | IRSEN toggled in a loop | force all vCPUs out again and again | an edge only, and none before [`IrsFrame::reloaded`] (GIRS-74) |
//! | a mode changed while a device moves the line | lose an interrupt, or chase the device's call for ever | one atomic byte; [`Delivery::Again`] after 4 rounds (GIRS-39) |
//! | registers written from two vCPUs at once | corrupt the host's records | atomic words; the guest gets one of its values or the other (GIRS-9) |
//!
//! Nothing is shared between two frames. What one guest does changes neither what another reads nor how many steps its calls
//! take. What remains to the embedder: to charge traps and jobs to the VM, and to bound the rate at which it serves them.
//!
//! # Where the rules leave a choice
//!
//! SPI_DOMAINR reads Non-secure and PE_CR0.DPS reads 1 for a vCPU that exists, as KVM does and QEMU does not. Selectors reset to all
//! ones. An invalid IST_CFGR is stored and its table refused; QEMU clamps it. CR1 is always stored. A mode change looks
//! at the line, as hardware does (SPI-3); KVM waits for the next edge. RESAMPLER repeats the level of a level SPI and
//! leaves an edge SPI alone; QEMU pends the latter if its line is high. IRS_AIDR is 0, GICv5.0.
//!
//! # Not supported yet
//!
//! - **Level lines that stay high.** Whether an SPI is taken again after the guest's deactivation follows from the handling mode that
//!   [`Backend::set_spi_mode`] gives it; hardware that turns it to edge at each VDPEND loses such a line (GIRS-80). The policies
//!   for that, and a notice of the end of an interrupt, are missing: until then a VMM that resamples has to lower and raise the line.
//! - **An implementation of [`Backend`] by `gicv5-hyp`**, which lacks the handling mode of an SPI, level-2 tables on demand and a
//!   reset of the whole VM.
//! - **Entries that a guest prepares in its table's memory** before VALID=1 are not seen, and VALID=0 loses the configuration
//!   (GIRS-62, GIRS-63). No known guest relies on either.
//! - Traps of the CPU interface, visible PPIs, vCPU reset; assigned SPIs (IRS_SPI_VMR); save and restore; ITS and wire bridge.
//! - IRS_SYNC_STATUSR is always idle: a line that another thread is changing meanwhile is concurrent with the guest's
//!   synchronisation (GIRS-33). With an ITS it has to wait.
//!
//! # What nobody outside Arm can verify
//!
//! Reset values of the frame, whether an acknowledge after VDPEND handles a virtual SPI by its handling mode, and how a SETLPI write
//! orders with others. `docs/rules.md` lists the open questions.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
#[macro_use]
extern crate std;

mod backend;
mod frame;
mod lpi;
mod offer;
mod register;
mod spi;
mod sync;

pub use backend::{Backend, Limits, TableOperation};
pub use frame::{Effect, IrsFrame, LineError, ResetBusy};
pub use lpi::TableJob;
pub use offer::{MAX_SPIS, Offer, OfferError};
pub use register::{GuestRegister, REGISTERS, Reads, Stored, Width, Writes};
pub use spi::Delivery;
