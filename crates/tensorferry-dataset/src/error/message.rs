//! The words of errors.

use super::{Advice, Error};
use std::fmt;
use tensorferry_core::InRust;

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
            | Self::NoElement { stage, .. }
            | Self::UnequalLengths { stage, .. } => Some(stage),
            Self::InComponent { source, .. } | Self::WithHint { source, .. } => source.stage(),
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

impl std::error::Error for Error {
    /// The cause of the innermost error, if the message does not contain it already.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.innermost() {
            Self::Function { source } => source.source(),
            Self::Io(error) => error.source(),
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
        if let Some(stage) = self.error.stage() {
            write!(f, "{stage}: ")?;
        }
        self.without_stage(f)
    }
}

impl<'a> Message<'a> {
    fn of(&self, error: &'a Error) -> Self {
        Self { error, ..*self }
    }

    /// The message without the method that it begins with.
    fn without_stage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Error::InComponent { component, about, source } => {
                write!(f, "{component}{about}")?;
                self.of(source).without_stage(f)
            }
            Error::AtElement { stage, index, source } => {
                write!(f, "{stage}: element {index}: ")?;
                self.of(source).after_stage(stage, f)
            }
            Error::WithHint { hint, source } => {
                self.of(source).without_stage(f)?;
                write!(f, " {}", self.advice.choose(*hint))
            }
            Error::Core(error) => f.write_str(&error.message(self.advice)),
            Error::Io(error) => f.write_str(&error.message(self.advice)),
            error => error.write_fact(f),
        }
    }

    /// The message after one that began with `stage`: the name is not repeated.
    fn after_stage(&self, stage: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            error if error.stage() == Some(stage) => self.without_stage(f),
            Error::Function { source } => f.write_str(&once(source.to_string(), stage)),
            _ => fmt::Display::fmt(self, f),
        }
    }
}

impl Error {
    /// The message of an error without advice in any syntax.
    fn write_fact(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { what, .. }
            | Self::ElementMismatch { what }
            | Self::Saved { what, .. } => f.write_str(what),
            Self::NoElement { position, index, len: None, .. } => write!(
                f,
                "index {index} at position {position} has no element: the dataset is infinite and \
                 is not counted from its end"
            ),
            Self::NoElement { position, index, len: Some(len), .. } => write!(
                f,
                "index {index} at position {position} is out of range: the dataset has {len} \
                 elements. Indices are less than {len} and at least -{len}."
            ),
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
                         {axis} differ: {len} and {its}.",
                        first.words(),
                        other.words()
                    ),
                }
            }
            Self::Function { source } => fmt::Display::fmt(source, f),
            Self::State { what } => write!(f, "state_dict: {what}"),
            Self::TooDeep { most } => write!(
                f,
                "the plan is too deep: it has more than {most} stages, including those that \
                 functions add by returning datasets. Do the work of many stages in one map, \
                 save() the dataset half way, and let no function return the dataset that calls \
                 it."
            ),
            Self::Forked => f.write_str(
                "iterator: another thread was using it when the process was forked, and that \
                 thread is not in the child process. Make the iterator in the child process.",
            ),
            Self::Interrupted => f.write_str("the iteration was interrupted"),
            Self::Core(_)
            | Self::Io(_)
            | Self::InComponent { .. }
            | Self::AtElement { .. }
            | Self::WithHint { .. } => Ok(()), // written above
        }
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
        Some(at) => format!("{}{}", &said[..at], &said[at + stage.len() + 2..]),
        None => said,
    }
}
