//! The HTML page of `tensorferry inspect --report`: one file with embedded pictures, without
//! scripts.

mod facts;
mod histogram;
mod html;
mod images;
mod signal;
mod tables;

use super::Inspected;
use crate::outcome::{Outcome, wrong};
use crate::words::{bytes, grouped};
use facts::{facts, overview_row, shortened};
use html::{escaped, table};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use tensorferry::{Array, WriteOptions, remove_leftovers, write_file_with};

const STYLE: &str = include_str!("style.css");

/// The greatest number of columns that are summarized.
pub(crate) const COLUMNS: usize = 64;

/// Bytes of sections after which further arrays are only in the overview.
const LENGTH: usize = 24 << 20;
/// The greatest number of arrays in the overview.
const OVERVIEW: usize = 10_000;

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Page {
    sections: Vec<String>,
    /// A line for each array.
    overview: Vec<String>,
    bytes: usize,
    /// The number of arrays.
    count: usize,
    /// The name of the first array.
    first: String,
    /// Bytes of all sections.
    length: usize,
    /// The inspected files, which the page must not replace.
    sources: HashSet<PathBuf>,
}

impl Page {
    /// Adds a section for an array.
    pub(crate) fn add(&mut self, array: &Array, inspected: &Inspected) -> Outcome {
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

    /// Whether the page has no sections.
    pub(crate) fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Writes the page atomically.
    pub(crate) fn write(&self, path: &Path, options: &WriteOptions) -> Outcome {
        if fs::canonicalize(path).is_ok_and(|path| self.sources.contains(&path)) {
            return Err(wrong(format!(
                "--report: {} is one of the files to inspect. Write to another name.",
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
            page += &table(
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
        // Left by killed processes.
        remove_leftovers(path)?;
        Ok(write_file_with(path, options, |file| file.write_all(page.as_bytes()))?)
    }
}
