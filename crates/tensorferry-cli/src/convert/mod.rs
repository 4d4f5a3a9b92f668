//! Writing converted files: which files hold what, and the journal of an interrupted conversion.

mod content;
mod journal;
mod target;

pub(crate) use journal::Journal;
pub(crate) use target::{Target, TargetOptions, already_exists, exists, within};
