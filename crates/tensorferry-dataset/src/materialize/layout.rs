//! A saved dataset: a directory of `.npy` files that NumPy reads too, and `dataset.json`, which
//! says what they are.
//!
//! ```json
//! {"format": "tensorferry.dataset", "version": 1, "cardinality": 1000, "structure": null,
//!  "components": [{"dtype": "uint8", "shape": [28, 28]}, {"dtype": "int32", "shape": [null]}]}
//! ```
//!
//! Component `0` lies in `0.npy`, element after element. Where `shape` does not say all, `0.npy`
//! has one dimension, and two more files say where each element lies in it: `0.shapes.npy` has the
//! dimensions of all elements, one after another, and element `i` starts in `0.npy` and in
//! `0.shapes.npy` where row `i` of `0.starts.npy` says; its last row says where the last element
//! ends. `structure` is how the components nest, as the saving program describes it. bfloat16, for
//! which NumPy has no code, is stored as uint16.
//!
//! # Limitations
//! The files carry no checksums: damage to their elements is not noticed, damage to all that says
//! where these are is.

use std::path::{Path, PathBuf};
use tensorferry_core::DType;

/// What errors call it.
pub(crate) const FORMAT: &str = "dataset";

/// The file that makes a directory a dataset.
pub(crate) const MANIFEST: &str = "dataset.json";

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

    pub(crate) fn path(self, directory: &Path, component: usize) -> PathBuf {
        directory.join(format!("{component}{}", self.suffix()))
    }

    /// Whether a file of that name may be part of a dataset.
    pub(crate) fn is_name(name: &str) -> bool {
        let number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        name == MANIFEST
            || Self::ALL.iter().any(|part| name.strip_suffix(part.suffix()).is_some_and(number))
    }
}

/// The dtype in which a `.npy` file holds the values of another.
pub(crate) fn npy_dtype(dtype: DType) -> DType {
    if dtype == DType::BFloat16 { DType::UInt16 } else { dtype }
}
