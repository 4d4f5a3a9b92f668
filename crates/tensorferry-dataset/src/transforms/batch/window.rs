//! Runs of elements, as datasets of their own.

use crate::checkpoint::state::State;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::spec::{Cardinality, Component};
use crate::stage::Epoch;
use crate::stage::{Change, Context, Element, ElementIter, Stage, Value, not_indexed};
use crate::transforms::batch::batch::is_no_memory;
use std::collections::VecDeque;
use tensorferry_core::Tensor;
use tensorferry_io::cancel::Stop;
use tensorferry_io::gather::copy::Request;
use tensorferry_io::gather::rows_out::Rows;
use tensorferry_io::memory::room::{Room, collected};

/// Window `i` is the elements `i * shift`, `i * shift + stride`, ..., at most `size` of them.
#[derive(Clone, Copy)]
struct Shape {
    size: u64,
    shift: u64,
    stride: u64,
    drop_remainder: bool,
}

impl Shape {
    /// From the first element of a full window to its last, both counted.
    fn reach(self) -> u64 {
        (self.size - 1).saturating_mul(self.stride).saturating_add(1)
    }
}

struct Window {
    input: Dataset,
    shape: Shape,
    /// The input's components one by one: the datasets that windows are cut from.
    parts: Vec<Dataset>,
    spec: Vec<Component>,
}

impl Dataset {
    /// Windows over the elements: each is one dataset for every component. They begin `shift`
    /// elements apart (by default `size`) and have up to `size` elements that are `stride` apart.
    /// The last ones have fewer, or are left out with `drop_remainder`.
    ///
    /// Over an indexed input a window is a view, which computes an element when it is asked for;
    /// over a stream, or a function that is to be called once for each element in order, it holds
    /// its elements.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset, Value};
    ///
    /// let windows = Dataset::range(0, 7, 1, DType::Int64)?.window(3, Some(2), 1, false)?; // 012 234 456 6
    /// assert_eq!(windows.cardinality(), Cardinality::Finite(4));
    /// let Value::Dataset(last) = &windows.get(3)?[0] else { unreachable!() };
    /// assert_eq!(last.cardinality(), Cardinality::Finite(1));
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `size`, `shift` or `stride` is 0.
    pub fn window(
        &self,
        size: u64,
        shift: Option<u64>,
        stride: u64,
        drop_remainder: bool,
    ) -> Result<Self> {
        let shape = Shape { size, shift: shift.unwrap_or(size), stride, drop_remainder };
        for (name, value) in [("size", size), ("shift", shape.shift), ("stride", stride)] {
            if value == 0 {
                return Err(Error::Argument {
                    stage: "window",
                    what: format!("{name} has to be at least 1"),
                });
            }
        }
        let alone = self.spec().len() == 1;
        let part = |at| if alone { Ok(self.clone()) } else { self.components(&[at]) };
        let parts = (0..self.spec().len()).map(part).collect::<Result<_>>()?;
        let spec = self.spec().iter().map(|part| Component::Dataset(vec![part.clone()])).collect();
        Ok(Self::of(Window { input: self.clone(), shape, parts, spec }))
    }
}

impl Stage for Window {
    fn spec(&self) -> &[Component] {
        &self.spec
    }

    fn cardinality(&self) -> Cardinality {
        let Shape { shift, drop_remainder, .. } = self.shape;
        self.input.cardinality().map(|n| match n.checked_sub(self.shape.reach()) {
            _ if !drop_remainder => n.div_ceil(shift),
            None => 0,
            Some(rest) => (rest / shift).saturating_add(1),
        })
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn describe(&self) -> String {
        let Shape { size, shift, stride, drop_remainder } = self.shape;
        format!(
            "window({size}, {shift}, {stride}{})",
            if drop_remainder { ", drop_remainder" } else { "" }
        )
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        let Shape { size, shift, stride, drop_remainder } = self.shape;
        inputs[0].window(size, Some(shift), stride, drop_remainder)
    }

    // Views of several components, or that overlap, would call a function several times for one
    // element.
    fn is_indexed(&self) -> bool {
        self.input.is_indexed() && !self.input.stage.is_sequential()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        if !self.is_indexed() {
            return Err(not_indexed("window"));
        }
        let Shape { size, shift, stride, .. } = self.shape;
        let start = index.saturating_mul(shift);
        let len = self
            .input
            .cardinality()
            .finite()
            .map_or(size, |n| n.saturating_sub(start).div_ceil(stride).min(size));
        let view =
            |part: &Dataset| View { input: part.clone(), epoch: cx.epoch, start, len, stride };
        Ok(self.parts.iter().map(|part| Value::Dataset(Dataset::of(view(part)))).collect())
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(WindowIter {
            input: self.input.element_iter(cx)?,
            spec: self.input.spec().to_vec(),
            shape: self.shape,
            held: VecDeque::new(),
            skip: 0,
            ended: false,
            index: 0,
            failed: None,
            stop: cx.stop.clone(),
        }))
    }
}

/// `len` elements of an indexed dataset, as they are in one epoch, whenever they are looked at.
struct View {
    input: Dataset,
    epoch: Epoch,
    start: u64,
    len: u64,
    stride: u64,
}

impl View {
    fn locate(&self, index: u64) -> u64 {
        self.start.saturating_add(index.saturating_mul(self.stride))
    }

    fn spread(&self, requests: &mut [Request]) {
        requests.iter_mut().for_each(|request| request.index = self.locate(request.index));
    }
}

impl Stage for View {
    fn spec(&self) -> &[Component] {
        self.input.spec()
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.len)
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn describe(&self) -> String {
        format!(
            "in_window({} x {} from {} in epoch {})",
            self.len, self.stride, self.start, self.epoch.0
        )
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self { input: inputs[0].clone(), ..*self }))
    }

    fn is_window(&self) -> bool {
        true
    }

    fn is_indexed(&self) -> bool {
        true
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        self.input.stage.get(self.locate(index), &cx.at(self.epoch))
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        if self.stride != 1 && len > 1 {
            return None;
        }
        self.input.stage.slice(self.locate(start), len, &cx.at(self.epoch))
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        self.spread(requests);
        self.input.stage.gather(requests, out, &cx.at(self.epoch))
    }

    fn gather_some(
        &self,
        which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.spread(requests);
        self.input.stage.gather_some(which, requests, out, &cx.at(self.epoch))
    }
}

struct WindowIter {
    input: Box<dyn ElementIter>,
    /// Of the input's elements.
    spec: Vec<Component>,
    shape: Shape,
    /// The elements from the first of the next window on.
    held: VecDeque<Slot>,
    /// How many elements lie before the next window and are still to be read.
    skip: u64,
    ended: bool,
    /// The number of the next window.
    index: u64,
    /// The last element that was read, if it lies in no window and is an error that may have ended
    /// the input.
    failed: Option<Error>,
    stop: Stop,
}

/// An element that is held, or its error until a window has told it.
enum Slot {
    Element(Element),
    Failed(Option<Error>),
}

impl Slot {
    fn element(&self) -> Option<&Element> {
        if let Self::Element(element) = self { Some(element) } else { None }
    }

    fn error(self) -> Option<Error> {
        if let Self::Failed(error) = self { error } else { None }
    }
}

/// Whether an error may have ended the stream that it came from: then nothing else says that
/// elements are missing.
fn may_end(error: &Error) -> bool {
    match error {
        Error::AtElement { stage, .. } => *stage == "from_generator",
        // One that waited in a state is known by its words.
        Error::Saved { what, .. } => what.starts_with("from_generator: "),
        _ => false,
    }
}

impl WindowIter {
    /// Reads until the next window is whole or the input ends.
    ///
    /// # Errors
    /// [`Error::Stopped`] and [`Error::Allocation`], after which nothing is lost.
    fn fill(&mut self) -> Result<()> {
        while !self.ended && (self.skip > 0 || (self.held.len() as u64) < self.shape.reach()) {
            self.stop.check()?;
            self.held.make_room(1)?;
            match self.input.next() {
                None => {
                    self.ended = true;
                    break;
                }
                Some(Err(Error::Stopped)) => return Err(Error::Stopped),
                // As in tf.data, an error between two windows is nobody's, unless the input may
                // have ended because of it.
                Some(element) if self.skip > 0 => {
                    self.skip -= 1;
                    self.failed = element.err().filter(may_end);
                }
                Some(Err(error)) if is_no_memory(&error) => {
                    self.held.push_back(Slot::Failed(None));
                    return Err(error);
                }
                Some(element) => {
                    self.failed = None;
                    self.held.push_back(
                        element.map_or_else(|error| Slot::Failed(Some(error)), Slot::Element),
                    );
                }
            }
        }
        Ok(())
    }

    /// The window at the front of what is held.
    fn cut(&mut self) -> Result<Element> {
        let stride = usize::try_from(self.shape.stride).unwrap_or(usize::MAX);
        let reach = usize::try_from(self.shape.reach()).unwrap_or(usize::MAX);
        // What lies between the elements of a window is none of it, whether it failed or not.
        let failed = self.held.iter_mut().take(reach).step_by(stride).find_map(|slot| match slot {
            Slot::Failed(error) => Some(error.take()),
            Slot::Element(_) => None,
        });
        match failed {
            Some(Some(error)) => return Err(error),
            Some(None) => {
                let what = "an element of this window failed, as an earlier window said".into();
                return Err(Error::ElementMismatch { what }.at_element("window", self.index));
            }
            None => {}
        }
        let elements = || self.held.iter().take(reach).step_by(stride).filter_map(Slot::element);
        let component = |(at, part): (usize, &Component)| {
            let mut values = Vec::new();
            values.make_room(elements().count())?;
            values.extend(elements().filter_map(|element| Some(vec![element.get(at)?.clone()])));
            Ok(Value::Dataset(Dataset::in_memory(values, vec![part.clone()])))
        };
        self.spec.iter().enumerate().map(component).collect()
    }

    fn advance(&mut self) {
        self.index = self.index.saturating_add(1);
        let drop = usize::try_from(self.shape.shift).unwrap_or(usize::MAX).min(self.held.len());
        self.held.drain(..drop);
        self.skip = self.shape.shift - drop as u64;
    }
}

impl ElementIter for WindowIter {
    fn next(&mut self) -> Option<Result<Element>> {
        if let Err(stopped) = self.fill() {
            return Some(Err(stopped));
        }
        let short = (self.held.len() as u64) < self.shape.reach();
        if self.held.is_empty() || (short && self.shape.drop_remainder) {
            // Of what is left over, only the error that may have ended the input is told.
            let last = self.held.drain(..).next_back().and_then(Slot::error);
            return self.failed.take().or(last).filter(may_end).map(Err);
        }
        let window = self.cut();
        self.advance();
        Some(window)
    }

    fn save(&self) -> Result<State> {
        let held = self.held.iter().map(|slot| match slot {
            Slot::Failed(None) => Ok(State::Nothing),
            Slot::Failed(Some(error)) => Ok(State::of_error(error)),
            Slot::Element(element) => {
                let tensors: Result<Vec<Tensor>> =
                    element.iter().map(|value| value.tensor().cloned()).collect();
                let nested = |_| Error::State {
                    what: "windows over windows of a stream cannot be saved".into(),
                };
                Ok(State::Tensors(tensors.map_err(nested)?))
            }
        });
        let held = State::List(collected(held)?);
        let numbers = [self.index, self.skip, u64::from(self.ended)].map(State::Int);
        let failed = self.failed.as_ref().map_or(State::Nothing, State::of_error);
        Ok(State::List(numbers.into_iter().chain([failed, held, self.input.save()?]).collect()))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(6)?;
        let held = parts[4].parts()?.iter().map(|element| match element {
            State::Nothing => Ok(Slot::Failed(None)),
            State::List(_) => Ok(Slot::Failed(Some(element.error()?))),
            _ => Ok(Slot::Element(
                element.tensors_as(&self.spec)?.into_iter().map(Value::from).collect(),
            )),
        });
        self.held = collected(held)?.into();
        // A window that the end cut short may be left, with drop_remainder: more than what two
        // windows have in common.
        let reach = self.shape.reach();
        if self.held.len() as u64 >= reach {
            let what =
                format!("{} elements are held for a window that has {reach}", self.held.len());
            return Err(Error::State { what });
        }
        self.index = parts[0].int()?;
        self.skip = parts[1].int()?;
        self.ended = parts[2].int()? != 0;
        self.failed = parts[3].optional(State::error)?;
        self.input.restore(&parts[5])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::{numbers, streamed};
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, dying, fails_at, range,
    };
    use crate::user_fn::function::Function;

    fn windows(dataset: &Dataset) -> Result<Vec<Vec<i64>>> {
        let window = |element: Result<Element>| match &element?[0] {
            Value::Dataset(window) => numbers(window),
            Value::Tensor(_) => panic!("a tensor"),
        };
        dataset.iter().map(window).collect()
    }

    #[test]
    fn windows_are_cut_as_tf_data_cuts_them() -> Result<()> {
        for input in [range(10), streamed(&range(10))] {
            let of = |size, shift, stride, drop| windows(&input.window(size, shift, stride, drop)?);
            assert_eq!(
                windows(&input.take(Some(7)).window(3, Some(2), 1, false)?)?,
                [vec![0, 1, 2], vec![2, 3, 4], vec![4, 5, 6], vec![6]]
            );
            assert_eq!(
                of(3, Some(2), 3, false)?,
                [vec![0, 3, 6], vec![2, 5, 8], vec![4, 7], vec![6, 9], vec![8]]
            );
            assert_eq!(of(3, Some(2), 3, true)?, [[0, 3, 6], [2, 5, 8]]);
            assert_eq!(of(2, Some(4), 1, false)?, [[0, 1], [4, 5], [8, 9]]);
            assert_eq!(of(4, None, 1, true)?, [[0, 1, 2, 3], [4, 5, 6, 7]]);
            assert_eq!(of(u64::MAX, Some(9), u64::MAX, false)?, [[0], [9]]);
        }
        assert!(range(3).window(0, None, 1, false).is_err());
        assert!(range(3).window(1, Some(0), 1, false).is_err());
        assert!(range(3).window(1, None, 0, false).is_err());
        Ok(())
    }

    #[test]
    fn there_are_as_many_windows_as_cardinality_says() -> Result<()> {
        for (n, size, shift, stride) in (0..9).flat_map(|n| {
            (1..5).flat_map(move |s| (1..5).flat_map(move |t| (1..4).map(move |u| (n, s, t, u))))
        }) {
            for drop in [false, true] {
                let indexed = range(n).window(size, Some(shift), stride, drop)?;
                let held = streamed(&range(n)).window(size, Some(shift), stride, drop)?;
                let all = windows(&indexed)?;
                assert_eq!(
                    indexed.cardinality(),
                    Cardinality::Finite(all.len() as u64),
                    "{indexed}"
                );
                assert_eq!(windows(&held)?, all, "{indexed}");
            }
        }
        assert_eq!(
            range(3).repeat(None).window(2, None, 1, false)?.cardinality(),
            Cardinality::Infinite
        );
        Ok(())
    }

    #[test]
    fn every_component_has_a_window_of_its_own() -> Result<()> {
        let wide = range(5).enumerate(10);
        for input in [wide.clone(), streamed(&wide)] {
            let element = input.window(2, None, 1, false)?.iter().nth(1).unwrap()?;
            let [Value::Dataset(a), Value::Dataset(b)] = element.as_slice() else {
                panic!("{element:?}")
            };
            assert_eq!((numbers(a)?, numbers(b)?), (vec![12, 13], vec![2, 3]));
            assert_eq!(numbers(&a.batch(2, true)?)?, [12, 13]);
        }
        Ok(())
    }

    #[test]
    fn windows_resume_also_where_they_hold_elements() -> Result<()> {
        for input in [range(9), streamed(&range(9))] {
            for (size, shift) in [(3, 2), (2, 4), (3, 3)] {
                let windows = input.window(size, Some(shift), 2, false)?;
                assert_resumes(&windows);
                assert_rejects_damage(&windows);
                assert_rebuilds(&windows);
            }
        }
        Ok(())
    }

    #[test]
    fn a_failed_element_fails_the_windows_it_is_in_and_no_others() -> Result<()> {
        let failing = range(6).map(fails_at(2, Ok), range(1).spec().to_vec());
        let windows = streamed(&failing).window(2, Some(1), 1, false)?;
        let good: Vec<bool> = windows.iter().map(|window| window.is_ok()).collect();
        assert_eq!(good, [true, false, false, true, true, true]);
        assert_resumes(&windows);
        Ok(())
    }

    #[test]
    fn an_error_in_no_window_is_told_by_none() -> Result<()> {
        for (size, shift, stride, drop, bad, expected) in [
            (2, 4, 1, false, 2, 3),
            (2, 4, 1, false, 7, 3),
            (2, 3, 2, false, 1, 4),
            (4, 4, 1, true, 9, 2),
            (1, 9, 1, false, 5, 2),
        ] {
            let failing = streamed(&range(10).map(fails_at(bad, Ok), range(1).spec().to_vec()));
            let windows = failing.window(size, Some(shift), stride, drop)?;
            let all: Vec<bool> = windows.iter().map(|window| window.is_ok()).collect();
            assert_eq!(all, vec![true; expected], "{windows} without {bad}");
            assert_resumes(&windows);
        }
        Ok(())
    }

    #[test]
    fn an_error_that_ends_a_stream_is_told_where_no_window_holds_it() -> Result<()> {
        for windows in [dying(2).window(1, Some(4), 1, false)?, dying(2).window(4, None, 1, true)?]
        {
            let good: Vec<bool> = windows.iter().map(|window| window.is_ok()).collect();
            assert_eq!(good.iter().filter(|good| !**good).count(), 1, "{windows}");
            assert!(!good[good.len() - 1], "{windows}");
            assert_resumes(&windows);
        }
        Ok(())
    }

    #[test]
    fn a_sequential_function_is_called_once_for_each_element() -> Result<()> {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU64, Ordering};
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        let count = Function::sequential("count", move |element| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(element)
        });
        let mapped = range(6).map(count, range(1).spec().to_vec());
        assert_eq!(windows(&mapped.window(3, Some(1), 1, true)?)?.len(), 4);
        assert_eq!(calls.load(Ordering::Relaxed), 6);
        Ok(())
    }
}
