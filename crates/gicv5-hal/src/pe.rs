//! System registers, GIC instructions and barriers of one PE.

use core::marker::PhantomData;

use gicv5_arch::insn::{
    AcknowledgeResult, AffinityOperand, DeactivateOperand, GicInsn, HandlingModeOperand, IntIdOperand, PendingOperand,
    PriorityOperand, VmPendingOperand,
};
use gicv5_arch::register::Register;
use gicv5_arch::sysreg::{ICC_IAFFIDR_EL1, SysReg};
use gicv5_arch::values::HandlingMode;
use gicv5_arch::{Iaffid, IntId, IrsIntId, Priority, VmId};

/// What one PE can do.
///
/// Always on the PE itself: an implementation may read "the" system register. Software above this crate never calls it
/// except through a [`Pe`]. Never waits; callable with interrupts off and from interrupt handlers. Nothing here implies a
/// barrier.
///
/// On bare metal: `MRS`/`MSR`, the `GIC`, `GICR` and `GSB` instructions by a match on the name, `ISB`, `DSB SY`.
pub trait PeOps {
    /// Reads a system register.
    fn read_sysreg(&self, register: SysReg) -> u64;

    /// Writes a system register. Acts, for certain, after the next [`isb`](Self::isb) (SYN-5, SYN-6).
    fn write_sysreg(&self, register: SysReg, value: u64);

    /// Executes a GIC instruction with `xt` as its operand, and returns its result. The operand of an instruction without
    /// one is ignored; the result of an instruction without one is 0.
    fn gic(&self, insn: GicInsn, xt: u64) -> u64;

    /// Context synchronisation.
    fn isb(&self);

    /// Full data barrier (`DSB SY`).
    fn dsb(&self);
}

/// Proof of running on a PE, for as long as it is borrowed: neither `Send` nor `Sync`.
///
/// Whoever makes one promises that the code it is lent to runs on that PE to its end: interrupts or preemption off, or a
/// pinned thread. It is lent by [`CurrentPe::on_this_pe`], or made by the caller of load, put and inject.
///
/// ```compile_fail,E0277
/// fn sendable<T: Send>() {}
/// fn check<P: gicv5_hal::PeOps>() {
///     sendable::<gicv5_hal::Pe<'_, P>>();
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn shareable<T: Sync>() {}
/// fn check<P: gicv5_hal::PeOps>() {
///     shareable::<gicv5_hal::Pe<'_, P>>();
/// }
/// ```
#[derive(Debug)]
pub struct Pe<'a, P: PeOps + ?Sized> {
    ops: &'a P,
    not_send_not_sync: PhantomData<*const ()>,
}

impl<'a, P: PeOps + ?Sized> Pe<'a, P> {
    /// Makes the token. To be called on the PE that `ops` acts on; the code that gets the token must not move to another
    /// PE while it has it.
    #[must_use]
    pub const fn new(ops: &'a P) -> Pe<'a, P> {
        Pe { ops, not_send_not_sync: PhantomData }
    }

    /// The PE's affinity ID, as routing knows it.
    #[must_use]
    pub fn iaffid(&self) -> Iaffid {
        self.read::<ICC_IAFFIDR_EL1>().iaffid()
    }

    /// Reads a system register that has a layout of its own.
    #[must_use]
    pub fn read<R: Register<Reg = SysReg>>(&self) -> R {
        R::from_bits(self.ops.read_sysreg(R::REG))
    }

    /// Writes a system register that has a layout of its own. Needs an ISB to act (SYN-5, SYN-6).
    pub fn write<R: Register<Reg = SysReg>>(&self, value: R) {
        self.ops.write_sysreg(R::REG, value.to_bits());
    }

    /// Reads a system register by its name.
    #[must_use]
    pub fn read_raw(&self, register: SysReg) -> u64 {
        self.ops.read_sysreg(register)
    }

    /// Writes a system register by its name. Needs an ISB to act (SYN-5), except for the `PCR`s (SYN-6).
    pub fn write_raw(&self, register: SysReg, value: u64) {
        self.ops.write_sysreg(register, value);
    }

    /// Executes any GIC instruction.
    pub fn gic(&self, insn: GicInsn, xt: u64) -> u64 {
        self.ops.gic(insn, xt)
    }

    /// Context synchronisation.
    pub fn isb(&self) {
        self.ops.isb();
    }

    /// Full data barrier.
    pub fn dsb(&self) {
        self.ops.dsb();
    }

    /// Completes the effects of all earlier GIC instructions (SYN-1).
    pub fn gsb_sys(&self) {
        self.ops.gic(GicInsn::GSB_SYS, 0);
    }

    /// Completes the effects of earlier acknowledges (SYN-1).
    pub fn gsb_ack(&self) {
        self.ops.gic(GicInsn::GSB_ACK, 0);
    }

    /// `GICR CDIA`: acknowledges the highest priority pending interrupt of the current domain, if it is no NMI (INS-1,
    /// INS-2).
    #[must_use]
    pub fn cdia(&self) -> AcknowledgeResult {
        AcknowledgeResult::new_with_raw_value(self.ops.gic(GicInsn::GICR_CDIA, 0))
    }

    /// `GICR CDNMIA`: acknowledges the highest priority pending interrupt of the current domain, if it is an NMI (INS-2).
    #[must_use]
    pub fn cdnmia(&self) -> AcknowledgeResult {
        AcknowledgeResult::new_with_raw_value(self.ops.gic(GicInsn::GICR_CDNMIA, 0))
    }

    /// `GIC CDEOI`: drops the running priority (INS-4).
    pub fn cdeoi(&self) {
        self.ops.gic(GicInsn::GIC_CDEOI, 0);
    }

    /// `GIC CDDI`: deactivates (INS-5).
    pub fn cddi(&self, int_id: IntId) {
        self.ops.gic(GicInsn::GIC_CDDI, DeactivateOperand::naming(int_id).raw_value());
    }

    /// `GIC CDEN`: enables. Complete in finite time (SYN-4).
    pub fn cden(&self, int_id: IrsIntId) {
        self.ops.gic(GicInsn::GIC_CDEN, IntIdOperand::naming(int_id).raw_value());
    }

    /// `GIC CDDIS`: disables. Certain only after [`gsb_sys`](Self::gsb_sys) (SYN-4, INS-10).
    pub fn cddis(&self, int_id: IrsIntId) {
        self.ops.gic(GicInsn::GIC_CDDIS, IntIdOperand::naming(int_id).raw_value());
    }

    /// `GIC CDPRI`: sets the priority.
    pub fn cdpri(&self, int_id: IrsIntId, priority: Priority) {
        self.ops.gic(GicInsn::GIC_CDPRI, PriorityOperand::naming(int_id).with_priority(priority).raw_value());
    }

    /// `GIC CDAFF`: sets the target, targeted routing (RTE-1).
    pub fn cdaff(&self, int_id: IrsIntId, target: Iaffid) {
        self.ops.gic(GicInsn::GIC_CDAFF, AffinityOperand::naming(int_id).with_iaffid(target).raw_value());
    }

    /// `GIC CDPEND`: sets or clears Pending (INS-9).
    pub fn cdpend(&self, int_id: IrsIntId, pending: bool) {
        self.ops.gic(GicInsn::GIC_CDPEND, PendingOperand::naming(int_id).with_pending(pending).raw_value());
    }

    /// `GIC CDHM`: sets the handling mode.
    pub fn cdhm(&self, int_id: IrsIntId, mode: HandlingMode) {
        self.ops.gic(GicInsn::GIC_CDHM, HandlingModeOperand::naming(int_id).with_hm(mode).raw_value());
    }

    /// `GIC CDRCFG`: requests the configuration; ICC_ICSR_EL1 has it after an ISB (INS-12).
    pub fn cdrcfg(&self, int_id: IrsIntId) {
        self.ops.gic(GicInsn::GIC_CDRCFG, IntIdOperand::naming(int_id).raw_value());
    }

    /// `GIC VDPEND`: sets or clears Pending of a VM's interrupt, resident or not (INS-15).
    #[inline]
    pub fn vdpend(&self, vm: VmId, int_id: IrsIntId, pending: bool) {
        let operand = VmPendingOperand::naming(int_id).with_vm(vm).with_pending(pending);
        self.ops.gic(GicInsn::GIC_VDPEND, operand.raw_value());
    }
}

/// The PE that the caller happens to run on.
pub trait CurrentPe: Sync {
    /// What that PE can do.
    type Ops: PeOps + ?Sized;

    /// Runs `f` on the current PE, which it does not leave until `f` returns. `f` is short and does not wait. Callable from
    /// anywhere, interrupt handlers included, and not from within `f`.
    fn on_this_pe<R>(&self, f: impl FnOnce(&Pe<'_, Self::Ops>) -> R) -> R;
}
