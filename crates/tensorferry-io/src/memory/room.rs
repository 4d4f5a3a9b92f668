//! Fallible growth of collections: running out of memory must not end the process.

use crate::memory::spare;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};
use tensorferry_core::{Error, Result};

/// A collection whose growth can fail.
pub trait Room {
    /// Reserves space for `more` items.
    ///
    /// # Errors
    /// [`Error::Allocation`].
    fn make_room(&mut self, more: usize) -> Result<()>;
}

/// The error for a collection of `items` items.
fn no_memory<T>(items: usize) -> Error {
    Error::Allocation { bytes: items.saturating_mul(size_of::<T>()) }
}

/// As [`Iterator::collect`] into a [`Vec`], with fallible allocation.
///
/// # Errors
/// The first error among them; [`Error::Allocation`].
pub fn collected<T, E: From<Error>>(
    items: impl IntoIterator<Item = Result<T, E>>,
) -> Result<Vec<T>, E> {
    let mut all = Vec::new();
    for item in items {
        all.make_room(1)?;
        all.push(item?);
    }
    Ok(all)
}

/// An empty list with space for `len` items.
///
/// # Errors
/// [`Error::Allocation`].
pub fn list_of<T>(len: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.make_room(len)?;
    Ok(list)
}

/// The items in a list. A list of a batch's rows can be too large for the reserve, which only helps
/// small allocations: see [`spare`].
///
/// # Errors
/// [`Error::Allocation`].
pub fn listed<T>(items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut list = list_of(items.len())?;
    list.extend(items);
    Ok(list)
}

/// A copy of a slice, with fallible allocation.
///
/// # Errors
/// [`Error::Allocation`].
pub fn copied<T: Copy>(items: &[T]) -> Result<Vec<T>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(items.len()).map_err(|_| no_memory::<T>(items.len()))?;
    copy.extend_from_slice(items);
    Ok(copy)
}

impl<T> Room for Vec<T> {
    fn make_room(&mut self, more: usize) -> Result<()> {
        spare::make_room(self, more)
    }
}

impl<T> Room for VecDeque<T> {
    fn make_room(&mut self, more: usize) -> Result<()> {
        spare::check()?;
        self.try_reserve(more).map_err(|_| no_memory::<T>(self.len().saturating_add(more)))
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Room for HashMap<K, V, S> {
    fn make_room(&mut self, more: usize) -> Result<()> {
        spare::check()?;
        self.try_reserve(more).map_err(|_| no_memory::<(K, V)>(self.len().saturating_add(more)))
    }
}

impl<T: Eq + Hash, S: BuildHasher> Room for HashSet<T, S> {
    fn make_room(&mut self, more: usize) -> Result<()> {
        spare::check()?;
        self.try_reserve(more).map_err(|_| no_memory::<T>(self.len().saturating_add(more)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_holds_is_an_error() {
        let most = isize::MAX.unsigned_abs();
        assert!(matches!(Vec::<u64>::new().make_room(most), Err(Error::Allocation { .. })));
        assert!(matches!(VecDeque::<u64>::new().make_room(most), Err(Error::Allocation { .. })));
        assert!(matches!(HashSet::<u64>::new().make_room(most), Err(Error::Allocation { .. })));
        assert!(Vec::<u64>::new().make_room(8).is_ok());
    }
}
