//! Inferring the dtype of a list, as TensorFlow does.

use tensorferry::{DType, Kind as DTypeKind};

/// The kind of a number in a list, for TensorFlow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    /// NumPy's bool, which does not count as a number, like Python's.
    NumpyBool,
    Int,
    Half,
    Brain,
    Single,
    Double,
    Complex,
}

impl Kind {
    /// The kind of an array's elements.
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

/// The rule for the dtype of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `tf.convert_to_tensor`: ignores the dtypes of NumPy's arrays and scalars.
    Eager,
    /// tf.data: arrays of one dtype keep it.
    Data,
    /// A list in a function's result: arrays and NumPy scalars have to have one dtype, and keep it.
    Result,
    /// As `Data`, but Python numbers get dtypes that hold them: for functions that TensorFlow does
    /// not have.
    Own,
}

/// The state of inference after some leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inference {
    /// The common kind of the leaves so far; the inner `None` if they have none.
    kind: Option<Option<Kind>>,
    /// The dtypes of arrays, in the order of first use.
    arrays: Vec<DType>,
    /// The dtypes of tensors: a framework's, a `Tensor`, or any array that is not an ndarray.
    tensors: Vec<DType>,
    /// The dtypes of NumPy's scalars.
    scalars: Vec<DType>,
    /// Whether a leaf is not an array.
    others: bool,
    /// Whether one of the lists is empty.
    empty_lists: bool,
    /// The widest kind of Python numbers: bool, integer, float, complex.
    widest: Option<DType>,
}

/// The result of inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inferred {
    Dtype(DType),
    /// Python numbers, in a dtype that holds them; integers too large for int64 become uint64.
    Exact(DType),
    /// Integers: int32 if all fit, else int64.
    Integers,
    /// Numbers without a common kind, such as bools and integers.
    Mixed,
    /// Tensors of several dtypes.
    Several(Vec<DType>),
}

impl Inference {
    /// Adds a number, with a dtype if it is NumPy's.
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

    /// Adds the elements of a buffer, which has no dtype of its own.
    pub(crate) fn buffer(&mut self, dtype: DType, empty: bool) {
        self.others = true;
        if !empty {
            self.observe(if dtype == DType::Float64 { Kind::Single } else { Kind::of(dtype) });
        }
    }

    /// Adds a list without leaves.
    pub(crate) fn empty_list(&mut self) {
        self.empty_lists = true;
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
            (Rule::Own, false, [dtype]) => return Inferred::Dtype(*dtype),
            // tf.data converts lists as a whole unless all parts are arrays.
            (Rule::Data, false, [dtype]) if !self.empty_lists => return Inferred::Dtype(*dtype),
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
