//! A dataset of one element.

use super::node::{Change, Context, Element, Node, Request, Rows, copy_view, filled};
use super::{Cardinality, Component, Dataset, Shape, Source, TensorSpec};
use crate::{ALIGNMENT, ByteOrder, Index, Result, Tensor};

struct Tensors {
    sources: Vec<Source>,
    spec: Vec<Component>,
}

impl Dataset {
    /// One element: the arrays as they are, scalars among them. Arrays that somebody may still write are copied whenever the element
    /// is asked for.
    ///
    /// ```
    /// use tensorferry::{Tensor, dataset::{Cardinality, Dataset}};
    ///
    /// let one = Dataset::from_tensors([Tensor::from_vec(vec![1_i32, 2], &[2])?]);
    /// assert_eq!(one.cardinality(), Cardinality::Finite(1));
    /// # Ok::<(), tensorferry::Error>(())
    /// ```
    pub fn from_tensors<S: Into<Source>>(sources: impl IntoIterator<Item = S>) -> Self {
        let sources: Vec<Source> = sources.into_iter().map(Into::into).collect();
        let spec = |source: &Source| Component::Tensor(TensorSpec::new(source.tensor.dtype(), Shape::fixed(source.tensor.shape())));
        let spec = sources.iter().map(spec).collect();
        Self::of(Tensors { sources, spec })
    }
}

impl Node for Tensors {
    fn spec(&self) -> &[Component] {
        &self.spec
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Finite(1)
    }

    fn inputs(&self) -> Vec<Dataset> {
        Vec::new()
    }

    fn describe(&self) -> String {
        let parts: Vec<String> = self.spec.iter().map(ToString::to_string).collect();
        format!("from_tensors({})", parts.join(", "))
    }

    fn rebuild(&self, _inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        Ok(Dataset::from_tensors(self.sources.clone()))
    }

    fn identity(&self) -> u64 {
        Source::identities(&self.sources)
    }

    fn is_indexed(&self) -> bool {
        true
    }

    fn get(&self, _index: u64, _cx: &Context) -> Result<Element> {
        let value = |Source { tensor, frozen }: &Source| {
            if *frozen && tensor.byte_order() == ByteOrder::Native && tensor.as_view().has_normal_bools() {
                return Ok(tensor.clone().into());
            }
            Ok(filled(tensor.dtype(), tensor.shape(), |out| copy_view(&tensor.as_view(), out))?.into())
        };
        self.sources.iter().map(value).collect()
    }

    fn slice(&self, _start: u64, len: usize, _cx: &Context) -> Option<Vec<Tensor>> {
        let share = |Source { tensor, frozen }: &Source| {
            let whole = *frozen && len == 1 && tensor.byte_order() == ByteOrder::Native && tensor.layout().is_c_contiguous();
            if !whole || !tensor.as_ptr().addr().is_multiple_of(ALIGNMENT) || !tensor.as_view().has_normal_bools() {
                return None;
            }
            tensor.index(&[Index::NewAxis]).ok()
        };
        self.sources.iter().map(share).collect()
    }

    fn gather(&self, requests: &mut [Request], out: &mut [Rows<'_>], cx: &Context) -> Result<()> {
        let all: Vec<usize> = (0..self.sources.len()).collect();
        self.gather_some(&all, requests, out, cx)
    }

    fn gather_some(&self, which: &[usize], requests: &mut [Request], out: &mut [Rows<'_>], _cx: &Context) -> Result<()> {
        for (&at, rows) in which.iter().zip(out) {
            let view = self.sources[at].tensor.as_view();
            requests.iter().try_for_each(|request| copy_view(&view, rows.slot(request.slot)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_tensors_is_one_element_and_shares_what_nobody_writes() -> Result<()> {
        let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
        let address = tensor.as_ptr();
        let open = Source { tensor: tensor.clone(), frozen: false };
        let frozen = Source { tensor, frozen: true };
        let element = Dataset::from_tensors([frozen, open]).get(0)?;
        assert_eq!(element[0].tensor()?.as_ptr(), address);
        assert_ne!(element[1].tensor()?.as_ptr(), address);
        assert_eq!(element[1].tensor()?.view::<i32>()?.as_slice(), Some(&[1, 2, 3][..]));
        Ok(())
    }

    #[test]
    fn from_tensors_repeated_and_batched_stacks_its_element() -> Result<()> {
        let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
        let batch = Dataset::from_tensors([tensor]).repeat(Some(2)).batch(2, true)?.get(0)?;
        assert_eq!(batch[0].tensor()?.view::<i32>()?.as_slice(), Some(&[1, 2, 3, 1, 2, 3][..]));
        Ok(())
    }
}
