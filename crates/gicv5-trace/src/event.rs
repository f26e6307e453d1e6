//! What one line of a trace says.

use std::fmt;

use gicv5_arch::values::{Domain, HandlingMode, RoutingMode, Structure};
use gicv5_arch::{Iaffid, IntId, IntType, IrsIntId, Lpi, Ppi, Priority, Spi};

/// The word that IRS lines use for a domain.
pub(crate) const fn domain_word(domain: Domain) -> &'static str {
    match domain {
        Domain::Secure => "Secure",
        Domain::NonSecure => "NonSecure",
        Domain::El3 => "EL3",
        Domain::Realm => "Realm",
    }
}

/// The word that IRS lines use for an interrupt type; `None` is a reserved one.
pub(crate) const fn type_word(int_type: Option<IntType>) -> &'static str {
    match int_type {
        Some(IntType::Ppi) => "PPI",
        Some(IntType::Lpi) => "LPI",
        Some(IntType::Spi) => "SPI",
        None => "RESERVED",
    }
}

/// Whether a line is about a physical interrupt or one of a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// `virtual:0`: all that QEMU 11.1 has.
    Physical,
    /// `virtual:1`.
    Virtual,
}

/// The interrupt that an instruction names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interrupt {
    /// The domain the instruction acted in.
    pub domain: Domain,
    /// The type; `None` stands for the reserved ones, which the IRS ignores (GEN-1).
    pub int_type: Option<IntType>,
    /// Physical or virtual.
    pub space: Space,
    /// The ID, 24 bits: without the type.
    pub id: u32,
}

impl Interrupt {
    /// The interrupt, if it is one that the IRS keeps: the instructions of the IRS mean nothing for others (INS-8).
    #[must_use]
    pub fn irs_int_id(&self) -> Option<IrsIntId> {
        match self.int_type? {
            IntType::Ppi => None,
            IntType::Lpi => Lpi::new(self.id).ok().map(Into::into),
            IntType::Spi => Spi::new(self.id).ok().map(Into::into),
        }
    }
}

/// Width of a register access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessSize {
    /// 4 bytes.
    Word,
    /// 8 bytes.
    Doubleword,
}

impl AccessSize {
    /// The width in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Word => 4,
            Self::Doubleword => 8,
        }
    }
}

/// The interrupt a source offers to a PE, as the trace spells it.
///
/// The reader does not judge it: a pair that no hardware could produce is for whoever compares answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The INTID with its type in bits 31:29; 0 with [`Candidate::NO_PRIORITY`].
    pub intid: u32,
    /// 0 (most urgent) to 31, or [`Candidate::NO_PRIORITY`].
    pub priority: u8,
}

impl Candidate {
    /// The priority that stands for "nothing to offer" (PRI-1).
    pub const NO_PRIORITY: u8 = 255;
    /// Nothing to offer.
    pub const NONE: Self = Self { intid: 0, priority: Self::NO_PRIORITY };

    /// The interrupt and its priority; `None` for [`NONE`](Self::NONE) and for what no hardware could offer.
    #[must_use]
    pub fn interrupt(self) -> Option<(IntId, Priority)> {
        let priority = Priority::new(self.priority.into()).ok()?;
        Some((IntId::from_raw(self.intid).ok()?, priority))
    }
}

/// Why an IRS had no candidate to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoCandidate {
    /// The affinity names no PE (RTE-4).
    UnknownIaffid,
    /// `IRS_CR0.IRSEN` is 0 (GEN-21).
    IrsDisabled,
}

impl NoCandidate {
    pub(crate) const ALL: [Self; 2] = [Self::UnknownIaffid, Self::IrsDisabled];

    /// The reason as the trace spells it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::UnknownIaffid => "IAFFID doesn't match any CPU",
            Self::IrsDisabled => "IRS_CR0.IRSEN is zero",
        }
    }
}

/// Why an acknowledge returned nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AcknowledgeFailure {
    /// No interrupt of sufficient priority (INS-1).
    NothingAvailable,
    /// CDNMIA, but the interrupt is not an NMI (INS-2).
    NotAnNmi,
    /// CDIA, but the interrupt is an NMI (INS-2).
    IsAnNmi,
}

impl AcknowledgeFailure {
    pub(crate) const ALL: [Self; 3] = [Self::NothingAvailable, Self::NotAnNmi, Self::IsAnNmi];

    /// The reason as the trace spells it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NothingAvailable => "no available interrupt to acknowledge",
            Self::NotAnNmi => "CDNMIA but HPPI is not NMI",
            Self::IsAnNmi => "CDIA but HPPI is NMI",
        }
    }
}

/// One trace event.
///
/// The crate documentation says what each means, which are inputs and which answers, and in which order they come.
/// [`Display`](fmt::Display) writes the line the event was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// `gicv5_common_realize`: the machine.
    Realize {
        /// `IRS_IDR0.IRSID`.
        irs_id: u16,
        /// Number of PEs of the IRS.
        cpus: u32,
        /// First SPI ID of this IRS.
        spi_base: u32,
        /// Number of SPIs of this IRS.
        spi_irs_range: u32,
        /// Number of SPIs of the system.
        spi_range: u32,
    },
    /// `gicv5_read`: a read of an IRS register and what it returned.
    Read {
        /// Whose configuration frame.
        domain: Domain,
        /// Offset in the 64 KiB frame.
        offset: u32,
        /// The value returned.
        data: u64,
        /// Width.
        size: AccessSize,
    },
    /// `gicv5_badread`: a read that QEMU has no register for; it returned 0 (GEN-9).
    BadRead {
        /// Whose configuration frame.
        domain: Domain,
        /// Offset in the 64 KiB frame.
        offset: u32,
        /// Width.
        size: AccessSize,
    },
    /// `gicv5_write`: a write to an IRS register.
    Write {
        /// Whose configuration frame.
        domain: Domain,
        /// Offset in the 64 KiB frame.
        offset: u32,
        /// The value written.
        data: u64,
        /// Width.
        size: AccessSize,
    },
    /// `gicv5_badwrite`: a write that QEMU has no register for; it had no effect (GEN-9).
    BadWrite {
        /// Whose configuration frame.
        domain: Domain,
        /// Offset in the 64 KiB frame.
        offset: u32,
        /// The value written.
        data: u64,
        /// Width.
        size: AccessSize,
    },
    /// `gicv5_ist_valid`: `IRS_IST_BASER.VALID` went from 0 to 1 and this is the table the IRS adopted.
    IstValid {
        /// Whose table.
        domain: Domain,
        /// Physical address.
        base: u64,
        /// LPI ID bits after clamping (IST-28).
        id_bits: u8,
        /// How many ID bits index a level-2 table of the configured size; given for a linear table too.
        l2_index_bits: u8,
        /// Bytes per entry: 4, 8 or 16.
        entry_size: u8,
        /// `IRS_IST_CFGR.STRUCTURE`.
        structure: Structure,
    },
    /// `gicv5_ist_invalid`: `IRS_IST_BASER.VALID` went from 1 to 0.
    IstInvalid {
        /// Whose table.
        domain: Domain,
    },
    /// `gicv5_spi`: the wire of an SPI changed. Only changes are traced.
    SpiWire {
        /// Which SPI.
        spi: Spi,
        /// The new level of the wire.
        high: bool,
    },
    /// `gicv5_spi_state`: the SPI after its wire was sampled.
    SpiState {
        /// Which SPI.
        spi: Spi,
        /// The wire.
        high: bool,
        /// Pending.
        pending: bool,
        /// Active.
        active: bool,
    },
    /// `gicv5_set_priority`: CDPRI.
    SetPriority {
        /// Which interrupt.
        interrupt: Interrupt,
        /// The priority written, before PRI-2 drops bits.
        priority: Priority,
    },
    /// `gicv5_set_enabled`: CDEN or CDDIS.
    SetEnabled {
        /// Which interrupt.
        interrupt: Interrupt,
        /// CDEN when true.
        enabled: bool,
    },
    /// `gicv5_set_pending`: CDPEND.
    SetPending {
        /// Which interrupt.
        interrupt: Interrupt,
        /// Set when true, clear when false.
        pending: bool,
    },
    /// `gicv5_set_handling`: CDHM.
    SetHandling {
        /// Which interrupt.
        interrupt: Interrupt,
        /// The new mode.
        mode: HandlingMode,
    },
    /// `gicv5_set_target`: CDAFF.
    SetTarget {
        /// Which interrupt.
        interrupt: Interrupt,
        /// The new affinity.
        iaffid: Iaffid,
        /// The new routing mode.
        routing: RoutingMode,
    },
    /// `gicv5_request_config`: CDRCFG and the `ICC_ICSR_EL1` value it produced (INS-13).
    RequestConfig {
        /// Which interrupt.
        interrupt: Interrupt,
        /// The answer.
        icsr: u64,
    },
    /// `gicv5_activate`: the IRS side of an acknowledge.
    Activate {
        /// Which interrupt.
        interrupt: Interrupt,
    },
    /// `gicv5_deactivate`: the IRS side of a CDDI.
    Deactivate {
        /// Which interrupt.
        interrupt: Interrupt,
    },
    /// `gicv5_irs_recalc_hppi`: the candidate the IRS now offers to a PE.
    IrsCandidate {
        /// In which domain.
        domain: Domain,
        /// To which PE.
        iaffid: Iaffid,
        /// What.
        candidate: Candidate,
    },
    /// `gicv5_irs_recalc_hppi_fail`: the IRS offered nothing new, and why.
    IrsNoCandidate {
        /// In which domain.
        domain: Domain,
        /// To which PE.
        iaffid: Iaffid,
        /// Why.
        reason: NoCandidate,
    },
    /// `gicv5_recalc_ppi_hppi`: the best PPI of one CPU interface in one domain.
    PpiCandidate {
        /// In which domain.
        domain: Domain,
        /// What.
        candidate: Candidate,
    },
    /// `gicv5_gicr_cdia`: an acknowledge and the interrupt it returned.
    Acknowledge {
        /// In which domain.
        domain: Domain,
        /// INTID with its type, without the VALID bit.
        intid: u32,
    },
    /// `gicv5_gicr_cdia_fail`: an acknowledge that returned nothing, and why.
    AcknowledgeFail {
        /// In which domain.
        domain: Domain,
        /// Why.
        reason: AcknowledgeFailure,
    },
    /// `gicv5_cdeoi`: CDEOI.
    PriorityDrop {
        /// In which domain.
        domain: Domain,
    },
    /// `gicv5_cddi`: CDDI.
    DeactivateRequest {
        /// In which domain.
        domain: Domain,
        /// The low 32 bits of the operand: INTID with its type.
        intid: u32,
    },
    /// `gicv5_update_irq_fiq`: what one CPU interface now signals to its PE.
    Signals {
        /// IRQ without superpriority.
        irq: bool,
        /// FIQ.
        fiq: bool,
        /// IRQ with superpriority.
        nmi: bool,
    },
    /// `gicv5_update_ppi_state`: the wire of a PPI of one PE changed. Only changes are traced.
    PpiWire {
        /// Which PPI, 0 to 63.
        ppi: Ppi,
        /// The new level of the wire.
        high: bool,
    },
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} virtual:{} ID {}",
            domain_word(self.domain),
            type_word(self.int_type),
            u8::from(self.space == Space::Virtual),
            self.id
        )
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} prio {}", self.intid, self.priority)
    }
}
