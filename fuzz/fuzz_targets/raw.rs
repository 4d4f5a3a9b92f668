//! Any description of a raw file: an error, or an array within the file.
#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use tensorferry::Shape;
use tensorferry::{ByteOrder, DType, Mode, Raw, open_raw};
use tensorferry_fuzz::{elements, file};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    dtype: u8,
    swapped: bool,
    shape: Vec<Option<u64>>,
    small: bool,
    offset: u64,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let dtype = DType::ALL[usize::from(input.dtype) % DType::ALL.len()];
    let most = if input.small { 8 } else { u64::MAX };
    let shape = Shape::new(
        input
            .shape
            .iter()
            .map(|dim| dim.map(|dim| usize::try_from(dim % most).unwrap_or(usize::MAX))),
    );
    let order = if input.swapped { ByteOrder::Swapped } else { ByteOrder::Native };
    let raw = Raw { dtype, order, shape, offset: input.offset % most };
    let path = file(input.bytes);
    let [mapped, read] = [Mode::Map, Mode::Read].map(|mode| open_raw(&[&path], &raw, mode));
    assert_eq!(mapped.is_ok(), read.is_ok());
    let (Ok(mapped), Ok(read)) = (mapped, read) else { return };
    assert!(mapped.nbytes() <= input.bytes.len());
    let (a, b) =
        (mapped.read().expect("an unchanged file"), read.read().expect("an unchanged file"));
    assert_eq!((a.shape(), elements(&a)), (b.shape(), elements(&b)));
});
