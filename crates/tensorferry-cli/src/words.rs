//! Numbers and names as text.

use crate::summary::Bars;
use indicatif::{BinaryBytes, HumanCount};
use tensorferry::Scalar;

/// Text with its control characters escaped, which a terminal would execute.
pub(crate) fn printable(text: &str) -> String {
    let shown = |letter: char| {
        if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() }
    };
    text.chars().map(shown).collect()
}

/// A shape as NumPy writes it: `(3,)`.
pub(crate) fn shape(dims: &[usize]) -> String {
    match dims {
        [only] => format!("({only},)"),
        _ => format!("({})", dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    HumanCount(count).to_string()
}

/// `4.20 MiB`.
pub(crate) fn bytes(count: usize) -> String {
    BinaryBytes(count as u64).to_string()
}

/// A number with this many significant digits, without trailing zeros.
pub(crate) fn rounded(value: f64, digits: usize) -> String {
    let value: f64 = format!("{value:.*e}", digits.max(1) - 1).parse().unwrap_or(value);
    if value == 0.0 {
        return "0".into(); // and not -0
    }
    if (1e-4..1e15).contains(&value.abs()) { value.to_string() } else { format!("{value:e}") }
}

/// The label of each interval of a histogram of values from `low` to `high`.
pub(crate) fn labels(bars: &Bars, (low, high): (Scalar, Scalar)) -> Vec<String> {
    let pairs = || bars.edges.windows(2);
    match (low, high) {
        (Scalar::Bool(low), _) if bars.counts.len() == 1 => vec![Scalar::Bool(low).to_string()],
        (Scalar::Bool(_), _) => [false, true].map(|value| Scalar::Bool(value).to_string()).into(),
        (Scalar::Int(low), Scalar::Int(high)) => {
            pairs().map(|pair| whole(pair, low, high)).collect()
        }
        _ if low == high => vec![low.to_string()],
        _ => {
            let greatest = bars.edges.iter().map(|edge| float(*edge).abs()).fold(0.0, f64::max);
            let width = pairs().next().map_or(1.0, |pair| float(pair[1]) - float(pair[0]));
            // Enough that neighbouring edges differ.
            let digits = digits((greatest / width).log10().ceil() + 2.0);
            let edge = |edge: Scalar| rounded(float(edge), digits);
            pairs().map(|pair| format!("{} to {}", edge(pair[0]), edge(pair[1]))).collect()
        }
    }
}

/// The integers of an interval, within the range of the values.
fn whole(edges: &[Scalar], low: i128, high: i128) -> String {
    let [Scalar::Int(from), Scalar::Int(to)] = *edges else { return String::new() };
    let (from, to) = (from.max(low), (to - 1).min(high));
    if from < to { format!("{from} to {to}") } else { from.to_string() }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
pub(crate) fn digits(count: f64) -> usize {
    count.clamp(3.0, 17.0) as usize
}

pub(crate) fn float(value: Scalar) -> f64 {
    match value {
        Scalar::Float64(value) => value,
        Scalar::Float32(value) => value.into(),
        Scalar::Int(value) => value as f64,
        Scalar::Bool(value) => value.into(),
        Scalar::Complex(re, im) => re.hypot(im),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_commands_to_a_terminal() {
        assert_eq!(printable("na\u{ef}ve \u{1b}[2J\n\u{9b}x"), "na\u{ef}ve \\u{1b}[2J\\n\\u{9b}x");
    }

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([0, 999, 1_234_567].map(grouped), ["0", "999", "1,234,567"]);
        assert_eq!([0, 999, 4_404_019].map(bytes), ["0 B", "999 B", "4.20 MiB"]);
        assert_eq!(
            [0.125, -0.0, 1e-9, 123_456.0, 2e20].map(|x| rounded(x, 3)),
            ["0.125", "0", "1e-9", "123000", "2e20"]
        );
    }
}
