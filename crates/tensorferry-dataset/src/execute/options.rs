//! How elements are computed. What they are does not depend on it.

/// How an iteration spends the machine. The elements and their order are the same whatever is
/// chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How many threads compute elements ahead; by default as many as the process may use. Only of
    /// plans that read ahead.
    pub threads: Option<usize>,
    /// Bytes of memory that an iteration takes, at most: elements that are computed or being
    /// computed, the last that was handed out, the groups of
    /// [`Dataset::shuffle_blocks`](crate::stage::Dataset::shuffle_blocks) over files that are
    /// read, of which there are fewer where there is little room, and in
    /// [`Mode::Direct`](tensorferry_io::storage::mode::Mode::Direct) 4 MiB for each thread that
    /// reads and each array that is read in order, for which threads are left out. One element is
    /// always allowed, and one thread's reads. By default 256 MiB for elements alone.
    pub memory_limit: Option<usize>,
    /// How many elements to read ahead; 0 for none. By default what the plan's `prefetch` says, and
    /// none without it.
    pub read_ahead: Option<usize>,
}

/// How far ahead of their consumer elements are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ReadAhead {
    /// As far as the engine chooses.
    Automatic,
    /// This many elements; 0 for none.
    Elements(usize),
}

impl Options {
    pub(crate) const MEMORY_LIMIT: usize = 256 << 20;
    /// What an iteration was seen to take besides.
    const UNCOUNTED: usize = 2 << 20;

    pub(crate) fn threads(&self) -> usize {
        let threads = self.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        threads.max(1)
    }

    /// What of a limit is counted: the rest is the allocator's own, the threads' stacks, the
    /// interpreter's.
    pub(crate) fn counted(limit: usize) -> usize {
        limit - limit / 32 - (limit / 8).min(Self::UNCOUNTED)
    }
}
