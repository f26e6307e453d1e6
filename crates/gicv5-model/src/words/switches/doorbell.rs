//! What is open of doorbells.

use super::position::Position;

choice! {
    /// What a write of IRS_VPE_DBR does while the selected VPE is resident.
    SettingsWhileResident {
        /// What it does otherwise.
        AreTaken,
        /// Nothing.
        Ignored,
    }
}

choice! {
    /// What becomes of a doorbell request that IRS_VPE_DBR makes while the VPE is resident.
    RequestWhileResident {
        /// It is forgotten.
        Forgotten,
        /// It counts when the VPE has left.
        Remembered,
    }
}

choice! {
    /// Whether doorbells ring while IRS_CR0.IRSEN is 0 in every IRS of the domain.
    DoorbellsOfDisabledIrs {
        /// They do.
        Ring,
        /// They do not; those that are due ring when an IRS is enabled.
        Wait,
    }
}

choice! {
    /// Which priorities ring a doorbell with a mask (DBPM).
    DoorbellMask {
        /// The more urgent ones and the mask's own: in numbers, priority <= DBPM. 31 lets everything ring.
        ByUrgency,
        /// The greater numbers and the mask's own: priority >= DBPM. 0 lets everything ring. KVM loses doorbells here.
        ByNumber,
    }
}

choice! {
    /// Which mask a doorbell that was asked for by ICH_CONTEXTR_EL2 has to pass.
    RequestMask {
        /// That of the request, which takes the place of the one in IRS_VPE_DBR.
        OfRequest,
        /// That of the request and the one in IRS_VPE_DBR. KVM loses doorbells here: it leaves the mask of the settings at 0.
        OfBoth,
    }
}

choice! {
    /// What DB=1 does in a write of ICH_CONTEXTR_EL2 that makes a VPE resident.
    RequestWithV {
        /// Nothing.
        Ignored,
        /// It asks for a doorbell, which counts when the VPE has left.
        Counts,
    }
}

choice! {
    /// What a write of IRS_VPE_DBR with DBV=0 does to the doorbell settings.
    WithoutDbv {
        /// It makes them invalid, and no doorbell is generated until they are valid again.
        Invalidates,
        /// Nothing: they stay as they are.
        Keeps,
    }
}

choice! {
    /// Whether a doorbell request survives a write of IRS_VPE_DBR that does not make one.
    RequestAtRewrite {
        /// It does, with the mask it was made with.
        Kept,
        /// It does not.
        Dropped,
    }
}

choice! {
    /// Whether a doorbell request survives a write of IRS_VPE_CR0.
    RequestAtCr0 {
        /// It does.
        Kept,
        /// It does not.
        Dropped,
    }
}

choice! {
    /// Whether IRS_VPE_DBR.REQ_DB shows that a doorbell is requested.
    ReqDbReads {
        /// It reads 1 while one is.
        Live,
        /// It reads 0.
        Zero,
    }
}

choice! {
    /// Whether a doorbell whose LPI is pending already, or cannot be reached, uses the request up.
    MergedDoorbell {
        /// It does.
        Consumes,
        /// It does not: the request stays, and the doorbell rings when the LPI can be made pending and the condition is looked at
        /// again.
        Keeps,
    }
}
