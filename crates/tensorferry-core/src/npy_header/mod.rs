//! The header of a `.npy` file: bytes in, dtype and layout out; and the other way round.
//!
//! Versions 1.0, 2.0 and 3.0 of the format
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>). A header is a Python
//! dict literal; what NumPy and others write of it is accepted (any order of keys, any spaces,
//! either quote, trailing commas, the `L` that Python 2 put behind long integers), nothing else: no
//! expression is evaluated, no Python object is ever read.
//!
//! # Limitations
//! Structured, object, string, datetime and void dtypes are [`Error::UnsupportedDType`]. A key that
//! stands twice is an error, where NumPy takes the last.

mod literal;

use crate::{ByteOrder, DType, Error, Layout, Result};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use literal::{FORMAT, Parser, malformed};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Bytes at the start of a file from which [`length`] tells how long the whole header is.
pub const PREFIX: usize = 12;

/// The longest header accepted, without the prefix.
///
/// 64 dimensions of twenty digits need 1,500 bytes. Longer headers describe structured dtypes,
/// which are not ours; but padding is legal, and 64 KiB is what version 1.0 can say. (NumPy itself
/// stops at 10,000 bytes, for fear of Python's parser, which is not used here.)
pub const MAX_HEADER: usize = 64 << 10;

/// Zeros and digits that NumPy leaves room for, so that the first dimension can grow without the
/// data moving.
const GROWTH_DIGITS: usize = 21;

/// What a `.npy` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The dtype, byte order aside.
    pub dtype: DType,
    /// The byte order.
    pub order: ByteOrder,
    /// Packed, in row-major or column-major order.
    pub layout: Layout,
    /// Whether the order is column-major, as written (an array of one dimension is both).
    pub fortran: bool,
    /// Byte of the file at which the elements start.
    pub data_offset: usize,
}

impl Header {
    /// Bytes of the whole file: header and elements.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.data_offset as u64 + self.layout.nbytes() as u64
    }
}

fn truncated(expected: usize, actual: usize) -> Error {
    Error::WrongLength { format: FORMAT, expected: expected as u64, actual: actual as u64 }
}

/// The version, where the dict starts, and where the elements start.
fn frame(bytes: &[u8]) -> Result<(u8, usize, usize)> {
    let compared = bytes.len().min(MAGIC.len());
    if bytes[..compared] != MAGIC[..compared] {
        return Err(malformed(0, "not a .npy file: it does not start with \\x93NUMPY"));
    }
    let &[major, minor, low, high, ..] = bytes.get(MAGIC.len()..).unwrap_or(&[]) else {
        return Err(truncated(PREFIX, bytes.len()));
    };
    let (start, len) = match (major, minor) {
        (1, 0) => (10, usize::from(u16::from_le_bytes([low, high]))),
        (2 | 3, 0) => {
            let &[third, fourth, ..] = bytes.get(10..).unwrap_or(&[]) else {
                return Err(truncated(PREFIX, bytes.len()));
            };
            (
                12,
                usize::try_from(u32::from_le_bytes([low, high, third, fourth]))
                    .unwrap_or(usize::MAX),
            )
        }
        _ => {
            return Err(malformed(
                6,
                alloc::format!("version {major}.{minor} of the format; 1.0, 2.0 and 3.0 are known"),
            ));
        }
    };
    if len > MAX_HEADER {
        return Err(malformed(
            8,
            alloc::format!("a header of {len} bytes; at most {MAX_HEADER} are read"),
        ));
    }
    Ok((major, start, start + len))
}

/// Bytes of the header, prefix included: where the elements start. Needs the first [`PREFIX`] bytes
/// of the file.
///
/// # Errors
/// [`Error::Malformed`] if this is no `.npy` file, or its header is longer than [`MAX_HEADER`];
/// [`Error::WrongLength`] if `bytes` are too few.
pub fn length(bytes: &[u8]) -> Result<usize> {
    frame(bytes).map(|(_, _, end)| end)
}

/// Reads a header. `bytes` may go on after it.
///
/// ```
/// use tensorferry_core::{DType, npy_header};
///
/// let bytes = npy_header::write(DType::Int32, Default::default(), &[3, 4], false)?;
/// let header = npy_header::parse(&bytes)?;
/// assert_eq!((header.dtype, header.layout.shape()), (DType::Int32, &[3, 4][..]));
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Malformed`] with the offset of what is wrong; [`Error::WrongLength`] if `bytes` end
/// before the header does; [`Error::UnsupportedDType`].
pub fn parse(bytes: &[u8]) -> Result<Header> {
    let (version, start, end) = frame(bytes)?;
    let header = bytes.get(..end).ok_or_else(|| truncated(end, bytes.len()))?;
    if version == 3 {
        core::str::from_utf8(&header[start..])
            .map_err(|error| malformed(start + error.valid_up_to(), "not UTF-8"))?;
    }
    let fields = Parser::new(header, start, version < 3).fields()?;
    let (dtype, order) = fields.descr;
    let (at, shape) = fields.shape;
    let layout = match fields.fortran {
        true => Layout::fortran(&shape, dtype.size()),
        false => Layout::contiguous(&shape, dtype.size()),
    };
    let layout = layout.map_err(|error| malformed(at, error.to_string()))?;
    Ok(Header { dtype, order, layout, fortran: fields.fortran, data_offset: end })
}

/// Writes the header that NumPy writes for such an array: version 1.0, the elements starting at a
/// multiple of 64 bytes.
///
/// Version 1.0 always suffices: it holds 65,535 bytes.
///
/// # Errors
/// [`Error::UnsupportedDType`] for bfloat16, for which NumPy has no code; those of
/// [`Layout::contiguous`].
pub fn write(dtype: DType, order: ByteOrder, shape: &[usize], fortran: bool) -> Result<Vec<u8>> {
    let Some(descr) = dtype.numpy_typestr(order) else {
        let descr =
            alloc::format!("{dtype} (NumPy has no code for it; float32 holds all its values)");
        return Err(Error::UnsupportedDType { place: "npy header", descr });
    };
    Layout::contiguous(shape, dtype.size())?;
    let descr: String =
        descr.iter().filter(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect();
    let growing = if fortran { shape.last() } else { shape.first() };
    let spare = growing.map_or(0, |dim| GROWTH_DIGITS.saturating_sub(dim.to_string().len()));
    let order = if fortran { "True" } else { "False" };
    let mut dict = alloc::format!(
        "{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {}, }}",
        tuple(shape)
    );
    dict.extend(core::iter::repeat_n(' ', spare));
    // As NumPy: at least one space of padding, up to a multiple of 64, the last byte a newline.
    let unpadded = 10 + dict.len() + 1;
    dict.extend(core::iter::repeat_n(' ', 64 - unpadded % 64));
    dict.push('\n');
    let len =
        u16::try_from(dict.len()).map_err(|_| malformed(8, "a header too long for version 1.0"))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    Ok(bytes)
}

/// Python's `repr` of a tuple of integers.
fn tuple(shape: &[usize]) -> String {
    let mut text = String::from("(");
    for (i, dim) in shape.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        let _infallible = write!(text, "{separator}{dim}");
    }
    text.push_str(if shape.len() == 1 { ",)" } else { ")" });
    text
}

#[cfg(test)]
mod tests;
