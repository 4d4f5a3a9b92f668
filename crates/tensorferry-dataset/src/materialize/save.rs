//! Saving a dataset to files.

use crate::error::{Error, Result};
use crate::execute::iter::Iter;
use crate::execute::options::Options;
use crate::materialize::writer::Writer;
use crate::spec;
use crate::spec::Cardinality;
use crate::stage::{Dataset, Epoch};
use serde_json::Value;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;
use tensorferry_core::TensorSpec;
use tensorferry_io::WriteOptions;

/// Bytes of elements to stack for one write.
const BLOCK: usize = 1 << 20;

/// Maximum number of elements to stack, even if they are small.
const MOST: usize = 1 << 16;

/// A dataset that is being saved. [`DatasetWriter::finish`] completes it. Dropping it earlier
/// leaves nothing behind.
#[derive(Debug)]
pub struct DatasetWriter {
    iter: Iter,
    writer: Writer,
    /// Whether elements come stacked.
    stacked: bool,
}

impl Dataset {
    /// Writes all elements of the first epoch to a directory, from which [`Dataset::load`] reads
    /// them with random access.
    ///
    /// The write is atomic: the directory is written under a temporary name beside `path`, flushed
    /// to disk and renamed. A saved dataset at `path` is replaced, in one step on Linux. Anything
    /// else there is an error and is left alone, except an empty directory. Memory does not grow
    /// with the dataset.
    ///
    /// A URL names the beginning of the keys of objects: `s3://bucket/folder/name`. The dataset is
    /// there once its `dataset.json` is, which is written last. A dataset that already exists is
    /// an error, unless [`Dataset::writer`] is told to replace it. Its files are removed then: a
    /// program that still reads them gets an error. A killed save leaves objects that the next one
    /// to the same place removes, if they are an hour old. Each file takes the memory of two parts
    /// of 8 MiB under way, or more if there are few, and of two more.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ShuffleOptions};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// let path = directory.path().join("shuffled");
    /// Dataset::range(0, 5, 1, DType::Int64)?.shuffle(ShuffleOptions::seeded(7))?.save(&path)?;
    /// let loaded = Dataset::load(&path)?;
    /// assert_eq!(loaded.get(1)?[0].tensor()?.view::<i64>()?.get(&[]), Some(2));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the dataset has no end, or its elements hold datasets or nothing;
    /// [`Error::Io`]; the first error of an element.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (options, write) = (Options::default(), WriteOptions::default());
        self.writer(path.as_ref(), None, || Epoch(0), &options, &write)?.finish()
    }

    /// As [`Dataset::save`], for any epoch and step by step. `epoch` is called once all checks have
    /// passed. `structure` says, as JSON, how the components nest. [`Dataset::load_nested`] returns
    /// it.
    ///
    /// # Errors
    /// As [`Dataset::save`]; [`Error::Argument`] if the structure is not JSON.
    pub fn writer(
        &self,
        path: &Path,
        structure: Option<&str>,
        epoch: impl FnOnce() -> Epoch,
        options: &Options,
        write: &WriteOptions,
    ) -> Result<DatasetWriter> {
        let wrong = |what: String| Error::Argument { stage: "save", what };
        if self.cardinality() == Cardinality::Infinite {
            return Err(wrong("the dataset has no end. Save a part of it: take(n).".into()));
        }
        let components: Vec<TensorSpec> =
            spec::tensors(self.spec(), "save")?.into_iter().cloned().collect();
        if components.is_empty() {
            return Err(wrong("the elements hold no tensors".into()));
        }
        let structure = self::structure(structure)?;
        let row = components
            .iter()
            .try_fold(0_usize, |sum, spec| Some(sum.saturating_add(spec.fixed()?.1)));
        let blocks = match row {
            Some(bytes) => self.batch((BLOCK / bytes.max(1)).clamp(1, MOST))?,
            None => self.clone(),
        };
        let writer = Writer::new(path, components, structure, write)?;
        Ok(DatasetWriter {
            iter: blocks.prefetch(None).iter_with(epoch(), options),
            writer,
            stacked: row.is_some(),
        })
    }
}

/// How components nest, which is given as JSON.
pub(crate) fn structure(text: Option<&str>) -> Result<Value> {
    let Some(text) = text else { return Ok(Value::Null) };
    serde_json::from_str(text).map_err(|error| Error::Argument {
        stage: "save",
        what: format!("the structure is not JSON: {error}"),
    })
}

impl DatasetWriter {
    /// Writes the next elements if they come within `wait`, and returns whether more may follow.
    ///
    /// # Errors
    /// As [`Dataset::save`]. After an error nothing can be saved any more.
    pub fn step(&mut self, wait: Duration) -> Result<bool> {
        let element = match self.iter.next_within(wait) {
            Poll::Pending => return Ok(true),
            Poll::Ready(None) => return Ok(false),
            Poll::Ready(Some(element)) => element?,
        };
        if self.stacked {
            self.writer.push_stacked(&element)?
        } else {
            self.writer.push(&element)?
        }
        Ok(true)
    }

    /// Writes the remaining elements, flushes them to disk and renames the directory to its path.
    ///
    /// # Errors
    /// As [`Dataset::save`].
    pub fn finish(mut self) -> Result<()> {
        while self.step(Duration::from_secs(1))? {}
        self.writer.finish()
    }
}
