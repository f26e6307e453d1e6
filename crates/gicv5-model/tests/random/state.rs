//! What an interrupt is to a naive machine, and what can be done to one.

use crate::bench::*;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) pending: bool,
    pub(crate) active: bool,
    pub(crate) enabled: bool,
    pub(crate) level: bool,
    pub(crate) priority: u8,
    pub(crate) target: u16,
}

impl State {
    pub(crate) fn of(entry: L2_ISTE) -> State {
        State {
            pending: entry.pending(),
            active: entry.active(),
            enabled: entry.enable(),
            level: entry.hm() == HandlingMode::Level,
            priority: entry.priority().number(),
            target: entry.iaffid().raw_value(),
        }
    }

    /// HPPI-1.
    pub(crate) fn is_candidate(&self) -> bool {
        self.pending && self.enabled && !self.active
    }

    /// An acknowledge takes it (INS-3).
    pub(crate) fn take(&mut self) {
        self.active = true;
        self.pending &= self.level;
    }
}

/// What can be done to one interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Pend(bool),
    Enable(bool),
    Priority(u8),
    Target(u16),
    Level(bool),
    Deactivate,
}

impl Change {
    pub(crate) fn apply(self, state: &mut State, switch: SetPending) {
        match self {
            Change::Pend(pending) => {
                state.pending = pending;
                state.level &= !(pending && switch == SetPending::MakesEdge);
            }
            Change::Enable(enabled) => state.enabled = enabled,
            Change::Priority(priority) => state.priority = priority,
            Change::Target(target) => state.target = target,
            Change::Level(level) => state.level = level,
            Change::Deactivate => state.active = false,
        }
    }

    /// Whoever is on a PE does it to an interrupt of its own.
    pub(crate) fn execute(self, pe: &Pe<'_, ModelPe>, id: IrsIntId) {
        match self {
            Change::Pend(pending) => pe.cdpend(id, pending),
            Change::Enable(true) => pe.cden(id),
            Change::Enable(false) => pe.cddis(id),
            Change::Priority(number) => pe.cdpri(id, priority(number.into())),
            Change::Target(target) => pe.cdaff(id, Iaffid::new(target)),
            Change::Level(level) => pe.cdhm(id, mode(level)),
            Change::Deactivate => pe.cddi(id.into()),
        }
    }
}

pub(crate) fn mode(level: bool) -> HandlingMode {
    if level { HandlingMode::Level } else { HandlingMode::Edge }
}

/// The most urgent of all, any of which may be nominated (HPPI-4), and their priority.
pub(crate) fn most_urgent<T>(all: impl IntoIterator<Item = (u8, T)>) -> Option<(u8, Vec<T>)> {
    let mut best: Option<(u8, Vec<T>)> = None;
    for (priority, item) in all {
        match &mut best {
            Some((least, _)) if *least < priority => {}
            Some((least, items)) if *least == priority => items.push(item),
            _ => best = Some((priority, vec![item])),
        }
    }
    best
}
