//! `from_elements`: elements of any shape in memory.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::request::Columns;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, Elements, Stage};
use crate::user_fn::function::Capture;
use crate::value::check;
use std::sync::Arc;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, write_row};

struct FromElements {
    // Not an `Arc<[Element]>`, which would copy the list.
    elements: Arc<Vec<Element>>,
    spec: Vec<Component>,
}

impl Dataset {
    /// A dataset of `elements`, in their order. `spec` describes them. Dimensions that differ
    /// between elements must be unknown in it.
    ///
    /// ```
    /// use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
    /// use tensorferry_dataset::{Component, Dataset};
    ///
    /// let words = [vec![1_i32, 2, 3], vec![4]];
    /// let elements = words.map(|word| {
    ///     let len = word.len();
    ///     Ok(vec![Tensor::from_vec(word, &[len])?.into()])
    /// });
    /// let elements: Result<Vec<_>, tensorferry_core::Error> = elements.into_iter().collect();
    /// let spec = Component::Tensor(TensorSpec::new(DType::Int32, Shape::new([None])));
    /// let dataset = Dataset::from_elements(elements?, vec![spec])?;
    /// assert_eq!(dataset.get(1)?[0].tensor()?.shape(), [1]);
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ElementMismatch`], wrapped with its index, if an element does not match `spec`.
    pub fn from_elements(elements: Vec<Element>, spec: Vec<Component>) -> Result<Self> {
        for (index, element) in elements.iter().enumerate() {
            check(element, &spec)
                .map_err(|error| error.at_element("from_elements", index as u64))?;
        }
        Ok(Self::in_memory(elements, spec))
    }

    /// As [`Dataset::from_elements`], for elements that are known to match `spec`.
    pub(crate) fn in_memory(elements: Vec<Element>, spec: Vec<Component>) -> Self {
        Self::of(FromElements { elements: Arc::new(elements), spec })
    }
}

impl FromElements {
    fn at(&self, index: u64) -> Result<&Element> {
        let at = usize::try_from(index).ok().and_then(|at| self.elements.get(at));
        at.ok_or_else(|| Error::Argument {
            stage: "from_elements",
            what: format!("there is no element {index}"),
        })
    }
}

impl Stage for FromElements {
    fn elements(&self) -> Elements<'_> {
        Elements::Indexed(&[], &self.spec)
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(self.elements.len() as u64)
    }

    fn describe(&self) -> String {
        format!("from_elements({} x {})", self.elements.len(), Component::list(&self.spec))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self { elements: Arc::clone(&self.elements), spec: self.spec.clone() }))
    }

    fn captures(&self) -> Vec<Capture> {
        if self.spec.iter().all(|part| part.tensor().is_some()) {
            return Vec::new();
        }
        let nested = |value: &crate::stage::Value| match value {
            crate::stage::Value::Dataset(dataset) => dataset.captures().to_vec(),
            crate::stage::Value::Tensor(_) => Vec::new(),
        };
        self.elements.iter().flatten().flat_map(nested).collect()
    }

    fn get(&self, index: u64, _cx: &Context) -> Result<Element> {
        self.at(index).cloned()
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        _cx: &Context,
    ) -> Result<()> {
        for request in requests {
            let element = self.at(request.index)?;
            for (component, rows) in columns.indices(out.len()).zip(out.iter_mut()) {
                write_row(element[component].tensor()?, rows.slot(request.slot))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rebuilds, assert_resumes, element, element_spec, rows, values};
    use tensorferry_core::{DType, Tensor};
    use tensorferry_core::{Shape, TensorSpec};

    #[test]
    fn elements_come_in_order_by_index_and_in_batches() {
        let dataset =
            Dataset::from_elements(vec![element(5), element(3), element(8)], element_spec())
                .unwrap();
        assert_eq!(values(&dataset), [5, 3, 8]);
        assert_eq!(dataset.cardinality(), Cardinality::Finite(3));
        assert_eq!(dataset.to_string(), "from_elements(3 x (int64[]))");
        assert!(dataset.get(3).is_err());
        assert_eq!(rows(&dataset.batch(2).unwrap()), [vec![5, 3], vec![8]]);
        assert_resumes(&dataset);
        assert_rebuilds(&dataset);
    }

    #[test]
    fn an_element_that_is_not_as_promised_is_named() {
        let pair = vec![Tensor::from_vec(vec![1_i64, 2], &[2]).unwrap().into()];
        let error =
            Dataset::from_elements(vec![element(1), pair], element_spec()).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "from_elements: element 1: component 0: int64[2] where the dataset's element_spec \
            says int64[]"
        );
        let nothing =
            Dataset::from_elements(vec![Vec::new()], element_spec()).map(drop).unwrap_err();
        let Error::AtElement { source, .. } = &nothing else { panic!("{nothing}") };
        assert!(matches!(**source, Error::ElementMismatch { .. }));
    }

    #[test]
    fn shapes_may_differ_where_the_specification_leaves_them_open() {
        let any = vec![Component::Tensor(TensorSpec::new(DType::Int64, Shape::new([None])))];
        let row = |values: &[i64]| -> Element {
            vec![Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap().into()]
        };
        let dataset = Dataset::from_elements(vec![row(&[1, 2]), row(&[3])], any).unwrap();
        assert_eq!(rows(&dataset), [vec![1, 2], vec![3]]);
        assert!(matches!(
            dataset.batch(2).unwrap().iter().next(),
            Some(Err(Error::AtElement { .. }))
        ));
    }
}
