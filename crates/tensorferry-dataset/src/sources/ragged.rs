//! `from_ragged`: rows of different lengths.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::request::{Request, RowPart, each_group};
use crate::shuffle::prng;
use crate::sources::row_splits::RowSplits;
use crate::sources::slices::identities;
use crate::sources::values::{Place, Values};
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, Elements, Hints, Stage};
use tensorferry_core::{Error as CoreError, Shape, Tensor, TensorSpec};
use tensorferry_io::array::row_source::RowRun;
use tensorferry_io::array::tensor_rows::Source;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::room::list_of;

/// Rows of different lengths: values, and where each row lies in them.
///
/// ```
/// use tensorferry_core::Tensor;
/// use tensorferry_dataset::{Dataset, Ragged};
///
/// let values = Tensor::from_vec(vec![1_i32, 2, 3, 4, 5], &[5])?;
/// let splits = Tensor::from_vec(vec![0_i64, 2, 2, 5], &[4])?;
/// let rows = Ragged::from_row_splits(values, &splits)?;
/// assert_eq!(rows.len(), 3);
/// let last = Dataset::from_ragged([rows])?.get(2)?;
/// assert_eq!(last[0].tensor()?.view::<i32>()?.as_slice(), Some(&[3, 4, 5][..]));
/// # Ok::<(), tensorferry_dataset::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ragged {
    values: Values,
    splits: RowSplits,
}

fn wrong(what: String) -> Error {
    Error::Argument { stage: "from_ragged", what }
}

impl Ragged {
    /// Row `i` is `values[row_splits[i]..row_splits[i + 1]]`. Int32 and int64 splits are shared,
    /// others are converted.
    ///
    /// # Errors
    /// [`Error::Argument`] if the values have no dimension, or if the splits do not rise from 0 to
    /// the number of values.
    pub fn from_row_splits(values: impl Into<Values>, row_splits: &Tensor) -> Result<Self> {
        Self::new(values.into(), |count| RowSplits::from_splits(row_splits, count, false))
    }

    /// As [`Ragged::from_row_splits`], where the rows need not cover all values, such as a slice of
    /// an Arrow array.
    ///
    /// # Errors
    /// As [`Ragged::from_row_splits`].
    pub fn from_part(values: impl Into<Values>, row_splits: &Tensor) -> Result<Self> {
        Self::new(values.into(), |count| RowSplits::from_splits(row_splits, count, true))
    }

    /// Rows of these lengths, one after the other.
    ///
    /// # Errors
    /// [`Error::Argument`] if the values have no dimension, or if the lengths do not add up to the
    /// number of values.
    pub fn from_row_lengths(values: impl Into<Values>, row_lengths: &Tensor) -> Result<Self> {
        Self::new(values.into(), |count| RowSplits::from_lengths(row_lengths, count))
    }

    /// Row `i` is `values[row_starts[i]..row_starts[i] + row_lengths[i]]`. Rows may overlap.
    ///
    /// # Errors
    /// [`Error::Argument`] if the values have no dimension, if the numbers of starts and lengths
    /// differ, or if a row is not inside the values.
    pub fn from_row_starts(
        values: impl Into<Values>,
        row_starts: &Tensor,
        row_lengths: &Tensor,
    ) -> Result<Self> {
        Self::new(values.into(), |count| RowSplits::placed(row_starts, row_lengths, count))
    }

    fn new(values: Values, splits: impl FnOnce(usize) -> Result<RowSplits>) -> Result<Self> {
        let Some(&count) = values.shape().first() else {
            return Err(wrong("the values are a scalar, which has no rows".into()));
        };
        let splits = splits(count)?;
        Ok(Self { values, splits })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.splits.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn spec(&self) -> TensorSpec {
        let inner = self.values.shape().get(1..).unwrap_or_default();
        TensorSpec::new(self.values.dtype(), Shape::fixed(inner).batched(None))
    }
}

struct RaggedRows {
    parts: Vec<Ragged>,
    /// Number of rows up to the end of each part.
    ends: Vec<u64>,
    spec: Vec<Component>,
}

impl Dataset {
    /// Rows of different lengths: element `i` is row `i` of the parts, one after the other. Nothing
    /// is copied or read before it is needed. Lengths are known before rows are read, so that
    /// [`Dataset::padded_batch`] writes rows directly into the batch.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no parts; [`Error::ElementMismatch`] if the dtypes or inner
    /// dimensions of their values differ.
    pub fn from_ragged(parts: impl IntoIterator<Item = Ragged>) -> Result<Self> {
        let parts: Vec<Ragged> = parts.into_iter().collect();
        let Some(spec) = parts.first().map(Ragged::spec) else {
            return Err(wrong("no arrays were given".into()));
        };
        if let Some(other) = parts.iter().map(Ragged::spec).find(|other| *other != spec) {
            let what = format!("from_ragged: parts of {spec} and of {other}");
            return Err(Error::ElementMismatch { what });
        }
        let ends = parts.iter().scan(0, |end, part| {
            *end += part.len() as u64;
            Some(*end)
        });
        let (ends, spec) = (ends.collect(), vec![Component::Tensor(spec)]);
        Ok(Self::of(RaggedRows { parts, ends, spec }))
    }
}

impl RaggedRows {
    /// The array of an existing row, and the row's number there.
    fn place(&self, index: u64) -> Result<(usize, u64)> {
        let part = self.ends.partition_point(|end| *end <= index);
        if part >= self.parts.len() {
            return Err(CoreError::IndexOutOfRange {
                index: isize::try_from(index).unwrap_or(isize::MAX),
                axis: 0,
                len: self.ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or(usize::MAX)),
            }
            .into());
        }
        let before = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        Ok((part, index - before))
    }

    /// Calls `each` with each of the arrays and the requests for its rows.
    fn each_array<T: Request>(
        &self,
        requests: &mut [T],
        mut each: impl FnMut(&Ragged, &mut [T]) -> Result<()>,
    ) -> Result<()> {
        if let [only] = self.parts.as_slice() {
            return each(only, requests);
        }
        let array = |index| self.ends.partition_point(|end| *end <= index);
        each_group(requests, array, |array, requests| {
            for request in requests.iter_mut() {
                request.set_index(self.place(request.index())?.1);
            }
            each(&self.parts[array], requests)
        })
    }

    /// Writes parts of the rows of one array.
    fn read(
        &self,
        array: &Ragged,
        parts: &[RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        let (mut runs, mut next) = (list_of::<RowRun>(parts.len())?, parts.iter());
        array.splits.each(parts.iter().map(|part| part.index), |start, row| {
            let Some(part) = next.next().filter(|part| part.len > 0) else { return Ok(()) };
            if part.start.saturating_add(part.len) > row {
                return Err(changed(row));
            }
            let (index, slot) = (start + part.start as u64, part.slot);
            match runs.last_mut() {
                Some(run) if run.index + run.len as u64 == index && run.slot + run.len == slot => {
                    run.len += part.len;
                }
                _ => runs.push(RowRun { index, slot, len: part.len }),
            }
            Ok(())
        })?;
        if !runs.is_sorted_by_key(|run| run.slot) {
            runs.sort_unstable_by_key(|run| run.slot);
        }
        array.values.read_runs(&runs, out.reborrow(), cx)
    }
}

/// The error for a row that has fewer values than when its length was looked up.
#[cold]
fn changed(row: usize) -> Error {
    let what = format!("the row splits changed while a batch was read: a row has {row} values");
    Error::ElementMismatch { what }
}

impl Stage for RaggedRows {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.ends.last().copied().unwrap_or(0))
    }

    fn describe(&self) -> String {
        let rows = self.ends.last().copied().unwrap_or(0);
        let values: usize = self.parts.iter().map(|part| part.values.shape()[0]).sum();
        format!("from_ragged({rows} x {}, {values} values)", Component::list(&self.spec))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Dataset::from_ragged(self.parts.iter().cloned())
    }

    fn hints(&self, inputs: Hints) -> Hints {
        self.parts.iter().fold(inputs, |hints, part| part.values.hints(hints))
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        let sources = |part: &Ragged| {
            let values = match &part.values.place {
                Place::Memory(source) => Some(source.clone()),
                Place::Opened(_) => None,
            };
            let splits = part.splits.tensors().into_iter().map(Source::from);
            identities(&values.into_iter().chain(splits).collect::<Vec<_>>())
        };
        let identity = self.parts.iter().map(sources).fold(0, |all, one| prng::mix(all ^ one));
        CheckpointInfo { identity, ..CheckpointInfo::default() }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let (part, row) = self.place(index)?;
        let part = &self.parts[part];
        let mut element = Element::new();
        part.splits.each(std::iter::once(row), |start, len| {
            element.push(part.values.rows(start, len, cx)?.into());
            Ok(())
        })?;
        Ok(element)
    }

    fn is_measured(&self, at: usize) -> bool {
        at == 0
    }

    fn lengths(
        &self,
        _at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        _cx: &Context,
    ) -> Result<()> {
        self.each_array(requests, |array, requests| {
            let mut slots = requests.iter().map(|request| request.slot);
            array.splits.each(requests.iter().map(|request| request.index), |_, len| {
                if let Some(slot) = slots.next() {
                    out[slot] = len;
                }
                Ok(())
            })
        })
    }

    fn gather_parts(
        &self,
        _at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        self.each_array(parts, |array, parts| self.read(array, parts, out, cx))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::{small_numbers, streamed};
    use crate::testing::{assert_rebuilds, assert_resumes, range, rest, stream};
    use crate::{BatchOptions, PaddedBatchOptions, ShuffleOptions};
    use tensorferry_core::{Casting, DType, Index};
    use tensorferry_io::array::array::Array;
    use tensorferry_io::format::npy::save_npy;
    use tensorferry_io::open::open_with;
    use tensorferry_io::storage::mode::Mode;

    const LENGTHS: [i64; 9] = [3, 0, 1, 7, 2, 2, 0, 5, 1];

    fn tensor(numbers: &[i64]) -> Tensor {
        Tensor::from_vec(numbers.to_vec(), &[numbers.len()]).unwrap()
    }

    /// The same rows from values of every layout and place.
    fn every_kind(directory: &tempfile::TempDir) -> Vec<Dataset> {
        let mut all = Vec::new();
        for (dtype, inner) in [(DType::Int32, &[][..]), (DType::Bool, &[2]), (DType::Int64, &[0])] {
            let shape: Vec<usize> = [21].iter().chain(inner).copied().collect();
            let values = small_numbers(dtype, &shape, 5);
            let wide: Vec<usize> = [42].iter().chain(inner).copied().collect();
            let every_second = small_numbers(dtype, &wide, 5)
                .index(&[Index::Slice { start: 41, step: -2, len: 21 }])
                .unwrap();
            let lengths = tensor(&LENGTHS);
            let path = directory.path().join(format!("{dtype}.npy"));
            save_npy(&path, &values.as_view()).unwrap();
            for values in [values, every_second] {
                let rows = Ragged::from_row_lengths(values, &lengths).unwrap();
                all.push(Dataset::from_ragged([rows]).unwrap());
            }
            for mode in [Mode::Map, Mode::Read] {
                let array = open_with(&[&path], &mode.into()).unwrap().array().unwrap();
                let rows = Ragged::from_row_lengths(array, &lengths).unwrap();
                all.push(Dataset::from_ragged([rows]).unwrap());
            }
        }
        let rows = |lengths: &[i64]| {
            let count = usize::try_from(lengths.iter().sum::<i64>()).unwrap();
            let values = small_numbers(DType::UInt8, &[count], 3);
            Ragged::from_row_lengths(values, &tensor(lengths)).unwrap()
        };
        let parts = [rows(&LENGTHS[..4]), rows(&[]), rows(&LENGTHS[4..])];
        all.push(Dataset::from_ragged(parts).unwrap());
        let overlapping = Ragged::from_row_starts(
            small_numbers(DType::Float64, &[9], 3),
            &tensor(&[4, 0, 8, 2, 1, 5, 0, 3, 8]),
            &tensor(&LENGTHS),
        );
        all.push(Dataset::from_ragged([overlapping.unwrap()]).unwrap());
        all
    }

    type Plan = fn(&Dataset) -> Dataset;

    /// Plans whose elements stay measured.
    fn plans() -> Vec<Plan> {
        vec![
            Dataset::clone,
            |rows| rows.shuffle(ShuffleOptions::seeded(3)).unwrap(),
            |rows| rows.shuffle_blocks(2, ShuffleOptions::seeded(3)).unwrap(),
            |rows| rows.skip(Some(1)).take(Some(6)).shard(2, 1).unwrap(),
            |rows| {
                let indices = Tensor::from_vec(vec![3_i64, 3, 0, -1, 5], &[5]).unwrap();
                rows.select(&Array::try_from(indices).unwrap()).unwrap()
            },
            |rows| rows.stride(8, -2, 4).unwrap(),
            |rows| {
                let options = crate::DrawOptions { seed: Some(1), ..crate::DrawOptions::default() };
                rows.draw(options).unwrap()
            },
            |rows| rows.split(&[6, 3], Some(4)).unwrap().swap_remove(0),
            |rows| rows.repeat(Some(3)).shuffle(ShuffleOptions::seeded(4)).unwrap(),
            |rows| rows.concatenate(&rows.skip(Some(4))).unwrap(),
            |rows| rows.concatenate(rows).unwrap().shuffle(ShuffleOptions::seeded(1)).unwrap(),
            |rows| Dataset::zip(vec![range(9), rows.clone(), rows.clone()]).unwrap(),
            |rows| {
                let both = Dataset::zip(vec![range(9), rows.clone()]).unwrap().enumerate(5);
                both.components(&[2, 0, 2]).unwrap()
            },
            |rows| rows.cast(&[Some(DType::Float64)], Casting::Checked).unwrap(),
            |rows| {
                let both = Dataset::zip(vec![range(9), rows.clone()]).unwrap();
                let cast = [Some(DType::Int32), Some(DType::Float32)];
                both.cast(&cast, Casting::Checked)
                    .unwrap()
                    .shuffle(ShuffleOptions::seeded(2))
                    .unwrap()
            },
        ]
    }

    #[test]
    fn batches_that_are_gathered_are_those_of_elements_read_one_by_one() {
        let directory = tempfile::tempdir().unwrap();
        for rows in every_kind(&directory) {
            for plan in plans() {
                let plan = plan(&rows);
                let at = plan
                    .spec()
                    .iter()
                    .position(|part| part.tensor().is_some_and(|spec| spec.fixed().is_none()));
                assert!(plan.is_measured(at.unwrap()), "{plan}");
                let padded =
                    |input: &Dataset| input.padded_batch(4, PaddedBatchOptions::default()).unwrap();
                let ragged =
                    |input: &Dataset| input.ragged_batch(4, BatchOptions::default()).unwrap();
                for batched in [padded, ragged] as [fn(&Dataset) -> Dataset; 2] {
                    let (fast, slow) = (batched(&plan), batched(&streamed(&plan)));
                    assert!(fast.is_indexed() && !slow.is_indexed());
                    assert_eq!(rest(&mut stream(&fast)), rest(&mut stream(&slow)), "{fast}");
                    assert_resumes(&fast);
                    assert_rebuilds(&fast);
                }
            }
        }
    }

    #[test]
    fn a_padded_shape_applies_to_gathered_rows() {
        let rows = Ragged::from_row_lengths(tensor(&[1, 2, 3]), &tensor(&[2, 1])).unwrap();
        let rows = Dataset::from_ragged([rows]).unwrap();
        let padded = |len| {
            let options = PaddedBatchOptions {
                padded_shapes: Some(vec![Shape::new([Some(len)])]),
                padding_values: Some(vec![Some(Tensor::from_vec(vec![-1_i64], &[]).unwrap())]),
                ..PaddedBatchOptions::default()
            };
            rows.padded_batch(2, options).unwrap().get(0)
        };
        let batch = padded(3).unwrap();
        let batch = batch[0].tensor().unwrap().clone();
        assert_eq!(batch.view::<i64>().unwrap().as_slice(), Some(&[1, 2, -1, 3, -1, -1][..]));
        assert!(padded(1).unwrap_err().to_string().contains("of shape [2]"));
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_element() {
        let rows = Ragged::from_row_lengths(tensor(&[1, 2, 300]), &tensor(&[2, 0, 1])).unwrap();
        let rows = Dataset::from_ragged([rows]).unwrap();
        let cast = rows.cast(&[Some(DType::UInt8)], Casting::Checked).unwrap();
        let error = cast.padded_batch(3, PaddedBatchOptions::default()).unwrap().get(0);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("cast: element 2: int64 -> uint8"), "{error}");
    }

    #[test]
    fn parts_of_different_values_are_refused() {
        let of = |values: Tensor| {
            let len = values.shape()[0];
            Ragged::from_row_lengths(values, &tensor(&[i64::try_from(len).unwrap()])).unwrap()
        };
        let parts = [of(tensor(&[1])), of(small_numbers(DType::Int32, &[1], 1))];
        assert_eq!(Dataset::from_ragged(parts).unwrap_err().code(), "element_mismatch");
        assert!(Dataset::from_ragged([]).is_err());
        let scalar = Tensor::from_vec(vec![1_i64], &[]).unwrap();
        assert!(Ragged::from_row_splits(scalar, &tensor(&[0])).is_err());
    }
}
