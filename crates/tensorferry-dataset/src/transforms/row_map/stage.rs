//! The stage of all row maps. Gathers a few rows at a time into a buffer that stays in the cache,
//! and maps them from there into the caller's rows.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::execute::stats::converting;
use crate::gather::gather_some;
use crate::names::Names;
use crate::request::{Columns, RowPart};
use crate::spec::{Cardinality, Component};
use crate::stage::{
    CheckpointInfo, Context, Dataset, Element, ElementIter, Elements, Hints, Stage, Step,
    gather_each, uninterrupted,
};
use crate::transforms::row_map::row_map::{Block, RowMap};
use std::sync::Arc;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{Dims, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, filled, packed};
use tensorferry_io::memory::pool;

/// Bytes of input rows to gather at once. They and the output stay in a core's own cache.
const CHUNK: usize = 32 << 10;

/// Maximum number of rows to gather at once.
const CHUNK_ROWS: usize = 1024;

/// A map and the components that it changes.
pub(crate) struct Inner<M> {
    pub(crate) map: M,
    /// Names of the components, for errors.
    names: Names,
    /// Output specification of each component; `None` if it does not change.
    pub(crate) changes: Vec<Option<TensorSpec>>,
}

pub(crate) struct RowMapStage<M> {
    pub(crate) input: Dataset,
    pub(crate) inner: Arc<Inner<M>>,
    pub(crate) spec: Vec<Component>,
    /// Shape and bytes of the input's rows, if all input and output shapes are known.
    rows: Option<Vec<(Dims, usize)>>,
}

/// Applies `map` to the components for which `changes` has an output specification.
pub(crate) fn row_mapped(
    input: &Dataset,
    map: impl RowMap,
    changes: Vec<Option<TensorSpec>>,
) -> Dataset {
    if changes.iter().all(Option::is_none) {
        return input.clone();
    }
    let become_of = |(part, change): (&Component, &Option<TensorSpec>)| match change {
        Some(spec) => Component::Tensor(spec.clone()),
        None => part.clone(),
    };
    let spec: Vec<Component> = input.spec().iter().zip(&changes).map(become_of).collect();
    let fixed = |part: &Component| part.tensor().and_then(TensorSpec::fixed);
    let known = spec.iter().all(|part| fixed(part).is_some());
    let rows = if known { input.spec().iter().map(fixed).collect() } else { None };
    Dataset::of(RowMapStage {
        input: input.clone(),
        inner: Arc::new(Inner { map, names: input.names.clone(), changes }),
        spec,
        rows,
    })
}

impl<M: RowMap> Inner<M> {
    /// The components that change.
    fn changed(&self) -> impl Iterator<Item = (usize, &TensorSpec)> {
        self.changes.iter().enumerate().filter_map(|(at, change)| Some((at, change.as_ref()?)))
    }

    /// Maps an element of any shape. After an error the element is unchanged.
    fn element(&self, element: &mut Element, index: u64, cx: &Context) -> Result<()> {
        let change = |element: &Element| -> Result<Vec<(usize, Tensor)>> {
            self.map.check(element)?;
            let changed = self.changed().map(|(at, spec)| {
                let tensor = packed(element[at].tensor()?)?;
                let shape = self.map.shape(at, tensor.shape())?;
                let view = tensor.as_view();
                let rows = view.as_bytes().unwrap_or_default(); // packed, so `Some`
                let changed = filled(spec.dtype, &shape, |out| {
                    let (epoch, cancel) = (cx.epoch, &cx.cancel);
                    self.map.apply(
                        at,
                        Block {
                            indices: &[index],
                            epoch,
                            shape: tensor.shape(),
                            rows,
                            out,
                            cancel,
                        },
                    )
                });
                Ok((at, changed.map_err(|error| self.misfit(at, error))?))
            });
            changed.collect()
        };
        let changed = change(element)
            .map_err(|error: Error| self.names.explain(error).at_element(self.map.stage(), index));
        for (at, changed) in changed? {
            element[at] = changed.into();
        }
        Ok(())
    }

    /// The error for a component, which is named if there are several.
    pub(crate) fn misfit(&self, at: usize, error: Error) -> Error {
        self.names.misfit(at, self.changes.len(), error)
    }
}

/// Buffers for one chunk of the changed components.
struct Scratch {
    /// `None` for components that do not change.
    parts: Vec<Option<pool::PoolBuffer>>,
    indices: Vec<u64>,
}

impl<M: RowMap> RowMapStage<M> {
    /// Number of rows to gather at once.
    fn chunk(&self, rows: &[(Dims, usize)]) -> usize {
        let bytes: usize = self.inner.changed().map(|(at, _)| rows[at].1).sum();
        (CHUNK / bytes.max(1)).clamp(1, CHUNK_ROWS)
    }

    /// Gathers rows with consecutive slots and maps them.
    fn run(
        &self,
        known: &[(Dims, usize)],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        scratch: &mut Scratch,
        cx: &Context,
    ) -> Result<()> {
        let (first, count) = (requests.first().map_or(0, |request| request.slot), requests.len());
        scratch.indices.clear();
        scratch.indices.extend(requests.iter().map(|request| request.index));
        for (at, request) in requests.iter_mut().enumerate() {
            request.slot = at;
        }
        let slots = |row: usize| first * row..(first + count) * row;
        let mut input: Vec<RowsOut<'_>> = out
            .iter_mut()
            .zip(&mut scratch.parts)
            .zip(known)
            .map(|((rows, part), &(_, row))| match part {
                Some(part) => RowsOut { bytes: &mut part.as_mut_slice()[..count * row], row },
                None => RowsOut { bytes: &mut rows.bytes[slots(rows.row)], row },
            })
            .collect();
        if let Err(error) = self.input.stage.gather(Columns::All, requests, &mut input, cx) {
            return Err(self.first_error(&scratch.indices, error, cx));
        }
        drop(input);
        let indices = scratch.indices.as_slice();
        for (at, _) in self.inner.changed() {
            let (shape, row) = &known[at];
            let Some(part) = &mut scratch.parts[at] else { continue };
            let (rows, out) =
                (&part.as_mut_slice()[..count * row], &mut out[at].bytes[slots(out[at].row)]);
            let block = Block { indices, epoch: cx.epoch, shape, rows, out, cancel: &cx.cancel };
            if let Err(error) = converting(cx.stats.as_ref(), || self.inner.map.apply(at, block)) {
                return Err(self.first_misfit(scratch, error, cx));
            }
        }
        Ok(())
    }

    /// The error of the first element that fails when computed alone. Sequential functions are not
    /// called again: then returns `error`.
    pub(crate) fn first_error(&self, indices: &[u64], error: Error, cx: &Context) -> Error {
        if matches!(error, Error::Interrupted | Error::Core(CoreError::Allocation { .. }))
            || self.input.hints.sequential
        {
            return error;
        }
        indices.iter().find_map(|&index| self.get(index, cx).err()).unwrap_or(error)
    }

    /// The error of the first gathered row that cannot be mapped.
    fn first_misfit(&self, scratch: &mut Scratch, error: Error, cx: &Context) -> Error {
        if matches!(error, Error::Interrupted | Error::Core(CoreError::Allocation { .. })) {
            return error;
        }
        let known = self.rows.as_deref().unwrap_or_default();
        for (slot, index) in scratch.indices.iter().enumerate() {
            for (at, spec) in self.inner.changed() {
                let ((shape, row), Some(part)) = (&known[at], &mut scratch.parts[at]) else {
                    continue;
                };
                let rows = &part.as_mut_slice()[slot * row..(slot + 1) * row];
                let Ok(mut out) = pool::take(spec.fixed().map_or(0, |(_, bytes)| bytes)) else {
                    return error;
                };
                let block = Block {
                    indices: &[*index],
                    epoch: cx.epoch,
                    shape,
                    rows,
                    out: out.as_mut_slice(),
                    cancel: &cx.cancel,
                };
                if let Err(error) = self.inner.map.apply(at, block) {
                    return self.inner.misfit(at, error).at_element(self.inner.map.stage(), *index);
                }
            }
        }
        error
    }
}

impl<M: RowMap> Stage for RowMapStage<M> {
    fn elements(&self) -> Elements<'_> {
        Elements::computed(std::slice::from_ref(&self.input), &self.spec, self.input.is_indexed())
    }

    fn cardinality(&self) -> Cardinality {
        self.input.cardinality()
    }

    fn describe(&self) -> String {
        self.inner.map.describe()
    }

    fn permutes(&self) -> bool {
        !self.inner.map.depends_on_epoch()
    }

    fn rebuild(&self, inputs: Vec<Dataset>, change: &mut Change) -> Result<Dataset> {
        self.inner.map.rebuild(&inputs[0], change)
    }

    fn hints(&self, inputs: Hints) -> Hints {
        let depends_on_epoch = self.inner.map.depends_on_epoch() || inputs.depends_on_epoch;
        Hints { depends_on_epoch, ..inputs }
    }

    fn checkpoint(&self) -> CheckpointInfo<'_> {
        let seed = self.inner.map.seed();
        let info = seed.map_or_else(CheckpointInfo::default, CheckpointInfo::of_seed);
        CheckpointInfo { consumes: Some(1), ..info }
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        let mut element = self.input.stage.get(index, cx)?;
        converting(cx.stats.as_ref(), || self.inner.element(&mut element, index, cx))?;
        Ok(element)
    }

    fn is_measured(&self, at: usize) -> bool {
        let ndim = |spec: &TensorSpec| spec.shape.dims().map_or(0, <[_]>::len);
        let keeps = match &self.inner.changes[at] {
            Some(spec) => self.inner.map.keeps_length(at, ndim(spec)),
            None => true,
        };
        keeps && self.input.stage.is_measured(at)
    }

    fn lengths(
        &self,
        at: usize,
        requests: &mut [RowRequest],
        out: &mut [usize],
        cx: &Context,
    ) -> Result<()> {
        self.input.stage.lengths(at, requests, out, cx)
    }

    fn gather_parts(
        &self,
        at: usize,
        parts: &mut [RowPart],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        match self.inner.changes[at] {
            None => self.input.stage.gather_parts(at, parts, out, cx),
            Some(_) => self.gather_changed(at, parts, out, cx),
        }
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        let get = |index| self.get(index, cx);
        let Some(rows) = &self.rows else {
            if self.are_fixed(columns.indices(out.len())) {
                return self.gather_fixed(columns, requests, out, cx);
            }
            return gather_each(&get, columns, requests, out, cx);
        };
        if let Columns::Some(which) = columns {
            let all = |requests: &mut [RowRequest], out: &mut [RowsOut<'_>]| {
                self.gather(Columns::All, requests, out, cx)
            };
            return gather_some(&self.spec, which, requests, out, cx, &all, &get);
        }
        let most = self.chunk(rows).min(requests.len());
        let part = |(change, (_, row)): (&Option<TensorSpec>, &(Dims, usize))| match change {
            Some(_) => pool::take(most * row).map(Some),
            None => Ok(None),
        };
        let parts: Result<Vec<_>, _> = self.inner.changes.iter().zip(rows).map(part).collect();
        let mut scratch = Scratch { parts: parts?, indices: Vec::with_capacity(most) };
        let mut rest = requests;
        while let Some(first) = rest.first().map(|request| request.slot) {
            cx.cancel.check()?;
            let together = rest
                .iter()
                .take(most)
                .enumerate()
                .take_while(|(at, request)| request.slot == first + at)
                .count();
            let (chunk, after) = rest.split_at_mut(together);
            self.run(rows, chunk, out, &mut scratch, cx)?;
            rest = after;
        }
        Ok(())
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let (input, inner) = (self.input.element_iter(cx)?, Arc::clone(&self.inner));
        Ok(Box::new(RowMapIter {
            input,
            inner,
            cx: cx.clone(),
            spec: self.input.spec().to_vec(),
            index: 0,
            interrupted: None,
        }))
    }
}

struct RowMapIter<M> {
    input: Box<dyn ElementIter>,
    inner: Arc<Inner<M>>,
    cx: Context,
    /// Specification of the input's elements.
    spec: Vec<Component>,
    index: u64,
    /// An element whose mapping was interrupted.
    interrupted: Option<Element>,
}

impl<M: RowMap> ElementIter for RowMapIter<M> {
    fn next(&mut self) -> Step {
        let element = match self.interrupted.take() {
            Some(element) => Some(Ok(element)),
            None => self.input.next()?,
        };
        let mut element = match element {
            Some(Ok(element)) => element,
            Some(Err(error)) => {
                // Failed elements count too, so later ones keep their indices.
                self.index += 1;
                return Ok(Some(Err(error)));
            }
            None => return Ok(None),
        };
        match uninterrupted(self.inner.element(&mut element, self.index, &self.cx)) {
            Ok(changed) => {
                self.index += 1;
                Ok(Some(changed.map(|()| element)))
            }
            Err(interrupted) => {
                self.interrupted = Some(element);
                Err(interrupted)
            }
        }
    }

    fn save(&self) -> Result<State> {
        let mut parts = vec![State::Int(self.index), self.input.save()?];
        if let Some(element) = &self.interrupted {
            parts.push(State::of_element(element)?);
        }
        Ok(State::List(parts))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let (interrupted, parts) = match state {
            State::List(parts) if parts.len() == 3 => {
                (Some(parts[2].element_as(&self.spec)?), &parts[..2])
            }
            state => (None, state.list(2)?),
        };
        self.interrupted = interrupted;
        self.index = parts[0].int()?;
        self.input.restore(&parts[1])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::all_ways::{all_ways, context, elements, failing, small_numbers, streamed};
    use tensorferry_core::{Casting, DType};

    fn numbers(len: usize, width: usize) -> Dataset {
        let sources =
            [small_numbers(DType::Int64, &[len, width], 1), small_numbers(DType::UInt8, &[len], 2)];
        Dataset::from_tensor_slices(sources).unwrap()
    }

    #[test]
    fn chains_of_maps_agree_with_their_parts_over_chunks_of_one_and_of_many_rows() {
        for (len, width) in [(5, 10_000), (37, 700), (3000, 1), (9, 0), (0, 4)] {
            let input = numbers(len, width);
            let chain = input.cast(&[Some(DType::Int32), None], Casting::Checked).unwrap();
            let chain = chain
                .scale(0.5, 1.0, Some(&[true, false]))
                .unwrap()
                .cast(&[Some(DType::Float64), Some(DType::Int16)], Casting::Checked)
                .unwrap();
            for (got, was) in elements(&chain).iter().zip(elements(&input)) {
                let widened =
                    |bytes: &[u8]| i64::from_ne_bytes(bytes.try_into().unwrap()) as f64 * 0.5 + 1.0;
                let expected: Vec<u8> =
                    was[0].2.chunks(8).flat_map(|bytes| widened(bytes).to_ne_bytes()).collect();
                assert_eq!(got[0], (DType::Float64, vec![width], expected));
                assert_eq!(
                    got[1],
                    (DType::Int16, vec![], i16::from(was[1].2[0]).to_ne_bytes().to_vec())
                );
            }
        }
    }

    #[test]
    fn the_first_element_that_fails_is_named_whichever_stage_it_fails_in() {
        let mut values: Vec<i64> = (0..40).collect();
        (values[7], values[21]) = (300, -1);
        let input =
            Dataset::from_tensor_slices([Tensor::from_vec(values, &[20, 2]).unwrap()]).unwrap();
        let cast = failing(&input, &[5, 10])
            .cast(&[Some(DType::UInt8)], Casting::Checked)
            .unwrap()
            .scale(1.0, 0.0, None)
            .unwrap();
        let results = all_ways(&cast, 0);
        let failed: Vec<(usize, &String)> = results
            .iter()
            .enumerate()
            .filter_map(|(at, result)| Some((at, result.as_ref().err()?)))
            .collect();
        assert_eq!(failed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [3, 5, 10]);
        assert!(
            failed[0].1.starts_with(
                "cast: element 3: int64 -> uint8: 1 of 2 values does not fit (first: [1] = 300"
            ),
            "{}",
            failed[0].1
        );
        assert_eq!(failed[1].1, "failing: element 5: no");
    }

    #[test]
    fn a_map_that_changes_nothing_is_its_input() {
        let input = numbers(3, 2);
        let same = input
            .cast(&[Some(DType::Int64), None], Casting::Checked)
            .unwrap()
            .scale(2.0, 0.0, Some(&[false, false]))
            .unwrap();
        assert_eq!(same.to_string(), input.to_string());
        assert!(same.stage.slice(0, 3, &context(0)).is_some());
    }

    #[test]
    fn a_stream_goes_on_after_an_error_and_from_a_saved_state_with_the_same_indices() {
        let input =
            Dataset::from_tensor_slices([
                Tensor::from_vec(vec![1_i64, 300, 2, 400, 3], &[5]).unwrap()
            ])
            .unwrap();
        let map = streamed(&input).cast(&[Some(DType::UInt8)], Casting::Checked).unwrap();
        let mut stream = crate::testing::Pass(map.element_iter(&context(0)).unwrap());
        let mut states = vec![stream.save().unwrap()];
        let mut seen = Vec::new();
        while let Some(element) = stream.next() {
            seen.push(
                element
                    .map(|element| element[0].tensor().unwrap().view::<u8>().unwrap().get(&[]))
                    .map_err(|error| error.to_string()),
            );
            states.push(stream.save().unwrap());
        }
        assert!(seen[1].as_ref().is_err_and(|error| error.starts_with("cast: element 1: ")));
        assert!(seen[3].as_ref().is_err_and(|error| error.starts_with("cast: element 3: ")));
        assert_eq!([&seen[0], &seen[2], &seen[4]], [&Ok(Some(1)), &Ok(Some(2)), &Ok(Some(3))]);
        for (from, state) in states.iter().enumerate() {
            let mut stream = crate::testing::Pass(map.element_iter(&context(0)).unwrap());
            stream.restore(state).unwrap();
            let rest: Vec<_> = std::iter::from_fn(|| stream.next())
                .map(|element| {
                    element
                        .map(|element| element[0].tensor().unwrap().view::<u8>().unwrap().get(&[]))
                        .map_err(|error| error.to_string())
                })
                .collect();
            assert_eq!(rest, seen[from..]);
        }
    }

    #[test]
    fn which_has_to_say_something_of_each_component() {
        let error = numbers(3, 2).scale(1.0, 0.0, Some(&[true])).err().unwrap();
        assert_eq!(error.to_string(), "scale: which selects from 1 components; elements have 2");
    }

    #[test]
    fn a_interrupted_gather_stops() {
        let map = numbers(100, 2).scale(1.0, 0.0, None).unwrap();
        let cx = context(0);
        cx.cancel.cancel();
        let (mut a, mut b) = (vec![0; 800], vec![0; 400]);
        let mut out = [RowsOut { bytes: &mut a, row: 8 }, RowsOut { bytes: &mut b, row: 4 }];
        let mut requests: Vec<RowRequest> =
            (0..100).map(|slot| RowRequest { index: slot as u64, slot }).collect();
        assert!(matches!(
            map.stage.gather(crate::request::Columns::All, &mut requests, &mut out, &cx),
            Err(Error::Interrupted)
        ));
    }
}
