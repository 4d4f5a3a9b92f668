//! Kernels of datasets' native maps, compiled for each level of vector instructions.
//!
//! They work on packed elements in native byte order. Copies of whole rows are not here: the C
//! library chooses those by the CPU itself.

mod bytes;
mod positions;
mod scale;
#[cfg(all(test, feature = "std"))]
mod tests;

pub use bytes::{fill, reverse};
pub use positions::{all_below, set_ones, take};
pub use scale::{Factors, scale};
