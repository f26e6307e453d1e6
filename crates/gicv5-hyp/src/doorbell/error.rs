//! Why a doorbell could not be allocated.

use gicv5_hal::LpiError;
use gicv5_irs::heap::OutOfMemory;

/// A doorbell could not be allocated. Nothing is held then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorbellError {
    /// As many doorbells are in use as the host was built for.
    #[error("all {limit} doorbells are in use")]
    NoneFree {
        /// How many there can be.
        limit: u32,
    },
    /// There is no memory for another chunk of words.
    #[error("no memory for a doorbell's word")]
    NoMemory,
    /// The host has no LPI for it.
    #[error(transparent)]
    Lpi(#[from] LpiError),
}

impl From<OutOfMemory> for DoorbellError {
    fn from(OutOfMemory: OutOfMemory) -> DoorbellError {
        DoorbellError::NoMemory
    }
}
