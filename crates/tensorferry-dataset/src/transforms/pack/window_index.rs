//! [`WindowIndex`]: at which row each window begins.

use crate::error::{Error, Result};
use crate::stage::{Context, Dataset};
use crate::transforms::batch::measured::consecutive;
use crate::transforms::pack::fragments::{Fragment, Place, Window, unequal};
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::memory::room::Room;
use tensorferry_io::memory::room::list_of;

/// Rows between two entries of the index.
const STEP: usize = 64;

/// The lengths of consecutive rows of a measured component, looked up a few at a time.
pub(crate) struct Lengths {
    from: u64,
    lens: Vec<usize>,
}

impl Lengths {
    pub(crate) fn new() -> Self {
        Self { from: 0, lens: Vec::new() }
    }

    /// The length of a row; `None` after the last of `rows`.
    pub(crate) fn get(
        &mut self,
        input: &Dataset,
        row: u64,
        rows: u64,
        cx: &Context,
    ) -> Result<Option<usize>> {
        let at = |from: u64| row.checked_sub(from).and_then(|at| usize::try_from(at).ok());
        if let Some(len) = at(self.from).and_then(|at| self.lens.get(at)) {
            return Ok(Some(*len));
        }
        let count = usize::try_from(rows.saturating_sub(row)).unwrap_or(usize::MAX).min(STEP);
        if count == 0 {
            return Ok(None);
        }
        self.lens.clear();
        self.lens.resize(count, 0);
        self.from = row;
        input.stage.lengths(0, &mut consecutive(row, count)?, &mut self.lens, cx)?;
        Ok(self.lens.first().copied())
    }
}

/// The tokens before every [`STEP`]th row.
pub(crate) struct WindowIndex {
    before: Vec<u64>,
    /// Number of rows, and of tokens.
    rows: u64,
    tokens: u64,
}

impl WindowIndex {
    /// The index of a dataset of `rows` elements.
    ///
    /// # Errors
    /// Those of looking lengths up; [`Error::UnequalLengths`] if the components of a row differ.
    pub(crate) fn new(input: &Dataset, rows: u64, window: Window, cx: &Context) -> Result<Self> {
        let (mut before, mut tokens) = (Vec::new(), 0_u64);
        let (mut lens, mut others) = (vec![0; STEP], vec![0; STEP]);
        let mut row = 0;
        while row < rows {
            cx.cancel.check()?;
            before.make_room(1)?;
            before.push(tokens);
            let count = usize::try_from(rows - row).unwrap_or(usize::MAX).min(STEP);
            let (lens, others) = (&mut lens[..count], &mut others[..count]);
            input.stage.lengths(0, &mut consecutive(row, count)?, lens, cx)?;
            for at in 1..input.spec().len() {
                input.stage.lengths(at, &mut consecutive(row, count)?, others, cx)?;
                let mut pairs = lens.iter().zip(&*others);
                if let Some(differs) = pairs.position(|(first, other)| first != other) {
                    let row = row + differs as u64;
                    let error = unequal(lens[differs], at, others[differs]);
                    return Err(input.explain(error).at_element("pack", row));
                }
            }
            for len in lens {
                tokens = tokens.saturating_add(window.tokens(*len) as u64);
            }
            row += count as u64;
        }
        Ok(Self { before, rows, tokens })
    }

    /// Number of tokens, with those at the ends of rows.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The fragments of the requested windows, in the order of the requests.
    ///
    /// # Errors
    /// As [`WindowIndex::find`].
    pub(crate) fn fragments(
        &self,
        requests: &[RowRequest],
        (input, window): (&Dataset, Window),
        cx: &Context,
    ) -> Result<Vec<Vec<Fragment>>> {
        let mut lengths = Lengths::new();
        let mut next = None;
        let mut all = list_of(requests.len())?;
        for request in requests {
            let mut place = match next {
                Some((index, place)) if index == request.index => place,
                _ => {
                    let token = request.index.saturating_mul(window.length as u64);
                    self.find(input, token, (window, &mut lengths), cx)?
                }
            };
            let (mut filled, mut fragments) = (0, Vec::new());
            while filled < window.length
                && let Some(len) = lengths.get(input, place.row, self.rows, cx)?
            {
                if let Some(fragment) = window.add(&mut place, len, filled) {
                    filled += fragment.total();
                    fragments.push(fragment);
                }
            }
            all.push(fragments);
            next = Some((request.index + 1, place));
        }
        Ok(all)
    }

    /// The place of a token.
    ///
    /// # Errors
    /// Those of looking lengths up; [`Error::ElementMismatch`] if the lengths have changed.
    fn find(
        &self,
        input: &Dataset,
        token: u64,
        (window, lengths): (Window, &mut Lengths),
        cx: &Context,
    ) -> Result<Place> {
        let entry = self.before.partition_point(|before| *before <= token).saturating_sub(1);
        let mut left = token - self.before.get(entry).copied().unwrap_or(0);
        let mut row = (entry * STEP) as u64;
        while let Some(len) = lengths.get(input, row, self.rows, cx)? {
            let total = window.tokens(len) as u64;
            if left < total {
                return Ok(Place { row, offset: usize::try_from(left).unwrap_or(usize::MAX) });
            }
            left -= total;
            row += 1;
        }
        let what = "the lengths of rows changed after the dataset was made".into();
        Err(Error::ElementMismatch { what })
    }
}
