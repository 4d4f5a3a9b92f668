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

use crate::{Error, Result};
use names::Names;
use node::{Change, Context, Node};
use random::Seed;
use std::fmt;
use std::sync::Arc;

/// A plan: where elements come from and what becomes of them. Cloning shares it.
#[derive(Clone)]
pub struct Dataset {
    pub(crate) node: Arc<dyn Node>,
    /// What the user calls the components.
    names: Names,
    /// Stages from the furthest source to this one.
    pub(crate) depth: usize,
    captures: captures::Captures,
    /// See [`Dataset::keeping`].
    kept: Option<Capture>,
}

impl Dataset {
    /// The components of each element.
    #[must_use]
    pub fn spec(&self) -> &[Component] {
        self.node.spec()
    }

    /// How many elements there are.
    #[must_use]
    pub fn cardinality(&self) -> Cardinality {
        self.node.cardinality()
    }

    /// Whether element `i` can be computed from `i` alone: then the state of an iteration is a
    /// position.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.node.is_indexed()
    }

    /// Whether elements are computed in order, by one thread at a time, because a function of the
    /// user's is called for them.
    #[must_use]
    pub fn is_sequential(&self) -> bool {
        self.node.is_sequential()
    }

    /// Whether another epoch gives other elements, or another order.
    #[must_use]
    pub fn depends_on_epoch(&self) -> bool {
        self.node.depends_on_epoch()
    }

    /// Element `index` of the plan's first epoch.
    ///
    /// # Errors
    /// [`Error::Argument`] if the plan is not indexed or has no such element; what computing the
    /// element fails with.
    pub fn get(&self, index: u64) -> Result<Element> {
        self.get_in(index, Epoch(0))
    }

    /// Element `index` of an epoch.
    ///
    /// # Errors
    /// As [`Dataset::get`].
    pub fn get_in(&self, index: u64, epoch: Epoch) -> Result<Element> {
        let inside = match self.cardinality() {
            Cardinality::Finite(n) => index < n,
            _ => true,
        };
        if !self.is_indexed() || !inside {
            let what = format!(
                "element {index} of {:?}; indexed: {}",
                self.cardinality(),
                self.is_indexed()
            );
            return Err(Error::Argument { stage: "get", what });
        }
        self.node.get(index, &Context::new(epoch, Stop::default()))
    }

    /// The plan in words, by which a saved state knows it: `from_tensor_slices(10 x (int32[])) |
    /// take(7)`.
    #[must_use]
    pub fn plan(&self) -> String {
        self.to_string()
    }

    /// The seeds that were drawn because the user gave none, inputs first.
    pub(crate) fn drawn_seeds(&self) -> Vec<u64> {
        self.draws().iter().map(|seed| seed.value).collect()
    }

    /// As [`Dataset::drawn_seeds`], with what tells one draw from another.
    pub(crate) fn draws(&self) -> Vec<Seed> {
        let inputs = self.node.inputs();
        self.deep(|| {
            inputs.iter().flat_map(Self::draws).chain(self.node.drawn_seed().cloned()).collect()
        })
    }

    /// The same plan with what `change` says changed. Stages before the first change are shared.
    pub(crate) fn rebuild(&self, change: &mut Change) -> Result<Self> {
        let seeds_alone = change.resharded.is_none();
        let before = self.node.inputs();
        let inputs = self.deep(|| {
            before.iter().map(|input| input.rebuild(change)).collect::<Result<Vec<Self>>>()
        })?;
        let same = before.iter().zip(&inputs).all(|(before, now)| before.is(now));
        if seeds_alone && same && self.node.drawn_seed().is_none() {
            return Ok(self.clone());
        }
        Ok(Self {
            names: self.names.clone(),
            kept: self.kept.clone(),
            ..self.node.rebuild(inputs, change)?
        })
    }

    /// Whether this is the very same stage as another dataset's last.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

/// The plan, from source to last stage: `from_tensor_slices(10 x (int32[])) | take(7) | batch(3)`.
impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deep(|| self.write(f))
    }
}

impl Dataset {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs = self.node.inputs();
        // A stage that says nothing changes nothing about the elements.
        if let ([input], true) = (inputs.as_slice(), self.node.describe().is_empty()) {
            return fmt::Display::fmt(input, f);
        }
        match inputs.as_slice() {
            [] => {}
            [input] => write!(f, "{input} | ")?,
            many => {
                f.write_str("[")?;
                for (at, input) in many.iter().enumerate() {
                    write!(f, "{}{input}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("] | ")?;
            }
        }
        f.write_str(&self.node.describe())
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({self})")
    }
}
