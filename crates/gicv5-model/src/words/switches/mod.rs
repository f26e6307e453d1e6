//! What the architecture, or what is known of it, leaves open: one switch for each open choice.
//!
//! Software has to work whichever way hardware goes, so everything that uses the model should hold under every setting.
//! [`Switches::pairs`] yields a few settings in which every two positions of any two switches meet; [`Switches::ALL`] lists
//! the switches with their rules and positions, for a table (`cargo xtask switches`) and for code that walks over them.

use gicv5_random::Rng;

/// An open choice: what it is called, which rules leave it open, and how to set it by number.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// The field of [`Switches`]: `doorbell.mask`.
    pub name: &'static str,
    /// The type of the field.
    pub type_name: &'static str,
    /// The rules and open questions that leave the choice open.
    pub rules: &'static [&'static str],
    /// What is to be chosen.
    pub question: &'static [&'static str],
    /// What it can be set to; the first is the default.
    pub positions: &'static [Position],
    get: fn(&Switches) -> usize,
    set: fn(&mut Switches, usize),
}

impl Switch {
    /// The number of the position it is in.
    #[must_use]
    pub fn get(&self, switches: &Switches) -> usize {
        (self.get)(switches)
    }

    /// Puts it into the position with this number. A number that is too big is the last position.
    pub fn set(&self, switches: &mut Switches, position: usize) {
        (self.set)(switches, position.min(self.positions.len() - 1));
    }
}

/// One of the things that a switch can be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its name in the type.
    pub name: &'static str,
    /// What it means, line by line.
    pub meaning: &'static [&'static str],
}

/// Declares the type of a switch. The first position is the default, the one that `docs/rules.md` takes.
macro_rules! choice {
    ($(#[doc = $doc:literal])* $name:ident {
        $(#[doc = $first_doc:literal])* $first:ident, $($(#[doc = $other_doc:literal])* $other:ident,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
        pub enum $name {
            $(#[doc = $first_doc])*
            #[default]
            $first,
            $($(#[doc = $other_doc])* $other,)*
        }

        impl $name {
            /// Every position, the default first.
            pub const POSITIONS: &'static [$name] = &[$name::$first, $($name::$other),*];

            const NAME: &'static str = stringify!($name);
            const QUESTION: &'static [&'static str] = &[$($doc),*];
            const MEANINGS: &'static [Position] = &[
                Position { name: stringify!($first), meaning: &[$($first_doc),*] },
                $(Position { name: stringify!($other), meaning: &[$($other_doc),*] },)*
            ];

            fn number(self) -> usize {
                $name::POSITIONS.iter().position(|position| *position == self).unwrap_or(0)
            }

            fn of_number(number: usize) -> $name {
                $name::POSITIONS.get(number).copied().unwrap_or_default()
            }
        }
    };
}

/// Declares [`Switches`]: the switches of no subject in particular, and a struct for each subject.
macro_rules! switches {
    (
        { $($(#[$meta:meta])* $field:ident: $choice:ident [$($rule:literal),+];)* }
        $($(#[$subject_meta:meta])* $subject:ident: $Subject:ident {
            $($(#[$sub_meta:meta])* $sub:ident: $sub_choice:ident [$($sub_rule:literal),+];)*
        })*
    ) => {
        /// What the architecture, or what is known of it, leaves open: one field for each open choice. The default is the one
        /// that `docs/rules.md` takes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Switches {
            $($(#[$meta])* pub $field: $choice,)*
            $($(#[$subject_meta])* pub $subject: $Subject,)*
        }

        $(
            $(#[$subject_meta])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
            pub struct $Subject {
                $($(#[$sub_meta])* pub $sub: $sub_choice,)*
            }
        )*

        impl Switches {
            /// Every switch.
            pub const ALL: &'static [Switch] = &[
                $(Switch {
                    name: stringify!($field),
                    type_name: $choice::NAME,
                    rules: &[$($rule),+],
                    question: $choice::QUESTION,
                    positions: $choice::MEANINGS,
                    get: |switches| switches.$field.number(),
                    set: |switches, number| switches.$field = $choice::of_number(number),
                },)*
                $($(Switch {
                    name: concat!(stringify!($subject), ".", stringify!($sub)),
                    type_name: $sub_choice::NAME,
                    rules: &[$($sub_rule),+],
                    question: $sub_choice::QUESTION,
                    positions: $sub_choice::MEANINGS,
                    get: |switches| switches.$subject.$sub.number(),
                    set: |switches, number| switches.$subject.$sub = $sub_choice::of_number(number),
                },)*)*
            ];
        }
    };
}

switches! {
    {
        /// A tie between a PPI and the IRS's candidate.
        tie: Tie ["HPPI-4"];
        /// A tie between interrupts that the IRS nominates for the same target.
        equals: Equals ["HPPI-4", "HPPI-5"];
        /// When GIC instructions, and writes to registers that do not synchronise themselves, act.
        effects: Effects ["SYN-1", "SYN-4", "SYN-5", "INS-10", "open question 16"];
        /// What IRS_PE_CR0.DPS reads without 1-of-N, about which sources disagree.
        pe_dps: DpsWithoutOneOfN ["RTE-3"];
        /// What a set-pending does to the handling mode.
        set_pending: SetPending ["INS-9", "open question 17"];
        /// Whether an entry found pending in an IST that becomes valid is noticed.
        preset_pending: PresetPending ["IST-22"];
        /// What a resample does to an edge SPI whose wire is high.
        edge_resample: EdgeResample ["SPI-5"];
        /// What a write of IRS_SETLPIR does to the handling mode.
        set_lpi: SetLpi ["LPI-4"];
    }
    /// The VM table.
    vm_table: VmTableSwitches {
        /// Which IRSs software gives the table to.
        programming: VmTableProgramming ["GEN-14", "open question 13"];
        /// What a shape that is not supported is taken for.
        unsupported: UnsupportedVmTable ["VMT-11"];
        /// What the registers of a live table read after a write that has no effect.
        live_registers: LiveRegisters ["VMT-4", "VMT-5"];
        /// What becomes of valid level-1 entries, of the VM table and of ISTs.
        level1: Level1Valid ["open question 21"];
    }
    /// VMs that become invalid, and valid again.
    vm: VmSwitches {
        /// What becomes of the states that the IRS has cached.
        states: EndOfStates ["VM-2", "VMT-6"];
        /// What becomes of the valid bits of the ISTs.
        ist_valid: IstValid ["VM-7", "open question 6"];
        /// What becomes of the valid bits of the VPEs.
        vpe_valid: VpeValid ["VM-8", "open question 5", "open question 21"];
        /// What becomes of the VPEs' configuration.
        vpe_state: VpeState ["VPE-8", "VPE-9", "VM-11", "SAVE-11", "open question 5"];
    }
    /// VPEs.
    vpe: VpeSwitches {
        /// What follows from a descriptor that is not zero.
        dirty_descriptor: DirtyDescriptor ["VPE-8", "VM-11"];
        /// What IRS_VPE_CR0.DPS is without 1-of-N.
        dps: VpeDps ["VPE-9", "open question 20"];
        /// What a write of IRS_VPE_SELR with S=0 does.
        empty_selection: EmptySelection ["VPE-14"];
        /// What IRS_VPE_HPPIR reports.
        hppir: VpeHppir ["VPE-16", "open question 11"];
        /// What becomes of an interrupt for a VPE that is not valid.
        invalid_target: InvalidTarget ["VPE-20", "RTE-4", "INJ-8"];
    }
    /// ISTs that are not as the IRS needs them.
    ist: IstSwitches {
        /// What an entry size that is not the required one does.
        entry_size: WrongEntrySize ["IST-10"];
        /// What a size of level-2 ISTs that is not supported is taken for.
        l2_size: UnsupportedL2Size ["IST-14", "IST-15"];
        /// What a number of ID bits out of range does in a virtual IST.
        id_bits: UnsupportedIdBits ["IST-28"];
    }
    /// SPIs that are given to a VM and taken back.
    spi: SpiSwitches {
        /// What becomes of the state that the SPI had as a physical interrupt.
        state: SpiStateAtAssignment ["SPI-9", "SPI-12", "open question 25"];
        /// Whether the wire is looked at.
        sampling: SpiSampling ["SPI-11", "open question 25"];
    }
    /// Saving a VM.
    save: SaveSwitches {
        /// When the verdict is made.
        verdict: SaveVerdict ["SAVE-3"];
        /// What ends the quiet.
        disturbance: Disturbance ["SAVE-4", "open question 14"];
    }
    /// Doorbells.
    doorbell: DoorbellSwitches {
        /// How the mask is compared.
        mask: DoorbellMask ["DB-9", "open question 1"];
        /// Whether the mask of the settings counts beside that of the request.
        request_mask: RequestMask ["DB-10"];
        /// What a request does that comes with V=1.
        with_v: RequestWithV ["DB-11"];
        /// What a write of IRS_VPE_DBR with DBV=0 does.
        without_dbv: WithoutDbv ["DB-8"];
        /// What a write of IRS_VPE_DBR with REQ_DB=0 does to a request.
        rewrite: RequestAtRewrite ["open question 8"];
        /// What a write of IRS_VPE_CR0 does to a request.
        cr0_write: RequestAtCr0 ["open question 8"];
        /// What IRS_VPE_DBR.REQ_DB reads.
        req_db: ReqDbReads ["open question 9"];
        /// What becomes of the request when the doorbell has no effect.
        merged: MergedDoorbell ["DB-15", "DB-16"];
        /// What a write of IRS_VPE_DBR does while the VPE is resident.
        while_resident: SettingsWhileResident ["open question 9"];
        /// What becomes of a request that IRS_VPE_DBR makes while the VPE is resident.
        request_while_resident: RequestWhileResident ["DB-18", "open question 8"];
        /// Whether doorbells ring while every IRS is disabled.
        disabled_irs: DoorbellsOfDisabledIrs ["GEN-21", "open question 18"];
    }
    /// Residency and the virtual CPU interface.
    residency: ResidencySwitches {
        /// A VPE is made resident that is resident on another PE.
        elsewhere: ResidentElsewhere ["RES-4", "open question 3"];
        /// A VPE is made resident where another one is.
        replaced: ReplacedVpe ["RES-22", "open question 3"];
        /// What ICH_CONTEXTR_EL2 reads after a failure, apart from F.
        failed: FailedContext ["RES-2", "open question 4"];
        /// How long F stays set.
        fault: ContextFault ["RES-2", "open question 4"];
        /// Whether a doorbell request outlives a residency.
        request: DoorbellRequest ["DB-18", "open question 8"];
        /// Whether IRICHPPIDIS keeps a doorbell from ringing.
        silence: IrichppidisDoorbell ["RES-12", "open question 2"];
        /// Whether ICH_VCTLR_EL2.EN has to be set for virtual interrupts to be signalled. No rule speaks of it.
        enable: VirtualEnable ["PRI-9"];
        /// Whether a PPI that ICH_PPI_HVIR hides can be signalled.
        hidden: HiddenPpi ["PPI-27"];
        /// Whether a disabled IRS forwards the candidate of a resident VPE.
        disabled_irs: ForwardingOfDisabledIrs ["GEN-21", "open question 18"];
        /// What becomes of a forwarded candidate whose IST or VM becomes invalid.
        withdrawn: WithdrawnCandidate ["IST-5", "VM-2", "open question 19"];
        /// What a read-configuration in the virtual domain answers while no VPE is resident.
        nobody: AnswerForNobody ["INS-17", "open question 15"];
    }
    /// Software error reporting.
    errors: ErrorSwitches {
        /// Which drops are reported.
        drops: ErrorDrops ["VM-12", "VMT-20", "INS-11", "INS-18", "SPI-10", "DB-16", "ERR-7", "open question 7"];
        /// What becomes of a second error.
        later: LaterError ["ERR-5", "open question 7"];
        /// How the record is cleared.
        clearing: ErrorClearing ["ERR-6", "open question 7"];
    }
}

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
        /// The IRS clears them.
        Cleared,
    }
}

choice! {
    /// What becomes of VALID in the VPE table's entries when their VM becomes invalid.
    VpeValid {
        /// It stays, and the VPEs are valid again with the VM.
        Kept,
        /// The IRS clears it.
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

choice! {
    /// Which priorities ring a doorbell with a mask (DBPM).
    DoorbellMask {
        /// The more urgent ones and the mask's own: in numbers, priority <= DBPM. 31 lets everything ring.
        ByUrgency,
        /// The greater numbers and the mask's own: priority >= DBPM. 0 lets everything ring.
        ByNumber,
    }
}

choice! {
    /// Which mask a doorbell that was asked for by ICH_CONTEXTR_EL2 has to pass.
    RequestMask {
        /// That of the request, which takes the place of the one in IRS_VPE_DBR.
        OfRequest,
        /// That of the request and the one in IRS_VPE_DBR.
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

impl Switches {
    /// Settings in which every two positions of any two switches meet at least once; the first is the default. The same for
    /// ever as long as the switches are.
    ///
    /// There are about as many of them as the two switches with the most positions have combinations, and some more: it is a
    /// greedy covering array, the best of several random candidates each time.
    #[must_use]
    pub fn pairs() -> Vec<Switches> {
        let sizes: Vec<usize> = Switches::ALL.iter().map(|switch| switch.positions.len()).collect();
        covering(&sizes)
            .into_iter()
            .map(|row| {
                let mut switches = Switches::default();
                for (switch, position) in Switches::ALL.iter().zip(row) {
                    switch.set(&mut switches, position);
                }
                switches
            })
            .collect()
    }

    /// A setting drawn by chance.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Switches {
        let mut switches = Switches::default();
        for switch in Switches::ALL {
            switch.set(&mut switches, rng.below(switch.positions.len() as u64) as usize);
        }
        switches
    }
}

/// Pairs of positions of two switches that have not met yet.
struct Uncovered {
    /// Where the positions of each switch begin when all positions are counted through.
    starts: Vec<usize>,
    /// Whether a pair of positions, so counted, is still to come.
    to_come: Vec<bool>,
    positions: usize,
    left: usize,
}

impl Uncovered {
    fn new(sizes: &[usize]) -> Uncovered {
        let mut starts = Vec::new();
        let mut positions = 0;
        for size in sizes {
            starts.push(positions);
            positions += size;
        }
        let mut uncovered = Uncovered { starts, to_come: vec![false; positions * positions], positions, left: 0 };
        for (i, a) in sizes.iter().enumerate() {
            for (j, b) in sizes.iter().enumerate().skip(i + 1) {
                for pair in (0..*a).flat_map(|p| (0..*b).map(move |q| (p, q))) {
                    let at = uncovered.at((i, pair.0), (j, pair.1));
                    if let Some(to_come) = uncovered.to_come.get_mut(at) {
                        *to_come = true;
                        uncovered.left += 1;
                    }
                }
            }
        }
        uncovered
    }

    /// The index of a pair of (switch, position), whichever comes first.
    fn at(&self, a: (usize, usize), b: (usize, usize)) -> usize {
        let (low, high) = if a.0 < b.0 { (a, b) } else { (b, a) };
        let number = |(switch, position): (usize, usize)| self.starts.get(switch).copied().unwrap_or(0) + position;
        number(low) * self.positions + number(high)
    }

    fn is_to_come(&self, a: (usize, usize), b: (usize, usize)) -> bool {
        self.to_come.get(self.at(a, b)).copied().unwrap_or(false)
    }

    /// Takes the pairs of a row as met. Returns how many were new.
    fn meet(&mut self, row: &[usize]) {
        for (i, p) in row.iter().enumerate() {
            for (j, q) in row.iter().enumerate().skip(i + 1) {
                let at = self.at((i, *p), (j, *q));
                if let Some(to_come) = self.to_come.get_mut(at)
                    && core::mem::replace(to_come, false)
                {
                    self.left -= 1;
                }
            }
        }
    }
}

/// Rows that give each of several switches a position, so that every two positions of any two switches meet. The first row
/// is all zero.
fn covering(sizes: &[usize]) -> Vec<Vec<usize>> {
    const CANDIDATES: u32 = 16;
    let mut rng = Rng::new(0);
    let mut uncovered = Uncovered::new(sizes);
    let mut rows = vec![vec![0; sizes.len()]];
    uncovered.meet(&vec![0; sizes.len()]);
    while uncovered.left != 0 {
        let best = (0..CANDIDATES).map(|_| candidate(sizes, &uncovered, &mut rng)).max_by_key(|(new, _)| *new);
        let Some((_, row)) = best else { break };
        uncovered.meet(&row);
        rows.push(row);
    }
    rows
}

/// A row that starts with a pair that has not met and goes on greedily in a random order, and how many pairs meet in it for
/// the first time.
fn candidate(sizes: &[usize], uncovered: &Uncovered, rng: &mut Rng) -> (usize, Vec<usize>) {
    let mut row: Vec<Option<usize>> = vec![None; sizes.len()];
    // A random one of the pairs still to come: two switches and their positions.
    let skip = rng.below(uncovered.left as u64) as usize;
    let number = uncovered.to_come.iter().enumerate().filter(|(_, to_come)| **to_come).nth(skip).map_or(0, |(n, _)| n);
    for n in [number / uncovered.positions, number % uncovered.positions] {
        let switch = uncovered.starts.partition_point(|start| *start <= n) - 1;
        if let (Some(place), Some(start)) = (row.get_mut(switch), uncovered.starts.get(switch)) {
            *place = Some(n - start);
        }
    }
    let mut order: Vec<usize> = (0..sizes.len()).filter(|n| row.get(*n) == Some(&None)).collect();
    for n in (1..order.len()).rev() {
        order.swap(n, rng.below(n as u64 + 1) as usize);
    }
    let mut new = 1;
    for switch in order {
        let positions = sizes.get(switch).copied().unwrap_or(1);
        let first = rng.below(positions as u64) as usize;
        let meets = |position: usize| {
            let others = row.iter().enumerate().filter_map(|(n, other)| Some((n, (*other)?)));
            others.filter(|other| uncovered.is_to_come((switch, position), *other)).count()
        };
        let best = (0..positions).map(|n| (n + first) % positions).max_by_key(|position| meets(*position));
        let best = best.unwrap_or(0);
        new += meets(best);
        if let Some(place) = row.get_mut(switch) {
            *place = Some(best);
        }
    }
    (new, row.into_iter().map(|position| position.unwrap_or(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gicv5_random::Rng;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Every pair of (switch, position) that meets in the rows.
    fn met(rows: &[Vec<usize>]) -> BTreeSet<((usize, usize), (usize, usize))> {
        let mut met = BTreeSet::new();
        for row in rows {
            for i in 0..row.len() {
                for j in i + 1..row.len() {
                    met.insert(((i, row[i]), (j, row[j])));
                }
            }
        }
        met
    }

    fn all_pairs(sizes: &[usize]) -> usize {
        (0..sizes.len()).map(|i| (i + 1..sizes.len()).map(|j| sizes[i] * sizes[j]).sum::<usize>()).sum()
    }

    proptest! {
        #[test]
        fn every_two_positions_of_any_two_switches_meet_and_no_position_is_invented(
            sizes in proptest::collection::vec(1usize..5, 1..20)
        ) {
            let rows = covering(&sizes);
            prop_assert!(rows.iter().all(|row| row.len() == sizes.len()));
            prop_assert!(rows.iter().all(|row| row.iter().zip(&sizes).all(|(position, size)| position < size)));
            prop_assert_eq!(met(&rows).len(), all_pairs(&sizes));
            // Few: all combinations of the two largest are needed, and not many times as many.
            let mut sorted = sizes.clone();
            sorted.sort_unstable();
            let needed = sorted.iter().rev().take(2).product::<usize>();
            prop_assert!(rows.len() <= 4 * needed + 8, "{} rows for {sizes:?}", rows.len());
        }
    }

    #[test]
    fn the_settings_to_try_start_with_the_default_and_let_every_pair_meet() {
        let settings = Switches::pairs();
        assert_eq!(settings[0], Switches::default());
        let rows: Vec<Vec<usize>> =
            settings.iter().map(|setting| Switches::ALL.iter().map(|switch| switch.get(setting)).collect()).collect();
        let sizes: Vec<usize> = Switches::ALL.iter().map(|switch| switch.positions.len()).collect();
        assert_eq!(met(&rows).len(), all_pairs(&sizes));
        assert!(settings.len() <= 32, "{} settings", settings.len());
        assert_eq!(settings, Switches::pairs());
    }

    #[test]
    fn each_switch_sets_its_own_field_and_says_what_its_positions_mean() {
        let mut names = BTreeSet::new();
        for (n, switch) in Switches::ALL.iter().enumerate() {
            assert!(names.insert(switch.name), "{} twice", switch.name);
            assert!(switch.positions.len() >= 2 && !switch.rules.is_empty(), "{}", switch.name);
            assert_eq!(switch.get(&Switches::default()), 0, "{}", switch.name);
            for position in 0..switch.positions.len() {
                let mut switches = Switches::default();
                switch.set(&mut switches, position);
                for (m, other) in Switches::ALL.iter().enumerate() {
                    assert_eq!(other.get(&switches), if m == n { position } else { 0 }, "{}", other.name);
                }
                assert!(!switch.positions[position].meaning.is_empty());
            }
            let mut switches = Switches::default();
            switch.set(&mut switches, usize::MAX);
            assert_eq!(switch.get(&switches), switch.positions.len() - 1);
        }
    }

    #[test]
    fn random_settings_reach_every_position() {
        let mut rng = Rng::new(1);
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let setting = Switches::random(&mut rng);
            seen.extend(Switches::ALL.iter().map(|switch| (switch.name, switch.get(&setting))));
        }
        assert_eq!(seen.len(), Switches::ALL.iter().map(|switch| switch.positions.len()).sum::<usize>());
    }
}
