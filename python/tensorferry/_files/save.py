"""``save``: an array, or arrays by name, written to a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tensorferry import _internal, errors
from tensorferry._convert import ragged, records, text
from tensorferry._files import paths
from tensorferry._files.opened import Arrays
from tensorferry._files.storage import destination
from tensorferry._nest.ragged import Ragged
from tensorferry._nest.text import StringRows, Strings
from tensorferry._typing import FileFormat, Path, StorageOptions, TensorLike

_log = logging.getLogger("tensorferry")


def save(
    path: Path,
    value: TensorLike | Mapping[str, TensorLike],
    format: FileFormat | None = None,
    *,
    compress: bool = False,
    metadata: Mapping[str, str] | None = None,
    storage_options: StorageOptions | None = None,
    overwrite: bool | None = None,
) -> None:
    """Writes an array, or arrays by name, to a file that NumPy, TensorFlow and safetensors read.

    The write is atomic: it goes to a temporary file in the same folder, is flushed to the disk and
    renamed, so that an old file of that name stays whole until then. An opened array is read and
    written a few MiB at a time, which converts files of any size from one format to another.

    An object of a store appears whole or not at all too. It is sent in parts of at least 8 MiB,
    several at a time. An interrupted or failed upload leaves nothing behind; only if the process is
    killed do its parts stay in the store, invisible, until a rule of the bucket removes them. An
    upload takes 72 MiB of memory, and more from 72 GB on.

    Args:
        path: a str, bytes or PathLike; or the URL of an object: ``s3://bucket/key``, ``gs://``,
            ``az://``, ``abfs://``.
        value: any value that :func:`tensor` takes, or an opened :class:`Array`: to ``.npy``,
            ``.bin`` (raw) or ``.tfrecord`` (each row the bytes of a record). A dict of those, or
            opened :class:`Arrays`: to ``.npz``, ``.safetensors`` or ``.tfrecord`` (each row of all
            a ``tf.train.Example``: integers become its int64_list, float32 and narrower floats its
            float_list, uint8 of two or more dimensions and strings its bytes_list). In a
            ``.tfrecord``, rows may differ in length: a :class:`Ragged`. A structured NumPy array is
            a dict of its fields; nested ones have the name ``"outer.inner"``.
        format: as for :func:`open`; None to choose by the extension.
        compress: whether to compress an ``.npz``.
        metadata: strings by name, for the ``__metadata__`` of a ``.safetensors`` file. None for
            that of opened :class:`Arrays`.
        storage_options: how the store of a URL is reached: as for :func:`open`.
        overwrite: whether what exists at the path is replaced, or is an error. None to replace a
            file, and not an object. Two that create an object at the same time: one of them gets
            the error. In Azure and Google Cloud Storage, this is exact for objects of up to 8 MiB.

    Raises:
        OSError: the file cannot be written; an old file of that name is untouched.
        FileExistsError: it already exists, and is not to be replaced.
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
    to = destination("save", storage_options, overwrite)
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
        items: Any = value._inner.get_all(False)
        items += [(name, value[name]) for name in value._inner.ragged_names() if name in value]
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
        _internal.save(path, value, format, to)
        return
    pairs = list(items)
    rows = [pair for pair in pairs if _has_rows(pair[1])]
    if rows:
        _check_examples(path, format, rows[0], compress or bool(metadata))
        flat = [(name, *_values(name, part)) for name, part in rows]
        arrays = [(name, part) for name, part in pairs if not _has_rows(part)]
        _internal.save_examples(path, arrays, flat, to)
        return
    _internal.save_arrays(path, pairs, format, compress, _metadata(metadata), to)


def _has_rows(value: Any) -> bool:
    """Whether a value holds strings, or rows of different lengths."""
    return ragged.is_ragged(value) or text.is_text(value) or isinstance(value, StringRows)


def _check_examples(path: Path, format: FileFormat | None, pair: Any, has_options: bool) -> None:
    """Refuses formats that hold no strings or rows of different lengths."""
    name, value = pair
    what = "rows of different lengths" if ragged.is_ragged(value) else "strings"
    if isinstance(value, StringRows):
        raise errors.make(
            "argument",
            f"save: each row of {name!r} holds several strings, and is written as one. Join them.",
        )
    if _internal.format_for(path, format) != "tfrecord":
        way = (
            "its values and row_splits as arrays of their own"
            if ragged.is_ragged(value)
            else "numbers only, or a dataset: Dataset.from_tensor_slices(x).save(path)"
        )
        raise errors.make(
            "argument",
            f"save: {name!r} has {what}, and is not one array of numbers. Save it to a .tfrecord; "
            f"or save {way}.",
        )
    if has_options:
        raise errors.make("argument", "save: .tfrecord files have neither compression nor metadata")


def _values(name: str, value: Any) -> tuple[Any, Any]:
    """The values of rows of different lengths, and their splits."""
    what = f"save: {name!r}"
    if isinstance(value, Strings | Ragged):
        return value.values, np.asarray(value.row_splits, np.int64)
    if text.is_text(value):
        return text.whole(value, what)
    parts = ragged.parts(value, what)
    if len(parts) != 1 or parts[0][1] != "splits":
        raise errors.make(
            "argument", f"{what}: a {type(value).__name__} of rows. Pass a tensorferry.Ragged."
        )
    return parts[0][0][0], np.asarray(parts[0][2][0][0], np.int64)


def _metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(metadata or {})
    if not all(isinstance(part, str) for pair in given.items() for part in pair):
        raise errors.make(
            "wrong_type", f"save: metadata= holds strings by name, not {metadata!r:.80}"
        )
    return given
