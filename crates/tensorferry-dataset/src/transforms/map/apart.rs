//! [`MapApart`]: the calls of a `map` in a worker process.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::execute::compute::compute;
use crate::execute::workers::element_bytes;
use crate::spec::Component;
use crate::stage::{Context, Dataset, Element, Epoch, not_indexed};
use crate::transforms::batch::stacked::stack;
use crate::transforms::map::map::Mapping;
use crate::user_fn::function::Function;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry_core::{Index, Tensor};
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::rows_out::{filled, write_row};

/// Results of at least this number of bytes are not stacked: they are used where they are.
const LEAST_ALONE: usize = 1 << 16;

/// A function, and the plan that it maps, in another process than the iteration.
///
/// ```
/// use tensorferry_core::DType;
/// use tensorferry_dataset::{Dataset, Epoch, Function, MapApart};
///
/// let input = Dataset::range(0, 5, 1, DType::Int64)?;
/// let map = MapApart::new(Function::new("same", Ok), input.spec().to_vec());
/// let map = map.reading(&input, None)?;
/// let [Some(Ok(element))] = &map.read(Epoch(0), &[], &[3])?[..] else { panic!() };
/// assert_eq!(element[0].tensor()?.view::<i64>()?.get(&[]), Some(3));
/// # Ok::<(), tensorferry_dataset::Error>(())
/// ```
pub struct MapApart {
    mapping: Mapping,
    input: Option<Input>,
}

struct Input {
    plan: Dataset,
    /// The plan with the seeds of the last call.
    seeded: Mutex<(Vec<u64>, Dataset)>,
}

impl MapApart {
    /// As [`Dataset::map`] calls the function.
    #[must_use]
    pub fn new(function: Function<Element, Element>, spec: Vec<Component>) -> Self {
        Self { mapping: Mapping::apart(function, spec), input: None }
    }

    /// The same function over this plan, or with `batch_size` over its batches, as
    /// [`Dataset::map_batches`] calls it.
    ///
    /// # Errors
    /// As [`Dataset::batch`], and [`Error::Argument`] if the plan has no random access.
    pub fn reading(mut self, plan: &Dataset, batch_size: Option<usize>) -> Result<Self> {
        let plan = batch_size.map_or_else(|| Ok(plan.clone()), |size| plan.batch(size))?;
        if !plan.indexed {
            return Err(not_indexed("map"));
        }
        self.mapping.keeps_rows = batch_size.map(|_| [Arc::from([]), Arc::from([])]);
        self.input = Some(Input { seeded: Mutex::new((plan.drawn_seeds(), plan.clone())), plan });
        Ok(self)
    }

    /// The result for an element.
    ///
    /// # Errors
    /// As the function, and if its result is not as specified.
    pub fn apply(&self, element: Element) -> Result<Element> {
        self.mapping.apply(element, &Context::new(Epoch(0), CancelToken::default()))
    }

    /// The results for elements of the plan in an epoch, given the seeds that its stages drew;
    /// `None` in the place of an element that cannot be read.
    ///
    /// # Errors
    /// [`Error::State`] if the plan drew another number of seeds, and [`Error::Argument`]
    /// without a plan.
    pub fn read(
        &self,
        epoch: Epoch,
        seeds: &[u64],
        indices: &[u64],
    ) -> Result<Vec<Option<Result<Element>>>> {
        let input = self.input.as_ref().ok_or_else(|| not_indexed("map"))?.seeded(seeds)?;
        let cx = Context::new(epoch, CancelToken::default());
        let one = |index: &u64| {
            let exists = input.cardinality().finite().is_none_or(|len| *index < len);
            let element = if exists { compute(&input, *index, &cx).ok() } else { None };
            element.map(|element| self.mapping.apply(element, &cx))
        };
        Ok(indices.iter().map(one).collect())
    }

    /// The results, at least one, each component stacked; `None` if their shapes differ or if they
    /// are large.
    #[must_use]
    pub fn stacked(results: &[Element]) -> Option<Vec<Tensor>> {
        let bytes = |result: &Element| element_bytes(result) >= LEAST_ALONE;
        if results.iter().any(bytes) {
            return None;
        }
        let stacked = stack(results, "map", None).ok()?;
        stacked.iter().map(|value| value.tensor().cloned().ok()).collect()
    }

    /// The rows of stacked results, each in memory of its own: a result that is kept keeps no
    /// others.
    ///
    /// # Errors
    /// [`Error::Core`] if memory runs out.
    pub fn rows(stacked: &[Tensor], count: usize) -> Result<Vec<Element>> {
        let row = |at: usize| {
            let at = isize::try_from(at).unwrap_or(isize::MAX);
            let one = |tensor: &Tensor| {
                let row = tensor.index(&[Index::At(at)])?;
                let write = |bytes: &mut [u8]| write_row(&row, bytes);
                Ok(filled(row.dtype(), row.shape(), write)?.into())
            };
            stacked.iter().map(one).collect()
        };
        (0..count).map(row).collect()
    }
}

impl Input {
    fn seeded(&self, seeds: &[u64]) -> Result<Dataset> {
        let mut last = self.seeded.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != seeds {
            if last.0.len() != seeds.len() {
                let what = format!("{} drawn seeds, not {}", seeds.len(), last.0.len());
                return Err(Error::State { what });
            }
            let mut change = Change { seeds: seeds.iter().copied().collect(), ..Change::default() };
            *last = (seeds.to_vec(), self.plan.rebuild(&mut change)?);
        }
        Ok(last.1.clone())
    }
}

impl fmt::Debug for MapApart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapApart({:?})", self.input.as_ref().map(|input| &input.plan))
    }
}
