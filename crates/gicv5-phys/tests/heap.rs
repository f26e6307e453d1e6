//! The driver's own heap: it asks for each allocation first, and a host that refuses one gets an error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "../../gicv5-irs/tests/common/seen.rs"]
mod seen;

use std::error::Error;

use common::board::Board;
use common::{Lab, Shape, config, down};
use gicv5_arch::insn::GicInsn;
use gicv5_arch::sysreg::SysReg;
use gicv5_hal::{Cookie, CurrentPe, HostLpis, Pe, PeOps};
use gicv5_model::{Machine, ModelPe, PeIndex};
use gicv5_phys::{OwnedLpi, Phys, ProbeError};
use seen::{ALLOCATIONS, LIVE, Seen, UNASKED, count, inside, leave, outside};

/// A PE of the model, which allocates for itself.
#[derive(Clone)]
struct SeenPe(ModelPe);

impl PeOps for SeenPe {
    fn read_sysreg(&self, register: SysReg) -> u64 {
        outside(|| self.0.read_sysreg(register))
    }

    fn write_sysreg(&self, register: SysReg, value: u64) {
        outside(|| self.0.write_sysreg(register, value));
    }

    fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        outside(|| self.0.gic(insn, xt))
    }

    fn isb(&self) {
        outside(|| self.0.isb());
    }

    fn dsb(&self) {
        outside(|| self.0.dsb());
    }
}

impl CurrentPe for SeenPe {
    type Ops = SeenPe;

    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, SeenPe>) -> R) -> R {
        f(&Pe::new(self))
    }
}

/// Two IRSs, a level-2 IST for each 256 LPIs, a second chunk of gates.
const SHAPE: Shape = Shape { irss: 2, ..Shape::DEFAULT };

fn pes(machine: &Machine) -> Vec<SeenPe> {
    (0..machine.pe_count()).map(|n| SeenPe(machine.pe(PeIndex(n)).unwrap())).collect()
}

/// Everything that allocates, and everything back.
fn life(phys: &Phys<Board<Seen, SeenPe>>, pes: &[SeenPe]) -> Result<(), Box<dyn Error>> {
    let mut lpis = Vec::with_capacity(520);
    let outcome = up_and_allocate(phys, pes, &mut lpis);
    for lpi in lpis {
        inside(|| phys.release(lpi))?;
    }
    for pe in pes {
        // One that did not come up need not go.
        let _ = inside(|| phys.bring_down_pe(&Pe::new(pe)));
    }
    inside(|| phys.tear_down())?;
    outcome
}

fn up_and_allocate(
    phys: &Phys<Board<Seen, SeenPe>>,
    pes: &[SeenPe],
    lpis: &mut Vec<OwnedLpi>,
) -> Result<(), Box<dyn Error>> {
    inside(|| phys.bring_up())?;
    for pe in pes {
        inside(|| phys.bring_up_pe(&Pe::new(pe)))?;
    }
    for n in 0..520 {
        lpis.push(inside(|| phys.allocate(Cookie(n)))?);
    }
    Ok(())
}

/// A driver on whose host all allocations but the first few are refused, or fail. Returns how many it has made.
fn life_with(allocations: u64, refuses: bool) -> u64 {
    let machine = Machine::new(SHAPE.config()).unwrap();
    let (pes, before) = (pes(&machine), machine.snapshot());
    let seen = Board { machine: machine.clone(), host: pes[0].clone(), watch: Seen };
    let irss = SHAPE.irs_indices();
    let context = format!("{allocations} allocations, refused: {refuses}");
    count();
    leave(allocations, refuses);
    let mut made = 0;
    match inside(|| Phys::new(seen, &config(&irss))) {
        Err(error) => assert_eq!(error, ProbeError::NoMemory, "{context}"),
        Ok(phys) => {
            let outcome = life(&phys, &pes);
            made = ALLOCATIONS.get();
            leave(u64::MAX, false);
            if allocations == u64::MAX {
                outcome.unwrap();
            } else {
                let text = format!("{:?}", outcome.expect_err(&context));
                assert!(text.contains("Records") || text.contains("NoMemory"), "{context}: {text}");
            }
            life(&phys, &pes).unwrap_or_else(|error| panic!("{context}: and then {error}"));
            inside(|| drop(phys));
        }
    }
    leave(u64::MAX, false);
    assert_eq!(UNASKED.get(), 0, "{context}: allocations that the host was not asked for");
    assert_eq!(LIVE.get(), 0, "{context}: bytes are left");
    let account = machine.account(&before);
    assert!(account.is_clean(), "{context}: {account:#?}");
    made
}

#[test]
fn every_allocation_is_asked_for_first_and_one_that_fails_anywhere_is_an_error_that_leaves_nothing() {
    let made = life_with(u64::MAX, false);
    assert!(made >= 8, "two lists of IRSs, PEs, IPIs, IDs, gates, the IST, and two chunks of gates: {made}");
    for refuses in [true, false] {
        for allocations in 0..made {
            life_with(allocations, refuses);
        }
    }
}

/// A driver waits for its turn as long as its owners get on: each takes more than a sixth of the time-out, and there are many.
#[test]
fn many_pes_come_up_at_once_however_slow_the_hardware_is() {
    let shape = Shape { pes_per_irs: 32, ..Shape::default() };
    let mut machine = shape.config();
    machine.command_latency = 1_500;
    let lab = Lab::new(machine);
    let irss = shape.irs_indices();
    let timeout = gicv5_phys::Config::new(&irss, 0).timeout;
    let phys = Phys::new(lab.clone(), &gicv5_phys::Config { timeout, ..config(&irss) }).unwrap();
    phys.bring_up().unwrap();
    std::thread::scope(|scope| {
        let ups: Vec<_> = (0..32)
            .map(|pe| {
                scope.spawn({
                    let (lab, phys) = (&lab, &phys);
                    move || lab.on(pe, |pe| phys.bring_up_pe(pe))
                })
            })
            .collect();
        for up in ups {
            up.join().unwrap().unwrap();
        }
    });
    down(&lab, &phys);
}
