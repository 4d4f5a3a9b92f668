//! [`Hints`]: what an iteration of a plan needs to know of its stages.

use crate::execute::options::ReadAhead;

/// Properties of a plan for its execution, computed once when a [`Dataset`] is made. They change
/// nothing about its elements.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    /// There may be fewer elements than the cardinality says, as in tf.data after `repeat` of a
    /// source of unknown length.
    pub(crate) may_end_early: bool,
    /// User functions compute the elements: compute each once, and in order.
    pub(crate) sequential: bool,
    /// One of these functions has to be called in order, by one thread at a time.
    pub(crate) one_thread: bool,
    /// The most calls at once of a function that is called on several threads; 0 if there is none.
    pub(crate) calls: usize,
    /// One of these functions takes several elements in a call: see [`Stage::get_each`].
    pub(crate) in_chunks: bool,
    /// Elements are read from files: neighbours are best read together, and ahead of time.
    pub(crate) reads_files: bool,
    /// Another epoch gives other elements or another order.
    pub(crate) depends_on_epoch: bool,
    /// Another epoch gives other elements, not only another order.
    pub(crate) elements_differ: bool,
    /// Number of arrays that bypass the page cache.
    pub(crate) direct_arrays: usize,
    /// Number of those that are read over a network.
    pub(crate) remote_arrays: usize,
    /// How many elements of a network an element takes that lie apart, so that each waits for a
    /// request of its own; 0 if none do.
    pub(crate) apart: u8,
    /// Bytes of one group of each block shuffle.
    pub(crate) group_bytes: usize,
    /// Elements are in the order of the default shuffle of rows that are read over a network:
    /// neighbours are in the same blocks.
    pub(crate) remote_groups: bool,
    /// How far ahead of the consumer the user wants elements to be computed.
    pub(crate) read_ahead: Option<ReadAhead>,
}

impl Hints {
    /// The hints of a stage that reads from both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            may_end_early: self.may_end_early || other.may_end_early,
            sequential: self.sequential || other.sequential,
            one_thread: self.one_thread || other.one_thread,
            calls: self.calls.max(other.calls),
            in_chunks: self.in_chunks || other.in_chunks,
            reads_files: self.reads_files || other.reads_files,
            depends_on_epoch: self.depends_on_epoch || other.depends_on_epoch,
            elements_differ: self.elements_differ || other.elements_differ,
            direct_arrays: self.direct_arrays.saturating_add(other.direct_arrays),
            remote_arrays: self.remote_arrays.saturating_add(other.remote_arrays),
            apart: self.apart.max(other.apart),
            group_bytes: self.group_bytes.saturating_add(other.group_bytes),
            remote_groups: self.remote_groups || other.remote_groups,
            read_ahead: self.read_ahead.max(other.read_ahead),
        }
    }
}
