//! Conversions that fail or change values, ranges, and the smallest dtype.
#![allow(clippy::unwrap_used, reason = "a test panics when it fails")]

use tensorferry_core::convert::diagnose;
use tensorferry_core::{
    ByteOrder, Casting, DType, Error, Layout, View, ViewMut, can_convert, convert, convert_into,
    smallest_dtype, value_range,
};

#[test]
fn foreign_bools_become_0_or_1() {
    let bytes = [0_u8, 1, 2, 255];
    let layout = Layout::contiguous(&[4], 1).unwrap();
    // SAFETY: four bytes.
    let view = unsafe { View::from_raw(DType::Bool, ByteOrder::Native, layout, bytes.as_ptr()) };
    let tensor = convert(&view, DType::Bool, Casting::Checked).unwrap();
    assert_eq!(tensor.view::<bool>().unwrap().as_slice(), Some(&[false, true, true, true][..]));
    let tensor = convert(&view, DType::Float32, Casting::Checked).unwrap();
    assert_eq!(tensor.view::<f32>().unwrap().as_slice(), Some(&[0.0, 1.0, 1.0, 1.0][..]));
}

#[test]
fn message_names_the_value_its_index_and_the_ways_out() {
    let mut data = vec![0_i64; 1_000_000];
    data[12 * 1000 + 7] = 4_294_967_296;
    data[500_000] = i64::MIN;
    data[999_999] = i64::MAX;
    let error =
        convert(&View::from_slice(&data, &[1000, 1000]).unwrap(), DType::Int32, Casting::Checked)
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "int64 -> int32: 3 of 1000000 values do not fit (first: [12, 7] = 4294967296; int32 holds \
         -2147483648..2147483647). Keep int64, or convert with Casting::Saturate or \
         Casting::Wrap."
    );
    assert_eq!(error.code(), "values_do_not_fit");
}

#[test]
fn a_source_that_fits_when_diagnosed_has_changed() {
    let data = [1_i64, 2];
    let error = diagnose(&View::from_slice(&data, &[2]).unwrap(), DType::Int8, Casting::Checked);
    assert!(matches!(error, Error::SourceChanged { from: DType::Int64, to: DType::Int8 }));
}

#[test]
fn undefined_conversions_and_other_shapes_are_refused() {
    let data = [1.0_f32, 2.0];
    let view = View::from_slice(&data, &[2]).unwrap();
    let mut out = [0_i32; 2];
    let wrap =
        convert_into(&view, &mut ViewMut::from_slice(&mut out, &[2]).unwrap(), Casting::Wrap);
    assert!(matches!(wrap, Err(Error::CastNotDefined { .. })));
    let shape =
        convert_into(&view, &mut ViewMut::from_slice(&mut out, &[1, 2]).unwrap(), Casting::Checked);
    assert!(matches!(shape, Err(Error::ShapeMismatch { .. })));
    assert!(!can_convert(&view, DType::Int32, Casting::Wrap));
}

#[test]
fn a_view_whose_item_size_is_not_its_dtypes_is_refused() {
    let data = [0_u8; 8];
    let layout = Layout::contiguous(&[8], 1).unwrap();
    // SAFETY: eight bytes, as the layout says. They are not eight int64, which must not be read.
    let view = unsafe { View::from_raw(DType::Int64, ByteOrder::Native, layout, data.as_ptr()) };
    assert!(matches!(
        convert(&view, DType::Int32, Casting::Checked),
        Err(Error::SizeOverflow { .. })
    ));
    assert!(!can_convert(&view, DType::Int32, Casting::Checked));
    assert!(value_range(&view).is_err());
}

#[test]
fn complex_numbers_have_no_range() {
    let data = [num_complex::Complex::new(1.0_f32, 0.0)];
    let view = View::from_slice(&data, &[1]).unwrap();
    assert!(matches!(value_range(&view), Err(Error::CastNotDefined { .. })));
    assert!(matches!(smallest_dtype(&view), Err(Error::CastNotDefined { .. })));
}

#[test]
fn smallest_dtype_is_the_narrowest_that_holds_the_values() {
    let of =
        |data: &[i64]| smallest_dtype(&View::from_slice(data, &[data.len()]).unwrap()).unwrap();
    assert_eq!(of(&[]), DType::UInt8);
    assert_eq!(of(&[0, 255]), DType::UInt8);
    assert_eq!(of(&[256]), DType::UInt16);
    assert_eq!(of(&[65536]), DType::UInt32);
    assert_eq!(of(&[1 << 32]), DType::UInt64);
    assert_eq!(of(&[-128, 127]), DType::Int8);
    assert_eq!(of(&[-1, 128]), DType::Int16);
    assert_eq!(of(&[-32769]), DType::Int32);
    assert_eq!(of(&[i64::MIN]), DType::Int64);
    assert_eq!(smallest_dtype(&View::from_slice(&[true], &[1]).unwrap()).unwrap(), DType::Bool);
    let of = |data: &[f64]| smallest_dtype(&View::from_slice(data, &[data.len()]).unwrap());
    assert_eq!(of(&[-0.0, 3.0]).unwrap(), DType::UInt8);
    assert_eq!(of(&[-1.0, 300.0]).unwrap(), DType::Int16);
    for unfit in [&[0.5][..], &[f64::NAN], &[f64::INFINITY], &[-1e300], &[1.0, 2.0, 2_f64.powi(64)]]
    {
        assert!(matches!(of(unfit), Err(Error::ValuesDoNotFit(_))), "{unfit:?}");
    }
}

#[test]
fn message_says_which_integers_a_float_or_complex_dtype_holds() {
    for to in [DType::Float32, DType::Complex64] {
        let error =
            convert(&View::from_slice(&[16_777_217_i64], &[1]).unwrap(), to, Casting::Checked)
                .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("holds every integer from -16777216 to 16777216, not all beyond"),
            "{error}"
        );
    }
}
