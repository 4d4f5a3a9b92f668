//! One dataset after the other.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Stage};
use tensorferry_core::Tensor;
use tensorferry_core::TensorSpec;
use tensorferry_io::gather::copy::Request;
use tensorferry_io::gather::rows_out::Rows;

struct Concatenate {
    first: Dataset,
    second: Dataset,
    spec: Vec<Component>,
}

impl Dataset {
    /// The elements of this dataset, then those of the other. Where their shapes differ, the
    /// result's are unknown.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let range = |n| Dataset::range(0, n, 1, DType::Int64);
    /// assert_eq!(range(3)?.concatenate(&range(5)?)?.cardinality(), Cardinality::Finite(8));
    /// # Ok::<(), tensorferry_core::Error>(())
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
        Ok(Self::of(Concatenate { first: self.clone(), second: other.clone(), spec }))
    }
}

/// What is known of elements that are of one specification or the other; `None` if no specification
/// admits both.
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
    /// How many elements of an indexed first input come before those of the second.
    fn before(&self) -> u64 {
        self.first.cardinality().finite().unwrap_or(u64::MAX)
    }

    /// Calls `gather` with the requests of each input, indices being its own.
    fn by_input(
        &self,
        requests: &mut [Request],
        mut gather: impl FnMut(&dyn Stage, &mut [Request]) -> Result<()>,
    ) -> Result<()> {
        let before = self.before();
        let of_second = |request: &Request| request.index >= before;
        if !requests.is_sorted_by_key(of_second) {
            requests.sort_by_key(of_second);
        }
        let (first, second) =
            requests.split_at_mut(requests.partition_point(|request| !of_second(request)));
        second.iter_mut().for_each(|request| request.index -= before);
        if !first.is_empty() {
            gather(&*self.first.stage, first)?;
        }
        if second.is_empty() { Ok(()) } else { gather(&*self.second.stage, second) }
    }
}

impl Stage for Concatenate {
    fn spec(&self) -> &[Component] {
        &self.spec
    }

    fn cardinality(&self) -> Cardinality {
        match (self.first.cardinality(), self.second.cardinality()) {
            (Cardinality::Infinite, _) | (_, Cardinality::Infinite) => Cardinality::Infinite,
            (Cardinality::Finite(a), Cardinality::Finite(b)) => {
                Cardinality::Finite(a.saturating_add(b))
            }
            _ => Cardinality::Unknown,
        }
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.first.clone(), self.second.clone()]
    }

    fn describe(&self) -> String {
        "concatenate".into()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].concatenate(&inputs[1])
    }

    fn is_indexed(&self) -> bool {
        self.first.is_indexed() && self.second.is_indexed()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        match index.checked_sub(self.before()) {
            None => self.first.stage.get(index, cx),
            Some(index) => self.second.stage.get(index, cx),
        }
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        let before = self.before();
        match start.checked_sub(before) {
            None if start.checked_add(len as u64)? <= before => {
                self.first.stage.slice(start, len, cx)
            }
            None => None,
            Some(start) => self.second.stage.slice(start, len, cx),
        }
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        self.by_input(requests, |stage, requests| stage.gather(requests, out, cx))
    }

    fn gather_some(
        &self,
        which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.by_input(requests, |stage, requests| stage.gather_some(which, requests, out, cx))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let inputs = [self.first.clone(), self.second.clone()];
        Ok(Box::new(ConcatenateIter {
            input: self.first.element_iter(cx)?,
            at: 0,
            inputs,
            cx: cx.clone(),
        }))
    }
}

struct ConcatenateIter {
    inputs: [Dataset; 2],
    cx: Context,
    /// Which of the inputs is read.
    at: u8,
    input: Box<dyn ElementIter>,
}

impl ConcatenateIter {
    fn begin(&mut self, at: u8) -> Result<()> {
        self.at = at;
        self.input = self.inputs[usize::from(at != 0)].element_iter(&self.cx)?;
        Ok(())
    }
}

impl ElementIter for ConcatenateIter {
    fn next(&mut self) -> Option<Result<Element>> {
        let element = self.input.next();
        if element.is_some() || self.at != 0 {
            return element;
        }
        if let Err(error) = self.begin(1) {
            return Some(Err(error));
        }
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
        let batch = a.concatenate(&b)?.batch(4, true)?.get(0)?;
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
