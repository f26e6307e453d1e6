//! Priorities, masks, preemption and nesting.

use super::prelude::*;

/// Starts, and makes SPIs of these priorities ready, not pending.
fn ready<const N: usize, B: Bench>(lab: &Lab<'_, B>, priorities: [u32; N]) -> Result<[Spi; N], Failure> {
    lab.start()?;
    let mut spis = [lab.features.idr7.spi_base(); N];
    for (place, priority) in spis.iter_mut().zip(priorities) {
        *place = lab.spi()?;
        lab.ready(*place, priority)?;
    }
    Ok(spis)
}

group! { "priority";
    /// An interrupt whose priority equals the mask passes.
    fn mask_lets_its_own_priority_through(lab) rules["PRI-3"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [16])?;
        lab.mask(16)?;
        lab.pend_and_take(spi)
    }

    /// An interrupt less urgent than the mask waits.
    fn mask_holds_what_is_less_urgent(lab) rules["PRI-3"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [16])?;
        lab.mask(8)?;
        lab.pend(spi)?;
        lab.expect_silence(0)
    }

    /// A mask of 0 lets priority 0 through and nothing else.
    fn mask_of_zero_lets_priority_zero_through(lab) rules["PRI-3"] needs[Need::Spis(2)] {
        let [urgent, other] = ready(lab, [0, 8])?;
        lab.mask(0)?;
        lab.pend(other)?;
        lab.expect_silence(0)?;
        lab.pend_and_take(urgent)
    }

    /// Opening the mask lets a waiting interrupt through.
    fn opening_the_mask_signals_what_waits(lab) rules["PRI-3", "SYN-6"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [16])?;
        lab.mask(8)?;
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.mask(24)?;
        lab.take(spi)
    }

    /// Closing the mask takes the signal away, and nothing is lost.
    fn closing_the_mask_takes_the_signal_away(lab) rules["PRI-3", "SYN-6"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [16])?;
        lab.signal(spi)?;
        lab.mask(8)?;
        lab.expect_silence(0)?;
        lab.mask(31)?;
        lab.take(spi)
    }

    /// The mask reads back as far as the priority bits go.
    fn mask_reads_back(lab) rules["PRI-2", "PRI-3"] needs[] {
        let bits = lab.features.icc_idr0.pri_bits().map_or(5, |bits| bits.count());
        for number in 0..32 {
            lab.mask(number)?;
            let kept = lab.priority(number).keep_high_bits(bits).number();
            expect("ICC_PCR_EL1", kept.into(), lab.sysreg(SysReg::ICC_PCR_EL1))?;
        }
        Ok(())
    }

    /// Of two pending interrupts the more urgent one is taken first.
    fn more_urgent_comes_first(lab) rules["HPPI-1", "PRI-1"] needs[Need::Spis(2)] {
        let [late, early] = ready(lab, [16, 8])?;
        lab.mask(0)?;
        lab.pend(late)?;
        lab.pend(early)?;
        lab.mask(31)?;
        lab.expect_best(0, early)?;
        lab.handle(early)?;
        lab.take(late)
    }

    /// All priorities that the machine tells apart come in their order, however they were pended.
    fn priorities_come_in_order(lab) rules["PRI-1", "HPPI-1"] needs[Need::Spis(4)] {
        let spis = ready(lab, [24, 0, 16, 8])?;
        lab.set_sysreg(SysReg::ICC_CR0_EL1, 0);
        for spi in spis {
            lab.pend(spi)?;
        }
        lab.start()?;
        let [fourth, first, third, second] = spis;
        for spi in [first, second, third, fourth] {
            lab.expect_best(0, spi)?;
            lab.handle(spi)?;
        }
        lab.expect_silence(0)
    }

    /// A more urgent interrupt preempts an active one.
    fn more_urgent_preempts(lab) rules["PRI-4", "PRI-6"] needs[Need::Spis(2)] {
        let [outer, inner] = ready(lab, [16, 8])?;
        lab.pend_and_take(outer)?;
        lab.pend_and_take(inner)?;
        expect("ICC_APR_EL1", 1 << 16 | 1 << 8, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// An equally urgent interrupt does not preempt.
    fn equally_urgent_does_not_preempt(lab) rules["PRI-4"] needs[Need::Spis(2)] {
        let [one, other] = ready(lab, [16, 16])?;
        lab.pend_and_take(one)?;
        lab.pend(other)?;
        lab.expect_idle()?;
        lab.finish(one)?;
        lab.take(other)
    }

    /// A less urgent interrupt does not preempt.
    fn less_urgent_does_not_preempt(lab) rules["PRI-4"] needs[Need::Spis(2)] {
        let [one, other] = ready(lab, [8, 16])?;
        lab.pend_and_take(one)?;
        lab.pend(other)?;
        lab.expect_silence(0)?;
        lab.finish(one)?;
        lab.take(other)
    }

    /// Four interrupts nest, and the priorities drop in the opposite order.
    fn four_levels_nest(lab) rules["PRI-4", "PRI-5", "PRI-6"] needs[Need::Spis(4)] {
        let priorities = [30, 20, 10, 0];
        let spis = ready(lab, priorities)?;
        let mut active = 0;
        for (spi, priority) in spis.into_iter().zip(priorities) {
            lab.pend_and_take(spi)?;
            active |= 1_u64 << priority;
            expect("ICC_APR_EL1", active, lab.sysreg(SysReg::ICC_APR_EL1))?;
        }
        for priority in priorities.into_iter().rev() {
            lab.pe.cdeoi();
            active &= !(1 << priority);
            expect("ICC_APR_EL1", active, lab.sysreg(SysReg::ICC_APR_EL1))?;
        }
        Ok(())
    }

    /// The drop clears the most urgent active priority, whoever's it is.
    fn drop_clears_the_lowest_set_bit(lab) rules["PRI-6", "INS-4"] needs[] {
        lab.set_sysreg(SysReg::ICC_APR_EL1, 0x8000_0110);
        for left in [0x8000_0100, 0x8000_0000, 0, 0] {
            lab.pe.cdeoi();
            lab.sync();
            expect("ICC_APR_EL1", left, lab.sysreg(SysReg::ICC_APR_EL1))?;
        }
        Ok(())
    }

    /// The active priorities can be written, and hold back what is not more urgent.
    fn written_active_priorities_hold_back(lab) rules["PRI-4", "PRI-5"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [8])?;
        lab.set_sysreg(SysReg::ICC_APR_EL1, 1 << 8);
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.set_sysreg(SysReg::ICC_APR_EL1, 1 << 9);
        lab.take(spi)
    }

    /// The drop lets a waiting interrupt through before the first is deactivated.
    fn drop_lets_the_next_through(lab) rules["INS-6", "PRI-6"] needs[Need::Spis(2)] {
        let [one, other] = ready(lab, [16, 16])?;
        lab.pend_and_take(one)?;
        lab.pend(other)?;
        lab.expect_silence(0)?;
        lab.pe.cdeoi();
        lab.take(other)?;
        lab.expect_active(one, true)
    }

    /// Deactivation does not drop the priority.
    fn deactivation_does_not_drop(lab) rules["INS-6", "INS-5"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [16])?;
        lab.pend_and_take(spi)?;
        lab.deactivate(spi);
        expect("ICC_APR_EL1", 1 << 16, lab.sysreg(SysReg::ICC_APR_EL1))?;
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.pe.cdeoi();
        lab.take(spi)
    }

    /// A pending interrupt that becomes more urgent is signalled.
    fn raised_priority_is_noticed(lab) rules["HPPI-2"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [24])?;
        lab.mask(16)?;
        lab.pend(spi)?;
        lab.expect_silence(0)?;
        lab.set_priority(spi, 8);
        lab.take(spi)
    }

    /// A pending interrupt that becomes less urgent than the mask is recalled.
    fn lowered_priority_is_noticed(lab) rules["HPPI-2", "HPPI-6"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [8])?;
        lab.mask(16)?;
        lab.signal(spi)?;
        lab.set_priority(spi, 24);
        lab.expect_silence(0)
    }

    /// A change of priority of an active interrupt does not change the running priority.
    fn running_priority_is_that_of_the_acknowledge(lab) rules["PRI-5", "PRI-6"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [16])?;
        lab.pend_and_take(spi)?;
        lab.set_priority(spi, 8);
        expect("ICC_APR_EL1", 1 << 16, lab.sysreg(SysReg::ICC_APR_EL1))
    }

    /// A more urgent interrupt takes the place of the candidate.
    fn better_candidate_takes_over(lab) rules["HPPI-2"] needs[Need::Spis(2)] {
        let [one, better] = ready(lab, [16, 8])?;
        lab.signal(one)?;
        lab.pend(better)?;
        lab.expect_best(0, better)?;
        lab.take(better)?;
        lab.expect_pending(one, true)
    }

    /// Active priorities that software writes and takes back hold back a signalled interrupt at once, and let it through again.
    fn written_active_priorities_take_the_signal_away(lab) rules["PRI-4", "PRI-5", "HPPI-3"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [8])?;
        lab.signal(spi)?;
        lab.set_sysreg(SysReg::ICC_APR_EL1, 1 << 3 | 1 << 20);
        lab.expect_silence(0)?;
        lab.set_sysreg(SysReg::ICC_APR_EL1, 0);
        lab.take(spi)
    }

    /// There are 32 active priorities: bits above them hold nothing back.
    fn active_priorities_have_32_bits(lab) rules["PRI-5"] needs[Need::Spis(1)] {
        let [spi] = ready(lab, [31])?;
        lab.set_sysreg(SysReg::ICC_APR_EL1, u64::MAX << 32);
        lab.pend_and_take(spi)?;
        expect("ICC_APR_EL1", 1 << 31, lab.sysreg(SysReg::ICC_APR_EL1) & 0xffff_ffff)
    }

    /// A drop below a pending interrupt signals it, although the interrupt that ran is still active.
    fn drop_signals_what_was_held_back(lab) rules["PRI-4", "INS-4", "HPPI-9"] needs[Need::Spis(2)] {
        let [first, second] = ready(lab, [4, 4])?;
        lab.pend_and_take(first)?;
        lab.pend(second)?;
        lab.expect_silence(0)?;
        lab.pe.cdeoi();
        lab.sync();
        lab.expect_active(first, true)?;
        lab.take(second)?;
        expect("ICC_APR_EL1", 1 << 4, lab.sysreg(SysReg::ICC_APR_EL1))
    }
}
