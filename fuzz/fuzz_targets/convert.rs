//! Any values in any layout, byte order and alignment, from any dtype to any: equal to the oracle
//! for every element, and no other byte is written.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tensorferry_core::convert::{can_convert, convert_into, scalar};
use tensorferry_core::{ByteOrder, Casting, DType, Error, Kind, Layout, View, ViewMut};

const MOST_ELEMENTS: usize = 3000;
const UNTOUCHED: u8 = 0xAB;

#[derive(Arbitrary, Debug)]
struct Array {
    dtype: u8,
    swapped: bool,
    /// Each dimension's stride, in multiples of the contiguous stride.
    steps: [i8; 4],
    fortran: bool,
    /// Bytes between elements, and before the first.
    gap: u8,
    shift: u8,
}

#[derive(Arbitrary, Debug)]
struct Input {
    from: Array,
    to: Array,
    casting: u8,
    shape: Vec<u8>,
    values: Vec<u8>,
}

/// An array's layout in a separate allocation.
struct Place {
    dtype: DType,
    order: ByteOrder,
    layout: Layout,
    start: usize,
    len: usize,
}

impl Place {
    fn new(array: &Array, shape: &[usize], may_overlap: bool) -> Self {
        let dtype = DType::ALL[usize::from(array.dtype) % DType::ALL.len()];
        let order =
            if array.swapped && dtype.size() > 1 { ByteOrder::Swapped } else { ByteOrder::Native };
        let mut strides = vec![0; shape.len()];
        let mut packed = (dtype.size() + usize::from(array.gap % 4)).cast_signed();
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        if !array.fortran {
            axes.reverse();
        }
        for axis in axes {
            let step = isize::from(array.steps[axis] % 4);
            let step = if step == 0 && !may_overlap { 1 } else { step };
            strides[axis] = packed * step;
            packed *= step.abs().max(1) * shape[axis].max(1).cast_signed();
        }
        let layout = Layout::strided(shape, &strides, dtype.size()).expect("small");
        let span = layout.span();
        let start = usize::from(array.shift % 65) + span.start.unsigned_abs();
        Self { dtype, order, layout, start, len: start + span.end.unsigned_abs() + 7 }
    }

    /// The position of each element in the memory, in row-major order.
    fn elements(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        (0..self.layout.len()).map(|mut at| {
            let mut offset = 0;
            for (&dim, &stride) in self.layout.shape().iter().zip(self.layout.strides()).rev() {
                offset += (at % dim).cast_signed() * stride;
                at /= dim;
            }
            let start = self.start.checked_add_signed(offset).expect("inside the span");
            start..start + self.dtype.size()
        })
    }
}

fn shape(dims: &[u8]) -> Vec<usize> {
    let mut shape: Vec<usize> = dims.iter().take(4).map(|&dim| usize::from(dim)).collect();
    while shape.iter().product::<usize>() > MOST_ELEMENTS {
        shape.iter_mut().for_each(|dim| *dim = dim.div_ceil(2));
    }
    shape
}

fn index(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape.iter().rev().map(|&dim| (at % dim, at /= dim).0).collect();
    index.reverse();
    index
}

/// Whether two values are equal; every NaN equals every other.
fn same(dtype: DType, order: ByteOrder, actual: &[u8], expected: &[u8]) -> bool {
    let equal = |a: f64, b: f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    match (scalar::read(dtype, order, actual), scalar::read(dtype, ByteOrder::Native, expected)) {
        (scalar::Value::Float(a), scalar::Value::Float(b)) => equal(a, b),
        (scalar::Value::Complex(a, b), scalar::Value::Complex(c, d)) => equal(a, c) && equal(b, d),
        (a, b) => a == b && (dtype.kind() != Kind::Bool || actual[0] <= 1),
    }
}

fuzz_target!(|input: Input| {
    let shape = shape(&input.shape);
    let (from, to) = (Place::new(&input.from, &shape, true), Place::new(&input.to, &shape, false));
    let casting = Casting::ALL[usize::from(input.casting) % Casting::ALL.len()];
    let source: Vec<u8> = input.values.iter().copied().chain([0]).cycle().take(from.len).collect();
    let mut target = vec![UNTOUCHED; to.len];

    let expected: Vec<Option<scalar::Bytes>> = from
        .elements()
        .map(|element| {
            scalar::convert_scalar(
                scalar::read(from.dtype, from.order, &source[element]),
                to.dtype,
                casting,
            )
        })
        .collect();
    // SAFETY: the memory has room for the layout's span.
    let src = unsafe {
        View::from_raw(
            from.dtype,
            from.order,
            from.layout.clone(),
            source.as_ptr().wrapping_add(from.start),
        )
    };
    let can = can_convert(&src, to.dtype, casting);
    // SAFETY: as above, and the elements of this layout do not overlap.
    let mut out = unsafe {
        ViewMut::from_raw(
            to.dtype,
            to.order,
            to.layout.clone(),
            target.as_mut_ptr().wrapping_add(to.start),
        )
    };
    let result = convert_into(&src, &mut out, casting);
    assert_eq!(result.is_ok(), can);

    let misfits = expected.iter().filter(|bytes| bytes.is_none()).count();
    match result {
        Ok(()) => {
            assert!(casting.is_defined(from.dtype, to.dtype));
            for (at, (element, bytes)) in to.elements().zip(&expected).enumerate() {
                let bytes = bytes.as_ref().expect("a value that does not fit was converted");
                let actual = &target[element];
                assert!(
                    same(to.dtype, to.order, actual, bytes),
                    "element {at} is {actual:?}, not \
                    {bytes:?}"
                );
            }
        }
        Err(Error::CastNotDefined { .. }) => assert!(!casting.is_defined(from.dtype, to.dtype)),
        Err(Error::ValuesDoNotFit(error)) => {
            let first = expected.iter().position(Option::is_none).expect("all values fit");
            assert_eq!((error.count, error.total), (misfits, expected.len()));
            assert_eq!(error.index.as_slice(), index(first, &shape));
            assert!(error.fact().to_string().len() < 1000);
        }
        Err(other) => panic!("{other}"),
    }
    for element in to.elements() {
        target[element].fill(UNTOUCHED);
    }
    assert!(
        target.iter().all(|&byte| byte == UNTOUCHED),
        "a byte between the elements was written"
    );
});
