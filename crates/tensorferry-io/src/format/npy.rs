//! `.npy`: one array in one file, NumPy's own format.
//!
//! # Examples
//! ```
//! use tensorferry_core::Tensor;
//! use tensorferry_io::{open_npy, save_npy};
//!
//! let directory = tempfile::tempdir().unwrap();
//! let path = directory.path().join("squares.npy");
//! save_npy(&path, &Tensor::from_vec(vec![0_i64, 1, 4, 9], &[2, 2])?.as_view())?;
//! assert_eq!(open_npy(&path)?.view::<i64>()?.get(&[1, 1]), Some(9));
//! # Ok::<(), tensorferry_io::Error>(())
//! ```
//!
//! # Limitations
//! [`open_npy`](crate::open::open_npy) maps the file and does not copy it. It checks the length
//! once and cannot detect later changes. If the file is truncated while the tensor exists, reading
//! beyond its new end ends the process (SIGBUS). If it is overwritten in place, the tensor's values
//! change. Atomic writes, such as [`save_npy`]'s, are safe.

use crate::array::array::Array;
use crate::array::shards;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::format::blocks;
use crate::format::file_format::{
    Capabilities, Checked, FileFormat, Format, HeaderAndArrays, OpenRequest, Opened, Raw,
    no_features,
};
use crate::format::npy::header::read_header;
use crate::storage::io_error::io;
use crate::storage::located::Located;
use crate::storage::read_at::ReadAt;
use crate::storage::section::{Section, read_all};
use crate::write::atomic::atomic_write;
use crate::write::destination::{Destination, WriteOptions};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::npy_header;
use tensorferry_core::npy_header::Header;
use tensorferry_core::{ByteOrder, View};

/// The format.
pub(crate) struct Npy;

impl FileFormat for Npy {
    fn format(&self) -> Format {
        Format::Npy
    }

    fn name(&self) -> &'static str {
        "npy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn begins(&self, start: &[u8]) -> bool {
        start.starts_with(b"\x93NUMPY")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            one_array: true,
            resumable: true,
            self_describing: true,
            ..Capabilities::default()
        }
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Opened> {
        if records::are_records(request.sources)? {
            return records::open(request);
        }
        if !request.options.features.is_empty() {
            return Err(no_features(Format::Npy));
        }
        let located = request.sources.iter().map(locate).collect::<Result<Vec<_>>>()?;
        for array in &located {
            let trailing = trailing(array);
            if trailing > 0 {
                // Several arrays saved one after another in a file look like one.
                log::warn!(
                    "{}: left out: {trailing} bytes after the array",
                    array.source.name().display()
                );
            }
        }
        Ok(Opened::Array(shards::array(located, request.mode)?))
    }

    fn save_array(&self, to: &Destination<'_>, array: &Array) -> Result<()> {
        atomic_write(to, |file| {
            write(array, |bytes| file.write_all(bytes).map_err(io("write", to.path)))
        })
    }

    fn header_and_arrays<'a>(
        &self,
        arrays: &'a [(String, Array)],
        _metadata: &BTreeMap<String, String>,
    ) -> Result<Option<HeaderAndArrays<'a>>> {
        let [(_, array)] = arrays else { return Ok(None) };
        let header = npy_header::write(array.dtype(), ByteOrder::Native, array.shape(), false)?;
        Ok(Some((header, vec![array])))
    }

    fn verify(
        &self,
        source: &Arc<dyn ReadAt>,
        _raw: Option<&Raw>,
        cancel: &CancelToken,
    ) -> Result<Checked> {
        let trailing = match records::located(source)? {
            Some(file) => file.trailing(),
            None => trailing(&locate(source)?),
        };
        read_all(source, cancel)?;
        Ok(Checked { parts: 1, checksum: None, trailing })
    }
}

/// Bytes after the array.
fn trailing(array: &Located) -> u64 {
    let end = array.offset.saturating_add(array.layout.nbytes() as u64);
    array.source.len().saturating_sub(end)
}

/// Locates the elements of a `.npy` file.
///
/// # Errors
/// Errors of the header inside [`crate::Error::InFile`]; [`tensorferry_core::Error::WrongLength`].
pub fn locate(file: &Arc<dyn ReadAt>) -> Result<Located> {
    let header = read_header(&mut Section::whole(file), io("read", file.name()))
        .map_err(|error| error.in_file(file.name()))?;
    let Header { dtype, order, layout, data_offset, .. } = header;
    Located {
        format: "npy",
        source: Arc::clone(file),
        offset: data_offset as u64,
        dtype,
        order,
        layout,
    }
    .checked()
}

/// Writes an array to a `.npy` file as `np.save` does, but atomically.
///
/// The bytes go to a temporary file in the same directory, which is synced and renamed: a reader
/// sees the old file or the new one, and on failure the old one stays. An array packed in row-major
/// or column-major order keeps it; any other is written in row-major order, a megabyte at a time.
/// Bytes are in this machine's order.
///
/// # Errors
/// [`crate::Error::Io`]; [`tensorferry_core::Error::UnsupportedDType`] for bfloat16, which `.npy`
/// cannot represent (convert to float32, which represents all its values).
pub fn save_npy(path: impl AsRef<Path>, src: &View<'_>) -> Result<()> {
    save_npy_with(path, src, &WriteOptions::default())
}

/// As [`save_npy`], with options.
///
/// # Errors
/// As [`save_npy`]; [`crate::Error::Argument`] for wrong options; [`crate::Error::Interrupted`].
pub fn save_npy_with(path: impl AsRef<Path>, src: &View<'_>, options: &WriteOptions) -> Result<()> {
    let path = path.as_ref();
    let to = Destination { path, options, bytes: src.layout().nbytes() as u64 };
    atomic_write(&to, |file| {
        write_view(src, |bytes| file.write_all(bytes).map_err(io("write", path)))
    })
}

/// Writes an array as a `.npy` file, or as a member of an archive.
pub(crate) fn write(array: &Array, mut out: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    if let Ok(tensor) = array.tensor()
        && is_column_major(&tensor.as_view())
        && tensor.as_view().has_normal_bools()
    {
        out(&npy_header::write(array.dtype(), ByteOrder::Native, array.shape(), true)?)?;
        // Use chunks as large as those of other arrays.
        let view = tensor.as_view();
        let bytes = view.as_bytes().unwrap_or_default();
        return bytes.chunks(array.chunk().max(1)).try_for_each(|chunk| {
            out(chunk)?;
            array.count(chunk.len())
        });
    }
    out(&npy_header::write(array.dtype(), ByteOrder::Native, array.shape(), false)?)?;
    blocks::of_array(array, out)
}

fn write_view(view: &View<'_>, mut out: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    if !view.has_normal_bools() {
        return write_view(
            &crate::convert::convert(view, view.dtype(), tensorferry_core::Casting::Checked)?
                .as_view(),
            out,
        );
    }
    let fortran = is_column_major(view);
    out(&npy_header::write(view.dtype(), ByteOrder::Native, view.layout().shape(), fortran)?)?;
    match view.as_bytes() {
        Some(bytes) if fortran => out(bytes),
        _ => blocks::of_view(view, out),
    }
}

/// Whether the elements are packed in column-major but not in row-major order.
fn is_column_major(view: &View<'_>) -> bool {
    view.byte_order() == ByteOrder::Native
        && view.layout().is_f_contiguous()
        && !view.layout().is_c_contiguous()
}

pub(crate) mod header;
mod records;
#[cfg(test)]
mod tests;
