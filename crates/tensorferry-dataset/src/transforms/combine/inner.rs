//! Datasets that a function makes from elements: iteration and checkpoints.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::promise::keeps;
use crate::shuffle::prng::{Purpose, Random, Seed};
use crate::spec::Component;
use crate::stage::{
    Context, Dataset, Element, ElementIter, Epoch, Interrupted, Step, Value, step, uninterrupted,
    value_of,
};
use crate::user_fn::function::Function;
use crate::value::check;
use std::collections::VecDeque;
use tensorferry_core::Tensor;

/// One pass over a dataset that a function returned.
pub(crate) struct Inner {
    iter: Box<dyn ElementIter>,
    /// Seeds that the function drew. Part of the state, because the function draws others when it
    /// is called again.
    seeds: Vec<u64>,
    /// Names of the dataset's components, for errors.
    names: Names,
    /// The promised specification, if the dataset's own does not guarantee it.
    check: Option<Vec<Component>>,
    /// Keeps alive what the dataset holds.
    _dataset: Dataset,
}

impl Inner {
    /// # Errors
    /// [`Error::ElementMismatch`] if the dataset's elements cannot be what `spec` promised.
    pub(crate) fn open(dataset: &Dataset, spec: &[Component], cx: &Context) -> Result<Self> {
        let kept = keeps(dataset.spec(), spec);
        if kept == Some(false) {
            return Err(dataset.explain(unlike(dataset.spec(), spec)));
        }
        let check = kept.is_none().then(|| spec.to_vec());
        let (seeds, names) = (dataset.drawn_seeds(), dataset.names.clone());
        Ok(Self {
            iter: dataset.element_iter_inside(cx)?,
            seeds,
            names,
            check,
            _dataset: dataset.clone(),
        })
    }

    /// Restores a saved pass. `dataset` is the result of the same function for the same element.
    pub(crate) fn reopen(
        dataset: &Dataset,
        spec: &[Component],
        cx: &Context,
        state: &State,
    ) -> Result<Self> {
        let parts = state.list(2)?;
        let seeds = parts[0].parts()?.iter().map(State::int).collect::<Result<VecDeque<u64>>>()?;
        if seeds.len() != dataset.drawn_seeds().len() {
            return Err(Error::State {
                what: "a function returned another dataset than when the state was saved".into(),
            });
        }
        let mut inner = if seeds.is_empty() {
            Self::open(dataset, spec, cx)?
        } else {
            Self::open(&dataset.rebuild(&mut Change { seeds, ..Change::default() })?, spec, cx)?
        };
        inner.iter.restore(&parts[1])?;
        Ok(inner)
    }

    pub(crate) fn next(&mut self) -> Step {
        let Some(next) = self.iter.next()? else { return Ok(None) };
        Ok(Some(match &self.check {
            None => next,
            Some(spec) => next.and_then(|element| match check(&element, spec) {
                Ok(()) => Ok(element),
                Err(error) => Err(self.names.explain(error)),
            }),
        }))
    }

    pub(crate) fn save(&self) -> Result<State> {
        let seeds = self.seeds.iter().copied().map(State::Int).collect();
        Ok(State::List(vec![State::List(seeds), self.iter.save()?]))
    }
}

/// The dataset that `make` returns. Seeds drawn by `make` are replaced by ones that follow from the
/// stage's seed and the element's epoch, so they are equal in every process that runs the plan.
/// Seeds drawn before are kept.
pub(crate) fn with_seeds(
    seed: u64,
    epoch: Epoch,
    make: impl FnOnce() -> Result<Dataset>,
) -> Result<Dataset> {
    let before = Seed::draws();
    let dataset = make()?;
    let draws = dataset.draws();
    if draws.is_empty() {
        return Ok(dataset);
    }
    let random = Random::new(Purpose::Inner, seed, epoch.0);
    let mut numbers: Vec<u64> =
        draws.iter().filter_map(Seed::number).filter(|number| *number >= before).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let value =
        |seed: &Seed| match seed.number().and_then(|number| numbers.binary_search(&number).ok()) {
            Some(at) => random.at(at as u64),
            None => seed.value,
        };
    dataset.rebuild(&mut Change { seeds: draws.iter().map(value).collect(), ..Change::default() })
}

/// The error for a dataset whose specification contradicts the promised one. Names the first
/// component that differs.
fn unlike(is: &[Component], promised: &[Component]) -> Error {
    let differs = |(a, b): (&Component, &Component)| {
        keeps(std::slice::from_ref(a), std::slice::from_ref(b)) == Some(false)
    };
    let at = is
        .iter()
        .zip(promised)
        .position(differs)
        .filter(|_| is.len() == promised.len() && is.len() > 1);
    let words = |is: String, promised: String| {
        let what = format!(
            "the function returned a dataset of {is} where the dataset's element_spec says \
            {promised}"
        );
        Error::ElementMismatch { what }
    };
    match at {
        Some(at) => words(is[at].to_string(), promised[at].to_string()).in_component(at),
        None => words(Component::list(is), Component::list(promised)),
    }
}

/// The input of a stage whose function makes a dataset from each element.
pub(crate) struct Outer {
    input: Counted,
    input_spec: Vec<Component>,
    function: Function<Element, Dataset>,
    spec: Vec<Component>,
    /// Determines the seeds of the datasets.
    seed: u64,
    cx: Context,
    /// [`Context::outside`] of the datasets.
    outside: usize,
    stage: &'static str,
    /// An element for which making the dataset was interrupted.
    stopped: Option<(u64, Element, Origin)>,
    /// Whether a state holds the input's state before an element, not its value. This is cheap for
    /// indexed inputs, and necessary for elements that hold datasets.
    goes_back: bool,
}

/// A dataset made from an element of the input.
pub(crate) struct Made {
    /// The element's index.
    index: u64,
    origin: Origin,
    inner: Inner,
}

/// Where an element comes from when its dataset has to be made again.
enum Origin {
    /// The input's state before the element.
    Before(State),
    /// The element itself.
    Element(Vec<Tensor>),
}

impl Outer {
    pub(crate) fn new(
        input: &Dataset,
        function: &Function<Element, Dataset>,
        spec: &[Component],
        seed: u64,
        cx: &Context,
        stage: &'static str,
    ) -> Result<Self> {
        let goes_back =
            input.is_indexed() || input.spec().iter().any(|part| part.tensor().is_none());
        Ok(Self {
            input: Counted::new(input, cx)?,
            input_spec: input.spec().to_vec(),
            function: function.clone(),
            spec: spec.to_vec(),
            seed,
            cx: cx.clone(),
            outside: cx.outside + input.depth + 1,
            stage,
            stopped: None,
            goes_back,
        })
    }

    /// Each element's dataset has its own epoch, so that shuffles inside differ between elements.
    fn inner_cx(&self, index: u64) -> Context {
        Context { outside: self.outside, ..self.cx.at(self.cx.epoch.child(index)) }
    }

    /// Makes the dataset of the next element.
    pub(crate) fn next(&mut self) -> Step<Made> {
        let (index, element, origin) = match self.stopped.take() {
            Some(again) => again,
            None => value_of!(self.take()),
        };
        let cx = self.inner_cx(index);
        let made = |element| with_seeds(self.seed, cx.epoch, || self.function.call(element));
        let call = |element| Inner::open(&made(element)?, &self.spec, &cx);
        match uninterrupted(call(element.clone())) {
            Ok(Ok(inner)) => Ok(Some(Ok(Made { index, origin, inner }))),
            Ok(Err(error)) => Ok(Some(Err(error.at_element(self.stage, index)))),
            Err(interrupted) => {
                self.stopped = Some((index, element, origin));
                Err(interrupted)
            }
        }
    }

    /// The next element, and how to get it again.
    fn take(&mut self) -> Step<(u64, Element, Origin)> {
        let before = match self.goes_back {
            true => Some(value_of!(step(self.input.save()))),
            false => None,
        };
        let (index, element) = value_of!(self.input.next());
        let origin = match before {
            Some(state) => Ok(Origin::Before(state)),
            None => {
                let tensors = element.iter().cloned().map(Value::into_tensor);
                tensors.collect::<Result<_>>().map(Origin::Element)
            }
        };
        Ok(Some(origin.map(|origin| (index, element, origin))))
    }

    /// The next element of a dataset made by [`Outer::next`] or [`Outer::remake`].
    pub(crate) fn next_of(&self, made: &mut Made) -> Step {
        let next = made.inner.next()?;
        Ok(next.map(|next| next.map_err(|error| error.at_element(self.stage, made.index))))
    }

    pub(crate) fn save(&self) -> Result<State> {
        match &self.stopped {
            Some((_, _, Origin::Before(state))) => {
                Ok(State::List(vec![State::Nothing, state.clone()]))
            }
            Some((index, _, Origin::Element(element))) => {
                let stopped =
                    State::List(vec![State::Int(*index), State::Tensors(element.clone())]);
                Ok(State::List(vec![stopped, self.input.save()?]))
            }
            None => Ok(State::List(vec![State::Nothing, self.input.save()?])),
        }
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.stopped = parts[0].optional(|stopped| {
            let parts = stopped.list(2)?;
            let tensors = parts[1].tensors_as(&self.input_spec)?;
            Ok((
                parts[0].int()?,
                tensors.iter().cloned().map(Value::from).collect(),
                Origin::Element(tensors),
            ))
        })?;
        self.input.restore(&parts[1])
    }

    /// Restores a dataset saved by [`Made::save`]. Moves the input: call [`Outer::restore`]
    /// afterwards.
    pub(crate) fn remake(&mut self, state: &State) -> Result<Made> {
        let parts = state.list(3)?;
        let index = parts[0].int()?;
        let (origin, element) = match &parts[1] {
            before @ State::List(_) if self.goes_back => {
                (Origin::Before(before.clone()), self.read_again(index, before)?)
            }
            value if !self.goes_back => {
                let tensors = value.tensors_as(&self.input_spec)?;
                (Origin::Element(tensors.clone()), tensors.into_iter().map(Value::from).collect())
            }
            _ => return Err(damaged()),
        };
        let dataset =
            self.function.call(element).map_err(|error| error.at_element(self.stage, index))?;
        let inner = Inner::reopen(&dataset, &self.spec, &self.inner_cx(index), &parts[2])?;
        Ok(Made { index, origin, inner })
    }

    fn read_again(&mut self, index: u64, before: &State) -> Result<Element> {
        self.input.restore(before)?;
        match self.input.next().map_err(|Interrupted| Error::Interrupted)?.transpose()? {
            Some((at, element)) if at == index => Ok(element),
            _ => Err(damaged()),
        }
    }
}

impl Made {
    pub(crate) fn save(&self) -> Result<State> {
        let origin = match &self.origin {
            Origin::Before(state) => state.clone(),
            Origin::Element(tensors) => State::Tensors(tensors.clone()),
        };
        Ok(State::List(vec![State::Int(self.index), origin, self.inner.save()?]))
    }
}

fn damaged() -> Error {
    Error::State {
        what: "the element that a dataset was made of is missing; the state is damaged or not of \
            this plan"
            .into(),
    }
}
