//! `tensorferry inspect --report`: a page for people. It loads nothing: pictures are in it, and
//! there are no scripts.

mod histogram;
mod images;
mod signal;
mod tables;

use super::text::{byte_order, memory_order, smallest_parts};
use super::{Inspected, text};
use crate::outcome::{Outcome, wrong};
use crate::words::{bytes, grouped, rounded, shape};
use std::collections::HashSet;
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorferry::{Array, Kind, Scalar, remove_leftovers, write_file};

const STYLE: &str = include_str!("style.css");

/// How many columns of an array of two dimensions are looked at.
pub(super) const COLUMNS: usize = 64;

/// Once the sections are so many bytes, further arrays are in the overview only.
const LENGTH: usize = 24 << 20;
/// Arrays in the overview.
const OVERVIEW: usize = 10_000;
/// Letters of a fact that takes the room of two.
const LONG: usize = 24;
/// Letters of a title: those in the middle of a longer one are left out.
const LETTERS: usize = 200;

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    sections: Vec<String>,
    /// A line for each array.
    overview: Vec<String>,
    bytes: usize,
    /// How many arrays there are.
    count: usize,
    /// The name of the first.
    first: String,
    /// Bytes of all sections.
    length: usize,
    /// The files that are shown, which the page may not replace.
    sources: HashSet<PathBuf>,
}

impl Page {
    /// Adds what is known of an array, and some of what is in it.
    pub(super) fn add(&mut self, array: &Array, inspected: &Inspected) -> Outcome {
        self.sources.extend(array.paths().filter_map(|path| fs::canonicalize(path).ok()));
        self.bytes += inspected.bytes_in(inspected.dtype);
        self.count += 1;
        if self.length >= LENGTH {
            self.overview.extend((self.count <= OVERVIEW).then(|| overview_row(None, inspected)));
            return Ok(());
        }
        let number = self.sections.len() + 1;
        let title = shortened(&inspected.title());
        if self.sections.is_empty() {
            self.first.clone_from(&title);
        }
        let mut section =
            format!("<section id=\"array-{number}\">\n<h2>{}</h2>\n", escaped(&title));
        section += &facts(inspected);
        section += &histogram::drawn(&inspected.summary, &title);
        section += &signal::drawn(array, inspected, &title)?;
        section += &images::shown(array, inspected)?;
        section += &tables::columns(inspected);
        section += &tables::rows(array, inspected)?;
        section += "</section>\n";
        self.length += section.len();
        self.sections.push(section);
        self.overview
            .extend((self.count <= OVERVIEW).then(|| overview_row(Some(number), inspected)));
        Ok(())
    }

    /// Whether there is nothing on it.
    pub(super) fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Writes the page, so that its name stands for a whole one.
    pub(super) fn write(&self, path: &Path) -> Outcome {
        if fs::canonicalize(path).is_ok_and(|path| self.sources.contains(&path)) {
            return Err(wrong(format!(
                "--report: {} is one of the files to be looked at",
                path.display()
            )));
        }
        let count = self.count;
        let title = if count == 1 {
            self.first.clone()
        } else {
            format!("{} and {} more", self.first, count - 1)
        };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
             'unsafe-inline'; img-src data:\">\n\
             <title>{}, \
             inspected</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Arrays, \
             inspected</h1>\n\
             <p>{} array{}, {}</p>\n",
            escaped(&title),
            grouped(count as u64),
            if count == 1 { "" } else { "s" },
            bytes(self.bytes)
        );
        if count > 1 {
            page += &tables::table(
                "Arrays",
                &["array", "dtype", "shape", "size", "values", "smallest dtype"],
                self.overview.iter().map(String::as_str),
            );
        }
        if self.overview.len() < count {
            page +=
                &format!("<p>The first {} are listed.</p>\n", grouped(self.overview.len() as u64));
        }
        if self.sections.len() < count {
            let shown = grouped(self.sections.len() as u64);
            page += &format!(
                "<p>Only the first {shown} are shown further below: the page would be too \
                long.</p>\n"
            );
        }
        page.extend(self.sections.iter().map(String::as_str));
        page += &format!(
            "<footer>Written by tensorferry {}</footer>\n</main>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        );
        // Of processes that were killed.
        remove_leftovers(path)?;
        Ok(write_file(path, |file| file.write_all(page.as_bytes()))?)
    }
}

/// A line of the overview, and a link to the section of this number.
fn overview_row(section: Option<usize>, array: &Inspected) -> String {
    let (smallest, _) = smallest_parts(array);
    let title = escaped(&shortened(&array.title()));
    let title =
        section.map_or(title.clone(), |number| format!("<a href=\"#array-{number}\">{title}</a>"));
    format!(
        "<tr><td class=\"name\">{title}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{smallest}</td></tr>",
        array.dtype,
        shape(&array.shape),
        bytes(array.bytes_in(array.dtype)),
        range(array),
    )
}

/// A name that fits on a page.
fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LETTERS {
        return name.to_owned();
    }
    let (begin, end) = (&letters[..LETTERS / 2], &letters[letters.len() - LETTERS / 2..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

/// The range in words.
fn range(array: &Inspected) -> String {
    let value = |value: Scalar| {
        if array.dtype.kind() == Kind::Complex {
            text::mean_words(value)
        } else {
            value.to_string()
        }
    };
    match array.summary.range {
        Some((low, high)) => format!("{} to {}", value(low), value(high)),
        None => "none".into(),
    }
}

fn facts(array: &Inspected) -> String {
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
        fact("", "mean", &summary.mean.map_or("none".into(), text::mean_words), &"");
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

/// Text inside of an element or of a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // What no page may hold.
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}
