//! What kind of error a program handles.

/// The kind of an error: what a program does about it.
///
/// Each code belongs to one kind. The Python classes of errors follow it, and so do the exit
/// statuses of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Values that the target dtype cannot hold.
    Overflow,
    /// An argument with an impossible value.
    Argument,
    /// An argument of a kind that has no meaning here.
    Type,
    /// Memory that cannot be shared as requested.
    NotShareable,
    /// An index outside a tensor.
    Index,
    /// Memory that is not available.
    Allocation,
    /// An operation that the current state does not permit.
    Precondition,
    /// A plan with too many stages.
    PlanTooDeep,
    /// A file that does not hold what it should.
    FileFormat,
    /// A file operation that the operating system refused.
    Io,
    /// A failed function of the caller.
    Function,
    /// Cancelled or interrupted work.
    Interrupted,
}

impl ErrorKind {
    /// Its name in lower case, with underscores: `"file_format"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Argument => "argument",
            Self::Type => "type",
            Self::NotShareable => "not_shareable",
            Self::Index => "index",
            Self::Allocation => "allocation",
            Self::Precondition => "precondition",
            Self::PlanTooDeep => "plan_too_deep",
            Self::FileFormat => "file_format",
            Self::Io => "io",
            Self::Function => "function",
            Self::Interrupted => "interrupted",
        }
    }
}
