//! The run as a picture: a Perfetto trace.
//!
//! There is a track for each PE, with the vCPU that is resident on it and the moments at which the host injects; for each
//! vCPU, with what it is doing and the handlers it runs; for each VM, with the events of its devices and a counter of the events
//! that no guest has taken yet. A flow leads from an event to its injection, to the doorbell that this rings, if it does, and
//! to the handler. The order of the tracks is told, because a viewer would put vcpu10 before vcpu2.
//!
//! The messages are the few of Perfetto's TrackEvent format that this takes; the numbers are those of its schema
//! (`protos/perfetto/trace` of its source). Times are nanoseconds of simulated time.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use gicv5_arch::{IntId, IrsIntId};
use gicv5_hyp::VcpuIndex;
use gicv5_model::PeIndex;
use prost::Message;

use super::index::{VcpuAt, VmAt};
use super::scenario::{Ns, Scenario};
use super::vcpu_state::VcpuState;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Trace {
    #[prost(message, repeated, tag = "1")]
    pub(super) packet: Vec<TracePacket>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TracePacket {
    #[prost(uint64, optional, tag = "8")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    pub(super) trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    pub(super) track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "60")]
    pub(super) track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    pub(super) uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    pub(super) name: Option<String>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    pub(super) counter: Option<CounterDescriptor>,
    /// ChildTracksOrdering: 3 is as the ranks say.
    #[prost(int32, optional, tag = "11")]
    pub(super) child_ordering: Option<i32>,
    #[prost(int32, optional, tag = "12")]
    pub(super) sibling_order_rank: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CounterDescriptor {
    /// COUNTER_UNIT: 2 is a count.
    #[prost(int32, optional, tag = "3")]
    pub(super) unit: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackEvent {
    /// 1 slice begins, 2 slice ends, 3 instant, 4 counter.
    #[prost(int32, optional, tag = "9")]
    pub(super) r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    pub(super) track_uuid: Option<u64>,
    #[prost(string, optional, tag = "23")]
    pub(super) name: Option<String>,
    #[prost(int64, optional, tag = "30")]
    pub(super) counter_value: Option<i64>,
    #[prost(fixed64, repeated, tag = "47")]
    pub(super) flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, tag = "48")]
    pub(super) terminating_flow_ids: Vec<u64>,
}

const BEGIN: i32 = 1;
const END: i32 = 2;
const INSTANT: i32 = 3;
const COUNTER: i32 = 4;

/// Children are in the order of their ranks.
const EXPLICIT: i32 = 3;

/// The track of something. Uuids are made of what it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Track {
    Machine,
    Pe(PeIndex),
    Vms,
    Vm(VmAt),
    Pending(VmAt),
    Vcpu(VcpuAt),
}

impl Track {
    fn uuid(self) -> u64 {
        match self {
            Track::Machine => 5 << 60,
            Track::Vms => 6 << 60,
            Track::Pe(pe) => 1 << 60 | u64::from(pe.0),
            Track::Vm(vm) => 2 << 60 | vm.0 as u64,
            Track::Pending(vm) => 3 << 60 | vm.0 as u64,
            Track::Vcpu(at) => 4 << 60 | (at.vm.0 as u64) << 16 | at.vcpu.0 as u64,
        }
    }
}

/// What is drawn so far.
pub(super) struct Picture(Option<Drawing>);

struct Drawing {
    names: Vec<String>,
    tracks: BTreeMap<Track, (String, Option<Track>)>,
    events: Vec<(Ns, TrackEvent)>,
    /// How many slices are open on a track.
    open: BTreeMap<Track, u32>,
    on: HashMap<VcpuAt, PeIndex>,
    /// By VM the vCPUs that take its interrupts, if not the first.
    targets: HashMap<(VmAt, IrsIntId), VcpuIndex>,
    /// The flows of events that no guest has taken, and whether they have been injected.
    flows: HashMap<VmAt, BTreeMap<IrsIntId, (u64, bool)>>,
    next_flow: u64,
}

impl Picture {
    /// Draws nothing.
    pub(super) fn none() -> Picture {
        Picture(None)
    }

    pub(super) fn new(scenario: &Scenario) -> Picture {
        let mut tracks = BTreeMap::new();
        tracks.insert(Track::Machine, ("machine".to_owned(), None));
        tracks.insert(Track::Vms, ("virtual machines".to_owned(), None));
        for pe in (0..scenario.machine.pes).map(PeIndex) {
            tracks.insert(Track::Pe(pe), (pe.to_string(), Some(Track::Machine)));
        }
        let mut names = Vec::new();
        let mut targets = HashMap::new();
        for (n, vm) in scenario.vms.iter().enumerate() {
            let n = VmAt(n);
            tracks.insert(Track::Vm(n), (vm.name.clone(), Some(Track::Vms)));
            tracks.insert(Track::Pending(n), ("pending".to_owned(), Some(Track::Vm(n))));
            let vcpus = scenario.kinds.get(vm.kind).map_or(0, |kind| kind.vcpus.len());
            for vcpu in 0..vcpus {
                tracks.insert(Track::Vcpu(n.vcpu(VcpuIndex(vcpu))), (format!("vcpu{vcpu}"), Some(Track::Vm(n))));
            }
            let interrupts = scenario.kinds.get(vm.kind).map_or(&[][..], |kind| &kind.interrupts);
            targets.extend(interrupts.iter().filter(|spec| spec.vcpu.0 > 0).map(|spec| ((n, spec.id), spec.vcpu)));
            names.push(vm.name.clone());
        }
        Picture(Some(Drawing {
            names,
            tracks,
            events: Vec::new(),
            open: BTreeMap::new(),
            on: HashMap::new(),
            targets,
            flows: HashMap::new(),
            next_flow: 1,
        }))
    }

    pub(super) fn vcpu(&mut self, ns: Ns, at: VcpuAt, mark: VcpuState) {
        let Some(drawing) = &mut self.0 else { return };
        let track = Track::Vcpu(at);
        match mark {
            VcpuState::Resident(pe) => {
                let name = drawing.names.get(at.vm.0).map_or(String::new(), |vm| format!("{vm}/vcpu{}", at.vcpu.0));
                drawing.close(ns, track);
                drawing.begin(ns, Track::Pe(pe), name, Vec::new());
                drawing.begin(ns, track, format!("on {pe}"), Vec::new());
                drawing.on.insert(at, pe);
            }
            VcpuState::Absent => {
                if let Some(pe) = drawing.on.remove(&at) {
                    drawing.close(ns, Track::Pe(pe));
                }
                drawing.close(ns, track);
            }
            VcpuState::Queued | VcpuState::Asleep => {
                drawing.close(ns, track);
                let name = if mark == VcpuState::Queued { "waits for its PE" } else { "sleeps" };
                drawing.begin(ns, track, name.to_owned(), Vec::new());
            }
        }
    }

    /// A device or guest has an event.
    pub(super) fn raised(&mut self, ns: Ns, vm: VmAt, id: IrsIntId) {
        let Some(drawing) = &mut self.0 else { return };
        let next = &mut drawing.next_flow;
        let (flow, _) = *drawing.flows.entry(vm).or_default().entry(id).or_insert_with(|| {
            *next += 1;
            (*next, false)
        });
        drawing.draw(ns, INSTANT, Track::Vm(vm), Some(id.to_string()), vec![flow], Vec::new());
        drawing.count(ns, vm);
    }

    /// The host on a PE has made it pending.
    pub(super) fn injected(&mut self, ns: Ns, pe: PeIndex, vm: VmAt, id: IrsIntId) {
        let Some(drawing) = &mut self.0 else { return };
        let Some((flow, injected)) = drawing.flows.get_mut(&vm).and_then(|flows| flows.get_mut(&id)) else { return };
        *injected = true;
        let flow = *flow;
        let name = drawing.names.get(vm.0).map_or(String::new(), |vm| format!("injects {id} of {vm}"));
        drawing.draw(ns, INSTANT, Track::Pe(pe), Some(name), vec![flow], Vec::new());
    }

    /// A guest routes an interrupt to another vCPU.
    pub(super) fn target(&mut self, vm: VmAt, id: IrsIntId, vcpu: VcpuIndex) {
        if let Some(drawing) = &mut self.0 {
            drawing.targets.insert((vm, id), vcpu);
        }
    }

    /// The VM is gone, and what was pending in it.
    pub(super) fn forget(&mut self, ns: Ns, vm: VmAt) {
        let Some(drawing) = &mut self.0 else { return };
        if drawing.flows.remove(&vm).is_some_and(|flows| !flows.is_empty()) {
            drawing.count(ns, vm);
        }
    }

    pub(super) fn doorbell(&mut self, ns: Ns, at: VcpuAt) {
        let Some(drawing) = &mut self.0 else { return };
        let due = |(id, (_, injected)): &(&IrsIntId, &(u64, bool))| {
            *injected && drawing.targets.get(&(at.vm, **id)).copied().unwrap_or(VcpuIndex(0)) == at.vcpu
        };
        let flows = drawing.flows.get(&at.vm).into_iter().flatten().filter(due).map(|(_, (flow, _))| *flow).collect();
        drawing.draw(ns, INSTANT, Track::Vcpu(at), Some("doorbell".to_owned()), flows, Vec::new());
    }

    /// A handler begins.
    pub(super) fn handler(&mut self, ns: Ns, at: VcpuAt, id: IntId) {
        let Some(drawing) = &mut self.0 else { return };
        let flow = IrsIntId::try_from(id).ok().and_then(|id| drawing.flows.get_mut(&at.vm)?.remove(&id));
        let flow = flow.map(|(flow, _)| flow);
        drawing.begin(ns, Track::Vcpu(at), id.to_string(), flow.into_iter().collect());
        drawing.count(ns, at.vm);
    }

    /// It has ended.
    pub(super) fn handled(&mut self, ns: Ns, at: VcpuAt) {
        let Some(drawing) = &mut self.0 else { return };
        drawing.end(ns, Track::Vcpu(at));
    }

    /// The run is over: what is open ends.
    pub(super) fn finish(&mut self, ns: Ns) {
        let Some(drawing) = &mut self.0 else { return };
        let tracks: Vec<Track> = drawing.open.keys().copied().collect();
        for track in tracks {
            drawing.close(ns, track);
        }
    }

    /// The trace, in order of time.
    pub(super) fn trace(&self) -> Trace {
        let Some(drawing) = &self.0 else { return Trace::default() };
        let sequence = Some(1);
        let mut packet = Vec::with_capacity(drawing.tracks.len() + drawing.events.len());
        let mut ranks: BTreeMap<Option<Track>, i32> = BTreeMap::new();
        for (track, (name, parent)) in &drawing.tracks {
            let rank = ranks.entry(*parent).or_default();
            *rank += 1;
            let counter = matches!(track, Track::Pending(_)).then_some(CounterDescriptor { unit: Some(2) });
            let track_descriptor = Some(TrackDescriptor {
                uuid: Some(track.uuid()),
                name: Some(name.clone()),
                parent_uuid: parent.map(Track::uuid),
                counter,
                child_ordering: Some(EXPLICIT),
                sibling_order_rank: Some(*rank),
            });
            packet.push(TracePacket {
                trusted_packet_sequence_id: sequence,
                track_descriptor,
                ..TracePacket::default()
            });
        }
        let mut events: Vec<&(Ns, TrackEvent)> = drawing.events.iter().collect();
        events.sort_by_key(|(ns, _)| *ns);
        packet.extend(events.into_iter().map(|(ns, event)| TracePacket {
            timestamp: Some(*ns),
            trusted_packet_sequence_id: sequence,
            track_event: Some(event.clone()),
            track_descriptor: None,
        }));
        Trace { packet }
    }

    /// Writes the trace.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.trace().encode_to_vec())
    }
}

impl Drawing {
    fn draw(
        &mut self,
        ns: Ns,
        kind: i32,
        track: Track,
        name: Option<String>,
        flow_ids: Vec<u64>,
        terminating_flow_ids: Vec<u64>,
    ) {
        let event = TrackEvent {
            r#type: Some(kind),
            track_uuid: Some(track.uuid()),
            name,
            counter_value: None,
            flow_ids,
            terminating_flow_ids,
        };
        self.events.push((ns, event));
    }

    fn begin(&mut self, ns: Ns, track: Track, name: String, flows: Vec<u64>) {
        *self.open.entry(track).or_default() += 1;
        self.draw(ns, BEGIN, track, Some(name), Vec::new(), flows);
    }

    fn end(&mut self, ns: Ns, track: Track) {
        if let Some(open) = self.open.get_mut(&track).filter(|open| **open > 0) {
            *open -= 1;
            self.draw(ns, END, track, None, Vec::new(), Vec::new());
        }
    }

    fn close(&mut self, ns: Ns, track: Track) {
        for _ in 0..self.open.get(&track).copied().unwrap_or(0) {
            self.end(ns, track);
        }
    }

    fn count(&mut self, ns: Ns, vm: VmAt) {
        let pending = self.flows.get(&vm).map_or(0, BTreeMap::len);
        let event = TrackEvent {
            r#type: Some(COUNTER),
            track_uuid: Some(Track::Pending(vm).uuid()),
            counter_value: Some(pending as i64),
            ..TrackEvent::default()
        };
        self.events.push((ns, event));
    }
}
