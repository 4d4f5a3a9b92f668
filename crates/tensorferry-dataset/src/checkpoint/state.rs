//! The state of an iterator, as nested plain data.

use crate::error::{Error, Result};
use crate::stack::grown;
use tensorferry_core::Tensor;

/// The state of an iterator, as nested plain data.
#[derive(Debug)]
pub enum State {
    /// No state.
    Nothing,
    /// A position or a count.
    Int(u64),
    /// Buffered elements, by value.
    Tensors(Vec<Tensor>),
    /// Text, such as an error's message.
    Text(String),
    /// Nested states.
    List(Vec<State>),
}

// Stages nest lists in lists. Cloning and dropping them must not overflow the stack.
impl Clone for State {
    fn clone(&self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Int(number) => Self::Int(*number),
            Self::Tensors(tensors) => Self::Tensors(tensors.clone()),
            Self::Text(text) => Self::Text(text.clone()),
            Self::List(parts) => Self::List(grown(|| parts.clone())),
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let Self::List(parts) = self else { return };
        let mut left = std::mem::take(parts);
        while let Some(mut part) = left.pop() {
            if let Self::List(parts) = &mut part {
                left.append(parts);
            }
        }
    }
}

impl State {
    /// The number.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub fn int(&self) -> Result<u64> {
        match self {
            Self::Int(value) => Ok(*value),
            _ => Err(self.wrong("a number")),
        }
    }

    /// The parts of a list of length `len`.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub fn list(&self, len: usize) -> Result<&[State]> {
        match self {
            Self::List(parts) if parts.len() == len => Ok(parts),
            _ => Err(self.wrong("a list")),
        }
    }

    /// The parts of a list of any length.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub fn parts(&self) -> Result<&[State]> {
        match self {
            Self::List(parts) => Ok(parts),
            _ => Err(self.wrong("a list")),
        }
    }

    /// The tensors.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub fn tensors(&self) -> Result<&[Tensor]> {
        match self {
            Self::Tensors(tensors) => Ok(tensors),
            _ => Err(self.wrong("tensors")),
        }
    }

    /// The result of `read`, or `None` for [`State::Nothing`].
    pub(crate) fn optional<T>(&self, read: impl FnOnce(&Self) -> Result<T>) -> Result<Option<T>> {
        match self {
            Self::Nothing => Ok(None),
            some => read(some).map(Some),
        }
    }

    /// The code and the message of an error.
    pub(crate) fn of_error(error: &Error) -> Self {
        Self::List(vec![Self::Text(error.code().into()), Self::Text(error.to_string())])
    }

    /// The error that [`State::of_error`] saved.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub(crate) fn error(&self) -> Result<Error> {
        let [Self::Text(code), Self::Text(what)] = self.list(2)? else {
            return Err(self.wrong("an error"));
        };
        let (code, kind) = Error::all_codes()
            .into_iter()
            .find(|(known, _)| known == code)
            .ok_or_else(|| self.wrong("an error"))?;
        Ok(Error::Saved { code, kind, what: what.clone() })
    }

    fn wrong(&self, expected: &str) -> Error {
        let found = match self {
            Self::Nothing => "nothing".into(),
            Self::Int(number) => format!("the number {number}"),
            Self::Tensors(tensors) => format!("{} tensors", tensors.len()),
            Self::Text(_) => "a text".into(),
            Self::List(parts) => format!("a list of {}", parts.len()),
        };
        Error::State {
            what: format!(
                "{expected} was expected, not {found}; the state is damaged or not of this plan"
            ),
        }
    }
}
