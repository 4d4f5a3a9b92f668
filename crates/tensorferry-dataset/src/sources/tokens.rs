//! A flat array of tokens, in memory or in files.

use tensorferry_core::{DType, Tensor};
use tensorferry_io::array::array::Array;
use tensorferry_io::array::tensor_rows::Source;

/// The tokens of [`Dataset::token_windows`](crate::stage::Dataset::token_windows): a tensor or an
/// opened array.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory(Source),
    /// In files. Each gather reads the tokens that its windows need.
    Opened(Array),
}

impl From<Source> for Tokens {
    fn from(source: Source) -> Self {
        Self { place: Place::Memory(source) }
    }
}

impl From<Tensor> for Tokens {
    fn from(tensor: Tensor) -> Self {
        Source::from(tensor).into()
    }
}

impl From<Array> for Tokens {
    fn from(array: Array) -> Self {
        match array.tensor() {
            Ok(tensor) => tensor.into(),
            Err(_) => Self { place: Place::Opened(array) },
        }
    }
}

impl Tokens {
    pub(crate) fn dtype(&self) -> DType {
        match &self.place {
            Place::Memory(source) => source.tensor.dtype(),
            Place::Opened(array) => array.dtype(),
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match &self.place {
            Place::Memory(source) => source.tensor.shape(),
            Place::Opened(array) => array.shape(),
        }
    }
}
