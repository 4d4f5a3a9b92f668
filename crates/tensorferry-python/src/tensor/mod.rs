//! `tensorferry.Tensor`, and the conversions that make one.

mod buffer;
pub(crate) mod convert;
mod methods;
pub(crate) mod object;
