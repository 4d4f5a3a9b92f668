//! Readahead for indexed plans: threads that compute groups of elements.
//!
//! # Rationale
//! A ticket stands for a group of consecutive elements: enough of them to make the handover cheap,
//! or one if they are large. Threads claim tickets in order and store each group in its slot of an
//! ordered queue, so the result does not depend on which thread is faster. The consumer takes a
//! whole group under the lock and hands out its elements without locking. While the group it needs
//! is in progress, it computes an unclaimed one. Elements that cost less than a handover never
//! start a thread.

use crate::error::{Error, Result};
use crate::execute::compute::compute;
use crate::execute::stats::{helping, waiting};
use crate::stage::{Context, Dataset, Element, Value};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tensorferry_core::Tensor;
use tensorferry_io::memory::pool;

/// Approximate bytes of a group.
const GROUP_BYTES: usize = 192 << 10;
/// Maximum elements of a group.
const GROUP: usize = 64;
/// Approximate time to compute a group, whose first element waits for its last.
const GROUP_TIME: Duration = Duration::from_micros(200);
/// Bytes that may be read ahead even if that is more elements than requested: computing a few small
/// elements takes almost no time.
const AHEAD_BYTES: usize = 1 << 20;
/// Minimum bytes that an element counts as, even if its tensors are empty.
const LEAST_BYTES: usize = 64;
/// Elements that take less time are computed in the consumer's thread.
const WORTH_A_THREAD: Duration = Duration::from_nanos(500);
/// The consumer waits for groups that take longer instead of computing them, so that it can handle
/// signals meanwhile.
pub(super) const LONG: Duration = Duration::from_millis(20);
/// Interval of cancellation checks while waiting.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

type Group = Vec<Result<Element>>;

/// The consumer's side.
pub(crate) struct Workers {
    work: Work,
    /// Elements to hand out next.
    local: std::vec::IntoIter<Result<Element>>,
    team: Option<Team>,
    /// Before there is a team: index of the next element to compute, cost of the last ones, and
    /// number of slow groups in a row.
    next: u64,
    cost: Cost,
    strikes: u32,
}

/// The plan to compute, and how.
#[derive(Clone)]
struct Work {
    dataset: Dataset,
    cx: Context,
    len: u64,
    /// Minimum readahead, in elements.
    ahead: usize,
}

/// Worker threads, and the process that they run in.
struct Team {
    shared: Arc<Shared>,
    process: u32,
}

struct Shared {
    work: Work,
    queue: Mutex<Queue>,
    /// Signalled when there is room for another group.
    room: Condvar,
    /// Signalled when the group that the consumer waits for is done.
    ready: Condvar,
}

/// The observed cost of elements.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Bytes of the largest element so far.
    bytes: usize,
    /// Mean time of an element of the last group.
    time: Duration,
}

struct Queue {
    /// Groups that were begun, in order.
    groups: VecDeque<Slot>,
    /// Ticket number of the first group.
    first: u64,
    /// Index of the first unclaimed element.
    unclaimed: u64,
    /// Elements begun and not handed out, and their expected bytes.
    elements: usize,
    bytes: usize,
    /// The part of these that the consumer is handing out.
    local: Ticket,
    cost: Cost,
    /// A group in which the consumer was interrupted, with the elements that it had computed.
    unfinished: Option<(Ticket, Group)>,
    threads: usize,
    idle: usize,
    consumer_waits: bool,
    closed: bool,
}

struct Slot {
    ticket: Ticket,
    /// The elements that are done and not taken, and whether they are the last of the group.
    done: Option<Group>,
    is_whole: bool,
}

#[derive(Clone, Copy, Default)]
struct Ticket {
    number: u64,
    start: u64,
    len: usize,
    bytes: usize,
}

impl Workers {
    pub(super) fn new(
        dataset: Dataset,
        cx: Context,
        position: u64,
        len: u64,
        ahead: usize,
    ) -> Self {
        let work = Work { dataset, cx, len, ahead };
        Self {
            work,
            local: Vec::new().into_iter(),
            team: None,
            next: position,
            cost: Cost::default(),
            strikes: 0,
        }
    }

    /// The next element, if it is available without locking or computing.
    pub(super) fn next_at_hand(&mut self) -> Option<Result<Element>> {
        self.local.next()
    }

    pub(super) fn give_back(&mut self, element: Result<Element>) {
        let local = std::mem::take(&mut self.local);
        self.local = std::iter::once(element).chain(local).collect::<Vec<_>>().into_iter();
    }

    /// Waits for the next element until `deadline`. `position` counts the elements handed out.
    pub(super) fn next(
        &mut self,
        position: u64,
        deadline: Option<Instant>,
    ) -> Poll<Option<Result<Element>>> {
        if let Some(element) = self.local.next() {
            return Poll::Ready(Some(element));
        }
        if self
            .team
            .as_ref()
            .is_some_and(|team| team.process != tensorferry_io::sync::process::process_id())
        {
            // The threads, and maybe the lock, belong to the parent process. Leave both alone.
            self.team = None;
            self.next = position;
        }
        if self.team.is_none() && self.work.dataset.hints.reads_files {
            // The cost of the first elements is unknown; do not spend the consumer's time on it.
            let cost = Cost { time: LONG, ..self.cost };
            self.team = Some(Team::start(&self.work, self.next, cost));
        }
        match &self.team {
            Some(team) => match team.shared.next_group(deadline) {
                Poll::Ready(Some(group)) => self.local = group.into_iter(),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            },
            None if self.next >= self.work.len => return Poll::Ready(None),
            None => self.compute_here(),
        }
        // The plan has not ended. If the group is empty, computing it was interrupted.
        Poll::Ready(Some(self.local.next().unwrap_or(Err(Error::Interrupted))))
    }

    /// Computes the next few elements, and starts threads if they take long.
    fn compute_here(&mut self) {
        let wanted = if self.cost.bytes == 0 { 1 } else { self.work.group_len(&self.cost, 1) };
        let len = usize::try_from(self.work.len - self.next).unwrap_or(usize::MAX).min(wanted);
        let (group, cost) = self.work.compute(self.next, len);
        self.next += group.len() as u64;
        self.local = group.into_iter();
        self.cost = Cost { bytes: self.cost.bytes.max(cost.bytes), time: cost.time };
        // The first elements may find cold caches: start threads after two slow groups in a row.
        self.strikes = if cost.time > WORTH_A_THREAD { self.strikes + 1 } else { 0 };
        if self.strikes >= 2 && self.next < self.work.len {
            self.team = Some(Team::start(&self.work, self.next, self.cost));
        }
    }
}

impl Work {
    /// The number of elements in a group, for this number of `threads`.
    fn group_len(&self, cost: &Cost, threads: usize) -> usize {
        let bytes = cost.bytes.max(1);
        // Leave room for two groups per thread: one in progress, and the next.
        let shares = (threads + 1) * 2;
        let room = self.most_ahead(cost).min(self.cx.for_batches() / bytes) / shares;
        let time = GROUP_TIME.as_nanos() / cost.time.as_nanos().max(1);
        (GROUP_BYTES / bytes)
            .min(GROUP)
            .min(room)
            .min(usize::try_from(time).unwrap_or(GROUP))
            .max(1)
    }

    /// How many elements may be begun and not handed out.
    fn most_ahead(&self, cost: &Cost) -> usize {
        self.ahead.max(AHEAD_BYTES / cost.bytes.max(LEAST_BYTES))
    }

    /// Computes elements in order: fewer than `len` if interrupted, or if the last one is an error.
    fn compute(&self, start: u64, len: usize) -> (Group, Cost) {
        let began = Instant::now();
        let mut bytes = 0;
        let mut group = Vec::with_capacity(len);
        for index in start..start + len as u64 {
            let element = compute(&self.dataset, index, &self.cx);
            if matches!(element, Err(Error::Interrupted)) {
                break;
            }
            bytes = element.as_ref().map_or(0, |element| element_bytes(element)).max(bytes);
            let failed = element.is_err();
            group.push(element);
            if failed {
                break;
            }
        }
        let len = u32::try_from(group.len()).unwrap_or(u32::MAX).max(1);
        (group, Cost { bytes, time: began.elapsed() / len })
    }
}

/// Bytes of an element's tensors. Tensors that share memory with their source count as well.
pub(crate) fn element_bytes(element: &[Value]) -> usize {
    let bytes = |tensor: &Tensor| pool::footprint(tensor.layout().nbytes());
    element
        .iter()
        .filter_map(|value| value.tensor().ok())
        .fold(0, |sum, tensor| sum.saturating_add(bytes(tensor)))
}

impl Team {
    /// Starts threads that compute from element `next` on: as many as the system allows, or none.
    fn start(work: &Work, next: u64, cost: Cost) -> Self {
        let queue = Queue {
            groups: VecDeque::new(),
            first: 0,
            unclaimed: next,
            elements: 0,
            bytes: 0,
            local: Ticket::default(),
            cost,
            unfinished: None,
            threads: 0,
            idle: 0,
            consumer_waits: false,
            closed: false,
        };
        let shared = Shared {
            work: work.clone(),
            queue: Mutex::new(queue),
            room: Condvar::new(),
            ready: Condvar::new(),
        };
        let shared = Arc::new(shared);
        let left = usize::try_from(work.len - next).unwrap_or(usize::MAX);
        for _ in 0..work.cx.threads().min(left) {
            let worker = Arc::clone(&shared);
            let thread =
                std::thread::Builder::new().name("tensorferry".into()).spawn(move || worker.work());
            if thread.is_err() {
                break;
            }
            shared.lock().threads += 1;
        }
        Self { shared, process: tensorferry_io::sync::process::process_id() }
    }
}

impl Drop for Team {
    /// Ends the threads without waiting for them.
    fn drop(&mut self) {
        if self.process != tensorferry_io::sync::process::process_id() {
            return;
        }
        self.shared.lock().closed = true;
        self.shared.room.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        while !queue.closed {
            let Some(ticket) = queue.claim(&self.work) else {
                if queue.unclaimed >= self.work.len {
                    return;
                }
                queue.idle += 1;
                queue = waiting(self.work.cx.stats.as_ref(), || self.room.wait(queue))
                    .unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
                continue;
            };
            queue = self.compute(queue, ticket, Vec::new());
        }
    }

    /// The next group of elements; `None` at the end.
    ///
    /// While it is in progress, the consumer computes unclaimed groups instead of waiting: sleeping
    /// and waking up takes longer than most groups.
    fn next_group(&self, deadline: Option<Instant>) -> Poll<Option<Group>> {
        let mut queue = self.lock();
        queue.release_local();
        queue.note(&self.work);
        let mut helped = false;
        if let Some((ticket, begun)) = queue.unfinished.take() {
            queue = helping(self.work.cx.stats.as_ref(), || self.compute(queue, ticket, begun));
            helped = true;
        }
        loop {
            if let Some(done) = queue.take_done() {
                self.wake_one(&queue);
                return Poll::Ready(Some(done));
            }
            if queue.groups.is_empty() && queue.unclaimed >= self.work.len {
                return Poll::Ready(None);
            }
            if queue.unfinished.is_some() || self.work.cx.cancel.is_cancelled() {
                return Poll::Ready(Some(Vec::new()));
            }
            let now = Instant::now();
            let late = deadline.is_some_and(|deadline| deadline <= now);
            if (queue.threads == 0 || self.may_help(&queue))
                && !(late && helped)
                && let Some(ticket) = queue.claim(&self.work)
            {
                queue = helping(self.work.cx.stats.as_ref(), || {
                    self.compute(queue, ticket, Vec::new())
                });
                helped = true;
                continue;
            }
            if late {
                return Poll::Pending;
            }
            self.wake_one(&queue);
            let patience =
                deadline.map_or(POLL_INTERVAL, |deadline| POLL_INTERVAL.min(deadline - now));
            queue.consumer_waits = true;
            (queue, _) =
                self.ready.wait_timeout(queue, patience).unwrap_or_else(PoisonError::into_inner);
            queue.consumer_waits = false;
        }
    }

    /// Whether the consumer computes other groups while it waits. Not those of a network, each of
    /// which may take as long as its deadline: the group that it waits for may be done long before.
    fn may_help(&self, queue: &Queue) -> bool {
        self.work.dataset.hints.remote_arrays == 0 && queue.group_time(&self.work) < LONG
    }

    /// Wakes a thread if there is work for it.
    fn wake_one(&self, queue: &Queue) {
        if queue.idle > 0 && queue.is_low(&self.work) {
            self.room.notify_one();
        }
    }

    /// Computes the rest of a group that begins with `group`, and stores it in its slot. After an
    /// error, the elements so far are stored at once: the next ones may take as long to fail.
    fn compute<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        mut ticket: Ticket,
        mut group: Group,
    ) -> MutexGuard<'a, Queue> {
        self.wake_one(&queue);
        loop {
            drop(queue);
            let (rest, cost) =
                self.work.compute(ticket.start + group.len() as u64, ticket.len - group.len());
            group.extend(rest);
            queue = self.lock();
            queue.learn(cost);
            let is_whole = group.len() == ticket.len;
            let is_cancelled = self.work.cx.cancel.is_cancelled();
            if !is_whole && !is_cancelled && !group.last().is_some_and(Result::is_err) {
                queue.unfinished = Some((ticket, group));
                return queue;
            }
            (ticket.start, ticket.len) =
                (ticket.start + group.len() as u64, ticket.len - group.len());
            if queue.put(ticket.number, std::mem::take(&mut group), is_whole || is_cancelled)
                && queue.consumer_waits
            {
                self.ready.notify_one();
            }
            if is_whole || is_cancelled || queue.closed {
                return queue;
            }
        }
    }
}

impl Queue {
    /// Number of elements that may be begun now; `None` if there is no room.
    fn room(&self, work: &Work) -> Option<usize> {
        let left = usize::try_from(work.len.saturating_sub(self.unclaimed)).unwrap_or(usize::MAX);
        let mut len = work.group_len(&self.cost, self.threads).min(left);
        if len == 0 {
            return None;
        }
        if self.elements == 0 {
            return Some(len);
        }
        let most = work.most_ahead(&self.cost);
        if self.elements + len > most {
            if self.elements >= work.ahead {
                return None;
            }
            len = most - self.elements;
        }
        let bytes = self.bytes.saturating_add(len.saturating_mul(self.cost.bytes));
        (bytes <= work.cx.for_batches()).then_some(len)
    }

    /// Whether to wake a sleeping thread. For small groups, only once half of the readahead is used
    /// up: waking takes longer than computing one.
    fn is_low(&self, work: &Work) -> bool {
        self.room(work).is_some()
            && (self.elements <= work.most_ahead(&self.cost) / 2
                || self.group_time(work) > GROUP_TIME)
    }

    /// The next ticket, if there is room for it.
    fn claim(&mut self, work: &Work) -> Option<Ticket> {
        let len = self.room(work)?;
        let number = self.first + self.groups.len() as u64;
        let ticket = Ticket {
            number,
            start: self.unclaimed,
            len,
            bytes: len.saturating_mul(self.cost.bytes),
        };
        self.unclaimed += len as u64;
        self.elements += len;
        self.bytes = self.bytes.saturating_add(ticket.bytes);
        self.note(work);
        self.groups.push_back(Slot { ticket, done: None, is_whole: false });
        Some(ticket)
    }

    fn note(&self, work: &Work) {
        work.cx.note(if self.elements > 1 { self.bytes } else { 0 });
    }

    /// Releases the group that was taken last: its elements were handed out and are no longer used.
    fn release_local(&mut self) {
        let Ticket { len, bytes, .. } = std::mem::take(&mut self.local);
        self.elements = self.elements.saturating_sub(len);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Stores elements of a group. Returns whether the group is the first.
    fn put(&mut self, number: u64, group: Group, is_whole: bool) -> bool {
        let at = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if let Some(slot) = self.groups.get_mut(at) {
            slot.done.get_or_insert_default().extend(group);
            slot.is_whole = is_whole;
        }
        at == 0
    }

    /// Moves what is done of the first group to the consumer.
    fn take_done(&mut self) -> Option<Group> {
        let slot = self.groups.front_mut()?;
        let (done, ticket) = (slot.done.take()?, slot.ticket);
        if slot.is_whole {
            self.groups.pop_front();
            self.first += 1;
            self.hand_out(ticket);
        }
        Some(done)
    }

    /// Counts the memory of these elements until the consumer asks for more. Only then is it known
    /// that it has handed out all of them, unless there is just one.
    fn hand_out(&mut self, ticket: Ticket) {
        self.local = ticket;
        if ticket.len == 1 {
            self.local.len = 0;
            self.elements = self.elements.saturating_sub(1);
        }
    }

    /// Expected time of a group.
    fn group_time(&self, work: &Work) -> Duration {
        let len = u32::try_from(work.group_len(&self.cost, self.threads)).unwrap_or(u32::MAX);
        self.cost.time.saturating_mul(len)
    }

    fn learn(&mut self, cost: Cost) {
        self.cost = Cost { bytes: self.cost.bytes.max(cost.bytes), time: cost.time };
    }
}
