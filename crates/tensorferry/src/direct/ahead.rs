//! Who reads in order, and whose turn it is with the window that goes ahead of them.
//!
//! # Rationale
//! Batches that are asked for one after the other, be it by several threads, are noticed, and from then on a [`Window`] goes ahead of
//! them. Whoever needs bytes takes the window, copies what it holds, sends for what comes next, and puts it back. What it does not have,
//! or could not get, is read as if there were none; errors are found there.

use super::extents::{Extents, Place};
use super::file::Files;
use super::fill::GLANCE;
use super::lend::{Lent, OwnThreads, briefly};
use super::queue::Shape;
use super::spans::Wanted;
use super::window::Window;
use crate::Result;
use crate::dataset::Stop;
use std::sync::{Condvar, Mutex, PoisonError};

/// Runs whose ends are remembered: as many threads may take turns.
const REMEMBERED: usize = 8;
/// Runs that follow another and are not in the window, after which the window goes where they are.
const PATIENCE: u32 = 2;

#[derive(Default)]
pub(super) struct Ahead {
    turn: Mutex<Turn>,
    put_back: Condvar,
}

struct Turn {
    process: u32,
    /// Where the last runs ended.
    ends: [Option<Place>; REMEMBERED],
    window: Holder,
    missed: u32,
}

#[derive(Default)]
enum Holder {
    #[default]
    Nobody,
    Free(Box<Window<Lent>>),
    Taken,
}

impl Default for Turn {
    fn default() -> Self {
        Self { process: std::process::id(), ends: [None; REMEMBERED], window: Holder::Nobody, missed: 0 }
    }
}

impl Ahead {
    /// Copies all that is wanted, if it is read in order and the window has it or comes to it. Whether it was.
    ///
    /// # Errors
    /// [`crate::Error::Stopped`].
    pub(super) fn hand_out(
        &self,
        extents: &Extents,
        files: &dyn Files,
        threads: &OwnThreads,
        wanted: &[Wanted],
        out: &mut [&mut [u8]],
        stop: &Stop,
    ) -> Result<bool> {
        let Some((start, end)) = extents.run(wanted) else { return Ok(false) };
        let Some(number) = extents.number(start) else { return Ok(false) };
        match self.take(extents, (start, end), number, threads, stop)? {
            Some(window) => Held { ahead: self, extents, window: Some(window) }.hand_out(files, wanted, out, stop),
            None => Ok(false),
        }
    }

    /// The window, if it has or will have the chunk of a run that follows another.
    fn take(
        &self,
        extents: &Extents,
        (start, end): (Place, Place),
        number: u64,
        threads: &OwnThreads,
        stop: &Stop,
    ) -> Result<Option<Box<Window<Lent>>>> {
        let Some(mut turn) = briefly(&self.turn) else { return Ok(None) };
        if turn.process != std::process::id() {
            // The window is the parent's.
            std::mem::forget(std::mem::take(&mut *turn));
        }
        let in_order = turn.ends.iter().flatten().any(|end| extents.follows(*end, start));
        turn.ends.rotate_right(1);
        turn.ends[0] = Some(end);
        if !in_order {
            return Ok(None);
        }
        loop {
            match std::mem::replace(&mut turn.window, Holder::Taken) {
                Holder::Free(window) if window.reaches(number) => {
                    turn.missed = 0;
                    return Ok(Some(window));
                }
                Holder::Free(window) if turn.missed < PATIENCE => {
                    turn.missed += 1;
                    turn.window = Holder::Free(window);
                    return Ok(None);
                }
                other @ (Holder::Free(_) | Holder::Nobody) => {
                    turn.missed = 0;
                    drop(turn);
                    // Dropping the old one may wait for what is under way.
                    drop(other);
                    return Ok(Some(Box::new(Window::new(Lent::new(threads, Shape::Long), number))));
                }
                Holder::Taken => {
                    (turn, _) = self.put_back.wait_timeout(turn, GLANCE).unwrap_or_else(PoisonError::into_inner);
                    stop.check()?;
                }
            }
        }
    }
}

/// A window, taken out of its place; dropping this puts it back.
struct Held<'a> {
    ahead: &'a Ahead,
    extents: &'a Extents,
    window: Option<Box<Window<Lent>>>,
}

impl Held<'_> {
    fn hand_out(&mut self, files: &dyn Files, wanted: &[Wanted], out: &mut [&mut [u8]], stop: &Stop) -> Result<bool> {
        self.window.as_mut().map_or(Ok(false), |window| window.hand_out(self.extents, files, wanted, out, stop))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut holder = Holder::Nobody;
        match self.window.take() {
            Some(window) if window.is_over(self.extents) => {
                if let Some(queue) = window.into_queue() {
                    queue.give_back();
                }
            }
            Some(window) => holder = Holder::Free(window),
            None => {}
        }
        self.ahead.turn.lock().unwrap_or_else(PoisonError::into_inner).window = holder;
        self.ahead.put_back.notify_all();
    }
}
