//! Any bytes as a `.safetensors` file: an error, or arrays within the file that survive writing and
//! reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tensorferry::{Array, Format, save_arrays};
use tensorferry_fuzz::{check, elements, file};

fuzz_target!(|bytes: &[u8]| {
    check(bytes, Format::SafeTensors, bytes.len());
    let words = expand(bytes);
    for header in [bytes, &words] {
        // With its length before it and some bytes after it, so that the fuzzer need not count.
        for after in [0, 8, 24] {
            let mut framed = (header.len() as u64).to_le_bytes().to_vec();
            framed.extend_from_slice(header);
            framed.extend(std::iter::repeat_n(1, after));
            written_again(&framed);
        }
    }
});

fn written_again(bytes: &[u8]) {
    let Some(read) = check(bytes, Format::SafeTensors, bytes.len()) else { return };
    let arrays: Vec<(&str, Array)> = read
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone().try_into().expect("an array")))
        .collect();
    let path = file(b"");
    save_arrays(&path, &arrays, Some(Format::SafeTensors), false).expect(
        "what was read can be \
        written",
    );
    let bytes = std::fs::read(&path).expect("it was written");
    let again = check(&bytes, Format::SafeTensors, bytes.len()).expect(
        "what was written can be \
        read",
    );
    assert_eq!(again.len(), read.len());
    for (name, tensor) in &read {
        let (_, other) = again.iter().find(|(other, _)| other == name).expect("the same names");
        assert_eq!((tensor.dtype(), tensor.shape()), (other.dtype(), other.shape()));
        assert_eq!(elements(tensor), elements(other));
    }
}

/// Maps low bytes to words of a header, so that whole headers appear within seconds.
fn expand(bytes: &[u8]) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "{\"x\":{\"dtype\":\"I8\",\"shape\":[",
        "{\"__metadata__\":{\"a\":\"b\"},",
        "\"y\":{\"dtype\":\"F32\",\"shape\":[",
        "\"dtype\":",
        "\"shape\":",
        "\"data_offsets\":[",
        "],\"data_offsets\":[0,8]}",
        "],\"data_offsets\":[8,24]}",
        "}",
        "[",
        "]",
        ",",
        "\"BF16\"",
        "\"F8_E4M3\"",
        "\"C64\"",
        "\"BOOL\"",
        "0",
        "1",
        "2",
        "4",
        "8",
        "24",
        "18446744073709551615",
        "4294967296",
    ];
    bytes
        .iter()
        .flat_map(|byte| {
            WORDS
                .get(usize::from(*byte))
                .map_or(core::slice::from_ref(byte), |word| word.as_bytes())
        })
        .copied()
        .collect()
}
