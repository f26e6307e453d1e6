//! How a register or table entry is declared: once, with the bits written as the specification writes them.
//!
//! `layout!` takes a list of `[msb:lsb] SPEC_NAME rust_name: Type;` lines and makes two things of it: a bit field with
//! typed, `const` accessors (through `bitbybit`, which refuses overlapping fields and types of the wrong width at
//! compile time) and a table of [`FieldInfo`], so that the same declaration can be walked at run time. The table holds
//! the typed accessors themselves: a test that goes through it exercises what a driver calls.
//!
//! `values!` declares a field's legal values in the same spirit: an `enum` and its table of [`ValueInfo`].

/// One legal value of a field and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueInfo {
    /// The value as it stands in the field, not shifted.
    pub value: u64,
    /// What it means, in a few words.
    pub meaning: &'static str,
}

/// One field of a register, operand or table entry.
///
/// Entries wider than 64 bits are described word by word; `msb` and `lsb` then count within the word.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    /// The name in the specification.
    pub name: &'static str,
    /// The highest bit of the field, inclusive.
    pub msb: u8,
    /// The lowest bit of the field.
    pub lsb: u8,
    /// Width in bits of one element, where the field is a row of equal elements (one bit for each PPI, say); the width
    /// of the field otherwise.
    pub element_width: u8,
    /// The legal values, where the field's type is an enumeration; empty for numbers, flags and addresses.
    pub values: &'static [ValueInfo],
    /// Reads the field of a raw word through its typed accessor. The result is not shifted.
    pub get: fn(word: u64) -> u64,
    /// Writes the field of a raw word through its typed accessor; `None` if the field's type has no such value.
    pub set: fn(word: u64, value: u64) -> Option<u64>,
}

impl FieldInfo {
    /// Width of the field in bits, 1 to 64.
    #[must_use]
    pub const fn width(&self) -> u8 {
        self.msb - self.lsb + 1
    }

    /// The bits of the word that belong to the field.
    #[must_use]
    pub const fn mask(&self) -> u64 {
        (u64::MAX >> (64 - self.width())) << self.lsb
    }
}

/// The bits of a word that belong to any of these fields; the others are reserved.
#[must_use]
pub const fn fields_mask(fields: &[FieldInfo]) -> u64 {
    let (mut mask, mut rest) = (0, fields);
    while let Some((field, others)) = rest.split_first() {
        mask |= field.mask();
        rest = others;
    }
    mask
}

/// A type that can stand in a field of a layout.
///
/// The trait joins the typed accessor's view of a field (a flag, an ID, an enumeration) to its raw bits.
pub trait FieldType {
    /// What the typed setter takes.
    type Set;
    /// The legal values if they are enumerated.
    const VALUES: &'static [ValueInfo] = &[];
    /// Width of one element, for types that are a row of equal elements.
    const ELEMENT_WIDTH: Option<u8> = None;
    /// The value for these bits, or `None` if there is none.
    fn from_bits(bits: u64) -> Option<Self::Set>;
}

/// The bits as an integer of a field's width, or `None` if there are too many.
pub(crate) fn narrow<T: arbitrary_int::traits::Integer>(bits: u64) -> Option<T> {
    T::try_new(T::UnderlyingType::try_from(bits).ok()?).ok()
}

/// What a typed getter returns, turned back into raw bits.
pub trait FieldBits {
    /// The bits as they stand in the field, not shifted.
    fn bits(self) -> u64;
}

impl FieldType for bool {
    type Set = bool;
    fn from_bits(bits: u64) -> Option<bool> {
        match bits {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl FieldBits for bool {
    fn bits(self) -> u64 {
        u64::from(self)
    }
}

/// Makes integer types of the given widths usable as fields.
macro_rules! integer_fields {
    ($($int:ty),*) => {$(
        impl FieldType for $int {
            type Set = $int;
            fn from_bits(bits: u64) -> Option<$int> {
                narrow(bits)
            }
        }
        impl FieldBits for $int {
            fn bits(self) -> u64 {
                u64::from(self)
            }
        }
    )*};
}

use arbitrary_int::{u2, u3, u4, u5, u6, u24, u25};
integer_fields!(u2, u3, u4, u5, u6, u8, u16, u24, u25, u32, u64);
integer_fields!(arbitrary_int::u11, arbitrary_int::u12);

/// Makes a newtype with `new_with_raw_value` and `raw_value` usable as a field.
macro_rules! newtype_field {
    ($name:ident: $raw:ty $(, element $width:literal)?) => {
        impl crate::layout::FieldType for $name {
            type Set = $name;
            $(const ELEMENT_WIDTH: Option<u8> = Some($width);)?
            fn from_bits(bits: u64) -> Option<$name> {
                crate::layout::narrow::<$raw>(bits).map($name::new_with_raw_value)
            }
        }
        impl crate::layout::FieldBits for $name {
            fn bits(self) -> u64 {
                u64::from(self.raw_value())
            }
        }
    };
}
pub(crate) use newtype_field;

/// Prints a value for people as it does for debugging.
macro_rules! display_as_debug {
    ($name:ident) => {
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Debug::fmt(self, f)
            }
        }
    };
}
pub(crate) use display_as_debug;

/// Declares an enumeration of field values.
///
/// `exhaustive` says whether every bit pattern of the width is a variant; otherwise a layout holds an `Option` of it
/// and the getter returns the unknown bits as the error.
macro_rules! values {
    (
        $(#[$meta:meta])*
        $name:ident: $raw:ident, exhaustive = $exhaustive:ident {
            $($(#[$vmeta:meta])* $variant:ident = $value:tt => $meaning:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[bitbybit::bitenum($raw, exhaustive = $exhaustive)]
        #[derive(Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $value,)*
        }

        impl $name {
            /// Every value with its meaning.
            pub const VALUES: &'static [crate::layout::ValueInfo] = &[
                $(crate::layout::ValueInfo { value: $value, meaning: $meaning },)*
            ];

            /// What the value means, in a few words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }

        values!(@field $exhaustive $name $raw);
    };
    (@field true $name:ident $raw:ident) => {
        impl crate::layout::FieldType for $name {
            type Set = $name;
            const VALUES: &'static [crate::layout::ValueInfo] = $name::VALUES;
            fn from_bits(bits: u64) -> Option<$name> {
                crate::layout::narrow::<$raw>(bits).map($name::new_with_raw_value)
            }
        }
        impl crate::layout::FieldBits for $name {
            fn bits(self) -> u64 {
                u64::from(self.raw_value())
            }
        }
    };
    (@field false $name:ident $raw:ident) => {
        impl crate::layout::FieldType for Option<$name> {
            type Set = $name;
            const VALUES: &'static [crate::layout::ValueInfo] = $name::VALUES;
            fn from_bits(bits: u64) -> Option<$name> {
                crate::layout::narrow::<$raw>(bits).and_then(|raw| $name::new_with_raw_value(raw).ok())
            }
        }
        impl crate::layout::FieldBits for Result<$name, $raw> {
            fn bits(self) -> u64 {
                match self {
                    Ok(value) => u64::from(value.raw_value()),
                    Err(raw) => u64::from(raw),
                }
            }
        }
    };
}
pub(crate) use values;

/// Declares the layout of a register, an operand or a word of a table entry.
macro_rules! layout {
    (
        $(#[$meta:meta])*
        $name:ident: $raw:ident { $($fields:tt)* }
    ) => {
        crate::layout::layout!(@fields [$(#[$meta])*] $name $raw [] [] $($fields)*);
    };

    // A field of several bits.
    (
        @fields $head:tt $name:ident $raw:ident [$($decl:tt)*] [$($info:tt)*]
        $(#[$meta:meta])* [$msb:tt:$lsb:tt] $spec:ident $field:ident: $ty:ident $(<$($arg:tt),+>)?; $($rest:tt)*
    ) => {
        crate::layout::layout!(
            @fields $head $name $raw
            [$($decl)* $(#[$meta])* #[bits($lsb..=$msb, rw)] $field: $ty $(<$($arg),+>)?,]
            [$($info)* {
                const ELEMENT: u8 = match <$ty $(<$($arg),+>)? as crate::layout::FieldType>::ELEMENT_WIDTH {
                    Some(width) => width,
                    None => $msb - $lsb + 1,
                };
                crate::layout::layout!(@info $name $raw $spec $field $msb $lsb [ELEMENT] [$ty $(<$($arg),+>)?])
            },]
            $($rest)*
        );
    };

    // A field of one bit.
    (
        @fields $head:tt $name:ident $raw:ident [$($decl:tt)*] [$($info:tt)*]
        $(#[$meta:meta])* [$bit:tt] $spec:ident $field:ident: $ty:ident; $($rest:tt)*
    ) => {
        crate::layout::layout!(
            @fields $head $name $raw
            [$($decl)* $(#[$meta])* #[bit($bit, rw)] $field: $ty,]
            [$($info)* crate::layout::layout!(@info $name $raw $spec $field $bit $bit [1] [$ty]),]
            $($rest)*
        );
    };

    (@fields [$($head:tt)*] $name:ident $raw:ident [$($decl:tt)*] [$($info:tt)*]) => {
        pastey::paste! {
            $($head)*
            #[bitbybit::bitfield($raw, default = 0, debug, forbid_overlaps)]
            #[derive(PartialEq, Eq, Hash)]
            // Pasted so that the name has the hygiene of this macro: bitbybit mixes the spans of the name and of the
            // attribute in one function.
            pub struct [<$name>] {
                $($decl)*
            }
        }

        impl $name {
            /// The fields, from the highest bit down.
            pub const FIELDS: &'static [crate::layout::FieldInfo] = &[$($info)*];
        }
    };

    (@info $name:ident $raw:ident $spec:ident $field:ident $msb:tt $lsb:tt [$element:expr] [$($ty:tt)+]) => {
        crate::layout::FieldInfo {
            name: stringify!($spec),
            msb: $msb,
            lsb: $lsb,
            element_width: $element,
            values: <$($ty)+ as crate::layout::FieldType>::VALUES,
            get: |word| {
                // Registers of 32 bits travel in the low half of a word.
                crate::layout::FieldBits::bits($name::new_with_raw_value(word as $raw).$field())
            },
            set: |word, value| {
                let value = <$($ty)+ as crate::layout::FieldType>::from_bits(value)?;
                Some(u64::from(pastey::paste!($name::new_with_raw_value(word as $raw).[<with_ $field>](value)).raw_value()))
            },
        }
    };
}
pub(crate) use layout;
