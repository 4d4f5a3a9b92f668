//! The fields of a structured dtype.

use crate::{ByteOrder, DType, Dims};
use alloc::string::String;
use alloc::vec::Vec;

/// A structured dtype: the fields of a record. Nested fields are listed with the names of their
/// parents: `pos.x`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Bytes of a record, with padding.
    pub size: usize,
    /// The fields, in the order of their offsets.
    pub fields: Vec<Field>,
}

/// A field of a [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The name, after those of its parents.
    pub name: String,
    /// Offset in the record, in bytes.
    pub offset: usize,
    /// Length of each dimension within one record. Empty for a scalar.
    pub shape: Dims,
    /// Bytes from one element to the next in each dimension.
    pub strides: Vec<usize>,
    /// The dtype and byte order; the code of NumPy if tensors do not have this dtype.
    pub content: core::result::Result<(DType, ByteOrder), String>,
}
