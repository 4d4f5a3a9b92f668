//! The dtype of a list without one: what TensorFlow makes of it.

use tensorferry::{DType, Kind as DTypeKind};

/// What a number in a list is to TensorFlow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    /// NumPy's bool, which TensorFlow takes for no number, as it does Python's.
    NumpyBool,
    Int,
    Half,
    Brain,
    Single,
    Double,
    Complex,
}

impl Kind {
    /// Of the elements of an array.
    pub(crate) fn of(dtype: DType) -> Self {
        match (dtype, dtype.kind()) {
            (_, DTypeKind::Bool) => Self::NumpyBool,
            (_, DTypeKind::Signed | DTypeKind::Unsigned) => Self::Int,
            (_, DTypeKind::Complex) => Self::Complex,
            (DType::Float16, _) => Self::Half,
            (DType::BFloat16, _) => Self::Brain,
            (DType::Float64, _) => Self::Double,
            _ => Self::Single,
        }
    }
}

/// Whose dtype a list without one gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// That of `tf.convert_to_tensor`: the dtypes of NumPy's arrays are lost, as those of its
    /// scalars.
    Eager,
    /// That of tf.data: arrays of one dtype keep it.
    Data,
    /// That of a list in what a function returned: arrays and NumPy's scalars have to be of one
    /// dtype, and keep it.
    Result,
    /// As `Data`, but Python's own numbers get the dtypes that hold them: those of doors that
    /// TensorFlow does not have.
    Own,
}

/// What a list is known to be, after some of its leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inference {
    /// The kind that the leaves so far are of together; the inner `None` if they do not go
    /// together.
    kind: Option<Option<Kind>>,
    /// The dtypes that arrays bring along, in the order of their first.
    arrays: Vec<DType>,
    /// The same, of those that are tensors: a framework's, a `Tensor`, or anything else that is not
    /// an ndarray.
    tensors: Vec<DType>,
    /// The dtypes of NumPy's scalars.
    scalars: Vec<DType>,
    /// Whether there is a leaf that is no array.
    others: bool,
    /// The widest kind of Python's own numbers: bool, integer, float, complex.
    widest: Option<DType>,
}

/// What the leaves of a list are together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inferred {
    Dtype(DType),
    /// Python's numbers, in the dtype that holds them: of integers uint64 if they are too large for
    /// int64.
    Exact(DType),
    /// Integers: int32 if all fit, else int64.
    Integers,
    /// Numbers that do not go together, such as bools and integers.
    Mixed,
    /// Tensors of several dtypes.
    Several(Vec<DType>),
}

impl Inference {
    /// A number, of a dtype if it is NumPy's.
    pub(crate) fn scalar(&mut self, kind: Kind, dtype: Option<DType>) {
        self.others = true;
        self.observe(kind);
        let Some(dtype) = dtype else {
            let own = match kind {
                Kind::Bool | Kind::NumpyBool => DType::Bool,
                Kind::Int => DType::Int64,
                Kind::Complex => DType::Complex128,
                Kind::Half | Kind::Brain | Kind::Single | Kind::Double => DType::Float64,
            };
            self.widest = self.widest.max(Some(own));
            return;
        };
        if !self.scalars.contains(&dtype) {
            self.scalars.push(dtype);
        }
    }

    /// Elements of an array without a dtype of its own: a buffer.
    pub(crate) fn buffer(&mut self, dtype: DType, empty: bool) {
        self.others = true;
        if !empty {
            self.observe(if dtype == DType::Float64 { Kind::Single } else { Kind::of(dtype) });
        }
    }

    pub(crate) fn array(&mut self, dtype: DType, empty: bool, tensor: bool) {
        for (counts, seen) in [(true, &mut self.arrays), (tensor, &mut self.tensors)] {
            if counts && !seen.contains(&dtype) {
                seen.push(dtype);
            }
        }
        if !empty {
            self.observe(Kind::of(dtype));
        }
    }

    fn observe(&mut self, kind: Kind) {
        use Kind::{Bool, Brain, Complex, Double, Half, Int, NumpyBool, Single};
        self.kind = Some(match (self.kind, kind) {
            (None, kind) => Some(kind),
            (Some(None), _) => None,
            (Some(Some(Bool | NumpyBool)), Bool | NumpyBool) => Some(Bool),
            (Some(Some(Bool | NumpyBool)), _) | (Some(_), NumpyBool) => None,
            (Some(Some(Complex)), _) => Some(Complex),
            (Some(_), Complex) => None,
            (Some(Some(Int)), Half | Brain | Single | Double) => Some(Single),
            (Some(kind), _) => kind,
        });
    }

    /// The dtype by a rule.
    pub(crate) fn inferred(&self, rule: Rule) -> Inferred {
        let mut fixed = self.tensors.clone();
        if rule == Rule::Result {
            fixed.clone_from(&self.arrays);
            fixed.extend(self.scalars.iter().filter(|dtype| !self.arrays.contains(dtype)));
        }
        match fixed.as_slice() {
            [] => {}
            [dtype] => return Inferred::Dtype(*dtype),
            several => return Inferred::Several(several.to_vec()),
        }
        let plain = self.scalars.is_empty() && self.arrays.is_empty();
        match (rule, self.others, self.arrays.as_slice()) {
            (Rule::Data | Rule::Own, false, [dtype]) => return Inferred::Dtype(*dtype),
            (Rule::Own, ..) if plain => {
                return self.widest.map_or(Inferred::Dtype(DType::Float64), Inferred::Exact);
            }
            _ => {}
        }
        match self.kind {
            Some(None) => Inferred::Mixed,
            Some(Some(Kind::Int)) => Inferred::Integers,
            Some(Some(Kind::Bool | Kind::NumpyBool)) => Inferred::Dtype(DType::Bool),
            Some(Some(Kind::Half)) => Inferred::Dtype(DType::Float16),
            Some(Some(Kind::Brain)) => Inferred::Dtype(DType::BFloat16),
            Some(Some(Kind::Double)) => Inferred::Dtype(DType::Float64),
            Some(Some(Kind::Complex)) => Inferred::Dtype(DType::Complex128),
            Some(Some(Kind::Single)) | None => Inferred::Dtype(DType::Float32),
        }
    }
}
