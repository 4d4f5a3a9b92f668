//! What the tests of the stages share.

use super::node::{Change, Context, Element, Node, Stream};
use super::{Cardinality, Component, Dataset, Epoch, Stop};
use crate::Result;
use crate::dataset::State;

/// A dataset that can only be streamed, whose length nobody knows.
struct Streamed(Dataset);

/// The same elements as a stream.
pub(super) fn streamed(input: &Dataset) -> Dataset {
    Dataset::of(Streamed(input.clone()))
}

impl Node for Streamed {
    fn spec(&self) -> &[Component] {
        self.0.spec()
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.0.clone()]
    }

    fn describe(&self) -> String {
        "streamed".into()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(streamed(&inputs[0]))
    }

    fn is_indexed(&self) -> bool {
        false
    }

    fn get(&self, _index: u64, _cx: &Context) -> Result<Element> {
        Err(crate::Error::Argument { stage: "streamed", what: "not indexed".into() })
    }

    fn stream(&self, cx: &Context) -> Result<Box<dyn Stream>> {
        self.0.stream(cx)
    }
}

pub(super) fn context() -> Context {
    Context { epoch: Epoch(0), stop: Stop::default() }
}

/// The values of an element of int64 tensors, one after the other.
pub(super) fn values(element: &Element) -> Result<Vec<i64>> {
    let mut all = Vec::new();
    for value in element {
        all.extend(value.tensor()?.view::<i64>()?.iter());
    }
    Ok(all)
}

/// The values of each element.
pub(super) fn rows(dataset: &Dataset) -> Result<Vec<Vec<i64>>> {
    dataset.iter().map(|element| values(&element?)).collect()
}

/// The values of all elements.
pub(super) fn numbers(dataset: &Dataset) -> Result<Vec<i64>> {
    Ok(rows(dataset)?.concat())
}

#[allow(dead_code, reason = "until all stages are here")]
type Saved = State;
