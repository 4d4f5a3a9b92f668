//! The index of a TFRecord file's records, and their checksums.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::read_at::ReadAt;
use std::sync::Arc;
use tensorferry_core::Error as CoreError;

pub(crate) const FORMAT: &str = "tfrecord";

/// Number of bytes before a record: its length and the length's checksum.
pub(crate) const HEAD: u64 = 12;
/// Number of bytes after a record: its checksum.
pub(crate) const TAIL: u64 = 4;

/// Bytes to read at once when collecting the lengths of short records.
pub(super) const BLOCK: usize = 256 << 10;

/// TensorFlow's masked checksum, for data that may contain checksums.
pub(crate) fn masked_crc(bytes: &[u8]) -> u32 {
    masked(crc32c::crc32c(bytes))
}

pub(super) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Whether a file starts with a record.
pub(crate) fn begins(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|head| length(head).is_some())
}

/// The length in the head of a record, if its checksum is correct.
fn length(head: &[u8; 12]) -> Option<u64> {
    let [a, b, c, d, e, f, g, h, crc @ ..] = *head;
    let len = [a, b, c, d, e, f, g, h];
    (masked_crc(&len) == u32::from_le_bytes(crc)).then_some(u64::from_le_bytes(len))
}

/// Locations of a file's records.
#[derive(Clone, Debug)]
pub(crate) enum Index {
    /// `count` records of `len` bytes each.
    Equal { count: u64, len: u64 },
    /// Start of each record, and end of the last.
    Listed(Vec<u64>),
}

impl Index {
    /// Reads the lengths of all records.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::Malformed`] at the first damaged or truncated record;
    /// [`Error::Interrupted`].
    pub(crate) fn build(file: &Arc<dyn ReadAt>, cancel: &CancelToken) -> Result<Self> {
        scan(file, cancel).map_err(|error| error.in_file(file.name()))
    }

    pub(crate) fn records(&self) -> u64 {
        match self {
            Self::Equal { count, .. } => *count,
            Self::Listed(starts) => starts.len().saturating_sub(1) as u64,
        }
    }

    /// Start and length of the bytes of a record, which must exist.
    pub(crate) fn record(&self, at: u64) -> (u64, u64) {
        match self {
            Self::Equal { len, .. } => (at * (HEAD + len + TAIL) + HEAD, *len),
            Self::Listed(starts) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                (starts[at] + HEAD, starts[at + 1] - starts[at] - HEAD - TAIL)
            }
        }
    }

    fn push(&mut self, at: u64, len: u64) {
        match self {
            Self::Equal { count: 0, .. } => *self = Self::Equal { count: 1, len },
            Self::Equal { count, len: same } if *same == len => *count += 1,
            Self::Equal { count, len: same } => {
                let step = HEAD + *same + TAIL;
                *self = Self::Listed(
                    (0..=*count)
                        .map(|record| record * step)
                        .chain([at + HEAD + len + TAIL])
                        .collect(),
                );
            }
            Self::Listed(starts) => starts.push(at + HEAD + len + TAIL),
        }
    }
}

fn scan(file: &Arc<dyn ReadAt>, cancel: &CancelToken) -> Result<Index> {
    let mut index = Index::Equal { count: 0, len: 0 };
    let (mut block, mut block_at, mut at) = (Vec::new(), 0_u64, 0_u64);
    while at < file.len() {
        let place = usize::try_from(at - block_at).unwrap_or(usize::MAX);
        let Some(head) = block.get(place..).and_then(<[u8]>::first_chunk) else {
            cancel.check()?;
            // Read only the lengths of long records.
            let long = place > block.len() + BLOCK;
            block = file.read_up_to(at, if long { 12 } else { BLOCK })?;
            block_at = at;
            if block.len() < 12 {
                let left = file.len() - at;
                return Err(damaged(
                    index.records(),
                    at,
                    format!(
                        "is truncated: {left} bytes are left of the {HEAD} that it starts with"
                    ),
                ));
            }
            continue;
        };
        let Some(len) = length(head) else {
            return Err(damaged(
                index.records(),
                at,
                "has a length whose checksum is wrong: the file is damaged, or not a TFRecord file",
            ));
        };
        let end = at.checked_add(HEAD + TAIL).and_then(|end| end.checked_add(len));
        let Some(end) = end.filter(|end| *end <= file.len()) else {
            return Err(damaged(
                index.records(),
                at,
                format!("is truncated: it has {len} bytes, the file ends at byte {}", file.len()),
            ));
        };
        index.push(at, len);
        at = end;
    }
    if let Index::Listed(starts) = &mut index {
        starts.shrink_to_fit();
    }
    Ok(index)
}

fn damaged(record: u64, at: u64, what: impl std::fmt::Display) -> Error {
    Error::Core(CoreError::Malformed {
        format: FORMAT,
        offset: at,
        what: format!("record {record} {what}"),
    })
}

/// Appends a record with length and checksums.
pub(crate) fn frame(record: &[u8], out: &mut Vec<u8>) {
    let len = (record.len() as u64).to_le_bytes();
    out.extend_from_slice(&len);
    out.extend_from_slice(&masked_crc(&len).to_le_bytes());
    out.extend_from_slice(record);
    out.extend_from_slice(&masked_crc(record).to_le_bytes());
}
