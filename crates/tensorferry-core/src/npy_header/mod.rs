//! Reads and writes the header of `.npy` files.
//!
//! # Rationale
//! Versions 1.0, 2.0 and 3.0 of the format
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>) are supported. A
//! header is a Python dict literal. The parser accepts the literals that NumPy and other writers
//! produce: keys in any order, any spaces, either quote, trailing commas, and the `L` that Python 2
//! appends to long integers. It evaluates no expressions and reads no Python objects.
//!
//! # Limitations
//! Object, string, datetime and void dtypes are [`Error::UnsupportedDType`]. Structured dtypes are
//! for [`parse_any`]. A duplicate key is an error; NumPy takes the last one.

mod fields;
mod literal;
mod record;

use crate::{ByteOrder, DType, Error, Layout, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use literal::{Descr, FORMAT, Fields, Parser, malformed};
pub use record::{Field, Record};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The bytes at the start of a file that [`length`] needs.
pub const PREFIX: usize = 12;

/// The longest header accepted, in bytes, without the prefix.
///
/// 64 dimensions of twenty digits need 1,500 bytes. Padding is legal, so the limit is 64 KiB, the
/// longest header of version 1.0. (NumPy stops at 10,000 bytes to protect Python's parser.)
pub const MAX_HEADER: usize = 64 << 10;

/// The digits that NumPy leaves room for, so that a dimension can grow without moving the data.
const GROWTH_DIGITS: usize = 21;

/// The contents of a `.npy` header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The dtype, without the byte order.
    pub dtype: DType,
    /// The byte order.
    pub order: ByteOrder,
    /// The packed layout, in row-major or column-major order.
    pub layout: Layout,
    /// The header's `fortran_order`. (Arrays of one dimension are in both orders.)
    pub fortran: bool,
    /// The byte of the file at which the elements start.
    pub data_offset: usize,
}

impl Header {
    /// The bytes of the whole file: header and elements.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.data_offset as u64 + self.layout.nbytes() as u64
    }
}

/// The header of an array of records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordHeader {
    /// The structured dtype.
    pub record: Record,
    /// The packed layout of the records, in row-major or column-major order.
    pub layout: Layout,
    /// The header's `fortran_order`.
    pub fortran: bool,
    /// The byte of the file at which the records start.
    pub data_offset: usize,
}

/// The header of any array.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnyHeader {
    /// An array of numbers.
    Array(Header),
    /// An array of records.
    Records(RecordHeader),
}

fn truncated(expected: usize, actual: usize) -> Error {
    Error::WrongLength { format: FORMAT, expected: expected as u64, actual: actual as u64 }
}

/// The major version, the byte at which the dict starts, and the byte at which the elements start.
fn frame(bytes: &[u8]) -> Result<(u8, usize, usize)> {
    let compared = bytes.len().min(MAGIC.len());
    if bytes[..compared] != MAGIC[..compared] {
        return Err(malformed(0, "this is not a .npy file: it does not start with \\x93NUMPY"));
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
            let len = u32::from_le_bytes([low, high, third, fourth]);
            (12, usize::try_from(len).unwrap_or(usize::MAX))
        }
        _ => {
            let what =
                format!("the format has version {major}.{minor}; 1.0, 2.0 and 3.0 are supported");
            return Err(malformed(6, what));
        }
    };
    if len > MAX_HEADER {
        let what = format!("the header has {len} bytes; at most {MAX_HEADER} are accepted");
        return Err(malformed(8, what));
    }
    Ok((major, start, start + len))
}

/// The bytes of the header with its prefix, which is where the elements start. Needs the first
/// [`PREFIX`] bytes of the file.
///
/// # Errors
/// [`Error::Malformed`] if this is not a `.npy` file, or its header is longer than [`MAX_HEADER`];
/// [`Error::WrongLength`] if `bytes` is too short.
pub fn length(bytes: &[u8]) -> Result<usize> {
    frame(bytes).map(|(_, _, end)| end)
}

/// Parses a header. `bytes` may be longer than the header.
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
/// [`Error::Malformed`] with the offset of the mistake; [`Error::WrongLength`] if `bytes` is
/// shorter than the header; [`Error::UnsupportedDType`].
pub fn parse(bytes: &[u8]) -> Result<Header> {
    match header(bytes, false)? {
        AnyHeader::Array(header) => Ok(header),
        // The parser refuses them.
        AnyHeader::Records(_) => Err(malformed(0, "the dtype is structured")),
    }
}

/// As [`parse`], with structured dtypes.
///
/// ```
/// use tensorferry_core::npy_header::{AnyHeader, parse_any};
///
/// let dict = "{'descr': [('x', '<f4', (3,)), ('name', '|S5')], 'fortran_order': False, \
///     'shape': (10,)}";
/// let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
/// bytes.extend(u16::try_from(dict.len()).unwrap().to_le_bytes());
/// bytes.extend(dict.bytes());
/// let AnyHeader::Records(header) = parse_any(&bytes)? else { panic!() };
/// assert_eq!((header.record.size, header.layout.shape()), (17, &[10][..]));
/// assert_eq!(header.record.fields[1].content, Err("|S5".into()));
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// As [`parse`]; [`Error::Malformed`] if two fields have one name or a field has none, and
/// [`Error::UnsupportedDType`] if a field holds Python objects.
pub fn parse_any(bytes: &[u8]) -> Result<AnyHeader> {
    header(bytes, true)
}

fn header(bytes: &[u8], structured: bool) -> Result<AnyHeader> {
    let (version, start, data_offset) = frame(bytes)?;
    let header = bytes.get(..data_offset).ok_or_else(|| truncated(data_offset, bytes.len()))?;
    if version == 3 {
        core::str::from_utf8(&header[start..])
            .map_err(|error| malformed(start + error.valid_up_to(), "the header is not UTF-8"))?;
    }
    let Fields { descr, fortran, shape: (at, shape) } =
        Parser::new(header, start, version < 3, structured).fields()?;
    let size = match &descr {
        Descr::Plain(dtype, _) => dtype.size(),
        Descr::Structured(record) => record.size,
    };
    let layout = match fortran {
        true => Layout::fortran(&shape, size),
        false => Layout::contiguous(&shape, size),
    };
    let layout = layout.map_err(|error| malformed(at, error.to_string()))?;
    Ok(match descr {
        Descr::Plain(dtype, order) => {
            AnyHeader::Array(Header { dtype, order, layout, fortran, data_offset })
        }
        Descr::Structured(record) => {
            AnyHeader::Records(RecordHeader { record, layout, fortran, data_offset })
        }
    })
}

/// The header that NumPy writes for such an array: version 1.0, padded so that the elements start
/// at a multiple of 64 bytes.
///
/// Version 1.0 always suffices: [`crate::MAX_NDIM`] dimensions fit in its 65,535 bytes.
///
/// # Errors
/// [`Error::UnsupportedDType`] for bfloat16, for which NumPy has no code; those of
/// [`Layout::contiguous`].
pub fn write(dtype: DType, order: ByteOrder, shape: &[usize], fortran: bool) -> Result<Vec<u8>> {
    let Some(descr) = dtype.numpy_typestr(order) else {
        let descr = format!("{dtype} (NumPy has no code for it; float32 holds all its values)");
        return Err(Error::UnsupportedDType { place: "npy header", descr });
    };
    Layout::contiguous(shape, dtype.size())?;
    let descr: String =
        descr.iter().filter(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect();
    let growing = if fortran { shape.last() } else { shape.first() };
    let spare = growing.map_or(0, |dim| GROWTH_DIGITS.saturating_sub(dim.to_string().len()));
    let order = if fortran { "True" } else { "False" };
    let mut dict =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {}, }}", tuple(shape));
    dict.extend(core::iter::repeat_n(' ', spare));
    // Like NumPy: at least one space of padding, a newline at the end, a multiple of 64 in all.
    let unpadded = 10 + dict.len() + 1;
    dict.extend(core::iter::repeat_n(' ', 64 - unpadded % 64));
    dict.push('\n');
    let len =
        u16::try_from(dict.len()).map_err(|_| malformed(8, "the header exceeds version 1.0"))?;
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
