//! What the checker has to say, at two levels.
//!
//! A violation is a value: the rule that was broken and what that rule rests on, when, by which PE, where, what stood there and what
//! was about to, and why that is wrong. The model goes on after one, in the way the documentation of the method says, so that one run finds
//! more than the first mistake.
//!
//! A remark is said in the same words about what no rule forbids and is almost surely wrong, or what nothing but a conclusion of
//! this project forbids. It is counted apart.

use core::fmt;
use std::collections::VecDeque;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{Lpi, PhysAddr, VmId};
use gicv5_hal::Frame;

use crate::words::basis::Basis;
use crate::words::clock::Tick;
use crate::words::ids::{BlockId, PeIndex, RegisterName};
use crate::words::owner::Owner;

/// Where a rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In memory that belongs to no structure.
    Memory(PhysAddr),
    /// In memory that belongs to a structure of the IRS.
    Structure(PhysAddr, Owner),
    /// In a block of table memory, this many bytes from its start.
    Block(BlockId, u64),
    /// At a register of an IRS: the frame and the offset in it.
    Register(Frame, u16),
    /// At a system register of a PE.
    SysReg(PeIndex, SysReg),
    /// At an instruction on a PE.
    Insn(PeIndex, GicInsn),
    /// At a VM as a whole.
    Vm(VmId),
    /// At an LPI.
    Lpi(Lpi),
    /// Nowhere in particular.
    Machine,
}

impl Place {
    /// The PE that the place is part of.
    const fn pe(&self) -> Option<PeIndex> {
        match self {
            Place::SysReg(pe, _) | Place::Insn(pe, _) => Some(*pe),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Memory(address) => write!(f, "address {address}"),
            Place::Structure(address, owner) => write!(f, "address {address} in {owner}"),
            Place::Block(block, offset) => write!(f, "offset {offset:#x} of {block}"),
            Place::Register(frame, offset) => {
                write!(f, "{} of {}", RegisterName(*frame, *offset), frame.irs)
            }
            Place::SysReg(pe, register) => write!(f, "{register} of {pe}"),
            Place::Insn(pe, insn) => write!(f, "{insn} on {pe}"),
            Place::Vm(vm) => fmt::Display::fmt(vm, f),
            Place::Lpi(lpi) => fmt::Display::fmt(lpi, f),
            Place::Machine => f.write_str("the machine"),
        }
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule: `VMT-15`.
    pub rule: &'static str,
    /// What the rule rests on; `None` for a rule of the model's own.
    pub basis: Option<Basis>,
    /// When.
    pub tick: Tick,
    /// The PE that did it, by an access, an instruction or a command of its own; `None` if none did. What takes effect later is of
    /// the PE that began it.
    pub pe: Option<PeIndex>,
    /// Where.
    pub place: Place,
    /// What stood there; 0 where the rule is about no value.
    pub old: u64,
    /// What was written, or was about to be; 0 where the rule is about no value.
    pub new: u64,
    /// What happened: a clause with its subject, that `at` and the place can follow.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)?;
        if let Some(basis) = self.basis {
            write!(f, " ({basis})")?;
        }
        write!(f, ": {}, at {}", self.what, self.place)?;
        if self.old != 0 || self.new != 0 {
            write!(f, ", from {:#x} to {:#x}", self.old, self.new)?;
        }
        match self.pe {
            Some(pe) if self.place.pe() != Some(pe) => write!(f, " ({pe}, {})", self.tick),
            _ => write!(f, " ({})", self.tick),
        }
    }
}

impl std::error::Error for Violation {}

/// What is allowed and almost surely wrong, or forbidden by inference alone: said as a violation is, and none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark(pub Violation);

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What the checker has to say, at either level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// A rule was broken.
    Violation(Violation),
    /// Something is allowed and almost surely wrong.
    Remark(Remark),
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Complaint::Violation(violation) => fmt::Display::fmt(violation, f),
            Complaint::Remark(remark) => write!(f, "remark: {remark}"),
        }
    }
}

/// The first of many, and the number of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct First<T> {
    kept: Vec<T>,
    not_kept: u64,
}

impl<T> First<T> {
    const NONE: First<T> = First { kept: Vec::new(), not_kept: 0 };

    fn take(&mut self, one: T, capacity: usize) {
        if self.kept.len() < capacity {
            self.kept.push(one);
        } else {
            self.not_kept += 1;
        }
    }

    fn count(&self) -> u64 {
        self.kept.len() as u64 + self.not_kept
    }

    fn drain(&mut self) -> Vec<T> {
        self.not_kept = 0;
        core::mem::take(&mut self.kept)
    }
}

/// Collects violations and remarks: the first ones whole, the others as a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checker {
    violations: First<Violation>,
    remarks: First<Remark>,
    capacity: usize,
    enabled: bool,
    /// Whether complaints are to be told to a listener.
    listened: bool,
    /// Complaints that the listener has not been told, oldest first.
    untold: VecDeque<Complaint>,
}

impl Checker {
    /// How many violations, and how many remarks, a checker keeps unless it is told otherwise.
    pub const DEFAULT_CAPACITY: usize = 1_000;

    /// A checker that keeps this many violations, and as many remarks, and counts the rest.
    #[must_use]
    pub const fn new(capacity: usize) -> Checker {
        Checker {
            violations: First::NONE,
            remarks: First::NONE,
            capacity,
            enabled: true,
            listened: false,
            untold: VecDeque::new(),
        }
    }

    /// Whether it takes anything. It does at first.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Starts or stops taking violations and remarks. What the machine does does not depend on it.
    pub const fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Takes a violation. True if it was kept or counted, so if the checker is enabled.
    pub fn take(&mut self, violation: Violation) -> bool {
        if self.enabled {
            if self.listened {
                self.untold.push_back(Complaint::Violation(violation.clone()));
            }
            self.violations.take(violation, self.capacity);
        }
        self.enabled
    }

    /// Takes a remark, likewise.
    pub fn take_remark(&mut self, remark: Remark) -> bool {
        if self.enabled {
            if self.listened {
                self.untold.push_back(Complaint::Remark(remark.clone()));
            }
            self.remarks.take(remark, self.capacity);
        }
        self.enabled
    }

    /// From now on keeps complaints for a listener, or does not. What is kept for an earlier one is forgotten.
    pub(crate) fn set_listened(&mut self, listened: bool) {
        self.listened = listened;
        self.untold.clear();
    }

    /// Whether a complaint waits for the listener.
    #[inline]
    pub(crate) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The oldest complaint that the listener has not been told, which it is now.
    pub(crate) fn next_untold(&mut self) -> Option<Complaint> {
        self.untold.pop_front()
    }

    /// The violations it has kept, oldest first.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations.kept
    }

    /// The remarks it has kept, oldest first.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks.kept
    }

    /// How many violations there were altogether.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.violations.count()
    }

    /// How many remarks there were altogether.
    #[must_use]
    pub fn remark_count(&self) -> u64 {
        self.remarks.count()
    }

    /// How many violations there were that it has not kept.
    #[must_use]
    pub const fn not_kept(&self) -> u64 {
        self.violations.not_kept
    }

    /// How many remarks there were that it has not kept.
    #[must_use]
    pub const fn remarks_not_kept(&self) -> u64 {
        self.remarks.not_kept
    }

    /// Hands out the violations it has kept, and starts anew.
    pub fn drain(&mut self) -> Vec<Violation> {
        self.violations.drain()
    }

    /// Hands out the remarks it has kept, and starts anew.
    pub fn drain_remarks(&mut self) -> Vec<Remark> {
        self.remarks.drain()
    }
}

impl Default for Checker {
    fn default() -> Checker {
        Checker::new(Checker::DEFAULT_CAPACITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::event::Event;
    use crate::words::owner::StructureKind;
    use crate::words::report::Report;
    use crate::words::rules;
    use gicv5_arch::irs::{IrsReg, SetLpiReg};
    use gicv5_hal::IrsIndex;

    fn violate(report: &mut Report, new: u64) {
        report.violate(rules::GEN_18, Place::Machine, 0, new, || format!("number {new}"));
    }

    #[test]
    fn a_checker_keeps_the_first_violations_and_counts_the_others() {
        let mut report = Report { checker: Checker::new(2), ..Report::default() };
        for new in 1..=5 {
            violate(&mut report, new);
        }
        let kept: Vec<u64> = report.checker.violations().iter().map(|violation| violation.new).collect();
        assert_eq!((kept, report.checker.count(), report.checker.not_kept()), (vec![1, 2], 5, 3));
        assert_eq!(report.checker.drain().len(), 2);
        assert_eq!((report.checker.count(), report.checker.not_kept()), (0, 0));
        violate(&mut report, 6);
        assert_eq!(report.checker.count(), 1);
    }

    #[test]
    fn a_checker_that_is_told_to_stop_takes_nothing_and_nothing_is_made_for_it() {
        let mut report = Report::default();
        report.log.observe(10);
        report.checker.set_enabled(false);
        report.violate(rules::GEN_18, Place::Machine, 0, 0, || panic!("nobody wants to read this"));
        assert_eq!((report.checker.count(), report.log.len()), (0, 0));
        report.checker.set_enabled(true);
        violate(&mut report, 1);
        assert_eq!(report.checker.count(), 1);
        assert!(matches!(report.log.drain().next(), Some((_, Event::Violation(_)))));
    }

    #[test]
    fn a_remark_is_no_violation_and_is_counted_apart() {
        let mut report = Report { checker: Checker::new(2), ..Report::default() };
        report.log.observe(10);
        for new in 1..=3 {
            report.remark(rules::SPI_11, Place::Machine, 0, new, || format!("number {new}"));
        }
        violate(&mut report, 4);
        assert_eq!((report.checker.count(), report.checker.remark_count()), (1, 3));
        assert!(matches!(report.log.drain().next(), Some((_, Event::Remark(_)))));
        let text: Vec<_> = report.checker.drain_remarks().iter().map(ToString::to_string).collect();
        assert_eq!(text[0], "SPI-11 (inferred): number 1, at the machine, from 0x0 to 0x1 (tick 0)");
        assert_eq!((text.len(), report.checker.count(), report.checker.remark_count()), (2, 1, 0));
    }

    #[test]
    fn every_place_can_be_read() {
        let address = PhysAddr::new(0x8000_0040).unwrap();
        let irs = IrsIndex(1);
        let config = |offset| Place::Register(Frame::config(irs), offset);
        let places = [
            (Place::Memory(address), "address 0x80000040"),
            (
                Place::Structure(address, Owner::vm(StructureKind::Vpete, VmId::new(7))),
                "address 0x80000040 in the VPE table of VM 7",
            ),
            (Place::Block(BlockId(3), 16), "offset 0x10 of block 3"),
            (config(IrsReg::IRS_VMAP_VMR.offset()), "IRS_VMAP_VMR of IRS 1"),
            (config(IrsReg::IRS_VMAP_VMR.offset() + 4), "IRS_VMAP_VMR[63:32] of IRS 1"),
            (config(0x8ff0), "reserved offset 0x8ff0 of the configuration frame of IRS 1"),
            (Place::Register(Frame::set_lpi(irs), SetLpiReg::IRS_SETLPIR.offset()), "IRS_SETLPIR of IRS 1"),
            (Place::Register(Frame::set_lpi(irs), 0x100), "reserved offset 0x100 of the SETLPI frame of IRS 1"),
            (Place::SysReg(PeIndex(2), SysReg::ICC_CR0_EL1), "ICC_CR0_EL1 of PE 2"),
            (Place::Insn(PeIndex(2), GicInsn::GIC_CDEN), "GIC CDEN on PE 2"),
            (Place::Vm(VmId::new(7)), "VM 7"),
            (Place::Lpi(Lpi::new(9).unwrap()), "LPI 9"),
            (Place::Machine, "the machine"),
        ];
        for (place, text) in places {
            assert_eq!(place.to_string(), text);
        }
    }
}
