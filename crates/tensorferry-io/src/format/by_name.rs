//! Named arrays of one or several files.

use crate::array::arrays::{Arrays, Member, Members, Notes};
use crate::error::{Error, Result};
use crate::format::file_format::{FeatureSpec, OpenRequest, Opened};
use crate::storage::read_at::ReadAt;
use std::collections::HashMap;
use std::sync::Arc;
use tensorferry_core::{DType, TensorSpec};

/// The arrays that a request opens, restricted to `features`. Warns about skipped entries.
///
/// # Errors
/// [`Error::Argument`] if a feature is missing, or its rows have another dtype or shape.
pub(crate) fn opened(
    request: &OpenRequest<'_>,
    members: Members,
    notes: Notes,
    features: &[(String, Option<FeatureSpec>)],
) -> Result<Opened> {
    let members = chosen(members, features)?;
    // Naming the wanted arrays means that the others may be skipped.
    let notes = if request.options.features.is_empty() {
        notes
    } else {
        Notes { left_out: Vec::new(), ..notes }
    };
    let paths: Arc<[_]> = request.sources.iter().map(|source| source.name().to_owned()).collect();
    for (name, why) in &notes.left_out {
        log::warn!("{}: left out: {name:?}: {why}", paths[0].display());
    }
    let limit = request.options.memory_limit;
    Ok(Opened::Arrays(Arrays::new(members, notes, request.mode, limit, paths)))
}

/// The members named by `asked`, in this order, or all if it is empty.
///
/// # Errors
/// [`Error::Argument`] if a feature is missing, or has another dtype or shape.
fn chosen(members: Members, asked: &[(String, Option<FeatureSpec>)]) -> Result<Members> {
    if asked.is_empty() {
        return Ok(members);
    }
    let names: Vec<String> = members.iter().map(|(name, _)| name.clone()).take(20).collect();
    let mut members: HashMap<String, Box<dyn Member>> = members.into_iter().collect();
    let one = |(name, spec): &(String, Option<FeatureSpec>)| {
        let Some(member) = members.remove(name) else {
            let what =
                format!("no array has the name {name:?} of a chosen feature; there are {names:?}");
            return Err(Error::argument("open", what));
        };
        spec.as_ref().map_or(Ok(()), |asked| check(&*member, name, &asked.spec))?;
        Ok((name.clone(), member))
    };
    asked.iter().map(one).collect()
}

/// Checks dtype and shape of the rows against `spec`.
fn check(member: &dyn Member, name: &str, spec: &TensorSpec) -> Result<()> {
    member.each_part(&mut |dtype: DType, shape: &[usize]| match shape {
        [_, row @ ..] if dtype == spec.dtype && spec.shape.admits(row) => Ok(()),
        _ => {
            let what = format!(
                "feature {name:?} is {dtype} of shape {shape:?}, whose rows are not the {spec} \
                that was chosen"
            );
            Err(Error::argument("open", what))
        }
    })
}

/// The members of several files by name: names that all files have are shards of one array, and
/// files that share no name are merged.
///
/// # Errors
/// [`Error::Argument`], naming both files, if they share only some names.
pub(crate) fn by_name<T>(
    sources: &[Arc<dyn ReadAt>],
    mut each: impl FnMut(&Arc<dyn ReadAt>) -> Result<Vec<(String, T)>>,
) -> Result<Vec<(String, Vec<T>)>> {
    let mut all: Vec<(String, Vec<T>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, file) in sources.iter().enumerate() {
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
        // So far, each file has all names, or none that another has.
        let shards = shared == before && shared == count;
        let own = shared == 0 && all.iter().all(|(_, members)| members.len() == 1);
        if at > 0 && !shards && !own {
            let odd =
                all.iter().find(|(_, members)| members.len() <= at).map_or("", |(name, _)| name);
            let what = format!(
                "{} and the files before it share some names and not others ({odd:?}). Files \
                whose arrays have the same names are opened as \
                 shards, files that share none as one whole.",
                file.name().display()
            );
            return Err(Error::argument("open", what));
        }
    }
    Ok(all)
}
