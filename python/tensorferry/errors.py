"""Exceptions.

Every exception is an :class:`Error` with a stable ``.code``, and also the builtin exception that
users of NumPy and TensorFlow expect: ``except OverflowError`` catches
:class:`ValueOverflowError`. A file that the system refuses raises a plain ``OSError``
(``FileNotFoundError``, ``PermissionError`` ...).
"""

from __future__ import annotations

from tensorferry import _internal

__all__ = [
    "CODES",
    "AllocationError",
    "Error",
    "FailedPreconditionError",
    "FileFormatError",
    "InvalidArgumentError",
    "InvalidIndexError",
    "InvalidTypeError",
    "NotShareableError",
    "PlanTooDeepError",
    "ValueOverflowError",
]

# Rust lists the codes of its own errors by kind; a class below names its kind, and the codes that
# only Python raises.
CODES: dict[str, type[Error]] = {}
"""The class of each code."""


class Error(Exception):
    """Base of tensorferry's exceptions. ``code`` names the kind of error and never changes between
    versions.
    """

    code: str = ""

    # AutoGraph raises an error of traced code anew, as the same class, only if the class inherits
    # `Exception.__init__` itself.
    __init__ = Exception.__init__

    def __init_subclass__(cls, *, kind: str = "", codes: str = "") -> None:
        ours = [code for code, its_kind in _internal.error_codes() if its_kind == kind]
        CODES.update(dict.fromkeys(ours + codes.split(), cls))


class ValueOverflowError(Error, OverflowError, ValueError, kind="overflow"):
    """Values do not fit the target dtype: out of range, not integral, not finite or not exactly
    representable.
    """

    code = "values_do_not_fit"


class InvalidArgumentError(
    Error,
    ValueError,
    kind="argument",
    codes="no_elements not_writable null_values unknown_casting",
):
    """An argument has an impossible value: shapes that differ, a dtype that tensors do not have."""

    code = "argument"


class InvalidTypeError(
    Error,
    TypeError,
    kind="type",
    codes="wrong_type masked_array not_an_index not_picklable unknown_dtype",
):
    """An argument is of a kind that has no meaning here: a masked array, complex to real."""

    code = "wrong_type"


class NotShareableError(Error, BufferError, ValueError, kind="not_shareable"):
    """Memory cannot be shared as requested: ``copy=False`` where a copy is needed, a DLPack tensor
    that cannot be imported.
    """

    code = "not_shareable"


class InvalidIndexError(Error, IndexError, kind="index"):
    """An index is outside a tensor."""

    code = "index_out_of_range"


class AllocationError(Error, MemoryError, kind="allocation"):
    """There is not enough memory for the result."""

    code = "allocation"


class FailedPreconditionError(Error, RuntimeError, kind="precondition", codes="inside_function"):
    """An operation is not possible in the current state: reading a dataset while TensorFlow traces
    the function that reads it, or resuming, in a forked process, an iterator whose elements a
    thread of the parent computes.
    """

    code = "inside_function"


class PlanTooDeepError(Error, RecursionError, kind="plan_too_deep"):
    """A dataset has more stages than the limit, or a function returns ever deeper datasets."""

    code = "too_deep"


class FileFormatError(Error, ValueError, kind="file_format"):
    """A file does not hold what it should: truncated, malformed, damaged, of a wrong length, or
    changed since it was opened.
    """

    code = "malformed"


# Kinds without a class: "function" is raised only for a saved state (otherwise the function's own
# exception is raised), and "io" never (files that the system refuses raise OSError).
for _code in [code for code, _kind in _internal.error_codes()] + ["unsupported_tensorflow"]:
    CODES.setdefault(_code, Error)


def make(code: str, message: str) -> Error:
    """The exception for a code, to raise."""
    error: Error = CODES[code](message)
    error.code = code
    return error
