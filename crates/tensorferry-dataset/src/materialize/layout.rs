//! The layout of a saved dataset: a directory of `.npy` files, which NumPy can read, and
//! `dataset.json`, which describes them.
//!
//! ```json
//! {"format": "tensorferry.dataset", "version": 1, "cardinality": 1000, "structure": null,
//!  "components": [{"dtype": "uint8", "shape": [28, 28]}, {"dtype": "int32", "shape": [null]}]}
//! ```
//!
//! `0.npy` holds component `0`, with the elements stacked. If its `shape` is not fully known,
//! `0.npy` has one dimension, and two more files locate the elements in it. `0.shapes.npy` holds
//! the dimensions of all elements, concatenated. Row `i` of `0.starts.npy` is the start of element
//! `i` in `0.npy` and in `0.shapes.npy`; its last row is the end of the last element. `structure`
//! says how the components nest, as the saving program describes it. bfloat16, for which NumPy has
//! no code, is stored as uint16.
//!
//! A dataset that several processes wrote has version 2, and one field more:
//! `"parts": [["00000-1f", 600], ["00001-2e", 400]]`, names and numbers of rows, in order.
//! Component `0` of the first part is `0-00000-1f.npy`. Shapes are fully known, or `[null]`: then
//! the values of all elements of the part are concatenated, and `0-00000-1f.splits.npy` holds the
//! start of each and the end of the last.
//!
//! In an object store, the `.npy` files are in a folder beside `dataset.json`, which has one field
//! more for its name: `"folder": "data-3f1c0a9e5b7d2468"`.
//!
//! # Limitations
//! The files have no checksums. Locations are checked for consistency; damaged elements are not
//! noticed.

use tensorferry_core::{DType, TensorSpec};

/// The name of the format in errors.
pub(crate) const FORMAT: &str = "dataset";

/// The file that marks a directory as a saved dataset.
pub(crate) const MANIFEST: &str = "dataset.json";

/// The end of the name of a file of starts, of a part.
const SPLITS: &str = ".splits.npy";

/// The files of a component.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Values,
    Shapes,
    Starts,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Values, Self::Shapes, Self::Starts];

    fn suffix(self) -> &'static str {
        match self {
            Self::Values => ".npy",
            Self::Shapes => ".shapes.npy",
            Self::Starts => ".starts.npy",
        }
    }

    /// The name of the file.
    pub(crate) fn name(self, component: usize) -> String {
        format!("{component}{}", self.suffix())
    }

    /// The name of the file that holds a component of some rows.
    pub(crate) fn of_rows(component: usize, part: &str) -> String {
        format!("{component}-{part}{}", Self::Values.suffix())
    }

    /// The name of the file that holds where each of these rows starts, if they vary in length.
    pub(crate) fn splits_of_rows(component: usize, part: &str) -> String {
        format!("{component}-{part}{SPLITS}")
    }

    /// Whether a file of that name may be part of a dataset.
    pub(crate) fn is_name(name: &str) -> bool {
        let number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let of_rows = |text: &str| {
            text.split_once('-').is_some_and(|(at, part)| number(at) && is_part_name(part))
        };
        name == MANIFEST
            || Self::ALL.iter().any(|part| name.strip_suffix(part.suffix()).is_some_and(number))
            || [SPLITS, Self::Values.suffix()]
                .iter()
                .any(|suffix| name.strip_suffix(suffix).is_some_and(of_rows))
    }
}

/// Whether a part of a dataset may have that name.
pub(crate) fn is_part_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether the elements of a component have one dimension of any length, as strings have: the only
/// ones that vary in parts.
pub(crate) fn is_flat(spec: &TensorSpec) -> bool {
    spec.shape.dims().is_some_and(|dims| dims == [None])
}

/// The dtype in which a `.npy` file stores values of `dtype`.
pub(crate) fn npy_dtype(dtype: DType) -> DType {
    if dtype == DType::BFloat16 { DType::UInt16 } else { dtype }
}
