//! The physical IST: adopted, given up, and its level-2 tables made valid (LPI-1, LPI-2).

use crate::parts::irs_registers::IstRegisters;
use crate::parts::irs_registers::frame;

use gicv5_arch::IrsIntType;
use gicv5_arch::irs::{IRS_MAP_L2_ISTR, IrsReg};
use gicv5_hal::IrsIndex;

use crate::engine::state::MachineState;
use crate::parts::interrupts::Backing;
use crate::parts::irs_side::WritingBack;
use crate::parts::ist::Ist;
use crate::parts::ist::{AskedIst, IstOwners};
use crate::words::event::{Outcome, Space};
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    pub(crate) fn adopt_ist(&mut self, irs: usize) {
        let has_lpis = self.config.irses.get(irs).is_some_and(|irs| irs.idr2.lpi());
        // An IST whose VALID was cleared without an effect is still there.
        if !has_lpis || matches!(self.interrupts.backing(IrsIntType::Lpi), Backing::Ist(_)) {
            return;
        }
        let IstRegisters { baser, cfgr } = self.ist;
        let asked = AskedIst {
            id_bits: cfgr.lpi_id_bits().into(),
            istsz: cfgr.istsz().ok(),
            structure: cfgr.structure(),
            l2sz: cfgr.l2sz().ok(),
            raw: cfgr.raw_value().into(),
        };
        let place = |register: IrsReg| Place::Register(frame(irs), register.offset());
        let geometry = self.supported_ist(irs, Space::Physical, IrsIntType::Lpi, asked, place(IrsReg::IRS_IST_CFGR));
        let Some(geometry) = geometry else { return };
        // Hardware takes the bits below the alignment as zero (IST-12, IST-13).
        let (address, alignment) = (baser.addr().address(), geometry.base().alignment());
        let Some(base) = self.aligned(address, alignment, rules::IST_12, place(IrsReg::IRS_IST_BASER)) else { return };
        let ist = Ist { irs: IrsIndex(irs as u16), base, geometry };
        self.own_ist(ist, IstOwners::PHYSICAL);
        self.interrupts.adopt(IrsIntType::Lpi, ist);
    }

    /// Clearing VALID writes everything back, recalls every LPI and gives the memory back (LPI-1, IST-5, IST-7).
    pub(crate) fn withdraw_ist(&mut self) {
        let Backing::Ist(ist) = self.interrupts.backing(IrsIntType::Lpi) else { return };
        let mut memory = WritingBack { memory: &mut self.memory, report: &mut self.report };
        self.interrupts.write_back(IrsIntType::Lpi, &mut memory);
        for target in self.interrupts.withdraw(IrsIntType::Lpi) {
            self.offer(target);
        }
        self.disown_ist(ist);
    }

    /// Makes the level-1 entry valid that covers an LPI (LPI-2).
    pub(crate) fn map_level2(&mut self, irs: usize, command: IRS_MAP_L2_ISTR) -> Outcome {
        let Backing::Ist(ist) = self.interrupts.backing(IrsIntType::Lpi) else {
            return Outcome::Ignored;
        };
        self.publish_level2_ist(irs, Space::Physical, command.id().into(), ist, IstOwners::PHYSICAL)
    }
}
