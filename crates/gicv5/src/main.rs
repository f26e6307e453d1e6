//! The GICv5 lab.
fn main() {}
