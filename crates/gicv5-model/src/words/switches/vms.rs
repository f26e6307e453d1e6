//! What is open of VMs, of VPEs and of saving.

use super::position::Position;

choice! {
    /// What becomes of the interrupt states that the IRS holds when a VM, or the VM table, becomes invalid.
    EndOfStates {
        /// They go back to the ISTs.
        WrittenBack,
        /// They are forgotten: the ISTs stay as they were written last. Software that wants them saves the VM first.
        Forgotten,
    }
}

choice! {
    /// What becomes of LPI_IST_VALID and SPI_IST_VALID when their VM becomes invalid.
    IstValid {
        /// They stay, and the ISTs are valid again with the VM.
        Kept,
        /// The IRS clears them. KVM's restore does not work here.
        Cleared,
    }
}

choice! {
    /// What becomes of VALID in the VPE table's entries when their VM becomes invalid.
    VpeValid {
        /// It stays, and the VPEs are valid again with the VM.
        Kept,
        /// The IRS clears it. KVM's restore does not work here.
        Cleared,
    }
}

choice! {
    /// Whether a VPE's doorbell settings and DPS outlive its VM's being invalid. In either case the IRS leaves its own data in
    /// the descriptors.
    VpeState {
        /// They do not: the descriptors have to be zero again, and the settings have to be made again.
        Reset,
        /// They do, if software leaves the descriptors as the IRS left them.
        Survives,
    }
}

choice! {
    /// What the IRS does about a VPE whose descriptor, or whose VM's, was not zero when it became valid. Its configuration is
    /// UNKNOWN in either case: drawn from the seed.
    DirtyDescriptor {
        /// It selects candidates for it.
        SelectsCandidates,
        /// It never does.
        NeverSelects,
    }
}

choice! {
    /// What IRS_VPE_CR0.DPS is without 1-of-N routing.
    VpeDps {
        /// Reads as zero, writes ignored.
        Zero,
        /// Reads as one, writes ignored.
        One,
        /// Reads as written; zero when the VPE becomes valid.
        Kept,
    }
}

choice! {
    /// What a write of IRS_VPE_SELR with S=0 does.
    EmptySelection {
        /// Nothing: what was selected stays selected.
        Ignored,
        /// Nothing is selected any more.
        Deselects,
    }
}

choice! {
    /// What IRS_VPE_HPPIR reports of the selected VPE.
    VpeHppir {
        /// Its candidate.
        Candidate,
        /// Its candidate while it is resident nowhere; nothing otherwise.
        NothingWhileResident,
        /// Its candidate if that passes the doorbell mask of its settings; nothing otherwise.
        PassingMask,
    }
}

choice! {
    /// What becomes of an interrupt that is made pending while its target VPE is not valid.
    InvalidTarget {
        /// It is pending, and a candidate as soon as the VPE becomes valid.
        Waits,
        /// It is pending, but not noticed until an instruction or an event names it while the VPE is valid.
        IsNotNoticed,
        /// It does not become pending.
        IsLost,
    }
}

choice! {
    /// When IRS_SAVE_VM_STATUSR.Q is made.
    SaveVerdict {
        /// When it is read.
        WhenRead,
        /// When the command that asks completes; it stays until the next.
        WhenAsked,
    }
}

choice! {
    /// After what a VM is not quiescent any more.
    Disturbance {
        /// A change of the state of one of its interrupts.
        Changes,
        /// Any instruction or event that names one of its interrupts, even if nothing changes or it cannot be reached.
        Attempts,
        /// The same, and any doorbell of it.
        AttemptsAndDoorbells,
    }
}
