//! Local files.

pub mod direct;
pub mod direct_engine;
pub mod engine;
pub mod file;
pub mod located;
pub mod natural;
pub mod pattern;
pub mod regular;
