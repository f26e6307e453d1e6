//! What an error says, and what the usual walk along its sources prints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../gicv5-irs/tests/common/chain.rs"]
mod chain;

use std::error::Error;
use std::time::Duration;

use chain::assert_chain;
use gicv5_arch::geometry::GeometryError;
use gicv5_arch::irs::IrsReg;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{AddressError, Iaffid, Lpi, Spi};
use gicv5_hal::{AllocError, BlockLayout, BlockLayoutError, IrsIndex, LpiError};
use gicv5_phys::{
    BringUpCause, BringUpError, Command, CommandError, CommandErrorKind, Fault, PeError, Place, ProbeError, SpiError,
    TableError, TearDownError, Unreachable,
};

const IRS: IrsIndex = IrsIndex(2);

fn command() -> CommandError {
    let kind = CommandErrorKind::TimedOut { waited: Duration::from_millis(10) };
    let place = Place::Register(IrsReg::IRS_IST_STATUSR);
    CommandError { irs: IRS, command: Command::WithdrawIst, place, value: 0x10, kind }
}

const COMMAND: &str = "could not withdraw the IST: IRS_IST_STATUSR still reads 0x10 after 10ms";
const GEOMETRY: GeometryError = GeometryError::NoL2Size;

fn tables() -> [(TableError, &'static str, Fault); 4] {
    let layout = BlockLayout::new(4096, 4096, gicv5_arch::PhysAddr::highest(40)).unwrap();
    let address = gicv5_arch::PhysAddr::new(u64::MAX).unwrap_err();
    let _: AddressError = address;
    [
        (AllocError { layout }.into(), "4096", Fault::Capacity),
        (BlockLayoutError::Empty.into(), "", Fault::Caller),
        (address.into(), "0xffffffffffffffff", Fault::Caller),
        (TableError::Records, "no memory for the library's records", Fault::Capacity),
    ]
}

fn bring_up(cause: BringUpCause) -> BringUpError {
    BringUpError { cause, cleanup: Ok(()) }
}

#[test]
fn every_error_of_a_bring_up_tells_its_innermost_reason_and_whose_fault_it_is() {
    let register = IrsReg::IRS_IST_BASER;
    let cases = [
        (BringUpCause::AlreadyUp, "up already", Fault::Caller),
        (BringUpCause::Contended, "another PE", Fault::Busy),
        (BringUpCause::NotSettled(command()), COMMAND, Fault::Hardware),
        (BringUpCause::LiveTable { irs: IRS, register, value: 0x8001 }, "reads 0x8001", Fault::Caller),
        (BringUpCause::Command(command()), COMMAND, Fault::Hardware),
    ];
    for (cause, reason, fault) in cases {
        let error = bring_up(cause);
        assert_eq!(error.fault(), fault, "{error}");
        assert_chain(&error, reason);
    }
    for (table, reason, fault) in tables() {
        let error = bring_up(table.into());
        assert_eq!(error.fault(), fault, "{error}");
        assert_chain(&error, reason);
    }
    let held = BringUpError { cause: BringUpCause::Contended, cleanup: Err(command()) };
    assert!(held.to_string().contains(COMMAND), "what could not be undone is told too: {held}");
}

#[test]
fn every_other_error_does_so_too() {
    let iaffid = Iaffid::new(7);
    let (spi, lpi) = (Spi::new(3).unwrap(), Lpi::new(9).unwrap());
    let unreachable = LpiError::Unreachable { lpi, register: IrsReg::IRS_IST_STATUSR, value: 0x30 };
    let (register, value, reason) = (IrsReg::IRS_IDR2, 0x3c38, "there are no physical LPIs");
    let probe: [(ProbeError, &str, Fault); 7] = [
        (ProbeError::NoIrs, "no IRS was named", Fault::Caller),
        (ProbeError::SameIrs { irs: IRS }, "IRS 2 is named twice", Fault::Caller),
        (ProbeError::Irs { irs: IRS, register, value, reason }, reason, Fault::Hardware),
        (ProbeError::Lpis { irs: IRS, lpis: u32::MAX, source: GEOMETRY }, "names no level-2 size", Fault::Caller),
        (ProbeError::Ist { irs: IRS, register, value, source: GEOMETRY }, "names no level-2 size", Fault::Hardware),
        (ProbeError::Pe { register: SysReg::ICC_IDR0_EL1, value, reason }, reason, Fault::Hardware),
        (ProbeError::NoMemory, "no memory", Fault::Capacity),
    ];
    for (error, reason, fault) in probe {
        assert_eq!(error.fault(), fault, "{error}");
        assert_chain(&error, reason);
        let pe = PeError::from(error);
        assert_eq!(pe.fault(), fault, "{pe}");
        assert_chain(&pe, reason);
    }
    let pe: [(PeError, &str, Fault); 11] = [
        (PeError::DriverDown, "not up", Fault::Caller),
        (PeError::AlreadyUp, "up already", Fault::Caller),
        (PeError::NotUp, "not up", Fault::Caller),
        (PeError::Contended, "another PE", Fault::Busy),
        (PeError::Unknown { iaffid }, "affinity ID 7", Fault::Caller),
        (PeError::TooMany { count: 2 }, "2 PEs", Fault::Hardware),
        (PeError::Handling { apr: 0x80 }, "reads 0x80", Fault::Caller),
        (PeError::Resident { contextr: 1 << 63 }, "put it first", Fault::Caller),
        (LpiError::NoneFree.into(), "no LPI is free", Fault::Capacity),
        (unreachable.into(), "IRS_IST_STATUSR reads 0x30", Fault::Hardware),
        (command().into(), COMMAND, Fault::Hardware),
    ];
    for (error, reason, fault) in pe {
        assert_eq!(error.fault(), fault, "{error}");
        assert_chain(&error, reason);
    }
    let spis: [(SpiError, &str, Fault); 4] = [
        (SpiError::NotOwned { spi }, "no IRS owns SPI 3", Fault::Caller),
        (SpiError::NotOurs { spi, value: 1 }, "not assigned to this interrupt domain", Fault::Caller),
        (SpiError::OtherSelected { spi, value: 3 }, "an earlier selection stays", Fault::Hardware),
        (command().into(), COMMAND, Fault::Hardware),
    ];
    for (error, reason, fault) in spis {
        assert_eq!(error.fault(), fault, "{error}");
        assert_chain(&error, reason);
    }
    let down: [(TearDownError, &str, Fault); 5] = [
        (TearDownError::LpisInUse { lent: 2 }, "2 LPIs", Fault::Caller),
        (TearDownError::PeUp { iaffid }, "still up", Fault::Caller),
        (TearDownError::VmTableInUse { irs: IRS, value: 1 }, "shut the hypervisor's host down first", Fault::Caller),
        (TearDownError::Contended, "another PE", Fault::Busy),
        (command().into(), COMMAND, Fault::Hardware),
    ];
    for (error, reason, fault) in down {
        assert_eq!(error.fault(), fault, "{error}");
        assert_chain(&error, reason);
    }
    let unreachable = Unreachable(spi.into());
    assert_eq!(unreachable.fault(), Fault::Caller);
    assert!(unreachable.source().is_none());
}
