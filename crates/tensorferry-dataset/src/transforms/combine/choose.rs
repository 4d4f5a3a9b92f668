//! `choose_from_datasets`: takes elements of several datasets in the order given by another
//! dataset.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Stage, Step, not_indexed, value_of,
};
use crate::transforms::combine::several::{Iters, common_spec};
use tensorferry_core::DType;

struct Choose {
    /// The datasets, followed by `choice`.
    inputs: Vec<Dataset>,
    stop_on_empty_dataset: bool,
    spec: Vec<Component>,
}

impl Dataset {
    /// Takes the next element of one of the `datasets` for each element of `choice`, an `int64`
    /// scalar with the index of the dataset. Ends with `choice`. If the chosen dataset has no more
    /// elements, it is skipped, or ends the iteration with `stop_on_empty_dataset`.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let range = |start, stop| Dataset::range(start, stop, 1, DType::Int64);
    /// let choice = range(0, 2)?.repeat(None);
    /// let datasets = vec![range(0, 3)?, range(10, 13)?];
    /// let chosen = Dataset::choose_from_datasets(datasets, choice, true)?;
    /// let mut numbers = Vec::new();
    /// for element in &chosen {
    ///     numbers.extend(element?[0].tensor()?.view::<i64>()?.get(&[]));
    /// }
    /// assert_eq!(numbers, [0, 10, 1, 11, 2, 12]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no dataset, or if the elements of `choice` are not `int64`
    /// scalars; [`Error::ElementMismatch`] if the datasets' numbers of components or dtypes differ.
    /// An index out of bounds is an error in the place of its element.
    pub fn choose_from_datasets(
        datasets: Vec<Self>,
        choice: Self,
        stop_on_empty_dataset: bool,
    ) -> Result<Self> {
        let spec = common_spec(&datasets, STAGE)?;
        let scalar = |part: &Component| {
            part.tensor().is_some_and(|s| s.dtype == DType::Int64 && s.shape.admits(&[]))
        };
        if choice.spec().len() != 1 || !choice.spec().iter().all(scalar) {
            let what = format!(
                "the elements of choice_dataset have to be int64 scalars, not {}",
                Component::list(choice.spec())
            );
            return Err(Error::Argument { stage: STAGE, what });
        }
        let mut inputs = datasets;
        inputs.push(choice);
        Ok(Self::of(Choose { inputs, stop_on_empty_dataset, spec }))
    }
}

const STAGE: &str = "choose_from_datasets";

impl Choose {
    fn datasets(&self) -> (&[Dataset], Option<&Dataset>) {
        match self.inputs.split_last() {
            Some((choice, datasets)) => (datasets, Some(choice)),
            None => (&[], None),
        }
    }
}

impl Stage for Choose {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(&self.inputs, &self.spec)
    }

    // Unlike tf.data, which reports infinite if any dataset is, even if `choice` is finite.
    fn cardinality(&self) -> Cardinality {
        let endless = |dataset: &Dataset| dataset.cardinality() == Cardinality::Infinite;
        let (datasets, choice) = self.datasets();
        if choice.is_some_and(endless) && datasets.iter().all(endless) {
            Cardinality::Infinite
        } else {
            Cardinality::Unknown
        }
    }

    fn describe(&self) -> String {
        let arguments = if self.stop_on_empty_dataset { "" } else { "stop_on_empty_dataset=False" };
        format!("{STAGE}({arguments})")
    }

    fn rebuild(&self, mut inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let Some(choice) = inputs.pop() else { return Err(not_indexed(STAGE)) };
        Dataset::choose_from_datasets(inputs, choice, self.stop_on_empty_dataset)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let (datasets, Some(choice)) = self.datasets() else { return Err(not_indexed(STAGE)) };
        Ok(Box::new(ChooseIter {
            iters: Iters::new(datasets, cx)?,
            choice: Counted::new(choice, cx)?,
            stop_on_empty_dataset: self.stop_on_empty_dataset,
            count: datasets.len(),
        }))
    }
}

struct ChooseIter {
    iters: Iters,
    choice: Counted,
    stop_on_empty_dataset: bool,
    count: usize,
}

impl ChooseIter {
    fn chosen(count: usize, element: &Element) -> Result<usize> {
        let value = match element.first() {
            Some(value) => value.tensor()?.view::<i64>()?.iter().next().unwrap_or(-1),
            None => -1,
        };
        usize::try_from(value).ok().filter(|which| *which < count).ok_or_else(|| {
            let what = format!("choice_dataset names dataset {value} of {count}");
            Error::ElementMismatch { what }
        })
    }
}

impl ElementIter for ChooseIter {
    fn next(&mut self) -> Step {
        // Once all datasets have ended, an infinite `choice` would loop forever.
        while !self.iters.all_over() {
            let call = |choice: Element| Self::chosen(self.count, &choice);
            let (choice, which) = value_of!(self.choice.next_with(STAGE, call));
            let next = self.iters.next(which).inspect_err(|_| self.choice.give_back(choice))?;
            if next.is_some() {
                return Ok(next);
            }
            if self.stop_on_empty_dataset {
                self.iters.end();
            }
        }
        Ok(None)
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![self.iters.save()?, self.choice.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.iters.restore(&parts[0])?;
        self.choice.restore(&parts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, ints, range, values,
    };

    fn chosen(choice: &[i64], stop: bool) -> Dataset {
        let datasets = vec![range(2), counting(3).skip(Some(1)), ints(&[10, 11, 12])];
        Dataset::choose_from_datasets(datasets, ints(choice), stop).unwrap()
    }

    #[test]
    fn each_dataset_keeps_its_own_order() {
        assert_eq!(values(&chosen(&[2, 0, 2, 1, 0, 2], true)), [10, 0, 11, 1, 1, 12]);
        assert_eq!(values(&chosen(&[], true)), [0_i64; 0]);
    }

    #[test]
    fn an_empty_dataset_ends_it_or_is_passed_over() {
        assert_eq!(values(&chosen(&[0, 0, 0, 2], true)), [0, 1]);
        assert_eq!(values(&chosen(&[0, 0, 0, 2], false)), [0, 1, 10]);
    }

    #[test]
    fn an_endless_choice_ends_with_the_last_dataset() {
        let choice = range(2).repeat(None);
        let chosen = |stop| {
            Dataset::choose_from_datasets(vec![range(1), range(3)], choice.clone(), stop).unwrap()
        };
        assert_eq!(values(&chosen(true)), [0, 0]);
        assert_eq!(values(&chosen(false)), [0, 0, 1, 2]);
    }

    #[test]
    fn a_position_that_no_dataset_has_is_an_error_at_its_element() {
        let results: Vec<_> = chosen(&[0, 3, -1, 2], true)
            .iter()
            .map(|result| result.map_err(|e| e.to_string()))
            .collect();
        assert_eq!(
            results[1].as_ref().unwrap_err(),
            "choose_from_datasets: element 1: choice_dataset names dataset 3 of 3"
        );
        assert!(results[2].as_ref().unwrap_err().contains("dataset -1 of 3"));
        assert!(results[3].is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused_when_it_is_built() {
        let built = |datasets, choice: Dataset| {
            Dataset::choose_from_datasets(datasets, choice, true).map(drop)
        };
        assert!(matches!(built(Vec::new(), range(1)), Err(Error::Argument { .. })));
        assert!(matches!(
            built(vec![range(1)], range(2).batch(1).unwrap()),
            Err(Error::Argument { .. })
        ));
        let other = Dataset::range(0, 3, 1, DType::Int32).unwrap();
        assert!(matches!(built(vec![range(1)], other.clone()), Err(Error::Argument { .. })));
        assert!(matches!(
            built(vec![range(1), other], range(1)),
            Err(Error::ElementMismatch { .. })
        ));
    }

    #[test]
    fn shapes_that_differ_are_unknown() {
        let batches = |size| range(4).batch_with(size, BatchOptions::DROP_REMAINDER).unwrap();
        let spec = |datasets| {
            Dataset::choose_from_datasets(datasets, range(1), true).unwrap().spec()[0].to_string()
        };
        assert_eq!(spec(vec![batches(2), batches(2)]), "int64[2]");
        assert_eq!(spec(vec![batches(2), batches(3)]), "int64[?]");
        assert_eq!(spec(vec![batches(2), range(3)]), "int64[...]");
    }

    #[test]
    fn only_a_choice_that_cannot_end_is_infinite() {
        let endless = range(2).repeat(None);
        let of = |datasets, choice| {
            Dataset::choose_from_datasets(datasets, choice, false).unwrap().cardinality()
        };
        assert_eq!(
            of(vec![endless.clone(), endless.clone()], endless.clone()),
            Cardinality::Infinite
        );
        assert_eq!(of(vec![endless.clone(), endless.clone()], range(2)), Cardinality::Unknown);
        assert_eq!(of(vec![range(2), range(3)], endless.clone()), Cardinality::Unknown);
    }

    #[test]
    fn an_iteration_resumes_anywhere() {
        for stop in [true, false] {
            assert_resumes(&chosen(&[2, 0, 2, 1, 0, 0, 1, 5, 2, 1], stop));
            assert_rejects_damage(&chosen(&[2, 0, 2, 1], stop));
            assert_rebuilds(&chosen(&[2, 0, 2, 1, 0, 2], stop));
        }
    }
}
