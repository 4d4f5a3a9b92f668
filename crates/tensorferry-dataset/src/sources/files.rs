//! `from_files`: the rows of files.

use crate::error::{Error, Result};
use crate::sources::ragged::Ragged;
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
    /// arrays in the files, and errors name them. Features of `tf.train.Example`s whose rows differ
    /// in length come last: elements are rows of their own length, as of [`Dataset::from_ragged`].
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
        let opened = match open_with(paths, options)? {
            Opened::Array(array) => return Self::from_rows([array]),
            Opened::Arrays(opened) => opened,
        };
        let arrays = if options.features.is_empty() {
            let has_rows = |(_, array): &(String, Array)| !array.shape().is_empty();
            opened.get_readable()?.into_iter().filter(has_rows).collect()
        } else {
            opened.get_all()?
        };
        let ragged = opened.ragged();
        if arrays.is_empty() && ragged.is_empty() {
            let what = "the files hold no array that has rows".into();
            return Err(Error::Argument { stage: "from_files", what });
        }
        let (names, arrays): (Vec<String>, Vec<Array>) = arrays.into_iter().unzip();
        let quoted: Vec<String> = names
            .iter()
            .chain(ragged.iter().map(|(name, _)| name))
            .map(|name| format!("{name:?}"))
            .collect();
        let rows = if arrays.is_empty() { None } else { Some(Self::from_rows(arrays)) };
        let rows = match rows.transpose() {
            Ok(rows) => rows,
            Err(error) => {
                return Err(error.named(&quoted.into_iter().map(Into::into).collect::<Vec<_>>()));
            }
        };
        let mut parts: Vec<Self> = rows.into_iter().collect();
        for (_, rows) in ragged {
            let rows = Ragged::from_row_splits(rows.values().clone(), rows.row_splits())?;
            parts.push(Self::from_ragged([rows])?);
        }
        let whole = match parts.as_slice() {
            [only] => only.clone(),
            _ => Self::zip(parts)?,
        };
        Ok(whole.with_names(quoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;
    use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
    use tensorferry_io::{FeatureSpec, save_arrays};

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

    #[test]
    fn features_of_different_lengths_come_last_and_are_measured() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("train.tfrecord");
        let numbers = |values: Vec<i64>, shape: &[usize]| {
            Array::try_from(Tensor::from_vec(values, shape).unwrap()).unwrap()
        };
        let arrays =
            [("x", numbers(vec![5, 6, 7, 8, 9, 10], &[3, 2])), ("y", numbers(vec![0, 1, 0], &[3]))];
        save_arrays(&path, &arrays, None, false).unwrap();
        let rows = TensorSpec::new(DType::Int64, Shape::new([None]));
        let scalar = TensorSpec::new(DType::Int64, Shape::fixed(&[]));
        let features = vec![
            ("x".to_owned(), Some(FeatureSpec::from(rows.clone()))),
            ("y".to_owned(), Some(FeatureSpec::from(scalar.clone()))),
        ];
        let options = OpenOptions { features, ..OpenOptions::default() };
        let dataset = Dataset::from_files(&[&path], &options).unwrap();
        let spec: Vec<_> = dataset.spec().iter().filter_map(|part| part.tensor()).collect();
        assert_eq!(spec, [&scalar, &rows]);
        assert_eq!(values(&dataset.components(&[0]).unwrap()), [0, 1, 0]);
        let second = dataset.get(1).unwrap();
        assert_eq!(
            second[1].tensor().unwrap().view::<i64>().unwrap().as_slice(),
            Some(&[7, 8][..])
        );
    }
}
