//! What all registers have in common: a place, a width, an access type, a layout.

use crate::layout::FieldInfo;

/// How software may access a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read only.
    RO,
    /// Write only: writing it acts, reading it tells nothing.
    WO,
    /// Read and write.
    RW,
}

/// A register whose layout is a type of its own.
///
/// 32-bit registers travel in the low half of a `u64`.
pub trait Register: Copy {
    /// The kind of register: [`IrsReg`](crate::irs::IrsReg), [`SetLpiReg`](crate::irs::SetLpiReg) or
    /// [`SysReg`](crate::sysreg::SysReg).
    type Reg: Copy;
    /// Which one it is.
    const REG: Self::Reg;
    /// The register holding these bits; bits outside the fields are kept.
    fn from_bits(bits: u64) -> Self;
    /// The bits.
    fn to_bits(self) -> u64;
}

/// A register of a memory-mapped frame, as the table of its frame describes it.
#[derive(Clone, Copy, Debug)]
pub struct RegisterInfo {
    /// The name in the specification.
    pub name: &'static str,
    /// Byte offset from the start of the frame.
    pub offset: u16,
    /// Width in bits, 32 or 64.
    pub width: u8,
    /// How software may access it.
    pub access: Access,
    /// The layout, from the highest bit down.
    pub fields: &'static [FieldInfo],
}

/// Declares the registers of a memory-mapped frame: for each one a layout type under the register's own name and a
/// variant of the frame's enumeration.
macro_rules! frame {
    (
        $(#[$fmeta:meta])*
        $frame:ident {
            $(
                $(#[$meta:meta])*
                $offset:literal $name:ident: $raw:ident $access:ident { $($fields:tt)* }
            )*
        }
    ) => {
        $(
            crate::layout::layout! {
                $(#[$meta])*
                ///
                #[doc = concat!("Offset ", stringify!($offset), ", ", stringify!($raw), ", ", stringify!($access), ".")]
                $name: $raw { $($fields)* }
            }

            impl crate::register::Register for $name {
                type Reg = $frame;
                const REG: $frame = $frame::$name;
                fn from_bits(bits: u64) -> $name {
                    $name::new_with_raw_value(bits as $raw)
                }
                fn to_bits(self) -> u64 {
                    u64::from(self.raw_value())
                }
            }
        )*

        $(#[$fmeta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum $frame {
            $($(#[$meta])* $name = $offset,)*
        }

        impl $frame {
            /// Every register of the frame, lowest offset first.
            pub const ALL: &'static [$frame] = &[$($frame::$name),*];

            /// Name, place, width, access and layout.
            #[must_use]
            pub const fn info(self) -> &'static crate::register::RegisterInfo {
                match self {
                    $($frame::$name => &crate::register::RegisterInfo {
                        name: stringify!($name),
                        offset: $offset,
                        width: $raw::BITS as u8,
                        access: crate::register::Access::$access,
                        fields: $name::FIELDS,
                    },)*
                }
            }

            /// The name in the specification.
            #[must_use]
            pub const fn name(self) -> &'static str {
                self.info().name
            }

            /// Byte offset from the start of the frame.
            #[must_use]
            #[inline]
            pub const fn offset(self) -> u16 {
                self as u16
            }

            /// Width in bits, 32 or 64.
            #[must_use]
            #[inline]
            pub const fn width(self) -> u8 {
                // Not through the description, whose names a driver need not link.
                match self {
                    $($frame::$name => $raw::BITS as u8,)*
                }
            }

            /// How software may access it.
            #[must_use]
            pub const fn access(self) -> crate::register::Access {
                self.info().access
            }

            /// The register that starts at this offset; `None` for a reserved offset and for the upper half of a
            /// 64-bit register.
            #[must_use]
            #[inline]
            pub const fn at(offset: u16) -> Option<$frame> {
                match offset {
                    $($offset => Some($frame::$name),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Debug for $frame {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl core::fmt::Display for $frame {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use frame;

#[cfg(test)]
mod tests {
    use crate::irs::{IrsReg, SetLpiReg};

    #[test]
    fn what_is_known_without_the_description_is_what_the_description_says() {
        for register in IrsReg::ALL {
            let info = register.info();
            assert_eq!((register.offset(), register.width()), (info.offset, info.width), "{register}");
            assert_eq!(IrsReg::at(info.offset), Some(*register));
        }
        for register in SetLpiReg::ALL {
            let info = register.info();
            assert_eq!((register.offset(), register.width()), (info.offset, info.width), "{register}");
            assert_eq!(SetLpiReg::at(info.offset), Some(*register));
        }
    }
}
