//! The errors of datasets.

mod advice;
mod component;
mod message;

pub use advice::{Advice, Hint};
pub use component::ComponentId;

use std::path::Path;
use std::sync::Arc;
use tensorferry_core::{Dims, ErrorKind, layer_errors};
use tensorferry_io::Error as IoError;

/// The result of every fallible operation here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

layer_errors! {
    /// An error of a dataset. [`Error::code`] is stable; the words of `Display` are not.
    ///
    /// Errors of the layers below convert into it. Arguments, interruptions and failed functions
    /// become the variants of those names here.
    pub enum Error {
        /// An argument that has no meaning.
        Argument {
            /// The function or method: `"batch"`.
            stage: &'static str,
            /// What is wrong with it, and the way out.
            what: String,
        } = "argument" / Argument,
        /// An index for which the dataset has no element.
        NoElement {
            /// The method: `"select"`.
            stage: &'static str,
            /// The index's position among the indices.
            position: u64,
            /// The index.
            index: i128,
            /// How many elements there are; `None` if there is no end.
            len: Option<u64>,
        } = "index_out_of_range" / Index,
        /// Elements of different shapes where one shape is needed.
        UnequalShapes {
            /// The method: `"batch"`.
            stage: &'static str,
            /// The shape of the first element, and of one that differs.
            shapes: Box<(Dims, Dims)>,
        } = "unequal_shapes" / Argument,
        /// Components of different lengths where one length is needed.
        UnequalLengths {
            /// The method: `"unbatch"`.
            stage: &'static str,
            /// The dimension that is cropped; `None` for numbers of rows.
            axis: Option<usize>,
            /// Two components and their lengths.
            parts: Box<[(ComponentId, usize); 2]>,
        } = "argument" / Argument,
        /// An element that differs from the specification of its dataset.
        ElementMismatch {
            /// What differs.
            what: String,
        } = "element_mismatch" / Argument,
        /// A function of the caller failed: a map, a predicate, a generator, a row reader.
        Function {
            /// Its error. If it is [`tensorferry_core::Error::Allocation`], or one of its sources
            /// is, stages that collect elements stop there.
            source: Box<dyn std::error::Error + Send + Sync>,
        } = "function" / Function,
        /// A checkpoint that cannot be restored into this dataset.
        State {
            /// What differs.
            what: String,
        } = "state" / Argument,
        /// A plan has more stages, or more nested datasets, than the limit.
        TooDeep {
            /// How many there may be.
            most: usize,
        } = "too_deep" / PlanTooDeep,
        /// An iterator in a forked process, whose elements a thread of the parent computes.
        Forked = "forked" / Precondition,
        /// The work was cancelled or interrupted.
        Interrupted = "interrupted" / Interrupted,
    }
    wrappers {
        /// An error of a tensor or a conversion.
        Core(tensorferry_core::Error),
        /// An error of a file.
        Io(Box<IoError>),
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
        /// An error, and the option that is the way out.
        WithHint {
            /// The option.
            hint: Hint,
            /// What is wrong.
            source: Box<Error>,
        },
        /// The message of an error that was part of a checkpoint.
        Saved {
            /// Its code.
            code: &'static str,
            /// Its kind.
            kind: ErrorKind,
            /// What it said.
            what: String,
        },
    }
}

// Results travel through every hot path: an error stays within two cache lines.
const _: () = assert!(size_of::<Error>() <= 128);

impl Error {
    /// The codes of all errors of the library, each with its kind.
    #[must_use]
    pub fn all_codes() -> Vec<(&'static str, ErrorKind)> {
        let mut all = [tensorferry_core::Error::CODES, IoError::CODES, Self::CODES].concat();
        all.sort_unstable_by_key(|&(code, _)| code);
        all.dedup();
        all
    }

    /// The code and kind of an error that has those of another.
    fn wrapped(&self) -> (&'static str, ErrorKind) {
        match self {
            Self::Core(source) => (source.code(), source.kind()),
            Self::Io(source) => (source.code(), source.kind()),
            Self::Saved { code, kind, .. } => (code, *kind),
            located => (located.innermost().code(), located.innermost().kind()),
        }
    }

    /// The error without the element, component and hint that it is reported with.
    #[must_use]
    pub fn innermost(&self) -> &Self {
        match self {
            Self::AtElement { source, .. }
            | Self::InComponent { source, .. }
            | Self::WithHint { source, .. } => source.innermost(),
            own => own,
        }
    }

    /// The error of a tensor or a conversion that this one is about.
    #[must_use]
    pub fn core(&self) -> Option<&tensorferry_core::Error> {
        match self.innermost() {
            Self::Core(error) => Some(error),
            Self::Io(error) => error.core(),
            _ => None,
        }
    }

    /// The error of the operating system that this one is about.
    #[must_use]
    pub fn system(&self) -> Option<&std::io::Error> {
        match self.innermost() {
            Self::Io(error) => error.system(),
            _ => None,
        }
    }

    /// The same error, with the option that is the way out.
    pub(crate) fn with_hint(self, hint: Hint) -> Self {
        Self::WithHint { hint, source: Box::new(self) }
    }

    /// The same error, naming the element it happened at. The innermost stage that knows the
    /// element is the one that is named.
    #[must_use]
    pub fn at_element(self, stage: &'static str, index: u64) -> Self {
        match self {
            already @ (Self::AtElement { .. }
            | Self::Saved { .. }
            | Self::Interrupted
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
            | Self::Interrupted) => located,
            source => Self::InComponent { component: at.into(), about, source: Box::new(source) },
        }
    }

    /// The same error, with the names that the user has for the components in the place of their
    /// numbers. An error of an earlier stage, whose components may be others, stays as it is.
    #[must_use]
    pub fn named(mut self, names: &[Arc<str>]) -> Self {
        self.name_components(names);
        self
    }

    fn name_components(&mut self, names: &[Arc<str>]) {
        match self {
            Self::InComponent { component, .. } => component.named(names),
            Self::WithHint { source, .. } => source.name_components(names),
            Self::UnequalLengths { parts, .. } => {
                parts.iter_mut().for_each(|(component, _)| component.named(names));
            }
            _ => {}
        }
    }
}

/// An error of the format `format` in a file or directory.
pub(crate) fn malformed(format: &'static str, what: String, path: &Path) -> Error {
    let error = tensorferry_core::Error::Malformed { format, offset: 0, what };
    IoError::from(error).in_file(path).into()
}

impl From<IoError> for Error {
    fn from(error: IoError) -> Self {
        match error {
            IoError::Core(error) => error.into(),
            IoError::Interrupted => Self::Interrupted,
            IoError::Function { source } => Self::Function { source },
            other => Self::Io(Box::new(other)),
        }
    }
}

impl From<tensorferry_core::Error> for Error {
    fn from(error: tensorferry_core::Error) -> Self {
        match error {
            tensorferry_core::Error::ElementMismatch { what } => Self::ElementMismatch { what },
            other => Self::Core(other),
        }
    }
}
