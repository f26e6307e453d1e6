//! The sentences about VMs: `raise vm0 SPI 5`, `delivered vm0 = 3`.

use gicv5_arch::IrsIntId;

use super::problem::{Problem, Span, refuse};
use super::program::wired;
use super::sentence::{Bounds, RELATIONS, Sentence};
use super::{About, Action, Claim, Counter, Quantile, VmKind, VmSpec, Vms};
use crate::output::quote;
use crate::suggest;

/// What is known when sentences about VMs are read.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) kinds: &'a [VmKind],
    pub(super) vms: &'a [VmSpec],
    pub(super) pes: u16,
}

impl World<'_> {
    fn find(&self, name: &str) -> Option<(Vms, Bounds)> {
        if let Some(kind) = self.kinds.iter().find(|kind| kind.name == name) {
            return Some((kind.members.clone(), Bounds::of(kind)));
        }
        let place = self.vms.iter().position(|vm| vm.name == name)?;
        let kind = self.kinds.get(self.vms.get(place)?.kind)?;
        Some((place..place + 1, Bounds::of(kind)))
    }

    /// The name of a VM, or of all that one `[[vm]]` describes.
    fn vms(&self, words: &mut Sentence<'_>) -> Result<(Vms, Bounds), Problem> {
        let word = words.next("the name of a VM")?;
        self.find(word.text).ok_or_else(|| {
            let names = self.kinds.iter().map(|kind| kind.name.as_str());
            let nearest = suggest::nearest(word.text, names.clone());
            let all: Vec<&str> = names.take(8).collect();
            let otherwise = match all.is_empty() {
                true => "no [[vm]] is described".to_owned(),
                false => format!("the VMs are {}", all.join(", ")),
            };
            let what = format!("there is no VM {}", quote(word.text));
            Problem::new(word.span, what, suggest::hint(&nearest, &otherwise))
        })
    }

    /// Reads what happens at a moment.
    pub(super) fn action(&self, text: (&str, Span)) -> Result<(Vms, Action), Problem> {
        const VERBS: [&str; 10] =
            ["raise", "lower", "send", "create", "destroy", "reset", "migrate", "preempt", "reclaim", "recover"];
        let mut words = Sentence::new(text);
        let (verb, _) = words.verb("action", &VERBS)?;
        let found = match verb {
            "reclaim" => (0..0, Action::Reclaim),
            "recover" => (0..0, Action::Recover),
            _ => {
                let (vms, bounds) = self.vms(&mut words)?;
                let action = match verb {
                    "raise" => Action::Raise(wired(&mut words, bounds)?),
                    "lower" => Action::Lower(wired(&mut words, bounds)?),
                    "send" => Action::Raise(words.interrupt_of(bounds)?),
                    "create" => Action::Create,
                    "destroy" => Action::Destroy,
                    "reset" => Action::Reset(words.vcpu(bounds.vcpus)?),
                    "migrate" => Action::Migrate(words.vcpu(bounds.vcpus)?, words.pe(self.pes)?),
                    _ => Action::Preempt(words.vcpu(bounds.vcpus)?),
                };
                (vms, action)
            }
        };
        words.end()?;
        Ok(found)
    }

    /// Reads whom a source interrupts: `vm0 LPI 3`.
    pub(super) fn target(&self, text: (&str, Span)) -> Result<(Vms, IrsIntId), Problem> {
        let mut words = Sentence::new(text);
        let (vms, bounds) = self.vms(&mut words)?;
        let id = words.interrupt_of(bounds)?;
        words.end()?;
        Ok((vms, id))
    }

    /// Reads what shall turn out.
    pub(super) fn claim(&self, text: (&str, Span)) -> Result<Claim, Problem> {
        let mut verbs = Counter::ALL.map(Counter::words).to_vec();
        verbs.extend(["latency", "wake-up", "order", "error"]);
        let whole = text.clone();
        let mut words = Sentence::new(text);
        let (verb, span) = words.verb("expectation", &verbs)?;
        let claim = match verb {
            "error" => {
                let text = whole.0.trim_start().strip_prefix("error").unwrap_or_default().trim();
                if text.is_empty() {
                    return refuse(span, "an error without a text", "write a piece of the text: error no VM ID");
                }
                return Ok(Claim::Error(text.to_owned()));
            }
            "order" => {
                let (vms, bounds) = self.vms(&mut words)?;
                let mut ids = vec![words.interrupt_of(bounds)?];
                while words.peek().is_some() {
                    ids.push(words.interrupt_of(bounds)?);
                }
                Claim::Order(vms, ids)
            }
            "latency" | "wake-up" => {
                let about = self.about(&mut words)?;
                if about == About::Everything {
                    return refuse(span, "a time of nobody", format!("write the VM: {verb} vm0 max <= 10us"));
                }
                match (verb, &about) {
                    ("latency", About::Vcpu(..)) => {
                        let help = "write the VM, or an interrupt: latency vm0 SPI 5 max <= 10us";
                        return refuse(span, "latencies are not measured vCPU by vCPU", help);
                    }
                    ("wake-up", About::Interrupt(..)) => {
                        let help = "write the VM, or a vCPU: wake-up vm0 vcpu 1 max <= 5us";
                        return refuse(span, "wake-ups are not measured interrupt by interrupt", help);
                    }
                    _ => {}
                }
                let quantile = match words.verb("quantile", &["p50", "p99", "max"])?.0 {
                    "p50" => Quantile::Half,
                    "p99" => Quantile::NinetyNine,
                    _ => Quantile::Max,
                };
                let relation = words.relation()?;
                let time = words.time()?;
                match verb {
                    "latency" => Claim::Latency(about, quantile, relation, time),
                    _ => Claim::WakeUp(about, quantile, relation, time),
                }
            }
            verb => {
                let about = self.about(&mut words)?;
                let relation = words.relation()?;
                let (number, _) = words.number("count", 0..u64::MAX)?;
                let counter =
                    Counter::ALL.into_iter().find(|counter| counter.words() == verb).unwrap_or(Counter::Injected);
                let whole = matches!(
                    counter,
                    Counter::Leaks
                        | Counter::Violations
                        | Counter::Quarantined
                        | Counter::Undelivered
                        | Counter::Commands
                );
                if whole && about != About::Everything {
                    let help = format!("write: {verb} {number}, about everything")
                        .replace(&format!("{verb} "), &format!("{verb} = "));
                    return refuse(span, format!("{verb} are not counted VM by VM"), help);
                }
                let unit = match (&about, counter) {
                    (About::Interrupt(..), Counter::Injected | Counter::Delivered | Counter::Merged) => None,
                    (About::Interrupt(..), _) => Some("interrupt by interrupt"),
                    (About::Vcpu(..), Counter::Delivered | Counter::Doorbells) => None,
                    (About::Vcpu(..), _) => Some("vCPU by vCPU"),
                    _ => None,
                };
                if let Some(unit) = unit {
                    let what = format!("{verb} are not counted {unit}");
                    return refuse(span, what, format!("write the VM: {verb} vm0 = {number}"));
                }
                Claim::Count(counter, about, relation, number)
            }
        };
        words.end()?;
        Ok(claim)
    }

    fn about(&self, words: &mut Sentence<'_>) -> Result<About, Problem> {
        if words.peek().is_none_or(|word| RELATIONS.iter().any(|(name, _)| *name == word)) {
            return Ok(About::Everything);
        }
        let (vms, bounds) = self.vms(words)?;
        Ok(match words.peek() {
            Some("SPI" | "LPI" | "PPI") => About::Interrupt(vms, words.interrupt_of(bounds)?),
            Some("vcpu") => About::Vcpu(vms, words.vcpu(bounds.vcpus)?),
            _ => About::Vms(vms),
        })
    }
}
