//! A job against a second write of the guest's, in every interleaving.

use std::sync::Arc;

use gicv5_arch::irs::IRS_IDR2;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::*;

/// Runs one operation if one is under way, as a backend that counts tables.
fn work(table: &Table, tables: &AtomicUsize) {
    match table.claim() {
        Some(TableOperation::Make(_)) => assert_eq!(tables.fetch_add(1, Ordering::Relaxed), 0, "a second table"),
        Some(TableOperation::Remove) => assert_eq!(tables.fetch_sub(1, Ordering::Relaxed), 1, "removed twice"),
        Some(TableOperation::Map(_)) => panic!("the table is linear"),
        None => return,
    }
    table.finish(true);
}

/// GIRS-61, GIRS-75, VIRS-11.
#[test]
fn writes_of_two_vcpus_and_two_workers_never_make_two_operations() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(|| {
        let idr2 = IRS_IDR2::new_with_raw_value(12 << 6 | 1 << 5 | 16);
        let shared = Arc::new((Table::new(IstLimits::from_idr2(idr2).unwrap()), AtomicUsize::new(0)));
        let _ = shared.0.write_cfgr(IRS_IST_CFGR::new_with_raw_value(12));
        let other = thread::spawn({
            let shared = shared.clone();
            move || {
                let _ = shared.0.write_baser(|_| 0x1001);
                work(&shared.0, &shared.1);
                let _ = shared.0.write_cfgr(IRS_IST_CFGR::new_with_raw_value(13));
            }
        });
        let _ = shared.0.write_baser(|_| 0x2001);
        work(&shared.0, &shared.1);
        let _ = shared.0.write_baser(|_| 0);
        work(&shared.0, &shared.1);
        other.join().unwrap();
        work(&shared.0, &shared.1);
        assert!(shared.0.is_idle());
        assert_eq!(shared.1.load(Ordering::Relaxed), usize::from(shared.0.baser().valid()), "VALID is the truth");
    });
}
