//! The physical LPIs' IST.

use gicv5_arch::geometry::IstGeometry;
use gicv5_arch::irs::{IRS_CR1, IRS_IST_BASER, IrsReg};
use gicv5_arch::values::{Cacheability, Shareability};
use gicv5_arch::{Addr55_6, Lpi};
use gicv5_hal::{Coherency, TableMemory};

use crate::bench::Bench;
use crate::features::IRS;
use crate::lab::Lab;
use crate::lab::memory::TableBlock;
use crate::outcome::{Failure, Outcome, expect};

impl<B: Bench> Lab<'_, B> {
    /// The smallest linear IST of zeros, valid (LPI-1).
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted), [`Failure::Busy`](crate::Failure::Busy).
    pub fn linear_ist(&self) -> Result<(IstGeometry, TableBlock), Failure> {
        let ist = self.features.linear_ist().ok_or(Failure::Exhausted { what: "linear IST" })?;
        let table = self.memory(ist.base())?;
        self.adopt(ist, table)?;
        Ok((ist, table))
    }

    /// Makes an IST valid.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`](crate::Failure::Busy); [`Failure::Exhausted`](crate::Failure::Exhausted) if the memory lies where no IRS reaches.
    pub fn adopt(&self, ist: IstGeometry, table: TableBlock) -> Outcome {
        self.write_attributes()?;
        self.write(ist.cfgr())?;
        expect("IRS_IST_CFGR", ist.cfgr().raw_value(), self.read_raw(IrsReg::IRS_IST_CFGR) as u32)?;
        let address = Addr55_6::new(table.address).map_err(|_| Failure::Exhausted { what: "aligned memory" })?;
        let base = IRS_IST_BASER::ZERO.with_addr(address).with_valid(true);
        self.write(base)?;
        expect("IRS_IST_BASER", base.raw_value(), self.read_raw(IrsReg::IRS_IST_BASER))
    }

    /// The attributes with which the IRS accesses tables as the PEs do.
    pub(super) fn attributes(&self) -> IRS_CR1 {
        let (cache, share) = match self.bench.memory().coherency(IRS) {
            Coherency::Coherent => (Cacheability::WriteBack, Shareability::Inner),
            Coherency::NonCoherent => (Cacheability::NonCacheable, Shareability::Outer),
        };
        let allocate = cache == Cacheability::WriteBack;
        let attributes = IRS_CR1::ZERO.with_ic(cache).with_oc(cache).with_sh(share);
        let attributes = attributes.with_ist_ra(allocate).with_ist_wa(allocate);
        if !self.features.virt {
            return attributes;
        }
        let attributes = attributes.with_vmt_ra(allocate).with_vmt_wa(allocate).with_vpet_ra(allocate);
        let attributes = attributes.with_vpet_wa(allocate).with_vmd_ra(allocate).with_vmd_wa(allocate);
        attributes.with_vped_ra(allocate).with_vped_wa(allocate)
    }

    /// Makes the IRS access tables as the PEs do (GEN-20).
    pub(crate) fn write_attributes(&self) -> Outcome {
        // The attributes count only if no structure is valid when they are written (GEN-20): the second to come finds them.
        if self.features.virt && self.attributes.replace(true) {
            return Ok(());
        }
        let attributes = self.attributes();
        self.write(attributes)?;
        if self.ability.get().keeps_attributes {
            expect("IRS_CR1", attributes.raw_value(), self.read::<IRS_CR1>().raw_value())?;
        }
        Ok(())
    }

    /// Makes the IST invalid, which writes it back.
    ///
    /// # Errors
    ///
    /// [`Failure::Unequal`](crate::Failure::Unequal), [`Failure::Busy`](crate::Failure::Busy).
    pub fn withdraw(&self) -> Outcome {
        self.write(IRS_IST_BASER::ZERO)?;
        expect("IRS_IST_BASER.VALID", false, self.read::<IRS_IST_BASER>().valid())
    }

    /// An LPI.
    ///
    /// # Errors
    ///
    /// [`Failure::Exhausted`](crate::Failure::Exhausted) if the number is none.
    pub fn lpi(&self, id: u32) -> Result<Lpi, Failure> {
        Lpi::new(id).map_err(|_| Failure::Exhausted { what: "LPI of that number" })
    }
}
