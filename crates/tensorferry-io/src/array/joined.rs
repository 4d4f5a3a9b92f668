//! Arrays of different sources, joined into one.

use crate::array::array::Array;
use crate::array::parts::Parts;
use crate::array::row_source::RowSource;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::gather::request::RowRequest;
use crate::gather::rows_out::RowsOut;
use std::path::Path;
use tensorferry_core::TensorSpec;

/// Arrays of one dtype and row shape, concatenated.
#[derive(Debug)]
pub(crate) struct Joined {
    spec: [TensorSpec; 1],
    arrays: Vec<Array>,
    parts: Parts,
}

impl Joined {
    /// Joins arrays of at least one dimension whose rows have this `spec`.
    pub(crate) fn new(spec: TensorSpec, arrays: Vec<Array>) -> Result<Self> {
        let parts = Parts::new(arrays.iter().map(|array| array.len() as u64))?;
        Ok(Self { spec: [spec], arrays, parts })
    }
}

impl RowSource for Joined {
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
        self.parts.each_part(requests, |part, here| {
            let (source, column) = self.arrays[part].source();
            let cancel = cancel.reading(self.parts.within(part, &cancel.rows()));
            source.read_rows(&[column], here, out, &cancel)
        })
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        let (part, row) = self.parts.find(row).ok()?;
        self.arrays[part].source().0.place(row)
    }
}
