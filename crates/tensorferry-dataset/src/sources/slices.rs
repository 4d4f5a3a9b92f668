//! `from_tensor_slices`: the rows of arrays in memory.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::request::Columns;
use crate::shuffle::prng;
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, Elements, Stage};
use crate::transforms::batch::unbatch::{no_rows, unequal};
use tensorferry_core::{ALIGNMENT, ByteOrder, Index, Shape, Tensor, TensorSpec};
use tensorferry_io::array::tensor_rows::Source;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

struct Slices {
    sources: Vec<Source>,
    spec: Vec<Component>,
    len: u64,
}

impl Dataset {
    /// The rows of arrays: element `i` is row `i` of each. Nothing is copied.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let images = Tensor::from_vec(vec![1_u8, 2, 3, 4, 5, 6], &[3, 2])?;
    /// let labels = Tensor::from_vec(vec![0_i64, 1, 0], &[3])?;
    /// let dataset = Dataset::from_tensor_slices([images, labels])?.batch(2)?;
    /// let batch = dataset.iter().next().unwrap()?;
    /// assert_eq!(batch[0].tensor()?.shape(), [2, 2]);
    /// assert_eq!(batch[1].tensor()?.view::<i64>()?.as_slice(), Some(&[0, 1][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no array, if one has no dimension, or if their numbers of
    /// rows differ.
    pub fn from_tensor_slices<S: Into<Source>>(
        sources: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let sources: Vec<Source> = sources.into_iter().map(Into::into).collect();
        let len = common_len(sources.iter().map(|source| source.tensor.shape()))?;
        let spec = sources.iter().map(|source| {
            let shape = Shape::fixed(&source.tensor.shape()[1..]);
            Component::Tensor(TensorSpec::new(source.tensor.dtype(), shape))
        });
        let spec = spec.collect();
        Ok(Self::of(Slices { sources, spec, len }))
    }
}

/// Number of rows of arrays of these shapes.
///
/// # Errors
/// [`Error::Argument`] if there is no array or one is a scalar; [`Error::UnequalLengths`].
pub(crate) fn common_len<'a>(shapes: impl Iterator<Item = &'a [usize]>) -> Result<u64> {
    let stage = "from_tensor_slices";
    let mut first = None;
    for (at, shape) in shapes.enumerate() {
        let Some(&len) = shape.first() else {
            return Err(no_rows(stage, at, "Use from_tensors."));
        };
        let of_first = *first.get_or_insert(len);
        if len != of_first {
            return Err(unequal(stage, (0, of_first), (at, len)));
        }
    }
    let what = || Error::Argument { stage, what: "no arrays were given".into() };
    first.map(|len| len as u64).ok_or_else(what)
}

/// The rows, if they can be shared: contiguous, aligned for frameworks, and without invalid bools.
pub(crate) fn shareable(rows: Tensor) -> Option<Tensor> {
    let plain = rows.layout().is_c_contiguous() && rows.as_ptr().addr().is_multiple_of(ALIGNMENT);
    (plain && rows.as_view().has_normal_bools()).then_some(rows)
}

/// Maximum bytes of an array that is identified by its values instead of its address, so that an
/// equal copy counts as the same.
const SMALL: usize = 1 << 16;

/// [`CheckpointInfo::identity`] of a stage that reads these sources.
pub(crate) fn identities(sources: &[Source]) -> u64 {
    let one = |source: &Source| match source.tensor.as_view().as_bytes() {
        Some(bytes) if source.frozen && bytes.len() <= SMALL => prng::hash(bytes),
        Some(bytes) => bytes.as_ptr().addr() as u64,
        None => 0,
    };
    sources.iter().map(one).fold(0, |all, one| prng::mix(all ^ one))
}

/// The description of the rows of arrays. Equal for arrays in memory and in files, so that a state
/// applies to both.
pub(crate) fn described(len: u64, spec: &[Component]) -> String {
    let parts: Vec<String> = spec.iter().map(ToString::to_string).collect();
    format!("from_tensor_slices({len} x ({}))", parts.join(", "))
}

impl Stage for Slices {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.len)
    }

    fn describe(&self) -> String {
        described(self.len, &self.spec)
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Dataset::from_tensor_slices(self.sources.clone())
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { identity: identities(&self.sources), ..CheckpointInfo::default() }
    }

    fn get(&self, index: u64, _cx: &Context) -> Result<Element> {
        self.sources.iter().map(|source| Ok(source.row(index)?.into())).collect()
    }

    fn slice(&self, start: u64, len: usize, _cx: &Context) -> Option<Vec<Tensor>> {
        let start = usize::try_from(start).ok()?;
        let share = |source: &Source| {
            if !source.frozen || source.tensor.byte_order() == ByteOrder::Swapped {
                return None;
            }
            let rows = source.tensor.index(&[Index::Slice { start, step: 1, len }]).ok()?;
            shareable(rows)
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
        let components = columns.indices(out.len());
        for (at, rows) in components.zip(out) {
            self.sources[at].gather(requests, rows)?;
        }
        Ok(())
    }
}
