//! The drivers and a host that calls everything they have: an image to look at, not to run.
//!
//! It shows what gicv5-phys and gicv5-hyp bring into the image of an embedder, and above all which panics. Errors are thrown
//! away, so that the image holds no text of theirs. `cargo xtask bare-metal --panics` reads it; `panics.toml` lists the panics
//! that may be in it.
#![no_std]
#![no_main]

use core::panic::PanicInfo;
use core::pin::pin;
use core::task::{Context, Waker};

use gicv5_aarch64::{Counter, Frames, Hardware, IrsFrames, Pause, TableRam, ThisPe};
use gicv5_arch::values::{HandlingMode, Shareability, TriggerMode};
use gicv5_arch::{Iaffid, Lpi, Ppi, Priority, Spi, VpeId};
use gicv5_bare_metal::heap;
use gicv5_bare_metal::pe;
use gicv5_hal::{Coherency, Cookie, HostLpis, IrsIndex, Pe, Route};
use gicv5_hyp::{Host, Pending, PpiMask, VcpuIndex, Vm, VmSpec, WithLpis};
use gicv5_phys::{Acknowledged, IpiKind, PeIndex, Phys, memory_attributes, ppi};

/// What the host has: a hypervisor whose LPIs are the physical driver's.
type Hypervisor<'b, 'p> = WithLpis<&'b Hardware, &'p Phys<&'b Hardware>>;

/// Where the linker begins: with numbers that the compiler cannot know.
#[unsafe(no_mangle)]
extern "C" fn entry(frame: usize, ram: u64, end: u64, number: u64) -> ! {
    heap::init();
    // SAFETY: the image is never run. A host that ran it would say where its IRS and its free RAM lie.
    let board = unsafe {
        Hardware {
            frames: Frames::new([IrsFrames { config: frame, set_lpi: None }]),
            memory: TableRam::new(ram..end, 0, Coherency::NonCoherent, Shareability::Inner),
            pe: ThisPe::new(),
            counter: Counter::new(Pause::Yield),
        }
    };
    let pe = Pe::new(&board.pe);
    let _ = physical(&board, &pe, number);
    loop {
        pe::relax();
    }
}

/// Takes a future as far as one step goes.
fn step(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

/// gicv5-phys from its making to its end. What fails ends it.
fn physical(board: &Hardware, pe: &Pe<'_, ThisPe>, number: u64) -> Option<()> {
    let irss = [IrsIndex(0), IrsIndex(1)];
    let attributes = Some(memory_attributes(Coherency::NonCoherent));
    let config =
        gicv5_phys::Config { ipi_kinds: number as u8, attributes, ..gicv5_phys::Config::new(&irss, number as u32) };
    let phys = Phys::new(board, &config).ok()?;
    phys.bring_up().ok()?;
    let index = phys.bring_up_pe(pe).ok()?;
    by_number(&phys, pe, number as u32);
    own_interrupts(&phys, pe, index, number);
    let _ = virtualise(board, &phys, pe, number);
    let _ = phys.pe_is_gone(pe, index);
    let _ = phys.bring_down_pe(pe);
    let _ = (phys.holdings(), phys.phase(), phys.priority_bits(), phys.strays(), phys.reclaim());
    phys.tear_down().ok()
}

/// Interrupts that the host names by their numbers.
fn by_number(phys: &Phys<&Hardware>, pe: &Pe<'_, ThisPe>, number: u32) -> Option<()> {
    let (lpi, spi, ppi) = (Lpi::new(number).ok()?, Spi::new(number).ok()?, Ppi::new(number).ok()?);
    let priority = Priority::new(number).ok()?;
    let _ = phys.enable_interrupt(pe, lpi);
    let _ = phys.disable_interrupt(pe, spi);
    let _ = phys.set_priority(pe, spi, priority);
    let _ = phys.set_target(pe, spi, Iaffid::new(number as u16));
    let _ = phys.set_handling(pe, lpi, HandlingMode::Level);
    let _ = phys.set_pending(pe, lpi);
    let _ = phys.clear_pending(pe, lpi);
    let _ = phys.configuration(pe, lpi);
    let _ = phys.set_trigger(spi, TriggerMode::Level);
    let _ = phys.trigger(spi);
    let _ = phys.resample(spi);
    let _ = ppi::enable(pe, ppi);
    ppi::set_priority(pe, ppi, priority);
    let _ = ppi::set_pending(pe, ppi);
    let _ = ppi::clear_pending(pe, ppi);
    ppi::set_active(pe, ppi);
    ppi::clear_active(pe, ppi);
    ppi::disable(pe, ppi);
    let _ = ppi::state(pe, ppi);
    Some(())
}

/// LPIs and IPIs of the host, and the handler of interrupts.
fn own_interrupts(phys: &Phys<&Hardware>, pe: &Pe<'_, ThisPe>, index: PeIndex, number: u64) -> Option<()> {
    let owned = phys.allocate(Cookie(number)).ok()?;
    phys.enable(&owned);
    phys.route(&owned, Route::To(Iaffid::new(number as u16)));
    let _ = phys.set_pending(pe, phys.lpi(&owned));
    let _ = (index.number(), phys.send_ipi(pe, index, IpiKind(number as u8)));
    let _ = phys.send_ipis(pe, [index, index], IpiKind(number as u8));
    phys.take_interrupts(pe, number, |_, active| Some(active));
    phys.take_nmis(pe, number, |_, active| Some(active));
    for acknowledged in [phys.acknowledge(pe), phys.acknowledge_nmi(pe)] {
        if let Acknowledged::Interrupt(active) = acknowledged {
            let _ = (active.int_id(), active.source());
            let _ = phys.deactivate(pe, active);
        }
    }
    if let Err(kept) = phys.release(owned) {
        phys.abandon(kept.lpi);
    }
    Some(())
}

/// gicv5-hyp from its making to its end.
fn virtualise<'b>(board: &'b Hardware, phys: &Phys<&'b Hardware>, pe: &Pe<'_, ThisPe>, number: u64) -> Option<()> {
    let others = [IrsIndex(1)];
    let config =
        gicv5_hyp::Config { others: &others, ..gicv5_hyp::Config::new(IrsIndex(0), number as u32, number as u32) };
    let host = Host::new(WithLpis { platform: board, lpis: phys }, &config).ok()?;
    gicv5_hyp::reset_pe(pe);
    host.bring_up().ok()?;
    let mut vm = host.new_vm();
    let vpes = [VpeId::new(number as u16), VpeId::new((number >> 16) as u16)];
    let spec = VmSpec { spis: number as u32, ppis: vmm_ppis(number)?, ..VmSpec::new(&vpes) };
    vm.init(&spec).ok()?;
    vm.create_lpi_ist(number as u32).ok()?;
    let _ = run(&host, &vm, pe, number);
    let _ = vm.remove_lpi_ist();
    let _ = vm.tear_down();
    step_by_step(&host, &mut vm, &spec, number);
    drop(vm);
    let _ = (host.reap(), host.reclaim());
    let _ = (host.holdings(), host.counters(), host.phase(), host.vm_limit(), host.vm_table(), host.hypervisor());
    host.shut_down().ok()
}

/// The PPIs of a guest.
fn vmm_ppis(number: u64) -> Option<PpiMask> {
    Some(PpiMask::default().with(Ppi::new(number as u32).ok()?))
}

/// A VM that runs.
fn run(
    host: &Host<Hypervisor<'_, '_>>,
    vm: &Vm<'_, Hypervisor<'_, '_>>,
    pe: &Pe<'_, ThisPe>,
    number: u64,
) -> Option<()> {
    let vcpu = VcpuIndex(number as usize);
    let (lpi, spi, ppi) = (Lpi::new(number as u32).ok()?, Spi::new(number as u32).ok()?, Ppi::new(number as u32).ok()?);
    let iaffid = Iaffid::new(number as u16);
    let _ = (vm.load(pe, vcpu), vm.inject(pe, lpi.into(), Pending::Set), vm.set_ppi(vcpu, ppi, Pending::Set));
    let _ = (vm.set_guest_irs(number > 1), vm.idle(pe, vcpu), vm.has_pending(vcpu), host.doorbell(Cookie(number)));
    let mut injecting = vm.injecting(pe);
    let _ = (injecting.inject(spi.into(), Pending::Set), injecting.inject(lpi.into(), Pending::Clear));
    drop(injecting);
    let _ = (vm.put(pe, vcpu), vm.reset_vcpu(vcpu), vm.move_doorbells(pe, iaffid));
    let _ = (vm.pe_is_gone(iaffid, |_| {}), host.evict(pe), vm.state(), vm.id());
    let _ = host.pe_is_gone(iaffid);
    let reference = vm.refer().ok()?;
    let _ = (reference.vm(), vm.vmm_ppis()?.and(PpiMask::EMPTY).contains(ppi));
    drop(reference);
    Some(())
}

/// What waits, by futures.
fn step_by_step(host: &Host<Hypervisor<'_, '_>>, vm: &mut Vm<'_, Hypervisor<'_, '_>>, spec: &VmSpec<'_>, number: u64) {
    step(host.start_bring_up());
    step(vm.start_init(spec));
    step(vm.start_create_lpi_ist(number as u32));
    step(vm.start_reset_vcpu(VcpuIndex(number as usize)));
    step(vm.start_remove_lpi_ist());
    step(vm.start_tear_down());
    step(host.start_reap());
    step(host.start_reclaim());
    step(host.start_shut_down());
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        pe::relax();
    }
}
