//! File formats: reading the arrays of files and writing files of arrays.

pub mod blocks;
pub mod by_name;
pub mod file_format;
pub mod foreign;
pub mod npy;
pub mod npz;
pub mod raw;
pub mod registry;
pub mod safetensors;
pub mod save;
#[cfg(test)]
mod tests;
pub mod tfrecord;
pub mod verify;
