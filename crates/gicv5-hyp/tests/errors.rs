//! What an error says, and what the usual walk along its sources prints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../gicv5-irs/tests/common/chain.rs"]
mod chain;

use chain::assert_chain;
use gicv5_arch::geometry::GeometryError;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{Lpi, Ppi, VmId, VpeId};
use gicv5_hal::{AllocError, BlockLayout, BlockLayoutError, IrsIndex, LpiError};
use gicv5_hyp::{
    BringUpCause, BringUpError, Command, CommandError, CommandErrorKind, DoorbellError, Fate, Fault, Holdings,
    InitCause, InitError, InjectError, IstCause, IstError, Phase, Place, PpiError, ProbeError, ReclaimError,
    ResetCause, ResetError, RunError, ShutDownError, TableEntry, TableError, TearDownCause, TearDownError, VcpuIndex,
    VmState,
};

const IRS: IrsIndex = IrsIndex(2);
const VM: VmId = VmId::new(3);
const VPE: VpeId = VpeId::new(17);

fn command() -> CommandError {
    let kind = CommandErrorKind::NoEffect;
    let place = Place::Entry(TableEntry::L2Vmte);
    CommandError { irs: IRS, command: Command::MakeVmInvalid(VM), place, value: 0x11, kind }
}

const COMMAND: &str = "it finished, and yet it did not make VM 3 invalid: L2_VMTE reads 0x11";
const GEOMETRY: (GeometryError, &str) = (GeometryError::NoL2Size, "names no level-2 size");

fn tables() -> [(TableError, &'static str); 4] {
    let layout = BlockLayout::new(4096, 4096, gicv5_arch::PhysAddr::highest(40)).unwrap();
    [
        (AllocError { layout }.into(), "4096"),
        (BlockLayoutError::Empty.into(), ""),
        (gicv5_arch::PhysAddr::new(u64::MAX).unwrap_err().into(), "0xffffffffffffffff"),
        (TableError::Records, "no memory for the library's records"),
    ]
}

fn tear_downs() -> [(TearDownCause, &'static str, Fault); 6] {
    [
        (TearDownCause::Resident { vm: VM, vpe: VPE }, "VPE 17 of VM 3 is still resident", Fault::Caller),
        (TearDownCause::Referenced { vm: VM, references: 2 }, "2 resources", Fault::Caller),
        (command().into(), COMMAND, Fault::Hardware),
        (TearDownCause::Named { command: Command::SetDoorbell(VM, VPE) }, "doorbell of VPE 17", Fault::Busy),
        (TearDownCause::Doorbell { vm: VM, vpe: VPE }, "could not be released", Fault::Hardware),
        (TearDownCause::OthersRun, "cannot be made anew", Fault::Busy),
    ]
}

#[test]
fn an_init_that_fails_tells_its_innermost_reason() {
    let said = |cause: InitCause, reason: &str| {
        let error = InitError { cause, fate: Fate::TornDown };
        assert_chain(&error, reason);
        assert!(error.to_string().ends_with("the VM is torn down"), "{error}");
    };
    for cause in [InitCause::AlreadyInitialised, InitCause::NoVcpus, InitCause::Nesting, InitCause::NoVmId] {
        let reason = cause.to_string();
        said(cause, &reason);
    }
    said(InitCause::NotAscending { vpe: VPE }, "VPE 17");
    said(InitCause::ReservedVpe { vpe: VPE }, "VPE 17");
    said(InitCause::HostNotUp(Phase::Down), "Down");
    said(InitCause::VpeId(GEOMETRY.0), GEOMETRY.1);
    said(InitCause::Spis(GEOMETRY.0), GEOMETRY.1);
    said(command().into(), COMMAND);
    for (table, reason) in tables() {
        said(IstCause::from(table.clone()).into(), reason);
        said(table.into(), reason);
    }
    said(IstCause::from(GEOMETRY.0).into(), GEOMETRY.1);
    said(IstCause::from(command()).into(), COMMAND);
    for (cause, reason, _) in tear_downs() {
        said(InitCause::NotSettled(cause), reason);
    }
    let unreachable =
        LpiError::Unreachable { lpi: Lpi::new(9).unwrap(), register: IrsReg::IRS_IST_STATUSR, value: 0x30 };
    for (source, reason) in [
        (DoorbellError::NoneFree { limit: 16 }, "all 16 doorbells are in use"),
        (DoorbellError::NoMemory, "no memory for a doorbell's word"),
        (LpiError::NoneFree.into(), "no LPI is free"),
        (LpiError::NoMemory.into(), "no memory for another LPI"),
        (unreachable.into(), "IRS_IST_STATUSR reads 0x30"),
    ] {
        said(InitCause::Doorbell { vpe: VPE, source }, reason);
    }
}

#[test]
fn a_host_that_does_not_come_up_or_go_down_tells_its_innermost_reason() {
    let up = |cause: BringUpCause, reason: &str| assert_chain(&BringUpError { cause, cleanup: Ok(()) }, reason);
    up(BringUpCause::AlreadyUp, "up already");
    up(BringUpCause::Contended, "somebody else");
    up(BringUpCause::LiveTable { irs: IRS, value: 0x8001 }, "reads 0x8001");
    up(BringUpCause::PhysicalSideDown { irs: IRS, value: 0 }, "bring the physical side up first");
    up(command().into(), COMMAND);
    tables().into_iter().for_each(|(table, reason)| up(table.into(), reason));
    let held = Holdings {
        phase: Phase::Partial,
        vms: 1,
        orphans: 0,
        quarantined: 1,
        quarantined_bytes: 4096,
        table_bytes: 4096,
        unknown: None,
    };
    assert_chain(&ShutDownError::VmsLeft { vms: 2 }, "2 VMs");
    assert_chain(&ShutDownError::Contended, "somebody else");
    assert_chain(&ShutDownError::Command { cause: command(), held }, COMMAND);
    for (cause, reason, fault) in tear_downs() {
        up(BringUpCause::NotSettled(cause), reason);
        assert_chain(&ShutDownError::Vm(cause), reason);
        assert_chain(&ShutDownError::Left { cause, held }, reason);
        assert_chain(&ReclaimError { left: 1, cause }, reason);
        let error = TearDownError { cause, fate: Fate::Quarantined };
        assert_eq!(error.fault(), fault);
        assert_chain(&error, reason);
        let both = BringUpError { cause: command().into(), cleanup: Err(cause) };
        assert!(both.to_string().contains(reason), "what could not be undone is told too: {both}");
    }
}

#[test]
fn every_other_error_does_so_too() {
    let ist = |cause: IstCause, reason: &str| assert_chain(&IstError { cause, fate: Fate::Dead }, reason);
    ist(IstCause::NotLive, "not live");
    ist(IstCause::Exists, "has an IST");
    ist(IstCause::Absent, "has no IST");
    ist(GEOMETRY.0.into(), GEOMETRY.1);
    ist(command().into(), COMMAND);
    tables().into_iter().for_each(|(table, reason)| ist(table.into(), reason));
    let reset = |cause: ResetCause, reason: &str| assert_chain(&ResetError { cause, fate: Fate::Dead }, reason);
    reset(ResetCause::NotLive, "not live");
    reset(ResetCause::Resident { vm: VM, vpe: VPE }, "VPE 17");
    reset(command().into(), COMMAND);
    let runs = [
        (RunError::NotInitialised, "not initialised"),
        (RunError::NotLive { vm: VM, state: VmState::Dead }, "VM 3 is Dead"),
        (RunError::NoSuchVcpu(VcpuIndex(4)), "no vCPU 4"),
        (RunError::Elsewhere { vm: VM, vpe: VPE }, "on another PE"),
        (RunError::PeTaken { contextr: 0x80 }, "reads 0x80"),
        (RunError::ResidencyFault { vm: VM, vpe: VPE, contextr: 0x40 }, "reads 0x40"),
    ];
    for (run, reason) in runs {
        assert_chain(&run, reason);
        assert_chain(&InjectError::from(run), reason);
        assert_chain(&PpiError::from(run), reason);
    }
    assert_chain(
        &InjectError::Absent { vm: VM, id: gicv5_arch::Spi::new(400).unwrap().into() },
        "VM 3 does not have SPI 400",
    );
    assert_chain(&InjectError::Ppi(Ppi::SW_PPI), "only set on a vCPU");
    assert_chain(&PpiError::NotDriven(Ppi::SW_PPI), "not this VM's to drive");
    let (register, value, reason) = (IrsReg::IRS_IDR3, 0x30, "it cannot be");
    for error in [
        ProbeError::NoVirtualisation { irs: IRS, value },
        ProbeError::Register { irs: IRS, register, value, reason },
        ProbeError::Pe { register: SysReg::ICC_IDR0_EL1, value, reason },
        ProbeError::Differs { irs: IRS, register, value, other: IRS, value_there: 0, reason },
    ] {
        assert_chain(&error, "reads 0x30");
    }
    assert_chain(&ProbeError::Tables { irs: IRS, register, value, source: GEOMETRY.0 }, GEOMETRY.1);
    assert_chain(&ProbeError::NoVms, "no VM");
    assert_chain(&ProbeError::NoVcpus, "no vCPU");
    assert_chain(&ProbeError::NoMemory, "no memory");
}
