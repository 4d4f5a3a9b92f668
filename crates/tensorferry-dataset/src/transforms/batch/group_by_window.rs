//! Elements gathered by a key, and datasets made of each full group.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::shuffle::random;
use crate::shuffle::random::Seed;
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Stage, Value, not_indexed};
use crate::transforms::combine::inner::{Inner, with_seeds};
use crate::user_fn::captures::Capture;
use crate::user_fn::function::Function;
use std::collections::BTreeMap;
use tensorferry_io::memory::room::{Room, collected};

/// The stage that errors of `reduce` are named by: their index is a window's.
const WINDOWS: &str = "windows of group_by_window";

#[derive(Clone)]
struct Functions {
    key: Function<Element, i64>,
    reduce: Function<(i64, Dataset), Dataset>,
    window_size: Function<i64, u64>,
}

struct GroupByWindow {
    input: Dataset,
    functions: Functions,
    spec: Vec<Component>,
    seed: Seed,
}

impl Dataset {
    /// Gathers elements by their `key`. Once there are `window_size` elements of a key they are a
    /// window, and what comes next are the elements of the dataset that `reduce` makes of the key
    /// and the window. At the end the windows that are not full follow, in the order of their keys.
    /// `window_size` is called once for each key, with the key. `spec` says what the elements of
    /// all of `reduce`'s datasets are.
    ///
    /// A window is an indexed dataset in memory. An element for which `key` or `window_size` fails,
    /// or whose window size is 0, is an error in its place and in no window; a window for which
    /// `reduce` fails is one error.
    ///
    /// The state of an iteration holds the elements that wait for their windows, by value.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, Element, Function};
    ///
    /// let numbers = Dataset::from_tensor_slices([Tensor::from_vec((0_i64..6).collect(), &[6])?])?;
    /// let parity = Function::new("parity", |element: Element| {
    ///     Ok(element[0].tensor()?.view::<i64>()?.iter().sum::<i64>() % 2)
    /// });
    /// let batch = Function::new("batch", |(_, window): (i64, Dataset)| window.batch(2, false));
    /// let spec = numbers.batch(2, false)?.spec().to_vec();
    /// let groups = numbers.group_by_window(parity, batch, Function::new("2", |_| Ok(2)), spec);
    /// let mut sums = Vec::new();
    /// for group in &groups {
    ///     sums.push(group?[0].tensor()?.view::<i64>()?.iter().sum::<i64>());
    /// }
    /// assert_eq!(sums, [0 + 2, 1 + 3, 4, 5]);
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    #[must_use]
    pub fn group_by_window(
        &self,
        key: Function<Element, i64>,
        reduce: Function<(i64, Self), Self>,
        window_size: Function<i64, u64>,
        spec: Vec<Component>,
    ) -> Self {
        let functions = Functions { key, reduce, window_size };
        Self::of(GroupByWindow { input: self.clone(), functions, spec, seed: Seed::new(None) })
    }
}

impl Stage for GroupByWindow {
    fn spec(&self) -> &[Component] {
        &self.spec
    }

    fn cardinality(&self) -> Cardinality {
        match self.input.cardinality() {
            Cardinality::Infinite => Cardinality::Infinite,
            _ => Cardinality::Unknown,
        }
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn captures(&self) -> Vec<Capture> {
        [
            self.functions.key.capture(),
            self.functions.reduce.capture(),
            self.functions.window_size.capture(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn describe(&self) -> String {
        let Functions { key, reduce, window_size } = &self.functions;
        let spec = Component::list(&self.spec);
        format!(
            "group_by_window({}, {}, {}, {spec})",
            key.name(),
            reduce.name(),
            window_size.name()
        )
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        let (functions, spec) = (self.functions.clone(), self.spec.clone());
        Ok(Dataset::of(Self {
            input: inputs[0].clone(),
            functions,
            spec,
            seed: self.seed.rebuilt(change),
        }))
    }

    fn drawn_seed(&self) -> Option<&Seed> {
        self.seed.drawn()
    }

    // The draw is not told apart: it counts for what the function makes, which is another for each
    // element.
    fn identity(&self) -> u64 {
        let Functions { key, reduce, window_size } = &self.functions;
        [key.identity(), reduce.identity(), window_size.identity()]
            .into_iter()
            .fold(0, |all, one| random::mix(all ^ one))
    }

    fn is_indexed(&self) -> bool {
        false
    }

    fn is_sequential(&self) -> bool {
        let Functions { key, reduce, window_size } = &self.functions;
        key.is_sequential()
            || reduce.is_sequential()
            || window_size.is_sequential()
            || self.input.stage.is_sequential()
    }

    // A dataset that the function makes may shuffle.
    fn depends_on_epoch(&self) -> bool {
        true
    }

    fn get(&self, _index: u64, _cx: &Context) -> Result<Element> {
        Err(not_indexed("group_by_window"))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(GroupIter {
            input: Counted::new(&self.input, cx)?,
            input_spec: self.input.spec().to_vec(),
            functions: self.functions.clone(),
            spec: self.spec.clone(),
            seed: self.seed.value,
            cx: cx.clone(),
            outside: cx.outside + self.input.depth + 1,
            sizes: BTreeMap::new(),
            groups: BTreeMap::new(),
            ended: false,
            windows: 0,
            full: None,
            current: None,
        }))
    }
}

struct GroupIter {
    input: Counted,
    input_spec: Vec<Component>,
    functions: Functions,
    spec: Vec<Component>,
    /// What the seeds of the datasets that `reduce` makes follow from.
    seed: u64,
    cx: Context,
    /// As in [`Context`], of the datasets that windows become.
    outside: usize,
    /// The window size of each key that was met.
    sizes: BTreeMap<i64, u64>,
    /// The elements that wait, by their key.
    groups: BTreeMap<i64, Vec<Element>>,
    /// Whether the input has.
    ended: bool,
    /// How many windows there were.
    windows: u64,
    /// A group of which a window was to be made when it was stopped.
    full: Option<(i64, Vec<Element>)>,
    current: Option<Window>,
}

/// A window whose dataset is being handed out.
struct Window {
    key: i64,
    elements: Vec<Element>,
    inner: Inner,
}

impl GroupIter {
    /// The key whose group this element makes full, if it does.
    fn put(&mut self, element: &Element) -> Result<Option<i64>> {
        let key = self.functions.key.call(element.clone())?;
        let size = match self.sizes.get(&key) {
            Some(size) => *size,
            None => {
                let size = self.functions.window_size.call(key)?;
                if size == 0 {
                    let what =
                        format!("the window size of key {key} is 0; it has to be at least 1");
                    return Err(Error::Argument { stage: "group_by_window", what });
                }
                self.sizes.insert(key, size);
                size
            }
        };
        let group = self.groups.entry(key).or_default();
        group.make_room(1)?;
        group.push(element.clone());
        Ok((group.len() as u64 >= size).then_some(key))
    }

    /// Reads until a group is full, and takes it; at the end of the input takes those that are not.
    fn group(&mut self) -> Option<Result<(i64, Vec<Element>)>> {
        while !self.ended {
            let (index, element) = match self.input.next() {
                Some(Ok(next)) => next,
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.ended = true;
                    break;
                }
            };
            match self.put(&element) {
                Err(Error::Stopped) => return self.input.stopped(element),
                Err(error @ Error::Allocation { .. }) => {
                    // The element is not lost: it comes when there is memory again.
                    let _stopped: Option<Result<()>> = self.input.stopped(element);
                    return Some(Err(error));
                }
                Ok(None) => {}
                Ok(Some(key)) => {
                    return self.groups.remove(&key).map(|elements| Ok((key, elements)));
                }
                Err(error) => return Some(Err(error.at_element("group_by_window", index))),
            }
        }
        self.cx
            .stop
            .check()
            .err()
            .map_or_else(|| self.groups.pop_first().map(Ok), |stopped| Some(Err(stopped)))
    }

    fn reduced(&self, key: i64, elements: &[Element]) -> Result<Dataset> {
        let elements = collected(elements.iter().cloned().map(Ok))?;
        self.functions.reduce.call((key, Dataset::in_memory(elements, self.input_spec.clone())))
    }

    /// As for [`crate::transforms::combine::inner::Outer`]: what shuffles in a window does
    /// so in an order of its own.
    fn inner_cx(&self, window: u64) -> Context {
        Context { outside: self.outside, ..self.cx.at(self.cx.epoch.child(window)) }
    }

    fn open(&self, window: u64, key: i64, elements: &[Element]) -> Result<Inner> {
        let cx = self.inner_cx(window);
        let dataset = with_seeds(self.seed, cx.epoch, || self.reduced(key, elements))?;
        Inner::open(&dataset, &self.spec, &cx)
    }

    fn reopen(&self, state: &State) -> Result<Window> {
        let parts = state.list(3)?;
        let (key, elements) = (key(&parts[0])?, self.elements(&parts[1])?);
        let window = self
            .windows
            .checked_sub(1)
            .ok_or_else(|| Error::State { what: "a window before the first".into() })?;
        let dataset =
            self.reduced(key, &elements).map_err(|error| error.at_element(WINDOWS, window))?;
        let inner = Inner::reopen(&dataset, &self.spec, &self.inner_cx(window), &parts[2])?;
        Ok(Window { key, elements, inner })
    }

    fn elements(&self, state: &State) -> Result<Vec<Element>> {
        let element = |state: &State| -> Result<Element> {
            Ok(state.tensors_as(&self.input_spec)?.into_iter().map(Value::from).collect())
        };
        collected(state.parts()?.iter().map(element))
    }
}

/// A key and what belongs to it.
fn pair(key: i64, value: State) -> State {
    State::List(vec![State::Int(key.cast_unsigned()), value])
}

fn key(state: &State) -> Result<i64> {
    Ok(state.int()?.cast_signed())
}

/// Elements by value.
fn kept(elements: &[Element]) -> Result<State> {
    let tensor = |value: &Value| {
        let what = "group_by_window keeps the elements of its windows, and these hold datasets, \
            which cannot be kept";
        value.tensor().cloned().map_err(|_| Error::State { what: what.into() })
    };
    let element = |element: &Element| -> Result<State> {
        Ok(State::Tensors(element.iter().map(tensor).collect::<Result<_>>()?))
    };
    Ok(State::List(collected(elements.iter().map(element))?))
}

impl ElementIter for GroupIter {
    fn next(&mut self) -> Option<Result<Element>> {
        loop {
            if let Some(window) = &mut self.current {
                if let Some(next) = window.inner.next() {
                    return Some(next.map_err(|error| {
                        error.at_element(WINDOWS, self.windows.saturating_sub(1))
                    }));
                }
                self.current = None;
            }
            let (key, elements) =
                match self.full.take().map_or_else(|| self.group(), |group| Some(Ok(group)))? {
                    Ok(group) => group,
                    Err(error) => return Some(Err(error)),
                };
            let index = self.windows;
            let opened = self.open(index, key, &elements);
            if matches!(opened, Err(Error::Stopped)) {
                self.full = Some((key, elements));
                return Some(Err(Error::Stopped));
            }
            self.windows = index.saturating_add(1);
            match opened {
                Ok(inner) => self.current = Some(Window { key, elements, inner }),
                Err(error) => return Some(Err(error.at_element(WINDOWS, index))),
            }
        }
    }

    fn save(&self) -> Result<State> {
        let sizes = self.sizes.iter().map(|(key, size)| pair(*key, State::Int(*size))).collect();
        let groups: Result<Vec<State>> =
            self.groups.iter().map(|(key, group)| Ok(pair(*key, kept(group)?))).collect();
        let current = match &self.current {
            None => State::Nothing,
            Some(window) => State::List(vec![
                State::Int(window.key.cast_unsigned()),
                kept(&window.elements)?,
                window.inner.save()?,
            ]),
        };
        Ok(State::List(vec![
            State::List(sizes),
            State::List(groups?),
            State::Int(u64::from(self.ended)),
            State::Int(self.windows),
            self.full
                .as_ref()
                .map_or(Ok(State::Nothing), |(key, elements)| Ok(pair(*key, kept(elements)?)))?,
            current,
            self.input.save()?,
        ]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(7)?;
        let size = |state: &State| {
            state.list(2).and_then(|parts| Ok((key(&parts[0])?, parts[1].int()?.max(1))))
        };
        self.sizes = parts[0].parts()?.iter().map(size).collect::<Result<_>>()?;
        let group = |state: &State| {
            state.list(2).and_then(|parts| Ok((key(&parts[0])?, self.elements(&parts[1])?)))
        };
        let groups = parts[1].parts()?.iter().map(group).collect::<Result<_>>()?;
        let full = parts[4].optional(group)?;
        (self.groups, self.full) = (groups, full);
        self.ended = parts[2].int()? != 0;
        self.windows = parts[3].int()?;
        self.current = parts[5].optional(|window| self.reopen(window))?;
        self.input.restore(&parts[6])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, element_spec, even,
        first, ints, range, rows,
    };
    use crate::user_fn::function::failed;

    fn batches() -> Function<(i64, Dataset), Dataset> {
        Function::new("batch(3)", |(_, window): (i64, Dataset)| window.batch(3, false))
    }

    fn modulo(n: i64) -> Function<Element, i64> {
        Function::new("modulo", move |element: Element| Ok(first(&element).rem_euclid(n) - n / 2))
    }

    fn of_size(size: u64) -> Function<i64, u64> {
        Function::new("size", move |_| Ok(size))
    }

    fn batch_spec() -> Vec<Component> {
        ints(&[0]).batch(1, false).unwrap().spec().to_vec()
    }

    fn parity(n: i64) -> Dataset {
        range(n).group_by_window(modulo(2), batches(), of_size(2), batch_spec())
    }

    #[test]
    fn full_windows_come_as_they_fill_and_the_rest_by_key() {
        assert_eq!(rows(&parity(6)), [vec![0, 2], vec![1, 3], vec![4], vec![5]]);
        assert_eq!(parity(6).cardinality(), Cardinality::Unknown);
        assert_rebuilds(&parity(6));
    }

    type Case = (&'static [i64], &'static [u64], &'static [&'static [i64]]);

    /// What TensorFlow 2.21's `tf.data.Dataset.group_by_window` gives: the input; the window sizes
    /// of the keys `floormod(x, len(sizes)) - len(sizes) // 2`, from the least key; what `batch(3)`
    /// makes of the windows.
    #[rustfmt::skip]
    const TF_DATA: &[Case] = &[
        (&[3, -5, 1, 6, -2, -6, -6, -4, 4, 3, 1, 6], &[3, 1, 3], &[&[-5], &[1], &[-2], &[3, 6, -6], &[4], &[1], &[-6, 3, 6], &[-4]]),
        (&[6, -3, 5, 0, 2, 2, 4], &[2], &[&[6, -3], &[5, 0], &[2, 2], &[4]]),
        (&[2, 5, 6, 5, -2, 4, 6, 3, 4], &[4], &[&[2, 5, 6], &[5], &[-2, 4, 6], &[3], &[4]]),
        (&[-5, -1, 6, 0, 6], &[4, 1, 2], &[&[-5], &[6, 0, 6], &[-1]]),
        (&[4, 6, -2, -5, -6, 3, -3, 4, -1, 1, -3], &[3], &[&[4, 6, -2], &[-5, -6, 3], &[-3, 4, -1], &[1, -3]]),
        (&[3, 0, -2], &[1, 1, 2], &[&[3], &[0], &[-2]]),
        (&[3], &[3, 2, 4], &[&[3]]),
        (&[-3, -4, 3, -3, 5, 2, -6], &[2, 1], &[&[-3], &[3], &[-3], &[5], &[-4, 2], &[-6]]),
        (&[-1, 2, 4, 3, 3, -2, -1, 0, 2, 0], &[2, 4, 1], &[&[-1], &[2], &[3, 3], &[-1], &[2], &[0, 0], &[4, -2]]),
        (&[0, 3], &[1, 4, 2, 1], &[&[0], &[3]]),
        (&[4, -2, 1, 1, 5, 6, -4, -6, -6, 2, -5], &[3, 2, 3], &[&[4, -2], &[1, 1], &[6, -6, -6], &[5, -4, 2], &[-5]]),
        (&[1, -1, 2, -2, 0, 0, 3, 1], &[4, 4, 4], &[&[0, 0, 3], &[1, -2, 1], &[-1, 2]]),
        (&[5, 0], &[3, 4, 3, 3], &[&[0], &[5]]),
        (&[-4, 3, 0, 5, 3, -2, -1, 4, 0, 1], &[3, 1], &[&[3], &[5], &[3], &[-4, 0, -2], &[-1], &[1], &[4, 0]]),
        (&[1, -6, -4, -6, 3, 6, 3, -5, 4], &[3, 4, 1], &[&[-4], &[-6, -6, 3], &[6, 3], &[1, -5, 4]]),
    ];

    #[test]
    fn the_order_is_that_of_tf_data() {
        for (input, sizes, expected) in TF_DATA {
            let n: i64 = sizes.len().try_into().unwrap();
            let size = Function::new("sizes", move |key: i64| {
                Ok(sizes[usize::try_from(key + n / 2).unwrap()])
            });
            let dataset = ints(input).group_by_window(modulo(n), batches(), size, batch_spec());
            assert_eq!(&rows(&dataset), expected, "{input:?}, {sizes:?}");
            assert_resumes(&dataset);
        }
    }

    #[test]
    fn what_fails_costs_its_element_or_its_window() {
        let key = Function::new("key", |element: Element| match first(&element) {
            1 => Err(failed("no key")),
            value => Ok(value % 2),
        });
        let reduce = Function::new("reduce", |(key, window): (i64, Dataset)| match key {
            1 => Err(failed("odd")),
            _ => window.batch(2, false),
        });
        let dataset = range(6).group_by_window(key, reduce, of_size(2), batch_spec());
        let all: Vec<_> = dataset
            .iter()
            .map(|element| element.map(|element| first(&element)).map_err(|e| e.to_string()))
            .collect();
        let odd = Err("windows of group_by_window: element 1: odd".into());
        assert_eq!(all, [Err("group_by_window: element 1: no key".into()), Ok(0), odd, Ok(4)]);
        assert_resumes(&dataset);
        let nothing = range(2).group_by_window(modulo(2), batches(), of_size(0), batch_spec());
        assert!(matches!(
            nothing.iter().next(),
            Some(Err(Error::AtElement { stage: "group_by_window", index: 0, .. }))
        ));
    }

    #[test]
    fn resumes_at_every_element() {
        for input in [range(11), counting(11), counting(20).filter(even())] {
            let elements = Function::new("elements", |(_, window): (i64, Dataset)| Ok(window));
            let dataset = input.group_by_window(modulo(3), elements, of_size(3), element_spec());
            assert_resumes(&dataset);
            assert_rejects_damage(&dataset);
        }
        assert_rejects_damage(&parity(6));
    }
}
