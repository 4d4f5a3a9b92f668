//! An array in an archive.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::npy::header::read_header;
use crate::format::npz::zip_directory::{Entry, Method, malformed};
use crate::memory::pool;
use crate::storage::located::Located;
use crate::storage::read_at::ReadAt;
use crate::storage::section::{Section, fill, read_error};
use flate2::read::DeflateDecoder;
use libdeflater::{DecompressionError, Decompressor};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::Tensor;
use tensorferry_core::npy_header::Header;

const FORMAT: &str = "npz";

/// Maximum compressed size of a member to inflate in one call. This is faster than a stream, and
/// takes as many bytes of memory.
const MOST_AT_ONCE: u64 = 64 << 20;

/// An array in an archive.
#[derive(Clone, Debug)]
pub(crate) struct ZipMember {
    pub(super) source: Arc<dyn ReadAt>,
    /// Name of the array: that of the member without `.npy`.
    pub(crate) name: String,
    pub(super) entry: Entry,
}

impl ZipMember {
    /// The archive.
    pub(crate) fn file(&self) -> &Path {
        self.source.name()
    }

    /// The path of the member in error messages: `archive.npz/x.npy`.
    fn path(&self) -> PathBuf {
        self.source.name().join(&self.entry.name)
    }

    /// Reads only the array's header.
    ///
    /// # Errors
    /// Errors of the header.
    pub(crate) fn peek(&self) -> Result<Header> {
        self.header(&mut self.stream())
    }

    /// The place of the array, if it is not compressed.
    ///
    /// # Errors
    /// Errors of its header.
    pub(crate) fn locate(&self) -> Result<Option<Located>> {
        if self.is_deflated() {
            return Ok(None);
        }
        let header =
            self.header(&mut Section::new(&self.source, self.entry.start, self.entry.stored))?;
        let offset = self.entry.start + header.data_offset as u64;
        let (dtype, order, layout) = (header.dtype, header.order, header.layout);
        Located { format: FORMAT, source: Arc::clone(&self.source), offset, dtype, order, layout }
            .checked()
            .map(Some)
    }

    fn header(&self, stream: &mut dyn Read) -> Result<Header> {
        let header = read_header(stream, |error| self.damaged(&error))
            .map_err(|error| error.in_file(&self.path()))?;
        if header.file_len() > self.entry.size {
            let wrong = Error::Core(CoreError::WrongLength {
                format: "npy",
                expected: header.file_len(),
                actual: self.entry.size,
            });
            return Err(wrong.in_file(&self.path()));
        }
        Ok(header)
    }

    fn damaged(&self, error: &std::io::Error) -> Error {
        malformed(self.entry.start, format!("the member cannot be inflated: {error}"))
    }

    /// Inflates the array.
    ///
    /// # Errors
    /// Errors of its header; [`tensorferry_core::Error::Malformed`] if it does not inflate,
    /// [`tensorferry_core::Error::WrongLength`] if its inflated size is wrong; [`Error::Checksum`];
    /// [`tensorferry_core::Error::Allocation`].
    pub(crate) fn inflate(&self) -> Result<Tensor> {
        if self.is_deflated() && self.entry.stored <= MOST_AT_ONCE {
            self.inflate_at_once()
        } else {
            self.inflate_stream()
        }
    }

    fn inflate_at_once(&self) -> Result<Tensor> {
        let (stored, size) = (in_memory(self.entry.stored)?, in_memory(self.entry.size)?);
        let mut deflated = pool::take(stored)?;
        self.source.read_exact_at(
            self.entry.start,
            deflated.as_mut_slice(),
            &CancelToken::default(),
        )?;
        let mut buffer = pool::take(size)?;
        match Decompressor::new().deflate_decompress(deflated.as_mut_slice(), buffer.as_mut_slice())
        {
            Ok(len) if len == size => {}
            Ok(len) => return Err(self.another_size(len as u64)),
            Err(DecompressionError::InsufficientSpace) => {
                return Err(self.another_size(self.entry.size.saturating_add(1)));
            }
            Err(DecompressionError::BadData) => {
                return Err(malformed(
                    self.entry.start,
                    "the member cannot be inflated: it is not a deflate stream",
                )
                .in_file(&self.path()));
            }
        }
        let header = self.header(&mut &*buffer.as_mut_slice())?;
        self.compare(crc32fast::hash(buffer.as_mut_slice()))?;
        Ok(Tensor::new(
            header.dtype,
            header.order,
            header.layout,
            buffer.freeze(),
            header.data_offset,
        )?)
    }

    fn inflate_stream(&self) -> Result<Tensor> {
        let mut stream = self.stream();
        let header = self.header(&mut stream)?;
        let mut buffer = pool::take(header.layout.nbytes())?;
        let path = self.path();
        if !fill(&mut stream, buffer.as_mut_slice(), |error| self.damaged(&error))
            .map_err(|error| error.in_file(&path))?
        {
            return Err(self.another_size(stream.read));
        }
        self.finish(stream, &CancelToken::default())?;
        Ok(Tensor::new(header.dtype, header.order, header.layout, buffer.freeze(), 0)?)
    }

    /// Whether the member is compressed.
    pub(crate) fn is_deflated(&self) -> bool {
        self.entry.method == Method::Deflated
    }

    /// Number of bytes when decompressed.
    pub(crate) fn size(&self) -> u64 {
        self.entry.size
    }

    /// The array's header, and a stream of its elements.
    ///
    /// # Errors
    /// Errors of the header.
    pub(crate) fn rows(&self) -> Result<(Header, RowStream)> {
        let mut stream = self.stream();
        let header = self.header(&mut stream)?;
        Ok((header, RowStream { member: self.clone(), stream }))
    }

    /// Reads the whole member and checks the checksum, for any dtype.
    ///
    /// # Errors
    /// As [`ZipMember::inflate`], and [`Error::Interrupted`].
    pub(crate) fn verify(&self, cancel: &CancelToken) -> Result<()> {
        let mut stream = self.stream();
        let header = self.header(&mut stream);
        // If the checksum is wrong, report that: the header may be damaged.
        self.finish(stream, cancel)?;
        match header {
            Err(error) if error.code() != "unsupported_dtype" => Err(error),
            _ => Ok(()),
        }
    }

    fn stream(&self) -> Summed<Box<dyn Read + Send>> {
        let section = BufReader::with_capacity(
            256 << 10,
            Section::new(&self.source, self.entry.start, self.entry.stored),
        );
        let stream: Box<dyn Read + Send> = if self.is_deflated() {
            Box::new(DeflateDecoder::new(section))
        } else {
            Box::new(section)
        };
        Summed { stream, hasher: crc32fast::Hasher::new(), read: 0 }
    }

    /// Reads the rest, and checks size and checksum.
    fn finish(&self, mut stream: Summed<Box<dyn Read + Send>>, cancel: &CancelToken) -> Result<()> {
        let mut rest = [0; 8 << 10];
        while stream.read <= self.entry.size {
            cancel.check()?;
            match stream.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(
                        read_error(error, |error| self.damaged(&error)).in_file(&self.path())
                    );
                }
            }
        }
        if stream.read != self.entry.size {
            return Err(self.another_size(stream.read));
        }
        self.compare(stream.hasher.finalize())
    }

    fn compare(&self, actual: u32) -> Result<()> {
        if actual == self.entry.crc {
            return Ok(());
        }
        let wrong = Error::Checksum {
            format: FORMAT,
            offset: self.entry.start,
            expected: self.entry.crc,
            actual,
        };
        Err(wrong.in_file(&self.path()))
    }

    fn another_size(&self, actual: u64) -> Error {
        Error::Core(CoreError::WrongLength { format: FORMAT, expected: self.entry.size, actual })
            .in_file(&self.path())
    }
}

fn in_memory(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| Error::Core(CoreError::Allocation { bytes: usize::MAX }))
}

/// The elements of a member, in order.
pub(crate) struct RowStream {
    member: ZipMember,
    stream: Summed<Box<dyn Read + Send>>,
}

impl RowStream {
    /// Fills `out` with the following bytes.
    ///
    /// # Errors
    /// As [`ZipMember::inflate`], except for the checksum.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        let member = &self.member;
        let filled = fill(&mut self.stream, out, |error| member.damaged(&error))
            .map_err(|error| error.in_file(&member.path()))?;
        if filled { Ok(()) } else { Err(member.another_size(self.stream.read)) }
    }

    /// Reads the rest, and checks size and checksum.
    ///
    /// # Errors
    /// As [`ZipMember::inflate`].
    pub(crate) fn finish(self) -> Result<()> {
        self.member.finish(self.stream, &CancelToken::default())
    }
}

/// A stream that counts and checksums the bytes read from it.
struct Summed<R> {
    stream: R,
    hasher: crc32fast::Hasher,
    read: u64,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = self.stream.read(out)?;
        self.hasher.update(&out[..len]);
        self.read += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::array::Array;
    use crate::format::npz::archive::members;
    use crate::storage::local;

    /// The contents of a member, or the code of the error.
    fn outcome(read: Result<Tensor>) -> Result<Vec<u8>, &'static str> {
        let tensor = read.map_err(|error| error.code())?;
        let mut bytes = vec![0; tensor.layout().nbytes()];
        crate::gather::rows_out::copy_view(&tensor.as_view(), &mut bytes).unwrap();
        Ok(bytes)
    }

    #[test]
    fn a_member_inflates_at_once_to_what_it_does_as_a_stream() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        let values = (0..3000_i64).map(|at| at * at % 91).collect();
        let array = Array::try_from(Tensor::from_vec(values, &[3000]).unwrap()).unwrap();
        crate::format::save::save_arrays(&path, &[("x", array)], None, true).unwrap();
        let good = std::fs::read(&path).unwrap();
        let expected = outcome(
            members(&local::open(&path).unwrap(), false).unwrap().members[0].inflate_stream(),
        );
        assert_eq!(expected.as_ref().map(Vec::len), Ok(24_000));
        let mut refused = 0;
        for at in 0..=good.len() {
            let mut bytes = good.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (at % 8);
            }
            std::fs::write(&path, bytes).unwrap();
            let Ok(found) = members(&local::open(&path).unwrap(), false) else {
                continue;
            };
            for member in found.members.iter().filter(|member| member.is_deflated()) {
                let (whole, stream) =
                    (outcome(member.inflate_at_once()), outcome(member.inflate_stream()));
                refused += u32::from(whole.is_err());
                assert_eq!(whole.is_ok(), stream.is_ok(), "byte {at}: {whole:?}, {stream:?}");
                assert!(
                    whole.as_ref().is_ok_and(|whole| stream.as_ref() == Ok(whole))
                        || whole.is_err(),
                    "byte {at}"
                );
            }
        }
        assert!(refused > 100, "{refused} of {}", good.len());
    }
}
