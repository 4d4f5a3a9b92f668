//! What can go wrong, with the data that a person needs to fix it.

mod component;
mod layer;
mod message;
mod misfits;

pub use component::ComponentId;
pub use message::Advice;
pub use misfits::{Misfits, Scalar};

use crate::convert::Casting;
use crate::{DType, Dims};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

/// The result of every fallible operation here.
pub type Result<T> = core::result::Result<T, Error>;

crate::layer_errors! {
    /// What went wrong. [`Error::code`] is stable; the words of `Display` are not.
    pub enum Error {
        errors {
            /// Values that the target dtype cannot hold, under [`Casting::Checked`].
            ValuesDoNotFit(Box<Misfits>) = "values_do_not_fit",
            /// The conversion has no meaning: complex to real, or float to integer under
            /// [`Casting::Wrap`].
            CastNotDefined {
                /// The source's dtype.
                from: DType,
                /// The target's dtype.
                to: DType,
                /// The requested casting.
                casting: Casting,
            } = "cast_not_defined",
            /// The source changed while it was being converted: a value did not fit, and on a
            /// second look all did.
            SourceChanged {
                /// The source's dtype.
                from: DType,
                /// The target's dtype.
                to: DType,
            } = "source_changed",
            /// Source and destination have different shapes.
            ShapeMismatch {
                /// The source's shape.
                from: Dims,
                /// The destination's shape.
                to: Dims,
            } = "shape_mismatch",
            /// A typed view of another type than the tensor's elements.
            DTypeMismatch {
                /// What the tensor holds.
                actual: DType,
                /// The requested dtype.
                asked: DType,
            } = "dtype_mismatch",
            /// More than [`crate::MAX_NDIM`] dimensions.
            TooManyDimensions {
                /// How many.
                ndim: usize,
            } = "too_many_dimensions",
            /// The number of strides differs from the number of dimensions.
            StridesMismatch {
                /// The number of dimensions.
                ndim: usize,
                /// The number of strides.
                strides: usize,
            } = "strides_mismatch",
            /// The bytes of an array of this shape do not fit in an `isize`.
            SizeOverflow {
                /// The shape.
                shape: Dims,
                /// Bytes per element.
                itemsize: usize,
            } = "size_overflow",
            /// The layout reaches outside its memory.
            OutOfBounds {
                /// First byte reached, counted from the start of the memory.
                start: i128,
                /// One past the last byte reached.
                end: i128,
                /// The length of the memory in bytes.
                len: usize,
            } = "out_of_bounds",
            /// Memory of that size is not available.
            Allocation {
                /// The requested bytes.
                bytes: usize,
            } = "allocation",
            /// An index with more parts than dimensions, or with two ellipses.
            TooManyIndices {
                /// The number of dimensions.
                ndim: usize,
                /// How many the index needs.
                given: usize,
            } = "too_many_indices",
            /// An index outside its dimension.
            IndexOutOfRange {
                /// The index.
                index: isize,
                /// The dimension.
                axis: usize,
                /// Its length.
                len: usize,
            } = "index_out_of_range",
            /// Memory cannot be shared as requested.
            NotShareable {
                /// The reason, and what to do.
                why: &'static str,
            } = "not_shareable",
            /// Elements that cannot be viewed as the requested type: not contiguous, misaligned,
            /// byte-swapped, or invalid for it.
            NotViewable {
                /// The reason.
                why: &'static str,
            } = "not_viewable",
            /// A DLPack tensor that is invalid or cannot be imported.
            DLPack {
                /// What is wrong with it.
                what: &'static str,
                /// The offending value.
                value: i128,
            } = "dlpack",
            /// Elements of a dtype that tensors do not have.
            UnsupportedDType {
                /// Where it was found: `"npy header"`, `"DLPack tensor"`.
                place: &'static str,
                /// How that place writes it.
                descr: String,
            } = "unsupported_dtype",
            /// Bytes that are not of the expected format.
            Malformed {
                /// The format: `"npy"`.
                format: &'static str,
                /// The offset of the fault.
                offset: u64,
                /// The fault, or what was expected there.
                what: String,
            } = "malformed",
            /// Fewer or more bytes than the header says.
            WrongLength {
                /// The format: `"npy"`.
                format: &'static str,
                /// Bytes according to the header, header included.
                expected: u64,
                /// Bytes found.
                actual: u64,
            } = "wrong_length",
            /// A file gave fewer bytes than it had when it was opened.
            ShortRead {
                /// Where reading began.
                offset: u64,
                /// Bytes that were there when it was opened.
                expected: usize,
                /// Bytes there are now.
                actual: usize,
            } = "short_read",
            /// A file was written to, or replaced, since it was opened.
            FileChanged {
                /// Its length when it was opened.
                was: u64,
                /// Its length now.
                is: u64,
            } = "file_changed",
            /// Bytes of a file that do not match their checksum.
            Checksum {
                /// The format: `"tfrecord"`.
                format: &'static str,
                /// Where the bytes start.
                offset: u64,
                /// The checksum in the file.
                expected: u32,
                /// The checksum of the bytes.
                actual: u32,
            } = "checksum",
            /// An argument that has no meaning.
            Argument {
                /// The function or method: `"batch"`.
                stage: &'static str,
                /// What is wrong with it, and the way out.
                what: String,
            } = "argument",
            /// Elements of different shapes where one shape is needed.
            UnequalShapes {
                /// The method: `"batch"`.
                stage: &'static str,
                /// The shape of the first element, and of one that differs.
                shapes: Box<(Dims, Dims)>,
            } = "unequal_shapes",
            /// An element that differs from the specification of its dataset.
            ElementMismatch {
                /// What differs.
                what: String,
            } = "element_mismatch",
            /// A function of the caller failed: a map, a predicate, a generator, a row reader.
            Function {
                /// Its error.
                source: Box<dyn core::error::Error + Send + Sync>,
            } = "function",
            /// A state that cannot be restored into this dataset.
            State {
                /// What differs.
                what: String,
            } = "state",
            /// A plan has more stages, or more nested datasets, than the limit.
            TooDeep {
                /// How many there may be.
                most: usize,
            } = "too_deep",
            /// An iterator in a forked process, whose elements a thread of the parent computes.
            Forked = "forked",
            /// The work was cancelled or interrupted.
            Stopped = "stopped",
            /// The operating system refused a file operation.
            #[cfg(feature = "std")]
            Io {
                /// What was being done: `"open"`, `"read"`, `"rename"`.
                action: &'static str,
                /// The file.
                path: std::path::PathBuf,
                /// What the system said.
                source: std::io::Error,
            } = "io",
        }
        wrappers {
            /// Components of different lengths where one length is needed.
            UnequalLengths {
                /// The method: `"unbatch"`.
                stage: &'static str,
                /// The dimension that is cropped; `None` of numbers of rows.
                axis: Option<usize>,
                /// Two components and their lengths.
                parts: Box<[(ComponentId, usize); 2]>,
            },
            /// The operating system refused to read a part of a file.
            #[cfg(feature = "std")]
            Read {
                /// The file.
                path: std::path::PathBuf,
                /// Where the bytes that were wanted start.
                offset: u64,
                /// How many were wanted.
                len: usize,
                /// What the system said.
                source: std::io::Error,
            },
            /// An error and the component of an element that it is about.
            InComponent {
                /// The component.
                component: ComponentId,
                /// What follows its name: `": "`, or what is known of it, such as
                /// `", of shape [4]: "`.
                about: String,
                /// What is wrong with it.
                source: Box<Error>,
            },
            /// An error and the element of a dataset it happened at.
            AtElement {
                /// The method whose element it is: `"cast"`.
                stage: &'static str,
                /// The element's index, counted among the elements of that stage.
                index: u64,
                /// What is wrong with it.
                source: Box<Error>,
            },
            /// An error and the row of a file that it happened at.
            AtRow {
                /// The row, counted in the file.
                row: u64,
                /// What is wrong with it.
                source: Box<Error>,
            },
            /// The message of an error that was part of a checkpoint.
            Saved {
                /// Its code.
                code: &'static str,
                /// What it said.
                what: String,
            },
            /// An error and the file it happened in.
            #[cfg(feature = "std")]
            InFile {
                /// The file.
                path: std::path::PathBuf,
                /// What is wrong with it.
                source: Box<Error>,
            },
        }
    }
}

// Results travel through every hot path: an error stays within two cache lines.
const _: () = assert!(size_of::<Error>() <= 128);

impl Error {
    /// A short name that never changes, for programs that tell errors apart.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AtElement { source, .. }
            | Self::AtRow { source, .. }
            | Self::InComponent { source, .. } => source.code(),
            #[cfg(feature = "std")]
            Self::InFile { source, .. } => source.code(),
            Self::Saved { code, .. } => code,
            Self::UnequalLengths { .. } => "argument",
            #[cfg(feature = "std")]
            Self::Read { .. } => "io",
            other => other.own_code().unwrap_or_default(),
        }
    }

    /// The same error, naming the element it happened at. The innermost stage that knows the
    /// element is the one that is named.
    #[must_use]
    pub fn at_element(self, stage: &'static str, index: u64) -> Self {
        match self {
            already @ (Self::AtElement { .. }
            | Self::Saved { .. }
            | Self::Stopped
            | Self::Forked
            | Self::TooDeep { .. }) => already,
            other => Self::AtElement { stage, index, source: Box::new(other) },
        }
    }

    /// The same error, naming the component that it is about by its number.
    #[must_use]
    pub fn in_component(self, at: usize) -> Self {
        self.about_component(at, ": ".into())
    }

    /// As [`Error::in_component`], with what follows the component's name: `", of shape [4]: "`.
    #[must_use]
    pub fn about_component(self, at: usize, about: String) -> Self {
        match self {
            located @ (Self::AtElement { .. }
            | Self::InComponent { .. }
            | Self::Saved { .. }
            | Self::Stopped) => located,
            source => Self::InComponent { component: at.into(), about, source: Box::new(source) },
        }
    }

    /// The same error, with the names that the user has for the components in the place of their
    /// numbers. An error of an earlier stage, whose components may be others, stays as it is.
    #[must_use]
    pub fn named(mut self, names: &[Arc<str>]) -> Self {
        match &mut self {
            Self::InComponent { component, .. } => component.named(names),
            Self::UnequalLengths { parts, .. } => {
                parts.iter_mut().for_each(|(component, _)| component.named(names))
            }
            _ => {}
        }
        self
    }

    /// The same error, naming the file it happened in.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn in_file(self, path: &std::path::Path) -> Self {
        match self {
            already @ (Self::Io { .. } | Self::Read { .. } | Self::InFile { .. }) => already,
            other => Self::InFile { path: path.to_owned(), source: Box::new(other) },
        }
    }
}
