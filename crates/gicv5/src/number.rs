//! Numbers as people write them: decimal, `0x`, `0b`, with `_` between digits.

use thiserror::Error;

use crate::output::quote;

/// A number that cannot be read or does not fit.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum NumberError {
    /// Nothing there.
    #[error("an empty value; write a number such as 0x1f, 0b11111 or 31")]
    Empty,
    /// A sign.
    #[error("{0} is negative; values are raw bits, so write it without a sign, such as 0xffff_fffb")]
    Negative(String),
    /// A prefix and nothing behind it.
    #[error("{0} has no digits after its prefix")]
    NoDigits(String),
    /// A character that is no digit.
    #[error("{text} is not a number: {found} at character {column}{hint}")]
    NotADigit {
        /// The text, quoted.
        text: String,
        /// The character, quoted.
        found: String,
        /// Its place, counted from 1.
        column: usize,
        /// What may help.
        hint: &'static str,
    },
    /// More bits than there are.
    #[error("{text} has more digits than {width} bits hold")]
    TooBig {
        /// The text, quoted.
        text: String,
        /// The width.
        width: u32,
    },
}

/// Reads a number of at most `width` bits, 64 at most.
///
/// Hexadecimal and binary digits are counted and not only their value, because a digit too many in a register dump is
/// a slip even if it is a zero.
pub(crate) fn parse(text: &str, width: u32) -> Result<u64, NumberError> {
    if text.is_empty() {
        return Err(NumberError::Empty);
    }
    if text.starts_with('-') {
        return Err(NumberError::Negative(quote(text)));
    }
    let too_big = || NumberError::TooBig { text: quote(text), width };
    let prefix = text.get(..2).map(str::to_ascii_lowercase);
    let (radix, skipped) = match prefix.as_deref() {
        Some("0x") => (16, 2),
        Some("0b") => (2, 2),
        _ => (10, 0),
    };
    let mut value: u64 = 0;
    let mut digits: u32 = 0;
    let mut overflow = false;
    for (at, character) in text.chars().enumerate().skip(skipped) {
        if character == '_' && (at > 0) {
            continue;
        }
        let Some(digit) = character.to_digit(radix) else {
            let hexadecimal = radix == 10 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '_');
            return Err(NumberError::NotADigit {
                text: quote(text),
                found: format!("'{}'", character.escape_debug()),
                column: at + 1,
                hint: if hexadecimal { "; hexadecimal begins with 0x" } else { "" },
            });
        };
        digits = digits.saturating_add(1);
        match value.checked_mul(u64::from(radix)).and_then(|high| high.checked_add(u64::from(digit))) {
            Some(next) => value = next,
            None => overflow = true,
        }
    }
    if digits == 0 {
        return Err(NumberError::NoDigits(quote(text)));
    }
    let width = width.min(64);
    let most_digits = match radix {
        16 => width.div_ceil(4),
        2 => width,
        _ => u32::MAX,
    };
    if overflow || digits > most_digits || value.checked_shr(width).is_some_and(|rest| rest != 0) {
        return Err(too_big());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::{NumberError, parse};

    #[test]
    fn decimal_hexadecimal_and_binary_are_read_with_separators() {
        assert_eq!(parse("31", 5), Ok(31));
        assert_eq!(parse("0x1F", 32), Ok(31));
        assert_eq!(parse("0X1f", 32), Ok(31));
        assert_eq!(parse("0b1_1111", 32), Ok(31));
        assert_eq!(parse("0x8000_001f_0000_0040", 64), Ok(0x8000_001f_0000_0040));
        assert_eq!(parse("18446744073709551615", 64), Ok(u64::MAX));
        assert_eq!(parse("0xffffffff", 32), Ok(0xffff_ffff));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, width) in [
            ("0x100000000", 32),
            ("0x00000000f", 32),
            ("4294967296", 32),
            ("18446744073709551616", 64),
            ("0x10000000000000000", 64),
            ("32", 5),
        ] {
            assert!(matches!(parse(text, width), Err(NumberError::TooBig { .. })), "{text}");
        }
        assert!(matches!(parse(&"9".repeat(100_000), 64), Err(NumberError::TooBig { .. })));
    }

    #[test]
    fn what_is_no_number_is_refused_with_its_place() {
        assert_eq!(parse("", 64), Err(NumberError::Empty));
        assert!(matches!(parse("-5", 64), Err(NumberError::Negative(_))));
        assert!(matches!(parse("0x", 64), Err(NumberError::NoDigits(_))));
        assert!(matches!(parse("0x_", 64), Err(NumberError::NoDigits(_))));
        assert!(matches!(parse("_5", 64), Err(NumberError::NotADigit { column: 1, .. })));
        assert!(matches!(parse("0x12g4", 64), Err(NumberError::NotADigit { column: 5, .. })));
        assert!(matches!(parse("é1", 64), Err(NumberError::NotADigit { column: 1, .. })));
        let error = parse("8000001f", 64).unwrap_err().to_string();
        assert!(error.ends_with("hexadecimal begins with 0x"), "{error}");
    }
}
