//! A dataset written to files.

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

/// Bytes of elements to stack for one write.
const BLOCK: usize = 1 << 20;

/// The most elements to stack, however small they are.
const MOST: usize = 1 << 16;

/// A dataset that is being saved. [`DatasetWriter::finish`] gives the directory its name; dropped
/// before, it leaves nothing.
#[derive(Debug)]
pub struct DatasetWriter {
    iter: Iter,
    writer: Writer,
    /// Whether elements come stacked.
    stacked: bool,
}

impl Dataset {
    /// Writes all elements of the first epoch to a directory, from which [`Dataset::load`] has them
    /// by index.
    ///
    /// The directory is written under a temporary name beside `path`, brought to the disk and
    /// renamed, so that the name stands for a whole dataset, whatever happens. A dataset that was
    /// saved there before is replaced, in one step on Linux; anything else that is there is left
    /// alone, and refused. Memory does not grow with the dataset.
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
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if the dataset has no end, or its elements hold datasets or nothing;
    /// [`Error::Io`]; the first error of an element.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.writer(path.as_ref(), None, || Epoch(0), &Options::default())?.finish()
    }

    /// As [`Dataset::save`], of any epoch, which is asked for once nothing was refused, and to be
    /// done step by step. `structure` says, as JSON, how the components nest:
    /// [`Dataset::load_nested`] has it again.
    ///
    /// # Errors
    /// As [`Dataset::save`]; [`Error::Argument`] if the structure is not JSON.
    pub fn writer(
        &self,
        path: &Path,
        structure: Option<&str>,
        epoch: impl FnOnce() -> Epoch,
        options: &Options,
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
        let structure = match structure {
            None => Value::Null,
            Some(text) => serde_json::from_str(text)
                .map_err(|error| wrong(format!("the structure is not JSON: {error}")))?,
        };
        let row = components
            .iter()
            .try_fold(0_usize, |sum, spec| Some(sum.saturating_add(spec.fixed()?.1)));
        let blocks = match row {
            Some(bytes) => self.batch((BLOCK / bytes.max(1)).clamp(1, MOST))?,
            None => self.clone(),
        };
        let writer = Writer::new(path, components, structure)?;
        Ok(DatasetWriter {
            iter: blocks.prefetch(None).iter_with(epoch(), options),
            writer,
            stacked: row.is_some(),
        })
    }
}

impl DatasetWriter {
    /// Writes what comes within some time, and says whether more is to come.
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

    /// Writes what is left, brings everything to the disk and gives it its name.
    ///
    /// # Errors
    /// As [`Dataset::save`].
    pub fn finish(mut self) -> Result<()> {
        while self.step(Duration::from_secs(1))? {}
        self.writer.finish()
    }
}
