//! Which class of `tf.errors` an error becomes.

use std::ffi::c_int;
use std::sync::OnceLock;

/// `TF_Code` (`error_codes.proto`): which class of `tf.errors` an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub c_int);

impl Code {
    /// `tf.errors.CancelledError`.
    pub const CANCELLED: Self = Self(1);
    /// `tf.errors.UnknownError`.
    pub const UNKNOWN: Self = Self(2);
    /// `tf.errors.InvalidArgumentError`.
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// `tf.errors.NotFoundError`.
    pub const NOT_FOUND: Self = Self(5);
    /// `tf.errors.PermissionDeniedError`.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// `tf.errors.ResourceExhaustedError`.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// `tf.errors.FailedPreconditionError`.
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// `tf.errors.OutOfRangeError`, which ends a `tf.data.Dataset`. No error of an element has
    /// this code.
    pub const OUT_OF_RANGE: Self = Self(11);
    /// `tf.errors.UnimplementedError`.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// `tf.errors.DataLossError`.
    pub const DATA_LOSS: Self = Self(15);
}

/// Maps the error of a user's function to a TensorFlow code, and returns text to add to its
/// message.
pub type Classify = fn(&(dyn std::error::Error + Send + Sync + 'static)) -> (Code, String);

static CLASSIFY: OnceLock<Classify> = OnceLock::new();

/// The function that maps errors of users' functions, if one was set.
pub(crate) fn classify() -> Option<Classify> {
    CLASSIFY.get().copied()
}

/// Sets that function, once.
pub(crate) fn set_classify(classify: Classify) {
    CLASSIFY.get_or_init(|| classify);
}
