//! Datasets: arrays as batches, in any order, converted on the way, resumable.
//!
//! A [`Dataset`] is a plan: immutable, cheap to clone, and nothing is read until it is iterated.
//! Elements are lists of components (tensors); whoever has nested structures flattens them.
//!
//! # Examples
//! ```
//! use tensorferry::{Tensor, dataset::Dataset};
//!
//! let tokens = Tensor::from_vec((0_i32..10).collect(), &[10])?;
//! let dataset = Dataset::from_tensor_slices([tokens])?.take(Some(7)).batch(3, false)?;
//! let mut shapes = Vec::new();
//! for batch in &dataset {
//!     shapes.push(batch?[0].tensor()?.shape().to_vec());
//! }
//! assert_eq!(shapes, [[3], [3], [1]]);
//! # Ok::<(), tensorferry::Error>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(test)]
mod all_ways;
mod batch;
mod block_order;
mod block_shuffle;
mod boxes;
mod cache;
mod captures;
mod cast;
mod choose;
mod components;
mod concatenate;
mod counted;
mod dataset;
mod deep;
mod elements;
mod encode;
mod enumerate;
mod execute;
mod filter;
mod flat_map;
mod flip;
mod fold;
mod function;
mod generator;
mod group_by_window;
mod held;
mod held_group;
mod inner;
mod interleave;
mod load;
mod lookup;
mod map;
mod mapped;
mod names;
mod node;
mod one_hot;
mod options;
#[cfg(test)]
mod order_tests;
mod orders;
mod pad_to;
mod padded_batch;
mod passes;
mod permutation;
mod placeholder;
mod positions;
mod prefetch;
mod promise;
mod random;
mod random_crop;
mod random_values;
mod range;
mod rebatch;
mod repeat;
mod reshard;
mod room;
mod rows;
mod sample;
mod save;
mod saved;
mod scale;
mod scan;
mod shard;
mod shared;
mod shuffle;
mod shuffle_buffer;
mod skip;
mod slices;
mod spec;
mod state;
mod stop;
#[cfg(test)]
mod stream_tests;
mod take;
mod take_while;
mod tensors;
#[cfg(test)]
mod testing;
mod times;
mod token_windows;
mod unbatch;
mod unique;
mod window;
mod zip;

pub use crate::source::Source;
pub use captures::Capture;
pub use dataset::Dataset;
pub use execute::Iter;
pub use function::{Function, failed};
pub use generator::Generator;
pub use node::{Element, Epoch, Value, check};
pub use options::Options;
pub use passes::Passes;
pub use prefetch::ReadAhead;
pub use save::Saving;
pub use saved::Saved;
pub use scan::check_running;
pub use spec::{Cardinality, Component, Shape, TensorSpec};
pub use state::{Resharded, State};
pub use stop::{Stop, interrupt, interruptible};
pub use times::Times;

pub(crate) use node::{Request, Rows, copy_view, filled, normalise_bools, packed, run};
pub(crate) use room::Room;
