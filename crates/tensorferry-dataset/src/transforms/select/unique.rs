//! `unique`: removes repeated values.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::element_iter::Counted;
use crate::error::{Error, Result};
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Elements, Stage, Step, value_of};
use std::collections::HashSet;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{DType, Tensor, TensorSpec};
use tensorferry_io::gather::rows_out::packed;
use tensorferry_io::memory::room::{Room, collected, copied};

struct Unique {
    input: Dataset,
}

impl Dataset {
    /// Keeps the first occurrence of each value. Values are equal if their shapes and bytes are: a
    /// NaN equals itself, and `0.0` differs from `-0.0`.
    ///
    /// Memory and the state of an iteration grow with the number of distinct values, by the bytes
    /// of each value.
    ///
    /// # Errors
    /// [`Error::Argument`] if the elements are not single tensors.
    pub fn unique(&self) -> Result<Self> {
        if spec::tensors(self.spec(), "unique")?.len() != 1 {
            let what = format!(
                "elements have {} components, and unique compares single tensors. Map to one \
                    component first.",
                self.spec().len()
            );
            return Err(Error::Argument { stage: "unique", what });
        }
        Ok(Self::of(Unique { input: self.clone() }))
    }
}

impl Stage for Unique {
    fn elements(&self) -> Elements<'_> {
        Elements::InOrder(std::slice::from_ref(&self.input), self.input.spec())
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }

    fn describe(&self) -> String {
        "unique()".into()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].unique()
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let fixed =
            self.input.spec().first().and_then(Component::tensor).and_then(TensorSpec::fixed);
        let row = fixed.map(|(_, bytes)| bytes);
        Ok(Box::new(UniqueIter {
            input: Counted::new(&self.input, cx)?,
            seen: HashSet::new(),
            row,
        }))
    }
}

struct UniqueIter {
    input: Counted,
    seen: HashSet<Box<[u8]>>,
    /// Bytes per value, if all values have the same shape. Then their bytes alone identify them.
    row: Option<usize>,
}

impl UniqueIter {
    /// A key that is equal for equal values only. If shapes may differ, the dimensions and their
    /// number follow the bytes.
    fn key(&self, element: &Element) -> Result<Box<[u8]>> {
        let Some(value) = element.first() else {
            return Err(Error::ElementMismatch { what: "an element without components".into() });
        };
        let tensor = packed(value.tensor()?)?;
        let bytes = tensor
            .as_view()
            .as_bytes()
            .ok_or(Error::Core(CoreError::NotViewable { why: "the elements are not packed" }))?;
        if self.row.is_some() {
            return Ok(copied(bytes)?.into());
        }
        let shape = tensor.shape().iter().copied().chain([tensor.shape().len()]);
        let mut key = Vec::new();
        key.make_room(bytes.len() + (tensor.shape().len() + 1) * size_of::<usize>())?;
        key.extend_from_slice(bytes);
        key.extend(shape.flat_map(usize::to_le_bytes));
        Ok(key.into())
    }

    fn keys(&self, saved: &State) -> Result<HashSet<Box<[u8]>>> {
        let damaged = || Error::State { what: "the values seen by unique() are damaged".into() };
        let mut seen = HashSet::new();
        let mut count = 0;
        for tensor in saved.tensors()? {
            seen.make_room(tensor.shape().first().copied().unwrap_or(1))?;
            let view = tensor.as_view();
            let Some(bytes) = view.as_bytes().filter(|_| tensor.dtype() == DType::UInt8) else {
                return Err(damaged());
            };
            match (self.row, tensor.shape()) {
                (Some(0), [n, 0]) => seen.extend((*n > 0).then(Box::default)),
                (Some(row), [_, len]) if row == *len => {
                    seen.extend(bytes.chunks_exact(row).map(Box::from))
                }
                (None, [_]) => drop(seen.insert(bytes.into())),
                _ => return Err(damaged()),
            }
            count +=
                if self.row.is_some() { tensor.shape().first().copied().unwrap_or(0) } else { 1 };
        }
        // Keys must be distinct.
        if seen.len() == count { Ok(seen) } else { Err(damaged()) }
    }
}

impl ElementIter for UniqueIter {
    fn next(&mut self) -> Step {
        loop {
            let (index, element) = value_of!(self.input.next());
            let room = self.seen.make_room(1).map_err(Error::from);
            let seen = room.and_then(|()| self.key(&element)).map(|key| self.seen.insert(key));
            match seen {
                Err(error @ Error::Core(CoreError::Allocation { .. })) => {
                    // Keep the element for when there is memory again.
                    self.input.give_back(element);
                    return Ok(Some(Err(error)));
                }
                Ok(true) => return Ok(Some(Ok(element))),
                Ok(false) => {}
                Err(error) => return Ok(Some(Err(error.at_element("unique", index)))),
            }
        }
    }

    /// Saves the values in sorted order, so that equal states have equal bytes. Values of one shape
    /// are rows of one tensor.
    fn save(&self) -> Result<State> {
        let mut seen: Vec<&[u8]> =
            collected(self.seen.iter().map(|key| Ok::<_, Error>(key.as_ref())))?;
        seen.sort_unstable();
        let seen = match self.row {
            Some(row) => {
                let mut all = Vec::new();
                all.make_room(seen.len().saturating_mul(row))?;
                seen.iter().for_each(|key| all.extend_from_slice(key));
                vec![Tensor::from_vec(all, &[seen.len(), row])?]
            }
            None => {
                let tensor = |key: &[u8]| Tensor::from_vec(copied(key)?, &[key.len()]);
                collected(seen.into_iter().map(tensor))?
            }
        };
        Ok(State::List(vec![State::Tensors(seen), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.seen = self.keys(&parts[0])?;
        self.input.restore(&parts[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_rebuilds, assert_rejects_damage, assert_resumes, ints, rows, values,
    };
    use tensorferry_core::Shape;

    fn words(words: &[&[i64]]) -> Dataset {
        let element = |word: &&[i64]| -> Element {
            vec![Tensor::from_vec(word.to_vec(), &[word.len()]).unwrap().into()]
        };
        let spec = vec![Component::Tensor(TensorSpec::new(DType::Int64, Shape::unknown()))];
        Dataset::from_elements(words.iter().map(element).collect(), spec).unwrap()
    }

    #[test]
    fn keeps_the_first_of_each_value() {
        let dataset = ints(&[3, 1, 3, 2, 1, 3, 0]).unique().unwrap();
        assert_eq!(values(&dataset), [3, 1, 2, 0]);
        assert_eq!(dataset.cardinality(), Cardinality::Unknown);
        assert_resumes(&dataset);
        assert_rejects_damage(&dataset);
        assert_rebuilds(&dataset);
    }

    #[test]
    fn values_of_other_shapes_are_other_values() {
        let dataset = words(&[&[1, 2], &[], &[1], &[1, 2], &[2, 1], &[], &[1]]).unique().unwrap();
        assert_eq!(rows(&dataset), [vec![1, 2], vec![], vec![1], vec![2, 1]]);
        assert_resumes(&dataset);
        assert_rejects_damage(&dataset);
    }

    #[test]
    fn floats_are_compared_by_their_bytes() {
        let floats = vec![0.0_f64, -0.0, f64::NAN, 0.0, f64::NAN];
        let dataset =
            Dataset::from_tensor_slices([Tensor::from_vec(floats, &[5]).unwrap()]).unwrap();
        assert_eq!(dataset.unique().unwrap().iter().count(), 3);
    }

    #[test]
    fn values_without_elements_are_all_one() {
        let nothing = Tensor::from_vec(Vec::<i64>::new(), &[4, 0]).unwrap();
        let dataset = Dataset::from_tensor_slices([nothing]).unwrap().unique().unwrap();
        assert_eq!(dataset.iter().count(), 1);
        assert_resumes(&dataset);
    }

    #[test]
    fn elements_of_several_components_are_refused() {
        let column = Tensor::from_vec(vec![1_i64, 2], &[2]).unwrap();
        let pairs = Dataset::from_tensor_slices([column.clone(), column]).unwrap();
        assert!(matches!(pairs.unique(), Err(Error::Argument { stage: "unique", .. })));
    }
}
