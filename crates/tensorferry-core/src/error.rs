//! Everything that can go wrong, with the data a person needs to fix it.

use crate::convert::Casting;
use crate::{DType, Dims};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

/// The result of every fallible operation here.
pub type Result<T> = core::result::Result<T, Error>;

/// One value of a tensor, as an error or a summary shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Bool(bool),
    Int(i128),
    Float32(f32),
    Float64(f64),
    Complex(f64, f64),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bool(value) => f.write_str(if value { "True" } else { "False" }),
            Self::Int(value) => value.fmt(f),
            // Debug writes 1e300 and 1.0 where Display writes three hundred digits and "1".
            Self::Float32(value) => write!(f, "{value:?}"),
            Self::Float64(value) => write!(f, "{value:?}"),
            Self::Complex(re, im) => write!(f, "({re:?}{im:+?}j)"),
        }
    }
}

/// The values that a checked conversion could not carry over.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfits {
    /// The source's dtype.
    pub from: DType,
    /// The target's dtype.
    pub to: DType,
    /// How many values do not fit.
    pub count: usize,
    /// How many values there are; 0 if they were not counted, because not all were looked at.
    pub total: usize,
    /// Index of the first that does not fit, in row-major order.
    pub index: Dims,
    /// Its value.
    pub value: Scalar,
}

/// A component of a dataset's elements, as an error names it: `component 5`, `component "label"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentId {
    /// Which, counted in the order of the flattened structure.
    pub at: usize,
    /// What its user calls it: `"label"`, `["x"]["y"]`, `[1]`. `None` where only the number is
    /// known.
    pub name: Option<Arc<str>>,
}

impl ComponentId {
    fn named(&mut self, names: &[Arc<str>]) {
        if self.name.is_none() {
            self.name = names.get(self.at).cloned();
        }
    }

    fn words(&self) -> &dyn fmt::Display {
        match &self.name {
            Some(name) => name,
            None => &self.at,
        }
    }
}

impl From<usize> for ComponentId {
    fn from(at: usize) -> Self {
        Self { at, name: None }
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {}", self.words())
    }
}

/// What went wrong. [`Error::code`] is stable; the words of `Display` are not.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Values that the target dtype cannot hold, under [`Casting::Checked`].
    ValuesDoNotFit(Box<Misfits>),
    /// The conversion has no meaning: complex to real, or float to integer under [`Casting::Wrap`].
    CastNotDefined {
        /// The source's dtype.
        from: DType,
        /// The target's dtype.
        to: DType,
        /// The casting asked for.
        casting: Casting,
    },
    /// The source changed while it was being converted: a value did not fit, and on a second look
    /// all did.
    SourceChanged {
        /// The source's dtype.
        from: DType,
        /// The target's dtype.
        to: DType,
    },
    /// Source and destination have different shapes.
    ShapeMismatch {
        /// The source's shape.
        from: Dims,
        /// The destination's shape.
        to: Dims,
    },
    /// A typed view of another type than the tensor's elements.
    DTypeMismatch {
        /// What the tensor holds.
        actual: DType,
        /// What was asked for.
        asked: DType,
    },
    /// More than [`crate::MAX_NDIM`] dimensions.
    TooManyDimensions {
        /// How many.
        ndim: usize,
    },
    /// As many strides as dimensions are needed.
    StridesMismatch {
        /// The number of dimensions.
        ndim: usize,
        /// The number of strides.
        strides: usize,
    },
    /// The bytes of an array of this shape do not fit in an `isize`.
    SizeOverflow {
        /// The shape.
        shape: Dims,
        /// Bytes per element.
        itemsize: usize,
    },
    /// The layout reaches outside its memory.
    OutOfBounds {
        /// First byte reached, counted from the start of the memory.
        start: i128,
        /// One past the last byte reached.
        end: i128,
        /// How many bytes there are.
        len: usize,
    },
    /// No memory of that size is to be had.
    Allocation {
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// An index with more parts than dimensions, or with two ellipses.
    TooManyIndices {
        /// The number of dimensions.
        ndim: usize,
        /// How many the index needs.
        given: usize,
    },
    /// An index outside its dimension.
    IndexOutOfRange {
        /// The index.
        index: isize,
        /// The dimension.
        axis: usize,
        /// Its length.
        len: usize,
    },
    /// Sharing was demanded and is not sound or not possible; `why` says which and what would help.
    NotShareable {
        /// The reason, and what to do.
        why: &'static str,
    },
    /// Elements that cannot be handed out as the type asked for: not contiguous, misaligned,
    /// byte-swapped, or not valid for it.
    NotViewable {
        /// The reason.
        why: &'static str,
    },
    /// A DLPack tensor that lies or that we cannot take.
    DLPack {
        /// What is wrong with it.
        what: &'static str,
        /// The offending value.
        value: i128,
    },
    /// A DLPack tensor, file or array whose elements are of a type that tensors do not share.
    UnsupportedDType {
        /// Where it stood: `"npy header"`, `"DLPack tensor"`.
        place: &'static str,
        /// How that place writes it.
        descr: String,
    },
    /// Bytes that are not the format they should be.
    Malformed {
        /// The format: `"npy"`.
        format: &'static str,
        /// Where in the bytes.
        offset: u64,
        /// What was expected there or what is wrong.
        what: String,
    },
    /// Fewer or more bytes than the header promises.
    WrongLength {
        /// The format: `"npy"`.
        format: &'static str,
        /// Bytes the header promises, header included.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// A file gave fewer bytes than it had when it was opened.
    ShortRead {
        /// Where reading began.
        offset: u64,
        /// Bytes that were there when it was opened.
        expected: usize,
        /// Bytes there are now.
        actual: usize,
    },
    /// A file was written to, or is another one, since it was opened.
    FileChanged {
        /// Its length when it was opened.
        was: u64,
        /// Its length now.
        is: u64,
    },
    /// Bytes of a file that are not those whose checksum was written with them.
    Checksum {
        /// The format: `"tfrecord"`.
        format: &'static str,
        /// Where the bytes start.
        offset: u64,
        /// The checksum in the file.
        expected: u32,
        /// The checksum of the bytes.
        actual: u32,
    },
    /// An argument that has no meaning.
    Argument {
        /// The function or method: `"batch"`.
        stage: &'static str,
        /// What is wrong with it, and the way out.
        what: String,
    },
    /// Elements that have to be of one shape are not.
    UnequalShapes {
        /// The method: `"batch"`.
        stage: &'static str,
        /// The shape of the first element, and of one that differs.
        shapes: Box<(Dims, Dims)>,
    },
    /// Components that have to be of one length are not.
    UnequalLengths {
        /// The method: `"unbatch"`.
        stage: &'static str,
        /// The dimension that is cropped; `None` of numbers of rows.
        axis: Option<usize>,
        /// Two components and their lengths.
        parts: Box<[(ComponentId, usize); 2]>,
    },
    /// An error and the component of an element that it is about.
    InComponent {
        /// The component.
        component: ComponentId,
        /// What follows its name: `": "`, or what is known of it, such as `", of shape [4]: "`.
        about: String,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// An element that is not what its dataset's specification promises.
    ElementMismatch {
        /// What differs.
        what: String,
    },
    /// A function of the user's failed: a map, a predicate, a generator.
    Function {
        /// Its error.
        source: Box<dyn core::error::Error + Send + Sync>,
    },
    /// A state that cannot be restored into this dataset.
    State {
        /// What differs.
        what: String,
    },
    /// A plan has more stages, or more datasets made inside of each other, than it may.
    TooDeep {
        /// How many there may be.
        most: usize,
    },
    /// An iteration that a thread of the parent process computes, in a forked one.
    Forked,
    /// The iteration was stopped from outside.
    Stopped,
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
    /// An error that waited in a saved iteration, in its own words.
    Saved {
        /// Its code.
        code: &'static str,
        /// What it said.
        what: String,
    },
    /// The operating system refused a file operation.
    #[cfg(feature = "std")]
    Io {
        /// What was being done: `"open"`, `"read"`, `"rename"`.
        action: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
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
    /// An error and the file it happened in.
    #[cfg(feature = "std")]
    InFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
}

// Results travel through every hot path: an error stays within two cache lines.
const _: () = assert!(size_of::<Error>() <= 128);

impl Error {
    /// A short name that never changes, for programs that tell errors apart.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ValuesDoNotFit(_) => "values_do_not_fit",
            Self::CastNotDefined { .. } => "cast_not_defined",
            Self::SourceChanged { .. } => "source_changed",
            Self::ShapeMismatch { .. } => "shape_mismatch",
            Self::DTypeMismatch { .. } => "dtype_mismatch",
            Self::TooManyDimensions { .. } => "too_many_dimensions",
            Self::StridesMismatch { .. } => "strides_mismatch",
            Self::SizeOverflow { .. } => "size_overflow",
            Self::OutOfBounds { .. } => "out_of_bounds",
            Self::Allocation { .. } => "allocation",
            Self::TooManyIndices { .. } => "too_many_indices",
            Self::IndexOutOfRange { .. } => "index_out_of_range",
            Self::NotShareable { .. } => "not_shareable",
            Self::NotViewable { .. } => "not_viewable",
            Self::DLPack { .. } => "dlpack",
            Self::UnsupportedDType { .. } => "unsupported_dtype",
            Self::Malformed { .. } => "malformed",
            Self::WrongLength { .. } => "wrong_length",
            Self::ShortRead { .. } => "short_read",
            Self::FileChanged { .. } => "file_changed",
            Self::Checksum { .. } => "checksum",
            Self::Argument { .. } | Self::UnequalLengths { .. } => "argument",
            Self::UnequalShapes { .. } => "unequal_shapes",
            Self::ElementMismatch { .. } => "element_mismatch",
            Self::Function { .. } => "function",
            Self::State { .. } => "state",
            Self::TooDeep { .. } => "too_deep",
            Self::Forked => "forked",
            Self::Stopped => "stopped",
            Self::AtElement { source, .. }
            | Self::AtRow { source, .. }
            | Self::InComponent { source, .. } => source.code(),
            Self::Saved { code, .. } => code,
            #[cfg(feature = "std")]
            Self::Io { .. } | Self::Read { .. } => "io",
            #[cfg(feature = "std")]
            Self::InFile { source, .. } => source.code(),
        }
    }

    /// Every code that [`Error::code`] can return.
    pub const CODES: &'static [&'static str] = &[
        "values_do_not_fit",
        "cast_not_defined",
        "source_changed",
        "shape_mismatch",
        "dtype_mismatch",
        "too_many_dimensions",
        "strides_mismatch",
        "size_overflow",
        "out_of_bounds",
        "allocation",
        "too_many_indices",
        "index_out_of_range",
        "not_shareable",
        "not_viewable",
        "dlpack",
        "unsupported_dtype",
        "malformed",
        "wrong_length",
        "short_read",
        "file_changed",
        "checksum",
        "argument",
        "unequal_shapes",
        "element_mismatch",
        "function",
        "state",
        "too_deep",
        "forked",
        "stopped",
        "io",
    ];

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

    /// The method that a message of this error begins with.
    fn stage(&self) -> Option<&'static str> {
        match self {
            Self::Argument { stage, .. }
            | Self::UnequalShapes { stage, .. }
            | Self::UnequalLengths { stage, .. } => Some(stage),
            _ => None,
        }
    }

    /// Writes the message, without the method that it would begin with.
    fn without_stage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { what, .. } => f.write_str(what),
            Self::UnequalShapes { shapes, .. } => write!(
                f,
                "shape {:?} beside {:?}. Elements of one batch need one shape: pad them with \
                padded_batch, or make them equal first.",
                shapes.1.as_slice(),
                shapes.0.as_slice()
            ),
            Self::UnequalLengths { axis, parts, .. } => {
                let [(first, len), (other, its)] = &**parts;
                match axis {
                    None => write!(
                        f,
                        "the components have different numbers of rows: [{len}, {its}] in {first} \
                        and {other}. Give all as many."
                    ),
                    Some(axis) => write!(
                        f,
                        "components {} and {} are cropped at the same place, but their dimensions \
                        {axis} differ: {len} and {its}. Crop \
                         them in two steps, with which=.",
                        first.words(),
                        other.words()
                    ),
                }
            }
            Self::InComponent { component, about, source } => {
                write!(f, "{component}{about}")?;
                source.without_stage(f)
            }
            other => fmt::Display::fmt(other, f),
        }
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

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, count, total, index, value } = self;
        let (verb, values) = match (count, total) {
            (1, 1) => ("does", "value"),
            (1, _) => ("does", "values"),
            _ => ("do", "values"),
        };
        match total {
            0 => write!(f, "{from} -> {to}: not all values fit ")?,
            _ => write!(f, "{from} -> {to}: {count} of {total} {values} {verb} not fit ")?,
        }
        write!(f, "(first: {:?} = {value}; {to} holds ", index.as_slice())?;
        let part = match to {
            DType::Complex64 => DType::Float32,
            DType::Complex128 => DType::Float64,
            real => *real,
        };
        match (to.integer_range(), part.exact_integers()) {
            (Some((0, 1)), _) => f.write_str("0 and 1")?,
            (Some((low, high)), _) => write!(f, "{low}..{high}")?,
            (None, Some(exact)) if from.is_integer() => {
                write!(f, "every integer from -{exact} to {exact}, not all beyond")?
            }
            _ => write!(f, "finite values up to {}", greatest_finite(*to))?,
        }
        write!(f, "). Keep dtype=\"{from}\", or pass casting=\"saturate\"")?;
        match Casting::Wrap.is_defined(*from, *to) {
            true => f.write_str(" or casting=\"wrap\"."),
            false => f.write_str("."),
        }
    }
}

/// What a function said, `TypeError: map: ...`, less the name of the stage that begins the message
/// already.
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

fn greatest_finite(dtype: DType) -> &'static str {
    match dtype {
        DType::Float16 => "65504",
        DType::BFloat16 => "3.39e38",
        DType::Float32 | DType::Complex64 => "3.4028235e38",
        _ => "1.7976931348623157e308",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ValuesDoNotFit(misfits) => misfits.fmt(f),
            Self::CastNotDefined { from, to, casting: Casting::Wrap }
                if !matches!(from.kind(), crate::Kind::Complex) =>
            {
                write!(
                    f,
                    "{from} -> {to}: casting=\"wrap\" is not defined for floats. Pass \
                    casting=\"checked\" or casting=\"saturate\"."
                )
            }
            Self::CastNotDefined { from, to, .. } => {
                write!(
                    f,
                    "{from} -> {to}: a complex number has no real equivalent. Convert its real or \
                    imaginary part, or its absolute value."
                )
            }
            Self::SourceChanged { from, to } => {
                write!(
                    f,
                    "{from} -> {to}: the source changed while it was converted. Convert a \
                    copy, or stop the other writer."
                )
            }
            Self::ShapeMismatch { from, to } => write!(
                f,
                "shapes differ: the source is {:?}, the destination {:?}. Make the destination of \
                the source's shape.",
                from.as_slice(),
                to.as_slice()
            ),
            Self::DTypeMismatch { actual, asked } => {
                write!(
                    f,
                    "the tensor holds {actual}, not {asked}. View it as {actual}, or \
                    convert it."
                )
            }
            Self::TooManyDimensions { ndim } => {
                write!(
                    f,
                    "{ndim} dimensions; at most {} are possible. Reshape first.",
                    crate::MAX_NDIM
                )
            }
            Self::StridesMismatch { ndim, strides } => write!(
                f,
                "{ndim} dimensions but {strides} \
                strides"
            ),
            Self::SizeOverflow { shape, itemsize } => {
                write!(
                    f,
                    "shape {:?} of {itemsize}-byte elements is larger than any memory",
                    shape.as_slice()
                )
            }
            Self::OutOfBounds { start, end, len } => {
                write!(
                    f,
                    "the elements reach from byte {start} to byte {end} of a memory of \
                    {len} bytes"
                )
            }
            Self::Allocation { bytes } => {
                write!(
                    f,
                    "no memory for {bytes} bytes. Take less at once: a part of the array, a \
                    smaller batch or a smaller buffer."
                )
            }
            Self::TooManyIndices { ndim, given } => {
                write!(
                    f,
                    "too many indices: the tensor has {ndim} dimensions, {given} were \
                    indexed (an ellipsis may stand once)"
                )
            }
            Self::IndexOutOfRange { index, axis, len } => {
                write!(f, "index {index} is out of range for dimension {axis} of length {len}")
            }
            Self::NotShareable { why } => write!(f, "cannot share without a copy: {why}"),
            Self::NotViewable { why } => write!(f, "cannot view the elements in place: {why}"),
            Self::DLPack { what, value } => write!(f, "DLPack tensor: {what} ({value})"),
            Self::UnsupportedDType { place, descr } => {
                write!(
                    f,
                    "{place}: dtype {descr} is none of bool, the integers, floats and complex \
                    numbers that it shares with tensors. Convert it first."
                )
            }
            Self::Malformed { format, offset, what } => write!(
                f,
                "{format}: at byte {offset}: \
                {what}"
            ),
            Self::WrongLength { format, expected, actual } => {
                let state = if actual < expected {
                    "truncated"
                } else {
                    "longer than its header \
                    says"
                };
                write!(
                    f,
                    "{format}: {state}: the header promises {expected} bytes, there are \
                    {actual}"
                )
            }
            Self::ShortRead { offset, expected, actual } => write!(
                f,
                "at byte {offset}: {expected} bytes were there when the file was opened, {actual} \
                are left: it was truncated meanwhile"
            ),
            Self::FileChanged { was, is } => write!(
                f,
                "the file was written to since it was opened ({was} bytes then, {is} now). Open \
                it again, and replace files by \
                 renaming: whoever has the old one open keeps it."
            ),
            Self::Checksum { format, offset, expected, actual } => write!(
                f,
                "{format}: at byte {offset}: the bytes have the checksum {actual:08x}, \
                {expected:08x} was written with them: the file is damaged"
            ),
            Self::Argument { stage, .. }
            | Self::UnequalShapes { stage, .. }
            | Self::UnequalLengths { stage, .. } => {
                write!(f, "{stage}: ")?;
                self.without_stage(f)
            }
            Self::InComponent { source, .. } => {
                if let Some(stage) = source.stage() {
                    write!(f, "{stage}: ")?;
                }
                self.without_stage(f)
            }
            Self::ElementMismatch { what } | Self::Saved { what, .. } => f.write_str(what),
            Self::Function { source } => source.fmt(f),
            Self::State { what } => write!(f, "state_dict: {what}"),
            Self::TooDeep { most } => write!(
                f,
                "the plan is too deep: it has more than {most} stages, those counted that \
                functions add by returning datasets. Do the work of \
                 many stages in one map, save() the dataset half way, and let no function return \
                 the dataset that calls it."
            ),
            Self::Forked => f.write_str(
                "iterator: another thread was using it when the process was forked, and that \
                thread is not in the child process. Make the \
                 iterator in the child process.",
            ),
            Self::Stopped => f.write_str("the iteration was stopped"),
            Self::AtElement { stage, index, source } => {
                write!(f, "{stage}: element {index}: ")?;
                let said = match &**source {
                    Self::InComponent { source, .. } => source.stage(),
                    source => source.stage(),
                };
                // One prefix says where it was.
                match &**source {
                    _ if said == Some(*stage) => source.without_stage(f),
                    Self::Function { source } => f.write_str(&once(source.to_string(), stage)),
                    _ => source.fmt(f),
                }
            }
            Self::AtRow { row, source } => write!(f, "row {row}: {source}"),
            #[cfg(feature = "std")]
            Self::Io { action, path, source } => {
                write!(f, "{}: {action}: {source}", path.display())
            }
            #[cfg(feature = "std")]
            Self::Read { path, offset, len, source } => {
                write!(f, "{}: read {len} bytes at byte {offset}: {source}", path.display())
            }
            #[cfg(feature = "std")]
            Self::InFile { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Function { source } => Some(&**source),
            Self::AtElement { source, .. }
            | Self::AtRow { source, .. }
            | Self::InComponent { source, .. } => Some(source),
            #[cfg(feature = "std")]
            Self::Io { source, .. } | Self::Read { source, .. } => Some(source),
            #[cfg(feature = "std")]
            Self::InFile { source, .. } => Some(source),
            _ => None,
        }
    }
}
