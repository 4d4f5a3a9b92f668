//! Computing one element, with panics as errors, and the state of prefetched elements.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::execute::stats::computing;
use crate::stage::{Context, Dataset, Element, ElementIter, Step};
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tensorferry_io::cancel::is_interrupted;

/// Computes element `index`. A panic in a stage becomes an error.
pub(crate) fn compute(dataset: &Dataset, index: u64, cx: &Context) -> Result<Element> {
    if cx.cancel.is_cancelled() {
        return Err(Error::Interrupted);
    }
    caught(index, cx, || computing(cx.stats.as_ref(), || dataset.stage.get(index, cx)))
}

/// As [`compute`], for several elements.
pub(crate) fn compute_each(
    dataset: &Dataset,
    part: Range<u64>,
    cx: &Context,
) -> Vec<Result<Element>> {
    let indices: Vec<u64> = part.collect();
    if cx.cancel.is_cancelled() {
        return indices.iter().map(|_| Err(Error::Interrupted)).collect();
    }
    let work = || computing(cx.stats.as_ref(), || dataset.stage.get_each(&indices, cx));
    let each = |(index, element)| caught(index, cx, || element);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(found) => indices.into_iter().zip(found).map(each).collect(),
        Err(panic) => {
            let error = |index| Err(panicked(panic.as_ref()).at_element("get", index));
            indices.into_iter().map(error).collect()
        }
    }
}

/// Runs work for element `index`. A panic becomes an error.
pub(crate) fn caught(
    index: u64,
    cx: &Context,
    work: impl FnOnce() -> Result<Element>,
) -> Result<Element> {
    match catch_unwind(AssertUnwindSafe(work)) {
        // Nothing was cancelled, so the caller would request the element again, without end.
        Ok(Err(Error::Interrupted)) if !cx.cancel.is_cancelled() && !is_interrupted() => {
            Err(crate::user_fn::function::failed(
                "a function returned Error::Interrupted although nothing was interrupted. Return \
                    another error.",
            )
            .at_element("get", index))
        }
        Ok(element) => element,
        Err(panic) => Err(panicked(panic.as_ref()).at_element("get", index)),
    }
}

/// The next element of an iterator. A panic in a stage becomes an error.
pub(crate) fn advance(iter: &mut dyn ElementIter) -> Step {
    match catch_unwind(AssertUnwindSafe(|| iter.next())) {
        Ok(next) => next,
        Err(panic) => Ok(Some(Err(panicked(panic.as_ref())))),
    }
}

/// A panic as an error. Otherwise the consumer would wait for a thread that has ended.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    crate::user_fn::function::failed(format!(
        "a stage panicked, which is a bug: {}",
        words.unwrap_or("it left no message")
    ))
}

/// The state of an iterator and of the elements that were computed but not handed out.
pub(crate) fn waiting_state(iter: State, waiting: &VecDeque<Result<Element>>) -> Result<State> {
    let element = |element: &Result<Element>| match element {
        Ok(values) => {
            let tensors: Result<Vec<_>> =
                values.iter().map(|value| value.tensor().cloned()).collect();
            let what = "prefetched elements that hold datasets cannot be saved. Move prefetch \
                behind the stage that flattens them.";
            tensors.map(State::Tensors).map_err(|_| Error::State { what: what.into() })
        }
        Err(error) => Ok(State::of_error(error)),
    };
    let waiting: Result<Vec<State>> = waiting.iter().map(element).collect();
    Ok(State::List(vec![iter, State::List(waiting?)]))
}
