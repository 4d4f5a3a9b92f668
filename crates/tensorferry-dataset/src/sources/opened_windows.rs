//! Windows of tokens in files.

use crate::error::Result;
use crate::request::Columns;
use crate::sources::token_windows::TokenWindows;
use crate::stage::Context;
use tensorferry_core::{ByteOrder, View};
use tensorferry_io::array::array::Array;
use tensorferry_io::array::row_source::RowRun;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;
use tensorferry_io::memory::pool;

/// Maximum bytes of tokens to read at once, unless one window needs more.
const AT_ONCE: usize = 4 << 20;

impl TokenWindows {
    /// Reads the tokens of windows, a few MiB at a time with all ranges in one call, and writes the
    /// components.
    pub(crate) fn gather_opened(
        &self,
        array: &Array,
        columns: Columns<'_>,
        requests: &[RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let components = columns.indices(out.len());
        let offsets = components.clone().map(|component| component * self.shift);
        let (first, last) = (offsets.clone().min().unwrap_or(0), offsets.max().unwrap_or(0));
        if last - first > self.length {
            // Read the components separately, without the tokens between them.
            for (at, rows) in out.iter_mut().enumerate() {
                let component = [columns.at(at)];
                let (columns, out) = (Columns::Some(&component), &mut [rows.reborrow()]);
                self.gather_opened(array, columns, requests, out, cx)?;
            }
            return Ok(());
        }
        let (source, column) = array.source();
        let (from, span) = (array.dtype(), last - first + self.length);
        let (size, most) = (from.size(), (AT_ONCE / from.size()).max(span));
        let mut rest = requests;
        while !rest.is_empty() {
            cx.cancel.check()?;
            let (mut runs, mut places, mut total) = (Vec::<RowRun>::new(), Vec::new(), 0);
            for request in rest {
                // Inside the array, so the arithmetic does not overflow.
                let start = self.starts.get(request.index) + first as u64;
                match runs.last_mut() {
                    // The window overlaps the last run or touches it, as consecutive windows do.
                    Some(run) if (run.index..=run.index + run.len as u64).contains(&start) => {
                        let at = usize::try_from(start - run.index).unwrap_or(usize::MAX);
                        let more = (at + span).saturating_sub(run.len);
                        if total + more > most {
                            break;
                        }
                        places.push(run.slot + at);
                        run.len += more;
                        total += more;
                    }
                    _ if total > 0 && total + span > most => break,
                    _ => {
                        runs.push(RowRun { index: start, slot: total, len: span });
                        places.push(total);
                        total += span;
                    }
                }
            }
            let mut tokens = pool::take(total * size)?;
            source.read_runs(
                column,
                &runs,
                RowsOut { bytes: tokens.as_mut_slice(), row: size },
                &cx.cancel,
            )?;
            let (now, later) = rest.split_at(places.len());
            for (request, place) in now.iter().zip(places) {
                for (component, rows) in components.clone().zip(out.iter_mut()) {
                    let start = place + component * self.shift - first;
                    let window = &tokens.as_mut_slice()[start * size..(start + self.length) * size];
                    let window = View::from_bytes(from, ByteOrder::Native, window, &[self.length])?;
                    self.convert(&window, request.index, rows.slot(request.slot))?;
                }
            }
            rest = later;
        }
        Ok(())
    }
}
