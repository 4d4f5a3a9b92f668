//! Rows that are wanted, and where they are written.

pub(crate) mod copy;
pub(crate) mod rows_out;
