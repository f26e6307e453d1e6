//! Any sequence of accesses to the frames, instructions, system registers and wires of a machine: nothing panics, a saved
//! state restores, and the machine still answers afterwards.
#![no_main]

use arbitrary::Arbitrary;
use gicv5_arch::insn::GicInsn;
use gicv5_arch::irs::IRS_IDR0;
use gicv5_arch::sysreg::SysReg;
use gicv5_arch::{Ppi, Spi};
use gicv5_hal::{Frame, Irs, IrsExt, IrsIndex, PeOps};
use gicv5_model::Machine;
use gicv5_model::config::{Effects, MachineConfig};
use gicv5_model::PeIndex;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    Read32 { set_lpi: bool, offset: u16 },
    Read64 { set_lpi: bool, offset: u16 },
    Write32 { set_lpi: bool, offset: u16, value: u32 },
    Write64 { set_lpi: bool, offset: u16, value: u64 },
    Instruction { pe: bool, insn: u8, xt: u64 },
    ReadSysReg { pe: bool, register: u8 },
    WriteSysReg { pe: bool, register: u8, value: u64 },
    Isb { pe: bool },
    Dsb { pe: bool },
    SpiWire { spi: u8, high: bool },
    PpiWire { pe: bool, ppi: u8, high: bool },
    Advance(u16),
    SaveAndRestore,
}

#[derive(Arbitrary, Debug)]
struct Run {
    effects: u8,
    latency: u8,
    seed: u64,
    steps: Vec<Step>,
}

fuzz_target!(|run: Run| {
    let mut config = MachineConfig::new(2, 64);
    config.seed = run.seed;
    config.command_latency = run.latency.into();
    config.switches.effects = match run.effects % 3 {
        0 => Effects::Late,
        1 => Effects::Early,
        _ => Effects::Random,
    };
    let Ok(machine) = Machine::new(config) else { return };
    let frame = |set_lpi| if set_lpi { Frame::set_lpi(IrsIndex(0)) } else { Frame::config(IrsIndex(0)) };
    for step in &run.steps {
        let (Some(pe0), Some(pe1)) = (machine.pe(PeIndex(0)), machine.pe(PeIndex(1))) else { return };
        let cpu = |second: bool| if second { &pe1 } else { &pe0 };
        match *step {
            Step::Read32 { set_lpi, offset } => {
                machine.read32(frame(set_lpi), offset);
            }
            Step::Read64 { set_lpi, offset } => {
                machine.read64(frame(set_lpi), offset);
            }
            Step::Write32 { set_lpi, offset, value } => machine.write32(frame(set_lpi), offset, value),
            Step::Write64 { set_lpi, offset, value } => machine.write64(frame(set_lpi), offset, value),
            Step::Instruction { pe, insn, xt } => {
                cpu(pe).gic(GicInsn::ALL[usize::from(insn) % GicInsn::ALL.len()], xt);
            }
            Step::ReadSysReg { pe, register } => {
                cpu(pe).read_sysreg(SysReg::ALL[usize::from(register) % SysReg::ALL.len()]);
            }
            Step::WriteSysReg { pe, register, value } => {
                cpu(pe).write_sysreg(SysReg::ALL[usize::from(register) % SysReg::ALL.len()], value);
            }
            Step::Isb { pe } => cpu(pe).isb(),
            Step::Dsb { pe } => cpu(pe).dsb(),
            Step::SpiWire { spi, high } => machine.set_spi_wire(Spi::new(spi.into()).expect("8 bits fit"), high),
            Step::PpiWire { pe, ppi, high } => {
                let ppi = Ppi::new(u32::from(ppi) % 128).expect("there are 128 PPIs");
                machine.set_ppi_wire(PeIndex(pe.into()), ppi, high);
            }
            Step::Advance(ticks) => machine.advance(ticks.into()),
            Step::SaveAndRestore => {
                let state = machine.save();
                machine.restore(state.clone());
                assert!(machine.save() == state);
            }
        }
    }
    assert_ne!(machine.read::<IRS_IDR0>(IrsIndex(0)).raw_value(), 0);
});
