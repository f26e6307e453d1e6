//! Commands, instructions, and what has to be given back.

use crate::bench::*;

use crate::Pair;

#[path = "../hand/mod.rs"]
mod hand;
use hand::{Farm, doorbell};

const VM: VmId = VmId::new(3);

/// A command, and while it is under way another.
fn second_command(second: impl FnOnce(&Bench)) -> Vec<Violation> {
    let bench = Bench::with(1, |config| config.command_latency = 5);
    bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(4)));
    second(&bench);
    bench.said()
}

fn host() -> ModelHost {
    ModelHost::start(&Machine::new(MachineConfig::new(1, 0)).unwrap(), 0..8).unwrap()
}

/// What is left of what was allocated, if it was given back or not.
fn account(allocate: impl FnOnce(&ModelHost)) -> Vec<Violation> {
    let host = host();
    let before = host.machine().snapshot();
    allocate(&host);
    host.machine().account(&before).leaks
}

fn layout() -> BlockLayout {
    BlockLayout::new(4096, 4096, PhysAddr::highest(48)).unwrap()
}

/// An LPI is released while VPE 0 of a valid VM has it as its doorbell, in settings that are valid or not.
fn release_doorbell(dbv: bool) -> Vec<Violation> {
    let machine = Machine::new(MachineConfig::new(1, 0).with_virtualisation()).unwrap();
    let mut farm = Farm::new(&machine, 64).unwrap();
    let _vm = farm.make_vm(VM, 1).unwrap();
    let held = farm.host.allocate(Cookie(0)).unwrap();
    farm.set_doorbell(VM, 0, doorbell(farm.host.lpi(&held)).with_dbv(dbv).with_req_db(dbv)).unwrap();
    farm.host.release(held).unwrap();
    machine.take_violations()
}

/// A PE has acknowledged an SPI.
fn acknowledged() -> Bench {
    let bench = Bench::small();
    let pe = bench.host(PE0);
    pe.cden(spi(5));
    pe.cdpend(spi(5), true);
    pe.gsb_sys();
    assert!(pe.cdnmia().int_id().or_else(|| pe.cdia().int_id()).is_some());
    bench
}

/// An SPI is taken: what follows the acknowledge, and then the drop.
fn take(follows: impl FnOnce(&Pe<'_, ModelPe>)) -> Vec<Violation> {
    let bench = acknowledged();
    let pe = bench.host(PE0);
    follows(&pe);
    pe.cdeoi();
    pe.cddi(spi(5).into());
    bench.said()
}

pub(crate) const PAIRS: &[Pair] = &[
    Pair {
        rule: "GEN-18",
        breaks: ("a register is written again before its command has completed", || {
            second_command(|bench| bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(4))))
        }),
        nearly: ("a register of another command is written, and the same when the command has completed", || {
            second_command(|bench| {
                bench.machine.write(IRS, IRS_PE_SELR::ZERO.with_iaffid(Iaffid::new(0)));
                bench.wait(IRS, gicv5_arch::irs::IrsReg::IRS_SPI_SELR);
                bench.machine.write(IRS, IRS_SPI_SELR::ZERO.with_id(wire(4)));
            })
        }),
    },
    Pair {
        rule: "CPU-1",
        breaks: ("an instruction of EL2 on a PE without virtualisation", || {
            let bench = Bench::small();
            bench.host(PE0).gic(GicInsn::GIC_VDPEND, 0);
            bench.said()
        }),
        nearly: ("the same instruction of EL1", || {
            let bench = Bench::small();
            bench.host(PE0).gic(GicInsn::GIC_CDPEND, 0);
            bench.host(PE0).cden(spi(5));
            bench.host(PE0).cden(lpi(5));
            bench.said()
        }),
    },
    Pair {
        rule: "MEM-3",
        breaks: ("a block is lost", || account(|host| _ = host.machine().allocate(layout()).unwrap())),
        nearly: ("a block is freed at the last moment", || {
            account(|host| host.machine().free(host.machine().allocate(layout()).unwrap()))
        }),
    },
    Pair {
        rule: "POOL-1",
        breaks: ("an LPI is released in a machine restored to before it was handed out", || {
            let host = host();
            let before = host.machine().save();
            let held = host.allocate(Cookie(1)).unwrap();
            host.machine().restore(before);
            let _ = host.release(held);
            host.machine().take_violations()
        }),
        nearly: ("an LPI is released that has the number of one released before", || {
            let host = host();
            host.release(host.allocate(Cookie(1)).unwrap()).unwrap();
            host.release(host.allocate(Cookie(1)).unwrap()).unwrap();
            host.machine().take_violations()
        }),
    },
    Pair {
        rule: "POOL-2",
        breaks: ("an LPI is enabled in a machine restored to before it was handed out", || {
            let host = host();
            let before = host.machine().save();
            let held = host.allocate(Cookie(1)).unwrap();
            host.machine().restore(before);
            host.enable(&held);
            host.machine().take_violations()
        }),
        nearly: ("an LPI is enabled that has the number of one released before", || {
            let host = host();
            host.release(host.allocate(Cookie(1)).unwrap()).unwrap();
            host.enable(&host.allocate(Cookie(1)).unwrap());
            host.machine().take_violations()
        }),
    },
    Pair {
        rule: "POOL-3",
        breaks: ("an LPI is lost", || account(|host| _ = host.allocate(Cookie(1)).unwrap())),
        nearly: ("an LPI is released at the last moment", || {
            account(|host| host.release(host.allocate(Cookie(1)).unwrap()).unwrap())
        }),
    },
    Pair {
        rule: "DB-25",
        breaks: ("an LPI is released that a valid VPE may still ring", || release_doorbell(true)),
        nearly: ("an LPI is released that the settings of a valid VPE name without DBV", || release_doorbell(false)),
    },
    Pair {
        rule: "SYN-3",
        breaks: ("a priority is dropped after an acknowledge and an ISB before the GSB ACK", || {
            take(|pe| {
                pe.isb();
                pe.gsb_ack();
            })
        }),
        nearly: ("a priority is dropped after an acknowledge, GSB SYS instead of GSB ACK, and an ISB", || {
            take(|pe| {
                pe.gsb_sys();
                pe.isb();
            })
        }),
    },
];

#[test]
fn each_barrier_after_an_acknowledge_counts_and_a_deactivation_needs_them_too() {
    // SYN-3.
    for (gsb, isb) in [(false, false), (true, false), (false, true), (true, true)] {
        let said = take(|pe| {
            if gsb {
                pe.gsb_ack();
            }
            if isb {
                pe.isb();
            }
        });
        assert_eq!(said.len(), usize::from(!(gsb && isb)), "GSB ACK {gsb}, ISB {isb}");
    }
    let bench = acknowledged();
    let pe = bench.host(PE0);
    pe.cddi(spi(5).into());
    bench.broken_at("SYN-3", Place::Insn(PE0, GicInsn::GIC_CDDI));
    pe.cdeoi();
    bench.clean();
}
