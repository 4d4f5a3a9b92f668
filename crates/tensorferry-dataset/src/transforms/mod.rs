//! Transformations: stages that compute, select or reorder the elements of other datasets.

pub(crate) mod batch;
pub(crate) mod combine;
pub(crate) mod map;
pub(crate) mod pack;
pub(crate) mod row_map;
pub(crate) mod select;
