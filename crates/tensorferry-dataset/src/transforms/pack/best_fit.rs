//! Best-fit decreasing: which rows share a window.

use crate::transforms::pack::fragments::{Fragment, Place, Window};
use std::collections::BTreeSet;

/// Windows of tokens that are planned together.
const GROUP_WINDOWS: usize = 256;
/// Rows that are planned together, if they are short.
const GROUP_ROWS: usize = 1 << 16;

/// Whether `rows` rows of `tokens` tokens make up a group, whose rows are packed together.
pub(crate) fn is_group(window: Window, tokens: usize, rows: usize) -> bool {
    tokens >= window.length.saturating_mul(GROUP_WINDOWS) || rows >= GROUP_ROWS
}

/// Packs rows, of these lengths from row `first` on, into windows. A row longer than a window is
/// cut into parts of a whole window each; its last part is packed like a short row.
///
/// Longer parts come first, and each goes to the window in which the least room is left; of equal
/// parts or windows the earlier counts. Windows are in the order in which they were begun, and
/// fragments in a window in that of their rows.
pub(crate) fn best_fit(window: Window, first: u64, lens: &[usize]) -> Vec<Vec<Fragment>> {
    let mut parts = Vec::new();
    for (row, len) in (first..).zip(lens) {
        let mut place = Place { row, offset: 0 };
        while place.row == row {
            match window.add(&mut place, *len, 0) {
                Some(part) => parts.push(part),
                None => break,
            }
        }
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.total()));
    let mut windows: Vec<Vec<Fragment>> = Vec::new();
    // The room that is left, and the window.
    let mut room: BTreeSet<(usize, usize)> = BTreeSet::new();
    for part in parts {
        let needed = part.total();
        let fits = room.range((needed, 0)..).next().copied();
        let (left, at) = fits.unwrap_or((window.length, windows.len()));
        match fits {
            Some(place) => {
                room.remove(&place);
            }
            None => windows.push(Vec::new()),
        }
        windows[at].push(part);
        room.insert((left - needed, at));
    }
    windows.iter_mut().for_each(|fragments| settle(fragments));
    windows
}

/// Places the fragments of a window one after the other.
fn settle(fragments: &mut [Fragment]) {
    fragments.sort_by_key(|fragment| (fragment.row, fragment.start));
    let mut at = 0;
    for fragment in fragments {
        fragment.at = at;
        at += fragment.total();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Total lengths of the fragments of each window.
    fn packed(length: usize, eos: bool, lens: &[usize]) -> Vec<Vec<usize>> {
        let windows = best_fit(Window { length, eos }, 10, lens);
        windows.iter().map(|all| all.iter().map(Fragment::total).collect()).collect()
    }

    #[test]
    fn a_part_goes_to_the_window_with_the_least_room_for_it() {
        assert_eq!(packed(10, false, &[3, 6, 4, 7]), [vec![3, 7], vec![6, 4]]);
        assert_eq!(packed(10, false, &[23, 5]), [vec![10], vec![10], vec![3, 5]]);
        assert_eq!(packed(4, true, &[1, 0, 3, 2]), [vec![4], vec![1, 3], vec![2]]);
        assert_eq!(packed(4, false, &[0, 0]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn every_token_is_in_one_window() {
        let lens: Vec<usize> = (0..500).map(|at| at * 37 % 91).collect();
        for eos in [false, true] {
            let windows = best_fit(Window { length: 64, eos }, 0, &lens);
            let mut seen: Vec<Vec<usize>> = lens.iter().map(|len| vec![0; *len]).collect();
            let mut ends = 0;
            for fragments in &windows {
                let mut end = 0;
                for fragment in fragments {
                    assert_eq!(fragment.at, end);
                    end += fragment.total();
                    ends += usize::from(fragment.ends);
                    let row = &mut seen[usize::try_from(fragment.row).unwrap()];
                    row[fragment.start..fragment.start + fragment.len]
                        .iter_mut()
                        .for_each(|count| *count += 1);
                }
                assert!(end <= 64 && end > 0);
            }
            assert!(seen.iter().flatten().all(|count| *count == 1));
            assert_eq!(ends, if eos { lens.len() } else { 0 });
        }
    }
}
