//! Datasets: plans, their iterators, and the conversion of elements between Rust and Python.
//! Elements here are flat lists of components; a `Packer` nests them into Python structures.

mod apart;
mod callee;
mod captured;
mod eager;
mod format;
mod functions;
mod iterator;
mod native;
mod nested;
mod overlap;
mod packer;
mod parts;
mod plan;
mod plan_methods;
mod ragged;
mod rows;
mod session;
mod sources;
pub(crate) mod spec;
mod state;
mod stored;
mod text;
pub(crate) mod value;

use pyo3::prelude::*;

/// Adds the classes and functions of this module to `_internal`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<plan::Plan>()?;
    module.add_class::<packer::Packer>()?;
    module.add_class::<apart::MapApart>()?;
    module.add_class::<iterator::DatasetIterator>()?;
    module.add_class::<stored::PartsOfDataset>()?;
    module.add_function(wrap_pyfunction!(sources::from_tensor_slices, module)?)?;
    module.add_function(wrap_pyfunction!(sources::from_tensors, module)?)?;
    module.add_function(wrap_pyfunction!(rows::open_rows, module)?)?;
    module.add_function(wrap_pyfunction!(sources::range, module)?)?;
    module.add_function(wrap_pyfunction!(sources::zip, module)?)?;
    module.add_function(wrap_pyfunction!(ragged::token_windows, module)?)?;
    module.add_function(wrap_pyfunction!(sources::random, module)?)?;
    module.add_function(wrap_pyfunction!(sources::sample_from_datasets, module)?)?;
    module.add_function(wrap_pyfunction!(sources::choose_from_datasets, module)?)?;
    module.add_function(wrap_pyfunction!(value::describe, module)?)?;
    module.add_function(wrap_pyfunction!(eager::check_eager, module)?)?;
    module.add_function(wrap_pyfunction!(functions::map, module)?)?;
    module.add_function(wrap_pyfunction!(functions::cpus, module)?)?;
    module.add_function(wrap_pyfunction!(functions::filter, module)?)?;
    module.add_function(wrap_pyfunction!(functions::take_while, module)?)?;
    module.add_function(wrap_pyfunction!(functions::from_generator, module)?)?;
    module.add_function(wrap_pyfunction!(functions::scan, module)?)?;
    module.add_function(wrap_pyfunction!(functions::fold, module)?)?;
    module.add_function(wrap_pyfunction!(nested::placeholder, module)?)?;
    module.add_function(wrap_pyfunction!(nested::flat_map, module)?)?;
    module.add_function(wrap_pyfunction!(nested::interleave, module)?)?;
    module.add_function(wrap_pyfunction!(nested::group_by_window, module)?)?;
    module.add_function(wrap_pyfunction!(state::merge_states, module)?)?;
    module.add_function(wrap_pyfunction!(stored::save_dataset, module)?)?;
    module.add_function(wrap_pyfunction!(stored::load_dataset, module)?)?;
    module.add_function(wrap_pyfunction!(ragged::from_ragged, module)?)?;
    module.add_function(wrap_pyfunction!(ragged::ragged_batch, module)?)?;
    module.add_function(wrap_pyfunction!(ragged::bucket_by_sequence_length, module)?)?;
    module.add_function(wrap_pyfunction!(ragged::pack, module)?)?;
    module.add_function(wrap_pyfunction!(native::cast, module)?)?;
    module.add_function(wrap_pyfunction!(native::scale, module)?)?;
    module.add_function(wrap_pyfunction!(native::scale_each, module)?)?;
    module.add_function(wrap_pyfunction!(native::one_hot, module)?)?;
    module.add_function(wrap_pyfunction!(native::lookup, module)?)?;
    module.add_function(wrap_pyfunction!(native::random_crop, module)?)?;
    module.add_function(wrap_pyfunction!(native::flip, module)?)?;
    module.add_function(wrap_pyfunction!(native::pad_to, module)?)?;
    module.add_function(wrap_pyfunction!(parts::get, module)?)?;
    module.add_function(wrap_pyfunction!(parts::get_batch, module)?)?;
    module.add_function(wrap_pyfunction!(parts::select, module)?)?;
    module.add_function(wrap_pyfunction!(parts::stride, module)?)?;
    module.add_function(wrap_pyfunction!(parts::split, module)?)?;
    module.add_function(wrap_pyfunction!(parts::draw, module)?)?;
    module.add_function(wrap_pyfunction!(parts::filter_batched, module)?)?;
    module.add_function(wrap_pyfunction!(parts::filter_components, module)?)?;
    Ok(())
}
