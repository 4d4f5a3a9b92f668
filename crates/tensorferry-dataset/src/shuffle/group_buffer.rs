//! A group of blocks in memory, for block shuffles whose rows are slow to read one by one.
//!
//! # Rationale
//! A group is read in parts of a few megabytes. A part consists of whole blocks and is one gather
//! of the input. A thread that needs rows of a group reads the unclaimed parts and waits for the
//! rest. Then it reads the same share of the next group as was taken of this one. So only the first
//! group is waited for as a whole, and the threads that compute batches keep the device busy. A
//! network is slower to answer than they are to compute: threads of their own read all parts of a
//! group at once there, as soon as it is known to be next.

use crate::error::{Error, Result};
use crate::execute::reservation::Reservation;
use crate::shuffle::block_order::{BlockOrder, Group};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tensorferry_core::Buffer;
use tensorferry_core::Error as CoreError;
use tensorferry_io::Error as IoError;
use tensorferry_io::cancel::CancelToken;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::pool;
use tensorferry_io::memory::room::list_of;

/// Bytes of rows in a part.
pub(crate) const PART_BYTES: usize = 4 << 20;
/// Bytes of rows in a part of rows that are read over a network: enough requests at once.
pub(crate) const REMOTE_PART_BYTES: usize = 16 << 20;
/// Most parts of a group that threads of their own read at once.
const MOST_APART: usize = 8;
/// Interval of cancellation checks while waiting.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Identifies a shuffle, one of its orders, and the components whose rows a group holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The number of the shuffle.
    pub(crate) shuffle: u64,
    pub(crate) round: u64,
    pub(crate) which: Vec<usize>,
    /// Bytes of a row of each component in `which`.
    pub(crate) rows: Vec<usize>,
    /// Bytes of rows to read together.
    pub(crate) part_bytes: usize,
}

/// Gathers rows of the components of a group.
pub(crate) type Gather<'a> = dyn Fn(&mut [RowRequest], &mut [RowsOut<'_>]) -> Result<()> + 'a;

/// Where the rows of a group come from.
pub(crate) struct Input<'a> {
    pub(crate) order: &'a BlockOrder,
    pub(crate) cancel: &'a CancelToken,
    /// Gathers the components of the group.
    pub(crate) gather: &'a Gather<'a>,
}

/// A group that is in memory or being read.
#[derive(Debug)]
pub(crate) struct GroupBuffer {
    kind: Kind,
    group: Group,
    /// Blocks per part.
    blocks: u64,
    parts: Mutex<Vec<Part>>,
    /// Signalled when a part was read, or could not be read.
    changed: Condvar,
    /// Reads that failed, and the last error of a network. Where a network is down, each read takes
    /// as long as its deadline. So nothing is read ahead any more, and one failure is that of all
    /// threads that waited for the read.
    failed: Mutex<(u64, Option<IoError>)>,
    _reserved: Reservation,
}

#[derive(Clone, Debug)]
enum Part {
    Wanted,
    /// A thread reads it.
    UnderWay,
    /// The rows of each component.
    There(Arc<[Buffer]>),
}

impl Kind {
    /// Bytes of memory that a group takes.
    pub(crate) fn group_bytes(&self, order: &BlockOrder) -> usize {
        let (blocks, of_part) = (order.group_blocks(), self.part(order));
        let (parts, rest) = (index(blocks / of_part), blocks % of_part);
        let bytes = |blocks: u64| {
            let part = |row: &usize| {
                pool::footprint(index(blocks.saturating_mul(order.block())).saturating_mul(*row))
            };
            self.rows.iter().map(part).fold(0, usize::saturating_add)
        };
        parts.saturating_mul(bytes(of_part)).saturating_add(bytes(rest))
    }

    /// Blocks per part.
    fn part(&self, order: &BlockOrder) -> u64 {
        let bytes = self.rows.iter().sum::<usize>().max(1) as u64;
        (self.part_bytes as u64 / bytes / order.block()).max(1)
    }
}

impl GroupBuffer {
    /// A group of which no part has been read.
    pub(crate) fn new(kind: Kind, order: &BlockOrder, number: u64, reserved: Reservation) -> Self {
        let (group, blocks) = (order.group(number), kind.part(order));
        let parts = Mutex::new(vec![Part::Wanted; index(group.blocks.div_ceil(blocks))]);
        Self {
            kind,
            group,
            blocks,
            parts,
            changed: Condvar::new(),
            failed: Mutex::default(),
            _reserved: reserved,
        }
    }

    /// Copies the rows of the requested elements of the order, which must be in this group.
    pub(crate) fn copy(
        self: &Arc<Self>,
        requests: &[RowRequest],
        out: &mut [RowsOut<'_>],
        input: &Input<'_>,
    ) -> Result<()> {
        let (parts, order) = (self.whole(input)?, input.order);
        for request in requests {
            let place = order.place(&self.group, request.index);
            let part = &parts[index(place.block / self.blocks)];
            let row = index(place.block % self.blocks * order.block() + place.element);
            for ((rows, buffer), &len) in out.iter_mut().zip(part.iter()).zip(&self.kind.rows) {
                rows.slot(request.slot)
                    .copy_from_slice(&buffer.as_slice()[row * len..(row + 1) * len]);
            }
        }
        Ok(())
    }

    /// Reads parts until the share of this group that is read equals the share of `other` before
    /// `end`.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) fn keep_up(
        self: &Arc<Self>,
        other: &Self,
        end: u64,
        input: &Input<'_>,
    ) -> Result<()> {
        let elements = &other.group.elements;
        let (taken, all) = (
            u128::from(end.saturating_sub(elements.start)),
            u128::from(elements.end - elements.start).max(1),
        );
        while self.failures().0 == 0 {
            let mut parts = self.lock();
            let begun = parts.iter().filter(|part| !matches!(part, Part::Wanted)).count() as u128;
            if begun * all >= taken * parts.len() as u128 {
                return Ok(());
            }
            let Some(claim) = self.claim(&mut parts) else { return Ok(()) };
            drop(parts);
            match claim.read(input) {
                Ok(()) => {}
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                // A thread that needs these rows gets the error.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Begins to read the parts that are not begun, each with `read` on a thread of its own.
    pub(crate) fn read_apart(self: &Arc<Self>, read: impl Fn(Claim) + Clone + Send + 'static) {
        while self.failures().0 == 0 {
            let mut parts = self.lock();
            let begun = parts.iter().filter(|part| matches!(part, Part::UnderWay)).count();
            let claim = if begun < MOST_APART { self.claim(&mut parts) } else { None };
            drop(parts);
            let Some(claim) = claim else { return };
            let read = read.clone();
            let thread = std::thread::Builder::new().name("tensorferry".into());
            // Without a thread, the claim is dropped, and those who need the part read it.
            if thread.spawn(move || read(claim)).is_err() {
                return;
            }
        }
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// All parts. Reads those that no other thread has claimed, and waits for the others.
    fn whole(self: &Arc<Self>, input: &Input<'_>) -> Result<Vec<Arc<[Buffer]>>> {
        let mut waiting_since = None;
        let mut parts = self.lock();
        loop {
            if let Some(before) = waiting_since
                && let Some(error) = self.failed_since(before)
            {
                return Err(error);
            }
            if let Some(claim) = self.claim(&mut parts) {
                drop(parts);
                claim.read(input)?;
                parts = self.lock();
                continue;
            }
            let there = |part: &Part| {
                if let Part::There(rows) = part { Some(Arc::clone(rows)) } else { None }
            };
            if let Some(all) = parts.iter().map(there).collect() {
                return Ok(all);
            }
            input.cancel.check()?;
            waiting_since.get_or_insert_with(|| self.failures().0);
            (parts, _) = self
                .changed
                .wait_timeout(parts, POLL_INTERVAL)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The error of a read that has failed since there were this many.
    fn failed_since(&self, before: u64) -> Option<Error> {
        let failures = self.failures();
        let last = failures.1.as_ref().filter(|_| failures.0 > before)?;
        Some(last.again()?.into())
    }

    fn failures(&self) -> MutexGuard<'_, (u64, Option<IoError>)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a part that was not begun.
    fn claim(self: &Arc<Self>, parts: &mut [Part]) -> Option<Claim> {
        let at = parts.iter().position(|part| matches!(part, Part::Wanted))?;
        parts[at] = Part::UnderWay;
        Some(Claim { held: Arc::clone(self), at })
    }
}

/// A part that a thread reads. If the read fails, dropping the claim lets other threads read it.
pub(crate) struct Claim {
    held: Arc<GroupBuffer>,
    at: usize,
}

impl Claim {
    pub(crate) fn kind(&self) -> &Kind {
        &self.held.kind
    }

    /// Reads the part.
    ///
    /// # Errors
    /// Those of the input.
    pub(crate) fn read(self, input: &Input<'_>) -> Result<()> {
        let read = self.fill(input);
        if let Err(error) = &read
            && !matches!(error, Error::Interrupted)
        {
            let again = if let Error::Io(error) = error { error.again() } else { None };
            let mut failures = self.held.failures();
            *failures = (failures.0 + 1, again);
        }
        read
    }

    fn fill(&self, input: &Input<'_>) -> Result<()> {
        let (GroupBuffer { kind, group, blocks, .. }, order) = (&*self.held, input.order);
        let first = self.at as u64 * blocks;
        let slots = (group.blocks - first).min(*blocks) * order.block();
        let slots = usize::try_from(slots)
            .map_err(|_| Error::Core(CoreError::Allocation { bytes: usize::MAX }))?;
        let mut requests = list_of(slots)?;
        for (block, start) in
            (first..group.blocks.min(first + blocks)).zip((0..slots).step_by(index(order.block())))
        {
            requests.extend(
                order
                    .sources(group, block)
                    .zip(start..)
                    .map(|(index, slot)| RowRequest { index, slot }),
            );
        }
        let mut buffers = Vec::with_capacity(kind.rows.len());
        for row in &kind.rows {
            buffers.push(pool::take(
                slots
                    .checked_mul(*row)
                    .ok_or(Error::Core(CoreError::Allocation { bytes: usize::MAX }))?,
            )?);
        }
        let mut out: Vec<RowsOut<'_>> = buffers
            .iter_mut()
            .zip(&kind.rows)
            .map(|(buffer, &row)| RowsOut { bytes: buffer.as_mut_slice(), row })
            .collect();
        (input.gather)(&mut requests, &mut out)?;
        drop(out);
        self.held.lock()[self.at] =
            Part::There(buffers.into_iter().map(pool::PoolBuffer::freeze).collect());
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut parts = self.held.lock();
        if matches!(parts[self.at], Part::UnderWay) {
            parts[self.at] = Part::Wanted;
        }
        drop(parts);
        self.held.changed.notify_all();
    }
}

/// A count of things in memory as `usize`.
fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
