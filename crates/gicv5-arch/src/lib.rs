//! The GICv5 architecture as types.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
#[macro_use]
extern crate std;

pub mod layout;

pub mod values;

mod address;
mod id;
mod priority;

pub use address::{Addr51_12, Addr55_3, Addr55_6, Addr55_12, AddressError, FieldAddr, PhysAddr};
pub use id::{
    Iaffid, IdOutOfRange, IntId, IntType, IrsIntId, IrsIntType, Lpi, NotAnIntId, NotAnIrsIntId, Ppi, PpiBank,
    PpiHandling, Spi, VmId, VpeId,
};
pub use priority::{ActivePriorities, Priority, PriorityOutOfRange, Urgency};

pub mod irs;
pub mod register;
