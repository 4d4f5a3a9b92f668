//! An inspected array, and text for what was found.

use crate::summary::Summary;
use crate::words::{bytes, rounded};
use std::path::PathBuf;
use tensorferry::{ByteOrder, DType, Format, Scalar, Stored};

/// An array and its summary.
#[derive(Debug)]
pub(crate) struct Inspected {
    /// The file, or the pattern of files.
    pub(crate) path: PathBuf,
    /// The number of its files.
    pub(crate) files: usize,
    pub(crate) format: Format,
    /// Its name in the file, if it has one.
    pub(crate) name: Option<String>,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) stored: Option<Stored>,
    pub(crate) summary: Summary,
}

impl Inspected {
    /// The number of elements.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the elements, in a dtype.
    pub(crate) fn bytes_in(&self, dtype: DType) -> usize {
        self.count() * dtype.size()
    }

    /// The file, and the name in it.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{}: {name}", self.path.display()),
            None => self.path.display().to_string(),
        }
    }
}

/// A computed number, rounded.
pub(super) fn mean_words(mean: Scalar) -> String {
    match mean {
        Scalar::Float64(mean) => rounded(mean, 6),
        Scalar::Complex(re, im) => {
            format!(
                "{}{}{}j",
                rounded(re, 6),
                if im.is_sign_negative() { "-" } else { "+" },
                rounded(im.abs(), 6)
            )
        }
        other => other.to_string(),
    }
}

pub(super) fn byte_order(array: &Inspected) -> &'static str {
    match array.stored.filter(|_| array.dtype.size() > 1) {
        Some(stored) if (stored.order == ByteOrder::Native) == cfg!(target_endian = "little") => {
            ", little-endian"
        }
        Some(_) => ", big-endian",
        None => "",
    }
}

pub(super) fn memory_order(array: &Inspected) -> &'static str {
    match array.stored.filter(|_| array.shape.len() > 1) {
        Some(stored) if stored.column_major => ", column-major",
        Some(_) => ", row-major",
        None => "",
    }
}

/// The smallest dtype, and the bytes that it saves if it is another.
pub(super) fn smallest_parts(array: &Inspected) -> (DType, Option<String>) {
    let now = array.bytes_in(array.dtype);
    match array.summary.smallest.filter(|dtype| dtype.size() < array.dtype.size()) {
        Some(dtype) => {
            let then = array.bytes_in(dtype);
            let percent = 100.0 * (now - then) as f64 / now as f64;
            (dtype, Some(format!("{}, {} % less", bytes(then), rounded(percent, 3))))
        }
        None => (array.dtype, None),
    }
}
