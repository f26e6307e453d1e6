//! What every test has: a machine with a VM table, and the steps of software.

use arbitrary_int::{u4, u5, u6};
use gicv5_arch::entry::{L1_VMTE, L2_ISTE, L2_VMTE, L2_VMTE_VMD, VPETE};
use gicv5_arch::geometry::{IstGeometry, IstLimits, VmTableGeometry, VpeTableGeometry};
use gicv5_arch::irs::*;
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::ICH_CONTEXTR_EL2;
use gicv5_arch::values::{BitsMinusOne, IstSize, L2Size, Levels, MapAction};
use gicv5_arch::{Addr51_12, Addr55_3, Addr55_6, Iaffid, IrsIntId, IrsIntType, Lpi, PhysAddr, Priority, VmId, VpeId};
use gicv5_hal::{Block, BlockLayout, Coherency, IrsExt, IrsIndex, Pe, TableMemory};
use gicv5_model::PeIndex;
use gicv5_model::config::{DoorbellMask, MachineConfig, Switches};
use gicv5_model::memory::ModelBlock;
use gicv5_model::{Machine, ModelPe};
use std::sync::LazyLock;

pub(crate) const IRS: IrsIndex = IrsIndex(0);
pub(crate) const VM: VmId = VmId::new(5);

/// How the hardware and the tables of a test are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) two_level: bool,
    pub(crate) descriptor: bool,
    pub(crate) coherency: Coherency,
}

pub(crate) const SHAPES: [Shape; 4] = [
    Shape { two_level: false, descriptor: false, coherency: Coherency::Coherent },
    Shape { two_level: true, descriptor: true, coherency: Coherency::Coherent },
    Shape { two_level: false, descriptor: true, coherency: Coherency::NonCoherent },
    Shape { two_level: true, descriptor: false, coherency: Coherency::NonCoherent },
];

pub(crate) fn lpi(id: u32) -> IrsIntId {
    IrsIntId::Lpi(Lpi::new(id).unwrap())
}

pub(crate) fn priority(number: u32) -> Priority {
    Priority::new(number).unwrap()
}

pub(crate) fn allocate(machine: &Machine, size: u64, alignment: u64) -> ModelBlock {
    let line = machine.cache_line();
    let highest = PhysAddr::new((1 << 48) - 1).unwrap();
    let layout = BlockLayout::new(size.next_multiple_of(line), alignment.max(line), highest).unwrap();
    machine.allocate(layout).unwrap()
}

/// What a test runs under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) shape: Shape,
    pub(crate) switches: Switches,
}

impl Setting {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Switches)) -> Setting {
        change(&mut self.switches);
        self
    }
}

/// Every shape, with the default switches.
pub(crate) fn every_shape() -> [Setting; 4] {
    SHAPES.map(|shape| Setting { shape, switches: Switches::default() })
}

/// Every shape, with settings in which every two positions of any two switches meet, but for what a test is about: that
/// it fixes.
pub(crate) fn settings(fix: impl Fn(&mut Switches)) -> Vec<Setting> {
    static PAIRS: LazyLock<Vec<Switches>> = LazyLock::new(Switches::pairs);
    let pairs = PAIRS.iter().zip(SHAPES.iter().cycle()).map(|(&switches, &shape)| Setting { shape, switches });
    every_shape().into_iter().chain(pairs).map(|setting| setting.with(&fix)).collect()
}

/// Those of the settings whose VM table has this many levels.
pub(crate) fn settings_with_levels(two_level: bool, fix: impl Fn(&mut Switches)) -> Vec<Setting> {
    settings(fix)
        .into_iter()
        .map(|setting| Setting { shape: Shape { two_level, ..setting.shape }, ..setting })
        .collect()
}

/// A machine with a physical IST and a VM table, and everything a test made in it.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pub(crate) cpu: ModelPe,
    pub(crate) shape: Shape,
    pub(crate) switches: Switches,
    pub(crate) geometry: VmTableGeometry,
    pub(crate) table: ModelBlock,
    /// The table that holds the entry of [`VM`], if the VM table has two levels.
    pub(crate) level2: Option<ModelBlock>,
    /// What only has to stay alive.
    pub(crate) blocks: Vec<ModelBlock>,
}

/// A VM made by hand.
pub(crate) struct HandMade {
    pub(crate) descriptor: Option<ModelBlock>,
    pub(crate) vpet: ModelBlock,
    pub(crate) vpes: Vec<ModelBlock>,
}

impl Bench {
    pub(crate) fn new(setting: Setting) -> Bench {
        Bench::changed(setting, |_| {})
    }

    /// With hardware that differs in something.
    pub(crate) fn changed(Setting { shape, switches }: Setting, change: impl FnOnce(&mut MachineConfig)) -> Bench {
        let mut config = MachineConfig::new(1, 64);
        let irs = &mut config.irses[0];
        irs.idr0 = irs.idr0.with_virt(true);
        irs.idr3 = IRS_IDR3::ZERO
            .with_vm_id_bits(u5::new(9))
            .with_vmd(shape.descriptor)
            .with_vmd_sz(if shape.descriptor { u4::new(6) } else { u4::new(0) })
            .with_vmt_levels(if shape.two_level { Levels::TwoLevel } else { Levels::Linear });
        irs.idr4 = IRS_IDR4::ZERO.with_vpe_id_bits(BitsMinusOne::from_count(8).unwrap()).with_vped_sz(u6::new(7));
        config.memory.coherency = shape.coherency;
        config.switches = switches;
        change(&mut config);
        let machine = Machine::new(config).unwrap();
        let geometry = match shape.two_level {
            true => VmTableGeometry::two_level(9).unwrap(),
            false => VmTableGeometry::linear(9).unwrap(),
        };
        let table = allocate(&machine, geometry.base().size(), geometry.base().alignment());
        let cpu = machine.pe(PeIndex(0)).unwrap();
        let mut bench = Bench { machine, cpu, shape, switches, geometry, table, level2: None, blocks: Vec::new() };
        bench.make_physical_ist();
        bench.command(IRS_CR0::ZERO.with_irsen(true));
        bench.give_vm_table_to(IRS);
        bench
    }

    /// Makes the VM table valid in an IRS (VMT-1).
    pub(crate) fn give_vm_table_to(&self, irs: IrsIndex) {
        self.machine.write(irs, self.geometry.cfgr());
        self.make_vm_table_valid(irs);
    }

    /// The last step of it.
    pub(crate) fn make_vm_table_valid(&self, irs: IrsIndex) {
        let base = Addr55_3::new(self.table.address()).unwrap();
        self.command_at(irs, IRS_VMT_BASER::ZERO.with_addr(base).with_valid(true));
    }

    pub(crate) fn make_physical_ist(&mut self) {
        let limits = IstLimits::from_idr2(self.machine.read(IRS)).unwrap();
        let ist = IstGeometry::linear(14, limits.entry_size(14)).unwrap();
        let block = allocate(&self.machine, ist.base().size(), ist.base().alignment());
        self.machine.write(IRS, ist.cfgr());
        let base = Addr55_6::new(block.address()).unwrap();
        self.command(IRS_IST_BASER::ZERO.with_addr(base).with_valid(true));
        self.blocks.push(block);
    }

    /// Writes a register and waits until that has finished. Returns the status register.
    pub(crate) fn command<R: Register<Reg = IrsReg>>(&self, value: R) -> u64 {
        self.command_at(IRS, value)
    }

    pub(crate) fn command_at<R: Register<Reg = IrsReg>>(&self, irs: IrsIndex, value: R) -> u64 {
        self.machine.write(irs, value);
        loop {
            if let (true, value) = self.machine.is_idle(irs, R::REG.status().unwrap()) {
                return value;
            }
        }
    }

    pub(crate) fn store(&self, block: &ModelBlock, offset: u64, value: u64) {
        self.machine.prepare(IRS, block, offset..offset + 8);
        self.machine.store64(block, offset, value);
        self.machine.publish(IRS, block, offset..offset + 8);
    }

    pub(crate) fn load(&self, block: &ModelBlock, offset: u64) -> u64 {
        self.machine.acquire(IRS, block, offset..offset + 8);
        self.machine.load64(block, offset)
    }

    /// The table with the VM's entry, and the entry's offset. Installs the level-2 table if there is none (VMT-13).
    pub(crate) fn vmte(&mut self) -> (&ModelBlock, u64) {
        if !self.shape.two_level {
            return (&self.table, u64::from(VM.raw_value()) * L2_VMTE::BYTES);
        }
        if self.level2.is_none() {
            let level2 = self.geometry.level2().unwrap();
            let block = allocate(&self.machine, level2.size(), level2.alignment());
            let entry = L1_VMTE::ZERO.with_l2_addr(Addr51_12::new(block.address()).unwrap());
            self.store(&self.table, 0, entry.raw_value());
            self.command(IRS_VMAP_L2_VMTR::ZERO.with_m(true).with_vm_id(VM));
            assert!(L1_VMTE::new_with_raw_value(self.load(&self.table, 0)).valid(), "VMT-13");
            self.level2 = Some(block);
        }
        (self.level2.as_ref().unwrap(), u64::from(VM.raw_value() % 128) * L2_VMTE::BYTES)
    }

    pub(crate) fn store_vmte_word(&mut self, n: usize, word: u64) {
        let (_, offset) = self.vmte();
        self.store(self.level2.as_ref().unwrap_or(&self.table), offset + n as u64 * 8, word);
    }

    pub(crate) fn load_vmte_word(&mut self, n: usize) -> u64 {
        let (_, offset) = self.vmte();
        self.load(self.level2.as_ref().unwrap_or(&self.table), offset + n as u64 * 8)
    }

    /// Makes the VM valid, and these VPEs (VM-1, VPE-5).
    pub(crate) fn make_vm(&mut self, vpes: &[u16]) -> HandMade {
        let highest = VpeId::new(vpes.iter().copied().max().unwrap());
        let geometry = VpeTableGeometry::for_highest(highest);
        let vpet = allocate(&self.machine, geometry.footprint().size(), geometry.footprint().alignment());
        let mut made = HandMade { descriptor: None, vpet, vpes: Vec::new() };
        let vpet = &made.vpet;
        let mut vmte = L2_VMTE::default().with_vpet(geometry.vmte_word(vpet.address()).unwrap());
        if self.shape.descriptor {
            let descriptor = allocate(&self.machine, 64, 64);
            vmte = vmte.with_vmd(L2_VMTE_VMD::ZERO.with_vmd_addr(Addr55_3::new(descriptor.address()).unwrap()));
            made.descriptor = Some(descriptor);
        }
        for (n, word) in vmte.raw_value().into_iter().enumerate() {
            self.store_vmte_word(n, word);
        }
        self.map_vm(MapAction::MakeValid);
        assert!(L2_VMTE_VMD::new_with_raw_value(self.load_vmte_word(0)).valid(), "VM-1");
        for &vpe in vpes {
            let descriptor = allocate(&self.machine, 128, 128);
            let entry = VPETE::ZERO.with_vped_addr(Addr55_3::new(descriptor.address()).unwrap());
            let offset = u64::from(vpe) * 8;
            self.store(&made.vpet, offset, entry.raw_value());
            self.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM).with_vpe_id(VpeId::new(vpe)));
            assert!(VPETE::new_with_raw_value(self.load(&made.vpet, offset)).valid(), "VPE-5");
            made.vpes.push(descriptor);
        }
        made
    }

    /// Makes the descriptors zero again, which the VM and its VPEs need to become valid again (VM-11, VPE-8).
    pub(crate) fn zero_descriptors(&self, made: &HandMade) {
        for block in made.vpes.iter().chain(&made.descriptor) {
            for offset in (0..block.size()).step_by(8) {
                self.machine.store64(block, offset, 0);
            }
            self.machine.publish(IRS, block, 0..block.size());
        }
    }

    /// Asks whether the VM is quiescent (SAVE-3).
    pub(crate) fn is_quiescent(&self) -> bool {
        self.command(IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_q(true));
        self.machine.read::<IRS_SAVE_VM_STATUSR>(IRS).q()
    }

    /// The VPE's candidate, as the selection shows it.
    pub(crate) fn candidate(&self, vpe: u16) -> Option<u32> {
        self.select(vpe);
        let hppir = self.machine.read::<IRS_VPE_HPPIR>(IRS);
        hppir.hppiv().then_some(hppir.id().value())
    }

    /// The VPE becomes resident on PE 0.
    pub(crate) fn enter(&self, vpe: u16) {
        self.enter_with(vpe, ICH_CONTEXTR_EL2::ZERO);
    }

    /// The same, by a write that says something else as well.
    pub(crate) fn enter_with(&self, vpe: u16, context: ICH_CONTEXTR_EL2) {
        let pe = Pe::new(&self.cpu);
        pe.write(context.with_v(true).with_vm(VM).with_vpe(VpeId::new(vpe)));
        pe.isb();
        assert!(!pe.read::<ICH_CONTEXTR_EL2>().f(), "RES-2");
    }

    /// The VPE leaves PE 0 without a doorbell request.
    pub(crate) fn leave(&self) {
        self.leave_with(ICH_CONTEXTR_EL2::ZERO);
    }

    /// The VPE leaves PE 0 by this write.
    pub(crate) fn leave_with(&self, context: ICH_CONTEXTR_EL2) {
        let pe = Pe::new(&self.cpu);
        pe.write(context);
        pe.isb();
    }

    pub(crate) fn map_vm(&self, action: MapAction) {
        self.command(IRS_VMAP_VMR::ZERO.with_m(true).with_u(action).with_vm_id(VM));
    }

    pub(crate) fn map_ist(&self, int_type: IrsIntType, action: MapAction) {
        self.command(IRS_VMAP_VISTR::ZERO.with_m(true).with_u(action).with_int_type(int_type).with_vm_id(VM));
    }

    /// Gives the VM an IST whose first entries are these.
    pub(crate) fn make_ist(&mut self, int_type: IrsIntType, geometry: IstGeometry, entries: &[L2_ISTE]) -> ModelBlock {
        let block = allocate(&self.machine, geometry.base().size(), geometry.base().alignment());
        for (n, entry) in entries.iter().enumerate() {
            self.machine.store32(&block, n as u64 * geometry.entry_size().bytes(), entry.raw_value());
        }
        self.machine.publish(IRS, &block, 0..geometry.base().size());
        let word = geometry.vmte_word(block.address()).unwrap();
        self.store_vmte_word(L2_VMTE::ist_word(int_type), word.raw_value());
        self.map_ist(int_type, MapAction::MakeValid);
        assert_eq!(self.load_vmte_word(L2_VMTE::ist_word(int_type)) & 1, 1, "IST-2");
        block
    }

    /// Gives the VM a linear LPI IST of 14 ID bits whose first entries are these.
    pub(crate) fn make_lpi_ist(&mut self, entries: &[L2_ISTE]) -> ModelBlock {
        self.make_ist(IrsIntType::Lpi, IstGeometry::linear(14, IstSize::Bytes4).unwrap(), entries)
    }

    /// An entry of a linear IST of 4-byte entries, as memory has it.
    pub(crate) fn entry(&self, ist: &ModelBlock, id: u64) -> L2_ISTE {
        self.machine.acquire(IRS, ist, id * 4..id * 4 + 4);
        L2_ISTE::new_with_raw_value(self.machine.load32(ist, id * 4))
    }

    /// A VM with VPEs 0 and 3, and an LPI IST in which LPIs 0 to 9 are enabled, target VPE 3 and have priority 10.
    pub(crate) fn ready(setting: Setting) -> (Bench, HandMade, ModelBlock) {
        let mut bench = Bench::new(setting);
        let made = bench.make_vm(&[0, 3]);
        let entry = L2_ISTE::ZERO.with_enable(true).with_iaffid(Iaffid::new(3)).with_priority(priority(10));
        let ist = bench.make_lpi_ist(&[entry; 10]);
        bench.clean();
        (bench, made, ist)
    }

    /// A VM with VPE 0 and a two-level LPI IST, its level-1 table, and a level-2 IST to which the first entry points without
    /// being valid.
    pub(crate) fn with_two_level_ist(setting: Setting) -> (Bench, ModelBlock, ModelBlock) {
        let mut bench = Bench::new(setting);
        bench.make_vm(&[0]);
        let geometry = IstGeometry::two_level(14, IstSize::Bytes4, L2Size::KiB4).unwrap();
        let level1 = bench.make_ist(IrsIntType::Lpi, geometry, &[]);
        let level2 = allocate(&bench.machine, 4096, 4096);
        bench.store(&level1, 0, level2.address().raw());
        (bench, level1, level2)
    }

    /// Asks the IRS to make valid the first level-1 entry of the VM's LPI IST.
    pub(crate) fn publish_level2_ist(&self) {
        self.command(IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_int_type(IrsIntType::Lpi).with_vm_id(VM));
    }

    pub(crate) fn select(&self, vpe: u16) -> bool {
        let status = self.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(VM).with_vpe_id(VpeId::new(vpe)));
        IRS_VPE_STATUSR::new_with_raw_value(status as u32).v()
    }

    pub(crate) fn vdpend(&self, id: IrsIntId, pending: bool) {
        let pe = Pe::new(&self.cpu);
        pe.vdpend(VM, id, pending);
        pe.gsb_sys();
    }

    /// Doorbell settings whose mask lets everything ring.
    pub(crate) fn doorbell(&self, id: u32, request: bool) -> IRS_VPE_DBR {
        let mask = match self.switches.doorbell.mask {
            DoorbellMask::ByUrgency => 31,
            DoorbellMask::ByNumber => 0,
        };
        doorbell(id, request, mask)
    }

    /// Whether a doorbell LPI is pending.
    pub(crate) fn rang(&self, id: u32) -> bool {
        self.machine.interrupt(lpi(id)).unwrap().pending()
    }

    pub(crate) fn rules(&self) -> Vec<&'static str> {
        self.machine.take_violations().into_iter().map(|violation| violation.rule).collect()
    }

    pub(crate) fn clean(&self) {
        let violations = self.machine.take_violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

/// Doorbell settings: this LPI, asked for or not, with this mask.
pub(crate) fn doorbell(id: u32, request: bool, mask: u32) -> IRS_VPE_DBR {
    IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(request).with_dbpm(priority(mask)).with_intid(Lpi::new(id).unwrap())
}
