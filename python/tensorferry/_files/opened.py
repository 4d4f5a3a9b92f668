"""``open``, ``open_raw`` and ``save``: arrays in files of any size."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._internal import Array

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Format: TypeAlias = Literal["npy", "npz", "safetensors", "tfrecord", "tfrecord_bytes", "raw"]
Mode: TypeAlias = Literal["auto", "map", "read", "direct"]
_log = logging.getLogger("tensorferry")

#: A function's name and arguments, or another recipe and the name of one of its arrays.
Recipe: TypeAlias = tuple[Any, ...]


class Arrays(Mapping[str, Array]):
    """Arrays by name, as ``.npz``, ``.safetensors`` and TFRecord files hold them. Made by
    :func:`open`.

    A mapping: none is read before it is asked for. Arrays of a compressed ``.npz`` are decompressed
    when they are asked for, anew each time; :meth:`items` and :meth:`values` decompress on all
    cores, and leave out what is not an array of numbers: :attr:`left_out` says what that is.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> path = os.path.join(tempfile.mkdtemp(), "train.npz")
    >>> np.savez(path, x=np.zeros((4, 2), np.float32), y=np.arange(4))
    >>> train = tensorferry.open(path)
    >>> list(train)
    ['x', 'y']
    >>> train["y"][1:3]
    tensorferry.Tensor([1, 2], shape=(2,), dtype=int64)
    """

    __slots__ = ("_inner",)

    def __init__(self, inner: _internal.OpenedArrays) -> None:
        self._inner = inner

    @property
    def paths(self) -> list[pathlib.Path]:
        """The files."""
        return self._inner.paths()

    @property
    def mode(self) -> str:
        """How arrays are read that lie in a file as they are: "map", "read" or "direct"."""
        return self._inner.mode()

    @property
    def metadata(self) -> dict[str, str]:
        """What ``.safetensors`` files say besides their arrays, in ``__metadata__``; :func:`save`
        keeps it."""
        return self._inner.metadata()

    @property
    def left_out(self) -> dict[str, str]:
        """What is in the files and is not an array that can be read, and why: text, objects,
        members of an archive that are not arrays."""
        return dict(self._inner.left_out())

    def verify(self) -> None:
        """Reads everything and compares it with the checksums in the files: those of ``.npz`` and
        TFRecord.

        Raises:
            tensorferry.errors.FileFormatError: the file is damaged; the message says where.
        """
        self._inner.verify()

    def __getitem__(self, name: str) -> Array:
        if name not in self:
            raise KeyError(self._no_such(name))
        return self._inner.get(name)

    def _no_such(self, name: object) -> str:
        names = ", ".join(map(repr, list(self)[:20])) + (", ..." if len(self) > 20 else "")
        why = self.left_out.get(name) if isinstance(name, str) else None
        return (
            f"{name!r} is {why}; the arrays are {names}"
            if why
            else f"no array has the name {name!r}; there are {names}"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        names = list(self)
        first = names[0] if names else "name"
        raise errors.make(
            "wrong_type",
            f"these are arrays by name ({', '.join(map(repr, names[:20]))}), not one array. Choose one: arrays[{first!r}].",
        )

    def __contains__(self, name: object) -> bool:
        return name in self._inner.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner.names())

    def __len__(self) -> int:
        return len(self._inner.names())

    def items(self) -> ItemsView[str, Array]:
        """Pairs of a name and its array, of all that are not :attr:`left_out`."""
        return dict(self._inner.get_all(True)).items()

    def values(self) -> ValuesView[Array]:
        """The arrays, but for those that are :attr:`left_out`."""
        return dict(self._inner.get_all(True)).values()

    def __repr__(self) -> str:
        files = self.paths
        where = repr(str(files[0])) if len(files) == 1 else f"{len(files)} files"
        return f"<tensorferry.Arrays {list(self)} mode={self.mode}, {where}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, (self._inner.recipe(), None)


def open(
    path: Path | Iterable[Path],
    format: Format | None = None,
    mode: Mode = "auto",
    *,
    features: Mapping[str, Any] | Iterable[str] | None = None,
) -> Array | Arrays:
    """Opens a file, or many as one: an :class:`Array`, or of files that hold arrays by name,
    :class:`Arrays`.

    Nothing but headers is read. (Of TFRecord files, the length of every record, once.)

    Args:
        path: a str, bytes or PathLike; a pattern (``"part-*.npy"``), which stands for the files that Python's ``glob`` finds (hidden
            ones only where the pattern starts with a dot too) in the order in which a person counts, ``part-2`` before ``part-10``; or
            a list of those, in the order of the list. Files whose rows have one dtype and shape are one array. Files of arrays by name
            are shards of each array if all have the same names, and one whole if no two share one.
        format: ``"npy"``, ``"npz"``, ``"safetensors"``, ``"tfrecord"`` (of ``tf.train.Example`` s each feature is an array; the bytes of
            other records are the rows of one), ``"tfrecord_bytes"`` (the same for records that look like Examples). None looks at the first
            bytes of the file, and at its extension where they do not tell.
        mode: ``"map"``: nothing is read or copied before it is looked at; a file that somebody truncates meanwhile ends the process
            (SIGBUS). ``"read"``: rows are read when they are asked for; a file that changes meanwhile raises. ``"direct"``: the same,
            past the system's cache where the system can. ``"auto"`` maps what fits in memory and reads the rest.
        features: of arrays by name, those that are wanted: a list of names, or a dict of names, each with None or a ``TensorSpec`` (of
            ours or TensorFlow's) that its rows have to have: dtype, and shape of one row. In a ``tf.train.Example`` a byte string can
            be elements of any dtype, little-endian. None for all, as they are.

    Raises:
        OSError: a file cannot be opened, or a pattern matches none (``FileNotFoundError``).
        tensorferry.errors.FileFormatError: it is not what it should be; the message says where.
        tensorferry.errors.ValueError: files that do not go together, of another kind, or of a dtype that tensors do not share.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> folder = tempfile.mkdtemp()
    >>> np.save(os.path.join(folder, "part-2.npy"), np.array([[1, 2]]))
    >>> np.save(os.path.join(folder, "part-10.npy"), np.array([[3, 4], [5, 6]]))
    >>> array = tensorferry.open(os.path.join(folder, "part-*.npy"))
    >>> array.shape
    (3, 2)
    >>> array[1]
    tensorferry.Tensor([3, 4], shape=(2,), dtype=int64)
    """
    return _open(_paths(path, "open"), format, mode, _features(features))


def _open(
    paths: list[Path], format: Format | None, mode: Mode, features: list[tuple[str, Any]]
) -> Array | Arrays:
    recipe = ("open", (_absolute(paths), format, mode, features))
    opened = _internal.open(paths, format, mode, features, recipe)
    return opened if isinstance(opened, Array) else Arrays(opened)


def _absolute(paths: list[Path]) -> list[str]:
    return [os.path.abspath(os.fsdecode(path)) for path in paths]


def _features(features: Mapping[str, Any] | Iterable[str] | None) -> list[tuple[str, Any]]:
    """Names, and what ``_internal`` knows a specification as."""
    from tensorferry._nest import specs

    if features is None:
        return []
    if isinstance(features, str | bytes) or not isinstance(features, Iterable):
        raise errors.make(
            "wrong_type",
            f"open: features= is a list of names or a dict of names and specifications, not {features!r:.80}",
        )
    given = (
        features.items() if isinstance(features, Mapping) else [(name, None) for name in features]
    )
    odd = next((name for name, _ in given if not isinstance(name, str)), None)
    if odd is not None:
        raise errors.make("wrong_type", f"open: features=: names are strings, not {odd!r:.80}")
    parse = specs.parse
    return [
        (name, None if spec is None else parse(spec, f"open: feature {name!r}")[1][0])
        for name, spec in given
    ]


def open_raw(
    path: Path | Iterable[Path],
    dtype: Any,
    shape: int | Iterable[int | None] | None = None,
    offset: int = 0,
    mode: Mode = "auto",
) -> Array:
    """Opens a file of elements and nothing else, such as the ``.bin`` files of tokens that language
    models are trained on.

    Args:
        path: as :func:`open` takes it.
        dtype: a ``numpy.dtype`` (of either byte order), ``tf.DType``, type or name.
        shape: of what each file holds, row-major; None or -1 for a first length that the file's length tells. None altogether for one
            dimension.
        offset: bytes before the first element.
        mode: as :func:`open` takes it.

    Raises:
        OSError: a file cannot be opened.
        tensorferry.errors.FileFormatError: it is too short, or holds no whole number of rows.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> path = os.path.join(tempfile.mkdtemp(), "tokens.bin")
    >>> np.arange(6, dtype="uint16").tofile(path)
    >>> tensorferry.open_raw(path, "uint16", (-1, 2)).shape
    (3, 2)
    """
    paths = _paths(path, "open_raw")
    dims = (
        None if shape is None else _arguments.lengths(shape, 0, "open_raw", "every length of shape")
    )
    offset = _arguments.at_least(offset, 0, "open_raw", "offset")
    kept = dtype if isinstance(dtype, np.dtype | str) else _internal.dtype_name(dtype)
    recipe = ("open_raw", (_absolute(paths), kept, dims, offset, mode))
    return _internal.open_raw(paths, dtype, dims, offset, mode, recipe)


def save(
    path: Path,
    value: Any,
    format: Format | None = None,
    *,
    compress: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes an array, or arrays by name, to a file that NumPy, TensorFlow and safetensors read.

    Written under a temporary name in the same folder, flushed to the disk, then renamed: a file of
    the old name stays whole until the new one is. An opened array is read and written some MiB at a
    time: this converts files of any size from one format to another.

    Args:
        path: a str, bytes or PathLike.
        value: what :func:`tensor` takes, or an opened :class:`Array`: to ``.npy``, ``.bin`` (raw) or ``.tfrecord`` (each row the bytes of a
            record). A dict of those, or opened :class:`Arrays`: to ``.npz``, ``.safetensors`` or ``.tfrecord`` (each row of all a
            ``tf.train.Example``: integers become its int64_list, float32 and narrower floats its float_list, uint8 of two or more
            dimensions its bytes_list).
        format: as :func:`open` takes it; None for what the extension says.
        compress: whether to compress an ``.npz``.
        metadata: strings by name, for the ``__metadata__`` of a ``.safetensors`` file. None for that of opened :class:`Arrays`.

    Raises:
        OSError: the file cannot be written; an old file of that name is untouched.
        tensorferry.errors.ValueError: a format that cannot hold the value.
        tensorferry.errors.OverflowError: an integer that a ``tf.train.Example`` cannot hold.

    >>> import numpy as np, os, tempfile, tensorferry
    >>> folder = tempfile.mkdtemp()
    >>> tensorferry.save(os.path.join(folder, "a.npz"), {"x": np.arange(3.0)}, compress=True)
    >>> tensorferry.save(os.path.join(folder, "a.safetensors"), tensorferry.open(os.path.join(folder, "a.npz")))
    >>> tensorferry.open(os.path.join(folder, "a.safetensors"))["x"][:]
    tensorferry.Tensor([0., 1., 2.], shape=(3,), dtype=float64)
    """
    _one_path(path, "save")
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
        # Nothing is to be lost without a word: what is not an array is an error.
        items: Any = value._inner.get_all(False)
    elif isinstance(value, Mapping):
        odd = next((name for name in value if not isinstance(name, str)), None)
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


def _paths(path: Any, stage: str) -> list[Any]:
    if isinstance(path, str | bytes | os.PathLike):
        return [path]
    # An open file is an iterable of its lines, a dict of its keys.
    several = (
        isinstance(path, Iterable) and not hasattr(path, "read") and not isinstance(path, Mapping)
    )
    return [_one_path(one, stage) for one in path] if several else [_one_path(path, stage)]


def _one_path(path: Any, stage: str) -> Any:
    if isinstance(path, str | bytes | os.PathLike):
        return path
    if hasattr(path, "read"):
        name = getattr(path, "name", None)
        way = (
            f"Pass its path, {name!r}."
            if isinstance(name, str)
            else "Write it to a file, and pass the path."
        )
        raise errors.make(
            "wrong_type",
            f"{stage}: a path was expected, not an open file ({type(path).__name__}). {way}",
        )
    raise errors.make(
        "wrong_type", f"{stage}: a path was expected, a str, bytes or PathLike, not {path!r:.80}"
    )


def opened(value: Any, rows: bool = True) -> Any:
    """A structure with dicts of arrays in the place of :class:`Arrays`; of those, unless ``rows``
    are not wanted, that have some."""
    if isinstance(value, Arrays):
        return _dict(value, rows)
    if type(value) is tuple:
        return tuple(opened(part, rows) for part in value)
    if type(value) is dict:
        return {key: opened(part, rows) for key, part in value.items()}
    return value


def _dict(arrays: Arrays, rows: bool) -> dict[str, Array]:
    found = dict(arrays.items())
    left = {name: why for name, why in arrays.left_out.items() if name in arrays}
    scalars = {
        name: "no dimension, and so no rows"
        for name, array in found.items()
        if rows and not array.shape
    }
    left.update(scalars)
    kept = {name: array for name, array in found.items() if name not in scalars}
    where = arrays.paths[0]
    if left and not kept:
        raise errors.make(
            "argument",
            f"{where}: there is no array of rows: {'; '.join(f'{name!r}: {why}' for name, why in left.items())}",
        )
    for name, why in left.items():
        _log.warning("%s: left out: %r: %s. features= says what is wanted.", where, name, why)
    return kept


def reduce(array: Array, recipe: Recipe) -> tuple[Any, ...]:
    """The recipe that ``Array.__reduce__`` returns."""
    return reopen, (recipe, (array.shape, array.dtype.name))


def reopen(recipe: Recipe, expected: tuple[tuple[int, ...], str] | None) -> Array | Arrays:
    """What a recipe opened, once it is found to have the same shape and dtype."""
    first, second = recipe
    if isinstance(first, tuple):
        made: Any = reopen(first, None)[second]  # one of the arrays of a file
    elif first == "astype":
        inner, dtype, casting = second
        opened: Any = reopen(inner, None)
        made = opened.astype(dtype, casting)
    else:
        made = _open(*second) if first == "open" else open_raw(*second)
    if expected is not None and (made.shape, made.dtype.name) != expected:
        shape, name = expected
        raise errors.make(
            "file_changed",
            f"{', '.join(map(str, made.paths[:3]))}: held {name} of shape {shape} when the array was pickled, and now "
            f"{made.dtype.name} of shape {made.shape}",
        )
    return made  # type: ignore[no-any-return]
