//! An iterator that runs ahead on a thread of its own.
//!
//! # Rationale
//! A native stage may work on one element for long, such as the next distinct value of an endless
//! repetition. On a thread of its own, the consumer can stop waiting for it. Iterators that call
//! user functions run exactly as far ahead as the readahead says, because functions may have side
//! effects.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::execute::compute::{advance, waiting_state};
use crate::execute::workers::{POLL_INTERVAL, element_bytes};
use crate::stage::{Context, Element, ElementIter, Interrupted};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Elements that take longer are worth waking the thread for. Waking takes a fraction of this time.
const WORTH_WAKING: Duration = Duration::from_micros(50);

/// How far an iterator may run ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Maximum number of elements.
    pub(super) elements: usize,
    /// Maximum bytes, within the memory budget. Two elements are always allowed if `elements`
    /// permits.
    pub(super) bytes: usize,
}

/// The consumer's side.
pub(crate) struct Producer {
    shared: Arc<Shared>,
    /// The process that started the thread; `None` before that.
    process: Option<u32>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when the thread may continue.
    room: Condvar,
    /// Signalled when there is an element, or the thread has returned the iterator.
    ready: Condvar,
    ahead: Limits,
    /// Whether user functions are called.
    is_sequential: bool,
    cx: Context,
}

struct Queue {
    elements: VecDeque<Result<Element>>,
    bytes: usize,
    /// The iterator, unless the thread is computing an element with it.
    iter: Option<Box<dyn ElementIter>>,
    ended: bool,
    /// Time that the last element took.
    took: Duration,
    consumer_waits: bool,
    thread_waits: bool,
    /// Asks the thread to return the iterator, so that it can be saved.
    paused: bool,
    closed: bool,
}

impl Producer {
    /// The `waiting` elements come before those of `iter`.
    pub(super) fn new(
        iter: Box<dyn ElementIter>,
        waiting: VecDeque<Result<Element>>,
        ahead: Limits,
        is_sequential: bool,
        cx: Context,
    ) -> Self {
        let bytes = waiting.iter().map(bytes_of).sum();
        let queue = Queue {
            elements: waiting,
            bytes,
            iter: Some(iter),
            ended: false,
            took: Duration::ZERO,
            consumer_waits: false,
            thread_waits: false,
            paused: false,
            closed: false,
        };
        let shared = Shared {
            queue: Mutex::new(queue),
            room: Condvar::new(),
            ready: Condvar::new(),
            ahead,
            is_sequential,
            cx,
        };
        Self { shared: Arc::new(shared), process: None }
    }

    /// Whether the thread runs in the process that this one was forked from. The lock is then left
    /// alone: the thread may have held it.
    pub(super) fn is_forked(&self) -> bool {
        self.process.is_some_and(|process| process != tensorferry_io::sync::process::process_id())
    }

    /// # Errors
    /// [`Error::Forked`].
    fn check_process(&self) -> Result<()> {
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }

    /// The next element, if it is available without waiting.
    pub(super) fn next_at_hand(&self) -> Option<Result<Element>> {
        // Without a thread, `next` has to start one. In a forked process the lock must not be
        // touched.
        if self.process.is_none() || self.is_forked() { None } else { self.shared.next_at_hand() }
    }

    /// Must be called in the process that handed the element out.
    pub(super) fn give_back(&self, element: Result<Element>) {
        let mut queue = self.shared.lock();
        queue.bytes += bytes_of(&element);
        queue.elements.push_front(element);
    }

    /// Waits for the next element until `deadline`.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Poll<Option<Result<Element>>> {
        if let Err(forked) = self.check_process() {
            return Poll::Ready(Some(Err(forked)));
        }
        if self.process.is_none() {
            let producer = Arc::clone(&self.shared);
            match std::thread::Builder::new()
                .name("tensorferry".into())
                .spawn(move || producer.cx.cancel.computing(|| producer.work()))
            {
                Ok(_) => self.process = Some(tensorferry_io::sync::process::process_id()),
                Err(_) => return Poll::Ready(self.shared.next_here()),
            }
        }
        self.shared.next(deadline)
    }

    /// The state of the iterator and of the waiting elements; [`Poll::Pending`] if the thread is
    /// still computing an element at `deadline`.
    pub(super) fn save(&self, deadline: Option<Instant>) -> Poll<Result<State>> {
        match self.check_process() {
            Err(forked) => Poll::Ready(Err(forked)),
            Ok(()) => self.shared.save(deadline),
        }
    }
}

impl Drop for Producer {
    /// Ends the thread without waiting for it: it may be in a user function.
    fn drop(&mut self) {
        if !self.is_forked() {
            self.shared.lock().closed = true;
            self.shared.room.notify_all();
        }
    }
}

fn bytes_of(element: &Result<Element>) -> usize {
    element.as_ref().map_or(0, |element| element_bytes(element))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) -> Limits {
        Limits { bytes: self.ahead.bytes.min(self.cx.for_batches()), ..self.ahead }
    }

    fn work(&self) {
        let mut queue = self.lock();
        while !queue.closed {
            let iter = if queue.paused || !queue.has_room(self.ahead()) {
                None
            } else {
                queue.iter.take()
            };
            let Some(mut iter) = iter else {
                queue.thread_waits = true;
                queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.thread_waits = false;
                continue;
            };
            drop(queue);
            let began = Instant::now();
            let next = advance(iter.as_mut());
            queue = self.lock();
            queue.iter = Some(iter);
            // A `prefetch` says exactly when a function is called, however fast it is: wake the
            // thread each time.
            queue.took = if self.is_sequential { Duration::MAX } else { began.elapsed() };
            // After an interruption, the iterator continues from there if the consumer asks again.
            if let Ok(element) = next {
                queue.put(element);
            }
            self.cx.note(if queue.elements.len() > 1 { queue.bytes } else { 0 });
            if queue.consumer_waits {
                self.ready.notify_one();
            }
            if queue.ended || self.cx.cancel.is_cancelled() {
                return;
            }
        }
    }

    fn take(&self, queue: &mut Queue) -> Option<Result<Element>> {
        let element = queue.take()?;
        // Wake the thread once half of the readahead is used up, or if one element is worth it.
        if queue.thread_waits
            && (queue.took > WORTH_WAKING || queue.elements.len() <= self.ahead.elements / 2)
        {
            self.room.notify_one();
        }
        Some(element)
    }

    fn next_at_hand(&self) -> Option<Result<Element>> {
        match self.queue.try_lock() {
            Ok(mut queue) => self.take(&mut queue),
            Err(_) => None,
        }
    }

    fn next(&self, deadline: Option<Instant>) -> Poll<Option<Result<Element>>> {
        let mut queue = self.lock();
        loop {
            if let Some(element) = self.take(&mut queue) {
                return Poll::Ready(Some(element));
            }
            if queue.ended {
                return Poll::Ready(None);
            }
            if self.cx.cancel.check().is_err() {
                return Poll::Ready(Some(Err(Error::Interrupted)));
            }
            let Some(waited) = self.wait(queue, deadline) else { return Poll::Pending };
            queue = waited;
        }
    }

    /// Waits briefly for the thread; `None` after the deadline.
    fn wait<'a>(
        &self,
        mut queue: MutexGuard<'a, Queue>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, Queue>> {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return None;
        }
        queue.consumer_waits = true;
        if queue.thread_waits {
            self.room.notify_one();
        }
        let patience = deadline.map_or(POLL_INTERVAL, |deadline| POLL_INTERVAL.min(deadline - now));
        let (mut queue, _) =
            self.ready.wait_timeout(queue, patience).unwrap_or_else(PoisonError::into_inner);
        queue.consumer_waits = false;
        Some(queue)
    }

    /// Computes the next element in this thread, because no other could be started.
    fn next_here(&self) -> Option<Result<Element>> {
        let mut queue = self.lock();
        if queue.elements.is_empty() && !queue.ended {
            match queue.iter.as_mut().map_or(Ok(None), |iter| advance(iter.as_mut())) {
                Err(Interrupted) => return Some(Err(Error::Interrupted)),
                Ok(element) => queue.put(element),
            }
        }
        queue.take()
    }

    fn save(&self, deadline: Option<Instant>) -> Poll<Result<State>> {
        let mut queue = self.lock();
        queue.paused = true;
        self.cx.cancel.pause();
        let saved = loop {
            if let Some(iter) = &queue.iter {
                break Poll::Ready(
                    iter.save().and_then(|state| waiting_state(state, &queue.elements)),
                );
            }
            match self.wait(queue, deadline) {
                Some(waited) => queue = waited,
                None => {
                    queue = self.lock();
                    break Poll::Pending;
                }
            }
        };
        queue.paused = false;
        self.cx.cancel.resume();
        if queue.thread_waits {
            self.room.notify_one();
        }
        saved
    }
}

impl Queue {
    fn has_room(&self, ahead: Limits) -> bool {
        match self.elements.len() {
            _ if self.ended => false,
            0 => ahead.elements > 0 || self.consumer_waits,
            1 => ahead.elements > 1,
            waiting => waiting < ahead.elements && self.bytes < ahead.bytes,
        }
    }

    fn put(&mut self, element: Option<Result<Element>>) {
        match element {
            Some(element) => {
                self.bytes += bytes_of(&element);
                self.elements.push_back(element);
            }
            None => self.ended = true,
        }
    }

    fn take(&mut self) -> Option<Result<Element>> {
        let element = self.elements.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes_of(&element));
        Some(element)
    }
}
