//! `concatenate`: the elements of one dataset after those of another.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::request::{Columns, Request, RowPart, each_group};
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Stage, Step, step, value_of};
use tensorferry_core::{Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

struct Concatenate {
    inputs: [Dataset; 2],
    spec: Vec<Component>,
}

impl Dataset {
    /// The elements of this dataset, then those of `other`. Dimensions that differ are unknown in
    /// the result's specification.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let range = |n| Dataset::range(0, n, 1, DType::Int64);
    /// assert_eq!(range(3)?.concatenate(&range(5)?)?.cardinality(), Cardinality::Finite(8));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ElementMismatch`] if the numbers of components or their dtypes differ.
    pub fn concatenate(&self, other: &Self) -> Result<Self> {
        let Some(spec) = relaxed(self.spec(), other.spec()) else {
            let list = |spec: &[Component]| {
                spec.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            let what = format!(
                "concatenate needs elements of the same components and dtypes; they are ({}) and \
                ({}). Cast or map one of them.",
                list(self.spec()),
                list(other.spec())
            );
            return Err(Error::ElementMismatch { what });
        };
        Ok(Self::of(Concatenate { inputs: [self.clone(), other.clone()], spec }))
    }
}

/// The specification that admits elements of both; `None` if there is none.
pub(crate) fn relaxed(a: &[Component], b: &[Component]) -> Option<Vec<Component>> {
    if a.len() != b.len() {
        return None;
    }
    let component = |(a, b): (&Component, &Component)| match (a, b) {
        (Component::Tensor(a), Component::Tensor(b)) if a.dtype == b.dtype => {
            Some(Component::Tensor(TensorSpec::new(a.dtype, a.shape.relaxed(&b.shape))))
        }
        (Component::Dataset(a), Component::Dataset(b)) => Some(Component::Dataset(relaxed(a, b)?)),
        _ => None,
    };
    a.iter().zip(b).map(component).collect()
}

impl Concatenate {
    /// Number of elements of the first input, which is indexed.
    fn before(&self) -> u64 {
        self.inputs[0].cardinality().finite().unwrap_or(u64::MAX)
    }

    /// Calls `each` with each input and the requests for its elements.
    fn each_input<T: Request>(
        &self,
        requests: &mut [T],
        mut each: impl FnMut(&Dataset, &mut [T]) -> Result<()>,
    ) -> Result<()> {
        let before = self.before();
        each_group(
            requests,
            |index| index >= before,
            |is_second, requests| {
                if !is_second {
                    return each(&self.inputs[0], requests);
                }
                requests.iter_mut().for_each(|request| request.set_index(request.index() - before));
                each(&self.inputs[1], requests)
            },
        )
    }
}

impl Stage for Concatenate {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(
            &self.inputs,
            &self.spec,
            self.inputs[0].is_indexed() && self.inputs[1].is_indexed(),
        )
    }

    fn cardinality(&self) -> Cardinality {
        match (self.inputs[0].cardinality(), self.inputs[1].cardinality()) {
            (Cardinality::Infinite, _) | (_, Cardinality::Infinite) => Cardinality::Infinite,
            (Cardinality::Finite(a), Cardinality::Finite(b)) => {
                Cardinality::Finite(a.saturating_add(b))
            }
            _ => Cardinality::Unknown,
        }
    }

    fn describe(&self) -> String {
        "concatenate".into()
    }

    fn permutes(&self) -> bool {
        true
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].concatenate(&inputs[1])
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        match index.checked_sub(self.before()) {
            None => self.inputs[0].stage.get(index, cx),
            Some(index) => self.inputs[1].stage.get(index, cx),
        }
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        let before = self.before();
        match start.checked_sub(before) {
            None if start.checked_add(len as u64)? <= before => {
                self.inputs[0].stage.slice(start, len, cx)
            }
            None => None,
            Some(start) => self.inputs[1].stage.slice(start, len, cx),
        }
    }

    fn is_measured(&self, at: usize) -> bool {
        self.inputs.iter().all(|input| input.stage.is_measured(at))
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.each_input(requests, |input, requests| input.stage.lengths(at, requests, out, cx))
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        self.each_input(parts, |input, parts| input.stage.gather_parts(at, parts, out, cx))
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.each_input(requests, |input, requests| input.stage.gather(columns, requests, out, cx))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(ConcatenateIter {
            input: self.inputs[0].element_iter(cx)?,
            at: 0,
            inputs: self.inputs.clone(),
            cx: cx.clone(),
        }))
    }
}

struct ConcatenateIter {
    inputs: [Dataset; 2],
    cx: Context,
    /// Index of the current input.
    at: u8,
    input: Box<dyn ElementIter>,
}

impl ConcatenateIter {
    fn begin(&mut self, at: u8) -> Result<()> {
        self.input = self.inputs[usize::from(at != 0)].element_iter(&self.cx)?;
        self.at = at;
        Ok(())
    }
}

impl ElementIter for ConcatenateIter {
    fn next(&mut self) -> Step {
        let element = self.input.next()?;
        if element.is_some() || self.at != 0 {
            return Ok(element);
        }
        value_of!(step(self.begin(1)));
        self.input.next()
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(self.at.into()), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.begin(u8::from(parts[0].int()? != 0))?;
        self.input.restore(&parts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use crate::order_tests::{numbers, streamed};
    use tensorferry_core::Shape;
    use tensorferry_core::{DType, Tensor};

    #[test]
    fn concatenate_goes_on_with_the_second() -> Result<()> {
        let (a, b) =
            (Dataset::range(0, 3, 1, DType::Int64)?, Dataset::range(7, 9, 1, DType::Int64)?);
        for (a, b) in [(a.clone(), b.clone()), (streamed(&a), b.clone()), (a.clone(), streamed(&b))]
        {
            assert_eq!(numbers(&a.concatenate(&b)?)?, [0, 1, 2, 7, 8]);
        }
        assert_eq!(a.concatenate(&b.repeat(None))?.cardinality(), Cardinality::Infinite);
        assert_eq!(streamed(&a).concatenate(&b.repeat(None))?.cardinality(), Cardinality::Infinite);
        assert_eq!(streamed(&a).concatenate(&b)?.cardinality(), Cardinality::Unknown);
        let batch = a.concatenate(&b)?.batch_with(4, BatchOptions::DROP_REMAINDER)?.get(0)?;
        assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[0, 1, 2, 7][..]));
        Ok(())
    }

    #[test]
    fn shapes_relax_and_dtypes_have_to_agree() -> Result<()> {
        let of = |shape: &[usize]| {
            let len = shape.iter().product();
            Ok::<_, Error>(Dataset::from_tensors([Tensor::from_vec(vec![0_f32; len], shape)?]))
        };
        let shape = |dataset: &Dataset| dataset.spec()[0].tensor().map(|spec| spec.shape.clone());
        assert_eq!(
            shape(&of(&[3, 2])?.concatenate(&of(&[3, 4])?)?),
            Some(Shape::new([Some(3), None]))
        );
        assert_eq!(shape(&of(&[3])?.concatenate(&of(&[3, 4])?)?), Some(Shape::unknown()));
        let error = of(&[])?.concatenate(&Dataset::range(0, 3, 1, DType::Int64)?).unwrap_err();
        assert!(matches!(error, Error::ElementMismatch { .. }), "{error}");
        Ok(())
    }
}
