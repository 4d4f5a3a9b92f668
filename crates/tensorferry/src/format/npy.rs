//! `.npy`: one array in one file, NumPy's own format.
//!
//! # Examples
//! ```
//! use tensorferry::{Tensor, open_npy, save_npy};
//!
//! let directory = tempfile::tempdir().unwrap();
//! let path = directory.path().join("squares.npy");
//! save_npy(&path, &Tensor::from_vec(vec![0_i64, 1, 4, 9], &[2, 2])?.as_view())?;
//! assert_eq!(open_npy(&path)?.view::<i64>()?.get(&[1, 1]), Some(9));
//! # Ok::<(), tensorferry::Error>(())
//! ```
//!
//! # Limitations
//! What is opened is a mapping of the file, not a copy. The length is checked before mapping; what nobody can check is what happens
//! to the file afterwards. If it is truncated while the tensor lives, reading beyond its new end ends the process (SIGBUS); if it is
//! overwritten in place, the tensor's values change. Replace files by renaming, as [`save_npy`] does, and neither can happen.

use super::replace::{io, replace};
use crate::buffers::pool;
use crate::source::{DataFile, Located};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::npy_header::{self, Header};
use tensorferry_core::{ByteOrder, Casting, Error, Index, Layout, Result, Tensor, View, ViewMut};

/// Bytes converted at a time when the elements cannot be written as they lie.
const CHUNK: usize = 1 << 20;

/// Opens a `.npy` file as a tensor over a read-only memory map: nothing is read until it is looked at.
///
/// Any dtype tensors share, format versions 1.0 to 3.0, row-major or column-major; big-endian files give tensors in swapped byte
/// order. Bytes after the array are left alone, as `np.load` does: several arrays may be saved one after another.
///
/// The file must not be truncated or overwritten in place while the tensor lives: see the module's limitations. NumPy and [`save_npy`]
/// pad the header so that the elements start at a multiple of 64 bytes; files by others may not.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, read or mapped, or is no regular file; [`Error::InFile`] around what
/// [`npy_header::parse`] says of the header, and around [`Error::WrongLength`] if the file is shorter than the header promises.
pub fn open_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    locate(&DataFile::open(path.as_ref())?)?.map()
}

/// Where the elements of a `.npy` file lie.
///
/// # Errors
/// As [`open_npy`], less those of mapping.
pub(crate) fn locate(file: &Arc<DataFile>) -> Result<Located> {
    let Header { dtype, order, layout, data_offset, .. } = read_header(file)?;
    Located { format: "npy", file: Arc::clone(file), offset: data_offset as u64, dtype, order, layout }.checked()
}

fn read_header(file: &Arc<DataFile>) -> Result<Header> {
    let bytes = file.read_up_to(0, npy_header::PREFIX)?;
    if bytes.is_empty() {
        let empty = Error::Malformed { format: "npy", offset: 0, what: "the file is empty".into() };
        return Err(empty.in_file(file.path()));
    }
    let len = npy_header::length(&bytes).map_err(|error| error.in_file(file.path()))?;
    let bytes = file.read_up_to(0, len)?;
    npy_header::parse(&bytes).map_err(|error| error.in_file(file.path()))
}

/// Writes an array to a `.npy` file, as `np.save` does, but so that the name always stands for a whole file.
///
/// The bytes go to a temporary file in the same directory, are brought to the disk, and then take the name: a reader sees the old file
/// or the new, and if anything fails the old one stays. An array that is packed in row-major or column-major order is written as it
/// lies; any other is brought into row-major order, a megabyte at a time. Bytes are in this machine's order.
///
/// # Errors
/// [`Error::Io`] for what the system refuses; [`Error::UnsupportedDType`] for bfloat16, which `.npy` cannot say (convert to float32,
/// which holds all its values).
pub fn save_npy(path: impl AsRef<Path>, src: &View<'_>) -> Result<()> {
    let path = path.as_ref();
    let native = src.byte_order() == ByteOrder::Native;
    let bytes = if native { src.as_bytes() } else { None };
    let fortran = bytes.is_some() && !src.layout().is_c_contiguous();
    let header = npy_header::write(src.dtype(), ByteOrder::Native, src.layout().shape(), fortran)?;
    replace(path, |file| {
        file.write_all(&header).map_err(io("write", path))?;
        match bytes {
            Some(bytes) => file.write_all(bytes).map_err(io("write", path)),
            None => each_block(src, |bytes| file.write_all(bytes).map_err(io("write", path))),
        }
    })
}

/// Hands on the elements in row-major native order, at most [`CHUNK`] bytes (or one element) at a time.
fn each_block(src: &View<'_>, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let layout = src.layout();
    if layout.is_empty() {
        return Ok(());
    }
    let mut chunk = pool::take(layout.nbytes().min(CHUNK))?;
    let (axis, rows) = cut(layout);
    let mut convert = |part: &[Index]| {
        let part = src.index(part)?;
        let bytes = &mut chunk.as_mut_slice()[..part.layout().nbytes()];
        let mut packed = ViewMut::from_bytes(src.dtype(), bytes, part.layout().shape())?;
        tensorferry_core::convert::convert_into(&part, &mut packed, Casting::Wrap)?;
        write(bytes)
    };
    let Some(&len) = layout.shape().get(axis) else { return convert(&[]) };
    let outer = &layout.shape()[..axis];
    for at in 0..outer.iter().product() {
        let mut index = position(at, outer);
        for start in (0..len).step_by(rows) {
            index.push(Index::Slice { start, step: 1, len: rows.min(len - start) });
            convert(&index)?;
            index.pop();
        }
    }
    Ok(())
}

/// Where to cut an array into blocks: one index for each dimension before the axis, and so many positions along the axis.
fn cut(layout: &Layout) -> (usize, usize) {
    let mut inner = layout.nbytes();
    for (axis, &dim) in layout.shape().iter().enumerate() {
        inner /= dim;
        if inner <= CHUNK {
            return (axis, (CHUNK / inner).max(1));
        }
    }
    (layout.ndim(), 1)
}

/// The `at`-th index, in row-major order, of an array of that shape.
fn position(mut at: usize, shape: &[usize]) -> Vec<Index> {
    let mut index: Vec<Index> = shape
        .iter()
        .rev()
        .map(|&dim| {
            let here = at % dim;
            at /= dim;
            Index::At(here.cast_signed())
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests;
