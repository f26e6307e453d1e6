//! A machine with VMs in it, made by hand, and what a hypervisor and its guests do in one call.

use arbitrary_int::{u5, u6};
use gicv5_arch::entry::{L2_ISTE, L2_VMTE, VPETE};
use gicv5_arch::geometry::{IstGeometry, VmTableGeometry, VpeTableGeometry};
use gicv5_arch::irs::*;
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{
    ICC_CR0_EL1, ICH_CONTEXTR_EL2, ICH_HFGITR_EL2, ICH_HFGRTR_EL2, ICH_HFGWTR_EL2, ICH_VCTLR_EL2, ICH_VMCR_EL2, SysReg,
};
use gicv5_arch::values::{BitsMinusOne, IstSize, Levels, MapAction};
use gicv5_arch::{
    Addr55_3, Addr55_6, Iaffid, IntId, IrsIntId, IrsIntType, Lpi, PhysAddr, Ppi, Priority, Spi, VmId, VpeId,
};
use gicv5_hal::{Block, BlockLayout, IrsExt, IrsIndex, Pe, TableMemory};
use gicv5_model::PeIndex;
use gicv5_model::config::{Effects, MachineConfig};
use gicv5_model::memory::ModelBlock;
use gicv5_model::violation::Place;
use gicv5_model::{Machine, ModelPe};

pub(crate) const IRS: IrsIndex = IrsIndex(0);
pub(crate) const PE0: PeIndex = PeIndex(0);
pub(crate) const PE1: PeIndex = PeIndex(1);
/// The VM of most stories: VPEs 0 and 3.
pub(crate) const VM: VmId = VmId::new(5);
/// Another one: VPE 0.
pub(crate) const OTHER: VmId = VmId::new(6);
pub(crate) const VPE0: VpeId = VpeId::new(0);
pub(crate) const VPE3: VpeId = VpeId::new(3);

/// The doorbell LPI of a VPE of these VMs.
pub(crate) fn doorbell_of(vm: VmId, vpe: VpeId) -> IrsIntId {
    lpi(u32::from(vm.raw_value()) * 16 + u32::from(vpe.raw_value()))
}

pub(crate) fn lpi(id: u32) -> IrsIntId {
    IrsIntId::Lpi(Lpi::new(id).unwrap())
}

pub(crate) fn spi(id: u32) -> IrsIntId {
    IrsIntId::Spi(Spi::new(id).unwrap())
}

pub(crate) fn priority(number: u32) -> Priority {
    Priority::new(number).unwrap()
}

/// A machine with virtualisation and this many PEs. Every effect comes as late as it may.
pub(crate) fn config(pes: u16) -> MachineConfig {
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

pub(crate) struct Bench {
    pub(crate) machine: Machine,
    hosts: Vec<ModelPe>,
    guests: Vec<ModelPe>,
    table: ModelBlock,
    blocks: Vec<ModelBlock>,
}

impl Bench {
    /// [`VM`] and [`OTHER`] are valid, with LPIs 0 to 63 and SPIs 0 to 63 that target VPE 0, have priority 10 and are
    /// enabled; doorbells are set up; EL2 lets guests do everything; nothing is resident.
    pub(crate) fn new(config: MachineConfig) -> Bench {
        let machine = Machine::new(config).unwrap();
        let hosts: Vec<_> = (0..machine.pe_count()).map(|n| machine.pe(PeIndex(n)).unwrap()).collect();
        let guests = hosts.iter().map(ModelPe::guest).collect();
        let geometry = VmTableGeometry::linear(8).unwrap();
        let table = allocate(&machine, geometry.base().size(), geometry.base().alignment());
        let mut bench = Bench { machine, hosts, guests, table, blocks: Vec::new() };
        bench.command(IRS_CR0::ZERO.with_irsen(true));
        let ist = IstGeometry::linear(14, IstSize::Bytes4).unwrap();
        let block = bench.block(ist.base().size(), ist.base().alignment());
        bench.machine.write(IRS, ist.cfgr());
        bench.command(IRS_IST_BASER::ZERO.with_addr(Addr55_6::new(block).unwrap()).with_valid(true));
        bench.machine.write(IRS, geometry.cfgr());
        let base = Addr55_3::new(bench.table.address()).unwrap();
        bench.command(IRS_VMT_BASER::ZERO.with_addr(base).with_valid(true));
        bench.make_vm(VM, &[VPE0, VPE3]);
        bench.make_vm(OTHER, &[VPE0]);
        for n in 0..bench.machine.pe_count() {
            let host = bench.host(PeIndex(n));
            host.write(ICC_CR0_EL1::ZERO.with_en(true));
            host.write_raw(SysReg::ICC_PCR_EL1, 31);
            // Nothing traps.
            host.write(ICH_HFGRTR_EL2::new_with_raw_value(u64::MAX));
            host.write(ICH_HFGWTR_EL2::new_with_raw_value(u64::MAX));
            host.write(ICH_HFGITR_EL2::new_with_raw_value(u64::MAX));
            host.write(ICH_VCTLR_EL2::ZERO.with_en(true));
            host.isb();
        }
        bench.clean();
        bench
    }

    /// Makes a VM valid, its VPEs, its ISTs and the doorbells of its VPEs.
    fn make_vm(&mut self, vm: VmId, vpes: &[VpeId]) {
        let geometry = VpeTableGeometry::for_highest(*vpes.iter().max().unwrap());
        let vpet = allocate(&self.machine, geometry.footprint().size(), geometry.footprint().alignment());
        let vmte = L2_VMTE::default().with_vpet(geometry.vmte_word(vpet.address()).unwrap());
        for (n, word) in vmte.raw_value().into_iter().enumerate() {
            self.store(&self.table, u64::from(vm.raw_value()) * L2_VMTE::BYTES + n as u64 * 8, word);
        }
        self.map_vm(vm, MapAction::MakeValid);
        for vpe in vpes {
            let descriptor = self.block(128, 128);
            let entry = VPETE::ZERO.with_vped_addr(Addr55_3::new(descriptor).unwrap());
            self.store(&vpet, u64::from(vpe.raw_value()) * 8, entry.raw_value());
            self.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(vm).with_vpe_id(*vpe));
        }
        self.blocks.push(vpet);
        for (int_type, bits) in [(IrsIntType::Lpi, 14), (IrsIntType::Spi, 6)] {
            let ist = IstGeometry::linear(bits, IstSize::Bytes4).unwrap();
            let block = allocate(&self.machine, ist.base().size(), ist.base().alignment());
            let entry = L2_ISTE::ZERO.with_enable(true).with_priority(priority(10));
            for n in 0..64 {
                self.machine.store32(&block, n * 4, entry.raw_value());
            }
            self.machine.publish(IRS, &block, 0..block.size());
            let word = ist.vmte_word(block.address()).unwrap().raw_value();
            let n = L2_VMTE::ist_word(int_type) as u64;
            self.store(&self.table, u64::from(vm.raw_value()) * L2_VMTE::BYTES + n * 8, word);
            self.map_ist(vm, int_type, MapAction::MakeValid);
            self.blocks.push(block);
        }
        for vpe in vpes {
            self.set_doorbell(vm, *vpe, false);
        }
    }

    /// Doorbell settings as they are at first; asked for or not, with an open mask.
    pub(crate) fn set_doorbell(&self, vm: VmId, vpe: VpeId, request: bool) {
        self.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(vm).with_vpe_id(vpe));
        let IrsIntId::Lpi(id) = doorbell_of(vm, vpe) else { unreachable!() };
        self.command(IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(request).with_dbpm(priority(31)).with_intid(id));
    }

    pub(crate) fn map_vm(&self, vm: VmId, action: MapAction) {
        self.command(IRS_VMAP_VMR::ZERO.with_m(true).with_u(action).with_vm_id(vm));
    }

    pub(crate) fn map_ist(&self, vm: VmId, int_type: IrsIntType, action: MapAction) {
        self.command(IRS_VMAP_VISTR::ZERO.with_m(true).with_u(action).with_int_type(int_type).with_vm_id(vm));
    }

    /// Writes a register and waits until that has finished.
    pub(crate) fn command<R: Register<Reg = IrsReg>>(&self, value: R) {
        self.machine.write(IRS, value);
        while !self.machine.is_idle(IRS, R::REG.status().unwrap()).0 {}
    }

    fn block(&mut self, size: u64, alignment: u64) -> PhysAddr {
        let block = allocate(&self.machine, size, alignment);
        let address = block.address();
        self.blocks.push(block);
        address
    }

    fn store(&self, block: &ModelBlock, offset: u64, value: u64) {
        self.machine.prepare(IRS, block, offset..offset + 8);
        self.machine.store64(block, offset, value);
        self.machine.publish(IRS, block, offset..offset + 8);
    }

    pub(crate) fn host(&self, pe: PeIndex) -> Pe<'_, ModelPe> {
        Pe::new(&self.hosts[usize::from(pe.0)])
    }

    pub(crate) fn guest(&self, pe: PeIndex) -> Pe<'_, ModelPe> {
        Pe::new(&self.guests[usize::from(pe.0)])
    }

    /// Loads a VPE as RES-15 says, with an open mask, and looks whether it worked.
    pub(crate) fn load(&self, pe: PeIndex, vm: VmId, vpe: VpeId) -> bool {
        let host = self.host(pe);
        host.write(ICH_VMCR_EL2::ZERO.with_en(true).with_vpmr(priority(31)));
        host.write_raw(SysReg::ICH_APR_EL2, 0);
        host.write(ICH_CONTEXTR_EL2::ZERO.with_v(true).with_vm(vm).with_vpe(vpe));
        host.isb();
        !host.read::<ICH_CONTEXTR_EL2>().f()
    }

    /// Takes whatever VPE is resident off a PE; asks for a doorbell with this mask.
    pub(crate) fn put(&self, pe: PeIndex, doorbell: Option<u32>) {
        let mut context = ICH_CONTEXTR_EL2::ZERO;
        if let Some(mask) = doorbell {
            context = context.with_db(true).with_dbpm(priority(mask));
        }
        let host = self.host(pe);
        host.write(context);
        host.isb();
    }

    /// Makes an interrupt of a VM pending.
    pub(crate) fn inject(&self, vm: VmId, id: IrsIntId) {
        self.host(PE0).vdpend(vm, id, true);
        self.host(PE0).gsb_sys();
    }

    /// The guest acknowledges, drops and deactivates; the interrupt taken.
    pub(crate) fn take(&self, pe: PeIndex) -> Option<IntId> {
        let guest = self.guest(pe);
        let taken = guest.cdia().int_id()?;
        guest.gsb_ack();
        guest.isb();
        guest.cdeoi();
        guest.cddi(taken);
        guest.gsb_sys();
        Some(taken)
    }

    /// The hypervisor makes a virtual PPI a candidate as soon as it is pending.
    pub(crate) fn enable_virtual_ppi(&self, pe: PeIndex, ppi: Ppi, at: u32) {
        use gicv5_arch::sysreg::PPI_PRIORITYR;
        let host = self.host(pe);
        let register = SysReg::ich_ppi_priorityr(ppi.priority_register());
        let value = PPI_PRIORITYR::new_with_raw_value(host.read_raw(register)).with_priority(ppi, priority(at));
        host.write_raw(register, value.raw_value());
        let enabler = SysReg::ich_ppi_enabler(ppi.bank());
        host.write_raw(enabler, host.read_raw(enabler) | ppi.mask());
        host.isb();
    }

    pub(crate) fn virq(&self, pe: PeIndex) -> bool {
        self.machine.virtual_signals(pe).irq
    }

    /// The state of a VM's interrupt.
    pub(crate) fn state(&self, vm: VmId, id: IrsIntId) -> L2_ISTE {
        self.machine.virtual_interrupt(vm, id).unwrap()
    }

    /// Whether the doorbell of a VPE is pending.
    pub(crate) fn rang(&self, vm: VmId, vpe: VpeId) -> bool {
        self.machine.interrupt(doorbell_of(vm, vpe)).unwrap().pending()
    }

    pub(crate) fn clean(&self) {
        let violations = self.machine.take_violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// Exactly these rules were broken since the last time anybody asked.
    pub(crate) fn broken(&self, rules: &[&str]) {
        let found = self.machine.take_violations();
        assert_eq!(found.iter().map(|violation| violation.rule).collect::<Vec<_>>(), rules, "{found:#?}");
    }

    /// One rule was broken, there.
    pub(crate) fn broken_at(&self, rule: &str, place: Place) {
        let found = self.machine.take_violations();
        assert_eq!(
            found.iter().map(|found| (found.rule, found.place)).collect::<Vec<_>>(),
            [(rule, place)],
            "{found:#?}"
        );
        assert!(found[0].to_string().starts_with(&format!("{rule}: ")));
    }
}

fn allocate(machine: &Machine, size: u64, alignment: u64) -> ModelBlock {
    let line = machine.cache_line();
    let highest = PhysAddr::new((1 << 48) - 1).unwrap();
    let layout = BlockLayout::new(size.next_multiple_of(line), alignment.max(line), highest).unwrap();
    machine.allocate(layout).unwrap()
}

/// Both effects: as late as they may come, and at once.
pub(crate) fn both(pes: u16) -> [Bench; 2] {
    [Bench::new(config(pes)), Bench::new(eager(pes))]
}

/// The affinity a guest knows a VPE by (VPE-19).
pub(crate) fn affinity(vpe: VpeId) -> Iaffid {
    vpe.into()
}

/// The same machine, where guests could have the legacy interface (PPI-26).
pub(crate) fn with_legacy(mut config: MachineConfig) -> MachineConfig {
    for pe in &mut config.irses[0].pes {
        pe.legacy = gicv5_arch::sysreg::GcieLegacy::Present;
        pe.ppis[0] = pe.ppis[0].with(Ppi::GICMNT);
    }
    config
}
