//! What goes wrong because the fault plan says so.

use crate::bench::*;

#[test]
fn a_vpe_selection_without_an_effect_leaves_the_old_vpe_selected() {
    for setting in settings(|_| {}) {
        // GEN-17: what software configures then is not what it believes to have selected.
        let (bench, ..) = VmBench::ready(setting);
        assert!(bench.select(0));
        bench.machine.fault_next(Fault::Ignored);
        assert!(bench.select(3));
        assert_eq!(bench.machine.read::<IRS_VPE_SELR>(IRS).vpe_id(), VpeId::new(3));
        bench.command(bench.doorbell(77, true));
        bench.vdpend(lpi(4), true);
        assert!(!bench.rang(77), "the doorbell was set for VPE 0");
        assert!(bench.select(3));
        assert!(!bench.machine.read::<IRS_VPE_DBR>(IRS).dbv());
        assert!(bench.select(0));
        assert!(bench.machine.read::<IRS_VPE_DBR>(IRS).dbv());
    }
}

#[test]
fn a_selection_that_finds_nothing_reads_v_0_and_takes_no_settings() {
    for setting in settings(|_| {}) {
        // GEN-17, VPE-13.
        let (bench, ..) = VmBench::ready(setting);
        assert!(bench.select(3));
        bench.machine.fault_next(Fault::Invalid);
        assert!(!bench.select(3));
        bench.command(bench.doorbell(77, true));
        assert!(bench.select(3));
        assert!(!bench.machine.read::<IRS_VPE_DBR>(IRS).dbv());
    }
}

#[test]
fn every_fault_of_making_a_vm_strikes_where_it_was_planned_and_its_point_has_a_name() {
    for setting in every_shape() {
        let start = VmBench::new(setting).machine.fault_points_passed();
        let run = |fault: Option<(u64, Fault)>| {
            let mut bench = VmBench::new(setting);
            bench.machine.record_fault_points();
            if let Some((point, fault)) = fault {
                bench.machine.plan_fault(point, fault);
            }
            // What it was meant to do fails in the bench's own assertions.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                // A time-out.
                if fault.is_none_or(|(_, fault)| fault != Fault::Never) {
                    bench.make_vm(&[0, 3]);
                }
            }));
            (bench.machine.take_fault_points(), bench.machine.take_struck_faults())
        };
        let (points, _) = run(None);
        let names: Vec<String> = points.iter().map(|point| point.request.to_string()).collect();
        for name in ["IRS_VMAP_VMR VM 5 valid", "IRS_VMAP_VPER VM 5 VPE 0", "IRS_VMAP_VPER VM 5 VPE 3"] {
            assert_eq!(names.iter().filter(|found| *found == name).count(), 1, "{name} in {names:#?}");
        }
        assert_eq!(names.contains(&"IRS_VMAP_L2_VMTR VM 5".into()), setting.shape.two_level);
        assert!(points.iter().enumerate().all(|(n, point)| point.index == start + n as u64));
        for point in points {
            for fault in point.request.faults(50).filter(|fault| *fault != Fault::Never) {
                let (_, struck) = run(Some((point.index, fault)));
                assert_eq!(struck, [(point, fault)], "{point}");
            }
        }
    }
}

#[test]
fn an_allocation_that_shall_fail_does_and_the_next_does_not() {
    for setting in settings(|_| {}) {
        let bench = VmBench::new(setting);
        let layout = BlockLayout::new(64, 64, PhysAddr::new((1 << 48) - 1).unwrap()).unwrap();
        let next = bench.machine.fault_points_passed();
        bench.machine.plan_fault(next + 1, Fault::Refused);
        let outcomes = [0; 3].map(|_| bench.machine.allocate(layout).is_ok());
        assert_eq!((outcomes, bench.machine.fault_points_passed()), ([true, false, true], next + 3));
    }
}

#[test]
fn the_plan_is_part_of_the_state_that_is_saved() {
    for setting in settings(|_| {}) {
        let bench = VmBench::new(setting);
        bench.machine.fault_next(Fault::Refused);
        let saved = bench.machine.save();
        let layout = BlockLayout::new(64, 64, PhysAddr::new((1 << 48) - 1).unwrap()).unwrap();
        assert!(bench.machine.allocate(layout).is_err());
        assert!(saved != bench.machine.save() && bench.machine.planned_faults().is_empty());
        bench.machine.restore(saved.clone());
        assert!(bench.machine.save() == saved);
        assert!(bench.machine.allocate(layout).is_err());
    }
}
