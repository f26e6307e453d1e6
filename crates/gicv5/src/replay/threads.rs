//! Which file of a recording by thread is of which PE.
//!
//! A thread says it where it selects its own PE (IRS_PE_SELR) and where it acknowledges an LPI or SPI, for which the IRS names
//! the PE. Threads that say nothing take the PEs that are left, in the order of their numbers. The main loop's thread, which makes
//! the machine, is no PE.

use gicv5_arch::irs::IrsReg;
use gicv5_trace::{Event, Line, Recording, RecordingError};

use super::engine::Stop;

/// How many lines of a file are read ahead for evidence.
const LINES: usize = 1 << 15;

/// So many pieces of evidence are enough.
const ENOUGH: u32 = 4;

/// Whose a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The main loop's.
    MainLoop,
    /// Not known.
    Unknown,
    /// That of a PE, because of this.
    Pe(u16, &'static str),
}

impl Owner {
    /// The PE, and why it is this one.
    pub(super) fn pe(self) -> Option<(u16, &'static str)> {
        match self {
            Owner::Pe(pe, because) => Some((pe, because)),
            Owner::MainLoop | Owner::Unknown => None,
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Owner::Pe(pe, _) => write!(f, "PE {pe}"),
            Owner::MainLoop => write!(f, "main loop"),
            Owner::Unknown => write!(f, "PE unknown"),
        }
    }
}

/// The files and their owners.
pub(super) struct Threads {
    owners: Vec<Owner>,
    /// The file of each PE, where it is known.
    files: Vec<Option<usize>>,
}

impl Threads {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Threads {
        Threads { owners: names.map(|_| Owner::Unknown).collect(), files: Vec::new() }
    }

    pub(super) fn owners(&self) -> &[Owner] {
        &self.owners
    }

    /// The PE of a file. On a machine with one even the wires that the main loop moves are that PE's.
    pub(super) fn pe(&self, file: usize) -> Option<u16> {
        let only = (self.files.len() == 1).then_some(0);
        self.owners.get(file).and_then(|owner| owner.pe()).map(|(pe, _)| pe).or(only)
    }

    /// The file of a PE.
    pub(super) fn file(&self, pe: usize) -> Option<usize> {
        self.files.get(pe).copied().flatten()
    }

    /// False for a PE that surely has no thread.
    pub(super) fn may_run(&self, pe: usize) -> bool {
        self.file(pe).is_some() || self.owners.contains(&Owner::Unknown)
    }

    /// True if this is the main loop's file.
    pub(super) fn is_main_loop(&self, file: usize) -> bool {
        self.owners.get(file) == Some(&Owner::MainLoop)
    }

    /// Finds the owners of the files of a machine with so many PEs. `main` is the file that makes the machine; `asked` are files and
    /// the PEs that `--pe` gives them.
    pub(super) fn assign(
        &mut self,
        recording: &mut Recording,
        pes: u16,
        main: usize,
        asked: &[(usize, u16)],
    ) -> Result<(), Stop> {
        self.files = vec![None; pes.into()];
        for file in (0..self.owners.len()).filter(|file| *file != main) {
            if matches!(recording.peek(file, 0)?.map(|line| line.event), Some(Event::Realize { .. })) {
                let why = "line 1: a second file of a main loop, which makes a machine; a recording has one".to_owned();
                return Err(Stop::Input(file, why));
            }
        }
        if self.owners.len() > 1
            && let Some(owner) = self.owners.get_mut(main)
        {
            *owner = Owner::MainLoop;
        }
        if pes == 1 {
            let unknown = self.owners.iter_mut().filter(|owner| **owner == Owner::Unknown);
            unknown.for_each(|owner| *owner = Owner::Pe(0, "it is the only one"));
            return Ok(());
        }
        for (file, pe) in asked {
            self.give(*file, *pe, "--pe says so");
        }
        if self.owners.len() == 1 {
            return Ok(());
        }
        let mut claims = Vec::new();
        for file in (0..self.owners.len()).filter(|file| self.owners.get(*file) == Some(&Owner::Unknown)) {
            if let Some((pe, votes)) = evidence(recording, file, pes)? {
                claims.push((votes, file, pe));
            }
        }
        claims.sort_by_key(|(votes, file, _)| (std::cmp::Reverse(*votes), *file));
        for (_, file, pe) in claims {
            self.give(file, pe, "its lines say so");
        }
        self.in_order();
        Ok(())
    }

    fn give(&mut self, file: usize, pe: u16, because: &'static str) {
        if let (Some(owner @ Owner::Unknown), Some(place @ None)) =
            (self.owners.get_mut(file), self.files.get_mut(usize::from(pe)))
        {
            *owner = Owner::Pe(pe, because);
            *place = Some(file);
        }
    }

    /// Gives what is left to threads that say nothing: between the PEs of the threads before and after.
    fn in_order(&mut self) {
        let mut next = 0;
        for file in 0..self.owners.len() {
            match self.owners.get(file) {
                Some(Owner::Pe(pe, _)) => next = usize::from(*pe) + 1,
                Some(Owner::Unknown) => {
                    let after = (file + 1..self.owners.len()).find_map(|file| self.pe(file));
                    let end = after.map_or(self.files.len(), usize::from);
                    if let Some(pe) = (next..end).find(|pe| self.file(*pe).is_none()) {
                        self.give(file, pe as u16, "the number of its thread is next");
                        next = pe + 1;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The PE that most lines at the start of a file speak for, and how many.
fn evidence(recording: &mut Recording, file: usize, pes: u16) -> Result<Option<(u16, u32)>, RecordingError> {
    let mut votes = vec![0_u32; pes.into()];
    let (mut before, mut acknowledged) = (None, false);
    for n in 0..LINES {
        let Some(Line { event, .. }) = recording.peek(file, n)? else { break };
        let pe = match event {
            Event::Write { offset, data, .. } if offset == u32::from(IrsReg::IRS_PE_SELR.offset()) => Some(data),
            Event::IrsCandidate { iaffid, .. } if acknowledged => Some(iaffid.raw_value().into()),
            _ => None,
        };
        acknowledged = matches!((before, event), (Some(Event::Acknowledge { .. }), Event::Activate { .. }));
        before = Some(event);
        if let Some(count) = pe.and_then(|pe| votes.get_mut(usize::try_from(pe).ok()?)) {
            *count += 1;
            if *count >= ENOUGH && votes.iter().filter(|count| **count > ENOUGH / 2).count() == 1 {
                break;
            }
        }
    }
    let most = votes.iter().copied().max().unwrap_or(0);
    let mut best = votes.iter().enumerate().filter(|(_, count)| **count == most);
    Ok(match (most, best.next(), best.next()) {
        (1.., Some((pe, _)), None) => Some((pe as u16, most)),
        _ => None,
    })
}
