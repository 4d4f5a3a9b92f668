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
//! # Ok::<(), tensorferry_core::Error>(())
//! ```
//!
//! # Limitations
//! What is opened is a mapping of the file, not a copy. The length is checked before mapping; what
//! nobody can check is what happens to the file afterwards. If it is truncated while the tensor
//! lives, reading beyond its new end ends the process (SIGBUS); if it is overwritten in place, the
//! tensor's values change. Replace files by renaming, as [`save_npy`] does, and neither can happen.

use crate::array::array::Array;
use crate::error::{Error, Result};
use crate::format::blocks;
use crate::format::sniff::Format;
use crate::storage::local::file::DataFile;
use crate::storage::local::located::Located;
use crate::storage::section::{Section, ours};
use crate::write::atomic::{io, replace};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::npy_header;
use tensorferry_core::npy_header::Header;
use tensorferry_core::{ByteOrder, Tensor, View};

/// Opens a `.npy` file as a tensor over a read-only memory map: nothing is read until it is looked
/// at.
///
/// Any dtype tensors share, format versions 1.0 to 3.0, row-major or column-major; big-endian files
/// give tensors in swapped byte order. Bytes after the array are left alone, as `np.load` does:
/// several arrays may be saved one after another.
///
/// The file must not be truncated or overwritten in place while the tensor lives: see the module's
/// limitations. NumPy and [`save_npy`] pad the header so that the elements start at a multiple of
/// 64 bytes; files by others may not.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, read or mapped, or is no regular file;
/// [`Error::InFile`] around what [`npy_header::parse`] says of the header, and around
/// [`Error::WrongLength`] if the file is shorter than the header promises.
pub fn open_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let file = DataFile::open(path.as_ref())?;
    Format::Npy.check(&file)?;
    locate(&file)?.map()
}

/// Where the elements of a `.npy` file lie.
///
/// # Errors
/// As [`open_npy`], less those of mapping.
pub fn locate(file: &Arc<DataFile>) -> Result<Located> {
    let header = read_header(&mut Section::whole(file), io("read", file.path()))
        .map_err(|error| error.in_file(file.path()))?;
    let Header { dtype, order, layout, data_offset, .. } = header;
    Located {
        format: "npy",
        file: Arc::clone(file),
        offset: data_offset as u64,
        dtype,
        order,
        layout,
    }
    .checked()
}

/// Reads a header and no more; `other` makes an error of a failed read.
pub(crate) fn read_header(
    stream: &mut dyn Read,
    other: impl Fn(std::io::Error) -> Error,
) -> Result<Header> {
    let mut bytes = Vec::with_capacity(128);
    let mut fill = |bytes: &mut Vec<u8>, len: usize| {
        let missing = len.saturating_sub(bytes.len());
        stream.take(missing as u64).read_to_end(bytes).map_err(|error| ours(error, &other))
    };
    fill(&mut bytes, npy_header::PREFIX)?;
    if bytes.is_empty() {
        return Err(Error::Malformed {
            format: "npy",
            offset: 0,
            what: "the file is empty".into(),
        });
    }
    let len = npy_header::length(&bytes)?;
    fill(&mut bytes, len)?;
    npy_header::parse(&bytes)
}

/// Writes an array to a `.npy` file, as `np.save` does, but so that the name always stands for a
/// whole file.
///
/// The bytes go to a temporary file in the same directory, are brought to the disk, and then take
/// the name: a reader sees the old file or the new, and if anything fails the old one stays. An
/// array that is packed in row-major or column-major order is written as it lies; any other is
/// brought into row-major order, a megabyte at a time. Bytes are in this machine's order.
///
/// # Errors
/// [`Error::Io`] for what the system refuses; [`Error::UnsupportedDType`] for bfloat16, which
/// `.npy` cannot say (convert to float32, which holds all its values).
pub fn save_npy(path: impl AsRef<Path>, src: &View<'_>) -> Result<()> {
    let path = path.as_ref();
    replace(path, |file| write_view(src, |bytes| file.write_all(bytes).map_err(io("write", path))))
}

/// Writes an array as a `.npy` file, or as a part of another.
pub(crate) fn write(array: &Array, mut out: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    if let Ok(tensor) = array.tensor()
        && is_column_major(&tensor.as_view())
        && tensor.as_view().has_normal_bools()
    {
        out(&npy_header::write(array.dtype(), ByteOrder::Native, array.shape(), true)?)?;
        // As much at a time as is read at a time of others.
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

/// Whether the elements lie packed in column-major order, and only so: such a file says that it is.
fn is_column_major(view: &View<'_>) -> bool {
    view.byte_order() == ByteOrder::Native
        && view.layout().is_f_contiguous()
        && !view.layout().is_c_contiguous()
}

#[cfg(test)]
mod tests;
