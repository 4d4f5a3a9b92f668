//! `from_generator`: the elements of a user's generator.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Stage, Step, step, uninterrupted, value_of,
};
use crate::user_fn::function::{Function, UserFn};
use crate::value::check;
use tensorferry_io::cancel::CancelToken;

/// The iterator that a generator function returns: the elements of one pass.
pub type Generator = Box<dyn Iterator<Item = Result<Element>> + Send>;

struct FromGenerator {
    function: Function<(), Generator>,
    spec: Vec<Component>,
}

impl Dataset {
    /// The elements of a generator. `function` is called once per pass, when the first element is
    /// requested. The generator is then read until it ends.
    ///
    /// Every element must match `spec` in its dtypes and shapes. If one does not, or the generator
    /// returns `Err`, the error takes the element's place. Whether elements follow is up to the
    /// generator.
    ///
    /// The state of an iteration is the number of elements taken. Restoring starts a new generator
    /// and skips that many elements. This takes as long as computing them, and requires a generator
    /// that returns the same elements each time.
    ///
    /// ```
    /// use tensorferry_core::{Shape, Tensor, TensorSpec};
    /// use tensorferry_dataset::{Component, Dataset, Function, Generator};
    ///
    /// let squares = Function::new("squares", |()| {
    ///     let each = (0_i32..3).map(|i| Ok(vec![Tensor::from_vec(vec![i * i], &[])?.into()]));
    ///     Ok(Box::new(each) as Generator)
    /// });
    /// let spec = TensorSpec::new(tensorferry_core::DType::Int32, Shape::fixed(&[]));
    /// let dataset = Dataset::from_generator(squares, vec![Component::Tensor(spec)]);
    /// assert_eq!(dataset.iter().count(), 3);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn from_generator(function: Function<(), Generator>, spec: Vec<Component>) -> Self {
        Self::of(FromGenerator { function, spec })
    }
}

impl Stage for FromGenerator {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        format!("from_generator({}, {})", self.function.name(), Component::list(&self.spec))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::from_generator(self.function.clone(), self.spec.clone()))
    }

    fn functions(&self) -> Vec<&dyn UserFn> {
        vec![&self.function]
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(GeneratorIter {
            function: self.function.clone(),
            spec: self.spec.clone(),
            cancel: cx.cancel.clone(),
            pass: Pass::NotStarted,
            taken: 0,
        }))
    }
}

/// The progress of a pass.
enum Pass {
    /// The function is called at the first element, and skips elements that were taken before a
    /// restore.
    NotStarted,
    Running(Generator),
    Ended,
}

struct GeneratorIter {
    function: Function<(), Generator>,
    spec: Vec<Component>,
    cancel: CancelToken,
    pass: Pass,
    taken: u64,
}

impl GeneratorIter {
    /// A generator whose next element is `taken`; `None` if it ends before.
    fn start(&self) -> Result<Option<Generator>> {
        let mut generator = self.function.call(())?;
        for _ in 0..self.taken {
            self.cancel.check()?;
            match generator.next() {
                None => return Ok(None),
                Some(Err(Error::Interrupted)) => return Err(Error::Interrupted),
                Some(_) => {}
            }
        }
        Ok(Some(generator))
    }

    fn advance(&mut self) -> Step {
        if let Pass::NotStarted = self.pass {
            self.pass = match uninterrupted(self.start())? {
                Ok(Some(generator)) => Pass::Running(generator),
                Ok(None) => Pass::Ended,
                Err(error) => {
                    self.pass = Pass::Ended;
                    return Ok(Some(Err(error)));
                }
            };
        }
        let Pass::Running(generator) = &mut self.pass else { return Ok(None) };
        let Some(next) = generator.next() else {
            self.pass = Pass::Ended;
            return Ok(None);
        };
        // An interrupted generator cannot return the element again, but a new one can.
        let next = uninterrupted(next).inspect_err(|_| self.pass = Pass::NotStarted)?;
        Ok(Some(next.and_then(|element| check(&element, &self.spec).map(|()| element))))
    }
}

impl ElementIter for GeneratorIter {
    fn next(&mut self) -> Step {
        value_of!(step(self.cancel.check()));
        let Some(element) = self.advance()? else { return Ok(None) };
        let index = self.taken;
        self.taken = index.saturating_add(1);
        Ok(Some(element.map_err(|error| error.at_element("from_generator", index))))
    }

    fn save(&self) -> Result<State> {
        let ended = matches!(self.pass, Pass::Ended);
        Ok(State::List(vec![State::Int(u64::from(ended)), State::Int(self.taken)]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.pass = if parts[0].int()? == 0 { Pass::NotStarted } else { Pass::Ended };
        self.taken = parts[1].int()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, counting, element, element_spec,
        first, values,
    };
    use crate::user_fn::function::failed;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tensorferry_core::Tensor;

    fn from(make: impl Fn() -> Vec<Result<Element>> + Send + Sync + 'static) -> Dataset {
        Dataset::from_generator(
            Function::new("made", move |()| Ok(Box::new(make().into_iter()) as Generator)),
            element_spec(),
        )
    }

    #[test]
    fn each_pass_calls_the_function_anew_when_its_first_element_is_asked_for() {
        let calls = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&calls);
        let dataset = from(move || {
            count.fetch_add(1, Ordering::Relaxed);
            vec![Ok(element(4)), Ok(element(2))]
        });
        let mut iter = dataset.iter();
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        assert_eq!(iter.by_ref().count(), 2);
        assert!(iter.next().is_none());
        assert_eq!(values(&dataset), [4, 2]);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(dataset.cardinality(), Cardinality::Unknown);
        assert_eq!(dataset.to_string(), "from_generator(made, (int64[]))");
        assert_rebuilds(&dataset);
    }

    #[test]
    fn what_is_not_as_promised_and_what_fails_is_an_error_in_its_place() {
        let dataset = from(|| {
            let narrow = Tensor::from_vec(vec![7_i32], &[]).unwrap();
            vec![
                Ok(element(1)),
                Ok(vec![narrow.into()]),
                Err(failed("no luck")),
                Ok(element(2)),
                Ok(Vec::new()),
            ]
        });
        let all: Vec<_> = dataset.iter().collect();
        let message = |at: usize| all[at].as_ref().map(first).unwrap_err().to_string();
        assert_eq!(
            message(1),
            "from_generator: element 1: component 0: int32[] where the dataset's element_spec \
            says int64[]"
        );
        assert_eq!(message(2), "from_generator: element 2: no luck");
        assert_eq!(first(all[3].as_ref().unwrap()), 2);
        assert_eq!(
            message(4),
            "from_generator: element 4: 0 components where the dataset's element_spec has 1"
        );
        assert_eq!(all.len(), 5);
        assert_resumes(&dataset);
    }

    #[test]
    fn a_function_that_fails_is_one_error_and_the_end() {
        let broken: Function<(), Generator> =
            Function::new("broken", |()| Err(failed("cannot start")));
        let dataset = Dataset::from_generator(broken, element_spec());
        let all: Vec<_> = dataset.iter().collect();
        assert!(matches!(
            all.as_slice(),
            [Err(Error::AtElement { stage: "from_generator", index: 0, .. })]
        ));
        assert_resumes(&dataset);
    }

    #[test]
    fn resumes_at_every_element_and_never_beyond_the_end() {
        assert_resumes(&counting(7));
        assert_rejects_damage(&counting(7));
        let mut short = crate::testing::stream(&counting(3));
        short.restore(&State::List(vec![State::Int(0), State::Int(9)])).unwrap();
        assert!(short.next().is_none());
    }

    #[test]
    fn skipping_on_restore_stops_when_asked() {
        let cancel = CancelToken::default();
        let cx = Context::new(crate::stage::Epoch(0), cancel.clone());
        let asked = cancel.clone();
        let endless = Function::new("endless", move |()| {
            let asked = asked.clone();
            let each = (0_i64..).map(move |i| {
                if i == 1000 {
                    asked.cancel();
                }
                Ok(element(i))
            });
            Ok(Box::new(each) as Generator)
        });
        let endless = Dataset::from_generator(endless, element_spec());
        let mut stream = crate::testing::Pass(endless.element_iter(&cx).unwrap());
        stream.restore(&State::List(vec![State::Int(0), State::Int(u64::MAX)])).unwrap();
        assert!(matches!(stream.next(), Some(Err(Error::Interrupted))));
    }
}
