//! Consecutive elements, stacked.

use super::node::{Change, Context, Element, Node, Request, Rows, Stream, Value, filled, write_row};
use super::state::State;
use super::{Cardinality, Component, Dataset, TensorSpec, spec};
use crate::buffers::pool;
use crate::{ByteOrder, Error, Layout, Result, Tensor};

struct Batch {
    input: Dataset,
    size: usize,
    drop_remainder: bool,
    spec: Vec<Component>,
}

impl Dataset {
    /// Stacks each `size` consecutive elements along a new first dimension. The last batch holds what is left, or is left out with
    /// `drop_remainder`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `size` is 0 or an element holds datasets.
    pub fn batch(&self, size: usize, drop_remainder: bool) -> Result<Self> {
        if size == 0 {
            return Err(Error::Argument { stage: "batch", what: "batch_size has to be at least 1".into() });
        }
        // As in tf.data, the length of a batch is promised only on request, not where the dataset's length happens to give it.
        let spec = spec::tensors(self.spec(), "batch")?
            .into_iter()
            .map(|part| Component::Tensor(TensorSpec::new(part.dtype, part.shape.batched(drop_remainder.then_some(size)))))
            .collect();
        Ok(Self::of(Batch { input: self.clone(), size, drop_remainder, spec }))
    }
}

/// Stacks elements along a new first dimension. There is at least one.
pub(crate) fn stack(elements: &[Element], stage: &'static str) -> Result<Element> {
    let Some(first) = elements.first() else {
        return Err(Error::Argument { stage, what: "no elements to stack".into() });
    };
    let component = |at: usize| -> Result<Value> {
        let model = first[at].tensor()?;
        for element in elements {
            let tensor = element[at].tensor()?;
            if tensor.shape() != model.shape() {
                let shapes = Box::new((model.shape().into(), tensor.shape().into()));
                return Err(Error::UnequalShapes { stage, component: at, shapes });
            }
        }
        let shape: Vec<usize> = std::iter::once(elements.len()).chain(model.shape().iter().copied()).collect();
        let row = model.layout().nbytes();
        let stacked = filled(model.dtype(), &shape, |bytes| {
            elements
                .iter()
                .enumerate()
                .try_for_each(|(i, element)| write_row(element[at].tensor()?, &mut bytes[i * row..(i + 1) * row]))
        })?;
        Ok(stacked.into())
    };
    (0..first.len()).map(component).collect()
}

/// The next `size` elements of a stream, or, unless they are to be dropped, those that are left. One that failed costs all of them, so
/// that what follows stays where it would have been.
pub(crate) fn together(input: &mut dyn Stream, size: usize, drop_remainder: bool) -> Option<Result<Vec<Element>>> {
    let (mut elements, mut failed, mut count) = (Vec::new(), None, 0);
    while count < size {
        match input.next() {
            Some(Ok(element)) => elements.push(element),
            Some(Err(Error::Stopped)) => return Some(Err(Error::Stopped)),
            Some(Err(error)) => {
                failed.get_or_insert(error);
            }
            None => break,
        }
        count += 1;
    }
    if count == 0 || (drop_remainder && count < size) {
        return None;
    }
    Some(failed.map_or(Ok(elements), Err))
}

/// Elements `start..start + len` of an indexed input, stacked: shared where they lie so in memory, gathered where their shapes are
/// known, else one by one.
pub(crate) fn stacked(input: &Dataset, start: u64, len: usize, stage: &'static str, cx: &Context) -> Result<Element> {
    if let Some(shared) = input.node.slice(start, len, cx) {
        return Ok(shared.into_iter().map(Value::Tensor).collect());
    }
    let fixed: Option<Vec<_>> =
        input.spec().iter().map(|part| part.tensor().and_then(|spec| Some((spec.dtype, spec.fixed()?)))).collect();
    let Some(parts) = fixed else {
        let elements: Result<Vec<Element>> = (start..start + len as u64)
            .map(|index| {
                cx.stop.check()?;
                input.node.get(index, cx)
            })
            .collect();
        return stack(&elements?, stage);
    };
    let mut buffers = Vec::with_capacity(parts.len());
    for (dtype, (shape, row)) in &parts {
        let shape: Vec<usize> = std::iter::once(len).chain(shape.iter().copied()).collect();
        let layout = Layout::contiguous(&shape, dtype.size())?;
        buffers.push((*dtype, *row, pool::take(layout.nbytes())?, layout));
    }
    let mut requests: Vec<Request> = (0..len).map(|slot| Request { index: start + slot as u64, slot }).collect();
    let mut out: Vec<Rows<'_>> =
        buffers.iter_mut().map(|(_, row, buffer, _)| Rows { bytes: buffer.as_mut_slice(), row: *row }).collect();
    input.node.gather(&mut requests, &mut out, cx)?;
    drop(out);
    let freeze = |(dtype, _, buffer, layout): (_, _, pool::PoolBuffer, _)| {
        Ok(Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)?.into())
    };
    buffers.into_iter().map(freeze).collect()
}

impl Node for Batch {
    fn spec(&self) -> &[Component] {
        &self.spec
    }

    fn cardinality(&self) -> Cardinality {
        let size = self.size as u64;
        self.input.cardinality().map(|n| if self.drop_remainder { n / size } else { n.div_ceil(size) })
    }

    fn inputs(&self) -> Vec<Dataset> {
        vec![self.input.clone()]
    }

    fn describe(&self) -> String {
        format!("batch({}{})", self.size, if self.drop_remainder { ", drop_remainder" } else { "" })
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].batch(self.size, self.drop_remainder)
    }

    fn consumed(&self, position: u64) -> Option<u64> {
        Some(position.saturating_mul(self.size as u64))
    }

    fn is_indexed(&self) -> bool {
        self.input.node.is_indexed()
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let start = index.saturating_mul(self.size as u64);
        let len = match self.input.cardinality() {
            Cardinality::Finite(n) => usize::try_from(n - start).unwrap_or(usize::MAX).min(self.size),
            _ => self.size,
        };
        stacked(&self.input, start, len, "batch", cx).map_err(|error| error.at_element("batch", index))
    }

    fn rows(&self) -> Option<Dataset> {
        let size = self.size as u64;
        let whole = self.cardinality().finite().filter(|_| self.drop_remainder);
        // Only of elements of one shape: of others, batches are errors.
        let stackable = self.input.spec().iter().all(|part| part.tensor().is_some_and(|spec| spec.fixed().is_some()));
        (stackable && self.is_indexed()).then(|| self.input.take(whole.map(|batches| batches.saturating_mul(size))))
    }

    fn stream(&self, cx: &Context) -> Result<Box<dyn Stream>> {
        Ok(Box::new(BatchStream { input: self.input.stream(cx)?, size: self.size, drop_remainder: self.drop_remainder, index: 0 }))
    }
}

struct BatchStream {
    input: Box<dyn Stream>,
    size: usize,
    drop_remainder: bool,
    index: u64,
}

impl Stream for BatchStream {
    fn next(&mut self) -> Option<Result<Element>> {
        let elements = together(&mut *self.input, self.size, self.drop_remainder)?;
        let index = self.index;
        self.index = index.saturating_add(1);
        Some(elements.and_then(|elements| stack(&elements, "batch")).map_err(|error| error.at_element("batch", index)))
    }

    fn save(&self) -> Result<State> {
        Ok(State::List(vec![State::Int(self.index), self.input.save()?]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(2)?;
        self.index = parts[0].int()?;
        self.input.restore(&parts[1])
    }
}
