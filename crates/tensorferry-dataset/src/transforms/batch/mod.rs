//! Batches and windows of elements, and their inverse.

#[allow(clippy::module_inception, reason = "a stage has the name of its folder")]
pub(crate) mod batch;
pub(crate) mod bucket_by_sequence_length;
pub(crate) mod gathered;
pub(crate) mod group_by_window;
pub(crate) mod measured;
pub(crate) mod padded_batch;
mod padding;
pub(crate) mod picked;
pub(crate) mod ragged_batch;
pub(crate) mod rebatch;
pub(crate) mod stacked;
pub(crate) mod strings;
pub(crate) mod unbatch;
pub(crate) mod window;
pub(crate) mod window_iter;
