//! Who makes the VM table valid.

use gicv5_arch::irs::{IRS_VMT_BASER, IRS_VMT_CFGR, IrsReg};
use gicv5_hal::Lock;

use crate::Hypervisor;
use crate::machine::Machine;
use crate::tables::vm_table::{SharedVmTable, registers};
use gicv5_irs::command::{Command, CommandError, Place};
use gicv5_irs::command_port::Port;

impl<H: Hypervisor> SharedVmTable<H> {
    /// Gives the IRSs the table that has been drafted (VMT-1).
    ///
    /// One IRS is told of it. Whether the others know then is not said for certain (GEN-14, open question 13); their
    /// IRS_VMT_BASER tells. One that does not is given the same table: they share it (GEN-13).
    pub(crate) async fn make_valid(&self, machine: &Machine<H>, port: &mut Port<'_, H>) -> Result<(), CommandError> {
        let command = Command::MakeTableValid;
        let found: IRS_VMT_BASER = port.read();
        let registers = self.part.with(|part| {
            // A table that is valid already would be kept (VMT-5).
            if found.valid() { None } else { part.lend().and_then(registers) }
        });
        let Some((cfgr, baser)) = registers else {
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_BASER), found.raw_value()));
        };
        SharedVmTable::make_valid_in(port, cfgr, baser).await?;
        for irs in &machine.others {
            port.turn_to(*irs, command).await?;
            let found: IRS_VMT_BASER = port.read();
            if found != baser {
                SharedVmTable::make_valid_in(port, cfgr, baser).await?;
            }
        }
        Ok(())
    }

    /// Gives the IRS that the port is turned to its VM table.
    async fn make_valid_in(
        port: &mut Port<'_, H>,
        cfgr: IRS_VMT_CFGR,
        baser: IRS_VMT_BASER,
    ) -> Result<(), CommandError> {
        let command = Command::MakeTableValid;
        // The table is zero, also as the IRS sees it; the stores that made an old one so have been published.
        port.write(cfgr);
        let found: IRS_VMT_CFGR = port.read();
        if found != cfgr {
            // The IRS would walk a table of another shape than was allocated (VMT-11).
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_CFGR), found.raw_value().into()));
        }
        port.issue(command, baser).await?;
        let found: IRS_VMT_BASER = port.read();
        if found != baser {
            return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VMT_BASER), found.raw_value()));
        }
        Ok(())
    }
}
