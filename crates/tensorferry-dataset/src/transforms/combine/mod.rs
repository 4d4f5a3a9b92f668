//! Stages that combine the elements of several datasets.

pub(crate) mod choose;
pub(crate) mod concatenate;
pub(crate) mod flat_map;
pub(crate) mod inner;
pub(crate) mod interleave;
pub(crate) mod sample;
pub(crate) mod several;
pub(crate) mod zip;
