//! GZIP and ZLIB files of records, as `tf.io.TFRecordOptions(compression_type=)` writes them.
//!
//! # Rationale
//! A deflated stream can only be read from its start, and records are read in any order. So a
//! compressed file is decompressed once, when it is opened, into a temporary file. Memory does not
//! grow with it. All files that are opened together share one temporary file.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::foreign::WANTED;
use crate::format::tfrecord::index;
use crate::format::tfrecord::index::{BLOCK, FORMAT};
use crate::storage::io_error::io;
use crate::storage::local::scratch::Scratch;
use crate::storage::read_at::ReadAt;
use crate::storage::section::{Section, read_error};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use tensorferry_core::Error as CoreError;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zlib,
}

impl Kind {
    /// The compression of a file with these first bytes.
    fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            // RFC 1950: deflate, a window of at most 32 KiB, no dictionary, and a check of both.
            [method, flags, ..]
                if method & 0x0f == 8
                    && method >> 4 <= 7
                    && flags & 0x20 == 0
                    && u16::from_be_bytes([*method, *flags]).is_multiple_of(31) =>
            {
                Some(Self::Zlib)
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "GZIP",
            Self::Zlib => "ZLIB",
        }
    }
}

/// The decompressed bytes of a stream.
enum Decoder<R> {
    Gzip(MultiGzDecoder<R>),
    Zlib(ZlibDecoder<R>),
}

impl<R: BufRead> Decoder<R> {
    fn new(kind: Kind, stream: R) -> Self {
        match kind {
            Kind::Gzip => Self::Gzip(MultiGzDecoder::new(stream)),
            Kind::Zlib => Self::Zlib(ZlibDecoder::new(stream)),
        }
    }

    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(out),
            Self::Zlib(decoder) => decoder.read(out),
        }
    }

    /// Reads until `out` is full or the stream ends. Returns the number of bytes.
    fn fill(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match self.read(&mut out[done..])? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }

    /// Whether bytes follow the end of the stream. (A file may hold several streams of GZIP.)
    fn has_more(&mut self) -> std::io::Result<bool> {
        match self {
            Self::Gzip(_) => Ok(false),
            Self::Zlib(decoder) => Ok(!decoder.get_mut().fill_buf()?.is_empty()),
        }
    }
}

/// The compression of a file with these first bytes, if it holds records or nothing.
fn records(start: &[u8]) -> Option<Kind> {
    let kind = Kind::of(start).filter(|_| !index::begins(start))?;
    let mut head = [0; 12];
    let found = Decoder::new(kind, start).fill(&mut head).ok()?;
    (found == 0 || index::begins(&head[..found])).then_some(kind)
}

/// Whether a file with these first bytes is a compressed file of records.
pub(crate) fn begins(start: &[u8]) -> bool {
    records(start).is_some()
}

/// The sources, with decompressed ones in the place of those that are compressed.
///
/// # Errors
/// [`CoreError::Malformed`] for damaged compressed data; errors of reading; [`Error::Io`] if the
/// temporary file cannot be written; [`Error::Interrupted`].
pub(crate) fn decompressed(
    sources: &[Arc<dyn ReadAt>],
    cancel: &CancelToken,
) -> Result<Vec<Arc<dyn ReadAt>>> {
    let mut scratch = None;
    let mut plain = Vec::with_capacity(sources.len());
    for source in sources {
        let Some(kind) = records(&source.read_up_to(0, WANTED)?) else {
            plain.push(Arc::clone(source));
            continue;
        };
        let scratch = match &mut scratch {
            Some(scratch) => scratch,
            none => none.insert(Scratch::new()?),
        };
        let start = scratch.len();
        decompress(source, kind, scratch, cancel)?;
        plain.push(scratch.section(source.name(), start));
    }
    Ok(plain)
}

fn decompress(
    source: &Arc<dyn ReadAt>,
    kind: Kind,
    scratch: &mut Scratch,
    cancel: &CancelToken,
) -> Result<()> {
    let section = Section::whole(source).cancelled_by(cancel);
    let mut stream = Decoder::new(kind, BufReader::with_capacity(BLOCK, section));
    let start = scratch.len();
    let mut block = vec![0; BLOCK];
    loop {
        cancel.check()?;
        let done = scratch.len() - start;
        let failed = |error| failed(error, source, kind, done);
        match stream.fill(&mut block).map_err(failed)? {
            0 if stream.has_more().map_err(failed)? => {
                return Err(damaged(source, kind, done, "ends before the file does"));
            }
            0 => return Ok(()),
            len => scratch.write(&block[..len])?,
        }
    }
}

/// The error of reading a stream after `done` decompressed bytes.
fn failed(error: std::io::Error, source: &Arc<dyn ReadAt>, kind: Kind, done: u64) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let refused = io("read", source.name());
    read_error(error, |error| match error.kind() {
        UnexpectedEof => damaged(source, kind, done, "is truncated"),
        InvalidData | InvalidInput => damaged(source, kind, done, &format!("is damaged ({error})")),
        _ => refused(error),
    })
}

fn damaged(source: &Arc<dyn ReadAt>, kind: Kind, done: u64, how: &str) -> Error {
    let what = format!("the {} stream {how}, within or after this decompressed byte", kind.name());
    Error::Core(CoreError::Malformed { format: FORMAT, offset: done, what }).in_file(source.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tfrecord::index::frame;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn written(kind: Kind, bytes: &[u8]) -> Vec<u8> {
        match kind {
            Kind::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), Compression::default());
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }
            Kind::Zlib => {
                let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tfrecord");
        std::fs::write(&path, bytes).unwrap();
        let source = crate::storage::local::open(&path)?;
        let all = decompressed(&[Arc::clone(&source), source], &CancelToken::default())?;
        let each: Vec<Vec<u8>> =
            all.iter().map(|source| source.read_up_to(0, 1 << 24).unwrap()).collect();
        assert_eq!(each[0], each[1]);
        Ok(each[0].clone())
    }

    fn framed(records: usize) -> Vec<u8> {
        let mut plain = Vec::new();
        for record in 0..records {
            let noise: Vec<u8> =
                (0..record % 977).map(|at| (at * at + record).to_le_bytes()[0]).collect();
            frame(&noise, &mut plain);
        }
        plain
    }

    #[test]
    fn compressed_records_are_those_that_were_written() {
        for kind in [Kind::Gzip, Kind::Zlib] {
            for records in [0, 1, 2000] {
                let (plain, packed) = (framed(records), written(kind, &framed(records)));
                assert!(begins(&packed[..packed.len().min(WANTED)]));
                assert_eq!(read(&packed).unwrap(), plain);
                assert_eq!(read(&plain).unwrap(), plain);
            }
        }
        let two = [written(Kind::Gzip, &framed(3)), written(Kind::Gzip, &framed(2))].concat();
        assert_eq!(read(&two).unwrap(), [framed(3), framed(2)].concat());
    }

    #[test]
    fn damage_is_an_error_that_names_the_stream() {
        for kind in [Kind::Gzip, Kind::Zlib] {
            let packed = written(kind, &framed(300));
            for len in [packed.len() - 1, packed.len() / 2] {
                let error = read(&packed[..len]).unwrap_err().to_string();
                assert!(error.contains("stream is truncated"), "{error}");
            }
            let mut flipped = packed.clone();
            let middle = flipped.len() - 3; // the checksum of the stream
            flipped[middle] ^= 1;
            let error = read(&flipped).unwrap_err().to_string();
            assert!(error.contains("stream is damaged"), "{error}");
            let longer = [&packed[..], b"more"].concat();
            let error = read(&longer).unwrap_err().to_string();
            assert!(error.contains("a.tfrecord"), "{error}");
        }
    }

    #[test]
    fn other_compressed_files_are_not_records() {
        for kind in [Kind::Gzip, Kind::Zlib] {
            assert!(!begins(&written(kind, b"\x93NUMPY\x01\0, a file of another format")));
        }
        assert!(!begins(b"\x78\x9c") && !begins(b"") && !begins(&framed(2)));
    }
}
