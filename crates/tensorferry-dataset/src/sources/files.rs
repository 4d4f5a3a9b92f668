//! `from_files`: the rows of files.

use crate::error::{Error, Result};
use crate::stage::Dataset;
use std::path::Path;
use tensorferry_io::array::array::Array;
use tensorferry_io::{OpenOptions, Opened, open_with};

impl Dataset {
    /// The rows of files that hold one array, or several named arrays, one per component. Nothing
    /// is read before it is needed.
    ///
    /// Paths may be patterns (`part-*.npy`). Without [`OpenOptions::features`], scalars and arrays
    /// of a dtype without a tensor equivalent are skipped. Components are in the order of the
    /// arrays in the files, and errors name them.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::Dataset;
    /// use tensorferry_io::{OpenOptions, save_npy};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// let path = directory.path().join("tokens.npy");
    /// save_npy(&path, &Tensor::from_vec((0_i32..10).collect(), &[10])?.as_view())?;
    ///
    /// let dataset = Dataset::from_files(&[path], &OpenOptions::default())?.batch(4)?;
    /// let batch = dataset.iter().next().unwrap()?;
    /// assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[0, 1, 2, 3][..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open_with`]; [`Error::Argument`] if no array has rows, or if their lengths differ.
    pub fn from_files<P: AsRef<Path>>(paths: &[P], options: &OpenOptions) -> Result<Self> {
        let arrays = match open_with(paths, options)? {
            Opened::Array(array) => return Self::from_rows([array]),
            Opened::Arrays(arrays) if options.features.is_empty() => {
                let has_rows = |(_, array): &(String, Array)| !array.shape().is_empty();
                arrays.get_readable()?.into_iter().filter(has_rows).collect()
            }
            Opened::Arrays(arrays) => arrays.get_all()?,
        };
        if arrays.is_empty() {
            let what = "the files hold no array that has rows".into();
            return Err(Error::Argument { stage: "from_files", what });
        }
        let (names, arrays): (Vec<String>, Vec<Array>) = arrays.into_iter().unzip();
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        match Self::from_rows(arrays) {
            Ok(rows) => Ok(rows.with_names(quoted)),
            Err(error) => Err(error.named(&quoted.into_iter().map(Into::into).collect::<Vec<_>>())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;
    use tensorferry_core::Tensor;
    use tensorferry_io::save_arrays;

    #[test]
    fn arrays_by_name_become_components_and_scalars_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("train.npz");
        let numbers = |values: Vec<i64>, shape: &[usize]| {
            Array::try_from(Tensor::from_vec(values, shape).unwrap()).unwrap()
        };
        let arrays = [
            ("x", numbers(vec![5, 6, 7], &[3])),
            ("count", numbers(vec![3], &[])),
            ("y", numbers(vec![0, 1, 0], &[3])),
        ];
        save_arrays(&path, &arrays, None, false).unwrap();
        let dataset = Dataset::from_files(&[&path], &OpenOptions::default()).unwrap();
        assert_eq!(dataset.spec().len(), 2);
        assert_eq!(values(&dataset), [5, 6, 7]);
        let error = dataset.unbatch().unwrap_err().to_string();
        assert!(error.contains("\"x\""), "{error}");
    }
}
