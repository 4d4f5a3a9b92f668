//! Tables of the columns of an array, and of some rows.

use super::histogram;
use super::html::table;
use crate::outcome::Outcome;
use crate::report::Inspected;
use crate::report::inspected::mean_words;
use crate::words::{bytes, grouped, rounded};
use tensorferry::convert::scalar;
use tensorferry::{Array, ByteOrder, DType, Kind, Scalar};

/// Elements shown of a row.
const ELEMENTS: usize = 12;
/// Digits shown of a float.
const DIGITS: usize = 6;
/// Rows of more bytes are not shown.
const LONGEST: usize = 16 << 20;

/// Summaries of the columns of a two-dimensional array.
pub(super) fn columns(array: &Inspected) -> String {
    let columns = &array.summary.columns;
    let all = array.shape.get(1).copied().unwrap_or(0);
    if columns.is_empty() || array.count() == 0 {
        return String::new();
    }
    let floats = array.dtype.kind() == Kind::Float;
    let mut rows = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let (low, high) = column
            .range
            .map_or_else(Default::default, |(low, high)| (low.to_string(), high.to_string()));
        let mean = column.mean.map_or_else(String::new, mean_words);
        let nan = if floats {
            format!(
                "<td>{}</td><td>{}</td>",
                grouped(column.nan),
                grouped(column.positive_infinity + column.negative_infinity)
            )
        } else {
            String::new()
        };
        let smallest = column.smallest.map_or_else(String::new, |dtype| dtype.to_string());
        rows.push(format!(
            "<tr><th class=\"name\" scope=\"row\">{at}</th><td>{low}</td><td>{high}</td>\
            <td>{mean}</td>{nan}<td>{smallest}</td><td>{}</td></tr>",
            histogram::small(&column.fine)
        ));
    }
    let head: &[&str] = if floats {
        &["column", "min", "max", "mean", "NaN", "infinite", "smallest dtype", "histogram"]
    } else {
        &["column", "min", "max", "mean", "smallest dtype", "histogram"]
    };
    let some = if columns.len() < all {
        format!(" (the first {} of {})", columns.len(), grouped(all as u64))
    } else {
        String::new()
    };
    let of = if array.dtype.kind() == Kind::Complex { ", of absolute values" } else { "" };
    format!(
        "<h3>Columns{of}{some}</h3>\n{}",
        table("Columns", head, rows.iter().map(String::as_str))
    )
}

/// Rows from the start, the middle and the end.
pub(super) fn rows(array: &Array, inspected: &Inspected) -> Outcome<String> {
    let (len, row) = (array.len(), array.nbytes().checked_div(array.len()).unwrap_or(0));
    let Some(inner) = inspected.shape.get(1..).filter(|_| len > 0 && row > 0) else {
        return Ok(String::new());
    };
    if row > LONGEST {
        return Ok(format!("<h3>Rows</h3>\n<p>Rows of {} are not shown.</p>\n", bytes(row)));
    }
    let elements = row / inspected.dtype.size();
    let head: Vec<String> = (0..elements.min(ELEMENTS)).map(|at| index(at, inner)).collect();
    let more = elements > ELEMENTS;
    let head: Vec<&str> = std::iter::once("row")
        .chain(head.iter().map(String::as_str))
        .chain(more.then_some("…"))
        .collect();
    let mut html = Vec::new();
    let mut before = None;
    for at in sampled(len) {
        if before.is_some_and(|before| before + 1 < at) {
            html.push(format!(
                "<tr><th class=\"name\" scope=\"row\">…</th><td colspan=\"{}\"></td></tr>",
                head.len() - 1
            ));
        }
        before = Some(at);
        let tensor = array.rows(&[at])?;
        let view = tensor.as_view();
        let values = view.as_bytes().unwrap_or_default();
        let mut cells = format!("<tr><th class=\"name\" scope=\"row\">{}</th>", grouped(at as u64));
        for element in values.chunks(inspected.dtype.size()).take(ELEMENTS) {
            cells += &format!("<td>{}</td>", value(inspected.dtype, element));
        }
        if more {
            cells += "<td>…</td>";
        }
        html.push(cells + "</tr>");
    }
    let floats = matches!(inspected.dtype.kind(), Kind::Float | Kind::Complex);
    let note = if floats { format!(", to {DIGITS} digits") } else { String::new() };
    Ok(format!("<h3>Rows{note}</h3>\n{}", table("Rows", &head, html.iter().map(String::as_str))))
}

/// The index of an element within a row of this shape.
fn index(at: usize, inner: &[usize]) -> String {
    let mut rest = at;
    let mut parts: Vec<String> = Vec::new();
    for dim in inner.iter().rev() {
        parts.push((rest % dim.max(&1)).to_string());
        rest /= dim.max(&1);
    }
    parts.reverse();
    if parts.is_empty() { "value".into() } else { parts.join(", ") }
}

/// One element as text.
fn value(dtype: DType, element: &[u8]) -> String {
    let value = scalar::read(dtype, ByteOrder::Native, element).to_scalar(dtype);
    match value {
        Scalar::Float32(float) if float.is_finite() => rounded(float.into(), DIGITS),
        Scalar::Float64(float) if float.is_finite() => rounded(float, DIGITS),
        Scalar::Complex(re, im) if re.is_finite() && im.is_finite() => mean_words(value),
        value => value.to_string(),
    }
}

/// The indices of the rows shown.
fn sampled(len: usize) -> Vec<usize> {
    if len <= 14 {
        return (0..len).collect();
    }
    let middle = len / 2;
    [0, 1, 2, 3, 4, middle - 1, middle, middle + 1, len - 3, len - 2, len - 1].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_named_by_their_place_in_the_row() {
        assert_eq!((0..3).map(|at| index(at, &[3])).collect::<Vec<_>>(), ["0", "1", "2"]);
        assert_eq!(
            (0..5).map(|at| index(at, &[2, 2])).collect::<Vec<_>>()[..4],
            ["0, 0", "0, 1", "1, 0", "1, 1"]
        );
        assert_eq!(index(0, &[]), "value");
    }

    #[test]
    fn rows_shown_are_there_once_and_in_order() {
        for len in 0..200 {
            let rows = sampled(len);
            assert!(
                rows.is_sorted_by(|a, b| a < b) && rows.iter().all(|row| *row < len),
                "{rows:?}"
            );
            assert_eq!(rows.len(), if len <= 14 { len } else { 11 });
        }
    }
}
