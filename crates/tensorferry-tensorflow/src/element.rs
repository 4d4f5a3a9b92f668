//! The ops that read datasets: by index where the plan is indexed, else by passes.

use crate::api::Api;
use crate::handle::{self, Entry};
use crate::kernel::{Call, Definition, Kernel, Node, register as register_kernel};
use crate::status::{Code, Failure};
use std::ffi::c_int;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use tensorferry::Tensor;
use tensorferry::dataset::{Element, Epoch, Options};

/// Hands an element's components over, shared where TensorFlow can take the memory.
fn deliver(call: &Call, element: &Element) -> Result<(), Failure> {
    let expected = call.output_count();
    if c_int::try_from(element.len()) != Ok(expected) {
        let message = format!("an element of {} components where the graph expects {expected}", element.len());
        return Err(Failure::new(Code::InvalidArgument, message));
    }
    (0..expected).zip(element).try_for_each(|(at, value)| call.output(at, value.tensor()?))
}

/// `TensorferryElement(handle, epoch, index)`.
struct ElementAt;

impl Kernel for ElementAt {
    const NAME: &'static std::ffi::CStr = c"TensorferryElement";
    const DEFINITION: Definition = Definition {
        inputs: &[c"handle: int64", c"epoch: int64", c"index: int64"],
        outputs: &[c"components: T"],
        attributes: &[c"T: list(type) >= 1"],
        stateful: false,
        elementwise: false,
    };

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let dataset = handle::find(call.input(0)?.int64()?)?.dataset()?.0;
        let epoch = Epoch(call.input(1)?.int64()?.cast_unsigned());
        let index = call.input(2)?.int64()?;
        let past = || Failure::new(Code::OutOfRange, format!("index {index} of a dataset of {:?} elements", dataset.cardinality()));
        let index = u64::try_from(index).map_err(|_| past())?;
        if dataset.cardinality().finite().is_some_and(|len| index >= len) {
            return Err(past());
        }
        deliver(call, &dataset.get_in(index, epoch)?)
    }
}

/// `TensorferryEpoch(handle)`: the number of passes begun before.
struct NextEpoch;

impl Kernel for NextEpoch {
    const NAME: &'static std::ffi::CStr = c"TensorferryEpoch";
    const DEFINITION: Definition = Definition {
        inputs: &[c"handle: int64"],
        outputs: &[c"epoch: int64"],
        attributes: &[],
        stateful: true,
        elementwise: false,
    };

    fn create(_node: &Node) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn compute(&self, call: &Call) -> Result<(), Failure> {
        let epochs = handle::find(call.input(0)?.int64()?)?.dataset()?.1;
        let epoch = epochs.fetch_add(1, Ordering::Relaxed);
        call.output(0, &Tensor::from_vec(vec![epoch.cast_signed()], &[])?)
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
        let (dataset, epochs) = handle::find(call.input(0)?.int64()?)?.dataset()?;
        let epoch = Epoch(epochs.fetch_add(1, Ordering::Relaxed));
        let pass = dataset.iter_with(epoch, &Options::default());
        let iterator = handle::keep(Entry::pass(pass))?;
        call.output(0, &iterator)
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
            None => Err(Failure::new(Code::OutOfRange, "end of sequence")),
        }
    }
}

pub(crate) fn register(api: &'static Api) -> Result<(), String> {
    register_kernel::<ElementAt>(api)?;
    register_kernel::<NextEpoch>(api)?;
    register_kernel::<Open>(api)?;
    register_kernel::<Next>(api)
}
