//! A PE as the machine knows it, and what it has started.

use std::collections::VecDeque;

use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::ICC_ICSR_EL1;
use gicv5_arch::{VmId, VpeId};

use crate::cpu::{Cpu, Side};
use crate::words::clock::Tick;
use crate::words::cpu::{Level, Signals};
use crate::words::event::Space;
use gicv5_random::Rng;

/// What a PE has started and what is not complete yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// The effect of a GIC instruction.
    Insn {
        /// Who executed it.
        by: Level,
        /// The domain it acts on.
        on: Acted,
        insn: GicInsn,
        xt: u64,
    },
    /// The outputs of a side follow an acknowledge (SYN-1).
    Signals(Side),
}

/// The domain an instruction acts on (GEN-6), as it was when the instruction was executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acted {
    /// The physical domain.
    Physical,
    /// The virtual domain: the VPE that was resident, if one was (RES-6, RES-7, INS-17).
    Virtual(Option<(VmId, VpeId)>),
}

impl Acted {
    /// Whose LPIs and SPIs it acts on.
    pub(super) fn space(self) -> Option<Space> {
        match self {
            Acted::Physical => Some(Space::Physical),
            Acted::Virtual(resident) => resident.map(|(vm, _)| Space::Vm(vm)),
        }
    }

    /// Which interface of the PE it acts on.
    pub(crate) fn side(self) -> Side {
        match self {
            Acted::Physical => Side::Physical,
            Acted::Virtual(_) => Side::Virtual,
        }
    }
}

/// What has followed the last acknowledge of a side that took something (SYN-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Taking {
    /// All that must, or there was none.
    #[default]
    Ordered,
    /// A GSB, and no context synchronisation since.
    Completed,
    /// Nothing.
    Acknowledged,
}

/// Who asked for the answer in ICC_ICSR_EL1 (INS-14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// The host.
    Host,
    /// The guest of a VPE.
    Vpe(VmId, VpeId),
}

/// A PE as the machine knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PeState {
    pub(crate) cpu: Cpu,
    /// The IRS it is attached to.
    pub(crate) irs: usize,
    /// Effects that no GSB has completed, with the moment at which they come by themselves, in order.
    pub(crate) effects: VecDeque<(Tick, Effect)>,
    /// What is random about what the host does on it comes from here.
    pub(crate) rng: Rng,
    /// An answer that the next ISB makes visible (INS-12), and who asked for it.
    pub(crate) answer: Option<(ICC_ICSR_EL1, Option<Asker>)>,
    /// Who asked for the answer that ICC_ICSR_EL1 holds; `None` if software wrote what is there.
    pub(crate) icsr_of: Option<Asker>,
    /// What has followed the last acknowledge, of the physical side and of the virtual one.
    pub(crate) taking: [Taking; 2],
    /// Who executes.
    pub(crate) level: Level,
    /// The outputs as the world sees them.
    pub(crate) signals: Signals,
    /// The outputs of the virtual side.
    pub(crate) virtual_signals: Signals,
}

impl PeState {
    /// A GSB completes what was acknowledged (SYN-1).
    pub(super) fn complete_taking(&mut self) {
        for taking in &mut self.taking {
            if *taking == Taking::Acknowledged {
                *taking = Taking::Completed;
            }
        }
    }

    /// The context is synchronised.
    pub(super) fn synchronise_taking(&mut self) {
        for taking in &mut self.taking {
            if *taking == Taking::Completed {
                *taking = Taking::Ordered;
            }
        }
    }

    /// What has followed the last acknowledge of a side.
    pub(super) fn taking_mut(&mut self, side: Side) -> &mut Taking {
        let [physical, virt] = &mut self.taking;
        match side {
            Side::Physical => physical,
            Side::Virtual => virt,
        }
    }

    /// ICC_ICSR_EL1 shows the answer that has come, if one has.
    pub(super) fn take_answer(&mut self) {
        if let Some((answer, asker)) = self.answer.take() {
            self.cpu.set_icsr(answer);
            self.icsr_of = asker;
        }
    }
}
