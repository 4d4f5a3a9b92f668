//! Local files.

pub(crate) mod direct;
pub(crate) mod direct_engine;
pub(crate) mod engine;
pub(crate) mod file;
pub(crate) mod located;
pub(crate) mod natural;
pub(crate) mod pattern;
pub(crate) mod regular;
