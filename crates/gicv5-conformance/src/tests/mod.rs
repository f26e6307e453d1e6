//! The tests, a file for each group.

use crate::bench::Bench;
use crate::profile::Profile;
use crate::test::Test;

/// Declares the tests of a group: for each a function, and an entry in the group's list.
macro_rules! group {
    ($group:literal; $(
        #[doc = $about:literal]
        fn $name:ident($lab:ident) rules[$($rule:literal),* $(,)?] needs[$($need:expr),* $(,)?] $(profile[$profile:expr])? $body:block
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
                    profile: $crate::tests::only(&[$($profile)?]),
                    body: $name::<B>,
                }),*]
            }
        }
    };
}

/// The profile of a test that names one.
const fn only(profiles: &[Profile]) -> Option<Profile> {
    profiles.first().copied()
}

// Plain lines, so that `cargo fmt` finds the files. The compiler finds a file that `groups` forgets.
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
mod nmi;
mod ppi;
mod prelude;
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
pub(crate) const fn groups<B: Bench + 'static>() -> &'static [&'static [Test<B>]] {
    const {
        &[
            reset::list::<B>(),
            identification::list::<B>(),
            registers::list::<B>(),
            selection::list::<B>(),
            instructions::list::<B>(),
            acknowledge::list::<B>(),
            priority::list::<B>(),
            nmi::list::<B>(),
            handling::list::<B>(),
            irs::list::<B>(),
            ist::list::<B>(),
            lpi::list::<B>(),
            ppi::list::<B>(),
            wires::list::<B>(),
            routing::list::<B>(),
            vm_table::list::<B>(),
            vms::list::<B>(),
            vpes::list::<B>(),
            virtual_ist::list::<B>(),
            residency::list::<B>(),
            virtual_instructions::list::<B>(),
            doorbells::list::<B>(),
            virtual_ppi::list::<B>(),
            guests::list::<B>(),
            saving::list::<B>(),
            synchronisation::list::<B>(),
            assigned_spi::list::<B>(),
        ]
    }
}
