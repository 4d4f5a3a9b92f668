//! [`Located`]: a packed array at some offset of a source.

use crate::error::{Error, Hint, Result};
use crate::memory::pool;
use crate::storage::read_at::{Extent, ReadAt};
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{ByteOrder, DType, Layout, Tensor};

/// The location and type of an array's elements.
#[derive(Clone, Debug)]
pub struct Located {
    /// The name of the format, for errors: `"npy"`.
    pub format: &'static str,
    /// Source that contains the elements.
    pub source: Arc<dyn ReadAt>,
    /// Offset of the first element in bytes.
    pub offset: u64,
    /// Dtype of the elements.
    pub dtype: DType,
    /// Byte order of the elements.
    pub order: ByteOrder,
    /// Packed, in row-major or column-major order.
    pub layout: Layout,
}

impl Located {
    /// Returns `self` if its end lies inside the source.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::WrongLength`] if the source is shorter.
    pub(crate) fn checked(self) -> Result<Self> {
        let (expected, actual) =
            (self.offset.saturating_add(self.layout.nbytes() as u64), self.source.len());
        if expected > actual {
            return Err(Error::Core(CoreError::WrongLength {
                format: self.format,
                expected,
                actual,
            })
            .in_file(self.source.name()));
        }
        Ok(self)
    }

    /// The extent of the elements.
    pub(crate) fn extent(&self) -> Extent {
        let end = self.offset.saturating_add(self.layout.nbytes() as u64);
        Extent { source: Arc::clone(&self.source), bytes: self.offset..end }
    }

    /// A tensor over a read-only mapping of the elements.
    ///
    /// # Errors
    /// [`Error::Argument`] if the storage cannot be mapped; [`Error::Io`]; [`Error::FileChanged`].
    pub fn map(&self) -> Result<Tensor> {
        let layout = self.layout.clone();
        if layout.is_empty() {
            let empty = pool::take(0)?.freeze();
            return Ok(Tensor::new(self.dtype, self.order, layout, empty, 0)?);
        }
        let Some(source) = self.source.as_mmap() else {
            return Err(not_mappable(self.source.name()));
        };
        let (buffer, offset) = source.mmap(self.offset, layout.nbytes())?;
        Ok(Tensor::new(self.dtype, self.order, layout, buffer, offset)?)
    }
}

pub(crate) fn not_mappable(name: &Path) -> Error {
    let what = format!("{}: its storage cannot be memory-mapped.", name.display());
    Error::argument("open", what).with_hint(Hint::Read)
}
