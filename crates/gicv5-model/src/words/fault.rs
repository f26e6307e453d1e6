//! Faults on demand.
//!
//! # Theory of operation
//!
//! Wherever the machine could let software down it passes a *fault point*: an allocation of table memory, a request for an
//! LPI, a register command, a request for residency. The machine numbers the points in the order in which it passes them,
//! and remembers what was [asked for](Request) at each. What can go wrong there follows from what was asked for
//! ([`Request::faults`]).
//!
//! The machine is deterministic, so the number of a point names the same moment in every run from the same seed. Whoever
//! wants to see every fault there is runs once and takes the list
//! ([`record_fault_points`](crate::Machine::record_fault_points), [`take_fault_points`](crate::Machine::take_fault_points)); then once for
//! each point and each of its faults, with that fault [planned](crate::Machine::plan_fault); then, because a fault makes software
//! take another way, again for each point that was passed after it:
//!
//! ```
//! use gicv5_arch::irs::{IRS_CR0, IRS_SPI_SELR};
//! use gicv5_arch::Spi;
//! use gicv5_hal::{IrsExt, IrsIndex};
//! use gicv5_model::{Machine, config::MachineConfig, fault::Fault};
//!
//! fn run(machine: &Machine) -> Result<(), Box<dyn std::error::Error>> {
//!     machine.write(IrsIndex(0), IRS_CR0::ZERO.with_irsen(true));
//!     machine.write(IrsIndex(0), IRS_SPI_SELR::ZERO.with_id(Spi::new(5)?));
//!     Ok(())
//! }
//!
//! let machine = Machine::new(MachineConfig::new(1, 64))?;
//! machine.record_fault_points();
//! run(&machine)?;
//! let points = machine.take_fault_points();
//! assert_eq!(points[1].to_string(), "1: IRS_SPI_SELR SPI 5");
//!
//! for point in points {
//!     for fault in point.request.faults(100) {
//!         let machine = Machine::new(MachineConfig::new(1, 64))?;
//!         machine.plan_fault(point.index, fault);
//!         run(&machine)?;
//!         assert_eq!(machine.take_struck_faults(), [(point.clone(), fault)]);
//!         machine.recover();
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A fault that is planned for a point that cannot have it waits for the next that can, so that
//! [`fault_next`](crate::Machine::fault_next) can ask for "the next command" without knowing what is in between. Which faults have
//! struck, and where, can be looked up; so can those that wait still.
//!
//! A fault can be meant for a request by what it asks for, not by its number ([`aim_fault`](crate::Machine::aim_fault)): the second
//! IRS_VMAP_VPER of VM 0 is `Aim::command(IrsReg::IRS_VMAP_VPER).of_vm(VmId::new(0)).after(1)`.
//!
//! # Requests the machine does not see
//!
//! The host's heap is not the machine's, nor is an LPI that comes from a driver above it. Whoever stands between software and
//! these reports the request with [`pass_fault_point`](crate::Machine::pass_fault_point) and does as it says.
//! [`ModelHost`](crate::ModelHost) does so when a library [asks](gicv5_hal::Platform::may_allocate) for heap.

use core::fmt;

use gicv5_arch::irs::{
    IRS_IST_BASER, IRS_MAP_L2_ISTR, IRS_PE_SELR, IRS_SAVE_VMR, IRS_SPI_SELR, IRS_SPI_VMR, IRS_VMAP_L2_VISTR,
    IRS_VMAP_L2_VMTR, IRS_VMAP_VISTR, IRS_VMAP_VMR, IRS_VMAP_VPER, IRS_VMT_BASER, IRS_VPE_SELR, IrsReg,
};
use gicv5_arch::values::MapAction;
use gicv5_arch::{IrsIntType, Lpi, Spi, VmId, VpeId};
use gicv5_hal::{Cookie, IrsIndex};

use crate::words::ids::PeIndex;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The request fails as it may: there is no memory, no LPI; the residency request reads back F=1 (RES-2).
    Refused,
    /// The command does not complete before [`Machine::recover`](crate::Machine::recover) (GEN-19).
    Never,
    /// The command completes this many ticks later than it would.
    Late(u64),
    /// The command completes, and has had no effect. A selection leaves selected what was.
    Ignored,
    /// The selection completes and has selected nothing: V reads 0 (GEN-17).
    Invalid,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused => f.write_str("is refused"),
            Fault::Never => f.write_str("never completes"),
            Fault::Late(ticks) => write!(f, "completes {ticks} ticks late"),
            Fault::Ignored => f.write_str("completes without an effect"),
            Fault::Invalid => f.write_str("selects nothing"),
        }
    }
}

/// The kinds of request, as far as they can go wrong differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// Memory of the host's own, from its heap.
    Heap,
    /// Table memory.
    Table,
    /// An LPI.
    Lpi,
    /// The release of an LPI.
    LpiRelease,
    /// A register command.
    Command,
    /// A register command that selects an object.
    Selection,
    /// To become resident.
    Residency,
}

impl RequestKind {
    /// Whether a request of this kind can go wrong like this.
    #[must_use]
    pub const fn can_have(self, fault: Fault) -> bool {
        match self {
            RequestKind::Heap
            | RequestKind::Table
            | RequestKind::Lpi
            | RequestKind::LpiRelease
            | RequestKind::Residency => matches!(fault, Fault::Refused),
            RequestKind::Command => matches!(fault, Fault::Never | Fault::Late(_) | Fault::Ignored),
            RequestKind::Selection => !matches!(fault, Fault::Refused),
        }
    }
}

/// What a command acts on besides what its own value names: what was selected when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selected {
    /// Nothing, or it does not matter.
    Nothing,
    /// An SPI.
    Spi(Spi),
    /// A VPE.
    Vpe(VmId, VpeId),
}

/// What software asked for at a fault point. Prints as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Memory of the host's own.
    Heap {
        /// How much, in bytes.
        size: u64,
    },
    /// A block of table memory.
    Table {
        /// The size, in bytes.
        size: u64,
        /// The alignment, in bytes.
        alignment: u64,
    },
    /// An LPI of the host.
    Lpi {
        /// What its handler is to be told.
        cookie: Cookie,
    },
    /// The release of an LPI of the host.
    LpiRelease {
        /// Which.
        lpi: Lpi,
    },
    /// A register command.
    Command {
        /// The IRS it was written to.
        irs: IrsIndex,
        /// The register.
        register: IrsReg,
        /// What was written.
        value: u64,
        /// What was selected.
        selected: Selected,
    },
    /// Residency of a VPE on a PE (RES-1).
    Residency {
        /// The PE.
        pe: PeIndex,
        /// The VM.
        vm: VmId,
        /// The VPE.
        vpe: VpeId,
    },
}

impl Request {
    /// Its kind, which tells what can go wrong.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        match self {
            Request::Heap { .. } => RequestKind::Heap,
            Request::Table { .. } => RequestKind::Table,
            Request::Lpi { .. } => RequestKind::Lpi,
            Request::LpiRelease { .. } => RequestKind::LpiRelease,
            Request::Command {
                register: IrsReg::IRS_SPI_SELR | IrsReg::IRS_PE_SELR | IrsReg::IRS_VPE_SELR, ..
            } => RequestKind::Selection,
            Request::Command { .. } => RequestKind::Command,
            Request::Residency { .. } => RequestKind::Residency,
        }
    }

    /// Everything that can go wrong, with `late` ticks for a command that is late.
    pub fn faults(&self, late: u64) -> impl Iterator<Item = Fault> + use<> {
        let kind = self.kind();
        [Fault::Refused, Fault::Never, Fault::Late(late), Fault::Ignored, Fault::Invalid]
            .into_iter()
            .filter(move |fault| kind.can_have(*fault))
    }
}

impl Request {
    /// The VM that it names, and the VPE.
    const fn vm_and_vpe(&self) -> (Option<VmId>, Option<VpeId>) {
        let (register, value, selected) = match *self {
            Request::Command { register, value, selected, .. } => (register, value, selected),
            Request::Residency { vm, vpe, .. } => return (Some(vm), Some(vpe)),
            _ => return (None, None),
        };
        match register {
            IrsReg::IRS_VPE_SELR => {
                let selection = IRS_VPE_SELR::new_with_raw_value(value);
                (Some(selection.vm_id()), Some(selection.vpe_id()))
            }
            IrsReg::IRS_VMAP_VPER => {
                let command = IRS_VMAP_VPER::new_with_raw_value(value);
                (Some(command.vm_id()), Some(command.vpe_id()))
            }
            IrsReg::IRS_VMAP_L2_VMTR => (Some(IRS_VMAP_L2_VMTR::new_with_raw_value(value).vm_id()), None),
            IrsReg::IRS_VMAP_VMR => (Some(IRS_VMAP_VMR::new_with_raw_value(value).vm_id()), None),
            IrsReg::IRS_VMAP_VISTR => (Some(IRS_VMAP_VISTR::new_with_raw_value(value).vm_id()), None),
            IrsReg::IRS_VMAP_L2_VISTR => (Some(IRS_VMAP_L2_VISTR::new_with_raw_value(value).vm_id()), None),
            IrsReg::IRS_SAVE_VMR => (Some(IRS_SAVE_VMR::new_with_raw_value(value).vm_id()), None),
            IrsReg::IRS_SPI_VMR => (Some(IRS_SPI_VMR::new_with_raw_value(value).vm_id()), None),
            _ => match selected {
                Selected::Vpe(vm, vpe) => (Some(vm), Some(vpe)),
                Selected::Nothing | Selected::Spi(_) => (None, None),
            },
        }
    }
}

/// The requests that a fault is meant for, by what they ask for. It strikes at the first of them that can have it, unless it lets
/// [some others](Aim::after) go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aim {
    what: Aimed,
    irs: Option<IrsIndex>,
    vm: Option<VmId>,
    vpe: Option<VpeId>,
    others: u64,
}

/// What an [`Aim`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Aimed {
    /// Writes of this register.
    Command(IrsReg),
    /// Requests for residency.
    Residency,
}

impl Aim {
    const fn at(what: Aimed) -> Aim {
        Aim { what, irs: None, vm: None, vpe: None, others: 0 }
    }

    /// A command that is started by a write of this register.
    #[must_use]
    pub const fn command(register: IrsReg) -> Aim {
        Aim::at(Aimed::Command(register))
    }

    /// A request for residency.
    #[must_use]
    pub const fn residency() -> Aim {
        Aim::at(Aimed::Residency)
    }

    /// Only one that is written to this IRS.
    #[must_use]
    pub const fn on_irs(self, irs: IrsIndex) -> Aim {
        Aim { irs: Some(irs), ..self }
    }

    /// Only one that names this VM, or acts on a VPE of it that is selected.
    #[must_use]
    pub const fn of_vm(self, vm: VmId) -> Aim {
        Aim { vm: Some(vm), ..self }
    }

    /// Only one that names a VPE with this ID, or acts on one that is selected.
    #[must_use]
    pub const fn of_vpe(self, vpe: VpeId) -> Aim {
        Aim { vpe: Some(vpe), ..self }
    }

    /// Not the first one, but the one after so many others.
    #[must_use]
    pub const fn after(self, others: u64) -> Aim {
        Aim { others, ..self }
    }

    /// Whether this is one of the requests that it looks for.
    fn meets(&self, request: &Request) -> bool {
        let is_it = match (self.what, *request) {
            (Aimed::Command(wanted), Request::Command { irs, register, .. }) => {
                register == wanted && self.irs.is_none_or(|wanted| wanted == irs)
            }
            (Aimed::Residency, Request::Residency { .. }) => true,
            _ => false,
        };
        let (vm, vpe) = request.vm_and_vpe();
        is_it && (self.vm.is_none() || self.vm == vm) && (self.vpe.is_none() || self.vpe == vpe)
    }

    /// A request is made. True if the fault strikes there, and not later.
    pub(crate) fn strikes(&mut self, request: &Request) -> bool {
        if !self.meets(request) {
            return false;
        }
        let strikes = self.others == 0;
        self.pass_by(request);
        strikes
    }

    /// A request is made at which the fault does not strike.
    pub(crate) fn pass_by(&mut self, request: &Request) {
        if self.meets(request) {
            self.others = self.others.saturating_sub(1);
        }
    }
}

impl fmt::Display for Request {
    /// `IRS_VMAP_VPER VM 3 VPE 7`. The IRS is told unless it is the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Request::Heap { size } => write!(f, "heap of {size} bytes"),
            Request::Table { size, alignment } => write!(f, "table memory of {size} bytes aligned to {alignment:#x}"),
            Request::Lpi { cookie } => write!(f, "an LPI with cookie {:#x}", cookie.0),
            Request::LpiRelease { lpi } => write!(f, "release of {lpi}"),
            Request::Residency { pe, vm, vpe } => write!(f, "residency of {vm} {vpe} on {pe}"),
            Request::Command { irs, register, value, selected } => {
                write!(f, "{register}{}", Operand { register, value, selected })?;
                match irs {
                    IrsIndex(0) => Ok(()),
                    irs => write!(f, " on {irs}"),
                }
            }
        }
    }
}

/// What a command names, with a space before it if it names anything.
struct Operand {
    register: IrsReg,
    value: u64,
    selected: Selected,
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operand { register, value, selected } = *self;
        let validity = |valid| if valid { "valid" } else { "invalid" };
        let int_type = |int_type: Option<IrsIntType>| match int_type {
            Some(IrsIntType::Lpi) => "LPI",
            Some(IrsIntType::Spi) => "SPI",
            None => "of a reserved type",
        };
        match register {
            IrsReg::IRS_SPI_SELR => write!(f, " {}", IRS_SPI_SELR::new_with_raw_value(value as u32).id()),
            IrsReg::IRS_PE_SELR => write!(f, " {}", IRS_PE_SELR::new_with_raw_value(value as u32).iaffid()),
            IrsReg::IRS_VPE_SELR => {
                let selection = IRS_VPE_SELR::new_with_raw_value(value);
                write!(f, " {} {}", selection.vm_id(), selection.vpe_id())
            }
            IrsReg::IRS_IST_BASER => {
                write!(f, " {}", validity(IRS_IST_BASER::new_with_raw_value(value).valid()))
            }
            IrsReg::IRS_VMT_BASER => {
                write!(f, " {}", validity(IRS_VMT_BASER::new_with_raw_value(value).valid()))
            }
            IrsReg::IRS_MAP_L2_ISTR => write!(f, " {}", IRS_MAP_L2_ISTR::new_with_raw_value(value as u32).id()),
            IrsReg::IRS_VMAP_L2_VMTR => write!(f, " {}", IRS_VMAP_L2_VMTR::new_with_raw_value(value).vm_id()),
            IrsReg::IRS_VMAP_VMR => {
                let command = IRS_VMAP_VMR::new_with_raw_value(value);
                write!(f, " {} {}", command.vm_id(), validity(command.u() == MapAction::MakeValid))
            }
            IrsReg::IRS_VMAP_VPER => {
                let command = IRS_VMAP_VPER::new_with_raw_value(value);
                write!(f, " {} {}", command.vm_id(), command.vpe_id())
            }
            IrsReg::IRS_VMAP_VISTR => {
                let command = IRS_VMAP_VISTR::new_with_raw_value(value);
                let valid = validity(command.u() == MapAction::MakeValid);
                write!(f, " {} {} {valid}", command.vm_id(), int_type(command.int_type().ok()))
            }
            IrsReg::IRS_VMAP_L2_VISTR => {
                let command = IRS_VMAP_L2_VISTR::new_with_raw_value(value);
                write!(f, " {} {} {}", command.vm_id(), int_type(command.int_type().ok()), command.id())
            }
            IrsReg::IRS_SAVE_VMR => write!(f, " {}", IRS_SAVE_VMR::new_with_raw_value(value).vm_id()),
            _ => match selected {
                Selected::Nothing => Ok(()),
                Selected::Spi(spi) => write!(f, " {spi}"),
                Selected::Vpe(vm, vpe) => write!(f, " {vm} {vpe}"),
            },
        }
    }
}

/// A point at which the machine could let software down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultPoint {
    /// Its number: how many points the machine had passed before.
    pub index: u64,
    /// What was asked for.
    pub request: Request,
}

impl fmt::Display for FaultPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.index, self.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(register: IrsReg, value: u64, selected: Selected) -> Request {
        Request::Command { irs: IrsIndex(0), register, value, selected }
    }

    const LPI: Request = Request::Lpi { cookie: Cookie(1) };
    const SYNC: Request =
        Request::Command { irs: IrsIndex(0), register: IrsReg::IRS_SYNCR, value: 1, selected: Selected::Nothing };

    #[test]
    fn what_can_go_wrong_follows_from_what_was_asked_for() {
        let select = command(IrsReg::IRS_VPE_SELR, 0, Selected::Nothing);
        let faults = |request: Request| request.faults(9).collect::<Vec<_>>();
        assert_eq!(faults(LPI), [Fault::Refused]);
        assert_eq!(faults(Request::Heap { size: 1 }), [Fault::Refused]);
        assert_eq!(faults(SYNC), [Fault::Never, Fault::Late(9), Fault::Ignored], "GEN-19");
        assert_eq!(faults(select), [Fault::Never, Fault::Late(9), Fault::Ignored, Fault::Invalid], "GEN-17");
    }

    #[test]
    fn a_point_is_named_after_what_was_asked_for() {
        let (vm, vpe) = (VmId::new(3), VpeId::new(7));
        let names = [
            (Request::Heap { size: 64 }, "heap of 64 bytes"),
            (Request::Table { size: 4096, alignment: 4096 }, "table memory of 4096 bytes aligned to 0x1000"),
            (LPI, "an LPI with cookie 0x1"),
            (Request::LpiRelease { lpi: Lpi::new(77).unwrap() }, "release of LPI 77"),
            (Request::Residency { pe: PeIndex(1), vm, vpe }, "residency of VM 3 VPE 7 on PE 1"),
            (command(IrsReg::IRS_CR0, 1, Selected::Nothing), "IRS_CR0"),
            (command(IrsReg::IRS_SPI_CFGR, 1, Selected::Spi(Spi::new(5).unwrap())), "IRS_SPI_CFGR SPI 5"),
            (command(IrsReg::IRS_VPE_DBR, 1, Selected::Vpe(vm, vpe)), "IRS_VPE_DBR VM 3 VPE 7"),
            (command(IrsReg::IRS_VPE_SELR, 7 << 32 | 3, Selected::Nothing), "IRS_VPE_SELR VM 3 VPE 7"),
            (command(IrsReg::IRS_PE_SELR, 2, Selected::Nothing), "IRS_PE_SELR"),
            (command(IrsReg::IRS_SPI_SELR, 5, Selected::Nothing), "IRS_SPI_SELR SPI 5"),
            (command(IrsReg::IRS_VMT_BASER, 1, Selected::Nothing), "IRS_VMT_BASER valid"),
            (command(IrsReg::IRS_IST_BASER, 0, Selected::Nothing), "IRS_IST_BASER invalid"),
            (command(IrsReg::IRS_MAP_L2_ISTR, 256, Selected::Nothing), "IRS_MAP_L2_ISTR LPI 256"),
            (command(IrsReg::IRS_VMAP_L2_VMTR, 3, Selected::Nothing), "IRS_VMAP_L2_VMTR VM 3"),
            (command(IrsReg::IRS_VMAP_VMR, 1 << 63 | 3, Selected::Nothing), "IRS_VMAP_VMR VM 3 valid"),
            (command(IrsReg::IRS_VMAP_VMR, 3 << 62 | 3, Selected::Nothing), "IRS_VMAP_VMR VM 3 invalid"),
            (command(IrsReg::IRS_VMAP_VPER, 3 << 32 | 7, Selected::Nothing), "IRS_VMAP_VPER VM 3 VPE 7"),
            (command(IrsReg::IRS_VMAP_VISTR, 3 << 32 | 2 << 29, Selected::Nothing), "IRS_VMAP_VISTR VM 3 LPI valid"),
            (
                command(IrsReg::IRS_VMAP_VISTR, 3 << 32, Selected::Nothing),
                "IRS_VMAP_VISTR VM 3 of a reserved type valid",
            ),
            (
                command(IrsReg::IRS_VMAP_L2_VISTR, 3 << 32 | 3 << 29 | 64, Selected::Nothing),
                "IRS_VMAP_L2_VISTR VM 3 SPI 64",
            ),
            (command(IrsReg::IRS_SAVE_VMR, 3, Selected::Nothing), "IRS_SAVE_VMR VM 3"),
        ];
        for (request, name) in names {
            assert!(request.to_string().starts_with(name), "{request} is not {name}");
        }
        let other =
            Request::Command { irs: IrsIndex(1), register: IrsReg::IRS_CR0, value: 0, selected: Selected::Nothing };
        assert_eq!(other.to_string(), "IRS_CR0 on IRS 1");
    }
}
