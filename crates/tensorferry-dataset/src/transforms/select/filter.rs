//! The elements of which something is true.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Stage, not_indexed};
use crate::user_fn::captures::Capture;
use crate::user_fn::function::Function;

struct Filter {
    input: Dataset,
    predicate: Function<Element, bool>,
}

impl Dataset {
    /// The elements of which `predicate` is true, in order. How many they are only iterating tells.
    ///
    /// An element for which `predicate` fails is an error in its place, and the stream goes on
    /// after it.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, Function};
    ///
    /// let numbers = Dataset::from_tensor_slices([Tensor::from_vec(vec![4_i32, -1, 7], &[3])?])?;
    /// let positive = Function::new("positive", |element: tensorferry_dataset::Element| {
    ///     Ok(element[0].tensor()?.view::<i32>()?.get(&[]).is_some_and(|value| value > 0))
    /// });
    /// assert_eq!(numbers.filter(positive).iter().count(), 2);
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    #[must_use]
    pub fn filter(&self, predicate: Function<Element, bool>) -> Self {
        Self::of(Filter { input: self.clone(), predicate })
    }
}

impl Stage for Filter {
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
        format!("filter({})", self.predicate.name())
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].filter(self.predicate.clone()))
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
        Err(not_indexed("filter"))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(FilterIter {
            input: Counted::new(&self.input, cx)?,
            predicate: self.predicate.clone(),
        }))
    }
}

struct FilterIter {
    input: Counted,
    predicate: Function<Element, bool>,
}

impl ElementIter for FilterIter {
    fn next(&mut self) -> Option<Result<Element>> {
        loop {
            let (index, element) = match self.input.next()? {
                Ok(next) => next,
                Err(error) => return Some(Err(error)),
            };
            match self.predicate.call(element.clone()) {
                Ok(true) => return Some(Ok(element)),
                Ok(false) => {}
                Err(Error::Stopped) => return self.input.stopped(element),
                Err(error) => return Some(Err(error.at_element("filter", index))),
            }
        }
    }

    fn save(&self) -> Result<State> {
        self.input.save()
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.input.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::stage::Epoch;
    use crate::testing::{
        assert_rejects_damage, assert_resumes, counting, even, fails_at, first, range, values,
    };
    use tensorferry_io::cancel::Stop;

    #[test]
    fn keeps_what_is_true_in_order() {
        assert_eq!(values(&range(7).filter(even())), [0, 2, 4, 6]);
        assert_eq!(values(&range(7).filter(Function::new("none", |_| Ok(false)))), [0; 0]);
        assert_eq!(range(7).filter(even()).cardinality(), Cardinality::Unknown);
        assert!(!range(7).filter(even()).is_indexed());
    }

    #[test]
    fn a_failing_predicate_costs_its_element_only_and_is_named_by_the_inputs_index() {
        let dataset = range(6).filter(even()).filter(fails_at(2, |_| Ok(true)));
        let all: Vec<_> = dataset.iter().collect();
        assert_eq!(all.len(), 3);
        assert_eq!(first(all[0].as_ref().unwrap()), 0);
        assert!(
            matches!(all[1], Err(Error::AtElement { stage: "filter", index: 1, .. })),
            "{:?}",
            all[1]
        );
        assert_eq!(first(all[2].as_ref().unwrap()), 4);
    }

    #[test]
    fn a_filter_that_never_matches_stops_when_asked() {
        let stop = Stop::default();
        let asked = stop.clone();
        let dataset =
            counting(1 << 40).filter(Function::new("stops at 3", move |element: Element| {
                if first(&element) == 3 {
                    asked.stop();
                }
                Ok(false)
            }));
        let mut stream = dataset.element_iter(&Context::new(Epoch(0), stop)).unwrap();
        assert!(matches!(stream.next(), Some(Err(Error::Stopped))));
    }

    #[test]
    fn resumes_at_every_element() {
        assert_resumes(&range(9).filter(even()));
        assert_resumes(&range(9).filter(even()).filter(fails_at(4, |_| Ok(true))));
        assert_rejects_damage(&range(9).filter(even()));
    }
}
