//! A machine with a VM table, and the steps of software that makes VMs by hand.

use std::ops::Deref;
use std::sync::LazyLock;

use arbitrary_int::{u4, u5, u6};

use super::*;

/// The VM of most stories: VPEs 0 and 3.
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

/// The settings with a switch in each of its positions: what a switch does does not depend on the others.
pub(crate) fn each<T: Copy>(positions: &[T], set: impl Fn(&mut Switches, T)) -> impl Iterator<Item = (T, Setting)> {
    positions.iter().flat_map(move |&position| {
        let settings = settings(|switches| set(switches, position));
        settings.into_iter().map(move |setting| (position, setting))
    })
}

/// A machine with a physical IST and a VM table, and everything a test made in it.
pub(crate) struct VmBench {
    bench: Bench,
    pub(crate) shape: Shape,
    pub(crate) switches: Switches,
    pub(crate) vms: Vms,
}

impl Deref for VmBench {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl VmBench {
    pub(crate) fn new(setting: Setting) -> VmBench {
        VmBench::changed(setting, |_| {})
    }

    /// With hardware that differs in something.
    pub(crate) fn changed(Setting { shape, switches }: Setting, change: impl FnOnce(&mut MachineConfig)) -> VmBench {
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
        let geometry = match shape.two_level {
            true => VmTableGeometry::two_level(9).unwrap(),
            false => VmTableGeometry::linear(9).unwrap(),
        };
        let bench = VmBench::at_reset(config, shape, geometry);
        bench.command(IRS_CR0::ZERO.with_irsen(true));
        bench
    }

    /// A machine with a physical IST and a VM table of this shape, and nothing switched on.
    pub(crate) fn at_reset(config: MachineConfig, shape: Shape, geometry: VmTableGeometry) -> VmBench {
        let switches = config.switches;
        let bench = Bench::at_reset(config);
        let host = ModelHost::on(&bench.machine);
        let limits = IstLimits::from_idr2(bench.machine.read(IRS)).unwrap();
        host.make_ist(IstGeometry::linear(14, limits.entry_size(14)).unwrap()).unwrap();
        VmBench { bench, shape, switches, vms: Vms::new(&host, geometry).unwrap() }
    }

    /// The machine, and the VM table.
    pub(crate) fn apart(self) -> (Bench, Vms) {
        (self.bench, self.vms)
    }

    /// The level-2 table that holds the entry of [`VM`].
    pub(crate) fn level2(&self) -> &ModelBlock {
        &self.vms.level2[0].as_ref().unwrap().block
    }

    /// Makes the VM table valid in an IRS (VMT-1).
    pub(crate) fn give_vm_table_to(&self, irs: IrsIndex) {
        self.machine.write(irs, self.vms.table.shape.cfgr());
        self.make_vm_table_valid(irs);
    }

    /// The last step of it.
    pub(crate) fn make_vm_table_valid(&self, irs: IrsIndex) {
        let base = Addr55_3::new(self.vms.table.address()).unwrap();
        self.command_at(irs, IRS_VMT_BASER::ZERO.with_addr(base).with_valid(true));
    }

    /// The word of the VM's entry that describes an IST.
    pub(crate) fn ist_word(&mut self, int_type: IrsIntType) -> u64 {
        self.vmte_word(VM, L2_VMTE::ist_word(int_type))
    }

    /// A word of a VM's entry, which is in reach then.
    pub(crate) fn vmte_word(&mut self, vm: VmId, n: usize) -> u64 {
        self.vms.reach(vm).unwrap();
        let (table, offset) = self.vms.entry(vm).unwrap();
        self.load_word(table, offset + n as u64 * 8)
    }

    pub(crate) fn store_vmte_word(&mut self, n: usize, word: u64) {
        self.vms.reach(VM).unwrap();
        self.vms.store_entry(VM, n, &[word]);
    }

    /// Makes the VM valid, and these VPEs (VM-1, VPE-5).
    pub(crate) fn make_vm(&mut self, vpes: &[u16]) -> HandMade {
        let made = self.vms.make_vm(VM, L2_VMTE::default(), vpes.iter().copied().map(VpeId::new)).unwrap();
        assert!(L2_VMTE_VMD::new_with_raw_value(self.vmte_word(VM, 0)).valid(), "VM-1");
        for &vpe in vpes {
            let entry = VPETE::new_with_raw_value(self.load_word(&made.vpet.block, u64::from(vpe) * VPETE::BYTES));
            assert!(entry.valid(), "VPE-5");
        }
        made
    }

    /// A machine with the VM, in which these VPEs are valid.
    pub(crate) fn with_vm(setting: Setting, vpes: &[u16]) -> VmBench {
        let mut bench = VmBench::new(setting);
        bench.make_vm(vpes);
        bench
    }

    /// Gives VPE 1 of the VM a descriptor in which the word at this offset is not zero, and makes it valid.
    pub(crate) fn make_dirty_vpe(&self, made: &HandMade, dirty: Option<u64>) -> ModelBlock {
        let descriptor = self.block(128, 128);
        if let Some(offset) = dirty {
            self.store(&descriptor, offset, 0xbad);
        }
        self.name_descriptor(made, descriptor.address());
        self.map_vpe(1);
        descriptor
    }

    /// The entry of VPE 1 of the VM points to a descriptor.
    pub(crate) fn name_descriptor(&self, made: &HandMade, descriptor: PhysAddr) {
        let entry = VPETE::ZERO.with_vped_addr(Addr55_3::new(descriptor).unwrap());
        self.store(&made.vpet.block, VPETE::BYTES, entry.raw_value());
    }

    pub(crate) fn map_vpe(&self, vpe: u16) {
        self.command(IRS_VMAP_VPER::ZERO.with_m(true).with_vm_id(VM).with_vpe_id(VpeId::new(vpe)));
    }

    /// Makes the descriptors zero again, which the VM and its VPEs need to become valid again (VM-11, VPE-8).
    pub(crate) fn zero_descriptors(&self, made: &HandMade) {
        for block in made.vpes.iter().chain(&made.descriptor).map(|table| &table.block) {
            for offset in (0..block.size()).step_by(8) {
                self.machine.store64(block, offset, 0);
            }
            self.machine.publish(IRS, block, 0..block.size());
        }
    }

    /// Saves the VM (SAVE-1).
    pub(crate) fn save(&self) {
        self.command(IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_s(true));
    }

    /// Asks whether the VM is quiescent (SAVE-3).
    pub(crate) fn is_quiescent(&self) -> bool {
        self.command(IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_q(true));
        self.machine.read::<IRS_SAVE_VM_STATUSR>(IRS).q()
    }

    /// The candidate of a VPE, as the selection shows it.
    pub(crate) fn candidate_of(&self, vpe: u16) -> Option<u32> {
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
        self.leave_with(context.with_v(true).with_vm(VM).with_vpe(VpeId::new(vpe)));
        assert!(!self.host(PE0).read::<ICH_CONTEXTR_EL2>().f(), "RES-2");
    }

    /// The VPE leaves PE 0 without a doorbell request.
    pub(crate) fn leave(&self) {
        self.leave_with(ICH_CONTEXTR_EL2::ZERO);
    }

    /// The VPE leaves PE 0 by this write.
    pub(crate) fn leave_with(&self, context: ICH_CONTEXTR_EL2) {
        self.host(PE0).set(context);
    }

    pub(crate) fn map_vm(&self, action: MapAction) {
        self.vms.map_vm(VM, action).unwrap();
    }

    pub(crate) fn map_ist(&self, int_type: IrsIntType, action: MapAction) {
        self.map_ist_of(VM, int_type, action);
    }

    pub(crate) fn map_ist_of(&self, vm: VmId, int_type: IrsIntType, action: MapAction) {
        self.command(IRS_VMAP_VISTR::ZERO.with_m(true).with_u(action).with_int_type(int_type).with_vm_id(vm));
    }

    /// Gives the VM an IST whose first entries are these.
    pub(crate) fn make_ist(&mut self, int_type: IrsIntType, geometry: IstGeometry, entries: &[L2_ISTE]) -> ModelBlock {
        self.make_ist_of(VM, int_type, geometry, entries)
    }

    pub(crate) fn make_ist_of(
        &mut self,
        vm: VmId,
        int_type: IrsIntType,
        geometry: IstGeometry,
        entries: &[L2_ISTE],
    ) -> ModelBlock {
        let block = self.block_for(geometry.base());
        for (n, entry) in entries.iter().enumerate() {
            self.machine.store32(&block, n as u64 * geometry.entry_size().bytes(), entry.raw_value());
        }
        self.machine.publish(IRS, &block, 0..geometry.base().size());
        let word = L2_VMTE::ist_word(int_type);
        self.vms.store_entry(vm, word, &[geometry.vmte_word(block.address()).unwrap().raw_value()]);
        self.map_ist_of(vm, int_type, MapAction::MakeValid);
        assert_eq!(self.vmte_word(vm, word) & 1, 1, "IST-2");
        block
    }

    /// Gives the VM a linear LPI IST of 14 ID bits whose first entries are these.
    pub(crate) fn make_lpi_ist(&mut self, entries: &[L2_ISTE]) -> ModelBlock {
        self.make_ist(IrsIntType::Lpi, linear(14), entries)
    }

    /// A VM with VPEs 0 and 3, and an LPI IST in which LPIs 0 to 9 are enabled, target VPE 3 and have priority 10.
    pub(crate) fn ready(setting: Setting) -> (VmBench, HandMade, ModelBlock) {
        let mut bench = VmBench::new(setting);
        let made = bench.make_vm(&[0, 3]);
        let entry = L2_ISTE::ZERO.with_enable(true).with_iaffid(Iaffid::new(3)).with_priority(priority(10));
        let ist = bench.make_lpi_ist(&[entry; 10]);
        bench.clean();
        (bench, made, ist)
    }

    /// The same, and VPE 3 is selected.
    pub(crate) fn selected(setting: Setting) -> VmBench {
        let (bench, ..) = VmBench::ready(setting);
        bench.select(3);
        bench
    }

    /// A VM with VPE 0 and a two-level LPI IST, its level-1 table, and a level-2 IST to which the first entry points without
    /// being valid.
    pub(crate) fn with_two_level_ist(setting: Setting) -> (VmBench, ModelBlock, ModelBlock) {
        let mut bench = VmBench::with_vm(setting, &[0]);
        let level1 = bench.make_ist(IrsIntType::Lpi, two_level(), &[]);
        let level2 = bench.block(4096, 4096);
        bench.store(&level1, 0, level2.address().raw());
        (bench, level1, level2)
    }

    /// Asks the IRS to make valid the first level-1 entry of an IST of the VM.
    pub(crate) fn publish_level2_ist(&self, int_type: IrsIntType) {
        self.command(IRS_VMAP_L2_VISTR::ZERO.with_m(true).with_int_type(int_type).with_vm_id(VM));
    }

    pub(crate) fn select(&self, vpe: u16) -> bool {
        let status = self.command(IRS_VPE_SELR::ZERO.with_s(true).with_vm_id(VM).with_vpe_id(VpeId::new(vpe)));
        IRS_VPE_STATUSR::new_with_raw_value(status as u32).v()
    }

    pub(crate) fn vdpend(&self, id: IrsIntId, pending: bool) {
        self.vms.host.pend(VM, id, pending);
    }

    /// Doorbell settings whose mask lets everything ring.
    pub(crate) fn doorbell(&self, id: u32, request: bool) -> IRS_VPE_DBR {
        let mask = match self.switches.doorbell.mask {
            DoorbellMask::ByUrgency => 31,
            DoorbellMask::ByNumber => 0,
        };
        doorbell(id, request, mask)
    }

    /// Asks for the doorbell of a VPE, with no mask.
    pub(crate) fn ask(&self, vpe: u16, id: u32) {
        assert!(self.select(vpe), "VPE-12");
        self.command(self.doorbell(id, true));
    }

    /// Whether a doorbell LPI is pending.
    pub(crate) fn rang(&self, id: u32) -> bool {
        self.state(lpi(id)).pending()
    }
}

/// Doorbell settings: this LPI, asked for or not, with this mask.
pub(crate) fn doorbell(id: u32, request: bool, mask: u32) -> IRS_VPE_DBR {
    IRS_VPE_DBR::ZERO.with_dbv(true).with_req_db(request).with_dbpm(priority(mask)).with_intid(Lpi::new(id).unwrap())
}

/// A linear IST of 4-byte entries.
pub(crate) fn linear(id_bits: u32) -> IstGeometry {
    IstGeometry::linear(id_bits, IstSize::Bytes4).unwrap()
}
