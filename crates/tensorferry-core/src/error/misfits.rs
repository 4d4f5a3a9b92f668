//! The values that a conversion could not carry over.

use crate::{Casting, DType, Dims};
use core::fmt;

/// One value of a tensor, as an error or a summary shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Bool(bool),
    Int(i128),
    Float32(f32),
    Float64(f64),
    Complex(f64, f64),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bool(value) => f.write_str(if value { "True" } else { "False" }),
            Self::Int(value) => value.fmt(f),
            // Debug writes 1e300 and 1.0 where Display writes three hundred digits and "1".
            Self::Float32(value) => write!(f, "{value:?}"),
            Self::Float64(value) => write!(f, "{value:?}"),
            Self::Complex(re, im) => write!(f, "({re:?}{im:+?}j)"),
        }
    }
}

/// The values that a checked conversion could not carry over.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfits {
    /// The source's dtype.
    pub from: DType,
    /// The target's dtype.
    pub to: DType,
    /// How many values do not fit.
    pub count: usize,
    /// How many values there are; 0 if they were not counted, because not all were looked at.
    pub total: usize,
    /// Index of the first that does not fit, in row-major order.
    pub index: Dims,
    /// Its value.
    pub value: Scalar,
}

impl Misfits {
    /// What happened, without what to do about it: dtypes, counts, the first value and the range of
    /// the target.
    #[must_use]
    pub fn fact(&self) -> impl fmt::Display + '_ {
        struct Fact<'a>(&'a Misfits);
        impl fmt::Display for Fact<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_fact(f)
            }
        }
        Fact(self)
    }

    /// The castings under which the conversion succeeds.
    #[must_use]
    pub fn possible_castings(&self) -> &'static [Casting] {
        match Casting::Wrap.is_defined(self.from, self.to) {
            true => &[Casting::Saturate, Casting::Wrap],
            false => &[Casting::Saturate],
        }
    }

    fn write_fact(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, count, total, index, value } = self;
        let (verb, values) = match (count, total) {
            (1, 1) => ("does", "value"),
            (1, _) => ("does", "values"),
            _ => ("do", "values"),
        };
        match total {
            0 => write!(f, "{from} -> {to}: not all values fit ")?,
            _ => write!(f, "{from} -> {to}: {count} of {total} {values} {verb} not fit ")?,
        }
        write!(f, "(first: {:?} = {value}; {to} holds ", index.as_slice())?;
        match (to.integer_range(), to.part().exact_integers()) {
            (Some((0, 1)), _) => f.write_str("0 and 1")?,
            (Some((low, high)), _) => write!(f, "{low}..{high}")?,
            (None, Some(exact)) if from.is_integer() => {
                write!(f, "every integer from -{exact} to {exact}, not all beyond")?
            }
            _ => write!(f, "finite values up to {}", greatest_finite(*to))?,
        }
        f.write_str(").")
    }
}

fn greatest_finite(dtype: DType) -> &'static str {
    match dtype {
        DType::Float16 => "65504",
        DType::BFloat16 => "3.39e38",
        DType::Float32 | DType::Complex64 => "3.4028235e38",
        _ => "1.7976931348623157e308",
    }
}
