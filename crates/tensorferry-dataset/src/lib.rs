//! Datasets: arrays as batches, in any order, converted on the way, resumable.
//!
//! A [`Dataset`] is a plan: immutable, cheap to clone, and nothing is read until it is iterated.
//! Elements are lists of components (tensors). Nested structures are flattened by the caller.
//!
//! # Examples
//! ```
//! use tensorferry_core::Tensor;
//! use tensorferry_dataset::Dataset;
//!
//! let tokens = Tensor::from_vec((0_i32..10).collect(), &[10])?;
//! let dataset = Dataset::from_tensor_slices([tokens])?.take(Some(7)).batch(3)?;
//! let mut shapes = Vec::new();
//! for batch in &dataset {
//!     shapes.push(batch?[0].tensor()?.shape().to_vec());
//! }
//! assert_eq!(shapes, [[3], [3], [1]]);
//! # Ok::<(), tensorferry_dataset::Error>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

#[cfg(test)]
mod all_ways;
pub(crate) mod checkpoint;
pub(crate) mod dataset;
pub(crate) mod deep;
pub(crate) mod element_iter;
#[cfg(test)]
mod element_iter_tests;
pub(crate) mod epochs;
pub mod error;
pub(crate) mod execute;
pub(crate) mod gather;
pub(crate) mod hints;
pub(crate) mod materialize;
pub(crate) mod names;
#[cfg(test)]
mod order_tests;
pub(crate) mod promise;
pub(crate) mod request;
pub(crate) mod shuffle;
pub(crate) mod sources;
pub(crate) mod spec;
pub(crate) mod stack;
pub(crate) mod stage;
#[cfg(test)]
mod testing;
pub(crate) mod transforms;
pub(crate) mod user_fn;
pub(crate) mod value;

pub use checkpoint::change::Resharded;
pub use checkpoint::checkpoint::Checkpoint;
pub use checkpoint::state::State;
pub use epochs::EpochCounter;
pub use error::{Error, Result};
pub use execute::calls::{told, waited_for_others};
pub use execute::iter::Iter;
pub use execute::options::{Options, ReadAhead};
pub use execute::stats::IterStats;
pub use materialize::parts::DatasetParts;
pub use materialize::save::DatasetWriter;
pub use shuffle::shuffle::ShuffleOptions;
pub use sources::generator::Generator;
pub use sources::ragged::Ragged;
pub use sources::token_windows::TokenWindowsOptions;
pub use sources::values::Values;
pub use spec::{Cardinality, Component};
pub use stage::{Dataset, Element, Epoch, Value};
pub use transforms::batch::batch::BatchOptions;
pub use transforms::batch::bucket_by_sequence_length::BucketOptions;
pub use transforms::batch::padded_batch::PaddedBatchOptions;
pub use transforms::batch::strings::StringPadding;
pub use transforms::batch::window::WindowOptions;
pub use transforms::combine::interleave::InterleaveOptions;
pub use transforms::combine::sample::SampleOptions;
pub use transforms::map::apart::MapApart;
pub use transforms::map::scan::check_running;
pub use transforms::pack::packing::{PackOptions, PackStrategy};
pub use transforms::row_map::factor::Factor;
pub use transforms::row_map::flip::FlipOptions;
pub use transforms::row_map::pad_to::PadToOptions;
pub use transforms::row_map::random_crop::CropOptions;
pub use transforms::select::draw::DrawOptions;
pub use transforms::select::filter_batched::FilterOptions;
pub use transforms::select::parts::Parts;
pub use user_fn::function::{Capture, Function, failed};
pub use user_fn::sessions::{Many, ManyResults, Session};
pub use value::check;
