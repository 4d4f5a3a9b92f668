//! One format per file: the bytes of a file in, its arrays out, and back.

pub(crate) mod blocks;
pub(crate) mod deflate;
pub(crate) mod encode;
pub(crate) mod example;
pub(crate) mod foreign;
pub(crate) mod npy;
pub(crate) mod npz;
pub(crate) mod raw;
pub(crate) mod safetensors;
pub(crate) mod save;
pub(crate) mod sniff;
#[cfg(test)]
mod tests;
pub(crate) mod tfrecord;
pub(crate) mod verify;
pub(crate) mod zip_directory;
