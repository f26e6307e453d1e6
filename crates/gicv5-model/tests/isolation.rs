//! No VM can tell what another does, whatever that is and under every switch; and a VM that could would be found out.

#![allow(clippy::unwrap_used, reason = "the helpers of tests stand outside of test functions")]
#![allow(clippy::indexing_slicing, reason = "the same")]

mod hand;

use gicv5_arch::irs::{IRS_SAVE_VMR, IRS_VPE_DBR};
use gicv5_arch::{Lpi, Priority, VmId};
use gicv5_hal::{Cookie, HostLpis};
use gicv5_model::Machine;
use gicv5_model::config::{MachineConfig, Switches};
use gicv5_model::event::Event;
use gicv5_model::isolation::{self, Difference};
use gicv5_model::memory::Placement;
use gicv5_model::rng::Rng;
use gicv5_model::violation::PeIndex;
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
}

/// A VM and its doorbells.
struct Guest {
    vm: VmId,
    made: Option<HandMade>,
    lpis: Vec<Lpi>,
}

impl Guest {
    fn new(farm: &mut Farm, vm: VmId) -> Guest {
        let lpis = (0..VPES).map(|n| {
            let lpi = farm.host.allocate(Cookie(u64::from(n))).unwrap();
            farm.host.enable(&lpi);
            farm.host.lpi(&lpi)
        });
        Guest { vm, lpis: lpis.collect(), made: None }
    }

    /// Something that the VM does or that is done to it.
    fn act(&mut self, farm: &mut Farm, rng: &mut Rng, leak: Leak) {
        let injected = if leak == Leak::Injection && rng.chance(1, 8) { B } else { self.vm };
        let selected = if leak == Leak::Selection && rng.chance(1, 8) { B } else { self.vm };
        let vpe = rng.below(u64::from(VPES)) as u16;
        match rng.below(20) {
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

/// B and C do the same each time, A does what the seed says.
fn run(switches: Switches, leak: Leak, seed: u64) -> Result<Vec<Event>, std::convert::Infallible> {
    let mut config = MachineConfig::new(1, 0).with_virtualisation();
    config.switches = switches;
    // What A holds moves everybody else's memory.
    config.memory.placement = Placement::Random;
    let machine = Machine::new(config).unwrap();
    let mut farm = Farm::new(&machine, 64).unwrap();
    let mut varied = Guest::new(&mut farm, A);
    let mut fixed = [B, C].map(|vm| Guest::new(&mut farm, vm));
    machine.observe(1 << 20);
    let (mut varied_rng, mut fixed_rng) = (Rng::new(seed), Rng::new(0));
    for _ in 0..250 {
        for _ in 0..varied_rng.below(4) {
            varied.act(&mut farm, &mut varied_rng, leak);
        }
        let guest = fixed_rng.below(2) as usize;
        fixed[guest].act(&mut farm, &mut fixed_rng, Leak::None);
        if fixed_rng.chance(1, 4) {
            farm.host.take_interrupts(PeIndex(0), |_| ());
        }
    }
    Ok(machine.take_events().into_iter().map(|(_, event)| event).collect())
}

fn check(switches: Switches, leak: Leak) -> Option<Difference> {
    let Ok(difference) = isolation::check(A, 1..5, |seed| run(switches, leak, seed));
    difference
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
    }
}

#[test]
fn a_hypervisor_that_lets_one_vm_reach_another_is_found_out() {
    for leak in [Leak::Injection, Leak::Selection] {
        let difference = check(Switches::default(), leak).expect("A reaches B");
        assert_eq!(difference.vm, B);
        assert!(difference.expected != difference.found);
        assert!(difference.to_string().starts_with(&format!("with seed {}, VM 4 sees as number", difference.seed)));
    }
}
