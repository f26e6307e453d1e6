//! Floor 5: the handles that software and tests hold.

mod table_memory;
