//! The reads of a batch: one in flight per slot, each copied out when it ends.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::io_error::too_many_open;
use crate::storage::local::direct::file::{DirectFile, Files};
use crate::storage::local::direct::pending_read::{PendingRead, Step};
use crate::storage::local::direct::queue::{DEPTH, POLL, Queue, Shape, Slots};
use crate::storage::local::direct::spans::{Span, Wanted, spans};
use std::sync::Arc;
use std::time::Duration;

/// Attempts to open a file while too many are open, and the pause between them.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(2);

/// Reads the wanted ranges, sorted by file and offset, into `out`, by a queue of [`Shape::Many`].
/// After an error reads may still be in flight.
///
/// # Errors
/// What [`Files::open`] fails with; [`Error::Read`]; [`Error::ShortRead`] if a file ends before;
/// [`Error::Interrupted`].
pub(crate) fn fill(
    queue: &mut dyn Queue,
    files: &dyn Files,
    wanted: &[Wanted],
    out: &mut [&mut [u8]],
    cancel: &CancelToken,
) -> Result<()> {
    let spans = spans(wanted, |file| files.alignment(file));
    let mut fill = Fill {
        queue,
        files,
        wanted,
        out,
        slots: Slots::all(Shape::Many),
        in_flight: [const { None }; DEPTH],
        count: 0,
    };
    let (mut left, mut later, mut patience) = (spans.into_iter(), None, PATIENCE);
    loop {
        cancel.check()?;
        while let Some(slot) = fill.slots.take() {
            let Some(span) = later.take().or_else(|| left.next()) else {
                fill.slots.put(slot);
                break;
            };
            let file = match files.open(span.file) {
                // Files that this or another thread is reading are closed soon.
                Err(error) if is_crowded(&error) && (fill.count > 0 || patience > 0) => {
                    fill.slots.put(slot);
                    later = Some(span);
                    break;
                }
                other => other?,
            };
            patience = PATIENCE;
            fill.begin(slot, span, file)?;
        }
        if fill.count == 0 && later.is_none() {
            return Ok(());
        }
        if fill.count == 0 {
            patience -= 1;
            std::thread::sleep(PAUSE);
            continue;
        }
        fill.wait_for_read()?;
    }
}

/// Whether a file could not be opened because too many are open.
fn is_crowded(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if too_many_open(source))
}

struct Fill<'a, 'b> {
    queue: &'a mut dyn Queue,
    files: &'a dyn Files,
    wanted: &'a [Wanted],
    out: &'a mut [&'b mut [u8]],
    slots: Slots,
    in_flight: [Option<(Span, PendingRead)>; DEPTH],
    count: usize,
}

impl Fill<'_, '_> {
    fn begin(&mut self, slot: usize, span: Span, file: Arc<DirectFile>) -> Result<()> {
        let pending = PendingRead::new(file, span.start, span.len());
        self.queue
            .begin(slot, pending.read())
            .map_err(|error| self.files.refused(&self.wanted[span.wanted.start], error))?;
        self.in_flight[slot] = Some((span, pending));
        self.count += 1;
        Ok(())
    }

    /// Waits up to [`POLL`] for a read to end, and copies its bytes out.
    fn wait_for_read(&mut self) -> Result<()> {
        let Some(done) =
            self.queue.next(POLL).map_err(|error| self.files.refused(&self.wanted[0], error))?
        else {
            return Ok(());
        };
        let Some((span, pending)) = self.in_flight.get_mut(done.slot).and_then(Option::as_mut)
        else {
            return Ok(());
        };
        let first = &self.wanted[span.wanted.start];
        match pending.ended(done.result) {
            Step::Whole => {}
            Step::Again => {
                return self
                    .queue
                    .begin(done.slot, pending.read())
                    .map_err(|error| self.files.refused(first, error));
            }
            Step::Failed(error) => return Err(self.files.refused(first, error)),
            Step::Short => return Err(self.short(done.slot)),
        }
        let bytes = self.queue.bytes(done.slot);
        for at in span.wanted.clone() {
            if let Some((from, to)) = span.part(&self.wanted[at]) {
                self.out[at][to].copy_from_slice(&bytes[from]);
            }
        }
        self.in_flight[done.slot] = None;
        self.slots.put(done.slot);
        self.count -= 1;
        Ok(())
    }

    /// The error of a file that ends before the last byte of a slot's read.
    fn short(&self, slot: usize) -> Error {
        let Some((span, pending)) = &self.in_flight[slot] else { return Error::Interrupted };
        // Earlier bytes may still be in flight, so compare with the file's length.
        let len = pending.file().metadata().map_or(u64::MAX, |metadata| metadata.len());
        let end = len.min(span.start + pending.done() as u64);
        let beyond = |one: &&Wanted| one.offset.saturating_add(one.len as u64) > end;
        let one = self.wanted[span.wanted.clone()]
            .iter()
            .find(beyond)
            .unwrap_or(&self.wanted[span.wanted.start]);
        let actual = usize::try_from(end.saturating_sub(one.offset)).unwrap_or(usize::MAX);
        Error::ShortRead { offset: one.offset, expected: one.len, actual }
            .in_file(self.files.path(one.file))
    }
}
