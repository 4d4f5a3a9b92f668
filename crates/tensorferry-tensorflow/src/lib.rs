//! Ops for TensorFlow, in Rust: registered through the C API of the TensorFlow that the process has
//! loaded, found at run time.
//!
//! * `TensorferryElement(handle, index)`: element `index` of one pass over a dataset. Stateless:
//!   any thread may call it, in any order.
//! * `TensorferryEpoch(handle)`: the state of a new pass: its epoch, and the seeds of its order.
//! * `TensorferryBegin(handle, state)`: a handle of the pass that has this state, for
//!   `TensorferryElement`.
//! * `TensorferryOpen(handle)`, `TensorferryNext(iterator)`: one pass over a dataset without random
//!   access.
//! * `TensorferryCast(x)`: a cast that checks every value.
//!
//! # Rationale
//! No C++ and no TensorFlow at build time: one build works with every TensorFlow whose C API has
//! these functions. Without TensorFlow, none of this code runs. A dataset reaches its op as a
//! *handle*: a tensor that names the dataset, and whose memory keeps it alive. TensorFlow counts
//! references to tensors wherever it keeps a graph, an iterator or a cached function. So the
//! dataset lives exactly as long as an op that reads it can run.
//!
//! # Limitations
//! A copy of a handle's value, as in a serialised graph, does not keep the dataset alive. In
//! another process a handle names nothing. Both are errors of the op.
#![deny(unsafe_op_in_unsafe_fn)]

mod advice;
mod api;
mod cast;
mod code;
mod element;
mod handle;
mod kernel;
mod status;
mod tensor;

pub use advice::InPython;
pub use code::{Classify, Code};
pub use handle::{handle, live_handles};

use std::ffi::CStr;
use std::sync::Mutex;

/// Registers the ops with the TensorFlow whose framework library is at `path` and already loaded.
/// Does nothing when called again.
///
/// `classify` maps the errors of functions that datasets call.
///
/// # Errors
/// A message: the library is not loaded, lacks a function, or refuses an op.
pub fn register(path: &CStr, classify: Classify) -> Result<(), String> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *done {
        return Ok(());
    }
    let api = api::load(path)?;
    code::set_classify(classify);
    element::register(api)?;
    cast::register(api)?;
    *done = true;
    Ok(())
}
