//! Raw files: elements without a header, whose dtype and shape the caller provides.

use crate::array::array::Array;
use crate::array::shards;
use crate::cancel::CancelToken;
use crate::error::{Error, Hint, Result};
use crate::format::blocks;
use crate::format::file_format::{
    Capabilities, Checked, FileFormat, Format, HeaderAndArrays, OpenRequest, Opened, Raw,
};
use crate::storage::io_error::io;
use crate::storage::located::Located;
use crate::storage::read_at::ReadAt;
use crate::storage::section::read_all;
use crate::write::atomic::atomic_write;
use crate::write::destination::Destination;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{ByteOrder, Layout};

/// Why raw files need a dtype.
pub(crate) const UNDESCRIBED: &str = "a raw file does not say what it holds.";

/// The format.
pub(crate) struct RawFormat;

impl FileFormat for RawFormat {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn name(&self) -> &'static str {
        "raw"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["raw", "bin"]
    }

    fn begins(&self, _start: &[u8]) -> bool {
        false
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { one_array: true, resumable: true, ..Capabilities::default() }
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Opened> {
        let Some(raw) = &request.options.raw else {
            let what = format!("{}: {UNDESCRIBED}", request.sources[0].name().display());
            return Err(Error::argument("open", what).with_hint(Hint::Raw));
        };
        let located = request.sources.iter().map(|source| locate(source, raw));
        Ok(Opened::Array(shards::array(located.collect::<Result<_>>()?, request.mode)?))
    }

    fn save_array(&self, to: &Destination<'_>, array: &Array) -> Result<()> {
        atomic_write(to, |file| {
            blocks::of_array(array, |bytes| file.write_all(bytes).map_err(io("write", to.path)))
        })
    }

    fn header_and_arrays<'a>(
        &self,
        arrays: &'a [(String, Array)],
        _metadata: &BTreeMap<String, String>,
    ) -> Result<Option<HeaderAndArrays<'a>>> {
        let [(_, array)] = arrays else { return Ok(None) };
        Ok(Some((Vec::new(), vec![array])))
    }

    fn verify(
        &self,
        source: &Arc<dyn ReadAt>,
        raw: Option<&Raw>,
        cancel: &CancelToken,
    ) -> Result<Checked> {
        let Some(raw) = raw else {
            let what = format!(
                "{}: a raw file does not say what it holds, and has no checksum. Say what it \
                should hold.",
                source.name().display()
            );
            return Err(Error::argument("verify", what));
        };
        locate(source, raw)?;
        read_all(source, cancel)?;
        Ok(Checked { parts: 1, ..Checked::default() })
    }
}

/// Locates the elements of a raw file.
///
/// # Errors
/// [`Error::Argument`] for a shape with unknown lengths other than the first;
/// [`tensorferry_core::Error::Malformed`] if the file is not a whole number of rows;
/// [`tensorferry_core::Error::WrongLength`] if it is too short.
pub(crate) fn locate(file: &Arc<dyn ReadAt>, raw: &Raw) -> Result<Located> {
    let size = raw.dtype.size();
    let dims: Vec<Option<usize>> = raw.shape.dims().unwrap_or(&[None]).to_vec();
    let unknown = |dims: &[Option<usize>]| dims.iter().any(Option::is_none);
    if unknown(dims.get(1..).unwrap_or_default()) {
        let what =
            format!("shape {}: only the first length can be left to the file's length", raw.shape);
        return Err(Error::argument("open_raw", what));
    }
    let shape: Vec<usize> = match dims.split_first() {
        Some((None, row)) => {
            let row: Vec<usize> = row.iter().copied().flatten().collect();
            let rows = rows(file, raw.offset, Layout::contiguous(&row, size)?.nbytes())?;
            std::iter::once(rows).chain(row).collect()
        }
        _ => dims.into_iter().flatten().collect(),
    };
    let layout = Layout::contiguous(&shape, size)?;
    let order = if size == 1 { ByteOrder::Native } else { raw.order };
    Located {
        format: "raw",
        source: Arc::clone(file),
        offset: raw.offset,
        dtype: raw.dtype,
        order,
        layout,
    }
    .checked()
}

/// The number of rows of `row` bytes from `offset` to the end.
fn rows(file: &Arc<dyn ReadAt>, offset: u64, row: usize) -> Result<usize> {
    let wrong = |what: String| {
        Error::Core(CoreError::Malformed { format: "raw", offset, what }).in_file(file.name())
    };
    let Some(bytes) = file.len().checked_sub(offset) else {
        return Err(Error::Core(CoreError::WrongLength {
            format: "raw",
            expected: offset,
            actual: file.len(),
        })
        .in_file(file.name()));
    };
    match (bytes.checked_div(row as u64), bytes.checked_rem(row as u64)) {
        (Some(rows), Some(0)) => usize::try_from(rows).map_err(|_| wrong(format!("{rows} rows"))),
        (Some(_), Some(left)) => Err(wrong(format!(
            "{bytes} bytes are not a whole number of rows of {row} bytes: {left} are left over. \
            Check dtype, shape and offset."
        ))),
        _ => Err(wrong(
            "rows of 0 bytes: the length of the file does not tell their number. Pass the whole \
            shape."
                .into(),
        )),
    }
}
