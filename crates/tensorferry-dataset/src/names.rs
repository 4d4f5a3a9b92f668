//! The user's names of components, for errors.

use crate::error::Error;
use std::sync::Arc;

/// The names of a dataset's components, or none if they are only numbered. Names do not change the
/// elements.
#[derive(Clone, Default)]
pub(crate) struct Names(Option<Arc<[Arc<str>]>>);

impl Names {
    pub(crate) fn new(names: Arc<[Arc<str>]>) -> Self {
        Self(Some(names))
    }

    /// The error of a value of component `at`. Names the component, unless it is the only one and
    /// has no name.
    pub(crate) fn misfit(&self, at: usize, components: usize, error: Error) -> Error {
        if components == 1 && self.0.is_none() {
            error
        } else {
            self.explain(error.in_component(at))
        }
    }

    /// The error, naming the component that it is about.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match &self.0 {
            Some(names) => error.named(names),
            None => error,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::error::Error;
    use crate::stage::Dataset;
    use crate::user_fn::function::failed;
    use tensorferry_core::{Casting, DType, Tensor};

    fn pairs() -> Dataset {
        let numbers = |values: Vec<i64>| Tensor::from_vec(values, &[2]).unwrap();
        Dataset::from_tensor_slices([numbers(vec![1, 2]), numbers(vec![1, 300])]).unwrap()
    }

    fn said(dataset: &Dataset) -> String {
        let narrow = dataset.cast(&[None, Some(DType::UInt8)], Casting::Checked).unwrap();
        narrow.get(1).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_a_component_and_without_names_its_number() {
        assert!(said(&pairs()).starts_with("cast: element 1: component 1: int64 -> uint8"));
        let named = pairs().with_names(["\"image\"", "\"label\""]);
        assert!(said(&named).starts_with("cast: element 1: component \"label\": int64 -> uint8"));
        assert_eq!(named.plan(), pairs().plan());
    }

    #[test]
    fn a_stage_after_the_one_that_fails_changes_no_name() {
        let named = pairs().with_names(["\"image\"", "\"label\""]);
        let narrow = named.cast(&[None, Some(DType::UInt8)], Casting::Checked).unwrap();
        let batched = narrow.with_names(["a", "b"]).batch(2).unwrap().with_names(["c", "d"]);
        assert!(
            batched
                .get(0)
                .unwrap_err()
                .to_string()
                .starts_with("cast: element 1: component \"label\": ")
        );
    }

    #[test]
    fn a_stage_is_named_once() {
        let what = || Error::Argument { stage: "map", what: "no".into() };
        for (error, words) in [
            (what().at_element("map", 3), "map: element 3: no"),
            (what().in_component(1).at_element("map", 3), "map: element 3: component 1: no"),
            (what().at_element("filter", 3), "filter: element 3: map: no"),
            (failed("TypeError: map: no").at_element("map", 3), "map: element 3: TypeError: no"),
            (
                failed("TypeError: a map: no").at_element("map", 3),
                "map: element 3: TypeError: a map: no",
            ),
            (failed("no map").at_element("map", 3), "map: element 3: no map"),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }
}
