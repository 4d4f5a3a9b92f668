//! What happens to a value that the target dtype cannot hold.

use crate::{DType, Kind};
use core::fmt;
use core::str::FromStr;

/// What happens to a value that the target dtype cannot hold.
///
/// | casting | integer -> integer | float -> integer | integer -> float | float -> narrower float |
/// |---|---|---|---|---|
/// | `Checked` | error if out of range | error if not finite, not integral, or out of range | error if not exact | nearest; error if a finite value becomes infinite |
/// | `Saturate` | clamp | truncate, clamp, NaN -> 0 | nearest | nearest |
/// | `Wrap` | two's complement | error: not defined | nearest | nearest |
///
/// bool -> number is 0 or 1. number -> bool is checked to be 0 or 1; under `Saturate` and `Wrap`
/// non-zero is true. complex -> anything real is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Casting {
    /// An error that names the first misfit.
    #[default]
    Checked,
    /// The nearest value the target holds.
    Saturate,
    /// Two's complement: what NumPy's `astype` and TensorFlow do to integers.
    Wrap,
}

impl Casting {
    /// Every casting.
    pub const ALL: [Self; 3] = [Self::Checked, Self::Saturate, Self::Wrap];

    /// Whether values of `from` have a meaning in `to` at all under this casting.
    #[must_use]
    pub fn is_defined(self, from: DType, to: DType) -> bool {
        match (from.kind(), to.kind()) {
            (Kind::Complex, to) => to == Kind::Complex,
            (Kind::Float, Kind::Signed | Kind::Unsigned) => self != Self::Wrap,
            _ => true,
        }
    }

    /// The name: `"checked"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Saturate => "saturate",
            Self::Wrap => "wrap",
        }
    }
}

impl fmt::Display for Casting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A casting name that is none of `"checked"`, `"saturate"`, `"wrap"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCasting;

impl fmt::Display for UnknownCasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("casting is \"checked\", \"saturate\" or \"wrap\"")
    }
}

impl core::error::Error for UnknownCasting {}

impl FromStr for Casting {
    type Err = UnknownCasting;

    fn from_str(name: &str) -> Result<Self, UnknownCasting> {
        Self::ALL.into_iter().find(|casting| casting.name() == name).ok_or(UnknownCasting)
    }
}
