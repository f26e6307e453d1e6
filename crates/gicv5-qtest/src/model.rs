//! The model as a [`TestMachine`].
//!
//! The machine is configured by the ID registers that QEMU's reports, and acts as promptly as QEMU does: commands complete
//! at once, memory is seen at once. What the model reports as a violation is no concern here; sequences break rules on
//! purpose, and what hardware does then is what is compared.

use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::{IRS_IDR0, IRS_IDR2, IRS_IIDR, IrsReg};
use gicv5_arch::{IrsIntId, PhysAddr, Spi};
use gicv5_hal::{AllocError, BlockLayout, BlockLayoutError, Frame, Irs, IrsIndex, TableMemory};
use gicv5_model::PeIndex;
use gicv5_model::config::{ConfigError, Effects, MachineConfig};
use gicv5_model::config::{Eagerness, MemoryConfig};
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, MachineState};
use gicv5_trace::{Candidate, Event, NoCandidate};

use crate::layout::{FRAME_BYTES, RESET, SPIS, TABLES};
use crate::operation::{Answer, Operation, TestMachine, Verdict, Width, WireLevel, pieces};

/// Why the model could not be made or driven.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model refuses to be such a machine.
    #[error("the model refuses the ID registers of QEMU's machine")]
    Config(#[from] ConfigError),
    /// The tables do not fit.
    #[error("the model refuses the memory of QEMU's machine")]
    Layout(#[from] BlockLayoutError),
    /// The tables cannot be had.
    #[error("the model has no memory for the tables of sequences")]
    Memory(#[source] AllocError),
    /// An address or an SPI is none.
    #[error("{value:#x} is no {what}")]
    Number {
        /// What it should have been.
        what: &'static str,
        /// What it is.
        value: u64,
    },
}

/// The model, driven as QEMU is.
#[derive(Debug)]
pub struct Model {
    machine: Machine,
    tables: ModelBlock,
    /// The state to return to.
    start: MachineState,
}

/// QEMU's RAM, as far as it matters.
const RAM: u64 = 0x4000_0000;
const RAM_BYTES: u64 = 128 << 20;

fn address(raw: u64) -> Result<PhysAddr, ModelError> {
    PhysAddr::new(raw).map_err(|_| ModelError::Number { what: "physical address", value: raw })
}

impl Model {
    /// A machine like [`Settings`](crate::qemu::Settings) describe.
    pub fn new(pes: u16, irs_id: u16) -> Result<Self, ModelError> {
        let mut config = MachineConfig::new(pes, SPIS);
        for irs in &mut config.irses {
            irs.idr0 = IRS_IDR0::new_with_raw_value(listed(IrsReg::IRS_IDR0)).with_irsid(irs_id);
            irs.idr2 = IRS_IDR2::new_with_raw_value(listed(IrsReg::IRS_IDR2));
            irs.iidr = IRS_IIDR::new_with_raw_value(listed(IrsReg::IRS_IIDR));
        }
        config.switches.effects = Effects::Early;
        config.command_latency = 0;
        config.memory = MemoryConfig {
            base: address(RAM)?,
            size: RAM_BYTES,
            reserved: TABLES.start - RAM,
            eagerness: Eagerness::Early,
            ..config.memory
        };
        let machine = Machine::new(config)?;
        let size = TABLES.end - TABLES.start;
        let layout = BlockLayout::new(size, size, address(TABLES.end - 1)?)?;
        let tables = machine.allocate(layout).map_err(ModelError::Memory)?;
        let start = machine.save();
        Ok(Self { machine, tables, start })
    }

    /// Where in the tables an address is.
    fn offset(&self, raw: u64, width: Width) -> Result<u64, ModelError> {
        let inside = TABLES.contains(&raw) && raw.is_multiple_of(width.bytes()) && width >= Width::W32;
        if !inside {
            return Err(ModelError::Number { what: "aligned word of the tables of sequences", value: raw });
        }
        Ok(raw - TABLES.start)
    }

    fn read(&self, offset: u64, width: Width) -> u64 {
        pieces(offset, width).fold(0, |value, (at, piece)| {
            let read = match reaches(at, piece) {
                Some((frame, at)) if piece == Width::W64 => self.machine.read64(frame, at),
                Some((frame, at)) => self.machine.read32(frame, at).into(),
                None => 0,
            };
            value | read << ((at - offset) * 8)
        })
    }

    fn write(&self, offset: u64, width: Width, value: u64) {
        for (at, piece) in pieces(offset, width) {
            let value = piece.truncate(value >> ((at - offset) * 8));
            match reaches(at, piece) {
                Some((frame, at)) if piece == Width::W64 => self.machine.write64(frame, at, value),
                Some((frame, at)) => self.machine.write32(frame, at, value as u32),
                None => {}
            }
        }
    }
}

/// What QEMU's register reads after reset.
fn listed(wanted: IrsReg) -> u32 {
    RESET.iter().find(|(register, _)| *register == wanted).map_or(0, |&(_, value)| value)
}

/// The configuration frame and an aligned piece of it that reaches the IRS: 32 or 64 bits, inside the frame.
fn reaches(at: u64, piece: Width) -> Option<(Frame, u16)> {
    let offset = u16::try_from(at).ok().filter(|_| at < FRAME_BYTES && piece >= Width::W32)?;
    Some((Frame::config(IrsIndex(0)), offset))
}

impl TestMachine for Model {
    type Error = ModelError;

    fn reset(&mut self) -> Result<(), ModelError> {
        self.machine.restore(self.start.clone());
        Ok(())
    }

    fn perform(&mut self, operation: &Operation) -> Result<Answer, ModelError> {
        let mut value = None;
        match *operation {
            Operation::Read { offset, width } => value = Some(self.read(offset, width)),
            Operation::Write { offset, width, value } => self.write(offset, width, value),
            Operation::Load { address, width } => {
                let offset = self.offset(address, width)?;
                value = Some(match width {
                    Width::W64 => self.machine.load64(&self.tables, offset),
                    _ => self.machine.load32(&self.tables, offset).into(),
                });
            }
            Operation::Store { address, width, value } => {
                let offset = self.offset(address, width)?;
                match width {
                    Width::W64 => self.machine.store64(&self.tables, offset, value),
                    _ => self.machine.store32(&self.tables, offset, value as u32),
                }
                self.machine.barrier();
            }
            Operation::Line { spi, level } => {
                let spi = Spi::new(spi).map_err(|_| ModelError::Number { what: "SPI", value: spi.into() })?;
                self.machine.set_spi_wire(spi, level == WireLevel::High);
            }
        }
        Ok(Answer { value, events: Vec::new() })
    }

    fn confirm(&mut self, event: &Event) -> Result<Verdict, ModelError> {
        let pe = |iaffid: gicv5_arch::Iaffid| PeIndex(iaffid.raw_value());
        Ok(match *event {
            Event::SpiState { spi, pending, active, .. } => {
                let entry = self.machine.interrupt(IrsIntId::Spi(spi));
                let same = entry.is_some_and(|entry| (entry.pending(), entry.active()) == (pending, active));
                verdict(same, || match entry {
                    Some(entry) => format!("pending {} active {}", entry.pending(), entry.active()),
                    None => "there is no such SPI".to_owned(),
                })
            }
            Event::IrsCandidate { iaffid, candidate, .. } => {
                let offered = self.machine.candidate(pe(iaffid));
                let same = match (offered, candidate.interrupt()) {
                    (None, None) => candidate == Candidate::NONE,
                    // Which of several equally urgent ones is offered is not fixed (HPPI-4).
                    (Some((id, priority)), Some((theirs, urgency))) if gicv5_arch::IntId::from(id) != theirs => {
                        let follows = IrsIntId::try_from(theirs).is_ok_and(|theirs| self.machine.prefer(theirs));
                        follows && priority == urgency
                    }
                    (Some((_, priority)), Some((_, urgency))) => priority == urgency,
                    _ => false,
                };
                verdict(same, || format!("offers {offered:?}"))
            }
            Event::IrsNoCandidate { iaffid, reason: NoCandidate::IrsDisabled, .. } => {
                let offered = self.machine.candidate(pe(iaffid));
                verdict(offered.is_none(), || format!("offers {offered:?}"))
            }
            Event::IrsNoCandidate { iaffid, reason: NoCandidate::UnknownIaffid, .. } => {
                verdict(pe(iaffid).0 >= self.machine.pe_count(), || "there is such a PE".to_owned())
            }
            Event::IstValid { base, id_bits, l2_index_bits, entry_size, structure, .. } => {
                let ist = self.machine.ist();
                let same = ist.is_some_and(|(at, shape)| {
                    let entry = 4_u32 << shape.entry_size().raw_value().value();
                    // A linear table has no level 2, although QEMU names the size of one.
                    let index_bits = shape.l2_size().map(|_| ids_per_level2(shape).ilog2());
                    at.raw() == base
                        && shape.id_bits() == u32::from(id_bits)
                        && entry == u32::from(entry_size)
                        && shape.structure() == structure
                        && index_bits.is_none_or(|bits| bits == u32::from(l2_index_bits))
                });
                verdict(same, || format!("has {ist:?}"))
            }
            Event::IstInvalid { .. } => {
                let ist = self.machine.ist();
                verdict(ist.is_none(), || format!("has {ist:?}"))
            }
            _ => Verdict::NotComparable,
        })
    }
}

fn verdict(agrees: bool, here: impl FnOnce() -> String) -> Verdict {
    if agrees { Verdict::Agrees } else { Verdict::Differs(here()) }
}

/// How many IDs one level-2 table serves; 1 for a linear table.
fn ids_per_level2(shape: IstGeometry) -> u64 {
    let entry = 4_u64 << shape.entry_size().raw_value().value();
    shape.level2().map_or(1, |level2| level2.size() / entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Generator;
    use crate::known::{KNOWN, Side, check_reset};

    #[test]
    fn the_model_answers_every_known_defect_as_the_rule_says() {
        let mut model = Model::new(4, 0).unwrap();
        for known in KNOWN {
            if let Err(error) = known.check(&mut model, Side::Rule) {
                panic!("{error}");
            }
        }
    }

    #[test]
    fn the_model_reads_as_the_machine_it_imitates_after_reset() {
        let mut model = Model::new(4, 0).unwrap();
        let differs: Vec<u64> = check_reset(&mut model).unwrap().iter().map(|&(offset, ..)| offset).collect();
        // IRS_PE_STATUSR, IRS_DEVARCH, IRS_PIDR0 to 2.
        assert_eq!(differs, [0x144, 0xffbc, 0xffe0, 0xffe4, 0xffe8]);
    }

    #[test]
    fn a_sequence_gives_the_same_answers_again_after_a_reset() {
        let mut model = Model::new(4, 0).unwrap();
        for seed in 0..20 {
            let sequence = Generator::new(seed).sequence(40);
            let first = model.run(&sequence).unwrap();
            let _ = model.run(&Generator::new(!seed).sequence(40)).unwrap();
            assert_eq!(model.run(&sequence).unwrap(), first, "seed {seed}");
        }
    }
}
