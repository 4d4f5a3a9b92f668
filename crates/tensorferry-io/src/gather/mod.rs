//! Gathering rows: requests, outputs, and copies.

pub mod byte_order;
#[allow(unsafe_code, reason = "a prefetch instruction")]
pub mod copy;
pub mod request;
pub mod rows_out;
