//! The subcommands: their arguments, and what each does with them.

mod check;
mod completions;
mod convert;
mod doctor;
mod inspect;
mod merge;
mod stream;

pub(crate) use check::Check;
pub(crate) use completions::Completions;
pub(crate) use convert::Convert;
pub(crate) use doctor::Doctor;
pub(crate) use inspect::Inspect;
pub(crate) use merge::Merge;
pub(crate) use stream::Stream;
