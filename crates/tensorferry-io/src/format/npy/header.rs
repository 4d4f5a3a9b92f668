//! Reads the header of a `.npy` file or of a member of an archive.

use crate::error::{Error, Result};
use crate::storage::section::read_error;
use std::io::Read;
use tensorferry_core::Error as CoreError;
use tensorferry_core::npy_header;
use tensorferry_core::npy_header::{AnyHeader, Header};

/// Reads only a header. `other` converts errors of a decoder.
pub(crate) fn read_header(
    stream: &mut dyn Read,
    other: impl Fn(std::io::Error) -> Error,
) -> Result<Header> {
    Ok(npy_header::parse(&header_bytes(stream, other)?)?)
}

/// As [`read_header`], also of records.
pub(super) fn read_any_header(
    stream: &mut dyn Read,
    other: impl Fn(std::io::Error) -> Error,
) -> Result<AnyHeader> {
    Ok(npy_header::parse_any(&header_bytes(stream, other)?)?)
}

fn header_bytes(stream: &mut dyn Read, other: impl Fn(std::io::Error) -> Error) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    let mut fill = |bytes: &mut Vec<u8>, len: usize| {
        let missing = len.saturating_sub(bytes.len());
        stream.take(missing as u64).read_to_end(bytes).map_err(|error| read_error(error, &other))
    };
    fill(&mut bytes, npy_header::PREFIX)?;
    if bytes.is_empty() {
        return Err(Error::Core(CoreError::Malformed {
            format: "npy",
            offset: 0,
            what: "the file is empty".into(),
        }));
    }
    let len = npy_header::length(&bytes)?;
    fill(&mut bytes, len)?;
    Ok(bytes)
}
