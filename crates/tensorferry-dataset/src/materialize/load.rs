//! Loading a saved dataset.

use crate::checkpoint::change::Change;
use crate::error::Result;
use crate::materialize::reader::{Column, Ragged, open};
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, Elements, Stage};
use serde_json::Value;
use std::path::Path;
use tensorferry_io::array::tensor_rows::Source;

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

impl Dataset {
    /// Loads a dataset that [`Dataset::save`] wrote, with random access. The files are
    /// memory-mapped: nothing is read until it is needed.
    ///
    /// The files of a loaded dataset must not be changed in place. Saving to the same path again
    /// does not change them.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] if there is nothing of that name, or a file is missing;
    /// [`tensorferry_io::Error::InFile`] around [`tensorferry_core::Error::Malformed`] or
    /// [`tensorferry_core::Error::WrongLength`] if a file is not what was saved.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::load_nested(path)?.0)
    }

    /// As [`Dataset::load`], together with the `structure` that was given to [`Dataset::writer`],
    /// as JSON.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_nested(path: impl AsRef<Path>) -> Result<(Self, Option<String>)> {
        let (manifest, columns) = open(path.as_ref())?;
        let structure = match manifest.structure {
            Value::Null => None,
            structure => Some(structure.to_string()),
        };
        let part = |column| match column {
            Column::Rows(tensor) => Part::Rows(tensor.into()),
            Column::Ragged(ragged) => Part::Ragged(ragged),
        };
        let parts: Vec<Part> = columns.into_iter().map(part).collect();
        let row = |part: &Part| match part {
            Part::Rows(source) => Some(source.clone()),
            Part::Ragged(_) => None,
        };
        if let Some(sources) = parts.iter().map(row).collect::<Option<Vec<Source>>>() {
            return Ok((Self::from_tensor_slices(sources)?, structure));
        }
        let spec = manifest.components.into_iter().map(Component::Tensor).collect();
        Ok((Self::of(Loaded { parts, spec, count: manifest.cardinality }), structure))
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

    fn get(&self, index: u64, _cx: &Context) -> Result<Element> {
        let part = |part: &Part| match part {
            Part::Rows(source) => Ok(source.row(index)?),
            Part::Ragged(ragged) => ragged.get(index),
        };
        self.parts.iter().map(|of| Ok(part(of)?.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, elements, small_numbers};
    use crate::error::Error;
    use crate::execute::options::Options;
    use crate::stage::Epoch;
    use crate::testing::{assert_rebuilds, counting};
    use tensorferry_core::TensorSpec;
    use tensorferry_core::{DType, Tensor};

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
        let options = Options::default();
        counting(10)
            .writer(&path, Some(r#"{"any": ["thing"]}"#), || Epoch(0), &options)
            .unwrap()
            .finish()
            .unwrap();
        let (loaded, structure) = Dataset::load_nested(&path).unwrap();
        assert_eq!(structure.as_deref(), Some(r#"{"any":["thing"]}"#));
        assert_eq!(loaded.cardinality(), Cardinality::Finite(10));
        assert!(matches!(
            counting(1).writer(&path, Some("{"), || Epoch(0), &options),
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
        let mut saving =
            counting(1000).writer(&path, None, || Epoch(0), &Options::default()).unwrap();
        assert!(saving.step(std::time::Duration::from_secs(60)).unwrap());
        drop(saving);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
