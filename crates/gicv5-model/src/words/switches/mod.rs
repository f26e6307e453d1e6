//! What the architecture, or what is known of it, leaves open: one switch for each open choice.
//!
//! Software has to work whichever way hardware goes, so everything that uses the model should hold under every setting.
//! [`Switches::pairs`] yields a few settings in which every two positions of any two switches meet; [`Switches::ALL`] lists
//! the switches with their rules and positions, for a table (`cargo xtask switches`) and for code that walks over them.

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

            pub(super) const NAME: &'static str = stringify!($name);
            pub(super) const QUESTION: &'static [&'static str] = &[$($doc),*];
            pub(super) const MEANINGS: &'static [Position] = &[
                Position { name: stringify!($first), meaning: &[$($first_doc),*] },
                $(Position { name: stringify!($other), meaning: &[$($other_doc),*] },)*
            ];

            pub(super) fn number(self) -> usize {
                $name::POSITIONS.iter().position(|position| *position == self).unwrap_or(0)
            }

            pub(super) fn of_number(number: usize) -> $name {
                $name::POSITIONS.get(number).copied().unwrap_or_default()
            }
        }
    };
}

mod covering;
mod doorbell;
mod physical;
mod position;
mod residency;
mod tables;
mod vms;

pub use doorbell::*;
pub use physical::*;
pub use position::Position;
pub use residency::*;
pub use tables::*;
pub use vms::*;

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
        /// When the IRS reads the entry that a command names, of the VM table and of what is behind it.
        entry_reading: EntryReading ["COH-1", "LIFE-10", "open question 28"];
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
        /// Whether virtual PPIs compete while no VPE is resident.
        alone: PpisAlone ["HPPI-7", "RES-6", "open question 29"];
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
