"""Exceptions.

Every exception is an :class:`Error` with a stable ``.code``, and also the builtin exception that
users of NumPy and TensorFlow expect: ``except OverflowError`` catches
:class:`ValueOverflowError`. A file that the system refuses raises a plain ``OSError``
(``FileNotFoundError``, ``PermissionError`` ...).
"""

from __future__ import annotations

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

#: The class of each code. Each class below lists its own codes, its default first; codes of errors
#: that Rust raises are ``tensorferry::Error::code``.
CODES: dict[str, type[Error]] = {}


class Error(Exception):
    """Base of tensorferry's exceptions. ``code`` names the kind of error and never changes between
    versions.
    """

    code: str = ""

    # AutoGraph raises an error of traced code anew, as the same class, only if the class inherits
    # `Exception.__init__` itself.
    __init__ = Exception.__init__

    def __init_subclass__(cls, *, codes: str = "") -> None:
        for code in codes.split():
            CODES[code] = cls
        if codes:
            cls.code = codes.partition(" ")[0]


class ValueOverflowError(Error, OverflowError, ValueError, codes="values_do_not_fit"):
    """Values do not fit the target dtype: out of range, not integral, not finite or not exactly
    representable.
    """


class InvalidArgumentError(
    Error,
    ValueError,
    codes="argument element_mismatch no_elements not_writable null_values out_of_bounds "
    "shape_mismatch size_overflow source_changed state strides_mismatch too_many_dimensions "
    "unequal_shapes unknown_casting unsupported_dtype",
):
    """An argument has an impossible value: shapes that differ, a dtype that tensors do not have."""


class InvalidTypeError(
    Error,
    TypeError,
    codes="wrong_type cast_not_defined dtype_mismatch masked_array not_an_index not_picklable "
    "unknown_dtype",
):
    """An argument is of a kind that has no meaning here: a masked array, complex to real."""


class NotShareableError(Error, BufferError, ValueError, codes="not_shareable not_viewable dlpack"):
    """Memory cannot be shared as requested: ``copy=False`` where a copy is needed, a DLPack tensor
    that cannot be imported.
    """


class InvalidIndexError(Error, IndexError, codes="index_out_of_range too_many_indices"):
    """An index is outside a tensor."""


class AllocationError(Error, MemoryError, codes="allocation"):
    """There is not enough memory for the result."""


class FailedPreconditionError(Error, RuntimeError, codes="inside_function forked"):
    """An operation is not possible in the current state: reading a dataset while TensorFlow traces
    the function that reads it, or resuming, in a forked process, an iterator whose elements a
    thread of the parent computes.
    """


class PlanTooDeepError(Error, RecursionError, codes="too_deep"):
    """A dataset has more stages than the limit, or a function returns ever deeper datasets."""


class FileFormatError(
    Error, ValueError, codes="malformed checksum file_changed short_read wrong_length"
):
    """A file does not hold what it should: truncated, malformed, damaged, of a wrong length, or
    changed since it was opened.
    """


# "function" is raised only for a saved state; otherwise the function's own exception is raised.
# "io" is never raised: files that the system refuses raise OSError.
CODES.update(dict.fromkeys("function io stopped unsupported_tensorflow".split(), Error))


def make(code: str, message: str) -> Error:
    """The exception for a code, to raise."""
    error: Error = CODES[code](message)
    error.code = code
    return error
