//! Datasets: plans, their iterators, and what carries elements between Rust and Python. Structures are Python's affair; here elements
//! are flat lists of components, and a `Packer` knows how to nest them.

mod format;
mod iterator;
mod packer;
mod plan;
mod sources;
mod spec;

use pyo3::prelude::*;

/// Adds what this module has to `_internal`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<plan::Plan>()?;
    module.add_class::<packer::Packer>()?;
    module.add_class::<iterator::DatasetIterator>()?;
    module.add_function(wrap_pyfunction!(sources::from_tensor_slices, module)?)?;
    Ok(())
}
