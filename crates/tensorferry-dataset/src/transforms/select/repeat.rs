//! `repeat`: repeats a dataset.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::Result;
use crate::request::{Columns, Request, RowPart, each_group};
use crate::spec::Cardinality;
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Hints, Stage, Step, step, uninterrupted,
    value_of,
};
use tensorferry_core::Tensor;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

struct Repeat {
    input: Dataset,
    /// Number of rounds; `None` for infinitely many.
    count: Option<u64>,
}

impl Dataset {
    /// Repeats the elements `count` times, or infinitely if `count` is `None`. Each round is a
    /// separate epoch, so a shuffle before the repeat gives it another order. Rounds do not mix.
    ///
    /// As in tf.data, an empty round counts towards `count`. Without `count`, it ends the
    /// iteration, which would otherwise read an empty input forever.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let range = Dataset::range(0, 3, 1, DType::Int64)?;
    /// assert_eq!(range.repeat(Some(2)).cardinality(), Cardinality::Finite(6));
    /// assert_eq!(range.repeat(None).cardinality(), Cardinality::Infinite);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn repeat(&self, count: Option<u64>) -> Self {
        // A single round is the input itself, in any epoch.
        if count == Some(1) {
            self.clone()
        } else {
            Self::of(Repeat { input: self.clone(), count })
        }
    }
}

impl Repeat {
    /// The round of an element, and its index in that round.
    fn split(&self, index: u64) -> (u64, u64) {
        match self.input.cardinality() {
            Cardinality::Finite(n @ 1..) => (index / n, index % n),
            _ => (0, index),
        }
    }

    /// Calls `each` with the requests of each round, for elements of the input. After a shuffle,
    /// consecutive requests lie in any round; each round costs one call.
    fn each_round<T: Request>(
        &self,
        requests: &mut [T],
        cx: &Context,
        mut each: impl FnMut(&mut [T], &Context) -> Result<()>,
    ) -> Result<()> {
        each_group(
            requests,
            |index| self.split(index).0,
            |round, requests| {
                for request in requests.iter_mut() {
                    request.set_index(self.split(request.index()).1);
                }
                each(requests, &cx.at(cx.epoch.child(round)))
            },
        )
    }
}

impl Stage for Repeat {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(
            std::slice::from_ref(&self.input),
            self.input.spec(),
            self.input.is_indexed(),
        )
    }

    // As in tf.data, an input of unknown length counts as infinite, and the iteration ends early if
    // the input is empty.
    fn cardinality(&self) -> Cardinality {
        match (self.input.cardinality(), self.count) {
            (_, Some(0)) | (Cardinality::Finite(0), _) => Cardinality::Finite(0),
            (_, None) => Cardinality::Infinite,
            (input, Some(count)) => input.map(|n| n.saturating_mul(count)),
        }
    }

    fn describe(&self) -> String {
        self.count.map_or_else(|| "repeat()".into(), |count| format!("repeat({count})"))
    }

    fn permutes(&self) -> bool {
        true
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].repeat(self.count))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints {
            may_end_early: self.count.is_none() && self.input.cardinality() == Cardinality::Unknown
                || inputs.may_end_early,
            // Contiguous parts would be whole rounds.
            remote_groups: false,
            ..inputs
        }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let (round, index) = self.split(index);
        self.input.stage.get(index, &cx.at(cx.epoch.child(round)))
    }

    fn get_each(&self, indices: &[u64], cx: &Context) -> Vec<Result<Element>> {
        let split: Vec<_> = indices.iter().map(|index| self.split(*index)).collect();
        let of_round = |run: &[(u64, u64)]| {
            let indices: Vec<u64> = run.iter().map(|(_, index)| *index).collect();
            let round = run.first().map_or(0, |(round, _)| *round);
            self.input.stage.get_each(&indices, &cx.at(cx.epoch.child(round)))
        };
        split.chunk_by(|a, b| a.0 == b.0).flat_map(of_round).collect()
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        let (round, first) = self.split(start);
        let (last_round, _) = self.split(start.checked_add(len.checked_sub(1)? as u64)?);
        if round != last_round {
            return None;
        }
        self.input.stage.slice(first, len, &cx.at(cx.epoch.child(round)))
    }

    fn is_measured(&self, at: usize) -> bool {
        self.input.stage.is_measured(at)
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.each_round(requests, cx, |requests, cx| {
            self.input.stage.lengths(at, requests, out, cx)
        })
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        self.each_round(parts, cx, |parts, cx| self.input.stage.gather_parts(at, parts, out, cx))
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.each_round(requests, cx, |requests, cx| {
            self.input.stage.gather(columns, requests, out, cx)
        })
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(RepeatIter {
            repeated: self.input.clone(),
            count: self.count,
            cx: cx.clone(),
            round: 0,
            any: false,
            ended: false,
            input: None,
        }))
    }
}

struct RepeatIter {
    repeated: Dataset,
    count: Option<u64>,
    cx: Context,
    round: u64,
    /// Whether this round had an element. An empty round ends an infinite repeat.
    any: bool,
    /// Whether the iteration ended although rounds are left.
    ended: bool,
    /// The pass of this round, once it has started.
    input: Option<Box<dyn ElementIter>>,
}

impl RepeatIter {
    fn pass(&self) -> Result<Box<dyn ElementIter>> {
        self.repeated.element_iter(&self.cx.at(self.cx.epoch.child(self.round)))
    }

    fn is_over(&self) -> bool {
        self.ended || self.count.is_some_and(|count| self.round >= count)
    }

    fn end(&mut self) {
        self.ended = true;
        self.input = None;
    }
}

impl ElementIter for RepeatIter {
    fn next(&mut self) -> Step {
        while !self.is_over() {
            if self.input.is_none() {
                match uninterrupted(self.pass())? {
                    Ok(pass) => self.input = Some(pass),
                    Err(error) => {
                        self.end();
                        return Ok(Some(Err(error)));
                    }
                }
            }
            let next = match &mut self.input {
                Some(pass) => pass.next()?,
                None => None,
            };
            if let Some(element) = next {
                self.any = true;
                return Ok(Some(element));
            }
            if !self.any && self.count.is_none() {
                self.end();
                return Ok(None);
            }
            self.input = None;
            self.round = self.round.saturating_add(1);
            self.any = false;
            value_of!(step(self.cx.cancel.check()));
        }
        Ok(None)
    }

    fn save(&self) -> Result<State> {
        let input = self.input.as_ref().map_or(Ok(State::Nothing), |input| input.save())?;
        Ok(State::List(vec![
            State::Int(u64::from(self.ended)),
            State::Int(self.round),
            State::Int(u64::from(self.any)),
            input,
        ]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(4)?;
        self.ended = parts[0].int()? != 0;
        self.round = parts[1].int()?;
        self.any = parts[2].int()? != 0;
        self.input = match &parts[3] {
            State::Nothing => None,
            state => {
                let mut pass = self.pass()?;
                pass.restore(state)?;
                Some(pass)
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use crate::order_tests::{numbers, streamed};
    use tensorferry_core::DType;

    fn range(n: i64) -> Result<Dataset> {
        Dataset::range(0, n, 1, DType::Int64)
    }

    #[test]
    fn repeat_goes_round_as_often_as_asked() -> Result<()> {
        for input in [range(3)?, streamed(&range(3)?)] {
            assert_eq!(numbers(&input.repeat(Some(2)))?, [0, 1, 2, 0, 1, 2]);
            assert_eq!(numbers(&input.repeat(Some(0)))?, [0_i64; 0]);
            assert_eq!(numbers(&input.repeat(Some(1)))?, [0, 1, 2]);
            assert_eq!(numbers(&input.repeat(None).take(Some(7)))?, [0, 1, 2, 0, 1, 2, 0]);
        }
        Ok(())
    }

    #[test]
    fn repeat_of_nothing_is_nothing_and_does_not_loop() -> Result<()> {
        for input in [range(0)?, streamed(&range(0)?)] {
            assert_eq!(numbers(&input.repeat(None))?, [0_i64; 0]);
        }
        assert_eq!(range(0)?.repeat(None).cardinality(), Cardinality::Finite(0));
        assert_eq!(streamed(&range(0)?).repeat(None).cardinality(), Cardinality::Infinite);
        Ok(())
    }

    #[test]
    fn a_round_without_elements_is_one_of_those_asked_for_and_ends_what_is_endless() -> Result<()> {
        // Every other round is empty.
        let rounds = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
        let make = move |()| {
            let round = rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let elements: Vec<_> =
                (0..round % 2).map(|_| Ok(crate::testing::element(round))).collect();
            Ok(Box::new(elements.into_iter()) as crate::sources::generator::Generator)
        };
        let source = Dataset::from_generator(
            crate::user_fn::function::Function::new("odd", make),
            crate::testing::element_spec(),
        );
        assert_eq!(numbers(&source.repeat(Some(6)))?, [1, 3, 5]);
        assert_eq!(numbers(&source.repeat(Some(3)))?, [7]);
        assert_eq!(numbers(&source.repeat(None))?, [9]);
        assert_eq!(numbers(&source.repeat(None))?, [11]);
        let endless = source.repeat(None);
        assert_eq!((endless.cardinality(), endless.may_end_early()), (Cardinality::Infinite, true));
        assert!(endless.take(Some(3)).may_end_early() && !range(3)?.repeat(None).may_end_early());
        Ok(())
    }

    #[test]
    fn repeat_cardinality_does_not_overflow() -> Result<()> {
        let long = range(i64::MAX)?.repeat(Some(u64::MAX));
        assert_eq!(long.cardinality(), Cardinality::Finite(u64::MAX));
        assert_eq!(long.get(u64::MAX - 1)?[0].tensor()?.view::<i64>()?.get(&[]), Some(0));
        Ok(())
    }

    #[test]
    fn a_batch_across_rounds_asks_each_round_once() -> Result<()> {
        let batch = range(3)?.repeat(None).batch_with(7, BatchOptions::DROP_REMAINDER)?.get(1)?;
        assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[1, 2, 0, 1, 2, 0, 1][..]));
        Ok(())
    }
}
