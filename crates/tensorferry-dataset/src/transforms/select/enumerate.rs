//! `enumerate`: adds an index to each element.

use crate::checkpoint::change::Change;
use crate::element_iter::numbered;
use crate::error::{Error, Result};
use crate::gather::MADE_ROWS;
use crate::request::{Columns, RowPart};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage, Value,
};
use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled};
use tensorferry_io::memory::room::listed;

struct Enumerate {
    input: Dataset,
    start: i64,
    spec: Vec<Component>,
}

impl Dataset {
    /// Adds a first component to each element: its index plus `start`, as an `int64` scalar.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let element = Dataset::range(7, 9, 1, DType::Int32)?.enumerate(100).get(1)?;
    /// assert_eq!(element[0].tensor()?.view::<i64>()?.get(&[]), Some(101));
    /// assert_eq!(element[1].tensor()?.view::<i32>()?.get(&[]), Some(8));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    #[must_use]
    pub fn enumerate(&self, start: i64) -> Self {
        let number = Component::Tensor(TensorSpec::new(DType::Int64, Shape::fixed(&[])));
        let spec = std::iter::once(number).chain(self.spec().iter().cloned()).collect();
        Self::of(Enumerate { input: self.clone(), start, spec })
    }
}

fn number(start: i64, index: u64) -> Result<i64> {
    start.checked_add_unsigned(index).ok_or_else(|| {
        let what = format!("the numbers from {start} on exceed int64. Start lower.");
        Error::Argument { stage: "enumerate", what }.at_element("enumerate", index)
    })
}

fn scalar(value: i64) -> Result<Value> {
    let fill = |out: &mut [u8]| -> Result<()> {
        out.copy_from_slice(&value.to_ne_bytes());
        Ok(())
    };
    Ok(filled(DType::Int64, &[], fill)?.into())
}

impl Enumerate {
    fn write(&self, requests: &[RowRequest], rows: &mut RowsOut<'_>) -> Result<()> {
        for request in requests {
            rows.slot(request.slot)
                .copy_from_slice(&number(self.start, request.index)?.to_ne_bytes());
        }
        Ok(())
    }
}

impl Stage for Enumerate {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(std::slice::from_ref(&self.input), &self.spec, self.input.is_indexed())
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        format!("enumerate({})", self.start)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(inputs[0].enumerate(self.start))
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { consumes: Some(1), ..CheckpointInfo::default() }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let mut element = self.input.stage.get(index, cx)?;
        element.insert(0, scalar(number(self.start, index)?)?);
        Ok(element)
    }

    fn get_each(&self, indices: &[u64], cx: &Context) -> Vec<Result<Element>> {
        let numbered = |(index, element): (&u64, Result<Element>)| {
            let mut element = element?;
            element.insert(0, scalar(number(self.start, *index)?)?);
            Ok(element)
        };
        indices.iter().zip(self.input.stage.get_each(indices, cx)).map(numbered).collect()
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        if len > MADE_ROWS {
            return None;
        }
        let shared = self.input.stage.slice(start, len, cx)?;
        let numbers = filled(DType::Int64, &[len], |bytes| {
            let requests =
                listed((0..len).map(|slot| RowRequest { index: start + slot as u64, slot }))?;
            self.write(&requests, &mut RowsOut { bytes, row: DType::Int64.size() })
        });
        Some(std::iter::once(numbers.ok()?).chain(shared).collect())
    }

    fn is_measured(&self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|at| self.input.stage.is_measured(at))
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.input.stage.lengths(at - 1, requests, out, cx)
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        self.input.stage.gather_parts(at - 1, parts, out, cx)
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let Columns::Some(which) = columns else {
            let Some((numbers, rest)) = out.split_first_mut() else { return Ok(()) };
            self.write(requests, numbers)?;
            return self.input.stage.gather(Columns::All, requests, rest, cx);
        };
        let (mut inner, mut rest) = (Vec::new(), Vec::new());
        for (&at, rows) in which.iter().zip(out) {
            match at.checked_sub(1) {
                None => self.write(requests, rows)?,
                Some(at) => {
                    inner.push(at);
                    rest.push(rows.reborrow());
                }
            }
        }
        if inner.is_empty() {
            return Ok(());
        }
        self.input.stage.gather(Columns::Some(&inner), requests, &mut rest, cx)
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let start = self.start;
        numbered(&self.input, cx, 0, move |input, next| {
            let Some(element) = input.next()? else { return Ok(None) };
            let index = *next;
            *next = index.saturating_add(1);
            Ok(Some(element.and_then(|mut element| {
                element.insert(0, scalar(number(start, index)?)?);
                Ok(element)
            })))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order_tests::{rows, streamed};

    #[test]
    fn enumerate_counts_from_its_start() -> Result<()> {
        let range = Dataset::range(5, 8, 1, DType::Int64)?;
        for input in [range.clone(), streamed(&range)] {
            assert_eq!(rows(&input.enumerate(-1))?, [[-1, 5], [0, 6], [1, 7]]);
        }
        Ok(())
    }

    #[test]
    fn enumerate_says_where_its_numbers_end() -> Result<()> {
        let range = Dataset::range(0, 2, 1, DType::Int64)?.enumerate(i64::MAX);
        assert!(range.get(0).is_ok());
        assert!(range.get(1).unwrap_err().to_string().contains("int64"));
        Ok(())
    }
}
