//! Conversion kernels on one core: 65,536 values, which stay in the second-level cache.

use criterion::{BenchmarkId, Criterion, Throughput};
use half::bf16;
use std::error::Error;
use std::time::Duration;
use tensorferry_core::{Casting, Element, View, ViewMut, convert_into};

const LEN: usize = 65_536;

/// One conversion of `source` to `To`, as bytes read and written in a second.
fn bench<From: Element, To: Element + Default>(
    criterion: &mut Criterion,
    source: &[From],
    casting: Casting,
) -> Result<(), Box<dyn Error>> {
    let source = View::from_slice(source, &[LEN])?;
    let mut out = vec![To::default(); LEN];
    convert_into(&source, &mut ViewMut::from_slice(&mut out, &[LEN])?, casting)?;

    let mut group = criterion.benchmark_group("convert");
    let bytes = LEN * (size_of::<From>() + size_of::<To>());
    group.throughput(Throughput::Bytes(u64::try_from(bytes)?));
    let name = format!("{} to {}", From::DTYPE, To::DTYPE);
    group.bench_function(BenchmarkId::new(name, format!("{casting:?}")), |bencher| {
        bencher
            .iter(|| convert_into(&source, &mut ViewMut::from_slice(&mut out, &[LEN])?, casting));
    });
    group.finish();
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .configure_from_args();
    let small: Vec<i16> = (0..LEN).map(|i| i16::try_from(i % 30_000)).collect::<Result<_, _>>()?;
    let int64: Vec<i64> = small.iter().map(|&value| value.into()).collect();
    let float32: Vec<f32> = small.iter().map(|&value| value.into()).collect();
    let float64: Vec<f64> = small.iter().map(|&value| value.into()).collect();
    let bfloat16: Vec<bf16> = float32.iter().map(|&value| bf16::from_f32(value)).collect();
    let uint8: Vec<u8> = small.iter().map(|value| value.to_le_bytes()[0]).collect();

    bench::<i64, i32>(&mut criterion, &int64, Casting::Checked)?;
    bench::<i64, i32>(&mut criterion, &int64, Casting::Wrap)?;
    bench::<f32, i32>(&mut criterion, &float32, Casting::Checked)?;
    bench::<f64, i64>(&mut criterion, &float64, Casting::Checked)?;
    bench::<f64, f32>(&mut criterion, &float64, Casting::Checked)?;
    bench::<f32, bf16>(&mut criterion, &float32, Casting::Checked)?;
    bench::<bf16, f32>(&mut criterion, &bfloat16, Casting::Checked)?;
    bench::<u8, f32>(&mut criterion, &uint8, Casting::Checked)?;
    criterion.final_summary();
    Ok(())
}
