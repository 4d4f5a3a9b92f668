//! Sources: stages without inputs.

pub(crate) mod elements;
pub(crate) mod files;
pub(crate) mod generator;
pub(crate) mod opened_windows;
pub(crate) mod ragged;
pub(crate) mod random_values;
pub(crate) mod range;
pub(crate) mod row_splits;
pub(crate) mod rows;
pub(crate) mod slices;
pub(crate) mod tensors;
pub(crate) mod token_windows;
pub(crate) mod values;
pub(crate) mod window_starts;
