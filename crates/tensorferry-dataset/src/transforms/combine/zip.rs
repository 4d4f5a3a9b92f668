//! `zip`: combines the elements of several datasets.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::request::{Columns, RowPart};
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Stage, Step, not_indexed};
use tensorferry_core::Tensor;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

struct Zip {
    inputs: Vec<Dataset>,
    spec: Vec<Component>,
}

impl Dataset {
    /// Combines one element of each dataset into one that has all their components. Ends with the
    /// shortest dataset.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let range = |n| Dataset::range(0, n, 1, DType::Int64);
    /// let pairs = Dataset::zip(vec![range(3)?, range(5)?])?;
    /// assert_eq!(pairs.cardinality(), Cardinality::Finite(3));
    /// assert_eq!(pairs.spec().len(), 2);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no datasets.
    pub fn zip(datasets: Vec<Self>) -> Result<Self> {
        if datasets.is_empty() {
            return Err(Error::Argument { stage: "zip", what: "no datasets were given".into() });
        }
        let spec = datasets.iter().flat_map(|input| input.spec().iter().cloned()).collect();
        Ok(Self::of(Zip { inputs: datasets, spec }))
    }
}

impl Zip {
    /// The input that has component `at`, and the component's number there.
    fn input_of(&self, at: usize) -> Option<(&Dataset, usize)> {
        let mut at = at;
        for input in &self.inputs {
            match at.checked_sub(input.spec().len()) {
                None => return Some((input, at)),
                Some(rest) => at = rest,
            }
        }
        None
    }
}

impl Stage for Zip {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(&self.inputs, &self.spec, self.inputs.iter().all(Dataset::is_indexed))
    }

    fn cardinality(&self) -> Cardinality {
        let shortest = |a: Cardinality, b: Cardinality| match (a, b) {
            (Cardinality::Unknown, _) | (_, Cardinality::Unknown) => Cardinality::Unknown,
            (Cardinality::Infinite, other) | (other, Cardinality::Infinite) => other,
            (Cardinality::Finite(a), Cardinality::Finite(b)) => Cardinality::Finite(a.min(b)),
        };
        self.inputs.iter().map(Dataset::cardinality).fold(Cardinality::Infinite, shortest)
    }

    fn describe(&self) -> String {
        "zip".into()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Dataset::zip(inputs)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let mut element = Element::with_capacity(self.spec.len());
        for input in &self.inputs {
            element.extend(input.stage.get(index, cx)?);
        }
        Ok(element)
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        let parts: Option<Vec<_>> =
            self.inputs.iter().map(|input| input.stage.slice(start, len, cx)).collect();
        Some(parts?.into_iter().flatten().collect())
    }

    fn is_measured(&self, at: usize) -> bool {
        self.input_of(at).is_some_and(|(input, at)| input.stage.is_measured(at))
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        match self.input_of(at) {
            Some((input, at)) => input.stage.lengths(at, requests, out, cx),
            None => Err(not_indexed("lengths")),
        }
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        match self.input_of(at) {
            Some((input, at)) => input.stage.gather_parts(at, parts, out, cx),
            None => Err(not_indexed("gather")),
        }
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let Columns::Some(which) = columns else {
            let mut rest = out;
            for input in &self.inputs {
                let (mine, others) = rest.split_at_mut(input.spec().len());
                input.stage.gather(Columns::All, &mut requests.to_vec(), mine, cx)?;
                rest = others;
            }
            return Ok(());
        };
        let mut first = 0;
        for input in &self.inputs {
            let range = first..first + input.spec().len();
            let (mut inner, mut mine) = (Vec::new(), Vec::new());
            for (at, rows) in which.iter().zip(out.iter_mut()).filter(|(at, _)| range.contains(at))
            {
                inner.push(at - first);
                mine.push(rows.reborrow());
            }
            if !inner.is_empty() {
                let requests = &mut requests.to_vec();
                input.stage.gather(Columns::Some(&inner), requests, &mut mine, cx)?;
            }
            first = range.end;
        }
        Ok(())
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let inputs: Result<Vec<_>> =
            self.inputs.iter().map(|input| input.element_iter(cx)).collect();
        let specs = self.inputs.iter().map(|input| input.spec().to_vec()).collect();
        Ok(Box::new(ZipIter {
            inputs: inputs?,
            specs,
            element: Ok(Element::new()),
            read: 0,
            ended: false,
        }))
    }
}

struct ZipIter {
    inputs: Vec<Box<dyn ElementIter>>,
    specs: Vec<Vec<Component>>,
    /// Components of the next element from the first `read` inputs. Empty unless interrupted.
    element: Result<Element>,
    read: usize,
    ended: bool,
}

impl ElementIter for ZipIter {
    fn next(&mut self) -> Step {
        if self.ended {
            return Ok(None);
        }
        while let Some(input) = self.inputs.get_mut(self.read) {
            match (input.next()?, &mut self.element) {
                (Some(Ok(part)), Ok(element)) => element.extend(part),
                // The other inputs advance too, so that later elements stay aligned.
                (Some(Err(error)), element @ Ok(_)) => *element = Err(error),
                (Some(_), Err(_)) => {}
                (None, _) => {
                    (self.ended, self.read) = (true, 0);
                    let element = std::mem::replace(&mut self.element, Ok(Element::new()));
                    return Ok(element.err().map(Err));
                }
            }
            self.read += 1;
        }
        self.read = 0;
        Ok(Some(std::mem::replace(&mut self.element, Ok(Element::new()))))
    }

    fn save(&self) -> Result<State> {
        let element =
            if self.read == 0 { State::Nothing } else { State::of_result(&self.element)? };
        let inputs: Result<Vec<State>> = self.inputs.iter().map(|input| input.save()).collect();
        let numbers = [u64::from(self.ended), self.read as u64].map(State::Int);
        Ok(State::List(numbers.into_iter().chain([element, State::List(inputs?)]).collect()))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(4)?;
        self.ended = parts[0].int()? != 0;
        let read = usize::try_from(parts[1].int()?)
            .ok()
            .filter(|&read| read < self.inputs.len())
            .and_then(|read| Some((read, self.specs.get(..read)?)));
        let Some((read, specs)) = read else {
            return Err(Error::State { what: "the state zips more datasets than the plan".into() });
        };
        self.read = read;
        self.element = match (read, &parts[2]) {
            (0, State::Nothing) => Ok(Element::new()),
            (_, element) => element.result_as(&specs.concat())?,
        };
        let states = parts[3].list(self.inputs.len())?;
        self.inputs.iter_mut().zip(states).try_for_each(|(input, state)| input.restore(state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use crate::order_tests::{rows, streamed};
    use crate::testing::{dying, stream};
    use tensorferry_core::DType;

    #[test]
    fn an_error_is_told_where_another_input_ends() -> Result<()> {
        let other = streamed(&Dataset::range(0, 2, 1, DType::Int64)?);
        let mut stream = stream(&Dataset::zip(vec![dying(2), other])?);
        assert!(stream.next().is_some_and(|element| element.is_ok()));
        assert!(stream.next().is_some_and(|element| element.is_ok()));
        assert!(matches!(stream.next(), Some(Err(_))));
        assert!(stream.next().is_none());
        Ok(())
    }

    #[test]
    fn a_state_that_has_read_every_input_is_refused() -> Result<()> {
        let numbers = || Dataset::range(0, 2, 1, DType::Int64).map(|range| streamed(&range));
        let zipped = Dataset::zip(vec![numbers()?, numbers()?])?;
        let mut iter = stream(&zipped);
        let mut parts = iter.save()?.list(4)?.to_vec();
        parts[1] = State::Int(2);
        parts[2] = State::of_result(&stream(&zipped).next().unwrap())?;
        assert_eq!(iter.0.restore(&State::List(parts)).unwrap_err().code(), "state");
        Ok(())
    }

    #[test]
    fn zip_ends_with_the_shortest() -> Result<()> {
        let short = Dataset::range(0, 2, 1, DType::Int64)?;
        let long = Dataset::range(10, 15, 1, DType::Int64)?.enumerate(5);
        for input in [short.clone(), streamed(&short)] {
            assert_eq!(
                rows(&Dataset::zip(vec![input.clone(), long.clone()])?)?,
                [[0, 5, 10], [1, 6, 11]]
            );
            assert_eq!(rows(&Dataset::zip(vec![long.clone(), input])?)?, [[5, 10, 0], [6, 11, 1]]);
        }
        assert!(Dataset::zip(Vec::new()).is_err());
        Ok(())
    }

    #[test]
    fn zip_is_endless_only_if_all_are() -> Result<()> {
        let short = Dataset::range(0, 2, 1, DType::Int64)?;
        let endless = short.repeat(None);
        let of = |inputs: &[&Dataset]| {
            Ok::<_, Error>(Dataset::zip(inputs.iter().map(|&d| d.clone()).collect())?.cardinality())
        };
        assert_eq!(of(&[&endless, &endless])?, Cardinality::Infinite);
        assert_eq!(of(&[&endless, &short])?, Cardinality::Finite(2));
        assert_eq!(of(&[&short, &streamed(&short)])?, Cardinality::Unknown);
        Ok(())
    }

    #[test]
    fn zipped_arrays_stay_shared_in_batches() -> Result<()> {
        let array = tensorferry_io::convert::convert(
            &Tensor::from_vec((0_i32..64).collect(), &[64])?.as_view(),
            DType::Int32,
            tensorferry_core::Casting::Checked,
        )?;
        let address = array.as_ptr();
        let numbered = Dataset::from_tensor_slices([array])?.enumerate(0);
        let range = Dataset::range(0, 64, 1, DType::Int8)?;
        let batch = Dataset::zip(vec![range, numbered])?
            .batch_with(16, BatchOptions::DROP_REMAINDER)?
            .get(1)?;
        assert_eq!(batch[2].tensor()?.as_ptr(), address.wrapping_add(64));
        Ok(())
    }
}
