//! Every kernel on every level of CPU against the oracle, and the oracle against Rust and the crate
//! `half`.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "test values are truncated bits"
)]

use super::Conversion;
use super::dispatch::{CpuLevel, kernel_at};
use super::scalar::{Bytes, Value, convert_scalar, read};
use crate::{ByteOrder, Casting, DType, Layout, View, ViewMut};
use alloc::vec::Vec;
use half::{bf16, f16};

/// xorshift64*: the same numbers on every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Values at which some dtype's result changes: bounds, powers of two and their neighbours, ties,
/// subnormals.
fn edge_values() -> Vec<Value> {
    let mut values = Vec::new();
    for k in 0..66 {
        for near in [-1, 0, 1] {
            let int = (1_i128 << k) + near;
            values.extend([
                Value::Int(int),
                Value::Int(-int),
                Value::Float(int as f64),
                Value::Float(-int as f64),
            ]);
        }
        for bits in [8, 11, 24] {
            // An even and an odd last bit, each with half of it added, and the neighbours of both.
            for odd in [0.0, 1.0] {
                let step = 2.0 / f64::from(1 << bits);
                let tie = 1.0 + odd * step + step / 2.0;
                for value in [
                    tie,
                    tie.next_up(),
                    tie.next_down(),
                    f64::from((tie as f32).next_up()),
                    f64::from((tie as f32).next_down()),
                ] {
                    values.push(Value::Float(value * (1_u128 << k) as f64));
                    values.push(Value::Int((value * (1_u128 << k) as f64) as i128));
                }
            }
        }
    }
    for exponent in [-14_i32, -24, -25, -126, -133, -134, -149, -150, -1022] {
        let least = 2_f64.powi(exponent);
        for value in [least, least * 1.5, least * 2.5, least.next_up(), least.next_down()] {
            values.extend([Value::Float(value), Value::Float(-value)]);
        }
    }
    let greatest = [
        65504.0,
        65519.0,
        65520.0,
        f64::from(bf16::MAX),
        f64::from(f32::MAX),
        2_f64.powi(128) - 2_f64.powi(103),
        f64::MAX,
    ];
    for value in greatest.into_iter().chain([f64::INFINITY, f64::NAN, 0.0, 0.5, 0.999, 5e-324]) {
        for near in [value, value.next_up(), value.next_down()] {
            values.extend([Value::Float(near), Value::Float(-near)]);
        }
    }
    values
}

/// Elements of a dtype: the nearest to the edge values, and random bytes.
pub(super) fn elements(dtype: DType, random: &mut Random) -> Vec<Bytes> {
    let mut out: Vec<Bytes> = edge_values()
        .into_iter()
        .filter_map(|value| convert_scalar(value, dtype, Casting::Saturate))
        .collect();
    if dtype.size() == 2 {
        out.extend((0..=u16::MAX).step_by(7).map(|bits| u128::from(bits).to_le_bytes()));
    }
    for _ in 0..500 {
        out.push(
            (u128::from(random.next()) << 64 | u128::from(random.next() >> (random.next() % 64)))
                .to_ne_bytes(),
        );
    }
    if matches!(dtype, DType::Complex64 | DType::Complex128) {
        let parts: Vec<Bytes> = out.clone();
        let half = dtype.size() / 2;
        for (element, part) in out.iter_mut().zip(parts.iter().rev()) {
            element[half..2 * half].copy_from_slice(&part[..half]);
        }
    }
    out
}

/// Whether two elements are equal. All NaNs are equal, and 0.0 is not -0.0.
pub(super) fn same(dtype: DType, left: &[u8], right: &[u8]) -> bool {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    match (read(dtype, ByteOrder::Native, left), read(dtype, ByteOrder::Native, right)) {
        (Value::Float(a), Value::Float(b)) => same(a, b),
        (Value::Complex(a, b), Value::Complex(c, d)) => same(a, c) && same(b, d),
        _ => left == right,
    }
}

fn for_every_pair(mut check: impl FnMut(DType, DType, Casting)) {
    for from in DType::ALL {
        for to in DType::ALL {
            Casting::ALL.into_iter().for_each(|casting| check(from, to, casting));
        }
    }
}

#[test]
fn kernels_exist_exactly_where_the_conversion_is_defined() {
    for level in CpuLevel::available() {
        for_every_pair(|from, to, casting| {
            assert_eq!(
                kernel_at(level, from, to, casting).is_some(),
                casting.is_defined(from, to),
                "{from} -> {to} {casting}"
            );
        });
    }
}

#[test]
fn every_kernel_agrees_with_the_oracle_value_by_value() {
    const BLOCK: usize = 32;
    let mut random = Random(1);
    let inputs: Vec<Vec<Bytes>> =
        DType::ALL.into_iter().map(|dtype| elements(dtype, &mut random)).collect();
    for level in CpuLevel::available() {
        for_every_pair(|from, to, casting| {
            let Some(kernel) = kernel_at(level, from, to, casting) else { return };
            for element in &inputs[from as usize] {
                let value = read(from, ByteOrder::Native, element);
                let expected = convert_scalar(value, to, casting);
                // Alone, and in each place of the widest block.
                for n in [1, BLOCK] {
                    let src = element[..from.size()].repeat(n);
                    let mut out = [0xa5; 16 * BLOCK];
                    // SAFETY: `n` elements in both; 16 bytes hold one of any dtype.
                    let fits = unsafe { kernel.run(src.as_ptr(), out.as_mut_ptr(), n) };
                    let case = format_args!("{level:?} {from} -> {to} {casting}: {value:?}");
                    assert_eq!(fits, expected.is_some(), "{case}");
                    let Some(expected) = expected else { continue };
                    for out in out[..n * to.size()].chunks(to.size()) {
                        let expected = &expected[..to.size()];
                        assert!(same(to, out, expected), "{case} gave {out:?}, not {expected:?}");
                    }
                }
            }
        });
    }
}

#[test]
fn every_kernel_converts_long_unaligned_runs_and_sees_a_misfit_anywhere() {
    const N: usize = 150; // several of the widest vectors, and a remainder
    let mut random = Random(2);
    let inputs: Vec<Vec<Bytes>> =
        DType::ALL.into_iter().map(|dtype| elements(dtype, &mut random)).collect();
    for level in CpuLevel::available() {
        for_every_pair(|from, to, casting| {
            let Some(kernel) = kernel_at(level, from, to, casting) else { return };
            let fits = |element: &Bytes| {
                convert_scalar(read(from, ByteOrder::Native, element), to, casting).is_some()
            };
            let (good, bad): (Vec<_>, Vec<_>) =
                inputs[from as usize].iter().partition(|element| fits(element));
            let mut src = alloc::vec![0_u8; N * from.size() + 1];
            let mut dst = alloc::vec![0xa5_u8; N * to.size() + 2];
            let chosen: Vec<&Bytes> =
                (0..N).map(|_| good[random.next() as usize % good.len()]).collect();
            for (i, element) in chosen.iter().enumerate() {
                src[1 + i * from.size()..][..from.size()].copy_from_slice(&element[..from.size()]);
            }
            // SAFETY: N elements in both, one byte off any alignment.
            assert!(unsafe {
                kernel.run(src.as_ptr().wrapping_add(1), dst.as_mut_ptr().wrapping_add(1), N)
            });
            for (i, element) in chosen.iter().enumerate() {
                let expected =
                    convert_scalar(read(from, ByteOrder::Native, *element), to, casting).unwrap();
                let out = &dst[1 + i * to.size()..][..to.size()];
                assert!(
                    same(to, out, &expected[..to.size()]),
                    "{level:?} {from} -> {to} {casting}"
                );
            }
            assert_eq!(
                (dst[0], dst[N * to.size() + 1]),
                (0xa5, 0xa5),
                "{level:?} {from} -> {to} wrote outside"
            );
            for _ in 0..if bad.is_empty() { 0 } else { 10 } {
                let (at, element) =
                    (random.next() as usize % N, bad[random.next() as usize % bad.len()]);
                let mut spoilt = src.clone();
                spoilt[1 + at * from.size()..][..from.size()]
                    .copy_from_slice(&element[..from.size()]);
                // SAFETY: as above.
                assert!(!unsafe {
                    kernel.run(spoilt.as_ptr().wrapping_add(1), dst.as_mut_ptr().wrapping_add(1), N)
                });
            }
        });
    }
}

#[test]
fn oracle_rounds_like_rust_and_the_half_crate() {
    let mut random = Random(3);
    let check = |value: Value, to: DType, expected: &[u8]| {
        let nearest = convert_scalar(value, to, Casting::Saturate).unwrap();
        assert!(same(to, &nearest[..to.size()], expected), "{value:?} -> {to}");
    };
    for _ in 0..20_000 {
        let bits = random.next();
        let (double, single) = (f64::from_bits(bits), f32::from_bits(bits as u32));
        let int = (bits as i64) >> (random.next() % 64);
        let near = f64::from(single) * (1.0 + 1e-9);
        check(Value::Float(double), DType::Float32, &(double as f32).to_ne_bytes());
        check(Value::Float(near), DType::Float32, &(near as f32).to_ne_bytes());
        let widened = Value::Float(single.into());
        check(widened, DType::Float16, &f16::from_f32(single).to_ne_bytes());
        check(widened, DType::BFloat16, &bf16::from_f32(single).to_ne_bytes());
        check(Value::Int(int.into()), DType::Float32, &(int as f32).to_ne_bytes());
        check(Value::Int(int.into()), DType::Float64, &(int as f64).to_ne_bytes());
        check(Value::Float(double), DType::Int32, &(double as i32).to_ne_bytes());
    }
}

#[test]
fn rounding_happens_once() {
    // Above a tie of bfloat16 by less than f32 can hold: rounding to f32 first would round down.
    let value = 1.0 + 2_f64.powi(-8) + 2_f64.powi(-40);
    let out = convert_scalar(Value::Float(value), DType::BFloat16, Casting::Checked).unwrap();
    assert_eq!(bf16::from_ne_bytes([out[0], out[1]]).to_f64(), 1.0 + 2_f64.powi(-7));
    let int = (1_i128 << 62) + (1 << 54) + 1;
    let out = convert_scalar(Value::Int(int), DType::BFloat16, Casting::Wrap).unwrap();
    assert_eq!(bf16::from_ne_bytes([out[0], out[1]]).to_f64(), 2_f64.powi(62) + 2_f64.powi(55));
}

#[test]
fn table_of_the_casting_rules() {
    let byte = |value, to, casting| convert_scalar(value, to, casting).map(|bytes| bytes[0]);
    use Casting::{Checked, Saturate, Wrap};
    assert_eq!(byte(Value::Int(300), DType::UInt8, Checked), None);
    assert_eq!(byte(Value::Int(300), DType::UInt8, Saturate), Some(255));
    assert_eq!(byte(Value::Int(300), DType::UInt8, Wrap), Some(44));
    assert_eq!(byte(Value::Int(-1), DType::UInt8, Saturate), Some(0));
    assert_eq!(byte(Value::Float(1.5), DType::UInt8, Checked), None);
    assert_eq!(byte(Value::Float(f64::NAN), DType::UInt8, Checked), None);
    assert_eq!(byte(Value::Float(-0.0), DType::UInt8, Checked), Some(0));
    assert_eq!(byte(Value::Float(1.9), DType::UInt8, Saturate), Some(1));
    assert_eq!(byte(Value::Float(f64::NAN), DType::UInt8, Saturate), Some(0));
    assert_eq!(byte(Value::Float(f64::INFINITY), DType::UInt8, Saturate), Some(255));
    assert_eq!(byte(Value::Float(1.0), DType::UInt8, Wrap), None);
    assert_eq!(byte(Value::Int(2), DType::Bool, Checked), None);
    assert_eq!(byte(Value::Int(2), DType::Bool, Wrap), Some(1));
    assert_eq!(byte(Value::Float(f64::NAN), DType::Bool, Saturate), Some(1));
    assert_eq!(byte(Value::Float(f64::NAN), DType::Bool, Checked), None);
    assert_eq!(byte(Value::Bool(true), DType::Int8, Checked), Some(1));
    assert_eq!(byte(Value::Complex(1.0, 0.0), DType::UInt8, Saturate), None);
    assert!(convert_scalar(Value::Int((1 << 24) + 1), DType::Float32, Checked).is_none());
    assert!(convert_scalar(Value::Int((1 << 24) + 2), DType::Float32, Checked).is_some());
    assert!(convert_scalar(Value::Float(1e39), DType::Float32, Checked).is_none());
    assert!(convert_scalar(Value::Float(f64::INFINITY), DType::Float32, Checked).is_some());
    assert!(convert_scalar(Value::Float(0.1), DType::Float32, Checked).is_some());
    assert!(convert_scalar(Value::Complex(0.0, 1e39), DType::Complex64, Checked).is_none());
}

/// The memory after a conversion of `n` elements to byte `offset` of it, past the caches or not.
fn written(
    streams: bool,
    (from, to): (DType, DType),
    src: &[u8],
    n: usize,
    offset: usize,
) -> Vec<u8> {
    let mut memory = alloc::vec![0xa5; offset + n * to.size() + 64];
    let (shape, start) = ([n], memory[offset..].as_mut_ptr());
    // SAFETY: `src` holds `n` elements; any bytes are integers, floats and complex numbers.
    let view = unsafe {
        View::from_raw(
            from,
            ByteOrder::Native,
            Layout::contiguous(&shape, from.size()).unwrap(),
            src[..n * from.size()].as_ptr(),
        )
    };
    let layout = Layout::contiguous(&shape, to.size()).unwrap();
    // SAFETY: the memory has room for `n` elements from `start`, and is accessed only through `out`
    // while `out` lives.
    let mut out = unsafe { ViewMut::from_raw(to, ByteOrder::Native, layout, start) };
    let mut conversion = Conversion::new(&view, &mut out, Casting::Wrap).unwrap();
    conversion.streams = streams;
    assert!(conversion.run());
    memory
}

#[test]
fn streaming_writes_the_same_bytes_and_no_others() {
    use DType::{Complex64, Complex128, Float64, Int8, Int16, Int32, Int64, UInt8};
    let mut random = Random(0x5eed);
    let src: Vec<u8> = (0..16 * 3000).map(|_| random.next() as u8).collect();
    let pairs = [
        (Int64, Int32),
        (Int32, Int64),
        (Int64, Int8),
        (UInt8, Complex128),
        (Complex128, Complex64),
        (Int16, Int16),
        (Float64, Float64),
    ];
    for pair in pairs {
        for n in [0, 1, 63, 64, 127, 128, 129, 1000, 3000] {
            for offset in [0, 1, 4, 16, 40, 64] {
                let (plain, streamed) =
                    (written(false, pair, &src, n, offset), written(true, pair, &src, n, offset));
                assert!(plain == streamed, "{pair:?}, {n} elements, {offset} bytes in");
            }
        }
    }
}

#[test]
fn streaming_sees_a_misfit_wherever_it_is() {
    const N: usize = 3000;
    for at in [0, 1, 15, 16, 17, N / 2, N - 2, N - 1] {
        let (mut source, mut target) = (alloc::vec![1_i64; N], alloc::vec![0_i32; N + 1]);
        source[at] = 1 << 40;
        for start in [0, 1] {
            let view = View::from_slice(&source, &[N]).unwrap();
            let mut out = ViewMut::from_slice(&mut target[start..start + N], &[N]).unwrap();
            let mut conversion = Conversion::new(&view, &mut out, Casting::Checked).unwrap();
            conversion.streams = true;
            assert!(!conversion.run(), "at {at}");
        }
    }
}

#[test]
fn a_level_is_lowered_by_its_name_and_never_raised() {
    for (asked, lowered) in
        [("baseline", 0), (" Baseline ", 0), ("avx2", 1), ("AVX2", 1), ("avx512", 2)]
    {
        for (at, &detected) in CpuLevel::ALL.iter().enumerate() {
            assert_eq!(CpuLevel::limited(detected, asked), CpuLevel::ALL[at.min(lowered)]);
        }
    }
    let best = *CpuLevel::ALL.last().unwrap();
    assert_eq!(CpuLevel::limited(best, "sse2"), best);
    assert!(CpuLevel::ALL.iter().all(|level| CpuLevel::limited(best, level.name()) == *level));
}

#[test]
fn blocks_of_small_and_of_large_values_follow_each_other() {
    let numbers = |dtype: DType, misfit: Option<usize>| -> Vec<u8> {
        let value = |i: usize| match i {
            _ if Some(i) == misfit => Value::Float(0.5),
            512..1024 | 1536.. => Value::Int((1 << 57) * (i as i128 % 3) + (1 << 40)),
            _ => Value::Int(i as i128 % 300),
        };
        let element = |i| convert_scalar(value(i), dtype, Casting::Saturate).unwrap();
        (0..1700).flat_map(|i| element(i)[..dtype.size()].to_vec()).collect()
    };
    let floats = [DType::Float32, DType::Float64];
    let wide = [DType::Int64, DType::UInt64];
    for level in CpuLevel::available() {
        for (float, int) in floats.into_iter().flat_map(|float| wide.map(|int| (float, int))) {
            for (from, to) in [(float, int), (int, float)] {
                let kernel = kernel_at(level, from, to, Casting::Checked).unwrap();
                let src = numbers(from, None);
                let mut dst = alloc::vec![0_u8; 1700 * to.size()];
                // SAFETY: 1,700 elements in both.
                assert!(unsafe { kernel.run(src.as_ptr(), dst.as_mut_ptr(), 1700) });
                assert_eq!(dst, numbers(to, None), "{level:?} {from} -> {to}");
                let places = if from == float { &[0, 511, 512, 1100, 1699][..] } else { &[] };
                for at in places {
                    let spoilt = numbers(from, Some(*at));
                    // SAFETY: as above.
                    let fits = unsafe { kernel.run(spoilt.as_ptr(), dst.as_mut_ptr(), 1700) };
                    assert!(!fits, "{level:?} {from} -> {to} {at}");
                }
            }
        }
    }
}
