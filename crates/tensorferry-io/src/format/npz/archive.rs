//! The arrays and other files in a zip archive.

use crate::error::Result;
use crate::format::npz::member::ZipMember;
use crate::format::npz::zip_directory::{Method, entries, malformed};
use crate::storage::read_at::ReadAt;
use std::collections::HashSet;
use std::sync::Arc;

/// The contents of an archive.
pub(crate) struct Archive {
    /// The arrays, in directory order.
    pub(crate) members: Vec<ZipMember>,
    /// The names of its other files, and why they are not arrays.
    pub(crate) left_out: Vec<(String, String)>,
}

/// The contents of an archive. As for NumPy, a member is an array if its name ends in `.npy` or it
/// starts like such a file. Unless the user `said` that the file is an `.npz`, zip archives of
/// other known kinds are rejected.
///
/// # Errors
/// [`tensorferry_core::Error::Malformed`] if the file is not a zip archive, if arrays are encrypted
/// or compressed by another method than deflate, if two members have the same name, if a header
/// contradicts the directory, or if there are members but no array;
/// [`tensorferry_core::Error::WrongLength`] if it is truncated.
pub(crate) fn members(source: &Arc<dyn ReadAt>, said: bool) -> Result<Archive> {
    directory(source, said).map_err(|error| error.in_file(source.name()))
}

fn directory(source: &Arc<dyn ReadAt>, said: bool) -> Result<Archive> {
    let entries = entries(source)?;
    let wrong = |what: String| malformed(0, what);
    let kind = other_kind(entries.iter().map(|entry| entry.name.as_str()));
    if let Some(kind) = kind.filter(|_| !said) {
        return Err(wrong(kind.to_owned()));
    }
    let mut archive = Archive { members: Vec::with_capacity(entries.len()), left_out: Vec::new() };
    let names: HashSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    for entry in &entries {
        let npy = entry.name.strip_suffix(".npy");
        if npy.is_none() && !entry.begins(source, b"\x93NUMPY")? {
            let why = match &entry.method {
                Method::Other(how) => {
                    format!("{how}, and its name does not say that it is an array")
                }
                _ => "not an array: it does not begin as a .npy file does".into(),
            };
            archive.left_out.push((entry.name.clone(), why));
            continue;
        }
        // If both `x` and `x.npy` exist, each keeps its full name.
        let name = npy.filter(|name| !names.contains(name)).unwrap_or(&entry.name);
        if let Method::Other(how) = &entry.method {
            return Err(malformed(
                entry.start,
                format!(
                    "{name} is {how}; only deflated and stored members are read. Save it again \
                    with NumPy."
                ),
            ));
        }
        archive.members.push(ZipMember {
            source: Arc::clone(source),
            name: name.to_owned(),
            entry: entry.clone(),
        });
    }
    if archive.members.is_empty() && !entries.is_empty() {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).take(5).collect();
        let what = kind.map_or_else(
            || {
                format!(
                    "a zip archive without arrays: it holds {names:?}. Unpack it, and open \
                what is in it."
                )
            },
            String::from,
        );
        return Err(wrong(what));
    }
    Ok(archive)
}

/// The kind of an archive that is not an `.npz`, and how to read it.
fn other_kind<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let any = |is: &dyn Fn(&str) -> bool| names.clone().any(is);
    let has = |name: &str| any(&|other| other == name);
    let starts = |start: &str| any(&|name| name.starts_with(start));
    match () {
        () if any(&|name| name == "data.pkl" || name.ends_with("/data.pkl")) => Some(
            "a PyTorch file, which is a pickle in a zip archive. Load it with torch.load(path, \
            weights_only=True), and save its tensors as \
             .safetensors or .npz.",
        ),
        () if has("[Content_Types].xml") && starts("xl/") => {
            Some("an Excel workbook. Read it with pandas.read_excel.")
        }
        () if has("[Content_Types].xml") => Some("an Office document, not an archive of arrays."),
        () if has("content.xml") && has("mimetype") => {
            Some("an OpenDocument file. Read a table with pandas.read_excel(path, engine=\"odf\").")
        }
        () if has("model.weights.h5") || (has("config.json") && has("metadata.json")) => Some(
            "a Keras model. Load it with keras.saving.load_model, and save its weights as .npz.",
        ),
        () if any(&|name| name.ends_with(".dist-info/WHEEL")) => {
            Some("a Python wheel. Install it with pip.")
        }
        () if has("META-INF/MANIFEST.MF") => Some("a Java archive, not an archive of arrays."),
        () if any(&|name| {
            matches!(name.rsplit('/').next(), Some(".zarray" | ".zgroup" | "zarr.json"))
        }) =>
        {
            Some(
                "a zipped Zarr store. Open it with zarr, and pass its arrays to \
                from_tensor_slices or save.",
            )
        }
        () => None,
    }
}
