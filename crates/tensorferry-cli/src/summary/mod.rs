//! Summaries of arrays: range, mean, smallest dtype and histogram, in one pass and a fixed amount
//! of memory.
//!
//! # Rationale
//! The calling thread reads chunks in order, which is fastest for files, and worker threads add
//! them up. The result does not depend on which worker sees which chunk: see [`histogram`] and
//! `Floats::mean`.

mod complex;
mod floats;
mod histogram;
mod integers;

use complex::Complexes;
use floats::{Float, Floats};
use histogram::Histogram;
use integers::{Integer, Integers};
use num_complex::Complex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tensorferry::dataset::{CancelToken, Dataset};
use tensorferry::error::CoreError;
use tensorferry::{
    Array, ByteOrder, Casting, DType, Element, Error, Kind, Result, Scalar, Tensor, convert,
};

/// A summary of the elements of an array. For complex numbers, range and histogram are those of
/// the absolute values.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// The least and greatest finite value, if there is one.
    pub(crate) range: Option<(Scalar, Scalar)>,
    /// The mean of the finite values, if there are any; not finite if their sum is not.
    pub(crate) mean: Option<Scalar>,
    pub(crate) nan: u64,
    pub(crate) positive_infinity: u64,
    pub(crate) negative_infinity: u64,
    /// The smallest dtype that holds all values as they are; `None` if there are none.
    pub(crate) smallest: Option<DType>,
    pub(crate) histogram: Bars,
    /// The histogram in up to [`FINE`] intervals.
    pub(crate) fine: Bars,
    /// Summaries of the first columns of a two-dimensional array, if asked for.
    pub(crate) columns: Vec<Summary>,
}

/// Counts of values in intervals of equal width.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bars {
    /// The start of each interval, and the end of the last. A value at an edge is in the interval
    /// that begins there.
    pub(crate) edges: Vec<Scalar>,
    pub(crate) counts: Vec<u64>,
}

/// Intervals of a histogram on the page.
const FINE: usize = 48;

/// Bytes of a batch of several arrays, and its greatest number of rows.
const TOGETHER: usize = 4 << 20;
const MOST_ROWS: usize = 1 << 16;

/// The details to compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The greatest number of intervals of the histogram.
    pub(crate) bars: usize,
    /// The number of columns to summarize of a two-dimensional array.
    pub(crate) columns: usize,
}

/// Summarizes an array.
///
/// # Errors
/// Errors of reading.
pub(crate) fn summarize(array: &Array, wanted: Wanted) -> Result<Summary> {
    let chunks = (0..).zip(array.chunks()).map(|(number, rows)| Ok((0, number, rows?)));
    let mut summaries = tally_all(std::slice::from_ref(array), wanted, chunks)?;
    summaries.pop().ok_or(Error::Interrupted) // there is one
}

/// Summarizes arrays with the same number of rows, which are read together: once, if they have one
/// source.
///
/// # Errors
/// Errors of reading the arrays.
pub(crate) fn summarize_together(
    arrays: &[Array],
    wanted: Wanted,
    cancel: &CancelToken,
) -> Result<Vec<Summary>> {
    let row: usize = arrays.iter().map(|array| array.nbytes() / array.len().max(1)).sum();
    let batches = Dataset::from_rows(arrays.iter().cloned())?
        .batch((TOGETHER / row.max(1)).clamp(1, MOST_ROWS))?;
    let parts = (0..).zip(batches.iter()).flat_map(|(number, batch)| {
        let batch = cancel.check().map_err(Error::from).and(batch);
        let (values, failed) = match batch {
            Ok(values) => (values, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        let rows = values
            .into_iter()
            .enumerate()
            .map(move |(which, value)| Ok((which, number, value.into_tensor()?)));
        rows.chain(failed)
    });
    tally_all(arrays, wanted, parts)
}

/// A part of an array: which array, the number of the part, its rows.
type Part = (usize, u64, Tensor);

fn tally_all(
    arrays: &[Array],
    wanted: Wanted,
    parts: impl Iterator<Item = Result<Part>>,
) -> Result<Vec<Summary>> {
    let tally = |array: &Array| match array.shape() {
        [_, columns] => Tally::new(array.dtype(), wanted.columns.min(*columns)),
        _ => Tally::new(array.dtype(), 0),
    };
    let mut whole: Vec<Tally> = arrays.iter().map(tally).collect();
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (send, receive) = sync_channel(1);
    let receive = Arc::new(Mutex::new(receive));
    let tallies = thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..threads {
            let (tallies, receive) = (whole.clone(), Arc::clone(&receive));
            let named = thread::Builder::new().name("tensorferry-sum".into());
            match named.spawn_scoped(scope, move || tally_parts(tallies, &receive)) {
                Ok(worker) => workers.push(worker),
                Err(_) => break,
            }
        }
        drop(receive);
        let mut alone = whole.clone();
        for part in parts {
            if workers.is_empty() {
                add(&mut alone, &part?)?;
            } else if send.send(part?).is_err() {
                break; // all workers have failed
            }
        }
        drop(send);
        let mut tallies = vec![alone];
        for worker in workers {
            tallies.push(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, Error>(tallies)
    })?;
    for others in tallies {
        whole.iter_mut().zip(others).for_each(|(ours, theirs)| ours.merge(theirs));
    }
    Ok(whole.iter().map(|tally| tally.finish(wanted.bars)).collect())
}

fn add(tallies: &mut [Tally], (which, number, rows): &Part) -> Result<()> {
    tallies.get_mut(*which).map_or(Ok(()), |tally| tally.add(*number, rows))
}

/// Adds up parts until there are no more.
fn tally_parts(mut tallies: Vec<Tally>, receive: &Mutex<Receiver<Part>>) -> Result<Vec<Tally>> {
    loop {
        let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(part) = next else { return Ok(tallies) };
        add(&mut tallies, &part)?;
    }
}

/// The summary of the elements seen so far.
#[derive(Clone, Debug)]
struct Tally {
    dtype: DType,
    all: Values,
    columns: Vec<Values>,
}

#[derive(Clone, Debug)]
enum Values {
    Integers(Integers),
    Floats(Floats),
    Complex(Complexes),
}

impl Tally {
    fn new(dtype: DType, columns: usize) -> Self {
        let values = match dtype.kind() {
            Kind::Bool | Kind::Signed | Kind::Unsigned => Values::Integers(Integers::new()),
            Kind::Complex => Values::Complex(Complexes::new()),
            _ => Values::Floats(Floats::new()),
        };
        Self { dtype, columns: vec![values.clone(); columns], all: values }
    }

    /// Adds the rows of a chunk of this number.
    fn add(&mut self, chunk: u64, rows: &Tensor) -> Result<()> {
        match self.dtype {
            DType::Bool => self.integers::<u8>(chunk, &converted(rows, DType::UInt8)?),
            DType::Int8 => self.integers::<i8>(chunk, &packed::<i8>(rows)?),
            DType::Int16 => self.integers::<i16>(chunk, &packed::<i16>(rows)?),
            DType::Int32 => self.integers::<i32>(chunk, &packed::<i32>(rows)?),
            DType::Int64 => self.integers::<i64>(chunk, &packed::<i64>(rows)?),
            DType::UInt8 => self.integers::<u8>(chunk, &packed::<u8>(rows)?),
            DType::UInt16 => self.integers::<u16>(chunk, &packed::<u16>(rows)?),
            DType::UInt32 => self.integers::<u32>(chunk, &packed::<u32>(rows)?),
            DType::UInt64 => self.integers::<u64>(chunk, &packed::<u64>(rows)?),
            DType::Float16 | DType::BFloat16 => {
                self.floats::<f32>(chunk, &converted(rows, DType::Float32)?)
            }
            DType::Float32 => self.floats::<f32>(chunk, &packed::<f32>(rows)?),
            DType::Float64 => self.floats::<f64>(chunk, &packed::<f64>(rows)?),
            DType::Complex64 | DType::Complex128 => {
                let rows = match self.dtype {
                    DType::Complex64 => converted(rows, DType::Complex128)?,
                    _ => packed::<Complex<f64>>(rows)?,
                };
                self.each(&rows, |values, elements| {
                    if let Values::Complex(tally) = values {
                        tally.add(chunk, elements);
                    }
                })
            }
            other => {
                let descr = other.to_string();
                Err(CoreError::UnsupportedDType { place: "summary", descr }.into())
            }
        }
    }

    fn integers<T: Element + Integer>(&mut self, _chunk: u64, rows: &Tensor) -> Result<()> {
        self.each::<T>(rows, |values, elements| {
            if let Values::Integers(tally) = values {
                tally.add(elements);
            }
        })
    }

    fn floats<T: Element + Float>(&mut self, chunk: u64, rows: &Tensor) -> Result<()> {
        self.each::<T>(rows, |values, elements| {
            if let Values::Floats(tally) = values {
                tally.add(chunk, elements);
            }
        })
    }

    /// Calls `add` with all elements, and with those of each column.
    fn each<T: Element>(&mut self, rows: &Tensor, add: impl Fn(&mut Values, &[T])) -> Result<()> {
        let view = rows.view::<T>()?;
        let elements = view.as_slice().unwrap_or_default();
        add(&mut self.all, elements);
        let width = rows.shape().get(1).copied().unwrap_or(0);
        let mut gathered = Vec::new();
        for (at, column) in self.columns.iter_mut().enumerate() {
            gathered.clear();
            gathered.extend(elements.iter().skip(at).step_by(width.max(1)).copied());
            add(column, &gathered);
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.all.merge(other.all);
        self.columns.iter_mut().zip(other.columns).for_each(|(ours, theirs)| ours.merge(theirs));
    }

    fn finish(&self, bars: usize) -> Summary {
        let columns = self.columns.iter().map(|column| column.finish(self.dtype, bars)).collect();
        Summary { columns, ..self.all.finish(self.dtype, bars) }
    }
}

/// The rows packed and in native byte order; no copy if they already are.
fn packed<T: Element>(rows: &Tensor) -> Result<Tensor> {
    let packed = rows.byte_order() == ByteOrder::Native
        && rows.view::<T>().is_ok_and(|view| view.as_slice().is_some());
    Ok(if packed {
        rows.clone()
    } else {
        convert(&rows.as_view(), rows.dtype(), Casting::Checked)?
    })
}

fn converted(rows: &Tensor, to: DType) -> Result<Tensor> {
    Ok(convert(&rows.as_view(), to, Casting::Checked)?)
}

impl Values {
    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Integers(ours), Self::Integers(theirs)) => ours.merge(theirs),
            (Self::Floats(ours), Self::Floats(theirs)) => ours.merge(theirs),
            (Self::Complex(ours), Self::Complex(theirs)) => ours.merge(theirs),
            _ => {} // of one dtype
        }
    }

    fn finish(&self, dtype: DType, bars: usize) -> Summary {
        match self {
            Self::Integers(tally) => of_integers(tally, dtype, bars),
            Self::Floats(tally) => of_floats(tally, dtype, bars),
            Self::Complex(tally) => {
                let smallest = if tally.single { DType::Complex64 } else { dtype };
                let seen = tally.sizes.finite + tally.sizes.nan + tally.sizes.positive_infinity > 0;
                let mean = tally.mean().map(|(re, im)| Scalar::Complex(re, im));
                Summary {
                    mean,
                    smallest: seen.then_some(smallest),
                    ..of_floats(&tally.sizes, DType::Float64, bars)
                }
            }
        }
    }
}

impl Bars {
    /// At most `bars` intervals; `edge` makes an edge of a multiple of a power of two.
    fn new(histogram: &Histogram, bars: usize, edge: impl Fn(i128, i32) -> Scalar) -> Self {
        let (power, edges, counts) = histogram.bars(bars);
        Self { edges: edges.into_iter().map(|at| edge(at, power)).collect(), counts }
    }
}

fn of_integers(tally: &Integers, dtype: DType, bars: usize) -> Summary {
    let value = |value: i128| {
        if dtype == DType::Bool { Scalar::Bool(value != 0) } else { Scalar::Int(value) }
    };
    // No edge is more than one interval beyond 64 bits.
    let edge = |edge: i128, power: i32| Scalar::Int((edge << power.clamp(0, 64)) + tally.offset);
    Summary {
        range: tally.range().map(|(low, high)| (value(low), value(high))),
        mean: tally.mean().map(Scalar::Float64),
        nan: 0,
        positive_infinity: 0,
        negative_infinity: 0,
        smallest: if dtype == DType::Bool {
            tally.range().map(|_| dtype)
        } else {
            tally.range().and_then(narrowest)
        },
        histogram: Bars::new(&tally.histogram, bars, edge),
        fine: Bars::new(&tally.histogram, FINE, edge),
        columns: Vec::new(),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "back to the original dtype")]
fn of_floats(tally: &Floats, dtype: DType, bars: usize) -> Summary {
    let value = |value: f64| match dtype {
        DType::Float64 => Scalar::Float64(value),
        _ => Scalar::Float32(value as f32),
    };
    // The last interval of the greatest numbers ends past f64::MAX.
    let edge = |edge: i128, power: i32| {
        Scalar::Float64((edge as f64 * 2.0_f64.powi(power)).clamp(f64::MIN, f64::MAX))
    };
    Summary {
        range: tally.range.map(|(low, high)| (value(low), value(high))),
        mean: tally.mean().map(Scalar::Float64),
        nan: tally.nan,
        positive_infinity: tally.positive_infinity,
        negative_infinity: tally.negative_infinity,
        smallest: smallest_float(tally, dtype),
        histogram: Bars::new(&tally.histogram, bars, edge),
        fine: Bars::new(&tally.histogram, FINE, edge),
        columns: Vec::new(),
    }
}

/// The smallest integer dtype of this range.
fn narrowest((low, high): (i128, i128)) -> Option<DType> {
    let kind = if low >= 0 { Kind::Unsigned } else { Kind::Signed };
    let holds = |dtype: &DType| {
        dtype.integer_range().is_some_and(|(least, most)| least <= low && high <= most)
    };
    DType::ALL.into_iter().filter(|dtype| dtype.kind() == kind).find(holds)
}

/// The smallest dtype that holds floats exactly; of two with one size, the current one.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a float out of range saturates, which puts it out of every dtype's range"
)]
fn smallest_float(tally: &Floats, dtype: DType) -> Option<DType> {
    if tally.finite + tally.nan + tally.positive_infinity + tally.negative_infinity == 0 {
        return None;
    }
    let exact = tally.exact;
    let integer = tally
        .range
        .filter(|_| exact.whole)
        .and_then(|(low, high)| narrowest((low as i128, high as i128)));
    let float = if exact.float16 { DType::Float16 } else { DType::Float32 };
    let float = (exact.float16 || exact.float32).then_some(float);
    [Some(dtype), integer, float].into_iter().flatten().min_by_key(|dtype| dtype.size())
}
