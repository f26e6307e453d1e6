//! The physical IST, and how it is taken back.
//!
//! It is lent *before* the first write that names it, and comes back only against a [`Withdrawn`], which [`withdraw`] makes
//! after every IRS of the domain has said that it is idle and that its IST is not valid (VMT-7 by way of LPI-1).

use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::{IRS_IST_BASER, IRS_IST_CFGR};
use gicv5_hal::{Block, Platform};
use gicv5_irs::command::{Command, CommandError};
use gicv5_irs::command_port::PortKind;
use gicv5_irs::lease::Proof;
use gicv5_irs::levels::Levels;

use crate::machine::Machine;

/// The IST.
pub(crate) type Ist<B> = Levels<B, IstGeometry>;

/// What to write to IRS_IST_CFGR, and to IRS_IST_BASER to make the IST valid.
pub(crate) fn registers<B: Block>(ist: &Ist<B>) -> Option<(IRS_IST_CFGR, IRS_IST_BASER)> {
    let address = ist.geometry().base().place(ist.base().address()).ok()?;
    Some((ist.geometry().cfgr(), IRS_IST_BASER::ZERO.with_addr(address).with_valid(true)))
}

/// Proof that no IRS touches the IST any more.
pub(crate) struct Withdrawn(());

impl<B> Proof<Ist<B>> for Withdrawn {
    fn covers(&self, _: &Ist<B>) -> bool {
        true
    }
}

/// Makes the IST invalid in every IRS of the domain. The write is harmless where it is not valid, and not left out there:
/// what a register reads is no better proof than what the IRS says when it has finished.
///
/// An IRS is asked only once nothing is under way on its IST registers, so that what it answers is final: an earlier
/// command that timed out has been settled by then.
pub(crate) async fn withdraw<H: Platform>(machine: &Machine<H>) -> Result<Withdrawn, CommandError> {
    for irs in &machine.found.irss {
        let mut port = machine.port(irs, PortKind::Ist, Command::WithdrawIst).await?;
        port.issue(Command::WithdrawIst, IRS_IST_BASER::ZERO).await?;
        let found: IRS_IST_BASER = port.read();
        if found.valid() {
            return Err(port.register_says(Command::WithdrawIst, found));
        }
    }
    Ok(Withdrawn(()))
}
