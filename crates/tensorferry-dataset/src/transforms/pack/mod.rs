//! Packing rows of tokens into windows of one length.

pub(crate) mod best_fit;
pub(crate) mod fit_index;
pub(crate) mod fragments;
pub(crate) mod pack_iter;
pub(crate) mod packing;
pub(crate) mod row_feed;
pub(crate) mod stage;
pub(crate) mod window_index;
