//! How elements are computed. These options do not change the elements.

use crate::hints::Hints;

/// Requests that hide the latency of a network: 64 of 400 kB with 30 ms to the first byte bring
/// three quarters of 1 GB/s.
const REQUESTS: u64 = 64;

/// How an iteration uses threads and memory. The elements and their order do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Threads that compute elements ahead, for plans that read ahead. By default, the number of
    /// CPUs that the process may use. If each element waits for a request to a network, as a
    /// shuffle of batches does, there are up to 64.
    pub threads: Option<usize>,
    /// Maximum memory of an iteration, in bytes. It covers elements that are computed or in
    /// progress, the last one that was handed out, and the groups of
    /// [`Dataset::shuffle_blocks`](crate::stage::Dataset::shuffle_blocks) over files that are read.
    /// In [`Mode::Direct`](tensorferry_io::Mode::Direct) it also covers 4 MiB for
    /// each thread that reads and each array that is read in order. If memory is short, there are
    /// fewer groups and threads. One element and the reads of one thread are always allowed. By
    /// default, 256 MiB for elements alone.
    pub memory_limit: Option<usize>,
    /// Number of elements to read ahead; 0 for none. By default, as the plan's `prefetch` says.
    /// Without a `prefetch`, only plans that read files read ahead.
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
    /// Memory that iterations were measured to use beyond what is counted, in bytes.
    const UNCOUNTED: usize = 2 << 20;

    pub(crate) fn threads(&self) -> usize {
        let threads = self.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        threads.max(1)
    }

    /// How many threads compute the elements of a plan. Those that wait for a network need no CPU,
    /// so there are enough of them to have [`REQUESTS`] under way.
    pub(crate) fn threads_for(&self, hints: &Hints) -> usize {
        match REQUESTS.checked_div(hints.apart).and_then(|most| usize::try_from(most).ok()) {
            Some(most) if self.threads.is_none() => self.threads().max(most),
            _ => self.threads(),
        }
    }

    /// The part of a limit that is counted. The rest is left for the allocator, thread stacks and
    /// the interpreter.
    pub(crate) fn counted(limit: usize) -> usize {
        limit - limit / 32 - (limit / 8).min(Self::UNCOUNTED)
    }
}
