//! What is open of the VM table and of ISTs.

use super::position::Position;

choice! {
    /// Which IRSs of a domain software has to give the VM table to.
    VmTableProgramming {
        /// One: all show it and all know it.
        AnyIrs,
        /// Each: an IRS that has not been given it knows no VM, so that commands, selections, instructions and events that
        /// come to it are ignored. The table is invalid when the last IRS has given it up.
        EachIrs,
    }
}

choice! {
    /// When an IRS reads the entry that a command to make something valid names.
    EntryReading {
        /// When the command completes.
        AtCompletion,
        /// When the command starts.
        AtStart,
    }
}

choice! {
    /// What IRS_VMT_CFGR is taken for if it asks for more than IRS_IDR3 offers.
    UnsupportedVmTable {
        /// Each field on its own: VM_ID_BITS is clamped, STRUCTURE is linear.
        FieldByField,
        /// The whole is taken for what is supported: a linear table with all VM ID bits there are.
        Whole,
    }
}

choice! {
    /// What IRS_VMT_BASER and IRS_VMT_CFGR read after a write that has no effect because the table is valid.
    LiveRegisters {
        /// What they read before.
        Keep,
        /// What was written, although the IRS goes on as before.
        Take,
    }
}

choice! {
    /// What becomes of VALID in the level-1 entries of a VM table or an IST that becomes invalid.
    Level1Valid {
        /// It stays.
        Kept,
        /// The IRS clears it.
        Cleared,
    }
}

choice! {
    /// What an entry size (ISTSZ) does that is not the one the IRS needs.
    WrongEntrySize {
        /// The IRS uses it.
        IsUsed,
        /// The IRS uses the one it needs.
        IsReplaced,
    }
}

choice! {
    /// Which of the supported sizes takes the place of a size of level-2 ISTs (L2SZ) that is not supported.
    UnsupportedL2Size {
        /// The smallest.
        Smallest,
        /// The largest.
        Largest,
    }
}

choice! {
    /// What a number of ID bits out of range does in the description of a virtual IST.
    UnsupportedIdBits {
        /// It is clamped.
        Clamped,
        /// The IST does not become valid.
        Refused,
    }
}
