//! The errors of tensors and conversion, with the data that a person needs to fix them.

mod kind;
mod layer;
mod message;
mod misfits;

pub use kind::ErrorKind;
pub use message::{Advice, InRust};
pub use misfits::{Misfits, Scalar};

use crate::convert::Casting;
use crate::{DType, Dims};
use alloc::boxed::Box;
use alloc::string::String;

/// The result of every fallible operation here.
pub type Result<T, E = Error> = core::result::Result<T, E>;

crate::layer_errors! {
    /// An error of a tensor or a conversion. [`Error::code`] is stable; the words of `Display` are
    /// not.
    pub enum Error {
        /// Values that the target dtype cannot hold, under [`Casting::Checked`].
        ValuesDoNotFit(Box<Misfits>) = "values_do_not_fit" / Overflow,
        /// The conversion has no meaning: complex to real, or float to integer under
        /// [`Casting::Wrap`].
        CastNotDefined {
            /// The source's dtype.
            from: DType,
            /// The target's dtype.
            to: DType,
            /// The requested casting.
            casting: Casting,
        } = "cast_not_defined" / Type,
        /// The source changed while it was being converted: a value did not fit, and on a
        /// second look all did.
        SourceChanged {
            /// The source's dtype.
            from: DType,
            /// The target's dtype.
            to: DType,
        } = "source_changed" / Argument,
        /// Source and destination have different shapes.
        ShapeMismatch {
            /// The source's shape.
            from: Dims,
            /// The destination's shape.
            to: Dims,
        } = "shape_mismatch" / Argument,
        /// A typed view of another type than the tensor's elements.
        DTypeMismatch {
            /// What the tensor holds.
            actual: DType,
            /// The requested dtype.
            asked: DType,
        } = "dtype_mismatch" / Type,
        /// A tensor that differs from a [`TensorSpec`](crate::TensorSpec).
        ElementMismatch {
            /// What differs.
            what: String,
        } = "element_mismatch" / Argument,
        /// More than [`crate::MAX_NDIM`] dimensions.
        TooManyDimensions {
            /// How many.
            ndim: usize,
        } = "too_many_dimensions" / Argument,
        /// The number of strides differs from the number of dimensions.
        StridesMismatch {
            /// The number of dimensions.
            ndim: usize,
            /// The number of strides.
            strides: usize,
        } = "strides_mismatch" / Argument,
        /// The bytes of an array of this shape do not fit in an `isize`.
        SizeOverflow {
            /// The shape.
            shape: Dims,
            /// Bytes per element.
            itemsize: usize,
        } = "size_overflow" / Argument,
        /// The layout reaches outside its memory.
        OutOfBounds {
            /// First byte reached, counted from the start of the memory.
            start: i128,
            /// One past the last byte reached.
            end: i128,
            /// The length of the memory in bytes.
            len: usize,
        } = "out_of_bounds" / Argument,
        /// Memory of that size is not available.
        Allocation {
            /// The requested bytes.
            bytes: usize,
        } = "allocation" / Allocation,
        /// An index with more parts than dimensions, or with two ellipses.
        TooManyIndices {
            /// The number of dimensions.
            ndim: usize,
            /// How many the index needs.
            given: usize,
        } = "too_many_indices" / Index,
        /// An index outside its dimension.
        IndexOutOfRange {
            /// The index.
            index: isize,
            /// The dimension.
            axis: usize,
            /// Its length.
            len: usize,
        } = "index_out_of_range" / Index,
        /// Memory cannot be shared as requested.
        NotShareable {
            /// The reason, and what to do.
            why: &'static str,
        } = "not_shareable" / NotShareable,
        /// Elements that cannot be viewed as the requested type: not contiguous, misaligned,
        /// byte-swapped, or invalid for it.
        NotViewable {
            /// The reason.
            why: &'static str,
        } = "not_viewable" / NotShareable,
        /// A DLPack tensor that is invalid or cannot be imported.
        DLPack {
            /// What is wrong with it.
            what: &'static str,
            /// The offending value.
            value: i128,
        } = "dlpack" / NotShareable,
        /// Elements of a dtype that tensors do not have.
        UnsupportedDType {
            /// Where it was found: `"npy header"`, `"DLPack tensor"`.
            place: &'static str,
            /// How that place writes it.
            descr: String,
        } = "unsupported_dtype" / Argument,
        /// Bytes that are not of the expected format.
        Malformed {
            /// The format: `"npy"`.
            format: &'static str,
            /// The offset of the fault.
            offset: u64,
            /// The fault, or what was expected there.
            what: String,
        } = "malformed" / FileFormat,
        /// Fewer or more bytes than the header says.
        WrongLength {
            /// The format: `"npy"`.
            format: &'static str,
            /// Bytes according to the header, header included.
            expected: u64,
            /// Bytes found.
            actual: u64,
        } = "wrong_length" / FileFormat,
    }
}

// Results travel through every hot path: an error stays within two cache lines.
const _: () = assert!(size_of::<Error>() <= 128);
