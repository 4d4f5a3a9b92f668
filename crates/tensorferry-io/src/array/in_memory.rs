//! Rows in memory: of tensors and memory-mapped files.

use crate::array::parts::Parts;
use crate::array::row_source::{RowSource, Stored};
use crate::array::tensor_rows::Source;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::gather::request::RowRequest;
use crate::gather::rows_out::RowsOut;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::TensorSpec;
use tensorferry_core::{ByteOrder, Index, Tensor};

/// Tensors of one dtype and row shape, concatenated into one array.
#[derive(Debug)]
pub(crate) struct InMemory {
    spec: [TensorSpec; 1],
    arrays: Vec<Source>,
    parts: Parts,
    /// Path of each tensor's file; empty if they are not in files.
    files: Arc<[PathBuf]>,
}

impl InMemory {
    /// Joins tensors of at least one dimension with rows of this `spec`. `files` are their files,
    /// if any.
    pub(crate) fn new(
        spec: TensorSpec,
        arrays: Vec<Source>,
        files: Arc<[PathBuf]>,
    ) -> Result<Self> {
        let parts = Parts::new(
            arrays.iter().map(|array| array.tensor.shape().first().map_or(1, |rows| *rows as u64)),
        )?;
        Ok(Self { spec: [spec], arrays, parts, files })
    }
}

impl RowSource for InMemory {
    fn columns(&self) -> &[TensorSpec] {
        &self.spec
    }

    fn rows(&self) -> u64 {
        self.parts.rows()
    }

    fn read_rows(
        &self,
        _which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(rows) = out.first_mut() else { return Ok(()) };
        if let [array] = self.arrays.as_slice() {
            return array.gather(requests, rows);
        }
        self.parts.each_part(requests, |part, here| {
            cancel.check()?;
            self.arrays[part].gather(here, rows)
        })
    }

    fn share(&self, _column: usize, start: u64, len: usize) -> Option<Tensor> {
        let (part, row) = if len == 0 { (0, 0) } else { self.parts.find(start).ok()? };
        let array = self.arrays.get(part).filter(|array| array.frozen)?;
        let rows = array
            .tensor
            .index(&[Index::Slice { start: usize::try_from(row).ok()?, step: 1, len }])
            .ok()?;
        (rows.byte_order() == ByteOrder::Native).then_some(rows)
    }

    fn tensor(&self, _column: usize) -> Option<&Tensor> {
        match self.arrays.as_slice() {
            [array] if array.frozen => Some(&array.tensor),
            _ => None,
        }
    }

    fn stored(&self, _column: usize) -> Option<Stored> {
        Stored::common(
            self.arrays
                .iter()
                .map(|array| Stored::of(array.tensor.byte_order(), array.tensor.layout())),
        )
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        let (part, row) = self.parts.find(row).ok()?;
        Some((self.files.get(part)?, row))
    }
}
