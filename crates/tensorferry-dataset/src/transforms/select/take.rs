//! `take`: the first elements.

use crate::checkpoint::change::Change;
use crate::element_iter::numbered;
use crate::error::Result;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, ElementIter, Elements, Stage};

struct Take(Dataset, u64);

impl Dataset {
    /// At most the first `count` elements; all of them if `count` is `None`.
    #[must_use]
    pub fn take(&self, count: Option<u64>) -> Self {
        count.map_or_else(|| self.clone(), |count| Self::of(Take(self.clone(), count)))
    }
}

impl Stage for Take {
    fn elements(&self) -> Elements<'_> {
        Elements::Kept(&self.0)
    }

    fn cardinality(&self) -> Cardinality {
        self.0.cardinality().at_most(self.1)
    }

    fn describe(&self) -> String {
        format!("take({})", self.1)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].take(Some(self.1)))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        numbered(&self.0, cx, self.1, |input, left| match *left {
            0 => Ok(None),
            _ => input.next().inspect(|_| *left -= 1),
        })
    }
}
