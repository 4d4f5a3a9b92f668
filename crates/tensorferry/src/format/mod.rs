//! Files: each module one format, reading and writing.
#![forbid(unsafe_code)]

mod blocks;
mod continued;
pub(crate) mod dataset;
mod deflate;
mod encode;
pub(crate) mod example;
mod flowing;
mod foreign;
mod npy;
pub(crate) mod npz;
mod raw;
mod regular;
mod replace;
mod safetensors;
mod save;
mod section;
mod sniff;
pub(crate) mod tfrecord;
mod verify;
mod zip_directory;

#[cfg(test)]
mod tests;

pub use continued::{Continued, save_continued};
pub use npy::{open_npy, save_npy};
pub use raw::Raw;
pub use regular::open_beside;
pub use replace::{can_replace, remove_leftovers, replace_file};
pub use save::{save, save_arrays, save_arrays_with};
pub use sniff::Format;
pub use verify::{Verified, verify};

pub(crate) use npy::locate as locate_npy;
pub(crate) use raw::locate as locate_raw;
pub(crate) use regular::open_to_read;
pub(crate) use replace::io;
pub(crate) use safetensors::locate as locate_safetensors;
