//! The script: everything that happens to the host and to the VM under test, in order.

use gicv5_arch::{IrsIntId, Lpi, Spi, VpeId};
use gicv5_hal::IrsIndex;
use gicv5_hyp::{Config, Host, Hypervisor, LiveTable, VcpuIndex, Vm, VmSpec};

use super::vcpu::self_load;
use super::{ATTEMPTS, Abandoned, CutShort, Life, PES, Scene, TIMEOUT};
use crate::faults::complaint::{After, Complaint, Phase};
use crate::faults::geometry::{EntryTable, Found, Geometry};

impl<B: Hypervisor + Clone> Life<'_, B> {
    pub(super) fn all(&mut self) -> Result<(), Abandoned> {
        let config = Config {
            contiguous_bytes: self.setting.geometry.contiguous_bytes(),
            timeout: std::time::Duration::from_micros(TIMEOUT),
            doorbell_mask: crate::faults::mask_of(&self.setting.switches),
            live_table: match self.setting.geometry.found {
                Found::Nothing => LiveTable::Refuse,
                Found::LiveTable => LiveTable::TakeOver,
            },
            ..Config::new(IrsIndex(0), 300, 64)
        };
        self.at(Phase::Probe);
        let board = self.board.clone();
        let host = self.insist(Phase::Probe, || Host::new(board.clone(), &config))?;
        self.at(Phase::BringUp);
        self.insist(Phase::BringUp, || host.bring_up())?;
        self.vms(&host)?;
        self.at(Phase::ShutDown);
        self.insist(Phase::ShutDown, || host.shut_down())?;
        let held = host.holdings();
        if held.vms != 0 || held.table_bytes != 0 || held.quarantined_bytes != 0 {
            return self.stop(format!("after the host was shut down, {held}"));
        }
        Ok(())
    }

    pub(super) fn vms(&mut self, host: &Host<B>) -> Result<(), Abandoned> {
        let mut bystander = None;
        if self.setting.geometry.table != EntryTable::First {
            bystander = Some(self.bystander(host)?);
        }
        let vpes = self.setting.geometry.vpes();
        let spec = VmSpec { spis: if self.setting.geometry.spis { 40 } else { 0 }, ..VmSpec::new(&vpes) };
        let mut vm = host.new_vm();
        self.under_test(host, &mut vm, &spec, &mut bystander)?;
        // Nothing is left, and the same and another VM can be had.
        self.settle(host)?;
        self.at(Scene::Proof);
        self.insist(Phase::Init, || vm.init(&spec))?;
        // A vCPU sleeps that may have what was the doorbell of another.
        let vcpu = VcpuIndex(vpes.len() - 1);
        let model = self.model;
        self.insist(Phase::Load, || self_load(model, &vm, PES[0], vcpu))?;
        self.hold(|life| life.sleep(&vm, PES[0], vcpu))?;
        self.ring_too_late(host);
        let other = [VpeId::new(9), VpeId::new(10)];
        let other = VmSpec { spis: 8, ..VmSpec::new(&other) };
        let mut another = host.new_vm();
        self.insist(Phase::Init, || another.init(&other))?;
        self.insist(Phase::TearDown, || another.tear_down())?;
        if let Some(mut bystander) = bystander {
            self.at(Scene::Bystander);
            let lost = self.bystander_runs(host, &bystander);
            self.verdict.lost.extend(lost);
            self.insist(Phase::TearDown, || bystander.tear_down())?;
        }
        // Its handle is lost, and there is no other VM.
        drop(vm);
        self.at(Phase::Reap);
        self.insist(Phase::Reap, || host.reap())?;
        self.settle(host)
    }

    /// Empties the quarantine.
    pub(super) fn settle(&mut self, host: &Host<B>) -> Result<(), Abandoned> {
        self.verdict.quarantined |= {
            let held = host.holdings();
            held.quarantined > 0 || held.quarantined_bytes > 0
        };
        self.at(Phase::Reclaim);
        self.insist(Phase::Reclaim, || host.reclaim())?;
        let held = host.holdings();
        if held.quarantined > 0 || held.quarantined_bytes > 0 {
            return self.stop(format!("reclaim has left something: {held}"));
        }
        Ok(())
    }

    /// Everything that happens to the VM under test, from its init to its teardown.
    pub(super) fn under_test<'h>(
        &mut self,
        host: &'h Host<B>,
        vm: &mut Vm<'h, B>,
        spec: &VmSpec<'_>,
        bystander: &mut Option<Vm<'h, B>>,
    ) -> Result<(), Abandoned> {
        for _ in 0..ATTEMPTS {
            self.at(Phase::Init);
            if let Err(error) = vm.init(spec) {
                self.note(Phase::Init, error.into());
                match self.stuck {
                    true => self.look_after(host, bystander.as_ref()),
                    false => self.settle(host)?,
                }
                continue;
            }
            self.done();
            if bystander.is_none() {
                *bystander = Some(self.bystander(host)?);
            }
            match self.lifetime(host, vm, bystander) {
                Ok(()) => return self.end(host, vm, bystander),
                Err(CutShort::VmDied) => {}
                Err(CutShort::Abandoned) => return Err(Abandoned),
            }
        }
        self.stop(format!("the VM did not live in {ATTEMPTS} attempts"))
    }

    /// What a VM lives through between its init and its teardown.
    fn lifetime(&mut self, host: &Host<B>, vm: &mut Vm<'_, B>, bystander: &Option<Vm<'_, B>>) -> Result<(), CutShort> {
        let lpis = self.setting.geometry.lpis;
        if lpis {
            self.alive(host, vm, bystander, Phase::CreateIst, |vm| vm.create_lpi_ist(14))?;
        }
        self.guest(host, vm, bystander)?;
        if lpis {
            self.alive(host, vm, bystander, Phase::RemoveIst, |vm| vm.remove_lpi_ist())?;
        }
        Ok(())
    }

    pub(super) fn end(
        &mut self,
        host: &Host<B>,
        vm: &mut Vm<'_, B>,
        bystander: &Option<Vm<'_, B>>,
    ) -> Result<(), Abandoned> {
        self.at(Phase::TearDown);
        match vm.tear_down() {
            Ok(()) => self.done(),
            Err(error) => {
                self.note(Phase::TearDown, error.into());
                self.look_after(host, bystander.as_ref());
                self.settle(host)?;
            }
        }
        self.ring_too_late(host);
        Ok(())
    }

    /// The doorbells of a VM that is gone are heard once more, and those of earlier sleeps of the bystander: they wake nobody, not
    /// even a VM that has the ID and the LPIs now (DB-17).
    pub(super) fn ring_too_late(&mut self, host: &Host<B>) {
        for cookie in self.cookies.clone() {
            if let Some(wake) = host.doorbell(cookie) {
                self.verdict.not_reusable.push(format!("a doorbell of long ago woke {wake:?}"));
            }
        }
    }

    /// Does something with a live VM until it works, or until the VM dies of it and has been torn down.
    pub(super) fn alive<E: Into<Complaint>>(
        &mut self,
        host: &Host<B>,
        vm: &mut Vm<'_, B>,
        bystander: &Option<Vm<'_, B>>,
        step: Phase,
        ask: impl Fn(&Vm<'_, B>) -> Result<(), E>,
    ) -> Result<(), CutShort> {
        self.at(step);
        for _ in 0..ATTEMPTS {
            let complaint = match ask(vm) {
                Ok(()) => {
                    self.done();
                    return Ok(());
                }
                Err(error) => error.into(),
            };
            let dead = complaint.after == After::Dead;
            self.note(step, complaint);
            if dead {
                self.look_after(host, bystander.as_ref());
                self.end(host, vm, bystander)?;
                return Err(CutShort::VmDied);
            }
        }
        Ok(self.stop(format!("could not {step} in {ATTEMPTS} attempts"))?)
    }

    /// A vCPU runs, sleeps, is woken, and runs again; sleeps again and goes on before its doorbell is handled; and is reset.
    pub(super) fn guest(
        &mut self,
        host: &Host<B>,
        vm: &mut Vm<'_, B>,
        bystander: &Option<Vm<'_, B>>,
    ) -> Result<(), CutShort> {
        let Geometry { vcpus, spis, lpis, .. } = self.setting.geometry;
        let vcpu = VcpuIndex(vcpus - 1);
        let vpe = self.setting.geometry.vpes().last().copied().unwrap_or(VpeId::new(0));
        let here = PES[0];
        let interrupt = match (spis, lpis) {
            (_, true) => Lpi::new(2).ok().map(IrsIntId::Lpi),
            (true, false) => Spi::new(3).ok().map(IrsIntId::Spi),
            (false, false) => None,
        };
        let model = self.model;
        let load = move |vm: &Vm<'_, B>| self_load(model, vm, here, vcpu);
        self.alive(host, vm, bystander, Phase::Load, load)?;
        self.open(here, interrupt.into_iter(), vpe);
        self.at(Phase::Idle);
        self.hold(|life| life.sleep(vm, here, vcpu))?;
        if let Some(interrupt) = interrupt {
            self.at(Phase::Wake);
            self.hold(|life| life.inject(vm, here, interrupt))?;
            self.hold(|life| life.wake(host, vm, vcpu, interrupt))?;
        }
        self.alive(host, vm, bystander, Phase::Load, load)?;
        if let Some(interrupt) = interrupt {
            self.hold(|life| life.take(here, interrupt))?;
            self.at(Phase::Idle);
            self.hold(|life| life.sleep(vm, here, vcpu))?;
            self.hold(|life| life.inject(vm, here, interrupt))?;
            self.alive(host, vm, bystander, Phase::Load, load)?;
            self.at(Phase::WakeLate);
            self.hold(|life| match life.doorbells(host).as_slice() {
                [] => None,
                woken => Some(format!("a doorbell that came late has woken {woken:?}")),
            })?;
            self.hold(|life| life.take(here, interrupt))?;
        }
        self.at(Phase::Put);
        self.hold(|life| life.put(vm, here, vcpu))?;
        self.alive(host, vm, bystander, Phase::Reset, |vm| vm.reset_vcpu(vcpu))
    }
}
