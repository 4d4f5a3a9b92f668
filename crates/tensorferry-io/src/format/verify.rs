//! Whether a file is whole: all that it says of itself, compared with all that is in it.

use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::format::raw::Raw;
use crate::format::sniff::Format;
use crate::format::{npy, npz, raw, safetensors, tfrecord};
use crate::storage::local::file::DataFile;
use crate::storage::section::{Section, ours};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// What [`verify`] has looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// The file's format.
    pub format: Format,
    /// How many arrays it holds; records, of TFRecord.
    pub parts: u64,
    /// Its length, all of which was read.
    pub bytes: u64,
    /// The checksum that its parts were compared with: `"CRC-32"`, `"CRC-32C"`. Where there is
    /// none, another value looks like any.
    pub checksum: Option<&'static str>,
    /// Bytes after the array of a `.npy` file, which belong to nothing: `numpy.load` leaves them
    /// alone.
    pub trailing: u64,
}

/// Reads a file from end to end, and compares it with what it says of itself: headers with lengths,
/// and bytes with checksums, where the format has them. Arrays of dtypes that tensors do not share
/// are looked at too, in formats that tell how long they are.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{Stop, save_npy, verify};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("squares.npy");
/// save_npy(&path, &Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?.as_view())?;
/// assert_eq!(verify(&path, None, None, &Stop::default())?.bytes, 160);
///
/// std::fs::File::options().write(true).open(&path).unwrap().set_len(150).unwrap();
/// assert_eq!(verify(&path, None, None, &Stop::default()).unwrap_err().code(), "wrong_length");
/// # Ok::<(), tensorferry_core::Error>(())
/// ```
///
/// # Errors
/// What is wrong with the file: [`Error::Malformed`], [`Error::WrongLength`], [`Error::Checksum`]
/// and others, with the offset; [`Error::Argument`] for a raw file without `raw`; [`Error::Io`];
/// [`Error::FileChanged`]; [`Error::Stopped`].
pub fn verify(
    path: impl AsRef<Path>,
    format: Option<Format>,
    raw: Option<&Raw>,
    stop: &Stop,
) -> Result<Verified> {
    let file = DataFile::open(path.as_ref())?;
    let format = match (format, raw) {
        (Some(format), _) => format,
        (None, Some(_)) => Format::Raw,
        (None, None) => Format::of(&file)?,
    };
    let mut verified =
        Verified { format, parts: 1, bytes: file.len(), checksum: None, trailing: 0 };
    match (format, raw) {
        (Format::Npy, _) => {
            let located = npy::locate(&file)?;
            verified.trailing =
                file.len().saturating_sub(located.offset + located.layout.nbytes() as u64);
            read_all(&file, stop)?;
        }
        (Format::Npz, _) => {
            let members = npz::members(&file, true)?.members;
            members.iter().try_for_each(|member| member.verify(stop))?;
            (verified.parts, verified.checksum) = (members.len() as u64, Some("CRC-32"));
        }
        (Format::SafeTensors, _) => {
            verified.parts = safetensors::locate(&file)?.arrays.len() as u64;
            read_all(&file, stop)?;
        }
        (Format::TfRecord | Format::TfRecordBytes, _) => {
            (verified.parts, verified.checksum) = (tfrecord::verify(&file, stop)?, Some("CRC-32C"));
        }
        (Format::Raw, Some(raw)) => {
            raw::locate(&file, raw)?;
            read_all(&file, stop)?;
        }
        (Format::Raw, None) => {
            let path = file.path().display();
            let what = format!(
                "{path}: a raw file does not say what it holds, and has no checksum. Say what it \
                should hold."
            );
            return Err(Error::Argument { stage: "verify", what });
        }
    }
    Ok(verified)
}

/// Reads each byte, so that what cannot be read is found.
fn read_all(file: &Arc<DataFile>, stop: &Stop) -> Result<()> {
    let mut stream = Section::whole(file);
    let mut block = vec![0; BLOCK];
    loop {
        stop.check()?;
        match stream.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                return Err(ours(error, crate::write::atomic::io("read", file.path())));
            }
        }
    }
}
