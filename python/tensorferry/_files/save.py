"""``save``: an array, or arrays by name, written to a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from tensorferry import _internal, errors
from tensorferry._convert import records
from tensorferry._files import paths
from tensorferry._files.opened import Arrays
from tensorferry._typing import FileFormat, Path, TensorLike

_log = logging.getLogger("tensorferry")


def save(
    path: Path,
    value: TensorLike | Mapping[str, TensorLike],
    format: FileFormat | None = None,
    *,
    compress: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes an array, or arrays by name, to a file that NumPy, TensorFlow and safetensors read.

    The write is atomic: it goes to a temporary file in the same folder, is flushed to the disk and
    renamed, so that an old file of that name stays whole until then. An opened array is read and
    written a few MiB at a time, which converts files of any size from one format to another.

    Args:
        path: a str, bytes or PathLike.
        value: any value that :func:`tensor` takes, or an opened :class:`Array`: to ``.npy``,
            ``.bin`` (raw) or ``.tfrecord`` (each row the bytes of a record). A dict of those, or
            opened :class:`Arrays`: to ``.npz``, ``.safetensors`` or ``.tfrecord`` (each row of all
            a ``tf.train.Example``: integers become its int64_list, float32 and narrower floats its
            float_list, uint8 of two or more dimensions its bytes_list). A structured NumPy array
            is a dict of its fields; nested ones have the name ``"outer.inner"``.
        format: as for :func:`open`; None to choose by the extension.
        compress: whether to compress an ``.npz``.
        metadata: strings by name, for the ``__metadata__`` of a ``.safetensors`` file. None for
            that of opened :class:`Arrays`.

    Raises:
        OSError: the file cannot be written; an old file of that name is untouched.
        tensorferry.errors.InvalidArgumentError: a format that cannot hold the value.
        tensorferry.errors.ValueOverflowError: an integer that a ``tf.train.Example`` cannot hold.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> folder = tempfile.mkdtemp()
    >>> tensorferry.save(os.path.join(folder, "a.npz"), {"x": np.arange(3.0)}, compress=True)
    >>> arrays = tensorferry.open(os.path.join(folder, "a.npz"))
    >>> tensorferry.save(os.path.join(folder, "a.safetensors"), arrays)
    >>> tensorferry.open(os.path.join(folder, "a.safetensors"))["x"][:]
    tensorferry.Tensor([0., 1., 2.], shape=(3,), dtype=float64)
    """
    paths.one(path, "save")
    if isinstance(value, Arrays):
        format_ = _internal.format_for(path, format)
        if metadata is None and format_ == "safetensors":
            metadata = value.metadata
        elif metadata is None and value.metadata:
            _log.warning(
                "save: left out: the metadata of %s, for which %s files have no place",
                value.paths[0],
                format_,
            )
        # Every member is written, so that one which is not an array is an error, not left out.
        ragged = value._inner.ragged_names()
        if ragged:
            raise errors.make(
                "argument",
                f"save: {ragged[0]!r} has rows of different lengths, and is not one array. Save "
                "its values and row_splits as arrays of their own.",
            )
        items: Any = value._inner.get_all(False)
    elif records.is_structured(value):
        items = records.flat(value).items()
    elif isinstance(value, Mapping):
        names: Iterable[object] = value
        odd = next((name for name in names if not isinstance(name, str)), None)
        if odd is not None:
            raise errors.make("wrong_type", f"save: the names of arrays are strings, not {odd!r}")
        items = value.items()
    else:
        if compress:
            raise errors.make(
                "argument", 'save: only a dict of arrays, saved as "npz", is compressed'
            )
        if metadata:
            raise errors.make(
                "argument", "save: metadata= is for arrays by name, saved as .safetensors"
            )
        _internal.save(path, value, format)
        return
    _internal.save_arrays(path, list(items), format, compress, _metadata(metadata))


def _metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(metadata or {})
    if not all(isinstance(part, str) for pair in given.items() for part in pair):
        raise errors.make(
            "wrong_type", f"save: metadata= holds strings by name, not {metadata!r:.80}"
        )
    return given
