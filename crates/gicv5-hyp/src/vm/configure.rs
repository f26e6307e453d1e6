//! Who gives a VPE its settings.

use core::sync::atomic::{Ordering, fence};

use gicv5_arch::irs::{IRS_VPE_CR0, IRS_VPE_DBR, IRS_VPE_SELR, IRS_VPE_STATUSR, IrsReg};
use gicv5_arch::{Lpi, Priority, VmId, VpeId};

use crate::Hypervisor;
use crate::doorbell::DoorbellSet;
use crate::doorbell::mask::DoorbellMask;
use crate::machine::Machine;
use crate::tables::vpe_table::NO_VPE;
use gicv5_irs::command::{Command, CommandError, Place};
use gicv5_irs::command_port::PortKind;

/// The settings of a VPE before it is configured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// It has become valid just now, and has none (VPE-9).
    None,
    /// They may be anything.
    Unknown,
}

impl<H: Hypervisor> Machine<H> {
    /// Selects a VPE, which shows whether it is valid (VPE-12), takes it out of 1-of-N selection and gives it its doorbell,
    /// with no request. Every VPE needs this after it has become valid (VPE-10, VPE-11).
    pub(crate) async fn configure_vpe(
        &self,
        vm: VmId,
        vpe: VpeId,
        lpi: Lpi,
        mask: DoorbellMask,
        before: Settings,
    ) -> Result<DoorbellSet, CommandError> {
        let command = Command::SelectVpe(vm, vpe);
        let mut port = self.port(PortKind::Vpe, command).await?;
        let select = |vpe| IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe);
        // V says that a VPE is selected, not which (GEN-17). A selection without effect leaves the one before. That VPE has a
        // doorbell, which a fresh one has not; or it is not valid any more, which the next write says (VPE-13). Where neither
        // tells, nothing is selected first: the VPE before may be fresh too, of this VM or of another that is just being made. One
        // that is made later waits for the port first.
        fence(Ordering::SeqCst);
        let others_are_fresh = self.fresh_vms.load(Ordering::Relaxed) > 1;
        if self.fresh_vpe_selected.swap(true, Ordering::Relaxed) || others_are_fresh || before == Settings::Unknown {
            let status = port.issue(command, select(NO_VPE)).await?;
            if IRS_VPE_STATUSR::new_with_raw_value(status as u32).v() {
                return Err(port.no_effect(command, Place::Register(IrsReg::IRS_VPE_STATUSR), status));
            }
        }
        port.issue_valid(command, select(vpe)).await?;
        if before == Settings::None {
            let found: IRS_VPE_DBR = port.read();
            if found.dbv() {
                return Err(port.register_says(command, found));
            }
        }

        let command = Command::ConfigureVpe(vm, vpe);
        port.issue_valid(command, IRS_VPE_CR0::ZERO.with_dps(true)).await?;
        // Without 1-of-N the register may read as zero (open question 20).
        if self.limits.one_of_n {
            let found: IRS_VPE_CR0 = port.read();
            if !found.dps() {
                return Err(port.register_says(command, found));
            }
        }

        let command = Command::SetDoorbell(vm, vpe);
        // The mask of a request replaces this one (DB-10). If it counts as well, it is in nobody's way.
        let open = mask.letting_through(Priority::LEAST_URGENT);
        let settings = IRS_VPE_DBR::ZERO.with_dbv(true).with_dbpm(open).with_intid(lpi);
        port.issue_valid(command, settings).await?;
        // A doorbell that is not set is a vCPU that sleeps for ever, so it is worth another look (DB-6).
        let found: IRS_VPE_DBR = port.read();
        if !found.dbv() || found.intid() != lpi {
            return Err(port.register_says(command, found));
        }
        self.fresh_vpe_selected.store(false, Ordering::Relaxed);
        Ok(DoorbellSet(()))
    }
}
