//! Helpers for tests of iterators.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::sources::generator::Generator;
use crate::spec::Component;
use crate::stage::{Context, Dataset, Element, ElementIter, Epoch, Value};
use crate::user_fn::function::{Function, failed};
use std::cell::Cell;
use std::time::Duration;
use tensorferry_core::Tensor;
use tensorferry_io::cancel::{CancelToken, interruptible_every};

/// A dataset of these numbers.
pub(crate) fn ints(values: &[i64]) -> Dataset {
    Dataset::from_tensor_slices([Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap()])
        .unwrap()
}

/// `0..n`, indexed.
pub(crate) fn range(n: i64) -> Dataset {
    ints(&(0..n).collect::<Vec<_>>())
}

/// `0..n` from a generator. `n` may be large.
pub(crate) fn counting(n: i64) -> Dataset {
    let each = Function::new("counting", move |()| {
        Ok(Box::new((0..n).map(|value| Ok(element(value)))) as Generator)
    });
    Dataset::from_generator(each, element_spec())
}

/// `0..n` from a generator that then fails and ends.
pub(crate) fn dying(n: i64) -> Dataset {
    let numbers = move || {
        (0..n).map(|value| Ok(element(value))).chain([Err(failed("it is broken".to_owned()))])
    };
    Dataset::from_generator(
        Function::new("dying", move |()| Ok(Box::new(numbers()) as Generator)),
        element_spec(),
    )
}

/// The specification of one number.
pub(crate) fn element_spec() -> Vec<Component> {
    ints(&[0]).spec().to_vec()
}

/// An element of one number.
pub(crate) fn element(value: i64) -> Element {
    vec![Tensor::from_vec(vec![value], &[]).unwrap().into()]
}

/// The first number of an element.
pub(crate) fn first(element: &Element) -> i64 {
    element[0].tensor().unwrap().view::<i64>().unwrap().iter().next().unwrap()
}

/// The first number of each element. Panics on an error.
pub(crate) fn values(dataset: &Dataset) -> Vec<i64> {
    dataset.iter().map(|element| first(&element.unwrap())).collect()
}

/// All numbers of each element.
pub(crate) fn rows(dataset: &Dataset) -> Vec<Vec<i64>> {
    dataset
        .iter()
        .map(|element| {
            element.unwrap()[0].tensor().unwrap().view::<i64>().unwrap().iter().collect()
        })
        .collect()
}

pub(crate) fn even() -> Function<Element, bool> {
    Function::new("even", |element: Element| Ok(first(&element) % 2 == 0))
}

/// A function that calls `call`, but fails for the number `at`.
pub(crate) fn fails_at<Out>(
    at: i64,
    call: impl Fn(Element) -> Result<Out> + Send + Sync + 'static,
) -> Function<Element, Out> {
    Function::new(format!("fails_at_{at}"), move |element: Element| {
        if first(&element) == at { Err(failed(format!("{at} is refused"))) } else { call(element) }
    })
}

/// A new pass in epoch 3.
pub(crate) fn stream(dataset: &Dataset) -> Pass {
    Pass(dataset.element_iter(&Context::new(Epoch(3), CancelToken::default())).unwrap())
}

/// A pass whose interruptions are errors.
pub(crate) struct Pass(pub(crate) Box<dyn ElementIter>);

impl Pass {
    pub(crate) fn next(&mut self) -> Option<Result<Element>> {
        self.0.next().unwrap_or(Some(Err(Error::Interrupted)))
    }

    pub(crate) fn save(&self) -> Result<State> {
        self.0.save()
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        self.0.restore(state)
    }
}

/// The remaining elements of a pass as text: values, shapes and errors.
pub(crate) fn rest(stream: &mut Pass) -> Vec<String> {
    std::iter::from_fn(|| stream.next()).take(1000).map(|element| words(&element)).collect()
}

pub(crate) fn words(element: &Result<Element>) -> String {
    let tensor = |tensor: &Tensor| {
        format!(
            "{:?}{:?}",
            tensor.shape(),
            tensorferry_io::gather::rows_out::packed(tensor).unwrap().as_view().as_bytes()
        )
    };
    match element {
        Ok(values) => values
            .iter()
            .map(|value| match value {
                Value::Tensor(t) => tensor(t),
                Value::Dataset(inner) => {
                    format!("{:?}", inner.iter().map(|e| words(&e)).collect::<Vec<_>>())
                }
            })
            .collect(),
        Err(error) => error.to_string(),
    }
}

/// Checks that a pass that is restored after any number of elements yields the same as one that is
/// not interrupted.
pub(crate) fn assert_resumes(dataset: &Dataset) {
    assert_goes_on_after_a_stop(dataset);
    let all = rest(&mut stream(dataset));
    for prefix in 0..=all.len() + 1 {
        let mut interrupted = stream(dataset);
        for _ in 0..prefix {
            interrupted.next();
        }
        let state = interrupted.save().unwrap();
        let mut resumed = stream(dataset);
        resumed.restore(&state).unwrap();
        // A restored state can be saved again before anything is read.
        let again = resumed.save().unwrap();
        let mut twice = stream(dataset);
        twice.restore(&again).unwrap();
        let expected = all.get(prefix..).unwrap_or_default();
        assert_eq!(rest(&mut resumed), expected, "{dataset} after {prefix} elements");
        assert_eq!(rest(&mut twice), expected, "{dataset} after {prefix} elements, restored twice");
        // The pass that was saved continues unchanged.
        assert_eq!(
            rest(&mut interrupted),
            expected,
            "{dataset} after {prefix} elements, not interrupted"
        );
    }
}

thread_local! {
    /// Number of calls of [`look`] before the one that returns true.
    static LOOKS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes [`look`] return true once, after `looks` calls.
pub(crate) fn interrupt_after(looks: u64) {
    LOOKS.set(Some(looks));
}

pub(crate) fn look() -> bool {
    let left = LOOKS.get();
    LOOKS.set(left.and_then(|left| left.checked_sub(1)));
    left == Some(0)
}

/// Checks that a pass continues unchanged after an interruption at any check, and so does one that
/// is restored from the state at that moment.
pub(crate) fn assert_goes_on_after_a_stop(dataset: &Dataset) {
    let all = rest(&mut stream(dataset));
    for looks in 0..300 {
        let (mut interrupted, mut given, mut stopped) = (stream(dataset), Vec::new(), false);
        interrupt_after(looks);
        loop {
            match interruptible_every(Duration::ZERO, look, || interrupted.next()) {
                None => break,
                Some(Err(Error::Interrupted)) => {
                    assert!(!std::mem::replace(&mut stopped, true), "{dataset}: stopped twice");
                    let Ok(state) = interrupted.save() else { continue };
                    let mut resumed = stream(dataset);
                    resumed.restore(&state).unwrap();
                    let expected = all.get(given.len()..).unwrap_or_default();
                    assert_eq!(
                        rest(&mut resumed),
                        expected,
                        "{dataset}: resumed after {} and {looks} looks",
                        given.len()
                    );
                }
                Some(element) => given.push(words(&element)),
            }
            if given.len() >= 1000 {
                break;
            }
        }
        assert_eq!(given, all, "{dataset}: stopped at look {looks}");
        if !stopped {
            return;
        }
    }
}

/// Checks that damaged states are refused without a panic. Damages every part of a valid state in
/// turn.
pub(crate) fn assert_rejects_damage(dataset: &Dataset) {
    damage(dataset, true);
}

/// As [`assert_rejects_damage`], for plans whose stages may accept damaged parts. Checks only that
/// nothing panics.
pub(crate) fn assert_survives_damage(dataset: &Dataset) {
    damage(dataset, false);
}

fn damage(dataset: &Dataset, refused: bool) {
    let mut interrupted = stream(dataset);
    for _ in 0..2 {
        interrupted.next();
    }
    let good = interrupted.save().unwrap();
    for (damaged, certain) in damages(&good) {
        let mut resumed = stream(dataset);
        match resumed.restore(&damaged) {
            Err(Error::State { .. }) => {}
            // Restoring elements that a damaged state names calls functions, which may fail.
            Err(_) if !refused => {}
            Err(other) => panic!("{dataset}: {damaged:?} was refused with {other:?}"),
            // Another number may be a valid state. Iterating must not panic.
            Ok(()) if !(certain && refused) => drop(rest(&mut resumed)),
            Ok(()) => panic!("{dataset}: {damaged:?} was accepted"),
        }
    }
}

/// Copies of `good` with one damage each, and whether it is certain that this makes them invalid.
fn damages(good: &State) -> Vec<(State, bool)> {
    let mut all = vec![(State::Text("damaged".into()), true)];
    match good {
        State::Int(value) => {
            all.push((State::Int(u64::MAX), false));
            all.push((State::Int(value.wrapping_add(1)), false));
            all.push((State::List(vec![good.clone()]), true));
        }
        State::Tensors(tensors) => {
            all.push((State::Int(0), true));
            all.push((
                State::Tensors(tensors.iter().chain(tensors).cloned().collect()),
                !tensors.is_empty(),
            ));
            let wrong = Tensor::from_vec(vec![true, false], &[1, 2]).unwrap();
            all.push((
                State::Tensors(tensors.iter().map(|_| wrong.clone()).collect()),
                !tensors.is_empty(),
            ));
        }
        State::List(parts) => {
            all.push((State::Int(0), true));
            for at in 0..parts.len() {
                for (part, certain) in damages(&parts[at]) {
                    let mut parts = parts.clone();
                    parts[at] = part;
                    all.push((State::List(parts), certain));
                }
            }
            let mut more = parts.clone();
            more.push(State::Text("one more".into()));
            all.push((State::List(more), true));
        }
        State::Nothing | State::Text(_) => all.clear(),
    }
    all
}

/// Checks that a rebuilt plan has the same description, cardinality and elements.
pub(crate) fn assert_rebuilds(dataset: &Dataset) {
    let rebuilt = dataset.rebuild(&mut crate::checkpoint::change::Change::default()).unwrap();
    assert_eq!(rebuilt.to_string(), dataset.to_string());
    assert_eq!(rebuilt.cardinality(), dataset.cardinality());
    assert_eq!(rest(&mut stream(&rebuilt)), rest(&mut stream(dataset)));
}
