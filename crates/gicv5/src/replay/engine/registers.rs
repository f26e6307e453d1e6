//! Accesses to the registers of the IRS, and the tables that they make valid.

use gicv5_arch::entry::L1_ISTE;
use gicv5_arch::geometry::TableIndex;
use gicv5_arch::irs::{
    IRS_CR0, IRS_IST_BASER, IRS_IST_CFGR, IRS_MAP_L2_ISTR, IRS_SPI_CFGR, IRS_SPI_RESAMPLER, IRS_SPI_SELR, IrsReg,
};
use gicv5_arch::values::L2Size;
use gicv5_arch::{Addr55_12, Iaffid, IrsIntId, PhysAddr};
use gicv5_hal::{Block, BlockLayout, Irs, IrsExt, TableMemory};
use gicv5_model::Machine;
use gicv5_trace::{AccessSize, Candidate, Event, Line};

use super::machine::MEMORY;
use super::{Engine, FRAME, IRS, Stop};
use crate::replay::tally::{Check, Defect, Untold};

impl Engine {
    /// Lines that only an access to a register explains, which comes after them.
    pub(super) fn before_access(&mut self, line: Line) -> Result<(), Stop> {
        let most = 8 + 4 * self.cpus.len();
        let mut count = 1;
        let found = loop {
            let Some(next) = self.source.peek(count)? else {
                return Err(self.stop(line, "the trace ends where the register access that caused it must follow"));
            };
            match next.event {
                Event::IstValid { .. }
                | Event::IstInvalid { .. }
                | Event::IrsCandidate { .. }
                | Event::IrsNoCandidate { .. }
                | Event::Signals { .. }
                | Event::SpiState { .. }
                    if count < most =>
                {
                    count += 1;
                }
                _ => break next,
            }
        };
        let register = match found.event {
            Event::Write { offset, .. } | Event::Read { offset, .. } => register_at(offset),
            _ => None,
        };
        let explains = match (found.event, register) {
            (Event::Read { .. }, Some((IrsReg::IRS_CR0, _))) => true,
            (Event::Write { .. }, Some((register, _))) => {
                matches!(register, IrsReg::IRS_IST_BASER | IrsReg::IRS_SPI_CFGR | IrsReg::IRS_SPI_RESAMPLER)
            }
            _ => false,
        };
        if explains {
            return self.access(found);
        }
        self.take();
        self.misplaced(line, "neither what comes before it nor a register access after it causes it");
        Ok(())
    }

    /// An access to a register; what it causes comes before its line.
    pub(super) fn access(&mut self, access: Line) -> Result<(), Stop> {
        let value = match access.event {
            Event::Write { domain, offset, data, size } | Event::BadWrite { domain, offset, data, size } => {
                self.judge_domain(access, domain);
                self.write(offset, data, size)?;
                None
            }
            Event::Read { domain, offset, data, size } => {
                self.judge_domain(access, domain);
                if register_at(offset) == Some((IrsReg::IRS_CR0, 0)) {
                    self.before_read_of_cr0()?;
                }
                Some((offset, data, size))
            }
            Event::BadRead { domain, offset, size } => {
                self.judge_domain(access, domain);
                Some((offset, 0, size))
            }
            _ => None,
        };
        while let Some(line) = self.source.peek(0)?
            && line.number != access.number
        {
            self.take();
            self.misplaced(line, "the register access that follows does not cause it");
        }
        self.take();
        if let Some((offset, data, size)) = value {
            self.compare_read(access, offset, data, size);
        }
        Ok(())
    }

    fn read_register(&self, offset: u32, size: AccessSize) -> u64 {
        let Ok(offset) = u16::try_from(offset) else { return 0 };
        match size {
            AccessSize::Word => self.machine.read32(FRAME, offset).into(),
            AccessSize::Doubleword => self.machine.read64(FRAME, offset),
        }
    }

    fn compare_read(&mut self, line: Line, offset: u32, data: u64, size: AccessSize) {
        if (0xffd0..0xfff0).contains(&offset) {
            return self.tally.untold(Untold::Identification, line);
        }
        let register = register_at(offset);
        let check = if register.is_some() { Check::RegisterRead } else { Check::ReservedOffset };
        self.tally.check(check);
        let model = self.read_register(offset, size);
        if model == data {
            return;
        }
        let devarch = register == Some((IrsReg::IRS_DEVARCH, 0));
        if devarch && data as u32 == 0x8010_5a19 && model == 0x4770_5a19 {
            return self.tally.explain(Defect::Devarch, line);
        }
        let name = register.map_or("a reserved offset".to_owned(), |(register, _)| register.to_string());
        self.diverge(line, check, format!("{name} reads {model:#x}"));
    }

    /// Reading IRS_CR0 makes QEMU look at every PE again.
    fn before_read_of_cr0(&mut self) -> Result<(), Stop> {
        let enabled = self.irs_is_enabled();
        for pe in 0..self.cpus.len() {
            if enabled {
                self.expect_candidate(Iaffid::new(pe as u16))?;
            } else {
                if let Some(cpu) = self.cpus.get_mut(pe) {
                    cpu.offered = Candidate::NONE;
                    cpu.stale = false;
                }
                self.expect_signals(pe, None)?;
            }
        }
        Ok(())
    }

    pub(super) fn irs_is_enabled(&self) -> bool {
        self.machine.read::<IRS_CR0>(IRS).irsen()
    }

    fn write(&mut self, offset: u32, data: u64, size: AccessSize) -> Result<(), Stop> {
        let register = register_at(offset).map(|(register, _)| register);
        let write = |machine: &Machine| {
            let Ok(offset) = u16::try_from(offset) else { return };
            match size {
                AccessSize::Word => machine.write32(FRAME, offset, data as u32),
                AccessSize::Doubleword => machine.write64(FRAME, offset, data),
            }
        };
        match register {
            Some(IrsReg::IRS_CR0) => {
                let before = self.irs_is_enabled();
                write(&self.machine);
                if self.irs_is_enabled() != before {
                    self.cpus.iter_mut().for_each(|cpu| cpu.stale = true);
                }
            }
            Some(IrsReg::IRS_IST_BASER) => {
                let before = self.machine.read::<IRS_IST_BASER>(IRS).valid();
                write(&self.machine);
                let after = self.machine.read::<IRS_IST_BASER>(IRS).valid();
                if after != before {
                    self.expect_ist(after)?;
                    for pe in 0..self.cpus.len() {
                        self.expect_candidate(Iaffid::new(pe as u16))?;
                    }
                }
            }
            Some(IrsReg::IRS_SPI_CFGR) => {
                let before = self.machine.read::<IRS_SPI_CFGR>(IRS).tm();
                write(&self.machine);
                if self.machine.read::<IRS_SPI_CFGR>(IRS).tm() != before {
                    let spi = self.machine.read::<IRS_SPI_SELR>(IRS).id();
                    self.expect_candidate_of(IrsIntId::Spi(spi))?;
                }
            }
            Some(IrsReg::IRS_SPI_RESAMPLER) => {
                write(&self.machine);
                let spi = IRS_SPI_RESAMPLER::new_with_raw_value(data as u32).spi_id();
                if spi.id().checked_sub(self.spis.0).is_some_and(|n| n < self.spis.1) {
                    self.expect_candidate_of(IrsIntId::Spi(spi))?;
                    self.expect_spi_state(spi)?;
                }
            }
            Some(IrsReg::IRS_MAP_L2_ISTR) => {
                self.invent_level2(IRS_MAP_L2_ISTR::new_with_raw_value(data as u32));
                write(&self.machine);
            }
            _ => write(&self.machine),
        }
        Ok(())
    }

    /// A trace does not show memory: software has written a level-1 entry, and where it pointed does not matter.
    fn invent_level2(&mut self, command: IRS_MAP_L2_ISTR) {
        let Some((base, geometry)) = self.machine.ist() else { return };
        let (Ok(TableIndex::TwoLevel { level1, .. }), Some(level2)) =
            (geometry.index(command.id().id()), geometry.level2())
        else {
            return;
        };
        let Ok(entry) = base.offset(level1.offset) else { return };
        if self.invented.iter().any(|(known, _)| *known == entry) {
            return;
        }
        let Some(block) = PhysAddr::new(MEMORY - 1)
            .ok()
            .and_then(|highest| BlockLayout::new(level2.size(), level2.size().max(4096), highest).ok())
            .and_then(|layout| self.machine.allocate(layout).ok())
        else {
            return;
        };
        if let Ok(address) = Addr55_12::new(block.address()) {
            self.machine.physical_memory().store64(entry, L1_ISTE::ZERO.with_l2_addr(address).raw_value());
            self.machine.barrier();
        }
        self.invented.push((entry, block));
    }

    fn expect_ist(&mut self, valid: bool) -> Result<(), Stop> {
        let wanted = if valid { "gicv5_ist_valid" } else { "gicv5_ist_invalid" };
        let line = self.next(wanted)?;
        self.tally.check(Check::IstShape);
        match (line.event, valid) {
            (Event::IstInvalid { domain }, false) => {
                self.take();
                self.judge_domain(line, domain);
                for (entry, block) in std::mem::take(&mut self.invented) {
                    self.machine.physical_memory().store64(entry, 0);
                    self.machine.free(block);
                }
                self.machine.barrier();
            }
            (Event::IstValid { domain, base, id_bits, l2_index_bits, entry_size, structure }, true) => {
                self.take();
                self.judge_domain(line, domain);
                let address = self.machine.read::<IRS_IST_BASER>(IRS).addr().address().raw();
                let Some((_, geometry)) = self.machine.ist() else {
                    self.diverge(line, Check::IstShape, "no table was taken".to_owned());
                    return Ok(());
                };
                // QEMU says the size of level-2 tables even where there are none.
                let l2_size = self.machine.read::<IRS_IST_CFGR>(IRS).l2sz().unwrap_or(L2Size::KiB4);
                let l2_bytes = geometry.level2().map_or(l2_size.bytes(), |level2| level2.size());
                let entry = geometry.entry_size().bytes();
                let model =
                    (address, geometry.id_bits(), (l2_bytes / entry).trailing_zeros(), entry, geometry.structure());
                if model != (base, id_bits.into(), l2_index_bits.into(), entry_size.into(), structure) {
                    let (base, id_bits, l2_index_bits, entry_size, structure) = model;
                    let model = format!(
                        "base {base:#x} id_bits {id_bits} l2_idx_bits {l2_index_bits} IST entry size {entry_size} \
                         2-level {}",
                        structure.raw_value()
                    );
                    self.diverge(line, Check::IstShape, model);
                }
            }
            _ => self.diverge(line, Check::IstShape, format!("{wanted} comes here")),
        }
        Ok(())
    }
}

/// The register at an offset, and how far into it the offset is.
pub(super) fn register_at(offset: u32) -> Option<(IrsReg, u32)> {
    let offset = u16::try_from(offset).ok()?;
    IrsReg::at(offset).map(|register| (register, 0)).or_else(|| {
        let register = IrsReg::at(offset.checked_sub(4)?)?;
        (register.width() == 64).then_some((register, 4))
    })
}
