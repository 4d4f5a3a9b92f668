//! [`Arrays`]: arrays by name, as `.npz`, `.safetensors` and TFRecord files hold them.

use crate::array::array::Array;
use crate::array::shards;
use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::format::npz;
use crate::memory::limits::usable;
use crate::storage::local::file::DataFile;
use crate::storage::local::located::Located;
use crate::storage::mode::Mode;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tensorferry_core::TensorSpec;
use tensorferry_core::{DType, Tensor};

/// Arrays by name. None is read before it is asked for.
///
/// Cloning shares what is open.
#[derive(Clone, Debug)]
pub struct Arrays {
    members: Arc<[(String, Member)]>,
    notes: Arc<Notes>,
    mode: Mode,
    memory_limit: Option<usize>,
    paths: Arc<[PathBuf]>,
}

/// What files hold besides arrays.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// What is no array, and why: with `features` chosen, none of it was asked for.
    pub(crate) left_out: Vec<(String, String)>,
    /// What `.safetensors` files say in `__metadata__`.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Member {
    /// Members of `.npz` archives, one of each.
    Zipped(Vec<npz::Member>),
    /// Arrays that lie in files, if their dtype is one of ours.
    Located(Vec<std::result::Result<Located, Foreign>>),
    /// An array that is open.
    Open(Array),
}

/// An array of a dtype that tensors do not share.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) file: Arc<DataFile>,
    /// The place that says so: `"safetensors header"`.
    pub(crate) place: &'static str,
    /// The dtype, as the file calls it.
    pub(crate) descr: String,
}

impl Member {
    /// The error of a dtype that tensors do not have.
    ///
    /// # Errors
    /// A read that failed. (A damaged header is an error where the array is opened.)
    fn foreign(&self) -> Result<Option<Error>> {
        let parts = match self {
            Self::Open(_) => return Ok(None),
            Self::Located(parts) => {
                return Ok(parts.iter().find_map(|part| part.as_ref().err()).map(Foreign::error));
            }
            Self::Zipped(parts) => parts,
        };
        for part in parts {
            match part.peek() {
                Err(error) if error.code() == "unsupported_dtype" => return Ok(Some(error)),
                Err(error) if error.code() == "io" => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Compares dtype and shape of the rows with what they are to be.
    ///
    /// # Errors
    /// Why they are not so; what is wrong with a header.
    fn check(&self, name: &str, spec: &TensorSpec) -> Result<()> {
        let rows = |dtype: DType, shape: &[usize]| match shape {
            [_, row @ ..] if dtype == spec.dtype && spec.shape.admits(row) => Ok(()),
            _ => {
                let what = format!(
                    "feature {name:?} is {dtype} of shape {shape:?}, whose rows are not {spec}, \
                    as features= says"
                );
                Err(Error::Argument { stage: "open", what })
            }
        };
        match self {
            Self::Open(array) => rows(array.dtype(), array.shape()),
            Self::Located(parts) => parts.iter().try_for_each(|part| match part {
                Ok(located) => rows(located.dtype, located.layout.shape()),
                Err(foreign) => Err(foreign.error()),
            }),
            Self::Zipped(parts) => parts.iter().try_for_each(|part| {
                let header = part.peek()?;
                rows(header.dtype, header.layout.shape())
            }),
        }
    }
}

/// The members of these names, in this order, each as it is to be; all if none is asked for.
///
/// # Errors
/// [`Error::Argument`] if there is none of a name, or it is not as it is to be.
pub(crate) fn chosen(
    members: Vec<(String, Member)>,
    asked: &[(String, Option<TensorSpec>)],
) -> Result<Vec<(String, Member)>> {
    if asked.is_empty() {
        return Ok(members);
    }
    let names: Vec<String> = members.iter().map(|(name, _)| name.clone()).take(20).collect();
    let mut members: HashMap<String, Member> = members.into_iter().collect();
    let one = |(name, spec): &(String, Option<TensorSpec>)| {
        let Some(member) = members.remove(name) else {
            let what =
                format!("no array has the name {name:?}, as features= says; there are {names:?}");
            return Err(Error::Argument { stage: "open", what });
        };
        spec.as_ref().map_or(Ok(()), |spec| member.check(name, spec))?;
        Ok((name.clone(), member))
    };
    asked.iter().map(one).collect()
}

impl Foreign {
    fn error(&self) -> Error {
        Error::UnsupportedDType { place: self.place, descr: self.descr.clone() }
            .in_file(self.file.path())
    }
}

impl Arrays {
    pub(crate) fn new(
        members: Vec<(String, Member)>,
        notes: Notes,
        mode: Mode,
        memory_limit: Option<usize>,
        files: &[Arc<DataFile>],
    ) -> Self {
        let paths = files.iter().map(|file| file.path().to_owned()).collect();
        Self { members: members.into(), notes: Arc::new(notes), mode, memory_limit, paths }
    }

    /// What `.safetensors` files say besides their arrays, in `__metadata__`. Of several files,
    /// what not two of them contradict.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.notes.metadata
    }

    /// What is in the files and cannot be read as an array, and why: members of an archive that are
    /// none, arrays of a dtype that tensors do not have (which are among the [`Arrays::names`]). Of
    /// compressed arrays the headers are decompressed to find out.
    ///
    /// # Errors
    /// [`Error::Io`] if a header cannot be read.
    pub fn left_out(&self) -> Result<Vec<(String, String)>> {
        let mut found = self.notes.left_out.clone();
        for (name, member) in self.members.iter() {
            found.extend(member.foreign()?.map(|why| (name.clone(), why.to_string())));
        }
        Ok(found)
    }

    /// The names, in the order in which the arrays lie in the files.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// How many arrays.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The files.
    #[must_use]
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// How arrays are read that lie in a file as they are.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Opens the array of a name. One that is compressed is decompressed into memory, anew each
    /// time; or, if it does not fit in half of the memory, whenever rows are read: in order,
    /// because other rows are found by starting over.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is none of that name, or if the shards' do not go together;
    /// what is wrong with the file.
    pub fn get(&self, name: &str) -> Result<Array> {
        let member = self.members.iter().find(|(other, _)| other == name).map(|(_, member)| member);
        member
            .ok_or_else(|| self.no_such(name))
            .and_then(|member| self.open(member, self.fit([member])))
    }

    fn no_such(&self, name: &str) -> Error {
        let names: Vec<&str> = self.names().take(20).collect();
        let known = self.notes.left_out.iter().find(|(other, _)| other == name);
        let what = match known {
            Some((_, why)) => format!("{name:?} is {why}; the arrays are {names:?}"),
            None => format!("no array has the name {name:?}; there are {names:?}"),
        };
        Error::Argument { stage: "open", what }
    }

    /// Whether these fit in memory once they are decompressed.
    fn fit<'a>(&self, members: impl IntoIterator<Item = &'a Member>) -> bool {
        let deflated = members.into_iter().flat_map(|member| match member {
            Member::Zipped(parts) => parts.as_slice(),
            _ => &[],
        });
        let bytes = deflated
            .filter(|part| part.is_deflated())
            .fold(0_u64, |sum, part| sum.saturating_add(part.size()));
        crate::memory::limits::holds(bytes, self.memory_limit)
    }

    fn open(&self, member: &Member, fits: bool) -> Result<Array> {
        match member {
            Member::Open(array) => Ok(array.clone()),
            Member::Located(parts) => {
                let parts =
                    parts.iter().map(|part| part.clone().map_err(|foreign| foreign.error()));
                shards::array(parts.collect::<Result<_>>()?, self.mode)
            }
            Member::Zipped(parts) => {
                let located = parts
                    .iter()
                    .map(npz::Member::locate)
                    .collect::<Result<Option<Vec<Located>>>>()?;
                if let Some(located) = located {
                    return shards::array(located, self.mode);
                }
                if !fits {
                    if let Some(array) = shards::inflated_in_order(parts, self.mode)? {
                        return Ok(array);
                    }
                    self.check_inflated(parts)?;
                }
                // One that is stored beside others that are deflated is read like them.
                let tensors =
                    parts.iter().map(npz::Member::inflate).collect::<Result<Vec<Tensor>>>()?;
                shards::in_memory(
                    tensors,
                    parts.iter().map(|part| part.file().to_owned()).collect(),
                )
            }
        }
    }

    /// # Errors
    /// [`Error::Argument`] if what has to be decompressed as a whole is more than the user allows,
    /// or than there is memory.
    fn check_inflated(&self, parts: &[npz::Member]) -> Result<()> {
        let bytes = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.size()));
        let limit = self.memory_limit.map_or_else(usable, |limit| limit as u64);
        let Some(first) = parts.first().filter(|_| bytes > limit) else { return Ok(()) };
        let what = format!(
            "a compressed array whose rows do not lie one after the other (column-major order) is \
            decompressed as a whole: {bytes} bytes, and \
             {limit} of memory may be taken. Give more, or store it uncompressed or row-major."
        );
        Err(Error::Argument { stage: "open", what }.in_file(first.file()))
    }

    /// Opens all arrays; those that are compressed are decompressed on the machine's cores.
    ///
    /// # Errors
    /// As [`Arrays::get`], of the first array that fails.
    pub fn get_all(&self) -> Result<Vec<(String, Array)>> {
        let fit = self.fit(self.members.iter().map(|(_, member)| member));
        self.on_all_cores(|(name, member)| Ok((name.clone(), self.open(member, fit)?)))
            .into_iter()
            .collect()
    }

    /// As [`Arrays::get_all`], without those of a dtype that tensors do not have:
    /// [`Arrays::left_out`] names them.
    ///
    /// # Errors
    /// As [`Arrays::get`], of the first array that fails for another reason.
    pub fn get_readable(&self) -> Result<Vec<(String, Array)>> {
        let fit = self.fit(self.members.iter().map(|(_, member)| member));
        let open = |(name, member): &(String, Member)| match member.foreign()? {
            Some(_) => Ok(None),
            None => Ok(Some((name.clone(), self.open(member, fit)?))),
        };
        self.on_all_cores(open).into_iter().filter_map(Result::transpose).collect()
    }

    /// Reads all arrays into memory, on the machine's cores.
    ///
    /// # Errors
    /// As [`Arrays::get`] and [`Array::read`], of the first array that fails.
    pub fn read(&self) -> Result<Vec<(String, Tensor)>> {
        let read = |(name, member): &(String, Member)| {
            Ok((name.clone(), self.open(member, true)?.read()?))
        };
        self.on_all_cores(read).into_iter().collect()
    }

    /// Reads all there is and compares it with the checksums in the files: those of `.npz` and of
    /// TFRecord, which verifies them anyway. (`.safetensors` files have none.) Arrays of any dtype
    /// are compared.
    ///
    /// # Errors
    /// [`Error::Checksum`]; what reading fails with.
    pub fn verify(&self) -> Result<()> {
        let verify = |(_, member): &(String, Member)| match member {
            Member::Zipped(parts) => {
                parts.iter().try_for_each(|part| part.verify(&Stop::default()))
            }
            Member::Located(_) => Ok(()),
            Member::Open(array) => array.chunks().try_for_each(|rows| rows.map(drop)),
        };
        self.on_all_cores(verify).into_iter().collect()
    }

    /// What `work` makes of each member, by several threads.
    fn on_all_cores<T: Send>(&self, work: impl Fn(&(String, Member)) -> T + Sync) -> Vec<T> {
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
                    .spawn_scoped(scope, take)
                    .is_err()
                {
                    break; // the queue is for those that run, at least this one
                }
            }
            take();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, made)| made).collect()
    }
}

/// The members of several files by name: those that all files have are the shards of one array, and
/// files that share no name are one whole together.
///
/// # Errors
/// [`Error::Argument`], naming both files, if they share some names and not others.
pub(crate) fn by_name<T>(
    files: &[Arc<DataFile>],
    mut each: impl FnMut(&Arc<DataFile>) -> Result<Vec<(String, T)>>,
) -> Result<Vec<(String, Vec<T>)>> {
    let mut all: Vec<(String, Vec<T>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, file) in files.iter().enumerate() {
        let (members, before) = (each(file)?, all.len());
        let count = members.len();
        let mut shared = 0;
        for (name, member) in members {
            match places.get(&name) {
                Some(&place) => {
                    all[place].1.push(member);
                    shared += 1;
                }
                None => {
                    places.insert(name.clone(), all.len());
                    all.push((name, vec![member]));
                }
            }
        }
        // Each file so far has all names, or names of its own.
        let shards = shared == before && shared == count;
        let own = shared == 0 && all.iter().all(|(_, members)| members.len() == 1);
        if at > 0 && !shards && !own {
            let odd =
                all.iter().find(|(_, members)| members.len() <= at).map_or("", |(name, _)| name);
            let what = format!(
                "{} and the files before it share some names and not others ({odd:?}). Files \
                whose arrays have the same names are opened as \
                 shards, files that share none as one whole.",
                file.path().display()
            );
            return Err(Error::Argument { stage: "open", what });
        }
    }
    Ok(all)
}
