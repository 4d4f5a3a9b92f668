//! `filter` and `take_while`: elements for which a predicate is true.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::Result;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Stage, Step, value_of};
use crate::user_fn::function::{Function, UserFn};

/// `filter`, or `take_while`, which ends at the first element that `filter` would skip.
struct Filter {
    input: Dataset,
    predicate: Function<Element, bool>,
    ends: bool,
}

impl Dataset {
    /// The elements for which `predicate` is true. The cardinality is unknown.
    ///
    /// If `predicate` fails, the error takes the element's place and the iteration continues.
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
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn filter(&self, predicate: Function<Element, bool>) -> Self {
        Self::of(Filter { input: self.clone(), predicate, ends: false })
    }

    /// The elements before the first for which `predicate` is false. Later elements are not read.
    ///
    /// If `predicate` fails, the error takes the element's place and the iteration continues.
    #[must_use]
    pub fn take_while(&self, predicate: Function<Element, bool>) -> Self {
        Self::of(Filter { input: self.clone(), predicate, ends: true })
    }
}

impl Filter {
    fn name(&self) -> &'static str {
        if self.ends { "take_while" } else { "filter" }
    }
}

impl Stage for Filter {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        format!("{}({})", self.name(), self.predicate.name())
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let (input, predicate) = (inputs[0].clone(), self.predicate.clone());
        Ok(Dataset::of(Self { input, predicate, ends: self.ends }))
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.predicate]
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(FilterIter {
            input: Counted::new(&self.input, cx)?,
            predicate: self.predicate.clone(),
            name: self.name(),
            ends: self.ends,
            ended: false,
        }))
    }
}

struct FilterIter {
    input: Counted,
    predicate: Function<Element, bool>,
    name: &'static str,
    ends: bool,
    ended: bool,
}

impl ElementIter for FilterIter {
    fn next(&mut self) -> Step {
        while !self.ended {
            let call = |element| self.predicate.call(element);
            let (element, is_true) = value_of!(self.input.next_with(self.name, call));
            if is_true {
                return Ok(Some(Ok(element)));
            }
            self.ended = self.ends;
        }
        Ok(None)
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
    use crate::stage::Epoch;
    use crate::testing::{
        assert_rejects_damage, assert_resumes, counting, even, fails_at, first, range, values,
    };
    use tensorferry_io::cancel::CancelToken;

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
        let cancel = CancelToken::default();
        let asked = cancel.clone();
        let dataset =
            counting(1 << 40).filter(Function::new("stops at 3", move |element: Element| {
                if first(&element) == 3 {
                    asked.cancel();
                }
                Ok(false)
            }));
        let mut stream =
            crate::testing::Pass(dataset.element_iter(&Context::new(Epoch(0), cancel)).unwrap());
        assert!(matches!(stream.next(), Some(Err(Error::Interrupted))));
    }

    #[test]
    fn resumes_at_every_element() {
        assert_resumes(&range(9).filter(even()));
        assert_resumes(&range(9).filter(even()).filter(fails_at(4, |_| Ok(true))));
        assert_rejects_damage(&range(9).filter(even()));
    }
}

#[cfg(test)]
mod take_while_tests {
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
