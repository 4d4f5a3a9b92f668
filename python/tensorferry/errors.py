"""What tensorferry raises.

Every exception here is an :class:`Error` with a stable ``.code``, and at the same time the builtin
exception that NumPy's and TensorFlow's users expect, so ``except OverflowError`` catches
:class:`OverflowError`. A file that the system refuses raises a plain ``OSError``
(``FileNotFoundError``, ``PermissionError`` ...).
"""

from __future__ import annotations

import builtins

__all__ = [
    "CODES",
    "BufferError",
    "Error",
    "FileFormatError",
    "IndexError",
    "MemoryError",
    "OverflowError",
    "RecursionError",
    "RuntimeError",
    "TypeError",
    "ValueError",
]


class Error(Exception):
    """Base of tensorferry's exceptions. ``code`` names the kind of error and never changes between
    versions.
    """

    code: str = ""

    # AutoGraph raises an error of traced code anew, as the same class, only if the class is made
    # the plain way.
    __init__ = Exception.__init__


class OverflowError(Error, builtins.OverflowError, builtins.ValueError):
    """Values do not fit the target dtype: out of range, not integral, not finite or not exactly
    representable.
    """

    code = "values_do_not_fit"


class ValueError(Error, builtins.ValueError):
    """An argument has an impossible value: shapes that differ, a dtype that tensors do not have."""


class TypeError(Error, builtins.TypeError):
    """An argument is of a kind that has no meaning here: a masked array, complex to real."""


class BufferError(Error, builtins.BufferError, builtins.ValueError):
    """Memory cannot be shared as asked: ``copy=False`` where a copy is needed, a DLPack tensor that
    cannot be taken.
    """

    code = "not_shareable"


class IndexError(Error, builtins.IndexError):
    """An index outside a tensor."""

    code = "index_out_of_range"


class MemoryError(Error, builtins.MemoryError):
    """No memory for the result."""

    code = "allocation"


class RuntimeError(Error, builtins.RuntimeError):
    """What cannot be done here and now: reading a dataset while TensorFlow traces the function that
    does it, or going on, in a forked process, with an iterator whose elements a thread of its
    parent computes.
    """

    code = "inside_function"


class RecursionError(Error, builtins.RecursionError):
    """A dataset of more stages than there may be, or one that a function makes of itself for
    ever.
    """

    code = "too_deep"


class FileFormatError(Error, builtins.ValueError):
    """A file is not what it should be: truncated, malformed, damaged, lying about its size, or
    changed since it was opened.
    """

    code = "malformed"


#: The class of each code.
CODES: dict[str, type[Error]] = {
    # Codes of the library, the same in Rust (``tensorferry::Error::code``).
    "values_do_not_fit": OverflowError,
    "cast_not_defined": TypeError,
    "source_changed": ValueError,
    "shape_mismatch": ValueError,
    "dtype_mismatch": TypeError,
    "too_many_dimensions": ValueError,
    "strides_mismatch": ValueError,
    "size_overflow": ValueError,
    "out_of_bounds": ValueError,
    "allocation": MemoryError,
    "too_many_indices": IndexError,
    "index_out_of_range": IndexError,
    "not_shareable": BufferError,
    "not_viewable": BufferError,
    "dlpack": BufferError,
    "unsupported_dtype": ValueError,
    "malformed": FileFormatError,
    "wrong_length": FileFormatError,
    "short_read": FileFormatError,
    "file_changed": FileFormatError,
    "checksum": FileFormatError,
    "argument": ValueError,
    "unequal_shapes": ValueError,
    "element_mismatch": ValueError,
    "function": Error,  # of a saved state; else the function's own exception is raised
    "state": ValueError,
    "too_deep": RecursionError,
    "forked": RuntimeError,
    "stopped": Error,
    "io": Error,  # never raised: files that the system refuses raise OSError
    # Codes that only Python can meet.
    "wrong_type": TypeError,
    "unknown_dtype": TypeError,
    "unknown_casting": ValueError,
    "masked_array": TypeError,
    "null_values": ValueError,
    "not_writable": ValueError,
    "not_picklable": TypeError,
    "not_an_index": TypeError,
    "no_elements": ValueError,
    "inside_function": RuntimeError,
    "unsupported_tensorflow": Error,
}


def make(code: str, message: str) -> Error:
    """The exception for a code, to raise."""
    error: Error = CODES[code](message)
    error.code = code
    return error
