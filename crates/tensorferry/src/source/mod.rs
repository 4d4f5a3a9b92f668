//! Arrays wherever they are: their rows by index, from memory or from files that may be larger than
//! it.
#![forbid(unsafe_code)]

mod array;
mod arrays;
mod cast;
mod convert;
mod direct;
mod file;
mod in_memory;
mod inflating;
mod joined;
mod located;
mod mode;
mod natural;
mod open;
mod packed;
mod part;
mod parts;
mod pattern;
mod progress;
mod read;
mod reader;
mod records;
mod row_source;
mod shards;
mod tensor_rows;

pub use array::Array;
pub use arrays::Arrays;
pub use mode::Mode;
pub use open::{OpenOptions, Opened, matching_files, open, open_raw, open_with};
pub use progress::Progress;
pub use reader::RowReader;
pub use row_source::Stored;
pub(crate) use row_source::{RowRun, RowSource};
pub use tensor_rows::Source;
pub(crate) use tensor_rows::plain_rows;

pub(crate) use crate::dataset::{Request, Rows};
pub(crate) use arrays::Foreign;
pub(crate) use cast::uncounted;
pub(crate) use file::{DataFile, too_many_open};
pub(crate) use located::Located;
pub(crate) use packed::swap;

#[cfg(test)]
mod tests;
