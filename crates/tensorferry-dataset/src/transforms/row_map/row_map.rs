//! The [`RowMap`] trait, which a native map implements.
//!
//! # Rationale
//! A map computes a component's shape and bytes. Its stage does the rest once for all maps: each
//! map of a chain asks its input for a chunk that fits in the cache, unchanged components are
//! gathered directly into the caller's rows, and an error names the first element that fails.

use crate::checkpoint::change::Change;
use crate::error::{Error, Hint, Result};
use crate::shuffle::prng::Seed;
use crate::spec::Component;
use crate::stage::{Dataset, Element, Epoch};
use tensorferry_core::{Dims, TensorSpec};
use tensorferry_io::cancel::CancelToken;

/// Rows of one component to map: packed, in native byte order, of one shape.
pub(crate) struct Block<'a> {
    /// Index of each row's element.
    pub(crate) indices: &'a [u64],
    /// Epoch of the elements.
    pub(crate) epoch: Epoch,
    /// Shape of an input row.
    pub(crate) shape: &'a [usize],
    /// Input rows.
    pub(crate) rows: &'a [u8],
    /// Output rows.
    pub(crate) out: &'a mut [u8],
    /// Checked while large rows are written.
    pub(crate) cancel: &'a CancelToken,
}

impl<'a> Block<'a> {
    /// The index, input row and output row of each element.
    pub(crate) fn each(self) -> impl Iterator<Item = (u64, &'a [u8], &'a mut [u8])> {
        let Self { indices, rows, out, .. } = self;
        let count = indices.len().max(1);
        let (row, width) = (rows.len() / count, out.len() / count);
        indices.iter().enumerate().zip(Chunks { rest: out, width }).map(
            move |((at, index), out)| {
                let row = &rows[at * row..(at + 1) * row];
                (*index, row, out)
            },
        )
    }
}

/// Like `chunks_exact_mut`, but chunks may be empty, such as rows of shape `[0]`.
struct Chunks<'a> {
    rest: &'a mut [u8],
    width: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a mut [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = std::mem::take(&mut self.rest).split_at_mut_checked(self.width)?;
        self.rest = rest;
        Some(head)
    }
}

/// A map of single components. The result follows from the component's value, the element's index
/// and the epoch.
pub(crate) trait RowMap: Send + Sync + 'static {
    /// The method's name.
    fn stage(&self) -> &'static str;

    /// As [`Stage::describe`].
    fn describe(&self) -> String;

    /// The same map over another input.
    ///
    /// # Errors
    /// As when it was made.
    fn rebuild(&self, input: &Dataset, change: &mut Change) -> Result<Dataset>;

    /// The seed of a random map.
    fn seed(&self) -> Option<&Seed> {
        None
    }

    /// Whether the result depends on the epoch.
    fn depends_on_epoch(&self) -> bool {
        false
    }

    /// Checks that the components of an element match, if that was unknown when the map was made.
    ///
    /// # Errors
    /// If they do not match.
    fn check(&self, _element: &Element) -> Result<()> {
        Ok(())
    }

    /// Whether each value along the first of `ndim` dimensions of component `at` is mapped alone.
    /// Then a row keeps its length, and a part of it can be mapped.
    fn keeps_length(&self, _at: usize, _ndim: usize) -> bool {
        false
    }

    /// The output shape of component `at` for an input of shape `row`.
    ///
    /// # Errors
    /// If the map does not accept the shape, and it was unknown when the map was made.
    fn shape(&self, at: usize, row: &[usize]) -> Result<Dims>;

    /// Maps rows of component `at`. After an error the output is unspecified. The caller finds the
    /// element by calling again with single rows.
    ///
    /// # Errors
    /// If a value cannot be mapped.
    fn apply(&self, at: usize, block: Block<'_>) -> Result<()>;
}

/// Why a map does not accept a component.
#[derive(Debug)]
pub(crate) struct Obstacle {
    what: String,
    /// Whether the way out is to leave the component out.
    optional: bool,
}

impl Obstacle {
    /// An obstacle that is avoided by leaving the component out.
    pub(crate) fn optional(what: impl Into<String>) -> Self {
        Self { what: what.into(), optional: true }
    }

    /// The error of an element.
    pub(crate) fn mismatch(self) -> Error {
        self.error(|what| Error::ElementMismatch { what })
    }

    /// The error that `wrong` makes of it, with the way out.
    fn error(self, wrong: impl FnOnce(String) -> Error) -> Error {
        let error = wrong(self.what);
        if self.optional { error.with_hint(Hint::LeaveOut) } else { error }
    }
}

impl From<String> for Obstacle {
    fn from(what: String) -> Self {
        Self { what, optional: false }
    }
}

/// The error for a component of a shape that the map does not accept.
pub(crate) fn misfit(at: usize, shape: &[usize], obstacle: Obstacle) -> Error {
    obstacle.mismatch().about_component(at, format!(", of shape {shape:?}: "))
}

/// The output specification of each component, or `None` if it does not change. `which` selects the
/// components to change; without it, `default` does.
///
/// # Errors
/// [`Error::Argument`] if the length of `which` differs from the number of components, or if a
/// component to change is a dataset; those of `change`.
pub(crate) fn select(
    input: &Dataset,
    stage: &'static str,
    which: Option<&[bool]>,
    default: impl Fn(&TensorSpec) -> Result<bool>,
    mut change: impl FnMut(&TensorSpec) -> Result<TensorSpec, Obstacle>,
) -> Result<Vec<Option<TensorSpec>>> {
    select_at(input, stage, which, default, |_, spec| change(spec))
}

/// As [`select`]; `change` also gets the number of the component.
///
/// # Errors
/// As [`select`].
pub(crate) fn select_at(
    input: &Dataset,
    stage: &'static str,
    which: Option<&[bool]>,
    default: impl Fn(&TensorSpec) -> Result<bool>,
    mut change: impl FnMut(usize, &TensorSpec) -> Result<TensorSpec, Obstacle>,
) -> Result<Vec<Option<TensorSpec>>> {
    let wrong = |what: String| Error::Argument { stage, what };
    let parts = input.spec();
    if let Some(which) = which
        && which.len() != parts.len()
    {
        return Err(wrong(format!(
            "which selects from {} components; elements have {}",
            which.len(),
            parts.len()
        )));
    }
    let mut changes = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let chosen = match (which, part) {
            (Some(which), _) => which[at],
            (None, Component::Tensor(spec)) => default(spec)?,
            (None, Component::Dataset(_)) => true,
        };
        changes.push(match part {
            _ if !chosen => None,
            Component::Tensor(spec) => {
                let about = |obstacle: Obstacle| {
                    let error = obstacle.error(wrong);
                    input.explain(error.about_component(at, format!(" ({spec}): ")))
                };
                Some(change(at, spec).map_err(about)?)
            }
            Component::Dataset(_) => {
                let error =
                    wrong("is a dataset, not a tensor.".into()).with_hint(Hint::FlattenWindows);
                return Err(input.explain(error.about_component(at, " ".into())));
            }
        });
    }
    Ok(changes)
}

/// The selected components in a description: `, which=[0, 2]`; empty without a selection.
pub(crate) fn chosen(which: Option<&[bool]>) -> String {
    let Some(which) = which else { return String::new() };
    let at: Vec<usize> =
        which.iter().enumerate().filter_map(|(at, chosen)| chosen.then_some(at)).collect();
    format!(", which={at:?}")
}
