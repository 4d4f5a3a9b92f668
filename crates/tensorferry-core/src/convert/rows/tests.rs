//! Every kernel at every level of this CPU against the obvious loop, bit for bit.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "test values are truncated bits"
)]

use super::*;
use crate::convert::dispatch::at_every_level;
use crate::convert::scalar::{Value, convert_scalar, read};
use crate::convert::tests::{Random, elements};
use crate::{ByteOrder, Casting, DType, Scalar, View, value_range};
use alloc::vec::Vec;

/// Packed elements of a dtype, and the float32 nearest to each.
fn numbers(dtype: DType, len: usize, random: &mut Random) -> (Vec<u8>, Vec<f32>) {
    let all = elements(dtype, random);
    let chosen: Vec<_> = (0..len).map(|_| all[random.next() as usize % all.len()]).collect();
    let bytes = chosen.iter().flat_map(|element| element[..dtype.size()].to_vec()).collect();
    let single = |element: &[u8; 16]| {
        let value = read(dtype, ByteOrder::Native, element);
        let bytes = convert_scalar(value, DType::Float32, Casting::Saturate).unwrap();
        f32::from_ne_bytes(bytes[..4].try_into().unwrap())
    };
    (bytes, chosen.iter().map(single).collect())
}

fn real() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|dtype| dtype.kind() != crate::Kind::Complex)
}

/// Whether both are the same float, or NaN.
fn same(left: f32, right: f32) -> bool {
    left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
}

#[test]
fn scaling_rounds_twice_from_every_dtype() {
    let mut random = Random(11);
    for (period, run) in [(1, 1), (1, 9), (3, 1), (4, 5), (3, 100), (700, 1)] {
        let values = |seed: f32| -> Vec<f32> {
            (0..period).map(|i| seed + i as f32 * 0.37 - 1e-3).collect()
        };
        let (mul, add) = (values(0.1), values(-2.0));
        let factors = Factors::new(&mul, &add, run).unwrap();
        for dtype in real() {
            for len in [0, period * run, 2 * period * run, 1050 * run] {
                let (src, singles) = numbers(dtype, len, &mut random);
                at_every_level(|level| {
                    // One byte off any alignment.
                    let (mut shifted, mut out) =
                        (alloc::vec![0; src.len() + 1], alloc::vec![7; 4 * len + 1]);
                    shifted[1..].copy_from_slice(&src);
                    assert!(scale(dtype, &shifted[1..], &factors, &mut out[1..]));
                    for (i, (got, x)) in out[1..].chunks(4).zip(&singles).enumerate() {
                        let got = f32::from_ne_bytes(got.try_into().unwrap());
                        let at = i / run % period;
                        let expected = x * mul[at] + add[at];
                        assert!(same(got, expected), "{level:?} {dtype} {x}: {got} {expected}");
                    }
                });
            }
        }
    }
}

#[test]
fn scaling_refuses_what_it_cannot_do() {
    let factors = Factors::new(&[1.0], &[0.0], 1).unwrap();
    assert!(!scale(DType::Complex64, &[0; 8], &factors, &mut [0; 4]));
    assert!(!scale(DType::Int16, &[0; 4], &factors, &mut [0; 4]));
    assert!(!scale(DType::Int16, &[0; 3], &factors, &mut [0; 4]));
    assert!(Factors::new(&[], &[], 1).is_none() && Factors::new(&[1.0], &[], 1).is_none());
    assert!(Factors::new(&[1.0, 2.0], &[0.0, 0.0], 0).is_none());
}

#[test]
fn positions_are_below_the_length_or_not() {
    at_every_level(|level| {
        for len in [0, 1, 5, usize::MAX] {
            assert!(all_below(&[], len));
            let last = i64::try_from(len).unwrap_or(i64::MAX);
            for bad in [-1, i64::MIN, last, i64::MAX].into_iter().filter(|bad| *bad < 0 || len < 9)
            {
                for at in 0..37 {
                    let mut values = alloc::vec![last.min(5) - 1; 37];
                    values[at] = bad;
                    assert!(!all_below(&values, len), "{level:?} {bad} {len}");
                }
            }
            if len > 0 {
                assert!(all_below(&alloc::vec![last.min(5) - 1; 37], len), "{level:?} {len}");
            }
        }
    });
}

fn takes<const N: usize>() {
    let table: Vec<u8> = (0..20 * N).map(|i| i as u8).collect();
    let positions: Vec<i64> = (0..55).map(|i| i * 7 % 20).collect();
    let mut out = alloc::vec![0; 55 * N];
    assert!(take::<N>(&table, &positions, &mut out));
    for (out, at) in out.chunks(N).zip(&positions) {
        assert_eq!(out, &table[*at as usize * N..][..N]);
    }
    assert!(!take::<N>(&table, &[20], &mut out) && !take::<N>(&table, &[-1], &mut out));
    assert!(!take::<N>(&table, &positions, &mut out[..54 * N]));
}

#[test]
fn rows_are_taken_and_ones_are_set() {
    at_every_level(|_| {
        takes::<1>();
        takes::<2>();
        takes::<4>();
        takes::<8>();
        takes::<16>();
        for size in [1, 2, 4, 8, 16] {
            let one: Vec<u8> = (1..=size as u8).collect();
            let mut out = alloc::vec![0; 4 * 6 * size];
            set_ones(&[5, 0, 6, 2], 6, &one, &mut out);
            for (at, element) in out.chunks(size).enumerate() {
                let expected =
                    if [5, 6, 20].contains(&at) { one.clone() } else { alloc::vec![0; size] };
                assert_eq!(element, expected);
            }
        }
        set_ones(&[0], 0, &[1], &mut []);
    });
}

#[test]
fn units_of_every_size_are_reversed_and_filled() {
    at_every_level(|level| {
        for unit in (1..=20).chain([48, 100]) {
            for count in [0, 1, 2, 3, 31, 64, 117] {
                let src: Vec<u8> = (0..unit * count).map(|i| ((i * 31) >> 3) as u8).collect();
                let mut out = alloc::vec![0; src.len()];
                reverse(&src, &mut out, unit);
                let expected: Vec<u8> = src.rchunks(unit).flatten().copied().collect();
                assert_eq!(out, expected, "{level:?} {unit} {count}");
                for value in [alloc::vec![9; unit], (0..unit as u8).collect()] {
                    fill(&mut out, &value);
                    assert_eq!(out, value.repeat(count), "{level:?} {unit} {count}");
                }
            }
        }
    });
}

/// The least and the greatest value, one after the other; the first NaN.
fn plain_range(dtype: DType, bytes: &[u8]) -> Option<(Scalar, Scalar)> {
    let values = bytes.chunks(dtype.size()).map(|bytes| read(dtype, ByteOrder::Native, bytes));
    let less = |a: &Value, b: &Value| match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a < b,
        (Value::Int(a), Value::Int(b)) => a < b,
        (Value::Float(a), Value::Float(b)) => a < b,
        _ => unreachable!(),
    };
    let nan = |value: &Value| matches!(value, Value::Float(value) if value.is_nan());
    let mut found: Option<(Value, Value)> = None;
    for value in values {
        let (low, high) = found.get_or_insert((value, value));
        if nan(&value) {
            found = Some((value, value));
            break;
        }
        *low = if less(&value, low) { value } else { *low };
        *high = if less(high, &value) { value } else { *high };
    }
    let number = |value: Value| match (dtype, value) {
        (DType::Float16 | DType::BFloat16 | DType::Float32, Value::Float(value)) => {
            Scalar::Float32(value as f32)
        }
        (_, value) => value.to_scalar(dtype),
    };
    found.map(|(low, high)| (number(low), number(high)))
}

#[test]
fn ranges_are_those_of_one_value_after_the_other() {
    let bits = |scalar: Scalar| match scalar {
        Scalar::Float32(value) if !value.is_nan() => (32, u64::from(value.to_bits())),
        Scalar::Float64(value) if !value.is_nan() => (64, value.to_bits()),
        Scalar::Float32(_) | Scalar::Float64(_) => (0, 0),
        Scalar::Bool(value) => (1, u64::from(value)),
        Scalar::Int(value) => (128, value as u64),
        other => unreachable!("{other:?}"),
    };
    let mut random = Random(5);
    for dtype in real() {
        for len in [0, 1, 2, 15, 16, 17, 63, 64, 65, 200, 3000] {
            for _ in 0..6 {
                let (mut bytes, _) = numbers(dtype, len, &mut random);
                if random.next().is_multiple_of(2) {
                    // Without NaNs and large values, so that zeros of both signs are at the ends.
                    for (at, element) in bytes.chunks_mut(dtype.size()).enumerate() {
                        let value =
                            Value::Float(if random.next().is_multiple_of(3) { -0.0 } else { 0.0 });
                        let value =
                            if dtype.is_integer() { Value::Int(at as i128 % 3) } else { value };
                        let value = convert_scalar(value, dtype, Casting::Saturate).unwrap();
                        element.copy_from_slice(&value[..dtype.size()]);
                    }
                }
                let expected =
                    plain_range(dtype, &bytes).map(|(low, high)| (bits(low), bits(high)));
                at_every_level(|level| {
                    let view = View::from_bytes(dtype, ByteOrder::Native, &bytes, &[len]).unwrap();
                    let got = value_range(&view).unwrap();
                    let got = got.map(|(low, high)| (bits(low), bits(high)));
                    assert_eq!(got, expected, "{level:?} {dtype} {len}");
                });
            }
        }
    }
}
