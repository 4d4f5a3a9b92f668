//! `components`: selects components of each element.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::request::{Columns, RowPart};
use crate::spec::{Cardinality, Component};
use crate::stage::{CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Stage, Step};
use tensorferry_core::Tensor;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::RowsOut;

struct Components {
    input: Dataset,
    which: Vec<usize>,
    spec: Vec<Component>,
}

impl Dataset {
    /// Elements with the components `which`, in that order. The others are not read if that can be
    /// avoided.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::Dataset;
    ///
    /// let numbered = Dataset::range(7, 9, 1, DType::Int32)?.enumerate(0);
    /// let element = numbered.components(&[1, 0])?.get(1)?;
    /// assert_eq!(element[0].tensor()?.view::<i32>()?.get(&[]), Some(8));
    /// assert_eq!(element[1].tensor()?.view::<i64>()?.get(&[]), Some(1));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if an index is out of bounds.
    pub fn components(&self, which: &[usize]) -> Result<Self> {
        let component = |&at: &usize| {
            self.spec().get(at).cloned().ok_or_else(|| {
                let what =
                    format!("there is no component {at}; elements have {}", self.spec().len());
                Error::Argument { stage: "components", what }
            })
        };
        let spec = which.iter().map(component).collect::<Result<_>>()?;
        Ok(Self::of(Components { input: self.clone(), which: which.to_vec(), spec }))
    }
}

fn select<T: Clone>(all: &[T], which: &[usize]) -> Vec<T> {
    which.iter().filter_map(|&at| all.get(at).cloned()).collect()
}

impl Stage for Components {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(std::slice::from_ref(&self.input), &self.spec, self.input.is_indexed())
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        format!("components({:?})", self.which)
    }

    fn permutes(&self) -> bool {
        true
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].components(&self.which)
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        CheckpointInfo { consumes: Some(1), ..CheckpointInfo::default() }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        Ok(select(&self.input.stage.get(index, cx)?, &self.which))
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        Some(select(&self.input.stage.slice(start, len, cx)?, &self.which))
    }

    fn is_measured(&self, at: usize) -> bool {
        self.which.get(at).is_some_and(|&at| self.input.stage.is_measured(at))
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.input.stage.lengths(self.which[at], requests, out, cx)
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        self.input.stage.gather_parts(self.which[at], parts, out, cx)
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let gather = |which: &[usize], requests: &mut [RowRequest], out: &mut [RowsOut<'_>]| {
            self.input.stage.gather(Columns::Some(which), requests, out, cx)
        };
        match columns {
            Columns::All => gather(&self.which, requests, out),
            Columns::Some(which) => gather(&select(&self.which, which), requests, out),
        }
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        Ok(Box::new(ComponentsIter {
            input: self.input.element_iter(cx)?,
            which: self.which.clone(),
        }))
    }
}

struct ComponentsIter {
    input: Box<dyn ElementIter>,
    which: Vec<usize>,
}

impl ElementIter for ComponentsIter {
    fn next(&mut self) -> Step {
        let element = self.input.next()?;
        Ok(element.map(|element| element.map(|element| select(&element, &self.which))))
    }

    fn save(&self) -> Result<State> {
        self.input.save()
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.input.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use crate::order_tests::{rows, streamed};
    use tensorferry_core::DType;

    #[test]
    fn components_selects_reorders_and_doubles() -> Result<()> {
        let range = |start| Dataset::range(start, start + 3, 1, DType::Int64);
        let wide = Dataset::zip(vec![range(0)?.enumerate(10), range(20)?])?;
        for input in [
            wide.clone(),
            streamed(&wide),
            wide.skip(Some(0)).shard(1, 0)?.repeat(Some(2)).take(Some(3)),
        ] {
            assert_eq!(rows(&input.components(&[2, 0])?)?, [[20, 10], [21, 11], [22, 12]]);
            assert_eq!(rows(&input.components(&[1, 1])?)?, [[0, 0], [1, 1], [2, 2]]);
            assert_eq!(rows(&input.components(&[2, 1, 0])?.components(&[0])?)?, [[20], [21], [22]]);
        }
        assert!(wide.components(&[3]).is_err());
        Ok(())
    }

    #[test]
    fn a_component_that_is_not_wanted_need_not_be_gatherable() -> Result<()> {
        let range = |n| Dataset::range(0, n, 1, DType::Int64);
        let ragged = range(5)?.batch(2)?;
        let batch = Dataset::zip(vec![ragged, range(3)?])?
            .components(&[1])?
            .batch_with(3, BatchOptions::DROP_REMAINDER)?
            .get(0)?;
        assert_eq!(batch[0].tensor()?.view::<i64>()?.as_slice(), Some(&[0, 1, 2][..]));
        Ok(())
    }
}
