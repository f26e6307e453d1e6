//! Random accesses to an IRS frame, compared between two machines and shortened where they differ.
#![forbid(unsafe_code)]

pub mod compare;
pub mod generate;
pub mod layout;
pub mod operation;
pub mod random;
pub mod shrink;

pub use operation::{Answer, Fact, Frame, Level, Operation, Verdict, Width, pieces};
