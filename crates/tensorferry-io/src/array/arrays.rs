//! [`Arrays`]: named arrays, as in `.npz`, `.safetensors` and TFRecord files.

use crate::array::array::Array;
use crate::array::ragged::RaggedArray;
use crate::cancel::inherited;
use crate::error::{Error, Result};
use crate::storage::mode::Mode;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry_core::{DType, Tensor};

/// Named arrays. [`Arrays::get`] opens one.
///
/// Clones share open files.
#[derive(Clone, Debug)]
pub struct Arrays {
    members: Arc<[(String, Box<dyn Member>)]>,
    ragged: Arc<[(String, RaggedArray)]>,
    notes: Arc<Notes>,
    mode: Mode,
    memory_limit: Option<usize>,
    paths: Arc<[PathBuf]>,
}

/// Contents of files besides arrays.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Names of entries that are not arrays, and why. Empty if `features` were chosen.
    pub(crate) left_out: Vec<(String, String)>,
    /// The metadata of `.safetensors` files.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A named array that can be opened.
pub(crate) trait Member: fmt::Debug + Send + Sync {
    /// Number of bytes when decompressed; 0 if it is not compressed.
    fn decompressed(&self) -> u64 {
        0
    }

    /// The error if the dtype is one that tensors do not support.
    ///
    /// # Errors
    /// Errors of reading. A damaged header is an error when the array is opened.
    fn unsupported(&self) -> Result<Option<Error>> {
        Ok(None)
    }

    /// Calls `check` with dtype and shape of each part.
    ///
    /// # Errors
    /// The first error of `check`; errors of a header.
    fn each_part(&self, check: &mut dyn FnMut(DType, &[usize]) -> Result<()>) -> Result<()>;

    /// # Errors
    /// [`Error::Argument`] if the parts do not match each other; errors of a file's contents.
    fn open(&self, how: &OpenMember) -> Result<Array>;

    /// Reads the whole array and checks its checksums, if there are any.
    ///
    /// # Errors
    /// [`Error::Checksum`]; errors of reading.
    fn verify(&self) -> Result<()>;
}

/// How a [`Member`] is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenMember {
    pub(crate) mode: Mode,
    /// Whether the decompressed array fits in memory.
    pub(crate) fits: bool,
    pub(crate) memory_limit: Option<usize>,
}

/// Named arrays that can be opened.
pub(crate) type Members = Vec<(String, Box<dyn Member>)>;

impl Member for Array {
    fn each_part(&self, check: &mut dyn FnMut(DType, &[usize]) -> Result<()>) -> Result<()> {
        check(self.dtype(), self.shape())
    }

    fn open(&self, _how: &OpenMember) -> Result<Array> {
        Ok(self.clone())
    }

    fn verify(&self) -> Result<()> {
        self.chunks().try_for_each(|rows| rows.map(drop))
    }
}

impl Arrays {
    pub(crate) fn new(
        members: Members,
        notes: Notes,
        mode: Mode,
        memory_limit: Option<usize>,
        paths: Arc<[PathBuf]>,
    ) -> Self {
        let (members, ragged, notes) = (members.into(), Arc::default(), Arc::new(notes));
        Self { members, ragged, notes, mode, memory_limit, paths }
    }

    /// The same arrays, and rows of different lengths.
    pub(crate) fn with_ragged(self, ragged: Vec<(String, RaggedArray)>) -> Self {
        Self { ragged: ragged.into(), ..self }
    }

    /// The features of `tf.train.Example`s whose rows differ in length, in the order in which they
    /// were asked for: those with a specification whose first length is unknown. Other methods do
    /// not include them, except [`Arrays::verify`].
    #[must_use]
    pub fn ragged(&self) -> &[(String, RaggedArray)] {
        &self.ragged
    }

    /// The metadata of `.safetensors` files (`__metadata__`), without keys whose values differ
    /// between files.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.notes.metadata
    }

    /// Contents of the files that cannot be read as arrays, and why: archive members that are not
    /// arrays, and arrays of a dtype that tensors do not support (which [`Arrays::names`]
    /// includes). Decompresses the headers of compressed arrays.
    ///
    /// # Errors
    /// [`Error::Io`] if a header cannot be read.
    pub fn left_out(&self) -> Result<Vec<(String, String)>> {
        let mut found = self.notes.left_out.clone();
        for (name, member) in self.members.iter() {
            found.extend(member.unsupported()?.map(|why| (name.clone(), why.to_string())));
        }
        Ok(found)
    }

    /// The names, in file order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// Number of arrays.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no arrays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Paths of the files.
    #[must_use]
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// How uncompressed arrays are read.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Opens the array with this name. A compressed array is decompressed into memory at each call.
    /// If it does not fit in half of the memory, it is decompressed whenever rows are read. Then
    /// read the rows in order, because a step back restarts the decompression.
    ///
    /// # Errors
    /// [`Error::Argument`] if no array has the name, or its shards do not match each other; errors
    /// of the file's contents.
    pub fn get(&self, name: &str) -> Result<Array> {
        let member = self.members.iter().find(|(other, _)| other == name).map(|(_, member)| member);
        member.ok_or_else(|| self.no_such(name)).and_then(|member| member.open(&self.how([member])))
    }

    fn no_such(&self, name: &str) -> Error {
        let names: Vec<&str> = self.names().take(20).collect();
        let known = self.notes.left_out.iter().find(|(other, _)| other == name);
        let what = match known {
            Some((_, why)) => format!("{name:?} is {why}; the arrays are {names:?}"),
            None if self.ragged.iter().any(|(other, _)| other == name) => {
                format!("{name:?} has rows of different lengths, and is not one array")
            }
            None => format!("no array has the name {name:?}; there are {names:?}"),
        };
        Error::argument("open", what)
    }

    /// How to open these members together.
    fn how<'a>(&self, members: impl IntoIterator<Item = &'a Box<dyn Member>>) -> OpenMember {
        let bytes = members
            .into_iter()
            .fold(0_u64, |sum, member| sum.saturating_add(member.decompressed()));
        let fits = crate::memory::limits::holds(bytes, self.memory_limit);
        OpenMember { mode: self.mode, fits, memory_limit: self.memory_limit }
    }

    /// Opens all arrays. Decompresses compressed ones on all cores.
    ///
    /// # Errors
    /// As [`Arrays::get`], of the first array that fails.
    pub fn get_all(&self) -> Result<Vec<(String, Array)>> {
        let how = self.how(self.members.iter().map(|(_, member)| member));
        self.on_all_cores(|(name, member)| Ok((name.clone(), member.open(&how)?)))
            .into_iter()
            .collect()
    }

    /// As [`Arrays::get_all`], without arrays of unsupported dtypes, which [`Arrays::left_out`]
    /// lists.
    ///
    /// # Errors
    /// As [`Arrays::get`], of the first array that fails for another reason.
    pub fn get_readable(&self) -> Result<Vec<(String, Array)>> {
        let how = self.how(self.members.iter().map(|(_, member)| member));
        let open = |(name, member): &(String, Box<dyn Member>)| match member.unsupported()? {
            Some(_) => Ok(None),
            None => Ok(Some((name.clone(), member.open(&how)?))),
        };
        self.on_all_cores(open).into_iter().filter_map(Result::transpose).collect()
    }

    /// Reads all arrays into memory, on all cores.
    ///
    /// # Errors
    /// As [`Arrays::get`] and [`Array::read`], of the first array that fails.
    pub fn read(&self) -> Result<Vec<(String, Tensor)>> {
        let all = OpenMember { fits: true, ..self.how([]) };
        let read = |(name, member): &(String, Box<dyn Member>)| {
            Ok((name.clone(), member.open(&all)?.read()?))
        };
        self.on_all_cores(read).into_iter().collect()
    }

    /// Reads all arrays and checks the checksums of `.npz` and TFRecord files. (`.safetensors`
    /// files have none.) Includes arrays of every dtype.
    ///
    /// # Errors
    /// [`Error::Checksum`]; errors of reading.
    pub fn verify(&self) -> Result<()> {
        let verify = |(_, member): &(String, Box<dyn Member>)| member.verify();
        self.on_all_cores(verify).into_iter().collect::<Result<()>>()?;
        self.ragged.iter().try_for_each(|(_, rows)| Member::verify(rows.values()))
    }

    /// Calls `work` with each member, on several threads.
    fn on_all_cores<T: Send>(
        &self,
        work: impl Fn(&(String, Box<dyn Member>)) -> T + Sync,
    ) -> Vec<T> {
        let threads = std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(self.members.len());
        let (queue, done) = (Mutex::new(self.members.iter().enumerate()), Mutex::new(Vec::new()));
        let take = || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((at, member)) = next else { return };
                let made = work(member);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((at, made));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                if std::thread::Builder::new()
                    .name("tensorferry-read".into())
                    .spawn_scoped(scope, inherited(take))
                    .is_err()
                {
                    break; // the threads that run, at least this one, do the work
                }
            }
            take();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, made)| made).collect()
    }
}
