//! Facts of an array, in the overview and in its section.

use super::html::escaped;
use crate::report::Inspected;
use crate::report::inspected::{byte_order, mean_words, memory_order, smallest_parts};
use crate::words::{bytes, grouped, rounded, shape};
use std::fmt::Display;
use tensorferry::{Kind, Scalar};

/// Characters of a fact above which it spans two columns.
const LONG: usize = 24;
/// Characters of a title; the middle of a longer one is left out.
const LETTERS: usize = 200;

/// A line of the overview, with a link to a section.
pub(super) fn overview_row(section: Option<usize>, array: &Inspected) -> String {
    let (smallest, _) = smallest_parts(array);
    let title = escaped(&shortened(&array.title()));
    let title =
        section.map_or(title.clone(), |number| format!("<a href=\"#array-{number}\">{title}</a>"));
    format!(
        "<tr><td class=\"name\">{title}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
        <td>{smallest}</td></tr>",
        array.dtype,
        shape(&array.shape),
        bytes(array.bytes_in(array.dtype)),
        range(array),
    )
}

/// A name, without its middle if it is long.
pub(super) fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LETTERS {
        return name.to_owned();
    }
    let (begin, end) = (&letters[..LETTERS / 2], &letters[letters.len() - LETTERS / 2..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

/// The range as text.
fn range(array: &Inspected) -> String {
    let value = |value: Scalar| {
        if array.dtype.kind() == Kind::Complex { mean_words(value) } else { value.to_string() }
    };
    match array.summary.range {
        Some((low, high)) => format!("{} to {}", value(low), value(high)),
        None => "none".into(),
    }
}

pub(super) fn facts(array: &Inspected) -> String {
    let summary = &array.summary;
    let mut facts = String::from("<dl class=\"facts\">\n");
    let mut fact = |class: &str, name: &str, value: &dyn Display, more: &dyn Display| {
        facts += &format!(
            "<div class=\"{class}\"><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>\n"
        );
    };
    let order = |words: &'static str| words.trim_start_matches(", ");
    let files = if array.files > 1 { format!("{} files", array.files) } else { String::new() };
    fact("", "format", &array.format, &files);
    fact("", "dtype", &array.dtype, &order(byte_order(array)));
    fact("", "shape", &shape(&array.shape), &order(memory_order(array)));
    let elements = array.count() as u64;
    let many = format!("{} element{}", grouped(elements), if elements == 1 { "" } else { "s" });
    fact("", "size", &bytes(array.bytes_in(array.dtype)), &many);
    if elements > 0 {
        let of = if array.dtype.kind() == Kind::Complex {
            "of the absolute values"
        } else {
            "of the finite values"
        };
        let of = if array.dtype.kind() == Kind::Float || array.dtype.kind() == Kind::Complex {
            of
        } else {
            ""
        };
        let range = range(array);
        fact(if range.len() > LONG { "long" } else { "" }, "range", &range, &of);
        fact("", "mean", &summary.mean.map_or("none".into(), mean_words), &"");
        if matches!(array.dtype.kind(), Kind::Float | Kind::Complex) {
            let percent =
                |count: u64| format!("{} %", rounded(100.0 * count as f64 / elements as f64, 3));
            let infinite = summary.positive_infinity + summary.negative_infinity;
            fact("", "NaN", &grouped(summary.nan), &percent(summary.nan));
            fact("", "infinite", &grouped(infinite), &percent(infinite));
        }
        let (dtype, saves) = smallest_parts(array);
        let class = if saves.is_some() { "saves" } else { "" };
        fact(class, "smallest dtype", &dtype, &saves.unwrap_or_else(|| "as it is".into()));
    }
    facts + "</dl>\n"
}
