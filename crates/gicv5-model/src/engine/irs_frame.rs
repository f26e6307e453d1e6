//! The IRS as software sees it through its frames.
//!
//! A write that takes time starts a command, which completes some ticks later; the status register that belongs to it
//! (GEN-16) reads IDLE=0 until then. Reading a status register lets time pass. The effect of a command takes place when it
//! completes, all at once.

use crate::parts::irs_registers::{fields, frame};

use gicv5_arch::IrsIntId;
use gicv5_arch::entry::L2_ISTE;
use gicv5_arch::irs::{
    IRS_CR0, IRS_CR1, IRS_IST_BASER, IRS_IST_CFGR, IRS_IST_STATUSR, IRS_PE_CR0, IRS_PE_SELR, IRS_PE_STATUSR,
    IRS_SAVE_VMR, IRS_SETLPIR, IRS_SPI_CFGR, IRS_SPI_RESAMPLER, IRS_SPI_SELR, IRS_SPI_STATUSR, IRS_SPI_VMR,
    IRS_SYNC_STATUSR, IRS_SYNCR, IRS_VMAP_L2_VISTR, IRS_VMAP_L2_VMTR, IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER,
    IRS_VMT_BASER, IRS_VMT_CFGR, IRS_VMT_STATUSR, IRS_VPE_SELR, IRS_VPE_STATUSR, IrsReg, SetLpiReg,
};
use gicv5_arch::register::Access;
use gicv5_arch::values::HandlingMode;
use gicv5_hal::{Frame, FrameKind, IrsIndex};

use crate::engine::state::MachineState;
use crate::words::config::{DpsWithoutOneOfN, EmptySelection, SetLpi, VmTableProgramming};
use crate::words::event::{Event, Space, Width};
use crate::words::ids::PeIndex;
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    pub(crate) fn read32(&mut self, pe: PeIndex, frame: Frame, offset: u16) -> u32 {
        self.accesses.read(frame, offset);
        let value = self.read_half(frame, offset) as u32;
        self.report.event(|| Event::FrameRead { pe, frame, offset, width: Width::W32, value: u64::from(value) });
        value
    }

    pub(crate) fn read64(&mut self, pe: PeIndex, frame: Frame, offset: u16) -> u64 {
        self.accesses.read(frame, offset);
        self.advance_to_now();
        // Only a 64-bit register takes an access of 64 bits.
        let value = match (frame.kind, IrsReg::at(offset)) {
            (FrameKind::Config, Some(register)) if register.width() == 64 => {
                self.read_register(usize::from(frame.irs.0), register)
            }
            _ => 0,
        };
        self.report.event(|| Event::FrameRead { pe, frame, offset, width: Width::W64, value });
        value
    }

    pub(crate) fn write32(&mut self, pe: PeIndex, frame: Frame, offset: u16, value: u32) {
        self.accesses.write(frame, offset);
        self.report.event(|| Event::FrameWrite { pe, frame, offset, width: Width::W32, value: u64::from(value) });
        self.advance_to_now();
        let irs = usize::from(frame.irs.0);
        if irs >= self.irses.len() {
            return;
        }
        match frame.kind {
            FrameKind::SetLpi => self.write_set_lpi(irs, offset, value),
            FrameKind::Config => match (IrsReg::at(offset), IrsReg::at(offset.wrapping_sub(4))) {
                (Some(register), _) if register.width() == 32 => self.write_register(irs, register, u64::from(value)),
                // The halves of a 64-bit register: the other half stays as it is (GEN-9).
                (Some(register), _) => {
                    let high = self.kept(irs, register) & 0xffff_ffff_0000_0000;
                    self.write_register(irs, register, high | u64::from(value));
                }
                (None, Some(register)) if register.width() == 64 => {
                    let low = match register {
                        // Writing back ones would clear them.
                        IrsReg::IRS_SWERR_STATUSR => 0,
                        _ => self.kept(irs, register) & 0xffff_ffff,
                    };
                    self.write_register(irs, register, low | u64::from(value) << 32);
                }
                _ => {}
            },
        }
    }

    pub(crate) fn write64(&mut self, pe: PeIndex, frame: Frame, offset: u16, value: u64) {
        self.accesses.write(frame, offset);
        self.report.event(|| Event::FrameWrite { pe, frame, offset, width: Width::W64, value });
        self.advance_to_now();
        let irs = usize::from(frame.irs.0);
        if irs < self.irses.len()
            && frame.kind == FrameKind::Config
            && let Some(register) = IrsReg::at(offset)
            && register.width() == 64
        {
            self.write_register(irs, register, value);
        }
    }

    fn read_half(&mut self, frame: Frame, offset: u16) -> u64 {
        self.advance_to_now();
        if frame.kind == FrameKind::SetLpi {
            return 0;
        }
        let irs = usize::from(frame.irs.0);
        match (IrsReg::at(offset), IrsReg::at(offset.wrapping_sub(4))) {
            (Some(register), _) => self.read_register(irs, register) & 0xffff_ffff,
            (None, Some(register)) if register.width() == 64 => self.read_register(irs, register) >> 32,
            // Reserved offsets read as zero (GEN-9).
            _ => 0,
        }
    }

    /// What a register keeps for a write of its other half: also one that cannot be read, but for the bits that make it act,
    /// which act when they are written and not again.
    pub(super) fn kept(&self, irs: usize, register: IrsReg) -> u64 {
        let acts = match register {
            IrsReg::IRS_SAVE_VMR => 3 << 62,
            _ => 1 << 63,
        };
        match register.access() {
            Access::WO => {
                let written = self.irses.get(irs).and_then(|state| state.written.get(&register));
                written.map_or(0, |value| value & !acts)
            }
            _ => self.stored(irs, register),
        }
    }

    /// A read of a register, with what follows from reading it.
    fn read_register(&mut self, irs: usize, register: IrsReg) -> u64 {
        // Waiting for a command is what lets time pass.
        let is_status = matches!(
            register,
            IrsReg::IRS_CR0
                | IrsReg::IRS_SYNC_STATUSR
                | IrsReg::IRS_SPI_STATUSR
                | IrsReg::IRS_PE_STATUSR
                | IrsReg::IRS_IST_STATUSR
                | IrsReg::IRS_VMT_STATUSR
                | IrsReg::IRS_VPE_STATUSR
                | IrsReg::IRS_SAVE_VM_STATUSR
        );
        if is_status {
            self.report.clock.poll();
            self.memory.moment(&mut self.report);
            self.advance_to_now();
        }
        self.stored(irs, register)
    }

    /// What a register holds.
    pub(crate) fn stored(&self, irs: usize, register: IrsReg) -> u64 {
        let (Some(config), Some(state)) = (self.config.irses.get(irs), self.irses.get(irs)) else { return 0 };
        match register {
            IrsReg::IRS_IDR0 => config.idr0.raw_value().into(),
            IrsReg::IRS_IDR1 => config.idr1.raw_value().into(),
            IrsReg::IRS_IDR2 => config.idr2.raw_value().into(),
            IrsReg::IRS_IDR3 => config.idr3.raw_value().into(),
            IrsReg::IRS_IDR4 => config.idr4.raw_value().into(),
            IrsReg::IRS_IDR5 => config.idr5.raw_value().into(),
            IrsReg::IRS_IDR6 => config.idr6.raw_value().into(),
            IrsReg::IRS_IDR7 => config.idr7.raw_value().into(),
            IrsReg::IRS_IIDR => config.iidr.raw_value().into(),
            IrsReg::IRS_AIDR => config.aidr.raw_value().into(),
            IrsReg::IRS_CR0 => state.cr0.with_idle(state.is_idle(IrsReg::IRS_CR0)).raw_value().into(),
            IrsReg::IRS_CR1 => state.cr1.raw_value().into(),
            IrsReg::IRS_SYNC_STATUSR => IRS_SYNC_STATUSR::ZERO.with_idle(state.is_idle(register)).raw_value().into(),
            IrsReg::IRS_SPI_SELR => state.spi_selr.raw_value().into(),
            IrsReg::IRS_SPI_CFGR => match state.spi.and_then(|spi| self.wires.get(spi.id() as usize)) {
                Some(wire) => IRS_SPI_CFGR::ZERO.with_tm(wire.trigger).raw_value().into(),
                _ => 0,
            },
            IrsReg::IRS_SPI_STATUSR => {
                let status = IRS_SPI_STATUSR::ZERO.with_idle(state.is_idle(register)).with_v(state.spi.is_some());
                status.raw_value().into()
            }
            IrsReg::IRS_PE_SELR => state.pe_selr.raw_value().into(),
            IrsReg::IRS_PE_STATUSR => IRS_PE_STATUSR::ZERO
                .with_idle(state.is_idle(register))
                .with_v(state.pe_valid)
                .with_online(state.pe_valid)
                .raw_value()
                .into(),
            IrsReg::IRS_PE_CR0 => {
                let one = self.config.switches.pe_dps == DpsWithoutOneOfN::One;
                IRS_PE_CR0::ZERO.with_dps(one && state.pe_valid).raw_value().into()
            }
            IrsReg::IRS_IST_BASER => self.ist.baser.raw_value(),
            IrsReg::IRS_IST_CFGR => self.ist.cfgr.raw_value().into(),
            IrsReg::IRS_IST_STATUSR => IRS_IST_STATUSR::ZERO.with_idle(self.is_idle(irs, register)).raw_value().into(),
            IrsReg::IRS_SWERR_STATUSR | IrsReg::IRS_SWERR_SYNDROMER0 | IrsReg::IRS_SWERR_SYNDROMER1
                if config.idr0.swe() =>
            {
                state.errors.read(register).unwrap_or(0)
            }
            IrsReg::IRS_DEVARCH => 0x4770_5a19,
            IrsReg::IRS_PIDR4 => 0x04,
            IrsReg::IRS_CIDR0 => 0x0d,
            IrsReg::IRS_CIDR1 => 0xf0,
            IrsReg::IRS_CIDR2 => 0x05,
            IrsReg::IRS_CIDR3 => 0xb1,
            _ if config.idr0.virt() => self.stored_virtual(irs, register).unwrap_or(0),
            // Write-only, without the feature, or zero.
            _ => 0,
        }
    }

    /// What a register of the virtual side holds; `None` for any other, and for those that are not there without 1-of-N.
    fn stored_virtual(&self, irs: usize, register: IrsReg) -> Option<u64> {
        let state = self.irses.get(irs)?;
        Some(match register {
            IrsReg::IRS_SPI_VMR => match state.spi.and_then(|spi| self.assigned(spi)) {
                Some(vm) => IRS_SPI_VMR::ZERO.with_virt(true).with_vm_id(vm).raw_value(),
                None => 0,
            },
            IrsReg::IRS_VMT_BASER => self.vmt_registers(irs).baser().raw_value(),
            IrsReg::IRS_VMT_CFGR => self.vmt_registers(irs).cfgr().raw_value().into(),
            IrsReg::IRS_VMT_STATUSR => IRS_VMT_STATUSR::ZERO.with_idle(self.is_idle(irs, register)).raw_value().into(),
            IrsReg::IRS_VPE_SELR => state.vpe_selr.raw_value(),
            IrsReg::IRS_VPE_DBR => state.vpe.map_or(0, |vpe| self.vpe_dbr(vpe).raw_value()),
            IrsReg::IRS_VPE_CR0 => state.vpe.map_or(0, |vpe| self.vpe_cr0(vpe).raw_value().into()),
            IrsReg::IRS_VPE_HPPIR => state.vpe.map_or(0, |vpe| self.vpe_hppir(vpe).raw_value()),
            IrsReg::IRS_VPE_STATUSR => {
                let status = IRS_VPE_STATUSR::ZERO.with_idle(self.is_idle(irs, register)).with_v(state.vpe.is_some());
                status.raw_value().into()
            }
            IrsReg::IRS_SAVE_VM_STATUSR => {
                self.save_status(state.saved, self.is_idle(irs, register)).raw_value().into()
            }
            _ => return None,
        })
    }

    /// Whether a status register shows that nothing is under way. The commands of the IST and of the VM table can be
    /// started at any IRS of the domain, and all show whether one is under way (GEN-13, GEN-14).
    pub(crate) fn is_idle(&self, irs: usize, status: IrsReg) -> bool {
        match status {
            IrsReg::IRS_VMT_STATUSR if self.config.switches.vm_table.programming == VmTableProgramming::EachIrs => {
                self.irses.get(irs).is_some_and(|irs| irs.is_idle(status))
            }
            IrsReg::IRS_IST_STATUSR | IrsReg::IRS_VMT_STATUSR => self.irses.iter().all(|irs| irs.is_idle(status)),
            _ => self.irses.get(irs).is_some_and(|irs| irs.is_idle(status)),
        }
    }

    fn write_register(&mut self, irs: usize, register: IrsReg, value: u64) {
        if !self.has_register(irs, register) {
            return;
        }
        if let Some(status) = register.status() {
            if !self.is_idle(irs, status.register) {
                let old = self.stored(irs, register);
                self.report.violate(rules::GEN_18, Place::Register(frame(irs), register.offset()), old, value, || {
                    format!("{register} is written while {} reads IDLE=0", status.register)
                });
                return;
            }
            if register.access() == Access::WO
                && let Some(state) = self.irses.get_mut(irs)
            {
                state.written.insert(register, value);
            }
            if self.starts_command(irs, register, value) {
                self.start_command(irs, register, value);
            }
            return;
        }
        let virt = self.config.irses.get(irs).is_some_and(|irs| irs.idr0.virt());
        let Some(state) = self.irses.get_mut(irs) else { return };
        match register {
            IrsReg::IRS_CR1 => {
                self.write_attributes(irs, IRS_CR1::new_with_raw_value(value as u32 & fields(register) as u32));
            }
            // Sampled when the IST becomes valid, ignored while it is (LPI-1).
            IrsReg::IRS_IST_CFGR if !self.ist.baser.valid() => {
                self.ist.cfgr = IRS_IST_CFGR::new_with_raw_value(value as u32 & fields(register) as u32);
            }
            IrsReg::IRS_VMT_CFGR if virt => {
                self.write_vmt_cfgr(irs, IRS_VMT_CFGR::new_with_raw_value(value as u32 & fields(register) as u32));
            }
            IrsReg::IRS_SPI_RESAMPLER => {
                let spi = IRS_SPI_RESAMPLER::new_with_raw_value(value as u32).spi_id();
                if self.config.irses.get(irs).is_some_and(|irs| irs.owns(spi)) {
                    self.resample(spi);
                }
            }
            // Cleared by writing one (ERR-6).
            IrsReg::IRS_SWERR_STATUSR => state.errors.clear(value, self.config.switches.errors.clearing),
            _ => {}
        }
    }

    /// True unless the register is one that this frame does not have, which ignores writes: only the most privileged frame
    /// has IRS_SPI_DOMAINR (SPI-6), and a register of the virtual side needs VIRT (GEN-7, SPI-12).
    fn has_register(&self, irs: usize, register: IrsReg) -> bool {
        let virt = self.config.irses.get(irs).is_some_and(|irs| irs.idr0.virt());
        match register {
            IrsReg::IRS_SPI_DOMAINR => false,
            IrsReg::IRS_SPI_VMR => virt,
            _ => true,
        }
    }

    /// What a write does at once, and whether there is a command to complete later.
    fn starts_command(&mut self, irs: usize, register: IrsReg, value: u64) -> bool {
        let virt = self.config.irses.get(irs).is_some_and(|irs| irs.idr0.virt());
        let Some(state) = self.irses.get_mut(irs) else { return false };
        match register {
            IrsReg::IRS_CR0 => {
                let irsen = IRS_CR0::new_with_raw_value(value as u32).irsen();
                state.cr0 = IRS_CR0::ZERO.with_irsen(irsen);
                true
            }
            IrsReg::IRS_SYNCR => IRS_SYNCR::new_with_raw_value(value as u32).sync(),
            IrsReg::IRS_SPI_SELR => {
                state.spi_selr = IRS_SPI_SELR::new_with_raw_value(value as u32 & fields(register) as u32);
                true
            }
            IrsReg::IRS_PE_SELR => {
                state.pe_selr = IRS_PE_SELR::new_with_raw_value(value as u32 & fields(register) as u32);
                true
            }
            IrsReg::IRS_SPI_CFGR | IrsReg::IRS_PE_CR0 | IrsReg::IRS_MAP_L2_ISTR => true,
            IrsReg::IRS_IST_BASER => {
                let new = IRS_IST_BASER::new_with_raw_value(value & fields(register));
                let old = self.ist.baser;
                match (old.valid(), new.valid()) {
                    // A write of 1 over 1 does nothing, and the address cannot change (LPI-1).
                    (true, true) => false,
                    // Not in the write that clears VALID either.
                    (true, false) => {
                        self.ist.baser = old.with_valid(false);
                        true
                    }
                    (false, valid) => {
                        self.ist.baser = new;
                        valid
                    }
                }
            }
            // Without VIRT these are not there (GEN-7, SPI-12).
            _ if !virt => false,
            IrsReg::IRS_SPI_VMR | IrsReg::IRS_VPE_DBR | IrsReg::IRS_VPE_CR0 => true,
            IrsReg::IRS_VMT_BASER => {
                self.write_vmt_baser(irs, IRS_VMT_BASER::new_with_raw_value(value & fields(register)))
            }
            // With M=0 nothing happens (VM-4).
            IrsReg::IRS_VMAP_L2_VMTR => IRS_VMAP_L2_VMTR::new_with_raw_value(value).m(),
            IrsReg::IRS_VMAP_VMR => IRS_VMAP_VMR::new_with_raw_value(value).m(),
            IrsReg::IRS_VMAP_VISTR => IRS_VMAP_VISTR::new_with_raw_value(value).m(),
            IrsReg::IRS_VMAP_L2_VISTR => IRS_VMAP_L2_VISTR::new_with_raw_value(value).m(),
            IrsReg::IRS_VMAP_VPER => IRS_VMAP_VPER::new_with_raw_value(value).m(),
            // With S=0 nothing is selected (VPE-14).
            IrsReg::IRS_VPE_SELR => {
                let selection = IRS_VPE_SELR::new_with_raw_value(value & fields(register));
                match selection.s() {
                    true => state.vpe_selr = selection.with_s(false),
                    false if self.config.switches.vpe.empty_selection == EmptySelection::Deselects => state.vpe = None,
                    false => {}
                }
                selection.s()
            }
            IrsReg::IRS_SAVE_VMR => {
                let command = IRS_SAVE_VMR::new_with_raw_value(value);
                command.s() || command.q()
            }
            // Only the most privileged frame has IRS_SPI_DOMAINR (SPI-6), and the rest needs 1-of-N (VPE-17).
            _ => false,
        }
    }

    fn write_set_lpi(&mut self, irs: usize, offset: u16, value: u32) {
        if SetLpiReg::at(offset) != Some(SetLpiReg::IRS_SETLPIR)
            || !self.config.irses.get(irs).is_some_and(|irs| irs.idr0.setlpi())
        {
            return;
        }
        let id = IrsIntId::Lpi(IRS_SETLPIR::new_with_raw_value(value).id());
        let keeps = self.config.switches.set_lpi == SetLpi::KeepsHandlingMode;
        let set = |entry: L2_ISTE| {
            if keeps { entry.with_pending(true) } else { entry.with_pending(true).with_hm(HandlingMode::Edge) }
        };
        if let IrsIntId::Lpi(lpi) = id {
            let place = Place::Register(Frame::set_lpi(IrsIndex(irs as u16)), offset);
            self.judge_doorbell_use(place, lpi, "a message makes a doorbell pending");
        }
        if let Err(why) = self.update(id, set) {
            self.unreachable(irs, Space::Physical, id, why);
        }
    }
}
