//! How elements are computed. What they are does not depend on it.

/// How an iteration spends the machine. The elements and their order are the same whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How many threads compute elements ahead; by default as many as the process may use. Only of plans that read ahead.
    pub threads: Option<usize>,
    /// Bytes of elements that are computed or being computed and not yet handed out, at most; one element is always allowed. By default
    /// 256 MiB.
    pub memory_limit: Option<usize>,
    /// How many elements to read ahead; 0 for none. By default what the plan's `prefetch` says, and none without it.
    pub read_ahead: Option<usize>,
}

impl Options {
    const MEMORY_LIMIT: usize = 256 << 20;

    pub(crate) fn threads(&self) -> usize {
        let threads = self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        threads.max(1)
    }

    pub(crate) fn memory_limit(&self) -> usize {
        let limit = self.memory_limit.unwrap_or(Self::MEMORY_LIMIT);
        // What is left is for what nobody counts: the allocator's own, the threads' stacks, the element that was just handed out.
        limit - limit / 32
    }
}
