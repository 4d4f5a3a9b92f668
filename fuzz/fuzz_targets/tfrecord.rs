//! Any bytes as a TFRecord file, and as its records: an error, or rows within the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorferry::{Format, Mode, OpenOptions, open_with};
use tensorferry_fuzz::{check, file};

fuzz_target!(|bytes: &[u8]| {
    check(bytes, Format::TfRecord, bytes.len());
    check(bytes, Format::TfRecordBytes, bytes.len());
    // Valid records, so that the fuzzer need not guess checksums: several of one or more lengths,
    // with an Example in each.
    let Some((&first, rest)) = bytes.split_first() else { return };
    let step = usize::from(first % 64) + 1;
    let records: Vec<&[u8]> = rest.chunks(step).collect();
    rows(&records);
    rows(&[rest]);
    rows(&[rest, rest]);
    let (left, right) = rest.split_at(rest.len() / 2);
    rows(&[left, right, left]);
});

fn rows(records: &[&[u8]]) {
    let framed: Vec<u8> = records.iter().flat_map(|record| frame(record)).collect();
    // A feature without values has rows of no bytes; a feature of numbers has eight bytes for each
    // number.
    check(&framed, Format::TfRecord, framed.len() * 8);
    let equal = records.windows(2).all(|pair| pair[0].len() == pair[1].len());
    let array = open_with(
        &[file(&framed)],
        &OpenOptions {
            format: Some(Format::TfRecordBytes),
            mode: Mode::Read,
            ..OpenOptions::default()
        },
    )
    .and_then(|opened| opened.array());
    assert_eq!(array.is_ok(), equal);
    if let Ok(array) = array {
        let read = array.read().expect("valid records");
        assert_eq!(read.as_view().as_bytes(), Some(records.concat().as_slice()));
    }
}

fn frame(record: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| {
        crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
    };
    let len = (record.len() as u64).to_le_bytes();
    [&len[..], &masked(&len), record, &masked(record)].concat()
}
