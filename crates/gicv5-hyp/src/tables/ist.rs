//! Virtual ISTs: the state of a VM's SPIs and LPIs.
//!
//! All level-2 ISTs are allocated and named before the IST becomes valid, VALID set by software as it is allowed then
//! (IST-21): the guest chooses which of its LPIs it uses, and nobody asks the hypervisor first.
//!
//! The SPI IST comes with init and stays until the VM is invalid. The LPI IST comes when the guest enables LPIs, and may go
//! again (IST-29).

use gicv5_arch::IrsIntType;
use gicv5_arch::geometry::IstGeometry;
use gicv5_hal::{Block, TableMemory};

use crate::ids::IstKey;
use gicv5_irs::heap::Boxed;
use gicv5_irs::lease::{Part, Structure};
use gicv5_irs::levels::Levels;

/// An IST.
pub(crate) struct Ist<B> {
    pub(crate) key: IstKey,
    /// Every interrupt in it is disabled, inactive and idle at first, which is what zero means (IST-24).
    pub(crate) levels: Levels<B, IstGeometry>,
}

impl<B: Block> Structure<B> for Ist<B> {
    fn blocks<'a>(&'a self) -> impl Iterator<Item = &'a B>
    where
        B: 'a,
    {
        self.levels.blocks()
    }

    fn free<M: TableMemory<Block = B>>(self, memory: &M) {
        self.levels.free(memory);
    }
}

/// The ISTs of a VM. Many VMs have none, so they take room of their own.
pub(crate) struct Ists<B> {
    spi: Part<Boxed<Ist<B>>>,
    lpi: Part<Boxed<Ist<B>>>,
}

impl<B> Ists<B> {
    pub(crate) const NONE: Ists<B> = Ists { spi: Part::Absent, lpi: Part::Absent };

    /// Bytes of table memory.
    pub(crate) fn bytes(&self) -> u64
    where
        B: Block,
    {
        [&self.spi, &self.lpi].into_iter().filter_map(Part::content).map(|ist| ist.bytes()).sum()
    }

    pub(crate) fn part_mut(&mut self, int_type: IrsIntType) -> &mut Part<Boxed<Ist<B>>> {
        match int_type {
            IrsIntType::Lpi => &mut self.lpi,
            IrsIntType::Spi => &mut self.spi,
        }
    }
}
