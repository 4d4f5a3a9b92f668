//! Iterations over rows of a network.

use crate::ShuffleOptions;
use crate::error::Result;
use crate::execute::options::Options;
use crate::stage::{Dataset, Epoch};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tensorferry_core::DType;
use tensorferry_io::{CancelToken, OpenOptions, Raw, ReadAt, open_sources};

const ROWS: u64 = 6400;

/// Bytes of an object, whose reads wait until so many are under way.
#[derive(Debug)]
struct Slow {
    together: usize,
    /// Reads under way, and the most so far.
    reads: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl ReadAt for Slow {
    fn len(&self) -> u64 {
        ROWS
    }

    fn name(&self) -> &Path {
        Path::new("s3://bucket/rows.bin")
    }

    fn read_exact_at(
        &self,
        offset: u64,
        out: &mut [u8],
        _cancel: &CancelToken,
    ) -> tensorferry_io::Result<()> {
        let mut reads = self.reads.lock().unwrap();
        reads.0 += 1;
        reads.1 = reads.1.max(reads.0);
        self.changed.notify_all();
        let few = |(_, most): &mut (usize, usize)| *most < self.together;
        let (mut reads, wait) =
            self.changed.wait_timeout_while(reads, Duration::from_secs(20), few).unwrap();
        assert!(!wait.timed_out(), "{} reads at most", reads.1);
        reads.0 -= 1;
        for (out, at) in out.iter_mut().zip(offset..) {
            *out = u8::try_from(at % 251).unwrap();
        }
        Ok(())
    }
}

fn rows(together: usize) -> (Dataset, Arc<Slow>) {
    let slow = Slow { together, reads: Mutex::default(), changed: Condvar::new() };
    let slow = Arc::new(slow);
    let options = OpenOptions { raw: Some(Raw::new(DType::UInt8)), ..OpenOptions::default() };
    let opened = open_sources(&[Arc::clone(&slow) as Arc<dyn ReadAt>], &options).unwrap();
    (Dataset::from_rows([opened.array().unwrap()]).unwrap(), slow)
}

fn shuffled(dataset: &Dataset) -> Result<Dataset> {
    dataset.shuffle(ShuffleOptions::seeded(7))
}

#[test]
fn batches_in_any_order_are_read_at_once() -> Result<()> {
    let (rows, slow) = rows(32);
    let batches = shuffled(&rows.batch(10)?)?;
    let mut found = Vec::new();
    for batch in batches.iter_with(Epoch(0), &Options::default()) {
        found.extend(batch?[0].tensor()?.view::<u8>()?.iter());
    }
    assert_eq!(found.len(), usize::try_from(ROWS).unwrap());
    assert!((32..=65).contains(&slow.reads.lock().unwrap().1));
    Ok(())
}

#[test]
fn as_many_threads_wait_as_the_elements_need() -> Result<()> {
    let (rows, _) = rows(1);
    let batches = shuffled(&rows.batch(10)?)?;
    let all = [&rows, &shuffled(&rows)?, &batches, &batches.batch(4)?, &rows.batch(10)?];
    assert_eq!(all.map(|dataset| dataset.hints.apart), [0, 0, 1, 4, 0]);
    let one = Options { threads: Some(1), ..Options::default() };
    let of = |dataset: &Dataset| {
        let cpus = Options::default().threads();
        (Options::default().threads_for(&dataset.hints), cpus)
    };
    assert_eq!((of(&batches).0, of(&rows).0), (64.max(of(&rows).1), of(&rows).1));
    assert_eq!(one.threads_for(&batches.hints), 1);
    Ok(())
}
