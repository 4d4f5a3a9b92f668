//! Sizes and counts in arguments.

use std::num::{IntErrorKind, NonZero};

/// A number of bytes.
pub(crate) type Size = usize;

/// Parses `4096`, `64K`, `1.5M`, `2G`, `2GiB`: K, M, G and T are powers of 1024.
pub(crate) fn parse(text: &str) -> Result<Size, String> {
    let end =
        text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(format!("{text:?} is not a number of bytes, such as 64M"));
    }
    let power = match unit
        .trim()
        .trim_end_matches(['b', 'B'])
        .trim_end_matches('i')
        .to_ascii_lowercase()
        .as_str()
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{unit:?} is not one of K, M, G, T")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}")
        .parse()
        .map_err(|_| format!("{text:?} is not a number of bytes, such as 64M"))?;
    let scale = u32::try_from(fraction.len()).ok().and_then(|places| 10_u128.checked_pow(places));
    let bytes = scale.and_then(|scale| Some(digits.checked_mul(1 << power)? / scale));
    bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| format!("{text} is more memory than this machine can address"))
}

/// Parses a number of rows or threads: at least 1.
pub(crate) fn rows(text: &str) -> Result<NonZero<usize>, String> {
    many(text).and_then(|number| number.try_into().map_err(|_| "too large".to_owned()))
}

/// Parses a count: at least 1.
pub(crate) fn many(text: &str) -> Result<NonZero<u64>, String> {
    match text.parse::<u64>() {
        Ok(number) => NonZero::new(number).ok_or_else(|| "it has to be at least 1".to_owned()),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err("too large".to_owned()),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_things_are_at_least_one() {
        assert_eq!(rows("7").map(NonZero::get), Ok(7));
        for (text, says) in [
            ("0", "at least 1"),
            ("-1", "whole"),
            ("1.5", "whole"),
            ("", "whole"),
            ("99999999999999999999", "too large"),
        ] {
            assert!(rows(text).is_err_and(|error| error.contains(says)), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65536),
            ("1.5m", 3 << 19),
            ("2GiB", 2 << 30),
            ("1 GB", 1 << 30),
            ("7B", 7),
            (".5K", 512),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1..5", "1x", "1.2.3G", "99999999999T", "1e9"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
