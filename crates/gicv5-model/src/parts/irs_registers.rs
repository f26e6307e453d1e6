//! The registers of an IRS and its commands under way.

use std::collections::BTreeMap;

use gicv5_arch::irs::{IRS_CR0, IRS_CR1, IRS_IST_BASER, IRS_IST_CFGR, IRS_PE_SELR, IRS_SPI_SELR, IRS_VPE_SELR, IrsReg};
use gicv5_arch::layout::fields_mask;
use gicv5_arch::{PhysAddr, Spi, VmId};
use gicv5_hal::{Frame, IrsIndex};

use crate::parts::irs_side::IrsSide;
use crate::parts::software_errors::ErrorRecord;
use crate::parts::vm_table::VmtRegisters;
use crate::words::clock::Tick;
use crate::words::fault::Fault;
use crate::words::ids::PeIndex;
use crate::words::owner::InMemory;

/// A command that has not completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InFlight {
    /// The PE that wrote it.
    pub(crate) pe: Option<PeIndex>,
    /// The register that was written.
    pub(crate) register: IrsReg,
    /// What was written.
    pub(crate) value: u64,
    /// When it completes.
    pub(crate) due: Tick,
    /// When it would, but for a fault that makes it never complete.
    pub(crate) without_fault: Tick,
    /// What goes wrong with it.
    pub(crate) fault: Option<Fault>,
    /// The entry of a table that it names, as the IRS has read it, if it reads it at the start.
    pub(crate) entry: Option<EntryRead>,
}

/// An entry of a table, of at most four words, as an IRS has read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntryRead {
    /// Where it is.
    pub(crate) address: PhysAddr,
    words: [Option<u64>; 4],
}

impl EntryRead {
    /// Reads an entry.
    pub(crate) fn of(side: &IrsSide<'_>, InMemory { address, size, .. }: InMemory) -> EntryRead {
        let word = |n: u64| side.load64(address.offset(n * 8).ok().filter(|_| n * 8 < size)?);
        EntryRead { address, words: [0, 1, 2, 3].map(word) }
    }

    /// The IRS acts on what it has read, whatever is there now.
    pub(crate) fn put_back(self, side: &mut IrsSide<'_>) {
        for (word, n) in self.words.into_iter().zip(0..) {
            if let (Some(word), Ok(address)) = (word, self.address.offset(n * 8))
                && side.load64(address) != Some(word)
            {
                side.store64(address, word);
            }
        }
    }
}

/// An IRS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IrsState {
    /// Whether it forwards: IRSEN, as it has taken effect.
    pub(crate) enabled: bool,
    /// IRSEN as last written.
    pub(crate) cr0: IRS_CR0,
    /// IRS_CR1 as last written.
    pub(crate) cr1: IRS_CR1,
    /// IRS_CR1 as it counts: as last written while no table was valid (GEN-20).
    pub(crate) attributes: IRS_CR1,
    pub(crate) spi_selr: IRS_SPI_SELR,
    /// The SPI that is selected, if the last selection that took effect was of one that this IRS manages.
    pub(crate) spi: Option<Spi>,
    pub(crate) pe_selr: IRS_PE_SELR,
    pub(crate) pe_valid: bool,
    pub(crate) errors: ErrorRecord,
    pub(crate) vmt: VmtRegisters,
    pub(crate) vpe_selr: IRS_VPE_SELR,
    /// The VPE that is selected, if the last selection that took effect was of a valid one.
    pub(crate) vpe: Option<IRS_VPE_SELR>,
    /// The VM that was last asked about with IRS_SAVE_VMR, and the answer then.
    pub(crate) saved: Option<(VmId, bool)>,
    pub(crate) in_flight: Vec<InFlight>,
    pub(crate) commands: u64,
    /// What was last written to registers that cannot be read, for a write of their other half.
    pub(crate) written: BTreeMap<IrsReg, u64>,
}

impl IrsState {
    pub(crate) fn new() -> IrsState {
        IrsState {
            enabled: false,
            cr0: IRS_CR0::ZERO,
            cr1: IRS_CR1::ZERO,
            attributes: IRS_CR1::ZERO,
            spi_selr: IRS_SPI_SELR::ZERO,
            spi: None,
            pe_selr: IRS_PE_SELR::ZERO,
            pe_valid: false,
            errors: ErrorRecord::default(),
            vmt: VmtRegisters::default(),
            vpe_selr: IRS_VPE_SELR::ZERO,
            vpe: None,
            saved: None,
            in_flight: Vec::new(),
            commands: 0,
            written: BTreeMap::new(),
        }
    }

    /// Whether it is in the same state, however many commands there have been.
    pub(crate) fn is_same_state(&self, other: &IrsState) -> bool {
        *self == IrsState { commands: self.commands, ..other.clone() }
    }

    /// How many commands have been started.
    pub(crate) fn commands(&self) -> u64 {
        self.commands
    }

    pub(crate) fn is_idle(&self, status: IrsReg) -> bool {
        !self.in_flight.iter().any(|command| command.register.status().is_some_and(|s| s.register == status))
    }
}

/// The registers of the physical IST, which all IRSs of the domain share (GEN-13): whichever of them software writes, all
/// show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct IstRegisters {
    pub(crate) baser: IRS_IST_BASER,
    pub(crate) cfgr: IRS_IST_CFGR,
}

/// A frame and the IRS it belongs to.
pub(crate) fn frame(irs: usize) -> Frame {
    Frame::config(IrsIndex(irs as u16))
}

/// The bits of a register that belong to a field: the others do not keep what is written.
pub(crate) const fn fields(register: IrsReg) -> u64 {
    fields_mask(register.info().fields)
}
