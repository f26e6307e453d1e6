//! What is open of the physical side, of SPIs and of error reporting.

use super::position::Position;

choice! {
    /// What a write of IRS_SETLPIR does to the handling mode of the LPI.
    SetLpi {
        /// It makes it Edge, as a SET_EDGE event does.
        MakesEdge,
        /// Nothing.
        KeepsHandlingMode,
    }
}

choice! {
    /// What becomes of the state of an SPI when it is given to a VM.
    SpiStateAtAssignment {
        /// It is cleared, and so is the SPI when it comes back.
        Cleared,
        /// It comes back with the SPI.
        Kept,
    }
}

choice! {
    /// Whether the wire of an SPI is looked at when it is given to a VM or taken back.
    SpiSampling {
        /// It is not: software resamples.
        BySoftware,
        /// It is, as by a resample.
        AtAssignment,
    }
}

choice! {
    /// Whether the drop of an operation that names what does not exist is reported: an interrupt without an IST or out of
    /// range, an invalid VM. Which drops are reportable is not known, and neither is the code; the model's is 0xff.
    ErrorDrops {
        /// It is not: only failed accesses to tables are (ERR-4).
        Silent,
        /// It is.
        Reported,
    }
}

choice! {
    /// What becomes of an error while another one is recorded.
    LaterError {
        /// It is lost, and OF says so.
        IsLost,
        /// It takes the place of the earlier one, and OF says that one was lost.
        Replaces,
    }
}

choice! {
    /// What a write of ones to IRS_SWERR_STATUSR clears.
    ErrorClearing {
        /// The bits written as one, and no other.
        BitByBit,
        /// Everything, if V is among them.
        WithV,
    }
}

choice! {
    /// Which of a PPI and the IRS's candidate comes first if they are equally urgent.
    Tie {
        /// The PPI.
        Ppi,
        /// The IRS's candidate.
        Irs,
    }
}

choice! {
    /// Which of several equally urgent interrupts for the same target the IRS nominates.
    Equals {
        /// The one that has been a candidate for longest.
        FirstCome,
        /// The one that became a candidate last.
        LastCome,
    }
}

choice! {
    /// When an effect that the architecture lets come late takes place.
    Effects {
        /// As late as the architecture allows: when the barrier that completes it comes, or after
        /// [`MachineConfig::effect_latency`](crate::words::config::MachineConfig::effect_latency) ticks where it must come in finite
        /// time (SYN-4). Software that forgets a barrier sees the difference.
        Late,
        /// At once, whatever barriers follow.
        Early,
        /// At a moment chosen from the seed.
        Random,
    }
}

choice! {
    /// What IRS_PE_CR0 is without 1-of-N routing.
    DpsWithoutOneOfN {
        /// Reads as zero, writes ignored.
        Zero,
        /// Reads as one, writes ignored.
        One,
    }
}

choice! {
    /// What `GIC CDPEND` and `GIC VDPEND` with 1 do to the handling mode.
    SetPending {
        /// Nothing.
        KeepsHandlingMode,
        /// Makes it Edge, as a SET_EDGE event does.
        MakesEdge,
    }
}

choice! {
    /// What becomes of a Pending bit that software left in an IST.
    PresetPending {
        /// The interrupt is not offered until an instruction or an event names it.
        NotNoticed,
        /// The interrupt is offered when the IRS first reads the entry.
        Noticed,
    }
}

choice! {
    /// What IRS_SPI_RESAMPLER does to an edge SPI whose wire is high. Of one whose wire is low it changes nothing.
    EdgeResample {
        /// Clears Pending, as a change to edge does (SPI-3).
        Clears,
        /// Sets Pending, as a rising wire does (SPI-4).
        Pends,
    }
}
