//! `tensorferry stream`: runs a dataset over files, and measures it.

use crate::arguments::open::OpenArgs;
use crate::arguments::select::{DTypes, Named};
use crate::arguments::size::Size;
use crate::arguments::storage::any_remote;
use crate::outcome::{Outcome, io, wrong};
use crate::progress::{Unit, shown};
use crate::report::stream::{Measured, Report, Threads};
use crate::usage;
use std::hint::black_box;
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tensorferry::dataset::{
    BatchOptions, CancelToken, Cardinality, Dataset, Element, Epoch, IterStats, Options,
    ShuffleOptions,
};
use tensorferry::{Array, Casting, Error, Mode, Progress, is_remote, request_counts};

/// How long to wait for a batch before checking for signals.
const POLL: Duration = Duration::from_millis(50);

/// Stream files as batches, as a training run does, and report the speed and where the time went
///
/// The consuming thread reads every byte of every batch once, the least that any consumer does.
#[derive(Debug, clap::Args)]
pub(crate) struct Stream {
    /// Files, URLs, or quoted patterns such as 'part-*.npy'; several are the shards of one array
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// Rows per batch
    #[arg(
        long,
        value_name = "ROWS",
        default_value = "1024",
        value_parser = crate::arguments::size::rows
    )]
    batch: NonZero<usize>,
    /// Drop a last batch of fewer rows
    #[arg(long)]
    drop_remainder: bool,
    /// Shuffle all rows, in another order in each epoch
    #[arg(long)]
    shuffle: bool,
    /// Seed of the order [default: random]
    #[arg(long, requires = "shuffle")]
    seed: Option<u64>,
    /// dtype to convert to, of all arrays or of one
    #[arg(long, value_name = "[NAME=]DTYPE", long_help = crate::arguments::select::DTYPE_HELP)]
    dtype: Vec<String>,
    /// What to do with a value that the dtype cannot hold; checked stops
    #[arg(long, default_value = "checked", value_parser = crate::arguments::open::castings())]
    casting: Casting,
    /// Number of epochs [default: 1, or as many as --steps needs]
    #[arg(long, value_name = "EPOCHS", value_parser = crate::arguments::size::many)]
    epochs: Option<NonZero<u64>>,
    /// Stop after this many batches
    #[arg(long, value_name = "BATCHES", value_parser = crate::arguments::size::many)]
    steps: Option<NonZero<u64>>,
    /// Threads that read and convert [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = crate::arguments::size::rows)]
    threads: Option<NonZero<usize>>,
    /// Limit of memory for batches in flight, such as 64M
    #[arg(long, value_name = "BYTES", value_parser = crate::arguments::size::parse)]
    memory_limit: Option<Size>,
    /// Drop the files from the page cache first, so that they are read from the device; objects of
    /// stores are not in it
    #[arg(long)]
    cold: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Print no progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    open: OpenArgs,
}

/// Totals of the batches received.
#[derive(Default)]
struct Counted {
    batches: u64,
    rows: u64,
    bytes: u64,
    waited: Duration,
    consumed: Duration,
}

impl Stream {
    pub(crate) fn run(&self, out: &mut dyn Write, cancel: &CancelToken) -> Outcome {
        let arrays =
            self.open.open_all(&self.sources, self.memory_limit, Mode::Map, cancel)?.arrays;
        if let Some(scalar) = arrays.iter().find(|array| array.array.shape().is_empty()) {
            let name = scalar.name.as_deref().unwrap_or("the array");
            return Err(wrong(format!(
                "{name} has no dimension, and so no rows. Choose other arrays with --array."
            )));
        }
        if self.cold {
            let paths = arrays.iter().flat_map(|array| array.array.paths());
            // Objects are not in the page cache.
            for path in paths.filter(|path| !is_remote(path)) {
                usage::drop_cached(path).map_err(io("drop from the page cache", path))?;
            }
        }
        let progress = Progress::default();
        let dataset = self.dataset(&arrays, &progress)?;
        let mut report = Report::new(&dataset, &arrays, any_remote(&self.sources))?;
        let ended = self.measure(&dataset, &progress, &mut report, cancel);
        // An interrupted run is reported too.
        if ended.is_ok() || matches!(ended, Err(Error::Interrupted)) {
            match self.json {
                true => writeln!(out, "{:#}", report.json())?,
                false => write!(out, "{}", report.text())?,
            }
        }
        Ok(ended?)
    }

    fn dataset(&self, arrays: &[Named], progress: &Progress) -> Outcome<Dataset> {
        let dtypes = DTypes::parse(&self.dtype)?.of(arrays)?;
        let rows = arrays.iter().map(|Named { array, .. }| Array::counted_by(array, progress));
        let mut dataset = Dataset::from_rows(rows)?;
        if self.shuffle {
            dataset =
                dataset.shuffle(ShuffleOptions { seed: self.seed, ..ShuffleOptions::default() })?;
        }
        if dtypes.iter().any(Option::is_some) {
            dataset = dataset.cast(&dtypes, self.casting)?;
        }
        Ok(dataset
            .batch_with(self.batch.get(), BatchOptions { drop_remainder: self.drop_remainder })?
            .prefetch(None))
    }

    /// The number of batches, if it is known.
    fn total(&self, dataset: &Dataset) -> Option<u64> {
        let each = match dataset.cardinality() {
            Cardinality::Finite(batches) => Some(batches),
            _ => None,
        };
        let epochs =
            self.epochs.map(NonZero::get).or(if self.steps.is_some() { None } else { Some(1) });
        let all = each.zip(epochs).map(|(each, epochs)| each.saturating_mul(epochs));
        all.into_iter().chain(self.steps.map(NonZero::get)).min()
    }

    /// Iterates over the dataset, and adds the measurements to the report.
    fn measure(
        &self,
        dataset: &Dataset,
        progress: &Progress,
        report: &mut Report,
        cancel: &CancelToken,
    ) -> Result<(), Error> {
        let ((before, _), asked) = (usage::now(), request_counts());
        let (began, batches, mut counted) = (Instant::now(), AtomicU64::new(0), Counted::default());
        let times = IterStats::default();
        let total = self.total(dataset);
        let ended =
            shown(Unit::Batches, total, &|| batches.load(Ordering::Relaxed), self.quiet, || {
                let epochs = self.epochs.map_or(u64::MAX, NonZero::get);
                for epoch in 0..epochs {
                    let so_far = counted.batches;
                    self.epoch(
                        dataset,
                        Epoch(epoch),
                        (total, &batches),
                        (&mut counted, report),
                        (&times, cancel),
                    )?;
                    // All batches were received, or an epoch had none.
                    if total == Some(counted.batches) || so_far == counted.batches {
                        break;
                    }
                }
                Ok(())
            });
        let (after, memory) = usage::now();
        let Counted { batches, rows, bytes, waited, consumed } = counted;
        let (seconds, usage) = (began.elapsed(), after.since(before));
        let threads = Threads {
            computing: times.computing(),
            read: progress.bytes(),
            reading: progress.reading(),
            converting: times.converting(),
            helping: times.by_consumer(),
            waiting: times.waiting(),
        };
        let network = request_counts().since(&asked);
        report.measured = Measured {
            batches,
            rows,
            bytes,
            seconds,
            waited,
            consumed,
            threads,
            usage,
            memory,
            network,
        };
        ended
    }

    fn epoch(
        &self,
        dataset: &Dataset,
        epoch: Epoch,
        (total, shown): (Option<u64>, &AtomicU64),
        (counted, report): (&mut Counted, &mut Report),
        (times, cancel): (&IterStats, &CancelToken),
    ) -> Result<(), Error> {
        let options = Options {
            threads: self.threads.map(NonZero::get),
            memory_limit: self.memory_limit,
            ..Options::default()
        };
        let asked = Instant::now();
        let mut iter = dataset.iter_with_stats(epoch, &options, times);
        // The first wait includes the start of threads.
        let mut asked = Some(asked).filter(|_| counted.batches == 0);
        while total != Some(counted.batches) {
            let since = asked.take().unwrap_or_else(Instant::now);
            let batch = loop {
                cancel.check()?;
                if let Poll::Ready(batch) = iter.next_within(POLL) {
                    break batch;
                }
            };
            let Some(batch) = batch else { break };
            let batch = batch?;
            let came = Instant::now();
            counted.waited += came - since;
            report.waited(came - since);
            let (rows, bytes) = consume(&batch)?;
            counted.consumed += came.elapsed();
            counted.batches += 1;
            counted.rows += rows;
            counted.bytes += bytes;
            shown.store(counted.batches, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Reads every byte of a batch; returns its numbers of rows and bytes.
fn consume(batch: &Element) -> Result<(u64, u64), Error> {
    let (mut rows, mut bytes) = (0, 0);
    for component in batch {
        let tensor = component.tensor()?;
        let view = tensor.as_view();
        let (words, rest) = view.as_bytes().unwrap_or_default().as_chunks();
        let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
        black_box((sum, rest));
        rows = tensor.shape().first().map_or(1, |rows| *rows as u64);
        bytes += tensor.layout().nbytes() as u64;
    }
    Ok((rows, bytes))
}
