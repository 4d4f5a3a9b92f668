//! `scan`: maps elements with a running state.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Stage, Step, Value, value_of,
};
use crate::user_fn::function::{Function, UserFn};
use crate::value::check;
use std::sync::Arc;
use tensorferry_core::{Shape, Tensor, TensorSpec};

struct Scan {
    input: Dataset,
    initial: Vec<Tensor>,
    call: Arc<Call>,
}

struct Call {
    function: Function<(Element, Element), (Element, Element)>,
    /// The dtypes of the running state; its shapes may change.
    running: Vec<Component>,
    spec: Vec<Component>,
}

impl Call {
    /// The next state and the output element.
    fn apply(&self, state: &[Tensor], element: Element) -> Result<(Vec<Tensor>, Element)> {
        let state = state.iter().cloned().map(Value::from).collect();
        let (state, output) = self.function.call((state, element))?;
        check_running(&state, &self.running)?;
        check(&output, &self.spec)?;
        Ok((state.into_iter().map(Value::into_tensor).collect::<Result<_>>()?, output))
    }
}

impl Dataset {
    /// Calls `function` with a running state and each element in turn. It returns the new state and
    /// the output element, which `spec` describes. The first state is `initial`. The dtypes of the
    /// state never change; its shapes may.
    ///
    /// If `function` fails, the error takes the element's place and the state does not change.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, Element, Error, Function};
    ///
    /// let input = Dataset::from_tensor_slices([Tensor::from_vec(vec![1_i64, 2, 3], &[3])?])?;
    /// let number = |element: &Element| {
    ///     let numbers = element[0].tensor()?.view::<i64>()?;
    ///     Ok::<_, Error>(numbers.iter().sum::<i64>())
    /// };
    /// let sums = Function::sequential("sums", move |(state, element): (Element, Element)| {
    ///     let sum = number(&state)? + number(&element)?;
    ///     let sum = vec![Tensor::from_vec(vec![sum], &[])?.into()];
    ///     Ok((sum.clone(), sum))
    /// });
    /// let zero = vec![Tensor::from_vec(vec![0_i64], &[])?.into()];
    /// let last = input.scan(zero, sums, input.spec().to_vec())?.iter().last().unwrap()?;
    /// assert_eq!(number(&last)?, 6);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `initial` holds datasets.
    pub fn scan(
        &self,
        initial: Element,
        function: Function<(Element, Element), (Element, Element)>,
        spec: Vec<Component>,
    ) -> Result<Self> {
        let initial = initial.into_iter().map(Value::into_tensor).collect::<Result<Vec<_>>>();
        let Ok(initial) = initial else {
            return Err(Error::Argument {
                stage: "scan",
                what: "the initial state holds a dataset; it has to be tensors".into(),
            });
        };
        let call = Arc::new(Call { function, running: running(&initial), spec });
        Ok(Self::of(Scan { input: self.clone(), initial, call }))
    }
}

/// The specification that a running state must keep: its dtypes.
pub(crate) fn running(initial: &[Tensor]) -> Vec<Component> {
    initial
        .iter()
        .map(|tensor| Component::Tensor(TensorSpec::new(tensor.dtype(), Shape::unknown())))
        .collect()
}

impl Stage for Scan {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), &self.call.spec)
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        format!("scan({}, {})", self.call.function.name(), Component::list(&self.call.spec))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let (input, initial) = (inputs[0].clone(), self.initial.clone());
        Ok(Dataset::of(Self { input, initial, call: Arc::clone(&self.call) }))
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.call.function]
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(ScanIter {
            input: Counted::new(&self.input, cx)?,
            state: self.initial.clone(),
            call: Arc::clone(&self.call),
        }))
    }
}

struct ScanIter {
    input: Counted,
    state: Vec<Tensor>,
    call: Arc<Call>,
}

/// Checks that a new state matches the specification of the initial one.
///
/// # Errors
/// [`Error::ElementMismatch`], naming the component that differs.
pub fn check_running(state: &Element, running: &[Component]) -> Result<()> {
    check(state, running).map_err(|error| match error {
        Error::InComponent { component, about, source } => {
            let what = format!("the new state differs from the initial one: {source}");
            Error::InComponent {
                component,
                about,
                source: Box::new(Error::ElementMismatch { what }),
            }
        }
        other => other,
    })
}

impl ElementIter for ScanIter {
    fn next(&mut self) -> Step {
        let apply = |element| self.call.apply(&self.state, element);
        let (_, (state, output)) = value_of!(self.input.next_with("scan", apply));
        self.state = state;
        Ok(Some(Ok(output)))
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Tensors(self.state.clone()), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.state = parts[0].tensors_as(&self.call.running)?;
        self.input.restore(&parts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, element, element_spec,
        even, first, range, values,
    };
    use crate::user_fn::function::failed;

    /// Returns the sum of all elements before each; fails at `refused`.
    fn sums(refused: i64) -> Function<(Element, Element), (Element, Element)> {
        Function::new("sums", move |(state, next): (Element, Element)| match first(&next) {
            value if value == refused => Err(failed("refused")),
            value => Ok((element(first(&state) + value), state)),
        })
    }

    #[test]
    fn hands_out_the_outputs_and_carries_the_state() {
        let dataset = range(5).scan(element(100), sums(-1), element_spec()).unwrap();
        assert_eq!(values(&dataset), [100, 100, 101, 103, 106]);
        assert_eq!(dataset.cardinality(), Cardinality::Finite(5));
        assert_eq!(
            dataset.to_string(),
            "from_tensor_slices(5 x (int64[])) | scan(sums, (int64[]))"
        );
        assert_rebuilds(&dataset);
    }

    #[test]
    fn a_failing_function_leaves_the_state_as_it_was() {
        let dataset = range(5).scan(element(0), sums(2), element_spec()).unwrap();
        let all: Vec<_> = dataset.iter().collect();
        assert!(matches!(all[2], Err(Error::AtElement { stage: "scan", index: 2, .. })));
        assert_eq!(first(all[4].as_ref().unwrap()), 4);
    }

    #[test]
    fn neither_state_nor_output_may_change_dtype() {
        let narrow = || -> Element { vec![Tensor::from_vec(vec![1_i32], &[]).unwrap().into()] };
        let state = Function::new("state", move |(_, next)| Ok((narrow(), next)));
        let output = Function::new("output", move |(state, _)| Ok((state, narrow())));
        for (function, words) in [
            (state, "component 0: the new state differs from the initial one: int32"),
            (output, "component 0: int32"),
        ] {
            let dataset = range(2).scan(element(0), function, element_spec()).unwrap();
            let error = dataset.iter().next().unwrap().unwrap_err();
            assert!(error.to_string().starts_with(&format!("scan: element 0: {words}")), "{error}");
        }
    }

    #[test]
    fn the_states_shape_may_change() {
        let grow = Function::new("grow", |(state, next): (Element, Element)| {
            let len = state[0].tensor()?.shape()[0] + 1;
            Ok((vec![Tensor::from_vec(vec![0_u8; len], &[len])?.into()], vec![next[0].clone()]))
        });
        let empty = vec![Tensor::from_vec(Vec::<u8>::new(), &[0]).unwrap().into()];
        let dataset = range(4).scan(empty, grow, element_spec()).unwrap();
        assert_eq!(values(&dataset), [0, 1, 2, 3]);
        assert_resumes(&dataset);
    }

    #[test]
    fn resumes_at_every_element() {
        for input in [range(6), counting(6).filter(even())] {
            let dataset = input.scan(element(1), sums(2), element_spec()).unwrap();
            assert_resumes(&dataset);
            assert_rejects_damage(&dataset);
        }
    }

    #[test]
    fn a_state_of_datasets_is_refused() {
        let initial = vec![Value::Dataset(range(1))];
        assert!(matches!(
            range(2).scan(initial, sums(0), element_spec()),
            Err(Error::Argument { stage: "scan", .. })
        ));
    }
}
