//! What a segment is found by: the address, version and length of its object, as hashes.
//!
//! # Rationale
//! An address may have a signature or a password in it, and any characters. So only its SHA-256
//! reaches the disk. Two objects with one such hash are not known to exist for any pair of inputs;
//! names have half of it, and the header of a file has all of it.

use crate::storage::read_at::Version;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// An object, in names and leases: half of the hash of its address, then half of the hash of
/// everything. Versions of one address have the same first half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectId(pub(crate) [u8; ObjectId::LEN]);

impl ObjectId {
    /// Length in bytes.
    pub(crate) const LEN: usize = 32;
    const HALF: usize = Self::LEN / 2;

    /// Whether both are of one address.
    pub(crate) fn is_version_of(&self, other: &Self) -> bool {
        self.0[..Self::HALF] == other.0[..Self::HALF]
    }

    /// The half that is of the hash of everything.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.0[Self::HALF..]
    }

    /// That half of a hash.
    pub(crate) fn rest_of(hash: &[u8; 32]) -> &[u8] {
        &hash[..Self::HALF]
    }

    /// The name of the folder that has all versions of this address, and those of others.
    pub(crate) fn folder(&self) -> String {
        hex(&self.0[..1])
    }

    /// The name of the file of a segment.
    pub(crate) fn file(&self, segment: u64) -> String {
        let (address, rest) = self.0.split_at(Self::HALF);
        format!("{}-{}-{segment}", hex(address), hex(rest))
    }

    /// The object and segment of a file of this name.
    pub(crate) fn parse(name: &str) -> Option<(Self, u64)> {
        let mut parts = name.split('-');
        let mut id = [0; Self::LEN];
        for half in id.chunks_mut(Self::HALF) {
            let digits = parts.next().filter(|digits| digits.len() == 2 * Self::HALF)?;
            for (byte, at) in half.iter_mut().zip((0..).step_by(2)) {
                *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
            }
        }
        let (id, segment) = (Self(id), parts.next()?.parse().ok()?);
        (id.file(segment) == name).then_some((id, segment))
    }
}

/// An object, in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) id: ObjectId,
    /// The hash of address, version and length.
    pub(crate) hash: [u8; 32],
    /// Its length in bytes.
    pub(crate) len: u64,
}

impl Key {
    pub(crate) fn new(url: &str, version: &Version, len: u64) -> Self {
        let address: [u8; 32] = Sha256::digest(url).into();
        let mut all = Sha256::new();
        all.update(address);
        all.update(len.to_le_bytes());
        all.update(version.as_str());
        let hash: [u8; 32] = all.finalize().into();
        let mut id = [0; ObjectId::LEN];
        id[..ObjectId::HALF].copy_from_slice(&address[..ObjectId::HALF]);
        id[ObjectId::HALF..].copy_from_slice(ObjectId::rest_of(&hash));
        Self { id: ObjectId(id), hash, len }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str, version: &str, len: u64) -> Key {
        Key::new(url, &Version::new(version), len)
    }

    #[test]
    fn keys_differ_in_everything_and_versions_share_an_address() {
        let one = key("s3://b/k", "\"e1\"", 9);
        assert_eq!(one, key("s3://b/k", "\"e1\"", 9));
        for other in [key("s3://b/k", "\"e2\"", 9), key("s3://b/k", "\"e1\"", 10)] {
            assert!(other.id != one.id && other.hash != one.hash);
            assert!(other.id.is_version_of(&one.id) && other.id.folder() == one.id.folder());
        }
        let elsewhere = key("s3://b/k\"", "e1\"", 9);
        assert!(!elsewhere.id.is_version_of(&one.id));
    }

    #[test]
    fn names_are_read_back_and_no_other_is() {
        let id = key("https://user:secret@x/?sig=1", "v", 1).id;
        let name = id.file(7);
        assert_eq!(name.len(), 32 + 1 + 32 + 2);
        assert_eq!(ObjectId::parse(&name), Some((id, 7)));
        let others = [
            name.replace('-', ""),
            name.to_uppercase(),
            format!("{name}0-"),
            name.replacen("-7", "-07", 1),
            name.replacen("-7", "-+7", 1),
            name[1..].to_owned(),
            format!("é{}", &name[2..]),
            String::new(),
        ];
        for other in others {
            assert_eq!(ObjectId::parse(&other), None, "{other}");
        }
    }
}
