//! Tables: the columns of an array, and some of its rows.

use super::{escaped, histogram};
use crate::inspect::Inspected;
use crate::inspect::text::mean_words;
use crate::outcome::Outcome;
use crate::words::{bytes, grouped};
use tensorferry::convert::scalar;
use tensorferry::{Array, ByteOrder, DType, Kind};

/// Elements of a row that are shown.
const ELEMENTS: usize = 12;
/// Rows of more bytes are not read again to be shown.
const LONGEST: usize = 16 << 20;

/// A table, in a box that scrolls where it is too wide.
pub(super) fn table<'a>(head: &[&str], rows: impl Iterator<Item = &'a str>) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for (at, name) in head.iter().enumerate() {
        let class = if at == 0 { " class=\"name\"" } else { "" };
        html += &format!("<th{class} scope=\"col\">{}</th>", escaped(name));
    }
    html += "</tr></thead>\n<tbody>\n";
    for row in rows {
        html += row;
        html.push('\n');
    }
    html + "</tbody>\n</table></div>\n"
}

/// What is known of the columns of an array of two dimensions.
pub(super) fn columns(array: &Inspected) -> String {
    let columns = &array.summary.columns;
    let all = array.shape.get(1).copied().unwrap_or(0);
    if columns.is_empty() || array.count() == 0 {
        return String::new();
    }
    let floats = array.dtype.kind() == Kind::Float;
    let mut rows = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let (low, high) = column.range.map_or_else(Default::default, |(low, high)| (low.to_string(), high.to_string()));
        let mean = column.mean.map_or_else(String::new, mean_words);
        let nan = if floats {
            format!("<td>{}</td><td>{}</td>", grouped(column.nan), grouped(column.positive_infinity + column.negative_infinity))
        } else {
            String::new()
        };
        let smallest = column.smallest.map_or_else(String::new, |dtype| dtype.to_string());
        rows.push(format!(
            "<tr><th class=\"name\" scope=\"row\">{at}</th><td>{low}</td><td>{high}</td><td>{mean}</td>{nan}<td>{smallest}</td><td>{}</td></tr>",
            histogram::small(&column.fine)
        ));
    }
    let head: &[&str] = if floats {
        &["column", "min", "max", "mean", "NaN", "infinite", "smallest dtype", "histogram"]
    } else {
        &["column", "min", "max", "mean", "smallest dtype", "histogram"]
    };
    let some =
        if columns.len() < all { format!(" (the first {} of {})", columns.len(), grouped(all as u64)) } else { String::new() };
    let of = if array.dtype.kind() == Kind::Complex { ", of absolute values" } else { "" };
    format!("<h3>Columns{of}{some}</h3>\n{}", table(head, rows.iter().map(String::as_str)))
}

/// Some rows from the beginning, the middle and the end.
pub(super) fn rows(array: &Array, inspected: &Inspected) -> Outcome<String> {
    let (len, row) = (array.len(), array.nbytes().checked_div(array.len()).unwrap_or(0));
    if len == 0 || row == 0 {
        return Ok(String::new());
    }
    if row > LONGEST {
        return Ok(format!("<h3>Rows</h3>\n<p>Rows of {} are not shown.</p>\n", bytes(row)));
    }
    let mut html = Vec::new();
    let mut before = None;
    for at in sampled(len) {
        if before.is_some_and(|before| before + 1 < at) {
            html.push("<tr><th class=\"name\" scope=\"row\">…</th></tr>".to_owned());
        }
        before = Some(at);
        let tensor = array.rows(&[at])?;
        let view = tensor.as_view();
        let values = view.as_bytes().unwrap_or_default();
        let mut cells = format!("<tr><th class=\"name\" scope=\"row\">{}</th>", grouped(at as u64));
        for element in values.chunks(inspected.dtype.size()).take(ELEMENTS) {
            cells += &format!("<td>{}</td>", value(inspected.dtype, element));
        }
        if row / inspected.dtype.size() > ELEMENTS {
            cells += "<td>…</td>";
        }
        html.push(cells + "</tr>");
    }
    let width = (row / inspected.dtype.size()).min(ELEMENTS + 1);
    // Of rows of one dimension, what a value's index is; of others, its place in the row.
    let indices: Vec<String> = (0..width).map(|at| if at == ELEMENTS { String::new() } else { at.to_string() }).collect();
    let head: Vec<&str> =
        std::iter::once("row").chain(indices.iter().map(|at| if inspected.shape.len() == 2 { at.as_str() } else { "" })).collect();
    Ok(format!("<h3>Rows</h3>\n{}", table(&head, html.iter().map(String::as_str))))
}

/// One element in words.
fn value(dtype: DType, element: &[u8]) -> String {
    scalar::read(dtype, ByteOrder::Native, element).to_scalar(dtype).to_string()
}

/// The numbers of the rows shown.
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
    fn rows_shown_are_there_once_and_in_order() {
        for len in 0..200 {
            let rows = sampled(len);
            assert!(rows.is_sorted_by(|a, b| a < b) && rows.iter().all(|row| *row < len), "{rows:?}");
            assert_eq!(rows.len(), if len <= 14 { len } else { 11 });
        }
    }
}
