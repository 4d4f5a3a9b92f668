//! The measurements of `tensorferry stream`, as text and JSON.

use crate::arguments::select::Named;
use crate::outcome::{Outcome, wrong};
use crate::report::network;
use crate::usage::{Memory, Usage};
use hdrhistogram::Histogram;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value, json};
use std::fmt::Write;
use std::num::NonZero;
use std::time::Duration;
use tensorferry::RequestCounts;
use tensorferry::dataset::Dataset;

/// The greatest time that the histogram records, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

pub(crate) struct Report {
    plan: String,
    mode: &'static str,
    /// The wait for each batch, in nanoseconds.
    waits: Histogram<u64>,
    first: Option<Duration>,
    /// Whether files are in an object store.
    is_remote: bool,
    pub(crate) measured: Measured,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) batches: u64,
    pub(crate) rows: u64,
    /// Bytes of the batches.
    pub(crate) bytes: u64,
    pub(crate) seconds: Duration,
    /// Time that the consumer waited for batches.
    pub(crate) waited: Duration,
    /// Time that the consumer read batches.
    pub(crate) consumed: Duration,
    pub(crate) threads: Threads,
    pub(crate) usage: Usage,
    pub(crate) memory: Memory,
    /// What was asked of object stores.
    pub(crate) network: RequestCounts,
}

/// Times of all threads, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Threads {
    /// Computing batches, including reading and converting.
    pub(crate) computing: Duration,
    /// Bytes of rows that were read.
    pub(crate) read: u64,
    pub(crate) reading: Duration,
    pub(crate) converting: Duration,
    /// Computing by the consumer, while it would have waited.
    pub(crate) helping: Duration,
    /// Idle, with enough batches ready.
    pub(crate) waiting: Duration,
}

impl Threads {
    /// The rest of computing: copying rows into batches, and page faults of mmapped files.
    fn gathering(self) -> Duration {
        self.computing.saturating_sub(self.reading + self.converting)
    }
}

impl Report {
    pub(crate) fn new(dataset: &Dataset, arrays: &[Named], is_remote: bool) -> Outcome<Self> {
        let mode = arrays.first().map_or("", |array| array.array.mode().name());
        let waits =
            Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            plan: dataset.to_string(),
            mode,
            waits,
            first: None,
            is_remote,
            measured: Measured::default(),
        })
    }

    /// Records the wait for a batch.
    pub(crate) fn waited(&mut self, took: Duration) {
        self.first.get_or_insert(took);
        self.waits.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.waits.value_at_quantile(quantile))
    }

    /// The rate per second of a count.
    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.measured.seconds.as_secs_f64().max(1e-9)
    }

    pub(crate) fn json(&self) -> Value {
        let Measured {
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
        } = self.measured;
        json!({
            "plan": self.plan,
            "mode": self.mode,
            "processors": processors(),
            "batches": batches,
            "rows": rows,
            "bytes": bytes,
            "seconds": seconds.as_secs_f64(),
            "rows_per_second": self.rate(rows),
            "bytes_per_second": self.rate(bytes),
            "first_batch_seconds": self.first.map(|first| first.as_secs_f64()),
            "wait_seconds": {
                "all": waited.as_secs_f64(),
                "p50": self.quantile(0.5).as_secs_f64(),
                "p99": self.quantile(0.99).as_secs_f64(),
                "longest": Duration::from_nanos(self.waits.max()).as_secs_f64(),
            },
            "consumer_seconds": consumed.as_secs_f64(),
            "threads": {
                "computing": threads.computing.as_secs_f64(),
                "reading": threads.reading.as_secs_f64(),
                "converting": threads.converting.as_secs_f64(),
                "gathering": threads.gathering().as_secs_f64(),
                "helping": threads.helping.as_secs_f64(),
                "waiting": threads.waiting.as_secs_f64(),
            },
            "reading": match threads.read {
                0 => Value::Null,
                read => json!({"bytes": read, "thread_seconds": threads.reading.as_secs_f64()}),
            },
            "cpu_seconds": {"user": usage.user, "system": usage.system},
            "device": {"bytes": usage.device_bytes, "wait_seconds": usage.device_wait},
            "page_faults": {"minor": usage.minor_faults, "major": usage.major_faults},
            "memory": {"peak": memory.peak, "own": memory.own},
            "network": self.is_remote.then(|| network::json(&network)),
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.plan);
        for (name, value) in self.lines() {
            let _infallible = writeln!(text, "{name:>10}  {value}");
        }
        text
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let Measured {
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
        } = self.measured;
        let rounded = |rate: f64| HumanCount(Duration::from_secs_f64(rate.max(0.0)).as_secs());
        let each_second = BinaryBytes(
            Duration::try_from_secs_f64(self.rate(bytes)).unwrap_or_default().as_secs(),
        );
        let part = |time: Duration| 100.0 * time.as_secs_f64() / seconds.as_secs_f64().max(1e-9);
        let mut lines = vec![
            (
                "rows",
                format!(
                    "{} in {}, {} rows/s",
                    HumanCount(rows),
                    span(seconds),
                    rounded(self.rate(rows))
                ),
            ),
            (
                "batches",
                format!("{}, {} batches/s", HumanCount(batches), rounded(self.rate(batches))),
            ),
            ("bytes", format!("{}, {each_second}/s", BinaryBytes(bytes))),
        ];
        if let Some(first) = self.first {
            let (p50, p99) = (span(self.quantile(0.5)), span(self.quantile(0.99)));
            let longest = span(Duration::from_nanos(self.waits.max()));
            lines.push((
                "a batch",
                format!(
                    "came after {p50} (p50), {p99} (p99), {longest} (longest); the first after {}",
                    span(first)
                ),
            ));
        }
        let helped = match threads.helping {
            Duration::ZERO => String::new(),
            helping => format!(", {} of it working itself", span(helping)),
        };
        let (waits, reads) = (part(waited), part(consumed));
        let consumer = format!(
            "waited {} ({waits:.0} %{helped}), read batches {} ({reads:.0} %)",
            span(waited),
            span(consumed)
        );
        lines.push(("consumer", consumer));
        lines.push(("threads", threads.words()));
        if threads.read > 0 {
            let each = threads.read as f64 / threads.reading.as_secs_f64().max(1e-9);
            let each = BinaryBytes(Duration::try_from_secs_f64(each).unwrap_or_default().as_secs());
            lines.push((
                "reading",
                format!("{} of rows, {each}/s in each thread", BinaryBytes(threads.read)),
            ));
        }
        if self.is_remote {
            lines.push(("network", network::words(&network)));
        }
        if let (Some(user), Some(system)) = (usage.user, usage.system) {
            let busy = (user + system) / seconds.as_secs_f64().max(1e-9);
            lines.push((
                "processor",
                format!(
                    "{user:.2} s user, {system:.2} s system: {busy:.2} of {} busy",
                    processors()
                ),
            ));
        }
        if let Some(bytes) = usage.device_bytes {
            let wait = usage
                .device_wait
                .map(|wait| format!(", threads waited {wait:.2} s for it"))
                .unwrap_or_default();
            lines.push(("device", format!("{} came from it{wait}", BinaryBytes(bytes))));
        }
        if let (Some(minor), Some(major)) = (usage.minor_faults, usage.major_faults) {
            lines.push((
                "faults",
                format!(
                    "{} minor, {} major, mode {}",
                    HumanCount(minor),
                    HumanCount(major),
                    self.mode
                ),
            ));
        }
        if let (Some(peak), Some(own)) = (memory.peak, memory.own) {
            lines.push((
                "memory",
                format!(
                    "{} at most, mmapped files included; {} at the end without them",
                    BinaryBytes(peak),
                    BinaryBytes(own)
                ),
            ));
        }
        lines
    }
}

impl Threads {
    fn words(self) -> String {
        let part =
            |time: Duration| 100.0 * time.as_secs_f64() / self.computing.as_secs_f64().max(1e-9);
        let parts = [
            ("read", self.reading),
            ("converted", self.converting),
            ("gathered", self.gathering()),
        ];
        let parts: Vec<String> = parts
            .iter()
            .map(|(name, time)| format!("{name} {} ({:.0} %)", span(*time), part(*time)))
            .collect();
        let (all, waiting) = (span(self.computing), span(self.waiting));
        format!(
            "worked {all} of their time: {}; {waiting} idle, with enough ahead",
            parts.join(", ")
        )
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// `1.23 s`, `4.56 ms`, `7.89 µs`
fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        0.0 => "0 s".into(),
        1.0.. => format!("{seconds:.2} s"),
        1e-3.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.2} µs", seconds * 1e6),
    }
}
