//! The first elements.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Stage};
use tensorferry_core::Tensor;
use tensorferry_io::gather::copy::Request;
use tensorferry_io::gather::rows_out::Rows;

struct Take {
    input: Dataset,
    count: u64,
}

impl Dataset {
    /// At most the first `count` elements; all of them if `count` is `None`.
    #[must_use]
    pub fn take(&self, count: Option<u64>) -> Self {
        match count {
            Some(count) => Self::of(Take { input: self.clone(), count }),
            None => self.clone(),
        }
    }
}

impl Stage for Take {
    fn spec(&self) -> &[Component] {
        self.input.spec()
    }

    fn cardinality(&self) -> Cardinality {
        match self.input.cardinality() {
            Cardinality::Finite(n) => Cardinality::Finite(n.min(self.count)),
            Cardinality::Infinite => Cardinality::Finite(self.count),
            Cardinality::Unknown => Cardinality::Unknown,
        }
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn describe(&self) -> String {
        format!("take({})", self.count)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].take(Some(self.count)))
    }

    fn is_indexed(&self) -> bool {
        self.input.stage.is_indexed()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        self.input.stage.get(index, cx)
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        self.input.stage.slice(start, len, cx)
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        self.input.stage.gather(requests, out, cx)
    }

    fn gather_some(
        &self,
        which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.input.stage.gather_some(which, requests, out, cx)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(TakeIter { input: self.input.element_iter(cx)?, left: self.count }))
    }
}

struct TakeIter {
    input: Box<dyn ElementIter>,
    left: u64,
}

impl ElementIter for TakeIter {
    fn next(&mut self) -> Option<Result<Element>> {
        let left = self.left.checked_sub(1)?;
        let element = self.input.next();
        if !matches!(element, Some(Err(Error::Stopped))) {
            self.left = left;
        }
        element
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(self.left), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.left = parts[0].int()?;
        self.input.restore(&parts[1])
    }
}
