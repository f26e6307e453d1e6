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

impl Event {
    /// The event's name in QEMU, the first word of its line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Realize { .. } => "gicv5_common_realize",
            Self::Read { .. } => "gicv5_read",
            Self::BadRead { .. } => "gicv5_badread",
            Self::Write { .. } => "gicv5_write",
            Self::BadWrite { .. } => "gicv5_badwrite",
            Self::IstValid { .. } => "gicv5_ist_valid",
            Self::IstInvalid { .. } => "gicv5_ist_invalid",
            Self::SpiWire { .. } => "gicv5_spi",
            Self::SpiState { .. } => "gicv5_spi_state",
            Self::SetPriority { .. } => "gicv5_set_priority",
            Self::SetEnabled { .. } => "gicv5_set_enabled",
            Self::SetPending { .. } => "gicv5_set_pending",
            Self::SetHandling { .. } => "gicv5_set_handling",
            Self::SetTarget { .. } => "gicv5_set_target",
            Self::RequestConfig { .. } => "gicv5_request_config",
            Self::Activate { .. } => "gicv5_activate",
            Self::Deactivate { .. } => "gicv5_deactivate",
            Self::IrsCandidate { .. } => "gicv5_irs_recalc_hppi",
            Self::IrsNoCandidate { .. } => "gicv5_irs_recalc_hppi_fail",
            Self::PpiCandidate { .. } => "gicv5_recalc_ppi_hppi",
            Self::Acknowledge { .. } => "gicv5_gicr_cdia",
            Self::AcknowledgeFail { .. } => "gicv5_gicr_cdia_fail",
            Self::PriorityDrop { .. } => "gicv5_cdeoi",
            Self::DeactivateRequest { .. } => "gicv5_cddi",
            Self::Signals { .. } => "gicv5_update_irq_fiq",
            Self::PpiWire { .. } => "gicv5_update_ppi_state",
        }
    }
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

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bit = u8::from;
        f.write_str(self.name())?;
        match *self {
            Self::Realize { irs_id, cpus, spi_base, spi_irs_range, spi_range } => write!(
                f,
                " GICv5 IRS realized: IRS ID {irs_id}, {cpus} CPUs, SPI base {spi_base}, \
                 SPI IRS range {spi_irs_range}, SPI range {spi_range}"
            ),
            Self::Read { domain, offset, data, size } => write!(
                f,
                " GICv5 IRS {} config frame read: offset 0x{offset:x} data 0x{data:x} size {}",
                domain_word(domain),
                size.bytes()
            ),
            Self::BadRead { domain, offset, size } => write!(
                f,
                " GICv5 IRS {} config frame read: offset 0x{offset:x} size {}: error",
                domain_word(domain),
                size.bytes()
            ),
            Self::Write { domain, offset, data, size } => write!(
                f,
                " GICv5 IRS {} config frame write: offset 0x{offset:x} data 0x{data:x} size {}",
                domain_word(domain),
                size.bytes()
            ),
            Self::BadWrite { domain, offset, data, size } => write!(
                f,
                " GICv5 IRS {} config frame write: offset 0x{offset:x} data 0x{data:x} size {}: error",
                domain_word(domain),
                size.bytes()
            ),
            Self::IstValid { domain, base, id_bits, l2_index_bits, entry_size, structure } => write!(
                f,
                " GICv5 IRS {} IST now valid: base 0x{base:x} id_bits {id_bits} l2_idx_bits {l2_index_bits} \
                 IST entry size {entry_size} 2-level {}",
                domain_word(domain),
                bit(structure == Structure::TwoLevel)
            ),
            Self::IstInvalid { domain } => {
                write!(f, " GICv5 IRS {} IST no longer valid", domain_word(domain))
            }
            Self::SpiWire { spi, high } => {
                write!(f, " GICv5 SPI ID {} asserted at level {}", spi.id(), bit(high))
            }
            Self::SpiState { spi, high, pending, active } => write!(
                f,
                " GICv5 IRS SPI ID {} now level {} pending {} active {}",
                spi.id(),
                bit(high),
                bit(pending),
                bit(active)
            ),
            Self::SetPriority { interrupt, priority } => {
                write!(f, " GICv5 IRS SetPriority {interrupt} prio {}", priority.number())
            }
            Self::SetEnabled { interrupt, enabled } => {
                write!(f, " GICv5 IRS SetEnabled {interrupt} enabled {}", bit(enabled))
            }
            Self::SetPending { interrupt, pending } => {
                write!(f, " GICv5 IRS SetPending {interrupt} pending {}", bit(pending))
            }
            Self::SetHandling { interrupt, mode } => {
                write!(f, " GICv5 IRS SetHandling {interrupt} handling {}", bit(mode == HandlingMode::Level))
            }
            Self::SetTarget { interrupt, iaffid, routing } => write!(
                f,
                " GICv5 IRS SetTarget {interrupt} IAFFID {} routingmode {}",
                iaffid.raw_value(),
                bit(routing == RoutingMode::OneOfN)
            ),
            Self::RequestConfig { interrupt, icsr } => {
                write!(f, " GICv5 IRS RequestConfig {interrupt} ICSR 0x{icsr:x}")
            }
            Self::Activate { interrupt } => write!(f, " GICv5 IRS Activate {interrupt}"),
            Self::Deactivate { interrupt } => write!(f, " GICv5 IRS Deactivate {interrupt}"),
            Self::IrsCandidate { domain, iaffid, candidate } => write!(
                f,
                " GICv5 IRS {} IAFFID {}: new HPPI ID 0x{:x} prio {}",
                domain_word(domain),
                iaffid.raw_value(),
                candidate.intid,
                candidate.priority
            ),
            Self::IrsNoCandidate { domain, iaffid, reason } => {
                write!(
                    f,
                    " GICv5 IRS {} IAFFID {}: no HPPI: {}",
                    domain_word(domain),
                    iaffid.raw_value(),
                    reason.words()
                )
            }
            Self::PpiCandidate { domain, candidate } => write!(
                f,
                " domain {} new PPI HPPI id 0x{:x} prio {}",
                domain.raw_value(),
                candidate.intid,
                candidate.priority
            ),
            Self::Acknowledge { domain, intid } => {
                write!(f, " domain {} CDIA acknowledge of interrupt 0x{intid:x}", domain.raw_value())
            }
            Self::AcknowledgeFail { domain, reason } => {
                write!(f, " domain {} CDIA attempt failed: {}", domain.raw_value(), reason.words())
            }
            Self::PriorityDrop { domain } => {
                write!(f, " domain {} CDEOI performing priority drop", domain.raw_value())
            }
            Self::DeactivateRequest { domain, intid } => {
                write!(f, " domain {} CDDI deactivating interrupt ID 0x{intid:x}", domain.raw_value())
            }
            Self::Signals { irq, fiq, nmi } => {
                write!(f, " now IRQ {} FIQ {} NMI {}", bit(irq), bit(fiq), bit(nmi))
            }
            Self::PpiWire { ppi, high } => {
                write!(f, " PPI {} source level now {}", ppi.id(), bit(high))
            }
        }
    }
}
