//! The ops that read datasets: by index where the plan is indexed, else by passes.

use crate::api::Api;
use crate::handle::{self, Entry, Indexed};
use crate::kernel::{Call, Definition, Kernel, Node, register as register_kernel};
use crate::status::{Code, Failure};
use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry::Tensor;
use tensorferry::dataset::{Checkpoint, Element, Options};

/// Hands an element's components over, shared where TensorFlow can take the memory.
fn deliver(call: &Call, element: &Element) -> Result<(), Failure> {
    let expected = call.output_count();
    if c_int::try_from(element.len()) != Ok(expected) {
        let message = format!(
            "the element's components are {}, and the graph expects {expected}",
            element.len()
        );
        return Err(Failure::new(Code::INVALID_ARGUMENT, message));
    }
    (0..expected).zip(element).try_for_each(|(at, value)| call.output(at, value.tensor()?))
}

/// `TensorferryElement(handle, index)`: an element of one pass.
struct ElementAt;

impl Kernel for ElementAt {
    const NAME: &'static std::ffi::CStr = c"TensorferryElement";
    const DEFINITION: Definition = Definition {
        inputs: &[c"handle: int64", c"index: int64"],
        outputs: &[c"components: T"],
        attributes: &[c"T: list(type) >= 1"],
        stateful: false,
        elementwise: false,
    };

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let epoch = handle::find(call.input(0)?.int64()?)?.epoch()?;
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

/// `TensorferryEpoch(handle)`: the state of a pass that begins now.
///
/// It counts, so that two calls differ; it is nevertheless no stateful op, for tf.data does not
/// checkpoint around one. It stands in a function of its own, where there is no second call to
/// merge it with, and takes a handle that no graph knows the value of, so that nothing can be
/// folded.
struct NextEpoch;

impl Kernel for NextEpoch {
    const NAME: &'static std::ffi::CStr = c"TensorferryEpoch";
    const DEFINITION: Definition = Definition {
        inputs: &[c"handle: int64"],
        outputs: &[c"state: uint8"],
        attributes: &[],
        stateful: false,
        elementwise: false,
    };

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let plan = handle::find(call.input(0)?.int64()?)?.plan()?;
        let at_once = Options { read_ahead: Some(0), ..Options::default() };
        let state = plan.dataset().iter_with(plan.count_epoch(), &at_once).checkpoint()?.to_bytes();
        let len = state.len();
        call.output(0, &Tensor::from_vec(state, &[len])?)
    }
}

/// `TensorferryBegin(handle, state)`: a handle of one epoch. tf.data calls it when a pass begins,
/// and again when one is restored from a checkpoint, with the state that the checkpoint holds.
struct Begin;

impl Kernel for Begin {
    const NAME: &'static std::ffi::CStr = c"TensorferryBegin";
    const DEFINITION: Definition = Definition {
        inputs: &[c"handle: int64", c"state: uint8"],
        outputs: &[c"epoch: int64"],
        attributes: &[],
        stateful: false,
        elementwise: false,
    };

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let plan = handle::find(call.input(0)?.int64()?)?.plan()?;
        let state = call.input(1)?;
        let saved = Checkpoint::from_bytes(state.view()?.as_bytes().unwrap_or_default())?;
        let epoch = Indexed::begin(&plan, saved)?;
        call.output(0, &handle::keep(Entry::Epoch(Arc::new(epoch)))?)
    }
}

/// `TensorferryOpen(handle)`: a handle of a new pass.
struct Open;

impl Kernel for Open {
    const NAME: &'static std::ffi::CStr = c"TensorferryOpen";
    const DEFINITION: Definition = Definition {
        inputs: &[c"handle: int64"],
        outputs: &[c"iterator: int64"],
        attributes: &[],
        stateful: true,
        elementwise: false,
    };

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let plan = handle::find(call.input(0)?.int64()?)?.plan()?;
        let pass = plan.dataset().iter_with(plan.next_epoch(), &plan.options);
        call.output(0, &handle::keep(Entry::Pass(Arc::new(Mutex::new(pass))))?)
    }
}

/// `TensorferryNext(iterator)`: the next element; OutOfRange at the end.
struct Next;

impl Kernel for Next {
    const NAME: &'static std::ffi::CStr = c"TensorferryNext";
    const DEFINITION: Definition = Definition {
        inputs: &[c"iterator: int64"],
        outputs: &[c"components: T"],
        attributes: &[c"T: list(type) >= 1"],
        stateful: true,
        elementwise: false,
    };

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let pass = handle::find(call.input(0)?.int64()?)?.into_pass()?;
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
