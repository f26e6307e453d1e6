//! A machine with VMs in it, and what a hypervisor and its guests do in one call.

use std::ops::Deref;

use super::*;

/// Another VM than [`VM`]: VPE 0.
pub(crate) const OTHER: VmId = VmId::new(6);
pub(crate) const VPE0: VpeId = VpeId::new(0);
pub(crate) const VPE3: VpeId = VpeId::new(3);

/// The doorbell LPI of a VPE of these VMs.
pub(crate) fn doorbell_of(vm: VmId, vpe: VpeId) -> IrsIntId {
    lpi(u32::from(vm.raw_value()) * 16 + u32::from(vpe.raw_value()))
}

/// A machine with virtualisation and this many PEs. Every effect comes as late as it may.
pub(crate) fn config(pes: u16) -> MachineConfig {
    use arbitrary_int::{u5, u6};
    let mut config = MachineConfig::new(pes, 64);
    let irs = &mut config.irses[0];
    irs.idr0 = irs.idr0.with_virt(true);
    irs.idr3 = IRS_IDR3::ZERO.with_vm_id_bits(u5::new(8)).with_vmt_levels(Levels::Linear);
    irs.idr4 = IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::from_count(8).unwrap()).with_vped_sz(u6::new(7));
    config
}

/// The same, where every effect comes at once.
pub(crate) fn eager(pes: u16) -> MachineConfig {
    let mut config = config(pes);
    config.switches.effects = Effects::Early;
    config
}

/// A hypervisor's machine, whose guests may do everything.
pub(crate) struct GuestBench {
    bench: VmBench,
}

impl Deref for GuestBench {
    type Target = VmBench;

    fn deref(&self) -> &VmBench {
        &self.bench
    }
}

impl GuestBench {
    /// [`VM`] and [`OTHER`] are valid, with LPIs 0 to 63 and SPIs 0 to 63 that target VPE 0, have priority 10 and are
    /// enabled; doorbells are set up; EL2 lets guests do everything; nothing is resident.
    pub(crate) fn new(config: MachineConfig) -> GuestBench {
        let bench = VmBench::at_reset(config, SHAPES[0], VmTableGeometry::linear(8).unwrap());
        let mut bench = GuestBench { bench };
        bench.vms.host.switch_on().unwrap();
        bench.make_vm(VM, &[VPE0, VPE3]);
        bench.make_vm(OTHER, &[VPE0]);
        for n in 0..bench.machine.pe_count() {
            let host = bench.host(PeIndex(n));
            // Nothing traps.
            host.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
            host.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
            host.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
            host.set(ICH_VCTLR_EL2::ZERO.with_en(true));
        }
        bench.clean();
        bench
    }

    /// The same, where VPE 0 of [`VM`] is resident on PE 0.
    pub(crate) fn running(config: MachineConfig) -> GuestBench {
        let bench = GuestBench::new(config);
        assert!(bench.load(PE0, VM, VPE0));
        bench
    }

    /// [`config`] with something changed; nothing is resident.
    pub(crate) fn with(pes: u16, change: impl FnOnce(&mut MachineConfig)) -> GuestBench {
        let mut config = config(pes);
        change(&mut config);
        GuestBench::new(config)
    }

    /// The same, where VPE 0 of [`VM`] is resident on PE 0.
    pub(crate) fn running_with(pes: u16, change: impl FnOnce(&mut MachineConfig)) -> GuestBench {
        let bench = GuestBench::with(pes, change);
        assert!(bench.load(PE0, VM, VPE0));
        bench
    }

    /// Makes a VM valid, its VPEs, its ISTs and the doorbells of its VPEs.
    pub(crate) fn make_vm(&mut self, vm: VmId, vpes: &[VpeId]) {
        self.bench.vms.make_vm(vm, L2_VMTE::default(), vpes.iter().copied()).unwrap();
        let entry = L2_ISTE::ZERO.with_enable(true).with_priority(priority(10));
        self.bench.make_ist_of(vm, IrsIntType::Lpi, linear(14), &[entry; 64]);
        self.bench.make_ist_of(vm, IrsIntType::Spi, linear(6), &[entry; 64]);
        for vpe in vpes {
            self.set_doorbell(vm, *vpe, false);
        }
    }

    /// Doorbell settings as they are at first; asked for or not, with an open mask.
    pub(crate) fn set_doorbell(&self, vm: VmId, vpe: VpeId, request: bool) {
        let settings = doorbell(doorbell_of(vm, vpe).id(), request, 31);
        self.vms.host.set_doorbell(vm, vpe, settings).unwrap();
    }

    pub(crate) fn map_vm(&self, vm: VmId, action: MapAction) {
        self.vms.map_vm(vm, action).unwrap();
    }

    /// Loads a VPE as RES-15 says, with an open mask, and looks whether it worked.
    pub(crate) fn load(&self, pe: PeIndex, vm: VmId, vpe: VpeId) -> bool {
        let host = self.host(pe);
        host.write(ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(priority(31)));
        host.write_raw(SysReg::ICH_APR_EL2, 0);
        host.set(ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe));
        !host.read::<ICH_CONTEXTR_EL2>().f()
    }

    /// Takes whatever VPE is resident off a PE; asks for a doorbell with this mask.
    pub(crate) fn put(&self, pe: PeIndex, doorbell: Option<u32>) {
        let mut context = ICH_CONTEXTR_EL2::ZERO;
        if let Some(mask) = doorbell {
            context = context.with_db(true).with_dbpm(priority(mask));
        }
        self.host(pe).set(context);
    }

    /// Makes an interrupt of a VM pending.
    pub(crate) fn inject(&self, vm: VmId, id: IrsIntId) {
        self.vms.host.inject(vm, id);
    }

    /// The hypervisor makes a virtual PPI a candidate as soon as it is pending.
    pub(crate) fn enable_virtual_ppi(&self, pe: PeIndex, ppi: Ppi, at: u32) {
        let registers = [SysReg::ich_ppi_priorityr(ppi.priority_register()), SysReg::ich_ppi_enabler(ppi.bank())];
        enable_ppi_by(&self.host(pe), registers, ppi, at);
    }

    pub(crate) fn virq(&self, pe: PeIndex) -> bool {
        self.machine.virtual_signals(pe).irq
    }

    /// The state of a VM's interrupt.
    pub(crate) fn state_in(&self, vm: VmId, id: IrsIntId) -> L2_ISTE {
        self.machine.virtual_interrupt(vm, id).unwrap()
    }

    /// Whether the doorbell of a VPE is pending.
    pub(crate) fn rang(&self, vm: VmId, vpe: VpeId) -> bool {
        self.state(doorbell_of(vm, vpe)).pending()
    }
}

/// Both effects: as late as they may come, and at once.
pub(crate) fn both(pes: u16) -> [GuestBench; 2] {
    [GuestBench::new(config(pes)), GuestBench::new(eager(pes))]
}

pub(crate) fn both_running(pes: u16) -> [GuestBench; 2] {
    [GuestBench::running(config(pes)), GuestBench::running(eager(pes))]
}

/// The affinity a guest knows a VPE by (VPE-19).
pub(crate) fn affinity(vpe: VpeId) -> Iaffid {
    vpe.into()
}

/// The same machine, where guests could have the legacy interface (PPI-26).
pub(crate) fn with_legacy(mut config: MachineConfig) -> MachineConfig {
    for pe in &mut config.irses[0].pes {
        pe.legacy = GcieLegacy::Present;
        pe.ppis[0] = pe.ppis[0].with(Ppi::GICMNT);
    }
    config
}
