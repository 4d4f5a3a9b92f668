//! Groups of blocks in memory, for a shuffle of blocks whose rows are slow to read one by one.
//!
//! # Rationale
//! A group is read in parts of some megabytes, each of whole blocks and by one gather of the input. Whoever needs rows of a group reads what
//! nobody has begun of it and waits for the rest; then it reads as large a share of the next group as it took of this one. So nobody waits
//! for a whole group but the first, and the threads that compute batches keep the device busy.
//!
//! # Limitations
//! There are up to [`MOST_GROUPS`] in memory: threads that are behind may still need the one before. It is let go once all of it was taken. Two
//! passes at a time over one dataset, at places far apart, push each other's groups out, and read them again and again.

use super::Dataset;
use super::block_order::{BlockOrder, Group};
use super::node::{Context, Request, Rows};
use crate::buffers::pool;
use crate::direct::briefly;
use crate::{Buffer, Error, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of rows that are read at a time.
const PART_BYTES: usize = 4 << 20;
/// Groups in memory.
const MOST_GROUPS: usize = 3;
/// How long to wait before looking whether anybody still does.
const GLANCE: Duration = Duration::from_millis(50);

/// Rows of which components are held, and of which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) round: u64,
    pub(super) which: Vec<usize>,
    /// Bytes of a row of each of these.
    pub(super) rows: Vec<usize>,
}

/// The groups that were asked for last, and the process they are in.
#[derive(Default)]
pub(super) struct Held(Mutex<(u32, VecDeque<Arc<HeldGroup>>)>);

/// A group that is in memory, or on its way there.
pub(super) struct HeldGroup {
    kind: Kind,
    group: Group,
    /// Blocks of a part.
    blocks: u64,
    /// Elements that nobody has taken yet.
    left: AtomicU64,
    parts: Mutex<Vec<Part>>,
    /// A part was read, or could not be.
    changed: Condvar,
}

#[derive(Clone)]
enum Part {
    Wanted,
    /// Somebody reads it.
    UnderWay,
    /// The rows of each component.
    There(Arc<[Buffer]>),
}

impl Held {
    /// The group of that number, of which nothing need be in memory; `None` if this cannot be said just now.
    pub(super) fn group(&self, kind: &Kind, number: u64, order: &BlockOrder) -> Option<Arc<HeldGroup>> {
        let mut held = briefly(&self.0)?;
        if held.0 != std::process::id() {
            // In a forked process nobody reads what was under way.
            *held = (std::process::id(), VecDeque::new());
        }
        let same = |one: &&Arc<HeldGroup>| one.group.number == number && one.kind == *kind;
        if let Some(found) = held.1.iter().find(same) {
            return Some(Arc::clone(found));
        }
        let group = Arc::new(HeldGroup::new(kind.clone(), order.group(number), order.block()));
        held.1.push_back(Arc::clone(&group));
        if held.1.len() > MOST_GROUPS {
            held.1.pop_front();
        }
        Some(group)
    }

    /// Whether a group is kept.
    pub(super) fn has(&self, kind: &Kind, number: u64) -> bool {
        let held = briefly(&self.0).filter(|held| held.0 == std::process::id());
        held.is_some_and(|held| held.1.iter().any(|one| one.group.number == number && one.kind == *kind))
    }

    /// Keeps a group no longer.
    pub(super) fn forget(&self, group: &Arc<HeldGroup>) {
        if let Some(mut held) = briefly(&self.0) {
            held.1.retain(|other| !Arc::ptr_eq(other, group));
        }
    }
}

impl HeldGroup {
    fn new(kind: Kind, group: Group, block: u64) -> Self {
        let bytes = kind.rows.iter().sum::<usize>().max(1) as u64;
        let blocks = (PART_BYTES as u64 / bytes / block).max(1);
        let parts = index(group.blocks.div_ceil(blocks));
        let left = AtomicU64::new(group.elements.end - group.elements.start);
        Self { kind, group, blocks, left, parts: Mutex::new(vec![Part::Wanted; parts]), changed: Condvar::new() }
    }

    /// Copies the rows of these elements of the order, which are of this group.
    pub(super) fn copy(
        &self,
        requests: &[Request],
        out: &mut [Rows<'_>],
        input: &Dataset,
        order: &BlockOrder,
        cx: &Context,
    ) -> Result<()> {
        let parts = self.whole(input, order, cx)?;
        for request in requests {
            let place = order.place(&self.group, request.index);
            let part = &parts[index(place.block / self.blocks)];
            let row = index(place.block % self.blocks * order.block() + place.element);
            for ((rows, buffer), &len) in out.iter_mut().zip(part.iter()).zip(&self.kind.rows) {
                rows.slot(request.slot).copy_from_slice(&buffer.as_slice()[row * len..(row + 1) * len]);
            }
        }
        Ok(())
    }

    /// Reads as large a share of this group as element `end` ends of another.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(super) fn keep_up(&self, other: &Self, end: u64, input: &Dataset, order: &BlockOrder, cx: &Context) -> Result<()> {
        let elements = &other.group.elements;
        let (taken, all) = (u128::from(end.saturating_sub(elements.start)), u128::from(elements.end - elements.start).max(1));
        loop {
            let mut parts = self.lock();
            let begun = parts.iter().filter(|part| !matches!(part, Part::Wanted)).count() as u128;
            if begun * all >= taken * parts.len() as u128 {
                return Ok(());
            }
            let Some(claim) = self.claim(&mut parts) else { return Ok(()) };
            drop(parts);
            match claim.read(input, order, cx) {
                Ok(()) => {}
                Err(Error::Stopped) => return Err(Error::Stopped),
                // Whoever needs these rows finds out.
                Err(_) => return Ok(()),
            }
        }
    }

    /// Whether all elements were taken, now that so many more are.
    pub(super) fn is_used_up(&self, taken: usize) -> bool {
        let taken = taken as u64;
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(taken)));
        before.is_ok_and(|left| left <= taken)
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// All parts, read by this thread as far as nobody else does.
    fn whole(&self, input: &Dataset, order: &BlockOrder, cx: &Context) -> Result<Vec<Arc<[Buffer]>>> {
        let mut parts = self.lock();
        loop {
            if let Some(claim) = self.claim(&mut parts) {
                drop(parts);
                claim.read(input, order, cx)?;
                parts = self.lock();
                continue;
            }
            let there = |part: &Part| if let Part::There(rows) = part { Some(Arc::clone(rows)) } else { None };
            if let Some(all) = parts.iter().map(there).collect() {
                return Ok(all);
            }
            cx.stop.check()?;
            (parts, _) = self.changed.wait_timeout(parts, GLANCE).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part that nobody has begun.
    fn claim(&self, parts: &mut [Part]) -> Option<Claim<'_>> {
        let at = parts.iter().position(|part| matches!(part, Part::Wanted))?;
        parts[at] = Part::UnderWay;
        Some(Claim { held: self, at })
    }
}

/// A part that this thread reads; if it does not, others may.
struct Claim<'a> {
    held: &'a HeldGroup,
    at: usize,
}

impl Claim<'_> {
    fn read(self, input: &Dataset, order: &BlockOrder, cx: &Context) -> Result<()> {
        let HeldGroup { kind, group, blocks, .. } = self.held;
        let first = self.at as u64 * blocks;
        let slots = (group.blocks - first).min(*blocks) * order.block();
        let slots = usize::try_from(slots).map_err(|_| Error::Allocation { bytes: usize::MAX })?;
        let mut requests = Vec::with_capacity(slots);
        for (block, start) in (first..group.blocks.min(first + blocks)).zip((0..slots).step_by(index(order.block()))) {
            requests.extend(order.sources(group, block).zip(start..).map(|(index, slot)| Request { index, slot }));
        }
        let mut buffers = Vec::with_capacity(kind.rows.len());
        for row in &kind.rows {
            buffers.push(pool::take(slots.checked_mul(*row).ok_or(Error::Allocation { bytes: usize::MAX })?)?);
        }
        let mut out: Vec<Rows<'_>> =
            buffers.iter_mut().zip(&kind.rows).map(|(buffer, &row)| Rows { bytes: buffer.as_mut_slice(), row }).collect();
        input.node.gather_some(&kind.which, &mut requests, &mut out, cx)?;
        drop(out);
        self.held.lock()[self.at] = Part::There(buffers.into_iter().map(pool::PoolBuffer::freeze).collect());
        Ok(())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut parts = self.held.lock();
        if matches!(parts[self.at], Part::UnderWay) {
            parts[self.at] = Part::Wanted;
        }
        drop(parts);
        self.held.changed.notify_all();
    }
}

/// A number of something that is in memory.
fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
