//! Conversion and ranges of random layouts, compared with a loop over all indices.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when it fails, and its arrays are small"
)]

use tensorferry_core::convert::Conversion;
use tensorferry_core::convert::scalar::{convert_scalar, read};
use tensorferry_core::{
    ByteOrder, Casting, DType, Error, Layout, Scalar, View, ViewMut, can_convert, convert,
    convert_into, value_range,
};

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

/// An array of any layout and byte order in its own memory.
struct Array {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    bytes: Vec<u8>,
    start: usize,
}

impl Array {
    /// A random permutation, with random gaps, directions and alignment; with `overlap` also stride
    /// 0.
    fn random(random: &mut Random, dtype: DType, shape: &[usize], overlap: bool) -> Self {
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        let plain = random.below(3) == 0;
        if !plain {
            (0..axes.len()).for_each(|i| axes.swap(i, random.below(shape.len())));
        }
        let mut strides = vec![0_isize; shape.len()];
        let mut step = dtype.size() as isize;
        for &axis in axes.iter().rev() {
            if !plain && step < 100_000 && random.below(3) == 0 {
                step *= 1 + random.below(3) as isize;
            }
            if overlap && random.below(5) == 0 {
                continue;
            }
            strides[axis] = if !plain && random.below(4) == 0 { -step } else { step };
            step *= shape[axis].max(1) as isize;
        }
        let order = if random.below(3) == 0 { ByteOrder::Swapped } else { ByteOrder::Native };
        Self::new(
            dtype,
            order,
            Layout::strided(shape, &strides, dtype.size()).unwrap(),
            random.below(9),
        )
    }

    fn new(dtype: DType, order: ByteOrder, layout: Layout, offset: usize) -> Self {
        let span = layout.span();
        let bytes = vec![0xa5; offset + (span.end - span.start) as usize + 8];
        let start = offset + span.start.unsigned_abs();
        Self {
            dtype,
            order: if dtype.size() == 1 { ByteOrder::Native } else { order },
            layout,
            bytes,
            start,
        }
    }

    fn offset(&self, index: &[usize]) -> usize {
        let by: isize =
            index.iter().zip(self.layout.strides()).map(|(&at, stride)| at as isize * stride).sum();
        self.start.checked_add_signed(by).unwrap()
    }

    /// The native bytes of an element.
    fn get(&self, index: &[usize]) -> Vec<u8> {
        let at = self.offset(index);
        self.ordered(&self.bytes[at..at + self.dtype.size()])
    }

    fn set(&mut self, index: &[usize], native: &[u8]) {
        let (at, bytes) = (self.offset(index), self.ordered(native));
        self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    fn ordered(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let complex = matches!(self.dtype, DType::Complex64 | DType::Complex128);
        if self.order == ByteOrder::Swapped {
            bytes
                .chunks_mut(self.dtype.size() / if complex { 2 } else { 1 })
                .for_each(<[u8]>::reverse);
        }
        bytes
    }

    fn view(&self) -> View<'_> {
        let data = self.bytes.as_ptr().wrapping_add(self.start);
        // SAFETY: `bytes` is as long as the layout's span from `start`.
        unsafe { View::from_raw(self.dtype, self.order, self.layout.clone(), data) }
    }

    fn view_mut(&mut self) -> ViewMut<'_> {
        let data = self.bytes.as_mut_ptr().wrapping_add(self.start);
        // SAFETY: as in `view`; arrays that are written have no overlap.
        unsafe { ViewMut::from_raw(self.dtype, self.order, self.layout.clone(), data) }
    }
}

fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &dim in shape {
        all = all
            .iter()
            .flat_map(|index: &Vec<usize>| (0..dim).map(move |at| [&index[..], &[at]].concat()))
            .collect();
    }
    all
}

fn random_shape(random: &mut Random) -> Vec<usize> {
    match random.below(12) {
        0 => vec![random.below(3000)],
        1 => vec![random.below(90), random.below(90)],
        2 => vec![2, 1 + random.below(1500)],
        3 => vec![1 + random.below(1500), 3],
        4 => vec![1; 64],
        5 => [vec![1; 30], vec![3], vec![1; 30], vec![4, 5]].concat(),
        _ => (0..random.below(6)).map(|_| random.below(7)).collect(),
    }
}

/// Fills an array with values that every dtype holds, and with random bytes now and then if `wild`.
fn fill(array: &mut Array, random: &mut Random, wild: bool) {
    for index in indices(array.layout.shape()) {
        let mut element = convert_scalar(
            read(DType::Int8, ByteOrder::Native, &[random.below(2) as u8]),
            array.dtype,
            Casting::Wrap,
        )
        .unwrap();
        if wild && random.below(50) == 0 {
            element.fill_with(|| random.below(256) as u8);
        }
        let size = array.dtype.size();
        array.set(&index, &element[..size]);
    }
}

/// Converts with a loop over all indices. Returns the number of misfits and the first one.
fn obvious(
    src: &Array,
    dst: &mut Array,
    casting: Casting,
) -> (usize, Option<(Vec<usize>, Scalar)>) {
    let (mut count, mut first) = (0, None);
    for index in indices(src.layout.shape()) {
        let value = read(src.dtype, ByteOrder::Native, &src.get(&index));
        match convert_scalar(value, dst.dtype, casting) {
            Some(_) if src.dtype == dst.dtype && src.dtype != DType::Bool => {
                dst.set(&index, &src.get(&index))
            } // NaNs bit by bit
            Some(bytes) => dst.set(&index, &bytes[..dst.dtype.size()]),
            None => {
                count += 1;
                first.get_or_insert((index, value.to_scalar(src.dtype)));
            }
        }
    }
    (count, first)
}

fn assert_same(dst: &Array, expected: &Array, what: &str) {
    if dst.bytes == expected.bytes {
        return;
    }
    let mut gaps = vec![true; dst.bytes.len()];
    for index in indices(dst.layout.shape()) {
        let (value, wanted) = (
            read(dst.dtype, ByteOrder::Native, &dst.get(&index)),
            read(dst.dtype, ByteOrder::Native, &expected.get(&index)),
        );
        // Debug writes all NaNs alike, and -0.0 unlike 0.0.
        assert_eq!(format!("{value:?}"), format!("{wanted:?}"), "{what} at {index:?}");
        gaps[dst.offset(&index)..][..dst.dtype.size()].fill(false);
    }
    let between = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().zip(&gaps).filter(|&(_, gap)| *gap).map(|(byte, _)| *byte).collect()
    };
    assert_eq!(between(&dst.bytes), between(&expected.bytes), "{what} wrote between the elements");
}

fn same_scalar(left: Scalar, right: Scalar) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

#[test]
fn any_layout_converts_to_any_layout() {
    let mut random = Random(42);
    for round in 0..6000 {
        let (from, to) = (DType::ALL[random.below(15)], DType::ALL[random.below(15)]);
        let casting = Casting::ALL[random.below(3)];
        if !casting.is_defined(from, to) {
            continue;
        }
        let shape = random_shape(&mut random);
        let mut src = Array::random(&mut random, from, &shape, true);
        let wild = random.below(2) == 0;
        fill(&mut src, &mut random, wild);
        let mut dst = Array::random(&mut random, to, &shape, false);
        let mut expected = Array { bytes: dst.bytes.clone(), layout: dst.layout.clone(), ..dst };
        let what =
            format!("round {round}: {from} -> {to} {casting} {:?} -> {:?}", src.layout, dst.layout);

        let (count, first) = obvious(&src, &mut expected, casting);
        assert_eq!(can_convert(&src.view(), to, casting), count == 0, "{what}");
        match (convert_into(&src.view(), &mut dst.view_mut(), casting), first) {
            (Ok(()), None) => assert_same(&dst, &expected, &what),
            (Err(Error::ValuesDoNotFit(misfits)), Some((index, value))) => {
                assert_eq!(
                    (misfits.count, misfits.index.to_vec(), misfits.total),
                    (count, index, src.layout.len()),
                    "{what}"
                );
                assert!(
                    same_scalar(misfits.value, value),
                    "{what}: {:?} is not {value:?}",
                    misfits.value
                );
            }
            (result, first) => panic!("{what}: {result:?}, but the loop found {first:?}"),
        }
    }
}

#[test]
fn parts_of_a_conversion_make_the_whole() {
    let mut random = Random(7);
    for _ in 0..600 {
        let shape = random_shape(&mut random);
        let mut src = Array::random(&mut random, DType::Int64, &shape, true);
        fill(&mut src, &mut random, false);
        let mut dst = Array::random(&mut random, DType::Int32, &shape, false);
        let mut expected = Array { bytes: dst.bytes.clone(), layout: dst.layout.clone(), ..dst };
        obvious(&src, &mut expected, Casting::Checked);
        let view = src.view();
        let mut out = dst.view_mut();
        let whole = Conversion::new(&view, &mut out, Casting::Checked).unwrap();
        let at = random.below(whole.splits() + 1);
        let (head, tail) = whole.split_at(at);
        assert_eq!(head.nbytes() + tail.nbytes(), view.layout().len() * 12);
        assert!(tail.run() && head.run());
        assert_same(&dst, &expected, "split");
    }
}

#[test]
fn large_transposes_are_whole() {
    for (rows, cols) in [(301, 517), (5000, 3), (3, 5000)] {
        let src: Vec<i64> = (0..rows * cols).collect();
        let layout = Layout::fortran(&[rows as usize, cols as usize], 8).unwrap();
        // SAFETY: the vector has as many elements as the layout, packed.
        let view =
            unsafe { View::from_raw(DType::Int64, ByteOrder::Native, layout, src.as_ptr().cast()) };
        let tensor = convert(&view, DType::Int32, Casting::Checked).unwrap();
        let out = tensor.view::<i32>().unwrap();
        for i in 0..rows {
            for j in 0..cols {
                assert_eq!(i64::from(out.get(&[i as usize, j as usize]).unwrap()), j * rows + i);
            }
        }
    }
}

#[test]
fn large_unaligned_arrays_are_whole_and_checked_to_the_end() {
    let n = (1 << 20) + 5;
    let mut bytes: Vec<u8> = (0..=n).map(|i| (i % 127) as u8).collect();
    let mut out = vec![0xa5_u8; 2 * n + 3];
    for (to, offset) in [(DType::Int8, 1), (DType::Int16, 1), (DType::Int16, 2), (DType::UInt8, 1)]
    {
        let layout = |size| Layout::contiguous(&[n], size).unwrap();
        // SAFETY: `n` elements from byte 1 of a vector of `n + 1`.
        let view = unsafe {
            View::from_raw(
                DType::UInt8,
                ByteOrder::Native,
                layout(1),
                bytes.as_ptr().wrapping_add(1),
            )
        };
        // SAFETY: room for `n` elements of at most two bytes, after at most two bytes.
        let mut target = unsafe {
            ViewMut::from_raw(
                to,
                ByteOrder::Native,
                layout(to.size()),
                out.as_mut_ptr().wrapping_add(offset),
            )
        };
        convert_into(&view, &mut target, Casting::Checked).unwrap();
        let end = offset + n * to.size();
        let values = out[offset..end]
            .chunks(to.size())
            .map(|element| u16::from_ne_bytes([element[0], *element.get(1).unwrap_or(&0)]));
        assert!(
            values.zip(&bytes[1..]).all(|(out, &byte)| out == u16::from(byte)),
            "{to} at {offset}"
        );
        assert_eq!((out[0], out[end]), (0xa5, 0xa5), "{to} at {offset} wrote outside");
        out.fill(0xa5);
    }
    for at in [1, 20, n / 2, n - 3, n] {
        let kept = std::mem::replace(&mut bytes[at], 200);
        let view = View::from_slice(&bytes, &[n + 1]).unwrap();
        let mut signed = vec![0_i8; n + 1];
        let result = convert_into(
            &view,
            &mut ViewMut::from_slice(&mut signed, &[n + 1]).unwrap(),
            Casting::Checked,
        );
        assert!(matches!(result, Err(Error::ValuesDoNotFit(misfits))
                if misfits.index[0] == at && misfits.count == 1));
        bytes[at] = kept;
    }
}

#[test]
fn ranges_in_any_layout() {
    let mut random = Random(9);
    for round in 0..1500 {
        let dtype = DType::ALL[random.below(13)];
        let shape = random_shape(&mut random);
        let mut src = Array::random(&mut random, dtype, &shape, true);
        fill(&mut src, &mut random, round % 2 == 0);
        let values: Vec<Scalar> = indices(&shape)
            .iter()
            .map(|index| read(dtype, ByteOrder::Native, &src.get(index)).to_scalar(dtype))
            .collect();
        let number = |value: &Scalar| match *value {
            Scalar::Bool(value) => (i128::from(value), f64::from(u8::from(value))),
            Scalar::Int(value) => (value, 0.0),
            Scalar::Float32(value) => (0, value.into()),
            Scalar::Float64(value) | Scalar::Complex(value, _) => (0, value),
        };
        let range =
            value_range(&src.view()).unwrap().map(|(low, high)| (number(&low), number(&high)));
        if values.iter().any(|value| number(value).1.is_nan()) {
            let ((_, low), (_, high)) = range.unwrap();
            assert!(low.is_nan() && high.is_nan(), "round {round} {dtype}: NaN went missing");
        } else {
            let all = || values.iter().map(number);
            let low = all().reduce(|a, b| if b < a { b } else { a });
            let high = all().reduce(|a, b| if b > a { b } else { a });
            assert_eq!(range, low.zip(high), "round {round} {dtype}");
        }
    }
}
