//! Physical SPIs that belong to a VM.

use gicv5_arch::irs::{IRS_SPI_RESAMPLER, IRS_SPI_VMR};

use super::prelude::*;

/// The usual VM, resident, and the wired SPI in it.
fn assigned<B: Bench>(lab: &Lab<'_, B>, mode: TriggerMode) -> Result<gicv5_arch::Spi, Failure> {
    let spi = lab.wire()?;
    lab.world()?;
    // The VM's SPI has the same number, and its IST has to have that many (SPI-9).
    if spi.id() >= INTERRUPTS {
        return Err(Failure::Exhausted { what: "SPI of a small number with a wire" });
    }
    lab.trigger(spi, mode)?;
    lab.assign(spi, Some(VM))?;
    lab.load(0, VM, VPES[0])?;
    Ok(spi)
}

group! { "assigned_spi";
    /// An SPI that belongs to a VM is no physical interrupt, and is one again when it comes back.
    fn assigned_spi_is_not_physical(lab) rules["SPI-9", "SPI-12", "SPI-11"] needs[Need::Virt, Need::Wire] {
        let spi = assigned(lab, TriggerMode::Edge)?;
        expect("IRS_SPI_VMR.VIRT", true, lab.read::<IRS_SPI_VMR>().virt())?;
        expect("IRS_SPI_VMR.VM_ID", VM.raw_value(), lab.read::<IRS_SPI_VMR>().vm_id().raw_value())?;
        lab.expect_reachable(spi, false)?;
        lab.assign(spi, None)?;
        lab.expect_reachable(spi, true)
    }

    /// An edge on its wire makes the VM's SPI of the same number pending.
    fn edge_reaches_the_vm(lab) rules["SPI-9", "INJ-6", "SPI-4", "ISM-12"] needs[Need::Virt, Need::Wire] {
        let spi = assigned(lab, TriggerMode::Edge)?;
        lab.expect_no_virtual(0)?;
        lab.bench().drive_spi(true);
        lab.expect_virtual(0, vspi(spi.id()))?;
        lab.bench().drive_spi(false);
        lab.expect_virtual(0, vspi(spi.id()))
    }

    /// A level on its wire makes it pending for as long as it is high.
    fn level_reaches_the_vm(lab) rules["SPI-9", "INJ-6", "SPI-4"] needs[Need::Virt, Need::Wire] {
        let spi = assigned(lab, TriggerMode::Level)?;
        lab.bench().drive_spi(true);
        lab.expect_virtual(0, vspi(spi.id()))?;
        lab.bench().drive_spi(false);
        lab.expect_no_virtual(0)
    }

    /// A resample shows the VM a wire that was high before the SPI was its.
    fn resample_shows_the_wire(lab) rules["SPI-5", "SPI-11"] needs[Need::Virt, Need::Wire] {
        let spi = lab.wire()?;
        lab.trigger(spi, TriggerMode::Level)?;
        lab.bench().drive_spi(true);
        assigned(lab, TriggerMode::Level)?;
        lab.write(IRS_SPI_RESAMPLER::ZERO.with_spi_id(spi))?;
        lab.expect_virtual(0, vspi(spi.id()))?;
        lab.bench().drive_spi(false);
        lab.expect_no_virtual(0)
    }

    /// Events for a VM that is not valid are dropped.
    fn events_of_an_invalid_vm_are_dropped(lab) rules["SPI-10", "VM-12"] needs[Need::Virt, Need::Wire] {
        let spi = assigned(lab, TriggerMode::Edge)?;
        lab.put(0)?;
        lab.map_vm(VM, MapAction::MakeInvalid)?;
        lab.bench().drive_spi(true);
        lab.linger();
        lab.bench().drive_spi(false);
        lab.expect_reachable(spi, false)?;
        lab.assign(spi, None)?;
        lab.expect_pending(spi, false)
    }
}
