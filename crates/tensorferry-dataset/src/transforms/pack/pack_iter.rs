//! Iterators over packed windows, from rows in order.

use crate::checkpoint::state::State;
use crate::error::{Error, Result};
use crate::gather::get_by_gather;
use crate::request::Columns;
use crate::stage::{Context, Element, ElementIter, Step, step, uninterrupted, value_of};
use crate::transforms::pack::best_fit::{best_fit, is_group};
use crate::transforms::pack::fragments::{Fragment, Place};
use crate::transforms::pack::packing::Packing;
use crate::transforms::pack::row_feed::RowFeed;
use std::collections::VecDeque;
use std::sync::Arc;
use tensorferry_io::memory::room::Room;

/// The window of these fragments.
fn window(
    packing: &Packing,
    feed: &RowFeed,
    fragments: &[Fragment],
    cx: &Context,
) -> Result<Element> {
    let windows = [(0, fragments)];
    let made = get_by_gather(&packing.spec, 0, |_, out| {
        packing.write(Columns::All, &windows, out, |at, rows| feed.write(at, &windows, rows, cx))
    });
    made.map_err(|error| packing.input.explain(error))
}

/// Windows in which rows follow one another.
pub(crate) struct ConcatIter {
    packing: Arc<Packing>,
    cx: Context,
    feed: RowFeed,
    /// Where the next window begins.
    begin: Place,
    /// Where its fragments so far end.
    end: Place,
    fragments: Vec<Fragment>,
    windows: u64,
}

impl ConcatIter {
    pub(crate) fn new(packing: Arc<Packing>, cx: &Context) -> Result<Self> {
        let feed = RowFeed::new(&packing.input, packing.measured, cx)?;
        let (begin, end) = Default::default();
        Ok(Self { packing, cx: cx.clone(), feed, begin, end, fragments: Vec::new(), windows: 0 })
    }

    /// Number of tokens in the fragments.
    fn filled(&self) -> usize {
        self.fragments.last().map_or(0, |last| last.at + last.total())
    }
}

impl ElementIter for ConcatIter {
    fn next(&mut self) -> Step {
        let size = self.packing.window;
        while self.filled() < size.length {
            let Some(len) = self.feed.length(self.end.row, &self.cx)? else { break };
            let len = match len {
                Ok(len) => len,
                Err(error) => {
                    // The row is left out, if it has been counted.
                    if let RowFeed::Measured { .. } = self.feed {
                        self.end = Place { row: self.end.row.saturating_add(1), offset: 0 };
                    }
                    return Ok(Some(Err(self.packing.input.explain(error))));
                }
            };
            let filled = self.filled();
            self.fragments.extend(size.add(&mut self.end, len, filled));
        }
        let filled = self.filled();
        if filled == 0 || (self.packing.options.drop_remainder && filled < size.length) {
            return Ok(None);
        }
        let made = window(&self.packing, &self.feed, &self.fragments, &self.cx);
        let made = uninterrupted(made)?;
        let number = self.windows;
        self.fragments.clear();
        self.begin = self.end;
        self.windows = number.saturating_add(1);
        self.feed.forget(self.begin.row);
        Ok(Some(made.map_err(|error| error.at_element("pack", number))))
    }

    fn save(&self) -> Result<State> {
        let numbers = [self.windows, self.begin.row, self.begin.offset as u64].map(State::Int);
        Ok(State::List(numbers.into_iter().chain([self.feed.save()?]).collect()))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(4)?;
        let windows = parts[0].int()?;
        let offset = usize::try_from(parts[2].int()?).unwrap_or(usize::MAX);
        let begin = Place { row: parts[1].int()?, offset };
        self.feed.restore(begin.row, &parts[3])?;
        (self.windows, self.begin, self.end) = (windows, begin, begin);
        self.fragments.clear();
        Ok(())
    }
}

/// Windows in which rows are placed where they fit best, a group of rows at a time.
pub(crate) struct BestFitIter {
    packing: Arc<Packing>,
    cx: Context,
    feed: RowFeed,
    /// The first row of the group, and the state of the feed before it.
    first: u64,
    before: State,
    /// Lengths of the group's rows so far, while it is collected.
    lens: Vec<usize>,
    /// Rows of the group that failed.
    failed: u64,
    /// The windows of the group that are left, once it is planned, and those handed out.
    planned: Option<VecDeque<Vec<Fragment>>>,
    done: u64,
    /// Windows and failures of the group to pass over, after a restore.
    skip: (u64, u64),
    windows: u64,
}

impl BestFitIter {
    pub(crate) fn new(packing: Arc<Packing>, cx: &Context) -> Result<Self> {
        let feed = RowFeed::new(&packing.input, packing.measured, cx)?;
        let before = feed.save()?;
        Ok(Self {
            packing,
            cx: cx.clone(),
            feed,
            first: 0,
            before,
            lens: Vec::new(),
            failed: 0,
            planned: None,
            done: 0,
            skip: (0, 0),
            windows: 0,
        })
    }

    /// Plans the next group; `None` if there are no more rows.
    fn plan(&mut self) -> Step<()> {
        let size = self.packing.window;
        let mut tokens: usize = self.lens.iter().map(|len| size.tokens(*len)).sum();
        while !is_group(size, tokens, self.lens.len()) {
            let row = self.first.saturating_add(self.lens.len() as u64);
            let Some(len) = self.feed.length(row, &self.cx)? else { break };
            let len = match len {
                Ok(len) => len,
                Err(error) => {
                    // A measured row is counted, so it takes a place without tokens.
                    if let RowFeed::Measured { .. } = self.feed {
                        value_of!(step(self.lens.make_room(1)));
                        self.lens.push(0);
                    }
                    self.failed += 1;
                    if self.failed <= self.skip.1 {
                        continue;
                    }
                    return Ok(Some(Err(self.packing.input.explain(error))));
                }
            };
            value_of!(step(self.lens.make_room(1)));
            self.lens.push(len);
            tokens += size.tokens(len);
        }
        if self.lens.is_empty() {
            return Ok(None);
        }
        let mut planned: VecDeque<_> = best_fit(size, self.first, &self.lens).into();
        let skipped = usize::try_from(self.skip.0).unwrap_or(usize::MAX).min(planned.len());
        planned.drain(..skipped);
        (self.planned, self.done, self.skip) = (Some(planned), skipped as u64, (0, 0));
        Ok(Some(Ok(())))
    }

    /// Ends the group, whose windows have been handed out.
    fn end_group(&mut self) -> Result<()> {
        let next = self.first.saturating_add(self.lens.len() as u64);
        self.feed.forget(next);
        self.before = self.feed.save()?;
        self.first = next;
        self.lens.clear();
        (self.planned, self.done, self.failed) = (None, 0, 0);
        Ok(())
    }
}

impl ElementIter for BestFitIter {
    fn next(&mut self) -> Step {
        loop {
            let Some(planned) = &self.planned else {
                value_of!(self.plan());
                continue;
            };
            let Some(fragments) = planned.front() else {
                value_of!(step(self.end_group()));
                continue;
            };
            let made = uninterrupted(window(&self.packing, &self.feed, fragments, &self.cx))?;
            let number = self.windows;
            (self.windows, self.done) = (number.saturating_add(1), self.done + 1);
            if let Some(planned) = &mut self.planned {
                planned.pop_front();
            }
            return Ok(Some(made.map_err(|error| error.at_element("pack", number))));
        }
    }

    fn save(&self) -> Result<State> {
        // A restored iterator that has not planned its group yet is where it was restored to.
        let (done, failed) = if self.planned.is_some() {
            (self.done, self.failed)
        } else {
            (self.skip.0, self.failed.max(self.skip.1))
        };
        let numbers = [self.windows, self.first, done, failed].map(State::Int);
        Ok(State::List(numbers.into_iter().chain([self.before.clone()]).collect()))
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let parts = state.list(5)?;
        let (windows, first) = (parts[0].int()?, parts[1].int()?);
        let skip = (parts[2].int()?, parts[3].int()?);
        if skip.0 > windows {
            let what = "the state counts more windows of a group than of all; it is damaged";
            return Err(Error::State { what: what.into() });
        }
        self.feed.restore(first, &parts[4])?;
        (self.windows, self.first, self.skip) = (windows, first, skip);
        self.before = parts[4].clone();
        self.lens.clear();
        (self.planned, self.done, self.failed) = (None, 0, 0);
        Ok(())
    }
}
