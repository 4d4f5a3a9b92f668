//! `.npz`: a zip archive of `.npy` files, each a named array.
//!
//! Stored members are read where they lie. Deflated members are inflated into memory and their
//! checksums compared. The checksums of stored members are compared only by
//! [`Arrays::verify`](crate::array::arrays::Arrays::verify), which reads all of them.

pub(crate) mod archive;
pub(crate) mod deflate;
pub(crate) mod inflating;
pub(crate) mod member;
pub(crate) mod zip_directory;

use crate::array::array::Array;
use crate::array::arrays::{Member, Notes, OpenMember};
use crate::array::joined::Joined;
use crate::array::shards;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::format::by_name;
use crate::format::by_name::by_name;
use crate::format::file_format::{
    Capabilities, Checked, FileFormat, Format, OpenRequest, Opened, Raw,
};
use crate::format::npy;
use crate::format::npz::archive::members;
use crate::format::npz::inflating::Inflating;
use crate::format::npz::member::ZipMember;
use crate::memory::limits::usable;
use crate::storage::io_error::io;
use crate::storage::located::Located;
use crate::storage::mode::Mode;
use crate::storage::read_at::ReadAt;
use crate::write::atomic::atomic_write;
use crate::write::destination::Destination;
use crate::write::out::Out;
use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The format.
pub(crate) struct Npz;

impl FileFormat for Npz {
    fn format(&self) -> Format {
        Format::Npz
    }

    fn name(&self) -> &'static str {
        "npz"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npz"]
    }

    fn begins(&self, start: &[u8]) -> bool {
        // The second is an archive without members, the third a segment of a split archive.
        [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"].iter().any(|magic| start.starts_with(*magic))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            arrays_by_name: true,
            compression: true,
            self_describing: true,
            archive: true,
            ..Capabilities::default()
        }
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Opened> {
        let mut notes = Notes::default();
        let found = by_name(request.sources, |source| {
            let archive = members(source, request.options.format.is_some())?;
            notes.left_out.extend(archive.left_out);
            let members = archive.members.into_iter();
            Ok(members.map(|member| (member.name.clone(), member)).collect())
        })?;
        let boxed = |(name, parts)| (name, Box::new(Parts(parts)) as Box<dyn Member>);
        let found = found.into_iter().map(boxed).collect();
        by_name::opened(request, found, notes, &request.options.features)
    }

    fn save_arrays(
        &self,
        to: &Destination<'_>,
        arrays: &[(&str, &Array)],
        compress: bool,
        _metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        atomic_write(to, |out| write(out, to.path, arrays, compress))
    }

    fn verify(
        &self,
        source: &Arc<dyn ReadAt>,
        _raw: Option<&Raw>,
        cancel: &CancelToken,
    ) -> Result<Checked> {
        let members = members(source, true)?.members;
        members.iter().try_for_each(|member| member.verify(cancel))?;
        Ok(Checked { parts: members.len() as u64, checksum: Some("CRC-32"), trailing: 0 })
    }
}

/// The arrays with one name, one per archive.
#[derive(Debug)]
struct Parts(Vec<ZipMember>);

impl Member for Parts {
    fn decompressed(&self) -> u64 {
        let deflated = self.0.iter().filter(|part| part.is_deflated());
        deflated.fold(0, |sum, part| sum.saturating_add(part.size()))
    }

    fn unsupported(&self) -> Result<Option<Error>> {
        for part in &self.0 {
            match part.peek() {
                Err(error) if error.code() == "unsupported_dtype" => return Ok(Some(error)),
                Err(error) if error.code() == "io" => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    fn each_part(&self, check: &mut dyn FnMut(DType, &[usize]) -> Result<()>) -> Result<()> {
        self.0.iter().try_for_each(|part| {
            let header = part.peek()?;
            check(header.dtype, header.layout.shape())
        })
    }

    fn open(&self, how: &OpenMember) -> Result<Array> {
        let located = self.0.iter().map(ZipMember::locate);
        if let Some(located) = located.collect::<Result<Option<Vec<Located>>>>()? {
            return shards::array(located, how.mode);
        }
        if !how.fits {
            if let Some(array) = self.inflated_in_order(how.mode)? {
                return Ok(array);
            }
            self.check_inflated(how.memory_limit)?;
        }
        // If one member is deflated, stored ones are read into memory like it.
        let tensors = self.0.iter().map(ZipMember::inflate).collect::<Result<Vec<Tensor>>>()?;
        shards::in_memory(tensors, self.paths())
    }

    fn verify(&self) -> Result<()> {
        self.0.iter().try_for_each(|part| part.verify(&CancelToken::default()))
    }
}

impl Parts {
    fn paths(&self) -> Arc<[PathBuf]> {
        self.0.iter().map(|part| part.file().to_owned()).collect()
    }

    /// # Errors
    /// [`Error::Argument`] if decompressing everything exceeds the limit or the memory.
    fn check_inflated(&self, memory_limit: Option<usize>) -> Result<()> {
        let bytes = self.0.iter().fold(0_u64, |sum, part| sum.saturating_add(part.size()));
        let limit = memory_limit.map_or_else(usable, |limit| limit as u64);
        let Some(first) = self.0.first().filter(|_| bytes > limit) else { return Ok(()) };
        let what = format!(
            "a compressed array in column-major order is decompressed as a whole: it takes {bytes} \
            bytes, and {limit} of memory may be taken. Allow more, or store it uncompressed or \
            row-major."
        );
        Err(Error::argument("open", what).in_file(first.file()))
    }

    /// An array of members that are inflated when rows are read. `None` if a member does not
    /// support it.
    ///
    /// # Errors
    /// [`Error::Argument`] for shards that do not match each other; errors of a header.
    fn inflated_in_order(&self, mode: Mode) -> Result<Option<Array>> {
        let mut arrays = Vec::with_capacity(self.0.len());
        for member in &self.0 {
            let paths = [member.file().to_owned()].into();
            arrays.push(match member.locate()? {
                Some(stored) => shards::array(vec![stored], mode)?,
                None => match Inflating::new(member)? {
                    Some(rows) => Array::new(Arc::new(rows), 0, false, Mode::Read, paths)?,
                    None => return Ok(None),
                },
            });
        }
        if arrays.len() == 1 {
            return Ok(arrays.pop());
        }
        let path = |at: usize| self.0[at].file().display().to_string();
        let (dtype, rows) = (arrays[0].dtype(), arrays[0].shape().get(1..));
        if let Some(at) = arrays.iter().position(|other| {
            other.shape().get(1..) != rows || rows.is_none() || other.dtype() != dtype
        }) {
            let of = |at: usize| (path(at), arrays[at].dtype(), arrays[at].shape());
            return Err(shards::mismatch(of(0), of(at)));
        }
        let spec = TensorSpec::new(dtype, Shape::fixed(rows.unwrap_or_default()));
        let joined = Arc::new(Joined::new(spec, arrays)?);
        Array::new(joined, 0, false, Mode::Read, self.paths()).map(Some)
    }
}

/// Writes an archive.
///
/// Stored members and their elements start at a multiple of 64 bytes, so that they can be mapped
/// and shared. In a file, the sizes and checksum of a member are before it; in an object, which is
/// written in order, they follow it.
fn write(out: &mut Out<'_>, path: &Path, arrays: &[(&str, &Array)], compress: bool) -> Result<()> {
    if compress && arrays.iter().all(|(name, _)| deflate::can_name(name)) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        return deflate::write(out, path, arrays, threads);
    }
    match out {
        Out::File(file) => write_to(ZipWriter::new(Once::new(file)), path, arrays, compress),
        #[cfg(feature = "object-store")]
        Out::Upload(upload) => {
            write_to(ZipWriter::new_stream(Once::new(*upload)), path, arrays, compress)
        }
    }
}

fn write_to(
    mut archive: ZipWriter<impl Write + Seek>,
    path: &Path,
    arrays: &[(&str, &Array)],
    compress: bool,
) -> Result<()> {
    let wrong = |error: ZipError| match error {
        ZipError::Io(error) => io("write", path)(error),
        other => Error::argument("save", format!("{}: {other}", path.display())),
    };
    let method = if compress { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    for (name, array) in arrays {
        // The maximum of 32 bits, minus more than any `.npy` header.
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

/// A file that ignores writes after its first error. A dropped [`ZipWriter`] tries to finish the
/// archive, and would otherwise report a second error on stderr.
struct Once<'a, F> {
    file: &'a mut F,
    /// The position, counted on after the first error.
    at: u64,
    failed: bool,
}

impl<'a, F> Once<'a, F> {
    fn new(file: &'a mut F) -> Self {
        Self { file, at: 0, failed: false }
    }
}

impl<F: Write> Write for Once<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = if self.failed { Ok(bytes.len()) } else { self.file.write(bytes) };
        match &written {
            Ok(written) => self.at += *written as u64,
            Err(error) => self.failed = error.kind() != std::io::ErrorKind::Interrupted,
        }
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl<F: Seek> Seek for Once<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = match to {
            to if !self.failed => self.file.seek(to)?,
            SeekFrom::Start(start) => start,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(_) => self.at,
        };
        Ok(self.at)
    }
}
