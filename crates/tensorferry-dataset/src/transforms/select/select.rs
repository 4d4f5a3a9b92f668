//! `select`: elements at given indices, in their order.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::request::{Columns, RowPart};
use crate::spec::Cardinality;
use crate::stage::{CheckpointInfo, Context, Dataset, Element, Elements, Hints, Stage};
use crate::transforms::select::indices::Indices;
use tensorferry_core::Tensor;
use tensorferry_io::array::array::Array;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::room::listed;
use tensorferry_io::storage::mode::Mode;

struct Select {
    input: Dataset,
    /// How many elements the input has; `None` if there is no end.
    n: Option<u64>,
    indices: Indices,
}

impl Dataset {
    /// The elements at these indices, in their order. An index may be repeated; a negative one
    /// counts from the end. The dataset has to be indexed, and so is the result.
    ///
    /// An array of bools is a mask: the elements at its true values. Indices in memory are copied.
    /// In a file, indices of at most 64 MiB are read into memory, and more are read with the
    /// elements; all are read once now, to check them and for the plan's description.
    ///
    /// ```
    /// use tensorferry_core::{DType, Tensor};
    /// use tensorferry_dataset::Dataset;
    /// use tensorferry_io::Array;
    ///
    /// let numbers = Dataset::range(0, 10, 1, DType::Int64)?;
    /// let indices = Array::try_from(Tensor::from_vec(vec![7_i32, 0, -1, 7], &[4])?)?;
    /// let batch = numbers.select(&indices)?.batch(4)?.get(0)?;
    /// assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[7, 0, 9, 7][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoElement`] for the first index without an element; [`Error::Argument`] if the
    /// dataset is not indexed, `indices` is not an array of integers or bools with one dimension,
    /// or a mask has not one value for each element; errors of reading.
    pub fn select(&self, indices: &Array) -> Result<Self> {
        let n = match self.cardinality() {
            _ if !self.indexed => return Err(no_random_access("select")),
            cardinality => cardinality.finite(),
        };
        Ok(self.selected(n, Indices::new(indices, n)?))
    }

    fn selected(&self, n: Option<u64>, indices: Indices) -> Self {
        Self::of(Select { input: self.clone(), n, indices })
    }
}

/// The error of a stage that needs random access, for a dataset without it.
pub(crate) fn no_random_access(stage: &'static str) -> Error {
    let what = "the dataset has no random access (filter, from_generator and the like). Do this \
        before that stage, or save() the dataset and load() it.";
    Error::Argument { stage, what: what.into() }
}

impl Stage for Select {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.indices.len)
    }

    fn describe(&self) -> String {
        format!("select({} indices, {:016x})", self.indices.len, self.indices.hash)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let n = inputs[0].cardinality().finite();
        if !inputs[0].indexed || n.is_some_and(|n| n < self.indices.end) {
            return Err(no_random_access("select"));
        }
        Ok(inputs[0].selected(n, self.indices.clone()))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        let Some(array) = self.indices.opened() else { return inputs };
        inputs.and(Hints {
            reads_files: array.mode() != Mode::Map,
            sequential: array.source().0.is_sequential(),
            direct_arrays: usize::from(array.mode() == Mode::Direct),
            remote_arrays: usize::from(array.is_remote()),
            ..Hints::default()
        })
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { identity: self.indices.hash, ..CheckpointInfo::default() }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let mut request = [RowRequest { index, slot: 0 }];
        self.indices.locate_all(&mut request, self.n, &cx.cancel)?;
        self.input.stage.get(request[0].index, cx)
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        self.input.stage.slice(self.indices.run(start, len)?, len, cx)
    }

    fn is_measured(&self, at: usize) -> bool {
        self.input.stage.is_measured(at)
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.indices.locate_all(requests, self.n, &cx.cancel)?;
        self.input.stage.lengths(at, requests, out, cx)
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        let request = |(slot, part): (usize, &RowPart)| RowRequest { index: part.index, slot };
        let mut requests: Vec<RowRequest> = listed(parts.iter().enumerate().map(request))?;
        self.indices.locate_all(&mut requests, self.n, &cx.cancel)?;
        requests.iter().for_each(|request| parts[request.slot].index = request.index);
        self.input.stage.gather_parts(at, parts, out, cx)
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.indices.locate_all(requests, self.n, &cx.cancel)?;
        self.input.stage.gather(columns, requests, out, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShuffleOptions;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, first, range, rows,
        values,
    };
    use tensorferry_core::Tensor;

    fn array(indices: &[i64]) -> Array {
        Array::try_from(Tensor::from_vec(indices.to_vec(), &[indices.len()]).unwrap()).unwrap()
    }

    fn mask(values: &[bool]) -> Array {
        Array::try_from(Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap()).unwrap()
    }

    #[test]
    fn elements_are_those_of_the_indices_in_their_order() -> Result<()> {
        let given = [3, 3, -1, 0, 1, 2, -10, 9];
        let expected = [3, 3, 9, 0, 1, 2, 0, 9];
        let picked = range(10).select(&array(&given))?;
        assert_eq!(picked.cardinality(), Cardinality::Finite(8));
        assert_eq!(values(&picked), expected);
        for size in 1..9 {
            assert_eq!(rows(&picked.batch(size)?).concat(), expected);
        }
        for epoch in 0..2 {
            let all = picked.iter_with(Epoch(epoch), &Options::default());
            assert_eq!(all.map(|element| first(&element.unwrap())).collect::<Vec<_>>(), expected);
        }
        assert_eq!(values(&range(10).select(&array(&[]))?), [0; 0]);
        assert_eq!(values(&range(3).repeat(None).select(&array(&[7, 5]))?), [1, 2]);
        Ok(())
    }

    #[test]
    fn a_mask_selects_its_true_values() -> Result<()> {
        let wanted = mask(&[true, false, false, true, true]);
        assert_eq!(values(&range(5).select(&wanted)?), [0, 3, 4]);
        assert_eq!(values(&range(0).select(&mask(&[]))?), [0; 0]);
        let said = |input: Dataset| input.select(&wanted).unwrap_err().to_string();
        assert!(said(range(4)).contains("the mask has 5 values and the dataset 4 elements"));
        assert!(said(range(5).repeat(None)).contains("infinite"));
        Ok(())
    }

    #[test]
    fn later_stages_stay_indexed_and_resume_exactly() -> Result<()> {
        let picked = range(10).select(&array(&[3, 3, -1, 0, 1, 2, -10, 9]))?;
        for dataset in [
            picked.clone(),
            picked.shuffle(ShuffleOptions::seeded(7))?.shard(3, 1)?.batch(2)?,
            range(10).shuffle(ShuffleOptions::seeded(1))?.select(&array(&[4, 4, 2]))?,
        ] {
            assert!(dataset.is_indexed());
            assert_resumes(&dataset);
            assert_rejects_damage(&dataset);
            assert_rebuilds(&dataset);
        }
        Ok(())
    }

    #[test]
    fn the_state_of_another_selection_is_refused() -> Result<()> {
        let plan = |indices: &[i64]| range(10).select(&array(indices));
        let mut begun = plan(&[1, 2, 3])?.iter();
        begun.next();
        let saved = begun.checkpoint()?;
        assert_eq!(plan(&[1, 2, -7])?.resume(&saved, &Options::default())?.count(), 2);
        let refused = plan(&[1, 2, 4])?.resume(&saved, &Options::default());
        assert!(matches!(refused, Err(Error::State { .. })));
        Ok(())
    }

    #[test]
    fn errors_name_the_first_bad_index() {
        let said = |indices: &[i64]| range(10).select(&array(indices)).unwrap_err().to_string();
        assert_eq!(
            said(&[0, 10, -11]),
            "select: index 10 at position 1 is out of range: the dataset has 10 elements. Indices \
             are less than 10 and at least -10."
        );
        assert!(said(&[-11]).contains("index -11 at position 0"));
        let floats = Array::try_from(Tensor::from_vec(vec![1.0_f32], &[1]).unwrap()).unwrap();
        let error = range(3).select(&floats).unwrap_err().to_string();
        assert!(error.contains("not float32 of shape [1]"), "{error}");
        let error = counting(3).select(&array(&[0])).unwrap_err().to_string();
        assert!(error.contains("no random access"), "{error}");
        let large = Array::try_from(Tensor::from_vec(vec![u64::MAX], &[1]).unwrap()).unwrap();
        let error = range(3).select(&large).unwrap_err().to_string();
        assert!(error.contains("index 18446744073709551615"), "{error}");
    }
}
