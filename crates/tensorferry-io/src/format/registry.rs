//! The list of file formats, and detection of a file's format.

use crate::error::{Error, Hint, Result};
use crate::format::file_format::{Capabilities, FileFormat, Format};
use crate::format::foreign;
use crate::format::npy::Npy;
use crate::format::npz::Npz;
use crate::format::raw::{RawFormat, UNDESCRIBED};
use crate::format::safetensors::SafeTensors;
use crate::format::tfrecord::TfRecord;
use crate::storage::options::StorageOptions;
use crate::storage::place::open_one;
use crate::storage::read_at::ReadAt;
use std::fmt;
use std::path::Path;
use tensorferry_core::Error as CoreError;

/// All formats, in the order of [`Format::ALL`].
static FORMATS: [&dyn FileFormat; 6] =
    [&Npy, &Npz, &SafeTensors, &TfRecord { bytes: false }, &TfRecord { bytes: true }, &RawFormat];

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] =
        [Self::Npy, Self::Npz, Self::SafeTensors, Self::TfRecord, Self::TfRecordBytes, Self::Raw];

    /// The implementation of the format.
    pub(crate) fn file_format(self) -> &'static dyn FileFormat {
        FORMATS[self as usize]
    }

    /// Name of the format: `"npy"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.file_format().name()
    }

    /// The format with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of a file's extension.
    #[must_use]
    pub fn of_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let has = |format: &Self| format.file_format().extensions().contains(&extension.as_str());
        Self::ALL.into_iter().find(has)
    }

    /// The features of this format.
    ///
    /// ```
    /// use tensorferry_io::Format;
    ///
    /// assert!(Format::Npz.capabilities().compression && !Format::Npy.capabilities().compression);
    /// ```
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        self.file_format().capabilities()
    }

    /// Name of the parts of a file that [`verify`](crate::format::verify::verify) counts: `"array"`
    /// or `"record"`.
    #[must_use]
    pub fn part_name(self) -> &'static str {
        self.file_format().part_name()
    }

    /// The format according to a file's first bytes, or else its extension.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Argument`] if neither determines it.
    pub fn of_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::of_file_with(path, &StorageOptions::default())
    }

    /// As [`Format::of_file`], with options for URLs.
    ///
    /// # Errors
    /// As [`Format::of_file`].
    pub fn of_file_with(path: impl AsRef<Path>, storage: &StorageOptions) -> Result<Self> {
        Self::of(&*open_one(path.as_ref(), storage)?)
    }

    /// The format according to a source's first bytes, or else its extension.
    pub(crate) fn of(source: &dyn ReadAt) -> Result<Self> {
        let start = source.read_up_to(0, foreign::WANTED)?;
        let found = Self::of_start(&start);
        let (name, kind) = (source.name(), foreign::kind_of(&start));
        let wrong = |what: &str| Error::argument("open", format!("{}: {what}", name.display()));
        match (found, Self::of_extension(name), kind) {
            (Some(found), ..) => Ok(found),
            // The first bytes of raw elements are arbitrary.
            (None, Some(Self::Raw), Some(kind)) => {
                let what =
                    format!("the file begins like {kind} If it is raw all the same, {UNDESCRIBED}");
                Err(wrong(&what).with_hint(Hint::Raw))
            }
            (None, said, Some(kind)) => {
                Err(other_kind(said.map_or("open", Self::name), kind, source))
            }
            (None, Some(said), None) => Ok(said),
            (None, None, None) if start.is_empty() => {
                Err(wrong("the file is empty. Write or copy it again."))
            }
            (None, None, None) => {
                Err(wrong("neither its first bytes nor its extension tell its format.")
                    .with_hint(Hint::FormatOrRaw))
            }
        }
    }

    /// The format of files with these first bytes.
    fn of_start(start: &[u8]) -> Option<Self> {
        FORMATS.iter().find(|format| format.begins(start)).map(|format| format.format())
    }

    /// Rejects a source whose first bytes are those of another kind of file.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::Malformed`] with the kind.
    pub(crate) fn check(self, source: &dyn ReadAt) -> Result<()> {
        let start = source.read_up_to(0, foreign::WANTED)?;
        let kind = if self == Self::Raw {
            foreign::not_raw(source.name(), &start)
        } else {
            foreign::kind_of(&start).filter(|_| Self::of_start(&start).is_none())
        };
        kind.map_or(Ok(()), |kind| Err(other_kind(self.name(), kind, source)))
    }
}

fn other_kind(format: &'static str, kind: &str, source: &dyn ReadAt) -> Error {
    Error::Core(CoreError::Malformed { format, offset: 0, what: kind.to_owned() })
        .in_file(source.name())
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_listed_in_the_order_of_their_names() {
        for (format, listed) in Format::ALL.into_iter().zip(FORMATS) {
            assert_eq!((listed.format(), Format::from_name(listed.name())), (format, Some(format)));
            let extensions = listed.extensions().iter();
            for extension in extensions {
                let path = format!("a.{}", extension.to_uppercase());
                assert_eq!(Format::of_extension(path.as_ref()), Some(format));
            }
        }
    }
}
