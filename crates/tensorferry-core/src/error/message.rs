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

/// Advice in the syntax of Rust.
struct InRust;

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

    /// The method that the message begins with.
    fn stage(&self) -> Option<&'static str> {
        match self {
            Self::Argument { stage, .. }
            | Self::UnequalShapes { stage, .. }
            | Self::UnequalLengths { stage, .. } => Some(stage),
            _ => None,
        }
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

impl core::error::Error for Error {
    /// The cause of the innermost error, if the message does not contain it already.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Function { source } => source.source(),
            Self::AtElement { source, .. }
            | Self::AtRow { source, .. }
            | Self::InComponent { source, .. } => source.source(),
            #[cfg(feature = "std")]
            Self::Io { source, .. } | Self::Read { source, .. } => source.source(),
            #[cfg(feature = "std")]
            Self::InFile { source, .. } => source.source(),
            _ => None,
        }
    }
}

/// An error, and who gives advice.
struct Message<'a> {
    error: &'a Error,
    advice: &'a dyn Advice,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Error::InComponent { source, .. } => {
                if let Some(stage) = source.stage() {
                    write!(f, "{stage}: ")?;
                }
                self.without_stage(f)
            }
            Error::AtElement { stage, index, source } => {
                write!(f, "{stage}: element {index}: ")?;
                self.of(source).after_stage(stage, f)
            }
            Error::AtRow { row, source } => write!(f, "row {row}: {}", self.of(source)),
            #[cfg(feature = "std")]
            Error::InFile { path, source } => write!(f, "{}: {}", path.display(), self.of(source)),
            error => {
                if let Some(stage) = error.stage() {
                    write!(f, "{stage}: ")?;
                }
                self.without_stage(f)
            }
        }
    }
}

impl<'a> Message<'a> {
    fn of(&self, error: &'a Error) -> Self {
        Self { error, ..*self }
    }

    /// The message after one that began with `stage`: the name is not repeated.
    fn after_stage(&self, stage: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = match self.error {
            Error::InComponent { source, .. } => source.stage(),
            error => error.stage(),
        };
        match self.error {
            _ if own == Some(stage) => self.without_stage(f),
            Error::Function { source } => f.write_str(&once(source.to_string(), stage)),
            _ => fmt::Display::fmt(self, f),
        }
    }

    fn without_stage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Error::InComponent { component, about, source } => {
                write!(f, "{component}{about}")?;
                self.of(source).without_stage(f)
            }
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
            error => write_tensor_error(error, f),
        }
    }
}

/// Errors of tensors and conversion.
fn write_tensor_error(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::SourceChanged { from, to } => write!(
            f,
            "{from} -> {to}: the source changed while it was converted. Convert a copy, or stop \
             the other writer."
        ),
        Error::ShapeMismatch { from, to } => write!(
            f,
            "shapes differ: the source is {:?}, the destination {:?}. Make the destination of the \
             source's shape.",
            from.as_slice(),
            to.as_slice()
        ),
        Error::DTypeMismatch { actual, asked } => {
            write!(f, "the tensor holds {actual}, not {asked}. View it as {actual}, or convert it.")
        }
        Error::TooManyDimensions { ndim } => {
            write!(f, "{ndim} dimensions; at most {MAX_NDIM} are possible. Reshape first.")
        }
        Error::StridesMismatch { ndim, strides } => {
            write!(f, "{ndim} dimensions but {strides} strides")
        }
        Error::SizeOverflow { shape, itemsize } => write!(
            f,
            "shape {:?} of {itemsize}-byte elements is larger than any memory",
            shape.as_slice()
        ),
        Error::OutOfBounds { start, end, len } => write!(
            f,
            "the elements reach from byte {start} to byte {end} of a memory of {len} bytes"
        ),
        Error::Allocation { bytes } => write!(
            f,
            "no memory for {bytes} bytes. Take less at once: a part of the array, a smaller batch \
             or a smaller buffer."
        ),
        Error::TooManyIndices { ndim, given } => write!(
            f,
            "too many indices: the tensor has {ndim} dimensions, {given} were indexed (an ellipsis \
             may stand once)"
        ),
        Error::IndexOutOfRange { index, axis, len } => {
            write!(f, "index {index} is out of range for dimension {axis} of length {len}")
        }
        Error::NotShareable { why } => write!(f, "cannot share without a copy: {why}"),
        Error::NotViewable { why } => write!(f, "cannot view the elements in place: {why}"),
        Error::DLPack { what, value } => write!(f, "DLPack tensor: {what} ({value})"),
        Error::UnsupportedDType { place, descr } => write!(
            f,
            "{place}: dtype {descr} is none of bool, the integers, floats and complex numbers that \
             it shares with tensors. Convert it first."
        ),
        Error::Malformed { format, offset, what } => {
            write!(f, "{format}: at byte {offset}: {what}")
        }
        Error::WrongLength { format, expected, actual } => {
            let state = if actual < expected { "truncated" } else { "longer than its header says" };
            write!(f, "{format}: {state}: the header promises {expected} bytes, there are {actual}")
        }
        error => write_file_error(error, f),
    }
}

/// Errors of files.
fn write_file_error(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::ShortRead { offset, expected, actual } => write!(
            f,
            "at byte {offset}: {expected} bytes were there when the file was opened, {actual} are \
             left: it was truncated meanwhile"
        ),
        Error::FileChanged { was, is } => write!(
            f,
            "the file was written to since it was opened ({was} bytes then, {is} now). Open it \
             again. To replace a file that may be open, rename another over it."
        ),
        Error::Checksum { format, offset, expected, actual } => write!(
            f,
            "{format}: at byte {offset}: the bytes have the checksum {actual:08x}, {expected:08x} \
             was written with them: the file is damaged"
        ),
        #[cfg(feature = "std")]
        Error::Io { action, path, source } => {
            write!(f, "{}: {action}: {source}", path.display())
        }
        #[cfg(feature = "std")]
        Error::Read { path, offset, len, source } => {
            write!(f, "{}: read {len} bytes at byte {offset}: {source}", path.display())
        }
        error => write_dataset_error(error, f),
    }
}

/// Errors of datasets.
fn write_dataset_error(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::Argument { what, .. }
        | Error::ElementMismatch { what }
        | Error::Saved { what, .. } => f.write_str(what),
        Error::UnequalShapes { shapes, .. } => write!(
            f,
            "shape {:?} beside {:?}. Elements of one batch need one shape: pad them with \
             padded_batch, or make them equal first.",
            shapes.1.as_slice(),
            shapes.0.as_slice()
        ),
        Error::UnequalLengths { axis, parts, .. } => {
            let [(first, len), (other, its)] = &**parts;
            match axis {
                None => write!(
                    f,
                    "the components have different numbers of rows: [{len}, {its}] in {first} and \
                     {other}. Give all as many."
                ),
                Some(axis) => write!(
                    f,
                    "components {} and {} are cropped at the same place, but their dimensions \
                     {axis} differ: {len} and {its}. Crop them in two steps, with which=.",
                    first.words(),
                    other.words()
                ),
            }
        }
        Error::Function { source } => fmt::Display::fmt(source, f),
        Error::State { what } => write!(f, "state_dict: {what}"),
        Error::TooDeep { most } => write!(
            f,
            "the plan is too deep: it has more than {most} stages, including those that functions \
             add by returning datasets. Do the work of many stages in one map, save() the dataset \
             half way, and let no function return the dataset that calls it."
        ),
        Error::Forked => f.write_str(
            "iterator: another thread was using it when the process was forked, and that thread is \
             not in the child process. Make the iterator in the child process.",
        ),
        Error::Stopped => f.write_str("the iteration was stopped"),
        _ => Ok(()),
    }
}

/// The message of a function, `TypeError: map: ...`, without the stage's name, which already begins
/// the whole message.
fn once(said: String, stage: &str) -> String {
    let class = |kind: &str| {
        kind.is_empty() || kind.strip_suffix(": ").is_some_and(|class| !class.contains([' ', ':']))
    };
    let own = said
        .find(stage)
        .filter(|&at| class(&said[..at]) && said[at + stage.len()..].starts_with(": "));
    match own {
        Some(at) => alloc::format!("{}{}", &said[..at], &said[at + stage.len() + 2..]),
        None => said,
    }
}
