//! What stands for a dataset before there is one.

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Stage, not_indexed};

struct Placeholder {
    spec: Vec<Component>,
}

impl Dataset {
    /// What stands for a dataset of such elements while a function is called to find out what it
    /// makes of one: stages can be put on it and have their specification, but it has no elements,
    /// and iterating it is an error.
    ///
    /// ```
    /// use tensorferry_core::{DType, Shape, TensorSpec};
    /// use tensorferry_dataset::{Component, Dataset};
    ///
    /// let some = Dataset::placeholder(vec![Component::Tensor(TensorSpec::new(DType::Int64, Shape::fixed(&[3])))]);
    /// assert_eq!(some.batch(2, true)?.spec()[0].to_string(), "int64[2, 3]");
    /// assert!(some.iter().next().is_some_and(|element| element.is_err()));
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    #[must_use]
    pub fn placeholder(spec: Vec<Component>) -> Self {
        Self::of(Placeholder { spec })
    }
}

impl Stage for Placeholder {
    fn spec(&self) -> &[Component] {
        &self.spec
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn inputs(&self) -> Vec<Dataset> {
        Vec::new()
    }

    fn describe(&self) -> String {
        format!("placeholder({})", Component::list(&self.spec))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::placeholder(self.spec.clone()))
    }

    fn is_indexed(&self) -> bool {
        false
    }

    fn get(&self, _index: u64, _cx: &Context) -> Result<Element> {
        Err(not_indexed("placeholder"))
    }

    fn element_iter(&self, _cx: &Context) -> Result<Box<dyn ElementIter>> {
        let what = "it has no elements: it stood for a dataset while a function was asked what it \
            makes of one";
        Err(Error::Argument { stage: "placeholder", what: what.into() })
    }
}
