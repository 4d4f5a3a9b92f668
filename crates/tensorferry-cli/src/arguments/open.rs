//! Opening the files of a command, by options that all commands share.

use crate::arguments::select::Named;
use crate::arguments::size::Size;
use crate::arguments::storage::StorageArgs;
use crate::outcome::{Failure, Outcome, wrong};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensorferry::dataset::{CancelToken, Shape};
use tensorferry::error::IoError;
use tensorferry::{
    ByteOrder, Casting, DType, Format, Mode, OpenOptions, Opened, Raw, StorageOptions, is_remote,
    open_with,
};

/// How files are opened.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Opening files")]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    file: FileArgs,
    /// How they are read [default: auto]
    #[arg(long, value_parser = modes())]
    mode: Option<Mode>,
    /// Array to take from files that hold several; may be given several times
    #[arg(long, value_name = "NAME")]
    array: Vec<String>,
}

/// The arrays asked for, and the metadata of their files.
#[derive(Debug)]
pub(crate) struct All {
    pub(crate) arrays: Vec<Named>,
    /// The metadata of `.safetensors` files.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What files hold.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Opening files")]
pub(crate) struct FileArgs {
    /// Format of the files [default: detected from their first bytes]
    #[arg(long, value_parser = formats())]
    format: Option<Format>,
    /// dtype of raw files: a name (int32), or NumPy's code, which may have a byte order (>i4)
    #[arg(long, value_name = "DTYPE", value_parser = crate::arguments::dtype::stored)]
    raw_dtype: Option<(DType, ByteOrder)>,
    /// Shape of each raw file; a first length of -1 stands for all rows in the file [default: -1]
    #[arg(
        long,
        value_name = "N,N,...",
        value_parser = shape,
        allow_hyphen_values = true,
        requires = "raw_dtype"
    )]
    raw_shape: Option<Shape>,
    /// Bytes before the elements of raw files [default: 0]
    #[arg(long, value_name = "BYTES", requires = "raw_dtype")]
    raw_offset: Option<u64>,
    #[command(flatten)]
    storage: StorageArgs,
}

/// Parses one of these names, which shells complete.
fn named<T: Clone + Send + Sync + 'static>(
    all: Vec<(&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|(name, _)| *name).collect::<Vec<_>>()).try_map(
        move |name| {
            all.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
                .ok_or("unknown")
        },
    )
}

pub(crate) fn formats() -> impl TypedValueParser<Value = Format> {
    named(Format::ALL.map(|format| (format.name(), format)).into())
}

fn modes() -> impl TypedValueParser<Value = Mode> {
    named(Mode::ALL.map(|mode| (mode.name(), mode)).into())
}

pub(crate) fn castings() -> impl TypedValueParser<Value = Casting> {
    named(Casting::ALL.map(|casting| (casting.name(), casting)).into())
}

fn shape(text: &str) -> Result<Shape, String> {
    let dims = text.split(',').map(str::trim).enumerate().map(|(at, dim)| match dim {
        "-1" if at == 0 => Ok(None),
        "-1" => Err("only the first length can be -1".to_owned()),
        _ => dim.parse::<usize>().map(Some).map_err(|_| format!("{dim:?} is not a length")),
    });
    Ok(Shape::new(dims.collect::<Result<Vec<_>, _>>()?))
}

impl OpenArgs {
    /// Opens files, several as one; reading them is cancellable.
    pub(crate) fn open(&self, paths: &[PathBuf], cancel: &CancelToken) -> Outcome<Opened> {
        self.open_within(paths, self.mode.unwrap_or_default(), None, cancel)
    }

    fn open_within(
        &self,
        paths: &[PathBuf],
        mode: Mode,
        memory_limit: Option<Size>,
        cancel: &CancelToken,
    ) -> Outcome<Opened> {
        if paths.iter().any(|path| path == Path::new("-") && !path.exists()) {
            return Err(wrong("-: arrays are read from files, not from stdin. Name a file."));
        }
        if let Some(memory) = memory_limit {
            // As an iteration does; the rest is for the rows in progress.
            cancel.limit_readahead(memory / 4);
        }
        let options = OpenOptions { mode, memory_limit, ..self.file.options(cancel)? };
        open_with(paths, &options).map_err(unmatched)
    }

    /// How the stores of URLs are reached.
    pub(crate) fn storage(&self) -> StorageOptions {
        self.file.storage.options()
    }

    /// The names of the arrays asked for.
    pub(crate) fn arrays(&self) -> &[String] {
        &self.array
    }

    /// The format of files that are open as `given`; `first` is one of them.
    pub(crate) fn format_of(&self, given: &Path, first: Option<&Path>) -> Outcome<Format> {
        // The name of an object leaves out the query of its URL. Web servers have no patterns.
        let is_web = given.to_str().is_some_and(|text| text.starts_with("http"));
        let first = first.map(|first| if is_remote(given) && is_web { given } else { first });
        match (self.file.raw_dtype, self.file.format, first) {
            (None, Some(format), _) => Ok(format),
            (None, None, Some(path)) => Ok(Format::of_file_with(path, &self.storage())?),
            _ => Ok(Format::Raw),
        }
    }

    /// The arrays asked for, or all, each with its name if it has one.
    ///
    /// Without `--mode`, files that fit in half of the memory are read in the mode `fitting`,
    /// larger ones with direct I/O.
    pub(crate) fn open_all(
        &self,
        paths: &[PathBuf],
        memory: Option<Size>,
        fitting: Mode,
        cancel: &CancelToken,
    ) -> Outcome<All> {
        let mut opened = self.open_within(paths, self.mode.unwrap_or_default(), memory, cancel)?;
        let (mode, bytes): (_, u64) = match &opened {
            Opened::Array(array) => (array.mode(), array.paths().map(len).sum()),
            Opened::Arrays(arrays) => (arrays.mode(), arrays.paths().map(len).sum()),
        };
        let fits = memory.is_none_or(|memory| bytes <= memory as u64 / 2) && mode == Mode::Map;
        let wanted = if fits { fitting } else { Mode::Direct };
        if self.mode.is_none() && wanted != mode {
            opened = self.open_within(paths, wanted, memory, cancel)?;
        }
        let metadata = match &opened {
            Opened::Array(_) => BTreeMap::new(),
            Opened::Arrays(arrays) => arrays.metadata().clone(),
        };
        Ok(All { arrays: self.chosen(opened, paths)?, metadata })
    }

    fn chosen(&self, opened: Opened, paths: &[PathBuf]) -> Outcome<Vec<Named>> {
        match (opened, self.array.as_slice()) {
            (Opened::Array(array), []) => Ok(vec![Named { name: None, array }]),
            (Opened::Array(_), [name, ..]) => Err(wrong(format!(
                "--array {name}: {} holds one array without a name",
                shown(paths)
            ))),
            (Opened::Arrays(arrays), []) => Ok(arrays
                .get_all()?
                .into_iter()
                .map(|(name, array)| Named { name: Some(name), array })
                .collect()),
            (Opened::Arrays(arrays), names) => names
                .iter()
                .map(|name| Ok(Named { name: Some(name.clone()), array: arrays.get(name)? }))
                .collect(),
        }
    }

    /// The options that decide which elements are found, as text to compare.
    pub(crate) fn describe(&self) -> String {
        let FileArgs { format, raw_dtype, raw_shape, raw_offset, storage: _ } = &self.file;
        format!("{format:?} {raw_dtype:?} {raw_shape:?} {raw_offset:?}")
    }
}

impl FileArgs {
    /// The contents of raw files, if the options describe any.
    fn raw(&self) -> Outcome<Option<Raw>> {
        match (self.raw_dtype, self.format) {
            (None, Some(Format::Raw)) => Err(wrong(
                "a raw file does not say its dtype or shape. Pass --raw-dtype, and --raw-shape if \
                it \
                is not flat.",
            )),
            (None, _) => Ok(None),
            (Some(_), Some(format)) if format != Format::Raw => {
                Err(wrong(format!("--raw-dtype is for raw files, but --format is {format}")))
            }
            (Some((dtype, order)), _) => {
                let shape = self.raw_shape.clone().unwrap_or_else(|| Shape::new([None]));
                Ok(Some(Raw { dtype, order, shape, offset: self.raw_offset.unwrap_or(0) }))
            }
        }
    }

    /// What files are opened or verified with.
    pub(crate) fn options(&self, cancel: &CancelToken) -> Outcome<OpenOptions> {
        let (raw, storage, cancel) = (self.raw()?, self.storage.options(), cancel.clone());
        Ok(OpenOptions { format: self.format, raw, storage, cancel, ..OpenOptions::default() })
    }
}

/// A pattern that matches no file is an error in the arguments.
fn unmatched(error: IoError) -> Failure {
    match error {
        IoError::Io { path, source, .. } if source.to_string().starts_with("no file matches") => {
            wrong(source.to_string().replace("the pattern", &path.display().to_string()))
        }
        IoError::Io { path, source, .. }
            if source.to_string() == "no object matches the pattern" =>
        {
            wrong(format!("no object matches {}", path.display()))
        }
        other => other.into(),
    }
}

fn len(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

fn shown(paths: &[PathBuf]) -> String {
    match paths {
        [first, _, ..] => format!("{} and further files", first.display()),
        [only] => only.display().to_string(),
        [] => String::new(),
    }
}
