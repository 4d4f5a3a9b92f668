//! `cache`: repeats the elements of the first pass.
//!
//! # Rationale
//! A cache returns the same elements in the same order in every pass. An indexed input without
//! sequential functions needs no memory: every pass computes epoch 0 again. With sequential
//! functions, each element is kept once it is computed. Elements of an input without random access
//! are kept once a pass has read them all.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::request::Columns;
use crate::spec::Cardinality;
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Epoch, Hints, Interrupted, Stage, Step,
    gather_each, step, value_of,
};
use std::collections::HashMap;
use std::sync::Arc;
use tensorferry_core::Tensor;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::room::Room;
use tensorferry_io::sync::fork_safe::ForkSafe;

/// Elements kept by all iterations of the plan.
#[derive(Clone)]
enum Kept {
    Nothing,
    Each(Arc<ForkSafe<HashMap<u64, Element>>>),
    All(Arc<ForkSafe<Option<Arc<Vec<Element>>>>>),
}

struct Cache {
    input: Dataset,
    kept: Kept,
}

impl Dataset {
    /// Returns the elements of the first pass, in the same order, in every pass. Sequential
    /// functions and stages without random access before the cache run once. Their elements stay in
    /// memory, without a limit, as long as the plan exists. Elements of arrays and native stages
    /// are computed again, in the order of the first pass.
    ///
    /// Without random access, only a pass that ends without an error is kept.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let once = Dataset::range(0, 3, 1, DType::Int64)?.cache().repeat(Some(2));
    /// assert_eq!(once.iter().count(), 6);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn cache(&self) -> Self {
        let kept = match (self.is_indexed(), self.hints.sequential) {
            (true, false) => Kept::Nothing,
            (true, true) => Kept::Each(Arc::default()),
            (false, _) => Kept::All(Arc::default()),
        };
        Self::of(Cache { input: self.clone(), kept })
    }
}

fn first_pass(cx: &Context) -> Context {
    cx.at(Epoch(0))
}

impl Stage for Cache {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(
            std::slice::from_ref(&self.input),
            self.input.spec(),
            self.input.is_indexed(),
        )
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        "cache()".into()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let input = inputs[0].clone();
        // If the elements are the same, the kept ones stay valid.
        let same = input.to_string() == self.input.to_string()
            && input.drawn_seeds() == self.input.drawn_seeds();
        Ok(if same { Dataset::of(Self { input, kept: self.kept.clone() }) } else { input.cache() })
    }

    fn hints(&self, inputs: Hints) -> Hints {
        Hints { depends_on_epoch: false, elements_differ: false, ..inputs }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let Kept::Each(kept) = &self.kept else {
            return self.input.stage.get(index, &first_pass(cx));
        };
        if let Some(element) = kept.lock().get(&index) {
            return Ok(element.clone());
        }
        kept.lock().make_room(1)?;
        let element = self.input.stage.get(index, &first_pass(cx))?;
        let mut kept = kept.lock();
        kept.make_room(1)?;
        kept.insert(index, element.clone());
        Ok(element)
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        self.input.stage.slice(start, len, &first_pass(cx))
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        if let Kept::Nothing = self.kept {
            return self.input.stage.gather(columns, requests, out, &first_pass(cx));
        }
        gather_each(&|index| self.get(index, cx), columns, requests, out, cx)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let kept = match &self.kept {
            Kept::All(kept) => Arc::clone(kept),
            _ => Arc::default(),
        };
        let pass = Pass::begin(&kept, &self.input, cx)?;
        Ok(Box::new(CacheIter {
            input: self.input.clone(),
            cx: cx.clone(),
            kept,
            pass,
            position: 0,
        }))
    }
}

enum Pass {
    /// Over the kept elements.
    Kept(Arc<Vec<Element>>),
    /// Over the input, with the elements read so far. `None` if some are missing, so the pass
    /// cannot be kept.
    Input(Box<dyn ElementIter>, Option<Vec<Element>>),
}

impl Pass {
    fn begin(
        kept: &ForkSafe<Option<Arc<Vec<Element>>>>,
        input: &Dataset,
        cx: &Context,
    ) -> Result<Self> {
        match &*kept.lock() {
            Some(all) => Ok(Self::Kept(Arc::clone(all))),
            None => Ok(Self::Input(input.element_iter(&first_pass(cx))?, Some(Vec::new()))),
        }
    }
}

struct CacheIter {
    input: Dataset,
    cx: Context,
    kept: Arc<ForkSafe<Option<Arc<Vec<Element>>>>>,
    pass: Pass,
    position: u64,
}

impl ElementIter for CacheIter {
    fn next(&mut self) -> Step {
        // Reserve memory before reading, so that no element is lost.
        if let Pass::Input(_, Some(seen)) = &mut self.pass {
            value_of!(step(self.cx.cancel.check()));
            value_of!(step(seen.make_room(1)));
        }
        let element = match &mut self.pass {
            Pass::Kept(all) => {
                let at = usize::try_from(self.position).unwrap_or(usize::MAX);
                let Some(element) = all.get(at) else { return Ok(None) };
                Ok(element.clone())
            }
            Pass::Input(input, seen) => match (input.next()?, &mut *seen) {
                (Some(Ok(element)), Some(seen)) => {
                    seen.push(element.clone());
                    Ok(element)
                }
                (Some(Ok(element)), None) => Ok(element),
                (Some(Err(error)), _) => {
                    *seen = None;
                    Err(error)
                }
                (None, _) => {
                    if let Some(seen) = seen.take() {
                        self.kept.lock().get_or_insert(Arc::new(seen));
                    }
                    return Ok(None);
                }
            },
        };
        self.position = self.position.saturating_add(1);
        Ok(Some(element))
    }

    fn save(&self) -> Result<State> {
        let input = match &self.pass {
            Pass::Kept(_) => State::Nothing,
            Pass::Input(input, _) => input.save()?,
        };
        Ok(State::List(vec![State::Int(self.position), input]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        let position = parts[0].int()?;
        self.pass = Pass::begin(&self.kept, &self.input, &self.cx)?;
        self.position = 0;
        match (&mut self.pass, &parts[1]) {
            (Pass::Kept(_), _) => self.position = position,
            // The elements were kept where the state was saved, but not here: compute them again.
            (Pass::Input(..), State::Nothing) => {
                while self.position < position {
                    self.cx.cancel.check()?;
                    let next = self.next().map_err(|Interrupted| Error::Interrupted)?;
                    let Some(element) = next else {
                        let what = format!(
                            "the cached dataset has {} elements, not {position}",
                            self.position
                        );
                        return Err(Error::State { what });
                    };
                    element?;
                }
            }
            (Pass::Input(input, seen), state) => {
                input.restore(state)?;
                if position > 0 {
                    *seen = None;
                }
                self.position = position;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::streamed;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, fails_at, range, values,
    };
    use crate::user_fn::function::Function;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// `0..n` mapped by a function that counts its calls.
    fn counted(n: i64) -> (Dataset, Arc<AtomicU64>) {
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        let count = Function::sequential("count", move |element| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(element)
        });
        (range(n).map(count, range(1).spec().to_vec()), calls)
    }

    #[test]
    fn functions_before_a_cache_are_called_once_for_each_element() -> Result<()> {
        for stream in [false, true] {
            let (mapped, calls) = counted(4);
            let cached = if stream { streamed(&mapped) } else { mapped }.cache();
            assert_eq!(values(&cached.repeat(Some(3))), [0, 1, 2, 3].repeat(3));
            assert_eq!(values(&cached), [0, 1, 2, 3]);
            assert_eq!(calls.load(Ordering::Relaxed), 4, "streamed: {stream}");
            assert_eq!(values(&cached.rebuild(&mut Change::default())?), [0, 1, 2, 3]);
            assert_eq!(calls.load(Ordering::Relaxed), 4, "rebuilt, streamed: {stream}");
        }
        Ok(())
    }

    #[test]
    fn a_pass_that_was_given_up_or_had_an_error_is_not_kept() {
        let (mapped, calls) = counted(4);
        let cached = streamed(&mapped).cache();
        drop(cached.iter().take(2).collect::<Vec<_>>());
        assert_eq!(values(&cached), [0, 1, 2, 3]);
        assert_eq!(calls.load(Ordering::Relaxed), 6);
        let failing = streamed(&range(4).map(fails_at(1, Ok), range(1).spec().to_vec())).cache();
        for _ in 0..2 {
            assert_eq!(
                failing.iter().map(|element| element.is_ok()).collect::<Vec<_>>(),
                [true, false, true, true]
            );
        }
    }

    #[test]
    fn a_cache_resumes_whether_it_is_full_or_not() {
        let full = streamed(&range(5)).cache();
        assert_eq!(values(&full).len(), 5);
        for cached in
            [range(5).cache(), counted(5).0.cache(), streamed(&range(5)).cache(), full.clone()]
        {
            assert_resumes(&cached);
            assert_rejects_damage(&streamed(&range(5)).cache());
            assert_rebuilds(&cached);
        }
        let mut before =
            crate::testing::Pass(full.element_iter(&crate::order_tests::context()).unwrap());
        before.next();
        let state = before.save().unwrap();
        let empty = streamed(&range(5)).cache();
        let mut after =
            crate::testing::Pass(empty.element_iter(&crate::order_tests::context()).unwrap());
        after.restore(&state).unwrap();
        assert_eq!(std::iter::from_fn(|| after.next()).count(), 4);
    }
}
