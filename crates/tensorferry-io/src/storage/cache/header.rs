//! The header of a segment's file: which segment of which object it holds.

use crate::storage::cache::key::Key;
use crate::storage::cache::layout::HEADER;
use crate::sync::process::process_id;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::SystemTime;

const MAGIC: &[u8; 16] = b"tensorferry-1\r\n\0";
/// Where the fields end and their checksum is.
const SUM_AT: usize = 16 + 32 + 3 * 8;

/// Length in bytes.
pub(crate) const LEN: usize = 96;
const _: () = assert!(LEN as u64 == HEADER && SUM_AT + 4 <= LEN);

/// The fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The hash of the object's address, version and length.
    pub(crate) hash: [u8; 32],
    /// The object's length in bytes.
    pub(crate) len: u64,
    /// Index of the segment in the object.
    pub(crate) segment: u64,
    /// A number that no other file of this segment has.
    pub(crate) nonce: u64,
}

impl Header {
    /// The header of a new file.
    pub(crate) fn new(key: &Key, segment: u64) -> Self {
        let mut nonce = RandomState::new().build_hasher();
        // A forked process has the random state of its parent.
        nonce.write_u32(process_id());
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        nonce.write_u128(since.map_or(0, |since| since.as_nanos()));
        Self { hash: key.hash, len: key.len, segment, nonce: nonce.finish() }
    }

    /// Whether this is the header of this segment of this object.
    pub(crate) fn is_of(&self, key: &Key, segment: u64) -> bool {
        (self.hash, self.len, self.segment) == (key.hash, key.len, segment)
    }

    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let fields = [
            &MAGIC[..],
            &self.hash,
            &self.len.to_le_bytes(),
            &self.segment.to_le_bytes(),
            &self.nonce.to_le_bytes(),
        ]
        .concat();
        bytes[..SUM_AT].copy_from_slice(&fields);
        bytes[SUM_AT..SUM_AT + 4].copy_from_slice(&crc32c::crc32c(&fields).to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not a header, or damaged.
    pub(crate) fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let (fields, rest) = bytes.split_at(SUM_AT);
        let sum = crc32c::crc32c(fields).to_le_bytes();
        let (hash, numbers) = fields.strip_prefix(MAGIC)?.split_first_chunk()?;
        let mut numbers =
            numbers.chunks_exact(8).map(|number| Some(u64::from_le_bytes(number.try_into().ok()?)));
        let mut next = || numbers.next().flatten();
        let header = Self { hash: *hash, len: next()?, segment: next()?, nonce: next()? };
        rest.starts_with(&sum).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::read_at::Version;

    #[test]
    fn a_header_is_read_back_and_no_other_bytes_are() {
        let key = Key::new("s3://b/k", &Version::new("e"), 5);
        let header = Header::new(&key, 3);
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        assert!(header.is_of(&key, 3) && !header.is_of(&key, 4));
        assert!(!header.is_of(&Key::new("s3://b/k", &Version::new("f"), 5), 3));
        assert_ne!(Header::new(&key, 3).nonce, header.nonce);
        for bit in 0..(SUM_AT + 4) * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(Header::decode(&[0; LEN]), None);
    }
}
