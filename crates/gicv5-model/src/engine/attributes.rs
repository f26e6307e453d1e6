//! The memory attributes of the IRSs (IRS_CR1): which count, and whether they fit the memory.
//!
//! Memory does not depend on them: an IRS sees the caches of the PEs or does not, as the machine is configured. The checker
//! remarks on attributes that say otherwise.

use gicv5_arch::IrsIntType;
use gicv5_arch::irs::{IRS_CR1, IrsReg};
use gicv5_arch::values::{Cacheability, Shareability};
use gicv5_hal::{Coherency, IrsIndex};

use crate::engine::state::MachineState;
use crate::parts::interrupts::Backing;
use crate::parts::irs_registers::frame;
use crate::words::rules;
use crate::words::violation::Place;

impl MachineState {
    /// A write of IRS_CR1. The register keeps it; it counts if no table is valid (GEN-20).
    pub(super) fn write_attributes(&mut self, irs: usize, new: IRS_CR1) {
        let in_use = self.has_tables();
        let Some(state) = self.irses.get_mut(irs) else { return };
        let old = std::mem::replace(&mut state.cr1, new);
        if !in_use {
            state.attributes = new;
        } else if new != old {
            let place = Place::Register(frame(irs), IrsReg::IRS_CR1.offset());
            self.report.remark(rules::GEN_20, place, old.raw_value().into(), new.raw_value().into(), || {
                "software changes the attributes while a table is valid, and the IRS goes on with those it had".into()
            });
        }
    }

    /// Whether a table is valid, or a command that makes one so is under way.
    fn has_tables(&self) -> bool {
        let ist = self.ist.baser.valid() || matches!(self.interrupts.backing(IrsIntType::Lpi), Backing::Ist(_));
        let vm_table = self.virt.table.is_some() || self.irses.iter().any(|irs| irs.vmt.baser().valid());
        ist || vm_table
    }

    /// A table becomes valid, which every IRS of the domain accesses from now on: looks at the attributes with which it does so
    /// (COH-11).
    pub(super) fn judge_attributes(&mut self, table: &str) {
        for irs in 0..self.irses.len() {
            let Some(attributes) = self.irses.get(irs).map(|irs| irs.attributes) else { continue };
            let Some(mismatch) = mismatch(self.memory.coherency(IrsIndex(irs as u16)), attributes) else { continue };
            let place = Place::Register(frame(irs), IrsReg::IRS_CR1.offset());
            self.report.remark(rules::COH_11, place, 0, attributes.raw_value().into(), || {
                format!("{table} becomes valid for an IRS that {mismatch}")
            });
        }
    }
}

/// How attributes contradict the memory that an IRS is attached to. Non-cacheable memory is outer shareable, whatever SH says.
fn mismatch(coherency: Coherency, attributes: IRS_CR1) -> Option<&'static str> {
    let outer_and_inner = [attributes.oc(), attributes.ic()];
    match coherency {
        Coherency::Coherent if outer_and_inner.contains(&Ok(Cacheability::NonCacheable)) => {
            Some("sees the caches of the PEs, and was told that tables are not cached")
        }
        Coherency::Coherent if attributes.sh() == Ok(Shareability::NonShareable) => {
            Some("sees the caches of the PEs, and was told that tables are not shared with them")
        }
        Coherency::NonCoherent if outer_and_inner != [Ok(Cacheability::NonCacheable); 2] => {
            Some("does not see the caches of the PEs, and was told that tables are cached")
        }
        _ => None,
    }
}
