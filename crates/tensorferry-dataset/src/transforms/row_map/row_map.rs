//! What all native maps share: rows are gathered a few at a time into memory that stays in the
//! cache, and changed from there into the caller's rows.
//!
//! # Rationale
//! A map is a [`RowMap`]: what becomes of a component's shape, and of its bytes. Everything else is
//! here once: chains of maps compose because each asks its input for a chunk that fits in the
//! cache; components that a map leaves alone are gathered straight into the caller's rows; and an
//! error names the first element that fails, whichever way elements were asked for.

use crate::checkpoint::change::Change;
use crate::error::{Error, Result};
use crate::shuffle::prng::Seed;
use crate::spec::Component;
use crate::stage::{Dataset, Element, Epoch};
use tensorferry_core::{Dims, TensorSpec};
use tensorferry_io::cancel::CancelToken;

/// Rows of one component on their way through a map: packed, native byte order, one shape.
pub(crate) struct Block<'a> {
    /// The element each row is of.
    pub(crate) indices: &'a [u64],
    /// The epoch the elements are of.
    pub(crate) epoch: Epoch,
    /// The shape of a row as it comes.
    pub(crate) shape: &'a [usize],
    /// The rows.
    pub(crate) rows: &'a [u8],
    /// What becomes of them.
    pub(crate) out: &'a mut [u8],
    /// Asked while what becomes of them is large.
    pub(crate) stop: &'a CancelToken,
}

impl<'a> Block<'a> {
    /// Each element's index, its row, and where it goes.
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

/// As `chunks_exact_mut`, but of chunks that may be empty: rows of shape `[0]` are rows.
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

/// A map of components, each by itself, whose result is a function of the component's value, the
/// element's index, and the epoch.
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

    /// Whether the map makes something else of an element in another epoch.
    fn depends_on_epoch(&self) -> bool {
        false
    }

    /// Whether the components of an element go together, where that could not be known when the map
    /// was made.
    ///
    /// # Errors
    /// What is wrong with the element.
    fn check(&self, _element: &Element) -> Result<()> {
        Ok(())
    }

    /// What component `at` of the shape `row` becomes.
    ///
    /// # Errors
    /// If the shape is one that the map cannot take and that could not be known when it was made.
    fn shape(&self, at: usize, row: &[usize]) -> Result<Dims>;

    /// Changes rows of component `at`. After an error the contents are unspecified; the element
    /// is named by the caller, who calls again with one row at a time.
    ///
    /// # Errors
    /// What is wrong with a value.
    fn apply(&self, at: usize, block: Block<'_>) -> Result<()>;
}

/// The error of a component of an element, of this shape, that a map cannot take.
pub(crate) fn misfit(at: usize, shape: &[usize], what: String) -> Error {
    Error::ElementMismatch { what }.about_component(at, format!(", of shape {shape:?}: "))
}

/// What the components become of which `which` says that they are to be changed, or, without it,
/// `default`.
///
/// # Errors
/// [`Error::Argument`] if `which` is of another length than the element, or if a component to be
/// changed is a dataset; those of `change`.
pub(crate) fn select(
    input: &Dataset,
    stage: &'static str,
    which: Option<&[bool]>,
    default: impl Fn(&TensorSpec) -> Result<bool>,
    mut change: impl FnMut(&TensorSpec) -> std::result::Result<TensorSpec, String>,
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
                let about =
                    |what| input.explain(wrong(what).about_component(at, format!(" ({spec}): ")));
                Some(change(spec).map_err(about)?)
            }
            Component::Dataset(_) => {
                let way_out = "Flatten it first: flat_map(lambda window: window.batch(n)).";
                return Err(input.explain(
                    wrong(format!("is a dataset, not a tensor. {way_out}"))
                        .about_component(at, " ".into()),
                ));
            }
        });
    }
    Ok(changes)
}

/// How a description names the components chosen: `, which=[0, 2]`; nothing if none were.
pub(crate) fn chosen(which: Option<&[bool]>) -> String {
    let Some(which) = which else { return String::new() };
    let at: Vec<usize> =
        which.iter().enumerate().filter_map(|(at, chosen)| chosen.then_some(at)).collect();
    format!(", which={at:?}")
}
