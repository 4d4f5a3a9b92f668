//! A packed array at some offset of a file: what every format that stores elements as they are
//! comes down to.

use crate::error::{Error, Result};
use crate::memory::mmap::map;
use crate::memory::pool;
use crate::storage::local::file::DataFile;
use crate::write::atomic::io;
use std::sync::Arc;
use tensorferry_core::{ByteOrder, DType, Layout, Tensor};

/// Where the elements of an array lie.
#[derive(Clone, Debug)]
pub struct Located {
    /// The format that says so, for errors: `"npy"`.
    pub format: &'static str,
    /// The file.
    pub file: Arc<DataFile>,
    /// Byte of the file at which the elements start.
    pub offset: u64,
    /// The dtype of an element.
    pub dtype: DType,
    /// The byte order of an element.
    pub order: ByteOrder,
    /// Packed, in row-major or column-major order.
    pub layout: Layout,
}

impl Located {
    /// The same, once its end is found to lie inside the file.
    ///
    /// # Errors
    /// [`Error::WrongLength`] if the file is shorter.
    pub(crate) fn checked(self) -> Result<Self> {
        let (expected, actual) =
            (self.offset.saturating_add(self.layout.nbytes() as u64), self.file.len());
        if expected > actual {
            return Err(Error::WrongLength { format: self.format, expected, actual }
                .in_file(self.file.path()));
        }
        Ok(self)
    }

    /// A tensor over a read-only mapping of the elements.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be mapped; [`Error::FileChanged`].
    pub fn map(&self) -> Result<Tensor> {
        let layout = self.layout.clone();
        if layout.is_empty() {
            return Tensor::new(self.dtype, self.order, layout, pool::take(0)?.freeze(), 0);
        }
        let handle = self.file.handle()?;
        self.file.check_unchanged(&handle)?;
        let (buffer, offset) =
            map(&handle, self.offset, layout.nbytes()).map_err(io("map", self.file.path()))?;
        Tensor::new(self.dtype, self.order, layout, buffer, offset)
    }
}
