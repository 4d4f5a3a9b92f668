//! [`ReadAt`]: the interface between storage and formats.
//!
//! # Rationale
//! A batch needs ranges of many sources at once, and some storage is fast only if it gets them
//! together. So a source reads many ranges in one call ([`ReadAt::read_ranges`]), and a group of
//! sources of one kind may share an engine that reads from all of them ([`ReadAt::engine`]).

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::mode::Mode;
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::Buffer;

/// Bytes that can be read at any offset: a file, an object of a store, memory.
///
/// The length and the bytes must not change while the source is open. A source that detects a
/// change fails with [`Error::FileChanged`](crate::error::Error::FileChanged).
///
/// ```
/// use std::path::Path;
/// use std::sync::Arc;
/// use tensorferry_io::{CancelToken, OpenOptions, ReadAt, open_sources};
///
/// #[derive(Debug)]
/// struct Memory(&'static [u8]);
///
/// impl ReadAt for Memory {
///     fn len(&self) -> u64 {
///         self.0.len() as u64
///     }
///
///     fn name(&self) -> &Path {
///         Path::new("labels.bin")
///     }
///
///     fn read_exact_at(
///         &self,
///         offset: u64,
///         out: &mut [u8],
///         _cancel: &CancelToken,
///     ) -> tensorferry_io::Result<()> {
///         let start = usize::try_from(offset).unwrap();
///         out.copy_from_slice(&self.0[start..start + out.len()]);
///         Ok(())
///     }
/// }
///
/// let raw = tensorferry_io::Raw::new(tensorferry_core::DType::UInt8);
/// let options = OpenOptions { raw: Some(raw), ..OpenOptions::default() };
/// let labels = open_sources(&[Arc::new(Memory(&[3, 1, 2]))], &options)?.array()?;
/// assert_eq!(labels.rows(&[2, 0])?.view::<u8>()?.as_slice(), Some(&[2, 3][..]));
/// # Ok::<(), tensorferry_io::Error>(())
/// ```
#[allow(clippy::len_without_is_empty, reason = "a length in bytes, as a file has it")]
pub trait ReadAt: Any + fmt::Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Name for error messages. Its extension may determine the format.
    fn name(&self) -> &Path;

    /// A mark that differs between two states of the same source, such as an entity tag. `None` if
    /// the storage has none.
    fn version(&self) -> Option<Version> {
        None
    }

    /// Fills `out` with the bytes starting at `offset`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) or [`Error::Read`](crate::error::Error::Read);
    /// [`Error::ShortRead`](crate::error::Error::ShortRead) if the source ends before;
    /// [`Error::FileChanged`](crate::error::Error::FileChanged);
    /// [`Error::Interrupted`](crate::error::Error::Interrupted) once `cancel` is cancelled.
    fn read_exact_at(&self, offset: u64, out: &mut [u8], cancel: &CancelToken) -> Result<()>;

    /// Fills many ranges, sorted by offset. They may overlap in the source. The default reads them
    /// one after the other; storage with a high latency should read them concurrently.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`]. After an error, the contents of the ranges are unspecified.
    fn read_ranges(&self, ranges: &mut [ReadRange<'_>], cancel: &CancelToken) -> Result<()> {
        ranges.iter_mut().try_for_each(|range| {
            cancel.check()?;
            self.read_exact_at(range.offset, range.out, cancel)
        })
    }

    /// At most `len` bytes starting at `offset`; fewer if the source ends before.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    fn read_up_to(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(left)];
        if !bytes.is_empty() {
            self.read_exact_at(offset, &mut bytes, &CancelToken::default())?;
        }
        Ok(bytes)
    }

    /// The source as mappable memory, for [`Mode::Map`]; `None` if it cannot be mapped.
    fn as_mmap(&self) -> Option<&dyn Mmap> {
        None
    }

    /// An engine for a group of sources that starts with this one. `None` if the storage has none
    /// that is faster than [`ReadAt::read_ranges`] of one source after the other. `group` lists the
    /// rows' bytes in each source.
    fn engine(&self, _mode: Mode, _group: &[Extent]) -> Option<Arc<dyn ReadEngine>> {
        None
    }
}

/// A range of a source and the buffer to read it into.
#[derive(Debug)]
pub struct ReadRange<'a> {
    /// Offset of the first byte.
    pub offset: u64,
    /// Buffer, whose length is that of the range.
    pub out: &'a mut [u8],
}

/// A mark of a source's state. Marks are only compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// A version of this mark.
    pub fn new(mark: impl Into<String>) -> Self {
        Self(mark.into())
    }

    /// The mark.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A source that can be mapped into memory.
pub trait Mmap {
    /// Maps `len` bytes starting at `offset`, which lie in the source. Returns the buffer and their
    /// offset in it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io);
    /// [`Error::FileChanged`](crate::error::Error::FileChanged).
    fn mmap(&self, offset: u64, len: usize) -> Result<(Buffer, usize)>;
}

/// The bytes of a source that hold rows.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The source.
    pub source: Arc<dyn ReadAt>,
    /// Range of the bytes.
    pub bytes: Range<u64>,
}

/// A range of one source of a group.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Index of the source in the group.
    pub source: usize,
    /// Offset of the first byte.
    pub offset: u64,
    /// Buffer, whose length is that of the range.
    pub out: &'a mut [u8],
}

/// Reads the pieces that a batch needs from a group of sources. Used by many threads at once.
pub trait ReadEngine: Send + Sync + fmt::Debug {
    /// The mode of this engine.
    fn mode(&self) -> Mode;

    /// Fills all pieces and may reorder them. After an error, their contents are unspecified.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    fn read(&self, pieces: &mut [Piece<'_>], cancel: &CancelToken) -> Result<()>;

    /// As [`ReadEngine::read`], for work that reads nothing outside of `within`. An engine that
    /// receives bytes ahead should not go beyond it.
    ///
    /// # Errors
    /// As [`ReadEngine::read`].
    fn read_within(
        &self,
        pieces: &mut [Piece<'_>],
        _within: &Range<Place>,
        cancel: &CancelToken,
    ) -> Result<()> {
        self.read(pieces, cancel)
    }
}

/// A place in a group of sources: the index of the source, and an offset in it.
pub type Place = (usize, u64);
