//! Enumerations whose variants are listed once, with what there is to say of each.

/// An enumeration with words for each of its variants.
macro_rules! listed {
    ($(#[$doc:meta])* $vis:vis $name:ident: $words:ty { $($(#[$of:meta])* $variant:ident = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        $vis enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            #[allow(dead_code, reason = "not every list is gone through")]
            $vis const ALL: [$name; [$($name::$variant),*].len()] = [$($name::$variant),*];

            $vis const fn words(self) -> $words {
                match self {
                    $($name::$variant => $value,)*
                }
            }
        }
    };
}

/// An enumeration whose variants are shown by these words.
macro_rules! shown {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($list:tt)* }) => {
        crate::listed::listed! { $(#[$doc])* $vis $name: &'static str { $($list)* } }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.words())
            }
        }
    };
}

pub(crate) use {listed, shown};
