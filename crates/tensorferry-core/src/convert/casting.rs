//! [`Casting`]: the rules for values that the target dtype cannot hold.

use crate::{DType, Kind};
use core::fmt;
use core::str::FromStr;

/// The treatment of values that the target dtype cannot hold.
///
/// | conversion | `Checked` | `Saturate` | `Wrap` |
/// |---|---|---|---|
/// | integer -> integer | error if out of range | clamp | two's complement |
/// | float -> integer | error if not whole or out of range | truncate, clamp, NaN -> 0 | error |
/// | integer -> float | error if not exact | nearest | nearest |
/// | float -> narrower float | nearest; error if finite becomes infinite | nearest | nearest |
///
/// bool -> number is 0 or 1. number -> bool is checked to be 0 or 1; with `Saturate` and `Wrap`,
/// non-zero is true. complex -> real is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Casting {
    /// An error that names the first value that does not fit.
    #[default]
    Checked,
    /// The nearest value that the target holds.
    Saturate,
    /// Two's complement, like NumPy's `astype` and TensorFlow's `cast` of integers.
    Wrap,
}

impl Casting {
    /// All castings.
    pub const ALL: [Self; 3] = [Self::Checked, Self::Saturate, Self::Wrap];

    /// Whether this casting defines the conversion of values of `from` to `to`.
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

/// The error for a name other than `"checked"`, `"saturate"` and `"wrap"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCasting;

impl fmt::Display for UnknownCasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown casting. Pass \"checked\", \"saturate\" or \"wrap\".")
    }
}

impl core::error::Error for UnknownCasting {}

impl FromStr for Casting {
    type Err = UnknownCasting;

    fn from_str(name: &str) -> Result<Self, UnknownCasting> {
        Self::ALL.into_iter().find(|casting| casting.name() == name).ok_or(UnknownCasting)
    }
}
