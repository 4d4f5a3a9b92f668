//! `.npz`: a zip archive of `.npy` files, each an array with a name.
//!
//! Members that are stored lie in the file as they are, and are read where they lie. Those that are
//! deflated are inflated into memory, their checksum verified. Of stored ones the checksum is
//! verified by [`crate::array::arrays::Arrays::verify`] alone: it would have to read all of
//! them.

use crate::array::array::Array;
use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::format::zip_directory::{Entry, Method, entries, malformed};
use crate::format::{deflate, npy};
use crate::memory::pool;
use crate::storage::local::file::DataFile;
use crate::storage::local::located::Located;
use crate::storage::section::{Section, fill, ours};
use crate::write::atomic::io;
use flate2::read::DeflateDecoder;
use libdeflater::{DecompressionError, Decompressor};
use std::collections::HashSet;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::Tensor;
use tensorferry_core::npy_header::Header;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const FORMAT: &str = "npz";

/// Bytes in the archive of the largest member that is read whole and inflated at once, which is
/// faster than as a stream and takes these bytes of memory besides.
const MOST_AT_ONCE: u64 = 64 << 20;

/// One array in the archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    file: Arc<DataFile>,
    /// The array's name: the member's, without `.npy`.
    pub(crate) name: String,
    entry: Entry,
}

/// What an archive holds.
pub(crate) struct Archive {
    /// Its arrays, in the order of its directory.
    pub(crate) members: Vec<Member>,
    /// The names of what is in it besides, and why it is no array.
    pub(crate) left_out: Vec<(String, String)>,
}

/// What an archive holds. A member is an array if its name ends in `.npy` or it begins as such a
/// file, as for NumPy. Unless the user `said` that it is an `.npz`, one of another kind that
/// happens to be a zip archive is refused.
///
/// # Errors
/// [`Error::Malformed`] if the file is no zip archive, if arrays are encrypted or compressed in
/// another way than by deflate, if two members have the same name, or if one is described in two
/// ways; or if it holds other things and no array; [`Error::WrongLength`] if it is truncated.
pub(crate) fn members(file: &Arc<DataFile>, said: bool) -> Result<Archive> {
    directory(file, said).map_err(|error| error.in_file(file.path()))
}

fn directory(file: &Arc<DataFile>, said: bool) -> Result<Archive> {
    let entries = entries(file)?;
    let wrong = |what: String| malformed(0, what);
    let kind = other_kind(entries.iter().map(|entry| entry.name.as_str()));
    if let Some(kind) = kind.filter(|_| !said) {
        return Err(wrong(kind.to_owned()));
    }
    let mut archive = Archive { members: Vec::with_capacity(entries.len()), left_out: Vec::new() };
    let names: HashSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    for entry in &entries {
        let npy = entry.name.strip_suffix(".npy");
        if npy.is_none() && !entry.begins(file, b"\x93NUMPY")? {
            let why = match &entry.method {
                Method::Other(how) => {
                    format!("{how}, and its name does not say that it is an array")
                }
                _ => "not an array: it does not begin as a .npy file does".into(),
            };
            archive.left_out.push((entry.name.clone(), why));
            continue;
        }
        // Where both are there, each keeps its whole name.
        let name = npy.filter(|name| !names.contains(name)).unwrap_or(&entry.name);
        if let Method::Other(how) = &entry.method {
            return Err(malformed(
                entry.start,
                format!(
                    "{name} is {how}; deflated and stored members are read. Save it again with \
                    NumPy."
                ),
            ));
        }
        archive.members.push(Member {
            file: Arc::clone(file),
            name: name.to_owned(),
            entry: entry.clone(),
        });
    }
    if archive.members.is_empty() && !entries.is_empty() {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).take(5).collect();
        let what = kind.map_or_else(
            || {
                format!(
                    "a zip archive without arrays: it holds {names:?}. Unpack it, and open \
                what is in it."
                )
            },
            String::from,
        );
        return Err(wrong(what));
    }
    Ok(archive)
}

/// What an archive is that is not meant to be an `.npz`, and what reads it.
fn other_kind<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let any = |is: &dyn Fn(&str) -> bool| names.clone().any(is);
    let has = |name: &str| any(&|other| other == name);
    let starts = |start: &str| any(&|name| name.starts_with(start));
    match () {
        () if any(&|name| name == "data.pkl" || name.ends_with("/data.pkl")) => Some(
            "a PyTorch file, which is a pickle in a zip archive. Load it with torch.load(path, \
            weights_only=True), and save its tensors as \
             .safetensors or .npz.",
        ),
        () if has("[Content_Types].xml") && starts("xl/") => {
            Some("an Excel workbook. Read it with pandas.read_excel.")
        }
        () if has("[Content_Types].xml") => Some("an Office document, not an archive of arrays."),
        () if has("content.xml") && has("mimetype") => {
            Some("an OpenDocument file. Read a table with pandas.read_excel(path, engine=\"odf\").")
        }
        () if has("model.weights.h5") || (has("config.json") && has("metadata.json")) => Some(
            "a Keras model. Load it with keras.saving.load_model, and save its weights as .npz.",
        ),
        () if any(&|name| name.ends_with(".dist-info/WHEEL")) => {
            Some("a Python wheel. Install it with pip.")
        }
        () if has("META-INF/MANIFEST.MF") => Some("a Java archive, not an archive of arrays."),
        () if any(&|name| {
            matches!(name.rsplit('/').next(), Some(".zarray" | ".zgroup" | "zarr.json"))
        }) =>
        {
            Some(
                "a zipped Zarr store. Open it with zarr, and pass its arrays to \
                from_tensor_slices or save.",
            )
        }
        () => None,
    }
}

impl Member {
    /// The archive.
    pub(crate) fn file(&self) -> &Path {
        self.file.path()
    }

    /// The member's place, as errors name it: `archive.npz/x.npy`.
    fn path(&self) -> PathBuf {
        self.file.path().join(&self.entry.name)
    }

    /// What the array's header says; only that much of it is read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn peek(&self) -> Result<Header> {
        self.header(&mut self.stream())
    }

    /// Where the array lies, if it lies in the file as it is.
    ///
    /// # Errors
    /// What is wrong with its header.
    pub(crate) fn locate(&self) -> Result<Option<Located>> {
        if self.is_deflated() {
            return Ok(None);
        }
        let header =
            self.header(&mut Section::new(&self.file, self.entry.start, self.entry.stored))?;
        let offset = self.entry.start + header.data_offset as u64;
        let (dtype, order, layout) = (header.dtype, header.order, header.layout);
        Located { format: FORMAT, file: Arc::clone(&self.file), offset, dtype, order, layout }
            .checked()
            .map(Some)
    }

    fn header(&self, stream: &mut dyn Read) -> Result<Header> {
        let header = npy::read_header(stream, |error| self.damaged(&error))
            .map_err(|error| error.in_file(&self.path()))?;
        if header.file_len() > self.entry.size {
            let wrong = Error::WrongLength {
                format: "npy",
                expected: header.file_len(),
                actual: self.entry.size,
            };
            return Err(wrong.in_file(&self.path()));
        }
        Ok(header)
    }

    fn damaged(&self, error: &std::io::Error) -> Error {
        malformed(self.entry.start, format!("the member cannot be inflated: {error}"))
    }

    /// The array, inflated.
    ///
    /// # Errors
    /// What is wrong with its header; [`Error::Malformed`] if it does not inflate,
    /// [`Error::WrongLength`] if it does to another size; [`Error::Checksum`];
    /// [`Error::Allocation`].
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
        self.file.read_exact_at(self.entry.start, deflated.as_mut_slice())?;
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
                    "the member cannot be inflated: it is no deflate stream",
                )
                .in_file(&self.path()));
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
        if !fill(&mut stream, buffer.as_mut_slice(), |error| self.damaged(&error))
            .map_err(|error| error.in_file(&path))?
        {
            return Err(self.another_size(stream.read));
        }
        self.finish(stream, &Stop::default())?;
        Tensor::new(header.dtype, header.order, header.layout, buffer.freeze(), 0)
    }

    /// Whether it is compressed.
    pub(crate) fn is_deflated(&self) -> bool {
        self.entry.method == Method::Deflated
    }

    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> u64 {
        self.entry.size
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

    /// Reads all of it and compares the checksum, of an array of any dtype.
    ///
    /// # Errors
    /// As [`Member::inflate`], and [`Error::Stopped`].
    pub(crate) fn verify(&self, stop: &Stop) -> Result<()> {
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
        let section = BufReader::with_capacity(
            256 << 10,
            Section::new(&self.file, self.entry.start, self.entry.stored),
        );
        let stream: Box<dyn Read + Send> = if self.is_deflated() {
            Box::new(DeflateDecoder::new(section))
        } else {
            Box::new(section)
        };
        Summed { stream, hasher: crc32fast::Hasher::new(), read: 0 }
    }

    /// Reads what is left, and compares size and checksum.
    fn finish(&self, mut stream: Summed<Box<dyn Read + Send>>, stop: &Stop) -> Result<()> {
        let mut rest = [0; 8 << 10];
        while stream.read <= self.entry.size {
            stop.check()?;
            match stream.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(ours(error, |error| self.damaged(&error)).in_file(&self.path()));
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
        Error::WrongLength { format: FORMAT, expected: self.entry.size, actual }
            .in_file(&self.path())
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
        let filled = fill(&mut self.stream, out, |error| member.damaged(&error))
            .map_err(|error| error.in_file(&member.path()))?;
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
/// Members that are stored start at a multiple of 64 bytes, and so do their elements: they can be
/// mapped and shared.
pub(crate) fn write(
    file: &mut (impl Write + Seek + Send),
    path: &Path,
    arrays: &[(&str, &Array)],
    compress: bool,
) -> Result<()> {
    if compress && arrays.iter().all(|(name, _)| deflate::can_name(name)) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        return deflate::write(file, path, arrays, threads);
    }
    let wrong = |error: ZipError| match error {
        ZipError::Io(error) => io("write", path)(error),
        other => Error::Argument { stage: "save", what: format!("{}: {other}", path.display()) },
    };
    let mut archive = ZipWriter::new(Once::new(file));
    let method = if compress { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    for (name, array) in arrays {
        // What 32 bits hold, less more than any header of .npy.
        let large = array.nbytes() as u64 >= u64::from(u32::MAX) - (1 << 20);
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .large_file(large)
            .with_alignment(64);
        archive.start_file(format!("{name}.npy"), options).map_err(wrong)?;
        npy::write(array, |bytes| archive.write_all(bytes).map_err(io("write", path)))?;
    }
    archive.finish().map_err(wrong).map(drop)
}

/// A file whose first error is its last: a [`ZipWriter`] that is dropped tries to end the archive,
/// and would say on stderr that it cannot.
struct Once<'a, F> {
    file: &'a mut F,
    /// Since the error: where the file would be.
    failed_at: Option<u64>,
}

impl<'a, F> Once<'a, F> {
    fn new(file: &'a mut F) -> Self {
        Self { file, failed_at: None }
    }
}

impl<F: Write + Seek> Write for Once<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(at) = &mut self.failed_at {
            *at += bytes.len() as u64;
            return Ok(bytes.len());
        }
        let written = self.file.write(bytes);
        if written.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::Interrupted) {
            self.failed_at = Some(self.file.stream_position().unwrap_or_default());
        }
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl<F: Seek> Seek for Once<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let Some(at) = &mut self.failed_at else { return self.file.seek(to) };
        match to {
            SeekFrom::Start(start) => *at = start,
            SeekFrom::Current(by) => *at = at.saturating_add_signed(by),
            SeekFrom::End(_) => {}
        }
        Ok(*at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a member holds, or the code of the error.
    fn outcome(read: Result<Tensor>) -> std::result::Result<Vec<u8>, &'static str> {
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
            members(&DataFile::open(&path).unwrap(), false).unwrap().members[0].inflate_stream(),
        );
        assert_eq!(expected.as_ref().map(Vec::len), Ok(24_000));
        let mut refused = 0;
        for at in 0..=good.len() {
            let mut bytes = good.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (at % 8);
            }
            std::fs::write(&path, bytes).unwrap();
            let Ok(found) = members(&DataFile::open(&path).unwrap(), false) else { continue };
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
