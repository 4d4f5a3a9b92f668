//! [`RowFeed`]: the rows that are packed, in order.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::request::RowPart;
use crate::spec::{Cardinality, Component};
use crate::stage::{Context, Dataset, Element, ElementIter, Step, step, value_of};
use crate::transforms::pack::fragments::{Fragment, unequal};
use crate::transforms::pack::window_index::Lengths;
use std::collections::VecDeque;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::gather::rows_out::{RowsOut, packed};
use tensorferry_io::memory::room::Room;

/// The rows of a dataset, in order.
pub(crate) enum RowFeed {
    /// Read when they are written.
    Measured { input: Box<Dataset>, rows: u64, lengths: Lengths },
    /// Read to learn their lengths, and kept until they are written.
    Elements(Box<Elements>),
}

/// Elements that have been read.
pub(crate) struct Elements {
    input: Box<dyn ElementIter>,
    spec: Vec<Component>,
    names: Names,
    held: VecDeque<Element>,
    /// The row of the first element that is held.
    first: u64,
}

impl RowFeed {
    /// The rows of `input`, whose components are all measured if `measured`.
    pub(crate) fn new(input: &Dataset, measured: bool, cx: &Context) -> Result<Self> {
        if measured {
            let rows = match input.cardinality() {
                Cardinality::Finite(rows) => rows,
                _ => u64::MAX,
            };
            let (input, lengths) = (Box::new(input.clone()), Lengths::new());
            return Ok(Self::Measured { input, rows, lengths });
        }
        Ok(Self::Elements(Box::new(Elements {
            input: input.element_iter(cx)?,
            spec: input.spec().to_vec(),
            names: input.names.clone(),
            held: VecDeque::new(),
            first: 0,
        })))
    }

    /// The length of a row, the next or an earlier one that is still held; `None` at the end.
    pub(crate) fn length(&mut self, row: u64, cx: &Context) -> Step<usize> {
        value_of!(step(cx.cancel.check()));
        match self {
            Self::Measured { input, rows, lengths } => {
                let len = value_of!(step(lengths.get(input, row, *rows, cx)));
                let Some(len) = len else { return Ok(None) };
                value_of!(step(check_measured(input, row, len, cx)));
                Ok(Some(Ok(len)))
            }
            Self::Elements(elements) => elements.length(row),
        }
    }

    /// Writes the tokens of fragments of component `at`. A window begins at the slot beside it.
    pub(crate) fn write(
        &self,
        at: usize,
        windows: &[(usize, &[Fragment])],
        out: &mut RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        match self {
            Self::Measured { input, .. } => {
                input.stage.gather_parts(at, &mut parts(windows), out, cx)
            }
            Self::Elements(elements) => elements.write(at, windows, out),
        }
    }

    /// Forgets the rows before `row`.
    pub(crate) fn forget(&mut self, row: u64) {
        if let Self::Elements(elements) = self {
            while elements.first < row && elements.held.pop_front().is_some() {
                elements.first = elements.first.saturating_add(1);
            }
            elements.first = row;
        }
    }

    /// The state in which the rows that are held come next.
    pub(crate) fn save(&self) -> Result<State> {
        match self {
            Self::Measured { .. } => Ok(State::Nothing),
            Self::Elements(elements) => {
                let held = elements.held.iter().map(|one| State::of_element(one));
                let held = State::List(held.collect::<Result<_>>()?);
                Ok(State::List(vec![held, elements.input.save()?]))
            }
        }
    }

    /// Continues with row `row`, where it was saved.
    pub(crate) fn restore(&mut self, row: u64, state: &State) -> Result<()> {
        let most = match self {
            Self::Measured { rows, .. } => *rows,
            Self::Elements(_) => u64::MAX,
        };
        if row > most.min(1 << 63) {
            return Err(Error::State { what: format!("there is no row {row}; it is damaged") });
        }
        match self {
            Self::Measured { .. } => Ok(()),
            Self::Elements(elements) => {
                let parts = state.list(2)?;
                let held = parts[0].parts()?.iter();
                elements.held =
                    held.map(|one| one.element_as(&elements.spec)).collect::<Result<_>>()?;
                for element in &elements.held {
                    row_length(element)?;
                }
                elements.first = row;
                elements.input.restore(&parts[1])
            }
        }
    }
}

/// The parts of rows that are fragments of these windows.
pub(crate) fn parts(windows: &[(usize, &[Fragment])]) -> Vec<RowPart> {
    let part = |first: usize, fragment: &Fragment| RowPart {
        index: fragment.row,
        start: fragment.start,
        len: fragment.len,
        slot: first + fragment.at,
    };
    let all = windows.iter().flat_map(|(first, all)| all.iter().map(move |one| (*first, one)));
    all.filter(|(_, one)| one.len > 0).map(|(first, one)| part(first, one)).collect()
}

/// Checks that the other components of a row have the length of the first.
fn check_measured(input: &Dataset, row: u64, len: usize, cx: &Context) -> Result<()> {
    for at in 1..input.spec().len() {
        let mut other = [0];
        input.stage.lengths(at, &mut [RowRequest { index: row, slot: 0 }], &mut other, cx)?;
        if other[0] != len {
            let error = unequal(len, at, other[0]);
            return Err(input.explain(error).at_element("pack", row));
        }
    }
    Ok(())
}

/// The length of an element's rows.
fn row_length(element: &Element) -> Result<usize> {
    let mut first = None;
    for (at, value) in element.iter().enumerate() {
        let len = value.tensor()?.shape().first().copied().unwrap_or(0);
        let of_first = *first.get_or_insert(len);
        if len != of_first {
            return Err(unequal(of_first, at, len));
        }
    }
    Ok(first.unwrap_or(0))
}

impl Elements {
    fn length(&mut self, row: u64) -> Step<usize> {
        loop {
            let at = usize::try_from(row.saturating_sub(self.first)).unwrap_or(usize::MAX);
            if let Some(element) = self.held.get(at) {
                return step(row_length(element));
            }
            value_of!(step(self.held.make_room(1)));
            let Some(element) = self.input.next()? else { return Ok(None) };
            // A row that fails is left out.
            let element = element.and_then(|element| {
                let row = self.first.saturating_add(self.held.len() as u64);
                row_length(&element)
                    .map_err(|error| self.names.explain(error).at_element("pack", row))?;
                element.into_iter().map(|value| Ok(packed(&value.into_tensor()?)?.into())).collect()
            });
            self.held.push_back(value_of!(step(element)));
        }
    }

    fn write(
        &self,
        at: usize,
        windows: &[(usize, &[Fragment])],
        out: &mut RowsOut<'_>,
    ) -> Result<()> {
        let row = out.row;
        for part in parts(windows) {
            let held = usize::try_from(part.index.saturating_sub(self.first)).unwrap_or(usize::MAX);
            let Some(element) = self.held.get(held) else { continue };
            let tensor = element[at].tensor()?;
            let view = tensor.as_view();
            let bytes = view.as_bytes().unwrap_or_default(); // packed, so `Some`
            out.bytes[part.slot * row..(part.slot + part.len) * row]
                .copy_from_slice(&bytes[part.start * row..(part.start + part.len) * row]);
        }
        Ok(())
    }
}
