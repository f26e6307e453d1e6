//! VMs made by hand, as many as one likes, on a host: for the tests of what several VMs have to do with each other, and for
//! measuring.
#![allow(dead_code, reason = "not every user needs all of it")]

use std::error::Error;

use gicv5_arch::entry::{L2_ISTE, L2_VMTE};
use gicv5_arch::geometry::{IstGeometry, VmTableGeometry};
use gicv5_arch::irs::IRS_VPE_DBR;
use gicv5_arch::values::IstSize;
use gicv5_arch::{Iaffid, IrsIntId, IrsIntType, Lpi, Priority, VmId, VpeId};
use gicv5_hal::{Block, IrsIndex, TableMemory};
use gicv5_model::hand::Vms;
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelHost, hand};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// A VM's LPIs: 64, all enabled, of priority 10, LPI n for VPE n modulo the number of VPEs.
pub(crate) const LPIS: u32 = 64;

/// A host with a two-level VM table and the VMs in it.
pub(crate) struct Farm {
    pub(crate) host: ModelHost,
    pub(crate) machine: Machine,
    vms: Vms,
}

/// A VM, and its IST.
pub(crate) struct HandMade {
    made: hand::HandMade,
    ist: ModelBlock,
}

pub(crate) fn lpi(id: u32) -> IrsIntId {
    Lpi::new(id).map_or(IrsIntId::Lpi(Lpi::new_with_raw_value(arbitrary_int::u24::new(0))), IrsIntId::Lpi)
}

impl Farm {
    pub(crate) fn new(machine: &Machine, lpis: u32) -> Outcome<Farm> {
        let host = ModelHost::start(machine, 0..lpis)?;
        let vms = Vms::new(&host, VmTableGeometry::two_level(16)?)?;
        Ok(Farm { machine: machine.clone(), host, vms })
    }

    /// Makes a VM valid with VPEs 0 to `vpes` - 1, and with its LPIs.
    pub(crate) fn make_vm(&mut self, vm: VmId, vpes: u16) -> Outcome<HandMade> {
        let ist = self.host.table(IstGeometry::linear(6, IstSize::Bytes4)?)?;
        for id in 0..LPIS {
            let target = Iaffid::new((id % u32::from(vpes)) as u16);
            let entry = L2_ISTE::ZERO.with_enable(true).with_iaffid(target).with_priority(Priority::new(10)?);
            self.machine.store32(&ist.block, u64::from(id) * 4, entry.raw_value());
        }
        self.machine.publish(IrsIndex(0), &ist.block, 0..ist.block.size());
        let vmte = L2_VMTE::ZERO.with_ist(IrsIntType::Lpi, ist.vmte_word()?.with_ist_valid(true));
        let made = self.vms.make_vm(vm, vmte, (0..vpes).map(VpeId::new))?;
        Ok(HandMade { made, ist: ist.block })
    }

    /// Makes a VM invalid and gives its memory back.
    pub(crate) fn break_vm(&mut self, HandMade { made, ist }: HandMade) -> Outcome<()> {
        self.vms.break_vm(made)?;
        self.machine.free(ist);
        Ok(())
    }

    /// Writes the doorbell settings of a VPE.
    pub(crate) fn set_doorbell(&self, vm: VmId, vpe: u16, settings: IRS_VPE_DBR) -> Outcome<()> {
        Ok(self.host.set_doorbell(vm, VpeId::new(vpe), settings)?)
    }

    /// Sets or clears Pending of a VM's LPI, from PE 0.
    pub(crate) fn pend(&self, vm: VmId, id: u32, pending: bool) {
        self.host.pend(vm, lpi(id), pending);
    }
}

/// Settings that ask for a doorbell with no mask.
pub(crate) fn doorbell(lpi: Lpi) -> IRS_VPE_DBR {
    let settings = IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(true).with_intid(lpi);
    settings.with_dbpm(Priority::LEAST_URGENT)
}
