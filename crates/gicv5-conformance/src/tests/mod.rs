//! The tests, a file for each group.

use crate::bench::Bench;
use crate::suite::Test;

/// Declares the tests of a group: for each a function, and an entry in the group's list.
macro_rules! group {
    ($group:literal; $(
        #[doc = $about:literal]
        fn $name:ident($lab:ident) rules[$($rule:literal),* $(,)?] needs[$($need:expr),* $(,)?] $body:block
    )*) => {
        $(
            #[doc = $about]
            fn $name<B: $crate::Bench>($lab: &$crate::Lab<'_, B>) -> $crate::Outcome $body
        )*

        pub(super) const fn list<B: $crate::Bench>() -> &'static [$crate::Test<B>] {
            const {
                &[$($crate::Test {
                    name: concat!($group, "::", stringify!($name)),
                    about: $about,
                    rules: &[$($rule),*],
                    needs: &[$($need),*],
                    body: $name::<B>,
                }),*]
            }
        }
    };
}

mod acknowledge;
mod assigned_spi;
mod doorbells;
mod guests;
mod handling;
mod identification;
mod instructions;
mod irs;
mod ist;
mod lpi;
mod ppi;
mod priority;
mod registers;
mod reset;
mod residency;
mod routing;
mod saving;
mod selection;
mod synchronisation;
mod virtual_instructions;
mod virtual_ist;
mod virtual_ppi;
mod vm_table;
mod vms;
mod vpes;
mod wires;

/// The groups, in the order in which they run.
pub(crate) fn groups<B: Bench + 'static>() -> [&'static [Test<B>]; 26] {
    [
        reset::list(),
        identification::list(),
        registers::list(),
        selection::list(),
        instructions::list(),
        acknowledge::list(),
        priority::list(),
        handling::list(),
        irs::list(),
        ist::list(),
        lpi::list(),
        ppi::list(),
        wires::list(),
        routing::list(),
        vm_table::list(),
        vms::list(),
        vpes::list(),
        virtual_ist::list(),
        residency::list(),
        virtual_instructions::list(),
        doorbells::list(),
        virtual_ppi::list(),
        guests::list(),
        saving::list(),
        synchronisation::list(),
        assigned_spi::list(),
    ]
}
