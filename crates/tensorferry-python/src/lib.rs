//! The Python module `tensorferry._internal`: a table of contents. Each file wraps one thing.

use pyo3::prelude::*;

mod command;
mod dataset;
mod errors;
mod files;
mod frameworks;
mod interop;
mod runtime;
mod tensor;

use files::{array, arrays, format, npy, open, save, storage};
use frameworks::{ops, tensorflow};
use interop::{dtype, memory, nested};
use runtime::{atexit, gil, logging};
use tensor::{convert, object};

/// No memory is a `MemoryError`, not the end of the process.
#[global_allocator]
static ALLOCATOR: tensorferry::buffers::SpareAllocator = tensorferry::buffers::SpareAllocator;

#[pymodule(gil_used = false)]
fn _internal(module: &Bound<'_, PyModule>) -> PyResult<()> {
    tensorferry::buffers::keep_spare();
    logging::start();
    gil::start(module.py());
    storage::lend_boto3();
    module.add_class::<object::PyTensor>()?;
    module.add_class::<memory::Block>()?;
    dataset::register(module)?;
    module.add_function(wrap_pyfunction!(convert::tensor, module)?)?;
    module.add_function(wrap_pyfunction!(convert::convert_into, module)?)?;
    module.add_function(wrap_pyfunction!(convert::can_convert, module)?)?;
    module.add_function(wrap_pyfunction!(convert::value_range, module)?)?;
    module.add_function(wrap_pyfunction!(convert::smallest_dtype, module)?)?;
    module.add_function(wrap_pyfunction!(convert::cpu_level, module)?)?;
    module.add_function(wrap_pyfunction!(convert::writable_capsule, module)?)?;
    module.add_function(wrap_pyfunction!(convert::framework_capsule, module)?)?;
    module.add_function(wrap_pyfunction!(nested::stacked, module)?)?;
    module.add_function(wrap_pyfunction!(tensorflow::convert_to_tensor, module)?)?;
    module.add_function(wrap_pyfunction!(dtype::dtype_name, module)?)?;
    module.add_function(wrap_pyfunction!(dtype::numpy_dtype, module)?)?;
    module.add_function(wrap_pyfunction!(memory::empty, module)?)?;
    module.add_function(wrap_pyfunction!(memory::set_memory_handler, module)?)?;
    module.add_function(wrap_pyfunction!(npy::open_npy, module)?)?;
    module.add_function(wrap_pyfunction!(npy::save_npy, module)?)?;
    module.add_function(wrap_pyfunction!(ops::live_handles, module)?)?;
    module.add_class::<array::PyArray>()?;
    module.add_class::<arrays::OpenedArrays>()?;
    module.add_function(wrap_pyfunction!(open::open, module)?)?;
    module.add_function(wrap_pyfunction!(open::open_raw, module)?)?;
    module.add_function(wrap_pyfunction!(storage::is_remote, module)?)?;
    module.add_class::<storage::Source>()?;
    module.add_function(wrap_pyfunction!(storage::request_counts, module)?)?;
    module.add_function(wrap_pyfunction!(save::save, module)?)?;
    module.add_function(wrap_pyfunction!(save::save_arrays, module)?)?;
    module.add_function(wrap_pyfunction!(save::save_examples, module)?)?;
    module.add_function(wrap_pyfunction!(format::format_for, module)?)?;
    module.add_function(wrap_pyfunction!(command::run_command, module)?)?;
    module.add_function(wrap_pyfunction!(command::run_inside, module)?)?;
    module.add_function(wrap_pyfunction!(ops::register_ops, module)?)?;
    module.add_function(wrap_pyfunction!(errors::error_codes, module)?)?;
    module.add_function(wrap_pyfunction!(atexit::interpreter_exits, module)?)?;
    Ok(())
}
