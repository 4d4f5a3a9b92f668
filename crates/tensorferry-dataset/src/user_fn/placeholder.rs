//! A placeholder for a dataset, while a function is traced.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, ElementIter, Elements, Stage};

struct Placeholder {
    spec: Vec<Component>,
}

impl Dataset {
    /// A placeholder for a dataset of these elements, for finding out what a function makes of one.
    /// Stages over it have their specification, but it has no elements, and iterating over it is an
    /// error.
    ///
    /// ```
    /// use tensorferry_core::{DType, Shape, TensorSpec};
    /// use tensorferry_dataset::{BatchOptions, Component, Dataset};
    ///
    /// let spec = TensorSpec::new(DType::Int64, Shape::fixed(&[3]));
    /// let some = Dataset::placeholder(vec![Component::Tensor(spec)]);
    /// let batches = some.batch_with(2, BatchOptions::DROP_REMAINDER)?;
    /// assert_eq!(batches.spec()[0].to_string(), "int64[2, 3]");
    /// assert!(some.iter().next().is_some_and(|element| element.is_err()));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn placeholder(spec: Vec<Component>) -> Self {
        Self::of(Placeholder { spec })
    }
}

impl Stage for Placeholder {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        format!("placeholder({})", Component::list(&self.spec))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::placeholder(self.spec.clone()))
    }

    fn element_iter(&self, _cx: &Context) -> Result<Box<dyn ElementIter>> {
        let what = "it has no elements: it stands for a dataset while a function is traced";
        Err(Error::Argument { stage: "placeholder", what: what.into() })
    }
}
