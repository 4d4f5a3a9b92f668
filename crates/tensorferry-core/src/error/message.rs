//! The words of errors.

use super::{Error, Misfits};
use crate::convert::Casting;
use crate::{Kind, MAX_NDIM};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// What to do about a conversion that fails, in the syntax of the caller.
///
/// Messages of conversions end with advice. [`Error::message`] takes it from here, so that each
/// language gives its own.
pub trait Advice {
    /// After the fact that values do not fit.
    fn misfits(&self, misfits: &Misfits) -> String;

    /// After the fact that floats cannot be wrapped.
    fn wrapped_float(&self) -> String;
}

/// Advice in the syntax of Rust: that of `Display`.
#[derive(Clone, Copy, Debug)]
pub struct InRust;

impl Advice for InRust {
    fn misfits(&self, misfits: &Misfits) -> String {
        let castings = misfits.possible_castings().iter();
        let castings: Vec<String> =
            castings.map(|casting| alloc::format!("Casting::{casting:?}")).collect();
        alloc::format!("Keep {}, or convert with {}.", misfits.from, castings.join(" or "))
    }

    fn wrapped_float(&self) -> String {
        "Convert with Casting::Checked or Casting::Saturate.".into()
    }
}

impl Error {
    /// The message, with advice in the syntax of the caller.
    #[must_use]
    pub fn message(&self, advice: &dyn Advice) -> String {
        Message { error: self, advice }.to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Message { error: self, advice: &InRust }.fmt(f)
    }
}

/// The same sentence as `Display`: what `main` prints when it returns an error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Error {}

/// An error, and who gives advice.
struct Message<'a> {
    error: &'a Error,
    advice: &'a dyn Advice,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Error::ValuesDoNotFit(misfits) => {
                write!(f, "{} {}", misfits.fact(), self.advice.misfits(misfits))
            }
            Error::CastNotDefined { from, to, casting: Casting::Wrap }
                if from.kind() != Kind::Complex =>
            {
                write!(
                    f,
                    "{from} -> {to}: wrapping is not defined for floats. {}",
                    self.advice.wrapped_float()
                )
            }
            Error::CastNotDefined { from, to, .. } => write!(
                f,
                "{from} -> {to}: a complex number has no real equivalent. Convert its real or \
                 imaginary part, or its absolute value."
            ),
            error => error.write_fact(f),
        }
    }
}

impl Error {
    /// The message of an error without advice in any syntax.
    fn write_fact(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ValuesDoNotFit(_) | Self::CastNotDefined { .. } => Ok(()), // written above
            Self::ElementMismatch { what } => f.write_str(what),
            Self::SourceChanged { from, to } => write!(
                f,
                "{from} -> {to}: the source changed while it was converted. Convert a copy, or \
                 stop the other writer."
            ),
            Self::ShapeMismatch { from, to } => write!(
                f,
                "shapes differ: the source is {:?}, the destination {:?}. Make the destination \
                 of the source's shape.",
                from.as_slice(),
                to.as_slice()
            ),
            Self::DTypeMismatch { actual, asked } => {
                write!(
                    f,
                    "the tensor holds {actual}, not {asked}. View it as {actual}, or convert it."
                )
            }
            Self::TooManyDimensions { ndim } => {
                write!(f, "{ndim} dimensions; at most {MAX_NDIM} are possible. Reshape first.")
            }
            Self::StridesMismatch { ndim, strides } => {
                write!(f, "{ndim} dimensions but {strides} strides")
            }
            Self::SizeOverflow { shape, itemsize } => write!(
                f,
                "shape {:?} of {itemsize}-byte elements is larger than any memory",
                shape.as_slice()
            ),
            Self::OutOfBounds { start, end, len } => write!(
                f,
                "the elements reach from byte {start} to byte {end} of a memory of {len} bytes"
            ),
            Self::Allocation { bytes } => write!(
                f,
                "no memory for {bytes} bytes. Take less at once: a part of the array, a smaller \
                 batch or a smaller buffer."
            ),
            Self::TooManyIndices { ndim, given } => write!(
                f,
                "too many indices: the tensor has {ndim} dimensions, {given} were indexed (an \
                 ellipsis may stand once)"
            ),
            Self::IndexOutOfRange { index, axis, len } => {
                write!(f, "index {index} is out of range for dimension {axis} of length {len}")
            }
            Self::NotShareable { why } => write!(f, "cannot share without a copy: {why}"),
            Self::NotViewable { why } => write!(f, "cannot view the elements in place: {why}"),
            Self::DLPack { what, value } => write!(f, "DLPack tensor: {what} ({value})"),
            Self::UnsupportedDType { place, descr } => write!(
                f,
                "{place}: dtype {descr} is none of bool, the integers, floats and complex \
                 numbers that it shares with tensors. Convert it first."
            ),
            Self::Malformed { format, offset, what } => {
                write!(f, "{format}: at byte {offset}: {what}")
            }
            Self::WrongLength { format, expected, actual } => {
                let state =
                    if actual < expected { "truncated" } else { "longer than its header says" };
                write!(
                    f,
                    "{format}: {state}: the header promises {expected} bytes, there are {actual}"
                )
            }
        }
    }
}
