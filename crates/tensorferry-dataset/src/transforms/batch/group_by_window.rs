//! `group_by_window`: groups elements by a key and maps each full group to a dataset.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::shuffle::prng::Seed;
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Hints, Stage, Step, Value,
    step, uninterrupted, value_of,
};
use crate::transforms::combine::inner::{Inner, with_seeds};
use crate::user_fn::function::{Function, UserFn};
use std::collections::BTreeMap;
use tensorferry_core::Error as CoreError;
use tensorferry_io::memory::room::{Room, collected};

/// The stage in errors of `reduce`, whose index is that of a window.
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
    /// Groups elements by their `key`. `window_size` elements of one key form a window. `reduce`
    /// maps the key and the window to a dataset, whose elements follow. At the end of the input,
    /// incomplete windows follow in the order of their keys. `window_size` is called once for each
    /// key. `spec` describes the elements of all datasets that `reduce` returns.
    ///
    /// A window is an indexed dataset in memory. If `key` or `window_size` fails, or the window
    /// size is 0, the error takes the element's place and the element belongs to no window. If
    /// `reduce` fails, the error takes the place of the window.
    ///
    /// The state of an iteration contains the values of the elements in incomplete windows.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, Element, Function};
    ///
    /// let numbers = Dataset::from_tensor_slices([Tensor::from_vec((0_i64..6).collect(), &[6])?])?;
    /// let parity = Function::new("parity", |element: Element| {
    ///     Ok(element[0].tensor()?.view::<i64>()?.iter().sum::<i64>() % 2)
    /// });
    /// let batch = Function::new("batch", |(_, window): (i64, Dataset)| window.batch(2));
    /// let spec = numbers.batch(2)?.spec().to_vec();
    /// let groups = numbers.group_by_window(parity, batch, Function::new("2", |_| Ok(2)), spec);
    /// let mut sums = Vec::new();
    /// for group in &groups {
    ///     sums.push(group?[0].tensor()?.view::<i64>()?.iter().sum::<i64>());
    /// }
    /// assert_eq!(sums, [0 + 2, 1 + 3, 4, 5]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
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
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        match self.input.cardinality() {
            Cardinality::Infinite => Cardinality::Infinite,
            _ => Cardinality::Unknown,
        }
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

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.functions.key, &self.functions.reduce, &self.functions.window_size]
    }

    // The datasets that `reduce` returns may shuffle.
    fn hints(&self, inputs: Hints) -> Hints {
        Hints { depends_on_epoch: true, ..inputs }
    }

    // No `identity`: the drawn seed only determines the seeds of the datasets that `reduce`
    // returns.
    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { seed: Some(&self.seed), ..CheckpointInfo::default() }
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
            groups: Groups::default(),
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
    /// Determines the seeds of the datasets that `reduce` returns.
    seed: u64,
    cx: Context,
    /// [`Context::outside`] of the datasets that `reduce` returns.
    outside: usize,
    groups: Groups,
    /// Whether the input has ended.
    ended: bool,
    /// Number of windows so far.
    windows: u64,
    /// A full group whose `reduce` was interrupted.
    full: Option<(i64, Vec<Element>)>,
    current: Option<Window>,
}

/// The elements of incomplete windows.
#[derive(Default)]
struct Groups {
    /// The window size of each known key.
    sizes: BTreeMap<i64, u64>,
    waiting: BTreeMap<i64, Vec<Element>>,
}

impl Groups {
    /// Adds an element. Returns its key and its group if the group is full now.
    fn put(
        &mut self,
        element: Element,
        functions: &Functions,
    ) -> Result<Option<(i64, Vec<Element>)>> {
        let key = functions.key.call(element.clone())?;
        let size = match self.sizes.get(&key) {
            Some(size) => *size,
            None => {
                let size = functions.window_size.call(key)?;
                if size == 0 {
                    let what =
                        format!("the window size of key {key} is 0; it has to be at least 1");
                    return Err(Error::Argument { stage: "group_by_window", what });
                }
                self.sizes.insert(key, size);
                size
            }
        };
        let group = self.waiting.entry(key).or_default();
        group.make_room(1)?;
        group.push(element);
        let is_full = group.len() as u64 >= size;
        Ok(if is_full { self.waiting.remove(&key).map(|group| (key, group)) } else { None })
    }
}

/// A window whose dataset is being iterated.
struct Window {
    key: i64,
    elements: Vec<Element>,
    inner: Inner,
}

impl GroupIter {
    /// Takes the next full group, or the next incomplete one after the end of the input.
    fn group(&mut self) -> Step<(i64, Vec<Element>)> {
        while !self.ended {
            let Some(next) = self.input.next()? else {
                self.ended = true;
                break;
            };
            let (index, element) = match next {
                Ok(next) => next,
                Err(error) => return Ok(Some(Err(error))),
            };
            let (functions, groups) = (&self.functions, &mut self.groups);
            match self.input.attempt(&element, |element| groups.put(element, functions))? {
                Ok(None) => {}
                Ok(Some(full)) => return Ok(Some(Ok(full))),
                Err(error @ Error::Core(CoreError::Allocation { .. })) => {
                    // Keep the element for when there is memory again.
                    self.input.give_back(element);
                    return Ok(Some(Err(error)));
                }
                Err(error) => return Ok(Some(Err(error.at_element("group_by_window", index)))),
            }
        }
        value_of!(step(self.cx.cancel.check()));
        Ok(self.groups.waiting.pop_first().map(Ok))
    }

    fn reduced(&self, key: i64, elements: &[Element]) -> Result<Dataset> {
        let elements = collected(elements.iter().cloned().map(Ok::<_, Error>))?;
        self.functions.reduce.call((key, Dataset::in_memory(elements, self.input_spec.clone())))
    }

    /// Each window has its own epoch, as in [`crate::transforms::combine::inner::Outer`], so that
    /// shuffles inside differ between windows.
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

/// A key and its value.
fn pair(key: i64, value: State) -> State {
    State::List(vec![State::Int(key.cast_unsigned()), value])
}

fn key(state: &State) -> Result<i64> {
    Ok(state.int()?.cast_signed())
}

/// The state of elements, by value.
fn kept(elements: &[Element]) -> Result<State> {
    let tensor = |value: &Value| {
        let what = "elements of a window of group_by_window hold datasets, which cannot be saved";
        value.tensor().cloned().map_err(|_| Error::State { what: what.into() })
    };
    let element = |element: &Element| -> Result<State> {
        Ok(State::Tensors(element.iter().map(tensor).collect::<Result<_>>()?))
    };
    Ok(State::List(collected(elements.iter().map(element))?))
}

impl ElementIter for GroupIter {
    fn next(&mut self) -> Step {
        loop {
            if let Some(window) = &mut self.current {
                if let Some(next) = window.inner.next()? {
                    let index = self.windows.saturating_sub(1);
                    return Ok(Some(next.map_err(|error| error.at_element(WINDOWS, index))));
                }
                self.current = None;
            }
            let (key, elements) = match self.full.take() {
                Some(group) => group,
                None => value_of!(self.group()),
            };
            let index = self.windows;
            let inner = match uninterrupted(self.open(index, key, &elements)) {
                Ok(inner) => inner,
                Err(interrupted) => {
                    self.full = Some((key, elements));
                    return Err(interrupted);
                }
            };
            self.windows = index.saturating_add(1);
            match inner {
                Ok(inner) => self.current = Some(Window { key, elements, inner }),
                Err(error) => return Ok(Some(Err(error.at_element(WINDOWS, index)))),
            }
        }
    }

    fn save(&self) -> Result<State> {
        let sizes =
            self.groups.sizes.iter().map(|(key, size)| pair(*key, State::Int(*size))).collect();
        let groups: Result<Vec<State>> =
            self.groups.waiting.iter().map(|(key, group)| Ok(pair(*key, kept(group)?))).collect();
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
            self.full.as_ref().map_or(Ok(State::Nothing), |(key, elements)| {
                kept(elements).map(|kept| pair(*key, kept))
            })?,
            current,
            self.input.save()?,
        ]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(7)?;
        let size = |state: &State| {
            state.list(2).and_then(|parts| Ok((key(&parts[0])?, parts[1].int()?.max(1))))
        };
        let sizes = parts[0].parts()?.iter().map(size).collect::<Result<_>>()?;
        let group = |state: &State| {
            state.list(2).and_then(|parts| Ok((key(&parts[0])?, self.elements(&parts[1])?)))
        };
        let groups = parts[1].parts()?.iter().map(group).collect::<Result<_>>()?;
        let full = parts[4].optional(group)?;
        (self.groups, self.full) = (Groups { sizes, waiting: groups }, full);
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
        Function::new("batch(3)", |(_, window): (i64, Dataset)| window.batch(3))
    }

    fn modulo(n: i64) -> Function<Element, i64> {
        Function::new("modulo", move |element: Element| Ok(first(&element).rem_euclid(n) - n / 2))
    }

    fn of_size(size: u64) -> Function<i64, u64> {
        Function::new("size", move |_| Ok(size))
    }

    fn batch_spec() -> Vec<Component> {
        ints(&[0]).batch(1).unwrap().spec().to_vec()
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

    /// Results of TensorFlow 2.21's `tf.data.Dataset.group_by_window`: the input; the window sizes
    /// of the keys `floormod(x, len(sizes)) - len(sizes) // 2`, in ascending order of keys; the
    /// results of `batch(3)` on the windows.
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
            _ => window.batch(2),
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
