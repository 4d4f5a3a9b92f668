//! Raw files: elements and nothing else. What they are, the caller has to know.

use crate::error::{Error, Result};
use crate::storage::local::file::DataFile;
use crate::storage::local::located::Located;
use std::sync::Arc;
use tensorferry_core::Shape;
use tensorferry_core::{ByteOrder, DType, Layout};

/// What a raw file holds.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The dtype.
    pub dtype: DType,
    /// The byte order.
    pub order: ByteOrder,
    /// The shape, row-major. The length of the first dimension may be left to the file's length.
    pub shape: Shape,
    /// Byte of the file at which the elements start.
    pub offset: u64,
}

impl Raw {
    /// A file of elements of one dimension, in this machine's byte order, from its first byte to
    /// its last.
    #[must_use]
    pub fn new(dtype: DType) -> Self {
        Self { dtype, order: ByteOrder::Native, shape: Shape::new([None]), offset: 0 }
    }
}

/// Where the elements of a raw file lie.
///
/// # Errors
/// [`Error::Argument`] for a shape of which more is unknown than the first length;
/// [`Error::Malformed`] if that length does not come out even; [`Error::WrongLength`] if the file
/// is too short.
pub(crate) fn locate(file: &Arc<DataFile>, raw: &Raw) -> Result<Located> {
    let size = raw.dtype.size();
    let dims: Vec<Option<usize>> = raw.shape.dims().unwrap_or(&[None]).to_vec();
    let unknown = |dims: &[Option<usize>]| dims.iter().any(Option::is_none);
    if unknown(dims.get(1..).unwrap_or_default()) {
        let what =
            format!("shape {}: only the first length can be left to the file's length", raw.shape);
        return Err(Error::Argument { stage: "open_raw", what });
    }
    let shape: Vec<usize> = match dims.split_first() {
        Some((None, row)) => {
            let row: Vec<usize> = row.iter().copied().flatten().collect();
            let rows = rows(file, raw.offset, Layout::contiguous(&row, size)?.nbytes())?;
            std::iter::once(rows).chain(row).collect()
        }
        _ => dims.into_iter().flatten().collect(),
    };
    let layout = Layout::contiguous(&shape, size)?;
    let order = if size == 1 { ByteOrder::Native } else { raw.order };
    Located {
        format: "raw",
        file: Arc::clone(file),
        offset: raw.offset,
        dtype: raw.dtype,
        order,
        layout,
    }
    .checked()
}

/// How many rows of `row` bytes there are from `offset` to the end.
fn rows(file: &Arc<DataFile>, offset: u64, row: usize) -> Result<usize> {
    let wrong =
        |what: String| Error::Malformed { format: "raw", offset, what }.in_file(file.path());
    let Some(bytes) = file.len().checked_sub(offset) else {
        return Err(Error::WrongLength { format: "raw", expected: offset, actual: file.len() }
            .in_file(file.path()));
    };
    match (bytes.checked_div(row as u64), bytes.checked_rem(row as u64)) {
        (Some(rows), Some(0)) => usize::try_from(rows).map_err(|_| wrong(format!("{rows} rows"))),
        (Some(_), Some(left)) => Err(wrong(format!(
            "{bytes} bytes are no whole number of rows of {row} bytes: {left} are left over. \
            Check dtype, shape and offset."
        ))),
        _ => Err(wrong(
            "rows of no bytes: how many there are, their length does not tell. Pass \
            the whole shape."
                .into(),
        )),
    }
}
