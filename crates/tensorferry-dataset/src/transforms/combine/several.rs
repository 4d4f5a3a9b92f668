//! Specification of, and iterators over, several datasets of equal components.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::Component;
use crate::stage::{Context, Dataset, ElementIter, Step};
use crate::transforms::combine::concatenate::relaxed;

/// The specification that admits the elements of all datasets.
pub(crate) fn common_spec(datasets: &[Dataset], stage: &'static str) -> Result<Vec<Component>> {
    let Some((first, others)) = datasets.split_first() else {
        return Err(Error::Argument { stage, what: "no datasets were given".into() });
    };
    let mut spec = first.spec().to_vec();
    for (at, other) in others.iter().enumerate() {
        spec = relaxed(&spec, other.spec()).ok_or_else(|| {
            let (first, other) = (Component::list(first.spec()), Component::list(other.spec()));
            let at = at + 1;
            let what = format!(
                "{stage} needs datasets of the same components and dtypes; dataset 0 has {first}, \
                dataset {at} {other}. Cast or map \
                 one of them."
            );
            Error::ElementMismatch { what }
        })?;
    }
    Ok(spec)
}

/// Iterators over several datasets. `None` for those that have ended.
pub(crate) struct Iters {
    iters: Vec<Option<Box<dyn ElementIter>>>,
}

impl Iters {
    pub(crate) fn new(datasets: &[Dataset], cx: &Context) -> Result<Self> {
        let iters: Result<_> =
            datasets.iter().map(|dataset| dataset.element_iter(cx).map(Some)).collect();
        Ok(Self { iters: iters? })
    }

    /// The next element of dataset `which`; `None` once it has ended.
    pub(crate) fn next(&mut self, which: usize) -> Step {
        let Some(slot) = self.iters.get_mut(which) else { return Ok(None) };
        let Some(iter) = slot else { return Ok(None) };
        let element = iter.next()?;
        if element.is_none() {
            *slot = None;
        }
        Ok(element)
    }

    pub(crate) fn end(&mut self) {
        self.iters.iter_mut().for_each(|iter| *iter = None);
    }

    pub(crate) fn is_over(&self, which: usize) -> bool {
        self.iters.get(which).is_none_or(Option::is_none)
    }

    pub(crate) fn all_over(&self) -> bool {
        self.iters.iter().all(Option::is_none)
    }

    /// The states, each in a list. An empty list stands for an iterator that has ended.
    pub(crate) fn save(&self) -> Result<State> {
        let one = |iter: &Option<Box<dyn ElementIter>>| match iter {
            Some(iter) => Ok(State::List(vec![iter.save()?])),
            None => Ok(State::List(Vec::new())),
        };
        self.iters.iter().map(one).collect::<Result<_>>().map(State::List)
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(self.iters.len())?;
        for (iter, part) in self.iters.iter_mut().zip(parts) {
            match (part.parts()?, &mut *iter) {
                ([], _) => *iter = None,
                ([part], Some(iter)) => iter.restore(part)?,
                _ => {
                    return Err(Error::State {
                        what: "expected one state for each dataset that has not ended".into(),
                    });
                }
            }
        }
        Ok(())
    }
}
