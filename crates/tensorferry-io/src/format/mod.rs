//! One format per file: the bytes of a file in, its arrays out, and back.

pub mod blocks;
pub mod deflate;
pub mod encode;
pub mod example;
pub mod foreign;
pub mod npy;
pub mod npz;
pub mod raw;
pub mod safetensors;
pub mod save;
pub mod sniff;
#[cfg(test)]
mod tests;
pub mod tfrecord;
pub mod verify;
pub mod zip_directory;
