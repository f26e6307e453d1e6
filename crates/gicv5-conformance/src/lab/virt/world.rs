//! The machine that most tests of the virtual half start from.

use gicv5_arch::{IrsIntType, VmId};

use crate::bench::Bench;
use crate::lab::Lab;
use crate::lab::virt::cast::{DOORBELLS, OTHER, VM, VPES, preset};
use crate::lab::virt::ists::VirtualIst;
use crate::lab::virt::tables::{Vm, VmTable};
use crate::outcome::{Failure, Outcome};

/// What most tests start from: [`VM`] with [`VPES`] and both ISTs, whose interrupts are enabled, have priority 10 and target
/// the first VPE.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The VM table.
    pub table: VmTable,
    /// The VM.
    pub vm: Vm,
    /// Its LPI IST.
    pub lpis: VirtualIst,
    /// Its SPI IST.
    pub spis: VirtualIst,
}

impl<B: Bench> Lab<'_, B> {
    /// A VM with both ISTs.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn vm_with_ists(&self, table: &VmTable, id: VmId) -> Result<(Vm, VirtualIst, VirtualIst), Failure> {
        let vm = self.vm(table, id)?;
        let lpis = self.virtual_ist(&vm, IrsIntType::Lpi, preset(10, VPES[0]))?;
        let spis = self.virtual_ist(&vm, IrsIntType::Spi, preset(10, VPES[0]))?;
        Ok((vm, lpis, spis))
    }

    /// The usual VM, and [`OTHER`] with both ISTs beside it.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn two_vms(&self) -> Outcome {
        let world = self.world()?;
        self.vm_with_ists(&world.table, OTHER).map(drop)
    }

    /// The usual VM, with its first VPE resident on PE 0.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn resident(&self) -> Result<World, Failure> {
        let world = self.world()?;
        self.load(0, VM, VPES[0])?;
        Ok(world)
    }

    /// The usual VM, with the IRS enabled. The host has an LPI IST, and the doorbells of both VPEs are
    /// set up with a mask that lets everything through; nobody has asked for them.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn world(&self) -> Result<World, Failure> {
        self.linear_ist()?;
        let table = self.vm_table()?;
        let (vm, lpis, spis) = self.vm_with_ists(&table, VM)?;
        for (vpe, doorbell) in VPES.into_iter().zip(DOORBELLS) {
            self.set_doorbell(VM, vpe, self.doorbell(doorbell)?)?;
        }
        for (vpe, doorbell) in VPES.into_iter().zip(DOORBELLS) {
            self.expect_vpe(VM, vpe, true)?;
            self.expect_settings(self.doorbell(doorbell)?)?;
        }
        self.irs_enable(true)?;
        Ok(World { table, vm, lpis, spis })
    }
}
