//! Doorbells, residency, and what a hypervisor does when it enters a guest.

use crate::bench::*;

use crate::Pair;

fn bench() -> GuestBench {
    GuestBench::new(config(2))
}

fn running() -> GuestBench {
    GuestBench::running(config(2))
}

fn context(vm: VmId, vpe: VpeId) -> ICH_CONTEXTR_EL2 {
    ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe)
}

/// One VPE's doorbell settings name an LPI, with DBV as given.
fn set_doorbell(bench: &GuestBench, vm: VmId, vpe: VpeId, lpi: IrsIntId, dbv: bool) {
    let IrsIntId::Lpi(lpi) = lpi else { unreachable!() };
    bench.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe));
    bench.command(IRS_VPE_DBR::ZERO.with_dbv(dbv).with_intid(lpi));
}

/// A context is asked for and ICH_CONTEXTR_EL2 read, with an ISB between or without.
fn read_context(new: ICH_CONTEXTR_EL2, isb: bool) -> Vec<Violation> {
    let bench = running();
    bench.put(PE0, None);
    let host = bench.host(PE0);
    host.write(new);
    if isb {
        host.isb();
    }
    let _ = host.read::<ICH_CONTEXTR_EL2>();
    bench.said()
}

/// VPE 0 is on PE 0, and another that is asked for there.
fn replace(put_first: bool) -> Vec<Violation> {
    let bench = running();
    bench.guest(PE0).isb();
    if put_first {
        bench.put(PE0, None);
    }
    bench.load(PE0, VM, VPE3);
    bench.said()
}

/// A PPI injected directly and one that the host has enabled.
fn inject_directly(injected: Ppi, enabled: Ppi) -> Vec<Violation> {
    let bench = running();
    let host = bench.host(PE0);
    host.write_raw(SysReg::icc_ppi_enabler(enabled.bank()), enabled.mask());
    host.write_raw(SysReg::ich_ppi_dvir(injected.bank()), injected.mask());
    bench.guest(PE0).isb();
    bench.said()
}

/// A VPE that a PPI was injected into directly makes way for another, for which the registers are written anew or not.
fn next_vpe(write_anew: bool) -> Vec<Violation> {
    let bench = bench();
    let host = bench.host(PE0);
    let dvir = SysReg::ich_ppi_dvir(PpiBank::ALL[0]);
    assert!(bench.load(PE0, VM, VPE0));
    host.write_raw(dvir, Ppi::CNTV.mask());
    bench.guest(PE0).isb();
    bench.put(PE0, None);
    assert!(bench.load(PE0, OTHER, VPE0));
    if write_anew {
        host.write_raw(dvir, Ppi::CNTV.mask());
    }
    bench.guest(PE0).isb();
    bench.said()
}

/// A guest reads the answer to its question after another has run, and its own register is restored, or not.
fn read_answer(restore: bool) -> Vec<Violation> {
    let bench = running();
    bench.guest(PE0).cdrcfg(lpi(1));
    bench.guest(PE0).isb();
    let answer = bench.host(PE0).read_raw(SysReg::ICC_ICSR_EL1);
    bench.put(PE0, None);
    assert!(bench.load(PE0, OTHER, VPE0));
    if restore {
        bench.host(PE0).set_raw(SysReg::ICC_ICSR_EL1, answer);
    }
    let _ = bench.guest(PE0).read_raw(SysReg::ICC_ICSR_EL1);
    bench.said()
}

/// A guest executes what EL2 lets it, or does not.
fn execute(allowed: bool) -> Vec<Violation> {
    let bench = running();
    let (nothing, everything) = (ICH_HFGITR_EL2::new_with_raw_value(u64::MAX), ICH_HFGITR_EL2::ZERO);
    bench.host(PE0).write(match allowed {
        true => everything.with_gicrcdia(nothing.gicrcdia()),
        false => nothing.with_gicrcdia(everything.gicrcdia()),
    });
    bench.host(PE0).isb();
    let _ = bench.guest(PE0).cdia();
    bench.said()
}

/// A VPE whose doorbell settings are valid or not leaves with a request for its doorbell.
fn sleep(dbv: bool) -> Vec<Violation> {
    let bench = running();
    set_doorbell(&bench, VM, VPE0, doorbell_of(VM, VPE0), dbv);
    bench.put(PE0, Some(31));
    bench.said()
}

pub(crate) const PAIRS: &[Pair] = &[
    Pair {
        rule: "DB-6",
        breaks: ("a VPE without doorbell settings leaves with a request", || sleep(false)),
        nearly: ("a VPE with doorbell settings leaves with a request", || sleep(true)),
    },
    Pair {
        rule: "DB-14",
        breaks: ("two VPEs have the same doorbell LPI", || {
            let bench = bench();
            set_doorbell(&bench, OTHER, VPE0, doorbell_of(VM, VPE0), true);
            bench.said()
        }),
        nearly: ("a VPE gets the doorbell LPI that another has just given up", || {
            let bench = bench();
            set_doorbell(&bench, VM, VPE0, doorbell_of(VM, VPE0), false);
            set_doorbell(&bench, OTHER, VPE0, doorbell_of(VM, VPE0), true);
            bench.said()
        }),
    },
    Pair {
        rule: "RES-1",
        breaks: ("F is read before an ISB", || read_context(context(VM, VPE3), false)),
        nearly: ("F is read after an ISB", || read_context(context(VM, VPE3), true)),
    },
    Pair {
        rule: "RES-14",
        breaks: ("the register is read before an ISB after V=0 was written", || {
            read_context(ICH_CONTEXTR_EL2::ZERO, false)
        }),
        nearly: ("the register is read after an ISB after V=0 was written", || {
            read_context(ICH_CONTEXTR_EL2::ZERO, true)
        }),
    },
    Pair {
        rule: "RES-4",
        breaks: ("a VPE is asked for on a second PE", || {
            let bench = running();
            bench.load(PE1, VM, VPE0);
            bench.said()
        }),
        nearly: ("the VPEs of a VM with the same number and of the VM next to it are on two PEs", || {
            let bench = bench();
            assert!(bench.load(PE0, VM, VPE0) && bench.load(PE1, OTHER, VPE0));
            bench.put(PE1, None);
            assert!(bench.load(PE1, VM, VPE3));
            bench.said()
        }),
    },
    Pair {
        rule: "RES-15",
        breaks: ("the guest's mask is written after its VPE was made resident", || {
            let bench = bench();
            bench.host(PE0).write(context(VM, VPE0));
            bench.host(PE0).write(ICH_VMCR_EL2::ZERO.with_en(true));
            bench.said()
        }),
        nearly: (
            "the guest's mask is written right before its VPE is made resident, and again when it has run",
            || {
                let bench = bench();
                bench.host(PE0).write(ICH_VCTLR_EL2::ZERO.with_en(true));
                bench.host(PE0).write(ICH_VMCR_EL2::ZERO.with_en(true));
                bench.host(PE0).write(context(VM, VPE0));
                bench.guest(PE0).isb();
                bench.host(PE0).write(ICH_VMCR_EL2::ZERO.with_en(true));
                bench.said()
            },
        ),
    },
    Pair {
        rule: "RES-19",
        breaks: ("a guest is entered although F=1", || {
            let bench = bench();
            assert!(!bench.load(PE0, VmId::new(77), VPE0));
            bench.guest(PE0).isb();
            bench.said()
        }),
        nearly: ("a guest is entered after a request that failed and one that did not", || {
            let bench = bench();
            assert!(!bench.load(PE0, VmId::new(77), VPE0));
            assert!(bench.load(PE0, VM, VPE0));
            bench.guest(PE0).isb();
            bench.said()
        }),
    },
    Pair {
        rule: "RES-22",
        breaks: ("a VPE is asked for while another is there", || replace(false)),
        nearly: ("a VPE is asked for when the other has left", || replace(true)),
    },
    Pair {
        rule: "RES-23",
        breaks: ("a VM is made invalid while a VPE of it is resident", || {
            let bench = running();
            bench.map_vm(VM, MapAction::MakeInvalid);
            bench.said()
        }),
        nearly: ("a VM is made invalid when its VPE has just left, while another VM's is resident", || {
            let bench = bench();
            assert!(bench.load(PE0, VM, VPE0) && bench.load(PE1, OTHER, VPE0));
            bench.put(PE0, Some(31));
            bench.map_vm(VM, MapAction::MakeInvalid);
            bench.said()
        }),
    },
    Pair {
        rule: "INS-14",
        breaks: ("a guest finds the answer to what another guest has asked", || read_answer(false)),
        nearly: ("the hypervisor has given the guest its own answer back", || read_answer(true)),
    },
    Pair {
        rule: "PPI-11",
        breaks: ("a PPI is injected directly that the host has enabled", || inject_directly(Ppi::CNTV, Ppi::CNTV)),
        nearly: ("a PPI is injected directly and the host has enabled another", || {
            inject_directly(Ppi::CNTV, Ppi::CNTHP)
        }),
    },
    Pair {
        rule: "PPI-13",
        breaks: ("direct injection is left as the VPE before had it", || next_vpe(false)),
        nearly: ("direct injection is written for the next VPE and has the same value", || next_vpe(true)),
    },
    Pair {
        rule: "CPU-2",
        breaks: ("a guest executes what traps, and nobody asked", || execute(false)),
        nearly: ("a guest executes the one thing that does not trap", || execute(true)),
    },
];
