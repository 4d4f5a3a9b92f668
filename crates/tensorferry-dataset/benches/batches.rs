//! Batches on one thread: the order of a shuffle, and rows of 400 bytes gathered in that order.

use criterion::{Criterion, Throughput};
use std::error::Error;
use std::time::Duration;
use tensorferry_core::{DType, Tensor};
use tensorferry_dataset::{Dataset, Epoch, ShuffleOptions};

const BATCH: u64 = 1024;

/// Batches of `dataset` one after the other, each in its own place of the order.
fn bench(
    criterion: &mut Criterion,
    name: &str,
    dataset: &Dataset,
    len: u64,
    throughput: Throughput,
) -> Result<(), Box<dyn Error>> {
    let batch = |first: u64| {
        let indices: Vec<u64> = (first..first + BATCH).collect();
        dataset.get_batch(&indices, Epoch(0))
    };
    batch(0)?;

    let mut group = criterion.benchmark_group("batch");
    group.throughput(throughput);
    let mut first = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            first = (first + BATCH) % (len - BATCH);
            batch(first)
        });
    });
    group.finish();
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();

    let len = 1 << 40;
    let numbers = Dataset::range(0, len, 1, DType::Int64)?.shuffle(ShuffleOptions::seeded(7))?;
    let elements = Throughput::Elements(BATCH);
    bench(&mut criterion, "shuffled numbers", &numbers, len.unsigned_abs(), elements)?;

    // 200 MB: more than the caches, so each row comes from memory.
    let len = 500_000;
    let values = Tensor::from_vec(vec![0.5_f32; len * 100], &[len, 100])?;
    let rows = Dataset::from_tensor_slices([values])?;
    let shuffled = rows.shuffle(ShuffleOptions::seeded(7))?;
    let bytes = Throughput::Bytes(BATCH * 400);
    for (name, dataset) in [("rows in order", &rows), ("shuffled rows", &shuffled)] {
        bench(&mut criterion, name, dataset, u64::try_from(len)?, bytes.clone())?;
    }
    criterion.final_summary();
    Ok(())
}
