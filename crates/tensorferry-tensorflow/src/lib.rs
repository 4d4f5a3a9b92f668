//! Ops for TensorFlow, in Rust: registered through the C API of the TensorFlow that the process has
//! loaded, found at run time.
//!
//! * `TensorferryElement(handle, index)`: element `index` of a dataset's plan. Stateless: any
//!   thread may call it, in any order.
//! * `TensorferryEpoch(handle)`: the state of a pass that begins now: its epoch, and what makes the
//!   plan's orders.
//! * `TensorferryBegin(handle, state)`: a handle of the plan in that epoch, which
//!   `TensorferryElement` takes.
//! * `TensorferryOpen(handle)`, `TensorferryNext(iterator)`: one pass over a plan that only
//!   streams.
//! * `TensorferryCast(x)`: a cast that checks every value.
//!
//! # Rationale
//! No C++ and no TensorFlow at build time: one build works with every TensorFlow whose C API has
//! these functions, and without TensorFlow nothing of this is touched. A dataset reaches its op as
//! a *handle*: a tensor that names the dataset, and whose memory keeps it alive. TensorFlow counts
//! references to tensors wherever it keeps a graph, an iterator or a cached function, so the
//! dataset lives as long as an op that reads it can run, and no longer.
//!
//! # Limitations
//! A handle that was copied by value, as when a graph is serialised, no longer keeps its dataset
//! alive; and in another process it names nothing. Both are errors of the op, which say so.
#![deny(unsafe_op_in_unsafe_fn)]

mod api;
mod cast;
mod element;
mod handle;
mod kernel;
mod status;
mod tensor;

pub use handle::{handle, live_handles};
pub use status::{Classify, Code};

use std::ffi::CStr;
use std::sync::Mutex;

/// Registers the ops with the TensorFlow whose framework library is at `path` and already loaded.
/// Does nothing the second time.
///
/// `classify` says what the errors of functions are that datasets call.
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
    api::set_classify(classify);
    element::register(api)?;
    cast::register(api)?;
    *done = true;
    Ok(())
}
