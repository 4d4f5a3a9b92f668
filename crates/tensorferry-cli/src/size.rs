//! Numbers of bytes as people write them.

/// So many bytes.
pub(crate) type Size = usize;

/// `4096`, `64K`, `1.5M`, `2G`, `2GiB`: K, M, G and T are 1024 of the one before.
pub(crate) fn parse(text: &str) -> Result<Size, String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let power = match unit.trim().trim_end_matches(['b', 'B']).trim_end_matches('i').to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{unit:?} is none of K, M, G, T")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| format!("{text:?} is no number of bytes, such as 64M"))?;
    let scale = u32::try_from(fraction.len()).ok().and_then(|places| 10_u128.checked_pow(places));
    let bytes = scale.and_then(|scale| Some(digits.checked_mul(1 << power)? / scale));
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| format!("{text} is more memory than there can be"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
