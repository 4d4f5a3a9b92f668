//! How far elements are to be computed ahead.

use crate::dataset::Dataset;
use crate::error::Result;
use crate::spec::{Cardinality, Component};
use crate::stage::{Change, Context, Element, ElementIter, Stage};
use tensorferry_core::Tensor;
use tensorferry_io::gather::copy::Request;
use tensorferry_io::gather::rows_out::Rows;

/// How far ahead of their consumer elements are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadAhead {
    /// As far as seems good.
    Automatic,
    /// So many elements; 0 for none.
    Elements(usize),
}

struct Prefetch {
    input: Dataset,
    hint: ReadAhead,
}

impl Dataset {
    /// Says how many elements are to be ready before they are asked for; `None` leaves it to the
    /// engine. It changes nothing about the elements, and does not stand in the plan's description:
    /// a state saved without it can be restored with it.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Dataset, ReadAhead};
    ///
    /// let dataset = Dataset::range(0, 100, 1, DType::Int64)?.batch(8, false)?.prefetch(Some(4));
    /// assert_eq!(dataset.read_ahead(), Some(ReadAhead::Elements(4)));
    /// # Ok::<(), tensorferry_core::Error>(())
    /// ```
    #[must_use]
    pub fn prefetch(&self, buffer_size: Option<usize>) -> Self {
        let hint = buffer_size.map_or(ReadAhead::Automatic, ReadAhead::Elements);
        Self::of(Prefetch { input: self.clone(), hint })
    }

    /// The furthest reading ahead that a stage of the plan asks for; a number before what the
    /// engine would choose.
    #[must_use]
    pub fn read_ahead(&self) -> Option<ReadAhead> {
        let inputs = self.stage.inputs();
        self.deep(|| {
            inputs.iter().map(Self::read_ahead).chain([self.stage.read_ahead()]).max().flatten()
        })
    }
}

impl Stage for Prefetch {
    fn spec(&self) -> &[Component] {
        self.input.spec()
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn describe(&self) -> String {
        String::new()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::of(Self { input: inputs[0].clone(), hint: self.hint }))
    }

    fn consumed(&self, position: u64) -> Option<u64> {
        Some(position)
    }

    fn is_indexed(&self) -> bool {
        self.input.stage.is_indexed()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        self.input.stage.get(index, cx)
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        self.input.stage.slice(start, len, cx)
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        self.input.stage.gather(requests, out, cx)
    }

    fn gather_some(
        &self,
        which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        cx: &Context,
    ) -> Result<()> {
        self.input.stage.gather_some(which, requests, out, cx)
    }

    fn read_ahead(&self) -> Option<ReadAhead> {
        Some(self.hint)
    }

    fn rows(&self) -> Option<Dataset> {
        self.input.stage.rows()
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        self.input.element_iter(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorferry_core::DType;

    #[test]
    fn prefetch_is_a_hint_and_no_part_of_the_plan() -> Result<()> {
        let range = Dataset::range(0, 5, 1, DType::Int64)?;
        let hinted = range.prefetch(Some(3)).batch(2, false)?.prefetch(None);
        assert_eq!(hinted.to_string(), range.batch(2, false)?.to_string());
        assert_eq!(hinted.read_ahead(), Some(ReadAhead::Elements(3)));
        assert_eq!(range.prefetch(None).read_ahead(), Some(ReadAhead::Automatic));
        assert_eq!(range.read_ahead(), None);
        Ok(())
    }
}
