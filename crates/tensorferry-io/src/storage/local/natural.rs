//! Natural order: `part-2` before `part-10`.

use std::cmp::Ordering;
use std::path::Path;

/// Compares names, with runs of digits by value.
pub(crate) fn compare(a: &Path, b: &Path) -> Ordering {
    let (left, right) = (a.as_os_str().as_encoded_bytes(), b.as_os_str().as_encoded_bytes());
    parts(left).cmp(parts(right)).then_with(|| left.cmp(right))
}

/// Splits a name. A run of digits becomes its length without leading zeros, and those digits.
/// Digits sort before other bytes.
fn parts(mut name: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let zeros =
            name.iter().take(digits.saturating_sub(1)).take_while(|byte| **byte == b'0').count();
        let part = if digits > 0 {
            (digits - zeros, name.get(zeros..digits)?)
        } else {
            (usize::MAX, name.get(..1)?)
        };
        name = name.get(digits.max(1)..)?;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_compared_by_value() {
        let sorted = [
            "7/a",
            "a",
            "a/0/b",
            "a/00/b",
            "a/1/b-9",
            "a/1/b-10",
            "a/2/b",
            "a/10/b",
            "part-2.npy",
            "part-002b.npy",
            "part-10.npy",
            "part-18446744073709551615",
            "part-18446744073709551616",
            "part-a",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(Path::new(a), Path::new(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }
}
