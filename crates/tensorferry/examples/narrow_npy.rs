//! Rewrites a `.npy` file in the narrowest integer dtype that holds its values: `narrow_npy [FROM
//! TO]`.
//!
//! Without arguments it makes a small file of its own to show how.
#![allow(clippy::print_stdout, reason = "a program that prints for a person")]

use std::path::{Path, PathBuf};
use tensorferry::{
    Casting, Result, Tensor, convert, open_npy, save_npy, smallest_dtype, value_range,
};

fn narrow(from: &Path, to: &Path) -> Result<()> {
    let wide = open_npy(from)?;
    let dtype = smallest_dtype(&wide.as_view())?;
    if let Some((least, greatest)) = value_range(&wide.as_view())? {
        println!(
            "{} holds {} {:?}, values {least}..{greatest}",
            from.display(),
            wide.dtype(),
            wide.shape()
        );
    }
    // Checked: if `dtype` did not hold every value, this would be an error, not a wrong number.
    let narrow = convert(&wide.as_view(), dtype, Casting::Checked)?;
    save_npy(to, &narrow.as_view())?;
    println!(
        "{} holds {dtype}: {} bytes instead of {}",
        to.display(),
        narrow.layout().nbytes(),
        wide.layout().nbytes()
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match arguments.as_slice() {
        [from, to] => narrow(from, to)?,
        [] => {
            let directory = tempfile::tempdir()?;
            let (from, to) =
                (directory.path().join("squares.npy"), directory.path().join("narrow.npy"));
            let squares = (0..1000_i64).map(|i| i * i % 60_000).collect();
            save_npy(&from, &Tensor::from_vec(squares, &[10, 100])?.as_view())?;
            narrow(&from, &to)?;
        }
        _ => return Err("usage: narrow_npy [FROM TO]".into()),
    }
    Ok(())
}
