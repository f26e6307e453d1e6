//! How each event is written: one table, from which lines are read and written.

use std::fmt;

use arbitrary_int::u2;
use gicv5_arch::values::{Domain, HandlingMode, RoutingMode, Structure};
use gicv5_arch::{Iaffid, Ppi, Priority, Spi};

use crate::event::{AcknowledgeFailure, Event, NoCandidate, domain_word};
use crate::parse::{Cursor, Excess, Fault, MAX_ID};

/// For each event its name without `gicv5_`, then pieces of text, each with the field that follows it: how it is read, and
/// what of it is written.
macro_rules! forms {
    ($c:ident: $($name:literal $event:ident {
        $($text:literal $(, $field:ident = $read:expr => $write:expr)?;)*
    })*) => {
        impl Event {
            /// The event's name in QEMU, the first word of its line.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$event { .. } => concat!("gicv5_", $name),)*
                }
            }

            /// Reads a line from the event's name on.
            #[inline]
            pub(crate) fn read($c: &mut Cursor<'_>) -> Result<Event, Fault> {
                $(if $c.name($name) {
                    $($c.text($text)?;
                    $(let $field = $read;)?)*
                    return Ok(Self::$event { $($($field,)?)* });
                })*
                Err($c.unknown())
            }
        }

        impl fmt::Display for Event {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())?;
                match *self {
                    $(Self::$event { $($($field,)?)* } => {
                        $(f.write_str($text)?;
                        $(write!(f, "{}", $write)?;)?)*
                    })*
                }
                Ok(())
            }
        }
    };
}

// The most frequent ones first.
forms! { c:
    "update_irq_fiq" Signals {
        " now IRQ ", irq = c.bit_answer(Excess::Output)? => u8::from(irq);
        " FIQ ", fiq = c.bit_answer(Excess::Output)? => u8::from(fiq);
        " NMI ", nmi = c.bit_answer(Excess::Output)? => u8::from(nmi);
    }
    "irs_recalc_hppi" IrsCandidate {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " IAFFID ", iaffid = answered_iaffid(c)? => iaffid.raw_value();
        ": new HPPI ID ", candidate = c.candidate()? => candidate;
    }
    "recalc_ppi_hppi" PpiCandidate {
        " domain ", domain = answered_domain(c)? => domain.raw_value();
        " new PPI HPPI id ", candidate = c.candidate()? => candidate;
    }
    "set_pending" SetPending {
        " GICv5 IRS SetPending ", interrupt = c.interrupt()? => interrupt;
        " pending ", pending = c.bit("pending")? => u8::from(pending);
    }
    "update_ppi_state" PpiWire {
        " PPI ", ppi = c.newtype("PPI", 63, Ppi::new)? => ppi.id();
        " source level now ", high = c.bit("level")? => u8::from(high);
    }
    "gicr_cdia" Acknowledge {
        " domain ", domain = c.domain_number()? => domain.raw_value();
        " CDIA acknowledge of interrupt ", intid = c.hex_answer(Excess::Intid)? as u32 => format_args!("{intid:#x}");
    }
    "cdeoi" PriorityDrop {
        " domain ", domain = c.domain_number()? => domain.raw_value();
        " CDEOI performing priority drop";
    }
    "cddi" DeactivateRequest {
        " domain ", domain = c.domain_number()? => domain.raw_value();
        " CDDI deactivating interrupt ID ", intid = c.hex32("interrupt ID")? => format_args!("{intid:#x}");
    }
    "activate" Activate {
        " GICv5 IRS Activate ", interrupt = c.repeated_interrupt()? => interrupt;
    }
    "deactivate" Deactivate {
        " GICv5 IRS Deactivate ", interrupt = c.repeated_interrupt()? => interrupt;
    }
    "set_enabled" SetEnabled {
        " GICv5 IRS SetEnabled ", interrupt = c.interrupt()? => interrupt;
        " enabled ", enabled = c.bit("enabled")? => u8::from(enabled);
    }
    "set_priority" SetPriority {
        " GICv5 IRS SetPriority ", interrupt = c.interrupt()? => interrupt;
        " prio ", priority = c.newtype("prio", 31, Priority::new)? => priority.number();
    }
    "set_handling" SetHandling {
        " GICv5 IRS SetHandling ", interrupt = c.interrupt()? => interrupt;
        " handling ", mode = if c.bit("handling")? { HandlingMode::Level } else { HandlingMode::Edge }
            => u8::from(mode == HandlingMode::Level);
    }
    "set_target" SetTarget {
        " GICv5 IRS SetTarget ", interrupt = c.interrupt()? => interrupt;
        " IAFFID ", iaffid = Iaffid::new(c.u16("IAFFID")?) => iaffid.raw_value();
        " routingmode ", routing = if c.bit("routingmode")? { RoutingMode::OneOfN } else { RoutingMode::Targeted }
            => u8::from(routing == RoutingMode::OneOfN);
    }
    "request_config" RequestConfig {
        " GICv5 IRS RequestConfig ", interrupt = c.interrupt()? => interrupt;
        " ICSR ", icsr = c.hex_answer(Excess::Register)? => format_args!("{icsr:#x}");
    }
    "gicr_cdia_fail" AcknowledgeFail {
        " domain ", domain = c.domain_number()? => domain.raw_value();
        " CDIA attempt failed: ", reason = c.one_of("a reason", AcknowledgeFailure::ALL.map(|r| (r.words(), r)))?
            => reason.words();
    }
    "irs_recalc_hppi_fail" IrsNoCandidate {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " IAFFID ", iaffid = answered_iaffid(c)? => iaffid.raw_value();
        ": no HPPI: ", reason = c.one_of("a reason", NoCandidate::ALL.map(|r| (r.words(), r)))? => reason.words();
    }
    "spi" SpiWire {
        " GICv5 SPI ID ", spi = c.newtype("SPI ID", MAX_ID, Spi::new)? => spi.id();
        " asserted at level ", high = c.bit("level")? => u8::from(high);
    }
    "spi_state" SpiState {
        " GICv5 IRS SPI ID ", spi = answered_spi(c)? => spi.id();
        " now level ", high = c.bit_answer(Excess::SpiState)? => u8::from(high);
        " pending ", pending = c.bit_answer(Excess::SpiState)? => u8::from(pending);
        " active ", active = c.bit_answer(Excess::SpiState)? => u8::from(active);
    }
    "read" Read {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " config frame read: offset ", offset = c.offset()? => format_args!("{offset:#x}");
        // Not judged: QEMU 11.1 prints IRS_DEVARCH sign-extended to 64 bits.
        " data ", data = c.hex_answer(Excess::Register)? => format_args!("{data:#x}");
        " size ", size = c.size()? => size.bytes();
    }
    "write" Write {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " config frame write: offset ", offset = c.offset()? => format_args!("{offset:#x}");
        " data ", data = c.hex("data", u64::MAX)? => format_args!("{data:#x}");
        " size ", size = c.size_of(data)? => size.bytes();
    }
    "badread" BadRead {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " config frame read: offset ", offset = c.offset()? => format_args!("{offset:#x}");
        " size ", size = c.size()? => size.bytes();
        ": error";
    }
    "badwrite" BadWrite {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " config frame write: offset ", offset = c.offset()? => format_args!("{offset:#x}");
        " data ", data = c.hex("data", u64::MAX)? => format_args!("{data:#x}");
        " size ", size = c.size_of(data)? => size.bytes();
        ": error";
    }
    "ist_valid" IstValid {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " IST now valid: base ", base = c.hex_answer(Excess::Register)? => format_args!("{base:#x}");
        " id_bits ", id_bits = c.answer(Excess::TableShape)? as u8 => id_bits;
        " l2_idx_bits ", l2_index_bits = c.answer(Excess::TableShape)? as u8 => l2_index_bits;
        " IST entry size ", entry_size = c.answer(Excess::TableShape)? as u8 => entry_size;
        " 2-level ", structure = if c.bit_answer(Excess::Structure)? { Structure::TwoLevel } else { Structure::Linear }
            => u8::from(structure == Structure::TwoLevel);
    }
    "ist_invalid" IstInvalid {
        " GICv5 IRS ", domain = c.domain_word()? => domain_word(domain);
        " IST no longer valid";
    }
    "common_realize" Realize {
        " GICv5 IRS realized: IRS ID ", irs_id = c.u16("IRS ID")? => irs_id;
        ", ", cpus = c.u32("CPUs", 0xffff)? => cpus;
        " CPUs, SPI base ", spi_base = c.u32("SPI base", MAX_ID)? => spi_base;
        ", SPI IRS range ", spi_irs_range = c.u32("SPI IRS range", MAX_ID + 1)? => spi_irs_range;
        ", SPI range ", spi_range = c.u32("SPI range", MAX_ID + 1)? => spi_range;
    }
}

fn answered_domain(c: &mut Cursor<'_>) -> Result<Domain, Fault> {
    Ok(Domain::new_with_raw_value(u2::extract_u64(c.answer(Excess::Domain)?, 0)))
}

fn answered_iaffid(c: &mut Cursor<'_>) -> Result<Iaffid, Fault> {
    Ok(Iaffid::new(c.answer(Excess::Iaffid)? as u16))
}

fn answered_spi(c: &mut Cursor<'_>) -> Result<Spi, Fault> {
    let (column, id) = (c.column(), c.answer(Excess::Id)?);
    Spi::new(id as u32).map_err(|_| Fault::OutOfRange { column, field: "SPI ID", max: MAX_ID })
}
