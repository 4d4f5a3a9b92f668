//! The memory budget of an iteration: groups of its block shuffles, and the rest for batches.
//!
//! # Rationale
//! Each pass over a block shuffle makes a *track* of up to three groups: the one that elements are
//! taken from, the next one, which is being read, and the previous one, for threads that are
//! behind, until a quarter of the current group is taken; of a network, the one after the next then
//! has its place. Passes at different positions have
//! separate tracks, so neither evicts what the other needs. All groups together stay within the
//! part of the budget that is reserved for them. If that is small, tracks are shorter, and a group
//! without room is read row by row, so no thread ever waits for memory.
//!
//! # Limitations
//! Passes are told apart by their positions. Two passes that are a few groups apart share a track
//! until one has been behind for a while. The groups of an abandoned pass are dropped when another
//! pass begins later, or with the iterator.

use crate::error::{Error, Result};
use crate::execute::options::Options;
use crate::execute::reservation::Reservation;
use crate::hints::Hints;
use crate::shuffle::block_order::BlockOrder;
use crate::shuffle::group_buffer::{GroupBuffer, Kind};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tensorferry_io::storage::local::direct::READER;
use tensorferry_io::sync::fork_safe::ForkSafe;

/// Part of a limit that arrays of a network are read ahead with, together.
const READAHEAD: usize = 4;
/// Bytes of a thread that reads from a network: the buffers of a large request. What is received
/// goes into elements.
const REMOTE_READER: usize = 1 << 20;
/// Maximum groups of a track.
const MOST_GROUPS: usize = 3;
/// Maximum distance in groups between a thread and its track, ahead or behind.
const NEAR: u64 = 64;
/// Number of recent requests for evicted groups of a track, after which they count as those of
/// another pass, which is behind.
const PATIENCE: u32 = 8;
/// Requests to other tracks after which a track counts as abandoned.
const STALE: u64 = 64;

/// The memory that one iteration may use, and the memory that it uses.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    /// The user's limit. Without one, groups take what they need, and readers are not counted.
    limit: Option<usize>,
    /// Bytes that batches and groups share.
    shared: usize,
    threads: usize,
    /// Number of threads that the user wants, and of arrays that bypass the page cache.
    wanted: (usize, usize),
    /// Bytes that a reading thread uses beside elements.
    reader: usize,
    /// Bytes that each array of a network may be read ahead.
    readahead: Option<usize>,
    /// Bytes of `shared` that are reserved for groups, and bytes that batches use.
    reserved: AtomicUsize,
    in_flight: AtomicUsize,
    tracks: ForkSafe<Tracks>,
}

#[derive(Debug, Default)]
struct Tracks {
    all: Vec<Track>,
    /// Bytes of live groups, including those of dropped tracks while rows are copied from them.
    in_use: Arc<AtomicUsize>,
    /// Number of requests so far.
    now: u64,
    warned: bool,
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    /// Sorted by number.
    groups: VecDeque<Arc<GroupBuffer>>,
    /// Bytes of one group.
    bytes: usize,
    touched: u64,
    /// Recent requests for evicted groups.
    missed: u32,
    /// Value of [`Tracks::now`] when counting `missed` began.
    since: u64,
    is_over: bool,
}

impl MemoryBudget {
    /// The budget of an iteration.
    ///
    /// `hints` are those of the plan.
    pub(crate) fn new(hints: &Hints, options: &Options) -> Self {
        let Hints { direct_arrays, remote_arrays, group_bytes, .. } = *hints;
        let wanted = (options.threads_for(hints.apart), direct_arrays);
        let reader = if direct_arrays > remote_arrays { READER } else { REMOTE_READER };
        let readahead = options.memory_limit.filter(|_| remote_arrays > 0);
        let readahead = readahead.map(|limit| Options::counted(limit) / READAHEAD);
        let (threads, shared) = match options.memory_limit {
            Some(limit) => shares(limit - readahead.unwrap_or(0), wanted, reader),
            None => (wanted.0, Options::counted(Options::MEMORY_LIMIT)),
        };
        let budget = Self {
            limit: options.memory_limit,
            shared,
            threads,
            wanted,
            reader,
            readahead: readahead.map(|bytes| bytes / remote_arrays.max(1)),
            reserved: AtomicUsize::default(),
            in_flight: AtomicUsize::default(),
            tracks: ForkSafe::reset_by_fork(Tracks::default()),
        };
        budget
            .reserved
            .store(group_bytes.saturating_mul(MOST_GROUPS).min(budget.most()), Ordering::Relaxed);
        budget
    }

    /// Bytes that each array of a network may be read ahead, if memory is limited.
    pub(crate) fn readahead(&self) -> Option<usize> {
        self.readahead
    }

    /// How many threads may compute elements.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of elements that may be in flight.
    pub(crate) fn for_batches(&self) -> usize {
        self.shared.saturating_sub(if self.limit.is_some() {
            self.reserved.load(Ordering::Relaxed)
        } else {
            0
        })
    }

    /// Records the bytes of elements in flight, beyond the one that is always allowed.
    pub(crate) fn note(&self, bytes: usize) {
        self.in_flight.store(bytes, Ordering::Relaxed);
    }

    /// Maximum bytes of groups: a quarter is left for batches.
    fn most(&self) -> usize {
        self.limit.map_or(usize::MAX, |_| of_groups(self.shared))
    }

    /// Refuses a shuffle if not even one of its groups fits.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub(crate) fn check(&self, kind: &Kind, order: &BlockOrder) -> Result<()> {
        let (bytes, most) = (kind.group_bytes(order), self.most());
        let Some(limit) = self.limit.filter(|_| bytes > most) else { return Ok(()) };
        let mut least = limit;
        while of_groups(shares(least, self.wanted, self.reader).1) < bytes && least < usize::MAX {
            least = least.saturating_add(least / 64 + 1);
        }
        let what = format!(
            "a group of {} rows needs {bytes} bytes, and a memory_limit of {limit} leaves {most} \
                for groups, beside batches and readers. Give a memory_limit of {least} or more, \
                or a smaller buffer_size.",
            order.group_len(),
        );
        Err(Error::Argument { stage: "shuffle", what })
    }

    /// The group `number`, whose rows need not be in memory yet; `None` if its rows are better read
    /// one by one. A pass that `goes_on` may begin a track. `besides` is the number of other groups
    /// that it also asks for.
    pub(crate) fn group(
        &self,
        kind: &Kind,
        number: u64,
        besides: u64,
        goes_on: bool,
        order: &BlockOrder,
    ) -> Option<Arc<GroupBuffer>> {
        let mut tracks = self.tracks()?;
        tracks.now += 1;
        let now = tracks.now;
        if let Some((track, at)) = tracks.find(kind, number) {
            track.touched = now;
            return track.groups.get(at).map(Arc::clone);
        }
        if !goes_on {
            return None;
        }
        let same = || tracks.all.iter().enumerate().filter(|(_, track)| track.kind == *kind);
        let goes_on = same()
            .filter_map(|(at, track)| Some((track.distance(number)?, at)))
            .filter(|(distance, _)| *distance <= NEAR + besides);
        let goes_on = goes_on.min().map(|(_, at)| at);
        let behind = same().find(|(_, track)| track.was_at(number)).map(|(at, _)| at);
        let at = match (goes_on, behind) {
            (Some(at), _) => at,
            (None, Some(at)) if tracks.all[at].misses(now) < PATIENCE => return None,
            _ => self.begin(&mut tracks, kind, order)?,
        };
        let depth = self.depth(&tracks);
        let track = &mut tracks.all[at];
        track.touched = now;
        while track.groups.len() >= depth {
            track.groups.pop_front();
        }
        self.add(&mut tracks, at, number, order)
    }

    /// The group after this one, to be read ahead, if there is room for it.
    pub(crate) fn next(
        &self,
        group: &Arc<GroupBuffer>,
        order: &BlockOrder,
    ) -> Option<Arc<GroupBuffer>> {
        let mut tracks = self.tracks()?;
        let number = group.group().number + 1;
        if let Some((track, at)) = tracks.find(group.kind(), number) {
            return track.groups.get(at).map(Arc::clone);
        }
        let depth = self.depth(&tracks);
        let at =
            tracks.all.iter().position(|track| track.has(group) && track.groups.len() < depth)?;
        self.add(&mut tracks, at, number, order)
    }

    /// Records that elements up to `end` of the order were taken, `step` at a time, the last from
    /// `group`. Evicts the groups before it once a quarter of it is taken.
    pub(crate) fn taken(&self, group: &Arc<GroupBuffer>, end: u64, step: u64, all: u64) {
        let elements = &group.group().elements;
        let (is_over, is_on) = (
            end + step >= all,
            end - elements.start >= (elements.end - elements.start).div_ceil(4),
        );
        if !is_over && !is_on {
            return;
        }
        let Some(mut tracks) = self.tracks() else { return };
        for track in tracks.all.iter_mut().filter(|track| track.has(group)) {
            track.is_over |= is_over;
            if is_on {
                track.groups.retain(|other| other.group().number >= group.group().number);
            }
        }
    }

    /// The tracks of this process. A fork resets them: the child lacks the threads that read the
    /// groups.
    fn tracks(&self) -> Option<std::sync::MutexGuard<'_, Tracks>> {
        Some(self.tracks.lock())
    }

    /// How many groups a track may have.
    fn depth(&self, tracks: &Tracks) -> usize {
        let room =
            if self.limit.is_some() { self.reserved.load(Ordering::Relaxed) } else { usize::MAX };
        room.checked_div(tracks.bytes()).unwrap_or(MOST_GROUPS).clamp(1, MOST_GROUPS)
    }

    /// Begins a track, if there is room for one group of each track.
    fn begin(&self, tracks: &mut Tracks, kind: &Kind, order: &BlockOrder) -> Option<usize> {
        let (bytes, most, now) = (kind.group_bytes(order), self.most(), tracks.now);
        tracks.all.retain(|track| {
            now - track.touched < if track.is_over { PATIENCE.into() } else { STALE }
        });
        if tracks.bytes().saturating_add(bytes) > most {
            if !std::mem::replace(&mut tracks.warned, true) {
                log::warn!(
                    "memory_limit has no room for a group of each pass over a block shuffle; rows \
                        are \
                    read one by one"
                );
            }
            return None;
        }
        tracks.all.push(Track {
            kind: kind.clone(),
            groups: VecDeque::new(),
            bytes,
            touched: now,
            missed: 0,
            since: now,
            is_over: false,
        });
        // The plan does not know the shuffles of datasets that its functions make.
        let least = if self.reserved.load(Ordering::Relaxed) == 0 {
            bytes.saturating_mul(MOST_GROUPS)
        } else {
            tracks.bytes()
        };
        self.reserved.fetch_max(least.min(most), Ordering::Relaxed);
        Some(tracks.all.len() - 1)
    }

    /// Adds a group to a track, if there is room for it.
    fn add(
        &self,
        tracks: &mut Tracks,
        at: usize,
        number: u64,
        order: &BlockOrder,
    ) -> Option<Arc<GroupBuffer>> {
        let bytes = tracks.all[at].bytes;
        let has_room = |tracks: &Tracks| {
            let used = tracks.in_use.load(Ordering::Relaxed).saturating_add(bytes);
            // Batches may still use memory that was reserved for groups just now.
            let room = self.shared.saturating_sub(self.in_flight.load(Ordering::Relaxed));
            self.limit.is_none() || used <= self.reserved.load(Ordering::Relaxed).min(room)
        };
        if !has_room(tracks) {
            tracks
                .all
                .iter_mut()
                .filter(|track| track.is_over)
                .for_each(|track| track.groups.clear());
            if !has_room(tracks) {
                return None;
            }
        }
        let track = &mut tracks.all[at];
        let group = Arc::new(GroupBuffer::new(
            track.kind.clone(),
            order,
            number,
            Reservation::new(&tracks.in_use, track.bytes),
        ));
        let place = track.groups.partition_point(|other| other.group().number < number);
        track.groups.insert(place, Arc::clone(&group));
        Some(group)
    }
}

/// Splits a limit into a number of threads, at most those wanted, and the bytes that batches and
/// groups share, at least half of what is counted. A reading thread uses `reader` bytes.
fn shares(limit: usize, (threads, windows): (usize, usize), reader: usize) -> (usize, usize) {
    let counted = Options::counted(limit);
    if windows == 0 {
        return (threads, counted);
    }
    // The consumer reads too.
    let threads = (counted / 2 / reader).saturating_sub(1 + windows).clamp(1, threads);
    let readers = reader.saturating_mul((1 + windows).saturating_add(threads));
    (threads, counted - readers.min(counted / 2))
}

/// Maximum bytes of groups out of those that they share with batches.
fn of_groups(shared: usize) -> usize {
    shared / 4 * 3
}

impl Tracks {
    /// The track that has a group, and the group's index in it. Of several tracks, the one in which
    /// it comes first.
    fn find(&mut self, kind: &Kind, number: u64) -> Option<(&mut Track, usize)> {
        let tracks = self.all.iter_mut().filter(|track| track.kind == *kind);
        let place =
            |track: &Track| track.groups.iter().position(|group| group.group().number == number);
        tracks.filter_map(|track| place(track).map(|at| (track, at))).min_by_key(|(_, at)| *at)
    }

    /// Bytes of one group of each pass that is not over.
    fn bytes(&self) -> usize {
        self.all
            .iter()
            .filter(|track| !track.is_over)
            .fold(0, |sum, track| sum.saturating_add(track.bytes))
    }
}

impl Track {
    fn has(&self, group: &Arc<GroupBuffer>) -> bool {
        self.groups.iter().any(|other| Arc::ptr_eq(other, group))
    }

    /// Number of groups from the end of the track to `number`; `None` if the track begins after it.
    fn distance(&self, number: u64) -> Option<u64> {
        match (self.groups.front(), self.groups.back()) {
            (Some(first), Some(last)) => {
                (number >= first.group().number).then(|| number.saturating_sub(last.group().number))
            }
            _ => (!self.is_over).then_some(0),
        }
    }

    /// Whether the track had the group recently, at most [`NEAR`] groups ago.
    fn was_at(&self, number: u64) -> bool {
        self.groups
            .front()
            .is_some_and(|first| (number..=number + NEAR).contains(&first.group().number))
    }

    /// Counts a request for an evicted group, and returns the number of recent ones.
    fn misses(&mut self, now: u64) -> u32 {
        if now - self.since > STALE {
            (self.since, self.missed) = (now, 0);
        }
        self.missed += 1;
        self.missed
    }
}

#[cfg(test)]
mod tests;
