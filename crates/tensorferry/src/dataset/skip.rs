//! All but the first elements.

use super::node::{Change, Context, Element, Node, Request, Rows, Stop, Stream};
use super::state::State;
use super::{Cardinality, Component, Dataset};
use crate::{Error, Result, Tensor};

struct Skip {
    input: Dataset,
    /// `None` skips everything.
    count: Option<u64>,
}

impl Dataset {
    /// The elements after the first `count`; none at all if `count` is `None`. What is skipped is not computed where the input is
    /// indexed, and an error in it is nobody's.
    ///
    /// ```
    /// use tensorferry::{DType, dataset::{Cardinality, Dataset}};
    ///
    /// let tail = Dataset::range(0, 10, 1, DType::Int64)?.skip(Some(7));
    /// assert_eq!(tail.cardinality(), Cardinality::Finite(3));
    /// assert_eq!(tail.get(0)?[0].tensor()?.view::<i64>()?.get(&[]), Some(7));
    /// # Ok::<(), tensorferry::Error>(())
    /// ```
    #[must_use]
    pub fn skip(&self, count: Option<u64>) -> Self {
        Self::of(Skip { input: self.clone(), count })
    }
}

impl Skip {
    fn shift(&self, requests: &mut [Request]) {
        let by = self.count.unwrap_or(0);
        requests.iter_mut().for_each(|request| request.index = request.index.saturating_add(by));
    }
}

impl Node for Skip {
    fn spec(&self) -> &[Component] {
        self.input.spec()
    }

    fn cardinality(&self) -> Cardinality {
        match (self.input.cardinality(), self.count) {
            (Cardinality::Infinite, None) => Cardinality::Finite(0),
            (input, count) => input.map(|n| count.map_or(0, |count| n.saturating_sub(count))),
        }
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn describe(&self) -> String {
        self.count.map_or_else(|| "skip(all)".into(), |count| format!("skip({count})"))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].skip(self.count))
    }

    fn is_indexed(&self) -> bool {
        self.input.node.is_indexed()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        self.input.node.get(index.saturating_add(self.count.unwrap_or(0)), cx)
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        self.input.node.slice(start.checked_add(self.count?)?, len, cx)
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        self.shift(requests);
        self.input.node.gather(requests, out, cx)
    }

    fn gather_some(&self, which: &[usize], requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        self.shift(requests);
        self.input.node.gather_some(which, requests, out, cx)
    }

    fn stream(&self, cx: &Context) -> Result<Box<dyn Stream>> {
        Ok(Box::new(SkipStream { input: self.input.stream(cx)?, left: self.count, stop: cx.stop.clone() }))
    }
}

struct SkipStream {
    input: Box<dyn Stream>,
    /// How many are still to be skipped; `None`: all.
    left: Option<u64>,
    stop: Stop,
}

impl Stream for SkipStream {
    fn next(&mut self) -> Option<Result<Element>> {
        let mut left = self.left?;
        while left > 0 {
            if let Err(stopped) = self.stop.check() {
                return Some(Err(stopped));
            }
            if let Err(Error::Stopped) = self.input.next()? {
                return Some(Err(Error::Stopped));
            }
            left -= 1;
            self.left = Some(left);
        }
        self.input.next()
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(self.left.unwrap_or(0)), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.left = match self.left {
            Some(_) => Some(parts[0].int()?),
            None => None,
        };
        self.input.restore(&parts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::super::order_tests::{numbers, streamed};
    use super::*;
    use crate::DType;

    #[test]
    fn skip_drops_the_first_elements_and_all_of_them_without_a_count() -> Result<()> {
        let range = Dataset::range(0, 7, 1, DType::Int64)?;
        for input in [range.clone(), streamed(&range)] {
            assert_eq!(numbers(&input.skip(Some(5)))?, [5, 6]);
            assert_eq!(numbers(&input.skip(Some(9)))?, [0_i64; 0]);
            assert_eq!(numbers(&input.skip(None))?, [0_i64; 0]);
        }
        Ok(())
    }

    #[test]
    fn skip_knows_how_many_are_left() -> Result<()> {
        let range = Dataset::range(0, 7, 1, DType::Int64)?;
        assert_eq!(range.skip(Some(2)).cardinality(), Cardinality::Finite(5));
        assert_eq!(range.skip(Some(u64::MAX)).cardinality(), Cardinality::Finite(0));
        assert_eq!(range.skip(None).cardinality(), Cardinality::Finite(0));
        assert_eq!(range.repeat(None).skip(Some(3)).cardinality(), Cardinality::Infinite);
        assert_eq!(range.repeat(None).skip(None).cardinality(), Cardinality::Finite(0));
        assert_eq!(streamed(&range).skip(Some(3)).cardinality(), Cardinality::Unknown);
        Ok(())
    }
}
