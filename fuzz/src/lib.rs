//! What the targets that read files share.

use std::fs;
use std::path::{Path, PathBuf};
use tensorferry::error::IoError;
use tensorferry::{Format, Mode, OpenOptions, Opened, Tensor, open_with};

/// A file of these bytes, one for each process, in memory where the system has such a place.
pub fn file(bytes: &[u8]) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let path = directory.join(format!("tensorferry-fuzz-{}", std::process::id()));
    fs::write(&path, bytes).expect("the file can be written");
    path
}

/// Everything in a file: each array that can be read, by name, or its error.
pub fn everything(
    path: &Path,
    format: Format,
    mode: Mode,
) -> Result<Vec<(String, Result<Tensor, IoError>)>, IoError> {
    Ok(
        match open_with(
            &[path],
            &OpenOptions { format: Some(format), mode, ..OpenOptions::default() },
        )? {
            Opened::Array(array) => vec![(String::new(), array.read())],
            Opened::Arrays(arrays) => {
                let read =
                    |name: &str| (name.to_owned(), arrays.get(name).and_then(|array| array.read()));
                arrays.names().map(read).collect()
            }
        },
    )
}

/// Reads a file in both ways, which have to agree, element by element and error by error; whatever
/// is read fits in what there is.
pub fn check(bytes: &[u8], format: Format, most: usize) -> Option<Vec<(String, Tensor)>> {
    let path = file(bytes);
    let (mapped, read) =
        (everything(&path, format, Mode::Map), everything(&path, format, Mode::Read));
    let (Ok(mapped), Ok(read)) = (&mapped, &read) else {
        assert_eq!(mapped.is_ok(), read.is_ok());
        return None;
    };
    assert_eq!(mapped.len(), read.len());
    let mut tensors = Vec::new();
    for ((name, a), (other, b)) in mapped.iter().zip(read) {
        assert_eq!(name, other);
        assert_eq!(a.is_ok(), b.is_ok(), "{name}");
        let (Ok(a), Ok(b)) = (a, b) else { continue };
        assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
        assert!(
            a.layout().nbytes() <= most,
            "{} bytes of a file of {}",
            a.layout().nbytes(),
            bytes.len()
        );
        assert_eq!(elements(a), elements(b));
        tensors.push((name.clone(), a.clone()));
    }
    Some(tensors)
}

/// The elements in row-major order and this machine's byte order.
pub fn elements(tensor: &Tensor) -> Vec<u8> {
    let mut out = vec![0; tensor.layout().nbytes()];
    let mut view = tensorferry::ViewMut::from_bytes(tensor.dtype(), &mut out, tensor.shape())
        .expect("as many bytes");
    // Any bool is to be carried over.
    tensorferry::convert_into(&tensor.as_view(), &mut view, tensorferry::Casting::Wrap)
        .expect("the same dtype");
    out
}
