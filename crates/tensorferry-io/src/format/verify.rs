//! [`verify`]: checks whether a file is intact.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::format::file_format::{Checked, Format, Raw};
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
    let file = crate::storage::local::open(path.as_ref())?;
    let format = match (format, raw) {
        (Some(format), _) => format,
        (None, Some(_)) => Format::Raw,
        (None, None) => Format::of(&*file)?,
    };
    let Checked { parts, checksum, trailing } = format.file_format().verify(&file, raw, cancel)?;
    Ok(Verified { format, parts, bytes: file.len(), checksum, trailing })
}
