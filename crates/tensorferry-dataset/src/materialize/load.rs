//! Loading a saved dataset.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::materialize::home::Home;
use crate::materialize::manifest::Manifest;
use crate::materialize::reader::{Column, Ragged, columns};
use crate::materialize::remote::is_missing;
use crate::sources::values;
use crate::sources::values::Values;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, Elements, Hints, Stage};
use serde_json::Value;
use std::path::Path;
use tensorferry_core::TensorSpec;
use tensorferry_io::StorageOptions;
use tensorferry_io::array::tensor_rows::Source;
use tensorferry_io::storage::url::Place;

/// Elements of which some components vary in shape.
struct Loaded {
    parts: Vec<Part>,
    spec: Vec<Component>,
    count: u64,
}

#[derive(Clone)]
enum Part {
    Rows(Source),
    Ragged(Box<Ragged>),
}

/// How often a dataset in a store is opened whose files are removed meanwhile, because another
/// replaces it.
const TRIES: u32 = 3;

impl Dataset {
    /// Loads a dataset that [`Dataset::save`] wrote, with random access. The files are
    /// memory-mapped: nothing is read until it is needed.
    ///
    /// The files of a loaded dataset must not be changed in place. Saving to the same path again
    /// does not change them.
    ///
    /// A dataset in an object store is read on request. Where the elements of a component vary in
    /// shape, their places are read now, and take 8 bytes of memory each if only the first length
    /// varies, or 16 and 8 for each length. Saving to the same place again removes its files: a
    /// later read fails.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] if there is nothing of that name, or a file is missing;
    /// [`tensorferry_io::Error::InFile`] around [`tensorferry_core::Error::Malformed`] or
    /// [`tensorferry_core::Error::WrongLength`] if a file is not what was saved.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::load_nested(path, &StorageOptions::default())?.0)
    }

    /// As [`Dataset::load`], with options for URLs, together with the `structure` that was given to
    /// [`Dataset::writer`], as JSON.
    ///
    /// # Errors
    /// As [`Dataset::load`]; [`crate::error::Error::Argument`] for wrong options.
    pub fn load_nested(
        path: impl AsRef<Path>,
        storage: &StorageOptions,
    ) -> Result<(Self, Option<String>)> {
        let home = Home::new(path.as_ref(), storage)?;
        let (manifest, columns) = opened(&home)?;
        let structure = match manifest.structure {
            Value::Null => None,
            structure => Some(structure.to_string()),
        };
        let dataset = match home.place {
            Place::Local(_) if manifest.parts.is_none() => {
                mapped(columns, manifest.components, manifest.cardinality)?
            }
            _ => requested(columns, &manifest.components, manifest.cardinality)?,
        };
        Ok((dataset, structure))
    }
}

/// Opens the files of a dataset, again if it was replaced meanwhile.
fn opened(home: &Home) -> Result<(Manifest, Vec<Column>)> {
    let mut manifest = Manifest::read(home)?;
    let mut tries = 1;
    loop {
        match columns(home, &manifest) {
            Err(error) if is_missing(&error) && manifest.folder.is_some() && tries < TRIES => {
                let now = Manifest::read(home)?;
                if now.folder == manifest.folder {
                    return Err(error);
                }
                manifest = now;
                tries += 1;
            }
            done => return Ok((manifest, done?)),
        }
    }
}

/// The elements of memory-mapped files.
fn mapped(columns: Vec<Column>, specs: Vec<TensorSpec>, count: u64) -> Result<Dataset> {
    let parts = columns.into_iter().map(part).collect::<Result<Vec<_>>>()?;
    let row = |part: &Part| match part {
        Part::Rows(source) => Some(source.clone()),
        Part::Ragged(_) => None,
    };
    if let Some(sources) = parts.iter().map(row).collect::<Option<Vec<Source>>>() {
        return Dataset::from_tensor_slices(sources);
    }
    let spec = specs.into_iter().map(Component::Tensor).collect();
    Ok(Dataset::of(Loaded { parts, spec, count }))
}

/// The elements of objects that are read on request, and of parts.
fn requested(columns: Vec<Column>, specs: &[TensorSpec], count: u64) -> Result<Dataset> {
    let (mut parts, mut arrays) = (Vec::new(), Vec::new());
    for (column, spec) in columns.into_iter().zip(specs) {
        let other = match column {
            // Those beside each other are read together.
            Column::Rows(values) => {
                arrays.push(values.into_array()?);
                continue;
            }
            Column::Lengths(rows) => Dataset::from_ragged([*rows])?,
            Column::Ragged(ragged) => Dataset::of(Loaded {
                parts: vec![Part::Ragged(ragged)],
                spec: vec![Component::Tensor(spec.clone())],
                count,
            }),
        };
        if !arrays.is_empty() {
            parts.push(Dataset::from_rows(std::mem::take(&mut arrays))?);
        }
        parts.push(other);
    }
    if !arrays.is_empty() {
        parts.push(Dataset::from_rows(arrays)?);
    }
    match parts.as_slice() {
        [only] => Ok(only.clone()),
        _ => Dataset::zip(parts),
    }
}

fn part(column: Column) -> Result<Part> {
    match column {
        Column::Ragged(ragged) => Ok(Part::Ragged(ragged)),
        Column::Rows(Values { place: values::Place::Memory(source) }) => Ok(Part::Rows(source)),
        Column::Rows(_) | Column::Lengths(_) => {
            let what = "a file of a saved dataset cannot be memory-mapped".into();
            Err(Error::Argument { stage: "load", what })
        }
    }
}

impl Stage for Loaded {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.count)
    }

    fn describe(&self) -> String {
        format!("load({} x {})", self.count, Component::list(&self.spec))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self {
            parts: self.parts.clone(),
            spec: self.spec.clone(),
            count: self.count,
        }))
    }

    fn hints(&self, inputs: Hints) -> Hints {
        self.parts.iter().fold(inputs, |hints, part| match part {
            Part::Rows(_) => hints,
            Part::Ragged(ragged) => ragged.hints(hints),
        })
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let part = |part: &Part| match part {
            Part::Rows(source) => Ok(source.row(index)?),
            Part::Ragged(ragged) => ragged.get(index, cx),
        };
        self.parts.iter().map(|of| Ok(part(of)?.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, elements, small_numbers};
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{assert_rebuilds, counting};
    use tensorferry_core::{DType, Tensor};
    use tensorferry_io::WriteOptions;

    /// Elements of several shapes, and a number.
    fn ragged() -> Dataset {
        let element = |(at, len): (i64, usize)| {
            let values = Tensor::from_vec(vec![at; len * 2], &[len, 2]).unwrap();
            vec![values.into(), Tensor::from_vec(vec![at], &[]).unwrap().into()]
        };
        let all: Vec<Element> =
            [3, 0, 5, 1].into_iter().zip(0..).map(|(len, at)| element((at, len))).collect();
        let spec = |dims: &[Option<usize>]| {
            Component::Tensor(TensorSpec::new(
                DType::Int64,
                tensorferry_core::Shape::new(dims.to_vec()),
            ))
        };
        Dataset::from_elements(all, vec![spec(&[None, Some(2)]), spec(&[])]).unwrap()
    }

    #[test]
    fn every_dtype_and_shape_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        for (at, dtype) in DType::ALL.into_iter().enumerate() {
            let path = directory.path().join(at.to_string());
            let parts = [
                small_numbers(dtype, &[7, 3, 2], 1),
                small_numbers(dtype, &[7], 2),
                small_numbers(dtype, &[7, 0], 2),
            ];
            let dataset = Dataset::from_tensor_slices(parts).unwrap();
            dataset.save(&path).unwrap();
            let loaded = Dataset::load(&path).unwrap();
            assert_eq!(loaded.spec(), dataset.spec());
            assert_eq!(elements(&loaded), elements(&dataset));
        }
    }

    #[test]
    fn more_elements_than_one_block_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let dataset = Dataset::range(0, 200_000, 1, DType::Int64).unwrap();
        dataset.save(directory.path().join("saved")).unwrap();
        let loaded = Dataset::load(directory.path().join("saved")).unwrap().batch(200_000).unwrap();
        let all: Vec<i64> =
            loaded.get(0).unwrap()[0].tensor().unwrap().view().unwrap().iter().collect();
        assert_eq!(all, (0..200_000).collect::<Vec<_>>());
    }

    #[test]
    fn elements_of_several_shapes_come_back_by_index() {
        let directory = tempfile::tempdir().unwrap();
        ragged().save(directory.path()).unwrap();
        let loaded = Dataset::load(directory.path()).unwrap();
        assert!(loaded.is_indexed());
        assert_eq!(all_ways(&loaded, 0), all_ways(&ragged(), 0));
        assert_rebuilds(&loaded);
        assert_eq!(loaded.to_string(), "load(4 x (int64[?, 2], int64[]))");
    }

    #[test]
    fn streams_are_saved_and_structures_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("saved");
        let (options, write) = (Options::default(), WriteOptions::default());
        counting(10)
            .writer(&path, Some(r#"{"any": ["thing"]}"#), || Epoch(0), &options, &write)
            .unwrap()
            .finish()
            .unwrap();
        let (loaded, structure) = Dataset::load_nested(&path, &StorageOptions::default()).unwrap();
        assert_eq!(structure.as_deref(), Some(r#"{"any":["thing"]}"#));
        assert_eq!(loaded.cardinality(), Cardinality::Finite(10));
        assert!(matches!(
            counting(1).writer(&path, Some("{"), || Epoch(0), &options, &write),
            Err(Error::Argument { .. })
        ));
    }

    /// Random bytes anywhere in the files give errors or elements, but no panic and no access
    /// outside the arrays.
    #[test]
    fn damaged_files_are_errors_or_other_values() {
        let directory = tempfile::tempdir().unwrap();
        ragged().save(directory.path()).unwrap();
        let mut noise = crate::all_ways::noise(5);
        let mut draw =
            |below: usize| usize::try_from(noise.next().unwrap() % below as u64).unwrap();
        let mut outcomes = [0_usize; 3];
        for name in ["dataset.json", "0.npy", "0.starts.npy", "0.shapes.npy", "1.npy"] {
            let path = directory.path().join(name);
            let whole = std::fs::read(&path).unwrap();
            for round in 0..300 {
                let mut bytes = whole.clone();
                for _ in 0..=draw(3) {
                    // The numbers are at the end of a file. A small one is more likely to be a
                    // valid offset.
                    let at = if round % 2 == 0 {
                        draw(bytes.len())
                    } else {
                        bytes.len() - 1 - draw(bytes.len().min(80))
                    };
                    bytes[at] = [0, 1, 2, 7, 0x7f, 0xff, b'9', b'-'][draw(8)];
                }
                std::fs::write(&path, &bytes).unwrap();
                match Dataset::load(directory.path()) {
                    Err(_) => outcomes[0] += 1,
                    Ok(loaded) if loaded.iter().take(10).any(|element| element.is_err()) => {
                        outcomes[1] += 1
                    }
                    Ok(_) => outcomes[2] += 1,
                }
            }
            std::fs::write(&path, &whole).unwrap();
        }
        assert!(outcomes.iter().all(|count| *count > 50), "{outcomes:?}");
    }

    #[test]
    fn what_is_dropped_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("saved");
        let (options, write) = (Options::default(), WriteOptions::default());
        let mut saving = counting(1000).writer(&path, None, || Epoch(0), &options, &write).unwrap();
        assert!(saving.step(std::time::Duration::from_secs(60)).unwrap());
        drop(saving);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
