//! Rows that are wanted, and where they are written.

pub mod byte_order;
#[allow(unsafe_code, reason = "a prefetch instruction")]
pub mod copy;
pub mod request;
pub mod rows_out;
