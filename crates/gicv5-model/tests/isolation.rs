//! No VM can tell what another does, whatever that is and under every switch; and a VM that could would be found out.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
#![allow(clippy::indexing_slicing, reason = "the same")]

mod hand;

use gicv5_arch::irs::{IRS_SAVE_VMR, IRS_VPE_DBR};
use gicv5_arch::sysreg::{
    ICC_CR0_EL1, ICH_CONTEXTR_EL2, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2, SysReg,
};
use gicv5_arch::{Lpi, Priority, VmId, VpeId};
use gicv5_hal::{Cookie, HostLpis, Pe};
use gicv5_model::config::{MachineConfig, Placement, Switches};
use gicv5_model::event::Event;
use gicv5_model::isolation::{self, Difference};
use gicv5_model::{Machine, PeIndex};
use gicv5_random::Rng;
use hand::{Farm, HandMade};

const A: VmId = VmId::new(3);
const B: VmId = VmId::new(4);
const C: VmId = VmId::new(300);
const VPES: u16 = 3;

/// A mistake of the hypervisor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leak {
    None,
    /// It injects some interrupts of A into B.
    Injection,
    /// It gives some VPEs of B the doorbell settings that were meant for A's.
    Selection,
    /// It does not give a guest its own mask and enable back (RES-15).
    Mask,
    /// It does not give a guest its own active priorities back (RES-16).
    ActivePriorities,
    /// It does not give a guest its own answer back (INS-14).
    Answer,
}

/// A VM and its doorbells.
struct Guest {
    vm: VmId,
    made: Option<HandMade>,
    lpis: Vec<Lpi>,
    contexts: Vec<Context>,
}

/// What a CPU interface holds of a VPE that is not resident.
#[derive(Clone, Copy)]
struct Context {
    vmcr: u64,
    apr: u64,
    icsr: u64,
}

impl Guest {
    fn new(farm: &mut Farm, vm: VmId) -> Guest {
        let vmcr = ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(Priority::new(31).unwrap()).raw_value();
        let lpis = (0..VPES).map(|n| {
            let lpi = farm.host.allocate(Cookie(u64::from(n))).unwrap();
            farm.host.enable(&lpi);
            farm.host.lpi(&lpi)
        });
        Guest {
            vm,
            lpis: lpis.collect(),
            made: None,
            contexts: vec![Context { vmcr, apr: 0, icsr: 0 }; usize::from(VPES)],
        }
    }

    /// Something that the VM does or that is done to it.
    fn act(&mut self, farm: &mut Farm, rng: &mut Rng, leak: Leak, pe: PeIndex, meanwhile: &mut dyn FnMut(&Farm)) {
        let injected = if leak == Leak::Injection && rng.chance(1, 8) { B } else { self.vm };
        let selected = if leak == Leak::Selection && rng.chance(1, 8) { B } else { self.vm };
        let vpe = rng.below(u64::from(VPES)) as u16;
        match rng.below(30) {
            20..30 if self.made.is_some() => self.run(farm, rng, leak, pe, meanwhile),
            0..10 => farm.pend(injected, rng.below(16) as u32, rng.chance(1, 2)),
            10..16 => {
                let settings = IRS_VPE_DBR::ZERO
                    .with_dbv(rng.chance(7, 8))
                    .with_req_db(rng.chance(3, 4))
                    .with_dbpm(Priority::new(rng.below(32) as u32).unwrap())
                    .with_intid(self.lpis[usize::from(vpe)]);
                farm.set_doorbell(selected, vpe, settings).unwrap();
            }
            16 => {
                let save = IRS_SAVE_VMR::ZERO.with_vm_id(self.vm);
                farm.host.command(save.with_s(rng.chance(1, 2)).with_q(true)).unwrap();
            }
            _ => match self.made.take() {
                Some(made) if rng.chance(1, 4) => farm.break_vm(made).unwrap(),
                Some(made) => self.made = Some(made),
                None => self.made = Some(farm.make_vm(self.vm, VPES).unwrap()),
            },
        }
    }
}

impl Guest {
    /// Something that the VM does, or that is done to it, while another runs on PE 1.
    fn act_beside(&mut self, farm: &Farm, rng: &mut Rng, leak: Leak) {
        match rng.below(3) {
            0 => farm.pend(self.vm, rng.below(16) as u32, rng.chance(1, 2)),
            1 if self.made.is_some() => self.run(farm, rng, leak, PeIndex(0), &mut |_| ()),
            _ => {}
        }
    }

    /// The guest runs for a while.
    fn run(&mut self, farm: &Farm, rng: &mut Rng, leak: Leak, pe: PeIndex, meanwhile: &mut dyn FnMut(&Farm)) {
        let vpe = rng.below(u64::from(VPES)) as u16;
        let cpu = farm.machine.pe(pe).unwrap();
        let host = Pe::new(&cpu);
        let context = &mut self.contexts[usize::from(vpe)];
        if leak != Leak::Mask {
            host.write_raw(SysReg::ICH_VMCR_EL2, context.vmcr);
        }
        if leak != Leak::ActivePriorities {
            host.write_raw(SysReg::ICH_APR_EL2, context.apr);
        }
        if leak != Leak::Answer {
            host.write_raw(SysReg::ICC_ICSR_EL1, context.icsr);
        }
        host.write(ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(self.vm).with_vpe(VpeId::new(vpe)));
        host.isb();
        assert!(!host.read::<ICH_CONTEXTR_EL2>().f());
        // The host injects, and does not wait for it either.
        let (id, pending) = (hand::lpi(rng.below(16) as u32), rng.chance(3, 4));
        host.vdpend(self.vm, id, pending);
        let cpu = cpu.guest();
        let guest = Pe::new(&cpu);
        // It looks around.
        for register in [SysReg::ICC_PCR_EL1, SysReg::ICC_CR0_EL1, SysReg::ICC_APR_EL1, SysReg::ICC_HPPIR_EL1] {
            let _ = guest.read_raw(register);
        }
        let _ = guest.read_raw(SysReg::ICC_ICSR_EL1);
        for _ in 0..rng.below(6) {
            let id = hand::lpi(rng.below(16) as u32);
            match rng.below(8) {
                0 => guest.write_raw(SysReg::ICC_PCR_EL1, rng.below(32)),
                1 => guest.write(ICC_CR0_EL1::ZERO.with_en(rng.chance(7, 8))),
                2 => guest.cdpend(id, rng.chance(1, 2)),
                3 => guest.cdpri(id, Priority::new(rng.below(32) as u32).unwrap()),
                4 => guest.cdrcfg(id),
                _ => {
                    if let Some(taken) = guest.cdia().int_id() {
                        guest.gsb_ack();
                        // Not every guest has finished when it is preempted.
                        if rng.chance(3, 4) {
                            guest.cdeoi();
                        }
                        guest.cddi(taken);
                    }
                }
            }
            meanwhile(farm);
            // Nor does every guest wait for what it has begun.
            if rng.chance(1, 2) {
                guest.gsb_sys();
                guest.isb();
            }
        }
        host.gsb_sys();
        context.vmcr = host.read_raw(SysReg::ICH_VMCR_EL2);
        context.apr = host.read_raw(SysReg::ICH_APR_EL2);
        context.icsr = host.read_raw(SysReg::ICC_ICSR_EL1);
        let request = rng.chance(1, 2);
        host.write(ICH_CONTEXTR_EL2::ZERO.with_db(request).with_dbpm(Priority::new(31).unwrap()));
        host.isb();
    }
}

/// B and C do the same each time, A does what the seed says.
fn run(switches: Switches, leak: Leak, seed: u64) -> Result<Vec<Event>, std::convert::Infallible> {
    let mut config = MachineConfig::new(2, 0).with_virtualisation();
    config.switches = switches;
    // No VM can tell the time, but time completes what none waits for.
    config.effect_latency = u64::MAX;
    // What A holds moves everybody else's memory.
    config.memory.placement = Placement::Random;
    let machine = Machine::new(config).unwrap();
    let mut farm = Farm::new(&machine, 64).unwrap();
    let mut varied = Guest::new(&mut farm, A);
    let mut fixed = [B, C].map(|vm| Guest::new(&mut farm, vm));
    // EL2 lets guests do everything.
    for pe in [PeIndex(0), PeIndex(1)] {
        farm.host.on_pe(pe, |pe| {
            pe.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
            pe.write(ICH_VCTLR_EL2::ZERO.with_en(true));
            pe.isb();
        });
    }
    machine.observe(1 << 20);
    let (mut varied_rng, mut fixed_rng) = (Rng::new(seed), Rng::new(0));
    for _ in 0..300 {
        for _ in 0..varied_rng.below(4) {
            let pe = PeIndex(varied_rng.below(2) as u16);
            varied.act(&mut farm, &mut varied_rng, leak, pe, &mut |_| ());
        }
        let guest = fixed_rng.below(2) as usize;
        let leak = if matches!(leak, Leak::Injection | Leak::Selection) { Leak::None } else { leak };
        let mut meanwhile = |farm: &Farm| varied.act_beside(farm, &mut varied_rng, leak);
        fixed[guest].act(&mut farm, &mut fixed_rng, leak, PeIndex(1), &mut meanwhile);
        if fixed_rng.chance(1, 4) {
            farm.host.take_interrupts(PeIndex(0), |_| ());
        }
    }
    Ok(machine.take_events().into_iter().map(|(_, event)| event).collect())
}

fn check(switches: Switches, leak: Leak) -> Option<Difference> {
    let Ok(difference) = isolation::check(A, 1..4, |seed| run(switches, leak, seed));
    difference
}

#[test]
fn a_hypervisor_that_keeps_a_register_from_one_guest_to_the_next_is_found_out() {
    // RES-15, RES-16, INS-14.
    for (leak, register) in
        [(Leak::Mask, "ICC_PCR_EL1"), (Leak::ActivePriorities, "ICC_APR_EL1"), (Leak::Answer, "ICC_ICSR_EL1")]
    {
        let difference = check(Switches::default(), leak).expect("a guest sees what another has left");
        assert!(matches!(difference.found, Some(Event::SysRegRead { .. } | Event::SysRegWrite { .. })), "{difference}");
        assert!(difference.to_string().contains(register), "{difference}");
    }
}

/// INJ-10, DB-14.
#[test]
fn no_vm_can_tell_what_another_does_under_any_setting_of_the_switches() {
    for switches in Switches::pairs() {
        assert_eq!(check(switches, Leak::None), None, "{switches:?}");
    }
}

#[test]
fn the_check_is_about_something() {
    // Everything happens to B and C in the script, and A does not do the same with every seed.
    let Ok(events) = run(Switches::default(), Leak::None, 1);
    let Ok(other) = run(Switches::default(), Leak::None, 2);
    assert!(isolation::view(A, &events) != isolation::view(A, &other));
    for vm in [B, C] {
        let view = isolation::view(vm, &events);
        let count = |matches: fn(&Event) -> bool| view.iter().filter(|event| matches(event)).count();
        assert!(count(|event| matches!(event, Event::Interrupt { .. })) > 10, "{vm}");
        assert!(count(|event| matches!(event, Event::Candidate { .. })) > 10, "{vm}");
        assert!(count(|event| matches!(event, Event::Doorbell { .. })) > 3, "{vm}");
        assert!(count(|event| matches!(event, Event::Owned { .. })) > 3, "{vm}");
        assert!(count(|event| matches!(event, Event::CommandDone { .. })) > 10, "{vm}");
        assert!(count(|event| matches!(event, Event::SysRegRead { .. })) > 20, "{vm}");
        assert!(count(|event| matches!(event, Event::Forwarded { .. })) > 3, "{vm}");
        assert!(count(|event| matches!(event, Event::VirtualAcknowledge { .. })) > 2, "{vm}");
    }
}

#[test]
fn a_hypervisor_that_lets_one_vm_reach_another_is_found_out() {
    for leak in [Leak::Injection, Leak::Selection] {
        let difference = check(Switches::default(), leak).expect("A reaches B");
        assert_eq!(difference.vm, B, "{difference}");
        assert!(difference.expected != difference.found);
        assert!(difference.to_string().starts_with(&format!("with seed {}, VM 4 sees as number", difference.seed)));
    }
}
