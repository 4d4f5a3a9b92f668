//! `.npz`: a zip archive of `.npy` files, each an array with a name.
//!
//! Members that are stored lie in the file as they are, and are read where they lie. Those that are deflated are inflated into memory,
//! their checksum verified. Of stored ones the checksum is verified by [`crate::Arrays::verify`] alone: it would have to read all of
//! them.

use super::replace::io;
use super::section::{Section, fill, ours};
use super::{deflate, npy};
use crate::buffers::pool;
use crate::dataset::Stop;
use crate::npy_header::Header;
use crate::source::{Array, DataFile, Located};
use crate::{Error, Result, Tensor};
use flate2::read::DeflateDecoder;
use libdeflater::{DecompressionError, Decompressor};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const FORMAT: &str = "npz";

/// No deflated byte stands for more: a member that claims to is damaged or a bomb, and no memory is taken for it.
const MOST_PER_BYTE: u64 = 1032;

/// Bytes in the archive of the largest member that is read whole and inflated at once, which is faster than as a stream and takes these
/// bytes of memory besides.
const MOST_AT_ONCE: u64 = 64 << 20;

/// One file in the archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    file: Arc<DataFile>,
    /// The array's name: the member's, without `.npy`.
    pub(crate) name: String,
    /// Where its bytes start.
    start: u64,
    /// Bytes in the archive.
    stored: u64,
    /// Bytes once they are inflated.
    size: u64,
    crc: u32,
    deflated: bool,
}

/// The members of an archive that are arrays, in the order of its directory.
///
/// # Errors
/// [`Error::Malformed`] if the file is no zip archive, if members are encrypted or compressed in another way than by deflate, or if two
/// have the same name; [`Error::WrongLength`] if it is truncated.
pub(crate) fn members(file: &Arc<DataFile>) -> Result<Vec<Member>> {
    directory(file).map_err(|error| error.in_file(file.path()))
}

fn malformed(offset: u64, what: impl Into<String>) -> Error {
    Error::Malformed { format: FORMAT, offset, what: what.into() }
}

fn directory(file: &Arc<DataFile>) -> Result<Vec<Member>> {
    let wrong = |error: ZipError| match error {
        ZipError::Io(error) => ours(error, |error| malformed(0, format!("no zip archive, or a truncated one: {error}"))),
        other => malformed(0, format!("no zip archive, or a damaged one: {other}")),
    };
    let mut archive = ZipArchive::new(BufReader::new(Section::whole(file))).map_err(wrong)?;
    if archive.has_duplicate_names() {
        return Err(malformed(archive.central_directory_start(), "two members have the same name"));
    }
    let mut members = Vec::with_capacity(archive.len());
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(wrong)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let start = entry.data_start().ok_or_else(|| malformed(entry.header_start(), format!("{name}: no place in the file")))?;
        if entry.encrypted() {
            return Err(malformed(entry.header_start(), format!("{name} is encrypted, which arrays cannot be")));
        }
        let deflated = match entry.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            other => {
                let what =
                    format!("{name} is compressed by {other}; deflated and stored members are read. Save it again with NumPy.");
                return Err(malformed(entry.header_start(), what));
            }
        };
        let (stored, size, crc) = (entry.compressed_size(), entry.size(), entry.crc32());
        let end = start.saturating_add(stored);
        if end > file.len() {
            return Err(Error::WrongLength { format: FORMAT, expected: end, actual: file.len() });
        }
        if !deflated && stored != size {
            return Err(malformed(entry.header_start(), format!("{name} is stored, but of two sizes: {stored} and {size} bytes")));
        }
        if size / MOST_PER_BYTE > stored {
            return Err(malformed(entry.header_start(), format!("{name}: {stored} bytes cannot inflate to {size}")));
        }
        members.push(Member { file: Arc::clone(file), name, start, stored, size, crc, deflated });
    }
    Ok(members)
}

impl Member {
    /// The archive.
    pub(crate) fn file(&self) -> &Path {
        self.file.path()
    }

    /// The member's place, as errors name it: `archive.npz/x.npy`.
    fn path(&self) -> PathBuf {
        self.file.path().join(format!("{}.npy", self.name))
    }

    /// Where the array lies, if it lies in the file as it is.
    ///
    /// # Errors
    /// What is wrong with its header.
    pub(crate) fn locate(&self) -> Result<Option<Located>> {
        if self.deflated {
            return Ok(None);
        }
        let header = self.header(&mut Section::new(&self.file, self.start, self.stored))?;
        let offset = self.start + header.data_offset as u64;
        let (dtype, order, layout) = (header.dtype, header.order, header.layout);
        Located { format: FORMAT, file: Arc::clone(&self.file), offset, dtype, order, layout }.checked().map(Some)
    }

    fn header(&self, stream: &mut dyn Read) -> Result<Header> {
        let header = npy::read_header(stream, |error| self.damaged(&error)).map_err(|error| error.in_file(&self.path()))?;
        if header.file_len() > self.size {
            let wrong = Error::WrongLength { format: "npy", expected: header.file_len(), actual: self.size };
            return Err(wrong.in_file(&self.path()));
        }
        Ok(header)
    }

    fn damaged(&self, error: &std::io::Error) -> Error {
        malformed(self.start, format!("the member cannot be inflated: {error}"))
    }

    /// The array, inflated.
    ///
    /// # Errors
    /// What is wrong with its header; [`Error::Malformed`] if it does not inflate, [`Error::WrongLength`] if it does to another size;
    /// [`Error::Checksum`]; [`Error::Allocation`].
    pub(crate) fn inflate(&self) -> Result<Tensor> {
        if self.deflated && self.stored <= MOST_AT_ONCE { self.inflate_at_once() } else { self.inflate_stream() }
    }

    fn inflate_at_once(&self) -> Result<Tensor> {
        let (stored, size) = (in_memory(self.stored)?, in_memory(self.size)?);
        let mut deflated = pool::take(stored)?;
        self.file.read_exact_at(self.start, deflated.as_mut_slice())?;
        let mut buffer = pool::take(size)?;
        match Decompressor::new().deflate_decompress(deflated.as_mut_slice(), buffer.as_mut_slice()) {
            Ok(len) if len == size => {}
            Ok(len) => return Err(self.another_size(len as u64)),
            Err(DecompressionError::InsufficientSpace) => return Err(self.another_size(self.size.saturating_add(1))),
            Err(DecompressionError::BadData) => {
                return Err(malformed(self.start, "the member cannot be inflated: it is no deflate stream").in_file(&self.path()));
            }
        }
        let header = self.header(&mut &*buffer.as_mut_slice())?;
        self.compare(crc32fast::hash(buffer.as_mut_slice()))?;
        Tensor::new(header.dtype, header.order, header.layout, buffer.freeze(), header.data_offset)
    }

    fn inflate_stream(&self) -> Result<Tensor> {
        let mut stream = self.stream();
        let header = self.header(&mut stream)?;
        let mut buffer = pool::take(header.layout.nbytes())?;
        let path = self.path();
        if !fill(&mut stream, buffer.as_mut_slice(), |error| self.damaged(&error)).map_err(|error| error.in_file(&path))? {
            return Err(self.another_size(stream.read));
        }
        self.finish(stream, &Stop::default())?;
        Tensor::new(header.dtype, header.order, header.layout, buffer.freeze(), 0)
    }

    /// Whether it is compressed.
    pub(crate) fn is_deflated(&self) -> bool {
        self.deflated
    }

    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The array's header, and a stream of its elements.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub(crate) fn rows(&self) -> Result<(Header, RowStream)> {
        let mut stream = self.stream();
        let header = self.header(&mut stream)?;
        Ok((header, RowStream { member: self.clone(), stream }))
    }

    /// Reads all of it and compares the checksum.
    ///
    /// # Errors
    /// As [`Member::inflate`].
    pub(crate) fn verify(&self) -> Result<()> {
        let mut stream = self.stream();
        self.header(&mut stream)?;
        self.finish(stream, &Stop::default())
    }

    /// As [`Member::verify`], of arrays of any dtype.
    ///
    /// # Errors
    /// As [`Member::inflate`], and [`Error::Stopped`].
    pub(super) fn verify_whole(&self, stop: &Stop) -> Result<()> {
        let mut stream = self.stream();
        let header = self.header(&mut stream);
        // Bytes that are not what was written may well be no header.
        self.finish(stream, stop)?;
        match header {
            Err(error) if error.code() != "unsupported_dtype" => Err(error),
            _ => Ok(()),
        }
    }

    fn stream(&self) -> Summed<Box<dyn Read + Send>> {
        let section = BufReader::with_capacity(256 << 10, Section::new(&self.file, self.start, self.stored));
        let stream: Box<dyn Read + Send> = if self.deflated { Box::new(DeflateDecoder::new(section)) } else { Box::new(section) };
        Summed { stream, hasher: crc32fast::Hasher::new(), read: 0 }
    }

    /// Reads what is left, and compares size and checksum.
    fn finish(&self, mut stream: Summed<Box<dyn Read + Send>>, stop: &Stop) -> Result<()> {
        let mut rest = [0; 8 << 10];
        while stream.read <= self.size {
            stop.check()?;
            match stream.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ours(error, |error| self.damaged(&error)).in_file(&self.path())),
            }
        }
        if stream.read != self.size {
            return Err(self.another_size(stream.read));
        }
        self.compare(stream.hasher.finalize())
    }

    fn compare(&self, actual: u32) -> Result<()> {
        if actual == self.crc {
            return Ok(());
        }
        let wrong = Error::Checksum { format: FORMAT, offset: self.start, expected: self.crc, actual };
        Err(wrong.in_file(&self.path()))
    }

    fn another_size(&self, actual: u64) -> Error {
        Error::WrongLength { format: FORMAT, expected: self.size, actual }.in_file(&self.path())
    }
}

fn in_memory(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| Error::Allocation { bytes: usize::MAX })
}

/// The elements of a member, in order.
pub(crate) struct RowStream {
    member: Member,
    stream: Summed<Box<dyn Read + Send>>,
}

impl RowStream {
    /// Fills `out` with the bytes that follow.
    ///
    /// # Errors
    /// As [`Member::inflate`], less that of the checksum.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        let member = &self.member;
        let filled = fill(&mut self.stream, out, |error| member.damaged(&error)).map_err(|error| error.in_file(&member.path()))?;
        if filled { Ok(()) } else { Err(member.another_size(self.stream.read)) }
    }

    /// Reads what is left, and compares size and checksum.
    ///
    /// # Errors
    /// As [`Member::inflate`].
    pub(crate) fn finish(self) -> Result<()> {
        self.member.finish(self.stream, &Stop::default())
    }
}

/// A stream and the checksum and number of the bytes read from it.
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

/// Writes an archive.
///
/// Members that are stored start at a multiple of 64 bytes, and so do their elements: they can be mapped and shared.
pub(super) fn write(file: &mut (impl Write + Seek + Send), path: &Path, arrays: &[(&str, &Array)], compress: bool) -> Result<()> {
    if compress && arrays.iter().all(|(name, _)| deflate::can_name(name)) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        return deflate::write(file, path, arrays, threads);
    }
    let wrong = |error: ZipError| match error {
        ZipError::Io(error) => io("write", path)(error),
        other => Error::Argument { stage: "save", what: format!("{}: {other}", path.display()) },
    };
    let mut archive = ZipWriter::new(Once { file, failed: false });
    let method = if compress { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    for (name, array) in arrays {
        // What 32 bits hold, less more than any header of .npy.
        let large = array.nbytes() as u64 >= u64::from(u32::MAX) - (1 << 20);
        let options = SimpleFileOptions::default().compression_method(method).large_file(large).with_alignment(64);
        archive.start_file(format!("{name}.npy"), options).map_err(wrong)?;
        npy::write(array, |bytes| archive.write_all(bytes).map_err(io("write", path)))?;
    }
    archive.finish().map_err(wrong).map(drop)
}

/// A file whose first error is its last: a [`ZipWriter`] that is dropped tries to end the archive, and would say on stderr that it cannot.
struct Once<'a, F> {
    file: &'a mut F,
    failed: bool,
}

impl<F: Write> Write for Once<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.failed {
            return Ok(bytes.len());
        }
        let written = self.file.write(bytes);
        self.failed = written.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl<F: Seek> Seek for Once<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a member holds, or the code of the error.
    fn outcome(read: Result<Tensor>) -> std::result::Result<Vec<u8>, &'static str> {
        let tensor = read.map_err(|error| error.code())?;
        let mut bytes = vec![0; tensor.layout().nbytes()];
        crate::dataset::copy_view(&tensor.as_view(), &mut bytes).unwrap();
        Ok(bytes)
    }

    #[test]
    fn a_member_inflates_at_once_to_what_it_does_as_a_stream() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npz");
        let values = (0..3000_i64).map(|at| at * at % 91).collect();
        let array = Array::try_from(Tensor::from_vec(values, &[3000]).unwrap()).unwrap();
        crate::save_arrays(&path, &[("x", array)], None, true).unwrap();
        let good = std::fs::read(&path).unwrap();
        let expected = outcome(members(&DataFile::open(&path).unwrap()).unwrap()[0].inflate_stream());
        assert_eq!(expected.as_ref().map(Vec::len), Ok(24_000));
        let mut refused = 0;
        for at in 0..=good.len() {
            let mut bytes = good.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (at % 8);
            }
            std::fs::write(&path, bytes).unwrap();
            let Ok(found) = members(&DataFile::open(&path).unwrap()) else { continue };
            for member in found.iter().filter(|member| member.deflated) {
                let (whole, stream) = (outcome(member.inflate_at_once()), outcome(member.inflate_stream()));
                refused += u32::from(whole.is_err());
                assert_eq!(whole.is_ok(), stream.is_ok(), "byte {at}: {whole:?}, {stream:?}");
                assert!(whole.as_ref().is_ok_and(|whole| stream.as_ref() == Ok(whole)) || whole.is_err(), "byte {at}");
            }
        }
        assert!(refused > 100, "{refused} of {}", good.len());
    }
}
