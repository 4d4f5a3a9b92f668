//! The directory of a zip archive, checked against the header before each member.

use crate::error::{Error, Result};
use crate::storage::read_at::ReadAt;
use crate::storage::section::{Section, fill, read_error};
use flate2::read::DeflateDecoder;
use std::collections::HashSet;
use std::io::BufReader;
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

const FORMAT: &str = "npz";

/// Length of the header before a member, without its name and extra field.
const LOCAL: usize = 30;

/// Maximum inflated bytes per deflated byte. A member that claims more is damaged or a zip bomb,
/// and no memory is allocated for it.
const MOST_PER_BYTE: u64 = 1032;

/// Maximum number of bytes of a directory to search for a duplicate name.
const MOST_SEARCHED: usize = 64 << 20;

/// A file in an archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Offset of the first byte.
    pub(crate) start: u64,
    /// Number of bytes in the archive.
    pub(crate) stored: u64,
    /// Number of inflated bytes.
    pub(crate) size: u64,
    pub(crate) crc: u32,
    pub(crate) method: Method,
}

/// How a member is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Stored,
    Deflated,
    /// An unsupported method, described for error messages.
    Other(String),
}

pub(crate) fn malformed(offset: u64, what: impl Into<String>) -> Error {
    Error::Core(CoreError::Malformed { format: FORMAT, offset, what: what.into() })
}

/// All files in an archive, in directory order. Skips folders.
///
/// # Errors
/// [`tensorferry_core::Error::Malformed`] if the file is not a zip archive, two members have one
/// name, or a header contradicts the directory; [`tensorferry_core::Error::WrongLength`] if it is
/// truncated.
pub(crate) fn entries(file: &Arc<dyn ReadAt>) -> Result<Vec<Entry>> {
    let wrong = |error: ZipError| match error {
        ZipError::Io(error) => read_error(error, |error| {
            malformed(0, format!("not a zip archive, or a truncated one: {error}"))
        }),
        other => malformed(0, format!("not a zip archive, or a damaged one: {other}")),
    };
    if file.len() == 0 {
        return Err(malformed(0, "the file is empty"));
    }
    let mut archive = ZipArchive::new(BufReader::new(Section::whole(file))).map_err(wrong)?;
    if archive.has_duplicate_names() {
        let at = archive.central_directory_start();
        let named = twice(file, at)?.map_or_else(String::new, |name| format!(" ({name:?})"));
        return Err(malformed(at, format!("two members have the same name{named}")));
    }
    let mut entries = Vec::with_capacity(archive.len());
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(wrong)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if name.ends_with('/') && entry.size() == 0 {
            continue;
        }
        let header = entry.header_start();
        let start = entry
            .data_start()
            .ok_or_else(|| malformed(header, format!("{name}: no place in the file")))?;
        let method = match entry.compression() {
            _ if entry.encrypted() => Method::Other("encrypted".into()),
            CompressionMethod::Stored => Method::Stored,
            CompressionMethod::Deflated => Method::Deflated,
            other => Method::Other(format!("compressed by {other}")),
        };
        let found = Entry {
            name,
            start,
            stored: entry.compressed_size(),
            size: entry.size(),
            crc: entry.crc32(),
            method,
        };
        let raw = entry.name_raw().to_vec();
        drop(entry);
        found.check(file, header, &raw)?;
        entries.push(found);
    }
    Ok(entries)
}

impl Entry {
    /// Checks the directory entry against the file and the header before the member.
    fn check(&self, file: &Arc<dyn ReadAt>, header: u64, raw: &[u8]) -> Result<()> {
        let Self { name, start, stored, size, method, .. } = self;
        let end = start.saturating_add(*stored);
        if end > file.len() {
            return Err(Error::Core(CoreError::WrongLength {
                format: FORMAT,
                expected: end,
                actual: file.len(),
            }));
        }
        if *method == Method::Stored && stored != size {
            return Err(malformed(
                header,
                format!("{name} is stored, but of two sizes: {stored} and {size} bytes"),
            ));
        }
        if matches!(method, Method::Stored | Method::Deflated) && size / MOST_PER_BYTE > *stored {
            return Err(malformed(
                header,
                format!("{name}: {stored} bytes cannot inflate to {size}"),
            ));
        }
        let before = file.read_up_to(header, LOCAL + raw.len() + 1024)?;
        let difference = match local(&before) {
            Some(local) => self.difference(&local, raw),
            None => Some("its header is cut off".into()),
        };
        let two_ways = |what| {
            malformed(
                header,
                format!(
                    "{name}: {what}: the archive is damaged, or was made to be read in two ways"
                ),
            )
        };
        difference.map_or(Ok(()), |what| Err(two_ways(what)))
    }

    /// The first contradiction between the header and the directory.
    fn difference(&self, local: &Local<'_>, raw: &[u8]) -> Option<String> {
        let says = |what: &str, here: u64, there: u64| {
            (here != there).then(|| format!("its header says {what} {here}, the directory {there}"))
        };
        if local.name != raw {
            return Some(format!(
                "its header has another name, {:?}",
                String::from_utf8_lossy(local.name)
            ));
        }
        match self.method {
            Method::Other(_) => return None,
            Method::Stored | Method::Deflated if local.flags & 0b0110_0001 != 0 => {
                return Some("its header says that it is encrypted".into());
            }
            Method::Stored => says("compression method", local.method.into(), 0),
            Method::Deflated => says("compression method", local.method.into(), 8),
        }
        .or_else(|| {
            // Written as a stream: checksum and sizes follow the member.
            if local.flags & 0b1000 != 0 {
                return None;
            }
            says("CRC-32", local.crc.into(), self.crc.into())
                .or_else(|| says("bytes in the archive:", local.stored, self.stored))
                .or_else(|| says("bytes:", local.size, self.size))
        })
    }

    /// Whether a member is readable and starts with `magic`.
    ///
    /// # Errors
    /// Errors of reading.
    pub(crate) fn begins<const N: usize>(
        &self,
        file: &Arc<dyn ReadAt>,
        magic: &[u8; N],
    ) -> Result<bool> {
        let mut stream = Section::new(file, self.start, self.stored);
        let mut start = [0; N];
        let other = |_| malformed(self.start, "it cannot be inflated");
        let filled = match self.method {
            Method::Stored => fill(&mut stream, &mut start, other),
            Method::Deflated => fill(&mut DeflateDecoder::new(stream), &mut start, other),
            Method::Other(_) => return Ok(false),
        };
        match filled {
            Err(error) if error.code() != "malformed" => Err(error),
            filled => Ok(matches!(filled, Ok(true)) && start == *magic),
        }
    }
}

/// The header before a member.
struct Local<'a> {
    flags: u16,
    method: u16,
    crc: u32,
    stored: u64,
    size: u64,
    name: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn local(bytes: &[u8]) -> Option<Local<'_>> {
    let (stored, size) = (u32_at(bytes, 18)?, u32_at(bytes, 22)?);
    let (name, extra) = (usize::from(u16_at(bytes, 26)?), usize::from(u16_at(bytes, 28)?));
    let end = LOCAL + name;
    let (size, stored) =
        match zip64(bytes.get(end..).map(|rest| rest.get(..extra).unwrap_or(rest))?) {
            Some((large, compressed)) => {
                let one =
                    |short: u32, long: u64| if short == u32::MAX { long } else { short.into() };
                (one(size, large), one(stored, compressed))
            }
            None => (size.into(), stored.into()),
        };
    Some(Local {
        flags: u16_at(bytes, 6)?,
        method: u16_at(bytes, 8)?,
        crc: u32_at(bytes, 14)?,
        stored,
        size,
        name: bytes.get(LOCAL..end)?,
    })
}

/// The two 64-bit sizes in the extra field.
fn zip64(mut extra: &[u8]) -> Option<(u64, u64)> {
    loop {
        let (id, len) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        if id == 1 {
            return Some((u64_at(extra, 4)?, u64_at(extra, 12)?));
        }
        extra = extra.get(4 + len..)?;
    }
}

/// A name that occurs twice in the directory.
fn twice(file: &Arc<dyn ReadAt>, start: u64) -> Result<Option<String>> {
    let bytes = file.read_up_to(start, MOST_SEARCHED)?;
    let (mut rest, mut seen) = (bytes.as_slice(), HashSet::new());
    let next = |rest: &mut &[u8]| {
        let lens = [28, 30, 32].map(|at| u16_at(rest, at).map(usize::from));
        let [Some(name), Some(extra), Some(comment)] = lens else { return None };
        let found = rest.get(46..46 + name)?.to_vec();
        *rest = rest.get(46 + name + extra + comment..)?;
        Some(found)
    };
    while rest.starts_with(b"PK\x01\x02") {
        let Some(name) = next(&mut rest) else { break };
        if !seen.insert(name.clone()) {
            return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
        }
    }
    Ok(None)
}
