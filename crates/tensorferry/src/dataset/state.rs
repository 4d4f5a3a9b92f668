//! What an iteration saves and how it goes on from there.

use super::Component;
use super::node::{Element, Value, check};
use crate::{Error, Result, Tensor};

/// The state of a stream, as nested plain data.
#[derive(Clone, Debug)]
pub enum State {
    /// Nothing needs to be known.
    Nothing,
    /// A position or a count.
    Int(u64),
    /// Elements held back, by value.
    Tensors(Vec<Tensor>),
    /// A word, such as an error's message.
    Text(String),
    /// Parts.
    List(Vec<State>),
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

    /// The parts, of which there have to be `len`.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub fn list(&self, len: usize) -> Result<&[State]> {
        match self {
            Self::List(parts) if parts.len() == len => Ok(parts),
            _ => Err(self.wrong("a list")),
        }
    }

    /// The parts, however many.
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

    /// The tensors, which have to be as `spec` says.
    ///
    /// # Errors
    /// [`Error::State`] if it is something else.
    pub(crate) fn tensors_as(&self, spec: &[Component]) -> Result<Vec<Tensor>> {
        let tensors = self.tensors()?;
        let element: Element = tensors.iter().cloned().map(Value::from).collect();
        check(&element, spec)
            .map_err(|error| Error::State { what: format!("{error}; the state is damaged or not of this plan") })?;
        Ok(tensors.to_vec())
    }

    fn wrong(&self, expected: &str) -> Error {
        Error::State { what: format!("{expected} was expected, not {self:?}; the state is damaged or not of this plan") }
    }
}

/// Where the shards of a run had come to, when it goes on with another number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resharded {
    /// How many elements each old shard had handed out, in the order of their indices.
    pub positions: Vec<u64>,
}
