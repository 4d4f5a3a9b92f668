//! The first elements.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::Result;
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, ElementIter, Elements, Stage, Step};

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
    fn inputs(&self) -> &[Dataset] {
        std::slice::from_ref(&self.input)
    }

    fn elements(&self) -> Elements<'_> {
        Elements::Kept(&self.input)
    }

    fn cardinality(&self) -> Cardinality {
        match self.input.cardinality() {
            Cardinality::Finite(n) => Cardinality::Finite(n.min(self.count)),
            Cardinality::Infinite => Cardinality::Finite(self.count),
            Cardinality::Unknown => Cardinality::Unknown,
        }
    }

    fn describe(&self) -> String {
        format!("take({})", self.count)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].take(Some(self.count)))
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
    fn next(&mut self) -> Step {
        if self.left == 0 {
            return Ok(None);
        }
        let element = self.input.next()?;
        self.left -= 1;
        Ok(element)
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
