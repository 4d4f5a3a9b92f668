//! [`Packing`]: what windows of packed rows are made of.

use crate::error::{Error, Result};
use crate::request::Columns;
use crate::spec;
use crate::spec::Component;
use crate::stage::{Context, Dataset};
use crate::transforms::pack::fragments::{
    Fragment, Window, write_ends, write_positions, write_segments,
};
use crate::transforms::pack::window_index::WindowIndex;
use tensorferry_core::{DType, Shape, Tensor, TensorSpec};
use tensorferry_io::gather::rows_out::{RowsOut, packed};

/// Which rows share a window in [`Dataset::pack`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackStrategy {
    /// Rows follow one another without a gap. A row is cut where a window is full.
    #[default]
    Concat,
    /// A row is cut only if it is longer than a window. The rest of a window is filled with the
    /// end-of-sequence token or 0.
    BestFit,
}

/// How [`Dataset::pack`] forms windows.
#[derive(Clone, Debug, Default)]
pub struct PackOptions {
    /// Which rows share a window.
    pub strategy: PackStrategy,
    /// A scalar of the tokens' dtype that is appended to each row.
    pub eos: Option<Tensor>,
    /// Whether to drop the last window of [`PackStrategy::Concat`] if it is not full.
    pub drop_remainder: bool,
}

/// Rows whose windows are indexed anew in each epoch. More are packed in order: looking up their
/// lengths would delay the first window by more than a second.
const MOST_ROWS: u64 = 1 << 24;
/// Rows whose windows are planned in advance, where they fit best. Planning takes longer.
const MOST_FITTED_ROWS: u64 = 1 << 22;

/// What the stage and its iterators share.
pub(crate) struct Packing {
    pub(crate) input: Dataset,
    pub(crate) window: Window,
    pub(crate) options: PackOptions,
    /// Bytes of a token of each component.
    sizes: Vec<usize>,
    pub(crate) eos: Option<Vec<u8>>,
    /// Whether lengths are known before rows are read.
    pub(crate) measured: bool,
    pub(crate) spec: Vec<Component>,
}

fn wrong(what: String) -> Error {
    Error::Argument { stage: "pack", what }
}

impl Packing {
    pub(crate) fn new(input: &Dataset, length: usize, options: PackOptions) -> Result<Self> {
        if length == 0 || i32::try_from(length).is_err() {
            return Err(wrong(format!("length={length} has to be from 1 to {}", i32::MAX)));
        }
        let parts = spec::tensors(input.spec(), "pack")?;
        let mut spec = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if part.shape.dims().is_none_or(|dims| dims.len() != 1) {
                let what = format!("{part} is not a row of tokens, which has one dimension");
                return Err(input.misfit(at, wrong(what)));
            }
            spec.push(Component::Tensor(TensorSpec::new(part.dtype, Shape::fixed(&[length]))));
        }
        if parts.is_empty() {
            return Err(wrong("elements have no components".into()));
        }
        let eos = match &options.eos {
            Some(_) if parts.len() > 1 => {
                let what = "an end-of-sequence token is for rows of one component. Append it to \
                    the rows.";
                return Err(wrong(what.into()));
            }
            Some(eos) => Some(token(eos, parts[0].dtype)?),
            None => None,
        };
        if options.drop_remainder && options.strategy == PackStrategy::BestFit {
            return Err(wrong("drop_remainder is for the strategy \"concat\"".into()));
        }
        let numbers = TensorSpec::new(DType::Int32, Shape::fixed(&[length]));
        spec.extend([Component::Tensor(numbers.clone()), Component::Tensor(numbers)]);
        Ok(Self {
            input: input.clone(),
            window: Window { length, eos: eos.is_some() },
            sizes: parts.iter().map(|part| part.dtype.size()).collect(),
            measured: (0..parts.len()).all(|at| input.is_measured(at)),
            options,
            eos,
            spec,
        })
    }

    /// The number of rows, if windows have an index: every epoch has the same rows, and as many
    /// windows, and an index takes little time.
    pub(crate) fn indexed_rows(&self) -> Option<u64> {
        let hints = &self.input.hints;
        let most = match self.options.strategy {
            PackStrategy::BestFit if hints.depends_on_epoch => return None,
            PackStrategy::BestFit => MOST_FITTED_ROWS,
            PackStrategy::Concat if hints.depends_on_epoch => MOST_ROWS,
            PackStrategy::Concat => u64::MAX,
        };
        let usable = self.measured && !hints.elements_differ;
        self.input.cardinality().finite().filter(|rows| usable && *rows <= most)
    }

    /// The index of the windows of an epoch.
    pub(crate) fn index(&self, rows: u64, cx: &Context) -> Result<WindowIndex> {
        WindowIndex::new(&self.input, rows, self.window, cx)
            .map_err(|error| self.input.explain(error))
    }

    /// Writes components of windows. A window begins at the slot beside it, which counts tokens.
    /// `tokens` writes the tokens of a component.
    pub(crate) fn write(
        &self,
        columns: Columns<'_>,
        windows: &[(usize, &[Fragment])],
        out: &mut [RowsOut<'_>],
        tokens: impl Fn(usize, &mut RowsOut<'_>) -> Result<()>,
    ) -> Result<()> {
        for (at, rows) in columns.indices(out.len()).zip(out.iter_mut()) {
            let size = self.sizes.get(at).copied();
            if let Some(row) = size {
                tokens(at, &mut RowsOut { bytes: rows.bytes, row })?;
            }
            for (first, fragments) in windows {
                let window = rows.slot(first / self.window.length);
                match size {
                    Some(size) => write_ends(fragments, self.eos.as_deref(), size, window),
                    None if at == self.sizes.len() => write_segments(fragments, window),
                    None => write_positions(fragments, window),
                }
            }
        }
        Ok(())
    }
}

/// The bytes of an end-of-sequence token.
fn token(eos: &Tensor, dtype: DType) -> Result<Vec<u8>> {
    if eos.dtype() != dtype || eos.layout().ndim() != 0 {
        let given = format!("{}{:?}", eos.dtype(), eos.shape());
        let what = format!("pack: eos is {given}, where it has to be {dtype}[]");
        return Err(Error::ElementMismatch { what });
    }
    let eos = packed(eos)?;
    Ok(eos.as_view().as_bytes().unwrap_or_default().to_vec())
}
