//! Detects files of other libraries that are opened by mistake, and suggests how to read them.

use std::path::Path;

/// Number of first bytes to read. A compressed TFRecord file is recognised by its first record,
/// before which the header of the stream and the codes of its first block may come.
pub(crate) const WANTED: usize = 1024;

/// Extensions of compressed files, and the commands that unpack them.
const COMPRESSED: [(&str, &str); 9] = [
    ("gz", "gunzip"),
    ("tgz", "tar -xzf"),
    ("bz2", "bunzip2"),
    ("xz", "unxz"),
    ("lzma", "unlzma"),
    ("zst", "unzstd"),
    ("lz4", "unlz4"),
    ("br", "brotli -d"),
    ("zip", "unzip"),
];

/// The extension and the unpacking command of a compressed file.
fn compressed(path: &Path) -> Option<(&'static str, &'static str)> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    COMPRESSED.into_iter().find(|(name, _)| *name == extension)
}

/// The kind of a file of another library with these first bytes, and how to read it.
pub(crate) fn kind_of(start: &[u8]) -> Option<&'static str> {
    let is = |magic: &[u8]| start.starts_with(magic);
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start().to_ascii_lowercase();
    Some(match () {
        () if is(b"version https://git-lfs") => {
            "a Git LFS pointer, which stands for a file that was not downloaded. Fetch it with \
            git lfs pull."
        }
        () if is(b"\x1f\x8b\x08") => {
            "compressed by gzip. Decompress it first (gunzip): compressed rows cannot be read by \
            their number."
        }
        () if is(b"BZh") => {
            "compressed by bzip2. Decompress it first (bunzip2): compressed rows cannot be read \
            by their number."
        }
        () if is(b"\xfd7zXZ\0") => {
            "compressed by xz. Decompress it first (unxz): compressed rows cannot be read by \
            their number."
        }
        () if is(b"\x28\xb5\x2f\xfd") => {
            "compressed by Zstandard. Decompress it first (unzstd): compressed rows cannot be \
            read by their number."
        }
        () if is(b"\x04\x22\x4d\x18") => {
            "compressed by LZ4. Decompress it first (unlz4): compressed rows cannot be read by \
            their number."
        }
        () if is(b"\x89HDF\r\n\x1a\n") => {
            "an HDF5 file. Open it with h5py, and pass its datasets to from_tensor_slices or \
            save; a Keras model opens with keras."
        }
        () if is(b"PAR1") => {
            "a Parquet file. Read it with pyarrow, pandas or polars, and pass the table to \
            from_tensor_slices."
        }
        () if is(b"ARROW1") => {
            "an Arrow file. Read it with pyarrow, and pass the table to from_tensor_slices."
        }
        () if is(b"CDF\x01") || is(b"CDF\x02") || is(b"CDF\x05") => {
            "a NetCDF file. Open it with netCDF4 or xarray."
        }
        () if is(b"MATLAB 5.0") => "a MATLAB file. Read it with scipy.io.loadmat.",
        () if is(b"GGUF") => "a GGUF model. Read it with the gguf package.",
        () if is(b"\x89PNG") || is(b"\xff\xd8\xff") || is(b"GIF8") => {
            "an image. Decode it with PIL or tf.io.decode_image."
        }
        () if is(b"%PDF") => "a PDF document.",
        () if is(b"SQLite format 3\0") => {
            "an SQLite database. Read it with sqlite3 or pandas.read_sql."
        }
        () if is(b"Obj\x01") => "an Avro file. Read it with fastavro.",
        () if matches!(start, [0x80, 2..=5, ..]) => {
            "a Python pickle (torch.save of old, joblib, pickle.dump), which runs code when it is \
            loaded. If you trust it, load it with what wrote \
             it, and save the arrays with tensorferry.save."
        }
        () if text.starts_with("<!doctype")
            || text.starts_with("<html")
            || text.starts_with("<?xml") =>
        {
            "a web page or XML, perhaps the error page of a download that failed. Download the \
            file again."
        }
        () if text.starts_with('{') || text.starts_with("[{") => {
            "JSON. Of a .safetensors.index.json, open the .safetensors files that it names, or a \
            pattern that matches them."
        }
        () => return None,
    })
}

/// Why a file cannot be read as raw elements: its name and its first bytes say that it is
/// compressed.
pub(crate) fn not_raw(path: &Path, start: &[u8]) -> Option<&'static str> {
    compressed(path)?;
    if start.starts_with(b"PK\x03\x04") {
        return Some("a zip archive. Unpack it first (unzip).");
    }
    kind_of(start)
}

/// Why a file with this name cannot be written. `archive`: the file is a zip archive.
pub(crate) fn unwritable(path: &Path, archive: bool) -> Option<String> {
    let (name, _) = compressed(path)?;
    match (name, archive) {
        ("zip", true) => None,
        _ => Some(format!(
            "files are not compressed as a whole (.{name}), for compressed rows cannot be read by \
            their number. Write an .npz with compress=True, or \
             another name, and compress that."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_formats_are_not_foreign() {
        for start in
            [&b"\x93NUMPY\x01\0"[..], b"PK\x03\x04", b"\x40\0\0\0\0\0\0\0{\"", b"", b"\0\0\0\0"]
        {
            assert_eq!(kind_of(start), None);
        }
        assert!(kind_of(b"\x1f\x8b\x08").is_some() && kind_of(b"  <!DOCTYPE html>").is_some());
    }
}
