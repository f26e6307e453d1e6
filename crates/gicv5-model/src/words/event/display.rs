//! Every event as one line for people, in the terms of the specification.
//!
//! What stands in a register, an operand or a result is told in hexadecimal and then field by field, without the fields that
//! are 0. An interrupt named by two fields TYPE and ID is told as such.

use core::fmt;

use gicv5_arch::insn::{Form, GicInsn};
use gicv5_arch::irs::{IrsReg, SetLpiReg};
use gicv5_arch::layout::FieldInfo;
use gicv5_arch::{IntId, Priority};
use gicv5_hal::{Frame, FrameKind, IrsIndex};

use super::{Barrier, Change, Event, Maintenance, Outcome, Signal, Space, Width};
use crate::words::cpu::Level;
use crate::words::fault::{Request, Selected};
use crate::words::ids::RegisterName;

/// The fields of a value, of which only the bits in `seen` are known. With a space before them if there is one to tell.
struct Fields {
    fields: &'static [FieldInfo],
    value: u64,
    seen: u64,
}

impl Fields {
    const fn whole(fields: &'static [FieldInfo], value: u64) -> Fields {
        Fields { fields, value, seen: u64::MAX }
    }

    /// Those of a register of an IRS, of which half may have been accessed.
    fn accessed(frame: Frame, offset: u16, width: Width, value: u64) -> Fields {
        let upper = offset.wrapping_sub(4);
        let at = |offset| match frame.kind {
            FrameKind::Config => IrsReg::at(offset).map(|register| (register.info().fields, register.width())),
            FrameKind::SetLpi => SetLpiReg::at(offset).map(|register| (register.info().fields, register.width())),
        };
        match (at(offset), at(upper), width) {
            (Some((fields, _)), _, Width::W64) => Fields::whole(fields, value),
            (Some((fields, _)), _, Width::W32) => Fields { fields, value, seen: u64::from(u32::MAX) },
            (None, Some((fields, 64)), Width::W32) => Fields { fields, value: value << 32, seen: !u64::from(u32::MAX) },
            _ => Fields::whole(&[], value),
        }
    }

    /// The value of a field that is wholly known.
    fn get(&self, field: &FieldInfo) -> u64 {
        if field.mask() & !self.seen == 0 { (field.get)(self.value) } else { 0 }
    }

    fn named(&self, name: &str) -> Option<&'static FieldInfo> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The interrupt that the fields TYPE and ID name, if they do.
    fn interrupt(&self) -> Option<(&'static str, u64)> {
        let (int_type, id) = (self.named("TYPE")?, self.named("ID")?);
        let value = self.get(int_type);
        let kind = int_type.values.iter().find(|known| known.value == value)?;
        Some((kind.meaning, self.get(id)))
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interrupt = self.interrupt();
        if let Some((kind, id)) = interrupt {
            write!(f, " {kind} {id}")?;
        }
        let in_words = |name| interrupt.is_some() && matches!(name, "TYPE" | "ID");
        for field in self.fields.iter().filter(|field| !in_words(field.name)) {
            match self.get(field) {
                0 => {}
                value if field.name.ends_with("ADDR") => write!(f, " {}={:#x}", field.name, value << field.lsb)?,
                value if field.element_width < field.width() => write!(f, " {}={value:#x}", field.name)?,
                value => write!(f, " {}={value}", field.name)?,
            }
        }
        Ok(())
    }
}

/// An interrupt and whose it is.
struct Of(Space, IntId);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Of(Space::Physical, interrupt) => write!(f, "{interrupt}"),
            Of(Space::Vm(vm), interrupt) => write!(f, "{interrupt} of {vm}"),
        }
    }
}

/// What is offered.
struct Offer(Option<(IntId, Priority)>);

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((interrupt, priority)) => write!(f, "is now {interrupt} with {priority}"),
            None => f.write_str("is recalled"),
        }
    }
}

impl fmt::Display for Change {
    /// A clause that follows the name of the interrupt: `becomes pending`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Pending(true) => f.write_str("becomes pending"),
            Change::Pending(false) => f.write_str("is not pending any more"),
            Change::Active(true) => f.write_str("becomes active"),
            Change::Active(false) => f.write_str("is not active any more"),
            Change::Enabled(true) => f.write_str("is enabled"),
            Change::Enabled(false) => f.write_str("is disabled"),
            Change::Priority(priority) => write!(f, "gets {priority}"),
            Change::Mode(mode) => write!(f, "gets handling mode {}", mode.meaning()),
            Change::Target(iaffid, mode) => write!(f, "is routed to {iaffid}, {}", mode.meaning()),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Irq => "IRQ",
            Signal::Nmi => "NMI",
            Signal::Fiq => "FIQ",
            Signal::VirtualIrq => "vIRQ",
            Signal::VirtualNmi => "vNMI",
        })
    }
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Barrier::Isb => "ISB",
            Barrier::Dsb => "DSB",
        })
    }
}

impl fmt::Display for Outcome {
    /// A clause that follows the name of the command: `is done`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Done => "is done",
            Outcome::Ignored => "completes and is ignored, as a rule says",
            Outcome::Lost => "completes and is ignored, as the fault plan says",
        })
    }
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Maintenance::Clean => "clean",
            Maintenance::CleanInvalidate => "clean and invalidate",
            Maintenance::Invalidate => "invalidate",
        })
    }
}

/// An instruction with what it takes or gives.
struct Executed(GicInsn, u64, u64);

impl fmt::Display for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Executed(insn, xt, result) = *self;
        let info = insn.info();
        match info.form {
            Form::NoOperand => write!(f, "{insn}"),
            Form::Operand => write!(f, "{insn} {xt:#x}{}", Fields::whole(info.fields, xt)),
            Form::Result => write!(f, "{insn}, which returns {result:#x}{}", Fields::whole(info.fields, result)),
        }
    }
}

/// A command without the times: `IRS_VMAP_VMR VM 3 valid`.
const fn command(irs: IrsIndex, register: IrsReg, value: u64) -> Request {
    Request::Command { irs, register, value, selected: Selected::Nothing }
}

impl fmt::Display for Event {
    /// One line, without the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::FrameRead { pe, frame, offset, width, value } => {
                let fields = Fields::accessed(*frame, *offset, *width, *value);
                write!(f, "{} of {}, from {pe}, reads {value:#x}{fields}", RegisterName(*frame, *offset), frame.irs)
            }
            Event::FrameWrite { pe, frame, offset, width, value } => {
                let fields = Fields::accessed(*frame, *offset, *width, *value);
                write!(
                    f,
                    "{} of {}, from {pe}, is written {value:#x}{fields}",
                    RegisterName(*frame, *offset),
                    frame.irs
                )
            }
            Event::SysRegRead { pe, register, value } => {
                write!(f, "{register} of {pe} reads {value:#x}{}", Fields::whole(register.info().fields, *value))
            }
            Event::SysRegWrite { pe, register, value } => {
                write!(f, "{register} of {pe} is written {value:#x}{}", Fields::whole(register.info().fields, *value))
            }
            Event::Instruction { pe, insn, xt, result } => {
                write!(f, "{pe} executes {}", Executed(*insn, *xt, *result))
            }
            Event::Barrier { pe, barrier } => write!(f, "{pe} executes {barrier}"),
            Event::Interrupt { space, pe: None, interrupt, change } => write!(f, "{} {change}", Of(*space, *interrupt)),
            Event::Interrupt { space, pe: Some(pe), interrupt, change } => {
                write!(f, "{} of {pe} {change}", Of(*space, *interrupt))
            }
            Event::VirtualPpi { pe, ppi, change } => write!(f, "virtual {ppi} of {pe} {change}"),
            Event::SpiWire { irs, spi, high } => write!(f, "the wire of {spi} of {irs} goes {}", level(*high)),
            Event::PpiWire { pe, ppi, high } => write!(f, "the wire of {ppi} of {pe} goes {}", level(*high)),
            Event::Candidate { domain, space: Space::Physical, target, candidate } => {
                write!(f, "the {} candidate for {target} {}", domain.meaning(), Offer(*candidate))
            }
            Event::Candidate { space: Space::Vm(vm), target, candidate, .. } => {
                write!(f, "the candidate for {vm} {} {}", gicv5_arch::VpeId::from(*target), Offer(*candidate))
            }
            Event::Signal { pe, signal, asserted: true } => write!(f, "{signal} of {pe} is asserted"),
            Event::Signal { pe, signal, asserted: false } => write!(f, "{signal} of {pe} is deasserted"),
            Event::CommandStarted { irs, register, value, due } => {
                write!(f, "{} starts, due at {due}", command(*irs, *register, *value))
            }
            Event::CommandDone { irs, register, value, outcome } => {
                write!(f, "{} {outcome}", command(*irs, *register, *value))
            }
            Event::Level { pe, level: Level::Guest } => write!(f, "{pe} enters its guest"),
            Event::Level { pe, level: Level::Kernel } => write!(f, "{pe} enters the kernel of its host"),
            Event::Level { pe, level: Level::Host } => write!(f, "{pe} returns to the host"),
            Event::ResidencyFailed { pe, vm, vpe } => {
                write!(f, "{vm} {vpe} cannot become resident on {pe}, which has no resident VPE now")
            }
            Event::Forwarded { pe, vm, vpe, candidate } => {
                write!(f, "the candidate forwarded to {pe} for {vm} {vpe} {}", Offer(*candidate))
            }
            Event::VirtualAcknowledge { pe, vm, vpe, interrupt, priority } => {
                write!(f, "{vm} {vpe} on {pe} acknowledges {interrupt}, {priority}")
            }
            Event::VirtualDrop { pe, vm, vpe, priority: Some(priority) } => {
                write!(f, "{vm} {vpe} on {pe} drops {priority}")
            }
            Event::VirtualDrop { pe, vm, vpe, priority: None } => {
                write!(f, "{vm} {vpe} on {pe} drops its running priority where none is active")
            }
            Event::VirtualDeactivate { pe, vm, vpe, interrupt } => {
                write!(f, "{interrupt} of {vm} is deactivated on {pe}, where {vpe} is resident")
            }
            Event::Residency { pe, vm, vpe, resident: true } => write!(f, "{vm} {vpe} becomes resident on {pe}"),
            Event::Residency { pe, vm, vpe, resident: false } => write!(f, "{vm} {vpe} leaves {pe}"),
            Event::Doorbell { vm, vpe, lpi } => write!(f, "the doorbell of {vm} {vpe} rings as {lpi}"),
            Event::SoftwareError { irs, code, address: None } => write!(f, "{irs} records software error {code:#04x}"),
            Event::SoftwareError { irs, code, address: Some(address) } => {
                write!(f, "{irs} records software error {code:#04x} at {address}")
            }
            Event::Stored { address, width, value } => {
                write!(f, "software stores {value:#x}, {} bytes, at {address}", width.bytes())
            }
            Event::MemoryBarrier => f.write_str("software executes a barrier for memory"),
            Event::Maintenance { op, address, size } => {
                write!(f, "software asks to {op} {size:#x} bytes at {address}")
            }
            Event::LineWritten { address, asked: true } => {
                write!(f, "a cache writes the line at {address} to memory, as it was asked to")
            }
            Event::LineWritten { address, asked: false } => {
                write!(f, "a cache writes the line at {address} to memory of its own accord")
            }
            Event::Owned { address, size, owner } => {
                write!(f, "the IRS owns {size:#x} bytes at {address}, as part of {owner}")
            }
            Event::Fillable { address, size, owner } => {
                write!(f, "software may fill {size:#x} bytes at {address}, invalid entries of {owner}")
            }
            Event::Disowned { address, size } => write!(f, "software has {size:#x} bytes at {address} back"),
            Event::WriteBack { address, value } => {
                write!(f, "the IRS writes the IST entry at {address} back as {value:#x}")?;
                write!(f, "{}", Fields::whole(gicv5_arch::entry::L2_ISTE::FIELDS, u64::from(*value)))
            }
            Event::Allocated { block, address, size } => {
                write!(f, "{block} is allocated, {size:#x} bytes at {address}")
            }
            Event::AllocationFailed { size, alignment } => {
                write!(f, "there is no table memory for {size:#x} bytes aligned to {alignment:#x}")
            }
            Event::Freed { block, address, size } => write!(f, "{block} is freed, {size:#x} bytes at {address}"),
            Event::Fault { point, fault } => write!(f, "the fault planned strikes: {} {fault}", point.request),
            Event::Violation(violation) => write!(f, "a rule is broken: {violation}"),
            Event::Remark(remark) => write!(f, "a remark: {remark}"),
        }
    }
}

const fn level(high: bool) -> &'static str {
    if high { "high" } else { "low" }
}

#[cfg(test)]
mod tests {
    use gicv5_arch::sysreg::SysReg;
    use gicv5_arch::values::{Domain, HandlingMode, RoutingMode};
    use gicv5_arch::{Iaffid, Lpi, PhysAddr, Ppi, Spi, VmId, VpeId};

    use super::*;
    use crate::words::clock::Tick;
    use crate::words::fault::{Fault, FaultPoint};
    use crate::words::ids::{BlockId, PeIndex};
    use crate::words::owner::{Owner, StructureKind};
    use crate::words::rules::Basis;
    use crate::words::violation::{Place, Remark, Violation};

    const IRS: IrsIndex = IrsIndex(1);
    const PE: PeIndex = PeIndex(2);
    const VM: VmId = VmId::new(3);
    const VPE: VpeId = VpeId::new(4);

    #[track_caller]
    fn reads(table: &[(Event, &str)]) {
        for (event, text) in table {
            assert_eq!(event.to_string(), *text);
        }
    }

    fn written(frame: Frame, offset: u16, width: Width, value: u64) -> Event {
        Event::FrameWrite { pe: PE, frame, offset, width, value }
    }

    #[test]
    fn an_access_to_a_register_is_told_with_its_fields() {
        let frame = Frame::config(IRS);
        let (vmap, status) = (IrsReg::IRS_VMAP_VMR.offset(), IrsReg::IRS_VPE_STATUSR.offset());
        let (baser, dbr) = (IrsReg::IRS_VMT_BASER.offset(), IrsReg::IRS_VPE_DBR.offset());
        let vistr = IrsReg::IRS_VMAP_L2_VISTR.offset();
        let selected = Event::FrameRead { pe: PE, frame, offset: status, width: Width::W32, value: 3 };
        reads(&[
            (selected, "IRS_VPE_STATUSR of IRS 1, from PE 2, reads 0x3 V=1 IDLE=1"),
            (
                written(frame, vmap, Width::W64, 1 << 63 | 7),
                "IRS_VMAP_VMR of IRS 1, from PE 2, is written 0x8000000000000007 M=1 VM_ID=7",
            ),
            (
                written(frame, vmap + 4, Width::W32, 1 << 31),
                "IRS_VMAP_VMR[63:32] of IRS 1, from PE 2, is written 0x80000000 M=1",
            ),
            (written(frame, dbr, Width::W32, 9), "IRS_VPE_DBR of IRS 1, from PE 2, is written 0x9 INTID=9"),
            (
                written(frame, baser, Width::W64, 0x8000_0001),
                "IRS_VMT_BASER of IRS 1, from PE 2, is written 0x80000001 ADDR=0x80000000 VALID=1",
            ),
            (
                written(frame, vistr, Width::W64, 1 << 63 | 3 << 32 | 2 << 29 | 5),
                "IRS_VMAP_L2_VISTR of IRS 1, from PE 2, is written 0x8000000340000005 LPI 5 M=1 VM_ID=3",
            ),
            (
                written(frame, 0x8ff0, Width::W32, 0),
                "reserved offset 0x8ff0 of the configuration frame of IRS 1, from PE 2, is written 0x0",
            ),
            (
                written(Frame::set_lpi(IRS), SetLpiReg::IRS_SETLPIR.offset(), Width::W32, 6),
                "IRS_SETLPIR of IRS 1, from PE 2, is written 0x6 ID=6",
            ),
            (
                Event::SysRegRead { pe: PE, register: SysReg::ICC_PPI_ENABLER0_EL1, value: 0x11 },
                "ICC_PPI_ENABLER0_EL1 of PE 2 reads 0x11 EN=0x11",
            ),
            (
                Event::SysRegWrite { pe: PE, register: SysReg::ICH_CONTEXTR_EL2, value: 1 << 63 | 3 },
                "ICH_CONTEXTR_EL2 of PE 2 is written 0x8000000000000003 V=1 VM=3",
            ),
        ]);
    }

    #[test]
    fn an_instruction_is_told_with_the_interrupt_it_names() {
        let executed = |insn, xt, result| Event::Instruction { pe: PE, insn, xt, result };
        reads(&[
            (
                executed(GicInsn::GIC_VDPEND, 1 << 63 | 3 << 32 | 2 << 29 | 5, 0),
                "PE 2 executes GIC VDPEND 0x8000000340000005 LPI 5 PENDING=1 VM=3",
            ),
            (executed(GicInsn::GIC_CDEN, 5, 0), "PE 2 executes GIC CDEN 0x5 ID=5"),
            (executed(GicInsn::GIC_CDEOI, 0, 0), "PE 2 executes GIC CDEOI"),
            (
                executed(GicInsn::GICR_CDIA, 0, 1 << 32 | 3 << 29 | 8),
                "PE 2 executes GICR CDIA, which returns 0x160000008 SPI 8 VALID=1",
            ),
            (executed(GicInsn::GICR_CDIA, 0, 0), "PE 2 executes GICR CDIA, which returns 0x0"),
            (Event::Barrier { pe: PE, barrier: Barrier::Isb }, "PE 2 executes ISB"),
            (Event::Barrier { pe: PE, barrier: Barrier::Dsb }, "PE 2 executes DSB"),
        ]);
    }

    #[test]
    fn what_becomes_of_interrupts_is_told_in_words() {
        let (lpi, ppi, spi) = (Lpi::new(5).unwrap(), Ppi::new(27).unwrap(), Spi::new(8).unwrap());
        let priority = Priority::new(9).unwrap();
        let offer = Some((IntId::Lpi(lpi), priority));
        let lpi_of = |space, change| Event::Interrupt { space, pe: None, interrupt: IntId::Lpi(lpi), change };
        let candidate =
            |space, candidate| Event::Candidate { domain: Domain::NonSecure, space, target: Iaffid::new(4), candidate };
        let forwarded = |candidate| Event::Forwarded { pe: PE, vm: VM, vpe: VPE, candidate };
        let dropped = |priority| Event::VirtualDrop { pe: PE, vm: VM, vpe: VPE, priority };
        let signal = |signal, asserted| Event::Signal { pe: PE, signal, asserted };
        let resident = |resident| Event::Residency { pe: PE, vm: VM, vpe: VPE, resident };
        let ppi_of_pe = Event::Interrupt {
            space: Space::Physical,
            pe: Some(PE),
            interrupt: IntId::Ppi(ppi),
            change: Change::Pending(true),
        };
        reads(&[
            (lpi_of(Space::Physical, Change::Pending(true)), "LPI 5 becomes pending"),
            (lpi_of(Space::Vm(VM), Change::Pending(false)), "LPI 5 of VM 3 is not pending any more"),
            (lpi_of(Space::Vm(VM), Change::Active(true)), "LPI 5 of VM 3 becomes active"),
            (lpi_of(Space::Vm(VM), Change::Active(false)), "LPI 5 of VM 3 is not active any more"),
            (lpi_of(Space::Vm(VM), Change::Enabled(true)), "LPI 5 of VM 3 is enabled"),
            (lpi_of(Space::Vm(VM), Change::Enabled(false)), "LPI 5 of VM 3 is disabled"),
            (lpi_of(Space::Vm(VM), Change::Priority(priority)), "LPI 5 of VM 3 gets priority 9"),
            (lpi_of(Space::Vm(VM), Change::Mode(HandlingMode::Level)), "LPI 5 of VM 3 gets handling mode level"),
            (
                lpi_of(Space::Vm(VM), Change::Target(Iaffid::new(4), RoutingMode::Targeted)),
                "LPI 5 of VM 3 is routed to IAFFID 4, targeted",
            ),
            (ppi_of_pe, "PPI 27 of PE 2 becomes pending"),
            (Event::VirtualPpi { pe: PE, ppi, change: Change::Active(true) }, "virtual PPI 27 of PE 2 becomes active"),
            (Event::SpiWire { irs: IRS, spi, high: true }, "the wire of SPI 8 of IRS 1 goes high"),
            (Event::PpiWire { pe: PE, ppi, high: false }, "the wire of PPI 27 of PE 2 goes low"),
            (candidate(Space::Physical, offer), "the Non-secure candidate for IAFFID 4 is now LPI 5 with priority 9"),
            (candidate(Space::Vm(VM), None), "the candidate for VM 3 VPE 4 is recalled"),
            (signal(Signal::Irq, true), "IRQ of PE 2 is asserted"),
            (signal(Signal::Nmi, true), "NMI of PE 2 is asserted"),
            (signal(Signal::Fiq, true), "FIQ of PE 2 is asserted"),
            (signal(Signal::VirtualIrq, false), "vIRQ of PE 2 is deasserted"),
            (signal(Signal::VirtualNmi, false), "vNMI of PE 2 is deasserted"),
            (Event::Level { pe: PE, level: Level::Guest }, "PE 2 enters its guest"),
            (Event::Level { pe: PE, level: Level::Kernel }, "PE 2 enters the kernel of its host"),
            (Event::Level { pe: PE, level: Level::Host }, "PE 2 returns to the host"),
            (resident(true), "VM 3 VPE 4 becomes resident on PE 2"),
            (resident(false), "VM 3 VPE 4 leaves PE 2"),
            (
                Event::ResidencyFailed { pe: PE, vm: VM, vpe: VPE },
                "VM 3 VPE 4 cannot become resident on PE 2, which has no resident VPE now",
            ),
            (forwarded(offer), "the candidate forwarded to PE 2 for VM 3 VPE 4 is now LPI 5 with priority 9"),
            (forwarded(None), "the candidate forwarded to PE 2 for VM 3 VPE 4 is recalled"),
            (
                Event::VirtualAcknowledge { pe: PE, vm: VM, vpe: VPE, interrupt: IntId::Ppi(ppi), priority },
                "VM 3 VPE 4 on PE 2 acknowledges PPI 27, priority 9",
            ),
            (dropped(Some(priority)), "VM 3 VPE 4 on PE 2 drops priority 9"),
            (dropped(None), "VM 3 VPE 4 on PE 2 drops its running priority where none is active"),
            (
                Event::VirtualDeactivate { pe: PE, vm: VM, vpe: VPE, interrupt: IntId::Spi(spi) },
                "SPI 8 of VM 3 is deactivated on PE 2, where VPE 4 is resident",
            ),
            (Event::Doorbell { vm: VM, vpe: VPE, lpi }, "the doorbell of VM 3 VPE 4 rings as LPI 5"),
        ]);
    }

    #[test]
    fn commands_memory_and_faults_are_told_in_words() {
        let (irs, register, value) = (IRS, IrsReg::IRS_VMAP_VMR, 1 << 63 | 3);
        let done = |outcome| Event::CommandDone { irs, register, value, outcome };
        let error = |address| Event::SoftwareError { irs, code: 2, address };
        let (address, size, block) = (PhysAddr::new(0x8000_0040).unwrap(), 0x1000, BlockId(6));
        let owner = Owner::vm(StructureKind::Vpete, VM);
        let point = FaultPoint { index: 12, request: Request::Residency { pe: PE, vm: VM, vpe: VPE } };
        let violation = Violation {
            rule: "VMT-15",
            basis: Some(Basis::Architecture),
            tick: Tick(7),
            pe: None,
            place: Place::Vm(VM),
            old: 0,
            new: 0,
            what: "something was done".to_owned(),
        };
        reads(&[
            (
                Event::CommandStarted { irs, register, value, due: Tick(40) },
                "IRS_VMAP_VMR VM 3 valid on IRS 1 starts, due at tick 40",
            ),
            (done(Outcome::Done), "IRS_VMAP_VMR VM 3 valid on IRS 1 is done"),
            (done(Outcome::Ignored), "IRS_VMAP_VMR VM 3 valid on IRS 1 completes and is ignored, as a rule says"),
            (done(Outcome::Lost), "IRS_VMAP_VMR VM 3 valid on IRS 1 completes and is ignored, as the fault plan says"),
            (error(None), "IRS 1 records software error 0x02"),
            (error(Some(address)), "IRS 1 records software error 0x02 at 0x80000040"),
            (Event::Stored { address, width: Width::W64, value: 0xff }, "software stores 0xff, 8 bytes, at 0x80000040"),
            (Event::MemoryBarrier, "software executes a barrier for memory"),
            (
                Event::Maintenance { op: Maintenance::CleanInvalidate, address, size },
                "software asks to clean and invalidate 0x1000 bytes at 0x80000040",
            ),
            (
                Event::Maintenance { op: Maintenance::Invalidate, address, size },
                "software asks to invalidate 0x1000 bytes at 0x80000040",
            ),
            (
                Event::LineWritten { address, asked: true },
                "a cache writes the line at 0x80000040 to memory, as it was asked to",
            ),
            (
                Event::LineWritten { address, asked: false },
                "a cache writes the line at 0x80000040 to memory of its own accord",
            ),
            (
                Event::Owned { address, size, owner },
                "the IRS owns 0x1000 bytes at 0x80000040, as part of the VPE table of VM 3",
            ),
            (
                Event::Fillable { address, size, owner },
                "software may fill 0x1000 bytes at 0x80000040, invalid entries of the VPE table of VM 3",
            ),
            (Event::Disowned { address, size }, "software has 0x1000 bytes at 0x80000040 back"),
            (
                Event::WriteBack { address, value: 9 },
                "the IRS writes the IST entry at 0x80000040 back as 0x9 ENABLE=1 PENDING=1",
            ),
            (Event::Allocated { block, address, size }, "block 6 is allocated, 0x1000 bytes at 0x80000040"),
            (
                Event::AllocationFailed { size, alignment: 0x40 },
                "there is no table memory for 0x1000 bytes aligned to 0x40",
            ),
            (Event::Freed { block, address, size }, "block 6 is freed, 0x1000 bytes at 0x80000040"),
            (
                Event::Fault { point, fault: Fault::Refused },
                "the fault planned strikes: residency of VM 3 VPE 4 on PE 2 is refused",
            ),
            (
                Event::Violation(Box::new(violation.clone())),
                "a rule is broken: VMT-15 (architecture): something was done, at VM 3 (tick 7)",
            ),
            (
                Event::Remark(Box::new(Remark(violation))),
                "a remark: VMT-15 (architecture): something was done, at VM 3 (tick 7)",
            ),
        ]);
    }
}
