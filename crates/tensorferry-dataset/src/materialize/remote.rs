//! A dataset in an object store: objects whose keys begin alike.
//!
//! # Rationale
//! `dataset.json` is written last and names the folder of the other files, which each save makes
//! anew. So a dataset appears whole or not at all, and the files of two saves never mix. The files
//! of a dataset that was replaced are removed after that. A program that still reads them gets an
//! error, and one that is about to load them starts again.
//!
//! # Limitations
//! A killed save leaves a folder that nothing names. The next save removes it once it is an hour
//! old: a younger one can be that of a save which is about to end.
//!
//! Of two saves that resume the same folder, the first fails when it finishes. A save that begins
//! to resume in the moment in which the first finishes is not noticed by it, and fails itself.

use crate::error::Result;
use crate::materialize::home::{Home, folder, object};
use crate::materialize::layout::{MANIFEST, Part};
use crate::materialize::manifest::Manifest;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use tensorferry_io::ObjectInfo;
use tensorferry_io::storage::io_error::io;
use tensorferry_io::storage::objects::{list, remove, remove_soon};
use tensorferry_io::storage::url::{Scheme, Url};
use tensorferry_io::sync::process::process_id;
use tensorferry_io::write::destination::exists;
use tensorferry_io::write::object::ObjectWriter;
use tensorferry_io::{WriteOptions, write_file_with};

/// Seconds after which the files of a save without `dataset.json` are left over: a save completes
/// its files just before it.
const LEFT_OVER: i64 = 3600;

/// What the names of parts begin with that say that a resumable write began.
const ATTEMPT: &str = "attempt-";

/// What the names of the folders of saves begin with.
const FOLDER: &str = "data-";

/// A dataset that is being written to a store. Dropping it removes its files.
#[derive(Debug)]
pub(crate) struct Folder {
    /// The dataset, and the name of this save's folder in it.
    url: Url,
    name: String,
    home: Home,
    options: WriteOptions,
    /// The keys of its files.
    keys: Vec<String>,
    /// How many resumable writes began in this folder before; None if this one cannot be resumed.
    attempt: Option<u64>,
    finished: bool,
    process: u32,
}

impl Folder {
    /// # Errors
    /// [`exists`] if a dataset is there and is not to be replaced; those of looking for it.
    pub(crate) fn new(url: &Url, options: &WriteOptions) -> Result<Self> {
        let url = folder(url);
        let home = Home::new(&url.name(), &options.storage)?;
        let drawn = RandomState::new().build_hasher().finish();
        let made = Self {
            name: format!("{FOLDER}{drawn:016x}"),
            home,
            options: WriteOptions {
                replace: Some(options.replace == Some(true)),
                ..options.clone()
            },
            keys: Vec::new(),
            attempt: None,
            finished: false,
            process: process_id(),
            url,
        };
        // A web server is refused when the first file is created.
        if made.options.replace == Some(false)
            && made.url.scheme() != Scheme::Http
            && made.there()?.is_some()
        {
            return Err(exists(&made.url.name()).into());
        }
        Ok(made)
    }

    /// With the files of an earlier write to the same URL that has not completed. It is over: if
    /// it still runs, it cannot finish.
    pub(crate) fn resume(url: &Url, options: &WriteOptions) -> Result<Self> {
        let mut made = Self::new(url, options)?;
        let whole = made.there().ok().flatten().and_then(|manifest| manifest.folder);
        let found = list(&made.url, &made.options)?;
        let last = attempts(&found, made.key_start())
            .into_iter()
            .filter(|(_, name, _)| Some(*name) != whole.as_deref())
            .max();
        let mut number = 0;
        if let Some((_, name, last)) = last {
            made.name = name.to_owned();
            number = last + 1;
        }
        made.attempt = Some(number);
        let claim = object(&object(&made.url, &made.name), &attempt_name(number)).name();
        // Only one process creates it.
        let once = WriteOptions { replace: Some(false), ..made.options.clone() };
        write_file_with(&claim, &once, |file| file.write_all(&[]))?;
        Ok(made)
    }

    /// Leaves the files for [`Folder::resume`].
    pub(crate) fn keep(mut self) {
        self.finished = true;
    }

    /// An error if another process has taken the files of this write.
    fn check_taken(&self) -> Result<()> {
        let Some(number) = self.attempt else { return Ok(()) };
        let found = list(&object(&self.url, &self.name), &self.options)?;
        let last = attempts(&found, self.key_start()).into_iter().map(|(.., number)| number).max();
        let whole = self.there().ok().flatten().and_then(|manifest| manifest.folder);
        if last == Some(number) && whole.as_ref() != Some(&self.name) {
            return Ok(());
        }
        let what =
            "another write to this URL has resumed this one. Do not run two at the same time";
        Err(io("finish", &self.url.name())(Error::new(ErrorKind::ResourceBusy, what)).into())
    }

    /// The number of bytes before a name in the dataset, in keys.
    fn key_start(&self) -> usize {
        match self.url.key() {
            "" => 0,
            key => key.len() + 1,
        }
    }

    /// The dataset that is there.
    fn there(&self) -> Result<Option<Manifest>> {
        match Manifest::read(&self.home) {
            Err(error) if is_missing(&error) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Creates a file, one of `together`.
    pub(crate) fn create(&mut self, name: &str, together: usize) -> Result<ObjectWriter> {
        let url = object(&object(&self.url, &self.name), name);
        // No other has this name.
        let options = WriteOptions { replace: Some(true), ..self.options.clone() };
        let created = ObjectWriter::create(&url, &options, 0, together)?;
        self.keys.push(url.key().to_owned());
        Ok(created)
    }

    /// The URL of its files.
    pub(crate) fn path(&self) -> PathBuf {
        self.home.path(&self.name)
    }

    /// Removes the files that are not to be kept, those of other processes too.
    pub(crate) fn remove_others(&self, keep: &BTreeSet<String>) -> Result<()> {
        self.check_taken()?;
        let folder = object(&self.url, &self.name);
        let found = list(&folder, &self.options)?.into_iter().map(|object| object.key);
        let kept = |key: &String| key.rsplit_once('/').is_some_and(|(_, name)| keep.contains(name));
        let others: Vec<String> = found.filter(|key| !kept(key)).collect();
        if !others.is_empty() {
            remove(&folder, &others, &self.options)?;
        }
        Ok(())
    }

    /// Makes the dataset appear.
    pub(crate) fn finish(mut self, mut manifest: Manifest) -> Result<()> {
        manifest.folder = Some(self.name.clone());
        let replaced = match self.options.replace {
            // A damaged one can be replaced too.
            Some(true) => self.there().ok().flatten(),
            _ => None,
        };
        let json = manifest.to_json();
        let path = self.home.path(MANIFEST);
        write_file_with(&path, &self.options, |file| file.write_all(&json))?;
        self.finished = true;
        if let Err(error) = self.clean(replaced.and_then(|replaced| replaced.folder)) {
            log::warn!("the dataset is saved, but not what it replaces is removed: {error}");
        }
        Ok(())
    }

    /// Removes the files of the dataset that was replaced, and of saves that were killed.
    fn clean(&self, replaced: Option<String>) -> Result<()> {
        let found = list(&self.url, &self.options)?;
        let old = old_files(&found, self.key_start(), &self.name, replaced.as_deref());
        if !old.is_empty() {
            remove(&self.url, &old, &self.options)?;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // In a forked child, the save is the parent's.
        if !self.finished && !self.keys.is_empty() && self.process == process_id() {
            remove_soon(&self.url, std::mem::take(&mut self.keys), &self.options);
        }
    }
}

/// The keys of files that no save needs any more. Keys are those of the dataset after `before`
/// bytes. The clock is the store's, as the files of this save show it.
fn old_files(
    found: &[ObjectInfo],
    before: usize,
    this: &str,
    replaced: Option<&str>,
) -> Vec<String> {
    let mut folders: HashMap<&str, Vec<&ObjectInfo>> = HashMap::new();
    for object in found {
        let inner = object.key.get(before..).and_then(|name| name.split_once('/'));
        if let Some((folder, name)) = inner
            && folder.starts_with(FOLDER)
            && Part::is_name(name)
        {
            folders.entry(folder).or_default().push(object);
        }
    }
    let changed = |files: &[&ObjectInfo]| files.iter().map(|file| file.modified).max();
    let Some(now) = folders.get(this).and_then(|files| changed(files)) else { return Vec::new() };
    let mut old: Vec<String> = folders
        .into_iter()
        .filter(|(folder, files)| {
            let age = changed(files).map_or(0, |changed| now - changed);
            *folder != this && (Some(*folder) == replaced || age > LEFT_OVER)
        })
        .flat_map(|(_, files)| files.into_iter().map(|file| file.key.clone()))
        .collect();
    old.sort_unstable();
    old
}

/// The name of the object that a resumable write begins with. It is removed before `dataset.json`
/// appears, and with the parts of writes that are never resumed.
fn attempt_name(number: u64) -> String {
    Part::of_rows(0, &format!("{ATTEMPT}{number}"))
}

/// When the resumable writes in each folder began, the folder, and the number of the write.
fn attempts(found: &[ObjectInfo], before: usize) -> Vec<(i64, &str, u64)> {
    let start = Part::of_rows(0, ATTEMPT);
    let (start, end) = start.split_at(start.len() - ".npy".len());
    let number = |name: &str| name.strip_prefix(start)?.strip_suffix(end)?.parse().ok();
    let attempt = found.iter().filter_map(|object| {
        let (folder, name) = object.key.get(before..)?.split_once('/')?;
        let number = number(name).filter(|_| folder.starts_with(FOLDER))?;
        Some((object.modified, folder, number))
    });
    attempt.collect()
}

/// Whether an error says that there is no such object.
pub(crate) fn is_missing(error: &crate::error::Error) -> bool {
    error.system().is_some_and(|source| source.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_save_needs_is_removed() {
        let all = [
            ("sets/a/dataset.json", 10_000),
            ("sets/a/data-this/0.npy", 10_000),
            ("sets/a/data-this/1.npy", 9_000),
            ("sets/a/data-replaced/0.npy", 9_990),
            ("sets/a/data-killed/0.npy", 6_000),
            ("sets/a/data-killed/0.starts.npy", 6_399),
            ("sets/a/data-running/0.npy", 1_000),
            ("sets/a/data-running/1.npy", 6_400),
            ("sets/a/data-mine/notes.txt", 0),
            ("sets/a/others/0.npy", 0),
            ("sets/a/0.npy", 0),
            ("sets/a/b/data-killed/0.npy", 0),
        ];
        let found = all.map(|(key, modified)| ObjectInfo { key: key.into(), modified });
        let old = old_files(&found, "sets/a/".len(), "data-this", Some("data-replaced"));
        assert_eq!(old, [all[4].0, all[5].0, all[3].0]);
        assert!(old_files(&found, "sets/a/".len(), "data-unknown", None).is_empty());
    }
}
