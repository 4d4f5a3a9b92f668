//! `fold`: reduces a dataset to one state.

use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::execute::memory_budget::MemoryBudget;
use crate::execute::options::Options;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, Element, Epoch, Interrupted, Value};
use crate::transforms::map::scan::{check_running, running};
use crate::user_fn::function::Function;
use crate::user_fn::sessions::Sessions;
use std::sync::Arc;
use tensorferry_io::cancel::CancelToken;

impl Dataset {
    /// Calls `function` with a running state and each element in turn, and returns the last state.
    /// The first state is `initial`. The dtypes of the state never change; its shapes may. tf.data
    /// calls this `reduce`.
    ///
    /// # Errors
    /// The first error of an element or of `function`, which names the element; [`Error::Argument`]
    /// if the dataset is infinite or `initial` holds datasets; [`Error::Interrupted`] after a
    /// cancellation by `stop`.
    pub fn fold(
        &self,
        initial: Element,
        function: &Function<(Element, Element), Element>,
        cancel: &CancelToken,
    ) -> Result<Element> {
        let wrong = |what: &str| Error::Argument { stage: "reduce", what: what.into() };
        if self.cardinality() == Cardinality::Infinite {
            return Err(wrong("the dataset is infinite. Take a part of it first: take(n)."));
        }
        let tensors = initial.iter().cloned().map(Value::into_tensor).collect::<Result<Vec<_>>>();
        let running = running(
            &tensors
                .map_err(|_| wrong("the initial state holds a dataset; it has to be tensors"))?,
        );
        let sessions = Ending(Arc::default());
        let budget = MemoryBudget::new(&self.hints, &Options::default());
        let cx = Context {
            budget: Some(Arc::new(budget)),
            sessions: Some(Arc::clone(&sessions.0)),
            ..Context::new(Epoch(0), cancel.clone())
        };
        let mut input = Counted::new(self, &cx)?;
        let mut state = initial;
        loop {
            let next = input.next_with("reduce", |element| {
                let state = function.call((state.clone(), element))?;
                check_running(&state, &running)?;
                Ok(state)
            });
            match next.map_err(|Interrupted| Error::Interrupted)? {
                Some(next) => (_, state) = next?,
                None => return Ok(state),
            }
        }
    }
}

/// The sessions of a pass, which end with it.
struct Ending(Arc<Sessions>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{counting, element, fails_at, first, range};

    fn sum() -> Function<(Element, Element), Element> {
        Function::new("sum", |(state, next): (Element, Element)| {
            Ok(element(first(&state) + first(&next)))
        })
    }

    #[test]
    fn folds_every_element_and_nothing_gives_the_initial_state() {
        assert_eq!(
            first(&range(5).fold(element(100), &sum(), &CancelToken::default()).unwrap()),
            110
        );
        assert_eq!(
            first(&range(0).fold(element(100), &sum(), &CancelToken::default()).unwrap()),
            100
        );
    }

    #[test]
    fn ends_at_the_first_error() {
        let input = range(5).filter(fails_at(3, |_| Ok(true)));
        let error = input.fold(element(0), &sum(), &CancelToken::default()).unwrap_err();
        assert!(matches!(error, Error::AtElement { stage: "filter", index: 3, .. }));
        let narrow = Function::new("narrow", |_| {
            Ok(vec![tensorferry_core::Tensor::from_vec(vec![1_i32], &[])?.into()])
        });
        let error = range(5).fold(element(0), &narrow, &CancelToken::default()).unwrap_err();
        assert!(matches!(error, Error::AtElement { stage: "reduce", index: 0, .. }));
    }

    #[test]
    fn stops_when_asked() {
        let cancel = CancelToken::default();
        let asked = cancel.clone();
        let stops = Function::new("stops", move |(state, next): (Element, Element)| {
            if first(&next) == 10 {
                asked.cancel();
            }
            Ok(state)
        });
        assert!(matches!(
            counting(1 << 40).fold(element(0), &stops, &cancel),
            Err(Error::Interrupted)
        ));
    }
}
