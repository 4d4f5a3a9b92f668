//! Methods of a [`Dataset`] as a whole: its specification, one element, its description.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::execute::compute::{caught, compute};
use crate::execute::options::ReadAhead;
use crate::names::Names;
use crate::shuffle::prng::Seed;
use crate::spec::{self, Cardinality, Component};
use crate::stage::{Context, Dataset, Element, Epoch};
use crate::transforms::batch::stacked::gathered;
use std::fmt;
use std::sync::Arc;
use tensorferry_io::cancel::CancelToken;

impl Dataset {
    /// The components of each element.
    #[must_use]
    pub fn spec(&self) -> &[Component] {
        &self.spec
    }

    /// How many elements there are.
    #[must_use]
    pub fn cardinality(&self) -> Cardinality {
        self.cardinality
    }

    /// Whether element `i` can be computed from `i` alone. If so, the state of an iteration is a
    /// position.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.indexed
    }

    /// Whether elements are computed in order, by one thread at a time, because a user function
    /// requires it.
    #[must_use]
    pub fn is_sequential(&self) -> bool {
        self.hints.sequential
    }

    /// Whether another epoch gives other elements, or another order.
    #[must_use]
    pub fn depends_on_epoch(&self) -> bool {
        self.hints.depends_on_epoch
    }

    /// Element `index` of the plan's first epoch.
    ///
    /// # Errors
    /// [`Error::Argument`] if the plan is not indexed or has no such element; any error in
    /// computing the element.
    pub fn get(&self, index: u64) -> Result<Element> {
        self.get_in(index, Epoch(0))
    }

    /// Element `index` of an epoch.
    ///
    /// # Errors
    /// As [`Dataset::get`].
    pub fn get_in(&self, index: u64, epoch: Epoch) -> Result<Element> {
        self.check_index(index)?;
        compute(self, index, &Context::new(epoch, CancelToken::default()))
    }

    /// The elements at these indices of an epoch, stacked as by [`Dataset::batch`], and gathered
    /// together. There has to be at least one.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, Epoch};
    ///
    /// let batch = Dataset::range(0, 10, 1, DType::Int64)?.get_batch(&[7, 0, 7], Epoch(0))?;
    /// assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[7, 0, 7][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::get`] and [`Dataset::batch`].
    pub fn get_batch(&self, indices: &[u64], epoch: Epoch) -> Result<Element> {
        indices.iter().try_for_each(|&index| self.check_index(index))?;
        spec::tensors(self.spec(), "get")?;
        let Some(&first) = indices.first() else {
            return Err(Error::Argument { stage: "get", what: "there are no indices".into() });
        };
        let cx = Context::new(epoch, CancelToken::default());
        let stacked = || gathered(self, indices.len(), |slot| indices[slot], "get", &cx);
        caught(first, &cx, stacked).map_err(|error| self.explain(error))
    }

    /// # Errors
    /// [`Error::Argument`] if the plan is not indexed or has no such element.
    fn check_index(&self, index: u64) -> Result<()> {
        if self.indexed && self.cardinality.finite().is_none_or(|n| index < n) {
            return Ok(());
        }
        let what = format!("element {index} of {:?}; indexed: {}", self.cardinality, self.indexed);
        Err(Error::Argument { stage: "get", what })
    }

    /// The plan's description: `from_tensor_slices(10 x (int32[])) | take(7)`. A checkpoint
    /// recognises its plan by it.
    #[must_use]
    pub fn plan(&self) -> String {
        self.to_string()
    }

    /// The seeds that were drawn because the user gave none, inputs first.
    pub(crate) fn drawn_seeds(&self) -> Vec<u64> {
        self.draws().iter().map(|seed| seed.value).collect()
    }

    /// As [`Dataset::drawn_seeds`], with the identity of each draw.
    pub(crate) fn draws(&self) -> Vec<Seed> {
        let own = self.stage.checkpoint().seed.and_then(Seed::drawn).cloned();
        self.deep(|| self.stage.inputs().iter().flat_map(Self::draws).chain(own).collect())
    }

    /// The same plan with `change` applied. Stages before the first change are shared.
    pub(crate) fn rebuild(&self, change: &mut Change) -> Result<Self> {
        let seeds_alone = change.resharded.is_none();
        let before = self.stage.inputs();
        let inputs = self.deep(|| {
            before.iter().map(|input| input.rebuild(change)).collect::<Result<Vec<Self>>>()
        })?;
        let same = before.iter().zip(&inputs).all(|(before, now)| before.is(now));
        if seeds_alone && same && self.stage.checkpoint().seed.and_then(Seed::drawn).is_none() {
            return Ok(self.clone());
        }
        Ok(Self {
            names: self.names.clone(),
            kept: self.kept.clone(),
            ..self.stage.rebuild(inputs, change)?
        })
    }

    /// The names of the functions that are called on several threads.
    pub(crate) fn parallel_names(&self) -> String {
        let mut names = Vec::new();
        self.add_parallel_names(&mut names);
        names.join(" and ")
    }

    fn add_parallel_names(&self, names: &mut Vec<String>) {
        if self.hints.calls > 0 {
            self.deep(|| self.stage.inputs().iter().for_each(|i| i.add_parallel_names(names)));
            let functions = self.stage.functions();
            let parallel = functions.iter().filter(|function| function.calls() > 0);
            names.extend(parallel.map(|function| function.name().to_owned()));
        }
    }

    /// Whether the last stages of both datasets are the same object.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stage, &other.stage)
    }
}

/// The plan, from source to last stage: `from_tensor_slices(10 x (int32[])) | take(7) | batch(3)`.
impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deep(|| self.write(f))
    }
}

impl Dataset {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs = self.stage.inputs();
        // A stage without a description does not change the elements.
        if let ([input], true) = (inputs, self.stage.describe().is_empty()) {
            return fmt::Display::fmt(input, f);
        }
        match inputs {
            [] => {}
            [input] => write!(f, "{input} | ")?,
            many => {
                f.write_str("[")?;
                for (at, input) in many.iter().enumerate() {
                    write!(f, "{}{input}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("] | ")?;
            }
        }
        f.write_str(&self.stage.describe())
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({self})")
    }
}

impl Dataset {
    /// The same plan with names for its components, which errors use instead of numbers. The names
    /// are not part of the plan or of its checkpoints.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let numbers = Tensor::from_vec(vec![1_u8, 2], &[2])?;
    /// let dataset = Dataset::from_tensor_slices([numbers])?.with_names(["\"label\""]);
    /// assert_eq!(
    ///     dataset.unbatch().unwrap_err().to_string(),
    ///     "unbatch: component \"label\" is a scalar, which has no rows. Batch first."
    /// );
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn with_names(&self, names: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        let names = Names::new(names.into_iter().map(Into::into).collect());
        Self { names, ..self.clone() }
    }

    /// The largest readahead that a stage of the plan asks for. A number takes precedence over the
    /// automatic choice.
    #[must_use]
    pub fn read_ahead(&self) -> Option<ReadAhead> {
        self.hints.read_ahead
    }

    /// Whether there may be fewer elements than [`Dataset::cardinality`] says. As in tf.data,
    /// `repeat` of a source of unknown length counts as endless, and ends if a round has no
    /// elements.
    #[must_use]
    pub fn may_end_early(&self) -> bool {
        self.hints.may_end_early
    }

    /// As [`Names::misfit`].
    pub(crate) fn misfit(&self, at: usize, error: Error) -> Error {
        self.names.misfit(at, self.spec().len(), error)
    }

    /// The error of a stage over this dataset, naming the component that it is about.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.names.explain(error)
    }
}
