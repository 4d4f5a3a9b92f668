//! The ops that read datasets: by index where the dataset has random access, else in order.

use crate::api::Api;
use crate::code::Code;
use crate::handle::{self, Entry, IndexedPass};
use crate::kernel::{Call, Definition, Kernel, register as register_kernel};
use crate::status::{Failure, Status};
use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry::Tensor;
use tensorferry::dataset::{Checkpoint, Element, Options};

/// Hands over an element's components, without a copy where TensorFlow accepts the memory.
fn deliver(call: &Call, element: &Element) -> Result<(), Failure> {
    let expected = call.output_count();
    if c_int::try_from(element.len()) != Ok(expected) {
        let message = format!(
            "the element has {} components, and the graph expects {expected}",
            element.len()
        );
        return Err(Failure::new(Code::INVALID_ARGUMENT, message));
    }
    let status = Status::new(call.api);
    (0..expected)
        .zip(element)
        .try_for_each(|(at, value)| call.set_output(at, value.tensor()?, &status))
}

/// `TensorferryElement(handle, index)`: an element of one pass.
#[derive(Default)]
struct ElementAt;

impl Kernel for ElementAt {
    const NAME: &'static std::ffi::CStr = c"TensorferryElement";
    const DEFINITION: Definition = Definition {
        attributes: &[c"T: list(type) >= 1"],
        ..Definition::new(&[c"handle: int64", c"index: int64"], &[c"components: T"])
    };

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let epoch = handle::find(call.input(0)?.int64()?)?.into_indexed_pass()?;
        let asked = call.input(1)?.int64()?;
        let index = match (u64::try_from(asked), epoch.len()) {
            (Ok(index), len) if len.is_none_or(|len| index < len) => index,
            (_, len) => {
                let len = len.map_or("endless".into(), |len| len.to_string());
                return Err(Failure::new(
                    Code::OUT_OF_RANGE,
                    format!("element {asked} of a dataset whose length is {len}"),
                ));
            }
        };
        deliver(call, &epoch.get(index)?)
    }
}

/// `TensorferryEpoch(handle)`: the state of a new pass.
///
/// Each call counts an epoch, yet the op is not declared stateful: tf.data does not checkpoint
/// around stateful ops. TensorFlow cannot merge its calls, as each is alone in its function, nor
/// fold them, as no graph knows the value of the handle.
#[derive(Default)]
struct NextEpoch;

impl Kernel for NextEpoch {
    const NAME: &'static std::ffi::CStr = c"TensorferryEpoch";
    const DEFINITION: Definition = Definition::new(&[c"handle: int64"], &[c"state: uint8"]);

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let dataset = handle::find(call.input(0)?.int64()?)?.dataset()?;
        let no_readahead = Options { read_ahead: Some(0), ..Options::default() };
        let state = dataset
            .dataset()
            .iter_with(dataset.count_epoch(), &no_readahead)
            .checkpoint()?
            .to_bytes();
        let len = state.len();
        call.output(0, &Tensor::from_vec(state, &[len])?)
    }
}

/// `TensorferryBegin(handle, state)`: a handle of one pass. tf.data calls it when a pass begins,
/// and with a checkpoint's state when one is restored.
#[derive(Default)]
struct Begin;

impl Kernel for Begin {
    const NAME: &'static std::ffi::CStr = c"TensorferryBegin";
    const DEFINITION: Definition =
        Definition::new(&[c"handle: int64", c"state: uint8"], &[c"epoch: int64"]);

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let dataset = handle::find(call.input(0)?.int64()?)?.dataset()?;
        let state = call.input(1)?;
        let saved = Checkpoint::from_bytes(state.view()?.as_bytes().unwrap_or_default())?;
        let epoch = IndexedPass::begin(&dataset, saved)?;
        call.output(0, &handle::keep(Entry::IndexedPass(Arc::new(epoch)))?)
    }
}

/// `TensorferryOpen(handle)`: a handle of a new pass.
#[derive(Default)]
struct Open;

impl Kernel for Open {
    const NAME: &'static std::ffi::CStr = c"TensorferryOpen";
    const DEFINITION: Definition = Definition {
        stateful: true,
        ..Definition::new(&[c"handle: int64"], &[c"iterator: int64"])
    };

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let dataset = handle::find(call.input(0)?.int64()?)?.dataset()?;
        let pass = dataset.dataset().iter_with(dataset.next_epoch(), &dataset.options);
        call.output(0, &handle::keep(Entry::StreamPass(Arc::new(Mutex::new(pass))))?)
    }
}

/// `TensorferryNext(iterator)`: the next element; OutOfRange at the end.
#[derive(Default)]
struct Next;

impl Kernel for Next {
    const NAME: &'static std::ffi::CStr = c"TensorferryNext";
    const DEFINITION: Definition = Definition {
        attributes: &[c"T: list(type) >= 1"],
        stateful: true,
        ..Definition::new(&[c"iterator: int64"], &[c"components: T"])
    };

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let pass = handle::find(call.input(0)?.int64()?)?.into_stream_pass()?;
        let next = pass.lock().unwrap_or_else(PoisonError::into_inner).next();
        match next {
            Some(element) => deliver(call, &element?),
            None => Err(Failure::new(Code::OUT_OF_RANGE, "end of sequence")),
        }
    }
}

pub(crate) fn register(api: &'static Api) -> Result<(), String> {
    register_kernel::<ElementAt>(api)?;
    register_kernel::<NextEpoch>(api)?;
    register_kernel::<Begin>(api)?;
    register_kernel::<Open>(api)?;
    register_kernel::<Next>(api)
}
