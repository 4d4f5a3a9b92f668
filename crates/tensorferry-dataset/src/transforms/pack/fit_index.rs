//! [`FitIndex`]: which rows share each window, where rows are placed where they fit best.

use crate::error::Result;
use crate::stage::{Context, Dataset};
use crate::transforms::pack::best_fit::{best_fit, is_group};
use crate::transforms::pack::fragments::{Fragment, Place, Window};
use crate::transforms::pack::window_index::Lengths;
use tensorferry_io::gather::request::RowRequest;
use tensorferry_io::memory::room::Room;

/// A row, or a part of a row that is longer than a window.
#[derive(Clone, Copy, Debug)]
struct Part {
    row: u32,
    /// Number of whole windows that earlier parts of the row fill.
    windows_before: u32,
}

/// The parts in every window.
#[derive(Debug)]
pub(crate) struct FitIndex {
    parts: Vec<Part>,
    /// Where the parts of each window begin, and the end.
    starts: Vec<u64>,
}

impl FitIndex {
    /// Plans the windows of a dataset of `rows` elements, fewer than 2^32.
    ///
    /// # Errors
    /// Those of looking lengths up.
    pub(crate) fn new(input: &Dataset, rows: u64, window: Window, cx: &Context) -> Result<Self> {
        let mut index = Self { parts: Vec::new(), starts: vec![0] };
        let (mut lengths, mut lens) = (Lengths::new(), Vec::new());
        let (mut first, mut tokens) = (0, 0);
        for row in 0..rows {
            let Some(len) = lengths.get(input, row, rows, cx)? else { break };
            lens.make_room(1)?;
            lens.push(len);
            tokens += window.tokens(len);
            if is_group(window, tokens, lens.len()) || row + 1 == rows {
                cx.cancel.check()?;
                index.add(&best_fit(window, first, &lens), window)?;
                lens.clear();
                (first, tokens) = (row + 1, 0);
            }
        }
        Ok(index)
    }

    fn add(&mut self, windows: &[Vec<Fragment>], size: Window) -> Result<()> {
        self.starts.make_room(windows.len())?;
        for fragments in windows {
            self.parts.make_room(fragments.len())?;
            self.parts.extend(fragments.iter().map(|fragment| Part {
                // There are fewer rows than 2^32. A part begins at a whole number of windows.
                row: u32::try_from(fragment.row).unwrap_or(u32::MAX),
                windows_before: u32::try_from(fragment.start / size.length).unwrap_or(u32::MAX),
            }));
            self.starts.push(self.parts.len() as u64);
        }
        Ok(())
    }

    /// Number of windows.
    pub(crate) fn windows(&self) -> u64 {
        self.starts.len() as u64 - 1
    }

    fn parts(&self, window: u64) -> &[Part] {
        let start = |at: u64| {
            let start = usize::try_from(at).ok().and_then(|at| self.starts.get(at));
            start.and_then(|start| usize::try_from(*start).ok()).unwrap_or(self.parts.len())
        };
        &self.parts[start(window)..start(window.saturating_add(1))]
    }

    /// The fragments of windows.
    ///
    /// # Errors
    /// Those of looking lengths up.
    pub(crate) fn fragments(
        &self,
        windows: impl Iterator<Item = u64> + Clone,
        (input, size): (&Dataset, Window),
        cx: &Context,
    ) -> Result<Vec<Vec<Fragment>>> {
        let all = windows.clone().flat_map(|window| self.parts(window));
        let request = |(slot, part): (usize, &Part)| RowRequest { index: part.row.into(), slot };
        let mut requests = Vec::new();
        for numbered in all.enumerate() {
            requests.make_room(1)?;
            requests.push(request(numbered));
        }
        let mut lens = vec![0; requests.len()];
        input.stage.lengths(0, &mut requests, &mut lens, cx)?;
        let mut lens = lens.into_iter();
        let fragments = |window: u64| {
            let mut filled = 0;
            let parts = self.parts(window).iter().zip(&mut lens);
            let fragments = parts.filter_map(|(part, len)| {
                let offset = (part.windows_before as usize).saturating_mul(size.length);
                let fragment = size.add(&mut Place { row: part.row.into(), offset }, len, filled);
                filled += fragment.map_or(0, |fragment| fragment.total());
                fragment
            });
            fragments.collect()
        };
        Ok(windows.map(fragments).collect())
    }
}
