//! Whether software has cleaned up, and what it took.
//!
//! A [`Snapshot`] remembers what was outstanding at one moment: blocks of table memory, LPIs, register accesses. Compared
//! with it, a later moment has an [`Account`]: what is still held that was not held then, every rule broken meanwhile, and
//! how often each register was accessed. A library may keep books of its own; whether nothing has leaked is decided here.
//!
//! What is freed too early, freed twice, used again while the IRS owns it, or written while a command is under way
//! (GEN-18) is reported when it happens, and is among the violations of the account. What is not given back at all is
//! nobody's mistake until somebody says that it should have been: that is what the account is for.
//!
//! ```
//! use gicv5_arch::PhysAddr;
//! use gicv5_hal::{BlockLayout, TableMemory};
//! use gicv5_model::{Machine, config::MachineConfig};
//!
//! let machine = Machine::new(MachineConfig::new(1, 0))?;
//! let before = machine.snapshot();
//! let block = machine.allocate(BlockLayout::new(4096, 4096, PhysAddr::highest(48))?)?;
//! assert_eq!(machine.account(&before).leaks.len(), 1);
//! machine.free(block);
//! assert!(machine.account(&before).is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use gicv5_arch::Lpi;
use gicv5_arch::irs::IrsReg;

use crate::handles::machine::Machine;
use crate::memory::{Accounts, Counters};
pub use crate::parts::access_log::Accesses;
use crate::parts::lpi_books::LpiRecord;
use crate::words::report::Report;
use crate::words::rules;
use crate::words::violation::{Place, Remark, Violation};

/// What was outstanding at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    blocks: Accounts,
    lpis: BTreeMap<Lpi, LpiRecord>,
    accesses: BTreeMap<IrsReg, Accesses>,
    memory: Counters,
}

/// What there is to say of the time since a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What is held now and was not then: blocks as [`rules::MEM_3`], LPIs as [`rules::POOL_3`].
    pub leaks: Vec<Violation>,
    /// The rules broken, oldest first.
    pub violations: Vec<Violation>,
    /// How many more there were, which the checker has counted and not kept.
    pub not_kept: u64,
    /// The remarks, oldest first, which make nothing unclean.
    pub remarks: Vec<Remark>,
    /// How many more remarks there were.
    pub remarks_not_kept: u64,
    /// The registers accessed, and how often.
    pub accesses: BTreeMap<IrsReg, Accesses>,
    /// Loads, stores and maintenance of table memory.
    pub memory: Counters,
}

impl Account {
    /// True if nothing has leaked and no rule was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.leaks.is_empty() && self.violations.is_empty() && self.not_kept == 0
    }
}

impl Machine {
    /// Remembers what is outstanding.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            blocks: state.memory.accounts(),
            lpis: state.lpis.live().clone(),
            accesses: state.accesses.by_register(),
            memory: state.memory.counters(),
        }
    }

    /// What there is to say of the time since a snapshot, as if everything that was allocated since should have been given
    /// back by now. Hands out the violations and the remarks so far, as
    /// [`take_violations`](Self::take_violations) and [`take_remarks`](Self::take_remarks) do.
    #[must_use]
    pub fn account(&self, since: &Snapshot) -> Account {
        let state = &mut *self.state();
        // A report of its own, because what leaks until now may yet be given back.
        let mut leaks = Report { clock: state.report.clock.clone(), ..Report::default() };
        for block in state.memory.accounts().leaks_since(&since.blocks) {
            let holder = state.memory.holder_of(&block);
            leaks.violate(rules::MEM_3, Place::Block(block.id, 0), 0, 0, || {
                let size = block.layout.size();
                match holder {
                    Some((owner, reason)) => format!("a block of {size:#x} bytes is left while {reason}: {owner}"),
                    None => format!("a block of {size:#x} bytes is left, and is software's"),
                }
            });
        }
        for (lpi, record) in state.lpis.live() {
            if since.lpis.get(lpi).is_none_or(|before| before.id != record.id) {
                leaks.violate(rules::POOL_3, Place::Lpi(*lpi), 0, 0, || {
                    format!("the LPI with cookie {:#x} was not released", record.cookie.0)
                });
            }
        }
        let accesses = state.accesses.by_register().into_iter().filter_map(|(register, now)| {
            let before = since.accesses.get(&register).copied().unwrap_or_default();
            let (reads, writes) = (now.reads - before.reads, now.writes - before.writes);
            (reads + writes > 0).then_some((register, Accesses { reads, writes }))
        });
        Account {
            accesses: accesses.collect(),
            memory: state.memory.counters().since(&since.memory),
            not_kept: state.report.checker.not_kept(),
            violations: state.report.checker.drain(),
            remarks_not_kept: state.report.checker.remarks_not_kept(),
            remarks: state.report.checker.drain_remarks(),
            leaks: leaks.checker.drain(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelHost;
    use crate::memory::ModelBlock;
    use crate::words::config::MachineConfig;
    use crate::words::fault::Fault;
    use crate::words::owner::{Owner, StructureKind};
    use gicv5_arch::irs::{IRS_CR0, IRS_IST_BASER};
    use gicv5_arch::{PhysAddr, VmId};
    use gicv5_hal::{Block, BlockLayout, Cookie, Frame, HostLpis, Irs, IrsExt, IrsIndex, TableMemory};

    fn host() -> ModelHost {
        ModelHost::start(&Machine::new(MachineConfig::new(1, 0)).unwrap(), 0..8).unwrap()
    }

    fn allocate(machine: &Machine) -> ModelBlock {
        machine.allocate(BlockLayout::new(4096, 4096, PhysAddr::highest(48)).unwrap()).unwrap()
    }

    fn rules(violations: &[Violation]) -> Vec<&'static str> {
        violations.iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn what_was_held_before_is_no_leak_and_what_is_held_since_is_until_it_is_given_back() {
        let host = host();
        let machine = host.machine();
        let (old_block, old_lpi) = (allocate(machine), host.allocate(Cookie(1)).unwrap());
        let before = machine.snapshot();
        assert!(machine.account(&before).is_clean());
        let (block, lpi) = (allocate(machine), host.allocate(Cookie(2)).unwrap());
        let account = machine.account(&before);
        assert_eq!((rules(&account.leaks), account.is_clean()), (vec!["MEM-3", "POOL-3"], false));
        machine.free(block);
        host.release(lpi).unwrap();
        assert!(machine.account(&before).is_clean());
        // Another that has got the place and the number of the first.
        machine.free(old_block);
        host.release(old_lpi).unwrap();
        assert!(machine.account(&before).is_clean(), "to give back more than was asked for is no leak");
        let (block, lpi) = (allocate(machine), host.allocate(Cookie(3)).unwrap());
        assert_eq!(rules(&machine.account(&before).leaks), ["MEM-3", "POOL-3"]);
        drop((block, lpi));
    }

    #[test]
    fn a_leak_tells_whose_the_memory_is() {
        let machine = Machine::new(MachineConfig::new(1, 0)).unwrap();
        let before = machine.snapshot();
        let block = allocate(&machine);
        let leak = |machine: &Machine| machine.account(&before).leaks.pop().unwrap().what;
        assert_eq!(leak(&machine), "a block of 0x1000 bytes is left, and is software's");
        let owner = Owner::vm(StructureKind::VpeDescriptor, VmId::new(3));
        {
            let state = &mut *machine.state();
            state.memory.own(&mut state.report, IrsIndex(0), block.address().offset(64).unwrap(), 64, owner).unwrap();
        }
        assert_eq!(leak(&machine), "a block of 0x1000 bytes is left while the IRS owned it: a VPE descriptor of VM 3");
    }

    #[test]
    fn what_is_reported_when_it_happens_is_in_the_account() {
        // GEN-18: and a write after IDLE=1 is not.
        let host = host();
        let machine = host.machine();
        let before = machine.snapshot();
        machine.write(IrsIndex(0), IRS_CR0::ZERO.with_irsen(true));
        while !machine.read::<IRS_CR0>(IrsIndex(0)).idle() {}
        machine.write(IrsIndex(0), IRS_CR0::ZERO.with_irsen(true));
        while !machine.read::<IRS_CR0>(IrsIndex(0)).idle() {}
        assert!(machine.account(&before).is_clean());
        machine.fault_next(Fault::Late(10));
        machine.write(IrsIndex(0), IRS_CR0::ZERO.with_irsen(true));
        machine.write(IrsIndex(0), IRS_CR0::ZERO.with_irsen(true));
        assert_eq!(rules(&machine.account(&before).violations), ["GEN-18"]);
        assert!(machine.account(&before).is_clean(), "they are handed out once");
    }

    #[test]
    fn violations_beyond_what_the_checker_keeps_are_not_forgotten() {
        let machine = Machine::new(MachineConfig::new(1, 0)).unwrap();
        let before = machine.snapshot();
        machine.state().report.checker = crate::words::violation::Checker::new(0);
        let block = allocate(&machine);
        machine.load64(&block, 1);
        machine.free(block);
        let account = machine.account(&before);
        assert_eq!((account.violations.len(), account.not_kept, account.is_clean()), (0, 1, false));
    }

    #[test]
    fn accesses_are_counted_by_register_whole_or_by_half() {
        let host = host();
        let machine = host.machine();
        let before = machine.snapshot();
        let base: IRS_IST_BASER = machine.read(IrsIndex(0));
        let frame = Frame::config(IrsIndex(0));
        machine.read32(frame, IrsReg::IRS_IST_BASER.offset() + 4);
        machine.write32(frame, IrsReg::IRS_IST_BASER.offset(), base.raw_value() as u32);
        machine.read32(frame, 0x8ff0);
        machine.read32(Frame::set_lpi(IrsIndex(0)), 0);
        let account = machine.account(&before);
        let expected = [(IrsReg::IRS_IST_BASER, Accesses { reads: 2, writes: 1 })];
        assert_eq!(account.accesses.into_iter().collect::<Vec<_>>(), expected);
        let block = allocate(machine);
        machine.store64(&block, 0, 1);
        machine.publish(IrsIndex(0), &block, 0..8);
        machine.free(block);
        let memory = machine.account(&before).memory;
        assert_eq!((memory.loads, memory.stores, memory.barriers), (0, 1, 1));
    }
}
