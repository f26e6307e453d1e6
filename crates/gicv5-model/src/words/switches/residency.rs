//! What is open of residency and of the virtual CPU interface.

use super::position::Position;

choice! {
    /// A VPE is made resident that is resident on another PE: software must not (RES-4).
    ResidentElsewhere {
        /// The request fails with F=1; the VPE stays where it is.
        Fails,
        /// The VPE moves; the PE it was on is not told.
        Moves,
    }
}

choice! {
    /// One write with V=1 follows another that names a different VPE: software must not (RES-22).
    ReplacedVpe {
        /// The old VPE leaves without a doorbell request, and the new one becomes resident.
        Leaves,
        /// The old VPE leaves without a doorbell request, and the request for the new one fails: F=1 says that none is resident
        /// (RES-2).
        LeavesAndNewFails,
    }
}

choice! {
    /// What ICH_CONTEXTR_EL2 reads after a request that failed, apart from F=1.
    FailedContext {
        /// V=0, and VM and VPE as written.
        ReadsInvalid,
        /// V=1, and VM and VPE as written.
        ReadsAsWritten,
        /// V=0, VM=0 and VPE=0.
        ReadsZero,
    }
}

choice! {
    /// How long F stays set after a request that failed.
    ContextFault {
        /// Until the next write, also one with V=0.
        UntilNextWrite,
        /// Until a VPE has become resident.
        UntilSuccess,
    }
}

choice! {
    /// What becomes of a doorbell request that has not rung when the VPE becomes resident.
    DoorbellRequest {
        /// It is forgotten.
        EndsWithResidency,
        /// It counts again when the VPE has left, even if nobody asks anew.
        SurvivesResidency,
    }
}

choice! {
    /// Whether IRICHPPIDIS keeps a VPE's doorbell from ringing.
    IrichppidisDoorbell {
        /// It does not.
        Rings,
        /// In the write that ends the residency it does, until the VPE becomes resident.
        Silent,
        /// In the write that began the residency it does, until the VPE becomes resident again.
        SilentAsWhileResident,
    }
}

choice! {
    /// Whether ICH_VCTLR_EL2.EN matters.
    VirtualEnable {
        /// With EN=0 there is no virtual HPPI.
        Needed,
        /// It does not matter.
        NotNeeded,
    }
}

choice! {
    /// Whether the candidate of a resident VPE is forwarded while the IRS of its PE is disabled (IRS_CR0.IRSEN=0).
    ForwardingOfDisabledIrs {
        /// It is recalled, as the PE's own is.
        Stops,
        /// It is forwarded.
        GoesOn,
    }
}

choice! {
    /// What becomes of a candidate that has been forwarded and not acknowledged when its IST or its VM becomes invalid.
    WithdrawnCandidate {
        /// It is recalled.
        Recalled,
        /// The PE keeps it until the IRS forwards another or the VPE leaves; an acknowledge takes it and activates nothing.
        Stays,
    }
}

choice! {
    /// What `GIC VDRCFG`, or `GIC CDRCFG` from a guest, leaves in ICC_ICSR_EL1 while no VPE is resident.
    AnswerForNobody {
        /// F=1.
        Fails,
        /// What was there.
        OldAnswer,
    }
}

choice! {
    /// Whether a PPI that is hidden from the guest is a candidate.
    HiddenPpi {
        /// Only the registers hide it: software keeps it disabled (PPI-18).
        StillSignalled,
        /// It is never signalled, as if it was not implemented (PPI-5), and the guest cannot deactivate it.
        NeverSignalled,
    }
}

choice! {
    /// Whether virtual PPIs compete while no VPE is resident.
    PpisAlone {
        /// They compete, and a guest acknowledges, drops and deactivates them. KVM in Linux 7.1 to 7.3 needs it: its guests have
        /// PPIs only, no VM table and no VPE.
        Compete,
        /// The virtual domain has no HPPI, and a drop or a deactivation there does nothing.
        NotSignalled,
    }
}
