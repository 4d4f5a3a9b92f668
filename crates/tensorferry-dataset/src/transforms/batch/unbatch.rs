//! `unbatch`: the rows of each element as elements.

use crate::checkpoint::change::Change;
use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::request::Columns;
use crate::spec;
use crate::spec::{Cardinality, Component};
use crate::stage::{
    Context, Dataset, Element, ElementIter, Elements, Epoch, Interrupted, Stage, Step, Value,
    not_indexed, step, value_of,
};
use crate::transforms::batch::strings;
use std::sync::Arc;
use tensorferry_core::{ALIGNMENT, Index, Shape, Tensor, TensorSpec};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, write_row};
use tensorferry_io::sync::fork_safe::ForkSafe;

struct Unbatch {
    input: Dataset,
    /// The dataset of the rows, if the input only stacks them.
    rows: Option<Dataset>,
    /// Rows per element, if known and equal for all elements.
    each: Option<u64>,
    spec: Vec<Component>,
    /// The components with the bytes of several strings, whose splits follow.
    strings: Arc<[usize]>,
    /// The element that was computed last. Consecutive rows usually lie in one element.
    last: ForkSafe<Option<(Epoch, u64, Element)>>,
}

impl Dataset {
    /// Splits each element into its rows: the inverse of `batch`.
    ///
    /// The result is indexed if the input only stacks the elements of an indexed dataset, or if it
    /// is indexed and its elements have a known, equal number of rows. Otherwise it has no random
    /// access.
    ///
    /// ```
    /// use tensorferry_core::DType;
    /// use tensorferry_dataset::{Cardinality, Dataset};
    ///
    /// let range = Dataset::range(0, 7, 1, DType::Int64)?;
    /// assert_eq!(range.batch(3)?.unbatch()?.cardinality(), Cardinality::Finite(7));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if a component is a scalar or a dataset, or if the components are known
    /// to have different numbers of rows.
    pub fn unbatch(&self) -> Result<Self> {
        self.unbatch_strings(&[])
    }

    /// As [`Dataset::unbatch`] of elements with strings: each of `strings` is a component with the
    /// bytes of several, whose int64 row splits are the next component. A row has one string, or of
    /// splits of two dimensions several.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_dataset::{BatchOptions, Dataset, Ragged};
    ///
    /// let bytes = Tensor::from_vec(b"onetwo".to_vec(), &[6])?;
    /// let words = Ragged::from_row_lengths(bytes, &Tensor::from_vec(vec![3_i64, 3], &[2])?)?;
    /// let words = Dataset::from_ragged([words])?;
    /// let batches = words.batch_ragged(2, &[0], BatchOptions::default())?;
    /// let mut rows = batches.unbatch_strings(&[0])?.iter();
    /// let first = rows.next().transpose()?.unwrap();
    /// assert_eq!(first[0].tensor()?.view::<u8>()?.as_slice(), Some(&b"one"[..]));
    /// # Ok::<(), tensorferry_dataset::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::unbatch`]; [`Error::Argument`] if a component of strings has no splits.
    pub fn unbatch_strings(&self, strings: &[usize]) -> Result<Self> {
        let parts = spec::tensors(self.spec(), "unbatch")?;
        let mut each: Option<(usize, usize)> = None;
        for (at, part) in parts.iter().enumerate() {
            if strings.contains(&at) {
                if !strings::are_several(part, parts.get(at + 1).copied()) {
                    let what = "holds no strings".into();
                    let error = Error::Argument { stage: "unbatch", what };
                    return Err(self.explain(error.about_component(at, " ".into())));
                }
                continue;
            }
            let Some(dims) = part.shape.dims() else { continue };
            let first = match (at.checked_sub(1).filter(|at| strings.contains(at)), dims) {
                (Some(_), [splits]) => Some(splits.map(|splits| splits.saturating_sub(1))),
                _ => dims.first().copied(),
            };
            match (first, each) {
                (None, _) => return Err(self.explain(no_rows("unbatch", at, "Batch first."))),
                (Some(Some(len)), Some(each)) if len != each.1 => {
                    return Err(self.explain(unequal("unbatch", each, (at, len))));
                }
                (Some(len), _) => each = each.or(len.map(|len| (at, len))),
            }
        }
        let all = parts.iter().enumerate().all(|(at, part)| {
            let known =
                part.shape.dims().is_some_and(|dims| dims.first().is_some_and(Option::is_some));
            known || strings.contains(&at)
        });
        let row = |part: &&TensorSpec| {
            let shape = part
                .shape
                .dims()
                .map_or_else(Shape::unknown, |dims| Shape::new(dims[1..].iter().copied()));
            Component::Tensor(TensorSpec::new(part.dtype, shape))
        };
        let spec = if strings.is_empty() {
            parts.iter().map(row).collect()
        } else {
            strings::rows_spec(&parts, strings, row)
        };
        let only_tensors = strings.is_empty();
        Ok(Self::of(Unbatch {
            input: self.clone(),
            rows: self.stage.unstacked().filter(|_| only_tensors),
            each: each.filter(|_| all).map(|(_, each)| each as u64),
            spec,
            strings: strings.into(),
            last: ForkSafe::default(),
        }))
    }
}

/// The error for a component that is a scalar.
pub(crate) fn no_rows(stage: &'static str, at: usize, way_out: &str) -> Error {
    let what = format!("is a scalar, which has no rows. {way_out}");
    Error::Argument { stage, what }.about_component(at, " ".into())
}

/// The error for two components, as (index, rows), with different numbers of rows.
pub(crate) fn unequal(stage: &'static str, first: (usize, usize), other: (usize, usize)) -> Error {
    let parts = Box::new([first, other].map(|(at, len)| (at.into(), len)));
    Error::UnequalLengths { stage, axis: None, parts }
}

/// Number of rows of an element.
fn count_rows(element: &Element, strings: &[usize]) -> Result<usize> {
    let lens: Result<Vec<usize>> = (0..element.len())
        .map(|at| {
            let splits = at.checked_sub(1).filter(|at| strings.contains(at));
            Ok(match splits.or(Some(at).filter(|at| strings.contains(at))) {
                Some(at) => strings::rows(element, at)?,
                None => element[at].tensor()?.shape().first().copied(),
            }
            .unwrap_or(usize::MAX))
        })
        .collect();
    let lens = lens?;
    if let Some(at) = lens.iter().position(|len| *len == usize::MAX) {
        return Err(no_rows("unbatch", at, "Batch first."));
    }
    let Some(&len) = lens.first() else {
        return Err(Error::ElementMismatch { what: "no components".into() });
    };
    match lens.iter().position(|other| *other != len) {
        None => Ok(len),
        Some(other) => Err(unequal("unbatch", (0, len), (other, lens[other]))),
    }
}

fn row(element: &Element, at: u64, strings: &[usize]) -> Result<Element> {
    if !strings.is_empty() {
        return row_of_strings(element, usize::try_from(at).unwrap_or(usize::MAX), strings);
    }
    let at = isize::try_from(at).unwrap_or(isize::MAX);
    element.iter().map(|value| Ok(value.tensor()?.index(&[Index::At(at)])?.into())).collect()
}

fn row_of_strings(element: &Element, at: usize, strings: &[usize]) -> Result<Element> {
    let mut row = Element::new();
    for (part, value) in element.iter().enumerate() {
        if strings.contains(&part) {
            row.extend(strings::row(element, part, at)?);
        } else if part.checked_sub(1).is_none_or(|before| !strings.contains(&before)) {
            row.push(value.tensor()?.index(&[Index::At(at.cast_signed())])?.into());
        }
    }
    Ok(row)
}

impl Unbatch {
    fn element(&self, index: u64, cx: &Context) -> Result<Element> {
        {
            let last = self.last.lock();
            if let Some((epoch, at, element)) = &*last
                && (*epoch, *at) == (cx.epoch, index)
            {
                return Ok(element.clone());
            }
        }
        let element = self.input.stage.get(index, cx)?;
        *self.last.lock() = Some((cx.epoch, index, element.clone()));
        Ok(element)
    }

    /// The index of the input's element that holds a row, and the row's index in it.
    fn split(&self, index: u64) -> Result<(u64, u64)> {
        let each = self.each.filter(|each| *each > 0).ok_or_else(|| not_indexed("unbatch"))?;
        Ok((index / each, index % each))
    }
}

impl Stage for Unbatch {
    // Random access would call a sequential user function once per row, not once per element.
    fn elements(&self) -> Elements<'_> {
        Elements::computed(
            std::slice::from_ref(&self.input),
            &self.spec,
            self.rows.is_some()
                || (self.each.is_some()
                    && self.strings.is_empty()
                    && self.input.is_indexed()
                    && !self.input.hints.sequential),
        )
    }

    fn cardinality(&self) -> Cardinality {
        match (&self.rows, self.each) {
            (Some(rows), _) => rows.cardinality(),
            (None, Some(0)) => Cardinality::Finite(0),
            (None, Some(each)) => self.input.cardinality().map(|n| n.saturating_mul(each)),
            (None, None) if self.input.cardinality() == Cardinality::Infinite => {
                Cardinality::Infinite
            }
            (None, None) => Cardinality::Unknown,
        }
    }

    fn describe(&self) -> String {
        if self.strings.is_empty() {
            return "unbatch()".into();
        }
        format!("unbatch(strings={:?})", self.strings)
    }

    fn rebuild(&self, inputs: Vec<Dataset>, _change: &mut Change) -> Result<Dataset> {
        inputs[0].unbatch_strings(&self.strings)
    }

    fn get(&self, index: u64, cx: &Context) -> Result<Element> {
        if let Some(rows) = &self.rows {
            return rows.stage.get(index, cx);
        }
        let (batch, at) = self.split(index)?;
        row(&self.element(batch, cx)?, at, &self.strings)
    }

    fn slice(&self, start: u64, len: usize, cx: &Context) -> Option<Vec<Tensor>> {
        if let Some(rows) = &self.rows {
            return rows.stage.slice(start, len, cx);
        }
        let (batch, first) = self.split(start).ok()?;
        if first.checked_add(len as u64)? > self.each? {
            return None;
        }
        let index = [Index::Slice { start: usize::try_from(first).ok()?, step: 1, len }];
        let share = |value: &Value| {
            let rows = value.tensor().ok()?.index(&index).ok()?;
            (rows.layout().is_c_contiguous() && rows.as_ptr().addr().is_multiple_of(ALIGNMENT))
                .then_some(rows)
        };
        self.element(batch, cx).ok()?.iter().map(share).collect()
    }

    fn gather(
        &self,
        columns: Columns<'_>,
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cx: &Context,
    ) -> Result<()> {
        if let Some(rows) = &self.rows {
            return rows.stage.gather(columns, requests, out, cx);
        }
        let each = self.each.unwrap_or(1).max(1);
        // After a shuffle, consecutive rows lie in different batches. Sorting computes each batch
        // once.
        if !requests.is_sorted_by_key(|request| request.index / each) {
            requests.sort_by_key(|request| request.index / each);
        }
        for run in requests.chunk_by(|a, b| a.index / each == b.index / each) {
            cx.cancel.check()?;
            let batch = self.element(run.first().map_or(0, |request| request.index / each), cx)?;
            for (component, rows) in columns.indices(out.len()).zip(out.iter_mut()) {
                for request in run {
                    let at = isize::try_from(request.index % each).unwrap_or(isize::MAX);
                    write_row(
                        &batch[component].tensor()?.index(&[Index::At(at)])?,
                        rows.slot(request.slot),
                    )?;
                }
            }
        }
        Ok(())
    }

    fn element_iter(&self, cx: &Context) -> Result<Box<dyn ElementIter>> {
        let (input, names) = (self.input.element_iter(cx)?, self.input.names.clone());
        Ok(Box::new(UnbatchIter {
            input,
            names,
            strings: Arc::clone(&self.strings),
            before: None,
            current: None,
            index: 0,
            cx: cx.clone(),
        }))
    }
}

struct UnbatchIter {
    input: Box<dyn ElementIter>,
    names: Names,
    strings: Arc<[usize]>,
    /// The input's state before the current element. `None` if it cannot be saved, which is an
    /// error only in [`ElementIter::save`].
    before: Option<State>,
    /// The current element, its number of rows, and how many of them were returned.
    current: Option<(Element, u64, u64)>,
    /// Number of elements read from the input.
    index: u64,
    cx: Context,
}

impl UnbatchIter {
    /// Reads the next element of the input.
    fn pull(&mut self) -> Step<()> {
        self.before = self.input.save().ok();
        let Some(element) = self.input.next()? else { return Ok(None) };
        let index = self.index;
        self.index = index.saturating_add(1);
        Ok(Some(element.and_then(|element| {
            let len = count_rows(&element, &self.strings)
                .map_err(|error| self.names.explain(error).at_element("unbatch", index))?;
            self.current = Some((element, len as u64, 0));
            Ok(())
        })))
    }
}

impl ElementIter for UnbatchIter {
    fn next(&mut self) -> Step {
        loop {
            value_of!(step(self.cx.cancel.check()));
            if let Some((element, len, at)) = &mut self.current
                && at < len
            {
                let row = row(element, *at, &self.strings);
                *at += 1;
                return Ok(Some(row));
            }
            self.current = None;
            value_of!(self.pull());
        }
    }

    fn save(&self) -> Result<State> {
        let (at, index, input) = match (&self.current, &self.before) {
            (Some((_, len, at)), Some(before)) if at < len => {
                (*at, self.index.saturating_sub(1), before.clone())
            }
            (Some((_, len, at)), None) if at < len => {
                return Err(Error::State {
                    what: "the input of unbatch cannot be saved within an element".into(),
                });
            }
            _ => (0, self.index, self.input.save()?),
        };
        Ok(State::List(vec![State::Int(index), State::Int(at), input]))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(3)?;
        self.input.restore(&parts[2])?;
        self.index = parts[0].int()?;
        self.current = None;
        let at = parts[1].int()?;
        if at > 0 {
            self.pull().map_err(|Interrupted| Error::Interrupted)?.unwrap_or(Ok(()))?;
            match &mut self.current {
                Some((_, len, now)) if at < *len => *now = at,
                _ => {
                    return Err(Error::State {
                        what: format!("the element to continue in has no row {at}"),
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchOptions;
    use crate::order_tests::{numbers, streamed};
    use crate::testing::{assert_rebuilds, assert_rejects_damage, assert_resumes, range};
    use crate::user_fn::function::Function;
    use tensorferry_core::{Casting, DType};

    #[test]
    fn unbatch_undoes_batch_however_its_input_can_be_read() -> Result<()> {
        let grid =
            Dataset::from_tensor_slices([Tensor::from_vec((0_i64..12).collect(), &[4, 3])?])?;
        let native = range(12)
            .batch_with(3, BatchOptions::DROP_REMAINDER)?
            .cast(&[Some(DType::Int32)], Casting::Checked)?
            .cast(&[Some(DType::Int64)], Casting::Checked)?;
        let identity = Function::sequential("identity", Ok);
        let called = grid.map(identity, grid.spec().to_vec());
        let inputs = [
            (range(12).batch(5)?, true),
            (grid.clone(), true),
            (native, true),
            (called, false),
            (streamed(&grid), false),
        ];
        for (input, indexed) in inputs {
            let rows = input.unbatch()?;
            assert_eq!(rows.is_indexed(), indexed, "{rows}");
            assert_eq!(numbers(&rows)?, (0..12).collect::<Vec<_>>(), "{rows}");
            assert_eq!(numbers(&rows.batch(5)?)?, (0..12).collect::<Vec<_>>(), "{rows}");
            assert_eq!(numbers(&rows.shard(5, 2)?.batch(3)?)?, [2, 7], "{rows}");
            assert_resumes(&rows);
            assert_rejects_damage(&rows);
            assert_rebuilds(&rows);
        }
        Ok(())
    }

    #[test]
    fn a_batched_remainder_that_was_dropped_stays_dropped() -> Result<()> {
        assert_eq!(
            numbers(&range(7).batch_with(3, BatchOptions::DROP_REMAINDER)?.unbatch()?)?,
            [0, 1, 2, 3, 4, 5]
        );
        assert_eq!(
            range(7)
                .repeat(None)
                .batch_with(3, BatchOptions::DROP_REMAINDER)?
                .unbatch()?
                .cardinality(),
            Cardinality::Infinite
        );
        assert_eq!(
            streamed(&range(7))
                .batch_with(3, BatchOptions::DROP_REMAINDER)?
                .unbatch()?
                .cardinality(),
            Cardinality::Unknown
        );
        Ok(())
    }

    #[test]
    fn scalars_and_unequal_components_are_refused() -> Result<()> {
        assert!(range(3).unbatch().is_err());
        let of = |len: usize| Tensor::from_vec(vec![0_i64; len], &[len]);
        assert!(Dataset::from_tensors([of(2)?, of(3)?]).unbatch().is_err());
        let open = Component::Tensor(TensorSpec::new(DType::Int64, Shape::new([None])));
        let elements = vec![
            vec![of(2)?.into(), of(2)?.into()],
            vec![of(1)?.into(), of(2)?.into()],
            vec![of(1)?.into(), of(1)?.into()],
        ];
        let rows = Dataset::from_elements(elements, vec![open.clone(), open])?.unbatch()?;
        let all: Vec<_> = rows.iter().collect();
        assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
        assert!(
            matches!(all[2], Err(Error::AtElement { stage: "unbatch", index: 1, .. })),
            "{:?}",
            all[2]
        );
        assert_resumes(&rows);
        Ok(())
    }

    #[test]
    fn elements_without_rows_are_passed_over() -> Result<()> {
        let none = Dataset::from_tensor_slices([Tensor::from_vec(Vec::<i64>::new(), &[3, 0])?])?;
        assert_eq!(none.unbatch()?.cardinality(), Cardinality::Finite(0));
        assert_eq!(numbers(&none.unbatch()?)?, [0_i64; 0]);
        assert_eq!(numbers(&streamed(&none).unbatch()?)?, [0_i64; 0]);
        Ok(())
    }
}
