//! Floor 4: the engine, which alone sees every part.

pub(crate) mod irs;
pub(crate) mod ist_memory;
pub(crate) mod machine;
pub(crate) mod residency;
pub(crate) mod virt;
