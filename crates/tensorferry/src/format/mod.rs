//! Files: each module one format, reading and writing.
#![forbid(unsafe_code)]

mod npy;
mod replace;

pub use npy::{open_npy, save_npy};
