//! Windows over inputs without random access.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::spec::Component;
use crate::stage::{Dataset, Element, ElementIter, Step, Value, step, value_of};
use crate::transforms::batch::gathered::is_no_memory;
use std::collections::VecDeque;
use tensorferry_core::Tensor;
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::memory::room::{Room, collected};

/// Window `i` has the elements `i * shift`, `i * shift + stride`, ..., at most `size` of them.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) size: u64,
    pub(crate) shift: u64,
    pub(crate) stride: u64,
    pub(crate) drop_remainder: bool,
}

impl Windows {
    /// Number of elements from the first to the last of a full window, both included.
    pub(crate) fn reach(self) -> u64 {
        (self.size - 1).saturating_mul(self.stride).saturating_add(1)
    }
}

pub(crate) struct WindowIter {
    input: Box<dyn ElementIter>,
    /// Specification of the input's elements.
    spec: Vec<Component>,
    shape: Windows,
    /// The elements read so far, starting with the first of the next window.
    held: VecDeque<Slot>,
    /// Number of elements still to be read before the next window.
    skip: u64,
    ended: bool,
    /// Index of the next window.
    index: u64,
    /// The error of the last element read, if it lies in no window and may have ended the input.
    failed: Option<Error>,
    cancel: CancelToken,
}

/// An element, or its error. `Failed(None)` if the error was already reported.
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

/// Whether an error may have ended the iterator that returned it. Such an error must be reported.
fn may_end(error: &Error) -> bool {
    match error {
        Error::AtElement { stage, .. } => *stage == "from_generator",
        // An error restored from a state has lost its type but not its message.
        Error::Saved { what, .. } => what.starts_with("from_generator: "),
        _ => false,
    }
}

impl WindowIter {
    pub(crate) fn new(
        input: Box<dyn ElementIter>,
        spec: Vec<Component>,
        shape: Windows,
        cancel: CancelToken,
    ) -> Self {
        let (held, skip, index) = (VecDeque::new(), 0, 0);
        Self { input, spec, shape, held, skip, ended: false, index, failed: None, cancel }
    }

    /// Reads until the next window is complete or the input ends.
    fn fill(&mut self) -> Step<()> {
        while !self.ended && (self.skip > 0 || (self.held.len() as u64) < self.shape.reach()) {
            value_of!(step(self.cancel.check()));
            value_of!(step(self.held.make_room(1)));
            match self.input.next()? {
                None => {
                    self.ended = true;
                    break;
                }
                // As in tf.data, an error between two windows is ignored unless it may have ended
                // the input.
                Some(element) if self.skip > 0 => {
                    self.skip -= 1;
                    self.failed = element.err().filter(may_end);
                }
                Some(Err(error)) if is_no_memory(&error) => {
                    self.held.push_back(Slot::Failed(None));
                    return Ok(Some(Err(error)));
                }
                Some(element) => {
                    self.failed = None;
                    self.held.push_back(
                        element.map_or_else(|error| Slot::Failed(Some(error)), Slot::Element),
                    );
                }
            }
        }
        Ok(Some(Ok(())))
    }

    /// The window at the front of `held`.
    fn cut(&mut self) -> Result<Element> {
        let stride = usize::try_from(self.shape.stride).unwrap_or(usize::MAX);
        let reach = usize::try_from(self.shape.reach()).unwrap_or(usize::MAX);
        // Elements between those of a window do not belong to it, even if they failed.
        let failed = self.held.iter_mut().take(reach).step_by(stride).find_map(|slot| match slot {
            Slot::Failed(error) => Some(error.take()),
            Slot::Element(_) => None,
        });
        match failed {
            Some(Some(error)) => return Err(error),
            Some(None) => {
                let what = "an element of this window failed; an earlier window reports the \
                    error"
                    .into();
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
    fn next(&mut self) -> Step {
        value_of!(self.fill());
        let short = (self.held.len() as u64) < self.shape.reach();
        if self.held.is_empty() || (short && self.shape.drop_remainder) {
            // From a dropped remainder, report only an error that may have ended the input.
            let last = self.held.drain(..).next_back().and_then(Slot::error);
            return Ok(self.failed.take().or(last).filter(may_end).map(Err));
        }
        let window = self.cut();
        self.advance();
        Ok(Some(window))
    }

    fn save(&self) -> Result<State> {
        let held = self.held.iter().map(|slot| -> Result<State> {
            match slot {
                Slot::Failed(None) => Ok(State::Nothing),
                Slot::Failed(Some(error)) => Ok(State::of_error(error)),
                Slot::Element(element) => {
                    let tensors: Result<Vec<Tensor>> =
                        element.iter().map(|value| value.tensor().cloned()).collect();
                    let nested = |_| Error::State {
                        what: "windows of windows cannot be saved where the dataset has no random \
                        access"
                            .into(),
                    };
                    Ok(State::Tensors(tensors.map_err(nested)?))
                }
            }
        });
        let held = State::List(collected(held)?);
        let numbers = [self.index, self.skip, u64::from(self.ended)].map(State::Int);
        let failed = self.failed.as_ref().map_or(State::Nothing, State::of_error);
        Ok(State::List(numbers.into_iter().chain([failed, held, self.input.save()?]).collect()))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(6)?;
        let held = parts[4].parts()?.iter().map(|element| -> Result<Slot> {
            match element {
                State::Nothing => Ok(Slot::Failed(None)),
                State::List(_) => Ok(Slot::Failed(Some(element.error()?))),
                _ => Ok(Slot::Element(
                    element.tensors_as(&self.spec)?.into_iter().map(Value::from).collect(),
                )),
            }
        });
        self.held = collected(held)?.into();
        // Between calls, fewer elements than a full window are held.
        let reach = self.shape.reach();
        if self.held.len() as u64 >= reach {
            let what = format!(
                "the state holds {} elements for a window of {reach}; it is damaged",
                self.held.len()
            );
            return Err(Error::State { what });
        }
        self.index = parts[0].int()?;
        self.skip = parts[1].int()?;
        self.ended = parts[2].int()? != 0;
        self.failed = parts[3].optional(State::error)?;
        self.input.restore(&parts[5])
    }
}
