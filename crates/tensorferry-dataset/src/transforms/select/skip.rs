//! `skip`: all elements but the first.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::Cardinality;
use crate::stage::{Context, Dataset, ElementIter, Elements, Locate, Stage, Step, step, value_of};
use crate::transforms::batch::gathered::is_no_memory;
use tensorferry_io::cancel::CancelToken;

struct Skip {
    input: Dataset,
    /// `None` skips everything.
    count: Option<u64>,
}

impl Dataset {
    /// The elements after the first `count`; none if `count` is `None`. Skipped elements of an
    /// indexed input are not computed. Their errors are ignored, unless no element follows: then
    /// the error may have ended the input.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let tail = Dataset::range(0, 10, 1, DType::Int64)?.skip(Some(7));
    /// assert_eq!(tail.cardinality(), Cardinality::Finite(3));
    /// assert_eq!(tail.get(0)?[0].tensor()?.view::<i64>()?.get(&[]), Some(7));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn skip(&self, count: Option<u64>) -> Self {
        Self::of(Skip { input: self.clone(), count })
    }
}

impl Locate for Skip {
    fn locate(&self, index: u64) -> u64 {
        index.saturating_add(self.count.unwrap_or(0))
    }
}

impl Stage for Skip {
    fn elements(&self) -> Elements<'_> {
        Elements::Moved(&self.input, self)
    }

    fn cardinality(&self) -> Cardinality {
        match (self.input.cardinality(), self.count) {
            (Cardinality::Infinite, None) => Cardinality::Finite(0),
            (input, count) => input.map(|n| count.map_or(0, |count| n.saturating_sub(count))),
        }
    }

    fn describe(&self) -> String {
        self.count.map_or_else(|| "skip(all)".into(), |count| format!("skip({count})"))
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].skip(self.count))
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(SkipIter {
            input: self.input.element_iter(cx)?,
            left: self.count,
            failed: None,
            cancel: cx.cancel.clone(),
        }))
    }
}

struct SkipIter {
    input: Box<dyn ElementIter>,
    /// Number of elements still to be skipped; `None` for all.
    left: Option<u64>,
    /// The error of the last skipped element.
    failed: Option<Error>,
    cancel: CancelToken,
}

impl ElementIter for SkipIter {
    fn next(&mut self) -> Step {
        let Some(mut left) = self.left else { return Ok(None) };
        while left > 0 {
            value_of!(step(self.cancel.check()));
            match self.input.next()? {
                // The next elements would fail too.
                Some(Err(error)) if is_no_memory(&error) => return Ok(Some(Err(error))),
                Some(element) => self.failed = element.err(),
                None => return Ok(self.failed.take().map(Err)),
            }
            left -= 1;
            self.left = Some(left);
        }
        let Some(element) = self.input.next()? else { return Ok(self.failed.take().map(Err)) };
        self.failed = None;
        Ok(Some(element))
    }

    fn save(&self) -> Result<State> {
        let failed = self.failed.as_ref().map_or(State::Nothing, State::of_error);
        Ok(State::List(vec![State::Int(self.left.unwrap_or(0)), failed, self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(3)?;
        self.left = match self.left {
            Some(_) => Some(parts[0].int()?),
            None => None,
        };
        self.failed = parts[1].optional(State::error)?;
        self.input.restore(&parts[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::{numbers, streamed};
    use crate::testing::{assert_resumes, dying, element_spec, fails_at, stream};
    use tensorferry_core::DType;

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
    fn an_error_that_ends_a_stream_within_what_is_skipped_is_told() -> Result<()> {
        for count in [2, 3, 9] {
            let mut stream = stream(&dying(2).skip(Some(count)));
            assert!(matches!(stream.next(), Some(Err(_))), "{count}");
            assert!(stream.next().is_none());
        }
        let failing =
            streamed(&Dataset::range(0, 7, 1, DType::Int64)?.map(fails_at(2, Ok), element_spec()));
        assert_eq!(numbers(&failing.skip(Some(3)))?, [3, 4, 5, 6]);
        assert_resumes(&dying(2).skip(Some(9)));
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
