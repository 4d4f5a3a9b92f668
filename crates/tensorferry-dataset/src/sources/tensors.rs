//! `from_tensors`: a dataset of one element.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::request::Columns;
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, Elements, Hints, Stage};
use tensorferry_core::{ALIGNMENT, ByteOrder, Index, Shape, Tensor, TensorSpec};
use tensorferry_io::array::array::Array;
use tensorferry_io::array::tensor_rows::Source;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, copy_view, filled};
use tensorferry_io::storage::mode::Mode;

struct Tensors {
    sources: Vec<Source>,
    spec: Vec<Component>,
}

impl Dataset {
    /// A dataset of one element: the arrays as they are, which may be scalars. Arrays that may
    /// still be written to are copied on each access.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let one = Dataset::from_tensors([Tensor::from_vec(vec![1_i32, 2], &[2])?]);
    /// assert_eq!(one.cardinality(), Cardinality::Finite(1));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    pub fn from_tensors<S: Into<Source>>(sources: impl IntoIterator<Item = S>) -> Self {
        let sources: Vec<Source> = sources.into_iter().map(Into::into).collect();
        let spec = |source: &Source| {
            Component::Tensor(TensorSpec::new(
                source.tensor.dtype(),
                Shape::fixed(source.tensor.shape()),
            ))
        };
        let spec = sources.iter().map(spec).collect();
        Self::of(Tensors { sources, spec })
    }
}

/// Opened arrays, read when the element is computed.
struct Opened {
    arrays: Vec<Array>,
    spec: Vec<Component>,
}

impl Dataset {
    /// As [`Dataset::from_tensors`], with opened arrays, which are read on each access.
    #[must_use]
    pub fn from_whole_arrays(arrays: Vec<Array>) -> Self {
        let spec = |array: &Array| {
            Component::Tensor(TensorSpec::new(array.dtype(), Shape::fixed(array.shape())))
        };
        Self::of(Opened { spec: arrays.iter().map(spec).collect(), arrays })
    }
}

impl Stage for Opened {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(1)
    }

    fn describe(&self) -> String {
        described(&self.spec)
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::from_whole_arrays(self.arrays.clone()))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        let reads_files = self.arrays.iter().any(|array| array.mode() != Mode::Map);
        let direct = self.arrays.iter().filter(|array| array.mode() == Mode::Direct);
        let remote_arrays = self.arrays.iter().filter(|array| array.is_remote()).count();
        Hints { reads_files, direct_arrays: direct.count(), remote_arrays, ..inputs }
    }

    fn get(&self, _index: u64, cx: &Context) -> Result<Element> {
        self.arrays.iter().map(|array| Ok(array.cancelled_by(&cx.cancel).read()?.into())).collect()
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        for (at, rows) in columns.indices(out.len()).zip(out) {
            let array = &self.arrays[at];
            for request in requests.iter() {
                array.fill(0, array.len(), rows.slot(request.slot), &cx.cancel)?;
            }
        }
        Ok(())
    }
}

/// Equal for arrays in memory and in files, so that a state applies to both.
fn described(spec: &[Component]) -> String {
    let parts: Vec<String> = spec.iter().map(ToString::to_string).collect();
    format!("from_tensors({})", parts.join(", "))
}

impl Stage for Tensors {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(1)
    }

    fn describe(&self) -> String {
        described(&self.spec)
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::from_tensors(self.sources.clone()))
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo {
            identity: crate::sources::slices::identities(&self.sources),
            ..CheckpointInfo::default()
        }
    }

    fn get(&self, _index: u64, _cx: &Context) -> Result<Element> {
        let value = |Source { tensor, frozen }: &Source| {
            if *frozen
                && tensor.byte_order() == ByteOrder::Native
                && tensor.as_view().has_normal_bools()
            {
                return Ok(tensor.clone().into());
            }
            Ok(filled(tensor.dtype(), tensor.shape(), |out| copy_view(&tensor.as_view(), out))?
                .into())
        };
        self.sources.iter().map(value).collect()
    }

    fn slice(&self, _start: u64, len: usize, _cx: &Context) -> Option<Vec<Tensor>> {
        let share = |Source { tensor, frozen }: &Source| {
            let whole = *frozen
                && len == 1
                && tensor.byte_order() == ByteOrder::Native
                && tensor.layout().is_c_contiguous();
            if !whole
                || !tensor.as_ptr().addr().is_multiple_of(ALIGNMENT)
                || !tensor.as_view().has_normal_bools()
            {
                return None;
            }
            tensor.index(&[Index::NewAxis]).ok()
        };
        self.sources.iter().map(share).collect()
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        _cx: &Context,
    ) -> Result<()> {
        for (at, rows) in columns.indices(out.len()).zip(out) {
            let view = self.sources[at].tensor.as_view();
            requests.iter().try_for_each(|request| copy_view(&view, rows.slot(request.slot)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;

    #[test]
    fn from_tensors_is_one_element_and_shares_read_only_arrays() -> Result<()> {
        let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
        let address = tensor.as_ptr();
        let open = Source { tensor: tensor.clone(), frozen: false };
        let frozen = Source { tensor, frozen: true };
        let element = Dataset::from_tensors([frozen, open]).get(0)?;
        assert_eq!(element[0].tensor()?.as_ptr(), address);
        assert_ne!(element[1].tensor()?.as_ptr(), address);
        assert_eq!(element[1].tensor()?.view::<i32>()?.as_slice(), Some(&[1, 2, 3][..]));
        Ok(())
    }

    #[test]
    fn from_tensors_repeated_and_batched_stacks_its_element() -> Result<()> {
        let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
        let batch = Dataset::from_tensors([tensor])
            .repeat(Some(2))
            .batch_with(2, BatchOptions::DROP_REMAINDER)?
            .get(0)?;
        assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[1, 2, 3, 1, 2, 3][..]));
        Ok(())
    }
}
