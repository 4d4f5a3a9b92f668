//! `flat_map`: maps each element to a dataset and concatenates the datasets.

use crate::spec::Component;
use crate::stage::{Dataset, Element};
use crate::transforms::combine::interleave::Interleave;
use crate::user_fn::function::Function;

impl Dataset {
    /// Maps each element to a dataset with `function` and concatenates the datasets. `spec`
    /// describes the elements of all of them.
    ///
    /// A dataset that shuffles has another order for each input element, as in each round of a
    /// `repeat`. If `function` fails for an element, the error takes the place of its dataset.
    ///
    /// The state of an iteration contains the positions in the input and in the current dataset. If
    /// the input is not indexed, it also contains the current element by value. Restoring calls
    /// `function` again, so it must return the same dataset for the same element. Seeds that are
    /// drawn inside `function` follow from this stage's seed, the element's index and the epoch.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{Dataset, Element, Function};
    ///
    /// let rows = Dataset::from_tensor_slices([Tensor::from_vec(vec![1_i32, 2, 3, 4], &[2, 2])?])?;
    /// let cells = Function::new("cells", |row: Element| {
    ///     Dataset::from_tensor_slices([row[0].tensor()?.clone()])
    /// });
    /// let cell = Tensor::from_vec(vec![0_i32], &[1])?;
    /// let spec = Dataset::from_tensor_slices([cell])?.spec().to_vec();
    /// assert_eq!(rows.flat_map(cells, spec).iter().count(), 4);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn flat_map(&self, function: Function<Element, Dataset>, spec: Vec<Component>) -> Self {
        Interleave::over(self, "flat_map", function, spec, 1, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::change::Change;
    use crate::error::{Error, Result};
    use crate::shuffle::prng::Seed;
    use crate::spec::Cardinality;
    use crate::stage::{CheckpointInfo, Context, Elements, Epoch, Stage, Value};
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, element_spec, even,
        fails_at, first, ints, range, values,
    };
    use tensorferry_core::DType;
    use tensorferry_core::{Shape, TensorSpec};
    use tensorferry_io::cancel::CancelToken;

    /// `n` times `n`; fails at `refused`.
    fn times(refused: i64) -> Function<Element, Dataset> {
        fails_at(refused, |element| {
            Ok(ints(&vec![first(&element); usize::try_from(first(&element)).unwrap()]))
        })
    }

    #[test]
    fn gives_the_elements_of_each_dataset_in_order() {
        let dataset = ints(&[2, 0, 1, 3]).flat_map(times(-1), element_spec());
        assert_eq!(values(&dataset), [2, 2, 1, 3, 3, 3]);
        assert_eq!(dataset.cardinality(), Cardinality::Unknown);
        assert_rebuilds(&dataset);
    }

    #[test]
    fn a_failing_function_costs_the_dataset_of_its_element() {
        let all: Vec<_> = ints(&[2, 1, 2]).flat_map(times(1), element_spec()).iter().collect();
        assert_eq!(all.len(), 5);
        assert!(matches!(all[2], Err(Error::AtElement { stage: "flat_map", index: 1, .. })));
    }

    #[test]
    fn a_dataset_that_is_not_as_promised_is_refused() {
        let batches =
            Function::new("batches", |element: Element| ints(&[first(&element), 1]).batch(2));
        let error = range(2).flat_map(batches, element_spec()).iter().next().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "flat_map: element 0: the function returned a dataset of (int64[?]) where the \
            dataset's element_spec says (int64[])"
        );
        // Without a fixed specification of the dataset, its elements are checked.
        let batches =
            Function::new("batches", |element: Element| ints(&[first(&element), 1, 2]).batch(2));
        let fixed = vec![Component::Tensor(TensorSpec::new(DType::Int64, Shape::fixed(&[2])))];
        let all: Vec<_> = range(1).flat_map(batches, fixed).iter().collect();
        assert!(
            matches!(
                all.as_slice(),
                [Ok(_), Err(Error::AtElement { stage: "flat_map", index: 0, .. })]
            ),
            "{all:?}"
        );
    }

    #[test]
    fn resumes_at_every_element_of_indexed_and_other_inputs() {
        for input in [ints(&[2, 0, 1, 3]), counting(5), counting(7).filter(even())] {
            let dataset = input.flat_map(times(1), element_spec());
            assert_resumes(&dataset);
            assert_rejects_damage(&dataset);
            assert_resumes(&dataset.flat_map(times(-1), element_spec()));
        }
    }

    /// Elements that hold datasets, from an input without random access.
    #[test]
    fn resumes_where_elements_hold_datasets() {
        let inner = vec![Component::Dataset(element_spec())];
        let windows = (0..4).map(|n| vec![Value::Dataset(range(n))]).collect();
        let windows = Dataset::from_elements(windows, inner).unwrap();
        let not_empty = Function::new("not_empty", |element: Element| match &element[0] {
            Value::Dataset(window) => Ok(window.cardinality() != Cardinality::Finite(1)),
            Value::Tensor(_) => Ok(false),
        });
        let open = Function::new("open", |element: Element| match element.into_iter().next() {
            Some(Value::Dataset(window)) => Ok(window),
            _ => Err(crate::user_fn::function::failed("not a window")),
        });
        let dataset = windows.filter(not_empty).flat_map(open, element_spec());
        assert_eq!(values(&dataset), [0, 1, 0, 1, 2]);
        assert_resumes(&dataset);
        assert_rejects_damage(&dataset);
    }

    #[test]
    fn the_state_over_an_indexed_input_is_positions() {
        let dataset = ints(&[2, 3]).flat_map(times(-1), element_spec());
        let mut stream = crate::testing::Pass(
            dataset.element_iter(&Context::new(Epoch(0), CancelToken::default())).unwrap(),
        );
        (0..3).for_each(|_| drop(stream.next()));
        let words = format!("{:?}", stream.save().unwrap());
        assert_eq!(
            words,
            "List([Int(0), Int(0), Int(0), \
            List([List([Int(1), List([Int(1), Nothing, Int(1)]), List([List([]), Int(1)])])]), \
            List([Nothing, List([Int(2), Nothing, Int(2)])])])"
        );
    }

    /// Yields its epoch and its seed.
    struct Tells {
        seed: Seed,
        spec: Vec<Component>,
    }

    impl Stage for Tells {
        fn elements(&self) -> Elements<'_> {
            Elements::Indexed(&[], &self.spec)
        }

        fn cardinality(&self) -> Cardinality {
            Cardinality::Finite(2)
        }

        fn describe(&self) -> String {
            "tells()".into()
        }

        fn rebuild(&self, _inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
            Ok(Dataset::of(Self { seed: self.seed.rebuilt(change), spec: self.spec.clone() }))
        }

        fn checkpoint(&self) -> CheckpointInfo<'_> {
            CheckpointInfo { seed: Some(&self.seed), ..CheckpointInfo::default() }
        }

        fn get(&self, index: u64, cx: &Context) -> Result<Element> {
            let value = cx.epoch.0 % 1000 * 1_000_000 + self.seed.value % 1000 * 1000 + index;
            Ok(vec![tensorferry_core::Tensor::from_vec(vec![value.cast_signed()], &[])?.into()])
        }
    }

    #[test]
    fn each_dataset_is_in_an_epoch_of_its_own_and_keeps_the_seed_it_drew() {
        let draw = Function::new("draw", move |_: Element| {
            Ok(Dataset::of(Tells { seed: Seed::new(None), spec: element_spec() }))
        });
        let dataset = range(3).flat_map(draw, element_spec());
        let epochs: Vec<i64> =
            values(&dataset).into_iter().map(|value| value / 1_000_000).collect();
        assert_eq!(epochs, [0, 0, 1, 1, 2, 2]);
        // The drawn seeds follow from the stage's seed and the element, so every pass over an epoch
        // has the same, also in another process.
        assert_eq!(values(&dataset), values(&dataset));
        let seeds: Vec<i64> =
            values(&dataset).into_iter().map(|value| value / 1000 % 1000).collect();
        assert!(seeds[0] != seeds[2] || seeds[2] != seeds[4], "{seeds:?}");
        let known = Seed::new(None);
        let captured = Tells { seed: known.clone(), spec: element_spec() };
        let captured = Dataset::of(captured);
        let dataset_again = range(1).flat_map(
            Function::new("known", move |_: Element| Ok(captured.clone())),
            element_spec(),
        );
        assert_eq!(
            values(&dataset_again)[0] / 1000 % 1000,
            (known.value % 1000).cast_signed(),
            "drawn before, it stays"
        );
        // After 3 elements, the second dataset is half read. Restoring gives it the same seed.
        let mut interrupted = crate::testing::stream(&dataset);
        (0..3).for_each(|_| drop(interrupted.next()));
        let mut resumed = crate::testing::stream(&dataset);
        resumed.restore(&interrupted.save().unwrap()).unwrap();
        let seed = |stream: &mut crate::testing::Pass| first(&stream.next().unwrap().unwrap());
        assert_eq!(seed(&mut resumed), seed(&mut interrupted));
    }
}
