//! The steps of programs and handlers: `run 20us`, `send LPI 3`.

use gicv5_arch::IrsIntId;

use super::ProgramStep;
use super::problem::{Problem, Span, refuse};
use super::sentence::{Bounds, Sentence};

/// Reads a step of a program or handler.
pub(super) fn step(text: (&str, Span), bounds: Bounds) -> Result<ProgramStep, Problem> {
    const VERBS: [&str; 10] =
        ["run", "wait", "again", "send", "mask", "enable", "disable", "priority", "target", "lower"];
    let mut words = Sentence::new(text);
    let step = match words.verb("step", &VERBS)?.0 {
        "run" => ProgramStep::Run(words.time()?),
        "wait" => ProgramStep::Wait,
        "again" => ProgramStep::Again,
        "send" if words.peek() == Some("any") => {
            let word = words.next("any")?;
            if bounds.lpis == 0 {
                return refuse(word.span, "the VM has no LPIs", "give it some by `lpi-id-bits` in [[vm]]");
            }
            ProgramStep::SendAny
        }
        "send" => ProgramStep::Send(words.interrupt_of(bounds)?),
        "mask" => ProgramStep::Mask(words.priority()?),
        "enable" => ProgramStep::Enable(words.interrupt_of(bounds)?),
        "disable" => ProgramStep::Disable(words.interrupt_of(bounds)?),
        "priority" => ProgramStep::SetPriority(words.interrupt_of(bounds)?, words.priority()?),
        "target" => ProgramStep::Target(words.interrupt_of(bounds)?, words.vcpu(bounds.vcpus)?),
        _ => ProgramStep::Lower(wired(&mut words, bounds)?),
    };
    words.end()?;
    Ok(step)
}

/// An SPI: only they have wires.
pub(super) fn wired(words: &mut Sentence<'_>, bounds: Bounds) -> Result<IrsIntId, Problem> {
    let (id, span) = words.interrupt()?;
    match bounds.check(id, &span)? {
        IrsIntId::Lpi(_) => refuse(span, "an LPI has no wire", "only SPIs can be lowered"),
        id => Ok(id),
    }
}
