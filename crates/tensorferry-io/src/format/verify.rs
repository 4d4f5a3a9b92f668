//! [`verify`]: checks whether a file is intact.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::format::file_format::{Checked, Format, OpenOptions, Raw};
use crate::storage::place::open_one;
use std::path::Path;

/// The result of [`verify`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// Format of the file.
    pub format: Format,
    /// Number of arrays; of records for TFRecord.
    pub parts: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Checksum of the parts: `"CRC-32"`, `"CRC-32C"`. `None` if the format has none, so changed
    /// values are not detected.
    pub checksum: Option<&'static str>,
    /// Bytes after the array of a `.npy` file. `numpy.load` ignores them.
    pub trailing: u64,
}

/// Reads a whole file, and checks lengths against headers and bytes against checksums, if the
/// format has them. Includes arrays of dtypes that tensors do not support, if the format specifies
/// their length.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_io::{CancelToken, save_npy, verify};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("squares.npy");
/// save_npy(&path, &Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?.as_view())?;
/// assert_eq!(verify(&path, None, None, &CancelToken::default())?.bytes, 160);
///
/// std::fs::File::options().write(true).open(&path).unwrap().set_len(150).unwrap();
/// let error = verify(&path, None, None, &CancelToken::default()).unwrap_err();
/// assert_eq!(error.code(), "wrong_length");
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
///
/// # Errors
/// What is wrong with the file: [`tensorferry_core::Error::Malformed`],
/// [`tensorferry_core::Error::WrongLength`], [`crate::error::Error::Checksum`] and others, with the
/// offset; [`crate::error::Error::Argument`] for a raw file without `raw`;
/// [`crate::error::Error::Io`]; [`crate::error::Error::FileChanged`];
/// [`crate::error::Error::Interrupted`].
pub fn verify(
    path: impl AsRef<Path>,
    format: Option<Format>,
    raw: Option<&Raw>,
    cancel: &CancelToken,
) -> Result<Verified> {
    let (raw, cancel) = (raw.cloned(), cancel.clone());
    verify_with(path, &OpenOptions { format, raw, cancel, ..OpenOptions::default() })
}

/// As [`verify`], with options for URLs. Only the format, the contents of raw files, the storage
/// and the token of the options are used.
///
/// # Errors
/// As [`verify`]; [`crate::error::Error::Argument`] for wrong options.
pub fn verify_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Verified> {
    let OpenOptions { format, raw, storage, cancel, .. } = options;
    let file = open_one(path.as_ref(), storage)?;
    let format = match (format, raw) {
        (Some(format), _) => *format,
        (None, Some(_)) => Format::Raw,
        (None, None) => Format::of(&*file)?,
    };
    let verified = format.file_format().verify(&file, raw.as_ref(), cancel)?;
    let Checked { parts, checksum, trailing } = verified;
    Ok(Verified { format, parts, bytes: file.len(), checksum, trailing })
}
