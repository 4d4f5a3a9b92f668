//! The elements up to the first of which something is not true.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Stage, not_indexed};
use crate::user_fn::captures::Capture;
use crate::user_fn::function::Function;

struct TakeWhile {
    input: Dataset,
    predicate: Function<Element, bool>,
}

impl Dataset {
    /// The elements before the first of which `predicate` is false. Nothing after that one is read.
    ///
    /// An element for which `predicate` fails is an error in its place, and the stream goes on
    /// after it.
    #[must_use]
    pub fn take_while(&self, predicate: Function<Element, bool>) -> Self {
        Self::of(TakeWhile { input: self.clone(), predicate })
    }
}

impl Stage for TakeWhile {
    fn spec(&self) -> &[Component] {
        self.input.spec()
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn captures(&self) -> Vec<Capture> {
        self.predicate.capture().into_iter().collect()
    }

    fn describe(&self) -> String {
        format!("take_while({})", self.predicate.name())
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].take_while(self.predicate.clone()))
    }

    fn identity(&self) -> u64 {
        self.predicate.identity()
    }

    fn is_indexed(&self) -> bool {
        false
    }

    fn is_sequential(&self) -> bool {
        self.predicate.is_sequential() || self.input.stage.is_sequential()
    }

    fn get(&self, _index: u64, _cx: &Context) -> Result<Element> {
        Err(not_indexed("take_while"))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(TakeWhileIter {
            input: Counted::new(&self.input, cx)?,
            predicate: self.predicate.clone(),
            ended: false,
        }))
    }
}

struct TakeWhileIter {
    input: Counted,
    predicate: Function<Element, bool>,
    ended: bool,
}

impl ElementIter for TakeWhileIter {
    fn next(&mut self) -> Option<Result<Element>> {
        if self.ended {
            return None;
        }
        let (index, element) = match self.input.next()? {
            Ok(next) => next,
            Err(error) => return Some(Err(error)),
        };
        match self.predicate.call(element.clone()) {
            Ok(true) => Some(Ok(element)),
            Ok(false) => {
                self.ended = true;
                None
            }
            Err(Error::Stopped) => self.input.stopped(element),
            Err(error) => Some(Err(error.at_element("take_while", index))),
        }
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(u64::from(self.ended)), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.ended = parts[0].int()? != 0;
        self.input.restore(&parts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::testing::{
        assert_rejects_damage, assert_resumes, fails_at, first, ints, range, values,
    };

    fn below(limit: i64) -> Function<Element, bool> {
        Function::new("below", move |element: Element| Ok(first(&element) < limit))
    }

    #[test]
    fn ends_before_the_first_that_is_false_and_stays_ended() {
        let dataset = ints(&[1, 2, 9, 3]).take_while(below(5));
        assert_eq!(values(&dataset), [1, 2]);
        let mut iter = dataset.iter();
        assert_eq!(iter.by_ref().count(), 2);
        assert!(iter.next().is_none());
        assert_eq!(values(&range(3).take_while(below(0))), [0; 0]);
        assert_eq!(values(&range(3).take_while(below(7))), [0, 1, 2]);
    }

    #[test]
    fn a_failing_predicate_costs_its_element_only() {
        let all: Vec<_> = range(4).take_while(fails_at(1, |_| Ok(true))).iter().collect();
        assert!(
            matches!(all[1], Err(Error::AtElement { stage: "take_while", index: 1, .. })),
            "{:?}",
            all[1]
        );
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn resumes_at_every_element_and_after_the_end() {
        assert_resumes(&ints(&[1, 2, 9, 3]).take_while(below(5)));
        assert_rejects_damage(&ints(&[1, 2, 9, 3]).take_while(below(5)));
    }
}
