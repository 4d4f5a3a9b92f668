//! A dataset whose rows several processes write, each some parts: files of its own.
//!
//! # Rationale
//! A writer does not know how many rows the others write before it, so parts are files, not ranges
//! of one. The manifest names the parts that count, in order, and is written last. A process that
//! was killed is replaced by another one, which writes parts of other names.

use crate::error::{Error, Result};
use crate::materialize::layout::{Part, is_flat, is_part_name};
use crate::materialize::manifest::{Manifest, PartRows};
use crate::materialize::save;
use crate::materialize::target::Target;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tensorferry_core::TensorSpec;
use tensorferry_io::WriteOptions;

/// A dataset of parts that is being written. [`DatasetParts::finish`] completes it. Dropping it
/// earlier leaves nothing behind.
///
/// ```
/// use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
/// use tensorferry_dataset::{Dataset, DatasetParts};
///
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("numbers");
/// let parts = DatasetParts::new(&path, &Default::default())?;
/// // What other processes do, in any order.
/// for (name, numbers) in [("b", vec![2_i64, 3]), ("a", vec![0, 1])] {
///     let file = parts.folder().join(DatasetParts::file_name(0, name)?);
///     tensorferry_io::save_npy(file, &Tensor::from_vec(numbers, &[2])?.as_view())?;
/// }
/// let spec = TensorSpec::new(DType::Int64, Shape::fixed(&[]));
/// parts.finish(vec![spec], None, vec![("a".into(), 2), ("b".into(), 2)])?;
/// let loaded = Dataset::load(&path)?;
/// assert_eq!(loaded.get(3)?[0].tensor()?.view::<i64>()?.get(&[]), Some(3));
/// # Ok::<(), tensorferry_dataset::Error>(())
/// ```
#[derive(Debug)]
pub struct DatasetParts {
    target: Target,
}

impl DatasetParts {
    /// Begins a dataset that will be at `path`, a directory or the beginning of URLs.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses, or if `path` exists and is neither a saved dataset nor
    /// an empty directory, or is not to be replaced.
    pub fn new(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self { target: Target::new(path, options)? })
    }

    /// As [`DatasetParts::new`], in the folder of an earlier such write to the same path that has
    /// not completed, if there is one: its files are there, and whole. It is over. If it still
    /// runs, it gets an error.
    ///
    /// Names of parts have to come from what they hold: what the earlier write began may end while
    /// this one runs.
    ///
    /// # Errors
    /// As [`DatasetParts::new`]; [`Error::Io`] if another process resumes it at the same time.
    pub fn resume(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self { target: Target::resume(path, options)? })
    }

    /// Leaves what was written for [`DatasetParts::resume`].
    pub fn keep(self) {
        self.target.keep();
    }

    /// The directory or URL that the files of parts are written to.
    pub fn folder(&self) -> PathBuf {
        self.target.folder()
    }

    /// The name of the file of a component, in `.npy`, that holds its rows of a part.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name of other characters than ASCII letters, digits and hyphens.
    pub fn file_name(component: usize, part: &str) -> Result<String> {
        if !is_part_name(part) {
            let what = format!("{part:?} is not the name of a part: letters, digits and hyphens");
            return Err(Error::Argument { stage: "save", what });
        }
        Ok(Part::of_rows(component, part))
    }

    /// The name of the file that holds where the rows of a part start, of a component whose rows
    /// have one dimension of any length: int64, with the end of the last row. The other file then
    /// holds the values of all rows, in one dimension.
    ///
    /// # Errors
    /// As [`DatasetParts::file_name`].
    pub fn splits_name(component: usize, part: &str) -> Result<String> {
        Self::file_name(component, part).map(|_| Part::splits_of_rows(component, part))
    }

    /// Makes the dataset appear, of these parts in this order: their names and numbers of rows, at
    /// least one. Other files in the folder are removed.
    ///
    /// # Errors
    /// [`Error::Argument`] for components whose shape varies and is not of one dimension, no parts,
    /// or a structure that is not JSON; [`Error::Io`].
    pub fn finish(
        self,
        components: Vec<TensorSpec>,
        structure: Option<&str>,
        parts: Vec<(String, u64)>,
    ) -> Result<()> {
        let wrong = |what: String| Error::Argument { stage: "save", what };
        if parts.is_empty() || components.is_empty() {
            return Err(wrong("a dataset has at least one part and one component".into()));
        }
        let is_known = |spec: &TensorSpec| spec.shape.as_fixed().is_some() || is_flat(spec);
        if let Some(varies) = components.iter().find(|spec| !is_known(spec)) {
            return Err(wrong(format!("{varies}: the rows of parts have one shape or dimension")));
        }
        let mut keep = BTreeSet::new();
        for (name, _) in &parts {
            for (component, spec) in components.iter().enumerate() {
                keep.insert(Self::file_name(component, name)?);
                if is_flat(spec) {
                    keep.insert(Self::splits_name(component, name)?);
                }
            }
        }
        let cardinality = parts.iter().map(|(_, rows)| rows).sum();
        let parts = parts.into_iter().map(|(name, rows)| PartRows { name, rows }).collect();
        let manifest = Manifest {
            cardinality,
            components,
            structure: save::structure(structure)?,
            folder: None,
            parts: Some(parts),
        };
        self.target.remove_others(&keep)?;
        self.target.finish(manifest)
    }

    /// Removes what was written. Dropping does the same for a directory. In a store, it removes
    /// what this process wrote.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn abandon(self) -> Result<()> {
        self.target.remove_others(&BTreeSet::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, small_numbers};
    use crate::stage::Dataset;
    use tensorferry_core::{DType, Shape, Tensor};

    fn write(parts: &DatasetParts, component: usize, name: &str, rows: &Tensor) {
        let file = parts.folder().join(DatasetParts::file_name(component, name).unwrap());
        tensorferry_io::save_npy(file, &rows.as_view()).unwrap();
    }

    fn spec(dtype: DType, row: &[usize]) -> TensorSpec {
        TensorSpec::new(dtype, Shape::fixed(row))
    }

    #[test]
    fn parts_come_back_in_order_and_others_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("saved");
        let parts = DatasetParts::new(&path, &WriteOptions::default()).unwrap();
        let all: Vec<[Tensor; 2]> = [3, 1, 0, 4]
            .into_iter()
            .map(|rows| {
                [
                    small_numbers(DType::Int32, &[rows, 2], rows as u64),
                    small_numbers(DType::Float64, &[rows], rows as u64 + 9),
                ]
            })
            .collect();
        for (at, part) in all.iter().enumerate().rev() {
            part.iter().zip(0..).for_each(|(rows, of)| write(&parts, of, &format!("p{at}"), rows));
        }
        write(&parts, 0, "killed", &all[0][0]);
        let named = [3, 1, 0, 4].into_iter().zip(0..).map(|(rows, at)| (format!("p{at}"), rows));
        let specs = vec![spec(DType::Int32, &[2]), spec(DType::Float64, &[])];
        assert!(!path.exists());
        parts.finish(specs, Some("{}"), named.collect()).unwrap();
        let loaded = Dataset::load(&path).unwrap();
        let whole = all
            .into_iter()
            .map(|part| Dataset::from_tensor_slices(part).unwrap())
            .reduce(|all, part| all.concatenate(&part).unwrap())
            .unwrap();
        whole.save(home.path().join("whole")).unwrap();
        let in_one = Dataset::load(home.path().join("whole")).unwrap();
        assert_eq!(all_ways(&loaded, 0), all_ways(&in_one, 0));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 9);
        // It is a saved dataset, which another one replaces.
        whole.save(&path).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 3);
    }

    #[test]
    fn rows_of_any_length_come_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("saved");
        let parts = DatasetParts::new(&path, &WriteOptions::default()).unwrap();
        let written = [("a", vec![2, 0, 3]), ("b", vec![]), ("c", vec![1])];
        let mut next = 0_i64;
        for (name, lengths) in &written {
            let mut splits = vec![0_i64];
            splits.extend(lengths.iter().scan(0, |end, len| {
                *end += len;
                Some(*end)
            }));
            let last = splits.last().copied().unwrap();
            let values: Vec<i64> = (next..next + last).collect();
            next += last;
            let (rows, count) = (values.len(), splits.len());
            write(&parts, 0, name, &Tensor::from_vec(values, &[rows]).unwrap());
            let file = parts.folder().join(DatasetParts::splits_name(0, name).unwrap());
            let splits = Tensor::from_vec(splits, &[count]).unwrap();
            tensorferry_io::save_npy(file, &splits.as_view()).unwrap();
        }
        let named = written.iter().map(|(name, of)| ((*name).to_owned(), of.len() as u64));
        let flat = TensorSpec::new(DType::Int64, Shape::new([None]));
        parts.finish(vec![flat], None, named.collect()).unwrap();
        let loaded = Dataset::load(&path).unwrap();
        let row = |at| loaded.get(at).unwrap()[0].tensor().unwrap().clone();
        let rows: Vec<Vec<i64>> =
            (0..4).map(|at| row(at).view::<i64>().unwrap().as_slice().unwrap().to_vec()).collect();
        assert_eq!(rows, [vec![0, 1], vec![], vec![2, 3, 4], vec![5]]);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 7);
        // Splits that do not match the values.
        std::fs::copy(path.join("0-c.splits.npy"), path.join("0-a.splits.npy")).unwrap();
        assert!(Dataset::load(&path).is_err());
        loaded.save(&path).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 4);
    }

    #[test]
    fn an_abandoned_dataset_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        for abandon in [true, false] {
            let parts =
                DatasetParts::new(&home.path().join("saved"), &WriteOptions::default()).unwrap();
            write(&parts, 0, "a", &small_numbers(DType::Int64, &[2], 1));
            if abandon {
                parts.abandon().unwrap();
            }
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_interrupted_dataset_is_resumed_with_the_parts_that_are_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("saved");
        let options = WriteOptions::default();
        // That of another dataset, and that of a write which cannot be resumed.
        DatasetParts::resume(&home.path().join("saved-2"), &options).unwrap().keep();
        DatasetParts::new(&path, &options).unwrap().keep();
        let killed = DatasetParts::resume(&path, &options).unwrap();
        let [first, second] = [1, 2].map(|seed| small_numbers(DType::Int64, &[2], seed));
        write(&killed, 0, "a", &first);
        write(&killed, 0, "unused", &first);
        let parts = DatasetParts::resume(&path, &options).unwrap();
        let named = vec![("a".to_owned(), 2), ("b".to_owned(), 2), ("a".to_owned(), 2)];
        let components = || vec![spec(DType::Int64, &[])];
        // One that still runs is over.
        assert!(killed.finish(components(), None, named.clone()).is_err());
        write(&parts, 0, "b", &second);
        parts.finish(components(), None, named).unwrap();
        let numbers = |rows: Tensor| Dataset::from_tensor_slices([rows]).unwrap();
        let whole = numbers(first.clone()).concatenate(&numbers(second)).unwrap();
        let whole = whole.concatenate(&numbers(first)).unwrap();
        whole.save(home.path().join("whole")).unwrap();
        let in_one = Dataset::load(home.path().join("whole")).unwrap();
        assert_eq!(all_ways(&Dataset::load(&path).unwrap(), 0), all_ways(&in_one, 0));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 3);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 4);
        drop(DatasetParts::resume(&path, &options).unwrap());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 4);
    }

    #[test]
    fn parts_that_are_missing_or_of_other_lengths_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("saved");
        for (rows, named) in [(2, "a"), (3, "a"), (2, "b")] {
            let parts = DatasetParts::new(&path, &WriteOptions::default()).unwrap();
            write(&parts, 0, "a", &small_numbers(DType::Int64, &[2], 1));
            parts.finish(vec![spec(DType::Int64, &[])], None, vec![(named.into(), rows)]).unwrap();
            assert_eq!(Dataset::load(&path).is_ok(), (rows, named) == (2, "a"));
        }
        for name in ["", "a/b", "..", "a.b"] {
            assert!(DatasetParts::file_name(0, name).is_err());
        }
    }
}
