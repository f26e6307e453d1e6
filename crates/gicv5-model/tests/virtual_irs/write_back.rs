//! States that go back to their IST.

use crate::bench::*;

#[test]
fn a_state_goes_back_once_for_each_time_that_it_has_changed() {
    // IST-26, SAVE-1: by chance or because software asks, but not both ways, and not again when nothing has changed.
    for setting in every_shape() {
        let (bench, ..) = VmBench::ready(setting);
        let save = IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_s(true);
        let written_back = || {
            let events = bench.machine.take_events().into_iter();
            events.filter(|(_, event)| matches!(event, Event::WriteBack { .. })).count()
        };
        bench.command(save);
        bench.machine.observe(1_000);
        let mut by_chance = 0;
        for n in 0..300 {
            bench.vdpend(lpi(1), n % 2 == 0);
            let early = written_back();
            bench.command(save);
            assert_eq!(early + written_back(), 1, "change {n} {setting:?}");
            by_chance += early;
            bench.command(save);
            assert_eq!(written_back(), 0, "nothing has changed");
        }
        assert!((1..30).contains(&by_chance), "some go back by chance: {by_chance}");
    }
}

#[test]
fn a_save_shows_the_states_and_leaves_the_tables_that_lead_to_them() {
    // SAVE-1, SAVE-5, VMT-22: of a level-1 entry in use software reads what it wrote and the valid bit, before a save and after it.
    for setting in every_shape() {
        let (bench, level1, level2) = VmBench::with_two_level_ist(setting);
        bench.publish_level2_ist(IrsIntType::Lpi);
        let before = bench.load_word(&level1, 0);
        assert_eq!(before, level2.address().raw() | 1);
        bench.vdpend(lpi(2), true);
        bench.command(IRS_SAVE_VMR::ZERO.with_vm_id(VM).with_s(true).with_q(true));
        assert_eq!(bench.load_word(&level1, 0), before, "{setting:?}");
        assert!(bench.entry(&level2, 2).pending(), "{setting:?}");
    }
}
