//! Rows gathered from memory.
//!
//! # Rationale
//! A random row waits for memory, and for the page table before it. Loads that begin early wait
//! together: on x86-64 each step prefetches a row that is copied several steps later.

use crate::gather::request;
use crate::gather::request::{RowRequest, run};
use tensorferry_core::{Error, Result};

/// Bytes to prefetch ahead: more than memory latency times bandwidth, less than the first cache.
const PREFETCH_BYTES: usize = 8 << 10;
/// Maximum number of cache lines to prefetch per row. Beyond, the processor's own prefetcher helps.
const MOST_LINES: usize = 16;
const LINE: usize = 64;

/// Copies rows of `row` bytes. After an error, the contents of `out` are unspecified.
///
/// # Errors
/// [`Error::IndexOutOfRange`] if the source has no such row; [`Error::OutOfBounds`] if the output
/// has none.
pub fn gather(source: &[u8], row: usize, requests: &[RowRequest], out: &mut [u8]) -> Result<()> {
    if let Some(first) = requests.first()
        && run(requests) == requests.len()
    {
        return copy_run(source, row, first, requests.len(), out);
    }
    match row {
        0 => Ok(()),
        1 => gather_fixed::<1>(source, requests, out),
        2 => gather_fixed::<2>(source, requests, out),
        4 => gather_fixed::<4>(source, requests, out),
        8 => gather_fixed::<8>(source, requests, out),
        16 => gather_fixed::<16>(source, requests, out),
        32 => gather_fixed::<32>(source, requests, out),
        64 => gather_fixed::<64>(source, requests, out),
        _ => gather_any(source, row, requests, out),
    }
}

/// Copies `len` consecutive rows to consecutive slots.
fn copy_run(
    source: &[u8],
    row: usize,
    first: &RowRequest,
    len: usize,
    out: &mut [u8],
) -> Result<()> {
    let bytes = |at: usize| Some(at.checked_mul(row)?..at.checked_add(len)?.checked_mul(row)?);
    let from =
        usize::try_from(first.index).ok().and_then(bytes).and_then(|range| source.get(range));
    let Some(from) = from else {
        return Err(no_row(source, row, first.index.saturating_add(len as u64 - 1)));
    };
    let (size, to) = (out.len(), bytes(first.slot));
    let Some(to) = to.and_then(|range| out.get_mut(range)) else {
        return Err(no_slot(size, row, first.slot.saturating_add(len - 1)));
    };
    to.copy_from_slice(from);
    Ok(())
}

/// Copies rows that fit in one or a few registers, without a call of `memcpy`.
fn gather_fixed<const ROW: usize>(
    source: &[u8],
    requests: &[RowRequest],
    out: &mut [u8],
) -> Result<()> {
    let (rows, _) = source.as_chunks::<ROW>();
    let len = out.len();
    let (slots, _) = out.as_chunks_mut::<ROW>();
    let distance = PREFETCH_BYTES / LINE / 4;
    requests.iter().take(distance).for_each(|request| load_row(source, ROW, request));
    for (at, request) in requests.iter().enumerate() {
        if let Some(later) = requests.get(at + distance) {
            load_row(source, ROW, later);
        }
        let from = usize::try_from(request.index).ok().and_then(|index| rows.get(index));
        let Some(from) = from else { return Err(no_row(source, ROW, request.index)) };
        let Some(to) = slots.get_mut(request.slot) else {
            return Err(no_slot(len, ROW, request.slot));
        };
        *to = *from;
    }
    Ok(())
}

fn gather_any(source: &[u8], row: usize, requests: &[RowRequest], out: &mut [u8]) -> Result<()> {
    let distance = (PREFETCH_BYTES / row).clamp(2, PREFETCH_BYTES / LINE / 4);
    requests.iter().take(distance).for_each(|request| load_row(source, row, request));
    for (at, request) in requests.iter().enumerate() {
        if let Some(later) = requests.get(at + distance) {
            load_row(source, row, later);
        }
        let bytes =
            |first: usize| Some(first.checked_mul(row)?..first.checked_add(1)?.checked_mul(row)?);
        let from =
            usize::try_from(request.index).ok().and_then(bytes).and_then(|range| source.get(range));
        let Some(from) = from else { return Err(no_row(source, row, request.index)) };
        let (len, to) = (out.len(), bytes(request.slot));
        let Some(to) = to.and_then(|range| out.get_mut(range)) else {
            return Err(no_slot(len, row, request.slot));
        };
        to.copy_from_slice(from);
    }
    Ok(())
}

#[cold]
fn no_row(source: &[u8], row: usize, index: u64) -> Error {
    request::no_row(index, source.len().checked_div(row).unwrap_or(0) as u64)
}

#[cold]
fn no_slot(len: usize, row: usize, slot: usize) -> Error {
    let start = slot as i128 * row as i128;
    Error::OutOfBounds { start, end: start + row as i128, len }
}

/// Prefetches bytes that are read soon.
pub fn prefetch(bytes: &[u8]) {
    bytes.chunks(LINE).take(MOST_LINES).for_each(|line| load(line.as_ptr()));
}

/// Prefetches a row, if the source has it.
#[inline(always)]
fn load_row(source: &[u8], row: usize, request: &RowRequest) {
    let start = usize::try_from(request.index).unwrap_or(usize::MAX).wrapping_mul(row);
    let address = source.as_ptr().wrapping_add(start);
    // A row that does not start on a line reaches into one more.
    for line in 0..(row.div_ceil(LINE) + usize::from(row >= LINE)).min(MOST_LINES) {
        load(address.wrapping_add(line * LINE));
    }
}

/// Prefetches the cache line at any address.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn load(address: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch is a hint: it reads nothing that a program can see, and faults at no
    // address. Every x86-64 has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
fn load(_address: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers that are the same each time.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        (seed..).map(|i| {
            let mixed = (i ^ (i >> 30))
                .wrapping_add(0x9e37_79b9_7f4a_7c15)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 11
        })
    }

    fn plainly(source: &[u8], row: usize, requests: &[RowRequest], out: &mut [u8]) {
        for request in requests {
            let from = usize::try_from(request.index).unwrap() * row;
            out[request.slot * row..(request.slot + 1) * row]
                .copy_from_slice(&source[from..from + row]);
        }
    }

    #[test]
    fn rows_of_every_size_are_copied_as_one_by_one() {
        for row in (0..70).chain([100, 127, 128, 400, 1000, 5000]) {
            let (rows, slots) = (97, 41);
            let source: Vec<u8> =
                numbers(row as u64).take(rows * row).map(|n| n.to_le_bytes()[0]).collect();
            let random: Vec<RowRequest> = numbers(7)
                .zip((0..slots).rev())
                .map(|(n, slot)| RowRequest { index: n % rows as u64, slot })
                .collect();
            let straight: Vec<RowRequest> =
                (0..slots).map(|slot| RowRequest { index: 13 + slot as u64, slot }).collect();
            for requests in
                [&random[..], &random[..1], &random[..0], &straight[..], &straight[5..9]]
            {
                let (mut expected, mut out) = (vec![0; slots * row], vec![0; slots * row]);
                plainly(&source, row, requests, &mut expected);
                gather(&source, row, requests, &mut out).unwrap();
                assert_eq!(out, expected, "rows of {row} bytes");
            }
        }
    }

    #[test]
    fn a_row_that_is_not_there_is_an_error_wherever_it_stands() {
        for row in [1, 4, 64, 400] {
            let source = vec![1_u8; 10 * row];
            let mut out = vec![0_u8; 3 * row];
            let ask = |index, slot| RowRequest { index, slot };
            for index in [10, 11, 1 << 40, u64::MAX / 400, u64::MAX] {
                for requests in [
                    vec![ask(index, 0)],
                    vec![ask(1, 0), ask(9, 1), ask(index, 2)],
                    vec![ask(index, 1), ask(0, 0)],
                ] {
                    let error = gather(&source, row, &requests, &mut out).unwrap_err();
                    assert!(
                        matches!(error, Error::IndexOutOfRange { len: 10, .. }),
                        "{index}: {error}"
                    );
                }
            }
            assert!(
                gather(&source, row, &[ask(9, 0), ask(10, 1)], &mut out).is_err(),
                "a run over the end"
            );
            for slot in [3, usize::MAX / 400, usize::MAX] {
                assert!(matches!(
                    gather(&source, row, &[ask(1, slot)], &mut out),
                    Err(Error::OutOfBounds { .. })
                ));
                assert!(matches!(
                    gather(&source, row, &[ask(3, 0), ask(1, slot)], &mut out),
                    Err(Error::OutOfBounds { .. })
                ));
            }
        }
    }

    /// `cargo test --release -p tensorferry --lib -- --ignored --nocapture
    /// how_fast_rows_are_gathered`
    #[test]
    #[ignore = "a benchmark"]
    #[allow(
        clippy::print_stderr,
        clippy::cast_precision_loss,
        reason = "a benchmark prints, and its figures are rough"
    )]
    fn how_fast_rows_are_gathered() {
        for (megabytes, row, size) in [
            (40_usize, 400_usize, 32),
            (40, 400, 1024),
            (4000, 400, 32),
            (4000, 400, 1024),
            (4000, 4, 1024),
            (400, 64, 1024),
            (4000, 4096, 32),
        ] {
            let rows = megabytes * 1_000_000 / row;
            let mut source = crate::memory::pool::take(rows * row).unwrap();
            source.as_mut_slice().fill(1);
            let mut out = crate::memory::pool::take(size * row).unwrap();
            let mut best = [f64::MAX; 2];
            for round in 0..10 {
                let batches: Vec<Vec<RowRequest>> = (0..102_400 / size as u64)
                    .map(|batch| {
                        let indices = numbers(round * 1_000_000 + batch * size as u64).take(size);
                        indices
                            .enumerate()
                            .map(|(slot, n)| RowRequest { index: n % rows as u64, slot })
                            .collect()
                    })
                    .collect();
                for (which, best) in best.iter_mut().enumerate() {
                    let began = std::time::Instant::now();
                    for requests in &batches {
                        match which {
                            0 => plainly(source.as_mut_slice(), row, requests, out.as_mut_slice()),
                            _ => gather(source.as_mut_slice(), row, requests, out.as_mut_slice())
                                .unwrap(),
                        }
                    }
                    *best = best.min(began.elapsed().as_secs_f64() / 102_400.0);
                }
            }
            eprintln!(
                "{size} {row}-byte rows of {megabytes} MB: {:.1} M rows/s, one by one {:.1}",
                1e-6 / best[1],
                1e-6 / best[0]
            );
        }
    }
}
