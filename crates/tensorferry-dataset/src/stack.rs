//! Stack space for deep plans: the depth limit and stack growth.
//!
//! # Rationale
//! Stages call each other, so each stage of a plan takes stack on the calling thread. A Python
//! thread may have only 512 KiB. A plan has at most [`DEEPEST`] stages, and every [`STEP`]th call
//! checks the remaining stack and continues on a new piece where little is left. Threads of
//! ordinary size never need one.

use crate::error::{Error, Result};

/// The most stages from a source to the end of a plan, datasets made by its functions included.
pub(crate) const DEEPEST: usize = 2000;
/// The most nested lists in a state. A stage nests a few.
pub(crate) const NESTED: usize = 8 * DEEPEST;

/// Stages between two checks of the stack.
pub(crate) const STEP: usize = 32;
/// Bytes of stack that [`STEP`] stages need at most. The largest measured stage takes 5 KiB in an
/// unoptimised build.
const LEAST: usize = 384 << 10;
/// Bytes of a new piece of stack.
const PIECE: usize = 4 << 20;

/// Runs one level of a recursion; `depth` is its level.
pub(crate) fn at_depth<T>(depth: usize, run: impl FnOnce() -> T) -> T {
    if depth % STEP == STEP - 1 { grown(run) } else { run() }
}

/// Runs `run` with stack for [`STEP`] stages.
pub(crate) fn grown<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEAST, PIECE, run)
}

/// Refuses a plan of too many stages.
///
/// # Errors
/// [`Error::TooDeep`].
pub(crate) fn check_depth(depth: usize) -> Result<()> {
    if depth > DEEPEST { Err(Error::TooDeep { most: DEEPEST }) } else { Ok(()) }
}
