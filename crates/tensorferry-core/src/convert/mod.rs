//! How a value changes dtype.

mod casting;

pub use casting::Casting;
