//! The tests, a file for each group.

use crate::bench::Bench;
use crate::test::Test;

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

/// Declares a module for each group, and the list of all tests in this order.
macro_rules! groups {
    ($($group:ident),* $(,)?) => {
        $(mod $group;)*

        /// The groups, in the order in which they run.
        pub(crate) const fn groups<B: Bench + 'static>() -> &'static [&'static [Test<B>]] {
            const { &[$($group::list::<B>()),*] }
        }
    };
}

// A new file is named here and nowhere else.
groups! {
    reset,
    identification,
    registers,
    selection,
    instructions,
    acknowledge,
    priority,
    nmi,
    handling,
    irs,
    ist,
    lpi,
    ppi,
    wires,
    routing,
    vm_table,
    vms,
    vpes,
    virtual_ist,
    residency,
    virtual_instructions,
    doorbells,
    virtual_ppi,
    guests,
    saving,
    synchronisation,
    assigned_spi,
}
